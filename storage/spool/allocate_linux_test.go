package spool

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// The blocks that were allocated for an object as long as the last ones are given
// back where it is shorter, and an object that is longer is whole.
func TestAShorterObjectKeepsNoBlocksOfAUsualOne(t *testing.T) {
	s, dir := open(t, Options{})
	const usual = 1 << 20
	for _, length := range []int{usual, usual, usual + 5000, usual, usual, 70000} {
		data := random(length)
		ref := write(t, s, data, 10000)
		if err := s.Verify(ref); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(dir, ref.Path))
		if err != nil {
			t.Fatal(err)
		}
		if blocks := info.Sys().(*syscall.Stat_t).Blocks * 512; blocks > int64(length)+64<<10 {
			t.Errorf("an object of %d bytes takes %d on disk", length, blocks)
		}
	}
	if s.usually() != 0 {
		t.Error("lengths that differ are usual")
	}
}
