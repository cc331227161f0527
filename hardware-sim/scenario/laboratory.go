package scenario

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"nhip/hardware-sim/analyser"
	"nhip/hardware-sim/lis"
	"nhip/hardware-sim/truth"
	"nhip/hardware-sim/wire"
)

// A Laboratory is how the systems of a hospital order and what analysers do with it.
// Every specimen has an order of one of the [[hl7_peer]] systems, unless it is one of
// the Percent that differ.
type Laboratory struct {
	Specimens int           `toml:"specimens"` // in all, and then the run is over; 0: as many as the time gives
	AtOnce    int           `toml:"at_once"`   // specimens in one analyser at the same time
	Answer    wire.Duration `toml:"answer"`    // how long an analyser waits before it asks again
	Tries     int           `toml:"tries"`     // how often it asks
	Measuring wire.Duration `toml:"measuring"` // from the order to the result
	Percent   Percent       `toml:"percent"`
}

// Percent are the specimens out of a hundred that something is different with. One
// specimen has one of them at most, but for Urgent, Shared and OtherDay.
type Percent struct {
	CancelledBefore int `toml:"cancelled_before"` // the analyser asks
	CancelledDuring int `toml:"cancelled_during"` // while it asks
	CancelledAfter  int `toml:"cancelled_after"`  // it was told, before its result
	ChangedBefore   int `toml:"changed_before"`
	ChangedDuring   int `toml:"changed_during"`
	ChangedAfter    int `toml:"changed_after"`
	Added           int `toml:"added"`     // a further order behind the first result; half of them as a change
	Unordered       int `toml:"unordered"` // nobody ordered anything; the operator runs it
	Urgent          int `toml:"urgent"`
	Shared          int `toml:"shared"`    // the same tube is run on a second analyser, of another section
	OtherDay        int `toml:"other_day"` // the number had an order of yesterday, of another patient, where order_window is under a day
}

func (l *Laboratory) check() error {
	if l == nil {
		return nil
	}
	p := l.Percent
	sum := 0
	for _, n := range []int{p.CancelledBefore, p.CancelledDuring, p.CancelledAfter, p.ChangedBefore, p.ChangedDuring, p.ChangedAfter, p.Added, p.Unordered} {
		sum += n
	}
	if sum > 100 || min(p.CancelledBefore, p.CancelledDuring, p.CancelledAfter, p.ChangedBefore, p.ChangedDuring, p.ChangedAfter, p.Added, p.Unordered) < 0 {
		return errors.New("laboratory.percent: what a specimen can have one of is over 100 in all, or under 0")
	}
	if l.AtOnce <= 0 {
		l.AtOnce = 4
	}
	if l.Tries <= 0 {
		l.Tries = 10
	}
	if l.Answer <= 0 {
		l.Answer = wire.Duration(3 * time.Second)
	}
	return nil
}

// A laboratory plays the orders of a hospital, and the people at its analysers.
type laboratory struct {
	cfg     *Laboratory
	seed    uint64
	truth   *truth.Lab
	site    *Site
	log     *slog.Logger
	systems []*system
	benches []*bench
	prefix  int64 // of bar codes

	next    atomic.Int64 // specimens that were begun
	values  atomic.Int64
	placers atomic.Int64
	stopped atomic.Bool
	going   atomic.Int64 // specimens that are not done
	feeders sync.WaitGroup
	tubes   sync.WaitGroup
	cancel  context.CancelFunc
	done    chan struct{} // closed when all specimens were run
}

// A system is a HIS or LIS that orders.
type system struct {
	name string
	his  *lis.HIS
}

// A bench is one analyser that is told what to run.
type bench struct {
	lab      *laboratory
	name     string
	sim      *analyser.Analyser
	o        analyser.Options
	services []truth.LabService
	section  string
	required bool
	running  bool // specimens have running numbers, and not bar codes
	waits    bool // it asks for nothing: it is sent its orders

	mu      sync.Mutex
	number  int // of specimens and runs
	tubes   map[string]*tube
	asking  string               // the specimen of the newest query
	open    map[string]time.Time // queries without an answer, and when they were made
	offered map[string]told      // what came before the specimen did
	sent    map[string]*tube
}

// A told is what the host said of a specimen.
type told struct {
	tests   []string
	patient string
}

// A tube is one specimen in one analyser.
type tube struct {
	specimen string
	asked    chan struct{}
	news     chan struct{} // something was told
	queried  atomic.Bool
	mu       sync.Mutex
	todo     told
	nothing  bool
	taken    []string // tests that were run
	left     int      // messages that are not acknowledged
	through  chan struct{}
}

// systems makes the ordering systems of [[hl7_peer]], each with a shape of its own.
func (h *hospital) systems() error {
	cfg := h.o.Scenario.Laboratory
	if cfg == nil {
		return nil
	}
	l := &laboratory{cfg: cfg, seed: h.o.Scenario.Seed, truth: truth.NewLab(h.truth), site: h.o.Site, log: h.o.Log, prefix: h.start.Unix() % 1000, done: make(chan struct{})}
	l.values.Store(1000)
	shapes := []lis.Shape{lis.OML33, lis.OML}
	for i, p := range h.o.Site.HL7Peers {
		shape := shapes[i%len(shapes)]
		if slices.Contains(p.Specimen, "OBR-15") {
			shape = lis.ORM
		}
		address := h.o.Site.address(h.o.Site.HL7.Listen.first(), func(l Listen) string { return l.HL7.first() })
		name := p.Application
		if name == "" {
			name = p.Name
		}
		c := &connector{address: address}
		l.systems = append(l.systems, &system{p.Name, lis.NewHIS(lis.HISOptions{
			Name: name, Shape: shape, Now: time.Now, Timeout: 10 * time.Second, Again: 300 * time.Millisecond, Dial: c.dial,
		})})
	}
	if len(l.systems) == 0 {
		return errors.New("the scenario has a [laboratory], and the configuration names no [[hl7_peer]] that could order")
	}
	h.lab = l
	return nil
}

// furnish makes the n-th analyser of the configuration, which is told what to run.
func (l *laboratory) furnish(n int, o analyser.Options) *analyser.Analyser {
	a := l.site.Analysers[n]
	b := &bench{lab: l, name: a.Name, required: a.Orders == "required", waits: a.Send == "download", tubes: map[string]*tube{}, offered: map[string]told{}, sent: map[string]*tube{}, open: map[string]time.Time{}}
	if len(a.Sections) > 0 {
		b.section = a.Sections[0]
	}
	if window, err := time.ParseDuration(a.Window); err == nil && window > 0 && window <= 20*time.Hour {
		b.running = true
	}
	for _, c := range l.site.OrderCodes {
		if c.Analyser == a.Name {
			b.services = append(b.services, truth.LabService{Code: c.Order, Tests: c.Tests})
		}
	}
	if len(b.services) == 0 {
		for _, code := range o.Model.Menu() {
			b.services = append(b.services, truth.LabService{Code: code, Tests: []string{code}})
		}
	}
	pace := o.Every
	o.Every, o.Take, o.Asking, o.Sent = 0, b.take, b.ask, b.acknowledged
	b.o, b.sim = o, analyser.New(o)
	b.o.Every = pace
	l.benches = append(l.benches, b)
	return b.sim
}

// open begins to order and to run.
func (l *laboratory) open(ctx context.Context) {
	if l == nil {
		return
	}
	ctx, l.cancel = context.WithCancel(ctx)
	for _, b := range l.benches {
		l.feeders.Go(func() { l.feed(ctx, b) })
	}
	go func() {
		l.feeders.Wait()
		l.tubes.Wait()
		close(l.done)
	}()
}

// finished reports whether all specimens were run.
func (l *laboratory) finished() bool {
	if l == nil || l.cfg.Specimens == 0 {
		return false
	}
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// close lets the specimens that were begun come to their end.
func (l *laboratory) close(ctx context.Context, within time.Duration) {
	if l == nil {
		return
	}
	l.stopped.Store(true)
	select {
	case <-l.done:
	case <-ctx.Done():
	case <-time.After(within):
	}
	l.truth.Unfinished(int(l.going.Load()) + max(0, l.cfg.Specimens-int(l.next.Load())))
	l.cancel()
	<-l.done
	for _, s := range l.systems {
		s.his.Close()
	}
}

// feed gives an analyser its specimens.
func (l *laboratory) feed(ctx context.Context, b *bench) {
	slots := make(chan struct{}, l.cfg.AtOnce)
	for ctx.Err() == nil && !l.stopped.Load() {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		n := l.next.Add(1)
		if l.cfg.Specimens > 0 && n > int64(l.cfg.Specimens) {
			l.next.Add(-1)
			return
		}
		if l.stopped.Load() {
			l.next.Add(-1)
			return
		}
		l.going.Add(1)
		l.tubes.Go(func() {
			l.specimen(ctx, b, rand.New(rand.NewPCG(l.seed, uint64(n))))
			if ctx.Err() == nil {
				l.going.Add(-1)
			}
			<-slots
		})
		if l.cfg.Specimens == 0 && !wire.Wait(ctx, b.o.Every) {
			return
		}
	}
}

// take is what the host says to the analyser.
func (b *bench) take(a analyser.Answer) {
	if a.Nothing {
		if t := b.unknown(a); t != nil {
			b.lab.truth.Nothing(b.name, t.specimen, t.run())
			t.tell(told{}, true)
		}
		return
	}
	for _, o := range merged(a.Orders) {
		b.order(o, a.Began)
	}
}

// lateAnswer is how long an answer to a query may still come.
const lateAnswer = 30 * time.Second

// unknown is the specimen that the host says it has no order for; nil where the answer
// does not name it and several were asked for.
func (b *bench) unknown(a analyser.Answer) *tube {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.open, func(_ string, at time.Time) bool { return time.Since(at) > lateAnswer })
	specimen := ""
	switch {
	case len(a.Orders) > 0 && a.Orders[0].Specimen != "":
		specimen = a.Orders[0].Specimen
	case b.o.Model.Protocol == analyser.HL7:
		specimen = b.asking
	case len(b.open) == 1:
		specimen = b.asking
	}
	delete(b.open, specimen)
	return b.tubes[specimen]
}

// merged puts the records of one specimen together, where each has one test.
func merged(all []analyser.Order) (out []analyser.Order) {
	for _, o := range all {
		i := slices.IndexFunc(out, func(x analyser.Order) bool {
			return x.Specimen == o.Specimen && x.Patient == o.Patient && x.Action == o.Action
		})
		if i < 0 {
			out = append(out, o)
			continue
		}
		out[i].Tests = append(slices.Clip(out[i].Tests), o.Tests...)
	}
	return out
}

func (b *bench) order(o analyser.Order, began time.Time) {
	b.mu.Lock()
	t := b.tubes[o.Specimen]
	delete(b.open, o.Specimen)
	b.mu.Unlock()
	asked := t != nil && t.queried.CompareAndSwap(true, false) // what comes of itself later is a download
	if o.Action == "C" || o.Action == "CA" {
		b.lab.truth.Withdrawn()
		b.withdraw(t, o)
		return
	}
	if len(o.Tests) == 0 {
		return
	}
	x := truth.Told{Device: b.name, Specimen: o.Specimen, Patient: o.Patient, Tests: o.Tests, Began: began, Asked: asked}
	if t != nil {
		x.Done = t.run()
	}
	b.lab.truth.Told(x)
	if t == nil {
		b.mu.Lock()
		b.offered[o.Specimen] = told{o.Tests, o.Patient}
		b.mu.Unlock()
		return
	}
	t.tell(told{o.Tests, o.Patient}, false)
}

// withdraw takes tests back that are not run yet.
func (b *bench) withdraw(t *tube, o analyser.Order) {
	if t == nil {
		b.mu.Lock()
		delete(b.offered, o.Specimen)
		b.mu.Unlock()
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.todo.tests = slices.DeleteFunc(t.todo.tests, func(test string) bool { return len(o.Tests) == 0 || slices.Contains(o.Tests, test) })
}

// ask is told of a query that is about to be sent.
func (b *bench) ask(specimen string) {
	b.mu.Lock()
	b.asking, b.open[specimen] = specimen, time.Now()
	t := b.tubes[specimen]
	b.mu.Unlock()
	b.lab.truth.Asked(b.name, specimen)
	if t != nil {
		t.queried.Store(true)
		wake(t.asked)
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// acknowledged is told of a message of results that the host has.
func (b *bench) acknowledged(m analyser.Message) {
	b.mu.Lock()
	t := b.sent[m.Truth.ID]
	delete(b.sent, m.Truth.ID)
	b.mu.Unlock()
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left--; t.left == 0 {
		wake(t.through)
	}
}

func (t *tube) run() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.taken)
}

// tell adds what is to be run, but for what was.
func (t *tube) tell(x told, nothing bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nothing = nothing
	for _, test := range x.tests {
		if !slices.Contains(t.taken, test) && !slices.Contains(t.todo.tests, test) {
			t.todo.tests = append(t.todo.tests, test)
			t.todo.patient = x.patient
		}
	}
	wake(t.news)
}

// due takes what is to be run now.
func (t *tube) due() told {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.todo
	t.taken = append(t.taken, x.tests...)
	t.todo = told{}
	return x
}

func (t *tube) waits() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.todo.tests) > 0
}

// load puts a specimen into the analyser.
func (b *bench) load(specimen string) *tube {
	t := &tube{specimen: specimen, asked: make(chan struct{}, 1), news: make(chan struct{}, 1), through: make(chan struct{}, 1)}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tubes[specimen] = t
	if x, ok := b.offered[specimen]; ok {
		delete(b.offered, specimen)
		t.todo = x
	}
	return t
}

// inquire asks until the analyser is told something, or tries times. It reports whether
// there is something to run.
func (b *bench) inquire(ctx context.Context, t *tube, tries int) bool {
	for range tries {
		if t.waits() {
			return true
		}
		t.mu.Lock()
		t.nothing = false
		t.mu.Unlock()
		if b.waits {
			b.lab.truth.Loaded(b.name, t.specimen)
		} else {
			b.sim.Ask(t.specimen)
			select {
			case <-t.asked:
			case <-ctx.Done():
				return false
			}
		}
		if !t.hear(ctx, time.Duration(b.lab.cfg.Answer)) {
			continue
		}
		if t.waits() {
			return true
		}
	}
	return t.waits()
}

// hear waits for what the host says; false: nothing in time.
func (t *tube) hear(ctx context.Context, within time.Duration) bool {
	until := time.NewTimer(within)
	defer until.Stop()
	for {
		t.mu.Lock()
		heard := t.nothing || len(t.todo.tests) > 0
		t.mu.Unlock()
		if heard {
			return true
		}
		select {
		case <-t.news:
		case <-until.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// measure runs what the analyser was told, and waits until the host has the results.
func (b *bench) measure(ctx context.Context, t *tube, x told) {
	if len(x.tests) == 0 {
		return
	}
	run := analyser.Run{Specimen: t.specimen, Patient: x.patient, At: time.Now().In(b.o.Start.Location())}
	for _, test := range x.tests {
		n := b.lab.values.Add(1)
		run.Tests = append(run.Tests, analyser.Measured{Code: test, Value: fmt.Sprintf("%d.%03d", n/1000, n%1000)})
	}
	b.mu.Lock()
	b.number++
	run.Number = b.number
	b.mu.Unlock()
	all := b.o.Model.Report(run)
	b.mu.Lock()
	t.mu.Lock()
	for i := range all {
		m := &all[i]
		m.Truth.ID, m.Truth.Source, m.Truth.To = fmt.Sprintf("%s/%d.%d", b.name, run.Number, i), b.name, b.o.To
		m.Truth = b.lab.truth.Item(m.Truth, b.name, b.required)
		b.sent[m.Truth.ID] = t
		t.left++
	}
	t.mu.Unlock()
	b.mu.Unlock()
	b.sim.Send(all...)
	select {
	case <-t.through:
	case <-ctx.Done():
	}
}

// stray is the identifier of a specimen that nobody ordered anything for: it is like
// no other, for what is nearly the identifier of an order is held.
func (b *bench) stray(r *rand.Rand) string {
	return fmt.Sprintf("9%03d7%03d", r.IntN(1000), r.IntN(1000))
}

// identifier is a new specimen: a bar code, or the next number of the day.
func (b *bench) identifier() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.number++
	if b.running {
		return strconv.Itoa(b.number)
	}
	return fmt.Sprintf("%03d%02d%05d", b.lab.prefix, slices.Index(b.lab.benches, b)+10, b.number%100000)
}
