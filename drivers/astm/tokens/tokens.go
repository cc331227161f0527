// Package tokens is the simplified link of the Snibe MAGLUMI analysers: LIS02 records
// between STX and ETX without frame numbers and checksums, where ENQ, STX, ETX and EOT
// are each acknowledged by an ACK of their own and records are not. Source: public
// receivers and captures of a MAGLUMI X3 (aiLabSolution, edge_sim/snibelis.py).
//
//	ENQ  ACK  STX  ACK  H|…<CR>…L|1|N<CR> ETX  [store] ACK  EOT  ACK
//
// One connection carries many sessions, one for each assay, and is never closed. There
// is no NAK: what cannot be stored is answered by closing the connection, and the
// analyser sends it again. Link is a session.Core.
package tokens

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"nhip/drivers/session"
	"nhip/gateway/record"
)

const (
	stx = 0x02
	etx = 0x03
	eot = 0x04
	enq = 0x05
	ack = 0x06

	maxMessage  = 4 << 20
	sessionTime = 30 * time.Second // for the next token of a session
	// The analyser's communication time-out is 3 s, three times.
	replyTime = 3 * time.Second
	attempts  = 3
)

type state byte

const (
	neutral   state = iota
	begun           // after ENQ
	text            // after STX
	closing         // after ETX
	offering        // ENQ sent
	opening         // STX sent
	sending         // records and ETX sent
	finishing       // EOT sent
)

// Options of a Link.
type Options struct {
	// Queries are what a message asks for, and Answer the records that answer one of
	// them; nil: nothing is answered.
	Queries func(message []byte) []record.Query
	Answer  func(message []byte, q record.Query, work []record.Work) ([]byte, error)
	Within  time.Duration // for looking up the work
}

// A question is a query and the message that it stood in.
type question struct {
	message []byte
	query   record.Query
	bids    int // that met the analyser's own
}

// Link is the host's side of the line.
type Link struct {
	o        Options
	state    state
	text     []byte
	asked    []question // to be answered, the first at once
	of       question   // that is being answered
	answer   []byte     // what is being sent
	attempts int
	unseen   session.Unseen
}

var _ session.Core = (*Link)(nil)

// NewLink returns a link in the neutral state.
func NewLink(o Options) *Link { return &Link{o: o} }

// Idle is true between two sessions.
func (k *Link) Idle() bool { return k.state == neutral }

// Receive takes bytes up to the first that needs actions.
func (k *Link) Receive(p []byte) (int, []session.Action) {
	for n, b := range p {
		if actions := k.receive(b); actions != nil {
			return n + 1, actions
		}
	}
	return len(p), nil
}

func (k *Link) receive(b byte) []session.Action {
	if k.state == text {
		return k.character(b)
	}
	if k.state >= offering {
		return k.replied(b)
	}
	switch {
	case b == enq:
		k.state = begun
		return k.accept()
	case b == stx: // without ENQ too, and after the ETX of another message
		k.state, k.text = text, k.text[:0]
		return k.accept()
	case b == eot:
		return k.ended()
	}
	return nil
}

func (k *Link) accept() []session.Action {
	return []session.Action{session.Send{Bytes: []byte{ack}}, session.Wait{For: sessionTime}}
}

func (k *Link) character(b byte) []session.Action {
	switch {
	case b == etx:
		return k.complete()
	case b == enq, b == eot, b == stx:
		actions := k.incomplete("the session ended before ETX")
		if b == eot {
			return append(actions, k.ended()...)
		}
		k.state = begun
		if b == stx {
			k.state = text
		}
		return append(actions, k.accept()...)
	case len(k.text) == maxMessage:
		actions := k.incomplete(fmt.Sprintf("message over %d characters", maxMessage))
		return append(actions, session.Close{Reason: "message too long"})
	}
	k.text = append(k.text, b)
	return nil
}

// complete stores the records before ETX is acknowledged.
func (k *Link) complete() []session.Action {
	k.state = closing
	message := bytes.Clone(k.text)
	k.text = k.text[:0]
	if len(bytes.TrimSpace(message)) == 0 {
		return k.accept()
	}
	if !whole(message) {
		actions := []session.Action{session.Incomplete{Message: message, Reason: "ETX before the L record"}}
		return append(actions, k.accept()...)
	}
	if k.o.Queries != nil {
		for _, q := range k.o.Queries(message) {
			// A query that comes again stands for the one before.
			k.asked = slices.DeleteFunc(k.asked, func(x question) bool { return slices.Equal(x.query.Specimens, q.Specimens) })
			if !q.Cancel && len(k.asked) < 16 {
				k.asked = append(k.asked, question{message: message, query: q})
			}
		}
	}
	actions := append(k.unseen.Before(message), session.Store{Messages: [][]byte{message}})
	return append(actions, k.accept()...)
}

// whole: the last record is L.
func whole(message []byte) bool {
	message = bytes.TrimRight(message, "\r\n")
	last := message[bytes.LastIndexAny(message, "\r\n")+1:]
	return len(last) > 0 && last[0] == 'L'
}

// StoreFailed: there is no NAK.
func (k *Link) StoreFailed() []session.Action {
	k.state, k.asked = neutral, nil
	return []session.Action{session.Close{Reason: "not stored: the analyser sends it again"}}
}

// ended answers EOT, and then what was asked.
func (k *Link) ended() []session.Action {
	if k.state == neutral {
		return nil
	}
	k.state = neutral
	k.unseen.Forget()
	actions := []session.Action{session.Send{Bytes: []byte{ack}}, session.Ended{}, session.Wait{}}
	return append(actions, k.ask()...)
}

// ask looks up the work for the first question.
func (k *Link) ask() []session.Action {
	if len(k.asked) == 0 || k.o.Answer == nil {
		return nil
	}
	return []session.Action{session.Ask{Query: k.asked[0].query, Within: k.o.Within}}
}

// Answered makes the answer and bids for the line. When the analyser has accepted the bid
// the work is looked up once more, for it may have been cancelled meanwhile.
func (k *Link) Answered(work []record.Work, ok bool) []session.Action {
	if k.state == opening {
		return k.open(work, ok)
	}
	if len(k.asked) == 0 {
		return nil
	}
	k.of = k.asked[0]
	k.asked = k.asked[1:]
	if !ok {
		return k.ask()
	}
	answer, err := k.o.Answer(k.of.message, k.of.query, work)
	if err != nil {
		return append([]session.Action{session.Unsent{Reason: err.Error()}}, k.ask()...)
	}
	if answer == nil {
		return k.ask()
	}
	k.answer, k.attempts = answer, 0
	return k.offer()
}

// open begins to send the answer as it is now, or ends the session where there is none
// any more.
func (k *Link) open(work []record.Work, ok bool) []session.Action {
	var answer []byte
	var err error
	if ok {
		answer, err = k.o.Answer(k.of.message, k.of.query, work)
	}
	if k.answer = answer; answer != nil && err == nil {
		return k.put([]byte{stx})
	}
	k.state, k.answer = finishing, nil
	if err != nil {
		return append([]session.Action{session.Unsent{Reason: err.Error()}}, k.put([]byte{eot})...)
	}
	return k.put([]byte{eot})
}

// sent ends the session of an answer.
func (k *Link) sent() []session.Action {
	k.state = neutral
	actions := []session.Action{session.Wait{}}
	if k.answer != nil {
		actions = append(actions, session.Sent{})
	}
	return append(actions, k.ask()...)
}

func (k *Link) offer() []session.Action {
	k.state = offering
	k.attempts++
	return k.put([]byte{enq})
}

func (k *Link) put(b []byte) []session.Action {
	return []session.Action{session.Send{Bytes: b}, session.Wait{For: replyTime}}
}

// replied takes the reply to what we sent. ENQ in place of it is the analyser's bid,
// and the analyser has priority: the answer is due again behind its session.
func (k *Link) replied(b byte) []session.Action {
	switch {
	case b == enq && k.state == offering:
		if k.of.bids++; k.of.bids < attempts {
			k.state, k.asked = begun, slices.Insert(k.asked, 0, k.of)
			return k.accept()
		}
		actions := k.give("the analyser bid for the line")
		k.state = begun
		return append(actions, k.accept()...)
	case b != ack:
		return nil
	}
	switch k.state {
	case offering:
		k.state = opening
		return []session.Action{session.Ask{Query: k.of.query, Within: k.o.Within}}
	case opening:
		k.state = sending
		return k.put(append(bytes.Clone(k.answer), etx))
	case sending:
		k.state = finishing
		return k.put([]byte{eot})
	}
	return k.sent()
}

// give gives the answer up.
func (k *Link) give(why string) []session.Action {
	k.state = neutral
	return []session.Action{session.Wait{}, session.Unsent{Reason: why}}
}

// TimedOut bids again, or ends a session in which nothing more came.
func (k *Link) TimedOut() []session.Action {
	switch {
	case k.state == finishing: // all of it was acknowledged
		return k.sent()
	case k.state >= offering && k.attempts < attempts:
		return k.offer()
	case k.state >= offering:
		return append(k.give(fmt.Sprintf("no reply for %v, %d times", replyTime, attempts)), k.ask()...)
	}
	actions := k.incomplete("no token for 30 s")
	k.state, k.asked = neutral, nil // it does not wait any more
	return append(actions, session.Wait{})
}

// Cut hands over what came of a message.
func (k *Link) Cut(reason string) []session.Action {
	var actions []session.Action
	if k.state >= offering {
		actions = k.give(reason)
	}
	actions = append(actions, k.incomplete(reason)...)
	k.state, k.asked = neutral, nil
	return actions
}

func (k *Link) incomplete(reason string) []session.Action {
	message := bytes.Clone(k.text)
	if k.state != text || len(bytes.TrimSpace(message)) == 0 {
		k.text = k.text[:0]
		return nil
	}
	k.text = k.text[:0]
	return []session.Action{session.Incomplete{Message: message, Reason: reason}}
}
