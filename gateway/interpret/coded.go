package interpret

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"nhip/gateway/codes"
	"nhip/gateway/intake"
	"nhip/gateway/reason"
	"nhip/gateway/record"
	"nhip/gateway/versions"
)

// A CodeTable is a version of the table of an analyser's codes.
type CodeTable versions.Live[*codes.Table]

// table is the one that is live for a connection.
func (r *reader) table(connection string) *CodeTable {
	if r.codes == nil {
		return nil
	}
	return r.codes(connection)
}

// value is the table itself; nil: there is none, or it cannot be used.
func (t *CodeTable) value() *codes.Table {
	if t == nil || t.Broken != nil {
		return nil
	}
	return t.Value
}

// version is how the table is called in the journal; "": there is none.
func (t *CodeTable) version() string {
	if t == nil {
		return ""
	}
	return strings.TrimSpace(fmt.Sprintf("version %d %s", t.Version, t.Name))
}

// knows reports whether the site has said what a code is.
func (t *CodeTable) knows(code string) bool { return t.value().Has(code) }

// control makes a report of what the site says is control material one.
func (t *CodeTable) control(rep *record.Report) {
	if !rep.Control && t.value().IsControl(strings.TrimSpace(rep.Specimen.ID)) {
		rep.Control, rep.Material = true, cmp.Or(rep.Material, rep.Specimen.ID)
	}
}

// lotOf is the lot of control material; the identifier that it was run under where the
// analyser says none.
func lotOf(rep record.Report) string {
	return cmp.Or(strings.TrimSpace(rep.Lot), strings.TrimSpace(rep.Specimen.ID))
}

// measuredAt is when control material was run, as well as it is known.
func measuredAt(rep record.Report, received time.Time) time.Time {
	for _, x := range rep.Results {
		if !x.Observed.At.IsZero() {
			return x.Observed.At
		}
	}
	return received
}

// controls takes in the nth report of an entry, of control material. What the site has
// no rule for waits for a person where the site says so.
func (r *reader) controls(o *outcome, rep record.Report, n int, e intake.Entry, table *CodeTable) {
	if !r.spared() && !table.value().KnowsLot(lotOf(rep), measuredAt(rep, e.At), r.knows.Zone) && !rep.Calibration {
		why := reason.New(reason.ControlNoRule, e.Connection)
		why.Said = said(lotOf(rep))
		o.held = append(o.held, held{rep.Specimen.ID, why, r.part(n)})
		return
	}
	o.consume("control", 1)
	if !rep.Calibration {
		o.controls = append(o.controls, rep)
	}
}

// spared reports whether a person lets the report go on in spite of what the code table
// does not have.
func (r *reader) spared() bool { return r.to != nil && r.to.Codes }

// coded translates the nth report of an entry with the table. ok is false where a person
// has to look at it first.
func (r *reader) coded(o *outcome, rep record.Report, n int, e intake.Entry, table *CodeTable) (record.Report, bool) {
	if table == nil {
		return rep, true
	}
	if table.Broken != nil {
		o.held = append(o.held, held{rep.Specimen.ID, reason.New(reason.CodesUnusable, e.Connection, table.Broken.Error()), r.part(n)})
		return rep, false
	}
	x := table.Value.Apply(rep, e.At, r.knows.Zone, r.spared())
	if x.Held() {
		o.held = append(o.held, held{rep.Specimen.ID, whyHeld(rep, x, e.Connection), r.part(n)})
		return rep, false
	}
	for _, f := range x.Fates {
		if f.Kind != codes.Known {
			o.note(unknownNotes[f.Kind], 1)
		}
	}
	return x.Report, true
}

// unknownNotes count what goes on although the table does not have it.
var unknownNotes = map[codes.Kind]string{
	codes.NoCode: "code not in the table", codes.NotValid: "code not in the table", codes.Taken: "code not in the table",
	codes.NoUnit: "unit not in the table", codes.NoNumber: "value not converted", codes.Duplicate: "code twice",
}

// heldCodes are the reasons by what the table does not know.
var heldCodes = map[codes.Kind]reason.Code{
	codes.NoCode: reason.CodeNone, codes.NotValid: reason.CodeNotThen, codes.Taken: reason.CodeTaken, codes.Duplicate: reason.CodeTwice,
	codes.NoUnit: reason.UnitNone, codes.NoNumber: reason.NotConverted,
}

// OfCodes reports whether something is held because of the table of an analyser's codes:
// released, it goes on in spite of that.
func OfCodes(why reason.Code) bool {
	for _, c := range heldCodes {
		if c == why {
			return true
		}
	}
	return why == reason.ControlNoRule
}

// maxSaid is how many results a reason names.
const maxSaid = 5

// whyHeld is the reason of the first result that is held, with the others that are held
// for the same.
func whyHeld(rep record.Report, x codes.Outcome, connection string) reason.Reason {
	var kind codes.Kind
	var what []string
	for i, f := range x.Fates {
		if !f.Held || kind != codes.Known && f.Kind != kind {
			continue
		}
		kind = f.Kind
		text := said(rep.Results[i].Code)
		if kind == codes.NoUnit {
			text += " [" + said(rep.Results[i].Unit) + "]"
		}
		if what = append(what, text); len(what) > maxSaid {
			what[maxSaid] = "…"
			break
		}
	}
	why := reason.New(heldCodes[kind], connection)
	why.Said = strings.Join(what, ", ")
	return why
}

// said is a short text of the device's.
func said(text string) string {
	const most = 40
	if r := []rune(strings.TrimSpace(text)); len(r) > most {
		return string(r[:most]) + "…"
	}
	return strings.TrimSpace(text)
}

// A Coding is what a table makes of one report of an entry.
type Coding struct {
	Report  int // its number in the entry, from 1
	Sent    record.Report
	Control bool // it is control material, which goes to its charts
	codes.Outcome
	Why reason.Reason // why it would be held by the table; zero: it would not
}

// Codings says what a table, nil for none, makes of the reports of an entry. It looks at
// nothing else: neither at orders nor at destinations.
func (w *Worker) Codings(e intake.Entry, body []byte, t *codes.Table) ([]Coding, error) {
	c := w.Connections[e.Connection]
	if c.Profile == nil {
		return nil, fmt.Errorf("interpret: %s is no analyser", e.Connection)
	}
	x, err := c.Profile.Extract(body, c.Zone)
	if err != nil {
		return nil, nil // it is held as unreadable, whatever the table
	}
	table := &CodeTable{Value: t}
	var all []Coding
	for i, rep := range x.Reports {
		k := Coding{Report: i + 1, Sent: rep, Outcome: codes.Outcome{Report: rep, Fates: make([]codes.Fate, len(rep.Results))}}
		table.control(&rep)
		switch {
		case rep.Control:
			k.Control = true
			if !rep.Calibration && !t.KnowsLot(lotOf(rep), measuredAt(rep, e.At), w.Knows.Zone) {
				k.Why = reason.New(reason.ControlNoRule, e.Connection)
			}
		case t != nil:
			k.Outcome = t.Apply(rep, e.At, w.Knows.Zone, false)
			if k.Held() {
				k.Why = whyHeld(rep, k.Outcome, e.Connection)
			}
		}
		all = append(all, k)
	}
	return all, nil
}
