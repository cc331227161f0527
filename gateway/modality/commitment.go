package modality

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"nhip/dicom/association"
	"nhip/dicom/commitment"
	"nhip/dicom/dimse"
	"nhip/dicom/service"
	"nhip/gateway/intake"
	"nhip/storage"
)

// A Reporter is where a modality takes the reports of storage commitment that
// come over an association of ours.
type Reporter struct {
	Address         string // host:port; empty: only the association that asked
	Called, Calling string // AE titles
	TLS             func() (*tls.Config, error)
}

// CommitmentOptions are what Commitments works with.
type CommitmentOptions struct {
	Intake *intake.Intake
	Store  *storage.Store
	Log    *slog.Logger
	Now    func() time.Time
	Policy commitment.Policy
	// Connection names the modality of an association; To says where it takes
	// reports. ok is false for one that is not configured any more.
	Connection func(service.Peer) string
	To         func(connection string) (Reporter, bool)
}

// Commitments is the storage commitment SCP of the gateway, PS3.4 annex J: what a
// modality asks is durable before it is answered, and reported from what is
// stored, never from memory, over the association that asked or one of our own,
// for days if need be. Committed means that the gateway holds the object; it
// keeps it until every destination has it.
type Commitments struct {
	CommitmentOptions

	mu   sync.Mutex
	open map[string]*association.Association // of requests that were answered just now, by key
	wake chan struct{}
	busy map[string]bool // a report of the key is on its way
}

// reportTime is the whole time of one attempt to report.
const reportTime = time.Minute

// forgetAfter is how long a request that was reported or given up is remembered,
// so that its repeat is known as one.
const forgetAfter = 30 * 24 * time.Hour

// atOnce is how many reports are on their way at a time.
const atOnce = 4

// A transaction is the state of one request, as it is kept.
type transaction struct {
	UID        string            `json:"uid"`
	Connection string            `json:"conn"`
	References int               `json:"references"`
	Report     commitment.Report `json:"report"`
}

// NewCommitments returns the SCP; Run reports.
func NewCommitments(o CommitmentOptions) *Commitments {
	return &Commitments{CommitmentOptions: o, open: map[string]*association.Association{}, busy: map[string]bool{}, wake: make(chan struct{}, 1)}
}

// SCP is what modalities ask.
func (c *Commitments) SCP() *commitment.SCP {
	return &commitment.SCP{Accept: c.accept, Answered: c.answered}
}

// accept keeps a request. The same again is owed anew: its report may be lost.
func (c *Commitments) accept(ctx context.Context, r commitment.Request) dimse.Status {
	connection := c.Connection(r.Peer)
	log := c.Log.With("modality", connection, "transaction", r.UID, "references", len(r.References))
	key := intake.CommitmentKey(connection, r.UID)
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok, err := c.read(key)
	now := c.Now()
	switch {
	case err != nil:
		log.Error("storage commitment: the request was not kept", "error", err)
		return dimse.Status{Code: dimse.ProcessingFailure, Comment: "the request cannot be kept, ask again later"}
	case ok:
		asked, err := c.asked(key)
		if err != nil || !r.Same(commitment.Transaction{UID: r.UID, References: asked}) {
			return commitment.InUse
		}
		known.Report = known.Report.Repeated(now)
		err = c.save(ctx, key, known)
		return c.kept(log, err)
	}
	body, err := json.Marshal(r.References)
	if err != nil {
		return c.kept(log, err)
	}
	t := transaction{UID: r.UID, Connection: connection, References: len(r.References), Report: commitment.NewReport(now).Known(now)}
	value, err := json.Marshal(t)
	if err != nil {
		return c.kept(log, err)
	}
	err = c.Intake.Told(ctx, intake.KindCommitment, connection, r.Address.String(), body, map[string]string{"transaction": r.UID}, func(b *storage.Batch, j storage.Entry) {
		b.Put(key, value)
		b.PutRef(intake.CommitmentEntryKey(key), j)
	})
	return c.kept(log, err)
}

func (c *Commitments) kept(log *slog.Logger, err error) dimse.Status {
	switch {
	case errors.Is(err, storage.ErrDiskFull):
		log.Warn("storage commitment: refused", "reason", err)
		return dimse.Status{Code: dimse.ResourceLimitation, Comment: "the gateway's disk is too full, ask again later"}
	case err != nil:
		log.Error("storage commitment: the request was not kept", "error", err)
		return dimse.Status{Code: dimse.ProcessingFailure, Comment: "the request cannot be kept, ask again later"}
	}
	log.Info("storage commitment: asked")
	return dimse.Status{Code: dimse.Success}
}

// answered lets the report go over the association that asked, while it is there.
func (c *Commitments) answered(r commitment.Request, a *association.Association) {
	key := intake.CommitmentKey(c.Connection(r.Peer), r.UID)
	c.mu.Lock()
	c.open[key] = a
	c.mu.Unlock()
	go func() {
		<-a.Done()
		c.mu.Lock()
		if c.open[key] == a {
			delete(c.open, key)
		}
		c.mu.Unlock()
		c.look()
	}()
	c.look()
}

// look makes Run look again at what is owed.
func (c *Commitments) look() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Run reports what is owed until ctx ends.
func (c *Commitments) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, atOnce)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.wake:
		case <-timer.C:
		}
		due, next, err := c.due(ctx)
		if err != nil && ctx.Err() == nil {
			c.Log.Error("storage commitment: not all that is owed could be read", "error", err)
			next = lookAgain
		}
		for _, d := range due {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
			wg.Go(func() {
				defer func() { <-slots }()
				c.attempt(ctx, d)
				c.look()
			})
		}
		timer.Reset(next)
	}
}

// An attempt is a report that is due.
type attempt struct {
	key    string
	t      transaction
	action commitment.Action
	a      *association.Association
}

// lookAgain is the longest time between two looks at what is owed.
const lookAgain = time.Minute

// due lists what is to be reported now, and says when to look again.
func (c *Commitments) due(ctx context.Context) ([]attempt, time.Duration, error) {
	keys, err := c.Store.Keys(intake.CommitmentKeys, 1<<20)
	if err != nil {
		return nil, 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now, next := c.Now(), lookAgain
	var all []attempt
	var failed error
	for _, key := range keys {
		if c.busy[key] {
			continue
		}
		t, ok, err := c.read(key)
		if err != nil || !ok {
			failed = errors.Join(failed, err)
			continue
		}
		// A modality with an address for reports is told there: few of them await one on
		// the association that asked, which they are about to release.
		to, _ := c.To(t.Connection)
		report, action := t.Report.Due(now, c.Policy, c.open[key] != nil && to.Address == "")
		switch {
		case action == commitment.GiveUp:
			t.Report = report
			c.Log.Error("storage commitment: the report was given up", "modality", t.Connection, "transaction", t.UID, "last", t.Report.Why)
			failed = errors.Join(failed, c.save(ctx, key, t))
		case action != commitment.Nothing:
			c.busy[key] = true
			all = append(all, attempt{key, t, action, c.open[key]})
		case t.Report.State == commitment.Owed:
			next = min(next, max(t.Report.Next.Sub(now), 0))
		case now.Sub(t.Report.Since) > forgetAfter:
			failed = errors.Join(failed, c.forget(ctx, key))
		}
	}
	return all, next, failed
}

// attempt reports once, and keeps what came of it.
func (c *Commitments) attempt(ctx context.Context, d attempt) {
	status, err := c.report(ctx, d)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.busy, d.key)
	if ctx.Err() != nil && err != nil {
		return // made again after the start
	}
	t, ok, readErr := c.read(d.key) // it may have been asked again meanwhile
	if readErr != nil || !ok {
		return
	}
	if err != nil {
		t.Report = t.Report.Failed(err.Error(), d.action, c.Now(), c.Policy)
	} else {
		t.Report = t.Report.Answered(status, d.action, c.Now(), c.Policy)
	}
	log := c.Log.With("modality", t.Connection, "transaction", t.UID)
	if t.Report.State == commitment.Reported {
		log.Info("storage commitment: reported")
	} else {
		log.Warn("storage commitment: not reported yet", "why", t.Report.Why, "next", t.Report.Next)
	}
	if err := c.save(context.WithoutCancel(ctx), d.key, t); err != nil {
		log.Error("storage commitment: the state was not kept", "error", err)
	}
}

// report sends the report over an association.
func (c *Commitments) report(ctx context.Context, d attempt) (dimse.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, reportTime)
	defer cancel()
	outcome, err := c.outcome(d.key)
	if err != nil {
		return dimse.Status{}, err
	}
	if d.action == commitment.ReportOnSame {
		return commitment.SendReport(ctx, d.a, d.t.UID, outcome)
	}
	to, ok := c.To(d.t.Connection)
	if !ok || to.Address == "" {
		return dimse.Status{}, errors.New("the configuration names no address for reports")
	}
	p := association.Proposal{Calling: to.Calling, Called: to.Called}
	commitment.ProposeReport(&p)
	if to.TLS != nil {
		if p.TLS, err = to.TLS(); err != nil {
			return dimse.Status{}, err
		}
	}
	a, err := association.Dial(ctx, to.Address, p)
	if err != nil {
		return dimse.Status{}, err
	}
	status, err := commitment.SendReport(ctx, a, d.t.UID, outcome)
	if err != nil {
		a.Abort("the report was not answered")
		return status, err
	}
	_ = a.Release(ctx) // nothing depends on how it ends
	return status, nil
}

// outcome is what is true now of every reference of a request.
func (c *Commitments) outcome(key string) (commitment.Outcome, error) {
	refs, err := c.asked(key)
	if err != nil {
		return commitment.Outcome{}, err
	}
	var o commitment.Outcome
	fail := func(r commitment.Reference, why commitment.FailureReason) {
		o.Failed = append(o.Failed, commitment.Failure{Reference: r, Reason: why})
	}
	for _, r := range refs {
		class, whole, ok, err := c.Intake.Holding(r.SOPInstanceUID)
		switch {
		case err != nil:
			return commitment.Outcome{}, err
		case !ok:
			fail(r, commitment.NoSuchInstance)
		case !whole:
			fail(r, commitment.ProcessingFailure)
		case class != r.SOPClassUID:
			fail(r, commitment.ClassInstanceConflict)
		default:
			o.Committed = append(o.Committed, r)
		}
	}
	return o, nil
}

// asked reads the references of a request from the journal.
func (c *Commitments) asked(key string) ([]commitment.Reference, error) {
	text, ok, err := c.Store.Get(intake.CommitmentEntryKey(key))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errors.New("the request is not in the journal any more")
	}
	ref, err := storage.ParseRef(string(text))
	if err != nil {
		return nil, err
	}
	raw, err := c.Store.Read(ref)
	if err != nil {
		return nil, err
	}
	e, err := intake.DecodeEntry(raw)
	if err != nil {
		return nil, err
	}
	body, err := intake.Body(c.Store, e)
	if err != nil {
		return nil, err
	}
	var refs []commitment.Reference
	return refs, json.Unmarshal(body, &refs)
}

func (c *Commitments) read(key string) (transaction, bool, error) {
	v, ok, err := c.Store.Get(key)
	if err != nil || !ok {
		return transaction{}, false, err
	}
	var t transaction
	return t, true, json.Unmarshal(v, &t)
}

func (c *Commitments) save(ctx context.Context, key string, t transaction) error {
	v, err := json.Marshal(t)
	if err != nil {
		return err
	}
	b := new(storage.Batch)
	b.Put(key, v)
	_, err = c.Store.Commit(ctx, b)
	return err
}

func (c *Commitments) forget(ctx context.Context, key string) error {
	b := new(storage.Batch)
	b.Delete(key)
	b.Delete(intake.CommitmentEntryKey(key))
	_, err := c.Store.Commit(ctx, b)
	return err
}
