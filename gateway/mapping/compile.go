package mapping

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"nhip/gateway/reason"
	"nhip/hl7"
)

// Limits of a map.
const (
	MaxSize  = 512 << 10 // bytes of its file
	maxRules = 1000
	maxRows  = 20000
)

// A Problem is something wrong with a map.
type Problem struct {
	Path    string // of the key in the file: "rule[2].at"
	Warning bool

	text text
	args []any
}

// In is what is wrong, in a language.
func (p Problem) In(l reason.Language) string { return p.text.in(l, p.args) }

// Error is the problem in English, with where it is.
func (p Problem) Error() string { return p.Path + ": " + p.In(reason.English) }

// A Map is a Spec that was checked. It may be used from several goroutines.
type Map struct {
	Name string

	kinds []string
	rules []*rule
	tests []Test
}

// A rule is a Rule that was checked.
type rule struct {
	name     string
	do       string
	kinds    []string
	each     place
	hasEach  bool
	until    []string
	after    []string
	at, from []place
	missing  string
	value    string
	values   []string
	table    *table
	on       *place
	by       string
	last     bool
	as       string
	width    int
	with     string
	side     string
	pattern  *regexp.Regexp
	units    *units
	keep     *place
	when     []condition
	why      string
}

type condition struct {
	at      place
	is, not []string
	present string
	matches *regexp.Regexp
}

type compiler struct {
	problems []Problem
	tables   map[string]*table
	units    map[string]*units
}

func (c *compiler) wrong(path string, t text, args ...any) {
	c.problems = append(c.problems, Problem{Path: path, text: t, args: args})
}

func path(key string, i int) string { return fmt.Sprintf("%s[%d]", key, i) }

// Compile checks a Spec, all of it. The Map is nil where there is a problem that is
// no warning.
func Compile(s Spec) (*Map, []Problem) {
	c := &compiler{tables: map[string]*table{}, units: map[string]*units{}}
	m := &Map{Name: s.Name, kinds: c.kinds("for", s.For), tests: s.Tests}
	if len(s.Rules) > maxRules {
		c.wrong("rule", textTooManyRules, len(s.Rules), maxRules)
		return nil, c.problems
	}
	rows := 0
	for i, t := range s.Tables {
		if rows += len(t.Rows); rows > maxRows {
			c.wrong("table", textTooManyRows, rows, maxRows)
			return nil, c.problems
		}
		c.table(i, t)
	}
	for i, u := range s.Units {
		if rows += len(u.Rows); rows > maxRows {
			c.wrong("units", textTooManyRows, rows, maxRows)
			return nil, c.problems
		}
		c.unitTable(i, u)
	}
	names := map[string]bool{}
	for i, r := range s.Rules {
		r.Name = cmp.Or(r.Name, fmt.Sprint(i+1))
		if names[r.Name] {
			c.wrong(path("rule", i)+".name", textRuleTwice, r.Name)
		}
		names[r.Name] = true
		m.rules = append(m.rules, c.rule(path("rule", i), r))
	}
	c.tests(s.Tests, names)
	if !Good(c.problems) {
		return nil, c.problems
	}
	return m, c.problems
}

// Good reports whether there are no problems but warnings.
func Good(problems []Problem) bool {
	return !slices.ContainsFunc(problems, func(p Problem) bool { return !p.Warning })
}

func (c *compiler) tests(tests []Test, rules map[string]bool) {
	names := map[string]bool{}
	for i, t := range tests {
		at := path("test", i)
		if names[t.Name] {
			c.wrong(at+".name", textTestTwice, t.Name)
		}
		names[t.Name] = true
		ends := 0
		for _, given := range []bool{t.Out != "", t.Unchanged, t.Drops != "", t.Holds != ""} {
			if given {
				ends++
			}
		}
		if ends != 1 {
			c.wrong(at, textTestEnds)
		}
		for _, name := range []string{t.Drops, t.Holds} {
			if name != "" && !rules[name] {
				c.wrong(at, textTestRule, name)
			}
		}
		if _, err := time.Parse(day, t.Received); t.Received != "" && err != nil {
			c.wrong(at+".received", textDay, t.Received)
		}
	}
	if len(tests) == 0 {
		c.problems = append(c.problems, Problem{Warning: true, text: textNoTests})
	}
}

var kindPattern = regexp.MustCompile(`^[A-Z][A-Z0-9]{2}(\^[A-Z][A-Z0-9]{2})?$`)

// kinds checks message types.
func (c *compiler) kinds(at string, kinds []string) []string {
	for _, k := range kinds {
		if !kindPattern.MatchString(k) {
			c.wrong(at, textType, k)
		}
	}
	return kinds
}

// uses are the keys that a step needs (!) and may have, besides those of every rule.
var uses = map[string]string{
	Set: "at! missing value values", Copy: "at! from! missing", Move: "at! from! missing", Delete: "at!",
	LookUp: "at! from table! on missing", Split: "at! from! by last missing", Join: "at! from! by missing",
	Letters: "at! as!", Pad: "at! width! with side", Trim: "at! with side", Cut: "at! width! side",
	Replace: "at! pattern! value", Add: "at! after", Scale: "units! keep", Drop: "why!", Hold: "why!",
}

// keys are the keys of a rule that have a value.
func keys(s Rule) map[string]bool {
	return map[string]bool{
		"at": len(s.At) > 0, "from": len(s.From) > 0, "value": s.Value != "", "values": len(s.Values) > 0, "table": s.Table != "", "on": s.On != "",
		"by": s.By != " ", "last": s.Last, "as": s.As != "", "width": s.Width != 0, "with": s.With != "", "side": s.Side != "",
		"pattern": s.Pattern != "", "why": s.Why != "", "after": len(s.After) > 0, "missing": s.Missing != "" && s.Missing != missingHold, "units": s.Units != "", "keep": s.Keep != "",
	}
}

func (c *compiler) rule(at string, s Rule) *rule {
	r := &rule{
		name: s.Name, do: s.Do, kinds: c.kinds(at+".for", s.For), missing: s.Missing, value: s.Value, values: s.Values,
		by: s.By, last: s.Last, as: s.As, width: s.Width, with: s.With, side: s.Side, until: s.Until, why: s.Why,
	}
	if uses[s.Do] == "" {
		return r // what reads the file has said so
	}
	given := keys(s)
	for _, u := range strings.Fields(uses[s.Do]) {
		key, needed := strings.CutSuffix(u, "!")
		if needed && !given[key] {
			c.wrong(at, textNeeds, s.Do, key)
		}
		delete(given, key)
	}
	for _, key := range []string{"at", "from", "value", "values", "table", "on", "by", "last", "as", "width", "with", "side", "pattern", "why", "after", "missing", "units", "keep"} {
		if given[key] {
			c.wrong(at+"."+key, textStrange, s.Do, key)
		}
	}
	c.scope(at, r, s)
	r.at = c.places(at+".at", s.At)
	r.from = c.places(at+".from", s.From)
	c.written(at, r)
	c.step(at, r, s)
	for i, w := range s.When {
		c.condition(path(at+".when", i), r, w)
	}
	return r
}

func (c *compiler) scope(at string, r *rule, s Rule) {
	if len(s.Until) > 0 && (s.Each == "" || strings.Contains(s.Each, "-")) {
		c.wrong(at+".until", textUntil)
	}
	c.segments(at+".until", s.Until)
	if s.Each == "" {
		return
	}
	p, ok := parsePlace(s.Each)
	whole := p.field == 0 && p.occurrence == 0
	repeated := p.repetition == all && p.component == 0 && p.occurrence == 0
	if !ok || !whole && !repeated || p.segment == "MSH" && p.field < 3 {
		c.wrong(at+".each", textEach, s.Each)
		return
	}
	r.each, r.hasEach = p, true
}

func (c *compiler) segments(at string, names []string) {
	for _, n := range names {
		if p, ok := parsePlace(n); !ok || p.field != 0 || p.occurrence != 0 {
			c.wrong(at, textSegment, n)
		}
	}
}

func (c *compiler) places(at string, texts []string) []place {
	var all []place
	for _, s := range texts {
		p, ok := parsePlace(s)
		if !ok {
			c.wrong(at, textPlace, s)
			continue
		}
		all = append(all, p)
	}
	return all
}

// kept are the fields of MSH by which the gateway, the answer and the character set
// hang on a message.
var kept = []int{1, 2, 10, 18}

// written checks the places that a rule changes.
func (c *compiler) written(at string, r *rule) {
	places := r.at
	if r.do == Move {
		places = slices.Concat(r.at, r.from)
	}
	for _, p := range places {
		if p.segment == "MSH" && (p.field == 0 || slices.Contains(kept, p.field)) {
			c.wrong(at+".at", textKept, p.text)
		}
		if p.field == 0 && r.do != Delete && r.do != Add {
			c.wrong(at+".at", textPart, r.do, p.text)
		}
	}
	for _, p := range r.from {
		if p.field == 0 {
			c.wrong(at+".from", textPart, r.do, p.text)
		}
	}
}

// one says that a rule has only one place, which is not several.
func (c *compiler) one(at string, r *rule, places []place) {
	for i, p := range places {
		if p.many() || i > 0 {
			c.wrong(at, textOnePlace, r.do, p.text)
		}
	}
}

func (c *compiler) oneOf(at, key, value string, words ...string) {
	if value != "" && !slices.Contains(words, value) {
		c.wrong(at+"."+key, textOneOf, key, value, strings.Join(words, ", "))
	}
}

const (
	missingHold = "hold"
	missingSkip = "skip"
	missingAdd  = "add"
)

// step checks what belongs to one step.
func (c *compiler) step(at string, r *rule, s Rule) {
	switch r.do {
	case Set:
		if len(s.Values) > 0 && s.Value != "" {
			c.wrong(at+".values", textStrange, r.do, "values")
		}
		for _, p := range r.at {
			if len(s.Values) > 0 && p.component > 0 {
				c.wrong(at+".at", textDeeper, r.do, "values", p.text)
			}
		}
	case Copy, Move:
		c.one(at+".from", r, r.from)
		c.one(at+".at", r, r.at)
		if len(r.at) == 1 && len(r.from) == 1 && r.at[0].depth() > r.from[0].depth() {
			c.wrong(at+".at", textDeeper, r.do, r.from[0].text, r.at[0].text)
		}
	case LookUp:
		c.lookUp(at, r, s)
	case Split:
		c.one(at+".from", r, r.from)
		for _, p := range r.at {
			c.one(at+".at", r, []place{p})
		}
	case Join:
		c.one(at+".at", r, r.at)
		for _, p := range r.from {
			c.one(at+".from", r, []place{p})
		}
	case Letters:
		c.oneOf(at, "as", s.As, "upper", "lower", "ascii")
	case Pad, Cut:
		c.oneOf(at, "side", s.Side, "left", "right")
		if s.Width < 0 || s.Width > 1000 || r.do == Pad && len([]rune(s.With)) > 1 {
			c.wrong(at+".width", textOneOf, "width", s.Width, "1 … 1000")
		}
		r.with = cmp.Or(s.With, "0")
	case Trim:
		c.oneOf(at, "side", s.Side, "both", "left", "right")
		r.with = cmp.Or(s.With, " \t")
	case Replace:
		r.pattern = c.compiled(at+".pattern", s.Pattern)
	case Add:
		c.adds(at, r, s)
	case Scale:
		c.scaleStep(at, r, s)
	}
}

func (c *compiler) lookUp(at string, r *rule, s Rule) {
	c.one(at+".from", r, r.from)
	if len(r.from) > 0 || len(r.at) > 1 { // else every place of at is looked up where it stands
		for _, p := range r.at {
			c.one(at+".at", r, []place{p})
		}
	}
	r.table = c.tables[s.Table]
	if r.table == nil {
		if s.Table != "" {
			c.wrong(at+".table", textNoTable, s.Table)
		}
		return
	}
	if len(r.at) != max(1, r.table.width) {
		c.wrong(at+".at", textPlaces, s.Table, r.table.width, len(r.at))
	}
	if s.On != "" {
		if on := c.places(at+".on", []string{s.On}); len(on) == 1 {
			c.one(at+".on", r, on)
			r.on = &on[0]
		}
	}
}

func (c *compiler) adds(at string, r *rule, s Rule) {
	c.one(at+".at", r, r.at)
	for _, p := range r.at {
		if p.field != 0 || p.occurrence != 0 {
			c.wrong(at+".at", textSegment, p.text)
		}
	}
	c.segments(at+".after", s.After)
	r.after = s.After
}

func (c *compiler) compiled(at, pattern string) *regexp.Regexp {
	re, err := regexp.Compile(pattern)
	if err != nil {
		c.wrong(at, textPattern, pattern, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		return nil
	}
	return re
}

func (c *compiler) condition(at string, r *rule, s Condition) {
	p := c.places(at+".at", []string{s.At})
	if len(p) == 0 {
		return
	}
	if len(s.Is) == 0 && len(s.Not) == 0 && s.Present == "" && s.Matches == "" {
		c.wrong(at, textCondition)
	}
	w := condition{at: p[0], is: s.Is, not: s.Not, present: s.Present}
	if p[0].field == 0 && (len(s.Is) > 0 || len(s.Not) > 0 || s.Matches != "") {
		c.wrong(at+".at", textPart, r.do, s.At)
	}
	if s.Matches != "" {
		w.matches = c.compiled(at+".matches", s.Matches)
	}
	r.when = append(r.when, w)
}

// is says whether a message is of one of the kinds; none: every message is.
func is(m *hl7.Message, kinds []string) bool {
	if len(kinds) == 0 {
		return true
	}
	code, event, _ := m.Type()
	return slices.Contains(kinds, code) || slices.Contains(kinds, code+"^"+event)
}
