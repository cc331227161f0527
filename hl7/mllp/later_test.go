package mllp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func acknowledgement(code, of string) string {
	return "MSH|^~\\&|LIS||LAB||20260114||ACK^R01^ACK|9|P|2.5.1|||AL|NE\rMSA|" + code + "|" + of + "\r"
}

// An application acknowledgement that comes after the accept acknowledgement, on the
// same connection, is not the answer to the next message.
func TestFramesThatAnswerSomethingElseGoToOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer()
		var other []string
		c := NewClient(ClientOptions{Dial: p.dial, Other: func(frame []byte) ([]byte, error) {
			other = append(other, string(frame))
			return []byte("accepted"), nil
		}})
		defer c.Close()
		replied := make(chan string, 10)
		take := func(conn net.Conn) {
			b := make([]byte, 100)
			n, _ := conn.Read(b)
			replied <- string(b[:n])
		}
		go func() {
			conn := <-p.conns
			answer(t, conn, frame(acknowledgement("CA", "A-17")))
			conn.Write([]byte(frame(acknowledgement("AA", "A-17")))) // nobody waits
			take(conn)
			answer(t, conn, frame(acknowledgement("AA", "A-16"))) // of an earlier message
			take(conn)
			conn.Write([]byte(frame("MSH|^~\\&|LIS||LAB||20260114||ADT^A08|5|P|2.5.1\r"))) // a message of its own
			take(conn)
			conn.Write([]byte(frame(acknowledgement("CA", "A-17")) + frame(acknowledgement("AA", "A-17"))))
			take(conn)
			answer(t, conn, frame(acknowledgement("AR", ""))) // it does not say of what
			answer(t, conn, frame("HELLO"))
		}()
		for _, want := range []string{acknowledgement("CA", "A-17"), acknowledgement("CA", "A-17"), acknowledgement("AR", ""), "HELLO"} {
			expectAnswer(t, c, want)
			synctest.Wait()
		}
		if len(other) != 4 || p.dials != 1 {
			t.Errorf("%d frames of something else, %d connections", len(other), p.dials)
		}
		for range 4 {
			if got := <-replied; got != frame("accepted") {
				t.Errorf("replied %q", got)
			}
		}
	})
}

func TestOtherMayEndTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer()
		no := errors.New("no")
		c := NewClient(ClientOptions{Dial: p.dial, Other: func([]byte) ([]byte, error) { return nil, no }})
		defer c.Close()
		go func() { answer(t, <-p.conns, frame(acknowledgement("AA", "X"))) }()
		if _, err := c.Send(t.Context(), []byte(message)); !errors.Is(err, no) {
			t.Error(err)
		}
	})
}

func TestServedPeerIsSentMessagesOfTheirOwn(t *testing.T) {
	inBubble(func(t *testing.T) {
		var peer *Peer
		s := serve(t, ServeOptions{Opened: func(p *Peer) { peer = p }})
		synctest.Wait()
		go func() {
			if err := peer.Send([]byte("later")); err != nil {
				t.Error(err)
			}
		}()
		s.read(t, frame("later"))
		s.send(t, frame(message))
		s.expect(t, "ok A-17")
		synctest.Wait()
		if err := peer.Send([]byte(vt)); !errors.Is(err, ErrUnframed) {
			t.Error(err)
		}
		s.Close()
		s.closed(t, nil)
		if err := peer.Send([]byte("too late")); err == nil {
			t.Error("sent after the end")
		}
	})(t)
}

func TestListenHoldsItsLimits(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	refused := make(chan error, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- Listen(ctx, l, ListenOptions{
			Connections: 3, PerAddress: 2,
			Admit:   func(a netip.Addr) bool { return a.String() != "127.0.0.3" },
			Refused: func(_ netip.Addr, err error) { refused <- err },
			Handle:  func(ctx context.Context, c net.Conn) { Serve(ctx, c, ServeOptions{Handler: echo}) },
		})
	}()
	from := func(address string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
		c, err := d.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Skip("this system has one loopback address only: ", err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	served := func(address string) net.Conn {
		t.Helper()
		c := from(address)
		c.SetDeadline(time.Now().Add(20 * time.Second))
		c.Write([]byte(frame(message)))
		b := make([]byte, 100)
		if n, err := c.Read(b); string(b[:n]) != frame("ok A-17") {
			t.Fatalf("%q, %v", b[:n], err)
		}
		return c
	}
	turnedAway := func(address string, want error) {
		t.Helper()
		from(address)
		select {
		case err := <-refused:
			if !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("not refused with %v", want)
		}
	}
	turnedAway("127.0.0.3", ErrStranger)
	first := served("127.0.0.1")
	served("127.0.0.1")
	turnedAway("127.0.0.1", ErrPerAddress)
	served("127.0.0.2")
	turnedAway("127.0.0.2", ErrConnections)
	first.Close()
	for again := false; !again; {
		c := from("127.0.0.2")
		c.SetDeadline(time.Now().Add(20 * time.Second))
		c.Write([]byte(frame(message)))
		b := make([]byte, 100)
		n, _ := c.Read(b)
		again = strings.Contains(string(b[:n]), "ok A-17")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("it still listens")
	}
}
