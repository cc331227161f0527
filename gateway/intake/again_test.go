package intake

import "testing"

func TestPartOfAnEntryIsReadAsWritten(t *testing.T) {
	for _, f := range []For{{Destination: "lis"}, {Destination: "lis", Part: 3}, {Report: 1}, {Report: 2, Order: "A/1 é%"}, {Report: 1, Older: true}, {Report: 3, Order: "A/1", Older: true}, {Destination: "lis", Part: 1, Report: 7}, {Report: 1, Codes: true, Unmatched: true, Older: true}, {Destination: "lis", Codes: true}} {
		if got, ok := AgainFor(f.Again()); !ok || got != f {
			t.Errorf("%+v becomes %+v, %v", f, got, ok)
		}
	}
	for _, v := range []string{"", string(Again), string(Again) + "/", string(Again) + "//0", string(Again) + "/lis", string(Again) + "/lis/x", string(Again) + "//0/0/", string(Again) + "//0/1/%zz", string(Again) + "/a/0/1/b/c", string(Again) + "/lis/0/older"} {
		if got, ok := AgainFor([]byte(v)); ok {
			t.Errorf("%q becomes %+v", v, got)
		}
	}
}
