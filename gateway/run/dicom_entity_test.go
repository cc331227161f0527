package run

import (
	"net/netip"
	"testing"
)

func TestWhereADestinationIs(t *testing.T) {
	for _, c := range []struct {
		address, from string
		literal, at   bool
	}{
		{"127.0.0.1:104", "127.0.0.1", true, true},
		{"127.0.0.1:104", "::ffff:127.0.0.1", true, true},
		{"[::1]:104", "::1", true, true},
		{"127.0.0.1:104", "127.0.0.2", false, false},
		{"localhost:104", "127.0.0.1", false, true},
		{"no.such.host.invalid:104", "127.0.0.1", false, false},
		{"nonsense", "127.0.0.1", false, false},
	} {
		from := netip.MustParseAddr(c.from)
		if got := isAt(c.address, from); got != c.literal {
			t.Errorf("%s literally at %s: %v", c.address, c.from, got)
		}
		if got := at(c.address, from); got != c.at {
			t.Errorf("%s at %s: %v", c.address, c.from, got)
		}
	}
}
