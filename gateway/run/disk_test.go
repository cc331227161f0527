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
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nhip/hardware-sim/analyser"
	"nhip/hardware-sim/lis"
	"nhip/hardware-sim/modality"
	"nhip/hardware-sim/pacs"
	"nhip/hardware-sim/truth"
	"nhip/hardware-sim/wire"
	"nhip/storage/storagetest/figures"
)

const (
	mebi = 1 << 20
	gibi = 1 << 30
)

// A fullDisk is a disk of 100 GiB whose free space the test says.
type fullDisk struct{ free atomic.Uint64 }

func (d *fullDisk) probe(string) (free, total uint64, err error) {
	return d.free.Load(), 100 * gibi, nil
}

// diskState is what the status says of the disk, and /healthz.
func (s *site) diskState() (state string, health int) {
	s.t.Helper()
	var st struct{ Disk struct{ State string } }
	s.get("/api/v1/status", &st)
	rsp, err := http.Get("http://" + s.console + "/healthz")
	if err != nil {
		s.t.Fatal(err)
	}
	rsp.Body.Close()
	return st.Disk.State, rsp.StatusCode
}

// storeStatus sends one object and gives the status and the comment of the answer.
func storeStatus(t *testing.T, c net.Conn, instance string) (code uint16, comment string) {
	t.Helper()
	c.Write(pdv(3, storeRQ(instance)))
	c.Write(pdv(2, image(instance, 1000)))
	_, body := readPDU(t, c)
	for b := body[6:]; len(b) >= 8; {
		n := int(b[4]) | int(b[5])<<8
		value := b[8 : 8+n]
		switch {
		case b[0] == 0 && b[1] == 0 && b[2] == 0 && b[3] == 9: // (0000,0900)
			code = uint16(value[0]) | uint16(value[1])<<8
		case b[0] == 0 && b[1] == 0 && b[2] == 2 && b[3] == 9: // (0000,0902)
			comment = strings.TrimSpace(string(value))
		}
		b = b[8+n:]
	}
	return code, comment
}

func TestADiskThatIsTooFullRefusesImagesAndThenResults(t *testing.T) {
	t.Parallel()
	l := newLIS(t)
	s := wholeSite(t, l, "")
	s.stop()
	d := new(fullDisk)
	d.free.Store(50 * gibi)
	s.disk = d.probe
	s.start()
	st := s.status()
	ct := associated(t, "127.0.0.1", st.Listen.DICOM, "CT1")
	if code, comment := storeStatus(t, ct, "1.2.3.1"); code != 0 {
		t.Fatalf("with room: %04X %s", code, comment)
	}
	becomes := func(want string, health int) {
		t.Helper()
		eventually(t, "the disk's state is "+want, func() bool {
			state, code := s.diskState()
			return state == want && code == health
		})
	}

	d.free.Store(3 * gibi)
	becomes("no images", 200)
	files := s.spooled()
	if code, comment := storeStatus(t, ct, "1.2.3.2"); code != 0xA700 || !strings.Contains(comment, "too full") {
		t.Errorf("image: %04X %q", code, comment)
	}
	if s.spooled() != files {
		t.Error("the refused object is in the spool")
	}
	s.good(t, l, "NOIMAGES") // and C-ECHO

	d.free.Store(1 * gibi)
	becomes("no intake", 503)
	accepted := s.status().Counts.Accepted
	a := newPeer(t, "127.0.0.1", st.Listen.HL7).send(t, oru("FULL-1"))
	if field(a, "MSA-1") != "AR" || field(a, "MSA-2") != "FULL-1" || !strings.HasPrefix(field(a, "ERR-3"), "207") || !strings.Contains(a, "disk of the gateway is too full") {
		t.Errorf("HL7: %q", a)
	}
	line := begin(t, st.Listen.Analyser["astm-1"])
	line.want(t, astmFrame(1, records("FULL-2")), nak)
	five := mqttConnect(t, st.Listen.MQTT, 5, "pump", "mat-khau")
	connack(t, five)
	five.Write(publish(5, "wards/icu/pump", "7"))
	if kind, body := packet(t, five); kind != 0x40 || len(body) < 3 || body[2] != 0x97 {
		t.Errorf("MQTT 5: %#x %x", kind, body)
	}
	four := mqttConnect(t, st.Listen.MQTT, 4, "pump", "mat-khau")
	connack(t, four)
	four.Write(publish(4, "wards/icu/pump", "7"))
	closedByPeer(t, four)
	if n := s.status().Counts.Accepted; n != accepted {
		t.Errorf("%d accepted on a full disk", n-accepted)
	}

	d.free.Store(2*gibi + 500*mebi)
	if state, code := s.diskState(); state != "no intake" || code != 503 {
		t.Errorf("a little more room: %s %d", state, code)
	}
	d.free.Store(10 * gibi)
	becomes("open", 200)
	line.want(t, astmFrame(1, records("FULL-2")), ackByte)
	if code, comment := storeStatus(t, ct, "1.2.3.2"); code != 0 {
		t.Errorf("with room again: %04X %s", code, comment)
	}
}

// TestSmallDiskWithThePACSDown fills a disk of 160 MB while the PACS is down.
func TestSmallDiskWithThePACSDown(t *testing.T) {
	const limit = "more than 100 accepted, refused before full, results still taken, alive, 0 lost"
	if testing.Short() {
		t.Skip("fills a disk")
	}
	h := newHospital(t)
	mount := smallDisk(t, h.data, limit)
	gateway := h.gateway()
	t.Cleanup(func() { gateway.Process.Kill(); gateway.Wait() })

	quiet := slog.New(slog.DiscardHandler)
	seed := rand.Uint64()
	start := time.Now().In(time.FixedZone("", 7*3600))
	l := lis.New(lis.Options{Name: "lis", Received: h.truth.Arrive, Log: quiet, Now: time.Now, Zone: time.UTC})
	h.goRun(func(ctx context.Context) { l.Run(ctx, h.ports["lis"], nil) })
	xn := analyser.New(analyser.Options{
		Name: "xn-1", Model: analyser.Models["sysmex-xn-l"], Seed: seed, Start: start, Number: 1, To: []string{"lis"}, Every: 40 * time.Millisecond,
		Timing: analyser.Timing{Reply: 30 * time.Second, Busy: 300 * time.Millisecond, Contention: 50 * time.Millisecond, Redial: 30 * time.Millisecond}, Truth: h.truth, Log: quiet,
	})
	h.goRun(func(ctx context.Context) {
		xn.Run(ctx, func(ctx context.Context) (wire.Line, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", h.ports["xn-1"])
		})
	})
	ct := modality.New(modality.Options{
		Name: "ct-1", AETitle: "CT1", Called: "NHIP", Address: func() (string, error) { return h.ports["dicom"], nil },
		Seed: seed, Start: start, To: []string{"pacs"}, Every: 20 * time.Millisecond, Size: 512, Truth: h.truth, Log: quiet,
	})
	h.goRun(ct.Run)

	h.untilDisk("no images", 3*time.Minute)
	results := h.truth.Report().Kinds[truth.ORU].Received
	accepted := ct.Sent()
	if accepted+results <= 100 { // how many of which depends on who is quicker
		t.Errorf("only %d objects and %d results were accepted", accepted, results)
	}
	within(t, 90*time.Second, "results are still taken while images are refused", func() bool {
		return h.truth.Report().Kinds[truth.ORU].Received >= results+20
	})
	free := h.untilDisk("no images", 30*time.Second)

	// Somebody else fills the disk to the last byte, faster than the guard looks:
	// nothing is taken any more, and the process lives.
	died := make(chan struct{})
	go func() { gateway.Wait(); close(died) }()
	filler := filepath.Join(h.data, "filler")
	fill(t, filler)
	within(t, 90*time.Second, "the guard says that nothing can be written", func() bool {
		select {
		case <-died:
			t.Fatal("the process died of the full disk")
		default:
		}
		state, _, _ := h.disk()
		return state == "no writing"
	})

	// A crash now, and a start on the full disk: it refuses in words.
	gateway.Process.Kill()
	<-died
	fill(t, filler+"2")
	full := h.gateway()
	var exit *exec.ExitError
	if err := full.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 4 {
		t.Errorf("a start on a full disk ended with %v, want exit status 4", err)
	}

	// Space is back, and the PACS too.
	for _, f := range []string{filler, filler + "2"} {
		if err := os.Remove(f); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if err := mount("remount,size=800m"); err != nil {
		t.Fatal(err)
	}
	gateway = h.gateway()
	p := pacs.New(pacs.Options{Name: "pacs", AETitle: "PACS", Received: h.truth.Arrive, Log: quiet})
	h.goRun(func(ctx context.Context) { p.Run(ctx, h.ports["pacs"], nil) })
	h.untilDisk("open", 90*time.Second)
	xn.Stop()
	ct.Stop()
	h.drain()
	report := h.truth.Report()
	var text bytes.Buffer
	report.WriteText(&text)
	t.Logf("%s", &text)
	if !report.Good() {
		t.Error("something acknowledged was lost, doubled or changed")
	}
	figures.Report(t, fmt.Sprintf("160 MB, PACS down: %d objects accepted, then A700 with %d MiB free; results still taken; filled to the last byte by another program: alive; killed and started on the full disk (exit 4); %d objects and %d results delivered, %d lost",
		accepted, free>>20, report.Kinds[truth.Instance].Delivered, report.Kinds[truth.ORU].Delivered, report.Lost), limit)
}

// untilDisk waits until the gateway's disk is in a state, and says what is free.
func (h *hospital) untilDisk(state string, limit time.Duration) uint64 {
	h.t.Helper()
	var last string
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		now, free, err := h.disk()
		if last = fmt.Sprintf("%s, %d bytes free, %v", now, free, err); now == state {
			return free
		}
	}
	h.t.Fatalf("the disk did not become %q within %v: %s", state, limit, last)
	return 0
}

// disk asks the gateway for the state of its disk.
func (h *hospital) disk() (state string, free uint64, err error) {
	rsp, err := http.Get("http://" + h.ports["console"] + "/api/v1/status")
	if err != nil {
		return "", 0, err
	}
	defer rsp.Body.Close()
	var st struct {
		Disk struct {
			State string
			Free  uint64 `json:"free_bytes"`
		}
	}
	err = json.NewDecoder(rsp.Body).Decode(&st)
	return st.Disk.State, st.Disk.Free, err
}

// fill writes until the disk takes no more.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{1 << 20, 4 << 10} {
		block := make([]byte, size)
		for err = nil; err == nil; {
			_, err = io.Copy(f, bytes.NewReader(block))
		}
	}
}

// TestSmallDiskWithTheLISDown fills a disk of 160 MB with messages: the store
// itself grows, flushes and compacts until nothing is taken in any more.
func TestSmallDiskWithTheLISDown(t *testing.T) {
	const limit = "more than 100 accepted, refused before full, alive, all delivered"
	if testing.Short() {
		t.Skip("fills a disk")
	}
	h := newHospital(t)
	remount := smallDisk(t, h.data, limit)
	config, err := os.ReadFile(h.file)
	if err == nil {
		err = os.WriteFile(h.file, append(config, his...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	gateway := h.gateway()
	t.Cleanup(func() { gateway.Process.Kill(); gateway.Wait() })
	h.untilDisk("open", 90*time.Second)

	var mu sync.Mutex
	accepted := map[string]bool{}
	var senders sync.WaitGroup
	for i := range 16 {
		senders.Go(func() {
			p := newPeer(t, "127.0.0.1", h.ports["hl7"])
			p.SetDeadline(time.Now().Add(5 * time.Minute))
			for n := range 100_000 {
				id := fmt.Sprintf("S%d-%d", i, n)
				text := oru(id) + "NTE|1||" + strings.Repeat("x", 20_000) + "\r"
				if _, err := p.Write([]byte("\x0b" + text + "\x1c\r")); err != nil {
					t.Error("the gateway has gone: ", err)
					return
				}
				a, err := readBlock(p.r)
				if err != nil {
					t.Error("the gateway has gone: ", err)
					return
				}
				if field(a, "MSA-1") != "AA" {
					return
				}
				mu.Lock()
				accepted[id] = true
				mu.Unlock()
			}
		})
	}
	senders.Wait()
	free := h.untilDisk("no intake", 90*time.Second)
	if len(accepted) <= 100 {
		t.Errorf("only %d messages were accepted", len(accepted))
	}

	// The LIS is back, on the disk as it is: draining goes on.
	listener, err := net.Listen("tcp", h.ports["lis"])
	if err != nil {
		t.Fatal(err)
	}
	l := &systemLIS{}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); l.serve(c) }()
		}
	}()
	within(t, 90*time.Second, "draining begins while intake is refused", func() bool { return len(l.messages()) > 20 })
	if err := remount("remount,size=800m"); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Minute, "all is delivered", func() bool {
		c, err := h.counts()
		return err == nil && c["queued"] == 0
	})
	got := map[string]bool{}
	for _, m := range l.messages() {
		got[field(m, "MSH-10")] = true
	}
	lost := 0
	for id := range accepted {
		if !got[id] {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d are lost", lost, len(accepted))
	}
	figures.Report(t, fmt.Sprintf("160 MB, LIS down: %d messages of 20 KB accepted, then AR 207 with %d MiB free; %d lost", len(accepted), free>>20, lost), limit)
}

// smallDisk mounts 160 MB of memory at dir, and gives what mounts it again.
func smallDisk(t *testing.T, dir, limit string) (mount func(options string) error) {
	t.Helper()
	if os.Getuid() != 0 {
		figures.Skip(t, limit, "not root: no file system can be mounted")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	mount = func(options string) error {
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", dir).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	if err := mount("size=160m,mode=700"); err != nil {
		figures.Skip(t, limit, "tmpfs cannot be mounted: "+err.Error())
	}
	t.Cleanup(func() { exec.Command("umount", "-l", dir).Run() })
	return mount
}
