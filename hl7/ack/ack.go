// Package ack is the acknowledgement of HL7 version 2 (v2.5.1 sections 2.9 and
// 2.10.1): which acknowledgements a message gets, of which type, and what an
// acknowledgement means for a message that was sent. It is pure: it has no clock and
// does no I/O.
//
// The receiver's side is Plan and Options; the sender's side is Exchange; Sequence
// and Numbers are the two sides of the sequence number protocol.
package ack

import (
	"time"

	"nhip/hl7"
)

// A Mode is what a link does about MSH-15 and MSH-16.
type Mode string

// The modes of a link.
const (
	ByMessage   Mode = "message"     // what the message asks for; also ""
	Original    Mode = "original"    // an application acknowledgement at once
	Accept      Mode = "accept"      // an accept acknowledgement only
	Application Mode = "application" // an application acknowledgement only, as if MSH-16 were AL
	Both        Mode = "both"        // an accept acknowledgement at once, then an application acknowledgement
	None        Mode = "none"        // none at all
)

// Valid says whether m is one of the modes.
func (m Mode) Valid() bool {
	switch m {
	case "", ByMessage, Original, Accept, Application, Both, None:
		return true
	}
	return false
}

// A Plan is which acknowledgements a message gets.
type Plan struct {
	Accept, Application hl7.Condition
	Enhanced            bool // the sender knows the enhanced mode, or the link says so
}

// PlanFor is the plan for a message on a link. An acknowledgement gets an accept
// acknowledgement where its own MSH-15 asks for one and the link answers at all,
// and never an application acknowledgement, whatever the mode.
func PlanFor(m *hl7.Message, mode Mode) Plan {
	accept, application := hl7.AckMode(m)
	p := Plan{Accept: accept, Application: application, Enhanced: enhanced(m)}
	if mode == None {
		return Plan{Accept: hl7.Never, Application: hl7.Never, Enhanced: true}
	}
	if m.IsAcknowledgement() {
		return p
	}
	switch mode {
	case Original:
		p = Plan{Accept: hl7.Never, Application: hl7.Always}
	case Accept:
		p = Plan{Accept: hl7.Always, Application: hl7.Never, Enhanced: true}
	case Application:
		p = Plan{Accept: hl7.Never, Application: hl7.Always, Enhanced: true}
	case Both:
		p = Plan{Accept: hl7.Always, Application: hl7.Always, Enhanced: true}
	}
	return p
}

// enhanced says whether MSH-15 or MSH-16 has a value of table 0155.
func enhanced(m *hl7.Message) bool {
	return hl7.ParseCondition(m.Get("MSH-15")) != "" || hl7.ParseCondition(m.Get("MSH-16")) != ""
}

// Separate says whether the application acknowledgement follows an accept
// acknowledgement and so is a message of its own, which may come later and on
// another connection.
func (p Plan) Separate() bool { return p.Accept != hl7.Never && p.Application != hl7.Never }

// A Verdict is what the receiver thinks of a message.
type Verdict struct {
	Code   hl7.AckCode // AA: done; AE: an error in the content; AR: refused
	Text   string      // in words, MSA-3
	Errors []hl7.Error
}

// Good says whether the verdict is AA.
func (v Verdict) Good() bool { return v.Code == hl7.ApplicationAccept }

// Options are the rules of a link for what it answers.
type Options struct {
	Mode Mode
	// General answers every message with ACK, also orders and queries.
	General bool
	// Confirm is MSH-15 of an application acknowledgement that is a message of its
	// own: whether the peer is to say that it has it. Default NE.
	Confirm hl7.Condition
	// Application and Facility are ours, where a message names no receiver.
	Application, Facility string
	// Expected is MSA-4 of every acknowledgement: the sequence number that is expected,
	// see Sequence.
	Expected string
}

// An Answer is an acknowledgement to be sent.
type Answer struct {
	ControlID string // its own MSH-10
	Message   []byte
	// Confirm is when the peer is to acknowledge the answer itself with an accept
	// acknowledgement; Never where it is not.
	Confirm hl7.Condition
}

// Accept is the accept acknowledgement: CA where the message is in safe storage,
// whatever is wrong with its content; CR where it was refused (verdict AR) for its
// type, event, processing ID or version; CE where it was refused for its header or
// could not be stored. ok is false where none is due. An accept acknowledgement is
// always ACK, and asks for nothing.
func (o Options) Accept(m *hl7.Message, stored bool, v Verdict, id string, now time.Time) (Answer, bool) {
	if !PlanFor(m, o.Mode).Accept.Wants(stored) {
		return Answer{}, false
	}
	return o.accept(m, stored, v, id, now), true
}

func (o Options) accept(m *hl7.Message, stored bool, v Verdict, id string, now time.Time) Answer {
	code := hl7.CommitAccept
	if stored {
		v = Verdict{}
	} else if code = hl7.CommitError; v.Code == hl7.ApplicationReject && unsupported(v.Errors) {
		code = hl7.CommitReject
	}
	return Answer{ControlID: id, Confirm: hl7.Never, Message: hl7.Ack(m, code, hl7.AckOptions{
		ControlID: id, Now: now, Text: v.Text, Expected: o.Expected, Errors: v.Errors, Application: o.Application, Facility: o.Facility,
	})}
}

// unsupported says whether an error is one of type, event, processing ID or version.
func unsupported(errors []hl7.Error) bool {
	for _, e := range errors {
		switch e.Code {
		case hl7.ErrorType, hl7.ErrorEvent, hl7.ErrorProcessingID, hl7.ErrorVersion:
			return true
		}
	}
	return false
}

// Answer is the application acknowledgement, of the type that the message calls for
// (see AnswerType), with the segments given behind MSA and ERR. ok is false where
// none is due. Where the accept acknowledgement was negative the message is not
// processed and gets none: that is the caller's to know.
//
// A query that is refused gets its QAK and QPD (or QRD and QRF) without any segments
// given, as every answer to a query must have them.
func (o Options) Answer(m *hl7.Message, v Verdict, id string, now time.Time, segments []byte) (Answer, bool) {
	plan := PlanFor(m, o.Mode)
	if !plan.Application.Wants(v.Good()) {
		return Answer{}, false
	}
	return o.answer(m, plan, v, id, now, segments), true
}

func (o Options) answer(m *hl7.Message, plan Plan, v Verdict, id string, now time.Time, segments []byte) Answer {
	a := Answer{ControlID: id, Confirm: hl7.Never}
	options := hl7.AckOptions{
		ControlID: id, Now: now, Text: v.Text, Expected: o.Expected, Errors: v.Errors, Application: o.Application, Facility: o.Facility,
		Segments: segments,
	}
	if !o.General {
		options.Type = AnswerType(m)
		if len(segments) == 0 && !v.Good() {
			options.Segments = queryEcho(m, v.Code)
		}
	}
	if plan.Enhanced {
		options.AskAccept, options.AskApplication = hl7.Never, hl7.Never
		if plan.Separate() && o.Confirm != "" {
			options.AskAccept, a.Confirm = o.Confirm, o.Confirm
		}
	}
	a.Message = hl7.Ack(m, v.Code, options)
	return a
}

// Answers are the acknowledgements that are due, in their order, for a receiver that
// stores and processes a message at once: the accept acknowledgement, and unless it
// was negative, the application acknowledgement with the segments given. id gives the
// control ID of each.
func (o Options) Answers(m *hl7.Message, stored bool, v Verdict, id func() string, now time.Time, segments []byte) []Answer {
	var all []Answer
	plan := PlanFor(m, o.Mode)
	if plan.Accept.Wants(stored) {
		if all = append(all, o.accept(m, stored, v, id(), now)); !stored {
			return all
		}
	}
	if plan.Application.Wants(v.Good()) {
		all = append(all, o.answer(m, plan, v, id(), now, segments))
	}
	return all
}

// queryEcho is what an answer to a query has to repeat: QAK (from 2.4 on) and QPD, or
// QRD and QRF. It is empty for what is no query.
func queryEcho(m *hl7.Message, code hl7.AckCode) []byte {
	var b []byte
	if qpd := m.Segments("QPD"); len(qpd) > 0 {
		field := m.Delimiters().Field
		b = append(append(b, "QAK"...), field)
		b = append(append(b, qpd[0].Raw("2")...), field)
		b = append(append(b, code...), '\r')
	}
	for _, s := range m.Segments("QPD", "QRD", "QRF") {
		b = append(append(b, s.Bytes()...), '\r')
	}
	return b
}
