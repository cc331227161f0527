package film

import (
	"errors"
	"io"

	"nhip/dicom"
	"nhip/dicom/dimse"
	"nhip/dicom/service"
	"nhip/dicom/tag"
)

// A refusal is a status as an error.
type refusal struct{ dimse.Status }

func (r *refusal) Error() string { return r.Status.String() }

func refuse(code uint16, format string, args ...any) error {
	return &refusal{failed(code, format, args...)}
}

// maxElements of a data set without pixel data.
const maxElements = 4096

// An imageReader takes the data set of an image box apart as it comes: attributes
// are held, within limits, and the pixel data go to a sink.
type imageReader struct {
	limits   Limits
	sequence tag.Tag // that holds the image
	sink     func(*Image) (Sink, error)

	top      *dicom.Dataset
	image    *Image
	stack    []open
	held     int64
	elements int
}

// An open is a sequence that has begun.
type open struct {
	tag   tag.Tag
	in    *dicom.Dataset
	items []*dicom.Dataset
}

// read returns the attributes and the image, nil where the data set has
// none. Where it fails, whatever was written is discarded.
func (r *imageReader) read(from io.Reader, transferSyntax string) (*dicom.Dataset, *Image, error) {
	r.top = dicom.NewDataset()
	err := dicom.Walk(from, transferSyntax, dicom.Limits{}, r.node)
	if err == nil && r.image != nil && r.image.Pixels == nil {
		err = refuse(dimse.MissingAttribute, "an image without pixel data")
	}
	if err == nil {
		return r.top, r.image, nil
	}
	if r.image != nil && r.image.Pixels != nil {
		r.image.Pixels.Discard()
	}
	return nil, nil, err
}

func (r *imageReader) current() *dicom.Dataset {
	if n := len(r.stack); n > 0 {
		if items := r.stack[n-1].items; len(items) > 0 {
			return items[len(items)-1]
		}
		return nil
	}
	return r.top
}

func (r *imageReader) node(n *dicom.Node) error {
	if r.elements++; r.elements > maxElements {
		return refuse(dimse.ResourceLimitation, "more than %d attributes", maxElements)
	}
	if len(r.stack) == 0 && n.Kind != dicom.ElementNode && n.Kind != dicom.FragmentNode {
		return refuse(dimse.ProcessingFailure, "an item outside a sequence")
	}
	switch n.Kind {
	case dicom.ItemNode:
		top := &r.stack[len(r.stack)-1]
		top.items = append(top.items, dicom.NewDataset())
		return r.begin(top)
	case dicom.ItemEndNode:
		return nil
	case dicom.SequenceEndNode:
		return r.end()
	case dicom.FragmentNode:
		return refuse(dimse.InvalidAttributeValue, "the pixel data are encapsulated")
	}
	switch {
	case n.Tag == tag.PixelData:
		return r.pixels(n)
	case n.VR == dicom.SQ || n.Length < 0:
		r.stack = append(r.stack, open{tag: n.Tag, in: r.current()})
		return nil
	}
	return r.attribute(n)
}

// begin notes the item that holds the image.
func (r *imageReader) begin(o *open) error {
	if o.tag != r.sequence || len(r.stack) != 1 {
		return nil
	}
	if r.image != nil {
		return refuse(dimse.InvalidAttributeValue, "more than one image in an image box")
	}
	r.image = &Image{Attributes: o.items[0]}
	return nil
}

func (r *imageReader) end() error {
	o := r.stack[len(r.stack)-1]
	r.stack = r.stack[:len(r.stack)-1]
	if o.in == nil || o.tag == r.sequence && len(r.stack) == 0 {
		return nil
	}
	return o.in.SetItems(o.tag, o.items...)
}

func (r *imageReader) attribute(n *dicom.Node) error {
	if r.held += n.Length; r.held > r.limits.Attributes {
		return refuse(dimse.ResourceLimitation, "attributes of more than %d bytes", r.limits.Attributes)
	}
	b, err := n.Value()
	if err != nil {
		return err
	}
	to := r.current()
	if to == nil || n.Tag&0xFFFF == 0 {
		return nil
	}
	vr := n.VR
	if !vr.Known() {
		vr = dicom.UN
	}
	return to.SetBytes(n.Tag, vr, b)
}

// pixels streams the pixel data of the image to its sink.
func (r *imageReader) pixels(n *dicom.Node) error {
	if r.image == nil || r.current() != r.image.Attributes {
		return refuse(dimse.InvalidAttributeValue, "pixel data outside an image sequence")
	}
	if r.image.Pixels != nil {
		return refuse(dimse.InvalidAttributeValue, "pixel data twice")
	}
	if n.Length < 0 {
		return refuse(dimse.InvalidAttributeValue, "the pixel data are encapsulated")
	}
	if err := r.image.measure(r.limits); err != nil {
		return err
	}
	if r.image.Length > n.Length {
		return refuse(dimse.InvalidAttributeValue, "pixel data of %d bytes where the image has %d", n.Length, r.image.Length)
	}
	sink, err := r.sink(r.image)
	if err != nil {
		return &refusal{service.StatusOf(err, statusNoMemory)}
	}
	r.image.Pixels = sink
	if _, err := io.CopyN(sink, n, r.image.Length); err != nil {
		return &writeError{err}
	}
	return sink.Close()
}

// A writeError is one of the sink, or of the data set that was cut.
type writeError struct{ error }

func (e *writeError) Unwrap() error { return e.error }

// measure reads what the image says of itself and computes the length of its
// pixel data: PS3.3 table C.13-5. Nothing of it is believed without limits.
func (i *Image) measure(l Limits) error {
	number := func(t tag.Tag, least, most int) (int, error) {
		v, ok := i.Attributes.Int(t)
		e, _ := tag.Lookup(t)
		switch {
		case !ok:
			return 0, refuse(dimse.MissingAttribute, "no %s", e.Keyword)
		case v > int64(most) && (t == tag.Rows || t == tag.Columns):
			return 0, refuse(statusImageTooLarge, "%s is %d, at most %d", e.Keyword, v, most)
		case v < int64(least) || v > int64(most):
			return 0, refuse(dimse.InvalidAttributeValue, "%s is %d", e.Keyword, v)
		}
		return int(v), nil
	}
	var err error
	set := func(to *int, t tag.Tag, least, most int) {
		if err == nil {
			*to, err = number(t, least, most)
		}
	}
	set(&i.Samples, tag.SamplesPerPixel, 1, 3)
	set(&i.Rows, tag.Rows, 1, l.Rows)
	set(&i.Columns, tag.Columns, 1, l.Rows)
	set(&i.Allocated, tag.BitsAllocated, 8, 16)
	switch {
	case err != nil:
		return err
	case i.Samples == 2, i.Allocated != 8 && i.Allocated != 16:
		return refuse(dimse.InvalidAttributeValue, "%d samples of %d bits", i.Samples, i.Allocated)
	}
	i.Length = int64(i.Rows) * int64(i.Columns) * int64(i.Samples) * int64(i.Allocated/8)
	if i.Length > l.Pixels {
		return refuse(statusNoMemory, "an image of %d bytes, at most %d", i.Length, l.Pixels)
	}
	return nil
}

// imageStatus is the answer to a data set that was not taken.
func imageStatus(err error) dimse.Status {
	var r *refusal
	var w *writeError
	var format *dicom.FormatError
	switch {
	case errors.As(err, &r):
		return r.Status
	case errors.As(err, &format):
		return failed(dimse.ProcessingFailure, "the data set cannot be read")
	case errors.As(err, &w):
		return service.StatusOf(w.error, statusNoMemory)
	}
	return failed(dimse.ProcessingFailure, "the image cannot be kept")
}
