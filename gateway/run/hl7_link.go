package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"nhip/gateway/config"
	"nhip/gateway/intake"
	"nhip/gateway/interpret"
	"nhip/gateway/lis"
	"nhip/gateway/reason"
	"nhip/hl7"
	"nhip/hl7/ack"
	"nhip/hl7/mllp"
	"nhip/storage"
)

// A link is one way in for HL7 messages: the port of a device, or an [[hl7_peer]] on
// the listeners that systems share. It may be used by many connections at once.
type link struct {
	device
	fromDevice bool
	answers    ack.Options
	peer       config.HL7Peer // of a device only the limits
	rule       hl7.CharsetRule
	declared   bool     // the rule says nothing: MSH-18 holds
	numbers    *numbers // nil: MSH-13 means nothing here
	parts      *parts   // nil: a device continues no message
}

// deviceLink is the link of a device that speaks HL7.
func (d device) link() *link {
	h := d.g.cfg.HL7
	return &link{device: d, fromDevice: true, answers: ack.Options{Application: "NHIP"}, rule: d.charset, declared: d.charset.Force == "",
		peer: config.HL7Peer{Name: d.name, MaxMessage: h.MaxMessage, MaxSegments: h.MaxSegments}}
}

// peerLink is the link of an [[hl7_peer]].
func (g *Gateway) peerLink(p config.HL7Peer) *link {
	l := &link{
		device: device{g: g, name: p.Name, kind: interpret.Peer}, peer: p, rule: p.Rule(), declared: p.Charset == "" && len(p.CharsetDefault) == 0,
		answers: ack.Options{
			Mode: ack.Mode(p.Acknowledge), General: p.Answer == config.AnswerGeneral, Confirm: hl7.Condition(p.Confirm), Application: "NHIP",
		},
		parts: newParts(g.store, p),
	}
	if p.Sequence {
		l.numbers = &numbers{store: g.store, key: "sequence/in/" + p.Name}
	}
	return l
}

// limits are those of the parser.
func (l *link) limits() hl7.Limits {
	return hl7.Limits{Size: int(l.peer.MaxMessage), Segments: l.peer.MaxSegments}
}

// An origin is where a message comes from.
type origin struct {
	address string
	charset string // that the transport declares, which holds whatever MSH-18 says; empty: none
}

// message stores one message of the link, as hl7.Parse has it with its error, and
// returns what it is answered: messages in the form of mllp.Join, nothing where
// nothing is due.
func (l *link) message(ctx context.Context, o origin, m *hl7.Message, err error) ([]byte, error) {
	from := o.address
	var bad *hl7.ParseError
	if errors.As(err, &bad) {
		l.g.log.Warn("message refused", "connection", l.name, "reason", err)
		l.g.strangers.count()
		if m == nil {
			return nil, err // no header to answer to: closed
		}
		return l.refuse(m, hl7.Error{Location: bad.Location, Code: bad.Code, Text: bad.Reason}), nil
	}
	if rule := l.rule; !l.declared || o.charset != "" {
		if rule.Force == "" {
			rule.Force = o.charset
		}
		if err := m.UseCharset(rule); err != nil { // the configuration, and the transport's, were checked
			return nil, err
		}
	}
	if m.IsAcknowledgement() {
		return l.acknowledgement(ctx, m), nil
	}
	l.g.states.seen(l.name, l.kind)
	app := l.application(m)
	v := l.judge(m, l.fromDevice, app != nil, from)
	l.warnCharset(m)
	switch v.Code {
	case hl7.ApplicationReject:
		l.g.log.Warn("message refused", "connection", l.name, "field", v.Errors[0].Location, "reason", refusedAs(v.Errors[0]))
		l.g.strangers.count()
		return l.reply(l.answers, m, false, v, nil), nil
	case hl7.ApplicationError:
		return l.hold(ctx, from, m, v), nil
	}
	if l.numbers != nil {
		return l.numbered(ctx, from, m, app), nil
	}
	if l.parts != nil {
		if pointer, next := continues(m); pointer != "" || next != "" {
			return l.continued(ctx, from, m, pointer, next), nil
		}
	}
	return l.store(ctx, storing{from: from, m: m, to: m, app: app, o: l.answers}), nil
}

// application is the part of the gateway that decides on a message; nil: none.
func (l *link) application(m *hl7.Message) intake.Application {
	if l.fromDevice {
		return nil
	}
	for _, a := range l.g.applications {
		if a.Takes(m) {
			return mappedApplication{a, l.g}
		}
	}
	return nil
}

// hold stores a message whose verdict is AE.
func (l *link) hold(ctx context.Context, from string, m *hl7.Message, v ack.Verdict) []byte {
	l.g.log.Warn("message held", "connection", l.name, "reason", v.Errors[0].Text)
	if err := l.g.in.Hold(ctx, intake.KindHL7, l.name, from, m.Bytes(), messageType(m), reason.New(reason.NoControlID)); err != nil {
		return l.notStored(m, err)
	}
	return l.reply(l.answers, m, true, v, nil)
}

// storing is a message that is good so far.
type storing struct {
	from string
	m    *hl7.Message
	to   *hl7.Message       // which is answered: m, or the last part of it
	app  intake.Application // nil: nobody decides on it
	o    ack.Options
	also func(b *storage.Batch, answer []byte) error // adds to the commit; nil: nothing
}

// store stores a message and returns its answer.
func (l *link) store(ctx context.Context, s storing) []byte {
	attrs := map[string]string{"type": messageType(s.m)}
	if s.app == nil && s.also == nil && l.peer.AnswerTo == "" {
		answer := l.reply(s.o, s.to, true, ack.Verdict{Code: hl7.ApplicationAccept}, nil)
		answer, err := l.g.in.HL7(ctx, l.name, s.from, s.m.ControlID(), s.m.Bytes(), attrs, answer)
		if err != nil {
			return l.notStored(s.to, err)
		}
		return answer
	}
	if s.app == nil {
		s.app = nobody{}
	}
	answer, refused, err := l.g.in.Decided(ctx, s.app, intake.Incoming{Link: l.name, Peer: s.from, Message: s.m}, attrs,
		func(d intake.Decision, b *storage.Batch) ([]byte, error) {
			stored := d.Verdict.Code != hl7.ApplicationReject
			answer := l.decided(s.o, s.to, stored, d, b)
			if s.also == nil || !stored {
				return answer, nil
			}
			return answer, s.also(b, answer)
		})
	if err != nil {
		return l.notStored(s.to, err)
	}
	if refused {
		l.g.log.Warn("message refused", "connection", l.name, "type", messageType(s.m))
		l.g.strangers.count()
	}
	return answer
}

// nobody is the Application of messages on which nobody decides.
type nobody struct{}

func (nobody) Takes(*hl7.Message) bool { return true }
func (nobody) Decide(context.Context, intake.Incoming, *storage.Batch) (intake.Decision, error) {
	return intake.Decision{Verdict: ack.Verdict{Code: hl7.ApplicationAccept}}, nil
}

// reply is what a message is answered over its own connection.
func (l *link) reply(o ack.Options, m *hl7.Message, stored bool, v ack.Verdict, segments []byte) []byte {
	all := o.Answers(m, stored, v, l.g.ackID.next, l.g.now(), segments)
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0].Message
	}
	return mllp.Join([][]byte{all[0].Message, all[1].Message})
}

// refuse is the answer to a message that is not stored for what is wrong with it.
func (l *link) refuse(m *hl7.Message, e hl7.Error) []byte {
	e.Severity = hl7.SeverityError
	return l.reply(l.answers, m, false, ack.Verdict{Code: hl7.ApplicationReject, Errors: []hl7.Error{e}}, nil)
}

// notStored is the answer while the store takes nothing: the sender keeps the
// message and sends it again.
func (l *link) notStored(m *hl7.Message, err error) []byte {
	l.g.log.Error("message not stored, answered AR 207", "connection", l.name, "error", err)
	why := "the message could not be stored: send it again later"
	if errors.Is(err, storage.ErrDiskFull) {
		why = "the disk of the gateway is too full: send it again later"
		l.g.strangers.count()
	}
	return l.refuse(m, hl7.Error{Code: hl7.ErrorApplication, Text: why})
}

// tooLong is the answer to a frame over the limit, as far as its header is there.
func (l *link) tooLong(head []byte) []byte {
	m := l.g.overLimit(head)
	if m == nil {
		return nil
	}
	return l.refuse(m, overLimit(int64(l.peer.MaxMessage)))
}

func overLimit(limit int64) hl7.Error {
	return hl7.Error{Code: hl7.ErrorApplication, Text: fmt.Sprintf("the message is longer than %d bytes", limit)}
}

// overLimit reads the header of a frame over the limit.
func (g *Gateway) overLimit(head []byte) *hl7.Message {
	g.strangers.count()
	m, err := hl7.Parse(head)
	if m == nil {
		g.log.Warn("frame over the limit without a readable header", "error", err)
	}
	return m
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

func messageType(m *hl7.Message) string {
	code, event, _ := m.Type()
	return code + "^" + event
}

// judge is lis.Judge, and for a monitor whether the message is for its bed.
func (d device) judge(m *hl7.Message, isDevice, taken bool, from string) ack.Verdict {
	v := lis.Judge(m, isDevice, taken)
	if d.bed == nil || v.Code != hl7.ApplicationAccept {
		return v
	}
	return d.ofBed(m, v, from)
}

// now is the time in the site's zone.
func (g *Gateway) now() time.Time { return time.Now().In(g.cfg.Site.TimeZone) }
