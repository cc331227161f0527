package jpegdct

import "nhip/dicom/pixel/internal/t81"

// A scanDecoder decodes the MCUs of a sequential scan.
type scanDecoder struct {
	*decoder
	t81.BitReader
	planes        []*plane
	alone         bool // one component: its MCU is a block
	rows, columns int  // of MCUs
	block         [64]int32
}

func (s *scanDecoder) decode() error {
	mcu := 0
	for row := range s.rows {
		for _, p := range s.planes {
			p.grow(s.alone, 2*len(s.Data))
		}
		for column := range s.columns {
			if s.interval > 0 && mcu > 0 && mcu%s.interval == 0 {
				if err := s.Restart(&s.BitReader, mcu/s.interval-1); err != nil {
					return err
				}
				for _, p := range s.planes {
					p.predicted = 0
				}
			}
			mcu++
			if err := s.mcu(row, column); err != nil {
				return err
			}
		}
	}
	if left := s.Rest(); left > 2 {
		return s.Errorf("%d bytes are left after the last sample", left)
	}
	return nil
}

// grow adds the blocks of a row of MCUs. hint is how many samples to begin with.
func (p *plane) grow(alone bool, hint int) {
	rows := p.v
	if alone {
		rows = 1
	}
	if p.samples == nil {
		p.samples = make([]uint16, 0, min(p.rows*p.blocks*64, hint))
	}
	p.samples = append(p.samples, make([]uint16, rows*p.blocks*64)...)
}

// mcu decodes the blocks of each component in turn, T.81 section A.2.3.
func (s *scanDecoder) mcu(row, column int) error {
	for _, p := range s.planes {
		h, v := p.h, p.v
		if s.alone {
			h, v = 1, 1
		}
		for y := range v {
			for x := range h {
				if err := s.coefficients(p); err != nil {
					return err
				}
				at := (row*v+y)*p.blocks*64 + (column*h+x)*8
				inverse(&s.block, p.samples[at:], p.blocks*8, s.frame.Precision)
			}
		}
	}
	return nil
}

// coefficients decodes a block and multiplies it by the quantization table, T.81
// section F.2.2.
func (s *scanDecoder) coefficients(p *plane) error {
	clear(s.block[:])
	q := s.quantize[p.tq]
	size, err := s.symbol(p.dc)
	if err != nil {
		return err
	}
	if size > 15 {
		return s.Errorf("a DC difference of %d bits", size)
	}
	difference, err := s.receive(int(size))
	if err != nil {
		return err
	}
	p.predicted += difference
	if p.predicted < -1<<16 || p.predicted > 1<<16 {
		return s.Errorf("a DC coefficient is out of range")
	}
	s.block[0] = p.predicted * q[0]
	for k := 1; k < 64; k++ {
		symbol, err := s.symbol(p.ac)
		if err != nil {
			return err
		}
		run, size := int(symbol>>4), int(symbol&15)
		if size == 0 && run < 15 {
			return nil // end of block
		}
		k += run
		if k > 63 {
			return s.Errorf("more coefficients than a block has")
		}
		v, err := s.receive(size)
		if err != nil {
			return err
		}
		s.block[zigzag[k]] = v * q[k]
	}
	return nil
}

// symbol decodes a Huffman code, T.81 section F.2.2.3.
func (s *scanDecoder) symbol(h *t81.Huffman) (byte, error) {
	if s.N < 32 {
		s.Fill()
	}
	symbol, length := h.Decode(uint16(s.Bits >> 48))
	switch {
	case length > s.N || length == 0 && s.N < 16:
		return 0, s.Truncated("within the image data")
	case length == 0:
		return 0, s.Errorf("a code that is not in the Huffman table")
	}
	s.Bits <<= length
	s.N -= length
	return symbol, nil
}

// receive reads the bits of a value and extends its sign, T.81 section F.2.2.1.
func (s *scanDecoder) receive(size int) (int32, error) {
	if s.N < size {
		s.Fill()
	}
	if s.N < size {
		return 0, s.Truncated("within the image data")
	}
	v := int32(s.Bits >> 1 >> (63 - size))
	s.Bits <<= size
	s.N -= size
	if size > 0 && v < 1<<(size-1) {
		v -= 1<<size - 1
	}
	return v, nil
}
