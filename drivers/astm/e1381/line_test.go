package e1381_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"nhip/drivers/astm/e1381"
)

// A host writes down what a Line does.
type host struct {
	l       *e1381.Line
	did     []string
	stored  []string
	ended   int
	sent    int
	failed  []string
	timer   string
	written []byte
}

func newHost(d e1381.Dialect) *host { return &host{l: e1381.NewLine(d, 0, 0)} }

var controlNames = map[byte]string{e1381.ENQ: "ENQ", e1381.EOT: "EOT", e1381.ACK: "ACK", e1381.NAK: "NAK"}

func (h *host) do(actions []e1381.Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case e1381.Send:
			h.written = append(h.written, a.Bytes...)
			text := controlNames[a.Bytes[0]]
			if a.Bytes[0] == e1381.STX {
				text = "frame " + string(a.Bytes[1])
			}
			h.did = append(h.did, text)
		case e1381.Wait:
			h.timer = a.For.String()
			h.did = append(h.did, h.timer)
		case e1381.Store:
			for _, m := range a.Messages {
				h.stored = append(h.stored, string(m.Records))
			}
			h.did = append(h.did, "store")
		case e1381.Incomplete:
			h.did = append(h.did, "incomplete")
		case e1381.Ended:
			h.ended++
			h.did = append(h.did, "ended")
		case e1381.Sent:
			h.sent++
			h.did = append(h.did, "sent")
		case e1381.Failed:
			h.failed = append(h.failed, a.Reason)
			h.did = append(h.did, "failed: "+a.Reason)
		default:
			h.did = append(h.did, fmt.Sprintf("%T", a))
		}
	}
}

func (h *host) receive(p []byte) {
	for len(p) > 0 {
		n, actions := h.l.Receive(p)
		p = p[n:]
		h.do(actions)
		if n == 0 && len(actions) == 0 {
			panic("nothing taken, nothing done")
		}
	}
}

// play gives the line events: "offer", "timeout", "cut" or bytes.
func (h *host) play(events ...string) string {
	for _, e := range events {
		h.did = append(h.did, "/")
		switch e {
		case "offer":
			h.do(h.l.Offer([]e1381.Frame{{Text: []byte("H|\\^&\rL|1\r"), End: etx}}))
		case "timeout":
			h.do(h.l.TimedOut())
		case "cut":
			h.do(h.l.Cut("line cut"))
		default:
			h.receive([]byte(e))
		}
	}
	return strings.Join(h.did, " ")
}

var query = string(frame(1, "H|\\^&\rQ|1|^S1\rL|1|N\r", etx))

// wire is what the instrument sends, by names.
var wire = map[string]string{"ACK": ack, "NAK": nak, "ENQ": "\x05", "EOT": "\x04", "STX": "\x02", "message": query, "late": ack}

// LIS01's states for a host that sends and receives, in virtual time: what each event
// makes of each state, by the section that says so (E1381-95; LIS01-A2 has the same).
func TestLineStateTable(t *testing.T) {
	const bid = "offer timeout" // the line was silent: ENQ
	for _, c := range []struct {
		section, name, events, want string
	}{
		{"6.2", "a bid needs a silent line, then ENQ and 15 s", bid, "/ 20ms / ENQ 15s"},
		{"6.2", "the line is not silent: what is left on it is dropped", "offer late timeout", "/ 20ms / 20ms / ENQ 15s"},
		{"6.2.4", "ACK: the first frame", bid + " ACK", "/ 20ms / ENQ 15s / frame 1 15s"},
		{"6.2.5", "NAK: at least 10 s before the next bid", bid + " NAK timeout", "/ 20ms / ENQ 15s / 10s / ENQ 15s"},
		{"6.2.5", "six NAK: given up", bid + " NAK timeout NAK timeout NAK timeout NAK timeout NAK timeout NAK",
			"/ 20ms / ENQ 15s / 10s / ENQ 15s / 10s / ENQ 15s / 10s / ENQ 15s / 10s / ENQ 15s / 10s / ENQ 15s / EOT failed: ENQ answered by NAK 6 times 0s"},
		{"6.2.6", "no reply for 15 s: EOT", bid + " timeout", "/ 20ms / ENQ 15s / EOT failed: no answer to ENQ for 15 s 0s"},
		{"6.2", "all but ACK, NAK and ENQ is ignored", bid + " STX EOT x", "/ 20ms / ENQ 15s / / /"},
		{"6.2.7.1", "contention: the instrument has it; our ENQ is not acknowledged by us, 20 s for its bid", bid + " ENQ", "/ 20ms / ENQ 15s / 20s"},
		{"6.2.7.1", "the instrument bids again: we receive, then send", bid + " ENQ ENQ message EOT",
			"/ 20ms / ENQ 15s / 20s / ACK 30s / 1s store ACK 30s / ended 0s ENQ 15s"},
		{"6.2.7.1", "it does not bid for 20 s: neutral, we bid again", bid + " ENQ timeout timeout", "/ 20ms / ENQ 15s / 20s / 20ms / ENQ 15s"},
		{"6.2.7.1", "it bids while we wait after NAK", bid + " NAK ENQ", "/ 20ms / ENQ 15s / 10s / 20s ACK 30s"},
		{"6.3.5", "EOT instead of ACK accepts", bid + " ACK EOT", "/ 20ms / ENQ 15s / frame 1 15s / EOT sent 0s"},
		{"6.3, 6.4", "all frames acknowledged: EOT, neutral", bid + " ACK ACK", "/ 20ms / ENQ 15s / frame 1 15s / EOT sent 0s"},
		{"6.5.1.2", "any other character is a NAK: six times", bid + " ACK NAK ENQ x NAK NAK NAK",
			"/ 20ms / ENQ 15s / frame 1 15s / frame 1 15s / frame 1 15s / frame 1 15s / frame 1 15s / frame 1 15s / EOT failed: frame not accepted 6 times 0s"},
		{"6.5.2.2", "no reply to a frame for 15 s: EOT", bid + " ACK timeout", "/ 20ms / ENQ 15s / frame 1 15s / EOT failed: no answer to a frame for 15 s 0s"},
		{"6.2", "the instrument bids before us: it is received, ours waits", "offer ENQ message EOT",
			"/ 20ms / 0s ACK 30s / 1s store ACK 30s / ended 0s ENQ 15s"},
		{"6.2", "an offer in a session waits for its end", "ENQ offer message EOT", "/ ACK 30s / / 1s store ACK 30s / ended 0s ENQ 15s"},
		{"6.2", "right behind the end of its session we bid at once", "ENQ message EOT offer", "/ ACK 30s / 1s store ACK 30s / ended 0s / ENQ 15s"},
		{"6.2", "something came behind the end of its session: the line has to be silent", "ENQ message EOT late offer timeout", "/ ACK 30s / 1s store ACK 30s / ended 0s / / 20ms / ENQ 15s"},
		{"6.5.2.3", "an offer in a session that falls silent waits for 30 s", "ENQ offer timeout timeout", "/ ACK 30s / / 0s 20ms / ENQ 15s"},
		{"6.4", "the line is cut while we send", bid + " ACK cut", "/ 20ms / ENQ 15s / frame 1 15s / failed: line cut"},
		{"6.2", "the line is cut while we wait", "ENQ offer cut", "/ ACK 30s / / failed: line cut"},
	} {
		var events []string
		for e := range strings.FieldsSeq(c.events) {
			if bytes, named := wire[e]; named {
				e = bytes
			}
			events = append(events, e)
		}
		if got := newHost(e1381.Dialect{}).play(events...); got != c.want {
			t.Errorf("section %s, %s:\n got %s\nwant %s", c.section, c.name, got, c.want)
		}
	}
}

// Two ends on one line, the instrument a Sender and a Receiver of its own: whatever
// the order of their bids, both messages come through, once each.
func TestContentionEndsWithBothMessages(t *testing.T) {
	for order := range 32 {
		h := newHost(e1381.Dialect{})
		ins, host := e1381.NewSender(e1381.Instrument), h
		var fromInstrument [][]byte
		insDone := false
		insDo := func(actions []e1381.Action) {
			for _, a := range actions {
				switch a := a.(type) {
				case e1381.Send:
					fromInstrument = append(fromInstrument, a.Bytes)
				case e1381.Sent:
					insDone = true
				case e1381.Failed:
					t.Fatalf("order %d: the instrument gives up: %s", order, a.Reason)
				}
			}
		}
		r := e1381.NewReceiver(0, 0)
		frames := []e1381.Frame{{Text: []byte("H|\\^&\rQ|1|^S1\rL|1|N\r"), End: etx}}
		// The first bids, in every order and with every delay.
		if order&1 == 0 {
			host.play("offer")
		}
		if order&2 == 0 {
			host.play("timeout")
		}
		insDo(ins.Start(frames))
		if order&1 != 0 {
			host.play("offer")
		}
		idle := 0
		received := 0
		var toInstrument []byte
		for step := 0; step < 200 && (h.sent == 0 || !insDone); step++ {
			toInstrument = append(toInstrument, h.written...)
			h.written = nil
			switch {
			case len(fromInstrument) > 0 && (order&4 == 0 || len(toInstrument) == 0 || step%2 == 0):
				p := fromInstrument[0]
				fromInstrument = fromInstrument[1:]
				h.receive(p)
				idle = 0
			case len(toInstrument) > 0:
				p := toInstrument
				toInstrument = nil
				if !insDone {
					for len(p) > 0 {
						n, actions := ins.Receive(p)
						p = p[n:]
						insDo(actions)
						if n == 0 && len(actions) == 0 {
							break
						}
					}
				} else {
					for len(p) > 0 {
						n, actions := r.Receive(p)
						p = p[n:]
						for _, a := range actions {
							switch a := a.(type) {
							case e1381.Send:
								fromInstrument = append(fromInstrument, a.Bytes)
							case e1381.Store:
								received += len(a.Messages)
							}
						}
					}
				}
				idle = 0
			default:
				// Nothing is on the way: the shorter timer runs out. The instrument's
				// second is shorter than the host's twenty.
				idle++
				if !insDone && idle == 1 && h.timer != "20ms" {
					insDo(ins.TimedOut())
				} else {
					h.play("timeout")
				}
			}
		}
		if len(h.stored) != 1 || h.sent != 1 || received != 1 {
			t.Errorf("order %d: %d stored, %d sent, %d received: %s", order, len(h.stored), h.sent, received, strings.Join(h.did, " "))
		}
	}
}

// Every dialect reads what it writes, and says what is wrong with a wrong check.
func TestDialects(t *testing.T) {
	text := "H|\\^&\rR|1|^^^A|5\rL|1|N\r"
	for name, d := range map[string]e1381.Dialect{
		"standard": {}, "STX counted": {Check: e1381.SumSTX}, "exclusive or": {Check: e1381.XOR}, "nibbles": {Check: e1381.Nibbles},
		"no checksum": {Check: e1381.NoChecks}, "no numbers": {Unnumbered: true}, "neither": {Check: e1381.NoChecks, Unnumbered: true}, "open": {Open: true},
	} {
		h := newHost(d)
		s := d.Sender(e1381.Instrument)
		var line []byte
		for _, a := range s.Start(e1381.Frames([]byte(text), e1381.PerRecord, 0)) {
			if send, ok := a.(e1381.Send); ok {
				line = append(line, send.Bytes...)
			}
		}
		for range 20 {
			_, actions := s.Receive([]byte{e1381.ACK})
			for _, a := range actions {
				if send, ok := a.(e1381.Send); ok {
					line = append(line, send.Bytes...)
				}
			}
		}
		h.receive(line)
		if len(h.stored) != 1 || h.stored[0] != text || h.ended != 1 {
			t.Errorf("%s: stored %q, ended %d: %s", name, h.stored, h.ended, strings.Join(h.did, " "))
		}
		if d.Check == e1381.NoChecks {
			continue
		}
		h = newHost(d)
		h.receive([]byte{e1381.ENQ})
		frame := bytes.Replace(line[1:bytes.IndexByte(line, '\n')+1], []byte("H|"), []byte("h|"), 1)
		h.receive(frame)
		if got := h.did[len(h.did)-2]; got != "NAK" {
			t.Errorf("%s: a changed frame is answered %s", name, got)
		}
	}
}

// A session that is never closed: no EOT, with and without ENQ. A message that comes
// again because its ACK was lost is not ended by anything, one behind another message
// is.
func TestOpenSessions(t *testing.T) {
	first, second := "H|\\^&\rR|1|^^^A|5\rL|1|N\r", "H|\\^&\rR|1|^^^A|6\rL|1|N\r"
	enq := "\x05"
	for name, c := range map[string]struct {
		events []string
		stored int
		ended  int
	}{
		"ENQ before each":                {[]string{enq, string(frame(1, first, etx)), enq, string(frame(1, second, etx))}, 2, 1},
		"ENQ only once":                  {[]string{enq, string(frame(1, first, etx)), string(frame(2, second, etx))}, 2, 1},
		"never ENQ":                      {[]string{string(frame(1, first, etx)), "timeout", string(frame(1, second, etx))}, 2, 1},
		"the ACK was lost, new session":  {[]string{enq, string(frame(1, first, etx)), enq, string(frame(1, first, etx))}, 2, 0},
		"the ACK was lost, same frame":   {[]string{enq, string(frame(1, first, etx)), string(frame(1, first, etx))}, 1, 0},
		"the same again, further frame":  {[]string{enq, string(frame(1, first, etx)), string(frame(2, first, etx))}, 2, 1},
		"ENQ in the middle of a message": {[]string{enq, string(frame(1, "H|\\^&\r", etx)), enq, string(frame(1, first, etx))}, 1, 0},
		"EOT after all":                  {[]string{enq, string(frame(1, first, etx)), "\x04"}, 1, 1},
	} {
		h := newHost(e1381.Dialect{Open: true})
		h.play(c.events...)
		if len(h.stored) != c.stored || h.ended != c.ended {
			t.Errorf("%s: %d stored, %d ended: %s", name, len(h.stored), h.ended, strings.Join(h.did, " "))
		}
	}
	// The host sends between two messages, without an EOT.
	h := newHost(e1381.Dialect{Open: true})
	h.play(enq, string(frame(1, first, etx)), "offer", "timeout", ack, ack)
	if h.sent != 1 {
		t.Errorf("not sent: %s", strings.Join(h.did, " "))
	}
}

// FuzzLine: whatever comes in whatever order, the line never panics, an offer ends in
// Sent or Failed, and only whole messages are stored.
func FuzzLine(f *testing.F) {
	f.Add([]byte("ot\x06\x06"), false, false, byte(0))
	f.Add([]byte("ot\x05\x05"+query+"\x04tt\x06\x06"), true, false, byte(3))
	f.Add([]byte(query+"o"+query+"t\x15t\x05"), true, true, byte(4))
	f.Fuzz(func(t *testing.T, events []byte, open, bare bool, check byte) {
		h := newHost(e1381.Dialect{Open: open, Unnumbered: bare, Check: e1381.Check(check % 5)})
		offers := 0
		for _, e := range events {
			switch {
			case e == 'o' && h.l.Free():
				offers++
				h.play("offer")
			case e == 't':
				h.play("timeout")
			default:
				h.receive([]byte{e})
			}
		}
		h.play("cut")
		if h.sent+len(h.failed) != offers {
			t.Fatalf("%d offers, %d sent, %d failed", offers, h.sent, len(h.failed))
		}
		for _, m := range h.stored {
			if !strings.HasPrefix(m, "H") {
				t.Fatalf("stored %q", m)
			}
		}
	})
}
