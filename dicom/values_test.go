package dicom

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// Every VR is set and read by its accessor, in every encoding.
func TestEveryVRBothWays(t *testing.T) {
	type value struct {
		vr     VR
		texts  []string
		ints   []int64
		floats []float64
		bytes  string
	}
	values := []value{
		{vr: AE, texts: []string{"STORE", "FIND"}}, {vr: AS, texts: []string{"018M"}}, {vr: CS, texts: []string{"A", "B"}},
		{vr: DA, texts: []string{"20260102"}}, {vr: DT, texts: []string{"20260102101112.5+0700"}}, {vr: TM, texts: []string{"1011"}},
		{vr: DS, texts: []string{"-1.5E3", "2"}, floats: []float64{-1500, 2}}, {vr: IS, texts: []string{"-7", "+8"}, ints: []int64{-7, 8}, floats: []float64{-7, 8}},
		{vr: LO, texts: []string{"a", "", "ế"}}, {vr: LT, texts: []string{" a\\b\r\n c"}}, {vr: PN, texts: []string{"A^B=C", "D"}}, {vr: SH, texts: []string{"x"}},
		{vr: ST, texts: []string{"s"}}, {vr: UC, texts: []string{"u", "v"}}, {vr: UI, texts: []string{"1.2", "1.3"}}, {vr: UR, texts: []string{"http://a/b?c"}}, {vr: UT, texts: []string{"long"}},
		{vr: AT, texts: []string{"00100020", "7FE00010"}, ints: []int64{0x00100020, 0x7FE00010}},
		{vr: US, ints: []int64{0, 65535}}, {vr: SS, ints: []int64{-32768, 32767}}, {vr: UL, ints: []int64{1 << 31}}, {vr: SL, ints: []int64{-1 << 31}},
		{vr: UV, ints: []int64{1 << 62}}, {vr: SV, ints: []int64{-1 << 62}},
		{vr: FL, floats: []float64{0.5, -2}}, {vr: FD, floats: []float64{math.Pi, math.Inf(-1)}},
		{vr: OB, bytes: "\x01\x02"}, {vr: OD, bytes: "\x00\x00\x00\x00\x00\x00\xf0\x3f", floats: []float64{1}}, {vr: OF, bytes: "\x00\x00\x80\x3f", floats: []float64{1}},
		{vr: OL, bytes: "\x01\x00\x00\x00", ints: []int64{1}}, {vr: OV, bytes: "\x01\x00\x00\x00\x00\x00\x00\x00", ints: []int64{1}}, {vr: OW, bytes: "\x01\x00\x02\x00", ints: []int64{1, 2}}, {vr: UN, bytes: "\x03\x04"},
	}
	d := NewDataset()
	if err := d.SetText(tag.SpecificCharacterSet, "ISO_IR 192"); err != nil {
		t.Fatal(err)
	}
	for i, v := range values {
		at := tag.New(0x0011, 0x1000+uint16(i))
		var err error
		switch {
		case v.texts != nil:
			err = d.SetTextAs(at, v.vr, v.texts...)
		case v.bytes != "":
			err = d.SetBytes(at, v.vr, []byte(v.bytes))
		case v.ints != nil:
			err = d.SetIntAs(at, v.vr, v.ints...)
		default:
			err = d.SetFloatAs(at, v.vr, v.floats...)
		}
		if err != nil {
			t.Fatalf("%v: %v", v.vr, err)
		}
	}
	for _, ts := range []string{uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian} {
		got := mustRead(t, d, ts)
		for i, v := range values {
			e, ok := got.Find(tag.New(0x0011, 0x1000+uint16(i)))
			if !ok || e.VR != v.vr {
				t.Errorf("%v is %v", v.vr, e.VR)
			}
			if v.texts != nil && !slices.Equal(e.Texts(), v.texts) || v.ints != nil && !slices.Equal(e.Ints(), v.ints) || v.floats != nil && !slices.Equal(e.Floats(), v.floats) {
				t.Errorf("%s, %v: %q %v %v, want %q %v %v", uid.Name(ts), v.vr, e.Texts(), e.Ints(), e.Floats(), v.texts, v.ints, v.floats)
			}
			if v.bytes != "" && ts == uid.ExplicitVRLittleEndian && string(e.Bytes()) != v.bytes {
				t.Errorf("%v: % x", v.vr, e.Bytes())
			}
			if e.Len()%2 != 0 {
				t.Errorf("%v has an odd length of %d", v.vr, e.Len())
			}
		}
	}
}

func TestValuesThatAVRDoesNotHold(t *testing.T) {
	d := NewDataset()
	for name, err := range map[string]error{
		"US":               d.SetInt(tag.Rows, 65536),
		"SS":               d.SetIntAs(0x00111001, SS, 40000),
		"IS":               d.SetInt(tag.InstanceNumber, 1<<31),
		"NaN in DS":        d.SetFloat(tag.PixelSpacing, math.NaN()),
		"text in US":       d.SetText(tag.Rows, "many"),
		"text in OW":       d.SetText(tag.PixelData, "x"),
		"number in LO":     d.SetInt(tag.PatientID, 1),
		"float in US":      d.SetFloat(tag.Rows, 1),
		"backslash":        d.SetText(tag.PatientID, `a\b`),
		"two in LT":        d.SetText(tag.PatientComments, "a", "b"),
		"no ASCII in CS":   d.SetText(tag.Modality, "CÉ"),
		"newline in UI":    d.SetText(tag.SOPInstanceUID, "1.2\n"),
		"beyond 6":         d.SetText(tag.PatientName, "Nguyễn"),
		"too long":         d.SetText(tag.PatientID, strings.Repeat("x", 65536)),
		"unknown private":  d.SetText(0x00111001, "x"),
		"items in LO":      d.SetItems(tag.PatientID, NewDataset()),
		"bytes in SQ":      d.SetBytes(tag.ReferencedStudySequence, SQ, nil),
		"an item":          d.SetBytes(tag.Item, OB, nil),
		"no VR":            d.SetBytes(tag.PatientID, 0, nil),
		"itself":           d.SetItems(tag.ReferencedStudySequence, d),
		"no private group": func() error { _, err := d.MakePrivate(0x0010, "X", 1); return err }(),
	} {
		if err == nil {
			t.Errorf("%s is held", name)
		}
	}
	if d.Len() != 0 {
		t.Errorf("%d elements", d.Len())
	}
}

func TestDecimalStringsHave16Characters(t *testing.T) {
	for _, f := range []float64{math.Pi, -math.Pi, 1e100 / 3, -1e-300 / 3, 123456789012345678, 0.1, -0, 1e16} {
		d := NewDataset()
		if err := d.SetFloat(tag.PatientWeight, f); err != nil {
			t.Fatal(err)
		}
		s := d.Text(tag.PatientWeight)
		got, ok := d.Float(tag.PatientWeight)
		if len(s) > 16 || !ok || math.Abs(got-f) > math.Abs(f)*1e-8 {
			t.Errorf("%v is %q", f, s)
		}
	}
}

// An edit changes the element it is about, the group length of its group, the lengths
// of what holds it, and nothing else.
func TestAnEditChangesNothingElse(t *testing.T) {
	e := explicitLE().head(0x00080000, "UL", 4).raw(0xFF, 0, 0, 0) // a lie
	e.el(tag.Modality, "CS", "CT").head(tag.StudyDescription, "LO", 3).raw('o', 'd', 'd')
	e.head(0x00081140, "SQ", 0xFFFFFFFF).item().el(tag.ReferencedSOPInstanceUID, "UI", "1.2").endItem()
	inner := explicitLE().head(0x00090000, "UL", 4).raw(1, 0, 0, 0).el(0x00090010, "LO", "MINE")
	e.head(tag.Item, "", uint32(len(inner.b))).raw(inner.b...)
	e.endSequence()
	group10 := explicitLE().el(tag.PatientID, "LO", "P-1")
	e.head(0x00100000, "UL", 4).raw(byte(len(group10.b)), 0, 0, 0).raw(group10.b...)
	e.raw(0x11, 0, 1, 0x10, 'X', 'X', 0, 0, 2, 0, 0, 0, 'a', 'b') // a VR to come, with a 32-bit length

	d, err := Parse(bytes.Clone(e.b), uid.ExplicitVRLittleEndian, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.SetText(tag.PatientID, "P-12345"); err != nil {
		t.Fatal(err)
	}
	got, err := d.Encode(uid.ExplicitVRLittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Replace(e.b, group10.b, explicitLE().el(tag.PatientID, "LO", "P-12345").b, 1)
	want = bytes.Replace(want, explicitLE().head(0x00100000, "UL", 4).raw(byte(len(group10.b))).b, explicitLE().head(0x00100000, "UL", 4).raw(byte(len(group10.b)+4)).b, 1)
	if !bytes.Equal(got, want) {
		t.Errorf("% x\nwant\n% x", got, want)
	}

	// In an item: its own group length, and that of the group of the sequence.
	d, _ = Parse(bytes.Clone(e.b), uid.ExplicitVRLittleEndian, Limits{})
	item, at, err := d.Follow("ReferencedImageSequence[1].(0009,0010)")
	if err != nil {
		t.Fatal(err)
	}
	if err := item.SetTextAs(at, LO, "YOURS!"); err != nil {
		t.Fatal(err)
	}
	got, err = d.Encode(uid.ExplicitVRLittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	back, err := Parse(got, uid.ExplicitVRLittleEndian, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	items := back.Items(tag.ReferencedImageSequence)
	n, _ := items[1].Int(0x00090000)
	if items[1].Text(0x00090010) != "YOURS!" || n != 14 || !bytes.Contains(got, []byte("odd\x08")) || !bytes.Contains(got, e.b[len(e.b)-14:]) {
		t.Errorf("%v % x", n, got)
	}
	if n, _ := back.Int(0x00100000); n != int64(len(group10.b)) {
		t.Errorf("the group length of another group became %d", n)
	}
}

func TestPaths(t *testing.T) {
	d := NewDataset()
	item, at, err := d.Make("ScheduledProcedureStepSequence[0].(0040,0008)[0].CodeValue")
	if err != nil {
		t.Fatal(err)
	}
	if err := item.SetText(at, "T-1"); err != nil {
		t.Fatal(err)
	}
	if item, at, err = d.Make("(0040,0100)[1].00400001"); err != nil {
		t.Fatal(err)
	}
	if err := item.SetText(at, "CT1"); err != nil {
		t.Fatal(err)
	}
	got := mustRead(t, d, uid.ImplicitVRLittleEndian)
	for path, want := range map[string]string{
		"(0040,0100)[0].ScheduledProtocolCodeSequence[0].(0008,0100)": "T-1",
		"ScheduledProcedureStepSequence[1].ScheduledStationAETitle":   "CT1",
	} {
		if item, at, err := got.Follow(path); err != nil || item.Text(at) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, path := range []string{"", "Nothing", "(0040,0100)[0]", "(0040,0100).(0040,0001)", "(0040,0100)[2].(0040,0001)", "(0040,0100)[-1].(0040,0001)", "(0040,0100[0].(0040,0001)", "(0040,0100)[x].(0040,0001)", "(0010,0020)[0].(0010,0010)", "(0040,0100)[99999999999999].(0040,0001)"} {
		if _, _, err := got.Follow(path); err == nil {
			t.Errorf("%q leads somewhere", path)
		}
	}
	if _, _, err := got.Make("(0040,0100)[7].(0040,0001)"); err == nil {
		t.Error("item 7 of 2 is made")
	}
	if _, _, err := got.Make("PatientID[0].(0040,0001)"); err == nil {
		t.Error("an item in a text is made")
	}
}

func TestPrivateBlocks(t *testing.T) {
	d := NewDataset()
	if err := d.SetTextAs(0x00090010, LO, "SOMEBODY"); err != nil {
		t.Fatal(err)
	}
	at, err := d.MakePrivate(0x0009, "GEMS_IDEN_01", 0x02)
	if err != nil || at != 0x00091102 {
		t.Fatalf("%v, %v", at, err)
	}
	if err := d.SetText(at, "CT01"); err != nil { // SH by the private dictionary
		t.Fatal(err)
	}
	got := mustRead(t, d, uid.ImplicitVRLittleEndian)
	again, ok := got.Private(0x0009, "GEMS_IDEN_01", 0x02)
	e, _ := got.Find(again)
	if !ok || again != at || e.VR != SH || e.Text() != "CT01" {
		t.Errorf("%v %v %q", again, e.VR, e.Text())
	}
	if _, ok := got.Private(0x0009, "NOBODY", 1); ok {
		t.Error("NOBODY has a block")
	}
}

func TestPersonNames(t *testing.T) {
	for s, want := range map[string]PersonName{
		"Nguyễn^Văn A^^BS^Jr":        {Alphabetic: NameGroup{"Nguyễn", "Văn A", "", "BS", "Jr"}},
		"Yamada^Tarou=山田^太郎=やまだ^たろう": {NameGroup{Family: "Yamada", Given: "Tarou"}, NameGroup{Family: "山田", Given: "太郎"}, NameGroup{Family: "やまだ", Given: "たろう"}},
		"=山田":                   {Ideographic: NameGroup{Family: "山田"}},
		"":                      {},
		"A^B^C^D^E^F=1^2=x=y=z": {NameGroup{"A", "B", "C", "D", "E"}, NameGroup{Family: "1", Given: "2"}, NameGroup{Family: "x"}},
		" A ^ B ":               {Alphabetic: NameGroup{Family: "A", Given: "B"}},
	} {
		if diff := cmp.Diff(want, ParseName(s)); diff != "" {
			t.Errorf("%q: %s", s, diff)
		}
	}
	for s, want := range map[string]string{"A^B^^^": "A^B", "A==": "A", "=B": "=B", "^^^^": "", "A^^^D": "A^^^D"} {
		if got := ParseName(s).String(); got != want {
			t.Errorf("%q is written %q, want %q", s, got, want)
		}
	}
	d := NewDataset()
	if err := d.SetText(tag.OtherPatientNames, "A^B", "C"); err != nil {
		t.Fatal(err)
	}
	if e, _ := d.Find(tag.OtherPatientNames); len(e.Names()) != 2 || e.Names()[1].Alphabetic.Family != "C" || d.Name(tag.OtherPatientNames).Alphabetic.Given != "B" {
		t.Errorf("%+v", e.Names())
	}
}

func TestDatesAndTimes(t *testing.T) {
	hanoi := time.FixedZone("", 7*3600)
	for _, c := range []struct {
		vr        VR
		s         string
		from, end string // RFC 3339; empty: an error
		written   string
	}{
		{DA, "20260102", "2026-01-02T00:00:00+07:00", "2026-01-03T00:00:00+07:00", "20260102"},
		{DA, "2026.01.02", "2026-01-02T00:00:00+07:00", "2026-01-03T00:00:00+07:00", "20260102"},
		{DA, "202601", "", "", ""}, {DA, "20261302", "", "", ""}, {DA, "20260230", "", "", ""}, {DA, "2026010x", "", "", ""}, {DA, "", "", "", ""},
		{TM, "10", "0001-01-01T10:00:00Z", "0001-01-01T11:00:00Z", "10"},
		{TM, "1011", "0001-01-01T10:11:00Z", "0001-01-01T10:12:00Z", "1011"},
		{TM, "101112", "0001-01-01T10:11:12Z", "0001-01-01T10:11:13Z", "101112"},
		{TM, "10:11:12", "0001-01-01T10:11:12Z", "0001-01-01T10:11:13Z", "101112"},
		{TM, "101112.25", "0001-01-01T10:11:12.25Z", "0001-01-01T10:11:12.26Z", "101112.25"},
		{TM, "101160", "0001-01-01T10:11:59Z", "0001-01-01T10:12:00Z", "101159"},
		{TM, "24", "", "", ""}, {TM, "1", "", "", ""}, {TM, "101112.", "", "", ""}, {TM, "101112.1234567", "", "", ""}, {TM, "1011.5", "", "", ""}, {TM, "", "", "", ""},
		{DT, "2026", "2026-01-01T00:00:00+07:00", "2027-01-01T00:00:00+07:00", "2026"},
		{DT, "202602", "2026-02-01T00:00:00+07:00", "2026-03-01T00:00:00+07:00", "202602"},
		{DT, "20260102101112.5+0100", "2026-01-02T10:11:12.5+01:00", "2026-01-02T10:11:12.6+01:00", "20260102101112.5+0100"},
		{DT, "2026010210-0330", "2026-01-02T10:00:00-03:30", "2026-01-02T11:00:00-03:30", "2026010210-0330"},
		{DT, "20260102+9900", "", "", ""}, {DT, "20260102+1", "", "", ""}, {DT, "now", "", "", ""},
	} {
		d := NewDataset()
		if err := d.SetTextAs(0x00111001, c.vr, c.s); err != nil {
			t.Fatal(err)
		}
		e, _ := d.Find(0x00111001)
		list, err := e.DateTimes(hanoi)
		if c.s == "" && len(list) == 0 {
			continue
		}
		if c.from == "" {
			if err == nil {
				t.Errorf("%v %q is %v", c.vr, c.s, list)
			} else if c.s != "" && strings.Contains(err.Error(), c.s) {
				t.Errorf("the error holds the value: %v", err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%v %q: %v", c.vr, c.s, err)
			continue
		}
		if from, end := list[0].Time.Format(time.RFC3339Nano), list[0].End().Format(time.RFC3339Nano); from != c.from || end != c.end || list[0].String() != c.written {
			t.Errorf("%v %q: %s to %s, %q", c.vr, c.s, from, end, list[0])
		}
	}
	day, _ := ParseDA("20260102", hanoi)
	tm, _ := ParseTM("1011")
	if got := day.Joined(tm); got.Time.Format(time.RFC3339) != "2026-01-02T10:11:00+07:00" || got.Precision != Minute {
		t.Errorf("%+v", got)
	}
}

func TestRanges(t *testing.T) {
	at := func(s string) time.Time {
		when, err := time.Parse("2006-01-02 15:04:05", s)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	for _, c := range []struct {
		vr      VR
		s       string
		in, out []string
	}{
		{DA, "20260102", []string{"2026-01-02 00:00:00", "2026-01-02 23:59:59"}, []string{"2026-01-01 23:59:59", "2026-01-03 00:00:00"}},
		{DA, "20260102-20260104", []string{"2026-01-02 00:00:00", "2026-01-04 23:59:59"}, []string{"2026-01-01 23:59:59", "2026-01-05 00:00:00"}},
		{DA, "20260102-", []string{"2026-01-02 00:00:00", "2099-01-01 00:00:00"}, []string{"2026-01-01 23:59:59"}},
		{DA, "-20260104", []string{"1990-01-01 00:00:00", "2026-01-04 23:59:59"}, []string{"2026-01-05 00:00:00"}},
		{DA, "20260102 - 20260104", []string{"2026-01-03 00:00:00"}, []string{"2026-01-05 00:00:00"}},
		{TM, "10-1230", []string{"0001-01-01 10:00:00", "0001-01-01 12:30:59"}, []string{"0001-01-01 09:59:59", "0001-01-01 12:31:00"}},
		{DT, "20260102+0000-20260103+0000", []string{"2026-01-03 23:00:00"}, []string{"2026-01-04 00:00:00"}},
		{DT, "2026010210-0100-", []string{"2026-01-02 11:00:00"}, []string{"2026-01-02 10:59:59"}},
		{DT, "2026-2027", []string{"2027-12-31 00:00:00"}, []string{"2028-01-01 00:00:00", "2025-12-31 00:00:00"}},
	} {
		r, err := ParseRange(c.vr, c.s, time.UTC)
		if err != nil {
			t.Errorf("%q: %v", c.s, err)
			continue
		}
		for _, s := range c.in {
			if !r.Contains(at(s)) {
				t.Errorf("%q does not contain %s", c.s, s)
			}
		}
		for _, s := range c.out {
			if r.Contains(at(s)) {
				t.Errorf("%q contains %s", c.s, s)
			}
		}
	}
	for _, s := range []string{"", "-", "2026", "x-y", "20260102-x", "20260102-20260103-20260104"} {
		if r, err := ParseRange(DA, s, time.UTC); err == nil {
			t.Errorf("%q is %+v", s, r)
		}
	}
	if _, err := ParseRange(LO, "20260102", time.UTC); err == nil {
		t.Error("LO has ranges")
	}
}

func TestAges(t *testing.T) {
	if n, unit, err := ParseAS("018M"); n != 18 || unit != 'M' || err != nil {
		t.Error(n, unit, err)
	}
	for _, s := range []string{"", "18M", "018X", "-18Y", "0018Y"} {
		if _, _, err := ParseAS(s); err == nil {
			t.Errorf("%q is an age", s)
		}
	}
}

func TestFramesAndOffsetTables(t *testing.T) {
	d := NewDataset()
	frames := [][]byte{[]byte("one"), []byte("four"), {}}
	if err := d.SetFrames(frames...); err != nil {
		t.Fatal(err)
	}
	b, err := d.Encode(uid.JPEGBaseline8Bit)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(b, uid.JPEGBaseline8Bit, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	opened, err := OpenFile(bytes.NewReader(part10(t, b)), int64(len(part10(t, b))), Limits{Held: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []*Dataset{d, got, opened.Dataset} {
		e, _ := d.Find(tag.PixelData)
		list := e.Fragments()
		if len(list) != 4 || string(e.Fragment(list[1])) != "one\x00" || string(e.Fragment(list[2])) != "four" || !slices.Equal(e.BasicOffsets(), []uint32{0, 12, 24}) {
			t.Errorf("%v, offsets %v", list, e.BasicOffsets())
		}
	}
	if _, err := got.Encode(uid.ImplicitVRLittleEndian); err == nil {
		t.Error("encapsulated pixel data are written with implicit VRs")
	}
	if err := got.SetBytes(tag.ExtendedOffsetTable, OV, make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	if offsets, _ := got.ExtendedOffsets(); offsets != nil {
		t.Error("a table without lengths counts")
	}
	got.SetBytes(tag.ExtendedOffsetTableLengths, OV, make([]byte, 16))
	if offsets, lengths := got.ExtendedOffsets(); len(offsets) != 2 || len(lengths) != 2 {
		t.Errorf("%v %v", offsets, lengths)
	}
}

// An item decodes by its own Specific Character Set, or by that around it.
func TestCharacterSetOfItems(t *testing.T) {
	d := NewDataset()
	own, inherits := NewDataset(), NewDataset()
	d.SetText(tag.SpecificCharacterSet, "ISO_IR 192")
	own.SetText(tag.SpecificCharacterSet, "ISO_IR 144")
	if err := d.SetItems(tag.ReferencedPatientSequence, own, inherits); err != nil {
		t.Fatal(err)
	}
	if err := own.SetText(tag.PatientName, "Иванов"); err != nil {
		t.Fatal(err)
	}
	if err := inherits.SetText(tag.PatientName, "Nguyễn"); err != nil {
		t.Fatal(err)
	}
	got := mustRead(t, d, uid.ExplicitVRLittleEndian)
	items := got.Items(tag.ReferencedPatientSequence)
	if items[0].Text(tag.PatientName) != "Иванов" || items[1].Text(tag.PatientName) != "Nguyễn" || len(items[0].Bytes(tag.PatientName)) != 6 {
		t.Errorf("%q %q", items[0].Text(tag.PatientName), items[1].Text(tag.PatientName))
	}
}

// A data set may be read by many at once, though its items are looked into late.
func TestReadersAtTheSameTime(t *testing.T) {
	d, err := Parse(wellFormed(explicitLE()), uid.ExplicitVRLittleEndian, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan int)
	for range 8 {
		go func() { done <- visitItems(d) }()
	}
	want := visitItems(d)
	for range 8 {
		if n := <-done; n != want {
			t.Errorf("%d elements, want %d", n, want)
		}
	}
}

func ExampleReadFile() {
	d := NewDataset()
	d.SetText(tag.SOPClassUID, uid.CTImageStorage)
	d.SetText(tag.SOPInstanceUID, "2.25.1")
	d.SetText(tag.PatientName, "Doe^Jane")
	d.SetInt(tag.Rows, 512)
	out, err := NewFile(d, uid.ExplicitVRLittleEndian)
	if err != nil {
		panic(err)
	}
	var file bytes.Buffer
	if err := out.Write(&file); err != nil {
		panic(err)
	}

	f, err := ReadFile(&file, Limits{})
	if err != nil {
		panic(err)
	}
	rows, _ := f.Int(tag.Rows)
	fmt.Println(uid.Name(f.TransferSyntax()), f.Name(tag.PatientName).Alphabetic.Given, rows)
	for e := range f.All() {
		fmt.Println(e.Tag, e.VR, e.Texts())
	}
	// Output:
	// Explicit VR Little Endian Jane 512
	// (0008,0016) SOPClassUID UI [1.2.840.10008.5.1.4.1.1.2]
	// (0008,0018) SOPInstanceUID UI [2.25.1]
	// (0010,0010) PatientName PN [Doe^Jane]
	// (0028,0010) Rows US [512]
}

func ExampleDataset_Follow() {
	d := NewDataset()
	item, t, err := d.Make("ScheduledProcedureStepSequence[0].ScheduledStationAETitle")
	if err != nil {
		panic(err)
	}
	if err := item.SetText(t, "CT1"); err != nil {
		panic(err)
	}
	item, t, err = d.Follow("(0040,0100)[0].(0040,0001)")
	fmt.Println(item.Text(t), err)
	// Output: CT1 <nil>
}

func ExampleDataset_MarshalJSON() {
	d := NewDataset()
	d.SetText(tag.SpecificCharacterSet, "ISO_IR 192")
	d.SetText(tag.PatientName, "Nguyễn^Văn A")
	d.SetFloat(tag.PixelSpacing, 0.5, 0.25)
	b, err := d.MarshalJSON()
	fmt.Println(string(b), err)
	// Output: {"00080005":{"vr":"CS","Value":["ISO_IR 192"]},"00100010":{"vr":"PN","Value":[{"Alphabetic":"Nguyễn^Văn A"}]},"00280030":{"vr":"DS","Value":[0.5,0.25]}} <nil>
}

// A visitor reads what it wants of a stream, and stops before the pixel data.
func ExampleWalkFile() {
	d := NewDataset()
	d.SetText(tag.SOPClassUID, uid.CTImageStorage)
	d.SetText(tag.SOPInstanceUID, "2.25.1")
	d.SetBytes(tag.PixelData, OW, make([]byte, 512*512*2))
	out, _ := NewFile(d, uid.ExplicitVRLittleEndian)
	var file bytes.Buffer
	out.Write(&file)

	err := WalkFile(&file, Limits{}, func(n *Node) error {
		switch {
		case n.Tag == tag.PixelData:
			return SkipAll
		case n.Tag == tag.SOPInstanceUID && n.Depth == 0:
			value, err := n.Value()
			fmt.Printf("%v at %d: %q\n", n.Tag, n.Offset, value)
			return err
		case n.Kind == ElementNode && n.VR == SQ:
			return SkipItems
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// (0008,0018) SOPInstanceUID at 342: "2.25.1"
	// <nil>
}
