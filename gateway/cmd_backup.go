package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"nhip/gateway/backup"
	"nhip/gateway/config"
	"nhip/gateway/control"
	"nhip/gateway/intake"
	"nhip/gateway/run"
	"nhip/storage"
	"nhip/storage/diskguard"
)

type backupCommand struct {
	Config         string `help:"Configuration file, for the data folder." type:"path" placeholder:"FILE"`
	To             string `help:"An existing folder, or the file to make." required:"" type:"path" placeholder:"FOLDER|FILE"`
	PassphraseFile string `help:"Encrypt with the first line of this file." type:"path" placeholder:"FILE"`
	By             string `help:"Your name, for the log." placeholder:"NAME"`
}

func (c *backupCommand) Run() (int, error) {
	cfg, ok := load(c.Config, nil)
	if !ok {
		return exitBad, errors.New("the configuration has errors")
	}
	to, err := filepath.Abs(c.To)
	if err != nil {
		return exitBad, err
	}
	passphrase, err := backup.Passphrase(c.PassphraseFile)
	if err != nil {
		return exitBad, err
	}
	ctx, stop := interruptible()
	defer stop()
	var r backup.Report
	err = control.Call(ctx, cfg.Site.Data, c.By, run.BackupAct, run.BackupRequest{To: to, Passphrase: passphrase}, &r)
	if errors.Is(err, control.ErrNotRunning) {
		r, err = backupOfStore(ctx, cfg, to, passphrase)
	}
	if err != nil {
		return exitBad, err
	}
	printReport(os.Stdout, r)
	if r.Count.Problems > 0 {
		return exitBad, errors.New("the store is damaged: see `nhip verify` for what the backup lacks")
	}
	return exitGood, nil
}

// backupOfStore makes a backup where no gateway runs. It changes nothing in the
// data folder.
func backupOfStore(ctx context.Context, cfg *config.Config, to, passphrase string) (backup.Report, error) {
	s, err := storage.Open(ctx, storage.Options{Dir: cfg.Site.Data, ReadOnly: true, SpoolRefs: intake.SpoolRefs, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return backup.Report{}, err
	}
	r, err := backup.Write(ctx, s, cfg.Site.ID, to, passphrase, time.Now())
	return r, errors.Join(err, s.Close())
}

func interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}

func printReport(w io.Writer, r backup.Report) {
	sealed := "not encrypted"
	if r.Encrypted {
		sealed = "encrypted"
	}
	fmt.Fprintf(w, "%s: %d bytes, %s\nmark: commit %d, %s: all that was acknowledged before\n%d journal entries, %d queued items, %d keys, %d objects of %d bytes\n",
		r.File, r.Bytes, sealed, r.Mark.Commit, r.Mark.At.Local().Format(time.RFC3339), r.Count.Entries, r.Count.Items, r.Count.Keys, r.Count.Objects, r.Count.Bytes)
	for _, p := range r.Problems {
		fmt.Fprintln(w, "lacks:", p)
	}
}

type verifyCommand struct {
	PassphraseFile string `help:"The first line of this file is the passphrase." type:"path" placeholder:"FILE"`
	File           string `arg:"" help:"The backup." type:"path"`
}

func (c *verifyCommand) Run() (int, error) {
	passphrase, err := backup.Passphrase(c.PassphraseFile)
	if err != nil {
		return exitUnreadable, err
	}
	ctx, stop := interruptible()
	defer stop()
	r, err := backup.Verify(ctx, c.File, passphrase)
	if err != nil {
		return exitUnreadable, err
	}
	printReport(os.Stdout, r)
	if len(r.Problems) > 0 {
		return exitBad, nil
	}
	fmt.Println("whole")
	return exitGood, nil
}

type restoreCommand struct {
	PassphraseFile string `help:"The first line of this file is the passphrase." type:"path" placeholder:"FILE"`
	To             string `help:"The new data folder: empty, or not there yet." required:"" type:"path" placeholder:"FOLDER"`
	File           string `arg:"" help:"The backup." type:"path"`
}

func (c *restoreCommand) Run() (int, error) {
	passphrase, err := backup.Passphrase(c.PassphraseFile)
	if err != nil {
		return exitUnreadable, err
	}
	ctx, stop := interruptible()
	defer stop()
	r, err := backup.Restore(ctx, c.File, c.To, passphrase, slog.New(slog.NewTextHandler(os.Stderr, nil)), time.Now())
	if err != nil {
		return exitUnreadable, err
	}
	printReport(os.Stdout, r)
	fmt.Printf("restored into %s. Numbers go on in a new epoch. What the gateway delivered after the mark is sent again under the control ID that it had.\n", c.To)
	if len(r.Problems) > 0 {
		return exitBad, nil
	}
	return exitGood, nil
}

type scrubCommand struct {
	Config string `help:"Configuration file, for the data folder." type:"path" placeholder:"FILE"`
}

func (c *scrubCommand) Run() (int, error) {
	cfg, ok := load(c.Config, nil)
	if !ok {
		return exitBad, errors.New("the configuration has errors")
	}
	ctx, stop := interruptible()
	defer stop()
	var r run.ScrubReport
	err := control.Call(ctx, cfg.Site.Data, "", run.ScrubAct, nil, &r)
	if errors.Is(err, control.ErrNotRunning) {
		r, err = scrubOfStore(ctx, cfg)
	}
	if err != nil {
		return exitBad, err
	}
	for _, a := range r.Found {
		fmt.Printf("%s: %s\n", a.Where, a.What)
	}
	fmt.Printf("everything was read in %s: %d findings\n", r.Took.Round(time.Millisecond), len(r.Found))
	if len(r.Found) > 0 {
		return exitBad, nil
	}
	return exitGood, nil
}

// scrubOfStore reads the store where no gateway runs, and changes nothing but what
// it puts back from the mirror, where there is one.
func scrubOfStore(ctx context.Context, cfg *config.Config) (run.ScrubReport, error) {
	s, err := storage.Open(ctx, storage.Options{
		Dir: cfg.Site.Data, ReadOnly: cfg.Site.Mirror == "", Mirror: cfg.Site.Mirror, Disk: diskguard.System,
		SpoolRefs: intake.SpoolRefs, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return run.ScrubReport{}, err
	}
	opening := s.Alarms()
	r, err := run.Scrub(ctx, s)
	for _, a := range opening { // what opening it found too
		if !slices.ContainsFunc(r.Found, func(b storage.Alarm) bool { return a.What == b.What && a.Where == b.Where }) {
			r.Found = append(r.Found, a)
		}
	}
	return r, errors.Join(err, s.Close())
}
