package pixel

import (
	"encoding/binary"

	"nhip/dicom/pixel/raster"
)

// native reads frame k (from 0) of native pixel data: the bits as they are
// packed, little endian, from the first bit of the first byte on (PS3.5 section
// 8.1.1 and annex D). swap is the size of the words of a big-endian value, or 1.
func (v value) native(f Format, k int, swap int64) ([]byte, error) {
	bits := f.frameBits()
	if have := v.end - v.at; int64(k) >= have*8/bits {
		return nil, &FormatError{What: cut(k, have*8/bits, f.Frames), Err: errCut}
	}
	first := int64(k) * bits
	from, to := first/8, (first+bits+7)/8
	// Whole words: their other bytes are needed too.
	begin, end := from/swap*swap, min((to+swap-1)/swap*swap, v.end-v.at)
	b, err := readSpan(v.r, v.at+begin, end-begin)
	if err != nil {
		return nil, err
	}
	reverse(b, int(swap))
	b = b[from-begin : min(to-begin, int64(len(b)))]
	return shift(b, uint(first%8), bits), nil
}

// reverse turns the bytes of each word round.
func reverse(b []byte, word int) {
	if word < 2 {
		return
	}
	for ; len(b) >= word; b = b[word:] {
		for i, j := 0, word-1; i < j; i, j = i+1, j-1 {
			b[i], b[j] = b[j], b[i]
		}
	}
}

// shift drops by bits at the beginning, and what is behind the last bit.
func shift(b []byte, by uint, bits int64) []byte {
	if by > 0 {
		for i := range b {
			b[i] >>= by
			if i+1 < len(b) {
				b[i] |= b[i+1] << (8 - by)
			}
		}
	}
	b = b[:(bits+7)/8]
	if rest := bits % 8; rest > 0 {
		b[len(b)-1] &= 1<<rest - 1
	}
	return b
}

// decodeNative turns a native frame into samples side by side, each in a cell of
// 8, 16 or 32 bits, whatever the unused bits of it hold.
func decodeNative(b []byte, f Format) *Frame {
	m := &raster.Image{Columns: f.Columns, Rows: f.Rows, Samples: f.Samples, BitsAllocated: f.cell(), Precision: f.cell()}
	m.Pix = b
	if f.BitsAllocated != f.cell() {
		m.Pix = unpack(b, int(f.frameBits()/int64(f.BitsAllocated)), f.BitsAllocated, f.cell()/8)
	}
	switch {
	case f.halved():
		m.Pix = fullChrominance(m.Pix, f.Columns, f.Rows, f.cell()/8)
	case f.Planar && f.Samples > 1:
		m.Pix = bySample(m.Pix, f.Samples, f.cell()/8)
	}
	return f.frame(m)
}

// unpack takes n cells of so many bits, the least significant first, apart into
// cells of width bytes.
func unpack(b []byte, n, bits, width int) []byte {
	out := make([]byte, n*width)
	var held uint64
	var have uint
	for i := range n {
		for have < uint(bits) {
			held |= uint64(b[0]) << have
			b = b[1:]
			have += 8
		}
		v := uint32(held & (1<<bits - 1))
		held >>= uint(bits)
		have -= uint(bits)
		for j := range width {
			out[i*width+j] = byte(v >> (8 * j))
		}
	}
	return out
}

// fullChrominance gives each pixel of Y Y B R, of which two share their
// chrominance, its own (PS3.3 section C.7.6.3.1.2). The columns are even.
func fullChrominance(b []byte, columns, rows, width int) []byte {
	out := make([]byte, columns*rows*3*width)
	for i, n := 0, columns*rows; i+1 < n; i += 2 {
		y0, y1 := b[2*i*width:][:width], b[(2*i+1)*width:][:width]
		chrominance := b[(2*i+2)*width:][:2*width]
		p := out[3*i*width:]
		copy(p, y0)
		copy(p[width:], chrominance)
		copy(p[3*width:], y1)
		copy(p[4*width:6*width], chrominance)
	}
	return out
}

// bySample turns planes into samples side by side.
func bySample(planes []byte, samples, width int) []byte {
	out := make([]byte, len(planes))
	plane := len(planes) / samples
	for s := range samples {
		from := planes[s*plane : (s+1)*plane]
		for i := 0; i+width <= plane; i += width {
			copy(out[i*samples+s*width:], from[i:i+width])
		}
	}
	return out
}

// A Frame is one decoded frame: its samples side by side in cells of 8, 16 or 32
// bits, little endian, as native pixel data hold them, those of 1 to 7, 9 to 15
// and 17 to 31 bits in the next larger cell. The cells are as they came: what is
// in bits that are not stored (overlays of old) is there too, and Value masks it.
type Frame struct {
	*raster.Image
	Photometric         string // after decoding: YBR_FULL for YBR_FULL_422, RGB for YBR_RCT and YBR_ICT
	BitsStored, HighBit int
	Signed              bool // of the values; Image.Signed says nothing here
}

// frame describes samples whose cells are those of the format.
func (f Format) frame(m *raster.Image) *Frame {
	photometric := f.Photometric
	if photometric == ybrFull422 {
		photometric = ybrFull
	}
	return &Frame{Image: m, Photometric: photometric, BitsStored: f.BitsStored, HighBit: f.HighBit, Signed: f.Signed}
}

// Cell returns what is allocated for sample i, all its bits.
func (f *Frame) Cell(i int) uint32 {
	switch f.BitsAllocated {
	case 8:
		return uint32(f.Pix[i])
	case 16:
		return uint32(binary.LittleEndian.Uint16(f.Pix[2*i:]))
	}
	return binary.LittleEndian.Uint32(f.Pix[4*i:])
}

// Value returns the value in a cell: the bits stored, by their sign.
func (f *Frame) Value(cell uint32) int64 {
	v := int64(cell>>(f.HighBit+1-f.BitsStored)) & (1<<f.BitsStored - 1)
	if f.Signed && v>>(f.BitsStored-1) != 0 {
		v -= 1 << f.BitsStored
	}
	return v
}
