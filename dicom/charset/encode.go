package charset

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
)

// Encode returns text in the character sets. A character that none of them has is
// an error, which names it by its number only.
func (s *Set) Encode(text string, d Delimiters) ([]byte, error) {
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("dicom/charset: the text is no UTF-8")
	}
	if strings.ContainsRune(text, 0x1B) {
		return nil, fmt.Errorf("dicom/charset: the text holds an escape character")
	}
	switch {
	case s.utf8:
		return []byte(text), nil
	case s.extends:
		return s.encode2022(text, d)
	}
	var out []byte
	for _, r := range text {
		if r < 0x80 {
			out = append(out, byte(r))
			continue
		}
		b := s.encodeWhole(r)
		if b == nil {
			return nil, missing(r)
		}
		out = append(out, b...)
	}
	return out, nil
}

func missing(r rune) error {
	return fmt.Errorf("dicom/charset: the character sets do not have U+%04X", r)
}

// encodeWhole encodes a character without code extensions, nil where the set does
// not have it.
func (s *Set) encodeWhole(r rune) []byte {
	if s.whole == nil {
		return nil
	}
	if s.g1 != nil {
		return s.g1.encode(r)
	}
	return encodeRune(s.whole, r)
}

func encodeRune(e encoding.Encoding, r rune) []byte {
	b, err := e.NewEncoder().Bytes([]byte(string(r)))
	if err != nil {
		return nil
	}
	return b
}

// alternatives are characters that another table has for the same place in JIS X
// 0208.
var alternatives = map[rune]rune{0x301C: 0xFF5E, 0x2016: 0x2225, 0x2212: 0xFF0D, 0xA2: 0xFFE0, 0xA3: 0xFFE1, 0xAC: 0xFFE2}

// encode encodes a character that is none of ASCII, nil where the set does not
// have it.
func (g *graphic) encode(r rune) []byte {
	if g.table == nil {
		return nil
	}
	if g.ir == 13 {
		if r >= 0xFF61 && r <= 0xFF9F {
			return []byte{byte(r - 0xFF61 + 0xA1)}
		}
		return nil
	}
	b := encodeRune(g.table, r)
	if other, ok := alternatives[r]; b == nil && ok && g.ir == 87 {
		b = encodeRune(g.table, other)
	}
	if !g.double {
		if len(b) != 1 || b[0] < 0xA0 {
			return nil
		}
		return b
	}
	if g.lead != 0 {
		if len(b) != 3 || b[0] != g.lead {
			return nil
		}
		b = b[1:]
	}
	// Beyond the 94 by 94 of the register, EUC-KR and GBK have more.
	if len(b) != 2 || b[0] <= 0xA0 || b[1] <= 0xA0 || b[0] == 0xFF || b[1] == 0xFF {
		return nil
	}
	if g.g0 {
		return []byte{b[0] & 0x7F, b[1] & 0x7F}
	}
	return b
}

// encode2022 designates sets as characters need them, and has the initial G0 active
// before each delimiter and at the end, PS3.5 section 6.1.2.5.3.
func (s *Set) encode2022(text string, d Delimiters) ([]byte, error) {
	var out []byte
	st := s.initial()
	for _, r := range text {
		if r < 0x80 {
			if st.double0() {
				out, st.g0 = s.leave(out), s.g0
			}
			out = append(out, byte(r))
			if d.has(byte(r)) {
				st = s.initial()
			}
			continue
		}
		g, b := s.holds(st, r)
		if g == nil {
			return nil, missing(r)
		}
		if next := st.with(g); next != st {
			out = append(append(out, 0x1B), g.escape...)
			st = next
		}
		out = append(out, b...)
	}
	if st.double0() {
		out = s.leave(out)
	}
	return out, nil
}

// leave designates the initial G0.
func (s *Set) leave(out []byte) []byte {
	g := s.g0
	if g == nil {
		g = byNumber(6)
	}
	return append(append(out, 0x1B), g.escape...)
}

// holds returns the set that has a character: what is designated where it can be.
func (s *Set) holds(st state, r rune) (*graphic, []byte) {
	for _, g := range append([]*graphic{st.g0, st.g1}, s.terms...) {
		if g == nil {
			continue
		}
		if b := g.encode(r); b != nil {
			return g, b
		}
	}
	return nil, nil
}
