package commitment

import (
	"time"

	"nhip/dicom/dimse"
)

// A State of a report. The numbers are kept on disk: new ones are added at the
// end.
type State byte

const (
	Pending  State = 1 // the outcome is not known yet
	Owed     State = 2 // known, and not reported yet
	Reported State = 3 // the SCU has answered that it knows
	Expired  State = 4 // given up
)

func (s State) String() string {
	switch s {
	case Pending:
		return "pending"
	case Owed:
		return "owed"
	case Reported:
		return "reported"
	case Expired:
		return "expired"
	}
	return "no state"
}

// A Policy says how long a report is tried. Zero is the default.
type Policy struct {
	First  time.Duration // from the first failed attempt to the second; doubled after each; 10 s
	Most   time.Duration // the longest wait; 1 h
	Expire time.Duration // from the request to the end of trying; 7 days
}

// DefaultPolicy is the policy where nothing else is said.
func DefaultPolicy() Policy { return Policy{}.withDefaults() }

func (p Policy) withDefaults() Policy {
	if p.First == 0 {
		p.First = 10 * time.Second
	}
	if p.Most == 0 {
		p.Most = time.Hour
	}
	if p.Expire == 0 {
		p.Expire = 7 * 24 * time.Hour
	}
	return p
}

// A Report is the state of the report of one transaction. It is a value: what
// the methods return is kept before it is acted on. An attempt that is under way
// is memory: after a restart it is made again, which the SCU recognises by the
// transaction UID.
type Report struct {
	State    State
	Since    time.Time // of the request
	Next     time.Time // the next attempt, when Owed
	Attempts int       // that failed
	Same     bool      // an attempt on the association of the request has failed
	Why      string    // the last attempt failed: words without patient data
}

// NewReport is the state once the request was accepted.
func NewReport(now time.Time) Report { return Report{State: Pending, Since: now} }

// Known says that the outcome is known now, and that reporting it is due.
func (r Report) Known(now time.Time) Report {
	if r.State == Pending {
		r.State, r.Next = Owed, now
	}
	return r
}

// An Action is what is to be done now.
type Action byte

const (
	Nothing      Action = iota // until Report.Next when Owed, or for good
	ReportOnSame               // N-EVENT-REPORT on the association that asked
	ReportOnOwn                // a new association to the SCU with the roles reversed
	GiveUp                     // the report has expired just now
)

// Due says what is to be done at a time. open says whether the association of
// the request is still there: it is tried first, once.
func (r Report) Due(now time.Time, p Policy, open bool) (Report, Action) {
	p = p.withDefaults()
	switch {
	case r.State != Owed && r.State != Pending:
		return r, Nothing
	case now.Sub(r.Since) >= p.Expire:
		r.State = Expired
		return r, GiveUp
	case r.State == Pending, now.Before(r.Next):
		return r, Nothing
	case open && !r.Same:
		return r, ReportOnSame
	}
	return r, ReportOnOwn
}

// Answered takes the status of the N-EVENT-REPORT-RSP. A warning is an answer
// like success: the SCU has the report.
func (r Report) Answered(s dimse.Status, action Action, now time.Time, p Policy) Report {
	switch s.Class() {
	case dimse.ClassSuccess, dimse.ClassWarning:
		if r.State == Owed {
			r.State, r.Why = Reported, ""
		}
		return r
	}
	return r.Failed("the SCU answered "+dimse.Status{Code: s.Code}.String(), action, now, p)
}

// Failed takes an attempt without an answer. The association of the request is
// not tried a second time, and a new one at once.
func (r Report) Failed(why string, action Action, now time.Time, p Policy) Report {
	if r.State != Owed {
		return r
	}
	r.Why = why
	if action == ReportOnSame {
		r.Same, r.Next = true, now
		return r
	}
	r.Attempts++
	r.Next = now.Add(p.withDefaults().wait(r.Attempts))
	return r
}

// wait is the time after the n-th failed attempt, from 1.
func (p Policy) wait(n int) time.Duration {
	d := p.First
	for range min(n-1, 40) {
		if d >= p.Most {
			break
		}
		d *= 2
	}
	return min(d, p.Most)
}

// Repeated says that the SCU has sent its request again, so that a report that
// it had may be lost: it is owed anew, for as long as from a first request.
func (r Report) Repeated(now time.Time) Report {
	switch r.State {
	case Reported, Expired:
		return Report{State: Owed, Since: now, Next: now}
	}
	r.Same = false
	return r
}
