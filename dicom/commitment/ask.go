package commitment

import (
	"time"

	"nhip/dicom/dimse"
)

// An AskState is the state of a request that an SCU makes. The numbers are kept on
// disk: new ones are added at the end.
type AskState byte

const (
	ToAsk  AskState = 1 // the SCP has not accepted the request yet
	Asked  AskState = 2 // it has, and has not reported yet
	Lapsed AskState = 3 // given up
)

func (s AskState) String() string {
	switch s {
	case ToAsk:
		return "to be asked"
	case Asked:
		return "asked"
	case Lapsed:
		return "lapsed"
	}
	return "no state"
}

// An AskPolicy says how long an SCU goes on. Zero is the default.
type AskPolicy struct {
	First time.Duration // from the first failed attempt to the second; doubled after each; 10 s
	Most  time.Duration // the longest wait; 1 h
	// Again is how long a report is awaited before the same request is made again: the
	// report, or the request, may be lost; 6 h.
	Again time.Duration
	Lapse time.Duration // from the first request to the end of asking; 7 days
}

// DefaultAskPolicy is the policy where nothing else is said.
func DefaultAskPolicy() AskPolicy { return AskPolicy{}.withDefaults() }

func (p AskPolicy) withDefaults() AskPolicy {
	d := DefaultPolicy()
	for _, v := range []struct {
		to   *time.Duration
		from time.Duration
	}{{&p.First, d.First}, {&p.Most, d.Most}, {&p.Again, 6 * time.Hour}, {&p.Lapse, d.Expire}} {
		if *v.to == 0 {
			*v.to = v.from
		}
	}
	return p
}

// An Asking is the state of one transaction of an SCU until its report comes:
//
//	ToAsk --Answered success--> Asked --Policy.Again later--> ToAsk
//	  | ^ Failed, or Answered with a failure: again after a while
//	  +-+
//	  Policy.Lapse after the first request: Lapsed
//
// It is a value: what the methods return is kept before it is acted on. The report
// itself ends it, in every state, whatever association it comes over; see Expectation.
type Asking struct {
	State    AskState
	Since    time.Time // when there was something to ask
	Next     time.Time // of the next attempt
	Attempts int       // that failed, in a row
	Why      string    // the last attempt failed: words without patient data
}

// NewAsking is the state of a transaction that is to be asked for now.
func NewAsking(now time.Time) Asking { return Asking{State: ToAsk, Since: now, Next: now} }

// An AskAction is what is to be done now.
type AskAction byte

const (
	AskNothing AskAction = iota // until Asking.Next, or for good
	AskNow                      // N-ACTION
	AskNoMore                   // the transaction has lapsed just now
)

// Due says what is to be done at a time.
func (a Asking) Due(now time.Time, p AskPolicy) (Asking, AskAction) {
	p = p.withDefaults()
	switch {
	case a.State == Lapsed:
		return a, AskNothing
	case now.Sub(a.Since) >= p.Lapse:
		a.State = Lapsed
		return a, AskNoMore
	case now.Before(a.Next):
		return a, AskNothing
	}
	a.State = ToAsk
	return a, AskNow
}

// Answered takes the status of the N-ACTION-RSP. Success and warnings say that a
// report will come.
func (a Asking) Answered(s dimse.Status, now time.Time, p AskPolicy) Asking {
	if c := s.Class(); c != dimse.ClassSuccess && c != dimse.ClassWarning {
		return a.Failed("the SCP answered "+dimse.Status{Code: s.Code}.String(), now, p)
	}
	if a.State == ToAsk {
		a.State, a.Attempts, a.Why = Asked, 0, ""
		a.Next = now.Add(p.withDefaults().Again)
	}
	return a
}

// Failed takes an attempt without an answer.
func (a Asking) Failed(why string, now time.Time, p AskPolicy) Asking {
	if a.State != ToAsk {
		return a
	}
	p = p.withDefaults()
	a.Why = why
	a.Attempts++
	a.Next = now.Add(Policy{First: p.First, Most: p.Most}.wait(a.Attempts))
	return a
}
