package jpegdct_test

import (
	"strings"
	"testing"

	"nhip/dicom/pixel/jpegdct"
	"nhip/dicom/pixel/raster"
	"nhip/dicom/pixel/raster/rastertest"
)

// What DCMTK codes is decoded as it decodes it itself: within 2, of subsampled
// pictures the luminance.
func TestDecodesAsDCMTK(t *testing.T) {
	rastertest.Need(t, "dcmcjpeg", "dcmdjpeg")
	for _, c := range []struct {
		samples, precision int
		options            string
		luma               bool // only this is compared
	}{
		{1, 8, "+eb", false},
		{1, 8, "+eb +q 30", false},
		{1, 8, "+ee", false},
		{1, 8, "+es", false},
		{1, 8, "+ep", false},
		{1, 12, "+ee +bt", false},
		{1, 12, "+ee +bt +q 50", false},
		{1, 10, "+ee +bt", false},
		{1, 16, "+ee +bt", false},
		{3, 8, "+eb +cr", false},
		{3, 8, "+eb +cy +s4", false},
		{3, 8, "+ep +cy +s4", false},
		{3, 8, "+ee +cr", false},
		{3, 8, "+eb +cy +s2", true},
		{3, 8, "+eb +cy +n1", true},
		{3, 8, "+ep +cy +s2", true},
	} {
		t.Run(c.options, func(t *testing.T) {
			m := rastertest.Phantom(61, 47, c.samples, c.precision)
			native, coded := rastertest.Path(t, "native.dcm"), rastertest.Path(t, "coded.dcm")
			rastertest.WriteNative(t, native, m)
			rastertest.Run(t, "dcmcjpeg", append(strings.Fields(c.options), native, coded)...)
			rastertest.Run(t, "dcmdjpeg", "+cn", coded, native)
			f, theirs := rastertest.Read(t, coded), rastertest.Read(t, native)
			back, err := jpegdct.Decode(f.Fragments[0], raster.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			their := theirs.Image
			their.Pix, their.Precision = theirs.Native[:len(back.Pix)], back.Precision
			if c.luma {
				back, their.Pix = first(back), first(&their).Pix
				their.Samples = 1
			}
			if difference := rastertest.Compare(back, &their, 2); difference != "" {
				t.Error(difference)
			}
		})
	}
}

// first is the first component of a picture of 8 bits.
func first(m *raster.Image) *raster.Image {
	one := *m
	one.Samples, one.Pix = 1, nil
	for i := 0; i < len(m.Pix); i += m.Samples {
		one.Pix = append(one.Pix, m.Pix[i])
	}
	return &one
}
