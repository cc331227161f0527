// Package codes is the site's table of the codes of one analyser: what each of its
// codes and units is at the LIS, in LOINC and in UCUM, by which factor a unit becomes
// another, and from when until when. It is one CSV file (read.go), which a spreadsheet
// opens and prints.
//
// Nothing is guessed. A value is converted only where a row says the factor and the
// value is a plain number, with or without a comparator; what the analyser sent goes
// along. What no row has, and what cannot be converted, is held for a person or goes on
// as it is, marked, as the table says.
package codes

import (
	"math/big"
	"slices"
	"strings"
	"time"
)

// What becomes of something that the table does not have.
const (
	Hold = "hold" // the report waits for a person
	Pass = "pass" // it goes on as the analyser sent it, marked
)

// AnyUnit in a row: whatever unit the analyser sends.
const AnyUnit = "*"

// A Row is what the site says of one code in one unit.
type Row struct {
	Line     int    // in the file
	Code     string // the analyser's
	Unit     string // as the analyser sends it; "": it sends none; AnyUnit
	LIS      string // the code at the LIS; "": the analyser's own
	Name     string
	LOINC    string // "": the profile's, where the value is not converted
	LISUnit  string // "": the analyser's own
	UCUM     string // "": the profile's, where the value is not converted
	Factor   string // an exact decimal number; "": the value stays as it is
	Decimals int    // after the conversion, halves away from zero
	From     string // the first day, as 20260131; "": no limit
	Until    string // the last day; "": no limit
	Ordered  []string
	Note     string

	factor *big.Rat
}

// LISCode is the code at the LIS.
func (r Row) LISCode() string {
	if r.LIS == "" {
		return r.Code
	}
	return r.LIS
}

func (r Row) holds(on string) bool {
	return (r.From == "" || on >= r.From) && (r.Until == "" || on <= r.Until)
}

// overlaps says whether two rows hold on the same day.
func (r Row) overlaps(o Row) bool {
	return (r.Until == "" || o.From == "" || o.From <= r.Until) && (o.Until == "" || r.From == "" || r.From <= o.Until)
}

// A Lot is one of control material that the laboratory uses.
type Lot struct {
	Line        int
	Lot, Name   string
	From, Until string // days
}

// A Table is the checked table of an analyser. It is immutable.
type Table struct {
	MaMay       string // the code of the machine (MA_MAY of the insurance data); "": none
	UnknownCode string // a code without a row; Hold where the table has rows
	UnknownUnit string // a unit that no row of the code has; Hold
	NotNumber   string // a value that cannot be converted; Pass
	Duplicate   string // two codes of a report that are one at the LIS; Hold
	UnknownLot  string // control material of a lot that Lots does not have; Pass
	Lots        []Lot
	Controls    []string // specimen identifiers of control material, * is anything
	Rows        []Row

	byCode map[string][]int // places in Rows
	byLIS  map[string][]int // by LIS code and by what orders it
}

// Strict reports whether only the codes of the rows are this analyser's.
func (t *Table) Strict() bool { return t != nil && len(t.Rows) > 0 && t.UnknownCode == Hold }

// day is how a day is written in a table.
const day = "20060102"

func dayOf(at time.Time, zone *time.Location) string {
	if zone == nil {
		zone = time.UTC
	}
	return at.In(zone).Format(day)
}

// Has reports whether the table has a row for a code of the analyser, of any day.
func (t *Table) Has(code string) bool {
	return t != nil && len(t.byCode[strings.TrimSpace(code)]) > 0
}

// find is the row for a code and a unit on a day. code says that there is one for the
// code on any day, valid that there is one on this.
func (t *Table) find(code, unit, on string) (r *Row, known, valid bool) {
	all := t.byCode[code]
	for _, i := range all {
		x := &t.Rows[i]
		if !x.holds(on) {
			continue
		}
		valid = true
		if x.Unit == unit {
			return x, true, true
		}
		if x.Unit == AnyUnit {
			r = x
		}
	}
	return r, len(all) > 0, valid
}

// Tests are the analyser's codes that are run for a code of the LIS on the day of a time:
// those of the rows that it is the LIS code of, or that it orders. zone is the site's.
func (t *Table) Tests(order string, at time.Time, zone *time.Location) (all []string) {
	if t == nil {
		return nil
	}
	on := dayOf(at, zone)
	for _, i := range t.byLIS[strings.TrimSpace(order)] {
		if r := t.Rows[i]; r.holds(on) && !slices.Contains(all, r.Code) {
			all = append(all, r.Code)
		}
	}
	return all
}

// taken reports whether a code that no row has is the LIS code of another test.
func (t *Table) taken(code, on string) bool {
	return slices.ContainsFunc(t.byLIS[code], func(i int) bool {
		return t.Rows[i].holds(on) && t.Rows[i].LISCode() == code
	})
}

// IsControl reports whether the site says of a specimen identifier that it is control
// material.
func (t *Table) IsControl(specimen string) bool {
	return t != nil && slices.ContainsFunc(t.Controls, func(p string) bool { return matches(p, specimen) })
}

// matches compares with a pattern in which * is anything.
func matches(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	rest, ok := strings.CutPrefix(text, parts[0])
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(rest, part)
		if !ok || i < 0 {
			return false
		}
		rest = rest[i+len(part):]
	}
	return ok && strings.HasSuffix(rest, parts[len(parts)-1])
}

// KnowsLot reports whether control material of a lot has a rule: the table has the lot
// on the day of a time, or asks for none.
func (t *Table) KnowsLot(lot string, at time.Time, zone *time.Location) bool {
	if t == nil || t.UnknownLot != Hold {
		return true
	}
	on, lot := dayOf(at, zone), strings.TrimSpace(lot)
	return slices.ContainsFunc(t.Lots, func(l Lot) bool {
		return l.Lot == lot && (Row{From: l.From, Until: l.Until}).holds(on)
	})
}

// index makes the rows findable.
func (t *Table) index() {
	t.byCode, t.byLIS = map[string][]int{}, map[string][]int{}
	for i, r := range t.Rows {
		t.byCode[r.Code] = append(t.byCode[r.Code], i)
		for _, order := range append([]string{r.LISCode()}, r.Ordered...) {
			if at := t.byLIS[order]; !slices.Contains(at, i) {
				t.byLIS[order] = append(at, i)
			}
		}
	}
}
