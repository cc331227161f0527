// Package jpegls is JPEG-LS, ITU-T T.87 (ISO/IEC 14495-1): lossless and
// near-lossless, 2 to 16 bits, 1 to 4 components, every interleave mode, preset
// coding parameters and restart intervals, both ways. It refuses in words mapping
// tables, point transforms, subsampled components, a number of lines that comes
// after the scan (DNL) and sizes over 65535. It knows nothing of data sets.
package jpegls

import (
	"io"

	"nhip/dicom/pixel/raster"
)

const codec = "jpegls"

// Interleave is how a scan mixes the components, T.87 section C.2.3.
type Interleave byte

// Interleave modes.
const (
	InterleaveNone   Interleave = iota // one scan for each component
	InterleaveLine                     // a line of each component in turn
	InterleaveSample                   // a sample of each component in turn
)

// A Preset overrides the default coding parameters, T.87 section C.2.4.1.1. A zero
// field has its default.
type Preset struct{ MaxVal, T1, T2, T3, Reset int }

// Markers of T.87 table C.1, and of an application that codes otherwise.
const (
	markerSOF  = 0xF7 // SOF55
	markerLSE  = 0xF8
	markerAPP8 = 0xE8
)

// runOrder is J of T.87 section A.2.1: the run lengths are powers of two of it.
var runOrder = [32]uint8{0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15}

func formatError(what string) error {
	return &raster.FormatError{Codec: codec, What: what}
}

func truncated(where string) error {
	return &raster.FormatError{Codec: codec, What: "the stream ends " + where, Err: io.ErrUnexpectedEOF}
}

func unsupported(what string) error {
	return &raster.UnsupportedError{Codec: codec, What: what}
}
