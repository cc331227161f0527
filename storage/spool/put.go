package spool

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"
)

// Put writes the bytes of an object under the path that its Ref says, durably,
// for a restore and for the repair of a damaged one. It compares the hash; with
// asItIs it keeps other bytes too, which Verify and all readers then refuse.
func (s *Spool) Put(ref Ref, r io.Reader, asItIs bool) (err error) {
	dir := path.Dir(ref.Path)
	if !fs.ValidPath(ref.Path) || dir == "." || dir == tmp || path.Dir(dir) != "." {
		return &DamagedError{ref.Path, "this is no path of an object"}
	}
	if err := s.root.Mkdir(dir, 0o700); err == nil {
		err = s.syncDir(".")
		if err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("storage/spool: %w", err)
	}
	name := path.Join(tmp, newName(time.Now()))
	file, err := s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("storage/spool: create: %w", err)
	}
	defer func() {
		if err != nil {
			s.root.Remove(name)
		}
	}()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(file, h), r)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("storage/spool: write: %w", err)
	}
	if !asItIs && (n != ref.Length || [32]byte(h.Sum(nil)) != ref.SHA256) {
		return &DamagedError{ref.Path, "the copy has another SHA-256"}
	}
	if err := s.root.Rename(name, ref.Path); err != nil {
		return fmt.Errorf("storage/spool: rename: %w", err)
	}
	return s.syncDir(dir)
}
