package dicom

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Precision is the smallest unit that a date or a time names.
type Precision uint8

// The precisions of DT and TM, PS3.5 section 6.2.
const (
	Year Precision = iota + 1
	Month
	Day
	Hour
	Minute
	Second
	Fraction
)

// A DateTime is a value of VR DA, TM or DT. The zero DateTime is none.
type DateTime struct {
	Time      time.Time // its beginning; of a TM on the first day of the year 1
	Precision Precision
	Digits    int  // of the fraction
	Zone      bool // the value names its offset from UTC
}

// IsZero reports whether there is none.
func (t DateTime) IsZero() bool { return t.Precision == 0 }

// End returns the first instant that does not belong to it any more.
func (t DateTime) End() time.Time {
	switch t.Precision {
	case Year:
		return t.Time.AddDate(1, 0, 0)
	case Month:
		return t.Time.AddDate(0, 1, 0)
	case Day:
		return t.Time.AddDate(0, 0, 1)
	case Hour:
		return t.Time.Add(time.Hour)
	case Minute:
		return t.Time.Add(time.Minute)
	case Second:
		return t.Time.Add(time.Second)
	}
	step := time.Second
	for range t.Digits {
		step /= 10
	}
	return t.Time.Add(step)
}

// Joined returns the instant of a DA and a TM, of a DA alone its day.
func (t DateTime) Joined(tm DateTime) DateTime {
	if tm.IsZero() || t.Precision != Day {
		return t
	}
	y, m, d := t.Time.Date()
	c := tm.Time
	tm.Time = time.Date(y, m, d, c.Hour(), c.Minute(), c.Second(), c.Nanosecond(), t.Time.Location())
	return tm
}

// String returns it as a value of its VR, in its precision.
func (t DateTime) String() string {
	var s string
	timeOnly := t.Precision >= Hour && t.Time.Year() == 1
	if !timeOnly {
		s = t.Time.Format("20060102")[:[]int{0, 4, 6, 8, 8, 8, 8, 8}[t.Precision]]
	}
	if t.Precision >= Hour {
		s += t.Time.Format("150405")[:[]int{0, 0, 0, 0, 2, 4, 6, 6}[t.Precision]]
	}
	if t.Precision == Fraction {
		s += t.Time.Format(".000000")[:1+t.Digits]
	}
	if t.Zone {
		s += t.Time.Format("-0700")
	}
	return s
}

// ParseDA reads a date: YYYYMMDD, or YYYY.MM.DD as ACR-NEMA had it.
func ParseDA(s string, loc *time.Location) (DateTime, error) {
	s = strings.Trim(s, " \x00")
	if len(s) == 10 && s[4] == '.' && s[7] == '.' {
		s = s[:4] + s[5:7] + s[8:]
	}
	if len(s) != 8 {
		return DateTime{}, errNoValue(DA)
	}
	return parseDigits(s, loc, DA)
}

// ParseTM reads a time: HHMMSS.FFFFFF, of which HH must be there, or HH:MM:SS as
// ACR-NEMA had it. A second of 60, a leap second, is read as 59.
func ParseTM(s string) (DateTime, error) {
	s = strings.ReplaceAll(strings.Trim(s, " \x00"), ":", "")
	return parseDigits("00010101"+s, time.UTC, TM)
}

// ParseDT reads a date time: YYYYMMDDHHMMSS.FFFFFF&ZZXX, of which YYYY must be
// there. The location is that of a value that names no offset from UTC.
func ParseDT(s string, loc *time.Location) (DateTime, error) {
	s = strings.Trim(s, " \x00")
	i := strings.LastIndexAny(s, "+-")
	if i < 0 {
		return parseDigits(s, loc, DT)
	}
	zone, err := strconv.ParseInt(s[i:], 10, 32)
	hours, minutes := zone/100, zone%100
	if err != nil || len(s)-i != 5 || hours < -12 || hours > 14 || minutes <= -60 || minutes >= 60 {
		return DateTime{}, errNoValue(DT)
	}
	t, err := parseDigits(s[:i], time.FixedZone("", int(hours*3600+minutes*60)), DT)
	t.Zone = true
	return t, err
}

func errNoValue(vr VR) error { return fmt.Errorf("dicom: this is no value of VR %v", vr) }

// parseDigits reads a date and a time, cut anywhere between two units.
func parseDigits(s string, loc *time.Location, vr VR) (DateTime, error) {
	whole, fraction, dotted := strings.Cut(s, ".")
	precision := map[int]Precision{4: Year, 6: Month, 8: Day, 10: Hour, 12: Minute, 14: Second}[len(whole)]
	if precision == 0 || vr == TM && precision < Hour || dotted && (precision != Second || len(fraction) == 0 || len(fraction) > 6) {
		return DateTime{}, errNoValue(vr)
	}
	if whole[len(whole)-2:] == "60" && precision == Second {
		whole = whole[:12] + "59"
	}
	t, err := time.ParseInLocation("20060102150405"[:len(whole)], whole, loc)
	if err != nil {
		return DateTime{}, errNoValue(vr)
	}
	d := DateTime{Time: t, Precision: precision}
	if dotted {
		n, err := strconv.ParseUint(fraction, 10, 32)
		if err != nil {
			return DateTime{}, errNoValue(vr)
		}
		d.Precision, d.Digits = Fraction, len(fraction)
		for range 9 - len(fraction) {
			n *= 10
		}
		d.Time = t.Add(time.Duration(n))
	}
	return d, nil
}

// A Range is a range of dates or times as a key for matching has it, PS3.4 section
// C.2.2.2.5. One end may be open: zero.
type Range struct{ From, To DateTime }

// Contains reports whether an instant lies in the range, whose end belongs to it in
// the precision that it is written in.
func (r Range) Contains(t time.Time) bool {
	return (r.From.IsZero() || !t.Before(r.From.Time)) && (r.To.IsZero() || t.Before(r.To.End()))
}

// ParseRange reads a key of VR DA, TM or DT: "A-B", "A-", "-B", or one value, which
// is its own beginning and end.
func ParseRange(vr VR, s string, loc *time.Location) (Range, error) {
	parse := func(s string) (DateTime, error) {
		switch vr {
		case DA:
			return ParseDA(s, loc)
		case TM:
			return ParseTM(s)
		case DT:
			return ParseDT(s, loc)
		}
		return DateTime{}, fmt.Errorf("dicom: VR %v has no ranges", vr)
	}
	s = strings.Trim(s, " \x00")
	if one, err := parse(s); err == nil {
		return Range{one, one}, nil
	}
	// The hyphen of a DT may be the sign of an offset: what can be read counts.
	for i, c := range s {
		if c != '-' {
			continue
		}
		var r Range
		var err1, err2 error
		if from := strings.TrimSpace(s[:i]); from != "" {
			r.From, err1 = parse(from)
		}
		if to := strings.TrimSpace(s[i+1:]); to != "" {
			r.To, err2 = parse(to)
		}
		if err1 == nil && err2 == nil && !(r.From.IsZero() && r.To.IsZero()) {
			return r, nil
		}
	}
	return Range{}, errNoValue(vr)
}

// DateTimes returns the values of VR DA, TM and DT; the location is that of values
// that name no offset from UTC. One that cannot be read is an error.
func (e Element) DateTimes(loc *time.Location) ([]DateTime, error) {
	var list []DateTime
	for _, s := range e.Texts() {
		var t DateTime
		err := fmt.Errorf("dicom: %v has VR %v, which is no date or time", e.Tag, e.VR)
		switch e.VR {
		case DA:
			t, err = ParseDA(s, loc)
		case TM:
			t, err = ParseTM(s)
		case DT:
			t, err = ParseDT(s, loc)
		}
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, nil
}

// ParseAS reads an age: a number of days, weeks, months or years, D, W, M or Y.
func ParseAS(s string) (n int, unit byte, err error) {
	s = strings.Trim(s, " \x00")
	if len(s) != 4 || !strings.Contains("DWMY", s[3:]) || strings.Trim(s[:3], "0123456789") != "" {
		return 0, 0, errNoValue(AS)
	}
	n, err = strconv.Atoi(s[:3])
	return n, s[3], err
}
