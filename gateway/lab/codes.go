package lab

import (
	"slices"
	"strings"
	"time"

	"nhip/gateway/codes"
	"nhip/gateway/record"
)

// ByCode takes an order's code for the analyser's own: nothing is translated. Codes are
// those that the profile declares; none: the site defines them, and every code is taken.
type ByCode struct{ Codes []string }

// Tests is Codes.
func (b ByCode) Tests(s record.Service, _ time.Time) []string {
	for _, code := range []string{s.Code.Code, s.Code.AltCode} {
		if code = strings.TrimSpace(code); code != "" && (len(b.Codes) == 0 || slices.Contains(b.Codes, code)) {
			return []string{code}
		}
	}
	return nil
}

// Answers is Codes.
func (b ByCode) Answers(code string, s record.Service, _ time.Time) bool {
	code = strings.TrimSpace(code)
	return code != "" && (code == strings.TrimSpace(s.Code.Code) || code == strings.TrimSpace(s.Code.AltCode))
}

// A Table is what the site says of its codes: Site, the table of the analyser, then
// Orders, the tests of an analyser by the code that is ordered ([[order_code]]). What
// neither has is as in Else: but for a code of the analyser that Site translates, which
// is another test at the LIS, and nothing where Site knows all codes (codes.Table.Strict).
type Table struct {
	Site   *codes.Table   // nil: there is none
	Zone   *time.Location // of the days of Site; nil: UTC
	Orders map[string][]string
	Else   Codes
}

// row is what the tables have of a service.
func (t Table) row(s record.Service, at time.Time) ([]string, bool) {
	both := []string{strings.TrimSpace(s.Code.Code), strings.TrimSpace(s.Code.AltCode)}
	for _, code := range both {
		if tests := t.Site.Tests(code, at, t.Zone); code != "" && len(tests) > 0 {
			return tests, true
		}
	}
	for _, code := range both {
		if tests, ok := t.Orders[code]; ok && code != "" {
			return tests, true
		}
	}
	return nil, t.Site.Strict()
}

// Tests is Codes.
func (t Table) Tests(s record.Service, at time.Time) []string {
	if tests, ok := t.row(s, at); ok {
		return tests
	}
	return slices.DeleteFunc(t.Else.Tests(s, at), t.Site.Has)
}

// Answers is Codes.
func (t Table) Answers(code string, s record.Service, at time.Time) bool {
	if tests, ok := t.row(s, at); ok {
		return slices.Contains(tests, strings.TrimSpace(code))
	}
	return !t.Site.Has(code) && t.Else.Answers(code, s, at)
}

// Live are codes that may be others from one moment to the next.
type Live func() Codes

// Tests is Codes.
func (l Live) Tests(s record.Service, at time.Time) []string { return l().Tests(s, at) }

// Answers is Codes.
func (l Live) Answers(code string, s record.Service, at time.Time) bool {
	return l().Answers(code, s, at)
}

// Pinned is the analyser with the codes of this moment: what is made in several steps is
// made with one version of them.
func (a Analyser) Pinned() Analyser {
	if l, ok := a.Codes.(Live); ok {
		a.Codes = l()
	}
	return a
}
