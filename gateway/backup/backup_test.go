package backup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"nhip/gateway/intake"
	"nhip/gateway/interpret"
	"nhip/gateway/vitals"
	"nhip/storage"
)

var quiet = slog.New(slog.DiscardHandler)

// filled is a store with messages small and large, numbers, and a queue.
func filled(t *testing.T, dir string) *storage.Store {
	t.Helper()
	s, err := storage.Open(t.Context(), storage.Options{Dir: dir, SpoolRefs: intake.SpoolRefs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	in := intake.New(s, quiet)
	for i, size := range []int{100, 300 << 10, 5000} {
		body := make([]byte, size)
		copy(body, fmt.Sprint("message ", i))
		if err := in.Observation(t.Context(), intake.KindObservation, "bed-1", "", body, nil); err != nil {
			t.Fatal(err)
		}
	}
	b := new(storage.Batch)
	b.Put(vitals.SeqKey("bed-1"), []byte("17"))
	b.Put("control-id", []byte(`{"epoch":3,"next":42}`))
	if _, err := s.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return s
}

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func TestBackupComesBackWithAllThatWasInIt(t *testing.T) {
	for _, passphrase := range []string{"", "con đường xưa"} {
		s := filled(t, t.TempDir())
		folder := t.TempDir()
		made, err := Write(t.Context(), s, "site", folder, passphrase, noon)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Verify(t.Context(), made.File, passphrase)
		if err != nil || len(got.Problems) > 0 || got.Count != made.Count || got.Encrypted != (passphrase != "") || got.Count.Objects != 1 {
			t.Fatalf("%+v %v", got, err)
		}
		dir := filepath.Join(t.TempDir(), "data")
		if _, err := Restore(t.Context(), made.File, dir, passphrase, quiet, noon); err != nil {
			t.Fatal(err)
		}
		r, err := storage.Open(t.Context(), storage.Options{Dir: dir, SpoolRefs: intake.SpoolRefs})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if alarms, err := r.Scrub(t.Context()); err != nil || len(alarms)+len(r.Alarms()) > 0 {
			t.Errorf("%v %v", r.Alarms(), err)
		}
		n := 0
		r.Range("in/bed-1", 1, 0, false, func(_ storage.Ref, b []byte) bool {
			e, err := intake.DecodeEntry(b)
			if err == nil {
				_, err = intake.Body(r, e)
			}
			if err != nil {
				t.Error(err)
			}
			n++
			return true
		})
		if n != 3 || r.Depth(intake.Interpret) != 3 || r.Snapshot().Counters["accepted"] != 3 {
			t.Errorf("%d entries, %d items, %v", n, r.Depth(intake.Interpret), r.Snapshot().Counters)
		}
		if _, err := Write(t.Context(), s, "site", made.File, passphrase, noon); err == nil {
			t.Error("a backup was overwritten")
		}
	}
}

func TestEncryptedBackupNeedsItsPassphrase(t *testing.T) {
	s := filled(t, t.TempDir())
	made, err := Write(t.Context(), s, "site", t.TempDir(), "right", noon)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(made.File)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(t.Context(), made.File, ""); !errors.Is(err, ErrNeedsPassphrase) {
		t.Errorf("none: %v", err)
	}
	if _, err := Verify(t.Context(), made.File, "wrong"); !errors.Is(err, ErrPassphrase) {
		t.Errorf("a wrong one: %v", err)
	}
	dir := t.TempDir()
	if _, err := Restore(t.Context(), made.File, dir, "wrong", quiet, noon); !errors.Is(err, ErrPassphrase) {
		t.Errorf("a wrong one: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	for what, bad := range map[string][]byte{
		"cut":           b[:len(b)-len(b)/3],
		"cut at a part": b[:len(b)-16],
		"flipped":       flip(b, len(b)/2),
		"end flipped":   flip(b, len(b)-1),
	} {
		file := filepath.Join(t.TempDir(), "b")
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(t.Context(), file, "right"); !errors.Is(err, storage.ErrBackup) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func flip(b []byte, at int) []byte {
	c := append([]byte(nil), b...)
	c[at] ^= 4
	return c
}

// TestRestoreHandsNoNumberOutTwice restores the same backup twice, each time after
// more was given out.
func TestRestoreHandsNoNumberOutTwice(t *testing.T) {
	s := filled(t, t.TempDir())
	made, err := Write(t.Context(), s, "site", t.TempDir(), "", noon)
	if err != nil {
		t.Fatal(err)
	}
	given := map[string]bool{}
	give := func(s *storage.Store) {
		stored, _, err := s.Get("control-id")
		if err != nil {
			t.Fatal(err)
		}
		series, err := interpret.NewSeries("site", stored)
		if err != nil {
			t.Fatal(err)
		}
		names := []string{}
		for _, device := range []string{"bed-1", "bed-new"} {
			last, err := vitals.LastSeq(s, device)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, fmt.Sprint("vitals ", device, last+1))
		}
		b := new(storage.Batch)
		e, n := b.Append("in/bed-1", nil), b.Append("in/new", nil)
		i, j := b.Enqueue(intake.Interpret, "", nil), b.Enqueue("to/new", "", nil)
		b.Put(vitals.SeqKey("bed-new"), []byte("1"))
		got, err := s.Commit(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, got.Entry(e).String(), got.Entry(n).String(), fmt.Sprint("item ", got.Item(i)), fmt.Sprint("item of new ", got.Item(j)))
		for range 1000 {
			names = append(names, series.Take())
		}
		for _, name := range names {
			if given[name] {
				t.Errorf("%s was given out twice", name)
			}
			given[name] = true
		}
		if id := names[len(names)-1]; len(id) > 20 {
			t.Errorf("%s has %d characters", id, len(id))
		}
	}
	give(s)
	for i := range 3 {
		dir := filepath.Join(t.TempDir(), "data")
		if _, err := Restore(t.Context(), made.File, dir, "", quiet, noon.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
		r, err := storage.Open(t.Context(), storage.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		give(r)
		r.Close()
	}
}

func TestNumbersGoOnWhereTheClockIsBehind(t *testing.T) {
	if n := after(5, begin.Add(-time.Hour)); n <= 5 {
		t.Errorf("%d", n)
	}
	if n := after(1<<40, begin.Add(time.Hour)); n <= 1<<40 {
		t.Errorf("%d", n)
	}
	if n := after(5, noon); n != uint64(noon.Sub(begin)/(100*time.Microsecond)) {
		t.Errorf("%d", n)
	}
}

func TestScheduleMakesThemInTimeAndKeepsTheNewest(t *testing.T) {
	folder, data := t.TempDir(), t.TempDir()
	other := filepath.Join(folder, "site-of-somebody-else")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s, err := storage.Open(t.Context(), storage.Options{Dir: data})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		ctx, stop := context.WithCancel(t.Context())
		k := &Schedule{Store: s, Site: "site", To: folder, Every: time.Hour, Keep: 3, Log: quiet}
		ended := make(chan error)
		go func() { ended <- k.Run(ctx) }()
		time.Sleep(5*time.Hour + time.Minute) // of the bubble's clock
		names, err := k.backups()
		if err != nil || len(names) != 3 {
			t.Errorf("%v %v", names, err)
		}
		if st := k.State(); st.Failed != "" || time.Since(st.Last) > time.Hour || k.Overdue(time.Now()) {
			t.Errorf("%+v", st)
		}
		k.To = filepath.Join(folder, "gone")
		time.Sleep(3 * time.Hour)
		if st := k.State(); st.Failed == "" || !k.Overdue(time.Now()) {
			t.Errorf("a folder that is gone: %+v", st)
		}
		stop()
		<-ended
	})
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
}

func TestPassphraseFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p")
	for text, want := range map[string]string{"abc\n": "abc", "abc\r\nx": "abc", "a b": "a b", "\nabc": "", "": ""} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Passphrase(file)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}
