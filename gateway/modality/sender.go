package modality

import (
	"context"
	"errors"
	"strings"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/ian"
	"nhip/dicom/mpps"
	"nhip/dicom/service"
	"nhip/dicom/uid"
	"nhip/gateway/delivery"
	"nhip/gateway/intake"
	"nhip/gateway/interpret"
	"nhip/gateway/reason"
	"nhip/storage"
)

// A Sender brings all that a DICOM destination gets: objects by its Forwarder, and
// performed procedure steps and notices, which are few, over an association each. It
// is delivery.Sender.
type Sender struct {
	*Forwarder
	to   Destination
	read func(storage.Ref) (intake.Entry, []byte, error) // a journal entry with its body
}

// NewSender returns a Sender; open opens the object of a journal entry, read reads any
// other.
func NewSender(d Destination, open func(storage.Ref) (intake.Entry, File, error), read func(storage.Ref) (intake.Entry, []byte, error)) *Sender {
	return &Sender{NewForwarder(d, open), d, read}
}

// Send is delivery.Sender.
func (s *Sender) Send(ctx context.Context, it delivery.Item) delivery.Event {
	switch kind, _, _ := strings.Cut(it.Group, "/"); kind {
	case interpret.GroupStep:
		return s.tell(ctx, it, mpps.Class, sendStep)
	case interpret.GroupNotice:
		return s.tell(ctx, it, ian.Class, sendNotice)
	}
	return s.Forwarder.Send(ctx, it)
}

// tell sends what is in a journal entry over an association of its own.
func (s *Sender) tell(ctx context.Context, it delivery.Item, class string, send func(context.Context, *association.Association, intake.Entry, *dicom.Dataset) (dimse.Status, error)) delivery.Event {
	e, body, err := s.read(it.About)
	var d *dicom.Dataset
	if err == nil {
		d, err = dicom.Parse(body, uid.ExplicitVRLittleEndian, stepLimits)
	}
	if err != nil {
		return delivery.Event{Kind: delivery.Refused, Why: reason.New(reason.Damaged, err.Error())}
	}
	a, err := s.to.dial(ctx, association.Proposal{Contexts: service.Propose(class)})
	var rejected *association.RejectedError
	switch {
	case errors.As(err, &rejected):
		return delivery.Event{Kind: delivery.NotSent, Why: noAssociation(rejected)}
	case err != nil:
		return delivery.Event{Kind: delivery.NotSent, Why: reason.Network(err)}
	}
	late, end := delivery.Late(ctx)
	defer end()
	sending, cancel := context.WithTimeout(late, s.to.Answer)
	defer cancel()
	status, err := send(sending, a, e, d)
	var not *association.NotAcceptedError
	switch {
	case errors.As(err, &not):
		_ = a.Release(sending) // nothing was sent
		return delivery.Event{Kind: delivery.Refused, Why: reason.New(reason.NoSOPClass, uid.Name(class))}
	case err != nil:
		a.Abort("not answered")
		return delivery.Event{Kind: delivery.Unclear, Why: reason.Broken(err)}
	}
	_ = a.Release(sending) // it is answered
	event := Settle(status)
	event.Answer = delivery.Answered([]byte(e.Attrs[intake.AttrCommand] + "-RSP " + status.String()))
	return event
}

// sendStep sends an N-CREATE or N-SET. What the destination says of one that it has had
// already, because its first answer was lost, is success: nobody else tells it of this
// step.
func sendStep(ctx context.Context, a *association.Association, e intake.Entry, d *dicom.Dataset) (dimse.Status, error) {
	instance := e.Attrs[intake.AttrSOPInstance]
	if e.Attrs[intake.AttrCommand] == intake.CommandCreate {
		_, status, err := mpps.Create(ctx, a, instance, d)
		if err == nil && status.Code == dimse.DuplicateSOPInstance {
			return dimse.Status{}, nil
		}
		return status, err
	}
	status, err := mpps.Set(ctx, a, instance, d)
	if err == nil && status.Code == dimse.ProcessingFailure && status.ErrorID == mpps.NoLongerUpdated {
		return dimse.Status{}, nil
	}
	return status, err
}

// sendNotice sends an instance availability notification.
func sendNotice(ctx context.Context, a *association.Association, _ intake.Entry, d *dicom.Dataset) (dimse.Status, error) {
	n, status := ian.Parse(d)
	if status.Code != dimse.Success {
		return status, nil
	}
	return ian.Send(ctx, a, n)
}
