package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/dgraph-io/ristretto/v2/z"
)

// Badger 4.9.6 passes over a table that a compaction could not write, an fsync
// that failed for one, and removes those that it was made of (levels.go,
// subcompact: `defer inflightBuilders.Done(err)` keeps the nil; it truncates them
// too, so that no link would keep them). What it leaves behind is the file, which is
// no table of the store, with all its content. So what such a file holds and the
// store has not is put back. A compaction that is still at work, or was when the
// process was killed, leaves such files too: of those nothing is missing.

const (
	leftoverInterval = 10 * time.Second
	leftoverAge      = time.Minute // a compaction mostly names its tables long before
)

// watchTables looks for tables that a compaction left behind.
func (s *Store) watchTables(ctx context.Context) {
	t := time.NewTicker(leftoverInterval)
	defer t.Stop()
	known := map[string]bool{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			s.leftovers(ctx, time.Now().Add(-leftoverAge), known)
		}
	}
}

// leftovers puts back what is in files of tables that were last written before a
// time and are no tables of the store, each once.
func (s *Store) leftovers(ctx context.Context, before time.Time, known map[string]bool) {
	files, err := filepath.Glob(filepath.Join(s.storeDir(), "*.sst"))
	if err != nil {
		return
	}
	tables := s.tables()
	for _, path := range files {
		info, err := os.Stat(path)
		if err != nil || known[path] || slices.Contains(tables, path) || !info.ModTime().Before(before) {
			continue
		}
		known[path] = true
		s.leftover(ctx, path, true)
	}
}

// asideAtOpen links files that are no tables of the store, before Badger removes
// them.
func (s *Store) asideAtOpen(dir string, tables []string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || s.o.ReadOnly {
		return err
	}
	to := filepath.Join(s.o.Dir, leftoverDir)
	for _, path := range files {
		if slices.Contains(tables, path) {
			continue
		}
		if err := os.MkdirAll(to, 0o700); err != nil {
			return err
		}
		if err := os.Link(path, filepath.Join(to, filepath.Base(path))); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// leftoverDir holds the links until they are looked at.
const leftoverDir = "leftover"

// leftAtOpen puts back what is in the files that were left aside, and lets go of them.
func (s *Store) leftAtOpen(ctx context.Context) {
	files, err := filepath.Glob(filepath.Join(s.o.Dir, leftoverDir, "*.sst"))
	if err != nil {
		return
	}
	for _, path := range files {
		if s.leftover(ctx, path, false); ctx.Err() != nil || s.hasFailed() {
			return
		}
		if err := os.Remove(path); err != nil {
			s.o.Log.Error("storage: a link stays", "path", path, "error", reason(err))
		}
	}
}

// leftover puts back what one file holds and the store has not. One that cannot be
// read is an alarm where nothing else explains it: a kill leaves such files too.
func (s *Store) leftover(ctx context.Context, path string, strange bool) {
	v, err := s.look()
	if err != nil {
		return
	}
	defer v.close()
	r := &repairs{s: s, ctx: ctx, b: new(Batch)}
	err = readTable(path, func(key []byte, version uint64, record []byte) {
		if ctx.Err() != nil || r.err != nil || !wellFormed(key) || v.newest(key) >= version {
			return
		}
		r.at = version
		r.byCursor = true
		r.add(key, record)
	})
	r.flush()
	if r.n == 0 && (err == nil || !strange || s.settled(path)) {
		return
	}
	words := fmt.Sprintf("a compaction could not write a table: %d records were put back from what it left behind", r.n)
	if err = errors.Join(err, r.err); err != nil {
		words = "a compaction could not write a table, and what it was made of is gone: run a scrub, and restore what it names"
	}
	s.alarm(words, "store/"+filepath.Base(path))
	s.keepAside(path)
}

// settled says that a file is a table of the store, or gone: it was still being
// written, and has been named since.
func (s *Store) settled(path string) bool {
	_, err := os.Stat(path)
	return err != nil || slices.Contains(s.tables(), path)
}

// newest gives the version of the newest entry of a key, a removal too; 0: none.
func (v *view) newest(key []byte) uint64 {
	it := v.txn.NewKeyIterator(key, badger.IteratorOptions{AllVersions: true})
	defer it.Close()
	if it.Rewind(); it.Valid() {
		return it.Item().Version()
	}
	return 0
}

// readTable gives the newest entry of every key of a table; record nil: it was
// removed. What cannot be read is passed over, and is an error in the end.
func readTable(path string, f func(key []byte, version uint64, record []byte)) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	mapped, err := z.OpenMmapFileUsing(file, int(info.Size()), false)
	if err != nil {
		return err
	}
	defer z.Munmap(mapped.Data)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil { // of Badger's code, for some damages
			err = errTable
		}
	}()
	t, err := table.OpenTable(mapped, table.Options{ChkMode: options.OnBlockRead, BlockSize: 4 << 10})
	if err != nil {
		return errIndex
	}
	it := t.NewIterator(table.NOCACHE)
	defer it.Close()
	var last []byte
	for it.Rewind(); it.Valid(); it.Next() {
		key := slices.Clone(y.ParseKey(it.Key()))
		if slices.Equal(key, last) {
			continue // an older version
		}
		last = key
		const removed = 1 // Badger's bitDelete
		value := it.ValueCopy()
		record := value.Value
		if value.Meta&removed != 0 {
			record = nil
		}
		f(key, y.ParseTs(it.Key()), slices.Clone(record))
	}
	return nil
}
