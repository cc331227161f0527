package lis_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"

	"nhip/gateway/delivery"
	"nhip/gateway/lis"
	"nhip/hl7/mllp"
	"nhip/storage"
)

// An orderly stop between a message and its answer makes no repeat: the answer is
// waited for, and what it settles is committed.
func TestTheAnswerToTheMessageInFlightIsTakenAtTheStop(t *testing.T) {
	n, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	s, err := storage.Open(t.Context(), storage.Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b := new(storage.Batch)
	for _, id := range []string{"NHIP1", "NHIP2"} {
		j := b.Append("out/lis", []byte("MSH|^~\\&|NHIP||LIS||20260114081500||ORU^R01^ORU_R01|"+id+"|P|2.5.1\r"))
		b.Enqueue(delivery.Queue("lis"), "specimen", delivery.Ticket{ID: id, Mark: id}.Encode(), j)
	}
	b.Add(delivery.CountAccepted, 2)
	b.Add(delivery.CountQueued, 2)
	if _, err := s.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	w := &delivery.Worker{Destination: "lis", Store: s, Log: slog.New(slog.DiscardHandler), Policy: delivery.DefaultPolicy(),
		Senders: []delivery.Sender{lis.NewSender(lis.SenderOptions{Address: n.Addr().String(), Body: s.Read})}}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()

	c, err := n.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	receive(t, c)
	stop()
	write(c, answer("AA", "NHIP1"))
	if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
		t.Errorf("after the stop %q was sent, %v", rest, err)
	}
	<-ended
	if c := s.Counters(); c[delivery.CountDelivered] != 1 || c[delivery.CountQueued] != 1 {
		t.Errorf("%v", c)
	}
	if err := delivery.Balance(s.Snapshot()); err != nil {
		t.Error(err)
	}
}

// receive reads one message.
func receive(t *testing.T, c net.Conn) {
	t.Helper()
	r := mllp.NewReceiver(1 << 20)
	buffer := make([]byte, 4096)
	for {
		n, err := c.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range r.Receive(buffer[:n]) {
			if _, ok := e.(mllp.Frame); ok {
				return
			}
		}
	}
}
