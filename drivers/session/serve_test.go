package session_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"nhip/drivers/port"
	"nhip/drivers/session"
	"nhip/gateway/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a protocol for tests: a line of text is a message, answered "+" when it is
// stored; one that begins with ? asks for work.
type echo struct {
	text    []byte
	forever bool
}

func (e *echo) Idle() bool { return len(e.text) == 0 }

func (e *echo) Receive(p []byte) (int, []session.Action) {
	for n, b := range p {
		if b != '\n' {
			e.text = append(e.text, b)
			continue
		}
		message := slices.Clone(e.text)
		e.text = nil
		if message[0] == '?' {
			return n + 1, []session.Action{session.Ask{Query: record.Query{Specimens: []string{string(message[1:])}}, Within: time.Second}}
		}
		if string(message) == "bye" {
			return n + 1, []session.Action{session.Close{Reason: "said so"}, session.Send{Bytes: []byte("!")}}
		}
		return n + 1, []session.Action{session.Store{Messages: [][]byte{message}, Forever: e.forever}, session.Send{Bytes: []byte("+")}}
	}
	return len(p), []session.Action{session.Wait{For: 5 * time.Second}}
}

func (e *echo) TimedOut() []session.Action { return e.Cut("silence") }
func (e *echo) StoreFailed() []session.Action {
	return []session.Action{session.Send{Bytes: []byte("-")}}
}

func (e *echo) Answered(work []record.Work, ok bool) []session.Action {
	switch {
	case !ok:
		return []session.Action{session.Send{Bytes: []byte("?")}}
	case len(work) == 0:
		return []session.Action{session.Unsent{Reason: "nothing to do"}}
	}
	return []session.Action{session.Send{Bytes: []byte(work[0].Tests[0])}, session.Sent{}}
}

func (e *echo) Cut(reason string) []session.Action {
	if len(e.text) == 0 {
		return nil
	}
	text := e.text
	e.text = nil
	return []session.Action{session.Incomplete{Message: text, Reason: reason}}
}

// owner is a Handler and Orders.
type owner struct {
	mu    sync.Mutex
	notes []string
	fail  int // so many commits fail
	slow  time.Duration
}

func (o *owner) note(s string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.notes = append(o.notes, s)
}

func (o *owner) all() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.notes)
}

func (o *owner) Store(_ context.Context, messages [][]byte) error {
	o.mu.Lock()
	o.fail--
	failed := o.fail >= 0
	o.mu.Unlock()
	if failed {
		return errors.New("disk full")
	}
	o.note("stored " + string(messages[0]))
	return nil
}

func (o *owner) Incomplete(_ context.Context, message []byte, reason string) error {
	o.note("incomplete " + string(message) + ": " + reason)
	return nil
}

func (o *owner) Ended(context.Context) error { return nil }

func (o *owner) Work(ctx context.Context, q record.Query) ([]record.Work, error) {
	t := time.NewTimer(o.slow)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if q.Specimens[0] == "S1" {
		return []record.Work{{Specimen: "S1", Tests: []string{"A"}}}, nil
	}
	return nil, nil
}

func (o *owner) Handed(q record.Query, work []record.Work, err error) {
	word := "taken"
	if err != nil {
		word = err.Error()
	}
	o.note("handed " + q.Specimens[0] + ": " + word)
}

// serve runs the core in a bubble; do is the device.
func serve(t *testing.T, core session.Core, o *owner, do func(c net.Conn, stop func())) (result error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			err := session.Serve(ctx, port.FromNet(there), core, session.Options{Handler: o, Orders: o})
			there.Close()
			ended <- err
		}()
		do(here, cancel)
		result = <-ended
		here.Close()
		cancel()
	})
	return result
}

func exchange(t *testing.T, c net.Conn, text, want string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("%q is answered %q, %v, want %q", text, got, err, want)
	}
}

func TestAcknowledgedWhenStoredAndRefusedWhenNot(t *testing.T) {
	o := &owner{fail: 1}
	err := serve(t, &echo{}, o, func(c net.Conn, _ func()) {
		exchange(t, c, "one\n", "-")
		exchange(t, c, "one\n", "+")
		io.WriteString(c, "ha")
		time.Sleep(6 * time.Second)
		io.WriteString(c, "lf")
		synctest.Wait()
		c.Close()
	})
	if got, want := o.all(), []string{"stored one", "incomplete ha: silence", "incomplete lf: line cut: the device closed the connection"}; !slices.Equal(got, want) || err == nil {
		t.Errorf("%q, %v", got, err)
	}
}

// What cannot be refused is stored as soon as it can be, and the device waits.
func TestStoredAtLastWhatCannotBeRefused(t *testing.T) {
	o := &owner{fail: 3}
	serve(t, &echo{forever: true}, o, func(c net.Conn, _ func()) {
		began := time.Now()
		exchange(t, c, "one\n", "+")
		if d := time.Since(began); d != 3*time.Second {
			t.Errorf("after %v", d)
		}
		c.Close()
	})
	if got := o.all(); !slices.Equal(got, []string{"stored one"}) {
		t.Errorf("%q", got)
	}
}

func TestAnsweredWithinTheDeadlineOrNotAtAll(t *testing.T) {
	o := &owner{slow: 900 * time.Millisecond}
	serve(t, &echo{}, o, func(c net.Conn, _ func()) {
		exchange(t, c, "?S1\n", "A")
		exchange(t, c, "?S2\nx\n", "+")
		o.mu.Lock()
		o.slow = time.Minute
		o.mu.Unlock()
		began := time.Now()
		exchange(t, c, "?S1\n", "?")
		if d := time.Since(began); d != time.Second {
			t.Errorf("given up after %v", d)
		}
		c.Close()
	})
	if got, want := o.all(), []string{"handed S1: taken", "handed S2: nothing to do", "stored x"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestEndsByTheCoreAndByTheGateway(t *testing.T) {
	if err := serve(t, &echo{}, &owner{}, func(c net.Conn, _ func()) { io.WriteString(c, "bye\n") }); !errors.Is(err, session.ErrOver) {
		t.Errorf("%v", err)
	}
	o := &owner{}
	err := serve(t, &echo{}, o, func(c net.Conn, stop func()) {
		io.WriteString(c, "ha")
		synctest.Wait()
		stop()
	})
	if got := o.all(); !errors.Is(err, context.Canceled) || !slices.Equal(got, []string{"incomplete ha: the gateway was stopped"}) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestNoOrders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		ended := make(chan error, 1)
		go func() {
			ended <- session.Serve(t.Context(), port.FromNet(there), &echo{}, session.Options{Handler: &owner{}})
		}()
		exchange(t, here, "?S1\n", "?")
		here.Close()
		<-ended
	})
}
