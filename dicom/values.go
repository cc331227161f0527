package dicom

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"

	"nhip/dicom/tag"
)

// Text returns the first value as text, "" where there is none.
func (e Element) Text() string {
	if k := e.VR.kind(); k == ascii || k == text || k == none {
		s := e.decoded()
		if e.VR.single() {
			return strings.TrimRight(s, " \x00")
		}
		s, _, _ = strings.Cut(strings.TrimRight(s, " \x00"), "\\")
		return strings.Trim(s, " \x00")
	}
	if v := e.Texts(); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Texts returns the values as text: decoded by the Specific Character Set
// (0008,0005), without padding and without the spaces that PS3.5 section 6.2 calls
// insignificant. Numbers are in decimal, a tag is "00080018". Values of OB and its
// like, and items, have none.
func (e Element) Texts() []string {
	switch e.VR.kind() {
	case ascii, text, none:
		return e.texts()
	case integer:
		var v []string
		if e.VR == AT {
			for _, n := range e.Ints() {
				v = append(v, fmt.Sprintf("%08X", n))
			}
			return v
		}
		if e.VR == UV {
			for _, n := range e.Ints() {
				v = append(v, strconv.FormatUint(uint64(n), 10))
			}
			return v
		}
		for _, n := range e.Ints() {
			v = append(v, strconv.FormatInt(n, 10))
		}
		return v
	case float:
		var v []string
		bits := 8 * e.VR.size()
		for _, n := range e.Floats() {
			v = append(v, strconv.FormatFloat(n, 'g', -1, bits))
		}
		return v
	}
	return nil
}

// decoded returns a value of text with its delimiters and its padding.
func (e Element) decoded() string {
	if e.VR.kind() == text {
		return e.in.decode(e.Bytes(), e.VR)
	}
	return string(e.Bytes())
}

func (e Element) texts() []string {
	s := e.decoded()
	if s == "" {
		return nil
	}
	if e.VR.single() {
		return []string{strings.TrimRight(s, " \x00")}
	}
	v := strings.Split(strings.TrimRight(s, " \x00"), "\\")
	for i := range v {
		v[i] = strings.Trim(v[i], " \x00")
	}
	return v
}

// Ints returns the values as integers: those of integer VRs, of IS, and those of
// DS that are whole. A value that is none ends the list. UV beyond 63 bits wraps.
func (e Element) Ints() []int64 {
	switch e.VR {
	case IS, DS:
		var v []int64
		for _, s := range e.Texts() {
			n, err := strconv.ParseInt(strings.TrimPrefix(s, "+"), 10, 64)
			if err != nil {
				f, ferr := strconv.ParseFloat(s, 64)
				if ferr != nil || f != math.Trunc(f) || math.Abs(f) >= 1<<53 {
					return v
				}
				n = int64(f)
			}
			v = append(v, n)
		}
		return v
	}
	if e.VR.kind() != integer && e.VR != OW && e.VR != OL && e.VR != OV && e.VR != OB {
		return nil
	}
	b, order := e.Bytes(), e.order()
	size := e.VR.size()
	v := make([]int64, 0, len(b)/size)
	for ; len(b) >= size; b = b[size:] {
		v = append(v, e.int(b, order))
	}
	return v
}

func (e Element) int(b []byte, order binary.ByteOrder) int64 {
	switch e.VR {
	case SS:
		return int64(int16(order.Uint16(b)))
	case SL:
		return int64(int32(order.Uint32(b)))
	case AT:
		return int64(order.Uint16(b))<<16 | int64(order.Uint16(b[2:]))
	case OB:
		return int64(b[0])
	case US, OW:
		return int64(order.Uint16(b))
	case UL, OL:
		return int64(order.Uint32(b))
	}
	return int64(order.Uint64(b))
}

func (e Element) order() binary.ByteOrder {
	return encoding{big: e.e.flags&bigEndian != 0 && e.e.flags&sentUN == 0}.order()
}

// Floats returns the values as floating point numbers: those of FL, FD, OF, OD, DS
// and IS, and of the integer VRs. A value that is none ends the list.
func (e Element) Floats() []float64 {
	var v []float64
	switch e.VR {
	case DS, IS:
		for _, s := range e.Texts() {
			f, err := strconv.ParseFloat(s, 64)
			if err != nil {
				return v
			}
			v = append(v, f)
		}
	case FL, OF:
		b, order := e.Bytes(), e.order()
		for ; len(b) >= 4; b = b[4:] {
			v = append(v, float64(math.Float32frombits(order.Uint32(b))))
		}
	case FD, OD:
		b, order := e.Bytes(), e.order()
		for ; len(b) >= 8; b = b[8:] {
			v = append(v, math.Float64frombits(order.Uint64(b)))
		}
	case UV:
		for _, n := range e.Ints() {
			v = append(v, float64(uint64(n)))
		}
	default:
		for _, n := range e.Ints() {
			v = append(v, float64(n))
		}
	}
	return v
}

// Text returns the first value of the element as text, "" where there is none.
func (d *Dataset) Text(t tag.Tag) string {
	e, _ := d.Find(t)
	return e.Text()
}

// Texts returns the values of the element as text, see Element.Texts.
func (d *Dataset) Texts(t tag.Tag) []string {
	e, _ := d.Find(t)
	return e.Texts()
}

// Int returns the first value of the element as an integer; false where there is none.
func (d *Dataset) Int(t tag.Tag) (int64, bool) {
	if v := d.Ints(t); len(v) > 0 {
		return v[0], true
	}
	return 0, false
}

// Ints returns the values of the element as integers, see Element.Ints.
func (d *Dataset) Ints(t tag.Tag) []int64 {
	e, _ := d.Find(t)
	return e.Ints()
}

// Float returns the first value of the element as a number; false where there is none.
func (d *Dataset) Float(t tag.Tag) (float64, bool) {
	if v := d.Floats(t); len(v) > 0 {
		return v[0], true
	}
	return 0, false
}

// Floats returns the values of the element as numbers, see Element.Floats.
func (d *Dataset) Floats(t tag.Tag) []float64 {
	e, _ := d.Find(t)
	return e.Floats()
}

// Items returns the items of a sequence, see Element.Items.
func (d *Dataset) Items(t tag.Tag) []*Dataset {
	e, _ := d.Find(t)
	return e.Items()
}

// Bytes returns the value of the element as it is written, see Element.Bytes; nil
// where there is none.
func (d *Dataset) Bytes(t tag.Tag) []byte {
	e, ok := d.Find(t)
	if !ok {
		return nil
	}
	return e.Bytes()
}
