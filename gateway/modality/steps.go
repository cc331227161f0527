package modality

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"

	"nhip/dicom"
	"nhip/dicom/dimse"
	"nhip/dicom/mpps"
	"nhip/dicom/service"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
	"nhip/gateway/intake"
	"nhip/storage"
)

// Steps keeps the performed procedure steps that modalities tell of: each
// N-CREATE and N-SET is a journal entry, and a step is what they make together.
// It is mpps.Keeper.
type Steps struct {
	Intake *intake.Intake
	Store  *storage.Store
	Log    *slog.Logger
	// Connection names the modality of an association.
	Connection func(service.Peer) string
	// Performed adds to the batch what a step, as it is now, says of orders; its result
	// is called with what the commit said. It may be nil.
	Performed func(b *storage.Batch, connection string, whole *dicom.Dataset) (end func(error))
}

// A step is what is kept under the UID of a step: where its parts are.
type step struct {
	Connection string     `json:"conn"`
	State      mpps.State `json:"state"`
	Parts      []string   `json:"parts"` // references of journal entries: N-CREATE, N-SET …
}

// stepLimits bound what is read back, which was bounded when it came.
var stepLimits = dicom.Limits{Total: 64 << 20}

// Create is mpps.Keeper.
func (s *Steps) Create(ctx context.Context, r mpps.Request, d *dicom.Dataset) error {
	if _, ok, err := s.Store.Get(intake.StepKey(r.SOPInstanceUID)); err != nil || ok {
		return errors.Join(err, known(ok))
	}
	connection := s.Connection(r.Peer)
	err := s.keep(ctx, r, d, d, step{Connection: connection, State: mpps.InProgress}, attributesOfStep(r, d))
	if errors.Is(err, storage.ErrExists) {
		return mpps.ErrExists
	}
	if err == nil {
		s.Log.Info("performed procedure step begun", "modality", connection, "step", r.SOPInstanceUID)
	}
	return err
}

func known(ok bool) error {
	if ok {
		return mpps.ErrExists
	}
	return nil
}

// Get is mpps.Keeper.
func (s *Steps) Get(_ context.Context, sopInstanceUID string) (*dicom.Dataset, error) {
	st, ok, err := s.read(sopInstanceUID)
	if err != nil || !ok {
		return nil, err
	}
	var whole *dicom.Dataset
	for _, part := range st.Parts {
		d, err := s.part(part)
		if err != nil {
			return nil, err
		}
		if whole == nil {
			whole = d
			continue
		}
		if whole, err = mpps.Merge(whole, d); err != nil {
			return nil, err
		}
	}
	return whole, nil
}

// Set is mpps.Keeper. Only the modality that began a step changes it.
func (s *Steps) Set(ctx context.Context, r mpps.Request, change, merged *dicom.Dataset) error {
	st, ok, err := s.read(r.SOPInstanceUID)
	switch {
	case err != nil:
		return err
	case !ok:
		return refused(dimse.NoSuchSOPInstance, "no such performed procedure step")
	case st.Connection != s.Connection(r.Peer):
		return refused(dimse.NotAuthorized, "the step is another modality's")
	case len(st.Parts) >= intake.MostStepParts:
		return refused(dimse.ResourceLimitation, "too many changes of one step")
	}
	if state, ok := mpps.StateOf(merged); ok {
		st.State = state
	}
	if err := s.keep(ctx, r, change, merged, st, map[string]string{intake.AttrSOPInstance: r.SOPInstanceUID, intake.AttrCommand: intake.CommandSet}); err != nil {
		return err
	}
	s.Log.Info("performed procedure step changed", "modality", st.Connection, "step", r.SOPInstanceUID, "state", st.State)
	return nil
}

// keep commits a part of a step. The state that names the parts cannot name the
// entry of its own commit: the reference is kept under a key of its own.
func (s *Steps) keep(ctx context.Context, r mpps.Request, d, whole *dicom.Dataset, st step, attrs map[string]string) error {
	var body bytes.Buffer
	if err := d.Write(&body, uid.ExplicitVRLittleEndian); err != nil {
		return refused(dimse.InvalidAttributeValue, "the data set cannot be written")
	}
	n := len(st.Parts)
	value, err := json.Marshal(step{Connection: st.Connection, State: st.State, Parts: make([]string, n+1)})
	if err != nil {
		return err
	}
	end := func(error) {}
	err = s.Intake.Told(ctx, intake.KindStep, st.Connection, r.Address.String(), body.Bytes(), attrs, func(b *storage.Batch, j storage.Entry) {
		if n == 0 {
			b.IfAbsent(intake.StepKey(r.SOPInstanceUID))
		}
		b.Put(intake.StepKey(r.SOPInstanceUID), value)
		b.PutRef(intake.StepPartKey(r.SOPInstanceUID, n), j)
		if s.Performed != nil {
			end = s.Performed(b, st.Connection, whole)
		}
	})
	end(err)
	if errors.Is(err, storage.ErrDiskFull) {
		return refused(dimse.ResourceLimitation, "the gateway's disk is too full, send again later")
	}
	return err
}

// read gives the state of a step with the references of its parts.
func (s *Steps) read(sopInstanceUID string) (step, bool, error) {
	v, ok, err := s.Store.Get(intake.StepKey(sopInstanceUID))
	if err != nil || !ok {
		return step{}, false, err
	}
	var st step
	if err := json.Unmarshal(v, &st); err != nil {
		return step{}, false, err
	}
	for i := range st.Parts {
		ref, ok, err := s.Store.Get(intake.StepPartKey(sopInstanceUID, i))
		if err != nil || !ok {
			return step{}, false, err // retention has removed its beginning
		}
		st.Parts[i] = string(ref)
	}
	return st, true, nil
}

func (s *Steps) part(text string) (*dicom.Dataset, error) {
	ref, err := storage.ParseRef(text)
	if err != nil {
		return nil, err
	}
	raw, err := s.Store.Read(ref)
	if err != nil {
		return nil, err
	}
	e, err := intake.DecodeEntry(raw)
	if err != nil {
		return nil, err
	}
	body, err := intake.Body(s.Store, e)
	if err != nil {
		return nil, err
	}
	return dicom.Parse(body, uid.ExplicitVRLittleEndian, stepLimits)
}

func refused(code uint16, comment string) error {
	return &service.StatusError{Status: dimse.Status{Code: code, Comment: comment}}
}

// attributesOfStep are what a step is found by.
func attributesOfStep(r mpps.Request, d *dicom.Dataset) map[string]string {
	a := map[string]string{intake.AttrSOPInstance: r.SOPInstanceUID, intake.AttrCommand: intake.CommandCreate}
	put := func(key, value string) {
		if value != "" && a[key] == "" {
			a[key] = value
		}
	}
	put(intake.AttrPatient, d.Text(tag.PatientID))
	put(intake.AttrModality, d.Text(tag.Modality))
	for _, s := range d.Items(tag.ScheduledStepAttributesSequence) {
		put(intake.AttrAccession, s.Text(tag.AccessionNumber))
		put(intake.AttrStudy, s.Text(tag.StudyInstanceUID))
	}
	return a
}
