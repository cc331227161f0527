package intake

import "testing"

func TestAPartIsNamedForTheSecondInterpretation(t *testing.T) {
	for _, f := range []For{{"lis", 0}, {"pacs-2", 17}} {
		if got, ok := AgainFor(f.Again()); !ok || got != f {
			t.Errorf("%q became %+v %v", f.Again(), got, ok)
		}
	}
	if string(For{}.Again()) != string(Again) {
		t.Error("all of an entry is not Again")
	}
	for _, s := range []string{"", "again", "again/", "again/lis", "again/lis/x", "again//1", "ends/query"} {
		if f, ok := AgainFor([]byte(s)); ok {
			t.Errorf("%q became %+v", s, f)
		}
	}
}
