//go:build unix

package storage

import (
	"io/fs"
	"syscall"
)

// blocks is what a file takes of the disk, without its holes.
func blocks(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Blocks) * 512
	}
	return uint64(info.Size())
}
