package monitor

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"nhip/gateway/record"
)

// An oximeter's line becomes observations by the columns of a table.
type quantity struct {
	code int
	name string // where there is no code
	ucum string
	unit string // as the device writes it
	max  int    // a number over it cannot be; 0: no bound
}

var (
	saturation = quantity{code: codeSaturation, ucum: "%", unit: "%", max: 100}
	pulse      = quantity{code: codePulse, ucum: "/min", unit: "BPM", max: 511}
)

// observation is one column of a line; ok is false where the text cannot be what
// the column is for.
func (q quantity) observation(s Source, text string, at record.Time) (o record.Observation, ok bool) {
	o = record.Observation{Device: s.Device, Unit: s.Unit, Code: q.code, MDC: terms[q.code], UCUM: q.ucum, RawUnit: q.unit, Observed: at}
	if q.code == 0 {
		o.MDC = q.name
	}
	o.Value, o.State, o.Reason = judge(text)
	if o.State == record.Questionable {
		return o, false
	}
	if o.State == record.Valid && q.max > 0 {
		v, err := strconv.ParseFloat(o.Value, 64)
		if err != nil || v < 0 || v > float64(q.max) {
			return o, false
		}
		if v == 0 {
			lower(&o, record.Unavailable, "the device sends its sign for no value")
		}
	}
	return o, true
}

// column is a quantity and the text that stands in its place.
type column struct {
	quantity
	text string
}

// reading is a line of columns, all of which must be readable.
func reading(s Source, at record.Time, columns ...column) (Reading, LineKind) {
	var r Reading
	for _, c := range columns {
		o, ok := c.observation(s, c.text, at)
		if !ok {
			return Reading{}, LineUnreadable
		}
		r.Observations = append(r.Observations, o)
	}
	return r, LineReading
}

var (
	masimoStart = regexp.MustCompile(`^(\d\d/\d\d/\d\d \d\d:\d\d:\d\d)((?: +[A-Z0-9]+=[^ ]*)+) *$`)
	masimoField = regexp.MustCompile(`([A-Z0-9]+)=([^ ]*)`)
	masimoValue = regexp.MustCompile(`^(\d{3}|-+)$`) // of SPO2 and BPM: a digit that was lost shows
)

// masimoColumns are the fields of ASCII 1 in the order in which they are
// published. The others (SN, DESAT, PIDELTA, ALARM, EXC) are no readings.
var masimoColumns = []struct {
	field   string
	percent bool
	quantity
}{
	{"SPO2", true, saturation},
	{"BPM", false, pulse},
	{"PI", true, quantity{code: codePerfusion, ucum: "%", unit: "%"}},
	{"SPCO", true, quantity{name: "SPCO", ucum: "%", unit: "%"}},
	{"SPMET", true, quantity{name: "SPMET", ucum: "%", unit: "%"}},
	{"PVI", false, quantity{name: "PVI"}},
}

// parseMasimo reads a line of Masimo ASCII 1:
// MM/dd/yy HH:mm:ss SN=… SPO2=098% BPM=072 PI=…% SPCO=…% …
func parseMasimo(text string, s Source) (Reading, LineKind) {
	m := masimoStart.FindStringSubmatch(text)
	if m == nil {
		return Reading{}, LineUnreadable
	}
	fields := map[string]string{}
	for _, f := range masimoField.FindAllStringSubmatch(m[2], -1) {
		if _, twice := fields[f[1]]; twice {
			return Reading{}, LineUnreadable // two lines that lost what was between them
		}
		fields[f[1]] = f[2]
	}
	if serial := fields["SN"]; strings.Trim(serial, "-0") != "" {
		s.Device.Serial = serial
	}
	var columns []column
	for _, c := range masimoColumns {
		value, ok := fields[c.field]
		if !ok && (c.field == "SPO2" || c.field == "BPM") {
			return Reading{}, LineUnreadable
		}
		if !ok {
			continue // a model without that measurement
		}
		if c.percent {
			if value, ok = strings.CutSuffix(value, "%"); !ok {
				return Reading{}, LineUnreadable
			}
		}
		if c.max > 0 && !masimoValue.MatchString(value) {
			return Reading{}, LineUnreadable
		}
		columns = append(columns, column{c.quantity, value})
	}
	return reading(s, localTime("01/02/06 15:04:05", m[1], s.Zone), columns...)
}

var (
	nellcorLine   = regexp.MustCompile(`^ *(\d\d-[A-Za-z]{3}-\d\d \d\d:\d\d:\d\d) +(\d{1,3}\*?|-{2,3}) +(\d{1,3}\*?|-{2,3}) +(\d{1,3}\*?|-{2,3})((?: +[A-Z]{2})*) *$`)
	nellcorHeader = regexp.MustCompile(`VERSION|^ *TIME +%|SAT-S|Limit:|Interactive Mode|^ *\d\) |Command\?`)
)

// nellcorStatus are the status codes that say something about the numbers beside
// them; the others are alarms and the battery.
var nellcorStatus = map[string]struct {
	state  record.Validity
	reason string
}{
	"SD": {record.Unavailable, "the sensor is disconnected"},
	"SO": {record.Unavailable, "the sensor is off the patient"},
	"LP": {record.Unavailable, "the pulse is lost"},
	"LM": {record.Unavailable, "the pulse is lost in interference"},
	"PS": {record.Questionable, "the device is searching the pulse"},
	"MO": {record.Questionable, "the device detects interference"},
}

// parseNellcor reads a line of an N-595:
// dd-MMM-yy HH:mm:ss  %SpO2  BPM  PA  Status. A * beside a number is an alarm.
func parseNellcor(text string, s Source) (Reading, LineKind) {
	m := nellcorLine.FindStringSubmatch(text)
	if m == nil {
		if nellcorHeader.MatchString(text) {
			return Reading{}, LineHeader
		}
		return Reading{}, LineUnreadable
	}
	at := localTime("02-Jan-06 15:04:05", m[1], s.Zone)
	r, kind := reading(s, at,
		column{saturation, strings.TrimSuffix(m[2], "*")},
		column{pulse, strings.TrimSuffix(m[3], "*")},
		column{quantity{name: "PA"}, strings.TrimSuffix(m[4], "*")})
	for _, code := range strings.Fields(m[5]) {
		if status, ok := nellcorStatus[code]; ok {
			for i := range r.Observations {
				lower(&r.Observations[i], status.state, status.reason)
			}
		}
	}
	return r, kind
}

var (
	noninLine   = regexp.MustCompile(`^ *(?:\d\d:\d\d:\d\d +)?SPO2=( {0,2}\d{1,3}|---) +HR=( {0,2}\d{1,3}|---) *[FB]?[ *]*$`)
	noninHeader = regexp.MustCompile(`(?i)nonin|avant|format|time|date`)
)

// parseNonin reads SPO2=XXX HR=YYY. A time of day without a date is not used.
func parseNonin(text string, s Source) (Reading, LineKind) {
	m := noninLine.FindStringSubmatch(text)
	if m == nil {
		if noninHeader.MatchString(text) {
			return Reading{}, LineHeader
		}
		return Reading{}, LineUnreadable
	}
	if len(m[1]) != 3 || len(m[2]) != 3 { // a digit was lost
		return Reading{}, LineUnreadable
	}
	return reading(s, record.Time{}, column{saturation, m[1]}, column{pulse, m[2]})
}

// localTime reads a time by layout in zone. Two digit years are of this century.
func localTime(layout, text string, zone *time.Location) record.Time {
	t := record.Time{Text: text}
	if at, err := time.ParseInLocation(layout, text, zone); err == nil {
		if at.Year() < 2000 {
			at = at.AddDate(100, 0, 0)
		}
		t.At = at
	}
	return t
}
