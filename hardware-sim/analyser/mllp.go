package analyser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"nhip/hardware-sim/wire"
)

// rejections is how often an HL7 message is offered that is answered but not
// accepted, before the analyser gives it up.
const rejections = 20

// A rejectedError is an HL7 message that was given up.
type rejectedError struct{ answer string }

func (e *rejectedError) Error() string { return "rejected at last: " + e.answer }

// exchange sends one HL7 message until it is answered AA with its own control
// ID: the same bytes again when there is no answer in time.
func (c *conversation) exchange(ctx context.Context, m Message) error {
	id := wire.First(wire.Split(m.Bytes), "MSH").Field(10)
	answer := ""
	for range rejections {
		if err := c.offer(ctx, wire.Block(m.Bytes)); err != nil {
			return err
		}
		code, err := c.acknowledgement(id)
		if err != nil {
			return err
		}
		switch {
		case code == "AA" && c.faults.take("ACK dropped", dropACK):
			continue
		case code == "AA":
			return nil
		case code != "":
			answer = code
			if !wire.Wait(ctx, c.timing.Contention) {
				return ctx.Err()
			}
		}
	}
	if answer == "" {
		return fmt.Errorf("no answer to %d offers of a message", rejections)
	}
	return &rejectedError{answer}
}

func (c *conversation) offer(ctx context.Context, block []byte) error {
	if c.faults.take("noise", noise) {
		if err := c.write(ctx, []byte("~?U")); err != nil {
			return err
		}
	}
	if c.faults.take("line cut in a message", cutLine) {
		if err := c.write(ctx, block[:len(block)/2]); err != nil {
			return err
		}
		return errCut
	}
	if err := c.write(ctx, block); err != nil {
		return err
	}
	if c.faults.take("line cut before the ACK was seen", cutUnanswered) {
		return errCut
	}
	return nil
}

// acknowledgement is MSA-1 of the answer to the message, "" when none came in
// time. Answers to other messages are late ones and passed over.
func (c *conversation) acknowledgement(id string) (string, error) {
	until := time.Now().Add(c.timing.Reply)
	for {
		if err := c.line.SetReadDeadline(until); err != nil {
			return "", err
		}
		// A block that is cut by the deadline would be lost with its
		// beginning: only its first byte may time out.
		if _, err := c.in.Peek(1); errors.Is(err, os.ErrDeadlineExceeded) {
			return "", nil
		}
		if err := c.line.SetReadDeadline(until.Add(c.timing.Reply)); err != nil {
			return "", err
		}
		block, err := wire.ReadBlock(c.in)
		if err != nil {
			return "", err
		}
		if c.told(block) {
			continue
		}
		msa := wire.First(wire.Split(block), "MSA")
		if msa != nil && msa.Field(2) == id {
			return msa.Field(1), nil
		}
	}
}
