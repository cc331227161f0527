package dicom

import (
	"strings"

	"nhip/dicom/tag"
)

// A PersonName is a value of VR PN in its component groups, PS3.5 section 6.2.1.
type PersonName struct {
	Alphabetic, Ideographic, Phonetic NameGroup
}

// A NameGroup is the five components of a name.
type NameGroup struct {
	Family, Given, Middle, Prefix, Suffix string
}

// ParseName takes a value of VR PN apart. What is beyond three groups of five
// components is left out.
func ParseName(s string) PersonName {
	groups := append(strings.SplitN(s, "=", 4), "", "")
	return PersonName{parseGroup(groups[0]), parseGroup(groups[1]), parseGroup(groups[2])}
}

func parseGroup(s string) NameGroup {
	c := append(strings.SplitN(s, "^", 6), "", "", "", "")
	for i := range c {
		c[i] = strings.Trim(c[i], " \x00")
	}
	return NameGroup{c[0], c[1], c[2], c[3], c[4]}
}

// String returns the name as a value of VR PN, without the delimiters that nothing
// follows.
func (n PersonName) String() string {
	return strings.TrimRight(n.Alphabetic.String()+"="+n.Ideographic.String()+"="+n.Phonetic.String(), "=")
}

// String returns the components with their delimiters.
func (g NameGroup) String() string {
	return strings.TrimRight(strings.Join([]string{g.Family, g.Given, g.Middle, g.Prefix, g.Suffix}, "^"), "^")
}

// Names returns the values of VR PN.
func (e Element) Names() []PersonName {
	if e.VR != PN {
		return nil
	}
	var names []PersonName
	for _, s := range e.Texts() {
		names = append(names, ParseName(s))
	}
	return names
}

// Name returns the first value of an element of VR PN; the zero name where there is
// none.
func (d *Dataset) Name(t tag.Tag) PersonName {
	if e, ok := d.Find(t); ok {
		if names := e.Names(); len(names) > 0 {
			return names[0]
		}
	}
	return PersonName{}
}

// Tags returns the values of VR AT.
func (e Element) Tags() []tag.Tag {
	if e.VR != AT {
		return nil
	}
	var tags []tag.Tag
	for _, n := range e.Ints() {
		tags = append(tags, tag.Tag(n))
	}
	return tags
}
