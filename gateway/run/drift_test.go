package run

import (
	"testing"
	"time"
)

func TestDriftIsTheMedianOfTheLastMessages(t *testing.T) {
	var d drift
	if d.median() != nil {
		t.Error("a device that told no time has a drift")
	}
	// One message that waited a night in the device does not move it; a clock
	// that was set does, after a few messages.
	for _, ahead := range []time.Duration{2, 3, 2, -36000, 1, 2} {
		d.told(ahead * time.Second)
	}
	if m := d.median(); m == nil || *m != 2*time.Second {
		t.Errorf("%v", m)
	}
	for range 9 {
		d.told(-time.Hour)
	}
	if m := *d.median(); m != -time.Hour {
		t.Errorf("%v", m)
	}
}

func TestAClockThatWasSetIsNoticed(t *testing.T) {
	for _, test := range []struct{ day, monotonic, want time.Duration }{
		{10 * time.Second, 10 * time.Second, 0},
		{10*time.Second + 300*time.Millisecond, 10 * time.Second, 0}, // NTP slews
		{10*time.Second + time.Hour, 10 * time.Second, time.Hour},
		{10*time.Second - time.Hour, 10 * time.Second, -time.Hour},
		{87600*time.Hour + 10*time.Second, 10 * time.Second, 87600 * time.Hour},
	} {
		if got := stepped(test.day, test.monotonic); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
}
