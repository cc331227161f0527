package delivery

import (
	"testing"
	"time"

	"nhip/gateway/reason"
)

func TestOldestIsNotOneThatWaitsForAPerson(t *testing.T) {
	now := time.Date(2026, 1, 14, 8, 0, 0, 0, time.UTC)
	l := NewLane()
	l.Add(1, "a", false, New(now).hold(reason.New(reason.Answered, "AE"), now))
	l.Add(2, "a", false, New(now))
	if seq, ok := l.Oldest(); ok {
		t.Error(seq, "waits behind a held one")
	}
	l.Add(3, "b", false, New(now))
	l.Add(4, "", false, New(now))
	if seq, ok := l.Oldest(); !ok || seq != 3 {
		t.Error(seq, ok)
	}
	d, _ := l.Get(3)
	d.State = Sending
	if l.Set(3, d); l.ready.Len() != 1 {
		t.Fatal(l.ready.Len())
	}
	if seq, ok := l.Oldest(); !ok || seq != 3 {
		t.Error(seq, ok, "while it is being sent it still waits")
	}
}
