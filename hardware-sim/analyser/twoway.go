package analyser

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"nhip/hardware-sim/wire"
)

// An Order is what the host told an analyser to do with a specimen: one O record, one
// DSR^Q03, one OML^O33, one S text.
type Order struct {
	Specimen string   // as the model has it
	Tests    []string // the codes alone
	Patient  string   // the patient number; "" where the host or the model says none
	Report   string   // O.26: O or Q order, Y no order, …
	Action   string   // O.12, ORC-1
	Fields   []string // of an O record: all as sent, from O itself
}

// An Answer is one message of the host.
type Answer struct {
	Orders  []Order
	Nothing bool // there is no information for the query: L|1|I, QAK NF, ORC-1 DC
	Records []byte
	Began   time.Time // when the host bid for the line for it
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
	a.mu.Lock()
	a.serial++
	q := Question{Specimen: specimen, Number: a.serial, Name: a.o.Name, At: time.Now().In(a.o.Start.Location())}
	a.mu.Unlock()
	if a.o.Asking != nil {
		a.o.Asking(specimen)
	}
	asked, err := c.question(ctx, a.o.Model, q)
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

// question sends one query, and reports whether the host has it.
func (c *conversation) question(ctx context.Context, model Model, q Question) (asked bool, err error) {
	text := model.query(q)
	switch model.Protocol {
	case AU:
		return c.askAU(ctx, text)
	case HL7:
		err = c.exchange(ctx, Message{Bytes: text})
		var rejected *rejectedError
		if errors.As(err, &rejected) {
			return true, nil // it asks again, or not
		}
		return err == nil, err
	}
	m := Message{Bytes: text, frame: max(model.Frame, 240), perRecord: model.PerRecord}
	err = c.session(ctx, []Message{m}, func(Message) { asked = true }, func(Message) {})
	return asked, err
}

// maxAnswer bounds what a host may send in one session.
const maxAnswer = 1 << 20

// receive is the receiver of E1381 section 6, after ENQ: every frame is checked and
// acknowledged, and what came is handed over at EOT.
func (c *conversation) receive() error {
	began := time.Now()
	answer := byte(ack)
	if c.faults.take("host refused", refuse) {
		answer = nak
	}
	if err := c.write(context.Background(), []byte{answer}); err != nil || answer == nak {
		return err
	}
	if c.model.Tokens {
		return c.takeTokens(began)
	}
	var text, last []byte
	for number := 1; ; {
		b, err := c.reply(2 * c.timing.Reply) // 30 s
		if err != nil {
			c.taken(text, began) // what was acknowledged whole is kept, EOT or not
			return quiet(err)    // after the time-out: neutral
		}
		switch b {
		case eot:
			c.taken(text, began)
			return nil
		case stx:
		default:
			continue
		}
		block, err := c.block()
		if err != nil {
			return err
		}
		if c.faults.take("line cut while the host sent", cutTaking) {
			return errCut
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
			if c.faults.take("host's frame not answered", ignoreFrame) {
				continue
			}
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

// taken hands over a message that came whole: without its L record it was given up.
func (c *conversation) taken(text []byte, began time.Time) {
	records := bytes.Split(bytes.TrimRight(text, "\r\n"), []byte{'\r'})
	if c.take == nil || !bytes.HasPrefix(records[len(records)-1], []byte{'L'}) {
		return
	}
	a := c.model.answer(text)
	a.Began = began
	c.take(a)
}

// answer reads the records of a host.
func (m Model) answer(text []byte) Answer {
	a := Answer{Records: bytes.Clone(text)}
	field, repeat, component := "|", `\`, "^"
	patient := ""
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
		case "P":
			patient = wire.Part(at(max(m.patientAt, 3)), component, 1)
		case "O":
			o := Order{Report: at(26), Action: at(12), Fields: fields, Patient: patient}
			o.Specimen = strings.TrimSpace(wire.Part(at(max(m.specimenAt[0], 3)), component, max(m.specimenAt[1], 1)))
			for _, test := range strings.Split(at(5), repeat) {
				parts := strings.Split(strings.TrimRight(test, component), component)
				code := parts[len(parts)-1]
				if m.testAt > 0 {
					code = wire.Part(test, component, m.testAt)
				}
				if m.codeOf != nil {
					code = m.codeOf(code)
				}
				if code != "" {
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
		if b != enq {
			continue
		}
		if c.faults.take("ENQ met ENQ", contend) {
			err = c.contend()
		} else {
			err = c.receive()
		}
		if err != nil {
			return err
		}
	}
}

// contend bids for the line at the same moment as the host, and has nothing to say
// when it gets it (E1381 section 6.2.7: the instrument has priority).
func (c *conversation) contend() error {
	if err := c.write(context.Background(), []byte{enq}); err != nil {
		return err
	}
	time.Sleep(c.timing.Contention)
	err := c.establish(context.Background())
	if errors.Is(err, errBusy) || errors.Is(err, errAborted) {
		return nil
	}
	if err != nil {
		return err
	}
	return c.write(context.Background(), []byte{eot})
}
