package main

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nhip/dicom"
	"nhip/dicom/service/servicetest"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// writeObject writes a Secondary Capture of 64 by 64 pixels.
func writeObject(t *testing.T, dir, instance, name string) string {
	t.Helper()
	d := dicom.NewDataset()
	pixels := make([]byte, 64*64*2)
	for i := range pixels {
		pixels[i] = byte(i*i>>4) & 0x0F
	}
	for _, err := range []error{
		d.SetText(tag.SpecificCharacterSet, "ISO_IR 192"), d.SetText(tag.PatientName, name), d.SetText(tag.PatientID, "P-1"),
		d.SetText(tag.SOPClassUID, uid.CTImageStorage), d.SetText(tag.SOPInstanceUID, instance),
		d.SetText(tag.StudyInstanceUID, "1.2.826.1"), d.SetText(tag.SeriesInstanceUID, "1.2.826.1.1"), d.SetText(tag.Modality, "CT"),
		d.SetInt(tag.Rows, 64), d.SetInt(tag.Columns, 64), d.SetInt(tag.SamplesPerPixel, 1), d.SetText(tag.PhotometricInterpretation, "MONOCHROME2"),
		d.SetInt(tag.BitsAllocated, 16), d.SetInt(tag.BitsStored, 12), d.SetInt(tag.HighBit, 11), d.SetInt(tag.PixelRepresentation, 0),
		d.SetBytes(tag.PixelData, dicom.OW, pixels),
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
	path := filepath.Join(dir, instance+".dcm")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDicomToolsWithOrthanc(t *testing.T) {
	servicetest.Need(t, "Orthanc")
	peer := "ORTHANC@" + servicetest.StartOrthanc(t, nil).Address
	in, out := t.TempDir(), filepath.Join(t.TempDir(), "new")
	sum := map[[32]byte]bool{}
	for _, instance := range []string{"1.2.826.2", "1.2.826.3"} {
		b, err := os.ReadFile(writeObject(t, in, instance, "Nguyễn^Hoa"))
		if err != nil {
			t.Fatal(err)
		}
		sum[dataSetOf(t, b)] = true
	}
	say := func(want string, args ...string) string {
		t.Helper()
		b, err := nhip(append([]string{"dicom"}, args...)...).CombinedOutput()
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%v: %v: no %q in\n%s", args, err, want, b)
		}
		return string(b)
	}
	say("C-ECHO answered 0000", "echo", peer)
	probed := say("It accepts ", "probe", peer)
	if !strings.Contains(probed, "CT Image Storage (1.2.840.10008.5.1.4.1.1.2)") || !strings.Contains(probed, "in Explicit VR Little Endian") {
		t.Errorf("%s", probed)
	}
	say("2 of 2 objects sent", "send", "--quiet", peer, in)
	if found := say("1 matches", "find", peer, "-k", "PatientID=P-1"); !strings.Contains(found, "[1.2.826.1]") {
		t.Errorf("%s", found)
	}
	say(`"00080018":{"vr":"UI","Value":["1.2.826.3"]}`, "find", peer, "--level", "IMAGE", "-k", "StudyInstanceUID=1.2.826.1", "-k", "SeriesInstanceUID=1.2.826.1.1", "--json")
	say("0 matches", "find", peer, "-k", "PatientName=Trần*")
	say("2 objects in "+out, "get", peer, "--study", "1.2.826.1", "--out", out)
	for _, name := range []string{"000001.dcm", "000002.dcm"} {
		b, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		if !sum[dataSetOf(t, b)] {
			t.Errorf("%s: not the data set that was sent", name)
		}
	}
	// One file that is no object fails the command, and the others are sent.
	if err := os.WriteFile(filepath.Join(in, "readme.txt"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := nhip("dicom", "send", "--quiet", peer, in).CombinedOutput(); err == nil || !strings.Contains(string(b), "2 of 2 objects sent") || !strings.Contains(string(b), "readme.txt: not sent") {
		t.Errorf("%v: %s", err, b)
	}
}

// dataSetOf is the hash of the data set of a file.
func dataSetOf(t *testing.T, b []byte) [32]byte {
	t.Helper()
	meta, err := dicom.ReadPart10(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(b[meta.DataSet:])
}

func TestDicomSendCompresses(t *testing.T) {
	servicetest.Need(t, "storescp", "dcmdjpls")
	in, received := t.TempDir(), t.TempDir()
	path := writeObject(t, in, "1.2.826.4", "DOE^JANE")
	port := servicetest.FreePort(t)
	servicetest.Start(t, port, received, "storescp", "+xa", "+B", "-od", received, port)
	b, err := nhip("dicom", "send", "--quiet", "--as", "jpeg-ls", "ANY@127.0.0.1:"+port, in).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	files, _ := filepath.Glob(filepath.Join(received, "*1.2.826.4*"))
	if len(files) != 1 {
		t.Fatal(files)
	}
	plain := filepath.Join(t.TempDir(), "plain.dcm")
	if out, err := servicetest.Run(t, t.TempDir(), "dcmdjpls", files[0], plain); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pixels := func(name string) ([]byte, string) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := dicom.ParseFile(b, dicom.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		return f.Bytes(tag.PixelData), f.TransferSyntax()
	}
	if _, ts := pixels(files[0]); ts != uid.JPEGLSLossless {
		t.Errorf("received in %s", ts)
	}
	want, _ := pixels(path)
	if got, _ := pixels(plain); !bytes.Equal(got, want) {
		t.Error("other pixels")
	}
}

func TestDicomToolsSayWhatIsWrong(t *testing.T) {
	port := servicetest.FreePort(t)
	for _, c := range []struct {
		want string
		args []string
	}{
		{"is not of the form AE@HOST:PORT", []string{"echo", "127.0.0.1:104"}},
		{"connection refused", []string{"echo", "PACS@127.0.0.1:" + port}},
		{"is no transfer syntax", []string{"send", "--as", "zip", "PACS@127.0.0.1:" + port, t.TempDir()}},
		{"--instance needs --series", []string{"get", "PACS@127.0.0.1:" + port, "--study", "1.2", "--instance", "1.3", "--out", t.TempDir()}},
		{"NoSuchKeyword", []string{"find", "PACS@127.0.0.1:" + port, "-k", "NoSuchKeyword=1"}},
	} {
		b, err := nhip(append([]string{"dicom"}, c.args...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(b), c.want) {
			t.Errorf("%v: %v: no %q in %s", c.args, err, c.want, b)
		}
	}
}
