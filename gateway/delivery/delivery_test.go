package delivery

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"nhip/gateway/reason"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestOnlyAcceptedEverDelivers(t *testing.T) {
	for _, unanswered := range []Unsettled{Retry, Hold} {
		onlyAcceptedEverDelivers(t, Policy{First: time.Second, Max: time.Minute, MaxRejections: 3, Unanswered: unanswered})
	}
}

func onlyAcceptedEverDelivers(t *testing.T, p Policy) {
	kinds := []Kind{Send, Accepted, Refused, Rejected, Unclear, NotSent, Restart, Release, Discard, Expire}
	ended := func(s State) bool { return s == Delivered || s == Discarded || s == Expired }
	var walks int
	var walk func(d Delivery, depth int)
	walk = func(d Delivery, depth int) {
		if depth == 0 {
			walks++
			return
		}
		for _, k := range kinds {
			next, action := p.Step(d, Event{Kind: k, Why: reason.Text("x")}, t0, 0.5)
			if (next.State == Delivered) != (action == Finish || d.State == Delivered) {
				t.Fatalf("%v on %v: state %v with action %d", k, d.State, next.State, action)
			}
			if action == Finish && (k != Accepted || d.State != Sending) {
				t.Fatalf("%v in state %v finished the delivery", k, d.State)
			}
			if action == Transmit && d.State != Waiting && d.State != Unanswered {
				t.Fatalf("transmitted in state %v", d.State)
			}
			if (action == Drop) != (!ended(d.State) && (next.State == Discarded || next.State == Expired)) {
				t.Fatalf("%v on %v: state %v with action %d", k, d.State, next.State, action)
			}
			if (next.State == Discarded && k != Discard || next.State == Expired && k != Expire) && !ended(d.State) {
				t.Fatalf("%v on %v: %v", k, d.State, next.State)
			}
			if d.State == Sending && (k == Discard || k == Expire) && !reflect.DeepEqual(next, d) {
				t.Fatalf("%v while it is being sent", k)
			}
			if d.State == Sending && (k == Unclear || k == Restart) {
				want := Unanswered
				if p.Unanswered == Hold {
					want = Held
				}
				if next.State != want {
					t.Fatalf("%v under policy %d: %v", k, p.Unanswered, next.State)
				}
			}
			if p.Unanswered == Hold && next.State == Unanswered {
				t.Fatalf("%v on %v: unanswered, and it will be sent again", k, d.State)
			}
			if next.State == Held && next.Reason.IsZero() {
				t.Fatal("held without a reason")
			}
			if d.State == Held && next.State != Held && k != Release && k != Discard {
				t.Fatalf("%v let a held item go", k)
			}
			walk(next, depth-1)
		}
	}
	walk(New(t0), 6)
	if walks != 1000000 {
		t.Errorf("%d walks", walks)
	}
}

func TestRetriesDoubleFromOneSecondToFiveMinutes(t *testing.T) {
	p := DefaultPolicy()
	for n, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 9: 256 * time.Second, 10: 5 * time.Minute, 1000: 5 * time.Minute} {
		lo, hi := p.Backoff(n, 0), p.Backoff(n, 0.999)
		if lo != want*3/4 || hi > want || hi < want*9/10 {
			t.Errorf("after %d failures: %v to %v, want three quarters of %v to all of it", n, lo, hi, want)
		}
	}
}

func TestRejectedTwentyTimesIsHeld(t *testing.T) {
	p := DefaultPolicy()
	d, now := New(t0), t0
	for i := 1; ; i++ {
		d, _ = p.Step(d, Event{Kind: Send}, now, 0)
		var a Action
		d, a = p.Step(d, Event{Kind: Rejected, Why: reason.New(reason.Answered, "AR 207")}, now, 0)
		if a == Alarm {
			if i != 20 {
				t.Fatalf("held after %d rejections", i)
			}
			break
		}
		now = d.NotBefore
	}
	if d.State != Held || d.Reason.String() != "20 times; the last time: the destination answered AR 207" {
		t.Errorf("%+v", d)
	}
}

func TestSilenceNeverHolds(t *testing.T) {
	p := DefaultPolicy()
	d := New(t0)
	for range 10000 {
		d, _ = p.Step(d, Event{Kind: Send}, t0, 0)
		d, _ = p.Step(d, Event{Kind: Unclear, Why: reason.New(reason.NoAnswer)}, t0, 0)
		if d.State != Unanswered {
			t.Fatal(d.State)
		}
	}
}

func TestStoredStateSurvivesAndSendingIsStoredAsUnanswered(t *testing.T) {
	d := Delivery{Version: 1, State: Held, Attempts: 3, Rejections: 2, Reason: reason.New(reason.Answered, "AE 103"), Since: t0}
	got, err := Decode(d.Encode(), time.Time{})
	if err != nil || !reflect.DeepEqual(got, d) {
		t.Errorf("%+v, %v", got, err)
	}
	d.State = Sending
	if got, _ := Decode(d.Encode(), time.Time{}); got.State != Unanswered {
		t.Errorf("sending came back as %v", got.State)
	}
	for _, bad := range []string{"{", `{"v":2,"s":1}`, `{"v":1,"s":4}`, `{"v":1,"s":0}`, `{"v":1,"s":6}`, `{"v":1,"s":2}`} {
		if _, err := Decode([]byte(bad), t0); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

func send(t *testing.T, l *Lane, want uint64) {
	t.Helper()
	seq, _, ok := l.Next(t0)
	if !ok || seq != want {
		t.Fatalf("next is %d (%v), want %d", seq, ok, want)
	}
	d, _ := l.Get(seq)
	d.State = Sending
	l.Set(seq, d)
}

func set(l *Lane, seq uint64, s State, notBefore time.Time) {
	d, _ := l.Get(seq)
	d.State, d.NotBefore = s, notBefore
	l.Set(seq, d)
}

func TestOrderIsKeptPerSpecimenAndStatOvertakesOthersOnly(t *testing.T) {
	l := NewLane()
	l.Add(1, "A", false, New(t0))
	l.Add(2, "B", false, New(t0))
	l.Add(3, "A", true, New(t0)) // behind 1 of the same specimen
	l.Add(4, "C", true, New(t0))
	send(t, l, 1) // A holds a STAT result: its older one goes first, and before C's
	send(t, l, 4)
	send(t, l, 2)
	if _, _, ok := l.Next(t0); ok {
		t.Fatal("3 overtook 1 of its own specimen")
	}
	set(l, 1, Delivered, time.Time{})
	send(t, l, 3)
}

func TestARetryStopsItsOwnSpecimenOnly(t *testing.T) {
	l := NewLane()
	l.Add(1, "A", false, New(t0))
	l.Add(2, "A", false, New(t0))
	l.Add(3, "B", false, New(t0))
	send(t, l, 1)
	set(l, 1, Waiting, t0.Add(10*time.Second))
	send(t, l, 3)
	if _, wait, ok := l.Next(t0); ok || wait != 10*time.Second {
		t.Fatalf("wait %v, %v", wait, ok)
	}
	if seq, _, ok := l.Next(t0.Add(10 * time.Second)); !ok || seq != 1 {
		t.Fatalf("%d %v", seq, ok)
	}
}

func TestAHeldItemBlocksItsSpecimenUntilAPersonActs(t *testing.T) {
	l := NewLane()
	l.Add(1, "A", false, New(t0))
	l.Add(2, "A", true, New(t0))
	l.Add(3, "B", false, New(t0))
	send(t, l, 1)
	set(l, 1, Held, time.Time{})
	send(t, l, 3)
	if _, wait, ok := l.Next(t0.AddDate(1, 0, 0)); ok || wait != 0 {
		t.Fatal("2 passed the held 1")
	}
	if by, _, ok := l.Blocked(2); !ok || by != 1 {
		t.Fatal("2 does not say what it waits behind")
	}
	set(l, 1, Waiting, time.Time{})
	send(t, l, 1)
}

func TestItemsWithoutAGroupAreIndependent(t *testing.T) {
	l := NewLane()
	l.Add(1, "", false, New(t0))
	l.Add(2, "", false, New(t0))
	send(t, l, 1)
	send(t, l, 2)
	set(l, 1, Delivered, time.Time{})
	set(l, 2, Delivered, time.Time{})
	if l.Len() != 0 || len(l.groups) != 0 {
		t.Error("the lane is not empty")
	}
}

func TestAHundredThousandItemsLeaveNothingBehind(t *testing.T) {
	l := NewLane()
	const n = 100000
	for i := range uint64(n) {
		l.Add(i, fmt.Sprint(i%977), i%50 == 0, New(t0))
	}
	last := map[string]uint64{}
	for l.Len() > 0 {
		seq, _, ok := l.Next(t0)
		if !ok {
			t.Fatal("stuck")
		}
		g := fmt.Sprint(seq % 977)
		if was, seen := last[g]; seen && was >= seq {
			t.Fatalf("%d after %d", seq, was)
		}
		last[g] = seq
		set(l, seq, Sending, time.Time{})
		set(l, seq, Delivered, time.Time{})
	}
	if len(l.groups)+len(l.ready)+len(l.timed)+len(l.held) != 0 {
		t.Error("groups are left")
	}
}
