// Package jpegll is lossless JPEG with Huffman coding, ITU-T T.81 process 14: every
// selection value, point transforms, restart intervals, 2 to 16 bits, 1 to 4
// components in one scan or several, both ways. It refuses in words subsampled
// components, restart intervals that are not whole lines, hierarchical frames and a
// number of lines that comes after the scan (DNL). It knows nothing of data sets.
package jpegll

import (
	"nhip/dicom/pixel/internal/t81"
	"nhip/dicom/pixel/raster"
)

const (
	codec = "jpegll"
	sof3  = 0xC3
)

// Decode decodes one picture. Samples of 2 to 8 bits come in 8 bits allocated, more
// in 16. Memory grows with the lines that were decoded. What follows the last scan
// is not looked at; a stream that ends before its last sample, has data left after
// it, or gives a sample more bits than its precision, is an error. Errors are
// *raster.FormatError, *raster.UnsupportedError and *raster.LimitError.
func Decode(b []byte, l raster.Limits) (*raster.Image, error) {
	d := decoder{Stream: t81.Stream{Codec: codec, Data: b}, limits: l}
	if err := d.decode(); err != nil {
		return nil, err
	}
	d.image.Colour = d.frame.Colour(d.colour)
	return d.image, nil
}

type decoder struct {
	t81.Stream
	limits   raster.Limits
	frame    *t81.Frame
	image    *raster.Image
	colour   raster.Colour
	interval int // MCUs between restart markers
	huffman  [2][4]*t81.Huffman
	done     [4]bool // components
}

// decode goes through the segments until every component is there.
func (d *decoder) decode() error {
	if err := d.Start(); err != nil {
		return err
	}
	for {
		marker, p, err := d.Next()
		if err != nil {
			return err
		}
		if err := d.segment(marker, p); err != nil {
			return err
		}
		if d.frame != nil && d.complete() {
			return nil
		}
	}
}

func (d *decoder) complete() bool {
	for c := range d.frame.Components {
		if !d.done[c] {
			return false
		}
	}
	return true
}

func (d *decoder) segment(marker byte, p []byte) (err error) {
	switch {
	case marker == sof3:
		return d.header(p)
	case marker == t81.DHT:
		return d.Huffmans(p, &d.huffman)
	case marker == t81.SOS:
		return d.scan(p)
	case marker == t81.DRI:
		d.interval, err = d.RestartInterval(p)
		return err
	case marker == t81.EOI:
		return d.Errorf("EOI marker before every component was decoded")
	case marker == t81.DNL:
		return d.Unsupported("a number of lines that is defined after the scan (DNL)")
	case marker >= t81.SOF0 && marker <= t81.SOF15 && marker != t81.DAC:
		return d.Unsupported("frame FF%02X: this is not the lossless process with Huffman coding", marker)
	case marker >= t81.APP0 && marker <= t81.APP15:
		components := 3
		if d.image != nil {
			components = d.image.Samples
		}
		d.colour = t81.Colour(marker, p, components, d.colour)
	case marker == t81.COM || marker == t81.DQT || marker == t81.DAC:
	default:
		return d.Unsupported("marker segment FF%02X", marker)
	}
	return nil
}

// header is SOF3.
func (d *decoder) header(p []byte) error {
	if d.frame != nil {
		return d.Errorf("a second frame header")
	}
	f, err := d.Frame(sof3, p)
	if err != nil {
		return err
	}
	if f.Precision < 2 || f.Precision > 16 {
		return d.Errorf("a precision of %d bits", f.Precision)
	}
	for _, c := range f.Components {
		if len(f.Components) > 1 && (c.H != f.Components[0].H || c.V != f.Components[0].V) {
			return d.Unsupported("subsampled components")
		}
	}
	m := &raster.Image{
		Columns: f.Columns, Rows: f.Rows, Samples: len(f.Components),
		Precision: f.Precision, BitsAllocated: 8,
	}
	if m.Precision > 8 {
		m.BitsAllocated = 16
	}
	if err := d.limits.Check(codec, m.Columns, m.Rows, m.Samples, m.BitsAllocated); err != nil {
		return err
	}
	d.frame, d.image = f, m
	return nil
}

// scan reads a scan header, checks it, and decodes what follows.
func (d *decoder) scan(p []byte) error {
	if d.frame == nil {
		return d.Errorf("a scan before the frame header")
	}
	scan, err := d.Scan(d.frame, p)
	if err != nil {
		return err
	}
	s := scanDecoder{decoder: d, selection: scan.Ss, shift: scan.Al}
	s.Data, s.At = d.Data, d.At
	switch {
	case scan.Ss < 1 || scan.Ss > 7:
		return d.Errorf("selection value %d", scan.Ss)
	case scan.Al >= d.image.Precision:
		return d.Errorf("a point transform of %d bits of %d", scan.Al, d.image.Precision)
	case d.interval%d.image.Columns != 0:
		return d.Unsupported("a restart interval of %d samples in lines of %d", d.interval, d.image.Columns)
	case len(scan.Components) > 1 && (d.frame.Components[0].H > 1 || d.frame.Components[0].V > 1):
		return d.Unsupported("interleaved components with sampling factors over 1")
	}
	// Every sample takes a bit at least.
	if need := d.image.Columns * d.image.Rows * len(scan.Components); need/8 > len(d.Data)-d.At {
		return d.Truncated("long before its last sample")
	}
	for _, c := range scan.Components {
		if d.huffman[0][c.Td] == nil {
			return d.Errorf("Huffman table %d was not defined", c.Td)
		}
		if d.done[c.Index] {
			return d.Errorf("component %d comes twice", d.frame.Components[c.Index].ID)
		}
		d.done[c.Index] = true
		s.components = append(s.components, newComponent(c.Index, d.image.Columns, d.huffman[0][c.Td]))
	}
	return s.decode()
}
