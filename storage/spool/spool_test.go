package spool

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func open(t *testing.T, o Options) (*Spool, string) {
	t.Helper()
	dir := t.TempDir()
	s, err := OpenWith(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, dir
}

func random(n int) []byte {
	r := rand.New(rand.NewPCG(uint64(n), 0))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func write(t *testing.T, s *Spool, data []byte, pieces ...int) Ref {
	t.Helper()
	w, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for i := 0; len(data) > 0; i++ {
		n := len(data)
		if len(pieces) > 0 {
			n = min(n, pieces[i%len(pieces)])
		}
		if _, err := w.Write(data[:n]); err != nil {
			t.Fatal(err)
		}
		data = data[n:]
	}
	ref, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func TestObjectIsWhatWasWritten(t *testing.T) {
	s, dir := open(t, Options{})
	for _, size := range []int{0, 1, direct - 1, direct, bufferSize, bufferSize + 1, 3*early + 17} {
		for _, pieces := range [][]int{nil, {1000}, {direct}, {bufferSize - 12}, {10, bufferSize + 5, direct + 1}} {
			data := random(size)
			ref := write(t, s, data, pieces...)
			if ref.Length != int64(size) || ref.SHA256 != sha256.Sum256(data) {
				t.Errorf("%d in %v: %+v", size, pieces, ref)
			}
			r, err := s.Open(ref)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if r.Close(); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d in %v: read %d bytes, %v", size, pieces, len(got), err)
			}
			if err := s.Verify(ref); err != nil {
				t.Error(err)
			}
		}
	}
	if left, _ := os.ReadDir(filepath.Join(dir, tmp)); len(left) > 0 {
		t.Errorf("left in tmp: %v", left)
	}
}

func TestRefIsKeptAsJSON(t *testing.T) {
	s, _ := open(t, Options{})
	ref := write(t, s, []byte("x"))
	b, err := json.Marshal(ref)
	if err != nil {
		t.Fatal(err)
	}
	var back Ref
	if err := json.Unmarshal(b, &back); err != nil || back != ref {
		t.Errorf("%s: %+v %v", b, back, err)
	}
}

func TestAbortedObjectLeavesNothing(t *testing.T) {
	s, dir := open(t, Options{})
	w, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	w.Write(random(1 << 20))
	w.Abort()
	w.Abort()
	if n := files(t, dir); n != 0 {
		t.Errorf("%d files", n)
	}
}

func files(t *testing.T, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDamageIsFound(t *testing.T) {
	s, dir := open(t, Options{})
	for name, damage := range map[string]func(path string) error{
		"gone":    os.Remove,
		"shorter": func(path string) error { return os.Truncate(path, 99) },
		"longer":  func(path string) error { return os.Truncate(path, 101) },
		"flipped": func(path string) error {
			b, err := os.ReadFile(path)
			if err == nil {
				b[50] ^= 1
				err = os.WriteFile(path, b, 0o600)
			}
			return err
		},
	} {
		ref := write(t, s, random(100))
		if err := damage(filepath.Join(dir, ref.Path)); err != nil {
			t.Fatal(err)
		}
		var damaged *DamagedError
		if err := s.Verify(ref); !errors.As(err, &damaged) {
			t.Errorf("%s: verify says %v", name, err)
		}
		if _, err := s.Open(ref); name != "flipped" && !errors.As(err, &damaged) {
			t.Errorf("%s: open says %v", name, err)
		}
	}
}

func TestNoRefLeadsOutOfTheSpool(t *testing.T) {
	s, dir := open(t, Options{})
	outside := filepath.Join(filepath.Dir(dir), "secret")
	if err := os.WriteFile(outside, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(outside)
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"../secret", outside, "tmp/../../secret", "link"} {
		ref := Ref{Path: path, Length: 1}
		if _, err := s.Open(ref); err == nil {
			t.Errorf("%s was opened", path)
		}
		if path == "link" {
			continue
		}
		if err := s.Remove(ref); err == nil && !exists(outside) {
			t.Errorf("%s was removed", path)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestRestartSweepsWhatWasBeingWritten(t *testing.T) {
	s, dir := open(t, Options{})
	kept := write(t, s, []byte("kept"))
	w, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	w.Write(random(1 << 20))
	s.Close()
	s, err = Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if n := files(t, dir); n != 1 {
		t.Errorf("%d files", n)
	}
	if err := s.Verify(kept); err != nil {
		t.Error(err)
	}
}

func TestOrphans(t *testing.T) {
	s, _ := open(t, Options{})
	a, b := write(t, s, []byte("a")), write(t, s, []byte("b"))
	known := func(path string) bool { return path == a.Path }
	if got, err := s.Orphans(known, time.Now().Add(time.Hour)); err != nil || len(got) != 1 || got[0] != b.Path {
		t.Errorf("%v %v", got, err)
	}
	if got, err := s.Orphans(known, time.Now().Add(-time.Hour)); err != nil || len(got) != 0 {
		t.Errorf("young ones: %v %v", got, err)
	}
	for range 2 {
		if err := s.Remove(b); err != nil {
			t.Error(err)
		}
	}
}

func TestFailedStepMeansNoObjectAndAFailedFsyncIsReported(t *testing.T) {
	for _, step := range []string{"create", "write", "fsync", "rename", "fsyncdir"} {
		var failed error
		s, dir := open(t, Options{
			Failed: func(err error) { failed = err },
			Fault: func(now string) error {
				if now == step {
					return errors.New("full")
				}
				return nil
			},
		})
		w, err := s.Create()
		if err == nil {
			w.Write([]byte("x"))
			_, err = w.Commit()
		}
		if err == nil {
			t.Errorf("%s: an object", step)
		}
		if fsync := step == "fsync" || step == "fsyncdir"; (failed != nil) != fsync {
			t.Errorf("%s: reported %v", step, failed)
		}
		if left, _ := os.ReadDir(filepath.Join(dir, tmp)); len(left) > 0 {
			t.Errorf("%s: left in tmp: %v", step, left)
		}
	}
}

func TestWritersShareAnFsyncOfTheDirectory(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		syncs := 0
		s, err := OpenWith(dir, Options{Fault: func(step string) error {
			if step != "fsyncdir" {
				return nil
			}
			mu.Lock()
			syncs++
			mu.Unlock()
			time.Sleep(time.Second) // a slow disk, in virtual time
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		write(t, s, nil)
		if syncs != 2 { // the spool, for the new shard, and the shard
			t.Errorf("the first object: %d", syncs)
		}
		syncs = 0
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { write(t, s, nil) })
		}
		wg.Wait()
		if syncs != 2 {
			t.Errorf("20 objects at once: %d", syncs)
		}
	})
}
