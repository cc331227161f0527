package dicom

import (
	"bytes"
	"io"
	"sync/atomic"

	"nhip/dicom/tag"
)

// An Element is a data element of a Dataset, as it was when it was asked for.
type Element struct {
	Tag tag.Tag
	VR  VR // as it is to be understood: of one that came without VR or as UN, the dictionary's

	e  element
	in *Dataset
}

// more is what an element has beside its bytes.
type more struct {
	items atomic.Pointer[[]*Dataset]
	far   *far
}

// A far is where a value stands in a file.
type far struct {
	file  io.ReaderAt
	at, n int64
}

// Written returns the VR that was written with the element, 0 for none.
func (e Element) Written() VR {
	switch {
	case e.e.flags&noVR != 0:
		return 0
	case e.e.flags&sentUN != 0:
		return UN
	}
	return e.e.vr
}

// Len returns the length of the value in bytes, items with their heads and
// delimitations.
func (e Element) Len() int64 {
	if f := e.e.far(); f != nil {
		return f.n
	}
	return int64(len(e.e.value()))
}

// Undefined reports whether the length was written as undefined.
func (e Element) Undefined() bool { return e.e.flags&undefinedLen != 0 }

// Bytes returns the value as it is written, with its padding, in the byte order
// of the data set; a value that was left in a file is read, nil where that fails.
// The bytes must not be changed.
func (e Element) Bytes() []byte {
	f := e.e.far()
	if f == nil {
		return e.e.value()
	}
	b := make([]byte, f.n)
	if n, _ := f.file.ReadAt(b, f.at); int64(n) != f.n {
		return nil
	}
	return b
}

// Reader returns the value as Bytes does, without holding it where it is in a file.
func (e Element) Reader() io.Reader {
	if f := e.e.far(); f != nil {
		return io.NewSectionReader(f.file, f.at, f.n)
	}
	return bytes.NewReader(e.e.value())
}

// InFile tells where in its file the value stands of an element that OpenFile left
// there.
func (e Element) InFile() (offset, length int64, ok bool) {
	if f := e.e.far(); f != nil {
		return f.at, f.n, true
	}
	return 0, 0, false
}

func (e *element) value() []byte { return e.raw[e.head:] }

func (e *element) far() *far {
	if e.more == nil {
		return nil
	}
	return e.more.far
}

// enc returns the encoding of the value's items.
func (e *element) enc() encoding {
	if e.flags&sentUN != 0 {
		return encoding{implicit: true}
	}
	return encoding{implicit: e.flags&noVR != 0, big: e.flags&bigEndian != 0}
}

// Items returns the items of a sequence, nil where it has none or is no sequence.
// They belong to the data set: a change of an item is a change of it.
func (e Element) Items() []*Dataset {
	if e.VR != SQ || e.e.more == nil || e.e.far() != nil {
		return nil
	}
	if p := e.e.more.items.Load(); p != nil {
		return *p
	}
	items := e.parseItems()
	if !e.e.more.items.CompareAndSwap(nil, &items) {
		items = *e.e.more.items.Load()
	}
	return items
}

// parseItems looks into a sequence that was read. It counts first, so that the
// items take no more memory than they need. One that cannot be followed, a UN
// that is no sequence after all, has no items.
func (e Element) parseItems() []*Dataset {
	items, elements := 0, 0
	if len(e.e.value()) == 0 {
		return nil
	}
	if err := e.eachItem(func(span) { items++ }, func(span) { elements++ }); err != nil || items == 0 {
		return nil
	}
	sets, slab := make([]Dataset, items), make([]element, elements)
	list := make([]*Dataset, 0, items)
	b := e.e.value()
	var d *Dataset
	first, used := 0, 0
	var c creators
	e.eachItem(func(s span) {
		d = &sets[len(list)]
		d.parent, d.undefined = e.in, s.length == undefinedLength
		first, c = used, creators{}
		list = append(list, d)
	}, func(s span) {
		used++
		d.elements = slab[first : used-1 : used]
		d.add(s, b[s.at:s.end:s.end], &c)
	})
	for _, item := range list {
		item.order()
	}
	return list
}

// scanners are kept for the next sequence: many are of a few bytes, less than a
// scanner takes.
var scanners = make(chan *scanner, 8)

func takeScanner() *scanner {
	select {
	case s := <-scanners:
		return s
	default:
		return &scanner{src: &source{}}
	}
}

func returnScanner(s *scanner) {
	s.src.buf = nil
	select {
	case scanners <- s:
	default:
	}
}

// eachItem tells of the items of a sequence and of the elements in them.
func (e Element) eachItem(item func(span), found func(span)) error {
	b := e.e.value()
	s := takeScanner()
	defer returnScanner(s)
	*s.src = source{buf: b, end: int64(len(b))}
	*s = scanner{src: s.src, enc: e.e.enc(), frames: s.frames[:0], limits: e.in.limits(), fresh: true, around: e.in.depth()}
	end := int64(len(b))
	if e.e.flags&undefinedLen != 0 {
		end = undefined
	}
	if err := s.push(frame{end: end, enc: s.enc, tag: e.Tag}); err != nil {
		return err
	}
	for {
		h, err := s.next()
		if err != nil || h.kind == SequenceEndNode || h.kind == 0 {
			return err
		}
		item(span{head: h})
		if err := s.elements(func(s span) error { found(s); return nil }); err != nil {
			return err
		}
	}
}
