package mllp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nhip/hl7"
)

const message = "MSH|^~\\&|LAB||LIS||20260114||ORU^R01|A-17|P|2.5.1\rPID|1||SECRET\r"

func frame(s string) string { return vt + s + fs + "\r" }

// echo answers with the message control ID.
func echo(_ context.Context, b []byte) ([]byte, error) {
	m, err := hl7.Parse(b)
	if err != nil {
		return nil, err
	}
	return []byte("ok " + m.ControlID()), nil
}

// A served is Serve on one end of a pipe, with the other end in the test's hand.
type served struct {
	net.Conn
	result chan error
	log    *bytes.Buffer
	cancel context.CancelFunc
}

// serve is to be called within a synctest bubble.
func serve(t *testing.T, o ServeOptions) *served {
	t.Helper()
	ours, theirs := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	s := &served{Conn: theirs, result: make(chan error, 1), log: new(bytes.Buffer), cancel: cancel}
	o.Log = slog.New(slog.NewTextHandler(s.log, nil))
	if o.Handler == nil {
		o.Handler = echo
	}
	go func() { s.result <- Serve(ctx, ours, o) }()
	t.Cleanup(func() { theirs.Close(); cancel() })
	return s
}

func (s *served) send(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(s, text); err != nil {
		t.Fatal(err)
	}
}

// expect reads exactly one answer, and one Write of it.
func (s *served) expect(t *testing.T, answer string) {
	t.Helper()
	b := make([]byte, 1000)
	n, err := s.Read(b)
	if err != nil || string(b[:n]) != frame(answer) {
		t.Fatalf("the answer is %q, %v, want %q", b[:n], err, frame(answer))
	}
}

// silent checks that nothing was answered and the connection still stands.
func (s *served) silent(t *testing.T) {
	t.Helper()
	s.SetReadDeadline(time.Now().Add(time.Nanosecond))
	if n, err := s.Read(make([]byte, 1)); n > 0 || !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err) {
		t.Fatalf("%d bytes, %v", n, err)
	}
	s.SetReadDeadline(time.Time{})
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// closed waits for Serve and checks why it ended and what it logged.
func (s *served) closed(t *testing.T, want error) {
	t.Helper()
	err := <-s.result
	if !errors.Is(err, want) || want == nil && err != nil {
		t.Fatalf("Serve ended with %v, want %v", err, want)
	}
	if lines := strings.Count(s.log.String(), "MLLP connection closed"); want != nil && want != context.Canceled && lines != 1 {
		t.Errorf("%d log lines: %s", lines, s.log)
	}
	if strings.Contains(s.log.String(), "SECRET") {
		t.Errorf("the log quotes the message: %s", s.log)
	}
	if _, err := s.Write([]byte("x")); err == nil {
		t.Error("the connection is still open")
	}
}

func inBubble(f func(t *testing.T)) func(*testing.T) {
	return func(t *testing.T) { synctest.Test(t, f) }
}

func TestServeTimers(t *testing.T) {
	t.Run("frame without CR ends after a second", inBubble(func(t *testing.T) {
		s := serve(t, ServeOptions{})
		s.send(t, vt+message+fs)
		start := time.Now()
		s.expect(t, "ok A-17")
		if waited := time.Since(start); waited != EndTimeout {
			t.Errorf("answered after %v", waited)
		}
		s.send(t, frame(message))
		s.expect(t, "ok A-17")
	}))
	t.Run("frame that does not end", inBubble(func(t *testing.T) {
		s := serve(t, ServeOptions{})
		s.send(t, vt+"MSH|SECRET")
		start := time.Now()
		s.closed(t, ErrFrameTimeout)
		if waited := time.Since(start); waited != time.Minute {
			t.Errorf("closed after %v", waited)
		}
	}))
	t.Run("frame that comes byte by byte, too slowly", inBubble(func(t *testing.T) {
		s := serve(t, ServeOptions{FrameTimeout: 10 * time.Second})
		s.send(t, vt)
		start := time.Now()
		for {
			if _, err := s.Write([]byte("M")); err != nil {
				break
			}
			time.Sleep(time.Second)
		}
		s.closed(t, ErrFrameTimeout)
		if waited := time.Since(start); waited > 11*time.Second {
			t.Errorf("closed after %v", waited)
		}
	}))
	t.Run("deadline is per frame", inBubble(func(t *testing.T) {
		s := serve(t, ServeOptions{FrameTimeout: 10 * time.Second})
		for range 3 {
			s.send(t, vt+message)
			time.Sleep(9 * time.Second)
			s.send(t, fs+"\r")
			s.expect(t, "ok A-17")
			time.Sleep(9 * time.Second)
		}
		s.send(t, frame(message)+vt+message)
		s.expect(t, "ok A-17")
		time.Sleep(9 * time.Second)
		s.send(t, fs+"\r")
		s.expect(t, "ok A-17")
	}))
	t.Run("a device may be silent for days", inBubble(func(t *testing.T) {
		s := serve(t, ServeOptions{})
		time.Sleep(72 * time.Hour)
		s.send(t, frame(message))
		s.expect(t, "ok A-17")
		time.Sleep(72 * time.Hour)
		s.send(t, frame(message))
		s.expect(t, "ok A-17")
		s.Close()
		s.closed(t, nil)
	}))
	t.Run("idle", inBubble(func(t *testing.T) {
		s := serve(t, ServeOptions{Idle: time.Hour})
		time.Sleep(59 * time.Minute)
		s.send(t, frame(message))
		s.expect(t, "ok A-17")
		start := time.Now()
		s.closed(t, ErrIdle)
		if waited := time.Since(start); waited != time.Hour {
			t.Errorf("closed after %v", waited)
		}
	}))
	t.Run("junk and never a frame", inBubble(func(t *testing.T) {
		s := serve(t, ServeOptions{})
		time.Sleep(time.Hour)
		start := time.Now()
		s.send(t, "HELLO")
		time.Sleep(30 * time.Second)
		s.send(t, "HELLO")
		s.closed(t, ErrJunk)
		if waited := time.Since(start); waited != time.Minute {
			t.Errorf("closed after %v", waited)
		}
	}))
	t.Run("peer that does not read its answer", inBubble(func(t *testing.T) {
		s := serve(t, ServeOptions{})
		s.send(t, frame(message))
		err := <-s.result
		if !isTimeout(err) {
			t.Error(err)
		}
	}))
}

func TestServeEnds(t *testing.T) {
	t.Run("peer closes", inBubble(func(t *testing.T) {
		s := serve(t, ServeOptions{})
		synctest.Wait()
		s.Close()
		s.closed(t, nil)
		if s.log.Len() > 0 {
			t.Errorf("logged: %s", s.log)
		}
	}))
	t.Run("peer closes within a frame", inBubble(func(t *testing.T) {
		s := serve(t, ServeOptions{})
		s.send(t, vt+message)
		synctest.Wait()
		s.Close()
		s.closed(t, ErrCut)
	}))
	t.Run("we close while idle", inBubble(func(t *testing.T) {
		s := serve(t, ServeOptions{})
		synctest.Wait()
		s.cancel()
		s.closed(t, context.Canceled)
	}))
	t.Run("we close while a frame is in work: it is answered", inBubble(func(t *testing.T) {
		begun, proceed := make(chan bool), make(chan bool)
		s := serve(t, ServeOptions{Handler: func(ctx context.Context, b []byte) ([]byte, error) {
			close(begun)
			<-proceed
			return []byte("stored"), nil
		}})
		s.send(t, frame(message))
		<-begun
		s.cancel()
		synctest.Wait()
		close(proceed)
		s.expect(t, "stored")
		s.closed(t, context.Canceled)
	}))
	t.Run("handler fails: no answer", inBubble(func(t *testing.T) {
		failed := errors.New("the store failed")
		s := serve(t, ServeOptions{Handler: func(context.Context, []byte) ([]byte, error) { return nil, failed }})
		s.send(t, frame(message))
		s.closed(t, failed)
	}))
	t.Run("too much junk", inBubble(func(t *testing.T) {
		junk := 0
		s := serve(t, ServeOptions{Junk: func(n int) { junk += n }})
		s.send(t, frame(message))
		s.expect(t, "ok A-17")
		s.Write(bytes.Repeat([]byte("x"), maxJunk+1))
		s.closed(t, ErrJunk)
		if junk != maxJunk+1 {
			t.Errorf("%d bytes counted", junk)
		}
	}))
	t.Run("frame over the limit: answered and closed", inBubble(func(t *testing.T) {
		s := serve(t, ServeOptions{MaxFrame: 100, TooLong: func(head []byte) []byte {
			m, err := hl7.Parse(head)
			if m == nil {
				t.Error(err)
				return nil
			}
			return hl7.Ack(m, hl7.ApplicationReject, hl7.AckOptions{Errors: []hl7.Error{{Code: hl7.ErrorApplication}}})
		}})
		go s.Write([]byte(vt + message + strings.Repeat("OBX|1\r", 100)))
		b := make([]byte, 1000)
		n, _ := s.Read(b)
		if ack, err := hl7.ParseAck(bytes.Trim(b[:n], vt+fs)); err != nil || ack.Code != "AR" || ack.MessageControlID != "A-17" || ack.Errors[0].Code != "207" {
			t.Errorf("the answer is %q", b[:n])
		}
		s.closed(t, ErrTooLong)
	}))
	t.Run("no answer is none", inBubble(func(t *testing.T) {
		frames := 0
		s := serve(t, ServeOptions{Handler: func(context.Context, []byte) ([]byte, error) { frames++; return nil, nil }})
		s.send(t, frame(message)+frame(message))
		synctest.Wait()
		s.silent(t)
		if frames != 2 {
			t.Errorf("%d frames", frames)
		}
	}))
}
