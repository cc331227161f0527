package jpegdct

import (
	"bytes"
	"errors"
	"image"
	"image/jpeg"
	"io"

	"nhip/dicom/pixel/internal/t81"
	"nhip/dicom/pixel/raster"
)

// standard decodes with the standard library, which gives the components as coded:
// it converts only pictures of four.
func (d *decoder) standard() (m *raster.Image, unsupported bool, err error) {
	var r io.Reader = bytes.NewReader(d.Data)
	if d.unended && d.frame.Marker != progressive {
		// Every scan is there. Where the last one is short, the marker is an error.
		r = io.MultiReader(r, bytes.NewReader([]byte{0xFF, t81.EOI}))
	}
	decoded, err := jpeg.Decode(r)
	var no jpeg.UnsupportedError
	switch {
	case errors.As(err, &no):
		return nil, true, d.Unsupported("%s", string(no))
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return nil, false, d.Truncated("within the image data")
	case err != nil:
		return nil, false, d.Errorf("%v", err)
	}
	m = &raster.Image{
		Columns: d.frame.Columns, Rows: d.frame.Rows, Samples: len(d.frame.Components),
		BitsAllocated: 8, Precision: 8,
	}
	m.Pix = make([]byte, m.Columns*m.Rows*m.Samples)
	switch p := decoded.(type) {
	case *image.Gray:
		for y := range m.Rows {
			copy(m.Pix[y*m.Columns:(y+1)*m.Columns], p.Pix[y*p.Stride:])
		}
	case *image.YCbCr:
		copyYCbCr(m, p)
	case *image.RGBA: // the components were RGB
		for y := range m.Rows {
			in, out := p.Pix[y*p.Stride:], m.Pix[y*m.Columns*3:(y+1)*m.Columns*3]
			for x := range m.Columns {
				copy(out[3*x:3*x+3], in[4*x:])
			}
		}
	default:
		return nil, false, d.Unsupported("a picture that the standard library gives as %T", decoded)
	}
	return m, false, nil
}

// copyYCbCr repeats subsampled components.
func copyYCbCr(m *raster.Image, p *image.YCbCr) {
	across := 1
	switch p.SubsampleRatio {
	case image.YCbCrSubsampleRatio422, image.YCbCrSubsampleRatio420:
		across = 2
	case image.YCbCrSubsampleRatio411, image.YCbCrSubsampleRatio410:
		across = 4
	}
	for y := range m.Rows {
		luma := p.Y[p.YOffset(0, y):]
		c := p.COffset(0, y)
		cb, cr := p.Cb[c:], p.Cr[c:]
		out := m.Pix[y*m.Columns*3 : (y+1)*m.Columns*3]
		for x := range m.Columns {
			out[3*x], out[3*x+1], out[3*x+2] = luma[x], cb[x/across], cr[x/across]
		}
	}
}
