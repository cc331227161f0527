// Package ian is the DICOM Instance Availability Notification service class, PS3.4
// annex R: an N-CREATE by which who keeps instances tells others that they can be
// had. It promises nothing: that is package commitment.
package ian

import (
	"context"
	"fmt"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/service"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// Class is the SOP class.
const Class = uid.InstanceAvailabilityNotification

// An Availability says how instances can be had, PS3.3 section C.4.23.1.1.
type Availability string

// What an Availability may be.
const (
	Online      Availability = "ONLINE"
	Nearline    Availability = "NEARLINE"
	Offline     Availability = "OFFLINE"
	Unavailable Availability = "UNAVAILABLE"
)

// An Instance is one that a notification names.
type Instance struct {
	SOPClassUID, SOPInstanceUID string
	Availability                Availability
	RetrieveAETitle             string
}

// A Series is the instances of one series.
type Series struct {
	SeriesInstanceUID string
	Instances         []Instance
}

// A Notification is about instances of one study, PS3.4 table R.3.2-1.
type Notification struct {
	StudyInstanceUID string
	Step             string // SOP instance UID of the performed procedure step that made them, if any
	Series           []Series
}

// Limits of a notification. Zero means the default.
const (
	DefaultMaxBytes     = 16 << 20
	DefaultMaxInstances = 100_000
)

// A Handler takes a notification. What it returns success for is durable.
type Handler func(ctx context.Context, from service.Peer, n Notification) dimse.Status

// SCP is the service that takes notifications.
func SCP(h Handler) service.Service {
	return service.Service{
		AbstractSyntax: func(as string) bool { return as == Class },
		Handlers: map[dimse.CommandField]association.Handler{
			dimse.NCreateRQ: func(ctx context.Context, a *association.Association, m *association.Message) error {
				d, err := service.Read(m, DefaultMaxBytes)
				if err != nil {
					return service.RefuseError(ctx, a, m, err)
				}
				instance := m.Command.AffectedSOPInstanceUID
				if instance == "" {
					instance = service.NewUID()
				}
				status := check(m.Command.AffectedSOPClassUID, instance)
				if status.Code == dimse.Success {
					var n Notification
					if n, status = Parse(d); status.Code == dimse.Success {
						status = h(ctx, service.PeerOf(a), n)
					}
				}
				return service.Respond(context.WithoutCancel(ctx), a, m, dimse.Command{Status: status, AffectedSOPInstanceUID: instance}, nil)
			},
		},
	}
}

func check(class, instance string) dimse.Status {
	switch {
	case class != Class:
		return failed(dimse.ClassInstanceConflict, "the SOP class is not the presentation context's")
	case !uid.Valid(instance):
		return failed(dimse.InvalidSOPInstance, "no valid SOP instance UID")
	}
	return dimse.Status{}
}

func failed(code uint16, format string, args ...any) dimse.Status {
	return dimse.Status{Code: code, Comment: fmt.Sprintf(format, args...)}
}

// Parse reads a notification. The status refuses one without what PS3.4 table
// R.3.2-1 demands, or of more than DefaultMaxInstances.
func Parse(d *dicom.Dataset) (Notification, dimse.Status) {
	n := Notification{StudyInstanceUID: d.Text(tag.StudyInstanceUID)}
	for _, step := range d.Items(tag.ReferencedPerformedProcedureStepSequence) {
		n.Step = step.Text(tag.ReferencedSOPInstanceUID)
	}
	if !uid.Valid(n.StudyInstanceUID) {
		return n, failed(dimse.MissingAttributeValue, "no valid study instance UID")
	}
	total := 0
	for _, s := range d.Items(tag.ReferencedSeriesSequence) {
		series := Series{SeriesInstanceUID: s.Text(tag.SeriesInstanceUID)}
		if !uid.Valid(series.SeriesInstanceUID) {
			return n, failed(dimse.InvalidAttributeValue, "a series without a valid series instance UID")
		}
		for _, ref := range s.Items(tag.ReferencedSOPSequence) {
			i := Instance{
				ref.Text(tag.ReferencedSOPClassUID), ref.Text(tag.ReferencedSOPInstanceUID),
				Availability(ref.Text(tag.InstanceAvailability)), ref.Text(tag.RetrieveAETitle),
			}
			if s := i.check(); s.Code != dimse.Success {
				return n, s
			}
			if total++; total > DefaultMaxInstances {
				return n, failed(dimse.ResourceLimitation, "more than %d instances", DefaultMaxInstances)
			}
			series.Instances = append(series.Instances, i)
		}
		n.Series = append(n.Series, series)
	}
	if total == 0 {
		return n, failed(dimse.MissingAttributeValue, "no referenced SOP instance")
	}
	return n, dimse.Status{}
}

func (i Instance) check() dimse.Status {
	switch i.Availability {
	case Online, Nearline, Offline, Unavailable:
	default:
		return failed(dimse.InvalidAttributeValue, "no instance availability")
	}
	if !uid.Valid(i.SOPClassUID) || !uid.Valid(i.SOPInstanceUID) {
		return failed(dimse.InvalidAttributeValue, "a reference without valid SOP class and instance UIDs")
	}
	return dimse.Status{}
}

// Dataset is the notification as it is sent.
func (n Notification) Dataset() (*dicom.Dataset, error) {
	d := dicom.NewDataset()
	var steps, series []*dicom.Dataset
	if n.Step != "" {
		step, err := texts(tag.ReferencedSOPClassUID, uid.ModalityPerformedProcedureStep, tag.ReferencedSOPInstanceUID, n.Step)
		if err != nil {
			return nil, err
		}
		if err := step.SetItems(tag.PerformedWorkitemCodeSequence); err != nil {
			return nil, err
		}
		steps = append(steps, step)
	}
	for _, s := range n.Series {
		item, err := texts(tag.SeriesInstanceUID, s.SeriesInstanceUID)
		if err != nil {
			return nil, err
		}
		var refs []*dicom.Dataset
		for _, i := range s.Instances {
			ref, err := texts(tag.ReferencedSOPClassUID, i.SOPClassUID, tag.ReferencedSOPInstanceUID, i.SOPInstanceUID,
				tag.InstanceAvailability, string(i.Availability), tag.RetrieveAETitle, i.RetrieveAETitle)
			if err != nil {
				return nil, err
			}
			refs = append(refs, ref)
		}
		if err := item.SetItems(tag.ReferencedSOPSequence, refs...); err != nil {
			return nil, err
		}
		series = append(series, item)
	}
	if err := d.SetItems(tag.ReferencedPerformedProcedureStepSequence, steps...); err != nil {
		return nil, err
	}
	if err := d.SetItems(tag.ReferencedSeriesSequence, series...); err != nil {
		return nil, err
	}
	return d, d.SetText(tag.StudyInstanceUID, n.StudyInstanceUID)
}

// texts is a data set of pairs of tag and value.
func texts(pairs ...any) (*dicom.Dataset, error) {
	d := dicom.NewDataset()
	for i := 0; i < len(pairs); i += 2 {
		if err := d.SetText(pairs[i].(tag.Tag), pairs[i+1].(string)); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// Send sends a notification over an association with a context of Class. The
// error is for everything but the peer's answer.
func Send(ctx context.Context, a *association.Association, n Notification) (dimse.Status, error) {
	d, err := n.Dataset()
	if err != nil {
		return dimse.Status{}, err
	}
	c, err := service.Context(a, Class)
	if err != nil {
		return dimse.Status{}, err
	}
	rsp, _, err := service.Request(ctx, a, c, dimse.Command{
		Field: dimse.NCreateRQ, AffectedSOPClassUID: Class, AffectedSOPInstanceUID: service.NewUID(),
	}, d)
	return rsp.Status, err
}
