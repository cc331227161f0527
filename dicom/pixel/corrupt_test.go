package pixel

import (
	"bytes"
	"image"
	"image/jpeg"
	"testing"

	"nhip/dicom/pixel/jpegll"
	"nhip/dicom/pixel/jpegls"
	"nhip/dicom/pixel/raster"
	"nhip/dicom/pixel/rle"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// streams are a picture of 24 by 16 pixels of 8 bits, coded.
func streams(t testing.TB) map[string][]byte {
	t.Helper()
	m := &raster.Image{Columns: 24, Rows: 16, Samples: 1, BitsAllocated: 8, Precision: 8, Pix: pixels(24*16, 3)}
	list := map[string][]byte{}
	var err error
	list[uid.JPEGLSLossless], err = jpegls.Encode(m, jpegls.Options{})
	must(t, err)
	list[uid.JPEGLosslessSV1], err = jpegll.Encode(m, jpegll.Options{})
	must(t, err)
	list[uid.RLELossless], err = rle.Encode(m)
	must(t, err)
	var b bytes.Buffer
	must(t, jpeg.Encode(&b, &image.Gray{Pix: m.Pix, Stride: 24, Rect: image.Rect(0, 0, 24, 16)}, nil))
	list[uid.JPEGBaseline8Bit] = b.Bytes()
	// A "stored" block, RFC 1951 section 3.2.4.
	list[uid.DeflatedImageFrameCompression] = append([]byte{1, 0x80, 1, 0x7F, 0xFE}, m.Pix...)
	return list
}

// enlarge makes the frame header of a JPEG stream say 16,000 by 16,000.
func enlarge(b []byte) []byte {
	b = bytes.Clone(b)
	for i := 2; i+8 < len(b); i++ {
		if b[i] == 0xFF && (b[i+1] == 0xC0 || b[i+1] == 0xC3 || b[i+1] == 0xF7) {
			copy(b[i+5:], []byte{0x3E, 0x80, 0x3E, 0x80})
			break
		}
	}
	return b
}

func TestStreamsOfLargePicturesThatDidNotArriveMakeNoMemory(t *testing.T) {
	for syntax, b := range streams(t) {
		if syntax != uid.RLELossless && syntax != uid.DeflatedImageFrameCompression {
			b = enlarge(b)
		}
		d := encapsulated(t, syntax, items(nil, b), set(t, tag.Rows, 16000, tag.Columns, 16000))
		before := allocated()
		if _, err := opened(t, d, syntax).Decode(t.Context(), 0); err == nil {
			t.Errorf("%s: decoded", uid.Name(syntax))
		}
		if n := allocated() - before; n > 8*uint64(len(b))+1<<20 {
			t.Errorf("%s: %d bytes allocated for %d", uid.Name(syntax), n, len(b))
		}
	}
}

func TestStreamsCutAnywhereAreErrorsOrWhole(t *testing.T) {
	for syntax, b := range streams(t) {
		change := set(t, tag.Rows, 16, tag.Columns, 24)
		whole := values(t, opened(t, encapsulated(t, syntax, items(nil, b), change), syntax), 0)
		for n := range len(b) {
			r := opened(t, encapsulated(t, syntax, items(nil, b[:n]), change), syntax)
			f, err := r.Decode(t.Context(), 0)
			if err != nil {
				continue
			}
			// What is missing may be what follows the last sample.
			for i, v := range whole {
				if f.Value(f.Cell(i)) != v {
					t.Fatalf("%s cut after %d bytes of %d: another picture", uid.Name(syntax), n, len(b))
				}
			}
		}
	}
}

func TestStreamsWithAnyByteChangedDoNoHarm(t *testing.T) {
	for syntax, b := range streams(t) {
		change := set(t, tag.Rows, 16, tag.Columns, 24)
		for i := range b {
			for _, v := range []byte{0xFF, b[i] ^ 0x80} {
				bad := bytes.Clone(b)
				bad[i] = v
				f, err := opened(t, encapsulated(t, syntax, items(nil, bad), change), syntax).Decode(t.Context(), 0)
				if err == nil && len(f.Pix) != 24*16 {
					t.Fatalf("%s, byte %d is %d: %d bytes", uid.Name(syntax), i, v, len(f.Pix))
				}
			}
		}
	}
}
