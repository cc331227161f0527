// Package raster is a decoded picture as the codecs of dicom/pixel give and take
// it: samples in memory, as DICOM native pixel data would hold one frame (PS3.5
// section 8), without a word about patients, photometric interpretation or
// windows. The codecs share its limits and its kinds of error.
package raster

import "fmt"

// An Image is one frame. Pix holds the samples interleaved by pixel, row by row
// from the top, little endian where a sample takes more than a byte, without any
// padding: Columns × Rows × Samples × BitsAllocated/8 bytes.
type Image struct {
	Columns, Rows int
	Samples       int // per pixel, 1 to 4
	BitsAllocated int // of a sample: 8, 16 or 32
	Precision     int // bits of a sample that carry its value, the low ones
	// Signed: samples are two's complement, sign-extended to BitsAllocated. JPEG and
	// JPEG-LS know no signs: what they decode has zeroes above Precision and is never
	// Signed. RLE gives back every bit that is allocated.
	Signed bool
	// Colour is what the coded stream says of its components. They are given as
	// coded: to convert them is the caller's matter.
	Colour Colour
	Pix    []byte
}

// Colour is the colour transform that a coded stream declares for its components.
type Colour uint8

// Colour transforms.
const (
	ColourUnspecified Colour = iota // the stream says nothing
	ColourRGB                       // Adobe marker, transform 0, three components, or these letters as identifiers
	ColourYCbCr                     // JFIF marker, or Adobe marker, transform 1
	ColourCMYK                      // Adobe marker, transform 0, four components
	ColourYCCK                      // Adobe marker, transform 2
)

func (c Colour) String() string {
	switch c {
	case ColourRGB:
		return "RGB"
	case ColourYCbCr:
		return "YCbCr"
	case ColourCMYK:
		return "CMYK"
	case ColourYCCK:
		return "YCCK"
	}
	return "unspecified"
}

// Check says in words what is wrong with an image that is to be encoded: its
// geometry, the length of Pix, or a sample that needs more than Precision bits
// and would not survive.
func (m *Image) Check() error {
	switch {
	case m.Columns < 1 || m.Rows < 1 || m.Columns > 65535 || m.Rows > 65535:
		return fmt.Errorf("raster: %d columns by %d rows: each has to be 1 to 65535", m.Columns, m.Rows)
	case m.Samples < 1 || m.Samples > 4:
		return fmt.Errorf("raster: %d samples per pixel: 1 to 4 are possible", m.Samples)
	case m.BitsAllocated != 8 && m.BitsAllocated != 16 && m.BitsAllocated != 32:
		return fmt.Errorf("raster: %d bits allocated: 8, 16 and 32 are possible", m.BitsAllocated)
	case m.Precision < 1 || m.Precision > m.BitsAllocated:
		return fmt.Errorf("raster: %d bits of precision in %d bits allocated", m.Precision, m.BitsAllocated)
	case len(m.Pix) != m.Columns*m.Rows*m.Samples*(m.BitsAllocated/8):
		return fmt.Errorf("raster: %d bytes for %d columns, %d rows, %d samples per pixel of %d bits",
			len(m.Pix), m.Columns, m.Rows, m.Samples, m.BitsAllocated)
	case !m.fits():
		return fmt.Errorf("raster: a sample needs more than the %d bits of the precision", m.Precision)
	}
	return nil
}

// fits says whether every sample is within Precision bits, by its sign.
func (m *Image) fits() bool {
	if m.Precision == m.BitsAllocated {
		return true
	}
	// A value that fits becomes less than 1<<Precision when half of the range is
	// added to a signed one, and nothing to an unsigned one.
	half := uint32(0)
	if m.Signed {
		half = 1 << (m.Precision - 1)
	}
	var seen uint32
	switch m.BitsAllocated {
	case 8:
		for _, v := range m.Pix {
			seen |= uint32(v + uint8(half))
		}
	case 16:
		for p := m.Pix; len(p) >= 2; p = p[2:] {
			seen |= uint32(uint16(p[0]) | uint16(p[1])<<8 + uint16(half))
		}
	case 32:
		for p := m.Pix; len(p) >= 4; p = p[4:] {
			seen |= (uint32(p[0]) | uint32(p[1])<<8 | uint32(p[2])<<16 | uint32(p[3])<<24) + half
		}
	}
	return seen>>m.Precision == 0
}
