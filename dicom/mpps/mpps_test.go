package mpps_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/mpps"
	"nhip/dicom/service"
	"nhip/dicom/service/servicetest"
	"nhip/dicom/tag"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A keeper keeps steps in memory.
type keeper struct {
	mu    sync.Mutex
	steps map[string]*dicom.Dataset
	log   []string
	full  bool
}

func (k *keeper) Create(_ context.Context, r mpps.Request, step *dicom.Dataset) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.full {
		return fmt.Errorf("disk full at the record of Jane Doe")
	}
	if k.steps[r.SOPInstanceUID] != nil {
		return mpps.ErrExists
	}
	if k.steps == nil {
		k.steps = map[string]*dicom.Dataset{}
	}
	k.steps[r.SOPInstanceUID] = step
	k.log = append(k.log, "create by "+r.Calling)
	return nil
}

func (k *keeper) Get(_ context.Context, uid string) (*dicom.Dataset, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.steps[uid], nil
}

func (k *keeper) Set(_ context.Context, r mpps.Request, change, step *dicom.Dataset) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.steps[r.SOPInstanceUID] = step
	k.log = append(k.log, "set "+change.Text(tag.PerformedProcedureStepStatus))
	return nil
}

// set makes a data set of tags and texts.
func set(pairs ...any) *dicom.Dataset {
	d := dicom.NewDataset()
	for i := 0; i < len(pairs); i += 2 {
		t := pairs[i].(tag.Tag)
		var err error
		switch v := pairs[i+1].(type) {
		case string:
			err = d.SetText(t, v)
		case *dicom.Dataset:
			err = d.SetItems(t, v)
		case nil:
			err = d.SetEmpty(t)
		}
		if err != nil {
			panic(err)
		}
	}
	return d
}

// begun is the N-CREATE of a complete modality, without the attributes given.
func begun(without ...tag.Tag) *dicom.Dataset {
	d := set(tag.SpecificCharacterSet, "ISO_IR 192",
		tag.ScheduledStepAttributesSequence, set(tag.StudyInstanceUID, "1.2.3", tag.AccessionNumber, "A1"),
		tag.PatientName, "Nguyễn^Hoa", tag.PatientID, "P-1", tag.PatientBirthDate, nil, tag.PatientSex, nil,
		tag.PerformedProcedureStepID, "P1", tag.PerformedStationAETitle, "CT1", tag.PerformedProcedureStepStartDate, "20260114",
		tag.PerformedProcedureStepStartTime, "101500", tag.PerformedProcedureStepStatus, "IN PROGRESS", tag.PerformedProcedureStepEndDate, nil,
		tag.PerformedProcedureStepEndTime, nil, tag.Modality, "CT", tag.PerformedSeriesSequence, nil)
	for _, t := range without {
		d.Delete(t)
	}
	return d
}

var ended = set(tag.PerformedProcedureStepStatus, "COMPLETED", tag.PerformedProcedureStepEndDate, "20260114", tag.PerformedProcedureStepEndTime, "102000",
	tag.PerformedSeriesSequence, set(tag.SeriesInstanceUID, "1.2.3.1", tag.ProtocolName, "Thorax",
		tag.ReferencedImageSequence, set(tag.ReferencedSOPClassUID, "1.2.840.10008.5.1.4.1.1.2", tag.ReferencedSOPInstanceUID, "1.2.3.1.1")))

// with returns a copy of the N-CREATE with other values.
func with(pairs ...any) *dicom.Dataset {
	d, err := mpps.Merge(begun(), set(pairs...))
	if err != nil {
		panic(err)
	}
	return d
}

func TestCreateIsChecked(t *testing.T) {
	for _, c := range []struct {
		name  string
		step  *dicom.Dataset
		code  uint16
		words string
	}{
		{"complete", begun(), dimse.Success, ""},
		{"no state", begun(tag.PerformedProcedureStepStatus), dimse.MissingAttribute, "PerformedProcedureStepStatus"},
		{"an empty state", with(tag.PerformedProcedureStepStatus, nil), dimse.MissingAttributeValue, "PerformedProcedureStepStatus"},
		{"ended at once", with(tag.PerformedProcedureStepStatus, "COMPLETED"), dimse.InvalidAttributeValue, "IN PROGRESS"},
		{"no modality", begun(tag.Modality), dimse.MissingAttribute, "Modality"},
		{"no scheduled step", begun(tag.ScheduledStepAttributesSequence), dimse.MissingAttribute, "ScheduledStepAttributesSequence"},
		{"no item in it", with(tag.ScheduledStepAttributesSequence, nil), dimse.MissingAttributeValue, "ScheduledStepAttributesSequence"},
		{"no study", with(tag.ScheduledStepAttributesSequence, set(tag.AccessionNumber, "A1")), dimse.InvalidAttributeValue, "study instance UID"},
		{"a path for a study", with(tag.ScheduledStepAttributesSequence, set(tag.StudyInstanceUID, "1.2/../3")), dimse.InvalidAttributeValue, "study instance UID"},
		{"no patient", begun(tag.PatientName, tag.PatientID), dimse.AttributeListError, "type 2"},
		{"nothing", dicom.NewDataset(), dimse.MissingAttribute, ""},
	} {
		if s, tags := mpps.CheckCreate(c.step); s.Code != c.code || !strings.Contains(s.Comment, c.words) || (s.Code == 0) != (len(tags) == 0) {
			t.Errorf("%s: %v %v", c.name, s, tags)
		}
	}
}

func TestSetIsChecked(t *testing.T) {
	completed, err := mpps.Merge(begun(), ended)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name         string
		step, change *dicom.Dataset
		code         uint16
		words        string
	}{
		{"a series more", begun(), set(tag.PerformedSeriesSequence, set(tag.SeriesInstanceUID, "1.2.9")), dimse.Success, ""},
		{"completed", begun(), ended, dimse.Success, ""},
		{"discontinued without a series", begun(), set(tag.PerformedProcedureStepStatus, "DISCONTINUED", tag.PerformedProcedureStepEndDate, "20260114",
			tag.PerformedProcedureStepEndTime, "11"), dimse.AttributeListError, "without a performed series"},
		{"completed without an end", begun(), set(tag.PerformedProcedureStepStatus, "COMPLETED"), dimse.AttributeListError, "EndDate"},
		{"after the end", completed, set(tag.PerformedProcedureStepStatus, "DISCONTINUED"), dimse.ProcessingFailure, "COMPLETED and may no longer be updated"},
		{"after the end, no state", completed, set(tag.PerformedSeriesSequence, nil), dimse.ProcessingFailure, "may no longer be updated"},
		{"another patient", begun(), set(tag.PatientID, "P-2"), dimse.InvalidAttributeValue, "PatientID does not change"},
		{"the same patient", begun(), set(tag.PatientID, "P-1"), dimse.Success, ""},
		{"another study", begun(), set(tag.ScheduledStepAttributesSequence, nil), dimse.InvalidAttributeValue, "does not change"},
		{"no such state", begun(), set(tag.PerformedProcedureStepStatus, "DONE"), dimse.InvalidAttributeValue, "no state"},
		{"a series without a protocol", begun(), set(tag.PerformedProcedureStepStatus, "COMPLETED", tag.PerformedProcedureStepEndDate, "20260114",
			tag.PerformedProcedureStepEndTime, "11", tag.PerformedSeriesSequence, set(tag.SeriesInstanceUID, "1.2.9")), dimse.AttributeListError, "ProtocolName"},
	} {
		s, _ := mpps.CheckSet(c.step, c.change)
		if s.Code != c.code || !strings.Contains(s.Comment, c.words) || (s.ErrorID == 0xA710) != (s.Code == dimse.ProcessingFailure) {
			t.Errorf("%s: %v, error ID %04X", c.name, s, s.ErrorID)
		}
	}
	images := mpps.Images(completed)
	if diff := cmp.Diff([]mpps.Image{{StudyInstanceUID: "1.2.3", SeriesInstanceUID: "1.2.3.1", SOPClassUID: "1.2.840.10008.5.1.4.1.1.2", SOPInstanceUID: "1.2.3.1.1"}}, images); diff != "" {
		t.Error(diff)
	}
	if completed.Text(tag.PatientName) != "Nguyễn^Hoa" {
		t.Errorf("merged: %q", completed.Text(tag.PatientName))
	}
}

// Both roles of ours, over one association.
func TestBothRoles(t *testing.T) {
	k := &keeper{}
	a := servicetest.Dial(t, servicetest.Serve(t, service.Mux{(&mpps.SCP{Keeper: k}).Service()}),
		association.Proposal{Calling: "CT1", Contexts: service.Propose(mpps.Class, mpps.RetrieveClass)})
	status, err := mpps.Set(t.Context(), a, "1.2.3.4", ended)
	want := func(what string, code uint16) {
		t.Helper()
		if err != nil || status.Code != code {
			t.Errorf("%s: %v, %v", what, status, err)
		}
	}
	want("set before create", dimse.NoSuchSOPInstance)
	var uid string
	uid, status, err = mpps.Create(t.Context(), a, "", begun())
	want("create without a UID", dimse.Success)
	if !strings.HasPrefix(uid, "2.25.") {
		t.Errorf("UID %q", uid)
	}
	_, status, err = mpps.Create(t.Context(), a, uid, begun())
	want("create again", dimse.DuplicateSOPInstance)
	_, status, err = mpps.Create(t.Context(), a, "1.2/../../3", begun())
	want("create a path", dimse.InvalidSOPInstance)
	_, status, err = mpps.Create(t.Context(), a, "1.2.5", begun(tag.Modality))
	want("create without a modality", dimse.MissingAttribute)
	status, err = mpps.Set(t.Context(), a, uid, ended)
	want("set", dimse.Success)
	status, err = mpps.Set(t.Context(), a, uid, ended)
	want("set after the end", dimse.ProcessingFailure)
	var d *dicom.Dataset
	d, status, err = mpps.Get(t.Context(), a, uid, tag.PerformedProcedureStepStatus, tag.PatientName)
	want("get", dimse.Success)
	if d == nil || d.Text(tag.PerformedProcedureStepStatus) != "COMPLETED" || d.Text(tag.PatientName) != "Nguyễn^Hoa" || d.Has(tag.PatientID) {
		t.Error("get: other attributes")
	}
	_, status, err = mpps.Get(t.Context(), a, "1.2.9")
	want("get what is not there", dimse.NoSuchSOPInstance)
	k.full = true
	_, status, err = mpps.Create(t.Context(), a, "1.2.6", begun())
	want("disk full", dimse.ProcessingFailure)
	if strings.Contains(status.Comment, "Doe") {
		t.Errorf("comment %q", status.Comment)
	}
	servicetest.Release(t, a)
	if diff := cmp.Diff([]string{"create by CT1", "set COMPLETED"}, k.log); diff != "" {
		t.Error(diff)
	}
}

func TestDcmjsAsModality(t *testing.T) {
	name, args := servicetest.Node(t, "testdata/scu.js")
	host, port := servicetest.Split(t, servicetest.Serve(t, service.Mux{(&mpps.SCP{Keeper: &keeper{}}).Service()}))
	out, err := servicetest.Run(t, t.TempDir(), name, append(args, host, port, "1.2.826.77")...)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got []string
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 3 && len(f[1]) == 4 {
			got = append(got, strings.Join(f, " "))
		} else if len(f) == 4 && f[2] == "IN" {
			got = append(got, strings.Join(f, " "))
		}
	}
	want := []string{
		"set-before-create 0112 -", "create-incomplete 0120 -", "create 0107 -", "create-again 0111 -", "set-patient 0106 -",
		"complete 0000 -", "set-after 0110 -", "get 0000 COMPLETED",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s\n%s", diff, out)
	}
}

func TestDcmjsAsSCP(t *testing.T) {
	port := servicetest.FreePort(t)
	name, args := servicetest.Node(t, "testdata/scp.js", port)
	servicetest.Start(t, port, t.TempDir(), name, args...)
	a := servicetest.Dial(t, "127.0.0.1:"+port, association.Proposal{Contexts: service.Propose(mpps.Class)})
	for _, c := range []struct {
		do   func() (dimse.Status, error)
		want uint16
	}{
		{func() (dimse.Status, error) {
			_, s, err := mpps.Create(t.Context(), a, "1.2.3.4", begun())
			return s, err
		}, dimse.Success},
		{func() (dimse.Status, error) {
			_, s, err := mpps.Create(t.Context(), a, "1.2.3.4", begun())
			return s, err
		}, dimse.DuplicateSOPInstance},
		{func() (dimse.Status, error) { return mpps.Set(t.Context(), a, "1.2.3.4", ended) }, dimse.Success},
		{func() (dimse.Status, error) { return mpps.Set(t.Context(), a, "1.2.3.4", ended) }, dimse.ProcessingFailure},
	} {
		if s, err := c.do(); err != nil || s.Code != c.want {
			t.Errorf("%v, %v, want %04X", s, err, c.want)
		}
	}
	servicetest.Release(t, a)
}
