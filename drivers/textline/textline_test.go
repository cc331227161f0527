package textline_test

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"nhip/drivers/item"
	"nhip/drivers/session"
	"nhip/drivers/session/sessiontest"
	"nhip/drivers/textline"
)

func pattern(s string) textline.Pattern { return textline.Pattern{Regexp: regexp.MustCompile(s)} }

// fixed is the form of the KX-21: columns by their characters, the decimal point left
// out.
func fixed() *textline.Format {
	return &textline.Format{Source: "test", Begin: textline.Bytes{2}, End: textline.Bytes{3}, Lines: []textline.Line{{
		Matches: pattern("^D1U"), Record: item.Order,
		Columns: []textline.Column{
			{Name: "date", Place: textline.Place{At: 4, Length: 8}}, {Name: "specimen", Place: textline.Place{At: 12, Length: 23}}},
		Results: []textline.Cell{
			{Code: "WBC", Place: textline.Place{At: 35, Length: 4}, FlagAt: 39, FlagLength: 1, Point: 1, Unit: "10*3/uL"},
			{Code: "RBC", Place: textline.Place{At: 40, Length: 4}, FlagAt: 44, FlagLength: 1, Point: 2},
			{Code: "HGB", Place: textline.Place{At: 45, Length: 4}, FlagAt: 49, FlagLength: 1, Point: 1},
		},
	}}}
}

const kx21 = "D1U20200319000000000000QC0100000000091004900001*0000"

// printed is the form of a report for a printer: lines with names, sections.
func printed() *textline.Format {
	return &textline.Format{Source: "test", Begin: textline.Bytes("--- Maker"), End: textline.Bytes("--------\n"), Silence: textline.Span(5 * time.Second), Lines: []textline.Line{
		{Matches: pattern(`^ 348 ---`)},
		{Matches: pattern(`^(?P<serial>348-\S+)\s+(?P<time>\d\d:\d\d)\s+(?P<date>.+)$`), Record: item.Header},
		{Matches: pattern(`^Sample No\.\s+(?P<specimen>\S+)`), Record: item.Order},
		{Matches: pattern(`^Patient\s+ID\s+(?P<id>\S+)`), Record: item.Order, More: true},
		{Matches: pattern(`^Measured`), Section: "results"},
		{Matches: pattern(`^Reference Ranges`), Section: "ranges"},
		{Matches: pattern(`^\s+(?P<code>\S+)\s+(?P<value>[0-9.]+)(?P<flag>[\^v]?)\s*(?P<unit>\S*)$`), In: "results", Record: item.Result},
		{Matches: pattern(`.`), In: "ranges"},
	}}
}

const report = "--- Maker 348 ---\r\n\r\n348-D718  12:58    20 Nov 2019\r\nSample No.   1386\r\nPatient  ID    000008233\r\n\r\nMeasured      37 'C\r\n" +
	"  pH          7.973^\r\n  Na+           134    mmol/L\r\nsomething else\r\nReference Ranges\r\n  pH  7.350 - 7.450\r\n--------\n"

func csv() *textline.Format {
	return &textline.Format{Source: "test", Separator: ",", Titles: true, Lines: []textline.Line{{
		Matches: pattern(`^XT`), Record: item.Order,
		Columns: []textline.Column{{Name: "specimen", Place: textline.Place{Title: "N' Echantillon"}}, {Name: "day", Place: textline.Place{Field: 2}}, {Name: "model", Is: "XT"}},
		Results: []textline.Cell{
			{Code: "WBC", Place: textline.Place{Title: "GB(10/uL)"}, FlagTitle: "GB/M"},
			{Code: "RET", Place: textline.Place{Title: "RET"}},
		},
	}}}
}

func TestFormatsAreGood(t *testing.T) {
	for name, f := range map[string]*textline.Format{"fixed": fixed(), "printed": printed()} {
		if found := f.Check(false); len(found) > 0 {
			t.Errorf("%s: %q", name, found)
		}
	}
	if found := csv().Check(true); len(found) > 0 {
		t.Errorf("csv: %q", found)
	}
}

func TestBadFormatsAreSaid(t *testing.T) {
	bad := &textline.Format{Separator: ";;", Quotes: true, Nak: textline.Bytes{21}, Lines: []textline.Line{
		{}, {Matches: pattern(`(?P<Bad>x)`), Record: "Z"}, {Matches: pattern("x"), Columns: []textline.Column{{Name: "A"}}},
		{Matches: pattern("x"), Record: "R", Columns: []textline.Column{{Name: "a", Is: "x", Place: textline.Place{At: 1, Length: 1}}}, Results: []textline.Cell{{Point: 99}}},
	}}
	if found := bad.Check(false); len(found) < 10 {
		t.Errorf("%q", found)
	}
	if found := fixed().Check(true); len(found) == 0 {
		t.Error("begin and end are good for a file")
	}
}

func records(t *testing.T, f *textline.Format, text string) ([]item.Record, []string) {
	t.Helper()
	return f.Records([]byte(text), false)
}

func TestFixedColumns(t *testing.T) {
	got, problems := records(t, fixed(), kx21)
	want := []item.Record{
		item.New("O", "date", "20200319", "specimen", "000000000000QC010000000"),
		item.New("R", "code", "WBC", "value", "9.1", "flag", "0", "unit", "10*3/uL"),
		item.New("R", "code", "RBC", "value", "4.90", "flag", "0"),
		item.New("R", "code", "HGB", "value", "001*", "flag", "0"), // what is no number is carried as sent
	}
	if !reflect.DeepEqual(got, want) || len(problems) > 0 {
		t.Errorf("%v %q", got, problems)
	}
	// Half a number is no number.
	cut, problems := records(t, fixed(), kx21[:len(kx21)-5])
	if len(cut) != 3 || len(problems) == 0 {
		t.Errorf("%v %q", cut, problems)
	}
}

func TestPrinterText(t *testing.T) {
	got, problems := records(t, printed(), strings.TrimPrefix(report, "--- Maker"))
	want := []item.Record{
		item.New("H", "serial", "348-D718", "time", "12:58", "date", "20 Nov 2019"),
		item.New("O", "specimen", "1386", "id", "000008233"),
		item.New("R", "code", "pH", "value", "7.973", "flag", "^"),
		item.New("R", "code", "Na+", "value", "134", "unit", "mmol/L"),
	}
	if !reflect.DeepEqual(got, want) || len(problems) != 1 || !strings.Contains(problems[0], "of no form") {
		t.Errorf("%v %q", got, problems)
	}
}

// Where a character is a byte, columns count bytes also where two of them are a letter.
func TestColumnsOfBytes(t *testing.T) {
	f := &textline.Format{Source: "test", Silence: textline.Span(time.Second), Lines: []textline.Line{{
		Matches: pattern("^O"), Record: item.Order,
		Columns: []textline.Column{{Name: "name", Place: textline.Place{At: 2, Length: 8}}, {Name: "specimen", Place: textline.Place{At: 10, Length: 2}}},
	}}}
	for _, c := range []struct {
		text, name string
		bytewise   bool
	}{
		{"O\xA7\xE7 A\xB8nh 27", "\xA7\xE7 A\xB8nh", true}, // TCVN3: Đỗ Ánh
		{"O\xA7\xE7 A\xB8nh 27", "\xA7\xE7 A\xB8nh", false},
		{"OĐỗ Ánhab27", "Đỗ Ánhab", false},
		{"O\xC3\xA9345678\x32\x37", "\xC3\xA9345678"[:8], true},
	} {
		got, problems := f.Records([]byte(c.text), c.bytewise)
		if len(got) != 1 || strings.TrimSpace(got[0].Get("name")) != c.name || got[0].Get("specimen") != "27" || len(problems) > 0 {
			t.Errorf("% X: %q %q", c.text, got, problems)
		}
	}
}

func TestTitledFields(t *testing.T) {
	got, problems := records(t, csv(), "ID,Jour,N' Echantillon,GB(10/uL),GB/M,RET\r\nXT-2000i,14/04,ACCC\xe9,572,+,    \r\n")
	want := []item.Record{
		item.New("O", "specimen", "ACCC\xe9", "day", "14/04", "model", "XT"),
		item.New("R", "code", "WBC", "value", "572", "flag", "+"),
	}
	if !reflect.DeepEqual(got, want) || len(problems) > 0 {
		t.Errorf("%v %q", got, problems)
	}
	if got, problems := records(t, csv(), "ID,Jour\nXT,1\n"); len(problems) < 3 || len(got) != 1 {
		t.Errorf("missing titles: %v %q", got, problems)
	}
}

func TestReceiver(t *testing.T) {
	f := fixed()
	sessiontest.Script{New: func() session.Core { return textline.NewReceiver(f) }, Text: `
# nothing is acknowledged: the same again is printed again
> noise<STX>` + kx21 + `<ETX>
= store ` + kx21 + `
= ended
> <CR><LF><STX>` + kx21 + `<ETX>
= store ` + kx21 + `
= ended
> <STX>D1U2020<STX>` + kx21 + `<ETX>
= incomplete D1U2020
= reason the next message began before the end of this one
= store ` + kx21 + `
= ended
> <STX>D1U
~
= incomplete D1U
= reason no end of the message for 30s
> <STX>D1U2
~ cut
= incomplete D1U2
= reason line cut
`}.Play(t)
	acked := fixed()
	acked.Ack, acked.Nak = textline.Bytes{6}, textline.Bytes{21}
	s := sessiontest.Script{New: func() session.Core { return textline.NewReceiver(acked) }, Text: `
> <STX>D1U1<ETX><STX>D1U1<ETX>
= store D1U1
< <ACK>
= store D1U1
< <ACK>
> <STX>D1U2<ETX>
= ended
= store D1U2
< <ACK>
`}
	s.Play(t)
	s.Disk(t)
	s.Faults(t, false)
}

func TestPrinterWithoutAnEnd(t *testing.T) {
	f := &textline.Format{Source: "test", Silence: textline.Span(2 * time.Second), Lines: []textline.Line{{Matches: pattern(".")}}}
	sessiontest.Script{New: func() session.Core { return textline.NewReceiver(f) }, Text: `
> <CR><LF><CR><LF>
~
> Na 140<CR><LF>
> K 4<CR><LF>
~
= store Na 140<CR><LF>K 4<CR><LF>
= ended
~
`}.Play(t)
}

func TestMessageOverTheLimit(t *testing.T) {
	r := &sessiontest.Run{Core: textline.NewReceiver(fixed())}
	long := append([]byte{2}, bytes.Repeat([]byte("x"), 1<<20+5)...)
	if err := r.Device(append(long, 3)); err != nil {
		t.Fatal(err)
	}
	if len(r.Stored) != 0 || len(r.Incomplete) != 1 {
		t.Fatalf("%d stored, %d incomplete", len(r.Stored), len(r.Incomplete))
	}
	if err := r.Device([]byte("\x02" + kx21 + "\x03")); err != nil || len(r.Stored) != 1 {
		t.Errorf("afterwards %d stored, %v", len(r.Stored), err)
	}
}

func TestBytes(t *testing.T) {
	var b textline.Bytes
	if err := b.UnmarshalText([]byte("<STX>a<x1B><CR><LF>")); err != nil || string(b) != "\x02a\x1b\r\n" {
		t.Errorf("%q %v", b, err)
	}
	for _, bad := range []string{"<", "<STY>", "<xGG>"} {
		if b.UnmarshalText([]byte(bad)) == nil {
			t.Errorf("%q is good", bad)
		}
	}
}

// The captures of a KX-21N: 129 characters between STX and ETX.
func TestSamples(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "samples", "lab", "sysmex-kx21n")
	line, err := os.ReadFile(filepath.Join(dir, "kx21N_3.txt"))
	if err != nil {
		t.Skip("the samples are not here: ", err)
	}
	r := &sessiontest.Run{Core: textline.NewReceiver(fixed())}
	if err := r.Device(line); err != nil {
		t.Fatal(err)
	}
	if len(r.Stored) != 3 {
		t.Fatalf("%d messages", len(r.Stored))
	}
	for i, want := range []string{"6.6", "6.6", "0.3"} {
		records, problems := fixed().Records(r.Stored[i], false)
		if len(problems) > 0 || records[1].Get("value") != want {
			t.Errorf("message %d: %v %q", i, records, problems)
		}
	}
}

func FuzzFormats(f *testing.F) {
	f.Add([]byte("\x02" + kx21 + "\x03"))
	f.Add([]byte(report))
	f.Add([]byte("ID,Jour,N' Echantillon,GB(10/uL),GB/M,RET\r\nXT,1,2,3,4,5\r\n"))
	f.Fuzz(func(t *testing.T, line []byte) {
		for _, format := range []*textline.Format{fixed(), printed(), csv()} {
			format.Records(line, len(line)%2 == 0) // does not panic
			if format.Titles {
				continue
			}
			r := &sessiontest.Run{Core: textline.NewReceiver(format)}
			if err := r.Device(line); err != nil {
				t.Fatal(err)
			}
			if err := r.Silence(); err != nil {
				t.Fatal(err)
			}
			for _, m := range r.Stored {
				if !bytes.Contains(line, m) {
					t.Fatalf("stored %q", m)
				}
			}
		}
	})
}

// A row with a field more or less than there are titles has slipped somewhere, a decimal
// comma for one: nothing is taken from it.
func TestARowOfAnotherWidthThanTheTitlesIsNotRead(t *testing.T) {
	f := &textline.Format{Separator: ",", Titles: true, Lines: []textline.Line{{
		Matches: pattern("."), Record: "R",
		Columns: []textline.Column{{Name: "code", Place: textline.Place{Title: "Code"}}, {Name: "value", Place: textline.Place{Title: "Value"}}},
	}}}
	records, problems := f.Records([]byte("Code,Value,Unit\nWBC,5.1,G/l\nRBC,5,1,T/l\nHGB,7\n"), false)
	if len(records) != 1 || records[0].Get("value") != "5.1" || len(problems) != 2 || !strings.Contains(problems[0], "line 3") || !strings.Contains(problems[1], "line 4") {
		t.Errorf("%v %q", records, problems)
	}
}

// A row that has more fields than are read is not read at all, and that is said: what its
// last fields are is not known.
func TestTooManyFieldsAreNotCut(t *testing.T) {
	for _, quotes := range []bool{false, true} {
		f := &textline.Format{Source: "test", Separator: ",", Quotes: quotes, Lines: []textline.Line{{
			Matches: pattern(`^XT`), Record: item.Order, Columns: []textline.Column{{Name: "specimen", Place: textline.Place{Field: 2}}}}}}
		most := "XT,S1" + strings.Repeat(",1", 4094)
		if got, problems := records(t, f, most); len(got) != 1 || len(problems) > 0 {
			t.Errorf("quotes %v: 4096 fields: %d records, problems %q", quotes, len(got), problems)
		}
		got, problems := records(t, f, "XT,S0\n"+most+",1\n")
		if len(got) != 1 || len(problems) != 1 || !strings.Contains(problems[0], "line 2 has more than 4096 fields") {
			t.Errorf("quotes %v: 4097 fields: %d records, problems %q", quotes, len(got), problems)
		}
	}
	f := &textline.Format{Source: "test", Separator: ",", Titles: true, Lines: []textline.Line{{Matches: pattern(`^XT`), Record: item.Order}}}
	if _, problems := records(t, f, strings.Repeat("a,", 4096)+"a\n"); len(problems) != 1 {
		t.Errorf("4097 titles: problems %q", problems)
	}
}
