package e1381

import (
	"slices"
	"time"
)

// drainTime is how long the line has to be silent before we bid for it: a late ACK
// would be taken for that of ENQ, and every ACK after it for that of the next frame.
// Right behind the EOT of the instrument's own session no ACK is late, and what asked
// in it waits for an answer: then we bid at once.
const drainTime = 20 * time.Millisecond

// mode of a Line: who has the bytes that come.
type mode byte

const (
	receiving    mode = iota // the receiver, in a session or neutral
	settling                 // nobody: we are about to bid and the line has to be silent
	transmitting             // the sender
	yielding                 // the receiver: the instrument bid too, and bids again
)

// A Line is the host's end of a link that is used in both directions: a receiver and
// a sender on one line, and the rules by which they share it (E1381 sections 6.2 and
// 6.2.7): the host bids only while the line is neutral; where the instrument bids too
// the instrument has it, and the host waits for its bid for 20 s before it bids again.
type Line struct {
	dialect Dialect
	r       *Receiver
	s       *Sender
	mode    mode
	due     []Frame // to be sent; nil: nothing, or what Made says
	bidding bool    // something is to be sent
	ended   bool    // the last that came is the EOT of a session of the instrument's
}

// NewLine returns a line in the neutral state. Limits of zero are MaxFrame and
// MaxMessage.
func NewLine(d Dialect, maxFrame, maxMessage int) *Line {
	return &Line{dialect: d, r: d.Receiver(maxFrame, maxMessage), s: d.Sender(Computer)}
}

// Free: nothing is being sent or waits to be, so that Offer may be called.
func (l *Line) Free() bool { return !l.bidding }

// Neutral: there is no session in either direction.
func (l *Line) Neutral() bool { return l.mode != transmitting && l.r.rests() }

// Ignored counts the bytes that were no part of the protocol.
func (l *Line) Ignored() int { return l.r.Ignored() }

// Offer has frames sent as soon as the line is neutral. What becomes of them is said
// by Sent or Failed.
func (l *Line) Offer(frames []Frame) []Action {
	if l.bidding || len(frames) == 0 {
		panic("e1381: Offer without Free, or without frames")
	}
	l.due, l.bidding = frames, true
	return l.bid()
}

// OfferLate is Offer for frames that are made when the instrument has accepted the bid:
// Make asks for them, and Made brings them.
func (l *Line) OfferLate() []Action {
	if l.bidding {
		panic("e1381: OfferLate without Free")
	}
	l.due, l.bidding = nil, true
	return l.bid()
}

// Made answers Make.
func (l *Line) Made(frames []Frame) []Action { return l.after(l.s.Made(frames)) }

// bid begins to send where something is due and the line is neutral.
func (l *Line) bid() []Action {
	if !l.bidding || l.mode != receiving || !l.r.rests() {
		return nil
	}
	if l.ended {
		return l.transmit()
	}
	l.mode = settling
	return []Action{Wait{drainTime}}
}

func (l *Line) transmit() []Action {
	l.mode, l.ended = transmitting, false
	if l.due == nil {
		return l.after(l.s.Bid())
	}
	return l.after(l.s.Start(l.due))
}

// Receive takes bytes up to the first that needs actions.
func (l *Line) Receive(p []byte) (n int, actions []Action) {
	if len(p) == 0 {
		return 0, nil
	}
	switch l.mode {
	case settling:
		return l.settle(p)
	case transmitting:
		n, actions = l.s.Receive(p)
		return n, l.after(actions)
	}
	n, actions = l.r.Receive(p)
	l.ended = slices.Contains(actions, Action(Ended{}))
	if l.mode == yielding && !l.r.rests() {
		l.mode = receiving
	}
	return n, append(actions, l.bid()...)
}

// settle drops what is left on the line from before, until the instrument bids.
func (l *Line) settle(p []byte) (int, []Action) {
	for n, b := range p {
		if b == ENQ || b == STX && l.dialect.Open {
			l.mode = receiving
			return n, []Action{Wait{}}
		}
		l.r.ignored++
	}
	return len(p), []Action{Wait{drainTime}}
}

// after passes on what the sender does, and sees when it has ended.
func (l *Line) after(actions []Action) []Action {
	var out []Action
	for _, a := range actions {
		switch a.(type) {
		case Sent, Failed:
			l.mode, l.due, l.bidding = receiving, nil, false
		case Yielded: // and nothing of it was sent
			l.mode = yielding
			return append(out, Wait{ComputerTimer})
		}
		out = append(out, a)
	}
	return out
}

// TimedOut is called when the timer of the last Wait has run out.
func (l *Line) TimedOut() []Action {
	switch l.mode {
	case settling:
		return l.transmit()
	case transmitting:
		return l.after(l.s.TimedOut())
	case yielding: // the instrument did not bid again: neutral, and our turn
		l.mode = receiving
		return l.bid()
	}
	return append(l.r.TimedOut(), l.bid()...)
}

// StoreFailed is called instead of the actions behind a Store that failed.
func (l *Line) StoreFailed() []Action { return l.r.StoreFailed() }

// Cut is called when the line is gone or is given up; what was being sent was not.
func (l *Line) Cut(reason string) []Action {
	var actions []Action
	if l.bidding {
		accepted := 0
		if l.mode == transmitting {
			accepted = l.s.next
		}
		l.due, l.bidding = nil, false
		actions = append(actions, Failed{Reason: reason, Accepted: accepted, Cut: true})
	}
	l.mode = receiving
	return append(actions, l.r.Cut(reason)...)
}
