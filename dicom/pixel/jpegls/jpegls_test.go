package jpegls

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"nhip/dicom/pixel/raster"
)

// drawImage draws a picture with flat parts, slopes, noise and edges.
func drawImage(t *rapid.T) *raster.Image {
	m := &raster.Image{
		Columns:   rapid.IntRange(1, 40).Draw(t, "columns"),
		Rows:      rapid.IntRange(1, 24).Draw(t, "rows"),
		Samples:   rapid.IntRange(1, 4).Draw(t, "samples"),
		Precision: rapid.IntRange(2, 16).Draw(t, "precision"),
	}
	m.BitsAllocated = 16
	if m.Precision <= 8 {
		m.BitsAllocated = 8
	}
	random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	kind := rapid.SampledFrom([]string{"noise", "flat", "slope", "steps"}).Draw(t, "kind")
	most := 1<<m.Precision - 1
	v := 0
	for i := range m.Columns * m.Rows * m.Samples {
		switch kind {
		case "noise":
			v = random.IntN(most + 1)
		case "flat":
			if random.IntN(9) == 0 {
				v = random.IntN(most + 1)
			}
		case "slope":
			v = (i*most/(m.Columns*m.Rows*m.Samples) + random.IntN(3)) & most
		case "steps":
			v = (i / m.Samples % m.Columns / 5 * most / 8) & most
		}
		m.Pix = append(m.Pix, byte(v))
		if m.BitsAllocated == 16 {
			m.Pix = append(m.Pix, byte(v>>8))
		}
	}
	return m
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawImage(t)
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
		same(t, m, back, o.Near)
	})
}

// same compares geometry, and samples to within near.
func same(t interface{ Fatalf(string, ...any) }, a, b *raster.Image, near int) {
	if a.Columns != b.Columns || a.Rows != b.Rows || a.Samples != b.Samples ||
		a.Precision != b.Precision || a.BitsAllocated != b.BitsAllocated || len(a.Pix) != len(b.Pix) {
		t.Fatalf("geometry: %d×%d×%d of %d bits, %d×%d×%d of %d bits",
			a.Columns, a.Rows, a.Samples, a.Precision, b.Columns, b.Rows, b.Samples, b.Precision)
	}
	step := a.BitsAllocated / 8
	for i := 0; i < len(a.Pix); i += step {
		x, y := int(a.Pix[i]), int(b.Pix[i])
		if step == 2 {
			x, y = x|int(a.Pix[i+1])<<8, y|int(b.Pix[i+1])<<8
		}
		if abs(x-y) > near {
			t.Fatalf("sample %d: %d became %d, NEAR %d", i/step, x, y, near)
		}
	}
}

// A stream that was cut is an error, or the whole picture where nothing but padding
// or the EOI marker is missing.
func TestCutAtEveryByte(t *testing.T) {
	for _, interleave := range []Interleave{InterleaveNone, InterleaveLine, InterleaveSample} {
		m := phantom(17, 13, 3, 12)
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
				same(t, m, back, 0)
			case !errors.Is(err, io.ErrUnexpectedEOF) && cut >= 2:
				t.Fatalf("cut at %d of %d: %v", cut, len(b), err)
			}
		}
	}
}

// phantom is a picture with background, slopes and noise.
func phantom(columns, rows, samples, precision int) *raster.Image {
	m := &raster.Image{Columns: columns, Rows: rows, Samples: samples, Precision: precision, BitsAllocated: 16}
	if precision <= 8 {
		m.BitsAllocated = 8
	}
	random := rand.New(rand.NewPCG(1, 2))
	most := 1<<precision - 1
	for y := range rows {
		for x := range columns {
			for c := range samples {
				dx, dy := 2*x-columns, 2*y-rows
				v := 0
				if r := dx*dx + dy*dy; r < columns*rows*3/4 {
					v = most/3 + most/3*r/(columns*rows) + c*most/20 + random.IntN(1+most/60)
				}
				m.Pix = append(m.Pix, byte(v))
				if m.BitsAllocated == 16 {
					m.Pix = append(m.Pix, byte(v>>8))
				}
			}
		}
	}
	return m
}

func benchmarkImage() *raster.Image { return phantom(2048, 2048, 1, 12) }

func BenchmarkEncode16(b *testing.B) {
	m := benchmarkImage()
	b.SetBytes(int64(len(m.Pix)))
	for b.Loop() {
		Encode(m, Options{})
	}
}

func BenchmarkDecode16(b *testing.B) {
	m := benchmarkImage()
	e, err := Encode(m, Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(m.Pix)))
	for b.Loop() {
		Decode(e, raster.Limits{})
	}
}

func BenchmarkDecode16Near(b *testing.B) {
	m := benchmarkImage()
	e, err := Encode(m, Options{Near: 2})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(m.Pix)))
	for b.Loop() {
		Decode(e, raster.Limits{})
	}
}

func BenchmarkEncode16Near(b *testing.B) {
	m := benchmarkImage()
	b.SetBytes(int64(len(m.Pix)))
	for b.Loop() {
		Encode(m, Options{Near: 2})
	}
}

func BenchmarkDecodeColour(b *testing.B) {
	m := phantom(1024, 1024, 3, 8)
	e, err := Encode(m, Options{Interleave: InterleaveSample})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(m.Pix)))
	for b.Loop() {
		Decode(e, raster.Limits{})
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
	same(t, m, back, 0)
}
