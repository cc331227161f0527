package dicom

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"strings"

	"nhip/dicom/tag"
)

// Read reads a data set to the end of r: what stands in a file behind its File
// Meta Information, or what a P-DATA message carries. Where it cannot be followed
// to its end, what was read before stands in the data set that comes with the
// error, and Write writes the rest as it came.
func Read(r io.Reader, transferSyntaxUID string, l Limits) (*Dataset, error) {
	l = l.withDefaults()
	b, err := readAll(r, l.Total)
	if err != nil {
		return nil, err
	}
	return parse(b, transferSyntaxUID, l)
}

// Parse reads a data set from memory, which it keeps: b must not be changed
// afterwards.
func Parse(b []byte, transferSyntaxUID string, l Limits) (*Dataset, error) {
	l = l.withDefaults()
	if int64(len(b)) > l.Total {
		return nil, tooLong(l.Total)
	}
	return parse(b, transferSyntaxUID, l)
}

func parse(b []byte, transferSyntaxUID string, l Limits) (*Dataset, error) {
	o := &origin{limits: l, syntax: transferSyntaxUID}
	if deflates(transferSyntaxUID) {
		o.deflated = b
		inflated, err := inflate(b, l)
		if err != nil {
			return &Dataset{read: o}, err
		}
		b = inflated
	}
	d, enc, err := index(b, encodingOf(transferSyntaxUID), l)
	o.rest, o.enc = b[d.size():], enc
	if d.read != nil {
		o.sorted = d.read.sorted
	}
	d.read = o
	return d, err
}

func tooLong(limit int64) error {
	return &FormatError{Problem: "the data set is longer than the limit", Offset: limit, kind: ErrLimit}
}

// readAll reads to the end, and allocates no more than twice what came.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	var pieces [][]byte
	var total int64
	size := 64 << 10
	for {
		piece := make([]byte, min(int64(size), limit+1-total))
		n, err := io.ReadFull(r, piece)
		pieces, total = append(pieces, piece[:n]), total+int64(n)
		switch {
		case total > limit:
			return nil, tooLong(limit)
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			if len(pieces) == 1 && n > len(piece)/2 {
				return pieces[0], nil
			}
			return bytes.Join(pieces, nil), nil
		case err != nil:
			return nil, err
		}
		size = min(size*2, 1<<20)
	}
}

// inflate inflates a data set, PS3.5 annex A.5, after it has counted how long it
// becomes: a bomb costs no memory.
func inflate(b []byte, l Limits) ([]byte, error) {
	limit := min(l.Total, 1<<20+int64(len(b))*int64(l.Inflate))
	n, err := io.Copy(io.Discard, io.LimitReader(flate.NewReader(bytes.NewReader(b)), limit+1))
	switch {
	case n > limit:
		return nil, &FormatError{Offset: limit, Problem: "the data set inflates beyond the limit", kind: ErrLimit}
	case err != nil:
		return nil, &FormatError{Offset: n, Problem: "the data set cannot be inflated to its end", kind: errCut}
	}
	out := make([]byte, n)
	_, err = io.ReadFull(flate.NewReader(bytes.NewReader(b)), out)
	return out, err
}

// A span is where an element of the top level stands.
type span struct {
	head
	enc     encoding
	at, end int64
}

// elements tells of the elements of the data set, or of the item that has been
// opened, but not of what is in their items. The function may read the value of
// one that is no container.
func (s *scanner) elements(found func(span) error) error {
	var open span
	base := len(s.frames)
	for {
		at := s.src.at() + s.pending
		h, err := s.next()
		if err != nil || h.kind == 0 {
			return err
		}
		switch {
		case h.kind == ElementNode && len(s.frames) == base:
			err = found(span{h, s.enc, at, s.src.at() + s.pending})
		case h.kind == ElementNode && len(s.frames) == base+1 && h.container:
			enc := s.frames[base].enc
			open = span{h, enc, at, 0}
		case h.kind == SequenceEndNode && len(s.frames) == base:
			open.end = s.src.at()
			err = found(open)
		case len(s.frames) < base:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// index finds the elements of the top level of what is in memory. It counts them
// first, so that they take no more memory than they need.
func index(b []byte, enc encoding, l Limits) (*Dataset, encoding, error) {
	n := 0
	newScanner(memory(b), enc, l).elements(func(span) error { n++; return nil })
	d := &Dataset{elements: make([]element, 0, n)}
	s := newScanner(memory(b), enc, l)
	var c creators
	err := s.elements(func(found span) error {
		d.add(found, b[found.at:found.end:found.end], &c)
		return nil
	})
	if len(s.frames) > 0 {
		s.enc = s.frames[0].enc
	}
	d.order()
	return d, s.enc, err
}

// creators are the Private Creators of the group that is being read.
type creators struct {
	group uint16
	names map[tag.Tag]string
}

func (c *creators) note(e *element) {
	if c.group != e.tag.Group() {
		c.group, c.names = e.tag.Group(), nil
	}
	if n := e.tag & 0xFFFF; e.tag.Private() && n >= 0x10 && n <= 0xFF && len(e.value()) > 0 && len(e.value()) <= 64 {
		if c.names == nil {
			c.names = map[tag.Tag]string{}
		}
		if _, ok := c.names[e.tag]; !ok {
			c.names[e.tag] = strings.Trim(string(e.value()), " \x00")
		}
	}
}

// vr returns the VR that the dictionary has, for a private element by what its
// creator calls itself.
func (c *creators) vr(t tag.Tag) VR {
	vr := implicitVR(t)
	if creator, ok := t.Creator(); ok && vr == UN && c.group == t.Group() {
		if e, ok := tag.LookupPrivate(c.names[creator], t); ok {
			vr, _ = ParseVR(e.VR)
		}
	}
	return vr
}

// add appends an element that was read.
func (d *Dataset) add(s span, raw []byte, c *creators) {
	e := element{tag: s.tag, vr: s.sent, head: uint8(s.size), raw: raw}
	if s.enc.big {
		e.flags |= bigEndian
	}
	if s.length == undefinedLength {
		e.flags |= undefinedLen
	}
	if s.fragments {
		e.flags |= fragmented
	}
	switch {
	case s.sent == 0:
		e.flags |= noVR
		e.understand(c.vr(s.tag))
	case s.sent == UN && s.length == undefinedLength:
		e.flags |= sentUN
		e.vr = SQ
	case s.sent == UN && s.length < 0xFFFF:
		e.flags |= sentUN
		e.understand(c.vr(s.tag))
	case s.sent == UN:
		e.flags |= sentUN
	}
	if e.vr == SQ && len(e.value()) > 0 {
		e.more = &more{}
	}
	c.note(&e)
	d.elements = append(d.elements, e)
}

// vrOf returns the VR that the dictionary has, for a private element by what its
// creator calls itself.
func (d *Dataset) vrOf(t tag.Tag) VR {
	vr := implicitVR(t)
	if vr != UN || !t.Private() {
		return vr
	}
	if e, ok := tag.LookupPrivate(d.creator(t), t); ok {
		vr, _ = ParseVR(e.VR)
	}
	return vr
}

// creator returns the Private Creator of a private element, "" where there is none.
func (d *Dataset) creator(t tag.Tag) string {
	c, ok := t.Creator()
	if !ok {
		return ""
	}
	return d.Text(c)
}

// understand gives an element without a VR the one that the dictionary has.
func (e *element) understand(vr VR) {
	e.vr = vr
	switch {
	case e.flags&fragmented != 0:
		e.vr = OB
	case e.flags&undefinedLen != 0:
		e.vr = SQ
	default:
		if entry, ok := tag.Lookup(e.tag); ok && len(entry.VR) > 2 {
			e.flags |= alternates
		}
	}
}

// size returns how many bytes the elements had that were read.
func (d *Dataset) size() int {
	n := 0
	for i := range d.elements {
		n += len(d.elements[i].raw)
	}
	return n
}
