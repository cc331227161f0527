package jpegdct

import (
	"encoding/binary"

	"nhip/dicom/pixel/internal/t81"
	"nhip/dicom/pixel/raster"
)

// zigzag has the place in a block, row by row, of the coefficients as coded, T.81
// figure 5.
var zigzag = [64]uint8{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
}

// A plane is a decoded component, whole blocks, growing by rows of blocks.
type plane struct {
	h, v    int // sampling factors
	tq      int
	blocks  int // in a row of blocks, up to whole MCUs
	columns int // blocks that a scan of this component alone has in a row
	rows    int // and in a column
	samples []uint16
	done    bool

	// of the scan
	dc, ac    *t81.Huffman
	predicted int32
}

// sequential decodes a baseline or extended frame.
func (d *decoder) sequential() (*raster.Image, error) {
	planes, high, wide := d.planes()
	d.At = 2
	for left := len(planes); left > 0; {
		marker, p, err := d.Next()
		if err != nil {
			return nil, err
		}
		switch marker {
		case t81.DHT:
			err = d.Huffmans(p, &d.huffman)
		case t81.DQT:
			err = d.quantization(p)
		case t81.DRI:
			d.interval, err = d.RestartInterval(p)
		case t81.SOS:
			var decoded int
			decoded, err = d.scan(p, planes, high, wide)
			left -= decoded
		case t81.EOI:
			err = d.Errorf("EOI marker before every component was decoded")
		}
		if err != nil {
			return nil, err
		}
	}
	return d.assemble(planes, high, wide), nil
}

// planes makes the components of the frame, T.81 section A.1.1, and the highest of
// their sampling factors.
func (d *decoder) planes() (planes []*plane, high, wide int) {
	f := d.frame
	for _, c := range f.Components {
		p := &plane{h: c.H, v: c.V, tq: c.Tq}
		if len(f.Components) == 1 {
			p.h, p.v = 1, 1
		}
		high, wide = max(high, p.v), max(wide, p.h)
		planes = append(planes, p)
	}
	for _, p := range planes {
		p.blocks = ceil(f.Columns, 8*wide) * p.h
		p.columns = ceil(ceil(f.Columns*p.h, wide), 8)
		p.rows = ceil(ceil(f.Rows*p.v, high), 8)
	}
	return planes, high, wide
}

func ceil(a, b int) int { return (a + b - 1) / b }

// quantization reads a DQT segment, T.81 section B.2.4.1.
func (d *decoder) quantization(p []byte) error {
	for len(p) > 0 {
		size, destination := int(p[0]>>4)+1, p[0]&15
		if size > 2 || destination > 3 || len(p) < 1+64*size {
			return d.Errorf("quantization table %d of precision %d in %d bytes", destination, size-1, len(p))
		}
		table := new([64]int32)
		for i := range table {
			if size == 1 {
				table[i] = int32(p[1+i])
			} else {
				table[i] = int32(binary.BigEndian.Uint16(p[1+2*i:]))
			}
		}
		d.quantize[destination] = table
		p = p[1+64*size:]
	}
	return nil
}

// scan decodes a scan and says of how many components.
func (d *decoder) scan(p []byte, planes []*plane, high, wide int) (int, error) {
	scan, err := d.Scan(d.frame, p)
	if err != nil {
		return 0, err
	}
	// Ss, Se, Ah and Al say nothing in a sequential scan; encoders that leave Se 0 are
	// about.
	s := scanDecoder{decoder: d}
	s.BitReader.Data, s.BitReader.At = d.Data, d.At
	for _, c := range scan.Components {
		p := planes[c.Index]
		p.dc, p.ac = d.huffman[0][c.Td], d.huffman[1][c.Ta]
		switch {
		case p.done:
			return 0, d.Errorf("component %d comes twice", d.frame.Components[c.Index].ID)
		case p.dc == nil || p.ac == nil:
			return 0, d.Errorf("Huffman tables %d and %d were not both defined", c.Td, c.Ta)
		case d.quantize[p.tq] == nil:
			return 0, d.Errorf("quantization table %d was not defined", p.tq)
		}
		p.done = true
		s.planes = append(s.planes, p)
	}
	s.rows, s.columns = ceil(d.frame.Rows, 8*high), ceil(d.frame.Columns, 8*wide)
	if len(s.planes) == 1 {
		// MCUs are blocks, and there are none beyond the component, section A.2.2.
		s.alone = true
		s.rows, s.columns = s.planes[0].rows, s.planes[0].columns
	}
	if err := s.decode(); err != nil {
		return 0, err
	}
	d.At = s.BitReader.At
	return len(s.planes), nil
}

// assemble repeats subsampled components and interleaves.
func (d *decoder) assemble(planes []*plane, high, wide int) *raster.Image {
	m := &raster.Image{
		Columns: d.frame.Columns, Rows: d.frame.Rows, Samples: len(planes),
		Precision: d.frame.Precision, BitsAllocated: 8,
	}
	if m.Precision > 8 {
		m.BitsAllocated = 16
	}
	size := m.BitsAllocated / 8
	m.Pix = make([]byte, m.Columns*m.Rows*m.Samples*size)
	for c, p := range planes {
		for y := range m.Rows {
			in := p.samples[y*p.v/high*p.blocks*8:][:p.blocks*8]
			out := m.Pix[(y*m.Columns*m.Samples+c)*size:]
			for x := range m.Columns {
				v := in[x*p.h/wide]
				if size == 1 {
					out[x*m.Samples] = byte(v)
				} else {
					binary.LittleEndian.PutUint16(out[2*x*m.Samples:], v)
				}
			}
		}
	}
	return m
}
