package intake

import (
	"context"
	"errors"

	"nhip/storage"
)

// HL7 stores one message of a link with the answer that it gets, and returns
// the answer to send: the stored one where the same link has sent the same
// bytes under the same MSH-10 before. The same MSH-10 with other bytes is a
// new message.
func (in *Intake) HL7(ctx context.Context, connection, peer, controlID string, frame []byte, attrs map[string]string, answer []byte) ([]byte, error) {
	key := "hl7-answer/" + connection + "/" + digest([]byte(controlID), frame)
	stored, known, err := in.store.Get(key)
	if err != nil {
		return nil, err
	}
	if !known {
		e, err := in.entry(KindHL7, connection, peer, frame)
		if err != nil {
			return nil, err
		}
		e.Attrs = attrs
		b := new(storage.Batch)
		b.IfAbsent(key) // two connections of one link may bring it at once
		accept(b, e)
		b.Put(key, answer)
		_, err = in.store.Commit(ctx, b)
		if err == nil {
			return answer, nil
		}
		if !errors.Is(err, storage.ErrExists) {
			return nil, err
		}
		if stored, _, err = in.store.Get(key); err != nil {
			return nil, err
		}
	}
	e := Entry{Kind: KindHL7, Connection: connection, Peer: peer, At: in.now().UTC(), Body: frame, Attrs: attrs}
	e.Seal()
	b := new(storage.Batch)
	repeat(b, e, digest([]byte(controlID), frame))
	if _, err := in.store.Commit(ctx, b); err != nil {
		return nil, err
	}
	return stored, nil
}
