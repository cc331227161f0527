package conformance

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"nhip/gateway/docs"
)

func TestTheStatementIsWhatTheProgramDoes(t *testing.T) {
	want, err := Generate()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(docs.Conformance, want) {
		return
	}
	got := strings.Split(string(docs.Conformance), "\n")
	for i, line := range strings.Split(string(want), "\n") {
		if i >= len(got) || got[i] != line {
			t.Fatalf("conformance.md differs from line %d on; the program says\n%s\ngo generate ./gateway/docs writes it anew", i+1, line)
		}
	}
	t.Fatal("conformance.md has more than the program says; go generate ./gateway/docs writes it anew")
}

// Every row of a table has as many cells as its head.
func TestTablesAreWhole(t *testing.T) {
	cells := 0
	for i, line := range strings.Split(string(docs.Conformance), "\n") {
		if !strings.HasPrefix(line, "|") {
			cells = 0
			continue
		}
		n := strings.Count(line, "|") - 1
		if cells == 0 {
			cells = n
		}
		if n != cells {
			t.Errorf("line %d: %d cells where %d are expected: %s", i+1, n, cells, line)
		}
	}
	if m := regexp.MustCompile(`<no value>|%!`).Find(docs.Conformance); m != nil {
		t.Errorf("%s", m)
	}
}
