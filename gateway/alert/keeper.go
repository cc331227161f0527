package alert

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"nhip/gateway/reason"
)

// stateKey is where the State is kept in the store.
const stateKey = "alerts/state"

// Times of a Keeper.
const (
	every       = 3 * time.Second
	sendTimeout = 20 * time.Second
	firstRetry  = 5 * time.Second
	lastRetry   = 5 * time.Minute
)

// ErrLater says that the store takes nothing now, because the disk is full: what
// changed is saved with the next look.
var ErrLater = errors.New("alert: nothing is saved now")

// A Store keeps small states over restarts.
type Store interface {
	Get(key string) ([]byte, bool, error)
	Put(ctx context.Context, key string, value []byte) error // durable when it returns nil; ErrLater
}

// A Channel tells notices to people.
type Channel interface {
	Name() string
	// Send returns nil when the notice is out of our hands.
	Send(ctx context.Context, n Notice) error
}

// A Keeper looks, keeps and tells.
type Keeper struct {
	Site     string // its ID
	Store    Store
	Read     func(now time.Time) []Reading // from memory, quickly
	Channels []Channel
	Policy   Policy
	Log      *slog.Logger

	state   State
	pending waiting
	lines   []*line
	raised  map[Code]int64
	unsaved bool
	view    atomic.Pointer[View]
}

// A line is how a channel does.
type line struct {
	Channel
	work     chan Notice
	busy     bool
	works    bool // it has told something since the start
	failures int
	until    time.Time
	why      reason.Reason
}

// A result is what came of sending a notice.
type result struct {
	line *line
	id   string
	err  error
}

// A View is what is raised, for people and metrics.
type View struct {
	Active  []Alert        // the newest first
	Recent  []Change       // the newest first
	Looked  []Gauge        // every reading
	Raised  map[Code]int64 // since the start
	Waiting int            // notices that are not told yet
}

// A Gauge is one reading.
type Gauge struct {
	Code    Code
	Subject string
	Raised  bool
}

// View is what the last look found; empty before the first.
func (k *Keeper) View() View {
	if v := k.view.Load(); v != nil {
		return *v
	}
	return View{}
}

// Run looks every few seconds until ctx ends. It fails only with the store.
func (k *Keeper) Run(ctx context.Context) error {
	if err := k.load(); err != nil {
		return err
	}
	results := make(chan result)
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for _, c := range k.Channels {
		l := &line{Channel: c, work: make(chan Notice, 1)}
		k.lines = append(k.lines, l)
		wg.Go(func() { l.serve(ctx, results) })
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := k.look(ctx); err != nil {
			return err
		}
		k.dispatch(time.Now())
		for looked := false; !looked; {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
				looked = true
			case r := <-results:
				if err := k.settle(ctx, r); err != nil {
					return err
				}
				k.dispatch(time.Now())
			}
		}
	}
}

// load reads what the last process left. What cannot be read is begun anew: an
// alert may then be told twice.
func (k *Keeper) load() error {
	k.state, k.pending, k.raised = State{Version: 1}, waiting{}, map[Code]int64{}
	b, ok, err := k.Store.Get(stateKey)
	if err != nil || !ok {
		if err != nil {
			k.Log.Warn("what was raised before the start cannot be read", "error", err)
		}
		return nil
	}
	var s State
	if err := json.Unmarshal(b, &s); err != nil || s.Version != 1 {
		k.Log.Warn("what was raised before the start is of another version", "version", s.Version)
		return nil
	}
	k.state = s
	k.state.forChannels(k.names())
	return nil
}

func (k *Keeper) names() []string {
	var names []string
	for _, c := range k.Channels {
		names = append(names, c.Name())
	}
	return names
}

// look reads the gateway and saves and logs what changed.
func (k *Keeper) look(ctx context.Context) error {
	now := time.Now()
	readings := slices.Concat(k.Read(now), k.channelReadings())
	changes := k.state.Step(now, k.pending, readings)
	for _, c := range changes {
		if c.Cleared {
			k.Log.Info("alert cleared", "code", c.Code, "subject", c.Subject, "since", c.Since)
			continue
		}
		k.raised[c.Code]++
		k.Log.Warn("alert raised", "code", c.Code, "subject", c.Subject, "words", c.In(reason.English))
	}
	changed := k.state.Tell(now, k.Policy, k.Site, changes, k.names())
	k.show(readings)
	if !changed && !k.unsaved {
		return nil
	}
	return k.save(ctx)
}

// channelReadings are the channels themselves: one that cannot tell is shown on
// the console and told by the others.
func (k *Keeper) channelReadings() []Reading {
	var all []Reading
	for _, l := range k.lines {
		r := Reading{Code: Untold, Subject: l.Name(), Why: l.why, Level: Between}
		switch {
		case l.failures > 0:
			r.Level = Bad
		case l.works:
			r.Level = Quiet
		}
		all = append(all, r)
	}
	return all
}

func (k *Keeper) show(readings []Reading) {
	v := &View{
		Active: sorted(k.state.Active), Recent: slices.Clone(k.state.Recent), Waiting: len(k.state.Outbox),
		Raised: maps.Clone(k.raised),
	}
	for _, r := range readings {
		v.Looked = append(v.Looked, Gauge{r.Code, r.Subject, k.state.find(r.name()) >= 0})
	}
	k.view.Store(v)
}

func (k *Keeper) save(ctx context.Context) error {
	b, err := json.Marshal(k.state)
	if err != nil {
		return fmt.Errorf("alert: state: %w", err)
	}
	err = k.Store.Put(ctx, stateKey, b)
	if k.unsaved = errors.Is(err, ErrLater); k.unsaved {
		return nil
	}
	return err
}

// dispatch gives every channel that is free its next notice.
func (k *Keeper) dispatch(now time.Time) {
	for _, l := range k.lines {
		if l.busy || l.until.After(now) {
			continue
		}
		if n, ok := k.state.next(l.Name()); ok {
			l.busy = true
			l.work <- n
		}
	}
}

func (k *Keeper) settle(ctx context.Context, r result) error {
	l := r.line
	l.busy = false
	if r.err != nil {
		l.failures++
		l.why = reason.Network(r.err)
		wait := min(firstRetry<<min(l.failures-1, 10), lastRetry)
		l.until = time.Now().Add(wait)
		k.Log.Warn("alert not sent; it is tried again", "channel", l.Name(), "attempt", l.failures, "again_in", wait, "error", r.err)
		return nil
	}
	l.failures, l.until, l.why, l.works = 0, time.Time{}, reason.Reason{}, true
	k.state.Sent(l.Name(), r.id)
	return k.save(ctx)
}

// serve sends what it is given, one at a time.
func (l *line) serve(ctx context.Context, results chan<- result) {
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-l.work:
			sending, cancel := context.WithTimeout(ctx, sendTimeout)
			err := l.Send(sending, n)
			cancel()
			select {
			case <-ctx.Done():
				return
			case results <- result{l, n.ID, err}:
			}
		}
	}
}
