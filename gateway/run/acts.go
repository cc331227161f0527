package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"nhip/gateway/config"
	"nhip/gateway/control"
	"nhip/gateway/delivery"
	"nhip/gateway/intake"
	"nhip/gateway/interpret"
	"nhip/gateway/lab"
	"nhip/gateway/reason"
	"nhip/storage"
	"nhip/storage/diskguard"
)

// The requests and answers of the acts on queues, as JSON.
type (
	// ItemRequest is of "release" and "discard": the item by its queue and
	// sequence, "to/lis/17" or "held/3".
	ItemRequest struct {
		ID     string `json:"id"`
		Reason string `json:"reason,omitempty"`
	}
	// DestinationRequest is of "pause" and "resume".
	DestinationRequest struct {
		Destination string `json:"destination"`
		Reason      string `json:"reason,omitempty"`
	}
	// ResendRequest is of "resend": IDs, or a range of time (when it was delivered)
	// or of sequences in the journal.
	ResendRequest struct {
		Destination string    `json:"destination"`
		IDs         []string  `json:"ids,omitempty"`
		From        time.Time `json:"from,omitzero"`
		To          time.Time `json:"to,omitzero"`
		Channel     string    `json:"channel,omitempty"`
		First       uint64    `json:"first,omitempty"`
		Last        uint64    `json:"last,omitempty"`
		Reason      string    `json:"reason,omitempty"`
	}
	// ActAnswer says how many items an act concerned.
	ActAnswer struct {
		Items int `json:"items"`
	}
	// QueueRequest is of "queue" and "held"; all destinations where none is named.
	QueueRequest struct {
		Destination string `json:"destination,omitempty"`
		Limit       int    `json:"limit,omitempty"` // items per destination, default 100
	}
	// QueueAnswer is of "queue".
	QueueAnswer struct {
		Destinations []DestinationQueue `json:"destinations"`
	}
	// DestinationQueue is what waits for one destination.
	DestinationQueue struct {
		Destination string          `json:"destination"`
		State       string          `json:"state"`
		Why         string          `json:"why,omitempty"`
		Pause       *delivery.Pause `json:"pause,omitempty"`
		Depth       int             `json:"depth"`
		Held        int             `json:"held"`
		Behind      int             `json:"behind"`
		Unanswered  int             `json:"unanswered"`
		Items       []QueuedItem    `json:"items"`
	}
	// QueuedItem is one item of a queue.
	QueuedItem struct {
		ID       string    `json:"id"` // for release and discard
		Name     string    `json:"name,omitempty"`
		What     string    `json:"what,omitempty"`
		Subject  string    `json:"subject,omitempty"`
		State    string    `json:"state"`
		Queued   time.Time `json:"queued"`
		Since    time.Time `json:"since"`
		Attempts int       `json:"attempts,omitempty"`
		Reason   string    `json:"reason,omitempty"`
		Behind   string    `json:"behind,omitempty"` // the held item that it waits behind
		Count    int       `json:"count,omitempty"`  // how many wait behind it
	}
	// HeldAnswer is of "held".
	HeldAnswer struct {
		Held []QueuedItem `json:"held"`
	}
)

// Limits of what is listed.
const (
	defaultListed = 100
	maxListed     = 10000
	maxReason     = 500
	maxIDs        = 1000
)

// A desk is where people act on what waits.
type desk struct {
	store   *storage.Store
	lab     *lab.Desk
	workers map[string]*delivery.Worker
	log     *slog.Logger
}

// register adds the acts on queues.
func (d *desk) register(a *control.Acts) {
	add(a, "queue", d.queue)
	add(a, "held", d.held)
	add(a, "pause", d.pause)
	add(a, "resume", d.resume)
	add(a, "release", d.release)
	add(a, "match", d.match)
	add(a, "return", d.giveBack)
	add(a, "discard", d.discard)
	add(a, "resend", d.resend)
}

// add registers a handler of a type of request; unknown fields are refused.
func add[R any](a *control.Acts, path string, h func(context.Context, control.Actor, R) (any, error)) {
	a.Register(path, func(ctx context.Context, who control.Actor, b json.RawMessage) (any, error) {
		var r R
		dec := json.NewDecoder(strings.NewReader(string(b)))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&r); err != nil {
			return nil, control.Bad("the request is not understood: %v", err)
		}
		return h(ctx, who, r)
	})
}

func (d *desk) worker(name string) (*delivery.Worker, error) {
	if w := d.workers[name]; w != nil {
		return w, nil
	}
	return nil, control.Unknown("there is no destination %q", name)
}

func (d *desk) pause(ctx context.Context, who control.Actor, r DestinationRequest) (any, error) {
	w, err := d.worker(r.Destination)
	if err == nil {
		err = shortReason(r.Reason)
	}
	if err != nil {
		return nil, err
	}
	return ActAnswer{w.Depth()}, w.Pause(ctx, who, r.Reason)
}

func (d *desk) resume(ctx context.Context, who control.Actor, r DestinationRequest) (any, error) {
	w, err := d.worker(r.Destination)
	if err == nil {
		err = shortReason(r.Reason)
	}
	if err != nil {
		return nil, err
	}
	return ActAnswer{w.Depth()}, w.Resume(ctx, who, r.Reason)
}

func (d *desk) resend(ctx context.Context, who control.Actor, r ResendRequest) (any, error) {
	w, err := d.worker(r.Destination)
	if err == nil {
		err = shortReason(r.Reason)
	}
	if err == nil && len(r.IDs) > maxIDs {
		err = control.Bad("at most %d IDs at once", maxIDs)
	}
	if err != nil {
		return nil, err
	}
	n, err := w.Resend(ctx, who, delivery.Selection{IDs: r.IDs, From: r.From, To: r.To, Channel: r.Channel, First: r.First, Last: r.Last}, r.Reason)
	return ActAnswer{n}, err
}

func (d *desk) release(ctx context.Context, who control.Actor, r ItemRequest) (any, error) {
	queue, seq, err := itemID(r)
	if err != nil {
		return nil, err
	}
	if queue == intake.HeldQueue {
		n, err := d.interpretAgain(ctx, who, seq, r.Reason, "")
		return ActAnswer{n}, err
	}
	w, err := d.worker(queue)
	if err != nil {
		return nil, err
	}
	return ActAnswer{1}, w.Release(ctx, who, seq, r.Reason)
}

func (d *desk) discard(ctx context.Context, who control.Actor, r ItemRequest) (any, error) {
	queue, seq, err := itemID(r)
	if err == nil {
		err = delivery.Named(who, r.Reason)
	}
	if err != nil {
		return nil, err
	}
	if queue == intake.HeldQueue {
		return ActAnswer{1}, d.discardHeld(ctx, who, seq, r.Reason)
	}
	w, err := d.worker(queue)
	if err != nil {
		return nil, err
	}
	return ActAnswer{1}, w.Discard(ctx, who, seq, r.Reason)
}

// itemID reads "to/lis/17" as the destination "lis" and 17, and "held/3" as
// HeldQueue and 3.
func itemID(r ItemRequest) (queue string, seq uint64, err error) {
	if err := shortReason(r.Reason); err != nil {
		return "", 0, err
	}
	wrong := control.Bad("%q is no item: write it as `nhip queue` and `nhip hold list` show it, to/DESTINATION/NUMBER or held/NUMBER", r.ID)
	i := strings.LastIndexByte(r.ID, '/')
	if i < 0 {
		return "", 0, wrong
	}
	if seq, err = strconv.ParseUint(r.ID[i+1:], 10, 64); err != nil {
		return "", 0, wrong
	}
	name, delivering := strings.CutPrefix(r.ID[:i], queuePrefix)
	if !delivering && name != intake.HeldQueue || delivering && name == intake.HeldQueue {
		return "", 0, wrong
	}
	return name, seq, nil
}

func shortReason(s string) error {
	if len(s) > maxReason {
		return control.Bad("the reason is longer than %d bytes", maxReason)
	}
	return nil
}

// heldItem reads an item of HeldQueue.
func (d *desk) heldItem(seq uint64) (storage.QueueItem, error) {
	items, err := d.store.Items(intake.HeldQueue, seq, 1)
	if err != nil {
		return storage.QueueItem{}, err
	}
	if len(items) == 0 || items[0].Seq != seq {
		return storage.QueueItem{}, control.Unknown("held/%d is not held", seq)
	}
	return items[0], nil
}

// interpretAgain lets what is held be interpreted once more: after a profile or the
// configuration was corrected, or because a person says that it is to go on as it
// is. All that is held of the same entry goes with it, but for what is held for one
// destination alone, which is released alone.
// order is the number of the order that the person says it is of; "": none.
func (d *desk) interpretAgain(ctx context.Context, who control.Actor, seq uint64, why, order string) (int, error) {
	item, err := d.heldItem(seq)
	if err != nil {
		return 0, err
	}
	if item.Damaged != nil || len(item.About) == 0 {
		return 0, control.Bad("held/%d is damaged: it can only be discarded", seq)
	}
	fate, _, err := interpret.ReadFate(d.store, item.About[0])
	if err != nil {
		return 0, err
	}
	to := heldFor(item)
	part := to != intake.For{}
	if order == "" {
		to = inSpite(to, item)
	}
	act := "release"
	if order != "" {
		if to.Report == 0 {
			return 0, control.Bad("held/%d is not held for its order", seq)
		}
		to.Order, to.Older, act = order, false, "match"
	}
	if len(fate.Sent) > 0 && !part {
		return 0, control.Bad("held/%d is a part of a message whose other parts were sent: interpreting it again would send those twice", seq)
	}
	seqs := []uint64{seq}
	if fate.Held > 1 && !part {
		if seqs, err = d.heldOf(item.About[0]); err != nil {
			return 0, err
		}
	}
	b := new(storage.Batch)
	for _, s := range seqs {
		b.Remove(intake.HeldQueue, s)
	}
	b.EnqueueRef(intake.Interpret, item.Group, to.Again(), item.About...)
	b.Add(delivery.CountHeld, -int64(len(seqs)))
	b.Add(delivery.CountQueued, 1)
	if n := len(seqs) - 1; n > 0 {
		b.Add(intake.CountConsumed+"released", int64(n)) // they become one item again
	}
	a := control.Of(who, act, fmt.Sprintf("%s/%d", intake.HeldQueue, seq), strings.TrimSpace(order+" "+why), time.Now())
	a.About = item.About[0].String()
	a.Write(b)
	return len(seqs), d.commit(ctx, b, seq)
}

// heldFor is the part of an entry that an item of HeldQueue is about; zero: all of it.
func heldFor(item storage.QueueItem) intake.For {
	t, err := intake.DecodeHeldTicket(item.Value)
	if err != nil {
		return intake.For{} // the item can be released as a whole
	}
	return t.For
}

// inSpite adds what a person lets a report go on in spite of, who releases what is held
// for that: nothing else that would hold it.
func inSpite(to intake.For, item storage.QueueItem) intake.For {
	t, err := intake.DecodeHeldTicket(item.Value)
	if err != nil || to == (intake.For{}) {
		return to
	}
	switch why := t.Reason.Code; {
	case why == reason.Damaged, why == reason.CodesUnusable: // it is looked at anew
	case why == reason.Older:
		to.Older = true
	case interpret.OfCodes(why):
		to.Codes = true
	case to.Report > 0:
		to.Unmatched = true
	}
	return to
}

// heldOf finds all that is held of one entry.
func (d *desk) heldOf(ref storage.Ref) ([]uint64, error) {
	items, err := d.store.Items(intake.HeldQueue, 0, 0)
	if err != nil {
		return nil, err
	}
	var seqs []uint64
	for _, it := range items {
		if len(it.About) > 0 && it.About[0] == ref && len(seqs) < maxIDs/2 {
			seqs = append(seqs, it.Seq)
		}
	}
	return seqs, nil
}

func (d *desk) discardHeld(ctx context.Context, who control.Actor, seq uint64, why string) error {
	item, err := d.heldItem(seq)
	if err != nil {
		return err
	}
	now := time.Now()
	a := control.Of(who, "discard", fmt.Sprintf("%s/%d", intake.HeldQueue, seq), why, now)
	b := new(storage.Batch)
	b.Remove(intake.HeldQueue, seq)
	if len(item.About) > 0 {
		a.About = item.About[0].String()
		b.Put(interpret.DiscardedKey(item.About[0]), []byte(who.By))
	}
	b.Add(delivery.CountHeld, -1)
	b.Add(delivery.CountDiscarded, 1)
	a.Write(b)
	d.log.Warn("discarded", "connection", item.Group, "item", seq, "user", who.User, "by", who.By)
	return d.commit(ctx, b, seq)
}

func (d *desk) commit(ctx context.Context, b *storage.Batch, seq uint64) error {
	_, err := d.store.Commit(ctx, b)
	if errors.Is(err, storage.ErrNoItem) {
		return control.Unknown("held/%d is not held any more", seq)
	}
	return err
}

func limit(n int) int {
	if n <= 0 {
		return defaultListed
	}
	return min(n, maxListed)
}

func (d *desk) queue(ctx context.Context, _ control.Actor, r QueueRequest) (any, error) {
	var names []string
	for name := range d.workers {
		if r.Destination == "" || r.Destination == name {
			names = append(names, name)
		}
	}
	if len(names) == 0 && r.Destination != "" {
		return nil, control.Unknown("there is no destination %q", r.Destination)
	}
	slices.Sort(names)
	answer := QueueAnswer{Destinations: []DestinationQueue{}}
	for _, name := range names {
		w := d.workers[name]
		items, err := w.Queued(ctx, limit(r.Limit))
		if err != nil {
			return nil, err
		}
		link := w.Link()
		q := DestinationQueue{Destination: name, State: link.State, Why: link.Why.In(reason.English), Depth: w.Depth(), Items: []QueuedItem{}}
		q.Held, q.Behind, q.Unanswered = w.Counts()
		if link.Pause.Paused() {
			q.Pause = &link.Pause
		}
		for _, it := range items {
			x := QueuedItem{ID: queuedID(name, it.Seq), Name: it.ID, What: it.What, Subject: it.Of, State: it.State.String(),
				Queued: it.At, Since: it.Since, Attempts: it.Attempts, Reason: it.Reason.In(reason.English)}
			if it.Behind > 0 {
				x.Behind = queuedID(name, it.Behind)
			}
			q.Items = append(q.Items, x)
		}
		answer.Destinations = append(answer.Destinations, q)
	}
	return answer, nil
}

func queuedID(destination string, seq uint64) string {
	return fmt.Sprintf("%s/%d", delivery.Queue(destination), seq)
}

func (d *desk) held(_ context.Context, _ control.Actor, r QueueRequest) (any, error) {
	n := limit(r.Limit)
	answer := HeldAnswer{Held: []QueuedItem{}}
	if r.Destination == "" {
		items, err := d.store.Items(intake.HeldQueue, 0, n)
		if err != nil {
			return nil, err
		}
		for _, it := range items {
			t, err := intake.DecodeHeldTicket(it.Value)
			if err != nil {
				t.Reason = reason.New(reason.Damaged, err.Error())
			}
			answer.Held = append(answer.Held, QueuedItem{ID: fmt.Sprintf("%s/%d", intake.HeldQueue, it.Seq), What: it.Group, Subject: t.Subject,
				State: delivery.Held.String(), Queued: it.At, Since: it.At, Reason: t.Reason.In(reason.English)})
		}
	}
	for name, w := range d.workers {
		if r.Destination != "" && r.Destination != name {
			continue
		}
		for _, it := range w.Held(n) {
			answer.Held = append(answer.Held, QueuedItem{ID: queuedID(name, it.Seq), Name: it.ID, What: it.What, Subject: it.Of,
				State: delivery.Held.String(), Queued: it.At, Since: it.Since, Reason: it.Reason.In(reason.English), Count: it.Behind})
		}
	}
	slices.SortStableFunc(answer.Held, func(a, b QueuedItem) int { return a.Since.Compare(b.Since) })
	return answer, nil
}

// Acts opens the store of a configuration whose gateway does not run, and gives the
// acts on it. storage.ErrInUse: it runs after all. close ends it.
func Acts(ctx context.Context, cfg *config.Config, log *slog.Logger) (acts *control.Acts, done func() error, err error) {
	s, err := storage.Open(ctx, storage.Options{Dir: cfg.Site.Data, Log: log, Disk: diskguard.System})
	if err != nil {
		return nil, nil, err
	}
	g := &Gateway{cfg: cfg, log: log, store: s, workers: map[string]*delivery.Worker{}, routes: routes(cfg)}
	for _, d := range cfg.Destinations {
		g.workers[d.Name] = g.worker(d)
	}
	for name := range waitingIn(s) {
		if g.workers[name] == nil { // no longer in the configuration
			g.workers[name] = &delivery.Worker{Destination: name, Store: s, Policy: delivery.DefaultPolicy(), Log: log}
		}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	for _, w := range g.workers {
		w.Senders, w.Expire = nil, 0
		wg.Go(func() { _ = w.Run(ctx) }) // an act says what failed
	}
	acts = control.New(log)
	g.desk().register(acts)
	if err := g.openForActs(); err != nil {
		log.Error("no acts on maps of fields", "error", err)
	} else {
		g.mapDesk().register(acts)
		g.codesDesk().register(acts)
	}
	return acts, func() error {
		cancel()
		wg.Wait()
		return s.Close()
	}, nil
}

func (g *Gateway) desk() *desk {
	return &desk{store: g.store, lab: g.lab, workers: g.workers, log: g.log}
}
