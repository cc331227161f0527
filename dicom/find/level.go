package find

import (
	"fmt"
	"slices"

	"nhip/dicom"
	"nhip/dicom/dimse"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// A Level is a query/retrieve level, PS3.4 section C.3.1, as in (0008,0052).
type Level string

// The levels of the patient root; the study root has no PATIENT.
const (
	Patient Level = "PATIENT"
	Study   Level = "STUDY"
	Series  Level = "SERIES"
	Image   Level = "IMAGE"
)

// levels and the unique key of each, PS3.4 section C.3.
var levels = []Level{Patient, Study, Series, Image}

var uniqueKeys = []tag.Tag{tag.PatientID, tag.StudyInstanceUID, tag.SeriesInstanceUID, tag.SOPInstanceUID}

// A Root is an information model, PS3.4 section C.6.
type Root byte

const (
	PatientRoot Root = 1
	StudyRoot   Root = 2
)

// Classes are the SOP classes of an information model.
func (r Root) classes() (find, move, get string) {
	base := fmt.Sprintf("1.2.840.10008.5.1.4.1.2.%d.", r)
	return base + "1", base + "2", base + "3"
}

// Find, Move and Get are the SOP classes of the root, PS3.4 section C.6.
func (r Root) Find() string { find, _, _ := r.classes(); return find }

// Move is the SOP class for C-MOVE.
func (r Root) Move() string { _, move, _ := r.classes(); return move }

// Get is the SOP class for C-GET.
func (r Root) Get() string { _, _, get := r.classes(); return get }

// RootOf returns the root of a query/retrieve SOP class; false for any other.
func RootOf(class string) (Root, bool) {
	for _, r := range []Root{PatientRoot, StudyRoot} {
		find, move, get := r.classes()
		if class == find || class == move || class == get {
			return r, true
		}
	}
	return 0, false
}

// LevelOf returns the level of an identifier. The status refuses it, A900H,
// where it has none that the root knows, and where a unique key above the level
// is missing or does not have a single value, PS3.4 section C.4.1.3.1.1, unless
// relational queries were agreed on. A retrieval (C-MOVE, C-GET) also needs the
// unique key of the level, a list where it is a UID, section C.4.2.1.4.1.
func LevelOf(identifier *dicom.Dataset, root Root, relational, retrieval bool) (Level, dimse.Status) {
	refused := func(format string, args ...any) (Level, dimse.Status) {
		return "", dimse.Status{Code: dimse.DataSetDoesNotMatchClass, Comment: fmt.Sprintf(format, args...)}
	}
	level := Level(firstText(identifier, tag.QueryRetrieveLevel))
	at := slices.Index(levels, level)
	if at < 0 || root == StudyRoot && level == Patient {
		return refused("no query/retrieve level of this information model")
	}
	first := 0
	if root == StudyRoot {
		first = 1
	}
	for i, t := range uniqueKeys[:at] {
		if i >= first && !relational && !single(identifier, t) {
			return refused("level %s needs one value in %v", level, t)
		}
	}
	if !retrieval {
		return level, dimse.Status{}
	}
	key := uniqueKeys[at]
	if level == Patient {
		if !single(identifier, key) {
			return refused("level %s needs one value in %v", level, key)
		}
		return level, dimse.Status{}
	}
	values := identifier.Texts(key)
	if len(values) == 0 || slices.ContainsFunc(values, func(v string) bool { return !uid.Valid(v) }) {
		return refused("level %s needs UIDs in %v", level, key)
	}
	return level, dimse.Status{}
}

// single reports whether a key has one value without wild cards.
func single(d *dicom.Dataset, t tag.Tag) bool {
	v := d.Texts(t)
	return len(v) == 1 && v[0] != "" && !slices.ContainsFunc([]byte(v[0]), func(c byte) bool { return c == '*' || c == '?' })
}
