package storage

import (
	"fmt"
	"testing"
)

// The archives are of the last program that wrote format 1, stopped in order and
// killed.
func TestAStoreOfFormat1IsOpenedAndGoesOn(t *testing.T) {
	for _, file := range []string{"testdata/format1.tar.gz", "testdata/format1-killed.tar.gz"} {
		t.Run(file, func(t *testing.T) {
			dir := unpack(t, file)
			s := open(t, Options{Dir: dir})
			has := func(trimmed bool) {
				t.Helper()
				for i := 1; i <= 5; i++ {
					v, err := s.Read(Ref{"c", uint64(i)})
					if trimmed && i < 3 {
						if err != ErrTrimmed {
							t.Errorf("entry %d: %v", i, err)
						}
						continue
					}
					if err != nil || string(v) != fmt.Sprint("entry ", i) {
						t.Errorf("entry %d is %q, %v", i, v, err)
					}
				}
				items, err := s.Items("q", 0, 0)
				if err != nil || fmt.Sprintf("%d %s %d %s %s %v %d", items[0].Seq, items[0].Value, items[1].Seq, items[1].Value, items[1].State, items[1].About, items[2].Seq) != "2 item 2 4 item 4 state 4 [c/4] 5" {
					t.Errorf("%v %v", items, err)
				}
				if _, there, err := s.Get("key2"); err != nil || there {
					t.Error("key2 is back", err)
				}
				if v, _, err := s.Get("key5"); err != nil || string(v) != "value 5" || s.Counters()["n"] != 5 {
					t.Errorf("%q %v %v", v, err, s.Counters())
				}
				mustNotAlarm(t, s)
			}
			has(false)
			commit(t, s, func(b *Batch) { b.Trim("c", 1, 2) }) // a thing of format 2
			has(true)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, Options{Dir: dir})
			has(true)
			if s.work.root.format != formatVersion {
				t.Errorf("format %d", s.work.root.format)
			}
		})
	}
}
