package dicom

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// Header is what a gateway wants to know of a data set. The values are as sent,
// undecoded, without their padding; of several values of the same attribute at
// the top level the first counts.
type Header struct {
	SpecificCharacterSet string
	SOPClassUID          string
	SOPInstanceUID       string
	AccessionNumber      string
	Modality             string
	PatientID            string
	StudyInstanceUID     string
	SeriesInstanceUID    string

	// Problem is the first thing found wrong with the data set, in words without a
	// value of it; empty where nothing was. What was read before it stands.
	Problem string
}

// field returns where the value of a top-level attribute goes, nil for one that
// is not wanted.
func (h *Header) field(t tag.Tag) *string {
	switch t {
	case tag.SpecificCharacterSet:
		return &h.SpecificCharacterSet
	case tag.SOPClassUID:
		return &h.SOPClassUID
	case tag.SOPInstanceUID:
		return &h.SOPInstanceUID
	case tag.AccessionNumber:
		return &h.AccessionNumber
	case tag.Modality:
		return &h.Modality
	case tag.PatientID:
		return &h.PatientID
	case tag.StudyInstanceUID:
		return &h.StudyInstanceUID
	case tag.SeriesInstanceUID:
		return &h.SeriesInstanceUID
	}
	return nil
}

// Limits of the header reader.
const (
	MaxDepth    = 64      // nested sequences
	maxValue    = 4 << 10 // a wanted value
	maxDeflated = 1 << 20 // of a deflated data set, compressed: what is looked into
	maxInflated = 8 << 20 // the same, inflated
)

// A HeaderReader reads a Header from a data set that is written to it piece by
// piece, in any transfer syntax, and holds nothing but what it wants. It stops
// at the pixel data. An odd data set is no error, since it has to be kept all the
// same: it is a Problem in the Header.
type HeaderReader struct {
	header   Header
	order    binary.ByteOrder
	implicit bool
	deflated bool
	stopped  bool

	held   []byte // the beginning of an element that is not whole yet
	skip   int64  // bytes of a value to be read over
	at     int64  // offset of the next byte to be parsed
	levels []level
	first  bool    // nothing was parsed yet
	last   tag.Tag // at the top level
}

// A level is a sequence or an item that is being read.
type level struct {
	end      int64 // offset, or undefined
	item     bool  // else the sequence, which holds items
	opaque   bool  // encapsulated pixel data: the items are fragments
	implicit bool  // VR of what was around it, to be restored
	order    binary.ByteOrder
}

const undefined = -1

// firstPixelData is the first of the elements that may hold pixel data: Float
// Pixel Data. None that is wanted comes after it.
const firstPixelData tag.Tag = 0x7FE00008

// NewHeaderReader returns a reader for a data set in the transfer syntax. One
// that is not known is read as Explicit VR Little Endian, what every transfer
// syntax for encapsulated pixel data is (PS3.5 annex A.4).
func NewHeaderReader(transferSyntaxUID string) *HeaderReader {
	r := &HeaderReader{order: binary.LittleEndian, first: true}
	switch transferSyntaxUID {
	case uid.ImplicitVRLittleEndian, uid.Papyrus3ImplicitVRLittleEndian:
		r.implicit = true
	case uid.ExplicitVRBigEndian:
		r.order = binary.BigEndian
	case uid.DeflatedExplicitVRLittleEndian, uid.JPIPReferencedDeflate, uid.JPIPHTJ2KReferencedDeflate:
		r.deflated = true
	}
	return r
}

// Write takes the next bytes of the data set. It takes all and fails never.
func (r *HeaderReader) Write(b []byte) (int, error) {
	n := len(b)
	if r.deflated {
		r.held = append(r.held, b[:min(n, maxDeflated-len(r.held))]...)
		return n, nil
	}
	r.parse(b)
	return n, nil
}

// Header returns what was read. It is called once, after the last Write: a data
// set that ended inside an element is a Problem.
func (r *HeaderReader) Header() Header {
	if r.deflated {
		r.inflate()
	}
	switch {
	case r.stopped:
	case len(r.held) > 0 || r.skip > 0:
		r.problem("the data set ends inside an element")
	case len(r.levels) > 0 && !r.closed():
		r.problem("the data set ends inside a sequence")
	}
	if r.header.SOPInstanceUID == "" || r.header.SOPClassUID == "" {
		r.problem("the data set has no SOP Class UID or no SOP Instance UID")
	}
	return r.header
}

// inflate parses what there is of a deflated data set, PS3.5 annex A.5. What is
// beyond the limits is left alone: the header stands at the beginning.
func (r *HeaderReader) inflate() {
	whole := len(r.held) < maxDeflated
	compressed := r.held
	r.held, r.deflated = nil, false
	in := flate.NewReader(bytes.NewReader(compressed))
	n, err := io.Copy(r, io.LimitReader(in, maxInflated))
	switch {
	case !whole || n == maxInflated:
		r.stopped = true
	case err != nil:
		r.problem("the data set cannot be inflated to its end")
	}
}

// closed reports whether all open levels end exactly here.
func (r *HeaderReader) closed() bool {
	for _, l := range r.levels {
		if l.end != r.at {
			return false
		}
	}
	return true
}

// problem keeps the first problem.
func (r *HeaderReader) problem(format string, args ...any) {
	if r.header.Problem == "" {
		r.header.Problem = fmt.Sprintf(format, args...)
	}
}

// stop ends the reading for a data set that cannot be followed any further.
func (r *HeaderReader) stop(format string, args ...any) {
	r.problem(format, args...)
	r.stopped = true
}

// parse consumes b. What is the beginning of an element is held for next time.
func (r *HeaderReader) parse(b []byte) {
	for len(b) > 0 && !r.stopped {
		if r.skip > 0 {
			n := min(r.skip, int64(len(b)))
			r.skip -= n
			r.at += n
			b = b[n:]
			continue
		}
		if len(r.held) == 0 {
			n := r.element(b)
			if n == 0 && !r.stopped {
				r.held = append(r.held, b...)
				return
			}
			b = b[n:]
			continue
		}
		// An element that began in an earlier piece: add what it can need.
		had := len(r.held)
		r.held = append(r.held, b[:min(len(b), 12+maxValue-had)]...)
		n := r.element(r.held)
		if n == 0 {
			if r.stopped || len(r.held)-had == len(b) {
				return
			}
			r.stop("an element is larger than the reader holds")
			return
		}
		b = b[max(n-had, 0):]
		r.held = r.held[:0]
	}
	if r.stopped {
		r.held = nil
	}
}

// element consumes one element header at the beginning of b, with the value
// where that is wanted, and returns how many bytes; 0 where more are needed.
func (r *HeaderReader) element(b []byte) int {
	for len(r.levels) > 0 && r.levels[len(r.levels)-1].end == r.at {
		r.pop()
	}
	if r.first {
		if len(b) < 8 {
			return 0
		}
		r.sniff(b)
		r.first = false
	}
	if len(b) < 8 {
		return 0
	}
	t := tag.New(r.order.Uint16(b), r.order.Uint16(b[2:]))
	if t.Group() == 0xFFFE {
		return r.delimiter(t, r.order.Uint32(b[4:]))
	}
	if n := len(r.levels); n > 0 && !r.levels[n-1].item {
		r.stop("%v where an item of a sequence is expected", t)
		return 0
	}
	vr, head, length := VR(0), 8, r.order.Uint32(b[4:])
	if !r.implicit {
		vr = vrOf(b[4:])
		if !letters(b[4:]) {
			r.stop("%v has no valid VR", t)
			return 0
		}
		length = uint32(r.order.Uint16(b[6:]))
		if vr.long() {
			if len(b) < 12 {
				return 0
			}
			head, length = 12, r.order.Uint32(b[8:])
		}
	}
	return r.value(b, t, vr, head, length)
}

// value decides what becomes of an element whose header is known.
func (r *HeaderReader) value(b []byte, t tag.Tag, vr VR, head int, length uint32) int {
	top := len(r.levels) == 0
	if top && t >= firstPixelData {
		r.stopped = true
		return head
	}
	var to *string
	if top {
		to = r.header.field(t)
	}
	wanted := to != nil && *to == "" && length <= maxValue
	if wanted && len(b) < head+int(length) {
		return 0
	}
	if top && t <= r.last {
		r.problem("%v is not in ascending order", t)
	}
	if top {
		r.last = t
	}
	if length == 0xFFFFFFFF {
		r.at += int64(head)
		r.open(t, vr)
		return head
	}
	if !r.fits(int64(head) + int64(length)) {
		r.stop("%v is longer than the item that holds it", t)
		return 0
	}
	if !wanted {
		if to != nil && length > maxValue {
			r.problem("%v has a value of %d bytes", t, length)
		}
		r.at += int64(head)
		r.skip = int64(length)
		return head
	}
	n := head + int(length)
	*to = strings.Trim(string(b[head:n]), " \x00")
	r.at += int64(n)
	return n
}

// open enters a value of undefined length, PS3.5 section 7.5: a sequence; a UN
// that is one in Implicit VR Little Endian whatever is around it (section 6.2.2);
// or encapsulated pixel data.
func (r *HeaderReader) open(t tag.Tag, vr VR) {
	if len(r.levels) >= 2*MaxDepth {
		r.stop("sequences are nested deeper than %d", MaxDepth)
		return
	}
	l := level{end: undefined, implicit: r.implicit, order: r.order}
	switch vr {
	case UN:
		r.implicit, r.order = true, binary.LittleEndian
	case OB, OW:
		l.opaque = true
	case SQ, 0:
		l.opaque = t == tag.PixelData
	default:
		r.stop("%v of VR %v has an undefined length", t, vr)
		return
	}
	r.levels = append(r.levels, l)
}

func (r *HeaderReader) pop() {
	n := len(r.levels) - 1
	r.implicit, r.order = r.levels[n].implicit, r.levels[n].order
	r.levels = r.levels[:n]
}

// delimiter consumes an item or a delimitation, PS3.5 section 7.5.
func (r *HeaderReader) delimiter(t tag.Tag, length uint32) int {
	n := len(r.levels)
	inSequence := n > 0 && !r.levels[n-1].item
	r.at += 8
	switch {
	case t == tag.Item && inSequence && r.levels[n-1].opaque:
		r.skip = int64(length)
		if length == 0xFFFFFFFF {
			r.stop("a fragment of pixel data has an undefined length")
		}
	case t == tag.Item && inSequence:
		l := level{end: undefined, item: true, implicit: r.implicit, order: r.order}
		if length != 0xFFFFFFFF {
			l.end = r.at + int64(length)
		}
		r.levels = append(r.levels, l)
	case t == tag.ItemDelimitation && n > 0 && r.levels[n-1].item,
		t == tag.SequenceDelimitation && inSequence:
		r.pop()
	default:
		r.stop("%v where none is expected", t)
	}
	return 8
}

// fits reports whether n more bytes fit into what is open around them.
func (r *HeaderReader) fits(n int64) bool {
	for _, l := range r.levels {
		if l.end != undefined && r.at+n > l.end {
			return false
		}
	}
	return true
}

// sniff looks at the first element: some senders encode another way than the
// presentation context says.
func (r *HeaderReader) sniff(b []byte) {
	explicit := vrOf(b[4:]).Known()
	switch {
	case explicit && r.implicit:
		r.problem("the data set has explicit VRs in an implicit transfer syntax")
		r.implicit = false
	case !explicit && !r.implicit && r.order == binary.LittleEndian && binary.LittleEndian.Uint32(b[4:]) <= maxValue:
		r.problem("the data set has no VRs in an explicit transfer syntax")
		r.implicit = true
	}
}
