package run

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"nhip/gateway/config"
	"nhip/gateway/interpret"
	"nhip/gateway/reason"
	"nhip/hl7"
	"nhip/hl7/batch"
	"nhip/hl7/mllp"
)

// The listeners that systems share, besides "hl7".
const (
	listenTLS   = "hl7 tls"
	listenHTTP  = "hl7 http"
	listenHTTPS = "hl7 https"
)

// handshakeTimeout is how long a TLS handshake may take.
const handshakeTimeout = 10 * time.Second

// startHL7 opens the listeners that systems share. Who may speak is in [[hl7_peer]]: by
// address and certificate, and by MSH-3 to MSH-6 of each message.
func (g *Gateway) startHL7() {
	h := g.cfg.HL7
	p := &peers{g: g, perAddress: map[netip.Addr]int{}, perPeer: map[string]int{}}
	for _, c := range g.cfg.HL7Peers {
		p.links = append(p.links, g.peerLink(c))
		if len(h.Listen)+len(h.TLSListen)+len(h.HTTPListen)+len(h.HTTPSListen) > 0 {
			g.states.set(c.Name, interpret.Peer, "waiting", "")
		}
	}
	p.listen("hl7", h.Listen, false, p.overMLLP)
	p.listen(listenTLS, h.TLSListen, true, p.overMLLP)
	p.listen(listenHTTP, h.HTTPListen, false, p.overHTTP)
	p.listen(listenHTTPS, h.HTTPSListen, true, p.overHTTP)
	if len(p.links) > 0 {
		g.goRun("continued messages", p.giveUpOverdue)
	}
	for _, l := range p.links {
		if l.peer.Folder != "" {
			g.goRun("folder of "+l.name, l.watch)
		}
	}
}

// A peers is the shared listeners: who is connected.
type peers struct {
	g     *Gateway
	links []*link // in the order of the configuration

	mu         sync.Mutex
	all        int
	perAddress map[netip.Addr]int
	perPeer    map[string]int // open connections that have spoken as a peer
}

// listen keeps a listener open.
func (p *peers) listen(name string, addresses []string, secure bool, serve func(ctx context.Context, open []net.Listener, secured *tls.Config) error) {
	if len(addresses) == 0 {
		return
	}
	p.g.keepOpen(name, func() ([]string, func(context.Context) error, error) {
		var secured *tls.Config
		if secure {
			var err error
			if secured, err = p.g.cfg.HL7.Certificates().Server(); err != nil {
				return nil, nil, err
			}
		}
		open, err := listenAll(addresses)
		if err != nil {
			return nil, nil, err
		}
		return addressesOf(open), func(ctx context.Context) error { return serve(ctx, open, secured) }, nil
	})
}

// overMLLP serves MLLP on listeners.
func (p *peers) overMLLP(ctx context.Context, open []net.Listener, secured *tls.Config) error {
	return serveAll(ctx, open, func(ctx context.Context, c net.Conn) { p.serve(ctx, c, secured) })
}

// serveAll accepts on every listener and waits for every connection.
func serveAll(ctx context.Context, open []net.Listener, handle func(context.Context, net.Conn)) error {
	stop := context.AfterFunc(ctx, func() { closeAll(open) })
	defer stop()
	defer closeAll(open)
	failed := make(chan error, len(open))
	var wg sync.WaitGroup
	for _, l := range open {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				c, err := l.Accept()
				if err != nil {
					var temporary interface{ Temporary() bool }
					if errors.As(err, &temporary) && temporary.Temporary() && ctx.Err() == nil {
						time.Sleep(50 * time.Millisecond) // out of descriptors: the others go on
						continue
					}
					failed <- err
					return
				}
				wg.Add(1)
				go func() {
					defer wg.Done()
					handle(ctx, c)
				}()
			}
		}()
	}
	err := <-failed
	closeAll(open)
	wg.Wait()
	return err
}

func closeAll(open []net.Listener) {
	for _, l := range open {
		l.Close()
	}
}

// admit says which links a connection may be of, and counts it; leave is to be called
// once then. None: it is refused.
func (p *peers) admit(c net.Conn) (known []*link, address netip.Addr, leave func()) {
	address = addrOf(c)
	if known = p.known(address); len(known) == 0 {
		p.g.strangers.refused(config.Stranger{Kind: "hl7", Address: address.String()}, reason.New(reason.SendHL7))
		return nil, address, nil
	}
	if !p.enter(address) {
		p.g.strangers.refused(config.Stranger{Kind: "hl7", Address: address.String()}, reason.New(reason.TooManyFromHere))
		return nil, address, nil
	}
	if t, ok := c.(*net.TCPConn); ok {
		t.SetKeepAliveConfig(mllp.KeepAlive)
	}
	return known, address, func() { p.leave(address) }
}

// serve serves one connection of MLLP.
func (p *peers) serve(ctx context.Context, c net.Conn, secured *tls.Config) {
	defer c.Close()
	known, address, leave := p.admit(c)
	if known == nil {
		return
	}
	defer leave()
	if secured != nil {
		s := tls.Server(c, secured)
		handshake, cancel := context.WithTimeout(ctx, handshakeTimeout)
		err := s.HandshakeContext(handshake)
		cancel()
		if err != nil {
			p.g.strangers.count()
			p.g.log.Warn("TLS handshake failed", "peer", address.String(), "reason", cmp.Or(mllp.TLSReason(err, "en"), err.Error()))
			return
		}
		c = s
	}
	sp := newSpeaker(p, c, address, known)
	defer sp.end()
	complete, idle, most := sp.widest()
	if p.g.frame > 0 {
		complete = p.g.frame
	}
	// The reason is in the log.
	_ = p.g.foreign(mllp.Serve(ctx, c, mllp.ServeOptions{
		MaxFrame: most.Size, FrameTimeout: complete, Idle: idle, Release2: known[0].peer.MLLP == 2, Batches: true,
		Log: p.g.log.With("peer", address.String()), TooLong: sp.tooLong, Handler: sp.frame,
	}))
}

// A speaker is one connection of one or more peers.
type speaker struct {
	p       *peers
	address netip.Addr
	from    string
	known   []*link

	mu     sync.Mutex
	names  []string // of its certificate
	spoken map[string]bool
}

// widest are the limits that hold before the first message says which link it is.
func (s *speaker) widest() (complete, idle time.Duration, most hl7.Limits) {
	for i, l := range s.known {
		complete = max(complete, l.peer.Complete)
		most.Size, most.Segments = max(most.Size, int(l.peer.MaxMessage)), max(most.Segments, l.peer.MaxSegments)
		if i == 0 || l.peer.Idle == 0 || idle > 0 && l.peer.Idle > idle {
			idle = l.peer.Idle
		}
	}
	return complete, idle, most
}

// frame takes the content of a frame: a message, or a batch of them.
func (s *speaker) frame(ctx context.Context, content []byte) ([]byte, error) {
	if batch.Begins(content) {
		return s.batch(ctx, content)
	}
	return s.message(ctx, origin{address: s.from}, content)
}

// message takes one message.
func (s *speaker) message(ctx context.Context, o origin, content []byte) ([]byte, error) {
	_, _, most := s.widest()
	m, bad := hl7.ParseWithin(content, most)
	if m == nil {
		return nil, bad
	}
	l, err := s.who(m)
	if err != nil {
		return nil, err
	}
	if l.limits() != most {
		m, bad = hl7.ParseWithin(content, l.limits())
	}
	return l.message(ctx, o, m, bad)
}

// tooLong is the answer to a frame over the limit.
func (s *speaker) tooLong(head []byte) []byte {
	m := s.p.g.overLimit(head)
	if m == nil {
		return nil
	}
	l, err := s.who(m)
	if err != nil {
		return nil
	}
	return l.refuse(m, overLimit(int64(l.peer.MaxMessage)))
}

// An unknownPeer is the error for a message of nobody.
type unknownPeer struct{ address netip.Addr }

func (u *unknownPeer) Error() string {
	return fmt.Sprintf("no peer with this MSH-3 to MSH-6 may speak from %s", u.address)
}

var errTooMany = errors.New("the link has as many connections as it may have")

// who finds the link that a message is of: of those that fit, the one that says most.
func (s *speaker) who(m *hl7.Message) (*link, error) {
	application, facility := m.Get("MSH-3.1"), m.Get("MSH-4.1")
	s.mu.Lock()
	names := s.names
	s.mu.Unlock()
	var found *link
	best := -1
	for _, l := range s.known {
		if n := l.fits(application, facility, m, names); n > best {
			found, best = l, n
		}
	}
	if found == nil {
		s.p.g.strangers.refused(config.Stranger{Kind: "hl7", Address: s.address.String(), Application: application, Facility: facility}, reason.New(reason.SendHL7))
		return nil, &unknownPeer{s.address}
	}
	if !s.speaks(found) {
		return nil, errTooMany
	}
	return found, nil
}

// fits is how much of what a peer has to say of itself a message says: more counts for
// more; -1 where something differs.
func (l *link) fits(application, facility string, m *hl7.Message, names []string) int {
	p, n := &l.peer, 0
	if p.Certificate != "" {
		if !slices.Contains(names, p.Certificate) {
			return -1
		}
		n += 16
	}
	for _, x := range [...]struct {
		want, path string
		worth      int
	}{{p.Application, "", 8}, {p.Facility, "", 4}, {p.ReceivingApplication, "MSH-5.1", 2}, {p.ReceivingFacility, "MSH-6.1", 1}} {
		if x.want == "" {
			continue
		}
		got := application
		switch {
		case x.worth == 4:
			got = facility
		case x.path != "":
			got = m.Get(x.path)
		}
		if got != x.want {
			return -1
		}
		n += x.worth
	}
	return n
}

// speaks notes that the connection is one of a link; false where the link has too many.
func (s *speaker) speaks(l *link) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spoken[l.name] {
		return true
	}
	if !s.p.spoke(l.name, l.peer.MaxConnections) {
		s.p.g.strangers.refused(config.Stranger{Kind: "hl7", Address: s.address.String(), Application: l.peer.Application}, reason.New(reason.TooManyFromHere))
		return false
	}
	s.spoken[l.name] = true
	s.p.g.states.set(l.name, interpret.Peer, "connected", s.address.String())
	return true
}

// end notes that the connection has ended.
func (s *speaker) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.spoken {
		if s.p.closed(name) {
			s.p.g.states.set(name, interpret.Peer, "heard", s.address.String())
		}
	}
}

// known are the links that may come from an address.
func (p *peers) known(a netip.Addr) []*link {
	var known []*link
	for _, l := range p.links {
		if config.Contains(l.peer.Address, a) {
			known = append(known, l)
		}
	}
	return known
}

func (p *peers) enter(a netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all >= p.g.cfg.HL7.MaxConnections || p.perAddress[a] >= p.g.cfg.HL7.MaxPerAddress {
		return false
	}
	p.all++
	p.perAddress[a]++
	return true
}

func (p *peers) leave(a netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all--
	if p.perAddress[a]--; p.perAddress[a] == 0 {
		delete(p.perAddress, a)
	}
}

// spoke counts a connection of a link, of which there may be so many.
func (p *peers) spoke(name string, most int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.perPeer[name] >= most {
		return false
	}
	p.perPeer[name]++
	return true
}

// closed reports whether it was the last connection of a link.
func (p *peers) closed(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.perPeer[name]--
	return p.perPeer[name] == 0
}

func addrOf(c net.Conn) netip.Addr {
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}
