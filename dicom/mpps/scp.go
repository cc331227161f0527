package mpps

import (
	"context"
	"errors"
	"sync"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/service"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// A Request says which step is meant, and by whom.
type Request struct {
	service.Peer
	SOPInstanceUID string // a valid UID, not to be trusted as a name for anything
}

// ErrExists is returned by a Keeper for a step that it has: 0111H.
var ErrExists = errors.New("dicom/mpps: the step exists")

// A Keeper keeps steps. What it returns nil for is durable. An error is answered
// by its status where it is a *service.StatusError, else 0110H; a modality tries
// that again.
type Keeper interface {
	// Create keeps a new step, in the state IN PROGRESS.
	Create(ctx context.Context, r Request, step *dicom.Dataset) error
	// Get returns a step, nil where there is none.
	Get(ctx context.Context, sopInstanceUID string) (*dicom.Dataset, error)
	// Set keeps a step that was changed, and may look at the change.
	Set(ctx context.Context, r Request, change, step *dicom.Dataset) error
}

// DefaultMaxBytes is the longest data set of a request. A performed series that
// lists 10,000 images has about 1.5 MB.
const DefaultMaxBytes = 8 << 20

// An SCP serves N-CREATE and N-SET of steps, and N-GET by the retrieve class.
type SCP struct {
	Keeper   Keeper
	MaxBytes int64 // of a data set; 0: DefaultMaxBytes

	mu sync.Mutex // a step is changed by one request at a time
}

// Service is the SCP of both SOP classes.
func (s *SCP) Service() service.Service {
	return service.Service{
		AbstractSyntax: func(as string) bool { return as == Class || as == RetrieveClass },
		Handlers: map[dimse.CommandField]association.Handler{
			dimse.NCreateRQ: s.of(Class, s.create),
			dimse.NSetRQ:    s.of(Class, s.set),
			dimse.NGetRQ:    s.of(RetrieveClass, s.get),
		},
	}
}

// A reply is what a request is answered.
type reply struct {
	status   dimse.Status
	tags     []tag.Tag
	instance string
	dataSet  *dicom.Dataset
}

// of makes a handler of an operation that one SOP class has.
func (s *SCP) of(class string, f func(ctx context.Context, r Request, m *association.Message, d *dicom.Dataset) reply) association.Handler {
	return func(ctx context.Context, a *association.Association, m *association.Message) error {
		limit := s.MaxBytes
		if limit == 0 {
			limit = DefaultMaxBytes
		}
		d, err := service.Read(m, limit)
		if err != nil {
			return service.RefuseError(ctx, a, m, err)
		}
		var r reply
		asked, instance := service.Named(m.Command)
		switch {
		case asked != m.Context.AbstractSyntax:
			r.status = failed(dimse.ClassInstanceConflict, "the SOP class is not the presentation context's")
		case asked != class:
			r.status = failed(dimse.UnrecognizedOperation, "%v is not of this SOP class", m.Command.Field)
		case instance != "" && !uid.Valid(instance):
			r.status = failed(dimse.InvalidSOPInstance, "no valid SOP instance UID")
		default:
			r = f(ctx, Request{service.PeerOf(a), instance}, m, d)
		}
		rsp := dimse.Command{Status: r.status, AffectedSOPInstanceUID: r.instance}
		if r.status.Code == dimse.AttributeListError || r.status.Class() == dimse.ClassFailure {
			rsp.OffendingElements = r.tags
		}
		return service.Respond(context.WithoutCancel(ctx), a, m, rsp, r.dataSet)
	}
}

// create is N-CREATE, PS3.4 section F.7.2.1. A modality that leaves the UID to us
// finds it in the response.
func (s *SCP) create(ctx context.Context, r Request, m *association.Message, d *dicom.Dataset) reply {
	status, tags := CheckCreate(d)
	if status.Class() == dimse.ClassFailure {
		return reply{status: status, tags: tags}
	}
	if r.SOPInstanceUID == "" {
		r.SOPInstanceUID = service.NewUID()
	}
	switch err := s.Keeper.Create(ctx, r, d); {
	case errors.Is(err, ErrExists):
		return reply{status: failed(dimse.DuplicateSOPInstance, "the step exists")}
	case err != nil:
		return reply{status: service.StatusOf(err, dimse.ProcessingFailure)}
	}
	return reply{status: status, tags: tags, instance: r.SOPInstanceUID}
}

// set is N-SET, PS3.4 section F.7.2.2.
func (s *SCP) set(ctx context.Context, r Request, m *association.Message, change *dicom.Dataset) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	step, err := s.Keeper.Get(ctx, r.SOPInstanceUID)
	switch {
	case err != nil:
		return reply{status: service.StatusOf(err, dimse.ProcessingFailure)}
	case step == nil:
		return reply{status: failed(dimse.NoSuchSOPInstance, "no such performed procedure step")}
	}
	status, tags := CheckSet(step, change)
	if status.Class() == dimse.ClassFailure {
		return reply{status: status, tags: tags}
	}
	merged, err := Merge(step, change)
	if err != nil {
		return reply{status: failed(dimse.InvalidAttributeValue, "an attribute cannot be read")}
	}
	if err := s.Keeper.Set(ctx, r, change, merged); err != nil {
		return reply{status: service.StatusOf(err, dimse.ProcessingFailure)}
	}
	return reply{status: status, tags: tags}
}

// get is N-GET, PS3.4 section F.8.2.1: the attributes of the list, all where
// there is none.
func (s *SCP) get(ctx context.Context, r Request, m *association.Message, _ *dicom.Dataset) reply {
	step, err := s.Keeper.Get(ctx, r.SOPInstanceUID)
	switch {
	case err != nil:
		return reply{status: service.StatusOf(err, dimse.ProcessingFailure)}
	case step == nil:
		return reply{status: failed(dimse.NoSuchSOPInstance, "no such performed procedure step")}
	}
	d, err := service.Attributes(step, m.Command.Attributes)
	if err != nil {
		return reply{status: failed(dimse.ProcessingFailure, "the step cannot be read")}
	}
	return reply{dataSet: d}
}
