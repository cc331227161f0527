package lis

import (
	"slices"
	"time"

	"nhip/hl7"
)

// events are the message types that are taken (table 0076) with their trigger
// events (table 0003). A type with no events takes any.
var events = map[string][]string{
	"ADR": nil,
	"ADT": span("A", 1, 62),
	"BAR": span("P", 1, 12),
	"DFT": {"P03", "P11"},
	"MDM": span("T", 1, 11),
	"MFN": span("M", 1, 17),
	"OMG": {"O19"},
	"OMI": {"O23"},
	"OML": {"O21", "O33", "O35", "O39"},
	"ORM": {"O01"},
	"ORU": {"R01", "R30", "R31", "R32", "R40", "R42"},
	"OUL": {"R21", "R22", "R23", "R24"},
	"RDE": {"O11", "O25"},
	"SIU": span("S", 12, 26),
	"VXU": {"V04"},
}

func span(letter string, from, to int) []string {
	var s []string
	for n := from; n <= to; n++ {
		s = append(s, letter+string([]byte{byte('0' + n/10), byte('0' + n%10)}))
	}
	return s
}

// A Verdict is what we think of a message before it is stored.
type Verdict struct {
	Code   hl7.AckCode // AA: store and accept; AE: store, hold and say why; AR: refuse
	Errors []hl7.Error
}

// Judge looks at the header of a message from a device or from a system. A
// device may leave MSH-10 empty, because old ones do and cannot be taught;
// a system may not, because its retries could not be told from new messages.
func Judge(m *hl7.Message, device bool) Verdict {
	code, event, _ := m.Type()
	known, ok := events[code]
	switch {
	case !ok || code == "":
		return reject("MSH-9.1", hl7.ErrorType, "message type "+quote(code)+" is not supported")
	case len(known) > 0 && !slices.Contains(known, event):
		return reject("MSH-9.2", hl7.ErrorEvent, "event "+quote(event)+" of message type "+code+" is not supported")
	case !hl7.KnownVersion(m.Version()):
		if !device || m.Version() != "" {
			return reject("MSH-12", hl7.ErrorVersion, "version "+quote(m.Version())+" is not supported")
		}
	}
	if !device && m.ControlID() == "" {
		return Verdict{Code: hl7.ApplicationError, Errors: []hl7.Error{{Location: "MSH-10", Code: hl7.ErrorRequiredField, Severity: hl7.SeverityError, Text: "the message control ID (MSH-10) is empty: the message is held"}}}
	}
	return Verdict{Code: hl7.ApplicationAccept}
}

func reject(location, code, text string) Verdict {
	return Verdict{Code: hl7.ApplicationReject, Errors: []hl7.Error{{Location: location, Code: code, Severity: hl7.SeverityError, Text: text}}}
}

// quote shows a value of the peer's, cut short.
func quote(s string) string { return "'" + short(s, 20) + "'" }

// short cuts a text to n characters.
func short(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}

// Answers are the frames that a message gets, by its MSH-15 and MSH-16 (HL7
// v2.5.1 section 2.9.2): none, an accept acknowledgement, an application
// acknowledgement, or both in that order. An acknowledgement is not answered.
func Answers(m *hl7.Message, v Verdict, id func() string, now time.Time) [][]byte {
	accept, application := hl7.AckMode(m)
	good := v.Code == hl7.ApplicationAccept
	var frames [][]byte
	if accept.Wants(good) {
		code := map[hl7.AckCode]hl7.AckCode{
			hl7.ApplicationAccept: hl7.CommitAccept,
			hl7.ApplicationError:  hl7.CommitError,
			hl7.ApplicationReject: hl7.CommitReject,
		}[v.Code]
		frames = append(frames, hl7.Ack(m, code, hl7.AckOptions{ControlID: id(), Now: now, Errors: v.Errors, Application: "NHIP"}))
	}
	if application.Wants(good) {
		frames = append(frames, hl7.Ack(m, v.Code, hl7.AckOptions{ControlID: id(), Now: now, Errors: v.Errors, Application: "NHIP"}))
	}
	return frames
}
