package lis_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"nhip/gateway/delivery"
	"nhip/gateway/lis"
	"nhip/hl7/mllp"
	"nhip/storage"
)

// A liar is a LIS on a real socket. It lies about each message lies times, and
// then answers it truly; what it truly accepted is in took.
type liar struct {
	net.Listener
	lie  func(c net.Conn, id string, l *liar)
	lies int

	mu   sync.Mutex
	got  map[string]int
	took []string
	kept []net.Conn // connections that are not closed by us
}

func answer(code, id string) string {
	return "MSH|^~\\&|LIS||NHIP||20260114081500||ACK|A1|P|2.5.1\rMSA|" + code + "|" + id + "\r"
}

func write(c net.Conn, text string) { c.Write(mllp.AppendFrame(nil, []byte(text))) }

func newLiar(t *testing.T, lies int, lie func(c net.Conn, id string, l *liar)) *liar {
	t.Helper()
	n, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &liar{Listener: n, lie: lie, lies: lies, got: map[string]int{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := n.Accept()
			if err != nil {
				return
			}
			l.mu.Lock()
			l.kept = append(l.kept, c)
			l.mu.Unlock()
			wg.Go(func() { l.serve(c) })
		}
	})
	t.Cleanup(func() {
		n.Close()
		for _, c := range l.kept {
			c.Close()
		}
		wg.Wait()
	})
	return l
}

func (l *liar) serve(c net.Conn) {
	r := mllp.NewReceiver(1 << 20)
	buffer := make([]byte, 4096)
	for {
		n, err := c.Read(buffer)
		if err != nil {
			return
		}
		for _, e := range r.Receive(buffer[:n]) {
			f, ok := e.(mllp.Frame)
			if !ok {
				continue
			}
			id := strings.Split(string(f.Content), "|")[9]
			l.mu.Lock()
			l.got[id]++
			lying := l.got[id] <= l.lies
			if !lying {
				l.took = append(l.took, id)
			}
			l.mu.Unlock()
			if lying {
				l.lie(c, id, l)
				continue
			}
			write(c, answer("AA", id))
		}
	}
}

const yesterday = "NHIP0000000000000000"

var lies = map[string]func(c net.Conn, id string, l *liar){
	"AE":           func(c net.Conn, id string, _ *liar) { write(c, answer("AE", id)) },
	"AR":           func(c net.Conn, id string, _ *liar) { write(c, answer("AR", id)) },
	"CR":           func(c net.Conn, id string, _ *liar) { write(c, answer("CR", id)) },
	"CA":           func(c net.Conn, id string, _ *liar) { write(c, answer("CA", id)) },
	"small aa":     func(c net.Conn, id string, _ *liar) { write(c, answer("aa", id)) },
	"garbage":      func(c net.Conn, _ string, _ *liar) { write(c, "\x00\xff{}HTTP") },
	"not a frame":  func(c net.Conn, id string, _ *liar) { c.Write([]byte(answer("AA", id))) },
	"HTTP":         func(c net.Conn, _ string, _ *liar) { c.Write([]byte("HTTP/1.1 200 OK\r\n\r\n")) },
	"another ID":   func(c net.Conn, _ string, _ *liar) { write(c, answer("AA", yesterday)) },
	"empty MSA-2":  func(c net.Conn, _ string, _ *liar) { write(c, answer("AA", "")) },
	"longer MSA-2": func(c net.Conn, id string, _ *liar) { write(c, answer("AA", id+"0")) },
	"no MSA":       func(c net.Conn, _ string, _ *liar) { write(c, "MSH|^~\\&|LIS||NHIP||20260114||ACK|A1|P|2.5.1\r") },
	"an ORU": func(c net.Conn, id string, _ *liar) {
		write(c, "MSH|^~\\&|L||N||2026||ORU^R01|"+id+"|P|2.5.1\rOBX|1|ST|AA||"+id+"\r")
	},
	"half an answer": func(c net.Conn, id string, _ *liar) {
		f := mllp.AppendFrame(nil, []byte(answer("AA", id)))
		c.Write(f[:len(f)-9])
	},
	"half an answer and the end": func(c net.Conn, id string, _ *liar) {
		f := mllp.AppendFrame(nil, []byte(answer("AA", id)))
		c.Write(f[:len(f)-9])
		c.Close()
	},
	"nothing": func(net.Conn, string, *liar) {},
	"the end": func(c net.Conn, _ string, _ *liar) { c.Close() },
	"reset":   func(c net.Conn, _ string, _ *liar) { c.(*net.TCPConn).SetLinger(0); c.Close() },
	"an answer in time, of the message before": func(c net.Conn, id string, l *liar) {
		l.mu.Lock()
		defer l.mu.Unlock()
		before := yesterday
		for other := range l.got {
			if other != id {
				before = other
			}
		}
		write(c, answer("AA", before))
	},
	"yesterday's answer": func(c net.Conn, id string, l *liar) { // too late, on every connection there is
		time.Sleep(150 * time.Millisecond)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.took = append(l.took, id) // it says so, if late: this message, and no other
		for _, other := range l.kept {
			write(other, answer("AA", id))
		}
	},
}

// T15: whatever the LIS says, a message leaves the queue only when it was taken
// under its own control ID in time, and each of them once a true answer comes.
func TestNoWrongAnswerEverCounts(t *testing.T) {
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLiar(t, 2, lie)
			s, stop := sending(t, l, 3)
			defer stop()
			wait := time.Now().Add(90 * time.Second)
			for s.Depth(delivery.Queue("lis")) > 0 && time.Now().Before(wait) {
				l.settled(t, s)
				time.Sleep(5 * time.Millisecond)
				if name == "AE" && s.Counters()[delivery.CountHeld] == 3 {
					break // held for a person, the others behind them
				}
			}
			l.settled(t, s)
			l.mu.Lock()
			defer l.mu.Unlock()
			c := s.Counters()
			if name == "AE" {
				if c[delivery.CountDelivered] != 0 || len(l.took) != 0 {
					t.Errorf("%v, took %v", c, l.took)
				}
				return
			}
			if c[delivery.CountDelivered] != 6 || c[delivery.CountQueued] != 0 {
				t.Errorf("%v; the LIS took %v, got %v", c, l.took, l.got)
			}
		})
	}
}

// settled holds what is noted as delivered against what the LIS truly took.
func (l *liar) settled(t *testing.T, s *storage.Store) {
	t.Helper()
	keys, err := s.Keys("delivered/lis/", 0)
	if err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range keys {
		id, found := strings.TrimPrefix(k, "delivered/lis/"), false
		for _, took := range l.took {
			found = found || took == id
		}
		if !found {
			t.Fatalf("%s is delivered, and the LIS took %v", id, l.took)
		}
	}
}

// sending queues six results of three specimens, and delivers them over so many
// connections.
func sending(t *testing.T, l *liar, connections int) (*storage.Store, func()) {
	t.Helper()
	s, err := storage.Open(t.Context(), storage.Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		id := fmt.Sprintf("NHIP%016d", i+1)
		b := new(storage.Batch)
		j := b.Append("out/lis", []byte("MSH|^~\\&|NHIP||LIS||20260114081500||ORU^R01^ORU_R01|"+id+"|P|2.5.1\rOBX|1|NM|WBC||6.41\r"))
		b.Enqueue(delivery.Queue("lis"), fmt.Sprint("specimen", i%3), delivery.Ticket{ID: id, What: "ORU^R01", Mark: id}.Encode(), j)
		b.Add(delivery.CountAccepted, 1)
		b.Add(delivery.CountQueued, 1)
		if _, err := s.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	w := &delivery.Worker{Destination: "lis", Store: s, Log: slog.New(slog.DiscardHandler), LinkMax: 20 * time.Millisecond,
		Policy: delivery.Policy{First: 5 * time.Millisecond, Max: 20 * time.Millisecond, MaxRejections: 20}}
	for range connections {
		w.Senders = append(w.Senders, lis.NewSender(lis.SenderOptions{Address: l.Addr().String(), Connect: time.Second, Answer: 100 * time.Millisecond, Body: s.Read}))
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.Run(ctx) })
	return s, func() {
		cancel()
		wg.Wait()
		if err := delivery.Balance(s.Snapshot()); err != nil {
			t.Error(err)
		}
		s.Close()
	}
}
