package storage

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

// Whoever of the callers of Commit gives up while others wait, and whenever the store is
// closed: each is told, and what was told to be stored is there.
func TestEveryCallerIsToldUntilTheStoreIsClosed(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	var told atomic.Uint64
	var callers sync.WaitGroup
	begun := make(chan struct{}, 1)
	for i := range 20 {
		callers.Go(func() {
			for {
				ctx, cancel := context.WithCancel(context.Background())
				if i%4 == 0 {
					go cancel() // before it stands in line, in it, or after
				}
				b := new(Batch)
				b.Append("c", []byte("x"))
				_, err := s.Commit(ctx, b)
				cancel()
				switch {
				case err == nil:
					if told.Add(1) == 100 {
						begun <- struct{}{}
					}
				case errors.Is(err, ErrClosed):
					return
				case !errors.Is(err, context.Canceled):
					t.Error(err)
					return
				}
			}
		})
	}
	<-begun
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	callers.Wait()
	if s, err = Open(t.Context(), Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Last("c") != told.Load() {
		t.Errorf("%d entries are stored, %d callers were told so", s.Last("c"), told.Load())
	}
}
