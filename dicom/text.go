package dicom

import (
	"nhip/dicom/charset"
	"nhip/dicom/tag"
)

// charsets returns the character sets of the data set, (0008,0005), of an item those
// of what is around it where it has none. What is no defined term counts for
// nothing.
func (d *Dataset) charsets() *charset.Set {
	e, _ := d.inherited(tag.SpecificCharacterSet)
	if e.VR.kind() == text {
		e.VR = CS // with the VR of a text it would be decoded by itself, without end
	}
	s, _ := charset.New(e.Texts()...)
	return s
}

func delimiters(vr VR) charset.Delimiters {
	switch {
	case vr == PN:
		return charset.Name
	case vr.single():
		return charset.Text
	}
	return charset.Values
}

// decode returns text in the character set of the data set. What is ASCII needs no
// look at it.
func (d *Dataset) decode(b []byte, vr VR) string {
	for _, c := range b {
		if c >= 0x80 || c == 0x1B {
			return d.charsets().Decode(b, delimiters(vr))
		}
	}
	return string(b)
}

// encode returns text in the character set of the data set.
func (d *Dataset) encode(s string, vr VR) ([]byte, error) {
	return d.charsets().Encode(s, delimiters(vr))
}

// TextIn returns the whole value of a VR for text, with its delimiters and its
// padding, decoded by a character set.
func (e Element) TextIn(s *charset.Set) string {
	if e.VR.kind() != text || s == nil {
		return string(e.Bytes())
	}
	return s.Decode(e.Bytes(), delimiters(e.VR))
}
