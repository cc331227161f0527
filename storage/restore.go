package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"nhip/storage/diskguard"
	"nhip/storage/spool"
)

// restoring is the folder in the data directory that a restore works in. A data
// directory with it holds a restore that was not finished, and is not opened.
const restoring = "restoring"

// ErrNotEmpty says that a restore would overwrite something.
var ErrNotEmpty = errors.New("storage: a restore needs an empty folder, or one that is not there")

// RestoreOptions say how a restored store goes on.
type RestoreOptions struct {
	Log *slog.Logger
	// Disk is asked for the free space: a restore ends with ErrDiskFull before
	// there is none. Nil asks nobody.
	Disk diskguard.Probe
	// Next gives the last number that may have been given out in a channel or a
	// queue whose last one in the backup is known. What was given out after the
	// backup was made is not in it: the numbers up to there are passed over.
	Next func(last uint64) uint64
	// Finish changes what else counts, before the store is in its place.
	Finish func(context.Context, *Store) error
}

// Restore makes a data directory of a backup. dir must be empty or not be there.
// The store in it goes on with new numbers (see RestoreOptions), so that no
// number names two things. problems are what VerifyBackup gives; after an error
// nothing is left in dir.
func Restore(ctx context.Context, r io.Reader, dir string, o RestoreOptions) (m Mark, c Count, problems []string, err error) {
	privateFiles()
	if err := emptyDir(dir); err != nil {
		return m, c, nil, err
	}
	work := filepath.Join(dir, restoring)
	if err := os.MkdirAll(filepath.Join(work, "store"), 0o700); err != nil {
		return m, c, nil, fmt.Errorf("storage: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(work))
		}
	}()
	w, err := newRestore(work, o)
	if err != nil {
		return m, c, nil, err
	}
	m, c, problems, err = readBackup(ctx, r, w)
	if err = errors.Join(err, w.close()); err != nil {
		return m, c, problems, err
	}
	if err := finishRestore(ctx, work, o); err != nil {
		return m, c, problems, err
	}
	return m, c, problems, moveIn(dir, work)
}

// emptyDir makes sure that there is nothing in dir, but for what a file system
// has in its root.
func emptyDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() != "lost+found" }) {
		return fmt.Errorf("%w: %s has something in it", ErrNotEmpty, dir)
	}
	return nil
}

// A restore writes what it is given.
type restore struct {
	s     *Store // no more than what Badger's settings need
	batch *badger.WriteBatch
	spool *spool.Spool

	room    diskguard.Probe
	unasked int // bytes until the disk is looked at
}

func newRestore(work string, o RestoreOptions) (*restore, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{o: Options{Dir: work, Log: o.Log}, failed: make(chan struct{}), known: map[[2]string]bool{}}
	db, err := badger.OpenManaged(s.settings(filepath.Join(work, "store")))
	if err != nil {
		return nil, fmt.Errorf("storage: restore: %s", reason(err))
	}
	s.db = db
	sp, err := spool.Open(filepath.Join(work, "spool"))
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &restore{s: s, spool: sp, room: o.Disk}, nil
}

// mark begins the records: all of them are of the commit of the mark.
func (w *restore) mark(m Mark) error {
	w.batch = w.s.db.NewWriteBatchAt(m.Commit)
	return nil
}

func (w *restore) record(key, record []byte) error {
	if err := w.takes(len(key) + len(record)); err != nil {
		return err
	}
	if err := w.batch.Set(slices.Clone(key), slices.Clone(record)); err != nil {
		return fmt.Errorf("storage: restore: %s", reason(err))
	}
	return nil
}

func (w *restore) object(ref spool.Ref, r io.Reader) error {
	return w.spool.Put(ref, &roomReader{r: r, w: w}, true)
}

// restoreRoom is what stays free on the disk of a restore, and how often that is
// looked at: a small file can say that it holds much.
const (
	restoreRoom  = 2*memReserve + compactionRoom
	restoreEvery = 4 << 20
)

// takes asks for room for so many bytes more.
func (w *restore) takes(n int) error {
	if w.unasked -= n; w.unasked > 0 || w.room == nil {
		return nil
	}
	w.unasked = restoreEvery
	if free, _, err := w.room(w.s.o.Dir); err == nil && free < restoreRoom {
		return fmt.Errorf("storage: restore: %w", ErrDiskFull)
	}
	return nil
}

// A roomReader ends where the disk has no room for what it gives.
type roomReader struct {
	r io.Reader
	w *restore
}

func (r *roomReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if full := r.w.takes(n); full != nil {
		return 0, full
	}
	return n, err
}

func (w *restore) close() error {
	var err error
	if w.batch != nil {
		err = w.batch.Flush()
	}
	if err = errors.Join(err, w.s.db.Close()); err != nil || w.s.hasFailed() {
		return fmt.Errorf("storage: restore: %s", reason(err))
	}
	return w.spool.Close()
}

// finishRestore opens the restored store for the first time and moves its
// numbers on.
func finishRestore(ctx context.Context, work string, o RestoreOptions) error {
	s, err := Open(ctx, Options{Dir: work, Log: o.Log, next: o.Next})
	if err != nil {
		return err
	}
	if o.Finish != nil {
		err = o.Finish(ctx, s)
	}
	return errors.Join(err, s.Close())
}

// passOver moves the numbers of every channel and queue on, of those too that are
// not there yet: they may have begun after the backup was made.
func (l *loader) passOver(next func(uint64) uint64) {
	for _, ch := range l.c.channels {
		ch.passTo(next(ch.last))
	}
	for _, q := range l.c.queues {
		q.passTo(next(q.next - 1))
	}
	l.c.root.floor = next(l.c.root.floor)
	l.repair = true
}

// passTo gives no number up to last out any more.
func (c *channel) passTo(last uint64) {
	if last > c.last {
		c.join(c.last+1, last)
		c.last = last
	}
}

func (q *queue) passTo(last uint64) {
	if last >= q.next {
		q.remove(q.next, last)
		q.next = last + 1
	}
}

// moveIn moves the finished store to its place, and takes the sign of an
// unfinished restore away last.
func moveIn(dir, work string) error {
	for _, name := range []string{"spool", "highwater", "store"} {
		if err := os.Rename(filepath.Join(work, name), filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("storage: restore: %w", err)
		}
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("storage: restore: %w", err)
	}
	if err := os.RemoveAll(work); err != nil {
		return fmt.Errorf("storage: restore: %w", err)
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// unfinished refuses a data directory that a restore was not finished in.
func unfinished(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, restoring)); err == nil {
		return fmt.Errorf("storage: a restore into %s was not finished: empty the folder and restore again", dir)
	}
	return nil
}
