package run

import (
	"context"
	"errors"

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
	p, work := g.profileOf(a), g.workFor(a)
	listener := "analyser " + a.Name
	const conns = 2 // a new one beside an old one that drains
	switch {
	case p.Protocol() == profile.HL7, p.Protocol() == profile.LAW:
		asker := &hl7Asker{device: link, dialect: p.HL7Dialect(), orders: work}
		link.asked, link.charset = asker.asked, p.Charset()
		if pushes(a, p) {
			asker.pusher = g.pushers[a.Name]
			link.opened = asker.opened
		}
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
	if g.work == nil || !a.Queries() {
		return nil
	}
	return g.work(a)
}

func (g *Gateway) answers(p *profile.Profile) func([]byte, record.Query, []record.Work) ([]byte, error) {
	return func(message []byte, q record.Query, work []record.Work) ([]byte, error) {
		return p.Answer(message, q, work, g.now())
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
