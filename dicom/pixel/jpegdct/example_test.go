package jpegdct_test

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"

	"nhip/dicom/pixel/jpegdct"
	"nhip/dicom/pixel/raster"
)

func Example() {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 20, 10)), nil); err != nil {
		fmt.Println(err)
		return
	}
	m, err := jpegdct.Decode(b.Bytes(), raster.Limits{MaxPixels: 200})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Columns, m.Rows, m.Samples, m.Precision, m.Colour)
	_, err = jpegdct.Decode(b.Bytes(), raster.Limits{MaxPixels: 199})
	fmt.Println(err)
	// Output:
	// 20 10 1 8 unspecified
	// jpegdct: too large: 20 columns by 10 rows are more than the limit of 199 pixels
}
