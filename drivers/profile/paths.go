package profile

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A location is one place in a message: record.field.component of LIS02, or an
// HL7 path.
type location struct {
	text      string // as written
	record    string // LIS02 record type, or HL7 segment
	within    string // what follows: "3.4", in both forms
	inField   string // ".4": what follows the field
	field     int
	component int // 0: none is named
}

func (l location) hl7() bool { return len(l.record) == 3 }

var (
	astmForm = regexp.MustCompile(`^([HPOCR])\.([1-9][0-9]?)((?:\.[1-9][0-9]?)?)$`)
	hl7Form  = regexp.MustCompile(`^([A-Z][A-Z0-9]{2})-([1-9][0-9]?)((?:\.[1-9][0-9]?){0,2})$`)
)

func parseLocation(text string) (location, error) {
	found := astmForm.FindStringSubmatch(text)
	if found == nil {
		found = hl7Form.FindStringSubmatch(text)
	}
	if found == nil {
		return location{}, fmt.Errorf("bad path %q: neither record.field.component (\"R.3.4\") nor an HL7 path (\"OBX-3.1\")", text)
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

// UnmarshalText reads paths separated by commas.
func (p *paths) UnmarshalText(text []byte) error {
	*p = nil
	for _, one := range strings.Split(string(text), ",") {
		l, err := parseLocation(strings.TrimSpace(one))
		if err != nil {
			return err
		}
		*p = append(*p, l)
	}
	return nil
}

// ofResult reports whether one of the places is in a result's own record.
func (p paths) ofResult() bool {
	return slices.ContainsFunc(p, func(l location) bool { return l.record == "R" || l.record == "OBX" })
}
