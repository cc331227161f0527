package monitor

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"nhip/gateway/record"
	"nhip/hl7"
)

// A Source is the connection that something came in on.
type Source struct {
	Device record.Device  // connection and profile; model and serial where the message has none
	Unit   string         // the ward, from the configuration
	Zone   *time.Location // of times that have none
}

// A Reading is what one message or line says.
type Reading struct {
	Observations []record.Observation
	// Consumed counts what is no numeric reading, by what it is.
	Consumed map[string]int
	// Problems are in words, without a value or a name of a patient.
	Problems []string
	// Location is the bed as the device names it (PV1-3). A connection that
	// brings more than one speaks for more than one patient.
	Location string
}

func (r *Reading) consume(kind string) {
	if r.Consumed == nil {
		r.Consumed = map[string]int{}
	}
	r.Consumed[kind]++
}

// ErrNotObservations is for a message that is no ORU^R01.
var ErrNotObservations = errors.New("monitor: the message is no ORU^R01")

// ORU reads an ORU^R01 of a monitor (HL7 v2.6 section 7.3.1, IHE PCD-01). Every
// OBX is in Observations or in Consumed.
func ORU(m *hl7.Message, s Source) (Reading, error) {
	code, event, _ := m.Type()
	if code != "ORU" || event != "R01" && event != "" {
		return Reading{}, fmt.Errorf("%w: %.20q", ErrNotObservations, code+"^"+event)
	}
	if s.Zone == nil {
		s.Zone = time.UTC
	}
	r := Reading{Location: Location(m)}
	g := group{source: s, message: m.Get("MSH-7"), training: isTraining(m.Get("MSH-11.1"))}
	for _, segment := range m.Segments("OBR", "OBX") {
		if segment.Name == "OBR" {
			g.request = firstOf(segment, "7", "14")
			continue
		}
		g.observe(segment, &r)
	}
	return r, nil
}

// isTraining is HL7 table 0103: anything but production.
func isTraining(processing string) bool { return processing == "T" || processing == "D" }

// Location is PV1-3.1 to 3.3 of a message, point of care, room and bed; empty
// where it has none.
func Location(m *hl7.Message) string {
	parts := []string{m.Get("PV1-3.1.1"), m.Get("PV1-3.2.1"), m.Get("PV1-3.3.1")}
	return strings.Trim(strings.Join(parts, "^"), "^")
}

func firstOf(s hl7.Segment, fields ...string) string {
	for _, f := range fields {
		if v := s.Get(f + ".1"); v != "" {
			return v
		}
	}
	return ""
}

// A group is what an OBX inherits from the segments before it.
type group struct {
	source   Source
	message  string // MSH-7
	request  string // OBR-7, else OBR-14 (Philips)
	training bool
}

// observe reads one OBX.
func (g group) observe(s hl7.Segment, r *Reading) {
	id := identifier(s)
	code, name, problem := id.term()
	if kind := g.notNumeric(s, id, code); kind != "" {
		r.consume(kind)
		return
	}
	if problem != "" {
		r.Problems = append(r.Problems, fmt.Sprintf("segment %d: %s", s.Index+1, problem))
	}
	unit := coded{s.Get("6.1"), s.Get("6.2"), strings.ToUpper(s.Get("6.3"))}
	o := record.Observation{
		Device: g.device(s), Unit: g.source.Unit,
		Code: code, MDC: name,
		UCUM: unit.unit(), RawUnit: s.Get("6.2"),
		Observed: g.observed(s),
	}
	if o.RawUnit == "" {
		o.RawUnit = unit.id
	}
	o.Value, o.State, o.Reason = judge(s.Get("5"))
	if s.Repetitions(5) > 1 {
		o.Value, o.State, o.Reason = "", record.Questionable, "the device sends more than one value"
	}
	g.status(s, &o)
	r.Observations = append(r.Observations, o)
}

// identifier is OBX-3, or its alternate where that is the one of the nomenclature.
func identifier(s hl7.Segment) coded {
	id := coded{s.Get("3.1"), s.Get("3.2"), strings.ToUpper(s.Get("3.3"))}
	if id.system != "MDC" && strings.EqualFold(s.Get("3.6"), "MDC") {
		return coded{s.Get("3.4"), s.Get("3.5"), "MDC"}
	}
	return id
}

// notNumeric names what an OBX is that is no numeric reading; empty: it is one.
func (g group) notNumeric(s hl7.Segment, id coded, code int) string {
	kind := strings.ToUpper(s.Get("2"))
	n := number(id.id, id.system)
	switch {
	case kind == "NA" || kind == "MA":
		return "waveform"
	case strings.HasPrefix(id.text, "MDC_ATTR_"), strings.HasPrefix(id.text, "MDC_DEV_"),
		id.system != "" && (partition(n) == partitionObject || partition(n) == partitionDevice):
		return "device attribute"
	case strings.Contains(id.system, "ALERT"), strings.HasPrefix(id.text, "MDC_EVT_"), id.system != "" && partition(n) == partitionEvent:
		return "alert"
	case kind == "NM":
		return ""
	case kind == "" && s.Get("5") == "": // a level of the containment tree, IHE PCD TF-2
		return "containment"
	case kind == "", kind == "ST", kind == "TX":
		// Text may say anything, the name of a patient too. It is a reading where
		// its code is one that we know.
		if _, ok := terms[code]; ok {
			return ""
		}
		return "text"
	}
	return "other value type"
}

// device is OBX-18, the equipment instance identifier: serial or EUI-64, model.
func (g group) device(s hl7.Segment) record.Device {
	d := g.source.Device
	if v := s.Get("18.1"); v != "" {
		d.Serial = v
	}
	if v := s.Get("18.2"); v != "" {
		d.Model = v
	}
	return d
}

// observed is OBX-14, else that of the OBR, else that of the message.
func (g group) observed(s hl7.Segment) record.Time {
	for _, text := range []string{s.Get("14.1"), g.request, g.message} {
		if text != "" {
			return hl7Time(text, g.source.Zone)
		}
	}
	return record.Time{}
}

// status lowers an observation by OBX-11, OBX-8 and MSH-11.
func (g group) status(s hl7.Segment, o *record.Observation) {
	if g.training {
		lower(o, record.Test, "the message is for training or debugging")
	}
	for i := range s.Repetitions(8) {
		if f, ok := flags[strings.ToUpper(s.Get(fmt.Sprintf("8[%d].1", i+1)))]; ok {
			lower(o, f.state, f.reason)
		}
	}
	switch status := strings.ToUpper(s.Get("11")); status {
	case "", "F", "R", "C", "P", "S", "U":
	case "X":
		lower(o, record.Unavailable, "the device cannot obtain it")
	case "D", "W":
		lower(o, record.Unavailable, "the device withdraws it")
	case "I", "N", "O":
		lower(o, record.Unavailable, "the device has no result yet")
	default:
		lower(o, record.Questionable, "its result status is not known")
	}
}

// flags are OBX-8 of IHE PCD TF-2: measurement status, and null flavours.
var flags = map[string]struct {
	state  record.Validity
	reason string
}{
	"INV":  {record.Unavailable, "the device calls it invalid"},
	"NAV":  {record.Unavailable, "the device calls it temporarily not available"},
	"NI":   {record.Unavailable, "the device has no information"},
	"NA":   {record.Unavailable, "the device calls it not applicable"},
	"OFF":  {record.Unavailable, "the measurement is switched off"},
	"MSK":  {record.Unavailable, "the device masks it"},
	"OTH":  {record.Unavailable, "the device calls it outside its domain"},
	"NAN":  {record.Unavailable, "the device calls it not a number"},
	"PINF": {record.Unavailable, "the device calls it positive infinity"},
	"NINF": {record.Unavailable, "the device calls it negative infinity"},
	"QUES": {record.Questionable, "the device doubts it"},
	"CAL":  {record.Questionable, "the device is calibrating"},
	"DEMO": {record.Test, "the device is in demonstration mode"},
	"TEST": {record.Test, "the device sends test data"},
}

// lower makes an observation worse, never better: unavailable is worse than test
// data, and that than doubtful. What is not valid has no value.
func lower(o *record.Observation, state record.Validity, reason string) {
	rank := map[record.Validity]int{record.Valid: 0, record.Questionable: 1, record.Test: 2, record.Unavailable: 3}
	if rank[state] > rank[o.State] {
		o.State, o.Reason, o.Value = state, reason, ""
	}
}
