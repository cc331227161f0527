package monitor

import (
	"strings"
	"time"

	"nhip/gateway/record"
)

// hl7Time reads an HL7 time stamp (HL7 v2.6 section 2.A.22) as monitors write it:
// YYYYMMDDHHMM[SS[.f…]][±ZZZZ], and milliseconds without the point. A time
// without a zone is in zone. What cannot be read, or has no time of day, is text
// only.
func hl7Time(text string, zone *time.Location) record.Time {
	t := record.Time{Text: text}
	digits, offset := text, ""
	if i := strings.IndexAny(text, "+-"); i >= 0 {
		digits, offset = text[:i], text[i:]
	}
	whole, fraction, point := strings.Cut(digits, ".")
	if len(whole) == 17 && !point { // milliseconds glued on
		whole, fraction = whole[:14], whole[14:]
	}
	layout := "20060102150405"
	switch len(whole) {
	case 12:
		layout = "200601021504"
	case 14:
	default:
		return t
	}
	if len(fraction) > 9 || !isDigits(fraction) || point && fraction == "" {
		return t
	}
	if fraction != "" {
		layout += "." + strings.Repeat("0", len(fraction))
		whole += "." + fraction
	}
	if offset != "" {
		layout, whole = layout+"-0700", whole+offset
	}
	if at, err := time.ParseInLocation(layout, whole, zone); err == nil {
		t.At = at
	}
	return t
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
