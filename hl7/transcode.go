package hl7

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// A TranscodeError is a character that cannot be carried over to another character
// set, or bytes that are no character of their own. It quotes nothing.
type TranscodeError struct {
	Charset  string // the set that cannot hold it
	Location string // the segment, "PID"
}

func (e *TranscodeError) Error() string {
	return fmt.Sprintf("hl7: %s has a character that %s does not have", e.Location, e.Charset)
}

// Transcode is the message in another character set, a name of table 0211 or one of
// those that CheckCharset knows: every character is the same one, MSH-18 names the set,
// and everything else is as it was, escape sequences too. The error is a
// *TranscodeError, or that of CheckCharset. A message that is in that set already, and
// says so, is returned as it is.
func (m *Message) Transcode(name string) ([]byte, error) {
	if err := CheckCharset(name); err != nil {
		return nil, err
	}
	to := lookUp(name)
	if m.charset.problem != "" {
		return nil, &TranscodeError{Charset: to.name, Location: "MSH"}
	}
	if charsetOf(m.msh(18), m.delimiters.Repetition) == to && m.charset == to {
		for _, s := range m.segments {
			if to.undecodable(s.text) {
				return nil, &TranscodeError{Charset: to.name, Location: s.name()}
			}
		}
		return m.Bytes(), nil
	}
	b := make([]byte, 0, len(m.Bytes()))
	b = append(b, m.prefix...)
	for i := range m.segments {
		s := &m.segments[i]
		text, ok := to.carry(m.charset, s.text)
		if !ok {
			return nil, &TranscodeError{Charset: to.name, Location: s.name()}
		}
		b = append(append(b, text...), s.end...)
	}
	n, err := Parse(b)
	if n == nil || len(n.segments) != len(m.segments) && err == nil {
		return nil, &TranscodeError{Charset: to.name, Location: "MSH"}
	}
	if err := n.SetRaw("MSH-18", []byte(to.name)); err != nil {
		return nil, err
	}
	return n.Bytes(), nil
}

// carry is text of one set in another one.
func (cs *charset) carry(from *charset, text []byte) ([]byte, bool) {
	if isASCII(text) && from.legacy == nil && from != japan && cs.legacy == nil && cs != japan {
		return text, true
	}
	decoded := from.decode(text)
	if strings.ContainsRune(decoded, utf8.RuneError) {
		return nil, false
	}
	switch {
	case cs.legacy != nil:
		b, err := cs.legacy.Encode(decoded)
		return b, err == nil
	case cs == ascii:
		return []byte(decoded), isASCII([]byte(decoded))
	case cs.encoding == nil:
		return []byte(decoded), true
	}
	b, err := cs.encoding.NewEncoder().Bytes([]byte(decoded))
	return b, err == nil
}
