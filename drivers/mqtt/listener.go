package mqtt

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// A listener accepts connections for the broker. mochi's own gives up at the
// first error of Accept, has no limits and does not wait for its goroutines.
type listener struct {
	id     string
	net    net.Listener
	b      *Broker
	closed atomic.Bool
	done   chan struct{}
}

func (l *listener) Init(*slog.Logger) error { return nil }
func (l *listener) ID() string              { return l.id }
func (l *listener) Address() string         { return l.net.Addr().String() }
func (l *listener) Protocol() string        { return l.net.Addr().Network() }

// Close ends the listener; the broker closes the connections.
func (l *listener) Close(closeClients listeners.CloseFn) {
	if l.closed.CompareAndSwap(false, true) {
		l.net.Close()
		<-l.done
		closeClients(l.id)
		l.b.closeConns() // those that mochi does not know yet
	}
}

// Serve accepts until Close. A failed Accept (out of file descriptors) is tried
// again, slower and slower.
func (l *listener) Serve(establish listeners.EstablishFn) {
	defer close(l.done)
	wait := 5 * time.Millisecond
	for {
		nc, err := l.net.Accept()
		if err == nil {
			wait = 5 * time.Millisecond
			l.b.accept(l.id, nc, establish)
			continue
		}
		if l.closed.Load() || errors.Is(err, net.ErrClosed) {
			return
		}
		l.b.log.Error("mqtt: accept", "listen", l.Address(), "error", err)
		time.Sleep(wait)
		wait = min(2*wait, time.Second)
	}
}

// accept starts the goroutine of one connection, within the limits.
func (b *Broker) accept(id string, nc net.Conn, establish listeners.EstablishFn) {
	c := newConn(nc, b.o.WriteTimeout, b.o.MaxWriteBuffer)
	if reason := b.admitConn(c); reason != "" {
		b.refuse(Stranger{Address: c.peer, Wanted: "connect", Reason: reason})
		nc.Close()
		return
	}
	c.Conn.SetReadDeadline(time.Now().Add(b.o.ConnectTimeout)) // replaced after CONNECT was read
	b.wg.Go(c.writeLoop)
	b.wg.Go(func() {
		defer b.dropConn(c)
		defer c.Close()
		defer func() {
			// A fault in the codec ends this connection, not the gateway: a SUBSCRIBE
			// that ends before its options is read beyond its end by mochi 2.7.9.
			if p := recover(); p != nil {
				b.panics.Add(1)
				b.log.Error("mqtt: connection ended by a panic", "peer", c.peer, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				b.forget(c)
			}
		}()
		err := establish(id, c)
		if c.decided.Load() {
			return
		}
		var timeout net.Error
		var code packets.Code
		reason := "no MQTT CONNECT"
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			reason = fmt.Sprintf("no complete CONNECT within %v", b.o.ConnectTimeout)
		case errors.As(err, &code):
			reason += ": " + code.Reason
		}
		b.refuse(Stranger{Address: c.peer, Wanted: "connect", Reason: reason})
	})
}

// forget does what mochi does at the end of a client, where it did not come to
// it: the will is sent, the subscriptions are removed.
func (b *Broker) forget(c *conn) {
	cl := c.client
	if cl == nil {
		return
	}
	if c.counted.CompareAndSwap(true, false) {
		b.count(c.user.Name, -1)
	}
	if w := cl.Properties.Will; w.Flag == 1 {
		(&hook{b: b}).OnWill(cl, w)
		if err := b.server.Publish(w.TopicName, w.Payload, w.Retain, w.Qos); err != nil {
			b.log.Error("mqtt: will not published", "user", c.user.Name, "peer", c.peer, "error", err)
		}
	}
	cl.ClearInflights()
	b.server.UnsubscribeClient(cl)
	b.server.Clients.Delete(cl.ID)
}

// admitConn counts a connection in; the answer is why not.
func (b *Broker) admitConn(c *conn) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closing:
		return "shutting down"
	case len(b.conns) >= b.o.MaxConnections:
		return fmt.Sprintf("more than %d connections", b.o.MaxConnections)
	case b.perIP[c.ip] >= b.o.MaxConnectionsPerIP:
		return fmt.Sprintf("more than %d connections from this address", b.o.MaxConnectionsPerIP)
	}
	unheard := 0
	for o := range b.conns {
		if o.ip == c.ip && !o.counted.Load() {
			unheard++
		}
	}
	if unheard >= maxUnheard {
		return fmt.Sprintf("more than %d connections from this address without a CONNECT", maxUnheard)
	}
	b.conns[c] = struct{}{}
	b.perIP[c.ip]++
	return ""
}

// maxUnheard connections of one address may be open that were not admitted, so
// that a few addresses cannot take all of MaxConnections before anybody knows them.
const maxUnheard = 32

func (b *Broker) dropConn(c *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.conns, c)
	if c.user != nil && b.clients[clientKey{c.user.Name, c.id}] == c {
		delete(b.clients, clientKey{c.user.Name, c.id})
	}
	if b.perIP[c.ip]--; b.perIP[c.ip] == 0 {
		delete(b.perIP, c.ip)
	}
}

// A conn is a connection whose Write never blocks: what the peer does not take
// is kept up to a limit, then the connection is closed. mochi writes to a
// subscriber under a lock that every publisher to it takes, so that one that
// stopped reading would stop them all.
type conn struct {
	net.Conn
	peer    string
	ip      netip.Addr
	timeout time.Duration // without any progress
	limit   int           // bytes that wait
	decided atomic.Bool   // CONNECT was answered
	slow    atomic.Bool   // closed because it does not read
	counted atomic.Bool   // among its user's clients
	user    *user         // set at CONNECT, before any other packet
	client  *mochi.Client // likewise
	id      string        // client identifier as sent
	maxQoS  byte          // of its subscriptions

	mu     sync.Mutex
	wait   []byte
	closed bool
	wake   chan struct{} // cap 1
}

func newConn(nc net.Conn, timeout time.Duration, limit int) *conn {
	c := &conn{Conn: nc, peer: nc.RemoteAddr().String(), timeout: timeout, limit: limit, wake: make(chan struct{}, 1)}
	if ap, err := netip.ParseAddrPort(c.peer); err == nil {
		c.ip = ap.Addr().Unmap().WithZone("")
	}
	return c
}

func (c *conn) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	if len(c.wait)+len(p) > c.limit {
		c.slow.Store(true)
		c.closeLocked()
		return 0, errSlow
	}
	c.wait = append(c.wait, p...)
	c.signal()
	return len(p), nil
}

var errSlow = errors.New("mqtt: the peer does not read")

// SetDeadline is for reading; writeLoop has its own.
func (c *conn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	return c.Conn.SetReadDeadline(t)
}

// Close ends reading at once and writing after what waits was sent.
func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeLocked()
	return nil
}

func (c *conn) closeLocked() {
	if c.closed {
		return
	}
	c.closed = true
	c.Conn.SetReadDeadline(time.Unix(1, 0))
	c.signal()
}

// writeLoop sends what waits and closes the socket at the end.
func (c *conn) writeLoop() {
	defer c.Conn.Close()
	var out []byte
	for {
		<-c.wake
		c.mu.Lock()
		out, c.wait = c.wait, out[:0]
		closed, slow := c.closed, c.slow.Load()
		c.mu.Unlock()
		if slow {
			return
		}
		if len(out) > 0 {
			c.Conn.SetWriteDeadline(time.Now().Add(c.timeout))
			if _, err := c.Conn.Write(out); err != nil {
				var timeout net.Error
				if errors.As(err, &timeout) && timeout.Timeout() {
					c.slow.Store(true)
				}
				c.Close()
				return
			}
		}
		if closed {
			return
		}
		if cap(out) > 64<<10 {
			out = nil
		}
	}
}
