package dicom

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"

	"nhip/dicom/tag"
)

// vrFor returns the VR that a value of the tag is written with: that of the
// dictionary, of a private element by its creator, or that of the element that is
// there.
func (d *Dataset) vrFor(t tag.Tag) (VR, error) {
	if vr := d.vrOf(t); vr != UN {
		if e, ok := tag.Lookup(t); ok && len(e.VR) > 2 {
			return d.resolve(t), nil
		}
		return vr, nil
	}
	if e, ok := d.Find(t); ok && e.VR != UN {
		return e.VR, nil
	}
	return 0, fmt.Errorf("dicom: %v is in no dictionary: its VR has to be said", t)
}

// SetText sets the values of an element, with the VR of the dictionary; those of a
// VR for numbers are parsed. Text is encoded by the Specific Character Set
// (0008,0005), which is to be set before; one that it does not have is an error. No
// value at all makes the element empty.
func (d *Dataset) SetText(t tag.Tag, v ...string) error {
	vr, err := d.vrFor(t)
	if err != nil {
		return err
	}
	return d.SetTextAs(t, vr, v...)
}

// SetTextAs sets the values of an element with a VR, that of a private element for
// instance. See SetText.
func (d *Dataset) SetTextAs(t tag.Tag, vr VR, v ...string) error {
	switch vr.kind() {
	case ascii, text:
		return d.setText(t, vr, v)
	case integer:
		return d.setNumbers(t, vr, v)
	case float:
		var f []float64
		for _, s := range v {
			n, err := strconv.ParseFloat(s, 64)
			if err != nil {
				return fmt.Errorf("dicom: %v: a value of VR %v is no number", t, vr)
			}
			f = append(f, n)
		}
		return d.SetFloatAs(t, vr, f...)
	}
	return fmt.Errorf("dicom: %v has VR %v, which holds no text", t, vr)
}

func (d *Dataset) setText(t tag.Tag, vr VR, v []string) error {
	if vr.single() {
		if len(v) > 1 {
			return fmt.Errorf("dicom: %v has VR %v, which holds one value", t, vr)
		}
	} else {
		for _, s := range v {
			if strings.Contains(s, "\\") {
				return fmt.Errorf("dicom: %v: a value holds a backslash, which separates values", t)
			}
		}
	}
	s := strings.Join(v, "\\")
	b := []byte(s)
	if vr.kind() == text {
		var err error
		if b, err = d.encode(s, vr); err != nil {
			return fmt.Errorf("dicom: %v: %w", t, err)
		}
	} else if i := strings.IndexFunc(s, func(r rune) bool { return r > '~' || r < ' ' }); i >= 0 {
		return fmt.Errorf("dicom: %v: a value of VR %v is not of the default repertoire", t, vr)
	}
	return d.SetBytes(t, vr, b)
}

func (d *Dataset) setNumbers(t tag.Tag, vr VR, v []string) error {
	var n []int64
	for _, s := range v {
		base := 10
		if vr == AT {
			base = 16
		}
		if vr == UV {
			u, err := strconv.ParseUint(s, base, 64)
			if err != nil {
				return fmt.Errorf("dicom: %v: a value of VR %v is no number", t, vr)
			}
			n = append(n, int64(u))
			continue
		}
		i, err := strconv.ParseInt(s, base, 64)
		if err != nil {
			return fmt.Errorf("dicom: %v: a value of VR %v is no number", t, vr)
		}
		n = append(n, i)
	}
	return d.SetIntAs(t, vr, n...)
}

// SetInt sets the values of an element whose VR in the dictionary is one for
// numbers, IS and DS among them. A number that the VR does not hold is an error.
func (d *Dataset) SetInt(t tag.Tag, v ...int64) error {
	vr, err := d.vrFor(t)
	if err != nil {
		return err
	}
	return d.SetIntAs(t, vr, v...)
}

// SetIntAs sets the values of an element with a VR for numbers.
func (d *Dataset) SetIntAs(t tag.Tag, vr VR, v ...int64) error {
	switch vr {
	case IS, DS:
		s := make([]string, len(v))
		for i, n := range v {
			s[i] = strconv.FormatInt(n, 10)
			if vr == IS && n != int64(int32(n)) {
				return fmt.Errorf("dicom: %v: a value is more than VR IS holds", t)
			}
		}
		return d.setText(t, vr, s)
	case FL, FD:
		f := make([]float64, len(v))
		for i, n := range v {
			f[i] = float64(n)
		}
		return d.SetFloatAs(t, vr, f...)
	}
	if vr.kind() != integer {
		return fmt.Errorf("dicom: %v has VR %v, which holds no integers", t, vr)
	}
	var b []byte
	for _, n := range v {
		if !holds(vr, n) {
			return fmt.Errorf("dicom: %v: a value is more than VR %v holds", t, vr)
		}
		b = appendInt(b, vr, n)
	}
	return d.SetBytes(t, vr, b)
}

func holds(vr VR, n int64) bool {
	switch vr {
	case SS:
		return n == int64(int16(n))
	case SL:
		return n == int64(int32(n))
	case US:
		return n == int64(uint16(n))
	case UL, AT:
		return n == int64(uint32(n))
	}
	return true
}

func appendInt(b []byte, vr VR, n int64) []byte {
	switch {
	case vr == AT:
		b = binary.LittleEndian.AppendUint16(b, uint16(n>>16))
		return binary.LittleEndian.AppendUint16(b, uint16(n))
	case vr.size() == 2:
		return binary.LittleEndian.AppendUint16(b, uint16(n))
	case vr.size() == 4:
		return binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	return binary.LittleEndian.AppendUint64(b, uint64(n))
}

// SetFloat sets the values of an element whose VR in the dictionary is FL, FD or
// DS; a DS is written in at most 16 characters, rounded where it needs more.
func (d *Dataset) SetFloat(t tag.Tag, v ...float64) error {
	vr, err := d.vrFor(t)
	if err != nil {
		return err
	}
	return d.SetFloatAs(t, vr, v...)
}

// SetFloatAs sets the values of an element with a VR for floating point numbers.
func (d *Dataset) SetFloatAs(t tag.Tag, vr VR, v ...float64) error {
	var b []byte
	switch vr {
	case DS:
		s := make([]string, len(v))
		for i, f := range v {
			if math.IsNaN(f) || math.IsInf(f, 0) {
				return fmt.Errorf("dicom: %v: VR DS holds finite numbers only", t)
			}
			s[i] = decimal(f)
		}
		return d.setText(t, vr, s)
	case FL, OF:
		for _, f := range v {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(f)))
		}
	case FD, OD:
		for _, f := range v {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
		}
	default:
		return fmt.Errorf("dicom: %v has VR %v, which holds no floating point numbers", t, vr)
	}
	return d.SetBytes(t, vr, b)
}

// decimal writes a number in the 16 characters of a DS, as exactly as they allow.
func decimal(f float64) string {
	for precision := -1; ; {
		s := strconv.FormatFloat(f, 'G', precision, 64)
		if len(s) <= 16 {
			return s
		}
		if precision < 0 {
			precision = 17
		}
		precision--
	}
}

// SetBytes sets the value of an element, in little endian, and makes its length
// even by the padding of its VR. The bytes must not be changed afterwards.
func (d *Dataset) SetBytes(t tag.Tag, vr VR, b []byte) error {
	switch {
	case vr.kind() == none || vr == SQ:
		return fmt.Errorf("dicom: %v: VR %v holds no bytes", t, vr)
	case t.Group() == 0xFFFE:
		return fmt.Errorf("dicom: %v is no data element", t)
	case !vr.long() && len(b) > 0xFFFE:
		return fmt.Errorf("dicom: %v: %d bytes are more than VR %v holds", t, len(b), vr)
	case int64(len(b)) >= undefinedLength-1:
		return fmt.Errorf("dicom: %v: %d bytes are more than an element holds", t, len(b))
	}
	e := element{tag: t, vr: vr}
	h := appendHead(nil, encoding{}, t, vr, uint32(len(b)+len(b)%2))
	e.head = uint8(len(h))
	e.raw = make([]byte, 0, len(h)+len(b)+1)
	e.raw = append(append(e.raw, h...), b...)
	if len(b)%2 == 1 {
		e.raw = append(e.raw, vr.pad())
	}
	d.put(e)
	return nil
}

// SetItems sets the items of a sequence, which belong to the data set from then
// on. They are written with defined lengths.
func (d *Dataset) SetItems(t tag.Tag, items ...*Dataset) error {
	if vr := implicitVR(t); vr != SQ && vr != UN || t.Group() == 0xFFFE {
		return fmt.Errorf("dicom: %v is no sequence", t)
	}
	for _, item := range items {
		for at := d; at != nil; at = at.parent {
			if at == item {
				return fmt.Errorf("dicom: %v: a data set cannot hold itself", t)
			}
		}
	}
	for _, item := range items {
		item.parent, item.changed = d, true
	}
	e := element{tag: t, vr: SQ, raw: appendHead(nil, encoding{}, t, SQ, 0), more: &more{}}
	e.head = uint8(len(e.raw))
	list := append([]*Dataset{}, items...)
	e.more.items.Store(&list)
	d.put(e)
	return nil
}

// SetEmpty sets an element without a value, with the VR of the dictionary or UN.
func (d *Dataset) SetEmpty(t tag.Tag) error {
	vr, err := d.vrFor(t)
	if err != nil {
		vr = UN
	}
	if vr == SQ {
		return d.SetItems(t)
	}
	return d.SetBytes(t, vr, nil)
}
