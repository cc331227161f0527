package delivery

import (
	"context"
	"slices"
	"time"

	"nhip/gateway/reason"
	"nhip/storage"
)

// early is what a destination said of an item before its commit was settled here.
type early struct {
	e    Event
	told chan<- error
}

// Answered takes what a destination says later of a message that it has committed: the
// event is Accepted, Refused or Rejected. It reports whether a message with that
// control ID waited for it; what changed is on disk then. Of several with that control
// ID it is the oldest.
func (w *Worker) Answered(ctx context.Context, id string, e Event) (bool, error) {
	w.lock()
	seq, state, ok := w.awaits(id)
	if !ok || id == "" {
		w.mu.Unlock()
		return false, nil
	}
	done := make(chan error, 1)
	if state == Sending {
		w.early[seq] = early{e, done}
	} else {
		w.process(seq, e, done)
	}
	w.mu.Unlock()
	select {
	case err := <-done:
		return err == nil, err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// awaits is the oldest item with a control ID that is committed, is held because its
// destination was overdue, or is being sent. w.mu is held.
func (w *Worker) awaits(id string) (seq uint64, state State, ok bool) {
	best := func(n uint64, s State) {
		if w.items[n].ID == id && (!ok || n < seq) {
			seq, state, ok = n, s, true
		}
	}
	for n := range w.lane.taken {
		best(n, Committed)
	}
	for n, x := range w.lane.held {
		if x.d.Reason.Code == reason.Unprocessed {
			best(n, Held)
		}
	}
	for n := range w.lane.sent {
		best(n, Sending)
	}
	return seq, state, ok
}

// overtaken is what became of an item that was being sent: where its destination has
// said already what became of it, that counts and not how the sending ended, but for an
// answer that settles it. w.mu is held.
func (w *Worker) overtaken(seq uint64, e Event) (Event, chan<- error) {
	x, ok := w.early[seq]
	if !ok {
		return e, nil
	}
	delete(w.early, seq)
	if e.Kind == Accepted || e.Kind == Refused {
		return e, x.told
	}
	return x.e, x.told
}

// process takes what became of an item that its destination has; w.mu is held.
func (w *Worker) process(seq uint64, e Event, done chan<- error) {
	now := time.Now()
	it := w.items[seq]
	before, _ := w.lane.Get(seq)
	d, action := w.Policy.Step(before, e, now, 0)
	w.lane.Set(seq, d)
	w.wake()
	queue, from := Queue(w.Destination), CountQueued
	if before.State == Held {
		from = CountHeld
	}
	switch action {
	case Finish:
		delete(w.items, seq)
		w.link.Last = now
		w.link.Delivered++
		settled := Settled{At: now, How: Delivered, Ref: it.About, Group: it.Group, Ticket: it.Ticket, Answer: e.Answer}
		w.save(done, func(b *storage.Batch) {
			b.Remove(queue, seq)
			b.Put(DeliveredKey(w.Destination, it.Mark), settled.Encode())
			b.Add(from, -1)
			b.Add(CountDelivered, 1)
			if w.Also != nil {
				w.Also(b, settled)
			}
		})
	case Alarm:
		w.Log.Error("held", "destination", w.Destination, "id", it.ID, "item", seq, "reason", d.Reason)
		w.save(done, func(b *storage.Batch) {
			b.SetState(queue, seq, d.Encode())
			b.Add(CountQueued, -1)
			b.Add(CountHeld, 1)
		})
	default:
		if done != nil {
			done <- nil
		}
	}
}

// overdue holds what was committed and of which nothing was heard for too long.
func (w *Worker) overdue(ctx context.Context) error {
	t := time.NewTicker(max(50*time.Millisecond, min(time.Second, w.Policy.Process/10)))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		w.lock()
		now := time.Now()
		var late []uint64
		for seq, x := range w.lane.taken {
			if !x.d.NotBefore.After(now) {
				late = append(late, seq)
			}
		}
		slices.Sort(late)
		for _, seq := range late {
			w.process(seq, Event{Kind: Overdue}, nil)
		}
		w.mu.Unlock()
	}
}
