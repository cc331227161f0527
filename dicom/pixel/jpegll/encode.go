package jpegll

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"nhip/dicom/pixel/internal/t81"
	"nhip/dicom/pixel/raster"
)

// Options of Encode. The zero value is what DICOM calls JPEG Lossless, first-order
// prediction: selection value 1, all components in one scan.
type Options struct {
	Selection      int  // 1 to 7; 0: 1
	PointTransform int  // low bits that are dropped: not lossless where not 0
	Restart        int  // lines between restart markers; 0: none
	Separate       bool // a scan for each component
}

// Encode codes a picture of 1 to 4 samples per pixel, of 2 to 16 bits of precision,
// with the shortest Huffman code for each component. Of signed samples the low bits
// are coded, as DICOM wants it. A sample that needs more bits than the precision is
// an error. Samples in colour are coded as they are.
func Encode(m *raster.Image, o Options) ([]byte, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	if o.Selection == 0 {
		o.Selection = 1
	}
	refuse := func(format string, args ...any) ([]byte, error) {
		return nil, &raster.UnsupportedError{Codec: codec, What: fmt.Sprintf(format, args...)}
	}
	switch {
	case m.Precision < 2 || m.Precision > 16:
		return refuse("a precision of %d bits", m.Precision)
	case o.Selection < 0 || o.Selection > 7:
		return refuse("selection value %d", o.Selection)
	case o.PointTransform < 0 || o.PointTransform >= m.Precision:
		return refuse("a point transform of %d bits of %d", o.PointTransform, m.Precision)
	case o.Restart < 0 || o.Restart*m.Columns > 65535:
		return refuse("%d lines of %d samples between restart markers: 65535 samples are possible", o.Restart, m.Columns)
	}
	e := encoder{image: m, options: o}
	return e.encode(), nil
}

type encoder struct {
	image   *raster.Image
	options Options
	writer  t81.BitWriter
}

func (e *encoder) encode() []byte {
	m, be := e.image, binary.BigEndian
	b := append(make([]byte, 0, 1024+len(m.Pix)/2), 0xFF, t81.SOI, 0xFF, sof3)
	b = be.AppendUint16(b, uint16(8+3*m.Samples))
	b = append(b, byte(m.Precision))
	b = be.AppendUint16(b, uint16(m.Rows))
	b = be.AppendUint16(b, uint16(m.Columns))
	b = append(b, byte(m.Samples))
	for c := range m.Samples {
		b = append(b, byte(c+1), 0x11, 0)
	}
	if e.options.Restart > 0 {
		b = append(b, 0xFF, t81.DRI, 0, 4)
		b = be.AppendUint16(b, uint16(e.options.Restart*m.Columns))
	}
	all := []int{0, 1, 2, 3}[:m.Samples]
	scans := [][]int{all}
	if e.options.Separate {
		scans = slices.Collect(slices.Chunk(all, 1))
	}
	for _, components := range scans {
		b = e.scan(b, components)
	}
	return append(b, 0xFF, t81.EOI)
}

// scan appends the Huffman tables, the header and the data of a scan.
func (e *encoder) scan(b []byte, components []int) []byte {
	var planes []*plane
	for _, c := range components {
		p := newPlane(c, e.image.Columns)
		e.count(p)
		p.code = t81.NewHuffmanCode(p.frequency[:])
		b = p.code.Append(b, 0, c)
		planes = append(planes, p)
	}
	b = append(b, 0xFF, t81.SOS, 0, byte(6+2*len(planes)), byte(len(planes)))
	for _, p := range planes {
		b = append(b, byte(p.index+1), byte(p.index<<4))
	}
	b = append(b, byte(e.options.Selection), 0, byte(e.options.PointTransform))
	e.writer = t81.BitWriter{Out: b}
	for row := range e.image.Rows {
		first := e.first(row)
		if first && row > 0 {
			e.writer.Flush()
			e.writer.Out = append(e.writer.Out, 0xFF, t81.RST0+byte((row/e.options.Restart-1)%8))
		}
		for _, p := range planes {
			e.differences(p, row, first)
		}
		if len(planes) == 1 {
			e.write(planes[0])
		} else {
			e.interleave(planes)
		}
	}
	e.writer.Flush()
	return e.writer.Out
}

// first says whether a line begins the scan or follows a restart marker.
func (e *encoder) first(row int) bool {
	return row == 0 || e.options.Restart > 0 && row%e.options.Restart == 0
}

// A plane is a component on its way: a line, the line above, differences.
type plane struct {
	index       int
	line, above []uint16
	difference  []int16
	frequency   [17]int // of categories
	code        *t81.HuffmanCode
}

func newPlane(index, columns int) *plane {
	return &plane{
		index: index, line: make([]uint16, columns), above: make([]uint16, columns),
		difference: make([]int16, columns),
	}
}

// count counts the categories of all differences.
func (e *encoder) count(p *plane) {
	for row := range e.image.Rows {
		e.differences(p, row, e.first(row))
		for _, d := range p.difference {
			p.frequency[category(d)]++
		}
	}
}

// category is SSSS, T.81 table H.2.
func category(d int16) int {
	v := int32(d)
	return bits.Len32(uint32(max(v, -v)))
}

// differences fills a plane with the differences of a line.
func (e *encoder) differences(p *plane, row int, first bool) {
	p.line, p.above = p.above, p.line
	e.samples(p, row)
	line, above := p.line, p.above[:len(p.line)]
	difference := p.difference[:len(line)]
	ra := uint16(1) << (e.image.Precision - e.options.PointTransform - 1)
	if !first {
		ra = above[0]
	}
	if first || e.options.Selection == 1 {
		for x, v := range line {
			difference[x] = int16(v - ra)
			ra = v
		}
		return
	}
	difference[0] = int16(line[0] - ra)
	for x := 1; x < len(line); x++ {
		difference[x] = int16(line[x] - prediction(e.options.Selection, line[x-1], above[x], above[x-1]))
	}
}

// samples fills the line of a plane from the image.
func (e *encoder) samples(p *plane, row int) {
	m := e.image
	step := m.BitsAllocated / 8
	size := m.Columns * m.Samples * step
	in := m.Pix[row*size : (row+1)*size]
	mask, shift := uint16(1<<m.Precision-1), e.options.PointTransform
	switch {
	case step == 2 && m.Samples == 1:
		for x := range p.line {
			p.line[x] = binary.LittleEndian.Uint16(in[2*x:]) & mask >> shift
		}
	case step == 1 && m.Samples == 1:
		for x := range p.line {
			p.line[x] = uint16(in[x]) & mask >> shift
		}
	default:
		for x := range p.line {
			at := (x*m.Samples + p.index) * step
			v := uint16(in[at])
			if step > 1 {
				v |= uint16(in[at+1]) << 8
			}
			p.line[x] = v & mask >> shift
		}
	}
}

// write codes a line of differences. It is the loop that counts.
func (e *encoder) write(p *plane) {
	w := &e.writer
	acc, n := w.Bits, w.N
	code, length := &p.code.Code, &p.code.Length
	for _, d := range p.difference {
		ssss := category(d) & 31
		extra := ssss & 15 // category 16 has no bits behind it
		// A negative difference is coded one less, T.81 section F.1.2.1.1.
		low := uint64(int64(d)+int64(d>>15)) & (1<<extra - 1)
		acc = acc<<((int(length[ssss])+extra)&63) | uint64(code[ssss])<<extra | low
		if n += int(length[ssss]) + extra; n >= 32 {
			w.Bits, w.N = acc, n
			w.Drain()
			n = w.N
		}
	}
	w.Bits, w.N = acc, n
}

// interleave codes a line of differences of all components, sample by sample.
func (e *encoder) interleave(planes []*plane) {
	w := &e.writer
	for x := range e.image.Columns {
		for _, p := range planes {
			d := p.difference[x]
			ssss := category(d)
			extra := ssss & 15
			low := uint64(int64(d)+int64(d>>15)) & (1<<extra - 1)
			length := int(p.code.Length[ssss])
			w.Bits = w.Bits<<(length+extra) | uint64(p.code.Code[ssss])<<extra | low
			w.N += length + extra
			w.Drain()
		}
	}
}
