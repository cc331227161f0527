package mpps

import (
	"context"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/service"
	"nhip/dicom/tag"
)

// Create tells the peer that a step has begun, over an association with a context
// of Class. It returns the SOP instance UID, which is the peer's where the one
// given is "". The error is for everything but the peer's answer.
func Create(ctx context.Context, a *association.Association, sopInstanceUID string, step *dicom.Dataset) (string, dimse.Status, error) {
	rsp, _, err := request(ctx, a, Class, dimse.Command{
		Field: dimse.NCreateRQ, AffectedSOPClassUID: Class, AffectedSOPInstanceUID: sopInstanceUID,
	}, step)
	if rsp.AffectedSOPInstanceUID != "" {
		sopInstanceUID = rsp.AffectedSOPInstanceUID
	}
	return sopInstanceUID, rsp.Status, err
}

// Set tells the peer what has changed of a step.
func Set(ctx context.Context, a *association.Association, sopInstanceUID string, change *dicom.Dataset) (dimse.Status, error) {
	rsp, _, err := request(ctx, a, Class, dimse.Command{
		Field: dimse.NSetRQ, RequestedSOPClassUID: Class, RequestedSOPInstanceUID: sopInstanceUID,
	}, change)
	return rsp.Status, err
}

// Get asks the peer for attributes of a step, all where there are none in the
// list, over an association with a context of RetrieveClass.
func Get(ctx context.Context, a *association.Association, sopInstanceUID string, attributes ...tag.Tag) (*dicom.Dataset, dimse.Status, error) {
	rsp, d, err := request(ctx, a, RetrieveClass, dimse.Command{
		Field: dimse.NGetRQ, RequestedSOPClassUID: RetrieveClass, RequestedSOPInstanceUID: sopInstanceUID, Attributes: attributes,
	}, nil)
	return d, rsp.Status, err
}

func request(ctx context.Context, a *association.Association, class string, c dimse.Command, d *dicom.Dataset) (dimse.Command, *dicom.Dataset, error) {
	pc, err := service.Context(a, class)
	if err != nil {
		return dimse.Command{}, nil, err
	}
	return service.Request(ctx, a, pc, c, d)
}
