// Package retrieve is what C-MOVE and C-GET have in common, PS3.4 section C.4.2
// and C.4.3: what is asked for, the instances that it comes to, and the counts of
// the C-STORE sub-operations.
package retrieve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/find"
	"nhip/dicom/service"
	"nhip/dicom/store"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// A Query is a C-MOVE-RQ or C-GET-RQ.
type Query struct {
	service.Peer
	Root        find.Root
	Level       find.Level
	Identifier  *dicom.Dataset
	MessageID   uint16
	Destination string // AE title, of a C-MOVE
}

// UIDs returns the values of the unique key of the level: those of the study,
// series or instances that are asked for, or a patient ID.
func (q Query) UIDs() []string {
	switch q.Level {
	case find.Patient:
		return q.Identifier.Texts(tag.PatientID)
	case find.Study:
		return q.Identifier.Texts(tag.StudyInstanceUID)
	case find.Series:
		return q.Identifier.Texts(tag.SeriesInstanceUID)
	}
	return q.Identifier.Texts(tag.SOPInstanceUID)
}

// An Instance is one that a query comes to.
type Instance struct {
	SOPClassUID, SOPInstanceUID string
	// TransferSyntaxes are those in which it can be had, the one that it is kept in
	// first.
	TransferSyntaxes []string
	// Open returns the data set in one of them, without Part 10 header.
	Open func(ctx context.Context, transferSyntax string) (io.ReadCloser, error)
}

// A Source finds the instances of a query. No instances are no error. An error is
// answered by its status where it is a *service.StatusError, else A701H, unable to
// calculate the number of matches.
type Source interface {
	Instances(ctx context.Context, q Query) ([]Instance, error)
}

// Limits of one retrieval. Zero means the default.
type Limits struct {
	Instances  int   // more are refused, A701H; 65,535, which is what the counts hold
	Identifier int64 // bytes; 1 MiB
}

// WithDefaults fills in what is zero or beyond what the counts hold.
func (l Limits) WithDefaults() Limits {
	if l.Instances == 0 || l.Instances > math.MaxUint16 {
		l.Instances = math.MaxUint16
	}
	if l.Identifier == 0 {
		l.Identifier = 1 << 20
	}
	return l
}

// Plan reads a request and returns the instances that it comes to. An error that
// is a *service.StatusError is to be answered; another has ended the association.
func Plan(ctx context.Context, a *association.Association, m *association.Message, s Source, l Limits) (Query, []Instance, error) {
	l = l.WithDefaults()
	identifier, err := service.Read(m, l.Identifier)
	if err != nil {
		return Query{}, nil, err
	}
	root, _ := find.RootOf(m.Context.AbstractSyntax)
	level, status := find.LevelOf(identifier, root, false, true)
	if status.Code != dimse.Success {
		return Query{}, nil, &service.StatusError{Status: status}
	}
	q := Query{
		Peer: service.PeerOf(a), Root: root, Level: level, Identifier: identifier,
		MessageID: m.Command.MessageID, Destination: m.Command.MoveDestination,
	}
	instances, err := s.Instances(ctx, q)
	if err != nil {
		return q, nil, &service.StatusError{Status: service.StatusOf(err, dimse.CannotCalculateMatches)}
	}
	if len(instances) > l.Instances {
		return q, nil, &service.StatusError{Status: dimse.Status{
			Code: dimse.CannotCalculateMatches, Comment: fmt.Sprintf("%d instances, at most %d at once", len(instances), l.Instances),
		}}
	}
	return q, instances, nil
}

// Refuse answers the error of Plan, or returns it where it has ended the
// association. What is no status of C-MOVE and C-GET becomes one.
func Refuse(ctx context.Context, a *association.Association, m *association.Message, err error) error {
	status := service.StatusOf(err, 0)
	switch status.Code {
	case 0:
		return err
	case dimse.ProcessingFailure:
		status.Code = dimse.CannotUnderstand
	case dimse.ResourceLimitation:
		status.Code = dimse.CannotPerformSubOps
	}
	return service.Refuse(ctx, a, m, status)
}

// Counts are those of the sub-operations of one retrieval.
type Counts struct {
	dimse.SubOperations
	FailedUIDs []string // of the instances whose sub-operation failed
	Why        string   // for the last response, where there is one reason for all
}

// Done counts one sub-operation by its status.
func (c *Counts) Done(instance string, s dimse.Status) {
	c.Remaining--
	switch s.Class() {
	case dimse.ClassSuccess:
		c.Completed++
	case dimse.ClassWarning:
		c.Warning++
	default:
		c.Failed++
		c.FailedUIDs = append(c.FailedUIDs, instance)
	}
}

// Final is the last response and its data set, PS3.4 tables C.4-2 and C.4-3:
// success; B000H where a sub-operation failed or had a warning; A702H where all
// failed; FE00H where the peer has cancelled. The data set lists the instances
// that failed.
func (c *Counts) Final(cancelled bool) (dimse.Command, *dicom.Dataset) {
	n := c.SubOperations
	rsp := dimse.Command{SubOperations: &n}
	switch {
	case cancelled:
		rsp.Status.Code = dimse.Cancelled
	case n.Failed > 0 && n.Completed+n.Warning == 0:
		rsp.Status = dimse.Status{Code: dimse.CannotPerformSubOps, Comment: cmp.Or(c.Why, "every sub-operation failed")}
	case n.Failed+n.Warning > 0:
		rsp.Status = dimse.Status{Code: dimse.SomeSubOperationsFailed, Comment: cmp.Or(c.Why, fmt.Sprintf("%d sub-operations failed", n.Failed))}
	}
	if len(c.FailedUIDs) == 0 {
		return rsp, nil
	}
	d := dicom.NewDataset()
	if d.SetText(tag.FailedSOPInstanceUIDList, c.FailedUIDs...) != nil {
		return rsp, nil
	}
	return rsp, d
}

// Pending is a response between two sub-operations.
func (c *Counts) Pending() dimse.Command {
	n := c.SubOperations
	return dimse.Command{Status: dimse.Status{Code: dimse.Pending}, SubOperations: &n}
}

// Store does one sub-operation: it sends an instance in the first of its transfer
// syntaxes that the peer takes. The error is of an association that has ended.
func Store(ctx context.Context, a *association.Association, i Instance, o store.Originator) (dimse.Status, error) {
	for _, ts := range i.TransferSyntaxes {
		if _, err := a.ContextFor(i.SOPClassUID, ts); err != nil {
			continue
		}
		r, err := i.Open(ctx, ts)
		if err != nil {
			return dimse.Status{Code: dimse.ProcessingFailure, Comment: "the instance cannot be read"}, nil
		}
		status, err := store.Send(ctx, a, store.Object{
			SOPClassUID: i.SOPClassUID, SOPInstanceUID: i.SOPInstanceUID, TransferSyntaxUID: ts, DataSet: r, Originator: o,
		})
		r.Close()
		var refused *association.NotAcceptedError
		if errors.As(err, &refused) {
			continue // accepted, but the peer is not SCP in it
		}
		return status, err
	}
	return dimse.Status{Code: dimse.SOPClassNotSupported, Comment: "the peer takes it in no transfer syntax that it can be had in"}, nil
}

// Kinds returns what is to be proposed for the instances, the kept transfer
// syntaxes first, so that these find a place where not all do.
func Kinds(instances []Instance) []store.Kind {
	var kinds []store.Kind
	seen := map[store.Kind]bool{}
	more := true
	for at := 0; more; at++ {
		more = false
		for _, i := range instances {
			if at >= len(i.TransferSyntaxes) {
				continue
			}
			more = true
			k := store.Kind{SOPClassUID: i.SOPClassUID, TransferSyntaxUID: i.TransferSyntaxes[at]}
			if !seen[k] && uid.Valid(k.SOPClassUID) && uid.Valid(k.TransferSyntaxUID) {
				seen[k] = true
				kinds = append(kinds, k)
			}
		}
	}
	return kinds
}

// A Result is what a peer made of a C-MOVE or C-GET.
type Result struct {
	Status dimse.Status
	dimse.SubOperations
	FailedUIDs []string // as the peer lists them
}

// Await takes the responses of a C-MOVE or C-GET and calls progress, which may be
// nil, for each that is pending. Where it returns false the operation is
// cancelled.
func Await(ctx context.Context, call *association.Call, progress func(dimse.SubOperations) bool) (Result, error) {
	var r Result
	wanted := true
	for {
		rsp, err := call.Next(ctx)
		if err != nil {
			return r, err
		}
		if n := rsp.Command.SubOperations; n != nil {
			r.SubOperations = *n
		}
		if rsp.Command.Status.Class() == dimse.ClassPending {
			if wanted && progress != nil && !progress(r.SubOperations) {
				wanted = false
				if err := call.Cancel(ctx); err != nil {
					return r, err
				}
			}
			continue
		}
		r.Status = rsp.Command.Status
		d, err := service.Read(rsp, maxFailedList)
		if err != nil {
			return r, err
		}
		r.FailedUIDs = d.Texts(tag.FailedSOPInstanceUIDList)
		return r, nil
	}
}

// maxFailedList is 65,535 UIDs.
const maxFailedList = 65535*65 + 1024
