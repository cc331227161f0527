// Package jpegdct decodes JPEG by discrete cosine transform, ITU-T T.81: baseline
// (process 1), extended sequential with Huffman coding (processes 2 and 4) of 8 and
// 12 bits, and progressive of 8 bits. The standard library does what it can of 8
// bits, a decoder of our own the rest. Components come as coded, RGB or YCbCr, with
// subsampled ones repeated to full size: a conversion is the caller's matter. It
// refuses in words arithmetic coding, 12-bit progressive, hierarchical and lossless
// frames (package jpegll) and a number of lines that comes after the scan (DNL). It
// knows nothing of data sets.
package jpegdct

import (
	"bytes"

	"nhip/dicom/pixel/internal/t81"
	"nhip/dicom/pixel/raster"
)

const codec = "jpegdct"

// Frames of sequential and progressive DCT with Huffman coding.
const (
	baseline    = t81.SOF0
	extended    = 0xC1
	progressive = 0xC2
)

// Decode decodes one picture, 8-bit samples in 8 bits allocated, 12-bit in 16.
// Colour says what the components are where the stream says it. What follows the
// end of the picture is not looked at; a stream that ends before its last sample, or
// lacks a component, is an error. Errors are *raster.FormatError,
// *raster.UnsupportedError and *raster.LimitError.
func Decode(b []byte, l raster.Limits) (*raster.Image, error) {
	d := &decoder{Stream: t81.Stream{Codec: codec, Data: b}}
	if err := d.survey(l); err != nil {
		return nil, err
	}
	m, err := d.decode()
	if err != nil {
		return nil, err
	}
	m.Colour = d.frame.Colour(d.colour)
	return m, nil
}

// decode lets the standard library do what it does, but for two kinds of sequential
// frames: those that are large for their data, since it makes room for all of a
// frame at once, and those with restart markers, since it goes on behind damage.
func (d *decoder) decode() (*raster.Image, error) {
	f := d.frame
	own := d.restarts || f.Columns*f.Rows*len(f.Components) > 8*len(d.Data)+1<<20
	if f.Precision == 8 && (len(f.Components) == 1 || len(f.Components) == 3) && (!own || f.Marker == progressive) {
		m, unsupported, err := d.standard()
		if !unsupported || f.Marker == progressive {
			return m, err
		}
	}
	if f.Marker == progressive {
		return nil, d.Unsupported("a progressive frame of %d components of %d bits", len(f.Components), f.Precision)
	}
	return d.sequential()
}

// A decoder has surveyed a stream.
type decoder struct {
	t81.Stream
	frame    *t81.Frame
	colour   raster.Colour
	unended  bool // there is no EOI marker behind the last scan
	restarts bool // there are restart markers
	interval int  // MCUs between restart markers
	huffman  [2][4]*t81.Huffman
	quantize [4]*[64]int32 // in zigzag order
}

// survey walks over the marker segments to the end: what frame it is, and whether a
// scan of every component is there. Nothing is decoded before.
func (d *decoder) survey(l raster.Limits) error {
	if err := d.Start(); err != nil {
		return err
	}
	var seen [4]bool
	for {
		if d.frame != nil && d.At >= len(d.Data) && seenAll(seen[:len(d.frame.Components)]) {
			d.unended = true
			return nil
		}
		marker, p, err := d.Next()
		if err != nil {
			return err
		}
		switch {
		case marker == baseline || marker == extended || marker == progressive:
			if err := d.header(marker, p, l); err != nil {
				return err
			}
		case marker == t81.DRI:
			d.restarts = true
		case marker == t81.SOS:
			if d.frame == nil {
				return d.Errorf("a scan before the frame header")
			}
			scan, err := d.Scan(d.frame, p)
			if err != nil {
				return err
			}
			for _, c := range scan.Components {
				seen[c.Index] = seen[c.Index] || scan.Ss == 0
			}
			d.skipScan()
		case marker == t81.EOI:
			if d.frame == nil || !seenAll(seen[:len(d.frame.Components)]) {
				return d.Errorf("EOI marker before every component was decoded")
			}
			return nil
		case marker == t81.DNL:
			return d.Unsupported("a number of lines that is defined after the scan (DNL)")
		case marker >= t81.SOF0 && marker <= t81.SOF15 && marker != t81.DHT && marker != t81.DAC:
			return d.Unsupported("frame FF%02X", marker)
		case marker >= t81.APP0 && marker <= t81.APP15:
			components := 3
			if d.frame != nil {
				components = len(d.frame.Components)
			}
			d.colour = t81.Colour(marker, p, components, d.colour)
		}
	}
}

func seenAll(seen []bool) bool {
	for _, s := range seen {
		if !s {
			return false
		}
	}
	return true
}

// header is a frame header; its size is compared with what the stream can hold.
func (d *decoder) header(marker byte, p []byte, l raster.Limits) error {
	if d.frame != nil {
		return d.Errorf("a second frame header")
	}
	f, err := d.Frame(marker, p)
	if err != nil {
		return err
	}
	switch {
	case f.Precision != 8 && f.Precision != 12:
		return d.Errorf("a precision of %d bits", f.Precision)
	case f.Precision == 12 && marker == baseline:
		return d.Errorf("a baseline frame of 12 bits")
	}
	allocated := 8
	if f.Precision > 8 {
		allocated = 16
	}
	if err := l.Check(codec, f.Columns, f.Rows, len(f.Components), allocated); err != nil {
		return err
	}
	// Two codes for a block at least, of a bit each; one in the first progressive scan.
	bits := 2
	if marker == progressive {
		bits = 1
	}
	if blocks := (f.Columns + 7) / 8 * ((f.Rows + 7) / 8); blocks*bits/8 > len(d.Data) {
		return d.Truncated("long before its last sample")
	}
	d.frame = f
	return nil
}

// skipScan goes to the marker behind entropy-coded data that is no restart marker.
func (d *decoder) skipScan() {
	for {
		i := bytes.IndexByte(d.Data[d.At:], 0xFF)
		if i < 0 || d.At+i+1 >= len(d.Data) {
			d.At = len(d.Data)
			return
		}
		d.At += i
		if next := d.Data[d.At+1]; next != 0 && next != 0xFF && (next < t81.RST0 || next > t81.RST7) {
			return
		}
		d.At++
	}
}
