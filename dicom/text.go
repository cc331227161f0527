package dicom

// decode returns text of a VR in the character set of the data set.
func (d *Dataset) decode(b []byte, vr VR) string { return string(b) }

// encode returns text in the character set of the data set.
func (d *Dataset) encode(s string, vr VR) ([]byte, error) { return []byte(s), nil }
