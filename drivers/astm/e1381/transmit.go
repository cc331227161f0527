package e1381

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"nhip/drivers/port"
)

// A FailedError is what Transmit returns when the receiver did not take it all.
// The message counts as not transferred.
type FailedError struct {
	Reason   string
	Accepted int  // frames that were acknowledged
	Refused  bool // a frame was refused, again and again
	Cut      bool // the line was given up before
}

func (f Failed) err() *FailedError {
	return &FailedError{Reason: f.Reason, Accepted: f.Accepted, Refused: f.Refused, Cut: f.Cut}
}

func (e *FailedError) Error() string {
	return fmt.Sprintf("e1381: %s (%d frames were acknowledged)", e.Reason, e.Accepted)
}

// A YieldedError is what Transmit returns when the other side has the line: it is to
// be served as a receiver, beginning with Unread, for ComputerTimer at least.
type YieldedError struct{ Unread []byte }

func (e *YieldedError) Error() string { return "e1381: the other side has the line" }

// Transmit sends the frames in one session on c, which has to be neutral, and
// returns nil when all were acknowledged. Bytes that are still on the line from
// before are dropped first: a late ACK would be taken for that of ENQ, and every ACK
// after it for that of the next frame. ENQ among them is the other side's bid.
func Transmit(ctx context.Context, c port.Conn, role Role, frames []Frame) error {
	stop := context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, 256)
	if err := drain(ctx, c, buf); err != nil {
		return err
	}
	s := NewSender(role)
	t := &transmission{c: c}
	if err := t.do(s.Start(frames)); err != nil {
		return err
	}
	for !t.done {
		if err := c.SetReadDeadline(t.deadline); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n, err := c.Read(buf)
		for p := buf[:n]; len(p) > 0 && !t.done; {
			taken, actions := s.Receive(p)
			p = p[taken:]
			t.unread = p
			if err := t.do(actions); err != nil {
				return err
			}
		}
		switch {
		case t.done:
		case errors.Is(err, os.ErrDeadlineExceeded):
			if !time.Now().Before(t.deadline) {
				if err := t.do(s.TimedOut()); err != nil {
					return err
				}
			}
		case err != nil:
			return fmt.Errorf("e1381: %s: %w", c.Peer(), err)
		}
	}
	return nil
}

func drain(ctx context.Context, c port.Conn, buf []byte) error {
	for {
		if err := c.SetReadDeadline(time.Now().Add(drainTime)); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n, err := c.Read(buf)
		if bid := bytes.IndexByte(buf[:n], ENQ); bid >= 0 {
			return &YieldedError{bytes.Clone(buf[bid:n])}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("e1381: %s: %w", c.Peer(), err)
		}
	}
}

type transmission struct {
	c        port.Conn
	deadline time.Time
	unread   []byte
	done     bool
}

func (t *transmission) do(actions []Action) error {
	for _, a := range actions {
		switch a := a.(type) {
		case Send:
			if err := t.c.SetWriteDeadline(time.Now().Add(frameTime(len(a.Bytes)))); err != nil {
				return err
			}
			if _, err := t.c.Write(a.Bytes); err != nil {
				return fmt.Errorf("e1381: send to %s: %w", t.c.Peer(), err)
			}
		case Wait:
			t.deadline = time.Now().Add(a.For)
		case Sent:
			t.done = true
		case Failed:
			return a.err()
		case Yielded:
			return &YieldedError{bytes.Clone(t.unread)}
		}
	}
	return nil
}

// frameTime is the time that a write may take: ten seconds, and what so many
// characters need at 600 baud.
func frameTime(characters int) time.Duration {
	return writeTime + time.Duration(characters)*time.Second/60
}
