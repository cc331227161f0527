package orders

import (
	"fmt"
	"testing"
	"time"

	"nhip/gateway/record"
	"nhip/storage"
)

// progressOf is that of the first service of an order.
func progressOf(t *testing.T, o *Store, id uint64) record.Progress {
	t.Helper()
	e, ok, err := o.Get(id)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	return e.Order.Services[0].Progress
}

func TestMarksOfSomebodyElsesBatchAreTrueWithItOrNotAtAll(t *testing.T) {
	s, o := openStore(t, t.TempDir())
	defer s.Close()
	apply(t, s, o, ordered(New, "A1", "27", at, "GLU"))
	for _, commit := range []bool{false, true} {
		b := new(storage.Batch)
		b.Put("other", nil)
		end := o.MarkIn(b, []Mark{{Order: 1, Version: 1, Service: 1, Progress: record.Resulted, Device: "xn-1", At: at.Add(time.Minute)}, {Order: 99, Service: 1}})
		err := storage.ErrDiskFull
		if commit {
			_, err = s.Commit(t.Context(), b)
		}
		end(err)
		if got := progressOf(t, o, 1); (got == record.Resulted) != commit {
			t.Errorf("committed %v: %s", commit, got)
		}
	}
}

// What a batch has no room for is committed behind it.
func TestMoreMarksThanACommitHoldsAreCommittedBehindIt(t *testing.T) {
	s, o := openStore(t, t.TempDir())
	defer s.Close()
	var all []Mark
	for n := range 100 {
		apply(t, s, o, ordered(New, fmt.Sprint("A", n), fmt.Sprint("S", n), at, "GLU"))
		all = append(all, Mark{Order: uint64(n + 1), Version: 1, Service: 1, Progress: record.Resulted, Device: "xn-1", At: at.Add(time.Minute)})
	}
	b := new(storage.Batch)
	for n := range 600 {
		b.Put(fmt.Sprint("other/", n), make([]byte, 1000))
	}
	end := o.MarkIn(b, all)
	_, err := s.Commit(t.Context(), b)
	end(err)
	if err != nil {
		t.Fatal(err)
	}
	if first, last := progressOf(t, o, 1), progressOf(t, o, 100); first != record.Resulted || last == record.Resulted {
		t.Errorf("with the commit: %s and %s", first, last)
	}
	if err := o.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n := range all {
		if got := progressOf(t, o, uint64(n+1)); got != record.Resulted {
			t.Errorf("order %d: %s", n, got)
		}
	}
}
