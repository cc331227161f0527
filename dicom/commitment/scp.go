package commitment

import (
	"context"
	"errors"
	"fmt"

	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/service"
	"nhip/dicom/ul"
)

// A Request is an N-ACTION-RQ that asks for commitment.
type Request struct {
	service.Peer // the SCU is Calling
	Transaction
}

// An SCP takes requests for commitment.
type SCP struct {
	// Accept keeps the request; what it returns success for is durable, and its
	// report is owed from then on (NewReport). A transaction UID that is in use is
	// success where the request is the Same, since its answer may have been lost,
	// and InUse otherwise.
	Accept func(ctx context.Context, r Request) dimse.Status
	// Answered, if set, is called after a success was answered: the report may go
	// over the association. It does not wait for anything.
	Answered func(r Request, a *association.Association)
	MaxRefs  int // references of a request; more are answered 0213H; 0: DefaultMaxRefs
}

// InUse refuses a request whose transaction UID is that of another one.
var InUse = dimse.Status{Code: dimse.InvalidArgumentValue, Comment: "the transaction UID is in use"}

// Service is the SCP of the push model.
func (s *SCP) Service() service.Service {
	return service.Service{
		AbstractSyntax: isClass,
		Handlers:       map[dimse.CommandField]association.Handler{dimse.NActionRQ: s.handle},
	}
}

func isClass(as string) bool { return as == Class }

func (s *SCP) handle(ctx context.Context, a *association.Association, m *association.Message) error {
	c, status, err := readMessage(m, s.MaxRefs, actionRequest, m.Command.ActionTypeID, dimse.NoSuchActionType)
	if err != nil {
		return err
	}
	r := Request{service.PeerOf(a), Transaction{c.uid, c.refs}}
	if status.Code == dimse.Success {
		if wrong := r.check(); wrong != "" {
			status = dimse.Status{Code: dimse.InvalidArgumentValue, Comment: wrong}
		} else {
			status = s.Accept(ctx, r)
		}
	}
	rsp := dimse.Command{Status: status, ActionTypeID: m.Command.ActionTypeID}
	if err := service.Respond(context.WithoutCancel(ctx), a, m, rsp, nil); err != nil {
		return err
	}
	if s.Answered != nil && status.Code == dimse.Success {
		s.Answered(r, a)
	}
	return nil
}

// readMessage reads the data set of an N-ACTION or N-EVENT-REPORT. The status
// refuses one that is not of the service class. The error has ended the
// association.
func readMessage(m *association.Message, most int, want, kind uint16, unknown uint16) (content, dimse.Status, error) {
	if most == 0 {
		most = DefaultMaxRefs
	}
	most = min(most, MaxRefs)
	class, instance := service.Named(m.Command)
	failed := func(code uint16, format string, args ...any) (content, dimse.Status, error) {
		return content{}, dimse.Status{Code: code, Comment: fmt.Sprintf(format, args...)}, nil
	}
	switch {
	case class != Class:
		return failed(dimse.ClassInstanceConflict, "the SOP class is not the presentation context's")
	case instance != Instance:
		return failed(dimse.NoSuchSOPInstance, "not the well-known SOP instance")
	case want != 0 && kind != want:
		return failed(unknown, "no such type")
	case m.DataSet == nil:
		return failed(dimse.InvalidArgumentValue, "no data set")
	}
	c, err := readContent(m.DataSet, m.Context.TransferSyntax, most)
	if drained := m.DataSet.Drain(); drained != nil {
		return c, dimse.Status{}, drained
	}
	switch {
	case errors.Is(err, errTooMany):
		return failed(dimse.ResourceLimitation, "more than %d references", most)
	case err != nil:
		return failed(dimse.ProcessingFailure, "the data set cannot be read")
	}
	return c, dimse.Status{}, nil
}

// ProposeReport is what an SCP proposes for an association of its own to report
// over: the roles are reversed, PS3.4 section J.3.3.
func ProposeReport(p *association.Proposal) {
	p.Contexts = service.Propose(Class)
	p.Roles = append(p.Roles, ul.RoleSelection{SOPClassUID: Class, SCP: true})
}

// SendReport sends the report of a transaction, over the association of the
// request or one as ProposeReport prepares it, and returns what the SCU answers.
// The error is for everything else: see Report.Failed.
func SendReport(ctx context.Context, a *association.Association, transactionUID string, o Outcome) (dimse.Status, error) {
	event := uint16(eventSuccess)
	if len(o.Failed) > 0 {
		event = eventFailures
	}
	c, err := service.Context(a, Class)
	if err != nil {
		return dimse.Status{}, err
	}
	rsp, _, err := service.Stream(ctx, a, c, dimse.Command{
		Field: dimse.NEventReportRQ, AffectedSOPClassUID: Class, AffectedSOPInstanceUID: Instance, EventTypeID: event,
	}, newContentReader(content{transactionUID, o.Committed, o.Failed}, c.TransferSyntax))
	return rsp.Status, err
}
