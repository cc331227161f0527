// Package pixel reads the frames of DICOM objects, PS3.5 section 8 and annex A:
// where each of them is, coded or native, without loading the object; what it
// shows, decoded (RLE, JPEG, JPEG lossless and JPEG-LS here, JPEG 2000 and HTJ2K
// by the program of package j2k where that is installed); and objects rewritten in
// another transfer syntax, frame by frame. What the grey values and colours mean
// to the eye is package render's matter. Video, Float Pixel Data and the retired
// photometric interpretations are refused in words.
package pixel

import (
	"errors"
	"fmt"
	"io"

	"nhip/dicom"
	"nhip/dicom/pixel/raster"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

var errCut = io.ErrUnexpectedEOF

// ErrNoPixelData is the answer for an object that holds none.
var ErrNoPixelData = errors.New("pixel: the object has no pixel data")

// A Reader gives the frames of one object. It keeps where they are and none of
// them; several goroutines may use it.
type Reader struct {
	Format
	limits    raster.Limits
	value     value
	swap      int64 // size of the words of a big-endian value, or 1
	fragments *fragments
	frames    []coded
	problems  []string
}

// Open looks at the description of the pixel data of a data set in the transfer
// syntax, and at where the frames are: of encapsulated ones it reads each
// fragment's head. A data set of dicom.OpenFile leaves the pixel data where they
// are. The errors are *FormatError, *UnsupportedError, *raster.LimitError,
// ErrNoPixelData and those of reading.
func Open(d *dicom.Dataset, transferSyntaxUID string, l raster.Limits) (*Reader, error) {
	e, ok := d.Find(tag.PixelData)
	switch {
	case !ok && (d.Has(tag.FloatPixelData) || d.Has(tag.DoubleFloatPixelData)):
		return nil, unsupported("Float Pixel Data")
	case !ok:
		return nil, ErrNoPixelData
	}
	at, ok := e.Reader().(io.ReaderAt)
	if !ok {
		return nil, errors.New("pixel: the value of Pixel Data cannot be read from within")
	}
	r := &Reader{limits: l, value: value{r: at, end: e.Len(), encapsulated: e.Undefined()}, swap: 1}
	if err := r.describe(d, transferSyntaxUID); err != nil {
		return nil, err
	}
	if _, err := r.Format.limits(l); err != nil {
		return nil, err
	}
	if !r.value.encapsulated {
		return r, r.openNative(e)
	}
	return r, r.openEncapsulated(d)
}

// describe reads the Image Pixel Module. What is missing and has one sensible
// meaning is a problem; what has none is an error.
func (r *Reader) describe(d *dicom.Dataset, transferSyntaxUID string) error {
	number := func(t tag.Tag, otherwise int64) int {
		v := d.Ints(t)
		if len(v) == 0 {
			return int(otherwise)
		}
		return int(min(max(v[0], -1), 1<<31)) // what is beyond is refused
	}
	f := &r.Format
	f.TransferSyntaxUID = transferSyntaxUID
	f.Rows, f.Columns = number(tag.Rows, 0), number(tag.Columns, 0)
	f.Samples, f.Frames = number(tag.SamplesPerPixel, 1), number(tag.NumberOfFrames, 1)
	f.BitsAllocated = number(tag.BitsAllocated, 0)
	f.BitsStored = number(tag.BitsStored, int64(f.BitsAllocated))
	f.HighBit = number(tag.HighBit, int64(f.BitsStored-1))
	f.Signed = number(tag.PixelRepresentation, 0) == 1
	f.Planar = f.Samples > 1 && number(tag.PlanarConfiguration, 0) == 1
	f.Photometric = d.Text(tag.PhotometricInterpretation)
	if f.Photometric == "" && f.Samples == 1 {
		f.Photometric = monochrome2
		r.problem("no Photometric Interpretation: read as MONOCHROME2")
	}
	if f.BitsStored >= 1 && f.BitsStored <= f.BitsAllocated && (f.HighBit < f.BitsStored-1 || f.HighBit >= f.BitsAllocated) {
		r.problem("high bit %d for %d bits stored of %d allocated: read as %d", f.HighBit, f.BitsStored, f.BitsAllocated, f.BitsStored-1)
		f.HighBit = f.BitsStored - 1
	}
	return f.check()
}

func (r *Reader) problem(format string, args ...any) {
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

// Problems says in words what is wrong with the pixel data and could be overcome:
// offset tables that are not true, a missing delimitation.
func (r *Reader) Problems() []string { return r.problems }

func (r *Reader) openNative(e dicom.Element) error {
	f := &r.Format
	if !isNative(f.TransferSyntaxUID) {
		return wrong("native pixel data in transfer syntax %s", uid.Name(f.TransferSyntaxUID))
	}
	if f.TransferSyntaxUID == uid.ExplicitVRBigEndian && e.VR == dicom.OW {
		r.swap = 2
	}
	have := r.value.end
	if f.halved() {
		full := *f
		full.Photometric = ybrFull
		if need := full.frameBits() / 8; have/need >= int64(f.Frames) && f.Photometric == ybrFull422 {
			r.problem("the pixel data are as long as YBR_FULL needs, not YBR_FULL_422")
			f.Photometric = ybrFull
		} else if f.Columns%2 != 0 {
			return wrong("%d columns in photometric interpretation %s", f.Columns, f.Photometric)
		}
	}
	// Frames are at most 2^31, the bits of one at most 2^39, and have less than 2^32.
	whole := have * 8 / f.frameBits()
	if whole < int64(f.Frames) {
		r.problem("%s", cut(int(whole), whole, f.Frames))
	} else if extra := have - (f.frameBits()*int64(f.Frames)+7)/8; extra > 1 {
		r.problem("%d bytes follow the last frame", extra)
	}
	return nil
}

// cut says that frame k, from 0, is not there.
func cut(k int, whole int64, frames int) string {
	return fmt.Sprintf("the pixel data end before the end of frame %d: %d are whole of %d", k+1, whole, frames)
}

func (r *Reader) openEncapsulated(d *dicom.Dataset) error {
	if isNative(r.TransferSyntaxUID) {
		return wrong("encapsulated pixel data in transfer syntax %s", uid.Name(r.TransferSyntaxUID))
	}
	var err error
	if r.fragments, err = r.value.scan(); err != nil {
		return err
	}
	r.frames, err = r.fragments.frames(r.value, r.Format, d.Bytes(tag.ExtendedOffsetTable), d.Bytes(tag.ExtendedOffsetTableLengths))
	r.problems = append(r.problems, r.fragments.problems...)
	return err
}

// Encapsulated reports whether the pixel data are fragments, PS3.5 annex A.4.
func (r *Reader) Encapsulated() bool { return r.value.encapsulated }

// Frame returns frame k, from 0, without decoding it: of encapsulated pixel data
// the coded stream with all its fragments, of native ones the samples as they are
// packed, always little endian and from the first bit of the first byte on. A coded
// stream beyond the limit of bytes is a *raster.LimitError: FrameReader reads it.
func (r *Reader) Frame(k int) ([]byte, error) {
	if !r.value.encapsulated {
		if err := r.there(k); err != nil {
			return nil, err
		}
		return r.value.native(r.Format, k, r.swap)
	}
	in, n, err := r.FrameReader(k)
	if err != nil {
		return nil, err
	}
	most := r.limits.MaxBytes
	if most <= 0 {
		most = raster.DefaultMaxBytes
	}
	if n > most {
		return nil, &raster.LimitError{Codec: "pixel", What: fmt.Sprintf("frame %d is coded in %d bytes, the limit is %d", k+1, n, most)}
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(in, b); err != nil {
		return nil, readError(err)
	}
	return b, nil
}

// there refuses a frame that the object does not have.
func (r *Reader) there(k int) error {
	if k < 0 || k >= r.Frames {
		return wrong("frame %d of %d", k+1, r.Frames)
	}
	return nil
}

// FrameReader returns the coded stream of frame k, from 0, of encapsulated pixel
// data, and its length, to be read piece by piece. Video is one stream, frame 0.
func (r *Reader) FrameReader(k int) (io.Reader, int64, error) {
	if err := r.there(k); err != nil {
		return nil, 0, err
	}
	if !r.value.encapsulated {
		return nil, 0, wrong("native pixel data are no coded stream")
	}
	if k >= len(r.frames) {
		return nil, 0, &FormatError{What: cut(k, int64(len(r.frames)), r.Frames), Err: errCut}
	}
	in, n := r.fragments.reader(r.value.r, r.frames[k])
	return in, n, nil
}
