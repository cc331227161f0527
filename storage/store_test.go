package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nhip/storage/spool"
)

func open(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func batch(build func(*Batch)) *Batch {
	b := new(Batch)
	build(b)
	return b
}

func commit(t *testing.T, s *Store, build func(*Batch)) Receipt {
	t.Helper()
	r, err := s.Commit(context.Background(), batch(build))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// image copies a data directory as a kill would leave it.
func image(t *testing.T, from string) string {
	t.Helper()
	for {
		to, err := copyAll(t.TempDir(), from)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a write-ahead log became a table meanwhile
		}
		if err != nil {
			t.Fatal(err)
		}
		return to
	}
}

func copyAll(to, from string) (string, error) {
	return to, filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(from, path)
		switch {
		case err != nil:
			return err
		case e.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		return copyFile(path, filepath.Join(to, rel))
	})
}

// mustAlarm fails the test unless an alarm has the words.
func mustAlarm(t *testing.T, s *Store, words string) {
	t.Helper()
	for _, a := range s.Alarms() {
		if strings.Contains(a.What, words) {
			return
		}
	}
	t.Fatalf("no alarm says %q: %v", words, s.Alarms())
}

func mustNotAlarm(t *testing.T, s *Store) {
	t.Helper()
	if _, err := s.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := s.Alarms(); len(a) > 0 {
		t.Fatalf("alarms: %v", a)
	}
}

func TestCommittedBatchIsThereAfterReopen(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	var e Entry
	var i Item
	r := commit(t, s, func(b *Batch) {
		e = b.Append("xn-1", []byte("H|\\^&"))
		i = b.Enqueue("interpret", "27", []byte("item"), e)
		b.PutRef("seen/1", e)
		b.IfAbsent("seen/1")
		b.Add("accepted", 1)
	})
	commit(t, s, func(b *Batch) { b.SetState("interpret", r.Item(i), []byte("held")) })
	if r.Entry(e) != (Ref{"xn-1", 1}) || r.Item(i) != 1 {
		t.Fatalf("receipt: %v %d", r.Entry(e), r.Item(i))
	}
	for range 2 {
		value, err := s.Read(r.Entry(e))
		if err != nil || string(value) != "H|\\^&" {
			t.Fatalf("read: %q %v", value, err)
		}
		head, ok, err := s.Head("interpret")
		if err != nil || !ok || head.Group != "27" || string(head.Value) != "item" || head.About[0] != r.Entry(e) || string(head.State) != "held" {
			t.Fatalf("head: %+v %v %v", head, ok, err)
		}
		ref, ok, err := s.Get("seen/1")
		if parsed, err := ParseRef(string(ref)); err != nil || !ok || parsed != r.Entry(e) {
			t.Fatalf("key: %q %v %v", ref, ok, err)
		}
		if err != nil {
			t.Fatal(err)
		}
		if n := s.Snapshot(); n.Counters["accepted"] != 1 || n.Depths["interpret"] != 1 {
			t.Fatalf("snapshot: %+v", n)
		}
		mustNotAlarm(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Read(r.Entry(e)); err != ErrClosed {
			t.Fatalf("read after close: %v", err)
		}
		if _, err := s.Commit(t.Context(), new(Batch)); err != ErrClosed {
			t.Fatalf("commit after close: %v", err)
		}
		s = open(t, Options{Dir: dir})
	}
}

// blocked gives a store whose commits stand still: each says that it has begun
// and waits to be let go.
func blocked(t *testing.T) (s *Store, begun chan struct{}, letGo chan error) {
	begun, letGo = make(chan struct{}), make(chan error)
	var opened atomic.Bool
	s = open(t, Options{Dir: t.TempDir(), Fault: func(step string) error {
		if step != "commit" || !opened.Load() {
			return nil
		}
		begun <- struct{}{}
		return <-letGo
	}})
	opened.Store(true)
	return s, begun, letGo
}

func TestWaitingBatchesShareOneCommitAndAConflictFailsOnlyItsOwn(t *testing.T) {
	s, begun, letGo := blocked(t)
	before := s.Snapshot().Commit
	var wg sync.WaitGroup
	wg.Go(func() { commit(t, s, func(b *Batch) { b.Put("taken", nil); b.Enqueue("q", "", nil) }) })
	<-begun
	var mu sync.Mutex
	count := map[error]int{}
	try := func(build func(*Batch)) {
		wg.Go(func() {
			_, err := s.Commit(context.Background(), batch(build))
			mu.Lock()
			count[err]++
			mu.Unlock()
		})
	}
	for i := range 20 {
		try(func(b *Batch) { b.Append("c", nil); b.Add("n", 1) })
		try(func(b *Batch) { b.IfAbsent("taken"); b.Append("c", nil); b.Add("n", 1) })
		try(func(b *Batch) { b.Remove("q", 1); b.Append("c", nil); b.Add("n", 1) }) // one of them
		try(func(b *Batch) { b.SetState("q", 99, nil); b.Add("n", 1) })
		try(func(b *Batch) {
			b.IfAbsent("once")
			b.Put("once", []byte{byte(i)})
			b.Append("c", nil)
			b.Add("n", 1)
		})
	}
	for len(s.requests) < 100 {
		runtime.Gosched()
	}
	letGo <- nil
	<-begun
	letGo <- nil
	wg.Wait()
	want := map[error]int{nil: 20 + 1 + 1, ErrExists: 20 + 19, ErrNoItem: 19 + 20}
	if fmt.Sprint(count) != fmt.Sprint(want) {
		t.Errorf("outcomes: %v, should be %v", count, want)
	}
	n := s.Snapshot()
	if n.Commit != before+2 || n.Counters["n"] != 22 || s.Last("c") != 22 || n.Depths["q"] != 0 {
		t.Errorf("%+v, last %d, %d commits", n, s.Last("c"), n.Commit-before)
	}
	mustNotAlarm(t, s)
}

func TestBatchIsWithdrawnWhileItStandsInLine(t *testing.T) {
	s, begun, letGo := blocked(t)
	var wg sync.WaitGroup
	wg.Go(func() { commit(t, s, func(b *Batch) { b.Append("c", nil) }) })
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	var withdrawn sync.WaitGroup
	withdrawn.Go(func() {
		if _, err := s.Commit(ctx, batch(func(b *Batch) { b.Append("c", nil) })); err != context.Canceled {
			t.Errorf("withdrawn: %v", err)
		}
	})
	for len(s.requests) < 1 {
		runtime.Gosched()
	}
	cancel()
	withdrawn.Wait()
	letGo <- nil
	wg.Wait()
	if s.Last("c") != 1 {
		t.Errorf("%d entries", s.Last("c"))
	}
}

func TestFailedCommitEndsTheStore(t *testing.T) {
	s, begun, letGo := blocked(t)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if _, err := s.Commit(context.Background(), batch(func(b *Batch) { b.Append("c", nil) })); err != ErrFailed {
				t.Errorf("commit: %v", err)
			}
		})
	}
	<-begun
	letGo <- errors.New("the bytes of a patient")
	wg.Wait()
	<-s.Failed()
	mustAlarm(t, s, "a commit failed")
	for _, a := range s.Alarms() {
		if strings.Contains(a.What, "patient") {
			t.Errorf("the alarm has the engine's words: %v", a)
		}
	}
	if s.Last("c") != 0 || s.Snapshot().Depths["c"] != 0 {
		t.Error("the failed batch is shown")
	}
}

func TestSnapshotIsOneCommittedState(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 50 {
				r := commit(t, s, func(b *Batch) { b.Add("in", 1); b.Enqueue("a", "", nil) })
				if i%2 == 0 {
					commit(t, s, func(b *Batch) { b.Remove("a", r.Item(0)); b.Enqueue("b", "", nil); b.Add("moved", 1) })
				}
			}
		})
	}
	go func() { wg.Wait(); close(stop) }()
	for done := false; !done; {
		select {
		case <-stop:
			done = true
		default:
		}
		n := s.Snapshot()
		if n.Counters["in"] != int64(n.Depths["a"]+n.Depths["b"]) || n.Counters["moved"] != int64(n.Depths["b"]) {
			t.Fatalf("the sum is wrong: %+v", n)
		}
	}
	mustNotAlarm(t, s)
}

func TestWaitIsSignalledWhenAnItemComes(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	wait := s.Wait("q")
	select {
	case <-wait:
		t.Fatal("signalled without an item")
	default:
	}
	commit(t, s, func(b *Batch) { b.Enqueue("q", "", nil); b.Enqueue("q", "", nil) })
	<-wait
	s.Close()
	<-open(t, Options{Dir: dir}).Wait("q") // what stood there before is news after a restart
}

func TestRange(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	for range 10 {
		commit(t, s, func(b *Batch) { b.Append("c", nil); b.Append("c2", nil) })
	}
	for _, c := range []struct {
		from    uint64
		limit   int
		reverse bool
		want    string
	}{
		{0, 0, false, "1 2 3 4 5 6 7 8 9 10"},
		{8, 0, false, "8 9 10"},
		{3, 2, false, "3 4"},
		{11, 0, false, ""},
		{0, 3, true, "10 9 8"},
		{2, 0, true, "2 1"},
		{99, 1, true, "10"},
	} {
		var got []string
		err := s.Range("c", c.from, c.limit, c.reverse, func(r Ref, _ []byte) bool {
			got = append(got, fmt.Sprint(r.Seq))
			return true
		})
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%+v: %v %v", c, got, err)
		}
	}
	if err := s.Range("none", 0, 0, false, nil); err != nil {
		t.Errorf("an unknown channel: %v", err)
	}
	if _, err := s.Read(Ref{"c", 11}); err != ErrNotFound {
		t.Errorf("an entry of the future: %v", err)
	}
	mustNotAlarm(t, s)
}

func TestKeys(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	commit(t, s, func(b *Batch) {
		for _, k := range []string{"a/2", "a/1", "b/1", "a"} {
			b.Put(k, []byte(k))
		}
	})
	commit(t, s, func(b *Batch) { b.Delete("a/2"); b.Delete("none"); b.Put("a/1", []byte("again")) })
	keys, err := s.Keys("a", 0)
	if err != nil || strings.Join(keys, " ") != "a a/1" {
		t.Errorf("%v %v", keys, err)
	}
	if keys, _ := s.Keys("", 1); len(keys) != 1 {
		t.Errorf("limit: %v", keys)
	}
	if value, ok, err := s.Get("a/1"); string(value) != "again" || !ok || err != nil {
		t.Errorf("%q %v %v", value, ok, err)
	}
	mustNotAlarm(t, s)
}

func TestLimitsOfABatch(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	for name, c := range map[string]struct {
		want  error
		build func(*Batch)
	}{
		"value":        {ErrTooLarge, func(b *Batch) { b.Append("c", make([]byte, MaxValue+1)) }},
		"item":         {ErrTooLarge, func(b *Batch) { b.Enqueue("c", "", make([]byte, MaxValue+1)) }},
		"state":        {ErrTooLarge, func(b *Batch) { b.SetState("c", 1, make([]byte, MaxState+1)) }},
		"about":        {ErrTooLarge, func(b *Batch) { b.EnqueueRef("c", "", nil, make([]Ref, MaxAbout+1)...) }},
		"bytes":        {ErrTooLarge, func(b *Batch) { many(b, 9, MaxValue) }},
		"changes":      {ErrTooLarge, func(b *Batch) { many(b, MaxChanges+1, 0) }},
		"empty name":   {ErrName, func(b *Batch) { b.Append("", nil) }},
		"long name":    {ErrName, func(b *Batch) { b.Append(strings.Repeat("x", MaxName+1), nil) }},
		"name":         {ErrName, func(b *Batch) { b.Append("Nhịp", nil) }},
		"zero in name": {ErrName, func(b *Batch) { b.Put("a\x00b", nil) }},
		"group":        {ErrName, func(b *Batch) { b.Enqueue("q", "\n", nil) }},
		"twice":        {ErrNoItem, func(b *Batch) { b.Enqueue("q", "", nil); b.Remove("q", 1); b.Remove("q", 1) }},
		"no queue":     {ErrNoItem, func(b *Batch) { b.Remove("none", 1) }},
	} {
		if _, err := s.Commit(t.Context(), batch(c.build)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Commit(t.Context(), batch(func(b *Batch) { b.Enqueue("q", "", nil, 0) })); err == nil {
		t.Error("an item about an entry that is not in the batch")
	}
	// The largest that is allowed does fit into a transaction.
	commit(t, s, func(b *Batch) { many(b, 7, MaxValue) })
	commit(t, s, func(b *Batch) {
		for i := 0; b.bytes < MaxBatch-4<<10; i++ {
			b.Enqueue(fmt.Sprintf("%0200d", i), "", nil)
		}
	})
	mustNotAlarm(t, s)
}

func many(b *Batch, n, size int) {
	for range n {
		b.Append("c", make([]byte, size))
	}
}

func TestQueueCursorEqualsModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		q := queue{next: 301, cursor: cursor{head: 1}}
		removed := map[uint64]bool{}
		var forgotten bool
		for range 250 {
			from := 1 + r.Uint64N(300)
			to := min(300, from+r.Uint64N(3))
			before := len(q.runs)
			q.remove(from, to)
			forgotten = forgotten || before == maxRuns
			for s := from; s <= to; s++ {
				removed[s] = true
			}
			stored, ok := parseQueue(q.record()[envelope:])
			if !ok || fmt.Sprint(stored) != fmt.Sprint(q) {
				t.Fatalf("stored %v, read %v", q, stored)
			}
			for s := uint64(1); s <= 300; s++ {
				want := s
				for removed[want] {
					want++
				}
				if got := q.skip(s); got != want && !forgotten {
					t.Fatalf("skip(%d) is %d, should be %d: %v", s, got, want, q)
				}
			}
		}
	}
}

func TestQueueForgetsItsShortestRuns(t *testing.T) {
	q := queue{next: 10000, cursor: cursor{head: 1}}
	for s := uint64(2); s < 2000; s += 2 {
		q.remove(s, s)
	}
	q.remove(5000, 6000)
	if len(q.runs) != maxRuns || q.skip(5500) != 6001 {
		t.Errorf("%d runs, skip gives %d", len(q.runs), q.skip(5500))
	}
}

func TestHeadIsFoundWithoutWalkingOverRemovedItems(t *testing.T) {
	const items = 300_000
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	fill(t, s, items)
	// The first is held; everything behind it is delivered, but the last two.
	removeAll(t, s, 2, items-2)
	look := func(want ...uint64) {
		t.Helper()
		v, err := s.look()
		if err != nil {
			t.Fatal(err)
		}
		defer v.close()
		q, err := v.queue("q")
		if err != nil {
			t.Fatal(err)
		}
		w := v.walk(spaceItem, "q")
		defer w.close()
		at := q.skip(0)
		for _, seq := range want {
			got, ok := w.find(at)
			if !ok || got != seq {
				t.Fatalf("found %d %v, should be %d", got, ok, seq)
			}
			at = q.skip(got + 1)
		}
		if w.steps > 10*len(want) {
			t.Errorf("%d steps for %d items", w.steps, len(want))
		}
	}
	look(1, items-1, items)
	commit(t, s, func(b *Batch) { b.Remove("q", 1) })
	look(items-1, items)
	if head, ok, err := s.Head("q"); !ok || err != nil || head.Seq != items-1 {
		t.Errorf("head %d %v %v", head.Seq, ok, err)
	}
	s.Close()
	s = open(t, Options{Dir: dir})
	look(items-1, items)
	mustNotAlarm(t, s)
}

func fill(t *testing.T, s *Store, items int) {
	for n := 0; n < items; n += 500 {
		commit(t, s, func(b *Batch) {
			for range 500 {
				b.Enqueue("q", "", nil)
			}
		})
	}
}

func removeAll(t *testing.T, s *Store, from, to uint64) {
	for from <= to {
		commit(t, s, func(b *Batch) {
			for ; from <= to && len(b.ops) < 500; from++ {
				b.Remove("q", from)
			}
		})
	}
}

func TestReaderTellsTheCommitterWhatItFoundRemoved(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	fill(t, s, 500)
	s.work.queues["q"].runs = nil
	removeAll(t, s, 2, 400)
	s.work.queues["q"].runs = nil // as if forgotten
	commit(t, s, func(b *Batch) { b.Remove("q", 1) })
	if q := s.work.queues["q"]; q.head != 2 {
		t.Fatalf("head cursor %d", q.head)
	}
	for range 2 {
		if head, _, err := s.Head("q"); err != nil || head.Seq != 401 {
			t.Fatalf("head %d %v", head.Seq, err)
		}
	}
	commit(t, s, func(b *Batch) { b.Enqueue("q", "", nil) })
	if q := s.work.queues["q"]; q.head != 401 {
		t.Errorf("head cursor %d", q.head)
	}
	mustNotAlarm(t, s)
}

// vanish removes a key behind the back of the store, as a damaged block does.
func vanish(t *testing.T, s *Store, key []byte) {
	t.Helper()
	txn := s.db.NewTransactionAt(s.commit, true)
	if err := txn.Delete(key); err != nil {
		t.Fatal(err)
	}
	if err := txn.CommitAt(s.commit, nil); err != nil {
		t.Fatal(err)
	}
}

// spoil changes a stored record behind the back of the store.
func spoil(t *testing.T, s *Store, key []byte, change func(record []byte)) {
	t.Helper()
	v, err := s.look()
	if err != nil {
		t.Fatal(err)
	}
	item, err := v.txn.Get(key)
	if err != nil {
		t.Fatal(err)
	}
	record, err := item.ValueCopy(nil)
	if err != nil {
		t.Fatal(err)
	}
	v.close()
	change(record)
	txn := s.db.NewTransactionAt(s.commit, true)
	if err := txn.Set(key, record); err != nil {
		t.Fatal(err)
	}
	if err := txn.CommitAt(s.commit, nil); err != nil {
		t.Fatal(err)
	}
}

func flipLast(record []byte) { record[len(record)-1] ^= 4 }

func three(t *testing.T) *Store {
	t.Helper()
	s := open(t, Options{Dir: t.TempDir()})
	for i := range 3 {
		commit(t, s, func(b *Batch) {
			b.Append("c", []byte("value"))
			b.Enqueue("q", "", []byte("value"))
			b.Put(fmt.Sprint("k", i), []byte("value"))
		})
	}
	mustNotAlarm(t, s)
	return s
}

func TestVanishedEntryIsDamageAndAlarm(t *testing.T) {
	for _, seq := range []uint64{1, 2, 3} {
		for _, reverse := range []bool{false, true} {
			s := three(t)
			vanish(t, s, seqKey(spaceJournal, "c", seq))
			n := 0
			err := s.Range("c", 0, 0, reverse, func(Ref, []byte) bool { n++; return true })
			var damaged *DamagedError
			if !errors.As(err, &damaged) || damaged.From != seq || damaged.To != seq || !damaged.Missing || n != 2 {
				t.Errorf("range: %v, %d entries", err, n)
			}
			mustAlarm(t, s, fmt.Sprintf("c/%d is missing", seq))
			if _, err := s.Read(Ref{"c", seq}); !errors.As(err, &damaged) {
				t.Errorf("read: %v", err)
			}
		}
	}
}

func TestSpoiledRecordIsNeverServed(t *testing.T) {
	s := three(t)
	spoil(t, s, seqKey(spaceJournal, "c", 2), flipLast)
	spoil(t, s, seqKey(spaceItem, "q", 2), flipLast)
	spoil(t, s, nameKey(spaceKey, "k1"), flipLast)
	var damaged *DamagedError
	if _, err := s.Read(Ref{"c", 2}); !errors.As(err, &damaged) {
		t.Errorf("read: %v", err)
	}
	if _, ok, err := s.Get("k1"); ok || !errors.As(err, &damaged) {
		t.Errorf("get: %v %v", ok, err)
	}
	items, err := s.Items("q", 0, 0)
	if err != nil || len(items) != 3 || items[1].Damaged == nil || items[1].Value != nil {
		t.Errorf("items: %+v %v", items, err)
	}
	commit(t, s, func(b *Batch) { b.Remove("q", 2) }) // a person may still discard it
	for _, words := range []string{"c/2 fails", "q/2 fails", "key k1: a record fails"} {
		mustAlarm(t, s, words)
	}
}

func TestVanishedItemIsAnAlarmAtTheEndOfAPass(t *testing.T) {
	for _, seq := range []uint64{1, 2, 3} {
		s := three(t)
		vanish(t, s, seqKey(spaceItem, "q", seq))
		if items, err := s.Items("q", 0, 2); len(items) != 2 || err != nil || len(s.Alarms()) > 0 {
			t.Errorf("not at the end: %d items %v %v", len(items), err, s.Alarms())
		}
		if items, err := s.Items("q", 0, 0); len(items) != 2 || err != nil {
			t.Errorf("%d items %v", len(items), err)
		}
		mustAlarm(t, s, "should hold 3 items and 2 are there")
	}
}

func TestScrubFindsVanishedAndOldKeys(t *testing.T) {
	s := three(t)
	vanish(t, s, nameKey(spaceKey, "k1"))
	if _, err := s.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustAlarm(t, s, "3 keys were committed and 2 are there")

	s = three(t)
	commit(t, s, func(b *Batch) { b.Put("k1", []byte("newer")) })
	spoil(t, s, nameKey(spaceKey, "k1"), func(record []byte) {
		copy(record[envelope:], "value")
		seal(nameKey(spaceKey, "k1"), record) // an old version that shows again
	})
	if _, err := s.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustAlarm(t, s, "3 keys were committed and 3 are there, or some are older")
}

func TestVanishedControlRecordIsRebuiltWithAnAlarm(t *testing.T) {
	for _, key := range [][]byte{nameKey(spaceChannel, "c"), nameKey(spaceQueue, "q"), rootKey} {
		s := three(t)
		vanish(t, s, key)
		after := open(t, Options{Dir: image(t, s.o.Dir)})
		mustAlarm(t, after, "control record")
		r := commit(t, after, func(b *Batch) { b.Append("c", nil); b.Enqueue("q", "", nil) })
		if r.Entry(0).Seq != 4 || r.Item(0) != 4 || after.Depth("q") != 4 {
			t.Errorf("after %q: %v %v, depth %d", key, r.Entry(0), r.Item(0), after.Depth("q"))
		}
		again := open(t, Options{Dir: image(t, after.o.Dir)})
		mustNotAlarm(t, again)
	}
}

func TestLostCommitsAreAnAlarmAndTheirNumbersAreNotGivenAgain(t *testing.T) {
	s := three(t)
	early := image(t, s.o.Dir)
	for range 2 {
		commit(t, s, func(b *Batch) { b.Append("c", nil); b.Append("new", nil); b.Enqueue("q", "", nil) })
	}
	// The mark is written behind the acknowledgement: the next commit comes after.
	commit(t, s, func(b *Batch) { b.Add("n", 1) })
	if err := copyFile(filepath.Join(s.o.Dir, "highwater"), filepath.Join(early, "highwater")); err != nil {
		t.Fatal(err)
	}
	after := open(t, Options{Dir: early})
	mustAlarm(t, after, "entries 4 to 5, which were committed, are gone")
	mustAlarm(t, after, "entries 1 to 2, which were committed, are gone")
	mustAlarm(t, after, "queue items 4 to 5, which were committed, are gone")
	mustAlarm(t, after, "are gone")
	r := commit(t, after, func(b *Batch) { b.Append("c", nil); b.Append("new", nil); b.Enqueue("q", "", nil) })
	if r.Entry(0).Seq != 6 || r.Entry(1).Seq != 3 || r.Item(0) != 6 || after.Depth("q") != 4 {
		t.Errorf("%v %v %d, depth %d", r.Entry(0), r.Entry(1), r.Item(0), after.Depth("q"))
	}
	var damaged *DamagedError
	err := after.Range("c", 0, 0, false, func(Ref, []byte) bool { return true })
	if !errors.As(err, &damaged) || damaged.From != 4 || damaged.To != 5 {
		t.Errorf("range over the gap: %v", err)
	}
	if items, err := after.Items("q", 0, 0); err != nil || len(items) != 4 {
		t.Errorf("%d items %v", len(items), err)
	}
}

func TestDamagedHighWaterMarkIsAnAlarm(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"gone":  os.Remove,
		"empty": func(path string) error { return os.Truncate(path, 0) },
		"flip": func(path string) error {
			data, err := os.ReadFile(path)
			if err == nil {
				data[slotSize+slotValue] ^= 1
				err = os.WriteFile(path, data, 0o600)
			}
			return err
		},
	} {
		s := three(t)
		dir := image(t, s.o.Dir)
		if err := damage(filepath.Join(dir, "highwater")); err != nil {
			t.Fatal(err)
		}
		after := open(t, Options{Dir: dir})
		if len(after.Alarms()) != 1 {
			t.Errorf("%s: %v", name, after.Alarms())
		}
		mustAlarm(t, after, "high-water mark")
		after.Close()
		mustNotAlarm(t, open(t, Options{Dir: dir}))
	}
}

func TestDamageInTheMiddleOfTheLogIsToldFromATornEnd(t *testing.T) {
	s := three(t)
	log := func(dir string) (path string, data []byte, end int) {
		paths, _ := filepath.Glob(filepath.Join(dir, "store", "*.mem"))
		data, err := os.ReadFile(paths[0])
		if err != nil {
			t.Fatal(err)
		}
		for end = len(data); data[end-1] == 0; end-- {
		}
		return paths[0], data, end
	}
	change := func(back func(end int) int) *Store {
		dir := image(t, s.o.Dir)
		path, data, end := log(dir)
		data[back(end)] ^= 1
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		// Without the mark, so that the log alone has to tell.
		if err := os.Remove(filepath.Join(dir, "highwater")); err != nil {
			t.Fatal(err)
		}
		return open(t, Options{Dir: dir})
	}
	middle := change(func(end int) int { return end / 2 })
	mustAlarm(t, middle, "damaged in the middle")
	if kept, _ := filepath.Glob(filepath.Join(middle.o.Dir, "wal-damaged", "*.mem")); len(kept) != 1 {
		t.Errorf("kept: %v", kept)
	}
	// In the end of the last transaction, and before it: both are a torn end.
	for _, back := range []int{1, 60} {
		for _, a := range change(func(end int) int { return end - back }).Alarms() {
			if strings.Contains(a.What, "middle") {
				t.Errorf("a torn end, %d bytes: %v", back, a)
			}
		}
	}
}

func TestDamagedTableIsAnAlarmAndKept(t *testing.T) {
	s := three(t)
	commit(t, s, func(b *Batch) { many(b, 20, 1000) })
	s.Close()
	dir := image(t, s.o.Dir)
	paths, _ := filepath.Glob(filepath.Join(dir, "store", "*.sst"))
	data, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(paths[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	after := open(t, Options{Dir: dir})
	mustAlarm(t, after, "a table of the store is damaged")
	if kept, err := os.ReadFile(filepath.Join(dir, "damaged", filepath.Base(paths[0]))); err != nil || !bytes.Equal(kept, data) {
		t.Errorf("kept: %v", err)
	}
}

func TestNewerFormatIsRefusedInWords(t *testing.T) {
	s := three(t)
	s.work.root.format = formatVersion + 1
	commit(t, s, func(b *Batch) { b.Append("c", nil) })
	s.Close()
	_, err := Open(t.Context(), Options{Dir: s.o.Dir})
	if !errors.Is(err, ErrFormat) {
		t.Fatalf("open: %v", err)
	}
}

func TestReadOnlyStoreReadsWhatAKillLeftAndChangesNothing(t *testing.T) {
	s := three(t)
	dir := image(t, s.o.Dir)
	before := listing(t, dir)
	r := open(t, Options{Dir: dir, ReadOnly: true})
	second := open(t, Options{Dir: dir, ReadOnly: true})
	for _, r := range []*Store{r, second} {
		if value, err := r.Read(Ref{"c", 3}); err != nil || string(value) != "value" {
			t.Errorf("read: %q %v", value, err)
		}
		if items, err := r.Items("q", 0, 0); err != nil || len(items) != 3 {
			t.Errorf("items: %d %v", len(items), err)
		}
		if _, err := r.Commit(t.Context(), new(Batch)); err != ErrReadOnly {
			t.Errorf("commit: %v", err)
		}
		mustNotAlarm(t, r)
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if after := listing(t, dir); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && !e.IsDir() {
			data, _ := os.ReadFile(path)
			fmt.Fprintf(&b, "%s %d %x\n", strings.TrimPrefix(path, dir), info.Size(), checksum(nil, data))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestStoreThatIsOpenIsRefused(t *testing.T) {
	s := three(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // no patience
	for _, readOnly := range []bool{false, true} {
		if _, err := Open(ctx, Options{Dir: s.o.Dir, ReadOnly: readOnly}); !errors.Is(err, ErrInUse) {
			t.Errorf("read only %v: %v", readOnly, err)
		}
	}
}

func TestEmptyFilesOfAKillDoNotHinderOpen(t *testing.T) {
	s := three(t)
	dir := image(t, s.o.Dir)
	for _, name := range []string{"00099.mem", "000099.vlog"} {
		if err := os.WriteFile(filepath.Join(dir, "store", name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mustNotAlarm(t, open(t, Options{Dir: dir}))
}

func TestFilesAreTheOwnersOnly(t *testing.T) {
	s := three(t)
	w, err := s.Spool().Create()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(s.o.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if info, err := e.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v %v", path, info.Mode(), err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestScrubVerifiesTheSpool(t *testing.T) {
	var ref spool.Ref
	s := open(t, Options{Dir: t.TempDir(), SpoolRefs: func(value []byte) []spool.Ref {
		if string(value) != "object" {
			return nil
		}
		return []spool.Ref{ref}
	}})
	w, err := s.Spool().Create()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, "pixels")
	if ref, err = w.Commit(); err != nil {
		t.Fatal(err)
	}
	commit(t, s, func(b *Batch) { b.Append("c", []byte("object")) })
	mustNotAlarm(t, s)
	if err := os.WriteFile(filepath.Join(s.o.Dir, "spool", ref.Path), []byte("pixelz"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustAlarm(t, s, "SHA-256")
}

func TestKeysPutAsNewAreLikeOthers(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	commit(t, s, func(b *Batch) {
		b.PutNew("fate/a/1", []byte("first"))
		b.PutNew("fate/a/2", []byte("second"))
	})
	commit(t, s, func(b *Batch) {
		b.Put("fate/a/1", []byte("again"))
		b.Delete("fate/a/2")
	})
	if v, ok, err := s.Get("fate/a/1"); err != nil || !ok || string(v) != "again" {
		t.Errorf("%q %v %v", v, ok, err)
	}
	if found, err := s.Scrub(t.Context()); err != nil || len(found) > 0 {
		t.Errorf("%v %v", found, err)
	}
	commit(t, s, func(b *Batch) { b.PutNew("fate/a/1", []byte("it was there")) })
	if found, err := s.Scrub(t.Context()); err != nil || len(found) == 0 {
		t.Errorf("a key put as new over another one is not noticed: %v", err)
	}
}

func TestScrubMovesOrphansOfTheSpoolAside(t *testing.T) {
	var refs []spool.Ref
	dir := t.TempDir()
	s := open(t, Options{Dir: dir, SpoolRefs: func(value []byte) []spool.Ref {
		if string(value) == "object" {
			return refs[:1]
		}
		return nil
	}})
	for i := range 3 { // known, an orphan, one that has just come
		w, err := s.Spool().Create()
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte{byte(i)})
		ref, err := w.Commit()
		if err != nil {
			t.Fatal(err)
		}
		if refs = append(refs, ref); i < 2 {
			old := time.Now().Add(-25 * time.Hour)
			if err := os.Chtimes(filepath.Join(dir, "spool", ref.Path), old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	commit(t, s, func(b *Batch) { b.Append("c", []byte("object")) })
	if found, err := s.Scrub(t.Context()); err != nil || len(found) > 0 {
		t.Fatal(found, err)
	}
	for i, want := range []bool{true, false, true} {
		if err := s.Spool().Verify(refs[i]); (err == nil) != want {
			t.Errorf("object %d: %v", i, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "orphans", filepath.Base(refs[1].Path))); err != nil {
		t.Error(err)
	}

	// Where an entry is damaged nobody knows what it referred to.
	old := time.Now().Add(-25 * time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "spool", refs[2].Path), old, old); err != nil {
		t.Fatal(err)
	}
	spoil(t, s, seqKey(spaceJournal, "c", 1), flipLast)
	if _, err := s.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 2} {
		if err := s.Spool().Verify(refs[i]); err != nil {
			t.Errorf("object %d: %v", i, err)
		}
	}
}
