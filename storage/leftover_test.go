package storage

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAFileThatIsNoTableIsAnAlarm(t *testing.T) {
	s := three(t)
	known := map[string]bool{}
	s.leftovers(t.Context(), time.Now().Add(time.Hour), known)
	mustNotAlarm(t, s)
	stray := filepath.Join(s.o.Dir, "store", "000999.sst")
	if err := os.WriteFile(stray, []byte("half a table"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.leftovers(t.Context(), time.Now().Add(-leftoverAge), known) // it may still be named
	mustNotAlarm(t, s)
	s.leftovers(t.Context(), time.Now().Add(time.Hour), known)
	mustAlarm(t, s, "a compaction could not write a table")
	if _, err := os.Stat(filepath.Join(s.o.Dir, "damaged", "000999.sst")); err != nil {
		t.Errorf("it is not kept: %v", err)
	}
}

// lostTable gives a store, and the only table that held its entries, items and
// keys, which is none of its tables any more. Of those some were changed since.
func lostTable(t *testing.T) (s *Store, table string) {
	t.Helper()
	dir := t.TempDir()
	s = open(t, Options{Dir: dir})
	for range 9 {
		commit(t, s, func(b *Batch) {
			b.Append("c", []byte("entry"))
			b.Enqueue("q", "", []byte("item"))
			b.Put(string(rune('a'+s.Depth("q"))), []byte("old"))
		})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(dir, "store", "*.sst"))
	if err != nil || len(tables) != 1 {
		t.Fatal(tables, err)
	}
	table = filepath.Join(t.TempDir(), "000999.sst")
	if err := errors.Join(copyFile(tables[0], table)); err != nil {
		t.Fatal(err)
	}
	s = open(t, Options{Dir: dir})
	for _, space := range []byte{spaceJournal, spaceItem, spaceKey} {
		if err := s.db.DropPrefix([]byte{space}); err != nil {
			t.Fatal(err)
		}
	}
	commit(t, s, func(b *Batch) { b.Put("z", []byte("new")) })
	if items, err := s.Items("q", 0, 0); err != nil || len(items) != 0 {
		t.Fatal(items, err)
	}
	return s, table
}

func mustHaveTable(t *testing.T, s *Store) {
	t.Helper()
	told := func() bool {
		return slices.ContainsFunc(s.Alarms(), func(a Alarm) bool { return strings.Contains(a.What, "were put back from what it left behind") })
	}
	for deadline := time.Now().Add(time.Minute); !told() && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
	}
	if items, err := s.Items("q", 0, 0); err != nil || len(items) != 9 || string(items[8].Value) != "item" {
		t.Errorf("%v %v", items, err)
	}
	for seq := range uint64(9) {
		if v, err := s.Read(Ref{"c", seq + 1}); err != nil || string(v) != "entry" {
			t.Errorf("%d: %q %v", seq+1, v, err)
		}
	}
	if v, _, err := s.Get("c"); err != nil || string(v) != "old" {
		t.Errorf("%q %v", v, err)
	}
	if found, err := s.Scrub(t.Context()); err != nil || len(found) > 0 {
		t.Error(found, err)
	}
	if a := s.Alarms(); len(a) != 1 || !told() {
		t.Errorf("%v", a)
	}
}

func TestWhatACompactionLeftBehindIsPutBack(t *testing.T) {
	s, table := lostTable(t)
	s.alarms, s.known = nil, map[[2]string]bool{}
	if err := copyFile(table, filepath.Join(s.storeDir(), "000999.sst")); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	s.leftovers(t.Context(), time.Now().Add(time.Hour), known)
	mustHaveTable(t, s)
	n := s.commit
	s.leftovers(t.Context(), time.Now().Add(time.Hour), known)
	if s.commit != n {
		t.Error("it is put back again")
	}
}

func TestWhatACompactionLeftBehindIsPutBackAfterAKill(t *testing.T) {
	s, table := lostTable(t)
	dir := s.o.Dir
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := copyFile(table, filepath.Join(dir, "store", "000999.sst")); err != nil {
		t.Fatal(err)
	}
	s = open(t, Options{Dir: dir})
	mustHaveTable(t, s)
	if left, err := filepath.Glob(filepath.Join(dir, leftoverDir, "*")); err != nil || len(left) > 0 {
		t.Errorf("%v %v", left, err)
	}
}
