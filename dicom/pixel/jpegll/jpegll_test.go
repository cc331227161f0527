package jpegll

import (
	"errors"
	"fmt"
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
		m := rastertest.Phantom(17, 13, 3, 12)
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
