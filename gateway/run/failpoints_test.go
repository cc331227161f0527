package run

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"nhip/hardware-sim/truth"
	"nhip/storage/storagetest/figures"
)

// Where the child of a test kills itself, and through what its peers reach it.
const (
	childFailpoint = "NHIP_TEST_FAILPOINT" // "3 persist xn-1 before": at the third time
	childRelays    = "NHIP_TEST_RELAYS"    // JSON of []relay
	childMark      = "NHIP_TEST_MARK"      // the file that says that the point was reached
)

// A relay stands between the gateway and one peer, in the gateway's process, so
// that a byte which it has not passed on has not left the process.
type relay struct{ Peer, Listen, Dial string }

// A failpoint is where the process kills itself at the nth time.
type failpoint struct {
	name string
	left atomic.Int64
	mark string
}

// failpointOfChild reads the point and starts the relays; nil without either.
func failpointOfChild() (*failpoint, error) {
	text := os.Getenv(childRelays)
	if text == "" {
		return nil, nil
	}
	p := &failpoint{mark: os.Getenv(childMark)}
	if n, name, ok := strings.Cut(os.Getenv(childFailpoint), " "); ok {
		left, err := strconv.ParseInt(n, 10, 64)
		if err != nil {
			return nil, err
		}
		p.name = name
		p.left.Store(left)
	}
	var relays []relay
	if err := json.Unmarshal([]byte(text), &relays); err != nil {
		return nil, err
	}
	for _, r := range relays {
		l, err := net.Listen("tcp", r.Listen)
		if err != nil {
			return nil, err
		}
		go p.relay(l, r)
	}
	return p, nil
}

// reached kills the process where this is the point and its time has come.
func (p *failpoint) reached(name string) {
	if name != p.name || p.left.Add(-1) != 0 {
		return
	}
	if err := os.WriteFile(p.mark, []byte(name), 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return // the test sees that the point was not reached
	}
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// watch is storage.Options.Watch.
func (p *failpoint) watch(when, what string) {
	op, name, _ := strings.Cut(what, " ")
	switch op {
	case "append":
		p.reached("persist " + strings.TrimPrefix(name, "in/") + " " + when)
	case "enqueue":
		p.reached("route " + strings.TrimPrefix(name, "to/") + " " + when)
	case "remove":
		p.reached("delete " + strings.TrimPrefix(name, "to/") + " " + when)
	}
}

// fault is storage.Options.Fault.
func (p *failpoint) fault(step string) error {
	p.reached("spool " + step)
	return nil
}

func (p *failpoint) relay(l net.Listener, r relay) {
	for {
		outer, err := l.Accept()
		if err != nil {
			return
		}
		// The dialler of a connection to the gateway is the peer; of one to a
		// destination, the gateway.
		c := &conversation{}
		up, down := c.hears, func(b []byte) string { return c.acknowledges(r.Peer, b) }
		if r.Peer == "lis" || r.Peer == "pacs" {
			up = func(b []byte) string { return sends(r.Peer, b) }
			down = func(b []byte) string { return answers(r.Peer, b) }
		}
		go p.pass(outer, r.Dial, up, down)
	}
}

// pass copies both ways between a connection and one that it makes.
func (p *failpoint) pass(outer net.Conn, to string, up, down func([]byte) string) {
	defer outer.Close()
	inner, err := net.Dial("tcp", to)
	for tries := 0; err != nil && tries < 40; tries++ { // it is down and will come back
		time.Sleep(25 * time.Millisecond)
		inner, err = net.Dial("tcp", to)
	}
	if err != nil {
		return
	}
	defer inner.Close()
	var wg sync.WaitGroup
	wg.Go(func() { p.copy(inner, outer, up); inner.Close(); outer.Close() })
	wg.Go(func() { p.copy(outer, inner, down); inner.Close(); outer.Close() })
	wg.Wait()
}

// copy passes bytes on; what names the point that they are.
func (p *failpoint) copy(to, from net.Conn, what func([]byte) string) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if n > 0 {
			point := what(b[:n])
			if point != "" {
				p.reached(point + " before")
			}
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
			if point != "" {
				p.reached(point + " after")
			}
		}
		if err != nil {
			return
		}
	}
}

// A conversation is what a device has said since the gateway last said something.
type conversation struct {
	mu    sync.Mutex
	heard []byte
}

func (c *conversation) hears(b []byte) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = append(c.heard, b[max(0, len(b)-4096):]...)
	return ""
}

var lastRecord = regexp.MustCompile(`[\x02\r][0-7]?L\|`)

// acknowledges says whether the bytes are the answer that lets a device forget.
func (c *conversation) acknowledges(peer string, b []byte) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	astm := bytes.IndexByte(b, 0x06) >= 0 && lastRecord.Match(c.heard)
	c.heard = c.heard[:0]
	if astm || bytes.Contains(b, []byte("MSA|AA")) || peer == "dicom" && b[0] == 4 {
		return "acknowledge " + peer
	}
	return ""
}

func sends(peer string, b []byte) string {
	if peer == "lis" && bytes.Contains(b, []byte("MSH|")) || peer == "pacs" && b[0] == 4 { // P-DATA-TF, PS3.8 section 9.3.5
		return "send " + peer
	}
	return ""
}

func answers(peer string, b []byte) string {
	if peer == "lis" && bytes.Contains(b, []byte("MSA|AA")) || peer == "pacs" && b[0] == 4 {
		return "answer " + peer
	}
	return ""
}

// points are where the gateway is killed: ASTM is xn-1, HL7 is bc-1, DICOM is ct-1.
func points() []string {
	var all []string
	for _, p := range []string{
		"persist xn-1", "acknowledge xn-1", "persist bc-1", "acknowledge bc-1", "persist ct-1", "acknowledge dicom",
		"route interpret", "delete interpret", "route lis", "route pacs",
		"send lis", "answer lis", "delete lis", "send pacs", "answer pacs", "delete pacs",
	} {
		all = append(all, p+" before", p+" after")
	}
	for _, p := range []string{"create", "write", "fsync", "rename", "fsyncdir"} {
		all = append(all, "spool "+p)
	}
	return all
}

// relayed puts relays between the gateway of a hospital and its peers.
func (h *hospital) relayed() {
	h.t.Helper()
	text, err := os.ReadFile(h.file)
	if err != nil {
		h.t.Fatal(err)
	}
	names := []string{"xn-1", "e411-1", "erba-1", "bc-1", "dicom", "lis", "pacs"}
	var relays []relay
	for i, port := range freePorts(h.t, len(names)) {
		peer := names[i]
		text = bytes.ReplaceAll(text, []byte(h.ports[peer]), []byte(port))
		if peer == "lis" || peer == "pacs" {
			relays = append(relays, relay{peer, port, h.ports[peer]})
		} else {
			relays = append(relays, relay{peer, h.ports[peer], port})
		}
	}
	if err := os.WriteFile(h.file, text, 0o600); err != nil {
		h.t.Fatal(err)
	}
	b, err := json.Marshal(relays)
	if err != nil {
		h.t.Fatal(err)
	}
	h.env = []string{childRelays + "=" + string(b), childMark + "=" + h.mark()}
}

func (h *hospital) mark() string { return h.file + ".killed" }

// killedAt runs the gateway until it has killed itself at a point.
func (h *hospital) killedAt(point string, n int) {
	h.t.Helper()
	os.Remove(h.mark())
	c := h.gateway(fmt.Sprintf("%s=%d %s", childFailpoint, n, point))
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	select {
	case err := <-ended:
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != -1 {
			h.t.Fatalf("%s: the gateway ended by itself: %v", point, err)
		}
	case <-time.After(3 * time.Minute):
		c.Process.Kill()
		<-ended
		h.t.Errorf("%s: not reached %d times in three minutes", point, n)
		return
	}
	if b, err := os.ReadFile(h.mark()); err != nil || string(b) != point {
		h.t.Errorf("killed at %q where it should have been %q: %v", b, point, err)
	}
}

// TestNothingAcknowledgedIsLostAtAnyFailpoint kills the gateway exactly before and
// after each step on the way of a result and of an image: it is persisted,
// acknowledged, routed, sent, answered, taken out of the queue. At every third the
// LIS, and at every fourth the PACS, goes down at the same time.
func TestNothingAcknowledgedIsLostAtAnyFailpoint(t *testing.T) {
	const limit = "0 lost, 0 doubled after control ID, 0 changed, 0 out of order; every point reached"
	if testing.Short() {
		t.Skip("kills a process 37 times")
	}
	times := 1
	if figures.Soak() {
		times = 3
	}
	h := newHospital(t)
	h.relayed()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 4))
	l, p := h.start(seed)
	kills := 0
	for range times {
		all := points()
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, point := range all {
			h.killedAt(point, 1+r.IntN(4))
			kills++
			if kills%3 == 0 {
				l.Down(300 * time.Millisecond)
			}
			if kills%4 == 0 {
				p.Down(300 * time.Millisecond)
			}
		}
	}
	c := h.gateway()
	h.traffic(5*kills, kills)
	c.Process.Kill()
	c.Wait()
	report := h.finish()
	oru, image := report.Kinds[truth.ORU], report.Kinds[truth.Instance]
	if oru.Received < 5*kills || image.Received < kills {
		t.Errorf("only %d messages and %d objects were acknowledged: the test shows little", oru.Received, image.Received)
	}
	figures.Report(t, fmt.Sprintf("%d points x %d, %d results and %d images acknowledged; %d lost, %d doubled, %d changed, %d out of order; %d repeats under the same name",
		len(points()), times, oru.Received, image.Received, report.Lost, report.Doubled, report.Changed, report.OutOfOrder, report.Repeats), limit)
}
