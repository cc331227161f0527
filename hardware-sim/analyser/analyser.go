// Package analyser plays laboratory analysers: over TCP (either side connects),
// a serial port or a pty, by ASTM (E1381 link, E1394 records) or HL7 by MLLP. It
// sends generated messages or a transcript, with faults when told to, and keeps
// every message until it was acknowledged. The link layer is written here and
// not taken from the product: a simulator that shares a codec cannot find what
// is wrong with it. An ASTM analyser asks its host for work (Ask) and takes what the
// host sends, where Options.Take is set; without it every ENQ of the host is refused.
// An analyser that speaks HL7, or the texts of a Beckman Coulter AU, asks and takes in
// the way of its model; Model.Report writes what it measured of what it was told.
package analyser

import (
	"bufio"
	"context"
	"errors"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"nhip/hardware-sim/truth"
	"nhip/hardware-sim/wire"
)

// Timing is how long an analyser waits.
type Timing struct {
	Reply      time.Duration // for the answer to a frame or message; E1381: 15 s
	Busy       time.Duration // after NAK to ENQ; E1381: at least 10 s
	Contention time.Duration // after ENQ met ENQ, and before trying an aborted message again; E1381: at least 1 s
	Redial     time.Duration // before a line that broke is opened again
}

// Standard is the timing of E1381.
var Standard = Timing{Reply: 15 * time.Second, Busy: 10 * time.Second, Contention: time.Second, Redial: 500 * time.Millisecond}

// A Message is what an analyser sends, with what it means.
type Message struct {
	Truth truth.Item
	Bytes []byte // record bytes, each record with its CR; or an HL7 message

	frame     int // characters of text in a frame, at most
	perRecord bool
}

func (m Message) frames() []frame { return split(m.Bytes, m.frame, m.perRecord) }

// Options of an Analyser.
type Options struct {
	Name   string        // of the connection; also seeds the messages
	Model  Model         // what it sends
	Seed   uint64        // equal seeds, names and starts give equal messages
	Start  time.Time     // of the run, in the analyser's zone; also makes specimen identifiers of runs differ
	Number int           // of the analyser in the hospital, part of its specimen identifiers
	To     []string      // the destinations that must get its results
	Every  time.Duration // one made-up message so often; 0: none, only what Send is given
	Limit  int           // messages in all; 0 is no limit
	Take   func(Answer)  // told of every message of the host; nil: none is taken
	Asking func(string)  // told of a specimen before the first byte of the query for it; may be nil
	Sent   func(Message) // told of every message that was acknowledged; may be nil
	Timing Timing
	Truth  *truth.Log
	Log    *slog.Logger
}

// An Analyser is one simulated analyser.
type Analyser struct {
	o      Options
	faults faults

	mu      sync.Mutex
	extra   int // asked for by Burst
	made    int
	sent    int
	pending []Message
	// questions are the specimens that the host is to be asked for.
	questions []string
	stopped   bool
	began     time.Time
	serial    int       // of queries
	off       time.Time // switched off until then
	unplug    func()    // ends the conversation that is going on; nil: there is none
}

// New returns an analyser that is not connected yet.
func New(o Options) *Analyser { return &Analyser{o: o} }

// Inject adds faults to those that are still due.
func (a *Analyser) Inject(f Faults) { a.faults.inject(f) }

// Renew makes at least these faults due: what is still due of an earlier time is not
// done besides.
func (a *Analyser) Renew(f Faults) {
	a.faults.put(f, func(due, more int) int { return max(due, more) })
}

// Counters says how often each fault was done.
func (a *Analyser) Counters() map[string]int { return a.faults.counters() }

// Burst makes n messages due at once.
func (a *Analyser) Burst(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.extra += n
}

// Stop ends the measuring of new specimens. Run returns when what is there is
// acknowledged.
func (a *Analyser) Stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = true
}

// Sent is the number of messages that were acknowledged.
func (a *Analyser) Sent() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sent
}

// Send makes messages due, behind what is pending.
func (a *Analyser) Send(all ...Message) {
	for _, m := range all {
		a.o.Truth.Offer(m.Truth)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pending = append(a.pending, all...)
}

// Pending is how many messages and queries wait for the line.
func (a *Analyser) Pending() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.pending) + len(a.questions)
}

// Down switches the analyser off for d from now, whatever it is doing. What it has
// measured and what it wants to ask it still knows afterwards.
func (a *Analyser) Down(d time.Duration) {
	a.faults.did("switched off")
	a.mu.Lock()
	defer a.mu.Unlock()
	a.off = time.Now().Add(d)
	if a.unplug != nil {
		a.unplug()
	}
}

// on waits until the analyser is switched on.
func (a *Analyser) on(ctx context.Context) (was bool) {
	for ctx.Err() == nil {
		a.mu.Lock()
		left := time.Until(a.off)
		a.mu.Unlock()
		if left <= 0 {
			return was
		}
		was = true
		wire.Wait(ctx, left)
	}
	return was
}

// Run connects, sends what is due and connects again when the line breaks,
// until ctx ends or it was stopped and everything is acknowledged.
func (a *Analyser) Run(ctx context.Context, connect func(context.Context) (wire.Line, error)) {
	a.mu.Lock()
	a.began = time.Now()
	a.mu.Unlock()
	for ctx.Err() == nil && !a.finished() {
		was := a.on(ctx)
		line, err := connect(ctx)
		if err == nil {
			if was {
				deaf(line)
			}
			err = a.converse(ctx, line)
			line.Close()
		}
		if err == nil {
			return
		}
		a.o.Log.Debug("line", "analyser", a.o.Name, "state", err)
		wire.Wait(ctx, a.o.Timing.Redial)
	}
}

// converse speaks on one line until it breaks (an error) or all is done.
func (a *Analyser) converse(ctx context.Context, line wire.Line) error {
	ctx, unplug := context.WithCancel(ctx)
	defer unplug()
	a.mu.Lock()
	a.unplug = unplug
	a.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { line.Close() })
	defer stop()
	c := &conversation{line: line, in: bufio.NewReader(line), timing: a.o.Timing, faults: &a.faults, take: a.o.Take, model: a.o.Model}
	for {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if a.finished() {
			return nil
		}
		if specimen, asks := a.question(); asks {
			if err := a.again(c, a.ask(ctx, c, specimen)); err != nil {
				return err
			}
			continue
		}
		batch, wait := a.batch()
		if len(batch) == 0 {
			if err := c.listen(wait); err != nil {
				return err
			}
			continue
		}
		if err := a.again(c, a.send(ctx, c, batch)); err != nil {
			return err
		}
	}
}

// again waits before what the host did not take is tried again.
func (a *Analyser) again(c *conversation, err error) error {
	switch {
	case errors.Is(err, errBusy):
		a.o.Log.Debug("busy", "analyser", a.o.Name)
		return c.listen(a.o.Timing.Busy)
	case errors.Is(err, errAborted):
		a.o.Log.Debug("aborted", "analyser", a.o.Name)
		return c.listen(a.o.Timing.Contention)
	}
	return err
}

func (a *Analyser) send(ctx context.Context, c *conversation, batch []Message) error {
	if a.o.Model.Protocol == AU {
		err := c.texts(ctx, batch[0].Bytes)
		if err == nil {
			a.accepted(batch[0])
		}
		return err
	}
	if a.o.Model.Protocol == HL7 {
		err := c.exchange(ctx, batch[0])
		var rejected *rejectedError
		if errors.As(err, &rejected) {
			a.o.Truth.Refuse(batch[0].Truth.ID, rejected.answer)
			a.drop()
			return nil
		}
		if err == nil {
			a.accepted(batch[0])
		}
		return err
	}
	return c.session(ctx, batch, a.accepted, func(m Message) { a.o.Truth.Resend(m.Truth.ID) })
}

func (a *Analyser) accepted(m Message) {
	a.o.Truth.Acknowledge(m.Truth.ID)
	a.mu.Lock()
	a.sent++
	a.mu.Unlock()
	a.drop()
	if a.o.Sent != nil {
		a.o.Sent(m)
	}
}

// drop forgets the oldest message.
func (a *Analyser) drop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pending = a.pending[1:]
}

func (a *Analyser) finished() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.pending) == 0 && len(a.questions) == 0 && (a.stopped || a.o.Limit > 0 && a.made >= a.o.Limit)
}

// most bounds how long a finished or injected state goes unnoticed.
const most = 200 * time.Millisecond

// soon is the same where work comes from outside.
const soon = 20 * time.Millisecond

// deaf forgets what came on a cable while the analyser was switched off.
func deaf(line wire.Line) {
	buf := make([]byte, 4096)
	for {
		line.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := line.Read(buf); err != nil {
			return
		}
	}
}

// batch is what is to be sent in the next session, oldest first: what is
// pending, else what is due. Without anything it says how long to wait.
func (a *Analyser) batch() ([]Message, time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	wait := most
	if a.o.Take != nil {
		wait = soon
	}
	for a.o.Every > 0 && !a.stopped && len(a.pending) < a.o.Model.Batch && (a.o.Limit == 0 || a.made < a.o.Limit) {
		next := a.began.Add(time.Duration(a.made-a.extra+1) * a.o.Every)
		if left := time.Until(next); left > 0 {
			wait = min(wait, left)
			break
		}
		m := a.o.Message(a.made)
		a.o.Truth.Offer(m.Truth)
		a.pending = append(a.pending, m)
		a.made++
	}
	return a.pending[:min(len(a.pending), a.o.Model.Batch)], wait
}

// Message is the n-th message that an analyser of these options sends.
func (o Options) Message(n int) Message {
	h := fnv.New64a()
	h.Write([]byte(o.Name))
	g := &generator{
		o: o, number: n, rand: rand.New(rand.NewPCG(o.Seed^h.Sum64(), uint64(n))),
		at: o.Start.Add(time.Duration(n) * max(o.Every, time.Second/10)).Truncate(time.Second),
	}
	m := o.Model.message(g)
	m.frame, m.perRecord = o.Model.Frame, o.Model.PerRecord
	m.Truth.Kind, m.Truth.ID, m.Truth.Source = truth.ORU, g.id(), o.Name
	if !g.consumed {
		m.Truth.To = o.To
	}
	return m
}
