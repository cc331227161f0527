package scenario

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"nhip/hardware-sim/analyser"
	"nhip/hardware-sim/lis"
	"nhip/hardware-sim/modality"
	"nhip/hardware-sim/monitor"
	"nhip/hardware-sim/pacs"
	"nhip/hardware-sim/wire"
)

// Demo is the scenario of the demonstration.
//
//go:embed demo.toml
var Demo []byte

// TwoWay is the scenario of a laboratory that works both ways.
//
//go:embed twoway.toml
var TwoWay []byte

// A Scenario is how a simulated hospital behaves. A file with an unknown key is
// an error.
type Scenario struct {
	Name    string                   `toml:"name"`
	Seed    uint64                   `toml:"seed"`
	Seconds int                      `toml:"seconds"` // how long devices measure
	Drain   wire.Duration            `toml:"drain"`   // how long what is on its way is waited for after that
	Settle  wire.Duration            `toml:"settle"`  // after the last arrival, for what comes once too often
	Every   map[string]wire.Duration `toml:"every"`   // one message, image or reading so often; by name, profile or kind
	Size    int                      `toml:"size"`    // rows and columns of an image
	Timing  Timing                   `toml:"timing"`  // of the analysers; those of E1381 where it says nothing
	// Laboratory: analysers that take orders are told what to run, and run that; nil:
	// they measure of their own accord.
	Laboratory *Laboratory `toml:"laboratory"`
	Events     []Event     `toml:"event"`
}

// Timing is how long analysers wait; see analyser.Timing.
type Timing struct {
	Reply      wire.Duration `toml:"reply"`
	Busy       wire.Duration `toml:"busy"`
	Contention wire.Duration `toml:"contention"`
	Redial     wire.Duration `toml:"redial"`
}

func (t Timing) of(standard analyser.Timing) analyser.Timing {
	for _, x := range []struct {
		said wire.Duration
		is   *time.Duration
	}{{t.Reply, &standard.Reply}, {t.Busy, &standard.Busy}, {t.Contention, &standard.Contention}, {t.Redial, &standard.Redial}} {
		if x.said > 0 {
			*x.is = time.Duration(x.said)
		}
	}
	return standard
}

// An Event is something that happens to peers at a time. Exactly one of Down,
// Burst and Faults is set.
type Event struct {
	At     wire.Duration  `toml:"at"`
	Every  wire.Duration  `toml:"every"`  // and again so often
	Peer   string         `toml:"peer"`   // name, profile or kind (analyser, modality, monitor, lis, pacs), or several with commas between: all of them
	Down   wire.Duration  `toml:"down"`   // LIS, PACS: out of service so long; analyser: switched off
	Burst  int            `toml:"burst"`  // analyser, modality: so many messages or images at once
	Faults map[string]any `toml:"faults"` // the Faults of the peer's package
}

// Defaults of a scenario.
const (
	defaultSeconds = 60
	defaultDrain   = time.Minute
	defaultSettle  = 2 * time.Second
)

var defaultEvery = map[string]wire.Duration{
	kindAnalyser: wire.Duration(time.Second), kindModality: wire.Duration(time.Second), kindMonitor: wire.Duration(time.Second),
}

// Load reads a scenario file; "demo", which "" is too, and "twoway" are built in.
func Load(file string) (*Scenario, error) {
	switch file {
	case "", "demo":
		return Parse(Demo)
	case "twoway":
		return Parse(TwoWay)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	s, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return s, nil
}

// Parse reads and checks a scenario.
func Parse(b []byte) (*Scenario, error) {
	s := &Scenario{Seed: 1, Seconds: defaultSeconds, Drain: wire.Duration(defaultDrain), Settle: wire.Duration(defaultSettle)}
	if err := strict(b, s); err != nil {
		return nil, err
	}
	if err := s.Laboratory.check(); err != nil {
		return nil, err
	}
	for n, e := range s.Events {
		if err := e.check(); err != nil {
			return nil, fmt.Errorf("event %d (at %v, peer %q): %w", n+1, time.Duration(e.At), e.Peer, err)
		}
	}
	for who, d := range s.Every {
		if d <= 0 {
			return nil, fmt.Errorf("every: %s: %v is no interval", who, time.Duration(d))
		}
	}
	slices.SortStableFunc(s.Events, func(a, b Event) int { return int(a.At - b.At) })
	return s, nil
}

func (e Event) check() error {
	set := 0
	for _, is := range []bool{e.Down > 0, e.Burst > 0, len(e.Faults) > 0} {
		if is {
			set++
		}
	}
	if set != 1 {
		return errors.New("one of down, burst and faults")
	}
	return nil
}

// strict decodes TOML and names the keys that are not known.
func strict(b []byte, into any) error {
	d := toml.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	var missing *toml.StrictMissingError
	if errors.As(err, &missing) {
		return errors.New("a key is not known:\n" + missing.String())
	}
	return err
}

// faults decodes the faults of an event for a peer's package.
func faults[T any](e Event) (T, error) {
	var f T
	b, err := toml.Marshal(e.Faults)
	if err != nil {
		return f, err
	}
	return f, strict(b, &f)
}

// errCannot is an event of a kind that a peer does not know.
var errCannot = errors.New("this cannot happen to it")

// bind returns what does the event to a peer.
func (e Event) bind(p peer) (func(), error) {
	switch {
	case e.Down > 0:
		if d, ok := p.part.(interface{ Down(time.Duration) }); ok {
			return func() { d.Down(time.Duration(e.Down)) }, nil
		}
	case e.Burst > 0:
		if b, ok := p.part.(interface{ Burst(int) }); ok {
			return func() { b.Burst(e.Burst) }, nil
		}
	default:
		switch part := p.part.(type) {
		case *analyser.Analyser:
			if e.Every > 0 { // on a line without traffic they would gather
				return inject(e, part.Renew)
			}
			return inject(e, part.Inject)
		case *lis.LIS:
			return inject(e, part.Inject)
		case *pacs.PACS:
			return inject(e, part.Inject)
		case *modality.Modality:
			return inject(e, part.Inject)
		case *monitor.Monitor:
			return inject(e, part.Inject)
		}
	}
	return nil, errCannot
}

func inject[T any](e Event, into func(T)) (func(), error) {
	f, err := faults[T](e)
	return func() { into(f) }, err
}

// bindAll returns what does the event to every peer that it means. A kind may
// have no peers here, and peers of a kind may differ in what can happen to
// them; a name or profile must be there.
func (e Event) bindAll(peers []peer) (all []func(), err error) {
	for who := range strings.SplitSeq(e.Peer, ",") {
		one := e
		one.Peer = strings.TrimSpace(who)
		do, err := one.bindOne(peers)
		if err != nil {
			return nil, err
		}
		all = append(all, do...)
	}
	return all, nil
}

func (e Event) bindOne(peers []peer) ([]func(), error) {
	kind := slices.Contains(kinds, e.Peer)
	var all []func()
	for _, p := range peers {
		if !p.is(e.Peer) {
			continue
		}
		do, err := e.bind(p)
		if errors.Is(err, errCannot) && kind {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("event at %v: %s: %w", time.Duration(e.At), p.name, err)
		}
		all = append(all, do)
	}
	if len(all) == 0 && !kind {
		return nil, fmt.Errorf("event at %v: there is no %q in the configuration", time.Duration(e.At), e.Peer)
	}
	return all, nil
}

// every is the interval of a peer: by its name, its profile, or its kind.
func (s *Scenario) every(p peer) time.Duration {
	for _, key := range []string{p.name, p.profile, p.kind} {
		if d, ok := s.Every[key]; ok && key != "" {
			return time.Duration(d)
		}
	}
	return time.Duration(defaultEvery[p.kind])
}

// is reports whether an event's peer means this one.
func (p peer) is(who string) bool { return who == p.name || who == p.profile || who == p.kind }
