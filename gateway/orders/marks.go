package orders

import (
	"context"
	"sync"
	"time"

	"nhip/gateway/record"
	"nhip/storage"
)

// A Mark says how far a device is with a service. That a service has its result is
// committed together with the result (MarkIn). All else is what we know, and nothing
// that anybody was promised (Store.Mark): it is committed together with others, up to a
// tenth of a second after it is made, and what a crash takes is made again when the
// device comes again.
type Mark struct {
	Order    uint64
	Version  int // that the device was given; 0: any
	Service  int
	Progress record.Progress
	Device   string // the connection
	At       time.Time
	Given    *Given // what the device has from then on; nil: not said
}

// marks wait to be committed.
type marks struct {
	mu    sync.Mutex
	all   []Mark
	woken chan struct{}
}

// mostMarks is how many marks wait at most; further ones are dropped.
const mostMarks = 10_000

func (m *marks) init() { m.woken = make(chan struct{}, 1) }

// Mark notes how far a device is. It waits for nothing.
func (s *Store) Mark(m Mark) {
	s.marks.mu.Lock()
	if len(s.marks.all) < mostMarks {
		s.marks.all = append(s.marks.all, m)
	}
	s.marks.mu.Unlock()
	select {
	case s.marks.woken <- struct{}{}:
	default:
	}
}

func (m *marks) take(n int) []Mark {
	m.mu.Lock()
	defer m.mu.Unlock()
	n = min(n, len(m.all))
	taken := m.all[:n:n]
	m.all = m.all[n:]
	return taken
}

// Flush commits the marks that wait.
func (s *Store) Flush(ctx context.Context) error {
	for {
		some := s.marks.take(100)
		if len(some) == 0 {
			return nil
		}
		if err := s.commit(ctx, func(c *Change) error {
			for _, m := range some {
				if err := c.mark(m); err != nil {
					s.unreadable(m.Order, err)
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
}

// MarkIn adds marks to a batch of somebody else: they are true with its commit or not
// at all. end is called with what the commit said; nobody else changes orders until
// then. What the batch has no room for, because one report answers more orders than a
// commit holds, is committed behind it (Mark).
func (s *Store) MarkIn(b *storage.Batch, all []Mark) (end func(error)) {
	c := s.Begin(s.o.Now().UTC())
	for _, m := range all {
		if err := c.mark(m); err != nil {
			s.o.Log.Error("orders: an order cannot be read", "order", m.Order, "error", err)
		}
	}
	late := c.fit(b.Room())
	if err := c.Write(b); err != nil { // it has added nothing
		s.o.Log.Error("orders: marks cannot be written", "error", err)
		c.changed = map[uint64]bool{}
	}
	return func(err error) {
		c.End(err)
		for _, m := range all {
			if err == nil && late[m.Order] {
				s.Mark(m)
			}
		}
	}
}

// What one marked order adds to a batch beside its value: keys, and what Options.Changed
// adds.
const (
	markChanges = 16
	markBytes   = 8 << 10
)

// fit takes out of a change the orders that so many changes and bytes do not hold.
func (c *Change) fit(changes, bytes int) (late map[uint64]bool) {
	late = map[uint64]bool{}
	changes, bytes = min(changes, mostChanges), min(bytes, mostBytes)
	for _, id := range c.order {
		if !c.changed[id] {
			continue
		}
		value, err := c.loaded[id].encode()
		changes, bytes = changes-markChanges, bytes-4*len(value)-markBytes
		if err != nil || changes < 0 || bytes < 0 {
			delete(c.changed, id)
			late[id] = true
		}
	}
	return late
}

func (c *Change) mark(m Mark) error {
	if m.Given != nil {
		return c.give(Handing{Order: m.Order, Given: *m.Given, Progress: m.Progress})
	}
	e, err := c.load(m.Order)
	if err != nil || e == nil {
		return err
	}
	changed := e.clone()
	if changed.progressed(m) {
		c.put(&changed)
	}
	return nil
}

// progressed takes a mark, and reports whether it says anything. What has a result
// keeps it, whatever another device acknowledges later, until it is given back. A result
// of an older version is none of a service that has begun anew since: it may be another
// test now.
func (e *Entry) progressed(m Mark) bool {
	s := e.Service(m.Service)
	switch {
	case s == nil, s.At.After(m.At), m.Version != 0 && m.Version != e.Version && (m.Progress != record.Resulted || s.Progress == record.Received):
		return false
	case s.Progress == record.Resulted && m.Progress != record.Resulted && m.Progress != record.Received:
		return false
	case rank[m.Progress] < rank[s.Progress] && s.By == m.Device:
		return false
	}
	s.Progress, s.By, s.At = m.Progress, m.Device, m.At.UTC()
	if m.Progress == record.Received {
		e.forget(s.ID)
	}
	return true
}

// rank orders what a device does with one version of a service.
var rank = map[record.Progress]int{record.Received: 0, record.Sent: 1, record.Queried: 1, record.Acknowledged: 2, record.Begun: 3, record.Resulted: 4}
