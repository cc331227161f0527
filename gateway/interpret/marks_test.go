package interpret

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nhip/gateway/delivery"
	"nhip/gateway/intake"
	"nhip/gateway/lab"
	"nhip/gateway/orders"
	"nhip/gateway/record"
	"nhip/storage"
)

// orderFor stores an order of one specimen, and joins the results of xn-1 to orders.
func (r *rig) orderFor(number, specimen string, codes ...string) *lab.Desk {
	r.t.Helper()
	o := r.ordersOf(r.s)
	c := o.Begin(time.Now())
	order := record.Order{Kind: record.LaboratoryOrder, Placer: record.OrderNumber{ID: number}, Ordered: record.Person{Identifiers: []record.Identifier{{Value: "PT-1"}}}}
	for _, code := range codes {
		order.Services = append(order.Services, record.Service{Code: record.Coded{Code: code}, Specimens: []record.OrderSpecimen{{IDs: []string{specimen}}}})
	}
	_, err := c.Apply(orders.Request{Action: orders.New, Link: "his", Order: order})
	b := new(storage.Batch)
	if err == nil {
		err = c.Write(b)
	}
	if err == nil {
		_, err = r.s.Commit(r.t.Context(), b)
	}
	c.End(err)
	if err != nil {
		r.t.Fatal(err)
	}
	desk := &lab.Desk{Orders: o, Log: slog.New(slog.DiscardHandler)}
	a := lab.Analyser{Name: "xn-1", Policy: lab.Required, Codes: lab.ByCode{}}
	r.w.Knows.Marks = o.MarkIn
	r.w.Knows.Ordered = func(_ string, rep record.Report, l Look) (lab.Finding, error) {
		if l.Order != "" {
			return desk.Assign(a, rep, l.Order)
		}
		return desk.Find(a, rep, l.Received, l.Released)
	}
	return desk
}

func (r *rig) ordersOf(s *storage.Store) *orders.Store {
	r.t.Helper()
	o, err := orders.Open(r.t.Context(), orders.Options{Store: s, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		r.t.Fatal(err)
	}
	return o
}

// Killed before or after any of its commits the gateway has a result and the mark of it
// at its order, or neither: a service with its result is not handed out again.
func TestAServiceHasItsResultInTheSameCommitAsTheResult(t *testing.T) {
	dir, images := t.TempDir(), t.TempDir()
	var taken []string
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, dir)
		r.s.Close()
		s, err := storage.Open(t.Context(), storage.Options{Dir: dir, Log: slog.New(slog.DiscardHandler), Watch: func(when, what string) {
			if strings.HasPrefix(what, "remove interpret") {
				image := filepath.Join(images, when)
				taken = append(taken, image)
				if err := os.CopyFS(image, os.DirFS(dir)); err != nil {
					t.Error(err)
				}
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		r.s, r.w.Store = s, s
		r.in = intake.New(s, slog.New(slog.DiscardHandler))
		r.w.Intake = r.in
		r.orderFor("A1", "27", "WBC", "HGB")
		r.astm("xn-1", xn)
		r.interpret()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if len(taken) != 2 {
		t.Fatalf("killed at %q", taken)
	}
	for i, image := range taken {
		r := &rig{t: t}
		s, err := storage.Open(t.Context(), storage.Options{Dir: image, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		all, err := r.ordersOf(s).Find(orders.Key{Placer: "A1"})
		if err != nil || len(all) != 1 {
			t.Fatal(len(all), err)
		}
		resulted := 0
		for _, v := range all[0].Order.Services {
			if v.Progress == record.Resulted {
				resulted++
			}
		}
		sent := s.Depth(delivery.Queue("lis"))
		if sent != i || resulted != 2*i {
			t.Errorf("killed %s the commit: %d messages for the LIS, %d services with a result", filepath.Base(image), sent, resulted)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
