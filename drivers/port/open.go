package port

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

const (
	defaultConns = 64
	dialTime     = 10 * time.Second
	steadyTime   = time.Minute     // a connection that lasted so long was a good one, silent or not
	graceTime    = 5 * time.Second // from ctx done to the closing of what is still open
)

// keepAlive finds a peer that is gone within a minute; analysers that were switched
// off leave half-open connections.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}

// Port is an opened Address. Serve runs it.
type Port struct {
	address  Address
	o        Options
	listener net.Listener // of an address that listens

	mu    sync.Mutex
	state State
	conns []*conn // that are being served, oldest first
}

// Open prepares a port. A listener listens at once, so that a port that is taken is
// an error now; other ports may be absent until they are there.
func Open(ctx context.Context, a Address, o Options) (*Port, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.State == nil {
		o.State = func(State) {}
	}
	if o.MaxConns == 0 {
		o.MaxConns = defaultConns
	}
	if o.MinBackoff == 0 {
		o.MinBackoff = time.Second
	}
	if o.MaxBackoff == 0 {
		o.MaxBackoff = 30 * time.Second
	}
	p := &Port{address: a, o: o}
	if !a.Listens() {
		return p, nil
	}
	lc := net.ListenConfig{KeepAliveConfig: keepAlive}
	l, err := lc.Listen(ctx, "tcp", a.host)
	if err != nil {
		return nil, fmt.Errorf("port %s: %w", a, err)
	}
	p.listener = l
	p.report(State{Kind: "listening", Words: "listening on " + p.Addr()})
	return p, nil
}

// Addr is the real address: of a listener with the port it got, otherwise what is
// dialled or opened.
func (p *Port) Addr() string {
	switch {
	case p.listener != nil:
		return p.listener.Addr().String()
	case p.address.Serial():
		return p.address.serial.device
	}
	return p.address.host
}

// Close closes a port that is not being served.
func (p *Port) Close() error {
	if p.listener == nil {
		return nil
	}
	return p.listener.Close()
}

// Serve hands every connection to handle until ctx is done: the loop of a listener,
// of redialling or of reopening. It closes a connection when handle returns, logs
// what handle returned, and waits for every handle before it returns. When ctx is
// done reads are freed; five seconds later what is still open is closed.
// The error is nil when ctx ended it.
func (p *Port) Serve(ctx context.Context, handle Handler) error {
	if p.listener != nil {
		return p.accept(ctx, handle)
	}
	p.redial(ctx, handle)
	return nil
}

func (p *Port) accept(ctx context.Context, handle Handler) error {
	var handles sync.WaitGroup
	defer handles.Wait()
	defer p.listener.Close()
	stop := context.AfterFunc(ctx, func() { p.listener.Close() })
	defer stop()
	wait := p.backoff()
	for {
		c, err := p.listener.Accept()
		if ctx.Err() != nil {
			if c != nil {
				c.Close()
			}
			return nil
		}
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("port %s: %w", p.address, err)
			}
			// Out of file descriptors and the like: it may pass.
			p.report(State{Kind: "failed", Words: "cannot accept a connection: " + err.Error()})
			if !wait.sleep(ctx) {
				return nil
			}
			continue
		}
		wait = p.backoff()
		if refusal := p.refuse(c); refusal != "" {
			p.o.Log.Warn("connection refused", "port", p.Addr(), "peer", c.RemoteAddr().String(), "why", refusal)
			p.report(State{Kind: "refused", Words: refusal, Peer: c.RemoteAddr().String()})
			c.Close()
			p.settled()
			continue
		}
		own := p.add(newConn(p, netConn{c}))
		handles.Go(func() { p.serve(ctx, own, handle) })
	}
}

// refuse says in words why a connection is not taken.
func (p *Port) refuse(c net.Conn) string {
	peer := c.RemoteAddr().String()
	if p.o.Allow != nil {
		a, err := netip.ParseAddrPort(peer)
		if err != nil || !p.o.Allow(a.Addr().Unmap()) {
			return "refused " + peer + ": it is not allowed here"
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.conns) >= p.o.MaxConns {
		return fmt.Sprintf("refused %s: there are %d connections already", peer, len(p.conns))
	}
	return ""
}

func (p *Port) redial(ctx context.Context, handle Handler) {
	wait := p.backoff()
	if !p.address.Serial() {
		p.settled()
	}
	for ctx.Err() == nil {
		c, err := p.open(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			p.report(State{Kind: kindOf(err), Words: p.words(err)})
		} else {
			since, own := time.Now(), p.add(newConn(p, c))
			p.serve(ctx, own, handle)
			if own.heard || time.Since(since) >= steadyTime {
				wait = p.backoff() // it was a good one
			}
		}
		if !wait.sleep(ctx) {
			return
		}
	}
}

// open makes one attempt.
func (p *Port) open(ctx context.Context) (Conn, error) {
	if p.address.Serial() {
		return openSerial(p.address.serial)
	}
	d := net.Dialer{Timeout: dialTime, KeepAliveConfig: keepAlive}
	c, err := d.DialContext(ctx, "tcp", p.address.host)
	if err != nil {
		return nil, err
	}
	return netConn{c}, nil
}

func kindOf(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENXIO), errors.Is(err, syscall.ENODEV):
		return "absent"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	}
	var network *net.OpError
	if errors.As(err, &network) {
		return "dialling"
	}
	return "failed"
}

// words says for people what is wrong.
func (p *Port) words(err error) string {
	at := p.Addr()
	switch {
	case kindOf(err) == "absent":
		return at + " is not there; it is opened when it is plugged in"
	case errors.Is(err, errInUse):
		return at + " is in use by another program"
	case errors.Is(err, fs.ErrPermission):
		return at + " may not be opened: permission denied (is the user in the group dialout?)"
	case kindOf(err) == "refused":
		return at + " refuses the connection: nothing listens there"
	}
	return at + ": " + err.Error()
}

// errInUse: another program has the serial port open.
var errInUse = errors.New("in use by another program")

func (p *Port) add(c *conn) *conn {
	p.mu.Lock()
	p.conns = append(p.conns, c)
	p.mu.Unlock()
	p.settled()
	return c
}

func (p *Port) serve(ctx context.Context, c *conn, handle Handler) {
	stopped := make(chan struct{})
	var closer *time.Timer
	stop := context.AfterFunc(ctx, func() {
		c.stop()
		closer = time.AfterFunc(graceTime, func() { c.Close() })
		close(stopped)
	})
	err := handle(ctx, c)
	if !stop() {
		<-stopped
		closer.Stop()
	}
	c.Close()
	p.mu.Lock()
	for i := range p.conns {
		if p.conns[i] == c {
			p.conns = append(p.conns[:i], p.conns[i+1:]...)
			break
		}
	}
	p.mu.Unlock()
	p.o.Log.Info("connection ended", "port", p.Addr(), "peer", c.Peer(), "why", fmt.Sprint(err))
	p.settled()
}

// settled reports what the connections make of the port.
func (p *Port) settled() {
	p.mu.Lock()
	var newest string
	if n := len(p.conns); n > 0 {
		newest = p.conns[n-1].Peer()
	}
	p.mu.Unlock()
	switch {
	case newest != "":
		p.report(State{Kind: "connected", Words: "connected to " + newest, Peer: newest})
	case p.listener != nil:
		p.report(State{Kind: "listening", Words: "listening on " + p.Addr()})
	case p.address.Serial():
		p.report(State{Kind: "absent", Words: p.Addr() + " was closed; it is opened again"})
	default:
		p.report(State{Kind: "dialling", Words: "dialling " + p.Addr()})
	}
}

// report passes a state on when it is another one.
func (p *Port) report(s State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.Kind == p.state.Kind && s.Words == p.state.Words {
		return
	}
	s.Since = time.Now()
	p.state = s
	p.o.State(s)
}

type backoff struct{ next, max time.Duration }

func (p *Port) backoff() *backoff { return &backoff{p.o.MinBackoff, p.o.MaxBackoff} }

// sleep waits with jitter of a quarter and doubles; false when ctx is done.
func (b *backoff) sleep(ctx context.Context) bool {
	d := b.next*3/4 + rand.N(b.next/2+1)
	b.next = min(2*b.next, b.max)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
