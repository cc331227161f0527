package dicom

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"

	"nhip/dicom/tag"
)

// A Node is what a visitor is told of: an element, an item or its end. It counts
// during the call only.
type Node struct {
	Kind   Kind
	Tag    tag.Tag // of the element; of items and fragments that of the sequence
	VR     VR      // of an element, as written; where none is written, what the dictionary has
	NoVR   bool    // none is written
	Length int64   // of the value; -1 where it is undefined
	Offset int64   // of the value in the data set, in the file for WalkFile; of what inflates, inflated
	Depth  int     // how many sequences are around it

	s *scanner
}

// What a visitor may return beside an error of its own.
var (
	// SkipItems goes over the items of the sequence, or over the rest of the item.
	SkipItems = errors.New("skip the items")
	// SkipAll ends the walk, without an error.
	SkipAll = errors.New("skip all that follows")
)

// Read reads the value of an element or a fragment that holds no items.
func (n *Node) Read(p []byte) (int, error) {
	if n.s.pending == 0 {
		return 0, io.EOF
	}
	got := n.s.src.read(p[:min(int64(len(p)), n.s.pending)])
	n.s.pending -= int64(got)
	if got == 0 && len(p) > 0 {
		return 0, n.s.fail(n.Tag, errCut, "ends inside its value")
	}
	return got, nil
}

// Value returns the rest of the value, at most Limits.Held bytes: more is an error
// that wraps ErrLimit.
func (n *Node) Value() ([]byte, error) {
	if n.s.pending > n.s.limits.Held {
		return nil, n.s.fail(n.Tag, ErrLimit, "has a value of %d bytes, more than %d are held", n.s.pending, n.s.limits.Held)
	}
	b := make([]byte, n.s.pending)
	_, err := io.ReadFull(n, b)
	return b, err
}

// Element returns an element of a value that was read from the node, to be decoded; vr
// is that which the value is to be understood by. It belongs to no data set: text is
// of the default repertoire, see Element.TextIn.
func (n *Node) Element(vr VR, value []byte) Element {
	e := element{tag: n.Tag, vr: vr, raw: value}
	switch {
	case n.VR == UN:
		e.flags = sentUN
	case n.s.enc.big:
		e.flags = bigEndian
	}
	return Element{Tag: n.Tag, VR: vr, e: e, in: &Dataset{}}
}

// A visitor is told of everything in a data set, in its order. Nothing is held of
// what it does not read.
type visitor = func(*Node) error

// Walk reads a data set and tells a visitor of everything in it, holding a window of
// 32 KiB. Values that the visitor does not read are gone over; where r can be read
// anywhere, without reading them. The limit Total does not apply, but to what
// inflates.
func Walk(r io.Reader, transferSyntaxUID string, l Limits, visit func(*Node) error) error {
	src, err := sourceOf(r)
	if err != nil {
		return err
	}
	return walk(src, transferSyntaxUID, l.withDefaults(), visit)
}

// sourceOf returns a source for a reader: for a file one that can go over values.
func sourceOf(r io.Reader) (*source, error) {
	f, ok := r.(interface {
		io.ReaderAt
		io.Seeker
	})
	if !ok {
		return streamSource(r), nil
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return streamSource(r), nil // a pipe
	}
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	return fileSource(f, at, end), nil
}

func walk(src *source, transferSyntaxUID string, l Limits, visit visitor) error {
	if deflates(transferSyntaxUID) {
		src = streamSource(newInflater(src, l))
	}
	s := newScanner(src, encodingOf(transferSyntaxUID), l)
	err := s.walk(visit)
	if errors.Is(err, SkipAll) {
		return nil
	}
	return err
}

func (s *scanner) walk(visit visitor) error {
	var n Node
	for {
		h, err := s.next()
		if err != nil || h.kind == 0 {
			return err
		}
		n = Node{Kind: h.kind, Tag: h.tag, VR: h.sent, Length: int64(h.length), Offset: s.src.at(), Depth: s.depth, s: s}
		if h.kind == ElementNode && h.sent == 0 {
			n.VR, n.NoVR = implicitVR(h.tag), true
		}
		if h.length == undefinedLength {
			n.Length = -1
		}
		if h.container {
			n.Depth-- // the sequence itself is not around it
		}
		opens := h.container || h.kind == ItemNode
		switch err := visit(&n); {
		case errors.Is(err, SkipItems) && opens:
			if err := s.leave(); err != nil {
				return err
			}
		case errors.Is(err, SkipItems):
		case err != nil:
			return err
		}
	}
}

// leave goes to the end of what was opened last.
func (s *scanner) leave() error {
	base := len(s.frames)
	if end := s.frames[base-1].end; end != undefined {
		s.pending = end - s.src.at()
		s.pop()
		return nil
	}
	for len(s.frames) >= base {
		h, err := s.next()
		if err != nil {
			return err
		}
		if h.kind == 0 {
			return s.fail(0, errCut, "the data set ends inside a sequence")
		}
	}
	return nil
}

// WalkFile reads a DICOM file and tells a visitor of everything in it, the File Meta
// Information first. See Walk and ReadFile.
func WalkFile(r io.Reader, l Limits, visit func(*Node) error) error {
	l = l.withDefaults()
	src, err := sourceOf(r)
	if err != nil {
		return err
	}
	if b := src.peek(132); len(b) == 132 && string(b[128:]) == "DICM" {
		src.skip(132)
	} else if !plausible(b) {
		return notDICOM(src.err)
	}
	ts, err := walkMeta(src, l, visit)
	if err != nil {
		if errors.Is(err, SkipAll) {
			return nil
		}
		return err
	}
	if ts == "" {
		ts = guess(src.peek(8))
	}
	return walk(src, ts, l, visit)
}

func notDICOM(err error) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("dicom: no DICM prefix, and no data element that is known: %w", ErrNotDICOM)
}

// walkMeta walks over group 0002 and returns the transfer syntax that it names.
func walkMeta(src *source, l Limits, visit visitor) (string, error) {
	ts := ""
	for {
		b := src.peek(8)
		if len(b) < 8 || b[0] != 2 || b[1] != 0 || !letters(b[4:]) {
			return ts, nil
		}
		s := newScanner(src, encoding{}, l)
		h, err := s.next()
		if err != nil {
			return "", fmt.Errorf("dicom: File Meta Information: %w", err)
		}
		n := Node{Kind: h.kind, Tag: h.tag, VR: h.sent, Length: int64(h.length), Offset: src.at(), s: s}
		if h.tag == tag.TransferSyntaxUID && h.length <= 64 {
			ts = string(bytes.TrimRight(src.peek(int(h.length)), " \x00"))
		}
		if h.container {
			return "", fmt.Errorf("dicom: File Meta Information: %v holds items", h.tag)
		}
		if err := visit(&n); err != nil && !errors.Is(err, SkipItems) {
			return "", err
		}
		if !src.skip(s.pending) {
			return "", s.fail(h.tag, errCut, "ends inside its value")
		}
	}
}

// An inflater inflates what comes, and ends where that grows beyond the limits.
type inflater struct {
	z      io.Reader
	in     *source
	begin  int64 // offset of the compressed data
	out    int64
	limits Limits
}

func newInflater(src *source, l Limits) *inflater {
	return &inflater{z: flate.NewReader(compressed{src}), in: src, begin: src.at(), limits: l}
}

func (f *inflater) Read(p []byte) (int, error) {
	n, err := f.z.Read(p)
	f.out += int64(n)
	if f.out > min(f.limits.Total, 1<<20+(f.in.at()-f.begin)*int64(f.limits.Inflate)) {
		return 0, &FormatError{Offset: f.out, Problem: "the data set inflates beyond the limit", kind: ErrLimit}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return n, &FormatError{Offset: f.out, Problem: "the data set cannot be inflated to its end", kind: errCut}
	}
	return n, err
}

// compressed reads a source.
type compressed struct{ src *source }

func (c compressed) Read(p []byte) (int, error) {
	n := c.src.read(p)
	if n == 0 && len(p) > 0 {
		if c.src.err != nil {
			return 0, c.src.err
		}
		return 0, io.EOF
	}
	return n, nil
}

// ReadByte makes flate take no more than it needs.
func (c compressed) ReadByte() (byte, error) {
	b := c.src.peek(1)
	if len(b) == 0 {
		return 0, io.EOF
	}
	c.src.skip(1)
	return b[0], nil
}
