package pixel

import (
	"bytes"
	"testing"

	"nhip/dicom"
	"nhip/dicom/pixel/raster"
	"nhip/dicom/uid"
)

// FuzzObject opens data sets, decodes their first frame and writes them in other
// transfer syntaxes. What is decoded has the size that was promised.
func FuzzObject(f *testing.F) {
	for _, d := range formats(f) {
		for i, to := range targets {
			b, err := transcoded(f, file(f, d, uid.ExplicitVRLittleEndian), to).Encode(to)
			must(f, err)
			f.Add(b, i)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, which int) {
		syntax := targets[uint(which)%uint(len(targets))]
		d, err := dicom.Parse(b, syntax, dicom.Limits{Total: 1 << 20})
		if err != nil {
			return // what can be read of it is shown, but not written anew
		}
		l := raster.Limits{MaxPixels: 1 << 12}
		r, err := Open(d, syntax, l)
		if err != nil {
			return
		}
		frame, err := r.Decode(t.Context(), 0)
		if err != nil {
			return
		}
		if n := frame.Columns * frame.Rows * frame.Samples * frame.BitsAllocated / 8; n != len(frame.Pix) || frame.Columns != r.Columns || frame.Rows != r.Rows {
			t.Fatalf("%d bytes for %+v", len(frame.Pix), r.Format)
		}
		frame.RGB()
		out, err := dicom.NewFile(d, syntax)
		if err != nil || r.Frames > 4 {
			return
		}
		for _, to := range targets {
			var w bytes.Buffer
			if err := Transcode(t.Context(), &w, out, to, l); err != nil {
				continue
			}
			if to == syntax || to == uid.ImplicitVRLittleEndian {
				continue // without VRs a false one is lost, and with it what the value was
			}
			if _, err := dicom.ParseFile(w.Bytes(), dicom.Limits{}); err != nil {
				t.Fatalf("to %s: what was written cannot be read: %v", uid.Name(to), err)
			}
		}
	})
}
