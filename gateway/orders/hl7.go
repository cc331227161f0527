package orders

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"nhip/gateway/intake"
	"nhip/gateway/lis"
	"nhip/gateway/record"
	"nhip/gateway/ris"
	"nhip/hl7"
	"nhip/hl7/ack"
	"nhip/storage"
)

// Consumed is the kind under which an order ends that goes on to no destination.
const Consumed = "order"

// A Link says what a link's orders are like.
type Link struct {
	Rules ris.Rules
	// Ignore leaves the orders of the link to its destinations.
	Ignore bool
	// Passes says that the messages go on to destinations too.
	Passes bool
}

// An Application takes order messages: ORM^O01, OML^O21, O33 and O35, OMG^O19 and
// OMI^O23. It is intake.Application.
type Application struct {
	Store *Store
	// Link is what a link says; nil: nothing.
	Link func(name string) Link
	// Noted is told of each request that was decided, after the commit. It may be nil.
	Noted func(link string, r Request, o Outcome)
}

// taken are the messages that are taken.
var taken = []string{"ORM^O01", "OML^O21", "OML^O33", "OML^O35", "OMG^O19", "OMI^O23"}

// details are the order details of ORM that are not ours: medicines, diets, supplies.
var details = []string{"RXO", "RQD", "RQ1", "ODS", "ODT", "RXE", "RXD", "RXG", "RXA", "BPO"}

// Takes is intake.Application.
func (a *Application) Takes(m *hl7.Message) bool {
	code, event, _ := m.Type()
	return slices.Contains(taken, code+"^"+event) && (len(m.Segments("OBR")) > 0 || len(m.Segments(details...)) == 0)
}

// A part is one ORC of a message on its way through a decision.
type part struct {
	group   lis.OrderGroup
	request Request
	skip    bool  // nothing is asked of us
	with    *part // the ORC before it of the same order, with which it is decided
	outcome Outcome
	errors  []hl7.Error // that refuse it
	warn    []hl7.Error
	code    string // ORC-1 of the answer
}

// Decide is intake.Application.
func (a *Application) Decide(_ context.Context, in intake.Incoming, b *storage.Batch) (intake.Decision, error) {
	link := Link{}
	if a.Link != nil {
		link = a.Link(in.Link)
	}
	if link.Ignore {
		return intake.Decision{Verdict: ack.Verdict{Code: hl7.ApplicationAccept}}, nil
	}
	parts, bad := read(in, link.Rules)
	if len(bad) > 0 {
		return decision(in.Message, nil, bad, link), nil
	}
	c := a.Store.Begin(in.At.UTC())
	if err := a.apply(c, b, parts); err != nil {
		c.End(err)
		if errors.Is(err, errLarge) {
			return decision(in.Message, nil, []hl7.Error{fault("ORC", hl7.ErrorTooLong, "the message orders more than one commit holds: send several messages")}, link), nil
		}
		return intake.Decision{}, err
	}
	d := decision(in.Message, parts, nil, link)
	d.End = func(_ storage.Receipt, err error) {
		c.End(err)
		if err != nil || a.Noted == nil {
			return
		}
		for _, p := range parts {
			if !p.skip && p.with == nil {
				a.Noted(in.Link, p.request, p.outcome)
			}
		}
	}
	return d, nil
}

func (a *Application) apply(c *Change, b *storage.Batch, parts []*part) error {
	for _, p := range parts {
		if p.skip || len(p.errors) > 0 {
			continue
		}
		if p.with != nil {
			p.outcome = p.with.outcome
			continue
		}
		var err error
		if p.outcome, err = c.Apply(p.request); err != nil {
			return err
		}
	}
	return c.Write(b)
}

func fault(location, code, text string) hl7.Error {
	return hl7.Error{Location: location, Code: code, Severity: hl7.SeverityError, Text: text}
}

// controls are the order control codes (table 0119) that ask for something, with the
// answer of that table to what was done, and to what could not be.
var controls = map[string]struct {
	action   Action
	good, no string
}{
	"NW": {New, "OK", "UA"}, "RO": {New, "OK", "UA"}, "CH": {New, "OK", "UA"}, "PA": {Status, "OK", "UA"},
	"XO": {Changing, "XR", "UX"}, "XX": {Changing, "OK", "UX"},
	"RP": {Replace, "RQ", "UM"}, "RQ": {Replace, "OK", "UM"}, "RU": {Replace, "OK", "UM"},
	"CA": {Cancel, "CR", "UC"}, "OC": {Cancel, "OK", "UC"},
	"DC": {Discontinue, "DR", "UD"}, "OD": {Discontinue, "OK", "UD"},
	"HD": {Hold, "HR", "UH"}, "OH": {Hold, "OK", "UH"},
	"RL": {Release, "OR", "UR"}, "OE": {Release, "OK", "UR"},
	"SC": {Status, "OK", "UA"}, "SR": {Status, "OK", "UA"}, "SS": {Status, "SR", "UA"}, "RE": {Status, "OK", "UA"}, "RR": {Status, "OK", "UA"},
}

// Meanings are the answers of table 0119 in words.
var refusals = map[Problem]struct{ code, text string }{
	Unknown:    {hl7.ErrorUnknownKey, "there is no such order, or it has no such service"},
	Over:       {hl7.ErrorApplication, "the order is over: it was cancelled, replaced or completed, and is not opened again"},
	Superseded: {hl7.ErrorApplication, "a newer version of the order is known (ORC-9, MSH-7)"},
	Duplicate:  {hl7.ErrorDuplicateKey, "the order number is that of an order that is over: a new order needs a later time in ORC-9, or a number of its own"},
	TooMany:    {hl7.ErrorApplication, "more than " + strconv.Itoa(MostServices) + " services under one order number"},
	Full:       {hl7.ErrorLocked, "too many orders are open: none is taken until some are done"},
}

// read makes requests of a message. bad are errors that refuse it as a whole.
func read(in intake.Incoming, r ris.Rules) (parts []*part, bad []hl7.Error) {
	groups, bad := lis.OrderGroups(in.Message)
	if len(bad) > 0 {
		return nil, bad
	}
	for i, g := range groups {
		p := &part{group: g}
		p.request = Request{
			Link: in.Link, MessageID: in.Message.ControlID(), Control: strings.ToUpper(lis.Said(g.ORC, "1")),
			Said: Said{Order: lis.TimeAt(g.ORC, "9.1", r.Zone), Message: lis.TimeAt(messageHeader(in.Message), "7.1", r.Zone)},
		}
		p.read(in.Message, r, replaced(groups[i+1:]))
		parts = append(parts, p)
	}
	replacements(parts)
	together(parts)
	return parts, nil
}

// replaced reports whether what follows an ORC with RP, RQ or RU is the order that
// replaces it, behind further ones that are replaced.
func replaced(rest []lis.OrderGroup) bool {
	for _, g := range rest {
		switch strings.ToUpper(lis.Said(g.ORC, "1")) {
		case "RP", "RQ", "RU":
		case "RO":
			return true
		default:
			return false
		}
	}
	return false
}

// together makes one request of the ORC of a message that order or change under one
// number, each with OBR of its own: what a change does not name is replaced.
func together(parts []*part) {
	for i, p := range parts {
		a := p.request.Action
		if p.skip || len(p.errors) > 0 || a != New && a != Changing || i == 0 {
			continue
		}
		for _, first := range parts[:i] {
			if first.with == nil && !first.skip && len(first.errors) == 0 && first.request.Action == a && sameNumbers(first.request.Order, p.request.Order) {
				p.with = first
				first.request.Order.Services = append(first.request.Order.Services, p.request.Order.Services...)
				break
			}
		}
	}
}

func sameNumbers(a, b record.Order) bool {
	if !a.Placer.Empty() || !b.Placer.Empty() {
		return a.Placer == b.Placer
	}
	return !a.Filler.Empty() && a.Filler == b.Filler
}

func messageHeader(m *hl7.Message) hl7.Segment { return m.Segments("MSH")[0] }

// at is a field of the ORC or of the first OBR, for errors.
func (p *part) at(segment, field string) string {
	n := p.group.Number
	if segment == "OBR" {
		n = 1
		if len(p.group.Requests) > 0 {
			n = p.group.Requests[0].Number
		}
	}
	if n > 1 {
		segment += "[" + strconv.Itoa(n) + "]"
	}
	return segment + "-" + field
}

func (p *part) read(m *hl7.Message, rules ris.Rules, replaced bool) {
	c, ok := controls[p.request.Control]
	switch {
	case p.request.Control == "":
		p.refuse("ORC", "1", hl7.ErrorRequiredField, "the order control code (ORC-1) is empty: nothing says what is to be done")
		return
	case !ok:
		p.refuse("ORC", "1", hl7.ErrorTableValue, "the order control code is none of table 0119 that asks something of this gateway")
		return
	}
	p.request.Action, p.code = c.action, c.good
	if c.action == Replace && !replaced {
		p.request.Action = Changing // a replacement without the order that replaces it is a change
	}
	p.request.Order = lis.ReadOrder(m, p.group, rules.OrderRules)
	o := &p.request.Order
	o.Kind = ris.KindOf(m, p.group, *o, rules.Kind)
	p.request.State, p.request.Progress = status(lis.Said(p.group.ORC, "5"))
	p.skip = p.request.Control == "PA"
	if o.Kind == record.ImagingOrder {
		found := ris.Procedures(p.group, o, rules)
		if a := p.request.Action; a == New || a == Changing {
			p.errors, p.warn = append(p.errors, found.Refused...), found.Warnings
		}
	}
	p.complete()
}

// complete looks for what an order must have.
func (p *part) complete() {
	o, action := p.request.Order, p.request.Action
	if action == New || action == Changing {
		switch {
		case len(o.Services) == 0:
			p.refuse("OBR", "4", hl7.ErrorRequiredField, "the order has no OBR segment: nothing says what is ordered")
		case slices.ContainsFunc(o.Services, func(s record.Service) bool { return s.Code.Empty() }):
			p.refuse("OBR", "4", hl7.ErrorRequiredField, "the universal service identifier (OBR-4) is empty: nothing says what is ordered")
		}
	}
	if o.Placer.Empty() && o.Filler.Empty() && specimen(o) == "" && accession(o) == "" {
		if action == Status {
			p.skip = true // of an order that cannot be ours
			return
		}
		p.refuse("ORC", "2", hl7.ErrorRequiredField, "the order has neither a placer nor a filler order number (ORC-2, ORC-3), nor a specimen or accession number to know it by")
	}
}

func (p *part) refuse(segment, field, code, text string) {
	p.errors = append(p.errors, fault(p.at(segment, field), code, text))
}

// status is what ORC-5 (table 0038) says.
func status(code string) (record.ServiceState, record.Progress) {
	switch strings.ToUpper(code) {
	case "CA":
		return record.Cancelled, ""
	case "CM":
		return record.Completed, ""
	case "DC":
		return record.Discontinued, ""
	case "RP":
		return record.Replaced, ""
	case "HD":
		return record.OnHold, ""
	case "IP", "A":
		return "", record.Begun
	}
	return "", ""
}

// replacements makes a change of a replacement whose new order has the number of the
// old one.
func replacements(parts []*part) {
	for i, p := range parts {
		if p.request.Action != Replace {
			continue
		}
		for _, next := range parts[i+1:] {
			if next.request.Control != "RO" {
				if next.request.Action != Replace {
					break
				}
				continue
			}
			if sameNumbers(p.request.Order, next.request.Order) {
				p.skip, next.request.Action = true, Changing
				continue
			}
			if next.request.Order.Parent.Empty() {
				next.request.Order.Parent = p.request.Order.Placer
			}
		}
	}
}

// decision is the verdict with the answer's segments.
func decision(m *hl7.Message, parts []*part, bad []hl7.Error, link Link) intake.Decision {
	d := intake.Decision{Verdict: ack.Verdict{Code: hl7.ApplicationAccept}}
	if !link.Passes {
		d.Consumed = Consumed
	}
	if len(bad) > 0 {
		d.Verdict, d.Consumed = ack.Verdict{Code: hl7.ApplicationError, Errors: bad}, Consumed
		return d
	}
	done := 0
	for _, p := range parts {
		p.verdict()
		if len(p.errors) > 0 {
			d.Verdict.Code = hl7.ApplicationError
		} else {
			done++
		}
		d.Verdict.Errors = append(d.Verdict.Errors, p.errors...)
	}
	if done == 0 { // its sender was told that it failed: nobody else is to act on it
		d.Consumed = Consumed
	}
	for _, p := range parts {
		if m.AtLeast(2, 5) { // before, ERR has no severity
			d.Verdict.Errors = append(d.Verdict.Errors, p.warn...)
		}
	}
	d.Segments = answer(m, parts)
	return d
}

// verdict says what became of a part in the words of table 0119 and 0357.
func (p *part) verdict() {
	c := controls[p.request.Control]
	if r, refused := refusals[p.outcome.Problem]; refused && !p.skip {
		p.refuse("ORC", "2", r.code, r.text)
	}
	if p.outcome.Problem == OverInPart {
		p.warn = append(p.warn, hl7.Error{Location: p.at("OBR", "4"), Code: hl7.ErrorApplication, Severity: hl7.SeverityWarning, Text: "some of the services are over and stay so"})
	}
	if len(p.errors) > 0 {
		p.code = cmp.Or(c.no, "UA")
	}
}

// answer is what stands behind MSA and ERR: PID, and each order with ORC-1 saying
// what became of it (HL7 v2.5.1 sections 4.4.2 to 4.4.11). Everything else is as it
// came.
func answer(m *hl7.Message, parts []*part) []byte {
	var b []byte
	line := func(s hl7.Segment) { b = append(append(b, oneLine(s)...), '\r') }
	_, event, _ := m.Type()
	before := event == "O33" || event == "O35"
	if len(parts) > 0 && len(parts[0].group.Patient.PID) > 0 {
		line(parts[0].group.Patient.PID[0])
	}
	var shown []lis.SpecimenGroup
	for _, p := range parts {
		if before && !sameSpecimens33(shown, p.group.Specimens) {
			specimens(p.group.Specimens, line)
			shown = p.group.Specimens
		}
		b = append(append(b, orc(m, p)...), '\r')
		for _, s := range p.group.Timing {
			line(s)
		}
		for _, q := range p.group.Requests {
			if m.AtLeast(2, 5) && before {
				for _, s := range q.Timing {
					line(s)
				}
			}
			line(q.OBR)
			for _, s := range q.IPC {
				line(s)
			}
			if !before && m.AtLeast(2, 5) {
				specimens(q.Specimens, line)
			}
		}
	}
	return b
}

// oneLine is a segment without what its sender did not escape: see hl7.ParseWithin.
func oneLine(s hl7.Segment) []byte {
	b := s.Bytes()
	if i := bytes.IndexAny(b, "\r\n"); i >= 0 {
		b = b[:i]
	}
	return b
}

func specimens(all []lis.SpecimenGroup, line func(hl7.Segment)) {
	for _, x := range all {
		for _, s := range slices.Concat(x.SPM, x.SAC) {
			line(s)
		}
	}
}

// sameSpecimens33 reports whether two orders stand behind the same specimens.
func sameSpecimens33(a, b []lis.SpecimenGroup) bool {
	key := func(all []lis.SpecimenGroup) string {
		var s strings.Builder
		for _, x := range all {
			for _, g := range slices.Concat(x.SPM, x.SAC) {
				fmt.Fprint(&s, g.Index, " ")
			}
		}
		return s.String()
	}
	return key(a) == key(b)
}

// orc is the ORC of a part with ORC-1, and with ORC-5 where the status is known.
func orc(m *hl7.Message, p *part) []byte {
	d := m.Delimiters()
	fields := strings.Split(string(oneLine(p.group.ORC)), string(d.Field))
	for len(fields) < 2 {
		fields = append(fields, "")
	}
	fields[1] = p.code
	if s := stateCode(p.outcome); s != "" {
		for len(fields) < 6 {
			fields = append(fields, "")
		}
		fields[5] = s
	}
	return []byte(strings.Join(fields, string(d.Field)))
}

// stateCode is ORC-5 of an order as it is now, table 0038; empty where it is not
// known.
func stateCode(o Outcome) string {
	if o.ID == 0 {
		return ""
	}
	has := map[record.ServiceState]bool{}
	begun := false
	for _, s := range o.Entry.Order.Services {
		has[s.State] = true
		begun = begun || s.State == record.Open && s.Progress != record.Received && s.Progress != record.Sent
	}
	switch {
	case has[record.Open] && begun:
		return "IP"
	case has[record.Open]:
		return "SC"
	case has[record.OnHold]:
		return "HD"
	case has[record.Completed]:
		return "CM"
	case has[record.Discontinued], has[record.Expired]:
		return "DC"
	case has[record.Replaced]:
		return "RP"
	}
	return "CA"
}
