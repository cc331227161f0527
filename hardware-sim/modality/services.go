package modality

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/commitment"
	"nhip/dicom/dimse"
	"nhip/dicom/mpps"
	"nhip/dicom/service"
	"nhip/dicom/tag"
	"nhip/hardware-sim/wire"
)

// A study is the one that images are made of.
type study struct {
	number int
	step   string   // SOP instance UID of its performed procedure step
	images []object // that were answered success
}

// reportWait is how long a report of storage commitment is awaited.
const reportWait = 20 * time.Second

func (m *Modality) count(what string) {
	m.mu.Lock()
	m.done[what]++
	m.mu.Unlock()
}

// listen takes reports on the modality's own address until the result is called.
func (m *Modality) listen(ctx context.Context) (stop func()) {
	m.reports = make(chan commitment.Received, 16)
	if m.o.Reports == "" {
		return func() {}
	}
	l, err := net.Listen("tcp", m.o.Reports)
	if err != nil {
		m.o.Log.Error("reports of storage commitment", "modality", m.o.Name, "error", err)
		return func() {}
	}
	services := service.Mux{m.scu().Service()}
	s := &association.Server{
		Accept:   services.Answer,
		Handlers: services.Handlers(), Log: slog.New(slog.DiscardHandler),
	}
	ctx, cancel := context.WithCancel(ctx)
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.Serve(ctx, l)
	}()
	return func() { cancel(); <-served }
}

// scu hands reports over; one that nobody awaits is dropped.
func (m *Modality) scu() *commitment.SCU {
	return &commitment.SCU{Take: func(_ context.Context, r commitment.Received) dimse.Status {
		select {
		case m.reports <- r:
		default:
		}
		return dimse.Status{}
	}}
}

// begin begins a study.
func (m *Modality) begin(ctx context.Context, n int) {
	m.study = study{number: n / perStudy, step: m.o.uid("p", n/perStudy)}
	if !m.o.Steps {
		return
	}
	i := m.o.object(n).image
	step, err := dataSetOf(
		tag.SpecificCharacterSet, "ISO_IR 192", tag.PatientName, i.patientName, tag.PatientID, i.patientID,
		tag.PatientBirthDate, "19600101", tag.PatientSex, "O", tag.PerformedProcedureStepID, fmt.Sprintf("P%d", m.study.number),
		tag.PerformedStationAETitle, m.o.AETitle, tag.PerformedProcedureStepStartDate, i.at.Format("20060102"),
		tag.PerformedProcedureStepStartTime, i.at.Format("150405"), tag.PerformedProcedureStepStatus, string(mpps.InProgress),
		tag.PerformedProcedureStepEndDate, "", tag.PerformedProcedureStepEndTime, "", tag.Modality, i.modality,
		tag.PerformedSeriesSequence, []*dicom.Dataset{})
	if err != nil {
		m.o.Log.Error("performed procedure step", "modality", m.o.Name, "error", err)
		return
	}
	scheduled, err := dataSetOf(tag.AccessionNumber, i.accession, tag.StudyInstanceUID, i.study)
	if err == nil {
		err = step.SetItems(tag.ScheduledStepAttributesSequence, scheduled)
	}
	if err != nil {
		m.o.Log.Error("performed procedure step", "modality", m.o.Name, "error", err)
		return
	}
	m.ask(ctx, "step begun", association.Proposal{Contexts: service.Propose(mpps.Class)}, func(a *association.Association) (dimse.Status, error) {
		_, s, err := mpps.Create(ctx, a, m.study.step, step)
		return s, err
	})
}

// end ends a study: the step is completed, and its images are to be committed.
func (m *Modality) end(ctx context.Context) {
	if len(m.study.images) == 0 {
		return
	}
	if m.o.Steps {
		m.complete(ctx)
	}
	if m.o.Commit {
		m.commit(ctx)
	}
	m.study.images = nil
}

func (m *Modality) complete(ctx context.Context) {
	last := m.study.images[len(m.study.images)-1].image
	var refs []*dicom.Dataset
	for _, o := range m.study.images {
		ref, err := dataSetOf(tag.ReferencedSOPClassUID, o.class, tag.ReferencedSOPInstanceUID, o.item.Key)
		if err != nil {
			m.o.Log.Error("performed procedure step", "modality", m.o.Name, "error", err)
			return
		}
		refs = append(refs, ref)
	}
	series, err := dataSetOf(tag.SeriesInstanceUID, last.series, tag.ProtocolName, "hwsim", tag.ReferencedImageSequence, refs)
	var change *dicom.Dataset
	if err == nil {
		change, err = dataSetOf(tag.PerformedProcedureStepStatus, string(mpps.Completed), tag.PerformedProcedureStepEndDate, last.at.Format("20060102"),
			tag.PerformedProcedureStepEndTime, last.at.Format("150405"), tag.PerformedSeriesSequence, []*dicom.Dataset{series})
	}
	if err != nil {
		m.o.Log.Error("performed procedure step", "modality", m.o.Name, "error", err)
		return
	}
	m.ask(ctx, "step completed", association.Proposal{Contexts: service.Propose(mpps.Class)}, func(a *association.Association) (dimse.Status, error) {
		return mpps.Set(ctx, a, m.study.step, change)
	})
}

// commit asks for storage commitment and awaits the report.
func (m *Modality) commit(ctx context.Context) {
	t := commitment.Transaction{UID: m.o.uid("t", m.study.number)}
	for _, o := range m.study.images {
		t.References = append(t.References, commitment.Reference{SOPClassUID: o.class, SOPInstanceUID: o.item.Key})
	}
	expected := commitment.Expectation{Transaction: t, SCP: m.o.Called}
	p := association.Proposal{Contexts: service.Propose(commitment.Class), Handlers: m.scu().Handlers()}
	m.ask(ctx, "commitment asked", p, func(a *association.Association) (dimse.Status, error) {
		s, err := commitment.Ask(ctx, a, t)
		if err != nil || s.Code != dimse.Success {
			return s, err
		}
		m.await(ctx, expected)
		return s, nil
	})
}

// await awaits the report of a transaction; others are passed over.
func (m *Modality) await(ctx context.Context, e commitment.Expectation) {
	late := time.NewTimer(reportWait)
	defer late.Stop()
	for {
		select {
		case r := <-m.reports:
			switch {
			case e.Check(r).Code != dimse.Success:
			case len(r.Failed) > 0:
				m.count("not committed")
				return
			default:
				m.count("committed")
				return
			}
		case <-late.C:
			m.count("commitment not reported")
			return
		case <-ctx.Done():
			return
		}
	}
}

// ask does a request over an association of its own, until it is answered; so
// often at most as an object is offered.
func (m *Modality) ask(ctx context.Context, what string, p association.Proposal, do func(*association.Association) (dimse.Status, error)) {
	p.Calling, p.Called = m.o.AETitle, m.o.Called
	for range refusals {
		if ctx.Err() != nil {
			return
		}
		s, err := m.once(ctx, p, do)
		if err == nil && (s.Class() == dimse.ClassSuccess || s.Class() == dimse.ClassWarning) {
			m.count(what)
			return
		}
		m.o.Log.Debug(what, "modality", m.o.Name, "status", s, "error", err)
		wire.Wait(ctx, retry)
	}
	m.count("not: " + what)
}

func (m *Modality) once(ctx context.Context, p association.Proposal, do func(*association.Association) (dimse.Status, error)) (dimse.Status, error) {
	address, err := m.o.Address()
	if err != nil {
		return dimse.Status{}, err
	}
	a, err := association.Dial(ctx, address, p)
	if err != nil {
		return dimse.Status{}, err
	}
	s, err := do(a)
	if err != nil {
		a.Abort("not answered")
		return s, err
	}
	return s, a.Release(ctx)
}

// dataSetOf makes a data set of pairs of tag and value: text, or items.
func dataSetOf(pairs ...any) (*dicom.Dataset, error) {
	d := dicom.NewDataset()
	for i := 0; i < len(pairs); i += 2 {
		t := pairs[i].(tag.Tag)
		var err error
		switch v := pairs[i+1].(type) {
		case string:
			if v == "" {
				err = d.SetEmpty(t)
			} else {
				err = d.SetText(t, v)
			}
		case []*dicom.Dataset:
			err = d.SetItems(t, v...)
		}
		if err != nil {
			return nil, err
		}
	}
	return d, nil
}
