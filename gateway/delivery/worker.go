package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"nhip/gateway/control"
	"nhip/gateway/reason"
	"nhip/storage"
)

// A Sender brings one Item to the destination and says what came of it:
// Accepted, Refused, Rejected, Unclear or NotSent. It keeps its connection
// between calls where the protocol does, and drops it after anything but an
// answer that settles the Item.
type Sender interface {
	// Send makes no connection once ctx has ended. What it has begun to send then
	// it finishes within Late.
	Send(ctx context.Context, it Item) Event
	Close()
}

// grace is how long the answer to what is being sent is waited for after the stop:
// it is in the middle of the time that a stop may take (8 s, of systemd's 10).
const grace = 3 * time.Second

// Late is a context that ends a moment after ctx does: for the answer to what is
// already on its way, so that an orderly stop does not send it twice.
func Late(ctx context.Context) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	return late, func() { stop(); cancel() }
}

// A Store is what the Worker needs of storage.
type Store interface {
	Items(queue string, from uint64, limit int) ([]storage.QueueItem, error)
	Wait(queue string) <-chan struct{}
	Get(key string) ([]byte, bool, error)
	Keys(prefix string, limit int) ([]string, error)
	Commit(ctx context.Context, b *storage.Batch) (storage.Receipt, error)
}

// A Link is how a destination does, for people.
type Link struct {
	State     string // "idle", "sending", "unreachable", "retrying" or "paused"
	Why       reason.Reason
	Attempt   int // of the item that is retried
	Since     time.Time
	Last      time.Time // the last acknowledgement
	Delivered int64     // since the start
	Pause     Pause     // where it is paused
}

// A Worker drains the queue of one destination: several Senders over one Lane,
// one item of a group at a time. Its exported fields are set before Run; its
// methods may be called from many goroutines, also before Run.
type Worker struct {
	Destination string
	Store       Store
	Senders     []Sender // none: nothing is sent, and people may act on the queue
	Policy      Policy
	Expire      time.Duration // what waits for so long expires; 0: nothing does
	LinkMax     time.Duration // longest wait before an unreachable destination is tried again
	Log         *slog.Logger
	// Also, if set, adds to the commit in which an item is delivered what is true
	// with it: at most 4 changes. It waits for nothing.
	Also func(b *storage.Batch, s Settled)
	// NewestLast reports whether the newest item of a group has to be the last at the
	// destination also when older ones are sent again. nil: of none.
	NewestLast func(group string) bool

	once     sync.Once
	slots    chan struct{} // outcomes whose commit may be under way at once
	caughtUp chan struct{} // closed when what was queued at the start is in the lane
	toSave   chan struct{} // there is something in saves

	mu       sync.Mutex
	changed  chan struct{} // closed, and replaced, when a Sender should look again
	lane     *Lane
	items    map[uint64]Item
	words    map[string]string // interned
	link     Link
	pause    Pause
	saves    []save
	early    map[uint64]early // what became of items whose commit is under way, see Answered
	ended    error            // why nothing is saved any more
	sending  int
	failures int       // of the link, in a row
	until    time.Time // when it is tried again
	stamped  time.Time // the newest time of an item that was read
	shifts   []shift   // of the clock of the day
}

// A save is a change on disk that stands in line.
type save struct {
	add  func(*storage.Batch) // at most 8 calls of the Batch
	done chan<- error         // has room for one; nil: nobody waits
}

const (
	page    = 1000 // items read at once
	pending = 256  // outcomes that wait for their commit at once
	saves   = 110  // saved in one commit
)

func (w *Worker) open() {
	w.once.Do(func() {
		w.slots, w.caughtUp, w.toSave = make(chan struct{}, pending), make(chan struct{}), make(chan struct{}, 1)
		w.changed = make(chan struct{})
		w.lane, w.items, w.words, w.early = NewLane(), map[uint64]Item{}, map[string]string{}, map[uint64]early{}
		w.link = Link{State: "idle", Since: time.Now()}
	})
}

// lock opens the worker where that was not done yet.
func (w *Worker) lock() {
	w.open()
	w.mu.Lock()
}

// wake lets the Senders look again; w.mu is held.
func (w *Worker) wake() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// Run works until ctx ends or the store fails; once. The answers to what it was
// sending then are waited for and saved, see Late; what has none by then is sent
// again after the next start.
func (w *Worker) Run(ctx context.Context) error {
	w.open()
	if err := errors.Join(w.readPause(), w.readShifts()); err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	work := func(f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil {
				stop(fmt.Errorf("delivery to %s: %w", w.Destination, err))
			}
		})
	}
	work(w.fill)
	for _, s := range w.Senders {
		work(func(ctx context.Context) error { defer s.Close(); return w.send(ctx, s) })
	}
	if w.Expire > 0 {
		work(w.expire)
	}
	if w.Policy.Process > 0 {
		work(w.overdue)
	}
	saving := make(chan struct{})
	var saver sync.WaitGroup
	saver.Go(func() {
		if err := w.saver(context.WithoutCancel(ctx), saving); err != nil {
			stop(fmt.Errorf("delivery to %s: %w", w.Destination, err))
		}
	})
	<-ctx.Done()
	wg.Wait()
	close(saving) // every outcome is saved before Run returns
	saver.Wait()
	return context.Cause(ctx)
}

// send is the loop of one Sender.
func (w *Worker) send(ctx context.Context, s Sender) error {
	for {
		if ctx.Err() != nil {
			return nil
		}
		it, wait, changed, ok := w.take(time.Now())
		if !ok {
			if !sleep(ctx, wait, changed) {
				return nil
			}
			continue
		}
		if w.Policy.Unanswered == Hold && !w.note(ctx, it) {
			return nil
		}
		e := s.Send(ctx, it)
		if ctx.Err() != nil && e.Kind != Accepted && e.Kind != Refused {
			return nil // settled after the next start
		}
		select {
		case w.slots <- struct{}{}:
		case <-ctx.Done(): // the saver takes what is left
			if e.Kind != Accepted && e.Kind != Refused {
				return nil
			}
			w.slots <- struct{}{}
		}
		w.settle(it, e)
	}
}

// sleep waits for the time (0: for ever), for a change or for the end.
func sleep(ctx context.Context, d time.Duration, changed <-chan struct{}) bool {
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
	case <-changed:
	}
	return true
}

// fill reads what is queued into the lane, page by page, while the Senders work.
func (w *Worker) fill(ctx context.Context) error {
	queued := w.Store.Wait(Queue(w.Destination))
	var next uint64
	first := true
	for {
		items, err := w.Store.Items(Queue(w.Destination), next, page)
		if err != nil {
			return err
		}
		if len(items) > 0 {
			w.lock()
			for _, q := range items {
				w.add(q, !first)
				next = q.Seq + 1
			}
			w.wake()
			w.mu.Unlock()
		}
		if ctx.Err() != nil {
			return nil
		}
		if len(items) == page {
			continue
		}
		if first {
			close(w.caughtUp)
			first = false
		}
		select {
		case <-ctx.Done():
			return nil
		case <-queued:
		}
	}
}

// add puts a stored item into the lane; fresh says that it was queued a moment
// ago, whatever its time says. w.mu is held.
func (w *Worker) add(q storage.QueueItem, fresh bool) {
	now := time.Now()
	it := Item{Seq: q.Seq, Group: w.word(q.Group), At: q.At, since: w.since(q.Seq, q.At, now)}
	if fresh {
		it.since = now
	}
	d, err := Decode(q.State, q.At)
	if err == nil {
		it.Ticket, err = DecodeTicket(q.Value)
	}
	switch {
	case q.Damaged != nil:
		err = q.Damaged
	case err == nil && len(q.About) == 0:
		err = errors.New("delivery: queue item without a journal entry")
	}
	if err != nil {
		w.items[q.Seq] = it
		damaged := New(q.At).hold(reason.New(reason.Damaged, err.Error()), q.At)
		w.lane.Add(q.Seq, q.Group, false, damaged)
		if d.State != Held {
			w.hold(it, damaged)
		}
		return
	}
	if len(q.State) == 0 && !it.Hold.IsZero() {
		d = d.hold(it.Hold, q.At)
	}
	it.Hold = reason.Reason{}
	it.About = storage.Ref{Channel: w.word(q.About[0].Channel), Seq: q.About[0].Seq}
	it.What, it.From = w.word(it.What), w.word(it.From)
	if it.Mark == it.ID {
		it.Mark = it.ID // one copy
	}
	w.items[q.Seq] = it
	d.NotBefore = w.Policy.resume(d, now)
	d, action := w.Policy.Step(d, Event{Kind: Restart}, now, 0)
	w.lane.Add(q.Seq, it.Group, it.Stat, d)
	if action == Alarm {
		w.hold(it, d)
	}
}

// hold saves that an item which was counted as queued is held; w.mu is held.
func (w *Worker) hold(it Item, d Delivery) {
	w.Log.Error("held", "destination", w.Destination, "id", it.ID, "item", it.Seq, "reason", d.Reason)
	w.save(nil, func(b *storage.Batch) {
		b.SetState(Queue(w.Destination), it.Seq, d.Encode())
		b.Add(CountQueued, -1)
		b.Add(CountHeld, 1)
	})
}

// word is one copy of a text of which there are few.
func (w *Worker) word(s string) string {
	if have, ok := w.words[s]; ok {
		return have
	}
	if len(w.words) > 10000 {
		clear(w.words)
	}
	w.words[s] = s
	return s
}

// take chooses the next item and notes that it is being sent; where there is none,
// wait and changed say when to look again. While a destination is unreachable one
// item at a time finds out whether it is back.
func (w *Worker) take(now time.Time) (it Item, wait time.Duration, changed <-chan struct{}, ok bool) {
	w.lock()
	defer w.mu.Unlock()
	switch {
	case w.pause.Paused(), w.failures > 0 && w.sending > 0:
		return it, 0, w.changed, false
	case w.until.After(now):
		return it, w.until.Sub(now), w.changed, false
	}
	seq, wait, ok := w.lane.Next(now)
	if !ok {
		if w.sending == 0 && w.link.State == "sending" {
			w.setLink("idle", reason.Reason{}, 0, now)
		}
		return it, wait, w.changed, false
	}
	d, _ := w.lane.Get(seq)
	d, _ = w.Policy.Step(d, Event{Kind: Send}, now, 0)
	w.lane.Set(seq, d)
	w.sending++
	return w.items[seq], 0, nil, true
}

// note saves, before the first byte goes out, that an item is being sent.
func (w *Worker) note(ctx context.Context, it Item) bool {
	saved := make(chan error, 1)
	w.lock()
	d, _ := w.lane.Get(it.Seq)
	w.save(saved, func(b *storage.Batch) { b.SetState(Queue(w.Destination), it.Seq, d.Encode()) })
	w.mu.Unlock()
	select {
	case err := <-saved:
		return err == nil
	case <-ctx.Done():
		return false
	}
}

// settle takes the outcome into the lane and has it saved, in the order in which
// the outcomes came. The next item of the same group may go as soon as this one is
// accepted: a crash before the commit sends both again, in order, under their own
// names.
func (w *Worker) settle(it Item, e Event) {
	w.lock()
	defer w.mu.Unlock()
	now := time.Now()
	before, _ := w.lane.Get(it.Seq)
	var told chan<- error
	e, told = w.overtaken(it.Seq, e)
	d, action := w.Policy.Step(before, e, now, rand.Float64())
	w.lane.Set(it.Seq, d)
	w.sending--
	w.wake()
	free := make(chan error, 1)
	if e.Kind == NotSent {
		w.unreachable(e.Why, now)
		if w.Policy.Unanswered != Hold { // nothing on disk changes
			<-w.slots
			return
		}
	} else {
		w.failures, w.until = 0, time.Time{}
	}
	queue := Queue(w.Destination)
	switch action {
	case Finish:
		delete(w.items, it.Seq)
		w.link.Last = now
		w.link.Delivered++
		w.setLink("sending", reason.Reason{}, 0, now)
		settled := Settled{At: now, How: Delivered, Ref: it.About, Group: it.Group, Ticket: it.Ticket, Answer: e.Answer}
		w.save(free, func(b *storage.Batch) { w.delivered(b, it, settled) })
	case Alarm:
		w.setLink("sending", reason.Reason{}, 0, now)
		w.Log.Error("held", "destination", w.Destination, "id", it.ID, "item", it.Seq, "reason", e.Why)
		w.save(free, func(b *storage.Batch) {
			b.SetState(queue, it.Seq, d.Encode())
			b.Add(CountQueued, -1)
			b.Add(CountHeld, 1)
		})
	default:
		if e.Kind == Commit {
			w.link.Last = now
			w.setLink("sending", reason.Reason{}, 0, now)
		} else if e.Kind != NotSent {
			w.setLink("retrying", e.Why, d.Attempts, now)
			w.Log.Warn("not settled", "destination", w.Destination, "id", it.ID, "item", it.Seq, "attempt", d.Attempts, "reason", e.Why)
		}
		w.save(free, func(b *storage.Batch) { b.SetState(queue, it.Seq, d.Encode()) })
	}
	go func() {
		err := <-free
		<-w.slots
		if told != nil {
			told <- err
		}
	}()
}

// unreachable puts off what is sent next; w.mu is held.
func (w *Worker) unreachable(why reason.Reason, now time.Time) {
	if !w.until.After(now) {
		w.failures++
		p := Policy{First: w.Policy.First, Max: w.LinkMax}
		w.until = now.Add(p.Backoff(w.failures, rand.Float64()))
	}
	w.setLink("unreachable", why, 0, now)
}

// delivered adds to a batch that an item arrived.
func (w *Worker) delivered(b *storage.Batch, it Item, settled Settled) {
	b.Remove(Queue(w.Destination), it.Seq)
	b.Put(DeliveredKey(w.Destination, it.Mark), settled.Encode())
	b.Add(CountQueued, -1)
	b.Add(CountDelivered, 1)
	if w.Also != nil {
		w.Also(b, settled)
	}
}

// save puts a change into the line; w.mu is held.
func (w *Worker) save(done chan<- error, add func(*storage.Batch)) {
	if w.ended != nil {
		if done != nil {
			done <- w.ended
		}
		return
	}
	w.saves = append(w.saves, save{add, done})
	select {
	case w.toSave <- struct{}{}:
	default:
	}
}

// errStopped is what an act gets that comes when the worker has ended.
var errStopped = errors.New("the gateway stops: nothing was changed")

// saver commits what stands in the line, many in one transaction and in order,
// until stop is closed and the line is empty.
func (w *Worker) saver(ctx context.Context, stop <-chan struct{}) error {
	for {
		some := w.some()
		if len(some) == 0 {
			select {
			case <-w.toSave:
				continue
			case <-stop:
			}
			if some = w.some(); len(some) == 0 {
				w.end(errStopped)
				return nil
			}
		}
		b := new(storage.Batch)
		for _, s := range some {
			s.add(b)
		}
		_, err := w.Store.Commit(ctx, b)
		for _, s := range some {
			if s.done != nil {
				s.done <- err
			}
		}
		if err != nil {
			w.end(err)
			return err
		}
	}
}

// some takes the beginning of the line.
func (w *Worker) some() []save {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(len(w.saves), saves)
	some := w.saves[:n:n]
	w.saves = w.saves[n:]
	if len(w.saves) == 0 {
		w.saves = nil
	}
	return some
}

// end refuses all that stands in line or comes later.
func (w *Worker) end(why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = why
	for _, s := range w.saves {
		if s.done != nil {
			s.done <- why
		}
	}
	w.saves = nil
}

// expire takes out what waits for too long.
func (w *Worker) expire(ctx context.Context) error {
	if !sleep(ctx, min(w.Expire, settling), nil) {
		return nil
	}
	t := time.NewTicker(max(time.Second, min(time.Minute, w.Expire/20)))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		w.lock()
		now := time.Now()
		var old []uint64
		for seq, it := range w.items {
			if expired(it, now, w.Expire) {
				old = append(old, seq)
			}
		}
		slices.Sort(old)
		for _, seq := range old {
			w.drop(seq, Event{Kind: Expire}, control.Of(control.Policy, "expire", "", "older than "+w.Expire.String(), now), now, nil)
		}
		w.mu.Unlock()
	}
}

// drop takes an item out of the queue that is not delivered, with its entry in the
// audit channel; false where its state does not allow it. w.mu is held.
func (w *Worker) drop(seq uint64, e Event, a control.Audit, now time.Time, done chan<- error) bool {
	before, _ := w.lane.Get(seq)
	d, action := w.Policy.Step(before, e, now, 0)
	if action != Drop || w.ended != nil {
		return false
	}
	it := w.items[seq]
	w.lane.Set(seq, d)
	delete(w.items, seq)
	w.wake()
	from, to := CountQueued, CountDiscarded
	if before.State == Held {
		from = CountHeld
	}
	if d.State == Expired {
		to = CountExpired
	}
	a.What, a.About = w.name(it), it.About.String()
	settled := Settled{At: now, How: d.State, Ref: it.About, Group: it.Group, Ticket: it.Ticket, Answer: d.Answer}
	if e.Kind == Discard {
		settled.By = a.By
	}
	w.Log.Warn(d.State.String(), "destination", w.Destination, "id", it.ID, "item", seq, "user", a.User, "by", a.By)
	w.save(done, func(b *storage.Batch) {
		b.Remove(Queue(w.Destination), seq)
		if it.Mark != "" {
			b.Put(DeliveredKey(w.Destination, it.Mark), settled.Encode())
		}
		b.Add(from, -1)
		b.Add(to, 1)
		a.Write(b)
	})
	return true
}

// name names an item in the audit channel.
func (w *Worker) name(it Item) string {
	return fmt.Sprintf("%s/%d %s", Queue(w.Destination), it.Seq, it.ID)
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
	w.lock()
	defer w.mu.Unlock()
	l := w.link
	if w.pause.Paused() {
		l.State, l.Since, l.Pause = "paused", w.pause.At, w.pause
	}
	return l
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
	w.lock()
	defer w.mu.Unlock()
	var held []HeldItem
	for seq, x := range w.lane.held {
		held = append(held, HeldItem{Item: w.items[seq], Reason: x.d.Reason, Since: x.d.Since, Behind: x.g.behind(x)})
	}
	slices.SortFunc(held, func(a, b HeldItem) int { return cmp.Compare(a.Seq, b.Seq) })
	if len(held) > limit {
		held = held[:limit]
	}
	return held
}

// Counts are how many items wait for a person, how many behind those, and how many
// were sent and not answered.
func (w *Worker) Counts() (held, behind, unanswered int) {
	w.lock()
	defer w.mu.Unlock()
	for _, x := range w.lane.held {
		held++
		behind += x.g.behind(x)
	}
	return held, behind, w.lane.unanswered
}

// IsHeld reports whether the item with a mark waits for a person, or behind one
// that does.
func (w *Worker) IsHeld(mark string) (held, behind bool) {
	w.lock()
	defer w.mu.Unlock()
	for seq, x := range w.lane.held {
		if w.items[seq].Mark == mark {
			return true, false
		}
		for _, other := range x.g.items {
			behind = behind || other.seq > seq && w.items[other.seq].Mark == mark
		}
	}
	return false, behind
}
