package association_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/echo"
	"nhip/dicom/store"
	"nhip/dicom/ul"
)

// listen serves on a free port until the test ends.
func listen(t *testing.T, s *association.Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func TestEchoOverTCP(t *testing.T) {
	address := listen(t, newServer(nil))
	a, err := association.Dial(t.Context(), address, association.Proposal{Calling: "A", Called: "B", Contexts: []ul.ProposedContext{echo.Context(1)}})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := echo.Send(t.Context(), a); err != nil {
			t.Error(err)
		}
	}
	if a.Implementation != association.ImplementationVersionName || !a.Peer.Addr().IsLoopback() {
		t.Errorf("%q, %v", a.Implementation, a.Peer)
	}
	if err := a.Release(t.Context()); err != nil {
		t.Error(err)
	}
	if err := echo.Send(t.Context(), a); !errors.Is(err, association.ErrReleased) {
		t.Error(err)
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := association.Dial(t.Context(), l.Addr().String(), association.Proposal{Calling: "A", Called: "B", Contexts: ctContexts}); err == nil {
		t.Error("an association with nobody")
	}
}

// A listener that is closed under the server is its error; the end of the
// context is none.
func TestServeReturnsTheListenersError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- newServer(nil).Serve(t.Context(), l) }()
	l.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// An address with too many connections that have said nothing is closed unheard,
// and keeps no other address out; nor do all strangers together.
func TestConnectionFlood(t *testing.T) {
	s := newServer(nil)
	s.MaxAssociations = 1
	s.Known = func(a netip.Addr) bool {
		return a != netip.MustParseAddr("127.0.0.3") && a != netip.MustParseAddr("127.0.0.4")
	}
	address := listen(t, s)
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	const many = 40
	flood := func(from string, want int) (served int) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		closed := make(chan struct{}, many)
		for range many {
			c, err := d.Dial("tcp", address)
			if err != nil {
				t.Skipf("no loopback address %s here: %v", from, err)
			}
			open = append(open, c)
			go func() { c.Read(make([]byte, 1)); closed <- struct{}{} }()
		}
		served = many
		for patience := time.After(time.Minute); served > want; {
			select {
			case <-closed:
				served--
			case <-patience:
				return served
			}
		}
		select { // no more than those
		case <-closed:
			served--
		case <-time.After(20 * time.Millisecond):
		}
		return served
	}
	for i, from := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"} {
		want := []int{32, 32, 32, 0}[i]
		if n := flood(from, want); n != want {
			t.Errorf("%s has %d connections, not %d", from, n, want)
		}
	}
	c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}).Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	a, err := association.Establish(t.Context(), c, association.Proposal{Calling: "A", Called: "B", Contexts: ctContexts})
	if err != nil {
		t.Fatalf("a peer from another address: %v", err)
	}
	if err := a.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// A quarter of a gigabyte goes through both of our ends and nothing of it stays.
func TestLargeObjectIsStreamed(t *testing.T) {
	const size = 256 << 20
	got := make(chan int64, 1)
	s := newServer(nil)
	s.Handlers[dimse.CStoreRQ] = store.Handle(func(_ context.Context, _ store.Request, dataSet io.Reader) dimse.Status {
		n, err := io.Copy(io.Discard, dataSet)
		if err != nil {
			t.Error(err)
		}
		got <- n
		return dimse.Status{}
	})
	a, err := association.Dial(t.Context(), listen(t, s), association.Proposal{Calling: "A", Called: "B", Contexts: ctContexts})
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	o := ctObject("")
	o.DataSet = io.LimitReader(zeroes{}, size)
	status, err := store.Send(t.Context(), a, o)
	if err != nil || status.Code != dimse.Success {
		t.Fatalf("%v, %v", status, err)
	}
	runtime.ReadMemStats(&after)
	if n := <-got; n != size {
		t.Errorf("%d bytes arrived", n)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
		t.Errorf("%d bytes were allocated", n)
	}
	if err := a.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

type zeroes struct{}

func (zeroes) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// An old sender has Nagle's algorithm on and writes command set and data set
// apart: each object would wait 40 ms for a delayed acknowledgement.
func TestSenderWithNagleDoesNotWait(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("TCP_QUICKACK is for Linux")
	}
	const objects = 100
	stored := make(chan outcome, objects)
	c, err := net.Dial("tcp", listen(t, newServer(stored)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.(*net.TCPConn).SetNoDelay(false)
	p := peer{t, c}
	p.associate(proposal())
	var took []time.Duration
	for id := range uint16(objects) {
		begun := time.Now()
		p.send(pdata(command(3, storeRQ(id))))
		p.send(pdata(data(3, "0123456789", false)))
		p.send(pdata(data(3, "0123456789", true)))
		if r := p.response(); r.MessageIDBeingRespondedTo != id {
			t.Fatalf("%+v", r)
		}
		took = append(took, time.Since(begun))
	}
	// Each of them would have waited, whatever else the machine does.
	slices.Sort(took)
	if median := took[objects/2]; median > 35*time.Millisecond {
		t.Errorf("an object took %v", median)
	}
}
