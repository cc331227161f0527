package profile

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"nhip/hl7"
)

// A MessageTypeError is a readable HL7 message of a kind that carries no results
// for us.
type MessageTypeError struct{ Code, Event string }

func (e *MessageTypeError) Error() string {
	return fmt.Sprintf("profile: HL7 message type %.10q, event %.10q carries no results", e.Code, e.Event)
}

// segment is an HL7 segment as an element.
type segment struct {
	s    hl7.Segment
	read *reading
}

// text is the text there. The null of HL7, "", says that there is none; of a result it is
// what was sent.
func (s segment) text(at location) string {
	text := s.get(at, at.within)
	if text == hl7.Null && at.record+at.within != "OBX5" {
		return ""
	}
	return text
}

func (s segment) repeats(at location) []string {
	n := min(s.s.Repetitions(at.field), maxRepeats)
	texts := make([]string, n)
	for i := range texts {
		texts[i] = s.get(at, strconv.Itoa(at.field)+"["+strconv.Itoa(i+1)+"]"+at.inField)
	}
	return texts
}

func (s segment) get(at location, path string) string {
	return s.read.hl7(at, s.s.Get(path), func() []byte { return s.s.Raw(path) })
}

// deviceTypes are the messages of chapter 13 in which a device speaks of itself:
// status, inventory, commands, logs.
var deviceTypes = []string{"ESU", "ESR", "INU", "INR", "EAC", "EAN", "EAR", "TCU", "LSU"}

// hl7 walks an ORU, HL7 v2.5.1 section 7.3.1, or an OUL, section 7.3.6. A query and an acknowledgement
// are counted; any other type is an error.
func (x *extractor) hl7(message []byte) error {
	m, read, err := x.p.readHL7(message)
	if err != nil {
		return err
	}
	x.reading = *read
	code, event, _ := m.Type()
	switch {
	case m.IsAcknowledgement():
		x.out.Consumed[Acknowledgement]++
		return nil
	case code == "QRY" || code == "QBP":
		x.out.Queries++
		x.out.Consumed[Query]++
		return nil
	case slices.Contains(deviceTypes, code):
		x.out.Consumed[DeviceStatus]++
		return nil
	case code != "ORU" && code != "OUL":
		return &MessageTypeError{Code: code, Event: event}
	}
	if err := contextLength(message); err != nil {
		return err
	}
	x.orderFirst = code == "OUL" && event == "R24"
	x.specimenFirst = code == "OUL" && !x.orderFirst
	segments := m.Segments()
	for i := range segments {
		x.segment(segments[i:])
	}
	x.end()
	return nil
}

// contextLength refuses segments that every result refers to and that are too
// long to be looked at again for each.
func contextLength(message []byte) error {
	line := 0
	for text := range bytes.FieldsFuncSeq(message, func(r rune) bool { return r == '\r' || r == '\n' }) {
		line++
		if len(text) <= maxContext {
			continue
		}
		switch name := strings.ToUpper(string(text[:3])); name {
		case "MSH", "PID", "PV1", "ORC", "OBR", "TQ1", "SPM":
			return &LimitError{Record: line, Type: name}
		}
	}
	return nil
}

// segment takes the first of the segments.
func (x *extractor) segment(rest []hl7.Segment) {
	s := segment{rest[0], &x.reading}
	switch name := rest[0].Name; name {
	case "MSH":
		x.in = scope{"MSH": s}
		x.header()
	case "PID":
		x.newPatient()
		x.forget("PV1", "ORC", "OBR", "TQ1", "SPM", "SAC", "INV")
		x.in["PID"] = s
	case "OBR":
		x.newOrder()
		x.forget("TQ1", "OBX", "NTE")
		if x.orderFirst { // its ORC stands behind it
			x.forget("ORC")
		}
		x.in["OBR"] = s
		if !x.specimenFirst {
			x.specimenOf(rest)
		}
		x.orderAsResult()
	case "NTE":
		x.in["NTE"] = s
		x.comment()
	case "OBX":
		x.in["OBX"] = s
		x.result()
	case "SPM": // in ORU taken with its OBR
		if x.specimenFirst {
			x.end()
			x.forget("ORC", "OBR", "TQ1", "SAC", "INV")
			x.in["SPM"] = s
		}
	default: // PV1, ORC, TQ1 and what a profile's paths may name
		x.in[name] = s
	}
}

func (x *extractor) forget(names ...string) {
	for _, name := range names {
		delete(x.in, name)
	}
}

// specimenOf looks ahead for the SPM of the order group: in ORU^R01 it follows the
// results. Without one of its own, an SPM before the OBR does not count; in
// OUL^R22 the specimen comes first, and in OUL^R24 ORC and SPM follow the OBR.
func (x *extractor) specimenOf(rest []hl7.Segment) {
	delete(x.in, "SPM")
	for _, s := range rest[1:] {
		switch s.Name {
		case "OBR", "PID":
			return
		case "ORC":
			if !x.orderFirst {
				return
			}
		case "SPM":
			x.in["SPM"] = segment{s, &x.reading}
			return
		}
	}
}
