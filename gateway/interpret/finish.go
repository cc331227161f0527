package interpret

import (
	"nhip/gateway/intake"
	"nhip/gateway/reason"
	"nhip/hl7"
)

// A Finish makes of a message what the link to its destination wants: its character
// set, what it asks to be acknowledged. charset is the rule of the link on which it
// came; ours says that we made it. What it returns is in no memory of the message that
// it was given.
type Finish func(body []byte, charset hl7.CharsetRule, ours bool) ([]byte, error)

// finish gives the messages for destinations to the rules of their links.
func (r *reader) finish(o *outcome, c Connection, e intake.Entry, body []byte) {
	if len(r.finishes) == 0 || e.Kind == intake.KindDICOM {
		return
	}
	out := o.out
	o.out = nil
	parts := map[string]int{}
	if r.to != nil {
		parts[r.to.Destination] = r.to.Part
	}
	for _, x := range out {
		to := intake.For{Destination: x.destination, Part: parts[x.destination], Report: r.report()}
		parts[x.destination]++
		f := r.finishes[x.destination]
		if f == nil {
			o.out = append(o.out, x)
			continue
		}
		in, charset := x.body, hl7.CharsetRule{}
		if in == nil {
			in = body
		}
		if x.passed {
			charset = c.Charset
		}
		b, err := f(in, charset, !x.passed)
		if err != nil {
			o.held = append(o.held, held{x.ticket.Of, reason.New(reason.NotRendered, err.Error()), to})
			continue
		}
		if string(b) != string(in) {
			x.body = b
		}
		o.out = append(o.out, x)
	}
}
