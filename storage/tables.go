package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/ristretto/v2/z"
)

// Badger passes over a block that fails its checksum without a word: its keys
// are "not found", older versions of them show again, and the next compaction
// drops them for good. So every block of every table is verified when the store
// is opened, and again by Scrub. A damaged table is kept aside, by a link, for
// whoever has to recover from it.

// foreground is how much of the tables is verified before Open returns.
const foreground = 64 << 20

// tablesAtOpen verifies the tables before Badger sees them: the newest first,
// as far as the time of a start allows. The rest is left for later, except the
// index of each table, without which Badger does not open.
func (s *Store) tablesAtOpen(ctx context.Context, dir string) error {
	paths, err := s.manifest(dir)
	if err != nil {
		return err
	}
	var read int64
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("storage: store/%s: %s", filepath.Base(path), reason(err))
		}
		read += info.Size()
		whole := read <= foreground
		if !whole {
			s.later = append(s.later, path)
		}
		switch err := verifyTable(path, whole); {
		case errors.Is(err, errIndex):
			s.keepAside(path)
			return fmt.Errorf("storage: %s: the index or an end of store/%s is damaged; the store cannot be opened. Restore it from a backup; a copy of the table is in damaged/", s.o.Dir, filepath.Base(path))
		case err != nil:
			s.damagedTable(path)
		}
	}
	return nil
}

// manifest gives the tables that the store is made of, the newest first. Others
// are left from a kill, and Badger removes them: so where the manifest ends in
// the middle of a record all of them are kept aside before.
func (s *Store) manifest(dir string) (paths []string, err error) {
	file, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // a new store
	}
	if err != nil {
		return nil, fmt.Errorf("storage: the manifest: %s", reason(err))
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("storage: the manifest: %s", reason(err))
	}
	manifest, whole, err := badger.ReplayManifestFile(file, 0, s.settings(dir))
	if err != nil {
		return nil, fmt.Errorf("storage: %s: store/%s is damaged; the store cannot be opened. Restore it from a backup", s.o.Dir, badger.ManifestFilename)
	}
	if whole < info.Size() {
		s.alarm("the manifest ends in the middle of a record; every table is kept aside", "store/"+badger.ManifestFilename)
		all, _ := filepath.Glob(filepath.Join(dir, "*.sst"))
		for _, path := range all {
			s.keepAside(path)
		}
	}
	ids := slices.Sorted(maps.Keys(manifest.Tables))
	slices.Reverse(ids)
	for _, id := range ids {
		paths = append(paths, filepath.Join(dir, table.IDToFilename(id)))
	}
	return paths, nil
}

// verifyTables verifies tables of the open store. One that is compacted away
// meanwhile is none of it any more.
func (s *Store) verifyTables(ctx context.Context, paths []string) error {
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := verifyTable(path, true); err != nil && slices.Contains(s.tables(), path) {
			s.damagedTable(path)
		}
	}
	return nil
}

// tables gives the tables that the open store is made of.
func (s *Store) tables() (paths []string) {
	for _, t := range s.db.Tables() {
		paths = append(paths, filepath.Join(s.storeDir(), table.IDToFilename(t.ID)))
	}
	return paths
}

func (s *Store) damagedTable(path string) {
	s.wound("a table of the store is damaged: some of its keys cannot be found", "store/"+filepath.Base(path))
	s.keepAside(path)
}

func (s *Store) storeDir() string {
	if s.view != "" {
		return s.view
	}
	return filepath.Join(s.o.Dir, "store")
}

func (s *Store) keepAside(path string) {
	if s.o.ReadOnly {
		return
	}
	dir := filepath.Join(s.o.Dir, "damaged")
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = os.Link(path, filepath.Join(dir, filepath.Base(path)))
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		s.alarm("a damaged table could not be kept aside: "+reason(err), "damaged")
	}
}

var (
	errTable = errors.New("storage: a block of the table is damaged")
	errIndex = errors.New("storage: the index of the table is damaged")
)

// verifyTable reads one table, or only its index. Badger's own code for it
// panics on some damages, and a truncated mapping faults: both are the answer.
func verifyTable(path string, whole bool) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return err
	}
	mapped, err := z.OpenMmapFileUsing(file, int(info.Size()), false)
	if err != nil {
		file.Close()
		return fmt.Errorf("storage: %s", reason(err))
	}
	defer file.Close()
	defer z.Munmap(mapped.Data)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	verdict := errIndex
	defer func() {
		if recover() != nil {
			err = verdict
		}
	}()
	t, err := table.OpenTable(mapped, table.Options{ChkMode: options.OnBlockRead, BlockSize: 4 << 10})
	if err != nil {
		return errIndex
	}
	verdict = errTable
	if whole && t.VerifyChecksum() != nil {
		return errTable
	}
	return nil
}
