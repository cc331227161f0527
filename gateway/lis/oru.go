// Package lis is the way between records and HL7 messages of the laboratory:
// it renders reports as ORU^R01, judges messages that arrive, and brings
// messages to a destination.
package lis

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
	"time"

	"nhip/gateway/record"
	"nhip/hl7"
)

// Ends names the two ends of a message, MSH-3 to MSH-6, and the site.
type Ends struct {
	SendingApplication, SendingFacility     string
	ReceivingApplication, ReceivingFacility string
	SiteName                                string
}

// Forms of a message of laboratory results.
const (
	FormORU = "oru" // ORU^R01
	FormOUL = "oul" // OUL^R22
)

// ResultOptions say how a report is rendered.
type ResultOptions struct {
	Ends      Ends
	ControlID string // MSH-10, at most 20 characters
	Now       time.Time
	Resend    bool   // the device sent the same before
	Older     bool   // a newer result went out before; a person lets this one go on
	Form      string // FormORU where it is empty
	// Structured lets a value with a comparator (">100", "1:128") be of type SN; else
	// it is text.
	Structured bool
	// Patient takes the place of the one that the device named: who he is now, or whom
	// the order is for. nil: as the device said, and none where it named none.
	Patient *record.Person
	// Ordered says which results answer which orders, in the order in which they are to
	// stand. What no group has is in one of its own behind them, without an order.
	Ordered []Ordered
}

// Ordered are the results of a report that answer a service of an order.
type Ordered struct {
	Order   record.Order
	Service record.Service // one of the order's
	Results []int          // places in Report.Results
}

// Results renders a report as one message of version 2.5.1, UTF-8: ORU^R01^ORU_R01
// (HL7 v2.5.1 section 7.3.1) or OUL^R22^OUL_R22 (section 7.3.6). Values are the device's
// text. What the device did not say stays empty.
//
// Results that answer an order have its numbers: ORC-2, OBR-2 the placer's, ORC-3, OBR-3
// the filler's, where the order has one, else the specimen; OBR-4 what was ordered.
// Without an order OBR-2 is empty, OBR-3 the specimen. A result that corrects, deletes or
// withdraws an earlier one (OBX-11 C, D, W) makes the report a correction (OBR-25 C): the
// receiver finds the earlier one by OBR-3, OBX-3 and OBX-4.
func Results(r record.Report, o ResultOptions) ([]byte, error) {
	w := &writer{m: hl7.NewMessage(hl7.DefaultDelimiters), structured: o.Structured}
	what := "ORU^R01^ORU_R01"
	if o.Form == FormOUL {
		what = "OUL^R22^OUL_R22"
	}
	w.header(o.Ends, what, "2.5.1", o.ControlID, o.Now)
	w.patient(r, o)
	if o.Form == FormOUL {
		w.specimen(r)
	}
	groups := groupsOf(r, o.Ordered)
	for i, g := range groups {
		if o.Form == FormOUL {
			w.request(i+1, r, g, o)
			w.common(r, g)
		} else {
			w.common(r, g)
			w.request(i+1, r, g, o)
		}
		w.about(r, o, i == 0)
		for n, x := range g.results {
			w.result(n+1, r, x, o.Ends)
		}
	}
	if o.Form != FormOUL {
		w.specimen(r)
	}
	if w.err != nil {
		return nil, fmt.Errorf("lis: %s: %w", what[:7], w.err)
	}
	return w.m.Bytes(), nil
}

// header is MSH.
func (w *writer) header(ends Ends, what, version, controlID string, now time.Time) {
	w.segment("MSH")
	w.set("18", "UNICODE UTF-8") // first: it says how the rest is encoded
	w.set("3", ends.SendingApplication)
	w.set("4", ends.SendingFacility)
	w.set("5", ends.ReceivingApplication)
	w.set("6", ends.ReceivingFacility)
	w.set("7", stamp(now))
	for i, part := range strings.Split(what, "^") {
		w.set(fmt.Sprintf("9.%d", i+1), part)
	}
	w.set("10", controlID)
	w.set("11", "P")
	w.set("12", version)
}

// patient is PID, where somebody is named.
func (w *writer) patient(r record.Report, o ResultOptions) {
	p := r.Patient
	if o.Patient == nil && p == nil {
		return
	}
	w.segment("PID")
	w.set("1", "1")
	if o.Patient != nil {
		w.person(*o.Patient)
		return
	}
	w.set("3", p.ID)
	w.set("5.1", p.Name.Family)
	w.set("5.2", p.Name.Given)
	w.set("5.3", p.Name.Middle)
	w.set("7", p.Birth)
	w.set("8", p.Sex)
}

// A resultGroup is one OBR with its OBX segments.
type resultGroup struct {
	ordered *Ordered // nil: without an order
	results []record.Result
}

// groupsOf divides the results by the orders that they answer.
func groupsOf(r record.Report, ordered []Ordered) []resultGroup {
	var groups []resultGroup
	taken := make([]bool, len(r.Results))
	for i := range ordered {
		g := resultGroup{ordered: &ordered[i]}
		for _, n := range ordered[i].Results {
			if n >= 0 && n < len(taken) && !taken[n] {
				taken[n] = true
				g.results = append(g.results, r.Results[n])
			}
		}
		if len(g.results) > 0 {
			groups = append(groups, g)
		}
	}
	var rest resultGroup
	for i, x := range r.Results {
		if !taken[i] {
			rest.results = append(rest.results, x)
		}
	}
	if len(rest.results) > 0 || len(groups) == 0 {
		groups = append(groups, rest)
	}
	return groups
}

// common is ORC, where the results answer an order.
func (w *writer) common(r record.Report, g resultGroup) {
	if g.ordered == nil {
		return
	}
	w.segment("ORC")
	w.set("1", "RE")
	w.numbers(*g.ordered, r.Specimen.ID)
	w.number("4", g.ordered.Order.Group)
	w.set("5", orderStatusOf(reportStatus(g.results)))
}

// orderStatusOf is ORC-5 (table 0038) of an order with results of this OBR-25: the two
// agree (IHE LAB TF-2).
func orderStatusOf(reportStatus string) string {
	return map[string]string{"F": "CM", "C": "CM", "A": "A", "R": "A", "P": "A", "X": "CA"}[reportStatus]
}

// numbers are the placer's and the filler's number of an order, in fields 2 and 3.
func (w *writer) numbers(x Ordered, specimen string) {
	placer, filler := numbersOf(x.Order, x.Service)
	w.number("2", placer)
	if filler.Empty() {
		filler = record.OrderNumber{ID: specimen}
	}
	w.number("3", filler)
}

// numbersOf are the numbers of a service, its own or the order's.
func numbersOf(o record.Order, s record.Service) (placer, filler record.OrderNumber) {
	placer, filler = s.Placer, s.Filler
	if placer.Empty() {
		placer = o.Placer
	}
	if filler.Empty() {
		filler = o.Filler
	}
	return placer, filler
}

// number is data type EI.
func (w *writer) number(path string, n record.OrderNumber) {
	w.set(path+".1", n.ID)
	w.set(path+".2", n.Authority)
}

// request is OBR.
func (w *writer) request(n int, r record.Report, g resultGroup, o ResultOptions) {
	w.segment("OBR")
	w.set("1", fmt.Sprint(n))
	switch {
	case g.ordered != nil:
		w.numbers(*g.ordered, r.Specimen.ID)
		w.coded("4", g.ordered.Service.Code)
	case r.Order != "":
		w.set("3", r.Specimen.ID)
		w.set("4.1", r.Order)
		w.set("4.3", "L")
	default:
		w.set("3", r.Specimen.ID)
		w.set("4.1", r.Device.Profile)
		w.set("4.2", r.Device.Model)
		w.set("4.3", "L")
	}
	w.set("7", deviceTime(r.Specimen.Collected))
	if g.ordered != nil {
		if r.Specimen.Collected.At.IsZero() && !g.ordered.Service.Collected.IsZero() {
			w.set("7", stamp(g.ordered.Service.Collected))
		}
		w.set("16.2", g.ordered.Order.Orderer.Family)
		w.set("16.3", g.ordered.Order.Orderer.Given)
		w.set("16.4", g.ordered.Order.Orderer.Middle)
	}
	w.set("22", stamp(o.Now))
	if g.ordered != nil {
		w.set("24", g.ordered.Service.Section)
	}
	w.set("25", reportStatus(g.results))
}

// coded is data type CWE.
func (w *writer) coded(path string, c record.Coded) {
	for i, v := range []string{c.Code, c.Text, c.System, c.AltCode, c.AltText, c.AltSystem} {
		w.set(fmt.Sprintf("%s.%d", path, i+1), v)
	}
}

// about are the notes and the priority behind OBR: the notes of the report once.
func (w *writer) about(r record.Report, o ResultOptions, first bool) {
	n := 0
	note := func(text string) {
		n++
		w.segment("NTE")
		w.set("1", fmt.Sprint(n))
		w.set("2", "L")
		w.set("3", text)
	}
	if first && o.Resend {
		note("sent again by the device: the same message was received before")
	}
	if first && o.Older {
		note("an older result: a newer one was sent before; sent because a person has decided so")
	}
	if first {
		for _, c := range r.Comments {
			note(c)
		}
	}
	if r.Priority != "" {
		w.segment("TQ1")
		w.set("1", "1")
		w.set("9", r.Priority)
	}
}

// specimen is SPM.
func (w *writer) specimen(r record.Report) {
	w.segment("SPM")
	w.set("1", "1")
	w.set("2", r.Specimen.ID)
	if r.Specimen.Type != "" {
		w.set("4.1", r.Specimen.Type)
	} else {
		w.set("4.9", "unknown")
	}
}

// value is OBX-2 and OBX-5.
func (w *writer) value(v string) {
	if w.structured {
		if sn, ok := Structured(v); ok {
			w.set("2", "SN")
			for i, part := range sn {
				w.set(fmt.Sprintf("5.%d", i+1), part)
			}
			return
		}
	}
	w.set("2", ValueType(v))
	w.set("5", v)
}

// structuredNumeric is a comparator and a number, or two numbers with a separator.
var structuredNumeric = regexp.MustCompile(`^(?:(<=|>=|<>|<|>|=)([+-]?[0-9]+(?:\.[0-9]+)?)|([0-9]+(?:\.[0-9]+)?)([:-])([0-9]+(?:\.[0-9]+)?))$`)

// Structured is a value as data type SN (HL7 v2.5.1 section 2.A.72): comparator, number,
// separator, number. The parts one after the other are the value. ok is false for all
// other values, plain numbers too, and for what reads in more than one way, as a
// fraction does.
func Structured(v string) (sn [4]string, ok bool) {
	m := structuredNumeric.FindStringSubmatch(v)
	if m == nil || len(m[2]) > 15 || len(m[3]) > 15 || len(m[5]) > 15 {
		return sn, false
	}
	return [4]string{m[1], m[2] + m[3], m[4], m[5]}, true
}

func (w *writer) result(n int, r record.Report, x record.Result, ends Ends) {
	w.segment("OBX")
	w.set("1", fmt.Sprint(n))
	w.set("3.1", x.Code)
	w.set("3.2", x.Text)
	w.set("3.3", cmp.Or(x.System, "99"+strings.ToUpper(r.Device.Profile)))
	if x.LOINC != "" {
		w.set("3.4", x.LOINC)
		w.set("3.6", "LN")
	}
	w.value(x.Value)
	w.set("6.1", x.Unit)
	if x.UCUM != "" {
		w.set("6.4", x.UCUM)
		w.set("6.6", "UCUM")
	}
	w.set("7", x.Range)
	for i, f := range strings.Split(x.Flag, "~") { // the repetitions of OBX-8
		w.set(fmt.Sprintf("8[%d]", i+1), f)
	}
	w.set("11", x.Status)
	w.set("14", deviceTime(x.Observed))
	w.set("15.1", ends.SendingFacility)
	w.set("15.2", ends.SiteName)
	w.set("16", x.Operator)
	serial := r.Device.Serial
	if x.Instrument != "" {
		serial = x.Instrument
	}
	w.set("18.1", serial)
	w.set("18.2", r.Device.Profile)
	if r.Device.MaMay != "" { // OBX-18 repeats for the parts of the equipment; EI.1 is the number in the institution's list
		w.set("18[2].1", r.Device.MaMay)
		w.set("18[2].2", "MA_MAY")
	}
	w.set("19", deviceTime(x.Analysed))
	notes := x.Comments
	if !x.Declared {
		notes = append([]string{"test code not declared in profile " + r.Device.Profile}, notes...)
	}
	for i, c := range notes {
		w.segment("NTE")
		w.set("1", fmt.Sprint(i+1))
		w.set("2", "L")
		w.set("3", c)
	}
}

// writer keeps the first error.
type writer struct {
	m          *hl7.Message
	s          hl7.Segment
	structured bool // values with a comparator are of type SN
	err        error
}

func (w *writer) segment(name string) {
	if name == "MSH" {
		w.s = w.m.Segments("MSH")[0]
		return
	}
	w.s = w.m.Append(name)
}

func (w *writer) set(path, value string) {
	if value == "" || w.err != nil {
		return
	}
	w.err = w.s.Set(path, value)
}

// ValueType is OBX-2: NM only where the text is a plain decimal number, HL7
// v2.5.1 section 2A.46, so that no receiver reads more into it.
func ValueType(v string) string {
	digits := strings.TrimPrefix(strings.TrimPrefix(v, "-"), "+")
	whole, fraction, point := strings.Cut(digits, ".")
	if whole == "" || strings.Trim(whole, "0123456789") != "" || point && (fraction == "" || strings.Trim(fraction, "0123456789") != "") {
		return "ST"
	}
	if len(v) > 16 { // NM holds 16 characters
		return "ST"
	}
	return "NM"
}

// reportStatus is OBR-25 (table 0123) from the statuses of the results: what is
// not final makes the report so.
func reportStatus(results []record.Result) string {
	count := map[string]int{}
	for _, r := range results {
		switch r.Status {
		case "D", "W": // an earlier result is taken back
			count["C"]++
		default:
			count[r.Status]++
		}
	}
	switch {
	case count[""] == len(results):
		return ""
	case count["X"] == len(results):
		return "X"
	case count["C"] > 0:
		return "C"
	case count["F"] == len(results):
		return "F"
	case count["F"] > 0:
		return "A" // some, but not all, results are final
	case count["P"] == len(results):
		return "P"
	}
	return "R"
}

func stamp(t time.Time) string { return t.Format("20060102150405-0700") }

// deviceTime is the device's time to the precision that the device gave, with
// the zone; empty where it could not be read.
func deviceTime(t record.Time) string {
	if t.At.IsZero() {
		return ""
	}
	digits := 0
	for digits < len(t.Text) && t.Text[digits] >= '0' && t.Text[digits] <= '9' {
		digits++
	}
	zone := t.At.Format("-0700")
	switch digits {
	case 4:
		return t.At.Format("2006") + zone
	case 6:
		return t.At.Format("200601") + zone
	case 8:
		return t.At.Format("20060102") + zone
	case 12:
		return t.At.Format("200601021504") + zone
	}
	return t.At.Format("20060102150405") + zone
}
