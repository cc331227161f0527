package run

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"nhip/gateway/control"
)

// secret stands in every identifier and text of these tests, and may stand nowhere but in
// the journal, the messages and what a person is shown of them.
const secret = "BIMAT"

// strangeIdentifiers are what operators and readers put where an identifier belongs, with
// what it reads.
var strangeIdentifiers = map[string]string{
	"S " + secret:                           "S " + secret,
	"   " + secret + "1   ":                 secret + "1",
	"TRAN VAN " + secret + " 1980":          "TRAN VAN " + secret + " 1980",
	"Nguyễn " + secret:                      "Nguyễn " + secret,
	"NGUY\xD4N " + secret:                   "NGUYÔN " + secret, // not UTF-8
	secret + "&X07&2":                       secret + "\a2",
	secret + "&F&&S&3":                      secret + "|^3",
	secret + "\x1B4":                        secret + "\x1B4",
	strings.Repeat(secret, 40):              strings.Repeat(secret, 40), // 200 characters
	strings.Repeat(secret+"0123 ", 500)[1:]: strings.TrimSpace(strings.Repeat(secret+"0123 ", 500)[1:]),
	"../" + secret + "%00<b>":               "../" + secret + "%00<b>",
}

// raw is an entry of the journal as it is shown to be downloaded.
func (s *site) raw(connection string, n int) string {
	s.t.Helper()
	rsp, err := http.Get(fmt.Sprintf("http://%s/api/v1/journal/in/%s/%d/raw", s.console, connection, n))
	if err != nil {
		s.t.Fatal(err)
	}
	defer rsp.Body.Close()
	b, err := io.ReadAll(rsp.Body)
	if err != nil || rsp.StatusCode != http.StatusOK {
		s.t.Fatalf("entry %d: %s %v", n, rsp.Status, err)
	}
	return string(b)
}

// quiet checks that nothing of a person is where it does not belong.
func (s *site) quietAbout(secret string) {
	s.t.Helper()
	if log := s.log.String(); strings.Contains(log, secret) {
		at := strings.Index(log, secret)
		s.t.Errorf("in the log: …%s…", log[max(0, at-200):min(len(log), at+80)])
	}
	for _, path := range []string{"/metrics", "/healthz"} {
		rsp, err := http.Get("http://" + s.console + path)
		if err != nil {
			s.t.Fatal(err)
		}
		b, _ := io.ReadAll(rsp.Body)
		rsp.Body.Close()
		if strings.Contains(string(b), secret) {
			s.t.Errorf("in %s", path)
		}
	}
}

// Every identifier from the wire to the hold: in the journal byte for byte, held by itself
// with the reason in words, never in a log; and when a person lets it go it is with the LIS
// as it was sent.
func TestStrangeIdentifiersAreHeldAndNeverLogged(t *testing.T) {
	t.Parallel()
	s, lis := twoWaySite(t, "required")
	c := s.plug("test-astm")
	ids := slices.Sorted(maps.Keys(strangeIdentifiers))
	var sent []string
	for i, id := range ids {
		records := fmt.Sprintf("H|\\^&\rP|1||%[2]s\rO|1|%[1]s\rR|1|^^^11|%[3]d.5|mmol/L||||F||%[2]s\rC|1|I|%[2]s\rL|1|N\r", id, secret, i)
		sent = append(sent, records)
		if _, err := c.Write(framed(records)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 2)); err != nil { // ENQ and the frame, both ACK
			t.Fatal(err)
		}
	}
	// Asked for by such an identifier: there is nothing, and nobody hears of it.
	if _, err := c.Write(framed("H|\\^&\rQ|1|^TRAN VAN " + secret + " 1980^^R5^3||ALL\rL|1|N\r")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all are held", func() bool { return s.status().Counts.Held == int64(len(ids)) })
	if n := len(lis.messages()); n != 0 {
		t.Errorf("%d messages went on", n)
	}
	for i, records := range sent {
		if got := s.raw("a-test-astm", i+1); got != records {
			t.Errorf("%q is in the journal as %q", records, got)
		}
	}
	held := s.heldBy("a-test-astm")
	for _, h := range held {
		if h.Reason == "" || strings.Contains(h.Reason, secret) {
			t.Errorf("reason %q", h.Reason)
		}
	}
	s.quietAbout(secret)

	// After a restart too, and when a person has looked at each.
	s.stop()
	s.start()
	if n := len(s.heldBy("a-test-astm")); n != len(ids) {
		t.Errorf("%d are held after a restart", n)
	}
	for _, h := range held {
		if err := control.Call(t.Context(), s.data, "Hoa", "release", ItemRequest{ID: h.ID, Reason: "looked at"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all are with the LIS", func() bool { return len(lis.messages()) == len(ids) })
	for i, id := range ids {
		m := lis.of(fmt.Sprintf("|%d.5|", i))
		if len(m) != 1 {
			t.Errorf("%q: %d messages", id, len(m))
			continue
		}
		want := strings.NewReplacer("|", `\F\`, "^", `\S\`, "&", `\T\`).Replace(strangeIdentifiers[id])
		if got := field(m[0], "OBR-3"); got != want {
			t.Errorf("%q is at the LIS as %.60q, want %.60q", id, got, want)
		}
	}
	s.quietAbout(secret)
}

// The same by the other protocols: each is with the LIS or held, and none in a log.
func TestStrangeIdentifiersOfOtherProtocols(t *testing.T) {
	t.Parallel()
	ports := map[string]string{"test-dsr": "mllp-listen://127.0.0.1:0", "test-au": "tcp-listen://127.0.0.1:0", "test-tokens": "tcp-listen://127.0.0.1:0"}
	s, lis := analyserSite(t, &laboratory{}, ports)
	hl7, au, tokens := s.plug("test-dsr"), s.plug("test-au"), s.plug("test-tokens")
	n := 0
	for _, id := range []string{"TRAN " + secret, "Nguyễn " + secret, "NGUY\xD4N " + secret, strings.Repeat(secret, 40)} {
		n++
		if _, err := fmt.Fprintf(hl7, "\vMSH|^~\\&|Mindray|BS|||20260114||ORU^R01|%d|P|2.3.1||||0||ASCII|||\rPID|1||%s||%s\rOBR|1||%s\rOBX|1|NM|11||1%d.5||||||F|||||||%s\r\x1c\r", n, id, id, id, n, id); err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, hl7, "\x1c\r"); !strings.Contains(got, "|AA|") {
			t.Fatal(got)
		}
		// A query by such an identifier; nothing is to do.
		if _, err := fmt.Fprintf(hl7, "\vMSH|^~\\&|Mindray|BS|||20260114||QRY^Q02|Q%d|P|2.3.1||||||ASCII|||\rQRD|20260114|R|D|2|||RD|%s|OTH|||T|\rQRF|BS|||||RCT|COR|ALL||\r\x1c\r", n, id); err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, hl7, "\x1c\r"); !strings.Contains(got, "QAK|SR|NF") {
			t.Fatal(got)
		}
	}
	for _, id := range []string{"TR " + secret, "\xA7\xE7 " + secret, "\x1B\x07 " + secret, "          "} {
		n++
		if _, err := fmt.Fprintf(au, "\x02D 000100 0001%-10s    E01%06d.r\x03", id, n); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(au, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"TRAN " + secret, "NGUY\xD4N " + secret} {
		n++
		if _, err := fmt.Fprintf(tokens, "\x05\x02H|\\^&\rP|1\rO|1|%s||^^^11\rR|1|^^^11|1%d.5\rL|1|N\r\x03\x04", id, n); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(tokens, make([]byte, 4)); err != nil { // ENQ, STX, ETX, EOT
			t.Fatal(err)
		}
	}
	eventually(t, "everything is with the LIS or held", func() bool {
		c := s.status().Counts
		return c.Queued == 0 && c.Delivered+c.Held == int64(n)
	})
	if held := len(s.heldBy("a-test-au")); held != 1 { // the one without an identifier
		t.Errorf("%d of AU are held", held)
	}
	if len(lis.messages()) == 0 {
		t.Error("nothing is with the LIS")
	}
	s.quietAbout(secret)
}

// A name that is no identifier leaves no trace of itself outside the journal even where
// the message is broken, comes from a stranger's hand, or the file is named after a patient.
func TestNamesInBrokenMessagesAreNotLogged(t *testing.T) {
	t.Parallel()
	s, _ := analyserSite(t, &laboratory{}, map[string]string{"test-astm": "tcp-listen://127.0.0.1:0", "test-dsr": "mllp-listen://127.0.0.1:0", "test-au": "tcp-listen://127.0.0.1:0"})
	for _, b := range []string{
		"\x05\x021H|\\^&\rP|1||" + secret + "\r\x0300\r\n\x04",                                     // a wrong checksum
		"\x05" + string(framed("P|1||" + secret + "\rX|" + secret + "\rL|1|" + secret + "\r")[1:]), // no header
		"\x05" + string(framed("H|\\^&\r" + secret + "|1\rO|1|" + secret + "\rR|1|^^^" + secret + "|1|" + secret + "||||" + secret + "\rL|1|N\r")[1:]),
		secret + "\r\n" + secret,
	} {
		c := s.plug("test-astm")
		if _, err := io.WriteString(c, b); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	for profile, b := range map[string]string{
		"test-dsr": "\v" + secret + "|x\x1c\r\vMSH|^~\\&|" + secret + "|||" + secret + "|2026||" + secret + "^" + secret + "|1|" + secret + "|" + secret + "|" + secret + "\r\x1c\r",
		"test-au":  "\x02" + secret + "\x03\x02D " + secret + "\x03\x02R " + secret + "\x03",
	} {
		c := s.plug(profile)
		if _, err := io.WriteString(c, b); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	eventually(t, "what came is stored and settled", func() bool {
		c := s.status().Counts
		return c.Accepted >= 3 && c.Queued == 0
	})
	s.quietAbout(secret)
	if _, err := os.Stat(s.data); err != nil {
		t.Fatal(err)
	}
}
