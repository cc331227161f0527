package run

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"nhip/gateway/reason"
)

// retry is how long a listener that could not be opened waits for the next try.
const retry = 5 * time.Second

// keepOpen opens a listener and serves it until the gateway stops. What cannot
// be opened, because another program has the port, is said and tried again, and
// takes nothing else down.
func (g *Gateway) keepOpen(name string, open func() (addresses []string, serve func(context.Context) error, err error)) {
	addresses, serve, err := open()
	g.note(name, addresses, err)
	g.goRun(name, func(ctx context.Context) error {
		for ctx.Err() == nil {
			if err == nil {
				err = serve(ctx)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if err == nil {
					err = errors.New("ended")
				}
				g.note(name, nil, err)
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(retry):
			}
			addresses, serve, err = open()
			g.note(name, addresses, err)
		}
		return ctx.Err()
	})
}

func (g *Gateway) note(name string, addresses []string, err error) {
	if err != nil {
		why := reason.Listen(err)
		g.log.Error("not open", "listener", name, "reason", why)
		g.states.failed(name, why)
		return
	}
	g.log.Info("open", "listener", name, "addresses", addresses)
	g.states.opened(name, addresses)
}

// listenAll opens TCP listeners, all or none.
func listenAll(addresses []string) ([]net.Listener, error) {
	var open []net.Listener
	for _, a := range addresses {
		l, err := net.Listen("tcp", a)
		if err != nil {
			for _, o := range open {
				o.Close()
			}
			return nil, err
		}
		open = append(open, l)
	}
	return open, nil
}

func addressesOf(open []net.Listener) []string {
	var a []string
	for _, l := range open {
		a = append(a, l.Addr().String())
	}
	return a
}

// host is the IP address of host:port.
func host(address string) string {
	h, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return h
}

// An idSource makes message control IDs for acknowledgements: unique over
// restarts, because they begin with the time.
type idSource struct{ last atomic.Int64 }

func (s *idSource) next() string {
	for {
		was, now := s.last.Load(), time.Now().UnixNano()
		if now <= was {
			now = was + 1
		}
		if s.last.CompareAndSwap(was, now) {
			return "A" + strconv.FormatInt(now, 36)
		}
	}
}
