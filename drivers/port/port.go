// Package port is where a device is plugged in: a serial port, a TCP listener or a
// TCP connection that we make, behind one interface. It knows nothing of what is
// spoken there. A Port comes back by itself: a listener accepts again, a connection
// is dialled again, a serial adapter that was pulled out is opened again when it is
// back.
package port

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// Conn is an open connection to a device. Deadlines free a blocked Read or Write
// with os.ErrDeadlineExceeded, Close frees both.
type Conn interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	Peer() string // address or device, for logs and for the console
}

// State of a port, for people.
type State struct {
	Kind  string // "listening", "connected", "dialling", "absent", "refused", "failed"
	Words string
	Peer  string
	Since time.Time
}

// Options of Open. The zero value is of use.
type Options struct {
	Log      *slog.Logger
	State    func(State)                // called on every change, not concurrently; must not block
	Allow    func(peer netip.Addr) bool // TCP listener: who may connect; nil is everybody
	MaxConns int                        // TCP listener: connections at once; 0 is 64
	// Watch sees the bytes of every connection as they come and go. It is called
	// concurrently and must neither block nor keep them; nil: nobody looks.
	Watch func(sent bool, b []byte)

	// Backoff before a further dial or open: doubling from Min to Max, with jitter.
	// Zero is 1 s and 30 s.
	MinBackoff, MaxBackoff time.Duration
}

// Superseded returns a channel that is closed when a newer connection on the same
// listener has sent its first byte. A conversation of one device moves to its newest
// connection: the old one ends what it is in the middle of, then gives way. For
// other connections the channel is nil, which never is ready.
//
// A connection that sends nothing (a port scanner) supersedes nothing.
func Superseded(c Conn) <-chan struct{} {
	if s, ok := c.(interface{ superseded() <-chan struct{} }); ok {
		return s.superseded()
	}
	return nil
}

// FromNet makes a Conn of a net.Conn, for simulators and tests.
func FromNet(c net.Conn) Conn { return netConn{c} }

type netConn struct{ net.Conn }

func (c netConn) Peer() string { return c.RemoteAddr().String() }

// Handler serves one connection until it ends. It may return when ctx is done;
// blocked and later reads are freed then with os.ErrDeadlineExceeded.
type Handler func(ctx context.Context, c Conn) error
