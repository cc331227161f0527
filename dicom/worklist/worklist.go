// Package worklist is the DICOM Modality Worklist, PS3.4 annex K (Basic Worklist
// Management): C-FIND for scheduled procedure steps, as SCP and as SCU. Where the
// steps come from is a find.Source.
package worklist

import (
	"context"
	"iter"
	"slices"
	"time"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/find"
	"nhip/dicom/service"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// Class is the SOP class of the information model, PS3.4 section K.6.1.4.
const Class = uid.ModalityWorklistInformationModelFind

// Keys are the attributes that are matched, PS3.4 table K.6-1: the required ones,
// and optional ones that modalities are known to send. Other keys match
// everything, so that an odd attribute does not empty a modality's list; what a
// step has of them is returned. An item of the Scheduled Procedure Step Sequence
// has the keys of step.
var (
	keys = []tag.Tag{
		tag.ScheduledProcedureStepSequence, tag.AccessionNumber, tag.ReferringPhysicianName, tag.PatientName, tag.PatientID,
		tag.IssuerOfPatientID, tag.PatientBirthDate, tag.PatientSex, tag.StudyInstanceUID, tag.RequestingPhysician, tag.AdmissionID,
		tag.CurrentPatientLocation, tag.RequestedProcedureID, tag.RequestedProcedurePriority, tag.RequestedProcedureDescription,
	}
	stepKeys = []tag.Tag{
		tag.Modality, tag.ScheduledStationAETitle, tag.ScheduledProcedureStepStartDate, tag.ScheduledProcedureStepStartTime,
		tag.ScheduledPerformingPhysicianName, tag.ScheduledProcedureStepID, tag.ScheduledProcedureStepDescription,
		tag.ScheduledStationName, tag.ScheduledProcedureStepLocation, tag.ScheduledProcedureStepStatus,
	}
)

// Keys returns the attributes that are matched: those of the request, and those of
// the item of the Scheduled Procedure Step Sequence.
func Keys() (request, step []tag.Tag) { return slices.Clone(keys), slices.Clone(stepKeys) }

// DefaultAnswers is how many answers a query has at most, unless it is said.
const DefaultAnswers = 500

func supported(path []tag.Tag) bool {
	switch len(path) {
	case 1:
		return slices.Contains(keys, path[0])
	case 2:
		return path[0] == tag.ScheduledProcedureStepSequence && slices.Contains(stepKeys, path[1])
	}
	return false
}

// Options of an SCP.
type Options struct {
	IgnoreAccents bool           // in person names: NGUYEN finds Nguyễn
	Zone          *time.Location // of a DT without offset; nil: UTC
	Limits        find.Limits    // Answers: 0 is DefaultAnswers
}

// SCP is the service of a worklist whose steps come from a source: each one a
// data set with an item in the Scheduled Procedure Step Sequence and the
// attributes of its requested procedure, imaging service request, visit and
// patient. What a station may see is the source's to decide: find.Query says who
// asks.
func SCP(source find.Source, o Options) service.Service {
	if o.Limits.Answers == 0 {
		o.Limits.Answers = DefaultAnswers
	}
	scp := &find.SCP{
		Source:   source,
		Matching: find.Matching{Combined: true, IgnoreAccents: o.IgnoreAccents, Zone: o.Zone, Supported: supported},
		Limits:   o.Limits,
	}
	return service.Service{
		AbstractSyntax: func(as string) bool { return as == Class },
		Handlers:       map[dimse.CommandField]association.Handler{dimse.CFindRQ: scp.Handle},
	}
}

// A List is a source that is a list of steps.
type List []*dicom.Dataset

// Entities yields every step.
func (l List) Entities(context.Context, find.Query) iter.Seq2[*dicom.Dataset, error] {
	return func(yield func(*dicom.Dataset, error) bool) {
		for _, step := range l {
			if !yield(step, nil) {
				return
			}
		}
	}
}

// returned are the attributes that an SCU asks for, PS3.4 table K.6-1: those of
// return type 1 to 2 that have a value of their own, and of sequences all.
var returned = []tag.Tag{
	tag.AccessionNumber, tag.ReferringPhysicianName, tag.ReferencedStudySequence, tag.ReferencedPatientSequence, tag.PatientName,
	tag.PatientID, tag.IssuerOfPatientID, tag.PatientBirthDate, tag.PatientSex, tag.PatientWeight, tag.MedicalAlerts, tag.Allergies,
	tag.PregnancyStatus, tag.StudyInstanceUID, tag.RequestingPhysician, tag.RequestedProcedureDescription,
	tag.RequestedProcedureCodeSequence, tag.AdmissionID, tag.SpecialNeeds, tag.CurrentPatientLocation, tag.PatientState,
	tag.RequestedProcedureID, tag.RequestedProcedurePriority, tag.PatientTransportArrangements,
	tag.ConfidentialityConstraintOnPatientDataDescription,
}

var returnedStep = []tag.Tag{
	tag.Modality, tag.RequestedContrastAgent, tag.ScheduledStationAETitle, tag.ScheduledProcedureStepStartDate,
	tag.ScheduledProcedureStepStartTime, tag.ScheduledPerformingPhysicianName, tag.ScheduledProcedureStepDescription,
	tag.ScheduledProtocolCodeSequence, tag.ScheduledProcedureStepID, tag.ScheduledStationName, tag.ScheduledProcedureStepLocation,
	tag.PreMedication, tag.ScheduledProcedureStepStatus,
}

// A Query is what an SCU looks for; "" is anything. Text may have wild cards, and
// dates and times may be ranges.
type Query struct {
	CharacterSet         string // of the identifier; "" is ISO_IR 192 where it is needed
	PatientName          string
	PatientID            string
	AccessionNumber      string
	RequestedProcedureID string
	StationAETitle       string
	Modality             string
	StartDate, StartTime string
	PerformingPhysician  string
}

// Identifier is the query with every return key of PS3.4 table K.6-1.
func (q Query) Identifier() (*dicom.Dataset, error) {
	d := dicom.NewDataset()
	set := q.CharacterSet
	if set == "" && !ascii(q.PatientName+q.PerformingPhysician+q.PatientID+q.AccessionNumber+q.RequestedProcedureID) {
		set = "ISO_IR 192"
	}
	if set != "" {
		if err := d.SetText(tag.SpecificCharacterSet, set); err != nil {
			return nil, err
		}
	}
	step := dicom.NewDataset()
	if err := d.SetItems(tag.ScheduledProcedureStepSequence, step); err != nil {
		return nil, err
	}
	for _, part := range []struct {
		to   *dicom.Dataset
		tags []tag.Tag
		keys map[tag.Tag]string
	}{
		{d, returned, map[tag.Tag]string{
			tag.PatientName: q.PatientName, tag.PatientID: q.PatientID, tag.AccessionNumber: q.AccessionNumber,
			tag.RequestedProcedureID: q.RequestedProcedureID,
		}},
		{step, returnedStep, map[tag.Tag]string{
			tag.ScheduledStationAETitle: q.StationAETitle, tag.Modality: q.Modality, tag.ScheduledProcedureStepStartDate: q.StartDate,
			tag.ScheduledProcedureStepStartTime: q.StartTime, tag.ScheduledPerformingPhysicianName: q.PerformingPhysician,
		}},
	} {
		for _, t := range part.tags {
			if err := setKey(part.to, t, part.keys[t]); err != nil {
				return nil, err
			}
		}
	}
	return d, nil
}

// setKey sets a key, which may hold what its VR does not: a range, a wild card.
func setKey(d *dicom.Dataset, t tag.Tag, value string) error {
	e, _ := tag.Lookup(t)
	switch {
	case value == "":
		return d.SetEmpty(t)
	case e.VR == "DA":
		return d.SetBytes(t, dicom.DA, []byte(value))
	case e.VR == "TM":
		return d.SetBytes(t, dicom.TM, []byte(value))
	}
	return d.SetText(t, value)
}

func ascii(s string) bool {
	return !slices.ContainsFunc([]byte(s), func(b byte) bool { return b > '~' })
}

// Find asks the peer for its scheduled procedure steps, over an association that
// has a context of Class: see find.Find.
func Find(ctx context.Context, a *association.Association, q Query, answer func(*dicom.Dataset) bool) (status dimse.Status, complete bool, err error) {
	d, err := q.Identifier()
	if err != nil {
		return dimse.Status{}, false, err
	}
	return find.Find(ctx, a, Class, d, answer)
}
