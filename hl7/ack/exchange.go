package ack

import "nhip/hl7"

// A State is how far a message is that was sent. The numbers are stored: new ones
// are added at the end.
type State int

// The states. A message leaves its queue as Accepted only, or by a person.
const (
	Waiting      State = 0 // sent, or about to be; no acknowledgement yet
	Committed    State = 1 // the peer has it in safe storage (CA) and will say more; not to be sent again
	Accepted     State = 2 // settled
	Refused      State = 3 // an error that stays: to be held
	Rejected     State = 4 // not now: to be sent again later
	Unclear      State = 5 // nothing that counts came: maybe it arrived; to be sent again under its control ID
	Unprocessed  State = 6 // committed, and the application acknowledgement is overdue: to be held, not sent again
	SentUnproved State = 7 // nothing was asked for, so nothing is known: as good as it gets on this link
)

// Final says whether no acknowledgement is waited for. Only Unprocessed may still
// change: by the application acknowledgement that was overdue.
func (s State) Final() bool { return s != Waiting && s != Committed }

// An Exchange is one attempt to bring a message to its peer, from the moment it is
// written: a value, without a clock. What comes on which connection does not matter
// to it: MSA-2 does.
type Exchange struct {
	ControlID string // MSH-10 of the message
	Accept    hl7.Condition
	Answer    hl7.Condition
	// CommitSettles takes an accept acknowledgement for the end although an
	// application acknowledgement was asked for: for peers that send no other.
	CommitSettles bool
	State         State
	Errors        []hl7.Error // of the acknowledgement that refused it
	Text          string
}

// NewExchange is the exchange for a message: what its MSH-15 and MSH-16 ask for, or
// what the link expects of its peer whatever they say.
func NewExchange(m *hl7.Message, mode Mode) Exchange {
	p := PlanFor(m, mode)
	return Exchange{ControlID: m.ControlID(), Accept: p.Accept, Answer: p.Application}
}

// An Effect is what an event did.
type Effect int

// The effects.
const (
	Changed      Effect = iota // the state is another one
	NotForUs                   // MSA-2 is another one or empty: not counted
	TooLate                    // the exchange is over: not counted
	Again                      // a second acknowledgement that says what is known: not counted
	NotAsked                   // no code of table 0008, or one that means nothing here: not counted
	StillWaiting               // nothing was expected yet
)

// Written says that the whole message was written to the connection. Where no
// acknowledgement was asked for that is the end.
func (x Exchange) Written() (Exchange, Effect) {
	if x.State == Waiting && x.Accept == hl7.Never && x.Answer == hl7.Never {
		x.State = SentUnproved
		return x, Changed
	}
	return x, StillWaiting
}

// Received takes an acknowledgement. It counts only where MSA-2 is the control ID of
// the message, to the byte, and only while one is waited for.
//
// CA settles where no application acknowledgement was asked for; else the message
// waits as Committed. AA settles always: what was processed was committed. AE and CE
// are Refused, as is AR with an error 200 to 203; other AR and CR are Rejected. After
// CA, AR is Refused too: the peer has the message.
func (x Exchange) Received(a hl7.Acknowledgement) (Exchange, Effect) {
	switch {
	case x.ControlID == "" || a.MessageControlID != x.ControlID:
		return x, NotForUs
	case x.State.Final() && x.State != Unprocessed:
		return x, TooLate
	}
	had := x.State == Committed || x.State == Unprocessed
	state, ok := x.meaning(a, had)
	switch {
	case !ok:
		return x, NotAsked
	case state == Committed && had:
		return x, Again
	}
	x.State, x.Errors, x.Text = state, a.Errors, a.Text
	return x, Changed
}

// meaning is the state that an acknowledgement leads to.
func (x Exchange) meaning(a hl7.Acknowledgement, had bool) (State, bool) {
	switch a.Code {
	case hl7.ApplicationAccept:
		return Accepted, true
	case hl7.CommitAccept:
		if x.CommitSettles || x.Answer == hl7.Never {
			return Accepted, true
		}
		return Committed, true
	case hl7.ApplicationError:
		return Refused, true
	case hl7.ApplicationReject:
		if had || unsupported(a.Errors) {
			return Refused, true
		}
		return Rejected, true
	case hl7.CommitError, hl7.CommitReject:
		if had {
			return 0, false // it has said CA
		}
		if a.Code == hl7.CommitError || unsupported(a.Errors) {
			return Refused, true
		}
		return Rejected, true
	}
	return 0, false
}

// TimedOut says that no acknowledgement has come for as long as the link waits.
// Where acknowledgements were asked for on error only, their absence is the success
// that the sender agreed to; where one was asked for on success, it is not.
func (x Exchange) TimedOut() (Exchange, Effect) {
	switch {
	case x.State == Waiting && x.silent():
		x.State = SentUnproved
	case x.State == Waiting:
		x.State = Unclear
	case x.State == Committed && x.Answer == hl7.OnError:
		x.State = Accepted
	case x.State == Committed:
		x.State = Unprocessed
	default:
		return x, TooLate
	}
	return x, Changed
}

// silent says whether success is told by silence.
func (x Exchange) silent() bool {
	quiet := func(c hl7.Condition) bool { return c == hl7.OnError || c == hl7.Never }
	return quiet(x.Accept) && quiet(x.Answer)
}

// Broken says that the connection ended. A message that is committed does not need
// it any more.
func (x Exchange) Broken() (Exchange, Effect) {
	if x.State != Waiting {
		return x, StillWaiting
	}
	x.State = Unclear
	return x, Changed
}
