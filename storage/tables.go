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
	"strings"

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
// as far as the time of a start allows. The rest is left to tablesLater, except
// the index of each table, without which Badger does not open.
func (s *Store) tablesAtOpen(ctx context.Context, dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		return err
	}
	slices.SortFunc(paths, func(a, b string) int { return strings.Compare(b, a) })
	var read int64
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("storage: %w", err)
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

// tablesLater verifies what tablesAtOpen left.
func (s *Store) tablesLater(ctx context.Context) {
	defer s.verify.Done()
	_ = s.verifyTables(ctx, s.later)
}

func (s *Store) verifyTables(ctx context.Context, paths []string) error {
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := verifyTable(path, true)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // not one compacted meanwhile
			s.damagedTable(path)
		}
	}
	return nil
}

func (s *Store) damagedTable(path string) {
	s.alarm("a table of the store is damaged: some of its keys cannot be found", "store/"+filepath.Base(path))
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
