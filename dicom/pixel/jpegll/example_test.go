package jpegll_test

import (
	"bytes"
	"fmt"

	"nhip/dicom/pixel/jpegll"
	"nhip/dicom/pixel/raster"
)

func Example() {
	m := &raster.Image{Columns: 2, Rows: 2, Samples: 3, BitsAllocated: 8, Precision: 8,
		Pix: []byte{255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9}}
	b, err := jpegll.Encode(m, jpegll.Options{Selection: 6})
	if err != nil {
		fmt.Println(err)
		return
	}
	back, err := jpegll.Decode(b, raster.Limits{MaxPixels: 4})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(back.Columns, back.Rows, back.Samples, bytes.Equal(back.Pix, m.Pix))
	// Output: 2 2 3 true
}
