package run

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"nhip/storage/storagetest/figures"
)

// clockOf is what is built into the gateway of this test: the clock of the day
// moves by the seconds in a file, the monotonic one goes on.
const clockOf = `package main

import (
	"fmt"
	"os"
	"time"
)

func init() {
	read := func() {
		b, _ := os.ReadFile(os.Getenv("NHIP_TEST_CLOCK"))
		fmt.Sscan(string(b), &time.TestOffset)
	}
	read()
	go func() {
		for range time.Tick(10 * time.Millisecond) {
			read()
		}
	}()
}
`

// buildWithClock builds the gateway with a clock of the day that can be set.
func buildWithClock(t *testing.T, limit string) string {
	t.Helper()
	source := filepath.Join(runtime.GOROOT(), "src", "time", "time.go")
	text, err := os.ReadFile(source)
	const now = "sec, nsec, mono := runtimeNow()\n"
	if err != nil || strings.Count(string(text), "func Now() Time {\n\t"+now) != 1 {
		figures.Skip(t, limit, "this version of Go has another time.Now")
	}
	dir := t.TempDir()
	changed := strings.Replace(string(text), "func Now() Time {\n\t"+now, "var TestOffset int64\n\nfunc Now() Time {\n\t"+now+"\tsec += TestOffset\n", 1)
	gateway, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		source: filepath.Join(dir, "time.go"), filepath.Join(gateway, "clock_to_be_set.go"): filepath.Join(dir, "clock.go"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"time.go": []byte(changed), "clock.go": []byte(clockOf), "overlay.json": overlay} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	binary := filepath.Join(dir, "nhip")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary, "nhip/gateway")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return binary
}

// TestTheClockOfARunningGatewayIsSet sets the clock of the day of one running
// process forth by ten years, back, back by an hour and forth again as at a change
// of daylight saving time, while the LIS is away, and starts it anew with a clock
// that is wrong by ten years: nothing is lost, doubled or reordered, nothing
// expires, no alert is raised for age, and the timers go on.
func TestTheClockOfARunningGatewayIsSet(t *testing.T) {
	const limit = "0 lost, 0 doubled, 0 out of order, 0 expired, no alert for age, timers go on"
	if !figures.Soak() {
		t.Skip("builds the standard library with another clock: in the long form")
	}
	binary := buildWithClock(t, limit)
	dir := t.TempDir()
	clock, log := filepath.Join(dir, "clock"), filepath.Join(dir, "log")
	ports := freePorts(t, 3)
	text := fmt.Sprintf("[site]\nid = \"bv-clock\"\nname = \"x\"\ndata = %q\n[console]\nlisten = %q\n[hl7]\nlisten = %q\n", filepath.Join(dir, "data"), ports[0], ports[1]) +
		"[dicom]\nlisten = \"127.0.0.1:0\"\n[mqtt]\nlisten = \"127.0.0.1:0\"\n[alerts]\noldest = \"10m\"\ndrift = \"1000000h\"\n" + his +
		fmt.Sprintf("[[destination]]\nname = \"lis\"\nkind = \"hl7\"\naddress = %q\nexpire = \"2h\"\n", ports[2])
	file := filepath.Join(dir, "site.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	set := func(offset time.Duration) {
		if err := os.WriteFile(clock, fmt.Append(nil, int64(offset/time.Second)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set(0)
	out, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	t.Cleanup(func() {
		if b, _ := os.ReadFile(log); t.Failed() {
			t.Logf("the end of the log:\n%s", b[max(0, len(b)-5000):])
		}
	})
	var st struct {
		Counts struct{ Accepted, Delivered, Queued, Held, Expired int64 }
		Alerts []struct{ Code, Subject string }
		Queues []struct {
			Oldest int64 `json:"oldest_seconds"`
		}
	}
	status := func() bool {
		rsp, err := http.Get("http://" + ports[0] + "/api/v1/status")
		if err != nil {
			return false
		}
		defer rsp.Body.Close()
		st.Alerts = nil
		return json.NewDecoder(rsp.Body).Decode(&st) == nil
	}
	start := func() *exec.Cmd {
		c := exec.Command(binary, "run", "--config", file)
		c.Env = append(os.Environ(), "NHIP_TEST_CLOCK="+clock)
		c.Stdout, c.Stderr = out, out
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Process.Kill(); c.Wait() })
		eventually(t, "the gateway answers", status)
		return c
	}
	var sent []string
	send := func(n int) {
		p := newPeer(t, "127.0.0.1", ports[1])
		for range n {
			id := fmt.Sprintf("CLOCK-%03d", len(sent))
			m := strings.ReplaceAll(oru(id), "S"+id, "S-ONE") // all of one specimen
			if a := p.send(t, m); field(a, "MSA-1") != "AA" {
				t.Fatalf("%q", a)
			}
			sent = append(sent, id)
		}
	}
	noted := 0
	steps := func() int {
		b, _ := os.ReadFile(log)
		return strings.Count(string(b), "the clock of this computer was set")
	}
	jump := func(offset time.Duration) {
		set(offset)
		noted++
		eventually(t, fmt.Sprintf("the clock is seen to be %v off", offset), func() bool { return steps() >= noted })
		send(5)
		time.Sleep(7 * time.Second) // two looks of the alerts
		if !status() || st.Counts.Expired > 0 || st.Queues[0].Oldest > 600 || slices.ContainsFunc(st.Alerts, func(a struct{ Code, Subject string }) bool { return a.Code == "undelivered" }) {
			t.Errorf("the clock is %v off: %+v", offset, st)
		}
	}

	aa := func(string) string { return "AA" }
	lis := newJudge(t, ports[2], aa)
	c := start()
	send(5)
	eventually(t, "delivered", func() bool { return len(lis.received()) >= 5 })
	lis.down()
	got := lis.received()
	send(5)
	const years = 10 * 365 * 24 * time.Hour
	for _, offset := range []time.Duration{years, -time.Hour, 0, time.Hour, 0, years} {
		jump(offset)
	}
	// The next start has nothing but what is stored.
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	start()
	time.Sleep(7 * time.Second)
	if !status() || len(st.Alerts) > 0 || st.Queues[0].Oldest > 1200 || st.Counts.Queued != int64(len(sent)-5) {
		t.Errorf("after a start with a clock ten years ahead: %+v", st)
	}
	noted = steps()
	jump(0)

	lis = newJudge(t, ports[2], aa)
	back := time.Now()
	eventually(t, "all is delivered", func() bool { return status() && st.Counts.Queued == 0 })
	took := time.Since(back)
	got = append(got, lis.received()...)
	var order []string
	for _, m := range got {
		if id := field(m, "MSH-10"); !slices.Contains(order, id) {
			order = append(order, id)
		}
	}
	if !slices.Equal(order, sent) {
		t.Errorf("the LIS got %v", order)
	}
	if st.Counts.Delivered != int64(len(sent)) || st.Counts.Held+st.Counts.Expired != 0 {
		t.Errorf("%+v", st.Counts)
	}
	figures.Report(t, fmt.Sprintf("clock of one process set +10 y, -10 y 1 h, +1 h, +1 h, -1 h, +10 y, started anew ten years ahead, and back: %d messages, %d repeats, 0 lost, in order, no alert; all delivered %.1f s after the LIS was back",
		len(sent), len(got)-len(order), took.Seconds()), limit)
}
