package vncharset

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

func set(t testing.TB, name string) *Charset {
	t.Helper()
	c, ok := Lookup(name)
	if !ok {
		t.Fatal(name)
	}
	return c
}

// The bytes are written out: from RFC 1456, from the code page, from what the
// converters in use write.
var cases = []struct{ set, text, bytes string }{
	{"VISCII", "Nguyễn Thị Ánh", "Nguy\xADn Th\xB8 \xC1nh"},
	{"VISCII", "ẲẴẪỶỸỴ", "\x02\x05\x06\x14\x19\x1E"},
	{"TCVN5712-1", "Nguyễn Thị Ánh", "Nguy\xD4n Th\xDE \x83nh"},
	{"windows-1258", "Nguyễn Thị Ánh", "Nguy\xEA\xDEn Th\x69\xF2 \xC1nh"},
	{"CP1258", "Đặng Ước €", "\xD0\xE3\xF2ng \xDD\xF5\xECc \x80"},
	{"TCVN3", "Nguyễn Thị ánh", "Nguy\xD4n Th\xDE \xB8nh"},
	{"tcvn3", "Đỗ Ơn", "\xA7\xE7 \xA5n"},
	{"VNI", "Nguyễn Thị Ánh", "Nguye\xE3n Th\xF2 A\xD9nh"},
	{"VNI", "Ỷ ỷ Ỹ ỹ Ỵ ỵ", "Y\xDB y\xFB Y\xD5 y\xF5 \xCE \xEE"},
	{"VPS", "Nguyễn Thị", "Nguy\xCDn Th\xCE"},
}

func TestBothWays(t *testing.T) {
	for _, c := range cases {
		s := set(t, c.set)
		if got := s.Decode([]byte(c.bytes)); got != c.text {
			t.Errorf("%s: % X reads %q, want %q", c.set, c.bytes, got, c.text)
		}
		for _, text := range []string{c.text, norm.NFD.String(c.text)} {
			if got, err := s.Encode(text); err != nil || string(got) != c.bytes {
				t.Errorf("%s: %+q is % X, %v, want % X", c.set, text, got, err, c.bytes)
			}
		}
	}
}

func TestCapitalsThatAFontMade(t *testing.T) {
	for bytes, want := range map[string]string{
		"NGUY\xD4N TH\xDE \xB8NH": "NGUYỄN THỊ ÁNH",
		"Nguy\xD4n":               "Nguyễn",
		"A\xB8nh A\xB5":           "Ánh À",
		"\xD3":                    "ể", // nothing tells
	} {
		if got := set(t, TCVN3).Decode([]byte(bytes)); got != want {
			t.Errorf("% X reads %q, want %q", bytes, got, want)
		}
	}
}

func TestAllLettersComeBackInEverySet(t *testing.T) {
	for _, name := range []string{VISCII, TCVN, CP1258, TCVN3, VNI, VPS} {
		s := set(t, name)
		for _, l := range letters {
			text := "x" + string(l.letter) + "x"
			b, err := s.Encode(text)
			if err != nil {
				t.Errorf("%s: %c: %v", name, l.letter, err)
				continue
			}
			if got := s.Decode(b); got != text {
				t.Errorf("%s: %c comes back as %q", name, l.letter, got)
			}
		}
	}
}

func TestWhatASetDoesNotHaveIsRefused(t *testing.T) {
	for _, name := range []string{VISCII, TCVN, CP1258, TCVN3, VNI, VPS} {
		if _, err := set(t, name).Encode("山"); err != ErrLetter {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := set(t, VISCII).Encode("\x02"); err != ErrLetter {
		t.Error("a control character would be read back as a letter")
	}
	if got := set(t, TCVN3).Decode([]byte("\x80x\xFF")); got != "\uFFFDx\uFFFD" {
		t.Errorf("%q", got)
	}
	if _, ok := Lookup("EBCDIC"); ok {
		t.Error("EBCDIC is a set")
	}
}

// iconv runs the converter of the C library; the test is skipped where it lacks the
// set.
func iconv(t *testing.T, from, to string, b []byte) ([]byte, bool) {
	t.Helper()
	command := exec.Command("iconv", "-f", from, "-t", to)
	command.Stdin = bytes.NewReader(b)
	out, err := command.Output()
	return out, err == nil
}

func haveIconv(t *testing.T) {
	t.Helper()
	list, err := exec.Command("iconv", "-l").Output()
	if err != nil || !bytes.Contains(list, []byte("TCVN5712-1//")) || !bytes.Contains(list, []byte("VISCII//")) {
		t.Skip("iconv does not know TCVN5712-1 and VISCII here")
	}
}

func TestEveryByteAsIconvReadsIt(t *testing.T) {
	haveIconv(t)
	for _, name := range []string{VISCII, TCVN, CP1258} {
		s := set(t, name)
		for b := range 256 {
			// The letter behind it makes iconv give what it holds back for a tone.
			text := []byte{byte(b), 'X'}
			want, ok := iconv(t, name, "UTF-8", text)
			if !ok {
				want = []byte("\uFFFDX")
			}
			if got := s.Decode(text); got != norm.NFC.String(string(want)) {
				t.Errorf("%s: %02X reads %+q, iconv %+q", name, b, got, want)
			}
		}
	}
}

func TestNamesAsIconvWritesThem(t *testing.T) {
	haveIconv(t)
	alphabet := []rune(" abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-")
	for _, l := range letters {
		alphabet = append(alphabet, l.letter)
	}
	random := rand.New(rand.NewPCG(1, 2))
	var text []rune
	for range 2000 {
		for range 1 + random.IntN(64) {
			text = append(text, alphabet[random.IntN(len(alphabet))])
		}
		text = append(text, '\n')
	}
	for _, name := range []string{VISCII, TCVN, CP1258} {
		want, ok := iconv(t, "UTF-8", name, []byte(string(text)))
		if !ok {
			t.Fatal("iconv refuses the names")
		}
		got, err := set(t, name).Encode(string(text))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: written otherwise than by iconv (%v)", name, err)
		}
		if set(t, name).Decode(want) != string(text) {
			t.Errorf("%s: read otherwise than by iconv", name)
		}
	}
}

func TestFoldAsIconvTransliterates(t *testing.T) {
	haveIconv(t)
	for _, l := range letters {
		command := exec.Command("iconv", "-f", "UTF-8", "-t", "ASCII//TRANSLIT")
		command.Stdin = strings.NewReader(string(l.letter))
		command.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
		want, err := command.Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := Fold(string(l.letter)); got != string(want) {
			t.Errorf("%c is %q, iconv %q", l.letter, got, want)
		}
	}
	if got := Fold("Ðang ðo Đặng"); got != "Dang do Dang" {
		t.Errorf("%q", got)
	}
}

// The table beside the checkout was made from iconv and two public tables.
func TestTableOfTheReference(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "data", "vn_tables.tsv"))
	if err != nil {
		t.Skip("no table of Vietnamese character sets beside this checkout")
	}
	rows := 0
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(strings.TrimSpace(line), "\t")
		if strings.HasPrefix(line, "#") || len(cells) < 8 {
			continue
		}
		rows++
		for i, name := range []string{VISCII, TCVN, CP1258, TCVN3, VNI, VPS} {
			got, err := set(t, name).Encode(cells[0])
			if want := cells[2+i]; err != nil || hexOf(got) != want {
				t.Errorf("%s: %s is %s, %v, want %s", name, cells[0], hexOf(got), err, want)
			}
		}
	}
	if rows != len(letters) {
		t.Errorf("%d rows", rows)
	}
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var s []byte
	for _, c := range b {
		s = append(s, digits[c>>4], digits[c&15])
	}
	return string(s)
}

func TestGuessNamesTheSet(t *testing.T) {
	text := "PID|1||T0001||Nguyễn Thị Ánh^Trần Văn Đức^Lê Hữu Phước\rOBR|1||Công thức máu, đông máu\r"
	for _, name := range candidates {
		b, err := set(t, name).Encode(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := Guess(b); got != name {
			t.Errorf("%s is taken for %q", name, got)
		}
	}
	for _, other := range []string{text, "M\xFCller gro\xDF K\xF6ln", "\xFF\xFE\x00", "plain"} {
		if got := Guess([]byte(other)); got != "" {
			t.Errorf("%q is taken for %s", other, got)
		}
	}
	if !Plausible("Trần Thị Bưởi") || Plausible("NguyÔn ThÞ ¸nh") || Plausible("Nguyen") {
		t.Error("Plausible")
	}
}

// Whatever the bytes: text, and text that the set has comes back.
func FuzzDecode(f *testing.F) {
	for _, c := range cases {
		f.Add([]byte(c.bytes))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		Guess(b)
		for name, s := range sets() {
			text := s.Decode(b)
			if !utf8.ValidString(text) {
				t.Fatalf("%s: no text", name)
			}
			again, err := s.Encode(text)
			if err != nil || s.capital {
				continue
			}
			if got := s.Decode(again); got != norm.NFC.String(text) {
				t.Fatalf("%s: %q comes back as %q", name, text, got)
			}
		}
	})
}
