package storage

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/dgraph-io/badger/v4"

	"nhip/storage/diskguard"
)

// The store lies in mapped files: where the disk is full when the system has to
// find a block for a table, the process dies (SIGBUS; write-ahead logs have their
// blocks, see mapped.go). So a guard knows the free space before every batch, and
// what Badger may write by itself at any moment stays free: the next write-ahead
// log, the flush of the memtables, a compaction, one transaction.

// ErrDiskFull says that the disk is too full for what was to be written. Nothing
// was.
var ErrDiskFull = diskguard.ErrFull

// startPatience is how long Open waits for room on a full disk.
const startPatience = 10 * time.Second

// transactionRoom is what one transaction and the beginning of a new write-ahead
// log take at most.
const transactionRoom = 4 << 20

// compactionRoom is what a compaction below the base level takes: a few tables
// of one level and what they overlap in the next.
const compactionRoom = 32 << 20

// Room returns nil where something of a class may be written now, else
// ErrDiskFull. It is to be asked before work is begun that a Commit of the class
// would refuse; a Commit asks by itself.
func (s *Store) Room(c diskguard.Class) error {
	if s.guard == nil {
		return nil
	}
	return s.guard.Room(c)
}

// Disk is what the guard knows; the zero Status where there is none.
func (s *Store) Disk() diskguard.Status {
	if s.guard == nil {
		return diskguard.Status{}
	}
	return s.guard.Status()
}

// For says what the batch is for: one of Results or Images is refused with
// ErrDiskFull while the disk is too full for it; one for Draining, which every
// batch is without this call, waits for room.
func (b *Batch) For(c diskguard.Class) { b.class = c }

// admit lets a batch in, or says why not.
func (s *Store) admit(ctx context.Context, c diskguard.Class) error {
	if s.guard == nil || s.guard.Room(c) == nil {
		return nil
	}
	if c != diskguard.Draining {
		return ErrDiskFull
	}
	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-wait.Done():
		case <-s.closing:
			cancel()
		case <-s.failed:
			cancel()
		}
	}()
	switch {
	case s.guard.Wait(wait, c) == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return s.ended()
}

// guardDisk starts the guard before anything is written. On a disk that is too
// full to open the store it gives up what it can, waits a while, and refuses.
func (s *Store) guardDisk(ctx context.Context, dir string) error {
	if s.o.Disk == nil || s.o.ReadOnly {
		return nil
	}
	s.guard = diskguard.New(diskguard.Options{
		Dir: s.o.Dir, Probe: s.o.Disk, Need: s.openingNeed(dir), Log: s.o.Log,
		Spare: []string{filepath.Join(s.o.Dir, "wal-copy")},
	})
	return s.guard.AtStart(ctx, startPatience)
}

// openingNeed is what opening writes: a write-ahead log is begun, those of an
// unclean stop become tables, one after the other, each of which gives the place of
// its log back, and a compaction may follow.
func (s *Store) openingNeed(dir string) uint64 {
	need := uint64(transactionRoom + memReserve)
	if allocated(filepath.Join(dir, "*.mem")) > 0 {
		need += memReserve
	}
	file, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if err != nil {
		return need // a new store
	}
	defer file.Close()
	m, _, err := badger.ReplayManifestFile(file, 0, s.settings(dir))
	if err != nil {
		return need // opening will say it
	}
	var first uint64
	if len(m.Levels) > 0 {
		first = uint64(len(m.Levels[0].Tables)) * memTable
	}
	return need + min(allocated(filepath.Join(dir, "*.sst")), first+compactionRoom)
}

// need is what Badger may write by itself from now on: the next write-ahead log,
// and the table of the one before, which gives its place back then.
func (s *Store) need() uint64 {
	var all, first, base uint64
	for _, l := range s.db.Levels() {
		size := uint64(l.Size)
		all += size
		switch {
		case l.Level == 0:
			first = size
		case base == 0:
			base = size
		}
	}
	return transactionRoom + 2*memReserve + min(all, first+base+compactionRoom)
}

// allocated is what the files of a pattern take of the disk.
func allocated(pattern string) (sum uint64) {
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return 0
	}
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil {
			sum += blocks(info)
		}
	}
	return sum
}

// needInterval is how often the guard is told what Badger needs, beside after
// every needBytes that were committed.
const (
	needInterval = time.Second
	needBytes    = 4 << 20
)

// watchDisk keeps the guard up to date.
func (s *Store) watchDisk(ctx context.Context) {
	t := time.NewTicker(needInterval)
	defer t.Stop()
	for {
		s.guard.SetNeed(s.need())
		s.guard.Check()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// spooled tells the guard of a write to the spool.
func (s *Store) spooled(bytes int) {
	if s.guard != nil {
		s.guard.Wrote(bytes)
	}
}

// wrote tells the guard of a commit.
func (c *committer) wrote(bytes int) {
	g := c.s.guard
	if g == nil {
		return
	}
	g.Wrote(bytes)
	if c.unguarded += bytes; c.unguarded >= needBytes {
		c.unguarded = 0
		g.SetNeed(c.s.need())
	}
}
