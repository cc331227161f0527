package delivery

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"nhip/gateway/control"
	"nhip/gateway/reason"
	"nhip/storage"
)

// A Pause is who stopped the sending to a destination, when and why. It is stored:
// a restart does not end it.
type Pause struct {
	User string    `json:"user,omitempty"`
	By   string    `json:"by,omitempty"`
	Why  string    `json:"why,omitempty"`
	At   time.Time `json:"at,omitzero"`
}

// Paused reports whether there is a pause.
func (p Pause) Paused() bool { return !p.At.IsZero() }

func pauseKey(destination string) string { return "paused/" + destination }

func (w *Worker) readPause() error {
	b, ok, err := w.Store.Get(pauseKey(w.Destination))
	if err != nil || !ok {
		return err
	}
	var p Pause
	if err := json.Unmarshal(b, &p); err != nil {
		return fmt.Errorf("delivery: stored pause of %s: %w", w.Destination, err)
	}
	w.lock()
	defer w.mu.Unlock()
	w.pause = p
	return nil
}

// Pause stops the sending until Resume; what is being sent is settled. It is on
// disk when Pause returns, like every act of this file.
func (w *Worker) Pause(ctx context.Context, who control.Actor, why string) error {
	now := time.Now()
	p := Pause{User: who.User, By: who.By, Why: why, At: now.UTC()}
	value, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return w.act(ctx, func(done chan<- error) error {
		if w.pause.Paused() {
			return control.Bad("%s is paused already", w.Destination)
		}
		w.pause = p
		w.save(done, func(b *storage.Batch) {
			b.Put(pauseKey(w.Destination), value)
			control.Of(who, "pause", Queue(w.Destination), why, now).Write(b)
		})
		return nil
	})
}

// Resume ends a pause.
func (w *Worker) Resume(ctx context.Context, who control.Actor, why string) error {
	return w.act(ctx, func(done chan<- error) error {
		if !w.pause.Paused() {
			return control.Bad("%s is not paused", w.Destination)
		}
		w.pause = Pause{}
		w.failures, w.until = 0, time.Time{}
		w.wake()
		w.save(done, func(b *storage.Batch) {
			b.Delete(pauseKey(w.Destination))
			control.Of(who, "resume", Queue(w.Destination), why, time.Now()).Write(b)
		})
		return nil
	})
}

// Release lets a held item be sent as it is.
func (w *Worker) Release(ctx context.Context, who control.Actor, seq uint64, why string) error {
	return w.act(ctx, func(done chan<- error) error {
		before, ok := w.lane.Get(seq)
		if !ok {
			return w.notThere(seq)
		}
		it := w.items[seq]
		if before.State != Held {
			return control.Bad("%s/%d is not held: it is %s", Queue(w.Destination), seq, before.State)
		}
		if it.ID == "" {
			return control.Bad("%s/%d is damaged: it cannot be sent, only discarded", Queue(w.Destination), seq)
		}
		now := time.Now()
		d, _ := w.Policy.Step(before, Event{Kind: Release}, now, 0)
		w.lane.Set(seq, d)
		w.wake()
		a := control.Of(who, "release", w.name(it), why, now)
		a.About = it.About.String()
		w.save(done, func(b *storage.Batch) {
			b.SetState(Queue(w.Destination), seq, d.Encode())
			b.Add(CountHeld, -1)
			b.Add(CountQueued, 1)
			a.Write(b)
		})
		return nil
	})
}

// Discard takes an item out of the queue that is not being sent. It needs a name
// and a reason.
func (w *Worker) Discard(ctx context.Context, who control.Actor, seq uint64, why string) error {
	if err := Named(who, why); err != nil {
		return err
	}
	return w.act(ctx, func(done chan<- error) error {
		before, ok := w.lane.Get(seq)
		if !ok {
			return w.notThere(seq)
		}
		now := time.Now()
		if !w.drop(seq, Event{Kind: Discard}, control.Of(who, "discard", "", why, now), now, done) {
			return control.Bad("%s/%d is %s: it cannot be discarded now", Queue(w.Destination), seq, before.State)
		}
		return nil
	})
}

// Named refuses an act that needs a person's name and a reason.
func Named(who control.Actor, why string) error {
	switch {
	case strings.TrimSpace(who.By) == "":
		return control.Bad("say who discards it: --by NAME")
	case strings.TrimSpace(why) == "":
		return control.Bad("say why: --reason TEXT")
	}
	return nil
}

func (w *Worker) notThere(seq uint64) error {
	return control.Unknown("%s/%d is not in the queue", Queue(w.Destination), seq)
}

// act runs f, which ends in one save or in an error, when what was queued at the
// start is in the lane, and waits until it is on disk.
func (w *Worker) act(ctx context.Context, f func(done chan<- error) error) error {
	w.open()
	select {
	case <-w.caughtUp:
	case <-ctx.Done():
		return ctx.Err()
	}
	done := make(chan error, 1)
	w.lock()
	err := w.ended
	if err == nil {
		err = f(done)
	}
	w.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A Selection says what to send again: by name, or all that was delivered in a
// time or was stored under a range of sequences. What was discarded or expired
// comes back by its name alone.
type Selection struct {
	IDs         []string  // control IDs, SOP Instance UIDs or journal references
	From, To    time.Time // when it left the queue; zero: open
	Channel     string    // of the sequences; empty: what is rendered for the destination
	First, Last uint64    // sequences in the journal; 0: open
}

// MaxResend is how much one act sends again.
const MaxResend = 10000

// Resend queues the stored bytes again, under the same names, in the order in
// which they were stored, and says how many. What is in the queue is not queued
// twice. Where NewestLast says so of its group, what was stored later in the group and
// has been delivered goes with it; while such a one waits in the queue nothing is sent
// again.
func (w *Worker) Resend(ctx context.Context, who control.Actor, s Selection, why string) (n int, err error) {
	w.open()
	select {
	case <-w.caughtUp:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	found, err := w.find(ctx, s)
	if err != nil {
		return 0, err
	}
	found = slices.DeleteFunc(found, w.queuedMarks())
	if found, err = w.withNewer(ctx, found); err != nil {
		return 0, err
	}
	switch {
	case len(found) == 0:
		return 0, control.Unknown("%s: nothing that has left the queue matches, or it is queued again already", w.Destination)
	case len(found) > MaxResend:
		return 0, control.Bad("%s: %d match; at most %d are sent again at once: narrow the range", w.Destination, len(found), MaxResend)
	}
	for some := range slices.Chunk(found, saves) {
		b := new(storage.Batch)
		for _, x := range some {
			x.Ticket.Resend = true
			b.EnqueueRef(Queue(w.Destination), x.Group, x.Ticket.Encode(), x.Ref)
		}
		b.Add(CountAccepted, int64(len(some)))
		b.Add(CountQueued, int64(len(some)))
		b.Add(CountResent, int64(len(some)))
		a := control.Of(who, "resend", fmt.Sprintf("%s %s", Queue(w.Destination), names(some)), why, time.Now())
		a.About = some[0].Ref.String()
		a.Write(b)
		if _, err := w.Store.Commit(ctx, b); err != nil {
			return n, err
		}
		n += len(some)
	}
	return n, nil
}

func names(some []Settled) string {
	first, last := some[0].Ticket.ID, some[len(some)-1].Ticket.ID
	if len(some) == 1 {
		return first
	}
	return fmt.Sprintf("%d: %s to %s", len(some), first, last)
}

// queuedMarks reports of a settled item whether it is in the queue again.
func (w *Worker) queuedMarks() func(Settled) bool {
	w.lock()
	defer w.mu.Unlock()
	marks := make(map[string]bool, len(w.items))
	for _, it := range w.items {
		marks[it.Mark] = true
	}
	return func(s Settled) bool { return marks[s.Ticket.Mark] }
}

// find gives what has left the queue and matches, in the order of the journal.
func (w *Worker) find(ctx context.Context, s Selection) ([]Settled, error) {
	ranged := !s.From.IsZero() || !s.To.IsZero() || s.First > 0 || s.Last > 0
	if ranged == (len(s.IDs) > 0) {
		return nil, control.Bad("name what to send again: either IDs or a range of time or of sequences")
	}
	if s.Channel == "" {
		s.Channel = "out/" + w.Destination
	}
	var found []Settled
	take := func(key string, match func(Settled) bool) error {
		b, ok, err := w.Store.Get(key)
		if err != nil || !ok {
			return err
		}
		x, err := DecodeSettled(b)
		if err != nil {
			return err
		}
		if x.Ref.Channel != "" && match(x) {
			found = append(found, x)
		}
		return nil
	}
	byName := map[string]bool{}
	for _, id := range s.IDs {
		before := len(found)
		if len(id) <= 100 {
			if err := take(DeliveredKey(w.Destination, id), func(Settled) bool { return true }); err != nil {
				return nil, err
			}
		}
		if len(found) == before {
			byName[id] = true
		}
	}
	if ranged || len(byName) > 0 {
		keys, err := w.Store.Keys(deliveredKeys(w.Destination), 0)
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if err := take(key, func(x Settled) bool { return byName[x.Ticket.ID] || ranged && x.How == Delivered && s.has(x) }); err != nil {
				return nil, err
			}
		}
	}
	return inOrder(found), nil
}

func inOrder(found []Settled) []Settled {
	slices.SortFunc(found, func(a, b Settled) int {
		return cmp.Or(cmp.Compare(a.Ref.Channel, b.Ref.Channel), cmp.Compare(a.Ref.Seq, b.Ref.Seq))
	})
	return slices.CompactFunc(found, func(a, b Settled) bool { return a.Ticket.Mark == b.Ticket.Mark })
}

// A line is the messages of one group from one channel, in which the order counts.
type line struct{ group, channel string }

// withNewer adds to what is to be sent again what was stored later in the same lines.
func (w *Worker) withNewer(ctx context.Context, found []Settled) ([]Settled, error) {
	first := map[line]uint64{}
	for _, x := range found {
		l := line{x.Group, x.Ref.Channel}
		if at, known := first[l]; w.NewestLast != nil && w.NewestLast(x.Group) && (!known || x.Ref.Seq < at) {
			first[l] = x.Ref.Seq
		}
	}
	if len(first) == 0 {
		return found, nil
	}
	if waits := w.newerWaits(first); waits != "" {
		return nil, control.Bad("%s: a newer message of the same specimen waits in the queue (%s): nothing older is sent again until it is delivered", w.Destination, waits)
	}
	keys, err := w.Store.Keys(deliveredKeys(w.Destination), 0)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b, ok, err := w.Store.Get(key)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		x, err := DecodeSettled(b)
		if err != nil {
			return nil, err
		}
		if at, known := first[line{x.Group, x.Ref.Channel}]; known && x.How == Delivered && x.Ref.Seq > at {
			found = append(found, x)
		}
	}
	return inOrder(found), nil
}

// newerWaits names an item of the queue that was stored later in one of the lines.
func (w *Worker) newerWaits(first map[line]uint64) string {
	w.lock()
	defer w.mu.Unlock()
	for seq, it := range w.items {
		if at, known := first[line{it.Group, it.About.Channel}]; known && it.About.Seq > at {
			return fmt.Sprintf("%s/%d", Queue(w.Destination), seq)
		}
	}
	return ""
}

// has reports whether something is in the range.
func (s Selection) has(x Settled) bool {
	switch {
	case !s.From.IsZero() && x.At.Before(s.From), !s.To.IsZero() && x.At.After(s.To):
		return false
	case s.First == 0 && s.Last == 0:
		return true
	}
	return x.Ref.Channel == s.Channel && x.Ref.Seq >= s.First && (s.Last == 0 || x.Ref.Seq <= s.Last)
}

// A QueuedItem is one item of the queue, for people.
type QueuedItem struct {
	Item
	State    State
	Attempts int
	Since    time.Time
	Reason   reason.Reason
	Behind   uint64 // the held item that it waits behind; 0: none
}

// Queued lists the items of the queue in order, at most limit.
func (w *Worker) Queued(ctx context.Context, limit int) ([]QueuedItem, error) {
	w.open()
	select {
	case <-w.caughtUp:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	w.lock()
	defer w.mu.Unlock()
	seqs := make([]uint64, 0, len(w.items))
	for seq := range w.items {
		seqs = append(seqs, seq)
	}
	slices.Sort(seqs)
	var list []QueuedItem
	for _, seq := range seqs[:min(len(seqs), limit)] {
		d, _ := w.lane.Get(seq)
		behind, _, _ := w.lane.Blocked(seq)
		list = append(list, QueuedItem{Item: w.items[seq], State: d.State, Attempts: d.Attempts, Since: d.Since, Reason: d.Reason, Behind: behind})
	}
	return list, nil
}

// Depth is how many items there are, as far as the lane is filled.
func (w *Worker) Depth() int {
	w.lock()
	defer w.mu.Unlock()
	return w.lane.Len()
}
