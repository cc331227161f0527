//go:build linux && (amd64 || arm64)

package storage

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// No commit waits for the value log, and nothing is ever in it, however long a value is.
func TestTheValueLogIsNotSyncedAndStaysEmpty(t *testing.T) {
	dir := t.TempDir()
	value := bytes.Repeat([]byte("x"), MaxValue)
	for range 2 { // new, and again
		s := open(t, Options{Dir: dir})
		commit(t, s, func(b *Batch) { b.Append("in", value) })
		maps, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			t.Skip("the mappings of a process cannot be read here")
		}
		private := 0
		for line := range strings.Lines(string(maps)) {
			if !strings.Contains(line, s.storeDir()) || !strings.HasSuffix(line, ".vlog\n") {
				continue
			}
			if private++; !strings.Contains(line, " rw-p ") {
				t.Errorf("the value log is mapped so that a sync goes to the disk: %s", line)
			}
		}
		if private == 0 {
			t.Error("no value log is mapped")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		logs, err := filepath.Glob(filepath.Join(s.storeDir(), "*.vlog"))
		if err != nil || len(logs) == 0 {
			t.Fatal(logs, err)
		}
		for _, log := range logs {
			b, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			if len(bytes.Trim(b[min(len(b), walHeader):], "\x00")) > 0 {
				t.Errorf("%s has values: %d bytes", filepath.Base(log), len(b))
			}
		}
	}
	s := open(t, Options{Dir: dir})
	if got, err := s.Read(Ref{"in", 2}); err != nil || !bytes.Equal(got, value) {
		t.Errorf("%d bytes are read back: %v", len(got), err)
	}
}
