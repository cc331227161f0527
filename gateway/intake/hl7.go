package intake

import (
	"context"
	"errors"

	"nhip/hl7"
	"nhip/storage"
)

// HL7 stores one message of a link with the answer that it gets, and returns
// the answer to send: the stored one where the same link has sent the same
// bytes under the same MSH-10 before. The same MSH-10 with other bytes is a
// new message.
func (in *Intake) HL7(ctx context.Context, connection, peer, controlID string, frame []byte, attrs map[string]string, answer []byte) ([]byte, error) {
	of := digest([]byte(controlID), frame)
	key := answerKey(connection, of)
	e, err := in.entry(KindHL7, connection, peer, frame)
	if err != nil {
		return nil, err
	}
	e.Attrs = attrs
	b := new(storage.Batch)
	b.IfAbsent(key)
	j := accept(b, e)
	b.Put(key, answer)
	receipt, err := in.store.Commit(ctx, b)
	if err == nil {
		in.recent.remember(receipt.Entry(j), e)
		return answer, nil
	}
	if !errors.Is(err, storage.ErrExists) {
		return nil, err
	}
	stored, _, err := in.store.Get(key)
	if err != nil {
		return nil, err
	}
	return stored, in.repeated(ctx, e, of)
}

func answerKey(connection, of string) string { return "hl7-answer/" + connection + "/" + of }

// Answer is what the sender of an HL7 message was answered; nil where that is
// not kept.
func Answer(s *storage.Store, e Entry) ([]byte, error) {
	of := e.Attrs["of"]
	if e.Fate == Received {
		body, err := Body(s, e)
		if err != nil {
			return nil, err
		}
		m, _ := hl7.Parse(body)
		if m == nil {
			return nil, nil
		}
		of = digest([]byte(m.ControlID()), body)
	}
	b, ok, err := s.Get(answerKey(e.Connection, of))
	if !ok {
		return nil, err
	}
	return b, err
}
