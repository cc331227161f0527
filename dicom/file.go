package dicom

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// A File is a DICOM file, PS3.10 section 7: File Meta Information, and a data set
// in the transfer syntax that it names.
type File struct {
	Preamble [128]byte
	Bare     bool     // there is neither preamble nor prefix
	Meta     *Dataset // group 0002
	*Dataset
}

// NewFile returns a file with the File Meta Information of the data set, whose SOP
// Class UID and SOP Instance UID it names.
func NewFile(d *Dataset, transferSyntaxUID string) (*File, error) {
	f := &File{Meta: NewDataset(), Dataset: d}
	class, instance := d.Text(tag.SOPClassUID), d.Text(tag.SOPInstanceUID)
	if class == "" || instance == "" {
		return nil, errors.New("dicom: a file needs a SOP Class UID and a SOP Instance UID")
	}
	return f, errors.Join(
		f.Meta.SetBytes(0x00020000, UL, make([]byte, 4)),
		f.Meta.SetBytes(0x00020001, OB, []byte{0, 1}),
		f.Meta.SetText(0x00020002, class),
		f.Meta.SetText(0x00020003, instance),
		f.Meta.SetText(0x00020010, transferSyntaxUID),
		f.Meta.SetText(0x00020012, fileImplementationClassUID),
		f.Meta.SetText(0x00020013, fileImplementationVersionName),
	)
}

// TransferSyntax returns the UID of the transfer syntax that the data set is
// written in: what the File Meta Information names, or what was found where it
// names none.
func (f *File) TransferSyntax() string {
	if s := f.Meta.Text(0x00020010); s != "" {
		return s
	}
	if f.Dataset.read != nil {
		return f.Dataset.read.syntax
	}
	return uid.ImplicitVRLittleEndian
}

// ReadFile reads a file to the end of r. It reads what DCMTK and pydicom read:
// without preamble, without File Meta Information, without its group length,
// without a transfer syntax. As with Read, what was read stands beside an error,
// unless it is none of DICOM at all: ErrNotDICOM.
func ReadFile(r io.Reader, l Limits) (*File, error) {
	l = l.withDefaults()
	b, err := readAll(r, l.Total)
	if err != nil {
		return nil, err
	}
	return parseFile(b, l)
}

// ParseFile reads a file from memory, which it keeps: b must not be changed
// afterwards.
func ParseFile(b []byte, l Limits) (*File, error) {
	l = l.withDefaults()
	if int64(len(b)) > l.Total {
		return nil, tooLong(l.Total)
	}
	return parseFile(b, l)
}

func parseFile(b []byte, l Limits) (*File, error) {
	f := &File{Bare: len(b) < 132 || string(b[128:132]) != "DICM"}
	if !f.Bare {
		copy(f.Preamble[:], b)
		b = b[132:]
	} else if !plausible(b) {
		return nil, notDICOM(nil)
	}
	n := metaLength(b)
	meta, _, err := index(b[:n:n], encoding{}, l)
	if err != nil {
		return nil, fmt.Errorf("dicom: File Meta Information: %w", err)
	}
	for e := range meta.All() {
		if e.VR == SQ {
			return nil, fmt.Errorf("dicom: File Meta Information: %v holds items", e.Tag)
		}
	}
	f.Meta = meta
	ts := meta.Text(0x00020010)
	if ts == "" {
		ts = guess(b[n:])
	}
	f.Dataset, err = parse(b[n:], ts, l)
	return f, err
}

// plausible reports whether a data set may begin so: with an element that the
// dictionary has, in either byte order.
func plausible(b []byte) bool {
	if len(b) < 8 {
		return false
	}
	for _, enc := range []encoding{{}, {big: true}} {
		t := tag.New(enc.order().Uint16(b), enc.order().Uint16(b[2:]))
		if _, ok := tag.Lookup(t); ok && t.Group() != 0 && t.Group() <= 0x0020 || t.Group() > 0 && t.Group() <= 0x0010 && t&0xFFFF == 0 {
			return true
		}
	}
	return false
}

// metaLength returns where group 0002 ends, which is what its elements say, not
// what the group length does.
func metaLength(b []byte) int {
	at := 0
	for len(b)-at >= 8 && b[at] == 2 && b[at+1] == 0 && letters(b[at+4:]) {
		vr := vrOf(b[at+4:])
		head, n := 8, int64(b[at+6])|int64(b[at+7])<<8
		if vr.long() {
			if len(b)-at < 12 {
				return len(b)
			}
			head, n = 12, int64(encoding{}.order().Uint32(b[at+8:]))
		}
		if n > int64(len(b)-at-head) {
			return len(b)
		}
		at += head + int(n)
	}
	return at
}

// guess tells the transfer syntax of a data set whose file names none, as pydicom
// does: a first element with a VR is explicit, one whose group would be beyond
// 0400 big endian.
func guess(b []byte) string {
	switch {
	case len(b) < 8 || !letters(b[4:]) || !vrOf(b[4:]).Known():
		return uid.ImplicitVRLittleEndian
	case encoding{}.order().Uint16(b) >= 0x0400:
		return uid.ExplicitVRBigEndian
	}
	return uid.ExplicitVRLittleEndian
}

// Write writes the file: what was not changed as it came, else with a File Meta
// Information whose group length is right. The data set is written in the transfer
// syntax that the File Meta Information names: to convert, set it there.
func (f *File) Write(w io.Writer) error {
	var b bytes.Buffer
	if !f.Bare {
		b.Write(f.Preamble[:])
		b.WriteString("DICM")
	}
	if err := f.Meta.write(&b, uid.ExplicitVRLittleEndian); err != nil {
		return err
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return err
	}
	return f.Dataset.Write(w, f.TransferSyntax())
}
