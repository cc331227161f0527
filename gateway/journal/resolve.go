package journal

import (
	"slices"

	"nhip/gateway/delivery"
	"nhip/gateway/intake"
	"nhip/gateway/reason"
	"nhip/storage"
)

// A resolver says what the queues say of entries: each queue is read once, and
// only as far as something is sought in it.
type resolver struct {
	store *storage.Store
}

const queuePage = 2000

// queue calls f for the items of a queue until it returns false.
func (r *resolver) queue(name string, f func(storage.QueueItem) bool) error {
	for from := uint64(0); ; {
		items, err := r.store.Items(name, from, queuePage)
		if err != nil {
			return err
		}
		for _, it := range items {
			if !f(it) {
				return nil
			}
			from = it.Seq + 1
		}
		if len(items) < queuePage {
			return nil
		}
	}
}

// A place is a delivery of an entry, by their indices.
type place struct{ entry, delivery int }

// deliveries looks up what is not settled, and what waits for a person before it
// has a destination.
func (r *resolver) deliveries(entries []Entry) error {
	sought := map[string]map[string][]place{} // destination -> mark
	held := map[string]int{}
	for i, x := range entries {
		for k, d := range x.Deliveries {
			if d.State != Queued {
				continue
			}
			if sought[d.Destination] == nil {
				sought[d.Destination] = map[string][]place{}
			}
			sought[d.Destination][d.Mark] = append(sought[d.Destination][d.Mark], place{i, k})
		}
		if x.Direction == "in" && !slices.Contains(x.States, Repeat) {
			held[x.Ref] = i
		}
	}
	if err := r.queued(entries, sought); err != nil {
		return err
	}
	if err := r.held(entries, held); err != nil {
		return err
	}
	for i := range entries {
		for _, d := range entries[i].Deliveries {
			entries[i].add(d.State)
		}
		slices.SortFunc(entries[i].States, func(a, b State) int { return slices.Index(States, a) - slices.Index(States, b) })
	}
	return nil
}

// queued looks up what is in the queues of destinations, by its mark.
func (r *resolver) queued(entries []Entry, sought map[string]map[string][]place) error {
	for destination, marks := range sought {
		err := r.queue(delivery.Queue(destination), func(it storage.QueueItem) bool {
			t, err := delivery.DecodeTicket(it.Value)
			if err != nil {
				return true
			}
			for _, p := range marks[t.Mark] {
				d := &entries[p.entry].Deliveries[p.delivery]
				state, n := stateOf(it)
				d.State, d.At, d.Attempts, d.Reason, d.Answer, d.AnswerBytes = state, n.Since, n.Attempts, n.Reason, n.Answer.Bytes, n.Answer.Length
			}
			delete(marks, t.Mark)
			return len(marks) > 0
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// held looks up what waits for a person; held is the entries by their references.
func (r *resolver) held(entries []Entry, held map[string]int) error {
	if len(held) == 0 {
		return nil
	}
	return r.queue(intake.HeldQueue, func(it storage.QueueItem) bool {
		for _, ref := range it.About {
			i, ok := held[ref.String()]
			if !ok {
				continue
			}
			if t, err := intake.DecodeHeldTicket(it.Value); err == nil && !slices.ContainsFunc(entries[i].Reasons, func(r reason.Reason) bool { return r.String() == t.Reason.String() }) {
				entries[i].Reasons = append(entries[i].Reasons, t.Reason)
			}
			entries[i].add(Held)
		}
		return true
	})
}

// stateOf is the state of an item that is in the queue of a destination.
func stateOf(it storage.QueueItem) (State, delivery.Delivery) {
	d, err := delivery.Decode(it.State, it.At)
	if err != nil || d.State == delivery.Held {
		return Held, d
	}
	return Queued, d
}
