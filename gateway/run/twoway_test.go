package run

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"nhip/hardware-sim/scenario"
	"nhip/storage/storagetest/figures"
)

// A laboratory both ways, around a gateway process that is killed meanwhile: three
// systems order by HL7, change and cancel; ten analysers ask in their own ways, on TCP
// and serial lines that break, contend and lose ACKs; the LIS goes away. Nothing is lost,
// doubled or changed, every result stands under its order, and nothing runs that was
// cancelled or in an older version. The long form is the scenario twoway whole.
func TestTheLaboratoryBothWays(t *testing.T) {
	if testing.Short() {
		t.Skip("plays a laboratory")
	}
	if runtime.GOOS != "linux" {
		t.Skip("pseudo terminals are used on Linux only")
	}
	dir := t.TempDir()
	h := &hospital{t: t, file: filepath.Join(dir, "site.toml")}
	if err := scenario.WriteLaboratory(h.file, ""); err != nil {
		t.Fatal(err)
	}
	site, err := scenario.LoadSite(h.file, "")
	if err != nil {
		t.Fatal(err)
	}
	s, kills := bothWays(t)
	h.keepLog(filepath.Join(dir, "gateway.log"))
	done := make(chan struct{})
	killed := make(chan int, 1)
	go func() { killed <- h.killed(kills, done) }()
	report, err := scenario.Run(t.Context(), scenario.Options{Site: site, Scenario: s, Out: io.Discard, Log: slog.New(slog.DiscardHandler)})
	close(done)
	n := <-killed
	if err != nil {
		t.Fatal(err)
	}
	if !report.Good() || report.Laboratory.Cancels == 0 || report.Laboratory.Changes == 0 || report.Laboratory.Filed == 0 {
		t.Errorf("%+v\n%+v\n%+v\nfaults %v", report.Counts, *report.Laboratory, report.Differences[:min(30, len(report.Differences))], report.Faults)
	}
	lab := report.Laboratory
	figures.Report(t, fmt.Sprintf("%d specimens, gateway killed %d times: %d orders, %d changes, %d cancels, %d queries, %d tests run, %d filed under their order; %d lost, %d doubled, %d changed, %d misfiled, %d cancelled run, %d older versions",
		s.Laboratory.Specimens, n, lab.Orders, lab.Changes, lab.Cancels, lab.Queries, lab.Tests, lab.Filed, report.Lost, report.Doubled, report.Changed, report.Misfiled, lab.CancelledRun, lab.OldVersion),
		"0 lost, 0 doubled, 0 changed, 0 misfiled, 0 cancelled ones run, 0 older versions")
}

// bothWays is the scenario, and how often the gateway is killed.
func bothWays(t *testing.T) (s *scenario.Scenario, kills int) {
	t.Helper()
	text, specimens, kills := scenario.TwoWay, 5000, 5
	if !figures.Soak() {
		var err error
		if text, err = os.ReadFile("testdata/twoway.toml"); err != nil {
			t.Fatal(err)
		}
		specimens, kills = 200, 1
	}
	s, err := scenario.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	s.Seed, s.Laboratory.Specimens = rand.Uint64(), specimens
	t.Logf("seed %d", s.Seed)
	return s, kills
}

// keepLog keeps what the gateway's processes say, and shows the end of it on failure.
func (h *hospital) keepLog(file string) {
	h.t.Helper()
	var err error
	if h.log, err = os.Create(file); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		h.log.Close()
		if b, err := os.ReadFile(file); err == nil && h.t.Failed() {
			h.t.Logf("the end of the gateway's log:\n%s", b[max(0, len(b)-8000):])
		}
	})
}

// killed runs the gateway until done, and kills it so often in between. It says how
// often it was.
func (h *hospital) killed(kills int, done <-chan struct{}) (n int) {
	for {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), childConfig+"="+h.file)
		c.Stdout, c.Stderr = h.log, h.log
		if err := c.Start(); err != nil {
			h.t.Error(err)
			return n
		}
		kill := make(<-chan time.Time)
		if n < kills {
			kill = time.After(5*time.Second + time.Duration(rand.IntN(4000))*time.Millisecond)
		}
		ended := make(chan error, 1)
		go func() { ended <- c.Wait() }()
		select {
		case <-done:
			c.Process.Kill()
			<-ended
			return n
		case err := <-ended:
			h.t.Errorf("the gateway ended by itself: %v", err)
			return n
		case <-kill:
			n++
			c.Process.Kill()
			var exit *exec.ExitError
			if err := <-ended; !errors.As(err, &exit) || exit.ExitCode() != -1 {
				h.t.Errorf("the gateway ended by itself: %v", err)
				return n
			}
		}
	}
}
