package commitment

import (
	"testing"
	"time"

	"nhip/dicom/dimse"
)

var start = time.Date(2026, 1, 14, 8, 0, 0, 0, time.UTC)

func TestReportIsTriedOnTheSameAssociationThenOnItsOwn(t *testing.T) {
	now := start
	r := NewReport(now)
	if _, a := r.Due(now, Policy{}, true); a != Nothing {
		t.Fatalf("pending: action %v", a)
	}
	r = r.Known(now)
	r, a := r.Due(now, Policy{}, true)
	if a != ReportOnSame {
		t.Fatalf("action %v with the association open", a)
	}
	r = r.Failed("released", a, now, Policy{})
	if r, a = r.Due(now, Policy{}, true); a != ReportOnOwn {
		t.Fatalf("action %v after the association of the request failed", a)
	}
	r = r.Answered(dimse.Status{Code: dimse.ProcessingFailure}, a, now, Policy{})
	if r.State != Owed || r.Next != now.Add(10*time.Second) {
		t.Fatalf("after a refusal: %+v", r)
	}
	if _, a = r.Due(now, Policy{}, false); a != Nothing {
		t.Fatalf("action %v before it is due", a)
	}
	now = r.Next
	r, a = r.Due(now, Policy{}, false)
	r = r.Answered(dimse.Status{}, a, now, Policy{})
	if r.State != Reported || r.Why != "" {
		t.Fatalf("%+v", r)
	}
}

// A week with the SCU away: the waits double to an hour, then it is given up.
func TestReportIsTriedForDaysAndExpires(t *testing.T) {
	now := start
	r := NewReport(now).Known(now)
	attempts := 0
	for {
		var a Action
		r, a = r.Due(now, Policy{}, false)
		if a == GiveUp {
			break
		}
		if a != ReportOnOwn {
			t.Fatalf("action %v at %v", a, now)
		}
		attempts++
		r = r.Failed("connection refused", a, now, Policy{})
		if wait := r.Next.Sub(now); wait > time.Hour {
			t.Fatalf("a wait of %v", wait)
		}
		now = r.Next
	}
	if r.State != Expired || now.Sub(start) < 7*24*time.Hour || attempts < 7*24 || attempts > 7*24+12 {
		t.Errorf("%v after %v and %d attempts", r.State, now.Sub(start), attempts)
	}
	if _, a := r.Due(now.Add(time.Hour), Policy{}, true); a != Nothing {
		t.Errorf("action %v once expired", a)
	}
	if r = r.Repeated(now); r.State != Owed {
		t.Errorf("%v after the request was repeated", r.State)
	}
}

func TestAnOutcomeThatIsNeverKnownExpires(t *testing.T) {
	r, a := NewReport(start).Due(start.Add(8*24*time.Hour), Policy{}, false)
	if r.State != Expired || a != GiveUp {
		t.Errorf("%v, action %v", r.State, a)
	}
}

// Whatever happens in whatever order: only an answer makes a report Reported,
// only time Expired, and an ended report asks for nothing.
func TestEveryOrderOfEvents(t *testing.T) {
	p := Policy{First: time.Second, Most: 4 * time.Second, Expire: 30 * time.Second}
	var walk func(r Report, now time.Time, depth int)
	walk = func(r Report, now time.Time, depth int) {
		if depth == 0 {
			return
		}
		for event := range 6 {
			next, at, answered := r, now, false
			switch event {
			case 0:
				next = r.Known(now)
			case 1, 2:
				var a Action
				next, a = r.Due(now, p, event == 2)
				if a == ReportOnSame && (event == 1 || r.Same) {
					t.Fatalf("%+v: on the same association", r)
				}
				if (a == ReportOnSame || a == ReportOnOwn) && r.State != Owed {
					t.Fatalf("%+v: action %v", r, a)
				}
			case 3:
				next, answered = r.Answered(dimse.Status{}, ReportOnOwn, now, p), true
			case 4:
				next = r.Failed("x", ReportOnOwn, now, p)
			case 5:
				at = now.Add(5 * time.Second)
			}
			if next.State != r.State && next.State == Reported && (!answered || r.State != Owed) {
				t.Fatalf("event %d made %+v of %+v", event, next, r)
			}
			if next.State != r.State && next.State == Expired && now.Sub(r.Since) < p.Expire {
				t.Fatalf("event %d made %+v of %+v after %v", event, next, r, now.Sub(r.Since))
			}
			if next.State != r.State && (r.State == Reported || r.State == Expired) {
				t.Fatalf("event %d made %+v of %+v", event, next, r)
			}
			walk(next, at, depth-1)
		}
	}
	walk(NewReport(start), start, 7)
}

func TestOutcomeCoversTheRequest(t *testing.T) {
	a, b, c := Reference{"1.2", "1.3.1"}, Reference{"1.2", "1.3.2"}, Reference{"1.2", "1.3.3"}
	asked := []Reference{a, b, b}
	for _, x := range []struct {
		name string
		o    Outcome
		good bool
	}{
		{"all", Outcome{Committed: []Reference{b}, Failed: []Failure{{a, NoSuchInstance}}}, true},
		{"one is missing", Outcome{Committed: []Reference{a}}, false},
		{"one in both lists", Outcome{Committed: []Reference{a, b}, Failed: []Failure{{a, NoSuchInstance}}}, false},
		{"one twice", Outcome{Committed: []Reference{a, b, b}}, false},
		{"one that was not asked for", Outcome{Committed: []Reference{a, b, c}}, false},
		{"the instance under another class", Outcome{Committed: []Reference{a, {"1.9", b.SOPInstanceUID}}}, false},
	} {
		if got := x.o.Covers(asked) == nil; got != x.good {
			t.Errorf("%s: %v", x.name, got)
		}
	}
}

// A repeated request is the same; another with its transaction UID is not.
func TestRepeatedRequests(t *testing.T) {
	one := Transaction{"1.2", []Reference{{"1.2", "1.3.1"}, {"1.2", "1.3.2"}}}
	for _, c := range []struct {
		other Transaction
		want  bool
	}{
		{Transaction{"1.2", []Reference{{"1.2", "1.3.1"}, {"1.2", "1.3.2"}}}, true},
		{Transaction{"1.3", one.References}, false},
		{Transaction{"1.2", one.References[:1]}, false},
		{Transaction{"1.2", []Reference{{"1.2", "1.3.1"}, {"1.2", "1.3.3"}}}, false},
	} {
		if one.Same(c.other) != c.want {
			t.Errorf("%+v: %v", c.other, !c.want)
		}
	}
}
