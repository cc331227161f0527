package lines

import (
	"bytes"
	"testing"

	"nhip/dicom/pixel/raster"
)

func TestPut(t *testing.T) {
	for _, c := range []struct {
		samples, bits int
		want          []byte
	}{
		{1, 8, []byte{4, 6, 8, 10}},
		{2, 8, []byte{4, 4, 6, 6, 8, 8, 10, 10}},
		{1, 16, []byte{4, 0, 6, 0, 8, 0, 10, 0}},
		{2, 16, []byte{4, 0, 4, 0, 6, 0, 6, 0, 8, 0, 8, 0, 10, 0, 10, 0}},
	} {
		m := &raster.Image{Columns: 2, Rows: 2, Samples: c.samples, BitsAllocated: c.bits}
		for component := range c.samples {
			Put(m, 0, component, []uint16{2, 3, 99}, 1, 0)
			Put(m, 1, component, []uint16{4, 5}, 1, 0)
		}
		if !bytes.Equal(m.Pix, c.want) {
			t.Errorf("%d samples of %d bits: % X", c.samples, c.bits, m.Pix)
		}
	}
}

// An image of 65535² has room for what was put, twice that, or the hint.
func TestPutGrowsByWhatIsThere(t *testing.T) {
	m := &raster.Image{Columns: 65535, Rows: 65535, Samples: 1, BitsAllocated: 8}
	line := make([]uint16, 65535)
	for row := range 3 {
		Put(m, row, 0, line, 0, 100000)
	}
	if cap(m.Pix) > 4*65535 {
		t.Errorf("room for %d bytes after 3 rows", cap(m.Pix))
	}
}
