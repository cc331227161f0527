package orders

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"nhip/gateway/record"
	"nhip/storage"
)

// A Policy is how long orders stay, and how many.
type Policy struct {
	Laboratory time.Duration // an open order is given up so long after it was received, collected or scheduled; 0: never
	Imaging    time.Duration
	Other      time.Duration
	Keep       time.Duration // an order that is over is removed after so long
	Most       int           // open orders; further ones are refused
}

// DefaultPolicy is the policy where nothing else is said.
func DefaultPolicy() Policy {
	const day = 24 * time.Hour
	return Policy{Laboratory: 7 * day, Imaging: 30 * day, Other: 7 * day, Keep: 30 * day, Most: 200_000}
}

// Options of Open.
type Options struct {
	Store  *storage.Store
	Log    *slog.Logger
	Now    func() time.Time // nil: time.Now
	Policy Policy

	// Current gives the patient as known now, for whom an order's message names; nil:
	// the same. It is called with the lock of a change and may take none that is held
	// while one begins.
	Current func(record.Person) record.Person
	// Changed is called for each order that a change writes, and may add to its batch.
	// before has Version 0 for a new order; the two may have the same Version, where
	// only the progress of a service changed. It may be nil.
	Changed func(b *storage.Batch, before, after Entry)
	// Committed is called for each order that a change has written, when that is on
	// disk; it has the lock of the change and may not begin another. It may be nil.
	Committed func(before, after Entry)
}

// A Store is the orders of a gateway. Its methods may be called by many goroutines.
type Store struct {
	o     Options
	store *storage.Store

	changing sync.Mutex // from Begin to End
	next     uint64

	looking sync.RWMutex // of the index, held for no commit
	index   *index

	marks marks
}

// Open reads which orders are open.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Policy.Most == 0 {
		o.Policy = DefaultPolicy()
	}
	s := &Store{o: o, store: o.Store, next: 1, index: newIndex()}
	s.marks.init()
	if b, ok, err := s.store.Get(keyNext); err != nil {
		return nil, err
	} else if ok {
		if s.next, err = strconv.ParseUint(string(b), 10, 64); err != nil {
			return nil, fmt.Errorf("orders: the next number: %w", err)
		}
	}
	err := s.store.Each(open, func(key string, value []byte) bool {
		s.remember(key, value)
		return ctx.Err() == nil
	})
	if damaged := new(storage.DamagedError); errors.As(err, &damaged) { // the store has raised its alarm
		s.o.Log.Error("orders: what is open cannot all be read", "error", err)
		err = nil
	}
	return s, errors.Join(err, ctx.Err())
}

// remember takes an open order into the index; one whose key does not say enough is
// read.
func (s *Store) remember(key string, value []byte) {
	id, ok := idOf(key)
	if !ok {
		return
	}
	var m mark
	if err := json.Unmarshal(value, &m); err == nil && m.Format == markVersion {
		s.index.put(id, m)
		return
	}
	e, ok, err := s.Get(id)
	if err != nil {
		s.o.Log.Error("orders: an order cannot be read", "order", id, "error", err)
		return
	}
	if ok && e.Over.IsZero() {
		s.index.put(id, markOf(e))
	}
}

// Get reads an order.
func (s *Store) Get(id uint64) (Entry, bool, error) {
	b, ok, err := s.store.Get(orderKey(id))
	if err != nil || !ok {
		return Entry{}, false, err
	}
	e, err := decodeEntry(b)
	return e, err == nil, err
}

// Was reads an earlier version of an order.
func (s *Store) Was(id uint64, version int) (Entry, bool, error) {
	b, ok, err := s.store.Get(wasKey(id, version))
	if err != nil || !ok {
		return Entry{}, false, err
	}
	e, err := decodeEntry(b)
	return e, err == nil, err
}

// under are the IDs of all orders, those that are over too, under a name: the
// newest 100.
func (s *Store) under(kind, value string) ([]uint64, error) {
	keys, err := s.store.Keys(by+name(kind, value)+"/", 0)
	if err != nil {
		return nil, err
	}
	var ids []uint64
	for _, k := range keys[max(0, len(keys)-100):] {
		if id, ok := idOf(k); ok {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// marked are the IDs of open orders under names, the newest first.
func (s *Store) marked(kind string, values ...string) []uint64 {
	s.looking.RLock()
	defer s.looking.RUnlock()
	var ids []uint64
	for _, v := range values {
		for _, id := range s.index.find(short(kind, v)) {
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	slices.Reverse(ids)
	return ids
}

// open are the IDs of the open orders of who has one of the identifiers; all, where
// none are given.
func (s *Store) open(ids []record.Identifier) (all []uint64) {
	if len(ids) > 0 {
		var values []string
		for _, i := range ids {
			values = append(values, i.Value)
		}
		return s.marked(byPatient, values...)
	}
	s.looking.RLock()
	defer s.looking.RUnlock()
	return slices.Sorted(maps.Keys(s.index.marks))
}

// full reports whether no more orders of a kind are taken.
func (s *Store) full(_ record.OrderKind, adding int) bool {
	s.looking.RLock()
	defer s.looking.RUnlock()
	return len(s.index.marks)+adding >= s.o.Policy.Most
}

// expiry says when an open order is given up.
func (c *Change) expiry(e *Entry) {
	p := c.s.o.Policy
	d := map[record.OrderKind]time.Duration{record.LaboratoryOrder: p.Laboratory, record.ImagingOrder: p.Imaging}[e.Order.Kind]
	if e.Order.Kind == record.OtherOrder {
		d = p.Other
	}
	if d == 0 {
		e.Expires = time.Time{}
		return
	}
	from := c.at
	for _, s := range e.Order.Services {
		if s.Scheduled.After(from) {
			from = s.Scheduled
		}
		if s.Imaging != nil {
			for _, step := range s.Imaging.Steps {
				if step.Start.After(from) {
					from = step.Start
				}
			}
		}
	}
	e.Expires = from.Add(d).UTC().Truncate(time.Second)
}

// A SpecimenQuery asks for what is to be done on a specimen.
type SpecimenQuery struct {
	Specimen string // exactly, blanks around it apart
	// At and Window bound the time of the specimen, because its identifier may be a
	// running number that comes again tomorrow: when it was collected, else when its
	// order came. Window 0 takes any.
	At     time.Time
	Window time.Duration
	// Sections are the diagnostic service sections (OBR-24) that are asked for, in any
	// case; empty: any. A service that names none is of all.
	Sections []string
}

// A Match is one service that is to be done, of the newest version of its order.
type Match struct {
	Entry   Entry
	Service record.Service
	Taken   time.Time // of the specimen: collected, else received
}

// Specimen gives the open services of a specimen in the order in which they were
// ordered. It reads the store only for what matches,
// and waits for no commit.
func (s *Store) Specimen(q SpecimenQuery) ([]Match, error) {
	var all []Match
	for _, id := range slices.Backward(s.marked(bySpecimen, q.Specimen)) {
		e, ok, err := s.Get(id)
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, e.matches(q)...)
		}
	}
	return all, nil
}

func (e Entry) matches(q SpecimenQuery) []Match {
	var all []Match
	for _, v := range e.Order.Services {
		if v.State != record.Open || !inSection(v.Section, q.Sections) {
			continue
		}
		for _, x := range v.Specimens {
			if !x.Has(q.Specimen) {
				continue
			}
			taken := firstTime(x.Collected, v.Collected, e.Received)
			if q.Window > 0 && taken.Sub(q.At).Abs() > q.Window {
				continue
			}
			all = append(all, Match{Entry: e, Service: v, Taken: taken})
			break
		}
	}
	return all
}

func firstTime(times ...time.Time) time.Time {
	for _, t := range times {
		if !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}

func inSection(section string, wanted []string) bool {
	return section == "" || len(wanted) == 0 || slices.ContainsFunc(wanted, func(w string) bool { return strings.EqualFold(w, section) })
}

// A Key is what orders are looked for by; those that are given all have to be so.
type Key struct {
	Placer, Filler, Accession, Specimen, Study string
	Patient                                    record.Identifier
}

// Find gives orders by a key, those that are over too, the newest first: at most
// 100. Orders of a patient are found while they are open.
func (s *Store) Find(k Key) ([]Entry, error) {
	var ids []uint64
	var err error
	switch {
	case k.Placer != "":
		ids, err = s.under(byPlacer, k.Placer)
	case k.Filler != "":
		ids, err = s.under(byFiller, k.Filler)
	case k.Accession != "":
		ids, err = s.under(byAccession, k.Accession)
	case k.Study != "":
		ids, err = s.under(byStudy, k.Study)
	case k.Specimen != "":
		ids, err = s.under(bySpecimen, k.Specimen)
	case k.Patient.Value != "":
		ids = s.marked(byPatient, k.Patient.Value)
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(ids)
	slices.Reverse(ids)
	var all []Entry
	for _, id := range ids {
		e, ok, err := s.Get(id)
		if err != nil {
			return nil, err
		}
		if ok && k.of(e.Order) {
			all = append(all, e)
		}
	}
	return all, nil
}

// of holds a key against an order: two identifiers may have the same hash, and an
// order is found by what it had before a change.
func (k Key) of(o record.Order) bool {
	has := names(o)
	for kind, v := range map[string]string{byPlacer: k.Placer, byFiller: k.Filler, byAccession: k.Accession, bySpecimen: k.Specimen, byStudy: k.Study} {
		if v != "" && !slices.Contains(has, name(kind, v)) {
			return false
		}
	}
	return k.Patient.Value == "" || hasAny(o.Patient, []record.Identifier{k.Patient})
}
