package e1394

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func parse(t *testing.T, text string) Message {
	t.Helper()
	m, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestFieldsAreNumberedAsInTheManuals(t *testing.T) {
	m := parse(t, "H|\\^&|||Model^1.0^SN 5|||||||Q|E1394-97|20260114081500\r"+
		"O|1||^^   27^M|^^^^WBC\\^^^^RBC^x\\|R\r"+
		"R|1|^^^^WBC^1|-1^0.325|10*3/uL||N||F\rL|1\r")
	for _, c := range []struct {
		record     int
		path, want string
	}{
		{0, "1", "H"}, {0, "2", `\^&`}, {0, "2.1", `\^&`}, {0, "2.2", ""}, {0, "2[1]", `\^&`}, {0, "2[2]", ""}, {0, "5", "Model^1.0^SN 5"}, {0, "5.1", "Model"}, {0, "5.3", "SN 5"}, {0, "12", "Q"},
		{0, "14", "20260114081500"}, {0, "15", ""},
		{1, "3", ""}, {1, "4.3", "   27"}, {1, "4.5", ""},
		{1, "5", `^^^^WBC\^^^^RBC^x\`}, {1, "5.5", "WBC"}, {1, "5[1].5", "WBC"}, {1, "5[2].5", "RBC"}, {1, "5[2]", "^^^^RBC^x"}, {1, "5[2].6", "x"}, {1, "5[3].1", ""}, {1, "5[4]", ""},
		{2, "4.1", "-1"}, {2, "4.2", "0.325"}, {2, "9", "F"}, {2, "9.1", "F"}, {2, "9[1]", "F"}, {2, "10", ""},
		{3, "2", "1"}, {3, "3", ""},
		{3, "0", ""}, {3, "x", ""}, {3, "", ""}, {3, "1.0", ""}, {3, "1[", ""}, {3, "1[1", ""}, {3, "1[0]", ""}, {3, "99999999999999999999", ""}, {3, "+1", ""},
	} {
		if got := m.Records[c.record].Get(c.path); got != c.want {
			t.Errorf("%s.%s is %q, want %q", m.Records[c.record].Type(), c.path, got, c.want)
		}
	}
	for field, want := range map[int]int{2: 1, 3: 0, 5: 3, 6: 1, 7: 0} {
		if got := m.Records[1].Repeats(field); got != want {
			t.Errorf("O.%d has %d repeats, want %d", field, got, want)
		}
	}
	if got := m.Records[2].Fields(); !reflect.DeepEqual(got, []string{"R", "1", "^^^^WBC^1", "-1^0.325", "10*3/uL", "", "N", "", "F"}) {
		t.Errorf("%q", got)
	}
	if m.Header().Get("12") != "Q" || m.Delimiters() != Standard {
		t.Errorf("%+v", m.Header())
	}
}

func TestDelimitersAreThoseThatHDeclares(t *testing.T) {
	for text, want := range map[string]struct {
		d           Delimiters
		test, twice string
	}{
		"H|@^\\|X\rR|1|a^b@c^d|\\F\\\r":               {Delimiters{'|', '@', '^', '\\'}, "b", "d"},
		"H|`^&||\rR|1|a^b`c^d|&F&\r":                  {Delimiters{'|', '`', '^', '&'}, "b", "d"},
		"H!~#$!\rR!1!a#b~c#d!$F$\r":                   {Delimiters{'!', '~', '#', '$'}, "b", "d"},
		"H|\\^&\rH|@!%\rR|1|a!b@c!d|%F%\r":            {Delimiters{'|', '@', '!', '%'}, "b", "d"}, // the second H
		"H|\\^|\rR|1|a^b\\c^d|x\r":                    {Delimiters{'|', '\\', '^', 0}, "b", "d"},
		"H|\\\rR|1|a^b\\c^d|x\r":                      {Delimiters{'|', '\\', 0, 0}, "", ""},
		"H|\rR|1|a^b\\c^d|x\r":                        {Delimiters{'|', 0, 0, 0}, "", ""},
		"H|\\\\^|\rR|1|a^b\\c^d|x\r":                  {Delimiters{'|', '\\', 0, 0}, "", ""}, // one twice
		"H|\\^&||Model\r\n\r\nR|1|a^b\\c^d|&F&\r\n":   {Standard, "b", "d"},
		"H|\\^&||Model\nR|1|a^b\\c^d|&F&":             {Standard, "b", "d"},
		"\r\n\rH|\\^&||Model\r\rR|1|a^b\\c^d|&F&\r\r": {Standard, "b", "d"},
	} {
		m := parse(t, text)
		r := m.Records[len(m.Records)-1]
		if r.Delimiters != want.d {
			t.Errorf("%q: %+v", text, r.Delimiters)
		}
		if got := r.Get("3.2"); got != want.test {
			t.Errorf("%q: R.3.2 is %q", text, got)
		}
		if got := r.Get("3[2].2"); got != want.twice {
			t.Errorf("%q: R.3[2].2 is %q", text, got)
		}
		if want.d.Escape != 0 && r.Get("4") != string(want.d.Field) {
			t.Errorf("%q: R.4 is %q", text, r.Get("4"))
		}
	}
}

func TestMessageWithoutHeaderIsSplitAndSaidSo(t *testing.T) {
	m, err := Parse([]byte("P|1\rHello|x\rR|1|^^^A|5\r"))
	if err != ErrNoHeader || len(m.Records) != 3 || m.Records[2].Get("3.4") != "A" || m.Header().Get("5") != "" {
		t.Errorf("%+v, %v", m, err)
	}
	for _, empty := range []string{"", "\r\r\n"} {
		if m, err := Parse([]byte(empty)); err != ErrNoHeader || len(m.Records) != 0 || m.Delimiters() != Standard {
			t.Errorf("%q: %v", empty, err)
		}
	}
}

func TestLimits(t *testing.T) {
	var limit *LimitError
	m, err := Parse([]byte("H|\\^&\r" + strings.Repeat("A\r", MaxRecords)))
	if !errors.As(err, &limit) || limit.Record != MaxRecords+1 || len(m.Records) != MaxRecords {
		t.Errorf("%v", err)
	}
	m, err = Parse([]byte("H|\\^&\rR" + strings.Repeat("|", MaxFields)))
	if !errors.As(err, &limit) || limit.Record != 2 || len(m.Records) != 1 {
		t.Errorf("%v", err)
	}
	if _, err = Parse([]byte("H|\\^&\rR" + strings.Repeat("|", MaxFields-1))); err != nil {
		t.Errorf("%v", err)
	}
}

func TestEscapeSequences(t *testing.T) {
	for text, want := range map[string]string{
		"PNG&R&20230403&R&1":  `PNG\20230403\1`,
		"a&F&b&S&c&R&d&E&e":   `a|b^c\d&e`,
		"&X0D&&X4142&&X41&":   "\rABA",
		"&X4&&X&&XG0&":        "&X4&&X&&XG0&",
		"&H&bold&N&":          "&H&bold&N&",
		"Kell & Duffy & Kidd": "Kell & Duffy & Kidd",
		"&":                   "&", "&&": "&&", "&&F&": "&|", "&F": "&F", "x&FF&y": "x&FF&y", "&E&F&": "&F&",
	} {
		if got := Standard.Unescape([]byte(text)); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
	d := Delimiters{'|', '@', '^', '\\'}
	if got := d.Unescape([]byte(`\R\&F&\E\`)); got != `@&F&\` {
		t.Errorf("%q", got)
	}
}

func TestRecordIsWrittenByPaths(t *testing.T) {
	h := Standard.NewRecord("H")
	o := Standard.NewRecord("O")
	set := func(r *Record, path, text string) {
		t.Helper()
		if err := r.Set(path, text); err != nil {
			t.Fatal(err)
		}
	}
	set(&h, "5", "Nhip")
	set(&o, "26", "Q")
	set(&o, "3", "S|1")
	set(&o, "5[2].4", "RBC")
	set(&o, "5.4", "WBC")
	set(&o, "4.2", "^5\r")
	m := Message{[]Record{h, o}}
	want := "H|\\^&|||Nhip\rO||S&F&1|^&S&5&X0D&|^^^WBC\\^^^RBC|||||||||||||||||||||Q\r"
	if got := string(m.Bytes()); got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
	again := parse(t, want).Records[1]
	if again.Get("3") != "S|1" || again.Get("4.2") != "^5\r" || again.Get("26") != "Q" {
		t.Errorf("%q", again.Bytes)
	}
	for _, path := range []string{"1", "2", "x", "0"} {
		r := Standard.NewRecord("H")
		if err := r.Set(path, "y"); err == nil {
			t.Errorf("H.%s was set: %q", path, r.Bytes)
		}
	}
	bare := Delimiters{Field: '|'}.NewRecord("C")
	if bare.Set("3.2", "x") == nil || bare.Set("3[2]", "x") == nil {
		t.Errorf("%q", bare.Bytes)
	}
	set(&bare, "4", "a|b\rc")
	if got := string(bare.Bytes); got != "C|||a b c" {
		t.Errorf("%q", got)
	}
}

// Setting a part keeps the bytes of all others, and does not change what it was made of.
func TestSetKeepsTheOtherBytes(t *testing.T) {
	text := `R|1|^^^A\^^^B&H&|x &y|`
	m := parse(t, "H|\\^&\r"+text)
	r := m.Records[1]
	if err := r.Set("3[2].4", "new"); err != nil {
		t.Fatal(err)
	}
	if string(r.Bytes) != `R|1|^^^A\^^^new|x &y|` || string(m.Records[1].Bytes) != text {
		t.Errorf("%q, %q", r.Bytes, m.Records[1].Bytes)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("H|\\^&|||x\rP|1\rO|1|S\rR|1|^^^A\\^^^B|&F&&X41&\rL|1\r"), "3.4", "text")
	f.Add([]byte("H|@^\\\rR|1|a@b^c|\\R\\\r\n"), "3[2].2", "a|b")
	f.Add([]byte("HHHH\r\n"), "1", "")
	f.Fuzz(func(t *testing.T, b []byte, path, text string) {
		m, _ := Parse(b)
		before := string(b)
		for i := range m.Records {
			r := m.Records[i]
			r.Get(path)
			if strings.Join(r.Fields(), string([]byte{r.Delimiters.Field})) != string(r.Bytes) {
				t.Fatalf("fields of %q: %q", r.Bytes, r.Fields())
			}
			if err := r.Set(path, text); err == nil && r.Delimiters.Escape != 0 {
				if got := r.Get(path); got != text {
					t.Fatalf("%q.%s was set to %q, is %q", r.Bytes, path, text, got)
				}
			}
		}
		if string(b) != before {
			t.Fatal("Set changed the message")
		}
		again, _ := Parse(m.Bytes())
		if len(again.Records) != len(m.Records) {
			t.Fatalf("%d records, were %d", len(again.Records), len(m.Records))
		}
	})
}
