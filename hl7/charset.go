package hl7

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"

	"nhip/hl7/vncharset"
)

// A charset is a character set of table 0211, or one that senders use without.
type charset struct {
	name     string
	encoding encoding.Encoding // both nil: the bytes are UTF-8
	legacy   *vncharset.Charset
	// width is the length of the first character of b. It is there for the sets
	// in which the second byte of a character may look like a delimiter, so that
	// "decode first, split second" holds without giving up the original bytes.
	width func(b []byte) int
	// problem says why the set cannot be decoded.
	problem string
}

var (
	ascii    = &charset{name: "ASCII"}
	utf8Set  = &charset{name: "UNICODE UTF-8"}
	japan    = &charset{name: "ISO IR87", encoding: japanese.ISO2022JP, width: iso2022Width}
	shiftJIS = &charset{name: "SHIFT_JIS", encoding: japanese.ShiftJIS, width: shiftJISWidth}
)

// charsets are those of table 0211 by their names without punctuation, since
// senders write 8859/1, 8859-1 and ISO-8859-1. Shift_JIS is not of the table but
// in use.
var charsets = map[string]*charset{
	"":             ascii,
	"ASCII":        ascii,
	"ISOIR6":       ascii,
	"UNICODEUTF8":  utf8Set,
	"UTF8":         utf8Set,
	"UNICODE":      utf8Set, // deprecated; UTF-16 cannot stand in an MLLP frame
	"ISOIR192":     utf8Set,
	"88591":        {name: "8859/1", encoding: charmap.ISO8859_1},
	"88592":        {name: "8859/2", encoding: charmap.ISO8859_2},
	"88593":        {name: "8859/3", encoding: charmap.ISO8859_3},
	"88594":        {name: "8859/4", encoding: charmap.ISO8859_4},
	"88595":        {name: "8859/5", encoding: charmap.ISO8859_5},
	"88596":        {name: "8859/6", encoding: charmap.ISO8859_6},
	"88597":        {name: "8859/7", encoding: charmap.ISO8859_7},
	"88598":        {name: "8859/8", encoding: charmap.ISO8859_8},
	"88599":        {name: "8859/9", encoding: charmap.ISO8859_9},
	"885915":       {name: "8859/15", encoding: charmap.ISO8859_15},
	"ISOIR14":      shiftJIS, // of which JIS X 0201 is the part with one byte
	"ISOIR87":      japan,
	"ISOIR159":     japan,
	"SHIFTJIS":     shiftJIS,
	"GB180302000":  {name: "GB 18030-2000", encoding: simplifiedchinese.GB18030, width: doubleByteWidth},
	"GB18030":      {name: "GB 18030-2000", encoding: simplifiedchinese.GB18030, width: doubleByteWidth},
	"USASCII":      ascii,
	"EUCKR":        {name: "KS X 1001", encoding: korean.EUCKR},
	"KSX1001":      {name: "KS X 1001", encoding: korean.EUCKR},
	"BIG5":         {name: "BIG-5", encoding: traditionalchinese.Big5, width: doubleByteWidth},
	"WINDOWS1252":  {name: "Windows-1252", encoding: charmap.Windows1252},
	"CP1252":       {name: "Windows-1252", encoding: charmap.Windows1252},
	"CNS116431992": {name: "CNS 11643-1992", problem: "CNS 11643-1992 cannot be decoded"},
	"UNICODEUTF16": {name: "UNICODE UTF-16", problem: "UTF-16 cannot stand in a message whose delimiters are bytes"},
	"UNICODEUTF32": {name: "UNICODE UTF-32", problem: "UTF-32 cannot stand in a message whose delimiters are bytes"},
}

// charsetOf is the character set that MSH-18 declares. The first repetition is
// the default and the others are switched to by ISO 2022 escapes (HL7 v2.5.1
// section 2.15.9.18); of those only the Japanese ones are in use.
func charsetOf(msh18 []byte, repetition byte) *charset {
	switch string(msh18) {
	case "", "ASCII":
		return ascii
	case "UNICODE UTF-8":
		return utf8Set
	}
	var names []string
	if repetition == 0 {
		names = []string{string(msh18)}
	} else {
		names = strings.Split(string(msh18), string(rune(repetition)))
	}
	for _, name := range names[1:] {
		if cs := lookUp(name); cs == japan || cs == shiftJIS {
			return japan
		}
	}
	return lookUp(names[0])
}

func lookUp(name string) *charset {
	plain := strings.Map(func(r rune) rune {
		if r < 0x80 && isAlphanumeric(byte(r)) {
			return rune(upper(byte(r)))
		}
		return -1
	}, name)
	if cs, ok := charsets[plain]; ok {
		return cs
	}
	if cs, ok := charsets[strings.TrimPrefix(plain, "ISO")]; ok {
		return cs
	}
	if legacy, ok := vncharset.Lookup(plain); ok {
		return &charset{name: legacy.Name(), legacy: legacy}
	}
	return &charset{problem: "MSH-18 is not in table 0211"}
}

// index is the position of the first d in b that is a character of its own, or -1.
func (cs *charset) index(b []byte, d byte) int {
	if d == 0 {
		return -1
	}
	if cs.width == nil {
		return bytes.IndexByte(b, d)
	}
	for i := 0; i < len(b); i += cs.width(b[i:]) {
		if b[i] == d {
			return i
		}
	}
	return -1
}

// decode never fails: what is no character becomes U+FFFD.
func (cs *charset) decode(b []byte) string {
	if cs.legacy != nil {
		return cs.legacy.Decode(b)
	}
	if cs.encoding == nil || isASCII(b) && cs != japan {
		return strings.ToValidUTF8(string(b), "\uFFFD")
	}
	decoded, err := cs.encoding.NewDecoder().Bytes(b)
	if err != nil {
		return strings.ToValidUTF8(string(b), "\uFFFD")
	}
	return string(decoded)
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// text is what bytes of the message mean.
func (m *Message) text(raw []byte) string {
	if len(raw) == 0 {
		return ""
	}
	return m.charset.decode(unescape(raw, m.delimiters, m.charset))
}

var errCharset = errors.New("a character is not in the message's character set")

// encode is the reverse of text.
func (m *Message) encode(value string) ([]byte, error) {
	escaped, err := Escape(value, m.delimiters)
	if err != nil {
		return nil, err
	}
	cs := m.charset
	switch {
	case cs.problem != "":
		return nil, errors.New(cs.problem)
	case cs.legacy != nil:
		encoded, err := cs.legacy.Encode(escaped)
		if err != nil {
			return nil, errCharset
		}
		return encoded, nil
	case cs.encoding == nil && !utf8.ValidString(escaped):
		return nil, errCharset
	case cs.encoding == nil:
		// An empty MSH-18 is ASCII, which many take for leave to write UTF-8.
		if declared := m.msh(18); cs == ascii && (len(declared) > 0 || m.forced) && !isASCII([]byte(escaped)) {
			return nil, errCharset
		}
		return []byte(escaped), nil
	}
	encoded, err := cs.encoding.NewEncoder().Bytes([]byte(escaped))
	if err != nil {
		return nil, errCharset
	}
	return encoded, nil
}

// shiftJISWidth: lead bytes 81 to 9F and E0 to FC.
func shiftJISWidth(b []byte) int {
	if c := b[0]; (c >= 0x81 && c <= 0x9F || c >= 0xE0 && c <= 0xFC) && isTrail(b) {
		return 2
	}
	return 1
}

// doubleByteWidth is that of Big5 and GB 18030. The four-byte characters of the
// latter are taken apart, which does no harm: none of their bytes is a delimiter.
func doubleByteWidth(b []byte) int {
	if b[0] >= 0x81 && b[0] <= 0xFE && isTrail(b) {
		return 2
	}
	return 1
}

// isTrail says whether b[1] can be the second byte of a character, so that a cut
// character does not swallow a delimiter below 40.
func isTrail(b []byte) bool { return len(b) >= 2 && b[1] >= 0x40 && b[1] != 0x7F }

// iso2022Width takes everything from an escape out of ASCII to the escape back as
// one character: delimiters count in ASCII only (HL7 v2.5.1 section 2.15.9.20).
func iso2022Width(b []byte) int {
	if b[0] != 0x1B {
		return 1
	}
	i := 0
	for {
		toASCII := bytes.HasPrefix(b[i:], []byte("\x1B(B")) || bytes.HasPrefix(b[i:], []byte("\x1B(J"))
		if toASCII {
			return i + 3
		}
		next := bytes.IndexByte(b[i+1:], 0x1B)
		if next < 0 {
			return len(b)
		}
		i += 1 + next
	}
}
