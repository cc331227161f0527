package lab

import (
	"slices"
	"strings"
	"time"

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

// A Table is what the site says of its codes: the tests of an analyser by the code that
// is ordered. What it does not have is as in Else.
type Table struct {
	Orders map[string][]string
	Else   Codes
}

// row is what the table has of a service.
func (t Table) row(s record.Service) ([]string, bool) {
	for _, code := range []string{s.Code.Code, s.Code.AltCode} {
		if tests, ok := t.Orders[strings.TrimSpace(code)]; ok && code != "" {
			return tests, true
		}
	}
	return nil, false
}

// Tests is Codes.
func (t Table) Tests(s record.Service, at time.Time) []string {
	if tests, ok := t.row(s); ok {
		return tests
	}
	return t.Else.Tests(s, at)
}

// Answers is Codes.
func (t Table) Answers(code string, s record.Service, at time.Time) bool {
	if tests, ok := t.row(s); ok {
		return slices.Contains(tests, strings.TrimSpace(code))
	}
	return t.Else.Answers(code, s, at)
}
