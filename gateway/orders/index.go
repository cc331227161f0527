package orders

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"nhip/gateway/record"
)

// Keys of the store.
const (
	keyNext  = "orders/next"
	prefixOf = "order/"
	was      = "order-was/"
	open     = "order-open/"
	over     = "order-over/"
	by       = "order-by/"
)

func idText(id uint64) string             { return fmt.Sprintf("%016x", id) }
func orderKey(id uint64) string           { return prefixOf + idText(id) }
func openKey(id uint64) string            { return open + idText(id) }
func wasKey(id uint64, v int) string      { return was + idText(id) + "/" + strconv.Itoa(v) }
func byKey(name string, id uint64) string { return by + name + "/" + idText(id) }

// overKey sorts by the time since when an order is over.
func overKey(e Entry) string {
	return over + fmt.Sprintf("%012x", e.Over.Unix()) + "/" + idText(e.ID)
}

// idOf is the ID at the end of a key.
func idOf(key string) (uint64, bool) {
	id, err := strconv.ParseUint(key[strings.LastIndexByte(key, '/')+1:], 16, 64)
	return id, err == nil
}

// The kinds of names that orders are found by.
const (
	byPlacer    = "placer"
	byFiller    = "filler"
	byAccession = "accession"
	bySpecimen  = "specimen"
	byStudy     = "study"
	byPatient   = "patient" // in memory only
)

// sum is the hash of an identifier, blanks around it apart.
func sum(kind, value string) [sha256.Size]byte {
	return sha256.Sum256([]byte(kind + "\x00" + strings.TrimSpace(value)))
}

// name is how an identifier stands in a key.
func name(kind, value string) string {
	h := sum(kind, value)
	return kind + "/" + hex.EncodeToString(h[:12])
}

// short is how an identifier stands in the index in memory: two of a million may
// be the same, so who looks something up holds it against the order itself.
func short(kind, value string) uint64 {
	h := sum(kind, value)
	return binary.BigEndian.Uint64(h[:])
}

// names are what an order is found by in the store.
func names(o record.Order) []string {
	var all []string
	add := func(kind, value string) {
		if strings.TrimSpace(value) == "" {
			return
		}
		if n := name(kind, value); !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	add(byPlacer, o.Placer.ID)
	add(byFiller, o.Filler.ID)
	for _, s := range o.Services {
		add(byPlacer, s.Placer.ID)
		add(byFiller, s.Filler.ID)
		for _, x := range s.Specimens {
			for _, id := range x.IDs {
				add(bySpecimen, id)
			}
		}
		if s.Imaging != nil {
			add(byAccession, s.Imaging.Accession)
			add(byStudy, s.Imaging.StudyInstanceUID)
		}
	}
	return all
}

// hashes are what an open order is found by in memory.
func hashes(o record.Order) []uint64 {
	var all []uint64
	add := func(kind, value string) {
		if strings.TrimSpace(value) == "" {
			return
		}
		if h := short(kind, value); !slices.Contains(all, h) {
			all = append(all, h)
		}
	}
	for _, s := range o.Services {
		if s.State.Over() {
			continue
		}
		for _, x := range s.Specimens {
			for _, id := range x.IDs {
				add(bySpecimen, id)
			}
		}
	}
	for _, i := range slices.Concat(o.Patient.Identifiers, o.Ordered.Identifiers) {
		add(byPatient, i.Value)
	}
	return all
}

// A mark is what is in memory of an open order. It is the value of its key in
// order-open/, so that the index is read without the orders.
type mark struct {
	Format  int32            `json:"f"`
	Given   bool             `json:"g,omitempty"` // devices have, or had, something of it
	Expires int64            `json:"x,omitempty"` // Unix seconds; 0: never
	Kind    record.OrderKind `json:"k"`
	Found   []uint64         `json:"h,omitempty"`
	Steps   []stepMark       `json:"s,omitempty"`
}

// markVersion is the Format of a mark. Of an order with a mark of another one (1 has no
// Given) the order itself is read.
const markVersion = 2

// A stepMark is what a worklist query is narrowed by.
type stepMark struct {
	Modality string `json:"m,omitempty"`
	Start    int64  `json:"t,omitempty"` // Unix seconds; 0: not said
}

func markOf(e Entry) mark {
	m := mark{Format: markVersion, Given: len(e.Given) > 0, Kind: e.Order.Kind, Found: hashes(e.Order)}
	if !e.Expires.IsZero() {
		m.Expires = e.Expires.Unix()
	}
	for _, s := range e.Order.Services {
		if s.State != record.Open || s.Imaging == nil {
			continue
		}
		for _, step := range s.Imaging.Steps {
			if step.Done {
				continue
			}
			x := stepMark{Modality: step.Modality}
			if !step.Start.IsZero() {
				x.Start = step.Start.Unix()
			}
			m.Steps = append(m.Steps, x)
		}
	}
	return m
}

// An index is what is in memory: open orders, by hashes.
type index struct {
	marks map[uint64]mark
	one   map[uint64]uint64   // hash -> ID
	more  map[uint64][]uint64 // hash -> further IDs
	kinds map[record.OrderKind]int
}

func newIndex() *index {
	return &index{marks: map[uint64]mark{}, one: map[uint64]uint64{}, more: map[uint64][]uint64{}, kinds: map[record.OrderKind]int{}}
}

// put replaces what is known of an order.
func (x *index) put(id uint64, m mark) {
	x.drop(id)
	x.marks[id] = m
	x.kinds[m.Kind]++
	for _, h := range m.Found {
		if _, taken := x.one[h]; !taken {
			x.one[h] = id
			continue
		}
		x.more[h] = append(x.more[h], id)
	}
}

// drop forgets an order.
func (x *index) drop(id uint64) {
	m, ok := x.marks[id]
	if !ok {
		return
	}
	delete(x.marks, id)
	x.kinds[m.Kind]--
	for _, h := range m.Found {
		rest := x.more[h]
		switch i := slices.Index(rest, id); {
		case i >= 0:
			rest = slices.Delete(rest, i, i+1)
		case len(rest) > 0:
			x.one[h], rest = rest[0], rest[1:]
		default:
			delete(x.one, h)
		}
		if len(rest) == 0 {
			delete(x.more, h)
			continue
		}
		x.more[h] = rest
	}
}

// find gives the IDs under a hash, the newest first.
func (x *index) find(h uint64) []uint64 {
	first, ok := x.one[h]
	if !ok {
		return nil
	}
	all := append([]uint64{first}, x.more[h]...)
	slices.Sort(all)
	slices.Reverse(all)
	return all
}
