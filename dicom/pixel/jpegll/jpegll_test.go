package jpegll

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"pgregory.net/rapid"

	"nhip/dicom/pixel/internal/t81"
	"nhip/dicom/pixel/raster"
	"nhip/dicom/pixel/raster/rastertest"
)

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rastertest.Draw(t, 2, 16)
		o := Options{
			Selection: rapid.IntRange(1, 7).Draw(t, "selection"),
			Restart:   rapid.SampledFrom([]int{0, 0, 1, 2, 7}).Draw(t, "restart"),
			Separate:  rapid.Bool().Draw(t, "separate"),
		}
		b, err := Encode(m, o)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(b, raster.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if difference := rastertest.Compare(m, back, 0); difference != "" {
			t.Fatal(difference)
		}
	})
}

// A point transform drops low bits and nothing else.
func TestPointTransform(t *testing.T) {
	for transform := range 8 {
		m := rastertest.Phantom(20, 10, 1, 8)
		b, err := Encode(m, Options{PointTransform: transform})
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(b, raster.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range m.Pix {
			if back.Pix[i] != v>>transform<<transform {
				t.Fatalf("transform %d: %d became %d", transform, v, back.Pix[i])
			}
		}
	}
}

// The largest difference, 32768, has a category without bits behind it.
func TestLargestDifference(t *testing.T) {
	m := &raster.Image{Columns: 4, Rows: 1, Samples: 1, BitsAllocated: 16, Precision: 16,
		Pix: []byte{0, 0, 0, 0x80, 0, 0, 0xFF, 0xFF}}
	b, err := Encode(m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	back, err := Decode(b, raster.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if difference := rastertest.Compare(m, back, 0); difference != "" {
		t.Fatal(difference)
	}
}

// A stream that was cut is an error, or the whole picture where nothing but the EOI
// marker is missing.
func TestCutAtEveryByte(t *testing.T) {
	for _, o := range []Options{{}, {Restart: 3}, {Separate: true, Selection: 7}} {
		m := rastertest.Phantom(11, 8, 3, 12)
		b, err := Encode(m, o)
		if err != nil {
			t.Fatal(err)
		}
		for cut := range b {
			back, err := Decode(b[:cut], raster.Limits{})
			switch {
			case err == nil && cut < len(b)-2:
				t.Fatalf("%+v cut at %d of %d: no error", o, cut, len(b))
			case err == nil:
				if difference := rastertest.Compare(m, back, 0); difference != "" {
					t.Fatal(difference)
				}
			case !errors.Is(err, io.ErrUnexpectedEOF) && cut >= 2:
				t.Fatalf("%+v cut at %d of %d: %v", o, cut, len(b), err)
			}
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*raster.Image)
		o      Options
	}{
		"one bit":            {func(m *raster.Image) { m.Precision = 1 }, Options{}},
		"short":              {func(m *raster.Image) { m.Pix = m.Pix[1:] }, Options{}},
		"selection 8":        {nil, Options{Selection: 8}},
		"selection -1":       {nil, Options{Selection: -1}},
		"point transform":    {nil, Options{PointTransform: 8}},
		"restart":            {nil, Options{Restart: 65536}},
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

// Streams that are wrong, or right and refused in words.
func TestDecodeRefuses(t *testing.T) {
	good, err := Encode(rastertest.Phantom(6, 5, 2, 8), Options{})
	if err != nil {
		t.Fatal(err)
	}
	scan := bytes.Index(good, []byte{0xFF, t81.SOS})
	table := bytes.Index(good, []byte{0xFF, t81.DHT})
	set := func(at int, v ...byte) []byte {
		b := bytes.Clone(good)
		copy(b[at:], v)
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
		"baseline":           {set(3, 0xC0), true},
		"JPEG-LS":            {set(3, 0xF7), true},
		"17 bits":            {set(6, 17), false},
		"one bit":            {set(6, 1), false},
		"no rows":            {set(7, 0, 0), true},
		"no columns":         {set(9, 0, 0), false},
		"frame length":       {set(11, 3), false},
		"subsampled":         {set(13, 0x21), true},
		"sampling 0":         {set(13, 0x01), false},
		"table class":        {set(table+4, 0x20), false},
		"too many codes":     {set(table+5, 3), false},
		"category 100":       {set(table+21, 100), false},
		"too few bits":       {set(6, 4), false},
		"no table":           {set(scan+6, 0x30), false},
		"unknown component":  {set(scan+5, 9), false},
		"component twice":    {set(scan+7, 1), false},
		"selection 0":        {set(scan+9, 0), false},
		"selection 8":        {set(scan+9, 8), false},
		"point transform":    {set(scan+11, 8), false},
		"restart interval":   {insert(0xFF, t81.DRI, 0, 4, 0, 7), true},
		"no restart markers": {insert(0xFF, t81.DRI, 0, 4, 0, 6), false},
		"DNL":                {insert(0xFF, t81.DNL, 0, 4, 0, 5), true},
		"segment length 1":   {insert(0xFF, t81.COM, 0, 1), false},
		"restart marker":     {insert(0xFF, t81.RST0), false},
		"EOI first":          {insert(0xFF, t81.EOI), false},
		"data left over":     {append(append(bytes.Clone(good[:len(good)-2]), 1, 2, 3, 4, 5), 0xFF, t81.EOI), false},
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

// A changed bit makes an error, or a picture of the same size; nothing else.
func TestEveryBitChanged(t *testing.T) {
	good, err := Encode(rastertest.Phantom(9, 7, 1, 12), Options{Selection: 6})
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * len(good) {
		b := bytes.Clone(good)
		b[bit/8] ^= 1 << (bit % 8)
		m, err := Decode(b, raster.Limits{MaxPixels: 1 << 20})
		if err == nil && len(m.Pix) != m.Columns*m.Rows*m.Samples*m.BitsAllocated/8 {
			t.Fatalf("bit %d: %d bytes", bit, len(m.Pix))
		}
	}
}

// Of a frame that says it has far more rows than came, memory is made by what came.
func TestMemoryIsMadeByWhatCame(t *testing.T) {
	m := rastertest.Phantom(1024, 120, 1, 16)
	for i := range m.Pix {
		m.Pix[i] = m.Pix[i]>>3 + byte(i*i>>4)&31 // no flat background
	}
	b, err := Encode(m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	copy(b[7:], []byte{0x07, 0x90}) // rows
	rastertest.Allocates(t, 8*len(b)+1<<20, func() {
		if _, err := Decode(b, raster.Limits{}); err == nil {
			t.Error("no error")
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, o := range []Options{{}, {Selection: 7}, {Restart: 2, Selection: 4}, {Separate: true}, {PointTransform: 1}} {
		for _, m := range []*raster.Image{rastertest.Phantom(9, 7, 1, 16), rastertest.Phantom(9, 7, 3, 8)} {
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
		again, err := Encode(m, Options{Selection: 5})
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

func BenchmarkEncode(b *testing.B) {
	for _, precision := range []int{8, 12} {
		for _, selection := range []int{1, 6} {
			b.Run(fmt.Sprintf("%d bits, selection %d", precision, selection), func(b *testing.B) {
				m := rastertest.Phantom(2048, 2048, 1, precision)
				b.SetBytes(int64(len(m.Pix)))
				for b.Loop() {
					Encode(m, Options{Selection: selection})
				}
			})
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, precision := range []int{8, 12} {
		for _, selection := range []int{1, 6} {
			b.Run(fmt.Sprintf("%d bits, selection %d", precision, selection), func(b *testing.B) {
				m := rastertest.Phantom(2048, 2048, 1, precision)
				e, err := Encode(m, Options{Selection: selection})
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(m.Pix)))
				for b.Loop() {
					Decode(e, raster.Limits{})
				}
			})
		}
	}
}
