package charset

import (
	"runtime"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"
)

// The examples of PS3.5 annexes H to K, and others, in both directions.
func TestBothWays(t *testing.T) {
	for _, c := range []struct {
		name  string
		terms []string
		d     Delimiters
		bytes string
		text  string
	}{
		{"H.3.1 Japanese", []string{"", "ISO 2022 IR 87"}, Name,
			"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
			"Yamada^Tarou=山田^太郎=やまだ^たろう"},
		{"H.3.2 Japanese with katakana", []string{"ISO 2022 IR 13", "ISO 2022 IR 87"}, Name,
			"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
			"ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"},
		{"I.2 Korean", []string{"", "ISO 2022 IR 149"}, Name,
			"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
			"Hong^Gildong=洪^吉洞=홍^길동"},
		{"I.3 Korean, text of two lines", []string{"", "ISO 2022 IR 149"}, Text,
			"The 1st line includes \x1b$)C\xb1\xe6\xb5\xbf.\r\nThe 2nd \x1b$)C\xb1\xe6\xb5\xbf, too.",
			"The 1st line includes 길동.\r\nThe 2nd 길동, too."},
		{"K.2 Chinese, GB2312", []string{"", "ISO 2022 IR 58"}, Name,
			"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=", "Zhang^XiaoDong=张^小东="},
		{"J.1 Chinese, UTF-8", []string{"ISO_IR 192"}, Name,
			"Wang^XiaoDong=\xe7\x8e\x8b^\xe5\xb0\x8f\xe6\x9d\xb1=", "Wang^XiaoDong=王^小東="},
		{"J.3 Chinese, GB18030", []string{"GB18030"}, Name,
			"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=", "Wang^XiaoDong=王^小东="},
		{"GBK with 5C in a character", []string{"GBK"}, Values, "\x89\x5c\\A", "塡\\A"},
		{"JIS X 0212", []string{"", "ISO 2022 IR 87", "ISO 2022 IR 159"}, Values,
			"\x1b$(D0!\x1b(B\\A", "丂\\A"},
		{"JIS X 0208 with 5C, 5E and 3D in characters", []string{"", "ISO 2022 IR 87"}, Name,
			"\x1b$B0\\^=\x1b(B", "移渊"},
		{"Latin 1", []string{"ISO_IR 100"}, Name, "Buc^J\xe9r\xf4me", "Buc^Jérôme"},
		{"Latin 2", []string{"ISO_IR 101"}, Name, "Wa\xb3\xeasa", "Wałęsa"},
		{"Latin 3", []string{"ISO_IR 109"}, Values, "\xe6", "ĉ"},
		{"Latin 4", []string{"ISO_IR 110"}, Values, "\xbd", "Ŋ"},
		{"Cyrillic", []string{"ISO_IR 144"}, Name, "\xbb\xee\xdace\xdc\xd1yp\xd3", "Люкceмбypг"},
		{"Arabic", []string{"ISO_IR 127"}, Name, "\xe2\xc8\xc7\xe6\xea^\xe4\xe6\xd2\xc7\xd1", "قباني^لنزار"},
		{"Greek", []string{"ISO_IR 126"}, Name, "\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2", "Διονυσιος"},
		{"Hebrew", []string{"ISO_IR 138"}, Name, "\xf9\xf8\xe5\xef^\xe3\xe1\xe5\xf8\xe4", "שרון^דבורה"},
		{"Turkish", []string{"ISO_IR 148"}, Name, "\xc7avu\xfeo\xf0lu", "Çavuşoğlu"},
		{"Latin 9", []string{"ISO_IR 203"}, Values, "\xa4", "€"},
		{"Thai", []string{"ISO_IR 166"}, Values, "\xa1\xd2\xc3", "การ"},
		{"katakana without extensions", []string{"ISO_IR 13"}, Name, "\xd4\xcf\xc0\xde^\xc0\xdb\xb3", "ﾔﾏﾀﾞ^ﾀﾛｳ"},
		{"Cyrillic and Latin 1 by extension", []string{"ISO 2022 IR 100", "ISO 2022 IR 144"}, Values,
			"J\xe9\x1b-L\xbb\\\xe9", "JéЛ\\é"},
		{"Thai by extension", []string{"", "ISO 2022 IR 166"}, Name, "A^\x1b-T\xa1\xd2\xc3", "A^การ"},
		{"ASCII", nil, Name, "Nguyen^Van A", "Nguyen^Van A"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := New(c.terms...)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Decode([]byte(c.bytes), c.d); got != c.text {
				t.Errorf("decoded %q, want %q", got, c.text)
			}
			if got, err := s.Encode(c.text, c.d); err != nil || string(got) != c.bytes {
				t.Errorf("encoded %q, %v; want %q", got, err, c.bytes)
			}
		})
	}
}

func TestDecodeOnly(t *testing.T) {
	for _, c := range []struct {
		name  string
		terms []string
		d     Delimiters
		bytes string
		text  string
	}{
		{"Shift JIS under the name of ISO_IR 13, with 5C in a character", []string{"ISO_IR 13"}, Values, "\x94\x5c\\\xb1", "能\\ｱ"},
		{"no charset, high bytes", nil, Values, "J\xe9", "Jé"},
		{"a term that does not exist", []string{"ISO_IR 999"}, Values, "J\xe9", "Jé"},
		{"invalid UTF-8", []string{"ISO_IR 192"}, Values, "A\xffB", "A\uFFFDB"},
		{"half a character at the end", []string{"", "ISO 2022 IR 87"}, Values, "\x1b$B;3E", "山E"},
		{"unterminated escape", []string{"", "ISO 2022 IR 87"}, Values, "A\x1b$", "A\x1b$"},
		{"escape of nothing", []string{"", "ISO 2022 IR 87"}, Values, "A\x1bzB", "A\x1bzB"},
		{"a set that was not announced", []string{"", "ISO 2022 IR 87"}, Values, "\x1b-L\xd0\xbb", "аЛ"},
		{"reset at a delimiter though G0 was not restored", []string{"", "ISO 2022 IR 149"}, Name, "\x1b$)C\xc8\xab^\xc8\xab", "홍^È«"},
		{"UTF-8 does not go together with others", []string{"ISO_IR 192", "ISO 2022 IR 87"}, Values, "\xe7\x8e\x8b", "王"},
		{"odd spelling", []string{"iso-ir 101"}, Values, "\xb3", "ł"},
		{"ISO 2022 58", []string{"", "ISO 2022 58"}, Values, "\x1b$)A\xd5\xc5", "张"},
		{"Korean as the first term", []string{"ISO 2022 IR 149"}, Name, "\xc8\xab^\xb1\xe6", "홍^길"},
	} {
		s, _ := New(c.terms...)
		if got := s.Decode([]byte(c.bytes), c.d); got != c.text {
			t.Errorf("%s: %q, want %q", c.name, got, c.text)
		}
	}
}

func TestTextThatCannotBeHeld(t *testing.T) {
	for _, c := range []struct {
		terms []string
		text  string
		names string
	}{
		{nil, "Nguyễn", "U+1EC5"},
		{[]string{"ISO_IR 100"}, "Nguyễn", "U+1EC5"},
		{[]string{"ISO_IR 13"}, "山", "U+5C71"},
		{[]string{"", "ISO 2022 IR 87"}, "홍", "U+D64D"},
		{[]string{"", "ISO 2022 IR 149"}, "똠", "U+B620"}, // in CP949 only
		{[]string{"", "ISO 2022 IR 58"}, "張", "U+5F35"},  // in GBK only
		{[]string{"ISO_IR 166"}, "€", "U+20AC"},          // in Windows-874 only
		{[]string{"ISO_IR 192"}, "a\xff", "no UTF-8"},
		{[]string{"", "ISO 2022 IR 87"}, "a\x1b(B", "escape"},
	} {
		s, err := New(c.terms...)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := s.Encode(c.text, Name); err == nil || !strings.Contains(err.Error(), c.names) {
			t.Errorf("%v %q: %q, %v", c.terms, c.text, b, err)
		} else if strings.Contains(err.Error(), c.text) {
			t.Errorf("the error holds the text: %v", err)
		}
	}
	// Vietnamese in every form, by ISO_IR 192.
	s, _ := New("ISO_IR 192")
	for _, form := range []norm.Form{norm.NFC, norm.NFD} {
		if b, err := s.Encode(form.String("Nguyễn Thị Hồng"), Name); err != nil || s.Decode(b, Name) != form.String("Nguyễn Thị Hồng") {
			t.Error(err)
		}
	}
}

func TestUnknownTermsAreNamed(t *testing.T) {
	if _, err := New("", "ISO 2022 IR 87", "LATIN"); err == nil || !strings.Contains(err.Error(), `"LATIN"`) {
		t.Error(err)
	}
}

// FuzzDecode: no panic, the result is UTF-8, bounded, and what was decoded without
// a loss is encoded and decoded to the same.
func FuzzDecode(f *testing.F) {
	f.Add("", "ISO 2022 IR 87", []byte("Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"))
	f.Add("ISO 2022 IR 13", "ISO 2022 IR 159", []byte("\xd4\xcf\x1b$(D0!\x1b(J^"))
	f.Add("", "ISO 2022 IR 149", []byte("\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce"))
	f.Add("", "ISO 2022 IR 58", []byte("\x1b$)A\xd5\xc5^"))
	f.Add("GB18030", "", []byte("\xcd\xf5^\x81\x30\x81\x30"))
	f.Add("ISO_IR 192", "", []byte("\xe7\x8e\x8b"))
	f.Add("ISO_IR 13", "", []byte("\x94\x5c\\"))
	f.Add("ISO 2022 IR 100", "ISO 2022 IR 144", []byte("J\xe9\x1b-L\xbb"))
	f.Fuzz(func(t *testing.T, first, second string, b []byte) {
		s, _ := New(first, second)
		text := s.Decode(b, Name)
		if len(text) > 3*len(b) {
			t.Fatalf("%d bytes became %d", len(b), len(text))
		}
		if strings.ContainsRune(text, 0xFFFD) {
			return
		}
		again, err := s.Encode(text, Name)
		if err != nil {
			return
		}
		same := func(text string) string {
			return strings.Map(func(r rune) rune {
				if other, ok := alternatives[r]; ok {
					return other
				}
				return r
			}, text)
		}
		if got := s.Decode(again, Name); same(got) != same(text) {
			t.Fatalf("%q became %q", text, got)
		}
	})
}

// Text that changes sets at every character costs no more memory than other text.
func TestDecodingIsBounded(t *testing.T) {
	for _, c := range []struct{ terms, piece string }{
		{"\\ISO 2022 IR 149", "\x1b$)C\xc8\xab"}, {"\\ISO 2022 IR 87", "\x1b$B0!\x1b(B"}, {"\\ISO 2022 IR 159", "\x1b$(D0!"},
		{"ISO 2022 IR 13\\ISO 2022 IR 87", "\xd4\x1b"}, {"ISO 2022 IR 100\\ISO 2022 IR 144", "\xe9\x1b-L\xbb"}, {"GB18030", "\x81\x30\x81\x30\xff"},
		{"ISO_IR 13", "\xb1"}, {"ISO_IR 166", "\xa1"}, {"", "\xe9"}, {"ISO_IR 192", "\xff"}, {"GBK", "\x89\x5c"},
	} {
		s, _ := New(strings.Split(c.terms, "\\")...)
		b := []byte(strings.Repeat(c.piece, 100000))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s.Decode(b, Name)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > uint64(8*len(b)+1<<20) {
			t.Errorf("%s: %d bytes allocated for %d", c.terms, used, len(b))
		}
	}
}
