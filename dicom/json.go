package dicom

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"nhip/dicom/tag"
)

// JSON writes and reads the DICOM JSON model, PS3.18 annex F. The zero JSON has all
// values inline.
type JSON struct {
	// BulkData returns the URI that stands for a value of OB and its like, or for any
	// other but a sequence; "" for one that is written inline. The path is that of the
	// element: "7FE00010", "00400275/0/00081140".
	BulkData func(path string, e Element) string
	// Fetch returns the value that a BulkDataURI stands for, in little endian. Without
	// it such an element has no value.
	Fetch func(uri string) ([]byte, error)
	// Limits bound what is read: Depth, and Total for the JSON.
	Limits Limits
}

// MarshalJSON returns the data set in the DICOM JSON model. Group lengths are left
// out; text is UTF-8, and Specific Character Set says so.
func (d *Dataset) MarshalJSON() ([]byte, error) { return JSON{}.Append(nil, d) }

// Append appends the data set in the DICOM JSON model.
func (j JSON) Append(b []byte, d *Dataset) ([]byte, error) { return j.appendDataset(b, d, "", 0) }

func (j JSON) appendDataset(b []byte, d *Dataset, path string, depth int) ([]byte, error) {
	if depth > j.Limits.withDefaults().Depth {
		return nil, fmt.Errorf("dicom: a data set is nested deeper than %d: %w", depth-1, ErrLimit)
	}
	b = append(b, '{')
	first := true
	for _, i := range d.ascending() {
		e := d.element(i)
		if e.Tag&0xFFFF == 0 { // no group lengths: annex F.2.2
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		key := fmt.Sprintf("%08X", uint32(e.Tag))
		b = append(b, '"')
		b = append(b, key...)
		b = append(b, `":{"vr":"`...)
		b = append(b, e.vrInJSON()...)
		b = append(b, '"')
		var err error
		if b, err = j.appendValue(b, e, path+key, depth); err != nil {
			return nil, err
		}
		b = append(b, '}')
	}
	return append(b, '}'), nil
}

// ascending returns the elements in the order of tags, of equal ones the first.
func (d *Dataset) ascending() []int {
	list := make([]int, 0, len(d.elements))
	if !d.unsorted {
		for i := range d.elements {
			list = append(list, i)
		}
		return list
	}
	at := map[tag.Tag]bool{}
	for i := range d.elements {
		if t := d.elements[i].tag; !at[t] {
			at[t] = true
			list = append(list, i)
		}
	}
	slices.SortStableFunc(list, func(i, j int) int { return cmp.Compare(d.elements[i].tag, d.elements[j].tag) })
	return list
}

func (e Element) vrInJSON() string {
	if !e.VR.Known() {
		return "UN"
	}
	return e.VR.String()
}

// appendValue appends the value of an element, with the comma before it.
func (j JSON) appendValue(b []byte, e Element, path string, depth int) ([]byte, error) {
	if e.Tag == tag.SpecificCharacterSet && e.Len() > 0 {
		return append(b, `,"Value":["ISO_IR 192"]`...), nil
	}
	if e.VR == SQ {
		return j.appendItems(b, e, path, depth)
	}
	if e.Len() == 0 {
		return b, nil
	}
	if j.BulkData != nil {
		if uri := j.BulkData(path, e); uri != "" {
			b = append(b, `,"BulkDataURI":`...)
			return appendString(b, uri), nil
		}
	}
	k := e.VR.kind()
	if k == bulk || k == none || k == ascii && !printable(e.Texts()) || k == text && escapes(e.Texts()) {
		return e.appendInline(b), nil
	}
	values := e.jsonValues()
	if len(values) == 0 {
		return b, nil
	}
	b = append(b, `,"Value":[`...)
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = e.appendJSON(b, v)
	}
	return append(b, ']'), nil
}

// printable reports whether values are of the default repertoire, as those of a VR that
// no character set applies to have to be.
func printable(values []string) bool {
	return !slices.ContainsFunc(values, func(v string) bool {
		return strings.ContainsFunc(v, func(r rune) bool { return r > '~' || r < ' ' })
	})
}

// escapes reports whether text holds an escape character, which stands in no text once
// it is decoded: its character set was not what it is written in.
func escapes(values []string) bool {
	return slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, "\x1b") })
}

func (j JSON) appendItems(b []byte, e Element, path string, depth int) ([]byte, error) {
	items := e.Items()
	if len(items) == 0 {
		if e.Len() > 0 && !e.Undefined() {
			return e.appendInline(b), nil // no sequence, whatever the dictionary says
		}
		return b, nil
	}
	b = append(b, `,"Value":[`...)
	for i, item := range items {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = j.appendDataset(b, item, path+"/"+strconv.Itoa(i)+"/", depth+1); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

// appendInline appends a value as InlineBinary, in little endian (annex F.2.7). Of
// encapsulated pixel data it is the items, as pydicom has it: the annex knows a
// BulkDataURI for them only.
func (e Element) appendInline(b []byte) []byte {
	v := e.Bytes()
	if e.e.flags&bigEndian != 0 && e.e.flags&sentUN == 0 && e.VR.unit() > 1 {
		v = appendSwapped(nil, v, e.VR, true)
	}
	if e.Undefined() {
		v = v[:max(len(v)-8, 0)]
	}
	b = append(b, `,"InlineBinary":"`...)
	b = base64.StdEncoding.AppendEncode(b, v)
	return append(b, '"')
}

// jsonValues returns the values as text; of numbers that are no numbers too.
func (e Element) jsonValues() []string {
	v := e.Texts()
	for _, s := range v {
		if s != "" {
			return v
		}
	}
	return nil
}

func (e Element) appendJSON(b []byte, v string) []byte {
	switch {
	case v == "" && e.VR != PN:
		return append(b, "null"...)
	case e.VR == PN:
		return appendName(b, v)
	case e.VR == IS, e.VR == DS, e.VR.kind() == float, e.VR.kind() == integer && e.VR != AT:
		if n := number(v); n != "" && !beyondDouble(e.VR, v) {
			return append(b, n...)
		}
	}
	return appendString(b, v)
}

// beyondDouble reports whether a 64-bit integer is more than a reader that has
// floating point numbers holds: annex F.2.3 allows a string.
func beyondDouble(vr VR, v string) bool {
	return (vr == SV || vr == UV) && len(strings.TrimPrefix(v, "-")) > 15
}

// number returns a number as JSON writes it, with its digits as they are; "" for
// what is none.
func number(v string) string {
	f, err := strconv.ParseFloat(v, 64)
	if err != nil && !math.IsInf(f, 0) || math.IsNaN(f) || strings.ContainsAny(v, "xX_pPiI") {
		return ""
	}
	v = strings.TrimPrefix(v, "+")
	digits, negative := strings.CutPrefix(v, "-")
	for len(digits) > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9' {
		digits = digits[1:]
	}
	if digits[0] == '.' {
		digits = "0" + digits
	}
	whole, rest, dotted := strings.Cut(digits, ".")
	if dotted && (rest == "" || rest[0] == 'e' || rest[0] == 'E') {
		digits = whole + rest
	}
	if negative {
		return "-" + digits
	}
	return digits
}

func appendName(b []byte, v string) []byte {
	if v == "" {
		return append(b, "null"...)
	}
	b = append(b, '{')
	first := true
	for i, group := range strings.SplitN(v, "=", 3) {
		if group == "" {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(b, []string{`"Alphabetic":`, `"Ideographic":`, `"Phonetic":`}[i]...)
		b = appendString(b, group)
	}
	return append(b, '}')
}

// appendString appends a JSON string; what is no UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ' || r == 0x7F || r == '<' || r == '>' || r == '&' || r == 0x2028 || r == 0x2029:
			b = append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		default:
			b = append(b, string(r)...)
		}
	}
	return append(b, '"')
}

// UnmarshalJSON reads a data set from the DICOM JSON model, see JSON.Parse.
func (d *Dataset) UnmarshalJSON(b []byte) error {
	got, err := JSON{}.Parse(b)
	if err == nil {
		*d = *got
		for i := range d.elements {
			if m := d.elements[i].more; m != nil && m.items.Load() != nil {
				for _, item := range *m.items.Load() {
					item.parent = d
				}
			}
		}
	}
	return err
}

// Parse reads a data set from the DICOM JSON model. Its text is UTF-8 from then on,
// and Specific Character Set says so where it is needed.
func (j JSON) Parse(b []byte) (*Dataset, error) {
	j.Limits = j.Limits.withDefaults()
	if int64(len(b)) > j.Limits.Total {
		return nil, fmt.Errorf("dicom: %d bytes of JSON: %w", len(b), ErrLimit)
	}
	if !json.Valid(b) {
		return nil, fmt.Errorf("dicom: this is no JSON")
	}
	d := &Dataset{}
	if !isASCII(b) || bytes.Contains(b, []byte(`\u`)) {
		if err := d.SetText(tag.SpecificCharacterSet, "ISO_IR 192"); err != nil {
			return nil, err
		}
	}
	return d, j.parseDataset(d, b, 0)
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

func (j JSON) parseDataset(d *Dataset, b []byte, depth int) error {
	if depth > j.Limits.Depth {
		return fmt.Errorf("dicom: JSON is nested deeper than %d: %w", j.Limits.Depth, ErrLimit)
	}
	return eachMember(b, func(key, value []byte) error {
		n, err := strconv.ParseUint(string(key), 16, 32)
		if err != nil || len(key) != 8 {
			return fmt.Errorf("dicom: a member of a data set in JSON is no tag of eight digits")
		}
		t := tag.Tag(n)
		if t.Group() == 0xFFFE {
			return fmt.Errorf("dicom: %v in JSON is no data element", t)
		}
		if t&0xFFFF == 0 {
			return nil
		}
		if err := j.parseElement(d, t, value, depth); err != nil {
			return fmt.Errorf("%w, in %v of the JSON", err, t)
		}
		return nil
	})
}

// A jsonElement is the members of an element, as they are written.
type jsonElement struct {
	vr                       VR
	value, inline, reference []byte
}

func (j JSON) parseElement(d *Dataset, t tag.Tag, b []byte, depth int) error {
	var e jsonElement
	err := eachMember(b, func(key, value []byte) error {
		switch string(key) {
		case "vr":
			s, ok := jsonString(value)
			if e.vr, _ = ParseVR(s); !ok || e.vr == 0 || !e.vr.Known() {
				return fmt.Errorf("dicom: the vr is none of PS3.5")
			}
		case "Value":
			e.value = value
		case "InlineBinary":
			e.inline = value
		case "BulkDataURI":
			e.reference = value
		}
		return nil
	})
	if err != nil {
		return err
	}
	if e.vr == 0 {
		if e.vr, err = d.vrFor(t); err != nil {
			return err
		}
	}
	if t == tag.SpecificCharacterSet && e.value == nil {
		if set, ok := d.inherited(t); ok && set.Text() == "ISO_IR 192" {
			return nil // the text of the JSON is in it, whatever its data set has said
		}
	}
	switch {
	case e.inline != nil:
		return d.setInline(t, e)
	case e.reference != nil:
		return j.fetch(d, t, e)
	case e.vr == SQ:
		return j.parseItems(d, t, e, depth)
	case t == tag.SpecificCharacterSet && e.value != nil:
		return d.SetText(t, "ISO_IR 192")
	}
	return d.setJSON(t, e)
}

func (d *Dataset) setInline(t tag.Tag, e jsonElement) error {
	s, ok := jsonString(e.inline)
	b, err := base64.StdEncoding.DecodeString(s)
	if !ok || err != nil {
		return fmt.Errorf("dicom: InlineBinary is no base64")
	}
	if t == tag.PixelData && e.vr == OB && len(b) >= 8 && bytes.Equal(b[:4], []byte{0xFE, 0xFF, 0x00, 0xE0}) {
		return d.setItemsOfPixelData(b)
	}
	if e.vr == SQ {
		e.vr = UN
	}
	return d.SetBytes(t, e.vr, b)
}

// setItemsOfPixelData takes encapsulated pixel data as appendInline writes them.
func (d *Dataset) setItemsOfPixelData(items []byte) error {
	b := appendHead(nil, encoding{}, tag.PixelData, OB, undefinedLength)
	b = append(b, items...)
	b = encoding{}.appendItemHead(b, tag.SequenceDelimitation, 0)
	got, _, err := index(b, encoding{}, Limits{}.withDefaults())
	if err != nil || got.Len() != 1 {
		return fmt.Errorf("dicom: the items of encapsulated pixel data cannot be followed")
	}
	d.put(got.elements[0])
	return nil
}

func (j JSON) fetch(d *Dataset, t tag.Tag, e jsonElement) error {
	uri, ok := jsonString(e.reference)
	if !ok {
		return fmt.Errorf("dicom: BulkDataURI is no string")
	}
	if e.vr == SQ {
		return fmt.Errorf("dicom: a sequence has a BulkDataURI")
	}
	var b []byte
	if j.Fetch != nil {
		var err error
		if b, err = j.Fetch(uri); err != nil {
			return err
		}
	}
	return d.SetBytes(t, e.vr, b)
}

func (j JSON) parseItems(d *Dataset, t tag.Tag, e jsonElement, depth int) error {
	var items []*Dataset
	err := eachElement(e.value, func(b []byte) error {
		item := &Dataset{parent: d}
		items = append(items, item)
		if string(b) == "null" {
			return nil
		}
		return j.parseDataset(item, b, depth+1)
	})
	if err != nil {
		return err
	}
	return d.SetItems(t, items...)
}

// setJSON sets the values of an element that is none of OB and its like.
func (d *Dataset) setJSON(t tag.Tag, e jsonElement) error {
	if k := e.vr.kind(); k == bulk {
		if len(e.value) > 0 {
			return fmt.Errorf("dicom: a value of VR %v is not inline", e.vr)
		}
		return d.SetBytes(t, e.vr, nil)
	}
	var v []string
	err := eachElement(e.value, func(b []byte) error {
		s, err := jsonValue(b, e.vr)
		v = append(v, s)
		return err
	})
	if err != nil {
		return err
	}
	if e.vr.kind() == float {
		for i, s := range v {
			if s == "" {
				v[i] = "NaN"
			}
		}
	}
	return d.SetTextAs(t, e.vr, v...)
}

// jsonValue returns one value as text.
func jsonValue(b []byte, vr VR) (string, error) {
	switch b[0] {
	case '"':
		s, ok := jsonString(b)
		if !ok {
			return "", fmt.Errorf("dicom: a string cannot be read")
		}
		return s, nil
	case 'n':
		return "", nil
	case '{':
		if vr == PN {
			return jsonName(b)
		}
	case '[', 't', 'f':
	default:
		return jsonNumber(string(b), vr), nil
	}
	return "", fmt.Errorf("dicom: a value of VR %v is of another kind", vr)
}

// jsonNumber returns a number as the VR is parsed: integers without a point, and DS
// in 16 characters.
func jsonNumber(s string, vr VR) string {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return s
	}
	switch {
	case vr == DS && len(s) > 16:
		return decimal(f)
	case (vr == IS || vr.kind() == integer) && strings.ContainsAny(s, ".eE") && f == math.Trunc(f) && math.Abs(f) < 1<<53:
		return strconv.FormatInt(int64(f), 10)
	}
	return s
}

func jsonName(b []byte) (string, error) {
	var groups [3]string
	err := eachMember(b, func(key, value []byte) error {
		s, ok := jsonString(value)
		if !ok && string(value) != "null" {
			return fmt.Errorf("dicom: a component group is no string")
		}
		switch string(key) {
		case "Alphabetic":
			groups[0] = s
		case "Ideographic":
			groups[1] = s
		case "Phonetic":
			groups[2] = s
		}
		return nil
	})
	return strings.TrimRight(strings.Join(groups[:], "="), "="), err
}

func jsonString(b []byte) (string, bool) {
	var s string
	if len(b) == 0 || b[0] != '"' {
		return "", false
	}
	err := json.Unmarshal(b, &s)
	return s, err == nil
}

// eachMember tells of the members of an object in valid JSON, without copying them.
func eachMember(b []byte, f func(key, value []byte) error) error {
	b = bytes.TrimLeft(b, " \t\r\n")
	if len(b) == 0 || b[0] != '{' {
		return fmt.Errorf("dicom: an object is expected in the JSON")
	}
	for b = bytes.TrimLeft(b[1:], " \t\r\n,"); b[0] != '}'; b = bytes.TrimLeft(b, " \t\r\n,") {
		n := valueLength(b)
		key := b[1 : n-1]
		b = bytes.TrimLeft(b[n:], " \t\r\n:")
		n = valueLength(b)
		if err := f(key, b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// eachElement tells of the elements of an array in valid JSON, of none where there is
// no array.
func eachElement(b []byte, f func(value []byte) error) error {
	if b == nil || string(b) == "null" {
		return nil
	}
	if b[0] != '[' {
		return fmt.Errorf("dicom: an array is expected in the JSON")
	}
	for b = bytes.TrimLeft(b[1:], " \t\r\n,"); b[0] != ']'; b = bytes.TrimLeft(b, " \t\r\n,") {
		n := valueLength(b)
		if err := f(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// valueLength returns where the value ends that stands at the beginning of b, which
// is valid JSON.
func valueLength(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
			continue
		case '}', ']':
			depth--
		case ',', ':', ' ', '\t', '\r', '\n':
			continue
		default:
			for i+1 < len(b) && bytes.IndexByte([]byte(",:]} \t\r\n"), b[i+1]) < 0 {
				i++
			}
		}
		if depth == 0 {
			return i + 1
		}
	}
	return len(b)
}
