// Command hwsim plays the devices and systems of a hospital: analysers,
// modalities, monitors, an LIS and a PACS, one at a time or all of them around a
// running gateway, with faults, and says whether anything was lost, doubled or
// changed on the way.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/alecthomas/kong"

	"nhip/hardware-sim/scenario"
)

// version is set by the linker.
var version = "dev"

type globals struct {
	Verbose bool `help:"Log every connection and every try." short:"v"`
}

func (g globals) log() *slog.Logger {
	level := slog.LevelWarn
	if g.Verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

var cli struct {
	globals
	Hospital hospitalCommand `cmd:"" help:"Play the hospital around a running gateway, by the gateway's own configuration. Exit status 0 only if nothing was lost, doubled, changed or misfiled, and of what was ordered nothing ran that was cancelled or in an older version."`
	Config   configCommand   `cmd:"" help:"Write a gateway configuration for the simulated hospital, with free ports."`
	Analyser analyserCommand `cmd:"" help:"Play one analyser."`
	LIS      lisCommand      `cmd:"" name:"lis" help:"Play a laboratory information system and print what comes."`
	HIS      hisCommand      `cmd:"" name:"his" help:"Play the system of a hospital that places orders."`
	Modality modalityCommand `cmd:"" help:"Play a modality that sends images."`
	PACS     pacsCommand     `cmd:"" name:"pacs" help:"Play an archive and print what comes."`
	Monitor  monitorCommand  `cmd:"" help:"Play a bedside monitor or a pulse oximeter."`
	Version  versionCommand  `cmd:"" help:"Print the version."`
}

func main() {
	k := kong.Parse(&cli, kong.Name("hwsim"), kong.UsageOnError(), kong.Vars{"models": models()},
		kong.Description("Simulated hospital devices and systems, to test a gateway with."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	k.BindTo(ctx, (*context.Context)(nil))
	err := k.Run(cli.globals)
	stop()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hwsim:", err)
		os.Exit(1)
	}
}

type versionCommand struct{}

func (versionCommand) Run() error {
	fmt.Println("hwsim", version)
	return nil
}

type configCommand struct {
	Out    string `help:"File to write." required:"" type:"path" placeholder:"FILE"`
	Data   string `help:"The gateway's data folder. Default: data, beside the file." type:"path" placeholder:"DIR"`
	Serial bool   `help:"The oximeter on a pseudo terminal instead of TCP (Linux)."`

	Laboratory bool `help:"A laboratory that works both ways instead, twelve analysers on TCP and pseudo terminals (Linux), for the scenario twoway."`
}

func (c configCommand) Run() error {
	if err := os.MkdirAll(filepath.Dir(c.Out), 0o700); err != nil {
		return err
	}
	if c.Laboratory {
		return scenario.WriteLaboratory(c.Out, c.Data)
	}
	return scenario.WriteConfig(c.Out, c.Data, c.Serial)
}

type hospitalCommand struct {
	Config    string `help:"The gateway's configuration file." required:"" type:"path" placeholder:"FILE"`
	Scenario  string `help:"Scenario file, or one that is built in: demo, twoway." default:"demo" placeholder:"FILE"`
	Seed      uint64 `help:"Seed of all that is made up. Default: the scenario's." placeholder:"N"`
	Seconds   int    `help:"How long devices measure. Default: the scenario's." placeholder:"S"`
	Report    string `help:"File for the report as JSON." type:"path" placeholder:"FILE"`
	Truth     string `help:"File for the ground truth, each event a line of JSON." type:"path" placeholder:"FILE"`
	Specimens int    `help:"How many specimens a laboratory runs in all. Default: the scenario's." placeholder:"N"`
	Status    string `help:"URL of the gateway's status, where its console has port 0." placeholder:"URL"`
}

func (c hospitalCommand) Run(ctx context.Context, g globals) error {
	site, err := scenario.LoadSite(c.Config, c.Status)
	if err != nil {
		return err
	}
	s, err := scenario.Load(c.Scenario)
	if err != nil {
		return err
	}
	if c.Seed != 0 {
		s.Seed = c.Seed
	}
	if c.Seconds != 0 {
		s.Seconds = c.Seconds
	}
	if c.Specimens != 0 && s.Laboratory != nil {
		s.Laboratory.Specimens = c.Specimens
	}
	o := scenario.Options{Site: site, Scenario: s, Out: os.Stdout, Log: g.log()}
	if c.Truth != "" {
		f, err := os.OpenFile(c.Truth, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		o.Truth = f
	}
	r, err := scenario.Run(ctx, o)
	if err != nil {
		return err
	}
	r.WriteText(os.Stdout)
	if err := write(c.Report, r); err != nil {
		return err
	}
	if !r.Good() {
		return errors.New("the outcome is not good")
	}
	return nil
}

// write writes the report as JSON to a file, if one is named.
func write(file string, r scenario.Report) error {
	if file == "" {
		return nil
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o600)
}

// lines prints values as lines of JSON.
func lines(w io.Writer) func(any) {
	e := json.NewEncoder(w)
	return func(v any) {
		if err := e.Encode(v); err != nil {
			fmt.Fprintln(os.Stderr, "hwsim:", err)
		}
	}
}
