package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"nhip/gateway/lab"
	"nhip/gateway/orders"
	"nhip/gateway/record"
	"nhip/storage"
)

const (
	openOrders     = 100_000
	ordersAMessage = 40
	askingDevices  = 16
	queriesEach    = 40
	queryPause     = 250 * time.Millisecond // between two of one analyser
	queryLimit     = 10                     // ms
)

// queries: what an analyser is to do with a specimen, found among 100,000 open orders
// that came by HL7. At the desk it is the look-up; by TCP it is what passes from the
// end of the analyser's session, right after the ACK of its last frame, to our ENQ:
// until EOT the line is the analyser's.
func (b *bench) queries() error {
	var blocks strings.Builder
	for i := range askingDevices {
		fmt.Fprintf(&blocks, "[[analyser]]\nname = \"a-%d\"\nprofile = \"roche-cobas-6000\"\nport = \"tcp-listen://127.0.0.1:0\"\norders = \"required\"\n", i)
	}
	g, err := b.gatewayWith("nhip", false, blocks.String())
	if err != nil {
		return err
	}
	if err := b.order(g); err != nil {
		return err
	}
	if err := b.ask(g); err != nil {
		return err
	}
	resident, err := g.memory("VmRSS")
	if err != nil {
		return err
	}
	g.stop()
	disk, err := onDisk(g.data)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := b.run(g, "nhip-again"); err != nil {
		return err
	}
	again := time.Since(began)
	if _, err := g.settle(); err != nil {
		return err
	}
	after, err := g.memory("VmRSS")
	if err != nil {
		return err
	}
	g.stop()
	b.under("100,000 open orders, from start to listening", "s", []float64{again.Seconds()}, nil, "", 0)
	b.under("100,000 open orders, resident memory after they came", "MiB", []float64{resident}, nil, "", 0)
	b.under("100,000 open orders, resident memory after a start", "MiB", []float64{after}, nil, "", 0)
	b.under("100,000 open orders, on disk", "MiB", []float64{disk}, nil, "", 0)
	return b.desk(g.data)
}

func specimenOf(order int) string { return fmt.Sprintf("26%08d", order) }

// order sends the orders, each of two tests.
func (b *bench) order(g *gateway) error {
	x, err := dialMLLP(g.hl7)
	if err != nil {
		return err
	}
	defer x.c.Close()
	start, err := g.cpu()
	if err != nil {
		return err
	}
	began := time.Now()
	for from := 0; from < openOrders; from += ordersAMessage {
		if err := x.order(from, ordersAMessage); err != nil {
			return err
		}
	}
	took := time.Since(began)
	end, err := g.settle()
	if err != nil {
		return err
	}
	b.under("orders by HL7, 40 in a message", "orders/s", []float64{openOrders / took.Seconds()}, nil, "", 0)
	b.under("orders by HL7, 40 in a message", "ms CPU/order", []float64{float64(end-start) / float64(time.Millisecond) / openOrders}, nil, "", 0)
	return nil
}

// order sends orders of one patient in one message, and awaits that they are accepted.
func (x *exchange) order(from, n int) error {
	now := time.Now().Format("20060102150405-0700")
	var m strings.Builder
	fmt.Fprintf(&m, "\vMSH|^~\\&|BENCH|LAB|NHIP|SITE|%s||OML^O21^OML_O21|O%d|P|2.5.1||||||UNICODE UTF-8\rPID|1||P%d^^^BV^MR||NGUYEN^THI ANH||19800101|F\r", now, from, from)
	for i := from; i < from+n; i++ {
		for t, test := range []string{"GLU", "NA"} {
			fmt.Fprintf(&m, "ORC|NW|A%d||||||||||\rOBR|%d|A%d||%s^%s^L\rSPM|1|%s||SER|||||||||||||%s\r", i, t+1, i, test, test, specimenOf(i), now)
		}
	}
	x.c.SetDeadline(time.Now().Add(patience))
	if _, err := x.c.Write([]byte(m.String() + "\x1c\r")); err != nil {
		return err
	}
	answer, err := x.r.ReadBytes(0x1C)
	if err == nil {
		_, err = x.r.Discard(1)
	}
	if err == nil && !bytes.Contains(answer, fmt.Appendf(nil, "\rMSA|AA|O%d", from)) {
		err = fmt.Errorf("orders from %d on were not accepted: %.200q", from, answer)
	}
	return err
}

// ask has analysers ask while further orders come.
func (b *bench) ask(g *gateway) error {
	ports, err := g.analyserPorts()
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	ordering := make(chan error, 1)
	go func() { ordering <- g.orderOn(stop) }()
	var all sync.WaitGroup
	var mu sync.Mutex
	var waits []time.Duration
	for i := range askingDevices {
		x, err := dialInstrument(ports[fmt.Sprintf("a-%d", i)])
		if err != nil {
			return err
		}
		all.Go(func() {
			defer x.c.Close()
			time.Sleep(queryPause * time.Duration(i) / askingDevices)
			for n := range queriesEach {
				waited, e := x.query((i*queriesEach + n) * 7919 % openOrders)
				mu.Lock()
				waits, err = append(waits, waited), errors.Join(err, e)
				mu.Unlock()
				if e != nil {
					return
				}
				time.Sleep(queryPause)
			}
		})
	}
	all.Wait()
	close(stop)
	if err := errors.Join(err, <-ordering); err != nil {
		return err
	}
	slices.Sort(waits)
	const what = "host query among 100,000 open orders, by TCP, EOT to ENQ"
	b.under(what+", p99", "ms", []float64{percentile(waits, 99)}, nil, "", queryLimit)
	b.under(what+", p50", "ms", []float64{percentile(waits, 50)}, nil, "", 0)
	return nil
}

// orderOn sends ten orders a second.
func (g *gateway) orderOn(stop chan struct{}) error {
	x, err := dialMLLP(g.hl7)
	if err != nil {
		return err
	}
	defer x.c.Close()
	for n := openOrders; ; n++ {
		if err := x.order(n, 1); err != nil {
			return err
		}
		select {
		case <-stop:
			return nil
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// query asks for a specimen, takes the answer, and says how long it was awaited.
func (x *instrument) query(order int) (time.Duration, error) {
	specimen := specimenOf(order)
	_, until, err := x.send([]string{`H|\^&|||cobas6000^1|||||host|TSREQ^REAL|P|1`, "Q|1|^^" + specimen + "^1^2^3^^S1^SC||ALL||||||||O", "L|1|N"})
	if err != nil {
		return 0, err
	}
	began, answer, err := x.receive()
	if err == nil && (!bytes.Contains(answer, []byte("|"+specimen)) || !bytes.Contains(answer, []byte("^^^GLU"))) {
		err = fmt.Errorf("the answer for order %d has not what was ordered: %d bytes", order, len(answer))
	}
	return began.Sub(until), err
}

// desk looks specimens up without a line.
func (b *bench) desk(data string) error {
	s, err := storage.Open(context.Background(), storage.Options{Dir: data})
	if err != nil {
		return err
	}
	defer s.Close()
	began := time.Now()
	all, err := orders.Open(context.Background(), orders.Options{Store: s, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	opened := time.Since(began)
	desk := &lab.Desk{Orders: all, Log: slog.New(slog.DiscardHandler)}
	work := desk.For(lab.Analyser{Name: "a", Policy: lab.Required, Window: 48 * time.Hour, Codes: lab.ByCode{}})
	var took []time.Duration
	for n := range 5000 {
		specimen := specimenOf(n * 7919 % openOrders)
		began := time.Now()
		found, err := work.Work(context.Background(), record.Query{Specimens: []string{specimen}})
		took = append(took, time.Since(began))
		if err != nil || len(found) != 1 || len(found[0].Tests) != 2 {
			return errors.Join(err, fmt.Errorf("%d services for order %d", len(found), n*7919%openOrders))
		}
	}
	slices.Sort(took)
	b.under("host query among 100,000 open orders, at the desk, p99", "ms", []float64{percentile(took, 99)}, nil, "", queryLimit)
	b.under("host query among 100,000 open orders, at the desk, p50", "ms", []float64{percentile(took, 50)}, nil, "", 0)
	b.under("100,000 open orders, read into the index", "s", []float64{opened.Seconds()}, nil, "", 0)
	return nil
}
