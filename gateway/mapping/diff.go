package mapping

import (
	"strconv"
	"strings"

	"nhip/hl7"
)

// A Difference is one field that two messages do not share.
type Difference struct {
	At     string `json:"at"` // "OBX[3]-5"; "OBX[3]" where a segment is in only one of them
	Before string `json:"before"`
	After  string `json:"after"`
}

// Diff tells in which fields two messages differ, at most limit (0: all). Segments
// are paired by name and number.
func Diff(before, after *hl7.Message, limit int) []Difference {
	var all []Difference
	add := func(d Difference) bool {
		all = append(all, d)
		return limit == 0 || len(all) < limit
	}
	old, now := numbered(before), numbered(after)
	for _, n := range now.order {
		b, ok := old.by[n]
		a := now.by[n]
		if !ok {
			if !add(Difference{At: now.shown(n), After: line(a)}) {
				return all
			}
			continue
		}
		for f := 1; f <= max(a.Fields(), b.Fields()); f++ {
			p := strconv.Itoa(f)
			x, y := b.Get(p), a.Get(p)
			if (x != y || string(b.Raw(p)) != string(a.Raw(p))) && !add(Difference{now.shown(n) + "-" + p, x, y}) {
				return all
			}
		}
	}
	for _, n := range old.order {
		if _, ok := now.by[n]; !ok && !add(Difference{At: old.shown(n), Before: line(old.by[n])}) {
			return all
		}
	}
	return all
}

// line is a segment as it stands there, in text.
func line(s hl7.Segment) string {
	var fields []string
	for f := 1; f <= s.Fields(); f++ {
		fields = append(fields, s.Get(strconv.Itoa(f)))
	}
	return s.Name + "|" + strings.Join(fields, "|")
}

// A nth is a segment by its name and number.
type nth struct {
	name string
	n    int
}

type segments struct {
	order []nth
	by    map[nth]hl7.Segment
	count map[string]int
}

func numbered(m *hl7.Message) segments {
	s := segments{by: map[nth]hl7.Segment{}, count: map[string]int{}}
	for _, seg := range m.Segments() {
		s.count[seg.Name]++
		n := nth{seg.Name, s.count[seg.Name]}
		s.order = append(s.order, n)
		s.by[n] = seg
	}
	return s
}

func (s segments) shown(n nth) string {
	if s.count[n.name] == 1 {
		return n.name
	}
	return n.name + "[" + strconv.Itoa(n.n) + "]"
}
