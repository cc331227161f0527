// Package t81 is what the JPEG processes of ITU-T T.81 have in common: marker
// segments, frame and scan headers, Huffman tables, entropy-coded bits. It decodes
// no sample.
package t81

import (
	"encoding/binary"
	"fmt"
	"io"

	"nhip/dicom/pixel/raster"
)

// Markers, T.81 table B.1: the byte after FF.
const (
	SOF0  = 0xC0
	SOF15 = 0xCF
	DHT   = 0xC4
	JPG   = 0xC8
	DAC   = 0xCC
	RST0  = 0xD0
	RST7  = 0xD7
	SOI   = 0xD8
	EOI   = 0xD9
	SOS   = 0xDA
	DQT   = 0xDB
	DNL   = 0xDC
	DRI   = 0xDD
	APP0  = 0xE0
	APP14 = 0xEE
	APP15 = 0xEF
	COM   = 0xFE
)

// A Stream goes through the marker segments of one picture.
type Stream struct {
	Codec string // for errors
	Data  []byte
	At    int // of the next marker
}

// Errorf is a stream that breaks the standard.
func (s *Stream) Errorf(format string, args ...any) error {
	return &raster.FormatError{Codec: s.Codec, What: fmt.Sprintf(format, args...)}
}

// Truncated is a stream that ends early.
func (s *Stream) Truncated(where string) error {
	return &raster.FormatError{Codec: s.Codec, What: "the stream ends " + where, Err: io.ErrUnexpectedEOF}
}

// Unsupported is a stream that the codec does not do.
func (s *Stream) Unsupported(format string, args ...any) error {
	return &raster.UnsupportedError{Codec: s.Codec, What: fmt.Sprintf(format, args...)}
}

// Start reads SOI.
func (s *Stream) Start() error {
	if len(s.Data) < 2 || s.Data[0] != 0xFF || s.Data[1] != SOI {
		return s.Errorf("no SOI marker at the start: this is no JPEG stream")
	}
	s.At = 2
	return nil
}

// Next returns the next marker and the parameters behind its length; none for EOI.
func (s *Stream) Next() (marker byte, parameters []byte, err error) {
	for s.At+1 < len(s.Data) && s.Data[s.At] == 0xFF && s.Data[s.At+1] == 0xFF {
		s.At++ // fill bytes, section B.1.1.2
	}
	rest := s.Data[s.At:]
	if len(rest) < 2 {
		return 0, nil, s.Truncated("where a marker should be")
	}
	if rest[0] != 0xFF {
		return 0, nil, s.Errorf("byte %02X where a marker should be", rest[0])
	}
	marker = rest[1]
	if marker == EOI {
		s.At += 2
		return marker, nil, nil
	}
	if marker <= 0x01 || marker >= RST0 && marker <= SOI {
		return 0, nil, s.Errorf("marker FF%02X out of place", marker)
	}
	if len(rest) < 4 {
		return 0, nil, s.Truncated("in a marker segment")
	}
	length := int(binary.BigEndian.Uint16(rest[2:]))
	if length < 2 {
		return 0, nil, s.Errorf("marker segment FF%02X of length %d", marker, length)
	}
	if length+2 > len(rest) {
		return 0, nil, s.Truncated("in a marker segment")
	}
	s.At += 2 + length
	return marker, rest[4 : 2+length], nil
}

// A Frame is a frame header, section B.2.2.
type Frame struct {
	Marker                   byte
	Precision, Rows, Columns int
	Components               []Component
}

// A Component of a frame: identifier, sampling factors, quantization table.
type Component struct {
	ID       byte
	H, V, Tq int
}

// Frame reads a frame header.
func (s *Stream) Frame(marker byte, p []byte) (*Frame, error) {
	if len(p) < 6 || len(p) != 6+3*int(p[5]) {
		return nil, s.Errorf("frame header of a wrong length")
	}
	f := &Frame{
		Marker:    marker,
		Precision: int(p[0]),
		Rows:      int(binary.BigEndian.Uint16(p[1:])),
		Columns:   int(binary.BigEndian.Uint16(p[3:])),
	}
	switch {
	case p[5] == 0:
		return nil, s.Errorf("no components")
	case p[5] > 4:
		return nil, s.Unsupported("%d components", p[5])
	case f.Columns == 0:
		return nil, s.Errorf("no columns")
	case f.Rows == 0:
		return nil, s.Unsupported("a number of lines that is defined after the scan (DNL)")
	}
	for i := 6; i < len(p); i += 3 {
		c := Component{ID: p[i], H: int(p[i+1] >> 4), V: int(p[i+1] & 15), Tq: int(p[i+2])}
		if c.H < 1 || c.H > 4 || c.V < 1 || c.V > 4 || c.Tq > 3 {
			return nil, s.Errorf("component %d: sampling factors %d and %d, quantization table %d", c.ID, c.H, c.V, c.Tq)
		}
		f.Components = append(f.Components, c)
	}
	return f, nil
}

// A Scan is a scan header, section B.2.3.
type Scan struct {
	Components     []ScanComponent
	Ss, Se, Ah, Al int
}

// A ScanComponent is an index into the components of the frame, and its tables.
type ScanComponent struct{ Index, Td, Ta int }

// Scan reads a scan header.
func (s *Stream) Scan(f *Frame, p []byte) (*Scan, error) {
	if len(p) < 1 || p[0] < 1 || p[0] > 4 || len(p) != 4+2*int(p[0]) {
		return nil, s.Errorf("scan header of a wrong length")
	}
	n := int(p[0])
	scan := &Scan{Ss: int(p[1+2*n]), Se: int(p[2+2*n]), Ah: int(p[3+2*n] >> 4), Al: int(p[3+2*n] & 15)}
	used := [4]bool{}
	for i := range n {
		c := ScanComponent{Index: -1, Td: int(p[2+2*i] >> 4), Ta: int(p[2+2*i] & 15)}
		for k := range f.Components {
			if f.Components[k].ID == p[1+2*i] && !used[k] {
				c.Index = k
				break
			}
		}
		if c.Index < 0 {
			return nil, s.Errorf("a scan of component %d, which is not in the frame", p[1+2*i])
		}
		if c.Td > 3 || c.Ta > 3 {
			return nil, s.Errorf("Huffman tables %d and %d", c.Td, c.Ta)
		}
		used[c.Index] = true
		scan.Components = append(scan.Components, c)
	}
	return scan, nil
}

// RestartInterval reads DRI, section B.2.4.4: a number of MCUs.
func (s *Stream) RestartInterval(p []byte) (int, error) {
	if len(p) != 2 {
		return 0, s.Errorf("restart interval of a wrong length")
	}
	return int(binary.BigEndian.Uint16(p)), nil
}

// Colour is what the identifiers of the components say where no segment said more:
// the letters R, G and B are in use.
func (f *Frame) Colour(said raster.Colour) raster.Colour {
	c := f.Components
	switch {
	case len(c) == 1:
		return raster.ColourUnspecified
	case said == raster.ColourUnspecified && len(c) == 3 && c[0].ID == 'R' && c[1].ID == 'G' && c[2].ID == 'B':
		return raster.ColourRGB
	}
	return said
}

// Colour is what an application segment says of the components, or before.
func Colour(marker byte, p []byte, components int, before raster.Colour) raster.Colour {
	switch {
	case marker == APP0 && len(p) >= 5 && string(p[:5]) == "JFIF\x00" && before == raster.ColourUnspecified:
		return raster.ColourYCbCr
	case marker == APP14 && len(p) >= 12 && string(p[:5]) == "Adobe":
		switch p[11] {
		case 0:
			if components == 4 {
				return raster.ColourCMYK
			}
			return raster.ColourRGB
		case 1:
			return raster.ColourYCbCr
		case 2:
			return raster.ColourYCCK
		}
	}
	return before
}
