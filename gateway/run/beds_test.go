package run

import "testing"

func TestAConnectionSpeaksForOneBed(t *testing.T) {
	for _, c := range []struct {
		name, configured string
		messages         []string
		taken            []bool
	}{
		{"the first that is named counts", "", []string{"", "ICU^^1", "ICU^^1", "ICU^^2", "", "ICU^^1"}, []bool{true, true, true, false, true, true}},
		{"the configured one counts", "ICU^^2", []string{"ICU^^1", "ICU^^2", ""}, []bool{false, true, true}},
		{"a monitor that names none", "", []string{"", ""}, []bool{true, true}},
	} {
		b := &bed{location: c.configured}
		for i, m := range c.messages {
			if got := b.takes(m); got != c.taken[i] {
				t.Errorf("%s: message %d for %q: %v", c.name, i, m, got)
			}
		}
	}
}
