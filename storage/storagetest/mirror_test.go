package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nhip/storage"
)

// spoil flips bits of every file of a kind: in the blocks of tables, anywhere in
// objects.
func spoil(t *testing.T, dir, kind string, bits int, r *rand.Rand) (files int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, kind) {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || len(b) == 0 || kind == ".sst" && len(b) < 32<<10 {
			return err
		}
		files++
		within := len(b)
		if kind == ".sst" {
			within = len(b) / 3 // the index is at the end: without it the store does not open
		}
		for range bits {
			b[r.IntN(within)] ^= 1 << r.IntN(8)
		}
		return os.WriteFile(path, b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// mustHaveAll reads all of a load.
func mustHaveAll(t *testing.T, s *storage.Store, acknowledged map[string]uint64) {
	t.Helper()
	if f := Check(s, acknowledged); len(f.Wrong) > 0 || len(f.Missing) > 0 {
		t.Errorf("wrong: %v\nmissing: %v", f.Wrong, f.Missing)
	}
}

// mustHaveJournal reads every entry and object of a load.
func mustHaveJournal(t *testing.T, s *storage.Store, acknowledged map[string]uint64) {
	t.Helper()
	f := &Finding{}
	f.entries(s, acknowledged)
	if len(f.Wrong) > 0 || len(f.Missing) > 0 {
		t.Errorf("wrong: %v\nmissing: %v", f.Wrong, f.Missing)
	}
}

func TestScrubRepairsJournalAndSpoolFromTheMirror(t *testing.T) {
	for _, late := range []bool{false, true} { // the mirror is configured from the start, or later
		t.Run(fmt.Sprint("late ", late), func(t *testing.T) {
			dir, mirror := t.TempDir(), t.TempDir()
			o := storage.Options{Dir: dir, Mirror: mirror}
			if late {
				o.Mirror = ""
			}
			s := open(t, o)
			acknowledged := map[string]uint64{}
			for _, name := range []string{"a", "b"} {
				p := &Producer{Store: s, Name: name, Spool: true}
				for range 60 {
					if err := p.Next(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				acknowledged[name] = p.N
			}
			if late {
				s.Close()
				o.Mirror = mirror
				s = open(t, o)
			}
			if alarms, err := s.Scrub(t.Context()); err != nil || len(alarms) > 0 {
				t.Fatalf("%v %v", alarms, err)
			}
			s.Close()

			r := rand.New(rand.NewPCG(3, 4))
			tables := spoil(t, filepath.Join(dir, "store"), ".sst", 8, r)
			objects := spoil(t, filepath.Join(dir, "spool"), "", 1, r)
			if tables == 0 || objects < 20 {
				t.Fatalf("%d tables, %d objects", tables, objects)
			}
			s = open(t, o)
			f := &Finding{}
			if f.entries(s, acknowledged); len(f.Missing) < objects/2 {
				t.Fatalf("the damage does not show: %v", f.Missing)
			}
			found, err := s.Scrub(t.Context())
			if err != nil || len(found) == 0 {
				t.Fatalf("%v %v", found, err)
			}
			var entries, files bool
			for _, a := range found {
				entries = entries || strings.Contains(a.What, "journal entries were put back")
				files = files || strings.HasPrefix(a.What, "put back")
			}
			if !entries || !files {
				t.Errorf("what was put back is not told: %v", found)
			}
			if a := s.Alarms(); len(a) > 0 {
				t.Errorf("all is whole again, and yet: %v", a)
			}
			mustBeWhole(t, s, acknowledged)
			s.Close()
			s = open(t, o)
			mustHaveAll(t, s, acknowledged)
		})
	}
}

func TestDamagedMirrorIsBroughtUpToDate(t *testing.T) {
	dir, mirror := t.TempDir(), t.TempDir()
	o := storage.Options{Dir: dir, Mirror: mirror}
	s := open(t, o)
	p := &Producer{Store: s, Name: "a", Spool: true}
	for range 40 {
		if err := p.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	r := rand.New(rand.NewPCG(5, 6))
	spoil(t, mirror, ".journal", 3, r)
	spoil(t, filepath.Join(mirror, "spool"), "", 1, r)
	s = open(t, o)
	if _, err := s.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Close()
	spoil(t, filepath.Join(dir, "store"), ".sst", 8, r)
	spoil(t, filepath.Join(dir, "spool"), "", 1, r)
	s = open(t, o)
	if _, err := s.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustHaveJournal(t, s, map[string]uint64{"a": p.N})
}

func TestNothingIsAcknowledgedBeforeItIsInTheMirror(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	s := open(t, storage.Options{Dir: t.TempDir(), Mirror: t.TempDir(), Fault: func(step string) error {
		if step == "mirror" {
			begun <- struct{}{}
			<-goOn
		}
		return nil
	}})
	told := make(chan error, 1)
	go func() {
		b := new(storage.Batch)
		b.Append("a", []byte("x"))
		_, err := s.Commit(t.Context(), b)
		told <- err
	}()
	<-begun
	select {
	case <-told:
		close(goOn)
		t.Fatal("acknowledged before it is in the mirror")
	case <-time.After(200 * time.Millisecond): // the commit itself has long been done
	}
	if n := s.Last("a"); n != 0 {
		t.Errorf("entry %d is shown before it is in the mirror", n)
	}
	close(goOn)
	if err := <-told; err != nil {
		t.Error(err)
	}
}

func TestMirrorThatFailsIsAnAlarmAndHoldsNothingUp(t *testing.T) {
	bad := false
	o := storage.Options{Dir: t.TempDir(), Mirror: t.TempDir(), Fault: func(step string) error {
		if step == "mirror" && bad {
			return errors.New("the disk is gone")
		}
		return nil
	}}
	s := open(t, o)
	bad = true
	p := &Producer{Store: s, Name: "a"}
	for range 5 {
		if err := p.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if a := s.Alarms(); len(a) != 1 || a[0].Where != "mirror" {
		t.Errorf("%v", a)
	}
	// A mirror of another store is not touched.
	other := open(t, storage.Options{Dir: t.TempDir(), Mirror: o.Mirror})
	if a := other.Alarms(); len(a) != 1 || !strings.Contains(a[0].What, "another data folder") {
		t.Errorf("%v", a)
	}
	// A restored store is the same one.
	dir := filepath.Join(t.TempDir(), "new")
	if _, _, _, err := storage.Restore(t.Context(), bytes.NewReader(backup(t, s)), dir, storage.RestoreOptions{Next: same}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	again := open(t, storage.Options{Dir: dir, Mirror: o.Mirror})
	if alarms, err := again.Scrub(t.Context()); err != nil || len(alarms)+len(again.Alarms()) > 0 {
		t.Errorf("%v %v %v", alarms, again.Alarms(), err)
	}
}
