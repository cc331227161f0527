package dicom

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// Every file of the tree is written back as it came, also one that cannot be read
// to its end.
func TestPydicomTreeIsWrittenBackByteExact(t *testing.T) {
	read, refused, cut := 0, 0, 0
	for _, name := range pydicomFiles(t) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := ReadFile(bytes.NewReader(b), Limits{})
		if errors.Is(err, ErrNotDICOM) {
			refused++
			continue
		}
		if f == nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err != nil {
			cut++
			t.Logf("%s: %v", name, err)
		}
		read++
		visitItems(f.Dataset)
		var out bytes.Buffer
		if err := f.Write(&out); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !bytes.Equal(out.Bytes(), b) {
			t.Errorf("%s: %d bytes are written, %d were read", name, out.Len(), len(b))
		}
	}
	t.Logf("%d files written back byte-exact, %d of them with an error; %d are no DICOM files", read, cut, refused)
}

// visitItems looks into every item, as a user would.
func visitItems(d *Dataset) (elements int) {
	for e := range d.All() {
		elements++
		e.Texts()
		for _, item := range e.Items() {
			elements += visitItems(item)
		}
	}
	return elements
}

func TestSetAndConvert(t *testing.T) {
	d := NewDataset()
	item := NewDataset()
	for _, err := range []error{
		d.SetText(tag.PatientID, "P-1"), d.SetText(tag.Modality, "CT"), d.SetInt(tag.Rows, 512),
		d.SetFloat(tag.PixelSpacing, 0.5, 0.25), d.SetText(tag.SOPClassUID, "1.2.840.10008.5.1.4.1.1.7"), d.SetText(tag.SOPInstanceUID, "1.2.3"),
		item.SetText(tag.ScheduledStationAETitle, "CT1"), d.SetItems(tag.ScheduledProcedureStepSequence, item),
		d.SetBytes(tag.PixelData, OW, []byte{1, 2, 3, 4}), item.SetEmpty(tag.ScheduledProcedureStepStartDate),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, ts := range []string{uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian} {
		var b bytes.Buffer
		if err := d.Write(&b, ts); err != nil {
			t.Fatal(err)
		}
		got, err := Read(&b, ts, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		rows, _ := got.Int(tag.Rows)
		steps := got.Items(tag.ScheduledProcedureStepSequence)
		if got.Text(tag.PatientID) != "P-1" || rows != 512 || len(steps) != 1 || steps[0].Text(tag.ScheduledStationAETitle) != "CT1" ||
			strings.Join(got.Texts(tag.PixelSpacing), " ") != "0.5 0.25" || got.Floats(tag.PixelSpacing)[1] != 0.25 || !steps[0].Has(tag.ScheduledProcedureStepStartDate) {
			t.Errorf("%s: %+v", ts, got)
		}
		// and back into Explicit VR Little Endian
		var want, back bytes.Buffer
		d.Write(&want, uid.ExplicitVRLittleEndian)
		if err := got.Write(&back, uid.ExplicitVRLittleEndian); err != nil || !bytes.Equal(back.Bytes(), want.Bytes()) {
			t.Errorf("%s: %v\n% x\n% x", ts, err, back.Bytes(), want.Bytes())
		}
	}
	f, err := NewFile(d, uid.ExplicitVRLittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Write(io.Discard); err != nil {
		t.Fatal(err)
	}
}
