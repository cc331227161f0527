package orders

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"

	"nhip/gateway/record"
	"nhip/storage"
)

// at is the time of a test.
var at = time.Date(2026, 1, 14, 8, 0, 0, 0, time.UTC)

func openStore(t testing.TB, dir string) (*storage.Store, *Store) {
	t.Helper()
	s, err := storage.Open(context.Background(), storage.Options{Dir: dir, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return s, openOrders(t, s)
}

func openOrders(t testing.TB, s *storage.Store) *Store {
	t.Helper()
	o, err := Open(context.Background(), Options{Store: s, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// apply commits one request, as a message with it would be.
func apply(t testing.TB, s *storage.Store, o *Store, r Request) Outcome {
	t.Helper()
	c := o.Begin(at)
	out, err := c.Apply(r)
	if err != nil {
		t.Fatal(err)
	}
	b := new(storage.Batch)
	if err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	_, err = s.Commit(context.Background(), b)
	c.End(err)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// ordered is a request for tests of one specimen.
func ordered(a Action, placer, specimen string, said time.Time, codes ...string) Request {
	r := Request{Action: a, Control: "NW", Link: "his", Said: Said{Order: said}, Order: record.Order{
		Kind: record.LaboratoryOrder, Placer: record.OrderNumber{ID: placer},
		Ordered: record.Person{Identifiers: []record.Identifier{{Value: "P1", Authority: "HIS"}}},
	}}
	for _, code := range codes {
		r.Order.Services = append(r.Order.Services, record.Service{Code: record.Coded{Code: code}, Specimens: []record.OrderSpecimen{{IDs: []string{specimen}}}})
	}
	return r
}

func codesOf(t testing.TB, o *Store, specimen string) (codes []string) {
	t.Helper()
	m, err := o.Specimen(SpecimenQuery{Specimen: specimen, At: at})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range m {
		codes = append(codes, x.Service.Code.Code)
	}
	return codes
}

func TestOrderIsFoundBySpecimenAlsoAfterARestart(t *testing.T) {
	dir := t.TempDir()
	s, o := openStore(t, dir)
	apply(t, s, o, ordered(New, "A1", "27", at, "GLU", "NA"))
	want(t, codesOf(t, o, " 27 "), "GLU", "NA")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, o = openStore(t, dir)
	defer s.Close()
	want(t, codesOf(t, o, "27"), "GLU", "NA")
	out := apply(t, s, o, ordered(New, "A2", "28", at, "K"))
	if out.ID != 2 {
		t.Errorf("the second order has ID %d", out.ID)
	}
}

func TestChangeThatIsNotCommittedIsForgotten(t *testing.T) {
	s, o := openStore(t, t.TempDir())
	defer s.Close()
	c := o.Begin(at)
	if _, err := c.Apply(ordered(New, "A1", "27", at, "GLU")); err != nil {
		t.Fatal(err)
	}
	c.End(storage.ErrDiskFull)
	want(t, codesOf(t, o, "27"))
	if out := apply(t, s, o, ordered(New, "A2", "27", at, "K")); out.ID != 1 {
		t.Errorf("the number of what was forgotten was used up: %d", out.ID)
	}
}

func want(t testing.TB, got []string, codes ...string) {
	t.Helper()
	if len(got) != len(codes) {
		t.Fatalf("open are %v, want %v", got, codes)
	}
	for i := range got {
		if got[i] != codes[i] {
			t.Fatalf("open are %v, want %v", got, codes)
		}
	}
}

func TestSpecimenIsMatchedByItsDayAndSection(t *testing.T) {
	s, o := openStore(t, t.TempDir())
	defer s.Close()
	yesterday := ordered(New, "A1", "27", time.Time{}, "GLU")
	yesterday.Order.Services[0].Collected, yesterday.Order.Services[0].Section = at.Add(-24*time.Hour), "CH"
	today := ordered(New, "A2", "27", time.Time{}, "WBC", "NA")
	today.Order.Services[0].Section, today.Order.Services[1].Section = "HM", "CH"
	apply(t, s, o, yesterday)
	apply(t, s, o, today)
	for _, c := range []struct {
		q    SpecimenQuery
		want []string
	}{
		{SpecimenQuery{}, []string{"GLU", "WBC", "NA"}},
		{SpecimenQuery{Window: 12 * time.Hour}, []string{"WBC", "NA"}},
		{SpecimenQuery{Window: 12 * time.Hour, Sections: []string{"ch"}}, []string{"NA"}},
		{SpecimenQuery{Sections: []string{"HM"}}, []string{"WBC"}},
		{SpecimenQuery{At: at.Add(-24 * time.Hour), Window: time.Hour}, []string{"GLU"}},
	} {
		c.q.Specimen = "27"
		if c.q.At.IsZero() {
			c.q.At = at
		}
		m, err := o.Specimen(c.q)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, x := range m {
			got = append(got, x.Service.Code.Code)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.q, got, c.want)
		}
	}
}

func TestOrdersExpireAndAreRemovedByPolicy(t *testing.T) {
	s, o := openStore(t, t.TempDir())
	defer s.Close()
	now := at
	o.o.Now = func() time.Time { return now }
	later := ordered(New, "A1", "27", at, "GLU")
	later.Order.Services[0].Scheduled = at.Add(5 * 24 * time.Hour)
	apply(t, s, o, later)
	apply(t, s, o, ordered(New, "A2", "28", at, "NA"))
	tidy := func(after time.Duration) {
		t.Helper()
		now = at.Add(after)
		if err := o.tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	const day = 24 * time.Hour
	tidy(7*day - time.Second)
	want(t, codesOf(t, o, "28"), "NA")
	tidy(7 * day)
	want(t, codesOf(t, o, "28"))
	want(t, codesOf(t, o, "27"), "GLU") // it was to begin later
	e, err := o.Find(Key{Specimen: "28"})
	if err != nil || len(e) != 1 || e[0].Order.Services[0].State != record.Expired || e[0].History[1].Link != Self {
		t.Errorf("%+v %v", e, err)
	}
	tidy(12 * day)
	want(t, codesOf(t, o, "27"))
	tidy(37*day - time.Second)
	if e, err := o.Find(Key{Placer: "A2"}); err != nil || len(e) != 1 {
		t.Errorf("removed before its time: %v %v", e, err)
	}
	tidy(37 * day)
	if e, err := o.Find(Key{Placer: "A2"}); err != nil || len(e) != 0 {
		t.Errorf("kept: %+v %v", e, err)
	}
	tidy(42 * day)
	keys, err := s.Keys("order", 0)
	if err != nil || len(keys) != 1 || keys[0] != keyNext || o.Open() != 0 {
		t.Errorf("left are %v, %v", keys, err)
	}
}

func TestOnlySoManyOrdersAreOpen(t *testing.T) {
	s, o := openStore(t, t.TempDir())
	defer s.Close()
	o.o.Policy.Most = 2
	apply(t, s, o, ordered(New, "A1", "27", at, "GLU"))
	apply(t, s, o, ordered(New, "A2", "28", at, "GLU"))
	if out := apply(t, s, o, ordered(New, "A3", "29", at, "GLU")); out.Problem != Full {
		t.Errorf("the third: %v", out.Problem)
	}
	apply(t, s, o, ordered(Changing, "A1", "27", at, "NA"))
	apply(t, s, o, ordered(Cancel, "A1", "27", at))
	if out := apply(t, s, o, ordered(New, "A3", "29", at, "GLU")); out.Problem != None {
		t.Errorf("after a cancel: %v", out.Problem)
	}
}

func TestProgressIsOfTheVersionThatWasGiven(t *testing.T) {
	s, o := openStore(t, t.TempDir())
	defer s.Close()
	apply(t, s, o, ordered(New, "A1", "27", at, "GLU"))
	mark := func(version int, p record.Progress, after time.Duration) record.Progress {
		t.Helper()
		o.Mark(Mark{Order: 1, Version: version, Service: 1, Progress: p, Device: "xn-1", At: at.Add(after)})
		if err := o.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		e, _, err := o.Get(1)
		if err != nil {
			t.Fatal(err)
		}
		return e.Order.Services[0].Progress
	}
	if got := mark(1, record.Sent, 1); got != record.Sent {
		t.Errorf("sent: %s", got)
	}
	if got := mark(1, record.Acknowledged, 2); got != record.Acknowledged {
		t.Errorf("acknowledged: %s", got)
	}
	if got := mark(1, record.Sent, 1); got != record.Acknowledged {
		t.Errorf("an older mark: %s", got)
	}
	r := ordered(Changing, "A1", "27", at, "GLU")
	r.Order.Services[0].Priority = "S"
	apply(t, s, o, r)
	if got := mark(1, record.Acknowledged, 3); got != record.Received {
		t.Errorf("of the version before: %s", got)
	}
	if got := mark(2, record.Queried, 4); got != record.Queried {
		t.Errorf("queried: %s", got)
	}
	if got := mark(1, record.Resulted, 5); got != record.Resulted {
		t.Errorf("resulted: %s", got)
	}
}

func TestPatientOfOpenOrdersIsChangedInTheCallersBatch(t *testing.T) {
	s, o := openStore(t, t.TempDir())
	defer s.Close()
	apply(t, s, o, ordered(New, "A1", "27", at, "GLU"))
	other := ordered(New, "A2", "28", at, "NA")
	other.Order.Ordered.Identifiers = []record.Identifier{{Value: "P2", Authority: "HIS"}}
	apply(t, s, o, other)
	to := record.Person{Identifiers: []record.Identifier{{Value: "P9", Authority: "HIS"}}}
	for _, commit := range []bool{false, true} {
		b := new(storage.Batch)
		n, end, err := o.Repatient(b, Turn{Link: "his", Control: "A40"}, func(x record.Order) (record.Person, bool) {
			return to, x.Patient.Has(record.Identifier{Value: "P1", Authority: "HIS"})
		}, record.Identifier{Value: "P1", Authority: "HIS"})
		if err != nil || n != 1 {
			t.Fatal(n, err)
		}
		err = storage.ErrDiskFull
		if commit {
			_, err = s.Commit(t.Context(), b)
		}
		end(err)
		e, err := o.Find(Key{Patient: to.Identifiers[0]})
		if err != nil || len(e) != map[bool]int{true: 1}[commit] {
			t.Errorf("committed %v: %+v, %v", commit, e, err)
		}
	}
	e, _, err := o.Get(1)
	if err != nil || e.Order.Patient.Identifiers[0].Value != "P9" || e.Order.Ordered.Identifiers[0].Value != "P1" || e.History[1].Control != "A40" {
		t.Errorf("%+v %v", e, err)
	}
	if e, err := o.Find(Key{Patient: record.Identifier{Value: "P2", Authority: "HIS"}}); err != nil || len(e) != 1 || e[0].Order.Placer.ID != "A2" {
		t.Errorf("another patient: %+v %v", e, err)
	}
}
