package pixel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"nhip/dicom"
	"nhip/dicom/pixel/raster"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// targets are what Transcode writes.
var targets = []string{
	uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian, uid.ExplicitVRBigEndian,
	uid.RLELossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless,
}

// compressed are those of them that are encapsulated.
var compressed = targets[4:]

// file makes a file in memory of a data set.
func file(t testing.TB, d *dicom.Dataset, syntax string) *dicom.File {
	t.Helper()
	f, err := dicom.NewFile(d, syntax)
	must(t, err)
	return f
}

// transcoded writes a file in another transfer syntax and reads it back.
func transcoded(t testing.TB, f *dicom.File, to string) *dicom.File {
	t.Helper()
	var b bytes.Buffer
	must(t, Transcode(t.Context(), &b, f, to, raster.Limits{}))
	out, err := dicom.ParseFile(b.Bytes(), dicom.Limits{})
	must(t, err)
	if out.TransferSyntax() != to {
		t.Fatalf("transfer syntax %s", out.TransferSyntax())
	}
	return out
}

// pixels returns native pixel data of any format, with structure.
func pixels(n int, seed uint32) []byte {
	b := make([]byte, n)
	for i := range b {
		seed = seed*1664525 + 1013904223
		b[i] = byte(i/3) + byte(seed>>29)
	}
	return b
}

// grey12 and the others are formats of the pixel module.
func format(t testing.TB, photometric string, samples, allocated, stored, high, signed, planar, frames int) func(*dicom.Dataset) {
	return func(d *dicom.Dataset) {
		set(t, tag.PhotometricInterpretation, photometric, tag.SamplesPerPixel, samples, tag.BitsAllocated, allocated,
			tag.BitsStored, stored, tag.HighBit, high, tag.PixelRepresentation, signed,
			tag.Rows, 10, tag.Columns, 14, tag.NumberOfFrames, frames)(d)
		if samples > 1 {
			set(t, tag.PlanarConfiguration, planar)(d)
		}
	}
}

// formats are native objects whose pixel data come back as they were, whatever is
// in the bits that are not stored.
func formats(t testing.TB) map[string]*dicom.Dataset {
	list := map[string]*dicom.Dataset{}
	for _, c := range []struct {
		name                                                     string
		photometric                                              string
		samples, allocated, stored, high, signed, planar, frames int
	}{
		{"8 bits", "MONOCHROME2", 1, 8, 8, 7, 0, 0, 1},
		{"8 bits, three frames", "MONOCHROME2", 1, 8, 8, 7, 0, 0, 3},
		{"12 bits with others above", "MONOCHROME1", 1, 16, 12, 11, 0, 0, 2},
		{"12 bits, high bit 15", "MONOCHROME2", 1, 16, 12, 15, 0, 0, 1},
		{"16 bits, signed", "MONOCHROME2", 1, 16, 16, 15, 1, 0, 1},
		{"palette", "PALETTE COLOR", 1, 8, 8, 7, 0, 0, 1},
		{"RGB", "RGB", 3, 8, 8, 7, 0, 0, 2},
		{"YBR_FULL", "YBR_FULL", 3, 8, 8, 7, 0, 0, 1},
		{"RGB of 16 bits", "RGB", 3, 16, 16, 15, 0, 0, 1},
	} {
		size := 10 * 14 * c.samples * c.allocated / 8 * c.frames
		list[c.name] = native(t, uid.ExplicitVRLittleEndian, pixels(size, uint32(size)),
			format(t, c.photometric, c.samples, c.allocated, c.stored, c.high, c.signed, c.planar, c.frames))
	}
	// Signed values with their sign extended, of 11 bits.
	b := pixels(280, 5)
	for i := 1; i < len(b); i += 2 {
		b[i] = byte(int8(b[i]<<5) >> 5)
	}
	list["11 bits, signed"] = native(t, uid.ExplicitVRLittleEndian, b, format(t, "MONOCHROME2", 1, 16, 11, 10, 1, 0, 1))
	return list
}

func TestLosslessThereAndBackIsTheSameByteForByte(t *testing.T) {
	for name, d := range formats(t) {
		for _, to := range targets {
			t.Run(name+" "+uid.Name(to), func(t *testing.T) {
				f := file(t, d, uid.ExplicitVRLittleEndian)
				there := transcoded(t, f, to)
				back := transcoded(t, there, uid.ExplicitVRLittleEndian)
				if !bytes.Equal(back.Bytes(tag.PixelData), d.Bytes(tag.PixelData)) {
					t.Error("other pixel data")
				}
				unchanged(t, d, there.Dataset)
				unchanged(t, d, back.Dataset)
			})
		}
	}
}

// unchanged checks that two data sets differ in the given elements at most, beside
// the pixel data.
func unchanged(t testing.TB, a, b *dicom.Dataset, but ...tag.Tag) {
	t.Helper()
	but = append(but, tag.PixelData)
	for _, pair := range [][2]*dicom.Dataset{{a, b}, {b, a}} {
		for e := range pair[0].All() {
			if slices.Contains(but, e.Tag) {
				continue
			}
			if got := pair[1].Texts(e.Tag); !pair[1].Has(e.Tag) || !slices.Equal(got, e.Texts()) {
				t.Errorf("%v: %v, not %v", e.Tag, got, e.Texts())
			}
		}
	}
}

func TestWhatIsWrittenIsOfEvenLength(t *testing.T) {
	odd := 0
	for name, d := range formats(t) {
		f := file(t, d, uid.ExplicitVRLittleEndian)
		for _, to := range targets {
			var b bytes.Buffer
			must(t, Transcode(t.Context(), &b, transcoded(t, f, uid.RLELossless), to, raster.Limits{}))
			if b.Len()%2 != 0 {
				t.Errorf("%s in %s: %d bytes", name, uid.Name(to), b.Len())
			}
			e, _ := transcoded(t, f, to).Find(tag.PixelData)
			for _, g := range e.Fragments() {
				if g.Length%2 != 0 {
					t.Errorf("%s in %s: a fragment of %d bytes", name, uid.Name(to), g.Length)
				}
			}
			r := opened(t, transcoded(t, f, to).Dataset, to)
			if f, err := r.Decode(t.Context(), 0); err == nil && to == uid.JPEGLSLossless {
				coded, err := encode(f, to)
				must(t, err)
				odd += len(coded) % 2
			}
		}
	}
	if odd == 0 {
		t.Error("no stream was of odd length: nothing was tested")
	}
}

func TestOnlyWhatTheStandardSaysChanges(t *testing.T) {
	planar := format(t, "RGB", 3, 8, 8, 7, 0, 1, 2)
	more := func(d *dicom.Dataset) {
		planar(d)
		set(t, tag.LossyImageCompression, "01", tag.LossyImageCompressionRatio, "12.5",
			tag.ExtendedOffsetTable, u64(0, 400), tag.ExtendedOffsetTableLengths, u64(400, 400), tag.DataSetTrailingPadding, []byte{0, 0})(d)
	}
	d := native(t, uid.ExplicitVRLittleEndian, pixels(840, 1), more)
	for _, to := range compressed {
		there := transcoded(t, file(t, d, uid.ExplicitVRLittleEndian), to)
		unchanged(t, d, there.Dataset, tag.PlanarConfiguration, tag.ExtendedOffsetTable, tag.ExtendedOffsetTableLengths)
		if v, ok := there.Int(tag.PlanarConfiguration); !ok || v != 0 || there.Has(tag.ExtendedOffsetTable) || there.Has(tag.ExtendedOffsetTableLengths) {
			t.Errorf("%s: planar configuration %d", uid.Name(to), v)
		}
		if e, _ := there.Find(tag.PixelData); !e.Undefined() {
			t.Errorf("%s: pixel data of a defined length", uid.Name(to))
		}
	}
	half := native(t, uid.ExplicitVRLittleEndian, pixels(280, 1), format(t, "YBR_FULL_422", 3, 8, 8, 7, 0, 0, 1))
	there := transcoded(t, file(t, half, uid.ExplicitVRLittleEndian), uid.JPEGLSLossless)
	unchanged(t, half, there.Dataset, tag.PhotometricInterpretation)
	if got := there.Text(tag.PhotometricInterpretation); got != "YBR_FULL" {
		t.Errorf("YBR_FULL_422 became %s", got)
	}
}

func TestWhatCannotBeTranscodedIsSaid(t *testing.T) {
	var unsupported *UnsupportedError
	f := file(t, native(t, uid.ExplicitVRLittleEndian, pixels(18, 1), format(t, "MONOCHROME2", 1, 1, 1, 0, 0, 0, 1)), uid.ExplicitVRLittleEndian)
	for _, to := range append(slices.Clone(compressed), uid.JPEG2000Lossless, uid.JPEGBaseline8Bit, "1.2.3") {
		if err := Transcode(t.Context(), &bytes.Buffer{}, f, to, raster.Limits{}); !errors.As(err, &unsupported) {
			t.Errorf("1 bit to %s: %v", to, err)
		}
	}
	deep := file(t, native(t, uid.ExplicitVRLittleEndian, pixels(560, 1), format(t, "MONOCHROME2", 1, 32, 32, 31, 0, 0, 1)), uid.ExplicitVRLittleEndian)
	if err := Transcode(t.Context(), &bytes.Buffer{}, deep, uid.JPEGLSLossless, raster.Limits{}); !errors.As(err, &unsupported) {
		t.Errorf("32 bits: %v", err)
	}
	none := file(t, attributes(t, nil), uid.ExplicitVRLittleEndian)
	if err := Transcode(t.Context(), &bytes.Buffer{}, none, uid.JPEGLSLossless, raster.Limits{}); !errors.Is(err, ErrNoPixelData) {
		t.Errorf("no pixel data: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	whole := file(t, native(t, uid.ExplicitVRLittleEndian, pixels(420, 1), format(t, "RGB", 3, 8, 8, 7, 0, 0, 1)), uid.ExplicitVRLittleEndian)
	if err := Transcode(ctx, &bytes.Buffer{}, whole, uid.JPEGLSLossless, raster.Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A failing writer takes so many bytes.
type failing int

var errFull = errors.New("full")

func (f *failing) Write(b []byte) (int, error) {
	if len(b) > int(*f) {
		return 0, errFull
	}
	*f -= failing(len(b))
	return len(b), nil
}

func TestErrorsOfTheWriterComeBack(t *testing.T) {
	f := file(t, native(t, uid.ExplicitVRLittleEndian, pixels(140*400, 1), format(t, "MONOCHROME2", 1, 8, 8, 7, 0, 0, 400)), uid.ExplicitVRLittleEndian)
	for _, n := range []failing{0, 10, 1000, 20000} {
		if err := Transcode(t.Context(), &n, f, uid.RLELossless, raster.Limits{}); !errors.Is(err, errFull) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// A gauge notes how large the heap was at the most while something was written.
type gauge struct{ writes, most uint64 }

func (g *gauge) Write(b []byte) (int, error) {
	if g.writes++; g.writes%8 == 1 { // it stops the world
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		g.most = max(g.most, m.HeapAlloc)
	}
	return len(b), nil
}

func TestLargeObjectsPassFrameByFrame(t *testing.T) {
	const frames = 64
	d := attributes(t, set(t, tag.Rows, 512, tag.Columns, 1024, tag.NumberOfFrames, frames))
	var b bytes.Buffer
	must(t, file(t, d, uid.ExplicitVRLittleEndian).Write(&b))
	b.Write([]byte{0xE0, 0x7F, 0x10, 0, 'O', 'B', 0, 0})
	b.Write(u32(largeFrame * frames))
	l := large{b.Bytes()}
	f, err := dicom.OpenFile(l, int64(b.Len())+largeFrame*frames, dicom.Limits{})
	must(t, err)
	for _, to := range []string{uid.RLELossless, uid.ExplicitVRBigEndian} {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		var g gauge
		must(t, Transcode(t.Context(), &g, f, to, raster.Limits{}))
		if grown := int64(g.most) - int64(m.HeapAlloc); g.most == 0 || grown > 16<<20 {
			t.Errorf("%s: %d bytes more of heap for an object of %d", uid.Name(to), grown, largeFrame*frames)
		}
	}
}

func ExampleEncodes() {
	fmt.Println(Encodes(uid.JPEGLSLossless), Encodes(uid.JPEG2000))
	// Output: true false
}
