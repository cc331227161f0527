package e1381_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"nhip/drivers/astm/e1381"
	"nhip/drivers/port"
)

// An instrument that asks and is answered on the same line, in virtual time: contention
// costs its 20 s, silence its 15 s, and the outbox is told of every end.
func TestServeSendsWhatIsInTheOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		box := &e1381.Outbox{}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- e1381.Serve(ctx, port.FromNet(there), e1381.ServeOptions{Handler: &journal{}, Outbox: box})
		}()
		read := func(want string) {
			t.Helper()
			got := make([]byte, len(want))
			if _, err := io.ReadFull(here, got); err != nil || string(got) != want {
				t.Fatalf("%q, %v, want %q", got, err, want)
			}
		}
		write := func(text string) {
			t.Helper()
			if _, err := here.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		done := make(chan error, 8)
		put := func() {
			t.Helper()
			if err := box.Put(e1381.Outgoing{Frames: []e1381.Frame{{Text: []byte("H|\\^&\rL|1\r"), End: etx}}, Done: func(err error) { done <- err }}); err != nil {
				t.Fatal(err)
			}
		}
		answer := string(frame(1, "H|\\^&\rL|1\r", etx))

		put()
		read("\x05")
		write(ack)
		read(answer)
		write(ack)
		read("\x04")
		if err := <-done; err != nil {
			t.Errorf("sent: %v", err)
		}

		// Contention: we yield, the instrument sends, then we bid again.
		began := time.Now()
		put()
		read("\x05")
		write("\x05")
		time.Sleep(time.Second)
		write("\x05")
		read(ack)
		write(query)
		read(ack)
		write("\x04")
		read("\x05")
		write(ack)
		read(answer)
		write(ack)
		read("\x04")
		if err := <-done; err != nil || time.Since(began) > 2*time.Second {
			t.Errorf("after contention: %v, %v", err, time.Since(began))
		}

		// Silence: 15 s, and EOT.
		began = time.Now()
		put()
		read("\x05")
		read("\x04")
		var failed *e1381.FailedError
		if err := <-done; !errors.As(err, &failed) || time.Since(began) < 15*time.Second || time.Since(began) > 16*time.Second {
			t.Errorf("silence: %v, %v", err, time.Since(began))
		}

		// The instrument never bids after contention: 20 s, then our turn.
		began = time.Now()
		put()
		read("\x05")
		write("\x05")
		read("\x05")
		if d := time.Since(began); d < 20*time.Second || d > 21*time.Second {
			t.Errorf("we bid again after %v", d)
		}
		write(ack)
		read(answer)

		// Switched off in the middle, with more waiting.
		put()
		here.Close()
		if err := <-ended; err == nil {
			t.Error("Serve ends without a reason")
		}
		for range 2 {
			if err := <-done; !errors.As(err, &failed) {
				t.Errorf("cut: %v", err)
			}
		}
		if err := box.Put(e1381.Outgoing{}); !errors.Is(err, e1381.ErrOutboxClosed) {
			t.Errorf("after the end: %v", err)
		}
		cancel()
	})
}

// A line that is never neutral long enough: a message that is put while a session runs
// goes out after it, and results do not wait for it.
func TestOutboxWaitsForTheEndOfTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		box := &e1381.Outbox{}
		ended := make(chan error, 1)
		go func() {
			ended <- e1381.Serve(t.Context(), port.FromNet(there), e1381.ServeOptions{Handler: &journal{}, Outbox: box})
		}()
		exchange := func(send, want string) {
			t.Helper()
			if _, err := here.Write([]byte(send)); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(want))
			if _, err := io.ReadFull(here, got); err != nil || string(got) != want {
				t.Fatalf("%q, %v, want %q", got, err, want)
			}
		}
		exchange("\x05", ack)
		sent := make(chan error, 1)
		if err := box.Put(e1381.Outgoing{Frames: []e1381.Frame{{Text: []byte("x\r"), End: etx}}, Done: func(err error) { sent <- err }}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		exchange(query, ack)
		exchange("\x04", "\x05")
		exchange(ack, string(frame(1, "x\r", etx)))
		exchange(ack, "\x04")
		if err := <-sent; err != nil {
			t.Error(err)
		}
		here.Close()
		<-ended
	})
}

func TestMessageWithoutFramesIsRefusedBeforeTheLine(t *testing.T) {
	var b e1381.Outbox
	if err := b.Put(e1381.Outgoing{}); err != e1381.ErrNoFrames {
		t.Error(err)
	}
}

func TestOutboxIsBounded(t *testing.T) {
	box := &e1381.Outbox{}
	var err error
	n := 0
	for ; err == nil && n < 1000; n++ {
		err = box.Put(e1381.Outgoing{Frames: []e1381.Frame{{}}})
	}
	if !errors.Is(err, e1381.ErrOutboxFull) || n > 100 {
		t.Errorf("%d messages, %v", n, err)
	}
}
