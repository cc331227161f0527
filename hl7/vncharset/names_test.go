package vncharset

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

func namesOf(t testing.TB, word string) Names {
	t.Helper()
	n, err := ParseNames(word)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// onLines are the sets that may be written to a line whose frames are control
// characters.
var onLines = []string{NamesASCII, NamesUTF8, NamesCP1258, NamesTCVN3, NamesVNI, NamesLatin1, NamesCP1252}

func TestNamesAreWrittenAsTheMachineShowsThem(t *testing.T) {
	const name = "Nguyễn Thị Ánh Đào"
	for word, want := range map[string]string{
		"":          "Nguyen Thi Anh Dao",
		NamesASCII:  "Nguyen Thi Anh Dao",
		NamesUTF8:   name,
		NamesCP1258: "Nguy\xEA\xDEn Thi\xF2 \xC1nh \xD0\xE0o",
		NamesTCVN3:  "Nguy\xD4n Th\xDE A\xB8nh \xA7\xB5o",
		NamesVNI:    "Nguye\xE3n Th\xF2 A\xD9nh \xD1a\xF8o",
		NamesLatin1: "Nguyen Thi \xC1nh D\xE0o",
		NamesCP1252: "Nguyen Thi \xC1nh D\xE0o",
		NamesVISCII: "Nguy\xADn Th\xB8 \xC1nh \xD0\xE0o",
		NamesTCVN:   "Nguy\xD4n Th\xDE \x83nh \xA7\xB5o",
		NamesVPS:    "Nguy\xCDn Th\xCE \xC1nh \xF1\xE0o",
	} {
		n := namesOf(t, word)
		// The converters in use write TCVN3's Á as A and the byte of á; it is one letter.
		for _, form := range []string{name, norm.NFD.String(name)} {
			if got := string(n.Write(form)); got != want {
				t.Errorf("%s: %+q is % X, want % X", n, form, got, want)
			}
		}
	}
}

func TestWhatTheMachineCannotShowIsFolded(t *testing.T) {
	for _, c := range []struct{ word, text, want string }{
		{NamesASCII, "Ðang ðo Đặng", "Dang do Dang"},
		{NamesASCII, "O'Neil–Zoë\t山\u200B\x02\u0301", "O'Neil?Zoe ? "},
		{NamesTCVN3, "Ðỗ ðo Zoë 山", "\xA7\xE7 \xAEo Zoe ?"},
		{NamesVNI, "Ðo ðo 山 Jaørg €", "\xD1o \xF1o ? Ja?rg \x80"},
		{NamesCP1258, "Ðo ðo ẁ", "\xD0o \xF0o w\xCC"},
		{NamesLatin1, "Ặ €", "A ?"},
		{NamesUTF8, "a\x00b\x7F\u0085\uFFFD\xFF", "a b  ??"},
		{NamesUTF8, "\u0301e\u0301", "é"},
	} {
		if got := string(namesOf(t, c.word).Write(c.text)); got != c.want {
			t.Errorf("%s: %+q is %+q, want %+q", c.word, c.text, got, c.want)
		}
	}
}

// Every character of the first plane, and of the others many, in every set for a line: no
// byte is a control character.
func TestNothingThatIsWrittenIsAControlCharacter(t *testing.T) {
	var all strings.Builder
	for r := rune(0); r <= utf8.MaxRune; r++ {
		all.WriteRune(r) // surrogates become U+FFFD
		if r%7 == 0 {
			all.WriteByte('a')
		}
		if r > 0xFFFF {
			r += 100
		}
	}
	for _, word := range onLines {
		n := namesOf(t, word)
		if n.Controls() {
			t.Errorf("%s is said to have control characters", word)
		}
		b := n.Write(all.String())
		if i := bytes.IndexFunc(b, func(r rune) bool { return r < ' ' || r == 0x7F }); i >= 0 {
			t.Errorf("%s writes %02X", word, b[i])
		}
		if len(b) < 0x10000/2 {
			t.Errorf("%s writes %d bytes", word, len(b))
		}
	}
	for _, word := range []string{NamesVISCII, NamesTCVN, NamesVPS} {
		if !namesOf(t, word).Controls() {
			t.Errorf("%s is said to have no control characters", word)
		}
	}
}

func TestTextIsCutAtALetter(t *testing.T) {
	const name = "Nguyễn Thị Ệ" // in NFC and NFD
	for _, c := range []struct {
		word string
		most int
		want string
	}{
		{NamesASCII, 5, "Nguye"}, {NamesASCII, 7, "Nguyen"}, {NamesASCII, 0, ""}, {NamesASCII, 99, "Nguyen Thi E"},
		{NamesUTF8, 5, "Nguyễ"}, {NamesUTF8, 4, "Nguy"}, {NamesUTF8, 12, name}, {NamesUTF8, 11, "Nguyễn Thị"},
		{NamesCP1258, 5, "Nguy"}, {NamesCP1258, 6, "Nguy\xEA\xDE"}, {NamesCP1258, 7, "Nguy\xEA\xDEn"},
		{NamesTCVN3, 5, "Nguy\xD4"}, {NamesTCVN3, 12, "Nguy\xD4n Th\xDE"}, {NamesTCVN3, 13, "Nguy\xD4n Th\xDE \xA3\xD6"},
		{NamesVNI, 5, "Nguy"}, {NamesVNI, 6, "Nguye\xE3"},
	} {
		for _, form := range []string{name, norm.NFD.String(name)} {
			if got := string(namesOf(t, c.word).Cut(form, c.most)); got != c.want {
				t.Errorf("%s, %d: % X, want % X", c.word, c.most, got, c.want)
			}
		}
	}
}

// A letter whose marks are characters of their own is whole or not there.
func TestMarksStayWithTheirLetter(t *testing.T) {
	n := namesOf(t, NamesUTF8)
	for most, want := range []string{"", "a", "a", "ax\u0323", "ax\u0323b"} {
		if got := string(n.Cut("ax\u0323b", most)); got != want {
			t.Errorf("%d: %+q, want %+q", most, got, want)
		}
	}
	if got := string(n.Pad("ax\u0323", 3)); got != "a  " {
		t.Errorf("%+q", got)
	}
}

// However short: what is left is the beginning of the whole, and reads as one.
func TestNoCutSplitsALetter(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, word := range onLines {
		n := namesOf(t, word)
		for range 60 {
			name := randomName(random, 20)
			whole := n.Text(name)
			for most := range 45 {
				b := n.Cut(name, most)
				length := len(b)
				if word == NamesUTF8 {
					length = utf8.RuneCount(b)
				}
				if length > most {
					t.Fatalf("%s: %d characters of %d", word, length, most)
				}
				text, problem := n.Read(b)
				// In TCVN3 the letters that are left of a word may be all capitals.
				if problem != "" || !strings.HasPrefix(whole, text) && word != NamesTCVN3 || !strings.HasPrefix(string(n.Write(name)), string(b)) {
					t.Fatalf("%s: %q cut at %d reads %q (%s)", word, whole, most, text, problem)
				}
				if pad := n.Pad(name, most); len(pad) != most || !bytes.HasPrefix(bytes.TrimRight(pad, " "), bytes.TrimRight(b, " ")) && word != NamesUTF8 || !utf8.Valid(pad) && word == NamesUTF8 {
					t.Fatalf("%s: % X in a column of %d is % X", word, b, most, pad)
				}
			}
		}
	}
}

func alphabet() []rune {
	all := []rune(" abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-")
	for _, l := range letters {
		all = append(all, l.letter)
	}
	return all
}

func randomName(random *rand.Rand, most int) string {
	all := alphabet()
	name := make([]rune, 1+random.IntN(most))
	for i := range name {
		name[i] = all[random.IntN(len(all))]
	}
	return string(name)
}

func TestNamesComeBack(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for _, word := range []string{NamesUTF8, NamesCP1258, NamesTCVN3, NamesVNI, NamesVISCII, NamesTCVN, NamesVPS} {
		n := namesOf(t, word)
		for i := range 2000 {
			name := randomName(random, 64)
			if word == NamesTCVN3 { // in which case cannot change within a word
				name = []func(string) string{strings.ToLower, strings.ToUpper}[i%2](name)
			}
			for _, form := range []string{name, norm.NFD.String(name)} {
				if got, problem := n.Read(n.Write(form)); got != name || problem != "" {
					t.Fatalf("%s: %+q comes back as %+q (%s)", word, form, got, problem)
				}
			}
		}
	}
}

func TestWhatTheMachineSendsIsRead(t *testing.T) {
	for _, c := range []struct {
		word, bytes, want string
		problem           ReadProblem
	}{
		{NamesASCII, "Nguyễn", "Nguyễn", ""},
		{NamesASCII, "\xB5mol/L", "µmol/L", Undeclared},
		{NamesASCII, "NGUY\xD4N", "NGUYÔN", Undeclared},
		{NamesUTF8, "NGUY\xD4N \xFF\xFE", "NGUY\uFFFDN \uFFFD\uFFFD", Undecodable},
		{NamesUTF8, "Nguyễn", "Nguyễn", ""},
		{NamesTCVN3, "NGUY\xD4N TH\xDE \xB8NH", "NGUYỄN THỊ ÁNH", ""},
		{NamesTCVN3, "\xA7\xE7 A\xB8nh \x80", "Đỗ Ánh \uFFFD", Undecodable},
		{NamesVNI, "\xD1o\xE3 Y\xDB y\xFB Y\xD5 y\xF5", "Đỗ Ỷ ỷ Ỹ ỹ", ""},
		{NamesCP1258, "\xD0\xF4\xDE a\xD2", "Đỗ ả", ""},
		{NamesCP1258, "\x8A", "\uFFFD", Undecodable},
		{NamesLatin1, "\xB5mol/L", "µmol/L", ""},
		{NamesVISCII, "\x02 \x05", "Ẳ Ẵ", ""},
	} {
		if got, problem := namesOf(t, c.word).Read([]byte(c.bytes)); got != c.want || problem != c.problem {
			t.Errorf("%s: % X reads %+q (%s), want %+q (%s)", c.word, c.bytes, got, problem, c.want, c.problem)
		}
	}
}

// Bytes that were read while nothing was declared can be had back.
func TestUndeclaredBytesLoseNothing(t *testing.T) {
	for a := range 256 {
		for b := 0x80; b < 256; b++ {
			bytes := []byte{byte(a), byte(b)}
			text, problem := Names{}.Read(bytes)
			if utf8.Valid(bytes) {
				if text != string(bytes) || problem != "" {
					t.Fatalf("% X reads %q", bytes, text)
				}
				continue
			}
			r := []rune(text)
			if len(r) != 2 || r[0] != rune(a) || r[1] != rune(b) || problem != Undeclared {
				t.Fatalf("% X reads %q (%s)", bytes, text, problem)
			}
		}
	}
}

// An identifier is the same or is not written.
func TestIdentifierIsNeverChanged(t *testing.T) {
	for _, c := range []struct {
		word, text, want string
		ok               bool
	}{
		{NamesASCII, "27 /A", "27 /A", true}, {NamesASCII, "Đ27", "", false}, {NamesASCII, "2\t7", "2\t7", true},
		{NamesUTF8, "Đ27", "Đ27", true}, {NamesUTF8, "\xFF", "", false},
		{NamesTCVN3, "Đ27", "\xA727", true}, {NamesTCVN3, "ð27", "", false}, {NamesTCVN3, "Aễ", "", false},
		{NamesVNI, "Ỹ1", "Y\xD51", true}, {NamesCP1258, norm.NFD.String("Ỹ1"), "Y\xDE1", true}, {NamesLatin1, "é1", "\xE91", true}, {NamesLatin1, "ễ1", "", false},
	} {
		got, ok := namesOf(t, c.word).Exactly(c.text)
		if ok != c.ok || ok && string(got) != c.want {
			t.Errorf("%s: %+q is % X, %v", c.word, c.text, got, ok)
		}
	}
}

func TestUnknownWord(t *testing.T) {
	for _, word := range []string{"ebcdic", "TCVN3", "utf8"} {
		if _, err := ParseNames(word); err == nil {
			t.Errorf("%q is a set of names", word)
		}
	}
	for _, word := range NamesWords {
		if n := namesOf(t, word); n.String() != word || n.Automatic() != (word == NamesASCII) {
			t.Errorf("%s is %s", word, n)
		}
		if _, ok := Lookup(namesOf(t, word).Charset()); !ok && namesOf(t, word).set != nil {
			t.Errorf("%s is no set of a link", word)
		}
	}
}

// The golden table has what iconv and the public tables say (see golden.tsv), so that
// this holds where there is no iconv: 134 letters in seven sets and in ASCII.
func TestGoldenTable(t *testing.T) {
	golden := filepath.Join("testdata", "golden.tsv")
	sets := []string{NamesASCII, NamesCP1258, NamesTCVN3, NamesVNI, NamesVISCII, NamesTCVN, NamesVPS}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(want)) {
		cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if strings.HasPrefix(line, "#") {
			continue
		}
		rows++
		letter := cells[0]
		for i, word := range sets {
			n := namesOf(t, word)
			for _, form := range []string{letter, norm.NFD.String(letter)} {
				if got := hexOf(n.Write(form)); got != cells[1+i] {
					t.Errorf("%s: %+q is %s, want %s", word, form, got, cells[1+i])
				}
			}
			if word == NamesASCII {
				continue
			}
			b := make([]byte, len(cells[1+i])/2)
			for j := range b {
				v, err := strconv.ParseUint(cells[1+i][2*j:2*j+2], 16, 8)
				if err != nil {
					t.Fatal(err)
				}
				b[j] = byte(v)
			}
			// Beside a capital the letter of a font of capitals is one too.
			if got, problem := n.Read(append(b, 'x')); got != letter+"x" || problem != "" {
				t.Errorf("%s: %s reads %q (%s), want %s", word, cells[1+i], got, problem, letter)
			}
		}
	}
	if rows != 134 {
		t.Errorf("%d letters", rows)
	}
}

// What iconv writes of the letters is what the golden table has.
func TestGoldenTableIsThatOfIconv(t *testing.T) {
	haveIconv(t)
	golden, err := os.ReadFile(filepath.Join("testdata", "golden.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(golden)) {
		cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if strings.HasPrefix(line, "#") {
			continue
		}
		for column, set := range map[int]string{2: CP1258, 5: VISCII, 6: TCVN} {
			if b, ok := iconv(t, "UTF-8", set, []byte(cells[0])); !ok || hexOf(b) != cells[column] {
				t.Errorf("%s: iconv writes %s as % X, the table has %s", set, cells[0], b, cells[column])
			}
		}
	}
}

// iconv takes no decomposed text for these sets; here it is the same as composed.
func TestDecomposedIsRefusedByIconvAndTakenHere(t *testing.T) {
	haveIconv(t)
	for _, set := range []string{VISCII, TCVN, CP1258} {
		command := exec.Command("iconv", "-f", "UTF-8", "-t", set)
		command.Stdin = strings.NewReader(norm.NFD.String("ễ"))
		var refused *exec.ExitError
		if err := command.Run(); !errors.As(err, &refused) {
			t.Errorf("iconv takes decomposed text for %s: %v", set, err)
		}
	}
}

func TestFoldOfNamesAsIconvTransliterates(t *testing.T) {
	haveIconv(t)
	random := rand.New(rand.NewPCG(7, 8))
	all := make([]string, 2000)
	for i := range all {
		all[i] = randomName(random, 64)
	}
	command := exec.Command("iconv", "-f", "UTF-8", "-t", "ASCII//TRANSLIT")
	command.Stdin = strings.NewReader(strings.Join(all, "\n"))
	command.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	want, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(string(want), "\n") {
		if got := ASCII(all[i]); got != line {
			t.Fatalf("%q is %q, iconv %q", all[i], got, line)
		}
	}
}

// Whatever the text: no control character, never more than asked for, and what was
// written is read again.
func FuzzNames(f *testing.F) {
	for _, text := range []string{"Nguyễn Thị Ánh", "ð Ð\x02\x7F", "e\u0302\u0323\u0301", "\xFF\xC3", "山\u200B"} {
		for i := range onLines {
			f.Add(text, byte(i), byte(5))
		}
	}
	f.Fuzz(func(t *testing.T, text string, set, most byte) {
		n := namesOf(t, onLines[int(set)%len(onLines)])
		b := n.Write(text)
		if i := slices.IndexFunc(b, func(c byte) bool { return c < ' ' || c == 0x7F }); i >= 0 {
			t.Fatalf("%s writes %02X", n, b[i])
		}
		read, problem := n.Read(b)
		if problem != "" || n.word != NamesTCVN3 && norm.NFC.String(read) != norm.NFC.String(n.Text(text)) {
			t.Fatalf("%s: %+q is % X, which reads %+q (%s)", n, text, b, read, problem)
		}
		if cut := n.Cut(text, int(most)); n.word != NamesUTF8 && len(cut) > int(most) || !bytes.HasPrefix(b, cut) {
			t.Fatalf("%s: % X cut at %d is % X", n, b, most, cut)
		}
		if pad := n.Pad(text, int(most)); len(pad) != int(most) {
			t.Fatalf("%s: a column of %d has %d", n, most, len(pad))
		}
		if exact, ok := n.Exactly(text); ok {
			if again, _ := n.Read(exact); norm.NFC.String(again) != norm.NFC.String(text) {
				t.Fatalf("%s: identifier %+q is read as %+q", n, text, again)
			}
		}
	})
}
