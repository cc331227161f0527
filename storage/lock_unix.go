//go:build unix

package storage

import (
	"os"
	"syscall"
)

// lockFile takes the lock of the data directory, shared or for one process. The
// system gives it up when the process ends, however it ends.
func lockFile(path string, shared bool) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	how := syscall.LOCK_EX
	if shared {
		how = syscall.LOCK_SH
	}
	if err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB); err != nil {
		f.Close()
		if err == syscall.EWOULDBLOCK {
			return nil, ErrInUse
		}
		return nil, err
	}
	return f, nil
}

// privateFiles makes every file that this process creates readable by its owner
// only: Badger creates its own with mode 0666.
func privateFiles() { syscall.Umask(0o077) }
