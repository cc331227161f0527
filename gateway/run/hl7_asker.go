package run

import (
	"context"
	"slices"
	"sync"

	"nhip/drivers/hl7lab"
	"nhip/drivers/session"
	"nhip/gateway/lab"
	"nhip/gateway/record"
	"nhip/hl7"
	"nhip/hl7/mllp"
)

// hl7Asker answers the queries of an analyser that speaks HL7, and reads what it says
// to the orders that it was given.
type hl7Asker struct {
	device
	dialect hl7lab.Dialect
	orders  session.Orders

	pusher *lab.Pusher // nil: the analyser is told nothing that it did not ask for

	mu                    sync.Mutex
	given                 map[string]handedOut // by the control ID of the order
	application, facility string               // the analyser's, as it last said
	newest                func()               // ends pushing on the connection that opened last
}

// A handedOut is an order whose answer has not come.
type handedOut struct {
	query    record.Query
	work     []record.Work
	answered chan *hl7lab.Refusal // who waits for the answer; nil: the work was asked for
}

// mostGiven bounds the orders whose acknowledgement has not come.
const mostGiven = 256

// equipment are the messages of HL7 chapter 13 in which an analyser speaks of itself:
// status, inventory, commands, log. They are kept, acknowledged and nobody's result; an
// analyser that is refused one stops (cobas pure, pro).
var equipment = []string{"ESU", "ESR", "INU", "INR", "EAC", "EAN", "EAR", "TCU", "LSU", "SSU"}

// asked answers a message that is a query, an answer to an order, or about the
// analyser itself; taken is false for all others.
func (a *hl7Asker) asked(ctx context.Context, peer string, m *hl7.Message) (answer []byte, taken bool) {
	if code, _, _ := m.Type(); slices.Contains(equipment, code) && m.ControlID() != "" {
		return a.keep(ctx, peer, m), true
	}
	if m.IsAcknowledgement() {
		return nil, a.acknowledged(m)
	}
	a.mu.Lock()
	a.application, a.facility = m.Get("MSH-3"), m.Get("MSH-4")
	a.mu.Unlock()
	if a.orders == nil {
		return nil, false
	}
	if !a.dialect.Asks(m) {
		return nil, false
	}
	q, err := a.dialect.Query(m)
	if err != nil {
		a.g.log.Warn("query not answered", "analyser", a.name, "error", err)
		return nil, false // stored and acknowledged like any other message
	}
	// The query is kept like everything that comes, and counted.
	if _, err := a.store(ctx, peer, m, nil); err != nil {
		return nil, true
	}
	ctx, cancel := context.WithTimeout(ctx, a.dialect.Within())
	defer cancel()
	work, err := a.orders.Work(ctx, q)
	ok := err == nil && ctx.Err() == nil
	if !ok {
		a.g.log.Error("query not answered", "analyser", a.name, "error", err)
	}
	out, err := a.dialect.Answer(m, q, work, ok, hl7lab.Options{ControlID: a.g.ackID.next, Now: a.g.now()})
	if err != nil {
		a.g.log.Error("query not answered", "analyser", a.name, "error", err)
		a.orders.Handed(q, work, err)
		return nil, true
	}
	a.give(out, q, work)
	return mllp.Join(out.Messages), true
}

// keep stores a message and acknowledges it; without an answer it comes again.
func (a *hl7Asker) keep(ctx context.Context, peer string, m *hl7.Message) []byte {
	accepted := hl7.Ack(m, hl7.ApplicationAccept, hl7.AckOptions{ControlID: a.g.ackID.next(), Now: a.g.now(), Application: "NHIP"})
	stored, err := a.store(ctx, peer, m, mllp.Join([][]byte{accepted}))
	if err != nil {
		return nil
	}
	return stored
}

func (a *hl7Asker) store(ctx context.Context, peer string, m *hl7.Message, answer []byte) ([]byte, error) {
	attrs := map[string]string{"type": m.Get("MSH-9.1") + "^" + m.Get("MSH-9.2")}
	stored, err := a.g.in.HL7(ctx, a.name, peer, m.ControlID(), m.Bytes(), attrs, answer)
	if err != nil {
		a.g.log.Error("message not stored and not answered", "analyser", a.name, "error", err)
		return nil, err
	}
	a.g.states.seen(a.name, a.kind)
	return stored, nil
}

// give remembers what was handed out until the analyser has acknowledged it.
func (a *hl7Asker) give(out hl7lab.Answer, q record.Query, work []record.Work) {
	var with []record.Work
	for _, w := range work {
		if len(w.Tests) > 0 {
			with = append(with, w)
		}
	}
	for i, id := range out.Orders {
		h := handedOut{query: q}
		if i < len(with) {
			with[i].References = hl7lab.References(id, len(with[i].Tests))
			h.work = with[i : i+1]
		}
		a.expect(id, h)
	}
}

func (a *hl7Asker) expect(id string, h handedOut) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.given == nil || len(a.given) >= mostGiven {
		a.given = map[string]handedOut{}
	}
	a.given[id] = h
}

func (a *hl7Asker) forget(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.given, id)
}

// acknowledged reads ORL^O34 or ACK^Q03; false where it is for no order of ours.
func (a *hl7Asker) acknowledged(m *hl7.Message) bool {
	id, refused := hl7lab.Acknowledged(m)
	a.mu.Lock()
	h, ours := a.given[id]
	delete(a.given, id)
	a.mu.Unlock()
	if !ours {
		return false
	}
	a.g.states.seen(a.name, a.kind)
	if h.answered != nil {
		h.answered <- refused
		return true
	}
	a.orders.Handed(h.query, h.work, taken(refused))
	return true
}
