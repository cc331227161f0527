package hl7

import (
	"errors"
	"strings"
)

const hexDigits = "0123456789ABCDEF"

// Escape writes a text so that it can stand in a field: delimiters as \F\ \S\ \R\
// \T\ \E\ \P\, a line feed as \.br\, and the bytes that would end a segment or a frame
// as \X..\ (HL7 v2.5.1 section 2.7). It fails where the escape character is not
// declared and one of them would be needed. Unescape is its inverse.
func Escape(s string, d Delimiters) (string, error) {
	if !strings.ContainsFunc(s, func(r rune) bool { return r < 0x80 && needsEscape(byte(r), d) }) {
		return s, nil
	}
	if d.Escape == 0 {
		return "", errNoEscape
	}
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if !needsEscape(c, d) {
			b.WriteByte(c)
			continue
		}
		b.WriteByte(d.Escape)
		b.WriteString(escapeName(c, d))
		b.WriteByte(d.Escape)
	}
	return b.String(), nil
}

var errNoEscape = errors.New("the text needs an escape character, and MSH-2 declares none")

func needsEscape(c byte, d Delimiters) bool {
	switch c {
	case 0:
		return false
	case '\r', '\n', 0x0B, 0x1C:
		return true
	}
	return c == d.Field || c == d.Component || c == d.Repetition || c == d.Escape || c == d.Subcomponent || c == d.Truncation
}

func escapeName(c byte, d Delimiters) string {
	switch c {
	case d.Field:
		return "F"
	case d.Component:
		return "S"
	case d.Repetition:
		return "R"
	case d.Escape:
		return "E"
	case d.Subcomponent:
		return "T"
	case d.Truncation:
		return "P"
	case '\n':
		if !needsEscape('.', d) {
			return ".br"
		}
	}
	return "X" + string([]byte{hexDigits[c>>4], hexDigits[c&15]})
}

// Unescape replaces the escape sequences for delimiters, \.br\ (a line feed) and
// \X..\ (bytes in hexadecimal). All others, and what looks like one but does not
// end, stay as they are: highlighting, further formatting commands, local
// sequences, character set switches.
func Unescape(s string, d Delimiters) string {
	return string(unescape([]byte(s), d, ascii))
}

// unescape works on bytes in the character set cs, so that no second byte of a
// character is taken for an escape character. Without an escape it returns b.
func unescape(b []byte, d Delimiters, cs *charset) []byte {
	i := cs.index(b, d.Escape)
	if i < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for i >= 0 {
		out = append(out, b[:i]...)
		b = b[i:]
		end := cs.index(b[1:], d.Escape)
		if end < 0 {
			break
		}
		sequence := b[1 : 1+end]
		if replaced, ok := appendUnescaped(out, sequence, d); ok {
			out = replaced
			b = b[end+2:]
		} else {
			// The second escape character may begin a sequence of its own.
			out = append(out, b[:1+end]...)
			b = b[1+end:]
		}
		i = cs.index(b, d.Escape)
	}
	return append(out, b...)
}

func appendUnescaped(b, sequence []byte, d Delimiters) ([]byte, bool) {
	switch string(sequence) {
	case "F":
		return append(b, d.Field), true
	case "S":
		return append(b, d.Component), d.Component != 0
	case "R":
		return append(b, d.Repetition), d.Repetition != 0
	case "E":
		return append(b, d.Escape), true
	case "T":
		return append(b, d.Subcomponent), d.Subcomponent != 0
	case "P":
		return append(b, d.Truncation), d.Truncation != 0
	case ".br":
		return append(b, '\n'), true
	}
	if len(sequence) < 3 || len(sequence)%2 == 0 || sequence[0] != 'X' {
		return b, false
	}
	for i := 1; i < len(sequence); i += 2 {
		high, low := strings.IndexByte(hexDigits, upper(sequence[i])), strings.IndexByte(hexDigits, upper(sequence[i+1]))
		if high < 0 || low < 0 {
			return b, false
		}
		b = append(b, byte(high<<4|low))
	}
	return b, true
}
