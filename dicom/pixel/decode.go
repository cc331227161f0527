package pixel

import (
	"bytes"
	"compress/flate"
	"context"
	"fmt"
	"io"
	"strings"

	"nhip/dicom/pixel/j2k"
	"nhip/dicom/pixel/jpegdct"
	"nhip/dicom/pixel/jpegll"
	"nhip/dicom/pixel/jpegls"
	"nhip/dicom/pixel/raster"
	"nhip/dicom/pixel/rle"
	"nhip/dicom/uid"
)

// Decode returns frame k, from 0, decoded. The context bounds the helper process
// of JPEG 2000. Beside the errors of Frame there are those of the codecs:
// *raster.FormatError, *raster.UnsupportedError, *raster.LimitError and
// j2k.ErrNotInstalled.
func (r *Reader) Decode(ctx context.Context, k int) (*Frame, error) {
	f := r.Format
	if schemeOf(f.TransferSyntaxUID) == unknownScheme {
		return nil, unsupported("transfer syntax %s", uid.Name(f.TransferSyntaxUID))
	}
	l, err := f.limits(r.limits)
	if err != nil {
		return nil, err
	}
	b, err := r.Frame(k)
	if err != nil {
		return nil, err
	}
	frame, err := f.decode(ctx, b, l)
	if err != nil {
		return nil, fmt.Errorf("frame %d: %w", k+1, err)
	}
	return frame, nil
}

// decode decodes one frame.
func (f Format) decode(ctx context.Context, b []byte, l raster.Limits) (*Frame, error) {
	switch schemeOf(f.TransferSyntaxUID) {
	case nativeScheme:
		return f.decodeWhole(b)
	case deflateScheme:
		inflated, err := f.inflate(b)
		if err != nil {
			return nil, err
		}
		return f.decodeWhole(inflated)
	case rleScheme:
		return f.decodeRLE(b, l)
	case j2kScheme:
		return f.decodeJ2K(ctx, b, l)
	}
	return f.decodeJPEG(b, l)
}

// decodeWhole decodes a native frame of which all has to be there.
func (f Format) decodeWhole(b []byte) (*Frame, error) {
	need := (f.frameBits() + 7) / 8
	if int64(len(b)) < need {
		return nil, &FormatError{What: fmt.Sprintf("%d bytes for a frame of %d", len(b), need), Err: errCut}
	}
	if f.halved() && f.Columns%2 != 0 {
		return nil, wrong("%d columns in photometric interpretation %s", f.Columns, f.Photometric)
	}
	return decodeNative(b[:need], f), nil
}

// inflate inflates a frame, PS3.5 annex A.4.14, to its size and no further.
func (f Format) inflate(b []byte) ([]byte, error) {
	var out bytes.Buffer
	need := (f.frameBits() + 7) / 8
	if _, err := io.Copy(&out, io.LimitReader(flate.NewReader(bytes.NewReader(b)), need)); err != nil {
		return nil, &FormatError{What: "the frame cannot be inflated", Err: errCut}
	}
	return out.Bytes(), nil
}

// decodeRLE decodes a frame of PS3.5 annex G, which says nothing of itself but how
// many segments it has.
func (f Format) decodeRLE(b []byte, l raster.Limits) (*Frame, error) {
	if f.BitsAllocated != f.cell() {
		return nil, unsupported("RLE of %d bits allocated", f.BitsAllocated)
	}
	m, err := rle.Decode(b, raster.Image{Columns: f.Columns, Rows: f.Rows, Samples: f.Samples, BitsAllocated: f.BitsAllocated, Precision: f.BitsAllocated}, l)
	if err != nil {
		return nil, err
	}
	return f.frame(m), nil
}

// decodeJ2K decodes a codestream. Its own colour transform, of which YBR_RCT and
// YBR_ICT tell, is undone. No helper runs for one that is not what the object says.
func (f Format) decodeJ2K(ctx context.Context, b []byte, l raster.Limits) (*Frame, error) {
	h, err := j2k.ParseHeader(b)
	if err != nil {
		return nil, err
	}
	if err := f.agrees(h.Columns, h.Rows, h.Samples, h.Precision); err != nil {
		return nil, err
	}
	m, err := j2k.Decode(ctx, b, l)
	if err != nil {
		return nil, err
	}
	if f.Photometric == ybrRCT || f.Photometric == ybrICT {
		f.Photometric = rgb
	}
	return f.decoded(m)
}

// decodeJPEG decodes a stream of the family of ISO/IEC 10918-1 and 14495-1 by the
// process that it names itself.
func (f Format) decodeJPEG(b []byte, l raster.Limits) (*Frame, error) {
	sof, subsampled, err := startOfFrame(b)
	if err != nil {
		return nil, err
	}
	var m *raster.Image
	switch sof {
	case 0xC0, 0xC1, 0xC2:
		if m, err = jpegdct.Decode(b, l); err == nil {
			f.Photometric = declared(f.Photometric, m.Colour, subsampled)
		}
	case 0xC3:
		m, err = jpegll.Decode(b, l)
	case 0xF7:
		m, err = jpegls.Decode(b, l)
	default:
		err = unsupported("a JPEG stream of process SOF%d", sof-0xC0)
	}
	if err != nil {
		return nil, err
	}
	return f.decoded(m)
}

// declared returns the photometric interpretation of what a lossy JPEG stream holds:
// where the stream says RGB or YCbCr in so many words (the markers of Adobe and of
// JFIF), and the object the other, the object was wrongly labelled by who compressed
// it (PS3.5 section 8.2.1). So it was where the stream says nothing and has fewer
// samples of some components: nobody subsamples green and blue.
func declared(photometric string, c raster.Colour, subsampled bool) string {
	switch {
	case photometric == rgb && (c == raster.ColourYCbCr || c == raster.ColourUnspecified && subsampled):
		return ybrFull
	case strings.HasPrefix(photometric, "YBR") && c == raster.ColourRGB:
		return rgb
	}
	return photometric
}

// startOfFrame returns the second byte of the marker SOFn that a JPEG stream has,
// ISO/IEC 10918-1 table B.1, or 0xF7 for JPEG-LS, and whether its components have
// different sampling factors.
func startOfFrame(b []byte) (sof byte, subsampled bool, err error) {
	if len(b) < 2 || b[0] != 0xFF || b[1] != 0xD8 {
		return 0, false, wrong("a frame that is no JPEG stream")
	}
	for at := 2; at+4 <= len(b); {
		marker := b[at+1]
		switch {
		case b[at] != 0xFF:
			return 0, false, wrong("a JPEG stream with something else than a marker segment in its head")
		case marker == 0xFF: // a fill byte
			at++
			continue
		case marker == 0xF7, marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC:
			// Length, precision, lines, samples per line, number of components, and
			// three bytes for each of these.
			for i := at + 10 + 3 + 1; i < len(b) && i < at+10+3*int(b[at+9]); i += 3 {
				subsampled = subsampled || b[i] != b[at+10+1]
			}
			return marker, subsampled, nil
		}
		at += 2 + int(b[at+2])<<8 + int(b[at+3])
	}
	return 0, false, &FormatError{What: "a JPEG stream without a frame header", Err: errCut}
}

// decoded checks what a codec returned against the description of the object, and
// puts the samples into the cells that it names.
func (f Format) decoded(m *raster.Image) (*Frame, error) {
	if err := f.agrees(m.Columns, m.Rows, m.Samples, m.Precision); err != nil {
		return nil, err
	}
	if m.Precision <= f.BitsStored {
		f.HighBit = f.BitsStored - 1
	}
	m = f.fit(m)
	return f.frame(m), nil
}

// agrees compares what a coded stream says of itself with what the object says.
func (f Format) agrees(columns, rows, samples, precision int) error {
	switch {
	case columns != f.Columns || rows != f.Rows:
		return wrong("the coded stream has %d columns and %d rows, the object says %d and %d", columns, rows, f.Columns, f.Rows)
	case samples != f.Samples:
		return wrong("the coded stream has %d samples per pixel, the object says %d", samples, f.Samples)
	case precision > f.BitsAllocated:
		return wrong("the coded stream has %d bits, the object allocates %d", precision, f.BitsAllocated)
	}
	return nil
}

// fit widens the cells of an image and extends its signs, where the object has
// signed values: as values of the precision, whatever the stream says of signs.
func (f Format) fit(m *raster.Image) *raster.Image {
	from, to := m.BitsAllocated/8, f.cell()/8
	signed := f.Signed && m.Precision < f.cell()
	if from == to && !signed && !m.Signed {
		return m
	}
	n := m.Columns * m.Rows * m.Samples
	out := make([]byte, n*to)
	for i := range n {
		var v uint32
		for j := range from {
			v |= uint32(m.Pix[i*from+j]) << (8 * j)
		}
		v &= 1<<m.Precision - 1
		if signed && v>>(m.Precision-1) != 0 {
			v |= ^uint32(0) << m.Precision
		}
		for j := range to {
			out[i*to+j] = byte(v >> (8 * j))
		}
	}
	return &raster.Image{Columns: m.Columns, Rows: m.Rows, Samples: m.Samples, BitsAllocated: 8 * to, Precision: 8 * to, Colour: m.Colour, Pix: out}
}
