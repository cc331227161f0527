package mapping

import (
	"slices"
	"strings"
	"time"
)

// day is how a day is written in a map.
const day = "2006-01-02"

// A table is a Table that was checked.
type table struct {
	name    string
	unknown string
	other   []string // the default
	width   int      // texts of a row
	rows    map[string][]row
}

type row struct {
	to           []string
	since, until string // days; empty: no limit
}

func (r row) holds(on string) bool {
	return (r.since == "" || on >= r.since) && (r.until == "" || on <= r.until)
}

// overlaps says whether two rows hold on the same day.
func (r row) overlaps(o row) bool {
	return (r.until == "" || o.since == "" || o.since <= r.until) && (o.until == "" || r.since == "" || r.since <= o.until)
}

// find is what a code becomes on a day, written as 2026-01-31. known says whether
// the table has it; without a default, an unknown code becomes nothing.
func (t *table) find(code, on string) (to []string, known bool) {
	for _, r := range t.rows[code] {
		if r.holds(on) {
			return r.to, true
		}
	}
	return t.other, false
}

func (c *compiler) table(i int, s Table) {
	at := path("table", i)
	t := &table{name: s.Name, unknown: s.Unknown, other: s.Default, rows: map[string][]row{}}
	if c.tables[s.Name] != nil {
		c.wrong(at+".name", textTableTwice, s.Name)
	}
	if (s.Unknown == UnknownDefault) != (len(s.Default) > 0) {
		c.wrong(at+".default", textDefault)
	}
	t.width = len(s.Default)
	for j, r := range s.Rows {
		c.row(path(at+".row", j), t, r)
	}
	c.tables[s.Name] = t
}

func (c *compiler) row(at string, t *table, s Row) {
	r := row{to: s.To, since: s.Since, until: s.Until}
	for _, d := range []string{s.Since, s.Until} {
		if _, err := time.Parse(day, d); d != "" && err != nil {
			c.wrong(at, textDay, d)
			return
		}
	}
	if r.since != "" && r.until != "" && r.until < r.since {
		c.wrong(at, textBackwards, s.From)
	}
	if t.width == 0 {
		t.width = len(s.To)
	}
	if len(s.To) != t.width {
		c.wrong(at, textWidth, s.From, len(s.To), t.width)
	}
	if slices.ContainsFunc(t.rows[s.From], r.overlaps) {
		c.wrong(at, textRowTwice, s.From)
	}
	t.rows[s.From] = append(t.rows[s.From], r)
}

// dayOf is the day of a time stamp of HL7, else of the time of receipt.
func dayOf(stamp string, received time.Time) (string, bool) {
	if stamp == "" {
		return received.Format(day), true
	}
	if len(stamp) < 8 || strings.ContainsFunc(stamp[:8], func(r rune) bool { return r < '0' || r > '9' }) {
		return "", false
	}
	return stamp[:4] + "-" + stamp[4:6] + "-" + stamp[6:8], true
}
