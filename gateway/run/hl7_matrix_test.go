package run

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"nhip/hl7"
)

// systemBlock is an [[hl7_peer]] that says an application of its own.
func systemBlock(name, more string) string {
	return fmt.Sprintf("[[hl7_peer]]\nname = %q\naddress = \"127.0.0.1\"\napplication = %q\n%s\n", name, strings.ToUpper(name), more)
}

// saying is a message of an application with MSH-9, MSH-10, MSH-12, MSH-15 and MSH-16.
func saying(application, kind, id, version, accept, answer string) string {
	return fmt.Sprintf("MSH|^~\\&|%s|BV|NHIP|BV|20260114081500+0700||%s|%s|P|%s|||%s|%s||UNICODE UTF-8\rPID|1||PT-770077||TRAN^BIMAT\r", application, kind, id, version, accept, answer)
}

// until are the answers before the one to a message with that control ID.
func (p *mllpPeer) until(t *testing.T, id string) (all []string) {
	t.Helper()
	for {
		a := p.answer(t)
		if field(a, "MSA-2") == id {
			return all
		}
		all = append(all, a)
	}
}

// The whole matrix of MSH-15 and MSH-16 (reference, "Acknowledgement"), for a message
// that is good, one that is held and one that is refused.
var acknowledgements = []struct{ accept, answer, good, held, refused string }{
	{"", "", "AA", "AE", "AR"},
	{"NE", "NE", "", "", ""},
	{"AL", "NE", "CA", "CA", "CR"}, {"SU", "NE", "CA", "CA", ""}, {"ER", "NE", "", "", "CR"},
	{"NE", "AL", "AA", "AE", "AR"}, {"NE", "SU", "AA", "", ""}, {"NE", "ER", "", "AE", "AR"},
	{"AL", "AL", "CA AA", "CA AE", "CR"}, {"AL", "SU", "CA AA", "CA", "CR"}, {"AL", "ER", "CA", "CA AE", "CR"},
	{"SU", "AL", "CA AA", "CA AE", "AR"}, {"SU", "SU", "CA AA", "CA", ""}, {"SU", "ER", "CA", "CA AE", "AR"},
	{"ER", "AL", "AA", "AE", "CR"}, {"ER", "SU", "AA", "", "CR"}, {"ER", "ER", "", "AE", "CR"},
	{"AL", "", "CA", "CA", "CR"}, {"", "AL", "AA", "AE", "AR"}, {"??", "", "AA", "AE", "AR"},
}

func TestTheAcknowledgementMatrixOfALink(t *testing.T) {
	t.Parallel()
	fixed := map[string][3]string{
		"original": {"AA", "AE", "AR"}, "accept": {"CA", "CA", "CR"}, "application": {"AA", "AE", "AR"}, "both": {"CA AA", "CA AE", "CR"}, "none": {"", "", ""},
	}
	blocks := systemBlock("message", "") + systemBlock("marker", `acknowledge = "original"`)
	for mode := range fixed {
		blocks += systemBlock(mode, fmt.Sprintf("acknowledge = %q", mode))
	}
	s := newSite(t, blocks)
	p := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	n := 0
	for _, mode := range []string{"message", "original", "accept", "application", "both", "none"} {
		for _, c := range acknowledgements {
			want := [3]string{c.good, c.held, c.refused}
			if w, ok := fixed[mode]; ok {
				want = w
			}
			for i, message := range []string{"ORU^R01^ORU_R01", "ORU^R01^ORU_R01", "XXX^Z99"} {
				n++
				id, marker := fmt.Sprint("M", n), fmt.Sprint("MARK", n)
				if i == 1 {
					id = ""
				}
				got, all := "", ""
				fmt.Fprintf(p, "\x0b%sNTE|%d\r\x1c\r", saying(strings.ToUpper(mode), message, id, "2.5.1", c.accept, c.answer), n)
				fmt.Fprintf(p, "\x0b%s\x1c\r", saying("MARKER", "ORU^R01^ORU_R01", marker, "2.5.1", "", ""))
				for _, a := range p.until(t, marker) {
					got, all = strings.TrimSpace(got+" "+field(a, "MSA-1")), all+a
					if field(a, "MSA-2") != id || field(a, "MSH-18") != "UNICODE UTF-8" || field(a, "MSH-5") != strings.ToUpper(mode) || field(a, "MSH-3") != "NHIP" {
						t.Errorf("%q", a)
					}
				}
				if got != want[i] {
					t.Errorf("%s, MSH-15 %q, MSH-16 %q, message %d: %q, want %q\n%q", mode, c.accept, c.answer, i, got, want[i], all)
				}
			}
		}
	}
}

// An order or query is answered with the message that the standard has for it.
func TestTheAnswerIsOfTheRightType(t *testing.T) {
	t.Parallel()
	s := newSite(t, systemBlock("his", "")+systemBlock("old", `answer = "general"`))
	p := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	for i, c := range []struct{ sent, version, want, code string }{
		{"OML^O21^OML_O21", "2.5.1", "ORL^O22^ORL_O22", ""}, {"OML^O33^OML_O33", "2.5.1", "ORL^O34^ORL_O34", ""}, {"OML^O35^OML_O35", "2.5.1", "ORL^O36^ORL_O36", ""},
		{"OMI^O23^OMI_O23", "2.7", "ORI^O24^ORI_O24", ""}, {"ORM^O01", "2.3", "ORR^O02", ""}, {"ORM^O01^ORM_O01", "2.5.1", "ORR^O02^ORR_O02", ""},
		{"OMG^O19^OMG_O19", "2.5.1", "ORG^O20^ORG_O20", ""}, {"OUL^R22^OUL_R22", "2.5.1", "ACK^R22^ACK", "AA"}, {"ORU^R01^ORU_R01", "2.5.1", "ACK^R01^ACK", "AA"},
		{"ORU^R30^ORU_R30", "2.5.1", "ACK^R33^ACK", "AA"}, {"ORU^R01", "2.2", "ACK", "AA"}, {"ADT^A08", "2.3", "ACK^A08", ""}, {"QBP^Q11^QBP_Q11", "2.5.1", "RSP^K11^RSP_K11", ""},
	} {
		for _, application := range []string{"HIS", "OLD"} {
			id := fmt.Sprint(application, i)
			a := p.send(t, saying(application, c.sent, id, c.version, "", "")+"QPD|Q11^x|T"+id+"\r")
			want := c.want
			if application == "OLD" && (!strings.HasPrefix(want, "ACK") || strings.HasPrefix(c.sent, "ORU^R30")) {
				want = "ACK^" + strings.Split(c.sent, "^")[1] + map[bool]string{true: "", false: "^ACK"}[c.version == "2.3"]
			}
			if got := field(a, "MSH-9"); got != want || field(a, "MSA-2") != id || c.code != "" && field(a, "MSA-1") != c.code || field(a, "MSH-12") != c.version {
				t.Errorf("%s of %s is answered %q, want %s", c.sent, application, a, want)
			}
			if strings.HasPrefix(want, "RSP") && (field(a, "QAK-1") != "T"+id || field(a, "QPD-2") != "T"+id) {
				t.Errorf("a query is answered %q", a)
			}
		}
	}
}

// Every row of the reference's torture table.
func TestTheTortureTable(t *testing.T) {
	t.Parallel()
	s := newSite(t, systemBlock("his", "")+systemBlock("ris", "acknowledges = [\"his2\"]\n[[destination]]\nname = \"his2\"\nkind = \"hl7\"\nmode = \"enhanced\"\naddress = \"127.0.0.1:9\"")+
		analyserBlock("bc-1", "mindray-bc-5380", "mllp-listen://127.0.0.1:0", "")+newLIS(t).block())
	shared, device := s.status().Listen.HL7, s.status().Listen.Analyser["bc-1"]
	frame := func(m string) string { return "\x0b" + m + "\x1c\r" }
	m := func(id string) string { return saying("HIS", "ORU^R01^ORU_R01", id, "2.5.1", "", "") }
	for _, c := range []struct {
		name, address string
		writes        []string
		want          []string // MSA-1 and MSA-2 of the answers, and what stands in them
	}{
		{"two messages in turn", shared, []string{frame(m("A1")), frame(m("A2"))}, []string{"AA A1", "AA A2"}},
		{"three frames in one write", shared, []string{frame(m("B1")) + frame(m("B2")) + frame(m("B3"))}, []string{"AA B1", "AA B2", "AA B3"}},
		{"FS, CR in two packets", shared, []string{strings.TrimSuffix(frame(m("C1")), "\r"), "\r"}, []string{"AA C1"}},
		{"junk before VT", shared, []string{"junk\r\n" + frame(m("D1"))}, []string{"AA D1"}},
		{"FS without CR, then the next frame", shared, []string{strings.TrimSuffix(frame(m("E1")), "\r") + frame(m("E2"))}, []string{"AA E1", "AA E2"}},
		{"MSH-10 empty, of a system", shared, []string{frame(m(""))}, []string{"AE  |101^"}},
		{"MSH-10 empty, of a device", device, []string{frame(m(""))}, []string{"AA "}},
		{"other delimiters", shared, []string{frame("MSH#*!\\%#HIS#BV#NHIP##20260114##ORU*R01*ORU_R01#F1#P#2.5.1\rPID#1\r")}, []string{"#F1 MSH#*!\\%#NHIP##HIS#BV#"}},
		{"NE/NE: no answer; AL/NE: CA", shared, []string{frame(saying("HIS", "ORU^R01", "G1", "2.5.1", "NE", "NE")) + frame(saying("HIS", "ORU^R01", "G2", "2.5.1", "AL", "NE"))}, []string{"CA G2"}},
		{"an acknowledgement of an acknowledgement", shared, []string{frame(saying("HIS", "ACK^R01^ACK", "H1", "2.5.1", "AL", "AL")+"MSA|AA|X\r") + frame(saying("RIS", "ACK^R01^ACK", "H2", "2.5.1", "NE", "AL")+"MSA|AA|X\r") +
			frame(saying("RIS", "ACK^R01^ACK", "H3", "2.5.1", "AL", "AL")+"MSA|CA|X\r") + frame(saying("RIS", "ACK^R01^ACK", "H4", "2.5.1", "AL", "AL")+"MSA|AA|X\r")}, []string{"CE H4 |204^"}},
		{"an unknown type", shared, []string{frame(saying("HIS", "XXX^Z99", "I1", "2.5.1", "", ""))}, []string{"AR I1 |200^"}},
		{"an unknown version", shared, []string{frame(saying("HIS", "ORU^R01", "J1", "9.9", "", ""))}, []string{"AR J1 |203^"}},
		{"HELLO", shared, []string{frame("HELLO")}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t, "127.0.0.1", c.address)
			p.Conn.(*net.TCPConn).SetNoDelay(true)
			for _, w := range c.writes {
				if _, err := p.Write([]byte(w)); err != nil {
					t.Fatal(err)
				}
			}
			if c.want == nil {
				if b := closedByPeer(t, p); len(b) > 0 {
					t.Errorf("answered %q", b)
				}
				return
			}
			p.Write([]byte(frame(m("LAST"))))
			var got []string
			for {
				a := p.answer(t)
				if field(a, "MSA-2") == "LAST" {
					break
				}
				got = append(got, a)
			}
			if len(got) != len(c.want) {
				t.Fatalf("%d answers, want %d: %q", len(got), len(c.want), got)
			}
			for i, want := range c.want {
				f := strings.SplitN(want, " ", 3)
				if f[0][0] != '#' && (field(got[i], "MSA-1") != f[0] || field(got[i], "MSA-2") != f[1]) || len(f) > 2 && !strings.Contains(got[i], f[2]) {
					t.Errorf("answered %q, want %s", got[i], want)
				}
				if f[0][0] == '#' && (!strings.Contains(got[i], "MSA#AA"+f[0]) || !strings.HasPrefix(got[i], f[1])) {
					t.Errorf("answered %q, want %s", got[i], want)
				}
			}
		})
	}
}

// The bad inputs of the reference, sent to the gateway: what is answered, and a good
// message behind it on the same or another connection. What stands on the wire is
// tested in package mllp; here, that nothing of it is taken for what it is not, and
// that all of it stays in the sum.
func TestBadInputsOfALink(t *testing.T) {
	t.Parallel()
	s := newSite(t, "[hl7]\nlisten = \"127.0.0.1:0\"\nmax_message = \"8 MiB\"\n"+systemBlock("his", ""))
	shared := s.status().Listen.HL7
	frame := func(m string) string { return "\x0b" + m + "\x1c\r" }
	good := func(id string) string { return saying("HIS", "ORU^R01^ORU_R01", id, "2.5.1", "", "") }
	long, big := strings.Repeat("9", 250), strings.Repeat("QUJD", 1<<18)
	closes := "closed"
	for i, c := range []struct{ name, bytes, want string }{
		{"no VT", good("x") + "\x1c\r", ""},
		{"VT inside", "\x0bMSH|^~\\&|half" + frame(good("1")), "AA 1"},
		{"one byte at a time", frame(good("2")), "AA 2"},
		{"HTTP", "POST / HTTP/1.1\r\nHost: x\r\n\r\n", closes},
		{"TLS", "\x16\x03\x03\x00\xF4\x01\x00", closes},
		{"empty frame", frame(""), ""},
		{"byte order mark", frame("\xEF\xBB\xBF" + good("3")), "AA 3"},
		{"UTF-16", frame("\xFF\xFEM\x00S\x00H\x00|\x00"), closes},
		{"wrong charset", frame(good("4") + "NTE|1||Nguy\xD4n\r"), "AA 4"},
		{"cut multibyte", frame(good("5") + "NTE|1||Nguy\xE1\xBB|M\r"), "AA 5"},
		{"unknown charset", frame(strings.Replace(good("6"), "UNICODE UTF-8", "KLINGON", 1)), "AA 6"},
		{"NUL and controls", frame(good("7") + "NTE|1||a\x00b\x01\x07\x1B[2J\x7F\r"), "AA 7"},
		{"lower-case names", frame(strings.NewReplacer("MSH", "msh", "PID", "pid").Replace(good("8"))), "AA 8"},
		{"MSH-2 empty", frame("MSH||HIS||B||||ORU^R01|1|P|2.5.1\r"), closes},
		{"MSH-2 of one", frame("MSH|^|HIS|BV|B||2026||ORU^R01|9|P|2.5.1\r"), "AA 9"},
		{"MSH-2 of five", frame("MSH|^~\\&#|HIS|BV|B||2026||ORU^R01|10|P|2.7\r"), "AA 10"},
		{"a letter for a delimiter", frame("MSHx^~\\&xHISxxBx"), closes},
		{"MSH of three fields", frame("MSH|^~\\&|HIS|BV\r"), "AR "},
		{"40,000 components", frame(good("11") + "OBX|1|ST|x||" + strings.Repeat("a^", 40_000) + "\r"), "AA 11"},
		{"20,000 fields", frame(good("12") + "ZZZ" + strings.Repeat("|a", 20_000) + "\r"), "AA 12"},
		{"5,000 OBX", frame(good("13") + strings.Repeat("OBX|1|NM|x||1\r", 5000)), "AA 13"},
		{"a megabyte of Base64", frame(good("14") + "OBX|1|ED|x||^^PDF^Base64^" + big + "\r"), "AA 14"},
		{"Base64 with CRLF inside", frame(good("15") + "OBX|1|ED|x||^^PDF^Base64^" + strings.Repeat("QUJD\r\n", 1000) + "\r"), "AA 15"},
		{"over the limit", frame(good("16") + "OBX|1|ED|x||^^PDF^Base64^" + strings.Repeat(big, 9) + "\r"), "AR 16 207 " + closes},
		{"escapes that do not end", frame(good("17") + `NTE|1||\X|\.sp|\Zx\ \C2842\ \X0\` + "\r"), "AA 17"},
		{"an escape that would end the segment", frame(good("18") + `NTE|1||a\X0D\MSH|^~\X1C\` + "\r"), "AA 18"},
		{"MSH-10 of 250 characters", frame(good(long)), "AA " + long},
		{"MSH-10 with quotes", frame(good(`"a' OR 1=1`)), `AA "a' OR 1=1`},
		{"the same MSH-10, other content", frame(good("2") + "NTE|1\r"), "AA 2"},
		{"two messages in one frame", frame(good("19") + good("20")), "AR 19 100"},
		{"a file whose counts are wrong", frame("FHS|^~\\&\rBHS|^~\\&\r" + good("21") + "BTS|7\rFTS|9\r"), "AA 21"},
		{"an acknowledgement without MSA-2", frame("MSH|^~\\&|HIS|BV|||||ACK||P|2.5\rMSA|AR||không\r"), ""},
		{"XML", frame("<?xml version=\"1.0\"?><!DOCTYPE x SYSTEM \"file:///etc/passwd\"><ORU_R01/>"), closes},
		{"JSON", frame("{\"resourceType\":\"Bundle\"}"), closes},
		{"what hangs nHapi", frame("MSH|^|||||||^A|||2.2\r^AA"), closes},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t, "127.0.0.1", shared)
			if c.name == "one byte at a time" {
				for j := range len(c.bytes) {
					p.Write([]byte{c.bytes[j]})
				}
			} else {
				p.Write([]byte(c.bytes)) // the gateway may have closed before the end
			}
			if want, ok := strings.CutSuffix(c.want, closes); ok {
				if b := string(closedByPeer(t, p)); strings.TrimSpace(want) == "" && b != "" || !saysAll(b, want) {
					t.Errorf("answered %q, want %q", b, want)
				}
				p = newPeer(t, "127.0.0.1", shared)
			}
			marker := fmt.Sprint("LAST", i)
			p.Write([]byte(frame(good(marker))))
			var got []string
			for {
				a := p.answer(t)
				if field(a, "MSA-2") == marker {
					break
				}
				got = append(got, a)
			}
			if strings.HasSuffix(c.want, closes) || c.want == "" {
				if len(got) > 0 {
					t.Errorf("answered %q", got)
				}
				return
			}
			if len(got) != 1 || !saysAll(got[0], c.want) {
				t.Errorf("answered %.300q, want %.80s", got, c.want)
			}
		})
	}
	eventually(t, "the sum is right", func() bool {
		n := s.status().Counts
		return n.Queued == 0 && n.Accepted == n.Delivered+n.Queued+n.Held+n.Discarded+n.Expired+n.Consumed
	})
}

// saysAll says whether an answer has the code, MSA-2 and ERR-3 of a text.
func saysAll(answer, want string) bool {
	f := strings.SplitN(strings.TrimSpace(want)+"  ", " ", 2)
	if f[0] == "" {
		return true
	}
	for _, m := range hl7.Split([]byte(strings.Trim(answer, "\x0b\x1c\r"))) {
		a, err := hl7.ParseAck(m)
		if err != nil || string(a.Code) != f[0] {
			continue
		}
		rest := strings.TrimSpace(f[1])
		if rest == a.MessageControlID {
			return true
		}
		if len(a.Errors) > 0 && rest == strings.TrimSpace(a.MessageControlID+" "+a.Errors[0].Code) {
			return true
		}
		if rest == "" {
			return true
		}
	}
	return false
}
