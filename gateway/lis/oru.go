// Package lis is the way between records and HL7 messages of the laboratory:
// it renders reports as ORU^R01, judges messages that arrive, and brings
// messages to a destination.
package lis

import (
	"fmt"
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

// ORU renders a report as one ORU^R01^ORU_R01 of version 2.5.1 (HL7 v2.5.1
// section 7.3.1), UTF-8. Values are the device's text. What the device did not
// say stays empty. controlID is MSH-10, at most 20 characters.
func ORU(r record.Report, ends Ends, controlID string, now time.Time, resend bool) ([]byte, error) {
	m := hl7.NewMessage(hl7.DefaultDelimiters)
	w := &writer{m: m}
	w.segment("MSH")
	w.set("18", "UNICODE UTF-8") // first: it says how the rest is encoded
	w.set("3", ends.SendingApplication)
	w.set("4", ends.SendingFacility)
	w.set("5", ends.ReceivingApplication)
	w.set("6", ends.ReceivingFacility)
	w.set("7", stamp(now))
	w.set("9.1", "ORU")
	w.set("9.2", "R01")
	w.set("9.3", "ORU_R01")
	w.set("10", controlID)
	w.set("11", "P")
	w.set("12", "2.5.1")

	if p := r.Patient; p != nil {
		w.segment("PID")
		w.set("1", "1")
		w.set("3", p.ID)
		w.set("5.1", p.Name.Family)
		w.set("5.2", p.Name.Given)
		w.set("5.3", p.Name.Middle)
		w.set("7", p.Birth)
		w.set("8", p.Sex)
	}

	w.segment("OBR")
	w.set("1", "1")
	w.set("3", r.Specimen.ID)
	if r.Order != "" {
		w.set("4.1", r.Order)
		w.set("4.3", "L")
	} else {
		w.set("4.1", r.Device.Profile)
		w.set("4.2", r.Device.Model)
		w.set("4.3", "L")
	}
	w.set("7", deviceTime(r.Specimen.Collected))
	w.set("22", stamp(now))
	w.set("25", reportStatus(r.Results))
	n := 0
	note := func(text string) {
		n++
		w.segment("NTE")
		w.set("1", fmt.Sprint(n))
		w.set("2", "L")
		w.set("3", text)
	}
	if resend {
		note("sent again by the device: the same message was received before")
	}
	for _, c := range r.Comments {
		note(c)
	}
	if r.Priority != "" {
		w.segment("TQ1")
		w.set("1", "1")
		w.set("9", r.Priority)
	}
	for i, x := range r.Results {
		w.result(i+1, r, x, ends)
	}
	w.segment("SPM")
	w.set("1", "1")
	w.set("2", r.Specimen.ID)
	if r.Specimen.Type != "" {
		w.set("4.1", r.Specimen.Type)
	} else {
		w.set("4.9", "unknown")
	}
	if w.err != nil {
		return nil, fmt.Errorf("lis: ORU^R01: %w", w.err)
	}
	return m.Bytes(), nil
}

func (w *writer) result(n int, r record.Report, x record.Result, ends Ends) {
	w.segment("OBX")
	w.set("1", fmt.Sprint(n))
	w.set("2", ValueType(x.Value))
	w.set("3.1", x.Code)
	w.set("3.2", x.Text)
	w.set("3.3", "99"+strings.ToUpper(r.Device.Profile))
	if x.LOINC != "" {
		w.set("3.4", x.LOINC)
		w.set("3.6", "LN")
	}
	w.set("5", x.Value)
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
	m   *hl7.Message
	s   hl7.Segment
	err error
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
		count[r.Status]++
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
