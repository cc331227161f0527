package jpegls_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"nhip/dicom/pixel/jpegls"
	"nhip/dicom/pixel/raster"
)

func Example() {
	m := &raster.Image{Columns: 4, Rows: 2, Samples: 1, BitsAllocated: 16, Precision: 12,
		Pix: []byte{0, 0, 1, 0, 2, 0, 3, 0, 0, 8, 0, 8, 0, 8, 0xFF, 15}}
	b, err := jpegls.Encode(m, jpegls.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	// Rows and Columns of the data set bound what a stream may make.
	back, err := jpegls.Decode(b, raster.Limits{MaxPixels: 8})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(back.Columns, back.Rows, back.Precision, bytes.Equal(back.Pix, m.Pix))
	_, err = jpegls.Decode(b[:len(b)/2], raster.Limits{})
	fmt.Println(errors.Is(err, io.ErrUnexpectedEOF))
	// Output:
	// 4 2 12 true
	// true
}
