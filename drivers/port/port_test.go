package port

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = time.Minute // what should happen at once happens within it

// running is a port that is served in the background.
type running struct {
	*Port
	t      *testing.T
	cancel context.CancelFunc
	done   chan error
	states chan State
}

func start(t *testing.T, address string, o Options, handle Handler) *running {
	t.Helper()
	a, err := Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{t: t, cancel: cancel, done: make(chan error, 1), states: make(chan State, 1000)}
	o.State = func(s State) { r.states <- s }
	if o.MinBackoff == 0 {
		o.MinBackoff, o.MaxBackoff = 5*time.Millisecond, 20*time.Millisecond
	}
	if r.Port, err = Open(ctx, a, o); err != nil {
		t.Fatal(err)
	}
	go func() { r.done <- r.Serve(ctx, handle) }()
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *running) stop() {
	r.cancel()
	select {
	case err := <-r.done:
		if err != nil {
			r.t.Errorf("Serve: %v", err)
		}
		r.done <- nil
	case <-time.After(patience):
		r.t.Error("Serve does not return")
	}
}

func (r *running) await(kind string) State {
	r.t.Helper()
	for {
		select {
		case s := <-r.states:
			if s.Kind == kind {
				return s
			}
		case <-time.After(patience):
			r.t.Fatalf("no state %q", kind)
		}
	}
}

// echo sends back what it reads until reading fails.
func echo(_ context.Context, c Conn) error {
	_, err := io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
	return err
}

func exchange(t *testing.T, c io.ReadWriter, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len(text))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != text {
		t.Fatalf("read %q, %v; want %q", b, err, text)
	}
}

func dial(t *testing.T, p *running) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return c
}

func TestListenerServesConnectionsAndSaysSo(t *testing.T) {
	p := start(t, "tcp-listen://127.0.0.1:0", Options{}, echo)
	if s := p.await("listening"); s.Words != "listening on "+p.Addr() {
		t.Errorf("%+v", s)
	}
	c := dial(t, p)
	exchange(t, c, "one")
	if s := p.await("connected"); s.Peer != c.LocalAddr().String() {
		t.Errorf("%+v", s)
	}
	c.Close()
	p.await("listening")
}

func TestTakenPortIsAnErrorOfOpen(t *testing.T) {
	p := start(t, "tcp-listen://127.0.0.1:0", Options{}, echo)
	a, _ := Parse("tcp-listen://" + p.Addr())
	if _, err := Open(t.Context(), a, Options{}); err == nil {
		t.Error("opened twice")
	}
}

func TestStrangersAndConnectionsOverTheLimitAreRefused(t *testing.T) {
	for _, o := range []Options{
		{Allow: func(a netip.Addr) bool { return !a.IsLoopback() }},
		{MaxConns: 1},
	} {
		p := start(t, "tcp-listen://127.0.0.1:0", o, echo)
		if o.MaxConns == 1 {
			exchange(t, dial(t, p), "first")
		}
		c := dial(t, p)
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("not closed: %v", err)
		}
		if s := p.await("refused"); s.Peer != c.LocalAddr().String() {
			t.Errorf("%+v", s)
		}
		p.stop()
	}
}

func TestStoppingFreesReadsAndAwaitsHandlers(t *testing.T) {
	var mu sync.Mutex
	var ended []error
	p := start(t, "tcp-listen://127.0.0.1:0", Options{}, func(_ context.Context, c Conn) error {
		c.Write([]byte("!"))
		_, err := c.Read(make([]byte, 1))
		c.SetReadDeadline(time.Time{}) // does not bring reading back
		_, again := c.Read(make([]byte, 1))
		mu.Lock()
		defer mu.Unlock()
		ended = append(ended, err, again)
		return err
	})
	for range 2 {
		io.ReadFull(dial(t, p), make([]byte, 1))
	}
	p.stop()
	if len(ended) != 4 {
		t.Fatalf("%d reads were freed", len(ended))
	}
	for _, err := range ended {
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	}
}

func TestNewConnectionSupersedesOldWhenItHasSpoken(t *testing.T) {
	var mu sync.Mutex
	conns := map[string]<-chan struct{}{}
	p := start(t, "tcp-listen://127.0.0.1:0", Options{MaxConns: 3}, func(ctx context.Context, c Conn) error {
		mu.Lock()
		conns[c.Peer()] = Superseded(c)
		mu.Unlock()
		return echo(ctx, c)
	})
	superseded := func(c net.Conn) bool {
		mu.Lock()
		defer mu.Unlock()
		select {
		case <-conns[c.LocalAddr().String()]:
			return true
		default:
			return false
		}
	}
	old := dial(t, p)
	exchange(t, old, "results")
	dial(t, p) // a scanner that says nothing
	newest := dial(t, p)
	exchange(t, old, "more results") // nobody has spoken since
	if superseded(old) {
		t.Error("superseded by a connection that has said nothing")
	}
	exchange(t, newest, "ENQ")
	if !superseded(old) || superseded(newest) {
		t.Errorf("old superseded: %v, newest superseded: %v", superseded(old), superseded(newest))
	}
	if Superseded(FromNet(newest)) != nil {
		t.Error("a connection of no listener can be superseded")
	}
}

func TestDeviceIsDialledAgainUntilItIsThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	p := start(t, "tcp-dial://"+address, Options{}, echo)
	p.await("dialling")
	p.await("refused")
	if l, err = net.Listen("tcp", address); err != nil {
		t.Skipf("the port was taken meanwhile: %v", err)
	}
	defer l.Close()
	for range 3 {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, c, "results")
		if s := p.await("connected"); s.Peer != address {
			t.Errorf("%+v", s)
		}
		c.Close()
		p.await("dialling")
	}
}

func TestBackoffDoublesUpToItsLimit(t *testing.T) {
	p := &Port{o: Options{MinBackoff: time.Microsecond, MaxBackoff: 5 * time.Microsecond}}
	b := p.backoff()
	var got []time.Duration
	for range 5 {
		got = append(got, b.next)
		b.sleep(t.Context())
	}
	if fmt.Sprint(got) != "[1µs 2µs 4µs 5µs 5µs]" {
		t.Error(got)
	}
}
