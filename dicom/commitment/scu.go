package commitment

import (
	"context"

	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/service"
)

// Ask asks the peer to commit itself to the instances of a transaction, over an
// association with a context of Class. Success says that it will report, and not
// more.
func Ask(ctx context.Context, a *association.Association, t Transaction) (dimse.Status, error) {
	c, err := service.Context(a, Class)
	if err != nil {
		return dimse.Status{}, err
	}
	rsp, _, err := service.Stream(ctx, a, c, dimse.Command{
		Field: dimse.NActionRQ, RequestedSOPClassUID: Class, RequestedSOPInstanceUID: Instance, ActionTypeID: actionRequest,
	}, newContentReader(content{uid: t.UID, refs: t.References}, c.TransferSyntax))
	return rsp.Status, err
}

// A Received is a report as it comes in.
type Received struct {
	service.Peer
	SCP            string // AE title of who reports
	Own            bool   // over an association of the SCP's own
	TransactionUID string
	Outcome
}

// An SCU takes reports.
type SCU struct {
	// Take keeps a report; what it returns success for is durable. Whoever deletes
	// because of a report has to see it by Expectation.Check first.
	Take    func(ctx context.Context, r Received) dimse.Status
	MaxRefs int // references of a report; 0: DefaultMaxRefs
}

// Handlers are for association.Proposal: reports over the association that
// asked.
func (s *SCU) Handlers() map[dimse.CommandField]association.Handler {
	return map[dimse.CommandField]association.Handler{dimse.NEventReportRQ: s.handler(false)}
}

// Service takes reports over associations that the SCP begins, in which it is
// SCP.
func (s *SCU) Service() service.Service {
	return service.Service{
		AbstractSyntax: isClass,
		SCP:            isClass,
		Handlers:       map[dimse.CommandField]association.Handler{dimse.NEventReportRQ: s.handler(true)},
	}
}

func (s *SCU) handler(own bool) association.Handler {
	return func(ctx context.Context, a *association.Association, m *association.Message) error {
		c, status, err := readMessage(m, s.MaxRefs, 0, 0, 0)
		if err != nil {
			return err
		}
		event := m.Command.EventTypeID
		switch {
		case status.Code != dimse.Success:
		case event != eventSuccess && event != eventFailures:
			status = dimse.Status{Code: dimse.NoSuchEventType}
		default:
			r := Received{service.PeerOf(a), a.Called, own, c.uid, Outcome{c.refs, c.failed}}
			if own {
				r.SCP = a.Calling
			}
			status = s.Take(ctx, r)
		}
		return service.Respond(context.WithoutCancel(ctx), a, m, dimse.Command{Status: status, EventTypeID: event}, nil)
	}
}

// An Expectation is a report that is awaited.
type Expectation struct {
	Transaction
	SCP string // AE title of who was asked
}

// Check judges a report for an expectation. Anything but success is to be ignored,
// and answered so: a report of somebody else, which may be forged, of another
// transaction, or of other instances than were asked for. AE titles can be
// forged too: that a peer calls from its address is for who accepts its
// association.
func (e Expectation) Check(r Received) dimse.Status {
	if r.SCP != e.SCP || r.TransactionUID != e.UID || e.UID == "" {
		return Unknown
	}
	if err := r.Covers(e.References); err != nil {
		return dimse.Status{Code: dimse.InvalidArgumentValue, Comment: "not the references of the request"}
	}
	return dimse.Status{}
}

// Unknown is the answer to a report that nobody awaits.
var Unknown = dimse.Status{Code: dimse.InvalidArgumentValue, Comment: "no such transaction"}
