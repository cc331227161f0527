package render

import (
	"nhip/dicom"
	"nhip/dicom/pixel"
	"nhip/dicom/tag"
)

// An Overlay is an overlay plane, PS3.3 section C.9.2, as it lies on one frame.
type Overlay struct {
	Rows, Columns int
	Top, Left     int  // of the frame: 0 is its first row and column
	ROI           bool // a region of interest, not graphics
	bits          []byte
	first         int // bit of bits that is the first of the overlay
	position      int // or the bit of the frame's cells that it is in, -1 for none
}

// Elements of the repeating group 60xx.
const (
	overlayRows        = 0x0010
	overlayColumns     = 0x0011
	overlayFrames      = 0x0015
	overlayType        = 0x0040
	overlayOrigin      = 0x0050
	overlayFrameOrigin = 0x0051
	overlayAllocated   = 0x0100
	overlayPosition    = 0x0102
	overlayData        = 0x3000
)

// overlays reads the overlay planes that lie on frame k.
func (s *source) overlays(k int) {
	for group := uint16(0x6000); group <= 0x601E; group += 2 {
		if !s.d.Has(tag.New(group, overlayRows)) {
			continue
		}
		if o, ok := s.overlay(group, k); ok {
			s.Overlays = append(s.Overlays, o)
		}
	}
}

func (s *source) overlay(group uint16, k int) (Overlay, bool) {
	number := func(element uint16, otherwise int64) int64 {
		if v, ok := s.d.Int(tag.New(group, element)); ok {
			return v
		}
		return otherwise
	}
	rows, columns := number(overlayRows, 0), number(overlayColumns, 0)
	if rows < 1 || columns < 1 || rows > 65535 || columns > 65535 {
		s.problem("an overlay of %d rows and %d columns", rows, columns)
		return Overlay{}, false
	}
	o := Overlay{Rows: int(rows), Columns: int(columns), position: -1, ROI: s.d.Text(tag.New(group, overlayType)) == "R"}
	if origin := s.d.Ints(tag.New(group, overlayOrigin)); len(origin) >= 2 {
		o.Top, o.Left = int(origin[0])-1, int(origin[1])-1
	}
	// Of several overlay frames each lies on one frame, from the origin on.
	frame := int64(k)
	if n := number(overlayFrames, 1); n > 1 || s.d.Has(tag.New(group, overlayFrameOrigin)) {
		frame -= number(overlayFrameOrigin, 1) - 1
		if frame < 0 || frame >= n {
			return Overlay{}, false
		}
	} else {
		frame = 0
	}
	data, ok := s.d.Find(tag.New(group, overlayData))
	if !ok {
		return s.embedded(o, int(number(overlayPosition, -1)))
	}
	return s.apart(o, data, frame)
}

// embedded is an overlay in bits of the cells that are not stored, retired.
func (s *source) embedded(o Overlay, position int) (Overlay, bool) {
	f := s.format
	low := f.HighBit + 1 - f.BitsStored
	if position < 0 || position >= f.BitsAllocated || position >= low && position <= f.HighBit || f.Samples != 1 {
		s.problem("an overlay in bit %d, which is none beside the values", position)
		return Overlay{}, false
	}
	o.position = position
	return o, true
}

// apart is an overlay with data of its own, a bit for each pixel.
func (s *source) apart(o Overlay, data dicom.Element, frame int64) (Overlay, bool) {
	size := int64(o.Rows) * int64(o.Columns)
	if (frame+1)*size > data.Len()*8 || frame > data.Len()*8 {
		s.problem("an overlay of %d rows and %d columns in %d bytes", o.Rows, o.Columns, data.Len())
		return Overlay{}, false
	}
	o.bits = data.Bytes()
	if s.big && data.VR == dicom.OW {
		o.bits = s.words(s.d, data.Tag)
	}
	if int64(len(o.bits))*8 < (frame+1)*size {
		return Overlay{}, false
	}
	o.first = int(frame * size)
	return o, true
}

// set reports whether the overlay covers a pixel of the frame.
func (o *Overlay) set(f *pixel.Frame, row, column int) bool {
	if o.position >= 0 {
		return f.Cell(row*f.Columns+column)>>o.position&1 != 0
	}
	bit := o.first + (row-o.Top)*o.Columns + column - o.Left
	return o.bits[bit/8]>>(bit%8)&1 != 0
}

// each calls paint for each pixel of the frame that the overlay covers.
func (o *Overlay) each(f *pixel.Frame, paint func(row, column int)) {
	if o.position >= 0 {
		o.Top, o.Left = 0, 0
	}
	for row := max(o.Top, 0); row < min(o.Top+o.Rows, f.Rows); row++ {
		for column := max(o.Left, 0); column < min(o.Left+o.Columns, f.Columns); column++ {
			if o.set(f, row, column) {
				paint(row, column)
			}
		}
	}
}
