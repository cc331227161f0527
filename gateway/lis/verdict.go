package lis

import (
	"slices"

	"nhip/hl7"
	"nhip/hl7/ack"
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
	"OMB": {"O27"},
	"OMD": {"O03"},
	"OMG": {"O19"},
	"OMI": {"O23"},
	"OML": {"O21", "O33", "O35", "O39"},
	"OMN": {"O07"},
	"OMP": {"O09"},
	"OMS": {"O05"},
	"ORM": {"O01"},
	"ORU": {"R01", "R30", "R31", "R32", "R40", "R42"},
	"OUL": {"R21", "R22", "R23", "R24"},
	"RAS": {"O17"},
	"RDE": {"O11", "O25"},
	"RDS": {"O13"},
	"RGV": {"O15"},
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

// Judge looks at the header of a message from a device or from a system. A
// device may leave MSH-10 empty, because old ones do and cannot be taught;
// a system may not, because its retries could not be told from new messages. taken
// says that a part of the gateway takes messages of this type, whatever the table says.
//
// AA: to be stored and accepted. AE: to be stored and held, with the reason. AR: refused.
func Judge(m *hl7.Message, device, taken bool) ack.Verdict {
	code, event, _ := m.Type()
	known, ok := events[code]
	switch {
	case taken, len(code) == 3 && code[0] == 'Z': // a site's own
	case !ok || code == "":
		return reject("MSH-9.1", hl7.ErrorType, "message type "+quote(code)+" is not supported")
	case len(known) > 0 && !slices.Contains(known, event):
		return reject("MSH-9.2", hl7.ErrorEvent, "event "+quote(event)+" of message type "+code+" is not supported")
	}
	switch {
	case !hl7.KnownVersion(m.Version()):
		if !device || m.Version() != "" {
			return reject("MSH-12", hl7.ErrorVersion, "version "+quote(m.Version())+" is not supported")
		}
	}
	if !device && m.ControlID() == "" {
		return ack.Verdict{Code: hl7.ApplicationError, Errors: []hl7.Error{{Location: "MSH-10", Code: hl7.ErrorRequiredField, Severity: hl7.SeverityError, Text: "the message control ID (MSH-10) is empty: the message is held"}}}
	}
	return ack.Verdict{Code: hl7.ApplicationAccept}
}

func reject(location, code, text string) ack.Verdict {
	return ack.Verdict{Code: hl7.ApplicationReject, Errors: []hl7.Error{{Location: location, Code: code, Severity: hl7.SeverityError, Text: text}}}
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
