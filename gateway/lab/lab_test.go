package lab

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"nhip/gateway/orders"
	"nhip/gateway/reason"
	"nhip/gateway/record"
	"nhip/storage"
)

// noon of a day, 0 is today.
func noon(day int) time.Time {
	return time.Date(2026, 1, 14, 5, 0, 0, 0, time.UTC).Add(time.Duration(day) * 24 * time.Hour)
}

// A rig is a desk with a store of orders; its clock is set by hand.
type rig struct {
	t     *testing.T
	store *storage.Store
	desk  *Desk
	now   time.Time
	n     int
}

func newRig(t *testing.T) *rig {
	t.Helper()
	s, err := storage.Open(t.Context(), storage.Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	r := &rig{t: t, store: s, now: noon(0)}
	o, err := orders.Open(t.Context(), orders.Options{Store: s, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return r.now }, Policy: orders.DefaultPolicy()})
	if err != nil {
		t.Fatal(err)
	}
	r.desk = &Desk{Orders: o, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return r.now }}
	return r
}

// xn is an analyser whose codes are GLU and ALT.
func xn(policy string) Analyser {
	return Analyser{Name: "xn-1", Policy: policy, Window: 72 * time.Hour, Codes: ByCode{[]string{"GLU", "ALT"}}}
}

// says applies a message of a system at a time.
func (r *rig) says(a orders.Action, number, patient, specimen string, at time.Time, codes ...string) {
	r.t.Helper()
	before := r.now
	r.now = at
	defer func() { r.now = before }()
	r.n++
	person := record.Person{Identifiers: []record.Identifier{{Value: patient, Authority: "BV"}}, Name: record.Name{Family: "Nguyễn", Given: patient}}
	o := record.Order{Kind: record.LaboratoryOrder, Placer: record.OrderNumber{ID: number}, Patient: person, Ordered: person}
	for _, c := range codes {
		o.Services = append(o.Services, record.Service{Code: record.Coded{Code: c}, Priority: "R", Specimens: []record.OrderSpecimen{{IDs: []string{specimen}}}})
	}
	r.commit(r.desk.Orders.Begin(at), orders.Request{Action: a, Link: "his", MessageID: number, Said: orders.Said{Message: at.Add(time.Duration(r.n))}, Order: o})
}

// commit makes a change of one request true.
func (r *rig) commit(c *orders.Change, x orders.Request) {
	r.t.Helper()
	_, err := c.Apply(x)
	b := new(storage.Batch)
	if err == nil {
		err = c.Write(b)
	}
	if err == nil {
		_, err = r.store.Commit(r.t.Context(), b)
	}
	c.End(err)
	if err != nil {
		r.t.Fatal(err)
	}
}

// asks is a host query; it gives the tests, and whose they are.
func (r *rig) asks(a Analyser, specimen string, tests ...string) string {
	r.t.Helper()
	work, err := r.desk.For(a).Work(r.t.Context(), record.Query{Specimens: []string{specimen}, Tests: tests})
	if err != nil {
		r.t.Fatal(err)
	}
	var all []string
	for _, w := range work {
		all = append(all, w.Patient.ID+":"+strings.Join(w.Tests, "+"))
	}
	return strings.Join(all, " ")
}

// results are reported now.
func (r *rig) results(a Analyser, specimen, patient string, codes ...string) Finding {
	r.t.Helper()
	rep := record.Report{Specimen: record.Specimen{ID: specimen}}
	if patient != "" {
		rep.Patient = &record.Patient{ID: patient}
	}
	for _, c := range codes {
		rep.Results = append(rep.Results, record.Result{Code: c, Value: "1", Observed: record.Time{At: r.now}})
	}
	f, err := r.desk.Find(a, rep, r.now, false)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, m := range f.Marks {
		r.desk.Orders.Mark(m)
	}
	if err := r.desk.Orders.Flush(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	return f
}

// said is a Finding in a word.
func said(f Finding) string {
	if f.Hold != "" {
		return "held " + string(f.Hold)
	}
	if f.Without {
		return "without"
	}
	var all []string
	for _, o := range f.Ordered {
		all = append(all, o.Order.Placer.ID+"/"+o.Service.Code.Code)
	}
	return strings.Join(all, " ")
}

func TestQueryGetsTheNewestUncancelledVersion(t *testing.T) {
	r := newRig(t)
	if got := r.asks(xn(Required), "27"); got != "" {
		t.Errorf("nothing is ordered: %s", got)
	}
	r.says(orders.New, "A1", "P1", "27", noon(0), "GLU", "ALT", "TSH")
	if got := r.asks(xn(Required), " 27 "); got != "P1:GLU+ALT" {
		t.Errorf("TSH is not for this analyser: %s", got)
	}
	if got := r.asks(xn(Required), "27", "ALT"); got != "P1:ALT" {
		t.Errorf("it asked for ALT only: %s", got)
	}
	r.says(orders.Cancel, "A1", "P1", "27", noon(0))
	if got := r.asks(xn(Required), "27"); got != "" {
		t.Errorf("cancelled: %s", got)
	}
}

func TestServiceThatHasItsResultIsNotHandedOutAgain(t *testing.T) {
	r := newRig(t)
	r.says(orders.New, "A1", "P1", "27", noon(0), "GLU", "ALT")
	if got := said(r.results(xn(Required), "27", "", "GLU")); got != "A1/GLU" {
		t.Error(got)
	}
	if got := r.asks(xn(Required), "27"); got != "P1:ALT" {
		t.Error(got)
	}
}

// Identifiers are daily running numbers: 27 comes again tomorrow.
func TestRunningNumberOfAnotherDayIsAnotherSpecimen(t *testing.T) {
	r := newRig(t)
	r.says(orders.New, "A1", "P1", "27", noon(-1), "GLU")
	r.now = noon(-1)
	if got := said(r.results(xn(Required), "27", "", "GLU")); got != "A1/GLU" {
		t.Fatal(got)
	}
	r.now = noon(0)
	if got := r.asks(xn(Required), "27"); got != "" {
		t.Errorf("yesterday's is done: %s", got)
	}
	if got := said(r.results(xn(Required), "27", "", "GLU")); got != "held order.resulted" {
		t.Errorf("today's 27 has no order yet: %s", got)
	}
	r.says(orders.New, "A2", "P2", "27", noon(0), "GLU")
	if got := r.asks(xn(Required), "27"); got != "P2:GLU" {
		t.Error(got)
	}
	if got := said(r.results(xn(Required), "27", "", "GLU")); got != "A2/GLU" {
		t.Error(got)
	}
	if got := said(r.results(xn(Required), "27", "P1", "GLU")); got != "held order.resulted" {
		t.Errorf("the analyser names yesterday's patient: %s", got)
	}
}

func TestWhereTwoPatientsCouldBeMeantNothingIsGuessed(t *testing.T) {
	r := newRig(t)
	r.says(orders.New, "A1", "P1", "27", noon(-1), "GLU")
	r.says(orders.New, "A2", "P2", "27", noon(0), "GLU")
	if got := r.asks(xn(Required), "27"); got != "" {
		t.Errorf("both wait: %s", got)
	}
	for _, policy := range []string{Warn, Required} {
		if got := said(r.results(xn(policy), "27", "", "GLU")); got != "held order.several-patients" {
			t.Error(got)
		}
	}
	if got := said(r.results(xn(Required), "27", "P1", "GLU")); got != "A1/GLU" {
		t.Errorf("the analyser names the patient: %s", got)
	}
}

func TestPolicies(t *testing.T) {
	r := newRig(t)
	r.says(orders.New, "A1", "P1", "27", noon(0), "GLU", "ALT")
	r.says(orders.New, "A2", "P2", "28", noon(0), "GLU")
	r.says(orders.Cancel, "A2", "P2", "28", noon(0))
	r.says(orders.New, "A3", "P3", "29", noon(-5), "GLU")
	for _, c := range []struct{ specimen, patient, code, none, warn, required string }{
		{"99", "", "GLU", "", "without", "held order.none"},
		{"28", "", "GLU", "", "held order.over", "held order.over"},
		{"29", "", "GLU", "", "without", "held order.outside-window"},
		{"27", "P9", "GLU", "", "held order.patient-mismatch", "held order.patient-mismatch"},
		{"27", "", "TSH", "", "without", "held order.not-ordered"},
		{"27", "P1", "GLU", "", "A1/GLU", "A1/GLU"},
	} {
		for policy, want := range map[string]string{None: c.none, Warn: c.warn, Required: c.required} {
			if got := said(r.results(xn(policy), c.specimen, c.patient, c.code)); got != want {
				t.Errorf("%s of %s %s %s: %q, want %q", policy, c.specimen, c.patient, c.code, got, want)
			}
		}
	}
}

func TestWhatAPersonReleasesGoesOnWithoutAnOrder(t *testing.T) {
	r := newRig(t)
	rep := record.Report{Specimen: record.Specimen{ID: "99"}, Results: []record.Result{{Code: "GLU"}}}
	f, err := r.desk.Find(xn(Required), rep, r.now, true)
	if err != nil || f.Hold != "" || !f.Without {
		t.Errorf("%+v %v", f, err)
	}
}

func TestPanelOfOneServiceTakesAllItsResults(t *testing.T) {
	r := newRig(t)
	r.says(orders.New, "A1", "P1", "27", noon(0), "CBC")
	f := r.results(xn(Required), "27", "", "WBC", "RBC", "HGB")
	if said(f) != "A1/CBC" || len(f.Ordered[0].Results) != 3 {
		t.Errorf("%+v", f)
	}
}

func TestCodeOfTheOrderIsTheSitesTable(t *testing.T) {
	r := newRig(t)
	a := xn(Required)
	a.Codes = Table{Orders: map[string][]string{"CBC": {"WBC", "RBC"}, "SUGAR": {"GLU"}}, Else: a.Codes}
	r.says(orders.New, "A1", "P1", "27", noon(0), "CBC", "SUGAR", "ALT")
	if got := r.asks(a, "27"); got != "P1:WBC+RBC+GLU+ALT" {
		t.Error(got)
	}
	f := r.results(a, "27", "", "RBC", "GLU", "WBC", "XYZ")
	if said(f) != "A1/CBC A1/SUGAR" || len(f.Ordered[0].Results) != 2 {
		t.Errorf("%s %+v", said(f), f.Ordered)
	}
	if got := r.asks(a, "27"); got != "P1:ALT" {
		t.Error(got)
	}
}

func TestSectionsDivideASpecimenIdentifier(t *testing.T) {
	r := newRig(t)
	haematology := xn(Required)
	haematology.Sections = []string{"HM"}
	r.says(orders.New, "A1", "P1", "27", noon(0), "GLU")
	if got := r.asks(haematology, "27"); got != "P1:GLU" {
		t.Errorf("a service that names no section is of all: %s", got)
	}
}

func TestProgressIsWhatIsKnown(t *testing.T) {
	r := newRig(t)
	r.says(orders.New, "A1", "P1", "27", noon(0), "GLU")
	progress := func() record.Progress {
		t.Helper()
		if err := r.desk.Orders.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		all, err := r.desk.Orders.Find(orders.Key{Placer: "A1"})
		if err != nil || len(all) != 1 {
			t.Fatal(err)
		}
		return all[0].Order.Services[0].Progress
	}
	w := r.desk.For(xn(Required))
	q := record.Query{Specimens: []string{"27"}}
	work, err := w.Work(t.Context(), q)
	if err != nil || progress() != record.Queried {
		t.Errorf("%s %v", progress(), err)
	}
	r.now = r.now.Add(time.Second)
	if w.Handed(q, work, lineBroke{}); progress() != record.Queried {
		t.Errorf("not taken, and %s", progress())
	}
	if w.Handed(q, work, nil); progress() != record.Acknowledged {
		t.Error(progress())
	}
	r.now = r.now.Add(time.Second)
	if r.results(xn(Required), "27", "", "GLU"); progress() != record.Resulted {
		t.Error(progress())
	}
}

type lineBroke struct{}

func (lineBroke) Error() string { return "the line broke" }

func TestEveryReasonHasItsWords(t *testing.T) {
	for _, c := range []reason.Code{reason.NoOrder, reason.OutsideWindow, reason.OrderOver, reason.PatientMismatch, reason.SeveralPatients, reason.SeveralOrders, reason.NotOrdered, reason.AlreadyResulted} {
		for _, l := range []reason.Language{reason.English, reason.Vietnamese} {
			if text := reason.New(c, "GLU").In(l); text == "" || strings.Contains(text, "{") || text == string(c) {
				t.Errorf("%s: %q", c, text)
			}
		}
	}
}

// A result for a cancelled order, whoever ended it and however: held, with the reason,
// whatever the policy is that looks at orders.
func TestResultForACancelledOrderIsHeld(t *testing.T) {
	for _, end := range []orders.Action{orders.Cancel, orders.Discontinue, orders.Replace} {
		r := newRig(t)
		r.says(orders.New, "A1", "P1", "27", noon(0), "GLU")
		if got := r.asks(xn(Required), "27"); got != "P1:GLU" { // it had it already
			t.Error(got)
		}
		r.says(end, "A1", "P1", "27", noon(0))
		for _, policy := range []string{Required, Warn} {
			for _, patient := range []string{"", "P1"} {
				if got := said(r.results(xn(policy), "27", patient, "GLU")); got != "held order.over" {
					t.Errorf("%d, %s: %s", end, policy, got)
				}
			}
		}
	}
}
