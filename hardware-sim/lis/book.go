package lis

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"nhip/hardware-sim/wire"
)

// A Book is what a system has on file: orders, results and who is whom, from the
// messages that came. It takes a message that comes again, under the same control ID
// with the same bytes, once. It is order-tolerant where HL7 is: a merge may come before
// or after what names the old number.
type Book struct {
	mu      sync.Mutex
	seen    map[string][32]byte // by MSH-10 and type
	merged  map[string]string   // old number -> the one that survives
	orders  map[string]*filedOrder
	results map[string]*filedResult // by specimen and code
	wrong   []string
}

type filedOrder struct {
	patient, specimen, accession string
	tests                        []string
	placed, cancelled            int // messages
	states                       []string
}

type filedResult struct {
	specimen, code, patient string
	value, status           string
	finals, corrections     int
}

// NewBook returns a Book with nothing on file.
func NewBook() *Book {
	return &Book{seen: map[string][32]byte{}, merged: map[string]string{}, orders: map[string]*filedOrder{}, results: map[string]*filedResult{}}
}

// File takes a message.
func (b *Book) File(message []byte) {
	all := wire.Split(message)
	msh := wire.First(all, "MSH")
	if msh == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	name, sum := msh.Field(9)+" "+msh.Field(10), sha256.Sum256(message)
	if msh.Component(9, 1) == "OMI" || msh.Component(9, 1) == "ORM" {
		name += string(sum[:]) // a hospital cancels under the same control ID
	}
	if was, ok := b.seen[name]; ok {
		if was != sum {
			b.wrong = append(b.wrong, "changed: "+name+" came with other bytes")
		}
		return
	}
	b.seen[name] = sum
	switch code := msh.Component(9, 1); code {
	case "ADT":
		b.adt(all)
	case "ORM", "OML", "OMG", "OMI":
		b.order(all)
	case "ORU", "OUL":
		b.result(all)
	default:
		b.wrong = append(b.wrong, "a message of type "+code)
	}
}

func (b *Book) adt(all []wire.Segment) {
	pid, mrg := wire.First(all, "PID"), wire.First(all, "MRG")
	if pid != nil && mrg != nil {
		b.merged[mrg.Component(1, 1)] = pid.Component(3, 1)
	}
}

// order files every ORC with what follows it.
func (b *Book) order(all []wire.Segment) {
	patient, specimen, control := "", "", ""
	fresh := map[string]bool{}
	var o *filedOrder
	for _, s := range all {
		switch s.Name() {
		case "PID":
			patient = s.Component(3, 1)
		case "SPM":
			if specimen = wire.Part(s.Component(2, 1), "&", 1); o != nil && control != "SC" {
				o.specimen = specimen
			}
		case "ORC":
			control = s.Field(1)
			o = b.orc(s, control, patient, fresh)
		case "OBR":
			if o == nil || control != "NW" && control != "XO" {
				continue
			}
			o.tests = append(o.tests, s.Component(4, 1))
			if o.specimen == "" {
				if o.specimen = specimen; specimen == "" {
					o.specimen = s.Component(15, 1) // ORM^O01
				}
			}
			for _, a := range []string{s.Component(2, 2), s.Component(18, 1)} {
				if a != "" {
					o.accession = a
				}
			}
		case "IPC":
			if o != nil && control != "SC" {
				o.accession = s.Component(1, 1)
			}
		}
	}
}

// orc files one ORC; fresh are the orders that this message has named already.
func (b *Book) orc(s wire.Segment, control, patient string, fresh map[string]bool) *filedOrder {
	placer := s.Component(2, 1)
	o := b.orders[placer]
	if o == nil {
		o = &filedOrder{}
		b.orders[placer] = o
	}
	first := !fresh[placer]
	fresh[placer] = true
	switch control {
	case "NW", "XO":
		o.patient = patient
		if first {
			o.tests = nil
			if control == "NW" {
				o.placed++
			}
		}
	case "CA":
		if first {
			o.cancelled++
		}
	case "SC":
		o.states = append(o.states, s.Field(5))
	default:
		b.wrong = append(b.wrong, "ORC-1 is "+control)
	}
	return o
}

func (b *Book) result(all []wire.Segment) {
	patient, specimen := "", ""
	if pid := wire.First(all, "PID"); pid != nil {
		patient = pid.Component(3, 1)
	}
	for _, s := range all {
		switch s.Name() {
		case "OBR":
			specimen = s.Component(3, 1)
		case "OBX":
			b.obx(s, specimen, patient)
		}
	}
}

func (b *Book) obx(s wire.Segment, specimen, patient string) {
	key := specimen + " " + s.Component(3, 1)
	r := b.results[key]
	if r == nil {
		r = &filedResult{specimen: specimen, code: s.Component(3, 1)}
		b.results[key] = r
	}
	status := s.Field(11)
	if status == "C" {
		r.corrections++
	} else {
		r.finals++
		if r.corrections > 0 {
			b.wrong = append(b.wrong, "out of order: "+key+" came after its correction")
		}
	}
	r.patient, r.value, r.status = patient, wire.Unescape(s.Field(5)), status
}

// A Measured is one result in the ground truth.
type Measured struct {
	Specimen, Code, Value string
	Status                string // F, or C where it was corrected
	Corrected             bool
}

// Compare holds what is on file against the ground truth: the orders of the hospital
// and what the analysers measured. It names every difference: lost, doubled, changed,
// misfiled, and what is there that should not be.
func (b *Book) Compare(orders []Order, measured []Measured) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := &comparison{Book: b, wrong: slices.Clone(b.wrong), bySpecimen: map[string]Order{}}
	known := map[string]bool{}
	for _, o := range orders {
		known[o.Placer] = true
		if o.Specimen != "" {
			c.bySpecimen[o.Specimen] = o
		}
		c.order(o)
	}
	for _, placer := range slices.Sorted(maps.Keys(b.orders)) {
		if !known[placer] {
			c.say("an order %s that nobody placed", placer)
		}
	}
	there := map[string]bool{}
	for _, m := range measured {
		there[m.Specimen+" "+m.Code] = true
		c.measured(m)
	}
	for _, key := range slices.Sorted(maps.Keys(b.results)) {
		if !there[key] {
			c.say("a result %s that nobody measured", key)
		}
	}
	return c.wrong
}

type comparison struct {
	*Book
	wrong      []string
	bySpecimen map[string]Order
}

func (c *comparison) say(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

// now is who a number stands for.
func (b *Book) now(patient string) string {
	for range len(b.merged) + 1 {
		next, ok := b.merged[patient]
		if !ok {
			return patient
		}
		patient = next
	}
	return patient
}

func (c *comparison) order(o Order) {
	f := c.orders[o.Placer]
	if f == nil || f.placed == 0 {
		c.say("lost: order %s", o.Placer)
		return
	}
	if f.placed > 1 {
		c.say("doubled: order %s was placed %d times", o.Placer, f.placed)
	}
	if got := c.now(f.patient); got != o.Patient.ID {
		c.say("misfiled: order %s is under %q, and belongs to %q", o.Placer, got, o.Patient.ID)
	}
	var tests []string
	for _, t := range o.Tests {
		tests = append(tests, t[0])
	}
	if !slices.Equal(f.tests, tests) {
		c.say("changed: order %s asks for %v, should be %v", o.Placer, f.tests, tests)
	}
	if o.Specimen != "" && f.specimen != o.Specimen {
		c.say("changed: order %s is of specimen %q, should be %q", o.Placer, f.specimen, o.Specimen)
	}
	if o.Accession != "" && f.accession != o.Accession {
		c.say("changed: order %s has accession number %q, should be %q", o.Placer, f.accession, o.Accession)
	}
	switch {
	case o.Cancelled && f.cancelled == 0:
		c.say("order %s is not cancelled", o.Placer)
	case f.cancelled > 1:
		c.say("doubled: the cancel of order %s", o.Placer)
	case !o.Cancelled && f.cancelled > 0:
		c.say("order %s is cancelled, and should not be", o.Placer)
	}
	if n := len(f.states); n > 0 && (f.states[n-1] == "CA") != o.Cancelled {
		c.say("order %s was told as %s", o.Placer, strings.Join(f.states, ", "))
	}
}

func (c *comparison) measured(m Measured) {
	key := m.Specimen + " " + m.Code
	r := c.results[key]
	if r == nil {
		c.say("lost: result %s", key)
		return
	}
	corrections := 0
	if m.Corrected {
		corrections = 1
	}
	if r.finals != 1 || r.corrections != corrections {
		c.say("result %s came %d times and was corrected %d times, should be 1 and %d", key, r.finals, r.corrections, corrections)
	}
	if r.value != m.Value || r.status != m.Status {
		c.say("changed: result %s is %q %s, should be %q %s", key, r.value, r.status, m.Value, m.Status)
	}
	o, ordered := c.bySpecimen[m.Specimen]
	switch {
	case ordered && o.Cancelled:
		c.say("a result %s of a cancelled order", key)
	case ordered && r.patient != "" && c.now(r.patient) != o.Patient.ID:
		c.say("misfiled: result %s is under %q, and belongs to %q", key, c.now(r.patient), o.Patient.ID)
	}
}

// Filed is how many orders and results are on file.
func (b *Book) Filed() (orders, results int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.orders), len(b.results)
}

// Told says whether the state of an order was told.
func (b *Book) Told(placer, state string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	o := b.orders[placer]
	return o != nil && slices.Contains(o.states, state)
}
