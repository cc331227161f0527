package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Badger writes its files through mappings, and a mapped page that finds no block
// when it is written is SIGBUS. Its write-ahead logs are made without blocks. But
// it takes a file over that is there already and empty, and extends it: so the next
// one is made before Badger needs it, empty, with all the blocks that are ever
// written. Where there are none the committer waits, and nothing is lost. A table
// is made with O_EXCL: for those the guard keeps room, and nothing else can.

// memReserve is how much of a write-ahead log is ever written: Badger begins a new
// one at the first transaction behind memTable.
const memReserve = memTable + transactionRoom

// roomInterval is how often a write-ahead log that has no room looks for some.
const roomInterval = 100 * time.Millisecond

// A nextLog is the write-ahead log that Badger begins next.
type nextLog struct {
	path   string // empty: not made yet
	logged int    // what is in the one before and in its memtable, at most
	last   int    // of that the last commit
}

// entryCost is what an entry takes beside its key and its value, at most: a node of
// the skip list, and the version behind the key.
const entryCost = 120

// ahead makes sure, before a commit of so many bytes, that the next write-ahead log
// is there where that commit may be the one that begins it: Badger begins one where
// the last is full, before it writes.
func (s *Store) ahead(l *nextLog, bytes int) error {
	full := l.logged >= memTable-transactionRoom/4
	before := l.last
	l.last = bytes + entryCost
	l.logged += l.last
	if l.path != "" {
		if info, err := os.Stat(l.path); err == nil && info.Size() == 0 {
			return nil // Badger has not taken it yet
		}
		*l, full = nextLog{logged: before + l.last, last: l.last}, false // the last commit began it
	}
	if !full {
		return nil
	}
	newest, err := s.newestLog()
	if err != nil {
		return err
	}
	path := filepath.Join(s.storeDir(), fmt.Sprintf("%05d.mem", newest+1))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := s.reserve(f, memReserve); err != nil {
		return err
	}
	l.path = path
	return nil
}

// newestLog gives the number of the newest write-ahead log.
func (s *Store) newestLog() (newest int, err error) {
	paths, err := filepath.Glob(filepath.Join(s.storeDir(), "*.mem"))
	for _, path := range paths {
		n := 0
		if _, err := fmt.Sscanf(filepath.Base(path), "%d.mem", &n); err == nil {
			newest = max(newest, n)
		}
	}
	return newest, err
}

// firstLog gives the write-ahead log that Open made its blocks.
func (s *Store) firstLog() error {
	newest, err := s.newestLog()
	if err != nil || newest == 0 {
		return err
	}
	f, err := os.OpenFile(filepath.Join(s.storeDir(), fmt.Sprintf("%05d.mem", newest)), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return allocate(f, memReserve)
}

// reserve gives a file its blocks, and waits for room.
func (s *Store) reserve(f *os.File, size int64) error {
	told := false
	for {
		err := s.fault("reserve")
		if err == nil {
			err = allocate(f, size)
		}
		switch {
		case !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT):
			return err
		case !told:
			told = true
			s.o.Log.Error("the disk is full: the store waits for room", "bytes", size)
		}
		select {
		case <-s.closing:
			return err
		case <-time.After(roomInterval):
		}
	}
}

// What the tables may take of the memory of the process before they are let go of,
// and how often that is looked at. Pages that were read once count as memory of the
// process until the system needs them for somebody else.
const (
	mostMapped     = 64 << 20
	memoryInterval = time.Second
)

// watchMemory lets go of tables.
func (s *Store) watchMemory(ctx context.Context) {
	t := time.NewTicker(memoryInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if residentFiles() > mostMapped {
			letGo(s.storeDir())
		}
	}
}
