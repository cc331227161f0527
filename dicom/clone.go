package dicom

import "nhip/dicom/tag"

// Clone returns a data set with the elements that keep wants, of which each can be
// set or deleted without changing d; a nil keep wants all. The values and the items of
// sequences are those of d: items are not to be changed.
func (d *Dataset) Clone(keep func(tag.Tag) bool) *Dataset {
	c := *d
	c.elements = make([]element, 0, len(d.elements))
	for _, e := range d.elements {
		if keep == nil || keep(e.tag) {
			c.elements = append(c.elements, e)
		}
	}
	if d.read != nil {
		read := *d.read
		c.read = &read
	}
	c.changed = c.changed || len(c.elements) < len(d.elements)
	c.order()
	return &c
}
