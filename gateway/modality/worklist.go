package modality

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"nhip/dicom"
	"nhip/dicom/find"
)

// A Folder is a worklist of DICOM files, one scheduled procedure step each, as
// other worklist servers keep them: a RIS writes NAME.wl, and removes it when the
// step is done. It is find.Source. The folder is read at every query.
type Folder struct {
	Dir string
	Log *slog.Logger

	mu   sync.Mutex
	read map[string]worklistFile
}

// A worklistFile is what a file held when it was read.
type worklistFile struct {
	size     int64
	modified time.Time
	item     *dicom.Dataset // nil: it cannot be used
}

// The limits of the folder.
const (
	MostWorklistFiles = 10_000
	MostWorklistBytes = 1 << 20 // of one file
)

// Entities is find.Source.
func (f *Folder) Entities(ctx context.Context, _ find.Query) iter.Seq2[*dicom.Dataset, error] {
	return func(yield func(*dicom.Dataset, error) bool) {
		items, err := f.items(ctx)
		if err != nil {
			f.Log.Error("worklist: the folder cannot be read", "error", err)
			yield(nil, errors.New("the gateway's worklist cannot be read"))
			return
		}
		for _, d := range items {
			if !yield(d, nil) {
				return
			}
		}
	}
}

// items are the steps in the order of the files' names.
func (f *Folder) items(ctx context.Context) ([]*dicom.Dataset, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	root, err := os.OpenRoot(f.Dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, err
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !e.Type().IsRegular() || filepath.Ext(e.Name()) != ".wl" })
	if len(entries) > MostWorklistFiles {
		return nil, fmt.Errorf("%d files, and %d are the most", len(entries), MostWorklistFiles)
	}
	now := make(map[string]worklistFile, len(entries))
	var items []*dicom.Dataset
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		w, ok := f.file(root, e.Name())
		if !ok {
			continue // removed meanwhile
		}
		now[e.Name()] = w
		if w.item != nil {
			items = append(items, w.item)
		}
	}
	f.read = now
	return items, nil
}

// file reads a file, unless it is as it was.
func (f *Folder) file(root *os.Root, name string) (worklistFile, bool) {
	info, err := root.Stat(name)
	if err != nil {
		return worklistFile{}, false
	}
	if known, ok := f.read[name]; ok && known.size == info.Size() && known.modified.Equal(info.ModTime()) {
		return known, true
	}
	w := worklistFile{size: info.Size(), modified: info.ModTime()}
	if w.item, err = readWorklistFile(root, name); err != nil {
		f.Log.Warn("worklist: a file is not used", "file", name, "error", err)
	}
	return w, true
}

func readWorklistFile(root *os.Root, name string) (*dicom.Dataset, error) {
	file, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	d, err := dicom.ReadFile(io.LimitReader(file, MostWorklistBytes+1), dicom.Limits{Total: MostWorklistBytes})
	if err != nil {
		return nil, err
	}
	return d.Dataset, nil
}
