package jpegll

import (
	"encoding/binary"

	"nhip/dicom/pixel/internal/lines"
	"nhip/dicom/pixel/internal/t81"
)

// tableBits is how many bits a table of whole differences looks at: a code and the
// bits behind it, of most samples.
const tableBits = 12

// A component of a scan: its line, the line above, and its table. The samples of a
// line come as differences, which the prediction turns into samples.
type component struct {
	index       int
	line, above []uint16
	huffman     *t81.Huffman
	// table has, by the next tableBits bits, difference<<8 | length of code and
	// difference; 0 where they are longer.
	table [1 << tableBits]int32
}

func newComponent(index, columns int, h *t81.Huffman) *component {
	c := &component{index: index, line: make([]uint16, columns), above: make([]uint16, columns), huffman: h}
	for i := range c.table {
		symbol, length := h.Decode(uint16(i << (16 - tableBits)))
		total := length + int(symbol)
		if length == 0 || symbol > 15 || total > tableBits {
			continue
		}
		extra := i >> (tableBits - total) & (1<<symbol - 1)
		c.table[i] = int32(extend(extra, int(symbol)))<<8 | int32(total)
	}
	return c
}

// extend makes a difference of its category and bits, T.81 section F.2.2.1.
func extend(bits, category int) int {
	if category > 0 && bits < 1<<(category-1) {
		return bits - (1<<category - 1)
	}
	return bits
}

// A scanDecoder decodes the lines of one scan.
type scanDecoder struct {
	*decoder
	t81.BitReader
	components []*component
	selection  int
	shift      int // of the point transform
}

func (s *scanDecoder) decode() error {
	m := s.image
	every := s.interval / m.Columns
	first := true // of the scan, or after a restart marker
	for row := range m.Rows {
		if every > 0 && row > 0 && row%every == 0 {
			if err := s.Restart(&s.BitReader, row/every-1); err != nil {
				return err
			}
			first = true
		}
		var err error
		if len(s.components) == 1 {
			err = s.differences(s.components[0])
		} else {
			err = s.interleaved()
		}
		if err != nil {
			return err
		}
		initial := uint16(1) << (m.Precision - s.shift - 1)
		for _, c := range s.components {
			if c.predict(s.selection, first, initial)>>(m.Precision-s.shift) != 0 {
				return s.Errorf("a sample of more than %d bits", m.Precision-s.shift)
			}
		}
		for _, c := range s.components {
			lines.Put(m, row, c.index, c.line, s.shift, 4*len(s.Data))
			c.line, c.above = c.above, c.line
		}
		first = false
	}
	// An encoder pads the last byte.
	if left := s.Rest(); left > 2 {
		return s.Errorf("%d bytes are left after the last sample", left)
	}
	s.decoder.At = s.BitReader.At
	return nil
}

// differences decodes a line of a component. It is the loop that counts: the state
// of the BitReader is in variables.
func (s *scanDecoder) differences(c *component) error {
	data, at, acc, n := s.BitReader.Data, s.BitReader.At, s.Bits, s.N
	table := &c.table
	line := c.line
	for x := range line {
		if n < 32 {
			next := ^uint64(0)
			if at+8 <= len(data) {
				next = binary.BigEndian.Uint64(data[at:])
			}
			if !t81.HasFF(next) {
				acc |= next >> (n & 63)
				at += (63 - n) >> 3
				n |= 56
			} else {
				s.BitReader.At, s.Bits, s.N = at, acc, n
				s.Fill()
				at, acc, n = s.BitReader.At, s.Bits, s.N
			}
		}
		v := table[acc>>(64-tableBits)]
		if length := int(v & 255); v != 0 && length <= n {
			line[x] = uint16(v >> 8)
			acc <<= length & 63
			n -= length
			continue
		}
		s.BitReader.At, s.Bits, s.N = at, acc, n
		difference, err := s.difference(c.huffman)
		if err != nil {
			return err
		}
		line[x] = difference
		at, acc, n = s.BitReader.At, s.Bits, s.N
	}
	s.BitReader.At, s.Bits, s.N = at, acc, n
	return nil
}

// interleaved decodes a line of all components, sample by sample.
func (s *scanDecoder) interleaved() error {
	for x := range s.image.Columns {
		for _, c := range s.components {
			if s.N < 32 {
				s.Fill()
			}
			v := c.table[s.Bits>>(64-tableBits)]
			if length := int(v & 255); v != 0 && length <= s.N {
				c.line[x] = uint16(v >> 8)
				s.Bits <<= length & 63
				s.N -= length
				continue
			}
			difference, err := s.difference(c.huffman)
			if err != nil {
				return err
			}
			c.line[x] = difference
		}
	}
	return nil
}

// difference decodes a difference that the table does not have, T.81 section H.1.2.2.
func (s *scanDecoder) difference(h *t81.Huffman) (uint16, error) {
	s.Fill()
	symbol, length := h.Decode(uint16(s.Bits >> 48))
	extra := int(symbol)
	if symbol == 16 {
		extra = 0
	}
	switch {
	case length > 0 && length+extra > s.N || length == 0 && s.N < 16:
		return 0, s.Truncated("within the image data")
	case length == 0:
		return 0, s.Errorf("a code that is not in the Huffman table")
	case symbol > 16:
		return 0, s.Errorf("a difference of %d bits", symbol)
	case symbol == 16:
		s.Bits <<= length
		s.N -= length
		return 1 << 15, nil
	}
	v := int(s.Bits << length >> 1 >> (63 - extra))
	s.Bits <<= length + extra
	s.N -= length + extra
	return uint16(extend(v, extra)), nil
}

// predict turns the differences of a line into samples, T.81 section H.1.2.1, and
// returns all their bits.
func (c *component) predict(selection int, first bool, initial uint16) uint16 {
	line, above := c.line, c.above[:len(c.line)]
	switch {
	case first:
		return accumulate(line, initial)
	case selection == 1:
		return accumulate(line, above[0])
	}
	rc := above[0]
	line[0] += rc
	ra := line[0]
	seen := ra
	for x := 1; x < len(line); x++ {
		rb := above[x]
		ra = line[x] + prediction(selection, ra, rb, rc)
		line[x] = ra
		seen |= ra
		rc = rb
	}
	return seen
}

// accumulate predicts each sample by the one before it.
func accumulate(line []uint16, ra uint16) uint16 {
	seen := uint16(0)
	for x := range line {
		ra += line[x]
		line[x] = ra
		seen |= ra
	}
	return seen
}

// prediction is T.81 table H.1, modulo 2^16 from values without a sign.
func prediction(selection int, ra, rb, rc uint16) uint16 {
	a, b, c := int32(ra), int32(rb), int32(rc)
	switch selection {
	case 1:
		return ra
	case 2:
		return rb
	case 3:
		return rc
	case 4:
		return uint16(a + b - c)
	case 5:
		return uint16(a + (b-c)>>1)
	case 6:
		return uint16(b + (a-c)>>1)
	}
	return uint16((a + b) >> 1)
}
