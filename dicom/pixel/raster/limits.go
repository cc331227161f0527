package raster

import "fmt"

// Limits bound what one decoded image may take. A zero field has its default.
// A caller that knows Rows and Columns from a data set gives their product as
// MaxPixels: then a stream cannot make more than the data set says. A blank picture
// is rightly coded in a few bytes, in JPEG-LS in a bit a line: memory grows with what
// is decoded, and these limits alone bound it.
type Limits struct {
	MaxPixels int64 // columns × rows; default 2^28
	MaxBytes  int64 // of Image.Pix; default 2^30
}

// Defaults of Limits.
const (
	DefaultMaxPixels = 1 << 28
	DefaultMaxBytes  = 1 << 30
)

// Check compares an image of this geometry with the limits, before anything of
// its size is allocated. The error is a *LimitError.
func (l Limits) Check(codec string, columns, rows, samples, bitsAllocated int) error {
	if l.MaxPixels <= 0 {
		l.MaxPixels = DefaultMaxPixels
	}
	if l.MaxBytes <= 0 {
		l.MaxBytes = DefaultMaxBytes
	}
	pixels := int64(columns) * int64(rows)
	if pixels > l.MaxPixels {
		return &LimitError{codec, fmt.Sprintf("%d columns by %d rows are more than the limit of %d pixels", columns, rows, l.MaxPixels)}
	}
	if bytes := pixels * int64(samples) * int64(bitsAllocated/8); bytes > l.MaxBytes {
		return &LimitError{codec, fmt.Sprintf("%d columns by %d rows need %d bytes, the limit is %d", columns, rows, bytes, l.MaxBytes)}
	}
	return nil
}

// A FormatError is a stream that breaks its standard, or ends early: then it
// wraps io.ErrUnexpectedEOF.
type FormatError struct {
	Codec, What string
	Err         error
}

func (e *FormatError) Error() string { return e.Codec + ": " + e.What }

// Unwrap returns io.ErrUnexpectedEOF for a stream that ends early.
func (e *FormatError) Unwrap() error { return e.Err }

// An UnsupportedError is a stream, or an image to encode, that is right by its
// standard and that the codec does not do.
type UnsupportedError struct{ Codec, What string }

func (e *UnsupportedError) Error() string { return e.Codec + ": not supported: " + e.What }

// A LimitError is a stream that would need more than Limits allows.
type LimitError struct{ Codec, What string }

func (e *LimitError) Error() string { return e.Codec + ": too large: " + e.What }
