package rastertest

import (
	"fmt"
	"testing"

	"nhip/dicom/pixel/raster"
)

// A PeerCase is a kind of picture for the tests against DCMTK and GDCM.
type PeerCase struct {
	Samples, Precision int
	Signed             bool
}

// PeerCases are what both do; the signed ones are last.
var PeerCases = []PeerCase{
	{1, 8, false}, {3, 8, false}, {1, 10, false}, {1, 12, false}, {1, 16, false},
	{1, 12, true}, {1, 16, true},
}

func (c PeerCase) String() string {
	return fmt.Sprintf("%d samples of %d bits, signed %v", c.Samples, c.Precision, c.Signed)
}

// Image is a picture with the signs of the case.
func (c PeerCase) Image() *raster.Image {
	m := Phantom(61, 47, c.Samples, c.Precision)
	if c.Signed {
		m.Signed = true
		for i := range m.Columns * m.Rows {
			v := Sample(m, i) - 1<<(c.Precision-1)
			m.Pix[2*i], m.Pix[2*i+1] = byte(v), byte(v>>8)
		}
	}
	return m
}

// Low is a picture as a codec gives it: so many low bits of each sample, no signs.
func Low(m *raster.Image, precision int) *raster.Image {
	u := *m
	u.Signed, u.Precision, u.Pix = false, precision, nil
	for i := range m.Columns * m.Rows * m.Samples {
		u.Pix = Append(u.Pix, Sample(m, i)&(1<<precision-1), m.BitsAllocated)
	}
	return &u
}

// CheckNative compares the frames of a native file with a picture, as far as its
// precision goes: GDCM extends signs, DCMTK does not.
func CheckNative(t *testing.T, peer, path string, frames int, m *raster.Image, near int) {
	t.Helper()
	f := Read(t, path)
	if len(f.Native) < frames*len(m.Pix) {
		t.Fatalf("%s: %d bytes of pixel data, not %d", peer, len(f.Native), frames*len(m.Pix))
	}
	for i := range frames {
		back := f.Image
		back.Pix = f.Native[i*len(m.Pix) : (i+1)*len(m.Pix)]
		if f.Planar == 1 {
			back.Pix = interleave(back.Pix, m.Samples)
		}
		if difference := Compare(Low(m, m.Precision), Low(&back, m.Precision), near); difference != "" {
			t.Errorf("%s, frame %d: %s", peer, i, difference)
		}
	}
}

// interleave turns 8-bit planes into pixels.
func interleave(planes []byte, samples int) []byte {
	out := make([]byte, len(planes))
	size := len(planes) / samples
	for i := range planes {
		out[i%size*samples+i/size] = planes[i]
	}
	return out
}
