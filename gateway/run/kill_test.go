package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nhip/gateway/config"
	"nhip/hardware-sim/analyser"
	"nhip/hardware-sim/lis"
	"nhip/hardware-sim/modality"
	"nhip/hardware-sim/pacs"
	"nhip/hardware-sim/truth"
	"nhip/hardware-sim/wire"
	"nhip/storage"
	"nhip/storage/storagetest/figures"
)

// childConfig names the configuration that this test program runs as a gateway,
// when it is started as the child of a test.
const childConfig = "NHIP_TEST_CHILD"

func TestMain(m *testing.M) {
	if file := os.Getenv(childConfig); file != "" {
		os.Exit(child(file))
	}
	if address := os.Getenv(childLIS); address != "" {
		os.Exit(lisChild(address))
	}
	if orders := os.Getenv(childSlow); orders != "" {
		os.Exit(slowChild(orders))
	}
	os.Exit(m.Run())
}

// child is the gateway that is killed.
func child(file string) int {
	cfg, problems := config.Load(file, config.Env{})
	if !config.Good(problems) {
		fmt.Fprintln(os.Stderr, problems)
		return 1
	}
	o := Options{Version: "test", Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	point, err := failpointOfChild()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if text := os.Getenv(childFrame); text != "" {
		if o.FrameTimeout, err = time.ParseDuration(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if point != nil {
		o.Watch, o.Fault = point.watch, point.fault
	}
	g, err := Start(context.Background(), cfg, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		if errors.Is(err, storage.ErrDiskFull) {
			return 4
		}
		return 1
	}
	fmt.Fprintln(os.Stderr, g.Wait())
	return 3
}

// freePorts gives loopback ports that nobody has now. They are below those that
// outgoing connections are given (32768 and up, Linux): one that is given up for a
// while, because its process was killed, stays free.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var all []string
	var open []net.Listener
	for tries := 0; len(all) < n; tries++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(22000)))
		if err != nil {
			if tries > 1000 {
				t.Fatal(err)
			}
			continue
		}
		open = append(open, l)
		all = append(all, l.Addr().String())
	}
	closeAll(open)
	return all
}

// A hospital is a set of simulated peers around one gateway process.
type hospital struct {
	t     *testing.T
	file  string
	env   []string // more of the gateway's environment
	data  string
	ports map[string]string
	truth *truth.Log
	ctx   context.Context
	wg    sync.WaitGroup
	stops []func()
	log   *os.File
}

func (h *hospital) goRun(f func(context.Context)) {
	h.wg.Add(1)
	go func() { defer h.wg.Done(); f(h.ctx) }()
}

func newHospital(t *testing.T) *hospital {
	t.Helper()
	dir := t.TempDir()
	names := []string{"console", "dicom", "hl7", "mqtt", "xn-1", "e411-1", "erba-1", "bc-1", "lis", "pacs"}
	h := &hospital{t: t, file: filepath.Join(dir, "site.toml"), data: filepath.Join(dir, "data"), ports: map[string]string{}}
	for i, p := range freePorts(t, len(names)) {
		h.ports[names[i]] = p
	}
	var b strings.Builder
	fmt.Fprintf(&b, "[site]\nid = \"bv-kill\"\nname = \"Bệnh viện\"\ndata = %q\n", h.data)
	for _, n := range []string{"console", "dicom", "hl7", "mqtt"} {
		fmt.Fprintf(&b, "[%s]\nlisten = %q\n", n, h.ports[n])
	}
	for name, a := range map[string][2]string{
		"xn-1": {"sysmex-xn-l", "tcp-listen"}, "e411-1": {"roche-cobas-e411", "tcp-listen"},
		"erba-1": {"erba-xl", "tcp-listen"}, "bc-1": {"mindray-bc-5380", "mllp-listen"},
	} {
		fmt.Fprintf(&b, "[[analyser]]\nname = %q\nprofile = %q\nport = \"%s://%s\"\nto = [\"lis\"]\n", name, a[0], a[1], h.ports[name])
	}
	b.WriteString("[[modality]]\nname = \"ct-1\"\nae_title = \"CT1\"\naddress = \"127.0.0.1\"\nto = [\"pacs\"]\n")
	b.WriteString("[[modality]]\nname = \"mr-1\"\nae_title = \"MR1\"\naddress = \"127.0.0.1\"\nto = [\"pacs\"]\n")
	fmt.Fprintf(&b, "[[destination]]\nname = \"lis\"\nkind = \"hl7\"\naddress = %q\nanswer_timeout = \"10s\"\n", h.ports["lis"])
	fmt.Fprintf(&b, "[[destination]]\nname = \"pacs\"\nkind = \"dicom\"\naddress = %q\ncalled_ae_title = \"PACS\"\nanswer_timeout = \"10s\"\n", h.ports["pacs"])
	if err := os.WriteFile(h.file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if h.log, err = os.Create(filepath.Join(dir, "gateway.log")); err != nil {
		t.Fatal(err)
	}
	h.truth = truth.New(nil, time.Now)
	ctx, cancel := context.WithCancel(context.Background())
	h.ctx = ctx
	t.Cleanup(func() {
		cancel()
		h.wg.Wait()
		if t.Failed() {
			h.log.Seek(0, io.SeekStart)
			b, _ := io.ReadAll(h.log)
			t.Logf("the end of the gateway's log:\n%s", b[max(0, len(b)-8000):])
		}
		h.log.Close()
	})
	return h
}

// start starts the peers.
func (h *hospital) start(seed uint64) (*lis.LIS, *pacs.PACS) {
	quiet := slog.New(slog.DiscardHandler)
	l := lis.New(lis.Options{Name: "lis", Received: h.truth.Arrive, Log: quiet, Now: time.Now, Zone: time.UTC})
	h.goRun(func(ctx context.Context) { l.Run(ctx, h.ports["lis"], nil) })
	return l, h.startOthers(seed)
}

// startOthers starts the peers without the LIS.
func (h *hospital) startOthers(seed uint64) *pacs.PACS {
	quiet := slog.New(slog.DiscardHandler)
	p := pacs.New(pacs.Options{Name: "pacs", AETitle: "PACS", Received: h.truth.Arrive, Log: quiet})
	h.goRun(func(ctx context.Context) { p.Run(ctx, h.ports["pacs"], nil) })
	start := time.Now().In(time.FixedZone("", 7*3600))
	// An analyser that waits for less than a busy machine needs takes a late ACK for
	// the next one: it has no number.
	timing := analyser.Timing{Reply: 30 * time.Second, Busy: 300 * time.Millisecond, Contention: 50 * time.Millisecond, Redial: 30 * time.Millisecond}
	for i, name := range []string{"xn-1", "e411-1", "erba-1", "bc-1"} {
		model := []string{"sysmex-xn-l", "roche-cobas-e411", "erba-xl", "mindray-bc-5380"}[i]
		a := analyser.New(analyser.Options{
			Name: name, Model: analyser.Models[model], Seed: seed, Start: start, Number: i + 1, To: []string{"lis"},
			Every: 25 * time.Millisecond, Timing: timing, Truth: h.truth, Log: quiet,
		})
		h.stops = append(h.stops, a.Stop)
		h.goRun(func(ctx context.Context) {
			a.Run(ctx, func(ctx context.Context) (wire.Line, error) {
				var d net.Dialer
				return d.DialContext(ctx, "tcp", h.ports[name])
			})
		})
	}
	for _, m := range []string{"ct-1", "mr-1"} {
		x := modality.New(modality.Options{
			Name: m, AETitle: strings.ToUpper(strings.ReplaceAll(m, "-", "")), Called: "NHIP",
			Address: func() (string, error) { return h.ports["dicom"], nil },
			Seed:    seed, Start: start, To: []string{"pacs"}, Every: 40 * time.Millisecond, Size: 128, Truth: h.truth, Log: quiet,
		})
		h.stops = append(h.stops, x.Stop)
		h.goRun(x.Run)
	}
	return p
}

// gateway starts the process.
func (h *hospital) gateway(env ...string) *exec.Cmd {
	h.t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = slices.Concat(os.Environ(), []string{childConfig + "=" + h.file}, h.env, env)
	c.Stdout, c.Stderr = h.log, h.log
	if err := c.Start(); err != nil {
		h.t.Fatal(err)
	}
	return c
}

// counts reads the conservation sum of the running gateway.
func (h *hospital) counts() (map[string]int64, error) {
	rsp, err := http.Get("http://" + h.ports["console"] + "/api/v1/status")
	if err != nil {
		return nil, err
	}
	defer rsp.Body.Close()
	var st struct {
		Counts map[string]json.RawMessage `json:"counts"`
	}
	if err := json.NewDecoder(rsp.Body).Decode(&st); err != nil {
		return nil, err
	}
	c := map[string]int64{}
	for k, v := range st.Counts {
		var n int64
		if json.Unmarshal(v, &n) == nil {
			c[k] = n
		}
	}
	return c, nil
}

func unbalanced(c map[string]int64) bool {
	return c["accepted"] != c["delivered"]+c["queued"]+c["held"]+c["discarded"]+c["expired"]+c["consumed"]
}

// TestNothingAcknowledgedIsLostByKill9 kills the gateway and the LIS at random
// moments under load: every acknowledged result and image reaches its destination, none is
// changed, repeats come only under the same MSH-10 or SOP Instance UID.
func TestNothingAcknowledgedIsLostByKill9(t *testing.T) {
	kills := 20
	if figures.Soak() {
		kills = 100
	}
	if testing.Short() {
		t.Skip("kills a process 20 times")
	}
	h := newHospital(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	p := h.startOthers(seed)
	l := h.lis()
	for i := range kills {
		c := h.gateway()
		h.traffic(10*(i+1), i+1)
		time.Sleep(time.Duration(r.IntN(1300)) * time.Millisecond)
		if i%4 == 3 {
			p.Down(700 * time.Millisecond)
		}
		both := r.IntN(2) == 0 // at once, or the LIS while the gateway goes on
		if !both {
			l.kill(t)
			time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond)
		}
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if both {
			l.kill(t)
		}
		var exit *exec.ExitError
		if err := c.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
			t.Fatalf("the gateway ended by itself: %v", err)
		}
		l = h.lis()
	}
	defer func() { l.kill(t) }()
	report := h.finish()
	if n := report.Kinds[truth.ORU].Received; n < 10*kills {
		t.Errorf("only %d messages were acknowledged: the test shows little", n)
	}
	if n := report.Kinds[truth.Instance].Received; n < kills {
		t.Errorf("only %d objects were acknowledged: the test shows little", n)
	}
	figures.Report(t, fmt.Sprintf("gateway and LIS killed %d times, %d results and %d images acknowledged; %d lost, %d doubled, %d changed, %d out of order; %d repeats under the same name",
		kills, report.Kinds[truth.ORU].Received, report.Kinds[truth.Instance].Received,
		report.Lost, report.Doubled, report.Changed, report.OutOfOrder, report.Repeats), "0 lost, 0 doubled after control ID, 0 changed, 0 out of order")
}

// traffic waits until so many results and images were acknowledged since the start:
// on a busy machine a gateway may not come to it in a second.
func (h *hospital) traffic(results, images int) {
	h.t.Helper()
	within(h.t, 3*time.Minute, fmt.Sprintf("%d results and %d images are acknowledged", results, images), func() bool {
		k := h.truth.Report().Kinds
		return k[truth.ORU].Received >= results && k[truth.Instance].Received >= images
	})
}

// finish lets the devices end, drains the gateway and holds what arrived against
// what was acknowledged.
func (h *hospital) finish() truth.Report {
	h.t.Helper()
	c := h.gateway()
	defer func() { c.Process.Kill(); c.Wait() }()
	for _, stop := range h.stops {
		stop()
	}
	h.drain()
	if counts, err := h.counts(); err != nil || unbalanced(counts) {
		h.t.Errorf("conservation: %v %v", counts, err)
	}
	report := h.truth.Report()
	var text bytes.Buffer
	report.WriteText(&text)
	h.t.Logf("%s", &text)
	if !report.Good() || report.Held > 0 {
		h.t.Error("something acknowledged was lost, doubled, changed or brought out of order")
	}
	return report
}

// drain waits until everything acknowledged has arrived, and the gateway's
// queues are empty.
func (h *hospital) drain() {
	deadline := time.Now().Add(4 * time.Minute)
	for time.Now().Before(deadline) {
		c, err := h.counts()
		if err == nil && h.truth.Outstanding() == 0 && c["queued"] == 0 {
			time.Sleep(300 * time.Millisecond) // what devices still get acknowledged
			if h.truth.Outstanding() == 0 {
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	h.t.Errorf("not drained: missing %v", h.truth.Missing(10))
}
