package pixel

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"nhip/dicom"
	"nhip/dicom/pixel/jpegls"
	"nhip/dicom/pixel/raster"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// values decodes a frame.
func values(t testing.TB, r *Reader, k int) (v []int64) {
	t.Helper()
	f, err := r.Decode(t.Context(), k)
	must(t, err)
	for i := range f.Columns * f.Rows * f.Samples {
		v = append(v, f.Value(f.Cell(i)))
	}
	return v
}

func equal(t testing.TB, got []int64, want ...int64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d values: %v", len(got), got)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%v\nwant %v", got, want)
		}
	}
}

func TestFramesOfOneBitAreNotAlignedToBytes(t *testing.T) {
	// Three frames of 2 × 3 bits, the least significant bit first (PS3.5 section 8.1.1).
	one := format(t, "MONOCHROME2", 1, 1, 1, 0, 0, 0, 3)
	change := func(d *dicom.Dataset) { one(d); set(t, tag.Rows, 2, tag.Columns, 3)(d) }
	// 101100, 010011, 111000.
	bits := []byte{0b10_001101, 0b0111_1100, 0, 0}
	for name, syntax := range map[string]string{"little": uid.ExplicitVRLittleEndian, "big": uid.ExplicitVRBigEndian} {
		r := opened(t, native(t, syntax, bits, change), syntax)
		equal(t, values(t, r, 0), 1, 0, 1, 1, 0, 0)
		equal(t, values(t, r, 1), 0, 1, 0, 0, 1, 1)
		equal(t, values(t, r, 2), 1, 1, 1, 0, 0, 0)
		if b, err := r.Frame(1); err != nil || !bytes.Equal(b, []byte{0b110010}) {
			t.Errorf("%s: frame 1 is % x, %v", name, b, err)
		}
	}
}

func TestCellsOfAllSizes(t *testing.T) {
	for _, c := range []struct {
		name                            string
		allocated, stored, high, signed int
		pixels                          []byte
		want                            []int64
	}{
		{"8", 8, 8, 7, 0, []byte{0, 1, 127, 128, 254, 255}, []int64{0, 1, 127, 128, 254, 255}},
		{"8 signed", 8, 8, 7, 1, []byte{0, 1, 127, 128, 254, 255}, []int64{0, 1, 127, -128, -2, -1}},
		{"12 packed", 12, 12, 11, 0, []byte{0x21, 0x43, 0x65, 0x87, 0xA9, 0xCB, 0xED, 0x0F, 0x00}, []int64{0x321, 0x654, 0x987, 0xCBA, 0xFED, 0x000}},
		{"16, overlay above", 16, 12, 11, 0, []byte{1, 0xF0, 2, 0x10, 3, 0, 0xFF, 0xFF, 0, 8, 0, 0}, []int64{1, 2, 3, 4095, 2048, 0}},
		{"16, overlay below", 16, 12, 15, 1, []byte{0x1F, 0, 0x20, 0, 0xF7, 0x7F, 0x05, 0x80, 0xF0, 0xFF, 0, 0}, []int64{1, 2, 2047, -2048, -1, 0}},
		{"16 signed", 16, 16, 15, 1, []byte{0, 0x80, 0xFF, 0xFF, 0, 0, 1, 0, 0xFF, 0x7F, 2, 0}, []int64{-32768, -1, 0, 1, 32767, 2}},
		{"24", 24, 24, 23, 0, bytes.Repeat([]byte{1, 2, 3}, 6), []int64{0x30201, 0x30201, 0x30201, 0x30201, 0x30201, 0x30201}},
		{"32", 32, 32, 31, 0, bytes.Repeat([]byte{1, 2, 3, 0xF4}, 6), []int64{0xF4030201, 0xF4030201, 0xF4030201, 0xF4030201, 0xF4030201, 0xF4030201}},
		{"32 signed", 32, 32, 31, 1, bytes.Repeat([]byte{0xFE, 0xFF, 0xFF, 0xFF}, 6), []int64{-2, -2, -2, -2, -2, -2}},
		{"4", 4, 4, 3, 0, []byte{0x21, 0x43, 0x65, 0}, []int64{1, 2, 3, 4, 5, 6}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, syntax := range []string{uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.ImplicitVRLittleEndian} {
				p := c.pixels
				if len(p)%2 == 1 {
					p = append(bytes.Clone(p), 0)
				}
				d := native(t, syntax, p, set(t, tag.BitsAllocated, c.allocated, tag.BitsStored, c.stored, tag.HighBit, c.high, tag.PixelRepresentation, c.signed))
				equal(t, values(t, opened(t, d, syntax), 0), c.want...)
			}
		})
	}
}

func TestPlanesAndSharedChrominance(t *testing.T) {
	small := set(t, tag.Rows, 1, tag.Columns, 2)
	planar := format(t, "RGB", 3, 8, 8, 7, 0, 1, 2)
	d := native(t, uid.ExplicitVRLittleEndian, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, func(d *dicom.Dataset) { planar(d); small(d) })
	equal(t, values(t, opened(t, d, uid.ExplicitVRLittleEndian), 1), 7, 9, 11, 8, 10, 12)

	half := format(t, "YBR_FULL_422", 3, 8, 8, 7, 0, 0, 2)
	d = native(t, uid.ExplicitVRLittleEndian, []byte{1, 2, 3, 4, 5, 6, 7, 8}, func(d *dicom.Dataset) { half(d); small(d) })
	r := opened(t, d, uid.ExplicitVRLittleEndian)
	equal(t, values(t, r, 1), 5, 7, 8, 6, 7, 8)
	if f, err := r.Decode(t.Context(), 0); err != nil || f.Photometric != "YBR_FULL" {
		t.Errorf("%v %v", f, err)
	}
	// As long as YBR_FULL is what many writers mean.
	d = native(t, uid.ExplicitVRLittleEndian, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, func(d *dicom.Dataset) { half(d); small(d) })
	r = opened(t, d, uid.ExplicitVRLittleEndian)
	equal(t, values(t, r, 1), 7, 8, 9, 10, 11, 12)
	if len(r.Problems()) == 0 {
		t.Error("no problem")
	}
}

func TestColoursOfTheStandard(t *testing.T) {
	for _, c := range []struct {
		photometric string
		ybr, rgb    [3]int64
	}{
		{"YBR_FULL", [3]int64{0, 128, 128}, [3]int64{0, 0, 0}},
		{"YBR_FULL", [3]int64{255, 128, 128}, [3]int64{255, 255, 255}},
		{"YBR_FULL", [3]int64{76, 85, 255}, [3]int64{254, 0, 0}},
		{"YBR_FULL", [3]int64{150, 44, 21}, [3]int64{0, 255, 1}},
		{"YBR_FULL", [3]int64{29, 255, 107}, [3]int64{0, 0, 254}},
		{"YBR_FULL", [3]int64{100, 88, 150}, [3]int64{131, 98, 29}},
		{"YBR_PARTIAL_422", [3]int64{100, 88, 150}, [3]int64{133, 96, 17}},
		{"YBR_PARTIAL_422", [3]int64{16, 128, 128}, [3]int64{0, 0, 0}},
		{"YBR_PARTIAL_422", [3]int64{235, 128, 128}, [3]int64{255, 255, 255}},
		{"YBR_PARTIAL_422", [3]int64{82, 90, 240}, [3]int64{255, 1, 0}},
	} {
		f := &Frame{Photometric: c.photometric, BitsStored: 8, HighBit: 7, Image: &raster.Image{
			Columns: 1, Rows: 1, Samples: 3, BitsAllocated: 8, Pix: []byte{byte(c.ybr[0]), byte(c.ybr[1]), byte(c.ybr[2])}}}
		f.RGB()
		for s := range 3 {
			if got := f.Value(f.Cell(s)); max(got-c.rgb[s], c.rgb[s]-got) > 1 {
				t.Errorf("%s %v: %v, want %v", c.photometric, c.ybr, f.Pix, c.rgb)
			}
		}
	}
}

func TestDescriptionsThatCannotBeAreRefused(t *testing.T) {
	ul := func(t tag.Tag, n int64) func(*dicom.Dataset) {
		return func(d *dicom.Dataset) { d.SetIntAs(t, dicom.UL, n) }
	}
	for name, change := range map[string]func(*dicom.Dataset){
		"no rows":                set(t, tag.Rows, 0),
		"rows in UL":             ul(tag.Rows, 1<<31),
		"columns in UL":          ul(tag.Columns, 0x10001),
		"negative frames":        set(t, tag.NumberOfFrames, -1),
		"no frames":              set(t, tag.NumberOfFrames, 0),
		"no samples":             set(t, tag.SamplesPerPixel, 0),
		"two samples":            set(t, tag.SamplesPerPixel, 2),
		"65535 samples":          set(t, tag.SamplesPerPixel, 65535),
		"three samples of grey":  set(t, tag.SamplesPerPixel, 3),
		"no bits allocated":      set(t, tag.BitsAllocated, 0),
		"64 bits allocated":      set(t, tag.BitsAllocated, 64),
		"65535 bits allocated":   set(t, tag.BitsAllocated, 65535),
		"more stored":            set(t, tag.BitsStored, 9),
		"none stored":            set(t, tag.BitsStored, 0),
		"ARGB":                   set(t, tag.PhotometricInterpretation, "ARGB", tag.SamplesPerPixel, 4),
		"HSV":                    set(t, tag.PhotometricInterpretation, "HSV", tag.SamplesPerPixel, 3),
		"CMYK":                   set(t, tag.PhotometricInterpretation, "CMYK", tag.SamplesPerPixel, 4),
		"XYZ":                    set(t, tag.PhotometricInterpretation, "XYZ", tag.SamplesPerPixel, 3),
		"65535²":                 set(t, tag.Rows, 65535, tag.Columns, 65535),
		"65535² of 3 of 32 bits": set(t, tag.Rows, 65535, tag.Columns, 65535, tag.SamplesPerPixel, 3, tag.PhotometricInterpretation, "RGB", tag.BitsAllocated, 32, tag.BitsStored, 32, tag.HighBit, 31),
		"odd shared chrominance": set(t, tag.SamplesPerPixel, 3, tag.PhotometricInterpretation, "YBR_FULL_422", tag.Rows, 2, tag.Columns, 3),
	} {
		d := native(t, uid.ExplicitVRLittleEndian, make([]byte, 6), change)
		before := allocated()
		_, err := Open(d, uid.ExplicitVRLittleEndian, raster.Limits{})
		if err == nil {
			t.Errorf("%s: opened", name)
		}
		if n := allocated() - before; n > 1<<20 {
			t.Errorf("%s: %d bytes allocated", name, n)
		}
	}
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func TestFramesThatDidNotArriveCostNothing(t *testing.T) {
	for name, change := range map[string]func(*dicom.Dataset){
		"many frames":      set(t, tag.NumberOfFrames, 1<<31-1),
		"a large frame":    set(t, tag.Rows, 16000, tag.Columns, 16000),
		"large and many":   set(t, tag.Rows, 16000, tag.Columns, 16000, tag.NumberOfFrames, 1<<31-1),
		"large of 1 bit":   set(t, tag.Rows, 16000, tag.Columns, 16000, tag.BitsAllocated, 1, tag.BitsStored, 1, tag.HighBit, 0),
		"large, in colour": set(t, tag.Rows, 16000, tag.Columns, 16000, tag.SamplesPerPixel, 3, tag.PhotometricInterpretation, "YBR_FULL_422"),
	} {
		d := native(t, uid.ExplicitVRLittleEndian, make([]byte, 6), change)
		before := allocated()
		r := opened(t, d, uid.ExplicitVRLittleEndian)
		if len(r.Problems()) == 0 {
			t.Errorf("%s: no problem", name)
		}
		for _, k := range []int{r.Frames - 1, 1 << 30} {
			if _, err := r.Decode(t.Context(), k); err == nil {
				t.Errorf("%s: frame %d is there", name, k)
			}
		}
		if n := allocated() - before; n > 1<<20 {
			t.Errorf("%s: %d bytes allocated", name, n)
		}
	}
	coded := encapsulated(t, uid.JPEGLSLossless, items(nil, stream(10)), set(t, tag.Rows, 16000, tag.Columns, 16000, tag.NumberOfFrames, 1<<31-1))
	before := allocated()
	if _, err := opened(t, coded, uid.JPEGLSLossless).Decode(t.Context(), 0); err == nil {
		t.Error("decoded")
	}
	if n := allocated() - before; n > 1<<20 {
		t.Errorf("%d bytes allocated", n)
	}
}

func TestDescriptionAndStreamHaveToAgree(t *testing.T) {
	whole := formats(t)["8 bits"]
	f := transcoded(t, file(t, whole, uid.ExplicitVRLittleEndian), uid.JPEGLSLossless)
	for name, change := range map[string]func(*dicom.Dataset){
		"fewer rows":   set(t, tag.Rows, 9),
		"more rows":    set(t, tag.Rows, 11),
		"more columns": set(t, tag.Columns, 15),
		"turned":       set(t, tag.Rows, 14, tag.Columns, 10),
		"in colour":    set(t, tag.SamplesPerPixel, 3, tag.PhotometricInterpretation, "RGB"),
		"fewer bits":   set(t, tag.BitsAllocated, 4, tag.BitsStored, 4, tag.HighBit, 3),
	} {
		b, err := f.Encode(uid.JPEGLSLossless)
		must(t, err)
		d, err := dicom.Parse(b, uid.JPEGLSLossless, dicom.Limits{})
		must(t, err)
		change(d)
		if _, err := opened(t, d, uid.JPEGLSLossless).Decode(t.Context(), 0); err == nil {
			t.Errorf("%s: decoded", name)
		}
	}
}

func TestStreamsHaveNoHighBit(t *testing.T) {
	m := &raster.Image{Columns: 3, Rows: 2, Samples: 1, BitsAllocated: 16, Precision: 12, Pix: []byte{1, 0, 2, 0, 0xFF, 0x0F, 3, 8, 0, 0, 9, 9}}
	b, err := jpegls.Encode(m, jpegls.Options{})
	must(t, err)
	if len(b)%2 == 1 {
		b = append(b, 0)
	}
	for _, signed := range []int{0, 1} {
		d := encapsulated(t, uid.JPEGLSLossless, items(nil, b), set(t, tag.BitsAllocated, 16, tag.BitsStored, 12, tag.HighBit, 15, tag.PixelRepresentation, signed))
		want := []int64{1, 2, 4095, 2051, 0, 2313}
		if signed == 1 {
			want = []int64{1, 2, -1, 2051 - 4096, 0, 2313 - 4096}
		}
		equal(t, values(t, opened(t, d, uid.JPEGLSLossless), 0), want...)
	}
}

func TestTransferSyntaxAndEncapsulationHaveToAgree(t *testing.T) {
	if _, err := Open(native(t, uid.ExplicitVRLittleEndian, make([]byte, 6), nil), uid.JPEGLSLossless, raster.Limits{}); err == nil {
		t.Error("native pixel data as JPEG-LS")
	}
	if _, err := Open(encapsulated(t, uid.JPEGLSLossless, items(nil, stream(4)), nil), uid.ExplicitVRLittleEndian, raster.Limits{}); err == nil {
		t.Error("encapsulated pixel data as native")
	}
	r := opened(t, encapsulated(t, "1.2.840.10008.1.2.4.102", items(nil, stream(4)), nil), "1.2.840.10008.1.2.4.102")
	if _, err := r.Frame(0); err != nil {
		t.Error(err)
	}
	var unsupported *UnsupportedError
	if _, err := r.Decode(t.Context(), 0); !errors.As(err, &unsupported) || !strings.Contains(err.Error(), "MPEG-4") {
		t.Errorf("%v", err)
	}
}

func TestFramesInFragmentsThatAreNotCompressed(t *testing.T) {
	d := encapsulated(t, uid.EncapsulatedUncompressedExplicitVRLittleEndian, items(nil, []byte{1, 2, 3, 4, 5, 6}, []byte{6, 5, 4, 3, 2, 1}), set(t, tag.NumberOfFrames, 2))
	equal(t, values(t, opened(t, d, uid.EncapsulatedUncompressedExplicitVRLittleEndian), 1), 6, 5, 4, 3, 2, 1)

	short := encapsulated(t, uid.EncapsulatedUncompressedExplicitVRLittleEndian, items(nil, []byte{1, 2}), nil)
	if _, err := opened(t, short, uid.EncapsulatedUncompressedExplicitVRLittleEndian).Decode(t.Context(), 0); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
	// "stored" block of six bytes, RFC 1951 section 3.2.4.
	deflated := []byte{1, 6, 0, 0xF9, 0xFF, 1, 2, 3, 4, 5, 6, 0}
	d = encapsulated(t, uid.DeflatedImageFrameCompression, items(nil, deflated), nil)
	equal(t, values(t, opened(t, d, uid.DeflatedImageFrameCompression), 0), 1, 2, 3, 4, 5, 6)
	for _, b := range [][]byte{deflated[:6], {0xFF, 0xFF}} {
		d = encapsulated(t, uid.DeflatedImageFrameCompression, items(nil, b), nil)
		if _, err := opened(t, d, uid.DeflatedImageFrameCompression).Decode(t.Context(), 0); err == nil {
			t.Error("cut, and decoded")
		}
	}
}

func TestObjectsWithoutPixels(t *testing.T) {
	if _, err := Open(attributes(t, nil), uid.ExplicitVRLittleEndian, raster.Limits{}); !errors.Is(err, ErrNoPixelData) {
		t.Errorf("%v", err)
	}
	d := attributes(t, nil)
	must(t, d.SetFloat(tag.FloatPixelData, 1))
	var unsupported *UnsupportedError
	if _, err := Open(d, uid.ExplicitVRLittleEndian, raster.Limits{}); !errors.As(err, &unsupported) {
		t.Errorf("%v", err)
	}
}

func TestVideoIsOneStream(t *testing.T) {
	const mpeg4 = "1.2.840.10008.1.2.4.102"
	r := opened(t, encapsulated(t, mpeg4, items(nil, []byte{1, 2, 3, 4}, []byte{5, 6}), set(t, tag.NumberOfFrames, 300)), mpeg4)
	in, n, err := r.FrameReader(0)
	must(t, err)
	b, err := io.ReadAll(in)
	if err != nil || n != 6 || !bytes.Equal(b, []byte{1, 2, 3, 4, 5, 6}) || len(r.Problems()) > 0 {
		t.Errorf("% x, %d, %v, %v", b, n, err, r.Problems())
	}
	small, err := Open(encapsulated(t, mpeg4, items(nil, make([]byte, 100)), nil), mpeg4, raster.Limits{MaxBytes: 50})
	must(t, err)
	var limit *raster.LimitError
	if _, err := small.Frame(0); !errors.As(err, &limit) {
		t.Errorf("a stream beyond the limit: %v", err)
	}
	if _, _, err := opened(t, native(t, uid.ExplicitVRLittleEndian, make([]byte, 6), nil), uid.ExplicitVRLittleEndian).FrameReader(0); err == nil {
		t.Error("native pixel data as a stream")
	}
}

// A large object is 4,000 native frames of 512 KiB that are nowhere: the first byte of
// frame k is k, the others are 0.
type large struct{ head []byte }

const largeFrame, largeFrames = 512 << 10, 4000

func (l large) size() int64 { return int64(len(l.head)) + largeFrame*largeFrames }

func (l large) ReadAt(b []byte, at int64) (int, error) {
	whole := len(b)
	b = b[:min(int64(len(b)), max(l.size()-at, 0))]
	clear(b)
	if at < int64(len(l.head)) {
		copy(b, l.head[at:])
	}
	first := int64(len(l.head))
	for k := max(at-first+largeFrame-1, 0) / largeFrame; first+k*largeFrame < at+int64(len(b)); k++ {
		b[first+k*largeFrame-at] = byte(k)
	}
	if len(b) < whole {
		return len(b), io.EOF
	}
	return len(b), nil
}

func newLarge(t testing.TB) large {
	d := attributes(t, set(t, tag.Rows, 512, tag.Columns, 1024, tag.NumberOfFrames, largeFrames))
	var b bytes.Buffer
	must(t, file(t, d, uid.ExplicitVRLittleEndian).Write(&b))
	b.Write([]byte{0xE0, 0x7F, 0x10, 0, 'O', 'B', 0, 0})
	b.Write(u32(largeFrame * largeFrames))
	return large{b.Bytes()}
}

func TestFrameOfTwoGigabytesIsReadAlone(t *testing.T) {
	l := newLarge(t)
	before := allocated()
	f, err := dicom.OpenFile(l, l.size(), dicom.Limits{Total: 1 << 32})
	must(t, err)
	r := opened(t, f.Dataset, f.TransferSyntax())
	frame, err := r.Decode(t.Context(), largeFrames-1)
	must(t, err)
	want := make([]byte, largeFrame)
	want[0] = (largeFrames - 1) % 256
	if !bytes.Equal(frame.Pix, want) {
		t.Error("another frame")
	}
	if n := allocated() - before; n > 4<<20 {
		t.Errorf("%d bytes allocated", n)
	}
}
