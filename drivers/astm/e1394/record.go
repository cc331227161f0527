package e1394

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// A Record is one line of a message. Fields are numbered as in the standard and in
// the vendors' manuals: field 1 is the record type, field 2 of H the delimiter
// definition, so R.4 is the value of a result.
type Record struct {
	Bytes      []byte // as sent, without its CR
	Delimiters Delimiters
}

// Type is field 1: "H", "P", "O", "R", "C", "Q", "M", "S", "L".
func (r Record) Type() string { return string(r.field(1)) }

// A Path names a part of a record: "3" a field, "3.4" its component, "3[2]" its
// repeat and "3[2].4" a component of that. Repeats count from 1 as all else; a path
// without one means the first when a component is named, and all of the field, with
// its repeat delimiters, when none is.
type Path struct{ Field, Repeat, Component int }

// ParsePath reads a path. Numbers are 1 to MaxFields.
func ParsePath(s string) (Path, error) {
	var p Path
	field, component, dotted := strings.Cut(s, ".")
	field, repeat, bracketed := strings.Cut(field, "[")
	ok := number(field, &p.Field)
	if bracketed {
		var closed bool
		repeat, closed = strings.CutSuffix(repeat, "]")
		ok = ok && closed && number(repeat, &p.Repeat)
	}
	if dotted {
		ok = ok && number(component, &p.Component)
	}
	if !ok {
		return Path{}, fmt.Errorf("e1394: path %q is not like 3, 3.4 or 3[2].4", s)
	}
	return p, nil
}

func number(s string, n *int) bool {
	i, err := strconv.ParseUint(s, 10, 16)
	*n = int(i)
	return err == nil && 1 <= i && i <= MaxFields
}

// Get is the text at a path, unescaped; empty where there is none, or where the
// path is none.
func (r Record) Get(path string) string {
	p, err := ParsePath(path)
	if err != nil {
		return ""
	}
	return r.At(p)
}

// At is Get for a path that was parsed before.
func (r Record) At(p Path) string { return r.Delimiters.Unescape(r.Raw(p)) }

// Raw is the text at a path as it was sent.
func (r Record) Raw(p Path) []byte {
	b := r.field(p.Field)
	if r.declares(p.Field) {
		if p.Repeat > 1 || p.Component > 1 {
			return nil
		}
		return b
	}
	if p.Repeat > 0 || p.Component > 0 {
		b = part(b, r.Delimiters.Repeat, max(p.Repeat, 1))
	}
	if p.Component > 0 {
		b = part(b, r.Delimiters.Component, p.Component)
	}
	return b
}

// Repeats is how many repeats a field has: 0 when it is empty.
func (r Record) Repeats(field int) int {
	b := r.field(field)
	if len(b) == 0 {
		return 0
	}
	if r.Delimiters.Repeat == 0 || r.declares(field) {
		return 1
	}
	return bytes.Count(b, []byte{r.Delimiters.Repeat}) + 1
}

// Fields are all fields as they were sent.
func (r Record) Fields() []string {
	return strings.Split(string(r.Bytes), string([]byte{r.Delimiters.Field}))
}

// Set puts text, escaped, at a path. What lies before it and is not there yet is
// empty; everything else keeps its bytes. The record type and the delimiter
// definition cannot be set.
func (r *Record) Set(path, text string) error {
	p, err := ParsePath(path)
	if err != nil {
		return err
	}
	d := r.Delimiters
	if p.Field == 1 || r.declares(p.Field) {
		return fmt.Errorf("e1394: field %d of a record %s is fixed", p.Field, r.Type())
	}
	if p.Repeat > 1 && d.Repeat == 0 || p.Component > 1 && d.Component == 0 {
		return fmt.Errorf("e1394: path %q: no such delimiter is declared", path)
	}
	escaped := d.Escaped(text)
	r.Bytes = replace(r.Bytes, d.Field, p.Field, func(field []byte) []byte {
		if p.Repeat == 0 && p.Component == 0 {
			return escaped
		}
		return replace(field, d.Repeat, max(p.Repeat, 1), func(repeat []byte) []byte {
			if p.Component == 0 {
				return escaped
			}
			return replace(repeat, d.Component, p.Component, func([]byte) []byte { return escaped })
		})
	})
	return nil
}

// field is field n as sent.
func (r Record) field(n int) []byte { return part(r.Bytes, r.Delimiters.Field, n) }

// declares: the delimiter definition is not split by what it declares.
func (r Record) declares(field int) bool {
	return field == 2 && len(r.Bytes) > 0 && r.Bytes[0] == 'H'
}

// part is the nth part of b, from 1; nil where there is none.
func part(b []byte, delimiter byte, n int) []byte {
	if delimiter == 0 {
		if n == 1 {
			return b
		}
		return nil
	}
	for ; n > 1; n-- {
		i := bytes.IndexByte(b, delimiter)
		if i < 0 {
			return nil
		}
		b = b[i+1:]
	}
	if n < 1 {
		return nil
	}
	if i := bytes.IndexByte(b, delimiter); i >= 0 {
		b = b[:i:i]
	}
	return b
}

// replace returns b with its nth part replaced, in new memory.
func replace(b []byte, delimiter byte, n int, with func([]byte) []byte) []byte {
	if delimiter == 0 {
		return with(b)
	}
	parts := bytes.Split(b, []byte{delimiter})
	for len(parts) < n {
		parts = append(parts, nil)
	}
	parts[n-1] = with(parts[n-1])
	return bytes.Join(parts, []byte{delimiter})
}
