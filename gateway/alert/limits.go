package alert

import (
	"fmt"
	"slices"
	"time"
)

// A Kind of notice.
const (
	Raised  = "raised"
	Cleared = "cleared"
	Summary = "summary" // of what was not told one by one
)

// A Notice is one message to people. Its ID stays the same over repeats.
type Notice struct {
	ID         string    `json:"id"`
	Kind       string    `json:"kind"`
	At         time.Time `json:"at"`
	Alert      Alert     `json:"alert,omitzero"`       // raised or cleared
	Active     []Alert   `json:"active,omitempty"`     // what is raised now; of a summary
	Suppressed int       `json:"suppressed,omitempty"` // changes that were not told; of a summary
	For        []string  `json:"for,omitempty"`        // the channels that have not told it yet
}

// A Policy bounds how much is told.
type Policy struct {
	Again   time.Duration // one alert is told again no sooner; a summary comes so long after the first that was not told
	PerHour int           // notices, over all alerts
}

// maxOutbox bounds what waits to be told; the oldest is dropped and counted.
const maxOutbox = 100

// Limits are what was told when.
type Limits struct {
	Told       []told      `json:"told,omitempty"` // when the raising of an alert was last told
	Hour       []time.Time `json:"hour,omitempty"` // notices of the last hour
	Suppressed int         `json:"suppressed,omitempty"`
	Since      time.Time   `json:"since,omitzero"` // the first of the suppressed
}

type told struct {
	Code    Code      `json:"code"`
	Subject string    `json:"subject,omitempty"`
	At      time.Time `json:"at"`
}

// Tell turns the changes into notices for the channels, as far as the policy
// lets, and adds the summary when it is due. It reports whether the state has
// changed.
func (s *State) Tell(now time.Time, p Policy, site string, changes []Change, channels []string) bool {
	if len(channels) == 0 {
		return len(changes) > 0
	}
	s.Limits.forget(now, p)
	for _, c := range changes {
		switch {
		case c.Cleared && !c.Told: // nobody was told of it
			s.suppress(now)
		case len(s.Limits.Hour) >= p.PerHour, !c.Cleared && s.Limits.toldOf(c.name()):
			s.suppress(now)
		case c.Cleared:
			s.post(now, site, Notice{Kind: Cleared, Alert: c.Alert}, channels)
		default:
			s.toldNow(c.name(), now)
			s.post(now, site, Notice{Kind: Raised, Alert: c.Alert}, channels)
		}
	}
	if s.Limits.Suppressed == 0 || now.Sub(s.Limits.Since) < p.Again && !s.Limits.Since.After(now) {
		return len(changes) > 0
	}
	n := Notice{Kind: Summary, Suppressed: s.Limits.Suppressed, Active: sorted(s.Active)}
	s.Limits.Suppressed, s.Limits.Since = 0, time.Time{}
	for _, a := range n.Active {
		s.toldNow(a.name(), now)
	}
	s.post(now, site, n, channels)
	return true
}

func (s *State) suppress(now time.Time) {
	if s.Limits.Suppressed == 0 {
		s.Limits.Since = now
	}
	s.Limits.Suppressed++
}

// toldNow notes that people know that the alert is raised.
func (s *State) toldNow(n name, now time.Time) {
	if i := s.find(n); i >= 0 {
		s.Active[i].Told = true
	}
	s.Limits.Told = append(s.Limits.Told, told{n.Code, n.Subject, now})
}

func (s *State) post(now time.Time, site string, n Notice, channels []string) {
	s.Next++
	n.ID, n.At, n.For = fmt.Sprintf("%s-%d-%d", site, now.UnixMilli(), s.Next), now, slices.Clone(channels)
	if n.Kind != Summary {
		s.Limits.Hour = append(s.Limits.Hour, now)
	}
	s.Outbox = append(s.Outbox, n)
	if len(s.Outbox) > maxOutbox {
		s.Outbox = slices.Delete(s.Outbox, 0, 1)
		s.suppress(now)
	}
}

// Sent notes that a channel has told a notice.
func (s *State) Sent(channel, id string) {
	for i, n := range s.Outbox {
		if n.ID != id {
			continue
		}
		n.For = slices.DeleteFunc(slices.Clone(n.For), func(c string) bool { return c == channel })
		s.Outbox[i] = n
		if len(n.For) == 0 {
			s.Outbox = slices.Delete(s.Outbox, i, i+1)
		}
		return
	}
}

// next is the oldest notice that a channel has not told.
func (s *State) next(channel string) (Notice, bool) {
	for _, n := range s.Outbox {
		if slices.Contains(n.For, channel) {
			return n, true
		}
	}
	return Notice{}, false
}

// forChannels drops what waits for channels that are no longer configured.
func (s *State) forChannels(channels []string) {
	for i := range s.Outbox {
		s.Outbox[i].For = slices.DeleteFunc(s.Outbox[i].For, func(c string) bool { return !slices.Contains(channels, c) })
	}
	s.Outbox = slices.DeleteFunc(s.Outbox, func(n Notice) bool { return len(n.For) == 0 })
}

// forget drops what no longer limits, and what is from a clock that was ahead.
func (l *Limits) forget(now time.Time, p Policy) {
	old := func(t time.Time, d time.Duration) bool { return t.After(now) || now.Sub(t) >= d }
	l.Told = slices.DeleteFunc(l.Told, func(t told) bool { return old(t.At, p.Again) })
	l.Hour = slices.DeleteFunc(l.Hour, func(t time.Time) bool { return old(t, time.Hour) })
}

func (l *Limits) toldOf(n name) bool {
	return slices.ContainsFunc(l.Told, func(t told) bool { return t.Code == n.Code && t.Subject == n.Subject })
}
