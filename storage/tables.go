package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/ristretto/v2/z"
)

// verifyTables checks every block of every table file. Badger itself passes over
// a block that fails its checksum without a word: its keys are "not found", and
// the next compaction drops them for good. A damaged table is kept aside, by a
// link, for whoever has to recover from it.
func (s *Store) verifyTables(ctx context.Context) error {
	paths, err := filepath.Glob(filepath.Join(s.storeDir(), "*.sst"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := verifyTable(path)
		if err == nil || errors.Is(err, fs.ErrNotExist) { // compacted meanwhile
			continue
		}
		name := filepath.Base(path)
		s.alarm("a table of the store is damaged: some keys cannot be found", "store/"+name)
		s.keepAside(path)
	}
	return nil
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

var errTable = errors.New("storage: the table is damaged")

// verifyTable reads one table. Badger's own code for it panics on some damages,
// and a truncated mapping faults: both are the answer.
func verifyTable(path string) (err error) {
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
	defer func() {
		if recover() != nil {
			err = errTable
		}
	}()
	t, err := table.OpenTable(mapped, table.Options{ChkMode: options.OnBlockRead, BlockSize: 4 << 10})
	if err != nil || t.VerifyChecksum() != nil {
		return errTable
	}
	return nil
}
