package e1394

import (
	"bytes"
	"encoding/hex"
)

// Unescape replaces the escape sequences of LIS02-A2: &F& field,
// &S& component, &R& repeat, &E& escape, &Xhh..& bytes in hexadecimal, with the
// escape character that is declared. What is no such sequence, highlighting (&H&,
// &N&) included, stays as it was sent.
func (d Delimiters) Unescape(b []byte) string {
	if d.Escape == 0 || bytes.IndexByte(b, d.Escape) < 0 {
		return string(b)
	}
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		start := bytes.IndexByte(b, d.Escape)
		if start < 0 {
			break
		}
		out, b = append(out, b[:start]...), b[start:]
		text, length := d.sequence(b)
		if length == 0 {
			text, length = b[:1], 1
		}
		out, b = append(out, text...), b[length:]
	}
	return string(append(out, b...))
}

// sequence reads the escape sequence that b begins with. A length of 0: it is none.
func (d Delimiters) sequence(b []byte) (text []byte, length int) {
	end := bytes.IndexByte(b[1:], d.Escape)
	if end < 1 {
		return nil, 0
	}
	body := b[1 : 1+end]
	length = end + 2
	if body[0] == 'X' && len(body) > 1 {
		decoded := make([]byte, hex.DecodedLen(len(body)-1))
		if _, err := hex.Decode(decoded, body[1:]); err != nil {
			return nil, 0
		}
		return decoded, length
	}
	if len(body) != 1 {
		return nil, 0
	}
	var c byte
	switch body[0] {
	case 'F':
		c = d.Field
	case 'S':
		c = d.Component
	case 'R':
		c = d.Repeat
	case 'E':
		c = d.Escape
	}
	if c == 0 {
		return nil, 0
	}
	return []byte{c}, length
}

// Escaped is text as it may stand in a field: delimiters as escape sequences,
// control characters, which would end the record or the frame, in hexadecimal.
// Without a declared escape character both become a blank.
func (d Delimiters) Escaped(text string) []byte {
	out := make([]byte, 0, len(text))
	for _, c := range []byte(text) {
		var name byte
		switch {
		case c < ' ' || c == 0x7F:
			name = 'X'
		case c == d.Field:
			name = 'F'
		case c == d.Component:
			name = 'S'
		case c == d.Repeat:
			name = 'R'
		case c == d.Escape:
			name = 'E'
		default:
			out = append(out, c)
			continue
		}
		if d.Escape == 0 {
			out = append(out, ' ')
			continue
		}
		out = append(out, d.Escape, name)
		if name == 'X' {
			out = append(out, "0123456789ABCDEF"[c>>4], "0123456789ABCDEF"[c&15])
		}
		out = append(out, d.Escape)
	}
	return out
}

// NewRecord begins a record of a type; its fields are given by Set. An H record
// declares the delimiters.
func (d Delimiters) NewRecord(recordType string) Record {
	b := []byte(recordType)
	if recordType == "H" {
		b = append(append(b, d.Field), d.String()...)
	}
	return Record{Bytes: b, Delimiters: d}
}
