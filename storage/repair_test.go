package storage

import (
	"reflect"
	"testing"
)

// What a commit writes is in the mirror, queues, states and keys too.
func TestScrubPutsQueuesAndKeysBackFromTheMirror(t *testing.T) {
	o := Options{Dir: t.TempDir(), Mirror: t.TempDir()}
	s := open(t, o)
	commit(t, s, func(b *Batch) {
		for i := range 9 {
			b.Enqueue("q", "g", []byte{byte(i)})
			b.Put(string(rune('a'+i)), []byte{byte(i)})
		}
	})
	if found, err := s.Scrub(t.Context()); err != nil || len(found) > 0 { // the state of the mirror
		t.Fatal(found, err)
	}
	commit(t, s, func(b *Batch) { // its log
		b.SetState("q", 3, []byte("waits"))
		b.SetState("q", 5, []byte("is held"))
		b.Remove("q", 2)
		b.Put("b", []byte("new"))
		b.Delete("c")
		b.Enqueue("q", "g", []byte{9})
	})
	want, err := s.Items("q", 0, 0)
	if err != nil || len(want) != 9 {
		t.Fatal(want, err)
	}
	for _, key := range [][]byte{
		seqKey(spaceItem, "q", 1), seqKey(spaceItem, "q", 4), seqKey(spaceItem, "q", 10), seqKey(spaceState, "q", 5),
		nameKey(spaceKey, "b"), nameKey(spaceKey, "d"),
	} {
		vanish(t, s, key)
	}
	// A reader that finds nothing tells the committer so, which moves the head.
	if items, err := s.Items("q", 0, 0); err != nil || len(items) != 6 {
		t.Fatal(items, err)
	}
	commit(t, s, func(b *Batch) { b.SetState("q", 3, []byte("waits longer")) })
	want[1].State = []byte("waits longer")

	if found, err := s.Scrub(t.Context()); err != nil || len(found) == 0 {
		t.Fatal(found, err)
	}
	check := func() {
		t.Helper()
		got, err := s.Items("q", 0, 0)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v\n%v\n%v", got, want, err)
		}
		for key, value := range map[string]string{"a": "\x00", "b": "new", "d": "\x03"} {
			if v, _, err := s.Get(key); err != nil || string(v) != value {
				t.Errorf("%s is %q, %v", key, v, err)
			}
		}
		if _, there, _ := s.Get("c"); there {
			t.Error("a key that was removed is back")
		}
		mustNotAlarm(t, s)
	}
	check()
	for range 2 { // also after what goes on
		commit(t, s, func(b *Batch) { b.Remove("q", want[0].Seq); b.Delete("d"); b.Put("d", []byte{3}) })
		want = want[1:]
		check()
	}
	s.Close()
	s = open(t, o)
	check()
}

// What was removed after the commit that a scrub looks at stays removed.
func TestARepairLeavesAloneWhatWasWrittenSince(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	commit(t, s, func(b *Batch) { b.Put("a", []byte("old")); b.Put("b", []byte("old")) })
	at := s.commit
	record := func() []byte { return append(make([]byte, envelope), "old"...) }
	commit(t, s, func(b *Batch) { b.Put("a", []byte("new")); b.Delete("b") })
	commit(t, s, func(b *Batch) {
		b.repair(nameKey(spaceKey, "a"), "a", 0, record(), at)
		b.repair(nameKey(spaceKey, "b"), "b", 0, record(), at)
	})
	if v, _, err := s.Get("a"); err != nil || string(v) != "new" {
		t.Errorf("%q %v", v, err)
	}
	if _, there, err := s.Get("b"); err != nil || there {
		t.Error("it is back", err)
	}
	mustNotAlarm(t, s)
}

func TestRestoreANumberOfACursor(t *testing.T) {
	for seq := uint64(1); seq < 12; seq++ {
		c := cursor{head: 4, runs: []run{{6, 6}, {8, 10}}}
		before := map[uint64]bool{}
		for n := uint64(1); n < 14; n++ {
			before[n] = c.skip(n) == n
		}
		c.restore(seq)
		for n := uint64(1); n < 14; n++ {
			if live := c.skip(n) == n; live != (before[n] || n == seq) {
				t.Errorf("%d back: %d is live %v: %v", seq, n, live, c)
			}
		}
	}
}
