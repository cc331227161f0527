package dicom

import (
	"errors"
	"fmt"
	"io"
	"math"

	"nhip/dicom/tag"
)

// Limits bound what is read. A field that is zero has its default.
type Limits struct {
	Depth   int   // nested sequences; default 64
	Element int64 // bytes of one value; default: no limit of its own
	Total   int64 // bytes of a data set that are held, inflated; default 1 GiB
	Inflate int   // times that a deflated data set may grow, beyond its first MiB; default 32
	Held    int64 // OpenFile leaves longer values in the file; default 64 KiB
}

func (l Limits) withDefaults() Limits {
	l.Depth = or(l.Depth, MaxDepth)
	l.Total = or(l.Total, 1<<30)
	l.Element = or(l.Element, math.MaxInt64)
	l.Inflate = or(l.Inflate, 32)
	l.Held = or(l.Held, 64<<10)
	return l
}

func or[T int | int64](n, otherwise T) T {
	if n == 0 {
		return otherwise
	}
	return n
}

// ErrLimit is wrapped by the error of a data set that is beyond one of the Limits.
var ErrLimit = errors.New("beyond the limit")

// ErrNotDICOM is wrapped by the error of a file that is none.
var ErrNotDICOM = errors.New("this is no DICOM file")

// A FormatError says where a data set cannot be followed any further. It holds
// no value of it. It wraps io.ErrUnexpectedEOF where the data set is cut, and
// ErrLimit where it is beyond a limit.
type FormatError struct {
	Offset  int64   // from the beginning of the data set, inflated
	Tag     tag.Tag // of the element, 0 for none
	Problem string
	kind    error
}

func (e *FormatError) Error() string {
	if e.Tag == 0 {
		return fmt.Sprintf("dicom: at byte %d: %s", e.Offset, e.Problem)
	}
	return fmt.Sprintf("dicom: at byte %d: %v %s", e.Offset, e.Tag, e.Problem)
}

func (e *FormatError) Unwrap() error { return e.kind }

var errCut = io.ErrUnexpectedEOF
