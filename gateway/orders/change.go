package orders

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"nhip/gateway/record"
	"nhip/storage"
)

// A Change is what one commit does to orders. It has the store's lock from Begin to
// End: apply what is to be done, Write it to the batch, commit the batch, and call
// End with what the commit said. Nobody sees anything of it before.
type Change struct {
	s       *Store
	at      time.Time
	next    uint64            // the ID that is given next
	loaded  map[uint64]*Entry // as they will be
	before  map[uint64]*Entry // as they are; nil for a new one
	order   []uint64          // of loaded, in the order in which they were touched
	changed map[uint64]bool
	ended   bool
}

// Begin begins a change; at is the time that it has in the history. Only one is
// under way at a time.
func (s *Store) Begin(at time.Time) *Change {
	s.changing.Lock()
	return &Change{s: s, at: at, next: s.next, loaded: map[uint64]*Entry{}, before: map[uint64]*Entry{}, changed: map[uint64]bool{}}
}

// An Outcome is what became of a request.
type Outcome struct {
	Problem Problem
	ID      uint64 // of the order; 0 where there is none
	Entry   Entry  // as it is now
}

// Apply decides on a request. The error is about the store.
func (c *Change) Apply(r Request) (Outcome, error) {
	r.Order.Patient = r.Order.Ordered
	if c.s.o.Current != nil {
		r.Order.Patient = c.s.o.Current(r.Order.Ordered)
	}
	have, err := c.find(r)
	if err != nil {
		return Outcome{}, err
	}
	if have != nil && r.Action == New && have.begins(r) {
		have = nil
	}
	if have == nil && (r.Action == New || r.Action == Changing) {
		if c.s.full(r.Order.Kind, len(c.order)) {
			return Outcome{Problem: Full}, nil
		}
	}
	e, p := decide(have, r, c.at)
	switch {
	case have == nil && e.Version == 0: // nothing is kept
		return Outcome{Problem: p}, nil
	case p.Refused() && have != nil, p == AlreadySo:
		return Outcome{Problem: p, ID: e.ID, Entry: e}, nil
	}
	c.expiry(&e)
	c.put(&e)
	return Outcome{Problem: p, ID: e.ID, Entry: e}, nil
}

// put takes an entry that was made or changed.
func (c *Change) put(e *Entry) {
	if e.ID == 0 {
		e.ID = c.next
		c.next++
		c.before[e.ID] = nil
	}
	if _, ok := c.loaded[e.ID]; !ok {
		c.order = append(c.order, e.ID)
	}
	kept := *e
	c.loaded[e.ID], c.changed[e.ID] = &kept, true
}

// load gives an order as this change has it. The caller must not change it.
func (c *Change) load(id uint64) (*Entry, error) {
	if e, ok := c.loaded[id]; ok {
		return e, nil
	}
	e, ok, err := c.s.Get(id)
	if err != nil || !ok {
		return nil, err
	}
	before := e
	c.loaded[id], c.before[id] = &e, &before
	c.order = append(c.order, id)
	return &e, nil
}

// find finds the order that a request is about: the one that is open, else the
// newest.
func (c *Change) find(r Request) (*Entry, error) {
	o := r.Order
	var best *Entry
	for _, way := range []struct {
		kind, value string
		same        func(*Entry) bool
	}{
		{byPlacer, o.Placer.ID, func(e *Entry) bool { return sameOrder(e.Order.Placer, o.Placer, e, r) }},
		{byFiller, o.Filler.ID, func(e *Entry) bool {
			return sameOrder(e.Order.Filler, o.Filler, e, r) && (o.Placer.Empty() || e.Order.Placer.Empty())
		}},
		{byAccession, accession(o), func(e *Entry) bool {
			return e.Link == r.Link && o.Placer.Empty() && o.Filler.Empty() && e.Order.Placer.Empty() && e.Order.Filler.Empty()
		}},
		{bySpecimen, specimen(o), func(e *Entry) bool { return numberless(e, r) }},
	} {
		if way.value == "" {
			continue
		}
		ids, err := c.candidates(way.kind, way.value)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			e, err := c.load(id)
			if err != nil {
				return nil, err
			}
			if e == nil || !way.same(e) {
				continue
			}
			if best == nil || e.Order.Open() && !best.Order.Open() || e.Order.Open() == best.Order.Open() && e.ID > best.ID {
				best = e
			}
		}
		if best != nil {
			return best, nil
		}
	}
	return nil, nil
}

// sameOrder reports whether an order's number is the one that is asked for. A
// number without an authority is its link's own.
func sameOrder(have, asked record.OrderNumber, e *Entry, r Request) bool {
	return have.Is(asked) && (have.Authority == asked.Authority && have.Authority != "" || e.Link == r.Link)
}

// numberless reports whether an order without a number is the one that is meant:
// its group, specimen and service are.
func numberless(e *Entry, r Request) bool {
	o := r.Order
	if e.Link != r.Link || !o.Placer.Empty() || !o.Filler.Empty() || !e.Order.Placer.Empty() || !e.Order.Filler.Empty() || e.Order.Group != o.Group {
		return false
	}
	return slices.ContainsFunc(o.Services, func(s record.Service) bool {
		return slices.ContainsFunc(e.Order.Services, func(x record.Service) bool { return sameCode(x.Code, s.Code) && sameSpecimens(x, s) })
	})
}

func accession(o record.Order) string {
	for _, s := range o.Services {
		if s.Imaging != nil && s.Imaging.Accession != "" {
			return s.Imaging.Accession
		}
	}
	return ""
}

func specimen(o record.Order) string {
	for _, s := range o.Services {
		for _, x := range s.Specimens {
			for _, id := range x.IDs {
				return id
			}
		}
	}
	return ""
}

// candidates are the orders under a name, of the store and of this change.
func (c *Change) candidates(kind, value string) ([]uint64, error) {
	ids, err := c.s.under(kind, value)
	if err != nil {
		return nil, err
	}
	wanted := name(kind, value)
	for _, id := range c.order {
		if c.before[id] == nil && slices.Contains(names(c.loaded[id].Order), wanted) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Repatient gives open orders another patient: edit is called for each that is of
// somebody with one of the identifiers, now or when it was ordered, or for all where
// none are given, and says the patient and whether that is to be written. The lock of
// the change is held until end is called with what the commit of b said.
func (s *Store) Repatient(b *storage.Batch, t Turn, edit func(record.Order) (record.Person, bool), ids ...record.Identifier) (n int, end func(error), err error) {
	c := s.Begin(s.o.Now().UTC())
	for _, id := range s.open(ids) {
		err := c.edit(id, t, func(e *Entry) bool {
			p, change := edit(e.Order)
			if change {
				p.Identifiers = slices.Clone(p.Identifiers)
				e.Order.Patient = p
			}
			return change
		})
		if err != nil {
			c.End(err)
			return 0, nil, err
		}
	}
	if err := c.Write(b); err != nil {
		c.End(err)
		return 0, nil, err
	}
	return c.Changed(), c.End, nil
}

// edit changes an order by a function that reports whether it did.
func (c *Change) edit(id uint64, t Turn, f func(*Entry) bool) error {
	e, err := c.load(id)
	if err != nil || e == nil {
		return err
	}
	changed := e.clone()
	if !f(&changed) {
		return nil
	}
	t.At = c.at
	changed.turn(t)
	changed.close(c.at)
	c.put(&changed)
	return nil
}

// Changed is how many orders the change is about so far.
func (c *Change) Changed() int { return len(c.changed) }

// A written is what an order adds to a batch.
type written struct {
	before, e        *Entry
	value, old, mark []byte   // old is nil where the version stays, mark where it is over
	names            []string // that it is found by from now on
}

// The most that one change may add to a batch, which others add to.
const (
	mostChanges = 850
	mostBytes   = storage.MaxBatch / 4
)

var errLarge = errors.New("orders: more than one commit holds")

// Write adds the change to a batch. With an error nothing was added.
func (c *Change) Write(b *storage.Batch) error {
	var all []written
	changes, bytes := 1, 0
	for _, id := range c.order {
		if !c.changed[id] {
			continue
		}
		w, err := c.prepare(c.before[id], c.loaded[id])
		if err != nil {
			return err
		}
		changes += 4 + len(w.names)
		if w.old != nil {
			changes += 4
		}
		bytes += len(w.value) + len(w.old) + len(w.mark) + 300*(3+len(w.names))
		all = append(all, w)
	}
	if changes > mostChanges || bytes > mostBytes {
		return errLarge
	}
	for _, w := range all {
		c.write(b, w)
	}
	if c.next != c.s.next {
		b.Put(keyNext, []byte(strconv.FormatUint(c.next, 10)))
	}
	return nil
}

func (c *Change) prepare(before, e *Entry) (w written, err error) {
	w = written{before: before, e: e}
	for _, n := range names(e.Order) {
		if !slices.Contains(e.Index, n) {
			e.Index = append(e.Index, n)
			w.names = append(w.names, n)
		}
	}
	if w.value, err = e.encode(); err != nil {
		return w, err
	}
	if len(w.value) > storage.MaxValue {
		return w, errLarge
	}
	if before != nil && before.Version != e.Version {
		if w.old, err = before.encode(); err != nil {
			return w, err
		}
	}
	if e.Over.IsZero() {
		w.mark, err = json.Marshal(markOf(*e))
	}
	return w, err
}

func (c *Change) write(b *storage.Batch, w written) {
	e, before := w.e, w.before
	for _, n := range w.names {
		b.Put(byKey(n, e.ID), nil)
	}
	b.Put(orderKey(e.ID), w.value)
	if w.old != nil {
		b.Put(wasKey(e.ID, before.Version), w.old)
		last := before.Version - MostVersions
		for v := max(2, last-2); v <= last; v++ { // the first stays; a change may have made several
			b.Delete(wasKey(e.ID, v))
		}
	}
	c.keys(b, w)
	if c.s.o.Changed != nil {
		var old Entry
		if before != nil {
			old = *before
		}
		c.s.o.Changed(b, old, *e)
	}
}

// keys adds under which keys an order is open or over.
func (c *Change) keys(b *storage.Batch, w written) {
	was := w.before != nil && w.before.Over.IsZero()
	if w.mark != nil {
		b.Put(openKey(w.e.ID), w.mark)
		if w.before != nil && !was {
			b.Delete(overKey(*w.before))
		}
		return
	}
	if was {
		b.Delete(openKey(w.e.ID))
	}
	if was || w.before == nil {
		b.Put(overKey(*w.e), nil)
	}
}

// End ends the change: with nil it is true from now on, with an error it is
// forgotten. It may be called more than once; the first time counts.
func (c *Change) End(err error) {
	if c.ended {
		return
	}
	c.ended = true
	defer c.s.changing.Unlock()
	if err != nil {
		return
	}
	c.s.next = c.next
	c.remember()
	if c.s.o.Committed == nil {
		return
	}
	for _, id := range c.order {
		if !c.changed[id] {
			continue
		}
		var before Entry
		if was := c.before[id]; was != nil {
			before = *was
		}
		c.s.o.Committed(before, *c.loaded[id])
	}
}

// remember takes the change into the index.
func (c *Change) remember() {
	c.s.looking.Lock()
	defer c.s.looking.Unlock()
	for id := range c.changed {
		e := c.loaded[id]
		if !e.Over.IsZero() {
			c.s.index.drop(id)
			continue
		}
		c.s.index.put(id, markOf(*e))
	}
}

func hasAny(p record.Person, ids []record.Identifier) bool {
	return slices.ContainsFunc(ids, func(i record.Identifier) bool {
		return slices.ContainsFunc(p.Identifiers, func(j record.Identifier) bool {
			return i.Same(j) || strings.TrimSpace(i.Value) == strings.TrimSpace(j.Value) && (i.Authority == "" || j.Authority == "")
		})
	})
}
