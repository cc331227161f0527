package render

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"slices"
	"strings"
	"testing"

	"nhip/dicom"
	"nhip/dicom/pixel"
	"nhip/dicom/pixel/raster"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// A picture of one row, of 16 bits, of signed values.
func row(values ...int) *pixel.Frame {
	m := &raster.Image{Columns: len(values), Rows: 1, Samples: 1, BitsAllocated: 16, Precision: 16}
	for _, v := range values {
		m.Pix = append(m.Pix, byte(v), byte(v>>8))
	}
	return &pixel.Frame{Image: m, Photometric: "MONOCHROME2", BitsStored: 16, HighBit: 15, Signed: true}
}

// grey16 is the format of row.
var grey16 = pixel.Format{Photometric: "MONOCHROME2", Rows: 1, Columns: 4, Samples: 1, Frames: 4, BitsAllocated: 16, BitsStored: 16, HighBit: 15, Signed: true}

// display reads a data set of so many attributes.
func display(t testing.TB, k int, change func(d *dicom.Dataset)) *Display {
	t.Helper()
	d := dicom.NewDataset()
	must(t, d.SetInt(tag.PixelRepresentation, 1))
	change(d)
	p, err := New(d, grey16, k)
	must(t, err)
	return p
}

// shades renders a row.
func shades(t testing.TB, d *Display, o Options, values ...int) []uint8 {
	t.Helper()
	m, err := Image(row(values...), d, o)
	must(t, err)
	return m.(*image.Gray).Pix
}

func TestWindowFunctionsOfTheStandard(t *testing.T) {
	for _, c := range []struct {
		window Window
		x, y   float64
	}{
		// PS3.3 section C.11.2.1.2.1, the notes.
		{Window{Center: 2048, Width: 4096}, 0, 0},
		{Window{Center: 2048, Width: 4096}, 4095, 1},
		{Window{Center: 2048, Width: 1}, 2047, 0},
		{Window{Center: 2048, Width: 1}, 2048, 1},
		{Window{Center: 0, Width: 100}, -50, 0},
		{Window{Center: 0, Width: 100}, 49, 1},
		{Window{Center: 0, Width: 100}, -0.5, 0.5},
		{Window{Center: 0, Width: 1}, -1, 0},
		{Window{Center: 0, Width: 1}, 0, 1},
		// Section C.11.2.1.3.2.
		{Window{Center: 2048, Width: 4096, Function: LinearExact}, 0, 0},
		{Window{Center: 2048, Width: 4096, Function: LinearExact}, 4096, 1},
		{Window{Center: 2048, Width: 1, Function: LinearExact}, 2047.5, 0},
		{Window{Center: 2048, Width: 1, Function: LinearExact}, 2048, 0.5},
		{Window{Center: 0, Width: 0.5, Function: LinearExact}, 0.125, 0.75},
		// Section C.11.2.1.3.1.
		{Window{Center: 10, Width: 20, Function: Sigmoid}, 10, 0.5},
		{Window{Center: 10, Width: 20, Function: Sigmoid}, 20, 1 / (1 + math.Exp(-2))},
	} {
		if y := c.window.apply(c.x); math.Abs(y-c.y) > 1e-9 {
			t.Errorf("%+v of %v: %v, want %v", c.window, c.x, y, c.y)
		}
	}
}

func TestWindowsThatCannotBeAreProblems(t *testing.T) {
	d := display(t, 0, func(d *dicom.Dataset) {
		texts(t, d, map[tag.Tag]string{tag.WindowCenter: `10\20\30\40`, tag.WindowWidth: `0\-5\100`, tag.WindowCenterWidthExplanation: `A\B\BONE`, tag.RescaleSlope: "0"})
	})
	if len(d.Windows) != 1 || d.Windows[0].Explanation != "BONE" || d.Windows[0].Center != 30 || len(d.Problems) != 4 || d.Slope != 1 {
		t.Errorf("%+v", d)
	}
	for _, w := range []Window{{Width: math.NaN()}, {Width: math.Inf(1)}, {Width: 0.5}, {Center: math.NaN(), Width: 5}, {Function: Sigmoid}} {
		if _, err := Image(row(1), d, Options{Window: &w}); err == nil {
			t.Errorf("%+v is used", w)
		}
	}
}

func TestPaddingIsBlackAndNoPartOfTheWindow(t *testing.T) {
	for _, photometric := range []string{"MONOCHROME1", "MONOCHROME2"} {
		f := grey16
		f.Photometric = photometric
		set := dicom.NewDataset()
		must(t, set.SetInt(tag.PixelRepresentation, 1))
		must(t, set.SetInt(tag.PixelPaddingValue, -2000))
		must(t, set.SetInt(tag.PixelPaddingRangeLimit, -1500))
		d, err := New(set, f, 0)
		must(t, err)
		got := shades(t, d, Options{}, -2000, -1700, -1500, 0, 50, 100)
		want := []uint8{0, 0, 0, 0, 128, 255}
		if photometric == "MONOCHROME1" {
			want = []uint8{0, 0, 0, 255, 127, 0}
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %v", photometric, got)
		}
	}
	all := display(t, 0, func(d *dicom.Dataset) { must(t, d.SetInt(tag.PixelPaddingValue, 7)) })
	if got := shades(t, all, Options{}, 7, 7); !bytes.Equal(got, []uint8{0, 0}) {
		t.Errorf("nothing but padding: %v", got)
	}
}

func TestPresentationLUTShapeDecidesThePolarity(t *testing.T) {
	for shape, want := range map[string][]uint8{"": {0, 255}, "IDENTITY": {0, 255}, "INVERSE": {255, 0}} {
		d := display(t, 0, func(d *dicom.Dataset) {
			if shape != "" {
				must(t, d.SetText(tag.PresentationLUTShape, shape))
			}
		})
		if got := shades(t, d, Options{}, 0, 9); !bytes.Equal(got, want) {
			t.Errorf("%q: %v", shape, got)
		}
	}
}

// group is an item of functional groups with one macro of one item.
func group(t testing.TB, macro tag.Tag, values map[tag.Tag]string) *dicom.Dataset {
	item := dicom.NewDataset()
	texts(t, item, values)
	g := dicom.NewDataset()
	must(t, g.SetItems(macro, item))
	return g
}

func TestFunctionalGroupsOfAFrameGoBeforeSharedOnes(t *testing.T) {
	change := func(d *dicom.Dataset) {
		shared := group(t, tag.PixelValueTransformationSequence, map[tag.Tag]string{tag.RescaleSlope: "2", tag.RescaleIntercept: "-100"})
		measures := dicom.NewDataset()
		must(t, measures.SetFloat(tag.PixelSpacing, 0.5, 0.25))
		must(t, shared.SetItems(tag.PixelMeasuresSequence, measures))
		must(t, d.SetItems(tag.SharedFunctionalGroupsSequence, shared))
		must(t, d.SetItems(tag.PerFrameFunctionalGroupsSequence,
			group(t, tag.FrameVOILUTSequence, map[tag.Tag]string{tag.WindowCenter: "10", tag.WindowWidth: "20"}),
			group(t, tag.FrameVOILUTSequence, map[tag.Tag]string{tag.WindowCenter: "30", tag.WindowWidth: "40", tag.VOILUTFunction: "LINEAR_EXACT"})))
	}
	for k, want := range []Window{{10, 20, Linear, ""}, {30, 40, LinearExact, ""}} {
		d := display(t, k, change)
		if d.Slope != 2 || d.Intercept != -100 || d.Aspect != 2 || !slices.Equal(d.Windows, []Window{want}) {
			t.Errorf("frame %d: %+v", k, d)
		}
	}
	if d := display(t, 2, change); len(d.Windows) != 0 || d.Slope != 2 {
		t.Errorf("a frame without groups: %+v", d)
	}
}

func TestSegmentsOfAPalette(t *testing.T) {
	for _, c := range []struct {
		name       string
		descriptor []int64
		data       []byte
		want       []uint16
	}{
		{"discrete and linear", []int64{6, 0, 16}, lo(0, 2, 10, 20, 1, 4, 100), []uint16{10, 20, 40, 60, 80, 100}},
		{"downwards, rounded", []int64{4, 0, 16}, lo(0, 1, 10, 1, 3, 0), []uint16{10, 7, 3, 0}},
		{"indirect", []int64{9, 0, 16}, lo(0, 2, 1, 2, 1, 2, 6, 0, 1, 9, 2, 2, 0, 0), []uint16{1, 2, 4, 6, 9, 1, 2, 4, 6}},
		{"indirect into the middle", []int64{6, 0, 16}, lo(0, 2, 1, 5, 1, 2, 9, 2, 1, 8, 0), []uint16{1, 5, 7, 9, 9, 9}},
		{"of bytes", []int64{5, 0, 8}, []byte{0, 2, 1, 2, 1, 1, 9, 2, 1, 0, 0, 0, 0, 0}, []uint16{1, 2, 9, 1, 2}},
	} {
		l, err := segmentedLUT(c.descriptor, c.data)
		if err != nil || !slices.Equal(l.Entries, c.want) {
			t.Errorf("%s: %+v %v", c.name, l, err)
		}
	}
	for name, c := range map[string]struct {
		descriptor []int64
		data       []byte
	}{
		"linear first":          {[]int64{4, 0, 16}, lo(1, 4, 100)},
		"fewer":                 {[]int64{4, 0, 16}, lo(0, 2, 1, 2)},
		"more":                  {[]int64{4, 0, 16}, lo(0, 5, 1, 2, 3, 4, 5)},
		"cut":                   {[]int64{4, 0, 16}, lo(0, 4, 1, 2, 3)},
		"unknown":               {[]int64{4, 0, 16}, lo(3, 4, 1, 2, 3, 4)},
		"indirect to itself":    {[]int64{4, 0, 16}, lo(0, 1, 5, 2, 1, 6, 0)},
		"indirect to indirect":  {[]int64{4, 0, 16}, lo(0, 1, 5, 2, 1, 0, 0, 2, 1, 6, 0)},
		"indirect beyond":       {[]int64{4, 0, 16}, lo(0, 1, 5, 2, 1, 0xFFFF, 0xFFFF)},
		"indirect odd":          {[]int64{2, 0, 16}, lo(0, 1, 5, 2, 1, 1, 0)},
		"indirect, cut":         {[]int64{4, 0, 16}, lo(0, 1, 5, 2, 1, 0)},
		"a million copies":      {[]int64{0, 0, 16}, lo(0, 1, 5, 2, 0xFFFF, 0, 0, 2, 0xFFFF, 0, 0)},
		"empty":                 {[]int64{1, 0, 16}, lo(0, 0, 0, 1, 5)},
		"nothing":               {[]int64{4, 0, 16}, nil},
		"two-valued descriptor": {[]int64{4, 0}, lo(0, 4, 1, 2, 3, 4)},
	} {
		if l, err := segmentedLUT(c.descriptor, c.data); err == nil {
			t.Errorf("%s: %+v", name, l)
		}
	}
}

// lo is words in little endian.
func lo(w ...uint16) (b []byte) {
	for _, v := range w {
		b = append(b, byte(v), byte(v>>8))
	}
	return b
}

func TestLUTDescriptors(t *testing.T) {
	l, err := newLUT([]int64{0, 0xFF00, 16}, make([]byte, 1<<17), true)
	if err != nil || len(l.Entries) != 65536 || l.First != -256 {
		t.Errorf("0 entries from FF00: %+v %v", l, err)
	}
	if l, err = newLUT([]int64{-1, -3, 16}, make([]byte, 1<<17), true); err != nil || len(l.Entries) != 65535 || l.First != -3 {
		t.Errorf("as SS: %v", err)
	}
	packed, err := newLUT([]int64{4, 10, 8}, []byte{1, 2, 3, 4}, false)
	if err != nil || !slices.Equal(packed.Entries, []uint16{1, 2, 3, 4}) {
		t.Errorf("bytes: %+v %v", packed, err)
	}
	for x, want := range map[float64]uint16{-1e300: 1, 9: 1, 10: 1, 11.4: 2, 12.6: 4, 13: 4, 1e300: 4, math.Inf(1): 4} {
		if got := packed.at(x); got != want {
			t.Errorf("%v: %d, want %d", x, got, want)
		}
	}
	lying, err := newLUT([]int64{2, 0, 8}, lo(5, 0x0FFF), false)
	if err != nil || lying.Bits != 12 {
		t.Errorf("entries of 12 bits described as 8: %+v %v", lying, err)
	}
	for name, c := range map[string]struct {
		descriptor []int64
		n          int
	}{
		"short": {[]int64{100, 0, 16}, 199}, "short bytes": {[]int64{100, 0, 8}, 99}, "7 bits": {[]int64{1, 0, 7}, 2},
		"17 bits": {[]int64{1, 0, 17}, 2}, "huge bits": {[]int64{1, 0, 1 << 40}, 2}, "no descriptor": {nil, 2}, "65,536 in none": {[]int64{0, 0, 16}, 0},
	} {
		if _, err := newLUT(c.descriptor, make([]byte, c.n), false); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestPaletteWithoutDataIsAnError(t *testing.T) {
	f := grey16
	f.Photometric = "PALETTE COLOR"
	if _, err := New(dicom.NewDataset(), f, 0); err == nil {
		t.Error("no error")
	}
}

func TestOverlaysOfSeveralFrames(t *testing.T) {
	change := func(d *dicom.Dataset) {
		g := func(e uint16) tag.Tag { return tag.New(0x6000, e) }
		numbers(t, d, map[tag.Tag][]int64{g(0x10): {1}, g(0x11): {3}, g(0x15): {2}, g(0x50): {1, 2}, g(0x51): {2}, g(0x100): {1}, g(0x102): {0}})
		texts(t, d, map[tag.Tag]string{g(0x40): "R"})
		must(t, d.SetBytes(g(0x3000), dicom.OW, []byte{0b101_011, 0}))
	}
	for k, want := range [][]uint8{{9, 9, 9, 9}, {9, 255, 255, 9}, {9, 255, 9, 255}, {9, 9, 9, 9}} {
		d := display(t, k, change)
		got := shades(t, d, Options{Overlays: true, Window: &Window{Center: 0, Width: 256}}, -119, -119, -119, -119)
		if !bytes.Equal(got, want) {
			t.Errorf("frame %d: %v", k, got)
		}
	}
}

func TestOverlaysThatCannotBeAreProblems(t *testing.T) {
	for name, values := range map[string]map[uint16]int64{
		"no columns":       {0x10: 4},
		"negative rows":    {0x10: -4, 0x11: 4},
		"larger than all":  {0x10: 65535, 0x11: 65535, 0x100: 1},
		"beyond the data":  {0x10: 40, 0x11: 40, 0x15: 1 << 30, 0x51: -1 << 30, 0x100: 1},
		"among the values": {0x10: 4, 0x11: 4, 0x100: 16, 0x102: 3},
		"bit 40":           {0x10: 4, 0x11: 4, 0x100: 16, 0x102: 40},
	} {
		d := display(t, 0, func(d *dicom.Dataset) {
			for e, v := range values {
				must(t, d.SetIntAs(tag.New(0x6000, e), dicom.SL, v))
			}
			if values[0x100] == 1 {
				must(t, d.SetBytes(tag.New(0x6000, 0x3000), dicom.OW, make([]byte, 20)))
			}
		})
		if len(d.Overlays) != 0 || len(d.Problems) == 0 && name != "beyond the data" {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func TestOverlayFarAwayIsNotPainted(t *testing.T) {
	for _, origin := range [][]int64{{-32768, -32768}, {32767, 32767}, {1, 5}, {2, 1}, {0, 1}} {
		d := display(t, 0, func(d *dicom.Dataset) {
			g := func(e uint16) tag.Tag { return tag.New(0x6000, e) }
			numbers(t, d, map[tag.Tag][]int64{g(0x10): {1}, g(0x11): {4}, g(0x50): origin, g(0x100): {1}, g(0x102): {0}})
			must(t, d.SetBytes(g(0x3000), dicom.OW, []byte{0xFF, 0xFF}))
		})
		if got := shades(t, d, Options{Overlays: true}, 0, 0, 0, 0); !bytes.Equal(got, make([]byte, 4)) {
			t.Errorf("%v: %v", origin, got)
		}
	}
}

func TestPicturesAreMadeSmallerByMeans(t *testing.T) {
	d := &Display{Slope: 1}
	all := &Window{Center: 127.5, Width: 255, Function: LinearExact}
	got := shades(t, d, Options{Window: all, Width: 2}, 0, 101, 200, 50)
	if !bytes.Equal(got, []uint8{51, 125}) {
		t.Errorf("%v", got)
	}
	// 3 to 2: each takes one and a half.
	if got = shades(t, d, Options{Window: all, Width: 2}, 0, 90, 240); !bytes.Equal(got, []uint8{30, 190}) {
		t.Errorf("%v", got)
	}
	for _, c := range []struct{ w, h, maxW, maxH, wantW, wantH int }{
		{512, 256, 0, 0, 512, 256}, {512, 256, 128, 0, 128, 64}, {512, 256, 0, 64, 128, 64}, {512, 256, 1000, 1000, 512, 256},
		{512, 256, 100, 10, 20, 10}, {65535, 1, 10, 10, 10, 1}, {1, 65535, 10, 10, 1, 10}, {3, 3, 1 << 30, 1, 1, 1},
	} {
		if w, h := fit(c.w, c.h, Options{Width: c.maxW, Height: c.maxH}); w != c.wantW || h != c.wantH {
			t.Errorf("%+v: %d×%d", c, w, h)
		}
	}
	// The mean of a picture stays its mean.
	m := image.NewNRGBA(image.Rect(0, 0, 7, 5))
	for i := range m.Pix {
		m.Pix[i] = 200
	}
	small := image.NewNRGBA(image.Rect(0, 0, 3, 2))
	shrink(small.Pix, m.Pix, 3, 2, 7, 5, 4)
	if !bytes.Equal(small.Pix, bytes.Repeat([]byte{200}, 24)) {
		t.Errorf("%v", small.Pix)
	}
}

func TestRawValuesAndFiles(t *testing.T) {
	f := row(-32768, -1, 0, 32767)
	raw, err := Raw(f)
	must(t, err)
	var b bytes.Buffer
	must(t, WritePNG(&b, raw))
	m, err := png.Decode(&b)
	must(t, err)
	for x, want := range []uint16{0, 32767, 32768, 65535} {
		if got := m.At(x, 0).(color.Gray16).Y; got != want {
			t.Errorf("%d: %d", x, got)
		}
	}
	grey, err := Image(f, &Display{Slope: 1}, Options{})
	must(t, err)
	must(t, WriteJPEG(&b, grey, 1000))
	if m, err = jpeg.Decode(&b); err != nil || m.Bounds() != grey.Bounds() {
		t.Errorf("%v", err)
	}
	f.Samples = 3
	if _, err := Raw(f); err == nil {
		t.Error("raw values of colours")
	}
}

func TestSixteenBitColoursAndWideGreys(t *testing.T) {
	f := row(0, 0x7FFF, -1)
	f.Columns, f.Samples, f.Signed, f.Photometric = 1, 3, false, "RGB"
	m, err := Image(f, &Display{Slope: 1}, Options{})
	must(t, err)
	if got := m.At(0, 0); got != (color.NRGBA{0, 127, 255, 255}) {
		t.Errorf("%v", got)
	}
	wide := &pixel.Frame{Photometric: "MONOCHROME2", BitsStored: 32, HighBit: 31, Image: &raster.Image{
		Columns: 3, Rows: 1, Samples: 1, BitsAllocated: 32, Pix: []byte{0, 0, 0, 0, 0, 0, 0, 0x80, 0xFF, 0xFF, 0xFF, 0xFF}}}
	g, err := Image(wide, &Display{Slope: 1}, Options{})
	must(t, err)
	if got := g.(*image.Gray).Pix; !bytes.Equal(got, []uint8{0, 128, 255}) {
		t.Errorf("%v", got)
	}
}

func TestProblemsHoldNoValueOfAPatient(t *testing.T) {
	d := display(t, 0, func(d *dicom.Dataset) {
		must(t, d.SetText(tag.VOILUTFunction, "NGUYEN"))
		must(t, d.SetItems(tag.VOILUTSequence, dicom.NewDataset()))
		must(t, d.SetItems(tag.ModalityLUTSequence, dicom.NewDataset()))
	})
	if len(d.Problems) != 3 || strings.Contains(strings.Join(d.Problems, " "), "NGUYEN") {
		t.Errorf("%q", d.Problems)
	}
}

func FuzzSegments(f *testing.F) {
	f.Add(lo(0, 2, 10, 20, 1, 4, 100), 6, true)
	f.Add(lo(0, 2, 1, 2, 1, 2, 6, 0, 1, 9, 2, 2, 0, 0), 9, true)
	f.Add([]byte{0, 2, 1, 2, 1, 1, 9, 2, 1, 0, 0, 0, 0, 0}, 5, false)
	f.Fuzz(func(t *testing.T, b []byte, n int, wide bool) {
		descriptor := []int64{int64(n), 0, 8}
		if wide {
			descriptor[2] = 16
		}
		l, err := segmentedLUT(descriptor, b)
		if err == nil && len(l.Entries) > 1<<16 {
			t.Fatal(len(l.Entries))
		}
	})
}

// FuzzDisplay reads how arbitrary data sets are to be shown, and shows a frame so.
func FuzzDisplay(f *testing.F) {
	add := func(change func(d *dicom.Dataset)) {
		d := dicom.NewDataset()
		must(f, d.SetInt(tag.PixelRepresentation, 1))
		change(d)
		for _, syntax := range []string{uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian} {
			b, err := d.Encode(syntax)
			must(f, err)
			f.Add(b, syntax == uid.ExplicitVRBigEndian, 0)
		}
	}
	add(palette(f, []int64{16, 0, 16}, func(c, i int) int64 { return int64(c * i) }))
	add(func(d *dicom.Dataset) {
		texts(f, d, map[tag.Tag]string{tag.WindowCenter: `10\20`, tag.WindowWidth: `100\1`, tag.RescaleSlope: "2", tag.VOILUTFunction: "SIGMOID"})
		must(f, d.SetItems(tag.VOILUTSequence, table(f, []int64{16, -5, 12}, func(i int) int64 { return int64(i) })))
		must(f, d.SetItems(tag.ModalityLUTSequence, table(f, []int64{16, -5, 16}, func(i int) int64 { return int64(i) })))
		g := func(e uint16) tag.Tag { return tag.New(0x6000, e) }
		numbers(f, d, map[tag.Tag][]int64{tag.PixelPaddingValue: {5}, g(0x10): {2}, g(0x11): {3}, g(0x15): {2}, g(0x50): {1, 2}, g(0x51): {2}, g(0x100): {1}, g(0x102): {0}})
		must(f, d.SetBytes(g(0x3000), dicom.OW, []byte{0xFF, 0xFF}))
		must(f, d.SetItems(tag.PerFrameFunctionalGroupsSequence, group(f, tag.FrameVOILUTSequence, map[tag.Tag]string{tag.WindowCenter: "1", tag.WindowWidth: "2"})))
	})
	f.Fuzz(func(t *testing.T, b []byte, big bool, k int) {
		syntax := uid.ExplicitVRLittleEndian
		if big {
			syntax = uid.ExplicitVRBigEndian
		}
		d, _ := dicom.Parse(b, syntax, dicom.Limits{Total: 1 << 20})
		if d == nil {
			return
		}
		format := grey16
		format.TransferSyntaxUID = syntax
		if d.Has(tag.RedPaletteColorLookupTableDescriptor) {
			format.Photometric = "PALETTE COLOR"
		}
		p, err := New(d, format, max(k, 0))
		if err != nil {
			return
		}
		for view := range 3 {
			if _, err := Image(row(-32768, -1, 0, 32767), p, Options{View: view, Overlays: true, Width: 3}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
