package delivery

import (
	"slices"
	"testing"
	"time"

	"nhip/storage"
)

// What was stored by a clock that was set since, either way and by years, waits
// no longer than the policy says, keeps its order, and does not expire (T16).
func TestAClockThatWasSetStopsNothingAndExpiresNothing(t *testing.T) {
	p := DefaultPolicy()
	now := time.Now()
	for _, jump := range []time.Duration{0, -time.Hour, time.Hour, 87600 * time.Hour, -8760 * time.Hour} {
		// Stored when the clock was off by jump: three items of one specimen, one of
		// another, the first of each to be tried again in a minute.
		stored := now.Round(0).Add(jump)
		l := NewLane()
		w := &Worker{Policy: p}
		var items []Item
		for seq, group := range []string{"a", "b", "a", "a"} {
			d := New(stored)
			if seq < 2 {
				d.Attempts, d.NotBefore = 7, stored.Add(time.Minute)
			}
			d, err := Decode(d.Encode(), stored)
			if err != nil {
				t.Fatal(err)
			}
			d.NotBefore = p.resume(d, now)
			l.Add(uint64(seq+1), group, false, d)
			items = append(items, Item{Seq: uint64(seq + 1), At: stored, since: w.since(uint64(seq+1), stored, now)})
		}
		var order []uint64
		at := now
		for len(order) < 4 {
			seq, wait, ok := l.Next(at)
			if !ok {
				if wait <= 0 || wait > p.Max {
					t.Fatalf("%v: the next attempt is in %v", jump, wait)
				}
				at = at.Add(wait)
				continue
			}
			order = append(order, seq)
			d, _ := l.Get(seq)
			d, _ = p.Step(d, Event{Kind: Send}, at, 0)
			l.Set(seq, d)
			d, _ = p.Step(d, Event{Kind: Accepted}, at, 0)
			l.Set(seq, d)
		}
		if i, j, k := slices.Index(order, 1), slices.Index(order, 3), slices.Index(order, 4); i > j || j > k {
			t.Errorf("%v: order %v", jump, order)
		}
		if at.Sub(now) > p.Max {
			t.Errorf("%v: all are sent after %v", jump, at.Sub(now))
		}
		for _, it := range items {
			if jump >= -time.Hour && expired(it, now.Add(time.Minute), 24*time.Hour) {
				t.Errorf("%v: item %d has expired", jump, it.Seq)
			}
		}
	}
}

// The clock jumps while the gateway runs: an item that was queued a moment ago
// has not waited for ten years, and one that is old by the monotonic clock alone
// is not taken out either.
func TestAnItemExpiresByBothClocksOnly(t *testing.T) {
	now := time.Now()
	w := &Worker{}
	day := 24 * time.Hour
	for name, test := range map[string]struct {
		at, since time.Time
		want      bool
	}{
		"old":                                 {now.Add(-2 * day), w.since(1, now.Round(0).Add(-2*day), now), true},
		"fresh":                               {now.Add(-time.Hour), now.Add(-time.Hour), false},
		"the clock went forward by ten years": {now.Add(-3650 * day), now.Add(-time.Hour), false},
		"the clock went back by a year":       {now.Add(365 * day), now.Add(-2 * day), false},
		"queued by a clock that had been in 2000": {now.Add(-9000 * day), (&Worker{stamped: now.Add(-time.Hour)}).since(1, now.Round(0).Add(-9000*day), now), false},
	} {
		it := Item{At: test.at.Round(0), since: test.since}
		if got := expired(it, now, day); got != test.want {
			t.Errorf("%s: expired %v", name, got)
		}
	}
}

// A clock that is set while the process runs is noted, so that what waits is not
// taken for years older after a restart; what is queued later has the new clock.
func TestAClockThatIsSetWhileItRunsIsNotedForTheNextStart(t *testing.T) {
	const years = 87600 * time.Hour
	within(t, func(t *testing.T, s *storage.Store) {
		enqueue(t, s, "A", false, "1", "2")
		w := worker(s)
		stop := begin(w)
		time.Sleep(time.Minute)
		set := func(by time.Duration) { // the clock, as the times of what is queued show it
			w.mu.Lock()
			for seq, it := range w.items {
				it.At = it.At.Add(-by)
				w.items[seq] = it
			}
			w.mu.Unlock()
			w.ClockSet()
		}
		set(years)
		enqueue(t, s, "A", false, "3")
		time.Sleep(time.Minute)
		set(-time.Hour) // 1 and 2 by ten years less an hour, 3 by an hour back
		if got := []time.Duration{w.Age(1, time.Now()), w.Age(2, time.Now()), w.Age(3, time.Now()), w.Age(4, time.Now())}; !slices.Equal(got, []time.Duration{2 * time.Minute, 2 * time.Minute, time.Minute, 0}) {
			t.Errorf("ages %v", got)
		}
		stop()

		// After the start only what is stored is left.
		now := time.Now()
		next := worker(s)
		if err := next.readShifts(); err != nil {
			t.Fatal(err)
		}
		for seq, x := range map[uint64]struct{ at, age time.Duration }{
			1: {years - time.Hour + 2*time.Minute, 2 * time.Minute},
			2: {years - time.Hour + 2*time.Minute, 2 * time.Minute},
			3: {-time.Hour + time.Minute, time.Minute},
			4: {time.Minute, time.Minute}, // queued after the clock was set
		} {
			next.stamped = time.Time{}
			if age := now.Sub(next.since(seq, now.Round(0).Add(-x.at), now)); age != x.age {
				t.Errorf("item %d is %v old, want %v", seq, age, x.age)
			}
		}
	})
}

func TestWithoutAStepNothingIsNoted(t *testing.T) {
	within(t, func(t *testing.T, s *storage.Store) {
		enqueue(t, s, "A", false, "1", "2")
		w := worker(s)
		stop := begin(w)
		time.Sleep(time.Hour)
		w.ClockSet()
		stop()
		if len(w.shifts) != 0 {
			t.Errorf("%v", w.shifts)
		}
	})
}

// behind is a store whose clock of the day was set forth by ten years between the
// commit of an item and its being read.
type behind struct{ *storage.Store }

func (b behind) Items(queue string, from uint64, limit int) ([]storage.QueueItem, error) {
	items, err := b.Store.Items(queue, from, limit)
	for i := range items {
		items[i].At = items[i].At.Add(-87600 * time.Hour)
	}
	return items, err
}

func TestWhatIsQueuedInTheInstantOfAStepIsNotOld(t *testing.T) {
	within(t, func(t *testing.T, s *storage.Store) {
		w := worker(s)
		w.Store = behind{s}
		stop := begin(w)
		time.Sleep(time.Minute)
		enqueue(t, s, "A", false, "1")
		time.Sleep(time.Minute)
		if age := w.Age(1, time.Now()); age != time.Minute {
			t.Errorf("it is %v old", age)
		}
		stop()
	})
}
