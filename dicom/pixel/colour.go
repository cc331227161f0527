package pixel

import "encoding/binary"

// RGB converts a frame of YBR_FULL or YBR_PARTIAL_422, whose chrominance every
// pixel has after decoding, to RGB (PS3.3 section C.7.6.3.1.2, which has the
// equations of ITU-R BT.601); others are left as they are. The frame is changed.
func (f *Frame) RGB() {
	partial := f.Photometric == ybrPartial422 || f.Photometric == ybrPartial420
	if f.Photometric != ybrFull && !partial || f.Samples != 3 {
		return
	}
	c := newYBR(f.BitsStored, partial)
	low := f.HighBit + 1 - f.BitsStored
	n := f.Columns * f.Rows * 3
	for i := 0; i < n; i += 3 {
		var v [3]int64
		for s := range v {
			v[s] = f.Value(f.Cell(i + s))
		}
		for s, x := range c.rgb(v[0], v[1], v[2]) {
			f.setCell(i+s, uint32(x)<<low)
		}
	}
	f.Photometric = rgb
}

func (f *Frame) setCell(i int, v uint32) {
	switch f.BitsAllocated {
	case 8:
		f.Pix[i] = byte(v)
	case 16:
		binary.LittleEndian.PutUint16(f.Pix[2*i:], uint16(v))
	default:
		binary.LittleEndian.PutUint32(f.Pix[4*i:], v)
	}
}

// A ybr converts to RGB in fixed point with 20 bits behind the point.
type ybr struct {
	zero, half, most              int64 // of luminance, of chrominance, of the result
	luminance, crR, crG, cbG, cbB int64
}

const point = 20

func newYBR(bits int, partial bool) ybr {
	fixed := func(x float64) int64 { return int64(x*(1<<point) + 0.5) }
	c := ybr{half: 1 << (bits - 1), most: 1<<bits - 1, luminance: 1 << point,
		crR: fixed(1.402), crG: fixed(0.714136), cbG: fixed(0.344136), cbB: fixed(1.772)}
	if partial && bits >= 8 {
		c.zero = 16 << (bits - 8)
		c.luminance = fixed(255.0 / 219)
		c.crR, c.crG = fixed(1.402*255/224), fixed(0.714136*255/224)
		c.cbG, c.cbB = fixed(0.344136*255/224), fixed(1.772*255/224)
	}
	return c
}

func (c ybr) rgb(y, cb, cr int64) [3]int64 {
	y = (y-c.zero)*c.luminance + 1<<(point-1)
	cb, cr = cb-c.half, cr-c.half
	clamp := func(v int64) int64 { return min(max(v>>point, 0), c.most) }
	return [3]int64{clamp(y + c.crR*cr), clamp(y - c.crG*cr - c.cbG*cb), clamp(y + c.cbB*cb)}
}
