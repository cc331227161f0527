package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nhip/dicom"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

func TestDicomDump(t *testing.T) {
	d := dicom.NewDataset()
	item := dicom.NewDataset()
	for _, err := range []error{
		d.SetText(tag.SpecificCharacterSet, "ISO_IR 192"),
		d.SetText(tag.SOPClassUID, uid.CTImageStorage), d.SetText(tag.SOPInstanceUID, "1.2.3"),
		d.SetText(tag.PatientName, "Nguyễn^Văn A"),
		item.SetText(tag.CodeValue, "T-D4000"), d.SetItems(tag.AnatomicRegionSequence, item),
		d.SetBytes(tag.PixelData, dicom.OW, make([]byte, 1<<20)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	f, err := dicom.NewFile(d, uid.ExplicitVRLittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	good, cut, none := filepath.Join(dir, "a.dcm"), filepath.Join(dir, "cut.dcm"), filepath.Join(dir, "none.txt")
	for name, content := range map[string][]byte{good: b.Bytes(), cut: b.Bytes()[:b.Len()-9], none: []byte("hello")} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	out, err := nhip("dicom", "dump", good).Output()
	if err != nil || !strings.Contains(string(out), "\n(0010,0010) PN [Nguyễn^Văn A] ") || !strings.Contains(string(out), "\n    (0008,0100) SH [T-D4000] ") {
		t.Errorf("%v: %s", err, out)
	}
	stdin := nhip("dicom", "dump", "-")
	stdin.Stdin = bytes.NewReader(b.Bytes())
	if piped, err := stdin.Output(); err != nil || !bytes.Equal(piped, out) {
		t.Errorf("from the standard input: %v: %s", err, piped)
	}
	out, err = nhip("dicom", "dump", "--json", good).Output()
	var model map[string]struct {
		Value       []any
		BulkDataURI string
	}
	if err != nil || json.Unmarshal(out, &model) != nil || model["00080016"].Value[0] != uid.CTImageStorage || !strings.HasPrefix(model["7FE00010"].BulkDataURI, "file://"+dir) {
		t.Errorf("%v: %s", err, out)
	}
	for name, word := range map[string]string{cut: "1048567 bytes are left", none: "no DICOM file", filepath.Join(dir, "absent"): "no such file"} {
		if out, err := nhip("dicom", "dump", name, good).CombinedOutput(); err == nil || !strings.Contains(string(out), word) || !strings.Contains(string(out), "T-D4000") {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}
