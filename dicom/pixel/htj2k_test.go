package pixel_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"nhip/dicom"
	"nhip/dicom/pixel"
	"nhip/dicom/pixel/raster"
	"nhip/dicom/pixel/raster/rastertest"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// pnm writes samples as a PGM or PPM, which is big endian.
func pnm(t testing.TB, columns, rows, samples, bits int, v []uint16) string {
	t.Helper()
	kind := map[int]string{1: "P5", 3: "P6"}[samples]
	b := fmt.Appendf(nil, "%s\n%d %d\n%d\n", kind, columns, rows, 1<<bits-1)
	for _, x := range v {
		if bits <= 8 {
			b = append(b, byte(x))
		} else {
			b = binary.BigEndian.AppendUint16(b, x)
		}
	}
	name := filepath.Join(t.TempDir(), "in"+map[int]string{1: ".pgm", 3: ".ppm"}[samples])
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestHTJ2KIsDecodedByOpenJPEG(t *testing.T) {
	rastertest.Need(t, "ojph_compress", "opj_decompress")
	const columns, rows = 70, 50
	for _, c := range []struct{ samples, bits, frames int }{{1, 8, 2}, {1, 12, 1}, {1, 16, 1}, {3, 8, 2}} {
		t.Run(fmt.Sprintf("%d samples of %d bits", c.samples, c.bits), func(t *testing.T) {
			var coded [][]byte
			var values [][]uint16
			for k := range c.frames {
				v := make([]uint16, columns*rows*c.samples)
				for i := range v {
					v[i] = uint16(i*i*(k+1)/7+i<<3) & (1<<c.bits - 1)
				}
				out := filepath.Join(t.TempDir(), "out.j2c")
				if err := run(out, "ojph_compress", "-i", pnm(t, columns, rows, c.samples, c.bits, v), "-o", out, "-reversible", "true"); err != nil {
					t.Fatal(err)
				}
				b, err := os.ReadFile(out)
				if err != nil {
					t.Fatal(err)
				}
				coded, values = append(coded, b), append(values, v)
			}
			r := htj2k(t, columns, rows, c.samples, c.bits, coded)
			for k, want := range values {
				f, err := r.Decode(t.Context(), k)
				if err != nil {
					t.Fatal(err)
				}
				for i, v := range want {
					if got := f.Value(f.Cell(i)); got != int64(v) {
						t.Fatalf("frame %d, sample %d: %d, want %d", k, i, got, v)
					}
				}
				if c.samples == 3 && f.Photometric != "RGB" {
					t.Errorf("photometric interpretation %s", f.Photometric)
				}
			}
		})
	}
}

// htj2k opens an object of these frames.
func htj2k(t testing.TB, columns, rows, samples, bits int, coded [][]byte) *pixel.Reader {
	t.Helper()
	d := dicom.NewDataset()
	photometric := map[int]string{1: "MONOCHROME2", 3: "YBR_RCT"}[samples]
	for k, v := range map[tag.Tag]int64{
		tag.SamplesPerPixel: int64(samples), tag.Rows: int64(rows), tag.Columns: int64(columns), tag.NumberOfFrames: int64(len(coded)),
		tag.BitsAllocated: int64((bits + 7) / 8 * 8), tag.BitsStored: int64(bits), tag.HighBit: int64(bits - 1), tag.PixelRepresentation: 0,
	} {
		if err := d.SetInt(k, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.SetText(tag.PhotometricInterpretation, photometric); err != nil {
		t.Fatal(err)
	}
	if err := d.SetFrames(coded...); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := d.Write(&b, uid.HTJ2KLossless); err != nil {
		t.Fatal(err)
	}
	d, err := dicom.Parse(b.Bytes(), uid.HTJ2KLossless, dicom.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := pixel.Open(d, uid.HTJ2KLossless, raster.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Problems()) > 0 {
		t.Errorf("%v", r.Problems())
	}
	return r
}
