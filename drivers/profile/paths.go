package profile

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A location is one place in a message: record.field.component of LIS02, an HL7
// path, or record.name where a driver names the fields.
type location struct {
	text      string // as written
	record    string // LIS02 record type, or HL7 segment
	within    string // what follows: "3.4", in both forms
	inField   string // ".4": what follows the field
	field     int
	component int        // 0: none is named
	name      string     // of a field, in the item family
	own       bool       // the machine's own words stand there, and nobody else's
	more      []location // what is added behind a blank, as a time behind a date
}

func (l location) family() family {
	switch {
	case len(l.record) == 3:
		return hl7Family
	case l.name != "":
		return itemFamily
	}
	return lis02Family
}

var (
	astmForm = regexp.MustCompile(`^([HPOCR])\.([1-9][0-9]?)((?:\.[1-9][0-9]?)?)$`)
	itemForm = regexp.MustCompile(`^([HPORC])\.([a-z][a-z0-9_]*)$`)
	hl7Form  = regexp.MustCompile(`^([A-Z][A-Z0-9]{2})-([1-9][0-9]?)((?:\.[1-9][0-9]?){0,2})$`)
)

func parseLocation(text string) (location, error) {
	if found := itemForm.FindStringSubmatch(text); found != nil {
		return location{text: text, record: found[1], name: found[2]}, nil
	}
	found := astmForm.FindStringSubmatch(text)
	if found == nil {
		found = hl7Form.FindStringSubmatch(text)
	}
	if found == nil {
		return location{}, fmt.Errorf("bad path %q: neither record.field.component (\"R.3.4\") nor an HL7 path (\"OBX-3.1\") nor record.name (\"R.value\")", text)
	}
	field, err := strconv.Atoi(found[2])
	if err != nil {
		return location{}, err
	}
	l := location{text: text, record: found[1], within: found[2] + found[3], inField: found[3], field: field}
	if first, _, _ := strings.Cut(strings.TrimPrefix(found[3], "."), "."); first != "" {
		if l.component, err = strconv.Atoi(first); err != nil {
			return location{}, err
		}
	}
	return l, nil
}

// paths are alternatives, the best first.
type paths []location

// UnmarshalText reads paths separated by commas; A + B is the text at A, a blank,
// and that at B.
func (p *paths) UnmarshalText(text []byte) error {
	*p = nil
	for _, one := range strings.Split(string(text), ",") {
		first, rest, joined := strings.Cut(one, "+")
		l, err := parseLocation(strings.TrimSpace(first))
		if err != nil {
			return err
		}
		for _, more := range strings.Split(rest, "+") {
			if !joined {
				break
			}
			m, err := parseLocation(strings.TrimSpace(more))
			if err != nil {
				return err
			}
			l.text, l.more = l.text+" + "+m.text, append(l.more, m)
		}
		*p = append(*p, l)
	}
	return nil
}

// ofResult reports whether one of the places is in a result's own record.
func (p paths) ofResult() bool {
	return slices.ContainsFunc(p, func(l location) bool { return l.record == "R" || l.record == "OBX" })
}
