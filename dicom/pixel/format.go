package pixel

import (
	"fmt"
	"strings"

	"nhip/dicom/pixel/raster"
)

// A Format is what the Image Pixel Module says of the frames of an object, PS3.3
// section C.7.6.3, and how they are coded.
type Format struct {
	TransferSyntaxUID string
	Photometric       string // Photometric Interpretation, section C.7.6.3.1.2
	Rows, Columns     int    // 1 to 65535
	Samples           int    // per pixel: 1, 3 or 4
	Frames            int    // 1 or more
	BitsAllocated     int    // of a sample's cell: 1 to 32
	BitsStored        int    // of them, 1 to BitsAllocated
	HighBit           int    // the most significant bit stored
	Signed            bool   // Pixel Representation 1: two's complement
	Planar            bool   // Planar Configuration 1: colour by plane
}

// Photometric interpretations that are treated in a way of their own.
const (
	monochrome1   = "MONOCHROME1"
	monochrome2   = "MONOCHROME2"
	paletteColor  = "PALETTE COLOR"
	rgb           = "RGB"
	ybrFull       = "YBR_FULL"
	ybrFull422    = "YBR_FULL_422"
	ybrPartial422 = "YBR_PARTIAL_422"
	ybrPartial420 = "YBR_PARTIAL_420"
	ybrICT        = "YBR_ICT"
	ybrRCT        = "YBR_RCT"
)

// A FormatError says what is wrong with the pixel data of an object, or with what
// describes them. It holds no value of a patient.
type FormatError struct {
	What string
	Err  error // io.ErrUnexpectedEOF where something is cut
}

func (e *FormatError) Error() string { return "pixel: " + e.What }

func (e *FormatError) Unwrap() error { return e.Err }

func wrong(format string, args ...any) error {
	return &FormatError{What: fmt.Sprintf(format, args...)}
}

// An UnsupportedError is pixel data that are right by the standard and that are
// not decoded here.
type UnsupportedError struct{ What string }

func (e *UnsupportedError) Error() string { return "pixel: not supported: " + e.What }

func unsupported(format string, args ...any) error {
	return &UnsupportedError{fmt.Sprintf(format, args...)}
}

// check refuses what cannot be the description of an image.
func (f Format) check() error {
	switch {
	case f.Rows < 1 || f.Rows > 65535 || f.Columns < 1 || f.Columns > 65535:
		return wrong("%d rows and %d columns: each has to be 1 to 65535", f.Rows, f.Columns)
	case f.Samples != 1 && f.Samples != 3 && f.Samples != 4:
		return wrong("%d samples per pixel", f.Samples)
	case f.Frames < 1:
		return wrong("%d frames", f.Frames)
	case f.BitsAllocated < 1:
		return wrong("%d bits allocated", f.BitsAllocated)
	case f.BitsAllocated > 32:
		return unsupported("%d bits allocated", f.BitsAllocated)
	case f.BitsStored < 1 || f.BitsStored > f.BitsAllocated:
		return wrong("%d bits stored of %d allocated", f.BitsStored, f.BitsAllocated)
	case f.HighBit < f.BitsStored-1 || f.HighBit >= f.BitsAllocated:
		return wrong("high bit %d for %d bits stored of %d allocated", f.HighBit, f.BitsStored, f.BitsAllocated)
	}
	return f.checkPhotometric()
}

func (f Format) checkPhotometric() error {
	want := 3
	switch f.Photometric {
	case monochrome1, monochrome2, paletteColor:
		want = 1
	case rgb, ybrFull, ybrFull422, ybrPartial422, ybrPartial420, ybrICT, ybrRCT:
	case "ARGB", "CMYK", "HSV":
		return unsupported("photometric interpretation %s, which is retired", f.Photometric)
	default:
		return unsupported("photometric interpretation %q", clip(f.Photometric))
	}
	if f.Samples != want {
		return wrong("%d samples per pixel in photometric interpretation %s", f.Samples, f.Photometric)
	}
	return nil
}

// clip keeps a word of the wire short and printable.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), 16)]
}

// halved reports whether native frames carry the chrominance of every second
// pixel only, PS3.3 section C.7.6.3.1.2.
func (f Format) halved() bool {
	return f.Samples == 3 && (f.Photometric == ybrFull422 || f.Photometric == ybrPartial422)
}

// frameBits is the length of a native frame. It cannot overflow: 2^32 pixels of
// 4 samples of 2^5 bits.
func (f Format) frameBits() int64 {
	samples := f.Samples
	if f.halved() {
		samples = 2
	}
	return int64(f.Rows) * int64(f.Columns) * int64(samples) * int64(f.BitsAllocated)
}

// cell is the size of a sample in memory: 8, 16 or 32 bits.
func (f Format) cell() int {
	switch {
	case f.BitsAllocated <= 8:
		return 8
	case f.BitsAllocated <= 16:
		return 16
	}
	return 32
}

// limits narrows l to what a frame of this format takes, so that a coded stream
// cannot make more.
func (f Format) limits(l raster.Limits) (raster.Limits, error) {
	if err := l.Check("pixel", f.Columns, f.Rows, f.Samples, f.cell()); err != nil {
		return l, err
	}
	l.MaxPixels = int64(f.Rows) * int64(f.Columns)
	return l, nil
}
