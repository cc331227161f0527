package console

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nhip/gateway/journal"
	"nhip/gateway/reason"
)

// fakeJournal has one entry that a device of no good will has sent.
type fakeJournal struct{ asked journal.Query }

const evil = "H|\\^&|||<script>document.title='hijacked'</script>\rP|1||<img src=x onerror=alert(1)>\u202eABC\x1b[31m\x00\xe9\rL|1|N\r"

func (f *fakeJournal) entry() journal.Entry {
	return journal.Entry{
		Ref: "in/xn-1/7", Direction: "in", Kind: "astm", Connection: "xn-1", Peer: "192.168.10.31:50122", Received: ago(4 * time.Minute), DeviceTime: ago(time.Hour),
		Subject: "26<b>0027", SHA256: strings.Repeat("ab", 32), Bytes: int64(len(evil)), States: []journal.State{journal.Held, journal.Delivered},
		Deliveries: []journal.Delivery{
			{Destination: "lis", Mark: "XYZ201", Sent: "out/lis/3", State: journal.Held, Attempts: 2, Reason: reason.New(reason.Answered, "AE")},
			{Destination: "his", Mark: "XYZ202", Sent: "out/his/3", State: journal.Delivered, At: ago(time.Minute), Answer: []byte("MSH|^~\\&|HIS\rMSA|AA|XYZ202|<i>\u202e"), AnswerBytes: 2345},
		},
	}
}

func (f *fakeJournal) Search(_ context.Context, q journal.Query) (journal.Page, error) {
	f.asked = q
	if q.Specimen == "none" {
		return journal.Page{}, nil
	}
	return journal.Page{Entries: []journal.Entry{f.entry()}, Older: ago(time.Hour), Partial: true}, nil
}

func (f *fakeJournal) Show(ref string) (journal.Detail, error) {
	if ref != "in/xn-1/7" {
		return journal.Detail{}, journal.ErrUnknown
	}
	return journal.Detail{Entry: f.entry(), HasBytes: true, Answer: []byte("MSH|^~\\&|\rMSA|AA|1\r")}, nil
}

func (f *fakeJournal) Bytes(ref string) (io.ReadCloser, int64, error) {
	if ref != "in/xn-1/7" {
		return nil, 0, journal.ErrUnknown
	}
	return io.NopCloser(bytes.NewReader([]byte(evil))), int64(len(evil)), nil
}

func journalConsole() (*Console, *fakeJournal) {
	f := new(fakeJournal)
	return New(Options{Source: hospital(), Journal: f, Zone: zone, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }}), f
}

func TestJournalAPI(t *testing.T) {
	c, f := journalConsole()
	w := get(t, c, "/api/v1/journal?specimen=27&patient=BN1&accession=A&order=O&connection=xn-1&from=2026-01-13&to=2h&state=held&limit=7")
	var page struct {
		Entries []struct {
			Ref        string
			DeviceTime *time.Time `json:"device_time"`
			States     []string
			Deliveries []struct{ Destination, State, Reason string }
		}
		Older   *time.Time
		Partial bool
	}
	if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || w.Code != 200 {
		t.Fatal(w.Code, err, w.Body)
	}
	q := journal.Query{Specimen: "27", Patient: "BN1", Accession: "A", Order: "O", Connection: "xn-1", State: journal.Held, Limit: 7,
		From: time.Date(2026, 1, 13, 0, 0, 0, 0, zone), To: now.Add(-2 * time.Hour)}
	if f.asked.From.Equal(q.From) && f.asked.To.Equal(q.To) {
		f.asked.From, f.asked.To = q.From, q.To
	}
	if f.asked != q {
		t.Errorf("asked %+v", f.asked)
	}
	if len(page.Entries) != 1 || page.Entries[0].Deliveries[0].Reason == "" || page.Entries[0].DeviceTime == nil || page.Older == nil || !page.Partial {
		t.Errorf("%s", w.Body)
	}
	for target, code := range map[string]int{
		"/api/v1/journal?state=lost": 400, "/api/v1/journal?limit=0": 400, "/api/v1/journal?limit=9999": 400, "/api/v1/journal?from=never": 400,
		"/api/v1/journal?specimen=" + strings.Repeat("x", 300): 400, "/api/v1/journal/in/xn-1/7": 200, "/api/v1/journal/in/xn-1/8": 404,
		"/api/v1/journal/in/xn-1/8/raw": 404, "/journal/in/xn-1/8": 404, "/journal?from=never": 400, "/journal/in/xn-1/7": 200, "/api/v1/journal/in/..%2f..%2fx/1": 404,
	} {
		if w := get(t, c, target); w.Code != code {
			t.Errorf("%s: %d, want %d", target, w.Code, code)
		}
	}
	w = get(t, c, "/api/v1/journal/in/xn-1/7/raw")
	h := w.Header()
	if w.Body.String() != evil || h.Get("Content-Type") != "text/plain; charset=utf-8" || h.Get("X-Content-Type-Options") != "nosniff" ||
		h.Get("Content-Disposition") != `attachment; filename="nhip-in-xn-1-7.txt"` || !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("%v %q", h, w.Body)
	}
	r := httptest.NewRequest("POST", "/api/v1/journal", nil)
	r.Host = "127.0.0.1"
	w = httptest.NewRecorder()
	if c.ServeHTTP(w, r); w.Code != http.StatusMethodNotAllowed {
		t.Error("POST:", w.Code)
	}
}

func TestDriftIsShownWhereAClockIsWrong(t *testing.T) {
	f := hospital()
	hour, second := -time.Hour, time.Second
	f.status.Connections[0].Drift, f.status.Connections[1].Drift = &hour, &second
	c := console(f)
	w := get(t, c, "/?lang=vi")
	if n := strings.Count(w.Body.String(), "warntext"); n != 1 || !strings.Contains(w.Body.String(), "−60 phút") {
		t.Errorf("%d clocks are shown as wrong", n)
	}
	w = get(t, c, "/api/v1/status")
	if !strings.Contains(w.Body.String(), `"drift_seconds": -3600`) || !strings.Contains(w.Body.String(), `"drift_seconds": null`) {
		t.Error("no drift in the status")
	}
	w = get(t, c, "/metrics")
	if !strings.Contains(w.Body.String(), `nhip_connection_drift_seconds{kind="analyser",name="xn-1"} -3600`) {
		t.Error("no drift in the metrics")
	}
}

// A real browser shows the journal in both languages, and runs nothing of what a
// device has sent.
func TestBrowserShowsTheJournal(t *testing.T) {
	if testing.Short() {
		t.Skip("short: no browser")
	}
	c, _ := journalConsole()
	server := httptest.NewServer(c)
	defer server.Close()
	for target, wants := range map[string][]string{
		"/journal?lang=en&specimen=27":  {"Journal", "in/xn-1/7", "held: lis", "26&lt;b&gt;0027", "Older"},
		"/journal?lang=vi&specimen=no":  {"Nhật ký", "bị giữ: lis"},
		"/journal/in/xn-1/7?lang=vi":    {"Giờ theo thiết bị", "⟨U+202E⟩", "⟨ESC⟩", "⟨NUL⟩", "⟨E9⟩", "⟨CR⟩", "&lt;script&gt;", "MSA|AA|1", "XYZ201", "/journal/out/lis/3?lang=vi", "Trả lời của his", "MSA|AA|XYZ202|&lt;i&gt;⟨U+202E⟩", "Còn 2.3"},
		"/journal?lang=vi&from=h%C3%B4": {"Không hiểu"},
	} {
		dom, log := chromium(t, "--virtual-time-budget=3000", "--dump-dom", server.URL+target)
		for _, want := range wants {
			if !strings.Contains(dom, want) {
				t.Errorf("%s: no %q", target, want)
			}
		}
		if strings.Contains(dom, "<title>hijacked") || strings.Contains(dom, "\u202e") {
			t.Errorf("%s: something of a device had its way", target)
		}
		for _, line := range strings.Split(log, "\n") {
			if strings.Contains(line, "CONSOLE") && !strings.Contains(line, "400 (Bad Request)") {
				t.Errorf("%s: %s", target, line)
			}
		}
	}
	if dir := os.Getenv("NHIP_SCREENSHOTS"); dir != "" {
		chromium(t, "--screenshot="+filepath.Join(dir, "journal-vi.png"), server.URL+"/journal?lang=vi")
		chromium(t, "--screenshot="+filepath.Join(dir, "entry-en.png"), server.URL+"/journal/in/xn-1/7?lang=en")
	}
}
