package hl7_test

import (
	"fmt"
	"strings"
	"testing"

	"nhip/hl7"
)

func withCharset(declared string) string {
	return `MSH|^~\&|LAB||LIS||20260114||ORU^R01|17|P|2.5.1||||||` + declared + "\r"
}

// The bytes are written out, since they come from the standards' tables and not
// from the library that decodes them.
var charsetCases = []struct {
	declared, text, bytes string
}{
	{"", "Nguyen", "Nguyen"},
	{"", "Nhịp", "Nh\xE1\xBB\x8Bp"}, // not declared: read as UTF-8
	{"ASCII", "Nguyen", "Nguyen"},
	{"UNICODE UTF-8", "Nhịp µ", "Nh\xE1\xBB\x8Bp \xC2\xB5"},
	{"UTF-8", "é", "\xC3\xA9"},
	{"unicode utf-8", "é", "\xC3\xA9"},
	{"UNICODE", "é", "\xC3\xA9"},
	{"8859/1", "naïve µ", "na\xEFve \xB5"},
	{"ISO-8859-1", "é", "\xE9"},
	{"8859/2", "ł", "\xB3"},
	{"8859/3", "ħ", "\xB1"},
	{"8859/4", "ķ", "\xF3"},
	{"8859/5", "Ж", "\xB6"},
	{"8859/6", "ب", "\xC8"},
	{"8859/7", "Ω", "\xD9"},
	{"8859/8", "א", "\xE0"},
	{"8859/9", "ğ", "\xF0"},
	{"8859/15", "€", "\xA4"},
	{"8859/1~8859/5", "é", "\xE9"},
	{"ISO IR14", "ｱ", "\xB1"},
	// 表 is 95 5C, ポ 83 7C in Shift_JIS: the escape character, the separator.
	{"SHIFT_JIS", "表x", "\x95\x5Cx"},
	{"SHIFT_JIS", "ポ", "\x83\x7C"},
	{"~ISO IR87", "Yamada 山田", "Yamada \x1B$B;3ED\x1B(B"},
	{"~ISO IR87", "凋", "\x1B$BC|\x1B(B"},
	{"~ISO IR87", "賞", "\x1B$B>^\x1B(B"},
	{"ISO IR87", "旬", "\x1B$B=\x5C\x1B(B"},
	// 亅 is 81 7C, 俓 82 5C in GB 18030; Ẳ has four bytes.
	{"GB 18030-2000", "王", "\xCD\xF5"},
	{"GB 18030-2000", "亅", "\x81\x7C"},
	{"GB 18030-2000", "俓x", "\x82\x5Cx"},
	{"GB 18030-2000", "Ẳ", "\x81\x36\x82\x32"},
	// 功 is A5 5C, 育 A8 7C in Big5.
	{"BIG-5", "功", "\xA5\x5C"},
	{"BIG-5", "育", "\xA8\x7C"},
	{"KS X 1001", "한", "\xC7\xD1"},
}

func TestCharsetsOfTable0211BothWays(t *testing.T) {
	for _, c := range charsetCases {
		header := withCharset(c.declared)
		m := parse(t, header+"PID|"+c.bytes+"|after\r")
		if got := m.Get("PID-1"); got != c.text {
			t.Errorf("%s: % X reads %q, want %q", c.declared, c.bytes, got, c.text)
		}
		if got := m.Get("PID-2"); got != "after" {
			t.Errorf("%s: the field after % X is %q", c.declared, c.bytes, got)
		}
		if err := m.Set("PID-3.2", c.text); err != nil {
			t.Errorf("%s: %v", c.declared, err)
			continue
		}
		if want := header + "PID|" + c.bytes + "|after|^" + c.bytes + "\r"; string(m.Bytes()) != want {
			t.Errorf("%s: written as %q, want %q", c.declared, m.Bytes(), want)
		}
		if got := m.Get("PID-3.2"); got != c.text {
			t.Errorf("%s: %q was set, and reads %q", c.declared, c.text, got)
		}
		if warnings := m.CharsetWarnings(); c.declared != "" && warnings != nil {
			t.Errorf("%s: %v", c.declared, warnings)
		}
	}
}

func TestSecondByteOfACharacterIsNoDelimiter(t *testing.T) {
	// ソ is 83 5C, ポ 83 7C, 表 95 5C.
	m := parse(t, withCharset("SHIFT_JIS")+"PID|1|\x83\x5C^\x83\x7C~\x95\x5C\\T\\\x95\x5C|x\r")
	for path, want := range map[string]string{"PID-2.1": "ソ", "PID-2.2": "ポ", "PID-2[2].1": "表&表", "PID-3": "x"} {
		if got := m.Get(path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if n := m.Segments("PID")[0].Fields(); n != 3 {
		t.Errorf("%d fields", n)
	}
	// In ISO 2022 everything between the escapes is text, delimiters too.
	m = parse(t, withCharset("~ISO IR87")+"PID|1|\x1B$B!C!0\x1B(B^\x1B(I1\x5C\x1B(B|\x1B$B!|\r")
	for path, want := range map[string]string{"PID-2.1": "｜＾", "PID-2.2": "ｱﾜ", "PID-3": "●"} {
		if got := m.Get(path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
}

func TestCutCharacterDoesNotSwallowTheDelimiter(t *testing.T) {
	for _, declared := range []string{"UNICODE UTF-8", "GB 18030-2000", "BIG-5", "SHIFT_JIS", "KS X 1001"} {
		m := parse(t, withCharset(declared)+"PID|1|a\xE1&b|x\r") // & is below 40
		if got := m.Get("PID-2.1.2"); got != "b" {
			t.Errorf("%s: PID-2.1.2 is %q", declared, got)
		}
		if got := m.Get("PID-3"); got != "x" {
			t.Errorf("%s: PID-3 is %q", declared, got)
		}
	}
	m := parse(t, withCharset("UNICODE UTF-8")+"PID|1|Nh\xE1\xBB|x\r")
	if m.Get("PID-2") != "Nh\uFFFD" || m.Get("PID-3") != "x" || string(m.Raw("PID-2")) != "Nh\xE1\xBB" {
		t.Errorf("PID-2 is %q, PID-3 %q", m.Get("PID-2"), m.Get("PID-3"))
	}
}

func TestSetBehindACutCharacterFails(t *testing.T) {
	for _, message := range []string{
		withCharset("~ISO IR87") + "PID|\x1B$B;3\r",
		withCharset("BIG-5") + "PID|\xA5\r",
	} {
		m := parse(t, message)
		if err := m.Set("PID-2", "x"); err == nil {
			t.Errorf("%q is written as %q", message, m.Bytes())
		}
		if string(m.Bytes()) != message {
			t.Errorf("%q was changed to %q", message, m.Bytes())
		}
	}
}

func TestHexadecimalEscapeIsInTheCharsetOfTheMessage(t *testing.T) {
	if got := parse(t, withCharset("UNICODE UTF-8")+`PID|Nh\XE1BB8B\p`).Get("PID-1"); got != "Nhịp" {
		t.Errorf("UTF-8: %q", got)
	}
	if got := parse(t, withCharset("8859/1")+`PID|na\XEF\ve`).Get("PID-1"); got != "naïve" {
		t.Errorf("8859/1: %q", got)
	}
}

func TestDeclarationAndBytesThatDisagreeAreReported(t *testing.T) {
	const utf8Bytes, tcvn3 = "Nguyễn Thị Ánh", "Nguy\xD4n Th\xDE \xB8nh"
	for _, c := range []struct{ declared, text, want string }{
		{"", utf8Bytes, "undeclared ASCII PID-2 "},
		{"ASCII", "naïve", "undeclared ASCII PID-2 "},
		{"", "na\xEFve", "invalid ASCII PID-2 "},
		{"", tcvn3, "invalid ASCII PID-2 TCVN3"},
		{"UNICODE UTF-8", tcvn3, "invalid UNICODE UTF-8 PID-2 TCVN3"},
		{"UNICODE UTF-8", "Nguy\xEA\xDEn Th\x69\xF2 Ho\xE0ng", "invalid UNICODE UTF-8 PID-2 CP1258"},
		{"UNICODE UTF-8", "Nguyá»…n", "twice UNICODE UTF-8 PID-2 "}, // by way of Windows-1252
		{"UNICODE UTF-8", "Ã©", "twice UNICODE UTF-8 PID-2 "},
		{"UNICODE UTF-8", "Nguy\uFFFDn", "lost UNICODE UTF-8 PID-2 "},
		{"8859/1", utf8Bytes, "other 8859/1 PID-2 UTF-8"}, // a real device: says 8859/1 and sends UTF-8
		{"8859/1", tcvn3, "other 8859/1 PID-2 TCVN3"},
		{"8859/1", "\x93quoted\x94", "controls 8859/1 PID-2 Windows-1252"},
		{"8859/6", "x\xFF", "invalid 8859/6 PID-2 "},
		{"GB 18030-2000", "\xFF\xFF", "invalid GB 18030-2000 PID-2 "},
		{"TCVN3", "\xFF", "invalid TCVN3 PID-2 "},
		{"8859/99", "x", "unknown 8859/99 MSH-18 "},
		{"CNS 11643-1992", "x", "unknown CNS 11643-1992 MSH-18 "},
		{"UNICODE UTF-16", "x", "unknown UNICODE UTF-16 MSH-18 "},
		{"8859/1", "Müller déjà là", ""},
		{"UNICODE UTF-8", utf8Bytes + " XÃ HỘI", ""},
		{"", "plain", ""},
	} {
		text := c.text
		if c.declared == "8859/1" && c.want == "" {
			text = "M\xFCller d\xE9j\xE0 l\xE0"
		}
		m := parse(t, withCharset(c.declared)+"PID|1|"+text+"\r")
		var got []string
		for _, w := range m.CharsetWarnings() {
			got = append(got, fmt.Sprintf("%s %s %s %s", w.Problem, w.Declared, w.Location, w.Like))
			for _, lang := range []string{"en", "vi"} {
				if words := w.Words(lang); strings.Contains(words, "%!") || !strings.Contains(words, w.Location) || len(text) > 1 && strings.Contains(words, text) {
					t.Errorf("%q", words)
				}
			}
		}
		if all := strings.Join(got, "; "); all != c.want {
			t.Errorf("%q in %q: %s, want %s", text, c.declared, all, c.want)
		}
	}
	if warnings := parse(t, result).CharsetWarnings(); warnings != nil {
		t.Error(warnings)
	}
}

func TestTextThatTheCharsetCannotHoldIsAnError(t *testing.T) {
	for _, declared := range []string{"ASCII", "8859/1", "BIG-5", "~ISO IR87", "8859/99", "UNICODE UTF-16"} {
		m := parse(t, withCharset(declared)+"PID|1\r")
		if err := m.Set("PID-2", "Nhịp"); err == nil {
			t.Errorf("%s holds ị: %q", declared, m.Bytes())
		}
	}
}

func TestRuleOfALinkDecidesTheCharset(t *testing.T) {
	const tcvn3, cp1258 = "NGUY\xD4N TH\xDE", "Th\x69\xF2"
	for _, c := range []struct {
		declared, bytes string
		rule            hl7.CharsetRule
		text            string
		warnings        int
	}{
		{"8859/1", "Nhịp", hl7.CharsetRule{Force: "UNICODE UTF-8"}, "Nhịp", 0},
		{"UNICODE UTF-8", tcvn3, hl7.CharsetRule{Force: "TCVN3"}, "NGUYỄN THỊ", 0},
		{"", tcvn3, hl7.CharsetRule{Default: []string{"TCVN3"}}, "NGUYỄN THỊ", 0},
		{"", "Nhịp", hl7.CharsetRule{Default: []string{"UTF-8", "CP1258"}}, "Nhịp", 0},
		{"", cp1258, hl7.CharsetRule{Default: []string{"UTF-8", "CP1258"}}, "Thị", 0},
		{"", "\xFF\xFF", hl7.CharsetRule{Default: []string{"UTF-8", "TCVN3"}}, "\uFFFD\uFFFD", 1},
		{"8859/1", "\xE9", hl7.CharsetRule{Default: []string{"TCVN3"}}, "é", 0}, // declared
		{"", "x", hl7.CharsetRule{}, "x", 0},
	} {
		m := parse(t, withCharset(c.declared)+"PID|"+c.bytes+"\r")
		if err := m.UseCharset(c.rule); err != nil {
			t.Fatal(err)
		}
		if got, warnings := m.Get("PID-1"), m.CharsetWarnings(); got != c.text || len(warnings) != c.warnings {
			t.Errorf("%q by %+v: %q, %v", c.bytes, c.rule, got, warnings)
		}
	}
}

func TestForcedCharsetIsThatOfWhatIsWritten(t *testing.T) {
	m := parse(t, withCharset("")+"PID|1\r")
	if err := m.UseCharset(hl7.CharsetRule{Force: "TCVN3"}); err != nil {
		t.Fatal(err)
	}
	if err := m.Set("MSH-18", "8859/5"); err != nil {
		t.Fatal(err)
	}
	if err := m.Set("PID-5", "Nguyễn"); err != nil || string(m.Raw("PID-5")) != "Nguy\xD4n" {
		t.Errorf("% X, %v", m.Raw("PID-5"), err)
	}
	if m.Get("PID-5") != "Nguyễn" {
		t.Error("MSH-18 wins over the rule")
	}
	for _, name := range []string{"8859/99", "UNICODE UTF-32"} {
		if hl7.CheckCharset(name) == nil || m.UseCharset(hl7.CharsetRule{Force: name}) == nil || parse(t, withCharset("")).UseCharset(hl7.CharsetRule{Default: []string{name}}) == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// Of a long text no more is looked at than its first part: what is wrong behind it is
// not told.
func TestWarningsAboutLongTextsAreBounded(t *testing.T) {
	const line = "OBX|1|TX|x||"
	m := parse(t, withCharset("UNICODE UTF-8")+line+strings.Repeat("ị", maxInspected/4)+"\r"+line+"Nguy\xFF\r")
	if warnings := m.CharsetWarnings(); len(warnings) != 1 {
		t.Errorf("%v", warnings)
	}
	m = parse(t, withCharset("UNICODE UTF-8")+line+strings.Repeat("ị", maxInspected/3)+"\r"+line+"Nguy\xFF\r")
	if warnings := m.CharsetWarnings(); warnings != nil {
		t.Errorf("%v", warnings)
	}
	m = parse(t, withCharset("8859/1")+strings.Repeat(line+"na\xEFve\r", 20_000)+line+"Nguy\xD4n Th\xDE\r")
	if warnings := m.CharsetWarnings(); warnings != nil {
		t.Errorf("%v", warnings)
	}
}

// maxInspected is that of the package.
const maxInspected = 4 << 20

func TestHeaderWithCharactersOfTwoBytes(t *testing.T) {
	// ポ is 83 7C, whose second byte is the field separator.
	m := parse(t, withCharset("SHIFT_JIS")[:len(withCharset("SHIFT_JIS"))-1]+"|\x83\x7C||x\r")
	if m.Get("MSH-19") != "ポ" || m.Get("MSH-21") != "x" {
		t.Errorf("MSH-19 is %q, MSH-21 %q", m.Get("MSH-19"), m.Get("MSH-21"))
	}
	m = parse(t, "MSH|^~\\&|\x83\x7C||LIS||20260114||ORU^R01|17|P|2.5.1\r")
	if err := m.UseCharset(hl7.CharsetRule{Force: "SHIFT_JIS"}); err != nil {
		t.Fatal(err)
	}
	if m.Get("MSH-3") != "ポ" || m.ControlID() != "17" {
		t.Errorf("MSH-3 is %q, MSH-10 %q", m.Get("MSH-3"), m.ControlID())
	}
}
