package run

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"nhip/hl7/hl7http"
	"nhip/hl7/mllp"
)

// overHTTP serves HL7 over HTTP on listeners.
func (p *peers) overHTTP(ctx context.Context, open []net.Listener, secured *tls.Config) error {
	most := p.g.cfg.HL7.MaxMessage
	complete := p.g.cfg.HL7.Complete
	for _, l := range p.links {
		most, complete = max(most, l.peer.MaxMessage), max(complete, l.peer.Complete)
	}
	server := hl7http.NewServer(hl7http.NewHandler(hl7http.Options{
		Handler: p.posted, MaxMessage: int64(most), Log: p.g.log,
		TooLong: func([]byte) []byte { p.g.strangers.count(); return nil },
	}), complete)
	server.TLSConfig = secured
	server.ErrorLog = slog.NewLogLogger(p.g.log.Handler(), slog.LevelDebug)
	server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if t, ok := c.(*tls.Conn); ok {
			c = t.NetConn()
		}
		return context.WithValue(ctx, speakerKey{}, c.(*spoken).speaker)
	}
	server.BaseContext = func(net.Listener) context.Context { return context.WithoutCancel(ctx) }
	ended := make(chan error, len(open))
	for _, l := range open {
		go func() {
			if secured != nil {
				ended <- server.ServeTLS(admitting{l, p}, "", "")
				return
			}
			ended <- server.Serve(admitting{l, p})
		}()
	}
	var err error
	left := len(open)
	select {
	case <-ctx.Done():
	case err = <-ended:
		left--
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), httpGrace)
	defer cancel()
	if server.Shutdown(grace) != nil {
		server.Close()
	}
	for range left {
		<-ended
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// httpGrace is how long a request that is being answered may take at the stop.
const httpGrace = 3 * time.Second

type speakerKey struct{}

// posted takes a message of a request.
func (p *peers) posted(ctx context.Context, r hl7http.Request) ([]byte, error) {
	s := ctx.Value(speakerKey{}).(*speaker)
	if r.HTTP.TLS != nil {
		s.mu.Lock()
		s.names = mllp.PeerNames(secured{r.HTTP.TLS})
		s.mu.Unlock()
	}
	answer, err := s.message(ctx, origin{address: s.from, charset: r.Charset}, r.Message)
	var unknown *unknownPeer
	if errors.As(err, &unknown) {
		return nil, errors.Join(hl7http.ErrForbidden, err)
	}
	return joinedLast(answer), err
}

// secured is a connection of which only TLS is known.
type secured struct{ state *tls.ConnectionState }

// ConnectionState is that of tls.Conn.
func (s secured) ConnectionState() tls.ConnectionState { return *s.state }

// An admitting listener lets known addresses in, as far as the limits allow.
type admitting struct {
	net.Listener
	p *peers
}

// Accept is net.Listener.
func (l admitting) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		known, address, leave := l.p.admit(c)
		if known == nil {
			c.Close()
			continue
		}
		return &spoken{Conn: c, leave: leave, speaker: newSpeaker(l.p, c, address, known)}, nil
	}
}

func newSpeaker(p *peers, c net.Conn, address netip.Addr, known []*link) *speaker {
	return &speaker{p: p, address: address, from: c.RemoteAddr().String(), names: mllp.PeerNames(c), known: known, spoken: map[string]bool{}}
}

// A spoken is a connection that was admitted.
type spoken struct {
	net.Conn
	*speaker
	leave func()
	once  sync.Once
}

// Close is net.Conn.
func (c *spoken) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.speaker.end()
		c.leave()
	})
	return err
}
