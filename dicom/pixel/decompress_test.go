package pixel_test

import (
	"bytes"
	"path/filepath"
	"slices"
	"testing"

	"nhip/dicom"
	"nhip/dicom/pixel"
	"nhip/dicom/pixel/raster"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// described are the elements that decompressing may change.
var described = []tag.Tag{
	tag.SamplesPerPixel, tag.PhotometricInterpretation, tag.NumberOfFrames, tag.Rows, tag.Columns, tag.BitsAllocated,
	tag.BitsStored, tag.HighBit, tag.PixelRepresentation, tag.LossyImageCompression, tag.LossyImageCompressionRatio,
}

func TestDecompressedObjectsAreDescribedAsByDCMTK(t *testing.T) {
	need(t, "dcmdjpeg", "dcmdjpls", "dcmdrle", "opj_decompress")
	undo := map[string]string{
		uid.JPEGBaseline8Bit: "dcmdjpeg", uid.JPEGExtended12Bit: "dcmdjpeg", uid.JPEGLosslessSV1: "dcmdjpeg", uid.JPEGLossless: "dcmdjpeg",
		uid.JPEGLSLossless: "dcmdjpls", uid.RLELossless: "dcmdrle",
	}
	compared := 0
	for _, name := range images(t) {
		r, f, err := open(name)
		if err != nil {
			t.Fatal(err)
		}
		if undo[r.TransferSyntaxUID] == "" {
			continue
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
		if err := run(out, undo[r.TransferSyntaxUID], name, out); err != nil {
			t.Logf("%s: %v", filepath.Base(name), err)
			continue
		}
		_, theirs, err := open(out)
		if err != nil {
			t.Fatal(err)
		}
		compared++
		for _, k := range described {
			if a, b := ours.Texts(k), theirs.Texts(k); !slices.Equal(a, b) {
				t.Errorf("%s %s: %v is %q, theirs %q", filepath.Base(name), uid.Name(r.TransferSyntaxUID), k, a, b)
			}
		}
		for e := range f.All() {
			if e.Tag != tag.PixelData && !slices.Contains(described, e.Tag) && !ours.Has(e.Tag) {
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
