// Package describe shows an HL7 message to a person: segments and fields with their
// names, what coded values mean, and what is wrong with the character set or the
// message, in English or Vietnamese. The names are those of HL7 v2.5.1.
package describe

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"nhip/hl7"
)

//go:embed names.txt
var names string

//go:embed values.txt
var values string

// A Label is a name in both languages.
type Label struct{ English, Vietnamese string }

// In is the label in a language: "vi", or anything else for English.
func (l Label) In(lang string) string {
	if lang == "vi" && l.Vietnamese != "" {
		return l.Vietnamese
	}
	return l.English
}

type dictionary struct {
	names  map[string]Label            // "PID", "PID-3"
	values map[string]map[string]Label // by "MSA-1"
}

var dict = sync.OnceValue(func() dictionary {
	d := dictionary{names: map[string]Label{}, values: map[string]map[string]Label{}}
	segment := ""
	for line := range data(names) {
		cells := strings.Split(line, "|")
		key := segment + "-" + cells[0]
		if len(cells[0]) == 3 && cells[0][0] >= 'A' {
			segment, key = cells[0], cells[0]
		}
		d.names[key] = Label{cells[1], cells[2]}
	}
	var fields []string
	for line := range data(values) {
		cells := strings.Split(line, "|")
		if len(cells) == 1 {
			fields = strings.Fields(line)
			for _, f := range fields {
				d.values[f] = map[string]Label{}
			}
			continue
		}
		for _, f := range fields {
			d.values[f][cells[0]] = Label{cells[1], cells[2]}
		}
	}
	return d
})

// data are the lines of a table that are no comment.
func data(text string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			if !strings.HasPrefix(line, "#") && line != "" && !yield(line) {
				return
			}
		}
	}
}

// Segment is the name of a segment; that of one that the standard does not have, or
// that is not in use here, is empty.
func Segment(name string) Label { return dict().names[name] }

// Field is the name of a field; empty where it is not known.
func Field(segment string, n int) Label {
	return dict().names[segment+"-"+strconv.Itoa(n)]
}

// Value is what a coded value of a field means; empty where it has no table here.
func Value(segment string, n int, value string) Label {
	return dict().values[segment+"-"+strconv.Itoa(n)][value]
}

// Options are how a message is shown. Zero means the default.
type Options struct {
	Language string // "vi", or anything else for English
	Charset  hl7.CharsetRule
	Longest  int // characters of a value; 200
}

// Message writes what a message says, a line for each field that is not empty and for
// each component of it. Control characters, and those that turn the direction of text
// around, are shown as escapes; long values are cut, and say so. Bytes that are no
// message get the reason and the place. The error is that of w or of the rule.
func Message(w io.Writer, b []byte, o Options) error {
	if o.Longest == 0 {
		o.Longest = 200
	}
	p := &printer{w: w, o: o}
	m, err := hl7.Parse(b)
	var wrong *hl7.ParseError
	if errors.As(err, &wrong) {
		p.refusal(wrong)
	}
	if m == nil {
		return p.err
	}
	if err := m.UseCharset(o.Charset); err != nil {
		return err
	}
	p.summary(m, len(b))
	for _, s := range m.Segments() {
		p.segment(s)
	}
	return p.err
}

type printer struct {
	w   io.Writer
	o   Options
	err error
}

func (p *printer) line(format string, a ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", a...)
	}
}

// say is the text in the language asked for.
func (p *printer) say(english, vietnamese string) string {
	return Label{english, vietnamese}.In(p.o.Language)
}

func (p *printer) refusal(wrong *hl7.ParseError) {
	code := Value("ERR", 3, wrong.Code).In(p.o.Language)
	p.line("%s: %s: %s (%s %d)", p.say("NOT READABLE", "KHÔNG ĐỌC ĐƯỢC"), code, strings.TrimSpace(wrong.Location+" "+wrong.Reason), p.say("byte", "byte thứ"), wrong.Offset)
}

// summary is what a person asks first.
func (p *printer) summary(m *hl7.Message, size int) {
	code, event, structure := m.Type()
	kind := strings.TrimRight(code+"^"+event+"^"+structure, "^")
	p.line("%s %s, %s %s, %d %s, %s %s", p.say("message", "bản tin"), p.value(kind), p.say("version", "phiên bản"), p.value(m.Version()), size, p.say("bytes", "byte"), p.say("control ID", "mã kiểm soát"), p.value(m.ControlID()))
	for _, warning := range m.CharsetWarnings() {
		p.line("! %s", p.clean(warning.Words(p.o.Language)))
	}
}

func (p *printer) segment(s hl7.Segment) {
	label := Segment(s.Name).In(p.o.Language)
	if label == "" && strings.HasPrefix(s.Name, "Z") {
		label = p.say("(defined by the sender)", "(bên gửi tự định nghĩa)")
	}
	p.line("%s  %s", s.Name, label)
	last := s.Fields()
	defer p.more(last)
	for n := 1; n <= min(last, most); n++ {
		if len(s.Raw(strconv.Itoa(n))) > 0 {
			p.field(s, n)
		}
	}
}

// field writes a field: on one line where it has one component, else with a line for
// each.
func (p *printer) field(s hl7.Segment, n int) {
	place := fmt.Sprintf("%s-%d", s.Name, n)
	label := Field(s.Name, n).In(p.o.Language)
	if label != "" {
		label += ": "
	}
	if isHeader(s.Name) && n <= 2 {
		p.line("  %-8s %s%s", place, label, p.value(s.Get(strconv.Itoa(n))))
		return
	}
	repetitions := s.Repetitions(n)
	defer p.more(repetitions)
	for r := 1; r <= min(repetitions, most); r++ {
		at := strconv.Itoa(n)
		shown := place
		if repetitions > 1 {
			at += "[" + strconv.Itoa(r) + "]"
			shown = s.Name + "-" + at
		}
		if len(s.Raw(at)) == 0 {
			continue
		}
		text := s.Get(at)
		if s.Components(n, r) <= 1 {
			p.line("  %-8s %s%s%s", shown, label, p.value(text), p.meaning(s.Name, n, text))
			continue
		}
		p.line("  %-8s %s%s", shown, label, p.value(text))
		p.components(s, n, r, at)
	}
}

func (p *printer) components(s hl7.Segment, n, r int, at string) {
	count := s.Components(n, r)
	defer p.more(count)
	for c := 1; c <= min(count, most); c++ {
		text := s.Get(at + "." + strconv.Itoa(c))
		if text == "" {
			continue
		}
		meaning := ""
		if c == 1 {
			meaning = p.meaning(s.Name, n, text)
		}
		p.line("    .%-2d %s%s", c, p.value(text), meaning)
	}
}

// most is how many fields, repetitions or components are shown one by one.
const most = 200

// more says how many of n are not shown.
func (p *printer) more(n int) {
	if n > most {
		p.line("  … %d %s", n-most, p.say("more", "phần nữa"))
	}
}

func (p *printer) meaning(segment string, n int, value string) string {
	if words := Value(segment, n, value).In(p.o.Language); words != "" {
		return " = " + words
	}
	return ""
}

func isHeader(name string) bool { return name == "MSH" || name == "FHS" || name == "BHS" }

// value is a value for a terminal: cut where it is long, nothing in it that a
// terminal would obey.
func (p *printer) value(text string) string {
	if text == hl7.Null {
		return text + p.say(" (delete what is stored)", " (xóa giá trị đã lưu)")
	}
	if n := utf8.RuneCountInString(text); n > p.o.Longest {
		cut := []rune(text[:min(len(text), 4*p.o.Longest)])[:p.o.Longest]
		return p.clean(string(cut)) + fmt.Sprintf("… (%d %s)", n, p.say("characters", "ký tự"))
	}
	return p.clean(text)
}

func (p *printer) clean(text string) string {
	if !strings.ContainsFunc(text, isUnsafe) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case !isUnsafe(r):
			b.WriteRune(r)
		case r <= 0xFF:
			fmt.Fprintf(&b, `\x%02X`, r)
		default:
			fmt.Fprintf(&b, `\u%04X`, r)
		}
	}
	return b.String()
}

// isUnsafe says whether a character moves the cursor, turns text around or is not
// seen.
func isUnsafe(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029'
}
