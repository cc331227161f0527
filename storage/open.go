package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"nhip/storage/diskguard"
	"nhip/storage/spool"
)

// lockPatience is how long Open waits for a dying process to let go.
const lockPatience = 5 * time.Second

// Open opens the store in o.Dir, or makes it. It sets the umask of the process
// to 077, because Badger creates its files readable by everyone. After an unclean
// stop it first copies the write-ahead log aside, since Badger cuts a damaged one
// off at the damage. What it finds lost or damaged is in Alarms; it refuses a
// store that it cannot read at all, one of a newer format (ErrFormat) and one
// that another process holds (ErrInUse).
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	background, stop := context.WithCancel(context.Background())
	s := &Store{
		o:        o,
		requests: make(chan *request, groupChanges),
		closing:  make(chan struct{}),
		done:     make(chan struct{}),
		failed:   make(chan struct{}),
		stop:     stop,
		reading:  map[uint64]int{},
		last:     map[string]uint64{},
		queues:   map[string]*published{},
		counters: map[string]int64{},
		known:    map[[2]string]bool{},
	}
	if err := s.open(ctx, background); err != nil {
		stop()
		return nil, errors.Join(err, s.release())
	}
	return s, nil
}

func (s *Store) open(ctx, background context.Context) error {
	if err := s.directories(ctx); err != nil {
		return err
	}
	if err := unfinished(s.o.Dir); err != nil {
		return err
	}
	dir := filepath.Join(s.o.Dir, "store")
	if s.o.ReadOnly {
		var err error
		if s.view, err = copyStore(s.o.Dir, dir); err != nil {
			return fmt.Errorf("storage: %s: %s", s.o.Dir, reason(err))
		}
		dir = s.view
	}
	if err := removeEmpty(dir); err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	if err := s.guardDisk(ctx, dir); err != nil {
		return err
	}
	if err := s.prepare(ctx, dir); err != nil {
		return err
	}
	if err := s.openBadger(ctx, dir); err != nil {
		return err
	}
	var err error
	s.spool, err = spool.OpenWith(filepath.Join(s.o.Dir, "spool"), spool.Options{
		ReadOnly: s.o.ReadOnly,
		Fault:    s.o.Fault,
		Failed:   func(err error) { s.fail("an fsync in the spool failed", err) },
		Room:     func() error { return s.Room(diskguard.Draining) },
		Wrote:    s.spooled,
		Made:     s.copied,
	})
	if err != nil {
		return err
	}
	if err := s.load(background); err != nil {
		return err
	}
	return s.openMirror(ctx, background)
}

func (s *Store) directories(ctx context.Context) error {
	if !s.o.ReadOnly {
		privateFiles()
		for _, dir := range []string{"store", "spool"} {
			if err := os.MkdirAll(filepath.Join(s.o.Dir, dir), 0o700); err != nil {
				return fmt.Errorf("storage: %w", err)
			}
		}
		if err := makePrivate(s.o.Dir); err != nil {
			return fmt.Errorf("storage: %w", err)
		}
	}
	err := s.patiently(ctx, func() (err error) {
		s.lock, err = lockFile(filepath.Join(s.o.Dir, "lock"), s.o.ReadOnly)
		return err
	})
	if err != nil || s.o.ReadOnly {
		return err
	}
	return s.removeViews()
}

// removeViews removes what read-only stores left that were killed.
func (s *Store) removeViews() error {
	views, err := filepath.Glob(filepath.Join(s.o.Dir, viewPrefix+"*"))
	for _, dir := range views {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}

const viewPrefix = "view-"

// patiently repeats what fails with ErrInUse for a while, since a process that
// was killed holds its locks until the system has taken it down.
func (s *Store) patiently(ctx context.Context, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 250*time.Millisecond) {
		err := try()
		if !errors.Is(err, ErrInUse) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

// makePrivate takes the rights of others from the data directory and what lies
// directly in it and in the store.
func makePrivate(dir string) error {
	if err := os.Chmod(dir, 0o700); err != nil {
		return err
	}
	for _, sub := range []string{dir, filepath.Join(dir, "store")} {
		entries, err := os.ReadDir(sub)
		if err != nil {
			return err
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil || info.Mode().Perm()&0o077 == 0 {
				continue
			}
			if err := os.Chmod(filepath.Join(sub, e.Name()), info.Mode().Perm()&0o700); err != nil {
				return err
			}
		}
	}
	return nil
}

// settings are Badger's. Values stay below ValueThreshold, so the value log is
// empty and the write-ahead log is the memtable's. Tables are not compressed and
// have no cache: blocks are read and verified where they are mapped. Compacting
// already at two tables of level 0 costs twice the CPU under load. Nothing is
// compacted at Close: Badger loses what a compaction cannot write (see closeBadger),
// and a stop is no time for it.
func (s *Store) settings(dir string) badger.Options {
	return badger.DefaultOptions(dir).
		WithSyncWrites(true).
		WithDetectConflicts(false).
		WithMemTableSize(memTable).
		WithNumMemtables(2).
		WithValueLogFileSize(valueLog).
		WithBlockCacheSize(0).
		WithIndexCacheSize(0).
		WithCompression(options.None).
		WithChecksumVerificationMode(options.OnBlockRead).
		WithVerifyValueChecksum(true).
		WithNumCompactors(2).
		WithNumLevelZeroTables(5).
		WithNumLevelZeroTablesStall(15).
		WithCompactL0OnClose(false).
		WithMetricsEnabled(false).
		WithLogger(badgerLog{s})
}

const (
	memTable = 16 << 20
	valueLog = 1 << 20
)

// badgerLog takes Badger's messages. Their arguments can be the bytes of a
// record, so only the fixed text is written. An error of a sync or a flush is a
// failure of the store: Badger itself only logs it.
type badgerLog struct{ s *Store }

func (l badgerLog) Errorf(format string, _ ...any) {
	text := strings.TrimSpace(format)
	l.s.o.Log.Error("badger", "text", text)
	if strings.Contains(text, "sync") || strings.Contains(text, "flush") || strings.Contains(text, "writeRequests") {
		l.s.fail("badger reports: "+text, errors.New(text))
	}
}

// Warningf takes a compaction that failed for a failure too: Badger would try it
// again, on a manifest of which nobody knows what is on the disk.
func (l badgerLog) Warningf(format string, _ ...any) {
	text := strings.TrimSpace(format)
	l.s.o.Log.Warn("badger", "text", text)
	if strings.Contains(text, "FAILED") || strings.HasPrefix(text, "While ") {
		l.s.fail("badger reports: "+text, errors.New(text))
	}
}

func (badgerLog) Infof(string, ...any)  {}
func (badgerLog) Debugf(string, ...any) {}

// openBadger opens Badger, waiting for the directory lock of a dying process.
func (s *Store) openBadger(ctx context.Context, dir string) error {
	err := s.patiently(ctx, func() (err error) {
		s.db, err = s.openMapped(dir)
		if err != nil && strings.Contains(err.Error(), "Cannot acquire directory lock") {
			return ErrInUse
		}
		return err
	})
	if err == nil && !s.o.ReadOnly {
		err = errors.Join(s.firstLog(), leaveOut(dir))
	}
	if err == nil || errors.Is(err, ErrInUse) {
		return err
	}
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%w to open the store. Nothing is lost; free some space and start again", ErrDiskFull)
	}
	s.db = nil
	return fmt.Errorf("storage: %s: the store cannot be opened: %s", s.o.Dir, reason(err))
}

// openMapped opens Badger. A page of a new file that finds no block is an error here.
func (s *Store) openMapped(dir string) (db *badger.DB, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			if _, fault := p.(interface{ Addr() uintptr }); !fault {
				panic(p)
			}
			db, err = nil, syscall.ENOSPC
		}
	}()
	return badger.OpenManaged(s.settings(dir))
}

// prepare makes the directory fit for Badger: the write-ahead logs of an unclean
// stop are looked at and copied aside; the tables are verified.
func (s *Store) prepare(ctx context.Context, dir string) error {
	if err := s.repairManifest(dir); err != nil {
		return fmt.Errorf("storage: the manifest: %s", reason(err))
	}
	logs, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil {
		return err
	}
	damaged, err := damagedLogs(logs)
	if err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	for _, name := range damaged {
		s.alarm("a write-ahead log is damaged in the middle: what was committed behind the damage is lost", "store/"+name)
	}
	if len(logs) > 0 && !s.o.ReadOnly {
		if err := s.copyAside(logs, len(damaged) > 0); err != nil {
			s.alarm("the write-ahead log could not be copied aside: "+reason(err), "wal-copy")
		}
	}
	return s.tablesAtOpen(ctx, dir)
}

// removeEmpty removes files that a kill left empty, with which Badger would not
// open, and the write-ahead log that was made ahead.
func removeEmpty(dir string) error {
	logs, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil {
		return err
	}
	values, err := filepath.Glob(filepath.Join(dir, "*.vlog"))
	if err != nil {
		return err
	}
	for _, path := range append(logs, values...) {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if info.Size() > 0 {
			continue
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// copyAside keeps the last copy of the write-ahead logs in wal-copy, and the
// first one that was damaged in wal-damaged, until somebody takes it away.
func (s *Store) copyAside(logs []string, damaged bool) error {
	to := filepath.Join(s.o.Dir, "wal-copy")
	if s.guard != nil && s.Disk().Free < s.openingNeed(s.storeDir())+allocated(filepath.Join(s.storeDir(), "*.mem")) {
		return ErrDiskFull
	}
	if err := copyLogs(logs, to); err != nil || !damaged {
		return err
	}
	err := os.Rename(to, filepath.Join(s.o.Dir, "wal-damaged"))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// copyLogs replaces the last copy of the write-ahead logs.
func copyLogs(logs []string, to string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	for _, path := range logs {
		err := copyFile(path, filepath.Join(to, filepath.Base(path)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// copyFile copies a file and leaves out what is zero, as most of a write-ahead
// log is.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	buffer := make([]byte, 64<<10)
	var size int64
	for err == nil {
		var n int
		n, err = io.ReadFull(in, buffer)
		if n > 0 && !bytes.Equal(buffer[:n], zeros[:n]) {
			if _, err := out.WriteAt(buffer[:n], size); err != nil {
				out.Close()
				return err
			}
		}
		size += int64(n)
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = out.Truncate(size)
	}
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

var zeros [64 << 10]byte

// copyStore makes the directory that a read-only store opens: links to the
// tables, which never change, and copies of the rest, which Badger may change
// even to read.
func copyStore(data, store string) (string, error) {
	entries, err := os.ReadDir(store)
	if err != nil {
		return "", err
	}
	to, err := os.MkdirTemp(data, viewPrefix)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		from, to := filepath.Join(store, e.Name()), filepath.Join(to, e.Name())
		switch {
		case e.Name() == "LOCK":
			continue
		case strings.HasSuffix(e.Name(), ".sst"):
			err = os.Link(from, to)
		default:
			err = copyFile(from, to)
		}
		if err != nil {
			return to, err
		}
	}
	return to, nil
}
