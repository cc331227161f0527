package storage

import (
	"context"
	"errors"
	"testing"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func commit(t *testing.T, s *Store, build func(*Batch)) Receipt {
	t.Helper()
	b := new(Batch)
	build(b)
	r, err := s.Commit(context.Background(), b)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCommittedBatchIsThereAfterReopen(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var e Entry
	var i Item
	r := commit(t, s, func(b *Batch) {
		e = b.Append("xn-1", []byte("H|\\^&"))
		i = b.Enqueue("interpret", "27", []byte("item"), e)
		b.PutRef("seen/1", e)
		b.IfAbsent("seen/1")
		b.Add("accepted", 1)
	})
	if r.Entry(e) != (Ref{"xn-1", 1}) || r.Item(i) != 1 {
		t.Fatalf("receipt: %v %d", r.Entry(e), r.Item(i))
	}
	if _, err := s.Commit(t.Context(), batch(func(b *Batch) { b.IfAbsent("seen/1"); b.Append("xn-1", nil) })); !errors.Is(err, ErrExists) {
		t.Fatalf("a second batch with the key: %v", err)
	}
	for range 2 {
		value, err := s.Read(r.Entry(e))
		if err != nil || string(value) != "H|\\^&" {
			t.Fatalf("read: %q %v", value, err)
		}
		head, ok, err := s.Head("interpret")
		if err != nil || !ok || head.Group != "27" || string(head.Value) != "item" || head.About[0] != r.Entry(e) {
			t.Fatalf("head: %+v %v %v", head, ok, err)
		}
		ref, ok, err := s.Get("seen/1")
		if err != nil || !ok || string(ref) != "xn-1/1" {
			t.Fatalf("key: %q %v %v", ref, ok, err)
		}
		if n := s.Snapshot(); n.Counters["accepted"] != 1 || n.Depths["interpret"] != 1 {
			t.Fatalf("snapshot: %+v", n)
		}
		if alarms, err := s.Scrub(t.Context()); err != nil || len(alarms) > 0 || len(s.Alarms()) > 0 {
			t.Fatalf("scrub: %v %v", s.Alarms(), err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir)
	}
}

func batch(build func(*Batch)) *Batch {
	b := new(Batch)
	build(b)
	return b
}
