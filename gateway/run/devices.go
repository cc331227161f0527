package run

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"nhip/drivers/astm/e1381"
	"nhip/drivers/monitor"
	"nhip/drivers/port"
	"nhip/gateway/config"
	"nhip/gateway/intake"
	"nhip/gateway/interpret"
	"nhip/gateway/lis"
	"nhip/gateway/reason"
	"nhip/hl7"
	"nhip/hl7/mllp"
	"nhip/storage"
)

// startAnalysers opens the port of every analyser.
func (g *Gateway) startAnalysers() {
	for _, a := range g.cfg.Analysers {
		link := device{g: g, name: a.Name, kind: interpret.Analyser}
		handle := func(ctx context.Context, c port.Conn) error {
			return e1381.Serve(ctx, c, e1381.ServeOptions{
				Handler: astmHandler{g.in.ASTM(a.Name, c.Peer()), link},
				Log:     g.log.With("analyser", a.Name),
			})
		}
		conns := 2 // a new one beside an old one that drains
		if g.profiles[a.Profile].Protocol() == "hl7" {
			handle, conns = link.mllp, 0
		}
		g.openPort("analyser "+a.Name, link, a.Port, a.Address, conns, handle)
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
	bed        *bed // of a monitor that speaks HL7
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
	return d.g.foreign(mllp.Serve(ctx, c, mllp.ServeOptions{
		MaxFrame:     int(d.g.cfg.HL7.MaxMessage),
		FrameTimeout: d.g.frame,
		Log:          d.g.log.With(d.kind, d.name),
		TooLong:      d.g.tooLong,
		Handler: func(ctx context.Context, frame []byte) ([]byte, error) {
			m, err := hl7.Parse(frame)
			return d.g.hl7Message(ctx, d, true, c.Peer(), m, err)
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

// judge is lis.Judge, and for a monitor whether the message is for its bed.
func (d device) judge(m *hl7.Message, isDevice bool, peer string) lis.Verdict {
	v := lis.Judge(m, isDevice)
	if d.bed == nil || v.Code != hl7.ApplicationAccept {
		return v
	}
	location := monitor.Location(m)
	if d.bed.takes(location) {
		return v
	}
	d.g.strangers.refused(config.Stranger{Kind: d.kind, Device: d.name, Address: host(peer), Location: location}, reason.New(reason.SendHL7))
	return lis.Verdict{Code: hl7.ApplicationReject, Errors: []hl7.Error{{
		Location: "PV1-3", Code: hl7.ErrorApplication, Severity: hl7.SeverityError, Text: "this connection is for one bed, and the message is for another one"}}}
}

// refusedAs is a refusal in words for the log. The answer quotes the field and
// the log does not: where the fields of a message have slipped it may be a name.
func refusedAs(e hl7.Error) string {
	switch e.Code {
	case hl7.ErrorType:
		return "message type not supported (200)"
	case hl7.ErrorEvent:
		return "event not supported (201)"
	case hl7.ErrorVersion:
		return "version not supported (203)"
	}
	return e.Text
}

// hl7Message stores one message of a link, as hl7.Parse has it, and says what it
// is answered. An acknowledgement is logged and never answered.
func (g *Gateway) hl7Message(ctx context.Context, d device, isDevice bool, peer string, m *hl7.Message, err error) ([]byte, error) {
	var bad *hl7.ParseError
	if errors.As(err, &bad) {
		g.log.Warn("message refused", "connection", d.name, "reason", err)
		g.strangers.count()
		if m == nil {
			return nil, err // no header to answer to: closed
		}
		v := lis.Verdict{Code: hl7.ApplicationReject, Errors: []hl7.Error{{Location: bad.Location, Code: bad.Code, Severity: hl7.SeverityError, Text: bad.Reason}}}
		return mllp.Join(lis.Answers(m, v, g.ackID.next, g.now())), nil
	}
	if m.IsAcknowledgement() {
		g.log.Warn("an acknowledgement came on an input: not answered", "connection", d.name)
		return nil, nil
	}
	g.states.seen(d.name, d.kind)
	v := d.judge(m, isDevice, peer)
	answer := mllp.Join(lis.Answers(m, v, g.ackID.next, g.now()))
	switch v.Code {
	case hl7.ApplicationReject:
		g.log.Warn("message refused", "connection", d.name, "field", v.Errors[0].Location, "reason", refusedAs(v.Errors[0]))
		g.strangers.count()
		return answer, nil
	case hl7.ApplicationError:
		g.log.Warn("message held", "connection", d.name, "reason", v.Errors[0].Text)
		if err := g.in.Hold(ctx, intake.KindHL7, d.name, peer, m.Bytes(), messageType(m), reason.New(reason.NoControlID)); err != nil {
			return g.notStored(m, d, err), nil
		}
		return answer, nil
	}
	stored, err := g.in.HL7(ctx, d.name, peer, m.ControlID(), m.Bytes(), map[string]string{"type": messageType(m)}, answer)
	if err != nil {
		return g.notStored(m, d, err), nil
	}
	return stored, nil
}

func messageType(m *hl7.Message) string {
	code, event, _ := m.Type()
	return code + "^" + event
}

// notStored is the answer while the store takes nothing: the sender keeps the
// message and sends it again.
func (g *Gateway) notStored(m *hl7.Message, d device, err error) []byte {
	g.log.Error("message not stored, answered AR 207", "connection", d.name, "error", err)
	why := "the message could not be stored: send it again later"
	if errors.Is(err, storage.ErrDiskFull) {
		why = "the disk of the gateway is too full: send it again later"
		g.strangers.count()
	}
	v := lis.Verdict{Code: hl7.ApplicationReject, Errors: []hl7.Error{{Code: hl7.ErrorApplication, Severity: hl7.SeverityError, Text: why}}}
	return mllp.Join(lis.Answers(m, v, g.ackID.next, g.now()))
}

// tooLong is the answer to a frame over the limit, as far as its header is
// there.
func (g *Gateway) tooLong(head []byte) []byte {
	g.strangers.count()
	m, err := hl7.Parse(head)
	if m == nil {
		g.log.Warn("frame over the limit without a readable header", "error", err)
		return nil
	}
	return hl7.Ack(m, hl7.ApplicationReject, hl7.AckOptions{ControlID: g.ackID.next(), Now: g.now(), Application: "NHIP", Errors: []hl7.Error{{
		Code: hl7.ErrorApplication, Severity: hl7.SeverityError, Text: fmt.Sprintf("the message is longer than %d bytes", g.cfg.HL7.MaxMessage)}}})
}

// now is the time in the site's zone.
func (g *Gateway) now() time.Time { return time.Now().In(g.cfg.Site.TimeZone) }
