package vncharset

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/unicode/norm"
)

// Names is the set of characters in which a machine shows and sends texts that people
// write: names, comments, words in place of a value. Its zero value is ASCII. It may be
// used by several goroutines.
type Names struct {
	word  string
	set   *Charset         // nil: one of the others
	plain *charmap.Charmap // of one byte for each character; nil: ASCII or UTF-8
}

// The words for Names.
const (
	NamesASCII  = "ascii" // written without accents; read as UTF-8 where it is, else as ISO 8859-1
	NamesUTF8   = "utf-8"
	NamesCP1258 = "cp1258"
	NamesTCVN3  = "tcvn3"
	NamesVNI    = "vni"
	NamesLatin1 = "latin-1"
	NamesCP1252 = "windows-1252"
	NamesVISCII = "viscii"
	NamesTCVN   = "tcvn5712-1"
	NamesVPS    = "vps"
)

// NamesWords are the words that ParseNames takes.
var NamesWords = []string{NamesASCII, NamesUTF8, NamesCP1258, NamesTCVN3, NamesVNI, NamesLatin1, NamesCP1252, NamesVISCII, NamesTCVN, NamesVPS}

// ParseNames reads one of the words; an empty one is ASCII.
func ParseNames(word string) (Names, error) {
	switch word {
	case "", NamesASCII:
		return Names{}, nil
	case NamesUTF8:
		return Names{word: word}, nil
	case NamesLatin1:
		return Names{word: word, plain: charmap.ISO8859_1}, nil
	case NamesCP1252:
		return Names{word: word, plain: charmap.Windows1252}, nil
	}
	if !slices.Contains(NamesWords, word) {
		return Names{}, fmt.Errorf("vncharset: %q is none of %s", word, strings.Join(NamesWords, ", "))
	}
	set, _ := Lookup(word)
	return Names{word: word, set: set}, nil
}

// String is the word.
func (n Names) String() string {
	if n.word == "" {
		return NamesASCII
	}
	return n.word
}

// Automatic reports whether nobody has said what the machine sends.
func (n Names) Automatic() bool { return n.word == "" }

// Controls reports whether letters of the set are control characters: STX, EOT, ENQ,
// XON and others, which would break the frames of a line.
func (n Names) Controls() bool { return n.set != nil && n.set.control }

// Own is the set of what the machine's own program says, as units: where people write
// in a font for Vietnamese that is Windows-1252, else the same.
func (n Names) Own() Names {
	if n.set == nil {
		return n
	}
	return Names{word: NamesCP1252, plain: charmap.Windows1252}
}

// Charset is the set by its name in an HL7 link (CharsetRule).
func (n Names) Charset() string {
	switch {
	case n.set != nil:
		return n.set.name
	case n.plain == charmap.ISO8859_1:
		return "8859/1"
	case n.plain == charmap.Windows1252:
		return "Windows-1252"
	case n.word == NamesUTF8:
		return "UNICODE UTF-8"
	}
	return "ASCII"
}

// Text is a text with what the machine can show: composed (NFC), a letter that the set
// does not have without its accents, another character as a question mark, a control
// character as a blank.
func (n Names) Text(text string) string {
	var out strings.Builder
	for cluster := range n.clusters(text) {
		out.WriteString(cluster)
	}
	return out.String()
}

// Write is Text in the bytes of the set. Unless Controls says so, none of them is a
// control character.
func (n Names) Write(text string) []byte {
	b, _ := n.cut(text, -1)
	return b
}

// Cut is Write of at most so many characters, as a machine counts them: bytes, and in
// UTF-8 letters. What is too long ends with a whole letter, without blanks at the end.
func (n Names) Cut(text string, most int) []byte {
	b, whole := n.cut(text, most)
	for !whole && len(b) > 0 && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	return b
}

// Pad is Write in a column of exactly so many bytes: cut at a letter, or filled with
// blanks.
func (n Names) Pad(text string, width int) []byte {
	b := make([]byte, 0, width)
	for cluster := range n.clusters(text) {
		next, _ := n.encode(cluster)
		if len(b)+len(next) > width {
			break
		}
		b = append(b, next...)
	}
	for len(b) < width {
		b = append(b, ' ')
	}
	return b
}

// Exactly are the bytes of a text that may not be changed, as an identifier: ok is false
// where the set does not have all of its characters. Control characters stay what they
// are: who writes the bytes to a line has to escape them.
func (n Names) Exactly(text string) (b []byte, ok bool) {
	b, ok = n.encode(text)
	if !ok {
		return nil, false
	}
	again, problem := n.Read(b)
	return b, problem == "" && norm.NFC.String(again) == norm.NFC.String(text)
}

func (n Names) cut(text string, most int) (b []byte, whole bool) {
	length := 0
	for cluster := range n.clusters(text) {
		next, _ := n.encode(cluster)
		size := len(next)
		if n.word == NamesUTF8 {
			size = utf8.RuneCount(next)
		}
		if most >= 0 && length+size > most {
			return b, false
		}
		b, length = append(b, next...), length+size
	}
	return b, true
}

// clusters are the letters of a text with their marks, as the machine can show them.
func (n Names) clusters(text string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for text = norm.NFC.String(text); text != ""; {
			size := max(norm.NFC.NextBoundaryInString(text, true), 1)
			cluster := n.shown(text[:size])
			text = text[size:]
			if cluster != "" && !yield(cluster) {
				return
			}
		}
	}
}

// shown is a letter as the machine can show it.
func (n Names) shown(cluster string) string {
	first, size := utf8.DecodeRuneInString(cluster)
	switch {
	case unicode.IsSpace(first) || unicode.IsControl(first):
		return " "
	case unicode.Is(unicode.Mn, first): // a mark without a letter
		return ""
	case n.word == "" || first == utf8.RuneError:
		return ASCII(cluster)
	case n.set != nil && first == 'ð': // which converters write for đ
		cluster = "đ" + cluster[size:]
	case n.set != nil && first == 'Ð':
		cluster = "Đ" + cluster[size:]
	}
	if _, ok := n.encode(cluster); !ok {
		return ASCII(cluster)
	}
	return cluster
}

// encode are the bytes of a text, as far as the set has its characters.
func (n Names) encode(text string) (b []byte, ok bool) {
	switch {
	case n.set != nil:
		b, err := n.set.Encode(text)
		return b, err == nil
	case n.plain == nil:
		return []byte(text), n.word == NamesUTF8 && utf8.ValidString(text) || isASCII([]byte(text))
	}
	for _, r := range norm.NFC.String(text) {
		one, ok := n.plain.EncodeRune(r)
		if !ok {
			return nil, false
		}
		b = append(b, one)
	}
	return b, true
}

// A ReadProblem is why a text may not be what a person wrote.
type ReadProblem string

const (
	// Undeclared: nobody has said what the machine sends, and it is not UTF-8. It was
	// read as ISO 8859-1, which has a character for every byte: nothing is lost.
	Undeclared ReadProblem = "undeclared"
	// Undecodable: bytes that are no characters of the set. Each became U+FFFD.
	Undecodable ReadProblem = "undecodable"
)

// Read is the text of bytes that the machine sent.
func (n Names) Read(b []byte) (text string, problem ReadProblem) {
	switch {
	case isASCII(b) && !n.Controls():
		return string(b), ""
	case n.set != nil:
		text = n.set.Decode(b)
	case n.plain != nil:
		text = decodeBytes(n.plain, b)
	case utf8.Valid(b):
		text = string(b)
	case n.word == "":
		return decodeBytes(charmap.ISO8859_1, b), Undeclared
	default:
		text = string([]rune(string(b))) // U+FFFD for each byte
	}
	if strings.ContainsRune(text, utf8.RuneError) {
		return text, Undecodable
	}
	return text, ""
}

func decodeBytes(set *charmap.Charmap, b []byte) string {
	text := make([]rune, len(b))
	for i, c := range b {
		text[i] = set.DecodeByte(c)
	}
	return string(text)
}

// ASCII is a text in the characters 0x20 to 0x7E: Vietnamese letters become the letters
// they are made of (Nguyễn Đức: Nguyen Duc), space and control characters a blank, what
// has no such letter a question mark.
func ASCII(text string) string {
	var b strings.Builder
	b.Grow(len(text))
	for _, r := range Fold(text) {
		switch {
		case ' ' <= r && r <= '~':
			b.WriteRune(r)
		case unicode.IsSpace(r) || unicode.IsControl(r):
			b.WriteByte(' ')
		case !unicode.Is(unicode.Cf, r): // those are not seen
			b.WriteByte('?')
		}
	}
	return b.String()
}
