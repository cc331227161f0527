package find

import (
	"testing"
	"time"

	"nhip/dicom"
	"nhip/dicom/dimse"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// Any key against any value: no panic, and a key that is the value matches.
func FuzzValue(f *testing.F) {
	for _, s := range []string{"", "*", "a*b?c", "Nguyễn^Thị=x=y", "20260101-20260131", "-1030", "2026-0500-2027", "20260230", "1.2.3", "\xff*\xfe", "1e400"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		if len(key) > 512 || len(value) > 512 {
			return
		}
		wildcard(key, value)
		if !wildcard(value, value) {
			t.Errorf("%q does not match itself", value)
		}
		person(key, value, false)
		person(key, value, true)
		number(key, value)
		for _, vr := range []dicom.VR{dicom.DA, dicom.TM, dicom.DT} {
			r, ok := parseRange(vr, key, time.UTC)
			if m, is := parseMoment(vr, key, time.UTC); ok && is && !r.Contains(m.Time) {
				t.Errorf("%q is not in itself", key)
			}
			if m, is := parseMoment(vr, value, time.UTC); is {
				r.Contains(m.Time)
			}
		}
	})
}

// Any identifier against any entity: no panic, universal keys match.
func FuzzIdentifier(f *testing.F) {
	identifier := []byte("\x08\x00\x52\x00\x06\x00\x00\x00STUDY \x10\x00\x10\x00\x02\x00\x00\x00A*\x40\x00\x00\x01\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" +
		"\x40\x00\x02\x00\x12\x00\x00\x0020260101-20260131 \xfe\xff\x0d\xe0\x00\x00\x00\x00\xfe\xff\xdd\xe0\x00\x00\x00\x00")
	f.Add(identifier, identifier)
	f.Add([]byte{}, identifier)
	f.Fuzz(func(t *testing.T, a, b []byte) {
		limits := dicom.Limits{Total: 1 << 20}
		keys, err := dicom.Parse(a, uid.ImplicitVRLittleEndian, limits)
		if err != nil {
			return
		}
		entity, err := dicom.Parse(b, uid.ImplicitVRLittleEndian, limits)
		if err != nil {
			return
		}
		for _, root := range []Root{PatientRoot, StudyRoot} {
			LevelOf(keys, root, false, false)
			level, s := LevelOf(keys, root, true, true)
			if (level == "") != (s.Code != dimse.Success) {
				t.Errorf("%q with %v", level, s)
			}
		}
		check(keys)
		tooLong(keys, 10)
		m := Matching{Combined: true, IgnoreAccents: true}
		m.Match(keys, entity)
		m.Answer(keys, entity)
		if !m.Match(dicom.NewDataset(), entity) {
			t.Error("no keys do not match")
		}
		m.Supported = func([]tag.Tag) bool { return false }
		if !m.Match(keys, entity) {
			t.Error("keys that are not supported do not match")
		}
	})
}
