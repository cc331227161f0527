//go:build linux && (amd64 || arm64)

package storage

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// leaveOut takes Badger's value log out of what every commit waits for. Badger syncs it
// before each write to the write-ahead log, though nothing is ever in it: no value is
// as long as its threshold. To the disk that is one more flush of its cache a commit.
// The file is synced once and then mapped privately at the same address, where a sync
// has nothing to do. What cannot be done so is left as it was.
func leaveOut(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(maps)) {
		line = strings.TrimSuffix(line, "\n")
		_, path, found := strings.Cut(line, " "+dir+"/")
		if !found || !strings.HasSuffix(path, ".vlog") || strings.Contains(path, "/") || !strings.Contains(line, " rw-s 00000000 ") {
			continue
		}
		var from, to uintptr
		if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil {
			continue
		}
		if err := private(filepath.Join(dir, path), from, to); err != nil {
			return err
		}
	}
	return nil
}

// private maps a file privately where it is mapped.
func private(path string, from, to uintptr) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	_, _, failed := syscall.Syscall6(syscall.SYS_MMAP, from, to-from, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_FIXED, f.Fd(), 0)
	if failed != 0 {
		return failed
	}
	return nil
}
