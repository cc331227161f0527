package pixel_test

import (
	"bytes"
	"path/filepath"
	"slices"
	"testing"

	"nhip/dicom"
	"nhip/dicom/pixel"
	"nhip/dicom/pixel/raster"
	"nhip/dicom/pixel/raster/rastertest"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// gdcms are those of the described elements that GDCM writes anew: Number of Frames
// only where it is more than 1, the bits stored as the codestream has them.
var gdcms = []tag.Tag{tag.NumberOfFrames, tag.BitsStored, tag.HighBit}

// described are the elements that decompressing may change.
var described = []tag.Tag{
	tag.SamplesPerPixel, tag.PhotometricInterpretation, tag.NumberOfFrames, tag.Rows, tag.Columns, tag.BitsAllocated,
	tag.BitsStored, tag.HighBit, tag.PixelRepresentation, tag.LossyImageCompression, tag.LossyImageCompressionRatio,
}

func TestDecompressedObjectsAreDescribedAsByDCMTKAndGDCM(t *testing.T) {
	rastertest.Need(t, "dcmdjpeg", "dcmdjpls", "dcmdrle", "gdcmconv", "opj_decompress")
	undo := map[string][]string{
		uid.JPEGBaseline8Bit: {"dcmdjpeg"}, uid.JPEGExtended12Bit: {"dcmdjpeg"}, uid.JPEGLosslessSV1: {"dcmdjpeg"}, uid.JPEGLossless: {"dcmdjpeg"},
		uid.JPEGLSLossless: {"dcmdjpls"}, uid.RLELossless: {"dcmdrle"},
		uid.JPEG2000Lossless: {"gdcmconv", "--raw"}, uid.JPEG2000: {"gdcmconv", "--raw"},
	}
	compared := 0
	for _, name := range images(t) {
		r, f, err := open(name)
		if err != nil {
			t.Fatal(err)
		}
		tool := undo[r.TransferSyntaxUID]
		if tool == nil || filepath.Base(name) == "JPEG2000-embedded-sequence-delimiter.dcm" {
			continue // that one's codestream was damaged on purpose
		}
		var b bytes.Buffer
		if err := pixel.Transcode(t.Context(), &b, f, uid.ExplicitVRLittleEndian, raster.Limits{}); err != nil {
			t.Errorf("%s: %v", filepath.Base(name), err)
			continue
		}
		ours, err := dicom.ParseFile(b.Bytes(), dicom.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "theirs.dcm")
		if err := run(out, tool[0], append(tool[1:len(tool):len(tool)], name, out)...); err != nil {
			t.Logf("%s: %v", filepath.Base(name), err)
			continue
		}
		_, theirs, err := open(out)
		if err != nil {
			t.Fatal(err)
		}
		compared++
		for _, k := range described {
			if tool[0] == "gdcmconv" && slices.Contains(gdcms, k) {
				continue
			}
			if a, b := ours.Texts(k), theirs.Texts(k); !slices.Equal(a, b) {
				t.Errorf("%s %s: %v is %q, theirs %q", filepath.Base(name), uid.Name(r.TransferSyntaxUID), k, a, b)
			}
		}
		for e := range f.All() {
			if e.Tag != tag.PixelData && e.Tag != 0x7FE00000 && !slices.Contains(described, e.Tag) && !ours.Has(e.Tag) {
				t.Errorf("%s: %v is gone", filepath.Base(name), e.Tag)
			}
		}
		e, _ := ours.Find(tag.PixelData)
		their, _ := theirs.Find(tag.PixelData)
		if e.Len() != their.Len() {
			t.Errorf("%s: %d bytes of pixel data, theirs %d", filepath.Base(name), e.Len(), their.Len())
		}
	}
	t.Logf("%d files", compared)
}
