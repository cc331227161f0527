package dicom

import (
	"cmp"
	"iter"
	"slices"
	"sort"

	"nhip/dicom/tag"
)

// A Dataset is a data set, or an item of a sequence, in memory. Its elements are
// kept as the bytes that came until they are changed, so that what was not
// changed is written as it came; items of sequences are looked into when they
// are asked for. The zero Dataset is empty. Several goroutines may read one at
// the same time.
type Dataset struct {
	elements  []element
	parent    *Dataset // what holds the item
	read      *origin  // nil where it was not read, and in an item that is in order
	unsorted  bool     // tags do not ascend, or one is there twice
	changed   bool     // since it was read
	undefined bool     // the item has an undefined length
}

// An origin is where a data set was read, and what is rare.
type origin struct {
	sorted []int32 // the elements in the order of tags, where they are in another

	limits   Limits
	syntax   string
	enc      encoding // that was found
	rest     []byte   // what could not be read
	tail     *far     // the same, in the file
	deflated []byte   // the whole, as it came
}

// An element is one data element. Its bytes are in the encoding that the flags
// tell.
type element struct {
	tag   tag.Tag
	vr    VR // how the value is to be understood
	head  uint8
	flags flags
	raw   []byte // head and value; the head alone where the value is in a file
	more  *more  // of a sequence and of a value in a file
}

type flags uint8

const (
	noVR      flags = 1 << iota // none is written
	bigEndian                   // head and value
	sentUN                      // the value is in Implicit VR Little Endian
	undefinedLen
	fragmented // encapsulated pixel data
	alternates // the dictionary has several VRs
	stale      // a group length that is to be written anew
)

// NewDataset returns an empty data set.
func NewDataset() *Dataset { return &Dataset{} }

// Len returns the number of elements.
func (d *Dataset) Len() int { return len(d.elements) }

// All returns the elements in the order in which they are written.
func (d *Dataset) All() iter.Seq[Element] {
	return func(yield func(Element) bool) {
		for i := range d.elements {
			if !yield(d.element(i)) {
				return
			}
		}
	}
}

// Find returns the element with the tag, the first where there are several.
func (d *Dataset) Find(t tag.Tag) (Element, bool) {
	i, ok := d.index(t)
	if !ok {
		return Element{}, false
	}
	return d.element(i), true
}

// Has reports whether there is an element with the tag, also an empty one.
func (d *Dataset) Has(t tag.Tag) bool {
	_, ok := d.index(t)
	return ok
}

// index returns where the element is, the first one, or where it belongs.
func (d *Dataset) index(t tag.Tag) (int, bool) {
	if d.unsorted {
		list := d.read.sorted
		i := sort.Search(len(list), func(i int) bool { return d.elements[list[i]].tag >= t })
		if i == len(list) {
			return len(d.elements), false
		}
		return int(list[i]), d.elements[list[i]].tag == t
	}
	i := sort.Search(len(d.elements), func(i int) bool { return d.elements[i].tag >= t })
	return i, i < len(d.elements) && d.elements[i].tag == t
}

// order notes whether the elements are in order, and finds one where they are not.
func (d *Dataset) order() {
	d.unsorted = false
	for i := 1; i < len(d.elements); i++ {
		if d.elements[i-1].tag >= d.elements[i].tag {
			d.unsorted = true
		}
	}
	if !d.unsorted {
		return
	}
	list := make([]int32, len(d.elements))
	for i := range list {
		list[i] = int32(i)
	}
	slices.SortStableFunc(list, func(i, j int32) int { return cmp.Compare(d.elements[i].tag, d.elements[j].tag) })
	if d.read == nil {
		d.read = &origin{}
	}
	d.read.sorted = list
}

func (d *Dataset) element(i int) Element {
	e := &d.elements[i]
	vr := e.vr
	if e.flags&alternates != 0 {
		vr = d.resolve(e.tag)
	}
	return Element{Tag: e.tag, VR: vr, e: *e, in: d}
}

// put places an element, instead of all others with its tag.
func (d *Dataset) put(e element) {
	i, ok := d.index(e.tag)
	if ok && d.unsorted {
		d.remove(e.tag)
		ok = false
		i, _ = d.index(e.tag)
	}
	if !ok {
		d.elements = append(d.elements, element{})
		copy(d.elements[i+1:], d.elements[i:])
	}
	d.elements[i] = e
	if d.unsorted {
		d.order()
	}
	d.touch(e.tag)
}

// Delete removes the element with the tag; an absent one is no error.
func (d *Dataset) Delete(t tag.Tag) {
	if d.Has(t) {
		d.remove(t)
		d.touch(t)
	}
}

func (d *Dataset) remove(t tag.Tag) {
	kept := make([]element, 0, len(d.elements))
	for _, e := range d.elements {
		if e.tag != t {
			kept = append(kept, e)
		}
	}
	d.elements = kept
	if d.unsorted {
		d.order()
	}
}

// touch notes a change of an element, here and in what is around.
func (d *Dataset) touch(t tag.Tag) {
	d.changed = true
	if i, ok := d.index(t &^ 0xFFFF); ok && t&0xFFFF != 0 {
		d.elements[i].flags |= stale
	}
	for p := d.parent; p != nil; p = p.parent {
		p.changed = true
	}
}

// root returns the data set that an item is in.
func (d *Dataset) root() *Dataset {
	for d.parent != nil {
		d = d.parent
	}
	return d
}

// depth returns how many sequences are around an item.
func (d *Dataset) depth() int {
	n := 0
	for d = d.parent; d != nil; d = d.parent {
		n++
	}
	return n
}

// limits returns those that the data set was read with.
func (d *Dataset) limits() Limits {
	if o := d.root().read; o != nil && o.limits.Depth > 0 {
		return o.limits
	}
	return Limits{}.withDefaults()
}

// inherited returns an element of the data set or else of what is around it.
func (d *Dataset) inherited(t tag.Tag) (Element, bool) {
	for ; d != nil; d = d.parent {
		if e, ok := d.Find(t); ok {
			return e, true
		}
	}
	return Element{}, false
}

// resolve settles which of several VRs an element has that came without one, by
// PS3.5 annex A.1 and the notes of PS3.6 section 6.
func (d *Dataset) resolve(t tag.Tag) VR {
	entry, _ := tag.Lookup(t)
	switch {
	case t == tag.PixelData || entry.Keyword == "OverlayData":
		return OW
	case entry.Keyword == "WaveformData" || entry.Keyword == "ChannelMinimumValue" || entry.Keyword == "ChannelMaximumValue" || entry.Keyword == "WaveformPaddingValue":
		if e, ok := d.inherited(0x54001004); ok && len(e.Ints()) > 0 && e.Ints()[0] == 8 {
			return OB
		}
		return OW
	case entry.VR == "US or OW" && entry.Keyword == "LUTData":
		if e, ok := d.Find(0x00283002); ok && len(e.Ints()) > 0 && e.Ints()[0] != 1 {
			return OW
		}
		return US
	case entry.VR == "OB or OW":
		return OW
	}
	if e, ok := d.inherited(0x00280103); ok && len(e.Ints()) > 0 && e.Ints()[0] == 1 {
		return SS
	}
	return US
}
