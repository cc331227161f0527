package textline

import (
	"encoding/csv"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"nhip/drivers/item"
)

// Limits of a message. What is beyond is said to be.
const (
	maxLines  = 200_000
	maxFields = 4096
)

// Records takes a message apart; the texts are its bytes. bytewise: a character is a byte,
// for columns and patterns; else, and where the message is not UTF-8, that is only so
// where it is not. The problems are in words, with the number of the line and without
// what stands in it.
func (f *Format) Records(message []byte, bytewise bool) (records []item.Record, problems []string) {
	p := &parser{f: f, bytewise: bytewise || !utf8.Valid(message)}
	text := string(message)
	if p.bytewise {
		text = characters(message)
	}
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	for line := range strings.SplitSeq(text, "\n") {
		p.number++
		if p.number > maxLines {
			p.problem("the message has more than %d lines; the rest is not read", maxLines)
			break
		}
		if strings.TrimFunc(line, blank) == "" {
			continue
		}
		p.line(line)
	}
	return p.records, p.problems
}

// characters has a character for each byte.
func characters(b []byte) string {
	text := make([]rune, len(b))
	for i, c := range b {
		text[i] = rune(c)
	}
	return string(text)
}

// wire is a part of the message in its bytes.
func (p *parser) wire(text string) string {
	if !p.bytewise {
		return text
	}
	b := make([]byte, 0, len(text))
	for _, r := range text {
		b = append(b, byte(r)) // one of characters
	}
	return string(b)
}

// blank: white space and what separates pages.
func blank(r rune) bool { return unicode.IsSpace(r) || r < ' ' }

type parser struct {
	f        *Format
	bytewise bool
	number   int
	titles   map[string]int // of the fields, from 0
	width    int            // how many titles there are
	section  string
	records  []item.Record
	problems []string
}

func (p *parser) problem(format string, args ...any) {
	p.problems = append(p.problems, fmt.Sprintf(format, args...))
}

func (p *parser) line(text string) {
	l := splitLine{text: []rune(text)}
	if p.f.Separator != "" {
		var err error
		if l.fields, err = p.fields(text); err != nil {
			p.problem("line %d cannot be split into fields", p.number)
			return
		}
		if len(l.fields) > maxFields {
			p.problem("line %d has more than %d fields; it is not read", p.number, maxFields)
			return
		}
		if p.f.Titles && p.titles == nil {
			p.takeTitles(l.fields)
			return
		}
		if p.titles != nil && !p.f.Ragged && len(l.fields) != p.width {
			p.problem("line %d has %d fields, the titles are %d", p.number, len(l.fields), p.width)
			return
		}
	}
	for i := range p.f.Lines {
		form := &p.f.Lines[i]
		if form.In != "" && form.In != p.section {
			continue
		}
		found := form.Matches.FindStringSubmatch(text)
		if found == nil {
			continue
		}
		if form.Section != "" {
			p.section = form.Section
		}
		p.take(form, found, l)
		return
	}
	p.problem("line %d is of no form that the profile declares", p.number)
}

// fields are those of a line; of one that has more than maxFields at least one more.
func (p *parser) fields(text string) ([]string, error) {
	if !p.f.Quotes {
		return strings.SplitN(text, p.f.Separator, maxFields+1), nil
	}
	r := csv.NewReader(strings.NewReader(text))
	r.Comma, _ = utf8.DecodeRuneInString(p.f.Separator)
	r.FieldsPerRecord, r.LazyQuotes = -1, true
	return r.Read()
}

func (p *parser) takeTitles(fields []string) {
	p.titles, p.width = make(map[string]int, len(fields)), len(fields)
	for i, title := range fields {
		title = strings.TrimSpace(strings.TrimPrefix(title, "\ufeff"))
		if _, twice := p.titles[title]; !twice {
			p.titles[title] = i
		}
	}
}

// take makes of a line what its form says.
func (p *parser) take(form *Line, found []string, l splitLine) {
	if form.Record != "" {
		p.record(form, found, l)
	}
	for i := range form.Results {
		p.result(&form.Results[i], l)
	}
}

func (p *parser) record(form *Line, found []string, l splitLine) {
	r := p.inForce(form)
	for i, name := range form.Matches.SubexpNames() {
		if name != "" && strings.TrimSpace(found[i]) != "" {
			r.Fields[name] = p.wire(found[i])
		}
	}
	for _, c := range form.Columns {
		text := c.Is
		if text == "" {
			text = p.text(c.Place, l, c.Name)
		}
		if strings.TrimSpace(text) != "" {
			r.Fields[c.Name] = text
		}
	}
}

// inForce is the record that a line's fields belong to, a new one unless the form
// says more of the last of its kind.
func (p *parser) inForce(form *Line) item.Record {
	if form.More {
		for i := len(p.records) - 1; i >= 0; i-- {
			if p.records[i].Kind == form.Record {
				return p.records[i]
			}
		}
	}
	r := item.New(form.Record)
	p.records = append(p.records, r)
	return r
}

// result is a result in a fixed place; a blank one is none.
func (p *parser) result(c *Cell, l splitLine) {
	value := p.text(c.Place, l, c.Code)
	flag, text := "", ""
	if at := c.flag(); at != (Place{}) {
		flag = p.text(at, l, c.Code)
	}
	if at := c.text(); at != (Place{}) {
		text = p.text(at, l, c.Code)
	}
	if strings.TrimSpace(value) == "" && strings.TrimSpace(text) == "" {
		return
	}
	value = strings.TrimSpace(point(value, c.Point))
	p.records = append(p.records, item.New(item.Result,
		"code", c.Code, "value", value, "flag", strings.TrimSpace(flag), "unit", c.Unit, "text", strings.TrimSpace(text)))
}

// A splitLine is a line and its fields.
type splitLine struct {
	text   []rune
	fields []string
}

// text is what stands at a place; nothing, and a problem, where the line ends before
// the place does: half a number is no number.
func (p *parser) text(at Place, l splitLine, what string) string {
	line := l.text
	if at.Field > 0 || at.Title != "" {
		i := at.Field - 1
		if at.Title != "" {
			known := false
			if i, known = p.titles[at.Title]; !known {
				p.problem("line %d: there is no column titled %q", p.number, at.Title)
				return ""
			}
		}
		if i >= len(l.fields) {
			p.problem("line %d ends before %s", p.number, what)
			return ""
		}
		line = []rune(l.fields[i])
	}
	if at.At == 0 {
		return p.wire(string(line))
	}
	from, to := at.At-1, at.At-1+at.Length
	if to > len(line) {
		if !p.f.Ragged {
			p.problem("line %d ends before %s", p.number, what)
			return ""
		}
		to = len(line)
	}
	if from >= to {
		return ""
	}
	return p.wire(string(line[from:to]))
}
