package run

import (
	"context"
	"errors"
	"maps"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"nhip/drivers/astm/e1381"
	"nhip/drivers/hl7lab"
	"nhip/drivers/profile"
	"nhip/gateway/alert"
	"nhip/gateway/config"
	"nhip/gateway/lab"
	"nhip/gateway/reason"
	"nhip/gateway/record"
	"nhip/hl7/mllp"
)

// startPushers makes what keeps each analyser at what the orders say.
func (g *Gateway) startPushers(desk *lab.Desk) {
	g.pushers = map[string]*lab.Pusher{}
	for _, a := range g.cfg.Analysers {
		p := g.profiles[a.Profile]
		if p == nil || a.Orders == "none" {
			continue
		}
		g.pushers[a.Name] = desk.Pusher(g.labAnalyser(a), lab.Ways{
			Download: a.Downloads() && p.Downloads(), Cancel: p.Cancels(), Whole: p.DownloadsWhole(),
		})
	}
	g.pushing.Store(desk)
	for name, p := range g.pushers {
		g.goRun("orders to "+name, p.Run)
	}
	g.goRun("orders to analysers", func(ctx context.Context) error {
		desk.Recall(ctx)
		debug.FreeOSMemory() // what reading them took
		return nil
	})
}

// untaken reads the analysers that do not take what they are sent.
func (g *Gateway) untaken() (all []alert.Reading) {
	for _, name := range slices.Sorted(maps.Keys(g.pushers)) {
		n := g.pushers[name].Trouble()
		all = append(all, level(alert.Untaken, name, n > 0, strconv.Itoa(n)))
	}
	return all
}

// pushes reports whether an analyser is ever told what it did not ask for.
func pushes(a config.Analyser, p *profile.Profile) bool {
	return a.Orders != "none" && (a.Downloads() && p.Downloads() || p.Cancels())
}

// pushASTM tells an analyser on a LIS01 link, in sessions of our own.
func (g *Gateway) pushASTM(ctx context.Context, jobs *lab.Pusher, p *profile.Profile, box *e1381.Outbox) {
	for {
		job, err := jobs.Next(ctx)
		if err != nil {
			return
		}
		told := make(chan error, 1)
		var wrong error
		err = box.Put(e1381.Outgoing{
			Make: func() (frames []e1381.Frame) {
				frames, wrong = stepFrames(job, p, g.now())
				return frames
			},
			Done: func(err error) { told <- err },
		})
		if err == nil {
			err = <-told // the connection's end tells too
		}
		if wrong != nil {
			err = wrong
		}
		job.Done(context.WithoutCancel(ctx), nil, linkError(err))
	}
}

func stepFrames(job *lab.Job, p *profile.Profile, now time.Time) ([]e1381.Frame, error) {
	step, err := job.Step()
	if err != nil || step.None() {
		return nil, err
	}
	compose := p.Download
	if step.Cancel {
		compose = p.Cancel
	}
	records, err := compose([]record.Work{step.Work}, now)
	if err != nil {
		return nil, &lab.RefusedError{Why: reason.New(reason.NotWritten, err.Error()), Final: true}
	}
	return p.Frames(records), nil
}

// linkError says what an error of the link means for what was to be sent.
func linkError(err error) error {
	var failed *e1381.FailedError
	switch {
	case errors.Is(err, e1381.ErrOutboxClosed), errors.As(err, &failed) && failed.Cut:
		return lab.ErrUntold
	case failed != nil && failed.Refused:
		return &lab.RefusedError{Why: reason.New(reason.FramesRefused, failed.Reason)}
	}
	return err
}

// answerTime is how long an analyser that speaks HL7 may take to answer an order.
const answerTime = time.Minute

var errNoAnswer = errors.New("no answer to an order for " + answerTime.String())

// push tells an analyser that speaks HL7 on its newest connection.
func (a *hl7Asker) push(ctx context.Context, to *mllp.Peer) {
	for {
		job, err := a.pusher.Next(ctx)
		if err != nil {
			return
		}
		refs, err := a.tell(ctx, job, to)
		job.Done(context.WithoutCancel(ctx), refs, err)
	}
}

func (a *hl7Asker) tell(ctx context.Context, job *lab.Job, to *mllp.Peer) (refs []string, err error) {
	step, err := job.Step()
	if err != nil || step.None() {
		return nil, err
	}
	compose := a.dialect.Download
	if step.Cancel {
		compose = a.dialect.Cancel
	}
	o := hl7lab.Options{ControlID: a.g.ackID.next, Now: a.g.now()}
	a.mu.Lock()
	o.Application, o.Facility = a.application, a.facility
	a.mu.Unlock()
	message, id, err := compose(step.Work, o)
	if err != nil {
		return nil, &lab.RefusedError{Why: reason.New(reason.NotWritten, err.Error()), Final: true}
	}
	refs = hl7lab.References(id, len(step.Work.Tests))
	answered := make(chan *hl7lab.Refusal, 1)
	a.expect(id, handedOut{answered: answered})
	defer a.forget(id)
	if err := to.Send(message); err != nil {
		return nil, lab.ErrUntold
	}
	late := time.NewTimer(answerTime)
	defer late.Stop()
	select {
	case refused := <-answered:
		return refs, taken(refused)
	case <-late.C:
		return nil, errNoAnswer
	case <-ctx.Done():
		return nil, lab.ErrUntold
	}
}

// taken says what an analyser's answer to an order means; nil where it took it.
func taken(r *hl7lab.Refusal) error {
	if r == nil {
		return nil
	}
	switch r.Control {
	case "UA":
		return &lab.RefusedError{Why: reason.New(reason.TestsRefused), Final: true, Refs: r.References}
	case "UC":
		return &lab.RefusedError{Why: reason.New(reason.CancelRefused), Final: true, Refs: r.References}
	}
	return &lab.RefusedError{Why: reason.New(reason.AnswerRefused, strconv.QuoteToASCII(r.Answer))}
}

// opened begins to push on a new connection, and ends it on the one before.
func (a *hl7Asker) opened(ctx context.Context, to *mllp.Peer) (closed func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	a.mu.Lock()
	if a.newest != nil {
		a.newest()
	}
	a.newest = cancel
	a.mu.Unlock()
	go func() {
		defer close(done)
		a.push(ctx, to)
	}()
	return func() { cancel(); <-done }
}
