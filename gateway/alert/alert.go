// Package alert tells people when the gateway's state changes for the worse and
// when it is good again: once each. Step is pure: what is read of the gateway in,
// what changed out. A Keeper asks every few seconds, keeps what is raised in the
// store, so that a restart raises nothing twice, and tells it by webhook and
// e-mail, within limits.
//
//	readings ──▶ Step ──▶ raised, cleared ──▶ limits ──▶ outbox (stored) ──▶ webhook, e-mail
//	                                              └──▶ later one summary of what was not told
//
// A notice may arrive twice (under the same ID), after a crash between sending
// it and noting so. Nothing here names a patient or a specimen.
package alert

import (
	"cmp"
	"slices"
	"time"

	"nhip/gateway/reason"
)

// A Level is how a reading stands to its alert.
type Level int

// The levels. Between is the range of hysteresis: what is raised stays raised,
// what is not stays so.
const (
	Quiet Level = iota
	Between
	Bad
)

// A Reading is one thing that was looked at.
type Reading struct {
	Code    Code
	Subject string // a name of the configuration or a listener; empty: the site
	Args    []string
	Why     reason.Reason // where there is one
	Level   Level
}

// An Alert is a reading that is raised.
type Alert struct {
	Code    Code          `json:"code"`
	Subject string        `json:"subject,omitempty"`
	Args    []string      `json:"args,omitempty"`
	Why     reason.Reason `json:"why,omitzero"`
	Since   time.Time     `json:"since"`
	Told    bool          `json:"told,omitempty"` // its raising was told: then its clearing is too
}

// A Change is one alert that was raised or cleared.
type Change struct {
	Alert
	Cleared bool      `json:"cleared,omitempty"`
	At      time.Time `json:"at"`
}

type name struct {
	Code    Code
	Subject string
}

func (r Reading) name() name { return name{r.Code, r.Subject} }
func (a Alert) name() name   { return name{a.Code, a.Subject} }

// A dwell is how long a level must last before it counts.
type dwell struct{ raise, clear time.Duration }

// dwells of the codes; others change at once.
var dwells = map[Code]dwell{
	Undelivered:  {0, 30 * time.Second},
	Held:         {0, 30 * time.Second}, // released, tried, held again
	HeldReceived: {0, 30 * time.Second},
	Listener:     {15 * time.Second, 15 * time.Second}, // a listener is tried again every 5 s
	Untold:       {5 * time.Minute, 0},
}

// maxRecent is how many changes are remembered for people.
const maxRecent = 50

// A State is what is raised and what is still to be told. It is stored.
type State struct {
	Version int      `json:"version"` // 1
	Active  []Alert  `json:"active,omitempty"`
	Recent  []Change `json:"recent,omitempty"` // the newest first
	Outbox  []Notice `json:"outbox,omitempty"` // the oldest first
	Limits  Limits   `json:"limits"`
	Next    int64    `json:"next"` // number of the next notice
}

// waiting is since when a reading is on its way to another state. It is memory:
// after a restart the dwell begins anew.
type waiting map[name]time.Time

// Step takes what was read and says what changed. An alert whose reading is gone
// (its connection is no longer configured) is cleared.
func (s *State) Step(now time.Time, w waiting, readings []Reading) []Change {
	var changes []Change
	seen := map[name]bool{}
	for _, r := range readings {
		n := r.name()
		seen[n] = true
		i := s.find(n)
		if i >= 0 && r.Level == Bad {
			s.Active[i].Args, s.Active[i].Why = r.Args, r.Why
		}
		due := dwells[r.Code].raise
		if i >= 0 {
			due = dwells[r.Code].clear
		}
		if (i < 0) != (r.Level == Bad) || r.Level == Between {
			delete(w, n)
			continue
		}
		since, ok := w[n]
		if !ok || since.After(now) {
			since = now
			w[n] = now
		}
		if now.Sub(since) < due {
			continue
		}
		delete(w, n)
		if i >= 0 {
			changes = append(changes, s.clear(i, now))
			continue
		}
		a := Alert{Code: r.Code, Subject: r.Subject, Args: r.Args, Why: r.Why, Since: now}
		s.Active = append(s.Active, a)
		changes = append(changes, Change{Alert: a, At: now})
	}
	for i := len(s.Active) - 1; i >= 0; i-- {
		if !seen[s.Active[i].name()] {
			changes = append(changes, s.clear(i, now))
		}
	}
	for n := range w {
		if !seen[n] {
			delete(w, n)
		}
	}
	for _, c := range changes {
		s.Recent = slices.Insert(s.Recent, 0, c)
	}
	s.Recent = s.Recent[:min(len(s.Recent), maxRecent)]
	return changes
}

func (s *State) find(n name) int {
	return slices.IndexFunc(s.Active, func(a Alert) bool { return a.name() == n })
}

func (s *State) clear(i int, now time.Time) Change {
	c := Change{Alert: s.Active[i], Cleared: true, At: now}
	s.Active = slices.Delete(s.Active, i, i+1)
	return c
}

// sorted are the alerts, the newest first.
func sorted(active []Alert) []Alert {
	l := slices.Clone(active)
	slices.SortStableFunc(l, func(a, b Alert) int {
		return cmp.Or(b.Since.Compare(a.Since), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Subject, b.Subject))
	})
	return l
}
