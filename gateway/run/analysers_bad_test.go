package run

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"nhip/drivers/astm/e1381"
)

// framed is a message as one frame in a session of its own.
func framed(records string) []byte {
	b := []byte{e1381.ENQ}
	b = e1381.Frame{Text: []byte(records), End: e1381.ETX}.Append(b, 1)
	return append(b, e1381.EOT)
}

// TestResultsWithStrangeIdentifiers: blanks, a name, delimiters, control characters,
// 200 characters. Each result is with the LIS under the identifier as it was sent, or
// held with the reason; none is under another one, and none is lost.
func TestResultsWithStrangeIdentifiers(t *testing.T) {
	s, lis := analyserSite(t, &laboratory{}, tcp("test-astm"))
	c := s.plug("test-astm")
	ids := []string{"S 1", " S2 ", "NGUYEN VAN A 1980", "a&F&b", strings.Repeat("9", 200), "x&X07&y", "Nguyễn", "", "   ", "^^^"}
	for i, id := range ids {
		if _, err := c.Write(framed(fmt.Sprintf("H|\\^&\rP|1\rO|1|%s\rR|1|^^^GLU|%d.5|mmol/L\rL|1|N\r", id, i))); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 2)); err != nil { // ENQ and the frame, both ACK
			t.Fatal(err)
		}
	}
	eventually(t, "everything is with the LIS or held", func() bool {
		st := s.status()
		return st.Counts.Queued == 0 && st.Counts.Delivered+st.Counts.Held == int64(len(ids))
	})
	for i, id := range ids[:7] {
		want := map[string]string{" S2 ": "S2", "a&F&b": `a\F\b`, "x&X07&y": "x\ay"}[id]
		if want == "" {
			want = id
		}
		value := fmt.Sprintf("|%d.5|", i)
		at := slices.IndexFunc(lis.messages(), func(m string) bool { return strings.Contains(m, value) })
		if at < 0 {
			t.Errorf("%q: no message", id)
			continue
		}
		if obr := segmentOf(lis.messages()[at], "OBR"); !strings.HasPrefix(obr, "OBR|1||"+want+"|") {
			t.Errorf("%q: %.60q", id, obr)
		}
	}
	if held := s.heldBy("a-test-astm"); len(held) != 3 || !strings.Contains(held[0].Reason, "specimen") {
		t.Errorf("held: %+v", held)
	}
}

func segmentOf(message, name string) string {
	for s := range strings.SplitSeq(message, "\r") {
		if strings.HasPrefix(s, name) {
			return s
		}
	}
	return ""
}

// TestOULOf104kB: a message of 57 tests and 104 kB, in pieces of 2 kB.
func TestOULOf104kB(t *testing.T) {
	s, lis := analyserSite(t, &laboratory{}, map[string]string{"test-law": "mllp-listen://127.0.0.1:0"})
	c := s.plug("test-law")
	var b strings.Builder
	b.WriteString("\vMSH|^~\\&|BA|Bio|Host||20260114||OUL^R22^OUL_R22|big|P|2.5.1|||NE|AL||UNICODE UTF-8|||LAB-29^IHE\rSPM|1|S1||SER|||||||P\rSAC|||S1\r")
	for n := range 57 {
		fmt.Fprintf(&b, "OBR|%d|\"\"||T%d^^99TST\rOBX|1|NM|T%d^^99TST||%d.25|mmol/L|||||F|||||||20260114081500\rNTE|1||%s\r", n+1, n, n, n, strings.Repeat("x", 1750))
	}
	b.WriteString("\x1c\r")
	for piece := range slices.Chunk([]byte(b.String()), 2048) {
		if _, err := c.Write(piece); err != nil {
			t.Fatal(err)
		}
	}
	if got := readAll(t, c, "\x1c\r"); !strings.Contains(got, "\rMSA|AA|big") || b.Len() < 104_000 {
		t.Fatalf("%d bytes are answered %q", b.Len(), got)
	}
	eventually(t, "the LIS has it", func() bool { return len(lis.messages()) > 0 })
	var all string
	for _, m := range lis.messages() {
		all += m
	}
	for n := range 57 {
		if !strings.Contains(all, fmt.Sprintf("|%d.25|", n)) {
			t.Errorf("result %d is missing", n)
		}
	}
}

// TestTwoAnalysersOnOnePort: a second one that speaks while the first is in the middle
// of a message mixes nothing: both messages are whole, and what was cut is held.
func TestTwoAnalysersOnOnePort(t *testing.T) {
	s, lis := analyserSite(t, &laboratory{}, tcp("test-astm"))
	first, second := s.plug("test-astm"), s.plug("test-astm")
	write := func(c io.Writer, b []byte) {
		t.Helper()
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	answered := func(c io.Reader, n int) {
		t.Helper()
		b := make([]byte, n)
		if _, err := io.ReadFull(c, b); err != nil || strings.Trim(string(b), "\x06") != "" {
			t.Fatalf("%q %v", b, err)
		}
	}
	write(first, append([]byte{e1381.ENQ}, e1381.Frame{Text: []byte("H|\\^&\rP|1\rO|1|A1\rR|1|^^^GLU|1.1\r"), End: e1381.ETX}.Append(nil, 1)...))
	answered(first, 2)
	write(second, framed("H|\\^&\rP|1\rO|1|B2\rR|1|^^^GLU|2.2\rL|1|N\r"))
	answered(second, 2)
	write(first, append(e1381.Frame{Text: []byte("L|1|N\r"), End: e1381.ETX}.Append(nil, 2), e1381.EOT))
	answered(first, 1)
	eventually(t, "both are with the LIS", func() bool { return len(lis.messages()) == 2 })
	for specimen, value := range map[string]string{"A1": "1.1", "B2": "2.2"} {
		if !slices.ContainsFunc(lis.messages(), func(m string) bool {
			return strings.HasPrefix(segmentOf(m, "OBR"), "OBR|1||"+specimen+"|") && strings.Contains(segmentOf(m, "OBX"), "|"+value+"|")
		}) {
			t.Errorf("%s %s is missing in %q", specimen, value, lis.messages())
		}
	}
	// Switched off in the middle: nothing of it is a result, it is held with the reason.
	third := s.plug("test-astm")
	write(third, append([]byte{e1381.ENQ}, e1381.Frame{Text: []byte("H|\\^&\rP|1\rO|1|C3\rR|1|^^^GLU|3.3\r"), End: e1381.ETX}.Append(nil, 1)...))
	answered(third, 2)
	third.Close()
	eventually(t, "what came is held", func() bool { return len(s.heldBy("a-test-astm")) == 1 })
	if len(lis.messages()) != 2 {
		t.Errorf("%d messages", len(lis.messages()))
	}
}
