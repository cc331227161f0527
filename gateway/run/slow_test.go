package run

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nhip/dicom/association"
	"nhip/dicom/uid"
	"nhip/dicom/ul"
	"nhip/hl7/mllp"
	"nhip/storage/storagetest/figures"
)

// What the children of the test of slow connections are told.
const (
	childFrame = "NHIP_TEST_FRAME_TIMEOUT" // the gateway: Options.FrameTimeout
	childSlow  = "NHIP_TEST_SLOW"          // the clients: JSON of slowOrders
)

type slowOrders struct {
	Connections int
	Targets     map[string]string // protocol: address
	From        []string          // the addresses that the connections come from
	Again       time.Duration     // from the end of a connection to the next one
}

// slowReport is what the clients have seen, by protocol.
type slowReport struct {
	Dialled int
	Failed  string                   // the first dial that failed
	Longest map[string]time.Duration // that a connection was left open
	Most    map[string]int           // at once, by "protocol from", that were open for a second or more
}

// firstByte is what a slow client sends.
var firstByte = map[string]string{"hl7": "\x0b", "dicom": "\x01", "console": "G", "mqtt": "\x10"}

// slowChild is the process of the clients: each connection sends one byte and
// waits until it is closed, and is made again, until a line comes in.
func slowChild(text string) int {
	var o slowOrders
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	r := slowReport{Longest: map[string]time.Duration{}, Most: map[string]int{}}
	var mu sync.Mutex
	now := map[string]int{}
	stop := make(chan struct{})
	var all, up sync.WaitGroup
	protocols := []string{"hl7", "dicom", "console", "mqtt"}
	tickets := make(chan struct{}, 64) // dials at once
	for i := range o.Connections {
		protocol, from := protocols[i%len(protocols)], o.From[i/len(protocols)%len(o.From)]
		place := protocol + " " + from
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 30 * time.Second}
		once := func(first func()) {
			tickets <- struct{}{}
			c, err := dialer.Dial("tcp", o.Targets[protocol])
			<-tickets
			first()
			mu.Lock()
			r.Dialled++
			if err != nil && r.Failed == "" {
				r.Failed = err.Error()
			}
			mu.Unlock()
			if err != nil {
				return
			}
			defer c.Close()
			began := time.Now()
			io.WriteString(c, firstByte[protocol])
			c.SetReadDeadline(began.Add(time.Second))
			b := make([]byte, 512)
			_, err = c.Read(b)
			if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
				mu.Lock()
				now[place]++
				r.Most[place] = max(r.Most[place], now[place])
				mu.Unlock()
				c.SetReadDeadline(began.Add(5 * time.Minute))
				err = nil
				defer func() { mu.Lock(); now[place]--; mu.Unlock() }()
			}
			for err == nil {
				_, err = c.Read(b)
			}
			mu.Lock()
			r.Longest[protocol] = max(r.Longest[protocol], time.Since(began))
			mu.Unlock()
		}
		up.Add(1)
		all.Go(func() {
			var first sync.Once
			for {
				once(func() { first.Do(up.Done) })
				select {
				case <-stop:
					return
				case <-time.After(o.Again):
				}
			}
		})
	}
	up.Wait()
	fmt.Println("up")
	bufio.NewReader(os.Stdin).ReadString('\n')
	close(stop)
	all.Wait()
	json.NewEncoder(os.Stdout).Encode(r)
	return 0
}

// resident is VmRSS of a process in MB; 0 where it is not known.
func resident(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	var kb int
	fmt.Sscan(rest, &kb)
	return kb >> 10
}

const slowLimit = "the good peer within 50 ms at p99 (short form: 5 s), +200 MB at most, all closed at their deadline, caps per address hold"

// A goodPeer calls from an address of its own and is served anew each time.
type goodPeer struct {
	t       *testing.T
	dialer  net.Dialer
	address map[string]string
	n       int
}

func (p *goodPeer) dial(protocol string) net.Conn {
	p.t.Helper()
	c, err := p.dialer.Dial("tcp", p.address[protocol])
	if err != nil {
		p.t.Fatalf("%s: %v", protocol, err)
	}
	c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

// call is one visit by one protocol, from connecting to the answer.
func (p *goodPeer) call(protocol string) time.Duration {
	t := p.t
	t.Helper()
	began := time.Now()
	c := p.dial(protocol)
	defer c.Close()
	switch protocol {
	case "hl7":
		p.n++
		m := fmt.Sprintf("MSH|^~\\&|HIS|BV|NHIP|BV|20260114081500||ADT^A01|G%d|P|2.5.1\rPID|1||1\r", p.n)
		if _, err := c.Write(mllp.AppendFrame(nil, []byte(m))); err != nil {
			t.Fatal(err)
		}
		b, err := bufio.NewReader(c).ReadString(0x1c)
		if err != nil || !strings.Contains(b, "MSA|AA|G") {
			t.Fatalf("hl7: %q %v", b, err)
		}
	case "dicom":
		a, err := association.Establish(t.Context(), c, association.Proposal{Calling: "CT1", Called: "NHIP",
			Contexts: []ul.ProposedContext{{ID: 1, AbstractSyntax: uid.Verification, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}}}})
		if err != nil {
			t.Fatalf("dicom: %v", err)
		}
		took := time.Since(began)
		if err := a.Release(t.Context()); err != nil {
			t.Fatalf("dicom: %v", err)
		}
		return took
	case "console":
		io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		rsp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || rsp.StatusCode != http.StatusOK {
			t.Fatalf("console: %v %v", rsp, err)
		}
	case "mqtt":
		c.Write([]byte("\x10\x1d\x00\x04MQTT\x04\xc2\x00\x3c\x00\x01g\x00\x04ward\x00\x08geheim-1"))
		b := make([]byte, 4)
		if _, err := io.ReadFull(c, b); err != nil || b[0] != 0x20 || b[3] != 0 {
			t.Fatalf("mqtt: %x %v", b, err)
		}
		took := time.Since(began)
		c.Write([]byte{0xe0, 0})
		return took
	}
	return time.Since(began)
}

// TestSlowConnectionsKeepNoPeerOut opens thousands of connections that send one
// byte and then nothing, from an address of the configuration and from a
// stranger's, again and again. A peer from a third address is served as ever.
func TestSlowConnectionsKeepNoPeerOut(t *testing.T) {
	if testing.Short() {
		t.Skip("opens 1,000 connections")
	}
	n, worst, late, calls := 1000, 5*time.Second, 30*time.Second, 60
	if figures.Soak() {
		n, worst, late, calls = 10000, 50*time.Millisecond, 5*time.Second, 300
	}
	const infected, stranger, good = "127.0.0.2", "127.0.0.3", "127.0.0.9"
	for _, a := range []string{infected, stranger, good} {
		l, err := net.Listen("tcp", a+":0")
		if err != nil {
			figures.Skip(t, slowLimit, "no loopback address "+a)
		}
		l.Close()
	}
	h := &hospital{t: t, ports: map[string]string{}}
	dir := t.TempDir()
	h.file, h.data = filepath.Join(dir, "site.toml"), filepath.Join(dir, "data")
	var b strings.Builder
	fmt.Fprintf(&b, "[site]\nid = \"bv-slow\"\nname = \"Bệnh viện\"\ndata = %q\n", h.data)
	protocols := []string{"hl7", "dicom", "console", "mqtt"}
	for i, p := range freePorts(t, 4) {
		h.ports[protocols[i]] = p
		fmt.Fprintf(&b, "[%s]\nlisten = %q\n", protocols[i], p)
	}
	known := fmt.Sprintf("[%q, %q]", infected, good)
	fmt.Fprintf(&b, "[[modality]]\nname = \"ct-1\"\nae_title = \"CT1\"\naddress = %s\nto = []\n", known)
	fmt.Fprintf(&b, "[[hl7_peer]]\nname = \"his\"\naddress = %s\napplication = \"HIS\"\nto = []\n", known)
	b.WriteString("[[mqtt_user]]\nname = \"ward\"\npassword_file = \"ward.pw\"\nsubscribe = [\"v1/#\"]\npublish = []\nclass = \"live\"\n")
	for name, text := range map[string]string{"site.toml": b.String(), "ward.pw": "geheim-1"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if h.log, err = os.Create(filepath.Join(dir, "gateway.log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			b, _ := os.ReadFile(h.log.Name())
			t.Logf("the end of the gateway's log:\n%s", b[max(0, len(b)-4000):])
		}
		h.log.Close()
	})
	const frame = 6 * time.Second
	gateway := h.gateway(childFrame + "=" + frame.String())
	defer func() { gateway.Process.Kill(); gateway.Wait() }()
	eventually(t, "the gateway answers", func() bool { _, err := h.counts(); return err == nil })

	peer := &goodPeer{t: t, dialer: net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(good), 0))}, address: h.ports}
	measure := func() map[string]time.Duration {
		p99 := map[string]time.Duration{}
		for _, protocol := range protocols {
			var took []time.Duration
			for range calls {
				took = append(took, peer.call(protocol))
			}
			slices.Sort(took)
			p99[protocol] = took[len(took)*99/100]
		}
		return p99
	}
	before, quiet := measure(), resident(gateway.Process.Pid)
	if quiet == 0 {
		figures.Skip(t, slowLimit, "no /proc: memory cannot be measured")
	}

	orders, err := json.Marshal(slowOrders{Connections: n, Targets: h.ports, From: []string{infected, stranger}, Again: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	clients := exec.Command(os.Args[0])
	clients.Env = append(os.Environ(), childSlow+"="+string(orders))
	clients.Stderr = h.log
	in, err := clients.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := clients.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := clients.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { clients.Process.Kill(); clients.Wait() }()
	said := bufio.NewReader(out)
	if line, err := said.ReadString('\n'); err != nil || line != "up\n" {
		t.Fatalf("the clients said %q, %v", line, err)
	}
	most := 0
	ctx, stop := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() {
		for ctx.Err() == nil {
			most = max(most, resident(gateway.Process.Pid))
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	after := measure()
	io.WriteString(in, "stop\n")
	var r slowReport
	if err := json.NewDecoder(said).Decode(&r); err != nil {
		t.Fatal(err)
	}
	stop()
	watching.Wait()

	if r.Failed != "" || r.Dialled < n {
		t.Errorf("%d of %d connections were made: %s", r.Dialled, n, r.Failed)
	}
	for _, p := range protocols {
		if after[p] > worst {
			t.Errorf("%s: the good peer waited %v at p99 (%v without the slow ones)", p, after[p], before[p])
		}
	}
	if most > quiet+200 {
		t.Errorf("%d MB resident, %d before", most, quiet)
	}
	for p, limit := range map[string]time.Duration{"hl7": frame, "dicom": 10 * time.Second, "console": 5 * time.Second, "mqtt": 5 * time.Second} {
		if got := r.Longest[p]; got < time.Second || got > limit+late {
			t.Errorf("%s: a slow connection was closed after %v; its deadline is %v", p, got, limit)
		}
	}
	for place, limit := range map[string]int{
		"hl7 " + infected: 200, "hl7 " + stranger: 0, "dicom " + infected: 32, "dicom " + stranger: 32,
		"console " + infected: 64, "console " + stranger: 64, "mqtt " + infected: 32, "mqtt " + stranger: 32,
	} {
		if got := r.Most[place]; got > limit || limit > 0 && got < limit/2 {
			t.Errorf("%s: %d connections were open at once; the limit is %d", place, got, limit)
		}
	}
	f := fmt.Sprintf("%d slow connections (%d with those that came again); p99 of the good peer", n, r.Dialled)
	for _, p := range protocols {
		f += fmt.Sprintf(" %s %.1f ms (%.1f before)", p, ms(after[p]), ms(before[p]))
	}
	figures.Report(t, fmt.Sprintf("%s; resident %d MB, %d before; the longest was closed after %v", f, most, quiet, slices.MaxFunc(
		[]time.Duration{r.Longest["hl7"], r.Longest["dicom"], r.Longest["console"], r.Longest["mqtt"]}, func(a, b time.Duration) int { return int(a - b) }).Round(100*time.Millisecond)), slowLimit)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
