// Package bci is the Bidirectional Computer Interface of bioMérieux, as the mini VIDAS
// speaks it. Sources: a capture of a mini VIDAS (senaite.astm, tests/data/
// mini_vidas.txt) for the text, its tags and its checksum; for the characters around
// it bioMérieux, Bidirectional Computer Interface Specification (RS232), 514724-1EN1,
// 08/2012 (VITEK), whose text was not at hand: what the capture does not show (ENQ,
// ETX, EOT) is accepted and not needed.
//
//	[ENQ] STX RS mtrsl| RS pi… | RS ci… | RS rt… | … GS checksum [ETX] [EOT]
//
// A field is a tag of two letters and its text; a bar ends it, and RS may stand
// anywhere between. The checksum is the sum of all characters behind STX up to GS, GS
// included, modulo 256, in two hexadecimal digits. Receiver is a session.Core; Records
// takes a message apart. Orders to the analyser are not built: their text is in no
// source at hand.
package bci

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"nhip/drivers/item"
	"nhip/drivers/session"
	"nhip/gateway/record"
)

const (
	stx = 0x02
	etx = 0x03
	eot = 0x04
	enq = 0x05
	ack = 0x06
	nak = 0x15
	gs  = 0x1D
	rs  = 0x1E

	maxMessage = 256 << 10
	textTime   = 30 * time.Second // for the end of a message
	tailTime   = time.Second      // for an ETX behind the checksum
)

type state byte

const (
	neutral state = iota
	text          // after STX
	digits        // after GS
	tail          // after the checksum
)

// Receiver is the receiving side of the line.
type Receiver struct {
	state  state
	text   []byte // behind STX, GS included
	sum    []byte // the two digits
	unseen session.Unseen
}

var _ session.Core = (*Receiver)(nil)

// NewReceiver returns a receiver in the neutral state.
func NewReceiver() *Receiver { return &Receiver{} }

// Idle is true between two messages.
func (r *Receiver) Idle() bool { return r.state == neutral }

// Receive takes bytes up to the first that needs actions.
func (r *Receiver) Receive(p []byte) (int, []session.Action) {
	for n := 0; n < len(p); n++ {
		if r.state == tail && p[n] != etx {
			return n, r.complete()
		}
		if actions := r.receive(p[n]); actions != nil {
			return n + 1, actions
		}
	}
	return len(p), nil
}

func (r *Receiver) receive(b byte) []session.Action {
	switch r.state {
	case neutral:
		switch b {
		case enq:
			return []session.Action{session.Send{Bytes: []byte{ack}}}
		case eot:
			r.unseen.Forget()
			return []session.Action{session.Ended{}}
		case stx:
			r.state, r.text = text, r.text[:0]
			return []session.Action{session.Wait{For: textTime}}
		}
	case text:
		return r.character(b)
	case digits:
		r.sum = append(r.sum, b)
		if len(r.sum) == 2 {
			r.state = tail
			return []session.Action{session.Wait{For: tailTime}}
		}
	case tail:
		return r.complete()
	}
	return nil
}

func (r *Receiver) character(b byte) []session.Action {
	switch {
	case b == stx: // the message begins again
		r.text = r.text[:0]
		return nil
	case b == eot: // given up
		return append(r.incomplete("EOT before the end of the message"), session.Wait{}, session.Ended{})
	case len(r.text) == maxMessage:
		return append(r.incomplete(fmt.Sprintf("message over %d characters", maxMessage)), refuse("message too long")...)
	}
	r.text = append(r.text, b)
	if b == gs {
		r.state, r.sum = digits, r.sum[:0]
	}
	return nil
}

// Checksum of the characters behind STX, GS included.
func Checksum(text []byte) byte {
	var sum byte
	for _, b := range text {
		sum += b
	}
	return sum
}

// complete judges a message that has ended.
func (r *Receiver) complete() []session.Action {
	r.state = neutral
	if got, want := strings.ToLower(string(r.sum)), fmt.Sprintf("%02x", Checksum(r.text)); got != want {
		return refuse("the checksum is wrong")
	}
	message := bytes.Clone(r.text[:len(r.text)-1])
	actions := append([]session.Action{session.Wait{}}, r.unseen.Before(message)...)
	return append(actions, session.Store{Messages: [][]byte{message}}, session.Send{Bytes: []byte{ack}})
}

func refuse(why string) []session.Action {
	return []session.Action{session.Wait{}, session.Send{Bytes: []byte{nak}, Why: why}}
}

// StoreFailed refuses the message.
func (r *Receiver) StoreFailed() []session.Action { return refuse("not stored") }

// TimedOut judges a message without ETX, or gives up one without an end.
func (r *Receiver) TimedOut() []session.Action {
	switch r.state {
	case tail:
		return r.complete()
	case text, digits:
		return append(r.incomplete("no end of the message for 30 s"), session.Wait{})
	}
	return nil
}

// Cut hands over what came of a message.
func (r *Receiver) Cut(reason string) []session.Action {
	if r.state == tail { // all of it is there, and nobody to answer
		r.state = text
	}
	return r.incomplete(reason)
}

func (r *Receiver) incomplete(reason string) []session.Action {
	fresh := r.state != neutral
	r.state = neutral
	if !fresh || len(bytes.TrimSpace(r.text)) == 0 {
		return nil
	}
	return []session.Action{session.Incomplete{Message: bytes.Clone(r.text), Reason: reason}}
}

// Answered: nothing is asked.
func (r *Receiver) Answered([]record.Work, bool) []session.Action { return nil }

// Records takes a message apart: fields by their tags. H has mt, the kind of message
// (rsl: results), and what is said of the instrument before all else (ii, is, it); P has
// the tags that begin with p; R begins with rt (or ra or a1, a drug) and has all that
// follows; what stands before is O's, and ci or si behind a result begins another O. The
// R of a drug has the test, the isolate and the organism (rt, t1, o1, o2) of the R before
// it too. C has af, a family of drugs, and the phenotypes ap that belong to it.
func Records(message []byte) ([]item.Record, []string, error) {
	joined := strings.NewReplacer(string(rune(rs)), "", "\r", "", "\n", "").Replace(string(message))
	p := parser{}
	for field := range strings.SplitSeq(joined, "|") {
		if field == "" {
			continue
		}
		if len(field) < 2 || strings.Trim(strings.ToLower(field[:2]), "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			p.problems = append(p.problems, "a field without a tag of two letters")
			continue
		}
		p.field(field[:2], field[2:])
	}
	if len(p.records) == 0 || p.records[0].Kind != item.Header {
		return nil, nil, fmt.Errorf("bci: the message does not begin with its kind (mt)")
	}
	return p.records, p.problems, nil
}

type parser struct {
	records  []item.Record
	problems []string
	drug     bool // ra has begun a drug whose a1 has not come
}

// last is the record in force of a kind, or nil: the last one that no result
// follows.
func (p *parser) last(kind string) map[string]string {
	for i := len(p.records) - 1; i >= 0; i-- {
		switch p.records[i].Kind {
		case kind:
			return p.records[i].Fields
		case item.Result:
			return nil
		}
	}
	return nil
}

func (p *parser) add(kind string) map[string]string {
	p.records = append(p.records, item.New(kind))
	return p.records[len(p.records)-1].Fields
}

func (p *parser) field(tag, text string) {
	var of map[string]string
	switch {
	case tag == "mt":
		of = p.add(item.Header)
	case (tag == "ii" || tag == "is" || tag == "it") && len(p.records) == 1 && p.records[0].Kind == item.Header:
		of = p.records[0].Fields
	case tag == "rt":
		of = p.add(item.Result)
	case tag == "ra" || tag == "a1" && !p.drug:
		test := p.last(item.Result)
		of = p.add(item.Result)
		for _, said := range []string{"rt", "t1", "o1", "o2"} {
			if test[said] != "" {
				of[said] = test[said]
			}
		}
	case tag == "af" && p.last(item.Result) != nil:
		of = p.add(item.Comment)
	case tag == "ap" && p.records[len(p.records)-1].Kind == item.Comment:
		of = p.records[len(p.records)-1].Fields
		if of["ap"] != "" {
			of["ap"] += ", " + text
			return
		}
	case p.last(item.Result) != nil && tag != "ci" && tag != "si" && tag != "pi":
		of = p.last(item.Result)
	case tag[0] == 'p':
		if of = p.last(item.Patient); of == nil {
			of = p.add(item.Patient)
		}
	default:
		if of = p.last(item.Order); of == nil {
			of = p.add(item.Order)
		}
	}
	p.drug = tag == "ra" || p.drug && tag != "a1"
	if _, twice := of[tag]; twice {
		p.problems = append(p.problems, "the tag "+tag+" stands twice")
		return
	}
	if text != "" {
		of[tag] = text
	}
}
