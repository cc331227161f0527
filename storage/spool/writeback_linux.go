package spool

import (
	"os"

	"golang.org/x/sys/unix"
)

// startWriteBack asks the system to begin writing a range, so that the fsync at
// the end waits for little. It is advice: an error shows again at the fsync.
func startWriteBack(f *os.File, from, length int64) {
	_ = unix.SyncFileRange(int(f.Fd()), from, length, unix.SYNC_FILE_RANGE_WRITE)
}

// allocate gives a file blocks up to a length, and leaves its length as it is. It
// reports whether it did: the file can be written without.
func allocate(f *os.File, length int64) bool {
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, length) == nil
}
