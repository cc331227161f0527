package dicom

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// An encoder writes data sets for the tests, independent of the reader.
type encoder struct {
	order    binary.AppendByteOrder
	implicit bool
	b        []byte
}

func explicitLE() *encoder { return &encoder{order: binary.LittleEndian} }
func implicitLE() *encoder { return &encoder{order: binary.LittleEndian, implicit: true} }
func explicitBE() *encoder { return &encoder{order: binary.BigEndian} }

func (e *encoder) head(t tag.Tag, vr string, length uint32) *encoder {
	e.b = e.order.AppendUint16(e.b, t.Group())
	e.b = e.order.AppendUint16(e.b, uint16(t))
	switch {
	case e.implicit || vr == "":
		e.b = e.order.AppendUint32(e.b, length)
	case strings.Contains("OB OW SQ UN UT", vr):
		e.b = append(e.b, vr...)
		e.b = append(e.b, 0, 0)
		e.b = e.order.AppendUint32(e.b, length)
	default:
		e.b = append(e.b, vr...)
		e.b = e.order.AppendUint16(e.b, uint16(length))
	}
	return e
}

func (e *encoder) el(t tag.Tag, vr, value string) *encoder {
	if len(value)%2 == 1 {
		value += map[bool]string{true: "\x00", false: " "}[vr == "UI"]
	}
	e.head(t, vr, uint32(len(value)))
	e.b = append(e.b, value...)
	return e
}

func (e *encoder) raw(b ...byte) *encoder { e.b = append(e.b, b...); return e }
func (e *encoder) item() *encoder         { return e.head(tag.Item, "", 0xFFFFFFFF) }
func (e *encoder) endItem() *encoder      { return e.head(tag.ItemDelimitation, "", 0) }
func (e *encoder) endSequence() *encoder  { return e.head(tag.SequenceDelimitation, "", 0) }

// sample is a data set with what a header reader can trip over, in order.
func sample(e *encoder) []byte { return sampleWith(e, make([]byte, 16)) }

// wellFormed is a sample whose every sequence can be followed.
func wellFormed(e *encoder) []byte {
	inner := &encoder{order: e.order, implicit: e.implicit}
	return sampleWith(e, inner.head(tag.Item, "", 8).head(tag.ReferencedSOPInstanceUID, "UI", 0).b)
}

// sampleWith has 16 bytes in a sequence that a header reader does not look into.
func sampleWith(e *encoder, content []byte) []byte {
	e.el(tag.SpecificCharacterSet, "CS", "ISO_IR 192")
	e.el(tag.SOPClassUID, "UI", "1.2.840.10008.5.1.4.1.1.2")
	e.el(tag.SOPInstanceUID, "UI", "1.2.3.4.5")
	e.el(tag.AccessionNumber, "SH", "A 17")
	e.el(tag.Modality, "CS", "CT")
	// A sequence of undefined length with items of both kinds, one of them with
	// wanted tags inside that are not the object's.
	e.head(0x00081140, "SQ", 0xFFFFFFFF)
	e.item().el(tag.SOPClassUID, "UI", "9.9").head(0x00081199, "SQ", 0xFFFFFFFF).endSequence().endItem()
	inner := &encoder{order: e.order, implicit: e.implicit}
	inner.el(tag.SOPInstanceUID, "UI", "9.9.9")
	e.head(tag.Item, "", uint32(len(inner.b))).raw(inner.b...)
	e.endSequence()
	// A sequence of defined length is read over without a look.
	e.head(0x00081199, "SQ", 16).raw(content...)
	e.el(tag.PatientID, "LO", "P-0042")
	e.el(tag.StudyInstanceUID, "UI", "1.2.3")
	e.el(tag.SeriesInstanceUID, "UI", "1.2.3.4")
	// Icon with encapsulated pixel data inside an item.
	e.head(0x00880200, "SQ", 0xFFFFFFFF).item()
	e.head(tag.PixelData, "OB", 0xFFFFFFFF).head(tag.Item, "", 0).head(tag.Item, "", 4).raw(0xFE, 0xFF, 0xDD, 0xE0).endSequence()
	e.endItem().endSequence()
	e.head(tag.PixelData, "OW", 8).raw(make([]byte, 8)...)
	return e.b
}

var sampleHeader = Header{
	SpecificCharacterSet: "ISO_IR 192", SOPClassUID: "1.2.840.10008.5.1.4.1.1.2", SOPInstanceUID: "1.2.3.4.5",
	AccessionNumber: "A 17", Modality: "CT", PatientID: "P-0042", StudyInstanceUID: "1.2.3", SeriesInstanceUID: "1.2.3.4",
}

func deflated(b []byte) []byte {
	var out bytes.Buffer
	level := flate.BestCompression
	if len(b) > 1<<20 {
		level = flate.BestSpeed // a bomb
	}
	w, _ := flate.NewWriter(&out, level)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func read(ts string, b []byte, piece int) Header {
	r := NewHeaderReader(ts)
	for len(b) > 0 {
		n := min(piece, len(b))
		r.Write(b[:n])
		b = b[n:]
	}
	return r.Header()
}

func TestHeaderInEveryEncodingAndPieceSize(t *testing.T) {
	for _, c := range []struct {
		name, ts string
		data     []byte
	}{
		{"explicit", uid.ExplicitVRLittleEndian, sample(explicitLE())},
		{"JPEG", "1.2.840.10008.1.2.4.50", sample(explicitLE())},
		{"implicit", uid.ImplicitVRLittleEndian, sample(implicitLE())},
		{"big endian", uid.ExplicitVRBigEndian, sample(explicitBE())},
		{"deflated", uid.DeflatedExplicitVRLittleEndian, deflated(sample(explicitLE()))},
	} {
		for _, piece := range []int{1, 2, 3, 5, 7, 8, 11, 12, 13, 64, 1 << 20} {
			if diff := cmp.Diff(sampleHeader, read(c.ts, c.data, piece)); diff != "" {
				t.Errorf("%s in pieces of %d: %s", c.name, piece, diff)
			}
		}
	}
}

// UN of undefined length is a sequence in Implicit VR Little Endian, whatever is
// around it: CP-246.
func TestUNOfUndefinedLength(t *testing.T) {
	for _, e := range []*encoder{explicitLE(), explicitBE()} {
		ts := map[bool]string{true: uid.ExplicitVRLittleEndian, false: uid.ExplicitVRBigEndian}[e.order == binary.AppendByteOrder(binary.LittleEndian)]
		e.el(tag.SOPClassUID, "UI", "1.2").el(tag.SOPInstanceUID, "UI", "1.3")
		e.head(0x00091001, "UN", 0xFFFFFFFF)
		e.raw(implicitLE().item().el(0x00091002, "LO", "ABCDEF").head(0x00091003, "SQ", 0xFFFFFFFF).item().endItem().endSequence().endItem().endSequence().b...)
		e.el(tag.PatientID, "LO", "behind")
		if h := read(ts, e.b, 7); h.PatientID != "behind" || h.Problem != "" {
			t.Errorf("%+v", h)
		}
	}
}

func nested(depth int) []byte {
	e := explicitLE().el(tag.SOPClassUID, "UI", "1.2").el(tag.SOPInstanceUID, "UI", "1.3")
	for range depth {
		e.head(0x00081140, "SQ", 0xFFFFFFFF).item()
	}
	for range depth {
		e.endItem().endSequence()
	}
	return e.el(tag.PatientID, "LO", "behind").b
}

// An odd data set is stored all the same: what is wrong is said in words, and
// what was read before stands.
func TestProblems(t *testing.T) {
	begin := func() *encoder {
		return explicitLE().el(tag.SOPClassUID, "UI", "1.2").el(tag.SOPInstanceUID, "UI", "1.3")
	}
	for _, c := range []struct {
		name    string
		ts      string
		data    []byte
		problem string
		patient string
	}{
		{"nothing", uid.ExplicitVRLittleEndian, nil, "no SOP Class UID or no SOP Instance UID", ""},
		{"64 deep", uid.ExplicitVRLittleEndian, nested(64), "", "behind"},
		{"65 deep", uid.ExplicitVRLittleEndian, nested(65), "nested deeper than 64", ""},
		{"20,000 deep", uid.ExplicitVRLittleEndian, nested(20000), "nested deeper than 64", ""},
		{"VL of 4 GB", uid.ExplicitVRLittleEndian, begin().head(0x00091001, "OB", 0xFFFFFFFE).b, "ends inside an element", ""},
		{"wanted value of 4 GB", uid.ImplicitVRLittleEndian, implicitLE().el(tag.SOPClassUID, "UI", "1.2").el(tag.SOPInstanceUID, "UI", "1.3").head(tag.PatientID, "LO", 0xFFFFFFF0).b, "(0010,0020) PatientID has a value of 4294967280 bytes", ""},
		{"cut in a header", uid.ExplicitVRLittleEndian, begin().raw(0x10, 0).b, "ends inside an element", ""},
		{"cut in a sequence", uid.ExplicitVRLittleEndian, begin().head(0x00081140, "SQ", 0xFFFFFFFF).item().b, "ends inside a sequence", ""},
		{"out of order", uid.ExplicitVRLittleEndian, begin().el(tag.PatientID, "LO", "p").el(tag.Modality, "CS", "CT").b, "(0008,0060) Modality is not in ascending order", "p"},
		{"twice", uid.ExplicitVRLittleEndian, begin().el(tag.PatientID, "LO", "p").el(tag.PatientID, "LO", "q").b, "(0010,0020) PatientID is not in ascending order", "p"},
		{"no VR", uid.ExplicitVRLittleEndian, begin().raw(0x10, 0, 0x20, 0, 0, 1, 2, 0, 'a', 'b').b, "(0010,0020) PatientID has no valid VR", ""},
		{"implicit in explicit", uid.ExplicitVRLittleEndian, implicitLE().el(tag.SOPClassUID, "UI", "1.2").el(tag.SOPInstanceUID, "UI", "1.3").el(tag.PatientID, "LO", "p").b, "no VRs in an explicit", "p"},
		{"explicit in implicit", uid.ImplicitVRLittleEndian, begin().el(tag.PatientID, "LO", "p").b, "explicit VRs in an implicit", "p"},
		{"undefined length of a string", uid.ExplicitVRLittleEndian, begin().head(0x00081140, "UT", 0xFFFFFFFF).b, "of VR UT has an undefined length", ""},
		{"element longer than its item", uid.ExplicitVRLittleEndian, begin().head(0x00081140, "SQ", 0xFFFFFFFF).head(tag.Item, "", 10).el(0x00081150, "UI", "1.2.3.4").b, "longer than the item", ""},
		{"element where an item belongs", uid.ExplicitVRLittleEndian, begin().head(0x00081140, "SQ", 0xFFFFFFFF).el(0x00081150, "UI", "1.2.3.4").b, "where an item of a sequence is expected", ""},
		{"delimitation out of place", uid.ExplicitVRLittleEndian, begin().endSequence().b, "(FFFE,E0DD) SequenceDelimitationItem where none is expected", ""},
		{"fragment of undefined length", uid.ExplicitVRLittleEndian, begin().head(0x00880200, "SQ", 0xFFFFFFFF).item().head(tag.PixelData, "OB", 0xFFFFFFFF).item().b, "fragment of pixel data has an undefined length", ""},
		{"not deflated", uid.DeflatedExplicitVRLittleEndian, begin().b, "cannot be inflated", ""},
		{"deflated, cut", uid.DeflatedExplicitVRLittleEndian, deflated(sample(explicitLE()))[:200], "cannot be inflated to its end", "P-0042"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, piece := range []int{1, 9, 1 << 20} {
				h := read(c.ts, c.data, piece)
				if c.problem == "" && h.Problem != "" || !strings.Contains(h.Problem, c.problem) || h.PatientID != c.patient {
					t.Errorf("pieces of %d: %+v", piece, h)
				}
			}
		})
	}
}

func TestDeflateBombIsBounded(t *testing.T) {
	bomb := deflated(append(explicitLE().el(tag.SOPClassUID, "UI", "1.2").el(tag.SOPInstanceUID, "UI", "1.3").el(tag.PatientID, "LO", "p").head(0x00111001, "OB", 64<<20).b, make([]byte, 64<<20)...))
	r := NewHeaderReader(uid.DeflatedExplicitVRLittleEndian)
	r.Write(bomb)
	if h := r.Header(); h.PatientID != "p" || h.Problem != "" || r.at > maxInflated {
		t.Errorf("%+v after %d bytes", h, r.at)
	}
}

// The reader holds nothing of what it does not want, however long it is.
func TestLongValuesAreNotHeld(t *testing.T) {
	r := NewHeaderReader(uid.ExplicitVRLittleEndian)
	r.Write(explicitLE().el(tag.SOPClassUID, "UI", "1.2").el(tag.SOPInstanceUID, "UI", "1.3").head(0x00091001, "OB", 1<<30).b)
	piece := make([]byte, 1<<20)
	if n := testing.AllocsPerRun(1000, func() { r.Write(piece) }); n != 0 {
		t.Errorf("%v allocations for a piece", n)
	}
	if cap(r.held) > 12+maxValue {
		t.Errorf("%d bytes are held", cap(r.held))
	}
}

func TestCutAnywhere(t *testing.T) {
	whole := sample(explicitLE())
	for n := range whole {
		h := read(uid.ExplicitVRLittleEndian, whole[:n], 1<<20)
		if h.Problem == "" && h.SOPInstanceUID != sampleHeader.SOPInstanceUID {
			t.Errorf("cut at %d: %+v", n, h)
		}
	}
}

// pydicomFiles is the test tree of Debian's python3-pydicom, deliberately odd
// files among them.
func pydicomFiles(t *testing.T) []string {
	t.Helper()
	const dir = "/usr/lib/python3/dist-packages/pydicom/data"
	var files []string
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
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

// Every file of the tree is read without a panic; those without a problem show
// the identifiers that their File Meta Information names.
func TestPydicomTree(t *testing.T) {
	var read, odd, noFile int
	for _, name := range pydicomFiles(t) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		m, err := ReadPart10(bytes.NewReader(b))
		if err != nil {
			noFile++
			continue
		}
		read++
		h := NewHeaderReader(m.TransferSyntaxUID)
		h.Write(b[m.DataSet:])
		got := h.Header()
		if got.Problem != "" {
			odd++
			t.Logf("%s: %s", filepath.Base(name), got.Problem)
			continue
		}
		if got.SOPInstanceUID != m.SOPInstanceUID {
			t.Logf("%s: data set %s, file %s", filepath.Base(name), got.SOPInstanceUID, m.SOPInstanceUID)
		}
		if got.SOPInstanceUID == "" || got.SOPClassUID == "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	t.Logf("%d files, %d of them with a problem; %d that are no DICOM files", read, odd, noFile)
	if read < 150 || odd > 20 {
		t.Errorf("%d files, %d of them with a problem", read, odd)
	}
}

func TestPart10BothWays(t *testing.T) {
	var a, b bytes.Buffer
	for _, w := range []*bytes.Buffer{&a, &b} {
		if err := WritePart10Header(w, "1.2.840.10008.5.1.4.1.1.2", "1.2.3.4", uid.ExplicitVRLittleEndian); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("equal objects make different files")
	}
	m, err := ReadPart10(bytes.NewReader(append(a.Bytes(), sample(explicitLE())...)))
	want := Meta{"1.2.840.10008.5.1.4.1.1.2", "1.2.3.4", uid.ExplicitVRLittleEndian, int64(a.Len())}
	if err != nil || m != want {
		t.Errorf("%+v, %v; want %+v", m, err, want)
	}
	if n := binary.LittleEndian.Uint32(a.Bytes()[140:]); int(n) != a.Len()-144 {
		t.Errorf("group length %d of %d", n, a.Len())
	}
	for n := range a.Len() {
		if m, err := ReadPart10(bytes.NewReader(a.Bytes()[:n])); err == nil && (m.TransferSyntaxUID != want.TransferSyntaxUID || m.DataSet > int64(n)) {
			t.Errorf("cut at %d: %+v", n, m)
		}
	}
}

// FuzzHeader: no panic, the same whatever the pieces, and nothing held beyond
// the limits.
func FuzzHeader(f *testing.F) {
	f.Add(byte(0), sample(explicitLE()))
	f.Add(byte(1), sample(implicitLE()))
	f.Add(byte(2), sample(explicitBE()))
	f.Add(byte(3), deflated(sample(explicitLE())))
	f.Add(byte(0), nested(65))
	syntaxes := []string{uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian}
	f.Fuzz(func(t *testing.T, ts byte, b []byte) {
		syntax := syntaxes[int(ts)%len(syntaxes)]
		whole := read(syntax, b, len(b)+1)
		if diff := cmp.Diff(whole, read(syntax, b, 3)); diff != "" {
			t.Fatal(diff)
		}
		ReadPart10(bytes.NewReader(b))
	})
}
