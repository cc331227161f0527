package pacs

import (
	"bytes"
	"context"
	"io"
	"iter"
	"slices"
	"sync"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/commitment"
	"nhip/dicom/dimse"
	"nhip/dicom/echo"
	"nhip/dicom/find"
	"nhip/dicom/get"
	"nhip/dicom/move"
	"nhip/dicom/mpps"
	"nhip/dicom/retrieve"
	"nhip/dicom/service"
	"nhip/dicom/store"
	"nhip/dicom/tag"
	"nhip/dicom/worklist"
)

// services are all that it is SCP of until ctx ends.
func (p *PACS) services(ctx context.Context) service.Mux {
	report := func(r commitment.Request, a *association.Association) {
		p.reports.Go(func() { p.report(ctx, r, a) })
	}
	m := service.Mux{
		{AbstractSyntax: echo.Accepts, Handlers: map[dimse.CommandField]association.Handler{dimse.CEchoRQ: echo.Handle}},
		{AbstractSyntax: store.Accepts(), TransferSyntax: store.AcceptsTransferSyntax(), Handlers: map[dimse.CommandField]association.Handler{dimse.CStoreRQ: p.handle}},
		(&commitment.SCP{Accept: p.asked, Answered: report}).Service(),
		(&mpps.SCP{Keeper: &p.steps}).Service(),
	}
	if p.o.Keep > 0 {
		roots := []find.Root{find.PatientRoot, find.StudyRoot}
		m = append(m, (&find.SCP{Source: &p.kept}).Service(roots...), (&get.SCP{Source: &p.kept}).Service(roots...),
			(&move.SCP{Source: &p.kept, Destination: p.destination}).Service(roots...))
	}
	if p.o.Worklist != nil {
		m = append(m, worklist.SCP(p.o.Worklist, worklist.Options{IgnoreAccents: true}))
	}
	return m
}

func (p *PACS) destination(_ context.Context, q retrieve.Query) (move.Destination, bool) {
	address, ok := p.o.Peers[q.Destination]
	return move.Destination{Address: address, Proposal: association.Proposal{Calling: q.Called, Called: q.Destination}}, ok
}

// keep notes what has arrived, and the object itself where there is room.
func (p *PACS) keep(m *association.Message, b []byte) {
	class, instance := m.Command.AffectedSOPClassUID, m.Command.AffectedSOPInstanceUID
	p.mu.Lock()
	p.have[instance] = class
	p.mu.Unlock()
	if p.o.Keep > 0 {
		p.kept.add(p.o.Keep, object{class: class, instance: instance, syntax: m.Context.TransferSyntax, bytes: b})
	}
}

// asked takes every request for commitment; the outcome is known at once.
func (p *PACS) asked(context.Context, commitment.Request) dimse.Status {
	p.count("commitment asked")
	return dimse.Status{}
}

func (p *PACS) count(what string) {
	p.mu.Lock()
	p.done[what]++
	p.mu.Unlock()
}

// outcome is what it has of the references.
func (p *PACS) outcome(refs []commitment.Reference) (o commitment.Outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range refs {
		switch class, ok := p.have[r.SOPInstanceUID]; {
		case !ok:
			o.Failed = append(o.Failed, commitment.Failure{Reference: r, Reason: commitment.NoSuchInstance})
		case class != r.SOPClassUID:
			o.Failed = append(o.Failed, commitment.Failure{Reference: r, Reason: commitment.ClassInstanceConflict})
		default:
			o.Committed = append(o.Committed, r)
		}
	}
	return o
}

// report reports over an association of its own where it knows the address of
// who asked, else over the one that asked.
func (p *PACS) report(ctx context.Context, r commitment.Request, a *association.Association) {
	said := "commitment reported"
	if s, err := p.send(ctx, r, a); err != nil || s.Code != dimse.Success {
		said = "commitment not reported"
		p.o.Log.Debug("storage commitment", "pacs", p.o.Name, "status", s, "error", err)
	}
	p.count(said)
}

func (p *PACS) send(ctx context.Context, r commitment.Request, a *association.Association) (dimse.Status, error) {
	if address, ok := p.o.Peers[r.Calling]; ok {
		proposal := association.Proposal{Calling: r.Called, Called: r.Calling}
		commitment.ProposeReport(&proposal)
		own, err := association.Dial(ctx, address, proposal)
		if err != nil {
			return dimse.Status{}, err
		}
		defer own.Release(ctx)
		a = own
	}
	return commitment.SendReport(ctx, a, r.UID, p.outcome(r.References))
}

// Steps returns the performed procedure steps that it was told of, by SOP
// instance UID, with their states.
func (p *PACS) Steps() map[string]mpps.State {
	p.steps.mu.Lock()
	defer p.steps.mu.Unlock()
	all := map[string]mpps.State{}
	for uid, step := range p.steps.all {
		all[uid], _ = mpps.StateOf(step)
	}
	return all
}

// steps is an mpps.Keeper.
type steps struct {
	mu  sync.Mutex
	all map[string]*dicom.Dataset
}

// Create implements mpps.Keeper.
func (s *steps) Create(_ context.Context, r mpps.Request, step *dicom.Dataset) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[r.SOPInstanceUID] != nil {
		return mpps.ErrExists
	}
	if s.all == nil {
		s.all = map[string]*dicom.Dataset{}
	}
	s.all[r.SOPInstanceUID] = step
	return nil
}

// Get implements mpps.Keeper.
func (s *steps) Get(_ context.Context, uid string) (*dicom.Dataset, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[uid], nil
}

// Set implements mpps.Keeper.
func (s *steps) Set(_ context.Context, r mpps.Request, _, step *dicom.Dataset) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[r.SOPInstanceUID] = step
	return nil
}

// An object is one that is kept.
type object struct {
	class, instance, syntax string
	bytes                   []byte
	set                     *dicom.Dataset
}

// archive is a find.Source and a retrieve.Source.
type archive struct {
	mu      sync.Mutex
	objects []object
	size    int64
}

// add keeps an object where there is room, and the first of those with a UID.
func (a *archive) add(room int64, o object) {
	var err error
	if o.set, err = dicom.Parse(o.bytes, o.syntax, dicom.Limits{}); err != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.size+int64(len(o.bytes)) > room || slices.ContainsFunc(a.objects, func(other object) bool { return other.instance == o.instance }) {
		return
	}
	a.size += int64(len(o.bytes))
	a.objects = append(a.objects, o)
}

func (a *archive) list() []object {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.objects)
}

// uniqueKeys of the levels.
var uniqueKeys = map[find.Level]tag.Tag{
	find.Patient: tag.PatientID, find.Study: tag.StudyInstanceUID, find.Series: tag.SeriesInstanceUID, find.Image: tag.SOPInstanceUID,
}

// Entities implements find.Source: an object stands for its patient, study and
// series.
func (a *archive) Entities(_ context.Context, q find.Query) iter.Seq2[*dicom.Dataset, error] {
	return func(yield func(*dicom.Dataset, error) bool) {
		seen := map[string]bool{}
		for _, o := range a.list() {
			key := o.set.Text(uniqueKeys[q.Level])
			if seen[key] {
				continue
			}
			if seen[key] = true; !yield(o.set, nil) {
				return
			}
		}
	}
}

// Instances implements retrieve.Source.
func (a *archive) Instances(_ context.Context, q retrieve.Query) ([]retrieve.Instance, error) {
	var found []retrieve.Instance
	for _, o := range a.list() {
		if slices.Contains(q.UIDs(), o.set.Text(uniqueKeys[q.Level])) {
			found = append(found, retrieve.Instance{
				SOPClassUID: o.class, SOPInstanceUID: o.instance, TransferSyntaxes: []string{o.syntax},
				Open: func(context.Context, string) (io.ReadCloser, error) {
					return io.NopCloser(bytes.NewReader(o.bytes)), nil
				},
			})
		}
	}
	return found, nil
}
