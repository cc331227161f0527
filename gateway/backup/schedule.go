package backup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"nhip/storage"
)

// A Schedule makes backups of a running gateway and keeps the newest.
type Schedule struct {
	Store          *storage.Store
	Site           string
	To             string // a folder that is there
	Every          time.Duration
	Keep           int
	PassphraseFile string
	Log            *slog.Logger

	mu    sync.Mutex
	state State
}

// A State is how the backups do.
type State struct {
	Last   time.Time // the newest that is there; zero: none
	Failed string    // why the last try failed; empty: it did not
}

// Overdue reports whether a backup is missing: the last try has failed, and the
// newest is older than twice the time between two.
func (s *Schedule) Overdue(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.Failed != "" && now.Sub(s.state.Last) > 2*s.Every
}

// State says how the backups do.
func (s *Schedule) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// again is how long after a failure the next try is, at most.
const again = 15 * time.Minute

// Run makes a backup whenever the newest in the folder is as old as Every says,
// until ctx ends. One that fails is told, and tried again.
func (s *Schedule) Run(ctx context.Context) error {
	for {
		now := time.Now()
		last, err := s.newest()
		wait := s.Every - now.Sub(last)
		switch {
		case err != nil:
			wait = s.failed(err)
		case wait <= 0 || last.After(now):
			if wait, err = s.Every, s.once(ctx, now); err != nil {
				wait = s.failed(err)
			} else {
				last = now
			}
		}
		s.mu.Lock()
		s.state.Last = last
		s.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

func (s *Schedule) failed(err error) time.Duration {
	s.Log.Error("no backup was made", "to", s.To, "error", err)
	s.mu.Lock()
	s.state.Failed = err.Error()
	s.mu.Unlock()
	return min(s.Every, again)
}

// once makes one and removes what is too many.
func (s *Schedule) once(ctx context.Context, now time.Time) error {
	passphrase, err := Passphrase(s.PassphraseFile)
	if err != nil {
		return err
	}
	r, err := Write(ctx, s.Store, s.Site, s.To, passphrase, now)
	if err != nil {
		return err
	}
	s.Log.Info("backup made", "file", r.File, "commit", r.Mark.Commit, "entries", r.Count.Entries, "objects", r.Count.Objects, "bytes", r.Bytes)
	s.mu.Lock()
	s.state.Failed = ""
	if r.Count.Problems > 0 {
		s.state.Failed = fmt.Sprintf("the backup lacks %d records or objects that are damaged in the store", r.Count.Problems)
	}
	s.mu.Unlock()
	if r.Count.Problems > 0 {
		return nil // the older ones may hold what this one lacks
	}
	return s.prune()
}

// backups lists those of this site, the oldest first.
func (s *Schedule) backups() (names []string, err error) {
	info, err := os.Stat(s.To)
	if err == nil && !info.IsDir() {
		err = errors.New("it is no folder")
	}
	if err != nil {
		return nil, fmt.Errorf("the folder for backups: %w", err)
	}
	entries, err := os.ReadDir(s.To)
	if err != nil {
		return nil, fmt.Errorf("the folder for backups: %w", err)
	}
	for _, e := range entries {
		if _, ok := made(s.Site, e.Name()); ok {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		x, _ := made(s.Site, a)
		y, _ := made(s.Site, b)
		return x.Compare(y)
	})
	return names, nil
}

func (s *Schedule) newest() (time.Time, error) {
	names, err := s.backups()
	if err != nil || len(names) == 0 {
		return time.Time{}, err
	}
	at, _ := made(s.Site, names[len(names)-1])
	return at, nil
}

// prune removes the oldest. Files of other names are nobody's business here.
func (s *Schedule) prune() error {
	names, err := s.backups()
	for ; err == nil && len(names) > s.Keep; names = names[1:] {
		err = os.Remove(filepath.Join(s.To, names[0]))
	}
	return err
}
