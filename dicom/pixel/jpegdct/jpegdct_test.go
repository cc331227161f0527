package jpegdct

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"testing"

	"nhip/dicom/pixel/internal/t81"
	"nhip/dicom/pixel/raster"
	"nhip/dicom/pixel/raster/rastertest"
)

// smooth is a picture of slopes, which subsampling keeps.
func smooth(columns, rows, samples, precision int) *raster.Image {
	m := &raster.Image{Columns: columns, Rows: rows, Samples: samples, Precision: precision, BitsAllocated: 16}
	if precision <= 8 {
		m.BitsAllocated = 8
	}
	white := 1<<precision - 1
	for y := range rows {
		for x := range columns {
			for c := range samples {
				m.Pix = rastertest.Append(m.Pix, (x+2*y+c*20)*white/(columns+2*rows+80), m.BitsAllocated)
			}
		}
	}
	return m
}

// What is coded by the definitions is decoded to within the rounding.
func TestSequentialByTheDefinitions(t *testing.T) {
	for _, c := range []struct {
		samples, precision int
		h, v               []int
		near               int
	}{
		{1, 12, []int{1}, []int{1}, 2},
		{1, 12, []int{2}, []int{2}, 2}, // of one component they say nothing
		{3, 12, []int{1, 1, 1}, []int{1, 1, 1}, 2},
		{3, 12, []int{2, 1, 1}, []int{1, 1, 1}, 60},
		{3, 12, []int{2, 1, 1}, []int{2, 1, 1}, 100},
		{2, 8, []int{1, 1}, []int{1, 1}, 2},
		{4, 8, []int{1, 1, 1, 1}, []int{1, 1, 1, 1}, 2},
		{4, 8, []int{2, 1, 1, 2}, []int{2, 1, 1, 2}, 7},
		{3, 8, []int{1, 1, 2}, []int{1, 1, 1}, 4},
		{3, 8, []int{3, 1, 1}, []int{1, 1, 1}, 6},
	} {
		for _, size := range [][2]int{{1, 1}, {8, 8}, {35, 18}} {
			for _, separate := range []bool{false, true} {
				for _, restart := range []int{0, 3} {
					name := fmt.Sprintf("%d×%d, %d samples of %d bits, sampling %v %v, separate %v, restart %d",
						size[0], size[1], c.samples, c.precision, c.h, c.v, separate, restart)
					m := smooth(size[0], size[1], c.samples, c.precision)
					e := testEncoder{h: c.h, v: c.v, restart: restart, separate: separate, step: 1, marker: extended}
					b := e.encode(m)
					back, err := Decode(b, raster.Limits{})
					if err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					near := c.near
					if size[0] < 16 {
						near *= 20 // few samples, steep slopes
					}
					if difference := rastertest.Compare(m, back, near); difference != "" {
						t.Errorf("%s: %s", name, difference)
					}
				}
			}
		}
	}
}

// Our decoder of sequential frames and the standard library's give the same.
func TestSequentialAsTheStandardLibrary(t *testing.T) {
	for _, quality := range []int{30, 75, 100} {
		for name, b := range standardStreams(t, 45, 37, quality) {
			d := &decoder{Stream: t81.Stream{Codec: codec, Data: b}}
			if err := d.survey(raster.Limits{}); err != nil {
				t.Fatal(err)
			}
			theirs, _, err := d.standard()
			if err != nil {
				t.Fatal(err)
			}
			ours, err := d.sequential()
			if err != nil {
				t.Fatal(err)
			}
			if difference := rastertest.Compare(theirs, ours, 1); difference != "" {
				t.Errorf("%s, quality %d: %s", name, quality, difference)
			}
		}
	}
}

// standardStreams are a grey and a colour picture coded by the standard library.
func standardStreams(t testing.TB, columns, rows, quality int) map[string][]byte {
	grey, rgb := image.NewGray(image.Rect(0, 0, columns, rows)), image.NewRGBA(image.Rect(0, 0, columns, rows))
	for y := range rows {
		for x := range columns {
			grey.SetGray(x, y, color.Gray{Y: byte(x*5 + y*3)})
			rgb.Set(x, y, color.RGBA{R: byte(x * 5), G: byte(y * 7), B: byte(x * y), A: 255})
		}
	}
	streams := map[string][]byte{}
	for name, m := range map[string]image.Image{"grey": grey, "colour": rgb} {
		var b bytes.Buffer
		if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: quality}); err != nil {
			t.Fatal(err)
		}
		streams[name] = b.Bytes()
	}
	return streams
}

// samples are streams of every way through the decoder.
func samples(t testing.TB) map[string][]byte {
	streams := standardStreams(t, 20, 11, 80)
	streams["12 bits"] = (&testEncoder{h: []int{1}, v: []int{1}, step: 3, marker: extended}).encode(smooth(20, 11, 1, 12))
	streams["12 bits, subsampled, restarts"] = (&testEncoder{
		h: []int{2, 1, 1}, v: []int{2, 1, 1}, restart: 1, step: 3, marker: extended,
	}).encode(smooth(20, 11, 3, 12))
	streams["two components"] = (&testEncoder{
		h: []int{1, 1}, v: []int{1, 1}, separate: true, step: 3, marker: baseline,
	}).encode(smooth(20, 11, 2, 8))
	return streams
}

// A stream that was cut is an error, or the whole picture where nothing but the EOI
// marker is missing.
func TestCutAtEveryByte(t *testing.T) {
	for name, b := range samples(t) {
		whole, err := Decode(b, raster.Limits{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for cut := range b {
			back, err := Decode(b[:cut], raster.Limits{})
			switch {
			case err == nil && cut < len(b)-2:
				t.Fatalf("%s cut at %d of %d: no error", name, cut, len(b))
			case err == nil:
				if difference := rastertest.Compare(whole, back, 0); difference != "" {
					t.Fatal(difference)
				}
			}
		}
		if _, err := Decode(b[:len(b)-2], raster.Limits{}); err != nil {
			t.Errorf("%s without EOI: %v", name, err)
		}
	}
}

func TestColourIsWhatTheStreamSays(t *testing.T) {
	adobe := func(transform byte) []byte {
		return append([]byte{0xFF, t81.APP14, 0, 14}, 'A', 'd', 'o', 'b', 'e', 0, 100, 0, 0, 0, 0, transform)
	}
	jfif := []byte{0xFF, t81.APP0, 0, 16, 'J', 'F', 'I', 'F', 0, 1, 1, 0, 0, 1, 0, 1, 0, 0}
	stream := samples(t)["12 bits, subsampled, restarts"]
	for _, c := range []struct {
		segment []byte
		want    raster.Colour
	}{
		{nil, raster.ColourUnspecified}, {jfif, raster.ColourYCbCr},
		{adobe(0), raster.ColourRGB}, {adobe(1), raster.ColourYCbCr}, {adobe(2), raster.ColourYCCK},
	} {
		b := append(append(bytes.Clone(stream[:2]), c.segment...), stream[2:]...)
		m, err := Decode(b, raster.Limits{})
		if err != nil || m.Colour != c.want {
			t.Errorf("%v: %v", c.want, err)
		}
	}
}

// Streams that are wrong, or right and refused in words.
func TestDecodeRefuses(t *testing.T) {
	good := samples(t)["12 bits"]
	frame := bytes.Index(good, []byte{0xFF, extended})
	scan := bytes.Index(good, []byte{0xFF, t81.SOS})
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
		"no SOI":                {good[1:], false},
		"lossless":              {set(frame+1, 0xC3), true},
		"arithmetic":            {set(frame+1, 0xC9), true},
		"progressive 12 bits":   {set(frame+1, progressive), true},
		"baseline 12 bits":      {set(frame+1, baseline), false},
		"10 bits":               {set(frame+4, 10), false},
		"no rows":               {set(frame+5, 0, 0), true},
		"no columns":            {set(frame+7, 0, 0), false},
		"sampling 0":            {set(frame+11, 0x10), false},
		"no quantization":       {set(frame+12, 3), false},
		"no table":              {set(scan+6, 0x33), false},
		"unknown component":     {set(scan+5, 9), false},
		"quantization short":    {insert(0xFF, t81.DQT, 0, 4, 0, 1), false},
		"quantization table 9":  {insert(append([]byte{0xFF, t81.DQT, 0, 67, 9}, make([]byte, 64)...)...), false},
		"DNL":                   {insert(0xFF, t81.DNL, 0, 4, 0, 5), true},
		"EOI first":             {insert(0xFF, t81.EOI), false},
		"no restart markers":    {insert(0xFF, t81.DRI, 0, 4, 0, 1), false},
		"a second frame":        {insert(good[frame : frame+13]...), false},
		"a scan before a frame": {insert(good[scan : scan+10]...), false},
	} {
		_, err := Decode(c.b, raster.Limits{})
		var no *raster.UnsupportedError
		var format *raster.FormatError
		if !errors.As(err, &no) && c.unsupported || !errors.As(err, &format) && !c.unsupported {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A scan of one component of three, and the end: the standard library would make a
// picture of it.
func TestEveryComponentHasToBeThere(t *testing.T) {
	e := testEncoder{h: []int{1, 1, 1}, v: []int{1, 1, 1}, separate: true, step: 1, marker: baseline}
	b := e.encode(smooth(20, 11, 3, 8))
	if _, err := Decode(b, raster.Limits{}); err != nil {
		t.Fatal(err)
	}
	for scan := range 3 {
		at := 0
		for range scan + 1 {
			at += 2 + bytes.Index(b[at+2:], []byte{0xFF, t81.SOS})
		}
		cut := append(bytes.Clone(b[:at]), 0xFF, t81.EOI)
		if _, err := Decode(cut, raster.Limits{}); err == nil {
			t.Errorf("%d of 3 scans: no error", scan)
		}
	}
}

// Where a restart marker is not the one that is due, part of the picture is not
// there, or not in its place: an error, which the standard library makes only of some.
func TestRestartMarkersAreCounted(t *testing.T) {
	e := testEncoder{h: []int{1}, v: []int{1}, restart: 2, step: 1, marker: baseline}
	b := e.encode(smooth(40, 24, 1, 8))
	if _, err := Decode(b, raster.Limits{}); err != nil {
		t.Fatal(err)
	}
	first := bytes.Index(b, []byte{0xFF, t81.RST0})
	second := bytes.Index(b, []byte{0xFF, t81.RST0 + 1})
	for name, damaged := range map[string][]byte{
		"an interval is missing":  append(bytes.Clone(b[:first]), b[second:]...),
		"an interval comes twice": append(bytes.Clone(b[:second]), b[first:]...),
		"bytes before a marker":   append(append(bytes.Clone(b[:first]), 1, 2, 3), b[first:]...),
	} {
		if _, err := Decode(damaged, raster.Limits{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// T.81 section A.3.3: a coefficient of 8 without frequency is a step of one, a half
// is rounded up, and samples are clamped.
func TestInverseOfTheMean(t *testing.T) {
	for dc, want := range map[int32]uint16{0: 128, 8: 129, -8: 127, 4: 129, 3: 128, -5: 127, 9000: 255, -9000: 0} {
		var out [64]uint16
		inverse(&[64]int32{dc}, out[:], 8, 8)
		for i, v := range out {
			if v != want {
				t.Fatalf("coefficient %d: sample %d is %d, not %d", dc, i, v, want)
			}
		}
	}
}

// A frame header of 65535² with little behind it makes no memory.
func TestHugeFrameMakesNoMemory(t *testing.T) {
	for name, good := range samples(t) {
		frame := max(bytes.Index(good, []byte{0xFF, extended}), bytes.Index(good, []byte{0xFF, baseline}))
		copy(good[frame+5:], "\xFF\xFF\xFF\xFF")
		var limit *raster.LimitError
		if _, err := Decode(good, raster.Limits{}); !errors.As(err, &limit) {
			t.Fatalf("%s: %v", name, err)
		}
		rastertest.Allocates(t, 8*len(good)+1<<20, func() {
			if _, err := Decode(good, raster.Limits{MaxPixels: 1 << 40, MaxBytes: 1 << 40}); err == nil {
				t.Errorf("%s: no error", name)
			}
		})
	}
}

// Of a frame that says it has far more rows than came, memory is made by what came.
func TestMemoryIsMadeByWhatCame(t *testing.T) {
	streams := standardStreams(t, 1024, 64, 90)
	streams["12 bits"] = (&testEncoder{h: []int{1}, v: []int{1}, step: 1, marker: extended}).encode(rastertest.Phantom(512, 16, 1, 12))
	for name, b := range streams {
		frame := max(bytes.Index(b, []byte{0xFF, extended}), bytes.Index(b, []byte{0xFF, baseline}))
		rows := min(4*8*len(b)/1024*8, 65535) // as many as the stream could hold
		binary.BigEndian.PutUint16(b[frame+5:], uint16(rows))
		rastertest.Allocates(t, 8*len(b)+1<<20, func() {
			if _, err := Decode(b, raster.Limits{}); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	for _, b := range samples(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b, raster.Limits{MaxBytes: 1 << 16})
		if err != nil {
			return
		}
		if err := m.Check(); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkDecode12Bits(b *testing.B) {
	m := rastertest.Phantom(256, 256, 1, 12)
	coded := (&testEncoder{h: []int{1}, v: []int{1}, step: 8, marker: extended}).encode(m)
	b.SetBytes(int64(len(m.Pix)))
	for b.Loop() {
		Decode(coded, raster.Limits{})
	}
}
