package orders

import (
	"context"
	"io"
	"log/slog"
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
