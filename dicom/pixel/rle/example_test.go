package rle_test

import (
	"fmt"

	"nhip/dicom/pixel/raster"
	"nhip/dicom/pixel/rle"
)

func Example() {
	m := &raster.Image{Columns: 4, Rows: 1, Samples: 1, BitsAllocated: 8, Precision: 8, Pix: []byte{7, 7, 7, 9}}
	b, err := rle.Encode(m)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("% X\n", b[64:])
	// The stream does not say its geometry: the data set does.
	back, err := rle.Decode(b, raster.Image{Columns: 4, Rows: 1, Samples: 1, BitsAllocated: 8, Precision: 8}, raster.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(back.Pix)
	// Output:
	// FE 07 00 09
	// [7 7 7 9]
}
