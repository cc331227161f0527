package e1381_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"nhip/drivers/astm/e1381"
)

// line is a receiver whose stores are kept, unless the disk fails.
type line struct {
	r          *e1381.Receiver
	fail       func() bool // the disk, at each store; nil: never
	stored     []string
	incomplete []string
	reasons    []string
	replies    []byte
	ended      int
}

func newLine() *line { return &line{r: e1381.NewReceiver(0, 0)} }

func (l *line) send(b []byte) {
	for len(b) > 0 {
		n, actions := l.r.Receive(b)
		b = b[n:]
		l.do(actions)
	}
}

func (l *line) do(actions []e1381.Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case e1381.Send:
			l.replies = append(l.replies, a.Bytes...)
		case e1381.Store:
			if l.fail != nil && l.fail() {
				l.do(l.r.StoreFailed())
				return
			}
			for _, m := range a.Messages {
				l.stored = append(l.stored, string(m.Records))
			}
		case e1381.Incomplete:
			l.incomplete = append(l.incomplete, string(a.Fragment.Records))
			l.reasons = append(l.reasons, a.Reason)
		case e1381.Ended:
			l.ended++
		}
	}
}

// reply sends bytes and returns what was answered to them.
func (l *line) reply(b []byte) string {
	l.replies = nil
	l.send(b)
	return string(l.replies)
}

func frame(number int, text string, end byte) []byte {
	return e1381.Frame{Text: []byte(text), End: end}.Append(nil, number)
}

const (
	ack  = "\x06"
	nak  = "\x15"
	enq  = "\x05"
	eot  = "\x04"
	etb  = e1381.ETB
	etx  = e1381.ETX
	head = "H|\\^&\r"
	last = "L|1|N\r"
)

// E1381 sections 6.2 to 6.5: what the receiver does with each thing that can come,
// in each of its states.
func TestReceiverStateTable(t *testing.T) {
	good := string(frame(1, head+last, etx))
	body := good[:len(good)-4]
	states := []struct{ name, bytes string }{
		{"6.2 neutral", ""},
		{"6.3 waiting, no frame yet", enq},
		{"6.3 waiting, a frame accepted", enq + string(frame(1, head, etx))},
		{"6.3 block", enq + "\x021H|"},
		{"6.3 checksum", enq + body},
		{"6.3 tail", enq + good[:len(good)-2]},
	}
	events := []struct {
		name, bytes string
		want        [6]string // replies, and in words what else, by state
	}{
		{"ENQ", enq, [6]string{ack, "", "", "", "", ack + " stored"}},
		{"EOT", eot, [6]string{"", " ended", " incomplete ended", " ended", " ended", ack + " stored ended"}},
		{"ACK", ack, [6]string{"", "", "", "", "", ack + " stored"}},
		{"LF", "\n", [6]string{"", "", "", "", "", ack + " stored"}},
		{"frame 1", good, [6]string{"", ack + " stored", nak, nak, nak, ack + " stored" + " then " + ack}},
		{"frame 2", string(frame(2, last, etx)), [6]string{"", nak, ack + " stored", nak, nak, ack + " stored then " + ack}},
		{"frame 3", string(frame(3, last, etx)), [6]string{"", nak, nak, nak, nak, ack + " stored then " + nak}},
		{"time-out", "timeout", [6]string{"", " neutral", " incomplete neutral", " neutral", " neutral", ack + " stored"}},
	}
	for _, e := range events {
		for i, s := range states {
			l := newLine()
			l.send([]byte(s.bytes))
			l.replies = nil
			neutral := l.r.Neutral()
			if e.bytes == "timeout" {
				l.do(l.r.TimedOut())
			} else {
				l.send([]byte(e.bytes))
			}
			got := string(l.replies)
			if len(l.stored) > 0 {
				got = got[:1] + " stored" + strings.Replace(" then "+got[1:], " then ", map[bool]string{true: " then "}[len(got) > 1], 1)
			}
			if len(l.incomplete) > 0 {
				got += " incomplete"
			}
			if l.ended > 0 {
				got += " ended"
			}
			if e.bytes == "timeout" && !neutral && l.r.Neutral() {
				got += " neutral"
			}
			if got != e.want[i] {
				t.Errorf("%s, in state %s: %q, want %q", e.name, s.name, got, e.want[i])
			}
		}
	}
}

// E1381 section 6.5: the receiver's timer is started with each reply and stopped with
// the session; a long frame gets more time with every 247 characters.
func TestReceiverTimer(t *testing.T) {
	waits := func(r *e1381.Receiver, b string) (w []string) {
		for p := []byte(b); len(p) > 0; {
			n, actions := r.Receive(p)
			p = p[n:]
			for _, a := range actions {
				if a, ok := a.(e1381.Wait); ok {
					w = append(w, a.For.String())
				}
			}
		}
		return w
	}
	r := e1381.NewReceiver(0, 0)
	for _, step := range []struct{ bytes, want string }{
		{"x", "[]"},
		{enq, "[30s]"},
		{"noise", "[]"},
		{string(frame(1, head, etx)), "[1s 30s]"}, // 1 s: for the LF
		{string(frame(7, head, etx)), "[1s 30s]"},
		{string(frame(2, strings.Repeat("x", 240), etx)), "[1s 30s]"},
		{string(frame(3, strings.Repeat("x", 740), etx)), "[30s 30s 30s 1s 30s]"},
		{eot, "[0s]"},
	} {
		if got := fmt.Sprint(waits(r, step.bytes)); got != step.want {
			t.Errorf("%.20q: %s, want %s", step.bytes, got, step.want)
		}
	}
}

// message of n frames, of which record ends and frame ends do not agree.
func message(n int) (frames [][]byte, text string) {
	for i := range n {
		part := fmt.Sprintf("R|%d|^^^T|%d\rR|", i, i)
		switch i {
		case 0:
			part = head + part
		case n - 1:
			part = "x\r" + last
		}
		end := byte(etb)
		if i == n-1 {
			end = etx
		}
		frames = append(frames, frame(i+1, part, end))
		text += part
	}
	return frames, text
}

// A frame cut anywhere, then EOT and the whole message again: stored once, as sent,
// and what came before is not taken for a part of it.
func TestFrameCutAtEveryByte(t *testing.T) {
	frames, text := message(4)
	for i, f := range frames {
		for cut := range len(f) {
			l := newLine()
			l.send([]byte(enq))
			for _, f := range frames[:i] {
				l.send(f)
			}
			l.send(f[:cut])
			l.send([]byte(eot))
			early := len(l.stored)
			if complete := cut >= len(f)-2; early != 0 && !(complete && i == 3) {
				t.Fatalf("frame %d cut at %d of %d: stored %q", i+1, cut, len(f), l.stored)
			}
			l.send([]byte(enq))
			for _, f := range frames {
				if l.reply(f) != ack {
					t.Fatalf("frame %d cut at %d: the repeated message is refused", i+1, cut)
				}
			}
			if len(l.stored) != early+1 || l.stored[early] != text {
				t.Fatalf("frame %d cut at %d: stored %q", i+1, cut, l.stored)
			}
		}
	}
}

// A byte of a frame that is dropped, doubled or changed: either the frame is refused,
// or it ends otherwise; what is stored in the end is what was sent.
func TestEveryByteOfAFrameIsGuarded(t *testing.T) {
	frames, text := message(2)
	for i, f := range frames {
		for at := range f {
			for name, damaged := range map[string][]byte{
				"dropped": append(bytes.Clone(f[:at]), f[at+1:]...),
				"doubled": append(bytes.Clone(f[:at+1]), f[at:]...),
				"flipped": append(append(bytes.Clone(f[:at]), f[at]^1), f[at+1:]...),
			} {
				l := newLine()
				l.send([]byte(enq))
				for _, f := range frames[:i] {
					l.send(f)
				}
				if l.reply(damaged) == "" {
					l.do(l.r.TimedOut()) // the analyser's 15 s, or our tail
				}
				if l.r.Neutral() || l.reply(f) != ack {
					// Given up: EOT, and all of it again.
					l.send([]byte(eot + enq))
					for _, f := range frames[:i+1] {
						l.send(f)
					}
				}
				for _, f := range frames[i+1:] {
					l.send(f)
				}
				if len(l.stored) != 1 || l.stored[0] != text {
					t.Errorf("frame %d, byte %d %s: stored %q, replies %q", i+1, at, name, l.stored, l.replies)
				}
			}
		}
	}
}

// Noise between frames, but STX and EOT which mean something, changes nothing.
func TestNoiseBetweenFrames(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	frames, text := message(20)
	for round := range 200 {
		l := newLine()
		noise := func() (b []byte) {
			for range random.IntN(40) {
				if c := byte(random.IntN(256)); c != e1381.STX && c != e1381.EOT {
					b = append(b, c)
				}
			}
			return b
		}
		l.send(bytes.ReplaceAll(noise(), []byte(enq), nil))
		l.send([]byte(enq))
		for _, f := range frames {
			l.send(noise())
			if l.reply(f) != ack {
				t.Fatalf("seed %d, round %d: frame refused", seed, round)
			}
		}
		l.send(append(noise(), e1381.EOT))
		if len(l.stored) != 1 || l.stored[0] != text || len(l.incomplete) != 0 || l.ended != 1 {
			t.Fatalf("seed %d, round %d: %+v", seed, round, l)
		}
	}
}

func TestFrameOf64000CharactersIsTakenAndOneMoreRefused(t *testing.T) {
	text := head + strings.Repeat("x", e1381.MaxTextA2-len(head)-len(last)-1) + "\r" + last
	f := frame(1, text, etx)
	if len(f) != 64_000 {
		t.Fatalf("%d characters", len(f))
	}
	l := newLine()
	l.send([]byte(enq))
	if l.reply(f) != ack || len(l.stored) != 1 || l.stored[0] != text {
		t.Error("64,000 characters are not taken")
	}
	l = newLine()
	l.send([]byte(enq))
	l.send(frame(1, head, etx))
	if got := l.reply(frame(2, text+"y", etx)); got != nak || len(l.stored) != 0 || !l.r.Neutral() {
		t.Errorf("64,001 characters: %q", got)
	}
	if !reflect.DeepEqual(l.incomplete, []string{head}) || l.reasons[0] != "frame over 64000 characters" {
		t.Errorf("incomplete %q, %q", l.incomplete, l.reasons)
	}
	if got := l.reply(frame(2, last, etx)); got != "" {
		t.Errorf("the session was not given up: %q", got)
	}
	if got := l.reply([]byte(enq)); got != ack {
		t.Errorf("no new session: %q", got)
	}
}

func TestMessageOver16MiBIsRefused(t *testing.T) {
	l := newLine()
	l.send([]byte(enq))
	part := strings.Repeat("x", e1381.MaxTextA2)
	total := len(head)
	l.send(frame(1, head, etb))
	for number := 2; ; number++ {
		got := l.reply(frame(number, part, etb))
		if got == nak {
			break
		}
		if got != ack || total > e1381.MaxMessage {
			t.Fatalf("%q after %d bytes", got, total)
		}
		total += len(part)
	}
	if total+len(part) < e1381.MaxMessage || !l.r.Neutral() || len(l.incomplete) != 1 || len(l.incomplete[0]) != total {
		t.Errorf("%d bytes, incomplete %d", total, len(l.incomplete))
	}
}

// Section 6.3.2.1: the number goes on over messages of a session; 40 of them.
func TestFrameNumbersGoRound(t *testing.T) {
	l := newLine()
	l.send([]byte(enq))
	for i := range 40 {
		l.send(frame(2*i+1, head, etx))
		l.send(frame(2*i+2, fmt.Sprintf("L|%d\r", i), etx))
	}
	if len(l.stored) != 40 || l.stored[39] != head+"L|39\r" {
		t.Errorf("%d stored", len(l.stored))
	}
}

// What was handed over for storing is not changed by what comes later.
func TestStoredMessagesKeepTheirBytes(t *testing.T) {
	r := e1381.NewReceiver(0, 0)
	var kept []e1381.Message
	var want []string
	r.Receive([]byte(enq))
	for i := range 30 {
		text := fmt.Sprintf("H|\\^&\rP|%d\rL|1\rH|\\^&\rP|x%d", i, i)
		if i > 0 {
			text = fmt.Sprintf("\rL|%d\r", i) + text
		}
		for p := frame(i+1, text, etb); len(p) > 0; {
			n, actions := r.Receive(p)
			p = p[n:]
			for _, a := range actions {
				if s, ok := a.(e1381.Store); ok {
					for _, m := range s.Messages {
						kept = append(kept, m)
						want = append(want, string(m.Records))
					}
				}
			}
		}
	}
	if len(kept) != 59 {
		t.Errorf("%d messages", len(kept))
	}
	for i := range kept {
		if string(kept[i].Records) != want[i] {
			t.Errorf("message %d was %q, is %q", i, want[i], kept[i].Records)
		}
	}
	if kept[2].Frames != 1 || kept[1].Frames != 2 {
		t.Errorf("frames %d, %d", kept[1].Frames, kept[2].Frames)
	}
}

// A Store that was given up may still be under way: its bytes stay as they are.
func TestMessagesOfAFailedStoreKeepTheirBytes(t *testing.T) {
	r := e1381.NewReceiver(0, 0)
	var failed []e1381.Message
	feed := func(b []byte) {
		for len(b) > 0 {
			n, actions := r.Receive(b)
			b = b[n:]
			for _, a := range actions {
				if s, ok := a.(e1381.Store); ok {
					failed = s.Messages
					r.StoreFailed()
					break
				}
			}
		}
	}
	feed([]byte(enq))
	record := "C|1|" + strings.Repeat("x", 100) + "\r"
	feed(frame(1, head, etx))
	feed(frame(2, record, etx))
	feed(frame(3, "P|1\r", etx)) // from here on there is room behind it in memory
	feed(frame(4, last, etx))
	kept := failed[0].Records
	feed(frame(4, "P|22\r", etx))
	if string(kept) != head+record+"P|1\r"+last {
		t.Errorf("%q", kept)
	}
}
