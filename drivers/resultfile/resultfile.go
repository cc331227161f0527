// Package resultfile takes the result files that an analyser's program puts into a
// folder. A file is taken when it has not changed for a while, read whole, stored,
// and then moved aside into the folder "taken": what lies in the folder is still to be
// taken, what lies in "taken" is stored. It is never taken half-written, as far as its
// size and time tell, and never twice: a crash between the commit and the move takes
// it again, with the same bytes, which is a repeat for the owner of the store.
package resultfile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"nhip/drivers/session"
)

// Taken is the folder, in the watched one, for what is stored.
const Taken = "taken"

const (
	maxFile     = 16 << 20
	defaultTime = 2 * time.Second
	storeTime   = 30 * time.Second
)

// A Watcher takes the files of one folder.
type Watcher struct {
	Folder  string
	Match   string        // a pattern of names as of path.Match; empty: all
	Settle  time.Duration // a file unchanged for so long is complete; default 2 s
	Every   time.Duration // between two looks; default 2 s
	Handler session.Handler
	Log     *slog.Logger
	State   func(ok bool, words string) // told when the folder can or cannot be read

	seen  map[string]look // files that are not settled yet, or could not be moved
	moved []movedFile
}

// A look is what a file was like, and since when.
type look struct {
	size  int64
	mod   time.Time
	since time.Time
	sum   string // of what is stored and could not be moved aside: not to be taken again
}

// A movedFile is checked once more: a program that still writes goes on in it.
type movedFile struct {
	name string
	size int64
	at   time.Time
}

// Run looks until ctx is done.
func (w *Watcher) Run(ctx context.Context) error {
	if w.Settle == 0 {
		w.Settle = defaultTime
	}
	if w.Every == 0 {
		w.Every = defaultTime
	}
	if w.Log == nil {
		w.Log = slog.New(slog.DiscardHandler)
	}
	if w.State == nil {
		w.State = func(bool, string) {}
	}
	w.seen = map[string]look{}
	for ctx.Err() == nil {
		if err := w.look(ctx, time.Now()); err != nil {
			w.Log.Error("folder of results", "error", err)
			w.State(false, words(err))
		} else {
			w.State(true, "")
		}
		t := time.NewTimer(w.Every)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
	return nil
}

func words(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "the folder is not there"
	case errors.Is(err, fs.ErrPermission):
		return "the folder may not be read or written: permission denied"
	}
	return err.Error()
}

// look takes what has settled.
func (w *Watcher) look(ctx context.Context, now time.Time) error {
	root, err := os.OpenRoot(w.Folder)
	if err != nil {
		return err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return err
	}
	here := map[string]bool{}
	var failed []error
	for _, e := range entries {
		if !e.Type().IsRegular() || !w.matches(e.Name()) {
			continue
		}
		here[e.Name()] = true
		if ctx.Err() != nil {
			return nil
		}
		if err := w.file(ctx, root, e.Name(), now); err != nil {
			failed = append(failed, err)
		}
	}
	for name := range w.seen {
		if !here[name] {
			delete(w.seen, name)
		}
	}
	return errors.Join(append(failed, w.grown(ctx, root, now))...)
}

// matches: not hidden, no temporary name of the usual kinds, and of the pattern.
func (w *Watcher) matches(name string) bool {
	lower := strings.ToLower(name)
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "~") || strings.HasSuffix(lower, ".tmp") || strings.HasSuffix(lower, ".part") {
		return false
	}
	if w.Match == "" {
		return true
	}
	ok, err := path.Match(strings.ToLower(w.Match), lower)
	return err == nil && ok
}

// file takes one file when it has settled.
func (w *Watcher) file(ctx context.Context, root *os.Root, name string, now time.Time) error {
	info, err := root.Lstat(name)
	if err != nil {
		return nil // it went between the two looks
	}
	l, known := w.seen[name]
	if !known || l.size != info.Size() || !l.mod.Equal(info.ModTime()) {
		w.seen[name] = look{size: info.Size(), mod: info.ModTime(), since: now}
		return nil
	}
	if now.Sub(l.since) < w.Settle {
		return nil
	}
	if l.sum != "" { // stored
		return w.put(ctx, root, name, l)
	}
	return w.take(ctx, root, name, l)
}

// take stores a file and moves it aside.
func (w *Watcher) take(ctx context.Context, root *os.Root, name string, l look) error {
	content, err := read(root, name, l)
	if err != nil {
		delete(w.seen, name) // it changed: from the beginning
		w.Log.Info("result file not taken yet", "file", l.words(), "why", nameless(err))
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	if len(bytes.TrimSpace(content)) > 0 {
		if l.size > maxFile {
			err = w.Handler.Incomplete(ctx, content, fmt.Sprintf("file over %d bytes", maxFile))
		} else {
			err = w.Handler.Store(ctx, [][]byte{content})
		}
		if err != nil {
			return fmt.Errorf("%s is not stored, and taken again: %w", l.words(), nameless(err))
		}
	}
	sum := sha256.Sum256(content)
	l.sum = hex.EncodeToString(sum[:4])
	return w.put(ctx, root, name, l)
}

// put moves a stored file aside.
func (w *Watcher) put(ctx context.Context, root *os.Root, name string, l look) error {
	if err := w.aside(root, name, l); err != nil {
		w.seen[name] = l
		return fmt.Errorf("%s is stored and cannot be moved into %s: %w", l.words(), Taken, nameless(err))
	}
	delete(w.seen, name)
	return w.Handler.Ended(ctx)
}

// words tell a file from the others without its name, which may be a patient's.
func (l look) words() string {
	return fmt.Sprintf("the file of %d bytes of %s", l.size, l.mod.Format(time.DateTime))
}

// nameless is an error of the file system without the names of files in it.
func nameless(err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return fmt.Errorf("%s: %w", p.Op, p.Err)
	case errors.As(err, &l):
		return fmt.Errorf("%s: %w", l.Op, l.Err)
	}
	return err
}

// read is the whole file, as it was looked at.
func read(root *os.Root, name string, l look) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() != l.size || !info.ModTime().Equal(l.mod) || int64(len(content)) != min(l.size, maxFile+1) {
		return nil, errors.New("it changed while it was read")
	}
	return content, nil
}

// aside moves a file into the folder for what is stored, never over another one.
func (w *Watcher) aside(root *os.Root, name string, l look) error {
	if err := root.Mkdir(Taken, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	to := path.Join(Taken, name)
	for n := 1; ; n++ {
		_, err := root.Lstat(to)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return err
		}
		to = path.Join(Taken, fmt.Sprintf("%s.%s-%d", name, l.sum, n))
	}
	if err := root.Rename(name, to); err != nil {
		return err
	}
	w.moved = append(w.moved, movedFile{name: to, size: l.size, at: time.Now()})
	return syncFolder(filepath.Join(w.Folder, Taken), w.Folder)
}

// syncFolder makes the move durable, where folders can be synced.
func syncFolder(folders ...string) error {
	for _, name := range folders {
		d, err := os.Open(name)
		if err != nil {
			return err
		}
		err = d.Sync()
		d.Close()
		if err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrInvalid) && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	return nil
}

// grown looks once more at what was moved: what came after is kept, and nobody's
// result before a person has looked.
func (w *Watcher) grown(ctx context.Context, root *os.Root, now time.Time) error {
	var still []movedFile
	for _, m := range w.moved {
		if now.Sub(m.at) < w.Settle {
			still = append(still, m)
			continue
		}
		info, err := root.Lstat(m.name)
		if err != nil || info.Size() == m.size {
			continue
		}
		content, err := read(root, m.name, look{size: info.Size(), mod: info.ModTime()})
		if err != nil {
			m.at = now
			still = append(still, m)
			continue
		}
		if err := w.Handler.Incomplete(context.WithoutCancel(ctx), content, "the file was written to after it was taken"); err != nil {
			return err
		}
	}
	w.moved = still
	return nil
}
