package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"nhip/gateway/config"
	"nhip/gateway/control"
	"nhip/gateway/journal"
	"nhip/gateway/run"
	"nhip/storage"
)

// person is who acts, and on which gateway.
type person struct {
	Config string `help:"Configuration file of the gateway." type:"path" placeholder:"FILE"`
	By     string `help:"Your name, for the audit journal; it stands there beside the user of the operating system." placeholder:"NAME"`
}

// ask has the gateway that runs do something; where none runs, it opens the store.
func (p person) ask(path string, request, answer any) error {
	ctx := context.Background()
	cfg, ok := load(p.Config, nil)
	if !ok {
		return errors.New("the configuration has errors")
	}
	err := control.Call(ctx, cfg.Site.Data, p.By, path, request, answer)
	if !errors.Is(err, control.ErrNotRunning) {
		return err
	}
	if _, err := os.Stat(cfg.Site.Data); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no data folder %s", cfg.Site.Data)
	}
	acts, done, err := run.Acts(ctx, cfg, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	if errors.Is(err, storage.ErrInUse) { // it has just started
		return control.Call(ctx, cfg.Site.Data, p.By, path, request, answer)
	}
	if err != nil {
		return err
	}
	return errors.Join(acts.Do(ctx, control.Self(p.By), path, request, answer), done())
}

// did asks, and prints what was done.
func (p person) did(path string, request any, words string) (int, error) {
	var a run.ActAnswer
	if err := p.ask(path, request, &a); err != nil {
		return exitBad, err
	}
	fmt.Printf(words+"\n", a.Items)
	return exitGood, nil
}

func (p person) zone() (*config.Config, *time.Location) {
	cfg, ok := load(p.Config, nil)
	if !ok {
		return nil, time.UTC
	}
	return cfg, cfg.Site.TimeZone
}

type queueCommand struct {
	person
	Destination string `arg:"" optional:"" help:"Destination; all of them without one."`
	Limit       int    `help:"How many items of each at most." default:"100"`
	JSON        bool   `help:"Print JSON." name:"json"`
}

func (c *queueCommand) Run() (int, error) {
	var a run.QueueAnswer
	if err := c.ask("queue", run.QueueRequest{Destination: c.Destination, Limit: c.Limit}, &a); err != nil {
		return exitBad, err
	}
	if c.JSON {
		return exitGood, indented(a)
	}
	_, zone := c.zone()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, d := range a.Destinations {
		fmt.Fprintf(w, "%s: %s, %d in the queue, %d held, %d behind them, %d sent and not answered\n", d.Destination, d.State, d.Depth, d.Held, d.Behind, d.Unanswered)
		if d.Pause != nil {
			fmt.Fprintf(w, "  paused by %s %s at %s: %s\n", onOneLine(d.Pause.User), onOneLine(d.Pause.By), d.Pause.At.In(zone).Format(time.DateTime), onOneLine(d.Pause.Why))
		} else if d.Why != "" {
			fmt.Fprintf(w, "  %s\n", onOneLine(d.Why))
		}
		printItems(w, d.Items, zone)
	}
	return exitGood, w.Flush()
}

func printItems(w *tabwriter.Writer, items []run.QueuedItem, zone *time.Location) {
	for _, it := range items {
		more := it.Reason
		if it.Behind != "" {
			more = "waits behind " + it.Behind
		}
		if it.Count > 0 {
			more += fmt.Sprintf(" (%d wait behind it)", it.Count)
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\t%s\t%s\n", it.ID, it.Queued.In(zone).Format(time.DateTime), it.State, onOneLine(it.Name), onOneLine(it.What), onOneLine(it.Subject), onOneLine(more))
	}
}

// onOneLine keeps what a peer said from writing to the terminal.
func onOneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '·'
		}
		return r
	}, s)
}

type holdCommand struct {
	List  holdListCommand  `cmd:"" help:"What waits for a person."`
	Match holdMatchCommand `cmd:"" help:"A held result is of this order: let it go on under it. By a named person with a reason."`
}

type holdListCommand struct {
	person
	Limit int  `help:"How many at most." default:"1000"`
	JSON  bool `help:"Print JSON." name:"json"`
}

func (c *holdListCommand) Run() (int, error) {
	var a run.HeldAnswer
	if err := c.ask("held", run.QueueRequest{Limit: c.Limit}, &a); err != nil {
		return exitBad, err
	}
	if c.JSON {
		return exitGood, indented(a)
	}
	if len(a.Held) == 0 {
		fmt.Println("Nothing is held.")
		return exitGood, nil
	}
	_, zone := c.zone()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	printItems(w, a.Held, zone)
	return exitGood, w.Flush()
}

type pauseCommand struct {
	person
	Destination string `arg:"" help:"Destination."`
	Reason      string `help:"Why."`
}

func (c *pauseCommand) Run() (int, error) {
	return c.did("pause", run.DestinationRequest{Destination: c.Destination, Reason: c.Reason}, c.Destination+" is paused, with %d in the queue. It stays so until `nhip resume`.")
}

type resumeCommand struct {
	person
	Destination string `arg:"" help:"Destination."`
	Reason      string `help:"Why."`
}

func (c *resumeCommand) Run() (int, error) {
	return c.did("resume", run.DestinationRequest{Destination: c.Destination, Reason: c.Reason}, c.Destination+" is no longer paused, with %d in the queue.")
}

type resendCommand struct {
	person
	Destination string   `arg:"" help:"Destination."`
	IDs         []string `arg:"" optional:"" name:"id" help:"Control IDs, SOP Instance UIDs or journal references."`
	From        string   `help:"All that was delivered at that time or later: 2026-01-14, \"2026-01-14 08:15\", 08:15, or 2h for two hours ago." placeholder:"TIME"`
	To          string   `help:"All that was delivered up to that time." placeholder:"TIME"`
	Channel     string   `help:"Journal channel of --first and --last; out/DESTINATION without it." placeholder:"CHANNEL"`
	First       uint64   `help:"All from this sequence in the journal on." placeholder:"N"`
	Last        uint64   `help:"All up to this sequence in the journal." placeholder:"N"`
	Reason      string   `help:"Why."`
}

func (c *resendCommand) Run() (int, error) {
	cfg, zone := c.zone()
	if cfg == nil {
		return exitBad, errors.New("the configuration has errors")
	}
	r := run.ResendRequest{Destination: c.Destination, IDs: c.IDs, Channel: c.Channel, First: c.First, Last: c.Last, Reason: c.Reason}
	var err error
	now := time.Now()
	if r.From, err = journal.ParseTime(c.From, zone, now); err != nil {
		return exitBad, err
	}
	if r.To, err = journal.ParseTime(c.To, zone, now); err != nil {
		return exitBad, err
	}
	return c.did("resend", r, "%d are sent again to "+c.Destination+": the same bytes under the same names.")
}

type holdMatchCommand struct {
	person
	ID     string `arg:"" name:"item" help:"A held item, as \"nhip hold list\" shows it: held/3."`
	Order  string `arg:"" help:"The number of the order, the placer's or the filler's."`
	Reason string `help:"Why. Required, as is --by."`
}

func (c *holdMatchCommand) Run() (int, error) {
	if err := c.ask("match", run.MatchRequest{ID: c.ID, Order: c.Order, Reason: c.Reason}, nil); err != nil {
		return exitBad, fmt.Errorf("%s: %w", c.ID, err)
	}
	fmt.Println(c.ID, "goes on under order", c.Order)
	return exitGood, nil
}

type returnCommand struct {
	person
	Order  string `arg:"" help:"The number of the order, the placer's or the filler's."`
	Reason string `help:"Why. Required, as is --by."`
}

func (c *returnCommand) Run() (int, error) {
	var a run.ActAnswer
	if err := c.ask("return", run.ReturnRequest{Order: c.Order, Reason: c.Reason}, &a); err != nil {
		return exitBad, fmt.Errorf("%s: %w", c.Order, err)
	}
	fmt.Printf("%d services of order %s are for the analysers again\n", a.Items, c.Order)
	return exitGood, nil
}

type releaseCommand struct {
	person
	IDs    []string `arg:"" name:"item" help:"Held items, as \"nhip hold list\" shows them: to/lis/17, held/3."`
	Reason string   `help:"Why."`
}

func (c *releaseCommand) Run() (int, error) {
	return c.each("release", c.IDs, c.Reason, "is released")
}

type discardCommand struct {
	person
	IDs    []string `arg:"" name:"item" help:"Items, as \"nhip queue\" and \"nhip hold list\" show them: to/lis/17, held/3."`
	Reason string   `help:"Why. Required, as is --by."`
}

func (c *discardCommand) Run() (int, error) {
	return c.each("discard", c.IDs, c.Reason, "is discarded; its bytes stay in the journal")
}

// each acts on one item after the other, and stops at the first that is refused.
func (p person) each(path string, ids []string, why, words string) (int, error) {
	for _, id := range ids {
		if err := p.ask(path, run.ItemRequest{ID: id, Reason: why}, nil); err != nil {
			return exitBad, fmt.Errorf("%s: %w", id, err)
		}
		fmt.Println(id, words)
	}
	return exitGood, nil
}

type tokenCommand struct {
	Name string `arg:"" help:"The person's name."`
}

func (c *tokenCommand) Run() (int, error) {
	token := rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(token))
	fmt.Printf("The token, for %s alone; it is shown this once:\n\n%s\n\nFor the configuration:\n\n[[person]]\nname = %q\ntoken_sha256 = %q\n",
		onOneLine(c.Name), token, c.Name, hex.EncodeToString(sum[:]))
	return exitGood, nil
}

func indented(v any) error {
	e := json.NewEncoder(os.Stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	return e.Encode(v)
}
