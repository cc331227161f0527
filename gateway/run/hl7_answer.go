package run

import (
	"context"

	"nhip/gateway/delivery"
	"nhip/gateway/intake"
	"nhip/gateway/interpret"
	"nhip/gateway/lis"
	"nhip/hl7"
	"nhip/hl7/ack"
	"nhip/hl7/mllp"
	"nhip/storage"
)

// decided is what a message is answered over its own connection once it was decided
// on. An application answer that is a message of its own goes to answer_to where that
// is set: it is queued in the batch that stores the message.
func (l *link) decided(o ack.Options, m *hl7.Message, stored bool, d intake.Decision, b *storage.Batch) []byte {
	plan := ack.PlanFor(m, o.Mode)
	if l.peer.AnswerTo == "" || !stored || !plan.Separate() {
		return l.reply(o, m, stored, d.Verdict, d.Segments)
	}
	now := l.g.now()
	if answer, ok := o.Answer(m, d.Verdict, l.g.ackID.next(), now, d.Segments); ok {
		t := delivery.Ticket{ID: answer.ControlID, Mark: answer.ControlID, What: answerType(answer.Message), From: l.name}
		group := interpret.Group("answer", answer.ControlID)
		if err := interpret.Queue(b, l.g.in, intake.KindHL7, l.peer.AnswerTo, group, t, storage.Ref{}, answer.Message, now); err != nil {
			l.g.log.Error("an application answer could not be queued: it goes over the connection of its message", "connection", l.name, "error", err)
			return l.reply(o, m, stored, d.Verdict, d.Segments)
		}
		b.Add(intake.CountAccepted, 1)
		b.Add(intake.CountQueued, 1)
	}
	if accept, ok := o.Accept(m, stored, d.Verdict, l.g.ackID.next(), now); ok {
		return accept.Message
	}
	return nil
}

func answerType(message []byte) string {
	m, err := hl7.Parse(message)
	if err != nil {
		return ""
	}
	return messageType(m)
}

// acknowledgement takes an acknowledgement that came on an input. It is never
// answered, but on a link on which application acknowledgements are expected, by the
// accept acknowledgement that such a one's own MSH-15 asks for: CA where it settled a
// message that waits for it.
func (l *link) acknowledgement(ctx context.Context, m *hl7.Message) []byte {
	a, err := hl7.ParseAck(m.Bytes())
	settled := false
	if err == nil {
		settled, err = l.g.acknowledged(ctx, l.peer.Acknowledges, a, m.Bytes())
	}
	switch {
	case err != nil:
		l.g.log.Error("an acknowledgement could not be taken", "connection", l.name, "error", err)
	case settled:
		l.g.states.seen(l.name, l.kind)
	default:
		l.g.log.Warn("an acknowledgement came on an input: not answered", "connection", l.name)
	}
	if len(l.peer.Acknowledges) == 0 || !lis.IsApplication(a) {
		return nil
	}
	v := ack.Verdict{Code: hl7.ApplicationAccept}
	if !settled {
		v = lis.UnknownMessage
	}
	accept, ok := l.answers.Accept(m, settled, v, l.g.ackID.next(), l.g.now())
	if !ok {
		return nil
	}
	return accept.Message
}

// joinedLast is the last message of an answer: what a peer gets that takes only one.
func joinedLast(joined []byte) []byte {
	all := mllp.Split(joined)
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1]
}
