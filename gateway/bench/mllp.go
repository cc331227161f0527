package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"nhip/hl7"
)

// An exchange is a connection on which messages are sent, each after the answer to
// the one before.
type exchange struct {
	c net.Conn
	r *bufio.Reader
}

func dialMLLP(port int) (*exchange, error) { return dialExchange(address(port)) }

func dialExchange(to string) (*exchange, error) {
	c, err := net.Dial("tcp", to)
	if err != nil {
		return nil, err
	}
	return &exchange{c, bufio.NewReader(c)}, nil
}

// send sends a template's message under a control ID, and awaits that it is accepted.
func (x *exchange) send(template []byte, id string) error {
	frame := append([]byte{0x0B}, bytes.ReplaceAll(template, []byte("{{ID}}"), []byte(id))...)
	x.c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := x.c.Write(append(frame, 0x1C, '\r')); err != nil {
		return err
	}
	answer, err := x.r.ReadBytes(0x1C)
	if err == nil {
		_, err = x.r.Discard(1)
	}
	// The message asks for an accept acknowledgement (MSH-15).
	if err == nil && !bytes.Contains(answer, []byte("\rMSA|CA|"+id+"\r")) {
		err = fmt.Errorf("message %s was answered with %d bytes and not accepted", id, len(answer))
	}
	return err
}

// field: a message with a field of 5 MB, as a report in it has, from the first byte
// sent to its acknowledgement.
func (b *bench) field() error {
	g, err := b.gateway("nhip", false)
	if err != nil {
		return err
	}
	x, err := dialMLLP(g.hl7)
	if err != nil {
		return err
	}
	defer x.c.Close()
	template := append(message(), "OBX|99|ED|PDF||^^PDF^Base64^"+strings.Repeat("QUJD", 5<<20/4)+"||||||F\r"...)
	var took []float64
	for i := range b.rounds {
		began := time.Now()
		if err := x.send(template, fmt.Sprintf("FIELD%d", i)); err != nil {
			return err
		}
		took = append(took, time.Since(began).Seconds())
	}
	b.under("HL7, a field of 5 MB", "s", took, nil, "", 0.2)
	return nil
}

// memory: what is resident with 64 connections at 500 messages a second, and the most
// of it when they then send as fast as they are answered.
func (b *bench) memory() error {
	g, err := b.gateway("nhip", true)
	if err != nil {
		return err
	}
	for _, run := range []struct {
		what  string
		pause time.Duration // between two messages of a connection
		limit float64
	}{
		{"HL7, 64 connections at 500 messages/s, resident memory", 64 * time.Second / 500, 150},
		{"HL7, 64 connections flat out, resident memory", 0, 600},
	} {
		if err := g.load(64, 10*time.Second, run.pause); err != nil {
			return err
		}
		most, err := g.memory("VmHWM")
		if err != nil {
			return err
		}
		b.under(run.what, "MiB", []float64{most}, nil, "", run.limit)
	}
	return nil
}

// load sends messages on k connections for a time.
func (g *gateway) load(k int, long, pause time.Duration) error {
	template, end := message(), time.Now().Add(long)
	failed := make(chan error, k)
	var all sync.WaitGroup
	for i := range k {
		x, err := dialMLLP(g.hl7)
		if err != nil {
			return err
		}
		all.Go(func() {
			defer x.c.Close()
			time.Sleep(pause * time.Duration(i) / time.Duration(k)) // not all in one moment
			for n := 0; time.Now().Before(end); n++ {
				began := time.Now()
				if err := x.send(template, fmt.Sprintf("M%d-%d", i, n)); err != nil {
					failed <- err
					return
				}
				time.Sleep(pause - time.Since(began))
			}
		})
	}
	all.Wait()
	close(failed)
	return <-failed
}

// edit: a result parsed, one field changed, and written, on one core: in processor
// time, whatever else the machine does.
func (b *bench) edit() error {
	const times = 20000
	text := message()
	var rates []float64
	for range b.rounds {
		took, err := processorTime(func() error {
			for range times {
				m, err := hl7.Parse(text)
				if err != nil {
					return err
				}
				if err := m.Set("PID-3.1", "T0002"); err != nil {
					return err
				}
				if _, err := io.Discard.Write(m.Bytes()); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		rates = append(rates, times*float64(len(text))/1e6/took.Seconds())
	}
	b.least("HL7, parse, change a field, write", "MB/s", rates, 200)
	return nil
}
