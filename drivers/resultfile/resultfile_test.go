package resultfile_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nhip/drivers/resultfile"
)

// handler is the owner of a store.
type handler struct {
	mu         sync.Mutex
	stored     []string
	incomplete []string
	words      []string
	ended      int
	fail       bool
}

func (h *handler) Store(_ context.Context, messages [][]byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail {
		return errors.New("disk full")
	}
	for _, m := range messages {
		h.stored = append(h.stored, string(m))
	}
	return nil
}

func (h *handler) Incomplete(_ context.Context, message []byte, reason string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.incomplete = append(h.incomplete, reason)
	return nil
}

func (h *handler) Ended(context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended++
	return nil
}

// watch runs a watcher in virtual time while do writes files; their times are real.
func watch(t *testing.T, w *resultfile.Watcher, do func(dir string)) {
	t.Helper()
	w.Folder = t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		do(w.Folder)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// pass lets time pass, and what it brings about be done.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func sorted(texts []string) string {
	return strings.Join(slices.Sorted(slices.Values(texts)), " ")
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func TestFileIsTakenOnceAndMovedAside(t *testing.T) {
	h := &handler{}
	watch(t, &resultfile.Watcher{Handler: h, Match: "*.csv"}, func(dir string) {
		write(t, dir, "a.csv", "one")
		write(t, dir, "B.CSV", "two")
		write(t, dir, "c.csv.tmp", "no")
		write(t, dir, ".hidden.csv", "no")
		write(t, dir, "d.txt", "no")
		write(t, dir, "empty.csv", " \r\n")
		if err := os.Mkdir(filepath.Join(dir, "folder.csv"), 0o700); err != nil {
			t.Fatal(err)
		}
		pass(20 * time.Second)
		if got := sorted(h.snapshot().stored); got != "one two" {
			t.Errorf("stored %q", got)
		}
		if got := names(t, filepath.Join(dir, resultfile.Taken)); got != "B.CSV a.csv empty.csv" {
			t.Errorf("taken: %s", got)
		}
		// The same name again is another file, and no taken one is overwritten.
		write(t, dir, "a.csv", "three")
		pass(20 * time.Second)
		if got := sorted(h.snapshot().stored); got != "one three two" || h.snapshot().ended != 4 {
			t.Errorf("stored %q, ended %d", got, h.snapshot().ended)
		}
		if first, err := os.ReadFile(filepath.Join(dir, resultfile.Taken, "a.csv")); err != nil || string(first) != "one" {
			t.Errorf("%q %v", first, err)
		}
	})
}

func TestFileIsNotTakenWhileItIsWritten(t *testing.T) {
	h := &handler{}
	watch(t, &resultfile.Watcher{Handler: h, Settle: 5 * time.Second, Every: time.Second}, func(dir string) {
		text := ""
		for range 20 {
			text += "line\r\n"
			write(t, dir, "a.csv", text)
			pass(3 * time.Second)
			if len(h.snapshot().stored) > 0 {
				t.Fatal("a file that grows was taken")
			}
		}
		pass(20 * time.Second)
		if len(h.snapshot().stored) != 1 || h.snapshot().stored[0] != text {
			t.Errorf("stored %d", len(h.snapshot().stored))
		}
	})
}

// A program that pauses for longer than a file settles: what it writes afterwards goes
// into the taken file, and is kept for a person.
func TestFileThatGrowsAfterwardsIsKept(t *testing.T) {
	h := &handler{}
	watch(t, &resultfile.Watcher{Handler: h, Settle: 5 * time.Second, Every: time.Second}, func(dir string) {
		f, err := os.Create(filepath.Join(dir, "a.csv"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString("half"); err != nil {
			t.Fatal(err)
		}
		for len(h.snapshot().stored) == 0 {
			pass(time.Second)
		}
		if _, err := f.WriteString(" and the rest"); err != nil {
			t.Fatal(err)
		}
		pass(20 * time.Second)
		if len(h.snapshot().incomplete) != 1 || len(h.snapshot().stored) != 1 {
			t.Errorf("%q, %q", h.snapshot().stored, h.snapshot().incomplete)
		}
	})
}

func (h *handler) snapshot() (s struct {
	stored, incomplete, words []string
	ended                     int
}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.stored, s.incomplete, s.words, s.ended = slices.Clone(h.stored), slices.Clone(h.incomplete), slices.Clone(h.words), h.ended
	return s
}

// told is the State of a watcher.
func (h *handler) told(ok bool, words string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !ok {
		h.words = append(h.words, words)
	}
}

func TestFileThatIsNotStoredStays(t *testing.T) {
	h := &handler{fail: true}
	watch(t, &resultfile.Watcher{Handler: h, State: h.told}, func(dir string) {
		write(t, dir, "a.csv", "one")
		pass(20 * time.Second)
		for _, words := range h.snapshot().words {
			if strings.Contains(words, "a.csv") { // it may be a patient's name
				t.Errorf("said %q", words)
			}
		}
		if names(t, dir) != "a.csv" || len(h.snapshot().words) == 0 {
			t.Errorf("%s, %q", names(t, dir), h.snapshot().words)
		}
		h.mu.Lock()
		h.fail = false
		h.mu.Unlock()
		pass(20 * time.Second)
		if len(h.snapshot().stored) != 1 {
			t.Errorf("%q", h.snapshot().stored)
		}
	})
}

// Stored, and the folder for what is stored cannot be made: it is not taken again.
func TestFileThatCannotBeMovedIsNotTakenTwice(t *testing.T) {
	h := &handler{}
	watch(t, &resultfile.Watcher{Handler: h}, func(dir string) {
		write(t, dir, resultfile.Taken, "a file in the way")
		write(t, dir, "a.csv", "one")
		pass(time.Minute)
		count := 0
		for _, s := range h.snapshot().stored {
			if s == "one" {
				count++
			}
		}
		if count != 1 {
			t.Errorf("taken %d times", count)
		}
		// Once the way is free it is moved, and not stored again.
		if err := os.Remove(filepath.Join(dir, resultfile.Taken)); err != nil {
			t.Fatal(err)
		}
		pass(20 * time.Second)
		if got := names(t, filepath.Join(dir, resultfile.Taken)); !strings.Contains(got, "a.csv") {
			t.Errorf("taken: %s", got)
		}
	})
}

func TestFolderThatIsNotThere(t *testing.T) {
	h := &handler{}
	w := &resultfile.Watcher{Handler: h, State: h.told}
	watch(t, w, func(dir string) {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		pass(10 * time.Second)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, dir, "a.csv", "one")
		pass(20 * time.Second)
		if len(h.snapshot().stored) != 1 || len(h.snapshot().words) == 0 || h.snapshot().words[0] != "the folder is not there" {
			t.Errorf("%q %q", h.snapshot().stored, h.snapshot().words)
		}
	})
}
