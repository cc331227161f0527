package wire

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// A Service is a listener that can be out of service for a while: nothing
// listens then, so that a peer is refused, and open connections are cut.
type Service struct {
	mu    sync.Mutex
	until time.Time
	cut   context.CancelFunc
}

// Down takes the service away for d from now.
func (s *Service) Down(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if until := time.Now().Add(d); until.After(s.until) {
		s.until = until
	}
	if s.cut != nil {
		s.cut()
	}
}

// Run listens on the address and calls serve with the listener, again after
// each Down, until ctx ends. An address that is taken at the start is an error;
// later it is waited for. ready, which may be nil, gets the real address once.
func (s *Service) Run(ctx context.Context, address string, ready func(net.Addr), serve func(context.Context, net.Listener) error) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	address = listener.Addr().String()
	if ready != nil {
		ready(listener.Addr())
	}
	for {
		if err := s.serve(ctx, listener, serve); err != nil && ctx.Err() == nil {
			return err
		}
		if listener, err = s.again(ctx, address); err != nil {
			return nil // only the end of ctx
		}
	}
}

func (s *Service) serve(ctx context.Context, listener net.Listener, serve func(context.Context, net.Listener) error) error {
	up, cut := context.WithCancel(ctx)
	defer cut()
	s.mu.Lock()
	s.cut = cut
	if time.Now().Before(s.until) {
		cut()
	}
	s.mu.Unlock()
	stop := context.AfterFunc(up, func() { listener.Close() })
	defer stop()
	err := serve(up, listener)
	listener.Close()
	if up.Err() != nil {
		return nil
	}
	return err
}

// again listens once the service is up, however long the port is taken.
func (s *Service) again(ctx context.Context, address string) (net.Listener, error) {
	for {
		s.mu.Lock()
		wait := max(time.Until(s.until), 10*time.Millisecond)
		s.mu.Unlock()
		if !Wait(ctx, wait) {
			return nil, ctx.Err()
		}
		listener, err := net.Listen("tcp", address)
		if err == nil {
			return listener, nil
		}
	}
}

// A Line is what a device speaks on: a net.Conn, a serial port, one end of a
// pseudo terminal.
type Line interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// Accept calls handle on a goroutine for each connection until the listener is
// closed, then closes every connection and waits for the goroutines.
func Accept(ctx context.Context, listener net.Listener, handle func(context.Context, net.Conn)) error {
	var group sync.WaitGroup
	defer group.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		c, err := listener.Accept()
		if err != nil {
			return err
		}
		group.Go(func() {
			stop := context.AfterFunc(ctx, func() { c.Close() })
			defer stop()
			defer c.Close()
			handle(ctx, c)
		})
	}
}

// Wait waits and reports whether ctx is still good.
func Wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}

// A Duration is a time.Duration that is written "30s" in a file.
type Duration time.Duration

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}
