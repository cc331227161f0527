package sc

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nhip/dicom"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

func object() Object {
	return Object{
		PatientName: "Nguyễn^Văn A", PatientID: "P-1", PatientBirthDate: "19800101", PatientSex: "M",
		StudyInstanceUID: "2.25.1", SeriesInstanceUID: "2.25.2", SOPInstanceUID: "2.25.3",
		StudyID: "1", StudyDate: "20260102", StudyTime: "101112", AccessionNumber: "A-1", SeriesNumber: 1, InstanceNumber: 1,
		Created: time.Date(2026, 1, 2, 10, 11, 12, 0, time.UTC), Manufacturer: "Nhip", BurnedInAnnotation: true,
		DocumentTitle: "Phiếu kết quả",
	}
}

const pdf = "%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"

func built(t *testing.T) map[string]*dicom.File {
	t.Helper()
	files := map[string]*dicom.File{}
	add := func(name string, f *dicom.File, err error) {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		files[name] = f
	}
	paged, timed := object(), object()
	timed.FrameTime = 40
	f, err := Image(object(), Pixels{Rows: 8, Columns: 8, Samples: 1, BitsAllocated: 8, Data: make([]byte, 64)})
	add("secondary capture", f, err)
	f, err = Image(object(), Pixels{Rows: 3, Columns: 3, Samples: 3, BitsAllocated: 8, Data: make([]byte, 27)})
	add("secondary capture in colour, of odd length", f, err)
	f, err = Image(object(), Pixels{Rows: 8, Columns: 8, Samples: 1, BitsAllocated: 16, BitsStored: 12, Data: make([]byte, 128)})
	add("secondary capture of 12 bits", f, err)
	f, err = MultiFrame(paged, Pixels{Rows: 8, Columns: 8, Frames: 3, Samples: 1, BitsAllocated: 8, Data: make([]byte, 192)})
	add("multi-frame grayscale byte, pages", f, err)
	f, err = MultiFrame(timed, Pixels{Rows: 8, Columns: 8, Frames: 2, Samples: 1, BitsAllocated: 16, BitsStored: 12, Data: make([]byte, 256)})
	add("multi-frame grayscale word, timed", f, err)
	f, err = MultiFrame(timed, Pixels{Rows: 8, Columns: 8, Frames: 2, Samples: 3, BitsAllocated: 8, Data: make([]byte, 384)})
	add("multi-frame true color", f, err)
	f, err = PDF(object(), []byte(pdf))
	add("encapsulated PDF", f, err)
	return files
}

// dciodvfy finds no error in what is built.
func TestDciodvfyPrintsNoError(t *testing.T) {
	if _, err := exec.LookPath("dciodvfy"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("dicom3tools is not installed")
		}
		t.Skip("dicom3tools is not installed")
	}
	for name, f := range built(t) {
		for _, ts := range []string{uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian} {
			if err := f.Meta.SetText(tag.TransferSyntaxUID, ts); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "a.dcm")
			var b bytes.Buffer
			if err := f.Write(&b); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			out, _ := exec.Command("dciodvfy", "-new", path).CombinedOutput()
			for line := range strings.Lines(string(out)) {
				if strings.HasPrefix(line, "Error") {
					t.Errorf("%s in %s: %s", name, uid.Name(ts), line)
				}
			}
			if !bytes.Contains(out, []byte("Warning")) && !bytes.Contains(out, []byte("SC")) && !bytes.Contains(out, []byte("PDF")) {
				t.Errorf("%s: dciodvfy does not say what it has checked: %s", name, out)
			}
		}
	}
}

func TestWhatIsBuiltIsRead(t *testing.T) {
	for name, f := range built(t) {
		var b bytes.Buffer
		if err := f.Write(&b); err != nil {
			t.Fatal(err)
		}
		got, err := dicom.ReadFile(&b, dicom.Limits{})
		if err != nil || got.Text(tag.PatientName) != "Nguyễn^Văn A" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatDoesNotGoTogetherIsRefused(t *testing.T) {
	good := Pixels{Rows: 2, Columns: 2, Frames: 1, Samples: 1, BitsAllocated: 8, Data: make([]byte, 4)}
	for name, change := range map[string]func(*Object, *Pixels){
		"short":     func(_ *Object, p *Pixels) { p.Data = p.Data[:3] },
		"no rows":   func(_ *Object, p *Pixels) { p.Rows = 0 },
		"12 bits":   func(_ *Object, p *Pixels) { p.BitsAllocated = 12 },
		"stored":    func(_ *Object, p *Pixels) { p.BitsStored = 9 },
		"two":       func(_ *Object, p *Pixels) { p.Samples = 2 },
		"no UID":    func(o *Object, _ *Pixels) { o.SOPInstanceUID = "" },
		"no UID 2":  func(o *Object, _ *Pixels) { o.StudyInstanceUID = "../x" },
		"backslash": func(o *Object, _ *Pixels) { o.PatientID = `a\b` },
		"charset":   func(o *Object, _ *Pixels) { o.CharacterSet = "ISO_IR 100" },
	} {
		o, p := object(), good
		change(&o, &p)
		if _, err := MultiFrame(o, p); err == nil {
			t.Errorf("%s is built", name)
		}
	}
	if _, err := PDF(object(), []byte("<html>")); err == nil {
		t.Error("HTML is built as a PDF")
	}
	if _, err := Image(object(), Pixels{Rows: 1, Columns: 1, Frames: 2, Samples: 1, BitsAllocated: 8, Data: make([]byte, 2)}); err == nil {
		t.Error("two frames in one")
	}
}
