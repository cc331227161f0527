package find

import (
	"strconv"
	"strings"
	"time"
)

// A span is the time that a DA, TM or DT value covers by its precision: the DT
// value 2026 is a year long. It ends before to.
type span struct{ from, to time.Time }

// A parser reads a DA, TM or DT value.
type parser func(s string, zone *time.Location) (span, bool)

// parseDate reads a DA value, also in the form YYYY.MM.DD that preceded DICOM.
func parseDate(s string, zone *time.Location) (span, bool) {
	if len(s) == 10 && s[4] == '.' && s[7] == '.' {
		s = s[:4] + s[5:7] + s[8:]
	}
	if len(s) != 8 {
		return span{}, false
	}
	return parseDateTime(s, zone)
}

// parseTime reads a TM value, also in the form HH:MM:SS that preceded DICOM.
func parseTime(s string, zone *time.Location) (span, bool) {
	if len(s) > 5 && s[2] == ':' && s[5] == ':' {
		s = s[:2] + s[3:5] + s[6:]
	} else if len(s) == 5 && s[2] == ':' {
		s = s[:2] + s[3:]
	}
	if len(s) < 2 || strings.ContainsAny(s, "+-") {
		return span{}, false // no offset from UTC in TM, PS3.4 section C.2.2.2.5.2
	}
	return parseDateTime("20000101"+s, zone)
}

// parseDateTime reads a DT value, PS3.5 section 6.2: YYYYMMDDHHMMSS.FFFFFF&ZZXX
// with components left out from the right. A leap second is the next minute.
func parseDateTime(s string, zone *time.Location) (span, bool) {
	s, zone, ok := cutOffset(s, zone)
	if !ok {
		return span{}, false
	}
	whole, fraction, dotted := strings.Cut(s, ".")
	if dotted && (len(whole) != 14 || len(fraction) == 0 || len(fraction) > 6) {
		return span{}, false
	}
	if len(whole) < 4 || len(whole) > 14 || len(whole)%2 == 1 {
		return span{}, false
	}
	part := [6]int{0, 1, 1, 0, 0, 0}
	highest := [6]int{9999, 12, 31, 23, 59, 60}
	n := 0
	for at := 0; at < len(whole); n++ {
		end := at + 2
		if n == 0 {
			end = 4
		}
		v, ok := digits(whole[at:end])
		if !ok || v > highest[n] || n > 0 && n < 3 && v == 0 {
			return span{}, false
		}
		part[n], at = v, end
	}
	nanos, unit := 0, time.Second
	if dotted {
		v, ok := digits(fraction)
		if !ok {
			return span{}, false
		}
		for range 9 - len(fraction) {
			v *= 10
		}
		nanos, unit = v, 1
		for range 9 - len(fraction) {
			unit *= 10
		}
	}
	from := time.Date(part[0], time.Month(part[1]), part[2], part[3], part[4], part[5], nanos, zone)
	if n >= 3 && time.Date(part[0], time.Month(part[1]), part[2], 0, 0, 0, 0, zone).Day() != part[2] {
		return span{}, false // 30 February
	}
	switch n {
	case 1:
		return span{from, from.AddDate(1, 0, 0)}, true
	case 2:
		return span{from, from.AddDate(0, 1, 0)}, true
	case 3:
		return span{from, from.AddDate(0, 0, 1)}, true
	case 4:
		unit = time.Hour
	case 5:
		unit = time.Minute
	}
	return span{from, from.Add(unit)}, true
}

// cutOffset takes the offset from UTC off a DT value: -1200 to +1400.
func cutOffset(s string, zone *time.Location) (string, *time.Location, bool) {
	at := strings.LastIndexAny(s, "+-")
	if at < 0 {
		return s, zone, true
	}
	if len(s) != at+5 {
		return s, zone, false
	}
	h, ok := digits(s[at+1 : at+3])
	m, ok2 := digits(s[at+3:])
	if !ok || !ok2 || m > 59 || s[at] == '-' && h*60+m > 12*60 || h*60+m > 14*60 {
		return s, zone, false
	}
	seconds := (h*60 + m) * 60
	if s[at] == '-' {
		seconds = -seconds
	}
	return s[:at], time.FixedZone("", seconds), true
}

func digits(s string) (int, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

// A timeRange is a key of DA, TM or DT, PS3.4 section C.2.2.2.5: a single value,
// "a-b", "a-" or "-b", both ends included. A key covers what its precision
// covers: "-1030" ends before 10:31.
type timeRange struct {
	from, to string // "": open
	single   bool
}

// longestRange is the length of two DT values of 26 characters, a hyphen, and
// some spaces.
const longestRange = 64

// parseRange splits a key of DA, TM or DT. In DT a hyphen may also be the sign
// of an offset from UTC: it is one where the value is a DT with it.
func parseRange(key string, parse parser) (timeRange, bool) {
	valid := func(s string) bool {
		_, ok := parse(s, time.UTC)
		return ok
	}
	if len(key) > longestRange {
		return timeRange{}, false
	}
	if valid(key) {
		return timeRange{key, key, true}, true
	}
	for at := range len(key) {
		if key[at] != '-' {
			continue
		}
		from, to := strings.TrimSpace(key[:at]), strings.TrimSpace(key[at+1:])
		if (from == "" || valid(from)) && (to == "" || valid(to)) && from+to != "" {
			return timeRange{from: from, to: to}, true
		}
	}
	return timeRange{}, false
}

// holds reports whether the value begins in the range. zone is of values
// without an offset: the key's and the value's.
func (r timeRange) holds(value string, parse parser, keyZone, valueZone *time.Location) bool {
	v, ok := parse(value, valueZone)
	if !ok {
		return false
	}
	if r.from != "" {
		if from, _ := parse(r.from, keyZone); v.from.Before(from.from) {
			return false
		}
	}
	if r.to != "" {
		if to, _ := parse(r.to, keyZone); !v.from.Before(to.to) {
			return false
		}
	}
	return true
}

// combined makes one date-time interval of a range of dates and a range of
// times, which have to have the same form: PS3.4 section C.2.2.2.5, and section
// K.2.2.1.1 for the worklist.
func combined(date, clock timeRange) (timeRange, bool) {
	if date.single || clock.single || (date.from == "") != (clock.from == "") || (date.to == "") != (clock.to == "") {
		return timeRange{}, false
	}
	join := func(d, t string) string {
		if d == "" {
			return ""
		}
		return strings.ReplaceAll(d, ".", "") + strings.ReplaceAll(t, ":", "")
	}
	return timeRange{from: join(date.from, clock.from), to: join(date.to, clock.to)}, true
}
