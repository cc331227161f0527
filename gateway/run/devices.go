package run

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	"nhip/drivers/astm/e1381"
	"nhip/drivers/monitor"
	"nhip/drivers/port"
	"nhip/gateway/config"
	"nhip/gateway/intake"
	"nhip/gateway/interpret"
	"nhip/gateway/reason"
	"nhip/hl7"
	"nhip/hl7/ack"
	"nhip/hl7/mllp"
)

// startAnalysers opens the port of every analyser.
func (g *Gateway) startAnalysers() {
	for _, a := range g.cfg.Analysers {
		g.startAnalyser(a)
	}
}

// astmHandler notes what came beside storing it.
type astmHandler struct {
	*intake.ASTM
	link device
}

func (h astmHandler) Store(ctx context.Context, m []e1381.Message) error {
	if err := h.ASTM.Store(ctx, m); err != nil {
		h.link.g.log.Error("not stored, answered NAK", "analyser", h.link.name, "error", err)
		return err
	}
	h.link.g.states.seen(h.link.name, h.link.kind)
	return nil
}

func (h astmHandler) Incomplete(ctx context.Context, m e1381.Message, reason string) error {
	h.link.g.log.Warn("incomplete message held", "analyser", h.link.name, "bytes", len(m.Records), "reason", reason)
	return h.ASTM.Incomplete(context.WithoutCancel(ctx), m, reason)
}

// openPort keeps the port of a device open, for as many connections at once (0:
// the default of package port).
func (g *Gateway) openPort(listener string, d device, text string, allowed []netip.Prefix, conns int, handle port.Handler) {
	a, err := port.Parse(text)
	if err != nil { // the configuration was checked
		g.states.failed(listener, reason.Text(err.Error()))
		return
	}
	o := port.Options{
		Log:      g.log.With(d.kind, d.name),
		MaxConns: conns,
		State:    func(s port.State) { d.state(s, a) },
	}
	if d.kind == interpret.Analyser {
		o.Watch = func(sent bool, b []byte) { g.states.saw(d.name, d.kind, sent, b) }
	}
	if len(allowed) > 0 {
		o.Allow = func(peer netip.Addr) bool {
			if config.Contains(allowed, peer) {
				return true
			}
			g.strangers.refused(config.Stranger{Kind: d.kind, Device: d.name, Address: peer.String()}, reason.New(reason.UsePort, d.name))
			return false
		}
	}
	g.states.set(d.name, d.kind, "waiting", "")
	g.keepOpen(listener, func() ([]string, func(context.Context) error, error) {
		p, err := port.Open(g.ctx, a, o)
		if err != nil {
			g.states.fail(d.name, d.kind, "failed", reason.Listen(err))
			return nil, nil, err
		}
		return []string{p.Addr()}, func(ctx context.Context) error { return p.Serve(ctx, handle) }, nil
	})
}

// A device is a connection of the configuration that brings something.
type device struct {
	g          *Gateway
	name, kind string
	bed        *bed            // of a monitor that speaks HL7
	charset    hl7.CharsetRule // of an analyser whose names are in another set than it declares
	// asked takes the messages that an analyser asks for work with; nil: none are.
	asked func(ctx context.Context, peer string, m *hl7.Message) (answer []byte, taken bool)
	// opened is given every new connection, to send on; closed is called at its end. nil:
	// nothing is sent but answers.
	opened func(ctx context.Context, to *mllp.Peer) (closed func())
}

// state notes what became of the port.
func (d device) state(s port.State, a port.Address) {
	switch s.Kind {
	case "connected":
		d.g.states.set(d.name, d.kind, s.Kind, s.Peer)
	case "absent":
		d.g.states.set(d.name, d.kind, s.Kind, a.Device())
	case "listening", "dialling":
		d.g.states.set(d.name, d.kind, s.Kind, a.HostPort())
	default:
		d.g.states.fail(d.name, d.kind, s.Kind, portReason(s, a))
	}
	if d.kind == interpret.Monitor {
		d.g.vitals.connected(d.name, s.Kind == "connected")
	}
}

// portReason says why a port does not work; drivers say it in words.
func portReason(s port.State, a port.Address) reason.Reason {
	switch {
	case s.Kind == "refused" && s.Peer != "": // a listener refused this peer
		return reason.New(reason.StrangerRefused, s.Peer)
	case s.Kind == "refused":
		return reason.New(reason.NothingListens)
	case a.Serial() && strings.HasSuffix(s.Words, "in use by another program"):
		return reason.New(reason.SerialTaken)
	case a.Serial() && strings.Contains(s.Words, "permission denied"):
		return reason.New(reason.SerialNotPermitted)
	}
	return reason.Text(s.Words)
}

// mllp serves a device that speaks HL7. Who it is follows from the port.
func (d device) mllp(ctx context.Context, c port.Conn) error {
	l := d.link()
	var opened func(*mllp.Peer)
	if d.opened != nil {
		var closed func()
		opened = func(to *mllp.Peer) { closed = d.opened(ctx, to) }
		defer func() { closed() }()
	}
	return d.g.foreign(mllp.Serve(ctx, c, mllp.ServeOptions{
		Opened:       opened,
		MaxFrame:     int(l.peer.MaxMessage),
		FrameTimeout: d.g.frame,
		Log:          d.g.log.With(d.kind, d.name),
		TooLong:      l.tooLong,
		Handler: func(ctx context.Context, frame []byte) ([]byte, error) {
			m, err := hl7.ParseWithin(frame, l.limits())
			if d.asked != nil && err == nil {
				if answer, taken := d.asked(ctx, c.Peer(), m); taken {
					return answer, nil
				}
			}
			return l.message(ctx, origin{address: c.Peer()}, m, err)
		},
	}))
}

// foreign counts a connection that was closed because it brought no HL7.
func (g *Gateway) foreign(err error) error {
	if errors.Is(err, mllp.ErrNotHL7) || errors.Is(err, mllp.ErrForeign) || errors.Is(err, mllp.ErrJunk) {
		g.strangers.count()
	}
	return err
}

// ofBed is the verdict on a monitor's message by the bed that it is for.
func (d device) ofBed(m *hl7.Message, v ack.Verdict, peer string) ack.Verdict {
	location := monitor.Location(m)
	if d.bed.takes(location) {
		return v
	}
	d.g.strangers.refused(config.Stranger{Kind: d.kind, Device: d.name, Address: host(peer), Location: location}, reason.New(reason.SendHL7))
	return ack.Verdict{Code: hl7.ApplicationReject, Errors: []hl7.Error{{
		Location: "PV1-3", Code: hl7.ErrorApplication, Severity: hl7.SeverityError, Text: "this connection is for one bed, and the message is for another one"}}}
}
