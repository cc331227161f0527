package orders

import (
	"context"
	"errors"
	"time"

	"nhip/gateway/record"
	"nhip/storage"
)

// How often the worker looks.
const (
	gather = 100 * time.Millisecond // marks
	sweep  = time.Minute            // what has expired, and what is to be removed
	atOnce = 50                     // orders of one commit
)

// Self is who a Turn is of that nobody asked for.
const Self = "nhip"

// Run commits marks, gives up what has expired and removes what is over for long
// enough, until ctx ends or the store fails.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(sweep)
	defer tick.Stop()
	for {
		if err := s.tidy(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			continue
		case <-s.marks.woken:
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(gather):
		}
		if err := s.Flush(ctx); err != nil {
			return err
		}
	}
}

// tidy does what the clock asks for.
func (s *Store) tidy(ctx context.Context) error {
	for _, do := range []func(context.Context) error{s.Expire, s.Remove} {
		if err := do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// commit makes a change of its own. What the disk has no room for is left for later.
func (s *Store) commit(ctx context.Context, f func(*Change) error) error {
	c := s.Begin(s.o.Now().UTC())
	b := new(storage.Batch)
	err := f(c)
	if err == nil {
		err = c.Write(b)
	}
	if err == nil && c.Changed() > 0 {
		_, err = s.store.Commit(context.WithoutCancel(ctx), b)
	}
	c.End(err)
	if errors.Is(err, storage.ErrDiskFull) {
		s.o.Log.Warn("orders: no room on the disk, later", "error", err)
		return nil
	}
	return err
}

// Expire gives up the open orders whose time is over.
func (s *Store) Expire(ctx context.Context) error {
	now := s.o.Now()
	for {
		ids := s.expired(now.Unix())
		if len(ids) == 0 {
			return nil
		}
		before := s.Open()
		if err := s.commit(ctx, func(c *Change) error {
			for _, id := range ids {
				if err := c.edit(id, Turn{Link: Self, Control: "expired"}, (*Entry).expire); err != nil {
					s.unreadable(id, err)
				}
			}
			return nil
		}); err != nil {
			return err
		}
		if s.Open() >= before { // the disk is full
			return nil
		}
		s.o.Log.Info("orders: given up, because their time is over", "orders", len(ids))
	}
}

func (e *Entry) expire() bool {
	done := false
	for i := range e.Order.Services {
		if v := &e.Order.Services[i]; !v.State.Over() {
			e.finish(v, record.Expired, Said{})
			done = true
		}
	}
	return done
}

func (s *Store) expired(now int64) (ids []uint64) {
	s.looking.RLock()
	defer s.looking.RUnlock()
	for id, m := range s.index.marks {
		if m.Expires != 0 && m.Expires <= now {
			if ids = append(ids, id); len(ids) == atOnce {
				break
			}
		}
	}
	return ids
}

// Remove removes the orders that are over for longer than the policy keeps them.
func (s *Store) Remove(ctx context.Context) error {
	if s.o.Policy.Keep == 0 {
		return nil
	}
	last := s.o.Now().Add(-s.o.Policy.Keep)
	for {
		keys, err := s.store.Keys(over, atOnce)
		if err != nil || len(keys) == 0 {
			return err
		}
		n, err := s.remove(ctx, keys, last)
		if err != nil || n == 0 {
			return err
		}
	}
}

// remove removes those of the oldest that are old enough, and says how many.
func (s *Store) remove(ctx context.Context, keys []string, last time.Time) (n int, err error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	b := new(storage.Batch)
	changes := 0
	for _, k := range keys {
		id, ok := idOf(k)
		if !ok {
			continue
		}
		e, ok, err := s.Get(id)
		if err != nil {
			s.o.Log.Error("orders: an order cannot be read", "order", id, "error", err)
			continue
		}
		if ok && (e.Over.IsZero() || e.Over.After(last)) {
			break
		}
		if changes += 3 + len(e.Index) + MostVersions + 4; changes > storage.MaxChanges-50 {
			break
		}
		n++
		b.Delete(k)
		b.Delete(orderKey(id))
		for _, name := range e.Index {
			b.Delete(byKey(name, id))
		}
		for v := max(1, e.Version-MostVersions-3); v < e.Version; v++ {
			b.Delete(wasKey(id, v))
		}
		b.Delete(wasKey(id, 1))
	}
	if n == 0 {
		return 0, nil
	}
	_, err = s.store.Commit(context.WithoutCancel(ctx), b)
	if errors.Is(err, storage.ErrDiskFull) {
		return 0, nil
	}
	return n, err
}

// unreadable takes an order that is damaged out of what is looked at.
func (s *Store) unreadable(id uint64, err error) {
	s.o.Log.Error("orders: an order cannot be read", "order", id, "error", err)
	s.looking.Lock()
	defer s.looking.Unlock()
	s.index.drop(id)
}
