package storage

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Badger 4.9.6 passes over a table that a compaction could not write, an fsync
// that failed for one, and removes those that it was made of (see closeBadger).
// What it leaves behind is the file, which is no table of the store. So such a
// file is an alarm, and is kept: most of what was lost is in it.

const (
	leftoverInterval = 10 * time.Second
	leftoverAge      = time.Minute // a compaction names its tables long before
)

// watchTables looks for tables that a compaction left behind.
func (s *Store) watchTables(ctx context.Context) {
	t := time.NewTicker(leftoverInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			s.leftovers(time.Now().Add(-leftoverAge))
		}
	}
}

// leftovers raises an alarm for every file of a table that was last written
// before a time and is no table of the store.
func (s *Store) leftovers(before time.Time) {
	files, err := filepath.Glob(filepath.Join(s.storeDir(), "*.sst"))
	if err != nil {
		return
	}
	tables := s.tables()
	for _, path := range files {
		info, err := os.Stat(path)
		if err != nil || slices.Contains(tables, path) || !info.ModTime().Before(before) {
			continue
		}
		s.alarm("a compaction could not write a table, and what it was made of is gone: run a scrub, and restore what it names", "store/"+filepath.Base(path))
		s.keepAside(path)
	}
}
