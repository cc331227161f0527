package analyser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// beckmanAU has the columns of the profile beckman-au: unit 2, rack 4, cup 2, type 1,
// sample number 4, sample ID 10, dummy 4, block 1; tests of 2, dilution 1, result 6,
// flags 2.
var beckmanAU = dialogue{
	query: func(q Question) []byte {
		return fmt.Appendf(nil, "R 03%04d%02d %04d%10s", 1+q.Number/10%9999, 1+q.Number%10, q.Number%10000, q.Specimen)
	},
	report: func(r Run) []Message {
		text := fmt.Sprintf("D 03%04d01 %04d%10s    E", 1111, r.Number%10000, r.Specimen)
		_, results := r.each("", "", "", false, func(_ int, m Measured) string {
			text += fmt.Sprintf("%02s0%6s  ", m.Code, m.Value)
			return ""
		})
		return one([]byte(text), results)
	},
}

// text sends one text of class B until it is acknowledged.
func (c *conversation) text(ctx context.Context, text []byte) error {
	for range attempts {
		frame := append(append([]byte{stx}, text...), etx)
		if c.faults.take("line cut in a frame", cutLine) {
			c.write(ctx, frame[:len(frame)/2])
			return errCut
		}
		if err := c.write(ctx, frame); err != nil {
			return err
		}
		if c.faults.take("line cut before the ACK was seen", cutUnanswered) {
			return errCut
		}
		b, err := c.reply(c.timing.Reply)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			return err
		}
		if b == ack {
			return nil
		}
	}
	return errAborted
}

// texts sends a result text between DB and DE.
func (c *conversation) texts(ctx context.Context, text []byte) error {
	for _, one := range [][]byte{[]byte("DB03"), text, []byte("DE03")} {
		if err := c.text(ctx, one); err != nil {
			return err
		}
	}
	return nil
}

// answerTime is T1 of the AU: the answer to a request begins within it.
const answerTime = 2500 * time.Millisecond

// askAU sends one request between RB and RE, and takes the S text that answers it.
func (c *conversation) askAU(ctx context.Context, text []byte) (asked bool, err error) {
	if err := c.text(ctx, []byte("RB03")); err != nil {
		return false, err
	}
	if err := c.text(ctx, text); err != nil {
		return false, err
	}
	if err := c.hearAU(text, answerTime, "S "); err != nil {
		return true, err
	}
	if err := c.text(ctx, []byte("RE03")); err != nil {
		return true, err
	}
	return true, c.hearAU(text, answerTime, "SE")
}

// hearAU takes one text of the host; none in time is no error.
func (c *conversation) hearAU(asked []byte, within time.Duration, kind string) error {
	until := time.Now().Add(within)
	for {
		b, err := c.reply(time.Until(until))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return err
		}
		if b != stx {
			continue
		}
		began := time.Now()
		var text []byte
		for b != etx && len(text) < maxAnswer {
			if b, err = c.reply(c.timing.Reply); err != nil {
				return quiet(err)
			}
			text = append(text, b)
		}
		text = text[:len(text)-1]
		if c.faults.take("line cut while the host sent", cutTaking) {
			return errCut
		}
		answer := byte(ack)
		if c.faults.take("host's frame refused", refuseFrame) {
			answer = nak
		}
		if err := c.write(context.Background(), []byte{answer}); err != nil {
			return err
		}
		if answer == nak {
			continue
		}
		if c.take != nil && strings.HasPrefix(string(text), "S ") && len(text) > 30 {
			c.take(Answer{Orders: []Order{auOrder(string(text))}, Records: text, Began: began})
		}
		if strings.HasPrefix(string(text), kind) {
			return nil
		}
	}
}

// auOrder reads an S text.
func auOrder(text string) Order {
	o := Order{Specimen: strings.TrimSpace(text[15:25])}
	for tests := text[30:]; len(tests) >= 3; tests = tests[3:] {
		o.Tests = append(o.Tests, strings.TrimLeft(tests[:2], "0"))
	}
	return o
}
