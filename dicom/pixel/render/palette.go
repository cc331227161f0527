package render

import (
	"errors"
	"fmt"
)

// A Palette is a Palette Color Lookup Table Module, PS3.3 section C.7.9: a table
// for each of red, green and blue, of entries of 8 or 16 bits.
type Palette [3]*LUT

// colour returns the colours of a value, in 8 bits.
func (p *Palette) colour(v float64) (c [3]uint8) {
	for i, l := range p {
		e := l.at(v)
		if l.Bits > 8 {
			e >>= l.Bits - 8
		}
		c[i] = uint8(e)
	}
	return c
}

// segmentedLUT expands Segmented Palette Color Lookup Table Data, PS3.3 section
// C.7.9.2: in words, or in bytes where entries have eight bits.
func segmentedLUT(descriptor []int64, data []byte) (*LUT, error) {
	n, l, err := describe(descriptor, false)
	if err != nil {
		return nil, err
	}
	w := words(data)
	if l.Bits == 8 {
		w = make([]uint16, len(data))
		for i, b := range data {
			w[i] = uint16(b)
		}
	}
	s := segments{data: w, bytes: l.Bits == 8, most: n}
	if err := s.expand(); err != nil {
		return nil, err
	}
	if len(s.out) != n {
		return nil, fmt.Errorf("render: a segmented palette of %d entries where the descriptor says %d", len(s.out), n)
	}
	l.Entries = s.out
	return &l, nil
}

// Segments, PS3.3 table C.7.9.2-1.
const (
	discreteSegment = 0 // values
	linearSegment   = 1 // a line from the last value to another
	indirectSegment = 2 // a copy of segments that stood before
)

// segments are expanded to at most so many entries.
type segments struct {
	data  []uint16
	bytes bool
	most  int
	out   []uint16
}

var errSegment = errors.New("render: a segment of a palette is cut or none of those that there are")

// expand expands all segments.
func (s *segments) expand() error {
	for at := 0; at < len(s.data); {
		if s.bytes && at == len(s.data)-1 && len(s.out) == s.most {
			return nil // padding to even length
		}
		if s.data[at] != indirectSegment {
			next, err := s.one(at)
			if err != nil {
				return err
			}
			at = next
			continue
		}
		next, err := s.copies(at)
		if err != nil {
			return err
		}
		at = next
	}
	return nil
}

// one expands a discrete or a linear segment and returns where the next begins.
func (s *segments) one(at int) (int, error) {
	if at < 0 || at+2 > len(s.data) {
		return 0, errSegment
	}
	kind, n := s.data[at], int(s.data[at+1])
	at += 2
	if n > s.most-len(s.out) {
		return 0, fmt.Errorf("render: a segmented palette of more than %d entries", s.most)
	}
	switch {
	case n == 0: // adds nothing, and copies of it would take for ever
	case kind == discreteSegment && n <= len(s.data)-at:
		s.out = append(s.out, s.data[at:at+n]...)
		return at + n, nil
	case kind == linearSegment && at < len(s.data) && len(s.out) > 0:
		from, to := int(s.out[len(s.out)-1]), int(s.data[at])
		for i := 1; i <= n; i++ {
			s.out = append(s.out, uint16(from+divide((to-from)*i, n)))
		}
		return at + 1, nil
	}
	return 0, errSegment
}

// divide rounds to the nearest.
func divide(a, b int) int {
	if a < 0 {
		return -divide(-a, b)
	}
	return (2*a + b) / (2 * b)
}

// copies expands an indirect segment: how many segments, and the byte offset of
// the first of them, in 32 bits, low part first. Those may not be indirect
// themselves.
func (s *segments) copies(at int) (int, error) {
	parts, width, size := 2, 16, 2
	if s.bytes {
		parts, width, size = 4, 8, 1
	}
	if at+2+parts > len(s.data) {
		return 0, errSegment
	}
	n, offset := int(s.data[at+1]), 0
	for i := range parts {
		offset |= int(s.data[at+2+i]) << (width * i)
	}
	if offset%size != 0 || offset/size >= at {
		return 0, errSegment
	}
	offset /= size
	for range n {
		next, err := s.one(offset)
		if err != nil {
			return 0, err
		}
		offset = next
	}
	return at + 2 + parts, nil
}
