package hl7_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"nhip/hl7"
)

func parse(t testing.TB, s string) *hl7.Message {
	t.Helper()
	m, err := hl7.Parse([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// lines joins segments with CR, the last one too.
func lines(segments ...string) string { return strings.Join(segments, "\r") + "\r" }

const header = `MSH|^~\&|LAB^1.2.3^ISO|HOSP|LIS|BV^4.5^ISO|20260114081500+0700||ORU^R01^ORU_R01|A-17|P|2.5.1|||AL|NE||UNICODE UTF-8`

var result = lines(
	header,
	`PID|1||123^^^HOSP^MR~0123456789^^^GOV&1.2&ISO^NI||NGUYỄN^VĂN AN||19800101|M`,
	`OBR|1||27|CBC^Complete \T\ partial^L`,
	`OBX|1|NM|WBC^White cells^L||6.41|10*3/uL|4-10|N|||F`,
	`OBX|2|ST|NOTE^^L||a\S\b\.br\c||""||||F`,
	`ZZZ|own`,
)

func TestGetByPath(t *testing.T) {
	m := parse(t, result)
	for path, want := range map[string]string{
		"MSH-1":         "|",
		"MSH-2":         `^~\&`,
		"MSH-2.1":       `^~\&`,
		"MSH-2.2":       "",
		"MSH-3":         "LAB^1.2.3^ISO",
		"MSH-3.2":       "1.2.3",
		"MSH-9.3":       "ORU_R01",
		"MSH-18":        "UNICODE UTF-8",
		"MSH-19":        "",
		"PID-3":         "123^^^HOSP^MR~0123456789^^^GOV&1.2&ISO^NI",
		"PID-3[1]":      "123^^^HOSP^MR",
		"PID-3.1":       "123",
		"PID-3[2].1":    "0123456789",
		"PID-3[2].4":    "GOV&1.2&ISO",
		"PID-3[2].4.2":  "1.2",
		"PID-3[2].4.4":  "",
		"PID-3[3].1":    "",
		"PID-5.1":       "NGUYỄN",
		"PID-5.2":       "VĂN AN",
		"PID-8":         "M",
		"PID-9":         "",
		"OBR-4.2":       "Complete & partial",
		"OBX-5":         "6.41",
		"OBX[1]-5":      "6.41",
		"OBX[2]-5":      "a^b\nc",
		"OBX[2]-5.1":    "a^b\nc",
		"OBX[2]-7":      hl7.Null,
		"OBX[3]-5":      "",
		"ZZZ-1":         "own",
		"NTE-1":         "",
		"":              "",
		"PID":           "",
		"PID-":          "",
		"PID-0":         "",
		"PID-3.":        "",
		"PID-3[0]":      "",
		"PID-3[1":       "",
		"PID-3.1.1.1":   "",
		"pid-3":         "",
		"PIDX-3":        "",
		"OBX[]-5":       "",
		"OBX[1]5":       "",
		"OBX-100000":    "",
		"OBX-5 ":        "",
		"OBX[2]-5[1].1": "a^b\nc",
	} {
		if got := m.Get(path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if got := string(m.Raw("OBX[2]-5")); got != `a\S\b\.br\c` {
		t.Errorf("raw OBX[2]-5 is %q", got)
	}
	if m.Raw("OBX[3]-5") != nil || m.Raw("nothing") != nil {
		t.Error("a missing part has bytes")
	}
}

func TestWrongPathsAreNamed(t *testing.T) {
	for _, path := range []string{"PID-3.1", "OBX[2]-5", "PID-3[2].4.2", "ZB1-99999"} {
		if err := hl7.CheckPath(path); err != nil {
			t.Error(err)
		}
	}
	for _, path := range []string{"", "PID", "PID3", "PID-x", "PID-3[", "PID-3.0", "OBX[a]-5", "OBX[2-5", "P-1", "PI.-1", "PID-3]"} {
		if hl7.CheckPath(path) == nil {
			t.Errorf("%q is taken for a path", path)
		}
	}
}

func TestTypeControlIDAndVersion(t *testing.T) {
	m := parse(t, result)
	code, event, structure := m.Type()
	if got := []string{code, event, structure, m.ControlID(), m.Version()}; !slices.Equal(got, []string{"ORU", "R01", "ORU_R01", "A-17", "2.5.1"}) {
		t.Error(got)
	}
}

func TestSegments(t *testing.T) {
	m := parse(t, result)
	var got []string
	for _, s := range m.Segments() {
		got = append(got, fmt.Sprint(s.Name, s.Index))
	}
	if want := []string{"MSH0", "PID1", "OBR2", "OBX3", "OBX4", "ZZZ5"}; !slices.Equal(got, want) {
		t.Errorf("segments %v, want %v", got, want)
	}
	obx := m.Segments("OBX", "NTE")
	if len(obx) != 2 || obx[1].Get("1") != "2" || obx[1].Get("3.1") != "NOTE" || string(obx[1].Raw("7")) != hl7.Null || obx[1].Get("x") != "" || obx[1].Raw("x") != nil {
		t.Errorf("OBX segments are %v", obx)
	}
	if n := m.Segments("PID")[0].Repetitions(3); n != 2 {
		t.Errorf("PID-3 has %d repetitions", n)
	}
	if n := m.Segments("PID")[0].Repetitions(4); n != 0 {
		t.Errorf("PID-4 has %d repetitions", n)
	}
	for name, want := range map[string]int{"MSH": 18, "PID": 8, "ZZZ": 1} {
		if n := m.Segments(name)[0].Fields(); n != want {
			t.Errorf("%s has %d fields, want %d", name, n, want)
		}
	}
}

func TestSetChangesNothingElse(t *testing.T) {
	for _, c := range []struct{ path, value, from, to string }{
		{"PID-8", "F", `||19800101|M`, `||19800101|F`},
		{"PID-3.1", "9", `123^^^HOSP`, `9^^^HOSP`},
		{"PID-3[2].4.2", "9.9", `GOV&1.2&ISO`, `GOV&9.9&ISO`},
		{"PID-3[3].4.2", "x", `ISO^NI`, `ISO^NI~^^^&x`},
		{"PID-10.2", "x", "|M\r", "|M||^x\r"},
		{"PID-12", "", "|M\r", "|M\r"},
		{"PID-5", "A^B", `NGUYỄN^VĂN AN`, `A\S\B`},
		{"PID-3", "x", `123^^^HOSP^MR~0123456789^^^GOV&1.2&ISO^NI`, `x`},
		{"OBX[2]-5", "5 > 3 | x\n\r", `a\S\b\.br\c`, `5 > 3 \F\ x\.br\\X0D\`},
		{"OBX-5", hl7.Null, `6.41`, `""`},
		{"OBX-5", "", `6.41`, ``},
		{"MSH-5", "KHOA XÉT NGHIỆM", `|LIS|`, `|KHOA XÉT NGHIỆM|`},
		{"MSH-20", "x", "UTF-8\r", "UTF-8||x\r"},
		{"ZZZ-1.1.3", "x", `own`, `own&&x`},
	} {
		m := parse(t, result)
		if err := m.Set(c.path, c.value); err != nil {
			t.Error(err)
			continue
		}
		want := strings.Replace(result, c.from, c.to, 1)
		if got := string(m.Bytes()); got != want {
			t.Errorf("%s = %q:\n%s\nwant\n%s", c.path, c.value, strings.ReplaceAll(got, "\r", "\n"), strings.ReplaceAll(want, "\r", "\n"))
		}
		if got := m.Get(c.path); got != c.value {
			t.Errorf("%s reads %q after it was set to %q", c.path, got, c.value)
		}
	}
}

func TestSetFailsWithWords(t *testing.T) {
	m := parse(t, lines(`MSH|^~|LAB||||||ORU^R01|1|P|2.3||||||ASCII`, `PID|1`))
	for path, value := range map[string]string{
		"MSH-1":     "#",
		"MSH-2":     "^",
		"NTE-1":     "x",
		"PID[2]-1":  "x",
		"PID-1.1.2": "x",     // no subcomponent delimiter is declared
		"PID-5":     "a^b",   // nor an escape character
		"PID-6":     "Nhịp",  // nor another character set than ASCII
		"PID-7":     "\xFF",  // which is not even text
		"PID":       "x",     // no path
		"PID-1[2]x": "x",     //
		"PID-8":     "a\rb",  // a segment end
		"PID-9":     "\x1Cb", // an end block
	} {
		if err := m.Set(path, value); err == nil || !strings.HasPrefix(err.Error(), "hl7: ") {
			t.Errorf("%s = %q: %v", path, value, err)
		}
	}
	s := m.Segments("PID")[0]
	if s.Set("nothing", "x") == nil || s.Set("5", "a^b") == nil {
		t.Error("a segment takes a wrong path or value")
	}
	if got := string(m.Bytes()); got != lines(`MSH|^~|LAB||||||ORU^R01|1|P|2.3||||||ASCII`, `PID|1`) {
		t.Errorf("a Set that failed changed the message: %q", got)
	}
}

func TestInputIsNotChangedBySet(t *testing.T) {
	b := []byte(result)
	m, err := hl7.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"PID-3.1", "PID-30", "OBX-5", "MSH-5"} {
		for _, value := range []string{"x", "another value"} {
			if err := m.Set(path, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	if string(b) != result {
		t.Error("the bytes that were parsed have changed")
	}
}

func TestAnyLineEnd(t *testing.T) {
	for _, s := range []string{
		"MSH|^~\\&|A||||||ORU^R01|1|P|2.3\nPID|1\nOBX|1||||5\n",
		"MSH|^~\\&|A||||||ORU^R01|1|P|2.3\r\nPID|1\r\nOBX|1||||5\r\n",
		"MSH|^~\\&|A||||||ORU^R01|1|P|2.3\r\r\nPID|1\n\n\rOBX|1||||5",
		"\xEF\xBB\xBF\r\nMSH|^~\\&|A||||||ORU^R01|1|P|2.3\rPID|1\r\r \t\rOBX|1||||5\r\n\x1A\x00",
		"msh|^~\\&|A||||||ORU^R01|1|P|2.3\rpid|1\robx|1||||5\r",
	} {
		m, err := hl7.Parse([]byte(s))
		if err != nil {
			t.Errorf("%q: %v", s, err)
			continue
		}
		if m.ControlID() != "1" || m.Version() != "2.3" || m.Get("PID-1") != "1" || m.Get("OBX-5") != "5" || len(m.Segments()) != 3 {
			t.Errorf("%q: read as %v", s, m.Segments())
		}
		if string(m.Bytes()) != s {
			t.Errorf("%q is written as %q", s, m.Bytes())
		}
		if err := m.Set("OBX-5", "6"); err != nil {
			t.Fatal(err)
		}
		if want := strings.Replace(s, "||||5", "||||6", 1); string(m.Bytes()) != want {
			t.Errorf("%q is written as %q after a change", s, m.Bytes())
		}
	}
}

func TestLineThatIsNoSegmentBelongsToTheOneBefore(t *testing.T) {
	m := parse(t, "MSH|^~\\&|A||||||ORU^R01|1|P|2.3\rOBX|1|ED|X||^^PDF^Base64^AAAA\r\nBB+=\r\nCCC1\r\n\r\n/DDD|||||||F\r\nNTE\rPV1|1\r")
	if got := m.Get("OBX-5.5"); got != "AAAA\r\nBB+=\r\nCCC1\r\n\r\n/DDD" {
		t.Errorf("OBX-5.5 is %q", got)
	}
	if m.Get("OBX-12") != "F" || len(m.Segments("NTE", "PV1")) != 2 {
		t.Errorf("segments are %v", m.Segments())
	}
}

func TestDelimiterOddities(t *testing.T) {
	for _, c := range []struct{ name, message, path, want string }{
		{"others", "MSH$%*!@$A\rPID$1$a%b*c!S!d@e", "PID-2[2].1", "c%d@e"},
		{"one character", "MSH|^|A\rPID|1|a^b~c\\S\\d&e", "PID-2.2", `b~c\S\d&e`},
		{"two characters: backslash and ampersand are data", "MSH|^~|A\rPID|1||1\\2&3", "PID-3.1.1", `1\2&3`},
		{"three", "MSH|^~\\|A\rPID|1||1\\S\\2&3", "PID-3.1", "1^2&3"},
		{"truncation character", "MSH|^~\\&#|A\rPID|1||1#\\P\\", "PID-3", "1##"},
		{"one of them twice", "MSH|^~\\\\&|A\rPID|1||1\\E\\&2", "PID-3.1.1", `1\&2`},
		{"nothing behind", "MSH|^~\\&", "MSH-2", `^~\&`},
	} {
		m, err := hl7.Parse([]byte(c.message))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := m.Get(c.path); got != c.want {
			t.Errorf("%s: %s is %q, want %q", c.name, c.path, got, c.want)
		}
		if string(m.Bytes()) != c.message {
			t.Errorf("%s: not written back as it came", c.name)
		}
	}
}

func TestBytesThatAreNoMessageAreRefusedWithWords(t *testing.T) {
	for _, c := range []struct{ name, bytes, location string }{
		{"nothing", "", ""},
		{"MSH alone", "MSH", ""},
		{"HTTP", "GET / HTTP/1.1\r\n\r\n", ""},
		{"another segment first", "EVN|A01\rMSH|^~\\&|A", ""},
		{"a batch", "FHS|^~\\&\rMSH|^~\\&|A", ""},
		{"a longer name", "MSHA|^~\\&|A", ""},
		{"no encoding characters", "MSH||A", "MSH-2"},
		{"six encoding characters", "MSH|^~\\&#$|A", "MSH-2"},
		{"line end for an encoding character", "MSH|\rPID|1", "MSH-2"},
		{"letter", "MSH|^~A&|A", "MSH-2"},
		{"digit", "MSH|0|0", "MSH-2"},
		{"line end for the separator", "MSH\r^~\\&", "MSH-1"},
		{"space for the separator", "MSH ^~\\& ", "MSH-1"},
		{"eighth bit", "MSH\xA6^~\\&", "MSH-1"},
		{"second MSH", lines(header, "PID|1", header, "PID|2"), "MSH[2]"},
		{"rest of MSH on the next line", lines(header, "rest"), "MSH"},
	} {
		m, err := hl7.Parse([]byte(c.bytes))
		var parseError *hl7.ParseError
		if !errors.As(err, &parseError) {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if parseError.Location != c.location || parseError.Code == "" || parseError.Reason == "" || !strings.Contains(err.Error(), c.location) {
			t.Errorf("%s: %+v", c.name, parseError)
		}
		if m != nil && m.ControlID() != "A-17" {
			t.Errorf("%s: the header that came with the error says %q", c.name, m.ControlID())
		}
	}
}

func TestSecondMessageIsRefusedByAnAcknowledgement(t *testing.T) {
	m, err := hl7.Parse([]byte(lines(header, "PID|1", header, "PID|2")))
	if err == nil || m == nil {
		t.Fatal(m, err)
	}
	ack, err := hl7.ParseAck(hl7.Ack(m, hl7.ApplicationReject, hl7.AckOptions{}))
	if err != nil || ack.MessageControlID != "A-17" {
		t.Error(ack, err)
	}
}

func TestLimits(t *testing.T) {
	message := []byte(lines(header, "PID|1|2|3", "OBX|1", "OBX|2"))
	for _, c := range []struct {
		limits hl7.Limits
		ok     bool
	}{
		{hl7.Limits{}, true},
		{hl7.Limits{Size: len(message)}, true},
		{hl7.Limits{Size: len(message) - 1}, false},
		{hl7.Limits{Segments: 4}, true},
		{hl7.Limits{Segments: 3}, false},
		{hl7.Limits{Fields: 17}, true},
		{hl7.Limits{Fields: 16}, false},
	} {
		m, err := hl7.ParseWithin(message, c.limits)
		if c.ok != (err == nil) {
			t.Errorf("%+v: %v", c.limits, err)
		}
		if m == nil || m.ControlID() != "A-17" {
			t.Errorf("%+v: no header for the answer", c.limits)
		}
	}
}

func TestLargeMessages(t *testing.T) {
	fields := parse(t, lines(header, "ZZZ"+strings.Repeat("|x", 20_000)))
	if fields.Get("ZZZ-20000") != "x" || fields.Segments("ZZZ")[0].Fields() != 20_000 {
		t.Error("20,000 fields are not read")
	}
	components := parse(t, lines(header, "ZZZ|"+strings.Repeat("^", 40_000)+"x"))
	if components.Get("ZZZ-1.40001") != "x" {
		t.Error("40,000 components are not read")
	}
	segments := parse(t, header+strings.Repeat("\nOBX|1||||x", 5_000))
	if segments.Get("OBX[5000]-5") != "x" {
		t.Error("5,000 segments are not read")
	}
}

func TestNewMessage(t *testing.T) {
	m := hl7.NewMessage(hl7.DefaultDelimiters)
	set := func(path, value string) {
		t.Helper()
		if err := m.Set(path, value); err != nil {
			t.Fatal(err)
		}
	}
	set("MSH-18", "UNICODE UTF-8")
	set("MSH-9.1", "ORU")
	set("MSH-9.2", "R01")
	obx := m.Append("OBX")
	for path, value := range map[string]string{"3.1": "WBC", "5": "Âm tính | 1+", "6": "", "11": "F", "20": ""} {
		if err := obx.Set(path, value); err != nil {
			t.Fatal(err)
		}
	}
	m.Append("NTE")
	want := lines(`MSH|^~\&|||||||ORU^R01|||||||||UNICODE UTF-8`, `OBX|||WBC||Âm tính \F\ 1+||||||F`, `NTE`)
	if got := string(m.Bytes()); got != want {
		t.Errorf("built\n%q, want\n%q", got, want)
	}
}

func TestAppendEndsTheLastSegment(t *testing.T) {
	m := parse(t, "MSH|^~\\&|A\nPID|1")
	if err := m.Append("NTE").Set("3", "x"); err != nil {
		t.Fatal(err)
	}
	if got := string(m.Bytes()); got != "MSH|^~\\&|A\nPID|1\rNTE|||x\r" {
		t.Errorf("%q", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("a segment name with a delimiter is taken")
		}
	}()
	m.Append("A|B")
}

func TestRequired(t *testing.T) {
	m := parse(t, lines(`MSH|^~\&|A||||||ORU^R01||P|2.3`))
	missing := m.Required("MSH-9.1", "MSH-10", "MSH-12", "PID-3")
	if len(missing) != 2 || missing[0].Location != "MSH-10" || missing[1].Location != "PID-3" || missing[0].Code != hl7.ErrorRequiredField {
		t.Errorf("%+v", missing)
	}
}

func TestSplit(t *testing.T) {
	one, two := lines(header, "PID|1"), lines(header, "PID|2")
	for _, c := range []struct {
		name, file string
		want       []string
	}{
		{"nothing", " \r\n", nil},
		{"one", one, []string{one}},
		{"two", one + two, []string{one, two}},
		{"a batch", lines(`FHS|^~\&|A`, `BHS|^~\&|A`) + one + two + lines("BTS|2", "FTS|1"), []string{one, two}},
		{"two batches", "\xEF\xBB\xBF" + lines(`BHS|^~\&|A`) + one + lines("BTS|1", `BHS|^~\&|A`) + two + "BTS|1", []string{one, two}},
		{"rubbish first", "rubbish\r" + one, []string{"rubbish\r", one}},
	} {
		var got []string
		for _, b := range hl7.Split([]byte(c.file)) {
			got = append(got, string(b))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

// Whatever is cut off, what can be read reads the same, and is written back.
func TestCutAtEveryByte(t *testing.T) {
	for _, file := range []string{"testdata/oru.hl7", "testdata/odd.hl7"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for n := range b {
			m, err := hl7.Parse(b[:n:n])
			if err != nil {
				second := bytes.Index(b, []byte("PID|"))
				if second < 0 {
					second = bytes.Index(b, []byte("pid|"))
				}
				if inName := n > second && n <= second+3; n > len("MSH|^~\\&") && !inName {
					t.Errorf("%s cut at %d: %v", file, n, err)
				}
				continue
			}
			if !bytes.Equal(m.Bytes(), b[:n]) {
				t.Errorf("%s cut at %d is not written back", file, n)
			}
			checkWrittenBack(t, m, b[:n])
		}
	}
}
