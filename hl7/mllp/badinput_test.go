package mllp

import (
	"strings"
	"testing"

	"nhip/hl7"
	"nhip/hl7/ack"
)

// Inputs that have broken other receivers, each over a socket: the answers in order,
// as code and MSA-2, and a good message behind it that is still answered; or the
// reason for which the connection is closed.
func TestBadInputs(t *testing.T) {
	head := func(charset string) string {
		return strings.Replace(oru("1"), "|P|2.5.1|||||\r", "|P|2.5.1||||||"+charset+"\r", 1)
	}
	long := strings.Repeat("9", 250)
	for _, c := range []struct {
		name, bytes string
		answers     string // comma between them; " " before what ERR-3 says
		closed      error
	}{
		{"no VT", oru("1") + fs + "\r", "", nil},
		{"FS without CR", vt + oru("1") + fs, "AA 1", nil},
		{"VT inside", vt + "MSH|^~\\&|half" + frame(oru("1")), "AA 1", nil},
		{"FS inside", vt + oru("1") + "OBX|1|TX|x||a" + fs + "b\r" + fs + "\r", "AA 1", nil},
		{"three in one write", frame(oru("1")) + frame(oru("2")) + frame(oru("3")), "AA 1,AA 2,AA 3", nil},
		{"empty frame", frame(""), "", nil},
		{"HTTP", "POST / HTTP/1.1\r\nHost: SECRET\r\n\r\n", "", ErrForeign},
		{"TLS", "\x16\x03\x03\x00\xF4\x01\x00", "", ErrForeign},
		{"byte order mark", frame("\xEF\xBB\xBF" + oru("1")), "AA 1", nil},
		{"UTF-16", frame("\xFF\xFEM\x00S\x00H\x00|\x00"), "", ErrNotHL7},
		{"wrong charset", frame(head("UNICODE UTF-8") + "PID|1||x||Nguy\xD4n\r"), "AA 1", nil},
		{"unknown charset", frame(head("8859/99") + "PID|1||x||Nguy\xD4n\r"), "AA 1", nil},
		{"cut multibyte before a delimiter", frame(head("UNICODE UTF-8") + "PID|1||x||Nguy\xE1\xBB|M\r"), "AA 1", nil},
		{"NUL and controls", frame(oru("1") + "NTE|1||a\x00b\x01\x07\x1B[2J\x7F\r"), "AA 1", nil},
		{"lower-case names", frame(strings.NewReplacer("MSH", "msh", "PID", "pid").Replace(oru("1"))), "AA 1", nil},
		{"MSH alone", frame("MSH|^~\\&|"), "AE  101", nil},
		{"MSH of three fields", frame("MSH|^~\\&|A|B\r"), "AE  101", nil},
		{"only MSH", frame("MSH"), "", ErrNotHL7},
		{"MSH-2 empty", frame("MSH||A||B||||ORU^R01|1|P|2.5.1\r"), "closed", nil},
		{"MSH-2 of one", frame("MSH|^|A||B||2026||ORU^R01|1|P|2.5.1\r"), "AA 1", nil},
		{"MSH-2 of three", frame("MSH|^~\\|A||B||2026||ORU^R01|1|P|2.5.1\r"), "AA 1", nil},
		{"MSH-2 of five", frame("MSH|^~\\&#|A||B||2026||ORU^R01|1|P|2.7\r"), "AA 1", nil},
		{"MSH-2 of six", frame("MSH|^~\\&#!|A||B||2026||ORU^R01|1|P|2.7\r"), "closed", nil},
		{"a letter for a delimiter", frame("MSHx^~\\&xAxxBx"), "", ErrNotHL7},
		{"a digit for a delimiter", frame("MSH|^~0&|A||B||2026||ORU^R01|1|P|2.5.1\r"), "closed", nil},
		{"CR for a delimiter", frame("MSH\r^~\\&\rA\r"), "closed", nil},
		{"the same delimiter twice", frame("MSH|^^^^|A||B||2026||ORU^R01|1|P|2.5.1\r"), "AA 1", nil},
		{"40,000 components", frame(oru("1") + "OBX|1|ST|x||" + strings.Repeat("a^", 40_000) + "\r"), "AA 1", nil},
		{"20,000 fields", frame(oru("1") + "ZZZ" + strings.Repeat("|a", 20_000) + "\r"), "AA 1", nil},
		{"over the limit of fields", frame(oru("1") + "ZZZ" + strings.Repeat("|", 150_000) + "\r"), "AE 1 100", nil},
		{"5,000 OBX", frame(oru("1") + strings.Repeat("OBX|1|NM|x||1\r", 5000)), "AA 1", nil},
		{"Base64 with CRLF inside", frame(oru("1") + "OBX|1|ED|x||^^PDF^Base64^" + strings.Repeat("QUJD\r\n", 1000) + "\r"), "AA 1", nil},
		{"escapes that do not end, and unknown ones", frame(oru("1") + `NTE|1||\X|\.sp|\Zx\ \C2842\ \X0\` + "\r"), "AA 1", nil},
		{"an escape that would end the segment", frame(oru("1") + `NTE|1||a\X0D\MSH|^~\X1C\` + "\r"), "AA 1", nil},
		{"MSH-10 empty", frame(oru("")), "AE  101", nil},
		{"MSH-10 twice the same", frame(oru("1")) + frame(oru("1")), "AA 1,AA 1", nil},
		{"MSH-10 of 250 characters", frame(oru(long)), "AA " + long, nil},
		{"MSH-10 with quotes", frame(oru(`"a' OR 1=1`)), `AA "a' OR 1=1`, nil},
		{"two messages in one frame", frame(oru("1") + oru("2")), "AE 1 100", nil},
		{"a batch in a frame", frame("FHS|^~\\&\rBHS|^~\\&\r" + oru("1") + "BTS|1\rFTS|1\r"), "", ErrNotHL7},
		{"an acknowledgement on the input side", frame(msh("ACK^R01^ACK", "1", "2.5.1", "", "") + "MSA|AA|9\r"), "", nil},
		{"an acknowledgement without MSA-2", frame("MSH|^~\\&|||||||ACK||P|2.5\rMSA|AR||không\r"), "", nil},
		{"unknown type", frame(msh("XXX^Z99", "1", "2.5.1", "", "")), "AR 1 200", nil},
		{"unknown version", frame(msh("ORU^R01", "1", "9.9", "", "")), "AR 1 203", nil},
		{"XML", frame("<?xml version=\"1.0\"?><!DOCTYPE x SYSTEM \"file:///SECRET\"><ORU_R01/>"), "", ErrNotHL7},
		{"JSON", frame("{\"resourceType\":\"Bundle\"}"), "", ErrNotHL7},
		{"what hangs nHapi", frame("MSH|^|||||||^A|||2.2\r^AA"), "AE  100", nil},
		{"text after MSH that is no segment", frame(oru("1")[:strings.Index(oru("1"), "\r")] + "\rhello\r"), "AE 1 100", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := listen(t)
			s := dial(t, r)
			s.write(t, c.bytes)
			if c.closed != nil {
				r.closed(t, s, c.closed)
				return
			}
			if c.answers == "closed" {
				s.CloseWrite()
				s.noMoreOrClosed(t)
				return
			}
			for _, want := range strings.Split(c.answers, ",") {
				if want == "" {
					continue
				}
				a := s.answer(t)
				got := string(a.Code) + " " + a.MessageControlID
				if len(a.Errors) > 0 {
					got += " " + a.Errors[0].Code
				}
				if got != want {
					t.Errorf("%.60s, want %.60s", got, want)
				}
			}
			s.write(t, frame(oru("last")))
			s.expect(t, "AA last")
			s.noMore(t)
		})
	}
}

// noMoreOrClosed checks that nothing is answered; the receiver may answer by closing.
func (s *sender) noMoreOrClosed(t *testing.T) {
	t.Helper()
	b := make([]byte, 100)
	if n, err := s.Read(b); n > 0 || err == nil {
		t.Errorf("answered %q", b[:n])
	}
}

// Answers that a client must not count, as the peer of a sender gives them.
func TestBadAnswers(t *testing.T) {
	m, err := hl7.Parse([]byte(oru("1")))
	if err != nil {
		t.Fatal(err)
	}
	answer := func(text string) string { return "MSH|^~\\&|L||L||2026||ACK^R01^ACK|9|P|2.5.1\r" + text }
	for _, c := range []struct{ name, answer, state string }{
		{"for another message", answer("MSA|AA|2\r"), "waiting"},
		{"without MSA-2", answer("MSA|AA|\r"), "waiting"},
		{"a refusal without MSA-2", "MSH|^~\\&|||||||ACK||P|2.5\rMSA|AR||không\r", "waiting"},
		{"AA with an error behind it", answer("MSA|AA|1\rERR||PID^1^3|101|W\r"), "accepted"},
		{"case counts", answer("MSA|aa|1\r"), "waiting"},
		{"no code", answer("MSA||1\r"), "waiting"},
		{"MSA-2 with blanks", answer("MSA|AA|1 \r"), "waiting"},
		{"two MSA, the first counts", answer("MSA|AE|1\rMSA|AA|1\r"), "refused"},
		{"no MSA", answer(""), "no answer"},
		{"a page", "<html>MSA|AA|1</html>", "no answer"},
		{"our own message", oru("1"), "no answer"},
		{"AA in a text", answer("NTE|1||\rMSA|AA|2\rNTE|2||MSA|AA|1\r"), "waiting"},
	} {
		a, err := hl7.ParseAck([]byte(c.answer))
		got := "no answer"
		if err == nil {
			x, _ := ack.NewExchange(m, ack.ByMessage).Received(a)
			got = map[ack.State]string{ack.Waiting: "waiting", ack.Accepted: "accepted", ack.Refused: "refused"}[x.State]
		}
		if got != c.state {
			t.Errorf("%s: %s, want %s", c.name, got, c.state)
		}
	}
}
