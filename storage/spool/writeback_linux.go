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
