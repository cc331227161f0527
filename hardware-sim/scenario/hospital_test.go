package scenario

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nhip/drivers/astm/e1381"
	devices "nhip/drivers/port"
	"nhip/hardware-sim/truth"
	"nhip/hardware-sim/wire"
)

// A relay is a gateway of a hundred lines: an Erba XL on one side, the LIS on
// the other, nothing stored. mangle may change what it sends.
type relay struct {
	t      *testing.T
	lis    string
	mangle func(n int, oru string) []string

	mu     sync.Mutex
	number int
	out    net.Conn
	in     *bufio.Reader
}

func (r *relay) Incomplete(context.Context, e1381.Message, string) error { return nil }
func (r *relay) Ended(context.Context) error                             { return nil }

func (r *relay) Store(_ context.Context, messages []e1381.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range messages {
		r.number++
		for _, oru := range r.mangle(r.number, r.render(string(m.Records))) {
			if err := r.send(oru); err != nil {
				return err
			}
		}
	}
	return nil
}

// render reads by position what the simulated Erba XL writes.
func (r *relay) render(records string) string {
	fields := map[string][]string{}
	for _, record := range strings.Split(records, "\r") {
		f := strings.Split(record, "|")
		fields[f[0]] = f
	}
	specimen, x := fields["O"][2], fields["R"]
	status := x[8]
	if x[3] == "NA" {
		status = "X"
	}
	at := x[12] + "+0700"
	return fmt.Sprintf("MSH|^~\\&|NHIP||||%s||ORU^R01^ORU_R01|T%06d|P|2.5.1||||||UNICODE UTF-8\rOBR|1||%s|erba-xl^^L\r"+
		"OBX|1|ST|%s^^99ERBA||%s|%s||%s|||%s|||%s\rSPM|1|%s||^^^^^^^^unknown\r",
		at, r.number, specimen, strings.TrimLeft(x[2], "^"), x[3], x[4], x[6], status, at, specimen)
}

func (r *relay) send(oru string) error {
	var err error
	if r.out == nil {
		if r.out, err = net.Dial("tcp", r.lis); err != nil {
			return err
		}
		r.in = bufio.NewReader(r.out)
	}
	if _, err = r.out.Write(wire.Block([]byte(oru))); err == nil {
		_, err = wire.ReadBlock(r.in)
	}
	return err
}

// serve listens for the analyser and tells where in a status page.
func (r *relay) serve() (status string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"listen": map[string]any{"analyser": map[string]string{"erba-1": l.Addr().String()}}})
	}))
	done := make(chan struct{})
	go func() {
		defer close(done)
		wire.Accept(context.Background(), l, func(ctx context.Context, c net.Conn) {
			e1381.Serve(ctx, devices.FromNet(c), e1381.ServeOptions{Handler: r})
		})
	}()
	r.t.Cleanup(func() {
		page.Close()
		l.Close()
		<-done
		if r.out != nil {
			r.out.Close()
		}
	})
	return page.URL
}

func TestTheReportSaysWhatAGatewayDoesWrong(t *testing.T) {
	same := func(n int, oru string) []string { return []string{oru} }
	third := func(do func(string) []string) func(int, string) []string {
		return func(n int, oru string) []string {
			if n == 3 {
				return do(oru)
			}
			return []string{oru}
		}
	}
	for _, c := range []struct {
		name   string
		mangle func(int, string) []string
		want   truth.Counts // of interest: lost, doubled, changed, repeats
	}{
		{"nothing", same, truth.Counts{}},
		{"loses one", third(func(string) []string { return nil }), truth.Counts{Lost: 1}},
		{"doubles one", third(func(oru string) []string {
			return []string{oru, strings.Replace(oru, "|T000003|", "|T900003|", 1)}
		}), truth.Counts{Doubled: 1}},
		{"repeats one that was accepted", third(func(oru string) []string { return []string{oru, oru} }), truth.Counts{Doubled: 1, Repeats: 1}},
		{"changes a unit", third(func(oru string) []string { return []string{strings.Replace(oru, "g/dl", "g/l", 1)} }), truth.Counts{Changed: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			lis, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			r := &relay{t: t, lis: lis.Addr().String(), mangle: c.mangle}
			lis.Close() // taken again by the simulated LIS
			file := filepath.Join(t.TempDir(), "site.toml")
			os.WriteFile(file, fmt.Appendf(nil, `
[mqtt]
listen = []
[[analyser]]
name = "erba-1"
profile = "erba-xl"
port = "tcp-listen://127.0.0.1:0"
to = ["lis"]
[[destination]]
name = "lis"
kind = "hl7"
address = %q
`, r.lis), 0o600)
			site, err := LoadSite(file, r.serve())
			if err != nil {
				t.Fatal(err)
			}
			s, err := Parse([]byte("name = \"test\"\nseconds = 1\ndrain = \"2s\"\nsettle = \"200ms\"\n[every]\nanalyser = \"50ms\"\n[[event]]\nat = \"200ms\"\npeer = \"analyser\"\nfaults = { garble_ack = 1 }\n"))
			if err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			report, err := Run(t.Context(), Options{Site: site, Scenario: s, Truth: &log, Out: io.Discard, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			got := truth.Counts{Lost: report.Lost, Doubled: report.Doubled, Changed: report.Changed, Repeats: report.Repeats}
			if got != c.want || report.Received < 10 {
				t.Errorf("%+v\n%v", report.Counts, report.Differences)
			}
			bad := c.want.Lost+c.want.Doubled+c.want.Changed > 0
			if report.Good() == bad || report.Sent["erba-1"] != report.Received || report.Faults["erba-1"]["ACK garbled"] != 1 {
				t.Errorf("good is %v, %v %v", report.Good(), report.Sent, report.Faults)
			}
			if lines := strings.Count(log.String(), "\n"); lines < 3*report.Delivered {
				t.Errorf("%d lines of ground truth", lines)
			}
		})
	}
}

func TestAnAddressThatIsTakenEndsTheRunInWords(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "site.toml")
	os.WriteFile(file, fmt.Appendf(nil, "[console]\nlisten = []\n[[destination]]\nname = \"lis\"\nkind = \"hl7\"\naddress = %q\n", taken.Addr()), 0o600)
	site, err := LoadSite(file, "")
	if err != nil {
		t.Fatal(err)
	}
	s, _ := Parse([]byte("seconds = 60"))
	began := time.Now()
	_, err = Run(t.Context(), Options{Site: site, Scenario: s, Out: io.Discard, Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "lis: ") || time.Since(began) > 30*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

func TestWhatIsKeptForAPersonHasToBeShown(t *testing.T) {
	var held atomic.Int64
	held.Store(3)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"counts": map[string]int64{"held": held.Load()}})
	}))
	defer page.Close()
	log := truth.New(nil, time.Now)
	for _, id := range []string{"1", "2"} {
		log.Offer(truth.Item{Kind: truth.ORU, ID: id, Key: id, To: []string{"lis"}, Kept: func() string { return "the order was cancelled" }})
		log.Acknowledge(id)
	}
	h := &hospital{o: Options{Site: &Site{status: page.URL}, Scenario: &Scenario{Drain: wire.Duration(time.Minute)}, Out: io.Discard}, truth: log, lab: &laboratory{}, held: 1}
	if n := h.unheld(t.Context()); n != 0 {
		t.Errorf("%d of two are not held", n)
	}
	held.Store(2)
	h.o.Scenario.Drain = wire.Duration(time.Millisecond)
	if n := h.unheld(t.Context()); n != 1 {
		t.Errorf("%d are not held, should be 1", n)
	}
}
