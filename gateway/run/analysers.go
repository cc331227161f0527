package run

import (
	"context"
	"errors"
	"time"

	"nhip/drivers/astm/e1381"
	"nhip/drivers/astm/tokens"
	"nhip/drivers/port"
	"nhip/drivers/profile"
	"nhip/drivers/resultfile"
	"nhip/drivers/session"
	"nhip/gateway/config"
	"nhip/gateway/interpret"
	"nhip/gateway/reason"
	"nhip/gateway/record"
)

// startAnalyser serves one analyser by the protocol of its profile.
func (g *Gateway) startAnalyser(a config.Analyser) {
	link := device{g: g, name: a.Name, kind: interpret.Analyser}
	p, work := g.profiles[a.Profile], g.workFor(a)
	listener := "analyser " + a.Name
	const conns = 2 // a new one beside an old one that drains
	switch {
	case p.Protocol() == profile.HL7, p.Protocol() == profile.LAW:
		asker := &hl7Asker{device: link, dialect: p.HL7Dialect(), orders: work}
		link.asked = asker.asked
		g.openPort(listener, link, a.Port, a.Address, 0, link.mllp)
	case p.Protocol() == profile.File:
		g.watchFolder(listener, a, link)
	case p.Protocol() == profile.ASTM && !p.Tokens():
		g.openPort(listener, link, a.Port, a.Address, conns, g.astm(a, p, link, work))
	default:
		g.openPort(listener, link, a.Port, a.Address, conns, func(ctx context.Context, c port.Conn) error {
			h := coreHandler{astmHandler{g.in.Text(a.Name, c.Peer()), link}}
			core := p.Core()
			if p.Tokens() {
				h.ASTM = g.in.ASTM(a.Name, c.Peer())
				core = tokens.NewLink(tokens.Options{Queries: p.Queries, Answer: g.answers(p), Within: p.Deadline()})
			}
			return session.Serve(ctx, c, core, session.Options{Handler: h, Orders: work, Log: g.log.With("analyser", a.Name)})
		})
	}
}

// workFor is where the work of an analyser is looked up; nil: it is given none.
func (g *Gateway) workFor(a config.Analyser) session.Orders {
	if g.work == nil || a.Orders == "none" {
		return nil
	}
	return g.work(a)
}

func (g *Gateway) answers(p *profile.Profile) func([]byte, record.Query, []record.Work) ([]byte, error) {
	return func(message []byte, q record.Query, work []record.Work) ([]byte, error) {
		return p.Answer(message, q, work, g.now())
	}
}

// astm serves LIS01: queries that come are answered in sessions of our own.
func (g *Gateway) astm(a config.Analyser, p *profile.Profile, link device, work session.Orders) port.Handler {
	return func(ctx context.Context, c port.Conn) error {
		log := g.log.With("analyser", a.Name)
		h := astmHandler{g.in.ASTM(a.Name, c.Peer()), link}
		if work == nil || !p.Asks() || !p.Answers() {
			return e1381.Serve(ctx, c, e1381.ServeOptions{Handler: h, Dialect: p.Dialect(), Log: log})
		}
		box := &e1381.Outbox{}
		asker := newASTMAsker(astmAsker{device: link, profile: p, orders: work, box: box})
		defer asker.stop()
		return e1381.Serve(ctx, c, e1381.ServeOptions{Handler: askingHandler{h, asker}, Dialect: p.Dialect(), Outbox: box, Log: log})
	}
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

	queries chan astmQuery
	ctx     context.Context
	cancel  context.CancelFunc
	done    chan struct{}
}

type astmQuery struct {
	message []byte
	query   record.Query
	until   time.Time
}

func newASTMAsker(a astmAsker) *astmAsker {
	a.queries, a.done = make(chan astmQuery, 64), make(chan struct{})
	a.ctx, a.cancel = context.WithCancel(a.g.ctx)
	go a.run()
	return &a
}

func (a *astmAsker) stop() {
	a.cancel()
	<-a.done
}

// ask takes the queries of a message. The time that the analyser waits begins now.
func (a *astmAsker) ask(message []byte) {
	for _, q := range a.profile.Queries(message) {
		if q.Cancel {
			continue
		}
		select {
		case a.queries <- astmQuery{message, q, time.Now().Add(a.profile.Deadline())}:
		default:
			a.g.log.Error("query not answered: too many wait", "analyser", a.name)
		}
	}
}

func (a *astmAsker) run() {
	defer close(a.done)
	for {
		select {
		case <-a.ctx.Done():
			return
		case q := <-a.queries:
			a.answer(q)
		}
	}
}

// answer looks up the work and puts the answer into the outbox.
func (a *astmAsker) answer(q astmQuery) {
	ctx, cancel := context.WithDeadline(a.ctx, q.until)
	defer cancel()
	work, err := a.orders.Work(ctx, q.query)
	if err == nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		a.g.log.Error("query not answered", "analyser", a.name, "error", err)
		return
	}
	records, err := a.profile.Answer(q.message, q.query, work, a.g.now())
	if err != nil || records == nil {
		if err != nil {
			a.orders.Handed(q.query, work, err)
		}
		return
	}
	handed := func(err error) { a.orders.Handed(q.query, work, err) }
	if err := a.box.Put(e1381.Outgoing{Frames: a.profile.Frames(records), Done: handed}); err != nil {
		handed(err)
	}
}

// coreHandler is the intake of a protocol with a core of its own.
type coreHandler struct{ astmHandler }

func (h coreHandler) Store(ctx context.Context, messages [][]byte) error {
	all := make([]e1381.Message, len(messages))
	for i, m := range messages {
		all[i] = e1381.Message{Records: m, Frames: 1}
	}
	return h.astmHandler.Store(ctx, all)
}

func (h coreHandler) Incomplete(ctx context.Context, message []byte, why string) error {
	return h.astmHandler.Incomplete(ctx, e1381.Message{Records: message}, why)
}

// watchFolder takes the result files of an analyser.
func (g *Gateway) watchFolder(listener string, a config.Analyser, link device) {
	address, err := port.Parse(a.Port)
	if err != nil || address.Folder() == "" { // the configuration was checked
		g.states.failed(listener, reason.Text("port: file:///FOLDER is needed"))
		return
	}
	w := &resultfile.Watcher{
		Folder: address.Folder(), Match: address.Match(),
		Handler: coreHandler{astmHandler{g.in.Text(a.Name, address.Folder()), link}},
		Log:     g.log.With("analyser", a.Name),
		State: func(ok bool, words string) {
			if ok {
				g.states.set(link.name, link.kind, "connected", address.Folder())
				return
			}
			g.states.fail(link.name, link.kind, "failed", reason.Text(words))
		},
	}
	g.states.set(link.name, link.kind, "waiting", "")
	g.wg.Go(func() {
		if err := w.Run(g.ctx); err != nil && !errors.Is(err, context.Canceled) {
			g.log.Error("folder of results", "analyser", a.Name, "error", err)
		}
	})
}
