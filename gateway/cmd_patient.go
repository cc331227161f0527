package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"nhip/gateway/config"
	"nhip/gateway/control"
	"nhip/gateway/patients"
	"nhip/gateway/record"
	"nhip/storage"
)

type patientCommand struct {
	Number    string `arg:"" help:"Patient number, citizen number, card or visit, exactly."`
	Config    string `help:"Configuration file, for the data folder and the authorities." type:"path" placeholder:"FILE"`
	Authority string `help:"Who gave the number, as PID-3.4 says. Without it those of the configuration are tried, and each system's own."`
	JSON      bool   `help:"Print JSON." name:"json"`
}

func (c *patientCommand) Run() (int, error) {
	cfg, ok := load(c.Config, nil)
	if !ok {
		return exitBad, errors.New("the configuration has errors")
	}
	q := patients.Query{Value: c.Number, Authorities: authoritiesOf(cfg)}
	if c.Authority != "" {
		q.Authorities = []string{c.Authority}
	}
	found, err := showPatient(cfg, q)
	if err != nil {
		return exitBad, err
	}
	if c.JSON {
		return exitGood, printJSON(found)
	}
	if len(found) == 0 {
		return exitBad, errors.New("there is no patient with this number of these authorities")
	}
	for _, p := range found {
		printPatient(os.Stdout, p, cfg.Site.TimeZone)
	}
	return exitGood, nil
}

// authoritiesOf are all authorities that the configuration names, and the systems' own.
func authoritiesOf(cfg *config.Config) (all []string) {
	for _, a := range cfg.Authorities {
		all = append(all, a.Name)
	}
	for _, p := range cfg.HL7Peers {
		for _, rule := range p.Authority {
			_, authority := config.IdentifierRule(rule)
			all = append(all, authority)
		}
		all = append(all, record.LinkAuthority(p.Name))
	}
	return all
}

// showPatient asks the gateway that runs on the data folder, or reads its store.
func showPatient(cfg *config.Config, q patients.Query) (found []patients.Shown, err error) {
	err = control.Call(context.Background(), cfg.Site.Data, "", patients.PathShow, q, &found)
	if !errors.Is(err, control.ErrNotRunning) {
		return found, err
	}
	if _, err := os.Stat(cfg.Site.Data); err != nil {
		return nil, fmt.Errorf("there is no data in %s: %w", cfg.Site.Data, err)
	}
	s, err := storage.Open(context.Background(), storage.Options{Dir: cfg.Site.Data, ReadOnly: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return (&patients.Store{Store: s, Log: slog.New(slog.DiscardHandler)}).Show(q)
}

// printPatient writes a patient for people.
func printPatient(to io.Writer, p patients.Shown, zone *time.Location) {
	fmt.Fprintf(to, "%d  %s\n", p.ID, personText(p.Person))
	for _, v := range p.Visits {
		fmt.Fprintf(to, "    visit %s  %s  %s  %s\n", safe(v.ID.Value), v.State, safe(v.Class), safe(v.Location))
	}
	for _, c := range p.Changes {
		fmt.Fprintf(to, "    %s  %s  %s from %s: %s", c.At.In(zone).Format("2006-01-02 15:04:05"), c.Event, safe(c.Control), c.Link, c.What)
		if c.Other != 0 {
			fmt.Fprintf(to, " %d", c.Other)
		}
		if c.Before != nil {
			fmt.Fprintf(to, ", before: %s", personText(*c.Before))
		}
		fmt.Fprintln(to)
	}
	if p.Survivor != nil {
		fmt.Fprintf(to, "  is now\n")
		printPatient(to, *p.Survivor, zone)
	}
}

func personText(p record.Person) string {
	text := safe(p.Name.Whole()) + "  " + safe(p.Birth) + "  " + safe(p.Sex)
	for _, i := range p.Identifiers {
		text += "  " + safe(i.Value)
		if !record.OfLink(i.Authority) {
			text += " (" + safe(i.Authority) + ")"
		}
	}
	return text
}
