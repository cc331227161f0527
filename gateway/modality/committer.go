package modality

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"nhip/dicom/association"
	"nhip/dicom/commitment"
	"nhip/dicom/dimse"
	"nhip/dicom/service"
	"nhip/gateway/delivery"
	"nhip/gateway/intake"
	"nhip/gateway/interpret"
	"nhip/gateway/reason"
	"nhip/storage"
)

// CommitQueue is the queue of the objects that a destination has accepted and has not
// committed itself to yet. Its items refer to the journal entries of the objects, so
// that retention keeps them. They are no part of the conservation sum: the objects are
// delivered.
func CommitQueue(destination string) string { return CommitQueues + destination }

// CommitQueues is the prefix of those queues.
const CommitQueues = "commit/"

// askedKeys is the prefix of the keys of a destination's transactions.
func askedKeys(destination string) string { return "asked/" + destination + "/" }

// Delivered adds to the commit in which an object is delivered that its commitment is
// to be asked for; for delivery.Worker.Also.
func Delivered(b *storage.Batch, destination string, s delivery.Settled) {
	b.EnqueueRef(CommitQueue(destination), s.Group, s.Ticket.Encode(), s.Ref)
}

// A Committer asks one destination for storage commitment of the objects that it has
// accepted, PS3.4 annex J, and takes its reports. A request, and what is waited for, is
// on disk before the request is made, and is made again after a restart.
type Committer struct {
	Name   string // of the destination
	To     Destination
	Store  *storage.Store
	Log    *slog.Logger
	Now    func() time.Time
	Policy commitment.AskPolicy
	Gather time.Duration // how long objects are gathered for one request; 0: 3 s

	mu      sync.Mutex
	items   map[uint64]commitItem   // that are in no transaction, and in which
	open    map[string]*transacting // by transaction UID
	changed chan struct{}           // has room for one: a report was taken
}

// A commitItem is an object that is not committed yet.
type commitItem struct {
	seq    uint64
	group  string
	ref    storage.Ref
	ticket delivery.Ticket
	state  commitState
	first  time.Time // when it was seen
}

// A commitState is what is kept of an object for which a report has said that it
// should be asked for later.
type commitState struct {
	Tries int       `json:"tries"`
	Next  time.Time `json:"next"`
}

// A transacting is a transaction, as it is kept.
type transacting struct {
	commitment.Asking
	UID        string                 `json:"uid"`
	References []commitment.Reference `json:"refs"`
	Items      [][]uint64             `json:"items"` // of each reference
}

const (
	mostAsked   = 200              // references of one request: its report is one commit
	awaitReport = 10 * time.Second // on the association that asked
	mostResent  = 3                // times that an object is sent again because it was not committed
	mostLater   = 10               // times that it is asked for again because the destination could not say
	askLater    = time.Hour
)

// Run asks until ctx ends or the store fails.
func (c *Committer) Run(ctx context.Context) error {
	c.Gather = cmp.Or(c.Gather, 3*time.Second)
	c.mu.Lock()
	c.items, c.open, c.changed = map[uint64]commitItem{}, map[string]*transacting{}, make(chan struct{}, 1)
	err := c.read()
	c.mu.Unlock()
	if err != nil {
		return fmt.Errorf("storage commitment by %s: %w", c.Name, err)
	}
	queued := c.Store.Wait(CommitQueue(c.Name))
	var next uint64
	for {
		if next, err = c.fill(next); err != nil {
			return fmt.Errorf("storage commitment by %s: %w", c.Name, err)
		}
		due, wait, err := c.due(ctx)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("storage commitment by %s: %w", c.Name, err)
		}
		if len(due) > 0 {
			c.ask(ctx, due)
			wait = 0
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-queued:
		case <-c.changed:
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// read reads the transactions that were open; c.mu is held.
func (c *Committer) read() error {
	keys, err := c.Store.Keys(askedKeys(c.Name), 0)
	if err != nil {
		return err
	}
	for _, key := range keys {
		b, ok, err := c.Store.Get(key)
		if err != nil || !ok {
			return errors.Join(err, fmt.Errorf("key %s", key))
		}
		t := new(transacting)
		if err := json.Unmarshal(b, t); err != nil {
			return fmt.Errorf("key %s: %w", key, err)
		}
		c.open[t.UID] = t
	}
	return nil
}

// fill reads what was queued from a sequence on.
func (c *Committer) fill(from uint64) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	in := map[uint64]bool{}
	for _, t := range c.open {
		for _, seqs := range t.Items {
			for _, seq := range seqs {
				in[seq] = true
			}
		}
	}
	for {
		page, err := c.Store.Items(CommitQueue(c.Name), from, 1000)
		if err != nil {
			return from, err
		}
		for _, q := range page {
			from = q.Seq + 1
			if in[q.Seq] {
				continue
			}
			it := commitItem{seq: q.Seq, group: q.Group, first: c.Now()}
			err := q.Damaged
			if err == nil {
				it.ticket, err = delivery.DecodeTicket(q.Value)
			}
			if err == nil && len(q.State) > 0 {
				err = json.Unmarshal(q.State, &it.state)
			}
			if err != nil || len(q.About) != 1 {
				c.Log.Error("storage commitment: an item cannot be read, and stays", "destination", c.Name, "item", q.Seq, "error", err)
				continue
			}
			it.ref = q.About[0]
			c.items[it.seq] = it
		}
		if len(page) < 1000 {
			return from, nil
		}
	}
}

// due lists the transactions to be asked for now, new ones among them, and says when
// to look again.
func (c *Committer) due(ctx context.Context) ([]*transacting, time.Duration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, wait := c.Now(), time.Hour
	if err := c.begin(ctx, now, &wait); err != nil {
		return nil, wait, err
	}
	var due []*transacting
	for _, uid := range slices.Sorted(maps.Keys(c.open)) {
		t := c.open[uid]
		asking, action := t.Asking.Due(now, c.Policy)
		switch action {
		case commitment.AskNow:
			t.Asking = asking
			due = append(due, t)
		case commitment.AskNoMore:
			days := strconv.Itoa(int(now.Sub(asking.Since).Hours() / 24))
			err := c.settle(ctx, t, func(commitment.Reference) (verdict, reason.Reason) {
				return holdIt, reason.New(reason.NoCommitment, days)
			})
			if err != nil {
				return nil, wait, err
			}
		default:
			wait = min(wait, max(asking.Next.Sub(now), 0))
		}
	}
	return due, wait, nil
}

// begin makes transactions of what is in none, once it was gathered; c.mu is held.
func (c *Committer) begin(ctx context.Context, now time.Time, wait *time.Duration) error {
	var ready []commitItem
	gathered := false
	for _, seq := range slices.Sorted(maps.Keys(c.items)) {
		it := c.items[seq]
		if it.state.Next.After(now) {
			*wait = min(*wait, it.state.Next.Sub(now))
			continue
		}
		ready = append(ready, it)
		left := it.first.Add(c.Gather).Sub(now)
		if gathered = gathered || left <= 0; !gathered {
			*wait = min(*wait, left)
		}
	}
	if !gathered && len(ready) < mostAsked {
		return nil
	}
	for some := range slices.Chunk(ready, mostAsked) {
		if err := c.beginOne(ctx, some, now); err != nil {
			return err
		}
	}
	return nil
}

func (c *Committer) beginOne(ctx context.Context, some []commitItem, now time.Time) error {
	t := &transacting{UID: service.NewUID(), Asking: commitment.NewAsking(now)}
	at := map[commitment.Reference]int{}
	for _, it := range some {
		ref, err := c.reference(it.ref)
		if err != nil {
			c.Log.Error("storage commitment: an object cannot be asked for, and stays", "destination", c.Name, "item", it.seq, "error", err)
			delete(c.items, it.seq)
			continue
		}
		i, again := at[ref]
		if !again { // delivered twice since the last request
			i = len(t.References)
			at[ref] = i
			t.References, t.Items = append(t.References, ref), append(t.Items, nil)
		}
		t.Items[i] = append(t.Items[i], it.seq)
	}
	if len(t.References) == 0 {
		return nil
	}
	b := new(storage.Batch)
	if err := c.put(b, t); err != nil {
		return err
	}
	if _, err := c.Store.Commit(context.WithoutCancel(ctx), b); err != nil {
		return err
	}
	c.open[t.UID] = t
	for _, it := range some {
		delete(c.items, it.seq)
	}
	return nil
}

func (c *Committer) put(b *storage.Batch, t *transacting) error {
	v, err := json.Marshal(t)
	if err == nil {
		b.Put(askedKeys(c.Name)+t.UID, v)
	}
	return err
}

// reference names the object of a journal entry.
func (c *Committer) reference(ref storage.Ref) (commitment.Reference, error) {
	raw, err := c.Store.Read(ref)
	if err != nil {
		return commitment.Reference{}, err
	}
	e, err := intake.DecodeEntry(raw)
	return commitment.Reference{SOPClassUID: e.Attrs[intake.AttrSOPClass], SOPInstanceUID: e.Attrs[intake.AttrSOPInstance]}, err
}

// ask makes requests over one association, and waits a moment for the reports there.
func (c *Committer) ask(ctx context.Context, due []*transacting) {
	p := association.Proposal{Contexts: service.Propose(commitment.Class), Handlers: (&commitment.SCU{Take: c.Take}).Handlers()}
	a, err := c.To.dial(ctx, p)
	if err != nil {
		for _, t := range due {
			c.asked(ctx, t, dimse.Status{}, err)
		}
		return
	}
	for i, t := range due {
		asking, cancel := context.WithTimeout(ctx, c.To.Answer)
		status, err := commitment.Ask(asking, a, commitment.Transaction{UID: t.UID, References: t.References})
		cancel()
		c.asked(ctx, t, status, err)
		if err != nil {
			a.Abort("a request for storage commitment was not answered")
			for _, t := range due[i+1:] {
				c.asked(ctx, t, dimse.Status{}, err)
			}
			return
		}
	}
	c.await(ctx, a, due)
	releasing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	_ = a.Release(releasing) // nothing depends on how it ends
}

// await waits until all are reported, the peer has left, or for a moment.
func (c *Committer) await(ctx context.Context, a *association.Association, asked []*transacting) {
	timer := time.NewTimer(awaitReport)
	defer timer.Stop()
	for {
		c.mu.Lock()
		waits := slices.ContainsFunc(asked, func(t *transacting) bool { return c.open[t.UID] != nil && t.State == commitment.Asked })
		c.mu.Unlock()
		if !waits {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-a.Done():
			return
		case <-timer.C:
			return
		case <-c.changed:
		}
	}
}

// asked keeps what came of a request. Its report may have come before.
func (c *Committer) asked(ctx context.Context, t *transacting, s dimse.Status, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[t.UID] == nil || ctx.Err() != nil && err != nil {
		return
	}
	if err != nil {
		t.Asking = t.Asking.Failed(reason.Network(err).String(), c.Now(), c.Policy)
	} else {
		t.Asking = t.Asking.Answered(s, c.Now(), c.Policy)
	}
	log := c.Log.With("destination", c.Name, "transaction", t.UID, "references", len(t.References))
	if t.State == commitment.Asked {
		log.Info("storage commitment: asked the destination")
	} else {
		log.Warn("storage commitment: the destination cannot be asked", "why", t.Why, "next", t.Next)
	}
	b := new(storage.Batch)
	if err = c.put(b, t); err == nil {
		_, err = c.Store.Commit(context.WithoutCancel(ctx), b)
	}
	if err != nil {
		log.Error("storage commitment: the state was not kept", "error", err)
	}
}

// Take is commitment.SCU.Take: a report, on whatever association it comes. What is
// not of this destination or was not asked for changes nothing.
func (c *Committer) Take(ctx context.Context, r commitment.Received) dimse.Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.open[r.TransactionUID]
	if t == nil {
		return commitment.Unknown
	}
	if s := (commitment.Expectation{Transaction: commitment.Transaction{UID: t.UID, References: t.References}, SCP: c.To.Called}).Check(r); s.Code != dimse.Success {
		c.Log.Warn("storage commitment: a report was refused", "destination", c.Name, "transaction", t.UID, "status", s)
		return s
	}
	failed := map[commitment.Reference]commitment.FailureReason{}
	for _, f := range r.Failed {
		failed[f.Reference] = f.Reason
	}
	err := c.settle(ctx, t, func(ref commitment.Reference) (verdict, reason.Reason) {
		why, ok := failed[ref]
		if !ok {
			return committed, reason.Reason{}
		}
		return judge(why), reason.New(reason.NotCommitted, why.String())
	})
	if err != nil {
		c.Log.Error("storage commitment: a report was not kept", "destination", c.Name, "transaction", t.UID, "error", err)
		return dimse.Status{Code: dimse.ProcessingFailure, Comment: "the report cannot be kept, send it again"}
	}
	c.Log.Info("storage commitment: reported by the destination", "destination", c.Name, "transaction", t.UID, "committed", len(r.Committed), "failed", len(r.Failed))
	select {
	case c.changed <- struct{}{}:
	default:
	}
	return dimse.Status{}
}

// A verdict is what becomes of an object.
type verdict int

const (
	committed verdict = iota
	sendAgain         // the destination does not have it
	askForIt          // it could not say, for now
	holdIt            // a person has to look
)

// judge says what a failure reason means, PS3.3 section C.14.1.1.
func judge(r commitment.FailureReason) verdict {
	switch r {
	case commitment.NoSuchInstance:
		return sendAgain
	case commitment.ProcessingFailure, commitment.ResourceLimitation, commitment.DuplicateTransactionUID:
		return askForIt
	}
	return holdIt
}

// settle ends a transaction in one commit; c.mu is held.
func (c *Committer) settle(ctx context.Context, t *transacting, of func(commitment.Reference) (verdict, reason.Reason)) error {
	now := c.Now()
	items, err := c.itemsOf(t)
	if err != nil {
		return err
	}
	b := new(storage.Batch)
	b.Delete(askedKeys(c.Name) + t.UID)
	sums := map[string]int64{}
	var later []commitItem
	for i, ref := range t.References {
		verdict, why := of(ref)
		for _, seq := range t.Items[i] {
			it, ok := items[seq]
			if !ok {
				continue
			}
			if it, wait := c.settleOne(b, sums, it, verdict, why, t.UID, now); wait {
				later = append(later, it)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		b.Add(name, sums[name])
	}
	if _, err := c.Store.Commit(context.WithoutCancel(ctx), b); err != nil {
		return err
	}
	delete(c.open, t.UID)
	for _, it := range later {
		c.items[it.seq] = it
	}
	return nil
}

// itemsOf reads the queue items of a transaction.
func (c *Committer) itemsOf(t *transacting) (map[uint64]commitItem, error) {
	items := map[uint64]commitItem{}
	for _, seqs := range t.Items {
		for _, seq := range seqs {
			page, err := c.Store.Items(CommitQueue(c.Name), seq, 1)
			if err != nil {
				return nil, err
			}
			if len(page) == 0 || page[0].Seq != seq {
				continue
			}
			q := page[0]
			it := commitItem{seq: seq, group: q.Group, first: c.Now()}
			if len(q.About) != 1 || q.Damaged != nil {
				continue
			}
			it.ref = q.About[0]
			if it.ticket, err = delivery.DecodeTicket(q.Value); err != nil {
				return nil, err
			}
			if len(q.State) > 0 {
				if err := json.Unmarshal(q.State, &it.state); err != nil {
					return nil, err
				}
			}
			items[seq] = it
		}
	}
	return items, nil
}

// settleOne adds what becomes of one object; wait says that it is asked for later.
func (c *Committer) settleOne(b *storage.Batch, sums map[string]int64, it commitItem, v verdict, why reason.Reason, transaction string, now time.Time) (_ commitItem, wait bool) {
	if v == askForIt {
		if it.state.Tries++; it.state.Tries < mostLater {
			it.state.Next = now.Add(askLater)
			if state, err := json.Marshal(it.state); err == nil {
				b.SetState(CommitQueue(c.Name), it.seq, state)
			}
			return it, true
		}
		v = holdIt
	}
	b.Remove(CommitQueue(c.Name), it.seq)
	if v == committed {
		b.Put(interpret.CommittedKey(c.Name, it.ticket.Mark), []byte(now.UTC().Format(time.RFC3339)+" "+transaction))
		return it, false
	}
	// Like a resend by a person it is a new item, which is accepted, and delivered, once
	// more.
	ticket := it.ticket
	ticket.Uncommitted++
	count := delivery.CountQueued
	if v == holdIt || ticket.Uncommitted > mostResent {
		ticket.Hold, count = why, delivery.CountHeld
		ticket.Uncommitted = 0
	}
	b.EnqueueRef(delivery.Queue(c.Name), it.group, ticket.Encode(), it.ref)
	sums[delivery.CountAccepted]++
	sums[count]++
	c.Log.Warn("storage commitment: an object is not committed", "destination", c.Name, "id", ticket.ID, "reason", why, "held", !ticket.Hold.IsZero())
	return it, false
}

// dial makes an association with a destination.
func (d Destination) dial(ctx context.Context, p association.Proposal) (*association.Association, error) {
	p.Calling, p.Called = d.Calling, d.Called
	p.Timeouts = association.Timeouts{ARTIM: d.Connect, DIMSE: d.Answer, Response: d.Answer}
	if d.TLS != nil {
		var err error
		if p.TLS, err = d.TLS(); err != nil {
			return nil, err
		}
	}
	return association.Dial(ctx, d.Address, p)
}
