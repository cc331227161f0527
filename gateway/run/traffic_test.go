package run

import (
	"slices"
	"testing"
	"time"

	"nhip/gateway/console"
)

// What the bytes of a link tell is said, and no longer once it is over.
func TestTheBytesOfALinkTellWhatIsWrongWithIt(t *testing.T) {
	begin := time.Date(2026, 1, 14, 8, 0, 0, 0, time.UTC)
	in := func(minutes float64) time.Time { return begin.Add(time.Duration(minutes * float64(time.Minute))) }
	ack, nak, enq := []byte{0x06}, []byte{0x15}, []byte{0x05}
	check := func(what string, x traffic, last, now time.Time, want ...console.Code) {
		t.Helper()
		var got []console.Code
		for _, w := range x.trouble(last, now) {
			got = append(got, w.Code)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	x := traffic{since: begin}
	check("just open", x, time.Time{}, in(1))
	check("silent", x, in(-60), in(11), console.TroubleSilent)
	x.saw(false, []byte("??"), in(12))
	check("bytes and no message", x, in(-60), in(15), console.TroubleUnread)
	check("a message came", x, in(14), in(15))
	for range 5 {
		x.saw(true, nak, in(15))
	}
	check("five NAK", x, in(14), in(15))
	x.saw(true, nak, in(15))
	check("six NAK", x, in(14), in(15), console.TroubleNAK)
	x.saw(true, ack, in(15))
	check("then ACK", x, in(14), in(15))
	x.saw(true, enq, in(15))
	check("ENQ, and time to answer", x, in(14), in(15.1))
	check("ENQ, and no answer", x, in(14), in(15.5), console.TroubleENQ)
	x.saw(true, enq, in(16))
	if w := x.trouble(in(14), in(17)); len(w) != 1 || w[0].Args[0] != "2" {
		t.Errorf("two ENQ: %v", w)
	}
	x.saw(true, append([]byte{2}, "1H|"...), in(17))
	x.saw(false, ack, in(17))
	check("answered", x, in(14), in(18))
	if troubles(state{State: "listening", traffic: traffic{since: begin}}, in(60)) != nil {
		t.Error("a connection that is gone is in trouble")
	}
}
