// Package backup makes, verifies and restores backups of a gateway's data: the
// journal, the queues, the small states, and every object that the journal refers
// to, of one committed state (storage.Backup has the form). With a passphrase the
// file is encrypted and authenticated by age (scrypt and ChaCha20-Poly1305).
//
// What was acknowledged before the mark of a backup is in it. What came after it is
// not, and its numbers may be known outside: so a restored gateway goes on with
// numbers that cannot have been given out, see Restore.
package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"

	"nhip/gateway/control"
	"nhip/gateway/interpret"
	"nhip/gateway/vitals"
	"nhip/storage"
	"nhip/storage/diskguard"
)

// The ends of the names of backups.
const (
	plainEnd  = ".nhip-backup"
	sealedEnd = plainEnd + ".age"
	part      = ".part" // of one that is being written
)

// workFactor makes scrypt take 32 MiB and about a tenth of a second; maxFactor
// is the most that is accepted of a file, 1 GiB.
const (
	workFactor = 15
	maxFactor  = 20
)

// A Report says what a backup holds.
type Report struct {
	File      string        `json:"file"`
	Encrypted bool          `json:"encrypted"`
	Bytes     int64         `json:"bytes"` // of the file
	Mark      storage.Mark  `json:"mark"`
	Count     storage.Count `json:"count"`
	Problems  []string      `json:"problems,omitempty"`
}

// Passphrase reads a passphrase: the first line of a file, "" for no file.
func Passphrase(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("the passphrase file: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fmt.Errorf("the first line of the passphrase file %s is empty", file)
	}
	return line, nil
}

// Write makes a backup of a store that may be in use: in the folder to under a name
// with the site and the time, or as the file to, which must not be there yet.
func Write(ctx context.Context, s *storage.Store, site, to, passphrase string, now time.Time) (Report, error) {
	if info, err := os.Stat(to); err == nil {
		if !info.IsDir() {
			return Report{}, fmt.Errorf("%s is there already: a backup overwrites nothing", to)
		}
		to = filepath.Join(to, name(site, passphrase != "", now))
		if _, err := os.Stat(to); err == nil {
			return Report{}, fmt.Errorf("%s is there already: a backup overwrites nothing", to)
		}
	}
	r := Report{File: to, Encrypted: passphrase != ""}
	err := r.write(ctx, s, passphrase)
	if err != nil {
		return r, fmt.Errorf("backup: %w", errors.Join(err, remove(to+part)))
	}
	return r, nil
}

func remove(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// write writes beside the file and gives it its name when it is whole and on the
// disk.
func (r *Report) write(ctx context.Context, s *storage.Store, passphrase string) error {
	file, err := os.OpenFile(r.File+part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	to := io.WriteCloser(file)
	if passphrase != "" {
		if to, err = seal(file, passphrase); err != nil {
			return err
		}
	}
	if r.Mark, r.Count, err = s.Backup(ctx, to); err != nil {
		return err
	}
	if passphrase != "" {
		if err := to.Close(); err != nil {
			return err
		}
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	r.Bytes = info.Size()
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(r.File+part, r.File); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(r.File))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func seal(w io.Writer, passphrase string) (io.WriteCloser, error) {
	recipient, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, err
	}
	recipient.SetWorkFactor(workFactor)
	return age.Encrypt(w, recipient)
}

const stamp = "20060102-150405"

func name(site string, sealed bool, now time.Time) string {
	end := plainEnd
	if sealed {
		end = sealedEnd
	}
	return site + "-" + now.UTC().Format(stamp) + end
}

// made says when a backup of a site was made, from its name.
func made(site, name string) (time.Time, bool) {
	rest, ok := strings.CutPrefix(name, site+"-")
	if !ok {
		return time.Time{}, false
	}
	at, ok := strings.CutSuffix(rest, sealedEnd)
	if !ok {
		if at, ok = strings.CutSuffix(rest, plainEnd); !ok {
			return time.Time{}, false
		}
	}
	t, err := time.ParseInLocation(stamp, at, time.UTC)
	return t, err == nil
}

// Errors about a passphrase.
var (
	ErrNeedsPassphrase = errors.New("the backup is encrypted: a passphrase is needed")
	ErrPassphrase      = errors.New("the passphrase is not the one of this backup")
)

const ageBegins = "age-encryption.org/"

// open opens a backup for reading.
func open(file, passphrase string) (r io.Reader, report Report, done func(), err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, report, nil, err
	}
	fail := func(err error) (io.Reader, Report, func(), error) {
		f.Close()
		return nil, report, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return fail(err)
	}
	report = Report{File: file, Bytes: info.Size()}
	begins := make([]byte, len(ageBegins))
	if _, err := f.ReadAt(begins, 0); err != nil && !errors.Is(err, io.EOF) {
		return fail(err)
	}
	if string(begins) != ageBegins {
		return f, report, func() { f.Close() }, nil
	}
	report.Encrypted = true
	if passphrase == "" {
		return fail(ErrNeedsPassphrase)
	}
	identity, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return fail(err)
	}
	identity.SetMaxWorkFactor(maxFactor)
	r, err = age.Decrypt(f, identity)
	var wrong *age.NoIdentityMatchError
	switch {
	case errors.As(err, &wrong):
		return fail(ErrPassphrase)
	case err != nil:
		return fail(fmt.Errorf("%w: %w", storage.ErrBackup, err))
	}
	return r, report, func() { f.Close() }, nil
}

// Verify reads a whole backup again: see storage.VerifyBackup. An error says that it
// cannot be restored; Report.Problems what it lacks.
func Verify(ctx context.Context, file, passphrase string) (Report, error) {
	r, report, done, err := open(file, passphrase)
	if err != nil {
		return report, err
	}
	defer done()
	report.Mark, report.Count, report.Problems, err = storage.VerifyBackup(ctx, r)
	return report, err
}

// Restore makes the data directory dir, which must be empty or not be there, of a
// backup. The new gateway begins a new epoch:
//
//	message control IDs            the next epoch, and a counter that begins with the time
//	journal and queue numbers,     begin with the time: units of 100 µs since 2026
//	numbers of observations
//	acknowledgement IDs            have the time in them anyway
//
// So a number that was given out after the backup was made is not given out again,
// nor is one when the same backup is restored twice, as long as the clock is right
// and fewer than 10,000 a second are given out. What the backup has queued is sent
// under the control ID that it had.
func Restore(ctx context.Context, file, dir, passphrase string, log *slog.Logger, now time.Time) (Report, error) {
	r, report, done, err := open(file, passphrase)
	if err != nil {
		return report, err
	}
	defer done()
	report.Mark, report.Count, report.Problems, err = storage.Restore(ctx, r, dir, storage.RestoreOptions{
		Disk: diskguard.System,
		Log:  log,
		Next: func(last uint64) uint64 { return after(last, now) },
		Finish: func(ctx context.Context, s *storage.Store) error {
			return newEpoch(ctx, s, filepath.Base(file), now)
		},
	})
	return report, err
}

// begin is when the numbers of restored gateways begin.
var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// after is a number above last that says when it was chosen. Where the clock is
// behind what was given out already it is a large step above that.
func after(last uint64, now time.Time) uint64 {
	if n := now.Sub(begin) / (100 * time.Microsecond); n > 0 && uint64(n) > last {
		return uint64(n)
	}
	return last + 1<<32
}

// newEpoch moves on what is stored under keys, and notes the restore for whoever
// looks at the audit trail.
func newEpoch(ctx context.Context, s *storage.Store, file string, now time.Time) error {
	b := new(storage.Batch)
	if err := interpret.BeginEpoch(s, b, after(0, now)); err != nil {
		return err
	}
	if err := vitals.Skip(s, b, func(last uint64) uint64 { return after(last, now) }); err != nil {
		return err
	}
	control.Of(control.Self(""), "restore", file, "", now).Write(b)
	_, err := s.Commit(ctx, b)
	return err
}
