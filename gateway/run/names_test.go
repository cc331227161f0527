package run

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"nhip/hl7/vncharset"
)

// onScreen is how a machine of each set is sent, and sends, "Nguyễn Thị" and "Âm tính".
var onScreen = map[string][2]string{
	vncharset.NamesASCII:  {"Nguyen Thi", "Âm tính"}, // what comes is UTF-8
	vncharset.NamesUTF8:   {"Nguyễn Thị", "Âm tính"},
	vncharset.NamesTCVN3:  {"Nguy\xD4n Th\xDE", "\xA2m t\xDDnh"},
	vncharset.NamesVNI:    {"Nguye\xE3n Th\xF2", "A\xC2m t\xEDnh"},
	vncharset.NamesCP1258: {"Nguy\xEA\xDEn Thi\xF2", "\xC2m t\xEDnh"},
}

// transcribed are bytes as a transcript writes them.
func transcribed(b string) string {
	var t strings.Builder
	for _, c := range []byte(b) {
		if c < ' ' || c >= 0x7F {
			fmt.Fprintf(&t, "<x%02X>", c)
		} else {
			t.WriteByte(c)
		}
	}
	return t.String()
}

// namesSite is a gateway with a HIS, a LIS and analysers of one model, each with another
// font.
func namesSite(t *testing.T) (*site, *systemLIS) {
	t.Helper()
	lis := newLIS(t)
	s := newSite(t, hisBlock+fmt.Sprintf("[[destination]]\nname = \"lis\"\nkind = \"hl7\"\naddress = %q\n", lis.address))
	s.stop()
	text, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	with := strings.Replace(string(text), "[site]\n", fmt.Sprintf("[site]\nprofiles = %q\n", writeProfiles(t)), 1)
	for _, word := range slices.Sorted(maps.Keys(onScreen)) {
		for _, model := range []struct{ profile, port string }{{"test-names", "tcp-listen"}, {"test-dsr", "mllp-listen"}, {"test-au-names", "tcp-listen"}} {
			with += fmt.Sprintf("[[analyser]]\nname = \"a-%s-%s\"\nprofile = %q\nport = \"%s://127.0.0.1:0\"\norders = \"warn\"\nto = [\"lis\"]\nnames = %q\n", model.profile, word, model.profile, model.port, word)
		}
	}
	with += "[[analyser]]\nname = \"a-said-nothing\"\nprofile = \"test-names\"\nport = \"tcp-listen://127.0.0.1:0\"\nto = [\"lis\"]\n"
	if err := os.WriteFile(s.file, []byte(with), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	return s, lis
}

// The same model with five fonts: the name of an order is on its screen as it is written,
// and what people have typed there is Unicode at the LIS. By ASTM, HL7 and AU.
func TestTheSameModelWithDifferentFonts(t *testing.T) {
	t.Parallel()
	s, lis := namesSite(t)
	p := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	n := 0
	for _, word := range slices.Sorted(maps.Keys(onScreen)) {
		screen := onScreen[word]
		n++
		id := fmt.Sprint("S", n)
		if answer := p.send(t, testOrder("M"+id, "NW", "A"+id, "P1", id, "11")); field(answer, "MSA-1") != "AA" {
			t.Fatalf("answered %q", answer)
		}
		name := transcribed(screen[0] + " P1")
		c := s.plug("test-names-" + word)
		say(t, c, ask(id, name+`<CR><ETX><sum><CR><LF>
> <ACK>
< <STX>3O|1|`+id+`|R5^3|^^^11|||||||||||||||||||||Q`))
		say(t, c, strings.Replace(reports("X"+id, "11", transcribed(screen[1])), "P|1<CR>", "P|1||||"+transcribed(onSent(word))+"<CR>", 1))
		value := "|Âm tính|"
		eventually(t, "the LIS has the result", func() bool { return len(lis.of("|X"+id+"|")) == 1 })
		m := lis.of("|X" + id + "|")[0]
		if !strings.Contains(segmentOf(m, "OBX"), value) || !strings.HasPrefix(field(m, "PID-5"), "Nguyễn Thị") || strings.Contains(m, "NTE|") && !strings.Contains(segmentOf(m, "NTE"), "order") {
			t.Errorf("%s: %q", word, m)
		}

		// A Mindray BS declares ASCII, whatever it sends.
		h := s.plug("test-dsr-" + word)
		if _, err := fmt.Fprintf(h, "\vMSH|^~\\&|Mindray|BS|||20260114||QRY^Q02|%d|P|2.3.1||||||ASCII|||\rQRD|20260114|R|D|2|||RD|%s|OTH|||T|\rQRF|BS|||||RCT|COR|ALL||\r\x1c\r", n, id); err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, h, "DSC||\r\x1c\r"); !strings.Contains(got, "\rDSP|3||"+screen[0]+" P1|||\r") {
			t.Errorf("%s: %q", word, got)
		}
		if _, err := fmt.Fprintf(h, "\vMSH|^~\\&|Mindray|BS|||20260114||ORU^R01|R%d|P|2.3.1||||0||ASCII|||\rOBR|1|H%s|H%s\rOBX|1|ST|11||%s||||||F\r\x1c\r", n, id, id, screen[1]); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the LIS has the result by HL7", func() bool {
			all := lis.of("|H" + id + "|")
			return len(all) == 1 && strings.Contains(segmentOf(all[0], "OBX"), value)
		})

		// An AU analyser shows what fits into its columns.
		au := s.plug("test-au-names-" + word)
		if _, err := fmt.Fprintf(au, "\x02R 000100 0001%-10s\x03", id); err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, au, "\x03"); !strings.Contains(got, id) || !strings.Contains(got, cutTo(word, screen[0]+" P1", 8)) {
			t.Errorf("%s: %q", word, got)
		}
	}
	if strings.Contains(s.log.String(), `msg="character set" connection=a-test-dsr-tcvn3`) {
		t.Error("what the site has said is warned of")
	}
	for _, name := range []string{"Nguy", "\xD4n", "tính"} {
		if strings.Contains(s.log.String(), name) {
			t.Errorf("%q stands in the log", name)
		}
	}
}

// onSent is the name as a machine of the set sends it.
func onSent(word string) string {
	if word == vncharset.NamesASCII {
		return onScreen[vncharset.NamesUTF8][0]
	}
	return onScreen[word][0]
}

// cutTo is a name in so many bytes, at a letter.
func cutTo(word, name string, width int) string {
	switch word {
	case vncharset.NamesUTF8:
		return "Nguyễn" // 8 bytes
	case vncharset.NamesCP1258, vncharset.NamesVNI:
		return name[:8]
	}
	return name[:width]
}

// Nobody has said what an analyser writes: what comes goes on with a mark, and the console
// says what it looks like.
func TestUndeclaredFontIsMarkedAndShown(t *testing.T) {
	t.Parallel()
	s, lis := namesSite(t)
	c := s.plug("said-nothing")
	say(t, c, strings.Replace(reports("S1", "11", transcribed("\xA2m t\xDDnh")), "P|1<CR>", "P|1||||"+transcribed("Nguy\xD4n Th\xDE L\xB5nh")+"<CR>", 1))
	eventually(t, "the LIS has the result", func() bool { return len(lis.of("|S1|")) == 1 })
	m := lis.of("|S1|")[0]
	if !strings.Contains(m, "R.4 is not UTF-8 and was read as ISO 8859-1") || !strings.Contains(m, "|¢m tÝnh|") {
		t.Errorf("%q", m)
	}
	eventually(t, "the console says so", func() bool { return strings.Contains(s.connection("a-said-nothing"), `names = "tcvn3"`) })
	if n := strings.Count(s.log.String(), `msg="character set" connection=a-said-nothing`); n != 1 {
		t.Errorf("%d lines in the log", n)
	}
}
