package t81

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"nhip/dicom/pixel/raster"
)

// A code made of frequencies is read back from its DHT segment, has no code of more
// than 16 bits and none of ones only.
func TestHuffmanCode(t *testing.T) {
	fibonacci := make([]int, 40)
	fibonacci[0], fibonacci[1] = 1, 1
	for i := 2; i < len(fibonacci); i++ {
		fibonacci[i] = fibonacci[i-1] + fibonacci[i-2]
	}
	checkCode(t, fibonacci)
	checkCode(t, fibonacci[:17])
	checkCode(t, []int{0, 0, 5})
	rapid.Check(t, func(t *rapid.T) {
		frequency := rapid.SliceOfN(rapid.IntRange(0, 1<<20), 1, 256).Draw(t, "frequency")
		frequency[0]++
		checkCode(t, frequency)
	})
}

func checkCode(t interface{ Fatalf(string, ...any) }, frequency []int) {
	h := NewHuffmanCode(frequency)
	s := &Stream{Codec: "test", Data: h.Append(nil, 0, 2)}
	marker, p, err := s.Next()
	if err != nil || marker != DHT {
		t.Fatalf("%v", err)
	}
	var tables [2][4]*Huffman
	if err := s.Huffmans(p, &tables); err != nil {
		t.Fatalf("%v", err)
	}
	for symbol, f := range frequency {
		if f == 0 {
			continue
		}
		length := int(h.Length[symbol])
		if length < 1 || length > 16 {
			t.Fatalf("symbol %d has %d bits", symbol, length)
		}
		if h.Code[symbol] == 1<<length-1 {
			t.Fatalf("symbol %d has a code of ones only", symbol)
		}
		for _, behind := range []uint16{0, 0xFFFF} {
			bits := h.Code[symbol]<<(16-length) | behind>>length&(1<<(16-length)-1)
			got, n := tables[0][2].Decode(bits)
			if got != byte(symbol) || n != length {
				t.Fatalf("symbol %d of %d bits decoded as %d of %d", symbol, length, got, n)
			}
		}
	}
	if _, n := tables[0][2].Decode(0xFFFF); n != 0 {
		t.Fatalf("ones only are a code of %d bits", n)
	}
}

func TestHuffmansRefuses(t *testing.T) {
	table := func(first byte, counts map[int]byte, symbols ...byte) []byte {
		b := make([]byte, 17, 17+len(symbols))
		b[0] = first
		for length, n := range counts {
			b[length] = n
		}
		return append(b, symbols...)
	}
	for name, p := range map[string][]byte{
		"class 2":                     table(0x20, map[int]byte{1: 1}, 0),
		"destination 4":               table(0x04, map[int]byte{1: 1}, 0),
		"no symbols":                  table(0, nil),
		"a symbol is missing":         table(0, map[int]byte{2: 2}, 0),
		"three of one bit":            table(0, map[int]byte{1: 3}, 0, 1, 2),
		"two of one, one of two bits": table(0, map[int]byte{1: 2, 2: 1}, 0, 1, 2),
		"short":                       make([]byte, 16),
	} {
		var tables [2][4]*Huffman
		if err := (&Stream{}).Huffmans(p, &tables); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Bits that were written are read back, whatever bytes they make.
func TestBits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOf(rapid.Custom(func(t *rapid.T) [2]uint64 {
			n := rapid.IntRange(1, 31).Draw(t, "bits")
			return [2]uint64{rapid.Uint64Range(0, 1<<n-1).Draw(t, "value") | rapid.SampledFrom([]uint64{0, 1<<n - 1}).Draw(t, "ones"), uint64(n)}
		})).Draw(t, "values")
		var w BitWriter
		for _, v := range values {
			w.Bits, w.N = w.Bits<<v[1]|v[0], w.N+int(v[1])
			w.Drain()
		}
		w.Flush()
		r := BitReader{Data: append(w.Out, 0xFF, EOI, 1, 2, 3, 4, 5, 6, 7, 8)}
		for i, v := range values {
			if r.N < int(v[1]) {
				r.Fill()
			}
			if got := r.Bits >> (64 - v[1]); got != v[0] || r.N < int(v[1]) {
				t.Fatalf("value %d: %d, was %d", i, got, v[0])
			}
			r.Bits <<= v[1]
			r.N -= int(v[1])
		}
		if left := r.Rest(); left != 0 || r.At != len(w.Out) {
			t.Fatalf("%d bytes left, at %d of %d", left, r.At, len(w.Out))
		}
	})
}

func TestRestartWantsItsMarker(t *testing.T) {
	for name, c := range map[string]struct {
		data []byte
		good bool
	}{
		"its marker":     {[]byte{0xFF, RST0 + 1, 9}, true},
		"fill bytes":     {[]byte{0xFF, 0xFF, 0xFF, RST0 + 1, 9}, true},
		"another":        {[]byte{0xFF, RST0 + 2, 9}, false},
		"EOI":            {[]byte{0xFF, EOI}, false},
		"data before it": {[]byte{1, 2, 0xFF, RST0 + 1, 9}, false},
		"the end":        {[]byte{}, false},
		"cut":            {[]byte{0xFF}, false},
	} {
		r := BitReader{Data: c.data}
		err := (&Stream{}).Restart(&r, 9)
		if (err == nil) != c.good || c.good && !bytes.Equal(r.Data[r.At:], []byte{9}) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestColour(t *testing.T) {
	frame := func(ids string) *Frame {
		f := new(Frame)
		for _, id := range ids {
			f.Components = append(f.Components, Component{ID: byte(id)})
		}
		return f
	}
	for _, c := range []struct {
		ids        string
		said, want raster.Colour
	}{
		{"\x01", raster.ColourYCbCr, raster.ColourUnspecified},
		{"\x01\x02\x03", raster.ColourYCbCr, raster.ColourYCbCr},
		{"\x01\x02\x03", raster.ColourUnspecified, raster.ColourUnspecified},
		{"RGB", raster.ColourUnspecified, raster.ColourRGB},
		{"RGB", raster.ColourYCbCr, raster.ColourYCbCr},
	} {
		if got := frame(c.ids).Colour(c.said); got != c.want {
			t.Errorf("%q, %v: %v", c.ids, c.said, got)
		}
	}
}
