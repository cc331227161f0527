package commitment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"nhip/dicom"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// A content is the data set of a request or of a report. It is read and written
// as a stream, since it may name a million instances.
type content struct {
	uid    string
	refs   []Reference
	failed []Failure
}

// errTooMany references.
var errTooMany = errors.New("dicom/commitment: more references than the limit")

// readContent reads a data set with at most most references. What is not of the
// service class is read over.
func readContent(r io.Reader, transferSyntax string, most int) (content, error) {
	var c content
	classes := map[string]string{} // one string for each
	var in tag.Tag                 // the sequence that an item is of
	var item Failure
	err := dicom.Walk(r, transferSyntax, dicom.Limits{}, func(n *dicom.Node) error {
		switch n.Kind {
		case dicom.ElementNode:
		case dicom.ItemNode:
			if len(c.refs)+len(c.failed) >= most {
				return errTooMany
			}
			in, item = n.Tag, Failure{Reason: ProcessingFailure}
			return nil
		case dicom.ItemEndNode:
			switch in {
			case tag.ReferencedSOPSequence:
				c.refs = append(c.refs, item.Reference)
			case tag.FailedSOPSequence:
				c.failed = append(c.failed, item)
			}
			in = 0
			return nil
		default:
			return nil
		}
		switch {
		case n.Depth == 0 && (n.Tag == tag.ReferencedSOPSequence || n.Tag == tag.FailedSOPSequence):
			return nil
		case n.VR == dicom.SQ || n.Length < 0:
			return dicom.SkipItems
		case n.Depth == 0 && n.Tag == tag.TransactionUID:
			var err error
			c.uid, err = readUID(n)
			return err
		case n.Depth == 1:
			return item.read(n, classes)
		}
		return nil
	})
	return c, err
}

// read reads an element of an item.
func (f *Failure) read(n *dicom.Node, classes map[string]string) error {
	var err error
	switch n.Tag {
	case tag.ReferencedSOPClassUID:
		var class string
		class, err = readUID(n)
		if classes[class] == "" && len(classes) < 1000 {
			classes[class] = class
		}
		if f.SOPClassUID = classes[class]; f.SOPClassUID == "" {
			f.SOPClassUID = class
		}
	case tag.ReferencedSOPInstanceUID:
		f.SOPInstanceUID, err = readUID(n)
	case tag.FailureReason:
		var b []byte
		if n.Length != 2 {
			return fmt.Errorf("dicom/commitment: failure reason of %d bytes", n.Length)
		}
		if b, err = n.Value(); err == nil {
			f.Reason = FailureReason(binary.LittleEndian.Uint16(b))
		}
	}
	return err
}

// readUID reads a UID; the padding of it may be wrong.
func readUID(n *dicom.Node) (string, error) {
	if n.Length > 66 {
		return "", fmt.Errorf("dicom/commitment: %v of %d bytes", n.Tag, n.Length)
	}
	b, err := n.Value()
	if err != nil {
		return "", err
	}
	return strings.Trim(string(b), " \x00"), nil
}

// A contentReader is a content as bytes, in little endian.
type contentReader struct {
	content
	explicit bool
	step     int // of the parts: transaction UID, failed, referenced
	at       int // in a sequence
	buf      []byte
}

func newContentReader(c content, transferSyntax string) *contentReader {
	return &contentReader{content: c, explicit: transferSyntax != uid.ImplicitVRLittleEndian}
}

// Read implements io.Reader.
func (r *contentReader) Read(p []byte) (int, error) {
	for len(r.buf) == 0 {
		if r.step > 2 {
			return 0, io.EOF
		}
		r.fill()
	}
	n := copy(p, r.buf)
	r.buf = r.buf[n:]
	return n, nil
}

// fill appends the next part.
func (r *contentReader) fill() {
	r.buf = r.buf[:0]
	t, n := tag.FailedSOPSequence, len(r.failed)
	switch r.step {
	case 0:
		r.buf = r.text(r.buf, tag.TransactionUID, r.uid)
		r.step++
		return
	case 2:
		t, n = tag.ReferencedSOPSequence, len(r.refs)
	}
	if n == 0 {
		r.step++
		return
	}
	if r.at == 0 {
		r.buf = r.head(r.buf, t, "SQ", 0xFFFFFFFF)
	}
	var item []byte
	if r.step == 1 {
		f := r.failed[r.at]
		item = r.reference(f.Reference)
		item = r.head(item, tag.FailureReason, "US", 2)
		item = binary.LittleEndian.AppendUint16(item, uint16(f.Reason))
	} else {
		item = r.reference(r.refs[r.at])
	}
	r.buf = appendTag(r.buf, tag.Item)
	r.buf = binary.LittleEndian.AppendUint32(r.buf, uint32(len(item)))
	r.buf = append(r.buf, item...)
	if r.at++; r.at == n {
		r.buf = appendTag(r.buf, tag.SequenceDelimitationItem)
		r.buf = append(r.buf, 0, 0, 0, 0)
		r.step, r.at = r.step+1, 0
	}
}

func (r *contentReader) reference(ref Reference) []byte {
	b := r.text(nil, tag.ReferencedSOPClassUID, ref.SOPClassUID)
	return r.text(b, tag.ReferencedSOPInstanceUID, ref.SOPInstanceUID)
}

func appendTag(b []byte, t tag.Tag) []byte {
	b = binary.LittleEndian.AppendUint16(b, t.Group())
	return binary.LittleEndian.AppendUint16(b, uint16(t))
}

// head appends the head of an element, PS3.5 section 7.1.
func (r *contentReader) head(b []byte, t tag.Tag, vr string, length uint32) []byte {
	b = appendTag(b, t)
	if r.explicit {
		b = append(b, vr...)
		if vr != "SQ" {
			return binary.LittleEndian.AppendUint16(b, uint16(length))
		}
		b = append(b, 0, 0)
	}
	return binary.LittleEndian.AppendUint32(b, length)
}

func (r *contentReader) text(b []byte, t tag.Tag, uid string) []byte {
	if len(uid)%2 == 1 {
		uid += "\x00"
	}
	return append(r.head(b, t, "UI", uint32(len(uid))), uid...)
}
