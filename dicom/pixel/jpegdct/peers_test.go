package jpegdct_test

import (
	"strings"
	"testing"

	"nhip/dicom/pixel/jpegdct"
	"nhip/dicom/pixel/raster"
	"nhip/dicom/pixel/raster/rastertest"
)

// What DCMTK and GDCM code is decoded as DCMTK decodes it: within 2, of subsampled
// pictures the luminance.
func TestDecodesAsDCMTK(t *testing.T) {
	rastertest.Need(t, "dcmcjpeg", "dcmdjpeg", "gdcmconv")
	for _, c := range []struct {
		samples, precision int
		coder              string
		luma               bool // only this is compared
	}{
		{1, 8, "dcmcjpeg +eb", false},
		{1, 8, "dcmcjpeg +eb +q 30", false},
		{1, 8, "dcmcjpeg +ee", false},
		{1, 8, "dcmcjpeg +es", false},
		{1, 8, "dcmcjpeg +ep", false},
		{1, 12, "dcmcjpeg +ee +bt", false},
		{1, 12, "dcmcjpeg +ee +bt +q 50", false},
		{1, 10, "dcmcjpeg +ee +bt", false},
		{1, 16, "dcmcjpeg +ee +bt", false},
		{3, 8, "dcmcjpeg +eb +cr", false},
		{3, 8, "dcmcjpeg +eb +cy +s4", false},
		{3, 8, "dcmcjpeg +ep +cy +s4", false},
		{3, 8, "dcmcjpeg +ee +cr", false},
		{3, 8, "dcmcjpeg +eb +cy +s2", true},
		{3, 8, "dcmcjpeg +eb +cy +n1", true},
		{3, 8, "dcmcjpeg +ep +cy +s2", true},
		{1, 8, "gdcmconv --jpeg --lossy -q 80", false},
		{3, 8, "gdcmconv --jpeg --lossy -q 80", true},
	} {
		t.Run(c.coder, func(t *testing.T) {
			m := rastertest.Phantom(61, 47, c.samples, c.precision)
			native, coded := rastertest.Path(t, "native.dcm"), rastertest.Path(t, "coded.dcm")
			rastertest.WriteNative(t, native, m)
			coder := strings.Fields(c.coder)
			rastertest.Run(t, coder[0], append(coder[1:], native, coded)...)
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
