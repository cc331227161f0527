package e1381_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"nhip/drivers/astm/e1381"
)

// An end is one end of the link in virtual time: its timer runs when a script says so.
type end struct {
	receive func([]byte) (int, []e1381.Action)
	timeOut func() []e1381.Action
	offer   func() []e1381.Action
	cut     func() []e1381.Action
	failed  func() []e1381.Action
	full    bool // the disk
	now     time.Duration
	timer   time.Duration // when it runs out; 0: it does not run
	did     []string
}

// hostEnd is the gateway's end: it receives, and sends what is offered.
func hostEnd() *end {
	l := e1381.NewLine(e1381.Dialect{}, 0, 0)
	return &end{receive: l.Receive, timeOut: l.TimedOut, cut: func() []e1381.Action { return l.Cut("line cut") }, failed: l.StoreFailed,
		offer: func() []e1381.Action { return l.Offer(twoFrames) }}
}

// instrumentEnd is the instrument's end while it sends.
func instrumentEnd() *end {
	s := e1381.NewSender(e1381.Instrument)
	return &end{receive: s.Receive, timeOut: s.TimedOut, offer: func() []e1381.Action { return s.Start(twoFrames) }}
}

// manyFrames is an instrument that sends nine frames.
func manyFrames() *end {
	s := e1381.NewSender(e1381.Instrument)
	var frames []e1381.Frame
	for range 9 {
		frames = append(frames, e1381.Frame{Text: []byte("C|1\r"), End: etx})
	}
	return &end{receive: s.Receive, timeOut: s.TimedOut, offer: func() []e1381.Action { return s.Start(frames) }}
}

var twoFrames = []e1381.Frame{{Text: []byte("H|\\^&\rL|1"), End: etb}, {Text: []byte("|N\r"), End: etx}}

func (e *end) do(actions []e1381.Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case e1381.Send:
			text := controlNames[a.Bytes[0]]
			if a.Bytes[0] == e1381.STX {
				text = string(a.Bytes[1])
			}
			e.did = append(e.did, "<"+text)
		case e1381.Wait:
			e.timer = 0
			if a.For > 0 {
				e.timer = e.now + a.For
			}
		case e1381.Store:
			if e.full {
				e.do(e.failed())
				return
			}
			e.did = append(e.did, fmt.Sprintf("=stored%d", len(a.Messages)))
		case e1381.Incomplete:
			e.did = append(e.did, "=incomplete")
		case e1381.Ended:
			e.did = append(e.did, "=ended")
		case e1381.Sent:
			e.did = append(e.did, "=sent")
		case e1381.Failed:
			e.did = append(e.did, fmt.Sprintf("=failed%d", a.Accepted))
		case e1381.Yielded:
			e.did = append(e.did, "=yielded")
		}
	}
}

// event does one word of a script.
func (e *end) event(t *testing.T, word string) {
	t.Helper()
	if d, ok := strings.CutPrefix(word, "+"); ok {
		wait, err := time.ParseDuration(d)
		if err != nil {
			t.Fatal(err)
		}
		for until := e.now + wait; ; {
			if e.timer == 0 || e.timer > until {
				e.now = until
				return
			}
			e.now, e.timer = e.timer, 0
			e.do(e.timeOut())
		}
	}
	switch word {
	case "offer":
		e.do(e.offer())
		return
	case "cut":
		e.do(e.cut())
		return
	case "full", "room":
		e.full = word == "full"
		return
	}
	for p := lis01Bytes(word); len(p) > 0; {
		n, actions := e.receive(p)
		p = p[n:]
		e.do(actions)
		if n == 0 && slices.Contains(e.did, "=yielded") {
			return // the rest is the receiver's
		}
	}
}

// lis01Bytes is what a word of a script is on the line: "1:H" a frame with its record H,
// "2:L" one with L, ending in ETX; "1+H" the same ending in ETB; "1!H" with a wrong
// checksum.
func lis01Bytes(word string) []byte {
	if b, ok := wire[word]; ok && word != "message" {
		return []byte(b)
	}
	if len(word) > 2 && '0' <= word[0] && word[0] <= '7' && strings.ContainsRune(":+!", rune(word[1])) {
		text := map[string]string{"H": head, "L": last, "HL": head + last, "R": "R|1|^^^GLU|5.1\r"}[word[2:]]
		f := e1381.Frame{Text: []byte(text), End: map[byte]byte{':': etx, '+': etb, '!': etx}[word[1]]}.Append(nil, int(word[0]-'0'))
		if word[1] == '!' {
			f[len(f)-3] ^= 1
		}
		return f
	}
	return []byte(word)
}

// LIS01-A2 and E1381-95 section 6, row by row, in virtual time. A script is what comes
// (ENQ, frames, +15s of silence) with what the end does (<ACK, =stored1) behind it; what
// is not written there must not be done. Section 5, the physical layer, is the port's.
func TestLIS01(t *testing.T) {
	six := strings.Repeat
	for _, c := range []struct {
		name, script string
		end          func() *end
	}{
		// The receiver.
		{"6.2/neutral: only ENQ is heard", "ACK NAK EOT STX x +60s ENQ <ACK", hostEnd},
		{"6.2/ENQ is acknowledged at once", "ENQ <ACK", hostEnd},
		{"6.2/a second ENQ is not acknowledged twice", "ENQ <ACK ENQ ENQ 1:HL =stored1 <ACK", hostEnd},
		{"6.3/each good frame is acknowledged", "ENQ <ACK 1:H <ACK 2:R <ACK 3:L =stored1 <ACK EOT =ended", hostEnd},
		{"6.3/the last frame is acknowledged when it is stored", "ENQ <ACK 1:H <ACK full 2:L <NAK room 2:L =stored1 <ACK EOT =ended", hostEnd},
		{"6.3/ETB: the record goes on in the next frame", "ENQ <ACK 1+H <ACK 2:L =stored1 <ACK", hostEnd},
		{"6.3/a message that is one frame", "ENQ <ACK 1:HL =stored1 <ACK", hostEnd},
		{"6.3/frame numbers go on from 7 to 0 and 1", "ENQ <ACK 1:H <ACK 2:R <ACK 3:R <ACK 4:R <ACK 5:R <ACK 6:R <ACK 7:R <ACK 0:R <ACK 1:L =stored1 <ACK", hostEnd},
		{"6.3/frame numbers are not begun anew by a second message", "ENQ <ACK 1:HL =stored1 <ACK 2:HL =stored1 <ACK 1:HL <NAK 3:HL =stored1 <ACK", hostEnd},
		{"6.3/frame numbers are begun anew by a session", "ENQ <ACK 1:HL =stored1 <ACK EOT =ended ENQ <ACK 1:HL =stored1 <ACK", hostEnd},
		{"6.4/EOT ends the session", "ENQ <ACK EOT =ended 1:HL", hostEnd},
		{"6.4/EOT in the middle of a message: it was not transferred", "ENQ <ACK 1:H <ACK EOT =incomplete =ended", hostEnd},
		{"6.4/EOT behind a NAK: it was not transferred", "ENQ <ACK 1:H <ACK 2!L <NAK EOT =incomplete =ended", hostEnd},
		{"6.4/EOT in the middle of a frame", "ENQ <ACK STX 1 H EOT =ended", hostEnd},
		{"6.4/the line is cut in the middle of a message", "ENQ <ACK 1:H <ACK cut =incomplete", hostEnd},
		{"6.5.1/a wrong checksum is answered NAK", "ENQ <ACK 1!HL <NAK 1:HL =stored1 <ACK", hostEnd},
		{"6.5.1/a frame number that is neither the last nor the next is answered NAK", "ENQ <ACK 2:HL <NAK 1:H <ACK 3:L <NAK 2:L =stored1 <ACK", hostEnd},
		{"6.5.1/the last frame once more is acknowledged and not taken twice", "ENQ <ACK 1:H <ACK 1:H <ACK 2:L =stored1 <ACK 2:L <ACK EOT =ended", hostEnd},
		{"6.5.1/characters before STX and behind the frame are ignored", "ENQ <ACK x x 1:H <ACK x x 2:L =stored1 <ACK x EOT =ended", hostEnd},
		{"6.5.1/a receiver answers NAK as often as it is needed", "ENQ <ACK" + six(" 1!HL <NAK", 20) + " 1:HL =stored1 <ACK", hostEnd},
		{"6.5.2/30 s: no frame comes behind the ENQ", "ENQ <ACK +29.999s +1ms 1:HL", hostEnd},
		{"6.5.2/30 s: the next frame does not come, the message is discarded", "ENQ <ACK 1:H <ACK +29.999s +1ms =incomplete 2:L", hostEnd},
		{"6.5.2/30 s: the frame is not ended", "ENQ <ACK STX 1 H +29.999s +1ms 2:L", hostEnd},
		{"6.5.2/30 s are counted from the last reply", "ENQ <ACK +29s 1:H <ACK +29s 2!L <NAK +29s 2:L =stored1 <ACK +29s EOT =ended", hostEnd},
		{"6.5.2/no session, no timer", "+24h ENQ <ACK", hostEnd},

		// The sender, as host.
		{"6.2/a host bids when the line is silent", "offer +19ms +1ms <ENQ", hostEnd},
		{"6.2/ACK: the first frame", "offer +20ms <ENQ ACK <1", hostEnd},
		{"6.2/all but ACK, NAK and ENQ is ignored", "offer +20ms <ENQ x EOT STX ACK <1", hostEnd},
		{"6.2/NAK: 10 s, then another bid", "offer +20ms <ENQ NAK +9.999s +1ms <ENQ ACK <1", hostEnd},
		{"6.2/a system that cannot receive always answers NAK: given up", "offer +20ms <ENQ" + six(" NAK +10s <ENQ", 5) + " NAK <EOT =failed0", hostEnd},
		{"6.2/the instrument bids while the host waits behind NAK", "offer +20ms <ENQ NAK +5s ENQ <ACK 1:HL =stored1 <ACK EOT =ended <ENQ ACK <1", hostEnd},
		{"6.2/an offer within a session waits for its end", "ENQ <ACK offer +1s 1:HL =stored1 <ACK EOT =ended <ENQ ACK <1", hostEnd},
		{"6.2.7.1/contention: the host yields, and does not acknowledge the ENQ", "offer +20ms <ENQ ENQ +1s ENQ <ACK 1:HL =stored1 <ACK EOT =ended <ENQ ACK <1", hostEnd},
		{"6.2.7.1/contention: 20 s for the instrument's bid, then the host's", "offer +20ms <ENQ ENQ +19.999s +1ms +20ms <ENQ ACK <1", hostEnd},
		{"6.3/a frame for each ACK, then EOT", "offer +20ms <ENQ ACK <1 ACK <2 ACK <EOT =sent", hostEnd},
		{"6.3/NAK: the same frame again", "offer +20ms <ENQ ACK <1 NAK <1 ACK <2 NAK <2 ACK <EOT =sent", hostEnd},
		{"6.3/any other character is a NAK", "offer +20ms <ENQ ACK <1 x <1 ENQ <1 ACK <2", hostEnd},
		{"6.3.5/receiver interrupt: EOT in place of ACK accepts the frame", "offer +20ms <ENQ ACK <1 EOT <2 ACK <EOT =sent", hostEnd},
		{"6.3.5/receiver interrupt of the last frame", "offer +20ms <ENQ ACK <1 ACK <2 EOT <EOT =sent", hostEnd},
		{"6.3.5/EOT behind a bid of the instrument ends that, and accepts no frame", "offer +20ms <ENQ ACK <1 ACK <2 ENQ <2 EOT <EOT =failed1", hostEnd},
		{"6.3.5/a frame that is acknowledged behind a bid is accepted", "offer +20ms <ENQ ACK <1 ENQ <1 ACK <2 EOT <EOT =sent", hostEnd},
		{"6.4/neutral behind EOT: a late ACK is nothing", "offer +20ms <ENQ ACK <1 ACK <2 ACK <EOT =sent ACK NAK +60s ENQ <ACK", hostEnd},
		{"6.5.1.2/six times not accepted: given up", "offer +20ms <ENQ ACK <1" + six(" NAK <1", 5) + " NAK <EOT =failed0", hostEnd},
		{"6.5.1.2/the count is of one frame", "offer +20ms <ENQ ACK <1" + six(" NAK <1", 5) + " ACK <2" + six(" NAK <2", 5) + " ACK <EOT =sent", hostEnd},
		{"6.5.2/15 s: no reply to ENQ", "offer +20ms <ENQ +14.999s +1ms <EOT =failed0", hostEnd},
		{"6.5.2/15 s: no reply to a frame", "offer +20ms <ENQ ACK <1 +14.999s +1ms <EOT =failed0", hostEnd},
		{"6.5.2/15 s: no reply to a later frame", "offer +20ms <ENQ ACK <1 +14s ACK <2 +14.999s +1ms <EOT =failed1", hostEnd},
		{"6.5.2/15 s begin anew with each repetition", "offer +20ms <ENQ ACK <1 +14s NAK <1 +14s NAK <1 +14s ACK <2", hostEnd},
		{"6.5.2/ENQ is heard again behind a sender's time-out", "offer +20ms <ENQ +15s <EOT =failed0 ENQ <ACK 1:HL =stored1 <ACK", hostEnd},

		// The sender, as instrument (the simulator).
		{"6.2/instrument: it bids at once", "offer <ENQ ACK <1", instrumentEnd},
		{"6.2/instrument: NAK: 10 s", "offer <ENQ NAK +9.999s +1ms <ENQ ACK <1", instrumentEnd},
		{"6.2/instrument: the host bids behind its NAK", "offer <ENQ NAK +1s ENQ =yielded", instrumentEnd},
		{"6.2.7.1/instrument: contention: 1 s, then another bid", "offer <ENQ ENQ +999ms +1ms <ENQ ACK <1", instrumentEnd},
		{"6.2.7.1/instrument: contention as often as it comes", "offer <ENQ" + six(" ENQ +1s <ENQ", 10) + " ACK <1", instrumentEnd},
		{"6.3/instrument: frame numbers go on from 7 to 0 and 1", "offer <ENQ ACK <1 ACK <2 ACK <3 ACK <4 ACK <5 ACK <6 ACK <7 ACK <0 ACK <1 ACK <EOT =sent", manyFrames},
		{"6.3.5/instrument: receiver interrupt", "offer <ENQ ACK <1 EOT <2 ACK <EOT =sent", instrumentEnd},
		{"6.5.1.2/instrument: six times not accepted", "offer <ENQ ACK <1 ACK <2" + six(" NAK <2", 5) + " NAK <EOT =failed1", instrumentEnd},
		{"6.5.2/instrument: 15 s for ENQ", "offer <ENQ +14.999s +1ms <EOT =failed0", instrumentEnd},
		{"6.5.2/instrument: 15 s for a frame", "offer <ENQ ACK <1 +14.999s +1ms <EOT =failed0", instrumentEnd},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := c.end()
			words := strings.Fields(c.script)
			for i := 0; i < len(words); {
				e.did = nil
				event := words[i]
				e.event(t, event)
				var want []string
				for i++; i < len(words) && (words[i][0] == '<' || words[i][0] == '='); i++ {
					want = append(want, words[i])
				}
				if !slices.Equal(e.did, want) {
					t.Fatalf("%s: at word %d, %s: %q, want %q", c.script, i, event, e.did, want)
				}
			}
		})
	}
}

// 6.6: a frame whose text has a restricted character is answered, and where that ends the
// frame early it is defective.
func TestLIS01RestrictedCharacters(t *testing.T) {
	for _, b := range []byte{e1381.STX, e1381.ENQ, e1381.ACK, e1381.NAK} {
		e := hostEnd()
		e.event(t, "ENQ")
		f := e1381.Frame{Text: []byte("H|\\^&|x" + string(b) + "y\rL|1|N\r"), End: etx}.Append(nil, 1)
		e.did = nil
		e.event(t, string(f))
		if want := map[bool]string{true: "<NAK", false: "=stored1"}[b == e1381.STX || b == e1381.ENQ]; !slices.Contains(e.did, want) {
			t.Errorf("%02X: %q", b, e.did)
		}
	}
	// EOT, ETX and ETB end the frame early: its checksum is wrong then.
	for _, b := range []byte{e1381.ETX, e1381.ETB} {
		e := hostEnd()
		e.event(t, "ENQ")
		e.did = nil
		e.event(t, string(e1381.Frame{Text: []byte("H|\\^&|x" + string(b) + "yz12\rL|1|N\r"), End: etx}.Append(nil, 1)))
		if slices.Contains(e.did, "=stored1") || !slices.Contains(e.did, "<NAK") {
			t.Errorf("%02X: %q", b, e.did)
		}
	}
}
