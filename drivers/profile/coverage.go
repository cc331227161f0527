package profile

import (
	"fmt"
	"time"
)

// A Coverage records which statements of a profile messages have shown, so that a
// profile collects no guesses.
type Coverage struct {
	p     *Profile
	shown map[any]bool // pointers to the profile's rules, patterns, meanings and tests
}

// NewCoverage begins with nothing shown.
func (p *Profile) NewCoverage() *Coverage {
	return &Coverage{p: p, shown: make(map[any]bool)}
}

// ExtractShowing is Extract that records in c what the message shows.
func (p *Profile) ExtractShowing(message []byte, zone *time.Location, c *Coverage) (Extraction, error) {
	return p.extract(message, zone, c)
}

// show records a statement; without a Coverage it does nothing.
func (c *Coverage) show(statement any) {
	if c != nil {
		c.shown[statement] = true
	}
}

// Missing names the statements that nothing has shown yet.
func (c *Coverage) Missing() []string {
	var missing []string
	note := func(statement any, format string, args ...any) {
		if !c.shown[statement] {
			missing = append(missing, fmt.Sprintf(format, args...))
		}
	}
	f := &c.p.f
	for i := range f.Tests {
		note(&f.Tests[i], "test %q", f.Tests[i].Code)
	}
	if f.OrderResult != nil {
		note(f.OrderResult, "[order_result]")
	}
	for _, table := range []struct {
		name  string
		rules []rule
	}{{"control", f.Control}, {"calibration", f.Calibration}, {"failure", f.Failure}, {"unread", f.Unread}} {
		for i := range table.rules {
			note(&table.rules[i], "[[%s]] number %d", table.name, i+1)
		}
	}
	for _, table := range []struct {
		name  string
		codes []codes
	}{{"ignore", f.Ignore}, {"comment", f.Comment}} {
		for i := range table.codes {
			note(&table.codes[i], "[[%s]] number %d, %q", table.name, i+1, table.codes[i].Code)
		}
	}
	for i := range f.Remark {
		note(&f.Remark[i], "[[remark]] %q", f.Remark[i].Matches)
	}
	for i := range f.Variant {
		note(&f.Variant[i], "[[variant]] %q", f.Variant[i].Is)
	}
	for i := range f.Mark {
		note(&f.Mark[i], "[[mark]] %q", f.Mark[i].Is)
	}
	for i := range f.Value {
		note(&f.Value[i], "[[value]] %q", f.Value[i].Matches)
	}
	for _, table := range []struct {
		name     string
		meanings []meaning
	}{{"status", f.Status}, {"flag", f.Flag}, {"specimen_type", f.SpecimenType}, {"unit", f.Unit}} {
		for i := range table.meanings {
			note(&table.meanings[i], "[[%s]] %q", table.name, table.meanings[i].Is)
		}
	}
	return missing
}
