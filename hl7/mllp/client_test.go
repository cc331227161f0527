package mllp

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A peer is the other end of a client: it gets each connection that is dialled.
type peer struct {
	conns chan net.Conn
	dials int
}

func newPeer() *peer { return &peer{conns: make(chan net.Conn, 10)} }

func (p *peer) dial(context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	p.dials++
	p.conns <- theirs
	return ours, nil
}

// answer takes one Write of a whole frame and writes text.
func answer(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	b := make([]byte, 1000)
	n, err := conn.Read(b)
	if string(b[:n]) != frame(message) {
		t.Errorf("received %q, %v", b[:n], err)
	}
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Error(err)
	}
}

// readAll takes whatever the client sends, and says nothing.
func readAll(conn net.Conn) {
	for b := make([]byte, 100); ; {
		if _, err := conn.Read(b); err != nil {
			return
		}
	}
}

func expectAnswer(t *testing.T, c *Client, want string) {
	t.Helper()
	got, err := c.Send(t.Context(), []byte(message))
	if err != nil || string(got) != want {
		t.Fatalf("the answer is %q, %v, want %q", got, err, want)
	}
}

func testClient(t *testing.T, f func(t *testing.T, c *Client, p *peer)) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer()
		c := NewClient(ClientOptions{Dial: p.dial})
		defer c.Close()
		f(t, c, p)
	})
}

func TestClientKeepsItsConnection(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, p *peer) {
		go func() {
			conn := <-p.conns
			answer(t, conn, frame("one"))
			answer(t, conn, "junk"+vt+"t") // cut, and with junk before
			conn.Write([]byte("wo" + fs))
			conn.Write([]byte("\r"))
			answer(t, conn, vt+"three"+fs) // without CR
		}()
		expectAnswer(t, c, "one")
		time.Sleep(time.Hour)
		expectAnswer(t, c, "two")
		expectAnswer(t, c, "three")
		if p.dials != 1 {
			t.Errorf("%d connections", p.dials)
		}
	})
}

func TestLateAnswerIsNeverTakenForTheNext(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, p *peer) {
		start := time.Now()
		late := make(chan error)
		go func() {
			conn := <-p.conns
			go readAll(conn)
			time.Sleep(31 * time.Second)
			_, err := conn.Write([]byte(frame("late")))
			late <- err
			answer(t, <-p.conns, frame("right"))
		}()
		if _, err := c.Send(t.Context(), []byte(message)); !errors.Is(err, ErrNoAnswer) {
			t.Fatal(err)
		}
		if waited := time.Since(start); waited != 30*time.Second {
			t.Errorf("waited %v", waited)
		}
		if err := <-late; err == nil {
			t.Error("the connection was kept after the time-out")
		}
		expectAnswer(t, c, "right")
	})
}

func TestFrameThatNobodyWaitedForDropsTheConnection(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, p *peer) {
		go func() {
			conn := <-p.conns
			answer(t, conn, frame("one")+frame("stray"))
			answer(t, <-p.conns, frame("two"))
		}()
		expectAnswer(t, c, "one")
		synctest.Wait()
		expectAnswer(t, c, "two")
		if p.dials != 2 {
			t.Errorf("%d connections", p.dials)
		}
	})
}

func TestPeerThatClosedIsNoticedBeforeTheNextMessage(t *testing.T) {
	testClient(t, func(t *testing.T, c *Client, p *peer) {
		go func() {
			conn := <-p.conns
			answer(t, conn, frame("one"))
			conn.Close()
			answer(t, <-p.conns, frame("two"))
		}()
		expectAnswer(t, c, "one")
		synctest.Wait()
		expectAnswer(t, c, "two")
	})
}

func TestClientErrors(t *testing.T) {
	t.Run("peer closes instead of answering", func(t *testing.T) {
		testClient(t, func(t *testing.T, c *Client, p *peer) {
			go func() {
				conn := <-p.conns
				answer(t, conn, vt+"half")
				conn.Close()
			}()
			if _, err := c.Send(t.Context(), []byte(message)); !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		})
	})
	t.Run("answer and close at once", func(t *testing.T) {
		testClient(t, func(t *testing.T, c *Client, p *peer) {
			go func() {
				conn := <-p.conns
				answer(t, conn, vt+"one"+fs)
				conn.Close()
			}()
			expectAnswer(t, c, "one")
		})
	})
	t.Run("answer over the limit", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newPeer()
			c := NewClient(ClientOptions{Dial: p.dial, MaxFrame: 10})
			go func() { answer(t, <-p.conns, vt+strings.Repeat("x", 11)) }()
			if _, err := c.Send(t.Context(), []byte(message)); !errors.Is(err, ErrTooLong) {
				t.Error(err)
			}
		})
	})
	t.Run("a web server", func(t *testing.T) {
		testClient(t, func(t *testing.T, c *Client, p *peer) {
			go func() { answer(t, <-p.conns, "HTTP/1.1 400 Bad Request\r\n\r\n") }()
			if _, err := c.Send(t.Context(), []byte(message)); !errors.Is(err, ErrNoAnswer) {
				t.Error(err)
			}
		})
	})
	t.Run("message with an end block in it", func(t *testing.T) {
		testClient(t, func(t *testing.T, c *Client, p *peer) {
			for _, text := range []string{vt, fs} {
				if _, err := c.Send(t.Context(), []byte(message+text)); !errors.Is(err, ErrUnframed) {
					t.Error(err)
				}
			}
			if p.dials != 0 {
				t.Error("it dialled")
			}
		})
	})
	t.Run("caller gives up", func(t *testing.T) {
		testClient(t, func(t *testing.T, c *Client, p *peer) {
			go func() { readAll(<-p.conns) }()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := c.Send(ctx, []byte(message)); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			if c.link != nil {
				t.Error("the connection was kept")
			}
		})
	})
	t.Run("caller gives up while the peer does not read", func(t *testing.T) {
		testClient(t, func(t *testing.T, c *Client, p *peer) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			start := time.Now()
			if _, err := c.Send(ctx, []byte(message)); err == nil || time.Since(start) != time.Second {
				t.Error(err, time.Since(start))
			}
		})
	})
	t.Run("nobody listens", func(t *testing.T) {
		refused := errors.New("refused")
		c := NewClient(ClientOptions{Dial: func(context.Context) (net.Conn, error) { return nil, refused }})
		if _, err := c.Send(t.Context(), []byte(message)); !errors.Is(err, refused) {
			t.Error(err)
		}
	})
	t.Run("dialling takes too long", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := NewClient(ClientOptions{Dial: func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }})
			start := time.Now()
			if _, err := c.Send(t.Context(), []byte(message)); err == nil || time.Since(start) != 10*time.Second {
				t.Error(err, time.Since(start))
			}
		})
	})
}
