package run

import (
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nhip/gateway/journal"
	"nhip/storage"
)

// What came and went is found on the running gateway, by the socket and by the
// console, with its bytes; a clock that is an hour wrong is shown and orders
// nothing.
func TestTheJournalOfARunningGateway(t *testing.T) {
	t.Parallel()
	lis := newLIS(t)
	s := wholeSite(t, lis, "")
	st := s.status()
	stamp := func(ahead time.Duration) string {
		return time.Now().Add(ahead).UTC().Format("20060102150405") + "+0000"
	}
	peer := newPeer(t, "127.0.0.1", st.Listen.HL7)
	message := strings.Replace(oru("J-1"), "20260114081500+0700", stamp(0), 1)
	if a := peer.send(t, message); field(a, "MSA-1") != "AA" {
		t.Fatalf("%q", a)
	}
	line := begin(t, st.Listen.Analyser["astm-1"])
	line.rest(t, strings.Replace(records("J-27"), "20260114081500", stamp(-time.Hour), 1))
	eventually(t, "all is delivered", func() bool { c := s.status().Counts; return c.Accepted == 2 && c.Queued == 0 })

	reader := journal.Running{Data: s.data}
	answered := func(reader journal.Reader) {
		t.Helper()
		for _, ref := range []string{"in/his/1", "in/astm-1/1", "out/lis/1"} {
			d, err := reader.Show(t.Context(), ref)
			if err != nil || len(d.Deliveries) != 1 {
				t.Fatalf("%s: %+v %v", ref, d, err)
			}
			x := d.Deliveries[0]
			id := x.Mark
			if x.Sent == "in/his/1" {
				id = "J-1"
			}
			if want := ackFor(id); string(x.Answer) != want || x.AnswerBytes != len(want) {
				t.Errorf("%s: the LIS answered %q, not %q", ref, want, x.Answer)
			}
		}
	}
	answered(reader)
	ctx := context.Background()
	page, err := reader.Search(ctx, journal.Query{Patient: "PT-770077"})
	if err != nil || len(page.Entries) != 2 || page.Entries[0].Ref != "in/astm-1/1" || page.Entries[1].Ref != "in/his/1" {
		t.Fatalf("%v %+v", err, page)
	}
	for _, q := range []journal.Query{{Specimen: "J-27"}, {Connection: "astm-1"}, {Connection: "astm-1", State: journal.Delivered, From: time.Now().Add(-time.Minute)}} {
		if page, err = reader.Search(ctx, q); err != nil || len(page.Entries) != 1 || page.Entries[0].Ref != "in/astm-1/1" {
			t.Errorf("%+v: %v %+v", q, err, page)
		}
	}
	if page, err = reader.Search(ctx, journal.Query{Specimen: "J-2"}); err != nil || len(page.Entries) != 0 {
		t.Errorf("a part of a specimen: %v %+v", err, page)
	}
	d, err := reader.Show(ctx, "in/astm-1/1")
	if err != nil || len(d.Sent) != 1 || d.Sent[0].Ref != "out/lis/1" || d.Deliveries[0].State != journal.Delivered || d.Subject != "J-27" {
		t.Errorf("%v %+v", err, d)
	}
	if b, err := reader.Bytes(ctx, "in/his/1"); err != nil || string(b) != message {
		t.Errorf("%v %q", err, b)
	}
	if b, err := reader.Bytes(ctx, "out/lis/1"); err != nil || !strings.Contains(string(b), "J-27") {
		t.Errorf("%v %q", err, b)
	}
	if _, err := reader.Show(ctx, "in/astm-1/2"); err == nil {
		t.Error("an entry that is not there is shown")
	}

	var api struct {
		Entries []struct {
			Ref        string
			States     []string
			Deliveries []struct{ Destination, State, Ref string }
		}
	}
	s.get("/api/v1/journal?specimen=J-27", &api)
	if len(api.Entries) != 1 || !slices.Equal(api.Entries[0].States, []string{"delivered"}) || api.Entries[0].Deliveries[0].Destination != "lis" {
		t.Errorf("%+v", api)
	}
	rsp, err := http.Get("http://" + s.console + "/api/v1/journal/in/his/1/raw")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(rsp.Body)
	rsp.Body.Close()
	if string(b) != message || rsp.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(rsp.Header.Get("Content-Disposition"), "attachment;") || !strings.HasPrefix(rsp.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("%v %q", rsp.Header, b)
	}

	var status struct {
		Connections []struct {
			Name  string
			Drift *float64 `json:"drift_seconds"`
		}
	}
	s.get("/api/v1/status", &status)
	for _, c := range status.Connections {
		switch c.Name {
		case "astm-1":
			if c.Drift == nil || *c.Drift < -3610 || *c.Drift > -3590 {
				t.Errorf("astm-1: drift %v", c.Drift)
			}
		case "his":
			if c.Drift == nil || *c.Drift < -10 || *c.Drift > 10 {
				t.Errorf("his: drift %v", c.Drift)
			}
		case "ct-1":
			if c.Drift != nil {
				t.Errorf("ct-1 told no time, and its drift is %v", *c.Drift)
			}
		}
	}

	// The same from the store, once no gateway runs.
	s.stop()
	if _, err := reader.Search(ctx, journal.Query{}); err == nil {
		t.Error("a gateway that has ended answers")
	}
	stopped, err := storage.Open(t.Context(), storage.Options{Dir: s.data, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer stopped.Close()
	answered(journal.Stopped{Journal: &journal.Journal{Store: stopped}})
}

// T35: patients and secrets are marked in everything that comes in by every
// protocol, in what a LIS answers and in what is asked of the journal; none of it
// is in the log or in the metrics, and no file of the data can be read by others.
func TestNoPatientAndNoSecretGetsOutAndFilesArePrivate(t *testing.T) {
	t.Parallel()
	address := freePorts(t, 1)[0]
	newJudge(t, address, func(m string) string { return "AE|" + field(m, "MSH-10") + "|BIMAT PT-770077 DIACHI" })
	s := newSite(t, analyserBlock("astm-1", "generic-astm", "tcp-listen://127.0.0.1:0", "")+
		analyserBlock("bc-1", "mindray-bc-5380", "mllp-listen://127.0.0.1:0", "")+
		"[[modality]]\nname = \"ct-1\"\nae_title = \"CT1\"\naddress = \"127.0.0.1\"\nto = []\n"+
		monitorBed+his+"[[destination]]\nname = \"lis\"\nkind = \"hl7\"\naddress = \""+address+"\"\n")
	st := s.status()
	newPeer(t, "127.0.0.1", st.Listen.HL7).send(t, oru("M-1"))
	newPeer(t, "127.0.0.1", st.Listen.HL7).send(t, strings.Replace(oru(""), "ORU^R01^ORU_R01", "BIMAT^DIACHI", 1))
	newPeer(t, "127.0.0.1", st.Listen.HL7).send(t, oru("")) // no control ID: held
	newPeer(t, "127.0.0.1", st.Listen.Analyser["bc-1"]).send(t, strings.Replace(oru("3"), "2.5.1", "2.3.1", 1))
	newPeer(t, "127.0.0.1", st.Listen.Monitor["bed-12"]).send(t, strings.Replace(pcd01, "\rOBR", "\rPID|1||PT-770077||TRAN^BIMAT\rOBR", 1))
	line := begin(t, st.Listen.Analyser["astm-1"])
	line.rest(t, records("PT-770077"))
	line = begin(t, st.Listen.Analyser["astm-1"])
	io.WriteString(line, "\x021H|\\^&|||BIMAT\rP|1||PT-770077||BIMAT\x03") // cut in the middle
	line.Close()
	ct := associated(t, "127.0.0.1", st.Listen.DICOM, "CT1")
	if code, comment := storeStatus(t, ct, "1.2.3.770077"); code != 0 {
		t.Errorf("%04X %s", code, comment)
	}
	c := dialFrom(t, "127.0.0.1", st.Listen.HL7)
	io.WriteString(c, "GET /BIMAT?PT-770077 HTTP/1.1\r\n\r\n")
	c.Close()
	eventually(t, "held", func() bool { return s.status().Counts.Held >= 2 && s.status().Counts.Queued == 0 })

	reader := journal.Running{Data: s.data}
	for _, q := range []journal.Query{{Patient: "PT-770077"}, {Specimen: "BIMAT", State: "DIACHI"}, {Order: strings.Repeat("BIMAT", 100)}} {
		reader.Search(t.Context(), q)
	}
	reader.Show(t.Context(), "in/BIMAT/1")
	for _, path := range []string{"/api/v1/journal?patient=PT-770077&state=BIMAT", "/journal?from=BIMAT&lang=en", "/journal/in/BIMAT/1", "/results?specimen=PT-770077", "/api/v1/journal/in/his/1"} {
		rsp, err := http.Get("http://" + s.console + path)
		if err != nil {
			t.Fatal(err)
		}
		rsp.Body.Close()
	}
	rsp, err := http.Get("http://" + s.console + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	metrics, _ := io.ReadAll(rsp.Body)
	rsp.Body.Close()
	if len(metrics) < 1000 {
		t.Errorf("%d bytes of metrics", len(metrics))
	}
	private(t, s.data)
	s.stop()
	private(t, s.data)
	marks := append(slices.Clone(patient), "mat-khau", "770077")
	for name, text := range map[string]string{"log": s.log.String(), "metrics": string(metrics)} {
		for _, mark := range marks {
			// A SOP Instance UID names an object in the log.
			if i := strings.Index(strings.ReplaceAll(text, "1.2.3.770077", "UID"), mark); i >= 0 {
				t.Errorf("%s is in the %s: …%s…", mark, name, text[max(0, i-150):min(len(text), i+100)])
			}
		}
	}
	// The marks were there to be found.
	again, err := storage.Open(t.Context(), storage.Options{Dir: s.data, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	whole := &journal.Journal{Store: again}
	page, err := whole.Search(t.Context(), journal.Query{Patient: "PT-770077"})
	if err != nil || len(page.Entries) < 3 {
		b, _ := json.Marshal(page)
		t.Errorf("%v %s", err, b)
	}
}

// private fails for what others than the owner may read.
func private(t *testing.T, dir string) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) { // the store has done with it
				return nil
			}
			return err
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		n++
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil || n < 5 {
		t.Errorf("%d files: %v", n, err)
	}
}
