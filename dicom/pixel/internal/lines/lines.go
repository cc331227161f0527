// Package lines puts decoded lines into an image that grows by what is there, so
// that the size a stream declares makes no memory of itself.
package lines

import (
	"encoding/binary"

	"nhip/dicom/pixel/raster"
)

// Put writes a line of one component, shifted left, into a row of an image. Rows
// come from the first on. hint is how many bytes to begin with.
func Put(m *raster.Image, row, component int, line []uint16, shift, hint int) {
	size := m.Columns * m.Samples * m.BitsAllocated / 8
	if end := (row + 1) * size; end > len(m.Pix) {
		if end > cap(m.Pix) {
			room := min(m.Rows*size, max(end, 2*cap(m.Pix), hint))
			m.Pix = append(make([]byte, 0, room), m.Pix...)
		}
		m.Pix = m.Pix[:end]
	}
	out := m.Pix[row*size : (row+1)*size]
	line = line[:m.Columns]
	switch {
	case m.BitsAllocated == 16 && m.Samples == 1:
		for x, v := range line {
			binary.LittleEndian.PutUint16(out[2*x:], v<<shift)
		}
	case m.BitsAllocated == 16:
		for x, v := range line {
			binary.LittleEndian.PutUint16(out[2*(x*m.Samples+component):], v<<shift)
		}
	default:
		for x, v := range line {
			out[x*m.Samples+component] = byte(v << shift)
		}
	}
}
