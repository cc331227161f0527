package dicom

import (
	"bytes"
	"testing"

	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

func TestCloneIsChangedWithoutItsOrigin(t *testing.T) {
	in := []byte{
		0x10, 0, 0x20, 0, 'L', 'O', 2, 0, '1', '2', // Patient ID, and before it in the file
		0x08, 0, 0x60, 0, 'C', 'S', 2, 0, 'C', 'T', // Modality
		0x10, 0, 0x30, 0, 'D', 'A', 0, 0,
	}
	for _, b := range [][]byte{in, append(bytes.Clone(in[10:20]), append(bytes.Clone(in[:10]), in[20:]...)...)} {
		d, err := Parse(b, uid.ExplicitVRLittleEndian, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if all := d.Clone(nil); all.Text(tag.PatientID) != "12" || all.Len() != 3 {
			t.Error("a clone of all is not all")
		}
		c := d.Clone(func(t tag.Tag) bool { return t != tag.PatientID })
		if err := c.SetText(tag.Modality, "MR"); err != nil {
			t.Fatal(err)
		}
		if err := c.SetText(tag.PatientName, "A"); err != nil {
			t.Fatal(err)
		}
		if c.Text(tag.Modality) != "MR" || c.Has(tag.PatientID) || c.Text(tag.PatientName) != "A" || c.Len() != 3 {
			t.Error("the clone is not as it was changed")
		}
		if out, err := d.Encode(uid.ExplicitVRLittleEndian); err != nil || !bytes.Equal(out, b) || d.Text(tag.PatientID) != "12" || d.Has(tag.PatientName) {
			t.Errorf("the origin is written as % x, %v", out, err)
		}
	}
}
