package find

import (
	"slices"
	"strings"
	"time"

	"nhip/dicom"
	"nhip/dicom/tag"
)

// Matching says how keys are matched. The zero Matching is the standard's
// baseline: PS3.4 section C.2.2.2.
type Matching struct {
	// IgnoreAccents finds "Nguyễn" by NGUYEN in person names.
	IgnoreAccents bool
	// Combined matches a range of dates and a range of times that belong together
	// as one interval; the worklist does so, a query where it was negotiated.
	Combined bool
	// Zone is the time zone of a DT without an offset, where its data set does not
	// say one: nil is UTC.
	Zone *time.Location
	// Supported says whether an attribute is matched; path ends with it and begins
	// with the sequences around it. nil: all are. Keys that are not supported match
	// everything, and the answer says so, FF01H.
	Supported func(path []tag.Tag) bool
}

// pairs are the dates and times that belong together.
var pairs = map[tag.Tag]tag.Tag{
	tag.StudyDate:                       tag.StudyTime,
	tag.SeriesDate:                      tag.SeriesTime,
	tag.AcquisitionDate:                 tag.AcquisitionTime,
	tag.ContentDate:                     tag.ContentTime,
	tag.ScheduledProcedureStepStartDate: tag.ScheduledProcedureStepStartTime,
	tag.ScheduledProcedureStepEndDate:   tag.ScheduledProcedureStepEndTime,
	tag.PerformedProcedureStepStartDate: tag.PerformedProcedureStepStartTime,
	tag.PerformedProcedureStepEndDate:   tag.PerformedProcedureStepEndTime,
}

// Match reports whether an entity matches all keys: what an SCP has a data set
// for. Items of sequences are matched as data sets of their own, PS3.4 section
// C.2.2.2.6.
func (m Matching) Match(keys, entity *dicom.Dataset) bool {
	return m.match(keys, entity, nil)
}

func (m Matching) match(keys, entity *dicom.Dataset, path []tag.Tag) bool {
	joined := map[tag.Tag]bool{}
	if m.Combined {
		for date, clock := range pairs {
			r, ok := pair(keys, date, clock)
			if !ok || !m.supports(append(path, date)) || !m.supports(append(path, clock)) {
				continue
			}
			joined[date], joined[clock] = true, true
			d, hasDate := parseMoment(dicom.DA, firstText(entity, date), time.UTC)
			t, hasTime := parseMoment(dicom.TM, firstText(entity, clock), time.UTC)
			if !hasDate || !hasTime || !r.Contains(d.Joined(t).Time) {
				return false
			}
		}
	}
	for key := range keys.All() {
		if joined[key.Tag] || !matched(key.Tag) || !m.supports(append(path, key.Tag)) {
			continue
		}
		if key.VR == dicom.SQ {
			if !m.sequence(keys.Items(key.Tag), entity.Items(key.Tag), append(path, key.Tag)) {
				return false
			}
			continue
		}
		if !m.values(key, keys, entity) {
			return false
		}
	}
	return true
}

// matched reports whether an attribute of an identifier is a key at all, PS3.4
// sections C.2.2.2 and C.4.1.1.3.
func matched(t tag.Tag) bool {
	switch t {
	case tag.SpecificCharacterSet, tag.QueryRetrieveLevel, tag.QueryRetrieveView, tag.RetrieveAETitle, tag.InstanceAvailability, tag.TimezoneOffsetFromUTC:
		return false
	}
	return t&0xFFFF != 0 && !t.Private()
}

func (m Matching) supports(path []tag.Tag) bool { return m.Supported == nil || m.Supported(path) }

// sequence matches a sequence: one of the entity's items has to match the item
// of keys. Keys without an item, or with an empty one, match everything.
func (m Matching) sequence(keys, items []*dicom.Dataset, path []tag.Tag) bool {
	if len(keys) == 0 || m.universal(keys[0], path) {
		return true
	}
	return slices.ContainsFunc(items, func(item *dicom.Dataset) bool { return m.match(keys[0], item, path) })
}

// universal reports whether keys match everything, the absent item too.
func (m Matching) universal(keys *dicom.Dataset, path []tag.Tag) bool {
	return m.match(keys, dicom.NewDataset(), path)
}

// values matches one attribute; any of the entity's values may match any of the
// key's.
func (m Matching) values(key dicom.Element, keys, entity *dicom.Dataset) bool {
	match, ok := m.matcher(key.VR, keys, entity)
	if !ok {
		return true
	}
	wanted := texts(keys, key)
	if !slices.ContainsFunc(wanted, func(s string) bool { return s != "" }) {
		return true
	}
	if len(wanted) == 1 && universal(wanted[0]) {
		return true
	}
	e, ok := entity.Find(key.Tag)
	if !ok {
		return false
	}
	have := texts(entity, e)
	return slices.ContainsFunc(wanted, func(k string) bool {
		return k != "" && slices.ContainsFunc(have, func(v string) bool { return v != "" && match(k, v) })
	})
}

// matcher returns how values of a VR are matched; false where they are not: OB
// and its like.
func (m Matching) matcher(vr dicom.VR, keys, entity *dicom.Dataset) (func(key, value string) bool, bool) {
	exact := func(key, value string) bool { return key == value }
	moment := func(key, value string) bool {
		r, ok := parseRange(vr, key, m.zone(keys))
		v, is := parseMoment(vr, value, m.zone(entity))
		return ok && is && r.Contains(v.Time)
	}
	switch vr {
	case dicom.AE, dicom.CS, dicom.LO, dicom.LT, dicom.SH, dicom.ST, dicom.UC, dicom.UR, dicom.UT:
		return wildcard, true
	case dicom.PN:
		return func(key, value string) bool { return person(key, value, m.IgnoreAccents) }, true
	case dicom.UI, dicom.AS, dicom.AT:
		return exact, true
	case dicom.DA, dicom.TM, dicom.DT:
		return moment, true
	case dicom.DS, dicom.IS, dicom.FD, dicom.FL, dicom.SL, dicom.SS, dicom.SV, dicom.UL, dicom.US, dicom.UV:
		return number, true
	}
	return nil, false
}

// zone is the time zone of a data set, PS3.3 section C.12.1.1.8.
func (m Matching) zone(d *dicom.Dataset) *time.Location {
	if t, err := dicom.ParseDT("2000"+d.Text(tag.TimezoneOffsetFromUTC), time.UTC); err == nil && t.Zone {
		return t.Time.Location()
	}
	if m.Zone != nil {
		return m.Zone
	}
	return time.UTC
}

// pair returns the interval of a range of dates and a range of times.
func pair(keys *dicom.Dataset, date, clock tag.Tag) (dicom.Range, bool) {
	d, ok := parseRange(dicom.DA, firstText(keys, date), time.UTC)
	if !ok {
		return dicom.Range{}, false
	}
	t, ok := parseRange(dicom.TM, firstText(keys, clock), time.UTC)
	if !ok {
		return dicom.Range{}, false
	}
	return combined(d, t)
}

func firstText(d *dicom.Dataset, t tag.Tag) string {
	for _, s := range d.Texts(t) {
		return strings.TrimSpace(s)
	}
	return ""
}

// texts returns the values of an element without padding.
func texts(d *dicom.Dataset, e dicom.Element) []string {
	values := slices.Clone(d.Texts(e.Tag))
	for i, v := range values {
		values[i] = strings.Trim(v, " \x00\r\n\t")
	}
	return values
}

// check returns the first key of a date or time that is none, which an SCP
// refuses rather than to match nothing.
func check(keys *dicom.Dataset) (tag.Tag, bool) {
	for key := range keys.All() {
		switch key.VR {
		case dicom.DA, dicom.TM, dicom.DT:
		case dicom.SQ:
			for _, item := range keys.Items(key.Tag) {
				if t, ok := check(item); !ok {
					return t, false
				}
			}
			continue
		default:
			continue
		}
		for _, v := range texts(keys, key) {
			if universal(v) {
				continue
			}
			if _, ok := parseRange(key.VR, v, time.UTC); !ok {
				return key.Tag, false
			}
		}
	}
	return 0, true
}
