// Package spool keeps large objects as files: written and hashed while they
// stream, made durable, and only then named to anybody.
//
// An object lives in tmp/ while it arrives. Commit gives it a name of ours in
// the shard of the hour, YYYYMMDD-HH/, and returns when the bytes and the name
// are on disk. Nothing that a peer said is in a name. A Ref is what the caller
// stores in its own records; a file that no record names is an orphan, left by a
// crash between the two, and is found by Orphans.
//
// The durability of a new name is that of ext4 and XFS: the file is fsynced and
// then its directory. All reading goes through os.Root, so that no Ref leads out
// of the spool.
package spool

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"time"
)

// A Ref says where an object is and what it must be.
type Ref struct {
	Path   string // relative to the spool
	Length int64
	SHA256 [32]byte
}

// A DamagedError says that a file of the spool is not what its Ref says.
type DamagedError struct {
	Path string
	What string
}

func (e *DamagedError) Error() string { return "storage/spool: " + e.Path + ": " + e.What }

// Options are what OpenWith takes beside the directory.
type Options struct {
	ReadOnly bool
	Failed   func(error)             // told of a failed fsync: the process should end
	Room     func() error            // asked before each write: an error ends the object
	Wrote    func(bytes int)         // told of each write
	Made     func(Ref)               // told of each object that is durable, before its Ref is given out
	Fault    func(step string) error // called before each step, for tests: "create", "write", "fsync", "rename", "fsyncdir"
}

// A Spool is a directory of objects. Its methods may be called from many
// goroutines.
type Spool struct {
	o        Options
	root     *os.Root
	arriving *os.Root // tmp; nil in one that is read only

	mu     sync.Mutex
	shards map[string]*shard
	usual  int64 // length of the last object where the one before was about as long, else 0
	last   int64 // length of the last object
}

const tmp = "tmp"

// Open opens the spool in dir, or makes it, and removes what was being written
// when the last process ended. One process at a time may have it open.
func Open(dir string) (*Spool, error) { return OpenWith(dir, Options{}) }

// OpenWith is Open with options.
func OpenWith(dir string, o Options) (*Spool, error) {
	if !o.ReadOnly {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("storage/spool: %w", err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("storage/spool: %w", err)
	}
	s := &Spool{o: o, root: root, shards: map[string]*shard{}}
	if o.ReadOnly {
		return s, nil
	}
	err = s.sweep()
	if err == nil {
		s.arriving, err = root.OpenRoot(tmp)
	}
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("storage/spool: %w", err)
	}
	return s, nil
}

func (s *Spool) sweep() error {
	if err := s.root.RemoveAll(tmp); err != nil {
		return err
	}
	return s.root.Mkdir(tmp, 0o700)
}

// Close lets go of the directory. Writers that are not committed are lost.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.root.Close()
	if s.arriving != nil {
		err = errors.Join(err, s.arriving.Close())
	}
	for _, d := range s.shards {
		err = errors.Join(err, d.dir.Close())
	}
	clear(s.shards)
	return err
}

func (s *Spool) fault(step string) error {
	if s.o.Fault == nil {
		return nil
	}
	return s.o.Fault(step)
}

// failed reports a failed fsync. The file's pages may be marked clean now, so
// that a second fsync would succeed without the data.
func (s *Spool) failed(err error) error {
	if s.o.Failed != nil {
		s.o.Failed(err)
	}
	return err
}

// A Writer takes one object. It belongs to one goroutine.
type Writer struct {
	s       *Spool
	path    string // in the spool, of the file as it is named now
	file    *os.File
	hash    hash.Hash
	buffer  []byte // from buffers; what is not written yet
	length  int64
	written int64
	started int64 // write-back was started up to here
	blocks  int64 // bytes that were allocated before they were written
	err     error
}

// Small writes are gathered; larger ones go to the file as they are.
const (
	bufferSize = 128 << 10
	piece      = 256 << 10
	direct     = 32 << 10
)

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// Create begins an object. Commit or Abort ends it.
func (s *Spool) Create() (*Writer, error) {
	name := newName(time.Now())
	err := s.fault("create")
	var file *os.File
	if err == nil {
		file, err = s.arriving.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("storage/spool: create: %w", err)
	}
	w := &Writer{s: s, path: path.Join(tmp, name), file: file, hash: sha256.New(), buffer: buffers.Get().(*[bufferSize]byte)[:0]}
	if usual := s.usually(); usual > 0 && (s.o.Room == nil || s.o.Room() == nil) && allocate(file, usual) {
		w.blocks = usual
	}
	return w, nil
}

// Slices come one after the other and have the same length, but for a few bytes: the
// blocks of the next one are allocated at once, which costs less than one by one while
// it is written. Where it is shorter they are given back.
const (
	leastUsual, mostUsual = 64 << 10, 4 << 20
	aboutAsLong           = 4 << 10 // lengths with the same whole number of these
)

func (s *Spool) usually() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usual
}

// took notes the length of an object.
func (s *Spool) took(length int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	whole := length &^ (aboutAsLong - 1)
	s.usual = 0
	if whole == s.last && leastUsual <= whole && whole <= mostUsual {
		s.usual = whole
	}
	s.last = whole
}

// newName gives a name that sorts by time and is never given twice.
func newName(now time.Time) string {
	var b [8]byte
	rand.Read(b[:])
	return fmt.Sprintf("%016x%s", now.UnixNano(), hex.EncodeToString(b[:]))
}

// Write adds to the object. The system starts to write it to disk while more
// arrives.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	w.hash.Write(p)
	w.length += int64(len(p))
	if len(w.buffer)+len(p) > bufferSize {
		w.flush()
	}
	if len(p) >= direct && len(w.buffer) == 0 || len(p) > bufferSize {
		w.write(p)
	} else {
		w.buffer = append(w.buffer, p...)
	}
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

func (w *Writer) flush() {
	if len(w.buffer) > 0 {
		w.write(w.buffer)
		w.buffer = w.buffer[:0]
	}
}

// write writes in pieces that are small beside the room that is kept free.
func (w *Writer) write(p []byte) {
	for len(p) > piece {
		w.writePiece(p[:piece])
		p = p[piece:]
	}
	w.writePiece(p)
}

func (w *Writer) writePiece(p []byte) {
	if w.err != nil {
		return
	}
	err := w.s.fault("write")
	if err == nil && w.s.o.Room != nil {
		err = w.s.o.Room()
	}
	if err == nil {
		_, err = w.file.Write(p)
	}
	if err != nil {
		w.err = fmt.Errorf("storage/spool: write: %w", err)
		return
	}
	w.written += int64(len(p))
	if w.s.o.Wrote != nil {
		w.s.o.Wrote(len(p))
	}
	if w.written-w.started >= early {
		startWriteBack(w.file, w.started, w.written-w.started)
		w.started = w.written
	}
}

// early is how much is gathered before the system is asked to start writing.
const early = 256 << 10

// Abort gives the object up. After Commit it does nothing.
func (w *Writer) Abort() {
	if w.file != nil {
		w.close()
		w.s.root.Remove(w.path)
	}
}

func (w *Writer) close() error {
	err := w.file.Close()
	w.file = nil
	buffers.Put((*[bufferSize]byte)(w.buffer[:bufferSize]))
	w.buffer = nil
	return err
}

// Commit makes the object durable under its name. An error means that there is
// no such object.
func (w *Writer) Commit() (Ref, error) {
	w.flush()
	if w.err != nil {
		w.Abort()
		return Ref{}, w.err
	}
	shard, err := w.s.shard(time.Now())
	if err != nil {
		w.Abort()
		return Ref{}, err
	}
	if w.blocks > w.length {
		if err := w.file.Truncate(w.length); err != nil {
			w.Abort()
			return Ref{}, fmt.Errorf("storage/spool: truncate: %w", err)
		}
	}
	w.s.took(w.length)
	ref := Ref{Path: path.Join(shard.name, path.Base(w.path)), Length: w.length}
	w.hash.Sum(ref.SHA256[:0])
	if err := w.settle(shard, ref.Path); err != nil {
		w.Abort()
		return Ref{}, err
	}
	if w.s.o.Made != nil {
		w.s.o.Made(ref)
	}
	return ref, nil
}

// settle names the file and makes bytes and name durable. Both are under way at
// once, so that the file system can write them in one transaction of its journal:
// nobody knows the name before both are there, and a file that a crash leaves under
// its name without all its bytes is an orphan.
func (w *Writer) settle(shard *shard, name string) error {
	if err := w.s.fault("rename"); err != nil {
		return fmt.Errorf("storage/spool: rename: %w", err)
	}
	if err := w.s.root.Rename(w.path, name); err != nil {
		return fmt.Errorf("storage/spool: rename: %w", err)
	}
	w.path = name
	named := make(chan error, 1)
	go func() { named <- shard.sync() }()
	err := w.s.fault("fsync")
	if err == nil {
		err = w.file.Sync()
	}
	if err != nil {
		err = w.s.failed(fmt.Errorf("storage/spool: fsync: %w", err))
	}
	if err := errors.Join(err, <-named); err != nil {
		return err
	}
	if err := w.close(); err != nil {
		return fmt.Errorf("storage/spool: close: %w", err)
	}
	return nil
}

// A shard is a directory that objects are renamed into. Writers that end at the
// same time share an fsync of it.
type shard struct {
	s    *Spool
	name string
	dir  *os.File

	mu      sync.Mutex
	busy    bool
	waiting []chan error
}

// shard gives the directory of the hour, made durable in its parent first.
func (s *Spool) shard(now time.Time) (*shard, error) {
	name := now.UTC().Format("20060102-15")
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.shards[name]; d != nil {
		return d, nil
	}
	if err := s.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("storage/spool: %w", err)
	}
	if err := s.syncDir("."); err != nil {
		return nil, err
	}
	dir, err := s.root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("storage/spool: %w", err)
	}
	d := &shard{s: s, name: name, dir: dir}
	clear(s.shards) // who still writes to the shard of the last hour holds it; the collector closes it
	s.shards[name] = d
	return d, nil
}

// sync returns after an fsync of the directory that began after the call.
func (d *shard) sync() error {
	done := make(chan error, 1)
	d.mu.Lock()
	d.waiting = append(d.waiting, done)
	if d.busy {
		d.mu.Unlock()
		return <-done
	}
	d.busy = true
	for len(d.waiting) > 0 {
		round := d.waiting
		d.waiting = nil
		d.mu.Unlock()
		err := d.s.synced(d.dir)
		for _, w := range round {
			w <- err
		}
		d.mu.Lock()
	}
	d.busy = false
	d.mu.Unlock()
	return <-done
}

func (s *Spool) syncDir(name string) error {
	dir, err := s.root.Open(name)
	if err != nil {
		return s.failed(fmt.Errorf("storage/spool: fsync of a directory: %w", err))
	}
	defer dir.Close()
	return s.synced(dir)
}

func (s *Spool) synced(dir *os.File) error {
	err := s.fault("fsyncdir")
	if err == nil {
		err = dir.Sync()
	}
	if err != nil {
		return s.failed(fmt.Errorf("storage/spool: fsync of a directory: %w", err))
	}
	return nil
}

// A Reader reads an object.
type Reader struct{ *os.File }

// Open opens an object after a look at its length. Its hash is not checked: see
// Verify.
func (s *Spool) Open(ref Ref) (*Reader, error) {
	file, err := s.root.Open(ref.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &DamagedError{ref.Path, "the file is gone"}
	}
	if err != nil {
		return nil, fmt.Errorf("storage/spool: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("storage/spool: %w", err)
	}
	if info.Size() != ref.Length {
		file.Close()
		return nil, &DamagedError{ref.Path, fmt.Sprintf("%d bytes, should be %d", info.Size(), ref.Length)}
	}
	return &Reader{file}, nil
}

// Verify reads the whole object and compares its hash.
func (s *Spool) Verify(ref Ref) error {
	r, err := s.Open(ref)
	if err != nil {
		return err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r.File); err != nil {
		return fmt.Errorf("storage/spool: %w", err)
	}
	if [32]byte(h.Sum(nil)) != ref.SHA256 {
		return &DamagedError{ref.Path, "the SHA-256 is another"}
	}
	return nil
}

// Remove deletes an object; one that is gone already is no error.
func (s *Spool) Remove(ref Ref) error {
	if err := s.root.Remove(ref.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("storage/spool: %w", err)
	}
	return nil
}

// Orphans lists the objects that known does not know and that were last written
// before olderThan. It removes nothing.
func (s *Spool) Orphans(known func(path string) bool, olderThan time.Time) ([]string, error) {
	var orphans []string
	err := fs.WalkDir(s.root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			if err == nil && name == tmp {
				return fs.SkipDir
			}
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && info.ModTime().Before(olderThan) && !known(name) {
			orphans = append(orphans, name)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("storage/spool: %w", err)
	}
	return orphans, nil
}
