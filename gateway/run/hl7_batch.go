package run

import (
	"bytes"
	"context"
	"errors"
	"io"

	"nhip/hl7"
	"nhip/hl7/batch"
	"nhip/hl7/mllp"
)

// A batcher takes the messages of a file or batch one by one, and writes their answers
// in the same form (HL7 v2.5.1 section 2.10.3): a batch for a batch, with the
// acknowledgements that the messages ask for.
type batcher struct {
	g    *Gateway
	name string // of the link or address, for the log
	take func(ctx context.Context, message []byte) (answer []byte, err error)
	// long answers a message over the limit by its beginning.
	long func(head []byte) (answer []byte)
	out  *batch.Writer

	answers, refused, problems int
}

// run takes everything that r holds. The error is of the reader, or one that the sender
// has to try again after; what is wrong with the file is counted and in the log.
func (b *batcher) run(ctx context.Context, r *batch.Reader) error {
	for {
		item, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return b.out.Close()
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		for _, p := range item.Problems {
			b.problems++
			b.g.log.Warn("batch", "connection", b.name, "reason", p.Words("en"))
		}
		if err := b.item(ctx, item); err != nil {
			return err
		}
	}
}

func (b *batcher) item(ctx context.Context, item batch.Item) error {
	switch item.Kind {
	case batch.FileHeader, batch.BatchHeader:
		h, err := batch.ParseHeader(item.Bytes)
		if err != nil {
			b.problems++
			b.g.log.Warn("batch", "connection", b.name, "reason", err)
			return nil
		}
		h = h.Answer(b.g.ackID.next(), hl7.FormatTime(b.g.now()))
		if item.Kind == batch.FileHeader {
			return b.out.File(h)
		}
		return b.out.Batch(h)
	case batch.NoHL7:
		b.problems++
		b.g.log.Warn("batch: text that belongs to no message", "connection", b.name)
		return nil
	case batch.TooLong:
		b.refused++
		return b.answer(b.long(item.Bytes))
	case batch.Message:
		answer, err := b.take(ctx, item.Bytes)
		if err != nil {
			b.refused++
			b.g.log.Warn("batch: a message was not taken", "connection", b.name, "reason", err)
			return nil
		}
		return b.answer(answer)
	}
	return nil
}

// answer writes the answers to a message.
func (b *batcher) answer(joined []byte) error {
	for _, answer := range mllp.Split(joined) {
		b.answers++
		if a, err := hl7.ParseAck(answer); err == nil && !a.Positive() {
			b.refused++
		}
		if err := b.out.Message(answer); err != nil {
			return err
		}
	}
	return nil
}

// batch takes a frame that holds a batch. Where no message asks for an answer there is
// none.
func (s *speaker) batch(ctx context.Context, content []byte) ([]byte, error) {
	_, _, most := s.widest()
	var answers bytes.Buffer
	b := &batcher{g: s.p.g, name: s.address.String(), out: batch.NewWriter(&answers), take: func(ctx context.Context, message []byte) ([]byte, error) {
		return s.message(ctx, origin{address: s.from}, message)
	}, long: s.tooLong}
	if err := b.run(ctx, batch.NewReader(bytes.NewReader(content), batch.Limits{Message: most.Size})); err != nil {
		return nil, err
	}
	if b.answers == 0 {
		return nil, nil
	}
	return answers.Bytes(), nil
}
