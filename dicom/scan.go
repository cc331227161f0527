package dicom

import (
	"encoding/binary"
	"fmt"
	"strings"

	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// An encoding is how a data set is written.
type encoding struct{ implicit, big bool }

func (e encoding) order() binary.ByteOrder {
	if e.big {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// encodingOf returns the encoding of a transfer syntax. One that is not known is
// Explicit VR Little Endian, what every transfer syntax for encapsulated pixel
// data is (PS3.5 annex A.4).
func encodingOf(transferSyntaxUID string) encoding {
	switch transferSyntaxUID {
	case uid.ImplicitVRLittleEndian, uid.Papyrus3ImplicitVRLittleEndian:
		return encoding{implicit: true}
	case uid.ExplicitVRBigEndian:
		return encoding{big: true}
	}
	return encoding{}
}

// deflates reports whether data sets in the transfer syntax are deflated, PS3.5
// annex A.5.
func deflates(transferSyntaxUID string) bool {
	switch transferSyntaxUID {
	case uid.DeflatedExplicitVRLittleEndian, uid.JPIPReferencedDeflate, uid.JPIPHTJ2KReferencedDeflate:
		return true
	}
	return false
}

// A Kind is what a Node is.
type Kind uint8

// What a data set is made of, PS3.5 section 7.
const (
	ElementNode     Kind = iota + 1 // a data element; a sequence begins
	ItemNode                        // an item begins
	ItemEndNode                     // and ends
	SequenceEndNode                 // a sequence, or encapsulated pixel data, ends
	FragmentNode                    // a fragment of encapsulated pixel data; the first is the offset table
)

// undefinedLength stands on the wire for a length that a delimitation ends.
const undefinedLength = 0xFFFFFFFF

// A head is what stands before a value.
type head struct {
	kind      Kind
	tag       tag.Tag
	sent      VR // as written, 0 for none
	size      int
	length    uint32
	container bool // items follow: a sequence or encapsulated pixel data
	fragments bool // it is encapsulated pixel data
}

// A frame is a sequence or an item that is being read.
type frame struct {
	end       int64 // offset, or undefined
	item      bool  // else the sequence, which holds items
	fragments bool
	enc       encoding // of what is around it, to be restored
	tag       tag.Tag  // of the sequence
}

// A scanner reads what a data set is made of, one after the other. It recurses
// into nothing and holds no value.
type scanner struct {
	src     *source
	enc     encoding
	frames  []frame
	depth   int // sequences that are open
	limits  Limits
	pending int64 // bytes of a value that nobody has read yet
	fresh   bool  // the next element is the first of the data set or of an item
	around  int   // sequences that are open around the data set
	last    tag.Tag
}

func newScanner(src *source, enc encoding, l Limits) *scanner {
	return &scanner{src: src, enc: enc, limits: l, fresh: true}
}

func (s *scanner) fail(t tag.Tag, kind error, format string, args ...any) error {
	if s.src.err != nil {
		return s.src.err
	}
	return &FormatError{Offset: s.src.at(), Tag: t, Problem: fmt.Sprintf(format, args...), kind: kind}
}

// next returns the head of what is next. The data set has ended where the kind
// is 0.
func (s *scanner) next() (head, error) {
	if s.pending > 0 {
		n := s.pending
		s.pending = 0
		if !s.src.skip(n) {
			return head{}, s.fail(s.last, errCut, "ends inside its value")
		}
	}
	if n := len(s.frames); n > 0 && s.frames[n-1].end != undefined && s.src.at() >= s.frames[n-1].end {
		return s.pop(), nil
	}
	b := s.src.peek(12)
	if len(b) < 8 {
		return head{}, s.atEnd(len(b))
	}
	order := s.enc.order()
	t := tag.New(order.Uint16(b), order.Uint16(b[2:]))
	if t.Group() == 0xFFFE && t != 0xFFFEFFFE {
		return s.delimiter(t, order.Uint32(b[4:]))
	}
	if n := len(s.frames); n > 0 && !s.frames[n-1].item {
		return head{}, s.fail(t, nil, "stands where an item of a sequence is expected")
	}
	if s.fresh {
		s.sniff(t, b)
		s.fresh = false
	}
	h, err := s.head(t, b)
	if err != nil {
		return head{}, err
	}
	return h, s.enter(&h)
}

// atEnd is where less than a head is left.
func (s *scanner) atEnd(left int) error {
	switch {
	case s.src.err != nil:
		return s.src.err
	case left > 0:
		return s.fail(0, errCut, "the data set ends inside an element")
	case len(s.frames) > 0:
		return s.fail(0, errCut, "the data set ends inside a sequence")
	}
	return nil
}

// head reads tag, VR and length, PS3.5 section 7.1. An element without letters
// for a VR is read as if it were implicit, as DCMTK and pydicom do.
func (s *scanner) head(t tag.Tag, b []byte) (head, error) {
	order := s.enc.order()
	h := head{kind: ElementNode, tag: t, size: 8, length: order.Uint32(b[4:])}
	s.last = t
	if s.enc.implicit || !letters(b[4:6]) {
		return h, nil
	}
	h.sent = vrOf(b[4:])
	if !h.sent.long() {
		h.length = uint32(order.Uint16(b[6:]))
		return h, nil
	}
	if len(b) < 12 {
		return head{}, s.fail(t, errCut, "ends inside its length")
	}
	h.size, h.length = 12, order.Uint32(b[8:])
	return h, nil
}

// enter checks the length of an element against what is left and what is allowed,
// and opens it where it holds items.
func (s *scanner) enter(h *head) error {
	vr := h.sent
	if vr == 0 {
		vr = implicitVR(h.tag)
	}
	if h.length == undefinedLength {
		return s.open(h, vr)
	}
	n := int64(h.length)
	if err := s.fits(h.tag, int64(h.size), n); err != nil {
		return err
	}
	if n > s.limits.Element && vr != SQ {
		return s.fail(h.tag, ErrLimit, "has a value of %d bytes, more than the limit of %d", n, s.limits.Element)
	}
	s.src.skip(int64(h.size))
	if vr == SQ {
		h.container = true
		return s.push(frame{end: s.src.at() + n, enc: s.enc, tag: h.tag})
	}
	s.pending = n
	return nil
}

// fits compares a length with what is left of the data set and of what is open.
func (s *scanner) fits(t tag.Tag, head, n int64) error {
	if left := s.src.left(); left >= 0 && head+n > left {
		return s.fail(t, errCut, "has a length of %d where %d bytes are left", n, max(left-head, 0))
	}
	for i := len(s.frames) - 1; i >= 0; i-- {
		if f := s.frames[i]; f.end != undefined {
			if s.src.at()+head+n > f.end {
				return s.fail(t, nil, "has a length of %d, more than what holds it", n)
			}
			break
		}
	}
	return nil
}

// open enters a value of undefined length, PS3.5 section 7.5: a sequence; a UN
// that is one in Implicit VR Little Endian whatever is around it (section 6.2.2);
// or encapsulated pixel data.
func (s *scanner) open(h *head, vr VR) error {
	f := frame{end: undefined, enc: s.enc, tag: h.tag}
	enc := s.enc
	switch {
	case vr == UN && h.sent != 0:
		enc = encoding{implicit: true}
	case vr == OB || vr == OW || h.sent == 0 && h.tag == tag.PixelData:
		f.fragments = true
	case vr == SQ, h.sent == 0:
	default:
		return s.fail(h.tag, nil, "of VR %v has an undefined length", vr)
	}
	if err := s.fits(h.tag, int64(h.size), 0); err != nil {
		return err
	}
	s.src.skip(int64(h.size))
	h.container, h.fragments = true, f.fragments
	if err := s.push(f); err != nil {
		return err
	}
	s.enc = enc
	return nil
}

func (s *scanner) push(f frame) error {
	if !f.item {
		s.depth++
		if s.around+s.depth > s.limits.Depth {
			return s.fail(f.tag, ErrLimit, "is nested deeper than %d", s.limits.Depth)
		}
	}
	s.frames = append(s.frames, f)
	return nil
}

// pop closes what was opened last.
func (s *scanner) pop() head {
	f := s.frames[len(s.frames)-1]
	s.frames = s.frames[:len(s.frames)-1]
	s.enc, s.fresh = f.enc, false
	if f.item {
		return head{kind: ItemEndNode, tag: f.tag}
	}
	s.depth--
	return head{kind: SequenceEndNode, tag: f.tag}
}

// delimiter reads an item or a delimitation, PS3.5 section 7.5. The length of a
// delimitation is not looked at.
func (s *scanner) delimiter(t tag.Tag, length uint32) (head, error) {
	n := len(s.frames)
	inSequence := n > 0 && !s.frames[n-1].item
	switch {
	case t == tag.Item && inSequence:
		return s.item(s.frames[n-1], length)
	case t == tag.ItemDelimitation && n > 0 && s.frames[n-1].item && s.frames[n-1].end == undefined,
		t == tag.SequenceDelimitation && inSequence && s.frames[n-1].end == undefined:
		if err := s.fits(t, 8, 0); err != nil {
			return head{}, err
		}
		s.src.skip(8)
		h := s.pop()
		h.size = 8
		return h, nil
	}
	return head{}, s.fail(t, nil, "stands where none is expected")
}

// item opens an item, or finds a fragment.
func (s *scanner) item(in frame, length uint32) (head, error) {
	h := head{kind: ItemNode, tag: in.tag, size: 8, length: length}
	if in.fragments {
		h.kind = FragmentNode
	}
	if length == undefinedLength {
		if in.fragments {
			return head{}, s.fail(in.tag, nil, "has a fragment of undefined length")
		}
		if err := s.fits(in.tag, 8, 0); err != nil {
			return head{}, err
		}
		s.src.skip(8)
		s.fresh = true
		return h, s.push(frame{end: undefined, item: true, enc: s.enc, tag: in.tag})
	}
	if err := s.fits(in.tag, 8, int64(length)); err != nil {
		return head{}, err
	}
	if in.fragments && int64(length) > s.limits.Element {
		return head{}, s.fail(in.tag, ErrLimit, "has a fragment of %d bytes, more than the limit of %d", length, s.limits.Element)
	}
	s.src.skip(8)
	if in.fragments {
		s.pending = int64(length)
		return h, nil
	}
	s.fresh = true
	return h, s.push(frame{end: s.src.at() + int64(length), item: true, enc: s.enc, tag: in.tag})
}

// sniff looks at a first element: some senders write a data set, or an item of
// it, another way than the transfer syntax says.
func (s *scanner) sniff(t tag.Tag, b []byte) {
	switch {
	case s.enc.big:
	case s.enc.implicit && vrOf(b[4:]).Known():
		s.enc.implicit = !s.explicit(t, b)
	case !s.enc.implicit && !letters(b[4:]):
		s.enc.implicit = true
	}
}

// explicit tells two letters where none belong from a length that looks like them: a VR
// is that of the dictionary; where there is none, a length would be too long.
func (s *scanner) explicit(t tag.Tag, b []byte) bool {
	if vr := implicitVR(t); vr != UN {
		entry, _ := tag.Lookup(t)
		return vrOf(b[4:]) == vr || vrOf(b[4:]) == UN || strings.Contains(entry.VR, string(b[4:6]))
	}
	length := s.enc.order().Uint32(b[4:])
	return length != undefinedLength && s.fits(t, 8, int64(length)) != nil
}

func letters(b []byte) bool {
	return b[0] >= 'A' && b[0] <= 'Z' && b[1] >= 'A' && b[1] <= 'Z'
}

// implicitVR returns the VR that an element has where none is written: what the
// dictionary says, PS3.5 section 6.2.2 and annex A.1. Of alternatives it is the
// first, which annex A.1 settles for most; resolve settles the rest.
func implicitVR(t tag.Tag) VR {
	switch {
	case t&0xFFFF == 0:
		return UL
	case t.Private() && t&0xFFFF >= 0x10 && t&0xFFFF <= 0xFF:
		return LO
	}
	if e, ok := tag.Lookup(t); ok && len(e.VR) >= 2 {
		if e.VR == "OB or OW" {
			return OW
		}
		return VR(e.VR[0])<<8 | VR(e.VR[1])
	}
	return UN
}
