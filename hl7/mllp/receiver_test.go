package mllp

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

const (
	vt = "\x0B"
	fs = "\x1C"
)

// describe writes events as text; neighbouring junk is added up, since it is told
// as it comes.
func describe(events []Event) string {
	var words []string
	junk := 0
	flush := func() {
		if junk > 0 {
			words = append(words, fmt.Sprintf("junk %d", junk))
		}
		junk = 0
	}
	for _, event := range events {
		if e, ok := event.(Junk); ok {
			junk += e.Bytes
			continue
		}
		flush()
		switch e := event.(type) {
		case Frame:
			words = append(words, fmt.Sprintf("frame %q", e.Content))
		case Discarded:
			words = append(words, fmt.Sprintf("discarded %d", e.Bytes))
		case TooLong:
			words = append(words, fmt.Sprintf("too long %q", e.Head))
		case Foreign:
			words = append(words, "foreign "+e.Protocol)
		}
	}
	flush()
	return strings.Join(words, ", ")
}

var streams = []struct{ name, bytes, want, atTimeout string }{
	{"nothing", "", "", ""},
	{"a frame", vt + "MSH|1\r" + fs + "\r", `frame "MSH|1\r"`, ""},
	{"three frames in one write", vt + "1" + fs + "\r" + vt + "2" + fs + "\r" + vt + "3" + fs + "\r", `frame "1", frame "2", frame "3"`, ""},
	{"junk before VT", "\r\nabc" + vt + "1" + fs + "\r", `junk 5, frame "1"`, ""},
	{"junk between", vt + "1" + fs + "\r" + "xx" + vt + "2" + fs + "\r", `frame "1", junk 2, frame "2"`, ""},
	{"line feed after CR", vt + "1" + fs + "\r\n" + vt + "2" + fs + "\r\n", `frame "1", frame "2"`, ""},
	{"FS and line feed", vt + "1" + fs + "\n" + vt + "2" + fs + "\r", `frame "1", frame "2"`, ""},
	{"FS without CR, then the next frame", vt + "1" + fs + vt + "2" + fs + "\r", `frame "1", frame "2"`, ""},
	{"FS without CR, then silence", vt + "1" + fs, "", `frame "1"`},
	{"FS within a frame is content", vt + "1" + fs + "2" + fs + fs + "\r", `frame "1\x1c2\x1c"`, ""},
	{"empty frames", vt + fs + "\r" + vt + fs + vt + "1" + fs + "\r", `frame "1"`, ""},
	{"empty frame, then silence", vt + fs, "", ""},
	{"VT within a frame", vt + "12" + vt + "3" + fs + "\r", `discarded 2, frame "3"`, ""},
	{"VT twice", vt + vt + "3" + fs + "\r", `frame "3"`, ""},
	{"unfinished", vt + "12", "", ""},
	{"just within the limit", vt + "0123456789" + fs + "\r", `frame "0123456789"`, ""},
	{"over the limit", vt + "0123456789A" + fs + "\r" + vt + "1" + fs + "\r", `too long "0123456789A"`, ""},
	{"over the limit by FS", vt + "0123456789" + fs + "A" + fs + "\r", `too long "0123456789\x1c"`, ""},
	{"HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n" + vt, "foreign HTTP", ""},
	{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03" + vt, "foreign TLS", ""},
	{"SSH", "SSH-2.0-x\r\n", "foreign SSH", ""},
	{"DICOM", "\x01\x00\x00\x00\x00\xCD", "foreign DICOM", ""},
	{"like HTTP, but after a frame", vt + "1" + fs + "\r" + "GET / HTTP/1.1\r\n", `frame "1", junk 16`, ""},
	{"HELLO", "HELLO\r\n", "junk 7", ""},
}

func TestStream(t *testing.T) {
	for _, s := range streams {
		r := NewReceiver(10)
		got := describe(r.Receive([]byte(s.bytes)))
		if got != s.want {
			t.Errorf("%s: %s, want %s", s.name, got, s.want)
		}
		if waits := r.Timer() > 0; waits != strings.HasSuffix(s.bytes, fs) {
			t.Errorf("%s: timer %v", s.name, r.Timer())
		}
		if got := describe(r.TimedOut()); got != s.atTimeout {
			t.Errorf("%s: after the time-out %q, want %q", s.name, got, s.atTimeout)
		}
		if r.Timer() != 0 || describe(r.TimedOut()) != "" {
			t.Errorf("%s: the timer still runs", s.name)
		}
	}
}

// loose leaves out what depends on how much had been read at once: the head of a
// frame that is too long, the junk before a foreign protocol is recognised.
func loose(s string) string {
	if strings.Contains(s, "foreign") {
		return s[strings.Index(s, "foreign"):]
	}
	if i := strings.Index(s, "too long"); i >= 0 {
		return s[:i+8]
	}
	return s
}

func TestStreamCutAtEveryByte(t *testing.T) {
	for _, s := range streams {
		whole := loose(describe(NewReceiver(10).Receive([]byte(s.bytes))))
		for cut := range s.bytes {
			r := NewReceiver(10)
			got := append(r.Receive([]byte(s.bytes[:cut])), r.Receive([]byte(s.bytes[cut:]))...)
			if loose(describe(got)) != whole {
				t.Errorf("%s cut at %d: %s, want %s", s.name, cut, describe(got), whole)
			}
		}
		r := NewReceiver(10)
		var got []Event
		for i := range len(s.bytes) {
			got = append(got, r.Receive([]byte{s.bytes[i]})...)
		}
		if loose(describe(got)) != whole {
			t.Errorf("%s byte by byte: %s, want %s", s.name, describe(got), whole)
		}
	}
}

func TestReadBufferMayBeReused(t *testing.T) {
	r := NewReceiver(100)
	b := []byte(vt + "abc" + fs + "\r")
	events := r.Receive(b)
	clear(b)
	if got := describe(events); got != `frame "abc"` {
		t.Error(got)
	}
}

func TestMemoryOfAnEndlessFrameIsBounded(t *testing.T) {
	const limit = 1 << 20
	r := NewReceiver(limit)
	chunk := bytes.Repeat([]byte("A"), 64<<10)
	r.Receive([]byte(vt))
	var events []Event
	largest := 0
	for range 96 << 20 / len(chunk) {
		events = append(events, r.Receive(chunk)...)
		largest = max(largest, cap(r.frame))
	}
	if len(events) != 1 {
		t.Fatalf("%d events", len(events))
	}
	if e, ok := events[0].(TooLong); !ok || len(e.Head) != headSize {
		t.Errorf("the event is %T", events[0])
	}
	if largest > limit*3/2 || cap(r.frame) != 0 {
		t.Errorf("the buffer had %d bytes and has %d", largest, cap(r.frame))
	}
}

func TestAppendFrame(t *testing.T) {
	if got := string(AppendFrame([]byte("x"), []byte("MSH"))); got != "x"+vt+"MSH"+fs+"\r" {
		t.Errorf("%q", got)
	}
}

// However a stream is cut, the events are the same, no frame holds more than the
// limit, and a frame that was written is received.
func FuzzMLLP(f *testing.F) {
	for _, s := range streams {
		f.Add([]byte(s.bytes), uint16(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		const limit = 64
		whole := NewReceiver(limit)
		want := append(whole.Receive(b), whole.TimedOut()...)
		parts := NewReceiver(limit)
		n := min(int(cut), len(b))
		got := append(parts.Receive(b[:n]), parts.Receive(b[n:])...)
		got = append(got, parts.TimedOut()...)
		if loose(describe(got)) != loose(describe(want)) {
			t.Fatalf("cut at %d: %s, whole: %s", n, describe(got), describe(want))
		}
		for _, event := range want {
			if frame, ok := event.(Frame); ok && (len(frame.Content) == 0 || len(frame.Content) > limit) {
				t.Fatalf("a frame of %d bytes", len(frame.Content))
			}
		}
		content := bytes.Map(func(r rune) rune {
			if r == startBlock || r == endBlock {
				return '.'
			}
			return r
		}, bytes.ToValidUTF8(b, []byte("?")))
		if len(content) == 0 {
			return
		}
		r := NewReceiver(len(content))
		if got, want := describe(r.Receive(AppendFrame(nil, content))), describe([]Event{Frame{content}}); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	})
}
