// Package delivery carries a record to one destination. The life of an item is
// a pure state machine (Step), the choice of the next item is a pure Lane, and
// Worker is the small shell that joins them to a store and its Senders.
//
//	              Send                   Accepted
//	Waiting ----------------> Sending -------------> Delivered
//	   ^   Rejected, NotSent   |  ^ |
//	   +-----------------------+  | | Refused, too many Rejected;
//	   |                Unclear | | | Unclear where the policy is Hold
//	   |                        v | |
//	   |             Send  Unanswered |
//	   |                              v
//	   +---------------------------- Held (waits for a person)
//	              Release
//
// A destination that has the item in safe storage and says later what became of it
// makes it Committed: Sending -Commit-> Committed. That ends in Delivered (Accepted), or
// Held (Refused, Rejected; Overdue, after which Accepted still delivers it). What is
// Committed is not sent again.
//
// Waiting, Unanswered, Committed and Held end in Discarded by a person; Waiting and
// Unanswered end in Expired where the configuration says so; nothing but Accepted
// ever delivers.
//
// An item is Unanswered when it was sent and no answer settled it: it may have
// arrived. The policy of the destination says what then: Retry sends the same
// bytes under the same control ID again, Hold leaves it to a person. "Sending" is
// memory under Retry: what was being sent when the process ended is sent again.
// Under Hold it is stored, as Unanswered, before the first byte goes out.
//
// Conservation: accepted = delivered + queued + held + discarded + expired +
// consumed. A resend is a new item: it counts as accepted once more, and as
// delivered once more.
package delivery

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"nhip/gateway/reason"
)

// A State is numbered by hand, because it is stored: new ones go to the end.
type State int

// The states of a delivery.
const (
	Waiting    State = 1
	Sending    State = 2 // stored only under Hold, and then as Unanswered
	Held       State = 3
	Delivered  State = 4 // not stored: the item is gone
	Unanswered State = 5 // sent, and no answer settled it
	Discarded  State = 6 // not stored
	Expired    State = 7 // not stored
	Committed  State = 8 // the destination has it, and has not said what became of it
)

func (s State) String() string {
	switch s {
	case Waiting:
		return "waiting"
	case Sending:
		return "sending"
	case Held:
		return "held"
	case Delivered:
		return "delivered"
	case Unanswered:
		return "unanswered"
	case Discarded:
		return "discarded"
	case Expired:
		return "expired"
	case Committed:
		return "committed"
	}
	return fmt.Sprintf("state %d", int(s))
}

// A Delivery is the stored state of one item on its way to one destination.
type Delivery struct {
	Version    int           `json:"v"`
	State      State         `json:"s"`
	Attempts   int           `json:"a,omitempty"`  // how often it was sent and not settled
	Rejections int           `json:"r,omitempty"`  // answers that reject without a fault of ours (AR)
	NotBefore  time.Time     `json:"n,omitzero"`   // of the next attempt
	Reason     reason.Reason `json:"why,omitzero"` // why it waits or is held
	Since      time.Time     `json:"t,omitzero"`   // in this state
	Answer     Answer        `json:"o,omitzero"`   // the last one that the destination gave

	unanswered bool // while Sending: an earlier attempt may have arrived
}

// New is a delivery that nothing has happened to.
func New(now time.Time) Delivery { return Delivery{Version: 1, State: Waiting, Since: now} }

// Encode is the stored form.
func (d Delivery) Encode() []byte {
	if d.State == Sending {
		d.State, d.Reason = Unanswered, reason.New(reason.Restarted)
	}
	b, err := json.Marshal(d)
	if err != nil {
		panic(err) // no value of this struct fails to marshal
	}
	return b
}

// Decode reads what Encode wrote. Nothing stored means New.
func Decode(b []byte, since time.Time) (Delivery, error) {
	if len(b) == 0 {
		return New(since), nil
	}
	var d Delivery
	if err := json.Unmarshal(b, &d); err != nil {
		return Delivery{}, fmt.Errorf("delivery: stored state: %w", err)
	}
	if d.Version != 1 || d.State != Waiting && d.State != Held && d.State != Unanswered && d.State != Committed {
		return Delivery{}, fmt.Errorf("delivery: stored state: version %d, state %d", d.Version, d.State)
	}
	return d, nil
}

// A Kind is what happened to a delivery.
type Kind int

// The events of a delivery.
const (
	Send     Kind = iota + 1 // it is its turn
	Accepted                 // a positive acknowledgement that names this message
	Refused                  // a negative one that repeating cannot change (AE, CE, AR with 200 to 203, a DICOM failure)
	Rejected                 // a negative one for reasons outside the content (other AR, DICOM A7xx)
	Unclear                  // silence, a broken line, CR, an answer to something else: maybe arrived
	NotSent                  // the destination could not be reached; nothing left this machine
	Restart                  // the process started again
	Release                  // a person says: try again
	Discard                  // a person says: never
	Expire                   // the configuration says: too old
	Commit                   // the destination has it in safe storage, and will say more
	Overdue                  // it has said nothing more for too long
)

// An Event is a Kind with its reason, and the answer of the destination where
// there was one.
type Event struct {
	Kind   Kind
	Why    reason.Reason
	Answer Answer
}

// An Answer is what a destination answered: the bytes of an HL7 acknowledgement,
// the status of a DICOM response in words.
type Answer struct {
	Bytes  []byte `json:"b,omitempty"` // at most maxAnswer, the beginning
	Length int    `json:"n,omitempty"` // of all of it, in bytes
}

// maxAnswer keeps the state of an item, as JSON, below the 4 KiB that it may have.
const maxAnswer = 2000

// Answered is the Answer of these bytes.
func Answered(b []byte) Answer {
	return Answer{Bytes: bytes.Clone(b[:min(len(b), maxAnswer)]), Length: len(b)}
}

// IsZero reports whether there was none.
func (a Answer) IsZero() bool { return a.Length == 0 }

// An Action is what the caller does after it has saved the new Delivery.
type Action int

// The actions.
const (
	Nothing  Action = iota
	Transmit        // hand it to the Sender
	Finish          // it is delivered: remove it from the queue
	Alarm           // a person has to look: it is held
	Drop            // it is discarded or expired: remove it from the queue
)

// Unsettled says what becomes of an item that was sent and not answered.
type Unsettled int

// What becomes of it.
const (
	Retry Unsettled = iota // it is sent again
	Hold                   // it waits for a person
)

// A Policy says how long to go on.
type Policy struct {
	First         time.Duration // wait after the first failure; doubles
	Max           time.Duration // the longest wait
	MaxRejections int           // answers Rejected before the item is held
	Unanswered    Unsettled
	Process       time.Duration // how long the destination may take from Commit to what became of it
}

// DefaultPolicy is 1 s doubling to 5 min, and 20 rejections.
func DefaultPolicy() Policy {
	return Policy{First: time.Second, Max: 5 * time.Minute, MaxRejections: 20}
}

// Backoff is the wait after n failures in a row (n from 1), with jitter in
// [0,1): three quarters of the doubled wait up to all of it.
func (p Policy) Backoff(n int, jitter float64) time.Duration {
	d := p.First
	for range n - 1 {
		d *= 2
		if d >= p.Max {
			d = p.Max
			break
		}
	}
	return d*3/4 + time.Duration(float64(d/4)*jitter)
}

// Step is the whole machine: a value in, a value out. The caller saves the
// value and then carries out the action. An event that cannot happen in a
// state changes nothing.
func (p Policy) Step(d Delivery, e Event, now time.Time, jitter float64) (Delivery, Action) {
	switch d.State {
	case Waiting, Unanswered:
		return p.queued(d, e, now)
	case Sending:
		return p.sending(d, e, now, jitter)
	case Committed:
		return p.committed(d, e, now)
	case Held:
		return p.held(d, e, now)
	}
	return d, Nothing
}

// queued is Step of a delivery that is Waiting or Unanswered.
func (p Policy) queued(d Delivery, e Event, now time.Time) (Delivery, Action) {
	switch e.Kind {
	case Send:
		d.unanswered = d.State == Unanswered
		d.State, d.Since = Sending, now
		return d, Transmit
	case Restart:
		if d.State == Unanswered {
			return p.unclear(d, 0, reason.New(reason.Restarted), now)
		}
	case Discard:
		return d.end(Discarded, now), Drop
	case Expire:
		return d.end(Expired, now), Drop
	}
	return d, Nothing
}

// sending is Step of a delivery that is under way.
func (p Policy) sending(d Delivery, e Event, now time.Time, jitter float64) (Delivery, Action) {
	if !e.Answer.IsZero() {
		d.Answer = e.Answer
	}
	switch e.Kind {
	case Accepted:
		return d.end(Delivered, now), Finish
	case Refused:
		d.Attempts++
		return d.hold(e.Why, now), Alarm
	case Rejected:
		d.Attempts++
		d.Rejections++
		if d.Rejections >= p.MaxRejections {
			e.Why.Times = d.Rejections
			return d.hold(e.Why, now), Alarm
		}
		return d.wait(Waiting, p.Backoff(d.Attempts, jitter), e.Why, now), Nothing
	case Unclear:
		d.Attempts++
		return p.unclear(d, p.Backoff(d.Attempts, jitter), e.Why, now)
	case Commit:
		return d.wait(Committed, p.Process, reason.Reason{}, now), Nothing
	case NotSent: // the Worker waits for the link
		if d.unanswered {
			return d.wait(Unanswered, 0, e.Why, now), Nothing
		}
		return d.wait(Waiting, 0, e.Why, now), Nothing
	case Restart:
		return p.unclear(d, 0, reason.New(reason.Restarted), now)
	}
	return d, Nothing
}

// committed is Step of a delivery that the peer has, and has not answered for yet.
func (p Policy) committed(d Delivery, e Event, now time.Time) (Delivery, Action) {
	if !e.Answer.IsZero() {
		d.Answer = e.Answer
	}
	switch e.Kind {
	case Accepted:
		return d.end(Delivered, now), Finish
	case Refused, Rejected:
		return d.hold(e.Why, now), Alarm
	case Overdue:
		return d.hold(reason.New(reason.Unprocessed, p.Process.String()), now), Alarm
	case Discard:
		return d.end(Discarded, now), Drop
	}
	return d, Nothing
}

// held is Step of a delivery that waits for a person.
func (p Policy) held(d Delivery, e Event, now time.Time) (Delivery, Action) {
	switch e.Kind {
	case Accepted:
		if d.Reason.Code == reason.Unprocessed {
			return d.end(Delivered, now), Finish
		}
	case Release:
		d.Attempts, d.Rejections = 0, 0
		return d.wait(Waiting, 0, reason.New(reason.Released), now), Nothing
	case Discard:
		return d.end(Discarded, now), Drop
	}
	return d, Nothing
}

// unclear is what becomes of a delivery that may have arrived.
func (p Policy) unclear(d Delivery, after time.Duration, why reason.Reason, now time.Time) (Delivery, Action) {
	if p.Unanswered == Hold {
		return d.hold(why, now), Alarm
	}
	return d.wait(Unanswered, after, why, now), Nothing
}

func (d Delivery) end(s State, now time.Time) Delivery {
	d.State, d.Reason, d.Since, d.unanswered = s, reason.Reason{}, now, false
	return d
}

func (d Delivery) hold(why reason.Reason, now time.Time) Delivery {
	d.State, d.Reason, d.Since, d.NotBefore, d.unanswered = Held, why, now, time.Time{}, false
	return d
}

func (d Delivery) wait(s State, after time.Duration, why reason.Reason, now time.Time) Delivery {
	d.State, d.Reason, d.Since, d.NotBefore, d.unanswered = s, why, now, now.Add(after), false
	return d
}

// sendable reports whether it may be the next.
func (d Delivery) sendable() bool { return d.State == Waiting || d.State == Unanswered }
