// Command nhip is the gateway between a hospital's devices and its information
// systems.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
	_ "time/tzdata" // a spare PC may have no zone data

	"github.com/alecthomas/kong"

	"nhip/drivers/capture"
	"nhip/drivers/monitor"
	"nhip/drivers/port"
	"nhip/drivers/profile"
	"nhip/gateway/config"
	"nhip/gateway/reason"
	"nhip/gateway/run"
	"nhip/storage"
)

// version is set by the linker.
var version = "dev"

// Exit statuses.
const (
	exitGood       = 0
	exitBad        = 1
	exitUnreadable = 2
	exitStore      = 3 // a commit or fsync failed: start me again
	exitFull       = 4 // the disk is too full to open the store: make room first
	exitAgain      = 5 // something else went wrong, which a new start may cure
)

var cli struct {
	Run     runCommand     `cmd:"" help:"Run the gateway."`
	Check   checkCommand   `cmd:"" help:"Check a configuration, in words. Exit status 0: good, 1: not."`
	Decode  decodeCommand  `cmd:"" help:"Decode a capture of an analyser to JSON. Exit status 0: clean, 1: problems, 2: unreadable."`
	Capture captureCommand `cmd:"" help:"Record, replay and scrub what an analyser says."`
	Profile profileCommand `cmd:"" help:"Profiles of analysers: list, test, make a draft of a new one."`
	Dicom   dicomCommand   `cmd:"" help:"Tools for DICOM." name:"dicom"`
	HL7     hl7Command     `cmd:"" help:"Tools for HL7, and the maps of fields." name:"hl7"`
	Codes   codesCommand   `cmd:"" help:"Tables of analysers' codes: LIS codes, units, MA_MAY."`
	Journal journalCommand `cmd:"" help:"Look at the journal of what came in and went out."`
	Orders  ordersCommand  `cmd:"" help:"Orders of systems: what is open, and what became of it."`
	Patient patientCommand `cmd:"" help:"Who a patient number is, and what changed that."`
	Queue   queueCommand   `cmd:"" help:"What waits for the destinations."`
	Hold    holdCommand    `cmd:"" help:"What is held for a person."`
	Pause   pauseCommand   `cmd:"" help:"Send nothing more to a destination; it goes on receiving into the queue."`
	Resume  resumeCommand  `cmd:"" help:"End a pause."`
	Resend  resendCommand  `cmd:"" help:"Send again what has left the queue: the stored bytes, under the same control ID."`
	Release releaseCommand `cmd:"" help:"Let held items go on as they are: sent, or interpreted once more."`
	Return  returnCommand  `cmd:"" help:"Give the services of an order to the analysers again, though they have a result."`
	Discard discardCommand `cmd:"" help:"Give items up, by a named person with a reason."`
	Token   tokenCommand   `cmd:"" help:"Make a token for a person who may act through the console."`
	Backup  backupCommand  `cmd:"" help:"Back up the data of a gateway, running or not."`
	Verify  verifyCommand  `cmd:"" help:"Read a backup again and check all of it. Exit status 0: whole, 1: the store lacked something, 2: unreadable."`
	Restore restoreCommand `cmd:"" help:"Make a data folder of a backup."`
	Scrub   scrubCommand   `cmd:"" help:"Read everything that is stored and name what is damaged. Exit status 0: nothing, 1: something."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

func main() {
	k := kong.Parse(&cli, kong.Name("nhip"), kong.UsageOnError(),
		kong.Description("Nhịp: the gateway between a hospital's devices and its information systems."))
	status, err := k.Selected().Target.Addr().Interface().(command).Run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "nhip:", err)
	}
	os.Exit(status)
}

// A command does its work and says the exit status.
type command interface{ Run() (int, error) }

type runCommand struct {
	Config string `help:"Configuration file. Without one the gateway listens on loopback and knows nobody." type:"path" placeholder:"FILE"`
	Log    string `help:"Log format." enum:"text,json" default:"text"`
}

func (c *runCommand) Run() (int, error) {
	var h slog.Handler = slog.NewTextHandler(os.Stderr, nil)
	if c.Log == "json" {
		h = slog.NewJSONHandler(os.Stderr, nil)
	}
	log := slog.New(h)
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(512 << 20)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200) // the heap is small: less work for a little memory
	}
	cfg, ok := load(c.Config, nil)
	if !ok {
		return exitBad, errors.New("the configuration has errors: nothing was started")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	g, err := run.Start(ctx, cfg, run.Options{Version: version, Log: log})
	if err != nil {
		return startStatus(err), err
	}
	served := serveManager(ctx, g, log)
	select {
	case <-ctx.Done():
		log.Info("stopping: a signal asked for it")
	case <-g.Done():
		err = g.Wait()
	}
	stop() // a second signal ends the process at once
	served()
	closing := g.Close()
	switch {
	case g.Failed():
		return exitStore, run.ErrStore
	case err != nil:
		return exitAgain, err
	case closing != nil:
		return exitAgain, closing
	}
	return exitGood, nil
}

// startStatus tells a supervisor whether starting again can help: with the same
// configuration, or this version on a newer store, it cannot.
func startStatus(err error) int {
	switch {
	case errors.Is(err, storage.ErrFailed):
		return exitStore
	case errors.Is(err, storage.ErrDiskFull):
		return exitFull
	case errors.Is(err, run.ErrConfiguration), errors.Is(err, storage.ErrFormat):
		return exitBad
	}
	return exitAgain
}

type checkCommand struct {
	Config string `help:"Configuration file." type:"path" required:"" placeholder:"FILE"`
	Lang   string `help:"Language: en or vi; else that of the environment (LC_ALL, LC_MESSAGES, LANG)." enum:",en,vi" default:""`
}

// language is that of a flag, else of the environment.
func language(flag string) reason.Language {
	if strings.HasPrefix(cmp.Or(flag, os.Getenv("LC_ALL"), os.Getenv("LC_MESSAGES"), os.Getenv("LANG")), "vi") {
		return reason.Vietnamese
	}
	return reason.English
}

// Sentences of the check, in English and Vietnamese.
var (
	unchecked = [2]string{"note: what waits for a removed destination was not checked: %v\n", "lưu ý: chưa kiểm tra được những gì đang chờ gửi tới nơi nhận đã bỏ: %v\n"}
	checked   = [2]string{"%s is good: %d analysers, %d modalities, %d monitors, %d systems, %d destinations.\n", "%s dùng được: %d máy xét nghiệm, %d máy chụp, %d monitor, %d hệ thống, %d nơi nhận.\n"}
)

func (c *checkCommand) Run() (int, error) {
	lang := language(c.Lang)
	var running bool
	queues := func() map[string]int { return nil }
	if cfg, _ := config.Load(c.Config, config.Env{}); cfg != nil {
		waiting, isRunning, err := run.Waiting(cfg)
		if err != nil {
			fmt.Fprintf(os.Stderr, unchecked[lang], err)
		}
		running = isRunning
		queues = func() map[string]int { return waiting }
	}
	cfg, ok := loadIn(lang, c.Config, queues)
	if cfg != nil && !running {
		for _, p := range cfg.Probe() {
			fmt.Fprintln(os.Stderr, p.In(lang))
			ok = ok && p.Warning
		}
	}
	if !ok {
		return exitBad, nil
	}
	fmt.Printf(checked[lang], c.Config,
		len(cfg.Analysers), len(cfg.Modalities), len(cfg.Monitors), len(cfg.HL7Peers), len(cfg.Destinations))
	return exitGood, nil
}

// load reads a configuration and prints what is wrong with it.
func load(file string, queues func() map[string]int) (*config.Config, bool) {
	return loadIn(language(""), file, queues)
}

func loadIn(lang reason.Language, file string, queues func() map[string]int) (*config.Config, bool) {
	if file == "" {
		return config.Default(), true
	}
	env, err := environment()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return nil, false
	}
	env.Queues = queues
	cfg, problems := config.Load(file, env)
	for _, p := range problems {
		fmt.Fprintln(os.Stderr, p.In(lang))
	}
	return cfg, config.Good(problems)
}

// environment is what the check of a configuration has to know.
func environment() (config.Env, error) {
	profiles, err := profile.Builtin()
	if err != nil {
		return config.Env{}, err
	}
	env := config.Env{Profiles: map[string]string{}, MonitorProfiles: map[string]string{}, ParsePort: func(s string) error {
		_, err := port.Parse(s)
		return err
	}}
	for id, p := range profiles {
		env.Profiles[id] = p.Protocol()
	}
	env.SiteProfiles = func(folder string) (map[string]string, error) {
		all, err := profile.Folder(folder)
		protocols := map[string]string{}
		for id, p := range all {
			protocols[id] = p.Protocol()
		}
		return protocols, err
	}
	env.Downloads = func(folder, id string) bool {
		all, _ := profile.Folder(folder) // what is wrong with it has been said
		return all[id] != nil && all[id].Downloads()
	}
	for _, p := range monitor.Profiles() {
		env.MonitorProfiles[p.ID] = "hl7"
		if p.Protocol == monitor.ProtocolLine {
			env.MonitorProfiles[p.ID] = "serial"
		}
	}
	return env, nil
}

type decodeCommand struct {
	Protocol string `help:"astm, hl7 or auto." enum:"astm,hl7,auto" default:"auto"`
	Profile  string `help:"Profile ID, or the folder of a profile, to print the mapped results." placeholder:"ID|DIR"`
	TimeZone string `help:"Zone of the analyser's clock." default:"Asia/Ho_Chi_Minh" placeholder:"ZONE"`
	Text     bool   `help:"Print for people, not JSON: frames, records, fields with places and names, results, and what is wrong."`
	Lang     string `help:"Language of --text: en or vi; else that of the environment." enum:",en,vi" default:""`
	File     string `arg:"" help:"The recording: bytes as they came, hex digits or a hex dump, pcap or pcapng, Wireshark's text, our transcript; - reads standard input."`
}

// maxCapture bounds what is read of a capture.
const maxCapture = 64 << 20

func (c *decodeCommand) Run() (int, error) {
	b, err := readCapture(c.File)
	if err != nil {
		return exitUnreadable, err
	}
	var p *profile.Profile
	if c.Profile != "" {
		if p, err = findProfile(c.Profile); err != nil {
			return exitUnreadable, err
		}
	}
	zone, err := time.LoadLocation(c.TimeZone)
	if err != nil {
		return exitUnreadable, err
	}
	out, err := capture.Decode(b, c.Protocol, p, zone)
	if err != nil {
		return exitUnreadable, err
	}
	if c.Text {
		err = capture.Text(os.Stdout, out, [...]string{"en", "vi"}[language(c.Lang)])
	} else {
		e := json.NewEncoder(os.Stdout)
		e.SetEscapeHTML(false)
		e.SetIndent("", " ")
		err = e.Encode(out)
	}
	if err != nil {
		return exitUnreadable, err
	}
	if len(out.Problems) > 0 {
		return exitBad, nil
	}
	return exitGood, nil
}

// findProfile takes the ID of a profile that is built in, or a folder.
func findProfile(name string) (*profile.Profile, error) {
	builtin, err := profile.Builtin()
	if err != nil {
		return nil, err
	}
	if p := builtin[name]; p != nil {
		return p, nil
	}
	if st, err := os.Stat(name); err == nil && st.IsDir() {
		return profile.Load(os.DirFS(name), ".")
	}
	return nil, fmt.Errorf("there is no profile %q built in and no such folder; built in are %v", name, profile.IDs(builtin))
}

type versionCommand struct{}

func (*versionCommand) Run() (int, error) {
	fmt.Println("nhip", version)
	return exitGood, nil
}
