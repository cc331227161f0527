package storage

import (
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A mapped page without a block is SIGBUS when it is written.
func TestTheFilesOfTheStoreHaveTheirBlocksBeforeTheyAreWritten(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	if residentFiles() == 0 {
		t.Skip("no blocks are reserved here")
	}
	logs, err := filepath.Glob(filepath.Join(s.storeDir(), "*.mem"))
	if err != nil || len(logs) != 1 {
		t.Fatal(logs, err)
	}
	if n := allocated(logs[0]); n < memReserve {
		t.Errorf("the write-ahead log has %d bytes of blocks, and up to %d are written", n, memReserve)
	}
}

// fillTables commits entries of a channel until f says that it is enough.
func fillTables(t *testing.T, s *Store, f func(n int) bool) (entries int) {
	t.Helper()
	value := make([]byte, 200<<10)
	for !f(entries) {
		commit(t, s, func(b *Batch) {
			for i := range value[:100] {
				value[i] = byte(entries >> (i % 8))
			}
			for range 5 {
				b.Append("big", value)
			}
		})
		entries += 5
	}
	return entries
}

func TestAStoreThatFindsNoBlocksWaitsForThem(t *testing.T) {
	var full atomic.Bool
	waits := make(chan struct{})
	s := open(t, Options{Dir: t.TempDir(), Fault: func(step string) error {
		if full.Load() && strings.HasPrefix(step, "reserve") {
			select {
			case waits <- struct{}{}:
			default:
			}
			return syscall.ENOSPC
		}
		return nil
	}})
	full.Store(true)
	committed := make(chan int)
	go func() {
		committed <- fillTables(t, s, func(n int) bool { return n >= 3*memTable/(200<<10) })
	}()
	<-waits
	select {
	case <-committed:
		t.Error("more was committed than there is room for")
	case <-s.Failed():
		t.Error("the store has failed")
	case <-waits: // it still does
	}
	full.Store(false)
	n := <-committed
	if last := s.Last("big"); last != uint64(n) {
		t.Errorf("%d entries of %d", last, n)
	}
	if _, err := s.Scrub(t.Context()); err != nil {
		t.Error(err)
	}
	mustNotAlarm(t, s)
}

// Badger alone would remove what the table was to be made of.
func TestATableThatACompactionCannotWriteLosesNothing(t *testing.T) {
	var failed atomic.Bool
	dir := t.TempDir()
	s, err := Open(t.Context(), Options{Dir: dir, Fault: func(step string) error {
		if step == "reserve.sst" && strings.Contains(string(debug.Stack()), "subcompact") && failed.CompareAndSwap(false, true) {
			return syscall.EIO
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	value := make([]byte, 200<<10)
	for deadline := time.Now().Add(time.Minute); !failed.Load(); n += 5 {
		if time.Now().After(deadline) {
			t.Fatal("no compaction has begun")
		}
		b := new(Batch)
		for range 5 {
			b.Append("big", value)
		}
		if _, err := s.Commit(t.Context(), b); errors.Is(err, ErrFailed) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	<-s.Failed()
	if err := s.Close(); err != nil && !errors.Is(err, ErrFailed) {
		t.Error(err)
	}
	again := open(t, Options{Dir: settled(t, dir)})
	if last := again.Last("big"); last < uint64(n) {
		t.Errorf("%d entries of %d that were acknowledged", last, n)
	}
	if found, err := again.Scrub(t.Context()); err != nil || len(found) > 0 {
		t.Error(found, err)
	}
}

// settled copies a data directory that a process is still about to leave.
func settled(t *testing.T, dir string) string {
	t.Helper()
	names := func() (names []string) {
		entries, err := os.ReadDir(filepath.Join(dir, "store"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	for {
		before := names()
		to, err := copyAll(t.TempDir(), dir)
		if err == nil && slices.Equal(before, names()) {
			return to
		}
	}
}
