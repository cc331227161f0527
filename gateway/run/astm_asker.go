package run

import (
	"context"
	"slices"
	"sync"
	"time"

	"nhip/drivers/astm/e1381"
	"nhip/drivers/port"
	"nhip/drivers/profile"
	"nhip/drivers/session"
	"nhip/gateway/config"
	"nhip/gateway/record"
)

// astm serves LIS01: queries that come are answered in sessions of our own, and what the
// analyser is to be told without asking is sent in others.
func (g *Gateway) astm(a config.Analyser, p *profile.Profile, link device, work session.Orders) port.Handler {
	return func(ctx context.Context, c port.Conn) error {
		o := e1381.ServeOptions{Handler: astmHandler{g.in.ASTM(a.Name, c.Peer()), link}, Dialect: p.Dialect(), Log: g.log.With("analyser", a.Name)}
		asks, told := work != nil && p.Asks() && p.Answers(), pushes(a, p)
		if asks || told {
			o.Outbox = &e1381.Outbox{}
		}
		if asks {
			asker := newASTMAsker(&astmAsker{device: link, profile: p, orders: work, box: o.Outbox})
			defer asker.stop()
			o.Handler = askingHandler{astmHandler{g.in.ASTM(a.Name, c.Peer()), link}, asker}
		}
		if told {
			stop := g.beside(func(ctx context.Context) { g.pushASTM(ctx, g.pushers[a.Name], p, o.Outbox) })
			defer stop()
		}
		return e1381.Serve(ctx, c, o)
	}
}

// beside runs f until stop is called, which waits for its end.
func (g *Gateway) beside(f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(g.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	return func() { cancel(); <-done }
}

// askingHandler passes the queries of what was stored on.
type askingHandler struct {
	astmHandler
	asker *astmAsker
}

func (h askingHandler) Store(ctx context.Context, messages []e1381.Message) error {
	if err := h.astmHandler.Store(ctx, messages); err != nil {
		return err
	}
	for _, m := range messages {
		h.asker.ask(m.Records)
	}
	return nil
}

// An astmAsker answers the queries of one connection, one after the other, while the
// line goes on receiving.
type astmAsker struct {
	device
	profile *profile.Profile
	orders  session.Orders
	box     *e1381.Outbox

	mu      sync.Mutex
	open    []*astmQuery // of which the answer has not been begun, the oldest first
	arrived chan struct{}
	end     func()
}

// An astmQuery is a query that waits for its answer.
type astmQuery struct {
	message []byte
	query   record.Query
	until   time.Time
	item    *e1381.Waiting // its answer in the outbox; nil: it has not been looked up
	given   []record.Work  // what the answer has
}

// mostAsked is how many queries may wait.
const mostAsked = 64

func newASTMAsker(a *astmAsker) *astmAsker {
	a.arrived = make(chan struct{}, 1)
	a.end = a.g.beside(a.run)
	return a
}

func (a *astmAsker) stop() { a.end() }

// ask takes the queries of a message. The time that the analyser waits begins now. A
// query that comes again before it was answered is answered once, and one that is
// withdrawn not at all.
func (a *astmAsker) ask(message []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, q := range a.profile.Queries(message) {
		if q.Cancel {
			a.withdraw(q)
			continue
		}
		a.drop(func(o *astmQuery) bool { return sameQuery(o.query, q) })
		if len(a.open) == mostAsked {
			a.g.log.Error("query not answered: too many wait", "analyser", a.name)
			continue
		}
		a.open = append(a.open, &astmQuery{message: message, query: q, until: time.Now().Add(a.profile.Deadline())})
	}
	select {
	case a.arrived <- struct{}{}:
	default:
	}
}

// sameQuery reports whether two queries ask for the same.
func sameQuery(a, b record.Query) bool {
	return slices.Equal(a.Specimens, b.Specimens) && a.All == b.All && a.Rack == b.Rack && a.Position == b.Position && slices.Equal(a.Tests, b.Tests)
}

// withdraw takes back what a query says is not asked for any more: its specimens, or
// all. mu is held.
func (a *astmAsker) withdraw(q record.Query) {
	if len(q.Specimens) == 0 {
		a.drop(func(*astmQuery) bool { return true })
		return
	}
	for _, o := range a.open {
		o.query.Specimens = slices.DeleteFunc(slices.Clone(o.query.Specimens), func(id string) bool { return slices.Contains(q.Specimens, id) })
	}
	a.drop(func(o *astmQuery) bool {
		return len(o.query.Specimens) == 0 && !o.query.All && o.query.Rack+o.query.Position == ""
	})
}

// drop forgets queries whose answer has not been begun. mu is held.
func (a *astmAsker) drop(which func(*astmQuery) bool) {
	a.open = slices.DeleteFunc(a.open, func(o *astmQuery) bool {
		if !which(o) {
			return false
		}
		if o.item != nil {
			o.item.Withdraw() // where the line is bid for already, frames finds it gone
		}
		return true
	})
}

func (a *astmAsker) run(ctx context.Context) {
	for {
		q := a.next()
		if q != nil {
			a.answer(ctx, q)
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-a.arrived:
		}
	}
}

// next is the oldest query that was not looked up.
func (a *astmAsker) next() *astmQuery {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, q := range a.open {
		if q.item == nil {
			return q
		}
	}
	return nil
}

// answer finds out whether there is something to answer, and puts it into the outbox.
func (a *astmAsker) answer(ctx context.Context, q *astmQuery) {
	records, _ := a.look(ctx, q)
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Contains(a.open, q) { // withdrawn meanwhile
		return
	}
	if records != nil {
		var err error
		q.item, err = a.box.Add(e1381.Outgoing{
			Make: func() []e1381.Frame { return a.frames(ctx, q) },
			Done: func(err error) { a.orders.Handed(q.query, q.given, err) },
		})
		if err == nil {
			return
		}
		a.g.log.Error("query not answered", "analyser", a.name, "error", err)
	}
	a.drop(func(o *astmQuery) bool { return o == q })
}

// frames are the answer as the orders are now; none where the query was withdrawn or
// its time is over.
func (a *astmAsker) frames(ctx context.Context, q *astmQuery) []e1381.Frame {
	a.mu.Lock()
	i := slices.Index(a.open, q)
	if i >= 0 {
		a.open = slices.Delete(a.open, i, i+1)
	}
	a.mu.Unlock()
	if i < 0 {
		return nil
	}
	records, work := a.look(ctx, q)
	if records == nil {
		return nil
	}
	q.given = work
	return a.profile.Frames(records)
}

// look looks up the work for a query and writes the answer; nil: none is to be given.
func (a *astmAsker) look(ctx context.Context, q *astmQuery) ([]byte, []record.Work) {
	ctx, cancel := context.WithDeadline(ctx, q.until)
	defer cancel()
	a.mu.Lock()
	query := q.query
	a.mu.Unlock()
	work, err := a.orders.Work(ctx, query)
	if err == nil {
		err = ctx.Err()
	}
	var records []byte
	if err == nil {
		records, err = a.profile.Answer(q.message, query, work, a.g.now())
	}
	if err != nil {
		a.g.log.Error("query not answered", "analyser", a.name, "error", err)
		return nil, nil
	}
	return records, work
}
