package analyser

import (
	"context"
	"errors"
	"os"
	"time"
)

// tokens sends messages on the token-wise link, behind the ACK of ENQ.
func (c *conversation) tokens(ctx context.Context, messages []Message, accepted, doubtful func(Message)) error {
	for _, m := range messages {
		for _, part := range [][]byte{{stx}, append(append([]byte{}, m.Bytes...), etx)} {
			if len(part) > 1 && c.faults.take("line cut in a frame", cutLine) {
				c.write(ctx, part[:len(part)/2])
				return errCut
			}
			if err := c.write(ctx, part); err != nil {
				return err
			}
			if len(part) > 1 && c.faults.take("line cut before the ACK was seen", cutUnanswered) {
				return errCut
			}
			b, err := c.reply(c.timing.Reply)
			if errors.Is(err, os.ErrDeadlineExceeded) || err == nil && b != ack {
				if len(part) > 1 {
					doubtful(m)
				}
				return errAborted
			}
			if err != nil {
				return err
			}
		}
		accepted(m)
	}
	if c.faults.take("line cut before EOT", cutBeforeEOT) {
		return errCut
	}
	if err := c.write(ctx, []byte{eot}); err != nil {
		return err
	}
	if _, err := c.reply(c.timing.Reply); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil
}

// takeTokens takes one session of the host on the token-wise link, behind the ACK of
// ENQ.
func (c *conversation) takeTokens(began time.Time) error {
	var text []byte
	for {
		b, err := c.reply(2 * c.timing.Reply)
		if err != nil {
			return quiet(err)
		}
		switch b {
		case stx:
			text = nil
		case etx, eot:
		default:
			if text = append(text, b); len(text) > maxAnswer {
				return errCut
			}
			continue
		}
		if b == etx && c.faults.take("line cut while the host sent", cutTaking) {
			return errCut
		}
		if err := c.write(context.Background(), []byte{ack}); err != nil {
			return err
		}
		if b == etx {
			c.taken(text, began)
		}
		if b == eot {
			return nil
		}
	}
}
