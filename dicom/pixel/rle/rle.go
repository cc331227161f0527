// Package rle is DICOM's RLE compression, PS3.5 annex G, both ways: one frame, as
// the single fragment that holds it. It knows nothing of data sets; the geometry of
// a frame, which the stream does not say, is an argument.
package rle

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"nhip/dicom/pixel/raster"
)

const (
	codec       = "rle"
	headerSize  = 64 // number of segments and 15 offsets, section G.5
	maxSegments = 15
)

// Decode decodes one frame with the columns, rows, samples, bits allocated,
// precision and sign of geometry. Nothing is allocated before the stream was seen
// to hold every byte of that; a stream that holds fewer or more is an error. Errors
// are *raster.FormatError, *raster.UnsupportedError and *raster.LimitError.
func Decode(b []byte, geometry raster.Image, l raster.Limits) (*raster.Image, error) {
	m := &geometry
	size := m.BitsAllocated / 8
	switch {
	case m.Columns < 1 || m.Rows < 1 || m.Columns > 65535 || m.Rows > 65535:
		return nil, unsupported("%d columns by %d rows", m.Columns, m.Rows)
	case m.BitsAllocated != 8 && m.BitsAllocated != 16 && m.BitsAllocated != 32:
		return nil, unsupported("%d bits allocated", m.BitsAllocated)
	case m.Samples < 1 || m.Samples > 4 || m.Samples*size > maxSegments:
		return nil, unsupported("%d samples per pixel of %d bits", m.Samples, m.BitsAllocated)
	}
	if err := l.Check(codec, m.Columns, m.Rows, m.Samples, m.BitsAllocated); err != nil {
		return nil, err
	}
	segments, err := split(b, m.Samples*size)
	if err != nil {
		return nil, err
	}
	plane := m.Columns * m.Rows
	for i, s := range segments {
		if err := measure(s, plane); err != nil {
			err.What = fmt.Sprintf("segment %d of %d: %s", i+1, len(segments), err.What)
			return nil, err
		}
	}
	m.Pix = make([]byte, plane*m.Samples*size)
	for i, s := range segments {
		// The segments of a sample begin with its highest byte, section G.2.
		expand(m.Pix[i/size*size+size-1-i%size:], len(segments), s)
	}
	return m, nil
}

func formatError(format string, args ...any) *raster.FormatError {
	return &raster.FormatError{Codec: codec, What: fmt.Sprintf(format, args...)}
}

func unsupported(format string, args ...any) error {
	return &raster.UnsupportedError{Codec: codec, What: fmt.Sprintf(format, args...)}
}

// split reads the RLE header, section G.5.
func split(b []byte, want int) ([][]byte, error) {
	if len(b) < headerSize {
		e := formatError("%d bytes are no RLE header", len(b))
		e.Err = io.ErrUnexpectedEOF
		return nil, e
	}
	if n := binary.LittleEndian.Uint32(b); n != uint32(want) {
		return nil, formatError("%d segments, where samples and bits allocated make %d", n, want)
	}
	segments := make([][]byte, want)
	end := uint32(min(len(b), 1<<32-1))
	for i := want - 1; i >= 0; i-- {
		offset := binary.LittleEndian.Uint32(b[4+4*i:])
		if offset < headerSize || offset > end {
			return nil, formatError("segment %d begins at byte %d and ends at %d", i+1, offset, end)
		}
		segments[i] = b[offset:end]
		end = offset
	}
	return segments, nil
}

// measure checks that a segment makes a plane of so many bytes. What follows may be
// the padding of a segment or of its fragment, nothing longer.
func measure(s []byte, plane int) *raster.FormatError {
	at, made := 0, 0
	for made < plane {
		if at >= len(s) {
			return short()
		}
		c := int(int8(s[at]))
		switch {
		case c >= 0:
			at += 2 + c
			made += 1 + c
		case c > -128:
			at += 2
			made += 1 - c
		default:
			at++
		}
	}
	switch {
	case at > len(s):
		return short()
	case made > plane || len(s)-at > 2:
		return formatError("it holds more than the frame")
	}
	return nil
}

func short() *raster.FormatError {
	e := formatError("it ends before the frame does")
	e.Err = io.ErrUnexpectedEOF
	return e
}

// expand writes the bytes of a measured segment into every step-th byte, section
// G.3.2.
func expand(out []byte, step int, s []byte) {
	for at, to := 0, 0; to < len(out); {
		c := int(int8(s[at]))
		switch {
		case c >= 0:
			for _, v := range s[at+1 : at+2+c] {
				out[to] = v
				to += step
			}
			at += 2 + c
		case c > -128:
			v := s[at+1]
			for range 1 - c {
				out[to] = v
				to += step
			}
			at += 2
		default:
			at++
		}
	}
}

// Encode codes one frame. Every bit that is allocated is coded, whatever the
// precision.
func Encode(m *raster.Image) ([]byte, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	size := m.BitsAllocated / 8
	count := m.Samples * size
	if count > maxSegments {
		return nil, unsupported("%d samples per pixel of %d bits", m.Samples, m.BitsAllocated)
	}
	b := make([]byte, headerSize, headerSize+len(m.Pix)/2)
	binary.LittleEndian.PutUint32(b, uint32(count))
	row := make([]byte, m.Columns)
	for i := range count {
		if uint64(len(b)) > 1<<32-1 {
			return nil, unsupported("a frame of over 4 GiB")
		}
		binary.LittleEndian.PutUint32(b[4+4*i:], uint32(len(b)))
		at := i/size*size + size - 1 - i%size
		for range m.Rows {
			for x := range row {
				row[x] = m.Pix[at]
				at += count
			}
			b = pack(b, row)
		}
		if len(b)%2 == 1 {
			b = append(b, 0)
		}
	}
	return slices.Clip(b), nil
}

// pack appends a row, section G.3.1: runs of three and more are replicated, and
// runs of two where no literal is open.
func pack(b, row []byte) []byte {
	for at := 0; at < len(row); {
		if n := run(row[at:]); n >= 2 {
			b = append(b, byte(1-n), row[at])
			at += n
			continue
		}
		end := at + 1
		for end < len(row) && end-at < 128 && (end+2 >= len(row) || row[end] != row[end+1] || row[end] != row[end+2]) {
			end++
		}
		b = append(append(b, byte(end-at-1)), row[at:end]...)
		at = end
	}
	return b
}

// run is how many bytes at the start are equal, at most 128.
func run(row []byte) int {
	n := 1
	for n < len(row) && n < 128 && row[n] == row[0] {
		n++
	}
	return n
}
