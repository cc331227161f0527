package versions_test

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"nhip/gateway/control"
	"nhip/gateway/versions"
	"nhip/storage"
	"nhip/storage/storagetest"
)

var (
	now   = time.Date(2026, 1, 14, 8, 0, 0, 0, time.UTC)
	who   = control.Actor{User: "root", By: "Hoa", Via: control.ViaSocket}
	words = versions.Words{Keys: "codes", Name: "codes"}
)

func parse(_ string, text []byte) (string, error) {
	if string(text) == "bad" {
		return "", errors.New("it is bad")
	}
	return string(text), nil
}

func open(t *testing.T, dir string, fault func(string) error) (*storage.Store, *versions.Keeper[string]) {
	t.Helper()
	s, err := storage.Open(t.Context(), storage.Options{Dir: dir, Log: slog.New(slog.DiscardHandler), Fault: fault})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	k, err := versions.Open(s, words, parse, []string{"xn-1", "au-1"})
	if err != nil {
		t.Fatal(err)
	}
	return s, k
}

// audits are how many acts the audit journal has.
func audits(t *testing.T, s *storage.Store) (n int) {
	t.Helper()
	if err := s.Range(control.AuditChannel, 1, 0, false, func(storage.Ref, []byte) bool { n++; return true }); err != nil {
		t.Fatal(err)
	}
	return n
}

// The process dies at each step of a change: what is live afterwards is what was before,
// or the change, whole: with its version, its text and its line in the audit journal.
func TestAChangeThatDiesIsThereWholeOrNotAtAll(t *testing.T) {
	changes := map[string]struct {
		do   func(*versions.Keeper[string]) error
		want string
	}{
		"activate": {func(k *versions.Keeper[string]) error {
			_, err := k.Activate(t.Context(), who, "xn-1", "third", "", []byte("three"), now)
			return err
		}, "three"},
		"undo": {func(k *versions.Keeper[string]) error {
			_, err := k.Undo(t.Context(), who, "xn-1", "", now)
			return err
		}, "one"},
		"configure": {func(k *versions.Keeper[string]) error {
			return k.Configure(t.Context(), "xn-1", "f", []byte("file"), now)
		}, "file"},
	}
	for name, change := range changes {
		died := 0
		for n := 0; ; n++ {
			dir, image := t.TempDir(), t.TempDir()
			var mu sync.Mutex
			at, step := -1, 0 // it dies at this step of the change
			s, k := open(t, dir, func(string) error {
				mu.Lock()
				defer mu.Unlock()
				if at < 0 {
					return nil
				}
				step++
				if step > at {
					return storagetest.ErrDied
				}
				return nil
			})
			for i, text := range []string{"one", "two"} {
				if _, err := k.Activate(t.Context(), who, "xn-1", fmt.Sprint(i), "", []byte(text), now); err != nil {
					t.Fatal(err)
				}
			}
			mu.Lock()
			at = n
			mu.Unlock()
			failed := change.do(k)
			if live := k.Live("xn-1").Value; failed == nil && live != change.want || failed != nil && live != "two" {
				t.Errorf("%s, step %d: in memory %q, %v", name, n, live, failed)
			}
			if err := storagetest.Image(dir, image); err != nil {
				t.Fatal(err)
			}
			s.Close()
			after, again := open(t, image, nil)
			live := again.Live("xn-1")
			done := live.Value == change.want
			switch {
			case live.Broken != nil, !done && live.Value != "two", failed == nil && !done:
				t.Errorf("%s, step %d (%v): %+v is live", name, n, failed, live)
			case done != (audits(t, after) == 3):
				t.Errorf("%s, step %d: %+v is live, with %d acts", name, n, live, audits(t, after))
			}
			if all, _, err := again.History("xn-1"); err != nil || len(all) < 2 {
				t.Errorf("%s, step %d: %d versions, %v", name, n, len(all), err)
			}
			if v, err := again.Activate(t.Context(), who, "xn-1", "next", "", []byte("next"), now); err != nil || again.Live("xn-1").Value != "next" || v.Before != live.Version {
				t.Errorf("%s, step %d: nothing can be changed any more: %+v %v", name, n, v, err)
			}
			after.Close()
			if failed == nil {
				break
			}
			died++
		}
		if died == 0 {
			t.Errorf("%s never died", name)
		}
	}
}

func TestNamesAreKeptApart(t *testing.T) {
	s, k := open(t, t.TempDir(), nil)
	if _, err := k.Activate(t.Context(), who, "xn-1", "a", "", []byte("one"), now); err != nil {
		t.Fatal(err)
	}
	if k.Live("au-1") != nil || k.Live("nobody") != nil || !k.Knows("au-1") || k.Knows("nobody") {
		t.Error("the names")
	}
	if _, err := k.Undo(t.Context(), who, "au-1", "", now); !errors.Is(err, versions.ErrNone) {
		t.Error(err)
	}
	if _, err := k.Activate(t.Context(), who, "xn-1", "b", "", []byte("bad"), now); err == nil || k.Live("xn-1").Value != "one" {
		t.Errorf("what is bad went live: %v", err)
	}
	if _, err := k.Version("xn-1", 9); !errors.Is(err, versions.ErrVersion) {
		t.Error(err)
	}
	var none *versions.Keeper[string]
	if none.Live("xn-1") != nil || audits(t, s) != 1 {
		t.Error("a keeper that is not there, or what was refused is in the audit journal")
	}
}
