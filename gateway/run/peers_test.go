package run

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nhip/drivers/session"
	"nhip/gateway/config"
	"nhip/storage/diskguard"
)

// need skips where a program or a folder is absent; on CI it has to be there.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		_, err := exec.LookPath(p)
		if strings.HasPrefix(p, "/") {
			_, err = os.Stat(p)
		}
		switch {
		case err == nil:
		case os.Getenv("CI") == "true":
			t.Fatalf("%s is not installed", p)
		default:
			t.Skipf("%s is not installed", p)
		}
	}
}

// patient is what stands for patient data in the messages of these tests: none
// of it may be in a line of the log.
var patient = []string{"BIMAT", "PT-770077", "19770707", "DIACHI"}

// eventually polls until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	within(t, 90*time.Second, what, ok)
}

func within(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A capture keeps what is logged.
type capture struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.Write(p)
}

func (c *capture) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.String()
}

func (c *capture) since(mark int) string { return c.String()[mark:] }

// A site is a gateway in this process, over loopback sockets.
type site struct {
	t       *testing.T
	dir     string
	data    string
	file    string
	g       *Gateway
	log     *capture
	console string
	stopped bool
	disk    diskguard.Probe                      // nil: the disk as it is
	quiet   time.Duration                        // of a study before its notice, from the next start on; 0: a minute
	work    func(config.Analyser) session.Orders // from the next start on
}

// newSite starts a gateway of the blocks. Tables that they do not have listen on
// a free port of loopback.
func newSite(t *testing.T, blocks string) *site {
	t.Helper()
	dir := t.TempDir()
	s := &site{t: t, dir: dir, data: filepath.Join(dir, "data"), file: filepath.Join(dir, "site.toml"), log: &capture{}}
	var b strings.Builder
	fmt.Fprintf(&b, "[site]\nid = \"bv-test\"\nname = \"Bệnh viện\"\ndata = %q\n", s.data)
	for _, n := range []string{"console", "dicom", "hl7", "mqtt"} {
		if !strings.Contains(blocks, "["+n+"]\n") {
			fmt.Fprintf(&b, "[%s]\nlisten = \"127.0.0.1:0\"\n", n)
		}
	}
	b.WriteString(blocks)
	for name, text := range map[string]string{s.file: b.String(), filepath.Join(dir, "pw"): "mat-khau\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.start()
	t.Cleanup(func() {
		s.stop()
		for _, p := range patient {
			if i := strings.Index(s.log.String(), p); i >= 0 {
				t.Errorf("patient data (%s) in the log: …%s…", p, s.log.String()[max(0, i-200):min(len(s.log.String()), i+50)])
			}
		}
		if t.Failed() {
			text := s.log.String()
			t.Logf("the end of the gateway's log:\n%s", text[max(0, len(text)-6000):])
		}
	})
	return s
}

func (s *site) start() {
	s.t.Helper()
	cfg, problems := config.Load(s.file, config.Env{})
	if !config.Good(problems) {
		s.t.Fatal(problems)
	}
	log := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if s.g, err = Start(context.Background(), cfg, Options{Version: "test", Log: log, Disk: s.disk, Quiet: s.quiet, Work: s.work}); err != nil {
		s.t.Fatal(err)
	}
	s.stopped = false
	if a := s.g.states.addresses("console"); len(a) > 0 {
		s.console = a[0]
	}
}

func (s *site) stop() {
	if s.stopped {
		return
	}
	s.stopped = true
	if err := s.g.Close(); err != nil {
		s.t.Errorf("close: %v", err)
	}
}

// A status is what GET /api/v1/status answers, as far as the tests read it.
type status struct {
	Listen struct {
		Console, DICOM, HL7, MQTT string
		Analyser, Monitor         map[string]string
	}
	Connections []struct{ Name, Kind, State, Words string }
	Queues      []struct {
		Destination              string
		Depth, Held, Uncommitted int
		Behind                   int `json:"waiting_behind"`
	}
	Held   []heldItem
	Counts struct {
		Accepted, Delivered, Queued, Held, Discarded, Expired, Consumed, Refused int64

		Kinds map[string]int64 `json:"consumed_kinds"`
	}
	Strangers []stranger
}

type heldItem struct{ ID, Reason, Connection, Subject, Destination, Since string }

type stranger struct {
	Kind, Address, Wanted, Configuration, User, Application string
	Calling                                                 string `json:"calling_ae_title"`
	Count                                                   int64
}

func (s *site) get(path string, into any) {
	s.t.Helper()
	rsp, err := http.Get("http://" + s.console + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer rsp.Body.Close()
	b, err := io.ReadAll(rsp.Body)
	if err != nil || rsp.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %s %v", path, rsp.Status, err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		s.t.Fatalf("%s: %v in %s", path, err, b)
	}
}

// status reads the status, whose sum has to be right whenever it is read.
func (s *site) status() status {
	s.t.Helper()
	var st status
	s.get("/api/v1/status?lang=en", &st)
	if c := st.Counts; c.Accepted != c.Delivered+c.Queued+c.Held+c.Discarded+c.Expired+c.Consumed {
		s.t.Errorf("conservation: %+v", c)
	}
	return st
}

func (s *site) heldBy(connection string) (all []heldItem) {
	s.t.Helper()
	for _, h := range s.status().Held {
		if h.Connection == connection {
			all = append(all, h)
		}
	}
	return all
}

// logged waits for a line of the log after mark that has all the parts.
func (s *site) logged(mark int, parts ...string) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("a line of the log with %q", parts), func() bool {
		for line := range strings.Lines(s.log.since(mark)) {
			if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(line, p) }) {
				return true
			}
		}
		return false
	})
}

// listed waits for a stranger with the lines that would admit it.
func (s *site) listed(kind, address string, lines ...string) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("a stranger %s %s with %q", kind, address, lines), func() bool {
		return slices.ContainsFunc(s.status().Strangers, func(x stranger) bool {
			return x.Kind == kind && x.Address == address && x.Count > 0 &&
				!slices.ContainsFunc(lines, func(l string) bool { return !strings.Contains(x.Configuration, l) })
		})
	})
}

// results are what the console finds of a specimen.
func (s *site) results(specimen string) (all []map[string]any) {
	s.t.Helper()
	var v any
	s.get("/api/v1/results?lang=en&specimen="+url.QueryEscape(specimen), &v)
	list, ok := v.([]any)
	if m, isMap := v.(map[string]any); isMap {
		list, ok = m["results"].([]any)
	}
	if !ok {
		s.t.Fatalf("results: %v", v)
	}
	for _, x := range list {
		all = append(all, x.(map[string]any))
	}
	return all
}

// dialFrom connects from an address of loopback.
func dialFrom(t *testing.T, local, address string) net.Conn {
	t.Helper()
	d := net.Dialer{Timeout: 60 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(local)}}
	c, err := d.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(3 * time.Minute))
	return c
}

// closedByPeer reads until the peer closes and says what came before.
func closedByPeer(t *testing.T, c net.Conn) []byte {
	t.Helper()
	b, err := io.ReadAll(c)
	if os.IsTimeout(err) {
		t.Fatalf("not closed; %q came", b)
	}
	return b
}

// A systemLIS is a system that takes HL7, written by hand: it answers AA. A
// message comes at least once: the same bytes again are the same message.
type systemLIS struct {
	address string
	mu      sync.Mutex
	seen    map[string]bool
	got     []string
}

func newLIS(t *testing.T) *systemLIS {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &systemLIS{address: listener.Addr().String()}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer context.AfterFunc(ctx, func() { c.Close() })()
				defer c.Close()
				l.serve(c)
			})
		}
	})
	t.Cleanup(func() { cancel(); listener.Close(); wg.Wait() })
	return l
}

func (l *systemLIS) serve(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		m, err := readBlock(r)
		if err != nil {
			return
		}
		l.mu.Lock()
		if !l.seen[m] {
			l.got = append(l.got, m)
		}
		if l.seen == nil {
			l.seen = map[string]bool{}
		}
		l.seen[m] = true
		l.mu.Unlock()
		header := strings.TrimPrefix(m, "\ufeff")
		f := strings.Split(header[:strings.IndexAny(header, "\r\n")], header[3:4])
		if _, err := c.Write([]byte("\x0b" + ackFor(f[9]) + "\x1c\r")); err != nil {
			return
		}
	}
}

// ackFor is what the systemLIS answers.
func ackFor(id string) string {
	return "MSH|^~\\&|LIS||NHIP||20260114081500||ACK^R01^ACK|A1|P|2.5.1\rMSA|AA|" + id + "\r"
}

func readBlock(r *bufio.Reader) (string, error) {
	if b, err := r.ReadByte(); err != nil || b != 0x0b {
		return "", errors.Join(err, fmt.Errorf("%#x instead of VT", b))
	}
	b, err := r.ReadString(0x1c)
	if err != nil {
		return "", err
	}
	if cr, err := r.ReadByte(); err != nil || cr != '\r' {
		return "", errors.Join(err, fmt.Errorf("%#x instead of CR", cr))
	}
	return strings.TrimSuffix(b, "\x1c"), nil
}

func (l *systemLIS) messages() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.got)
}

// of are the messages that hold a text.
func (l *systemLIS) of(text string) (all []string) {
	for _, m := range l.messages() {
		if strings.Contains(m, text) {
			all = append(all, m)
		}
	}
	return all
}

// block is the configuration of the system as destination "lis".
func (l *systemLIS) block() string {
	return fmt.Sprintf("[[destination]]\nname = \"lis\"\nkind = \"hl7\"\naddress = %q\n", l.address)
}

// An mllpPeer sends HL7 by hand.
type mllpPeer struct {
	net.Conn
	r *bufio.Reader
}

func newPeer(t *testing.T, local, address string) *mllpPeer {
	t.Helper()
	c := dialFrom(t, local, address)
	return &mllpPeer{c, bufio.NewReader(c)}
}

// send sends one frame and returns the answer.
func (p *mllpPeer) send(t *testing.T, message string) string {
	t.Helper()
	if _, err := p.Write([]byte("\x0b" + message + "\x1c\r")); err != nil {
		t.Fatal(err)
	}
	return p.answer(t)
}

func (p *mllpPeer) answer(t *testing.T) string {
	t.Helper()
	a, err := readBlock(p.r)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	return a
}

// field is a field of the first segment of a name, by splitting: "MSA-2".
func field(message, path string) string {
	var name string
	var n int
	fmt.Sscanf(strings.Replace(path, "-", " ", 1), "%s %d", &name, &n)
	for _, s := range strings.Split(message, "\r") {
		f := strings.Split(s, "|")
		if f[0] != name {
			continue
		}
		if name == "MSH" {
			n--
		}
		if n < len(f) {
			return f[n]
		}
		return ""
	}
	return ""
}

// oru is a message of a system.
func oru(id string) string {
	return "MSH|^~\\&|HIS|BV|NHIP||20260114081500+0700||ORU^R01^ORU_R01|" + id + "|P|2.5.1\r" +
		"PID|1||PT-770077||TRAN^BIMAT||19770707|F|||DIACHI\rOBR|1||S" + id + "|GLU\rOBX|1|NM|GLU||5.1|mmol/L|||||F\r"
}

// An analyserLine is an analyser on its line, by hand: LIS01 and LIS02.
type analyserLine struct{ io.ReadWriteCloser }

const (
	enq, ackByte, nak, eot = "\x05", "\x06", "\x15", "\x04"
)

// ask writes and reads the one byte of the reply.
func (l analyserLine) ask(t *testing.T, b string) string {
	t.Helper()
	if _, err := l.Write([]byte(b)); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, 1)
	if _, err := io.ReadFull(l, reply); err != nil {
		t.Fatalf("no reply: %v", err)
	}
	return string(reply)
}

func (l analyserLine) want(t *testing.T, b, reply string) {
	t.Helper()
	if got := l.ask(t, b); got != reply {
		t.Fatalf("%q is answered %q, want %q", b, got, reply)
	}
}

// session sends one message in one frame.
func (l analyserLine) session(t *testing.T, records string) {
	t.Helper()
	l.want(t, enq, ackByte)
	l.rest(t, records)
}

// rest is a session after its ENQ.
func (l analyserLine) rest(t *testing.T, records string) {
	t.Helper()
	l.want(t, astmFrame(1, records), ackByte)
	l.Write([]byte(eot))
}

// astmFrame is an end frame, E1381 section 6.3.
func astmFrame(number int, text string) string {
	body := fmt.Sprintf("%d%s\x03", number, text)
	var sum byte
	for i := range len(body) {
		sum += body[i]
	}
	return fmt.Sprintf("\x02%s%02X\r\n", body, sum)
}

// records is a message of an analyser.
func records(specimen string) string {
	return "H|\\^&|||ANALYSER-9^1.02^SN77|||||||P|LIS2-A2|20260114081500\r" +
		"P|1||PT-770077||BIMAT^TRAN||19770707|F||DIACHI\r" +
		"O|1|" + specimen + "||^^^GLU|||||||N||||||||||||||F\r" +
		"R|1|^^^GLU^Glucose|5.1|mmol/L||N||F||||20260114081200\rL|1|N\r"
}
