package interpret

import (
	"maps"
	"time"

	"nhip/gateway/intake"
	"nhip/gateway/mapping"
	"nhip/gateway/mapping/live"
	"nhip/gateway/reason"
)

// A Preview is what an entry would become, map by map. Nothing is stored or sent.
type Preview struct {
	From     *Applied       // the map of the system that it came from; nil: none
	Messages []Applied      // one for each message and destination
	Held     []Held         // parts that are held before any destination's map
	Consumed map[string]int // by kind
}

// A Held is why a part of an entry waits for a person.
type Held struct {
	Subject string
	Why     reason.Reason
}

// An Applied is one message and what a map makes of it.
type Applied struct {
	Destination string // empty: the map of the system that it came from
	What        string // its type
	In          []byte // before the map
	Map         string // its name; empty: there is none
	Version     int    // 0: of no version
	mapping.Result
}

// Preview says what an entry would become now. use gives the map of a link: nil for
// none. Control IDs of messages that the gateway makes are examples.
func (w *Worker) Preview(e intake.Entry, body []byte, use func(live.Link) *live.Map) (Preview, error) {
	series, err := NewSeries(w.Site.ID, nil)
	if err != nil {
		return Preview{}, err
	}
	r := &reader{site: w.Site, connections: w.Connections, routes: w.Routes, series: series, codes: w.Codes, knows: w.Knows}
	c := w.Connections[e.Connection]
	at := e.At
	if c.Zone != nil {
		at = at.In(c.Zone)
	}
	var p Preview
	if m := use(live.From(e.Connection)); m != nil && c.Kind == Peer {
		x := try(m, "", body, c, at, true)
		p.From = &x
		if x.Held != nil || x.Dropped != nil {
			return p, nil
		}
		body = x.Body
	}
	o := r.read(e, body, at)
	p.Consumed = maps.Clone(o.consumed)
	for _, h := range o.held {
		p.Held = append(p.Held, Held{h.subject, h.why})
	}
	for _, x := range o.out {
		in := x.body
		if in == nil {
			in = body
		}
		a := try(use(live.To(x.destination)), x.destination, in, c, at, x.passed)
		a.What = x.ticket.What
		p.Messages = append(p.Messages, a)
	}
	return p, nil
}

// try applies a map, nil for none, and tells what it changed.
func try(m *live.Map, destination string, in []byte, c Connection, at time.Time, passed bool) Applied {
	a := Applied{Destination: destination, In: in, Result: mapping.Result{Body: in}}
	if m == nil {
		return a
	}
	a.Version = m.Version
	if m.Broken != nil {
		a.Held = &mapping.Stop{Why: reason.New(reason.MapUnusable, destination, m.Broken.Error())}
		return a
	}
	rule := c.Charset
	if !passed {
		rule.Force, rule.Default = "", nil
	}
	a.Map, a.Result = m.Map.Name, m.Try(in, rule, at)
	return a
}
