package scenario

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"nhip/hardware-sim/analyser"
	"nhip/hardware-sim/lis"
	"nhip/hardware-sim/modality"
	"nhip/hardware-sim/monitor"
	"nhip/hardware-sim/pacs"
	"nhip/hardware-sim/truth"
	"nhip/hardware-sim/wire"
)

// The kinds of peers.
const (
	kindAnalyser = "analyser"
	kindModality = "modality"
	kindMonitor  = "monitor"
	kindLIS      = "lis"
	kindPACS     = "pacs"
)

var kinds = []string{kindAnalyser, kindModality, kindMonitor, kindLIS, kindPACS}

// watcher is the name of the MQTT subscriber as a destination of observations.
const watcher = "mqtt"

// Options of Run.
type Options struct {
	Site     *Site
	Scenario *Scenario // Seed and Seconds are taken from it
	Truth    io.Writer // the ground truth as lines of JSON; may be nil
	Out      io.Writer // for people: what flows, every few seconds
	Log      *slog.Logger
}

// A Report is the outcome of Run.
type Report struct {
	Scenario string    `json:"scenario"`
	Seed     uint64    `json:"seed"`
	Seconds  int       `json:"seconds"`
	Started  time.Time `json:"started"`
	truth.Report
	Sent   map[string]int            `json:"sent"`   // by device: messages, images or lines that were acknowledged
	Faults map[string]map[string]int `json:"faults"` // by peer: what was done, how often
}

// A peer is one simulated device or system.
type peer struct {
	name, profile, kind string
	part                any
	run                 func(context.Context) error // nil only after the end of ctx or Stop
}

// A hospital is the peers of one run.
type hospital struct {
	o     Options
	start time.Time
	truth *truth.Log
	peers []peer
	watch *monitor.Watcher
	lab   *laboratory // nil: no orders are played
	held  int         // messages that the gateway held before
}

const (
	interval = 5 * time.Second  // between two lines for people
	waking   = 30 * time.Second // that the gateway may take to start
)

// Run plays the hospital that the gateway's configuration names for the
// scenario's seconds, lets what is on its way arrive, and compares. Its error is
// for what keeps the hospital from being played; a bad outcome is in the report.
func Run(ctx context.Context, o Options) (Report, error) {
	h := &hospital{o: o, start: time.Now(), truth: truth.New(o.Truth, time.Now)}
	if err := h.furnish(); err != nil {
		return Report{}, err
	}
	events, err := h.events()
	if err != nil {
		return Report{}, err
	}
	fmt.Fprintf(o.Out, "scenario %s, seed %d, %d s: %d peers\n", o.Scenario.Name, o.Scenario.Seed, o.Scenario.Seconds, len(h.peers))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var destinations, devices sync.WaitGroup
	begin := func(group *sync.WaitGroup, p peer) {
		group.Go(func() {
			if err := p.run(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("%s: %w", p.name, err))
			}
		})
	}
	for _, p := range h.peers {
		if p.destination() {
			begin(&destinations, p)
		}
	}
	if h.watch != nil {
		destinations.Go(func() { h.watch.Run(ctx) })
	}
	h.awaken(ctx)
	for _, p := range h.peers {
		if !p.destination() {
			begin(&devices, p)
		}
	}
	h.lab.open(ctx)
	h.timeline(ctx, events)
	h.drain(ctx, &devices)
	unheld := h.unheld(ctx)
	cause := context.Cause(ctx)
	cancel(nil)
	devices.Wait()
	destinations.Wait()
	if cause != nil && !errors.Is(cause, context.Canceled) {
		return Report{}, cause
	}
	report := h.report()
	if report.Laboratory != nil {
		report.Laboratory.NotHeld = unheld
	}
	return report, h.truth.Err()
}

func (p peer) destination() bool { return p.kind == kindLIS || p.kind == kindPACS }

// awaken waits for the gateway to answer. A gateway without a console is begun
// with at once: every peer tries until it gets through.
func (h *hospital) awaken(ctx context.Context) {
	if h.o.Site.status == "" {
		return
	}
	for deadline := time.Now().Add(waking); ; {
		is, err := h.o.Site.ask()
		h.held = is.Counts.Held
		if err == nil && (h.watch == nil || h.watch.Connected()) {
			return
		}
		if time.Now().After(deadline) {
			fmt.Fprintf(h.o.Out, "beginning although the gateway is not fully there: status: %v, MQTT subscribed: %v\n", err, h.watch == nil || h.watch.Connected())
			return
		}
		if !wire.Wait(ctx, 200*time.Millisecond) {
			return
		}
	}
}

type bound struct {
	Event
	do []func()
}

func (h *hospital) events() ([]bound, error) {
	var all []bound
	for _, e := range h.o.Scenario.Events {
		do, err := e.bindAll(h.peers)
		if err != nil {
			return nil, err
		}
		all = append(all, bound{e, do})
	}
	return all, nil
}

// timeline lets the devices measure and the events happen.
func (h *hospital) timeline(ctx context.Context, events []bound) {
	began := time.Now()
	end := time.Duration(h.o.Scenario.Seconds) * time.Second
	line := interval
	for {
		next := min(end, line)
		if len(events) > 0 {
			next = min(next, time.Duration(events[0].At))
		}
		if h.lab != nil {
			next = min(next, time.Since(began)+200*time.Millisecond)
		}
		if !wire.Wait(ctx, max(0, next-time.Since(began))) {
			return
		}
		now := time.Since(began)
		for len(events) > 0 && time.Duration(events[0].At) <= now && now < end {
			e := events[0]
			events = events[1:]
			for _, do := range e.do {
				do()
			}
			fmt.Fprintf(h.o.Out, "%5.0f s  %s\n", now.Seconds(), e)
			events = e.again(events)
		}
		if now >= end || h.lab.finished() {
			return
		}
		if now >= line {
			h.flow(now)
			line += interval
		}
	}
}

// again puts an event that repeats among those to come, which are sorted by time.
func (b bound) again(events []bound) []bound {
	if b.Every <= 0 {
		return events
	}
	b.At += b.Every
	at, _ := slices.BinarySearchFunc(events, b, func(x, y bound) int { return cmp.Compare(x.At, y.At) })
	return slices.Insert(events, at, b)
}

// String says for people what happens.
func (e Event) String() string {
	switch {
	case e.Down > 0:
		return fmt.Sprintf("%s: down for %v", e.Peer, time.Duration(e.Down))
	case e.Burst > 0:
		return fmt.Sprintf("%s: a burst of %d", e.Peer, e.Burst)
	}
	return fmt.Sprintf("%s: faults %v", e.Peer, e.Faults)
}

// flow prints what was received and delivered so far.
func (h *hospital) flow(now time.Duration) {
	r := h.truth.Report()
	text := fmt.Sprintf("%5.0f s ", now.Seconds())
	for _, k := range []truth.Kind{truth.ORU, truth.Instance, truth.Observation} {
		c := r.Kinds[k]
		text += fmt.Sprintf(" %s %d → %d", k, c.Received+c.Consumed, c.Delivered)
	}
	if c := r.Laboratory; c != nil {
		text += fmt.Sprintf("  orders %d → queries %d → run %d → filed %d", c.Orders, c.Queries, c.Tests, c.Filed)
	}
	fmt.Fprintf(h.o.Out, "%s  doubled %d changed %d misfiled %d repeats %d\n", text, r.Doubled, r.Changed, r.Misfiled, r.Repeats)
}

// drain stops the devices and waits until everything has arrived, or for the
// scenario's drain time.
func (h *hospital) drain(ctx context.Context, devices *sync.WaitGroup) {
	h.lab.close(ctx, time.Duration(h.o.Scenario.Drain))
	for _, p := range h.peers {
		if s, ok := p.part.(interface{ Stop() }); ok {
			s.Stop()
		}
	}
	began := time.Now()
	limit := time.Duration(h.o.Scenario.Drain)
	done := make(chan struct{})
	go func() { devices.Wait(); close(done) }()
	handed := false
	for time.Since(began) < limit && wire.Wait(ctx, 100*time.Millisecond) {
		select {
		case <-done:
			handed = true
		default:
		}
		if handed && h.truth.Outstanding() == 0 {
			wire.Wait(ctx, time.Duration(h.o.Scenario.Settle))
			return
		}
		if elapsed := time.Since(began); elapsed%interval < 100*time.Millisecond && elapsed > time.Second {
			fmt.Fprintf(h.o.Out, "  draining: %d not there yet, such as %v\n", h.truth.Outstanding(), h.truth.Missing(3))
		}
	}
}

// unheld is how many results fewer the gateway holds than it has kept for a person, by
// what it shows; it has the drain time to hold them.
func (h *hospital) unheld(ctx context.Context) int {
	if h.lab == nil || h.o.Site.status == "" {
		return 0
	}
	kept := h.truth.Report().Kept
	shown := 0
	for until := time.Now().Add(time.Duration(h.o.Scenario.Drain)); ; {
		if is, err := h.o.Site.ask(); err == nil {
			shown = is.Counts.Held - h.held
		}
		if shown >= kept {
			return 0
		}
		if time.Now().After(until) {
			break
		}
		if !wire.Wait(ctx, 200*time.Millisecond) {
			return 0
		}
	}
	fmt.Fprintf(h.o.Out, "the gateway was to keep %d messages for a person, and shows %d\n", kept, max(shown, 0))
	return kept - max(shown, 0)
}

func (h *hospital) report() Report {
	s := h.o.Scenario
	r := Report{
		Scenario: s.Name, Seed: s.Seed, Seconds: s.Seconds, Started: h.start, Report: h.truth.Report(),
		Sent: map[string]int{}, Faults: map[string]map[string]int{},
	}
	for _, p := range h.peers {
		if c, ok := p.part.(interface{ Sent() int }); ok {
			r.Sent[p.name] = c.Sent()
		}
		if c, ok := p.part.(interface{ Counters() map[string]int }); ok && len(c.Counters()) > 0 {
			r.Faults[p.name] = c.Counters()
		}
	}
	return r
}

// furnish makes the peers that the configuration names.
func (h *hospital) furnish() error {
	if err := h.destinations(); err != nil {
		return err
	}
	for _, build := range []func() error{h.subscriber, h.systems, h.analysers, h.modalities, h.monitors} {
		if err := build(); err != nil {
			return err
		}
	}
	if len(h.peers) == 0 {
		return errors.New("the configuration names nobody to play")
	}
	return nil
}

func (h *hospital) add(p peer) { h.peers = append(h.peers, p) }

// skip says that a connection of the configuration is not played.
func (h *hospital) skip(name, why string) { fmt.Fprintf(h.o.Out, "%s is not played: %s\n", name, why) }

func (h *hospital) destinations() error {
	zone, err := h.o.Site.zone("")
	if err != nil {
		return err
	}
	for _, d := range h.o.Site.Destinations {
		switch d.Kind {
		case "hl7":
			l := lis.New(lis.Options{Name: d.Name, Received: h.truth.Arrive, Log: h.o.Log, Now: time.Now, Zone: zone})
			h.add(peer{d.Name, "", kindLIS, l, func(ctx context.Context) error { return l.Run(ctx, d.Address, nil) }})
		case "dicom":
			p := pacs.New(pacs.Options{Name: d.Name, AETitle: d.CalledAETitle, Received: h.truth.Arrive, Log: h.o.Log})
			h.add(peer{d.Name, "", kindPACS, p, func(ctx context.Context) error { return p.Run(ctx, d.Address, nil) }})
		default:
			h.skip(d.Name, "kind "+d.Kind)
		}
	}
	return nil
}

// subscriber watches the broker as the first user that may subscribe.
func (h *hospital) subscriber() error {
	s := h.o.Site
	listen := s.MQTT.Listen.first()
	for _, u := range s.MQTTUsers {
		if len(u.Subscribe) == 0 || listen == "" {
			continue
		}
		password, err := s.password(u.PasswordFile)
		if err != nil {
			return fmt.Errorf("mqtt user %s: %w", u.Name, err)
		}
		h.watch = monitor.NewWatcher(monitor.WatcherOptions{
			Name: watcher, Address: s.address(listen, func(l Listen) string { return l.MQTT.first() }),
			User: u.Name, Password: password, Topics: u.Subscribe, Received: h.truth.Arrive, Log: h.o.Log,
			Lost: func() { h.truth.ExcuseOutstanding(truth.Observation, "the broker was away") },
		})
		return nil
	}
	return nil
}

func (h *hospital) watching() bool { return h.watch != nil && h.watch.Connected() }

func (h *hospital) analysers() error {
	for n, a := range h.o.Site.Analysers {
		model := analyser.Models[a.Profile]
		ordered := h.lab != nil && model.TwoWay() && a.Orders != "" && a.Orders != "none"
		if !ordered && !model.MakesUp() {
			h.skip(a.Name, "no model of profile "+a.Profile)
			continue
		}
		zone, err := h.o.Site.zone(a.TimeZone)
		if err != nil {
			return err
		}
		at, err := parsePort(a.Port)
		if err != nil {
			return fmt.Errorf("%s: %w", a.Name, err)
		}
		to := h.o.Site.of("hl7", a.To)
		if a.State == "trial" {
			to = nil
		}
		p := peer{name: a.Name, profile: a.Profile, kind: kindAnalyser}
		every := h.o.Scenario.every(p)
		o := analyser.Options{
			Name: a.Name, Model: model, Seed: h.o.Scenario.Seed, Start: h.start.In(zone), Number: n + 1, To: to,
			Every: every, Timing: h.o.Scenario.Timing.of(analyser.Standard), Truth: h.truth, Log: h.o.Log,
		}
		var sim *analyser.Analyser
		if ordered {
			sim = h.lab.furnish(n, o)
		} else {
			sim = analyser.New(o)
		}
		p.part = sim
		find := func(l Listen) string { return l.Analyser[a.Name] }
		p.run = func(ctx context.Context) error {
			return h.plug(ctx, at, find, func(ctx context.Context, c *connector) {
				sim.Run(ctx, c.connect)
			})
		}
		h.add(p)
	}
	return nil
}

func (h *hospital) modalities() error {
	s := h.o.Site
	zone, err := s.zone("")
	if err != nil {
		return err
	}
	for _, m := range s.Modalities {
		listen := s.DICOM.Listen.first()
		if listen == "" {
			h.skip(m.Name, "the gateway has no DICOM listener")
			continue
		}
		p := peer{name: m.Name, kind: kindModality}
		sim := modality.New(modality.Options{
			Name: m.Name, AETitle: m.AETitle, Called: s.DICOM.AETitle, Address: s.address(listen, func(l Listen) string { return l.DICOM.first() }),
			Seed: h.o.Scenario.Seed, Start: h.start.In(zone), To: s.of("dicom", m.To), Every: h.o.Scenario.every(p),
			Size: h.o.Scenario.Size, Truth: h.truth, Log: h.o.Log,
		})
		p.part = sim
		p.run = func(ctx context.Context) error { sim.Run(ctx); return nil }
		h.add(p)
	}
	return nil
}

func (h *hospital) monitors() error {
	for _, m := range h.o.Site.Monitors {
		zone, err := h.o.Site.zone(m.TimeZone)
		if err != nil {
			return err
		}
		at, err := parsePort(m.Port)
		if err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
		p := peer{name: m.Name, profile: m.Profile, kind: kindMonitor}
		o := monitor.Options{
			Name: m.Name, Seed: h.o.Scenario.Seed, Start: h.start, Every: h.o.Scenario.every(p), Zone: zone,
			Watchers: []string{watcher}, Watching: h.watching, Truth: h.truth, Log: h.o.Log,
		}
		find := func(l Listen) string { return l.Monitor[m.Name] }
		switch m.Profile {
		case "hl7-pcd01":
			sim := monitor.New(o)
			p.part = sim
			p.run = func(ctx context.Context) error {
				return h.plug(ctx, at, find, func(ctx context.Context, c *connector) { sim.Run(ctx, c.connect) })
			}
		case "masimo-ascii1":
			sim := monitor.NewOximeter(o)
			p.part = sim
			p.run = func(ctx context.Context) error {
				return h.plug(ctx, at, find, func(ctx context.Context, c *connector) { c.oximeter(ctx, sim) })
			}
		default:
			h.skip(m.Name, "no model of profile "+m.Profile)
			continue
		}
		h.add(p)
	}
	return nil
}

// A connector gets a device its line to the gateway.
type connector struct {
	address func() (string, error) // the device connects
	accept  chan net.Conn          // the gateway connects
	pty     *wire.PTY
}

// plug opens the device's end of a port and uses it until use returns.
func (h *hospital) plug(ctx context.Context, at port, find func(Listen) string, use func(context.Context, *connector)) error {
	switch {
	case at.listens():
		use(ctx, &connector{address: h.o.Site.address(at.at, find)})
		return nil
	case at.scheme == "serial":
		if info, err := os.Lstat(at.at); err == nil && info.Mode()&fs.ModeSymlink == 0 {
			return fmt.Errorf("%s is a real device", at.at)
		}
		pty, err := wire.OpenPTY(at.at)
		if err != nil {
			return err
		}
		defer pty.Close()
		use(ctx, &connector{pty: pty})
		return nil
	}
	var using sync.WaitGroup
	defer using.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &connector{accept: make(chan net.Conn)}
	using.Go(func() {
		defer cancel()
		use(ctx, c)
	})
	var s wire.Service
	return s.Run(ctx, at.at, nil, func(ctx context.Context, l net.Listener) error { return c.serve(ctx, l) })
}

// serve hands each connection of the gateway to the device.
func (c *connector) serve(ctx context.Context, l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		select {
		case c.accept <- conn:
		case <-ctx.Done():
			conn.Close()
			return ctx.Err()
		}
	}
}

// dial is the next connection.
func (c *connector) dial(ctx context.Context) (net.Conn, error) {
	if c.accept != nil {
		select {
		case conn := <-c.accept:
			return conn, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	address, err := c.address()
	if err != nil {
		return nil, err
	}
	return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", address)
}

// connect is the next line, of whatever sort.
func (c *connector) connect(ctx context.Context) (wire.Line, error) {
	if c.pty != nil {
		return lasting{c.pty}, nil
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// lasting is a line that is not closed between two conversations: a cable stays
// plugged in.
type lasting struct{ *wire.PTY }

// Close only frees a blocked Read.
func (l lasting) Close() error { return l.SetReadDeadline(time.Unix(1, 0)) }

// oximeter runs an oximeter, on a new line when the one before broke.
func (c *connector) oximeter(ctx context.Context, o *monitor.Oximeter) {
	for ctx.Err() == nil {
		line, err := c.serial(ctx)
		if err == nil {
			err = o.Run(ctx, line)
			line.Close()
		}
		if err == nil {
			return
		}
		wire.Wait(ctx, time.Second)
	}
}

func (c *connector) serial(ctx context.Context) (monitor.SerialLine, error) {
	if c.pty != nil {
		return c.pty, nil
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	return monitor.NewSocket(conn), nil
}
