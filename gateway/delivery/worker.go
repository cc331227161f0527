package delivery

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"nhip/gateway/reason"
	"nhip/storage"
)

// Counters of the conservation sum, which a batch changes together with what
// they count.
const (
	CountQueued    = "queued"
	CountHeld      = "held"
	CountDelivered = "delivered"
)

// Queue is the name of a destination's queue.
func Queue(destination string) string { return "to/" + destination }

// DeliveredKey is where it is noted that a destination has acknowledged an item,
// and when.
func DeliveredKey(destination, mark string) string { return "delivered/" + destination + "/" + mark }

// A Ticket is the value of a queue item: what the lane has to know of it. The
// bytes to send are in the journal.
type Ticket struct {
	ID   string `json:"id"`             // control ID or SOP Instance UID: the name that the destination knows
	What string `json:"what"`           // message type or modality, for people: "ORU^R01", "CT"
	Of   string `json:"of,omitempty"`   // the specimen, for people
	From string `json:"from,omitempty"` // the connection that brought it, for people
	Stat bool   `json:"stat,omitempty"` // overtakes other groups
	Mark string `json:"mark"`           // under which its delivery is noted, see DeliveredKey
}

// Encode is the stored form.
func (t Ticket) Encode() []byte {
	b, err := json.Marshal(t)
	if err != nil {
		panic(err) // no value of this struct fails to marshal
	}
	return b
}

// DecodeTicket reads what Encode wrote.
func DecodeTicket(b []byte) (Ticket, error) {
	var t Ticket
	if err := json.Unmarshal(b, &t); err != nil {
		return Ticket{}, fmt.Errorf("delivery: queue item: %w", err)
	}
	return t, nil
}

// An Item is one thing to send.
type Item struct {
	Ticket
	Seq   uint64
	Group string
	About storage.Ref // the journal entry that holds the bytes
}

// A Sender brings one Item to the destination and says what came of it:
// Accepted, Refused, Rejected, Unclear or NotSent. It keeps its connection
// between calls where the protocol does, and drops it after anything but an
// answer that settles the Item.
type Sender interface {
	Send(ctx context.Context, it Item) Event
	Close()
}

// A Store is what the Worker needs of storage.
type Store interface {
	Items(queue string, from uint64, limit int) ([]storage.QueueItem, error)
	Wait(queue string) <-chan struct{}
	Commit(ctx context.Context, b *storage.Batch) (storage.Receipt, error)
}

// A Link is how a destination does, for people.
type Link struct {
	State     string // "idle", "sending", "unreachable" or "retrying"
	Why       reason.Reason
	Attempt   int // of the item that is retried
	Since     time.Time
	Last      time.Time // the last acknowledgement
	Delivered int64     // since the start
}

// A Worker drains the queue of one destination, one item at a time.
type Worker struct {
	Destination string
	Store       Store
	Sender      Sender
	Policy      Policy
	LinkMax     time.Duration // longest wait before an unreachable destination is tried again
	Log         *slog.Logger

	mu   sync.Mutex
	lane *Lane
	link Link
	next uint64 // sequence from which the lane has not been filled
	ids  map[uint64]Item
}

const (
	page    = 1000 // items read at once
	pending = 256  // outcomes whose commit may be under way at once
)

// Run works until ctx ends or the store fails. What it was sending then is
// sent again after the next start.
func (w *Worker) Run(ctx context.Context) error {
	w.mu.Lock()
	w.lane, w.ids, w.next = NewLane(), map[uint64]Item{}, 0
	w.link = Link{State: "idle", Since: time.Now()}
	w.mu.Unlock()
	defer w.Sender.Close()

	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	commits := make(chan struct{}, pending)
	defer func() { // every outcome is saved before Run returns
		for range pending {
			commits <- struct{}{}
		}
	}()
	var linkFailures int
	var linkUntil time.Time
	queued := w.Store.Wait(Queue(w.Destination))
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := w.fill(); err != nil {
			return err
		}
		now := time.Now()
		var it Item
		var wait time.Duration
		var ok bool
		if linkUntil.After(now) {
			wait = linkUntil.Sub(now)
		} else {
			it, wait, ok = w.take(now)
		}
		if !ok {
			w.rests()
			if !sleep(ctx, wait, queued) {
				return context.Cause(ctx)
			}
			continue
		}
		e := w.Sender.Send(ctx, it)
		if ctx.Err() != nil && e.Kind != Accepted && e.Kind != Refused {
			return context.Cause(ctx) // sent again after the next start
		}
		if e.Kind == NotSent {
			linkFailures++
			p := Policy{First: w.Policy.First, Max: w.LinkMax}
			linkUntil = time.Now().Add(p.Backoff(linkFailures, rand.Float64()))
			w.settleInMemory(it.Seq, e)
			continue
		}
		linkFailures = 0
		commits <- struct{}{}
		done := w.settle(ctx, it, e)
		go func() {
			defer func() { <-commits }()
			if err := done(); err != nil {
				stop(fmt.Errorf("delivery to %s: %w", w.Destination, err))
			}
		}()
	}
}

// sleep waits for the time (0: for ever), for the queue or for the end.
func sleep(ctx context.Context, d time.Duration, queued <-chan struct{}) bool {
	var timer <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-timer:
	case <-queued:
	}
	return true
}

// fill reads what was queued since the last time into the lane.
func (w *Worker) fill() error {
	for {
		items, err := w.Store.Items(Queue(w.Destination), w.next, page)
		if err != nil {
			return fmt.Errorf("delivery to %s: %w", w.Destination, err)
		}
		w.mu.Lock()
		for _, q := range items {
			w.add(q)
			w.next = q.Seq + 1
		}
		w.mu.Unlock()
		if len(items) < page {
			return nil
		}
	}
}

func (w *Worker) add(q storage.QueueItem) {
	d, err := Decode(q.State, q.At)
	if err != nil {
		d = New(q.At).hold(reason.New(reason.Damaged, err.Error()), q.At)
	}
	t, err := DecodeTicket(q.Value)
	if err == nil && len(q.About) == 0 {
		err = fmt.Errorf("delivery: queue item without a journal entry")
	}
	if err != nil {
		w.lane.Add(q.Seq, q.Group, false, New(q.At).hold(reason.New(reason.Damaged, err.Error()), q.At))
		w.ids[q.Seq] = Item{Seq: q.Seq, Group: q.Group}
		return
	}
	w.ids[q.Seq] = Item{Ticket: t, Seq: q.Seq, Group: q.Group, About: q.About[0]}
	w.lane.Add(q.Seq, q.Group, t.Stat, d)
}

// rests notes that there is nothing to do.
func (w *Worker) rests() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.link.State == "sending" {
		w.setLink("idle", reason.Reason{}, 0, time.Now())
	}
}

// take chooses the next item and notes that it is being sent.
func (w *Worker) take(now time.Time) (Item, time.Duration, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seq, wait, ok := w.lane.Next(now)
	if !ok {
		return Item{}, wait, false
	}
	d, _ := w.lane.Get(seq)
	d, _ = w.Policy.Step(d, Event{Kind: Send}, now, 0)
	w.lane.Set(seq, d)
	return w.ids[seq], 0, true
}

// settleInMemory is for events that change nothing on disk.
func (w *Worker) settleInMemory(seq uint64, e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	d, _ := w.lane.Get(seq)
	d, _ = w.Policy.Step(d, e, now, 0)
	w.lane.Set(seq, d)
	w.setLink("unreachable", e.Why, 0, now)
}

// settle takes the outcome into the lane and returns what saves it. The next
// item of the same group may go as soon as this one is accepted: a crash
// before the commit sends both again, in order, under their own names.
func (w *Worker) settle(ctx context.Context, it Item, e Event) func() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	before, _ := w.lane.Get(it.Seq)
	d, action := w.Policy.Step(before, e, now, rand.Float64())
	w.lane.Set(it.Seq, d)
	b := new(storage.Batch)
	switch action {
	case Finish:
		delete(w.ids, it.Seq)
		b.Remove(Queue(w.Destination), it.Seq)
		b.Put(DeliveredKey(w.Destination, it.Mark), []byte(now.UTC().Format(time.RFC3339)))
		b.Add(CountQueued, -1)
		b.Add(CountDelivered, 1)
		w.link.Last = now
		w.link.Delivered++
		w.setLink("sending", reason.Reason{}, 0, now)
	case Alarm:
		b.SetState(Queue(w.Destination), it.Seq, d.Encode())
		b.Add(CountQueued, -1)
		b.Add(CountHeld, 1)
		w.setLink("sending", reason.Reason{}, 0, now)
		w.Log.Error("held", "destination", w.Destination, "id", it.ID, "item", it.Seq, "reason", e.Why)
	default:
		b.SetState(Queue(w.Destination), it.Seq, d.Encode())
		w.setLink("retrying", e.Why, d.Attempts, now)
		w.Log.Warn("not settled", "destination", w.Destination, "id", it.ID, "item", it.Seq, "attempt", d.Attempts, "reason", e.Why)
	}
	ctx = context.WithoutCancel(ctx)
	return func() error {
		_, err := w.Store.Commit(ctx, b)
		return err
	}
}

func (w *Worker) setLink(state string, why reason.Reason, attempt int, now time.Time) {
	if state == "unreachable" && w.link.State != state {
		w.Log.Warn("destination unreachable", "destination", w.Destination, "reason", why)
	}
	if w.link.State != state {
		w.link.Since = now
	}
	w.link.State, w.link.Why, w.link.Attempt = state, why, attempt
}

// Link says how the destination does.
func (w *Worker) Link() Link {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.link
}

// A HeldItem is one that waits for a person, and how many wait behind it.
type HeldItem struct {
	Item
	Reason reason.Reason
	Since  time.Time
	Behind int
}

// Held lists what waits for a person, at most limit.
func (w *Worker) Held(limit int) []HeldItem {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lane == nil {
		return nil
	}
	var held []HeldItem
	for seq, x := range w.lane.held {
		held = append(held, HeldItem{Item: w.ids[seq], Reason: x.d.Reason, Since: x.d.Since, Behind: x.g.behind(x)})
	}
	sortHeld(held)
	if len(held) > limit {
		held = held[:limit]
	}
	return held
}

// HeldCount is how many items wait for a person, and how many behind them.
func (w *Worker) HeldCount() (held, behind int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lane == nil {
		return 0, 0
	}
	for _, x := range w.lane.held {
		held++
		behind += x.g.behind(x)
	}
	return held, behind
}

// IsHeld reports whether the item with a mark waits for a person, or behind one
// that does.
func (w *Worker) IsHeld(mark string) (held, behind bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lane == nil {
		return false, false
	}
	for seq, x := range w.lane.held {
		if w.ids[seq].Mark == mark {
			return true, false
		}
		for _, other := range x.g.items {
			behind = behind || other.seq > seq && w.ids[other.seq].Mark == mark
		}
	}
	return false, behind
}

func sortHeld(h []HeldItem) {
	slices.SortFunc(h, func(a, b HeldItem) int { return cmp.Compare(a.Seq, b.Seq) })
}
