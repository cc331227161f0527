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
