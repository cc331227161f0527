package mapping

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"nhip/gateway/reason"
	"nhip/hl7"
)

// Limits of the work on one message: the places that all rules together write, and
// the bytes of the segments that they look through.
const (
	most = 20000
	far  = 256 << 20
)

// A Fired is one place that a rule has changed, or the end that it made.
type Fired struct {
	Rule   string `json:"rule"`
	Do     string `json:"do"`
	At     string `json:"at"` // "OBX[3]-5.1"
	Before string `json:"before"`
	After  string `json:"after"`
}

// A Stop is why a message is not sent.
type Stop struct {
	Rule string
	Why  reason.Reason // Hold: why it waits
	Text string        // Drop: in the words of the map
}

// A Result is what a map makes of a message.
type Result struct {
	// Body is the message as it is to be sent: the bytes that came where nothing was
	// changed.
	Body    []byte
	Changed bool
	Dropped *Stop // it is not to be sent, and counted by the rule
	Held    *Stop // it waits for a person
	Fired   []Fired
}

// Apply makes of a message what is to be sent. at is when it was received, in the
// zone of the site. charset is how the message's texts are read.
func (m *Map) Apply(body []byte, charset hl7.CharsetRule, at time.Time) Result {
	return m.apply(body, charset, at, false)
}

// Try is Apply, and tells every place that was changed.
func (m *Map) Try(body []byte, charset hl7.CharsetRule, at time.Time) Result {
	return m.apply(body, charset, at, true)
}

func (m *Map) apply(body []byte, charset hl7.CharsetRule, at time.Time, tell bool) Result {
	msg, err := hl7.Parse(body)
	if err == nil {
		err = msg.UseCharset(charset)
	}
	if err != nil {
		return Result{Held: &Stop{Why: reason.New(reason.MapUnreadable, m.Name, err.Error())}}
	}
	d := &draft{Map: m, m: msg, received: at, tell: tell}
	if !is(msg, m.kinds) {
		return Result{Body: body}
	}
	d.number()
	for _, r := range m.rules {
		if !is(msg, r.kinds) {
			continue
		}
		if !d.rule(r) {
			break
		}
		if d.looked > far {
			d.tooMuch(r)
			break
		}
	}
	res := Result{Body: body, Dropped: d.dropped, Held: d.held, Fired: d.fired}
	if b := msg.Bytes(); string(b) != string(body) {
		res.Body, res.Changed = b, true
	}
	return res
}

// A draft is a message while a map is applied to it.
type draft struct {
	*Map
	m        *hl7.Message
	received time.Time
	tell     bool

	segments []hl7.Segment
	by       map[string][]int // positions by name
	scope    scope
	writes   int
	looked   int  // bytes
	removed  bool // the step took the repetition or segment of the scope away

	fired         []Fired
	dropped, held *Stop
}

// A scope is what one round of a rule is about: the segments from, up to but not
// including to, and the repetition of a field in the first of them.
type scope struct {
	from, to          int
	field, repetition int // 0: none
	segment           string
}

// number finds the segments anew.
func (d *draft) number() {
	d.segments = d.m.Segments()
	d.looked += 8 * len(d.segments)
	d.by = make(map[string][]int, 16)
	for i, s := range d.segments {
		d.by[s.Name] = append(d.by[s.Name], i)
	}
}

// stop ends the work on the message.
func (d *draft) stop(r *rule, why reason.Reason) bool {
	d.held = &Stop{Rule: r.name, Why: why}
	return false
}

// tooMuch ends the work on a message that asks for more than any needs.
func (d *draft) tooMuch(r *rule) bool {
	return d.stop(r, reason.New(reason.MapTooMuch, d.Name, r.name, strconv.Itoa(most)))
}

// segment is the segment of a spot; looking for a part of it costs its length.
func (d *draft) segment(i int) hl7.Segment {
	d.looked += len(d.segments[i].Bytes()) + 1
	return d.segments[i]
}

// rule does one rule, and says whether the next is to be done.
func (d *draft) rule(r *rule) bool {
	switch {
	case !r.hasEach:
		d.scope = scope{to: len(d.segments)}
		return d.round(r)
	case r.each.field == 0:
		return d.eachSegment(r)
	}
	return d.eachRepetition(r)
}

// eachSegment does a rule once for each segment of a name with what belongs to it.
func (d *draft) eachSegment(r *rule) bool {
	name := r.each.segment
	n := 0
	for range d.by[name] { // those that the rule adds are left out
		if n >= len(d.by[name]) || d.looked > far {
			break
		}
		from := d.by[name][n]
		d.scope = scope{from: from, to: d.end(r, from), segment: name}
		if !d.round(r) {
			return false
		}
		if !d.removed {
			n++
		}
	}
	return true
}

// levels order the segments that others belong to; what is not here belongs to the
// last that is.
var levels = map[string]int{"MSH": 1, "PID": 2, "ORC": 3, "OBR": 4, "OBX": 5}

const leaf = 6

// end is where what belongs to a segment ends: at the next segment of its name, and
// at those of until, or of the same level or above.
func (d *draft) end(r *rule, from int) int {
	name := d.segments[from].Name
	own := leaf
	if l, ok := levels[name]; ok {
		own = l
	}
	for i := from + 1; i < len(d.segments); i++ {
		next := d.segments[i].Name
		level, ok := levels[next]
		d.looked++
		switch {
		case next == name, slices.Contains(r.until, next):
			return i
		case len(r.until) == 0 && (ok && level <= own || own == leaf):
			return i
		}
	}
	return len(d.segments)
}

// eachRepetition does a rule once for each repetition of a field, in every segment of
// the name.
func (d *draft) eachRepetition(r *rule) bool {
	name, field := r.each.segment, r.each.field
	for _, from := range d.by[name] {
		for rep := 1; d.looked <= far && rep <= d.segment(from).Repetitions(field); {
			d.scope = scope{from: from, to: from + 1, segment: name, field: field, repetition: rep}
			if !d.round(r) {
				return false
			}
			if !d.removed {
				rep++
			}
		}
	}
	return true
}

// round does the step of a rule once, where its conditions hold.
func (d *draft) round(r *rule) bool {
	d.removed = false
	for _, w := range r.when {
		if !d.holds(w) {
			return true
		}
	}
	return d.step(r)
}

// holds says whether a condition is fulfilled.
func (d *draft) holds(w condition) bool {
	spots := d.spots(w.at)
	if w.at.field == 0 {
		return (w.present == "yes") == (len(spots) > 0)
	}
	var texts []string
	for _, s := range spots {
		if text := d.get(s); text != "" {
			texts = append(texts, text)
		}
	}
	in := func(list []string) bool {
		return slices.ContainsFunc(texts, func(t string) bool { return slices.Contains(list, t) })
	}
	return (w.present == "" || (w.present == "yes") == (len(texts) > 0)) &&
		(len(w.is) == 0 || in(w.is) || len(texts) == 0 && slices.Contains(w.is, "")) &&
		!in(w.not) &&
		(w.matches == nil || slices.ContainsFunc(texts, w.matches.MatchString))
}

// within are the positions of the segments of a name in the scope.
func (d *draft) within(name string) []int {
	positions := d.by[name]
	from, _ := slices.BinarySearch(positions, d.scope.from)
	to, _ := slices.BinarySearch(positions, d.scope.to)
	return positions[from:to]
}

// named are the positions of the segments that a place names. Without an occurrence
// it is the first in the scope, else the nearest before it.
func (d *draft) named(p place) []int {
	positions := d.within(p.segment)
	switch {
	case p.occurrence == all:
		return positions
	case p.occurrence > len(positions):
		return nil
	case p.occurrence > 0:
		return positions[p.occurrence-1 : p.occurrence]
	case len(positions) > 0:
		return positions[:1]
	}
	before, _ := slices.BinarySearch(d.by[p.segment], d.scope.from)
	if before == 0 {
		return nil
	}
	return d.by[p.segment][before-1 : before]
}

// spots are the parts of the message that a place names now.
func (d *draft) spots(p place) []spot {
	var spots []spot
	for _, i := range d.named(p) {
		s := spot{segment: i, field: p.field, repetition: p.repetition, component: p.component, sub: p.sub}
		if d.scope.repetition > 0 && i == d.scope.from && p.field == d.scope.field && p.repetition == 0 {
			s.repetition = d.scope.repetition
		}
		if p.repetition != all {
			spots = append(spots, s)
			continue
		}
		for rep := range d.segment(i).Repetitions(p.field) {
			s.repetition = rep + 1
			spots = append(spots, s)
		}
	}
	return spots
}

// get and raw are what a spot holds; nothing once the work is too much.
func (d *draft) get(s spot) string {
	if seg := d.segment(s.segment); d.looked <= far {
		return seg.Get(s.path())
	}
	return ""
}

func (d *draft) raw(s spot) []byte {
	if seg := d.segment(s.segment); d.looked <= far {
		return seg.Raw(s.path())
	}
	return nil
}

// where names a spot for people, by the number of the segment among those of its name.
func (d *draft) where(s spot) string {
	name := d.segments[s.segment].Name
	var b strings.Builder
	b.WriteString(name)
	if positions := d.by[name]; len(positions) > 1 {
		n, _ := slices.BinarySearch(positions, s.segment)
		b.WriteString("[" + strconv.Itoa(n+1) + "]")
	}
	if s.field > 0 {
		b.WriteString("-" + s.path())
	}
	return b.String()
}

// write puts a text into a spot.
func (d *draft) write(r *rule, s spot, value string) bool {
	return d.change(r, s, func(seg hl7.Segment) error { return seg.Set(s.path(), value) })
}

// change changes a spot, and notes what was there before.
func (d *draft) change(r *rule, s spot, set func(hl7.Segment) error) bool {
	seg := d.segment(s.segment)
	if d.writes++; d.writes > most || d.looked > far {
		return d.tooMuch(r)
	}
	before := ""
	if d.tell {
		before = seg.Get(s.path())
	}
	if err := set(seg); err != nil {
		return d.stop(r, reason.New(reason.MapNotWritten, d.Name, r.name, d.where(s)))
	}
	if !d.tell {
		return true
	}
	if after := seg.Get(s.path()); after != before {
		d.fired = append(d.fired, Fired{r.name, r.do, d.where(s), before, after})
	}
	return true
}
