// Package tag names data elements: the tags of PS3.6 with VR, VM, keyword and
// name, the command elements of PS3.7 among them, and what is known of the private
// elements of some four hundred creators.
package tag

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync"
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

// ByKeyword returns the tag of a keyword such as "PatientID", of a repeating group
// the first.
func ByKeyword(keyword string) (Tag, bool) {
	t, ok := keywords()[keyword]
	return t, ok
}

var keywords = sync.OnceValue(func() map[string]Tag {
	m := make(map[string]Tag, len(registry)+len(repeating))
	for _, r := range repeating {
		m[r.entry.Keyword] = r.entry.Tag
	}
	for _, e := range registry {
		m[e.Keyword] = e.Tag
	}
	delete(m, "")
	return m
})

// Parse reads "(0010,0020)", "0010,0020", "00100020" or a keyword.
func Parse(s string) (Tag, error) {
	if t, ok := ByKeyword(s); ok {
		return t, nil
	}
	digits := s
	if inner, ok := strings.CutPrefix(s, "("); ok {
		if digits, ok = strings.CutSuffix(inner, ")"); !ok {
			return 0, fmt.Errorf("dicom/tag: %q is no tag and no keyword", s)
		}
	}
	if len(digits) == 9 && digits[4] == ',' {
		digits = digits[:4] + digits[5:]
	}
	n, err := strconv.ParseUint(digits, 16, 32)
	if err != nil || len(digits) != 8 {
		return 0, fmt.Errorf("dicom/tag: %q is no tag and no keyword", s)
	}
	return Tag(n), nil
}

// Creator returns the tag of the Private Creator that a private element belongs to,
// PS3.5 section 7.8.1; false for one that belongs to none.
func (t Tag) Creator() (Tag, bool) {
	block := t & 0xFFFF >> 8
	return t&^0xFFFF | block, t.Private() && block >= 0x10
}

// A privateRow is what is known of a private element.
type privateRow struct {
	creator  string
	tag      Tag // without its block
	vr, name string
}

// LookupPrivate returns what is known of the private element of a creator. The
// entry has neither VM nor keyword, and may have no name.
func LookupPrivate(creator string, t Tag) (Entry, bool) {
	if _, ok := t.Creator(); !ok || creator == "" {
		return Entry{}, false
	}
	want := t &^ 0xFF00
	i := sort.Search(len(private), func(i int) bool {
		r := &private[i]
		return r.creator > creator || r.creator == creator && r.tag >= want
	})
	if i == len(private) || private[i].creator != creator || private[i].tag != want {
		return Entry{}, false
	}
	return Entry{Tag: t, VR: private[i].vr, Name: private[i].name}, true
}

// Delimitations, PS3.5 section 7.5, by shorter names.
const (
	ItemDelimitation     = ItemDelimitationItem
	SequenceDelimitation = SequenceDelimitationItem
)
