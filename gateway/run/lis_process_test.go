package run

import (
	"context"
	"encoding/gob"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"testing"
	"time"

	"nhip/hardware-sim/lis"
	"nhip/hardware-sim/truth"
)

// childLIS is the address at which this test program is a LIS, when it is started
// as the child of a test.
const childLIS = "NHIP_TEST_LIS"

// A witness lets an answer out only after the parent was told of the message, as a
// LIS commits before it answers. What was told and not answered comes again.
type witness struct {
	mu   sync.Mutex
	more *sync.Cond
	told map[string]bool
	to   *gob.Encoder
}

func (w *witness) received(d truth.Delivery) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.to.Encode(d); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	w.told[d.Name] = true
	w.more.Broadcast()
}

func (w *witness) await(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.told[id] {
		w.more.Wait()
	}
}

var answeredLine = regexp.MustCompile(`MSA\|[A-Z]{2}\|([^|\r]+)`)

func lisChild(address string) int {
	w := &witness{told: map[string]bool{}, to: gob.NewEncoder(os.Stdout)}
	w.more = sync.NewCond(&w.mu)
	l := lis.New(lis.Options{Name: "lis", Received: w.received, Log: slog.New(slog.DiscardHandler), Now: time.Now, Zone: time.UTC})
	inner := make(chan net.Addr, 1)
	go l.Run(context.Background(), "127.0.0.1:0", func(a net.Addr) { inner <- a })
	at := (<-inner).String()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	hold := func(b []byte) string {
		if m := answeredLine.FindSubmatch(b); m != nil {
			w.await(string(m[1]))
		}
		return ""
	}
	for {
		c, err := listener.Accept()
		if err != nil {
			return 1
		}
		go new(failpoint).pass(c, at, func([]byte) string { return "" }, hold)
	}
}

// A lisProcess is a LIS that can be killed.
type lisProcess struct {
	cmd  *exec.Cmd
	read chan struct{} // closed when all that it told was read
}

func (h *hospital) lis() *lisProcess {
	h.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		h.t.Fatal(err)
	}
	p := &lisProcess{exec.Command(os.Args[0]), make(chan struct{})}
	p.cmd.Env = append(os.Environ(), childLIS+"="+h.ports["lis"])
	p.cmd.Stdout, p.cmd.Stderr = w, h.log
	if err := p.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	w.Close()
	go func() {
		defer close(p.read)
		defer r.Close()
		for told := gob.NewDecoder(r); ; {
			var d truth.Delivery
			if told.Decode(&d) != nil {
				return // it was killed
			}
			h.truth.Arrive(d)
		}
	}()
	return p
}

// kill ends the process, and returns when all that it told was taken.
func (p *lisProcess) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Errorf("the LIS ended by itself: %v", err)
	}
	p.cmd.Wait()
	<-p.read
}
