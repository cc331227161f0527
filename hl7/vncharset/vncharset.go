// Package vncharset reads and writes the character sets that Vietnamese programs
// used before Unicode: VISCII (RFC 1456), TCVN 5712:1993 (VN1), Windows-1258, and
// those that live in fonts only: TCVN3 (ABC), VNI and VPS. Text comes out composed
// (NFC), and may go in composed or not. None of them is in table 0211 of HL7 or a
// Specific Character Set of DICOM, so they are chosen by configuration only.
//
// Names is how a machine that knows no more than one of them, or only ASCII, is written
// to and read: what it cannot show is folded, cut at a letter, and never a control
// character.
package vncharset

import (
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/unicode/norm"
)

// A Charset is one of the character sets, by Lookup. It may be used by several
// goroutines.
type Charset struct {
	name    string
	decoder map[string]rune // by one byte or two
	encoder map[rune]string
	marks   [256]bool        // bytes that are part of a letter of two
	rest    *charmap.Charmap // bytes that are no letter; nil: they are no characters
	tones   bool             // a tone may be a byte of its own after the letter
	capital bool             // capitals were made by a font of capitals
	control bool             // some letters are control characters
}

// ErrLetter is a character that the set does not have.
var ErrLetter = errors.New("vncharset: a character is not in the set")

// Names of the sets.
const (
	VISCII = "VISCII"
	TCVN   = "TCVN5712-1"
	CP1258 = "CP1258"
	TCVN3  = "TCVN3"
	VNI    = "VNI"
	VPS    = "VPS"
)

// names are those that are in use for each set, without punctuation.
var names = map[string]string{
	"VISCII": VISCII, "VISCII11": VISCII, "RFC1456": VISCII,
	"TCVN": TCVN, "TCVN5712": TCVN, "TCVN57121": TCVN, "TCVN571211993": TCVN, "VN1": TCVN,
	"CP1258": CP1258, "WINDOWS1258": CP1258,
	"TCVN3": TCVN3, "ABC": TCVN3,
	"VNI": VNI, "VNIWIN": VNI, "VNIWINDOWS": VNI,
	"VPS": VPS,
}

var sets = sync.OnceValue(build)

// Lookup finds a set by its name, whatever its case and punctuation: "TCVN3",
// "windows-1258", "TCVN5712-1:1993".
func Lookup(name string) (*Charset, bool) {
	plain := strings.Map(func(r rune) rune {
		if r < 0x80 && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return unicode.ToUpper(r)
		}
		return -1
	}, name)
	set, ok := names[plain]
	return sets()[set], ok
}

// build makes the sets from the table of the letters.
func build() map[string]*Charset {
	all := map[string]*Charset{
		VISCII: {control: true},
		TCVN:   {control: true, tones: true},
		CP1258: {tones: true, rest: charmap.Windows1258},
		TCVN3:  {capital: true},
		VNI:    {rest: charmap.Windows1252},
		VPS:    {control: true},
	}
	for name, c := range all {
		c.name, c.decoder, c.encoder = name, map[string]rune{}, map[rune]string{}
	}
	for _, l := range letters {
		all[VISCII].letter(l.letter, l.viscii)
		all[TCVN].letter(l.letter, l.vn1)
		all[TCVN3].letter(l.letter, l.tcvn3)
		all[VNI].letter(l.letter, l.vni)
		all[VPS].letter(l.letter, l.vps)
	}
	for b, r := range map[byte]rune{0xA0: '\u00A0', 0xB0: '\u0300', 0xB1: '\u0309', 0xB2: '\u0303', 0xB3: '\u0301', 0xB4: '\u0323'} {
		all[TCVN].decoder[string([]byte{b})] = r
		all[TCVN].encoder[r] = string([]byte{b})
	}
	all[TCVN3].decoder["\xA0"] = '\u00A0'
	all[TCVN3].encoder['\u00A0'] = "\xA0"
	return all
}

func (c *Charset) letter(r rune, digits string) {
	b, err := hex.DecodeString(digits)
	if err != nil {
		panic("vncharset: the table: " + err.Error())
	}
	c.decoder[string(b)] = r
	c.encoder[r] = string(b)
	if len(b) == 2 {
		c.marks[b[1]] = true
	}
}

// Name is the name that the set is known by here.
func (c *Charset) Name() string { return c.name }

// Controls says whether letters of the set are control characters, which break
// protocols that use them: ASTM framing, XON/XOFF. VPS has FS among them and cannot
// stand in MLLP.
func (c *Charset) Controls() bool { return c.control }

// Decode reads bytes of the set. What is no character becomes U+FFFD. In TCVN3 the
// letters of a word whose other letters are capitals are capitals, since a font
// made them so.
func (c *Charset) Decode(b []byte) string {
	if isASCII(b) && !c.control {
		return string(b)
	}
	var s strings.Builder
	s.Grow(len(b) + len(b)/2)
	for i := 0; i < len(b); {
		r, n := c.first(b[i:])
		s.WriteRune(r)
		i += n
	}
	text := s.String()
	if c.tones {
		text = norm.NFC.String(text)
	}
	if c.capital {
		text = capitals(text)
	}
	return text
}

// first is the first character of b and how many bytes it has.
func (c *Charset) first(b []byte) (rune, int) {
	if len(b) > 1 && b[1] >= 0x80 {
		if r, ok := c.decoder[string(b[:2])]; ok {
			return r, 2
		}
	}
	if r, ok := c.decoder[string(b[:1])]; ok {
		return r, 1
	}
	switch {
	case b[0] < 0x80:
		return rune(b[0]), 1
	case c.rest != nil:
		return c.rest.DecodeByte(b[0]), 1
	}
	return utf8.RuneError, 1
}

// capitals makes capitals of the accented letters of each word whose letters of
// ASCII are all capitals, where there is one.
func capitals(text string) string {
	out := []rune(text)
	for i := 0; i < len(out); {
		end, upper, lower := i, 0, 0
		for ; end < len(out) && unicode.IsLetter(out[end]); end++ {
			switch r := out[end]; {
			case r >= 'A' && r <= 'Z':
				upper++
			case r >= 'a' && r <= 'z':
				lower++
			}
		}
		if upper > 0 && lower == 0 {
			for j := i; j < end; j++ {
				out[j] = unicode.ToUpper(out[j])
			}
		}
		i = max(end, i+1)
	}
	return string(out)
}

// Encode writes a text in the set, composed or not. A character that the set does
// not have is ErrLetter.
func (c *Charset) Encode(text string) ([]byte, error) {
	b := make([]byte, 0, len(text))
	for _, r := range norm.NFC.String(text) {
		next, ok := c.append(b, r)
		if !ok {
			return nil, ErrLetter
		}
		b = next
	}
	return b, nil
}

func (c *Charset) append(b []byte, r rune) ([]byte, bool) {
	if s, ok := c.encoder[r]; ok {
		return append(b, s...), true
	}
	if r < 0x80 {
		_, taken := c.decoder[string([]byte{byte(r)})]
		return append(b, byte(r)), !taken
	}
	if c.rest == nil {
		return b, false
	}
	if one, ok := c.byteOf(r); ok {
		return append(b, one), true
	}
	if !c.tones {
		return b, false
	}
	letter, tone := splitTone(r)
	first, ok := c.byteOf(letter)
	second, also := c.byteOf(tone)
	return append(b, first, second), ok && also && tone != 0
}

// byteOf is the byte of a character in the underlying set, unless it is part of a
// letter of ours.
func (c *Charset) byteOf(r rune) (byte, bool) {
	if r < 0x80 {
		return byte(r), true
	}
	b, ok := c.rest.EncodeRune(r)
	_, taken := c.decoder[string([]byte{b})]
	return b, ok && !taken && !c.marks[b]
}

// splitTone takes the tone off a letter; 0 where it has none. One with two tones has
// no letter of ours below it: both are 0.
func splitTone(r rune) (letter, tone rune) {
	var rest []rune
	for _, part := range norm.NFD.String(string(r)) {
		switch part {
		case '\u0300', '\u0301', '\u0303', '\u0309', '\u0323':
			if tone != 0 {
				return 0, 0
			}
			tone = part
		default:
			rest = append(rest, part)
		}
	}
	letter, size := utf8.DecodeRuneInString(norm.NFC.String(string(rest)))
	if size != len(norm.NFC.String(string(rest))) {
		return 0, 0
	}
	return letter, tone
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
