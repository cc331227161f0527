package dicom

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A pydicomElement is an element as testdata/pydicom_dump.py tells it.
type pydicomElement struct {
	Tag     string
	VR      string
	Texts   []string
	Numbers []float64
	Bytes   string
	Items   [][]pydicomElement
}

type pydicomFile struct {
	Error, Complaint, Syntax string
	Implicit                 bool
	Meta, Data               []pydicomElement
}

// pydicomReads has pydicom read the files.
func pydicomReads(t *testing.T, files []string) []pydicomFile {
	t.Helper()
	cmd := exec.Command("/usr/bin/python3", "testdata/pydicom_dump.py")
	cmd.Stdin = strings.NewReader(strings.Join(files, "\n") + "\n")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("pydicom: %v: %s", err, stderr.Bytes())
	}
	var answers []pydicomFile
	for line := range strings.Lines(string(out)) {
		// NaN is no JSON, though Python writes it.
		var a pydicomFile
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatal(err)
		}
		answers = append(answers, a)
	}
	if len(answers) != len(files) {
		t.Fatalf("pydicom answers for %d files of %d", len(answers), len(files))
	}
	return answers
}

// differences are what we read differently, and why.
var differences = map[string]string{
	"chrX1.dcm 00100010":                  "pydicom takes the delimiter of an empty component group away; we keep what is written",
	"chrX2.dcm 00100010":                  "the same",
	"693_J2KI.dcm 00080008":               "spaces at the end of each value of a CS are insignificant (PS3.5 section 6.2); pydicom takes them from the last only",
	"SC_rgb_gdcm_KY.dcm 00080008":         "the same",
	"SC_rgb_jpeg_lossy_gdcm.dcm 00080008": "the same",
	"MR_truncated.dcm 7FE00010":           "the file ends inside the value: an error of ours, io.ErrUnexpectedEOF; pydicom complains when it decodes the pixel data",
	"rtplan_truncated.dcm 300A00B0":       "the file ends inside the sequence: the same; pydicom warns and has the beginning of it",
	"DICOMDIR-nooffset 00041220":          "the file ends inside the sequence, the same",
}

// Every file of the tree is read as pydicom reads it, element by element.
func TestPydicomTreeIsReadAsPydicomReadsIt(t *testing.T) {
	files := pydicomFiles(t)
	answers := pydicomReads(t, files)
	elements, refused, seen := 0, 0, 0
	for i, name := range files {
		base := filepath.Base(name)
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := ReadFile(bytes.NewReader(b), Limits{})
		if errors.Is(err, ErrNotDICOM) {
			refused++
			if answers[i].Complaint == "" {
				t.Errorf("%s: %v, but pydicom reads it", base, err)
			}
			continue
		}
		if answers[i].Error != "" {
			t.Errorf("%s: pydicom says %s", base, answers[i].Error)
			continue
		}
		var differ []string
		c := comparison{root: f.Dataset, report: func(format string, args ...any) {
			differ = append(differ, fmt.Sprintf(format, args...))
		}}
		elements += c.datasets("", f.Meta, answers[i].Meta)
		elements += c.datasets("", f.Dataset, answers[i].Data)
		for _, d := range differ {
			at, _, _ := strings.Cut(strings.Replace(d, " ", ":", 1), ":")
			if why, ok := differences[base+" "+at]; ok {
				seen++
				t.Logf("%s: %s: %s", base, d, why)
				continue
			}
			t.Errorf("%s: %s (%v)", base, d, err)
		}
		if err != nil && (len(differ) == 0 || !errors.Is(err, io.ErrUnexpectedEOF)) {
			t.Errorf("%s: %v", base, err)
		}
	}
	if seen != len(differences) {
		t.Errorf("%d differences are explained, %d were seen", len(differences), seen)
	}
	t.Logf("%d elements of %d files are as pydicom has them; %d files are refused by both", elements, len(files)-refused, refused)
}

type comparison struct {
	root   *Dataset
	report func(format string, args ...any)
}

// datasets compares elements in the order of tags. Of one that is there twice
// pydicom has the last.
func (c comparison) datasets(path string, d *Dataset, theirs []pydicomElement) int {
	ours := map[string]Element{}
	for e := range d.All() {
		ours[fmt.Sprintf("%08X", uint32(e.Tag))] = e
	}
	n := 0
	for _, p := range theirs {
		at := path + p.Tag
		e, ok := ours[p.Tag]
		if !ok {
			c.report("%s is only pydicom's", at)
			continue
		}
		delete(ours, p.Tag)
		n++
		if vr := e.VR.String(); vr != p.VR {
			c.report("%s: VR %s, pydicom has %s", at, vr, p.VR)
		}
		n += c.values(at, e, p)
	}
	for key := range ours {
		c.report("%s%s is only ours", path, key)
	}
	return n
}

func (c comparison) values(at string, e Element, p pydicomElement) int {
	n := 0
	switch {
	case p.Items != nil:
		items := e.Items()
		if len(items) != len(p.Items) {
			c.report("%s: %d items, pydicom has %d", at, len(items), len(p.Items))
			return n
		}
		for i, item := range items {
			n += c.datasets(fmt.Sprintf("%s[%d].", at, i), item, p.Items[i])
		}
	case p.Bytes != "":
		want, _ := base64.StdEncoding.DecodeString(p.Bytes)
		got := e.Bytes()
		if e.Undefined() && e.VR != SQ {
			got = got[:len(got)-8] // pydicom keeps no delimitation
		}
		if !bytes.Equal(got, want) {
			c.report("%s: %d bytes, pydicom has %d others", at, len(got), len(want))
		}
	case p.Numbers != nil:
		if got := e.Floats(); !slices.Equal(got, p.Numbers) {
			c.report("%s: %v, pydicom has %v", at, got, p.Numbers)
		}
	case len(p.Texts) > 0:
		if got := e.Texts(); !slices.Equal(got, p.Texts) && !(len(got) == 0 && strings.Join(p.Texts, "") == "") {
			c.report("%s: VR %v %q, pydicom has %q", at, e.VR, got, p.Texts)
		}
	case e.Len() > 0 && strings.Join(e.Texts(), "") != "":
		c.report("%s: VR %v %q, pydicom has nothing", at, e.VR, e.Texts())
	}
	return n
}
