package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nhip/gateway/reason"
	"nhip/storage"
)

// disk is a Store over a real one in a temporary folder; it counts commits.
func disk(t *testing.T) *storage.Store {
	t.Helper()
	s, err := storage.Open(context.Background(), storage.Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// enqueue queues items as interpretation does.
func enqueue(t *testing.T, s *storage.Store, group string, stat bool, ids ...string) {
	t.Helper()
	for _, id := range ids {
		b := new(storage.Batch)
		j := b.Append("out/lis", []byte(id))
		b.Enqueue(Queue("lis"), group, Ticket{ID: id, What: "ORU^R01", Stat: stat, Mark: id}.Encode(), j)
		b.Add(CountQueued, 1)
		b.Add(CountAccepted, 1)
		if _, err := s.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
}

// peer is a Sender that answers from a script, and Accepted after it.
type peer struct {
	mu     sync.Mutex
	script map[string][]Event
	got    []string
	seen   func(Item)
}

func (p *peer) Send(_ context.Context, it Item) Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(p.got, it.ID)
	if p.seen != nil {
		p.seen(it)
	}
	if s := p.script[it.ID]; len(s) > 0 {
		p.script[it.ID] = s[1:]
		return s[0]
	}
	return Event{Kind: Accepted}
}

func (*peer) Close() {}

func (p *peer) sent() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.got)
}

func worker(s *storage.Store, p ...Sender) *Worker {
	return &Worker{Destination: "lis", Store: s, Senders: p, Policy: DefaultPolicy(), LinkMax: 10 * time.Second, Log: slog.New(slog.DiscardHandler)}
}

func begin(w *Worker) func() error {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	return func() error { cancel(); return <-ended }
}

func start(s *storage.Store, p Sender) (*Worker, func() error) {
	w := worker(s, p)
	return w, begin(w)
}

// within runs f in virtual time, with a store that is closed at the end.
func within(t *testing.T, f func(t *testing.T, s *storage.Store)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := disk(t)
		f(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestRetriedUnderTheSameControlIDUntilAccepted(t *testing.T) {
	within(t, func(t *testing.T, s *storage.Store) {
		enqueue(t, s, "A", false, "1", "2")
		enqueue(t, s, "B", false, "3")
		p := &peer{script: map[string][]Event{"1": {{Kind: Unclear, Why: reason.Text("silence")}, {Kind: Rejected, Why: reason.New(reason.Answered, "AR")}}}}
		_, stop := start(s, p)
		time.Sleep(20 * time.Second)
		stop()
		if want := []string{"1", "3", "1", "1", "2"}; !slices.Equal(p.sent(), want) {
			t.Errorf("sent %v, want %v", p.sent(), want)
		}
		if c := s.Counters(); c[CountDelivered] != 3 || c[CountQueued] != 0 || s.Depth(Queue("lis")) != 0 {
			t.Errorf("%v, depth %d", c, s.Depth(Queue("lis")))
		}
	})
}

func TestAHeldItemStaysHeldOverARestart(t *testing.T) {
	within(t, func(t *testing.T, s *storage.Store) {
		enqueue(t, s, "A", false, "1", "2")
		enqueue(t, s, "B", false, "3")
		p := &peer{script: map[string][]Event{"1": {{Kind: Refused, Why: reason.Reason{Code: reason.Answered, Args: []string{"AE"}, Said: "unknown patient"}}}}}
		_, stop := start(s, p)
		time.Sleep(time.Second)
		stop()
		again := &peer{}
		w, stop := start(s, again)
		time.Sleep(time.Hour)
		held := w.Held(10)
		stop()
		if len(again.sent()) != 0 {
			t.Errorf("after the restart %v was sent", again.sent())
		}
		if len(held) != 1 || held[0].ID != "1" || held[0].Behind != 1 || held[0].Reason.In(reason.English) != "the destination answered AE: unknown patient" {
			t.Errorf("%+v", held)
		}
		if c := s.Counters(); c[CountHeld] != 1 || c[CountQueued] != 1 || c[CountDelivered] != 1 {
			t.Errorf("%v", c)
		}
	})
}

func TestAnUnreachableDestinationCostsNoAttempt(t *testing.T) {
	within(t, func(t *testing.T, s *storage.Store) {
		enqueue(t, s, "A", false, "1")
		away := slices.Repeat([]Event{{Kind: NotSent, Why: reason.New(reason.NothingListens)}}, 30)
		p := &peer{script: map[string][]Event{"1": away}}
		w, stop := start(s, p)
		time.Sleep(2 * time.Second)
		if l := w.Link(); l.State != "unreachable" || l.Why.Code != reason.NothingListens {
			t.Errorf("%+v", l)
		}
		time.Sleep(10 * time.Minute)
		stop()
		if n := len(p.sent()); n != 31 {
			t.Errorf("%d tries", n)
		}
		if c := s.Counters(); c[CountDelivered] != 1 || c[CountHeld] != 0 {
			t.Errorf("%v", c)
		}
	})
}

func TestStatGoesFirstWhenTheDestinationIsBack(t *testing.T) {
	within(t, func(t *testing.T, s *storage.Store) {
		for i := range 50 {
			enqueue(t, s, fmt.Sprint("routine", i), false, fmt.Sprint(i))
		}
		away := slices.Repeat([]Event{{Kind: NotSent}}, 3)
		p := &peer{script: map[string][]Event{"0": away}}
		_, stop := start(s, p)
		time.Sleep(1500 * time.Millisecond)
		enqueue(t, s, "urgent", true, "stat")
		time.Sleep(time.Minute)
		stop()
		got := p.sent()
		if i := slices.Index(got, "stat"); i < 0 || slices.Contains(got[:i], "1") {
			t.Errorf("%v", got)
		}
	})
}

func TestWhatIsBeingSentAtTheStopIsSentAgain(t *testing.T) {
	within(t, func(t *testing.T, s *storage.Store) {
		enqueue(t, s, "A", false, "1")
		b := &blocking{}
		_, stop := start(s, b)
		time.Sleep(time.Second)
		stop()
		p := &peer{}
		_, stop = start(s, p)
		time.Sleep(time.Second)
		stop()
		if !slices.Equal(p.sent(), []string{"1"}) || s.Counters()[CountDelivered] != 1 {
			t.Errorf("%v %v", p.sent(), s.Counters())
		}
	})
}

// blocking never gets an answer.
type blocking struct{}

func (*blocking) Send(ctx context.Context, _ Item) Event {
	<-ctx.Done()
	return Event{Kind: Unclear, Why: reason.Text("stopped")}
}
func (*blocking) Close() {}

// What a destination answers is kept with what came of it, in the same commit.
func TestTheLastAnswerIsKept(t *testing.T) {
	within(t, func(t *testing.T, s *storage.Store) {
		enqueue(t, s, "A", false, "1")
		enqueue(t, s, "B", false, "2")
		long := strings.Repeat("x", 10*maxAnswer)
		p := &peer{script: map[string][]Event{
			"1": {{Kind: Rejected, Answer: Answered([]byte("AR 1"))}, {Kind: Unclear}, {Kind: Accepted, Answer: Answered([]byte("AA 1"))}},
			"2": {{Kind: Refused, Answer: Answered([]byte(long))}},
		}}
		_, stop := start(s, p)
		time.Sleep(500 * time.Millisecond)
		items, err := s.Items(Queue("lis"), 0, 10)
		if err != nil || len(items) != 2 {
			t.Fatal(items, err)
		}
		d1, err1 := Decode(items[0].State, t0)
		d2, err2 := Decode(items[1].State, t0)
		if err1 != nil || string(d1.Answer.Bytes) != "AR 1" || d1.State != Waiting {
			t.Errorf("%+v %v", d1, err1)
		}
		if err2 != nil || string(d2.Answer.Bytes) != long[:maxAnswer] || d2.Answer.Length != len(long) || d2.State != Held {
			t.Errorf("%d of %d bytes, %v %v", len(d2.Answer.Bytes), d2.Answer.Length, d2.State, err2)
		}
		time.Sleep(time.Minute)
		stop()
		b, ok, err := s.Get(DeliveredKey("lis", "1"))
		if err != nil || !ok {
			t.Fatal("not settled: ", err)
		}
		if x, err := DecodeSettled(b); err != nil || string(x.Answer.Bytes) != "AA 1" {
			t.Errorf("%+v %v", x, err)
		}
	})
}

// slow answers after a while, and waits for that after a stop too.
type slow struct {
	peer
	after time.Duration
}

func (s *slow) Send(ctx context.Context, it Item) Event {
	late, cancel := Late(ctx)
	defer cancel()
	select {
	case <-late.Done():
		return Event{Kind: Unclear, Why: reason.Text("stopped")}
	case <-time.After(s.after):
		return s.peer.Send(ctx, it)
	}
}

func TestAnAnswerThatComesSoonAfterTheStopIsSaved(t *testing.T) {
	for _, c := range []struct {
		after, stop time.Duration // the answer takes, the stop takes
		delivered   int64
	}{
		{time.Second, 500 * time.Millisecond, 1},
		{3 * time.Second, 2500 * time.Millisecond, 1},
		{10 * time.Second, grace, 0},
	} {
		within(t, func(t *testing.T, s *storage.Store) {
			enqueue(t, s, "A", false, "1", "2")
			_, stop := start(s, &slow{after: c.after})
			time.Sleep(500 * time.Millisecond)
			began := time.Now()
			stop()
			if took := time.Since(began); took != c.stop {
				t.Errorf("an answer after %s: stopped after %s, want %s", c.after, took, c.stop)
			}
			if n := s.Counters(); n[CountDelivered] != c.delivered || n[CountQueued] != 2-c.delivered {
				t.Errorf("an answer after %s: %v", c.after, n)
			}
		})
	}
}

func TestAStoreThatFailsEndsTheWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := disk(t)
		enqueue(t, s, "A", false, "1")
		p := &peer{}
		w := &Worker{Destination: "lis", Store: failing{s}, Senders: []Sender{p}, Policy: DefaultPolicy(), LinkMax: time.Second, Log: slog.New(slog.DiscardHandler)}
		err := w.Run(t.Context())
		if err == nil {
			t.Error("it went on")
		}
		s.Close()
	})
}

type failing struct{ *storage.Store }

func (failing) Commit(context.Context, *storage.Batch) (storage.Receipt, error) {
	return storage.Receipt{}, storage.ErrFailed
}
