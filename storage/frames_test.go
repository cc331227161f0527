package storage

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"nhip/storage/spool"
)

// A file of a few kilobytes does not fill the disk.
func TestABackupThatGrowsWithoutEndIsRefused(t *testing.T) {
	var bomb bytes.Buffer
	f, err := newFrameWriter(&bomb)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(f.json(frameHead, Mark{Version: backupVersion, Format: formatVersion}), f.json(frameObject, spool.Ref{Path: "20260101-00/x", Length: 1 << 40}))
	zero := make([]byte, maxFrame)
	for range 300 {
		err = errors.Join(err, f.frame(frameData, zero))
	}
	if err := errors.Join(err, f.close()); err != nil {
		t.Fatal(err)
	}
	free := uint64(restoreRoom + 100<<20)
	dir := filepath.Join(t.TempDir(), "new")
	_, _, _, err = Restore(t.Context(), &bomb, dir, RestoreOptions{Next: func(n uint64) uint64 { return n }, Disk: func(string) (uint64, uint64, error) {
		free -= restoreEvery
		return free, 1 << 30, nil
	}})
	if !errors.Is(err, ErrDiskFull) {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("it leaves %v", left)
	}
}

func TestABackupThatNeedsMuchMemoryIsRefused(t *testing.T) {
	var wide bytes.Buffer
	z, err := zstd.NewWriter(&wide, zstd.WithWindowSize(64<<20))
	if err != nil {
		t.Fatal(err)
	}
	z.Write([]byte(framesMagic))
	z.Write(make([]byte, 70<<20))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := VerifyBackup(t.Context(), &wide); !errors.Is(err, ErrBackup) || !strings.Contains(err.Error(), "window") {
		t.Error(err)
	}
}
