package interpret

import (
	"slices"
	"time"

	"nhip/gateway/intake"
	"nhip/gateway/mapping"
	"nhip/gateway/mapping/live"
	"nhip/gateway/reason"
	"nhip/hl7"
)

// Filtered is the kind of consumed messages that a map of fields does not send.
const Filtered = "filtered"

// mapFrom applies the map of a system to what it sent. ok is false where the message
// goes no further.
func (r *reader) mapFrom(o *outcome, c Connection, body []byte, at time.Time) (changed []byte, ok bool) {
	m := r.maps.Live(live.From(c.Name))
	if m == nil {
		return body, true
	}
	if m.Broken != nil {
		o.hold("", reason.MapUnusable, c.Name, m.Broken.Error())
		return nil, false
	}
	x := m.Apply(body, c.Charset, at.In(r.zone(c)))
	switch {
	case x.Held != nil:
		o.held = append(o.held, held{why: x.Held.Why})
	case x.Dropped != nil:
		o.filter(c.Name, x.Dropped)
	default:
		return x.Body, true
	}
	return nil, false
}

// zone is that of a connection; what the gateway itself tells has none of its own.
func (r *reader) zone(c Connection) *time.Location {
	switch {
	case c.Zone != nil:
		return c.Zone
	case r.knows.Zone != nil:
		return r.knows.Zone
	}
	return time.UTC
}

// filter counts what a map does not send, by its rule.
func (o *outcome) filter(link string, by *mapping.Stop) {
	o.consume(Filtered, 1)
	o.note("filtered: "+link+": "+by.Rule, 1)
}

// mapTo applies the maps of the destinations to what is to be sent to them. What a map
// cannot be applied to is held for its destination alone; the others get theirs.
func (r *reader) mapTo(o *outcome, c Connection, e intake.Entry, body []byte) {
	if r.maps == nil || !slices.ContainsFunc(o.out, func(x outbound) bool { return r.maps.Live(live.To(x.destination)) != nil }) {
		return
	}
	out := o.out
	o.out = nil
	parts := map[string]int{}
	if r.to != nil {
		parts[r.to.Destination] = r.to.Part
	}
	for _, x := range out {
		part := parts[x.destination]
		parts[x.destination]++
		m := r.maps.Live(live.To(x.destination))
		if m == nil {
			o.out = append(o.out, x)
			continue
		}
		to := intake.For{Destination: x.destination, Part: part, Report: r.report()}
		if m.Broken != nil {
			o.held = append(o.held, held{x.ticket.Of, reason.New(reason.MapUnusable, x.destination, m.Broken.Error()), to})
			continue
		}
		in, charset := x.body, hl7.CharsetRule{}
		if in == nil {
			in = body
		}
		if x.passed {
			charset = c.Charset
		}
		switch y := m.Apply(in, charset, e.At.In(r.zone(c))); {
		case y.Held != nil:
			o.held = append(o.held, held{x.ticket.Of, y.Held.Why, to})
		case y.Dropped != nil:
			o.filter(x.destination, y.Dropped)
		default:
			if y.Changed {
				x.body, x.mapped = y.Body, m.Name
			}
			o.out = append(o.out, x)
		}
	}
}

// only leaves of an outcome what is to be interpreted again for one destination: a part
// that its map was not applicable to. What else the entry became, it has become.
func (o *outcome) only(to intake.For) outcome {
	part := 0
	kept := outcome{index: o.index, deviceTime: o.deviceTime}
	for _, x := range o.out {
		if x.destination != to.Destination {
			continue
		}
		if part == to.Part {
			kept.out = append(kept.out, x)
			return kept
		}
		part++
	}
	if len(o.held) > 0 { // before it came to the destination's map
		h := o.held[0]
		h.to.Destination, h.to.Part = to.Destination, to.Part
		kept.held = append(kept.held, h)
		return kept
	}
	kept.held = append(kept.held, held{why: reason.New(reason.NotConfigured, to.Destination), to: to})
	return kept
}
