package console

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"nhip/gateway/config"
	"nhip/gateway/reason"
	"nhip/gateway/record"
)

var zone = time.FixedZone("+07", 7*3600)

var now = time.Date(2026, 1, 14, 8, 30, 0, 0, zone)

// fake is a Source with given answers.
type fake struct {
	status   Status
	messages []Message
	results  []Result
	health   []Words
	err      error
	asked    Query
}

func (f *fake) Status(context.Context) (Status, error)           { return f.status, f.err }
func (f *fake) Messages(context.Context, int) ([]Message, error) { return f.messages, f.err }
func (f *fake) Health(context.Context) []Words                   { return f.health }
func (f *fake) Results(_ context.Context, q Query) (out []Result, err error) {
	f.asked = q
	for _, r := range f.results {
		if (q.Specimen == "" || q.Specimen == r.Report.Specimen.ID) && (!q.OnTrial || r.OnTrial) {
			out = append(out, r)
		}
	}
	return out, f.err
}

func ago(d time.Duration) time.Time { return now.Add(-d) }

// hospital is a source with something of everything.
func hospital() *fake {
	value := func(code, name, value, unit, flag, rng string) record.Result {
		return record.Result{Code: code, Text: name, Declared: code != "XYZ", Value: value, Unit: unit, Flag: flag, Range: rng, Status: "F",
			Observed: record.Time{Text: "20260114081500", At: ago(15 * time.Minute)}}
	}
	count := record.Report{
		Device:   record.Device{Connection: "xn-1", Profile: "sysmex-xn-l", Model: "XN-550", Serial: "11001"},
		Patient:  &record.Patient{ID: "BN0012345", Name: record.Name{Family: "NGUYỄN", Middle: "THỊ", Given: "ÁNH"}, Birth: "19850312", Sex: "F"},
		Specimen: record.Specimen{ID: "2601140027", Type: "Máu toàn phần EDTA"},
		Results: []record.Result{
			value("WBC", "White blood cells", "6.41", "10*3/uL", "N", "4.0 - 10.0"), value("RBC", "", "4.52", "10*6/uL", "N", ""),
			value("HGB", "", "10,4", "g/dL", "L", "12.0 - 16.0"), value("PLT", "", "<10", "10*3/uL", "LL", ""), value("XYZ", "", "----", "", "A", ""),
		},
		Comments: []string{"Fragments?"},
	}
	trial := count
	trial.Patient = nil
	trial.Device = record.Device{Connection: "e411-new", Profile: "roche-cobas-e411", Model: "cobas e411"}
	trial.Specimen = record.Specimen{ID: "2601140031"}
	trial.Results = []record.Result{value("TSH", "", "1.82", "uIU/mL", "", ""), value("FT4", "", "15.6", "pmol/L", "", "")}
	return &fake{
		status: Status{
			SiteID: "bvdk-gia-binh", SiteName: "Bệnh viện đa khoa huyện Gia Bình", Version: "0.1.0", Started: ago(50 * time.Hour),
			Listen: Listen{
				Console: []string{"127.0.0.1:8080"}, DICOM: []string{"127.0.0.1:11112", "192.168.10.2:104"}, HL7: []string{"127.0.0.1:2575"},
				Analyser: map[string]string{"xn-1": "192.168.10.2:4001"}, Monitor: map[string]string{"bed-12": "192.168.10.2:4101"},
			},
			Connections: []Connection{
				{Name: "xn-1", Kind: "analyser", Profile: "sysmex-xn-l", State: Say(StateConnected, "192.168.10.31:50122"), Since: ago(3 * time.Hour), Last: ago(4 * time.Minute), Messages: 214},
				{Name: "e411-new", Kind: "analyser", Profile: "roche-cobas-e411", OnTrial: true, State: Say(StateAbsent, "/dev/serial/by-id/usb-FTDI"), Since: ago(9 * time.Minute), Last: ago(11 * time.Minute), Messages: 12},
				{Name: "ct-1", Kind: "modality", State: Say(StateHeard, "192.168.10.51"), Since: ago(2 * time.Minute), Last: ago(2 * time.Minute), Messages: 1820},
				{Name: "bed-12", Kind: "monitor", Profile: "hl7-pcd01", State: Say(StateListening, "192.168.10.2:4101"), Since: ago(50 * time.Hour)},
				{Name: "his", Kind: "hl7_peer", State: Say(StateUnheard), Since: ago(50 * time.Hour)},
				{Name: "ward-display", Kind: "mqtt_user", State: Say(StateOffline), Since: ago(26 * time.Hour), Last: ago(26 * time.Hour)},
				{Name: "lis", Kind: "destination", State: SayWhy(StateRetrying, reason.New(reason.NothingListens), "7"), Since: ago(12 * time.Minute), Last: ago(13 * time.Minute)},
				{Name: "pacs", Kind: "destination", State: Say(StateSending), Since: ago(time.Minute), Last: ago(2 * time.Second)},
			},
			Queues: []Queue{
				{Destination: "lis", Depth: 18, Held: 1, Behind: 2, Oldest: ago(12 * time.Minute)},
				{Destination: "pacs", Depth: 0},
			},
			Held: []Held{
				{ID: "lis/381", Destination: "lis", Connection: "xn-1", Subject: "2601140019", Reason: reason.Reason{Code: reason.Answered, Args: []string{"AE 207"}, Said: "unknown specimen"}, Since: ago(95 * time.Minute), Behind: 2},
				{ID: "held/77", Connection: "e411-new", Reason: reason.New(reason.IncompleteEOT), Since: ago(30 * time.Minute)},
			},
			Counts: Counts{Accepted: 12345, Delivered: 12286, Queued: 17, Held: 2, Discarded: 1, Expired: 3,
				Consumed: map[string]int64{string(ConsumedQuery): 20, string(ConsumedTrial): 12, string(ConsumedControl): 4}, Refused: 3},
			Disk: Disk{Free: 81 << 30, Total: 240 << 30},
			Strangers: []Stranger{
				{Stranger: config.Stranger{Kind: "dicom", Address: "192.168.10.77", CallingAE: "US_MINDRAY", CalledAE: "NHIP", CalledIsOurs: true}, Wanted: reason.Text("Verification SOP Class"), Count: 4, Last: ago(6 * time.Minute)},
				{Stranger: config.Stranger{Kind: "hl7", Address: "192.168.10.9", Application: "HIS2", Facility: "BV"}, Wanted: reason.New(reason.SendHL7), Count: 1, Last: ago(28 * time.Hour)},
			},
		},
		messages: []Message{
			{Ref: "xn-1/214", At: ago(4 * time.Minute), Connection: "xn-1", Kind: "astm", Subject: "2601140027", Bytes: 2811, Outcome: Say(OutcomeQueued, "lis")},
			{Ref: "ct-1/1820", At: ago(2 * time.Minute), Connection: "ct-1", Kind: "dicom", Subject: "1.2.840.113619.2.55.3.604688119.971.1449667204.469", Bytes: 526336, Outcome: Say(OutcomeDelivered, "pacs")},
			{Ref: "e411-new/12", At: ago(11 * time.Minute), Connection: "e411-new", Kind: "astm", Subject: "2601140031", OnTrial: true, Outcome: Say(OutcomeTrial)},
			{Ref: "xn-1/213", At: ago(31 * time.Minute), Connection: "xn-1", Kind: "astm", Subject: "QC-52340810", Outcome: Say(OutcomeConsumed, string(ConsumedControl))},
		},
		results: []Result{
			{Ref: "xn-1/214", Received: ago(4 * time.Minute), Report: count, Deliveries: []Delivery{{Destination: "lis", Outcome: Say(OutcomeQueued, "lis")}}},
			{Ref: "e411-new/12", Received: ago(11 * time.Minute), OnTrial: true, Report: trial, Deliveries: []Delivery{{Outcome: Say(OutcomeTrial)}}},
		},
	}
}

func console(f *fake) *Console {
	return New(Options{Source: f, Zone: zone, Log: slog.New(slog.DiscardHandler), Hosts: []string{"nhip.lan"}, Now: func() time.Time { return now }})
}

func get(t *testing.T, c http.Handler, target string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", target, nil)
	r.Host = "127.0.0.1:8080"
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w
}

func TestStatusHasTheKeysOfTheContract(t *testing.T) {
	f := hospital()
	w := get(t, console(f), "/api/v1/status")
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/json; charset=utf-8" {
		t.Fatal(w.Code, w.Header())
	}
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	has := func(where string, v any, keys ...string) {
		t.Helper()
		m, ok := v.(map[string]any)
		for _, k := range keys {
			if _, there := m[k]; !ok || !there {
				t.Errorf("%s has no %q", where, k)
			}
		}
	}
	first := func(v any) any { return v.([]any)[0] }
	has("status", got, "listen", "connections", "queues", "held", "counts", "disk", "version")
	has("listen", got["listen"], "console", "dicom", "hl7", "mqtt", "analyser")
	has("connection", first(got["connections"]), "name", "kind", "state", "words", "since")
	has("queue", first(got["queues"]), "destination", "depth", "oldest_seconds", "held")
	has("held", first(got["held"]), "id", "reason", "since")
	has("counts", got["counts"], "accepted", "delivered", "queued", "held", "discarded", "expired", "consumed", "refused")

	for path, want := range map[string]any{
		"listen.console": "127.0.0.1:8080", "listen.mqtt": "", "listen.dicom": []any{"127.0.0.1:11112", "192.168.10.2:104"},
		"listen.analyser": map[string]any{"xn-1": "192.168.10.2:4001"},
		"counts.consumed": 36.0, "counts.difference": 0.0, "version": "0.1.0", "healthy": true,
	} {
		var v any = got
		for _, k := range strings.Split(path, ".") {
			v = v.(map[string]any)[k]
		}
		if !reflect.DeepEqual(v, want) {
			t.Errorf("%s is %v, want %v", path, v, want)
		}
	}
	queue := first(got["queues"]).(map[string]any)
	if queue["oldest_seconds"] != 720.0 || queue["depth"] != 18.0 {
		t.Error(queue)
	}
	if since := first(got["connections"]).(map[string]any)["since"]; since != "2026-01-14T05:30:00+07:00" {
		t.Error(since)
	}
}

// A program that reads lists and maps gets them, also when there is nothing.
func TestEmptyStatusHasListsAndNotNull(t *testing.T) {
	w := get(t, console(&fake{}), "/api/v1/status")
	if strings.Contains(w.Body.String(), "null") {
		t.Error(w.Body.String())
	}
}

func TestDifferenceIsShownWhenTheSumIsWrong(t *testing.T) {
	f := hospital()
	f.status.Counts.Accepted += 3
	if w := get(t, console(f), "/api/v1/status"); !strings.Contains(w.Body.String(), `"difference": 3`) {
		t.Error("the API does not say so")
	}
	if w := get(t, console(f), "/?lang=en"); !strings.Contains(w.Body.String(), "The sum differs by 3") {
		t.Error("the page does not say so")
	}
}

func TestHealth(t *testing.T) {
	f := hospital()
	if w := get(t, console(f), "/healthz"); w.Code != 200 || w.Body.String() != "ok\n" {
		t.Error(w.Code, w.Body)
	}
	f.health = []Words{SayWhy(HealthListener, reason.New(reason.PortTaken), "dicom"), Say(HealthStore)}
	w := get(t, console(f), "/healthz")
	if w.Code != 503 || w.Body.String() != "dicom is not open: the port is taken by another program\nthe store has failed: nothing is acknowledged\n" {
		t.Error(w.Code, w.Body)
	}
	page := get(t, console(f), "/?lang=vi").Body.String()
	if !strings.Contains(page, "kho lưu trữ bị lỗi") || !strings.Contains(page, "Không nhận được") {
		t.Error("the page does not say so")
	}
}

func TestOverviewShowsWhatIssueAsksInBothLanguages(t *testing.T) {
	c := console(hospital())
	for lang, wants := range map[string][]string{
		"en": {"connected with 192.168.10.31:50122", "attempt 7 failed: nothing listens there (connection refused); it is tried again by itself", "12 min", "12,345", "The sum is right",
			"the destination answered AE 207: unknown specimen", "without the L record", "send HL7", "US_MINDRAY", "ae_title = &#34;US_MINDRAY&#34;", "delivered to pacs", "stored, goes nowhere: control material", "on trial: stored, never sent", "81.0 GiB free of 240.0 GiB"},
		"vi": {"đang kết nối với 192.168.10.31:50122", "lần gửi 7 không được: không có chương trình nào nghe tại đó (connection refused); sẽ tự gửi lại", "12 phút", "12.345", "Tổng khớp",
			"nơi nhận trả lời AE 207: unknown specimen", "chưa gửi bản ghi L", "gửi HL7", "US_MINDRAY", "[[modality]]", "đã gửi tới pacs", "đã lưu, không gửi đi: mẫu nội kiểm (QC)", "chạy thử", "còn trống 81,0 GiB trên 240,0 GiB"},
	} {
		for _, target := range []string{"/", "/live"} {
			w := get(t, c, target+"?lang="+lang)
			if w.Code != 200 || w.Header().Get("Content-Language") != lang {
				t.Fatal(w.Code, w.Header())
			}
			for _, want := range append(wants, "xn-1", "2601140019", "2601140027", "2601140031", "1.82", "127.0.0.1:8080") {
				if !strings.Contains(w.Body.String(), want) {
					t.Errorf("%s in %s: no %q", target, lang, want)
				}
			}
		}
	}
}

func TestLanguageIsThatOfTheQueryElseOfTheBrowser(t *testing.T) {
	c := console(hospital())
	for _, test := range []struct{ query, accept, want string }{
		{"", "", "en"}, {"", "vi", "vi"}, {"", "vi-VN,vi;q=0.9,en;q=0.8", "vi"}, {"", "fr-FR,en;q=0.5", "en"}, {"", "fr", "en"},
		{"?lang=en", "vi", "en"}, {"?lang=vi", "en", "vi"}, {"?lang=xx", "vi", "vi"}, {"", "\x00;;q=", "en"},
	} {
		w := get(t, c, "/"+test.query, "Accept-Language", test.accept)
		if got := w.Header().Get("Content-Language"); got != test.want {
			t.Errorf("%q %q: %s", test.query, test.accept, got)
		}
	}
}

func TestResultIsFoundByItsSpecimenAndPrintable(t *testing.T) {
	f := hospital()
	c := console(f)
	page := get(t, c, "/results?lang=vi&specimen=+2601140027%0D%0A").Body.String()
	for _, want := range []string{"NGUYỄN THỊ ÁNH", "BN0012345", "6.41", "10,4", "&lt;10", "10*3/uL", "XN-550", "chưa được duyệt", `id="print"`, "đang chờ gửi tới lis", "chưa có trong hồ sơ máy", "Fragments?", "14/01/2026 08:15:00"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q", want)
		}
	}
	if f.asked.Specimen != "2601140027" || f.asked.OnTrial {
		t.Errorf("asked for %+v", f.asked)
	}
	if strings.Contains(page, "2601140031") {
		t.Error("shows another specimen")
	}
	if page := get(t, c, "/results?lang=en&specimen=26011400").Body.String(); !strings.Contains(page, "No result of specimen 26011400 is stored here") {
		t.Error("a part of an identifier finds something")
	}
	trial := get(t, c, "/results?lang=en&trial=true").Body.String()
	if !strings.Contains(trial, "ON TRIAL · never sent to a destination") || strings.Contains(trial, "2601140027") {
		t.Error("results on trial")
	}
	var got struct{ Results []resultView }
	if err := json.Unmarshal(get(t, c, "/api/v1/results?specimen=2601140027").Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Results) != 1 || got.Results[0].Values[3].Value != "<10" || got.Results[0].Patient.Name != "NGUYỄN THỊ ÁNH" {
		t.Errorf("%+v", got)
	}
}

func TestMessagesByAPI(t *testing.T) {
	var got struct{ Messages []messageView }
	if err := json.Unmarshal(get(t, console(hospital()), "/api/v1/messages?lang=en").Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Messages) != 4 || got.Messages[0].Words != "waits for lis" || got.Messages[0].Outcome != "out.queued" {
		t.Errorf("%+v", got)
	}
}

func TestRefusalsOfRequests(t *testing.T) {
	c := console(hospital())
	for _, test := range []struct {
		method, host, target string
		want                 int
	}{
		{"GET", "127.0.0.1:8080", "/", 200}, {"GET", "localhost:8080", "/", 200}, {"GET", "LOCALHOST", "/", 200}, {"GET", "[::1]:8080", "/", 200},
		{"GET", "[::1]", "/", 200}, {"GET", "127.0.0.2", "/", 200}, {"GET", "nhip.lan:8080", "/", 200}, {"HEAD", "localhost", "/", 200},
		{"GET", "evil.example:8080", "/", 421}, {"GET", "127.0.0.1.evil.example", "/", 421}, {"GET", "", "/", 421}, {"GET", "192.168.1.5:8080", "/", 421},
		{"GET", "localhost.evil.example", "/api/v1/status", 421}, {"GET", "evil.example", "/healthz", 421}, {"GET", "evil.example", "/metrics", 421},
		{"POST", "localhost", "/", 405}, {"PUT", "localhost", "/api/v1/status", 405}, {"DELETE", "localhost", "/nowhere", 405}, {"OPTIONS", "localhost", "/", 405}, {"TRACE", "localhost", "/", 405},
		{"GET", "localhost", "/nowhere", 404}, {"GET", "localhost", "/api/v1/nothing", 404}, {"GET", "localhost", "/static/nothing.js", 404}, {"GET", "localhost", "/static/../console.go", 404},
		{"GET", "localhost", "/api/v1/results", 400}, {"GET", "localhost", "/api/v1/results?specimen=" + strings.Repeat("x", 201), 400},
		{"GET", "localhost", "/results?specimen=" + strings.Repeat("x", 201), 200}, {"GET", "localhost", "/results", 200},
		{"GET", "localhost", "/api/v1/messages?limit=0", 400}, {"GET", "localhost", "/api/v1/messages?limit=x", 400}, {"GET", "localhost", "/api/v1/messages?limit=1000", 200},
		{"GET", "localhost", "/static/console.css", 200}, {"GET", "localhost", "/static/console.js", 200}, {"GET", "localhost", "/static/nhip.svg", 200},
	} {
		r := httptest.NewRequest(test.method, "http://placeholder"+test.target, nil)
		r.Host = test.host
		w := httptest.NewRecorder()
		c.ServeHTTP(w, r)
		if w.Code == http.StatusMovedPermanently || w.Code == http.StatusTemporaryRedirect { // a cleaned path
			w = get(t, c, w.Header().Get("Location"))
		}
		if w.Code != test.want {
			t.Errorf("%s %s %.60s: %d, want %d", test.method, test.host, test.target, w.Code, test.want)
		}
		for _, h := range []string{"Content-Security-Policy", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy"} {
			if w.Header().Get(h) == "" {
				t.Errorf("%s %s: no %s", test.method, test.target, h)
			}
		}
	}
	if csp := get(t, c, "/").Header().Get("Content-Security-Policy"); strings.Contains(csp, "unsafe") || !strings.Contains(csp, "default-src 'none'") {
		t.Error(csp)
	}
}

func TestSourceThatFailsIsSaidAndNotShownAsEmpty(t *testing.T) {
	f := hospital()
	f.err = errors.New("no answer in time")
	c := console(f)
	for target, say := range map[string]string{
		"/": "cannot say", "/live": "cannot say", "/results?specimen=1": "cannot say", "/api/v1/status": "cannot say", "/api/v1/messages": "cannot say", "/api/v1/results?specimen=1": "cannot say",
	} {
		w := get(t, c, target)
		if w.Code != 503 || !strings.Contains(w.Body.String(), say) || strings.Contains(w.Body.String(), "No result") || strings.Contains(w.Body.String(), "in time") {
			t.Errorf("%s: %d\n%s", target, w.Code, w.Body)
		}
	}
	if w := get(t, c, "/metrics"); w.Code != 500 {
		t.Errorf("/metrics: %d", w.Code)
	}
}

func TestMetricsAreThoseOfTheSnapshot(t *testing.T) {
	w := get(t, console(hospital()), "/metrics")
	if w.Code != 200 {
		t.Fatal(w.Code, w.Body)
	}
	for _, want := range []string{
		`nhip_build_info{site="bvdk-gia-binh",version="0.1.0"} 1`, "nhip_healthy 1", "nhip_messages_accepted_total 12345", `nhip_messages_finished_total{outcome="delivered"} 12286`,
		`nhip_messages_consumed_total{kind="query"} 20`, `nhip_messages{state="held"} 2`, "nhip_messages_difference 0", `nhip_queue_depth{destination="lis"} 18`,
		`nhip_queue_oldest_seconds{destination="lis"} 720`, `nhip_connection_state{kind="analyser",name="xn-1",state="connected"} 1`, "nhip_disk_free_bytes 8.6973087744e+10", "go_goroutines",
	} {
		if !strings.Contains(w.Body.String(), want+"\n") && !strings.Contains(w.Body.String(), want+" ") {
			t.Errorf("no %s", want)
		}
	}
	for _, name := range []string{"NGUYỄN", "2601140027", "BN0012345"} {
		if strings.Contains(w.Body.String(), name) {
			t.Errorf("%s stands in the metrics", name)
		}
	}
}

// --- hostile text

// poison sets every text in a value, however deep.
func poison(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.String:
		if v.CanSet() {
			v.SetString(text)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(now))
			return
		}
		for i := range v.NumField() {
			poison(v.Field(i), text)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		poison(v.Elem(), text)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		poison(v.Index(0), text)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		element := reflect.New(v.Type().Elem()).Elem()
		poison(element, text)
		v.SetMapIndex(reflect.ValueOf(text).Convert(v.Type().Key()), element)
	}
}

func poisoned(text string) *fake {
	f := &fake{messages: make([]Message, 1), results: make([]Result, 1), health: make([]Words, 1)}
	poison(reflect.ValueOf(&f.status).Elem(), text)
	poison(reflect.ValueOf(&f.messages[0]).Elem(), text)
	poison(reflect.ValueOf(&f.results[0]).Elem(), text)
	poison(reflect.ValueOf(&f.health[0]).Elem(), text)
	f.results[0].OnTrial = true
	f.status.Strangers = append(f.status.Strangers, f.status.Strangers[0], f.status.Strangers[0])
	f.status.Strangers[1].Kind, f.status.Strangers[1].CalledIsOurs = "dicom", true
	f.status.Strangers[2].Kind = "hl7"
	return f
}

const script = `"'><script>alert(1)</script><img src=x onerror=alert(2)>javascript:alert(3)`

var markup = regexp.MustCompile(`(?i)<script>alert|<img src=x|onerror=alert\(2\)>[^&]|href="javascript:`)

func TestTextFromAWireIsNeverMarkup(t *testing.T) {
	f := poisoned(script)
	c := console(f)
	for _, target := range []string{"/?lang=en", "/live?lang=vi", "/results?trial=true", "/results?specimen=" + "%22%27%3E%3Cscript%3Ealert(1)%3C/script%3E", "/nowhere%3Cscript%3Ealert(1)%3C/script%3E"} {
		body := get(t, c, target).Body.String()
		if m := markup.FindString(body); m != "" {
			t.Errorf("%s: %s", target, m)
		}
	}
	body := get(t, c, "/live").Body.String()
	if n := strings.Count(body, "&lt;script&gt;alert(1)"); n < 30 {
		t.Errorf("only %d fields are shown: does the test reach them?", n)
	}
	for _, target := range []string{"/api/v1/status", "/api/v1/messages", "/api/v1/results?trial=true"} {
		w := get(t, c, target)
		if !json.Valid(w.Body.Bytes()) || strings.Contains(w.Body.String(), "<script>") {
			t.Errorf("%s: %s", target, w.Body)
		}
	}
	if w := get(t, c, "/metrics"); w.Code != 200 {
		t.Error("/metrics:", w.Code, w.Body)
	}
}

func TestTextThatHidesOrTurnsIsMadeVisible(t *testing.T) {
	hostile := "A\u202eB\u2066C\x00D\x1bE\u200bF\xffG\nH\u061cI"
	if got, want := visible(hostile), "A⟨U+202E⟩B⟨U+2066⟩C⟨U+0000⟩D⟨U+001B⟩E⟨U+200B⟩F⟨FF⟩G⟨U+000A⟩H⟨U+061C⟩I"; got != want {
		t.Errorf("%s", got)
	}
	if s := "Nguyễn Thị Ánh 検査 \uFFFD"; visible(s) != s {
		t.Error(visible(s))
	}
	c := console(poisoned(hostile))
	for _, target := range []string{"/live", "/results?trial=true"} {
		body := get(t, c, target).Body.String()
		for _, r := range body {
			// The attribute of a link may hold it: it is an address, escaped.
			if r != '\n' && hidden(r) {
				t.Errorf("%s: %U stands in the page", target, r)
				break
			}
		}
	}
}

// --- texts

func TestEveryTextIsThereInBothLanguages(t *testing.T) {
	places := regexp.MustCompile(`\{\d\}`)
	check := func(where string, pair text) {
		t.Helper()
		if strings.TrimSpace(pair[en]) == "" || strings.TrimSpace(pair[vi]) == "" {
			t.Errorf("%s: a language is missing", where)
		}
		a, b := places.FindAllString(pair[en], -1), places.FindAllString(pair[vi], -1)
		slices.Sort(a)
		slices.Sort(b)
		if !slices.Equal(a, b) {
			t.Errorf("%s: %v in English, %v in Vietnamese", where, a, b)
		}
	}
	for code, pair := range codeTexts {
		check(string(code), pair)
	}
	for key, pair := range pageTexts {
		check(key, pair)
	}
	for kind, pair := range kindTexts {
		check(kind, pair)
	}
	for _, code := range declaredCodes(t) {
		if _, ok := codeTexts[Code(code)]; !ok {
			t.Errorf("code %q has no text", code)
		}
	}
	if n := len(declaredCodes(t)); n != len(codeTexts) {
		t.Errorf("%d codes, %d texts", n, len(codeTexts))
	}
}

// declaredCodes are the constants of type Code.
func declaredCodes(t *testing.T) (codes []string) {
	f, err := parser.ParseFile(token.NewFileSet(), "codes.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			if name, ok := spec.Type.(*ast.Ident); ok && name.Name == "Code" {
				codes = append(codes, strings.Trim(spec.Values[0].(*ast.BasicLit).Value, `"`))
			}
		}
		return true
	})
	return codes
}

func TestPagesAndTextsFitTogether(t *testing.T) {
	used := map[string]bool{}
	keys := regexp.MustCompile(`\bt "([a-z-]+)"`)
	titles := regexp.MustCompile(`newPage\(r, "([a-z-]+)"\)`)
	for _, file := range []string{"pages.go", "journal.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range titles.FindAllStringSubmatch(string(source), -1) {
			used[m[1]] = true
		}
	}
	inCode := map[string]bool{} // every text in quotes
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range sources {
		if file == "texts.go" || strings.HasSuffix(file, "_test.go") {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`"([a-z-]+)"`).FindAllStringSubmatch(string(b), -1) {
			inCode[m[1]] = true
		}
	}
	entries, _ := pageFiles.ReadDir("pages")
	for _, e := range entries {
		b, _ := pageFiles.ReadFile("pages/" + e.Name())
		for _, m := range keys.FindAllStringSubmatch(string(b), -1) {
			used[m[1]] = true
		}
	}
	for key := range used {
		if _, ok := pageTexts[key]; !ok {
			t.Errorf("a page uses %q, which has no text", key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(pageTexts)) {
		if !used[key] && !inCode[key] {
			t.Errorf("no page uses %q", key)
		}
	}
}

func TestWords(t *testing.T) {
	for _, test := range []struct {
		words Words
		want  string
	}{
		{SayWhy(StateRetrying, reason.Text("time-out"), "3"), "attempt 3 failed: time-out; it is tried again by itself"},
		{Say(StateRetrying), "attempt  failed: ; it is tried again by itself"},
		{Say(StateRetrying, "{1}", "{0}"), "attempt {1} failed: {0}; it is tried again by itself"},
		{Say("", "as", "it is"), "as it is"},
		{Say("unknown", "text"), "text"},
		{Say(OutcomeConsumed, "newer-kind"), "stored, goes nowhere: newer-kind"},
	} {
		if got := test.words.in(en); got != test.want {
			t.Errorf("%v: %q", test.words, got)
		}
	}
}

func TestNumbersAndAges(t *testing.T) {
	for want, got := range map[string]string{
		"1,234,567": number(en, 1234567), "1.234.567": number(vi, 1234567), "999": number(en, 999), "−1,000": number(en, -1000), "0": number(vi, 0),
		"0 s": age(en, 0), "119 s": age(en, 119), "2 min": age(en, 120), "119 phút": age(vi, 7199), "2 giờ": age(vi, 7200), "47 h": age(en, 47*3600), "2 ngày": age(vi, 48*3600),
		"512 B": size(en, 512), "1.5 KiB": size(en, 1536), "1,5 KiB": size(vi, 1536),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// --- the server

func TestServerStopsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- console(hospital()).Serve(ctx, l) }()
	answer, err := http.Get("http://" + l.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
	if answer.StatusCode != 200 {
		t.Error(answer.Status)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("it still listens")
	}
}

func TestServerBoundsConnectionsAndHeaders(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- console(hospital()).Serve(ctx, l) }()
	defer func() { cancel(); <-ended }()

	send := func(text string) (net.Conn, *bufio.Reader) {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		io.WriteString(c, text)
		return c, bufio.NewReader(c)
	}
	_, r := send("GET / HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n")
	if line, _ := r.ReadString('\n'); !strings.Contains(line, "431") {
		t.Errorf("64 KiB of header: %q", line)
	}

	const request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
	var open []net.Conn
	for i := range maxPerAddress - 1 { // the one above is open still
		c, r := send(request)
		if line, _ := r.ReadString('\n'); !strings.Contains(line, "200") {
			t.Fatalf("connection %d: %q", i, line)
		}
		open = append(open, c)
	}
	over, overReader := send(request)
	over.SetReadDeadline(time.Now().Add(10 * time.Second))
	if b, err := overReader.ReadByte(); err == nil {
		t.Errorf("one connection more than an address may have is answered: %q", b)
	}
	other := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}
	c, err := other.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Skip("only one loopback address here")
	}
	t.Cleanup(func() { c.Close() })
	io.WriteString(c, request)
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Errorf("another address: %q, %v", line, err)
	}
	for _, c := range open {
		c.Close()
	}
}

func TestUnchangedFilesAreNotSentAgain(t *testing.T) {
	c := console(hospital())
	tag := get(t, c, "/static/console.css").Header().Get("ETag")
	if w := get(t, c, "/static/console.css", "If-None-Match", tag); tag == "" || w.Code != 304 || w.Body.Len() != 0 {
		t.Error(tag, w.Code)
	}
}

func ExampleSay() {
	fmt.Println(Say(StateAbsent, "/dev/ttyUSB0").in(en))
	// Output: /dev/ttyUSB0 is not there: is the adapter plugged in?
}

// A page and the API say what is wrong with the link of an analyser, also that what was
// acknowledged to it does not get on, and how long its last message is back.
func TestConnectionsSayWhatIsWorthALook(t *testing.T) {
	f := hospital()
	f.status.Connections[0].Trouble = []Words{Say(TroubleNAK, "7"), Say(TroubleENQ, "2")}
	f.status.Held[0].Connection = f.status.Connections[0].Name
	f.status.Held[1].Connection = f.status.Connections[0].Name
	c := console(f)
	for lang, wants := range map[string][]string{
		"en": {"(7 NAK in a row)", "does not answer when we want to send (2 ENQ)", "do not get to lis: ", "are held: ", " ago<"},
		"vi": {"7 lần NAK", "2 lần ENQ", "chưa tới được lis: ", "bị giữ: ", " trước<"},
	} {
		body := get(t, c, "/?lang="+lang).Body.String()
		for _, want := range wants {
			if !strings.Contains(body, want) {
				t.Errorf("%s: no %q", lang, want)
			}
		}
	}
	var status struct {
		Connections []struct {
			Name        string
			State       string
			LastSeconds *int64 `json:"last_seconds"`
			Trouble     []struct{ Code, Words string }
		}
	}
	if err := json.Unmarshal(get(t, c, "/api/v1/status").Body.Bytes(), &status); err != nil {
		t.Fatal(err)
	}
	one := status.Connections[0]
	var codes []string
	for _, x := range one.Trouble {
		codes = append(codes, x.Code)
	}
	if want := []string{"trouble.nak", "trouble.enq", "trouble.held", "trouble.refused"}; !slices.Equal(codes, want) || one.State != "connected" || one.LastSeconds == nil {
		t.Errorf("%+v", one)
	}
}
