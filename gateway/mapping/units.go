package mapping

import (
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"

	"nhip/gateway/reason"
)

// Scale is the step that converts results: the numbers of OBX segments from one unit
// into another, by a written factor.
const Scale = "scale"

// A Units says how results are converted.
type Units struct {
	Name    string    `toml:"name" need:"yes"`
	Unknown string    `toml:"unknown" default:"hold" oneof:"hold pass"` // a unit that no row has
	Rows    []UnitRow `toml:"row"`
}

// A UnitRow is one conversion.
type UnitRow struct {
	Code     string `toml:"code" default:""` // OBX-3.1; empty: any that has no row of its own
	From     string `toml:"from" need:"yes"` // OBX-6.1
	To       string `toml:"to" need:"yes"`
	Factor   string `toml:"factor" default:""`     // a decimal number; empty: the same unit under another name
	Decimals int    `toml:"decimals" default:"-1"` // with a factor: rounded to so many, halves away from zero
	Since    string `toml:"since" default:""`
	Until    string `toml:"until" default:""`
}

type unitRow struct {
	row
	factor   *big.Rat // nil: only the name of the unit changes
	decimals int
}

type units struct {
	name, unknown string
	rows          map[[2]string][]unitRow // by code and unit
}

var plainNumber = regexp.MustCompile(`^[+-]?[0-9]{1,30}(\.[0-9]{1,30})?$`)

func (c *compiler) unitTable(i int, s Units) {
	at := path("units", i)
	u := &units{name: s.Name, unknown: s.Unknown, rows: map[[2]string][]unitRow{}}
	if c.units[s.Name] != nil {
		c.wrong(at+".name", textTableTwice, s.Name)
	}
	for j, r := range s.Rows {
		c.unitRow(path(at+".row", j), u, r)
	}
	c.units[s.Name] = u
}

func (c *compiler) unitRow(at string, u *units, s UnitRow) {
	r := unitRow{row: row{to: []string{s.To}, since: s.Since, until: s.Until}, decimals: s.Decimals}
	for _, d := range []string{s.Since, s.Until} {
		if _, err := time.Parse(day, d); d != "" && err != nil {
			c.wrong(at, textDay, d)
			return
		}
	}
	if s.Factor != "" {
		if !plainNumber.MatchString(s.Factor) || s.Decimals < 0 || s.Decimals > 10 {
			c.wrong(at, textFactor, s.From)
			return
		}
		r.factor, _ = new(big.Rat).SetString(s.Factor)
	}
	if r.factor != nil && r.factor.Sign() <= 0 {
		c.wrong(at, textFactor, s.From)
	}
	key := [2]string{s.Code, s.From}
	if slices.ContainsFunc(u.rows[key], func(o unitRow) bool { return r.overlaps(o.row) }) {
		c.wrong(at, textRowTwice, strings.TrimSpace(s.Code+" "+s.From))
	}
	u.rows[key] = append(u.rows[key], r)
}

// find is the conversion of a unit on a day: of the code, else of any.
func (u *units) find(code, unit, on string) (unitRow, bool) {
	for _, c := range []string{code, ""} {
		for _, r := range u.rows[[2]string{c, unit}] {
			if r.holds(on) {
				return r, true
			}
		}
	}
	return unitRow{}, false
}

// scale converts the OBX segments of the scope.
func (d *draft) scale(r *rule) bool {
	for _, i := range slices.Clone(d.within("OBX")) {
		if !d.scaleOne(r, i) {
			return false
		}
	}
	return true
}

func (d *draft) scaleOne(r *rule, i int) bool {
	at := func(field, component int) spot { return spot{segment: i, field: field, component: component} }
	unit, ok := d.valued(at(6, 1))
	if !ok {
		return true // without a unit there is nothing to convert
	}
	to, known := r.units.find(d.get(at(3, 1)), unit, d.received.Format(day))
	if !known {
		if r.units.unknown == UnknownPass {
			return true
		}
		why := reason.New(reason.MapNoCode, d.Name, r.name, d.where(at(6, 1)), r.units.name)
		why.Said = short(unit)
		return d.stop(r, why)
	}
	if to.factor != nil {
		original := d.get(at(5, 0)) + " " + unit
		for _, part := range d.numbers(i) {
			if !d.convert(r, part, to) {
				return false
			}
		}
		if r.keep != nil {
			kept := spot{segment: i, field: r.keep.field, component: r.keep.component}
			if !d.write(r, kept, original) {
				return false
			}
		}
	}
	return d.write(r, at(6, 1), to.to[0])
}

// numbers are the parts of an OBX that are in its unit: its value, of a structured one
// both numbers, and its reference range.
func (d *draft) numbers(i int) []spot {
	parts := []spot{{segment: i, field: 5}}
	if d.get(spot{segment: i, field: 2}) == "SN" {
		parts = []spot{{segment: i, field: 5, component: 2}, {segment: i, field: 5, component: 4}}
	}
	return append(parts, spot{segment: i, field: 7})
}

// rangePattern is a reference range: two numbers, or one with a comparator.
var rangePattern = regexp.MustCompile(`^(\s*(?:[<>]=?)?\s*)([0-9]{1,30}(?:\.[0-9]{1,30})?)(?:(\s*-\s*)([0-9]{1,30}(?:\.[0-9]{1,30})?))?(\s*)$`)

// convert multiplies the number of a part, or those of a range. What is neither holds
// the message: a number in an unknown unit is worse than none.
func (d *draft) convert(r *rule, s spot, to unitRow) bool {
	text, ok := d.valued(s)
	if !ok {
		return true
	}
	if plainNumber.MatchString(text) {
		return d.write(r, s, to.times(text))
	}
	if m := rangePattern.FindStringSubmatch(text); m != nil && s.field == 7 {
		converted := m[1] + to.times(m[2])
		if m[4] != "" {
			converted += m[3] + to.times(m[4])
		}
		return d.write(r, s, converted+m[5])
	}
	return d.stop(r, reason.New(reason.MapNoNumber, d.Name, r.name, d.where(s)))
}

// times is exact, and rounded once: halves away from zero.
func (u unitRow) times(number string) string {
	n, ok := new(big.Rat).SetString(number)
	if !ok {
		return number // the pattern has no such number
	}
	return n.Mul(n, u.factor).FloatString(u.decimals)
}

// scaleStep checks what belongs to the step.
func (c *compiler) scaleStep(at string, r *rule, s Rule) {
	if r.units = c.units[s.Units]; r.units == nil && s.Units != "" {
		c.wrong(at+".units", textNoTable, s.Units)
	}
	if s.Keep == "" {
		return
	}
	p, ok := parsePlace(s.Keep)
	if !ok || p.segment != "OBX" || p.field == 0 || p.many() || p.occurrence != 0 || p.repetition != 0 || slices.Contains([]int{2, 3, 5, 6, 7}, p.field) {
		c.wrong(at+".keep", textKeep, s.Keep)
		return
	}
	r.keep = &p
}
