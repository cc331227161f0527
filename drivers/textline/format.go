// Package textline reads analysers that print: fixed text between STX and ETX, the
// text that was meant for a printer, lines with separators, files. What stands where
// is data, a Format, which a profile declares ([text] of profile.toml); nothing here
// knows a model.
//
// A message is split into lines. Each line is taken by the first declared Line that
// its text matches; what no Line takes is a problem, and never a guess. A Line says
// which record the line is (H, P, O, R, C as in LIS02), names columns or groups of
// its pattern, and may list results that stand in fixed places. A value is carried as
// the text that was sent; the one thing that is done to it is the decimal point that
// a fixed format leaves out and its manual puts in (Cell.Point).
package textline

import (
	"encoding"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"nhip/drivers/item"
)

// A Format is what the text of a model looks like.
type Format struct {
	// Source is the document or capture behind the format.
	Source string `toml:"source"`

	// Begin and End stand around a message, as in a transcript: "<STX>", "<ETX><CR>".
	// Without Begin a message begins with the first character that is no blank and no
	// end of line; without End it ends with Silence. They are not for files.
	Begin Bytes `toml:"begin"`
	End   Bytes `toml:"end"`
	// Silence ends a message that has no End, and gives up one whose End did not come:
	// "2s". Zero: a message without End cannot be; an End is waited for 30 s.
	Silence Span `toml:"silence"`
	// Ack and Nak are what a message is answered when it is stored, and when it could
	// not be. Without Ack nothing is answered, as the device expects.
	Ack Bytes `toml:"ack"`
	Nak Bytes `toml:"nak"`

	// Separator splits a line into fields; without it the columns count characters.
	Separator string `toml:"separator"`
	// Quotes: fields may stand in double quotes, as in CSV.
	Quotes bool `toml:"quotes"`
	// Titles: the first line of a message has the titles of the fields, and columns
	// may be named by them.
	Titles bool `toml:"titles"`
	// Ragged: blanks at the end of a line are left out by the device, so a column may
	// be cut by the end of the line.
	Ragged bool `toml:"ragged"`

	Lines []Line `toml:"line"`
}

// A Line is one form of line.
type Line struct {
	// Matches is a pattern (RE2) found anywhere in the line; its named groups become
	// fields of the record.
	Matches Pattern `toml:"matches"`
	// In: the line counts only in this section. Section: it begins one.
	In      string `toml:"in"`
	Section string `toml:"section"`
	// Record is what the line is: "H", "P", "O", "R" or "C". Empty: it is no record of
	// its own, and where it lists no results either it is passed over.
	Record string `toml:"record"`
	// More: its fields are added to the record of this kind in force.
	More bool `toml:"more"`

	Columns []Column `toml:"columns"`
	Results []Cell   `toml:"results"`
}

// A Place is where something stands in a line: in characters from At (from 1) for
// Length, or in a field by its number (from 1) or its title; At and Length then count
// within the field.
type Place struct {
	At     int    `toml:"at"`
	Length int    `toml:"length"`
	Field  int    `toml:"field"`
	Title  string `toml:"title"`
}

// A Column becomes a field of the line's record.
type Column struct {
	Name string `toml:"name"`
	// Is is a text that is always so, in place of a place.
	Is string `toml:"is"`
	Place
}

// A Cell is a result in a fixed place: it becomes a record R with the fields code,
// value, and, where they are declared and not blank, flag and unit.
type Cell struct {
	Code string `toml:"code"`
	Unit string `toml:"unit"`
	// Point is how many digits stand behind the decimal point that the format leaves
	// out. It is put in, and zeros before the number are left out, where the text is
	// digits alone; any other text is carried as sent.
	Point int `toml:"point"`
	Place
	FlagAt     int    `toml:"flag_at"`
	FlagLength int    `toml:"flag_length"`
	FlagField  int    `toml:"flag_field"`
	FlagTitle  string `toml:"flag_title"`
	// Text is where a qualitative part stands beside the value, as Place.
	TextAt     int `toml:"text_at"`
	TextLength int `toml:"text_length"`
	TextField  int `toml:"text_field"`
}

// Pattern is a regular expression.
type Pattern struct{ *regexp.Regexp }

// UnmarshalText compiles it.
func (p *Pattern) UnmarshalText(text []byte) error {
	compiled, err := regexp.Compile(string(text))
	if err != nil {
		return fmt.Errorf("bad pattern: %w", err)
	}
	p.Regexp = compiled
	return nil
}

// Span is a duration, "2s".
type Span time.Duration

// UnmarshalText reads it.
func (s *Span) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if err != nil || d < 0 {
		return fmt.Errorf("%q is no duration like 2s", text)
	}
	*s = Span(d)
	return nil
}

var (
	_ encoding.TextUnmarshaler = (*Pattern)(nil)
	_ encoding.TextUnmarshaler = (*Span)(nil)
	_ encoding.TextUnmarshaler = (*Bytes)(nil)
)

// Check says in words everything that is wrong with the format. file: it is for
// result files, which have a beginning and an end of their own.
func (f *Format) Check(file bool) []string {
	c := &checker{}
	if f.Source == "" {
		c.bad("source is missing")
	}
	switch {
	case file && (len(f.Begin) > 0 || len(f.End) > 0 || f.Silence > 0 || len(f.Ack) > 0 || len(f.Nak) > 0):
		c.bad("begin, end, silence, ack and nak are for a line, not for a file")
	case !file && len(f.End) == 0 && f.Silence == 0:
		c.bad("needs end, or silence")
	case len(f.Nak) > 0 && len(f.Ack) == 0:
		c.bad("nak needs ack")
	}
	if utf8.RuneCountInString(f.Separator) > 1 {
		c.bad("separator %q is more than one character", f.Separator)
	}
	if f.Quotes && f.Separator == "" {
		c.bad("quotes need a separator")
	}
	if len(f.Lines) == 0 {
		c.bad("no line is declared")
	}
	for i := range f.Lines {
		c.line(f, i+1, &f.Lines[i])
	}
	return c.found
}

type checker struct{ found []string }

func (c *checker) bad(format string, args ...any) {
	c.found = append(c.found, fmt.Sprintf(format, args...))
}

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

func (c *checker) line(f *Format, n int, l *Line) {
	if l.Matches.Regexp == nil {
		c.bad("line number %d: matches is missing", n)
		return
	}
	switch l.Record {
	case item.Header, item.Patient, item.Order, item.Result, item.Comment:
	case "":
		if len(l.Columns) > 0 || l.named() {
			c.bad("line number %d: has columns and is no record", n)
		}
	default:
		c.bad("line number %d: record %q is none of H, P, O, R, C", n, l.Record)
	}
	for _, name := range l.Matches.SubexpNames() {
		if name != "" && !nameForm.MatchString(name) {
			c.bad("line number %d: group %q is not of lower case letters, digits and _", n, name)
		}
	}
	for _, column := range l.Columns {
		at := fmt.Sprintf("line number %d, column %q", n, column.Name)
		if !nameForm.MatchString(column.Name) {
			c.bad("%s: the name is not of lower case letters, digits and _", at)
		}
		if column.Is == "" {
			c.place(f, at, column.Place)
		} else if column.Place != (Place{}) {
			c.bad("%s: is and a place", at)
		}
	}
	for _, cell := range l.Results {
		at := fmt.Sprintf("line number %d, result %q", n, cell.Code)
		if cell.Code == "" {
			c.bad("%s: code is missing", at)
		}
		c.place(f, at, cell.Place)
		if flag := cell.flag(); flag != (Place{}) {
			c.place(f, at+", flag", flag)
		}
		if text := cell.text(); text != (Place{}) {
			c.place(f, at+", text", text)
		}
		if cell.Point < 0 || cell.Point > 9 {
			c.bad("%s: point is 0 to 9", at)
		}
	}
}

func (c *checker) place(f *Format, at string, p Place) {
	switch {
	case p.Field > 0 && p.Title != "":
		c.bad("%s: field and title", at)
	case (p.Field != 0 || p.Title != "") && f.Separator == "":
		c.bad("%s: there is no separator", at)
	case p.Title != "" && !f.Titles:
		c.bad("%s: the format has no titles", at)
	case p.Field == 0 && p.Title == "" && f.Separator != "":
		c.bad("%s: needs field or title", at)
	case p.Field == 0 && p.Title == "" && p.At == 0:
		c.bad("%s: needs at and length", at)
	case p.Field < 0 || p.At < 0 || p.Length < 0 || p.At > 0 && p.Length == 0 || p.At == 0 && p.Length > 0:
		c.bad("%s: at and length are from 1", at)
	}
}

// named: the pattern names groups.
func (l *Line) named() bool {
	for _, name := range l.Matches.SubexpNames() {
		if name != "" {
			return true
		}
	}
	return false
}

func (c Cell) flag() Place {
	return Place{At: c.FlagAt, Length: c.FlagLength, Field: c.FlagField, Title: c.FlagTitle}
}

func (c Cell) text() Place {
	return Place{At: c.TextAt, Length: c.TextLength, Field: c.TextField}
}

// Names are the fields that the format gives to a kind of record.
func (f *Format) Names(kind string) map[string]bool {
	names := map[string]bool{}
	for _, l := range f.Lines {
		if l.Record == kind {
			for _, c := range l.Columns {
				names[c.Name] = true
			}
			for _, name := range l.Matches.SubexpNames() {
				if name != "" {
					names[name] = true
				}
			}
		}
		if kind == item.Result && len(l.Results) > 0 {
			for _, name := range []string{"code", "value", "flag", "unit", "text"} {
				names[name] = true
			}
		}
	}
	return names
}

// point puts the decimal point in that a fixed format leaves out.
func point(text string, digits int) string {
	if digits == 0 {
		return text
	}
	n := strings.TrimSpace(text)
	if _, err := strconv.ParseUint(n, 10, 64); err != nil || strings.HasPrefix(n, "+") {
		return text
	}
	for len(n) <= digits {
		n = "0" + n
	}
	whole := strings.TrimLeft(n[:len(n)-digits], "0")
	if whole == "" {
		whole = "0"
	}
	return whole + "." + n[len(n)-digits:]
}
