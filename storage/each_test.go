package storage

import (
	"context"
	"strings"
	"testing"
)

func TestEachGivesKeysWithTheirValuesInOrder(t *testing.T) {
	s, err := Open(context.Background(), Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var b Batch
	for _, k := range []string{"a/2", "a/1", "b/1", "a/3"} {
		b.Put(k, []byte("of "+k))
	}
	if _, err := s.Commit(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := s.Each("a/", func(key string, value []byte) bool {
		got = append(got, key+"="+string(value))
		return key != "a/2"
	}); err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(got, " "); all != "a/1=of a/1 a/2=of a/2" {
		t.Errorf("got %s", all)
	}
}
