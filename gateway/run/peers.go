package run

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"nhip/gateway/config"
	"nhip/gateway/interpret"
	"nhip/gateway/reason"
	"nhip/hl7"
	"nhip/hl7/mllp"
)

// Limits of the shared MLLP listener.
const (
	maxPeerConnections = 256
	maxPerAddress      = 200 // an interface engine has one address; a port scanner leaves room for others
)

// startHL7 opens the MLLP listener that systems share. Who may speak is in
// [[hl7_peer]]: by address, and by MSH-3 and MSH-4 of each message.
func (g *Gateway) startHL7() {
	if len(g.cfg.HL7.Listen) == 0 {
		return
	}
	for _, p := range g.cfg.HL7Peers {
		g.states.set(p.Name, interpret.Peer, "waiting", "")
	}
	g.keepOpen("hl7", func() ([]string, func(context.Context) error, error) {
		open, err := listenAll(g.cfg.HL7.Listen)
		if err != nil {
			return nil, nil, err
		}
		l := &peerListener{g: g, perAddress: map[netip.Addr]int{}, perPeer: map[string]int{}}
		return addressesOf(open), func(ctx context.Context) error { return serveAll(ctx, open, l.serve) }, nil
	})
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

type peerListener struct {
	g *Gateway

	mu         sync.Mutex
	all        int
	perAddress map[netip.Addr]int
	perPeer    map[string]int // open connections that have spoken as a peer
}

func (l *peerListener) serve(ctx context.Context, c net.Conn) {
	defer c.Close()
	address := addrOf(c)
	known := l.known(address)
	if len(known) == 0 {
		l.g.strangers.refused(config.Stranger{Kind: "hl7", Address: address.String()}, reason.New(reason.SendHL7))
		return
	}
	if !l.enter(address) {
		l.g.strangers.refused(config.Stranger{Kind: "hl7", Address: address.String()}, reason.New(reason.TooManyFromHere))
		return
	}
	defer l.leave(address)
	if t, ok := c.(*net.TCPConn); ok {
		t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 3 * time.Minute, Interval: 30 * time.Second, Count: 4})
	}
	spoken := map[string]bool{}
	defer func() {
		for name := range spoken {
			l.closed(name, address)
		}
	}()
	// The reason is in the log.
	_ = l.g.foreign(mllp.Serve(ctx, c, mllp.ServeOptions{
		MaxFrame:     int(l.g.cfg.HL7.MaxMessage),
		FrameTimeout: l.g.frame,
		Log:          l.g.log.With("peer", address.String()),
		TooLong:      l.g.tooLong,
		Handler: func(ctx context.Context, frame []byte) ([]byte, error) {
			m, bad := hl7.Parse(frame)
			if m == nil {
				return nil, bad
			}
			peer, err := l.who(known, address, m)
			if err != nil {
				return nil, err
			}
			if !spoken[peer.Name] {
				spoken[peer.Name] = true
				l.spoke(peer.Name, address)
			}
			return l.g.hl7Message(ctx, device{g: l.g, name: peer.Name, kind: interpret.Peer}, false, c.RemoteAddr().String(), m, bad)
		},
	}))
}

// known are the peers that may come from an address.
func (l *peerListener) known(a netip.Addr) []config.HL7Peer {
	var known []config.HL7Peer
	for _, p := range l.g.cfg.HL7Peers {
		if config.Contains(p.Address, a) {
			known = append(known, p)
		}
	}
	return known
}

// who finds the peer that a message is from; one that names its application
// before one that takes any.
func (l *peerListener) who(known []config.HL7Peer, address netip.Addr, m *hl7.Message) (config.HL7Peer, error) {
	application, facility := m.Get("MSH-3.1"), m.Get("MSH-4.1")
	var found *config.HL7Peer
	for i, p := range known {
		if p.Application != "" && p.Application != application || p.Facility != "" && p.Facility != facility {
			continue
		}
		if found == nil || found.Application == "" && p.Application != "" {
			found = &known[i]
		}
	}
	if found == nil {
		l.g.strangers.refused(config.Stranger{Kind: "hl7", Address: address.String(), Application: application, Facility: facility}, reason.New(reason.SendHL7))
		return config.HL7Peer{}, fmt.Errorf("no peer with this MSH-3 and MSH-4 may speak from %s", address)
	}
	return *found, nil
}

func (l *peerListener) enter(a netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= maxPeerConnections || l.perAddress[a] >= maxPerAddress {
		return false
	}
	l.all++
	l.perAddress[a]++
	return true
}

func (l *peerListener) leave(a netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if l.perAddress[a]--; l.perAddress[a] == 0 {
		delete(l.perAddress, a)
	}
}

func (l *peerListener) spoke(name string, address netip.Addr) {
	l.mu.Lock()
	l.perPeer[name]++
	l.mu.Unlock()
	l.g.states.set(name, interpret.Peer, "connected", address.String())
}

func (l *peerListener) closed(name string, address netip.Addr) {
	l.mu.Lock()
	l.perPeer[name]--
	last := l.perPeer[name] == 0
	l.mu.Unlock()
	if last {
		l.g.states.set(name, interpret.Peer, "heard", address.String())
	}
}

func addrOf(c net.Conn) netip.Addr {
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}
