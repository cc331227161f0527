package e1381_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"nhip/drivers/astm/e1381"
)

// A noise changes one byte of all that is on the line, in either direction.
type noise struct {
	at    int // the byte, counted as they go
	what  string
	alter func(byte) []byte
}

var noises = []noise{
	{what: "dropped", alter: func(byte) []byte { return nil }},
	{what: "doubled", alter: func(b byte) []byte { return []byte{b, b} }},
	{what: "its first bit flipped", alter: func(b byte) []byte { return []byte{b ^ 0x01} }},
	{what: "its last bit flipped", alter: func(b byte) []byte { return []byte{b ^ 0x80} }},
	{what: "ENQ in its place", alter: func(byte) []byte { return []byte{e1381.ENQ} }},
	{what: "EOT in its place", alter: func(byte) []byte { return []byte{e1381.EOT} }},
	{what: "ACK in its place", alter: func(byte) []byte { return []byte{e1381.ACK} }},
	{what: "NAK in its place", alter: func(byte) []byte { return []byte{e1381.NAK} }},
	{what: "ENQ before it", alter: func(b byte) []byte { return []byte{e1381.ENQ, b} }},
	{what: "switched off from here for a minute"},
}

// A party is one end of a line on which both may send.
type party struct {
	name    string
	receive func([]byte) (int, []e1381.Action)
	timeOut func() []e1381.Action
	start   func() []e1381.Action // sends its message; nil: it has none
	cut     func() []e1381.Action
	timer   time.Duration
	out     []byte // on its way to the other
	busy    bool   // its message is being sent
	again   time.Duration
	sent    bool
	tries   int
	stored  []string
	broken  int
}

// A wireTo is a line between a host and an instrument, in virtual time.
type wireTo struct {
	host, instrument *party
	now              time.Duration
	n                int // bytes that went
	noise            noise
	dead             time.Duration // until then nothing goes
}

func (w *wireTo) do(p *party, actions []e1381.Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case e1381.Send:
			p.out = append(p.out, a.Bytes...)
		case e1381.Wait:
			p.timer = 0
			if a.For > 0 {
				p.timer = w.now + a.For
			}
		case e1381.Store:
			for _, m := range a.Messages {
				p.stored = append(p.stored, string(m.Records))
			}
		case e1381.Incomplete:
			p.broken++
		case e1381.Sent:
			p.sent, p.busy = true, false
		case e1381.Failed, e1381.Yielded: // the whole message once more, a little later
			p.busy, p.again = false, w.now+10*time.Second
		}
	}
}

// carry brings the bytes of one to the other, with the noise.
func (w *wireTo) carry(from, to *party) {
	p := from.out
	from.out = nil
	for _, b := range p {
		at := w.n
		w.n++
		bytes := []byte{b}
		switch {
		case w.now < w.dead:
			continue
		case at == w.noise.at && w.noise.alter == nil:
			w.dead = w.now + time.Minute
			continue
		case at == w.noise.at:
			bytes = w.noise.alter(b)
		}
		for len(bytes) > 0 {
			n, actions := to.receive(bytes)
			bytes = bytes[n:]
			w.do(to, actions)
			if n == 0 && len(actions) == 0 {
				break
			}
		}
	}
}

// run lets both send what they have, to the end: false, when there is none.
func (w *wireTo) run(limit time.Duration) bool {
	for w.now < limit {
		for _, p := range []*party{w.instrument, w.host} {
			if p.start != nil && !p.sent && !p.busy && w.now >= p.again && p.tries < 30 {
				p.busy = true
				p.tries++
				w.do(p, p.start())
			}
		}
		switch {
		case len(w.instrument.out) > 0:
			w.carry(w.instrument, w.host)
			continue
		case len(w.host.out) > 0:
			w.carry(w.host, w.instrument)
			continue
		}
		done, next := true, time.Duration(0)
		for _, p := range []*party{w.instrument, w.host} {
			done = done && (p.start == nil || p.sent)
			at := p.timer
			if p.start != nil && !p.sent && !p.busy && (at == 0 || p.again < at) {
				at = p.again
			}
			if at > 0 && (next == 0 || at < next) {
				next = at
			}
		}
		if done {
			return true
		}
		if next == 0 {
			return false
		}
		w.now = max(w.now, next)
		for _, p := range []*party{w.instrument, w.host} {
			if p.timer > 0 && p.timer <= w.now {
				p.timer = 0
				w.do(p, p.timeOut())
			}
		}
	}
	return false
}

const (
	resultMessage = "H|\\^&|||X\rP|1|||PT-1\rO|1|S1||^^^GLU\rR|1|^^^GLU|5.1|mmol/L||N||F\rL|1|N\r"
	queryMessage  = "H|\\^&|||X\rQ|1|^S1||ALL\rL|1|N\r"
	answerMessage = "H|\\^&|||NHIP\rP|1|||PT-1\rO|1|S1||^^^GLU\\^^^ALT||||||||||||||||||||Q\rL|1|N\r"
)

// newWire is a line on which the instrument sends a message and the host another; empty:
// none.
func newWire(up, down string, n noise) *wireTo {
	l := e1381.NewLine(e1381.Dialect{}, 0, 0)
	host := &party{name: "host", receive: l.Receive, timeOut: l.TimedOut}
	if down != "" {
		host.start = func() []e1381.Action { return l.Offer(e1381.Frames([]byte(down), e1381.PerRecord, 60)) }
	}
	// The instrument is a sender while it sends, else a receiver.
	s, r := e1381.NewSender(e1381.Instrument), e1381.NewReceiver(0, 0)
	ins := &party{name: "instrument"}
	ins.receive = func(p []byte) (int, []e1381.Action) {
		if ins.busy {
			return s.Receive(p)
		}
		return r.Receive(p)
	}
	ins.timeOut = func() []e1381.Action {
		if ins.busy {
			return s.TimedOut()
		}
		return r.TimedOut()
	}
	if up != "" {
		ins.start = func() []e1381.Action {
			if !r.Neutral() { // it does not begin in the middle of ours
				ins.busy, ins.again = false, ins.again+time.Second
				return nil
			}
			return s.Start(e1381.Frames([]byte(up), e1381.PerRecord, 60))
		}
	}
	return &wireTo{host: host, instrument: ins, noise: n}
}

// Every byte that is on the line in a result session, a query session and our answer's
// session, in both directions, dropped, doubled, flipped, replaced; and the other end
// switched off for a minute at every byte: what the sender takes for sent is stored as it
// was, nothing else is ever stored, and both ends come to their end in bounded time.
func TestEveryByteOfEachSessionInBothDirections(t *testing.T) {
	for _, c := range []struct{ name, up, down string }{
		{"a result", resultMessage, ""}, {"a query", queryMessage, ""}, {"our answer", "", answerMessage}, {"a result, and our answer at once", resultMessage, answerMessage},
	} {
		clean := newWire(c.up, c.down, noise{at: -1})
		if !clean.run(time.Hour) {
			t.Fatalf("%s: not without noise either", c.name)
		}
		longest := time.Duration(0)
		for at := range clean.n {
			for _, n := range noises {
				n.at = at
				w := newWire(c.up, c.down, n)
				what := fmt.Sprintf("%s: byte %d %s", c.name, at, n.what)
				if !w.run(time.Hour) {
					t.Fatalf("%s: no end: sent up %v in %d tries, down %v in %d", what, w.instrument.sent, w.instrument.tries, w.host.sent, w.host.tries)
				}
				longest = max(longest, w.now)
				w.holds(t, what, w.host, c.up)
				w.holds(t, what, w.instrument, c.down)
			}
		}
		if longest > 10*time.Minute {
			t.Errorf("%s: %s", c.name, longest)
		}
	}
}

// holds checks what one end has stored of the other's message.
func (w *wireTo) holds(t *testing.T, what string, p *party, message string) {
	t.Helper()
	if message == "" {
		if len(p.stored) > 0 {
			t.Errorf("%s: the %s has stored %q, which nobody sent", what, p.name, p.stored)
		}
		return
	}
	if len(p.stored) == 0 {
		t.Errorf("%s: what was taken for sent is not with the %s", what, p.name)
	}
	if i := slices.IndexFunc(p.stored, func(m string) bool { return m != message }); i >= 0 {
		t.Errorf("%s: the %s has stored %q", what, p.name, p.stored[i])
	}
}

// Two instruments that talk at once on one line, byte by byte: what is stored is a
// message as one of them sent it; nothing is put together of both.
func TestTwoInstrumentsOnOneLine(t *testing.T) {
	session := func(specimen string) (b []byte) {
		text := strings.Replace(resultMessage, "S1", specimen, 1)
		b = append(b, e1381.ENQ)
		for i, f := range e1381.Frames([]byte(text), e1381.PerMessage, 40) {
			b = f.Append(b, i+1)
		}
		return append(b, e1381.EOT)
	}
	a, b := session("AAAA"), session("BBBB")
	for step := 1; step < 60; step++ {
		for offset := range 60 {
			h := newHost(e1381.Dialect{})
			x, y := a, b
			first := x[:min(offset, len(x))]
			h.receive(first)
			x = x[len(first):]
			for len(x)+len(y) > 0 {
				n := min(step, len(y))
				h.receive(y[:n])
				y = y[n:]
				n = min(step, len(x))
				h.receive(x[:n])
				x = x[n:]
			}
			h.play("timeout", "timeout")
			for _, m := range h.stored {
				if strings.Contains(m, "AAAA") == strings.Contains(m, "BBBB") || strings.Count(m, "H|") != 1 || len(m) != len(resultMessage)+2 {
					t.Errorf("pieces of %d, after %d: stored %q", step, offset, m)
				}
			}
		}
	}
}
