package delivery

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nhip/gateway/control"
	"nhip/gateway/reason"
	"nhip/storage"
)

func audits(t *testing.T, s *storage.Store) (list []string) {
	t.Helper()
	err := s.Range(control.AuditChannel, 1, 0, false, func(_ storage.Ref, b []byte) bool {
		a, err := control.DecodeAudit(b)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, strings.Join([]string{a.User, a.By, a.Via, a.Act, a.What, a.Why, a.About}, "|"))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func balanced(t *testing.T, s *storage.Store, want map[string]int64) {
	t.Helper()
	if err := Balance(s.Snapshot()); err != nil {
		t.Error(err)
	}
	c := s.Counters()
	for name, n := range want {
		if c[name] != n {
			t.Errorf("%s is %d, want %d; all: %v", name, c[name], n, c)
		}
	}
}

func TestAPauseIsStoredAndLastsOverARestart(t *testing.T) {
	within(t, func(t *testing.T, s *storage.Store) {
		p := &peer{}
		w, stop := start(s, p)
		if err := w.Pause(t.Context(), anna, "LIS update"); err != nil {
			t.Fatal(err)
		}
		enqueue(t, s, "A", false, "1")
		time.Sleep(time.Hour)
		stop()
		w, stop = start(s, p)
		time.Sleep(time.Hour)
		l := w.Link()
		if len(p.sent()) != 0 || l.State != "paused" || l.Pause.By != "Anna" || l.Pause.Why != "LIS update" {
			t.Errorf("sent %v; %+v", p.sent(), l)
		}
		if err := w.Pause(t.Context(), anna, ""); err == nil {
			t.Error("paused twice")
		}
		if err := w.Resume(t.Context(), anna, "done"); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		stop()
		if !slices.Equal(p.sent(), []string{"1"}) {
			t.Errorf("sent %v", p.sent())
		}
		if want := []string{"nhip|Anna|socket|pause|to/lis|LIS update|", "nhip|Anna|socket|resume|to/lis|done|"}; !reflect.DeepEqual(audits(t, s), want) {
			t.Errorf("%q", audits(t, s))
		}
	})
}

func TestAReleasedItemIsSentAsItIsAndTheNextBehindIt(t *testing.T) {
	within(t, func(t *testing.T, s *storage.Store) {
		enqueue(t, s, "A", false, "1", "2")
		p := &peer{script: map[string][]Event{"1": {{Kind: Refused, Why: reason.New(reason.Answered, "AE")}}}}
		w, stop := start(s, p)
		time.Sleep(time.Second)
		if err := w.Release(t.Context(), anna, 2, ""); err == nil {
			t.Error("released what is not held")
		}
		if err := w.Release(t.Context(), anna, 9, ""); err == nil {
			t.Error("released what is not there")
		}
		list, err := w.Queued(t.Context(), 10)
		if err != nil || len(list) != 2 || list[0].State != Held || list[1].Behind != 1 {
			t.Errorf("%+v, %v", list, err)
		}
		if err := w.Release(t.Context(), anna, 1, "patient exists now"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		stop()
		if want := []string{"1", "1", "2"}; !slices.Equal(p.sent(), want) {
			t.Errorf("sent %v", p.sent())
		}
		balanced(t, s, map[string]int64{CountDelivered: 2, CountHeld: 0, CountQueued: 0})
		if got := audits(t, s); len(got) != 1 || got[0] != "nhip|Anna|socket|release|to/lis/1 1|patient exists now|out/lis/1" {
			t.Errorf("%q", got)
		}
	})
}

func TestADiscardNeedsANameAndAReasonAndFreesItsSpecimen(t *testing.T) {
	within(t, func(t *testing.T, s *storage.Store) {
		enqueue(t, s, "A", false, "1", "2")
		p := &peer{script: map[string][]Event{"1": {{Kind: Refused, Why: reason.New(reason.Answered, "AE")}}}}
		w, stop := start(s, p)
		time.Sleep(time.Second)
		for _, who := range []control.Actor{{User: "nhip"}, {User: "nhip", By: " "}} {
			if w.Discard(t.Context(), who, 1, "double") == nil {
				t.Errorf("discarded by %+v", who)
			}
		}
		if w.Discard(t.Context(), anna, 1, "") == nil {
			t.Error("discarded without a reason")
		}
		if err := w.Discard(t.Context(), anna, 1, "double"); err != nil {
			t.Fatal(err)
		}
		if w.Discard(t.Context(), anna, 1, "double") == nil {
			t.Error("discarded twice")
		}
		time.Sleep(time.Second)
		stop()
		if want := []string{"1", "2"}; !slices.Equal(p.sent(), want) {
			t.Errorf("sent %v", p.sent())
		}
		balanced(t, s, map[string]int64{CountAccepted: 2, CountDelivered: 1, CountDiscarded: 1, CountHeld: 0, CountQueued: 0})
		if got := audits(t, s); len(got) != 1 || got[0] != "nhip|Anna|socket|discard|to/lis/1 1|double|out/lis/1" {
			t.Errorf("%q", got)
		}
		b, _, _ := s.Get(DeliveredKey("lis", "1"))
		if x, err := DecodeSettled(b); err != nil || x.How != Discarded || x.By != "Anna" {
			t.Errorf("%+v, %v", x, err)
		}
	})
}

func TestWhatIsBeingSentCannotBeDiscarded(t *testing.T) {
	within(t, func(t *testing.T, s *storage.Store) {
		enqueue(t, s, "A", false, "1")
		w, stop := start(s, &blocking{})
		time.Sleep(time.Second)
		if w.Discard(t.Context(), anna, 1, "x") == nil {
			t.Error("discarded while the LIS may be taking it")
		}
		stop()
		balanced(t, s, map[string]int64{CountQueued: 1, CountDiscarded: 0})
	})
}

func TestAResendSendsTheSameBytesUnderTheSameName(t *testing.T) {
	within(t, func(t *testing.T, s *storage.Store) {
		enqueue(t, s, "A", false, "1", "2")
		enqueue(t, s, "B", true, "3")
		var sent []Item
		p := &peer{}
		p.seen = func(it Item) { sent = append(sent, it) } // p.mu is held
		w, stop := start(s, p)
		time.Sleep(time.Hour)
		after := time.Now()
		enqueue(t, s, "A", false, "4")
		time.Sleep(time.Hour)
		for _, c := range []struct {
			name string
			s    Selection
			want []string
		}{ // what is sent again leaves the queue again, at a later time
			{"from a time", Selection{From: after}, []string{"4"}},
			{"up to a time", Selection{To: after}, []string{"1", "2", "3"}},
			{"one", Selection{IDs: []string{"2"}}, []string{"2"}},
			{"two", Selection{IDs: []string{"3", "1"}}, []string{"1", "3"}},
			{"sequences", Selection{First: 2, Last: 3}, []string{"2", "3"}},
			{"open sequences", Selection{First: 3}, []string{"3", "4"}},
			{"unknown", Selection{IDs: []string{"9"}}, nil},
			{"nothing named", Selection{}, nil},
			{"both", Selection{IDs: []string{"1"}, First: 1}, nil},
			{"a foreign channel", Selection{First: 1, Channel: "in/ct-1"}, nil},
		} {
			name := c.name
			p.mu.Lock()
			sent = nil
			p.mu.Unlock()
			n, err := w.Resend(t.Context(), anna, c.s, "LIS lost them")
			if (err == nil) != (c.want != nil) || n != len(c.want) {
				t.Errorf("%s: %d, %v", name, n, err)
			}
			time.Sleep(time.Minute)
			var ids []string
			p.mu.Lock()
			came := slices.Clone(sent)
			p.mu.Unlock()
			for _, it := range came {
				ids = append(ids, it.ID)
				if it.About.Channel != "out/lis" || fmt.Sprint(it.About.Seq) != it.ID || !it.Resend || (it.Group == "B") != (it.ID == "3") || it.Stat != (it.ID == "3") {
					t.Errorf("%s: %+v", name, it)
				}
			}
			slices.Sort(ids)
			if !slices.Equal(ids, c.want) {
				t.Errorf("%s: sent %v, want %v", name, ids, c.want)
			}
		}
		balanced(t, s, map[string]int64{CountAccepted: 15, CountDelivered: 15, CountResent: 11, CountQueued: 0})
		if err := w.Pause(t.Context(), anna, ""); err != nil {
			t.Fatal(err)
		}
		if n, err := w.Resend(t.Context(), anna, Selection{IDs: []string{"1"}}, ""); n != 1 || err != nil {
			t.Error(n, err)
		}
		synctest.Wait()
		if n, err := w.Resend(t.Context(), anna, Selection{First: 1, Last: 2}, ""); n != 1 || err != nil {
			t.Error("what is in the queue already was queued again:", n, err)
		}
		stop()
	})
}

func TestWhatExpiresIsCountedAndAuditedAndWhatIsHeldStays(t *testing.T) {
	within(t, func(t *testing.T, s *storage.Store) {
		enqueue(t, s, "A", false, "held")
		enqueue(t, s, "B", false, "never answered")
		p := &peer{script: map[string][]Event{"held": {{Kind: Refused, Why: reason.New(reason.Answered, "AE")}},
			"never answered": slices.Repeat([]Event{{Kind: Unclear, Why: reason.New(reason.NoAnswer)}}, 10000)}}
		w := worker(s, p)
		w.Expire = 2 * time.Hour
		stop := begin(w)
		time.Sleep(110 * time.Minute)
		if _, _, unanswered := w.Counts(); unanswered != 1 {
			t.Error("not shown as unanswered")
		}
		balanced(t, s, map[string]int64{CountExpired: 0})
		time.Sleep(20 * time.Minute)
		stop()
		balanced(t, s, map[string]int64{CountExpired: 1, CountHeld: 1, CountQueued: 0, CountAccepted: 2})
		if got := audits(t, s); len(got) != 1 || got[0] != "policy||gateway|expire|to/lis/2 never answered|older than 2h0m0s|out/lis/2" {
			t.Errorf("%q", got)
		}
	})
}

func TestWithoutExpiryNothingExpires(t *testing.T) {
	within(t, func(t *testing.T, s *storage.Store) {
		enqueue(t, s, "A", false, "1")
		_, stop := start(s, &peer{script: map[string][]Event{"1": slices.Repeat([]Event{{Kind: Unclear}}, 100000)}})
		time.Sleep(3 * time.Hour)
		stop()
		balanced(t, s, map[string]int64{CountExpired: 0, CountQueued: 1})
	})
}

func TestUnderHoldWhatWasSentAndNotAnsweredIsNeverSentAgainByItself(t *testing.T) {
	within(t, func(t *testing.T, s *storage.Store) {
		enqueue(t, s, "A", false, "1")
		enqueue(t, s, "B", false, "2")
		p := &peer{script: map[string][]Event{"1": {{Kind: NotSent}, {Kind: Rejected}, {Kind: Unclear, Why: reason.New(reason.NoAnswer)}}}}
		w := worker(s, p)
		w.Policy.Unanswered = Hold
		stop := begin(w)
		time.Sleep(time.Hour)
		if held := w.Held(9); len(held) != 1 || held[0].ID != "1" || held[0].Reason.Code != reason.NoAnswer {
			t.Errorf("%+v", held)
		}
		stop()
		if want := []string{"1", "1", "1"}; !slices.Equal(slices.DeleteFunc(p.sent(), func(id string) bool { return id == "2" }), want) {
			t.Errorf("sent %v", p.sent())
		}
		balanced(t, s, map[string]int64{CountDelivered: 1, CountHeld: 1})
	})
}

// What was on its way when the process ended may have arrived: under Hold it is
// stored as such before the first byte, and is held after the start.
func TestUnderHoldWhatWasBeingSentAtACrashIsHeld(t *testing.T) {
	within(t, func(t *testing.T, s *storage.Store) {
		enqueue(t, s, "A", false, "1")
		w := worker(s, &blocking{})
		w.Policy.Unanswered = Hold
		stop := begin(w)
		time.Sleep(time.Second)
		items, err := s.Items(Queue("lis"), 0, 1)
		if err != nil || len(items) != 1 {
			t.Fatal(items, err)
		}
		if d, err := Decode(items[0].State, items[0].At); err != nil || d.State != Unanswered {
			t.Errorf("while it is being sent the store says %+v, %v", d, err)
		}
		stop() // the outcome is not saved: as a crash
		p := &peer{}
		w = worker(s, p)
		w.Policy.Unanswered = Hold
		stop = begin(w)
		time.Sleep(time.Hour)
		held := w.Held(9)
		stop()
		if len(p.sent()) != 0 || len(held) != 1 || held[0].Reason.Code != reason.Restarted {
			t.Errorf("sent %v, held %+v", p.sent(), held)
		}
		balanced(t, s, map[string]int64{CountHeld: 1, CountQueued: 0})
	})
}

func TestAnUnansweredItemIsStoredAsSuch(t *testing.T) {
	within(t, func(t *testing.T, s *storage.Store) {
		enqueue(t, s, "A", false, "1")
		_, stop := start(s, &peer{script: map[string][]Event{"1": slices.Repeat([]Event{{Kind: Unclear, Why: reason.New(reason.NoAnswer)}}, 9)}})
		time.Sleep(10 * time.Second)
		stop()
		items, _ := s.Items(Queue("lis"), 0, 1)
		if d, err := Decode(items[0].State, items[0].At); err != nil || d.State != Unanswered || d.Reason.Code != reason.NoAnswer || d.Attempts < 3 {
			t.Errorf("%+v, %v", d, err)
		}
	})
}

// A poison message under parallel senders: its own specimen waits behind it, and
// everything else is delivered.
func TestAPoisonMessageBlocksItsOwnSpecimenOnly(t *testing.T) {
	within(t, func(t *testing.T, s *storage.Store) {
		for i := range 40 {
			enqueue(t, s, fmt.Sprint(i%10), false, fmt.Sprint(i))
		}
		p := &peer{script: map[string][]Event{"3": {{Kind: Refused, Why: reason.New(reason.Answered, "AE")}}}}
		w := worker(s, p, p, p, p)
		stop := begin(w)
		time.Sleep(time.Minute)
		held, behind, _ := w.Counts()
		stop()
		if held != 1 || behind != 3 {
			t.Errorf("%d held, %d behind", held, behind)
		}
		balanced(t, s, map[string]int64{CountDelivered: 36, CountHeld: 1, CountQueued: 3})
	})
}

func TestAnActAfterTheEndIsRefused(t *testing.T) {
	within(t, func(t *testing.T, s *storage.Store) {
		enqueue(t, s, "A", false, "1")
		w, stop := start(s, &blocking{})
		time.Sleep(time.Second)
		stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := w.Pause(ctx, anna, ""); err == nil {
			t.Error("paused a worker that has ended")
		}
		if _, ok, _ := s.Get(pauseKey("lis")); ok {
			t.Error("and it is stored")
		}
	})
}

func TestSettledIsReadAsWritten(t *testing.T) {
	x := Settled{At: t0, How: Expired, By: "Anna", Ref: storage.Ref{Channel: "in/ct-1", Seq: 7}, Group: "study/1", Ticket: Ticket{ID: "1.2.3", What: "CT", Mark: "in/ct-1/7", Stat: true}}
	if got, err := DecodeSettled(x.Encode()); err != nil || !reflect.DeepEqual(got, x) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := DecodeSettled([]byte("2026-01-14T08:15:00Z")); err != nil || got.How != Delivered || got.Ref.Channel != "" {
		t.Errorf("of the first version: %+v, %v", got, err)
	}
	for _, bad := range []string{"", "yesterday", "2026-01-14T08:15:00Z {", `2026-01-14T08:15:00Z {"ref":"x"}`} {
		if _, err := DecodeSettled([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestBalanceSeesEveryDifference(t *testing.T) {
	good := func() storage.Snapshot {
		return storage.Snapshot{Counters: map[string]int64{CountAccepted: 21, CountDelivered: 1, CountQueued: 5, CountHeld: 2, CountDiscarded: 3, CountExpired: 4, "consumed/query": 6, "note/resent": 9, "refused": 8},
			Depths: map[string]int{"interpret": 2, "to/lis": 4, "held": 1, "other": 99}}
	}
	if err := Balance(good()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{CountAccepted, CountDelivered, CountQueued, CountHeld, CountDiscarded, CountExpired, "consumed/query", "consumed/new"} {
		s := good()
		s.Counters[name]++
		if Balance(s) == nil {
			t.Errorf("one more %s was not seen", name)
		}
	}
	for _, name := range []string{"interpret", "held", "to/lis"} {
		s := good()
		s.Depths[name]--
		if Balance(s) == nil {
			t.Errorf("one less in %s was not seen", name)
		}
	}
}
