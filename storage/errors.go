package storage

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

var (
	ErrClosed   = errors.New("storage: the store is closed")
	ErrFailed   = errors.New("storage: a commit or fsync failed; nothing more is taken until a restart")
	ErrReadOnly = errors.New("storage: the store is open for reading only")
	ErrInUse    = errors.New("storage: another process has the store open")
	ErrFormat   = errors.New("storage: the store was written by a newer version of nhip; use that version or a newer one")

	ErrNotFound = errors.New("storage: not found")
	ErrExists   = errors.New("storage: the key exists already")
	ErrNoItem   = errors.New("storage: no such item in the queue")
	ErrTooLarge = errors.New("storage: too large; it belongs in the spool")
	ErrName     = errors.New("storage: bad name")
	ErrTrimmed  = fmt.Errorf("%w: it was trimmed, or never written", ErrNotFound)
	ErrGaps     = errors.New("storage: the channel has too many gaps to trim around what stays")
)

// A DamagedError says that records which were committed cannot be read: their
// bytes fail the checksum, or they are gone. It has no content in it.
type DamagedError struct {
	Where    string // channel, queue or key space
	From, To uint64 // sequences; 0 for a key
	Missing  bool   // gone, rather than failing the checksum
}

func (e *DamagedError) Error() string {
	what := "fails its checksum"
	if e.Missing {
		what = "is missing"
	}
	switch {
	case e.From == 0:
		return fmt.Sprintf("storage: %s: a record %s", e.Where, what)
	case e.From == e.To:
		return fmt.Sprintf("storage: %s/%d %s", e.Where, e.From, what)
	}
	return fmt.Sprintf("storage: %s/%d to %d: every one %s", e.Where, e.From, e.To, what)
}

// An Alarm is something that a person has to know: what was found wrong, in
// words without patient data.
type Alarm struct {
	What  string
	Where string
	At    time.Time

	heals bool // a repair takes it back
}

// reason gives what may be said of an error of Badger or of a file: the system's
// own words and nothing else, since Badger's messages can hold the bytes of a
// record.
func reason(err error) string {
	var errno syscall.Errno
	if errors.Is(err, ErrDiskFull) {
		return "the disk is too full"
	}
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return "no reason that may be shown"
}
