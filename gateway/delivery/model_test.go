package delivery

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nhip/gateway/control"
	"nhip/gateway/reason"
	"nhip/storage"
	"nhip/storage/storagetest/figures"
)

// A liar is a destination with several connections that answers each item from a
// script, and Accepted after it. It holds what is promised: one of a group at a
// time, in the order of the queue, each accepted once.
type liar struct {
	mu     sync.Mutex
	script map[string][]Kind
	busy   map[string]uint64
	last   map[string]uint64 // newest accepted of a group
	taken  map[uint64]int    // how often it was accepted
	order  []uint64
	wrong  []string
}

func newLiar() *liar {
	return &liar{script: map[string][]Kind{}, busy: map[string]uint64{}, last: map[string]uint64{}, taken: map[uint64]int{}}
}

func (l *liar) Send(ctx context.Context, it Item) Event {
	group := it.Group
	if group == "" {
		group = fmt.Sprint("alone ", it.Seq)
	}
	l.mu.Lock()
	if other, ok := l.busy[group]; ok {
		l.wrong = append(l.wrong, fmt.Sprintf("%d was sent while %d of %s was", it.Seq, other, group))
	}
	l.busy[group] = it.Seq
	if l.last[group] > it.Seq {
		l.wrong = append(l.wrong, fmt.Sprintf("%d of %s came after %d was accepted", it.Seq, group, l.last[group]))
	}
	kind := Accepted
	if s := l.script[it.ID]; len(s) > 0 {
		kind, l.script[it.ID] = s[0], s[1:]
	}
	l.mu.Unlock()
	if it.Seq%3 == 0 {
		time.Sleep(50 * time.Microsecond)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.busy, group)
	if kind == Accepted {
		if l.taken[it.Seq]++; l.taken[it.Seq] > 1 {
			l.wrong = append(l.wrong, fmt.Sprintf("%d was accepted twice", it.Seq))
		}
		l.last[group] = it.Seq
		l.order = append(l.order, it.Seq)
	}
	return Event{Kind: kind, Why: reason.Text("scripted")}
}

func (*liar) Close() {}

// checks sets how many sequences rapid draws.
func checks(t *testing.T, n string) {
	t.Helper()
	if os.Getenv("NHIP_SOAK") != "" {
		n = "10000"
	}
	f := flag.Lookup("rapid.checks")
	was := f.Value.String()
	f.Value.Set(n)
	t.Cleanup(func() { f.Value.Set(was) })
}

// Random items, answers, senders, acts of people and restarts: nothing is lost or
// doubled, the order within a specimen holds, and the sum is right in every
// snapshot.
func TestModelOfLaneSendersAndPeople(t *testing.T) {
	checks(t, "60")
	s := disk(t)
	defer s.Close()
	stop := watchBalance(t, s)
	defer stop()
	var run int
	rapid.Check(t, func(rt *rapid.T) {
		run++
		model(rt, s, fmt.Sprint("d", run))
	})
	figures.Report(t, fmt.Sprintf("%d random sequences of items, answers, senders, acts of people and restarts: each item settled once, order kept within a specimen, the sum right in every snapshot", run), "0 lost, 0 doubled, order kept, sum right")
}

// watchBalance holds every snapshot that it can get against the conservation sum.
func watchBalance(t *testing.T, s *storage.Store) func() {
	var stop atomic.Bool
	var wg sync.WaitGroup
	var n int
	wg.Go(func() {
		for !stop.Load() {
			if err := Balance(s.Snapshot()); err != nil {
				t.Error(err)
				return
			}
			n++
			time.Sleep(20 * time.Microsecond)
		}
	})
	return func() {
		stop.Store(true)
		wg.Wait()
		if err := Balance(s.Snapshot()); err != nil || n == 0 {
			t.Errorf("%d snapshots, the last: %v", n, err)
		}
	}
}

var anna = control.Actor{User: "nhip", By: "Anna", Via: control.ViaSocket}

func model(rt *rapid.T, s *storage.Store, destination string) {
	ctx := context.Background()
	dest := newLiar()
	policy := Policy{First: 100 * time.Microsecond, Max: time.Millisecond, MaxRejections: 3}
	if rapid.Bool().Draw(rt, "hold") {
		policy.Unanswered = Hold
	}
	senders := rapid.IntRange(1, 5).Draw(rt, "senders")
	n := rapid.IntRange(1, 25).Draw(rt, "items")
	start := func() (*Worker, func()) {
		w := &Worker{Destination: destination, Store: s, Policy: policy, LinkMax: time.Millisecond, Log: slog.New(slog.DiscardHandler)}
		for range senders {
			w.Senders = append(w.Senders, dest)
		}
		ctx, cancel := context.WithCancel(ctx)
		var wg sync.WaitGroup
		wg.Go(func() { _ = w.Run(ctx) })
		return w, func() { cancel(); wg.Wait() }
	}
	ids := map[uint64]string{}
	add := func(i int) {
		id, group := fmt.Sprintf("%s-%d", destination, i), rapid.SampledFrom([]string{"A", "B", "C", ""}).Draw(rt, "group")
		dest.mu.Lock()
		dest.script[id] = rapid.SliceOfN(rapid.SampledFrom([]Kind{Refused, Rejected, Unclear, NotSent, Accepted}), 0, 4).Draw(rt, "answers")
		dest.mu.Unlock()
		b := new(storage.Batch)
		j := b.Append("out/"+destination, []byte(id))
		item := b.Enqueue(Queue(destination), group, Ticket{ID: id, What: "ORU^R01", Stat: rapid.Bool().Draw(rt, "stat"), Mark: id}.Encode(), j)
		b.Add(CountQueued, 1)
		b.Add(CountAccepted, 1)
		r, err := s.Commit(ctx, b)
		if err != nil {
			rt.Fatal(err)
		}
		ids[r.Item(item)] = id
	}
	w, end := start()
	discarded := map[uint64]bool{}
	for i := range n {
		add(i)
		switch seq := uint64(rapid.IntRange(1, i+1).Draw(rt, "which")); rapid.IntRange(0, 9).Draw(rt, "act") {
		case 0:
			end()
			w, end = start()
		case 1:
			_ = w.Pause(ctx, anna, "")
		case 2:
			_ = w.Resume(ctx, anna, "")
		case 3:
			_ = w.Release(ctx, anna, seq, "")
		case 4:
			if w.Discard(ctx, anna, seq, "wrong patient") == nil {
				discarded[seq] = true
			}
		case 5:
			time.Sleep(time.Millisecond)
		}
	}
	_ = w.Resume(ctx, anna, "")
	for deadline := time.Now().Add(90 * time.Second); s.Depth(Queue(destination)) > 0; time.Sleep(200 * time.Microsecond) {
		for _, h := range w.Held(100) {
			_ = w.Release(ctx, anna, h.Seq, "")
		}
		if time.Now().After(deadline) {
			rt.Fatalf("stuck with %d", s.Depth(Queue(destination)))
		}
	}
	end()
	dest.mu.Lock()
	defer dest.mu.Unlock()
	for _, wrong := range dest.wrong {
		rt.Error(wrong)
	}
	for seq := range ids {
		if want := 1; dest.taken[seq] != want && !discarded[seq] {
			rt.Errorf("%d was accepted %d times", seq, dest.taken[seq])
		}
		if discarded[seq] && dest.taken[seq] != 0 {
			rt.Errorf("%d was discarded and delivered", seq)
		}
	}
}
