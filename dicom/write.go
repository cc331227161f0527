package dicom

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"nhip/dicom/tag"
)

// Write writes a data set in a transfer syntax. What was read in the same one and
// was not changed is written as it came. From one uncompressed transfer syntax it
// converts to another; pixel data stay as they are compressed, and need one with
// explicit VRs in little endian.
func (d *Dataset) Write(w io.Writer, transferSyntaxUID string) error {
	deflated := deflates(transferSyntaxUID)
	if deflated && d.read != nil && d.read.deflated != nil && !d.changed {
		_, err := w.Write(d.read.deflated)
		return err
	}
	if !deflated {
		return d.write(w, transferSyntaxUID)
	}
	var whole bytes.Buffer
	z, _ := flate.NewWriter(&whole, flate.DefaultCompression)
	if err := d.write(z, transferSyntaxUID); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	if whole.Len()%2 == 1 {
		whole.WriteByte(0) // PS3.5 annex A.5
	}
	_, err := w.Write(whole.Bytes())
	return err
}

func (d *Dataset) write(w io.Writer, transferSyntaxUID string) error {
	enc := encodingOf(transferSyntaxUID)
	same := d.read != nil && d.read.syntax == transferSyntaxUID
	if same {
		enc = d.read.enc // which may be another one than the transfer syntax says
	}
	out := bufio.NewWriterSize(w, 64<<10)
	var b []byte
	for i := range d.elements {
		e := &d.elements[i]
		if e.far() != nil {
			if err := d.element(i).copyTo(out, enc, same && !d.changed); err != nil {
				return err
			}
			continue
		}
		if same && !d.changed {
			out.Write(e.raw)
			continue
		}
		var err error
		if b, err = d.append(b[:0], i, enc); err != nil {
			return err
		}
		if e.rewritten(enc) {
			n, err := d.groupLength(i, enc)
			if err != nil {
				return err
			}
			enc.order().PutUint32(b[len(b)-4:], n)
		}
		if _, err := out.Write(b); err != nil {
			return err
		}
	}
	if d.read != nil && (len(d.read.rest) > 0 || d.read.tail != nil) {
		if !same {
			return fmt.Errorf("dicom: a data set that could not be read to its end cannot be converted")
		}
		out.Write(d.read.rest)
		if f := d.read.tail; f != nil {
			if _, err := io.Copy(out, io.NewSectionReader(f.file, f.at, f.n)); err != nil {
				return err
			}
		}
	}
	return out.Flush()
}

// Encode returns the data set in a transfer syntax, see Write.
func (d *Dataset) Encode(transferSyntaxUID string) ([]byte, error) {
	var b bytes.Buffer
	err := d.Write(&b, transferSyntaxUID)
	return b.Bytes(), err
}

// asCame reports whether the bytes of the element stand for it in an encoding.
func (e *element) asCame(enc encoding) bool {
	same := e.flags&noVR != 0 == enc.implicit && e.flags&bigEndian != 0 == enc.big
	return same && e.flags&stale == 0 && !e.itemsChanged()
}

func (e *element) itemsChanged() bool {
	if e.more == nil {
		return false
	}
	items := e.more.items.Load()
	return items != nil && (slices.ContainsFunc(*items, func(d *Dataset) bool { return d.changed }) || len(e.raw) == int(e.head) && len(*items) > 0)
}

// append appends the element at i in an encoding.
func (d *Dataset) append(b []byte, i int, enc encoding) ([]byte, error) {
	e := &d.elements[i]
	switch {
	case e.asCame(enc):
		return append(b, e.raw...), nil
	case e.flags&fragmented != 0:
		if enc != (encoding{}) || e.flags&bigEndian != 0 {
			return nil, fmt.Errorf("dicom: %v is encapsulated, which needs explicit VRs in little endian", e.tag)
		}
		b = appendHead(b, enc, e.tag, OB, undefinedLength)
		return append(b, e.value()...), nil
	case e.vr == SQ:
		return d.appendSequence(b, i, enc)
	case e.far() != nil:
		return appendHead(b, enc, e.tag, e.vr, uint32(e.far().n)), nil
	case e.rewritten(enc): // by who knows the length
		return enc.appendUint32(appendHead(b, enc, e.tag, UL, 4), 0), nil
	}
	vr := d.element(i).VR
	at := len(b)
	if b = appendHead(b, enc, e.tag, vr, uint32(len(e.value()))); !enc.implicit && !vr.long() && len(e.value()) > 0xFFFF {
		b = appendHead(b[:at], enc, e.tag, UN, uint32(len(e.value()))) // PS3.5 section 6.2.2
		return appendSwapped(b, e.value(), vr, e.flags&bigEndian != 0), nil
	}
	return appendSwapped(b, e.value(), vr, e.swaps(enc)), nil
}

// swaps reports whether the value has another byte order in an encoding.
func (e *element) swaps(enc encoding) bool {
	return e.flags&sentUN == 0 && e.flags&bigEndian != 0 != enc.big || e.flags&sentUN != 0 && e.vr != UN && enc.big
}

// rewritten reports whether the element is a group length, PS3.5 section 7.2, that
// has to be counted anew.
func (e *element) rewritten(enc encoding) bool {
	return e.tag&0xFFFF == 0 && e.vr == UL && !e.asCame(enc)
}

// groupLength counts the elements of the top level that follow in the group.
func (d *Dataset) groupLength(i int, enc encoding) (uint32, error) {
	n := int64(0)
	var scratch []byte
	for j := i + 1; j < len(d.elements) && d.elements[j].tag.Group() == d.elements[i].tag.Group(); j++ {
		if far := d.elements[j].far(); far != nil {
			n += far.n
		}
		var err error
		if scratch, err = d.append(scratch[:0], j, enc); err != nil {
			return 0, err
		}
		n += int64(len(scratch))
	}
	return uint32(n), nil
}

func (d *Dataset) appendSequence(b []byte, i int, enc encoding) ([]byte, error) {
	e := d.element(i)
	items := e.Items()
	if items == nil && e.Len() > 0 {
		if el := &d.elements[i]; el.flags&(noVR|sentUN) != 0 && el.flags&bigEndian == 0 && !enc.implicit {
			// No sequence, whatever the dictionary says: PS3.5 section 6.2.2.
			return append(appendHead(b, enc, e.Tag, UN, uint32(e.Len())), el.value()...), nil
		}
		return nil, fmt.Errorf("dicom: %v is a sequence that cannot be read", e.Tag)
	}
	if d.depth() > d.limits().Depth {
		return nil, fmt.Errorf("dicom: %v is nested deeper than %d: %w", e.Tag, d.limits().Depth, ErrLimit)
	}
	b = appendHead(b, enc, e.Tag, SQ, undefinedLength)
	start := len(b)
	for _, item := range items {
		var err error
		if b, err = item.appendItem(b, enc); err != nil {
			return nil, err
		}
	}
	if e.Undefined() {
		return enc.appendItemHead(b, tag.SequenceDelimitation, 0), nil
	}
	return enc.putLength(b, start, e.Tag)
}

func (d *Dataset) appendItem(b []byte, enc encoding) ([]byte, error) {
	b = enc.appendItemHead(b, tag.Item, undefinedLength)
	start, counted := len(b), 0
	for i := range d.elements {
		var err error
		if b, err = d.append(b, i, enc); err != nil {
			return nil, err
		}
		switch e := &d.elements[i]; {
		case e.rewritten(enc):
			counted = len(b)
		case counted > 0 && (i+1 == len(d.elements) || d.elements[i+1].tag.Group() != e.tag.Group()):
			enc.order().PutUint32(b[counted-4:], uint32(len(b)-counted))
			counted = 0
		}
	}
	if d.undefined {
		return enc.appendItemHead(b, tag.ItemDelimitation, 0), nil
	}
	return enc.putLength(b, start, tag.Item)
}

// putLength writes the length of what stands at the end of b since start into the
// four bytes before it.
func (e encoding) putLength(b []byte, start int, t tag.Tag) ([]byte, error) {
	n := int64(len(b) - start)
	if n >= undefinedLength {
		return nil, fmt.Errorf("dicom: %v: %d bytes are more than an element holds", t, n)
	}
	e.order().PutUint32(b[start-4:], uint32(n))
	return b, nil
}

func (e encoding) appendUint16(b []byte, n uint16) []byte {
	if e.big {
		return binary.BigEndian.AppendUint16(b, n)
	}
	return binary.LittleEndian.AppendUint16(b, n)
}

func (e encoding) appendUint32(b []byte, n uint32) []byte {
	if e.big {
		return binary.BigEndian.AppendUint32(b, n)
	}
	return binary.LittleEndian.AppendUint32(b, n)
}

func (e encoding) appendItemHead(b []byte, t tag.Tag, length uint32) []byte {
	b = e.appendUint16(b, t.Group())
	b = e.appendUint16(b, uint16(t))
	return e.appendUint32(b, length)
}

// appendHead appends what stands before a value, PS3.5 section 7.1.
func appendHead(b []byte, enc encoding, t tag.Tag, vr VR, length uint32) []byte {
	b = enc.appendUint16(b, t.Group())
	b = enc.appendUint16(b, uint16(t))
	switch {
	case enc.implicit:
		return enc.appendUint32(b, length)
	case vr.long():
		b = append(b, byte(vr>>8), byte(vr), 0, 0)
		return enc.appendUint32(b, length)
	}
	b = append(b, byte(vr>>8), byte(vr))
	return enc.appendUint16(b, uint16(length))
}

// appendSwapped appends a value in the other byte order, if so wanted.
func appendSwapped(b, value []byte, vr VR, swap bool) []byte {
	start := len(b)
	b = append(b, value...)
	if swap {
		swapBytes(b[start:], vr.unit())
	}
	return b
}

func swapBytes(b []byte, unit int) {
	for ; unit > 1 && len(b) >= unit; b = b[unit:] {
		slices.Reverse(b[:unit])
	}
}

// copyTo writes an element whose value is in a file, as it came or in an encoding.
func (e Element) copyTo(w io.Writer, enc encoding, asCame bool) error {
	el := &e.e
	swap := !asCame && el.swaps(enc)
	h := el.raw
	if !asCame && !el.asCame(enc) {
		if el.flags&fragmented != 0 {
			return fmt.Errorf("dicom: %v is encapsulated, which needs explicit VRs in little endian", e.Tag)
		}
		h = appendHead(nil, enc, e.Tag, e.VR, uint32(e.Len()))
	}
	if _, err := w.Write(h); err != nil {
		return err
	}
	r := e.Reader()
	if !swap || e.VR.unit() == 1 {
		n, err := io.Copy(w, r)
		if err == nil && n != e.Len() {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	piece := make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(r, piece)
		swapBytes(piece[:n], e.VR.unit())
		if _, werr := w.Write(piece[:n]); werr != nil {
			return werr
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}
