// Package move is the C-MOVE of the DICOM Query/Retrieve service class, PS3.4
// section C.4.2, as SCP and as SCU: the instances go by C-STORE, over an
// association of their own, to an application entity that the request names.
package move

import (
	"context"
	"slices"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/find"
	"nhip/dicom/retrieve"
	"nhip/dicom/service"
	"nhip/dicom/store"
	"nhip/dicom/ul"
)

// A Destination is where an AE title is reached: the association to be proposed
// to it, without presentation contexts.
type Destination struct {
	Address  string // host:port
	Proposal association.Proposal
}

// An SCP serves C-MOVE.
type SCP struct {
	Source retrieve.Source
	Limits retrieve.Limits
	// Destination looks an AE title up; false for one that is not known, or where
	// the peer may not send to it: A801H.
	Destination func(ctx context.Context, q retrieve.Query) (Destination, bool)
}

// Service is the SCP of the classes of these roots.
func (s *SCP) Service(roots ...find.Root) service.Service {
	return service.Service{
		AbstractSyntax: func(as string) bool {
			return slices.ContainsFunc(roots, func(r find.Root) bool { return as == r.Move() })
		},
		Handlers: map[dimse.CommandField]association.Handler{dimse.CMoveRQ: s.handle},
	}
}

func (s *SCP) handle(ctx context.Context, a *association.Association, m *association.Message) error {
	q, instances, err := retrieve.Plan(ctx, a, m, s.Source, s.Limits)
	if err != nil {
		return retrieve.Refuse(ctx, a, m, err)
	}
	to, ok := s.Destination(ctx, q)
	if !ok {
		return service.Refuse(ctx, a, m, dimse.Status{Code: dimse.MoveDestinationUnknown})
	}
	o := operation{a: a, m: m, to: to, originator: store.Originator{AETitle: a.Calling, MessageID: q.MessageID}}
	o.counts.Remaining = uint16(len(instances))
	if err := o.run(ctx, instances); err != nil {
		return err
	}
	rsp, failed := o.counts.Final(service.Cancelled(o.m))
	return service.Respond(context.WithoutCancel(ctx), a, m, rsp, failed)
}

// An operation is one C-MOVE under way.
type operation struct {
	a          *association.Association
	m          *association.Message
	to         Destination
	originator store.Originator
	counts     retrieve.Counts
}

// run does the sub-operations, over one association while it lasts and has
// presentation contexts for them. Its error is of the association that asked.
func (o *operation) run(ctx context.Context, instances []retrieve.Instance) error {
	for len(instances) > 0 && !service.Cancelled(o.m) {
		contexts, _ := store.Contexts(retrieve.Kinds(instances))
		proposed := func(i retrieve.Instance) bool {
			return slices.ContainsFunc(contexts, func(c ul.ProposedContext) bool {
				return c.AbstractSyntax == i.SOPClassUID && len(i.TransferSyntaxes) > 0 && c.TransferSyntaxes[0] == i.TransferSyntaxes[0]
			})
		}
		var later []retrieve.Instance
		now := slices.DeleteFunc(slices.Clone(instances), func(i retrieve.Instance) bool {
			if !proposed(i) {
				later = append(later, i)
			}
			return !proposed(i)
		})
		if len(now) == 0 { // no SOP class or transfer syntax that can be proposed
			o.fail(later, dimse.Status{Code: dimse.SOPClassNotSupported})
			return nil
		}
		rest, err := o.send(ctx, now, contexts)
		if err != nil {
			return err
		}
		instances = append(rest, later...)
	}
	return nil
}

// send sends what it can over one association and returns what is left: where it
// ended before, without the instance that was being sent.
func (o *operation) send(ctx context.Context, instances []retrieve.Instance, contexts []ul.ProposedContext) ([]retrieve.Instance, error) {
	p := o.to.Proposal
	p.Contexts = contexts
	to, err := association.Dial(ctx, o.to.Address, p)
	if err != nil {
		o.counts.Why = "no association with the destination"
		o.fail(instances, dimse.Status{Code: dimse.ProcessingFailure})
		return nil, nil
	}
	for n, i := range instances {
		if service.Cancelled(o.m) {
			break
		}
		status, err := retrieve.Store(ctx, to, i, o.originator)
		if err != nil {
			to.Abort("the association of the sub-operations has ended")
			return instances[n+1:], o.done(ctx, i, dimse.Status{Code: dimse.ProcessingFailure})
		}
		if err := o.done(ctx, i, status); err != nil {
			to.Abort("the C-MOVE has ended")
			return nil, err
		}
	}
	to.Release(ctx) // every instance is answered
	return nil, nil
}

// done counts a sub-operation and says so.
func (o *operation) done(ctx context.Context, i retrieve.Instance, s dimse.Status) error {
	o.counts.Done(i.SOPInstanceUID, s)
	if o.counts.Remaining == 0 {
		return nil
	}
	return service.Respond(ctx, o.a, o.m, o.counts.Pending(), nil)
}

func (o *operation) fail(instances []retrieve.Instance, s dimse.Status) {
	for _, i := range instances {
		o.counts.Done(i.SOPInstanceUID, s)
	}
}

// Move asks the peer for a C-MOVE to the AE title of a destination, with a SOP
// class that service.Propose proposed: the root's Move. See retrieve.Await.
func Move(ctx context.Context, a *association.Association, root find.Root, destination string, identifier *dicom.Dataset, progress func(dimse.SubOperations) bool) (retrieve.Result, error) {
	c, err := service.Context(a, root.Move())
	if err != nil {
		return retrieve.Result{}, err
	}
	body, err := service.Encode(identifier, c.TransferSyntax)
	if err != nil {
		return retrieve.Result{}, err
	}
	call, err := a.Start(ctx, c.ID, dimse.Command{Field: dimse.CMoveRQ, AffectedSOPClassUID: root.Move(), MoveDestination: destination}, body)
	if err != nil {
		return retrieve.Result{}, err
	}
	return retrieve.Await(ctx, call, progress)
}
