package rle_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"pgregory.net/rapid"

	"nhip/dicom/pixel/raster"
	"nhip/dicom/pixel/raster/rastertest"
	"nhip/dicom/pixel/rle"
)

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rastertest.Draw(t, 1, 16)
		b, err := rle.Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		back, err := rle.Decode(b, geometry(m), raster.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if difference := rastertest.Compare(m, back, 0); difference != "" {
			t.Fatal(difference)
		}
	})
}

func geometry(m *raster.Image) raster.Image {
	g := *m
	g.Pix = nil
	return g
}

func TestThirtyTwoBits(t *testing.T) {
	m := &raster.Image{Columns: 3, Rows: 2, Samples: 1, BitsAllocated: 32, Precision: 32, Pix: []byte(
		"\x01\x02\x03\x04\x01\x02\x03\x04\x01\x02\x03\x04\xFF\x00\x00\x80\x00\x00\x00\x00\xAA\xBB\xCC\xDD")}
	b, err := rle.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	back, err := rle.Decode(b, geometry(m), raster.Limits{})
	if err != nil || !bytes.Equal(back.Pix, m.Pix) {
		t.Errorf("%v, % X", err, back.Pix)
	}
}

// PS3.5 annex G, by hand: the high byte's segment first, each of even length, no
// run across rows.
func TestKnownBytes(t *testing.T) {
	m := &raster.Image{Columns: 4, Rows: 2, Samples: 1, BitsAllocated: 16, Precision: 16, Pix: []byte{
		1, 0xAA, 2, 0xAA, 3, 0xAA, 4, 0xAA,
		5, 0xAA, 5, 0xAA, 5, 0xAA, 6, 0xBB,
	}}
	want := make([]byte, 64)
	want[0], want[4], want[8] = 2, 64, 70
	want = append(want, 0xFD, 0xAA, 0xFE, 0xAA, 0x00, 0xBB)
	want = append(want, 0x03, 1, 2, 3, 4, 0xFE, 5, 0x00, 6, 0x00)
	b, err := rle.Encode(m)
	if err != nil || !bytes.Equal(b, want) {
		t.Errorf("%v\n% X\n% X", err, b, want)
	}
}

func TestDecodeRefuses(t *testing.T) {
	m := rastertest.Phantom(10, 6, 3, 8)
	good, err := rle.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	change := func(at int, v byte) []byte {
		b := bytes.Clone(good)
		b[at] = v
		return b
	}
	wide, tall, deep, huge := geometry(m), geometry(m), geometry(m), geometry(m)
	wide.Columns++
	tall.Rows--
	deep.BitsAllocated = 16
	huge.Columns, huge.Rows = 65535, 65535
	for name, c := range map[string]struct {
		b []byte
		g raster.Image
	}{
		"empty":              {nil, geometry(m)},
		"header only":        {good[:64], geometry(m)},
		"two segments":       {change(0, 2), geometry(m)},
		"offset in header":   {change(8, 63), geometry(m)},
		"offset beyond":      {change(15, 0x80), geometry(m)},
		"offsets descending": {change(12, 70), geometry(m)},
		"column too many":    {good, wide},
		"row too few":        {good, tall},
		"other depth":        {good, deep},
		"65535 squared":      {good, huge},
	} {
		if back, err := rle.Decode(c.b, c.g, raster.Limits{MaxPixels: 1 << 40, MaxBytes: 1 << 40}); err == nil {
			t.Errorf("%s: no error, %d bytes", name, len(back.Pix))
		}
	}
	var limit *raster.LimitError
	if _, err := rle.Decode(good, geometry(m), raster.Limits{MaxPixels: 59}); !errors.As(err, &limit) {
		t.Errorf("limit: %v", err)
	}
}

func TestRunPastTheFrame(t *testing.T) {
	b := make([]byte, 64, 70)
	b[0], b[4] = 1, 64
	for _, data := range []string{"\xFD\x07", "\x03\x01\x02\x03\x04", "\xFF\x07\xFF\x07"} {
		_, err := rle.Decode(append(b, data...), raster.Image{Columns: 3, Rows: 1, Samples: 1, BitsAllocated: 8, Precision: 8}, raster.Limits{})
		var format *raster.FormatError
		if !errors.As(err, &format) {
			t.Errorf("% X: %v", data, err)
		}
	}
}

// A no-op control byte, -128, is skipped.
func TestNoOperation(t *testing.T) {
	b := make([]byte, 64, 70)
	b[0], b[4] = 1, 64
	b = append(b, 0x80, 0xFF, 7, 0x80, 0x00, 9)
	back, err := rle.Decode(b, raster.Image{Columns: 3, Rows: 1, Samples: 1, BitsAllocated: 8, Precision: 8}, raster.Limits{})
	if err != nil || !bytes.Equal(back.Pix, []byte{7, 7, 9}) {
		t.Errorf("%v, %v", back, err)
	}
}

func TestCutAtEveryByte(t *testing.T) {
	m := rastertest.Phantom(11, 8, 3, 8)
	b, err := rle.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(b) - 1 { // the last may be padding
		if _, err := rle.Decode(b[:cut], geometry(m), raster.Limits{}); err == nil {
			t.Fatalf("cut at %d of %d: no error", cut, len(b))
		} else if cut < 64 && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut at %d of %d: %v", cut, len(b), err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, m := range []*raster.Image{rastertest.Phantom(7, 5, 1, 12), rastertest.Phantom(7, 5, 3, 8)} {
		b, err := rle.Encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint16(7), uint16(5), byte(m.Samples), byte(m.BitsAllocated))
	}
	f.Fuzz(func(t *testing.T, b []byte, columns, rows uint16, samples, bits byte) {
		g := raster.Image{
			Columns: int(columns), Rows: int(rows), Samples: int(samples),
			BitsAllocated: int(bits), Precision: int(bits),
		}
		m, err := rle.Decode(b, g, raster.Limits{MaxBytes: 1 << 16})
		if err != nil {
			return
		}
		again, err := rle.Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		back, err := rle.Decode(again, g, raster.Limits{})
		if err != nil || !bytes.Equal(back.Pix, m.Pix) {
			t.Fatalf("what was decoded does not come back: %v", err)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	m := rastertest.Phantom(1024, 1024, 1, 12)
	b.SetBytes(int64(len(m.Pix)))
	for b.Loop() {
		rle.Encode(m)
	}
}

func BenchmarkDecode(b *testing.B) {
	m := rastertest.Phantom(1024, 1024, 1, 12)
	e, err := rle.Encode(m)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(m.Pix)))
	for b.Loop() {
		rle.Decode(e, geometry(m), raster.Limits{})
	}
}
