package storage

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestATableThatACompactionLeftBehindIsAnAlarm(t *testing.T) {
	s := three(t)
	s.leftovers(time.Now().Add(time.Hour))
	mustNotAlarm(t, s)
	stray := filepath.Join(s.o.Dir, "store", "000999.sst")
	if err := os.WriteFile(stray, []byte("half a table"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.leftovers(time.Now().Add(-leftoverAge)) // it may still be named
	mustNotAlarm(t, s)
	s.leftovers(time.Now().Add(time.Hour))
	mustAlarm(t, s, "a compaction could not write a table")
	if _, err := os.Stat(filepath.Join(s.o.Dir, "damaged", "000999.sst")); err != nil {
		t.Errorf("it is not kept: %v", err)
	}
}
