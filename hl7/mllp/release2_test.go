package mllp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
)

const (
	ackBlock = vt + "\x06" + fs + "\r"
	nakBlock = vt + "\x15" + fs + "\r"
)

// describe2 is describe with the commit acknowledgements.
func describe2(events []Event) string {
	var words []string
	for _, e := range events {
		if c, ok := e.(Commit); ok {
			words = append(words, fmt.Sprintf("commit %v", c.OK))
		} else {
			words = append(words, describe([]Event{e}))
		}
	}
	return strings.Join(words, ", ")
}

func TestCommitAcknowledgementsAreNoFramesInRelease2Only(t *testing.T) {
	stream := ackBlock + frame("x") + nakBlock + frame("\x06\x06") + frame("\x07")
	if got, want := describe2(NewReceiver2(10).Receive([]byte(stream))), `commit true, frame "x", commit false, frame "\x06\x06", frame "\a"`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := describe2(NewReceiver(10).Receive([]byte(ackBlock))); got != `frame "\x06"` {
		t.Error(got)
	}
}

// read reads exactly the text.
func (s *served) read(t *testing.T, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if n, err := io.ReadFull(s, b); err != nil || string(b) != want {
		t.Fatalf("received %q, %v, want %q", b[:n], err, want)
	}
}

func TestServeRelease2(t *testing.T) {
	t.Run("committed, then answered", inBubble(func(t *testing.T) {
		s := serve(t, ServeOptions{Release2: true})
		s.send(t, frame(message))
		s.read(t, ackBlock+frame("ok A-17"))
		s.send(t, ackBlock+frame(message))
		s.read(t, ackBlock+frame("ok A-17"))
		synctest.Wait()
		s.Close()
		s.closed(t, nil)
	}))
	t.Run("committed, and no answer", inBubble(func(t *testing.T) {
		s := serve(t, ServeOptions{Release2: true, Handler: func(context.Context, []byte) ([]byte, error) { return nil, nil }})
		s.send(t, frame(message))
		s.read(t, ackBlock)
		s.silent(t)
	}))
	t.Run("not stored: negative, and closed", inBubble(func(t *testing.T) {
		failed := errors.New("the store failed")
		s := serve(t, ServeOptions{Release2: true, Handler: func(context.Context, []byte) ([]byte, error) { return nil, failed }})
		s.send(t, frame(message))
		s.read(t, nakBlock)
		s.closed(t, failed)
	}))
	t.Run("an answer not committed is sent again, twice", inBubble(func(t *testing.T) {
		s := serve(t, ServeOptions{Release2: true})
		s.send(t, frame(message))
		s.read(t, ackBlock+frame("ok A-17"))
		for range maxRepeats {
			s.send(t, nakBlock)
			s.read(t, frame("ok A-17"))
		}
		s.send(t, nakBlock)
		s.closed(t, ErrNotCommitted)
	}))
	t.Run("committed after a repeat", inBubble(func(t *testing.T) {
		s := serve(t, ServeOptions{Release2: true})
		for range 3 {
			s.send(t, frame(message))
			s.read(t, ackBlock+frame("ok A-17"))
			s.send(t, nakBlock)
			s.read(t, frame("ok A-17"))
			s.send(t, ackBlock)
		}
		s.send(t, nakBlock) // of nothing
		synctest.Wait()
		s.silent(t)
	}))
	t.Run("a peer of release 1 is not shown commits", inBubble(func(t *testing.T) {
		s := serve(t, ServeOptions{})
		s.send(t, frame(message))
		s.read(t, frame("ok A-17"))
		s.send(t, ackBlock)
		s.closed(t, ErrNotHL7)
	}))
}

func TestClientRelease2(t *testing.T) {
	test := func(name string, f func(t *testing.T, c *Client, p *peer)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPeer()
				c := NewClient(ClientOptions{Dial: p.dial, Release2: true})
				defer c.Close()
				f(t, c, p)
			})
		})
	}
	committed := func(t *testing.T, conn net.Conn) {
		t.Helper()
		b := make([]byte, 100)
		if n, err := conn.Read(b); string(b[:n]) != ackBlock {
			t.Errorf("received %q, %v", b[:n], err)
		}
	}
	test("committed, answered, the answer committed", func(t *testing.T, c *Client, p *peer) {
		go func() {
			conn := <-p.conns
			for range 3 {
				answer(t, conn, ackBlock+frame("one"))
				committed(t, conn)
			}
			answer(t, conn, ackBlock)
			conn.Write([]byte(frame("two")))
			committed(t, conn)
		}()
		for range 3 {
			expectAnswer(t, c, "one")
		}
		expectAnswer(t, c, "two")
		if p.dials != 1 {
			t.Errorf("%d connections", p.dials)
		}
	})
	test("answered without a commit", func(t *testing.T, c *Client, p *peer) {
		go func() {
			conn := <-p.conns
			answer(t, conn, frame("one"))
			committed(t, conn)
		}()
		expectAnswer(t, c, "one")
	})
	test("not committed: the connection stays", func(t *testing.T, c *Client, p *peer) {
		go func() {
			conn := <-p.conns
			answer(t, conn, nakBlock)
			answer(t, conn, nakBlock)
			answer(t, conn, ackBlock+frame("one"))
			committed(t, conn)
		}()
		if _, err := c.Send(t.Context(), []byte(message)); !errors.Is(err, ErrNotCommitted) {
			t.Error(err)
		}
		if err := c.Post(t.Context(), []byte(message)); !errors.Is(err, ErrNotCommitted) {
			t.Error(err)
		}
		expectAnswer(t, c, "one")
		if p.dials != 1 {
			t.Errorf("%d connections", p.dials)
		}
	})
	test("posted", func(t *testing.T, c *Client, p *peer) {
		go func() {
			answer(t, <-p.conns, ackBlock)
			readAll(<-p.conns)
		}()
		if err := c.Post(t.Context(), []byte(message)); err != nil {
			t.Error(err)
		}
		c.Close()
		if err := c.Post(t.Context(), []byte(message)); !errors.Is(err, ErrNoAnswer) {
			t.Error(err)
		}
	})
	test("committed and closed", func(t *testing.T, c *Client, p *peer) {
		go func() {
			conn := <-p.conns
			answer(t, conn, ackBlock)
			conn.Close()
			conn = <-p.conns
			answer(t, conn, ackBlock)
			conn.Close()
		}()
		if err := c.Post(t.Context(), []byte(message)); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if _, err := c.Send(t.Context(), []byte(message)); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}

func TestPostOfRelease1WaitsForNothing(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, p *peer) {
		go func() { readAll(<-p.conns) }()
		if err := c.Post(t.Context(), []byte(message)); err != nil {
			t.Error(err)
		}
	})
}

// However a stream is cut, the events of release 2 are the same.
func FuzzMLLP2(f *testing.F) {
	for _, s := range streams {
		f.Add([]byte(s.bytes), uint16(3))
	}
	f.Add([]byte(ackBlock+frame("x")+nakBlock), uint16(2))
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		const limit = 64
		whole := NewReceiver2(limit)
		want := append(whole.Receive(b), whole.TimedOut()...)
		parts := NewReceiver2(limit)
		n := min(int(cut), len(b))
		got := append(parts.Receive(b[:n]), parts.Receive(b[n:])...)
		got = append(got, parts.TimedOut()...)
		if count(got) != count(want) {
			t.Fatalf("cut at %d: %s, whole: %s", n, describe2(got), describe2(want))
		}
	})
}

// count is how many frames there are and which commits.
func count(events []Event) string {
	frames, commits := 0, ""
	for _, e := range events {
		switch e := e.(type) {
		case Frame:
			frames++
		case Commit:
			commits += fmt.Sprint(e.OK)
		}
	}
	return fmt.Sprint(frames, commits)
}
