package run

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"nhip/gateway/reason"
)

// A state is how a connection or listener does, for people.
type state struct {
	Name, Kind string
	State      string // a code of the console's table
	Words      string // particulars: the peer or address
	Why        reason.Reason
	Since      time.Time
	Last       time.Time // when something last came
	Before     string    // who brought something before this start
	Messages   int64
	Drift      *time.Duration // of its clock; nil: it told no time

	Note    reason.Reason // what is wrong with its messages, which are taken all the same
	Noted   time.Time     // when it was so last
	Charset int64         // messages whose bytes disagreed with their declaration

	traffic traffic // of the newest connection
}

// noteFor is how long what is wrong with messages is shown after it came last.
const noteFor = 24 * time.Hour

// states are the states of all connections and listeners.
type states struct {
	mu     sync.Mutex
	byName map[string]*state
	drifts map[string]*drift
	listen map[string][]string      // listener -> real addresses
	closed map[string]reason.Reason // listener -> why it is not open
}

func newStates() *states {
	return &states{byName: map[string]*state{}, drifts: map[string]*drift{}, listen: map[string][]string{}, closed: map[string]reason.Reason{}}
}

// set changes the state of a connection; the time of the change is kept when
// the state stays the same.
func (s *states) set(name, kind, code, words string) {
	s.change(name, kind, code, words, reason.Reason{})
}

// fail is set for a state that has a reason.
func (s *states) fail(name, kind, code string, why reason.Reason) {
	s.change(name, kind, code, "", why)
}

func (s *states) change(name, kind, code, words string, why reason.Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.get(name, kind)
	if st.State != code {
		st.Since = time.Now()
	}
	st.State, st.Words, st.Why = code, words, why
	if code == "connected" {
		st.traffic = traffic{since: time.Now()}
	}
}

// heard notes when something last came before this start, and from where.
func (s *states) heard(name, kind string, at time.Time, peer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.get(name, kind)
	st.Last, st.Before = at, peer
}

// seen notes that a connection brought something.
func (s *states) seen(name, kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.get(name, kind)
	st.Last = time.Now()
	st.Messages++
}

// disagreed notes that the bytes of a message and its character set disagree, and
// says whether that is news.
func (s *states) disagreed(name, kind string, why reason.Reason) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.get(name, kind)
	news = st.Note.String() != why.String() || time.Since(st.Noted) > noteFor
	st.Note, st.Noted = why, time.Now()
	st.Charset++
	return news
}

// told notes the time that a message has by its device's clock, and by ours.
func (s *states) told(name string, received, device time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drifts[name] == nil {
		s.drifts[name] = new(drift)
	}
	s.drifts[name].told(device.Sub(received))
}

func (s *states) get(name, kind string) *state {
	st := s.byName[name]
	if st == nil {
		st = &state{Name: name, Kind: kind, State: "waiting", Since: time.Now()}
		s.byName[name] = st
	}
	return st
}

// opened and failed say how a listener does.
func (s *states) opened(listener string, addresses []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.closed, listener)
	s.listen[listener] = addresses
}

func (s *states) failed(listener string, why reason.Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listen, listener)
	s.closed[listener] = why
}

func (s *states) list() []state {
	s.mu.Lock()
	defer s.mu.Unlock()
	var l []state
	for _, st := range s.byName {
		x := *st
		x.Drift = s.drifts[st.Name].median()
		l = append(l, x)
	}
	slices.SortFunc(l, func(a, b state) int {
		if c := strings.Compare(a.Kind, b.Kind); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return l
}

func (s *states) addresses(listener string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.listen[listener])
}

// problems are the listeners that are not open, and why.
func (s *states) problems() map[string]reason.Reason {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.closed)
}

// listeners are all of them, open or not.
func (s *states) listeners() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := map[string]bool{}
	for n := range s.listen {
		names[n] = true
	}
	for n := range s.closed {
		names[n] = true
	}
	return slices.Sorted(maps.Keys(names))
}
