package console

import (
	"bytes"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"nhip/drivers/capture"
	"nhip/drivers/profile"
	"nhip/gateway/lis"
	"nhip/gateway/record"
)

type fakeBench struct{ all map[string]*profile.Profile }

func (b fakeBench) Profiles() map[string]*profile.Profile { return b.all }

func (b fakeBench) Message(r record.Report) ([]byte, error) {
	return lis.Results(r, lis.ResultOptions{ControlID: "X", Now: time.Date(2026, 1, 14, 8, 0, 0, 0, zone)})
}

// benched is a console with a workbench, and its log.
func benched(t testing.TB) (*Console, *bytes.Buffer) {
	all, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	log := new(bytes.Buffer)
	return New(Options{Source: hospital(), Zone: zone, Workbench: fakeBench{all}, Log: slog.New(slog.NewTextHandler(log, nil)),
		Person: func(token string) (string, bool) { return "Anna", token == "right" }}), log
}

// benchPost sends the form of the workbench.
func benchPost(t testing.TB, c *Console, lang string, file []byte, fields ...string) *httptest.ResponseRecorder {
	t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for i := 0; i+1 < len(fields); i += 2 {
		if err := form.WriteField(fields[i], fields[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	part, err := form.CreateFormFile("file", "x")
	if err != nil {
		t.Fatal(err)
	}
	part.Write(file)
	form.Close()
	r := httptest.NewRequest("POST", "http://localhost/workbench?lang="+lang, &body)
	r.Header.Set("Content-Type", form.FormDataContentType())
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w
}

// frames puts records into LIS01 frames; the second has a wrong checksum where bad.
func frames(bad bool, records ...string) string {
	var b strings.Builder
	b.WriteString("\x05")
	for i, r := range records {
		block := string(rune('0'+(i+1)%8)) + r + "\r\x03"
		var sum byte
		for _, c := range []byte(block) {
			sum += c
		}
		if bad && i == 1 {
			sum++
		}
		b.WriteString("\x02" + block + string("0123456789ABCDEF"[sum>>4]) + string("0123456789ABCDEF"[sum&15]) + "\r\n")
	}
	return b.String() + "\x04"
}

var xnRecords = []string{`H|\^&|||XN-550^00-24^11001^^^^AP807129||||||||E1394-97`, `P|1|||BN0012345|^NGUYEN^ANH||19850312|F`,
	`O|1||^^  2601140027^M|^^^^WBC\^^^^RBC|||||||N||||||||||||||F`, `R|1|^^^^WBC^1|6.41|10*3/uL||N||F||||20260114081500`, `L|1|N`}

func TestARecordingIsTakenApartOnTheWorkbench(t *testing.T) {
	c, log := benched(t)
	recording := []byte(frames(true, xnRecords...))
	for lang, wants := range map[string][]string{
		"en": {"<b>sysmex-xn-l</b> (by the sender)", "checksum is ", "checksum wrong", "checksum right", "2601140027", "R.3.5", "O.5(2).5", "universal test ID", "MSH|^~\\&amp;|", "6690-2", "<mark>"},
		"vi": {"<b>sysmex-xn-l</b> (theo bên gửi)", "checksum là ", "checksum sai", "checksum đúng", "mã xét nghiệm", "LIS sẽ nhận được như sau"},
	} {
		w := benchPost(t, c, lang, recording, "token", "right", "do", "decode")
		if w.Code != 200 {
			t.Fatalf("%s: %d %s", lang, w.Code, w.Body)
		}
		for _, want := range wants {
			if !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s: no %q", lang, want)
			}
		}
		if strings.Contains(w.Body.String(), `value="right"`) {
			t.Error("the token comes back")
		}
	}
	for _, secret := range []string{"NGUYEN", "BN0012345", "2601140027", "6.41"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log has %q: %s", secret, log)
		}
	}
}

// A browser writes CR LF for every line of a text area: the checksums of what is pasted
// are right all the same.
func TestWhatIsPastedIsReadAsItWas(t *testing.T) {
	c, _ := benched(t)
	pasted := strings.ReplaceAll(strings.ReplaceAll(frames(false, xnRecords...), "\r\n", "\n"), "\r", "\n")
	w := benchPost(t, c, "en", nil, "token", "right", "do", "decode", "text", strings.ReplaceAll(pasted, "\n", "\r\n"))
	if w.Code != 200 || !strings.Contains(w.Body.String(), "Nothing is wrong") || strings.Contains(w.Body.String(), "checksum wrong") {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
	hl7 := "\x0bMSH|^~\\&|A|B|||20260114||ORU^R01|1|P|2.3.1\r\nPID|1\r\n\x1c\r\n"
	if got := string(recordingOf(benchInput{Recording: []byte(hl7), Pasted: true})); got != strings.ReplaceAll(strings.TrimSuffix(hl7, "\r\n"), "\r\n", "\r")+"\r\n" {
		t.Errorf("%q", got)
	}
}

// Every transcript that the documentation of profiles has can be looked at, whatever the
// protocol, in both languages.
func TestWorkbenchReadsEveryForm(t *testing.T) {
	c, _ := benched(t)
	raw := frames(false, xnRecords...)
	var hex strings.Builder
	for i := range len(raw) {
		hex.WriteString(strings.ToUpper(string("0123456789abcdef"[raw[i]>>4]) + string("0123456789abcdef"[raw[i]&15]) + " "))
	}
	transcript := string(capture.Transcript(capture.Conversation{Chunks: []capture.Chunk{{From: capture.Device, Bytes: []byte(raw)}, {From: capture.Host, Bytes: []byte("\x06")}}}))
	for name, recording := range map[string]string{
		"raw": raw, "hex": hex.String(), "transcript": transcript, "bare": strings.Join(xnRecords, "\n") + "\n",
		"screen": "^E\n^B1" + xnRecords[0] + "^M^C00\n^B2" + xnRecords[4] + "^M^C00\n^D\n",
	} {
		for _, pasted := range []bool{true, false} {
			file, text := []byte(recording), ""
			if pasted {
				file, text = nil, recording
			}
			w := benchPost(t, c, "vi", file, "token", "right", "do", "decode", "text", text)
			if w.Code != 200 || !strings.Contains(w.Body.String(), "<b>sysmex-xn-l</b>") {
				t.Errorf("%s, pasted %v: %d %s", name, pasted, w.Code, w.Body)
			}
		}
	}
}

func TestTheWorkbenchRefuses(t *testing.T) {
	c, log := benched(t)
	good := frames(false, xnRecords...)
	for _, test := range []struct {
		name, file string
		fields     []string
		code       int
		says       string
	}{
		{"no token", good, []string{"do", "decode"}, 401, "Nobody has this token"},
		{"wrong token", good, []string{"token", "wrong", "do", "scrub"}, 401, "Nobody has this token"},
		{"nothing", "", []string{"token", "right", "do", "decode"}, 400, "nothing to read"},
		{"too long", strings.Repeat("x", maxRecording+1), []string{"token", "right", "do", "decode"}, 413, "nhip decode"},
		{"far too long", strings.Repeat("x", 3*maxRecording), []string{"token", "right", "do", "decode"}, 413, "nhip decode"},
		{"no records", "good morning", []string{"token", "right", "do", "decode"}, 422, "Neither records nor messages"},
		{"another protocol", good, []string{"token", "right", "do", "decode", "profile", "mindray-bc-5380"}, 422, "another protocol"},
		{"no such profile", good, []string{"token", "right", "do", "decode", "profile", "nobody"}, 422, "no such profile"},
		{"scrub of what cannot be read", "good morning", []string{"token", "right", "do", "scrub"}, 422, "Not scrubbed"},
	} {
		w := benchPost(t, c, "en", []byte(test.file), test.fields...)
		if w.Code != test.code || !strings.Contains(w.Body.String(), test.says) {
			t.Errorf("%s: %d: %s", test.name, w.Code, w.Body)
		}
		if strings.Contains(w.Body.String(), "2601140027") {
			t.Errorf("%s: the recording comes back", test.name)
		}
	}
	c.bench <- struct{}{}
	if w := benchPost(t, c, "en", []byte(good), "token", "right", "do", "decode"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("while another is read: %d", w.Code)
	}
	<-c.bench
	r := httptest.NewRequest("POST", "http://localhost/workbench", strings.NewReader("token=right&text=x"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	if c.ServeHTTP(w, r); w.Code != http.StatusBadRequest {
		t.Errorf("another form: %d", w.Code)
	}
	r = httptest.NewRequest("POST", "http://localhost/workbench", nil)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w = httptest.NewRecorder()
	if c.ServeHTTP(w, r); w.Code != http.StatusForbidden {
		t.Errorf("from another origin: %d", w.Code)
	}
	if strings.Contains(log.String(), "NGUYEN") {
		t.Error("the log has a name")
	}
	if w := get(t, console(hospital()), "/workbench"); w.Code != http.StatusNotFound {
		t.Errorf("without a workbench: %d", w.Code)
	}
}

func TestAScrubbedRecordingNamesNobody(t *testing.T) {
	c, _ := benched(t)
	w := benchPost(t, c, "en", []byte(frames(false, xnRecords...)), "token", "right", "do", "scrub")
	if w.Code != 200 || !strings.Contains(w.Header().Get("Content-Disposition"), "attachment") {
		t.Fatalf("%d %v: %s", w.Code, w.Header(), w.Body)
	}
	for _, secret := range []string{"NGUYEN", "ANH", "BN0012345", "2601140027", "19850312"} {
		if strings.Contains(w.Body.String(), secret) {
			t.Errorf("%q is still there: %s", secret, w.Body)
		}
	}
	if _, err := capture.Decode(w.Body.Bytes(), "auto", nil, nil); err != nil {
		t.Errorf("it cannot be read: %v", err)
	}
}

// Whatever is read, the page is whole, and what the recording says is escaped.
func FuzzWorkbench(f *testing.F) {
	c, _ := benched(f)
	f.Add([]byte(frames(true, xnRecords...)), "")
	f.Add([]byte("\x0bMSH|^~\\&|<script>|B\rOBX|1|ST|A^<b>||<i>x</i>\r\x1c\r"), "")
	f.Add([]byte("H|\\^&\nR|1|^^^<script>alert(1)</script>|1\nL|1\n"), "generic-astm")
	f.Add([]byte("^B1H|\\^&^M^C00\n"), "beckman-au")
	f.Fuzz(func(t *testing.T, recording []byte, id string) {
		w := benchPost(t, c, "en", recording, "token", "right", "do", "decode", "profile", id)
		body := w.Body.String()
		if w.Code >= 500 || !strings.HasSuffix(strings.TrimSpace(body), "</html>") || strings.Contains(body, "<script>") {
			t.Errorf("%d: %s", w.Code, body)
		}
	})
}
