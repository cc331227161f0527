package dicom

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// A hostile is a data set that somebody made to hurt its reader.
type hostile struct {
	name, ts string
	b        []byte
	problem  string // empty: it is read
}

func hostileDatasets() []hostile {
	le, be, il := uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.ImplicitVRLittleEndian
	many := func(e *encoder, n int, f func(*encoder)) []byte {
		for range n {
			f(e)
		}
		return e.b
	}
	list := []hostile{
		{"VL of 4 GB in OB", le, explicitLE().head(0x00091001, "OB", 0xFFFFFFFE).b, "where 0 bytes are left"},
		{"VL of 4 GB in UN", le, explicitLE().head(0x00091001, "UN", 0xFFFFFFF0).b, "where 0 bytes are left"},
		{"VL of 4 GB, implicit", il, implicitLE().head(tag.PatientID, "", 0xFFFFFFF0).b, "where 0 bytes are left"},
		{"VL one beyond what is left", le, explicitLE().head(tag.PatientID, "LO", 5).raw([]byte("abcd")...).b, "where 4 bytes are left"},
		{"undefined length of UT", le, explicitLE().head(0x00081140, "UT", 0xFFFFFFFF).b, "undefined length"},
		{"undefined length of a fragment", le, explicitLE().head(tag.PixelData, "OB", 0xFFFFFFFF).item().b, "fragment of undefined length"},
		{"nested 65 deep", le, nested(65), "nested deeper than 64"},
		{"nested 20,000 deep", le, nested(20000), "nested deeper than 64"},
		{"nested 20,000 deep, implicit", il, many(implicitLE(), 20000, func(e *encoder) { e.head(0x00081140, "", 0xFFFFFFFF).item() }), "nested deeper than 64"},
		{"nested 20,000 deep, defined lengths", il, nestedDefined(20000), "nested deeper than 64"},
		{"nested 20,000 deep in UN", le, append(explicitLE().head(0x00091001, "UN", 0xFFFFFFFF).b, many(implicitLE(), 20000, func(e *encoder) { e.item().head(0x00091001, "", 0xFFFFFFFF) })...), "nested deeper than 64"},
		{"item longer than its sequence", le, explicitLE().head(0x00081140, "SQ", 16).head(tag.Item, "", 64).raw(make([]byte, 64)...).b, "more than what holds it"},
		{"element longer than its item", le, explicitLE().head(0x00081140, "SQ", 0xFFFFFFFF).head(tag.Item, "", 10).el(0x00081150, "UI", "1.2.3.4").b, "more than what holds it"},
		{"element where an item belongs", le, explicitLE().head(0x00081140, "SQ", 0xFFFFFFFF).el(0x00081150, "UI", "1").b, "where an item of a sequence is expected"},
		{"delimitation at the top", le, explicitLE().endSequence().b, "where none is expected"},
		{"item at the top", le, explicitLE().item().b, "where none is expected"},
		{"group length that lies", le, explicitLE().head(0x00080000, "UL", 4).raw(0xFF, 0xFF, 0xFF, 0xFF).el(tag.Modality, "CS", "CT").b, ""},
		{"tags out of order and twice", le, explicitLE().el(tag.PatientID, "LO", "a").el(tag.Modality, "CS", "CT").el(tag.PatientID, "LO", "b").b, ""},
		{"groups 0000 and 0002", le, explicitLE().el(0x00000002, "UI", "1").el(0x00020010, "UI", "1.2").el(tag.Modality, "CS", "CT").b, ""},
		{"odd lengths", le, explicitLE().head(tag.PatientID, "LO", 3).raw([]byte("abc")...).head(tag.Rows, "US", 1).raw(7).b, ""},
		{"wrong VRs", le, explicitLE().el(tag.Rows, "LO", "512").el(tag.PatientID, "US", "abc").el(0x00081140, "CS", "x").b, ""},
		{"explicit in implicit", il, wellFormed(explicitLE()), ""},
		{"implicit in explicit", le, wellFormed(implicitLE()), ""},
		{"no letters in one VR", le, explicitLE().el(tag.Modality, "CS", "CT").raw(0x10, 0, 0x20, 0, 2, 0, 0, 0, 'a', 'b').b, ""},
		{"big endian named little", le, wellFormed(explicitBE()), "bytes are left"},
		{"big endian", be, wellFormed(explicitBE()), ""},
		{"trailing garbage", le, append(wellFormed(explicitLE()), 1, 2, 3), "ends inside an element"},
		{"smallest elements", il, many(implicitLE(), 100000, func(e *encoder) { e.head(0x00091001, "", 0) }), ""},
		{"smallest sequences", il, many(implicitLE(), 100000, func(e *encoder) { e.head(0x00081140, "", 0) }), ""},
		{"smallest items", il, append(implicitLE().head(0x00081140, "", 800000).b, many(implicitLE(), 100000, func(e *encoder) { e.head(tag.Item, "", 0) })...), ""},
		{"items with one smallest element", il, append(implicitLE().head(0x00081140, "", 0xFFFFFFFF).b, append(many(implicitLE(), 50000, func(e *encoder) { e.head(tag.Item, "", 8).head(0x00081150, "", 0) }), implicitLE().endSequence().b...)...), ""},
		{"sequences with one smallest item", il, many(implicitLE(), 50000, func(e *encoder) { e.head(0x00081140, "", 8).head(tag.Item, "", 0) }), ""},
		{"smallest fragments", le, append(explicitLE().head(tag.PixelData, "OB", 0xFFFFFFFF).b, append(many(explicitLE(), 100000, func(e *encoder) { e.head(tag.Item, "", 0) }), explicitLE().endSequence().b...)...), ""},
		{"deflate bomb", uid.DeflatedExplicitVRLittleEndian, deflated(append(explicitLE().head(0x00111001, "OB", 16<<20).b, make([]byte, 16<<20)...)), "inflates beyond the limit"},
		{"not deflated", uid.DeflatedExplicitVRLittleEndian, wellFormed(explicitLE()), "cannot be inflated"},
	}
	for i, set := range []string{"ISO 2022 IR 87", "ISO 2022 IR 149", "GB18030", "ISO_IR 192", "ISO_IR 13", "<script>", "\x1b$B\x1b\x1b"} {
		list = append(list, hostile{fmt.Sprintf("charset that lies %d", i), le, explicitLE().el(tag.SpecificCharacterSet, "CS", set+"\\ISO 2022 IR 159").
			el(tag.PatientName, "PN", "\x1b$B\xff\xfe\x1b$(D\x1b\x81\x5c^=\\\u202e</script>|^~\\&\x00\r").el(tag.PatientComments, "LT", strings.Repeat("\x1b$)C\xc8", 1000)).b, ""})
	}
	return list
}

// nestedDefined nests sequences whose lengths are right.
func nestedDefined(depth int) []byte {
	b := make([]byte, 16*depth)
	for i := range depth {
		inner := uint32(16 * (depth - i))
		at := b[16*i:]
		binary.LittleEndian.PutUint32(at, 0x11400008)
		binary.LittleEndian.PutUint32(at[4:], inner-8)
		binary.LittleEndian.PutUint32(at[8:], 0xE000FFFE)
		binary.LittleEndian.PutUint32(at[12:], inner-16)
	}
	return b
}

// A data set made to hurt is refused in words or read, and costs no more memory than
// 8 times what came and 1 MiB; also where everything in it is looked into, and by
// the visitor, from a file, and in a file.
func TestHostileDatasets(t *testing.T) {
	for _, h := range hostileDatasets() {
		t.Run(h.name, func(t *testing.T) {
			limit := uint64(8*len(h.b) + 1<<20)
			var d *Dataset
			var err error
			if used := allocated(func() { d, err = Read(bytes.NewReader(h.b), h.ts, Limits{}) }); used > limit {
				t.Errorf("%d bytes allocated to read %d", used, len(h.b))
			}
			checkProblem(t, h.problem, err)
			if d == nil {
				t.Fatal("no data set beside the error")
			}
			d, _ = Parse(h.b, h.ts, Limits{})
			if used := allocated(func() { lookInto(d) }); used > limit {
				t.Errorf("%d bytes allocated to look into %d", used, len(h.b))
			}
			if used := allocated(func() { err = Walk(bytes.NewReader(h.b), h.ts, Limits{}, func(*Node) error { return nil }) }); used > 1<<20 {
				t.Errorf("%d bytes allocated to walk over %d", used, len(h.b))
			}
			checkProblem(t, h.problem, err)
			// Written back as it came.
			var out bytes.Buffer
			if err := d.Write(&out, h.ts); err != nil || h.ts != uid.DeflatedExplicitVRLittleEndian && !bytes.Equal(out.Bytes(), h.b) {
				t.Errorf("%d bytes are written of %d: %v", out.Len(), len(h.b), err)
			}
			for _, ts := range []string{uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian} {
				d.Encode(ts)
			}
			d.MarshalJSON()
		})
	}
}

// lookInto looks into every item.
func lookInto(d *Dataset) {
	for e := range d.All() {
		for _, item := range e.Items() {
			lookInto(item)
		}
	}
}

func checkProblem(t *testing.T, problem string, err error) {
	t.Helper()
	if problem == "" && err != nil || problem != "" && (err == nil || !strings.Contains(err.Error(), problem)) {
		t.Errorf("%v, want %q", err, problem)
	}
	var f *FormatError
	if err != nil && !errors.As(err, &f) {
		t.Errorf("%v is no FormatError", err)
	}
}

// A file that is cut anywhere is an error or a shorter file, never a panic, and what
// was read of it is written back as it came.
func TestFileCutAnywhere(t *testing.T) {
	whole := part10(t, wellFormed(explicitLE()))
	for n := range whole {
		b := whole[:n]
		f, err := ReadFile(bytes.NewReader(b), Limits{})
		if f == nil {
			continue
		}
		var out bytes.Buffer
		if werr := f.Write(&out); werr != nil || !bytes.Equal(out.Bytes(), b) {
			t.Fatalf("cut at %d: %v, %v", n, err, werr)
		}
		if g, gerr := OpenFile(bytes.NewReader(b), int64(n), Limits{Held: 8}); (gerr == nil) != (err == nil) || g == nil {
			t.Errorf("cut at %d: %v when opened, %v when read", n, gerr, err)
		}
		werr := WalkFile(bytes.NewReader(b), Limits{}, func(*Node) error { return nil })
		if (werr == nil) != (err == nil) {
			t.Errorf("cut at %d: %v when walked, %v when read", n, werr, err)
		}
	}
}

func part10(t testing.TB, data []byte) []byte {
	var b bytes.Buffer
	if err := WritePart10Header(&b, uid.CTImageStorage, "1.2.3", uid.ExplicitVRLittleEndian); err != nil {
		t.Fatal(err)
	}
	return append(b.Bytes(), data...)
}

// A preamble is carried and never looked at: MZ, ELF and TIFF are the reader's.
func TestPreambleIsCarried(t *testing.T) {
	b := part10(t, wellFormed(explicitLE()))
	copy(b, "MZ\x90\x00 a program")
	f, err := ReadFile(bytes.NewReader(b), Limits{})
	if err != nil || string(f.Preamble[:2]) != "MZ" {
		t.Errorf("%q, %v", f.Preamble[:2], err)
	}
	f.Preamble = [128]byte{}
	var out bytes.Buffer
	if err := f.Write(&out); err != nil || !bytes.Equal(out.Bytes()[128:], b[128:]) || bytes.Contains(out.Bytes(), []byte("MZ")) {
		t.Error("the preamble cannot be taken away")
	}
}

func TestWhatIsNoDICOM(t *testing.T) {
	for _, b := range []string{"", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", strings.Repeat("x", 200), "\x7fELF", "PK\x03\x04", "%PDF-1.7", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"} {
		if f, err := ReadFile(strings.NewReader(b), Limits{}); !errors.Is(err, ErrNotDICOM) || f != nil {
			t.Errorf("%.10q: %v", b, err)
		}
		if _, err := OpenFile(strings.NewReader(b), int64(len(b)), Limits{Held: 1}); !errors.Is(err, ErrNotDICOM) {
			t.Errorf("%.10q: %v", b, err)
		}
		if err := WalkFile(strings.NewReader(b), Limits{}, func(*Node) error { return nil }); !errors.Is(err, ErrNotDICOM) {
			t.Errorf("%.10q: %v", b, err)
		}
	}
}

func TestLimitsAreArguments(t *testing.T) {
	b := wellFormed(explicitLE())
	for _, l := range []Limits{{Depth: 1}, {Total: 100}, {Element: 5}} {
		if _, err := Read(bytes.NewReader(b), uid.ExplicitVRLittleEndian, l); !errors.Is(err, ErrLimit) {
			t.Errorf("%+v: %v", l, err)
		}
	}
	if _, err := Parse(nested(100), uid.ExplicitVRLittleEndian, Limits{Depth: 100}); err != nil {
		t.Error(err)
	}
	z := deflated(append(explicitLE().head(0x00111001, "OB", 4<<20).b, make([]byte, 4<<20)...))
	if _, err := Parse(z, uid.DeflatedExplicitVRLittleEndian, Limits{}); !errors.Is(err, ErrLimit) {
		t.Error(err)
	}
	if _, err := Parse(z, uid.DeflatedExplicitVRLittleEndian, Limits{Inflate: 2000}); err != nil {
		t.Error(err)
	}
}

// A reader that fails is no end of a data set.
func TestReadErrorsAreHandedOn(t *testing.T) {
	own := errors.New("own")
	b := wellFormed(explicitLE())
	broken := func() io.Reader {
		return io.MultiReader(bytes.NewReader(b[:100]), errReader{own})
	}
	if _, err := Read(broken(), uid.ExplicitVRLittleEndian, Limits{}); !errors.Is(err, own) {
		t.Error(err)
	}
	if err := Walk(broken(), uid.ExplicitVRLittleEndian, Limits{}, func(*Node) error { return nil }); !errors.Is(err, own) {
		t.Error(err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// Bytes changed at random are refused or read, and are written as they came.
func TestMutatedDatasets(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, e := range []struct {
		ts string
		b  []byte
	}{{uid.ExplicitVRLittleEndian, wellFormed(explicitLE())}, {uid.ImplicitVRLittleEndian, wellFormed(implicitLE())}, {uid.ExplicitVRBigEndian, wellFormed(explicitBE())}} {
		for range 1000 {
			b := bytes.Clone(e.b)
			for range 1 + random.IntN(4) {
				b[random.IntN(len(b))] = byte(random.Uint32())
			}
			checkDataset(t, b, e.ts)
		}
	}
}

// checkDataset holds the properties of every data set, good or bad.
func checkDataset(t *testing.T, b []byte, ts string) {
	t.Helper()
	d, err := Parse(b, ts, Limits{})
	if d == nil {
		t.Fatal(err)
	}
	elements := visitItems(d)
	if elements > len(b)/8 && !deflates(ts) {
		t.Fatalf("%d elements in %d bytes", elements, len(b))
	}
	var out bytes.Buffer
	if err := d.Write(&out, ts); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), b) {
		t.Fatalf("% x became % x", b, out.Bytes())
	}
	werr := Walk(bytes.NewReader(b), ts, Limits{}, func(*Node) error { return nil })
	if (err == nil) != (werr == nil) {
		t.Fatalf("%v when read, %v when walked", err, werr)
	}
	if err != nil {
		return
	}
	for _, other := range []string{uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian} {
		converted, err := d.Encode(other)
		if err != nil || other == uid.ImplicitVRLittleEndian && contradicts(d) {
			continue
		}
		if again, err := Parse(converted, other, Limits{}); err != nil && !strings.Contains(err.Error(), "nested") {
			t.Fatalf("in %s: %v\n% x\nwas\n% x", uid.Name(other), err, converted, b)
		} else if err == nil && again.Len() != d.Len() {
			t.Fatalf("in %s: %d elements of %d\n% x\nwas\n% x", uid.Name(other), again.Len(), d.Len(), converted, b)
		}
	}
	if _, err := d.MarshalJSON(); err != nil {
		t.Fatal(err)
	}
}

// contradicts reports whether a VR is another one than the dictionary has, which
// implicit VRs cannot say: a sequence may become none.
func contradicts(d *Dataset) bool {
	for e := range d.All() {
		if vr := d.vrOf(e.Tag); (vr == SQ) != (e.VR == SQ) || e.Written() == UN {
			return true
		}
		for _, item := range e.Items() {
			if contradicts(item) {
				return true
			}
		}
	}
	return false
}

// FuzzDataset: no panic; what was read is written byte-exact, converted, and walked
// over to the same end.
func FuzzDataset(f *testing.F) {
	f.Add(byte(0), wellFormed(explicitLE()))
	f.Add(byte(1), wellFormed(implicitLE()))
	f.Add(byte(2), wellFormed(explicitBE()))
	f.Add(byte(3), deflated(wellFormed(explicitLE())))
	for _, h := range hostileDatasets() {
		if len(h.b) < 4096 {
			f.Add(byte(0), h.b)
		}
	}
	syntaxes := []string{uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian}
	f.Fuzz(func(t *testing.T, ts byte, b []byte) {
		checkDataset(t, b, syntaxes[int(ts)%len(syntaxes)])
	})
}

// FuzzFile: no panic; what was read is written byte-exact, also when opened.
func FuzzFile(f *testing.F) {
	f.Add(part10(f, wellFormed(explicitLE())))
	f.Add(wellFormed(explicitLE()))
	f.Add(wellFormed(explicitBE()))
	f.Add(wellFormed(implicitLE()))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := ReadFile(bytes.NewReader(b), Limits{})
		opened, oerr := OpenFile(bytes.NewReader(b), int64(len(b)), Limits{Held: 16})
		if (err == nil) != (oerr == nil) {
			t.Fatalf("%v when read, %v when opened", err, oerr)
		}
		for _, x := range []*File{file, opened} {
			if x == nil {
				continue
			}
			var out bytes.Buffer
			if err := x.Write(&out); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out.Bytes(), b) {
				t.Fatalf("% x became % x", b, out.Bytes())
			}
		}
	})
}
