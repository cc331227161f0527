package storage

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// allocate gives a file blocks up to size and leaves its length as it is. A file
// system that cannot is done without: then only the guard speaks before it is full.
func allocate(f *os.File, size int64) error {
	const keepSize = 1 // FALLOC_FL_KEEP_SIZE
	for {
		err := syscall.Fallocate(int(f.Fd()), keepSize, 0, size)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.ENOSYS):
			return nil
		}
		return err
	}
}

// residentFiles is how much of mapped files is in the memory of the process.
func residentFiles() int {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, resident, shared int
	if _, err := fmt.Sscan(string(b), &size, &resident, &shared); err != nil {
		return 0
	}
	return shared * os.Getpagesize()
}
