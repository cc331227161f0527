package jpegls

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"nhip/dicom/pixel/raster/rastertest"
)

// T.87 section C.2.4.1.1.1, worked out by hand.
func TestDefaultThresholds(t *testing.T) {
	for _, c := range []struct{ maxVal, near, t1, t2, t3 int }{
		{255, 0, 3, 7, 21},
		{255, 2, 9, 17, 35},
		{1023, 0, 6, 19, 72},
		{4095, 0, 18, 67, 276},
		{65535, 0, 18, 67, 276},
		{15, 0, 2, 3, 4},
		{3, 0, 2, 3, 3},
		{127, 0, 2, 3, 10},
		{255, 127, 128, 128, 128},
	} {
		t1, t2, t3 := defaultThresholds(c.maxVal, c.near)
		if t1 != c.t1 || t2 != c.t2 || t3 != c.t3 {
			t.Errorf("MAXVAL %d, NEAR %d: %d, %d, %d", c.maxVal, c.near, t1, t2, t3)
		}
	}
}

// RANGE, qbpp and LIMIT of T.87 section A.2.1.
func TestParameters(t *testing.T) {
	for _, c := range []struct{ maxVal, near, rangeVal, qbpp, limit int }{
		{255, 0, 256, 8, 32},
		{255, 3, 38, 6, 32},
		{4095, 0, 4096, 12, 48},
		{65535, 0, 65536, 16, 64},
		{1, 0, 2, 1, 20},
	} {
		m := newModel(parameters{c.near, c.maxVal, c.near + 1, c.near + 1, c.near + 1, 64})
		if m.rangeVal != c.rangeVal || m.qbpp != c.qbpp || m.limit != c.limit || m.zeroes != c.limit-c.qbpp-1 {
			t.Errorf("MAXVAL %d, NEAR %d: RANGE %d, qbpp %d, LIMIT %d", c.maxVal, c.near, m.rangeVal, m.qbpp, m.limit)
		}
		models.Put(m)
	}
}

// T.87 section A.6.2: the bias stays between -128 and 127, B between 1-N and 0.
func TestBiasIsBounded(t *testing.T) {
	low, high := context{a: 4, c: -127, n: 1}, context{a: 4, c: 126, n: 1}
	for range 5 {
		low.update(-100, -100, 64)
		high.update(100, 100, 64)
	}
	if low.c != -128 || high.c != 127 || low.b != 1-low.n || high.b != 0 {
		t.Errorf("%+v, %+v", low, high)
	}
}

func TestBitReader(t *testing.T) {
	r := bitReader{data: []byte{0xFF, 0x7F, 0xFF, 0x80, 1, 2, 3, 4, 5, 6}}
	if v := r.read(15); v != 0x7FFF {
		t.Errorf("FF and 7 bits: %X", v)
	}
	if r.read(1); !errors.Is(r.err, io.ErrUnexpectedEOF) {
		t.Errorf("at a marker: %v", r.err)
	}
	r = bitReader{data: make([]byte, 16)}
	if r.golomb(2, 23, 8); r.err == nil || errors.Is(r.err, io.ErrUnexpectedEOF) {
		t.Errorf("more zeroes than an escape code has: %v", r.err)
	}
}

// A run that is coded as broken off ends before the line does.
func TestRunLongerThanItsLine(t *testing.T) {
	for left, good := range []bool{false, false, true} {
		s := scanDecoder{bitReader: bitReader{data: []byte{0x40}}} // 0, then a length of 1
		index := 4                                                 // a length has one bit
		s.runLength(left, &index)
		if (s.err == nil) != good {
			t.Errorf("%d samples left: %v", left, s.err)
		}
	}
}

// Decoders with defaults of their own over 12 bits are told the parameters.
func TestPresetsAreWrittenOver12Bits(t *testing.T) {
	for precision, want := range map[int]bool{8: false, 12: false, 13: true, 16: true} {
		b, err := Encode(rastertest.Phantom(4, 4, 1, precision), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte{0xFF, markerLSE}) != want {
			t.Errorf("%d bits: % X", precision, b)
		}
	}
}
