// Package tag names data elements: the tags of PS3.6 with VR, VM, keyword and
// name, the command elements of PS3.7 among them. Tags of a private group have
// no row.
package tag

import (
	"fmt"
	"sort"
)

// A Tag is a data element tag: group number in the upper, element number in the
// lower 16 bits, PS3.5 section 7.1.
type Tag uint32

// New returns the tag of a group and an element number.
func New(group, element uint16) Tag { return Tag(group)<<16 | Tag(element) }

// Group returns the group number.
func (t Tag) Group() uint16 { return uint16(t >> 16) }

// Private reports whether the group is odd, PS3.5 section 7.8.
func (t Tag) Private() bool { return t&0x10000 != 0 }

// String returns "(0008,0018) SOPInstanceUID", or the numbers alone where there
// is no keyword.
func (t Tag) String() string {
	s := fmt.Sprintf("(%04X,%04X)", uint32(t>>16), uint32(t&0xFFFF))
	if e, ok := Lookup(t); ok && e.Keyword != "" {
		s += " " + e.Keyword
	}
	return s
}

// An Entry is one row of the data dictionary. VR may name alternatives ("US or
// SS") and is empty for items and delimiters.
type Entry struct {
	Tag           Tag
	VR, VM        string
	Keyword, Name string
	Retired       bool
}

// Lookup returns the dictionary's row for a tag, repeating groups included.
func Lookup(t Tag) (Entry, bool) {
	i := sort.Search(len(registry), func(i int) bool { return registry[i].Tag >= t })
	if i < len(registry) && registry[i].Tag == t {
		return registry[i], true
	}
	if t.Private() {
		return Entry{}, false
	}
	for _, r := range repeating {
		if t&r.mask == r.entry.Tag {
			return r.entry, true
		}
	}
	return Entry{}, false
}

// Delimitations, PS3.5 section 7.5, by shorter names.
const (
	ItemDelimitation     = ItemDelimitationItem
	SequenceDelimitation = SequenceDelimitationItem
)
