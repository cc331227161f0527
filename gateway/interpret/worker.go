package interpret

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"nhip/drivers/profile"
	"nhip/gateway/intake"
	"nhip/gateway/mapping/live"
	"nhip/gateway/orders"
	"nhip/gateway/reason"
	"nhip/gateway/record"
	"nhip/gateway/route"
	"nhip/storage"
)

// A Worker drains the queue "interpret".
type Worker struct {
	Store       *storage.Store
	Intake      *intake.Intake
	Site        Site
	Connections map[string]Connection
	Routes      route.Table
	Maps        *live.Maps // of fields; nil: none
	// Codes gives the table of an analyser's codes that is live; nil, or what it gives
	// is nil: none.
	Codes func(connection string) *CodeTable
	Log   *slog.Logger
	// Publish hands observations on. It is called before the commit, which
	// takes what it adds to the batch: a crash between the two publishes the
	// same observations again under the same numbers.
	Publish func(b *storage.Batch, connection string, received time.Time, obs []record.Observation)
	// Heard tells the time that a message has by its device's clock, and by ours
	// when it was received. It may be nil.
	Heard func(connection string, received, device time.Time)
	// Doubted tells what was not readable as it should be in a message of an analyser that
	// declares nothing of its characters itself. It may be nil.
	Doubted func(connection string, d profile.Doubt)
	// Finish has what the links to destinations want of messages; nil for most.
	Finish map[string]Finish
	// Knows is what it asks of patients and orders.
	Knows Knowledge
	// Now is the clock, time.Now where it is nil.
	Now func() time.Time
}

// gather is how long the worker waits for more after it was woken, and busy how
// long while much comes: every commit of its own costs those who are being
// received an fsync.
const (
	gather = 20 * time.Millisecond
	busy   = 100 * time.Millisecond
	much   = 3 // items that came within gather
)

const (
	page       = 200
	maxChanges = 700     // in one commit, counters not counted
	maxBytes   = 1 << 20 // in one commit
)

// Run works until ctx ends or the store fails.
func (w *Worker) Run(ctx context.Context) error {
	stored, ok, err := w.Store.Get(seriesKey)
	if err != nil {
		return err
	}
	if !ok {
		stored = nil
	}
	series, err := NewSeries(w.Site.ID, stored)
	if err != nil {
		return err
	}
	if w.Now == nil {
		w.Now = time.Now
	}
	r := &reader{site: w.Site, connections: w.Connections, routes: w.Routes, series: series, finishes: w.Finish, maps: w.Maps, codes: w.Codes, knows: w.Knows}
	r.before = w.before(r)
	queued := w.Store.Wait(intake.Interpret)
	var next uint64
	for {
		items, err := w.Store.Items(intake.Interpret, next, page)
		if err != nil {
			return fmt.Errorf("interpret: %w", err)
		}
		more, wait := len(items) == page, gather
		if len(items) >= much {
			wait = busy
		}
		for len(items) > 0 {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			n, err := w.some(ctx, r, items)
			if errors.Is(err, storage.ErrDiskFull) {
				if err := waitForRoom(ctx); err != nil {
					return err
				}
				continue
			}
			if err != nil {
				return fmt.Errorf("interpret: %w", err)
			}
			next = items[n-1].Seq + 1
			items = items[n:]
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-queued:
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// waitForRoom waits a moment for room on the disk: a rendered message was too
// large for the journal, and the spool took nothing.
func waitForRoom(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Second):
		return nil
	}
}

// some interprets as many items as fit into one commit, and says how many.
func (w *Worker) some(ctx context.Context, r *reader, items []storage.QueueItem) (int, error) {
	b := new(storage.Batch)
	sums := map[string]int64{}
	before := r.series.s
	r.batch = nil
	var marks []orders.Mark
	var changes, bytes, done int
	for _, item := range items {
		now := w.Now()
		saved := r.series.s
		e, o := w.one(r, item, now)
		c, n := o.size()
		if c > maxChanges || n > maxBytes {
			r.series.s = saved
			o = tooMuch(o)
			c, n = o.size()
		}
		if done > 0 && (changes+c > maxChanges || bytes+n > maxBytes) {
			r.series.s = saved
			break
		}
		changes, bytes = changes+c, bytes+n
		if len(o.observed) > 0 {
			w.Publish(b, e.Connection, e.At, o.observed)
			changes++
		}
		if w.Heard != nil && !o.deviceTime.IsZero() {
			w.Heard(e.Connection, e.At, o.deviceTime)
		}
		if w.Doubted != nil && o.doubt != nil {
			w.Doubted(e.Connection, *o.doubt)
		}
		if err := o.apply(b, sums, item, e, now, w.Intake); err != nil {
			r.series.s = before
			return 0, err
		}
		for _, h := range o.held {
			w.Log.Error("held", "connection", e.Connection, "item", item.Seq, "reason", h.why)
		}
		marks = append(marks, o.marks...)
		for _, m := range o.measured {
			m.sent = len(o.out) > 0
			r.batch = append(r.batch, m)
		}
		done++
	}
	addAll(b, sums)
	if r.series.s != before {
		b.Put(seriesKey, r.series.Encode())
	}
	end := func(error) {}
	if len(marks) > 0 {
		end = w.Knows.Marks(b, marks)
	}
	_, err := w.Store.Commit(context.WithoutCancel(ctx), b)
	end(err)
	return done, err
}

// one reads the entry of an item and interprets it. An entry that cannot be
// read is held.
func (w *Worker) one(r *reader, item storage.QueueItem, now time.Time) (intake.Entry, outcome) {
	e, body, err := w.load(item)
	if err != nil {
		e.Connection = item.Group
		var o outcome
		o.hold("", reason.Damaged, err.Error())
		return e, o
	}
	r.ref = item.About[0]
	r.over, _ = intake.Ends(item.Value)
	r.released = len(item.Value) > 0 && r.over == "" // intake.Again
	r.to = nil
	to, part := intake.AgainFor(item.Value)
	if !part {
		return e, r.read(e, body, now)
	}
	r.to = &to
	before, _, err := ReadFate(w.Store, item.About[0])
	if err != nil {
		var o outcome
		o.held = append(o.held, held{why: reason.New(reason.Damaged, err.Error()), to: to})
		return e, o
	}
	o := r.read(e, body, now)
	o.before = &before
	return e, o
}

func (w *Worker) load(item storage.QueueItem) (e intake.Entry, body []byte, err error) {
	if item.Damaged != nil {
		return e, nil, item.Damaged
	}
	if len(item.About) == 0 {
		return e, nil, errors.New("interpret: queue item without a journal entry")
	}
	var recent bool
	if e, recent = w.Intake.Recent(item.About[0]); !recent {
		raw, err := w.Store.Read(item.About[0])
		if err != nil {
			return e, nil, err
		}
		if e, err = intake.DecodeEntry(raw); err != nil {
			return e, nil, err
		}
	}
	if e.Kind == intake.KindDICOM {
		return e, nil, nil
	}
	body, err = intake.Body(w.Store, e)
	return e, body, err
}
