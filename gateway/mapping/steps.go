package mapping

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"nhip/gateway/reason"
	"nhip/hl7"
	"nhip/hl7/vncharset"
)

// step does what a rule says in one scope, and says whether the work goes on.
func (d *draft) step(r *rule) bool {
	switch r.do {
	case Set:
		return d.toEach(r, func(s spot) bool { return d.set(r, s) })
	case Copy, Move:
		return d.copied(r)
	case Delete:
		return d.deleted(r)
	case LookUp:
		return d.lookUp(r)
	case Split:
		return d.split(r)
	case Join:
		return d.join(r)
	case Letters, Pad, Trim, Cut, Replace:
		return d.edit(r)
	case Add:
		return d.add(r)
	case Scale:
		return d.scale(r)
	case Drop:
		d.dropped = &Stop{Rule: r.name, Text: r.why}
		return false
	case Hold:
		return d.stop(r, reason.New(reason.MapHolds, d.Name, r.name, r.why))
	}
	return true
}

// target finds the one spot that a place names; where its segment is missing, the
// rule says what is done. ok is false where there is nothing to write to.
func (d *draft) target(r *rule, p place) (s spot, ok, on bool) {
	if len(d.named(p)) == 0 {
		switch {
		case r.missing == missingSkip:
			return spot{}, false, true
		case r.missing != missingAdd:
			return spot{}, false, d.stop(r, reason.New(reason.MapNoPlace, d.Name, r.name, p.segment))
		case !d.insert(r, p.segment, nil):
			return spot{}, false, false
		}
	}
	spots := d.spots(p)
	if len(spots) == 0 { // an occurrence that the added one is not
		return spot{}, false, d.stop(r, reason.New(reason.MapNoPlace, d.Name, r.name, p.text))
	}
	return spots[0], true, true
}

// toEach does something at every spot that the places of At name.
func (d *draft) toEach(r *rule, do func(spot) bool) bool {
	for _, p := range r.at {
		if !p.many() {
			s, ok, on := d.target(r, p)
			if !on || ok && !do(s) {
				return false
			}
			continue
		}
		for _, s := range d.spots(p) {
			if !do(s) {
				return false
			}
		}
	}
	return true
}

// set writes a text, or the components of a part.
func (d *draft) set(r *rule, s spot) bool {
	if len(r.values) == 0 {
		return d.write(r, s, r.value)
	}
	return d.change(r, s, func(seg hl7.Segment) error {
		if err := seg.Set(s.path(), ""); err != nil {
			return err
		}
		for i, v := range r.values {
			part := s
			part.component = i + 1
			if err := seg.Set(part.path(), v); err != nil {
				return err
			}
		}
		return nil
	})
}

// source is the first spot of a place that has a value.
func (d *draft) source(p place) (spot, bool) {
	for _, s := range d.spots(p) {
		if raw := d.raw(s); len(raw) > 0 && string(raw) != hl7.Null {
			return s, true
		}
	}
	return spot{}, false
}

// copied writes the bytes of one part into another. A part that is empty is not
// copied.
func (d *draft) copied(r *rule) bool {
	from, ok := d.source(r.from[0])
	if !ok {
		return true
	}
	raw := bytes.Clone(d.raw(from))
	to, ok, on := d.target(r, r.at[0])
	if !ok {
		return on
	}
	if from, ok = d.source(r.from[0]); !ok { // the target was added before it
		return true
	}
	if !d.change(r, to, func(seg hl7.Segment) error { return seg.SetRaw(to.path(), raw) }) {
		return false
	}
	if r.do == Copy || from == to {
		return true
	}
	return d.write(r, from, "")
}

// deleted takes segments and repetitions away, and empties parts.
func (d *draft) deleted(r *rule) bool {
	for _, p := range r.at {
		spots := d.spots(p)
		slices.Reverse(spots) // what is taken away moves only what is behind it
		for _, s := range spots {
			if !d.delete(r, s) {
				return false
			}
		}
	}
	return true
}

func (d *draft) delete(r *rule, s spot) bool {
	switch {
	case s.field == 0:
		return d.deleteSegment(r, s)
	case s.repetition > 0 && s.component == 0:
		return d.deleteRepetition(r, s)
	case len(d.raw(s)) == 0:
		return true
	}
	return d.write(r, s, "")
}

func (d *draft) deleteSegment(r *rule, s spot) bool {
	if d.writes++; d.writes > most || d.looked > far {
		return d.tooMuch(r)
	}
	if d.tell {
		d.fired = append(d.fired, Fired{Rule: r.name, Do: r.do, At: d.where(s), Before: d.segments[s.segment].Get("1")})
	}
	if d.m.Remove(d.segments[s.segment]) != nil {
		return d.stop(r, reason.New(reason.MapNotWritten, d.Name, r.name, d.where(s)))
	}
	if s.segment == d.scope.from && d.scope.segment != "" {
		d.removed = true
	}
	d.scope.to--
	d.number()
	return true
}

// deleteRepetition takes one repetition out of a field.
func (d *draft) deleteRepetition(r *rule, s spot) bool {
	seg := d.segments[s.segment]
	n := seg.Repetitions(s.field)
	if s.repetition > n {
		return true
	}
	field := spot{segment: s.segment, field: s.field}
	rest := make([][]byte, 0, n)
	for i := 1; i <= n; i++ {
		if i != s.repetition {
			one := field
			one.repetition = i
			rest = append(rest, d.raw(one))
		}
	}
	between := []byte{d.m.Delimiters().Repetition}
	if n == 1 {
		between = nil
	}
	if s.segment == d.scope.from && s.field == d.scope.field {
		d.removed = true
	}
	return d.change(r, field, func(seg hl7.Segment) error {
		return seg.SetRaw(field.path(), bytes.Join(rest, between))
	})
}

// insert adds a segment behind the last of some in the scope, else at its end.
func (d *draft) insert(r *rule, name string, after []string) bool {
	if d.writes++; d.writes > most || d.looked > far {
		return d.tooMuch(r)
	}
	behind := -1
	for _, a := range after {
		if positions := d.within(a); len(positions) > 0 {
			behind = max(behind, positions[len(positions)-1])
		}
	}
	if behind < 0 && len(after) > 0 {
		return d.stop(r, reason.New(reason.MapNoPlace, d.Name, r.name, strings.Join(after, ", ")))
	}
	if behind < 0 {
		behind = max(0, d.scope.to-1)
	}
	added, err := d.m.Insert(d.segments[behind], name)
	if err != nil {
		return d.stop(r, reason.New(reason.MapNotWritten, d.Name, r.name, name))
	}
	d.scope.to++
	d.number()
	if d.tell {
		d.fired = append(d.fired, Fired{Rule: r.name, Do: Add, At: d.where(spot{segment: added.Index})})
	}
	return true
}

// add adds a segment where the scope has none of it.
func (d *draft) add(r *rule) bool {
	for _, p := range r.at {
		if len(d.within(p.segment)) == 0 && !d.insert(r, p.segment, r.after) {
			return false
		}
	}
	return true
}

// valued is the text of a spot that has one; what is to be deleted (null) is left
// alone.
func (d *draft) valued(s spot) (string, bool) {
	text := d.get(s)
	return text, text != "" && text != hl7.Null
}

// lookUp translates a code.
func (d *draft) lookUp(r *rule) bool {
	if len(r.from) == 0 && len(r.at) == 1 { // in place
		for _, s := range d.spots(r.at[0]) {
			if to, ok, on := d.translated(r, s); !on || ok && !d.write(r, s, to[0]) {
				return false
			}
		}
		return true
	}
	from := r.at[0]
	if len(r.from) > 0 {
		from = r.from[0]
	}
	for _, s := range d.spots(from) {
		to, ok, on := d.translated(r, s)
		if !ok {
			return on
		}
		for i, p := range r.at {
			at, ok, on := d.target(r, p)
			if !on || ok && !d.write(r, at, to[i]) {
				return false
			}
		}
	}
	return true
}

// translated is what the code of a spot becomes; ok is false where nothing is to be
// written.
func (d *draft) translated(r *rule, s spot) (to []string, ok, on bool) {
	code, ok := d.valued(s)
	if !ok {
		return nil, false, true
	}
	stamp := ""
	if r.on != nil {
		for _, o := range d.spots(*r.on) {
			stamp = d.get(o)
		}
	}
	today, ok := dayOf(stamp, d.received)
	if !ok {
		return nil, false, d.stop(r, reason.New(reason.MapNoPlace, d.Name, r.name, r.on.text))
	}
	to, known := r.table.find(code, today)
	switch {
	case known, r.table.unknown == UnknownDefault:
		return to, true, true
	case r.table.unknown == UnknownPass:
		return nil, false, true
	}
	why := reason.New(reason.MapNoCode, d.Name, r.name, d.where(s), r.table.name)
	why.Said = short(code)
	return nil, false, d.stop(r, why)
}

// short is a value for a person.
func short(s string) string {
	if utf8.RuneCountInString(s) > 100 {
		return string([]rune(s)[:100]) + "…"
	}
	return s
}

// split writes the parts of a text to the places; the last place gets the rest.
func (d *draft) split(r *rule) bool {
	from, ok := d.source(r.from[0])
	if !ok {
		return true
	}
	text := d.get(from)
	parts := strings.SplitN(text, r.by, len(r.at))
	if r.last {
		parts = splitLast(text, r.by, len(r.at))
	}
	for i, p := range r.at {
		part := ""
		if i < len(parts) {
			part = parts[i]
		}
		at, ok, on := d.target(r, p)
		if !on || ok && !d.write(r, at, part) {
			return false
		}
	}
	return true
}

// splitLast is strings.SplitN from the end: the first part is the rest.
func splitLast(text, by string, n int) []string {
	var parts []string
	for len(parts) < n-1 {
		i := strings.LastIndex(text, by)
		if i < 0 || by == "" {
			break
		}
		parts = append(parts, text[i+len(by):])
		text = text[:i]
	}
	parts = append(parts, text)
	slices.Reverse(parts)
	return parts
}

// join writes the texts of the places into one; empty ones are left out.
func (d *draft) join(r *rule) bool {
	var parts []string
	for _, p := range r.from {
		for _, s := range d.spots(p) {
			if text, ok := d.valued(s); ok {
				parts = append(parts, text)
			}
		}
	}
	if len(parts) == 0 {
		return true
	}
	at, ok, on := d.target(r, r.at[0])
	if !ok {
		return on
	}
	return d.write(r, at, strings.Join(parts, r.by))
}

// edit changes the texts of the parts that have no parts themselves.
func (d *draft) edit(r *rule) bool {
	for _, p := range r.at {
		for _, s := range d.spots(p) {
			for _, l := range d.leaves(s) {
				text, ok := d.valued(l)
				if !ok {
					continue
				}
				if changed := r.edited(text); changed != text && !d.write(r, l, changed) {
					return false
				}
			}
		}
	}
	return true
}

// leaves are the smallest parts of a spot.
func (d *draft) leaves(s spot) []spot {
	seg := d.segments[s.segment]
	if s.component > 0 {
		return []spot{s}
	}
	first, last := s.repetition, s.repetition
	if s.repetition == 0 {
		first, last = 1, seg.Repetitions(s.field)
	}
	var spots []spot
	for rep := first; rep <= last && d.looked <= far; rep++ {
		named := rep
		if last == 1 {
			named = 0
		}
		n := d.segment(s.segment).Components(s.field, rep)
		for c := 1; c <= n && len(spots) < most; c++ {
			spots = append(spots, spot{segment: s.segment, field: s.field, repetition: named, component: c})
		}
	}
	return spots
}

// edited is what a text becomes.
func (r *rule) edited(text string) string {
	switch r.do {
	case Letters:
		return letters(r.as, text)
	case Pad:
		missing := r.width - utf8.RuneCountInString(text)
		if missing <= 0 {
			return text
		}
		fill := strings.Repeat(r.with, missing)
		if r.side == "right" {
			return text + fill
		}
		return fill + text
	case Trim:
		if r.side != "right" {
			text = strings.TrimLeft(text, r.with)
		}
		if r.side != "left" {
			text = strings.TrimRight(text, r.with)
		}
	case Cut:
		runes := []rune(norm.NFC.String(text))
		if len(runes) <= r.width {
			return text
		}
		if r.side == "left" {
			return string(runes[len(runes)-r.width:])
		}
		return string(runes[:r.width])
	case Replace:
		return r.pattern.ReplaceAllString(text, r.value)
	}
	return text
}

func letters(as, text string) string {
	switch as {
	case "upper":
		return strings.ToUpper(text)
	case "lower":
		return strings.ToLower(text)
	}
	return vncharset.ASCII(text)
}
