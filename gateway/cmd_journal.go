package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
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
	"nhip/gateway/journal"
	"nhip/gateway/reason"
	"nhip/storage"
)

type journalCommand struct {
	Search journalSearch `cmd:"" default:"withargs" help:"Find entries, the newest first."`
	Show   journalShow   `cmd:"" help:"Show one entry, its bytes and what became of it."`
}

type journalSearch struct {
	Config     string `help:"Configuration file, for the data folder and the time zone." type:"path" placeholder:"FILE"`
	Specimen   string `help:"Specimen identifier, exactly."`
	Patient    string `help:"Patient identifier, exactly."`
	Accession  string `help:"Accession number, exactly."`
	Order      string `help:"Placer or filler order number, exactly."`
	Connection string `help:"Device, system or destination of the configuration."`
	From       string `help:"Received at that time or later: 2026-01-14, \"2026-01-14 08:15\", 08:15, or 2h for two hours ago." placeholder:"TIME"`
	To         string `help:"Received before that time." placeholder:"TIME"`
	State      string `help:"stored, queued, held, delivered, discarded, expired, consumed, trial, repeat, incomplete or conflict."`
	Limit      int    `help:"How many at most." default:"100"`
	JSON       bool   `help:"Print JSON." name:"json"`
}

func (c *journalSearch) Run() (int, error) {
	cfg, ok := load(c.Config, nil)
	if !ok {
		return exitBad, errors.New("the configuration has errors")
	}
	q := journal.Query{Specimen: c.Specimen, Patient: c.Patient, Accession: c.Accession, Order: c.Order, Connection: c.Connection, State: journal.State(c.State), Limit: c.Limit}
	var err error
	now, zone := time.Now(), cfg.Site.TimeZone
	if q.From, err = journal.ParseTime(c.From, zone, now); err != nil {
		return exitBad, err
	}
	if q.To, err = journal.ParseTime(c.To, zone, now); err != nil {
		return exitBad, err
	}
	if err := q.Check(); err != nil {
		return exitBad, err
	}
	r, done, err := openJournal(cfg)
	if err != nil {
		return exitBad, err
	}
	defer done()
	page, err := r.Search(context.Background(), q)
	if err != nil {
		return exitBad, err
	}
	if c.JSON {
		return exitGood, printJSON(page)
	}
	printPage(os.Stdout, page, zone)
	return exitGood, nil
}

func printPage(to io.Writer, page journal.Page, zone *time.Location) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, e := range page.Entries {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", e.Received.In(zone).Format("2006-01-02 15:04:05"), e.Ref, e.Kind, e.Bytes, safe(e.Subject), safe(became(e)))
	}
	w.Flush()
	for _, d := range page.Damaged {
		fmt.Fprintln(to, "damaged:", safe(d))
	}
	if !page.Older.IsZero() {
		fmt.Fprintf(to, "there is more: go on with --to %q\n", page.Older.Format(time.RFC3339Nano))
	}
	if len(page.Entries) == 0 && page.Older.IsZero() {
		fmt.Fprintln(to, "nothing found")
	}
}

// became says what became of an entry, in a few words.
func became(e journal.Entry) string {
	var parts []string
	for _, s := range e.States {
		var where []string
		for _, d := range e.Deliveries {
			if d.State == s {
				where = append(where, d.Destination)
			}
		}
		part := string(s)
		if s == journal.Consumed {
			where = e.Consumed
		}
		if len(where) > 0 {
			part += " (" + strings.Join(where, ", ") + ")"
		}
		parts = append(parts, part)
	}
	if e.Damaged != "" {
		parts = append(parts, "DAMAGED")
	}
	return strings.Join(parts, ", ")
}

type journalShow struct {
	Config string `help:"Configuration file, for the data folder and the time zone." type:"path" placeholder:"FILE"`
	Ref    string `arg:"" help:"The entry, such as in/xn-1/27."`
	Raw    bool   `help:"Print the bytes and nothing else." xor:"form"`
	Hex    bool   `help:"Print the bytes in hexadecimal." xor:"form"`
	JSON   bool   `help:"Print JSON, without the bytes." name:"json" xor:"form"`
}

func (c *journalShow) Run() (int, error) {
	cfg, ok := load(c.Config, nil)
	if !ok {
		return exitBad, errors.New("the configuration has errors")
	}
	r, done, err := openJournal(cfg)
	if err != nil {
		return exitBad, err
	}
	defer done()
	ctx := context.Background()
	if c.Raw || c.Hex {
		b, err := r.Bytes(ctx, c.Ref)
		if err != nil {
			return exitBad, err
		}
		if c.Hex {
			_, err = os.Stdout.WriteString(hex.Dump(b))
		} else {
			_, err = os.Stdout.Write(b)
		}
		if err != nil {
			return exitBad, err
		}
		return exitGood, nil
	}
	d, err := r.Show(ctx, c.Ref)
	if err != nil {
		return exitBad, err
	}
	if c.JSON {
		return exitGood, printJSON(d)
	}
	printEntry(os.Stdout, d.Entry, cfg.Site.TimeZone)
	for _, s := range d.Sent {
		fmt.Println()
		printEntry(os.Stdout, s, cfg.Site.TimeZone)
	}
	if !d.HasBytes || d.Kind == "dicom" {
		return exitGood, nil
	}
	b, err := r.Bytes(ctx, c.Ref)
	if err != nil {
		return exitBad, err
	}
	fmt.Println()
	for _, line := range journal.Lines(b) {
		fmt.Println(line)
	}
	if len(d.Answer) > 0 {
		fmt.Println("\nanswered:")
		for _, line := range journal.Lines(d.Answer) {
			fmt.Println(line)
		}
	}
	return exitGood, nil
}

func printEntry(to io.Writer, e journal.Entry, zone *time.Location) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, safe(value))
		}
	}
	stamp := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.In(zone).Format("2006-01-02 15:04:05.000 -0700")
	}
	row("entry", e.Ref)
	row("connection", e.Connection)
	row("peer", e.Peer)
	row("kind", e.Kind)
	row("subject", e.Subject)
	row("received", stamp(e.Received))
	row("device time", stamp(e.DeviceTime))
	row("bytes", fmt.Sprint(e.Bytes))
	row("SHA-256", e.SHA256)
	row("made of", e.Of)
	row("became", became(e))
	for _, r := range e.Reasons {
		row("reason", r.In(reason.English))
	}
	for _, d := range e.Deliveries {
		row("to "+d.Destination, strings.TrimSpace(fmt.Sprintf("%s %s  %s  %s  %s", d.State, stamp(d.At), d.Mark, d.Sent, d.Reason.In(reason.English))))
		for _, line := range journal.Lines(d.Answer) {
			row("  answered", line)
		}
		if more := d.AnswerBytes - len(d.Answer); more > 0 {
			row("  answered", fmt.Sprintf("… and %d bytes more", more))
		}
	}
	row("DAMAGED", e.Damaged)
	w.Flush()
}

// safe is text from a wire for a terminal.
func safe(s string) string { return strings.Join(journal.Lines([]byte(s)), "") }

func printJSON(v any) error {
	e := json.NewEncoder(os.Stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	return e.Encode(v)
}

// openJournal asks the gateway that runs on the data, or opens the store where
// none runs.
func openJournal(cfg *config.Config) (journal.Reader, func(), error) {
	running := journal.Running{Data: cfg.Site.Data}
	_, err := running.Search(context.Background(), journal.Query{Limit: 1})
	if err == nil {
		return running, func() {}, nil
	}
	if !errors.Is(err, control.ErrNotRunning) {
		return nil, nil, err
	}
	if _, err := os.Stat(cfg.Site.Data); err != nil {
		return nil, nil, fmt.Errorf("there is no data in %s: %w", cfg.Site.Data, err)
	}
	s, err := storage.Open(context.Background(), storage.Options{Dir: cfg.Site.Data, ReadOnly: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, nil, err
	}
	return journal.Stopped{Journal: &journal.Journal{Store: s}}, func() { s.Close() }, nil
}
