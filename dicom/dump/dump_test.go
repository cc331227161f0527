package dump

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"nhip/dicom"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

const tree = "/usr/lib/python3/dist-packages/pydicom/data"

func pydicomFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && filepath.Ext(path) != ".py" && filepath.Ext(path) != ".pyc" {
			files = append(files, path)
		}
		return nil
	})
	if len(files) == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("python3-pydicom is not installed")
		}
		t.Skip("python3-pydicom is not installed")
	}
	return files
}

var elementLine = regexp.MustCompile(`(?s)^( *\([0-9a-f]{4},[0-9a-f]{4}\)) (\S+) (.*?) *# *(u/l|\d+), *(\d+) (.*)$`)

// elementLines takes the lines of elements apart: indent and tag, VR, value, length,
// number of values, name. Values of several lines are joined.
func elementLines(text string) [][]string {
	var list [][]string
	held := ""
	for line := range strings.Lines(text) {
		held += line
		if strings.HasPrefix(held, "#") || strings.TrimSpace(held) == "" {
			held = ""
			continue
		}
		m := elementLine.FindStringSubmatch(strings.TrimSuffix(held, "\n"))
		if m == nil {
			continue
		}
		held = ""
		if !strings.Contains(m[1], "fffe,e0") || !strings.Contains(m[6], "Delimitation") {
			list = append(list, m[1:])
		}
	}
	return list
}

// The lines of elements are dcmdump's: indent, tag, VR, value, length and number of
// values, for every file of the tree that dcmdump prints.
func TestLinesAreDcmdumps(t *testing.T) {
	if _, err := exec.LookPath("dcmdump"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	files, lines, other := 0, 0, map[string]int{}
	names := pydicomFiles(t)
	all, _ := exec.Command("dcmdump", append([]string{"-q", "-Un", "+F"}, names...)...).Output()
	dumps := map[string]string{}
	for part := range strings.SplitSeq("\n"+string(all), "\n# dcmdump (") {
		head, text, _ := strings.Cut(part, "\n")
		if _, name, ok := strings.Cut(head, "): "); ok {
			dumps[name] = text
		}
	}
	for _, name := range names {
		theirs := dumps[name]
		if !strings.Contains(theirs, "# Dicom-Data-Set") {
			continue // it prints none
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var ours bytes.Buffer
		if err := Text(&ours, bytes.NewReader(b), Options{}); err != nil {
			other[fmt.Sprintf("%s: %v", filepath.Base(name), err)]++
			continue
		}
		files++
		a, c := elementLines(ours.String()), elementLines(string(theirs))
		if filepath.Base(name) == "winter.dcm" || strings.HasPrefix(filepath.Base(name), "DICOMDIR") {
			continue // an element is there twice: dcmdump leaves the second out; directory records: it prints them its own way
		}
		if len(a) != len(c) {
			t.Errorf("%s: %d lines, dcmdump has %d", name, len(a), len(c))
			continue
		}
		for i := range a {
			lines++
			if why := lineDiffers(a[i], c[i]); why != "" {
				if !strings.HasPrefix(why, "~") {
					t.Errorf("%s: %s: %q, dcmdump has %q", filepath.Base(name), why, a[i], c[i])
				}
				other[why]++
			}
		}
	}
	for why, n := range other {
		t.Logf("%d times %s", n, why)
	}
	t.Logf("%d lines of %d files", lines, files)
	if files < 150 {
		t.Errorf("%d files", files)
	}
}

// lineDiffers says how a line differs, with "~" where that is as it should be.
func lineDiffers(a, b []string) string {
	switch {
	case a[0] != b[0]:
		return "tag"
	case a[3] == "9" && b[3] == "10":
		return "~dcmdump makes an odd length even"
	case a[3] != b[3]:
		return "length"
	case a[3] == "0" && a[2] == b[2]:
		return ""
	case b[1] == "UN" && a[5] != "Unknown":
		return "~a private element, or one sent as UN, that dcmdump does not know"
	case b[1] == "??" && a[1] == "UN", strings.HasPrefix(b[1], "o") || strings.HasPrefix(b[1], "x"):
		return "~dcmdump says that it does not know the VR"
	case a[1] == "OW" && a[2] == "(PixelSequence)" && b[1] == "OB":
		return "~the VR of encapsulated pixel data as it was sent"
	case a[1] != b[1]:
		return "VR"
	case a[4] != b[4]:
		return "number of values"
	}
	x, y := a[2], b[2]
	if keyword, ok := strings.CutPrefix(x, "="); ok {
		e, _ := uid.Lookup(strings.Trim(y, "[]"))
		if e.Keyword != keyword {
			return "UID"
		}
		return ""
	}
	if strings.ContainsFunc(y, func(r rune) bool { return r < ' ' || r > '~' }) && !strings.HasSuffix(x, "\\...") {
		return "~text is decoded, and control characters are made visible"
	}
	if strings.HasPrefix(y, "(") {
		y, _, _ = strings.Cut(y, " #=")
		x, y = strings.TrimSuffix(x, ")"), strings.TrimSuffix(y, ")")
		x, _, _ = strings.Cut(x, " length")
		y, _, _ = strings.Cut(y, " length")
	}
	cut := func(s string) string { return strings.TrimRight(strings.TrimSuffix(s, "..."), `\`) }
	if strings.HasSuffix(x, "...") || strings.HasSuffix(y, "...") {
		x, y = cut(x), cut(y)
		n := min(len(x), len(y))
		x, y = x[:n], y[:n]
	}
	if a[1] == "FL" || a[1] == "FD" {
		v, w := strings.Split(a[2], `\`), strings.Split(b[2], `\`)
		for i := range min(len(v), len(w)) {
			if strings.HasSuffix(v[i], "...") || strings.HasSuffix(w[i], "...") {
				break
			}
			f, ferr := strconv.ParseFloat(v[i], 64)
			g, gerr := strconv.ParseFloat(w[i], 64)
			if ferr != nil || gerr != nil || float32(f) != float32(g) {
				return "number"
			}
		}
		return ""
	}
	if x != y {
		return "value"
	}
	return ""
}

// What a terminal acts on is made visible, and a value does not break out of its line.
func TestControlCharactersAreMadeVisible(t *testing.T) {
	d := dicom.NewDataset()
	for _, err := range []error{
		d.SetText(tag.SpecificCharacterSet, "ISO_IR 192"),
		d.SetText(tag.SOPClassUID, uid.CTImageStorage), d.SetText(tag.SOPInstanceUID, "1.2.3"),
		d.SetText(tag.PatientName, "A\n(0010,0020) LO [forged]\r\u202eB\u009b31m\x07"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	f, err := dicom.NewFile(d, uid.ExplicitVRLittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	var b, out bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	if err := Text(&out, &b, Options{Whole: true}); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\r\u202e\u009b\x07") || strings.Contains(out.String(), "\n(0010,0020)") {
		t.Errorf("%q", out.String())
	}
}

// A file of which the end is missing is printed as far as it goes.
func TestWhatWasReadBeforeAnErrorIsPrinted(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(tree, "test_files", "MR_truncated.dcm"))
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	var out bytes.Buffer
	if err := Text(&out, bytes.NewReader(b), Options{}); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(out.String(), "(0028,0010) US 64") {
		t.Errorf("%v after %s", err, out.String())
	}
}

// In the JSON a long value is where it stands in the file.
func TestJSONNamesWhereLongValuesAre(t *testing.T) {
	d := dicom.NewDataset()
	for _, err := range []error{
		d.SetText(tag.SOPClassUID, uid.CTImageStorage), d.SetText(tag.SOPInstanceUID, "1.2.3"),
		d.SetBytes(tag.PixelData, dicom.OW, bytes.Repeat([]byte{1, 2}, 40<<10)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	f, err := dicom.NewFile(d, uid.ExplicitVRLittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	var b, out bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	if err := JSON(&out, bytes.NewReader(b.Bytes()), int64(b.Len()), "a b.dcm"); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`"BulkDataURI":"file:a%%20b.dcm?offset=%d\u0026length=81920"`, b.Len()-81920)
	if !strings.Contains(out.String(), want) || !json.Valid(out.Bytes()) || out.Len() > 1000 {
		t.Errorf("%s, want %s", out.String(), want)
	}
}
