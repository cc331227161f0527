package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"

	"nhip/storage"
)

// loaded gives a store that some producers have written to.
func loaded(t *testing.T, batches int) (*storage.Store, map[string]uint64) {
	t.Helper()
	s := open(t, storage.Options{Dir: t.TempDir()})
	acknowledged := map[string]uint64{}
	for _, name := range []string{"a", "b"} {
		p := &Producer{Store: s, Name: name, Spool: true}
		for range batches {
			if err := p.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		acknowledged[name] = p.N
	}
	return s, acknowledged
}

func backup(t *testing.T, s *storage.Store) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, c, err := s.Backup(t.Context(), &b); err != nil || c.Problems > 0 {
		t.Fatalf("backup: %+v, %v", c, err)
	}
	return b.Bytes()
}

func same(last uint64) uint64 { return last }

func TestBackupOfALoadedStoreIsOneCommittedState(t *testing.T) {
	s := open(t, storage.Options{Dir: t.TempDir()})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var mu sync.Mutex
	acknowledged := map[string]uint64{}
	var load sync.WaitGroup
	some := make(chan struct{}, 1000)
	for i := range 4 {
		p := &Producer{Store: s, Name: fmt.Sprint("p", i), Spool: true}
		load.Go(func() {
			for p.Next(ctx) == nil {
				mu.Lock()
				acknowledged[p.Name] = p.N
				mu.Unlock()
				select {
				case some <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 200 {
		<-some
	}
	mu.Lock()
	before := map[string]uint64{}
	for name, n := range acknowledged {
		before[name] = n
	}
	mu.Unlock()
	b := backup(t, s)
	for range 50 {
		<-some
	}
	stop()
	load.Wait()

	m, c, problems, err := storage.VerifyBackup(t.Context(), bytes.NewReader(b))
	if err != nil || len(problems) > 0 || c.Objects == 0 || c.Entries == 0 || c.Items == 0 {
		t.Fatalf("verify: %+v %v %v", c, problems, err)
	}
	for name, n := range before {
		if m.Channels[name] < n {
			t.Errorf("%s: %d were acknowledged before, the mark says %d", name, n, m.Channels[name])
		}
	}
	dir := filepath.Join(t.TempDir(), "new")
	if _, got, problems, err := storage.Restore(t.Context(), bytes.NewReader(b), dir, storage.RestoreOptions{Next: same}); err != nil || len(problems) > 0 || got != c {
		t.Fatalf("restore: %+v %v %v", got, problems, err)
	}
	r := open(t, storage.Options{Dir: dir})
	mustBeWhole(t, r, before)
	for name, n := range m.Channels {
		if r.Last(name) != n {
			t.Errorf("%s ends at %d, the mark says %d", name, r.Last(name), n)
		}
	}
}

func TestDamagedOrCutBackupIsFound(t *testing.T) {
	s, _ := loaded(t, 12)
	whole := backup(t, s)
	r := rand.New(rand.NewPCG(7, 7))
	for i := range 300 {
		bad := bytes.Clone(whole)
		what := "cut"
		if i%3 == 0 {
			bad = bad[:r.IntN(len(bad))]
		} else {
			at := r.IntN(len(bad))
			bad[at] ^= 1 << r.IntN(8)
			what = fmt.Sprint("bit at ", at)
		}
		_, _, problems, err := storage.VerifyBackup(t.Context(), bytes.NewReader(bad))
		if err == nil {
			t.Fatalf("%s: not found: %v", what, problems)
		}
		if i%10 != 0 {
			continue
		}
		dir := t.TempDir()
		if _, _, _, err := storage.Restore(t.Context(), bytes.NewReader(bad), dir, storage.RestoreOptions{Next: same}); err == nil {
			t.Fatalf("%s: restored", what)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s: a failed restore leaves %v", what, left)
		}
	}
	if _, _, _, err := storage.VerifyBackup(t.Context(), bytes.NewReader(append(whole, 'x'))); !errors.Is(err, storage.ErrBackup) {
		t.Errorf("something behind the end: %v", err)
	}
}

func TestRestoreNeedsAnEmptyFolder(t *testing.T) {
	s, _ := loaded(t, 2)
	b := backup(t, s)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := storage.Restore(t.Context(), bytes.NewReader(b), dir, storage.RestoreOptions{Next: same}); !errors.Is(err, storage.ErrNotEmpty) {
		t.Errorf("%v", err)
	}
	unfinished := t.TempDir()
	if err := os.Mkdir(filepath.Join(unfinished, "restoring"), 0o700); err != nil {
		t.Fatal(err)
	}
	if s, err := storage.Open(t.Context(), storage.Options{Dir: unfinished}); err == nil {
		s.Close()
		t.Error("a folder with an unfinished restore was opened")
	}
}

func TestRestoreGivesNoNumberOutAgain(t *testing.T) {
	s, acknowledged := loaded(t, 6)
	b := backup(t, s)
	p := &Producer{Store: s, Name: "a", N: acknowledged["a"]}
	if err := p.Next(t.Context()); err != nil { // after the mark
		t.Fatal(err)
	}
	dir := t.TempDir()
	next := func(last uint64) uint64 { return last + 1000 }
	if _, _, _, err := storage.Restore(t.Context(), bytes.NewReader(b), dir, storage.RestoreOptions{Next: next}); err != nil {
		t.Fatal(err)
	}
	r := open(t, storage.Options{Dir: dir})
	var seqs []uint64
	add := func() {
		batch := new(storage.Batch)
		e := batch.Append("a", Value("a", 1, nil))
		i := batch.Enqueue(Queue, "", []byte("a 1"), e)
		receipt, err := r.Commit(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, receipt.Entry(e).Seq)
		if item := receipt.Item(i); item <= s.Last("a") {
			t.Errorf("item %d", item)
		}
	}
	add()
	r.Close()
	r = open(t, storage.Options{Dir: dir})
	add()
	if want := acknowledged["a"] + 1001; seqs[0] != want || seqs[1] != want+1 {
		t.Errorf("%v, should be %d and the next", seqs, want)
	}
	for _, reverse := range []bool{false, true} {
		n := 0
		if err := r.Range("a", 0, 0, reverse, func(storage.Ref, []byte) bool { n++; return true }); err != nil || n != int(acknowledged["a"])+2 {
			t.Errorf("%d entries: %v", n, err)
		}
	}
	if alarms, err := r.Scrub(t.Context()); err != nil || len(alarms) > 0 || len(r.Alarms()) > 0 {
		t.Errorf("%v %v %v", alarms, r.Alarms(), err)
	}
	if _, err := r.Read(storage.Ref{Channel: "a", Seq: acknowledged["a"] + 1}); !errors.Is(err, storage.ErrTrimmed) {
		t.Errorf("a number that was passed over: %v", err)
	}
	// A backup of the restored store is whole too.
	if _, _, problems, err := storage.VerifyBackup(t.Context(), bytes.NewReader(backup(t, r))); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

func TestBackupTellsWhatTheStoreHasLost(t *testing.T) {
	s, _ := loaded(t, 8)
	var damaged string
	s.Range("a", 1, 0, false, func(_ storage.Ref, value []byte) bool {
		for _, ref := range Refs(value) {
			if damaged == "" {
				damaged = ref.Path
				if err := s.Spool().Remove(ref); err != nil {
					t.Fatal(err)
				}
			}
		}
		return true
	})
	var b bytes.Buffer
	_, c, err := s.Backup(t.Context(), &b)
	if err != nil || c.Problems != 1 || len(s.Alarms()) == 0 {
		t.Fatalf("%+v %v %v", c, s.Alarms(), err)
	}
	_, _, problems, err := storage.VerifyBackup(t.Context(), &b)
	if err != nil || len(problems) != 1 {
		t.Errorf("%v %v", problems, err)
	}
}

// Backups were not compressed once.
func TestABackupThatIsNotCompressedIsRead(t *testing.T) {
	s, acknowledged := loaded(t, 5)
	whole := backup(t, s)
	z, err := zstd.NewReader(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, problems, err := storage.VerifyBackup(t.Context(), bytes.NewReader(plain)); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
	dir := filepath.Join(t.TempDir(), "new")
	if _, _, _, err := storage.Restore(t.Context(), bytes.NewReader(plain), dir, storage.RestoreOptions{Next: same}); err != nil {
		t.Fatal(err)
	}
	mustHaveAll(t, open(t, storage.Options{Dir: dir}), acknowledged)
}
