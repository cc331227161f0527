package mapping

import (
	"strings"
	"time"

	"nhip/gateway/reason"
	"nhip/hl7"
)

// Check runs the tests of a map, and says which of them it does not pass, and why.
// Every message of a test is in UTF-8.
func (m *Map) Check(zone *time.Location) []Problem {
	var problems []Problem
	for i, t := range m.tests {
		if said, args := m.check(t, zone); said != (text{}) {
			problems = append(problems, Problem{Path: path("test", i), text: said, args: args})
		}
	}
	return problems
}

// Tests is how many tests the map has.
func (m *Map) Tests() int { return len(m.tests) }

// message is a message as a test has it: a segment a line.
func message(lines string) []byte {
	var b strings.Builder
	for line := range strings.Lines(lines) {
		if line = strings.TrimRight(line, "\r\n"); strings.TrimSpace(line) != "" {
			b.WriteString(strings.TrimLeft(line, " \t") + "\r")
		}
	}
	return []byte(b.String())
}

// testCharset reads the messages of tests, whatever their MSH-18 says.
var testCharset = hl7.CharsetRule{Force: "UNICODE UTF-8"}

// check says what is wrong with one test; nothing where it passes.
func (m *Map) check(t Test, zone *time.Location) (said text, args []any) {
	in := message(t.In)
	before, err := hl7.Parse(in)
	if err != nil {
		return textTestIn, []any{err}
	}
	received, err := time.ParseInLocation(day, t.Received, zone)
	if err != nil {
		received = time.Date(2026, 1, 1, 0, 0, 0, 0, zone)
	}
	r := m.Apply(in, testCharset, received)
	switch {
	case r.Held != nil && t.Holds != "" && r.Held.Rule == t.Holds, r.Dropped != nil && r.Dropped.Rule == t.Drops:
		return text{}, nil
	case r.Held != nil:
		return textTestHeld, []any{r.Held.Rule, r.Held.Why.In(reason.English)}
	case r.Dropped != nil:
		return textTestDropped, []any{r.Dropped.Rule}
	case t.Holds != "" || t.Drops != "":
		return textTestSent, nil
	}
	after, err := hl7.Parse(r.Body)
	if err != nil {
		return textTestIn, []any{err}
	}
	want := before
	if t.Out != "" {
		if want, err = hl7.Parse(message(t.Out)); err != nil {
			return textTestIn, []any{err}
		}
	}
	for _, x := range []*hl7.Message{after, want} {
		if err := x.UseCharset(testCharset); err != nil {
			return textTestIn, []any{err}
		}
	}
	if diff := Diff(want, after, 1); len(diff) > 0 {
		return textTestOut, []any{diff[0].At, diff[0].After, diff[0].Before}
	}
	return text{}, nil
}
