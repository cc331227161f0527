package storage

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
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

func TestTheNextLogHasItsBlocksBeforeItIsBegun(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	if residentFiles() == 0 {
		t.Skip("no blocks are reserved here")
	}
	fillTables(t, s, func(n int) bool {
		newest, err := s.newestLog()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(s.storeDir(), fmt.Sprintf("%05d.mem", newest))
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := allocated(path); n < memReserve {
			t.Fatalf("%s, of %d bytes, has %d bytes of blocks", path, info.Size(), n)
		}
		return newest > 3 && info.Size() > 0
	})
}

func TestAStoreThatFindsNoBlocksWaitsForThem(t *testing.T) {
	var full atomic.Bool
	waits := make(chan struct{})
	s := open(t, Options{Dir: t.TempDir(), Fault: func(step string) error {
		if full.Load() && step == "reserve" {
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
	if _, _, err := s.Get("anything"); err != nil {
		t.Error("reading waits too: ", err)
	}
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
	mustNotAlarm(t, s)
}
