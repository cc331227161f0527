package run

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"nhip/drivers/monitor"
	"nhip/drivers/port"
	"nhip/gateway/config"
	"nhip/gateway/intake"
	"nhip/gateway/interpret"
	"nhip/gateway/lis"
	"nhip/gateway/record"
	"nhip/gateway/vitals"
	"nhip/hl7"
	"nhip/hl7/ack"
	"nhip/hl7/mllp"
)

// startMonitors opens the port of every monitor.
func (g *Gateway) startMonitors() {
	for _, m := range g.cfg.Monitors {
		link := device{g: g, name: m.Name, kind: interpret.Monitor, bed: &bed{location: m.Location}}
		p, _ := monitor.Lookup(m.Profile) // connections has looked
		handle := link.mllp
		switch {
		case p.Protocol == monitor.ProtocolLine:
			handle = func(ctx context.Context, c port.Conn) error {
				return monitor.Serve(ctx, c, p.Lines(g.source(m)), 0, func(ctx context.Context, l monitor.Line) error {
					return g.line(ctx, m, c.Peer(), l)
				})
			}
		case m.Class == config.ClassLive:
			handle = func(ctx context.Context, c port.Conn) error { return g.liveMLLP(ctx, m, link, c) }
		}
		g.openPort("monitor "+m.Name, link, m.Port, m.Address, 0, handle)
	}
}

// A bed is the one location (PV1-3) that a connection speaks for. A central
// station that sends several beds over one connection would else put several
// patients' readings under one topic.
type bed struct {
	mu       sync.Mutex
	location string // as configured, or the first that was named since the start
}

// takes reports whether a message is for this bed. One that names none is.
func (b *bed) takes(location string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.location == "" {
		b.location = location
	}
	return location == "" || location == b.location
}

// source is what a monitor's messages do not say of themselves.
func (g *Gateway) source(m config.Monitor) monitor.Source {
	return monitor.Source{Device: record.Device{Connection: m.Name, Profile: m.Profile}, Unit: m.Unit, Zone: g.cfg.Location(m.TimeZone)}
}

// line takes one line of a serial monitor. Nobody there waits for an answer.
func (g *Gateway) line(ctx context.Context, m config.Monitor, peer string, l monitor.Line) error {
	switch l.Kind {
	case monitor.LineHeader:
		return nil
	case monitor.LineUnreadable, monitor.LineTooLong:
		g.strangers.count()
		g.log.Warn("line not readable", "monitor", m.Name, "bytes", len(l.Raw))
		return nil
	}
	g.states.seen(m.Name, interpret.Monitor)
	if m.Class == config.ClassLive {
		g.vitals.observed(m.Name, time.Now(), l.Observations)
		return nil
	}
	return g.in.Observation(ctx, intake.KindObservation, m.Name, peer, l.Raw, nil)
}

// liveMLLP serves a monitor whose readings are for displays: answered, and not
// stored.
func (g *Gateway) liveMLLP(ctx context.Context, m config.Monitor, d device, c port.Conn) error {
	l := d.link()
	return g.foreign(mllp.Serve(ctx, c, mllp.ServeOptions{
		MaxFrame: int(l.peer.MaxMessage), Log: g.log.With("monitor", m.Name), TooLong: l.tooLong,
		Handler: func(_ context.Context, frame []byte) ([]byte, error) {
			msg, err := hl7.ParseWithin(frame, l.limits())
			if msg == nil {
				return nil, err
			}
			if msg.IsAcknowledgement() {
				return nil, nil
			}
			v := d.judge(msg, true, false, c.Peer())
			if err != nil {
				v = ack.Verdict{Code: hl7.ApplicationReject, Errors: []hl7.Error{{Code: hl7.ErrorApplication, Severity: hl7.SeverityError, Text: err.Error()}}}
			}
			if v.Code == hl7.ApplicationAccept {
				g.states.seen(m.Name, interpret.Monitor)
				if r, err := monitor.ORU(msg, g.source(m)); err == nil {
					g.vitals.observed(m.Name, time.Now(), r.Observations)
				}
			} else {
				g.strangers.count()
			}
			return l.reply(l.answers, msg, v.Good(), v, nil), nil
		},
	}))
}

// monitorConnection says how what a monitor sent is read and sent on.
func (g *Gateway) monitorConnection(m config.Monitor) (interpret.Connection, error) {
	p, ok := monitor.Lookup(m.Profile)
	if !ok {
		return interpret.Connection{}, fmt.Errorf("monitor %s: there is no profile %s", m.Name, m.Profile)
	}
	c := interpret.Connection{Name: m.Name, Kind: interpret.Monitor, Zone: g.cfg.Location(m.TimeZone)}
	source := g.source(m)
	if p.Protocol == monitor.ProtocolLine {
		c.Observe = func(body []byte, _ time.Time) ([]record.Observation, error) {
			lines := p.Lines(source).Receive(append(append([]byte(nil), body...), '\r'))
			if len(lines) != 1 || lines[0].Kind != monitor.LineReading {
				return nil, errors.New("the stored line is no reading of this profile")
			}
			return lines[0].Observations, nil
		}
		c.Render = func(_ []byte, obs []record.Observation, ends lis.Ends, controlID string, received time.Time) ([]byte, error) {
			return vitals.ORU(obs, m.Unit, m.Name, ends, controlID, received.In(c.Zone))
		}
		return c, nil
	}
	c.Observe = func(body []byte, _ time.Time) ([]record.Observation, error) {
		msg, err := hl7.Parse(body)
		if err != nil {
			return nil, err
		}
		r, err := monitor.ORU(msg, source)
		if errors.Is(err, monitor.ErrNotObservations) {
			return nil, nil
		}
		return r.Observations, err
	}
	// The monitor's own message goes on, under a control ID of ours: many
	// monitors give all their messages the same one.
	c.Render = func(body []byte, _ []record.Observation, _ lis.Ends, controlID string, _ time.Time) ([]byte, error) {
		msg, err := hl7.Parse(append([]byte(nil), body...))
		if err != nil {
			return nil, err
		}
		if err := msg.Set("MSH-10", controlID); err != nil {
			return nil, err
		}
		return msg.Bytes(), nil
	}
	return c, nil
}
