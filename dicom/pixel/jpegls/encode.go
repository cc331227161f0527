package jpegls

import (
	"encoding/binary"
	"fmt"
	"slices"

	"nhip/dicom/pixel/internal/t81"
	"nhip/dicom/pixel/raster"
)

// Options of Encode. The zero value is lossless, one scan for each component.
type Options struct {
	Near       int // no sample changes by more than this; 0: lossless
	Interleave Interleave
	Restart    int // lines between restart markers; 0: none
	Preset     Preset
}

// Encode codes a picture of 1 to 4 samples per pixel, of 2 to 16 bits of precision.
// Of signed samples the low bits are coded, as DICOM wants it: near-lossless coding
// of them would turn small negative values into large ones and is refused. A
// sample that needs more bits than the precision is an error. Samples in colour are
// coded as they are.
func Encode(m *raster.Image, o Options) ([]byte, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	switch {
	case m.Precision < 2 || m.Precision > 16:
		return nil, unsupported(fmt.Sprintf("a precision of %d bits", m.Precision))
	case m.Signed && o.Near > 0:
		return nil, unsupported("near-lossless coding of signed samples")
	case o.Interleave > InterleaveSample:
		return nil, unsupported(fmt.Sprintf("interleave mode %d", o.Interleave))
	case o.Restart < 0 || o.Restart > 65535:
		return nil, unsupported(fmt.Sprintf("a restart interval of %d lines", o.Restart))
	}
	p, err := newParameters(m.Precision, o.Near, o.Preset)
	if err != nil {
		return nil, unsupported(err.Error())
	}
	if m.Samples == 1 {
		o.Interleave = InterleaveNone
	}
	return encode(m, o, p)
}

func encode(m *raster.Image, o Options, p parameters) ([]byte, error) {
	md := newModel(p)
	defer models.Put(md)
	out := appendHeaders(make([]byte, 0, 1024+len(m.Pix)/2), m, o, p)
	all := []int{0, 1, 2, 3}[:m.Samples]
	scans := [][]int{all}
	if o.Interleave == InterleaveNone {
		scans = slices.Collect(slices.Chunk(all, 1))
	}
	for _, components := range scans {
		out = appendScanHeader(out, components, o)
		md.restart()
		s := scanEncoder{model: md, bitWriter: bitWriter{out: out}, linePair: newLinePair(m.Columns, len(components))}
		if err := s.scan(m, components, o); err != nil {
			return nil, err
		}
		out = s.out
	}
	return append(out, 0xFF, t81.EOI), nil
}

// appendHeaders writes SOI, SOF55, LSE and DRI.
func appendHeaders(b []byte, m *raster.Image, o Options, p parameters) []byte {
	be := binary.BigEndian
	b = append(b, 0xFF, t81.SOI, 0xFF, markerSOF)
	b = be.AppendUint16(b, uint16(8+3*m.Samples))
	b = append(b, byte(m.Precision))
	b = be.AppendUint16(b, uint16(m.Rows))
	b = be.AppendUint16(b, uint16(m.Columns))
	b = append(b, byte(m.Samples))
	for c := range m.Samples {
		b = append(b, byte(c+1), 0x11, 0)
	}
	// Decoders with defaults of their own over 12 bits are about: they are told.
	if o.Preset != (Preset{}) || m.Precision > 12 {
		b = append(b, 0xFF, markerLSE, 0, 13, 1)
		for _, v := range []int{p.maxVal, p.t1, p.t2, p.t3, p.reset} {
			b = be.AppendUint16(b, uint16(v))
		}
	}
	if o.Restart > 0 {
		b = append(b, 0xFF, t81.DRI, 0, 4)
		b = be.AppendUint16(b, uint16(o.Restart))
	}
	return b
}

func appendScanHeader(b []byte, components []int, o Options) []byte {
	b = append(b, 0xFF, t81.SOS, 0, byte(6+2*len(components)), byte(len(components)))
	for _, c := range components {
		b = append(b, byte(c+1), 0)
	}
	return append(b, byte(o.Near), byte(o.Interleave), 0)
}

// A scanEncoder codes the lines of one scan.
type scanEncoder struct {
	*model
	bitWriter
	*linePair
	runIndex [4]int // of each component; the first in sample interleave
}

func (s *scanEncoder) scan(m *raster.Image, components []int, o Options) error {
	restarts := 0
	for row := range m.Rows {
		if o.Restart > 0 && row > 0 && row%o.Restart == 0 {
			s.restart(restarts)
			restarts = (restarts + 1) % 8
		}
		if !s.take(m, row, components) {
			return unsupported(fmt.Sprintf("a sample over MAXVAL %d", s.maxVal))
		}
		s.row(o.Interleave)
		s.swap()
	}
	s.flush()
	return nil
}

func (s *scanEncoder) restart(count int) {
	s.flush()
	s.out = append(s.out, 0xFF, t81.RST0+byte(count))
	s.model.restart()
	s.linePair.clear()
	s.runIndex = [4]int{}
}

// take copies a line of the image, as far as the precision goes, and says whether
// every sample is in range.
func (s *scanEncoder) take(m *raster.Image, row int, components []int) bool {
	size := m.Columns * m.Samples * m.BitsAllocated / 8
	in := m.Pix[row*size : (row+1)*size]
	step := m.BitsAllocated / 8
	mask := uint16(1<<m.Precision - 1)
	most := uint16(0)
	for i, c := range components {
		line := s.current[i][1 : m.Columns+1]
		for x := range line {
			at := (x*m.Samples + c) * step
			v := uint16(in[at])
			if step > 1 {
				v |= uint16(in[at+1]) << 8
			}
			line[x] = v & mask
			most = max(most, v&mask)
		}
	}
	return int(most) <= s.maxVal
}

// row codes a line of every component.
func (s *scanEncoder) row(interleave Interleave) {
	s.edges()
	if interleave == InterleaveSample {
		s.interleaved()
		return
	}
	for c := range s.current {
		if s.exact {
			s.exactLine(c)
		} else {
			s.nearLine(c)
		}
	}
}
