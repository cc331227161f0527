package lab

import (
	"container/heap"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"nhip/gateway/orders"
	"nhip/gateway/record"
)

// A Pusher keeps one analyser at what the orders say without being asked. What it sends
// is found in the orders at the moment it is sent; nothing waits anywhere in an older
// form. Run decides, a connection takes the jobs.
type Pusher struct {
	desk     *Desk
	analyser Analyser
	ways     Ways

	mu      sync.Mutex
	due     map[string]time.Time // specimens to look at, and when
	clock   clock                // the same by time, and what was put off since
	ready   []string             // those about which something is to be told
	waiting map[string]bool      // they are in ready
	busy    bool                 // a job is under way
	pause   time.Time            // before it nothing is told: the analyser does not answer
	silent  int                  // how often it has not answered in a row
	trouble map[string]bool      // specimens of which a person has to look
	wake    chan struct{}        // closed and made anew when something of it changes
}

// Pusher makes the pusher of an analyser; before anything is ordered.
func (d *Desk) Pusher(a Analyser, w Ways) *Pusher {
	p := &Pusher{desk: d, analyser: a, ways: w, due: map[string]time.Time{}, waiting: map[string]bool{}, trouble: map[string]bool{}, wake: make(chan struct{})}
	d.pushers = append(d.pushers, p)
	return p
}

// Changed takes a change of an order that is on disk: orders.Options.Committed.
func (d *Desk) Changed(before, after orders.Entry) {
	if after.Order.Kind != record.LaboratoryOrder || len(d.pushers) == 0 {
		return
	}
	now := d.now()
	for _, p := range d.pushers {
		if !p.concerned(after, now) {
			continue
		}
		for _, e := range []orders.Entry{before, after} {
			p.specimens(e, now)
		}
	}
}

// specimens has all specimens of an order looked at.
func (p *Pusher) specimens(e orders.Entry, at time.Time) {
	for _, s := range e.Order.Services {
		for _, x := range s.Specimens {
			for _, id := range x.IDs {
				p.touch(id, at)
			}
		}
	}
	for _, g := range e.Given {
		if g.Device == p.analyser.Name {
			p.touch(g.Specimen, at)
		}
	}
}

// concerned reports whether the analyser may have to be told something of an order.
func (p *Pusher) concerned(e orders.Entry, now time.Time) bool {
	for _, s := range e.Order.Services {
		known := false
		for _, g := range e.Given {
			if g.Service != s.ID || g.Device != p.analyser.Name {
				continue
			}
			known = true
			if g.State == orders.Refused || g.State == orders.GivenUp || g.State == orders.TakeBack || g.State == orders.Dropped && s.State == record.Open {
				return true
			}
			if g.State == orders.Taken && (s.State != record.Open || s.Progress == record.Resulted && s.By != g.Device || g.Version != e.Version || p.desk.claimed(e, s.ID, g.Device)) {
				return true
			}
		}
		if !known && p.ways.Download && s.State == record.Open && s.Progress != record.Resulted && len(p.analyser.Codes.Tests(s, now)) > 0 {
			return true
		}
	}
	return false
}

func (p *Pusher) touch(id string, at time.Time) {
	if id = strings.TrimSpace(id); id == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if was, ok := p.due[id]; ok && was.Before(at) {
		return
	}
	p.due[id] = at
	heap.Push(&p.clock, turn{at, id})
	p.wakeAll()
}

// A turn is when a specimen is looked at.
type turn struct {
	at time.Time
	id string
}

// A clock is a heap of turns, the first at its top.
type clock []turn

func (c clock) Len() int           { return len(c) }
func (c clock) Less(i, j int) bool { return c[i].at.Before(c[j].at) }
func (c clock) Swap(i, j int)      { c[i], c[j] = c[j], c[i] }
func (c *clock) Push(x any)        { *c = append(*c, x.(turn)) }
func (c *clock) Pop() any {
	last := (*c)[len(*c)-1]
	*c = (*c)[:len(*c)-1]
	return last
}

// first is the turn that is next; the ones that were put off are dropped. mu is held.
func (p *Pusher) first() (turn, bool) {
	for len(p.clock) > 0 {
		t := p.clock[0]
		if at, ok := p.due[t.id]; ok && at.Equal(t.at) {
			return t, true
		}
		heap.Pop(&p.clock)
	}
	return turn{}, false
}

// wakeAll wakes who waits for a change; mu is held.
func (p *Pusher) wakeAll() {
	close(p.wake)
	p.wake = make(chan struct{})
}

// overSince is for how long after its end an order is still looked at when the gateway
// starts: an analyser that was away longer is not told any more.
const overSince = 48 * time.Hour

// Recall has the pushers look at what was ordered before the gateway started: one reading
// for all of them. Where no analyser is sent what it did not ask for, only the orders are
// read of which one has something.
func (d *Desk) Recall(ctx context.Context) {
	q := orders.LaboratoryQuery{Given: true, Over: d.now().Add(-overSince)}
	for _, p := range d.pushers {
		q.Given = q.Given && !p.ways.Download
	}
	err := d.Orders.Laboratory(ctx, q, func(e orders.Entry) bool {
		now := d.now()
		for _, p := range d.pushers {
			if p.concerned(e, now) {
				p.specimens(e, now)
			}
		}
		return true
	})
	if err != nil && ctx.Err() == nil {
		d.Log.Error("not all orders can be read that analysers are to be told", "error", err)
	}
}

// Run looks at the specimens that are due, until ctx ends.
func (p *Pusher) Run(ctx context.Context) error {
	err := ctx.Err()
	for err == nil {
		var id string
		if id, err = p.takeTurn(ctx); err == nil {
			err = p.decide(ctx, id)
		}
	}
	return err
}

// takeTurn waits for the specimen that is due first.
func (p *Pusher) takeTurn(ctx context.Context) (string, error) {
	for {
		p.mu.Lock()
		now, wake := p.desk.now(), p.wake
		t, some := p.first()
		if some && !t.at.After(now) {
			heap.Pop(&p.clock)
			delete(p.due, t.id)
			p.mu.Unlock()
			return t.id, ctx.Err()
		}
		p.mu.Unlock()
		if err := wait(ctx, wake, t.at.Sub(now), some); err != nil {
			return "", err
		}
	}
}

// wait waits for a change, for at most d where it is limited.
func wait(ctx context.Context, wake <-chan struct{}, d time.Duration, limited bool) error {
	var over <-chan time.Time
	if limited {
		t := time.NewTimer(d)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-wake:
	case <-over:
	}
	return nil
}

// decide looks at a specimen: what needs the analyser waits for its connection, all else
// is noted.
func (p *Pusher) decide(ctx context.Context, id string) error {
	l, step, err := p.look(id)
	if err != nil {
		p.desk.Log.Error("orders of a specimen cannot be read", "analyser", p.analyser.Name, "error", err)
		p.touch(id, p.desk.now().Add(firstTry))
		return nil
	}
	if err := p.note(ctx, l.settled); err != nil {
		p.desk.Log.Error("what an analyser has is not noted", "analyser", p.analyser.Name, "error", err)
		p.touch(id, p.desk.now().Add(firstTry))
		return nil
	}
	if !l.next.IsZero() {
		p.touch(id, l.next)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.trouble, id)
	if l.troubled {
		p.trouble[id] = true
	}
	if step.None() || p.waiting[id] {
		return nil
	}
	p.waiting[id] = true
	if urgency(step.Work.Priority) == urgency("S") {
		p.ready = slices.Insert(p.ready, 0, id)
	} else {
		p.ready = append(p.ready, id)
	}
	p.wakeAll()
	return nil
}

// Trouble is how many specimens have orders that the analyser does not take.
func (p *Pusher) Trouble() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.trouble)
}

// Name is the analyser's.
func (p *Pusher) Name() string { return p.analyser.Name }

// A Job is something that the analyser is to be told about a specimen.
type Job struct {
	p    *Pusher
	id   string
	step Step
}

// Next waits for something to tell. One job is under way at a time; Done ends it.
func (p *Pusher) Next(ctx context.Context) (*Job, error) {
	for {
		id, err := p.nextReady(ctx)
		if err != nil {
			return nil, err
		}
		// The line is not asked for where there is nothing to tell any more.
		if _, step, err := p.look(id); err == nil && !step.None() {
			return &Job{p: p, id: id}, nil
		}
		p.mu.Lock()
		p.busy = false
		p.mu.Unlock()
		p.touch(id, p.desk.now())
	}
}

// nextReady waits for a specimen about which something is to be told.
func (p *Pusher) nextReady(ctx context.Context) (string, error) {
	for {
		p.mu.Lock()
		now, wake := p.desk.now(), p.wake
		free := len(p.ready) > 0 && !p.busy
		if free && !p.pause.After(now) && ctx.Err() == nil {
			id := p.ready[0]
			p.ready, p.busy = p.ready[1:], true
			delete(p.waiting, id)
			p.mu.Unlock()
			return id, nil
		}
		pause := p.pause.Sub(now)
		p.mu.Unlock()
		if err := wait(ctx, wake, pause, free); err != nil {
			return "", err
		}
	}
}

// Step is what is to be told as the orders are now: to be asked for right before it is
// told. Nothing any more: None.
func (j *Job) Step() (Step, error) {
	_, step, err := j.p.look(j.id)
	if err != nil {
		return Step{}, err
	}
	j.step = step
	if !step.None() && !step.Cancel {
		w := &Work{j.p.desk, j.p.analyser}
		w.mark(step.Work, record.Sent)
	}
	return step, nil
}

// Done ends the job. err is nil where the analyser has acknowledged what it was told, a
// *RefusedError where it has refused it, ErrUntold where the line was lost or needed by
// the analyser, and any other error where it does not answer. refs are what it knows the
// tests by.
func (j *Job) Done(ctx context.Context, refs []string, err error) {
	p := j.p
	noted := p.note(ctx, p.told(j.step, refs, err))
	now := p.desk.now()
	at := now
	var refused *RefusedError
	p.mu.Lock()
	p.busy = false
	switch {
	case noted != nil: // it is told again rather than not noted, but not at once
		at = now.Add(firstTry)
		p.pause = at
	case err == nil, errors.As(err, &refused), errors.Is(err, ErrUntold):
		p.silent = 0
	default:
		p.silent++
		p.pause = now.Add(min(silence<<min(p.silent-1, 8), mostSilence))
	}
	p.wakeAll()
	p.mu.Unlock()
	if noted != nil {
		p.desk.Log.Error("what an analyser has is not noted", "analyser", p.analyser.Name, "error", noted)
	}
	if err != nil && !errors.Is(err, ErrUntold) {
		p.desk.Log.Warn("orders not taken by the analyser", "analyser", p.analyser.Name, "cancel", j.step.Cancel, "error", err)
	}
	p.touch(j.id, at)
}

// ErrUntold says that the analyser was not told, for a reason that is not its own.
var ErrUntold = errors.New("lab: the analyser was not told")

// How long an analyser is left alone that does not answer.
const (
	silence     = 5 * time.Second
	mostSilence = 2 * time.Minute
)
