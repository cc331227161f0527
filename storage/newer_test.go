package storage

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/newer.tar.gz anew")

// TestNewerStoreIsRefused has a store as a version far ahead would leave it; the
// program's own test refuses it too.
func TestNewerStoreIsRefused(t *testing.T) {
	const file = "testdata/newer.tar.gz"
	if *update {
		writeNewer(t, file)
	}
	dir := unpack(t, file)
	for _, readOnly := range []bool{false, true} {
		if s, err := Open(t.Context(), Options{Dir: dir, ReadOnly: readOnly}); !errors.Is(err, ErrFormat) {
			t.Errorf("read only %v: %v", readOnly, err)
			if err == nil {
				s.Close()
			}
		}
	}
}

// unpack gives the folder that an archive holds.
func unpack(t *testing.T, file string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		b, err := io.ReadAll(r)
		if err := errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, b, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func writeNewer(t *testing.T, file string) {
	t.Helper()
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	s.work.root.format = 1000
	commit(t, s, func(b *Batch) { b.Append("c", nil) })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	w := tar.NewWriter(z)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
}
