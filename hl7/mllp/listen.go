package mllp

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// ListenOptions are the rules of a listener. Zero means the default.
type ListenOptions struct {
	// Handle serves one connection, for as long as it takes; it is closed then. PeerNames
	// has the names of its certificate.
	Handle func(ctx context.Context, c net.Conn)
	// Admit says whether a peer may connect at all; nil: everyone. It is asked before
	// a handshake.
	Admit func(netip.Addr) bool
	TLS   *tls.Config // of Certificates.Server; nil: none

	Connections      int           // open at once; 256
	PerAddress       int           // open at once from one address; 200, which leaves room for others
	HandshakeTimeout time.Duration // 10 s

	// Refused is told of a connection that was not served, and why; nil is allowed.
	Refused func(netip.Addr, error)
	Log     *slog.Logger // default slog.Default()
}

// Reasons for which Listen does not serve a connection. A handshake that fails has a
// reason of its own: see TLSReason.
var (
	ErrStranger    = errors.New("mllp: this address may not connect")
	ErrConnections = errors.New("mllp: too many connections")
	ErrPerAddress  = errors.New("mllp: too many connections from this address")
)

// Listen accepts connections until ctx ends, serves each on a goroutine of its own
// within the limits, and waits for them all. It closes l. The error is that of the
// listener; nil at the end of ctx.
func Listen(ctx context.Context, l net.Listener, o ListenOptions) error {
	if o.Connections == 0 {
		o.Connections = 256
	}
	if o.PerAddress == 0 {
		o.PerAddress = 200
	}
	if o.HandshakeTimeout == 0 {
		o.HandshakeTimeout = 10 * time.Second
	}
	if o.Refused == nil {
		o.Refused = func(netip.Addr, error) {}
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	s := &listening{o: o, open: map[netip.Addr]int{}}
	ctx, cancel := context.WithCancel(ctx)
	var connections sync.WaitGroup
	defer connections.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer l.Close()
	for {
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				c.Close()
			}
			return nil
		case isTemporary(err):
			o.Log.Warn("MLLP: a connection could not be accepted", "reason", err)
			wait(ctx, 50*time.Millisecond) // out of descriptors: the others go on
			continue
		case err != nil:
			return err
		}
		connections.Go(func() { s.serve(ctx, c) })
	}
}

func isTemporary(err error) bool {
	var temporary interface{ Temporary() bool }
	return errors.As(err, &temporary) && temporary.Temporary()
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// listening counts the connections of a listener.
type listening struct {
	o    ListenOptions
	mu   sync.Mutex
	all  int
	open map[netip.Addr]int
}

func (s *listening) serve(ctx context.Context, c net.Conn) {
	defer c.Close()
	address := addressOf(c)
	if err := s.enter(address); err != nil {
		s.o.Refused(address, err)
		return
	}
	defer s.leave(address)
	if t, ok := c.(*net.TCPConn); ok {
		t.SetKeepAliveConfig(KeepAlive)
	}
	if s.o.TLS != nil {
		secured := tls.Server(c, s.o.TLS)
		handshake, cancel := context.WithTimeout(ctx, s.o.HandshakeTimeout)
		err := secured.HandshakeContext(handshake)
		cancel()
		if err != nil {
			s.o.Log.Warn("TLS handshake failed", "peer", address.String(), "reason", err)
			s.o.Refused(address, err)
			return
		}
		defer secured.Close()
		c = secured
	}
	s.o.Handle(ctx, c)
}

func addressOf(c net.Conn) netip.Addr {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

func (s *listening) enter(a netip.Addr) error {
	if s.o.Admit != nil && !s.o.Admit(a) {
		return ErrStranger
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.all >= s.o.Connections:
		return ErrConnections
	case s.open[a] >= s.o.PerAddress:
		return ErrPerAddress
	}
	s.all++
	s.open[a]++
	return nil
}

func (s *listening) leave(a netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.open[a]--; s.open[a] == 0 {
		delete(s.open, a)
	}
}
