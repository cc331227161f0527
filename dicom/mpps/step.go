// Package mpps is the DICOM Modality Performed Procedure Step, PS3.4 annex F, as
// SCP and as SCU: N-CREATE when a modality begins a step, N-SET while it goes on
// and when it ends, and N-GET by the retrieve SOP class. Where the steps are kept
// is the caller's business; what may be done to one is the machine in this file:
//
//	          N-CREATE                N-SET COMPLETED
//	(none) ------------> IN PROGRESS ------------------> COMPLETED
//	                      |  ^  |     N-SET DISCONTINUED
//	                      +--+  +----------------------> DISCONTINUED
//	                      N-SET
package mpps

import (
	"fmt"
	"slices"

	"nhip/dicom"
	"nhip/dicom/dimse"
	"nhip/dicom/service"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// SOP classes, PS3.4 section F.7 and F.8.
const (
	Class         = uid.ModalityPerformedProcedureStep
	RetrieveClass = uid.ModalityPerformedProcedureStepRetrieve
)

// A State is a Performed Procedure Step Status (0040,0252), PS3.3 section
// C.4.14.
type State string

// The states. A step does not leave the last two.
const (
	InProgress   State = "IN PROGRESS"
	Completed    State = "COMPLETED"
	Discontinued State = "DISCONTINUED"
)

// StateOf returns the state that attributes say; false for none of the three.
func StateOf(attributes *dicom.Dataset) (State, bool) {
	s := State(attributes.Text(tag.PerformedProcedureStepStatus))
	return s, s == InProgress || s == Completed || s == Discontinued
}

// NoLongerUpdated is the Error ID of PS3.4 section F.7.2.2.2.
const NoLongerUpdated = 0xA710

func failed(code uint16, format string, args ...any) dimse.Status {
	return dimse.Status{Code: code, Comment: fmt.Sprintf(format, args...)}
}

// needed are the attributes of type 1 of an N-CREATE, PS3.4 table F.7.2-1, and
// those without which nobody would know what to do with it.
var needed = []tag.Tag{
	tag.PerformedProcedureStepID, tag.PerformedStationAETitle, tag.PerformedProcedureStepStartDate,
	tag.PerformedProcedureStepStartTime, tag.PerformedProcedureStepStatus, tag.Modality,
}

// present are the attributes of type 2 and the sequences; their absence is not
// worth refusing a step for, and is a warning only.
var present = []tag.Tag{
	tag.PatientName, tag.PatientID, tag.PatientBirthDate, tag.PatientSex, tag.PerformedProcedureStepEndDate,
	tag.PerformedProcedureStepEndTime, tag.PerformedSeriesSequence,
}

// CheckCreate judges the attributes of an N-CREATE, PS3.4 section F.7.2.1. The
// status is success; a warning, 0107H, where attributes are missing that a step
// can do without; or the refusal. The tags are those that are meant.
func CheckCreate(attributes *dicom.Dataset) (dimse.Status, []tag.Tag) {
	for _, t := range needed {
		e, ok := attributes.Find(t)
		switch {
		case !ok:
			return failed(dimse.MissingAttribute, "no %s", keyword(t)), []tag.Tag{t}
		case e.Len() == 0:
			return failed(dimse.MissingAttributeValue, "no value in %s", keyword(t)), []tag.Tag{t}
		}
	}
	if s, ok := StateOf(attributes); !ok || s != InProgress {
		return failed(dimse.InvalidAttributeValue, "a step begins IN PROGRESS"), []tag.Tag{tag.PerformedProcedureStepStatus}
	}
	scheduled, ok := attributes.Find(tag.ScheduledStepAttributesSequence)
	if !ok {
		return failed(dimse.MissingAttribute, "no %s", keyword(scheduledSteps)), []tag.Tag{scheduledSteps}
	}
	items := scheduled.Items()
	if len(items) == 0 {
		return failed(dimse.MissingAttributeValue, "no item in %s", keyword(scheduledSteps)), []tag.Tag{scheduledSteps}
	}
	for _, item := range items {
		if !uid.Valid(item.Text(tag.StudyInstanceUID)) {
			return failed(dimse.InvalidAttributeValue, "a scheduled step without a valid study instance UID"), []tag.Tag{tag.StudyInstanceUID}
		}
	}
	var missing []tag.Tag
	for _, t := range present {
		if !attributes.Has(t) {
			missing = append(missing, t)
		}
	}
	if len(missing) > 0 {
		return failed(dimse.AttributeListError, "attributes of type 2 are missing"), missing
	}
	return dimse.Status{}, nil
}

const scheduledSteps = tag.ScheduledStepAttributesSequence

func keyword(t tag.Tag) string {
	e, _ := tag.Lookup(t)
	return e.Keyword
}

// fixed are the attributes that an N-SET does not change: those of PS3.4 table
// F.7.2-1 that are "not allowed" in it, by which a step belongs to a patient and
// an order.
var fixed = []tag.Tag{
	tag.PatientName, tag.PatientID, tag.IssuerOfPatientID, tag.PatientBirthDate, tag.PatientSex, tag.ScheduledStepAttributesSequence,
	tag.PerformedProcedureStepID, tag.PerformedStationAETitle, tag.PerformedStationName, tag.PerformedLocation,
	tag.PerformedProcedureStepStartDate, tag.PerformedProcedureStepStartTime, tag.Modality, tag.StudyID,
}

// Attributes returns what CheckCreate and CheckSet look at: the attributes without
// which a step is refused, beside an item with a study in the Scheduled Step
// Attributes Sequence; those whose absence is a warning; and those that an N-SET
// does not change.
func Attributes() (refused, warned, unchanged []tag.Tag) {
	return slices.Clone(needed), slices.Clone(present), slices.Clone(fixed)
}

// CheckSet judges the modifications of an N-SET to a step, PS3.4 section
// F.7.2.2: only one in progress is changed, and never whose it is. A final state
// needs its end and a performed series with the attributes of type 1, where the
// merged attributes are looked at.
func CheckSet(step, change *dicom.Dataset) (dimse.Status, []tag.Tag) {
	if s, _ := StateOf(step); s != InProgress {
		status := failed(dimse.ProcessingFailure, "the step is %s and may no longer be updated", s)
		status.ErrorID = NoLongerUpdated
		return status, nil
	}
	for _, t := range fixed {
		if e, ok := change.Find(t); ok && !same(e, step) {
			return failed(dimse.InvalidAttributeValue, "%s does not change", keyword(t)), []tag.Tag{t}
		}
	}
	if !change.Has(tag.PerformedProcedureStepStatus) {
		return dimse.Status{}, nil
	}
	s, ok := StateOf(change)
	if !ok {
		return failed(dimse.InvalidAttributeValue, "no state of a performed procedure step"), []tag.Tag{tag.PerformedProcedureStepStatus}
	}
	if s == InProgress {
		return dimse.Status{}, nil
	}
	merged, err := Merge(step, change)
	if err != nil {
		return failed(dimse.InvalidAttributeValue, "an attribute cannot be read"), nil
	}
	return checkFinal(merged)
}

// same reports whether a change repeats what a step has: some modalities send
// all they know with each N-SET.
func same(e dicom.Element, step *dicom.Dataset) bool {
	old, ok := step.Find(e.Tag)
	if !ok {
		return e.Len() == 0
	}
	if e.VR == dicom.SQ {
		return len(e.Items()) == len(old.Items())
	}
	return slices.Equal(e.Texts(), old.Texts())
}

// checkFinal warns of what a step lacks that has ended, PS3.4 section F.7.2.2.2:
// end, series, images. It is no refusal: the modality would keep the step in
// progress for ever.
func checkFinal(step *dicom.Dataset) (dimse.Status, []tag.Tag) {
	for _, t := range []tag.Tag{tag.PerformedProcedureStepEndDate, tag.PerformedProcedureStepEndTime} {
		if step.Text(t) == "" {
			return failed(dimse.AttributeListError, "a step has ended without %s", keyword(t)), []tag.Tag{t}
		}
	}
	series := step.Items(tag.PerformedSeriesSequence)
	if len(series) == 0 {
		return failed(dimse.AttributeListError, "a step has ended without a performed series"), []tag.Tag{tag.PerformedSeriesSequence}
	}
	for _, s := range series {
		for _, t := range []tag.Tag{tag.SeriesInstanceUID, tag.ProtocolName} {
			if s.Text(t) == "" {
				return failed(dimse.AttributeListError, "a performed series without %s", keyword(t)), []tag.Tag{t}
			}
		}
	}
	return dimse.Status{}, nil
}

// Merge returns a step with a change, which replaces whole attributes, sequences
// too: PS3.4 section F.7.2.2. The text of both is kept, in ISO_IR 192, whatever
// character sets they came in.
func Merge(step, change *dicom.Dataset) (*dicom.Dataset, error) {
	merged := dicom.NewDataset()
	if err := merged.SetText(tag.SpecificCharacterSet, "ISO_IR 192"); err != nil {
		return nil, err
	}
	for _, d := range []*dicom.Dataset{step, change} {
		for e := range d.All() {
			if e.Tag&0xFFFF == 0 || e.Tag == tag.SpecificCharacterSet || d == step && change.Has(e.Tag) {
				continue
			}
			if err := service.CopyElement(merged, d, e); err != nil {
				return nil, err
			}
		}
	}
	return merged, nil
}

// An Image is one that a step lists as made.
type Image struct{ StudyInstanceUID, SeriesInstanceUID, SOPClassUID, SOPInstanceUID string }

// Images returns what the performed series of a step list, images and other
// composite instances: what has to arrive for the step to be complete.
func Images(step *dicom.Dataset) []Image {
	study := ""
	for _, s := range step.Items(scheduledSteps) {
		study = s.Text(tag.StudyInstanceUID)
		break
	}
	var all []Image
	for _, series := range step.Items(tag.PerformedSeriesSequence) {
		for _, t := range []tag.Tag{tag.ReferencedImageSequence, tag.ReferencedNonImageCompositeSOPInstanceSequence} {
			for _, ref := range series.Items(t) {
				all = append(all, Image{study, series.Text(tag.SeriesInstanceUID), ref.Text(tag.ReferencedSOPClassUID), ref.Text(tag.ReferencedSOPInstanceUID)})
			}
		}
	}
	return all
}
