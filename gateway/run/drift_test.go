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
