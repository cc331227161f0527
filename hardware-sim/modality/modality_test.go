package modality

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nhip/hardware-sim/pacs"
	"nhip/hardware-sim/truth"
)

var quiet = slog.New(slog.DiscardHandler)

// archive runs a PACS on loopback that records into the log.
func archive(t *testing.T, log *truth.Log, title string) (*pacs.PACS, string) {
	p := pacs.New(pacs.Options{Name: "pacs", AETitle: title, Received: log.Arrive, Log: quiet})
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() { done <- p.Run(ctx, "127.0.0.1:0", func(a net.Addr) { ready <- a.String() }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return p, <-ready
}

func options(log *truth.Log, address string, limit int) Options {
	return Options{
		Name: "ct-1", AETitle: "CT1", Called: "NHIP", Address: func() (string, error) { return address, nil }, Seed: 9,
		Start: time.Date(2026, 1, 14, 8, 0, 0, 0, time.UTC), To: []string{"pacs"}, Every: time.Millisecond, Limit: limit, Truth: log, Log: quiet,
	}
}

func TestEveryImageArrivesAsItWasSent(t *testing.T) {
	log := truth.New(nil, time.Now)
	p, address := archive(t, log, "NHIP")
	m := New(options(log, address, 25))
	m.Run(t.Context())
	if r := log.Report(); r.Delivered != 25 || !r.Good() || p.Received() != 25 || m.Sent() != 25 {
		t.Errorf("%+v %v", r.Counts, r.Differences)
	}
}

func TestFaultsOfBothEndsLoseNothing(t *testing.T) {
	log := truth.New(nil, time.Now)
	p, address := archive(t, log, "")
	m := New(options(log, address, 12))
	m.Inject(Faults{Abort: 2, Repeat: 1, Release: 1})
	p.Inject(pacs.Faults{OutOfResources: 1, CannotUnderstand: 1, Abort: 1, Reject: 1, Late: 1})
	m.Run(t.Context())
	r := log.Report()
	if r.Delivered != 12 || !r.Good() || r.Repeats < 3 {
		t.Errorf("%+v %v", r.Counts, r.Differences)
	}
	for _, c := range []struct {
		counters map[string]int
		names    []string
	}{
		{m.Counters(), []string{"aborted", "repeated", "released"}},
		{p.Counters(), []string{"A700", "C000", "abort", "association rejected", "late"}},
	} {
		for _, name := range c.names {
			if c.counters[name] == 0 {
				t.Errorf("%s was not done: %v", name, c.counters)
			}
		}
	}
}

func TestAnArchiveThatIsDownComesBack(t *testing.T) {
	log := truth.New(nil, time.Now)
	p, address := archive(t, log, "")
	p.Down(200 * time.Millisecond)
	New(options(log, address, 2)).Run(t.Context())
	if r := log.Report(); r.Delivered != 2 || !r.Good() {
		t.Errorf("%+v", r.Counts)
	}
}

func TestAPACSThatRejectsForGoodIsGivenUp(t *testing.T) {
	log := truth.New(nil, time.Now)
	_, address := archive(t, log, "ORTHANC")
	m := New(options(log, address, 3))
	m.Run(t.Context())
	if err := m.Err(); err == nil || !strings.Contains(err.Error(), "called AE title not recognized") {
		t.Errorf("%v", err)
	}
	if r := log.Report(); r.Received != 0 || r.Unaccepted != 1 {
		t.Errorf("%+v", r.Counts)
	}
}

func TestAPACSThatIsNotThereIsGivenUpInTheEnd(t *testing.T) {
	log := truth.New(nil, time.Now)
	o := options(log, "", 1)
	o.Address = func() (string, error) { return "", errors.New("nobody") }
	o.Patience = time.Millisecond
	m := New(o)
	m.Run(t.Context())
	if err := m.Err(); err == nil || err.Error() != "nobody" {
		t.Errorf("%v", err)
	}
}

func TestEqualSeedsGiveEqualImages(t *testing.T) {
	o := options(nil, "", 0)
	o.Size = 16
	other := o
	other.Seed++
	for n := range 12 {
		a, b, c := o.object(n), o.object(n), other.object(n)
		if !bytes.Equal(a.bytes, b.bytes) || a.item.Key != b.item.Key {
			t.Fatal("equal seeds differ")
		}
		if a.item.Key == c.item.Key || a.item.Digest == c.item.Digest {
			t.Fatal("the seed does nothing")
		}
	}
}

// dcmdump reads the data sets to their ends and finds what was put in.
func TestDCMTKReadsTheDataSets(t *testing.T) {
	dcmdump, err := exec.LookPath("dcmdump")
	if err != nil {
		t.Skip("dcmdump is not installed")
	}
	o := options(nil, "", 0)
	o.Size = 16
	for n, transfer := range map[int]string{0: "-te", 2: "-ti"} {
		file := filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(file, o.object(n).bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(dcmdump, "-f", transfer, "-q", "+L", file).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, want := range []string{"Nguyễn^Thị Hoa", o.object(n).item.Key, "SequenceDelimitationItem", "(7fe0,0010) OW", "# 512, 1 PixelData"} {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s is not in\n%s", want, out)
			}
		}
	}
}
