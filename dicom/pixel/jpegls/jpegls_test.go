package jpegls

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"pgregory.net/rapid"

	"nhip/dicom/pixel/raster"
	"nhip/dicom/pixel/raster/rastertest"
)

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rastertest.Draw(t, 2, 16)
		o := Options{
			Interleave: Interleave(rapid.IntRange(0, 2).Draw(t, "interleave")),
			Restart:    rapid.SampledFrom([]int{0, 0, 1, 2, 7}).Draw(t, "restart"),
		}
		if rapid.Bool().Draw(t, "near") {
			o.Near = rapid.IntRange(0, min(255, (1<<m.Precision-1)/2)).Draw(t, "NEAR")
		}
		if rapid.Bool().Draw(t, "preset") {
			most := 1<<m.Precision - 1
			o.Preset.T1 = rapid.IntRange(o.Near+1, most).Draw(t, "T1")
			o.Preset.T2 = rapid.IntRange(o.Preset.T1, most).Draw(t, "T2")
			o.Preset.T3 = rapid.IntRange(o.Preset.T2, most).Draw(t, "T3")
			o.Preset.Reset = rapid.IntRange(3, max(255, most)).Draw(t, "RESET")
		}
		b, err := Encode(m, o)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(b, raster.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if difference := rastertest.Compare(m, back, o.Near); difference != "" {
			t.Fatal(difference)
		}
	})
}

// A stream that was cut is an error, or the whole picture where nothing but padding
// or the EOI marker is missing.
func TestCutAtEveryByte(t *testing.T) {
	for _, interleave := range []Interleave{InterleaveNone, InterleaveLine, InterleaveSample} {
		m := rastertest.Phantom(11, 8, 3, 12)
		b, err := Encode(m, Options{Interleave: interleave, Restart: 5})
		if err != nil {
			t.Fatal(err)
		}
		for cut := range b {
			back, err := Decode(b[:cut], raster.Limits{})
			switch {
			case err == nil && cut < len(b)-4:
				t.Fatalf("cut at %d of %d: no error", cut, len(b))
			case err == nil:
				if difference := rastertest.Compare(m, back, 0); difference != "" {
					t.Fatal(difference)
				}
			case !errors.Is(err, io.ErrUnexpectedEOF) && cut >= 2:
				t.Fatalf("cut at %d of %d: %v", cut, len(b), err)
			}
		}
	}
}

// A sample over a preset MAXVAL cannot be coded, and what was coded with one comes
// back by the general arithmetic.
func TestPresetMaxVal(t *testing.T) {
	m := rastertest.Phantom(30, 20, 1, 8)
	for i := range m.Pix {
		m.Pix[i] = min(m.Pix[i], 199)
	}
	for _, near := range []int{0, 2} {
		b, err := Encode(m, Options{Preset: Preset{MaxVal: 199}, Near: near})
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(b, raster.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if difference := rastertest.Compare(m, back, near); difference != "" {
			t.Error(difference)
		}
	}
	m.Pix[77] = 200
	var no *raster.UnsupportedError
	if _, err := Encode(m, Options{Preset: Preset{MaxVal: 199}}); !errors.As(err, &no) {
		t.Error(err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*raster.Image)
		o      Options
	}{
		"one bit":            {func(m *raster.Image) { m.Precision = 1; clear(m.Pix) }, Options{}},
		"short":              {func(m *raster.Image) { m.Pix = m.Pix[1:] }, Options{}},
		"NEAR 256":           {nil, Options{Near: 256}},
		"NEAR of a half":     {nil, Options{Near: 128}},
		"NEAR negative":      {nil, Options{Near: -1}},
		"NEAR of signed":     {func(m *raster.Image) { m.Signed = true }, Options{Near: 1}},
		"interleave":         {nil, Options{Interleave: 3}},
		"restart":            {nil, Options{Restart: 65536}},
		"thresholds":         {nil, Options{Preset: Preset{T1: 9, T2: 5}}},
		"RESET":              {nil, Options{Preset: Preset{Reset: 2}}},
		"MAXVAL":             {nil, Options{Preset: Preset{MaxVal: 256}}},
		"a sample too large": {func(m *raster.Image) { m.Precision = 7; m.Pix[0] = 128 }, Options{}},
	} {
		m := rastertest.Phantom(4, 4, 1, 8)
		clear(m.Pix)
		if c.change != nil {
			c.change(m)
		}
		if _, err := Encode(m, c.o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Streams that are right by the standard, or nearly, and are refused in words.
func TestDecodeRefuses(t *testing.T) {
	good, err := Encode(rastertest.Phantom(6, 5, 3, 8), Options{Interleave: InterleaveLine})
	if err != nil {
		t.Fatal(err)
	}
	const frame, scan = 4, 23 // offsets of the lengths of the segments
	set := func(at int, v byte) []byte {
		b := bytes.Clone(good)
		b[at] = v
		return b
	}
	insert := func(segment ...byte) []byte {
		return append(append(bytes.Clone(good[:2]), segment...), good[2:]...)
	}
	for name, c := range map[string]struct {
		b           []byte
		unsupported bool
	}{
		"no SOI":             {good[1:], false},
		"a JPEG frame":       {set(3, 0xC0), true},
		"17 bits":            {set(frame+2, 17), false},
		"no rows":            {append(append(bytes.Clone(good[:frame+3]), 0, 0), good[frame+5:]...), true},
		"no components":      {set(frame+7, 0), false},
		"subsampled":         {set(frame+9, 0x21), true},
		"unknown component":  {set(scan+3, 9), false},
		"component twice":    {set(scan+5, 1), false},
		"mapping table used": {set(scan+4, 1), true},
		"NEAR too large":     {set(scan+9, 200), false},
		"interleave 3":       {set(scan+10, 3), false},
		"interleave 0":       {set(scan+10, 0), false},
		"point transform":    {set(scan+11, 1), true},
		"mapping table":      {insert(0xFF, 0xF8, 0, 5, 2, 0, 0), true},
		"oversize":           {insert(0xFF, 0xF8, 0, 5, 4, 0, 0), true},
		"presets short":      {insert(0xFF, 0xF8, 0, 5, 1, 0, 0), false},
		"presets wrong":      {insert(0xFF, 0xF8, 0, 13, 1, 0, 255, 0, 9, 0, 5, 0, 21, 0, 64), false},
		"HP colour":          {insert(0xFF, 0xE8, 0, 7, 'm', 'r', 'f', 'x', 1), true},
		"DNL":                {insert(0xFF, 0xDC, 0, 4, 0, 5), true},
		"segment length 1":   {insert(0xFF, 0xFE, 0, 1), false},
		"EOI first":          {insert(0xFF, 0xD9), false},
		"data left over":     {append(append(bytes.Clone(good[:len(good)-2]), 1, 2, 3, 4, 5), 0xFF, 0xD9), false},
	} {
		_, err := Decode(c.b, raster.Limits{})
		var no *raster.UnsupportedError
		var format *raster.FormatError
		if !errors.As(err, &no) && c.unsupported || !errors.As(err, &format) && !c.unsupported {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A frame header of 65535² with little behind it makes no memory.
func TestHugeFrameMakesNoMemory(t *testing.T) {
	good, err := Encode(rastertest.Phantom(6, 5, 1, 12), Options{})
	if err != nil {
		t.Fatal(err)
	}
	copy(good[7:], "\xFF\xFF\xFF\xFF")
	var limit *raster.LimitError
	if _, err := Decode(good, raster.Limits{}); !errors.As(err, &limit) {
		t.Fatal(err)
	}
	rastertest.Allocates(t, 8*len(good)+1<<20, func() {
		if _, err := Decode(good, raster.Limits{MaxPixels: 1 << 40, MaxBytes: 1 << 40}); err == nil {
			t.Error("no error")
		}
	})
}

// Of a frame that says it has far more rows than came, memory is made by what came.
func TestMemoryIsMadeByWhatCame(t *testing.T) {
	m := rastertest.Phantom(1024, 32, 1, 16)
	for i := range m.Pix {
		m.Pix[i] = m.Pix[i]>>3 + byte(i*i>>4)&31 // no flat background
	}
	b, err := Encode(m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	copy(b[7:], []byte{0x20, 0x00}) // rows
	rastertest.Allocates(t, 8*len(b)+1<<20, func() {
		if _, err := Decode(b, raster.Limits{}); err == nil {
			t.Error("no error")
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, o := range []Options{
		{}, {Near: 3}, {Interleave: InterleaveLine}, {Interleave: InterleaveSample, Near: 1}, {Restart: 2}, {Preset: Preset{Reset: 3}},
	} {
		for _, m := range []*raster.Image{rastertest.Phantom(9, 7, 1, 12), rastertest.Phantom(9, 7, 3, 8)} {
			b, err := Encode(m, o)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b, raster.Limits{MaxBytes: 1 << 16})
		if err != nil {
			return
		}
		again, err := Encode(m, Options{})
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(again, raster.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if difference := rastertest.Compare(m, back, 0); difference != "" {
			t.Fatal(difference)
		}
	})
}

func BenchmarkEncode(b *testing.B) { benchmark(b, true) }
func BenchmarkDecode(b *testing.B) { benchmark(b, false) }

func benchmark(b *testing.B, encode bool) {
	for _, c := range []struct {
		name string
		m    *raster.Image
		o    Options
	}{
		{"8 bits", rastertest.Phantom(1024, 1024, 1, 8), Options{}},
		{"12 bits", rastertest.Phantom(1024, 1024, 1, 12), Options{}},
		{"12 bits, NEAR 2", rastertest.Phantom(1024, 1024, 1, 12), Options{Near: 2}},
		{"colour by line", rastertest.Phantom(1024, 1024, 3, 8), Options{Interleave: InterleaveLine}},
		{"colour by sample", rastertest.Phantom(1024, 1024, 3, 8), Options{Interleave: InterleaveSample}},
	} {
		b.Run(c.name, func(b *testing.B) {
			coded, err := Encode(c.m, c.o)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(c.m.Pix)))
			for b.Loop() {
				if encode {
					Encode(c.m, c.o)
				} else {
					Decode(coded, raster.Limits{})
				}
			}
		})
	}
}

// T.87 section H.3: the picture and the stream of the standard's example.
func TestAnnexHExample(t *testing.T) {
	m := &raster.Image{
		Columns: 4, Rows: 4, Samples: 1, BitsAllocated: 8, Precision: 8,
		Pix: []byte{
			0, 0, 90, 74,
			68, 50, 43, 205,
			64, 145, 145, 145,
			100, 145, 145, 145,
		},
	}
	stream := []byte{
		0xFF, 0xD8, 0xFF, 0xF7, 0x00, 0x0B, 0x08, 0x00, 0x04, 0x00, 0x04, 0x01, 0x01, 0x11, 0x00,
		0xFF, 0xDA, 0x00, 0x08, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00,
		0xC0, 0x00, 0x00, 0x6C, 0x80, 0x20, 0x8E, 0x01, 0xC0, 0x00, 0x00, 0x57, 0x40, 0x00, 0x00, 0x6E,
		0xE6, 0x00, 0x00, 0x01, 0xBC, 0x18, 0x00, 0x00, 0x05, 0xD8, 0x00, 0x00, 0x91, 0x60, 0xFF, 0xD9,
	}
	b, err := Encode(m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, stream) {
		t.Errorf("coded % X\nexample % X", b, stream)
	}
	back, err := Decode(stream, raster.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if difference := rastertest.Compare(m, back, 0); difference != "" {
		t.Fatal(difference)
	}
}
