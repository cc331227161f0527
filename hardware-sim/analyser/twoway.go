package analyser

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// An Order is what the host told an analyser to do with a specimen: one O record.
type Order struct {
	Specimen string   // O.3, its first component
	Tests    []string // O.5, the last component of each repetition
	Report   string   // O.26: O or Q order, Y no order, …
	Fields   []string // all fields as sent, from O itself
}

// An Answer is one message of the host.
type Answer struct {
	Orders  []Order
	Nothing bool // L|1|I: no information for the query
	Records []byte
}

// Ask queues a host query for a specimen; the answer goes to Options.Take. It is
// forgotten when it was sent: a host may have nothing to say.
func (a *Analyser) Ask(specimen string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.questions = append(a.questions, specimen)
}

// question is the oldest specimen to ask for.
func (a *Analyser) question() (string, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.questions) == 0 {
		return "", false
	}
	return a.questions[0], true
}

// ask sends the oldest question, and then hears what the host has to say.
func (a *Analyser) ask(ctx context.Context, c *conversation, specimen string) error {
	m := Message{Bytes: fmt.Appendf(nil, "H|\\^&|||%s\rQ|1|^%s||ALL||||||||O\rL|1|N\r", a.o.Name, specimen), frame: 240}
	asked := false
	err := c.session(ctx, []Message{m}, func(Message) { asked = true }, func(Message) {})
	if asked {
		a.mu.Lock()
		a.questions = a.questions[1:]
		a.mu.Unlock()
	}
	if err != nil {
		return err
	}
	return c.listen(a.o.Timing.Contention)
}

// maxAnswer bounds what a host may send in one session.
const maxAnswer = 1 << 20

// receive is the receiver of E1381 section 6, after ENQ: every frame is checked and
// acknowledged, and what came is handed over at EOT.
func (c *conversation) receive() error {
	if err := c.write(context.Background(), []byte{ack}); err != nil {
		return err
	}
	var text, last []byte
	for number := 1; ; {
		b, err := c.reply(2 * c.timing.Reply) // 30 s
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil // given up: neutral
		}
		if err != nil {
			return err
		}
		switch b {
		case eot:
			if len(text) > 0 {
				c.take(answer(text))
			}
			return nil
		case stx:
		default:
			continue
		}
		block, err := c.block()
		if err != nil {
			return err
		}
		response := byte(nak)
		switch {
		case block == nil || len(text)+len(block) > maxAnswer:
		case bytes.Equal(block, last):
			response = ack
		case block[0] == '0'+byte(number%8) && !c.faults.take("host's frame refused", refuseFrame):
			text = append(text, block[1:len(block)-1]...)
			last, response = block, ack
			number++
		}
		if err := c.write(context.Background(), []byte{response}); err != nil {
			return err
		}
	}
}

// block reads from the frame number to ETX or ETB, and what follows; nil where the
// checksum is wrong.
func (c *conversation) block() ([]byte, error) {
	var block []byte
	read := func() (byte, error) { return c.reply(c.timing.Reply) }
	for {
		b, err := read()
		if err != nil {
			return nil, quiet(err)
		}
		block = append(block, b)
		if b == etx || b == etb || len(block) > maxAnswer {
			break
		}
	}
	tail := make([]byte, 4) // two digits, CR, LF
	for i := range tail {
		b, err := read()
		if err != nil {
			return nil, quiet(err)
		}
		tail[i] = b
	}
	var sum byte
	for _, b := range block {
		sum += b
	}
	if !strings.EqualFold(string(tail[:2]), fmt.Sprintf("%02X", sum)) || string(tail[2:]) != "\r\n" {
		return nil, nil
	}
	return block, nil
}

// quiet: a frame that stops is a bad frame.
func quiet(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// answer reads the records of a host.
func answer(text []byte) Answer {
	a := Answer{Records: bytes.Clone(text)}
	field, repeat, component := "|", `\`, "^"
	for record := range strings.SplitSeq(string(text), "\r") {
		if strings.HasPrefix(record, "H") && len(record) > 3 {
			field, repeat, component = record[1:2], record[2:3], record[3:4]
		}
		fields := strings.Split(record, field)
		at := func(n int) string {
			if n > len(fields) {
				return ""
			}
			return fields[n-1]
		}
		switch fields[0] {
		case "O":
			o := Order{Report: at(26), Fields: fields}
			o.Specimen, _, _ = strings.Cut(at(3), component)
			for _, test := range strings.Split(at(5), repeat) {
				parts := strings.Split(strings.TrimRight(test, component), component)
				if code := parts[len(parts)-1]; code != "" {
					o.Tests = append(o.Tests, code)
				}
			}
			a.Orders = append(a.Orders, o)
		case "L":
			a.Nothing = at(3) == "I"
		}
	}
	return a
}

// hear listens while a host may bid for the line.
func (c *conversation) hear(within time.Duration) error {
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
			if err := c.receive(); err != nil {
				return err
			}
		}
	}
}
