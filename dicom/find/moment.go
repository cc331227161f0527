package find

import (
	"time"

	"nhip/dicom"
)

// longestRange is the length of two DT values of 26 characters, a hyphen, and
// some spaces.
const longestRange = 64

// parseRange reads a key of DA, TM or DT, PS3.4 section C.2.2.2.5: a single value,
// "a-b", "a-" or "-b". A key covers what its precision covers: "-1030" ends before
// 10:31. The zone is that of a DT without an offset from UTC.
func parseRange(vr dicom.VR, key string, zone *time.Location) (dicom.Range, bool) {
	if len(key) > longestRange {
		return dicom.Range{}, false
	}
	if vr != dicom.DT {
		zone = time.UTC
	}
	r, err := dicom.ParseRange(vr, key, zone)
	return r, err == nil
}

// parseMoment reads a value of DA, TM or DT.
func parseMoment(vr dicom.VR, value string, zone *time.Location) (t dicom.DateTime, ok bool) {
	var err error
	switch vr {
	case dicom.DA:
		t, err = dicom.ParseDA(value, time.UTC)
	case dicom.TM:
		t, err = dicom.ParseTM(value)
	default:
		t, err = dicom.ParseDT(value, zone)
	}
	return t, err == nil
}

// combined makes one date-time interval of a range of dates and a range of
// times, which have to have the same form: PS3.4 section C.2.2.2.5, and section
// K.2.2.1.1 for the worklist. A single time stays a time of every day.
func combined(date, clock dicom.Range) (dicom.Range, bool) {
	same := date.From.IsZero() == clock.From.IsZero() && date.To.IsZero() == clock.To.IsZero()
	if !same || clock.From == clock.To {
		return dicom.Range{}, false
	}
	return dicom.Range{From: date.From.Joined(clock.From), To: date.To.Joined(clock.To)}, true
}
