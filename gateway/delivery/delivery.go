// Package delivery carries a record to one destination. The life of an item is
// a pure state machine (Step), the choice of the next item is a pure Lane, and
// Worker is the small shell that joins them to a store and a Sender.
//
//	           Send                Accepted
//	Waiting ----------> Sending ------------> Delivered (leaves the queue)
//	  ^  ^                | |  Refused, too many Rejected
//	  |  +----------------+ +----------------> Held  (waits for a person)
//	  |    Rejected, Unclear, Restart            |
//	  +------------------------------------------+
//	                   Release
//
// Nothing but Accepted ever delivers. "Sending" is memory only: what was being
// sent when the process ended is sent again, the same bytes under the same
// control ID, because lost always means maybe arrived.
package delivery

import (
	"encoding/json"
	"fmt"
	"time"

	"nhip/gateway/reason"
)

// A State is numbered by hand, because it is stored: new ones go to the end.
type State int

// The states of a delivery.
const (
	Waiting   State = 1
	Sending   State = 2 // in memory only; stored as Waiting
	Held      State = 3
	Delivered State = 4
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
}

// New is a delivery that nothing has happened to.
func New(now time.Time) Delivery { return Delivery{Version: 1, State: Waiting, Since: now} }

// Encode is the stored form.
func (d Delivery) Encode() []byte {
	if d.State == Sending {
		d.State = Waiting
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
	if d.Version != 1 || d.State != Waiting && d.State != Held {
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
)

// An Event is a Kind with its reason.
type Event struct {
	Kind Kind
	Why  reason.Reason
}

// An Action is what the caller does after it has saved the new Delivery.
type Action int

// The actions.
const (
	Nothing  Action = iota
	Transmit        // hand it to the Sender
	Finish          // it is delivered: remove it from the queue
	Alarm           // a person has to look: it is held
)

// A Policy says how long to go on.
type Policy struct {
	First         time.Duration // wait after the first failure; doubles
	Max           time.Duration // the longest wait
	MaxRejections int           // answers Rejected before the item is held
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
	case Waiting:
		switch e.Kind {
		case Send:
			d.State, d.Since = Sending, now
			return d, Transmit
		}
	case Sending:
		switch e.Kind {
		case Accepted:
			d.State, d.Reason, d.Since = Delivered, reason.Reason{}, now
			return d, Finish
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
			return d.wait(p.Backoff(d.Attempts, jitter), e.Why, now), Nothing
		case Unclear:
			d.Attempts++
			return d.wait(p.Backoff(d.Attempts, jitter), e.Why, now), Nothing
		case NotSent:
			return d.wait(0, e.Why, now), Nothing // the Worker waits for the link
		case Restart:
			return d.wait(0, reason.New(reason.Restarted), now), Nothing
		}
	case Held:
		switch e.Kind {
		case Release:
			d.Attempts, d.Rejections = 0, 0
			return d.wait(0, reason.New(reason.Released), now), Nothing
		}
	}
	return d, Nothing
}

func (d Delivery) hold(why reason.Reason, now time.Time) Delivery {
	d.State, d.Reason, d.Since, d.NotBefore = Held, why, now, time.Time{}
	return d
}

func (d Delivery) wait(for_ time.Duration, why reason.Reason, now time.Time) Delivery {
	d.State, d.Reason, d.Since, d.NotBefore = Waiting, why, now, now.Add(for_)
	return d
}
