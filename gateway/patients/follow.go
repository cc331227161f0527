package patients

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"nhip/gateway/intake"
	"nhip/gateway/orders"
	"nhip/gateway/record"
	"nhip/storage"
)

// mostOrders is how many orders one commit gives another patient, fewer where they are
// large. A patient rarely has more; those that are left follow in further commits, before
// the message is answered.
const mostOrders = 50

// A follow is what orders have to follow: it is stored where one commit does not take
// them all, until all are done.
type follow struct {
	Version int                 `json:"ver"`
	Touched []uint64            `json:"touched"` // records whose orders have to be looked at
	Met     []record.Identifier `json:"met"`     // what such orders can name
	Turn    orders.Turn         `json:"turn"`

	key  string
	more bool // orders are left
}

// pendingKey is where a follow is stored, one for each message.
func pendingKey(r intake.Incoming) string {
	sum := sha256.Sum256([]byte(r.Link + "\x00" + r.Message.ControlID() + "\x00" + r.At.String()))
	return pending + hex.EncodeToString(sum[:12])
}

const pending = "patient-pending/"

// follow is what orders have to follow of the decision.
func (d *decision) follow() *follow {
	return &follow{
		Version: version, Touched: slices.Sorted(maps.Keys(d.touched)), Met: d.met,
		Turn: orders.Turn{Link: d.link, Control: d.event, MessageID: d.ctl},
	}
}

// repatient gives open orders the identity of those whom they are for now, as many as
// one commit takes, and notes in f whether some are left.
func (v *view) repatient(b *storage.Batch, f *follow) (end func(error), err error) {
	if f.more = false; v.s.Orders == nil || len(f.Touched) == 0 {
		return func(error) {}, nil
	}
	touched := map[uint64]bool{}
	for _, id := range f.Touched {
		r, err := v.survivor(id)
		if err != nil {
			return nil, err
		}
		touched[r.ID] = true
	}
	for most := mostOrders; ; most /= 2 {
		if end, err = v.repatientSome(b, f, touched, most); err == nil || most == 1 {
			return end, err
		}
	}
}

// repatientSome is repatient of so many orders at most; after an error b is as it was.
func (v *view) repatientSome(b *storage.Batch, f *follow, touched map[uint64]bool, most int) (end func(error), err error) {
	f.more = false
	var bad error
	changed := 0
	n, end, err := v.s.Orders.Repatient(b, f.Turn, func(o record.Order) (record.Person, bool) {
		now, id, err := v.identity(o.Ordered, true)
		if err != nil {
			bad = err
		}
		if err != nil || !touched[id] || same(now, o.Patient) {
			return o.Patient, false
		}
		if changed == most {
			f.more = true
			return o.Patient, false
		}
		changed++
		return now, true
	}, f.Met...)
	if err == nil && bad != nil {
		end(bad)
		err = bad
	}
	if err != nil {
		return nil, fmt.Errorf("patients: the orders of a patient: %w", err)
	}
	if n > 0 {
		v.s.Log.Info("orders follow their patient", "event", f.Turn.Control, "link", f.Turn.Link, "message", f.Turn.MessageID, "orders", n, "more", f.more)
	}
	return end, nil
}

// settle lets the orders follow that are left. It is called with the lock.
func (s *Store) settle(f *follow) {
	for f.more {
		b := new(storage.Batch)
		end, err := s.view().repatient(b, f)
		if err != nil {
			s.Log.Error("orders do not follow their patient yet: tried again in a minute", "message", f.Turn.MessageID, "error", err)
			return
		}
		if !f.more {
			b.Delete(f.key)
		}
		_, err = s.Store.Commit(context.Background(), b)
		if end(err); err != nil {
			s.Log.Error("orders do not follow their patient yet: tried again in a minute", "message", f.Turn.MessageID, "error", err)
			return
		}
	}
}

// Settle lets all orders follow that were left when the gateway ended.
func (s *Store) Settle() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys, err := s.Store.Keys(pending, 0)
	if err != nil {
		return err
	}
	for _, k := range keys {
		b, ok, err := s.Store.Get(k)
		if err != nil || !ok {
			return err
		}
		f := &follow{key: k, more: true}
		if err := decode(b, f, &f.Version); err != nil {
			return err
		}
		s.settle(f)
	}
	return nil
}

// Run settles now, and what could not be settled every minute, until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		if err := s.Settle(); err != nil {
			s.Log.Error("orders do not follow their patients", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
