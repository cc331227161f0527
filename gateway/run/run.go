// Package run puts the gateway together: one store, the listeners and ports of
// the configuration around intake, interpretation, one delivery worker per
// destination, the broker and the console. It holds the small shells that join
// a driver to intake, and nothing that decides.
package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"nhip/dicom/service"
	"nhip/drivers/profile"
	"nhip/drivers/session"
	"nhip/gateway/alert"
	"nhip/gateway/backup"
	"nhip/gateway/codes"
	"nhip/gateway/config"
	"nhip/gateway/control"
	"nhip/gateway/delivery"
	"nhip/gateway/intake"
	"nhip/gateway/interpret"
	"nhip/gateway/journal"
	"nhip/gateway/lab"
	"nhip/gateway/mapping/live"
	"nhip/gateway/modality"
	"nhip/gateway/orders"
	"nhip/gateway/patients"
	"nhip/gateway/route"
	"nhip/gateway/versions"
	"nhip/storage"
	"nhip/storage/diskguard"
)

// ErrStore says that a commit or fsync failed. The process must end with exit
// status 3 and start anew: what the store holds then is what it acknowledged.
var ErrStore = errors.New("a commit to the store failed: the gateway stops, and starts anew with what was acknowledged")

// ErrConfiguration says that the configuration and the data do not fit together:
// starting again does not help.
var ErrConfiguration = errors.New("the configuration does not fit")

// Options of Start.
type Options struct {
	Version string
	Log     *slog.Logger
	Disk    diskguard.Probe // of the free space; nil asks the system

	FrameTimeout time.Duration // of MLLP, from VT to FS; 0: a minute
	Quiet        time.Duration // of a study before the notice of its instances; 0: a minute

	// Work is where the work of an analyser is looked up; nil: it is given none.
	Work func(config.Analyser) session.Orders

	// Watch and Fault are storage.Options', for tests; nil outside of them.
	Watch func(when, what string)
	Fault func(step string) error
}

// A Gateway is a running gateway.
type Gateway struct {
	cfg     *config.Config
	log     *slog.Logger
	version string
	started time.Time
	frame   time.Duration // see Options.FrameTimeout

	store      *storage.Store
	acts       *control.Acts // what people may do; register in assemble, before startControl
	in         *intake.Intake
	profiles   map[string]*profile.Profile
	routes     route.Table
	maps       *live.Maps // of fields
	codes      *versions.Keeper[*codes.Table]
	connection map[string]interpret.Connection
	workers    map[string]*delivery.Worker
	strangers  *strangers
	states     *states
	vitals     *vitalsOut
	storage    service.Service // C-STORE
	takes      *modality.Takes
	committers map[string]*modality.Committer // by destination: those that are asked for storage commitment
	quiet      time.Duration                  // see Options.Quiet
	orders     *orders.Store
	lab        *lab.Desk
	pushing    atomic.Pointer[lab.Desk]             // the same, once the analysers are known
	pushers    map[string]*lab.Pusher               // by analyser
	work       func(config.Analyser) session.Orders // what an analyser is given to do; nil: nothing
	patients   *patients.Store
	alerts     *alert.Keeper

	// applications decide on messages of systems before they are answered; append in
	// assemble, before startHL7.
	applications []intake.Application

	ackID   idSource
	backups *backup.Schedule // nil: none are configured

	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
}

// Start opens the store and everything that the configuration names. A port
// that cannot be opened takes nothing else down: it is tried again, and
// /healthz says so. The error is about the store or the configuration.
func Start(ctx context.Context, cfg *config.Config, o Options) (*Gateway, error) {
	profiles, err := profile.Folder(cfg.Site.Profiles)
	if err != nil {
		return nil, err
	}
	if o.Disk == nil {
		o.Disk = diskguard.System
	}
	store, err := storage.Open(ctx, storage.Options{Dir: cfg.Site.Data, Log: o.Log, Disk: o.Disk, Mirror: cfg.Site.Mirror, SpoolRefs: intake.SpoolRefs, Watch: o.Watch, Fault: o.Fault})
	if err != nil {
		return nil, err
	}
	if err := unclaimed(cfg, store); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrConfiguration, err), store.Close())
	}
	g := &Gateway{
		cfg: cfg, log: o.Log, version: o.Version, started: time.Now(), frame: o.FrameTimeout, quiet: o.Quiet, work: o.Work,
		store: store, in: intake.New(store, o.Log), profiles: profiles,
		workers: map[string]*delivery.Worker{}, states: newStates(), acts: control.New(o.Log),
	}
	g.ctx, g.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	g.strangers = newStrangers(g.in, o.Log)
	g.routes = routes(cfg)
	if err := g.assemble(); err != nil {
		g.cancel(err)
		g.wg.Wait()
		store.Close()
		return nil, fmt.Errorf("%w: %w", ErrConfiguration, err)
	}
	g.log.Info("gateway started", "version", g.version, "site", cfg.Site.ID, "took", time.Since(g.started).Round(time.Millisecond))
	return g, nil
}

func (g *Gateway) assemble() error {
	g.goRun("store", g.watchStore)
	g.goRun("strangers", func(ctx context.Context) error { g.strangers.store(ctx); return ctx.Err() })
	if err := g.startVitals(); err != nil {
		return err
	}
	var err error
	if g.connection, err = g.connections(); err != nil {
		return err
	}
	g.remember()
	if err := g.startMaps(); err != nil {
		return err
	}
	if err := g.startCodes(); err != nil {
		return err
	}
	g.startPatients()
	if err := g.startOrders(); err != nil {
		return err
	}
	knows := g.knowledge()
	g.startLab(&knows)
	g.goRun("interpret", g.interpreter(knows).Run)
	if err := g.startImagingOut(); err != nil {
		return err
	}
	for _, d := range g.cfg.Destinations {
		w := g.worker(d)
		g.workers[d.Name] = w
		g.goRun("delivery to "+d.Name, w.Run)
	}
	g.goRun("clock", g.watchClock)
	g.goRun("control material", g.trimControls)
	g.startAnalysers()
	g.startMonitors()
	g.startHL7()
	g.startDICOM()
	g.registerActs()
	g.startBackup()
	g.startRetention()
	g.startScrub()
	g.startControl()
	g.startAlerts()
	g.startConsole()
	return nil
}

// watchStore ends the gateway when its store has failed.
func (g *Gateway) watchStore(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-g.store.Failed():
		return ErrStore
	}
}

// interpreter makes messages of what came in.
func (g *Gateway) interpreter(knows interpret.Knowledge) *interpret.Worker {
	return &interpret.Worker{
		Store: g.store, Intake: g.in, Site: interpret.Site{ID: g.cfg.Site.ID, Name: g.cfg.Site.Name},
		Connections: g.connection, Routes: g.routes, Log: g.log, Publish: g.vitals.publish, Heard: g.states.told, Doubted: g.doubted,
		Finish: finishes(g.cfg.Destinations), Maps: g.maps, Codes: g.codeTable, Knows: knows,
	}
}

// registerActs takes what a person may do.
func (g *Gateway) registerActs() {
	g.desk().register(g.acts)
	g.mapDesk().register(g.acts)
	g.codesDesk().register(g.acts)
	g.journal().Register(g.acts)
}

// journal is what came in and went out, to look at.
func (g *Gateway) journal() *journal.Journal {
	return &journal.Journal{Store: g.store, Subject: source{g}.subject}
}

// remember reads when each connection last brought something.
func (g *Gateway) remember() {
	for name, c := range g.connection {
		channel := intake.Channel(name)
		var e intake.Entry
		var last storage.Ref
		var bad error
		err := g.store.Range(channel, 0, 1, true, func(ref storage.Ref, b []byte) bool {
			last = ref
			e, bad = intake.DecodeEntry(b)
			return true
		})
		if err = errors.Join(err, bad); err != nil {
			g.log.Error("last entry not readable", "connection", name, "error", err)
			continue
		}
		if e.At.IsZero() {
			continue // there is none
		}
		heard := e.At
		if heard.After(g.started) { // by a clock that was set since: it would never fall silent
			heard = g.started
		}
		g.states.heard(name, c.Kind, heard, host(e.Peer))
		if f, ok, err := interpret.ReadFate(g.store, last); err == nil && ok && !f.DeviceTime.IsZero() {
			g.states.told(name, e.At, f.DeviceTime)
		}
	}
}

// goRun runs a part. A part that ends with an error ends the gateway.
func (g *Gateway) goRun(name string, f func(context.Context) error) {
	g.wg.Add(1)
	go func() {
		defer g.wg.Done()
		err := f(g.ctx)
		if g.ctx.Err() == nil && err != nil {
			g.log.Error("stopping", "part", name, "error", err)
			g.cancel(err)
		}
	}()
}

// Wait blocks until the gateway stops by itself, and says why.
func (g *Gateway) Wait() error {
	<-g.ctx.Done()
	return context.Cause(g.ctx)
}

// Done is closed when the gateway stops.
func (g *Gateway) Done() <-chan struct{} { return g.ctx.Done() }

// errStopped is the cause of an ordinary stop.
var errStopped = errors.New("stopped")

// Close stops taking in, lets what is under way end, and closes the store. After a
// failed commit it waits for nobody: the sooner the process ends, the less is
// written to a disk that failed.
func (g *Gateway) Close() error {
	g.cancel(errStopped)
	patience := 8 * time.Second
	if g.Failed() {
		patience = 200 * time.Millisecond
	}
	ended := make(chan struct{})
	go func() { g.wg.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(patience):
		g.log.Warn("some connections did not end in time; what they had sent was not acknowledged and will come again")
	}
	return g.store.Close()
}

// Failed reports whether the gateway ended because of its store.
func (g *Gateway) Failed() bool {
	err := context.Cause(g.ctx)
	return errors.Is(err, ErrStore) || errors.Is(err, storage.ErrFailed)
}

func routes(cfg *config.Config) route.Table {
	named := map[string]route.Destination{}
	for _, d := range cfg.Destinations {
		named[d.Name] = route.Destination{Name: d.Name, Kind: d.Kind, ReceivingApplication: d.ReceivingApplication, ReceivingFacility: d.ReceivingFacility, Images: d.Images, Steps: d.MPPS, Notices: d.IAN}
	}
	plan := func(trial bool, to []string) route.Plan {
		p := route.Plan{Trial: trial}
		for _, name := range to {
			p.To = append(p.To, named[name])
		}
		return p
	}
	t := route.Table{}
	for _, c := range cfg.Analysers {
		t[c.Name] = plan(c.State == config.Trial, c.To)
	}
	for _, c := range cfg.Modalities {
		t[c.Name] = plan(false, c.To)
	}
	for _, c := range cfg.Monitors {
		t[c.Name] = plan(false, c.To)
	}
	for _, c := range cfg.HL7Peers {
		t[c.Name] = plan(false, c.To)
	}
	return t
}

func (g *Gateway) connections() (map[string]interpret.Connection, error) {
	all := map[string]interpret.Connection{}
	for _, a := range g.cfg.Analysers {
		p := g.profileOf(a)
		if p == nil {
			return nil, fmt.Errorf("analyser %s: there is no profile %s", a.Name, a.Profile)
		}
		all[a.Name] = interpret.Connection{Name: a.Name, Kind: interpret.Analyser, Zone: g.cfg.Location(a.TimeZone), Profile: p}
	}
	for _, m := range g.cfg.Modalities {
		all[m.Name] = interpret.Connection{Name: m.Name, Kind: interpret.Modality, Zone: g.cfg.Site.TimeZone, HoldFilms: m.Print == config.PrintHold}
	}
	for _, p := range g.cfg.HL7Peers {
		all[p.Name] = interpret.Connection{Name: p.Name, Kind: interpret.Peer, Zone: g.cfg.Location(p.TimeZone), Charset: p.Rule()}
	}
	for _, u := range g.cfg.MQTTUsers {
		all[u.Name] = interpret.Connection{Name: u.Name, Kind: interpret.MQTTUser, Zone: g.cfg.Site.TimeZone}
	}
	for _, m := range g.cfg.Monitors {
		c, err := g.monitorConnection(m)
		if err != nil {
			return nil, err
		}
		all[m.Name] = c
	}
	return all, nil
}

// worker makes the delivery worker of a destination, with its senders.
func (g *Gateway) worker(d config.Destination) *delivery.Worker {
	w := &delivery.Worker{
		Destination: d.Name, Store: g.store, Log: g.log, LinkMax: 10 * time.Second,
		Policy: delivery.DefaultPolicy(), Expire: d.Expire, NewestLast: interpret.OfSpecimen,
	}
	w.Policy.MaxRejections = d.MaxReject
	if d.Unanswered == config.UnansweredHold {
		w.Policy.Unanswered = delivery.Hold
	}
	if d.Kind == config.KindDICOM {
		w.Also = g.also(d)
	}
	if d.Mode == config.ModeEnhanced {
		w.Policy.Process = d.ProcessTimeout
	}
	for range d.Connections {
		w.Senders = append(w.Senders, g.sender(d))
	}
	return w
}

// sender is one connection to a destination.
func (g *Gateway) sender(d config.Destination) delivery.Sender {
	if d.Kind == config.KindDICOM {
		return modality.NewSender(g.imagingDestination(d), g.object, g.told)
	}
	return g.hl7Sender(d)
}

// body reads the message of a journal entry.
func (g *Gateway) body(ref storage.Ref) ([]byte, error) {
	e, err := g.entry(ref)
	if err != nil {
		return nil, err
	}
	return intake.Body(g.store, e)
}

// told reads a journal entry with its body.
func (g *Gateway) told(ref storage.Ref) (intake.Entry, []byte, error) {
	e, err := g.entry(ref)
	if err != nil {
		return e, nil, err
	}
	body, err := intake.Body(g.store, e)
	return e, body, err
}

func (g *Gateway) entry(ref storage.Ref) (intake.Entry, error) {
	raw, err := g.store.Read(ref)
	if err != nil {
		return intake.Entry{}, err
	}
	return intake.DecodeEntry(raw)
}
