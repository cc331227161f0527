package run

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"nhip/gateway/config"
	"nhip/gateway/intake"
	"nhip/gateway/reason"
)

// A refusal is one kind of refusal of one peer, however often it came.
type refusal struct {
	config.Stranger
	Wanted      reason.Reason
	Count       int64
	First, Last time.Time
}

const maxRefusals = 200 // peers remembered; the oldest is forgotten first

// strangers counts what was refused and remembers by whom, so that a person
// can admit it. It is memory; only the number is stored.
type strangers struct {
	in  *intake.Intake
	log *slog.Logger

	mu     sync.Mutex
	known  map[config.Stranger]*refusal
	unsent int64 // counted here, not in the store yet
}

func newStrangers(in *intake.Intake, log *slog.Logger) *strangers {
	return &strangers{in: in, log: log, known: map[config.Stranger]*refusal{}}
}

// refused notes one refusal.
func (s *strangers) refused(who config.Stranger, wanted reason.Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsent++
	now := time.Now()
	r := s.known[who]
	if r == nil {
		if len(s.known) >= maxRefusals {
			oldest := now
			var which config.Stranger
			for k, v := range s.known {
				if v.Last.Before(oldest) {
					oldest, which = v.Last, k
				}
			}
			delete(s.known, which)
		}
		r = &refusal{Stranger: who, First: now}
		s.known[who] = r
		s.log.Warn("stranger refused", "kind", who.Kind, "address", who.Address, "wanted", wanted)
	}
	r.Wanted, r.Last = wanted, now
	r.Count++
}

// count adds a refusal of a known peer's message.
func (s *strangers) count() {
	s.mu.Lock()
	s.unsent++
	s.mu.Unlock()
}

// list is what is remembered, the newest first.
func (s *strangers) list() []refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	var l []refusal
	for _, r := range s.known {
		l = append(l, *r)
	}
	slices.SortFunc(l, func(a, b refusal) int { return b.Last.Compare(a.Last) })
	return l
}

// store adds what was counted to the store's counter every second, so that a
// flood of refusals costs one commit a second.
func (s *strangers) store(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			s.flush()
			return
		case <-t.C:
			s.flush()
		}
	}
}

func (s *strangers) flush() {
	s.mu.Lock()
	n := s.unsent
	s.unsent = 0
	s.mu.Unlock()
	if n == 0 {
		return
	}
	if err := s.in.Refused(context.Background(), n); err != nil {
		s.log.Error("refusals could not be counted", "error", err)
	}
}
