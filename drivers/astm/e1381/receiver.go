package e1381

import (
	"bytes"
	"crypto/sha256"
	"fmt"
)

// state of the receiver, E1381 section 6.
type state byte

const (
	neutral  state = iota // no session; only ENQ is heard
	waiting               // in a session, for STX or EOT
	block                 // after STX: frame number and text
	checksum              // after ETB or ETX: two digits
	tail                  // after the checksum: CR LF
)

// session is everything that a failed Store has to undo: a plain value, so that a
// copy is a snapshot. Its slices are only appended to or replaced, never changed
// in place.
type session struct {
	state  state
	number int    // frame number of the last accepted frame; valid when last is not nil
	last   []byte // the last accepted frame, from its number to ETB or ETX
	stray  []byte // records outside of a message: before H, after L, or H without L
	text   []byte // what came of the message that is being received
	record int    // text[record:] is a record that has not ended yet
	frames int    // frames with a part of text
	open   bool   // text begins with H
	field  byte   // field delimiter which that H declares
	bare   bool   // the last frame ended with ETX and its text without CR
	unseen        // open sessions only
}

// unseen is what was stored last and may come again, because its ACK was lost.
type unseen struct {
	stored bool
	sum    [sha256.Size]byte // of the message
}

// Receiver is the receiving side of the link. Feed it with Receive and TimedOut,
// carry out the actions in their order.
type Receiver struct {
	maxFrame, maxMessage int
	dialect              Dialect

	session
	before session // the session before the frame whose Store is being carried out

	frame   []byte // frame number, text, ETB or ETX
	digits  [2]byte
	ndigits int
	paid    int // characters of this frame for which the timer was started
	ignored int
}

// NewReceiver returns a receiver in the neutral state. Limits of zero are MaxFrame
// and MaxMessage.
func NewReceiver(maxFrame, maxMessage int) *Receiver {
	if maxFrame == 0 {
		maxFrame = MaxFrame
	}
	if maxMessage == 0 {
		maxMessage = MaxMessage
	}
	return &Receiver{maxFrame: maxFrame, maxMessage: maxMessage}
}

// Neutral is true while there is no session.
func (r *Receiver) Neutral() bool { return r.state == neutral }

// rests is true between two sessions; where sessions are not closed, between two
// messages.
func (r *Receiver) rests() bool {
	return r.state == neutral || r.dialect.Open && r.state == waiting && len(r.text) == 0
}

// Ignored counts the bytes that were no part of the protocol: before ENQ, and
// between frames.
func (r *Receiver) Ignored() int { return r.ignored }

// Receive takes bytes from the line up to the first that needs actions. It returns
// how many it took: carry out the actions, then come back with the rest.
func (r *Receiver) Receive(p []byte) (n int, actions []Action) {
	for n < len(p) {
		taken, actions := r.receive(p[n])
		if taken {
			n++
		}
		if actions != nil {
			return n, actions
		}
	}
	return n, nil
}

// receive takes one byte. taken is false when the byte ended a frame that it is
// itself no part of.
func (r *Receiver) receive(b byte) (taken bool, actions []Action) {
	switch r.state {
	case neutral: // section 6.2, establishment
		if b == STX && r.dialect.Open {
			r.session = session{state: waiting, unseen: r.unseen}
			return false, []Action{Wait{ReceiverTimer}}
		}
		if b != ENQ {
			r.ignored++
			return true, nil
		}
		r.session = session{state: waiting, unseen: r.unseen}
		return true, reply(ACK, "")

	case waiting: // section 6.3; characters before STX or EOT are ignored, 6.5
		switch b {
		case STX:
			r.state, r.frame, r.paid, r.ndigits = block, r.frame[:0], 0, 0
		case EOT:
			return true, r.ended()
		case ENQ:
			if r.dialect.Open {
				return true, r.anew()
			}
			// A second ACK would be taken for that of the first frame.
			r.ignored++
		default:
			r.ignored++
		}
		return true, nil

	case block:
		return true, r.character(b)

	case checksum:
		if b == EOT {
			return true, r.ended()
		}
		r.digits[r.ndigits] = b
		r.ndigits++
		if r.ndigits < len(r.digits) {
			return true, nil
		}
		r.state = tail
		return true, []Action{Wait{tailTimer}}

	default: // tail
		switch b {
		case CR:
			return true, nil
		case LF:
			return true, r.complete()
		}
		return false, r.complete()
	}
}

// character takes a character of a frame, section 6.3. EOT is forbidden in text
// (section 6.6): the sender has given up.
func (r *Receiver) character(b byte) []Action {
	if b == EOT {
		return r.ended()
	}
	if len(r.frame)+overhead-1 > r.maxFrame {
		return r.abandon(fmt.Sprintf("frame over %d characters", r.maxFrame))
	}
	r.frame = append(r.frame, b)
	if b == ETB || b == ETX {
		r.state = checksum
		if r.dialect.Check == NoChecks {
			return r.complete() // CR LF, where they follow, are ignored
		}
		return nil
	}
	// The timer of 30 s is meant for frames of 247 characters; one of 64,000 takes
	// 67 s at 9600 baud. So it starts anew with every further 247 characters.
	if len(r.frame)-r.paid >= 247 {
		r.paid = len(r.frame)
		return []Action{Wait{ReceiverTimer}}
	}
	return nil
}

// complete judges a frame that has ended, section 6.5.
func (r *Receiver) complete() []Action {
	r.state = waiting
	if why := r.dialect.wrong(r.frame, r.digits); why != "" {
		return reply(NAK, why)
	}
	// The checksum is a sum: it does not see that pieces of two frames changed places, as
	// they do where two instruments talk at once. Section 6.6: neither is in a text.
	if bytes.IndexByte(r.frame, STX) >= 0 || bytes.IndexByte(r.frame, ENQ) >= 0 {
		return reply(NAK, "STX or ENQ within the frame")
	}
	if r.dialect.Unnumbered {
		if bytes.Equal(r.frame, r.last) {
			return reply(ACK, "")
		}
		return r.accept(0)
	}
	number := int(r.frame[0]) - '0'
	if number < 0 || number > 7 {
		return reply(NAK, "frame number is not 0 to 7")
	}
	// Retransmission: our ACK was lost. Another text under the same number is no
	// retransmission: acknowledging it would lose it.
	if r.last != nil && number == r.number {
		if !bytes.Equal(r.frame, r.last) {
			return reply(NAK, fmt.Sprintf("frame number %d again with another text", number))
		}
		return reply(ACK, "")
	}
	if want := (r.number + 1) & 7; number != want {
		return reply(NAK, fmt.Sprintf("frame number is %d, should be %d", number, want))
	}
	return r.accept(number)
}

func (r *Receiver) accept(number int) []Action {
	text, end := r.frame[:len(r.frame)-1], r.frame[len(r.frame)-1]
	if !r.dialect.Unnumbered {
		text = text[1:]
	}
	if len(r.stray)+len(r.text)+len(text)+1 > r.maxMessage {
		return r.abandon(fmt.Sprintf("message over %d bytes", r.maxMessage))
	}
	r.before = r.session
	r.number, r.last = number, bytes.Clone(r.frame)
	messages := r.join(text, end == ETX)
	if len(messages) == 0 {
		return append(r.seen(nil), reply(ACK, "")...)
	}
	return append(append(r.seen(messages), Store{messages}), reply(ACK, "")...)
}

// seen says, where sessions are not closed, that the device has gone on after what
// was stored before: it has seen our ACK, and its message is whole as after EOT. It
// has when a further frame of the session comes, or another message.
func (r *Receiver) seen(messages []Message) []Action {
	if !r.dialect.Open {
		return nil
	}
	gone := r.stored && r.before.last != nil && !r.dialect.Unnumbered
	if len(messages) > 0 {
		sum := sha256.Sum256(messages[0].Records)
		gone = r.stored && (gone || sum != r.sum)
		r.stored, r.sum = true, sha256.Sum256(messages[len(messages)-1].Records)
	} else if gone {
		r.stored = false
	}
	if gone {
		return []Action{Ended{}}
	}
	return nil
}

// anew begins a session in place of one that was not closed.
func (r *Receiver) anew() []Action {
	actions := r.reset("another session began before the L record")
	r.session = session{state: waiting, unseen: r.unseen}
	return append(actions, reply(ACK, "")...)
}

// StoreFailed is called instead of the actions behind a Store that failed: the
// frame has not been, and the sender is asked for it again.
func (r *Receiver) StoreFailed() []Action {
	r.session = r.before
	return reply(NAK, "not stored")
}

// TimedOut is called when the timer of the last Wait has run out.
func (r *Receiver) TimedOut() []Action {
	switch r.state {
	case neutral:
		return nil
	case tail:
		return r.complete()
	}
	return append(r.reset("no frame for 30 s"), Wait{}) // section 6.5
}

// Cut is called when the line is gone or is given up; reason in words. The
// receiver is neutral then.
func (r *Receiver) Cut(reason string) []Action {
	return r.reset(reason)
}

func (r *Receiver) ended() []Action { // section 6.4
	r.unseen = unseen{}
	return append(r.reset("EOT before the L record"), Ended{}, Wait{})
}

// abandon refuses what is over a limit; what follows is ignored until the next ENQ.
func (r *Receiver) abandon(reason string) []Action {
	actions := []Action{Send{Bytes: []byte{NAK}, Why: reason}}
	return append(append(actions, r.reset(reason)...), Wait{})
}

// reset leaves the session and hands over what of it was not stored.
func (r *Receiver) reset(reason string) []Action {
	rest := append(r.stray[:len(r.stray):len(r.stray)], r.text...)
	frames, open := r.frames, r.open
	r.session = session{unseen: r.unseen}
	if len(bytes.Trim(rest, "\r\n")) == 0 {
		return nil
	}
	if !open {
		reason += "; records outside of H to L"
	}
	return []Action{Incomplete{Message{rest, frames}, reason}}
}

func reply(b byte, why string) []Action {
	return []Action{Send{Bytes: []byte{b}, Why: why}, Wait{ReceiverTimer}}
}
