// Package sessiontest proves a session.Core by conversations: a transcript is played,
// in whatever pieces, and then every byte of it is dropped, doubled and flipped, and
// the line is cut at every byte.
package sessiontest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"nhip/drivers/session"
	"nhip/drivers/transcript"
	"nhip/gateway/record"
)

// A Run is a core with what it did.
type Run struct {
	Core session.Core
	// Answer is asked for the work of a query; nil: there are no orders.
	Answer func(q record.Query) (work []record.Work, ok bool)
	// Fail says which Store fails, from 0; nil: none.
	Fail func(n int) bool

	Stored     [][]byte
	Incomplete [][]byte
	Sent       [][]byte // writes
	Queries    []record.Query
	Log        []string // everything, in its order
	Closed     bool
	stores     int
}

// Device gives the core bytes from the device.
func (r *Run) Device(p []byte) error {
	for len(p) > 0 && !r.Closed {
		n, actions := r.Core.Receive(p)
		if n == 0 && len(actions) == 0 {
			return errors.New("the core takes no byte and does nothing")
		}
		p = p[n:]
		if err := r.do(actions); err != nil {
			return err
		}
	}
	return nil
}

// Silence lets the timer run out.
func (r *Run) Silence() error { return r.do(r.Core.TimedOut()) }

// Cut ends the line.
func (r *Run) Cut(reason string) error { return r.do(r.Core.Cut(reason)) }

func (r *Run) note(format string, args ...any) { r.Log = append(r.Log, fmt.Sprintf(format, args...)) }

func (r *Run) do(actions []session.Action) error {
	for i, a := range actions {
		switch a := a.(type) {
		case session.Send:
			r.Sent = append(r.Sent, a.Bytes)
			r.note("< %s", transcript.Text(a.Bytes))
		case session.Store:
			n := r.stores
			r.stores++
			if r.Fail != nil && r.Fail(n) && !a.Forever {
				r.note("= refuse %s", transcript.Text(a.Messages[0]))
				return r.do(r.Core.StoreFailed())
			}
			r.Stored = append(r.Stored, a.Messages...)
			for _, m := range a.Messages {
				r.note("= store %s", transcript.Text(m))
			}
		case session.Incomplete:
			r.Incomplete = append(r.Incomplete, a.Message)
			r.note("= incomplete %s", transcript.Text(a.Message))
			r.note("= reason %s", a.Reason)
		case session.Ended:
			r.note("= ended")
		case session.Sent:
			r.note("= sent")
		case session.Unsent:
			r.note("= unsent %s", a.Reason)
		case session.Close:
			r.Closed = true
			r.note("= close %s", a.Reason)
			return nil
		case session.Ask:
			if i != len(actions)-1 {
				return errors.New("there are actions behind Ask")
			}
			r.Queries = append(r.Queries, a.Query)
			var work []record.Work
			ok := false
			if r.Answer != nil {
				work, ok = r.Answer(a.Query)
			}
			return r.do(r.Core.Answered(work, ok))
		}
	}
	return nil
}

// A Script is a conversation that a core has to hold. Lines are as in a transcript:
// "> bytes" from the device, "< bytes" from the host, "= …" what the core does, "~"
// the timer, "~ cut" the end of the line; the order is checked.
type Script struct {
	New    func() session.Core
	Answer func(q record.Query) ([]record.Work, bool)
	Text   string
}

// Play plays the script whole and in pieces of one byte.
func (s Script) Play(t *testing.T) {
	t.Helper()
	for _, size := range []int{1 << 20, 1, 3} {
		got, want, err := s.play(size)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("in pieces of %d:\n%s", size, diff(got, want))
		}
	}
}

func diff(got, want []string) string {
	var b bytes.Buffer
	for i := range max(len(got), len(want)) {
		g, w := "-", "-"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		mark := " "
		if g != w {
			mark = "*"
		}
		fmt.Fprintf(&b, "%s %s\n", mark, g)
		if g != w {
			fmt.Fprintf(&b, "  should be %s\n", w)
		}
	}
	return b.String()
}

// play gives what the core does, and what the script says that it does.
func (s Script) play(size int) (got, want []string, err error) {
	r := &Run{Core: s.New(), Answer: s.Answer}
	for line := range bytes.Lines([]byte(s.Text)) {
		text := string(bytes.TrimRight(line, "\n"))
		switch {
		case text == "" || text[0] == '#':
		case text == "~":
			err = r.Silence()
		case text == "~ cut":
			err = r.Cut("line cut")
		case text[0] == '>':
			steps, bad := transcript.Parse([]byte(text))
			if bad != nil {
				return nil, nil, bad
			}
			for piece := range slices.Chunk(steps[0].Bytes, size) {
				if err = r.Device(piece); err != nil {
					break
				}
			}
		default:
			want = append(want, text)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return r.Log, want, nil
}

// Bytes are everything that the device of the script sends.
func (s Script) Bytes(t testing.TB) []byte {
	t.Helper()
	var all []byte
	for line := range bytes.Lines([]byte(s.Text)) {
		if line[0] != '>' {
			continue
		}
		steps, err := transcript.Parse(bytes.TrimRight(line, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, steps[0].Bytes...)
	}
	return all
}

// Faults drops, doubles and flips every byte of the conversation, and cuts the line at
// every byte. A core with a check on its messages (checked) stores nothing but
// messages of the conversation; one without may store what the line made of them. In
// both what was cut is handed over, and the next conversation is understood.
func (s Script) Faults(t *testing.T, checked bool) {
	t.Helper()
	line := s.Bytes(t)
	clean := &Run{Core: s.New(), Answer: s.Answer}
	if err := clean.Device(line); err != nil {
		t.Fatal(err)
	}
	try := func(what string, at int, broken []byte) {
		r := &Run{Core: s.New(), Answer: s.Answer}
		if err := r.Device(broken); err != nil {
			t.Fatalf("%s at %d: %v", what, at, err)
		}
		if err := r.Cut("line cut"); err != nil {
			t.Fatalf("%s at %d: %v", what, at, err)
		}
		if checked {
			for _, m := range r.Stored {
				if !slices.ContainsFunc(clean.Stored, func(c []byte) bool { return bytes.Equal(c, m) }) {
					t.Errorf("%s at %d: stored %q, which was never sent", what, at, m)
				}
			}
		}
		// The line is whole again: a new connection of the same device.
		again := &Run{Core: s.New(), Answer: s.Answer}
		if err := again.Device(line); err != nil || len(again.Stored) != len(clean.Stored) {
			t.Fatalf("%s at %d: afterwards %d messages, %v", what, at, len(again.Stored), err)
		}
		// And on the same one, once the timer has run out.
		if r.Closed {
			return
		}
		if err := errors.Join(r.Silence(), r.Silence(), r.Silence()); err != nil {
			t.Fatal(err)
		}
		before := len(r.Stored)
		if err := r.Device(line); err != nil || len(r.Stored)-before < len(clean.Stored) {
			t.Errorf("%s at %d: on the same connection %d of %d messages come through afterwards, %v", what, at, len(r.Stored)-before, len(clean.Stored), err)
		}
	}
	for i := range line {
		try("cut", i, line[:i])
		try("dropped", i, slices.Delete(bytes.Clone(line), i, i+1))
		try("doubled", i, slices.Insert(bytes.Clone(line), i, line[i]))
		for _, bit := range []byte{0x01, 0x08, 0x40, 0x80} {
			flipped := bytes.Clone(line)
			flipped[i] ^= bit
			try(fmt.Sprintf("flipped %02X", bit), i, flipped)
		}
	}
}

// Disk fails every Store once: what was refused comes again and is stored.
func (s Script) Disk(t *testing.T) {
	t.Helper()
	line := s.Bytes(t)
	for n := range 8 {
		r := &Run{Core: s.New(), Answer: s.Answer, Fail: func(i int) bool { return i == n }}
		if err := r.Device(line); err != nil {
			t.Fatal(err)
		}
		for _, m := range r.Stored {
			at, stored := -1, "= store "+transcript.Text(m)
			for i, l := range r.Log {
				if l == stored {
					at = i
				}
			}
			if at < 0 {
				t.Errorf("store %d fails: %q is nowhere", n, m)
			}
		}
	}
}
