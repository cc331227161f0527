package lab

import (
	"testing"

	"nhip/gateway/orders"
	"nhip/gateway/record"
)

// What the analyser was told before the order was changed, or another one cancelled, is
// no part of the one service that is open now. Every code is taken for a test here.
func TestResultsOfWhatIsNotOrderedAnyMoreAreNotOfWhatIs(t *testing.T) {
	a := Analyser{Name: "e411-1", Policy: Required, Codes: ByCode{}}
	t.Run("changed", func(t *testing.T) {
		r := newRig(t)
		r.says(orders.New, "A1", "P1", "27", noon(0), "11", "13")
		if got := r.asks(a, "27"); got != "P1:11+13" {
			t.Fatal(got)
		}
		r.says(orders.Changing, "A1", "P1", "27", noon(0), "14")
		if got := said(r.results(a, "27", "", "11", "13")); got[:4] != "held" {
			t.Errorf("%s", got)
		}
		if got := r.asks(a, "27"); got != "P1:14" {
			t.Errorf("14 is still to be run, and handed out is %q", got)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		r := newRig(t)
		r.says(orders.New, "A1", "P1", "27", noon(0), "11", "13")
		r.says(orders.New, "A2", "P1", "27", noon(0), "14")
		r.says(orders.Cancel, "A1", "P1", "27", noon(0))
		if got := said(r.results(a, "27", "", "11", "13")); got[:4] != "held" {
			t.Errorf("%s", got)
		}
	})
}

// The change comes between the look-up of the orders and the commit of the result.
func TestAResultOfAnOlderVersionIsNoneOfTheNewer(t *testing.T) {
	r := newRig(t)
	a := Analyser{Name: "c5800-1", Policy: Required, Codes: ByCode{}}
	r.says(orders.New, "A1", "P1", "27", noon(0), "15")
	r.asks(a, "27")
	rep := record.Report{Specimen: record.Specimen{ID: "27"}, Results: []record.Result{{Code: "15", Value: "1"}}}
	f, err := r.desk.Find(a, rep, r.now, false)
	if err != nil || said(f) != "A1/15" {
		t.Fatalf("%+v %v", f, err)
	}
	r.says(orders.Changing, "A1", "P1", "27", noon(0), "12")
	for _, m := range f.Marks {
		r.desk.Orders.Mark(m)
	}
	if err := r.desk.Orders.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := r.asks(a, "27"); got != "P1:12" {
		t.Errorf("12 is to be run, and handed out is %q", got)
	}
}
