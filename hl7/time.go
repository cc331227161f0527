package hl7

import (
	"strings"
	"time"
)

// ParseTime reads a time stamp of HL7 (v2.5.1 section 2.A.77, and the data type
// TS before it) that has a time of day: YYYYMMDDHHMM[SS[.S…]][±ZZZZ]. One
// without a zone is in zone. ok is false for anything else.
func ParseTime(text string, zone *time.Location) (at time.Time, ok bool) {
	layout := "20060102150405"
	if i := strings.IndexAny(text, "+-"); i >= 0 {
		offset, err := time.Parse("-0700", text[i:])
		if err != nil {
			return time.Time{}, false
		}
		text, zone = text[:i], offset.Location()
	}
	if len(text) == len("200601021504") {
		layout = "200601021504"
	}
	at, err := time.ParseInLocation(layout, text, zone)
	return at, err == nil
}
