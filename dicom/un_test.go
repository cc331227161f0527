package dicom

import (
	"testing"

	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// UN of undefined length is a sequence in Implicit VR Little Endian, whatever is
// around it (CP-246, PS3.5 section 6.2.2).
func TestUNOfUndefinedLengthIsASequence(t *testing.T) {
	for ts, e := range map[string]*encoder{uid.ExplicitVRLittleEndian: explicitLE(), uid.ExplicitVRBigEndian: explicitBE()} {
		e.head(0x00091001, "UN", 0xFFFFFFFF).raw(implicitLE().item().el(tag.PatientID, "", "in").head(0x00091003, "", 0xFFFFFFFF).item().endItem().endSequence().endItem().endSequence().b...)
		e.el(tag.StudyID, "SH", "behind")
		d, err := Parse(e.b, ts, Limits{})
		if err != nil {
			t.Fatalf("%s: %v", uid.Name(ts), err)
		}
		f, _ := d.Find(0x00091001)
		if f.VR != SQ || f.Written() != UN || len(f.Items()) != 1 || f.Items()[0].Text(tag.PatientID) != "in" || d.Text(tag.StudyID) != "behind" {
			t.Errorf("%s: %v of %d items", uid.Name(ts), f.VR, len(f.Items()))
		}
		// It is written as the sequence it is.
		for _, other := range []string{uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian} {
			if got := mustRead(t, d, other).Items(0x00091001); len(got) != 1 || got[0].Text(tag.PatientID) != "in" {
				t.Errorf("from %s to %s: %d items", uid.Name(ts), uid.Name(other), len(got))
			}
		}
	}
}

// A UN of known tag is in Implicit VR Little Endian, and is converted as what it is; one
// of an unknown tag is left as it is.
func TestUNOfDefinedLength(t *testing.T) {
	le := explicitLE().head(0x00091001, "UN", 2).raw(1, 2).head(tag.Rows, "UN", 2).raw(0, 2)
	be := explicitBE().head(0x00091001, "UN", 2).raw(1, 2).head(tag.Rows, "UN", 2).raw(0, 2)
	for ts, e := range map[string]*encoder{uid.ExplicitVRLittleEndian: le, uid.ExplicitVRBigEndian: be} {
		d, err := Parse(e.b, ts, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range []string{ts, uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian} {
			got := mustRead(t, d, other)
			rows, _ := got.Int(tag.Rows)
			f, _ := got.Find(0x00091001)
			if rows != 512 || f.VR != UN || string(f.Bytes()) != "\x01\x02" {
				t.Errorf("from %s to %s: %d rows, %v % x", uid.Name(ts), uid.Name(other), rows, f.VR, f.Bytes())
			}
		}
	}
}

// A length that looks like a VR is a length.
func TestLengthsThatLookLikeAVR(t *testing.T) {
	const length = 'L' | 'O'<<8 // of a value of 20,300 bytes
	for _, at := range []tag.Tag{0x00091002, tag.PixelData} {
		e := implicitLE().head(0x00081140, "", 0xFFFFFFFF).item().head(at, "", length).raw(make([]byte, length)...)
		e.endItem().endSequence().el(tag.PatientID, "", "behind")
		d, err := Parse(e.b, uid.ImplicitVRLittleEndian, Limits{})
		if err != nil {
			t.Errorf("%v: %v", at, err)
			continue
		}
		if items := d.Items(0x00081140); len(items) != 1 || len(items[0].Bytes(at)) != length || d.Text(tag.PatientID) != "behind" {
			t.Errorf("%v: %d items", at, len(items))
		}
	}
}
