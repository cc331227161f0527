package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"nhip/gateway/config"
	"nhip/gateway/control"
	"nhip/gateway/orders"
	"nhip/storage"
)

type ordersCommand struct {
	List ordersList `cmd:"" default:"withargs" help:"The newest open orders, or those with an identifier, those that are over too."`
	Show ordersShow `cmd:"" help:"Show one order with its history."`
}

type ordersList struct {
	Config    string `help:"Configuration file, for the data folder and the time zone." type:"path" placeholder:"FILE"`
	Specimen  string `help:"Specimen identifier, exactly."`
	Order     string `help:"Placer or filler order number, exactly, without its authority."`
	Accession string `help:"Accession number, exactly."`
	Patient   string `help:"Patient identifier, exactly, of open orders."`
	Kind      string `help:"Of open orders: laboratory, imaging or other." enum:",laboratory,imaging,other" default:""`
	Limit     int    `help:"How many at most." default:"100"`
	JSON      bool   `help:"Print JSON." name:"json"`
}

func (c *ordersList) Run() (int, error) {
	cfg, ok := load(c.Config, nil)
	if !ok {
		return exitBad, errors.New("the configuration has errors")
	}
	l, err := listOrders(cfg, orders.Query{Specimen: c.Specimen, Order: c.Order, Accession: c.Accession, Patient: c.Patient, Kind: c.Kind, Limit: c.Limit})
	if err != nil {
		return exitBad, err
	}
	if c.JSON {
		return exitGood, printJSON(l)
	}
	printOrders(os.Stdout, l, cfg.Site.TimeZone)
	return exitGood, nil
}

type ordersShow struct {
	Config string `help:"Configuration file, for the data folder and the time zone." type:"path" placeholder:"FILE"`
	ID     uint64 `arg:"" help:"The number that the list shows first."`
	JSON   bool   `help:"Print JSON." name:"json"`
}

func (c *ordersShow) Run() (int, error) {
	cfg, ok := load(c.Config, nil)
	if !ok {
		return exitBad, errors.New("the configuration has errors")
	}
	l, err := listOrders(cfg, orders.Query{ID: c.ID})
	if err != nil {
		return exitBad, err
	}
	if len(l.Orders) == 0 {
		return exitBad, fmt.Errorf("there is no order %d", c.ID)
	}
	if c.JSON {
		return exitGood, printJSON(l.Orders[0])
	}
	printOrder(os.Stdout, l.Orders[0], cfg.Site.TimeZone)
	return exitGood, nil
}

// listOrders asks the gateway that runs on the data, or opens the store where none
// runs.
func listOrders(cfg *config.Config, q orders.Query) (l orders.List, err error) {
	ctx := context.Background()
	if q.ID == 0 && q.Limit < 1 {
		return l, errors.New("the limit must be 1 or more")
	}
	err = control.Call(ctx, cfg.Site.Data, "", orders.PathList, q, &l)
	if !errors.Is(err, control.ErrNotRunning) {
		return l, err
	}
	if _, err := os.Stat(cfg.Site.Data); err != nil {
		return l, fmt.Errorf("there is no data in %s: %w", cfg.Site.Data, err)
	}
	quiet := slog.New(slog.DiscardHandler)
	s, err := storage.Open(ctx, storage.Options{Dir: cfg.Site.Data, ReadOnly: true, Log: quiet})
	if err != nil {
		return l, err
	}
	defer s.Close()
	o, err := orders.Open(ctx, orders.Options{Store: s, Log: quiet})
	if err != nil {
		return l, err
	}
	l.Orders, l.More, err = o.List(ctx, q)
	return l, err
}

func printOrders(to io.Writer, l orders.List, zone *time.Location) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, o := range l.Orders {
		for i, s := range o.Services {
			number := o.Placer
			if number == "" {
				number = o.Filler
			}
			first := []string{fmt.Sprint(o.ID), o.Received.In(zone).Format("2006-01-02 15:04:05"), o.Link, number}
			if i > 0 {
				first = []string{"", "", "", ""}
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", strings.Join(first, "\t"), safe(strings.TrimSpace(s.Code+" "+s.Text)), safe(what(s)), safe(state(s)))
		}
	}
	w.Flush()
	if l.More {
		fmt.Fprintln(to, "there are more: ask for one, or raise --limit")
	}
	if len(l.Orders) == 0 {
		fmt.Fprintln(to, "nothing found")
	}
}

// what is what a service is done on or known by.
func what(s orders.ServiceView) string {
	if s.Accession != "" || len(s.Modality) > 0 {
		return strings.TrimSpace(s.Accession + " " + strings.Join(s.Modality, " "))
	}
	return strings.Join(s.Specimens, " ")
}

func state(s orders.ServiceView) string {
	said := s.State
	if said == "open" {
		said = strings.TrimSpace("open, " + s.Progress + " " + s.By)
	}
	for _, g := range s.Analysers {
		if g.State != string(orders.Taken) {
			said += "; " + g.State + " at " + g.Device
		}
	}
	return said
}

func printOrder(to io.Writer, o orders.View, zone *time.Location) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, safe(value))
		}
	}
	at := func(t *time.Time) string {
		if t == nil || t.IsZero() {
			return ""
		}
		return t.In(zone).Format("2006-01-02 15:04:05")
	}
	row("order", fmt.Sprintf("%d, version %d", o.ID, o.Version))
	row("for", o.Kind)
	row("placer", o.Placer)
	row("filler", o.Filler)
	row("group", o.Group)
	row("system", o.Link)
	row("received", at(&o.Received))
	row("changed", at(&o.Changed))
	row("given up", at(o.Expires))
	row("over since", at(o.Over))
	row("patient", strings.TrimSpace(o.Patient.ID+"  "+o.Patient.Name))
	for _, s := range o.Services {
		row(fmt.Sprintf("service %d", s.ID), strings.TrimSpace(s.Code+" "+s.Text))
		row("  state", state(s)+"  "+at(s.At))
		row("  priority", s.Priority)
		row("  section", s.Section)
		row("  specimen", strings.Join(s.Specimens, " "))
		row("  accession", s.Accession)
		row("  study", s.Study)
		row("  modality", strings.Join(s.Modality, " "))
		row("  scheduled", at(s.Scheduled))
		for _, g := range s.Analysers {
			row("  at "+g.Device, strings.TrimSpace(g.State+"  "+at(&g.At)+"  "+g.Why))
		}
	}
	for _, t := range o.History {
		row(fmt.Sprintf("version %d", t.Version), strings.Join(strings.Fields(at(&t.At)+" "+t.Link+" "+t.Control+" "+t.MessageID+" "+at(&t.Said.Order)), " "))
	}
	w.Flush()
}
