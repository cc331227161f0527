package delivery

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nhip/gateway/reason"
	"nhip/storage"
	"nhip/storage/storagetest/figures"
)

// An outage is a destination that is away for a day while its queue grows.
type outage struct {
	items, groups, senders, size int // size in bytes of an entry
	stat                         int // every so many is STAT, with a group of its own; 0: none
}

// T14: the LIS is away for 24 simulated hours, results pile up.
func TestLISAwayForADay(t *testing.T) {
	o := outage{items: 3000, groups: 700, senders: 1, size: 2000, stat: 100}
	if figures.Soak() {
		o.items, o.groups = 200000, 40000
	}
	o.test(t)
}

// T13: the PACS is away for 24 simulated hours, objects pile up.
func TestPACSAwayForADay(t *testing.T) {
	o := outage{items: 2000, groups: 10, senders: 4, size: 500}
	if figures.Soak() {
		o.items, o.groups = 100000, 200
	}
	o.test(t)
}

// away is a destination that cannot be reached until it is back.
type away struct {
	s    *storage.Store
	back bool // guarded by mu

	mu     sync.Mutex
	got    []uint64
	stats  []bool
	first  chan struct{} // closed at the first delivery
	stop   func()        // called when enough was delivered
	enough int
	times  map[string]int
}

func (a *away) Send(_ context.Context, it Item) Event {
	if _, err := a.s.Read(it.About); err != nil {
		return Event{Kind: Refused, Why: reason.Text(err.Error())}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.back {
		return Event{Kind: NotSent, Why: reason.New(reason.NothingListens)}
	}
	if len(a.got) == 0 {
		close(a.first)
	}
	a.got, a.stats = append(a.got, it.Seq), append(a.stats, it.Stat)
	a.times[it.ID]++
	if len(a.got) == a.enough {
		a.stop()
	}
	return Event{Kind: Accepted}
}

func (*away) Close() {}

func (o outage) test(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(512 << 20)) // as the program does
	dir := t.TempDir()
	open := func() *storage.Store {
		s, err := storage.Open(context.Background(), storage.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	dest := &away{first: make(chan struct{}), times: map[string]int{}}
	run := func(s *storage.Store) (w *Worker, end func()) {
		ctx, cancel := context.WithCancel(context.Background())
		dest.s, dest.stop = s, cancel
		w = &Worker{Destination: "lis", Store: s, Policy: DefaultPolicy(), LinkMax: 10 * time.Second, Log: slog.New(slog.DiscardHandler)}
		for range o.senders {
			w.Senders = append(w.Senders, dest)
		}
		var wg sync.WaitGroup
		wg.Go(func() { _ = w.Run(ctx) })
		return w, func() { cancel(); wg.Wait() }
	}
	var urgent int
	synctest.Test(t, func(t *testing.T) {
		s := open()
		_, end := run(s)
		urgent = o.queue(t, s)
		time.Sleep(24 * time.Hour)
		if n := s.Depth(Queue("lis")); n != o.items {
			t.Errorf("%d wait after a day, of %d", n, o.items)
		}
		dest.mu.Lock()
		dest.back, dest.enough = true, urgent+100
		dest.mu.Unlock()
		time.Sleep(time.Minute)
		end()
		s.Close()
	})
	if n := len(dest.got); n < urgent+100 || slices.Contains(dest.stats[:urgent], false) {
		t.Errorf("STAT was not first at the return: %d delivered, %v", n, dest.stats[:min(n, urgent)])
	}

	// The gateway starts with what still waits.
	debug.FreeOSMemory()
	dest.mu.Lock()
	before, first := len(dest.got), make(chan struct{})
	dest.got, dest.first, dest.enough = nil, first, o.items-before
	dest.mu.Unlock()
	s := open()
	stop := watchBalance(t, s)
	begun := time.Now()
	_, end := run(s)
	var firstAfter, head, slowest time.Duration
	select {
	case <-first:
		firstAfter = time.Since(begun)
	case <-time.After(time.Minute):
		t.Fatal("nothing was delivered")
	}
	var rss, anonymous int
	var heads, beside []time.Duration
	for deadline := time.Now().Add(10 * time.Minute); s.Depth(Queue("lis")) > 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		at := time.Now()
		if _, _, err := s.Head(Queue("lis")); err != nil {
			t.Fatal(err)
		}
		heads = append(heads, time.Since(at))
		at = time.Now()
		compute()
		beside = append(beside, time.Since(at))
		rss, anonymous = max(rss, residentMiB(t, "VmRSS:")), max(anonymous, residentMiB(t, "RssAnon:"))
		if len(dest.firsts()) >= o.items-before {
			time.Sleep(50 * time.Millisecond) // the last outcomes are being saved
		}
	}
	took := time.Since(begun)
	end()
	stop()
	slices.Sort(heads)
	slices.Sort(beside)
	var machine time.Duration
	if len(heads) > 0 {
		head, slowest, machine = heads[len(heads)/2], heads[len(heads)*99/100], beside[len(beside)*99/100]
	}
	c := s.Counters()
	s.Close()
	if c[CountDelivered] != int64(o.items) || c[CountQueued] != 0 || len(dest.times) != o.items {
		t.Errorf("%v; %d are there", c, len(dest.times))
	}
	for id, n := range dest.times {
		if n != 1 {
			t.Errorf("%s came %d times", id, n)
		}
	}
	if firstAfter > 3*time.Second {
		t.Errorf("first delivery %v after the start", firstAfter)
	}
	if figures.Soak() && slowest > max(5*time.Millisecond, 2*machine) {
		t.Errorf("head of the queue in %v, and %v at p99; a computation of that length beside it took %v", head, slowest, machine)
	}
	if rss > 600 {
		t.Errorf("%d MiB resident, %d of them tables of the store that are mapped", rss, rss-anonymous)
	}
	figures.Report(t, fmt.Sprintf("%d items, %d STAT first, all delivered once; first %.1f s after a start; head %.2f ms, p99 %.2f ms (a computation beside it %.2f); %d MiB, and %d MiB of mapped files; %.0f a second",
		o.items, urgent, firstAfter.Seconds(), float64(head.Microseconds())/1000, float64(slowest.Microseconds())/1000, float64(machine.Microseconds())/1000, anonymous, rss-anonymous, float64(o.items-before)/took.Seconds()),
		"all once, STAT first, 3 s, 5 ms (or what the machine takes), 600 MiB")
}

// compute takes about as long as a look at the head of a queue, and no store: where
// it is slow too, the machine is busy with something else.
func compute() {
	var block [64 << 10]byte
	for range 4 {
		sha256.Sum256(block[:])
	}
}

func (a *away) firsts() []uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.got
}

// queue queues all items, and says how many are STAT.
func (o outage) queue(t *testing.T, s *storage.Store) (urgent int) {
	body := bytes.Repeat([]byte{'x'}, o.size)
	for i := 0; i < o.items; {
		b := new(storage.Batch)
		for n := 0; n < 100 && i < o.items; n, i = n+1, i+1 {
			stat, group := o.stat > 0 && i%o.stat == o.stat/2, fmt.Sprint("specimen/", i%o.groups)
			if stat {
				urgent++
				group = fmt.Sprint("specimen/urgent", i)
			}
			id := fmt.Sprintf("NHIP%016d", i)
			j := b.Append("out/lis", body)
			b.Enqueue(Queue("lis"), group, Ticket{ID: id, What: "ORU^R01", Of: id[8:], From: "xn-1", Stat: stat, Mark: id}.Encode(), j)
			b.Add(CountQueued, 1)
			b.Add(CountAccepted, 1)
		}
		if _, err := s.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	return urgent
}

// residentMiB is one kind of the resident memory of this process.
func residentMiB(t *testing.T, kind string) int {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0 // not Linux
	}
	_, after, _ := strings.Cut(string(b), kind)
	kib, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib / 1024
}
