package commitment

import (
	"testing"
	"time"

	"nhip/dicom/dimse"
)

var day0 = time.Date(2026, 1, 14, 8, 0, 0, 0, time.UTC)

func TestARequestIsMadeUntilItIsAccepted(t *testing.T) {
	a := NewAsking(day0)
	now := day0
	var waits []time.Duration
	for range 12 {
		var action AskAction
		if a, action = a.Due(now, AskPolicy{}); action != AskNow {
			t.Fatalf("%v: %v, %+v", now.Sub(day0), action, a)
		}
		a = a.Failed("nothing listens there", now, AskPolicy{})
		waits = append(waits, a.Next.Sub(now))
		if _, early := a.Due(a.Next.Add(-time.Second), AskPolicy{}); early != AskNothing {
			t.Fatal("asked before its time")
		}
		now = a.Next
	}
	if waits[0] != 10*time.Second || waits[1] != 20*time.Second || waits[11] != time.Hour {
		t.Error(waits)
	}
	a, _ = a.Due(now, AskPolicy{})
	a = a.Answered(dimse.Status{Code: dimse.Success}, now, AskPolicy{})
	if a.State != Asked || a.Why != "" || a.Attempts != 0 {
		t.Errorf("%+v", a)
	}
}

func TestARequestIsMadeAgainWhereNoReportComes(t *testing.T) {
	a, _ := NewAsking(day0).Due(day0, AskPolicy{})
	a = a.Answered(dimse.Status{}, day0, AskPolicy{})
	if _, action := a.Due(day0.Add(5*time.Hour), AskPolicy{}); action != AskNothing {
		t.Error(action)
	}
	a, action := a.Due(day0.Add(6*time.Hour), AskPolicy{})
	if action != AskNow || a.State != ToAsk {
		t.Errorf("%v, %+v", action, a)
	}
}

func TestARequestLapses(t *testing.T) {
	for _, asked := range []bool{false, true} {
		a := NewAsking(day0)
		if asked {
			a = a.Answered(dimse.Status{}, day0, AskPolicy{})
		}
		a, action := a.Due(day0.Add(7*24*time.Hour), AskPolicy{})
		if action != AskNoMore || a.State != Lapsed {
			t.Errorf("%v, %+v", action, a)
		}
		if _, action := a.Due(day0.Add(8*24*time.Hour), AskPolicy{}); action != AskNothing {
			t.Error("given up twice")
		}
	}
}

func TestARequestThatIsRefusedIsMadeAgain(t *testing.T) {
	a := NewAsking(day0).Answered(dimse.Status{Code: dimse.ProcessingFailure, Comment: "Nguyen"}, day0, AskPolicy{})
	if a.State != ToAsk || a.Attempts != 1 || a.Why != "the SCP answered 0110H processing failure" || !a.Next.After(day0) {
		t.Errorf("%+v", a)
	}
}
