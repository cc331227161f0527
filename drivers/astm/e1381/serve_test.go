package e1381_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"nhip/drivers/astm/e1381"
	"nhip/drivers/port"
)

// journal is a Handler that writes down what it is told.
type journal struct {
	mu     sync.Mutex
	events []string
	store  func(context.Context) error // nil: succeeds
	kept   error                       // of Incomplete and Ended
	end    chan bool                   // told of Ended
}

func (j *journal) Store(ctx context.Context, messages []e1381.Message) error {
	if j.store != nil {
		if err := j.store(ctx); err != nil {
			j.note("not stored")
			return err
		}
	}
	for _, m := range messages {
		j.note("stored " + string(m.Records))
	}
	return nil
}

func (j *journal) Incomplete(ctx context.Context, m e1381.Message, reason string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	j.note("incomplete " + string(m.Records) + ": " + reason)
	return j.kept
}

func (j *journal) Ended(ctx context.Context) error {
	j.note("ended")
	if j.end != nil {
		j.end <- true
	}
	return j.kept
}

func (j *journal) note(event string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, event)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.events, "; ")
}

// served is an analyser's end of a served connection.
type served struct {
	net.Conn
	t      *testing.T
	j      *journal
	result chan error
	log    bytes.Buffer
}

func serve(t *testing.T, ctx context.Context, j *journal) *served {
	device, host := net.Pipe()
	s := &served{Conn: device, t: t, j: j, result: make(chan error, 1)}
	go func() {
		err := e1381.Serve(ctx, port.FromNet(host), e1381.ServeOptions{Handler: j, Log: slog.New(slog.NewTextHandler(&s.log, nil))})
		host.Close()
		s.result <- err
	}()
	return s
}

// say sends and expects the reply.
func (s *served) say(b, reply string) {
	s.t.Helper()
	if b != "" { // an empty write to a pipe waits for a reader
		s.Write([]byte(b))
	}
	got := make([]byte, len(reply))
	s.SetReadDeadline(time.Now().Add(time.Hour))
	if _, err := io.ReadFull(s, got); err != nil || string(got) != reply {
		s.t.Errorf("%q is answered %q, %v; want %q", b, got, err, reply)
	}
}

func whole(number int) string { return string(frame(number, head+last, etx)) }

func TestServeStoresBeforeItAcknowledges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		s := serve(t, t.Context(), j)
		var stored atomic.Bool
		j.store = func(context.Context) error {
			time.Sleep(5 * time.Second) // a slow disk
			stored.Store(true)
			return nil
		}
		s.say(enq, ack)
		s.say(string(frame(1, head, etx)), ack)
		s.Write(frame(2, last, etx))
		time.Sleep(4 * time.Second)
		if stored.Load() {
			t.Error("stored already")
		}
		s.say("", ack)
		if !stored.Load() {
			t.Error("acknowledged and not stored")
		}
		s.say(eot, "")
		s.Close()
		if err := <-s.result; err == nil {
			t.Error("the cut line is no error")
		}
		if got := j.String(); got != "stored "+head+last+"; ended" {
			t.Error(got)
		}
	})
}

func TestServeAnswersNAKWhenTheDiskFailsOrIsTooSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		s := serve(t, t.Context(), j)
		s.say(enq, ack)
		j.store = func(context.Context) error { return errors.New("disk full") }
		s.say(whole(1), nak)
		j.store = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		began := time.Now()
		s.say(whole(1), nak)
		if d := time.Since(began); d >= e1381.ReplyTimer {
			t.Errorf("NAK after %v, when the sender has given up", d)
		}
		j.store = nil
		s.say(whole(1), ack)
		s.Close()
		<-s.result
		if got := j.String(); got != "not stored; not stored; stored "+head+last {
			t.Error(got)
		}
		if strings.Contains(s.log.String(), "L|1") {
			t.Errorf("content in the log: %s", &s.log)
		}
	})
}

// Section 6.5: 30 s from the last reply, not from the last byte.
func TestServeTimesOut30SecondsAfterItsReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		s := serve(t, t.Context(), j)
		s.say(enq, ack)
		s.say(string(frame(1, head, etx)), ack)
		began := time.Now()
		for range 2 {
			time.Sleep(14 * time.Second)
			s.say("noise", "")
			s.say("\x022P", "")
		}
		synctest.Wait()
		if j.String() != "" {
			t.Errorf("after %v: %s", time.Since(began), j)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if got := j.String(); got != "incomplete "+head+": no frame for 30 s" {
			t.Errorf("after %v: %q", time.Since(began), got)
		}
		time.Sleep(24 * time.Hour) // an idle line stays open
		s.say(enq, ack)
		s.say(whole(1), ack)
		time.Sleep(time.Minute)
		s.say(enq, ack) // the session was never ended
		s.Close()
		<-s.result
		if len(j.events) != 2 {
			t.Error(j)
		}
	})
}

func TestServeHandsOverWhatACutLineLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		s := serve(t, t.Context(), j)
		s.say(enq, ack)
		s.say(whole(1), ack)
		s.say(string(frame(2, head, etx)), ack)
		s.Close()
		<-s.result
		if got := j.String(); !strings.HasPrefix(got, "stored "+head+last+"; incomplete "+head+": line cut") {
			t.Error(got)
		}
	})
}

func TestServeStopsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		j := &journal{}
		s := serve(t, ctx, j)
		s.say(enq, ack)
		s.say(string(frame(1, head, etx)), ack)
		cancel()
		if err := <-s.result; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if got := j.String(); got != "incomplete "+head+": the gateway was stopped" {
			t.Error(got)
		}
	})
}

func TestServeEndsWhenWhatIsLeftCannotBeKept(t *testing.T) {
	for _, send := range []string{string(frame(1, head, etx)), whole(1)} {
		synctest.Test(t, func(t *testing.T) {
			full := errors.New("disk full")
			s := serve(t, t.Context(), &journal{kept: full})
			s.say(enq, ack)
			s.say(send, ack)
			s.say(eot, "")
			if err := <-s.result; !errors.Is(err, full) {
				t.Error(err)
			}
		})
	}
}

// A device that does not read its replies does not hold the connection for ever.
// The note that a session has ended may take the disk's time: what answers a query does
// not wait for it, the next message does.
func TestNothingOnTheLineWaitsForTheNoteOfAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, box := &journal{end: make(chan bool)}, &e1381.Outbox{}
		device, host := net.Pipe()
		s := &served{Conn: device, t: t, j: j, result: make(chan error, 1)}
		go func() {
			s.result <- e1381.Serve(t.Context(), port.FromNet(host), e1381.ServeOptions{Handler: j, Outbox: box})
		}()
		s.say(enq, ack)
		s.say(whole(1), ack)
		sent := make(chan error, 1)
		if err := box.Put(e1381.Outgoing{Frames: []e1381.Frame{{Text: []byte("H\r"), End: etx}}, Done: func(err error) { sent <- err }}); err != nil {
			t.Fatal(err)
		}
		s.say(eot, enq)
		s.say(ack, string(frame(1, "H\r", etx)))
		s.say(ack, eot)
		if err := <-sent; err != nil {
			t.Error(err)
		}
		s.say(enq, ack)
		s.Write([]byte(whole(1)))
		synctest.Wait()
		if got := strings.Count(j.String(), "stored"); got != 1 {
			t.Errorf("%d messages are stored before the end of the session between them is noted", got)
		}
		<-j.end
		s.say("", ack)
		s.Close()
		<-s.result
	})
}

func TestServeGivesUpAReplyThatIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, t.Context(), &journal{})
		s.Write([]byte(enq))
		if err := <-s.result; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	})
}

// An analyser that was switched off and on connects anew: the new connection is served
// at once, the old one ends its session and gives way.
func TestOldConnectionGivesWayAfterEOT(t *testing.T) {
	a, err := port.Parse("tcp-listen://127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	p, err := port.Open(ctx, a, port.Options{MaxConns: 3})
	if err != nil {
		t.Fatal(err)
	}
	results, end := make(chan error, 10), make(chan bool, 10)
	done := make(chan error)
	go func() {
		done <- p.Serve(ctx, func(ctx context.Context, c port.Conn) error {
			err := e1381.Serve(ctx, c, e1381.ServeOptions{Handler: &journal{end: end}})
			results <- err
			return err
		})
	}()
	connect := func() *served {
		c, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return &served{Conn: c, t: t}
	}
	busy := connect()
	busy.say(enq, ack)
	anew := connect()
	anew.say(enq, ack)
	busy.say(whole(1), ack) // still in its session
	busy.say(eot, "")
	<-end
	if err := <-results; err != port.ErrSuperseded {
		t.Error(err)
	}
	anew.say(whole(1), ack)
	anew.say(eot, "")
	<-end
	third := connect() // the second is idle: it gives way as soon as the third speaks
	third.say(enq, ack)
	if err := <-results; err != port.ErrSuperseded {
		t.Error(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	<-results
}

// faulty is a line that damages what is sent over it.
type faulty struct {
	net.Conn
	damage func([]byte) []byte
}

func (f *faulty) Write(b []byte) (int, error) {
	if d := f.damage(bytes.Clone(b)); len(d) > 0 {
		if _, err := f.Conn.Write(d); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// Sender against receiver over a line that loses, changes and adds bytes both ways:
// what Transmit calls sent is stored, in the order of its sessions, as it was sent.
// A message may be there twice only when Transmit has failed with it.
func TestSenderAndReceiverOverABadLine(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) { badLine(t, seed) })
	}
}

// buffered is a pair of connections with room for what nobody reads yet, as a network
// or a serial driver has it.
func buffered() (device, host net.Conn) {
	device, deviceEnd := net.Pipe()
	hostEnd, host := net.Pipe()
	for _, way := range [][2]net.Conn{{deviceEnd, hostEnd}, {hostEnd, deviceEnd}} {
		queue := make(chan []byte, 10_000)
		go func() {
			defer close(queue)
			for {
				b := make([]byte, 1000)
				n, err := way[0].Read(b)
				if err != nil {
					return
				}
				queue <- b[:n]
			}
		}()
		go func() {
			defer way[1].Close()
			for b := range queue {
				if _, err := way[1].Write(b); err != nil {
					return
				}
			}
		}()
	}
	return device, host
}

func badLine(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	damage := func(b []byte) []byte {
		switch random.IntN(12) {
		case 0:
			return nil // lost
		case 1:
			i := random.IntN(len(b))
			return append(b[:i], b[i+1:]...)
		case 2:
			b[random.IntN(len(b))] ^= 1 << random.IntN(8)
		case 3:
			return append([]byte{'?'}, b...)
		}
		return b
	}
	// A reply that turns into an ACK (or a lost ENQ answered by noise) is beyond any
	// protocol of this kind, so replies are only lost.
	losses := rand.New(rand.NewPCG(seed, 2))
	lose := func(b []byte) []byte {
		if losses.IntN(12) == 0 {
			return nil
		}
		return b
	}
	device, host := buffered()
	j := &journal{}
	result := make(chan error, 1)
	go func() {
		result <- e1381.Serve(t.Context(), port.FromNet(&faulty{host, lose}), e1381.ServeOptions{Handler: j})
		host.Close()
	}()
	c := port.FromNet(&faulty{device, damage})
	sent, failures := 0, 0
	for i := 0; i < 5; {
		m := fmt.Sprintf("H|\\^&\rO|1|S-%d\rC|1|%s\rL|1|N\r", i, strings.Repeat("x", 300))
		err := e1381.Transmit(t.Context(), c, e1381.Instrument, e1381.Frames([]byte(m), e1381.Packing(i%2), 0))
		var failed *e1381.FailedError
		switch {
		case err == nil:
			sent++
			i++
		case errors.As(err, &failed):
			failures++
			time.Sleep(time.Minute) // the receiver is neutral again
		default:
			t.Fatal(err)
		}
		if failures > 200 {
			t.Fatalf("seed %d: no message gets through", seed)
		}
	}
	device.Close()
	<-result
	count := map[string]int{}
	next := 0
	for _, e := range j.events {
		m, stored := strings.CutPrefix(e, "stored ")
		if !stored {
			continue
		}
		want := fmt.Sprintf("H|\\^&\rO|1|S-%d\rC|1|%s\rL|1|N\r", next, strings.Repeat("x", 300))
		if count[m] == 0 {
			if m != want {
				t.Fatalf("seed %d: stored %q, want %q", seed, m, want)
			}
			next++
		}
		count[m]++
	}
	extra := 0
	for _, n := range count {
		extra += n - 1
	}
	if len(count) != sent || extra > failures {
		t.Errorf("seed %d: %d sent, %d stored, %d twice, %d failures", seed, sent, len(count), extra, failures)
	}
}

func TestTransmitTellsWhoHasTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		device, host := net.Pipe()
		go func() {
			b := make([]byte, 1)
			device.Read(b)
			device.Write([]byte(enq + "x"))
		}()
		err := e1381.Transmit(t.Context(), port.FromNet(host), e1381.Computer, nil)
		var yielded *e1381.YieldedError
		if !errors.As(err, &yielded) || string(yielded.Unread) != "x" {
			t.Errorf("%v", err)
		}
		device.Close()
		if err := e1381.Transmit(t.Context(), port.FromNet(host), e1381.Computer, nil); err == nil {
			t.Error("sent over a closed line")
		}
	})
}

// A late ACK of the session before is not the answer to ENQ.
func TestTransmitDropsWhatIsStillOnTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		device, host := buffered()
		device.Write([]byte(ack + ack))
		err := e1381.Transmit(t.Context(), port.FromNet(host), e1381.Computer, []e1381.Frame{{Text: []byte("H"), End: etx}})
		if err == nil || err.Error() != "e1381: no answer to ENQ for 15 s (0 frames were acknowledged)" {
			t.Error(err)
		}
		device.Write([]byte(ack + enq + "x"))
		err = e1381.Transmit(t.Context(), port.FromNet(host), e1381.Computer, nil)
		var yielded *e1381.YieldedError
		if !errors.As(err, &yielded) || string(yielded.Unread) != enq+"x" {
			t.Error(err)
		}
		device.Close()
		host.Close()
	})
}

func TestTransmitStopsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		device, host := net.Pipe()
		defer device.Close()
		go io.Copy(io.Discard, host)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := e1381.Transmit(ctx, port.FromNet(device), e1381.Instrument, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		host.Close()
	})
}
