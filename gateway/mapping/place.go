package mapping

import (
	"strconv"
	"strings"

	"nhip/hl7"
)

// all is every occurrence or repetition, written [*].
const all = -1

// A place names a part of a message, as hl7 does, and more: [*] for every segment of
// a name or every repetition of a field, and a segment without a field.
type place struct {
	text       string // as written
	segment    string
	occurrence int // 0: not given
	field      int // 0: the whole segment
	repetition int // 0: not given
	component  int
	sub        int
}

// parsePlace reads "PID-3.1", "OBX[2]-5", "PID-3[*].4.2", "NTE[*]" or "ZPI".
func parsePlace(s string) (place, bool) {
	p := place{text: s}
	if len(s) < 3 {
		return p, false
	}
	if hl7.CheckPath(s[:3]+"-1") != nil || s[0] < 'A' {
		return p, false
	}
	p.segment = s[:3]
	rest, ok := index(s[3:], &p.occurrence)
	switch {
	case !ok:
		return p, false
	case rest == "":
		return p, true
	case rest[0] != '-':
		return p, false
	}
	if rest, ok = number(rest[1:], &p.field); !ok {
		return p, false
	}
	if rest, ok = index(rest, &p.repetition); !ok {
		return p, false
	}
	if rest, ok = component(rest, &p.component); !ok {
		return p, false
	}
	if p.component > 0 {
		if rest, ok = component(rest, &p.sub); !ok {
			return p, false
		}
	}
	return p, rest == ""
}

// index reads "[n]" or "[*]", if there is one.
func index(s string, n *int) (rest string, ok bool) {
	if !strings.HasPrefix(s, "[") {
		return s, true
	}
	if rest, ok = strings.CutPrefix(s, "[*]"); ok {
		*n = all
		return rest, true
	}
	if rest, ok = number(s[1:], n); !ok {
		return s, false
	}
	return strings.CutPrefix(rest, "]")
}

// component reads ".n", if there is one.
func component(s string, n *int) (rest string, ok bool) {
	if !strings.HasPrefix(s, ".") {
		return s, true
	}
	return number(s[1:], n)
}

// number reads a number from 1 to 9999.
func number(s string, n *int) (rest string, ok bool) {
	i := 0
	for i < len(s) && i < 4 && s[i] >= '0' && s[i] <= '9' {
		*n = *n*10 + int(s[i]-'0')
		i++
	}
	return s[i:], *n > 0
}

// many says whether the place may be several.
func (p place) many() bool { return p.occurrence == all || p.repetition == all }

// depth is 0 for a segment, 1 for a field, to 4 for a subcomponent.
func (p place) depth() int {
	switch {
	case p.field == 0:
		return 0
	case p.sub > 0:
		return 4
	case p.component > 0:
		return 3
	case p.repetition != 0:
		return 2
	}
	return 1
}

// A spot is one part of a message.
type spot struct {
	segment                           int // position
	field, repetition, component, sub int
}

// path is the part within its segment, as hl7.Segment has it.
func (s spot) path() string {
	b := strconv.AppendInt(make([]byte, 0, 16), int64(s.field), 10)
	if s.repetition > 0 {
		b = append(strconv.AppendInt(append(b, '['), int64(s.repetition), 10), ']')
	}
	if s.component > 0 {
		b = strconv.AppendInt(append(b, '.'), int64(s.component), 10)
	}
	if s.sub > 0 {
		b = strconv.AppendInt(append(b, '.'), int64(s.sub), 10)
	}
	return string(b)
}
