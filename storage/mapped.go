package storage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/ristretto/v2/z"
)

// Badger writes its files through mappings, which it makes in ristretto/v2/z. Two
// things go wrong there, and a third is dear; storage/ristretto is a copy of that
// module which lets us in between, see its README:
//
//   - A new file has no blocks until it is written to. Where the disk is full just
//     then the process dies (SIGBUS). So every new file is given its blocks before it
//     is mapped, and where there are none Badger waits for them, not the kernel.
//
//   - Badger 4.9.6 passes over a table that a compaction could not write, an fsync
//     that failed for one, and removes those that it was made of (levels.go,
//     subcompact: `defer inflightBuilders.Done(err)` keeps the nil). So whoever was
//     to hear of such an error never does: the store has failed, and the process
//     ends while everything that the table was made of is still there.
//
//   - Pages of tables that were read once count as memory of the process until the
//     system needs them for somebody else. So they are let go of.

// A memReserve is how much of a write-ahead log is ever written: Badger begins a
// new one at the first transaction behind memTable.
const memReserve = memTable + transactionRoom

// roomInterval is how often a file that has no room looks for some.
const roomInterval = 100 * time.Millisecond

// openDB opens Badger as the owner of its files. It returns early where a file
// could not be written meanwhile.
func (s *Store) openDB(dir string) (db *badger.DB, err error) {
	z.Own(dir, z.Owner{Reserve: s.reserve, Failed: s.fileFailed})
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		db, err = badger.OpenManaged(s.settings(dir))
	}()
	select {
	case <-opened:
	case <-s.failed:
		return nil, ErrFailed
	}
	if err != nil {
		z.Disown(dir)
		return nil, err
	}
	s.opened.Store(true)
	return db, nil
}

// closeDB closes Badger, but not after a failure: Close flushes and may try for
// ever. The process ends without it, as a kill would end it, and the next Open
// reads the write-ahead log; so it does where there is no room for a table. With
// faults that a test injects Badger itself is whole, and lets go of its files.
func (s *Store) closeDB() error {
	failed := s.failed
	if s.hasFailed() {
		if s.o.Fault == nil {
			return nil
		}
		failed = nil
	}
	closed := make(chan error, 1)
	go func() { closed <- s.db.Close() }()
	select {
	case err := <-closed:
		z.Disown(s.storeDir())
		return err
	case <-failed:
		return ErrFailed
	case <-s.stuck:
		s.o.Log.Warn("a table could not be written: the store is not closed in order")
		return nil
	}
}

// reserve gives a file that Badger is about to map its blocks, and waits for room.
func (s *Store) reserve(f *os.File, size int64) error {
	if filepath.Ext(f.Name()) == ".mem" {
		size = min(size, memReserve)
	}
	var waiting time.Time
	for {
		err := s.fault("reserve" + filepath.Ext(f.Name()))
		if err == nil {
			err = allocate(f, size)
		}
		switch {
		case err == nil:
			s.reserveManifest(filepath.Dir(f.Name()))
			return nil
		case !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT):
			return err
		case waiting.IsZero():
			waiting = time.Now()
			s.o.Log.Error("the disk is full: the store waits for room", "bytes", size)
		case !s.opened.Load() && time.Since(waiting) > startPatience:
			return err
		}
		select {
		case <-s.closing:
			return err
		case <-time.After(roomInterval):
		}
	}
}

// manifestReserve is room for the manifest to grow: about 500 changes.
const manifestReserve = 64 << 10

// reserveManifest keeps room behind the end of the manifest. Where there is none
// the next change of it fails, and is taken back.
func (s *Store) reserveManifest(dir string) {
	f, err := os.OpenFile(filepath.Join(dir, badger.ManifestFilename), os.O_WRONLY, 0)
	if err != nil {
		return // Open has not made it yet
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil {
		_ = allocate(f, info.Size()+manifestReserve)
	}
}

// fileFailed hears of a file that could not be made or brought to the disk, before
// Badger does. What it does with an error of a write-ahead log is right: the commit
// fails. Of one of a table it never hears.
func (s *Store) fileFailed(name string, err error) {
	if filepath.Ext(name) == ".mem" {
		return
	}
	table := filepath.Ext(name) == ".sst"
	if !table || !errors.Is(err, syscall.ENOSPC) || !s.isClosing() {
		s.fail("store/"+filepath.Base(name)+" could not be written", err)
	}
	if table {
		s.stuckOnce.Do(func() { close(s.stuck) })
		select {} // until the process ends
	}
}

func (s *Store) isClosing() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

// What the tables may take of the memory of the process before they are let go of,
// and how often that is looked at.
const (
	mostMapped     = 64 << 20
	memoryInterval = time.Second
)

// watchMemory lets go of tables. Reading on costs a fault for every few pages.
func (s *Store) watchMemory(ctx context.Context) {
	t := time.NewTicker(memoryInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if residentFiles() < mostMapped {
			continue
		}
		if err := z.LetGo(s.storeDir(), ".sst"); err != nil {
			s.o.Log.Error("the tables stay in memory", "error", reason(err))
			return
		}
	}
}
