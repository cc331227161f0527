// Package get is the C-GET of the DICOM Query/Retrieve service class, PS3.4
// section C.4.3, as SCP and as SCU: the instances come by C-STORE over the
// association that asked, on which the requestor is SCP of the storage classes.
package get

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
	"nhip/dicom/uid"
	"nhip/dicom/ul"
)

// An SCP serves C-GET.
type SCP struct {
	Source retrieve.Source
	Limits retrieve.Limits
}

// Service is the SCP of the classes of these roots. The peer may be SCP of every
// storage class, in every transfer syntax: an instance is sent in what was
// accepted of those that it can be had in.
func (s *SCP) Service(roots ...find.Root) service.Service {
	return service.Service{
		AbstractSyntax: func(as string) bool {
			return uid.IsStorageClass(as) || slices.ContainsFunc(roots, func(r find.Root) bool { return as == r.Get() })
		},
		TransferSyntax: uid.IsTransferSyntax,
		SCP:            uid.IsStorageClass,
		Handlers:       map[dimse.CommandField]association.Handler{dimse.CGetRQ: s.handle},
	}
}

func (s *SCP) handle(ctx context.Context, a *association.Association, m *association.Message) error {
	_, instances, err := retrieve.Plan(ctx, a, m, s.Source, s.Limits)
	if err != nil {
		return retrieve.Refuse(ctx, a, m, err)
	}
	counts := retrieve.Counts{}
	counts.Remaining = uint16(len(instances))
	for _, i := range instances {
		if service.Cancelled(m) {
			break
		}
		status, err := retrieve.Store(ctx, a, i, store.Originator{})
		if err != nil {
			return err
		}
		counts.Done(i.SOPInstanceUID, status)
		if counts.Remaining > 0 {
			if err := service.Respond(ctx, a, m, counts.Pending(), nil); err != nil {
				return err
			}
		}
	}
	rsp, failed := counts.Final(service.Cancelled(m))
	return service.Respond(context.WithoutCancel(ctx), a, m, rsp, failed)
}

// Propose adds to a proposal what Get needs: a presentation context for the C-GET
// and one for each kind of object that may come, in which we are SCP, and who
// stores them. An association has room for 127 kinds; what does not find any is
// returned.
func Propose(p *association.Proposal, root find.Root, kinds []store.Kind, h store.Handler) (rest []store.Kind) {
	p.Contexts, rest = store.Contexts(kinds)
	if len(p.Contexts) == ul.MaxPresentationContexts {
		last := p.Contexts[len(p.Contexts)-1]
		rest = append(rest, store.Kind{SOPClassUID: last.AbstractSyntax, TransferSyntaxUID: last.TransferSyntaxes[0]})
		p.Contexts = p.Contexts[:len(p.Contexts)-1]
	}
	for _, c := range p.Contexts {
		role := ul.RoleSelection{SOPClassUID: c.AbstractSyntax, SCP: true}
		if !slices.Contains(p.Roles, role) {
			p.Roles = append(p.Roles, role)
		}
	}
	get := service.Propose(root.Get())[0]
	get.ID = byte(2*len(p.Contexts) + 1)
	p.Contexts = append(p.Contexts, get)
	p.Handlers = map[dimse.CommandField]association.Handler{dimse.CStoreRQ: store.Handle(h)}
	return rest
}

// Get asks the peer for a C-GET on an association as Propose prepares it. See
// retrieve.Await. An instance whose handler answers a failure is among those that
// failed.
func Get(ctx context.Context, a *association.Association, root find.Root, identifier *dicom.Dataset, progress func(dimse.SubOperations) bool) (retrieve.Result, error) {
	c, err := service.Context(a, root.Get())
	if err != nil {
		return retrieve.Result{}, err
	}
	body, err := service.Encode(identifier, c.TransferSyntax)
	if err != nil {
		return retrieve.Result{}, err
	}
	call, err := a.Start(ctx, c.ID, dimse.Command{Field: dimse.CGetRQ, AffectedSOPClassUID: root.Get()}, body)
	if err != nil {
		return retrieve.Result{}, err
	}
	return retrieve.Await(ctx, call, progress)
}
