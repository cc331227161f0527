package describe

import (
	"errors"
	"strconv"
	"strings"

	"nhip/hl7"
)

// A Tree is what a message says, for programs: the values are whole.
type Tree struct {
	Problem   *Problem      `json:"problem,omitempty"` // why it is no message, or where it ends to be one
	Type      string        `json:"type,omitempty"`
	Version   string        `json:"version,omitempty"`
	ControlID string        `json:"control_id,omitempty"`
	Bytes     int           `json:"bytes"`
	Charset   []string      `json:"charset_warnings,omitempty"`
	Segments  []TreeSegment `json:"segments,omitempty"`
}

// A Problem is why bytes are no message.
type Problem struct {
	Location string `json:"location,omitempty"`
	Offset   int    `json:"offset"`
	Code     string `json:"code"` // table 0357
	Text     string `json:"text"`
}

// A TreeSegment is a segment.
type TreeSegment struct {
	Name   string      `json:"segment"`
	Label  string      `json:"label,omitempty"`
	Fields []TreeField `json:"fields,omitempty"`
	More   int         `json:"more,omitempty"` // fields that are not listed
}

// A TreeField is one repetition of a field that is not empty.
type TreeField struct {
	At         string   `json:"at"` // "PID-3[2]"
	Label      string   `json:"label,omitempty"`
	Value      string   `json:"value"` // with the delimiters of its components
	Meaning    string   `json:"meaning,omitempty"`
	Components []string `json:"components,omitempty"` // where there is more than one
}

// Read is what a message says. The error is that of the rule of the options.
func Read(b []byte, o Options) (Tree, error) {
	t := Tree{Bytes: len(b)}
	m, err := hl7.Parse(b)
	var wrong *hl7.ParseError
	if errors.As(err, &wrong) {
		text := Value("ERR", 3, wrong.Code).In(o.Language)
		t.Problem = &Problem{Location: wrong.Location, Offset: wrong.Offset, Code: wrong.Code, Text: strings.TrimSpace(text + ": " + wrong.Reason)}
	}
	if m == nil {
		return t, nil
	}
	if err := m.UseCharset(o.Charset); err != nil {
		return t, err
	}
	code, event, structure := m.Type()
	t.Type = strings.TrimRight(code+"^"+event+"^"+structure, "^")
	t.Version, t.ControlID = m.Version(), m.ControlID()
	for _, w := range m.CharsetWarnings() {
		t.Charset = append(t.Charset, w.Words(o.Language))
	}
	for _, s := range m.Segments() {
		t.Segments = append(t.Segments, segmentOf(s, o.Language))
	}
	return t, nil
}

func segmentOf(s hl7.Segment, lang string) TreeSegment {
	out := TreeSegment{Name: s.Name, Label: Segment(s.Name).In(lang)}
	last := s.Fields()
	out.More = max(0, last-most)
	for n := 1; n <= min(last, most); n++ {
		at := strconv.Itoa(n)
		if len(s.Raw(at)) == 0 {
			continue
		}
		if isHeader(s.Name) && n <= 2 {
			out.Fields = append(out.Fields, TreeField{At: s.Name + "-" + at, Label: Field(s.Name, n).In(lang), Value: s.Get(at)})
			continue
		}
		out.Fields = append(out.Fields, repetitionsOf(s, n, lang)...)
	}
	return out
}

func repetitionsOf(s hl7.Segment, n int, lang string) []TreeField {
	var fields []TreeField
	repetitions := s.Repetitions(n)
	for r := 1; r <= min(repetitions, most); r++ {
		at := strconv.Itoa(n)
		if repetitions > 1 {
			at += "[" + strconv.Itoa(r) + "]"
		}
		if len(s.Raw(at)) == 0 {
			continue
		}
		f := TreeField{At: s.Name + "-" + at, Label: Field(s.Name, n).In(lang), Value: s.Get(at)}
		first := f.Value
		if count := s.Components(n, r); count > 1 {
			for c := 1; c <= min(count, most); c++ {
				f.Components = append(f.Components, s.Get(at+"."+strconv.Itoa(c)))
			}
			first = f.Components[0]
		}
		f.Meaning = Value(s.Name, n, first).In(lang)
		fields = append(fields, f)
	}
	return fields
}
