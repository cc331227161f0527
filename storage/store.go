package storage

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"nhip/storage/diskguard"
	"nhip/storage/spool"
)

// Options say where the store is and who hears of it.
type Options struct {
	Dir      string // the data directory: store/, spool/, highwater, lock lie in it
	Log      *slog.Logger
	ReadOnly bool

	// SpoolRefs finds the spool files that a stored value refers to, for Scrub.
	SpoolRefs func(value []byte) []spool.Ref

	// Disk is asked for the free space of the data directory. The store refuses
	// batches before the disk is full, see Batch.For, and keeps a ballast. Nil
	// guards nothing.
	Disk diskguard.Probe

	// Mirror is a second folder, on another disk, that journal entries and objects
	// are written to before anybody is told of them. Empty: none.
	Mirror string

	// Fault is called before each step that may fail, for tests that let it
	// fail: "commit", "committed" (after the commit and before anybody hears of
	// it), "highwater", and the steps of the spool. Nil outside of tests.
	Fault func(step string) error

	// Watch is told what a transaction holds, before it is committed and after it
	// is durable and before anybody hears of it: when is "before" or "after", what
	// is "append", "enqueue" or "remove" and a channel or queue. For tests that
	// kill the process there; nil outside of tests.
	Watch func(when, what string)

	next func(last uint64) uint64 // of a restore, see RestoreOptions.Next
}

// A Store is the durable memory of the gateway. Its methods may be called from
// many goroutines.
type Store struct {
	o      Options
	lock   *os.File
	db     *badger.DB
	spool  *spool.Spool
	mirror atomic.Pointer[mirror]
	guard  *diskguard.Guard // nil: none
	view   string           // directory of the copy that a read-only store reads

	requests chan *request
	closing  chan struct{}
	done     chan struct{} // the committer has ended
	failed   chan struct{}
	failOnce sync.Once
	work     *committer
	later    []string       // tables to verify after Open
	behind   sync.WaitGroup // what goes on beside the committer
	stop     context.CancelFunc

	scrubbing sync.Mutex
	keep      sync.RWMutex // held for reading by who needs that no object is removed

	life   sync.RWMutex // held for reading by every read, for writing by Close
	closed bool

	mu         sync.Mutex // guards what follows: the last committed state
	commit     uint64
	compacting chan struct{}  // closed when the compaction that goes on ends
	reading    map[uint64]int // readers by the commit that they look at
	last       map[string]uint64
	queues     map[string]*published
	counters   map[string]int64

	alarmMu sync.Mutex
	alarms  []Alarm
	collect *[]Alarm // of a scrub: known ones too
	known   map[[2]string]bool

	closeErr  error
	closeOnce sync.Once
}

// published is what readers see of a queue without a look at the disk.
type published struct {
	depth uint64
	dead  run // found removed by a reader: a hint for the committer
	wait  chan struct{}
}

// Spool gives the large objects.
func (s *Store) Spool() *spool.Spool { return s.spool }

// Failed is closed on the first commit or fsync that failed. From then on every
// Commit returns ErrFailed; what was acknowledged is on disk. Only a restart
// leads on: after a failed fsync a second one can succeed with the data gone.
func (s *Store) Failed() <-chan struct{} { return s.failed }

func (s *Store) fail(what string, err error) {
	s.failOnce.Do(func() {
		s.alarm(what+": "+reason(err), filepath.Base(s.o.Dir))
		close(s.failed)
	})
}

// Alarms lists what Open, reads and Scrub found wrong, each once.
func (s *Store) Alarms() []Alarm {
	s.alarmMu.Lock()
	defer s.alarmMu.Unlock()
	return append([]Alarm(nil), s.alarms...)
}

func (s *Store) alarm(what, where string) { s.raise(Alarm{What: what, Where: where}) }

// wound raises an alarm over a damage that a repair takes back.
func (s *Store) wound(what, where string) { s.raise(Alarm{What: what, Where: where, heals: true}) }

func (s *Store) raise(a Alarm) {
	s.alarmMu.Lock()
	defer s.alarmMu.Unlock()
	what, where := a.What, a.Where
	a.At = time.Now()
	if s.collect != nil {
		*s.collect = append(*s.collect, a)
	}
	if s.known[[2]string{what, where}] {
		return
	}
	s.known[[2]string{what, where}] = true
	s.alarms = append(s.alarms, a)
	s.o.Log.Error("storage alarm", "what", what, "where", where)
}

// note tells of something that was done: in the log and in what a scrub found.
func (s *Store) note(what, where string) {
	s.alarmMu.Lock()
	defer s.alarmMu.Unlock()
	if s.collect != nil {
		*s.collect = append(*s.collect, Alarm{What: what, Where: where, At: time.Now()})
	}
	s.o.Log.Warn("storage", "what", what, "where", where)
}

// takeBack takes the alarms over damages back: a scrub has found everything as it
// was committed.
func (s *Store) takeBack() {
	s.alarmMu.Lock()
	defer s.alarmMu.Unlock()
	before := len(s.alarms)
	s.alarms = slices.DeleteFunc(s.alarms, func(a Alarm) bool {
		if a.heals {
			delete(s.known, [2]string{a.What, a.Where})
		}
		return a.heals
	})
	if len(s.alarms) < before {
		s.o.Log.Warn("storage: all that was damaged is whole again")
	}
}

// damaged raises the alarm for e and gives it back.
func (s *Store) damaged(e *DamagedError) *DamagedError {
	s.wound(fmt.Sprintf("%v", e), e.Where)
	return e
}

// Close ends the committer, which finishes what it was given, and closes the
// files. It may be called twice.
func (s *Store) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Store) close() error {
	s.stop()
	close(s.closing)
	<-s.done
	s.behind.Wait()
	s.life.Lock()
	s.closed = true
	s.life.Unlock()
	return s.release()
}

// closeBadger closes Badger, but not after a failure. Close flushes and compacts,
// and on a disk that fails that loses what is there: Badger 4.9.6 takes a table
// that a compaction could not create for one that was empty, and deletes those
// that it was made of (levels.go, subcompact: `defer inflightBuilders.Done(err)`
// keeps the nil). It may also try for ever. The process ends without it, and the
// next Open reads the write-ahead log. With faults that a test injects Badger
// itself is whole, and lets go of its files.
func (s *Store) closeBadger() error {
	if s.hasFailed() && s.o.Fault == nil {
		return nil
	}
	return s.db.Close()
}

// release closes what Open has opened so far.
func (s *Store) release() error {
	var first error
	keep := func(err error) {
		if err != nil && first == nil {
			first = fmt.Errorf("storage: close: %s", reason(err))
		}
	}
	switch {
	case s.db == nil:
	case s.compacted(compactPatience):
		keep(s.closeBadger())
	default: // as a kill would leave it: the next Open reads the log
		s.o.Log.Warn("a compaction goes on: the store is not closed in order")
	}
	if s.work != nil && s.work.marks != nil {
		keep(s.work.marks.file.Sync())
		keep(s.work.marks.file.Close())
	}
	if m := s.mirror.Load(); m != nil {
		m.close()
	}
	if s.spool != nil {
		keep(s.spool.Close())
	}
	if s.view != "" {
		keep(os.RemoveAll(s.view))
	}
	if s.lock != nil {
		keep(s.lock.Close())
	}
	return first
}
