package e1381_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"nhip/drivers/astm/e1381"
)

// parts are texts of frames, of which every message and every cut can be made. Each
// gets a mark of its own in place of #.
var parts = []string{
	"H|\\^&|#\r", "P|#\r", "L|#\r", "L|#", "|N#\r", "H|\\^&|#\rP|1\rL|1|N\r", "#", "R|#\r\n", "\r", "\n",
	"L|#\rH|\\^&\rL|1\r", "H|\\^&|#\rH|\\^&\r", "H|\\^&|#", "", "L", "H@^\\&@#\r", "L@#\r", "\r\rP|#\r\r",
}

// analyser is a sender that does anything, and a second opinion on what the receiver
// has to do with it.
type analyser struct {
	l        *line
	fail     bool
	mark     int
	session  bool
	accepted string // text of all accepted frames, ETX that ends a record as CR
	last     []byte // last accepted frame
	number   int    // its number
	before   int    // stores of the sessions before
	broken   int    // incompletes of the sessions before
}

// send sends a frame and checks the answer.
func (a *analyser) send(number int, text string, end byte) error {
	f := frame(number, text, end)
	stored := len(a.l.stored)
	got := a.l.reply(f)
	switch {
	case !a.session:
		if got != "" {
			return fmt.Errorf("a frame outside of a session is answered %q", got)
		}
		return nil
	case a.last != nil && number == a.number:
		if want := map[bool]string{true: ack, false: nak}[bytes.Equal(f, a.last)]; got != want {
			return fmt.Errorf("last number again: %q, want %q", got, want)
		}
		if len(a.l.stored) != stored {
			return errors.New("a retransmission is stored")
		}
		return nil
	case number != (a.number+1)&7:
		if got != nak {
			return fmt.Errorf("wrong number is answered %q", got)
		}
		return nil
	}
	accepted := a.accepted + text
	if end == etx && accepted != "" && !strings.HasSuffix(accepted, "\r") && !strings.HasSuffix(accepted, "\n") {
		accepted += "\r"
	}
	messages, _ := split(accepted)
	completes := len(messages) > stored-a.before
	if completes && a.fail {
		if got != nak || len(a.l.stored) != stored {
			return fmt.Errorf("the disk failed: answer %q, %d stored", got, len(a.l.stored)-stored)
		}
		return nil
	}
	if got != ack {
		return fmt.Errorf("frame is answered %q", got)
	}
	a.accepted, a.last, a.number = accepted, f, number
	return a.check(messages)
}

// check compares what was stored in the session with the messages that were sent.
func (a *analyser) check(messages []string) error {
	var got []string
	for _, m := range a.l.stored[a.before:] {
		got = append(got, strings.Join(records(m), "\r"))
	}
	if !reflect.DeepEqual(got, messages) {
		return fmt.Errorf("sent %q, messages %q, stored %q", a.accepted, messages, got)
	}
	return nil
}

// over checks what is left when the session is over.
func (a *analyser) over() error {
	messages, rest := split(a.accepted)
	if err := a.check(messages); err != nil {
		return err
	}
	var got []string
	for _, fragment := range a.l.incomplete[a.broken:] {
		got = append(got, records(fragment)...)
	}
	if !reflect.DeepEqual(got, rest) {
		return fmt.Errorf("sent %q, rest %q, incomplete %q", a.accepted, rest, got)
	}
	*a = analyser{l: a.l, mark: a.mark, before: len(a.l.stored), broken: len(a.l.incomplete)}
	return nil
}

// records splits text into records, without the empty ones.
func records(text string) []string {
	return strings.FieldsFunc(text, func(c rune) bool { return c == '\r' || c == '\n' })
}

// split is the second opinion: the messages of a session's text, and the records that
// belong to none. The last record counts as L only when its end was sent.
func split(text string) (messages, rest []string) {
	ended := strings.HasSuffix(text, "\r") || strings.HasSuffix(text, "\n")
	all := records(text)
	var open []string
	for i, r := range all {
		switch {
		case len(r) > 1 && r[0] == 'H' && strings.ContainsRune("|@", rune(r[1])) && (ended || i < len(all)-1):
			rest = append(rest, open...)
			open = []string{r}
		case open != nil && (r == "L" || strings.HasPrefix(r, "L"+open[0][1:2])) && (ended || i < len(all)-1):
			messages = append(messages, strings.Join(append(open, r), "\r"))
			open = nil
		case open != nil:
			open = append(open, r)
		default:
			rest = append(rest, r)
		}
	}
	return messages, append(rest, open...)
}

// What is acknowledged is kept: each message once and in order, its bytes those that
// were sent, everything else of the session as incomplete; whatever the analyser does
// and whenever the disk fails.
func FuzzReceiver(f *testing.F) {
	// op, argument: see the switch. Seeds: messages in one frame and in several, a
	// failing disk at the first frame and later, numbers that do not fit, time-out.
	f.Add([]byte{0, 0, 1, 5, 4, 0})
	f.Add([]byte{0, 0, 1, 0, 1, 1, 1, 2, 4, 0})
	f.Add([]byte{0, 0, 2, 0, 2, 3, 1, 4, 4, 0})
	f.Add([]byte{0, 0, 7, 1, 1, 5, 3, 0, 7, 0, 1, 5, 3, 1, 4, 0})
	f.Add([]byte{0, 0, 1, 12, 1, 1, 2, 13, 1, 14, 5, 0})
	f.Add([]byte{0, 0, 1, 11, 2, 6, 1, 10, 6, 0, 0, 0, 1, 2, 4, 0})
	f.Add([]byte{0, 0, 1, 15, 8, 9, 7, 1, 1, 16, 7, 0, 1, 16, 3, 1, 9, 3, 4, 0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		l := newLine()
		a := &analyser{l: l}
		l.fail = func() bool { return a.fail }
		for len(ops) >= 2 {
			op, argument := ops[0], int(ops[1])
			ops = ops[2:]
			a.mark++
			text := strings.ReplaceAll(parts[argument%len(parts)], "#", fmt.Sprintf("m%d", a.mark))
			var err error
			switch op % 10 {
			case 0: // ENQ, also in a session
				got := l.reply([]byte(enq))
				if want := map[bool]string{true: "", false: ack}[a.session]; got != want {
					err = fmt.Errorf("ENQ is answered %q", got)
				}
				a.session = true
			case 1: // the next frame, a record ends with it
				err = a.send((a.number+1)&7, text, etx)
			case 2: // the next frame, the record goes on
				err = a.send((a.number+1)&7, text, etb)
			case 3: // any number
				err = a.send(argument&7, text, etx)
			case 4:
				l.send([]byte(eot))
				if a.session && l.ended == 0 {
					err = errors.New("EOT was not seen")
				}
				l.ended = 0
				if err == nil {
					err = a.over()
				}
			case 5:
				l.do(l.r.TimedOut())
				err = a.over()
			case 6:
				l.do(l.r.Cut("line cut"))
				err = a.over()
			case 7:
				a.fail = argument&1 == 1
			case 8: // noise
				if b := byte(argument); b != e1381.ENQ && b != e1381.EOT && b != e1381.STX {
					l.send([]byte{b})
				}
			case 9: // the last frame again
				if a.last != nil {
					if got := l.reply(a.last); got != ack {
						err = fmt.Errorf("a retransmission is answered %q", got)
					}
					err = errors.Join(err, a.unchanged())
				}
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		l.do(l.r.Cut("line cut"))
		if err := a.over(); err != nil {
			t.Fatal(err)
		}
	})
}

// unchanged checks that the last bytes stored nothing.
func (a *analyser) unchanged() error {
	messages, _ := split(a.accepted)
	return a.check(messages)
}

// Bytes that are no protocol at all: no panic, and no more is kept than was sent.
func FuzzReceiverBytes(f *testing.F) {
	f.Add([]byte("\x05\x021H|\\^&\rL|1\r\x0371\r\n\x04"))
	f.Add(append([]byte(enq), frame(1, head+last, etx)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		l := newLine()
		l.send(b)
		l.do(l.r.Cut("line cut"))
		if kept := len(strings.Join(append(l.stored, l.incomplete...), "")); kept > len(b) {
			t.Errorf("%d bytes are kept of %d", kept, len(b))
		}
	})
}
