package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"time"
)

// The control characters of LIS01.
const (
	stx = 0x02
	eot = 0x04
	enq = 0x05
	ack = 0x06
)

// patience is how long a peer may take before a run has failed.
const patience = 30 * time.Second

// A line is what an analyser is plugged into: TCP or a pseudo terminal.
type line interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
}

// An instrument is an analyser that speaks LIS01, with a frame for each record.
type instrument struct {
	c line
	r *bufio.Reader
}

func newInstrument(c line) *instrument { return &instrument{c, bufio.NewReader(c)} }

func dialInstrument(address string) (*instrument, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return newInstrument(c), nil
}

// send plays one session, and says how long the last frame, the one with the L record,
// waited for its ACK. until is when EOT was sent.
func (x *instrument) send(records []string) (waited time.Duration, until time.Time, err error) {
	x.c.SetReadDeadline(time.Now().Add(patience))
	if _, err := x.say([]byte{enq}); err != nil {
		return 0, until, err
	}
	for i, r := range records {
		if waited, err = x.say(frame(i+1, r)); err != nil {
			return 0, until, err
		}
	}
	until = time.Now()
	_, err = x.c.Write([]byte{eot})
	return waited, until, err
}

// say writes and awaits ACK.
func (x *instrument) say(b []byte) (time.Duration, error) {
	began := time.Now()
	if _, err := x.c.Write(b); err != nil {
		return 0, err
	}
	answer, err := x.r.ReadByte()
	if err == nil && answer != ack {
		err = fmt.Errorf("%d bytes were answered with %#x, not with ACK", len(b), answer)
	}
	return time.Since(began), err
}

func frame(number int, record string) []byte {
	text := fmt.Sprintf("%d%s\r\x03", number%8, record)
	var sum byte
	for i := range len(text) {
		sum += text[i]
	}
	return fmt.Appendf([]byte{stx}, "%s%02X\r\n", text, sum)
}

// receive awaits the session of the host, and gives when it began with ENQ and what
// came.
func (x *instrument) receive() (began time.Time, text []byte, err error) {
	x.c.SetReadDeadline(time.Now().Add(patience))
	for {
		b, err := x.r.ReadByte()
		switch {
		case err != nil:
			return began, nil, err
		case b == eot:
			return began, text, nil
		case b == enq:
			began = time.Now()
		case b == stx:
			frame, err := x.r.ReadBytes('\n')
			if err != nil {
				return began, nil, err
			}
			text = append(text, frame...)
		default:
			return began, nil, fmt.Errorf("the host said %#x", b)
		}
		if _, err := x.c.Write([]byte{ack}); err != nil {
			return began, nil, err
		}
	}
}

// A lis takes every message and says AA.
type lis struct{ l net.Listener }

func newLIS(port int) (*lis, error) {
	l, err := net.Listen("tcp", address(port))
	if err != nil {
		return nil, err
	}
	s := &lis{l}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answerAll(c)
		}
	}()
	return s, nil
}

func answerAll(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		m, err := r.ReadBytes(0x1C)
		if err != nil {
			return
		}
		fields := bytes.SplitN(m, []byte("|"), 11)
		if len(fields) < 11 {
			continue // the CR of the message before is all there is
		}
		if _, err := fmt.Fprintf(c, "\vMSH|^~\\&|LIS||NHIP||20260101||ACK|%s|P|2.5.1\rMSA|AA|%s\r\x1c\r", fields[9], fields[9]); err != nil {
			return
		}
	}
}
