// Package charset decodes and encodes the text of data elements in the character
// sets of DICOM: the defined terms of Specific Character Set (0008,0005), PS3.3
// section C.12.1.1.2, with and without the code extensions of ISO 2022, PS3.5
// section 6.1.2. Tables are those of golang.org/x/text.
package charset

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/transform"
)

// A graphic is a set of graphic characters that ISO 2022 designates as G0 or G1.
type graphic struct {
	ir     int    // number in the ISO register
	escape string // what designates it, without ESC: PS3.3 tables C.12-3 and C.12-4
	g0     bool   // else G1
	double bool   // 94 by 94: two bytes a character
	table  encoding.Encoding
	lead   byte // in front of the two bytes, for the table: JIS X 0212 in EUC
}

// The graphic sets; those of one byte have ASCII as G0 beside them.
var graphics = []graphic{
	{ir: 6, escape: "(B", g0: true},
	{ir: 14, escape: "(J", g0: true}, // JIS X 0201 romaji, read as ASCII: 5C separates values
	{ir: 100, escape: "-A", table: charmap.ISO8859_1},
	{ir: 101, escape: "-B", table: charmap.ISO8859_2},
	{ir: 109, escape: "-C", table: charmap.ISO8859_3},
	{ir: 110, escape: "-D", table: charmap.ISO8859_4},
	{ir: 144, escape: "-L", table: charmap.ISO8859_5},
	{ir: 127, escape: "-G", table: charmap.ISO8859_6},
	{ir: 126, escape: "-F", table: charmap.ISO8859_7},
	{ir: 138, escape: "-H", table: charmap.ISO8859_8},
	{ir: 148, escape: "-M", table: charmap.ISO8859_9},
	{ir: 203, escape: "-b", table: charmap.ISO8859_15},
	{ir: 166, escape: "-T", table: charmap.Windows874},
	{ir: 13, escape: ")I", table: japanese.ShiftJIS},
	{ir: 87, escape: "$B", g0: true, double: true, table: japanese.EUCJP},
	{ir: 159, escape: "$(D", g0: true, double: true, table: japanese.EUCJP, lead: 0x8F},
	{ir: 149, escape: "$)C", double: true, table: korean.EUCKR},
	{ir: 58, escape: "$)A", double: true, table: simplifiedchinese.GBK},
}

func byNumber(ir int) *graphic {
	for i := range graphics {
		if graphics[i].ir == ir {
			return &graphics[i]
		}
	}
	return nil
}

// A Delimiters says at which characters the initial character sets are active
// again, PS3.5 section 6.1.2.5.3, beside the control characters.
type Delimiters string

// The delimiters of a value.
const (
	Text   Delimiters = ""     // LT, ST and UT
	Values Delimiters = "\\"   // VRs with several values
	Name   Delimiters = "\\^=" // PN
)

func (d Delimiters) has(c byte) bool {
	return c == '\t' || c == '\n' || c == '\f' || c == '\r' || strings.IndexByte(string(d), c) >= 0
}

// A Set is the character sets that a data set uses.
type Set struct {
	whole   encoding.Encoding // without code extensions: GB18030, GBK, one byte; nil for ASCII and UTF-8
	utf8    bool
	g0, g1  *graphic
	terms   []*graphic // with code extensions
	extends bool
}

// Default is the default repertoire, ISO_IR 6. Bytes beyond it are read as ISO
// 8859-1, for data sets that do not say what they use.
var Default = &Set{}

// New returns the character sets of the values of (0008,0005). Spelling is not
// looked at too closely: "ISO-IR 100" and "ISO_IR_100" are in the field. An error
// names terms that are not known; the Set beside it does without them.
func New(terms ...string) (*Set, error) {
	var unknown []string
	s := &Set{}
	for i, t := range terms {
		t = strings.ToUpper(strings.TrimSpace(t))
		switch {
		case t == "" && i > 0:
			continue
		case t == "GB18030" && i == 0:
			return &Set{whole: simplifiedchinese.GB18030}, nil
		case (t == "GBK" || t == "ISO 2022 GBK") && i == 0:
			return &Set{whole: simplifiedchinese.GBK}, nil
		}
		ir, extends, ok := parse(t)
		if ir == 192 && i == 0 {
			return &Set{utf8: true}, nil
		}
		g := byNumber(ir)
		if !ok || g == nil {
			unknown = append(unknown, strconv.Quote(t))
			continue
		}
		s.extends = s.extends || extends || i > 0
		s.add(g, i == 0)
	}
	if !s.extends && s.g1 != nil {
		s.whole = s.g1.table
	}
	if unknown != nil {
		return s, fmt.Errorf("dicom/charset: no defined term: %s", strings.Join(unknown, ", "))
	}
	return s, nil
}

// add takes in the next term; the first one is active at the beginning.
func (s *Set) add(g *graphic, first bool) {
	s.terms = append(s.terms, g)
	if first && !g.g0 {
		s.g1 = g
	}
	if first && g.ir == 13 {
		s.g0 = byNumber(14)
	}
}

// parse takes "ISO_IR 100" and "ISO 2022 IR 100" apart.
func parse(t string) (ir int, extends, ok bool) {
	if t == "" {
		return 6, false, true
	}
	t = strings.NewReplacer("_", "", "-", "", " ", "", ".", "").Replace(t)
	t, ok = strings.CutPrefix(t, "ISO")
	if !ok {
		return 0, false, false
	}
	t, extends = strings.CutPrefix(t, "2022")
	ir, err := strconv.Atoi(strings.TrimPrefix(t, "IR"))
	return ir, extends, err == nil && ir != 14
}

// Decode returns text in UTF-8. What is no character of the set becomes U+FFFD.
func (s *Set) Decode(b []byte, d Delimiters) string {
	switch {
	case s.utf8:
		return strings.ToValidUTF8(string(b), "\uFFFD")
	case s.extends:
		return s.decode2022(b, d)
	case s.whole != nil:
		return decode(s.whole, b)
	}
	return decode(charmap.ISO8859_1, b)
}

func decode(e encoding.Encoding, b []byte) string {
	if ascii(b) {
		return string(b)
	}
	out, err := e.NewDecoder().Bytes(b)
	if err != nil {
		return strings.Repeat("\uFFFD", len(b))
	}
	return string(out)
}

// A writer collects decoded text. It keeps a decoder for each set, since a hostile
// sender may change sets at every character.
type writer struct {
	strings.Builder
	decoders map[encoding.Encoding]transform.Transformer
	scratch  []byte
	piece    [3 * 64]byte
}

// decode appends characters of a set.
func (w *writer) decode(e encoding.Encoding, b []byte) {
	d := w.decoders[e]
	if d == nil {
		d = e.NewDecoder()
		if w.decoders == nil {
			w.decoders = map[encoding.Encoding]transform.Transformer{}
		}
		w.decoders[e] = d
	}
	if w.scratch == nil {
		w.scratch = make([]byte, 256)
	}
	d.Reset()
	for len(b) > 0 {
		n, taken, _ := d.Transform(w.scratch, b, true)
		w.Write(w.scratch[:n])
		if taken == 0 { // never: a decoder writes U+FFFD for what it cannot read
			return
		}
		b = b[taken:]
	}
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// A state is what is designated.
type state struct{ g0, g1 *graphic }

func (s *Set) initial() state { return state{s.g0, s.g1} }

// decode2022 follows the escape sequences. A set that is not among the terms is
// followed all the same.
func (s *Set) decode2022(b []byte, d Delimiters) string {
	var out writer
	out.Grow(len(b) + len(b)/2)
	st := s.initial()
	for len(b) > 0 {
		if b[0] == 0x1B {
			if g := designated(b[1:]); g != nil {
				st = st.with(g)
				b = b[1+len(g.escape):]
				continue
			}
		}
		n := st.run(b, d)
		if n == 0 { // a delimiter, another control character, or half of a character
			if d.has(b[0]) {
				st = s.initial()
			}
			if b[0] < 0x80 {
				out.WriteByte(b[0])
			} else {
				out.WriteRune(utf8.RuneError)
			}
			b = b[1:]
			continue
		}
		st.decode(&out, b[:n])
		b = b[n:]
	}
	return out.String()
}

func designated(b []byte) *graphic {
	for i := range graphics {
		if e := graphics[i].escape; len(b) >= len(e) && string(b[:len(e)]) == e {
			return &graphics[i]
		}
	}
	return nil
}

func (st state) with(g *graphic) state {
	if g.g0 {
		st.g0 = g
	} else {
		st.g1 = g
	}
	return st
}

func (st state) double0() bool { return st.g0 != nil && st.g0.double }
func (st state) double1() bool { return st.g1 != nil && st.g1.double }

// run returns how many bytes at the beginning of b are characters of one of the
// two designated sets.
func (st state) run(b []byte, d Delimiters) int {
	upper := b[0] >= 0x80
	double := upper && st.double1() || !upper && st.double0()
	n := 0
	for n < len(b) && b[n]&0x80 != 0 == upper && b[n]&0x7F >= 0x20 {
		if !double {
			if !upper && d.has(b[n]) {
				break
			}
			n++
			continue
		}
		// 20 and A0 are no first byte, 5C and 5E may be one.
		if b[n]&0x7F == 0x20 || n+1 == len(b) || b[n+1]&0x80 != 0 != upper || b[n+1]&0x7F <= 0x20 {
			break
		}
		n += 2
	}
	return n
}

func (st state) decode(out *writer, b []byte) {
	g := st.g0
	if b[0] >= 0x80 {
		g = st.g1
	}
	switch {
	case g == nil && b[0] >= 0x80:
		out.decode(charmap.ISO8859_1, b)
	case b[0] < 0x80 && (g == nil || !g.double):
		out.Write(b)
	case g.ir == 13:
		katakana(out, b)
	case g.double:
		out.euc(g, b)
	default:
		out.decode(g.table, b)
	}
}

// euc appends characters of two bytes, which the table has as EUC.
func (w *writer) euc(g *graphic, b []byte) {
	for len(b) > 1 {
		out := w.piece[:0]
		for len(b) > 1 && len(out)+3 <= len(w.piece) {
			if g.lead != 0 {
				out = append(out, g.lead)
			}
			out = append(out, b[0]|0x80, b[1]|0x80)
			b = b[2:]
		}
		w.decode(g.table, out)
	}
}

// katakana appends the half-width forms of JIS X 0201.
func katakana(out *writer, b []byte) {
	for _, c := range b {
		if c > 0xA0 && c < 0xE0 {
			out.WriteRune(0xFF61 + rune(c) - 0xA1)
		} else {
			out.WriteRune(utf8.RuneError)
		}
	}
}
