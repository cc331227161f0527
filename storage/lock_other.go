//go:build !unix

package storage

import "os"

// lockFile opens the lock file. Badger's own directory lock keeps a second
// process away on these systems.
func lockFile(path string, shared bool) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}

func privateFiles() {}
