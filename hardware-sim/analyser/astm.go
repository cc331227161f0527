package analyser

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"nhip/hardware-sim/wire"
)

// The control characters of E1381.
const (
	stx = 0x02
	etx = 0x03
	eot = 0x04
	enq = 0x05
	ack = 0x06
	nak = 0x15
	etb = 0x17
)

var (
	errCut     = errors.New("the line was cut by the simulator")
	errBusy    = errors.New("the receiver is busy (NAK to ENQ)")
	errAborted = errors.New("the session was ended by EOT before everything was taken")
)

// A conversation is the analyser's side of one connection.
type conversation struct {
	line   wire.Line
	in     *bufio.Reader
	timing Timing
	faults *faults
	take   func(Answer) // what the host sends; nil: nothing is taken
	model  Model
}

func (c *conversation) write(ctx context.Context, b []byte) error {
	every, stallFor := c.faults.settings()
	if every <= 0 {
		every = len(b)
	}
	stall := -1
	if len(b) > 1 && c.faults.take("stalled", stalls) {
		stall = len(b) / 2
	}
	for at := 0; at < len(b); at += every {
		if stall >= at && stall < at+every && !wire.Wait(ctx, time.Duration(stallFor)) {
			return ctx.Err()
		}
		if err := c.line.SetWriteDeadline(time.Now().Add(c.timing.Reply)); err != nil {
			return err
		}
		if _, err := c.line.Write(b[at:min(at+every, len(b))]); err != nil {
			return err
		}
	}
	return nil
}

// reply waits for one character.
func (c *conversation) reply(within time.Duration) (byte, error) {
	if err := c.line.SetReadDeadline(time.Now().Add(within)); err != nil {
		return 0, err
	}
	return c.in.ReadByte()
}

// listen answers what the host sends while the analyser has nothing to say: it
// cannot receive, so it refuses every ENQ (E1381 section 6.2).
func (c *conversation) listen(within time.Duration) error {
	switch {
	case c.model.Protocol == HL7:
		return c.hearHL7(within)
	case c.take != nil && c.model.Protocol == ASTM:
		return c.hear(within)
	}
	until := time.Now().Add(within)
	for {
		b, err := c.reply(time.Until(until))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return err
		}
		if b == enq {
			if err := c.write(context.Background(), []byte{nak}); err != nil {
				return err
			}
		}
	}
}

// session sends the messages in one session, E1381 section 6. accepted is
// called when the ACK of a message's last frame was seen, doubtful when all of
// it was sent, the answer was not seen and the session is ended all the same.
func (c *conversation) session(ctx context.Context, messages []Message, accepted, doubtful func(Message)) error {
	if err := c.establish(ctx); err != nil {
		return err
	}
	if c.model.Tokens {
		return c.tokens(ctx, messages, accepted, doubtful)
	}
	number := 0
	for _, m := range messages {
		frames := m.frames()
		for n, f := range frames {
			last := n == len(frames)-1
			number = (number + 1) % 8
			if n == 1 && c.faults.take("abandoned", abandon) {
				return c.abort(ctx)
			}
			err := c.frame(ctx, encode(f, number), last)
			if errors.Is(err, errUnseen) {
				if last {
					doubtful(m)
				}
				return c.abort(ctx)
			}
			if errors.Is(err, errAborted) {
				return c.abort(ctx)
			}
			if err != nil {
				return err
			}
		}
		accepted(m)
		if c.faults.take("line cut before EOT", cutBeforeEOT) {
			return errCut
		}
	}
	return c.write(ctx, []byte{eot})
}

func (c *conversation) abort(ctx context.Context) error {
	if err := c.write(ctx, []byte{eot}); err != nil {
		return err
	}
	return errAborted
}

// establish is section 6.2: ENQ until ACK. The analyser has priority when both
// ask at once: it asks again after a second.
func (c *conversation) establish(ctx context.Context) error {
	if err := c.write(ctx, []byte{enq}); err != nil {
		return err
	}
	for {
		b, err := c.reply(c.timing.Reply)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return c.abort(ctx)
		}
		if err != nil {
			return err
		}
		switch b {
		case ack:
			return nil
		case nak:
			return errBusy
		case enq:
			if !wire.Wait(ctx, c.timing.Contention) {
				return ctx.Err()
			}
			if err := c.write(ctx, []byte{enq}); err != nil {
				return err
			}
		}
	}
}

// errUnseen is a frame that was sent and whose answer did not come.
var errUnseen = errors.New("no answer to a frame")

// attempts is how often a frame is sent, section 6.5.1.2.
const attempts = 6

// frame sends one frame until it is accepted, section 6.3. ACK and EOT accept;
// every other character asks for the frame again.
func (c *conversation) frame(ctx context.Context, frame []byte, last bool) error {
	garbled := false
	for range attempts {
		if err := c.transmit(ctx, frame); err != nil {
			return err
		}
		if last && c.faults.take("line cut before the ACK was seen", cutUnanswered) {
			return errCut
		}
		b, err := c.reply(c.timing.Reply)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return errUnseen
		}
		if err != nil {
			return err
		}
		if b != ack && b != eot {
			continue
		}
		if c.faults.take("ACK dropped", dropACK) {
			return errUnseen
		}
		if !c.faults.take("ACK garbled", garbleACK) {
			return nil
		}
		garbled = true
	}
	if garbled {
		return errUnseen
	}
	return errAborted
}

// transmit writes a frame once, with the faults that are due.
func (c *conversation) transmit(ctx context.Context, frame []byte) error {
	if c.faults.take("noise", noise) {
		if err := c.write(ctx, []byte("~?\x00U\xff")); err != nil {
			return err
		}
	}
	if c.faults.take("line cut in a frame", cutLine) {
		if err := c.write(ctx, frame[:len(frame)/2]); err != nil {
			return err
		}
		return errCut
	}
	if c.faults.take("frame corrupted", corruptFrame) {
		frame = bytes.Clone(frame)
		frame[len(frame)/2] ^= 0x01 // never a control character of the link
	}
	return c.write(ctx, frame)
}

// A frame before it has a number.
type frame struct {
	text []byte
	end  byte // ETX or ETB
}

// split cuts a message into frames: one for each record where perRecord is set,
// and none with more than size characters of text.
func split(message []byte, size int, perRecord bool) []frame {
	parts := [][]byte{message}
	if perRecord {
		parts = bytes.SplitAfter(bytes.TrimSuffix(message, []byte("\r")), []byte("\r"))
		parts[len(parts)-1] = append(bytes.Clone(parts[len(parts)-1]), '\r')
	}
	var frames []frame
	for _, p := range parts {
		for len(p) > size {
			frames = append(frames, frame{p[:size], etb})
			p = p[size:]
		}
		frames = append(frames, frame{p, etx})
	}
	return frames
}

// encode is the frame as it stands on the line, section 6.3.1.
func encode(f frame, number int) []byte {
	b := append([]byte{stx, '0' + byte(number)}, f.text...)
	b = append(b, f.end)
	var sum byte
	for _, c := range b[1:] {
		sum += c
	}
	return fmt.Appendf(b, "%02X\r\n", sum)
}
