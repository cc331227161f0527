package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"nhip/storage"
)

// Where no gateway runs the command puts back what the mirror has.
func TestScrubWithoutAGatewayRepairsFromTheMirror(t *testing.T) {
	dir := t.TempDir()
	data, mirror := filepath.Join(dir, "data"), filepath.Join(dir, "mirror")
	file := filepath.Join(dir, "site.toml")
	text := fmt.Sprintf("[site]\nid = \"bv\"\ndata = %q\nmirror = %q\n[console]\nlisten = \"127.0.0.1:0\"\n", data, mirror)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := storage.Open(t.Context(), storage.Options{Dir: data, Mirror: mirror})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		b := new(storage.Batch)
		b.Enqueue("q", "", make([]byte, 2000), b.Append("c", fmt.Append(make([]byte, 2000), i)))
		b.Put(fmt.Sprint("key", i), make([]byte, 500))
		if _, err := s.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(data, "store", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatal(tables, err)
	}
	for _, path := range tables {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []int{len(b) / 4, len(b) / 2, len(b) * 3 / 4} {
			b[at] ^= 1
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	scrub := func() (findings int) {
		t.Helper()
		cfg, ok := load(file, nil)
		if !ok {
			t.Fatal("the configuration has errors")
		}
		r, err := scrubOfStore(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range r.Found {
			t.Log(a.Where, a.What)
		}
		return len(r.Found)
	}
	if scrub() == 0 {
		t.Fatal("the damage does not show")
	}
	s, err = storage.Open(t.Context(), storage.Options{Dir: data, Mirror: mirror})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if items, err := s.Items("q", 0, 0); err != nil || len(items) != 300 {
		t.Errorf("%d items, %v", len(items), err)
	}
	if keys, err := s.Keys("key", 0); err != nil || len(keys) != 300 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
	entries := 0
	if err := s.Range("c", 1, 0, false, func(storage.Ref, []byte) bool { entries++; return true }); err != nil || entries != 300 {
		t.Errorf("%d entries, %v", entries, err)
	}
}
