package e1381

import "fmt"

// Role decides contention, E1381 section 6.2.7.1: when both bid for the line the
// instrument has priority.
type Role int

const (
	Instrument Role = iota
	Computer
)

// state of the sender, E1381 section 6.
type sending byte

const (
	idle         sending = iota
	enquiring            // ENQ sent
	busy                 // ENQ was answered by NAK: neutral for 10 s, then another bid
	contending           // ENQ was answered by ENQ: the instrument bids again after 1 s
	transferring         // a frame sent
	composing            // ENQ was accepted; the owner says what is sent
)

// Sender is the sending side of the link: one message, or several, in one session.
type Sender struct {
	role    Role
	dialect Dialect
	state   sending
	frames  []Frame
	next    int  // the frame that is on its way
	refused int  // how often it, or ENQ, was refused
	late    bool // the frames are made when the bid is accepted
	bid     bool // the other side bid for the line where it had to answer the frame
}

// NewSender returns a sender in the neutral state.
func NewSender(role Role) *Sender { return &Sender{role: role} }

// Start begins a session for these frames by ENQ. The line has to be neutral.
func (s *Sender) Start(frames []Frame) []Action {
	*s = Sender{role: s.role, dialect: s.dialect, frames: frames}
	return s.enquire()
}

// Bid is Start for frames that are made when the bid has been accepted: then Make is
// asked for, and Made has to be called with them.
func (s *Sender) Bid() []Action {
	*s = Sender{role: s.role, dialect: s.dialect, late: true}
	return s.enquire()
}

// Made sends the frames that were asked for. Where there are none any more the session
// is ended.
func (s *Sender) Made(frames []Frame) []Action {
	s.frames, s.state = frames, transferring
	return s.frame()
}

func (s *Sender) enquire() []Action {
	s.state = enquiring
	return []Action{Send{Bytes: []byte{ENQ}}, Wait{ReplyTimer}}
}

// Receive takes the receiver's bytes up to the first that needs actions.
func (s *Sender) Receive(p []byte) (n int, actions []Action) {
	for n < len(p) {
		// A bid of the other side while we are neutral is for the Receiver.
		if s.state == busy && p[n] == ENQ {
			return n, s.yield()
		}
		n++
		if actions := s.receive(p[n-1]); actions != nil {
			return n, actions
		}
	}
	return n, nil
}

func (s *Sender) receive(b byte) []Action {
	switch s.state {
	case enquiring: // section 6.2: all but ACK, NAK and ENQ is ignored
		switch b {
		case ACK:
			s.state, s.refused = transferring, 0
			if s.late {
				s.state = composing
				return []Action{Make{}}
			}
			return s.frame()
		case NAK:
			return s.busy()
		case ENQ:
			if s.role == Computer {
				return s.yield()
			}
			s.state = contending
			return []Action{Wait{InstrumentTimer}}
		}
	case transferring: // section 6.3: any other character is a NAK
		switch {
		case b == ACK, b == EOT && !s.bid: // EOT: accepted, and please stop; which the sender may ignore, 6.3.5
			s.next, s.refused, s.bid = s.next+1, 0, false
			return s.frame()
		case b == EOT: // the end of that bid: it has left our session, and accepts nothing
			return s.fail("the other side left the session and bid for the line")
		case b == ENQ:
			s.bid = true
		}
		if s.refused++; s.refused == attempts {
			s.state = idle
			return []Action{Send{Bytes: []byte{EOT}}, Failed{Reason: fmt.Sprintf("frame not accepted %d times", attempts), Accepted: s.next, Refused: true}, Wait{}}
		}
		return s.frame()
	}
	return nil
}

// frame sends the frame that is due, or ends the session.
func (s *Sender) frame() []Action {
	if s.next == len(s.frames) {
		s.state = idle
		return []Action{Send{Bytes: []byte{EOT}}, Sent{}, Wait{}}
	}
	return []Action{Send{Bytes: s.dialect.append(nil, s.frames[s.next], s.next+1)}, Wait{ReplyTimer}}
}

func (s *Sender) busy() []Action {
	if s.refused++; s.refused == attempts {
		return s.fail(fmt.Sprintf("ENQ answered by NAK %d times", attempts))
	}
	s.state = busy
	return []Action{Wait{BusyTimer}}
}

// TimedOut is called when the timer of the last Wait has run out.
func (s *Sender) TimedOut() []Action {
	switch s.state {
	case enquiring:
		return s.fail("no answer to ENQ for 15 s")
	case busy, contending:
		return s.enquire()
	case transferring:
		return s.fail("no answer to a frame for 15 s")
	}
	return nil
}

func (s *Sender) fail(reason string) []Action {
	s.state = idle
	return []Action{Send{Bytes: []byte{EOT}}, Failed{Reason: reason, Accepted: s.next}, Wait{}}
}

func (s *Sender) yield() []Action {
	s.state = idle
	return []Action{Yielded{}, Wait{}}
}
