package pixel

import (
	"bufio"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"nhip/dicom"
	"nhip/dicom/pixel/j2k"
	"nhip/dicom/pixel/jpegll"
	"nhip/dicom/pixel/jpegls"
	"nhip/dicom/pixel/raster"
	"nhip/dicom/pixel/rle"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// Decodes reports whether Decode decodes frames in a transfer syntax, on this
// machine.
func Decodes(transferSyntaxUID string) bool {
	switch schemeOf(transferSyntaxUID) {
	case unknownScheme:
		return false
	case j2kScheme:
		return j2k.Installed()
	}
	return true
}

// Encodes reports whether Transcode writes a transfer syntax: the native ones, RLE,
// JPEG lossless with selection value 1, and JPEG-LS lossless.
func Encodes(transferSyntaxUID string) bool {
	switch transferSyntaxUID {
	case uid.RLELossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless:
		return true
	}
	return isNative(transferSyntaxUID)
}

// Transcode writes a file in another transfer syntax, without loss: frame by frame,
// of which one at a time is in memory, with the context around each. The file is
// not changed. After an error what was written is a part, to be thrown away. In what
// is written these differ: the transfer syntax in the File
// Meta Information; Planar Configuration, which becomes 0; Photometric
// Interpretation, where decoding is a change of colour space (YBR_FULL_422 and
// YBR_FULL of lossy JPEG, YBR_RCT and YBR_ICT become RGB, YBR_FULL_422 of native
// pixel data YBR_FULL, PS3.5 section 8.2); High Bit where the codec moves it; the
// Extended Offset Table, which goes; the pixel data, one fragment a frame behind
// an empty Basic Offset Table. What is said of earlier lossy compression stays, as
// do the UIDs (PS3.3 section C.7.6.1.1.5).
func Transcode(ctx context.Context, w io.Writer, f *dicom.File, to string, l raster.Limits) error {
	from := f.TransferSyntax()
	if from == to {
		return f.Write(w)
	}
	if !Encodes(to) {
		return unsupported("writing transfer syntax %s", uid.Name(to))
	}
	if isNative(from) && isNative(to) {
		out := dicom.File{Preamble: f.Preamble, Dataset: f.Dataset}
		var err error
		if out.Meta, err = metaFor(f, to); err != nil {
			return err
		}
		return out.Write(w)
	}
	r, err := Open(f.Dataset, from, l)
	if err != nil {
		return err
	}
	t, err := newTranscoder(ctx, r, to)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 64<<10)
	if err := t.write(out, f); err != nil {
		return err
	}
	return out.Flush()
}

// A transcoder writes the frames of one object in another transfer syntax.
type transcoder struct {
	ctx    context.Context
	reader *Reader
	to     string
	first  *Frame // decoded for what it says of the others
}

// newTranscoder decodes the first frame: what cannot be decoded is known before
// anything is written.
func newTranscoder(ctx context.Context, r *Reader, to string) (*transcoder, error) {
	if r.BitsAllocated != r.cell() {
		return nil, unsupported("%d bits allocated in transfer syntax %s", r.BitsAllocated, uid.Name(to))
	}
	if !isNative(to) && to != uid.RLELossless && r.BitsAllocated > 16 {
		return nil, unsupported("%d bits allocated in transfer syntax %s", r.BitsAllocated, uid.Name(to))
	}
	t := &transcoder{ctx: ctx, reader: r, to: to}
	var err error
	if t.first, err = t.decode(0); err != nil {
		return nil, err
	}
	if isNative(to) && t.nativeLength() > 0xFFFFFFFE {
		return nil, wrong("%d bytes of native pixel data are more than one element can have", t.nativeLength())
	}
	return t, nil
}

// decode decodes frame k. YBR of lossy JPEG becomes RGB.
func (t *transcoder) decode(k int) (*Frame, error) {
	if k == 0 && t.first != nil {
		return t.first, nil
	}
	f, err := t.reader.Decode(t.ctx, k)
	if err != nil {
		return nil, err
	}
	switch t.reader.TransferSyntaxUID {
	case uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit:
		f.RGB()
	}
	return f, t.ctx.Err()
}

func (t *transcoder) nativeLength() int64 {
	n := int64(len(t.first.Pix)) * int64(t.reader.Frames)
	return n + n%2
}

// write writes the file: what stands before the pixel data, those, what follows.
func (t *transcoder) write(w io.Writer, f *dicom.File) error {
	before, after, err := t.split(f.Dataset)
	if err != nil {
		return err
	}
	meta, err := metaFor(f, t.to)
	if err != nil {
		return err
	}
	head := dicom.File{Preamble: f.Preamble, Meta: meta, Dataset: dicom.NewDataset()}
	if err := head.Write(w); err != nil {
		return err
	}
	if t.to != uid.DeflatedExplicitVRLittleEndian {
		return t.writeDataSet(w, before, after, t.to)
	}
	counted := &counter{w: w}
	z, err := flate.NewWriter(counted, flate.DefaultCompression)
	if err != nil {
		return err
	}
	if err := t.writeDataSet(z, before, after, uid.ExplicitVRLittleEndian); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	_, err = w.Write(make([]byte, counted.n%2)) // PS3.5 annex A.5
	return err
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

func (t *transcoder) writeDataSet(w io.Writer, before, after *dicom.Dataset, syntax string) error {
	if err := before.Write(w, syntax); err != nil {
		return err
	}
	write := t.writeNative
	if !isNative(t.to) {
		write = t.writeEncapsulated
	}
	if err := write(w, syntax); err != nil {
		return err
	}
	return after.Write(w, syntax)
}

// metaFor is the File Meta Information of a file with another transfer syntax.
func metaFor(f *dicom.File, to string) (*dicom.Dataset, error) {
	if f.Meta.Len() == 0 {
		made, err := dicom.NewFile(f.Dataset, to)
		if err != nil {
			return nil, err
		}
		return made.Meta, nil
	}
	out := dicom.NewDataset()
	for e := range f.Meta.All() {
		if err := out.SetBytes(e.Tag, e.VR, e.Bytes()); err != nil {
			return nil, err
		}
	}
	return out, out.SetText(tag.TransferSyntaxUID, to)
}

// split returns the elements before the pixel data, changed as the transfer
// syntax asks, and those behind.
func (t *transcoder) split(d *dicom.Dataset) (before, after *dicom.Dataset, err error) {
	// The group length would be that of another group 7FE0.
	gone := []tag.Tag{tag.ExtendedOffsetTable, tag.ExtendedOffsetTableLengths, 0x7FE00000}
	before = d.Clone(func(t tag.Tag) bool { return t < tag.PixelData && !slices.Contains(gone, t) })
	after = d.Clone(func(t tag.Tag) bool { return t > tag.PixelData })
	f := t.first
	if f.Photometric != d.Text(tag.PhotometricInterpretation) {
		err = errors.Join(err, before.SetText(tag.PhotometricInterpretation, f.Photometric))
	}
	if f.Samples > 1 {
		err = errors.Join(err, before.SetInt(tag.PlanarConfiguration, 0))
	}
	if v, ok := d.Int(tag.HighBit); !ok || v != int64(f.HighBit) {
		err = errors.Join(err, before.SetInt(tag.HighBit, int64(f.HighBit)))
	}
	return before, after, err
}

// writeNative writes native pixel data, PS3.5 section 8.1.1 and annexes A.1 to A.3.
func (t *transcoder) writeNative(w io.Writer, syntax string) error {
	big := syntax == uid.ExplicitVRBigEndian
	vr := "OB"
	if t.reader.BitsAllocated > 8 {
		vr = "OW"
	}
	var order binary.AppendByteOrder = binary.LittleEndian
	if big {
		order = binary.BigEndian
	}
	head := order.AppendUint16(order.AppendUint16(nil, 0x7FE0), 0x0010)
	if syntax != uid.ImplicitVRLittleEndian && syntax != uid.Papyrus3ImplicitVRLittleEndian {
		head = append(append(head, vr...), 0, 0)
	}
	if _, err := w.Write(order.AppendUint32(head, uint32(t.nativeLength()))); err != nil {
		return err
	}
	err := t.each(func(f *Frame) error {
		if len(f.Pix) != len(t.first.Pix) || f.Photometric != t.first.Photometric || f.HighBit != t.first.HighBit {
			return errors.New("is not coded as the first")
		}
		if big && vr == "OW" {
			reverse(f.Pix, 2)
		}
		_, err := w.Write(f.Pix)
		return err
	})
	if err != nil {
		return err
	}
	_, err = w.Write(make([]byte, t.nativeLength()-int64(len(t.first.Pix))*int64(t.reader.Frames)))
	return err
}

// writeEncapsulated writes encapsulated pixel data, PS3.5 annex A.4.
func (t *transcoder) writeEncapsulated(w io.Writer, _ string) error {
	const (
		element = "\xE0\x7F\x10\x00OB\x00\x00\xFF\xFF\xFF\xFF"
		empty   = "\xFE\xFF\x00\xE0\x00\x00\x00\x00"
		end     = "\xFE\xFF\xDD\xE0\x00\x00\x00\x00"
	)
	if _, err := io.WriteString(w, element+empty); err != nil {
		return err
	}
	err := t.each(func(f *Frame) error {
		if f.Photometric != t.first.Photometric || f.HighBit != t.first.HighBit {
			return errors.New("is not coded as the first")
		}
		b, err := encode(f, t.to)
		if err != nil {
			return err
		}
		if len(b)%2 == 1 {
			b = append(b, 0)
		}
		head := binary.LittleEndian.AppendUint32([]byte{0xFE, 0xFF, 0x00, 0xE0}, uint32(len(b)))
		if _, err := w.Write(head); err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	})
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, end)
	return err
}

func (t *transcoder) each(do func(*Frame) error) error {
	for k := range t.reader.Frames {
		f, err := t.decode(k)
		if err != nil {
			return err
		}
		if err := do(f); err != nil {
			return fmt.Errorf("pixel: frame %d: %w", k+1, err)
		}
	}
	return nil
}

// encode codes a frame without loss.
func encode(f *Frame, to string) ([]byte, error) {
	switch to {
	case uid.RLELossless:
		m := *f.Image
		m.Signed, m.Precision = false, m.BitsAllocated
		return rle.Encode(&m)
	case uid.JPEGLosslessSV1:
		return jpegll.Encode(f.coding(), jpegll.Options{})
	case uid.JPEGLSLossless:
		return jpegls.Encode(f.coding(), jpegls.Options{Interleave: jpegls.InterleaveLine})
	}
	return nil, unsupported("writing transfer syntax %s", uid.Name(to))
}

// coding returns the samples as a codec without signs takes them: with the
// precision of the bits stored where the others follow from them, and else with
// all bits, so that what is in them is not lost.
func (f *Frame) coding() *raster.Image {
	m := *f.Image
	m.Signed = false
	m.Precision = m.BitsAllocated
	n := m.Columns * m.Rows * m.Samples
	if f.BitsStored == m.BitsAllocated || f.BitsStored < 2 || f.HighBit != f.BitsStored-1 {
		return &m
	}
	mask := uint32(1)<<f.BitsStored - 1
	for i := range n {
		cell := f.Cell(i)
		rest := uint32(0)
		if f.Signed && cell>>(f.BitsStored-1)&1 != 0 {
			rest = ^mask & uint32(uint64(1)<<m.BitsAllocated-1)
		}
		if cell&^mask != rest {
			return &m
		}
	}
	m.Precision = f.BitsStored
	if !f.Signed {
		return &m
	}
	masked := Frame{Image: &m}
	m.Pix = append([]byte(nil), m.Pix...)
	for i := range n {
		masked.setCell(i, masked.Cell(i)&mask)
	}
	return &m
}
