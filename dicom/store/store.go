// Package store is the DICOM Storage service class, PS3.4 annex B: C-STORE as
// SCP and as SCU. The data set goes through as bytes, in both directions: it is
// neither held in memory nor changed.
package store

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/uid"
	"nhip/dicom/ul"
)

// A Request is a C-STORE-RQ and the association that it came over.
type Request struct {
	Calling, Called   string // AE titles
	Peer              netip.AddrPort
	Implementation    string // of the peer
	SOPClassUID       string // by the command set, as is SOPInstanceUID
	SOPInstanceUID    string // not to be trusted as a name for anything
	TransferSyntaxUID string // of the presentation context: what the data set is encoded in
	MessageID         uint16
	Originator        Originator // of the C-MOVE that it is a sub-operation of, if it is one
}

// An Originator is the C-MOVE that causes a C-STORE: the AE that asked for it, and
// the message ID of its request. The zero value is none.
type Originator struct {
	AETitle   string
	MessageID uint16
}

// A Handler stores an object. The data set ends with io.EOF only where it is
// whole; with any other error the association has ended and nothing may be kept.
// The status is sent once the handler has returned and the rest of the data set,
// if any, was read over: whoever returns success has made the object durable.
type Handler func(ctx context.Context, r Request, dataSet io.Reader) dimse.Status

// Handle makes a Handler a handler of association.Server, for dimse.CStoreRQ.
func Handle(h Handler) association.Handler {
	return func(ctx context.Context, a *association.Association, m *association.Message) error {
		if m.DataSet == nil {
			return a.Respond(ctx, m, dimse.Status{Code: dimse.CannotUnderstand, Comment: "C-STORE-RQ without a data set"})
		}
		status := refuse(m)
		if status.Code == dimse.Success {
			status = h(ctx, request(a, m), m.DataSet)
		}
		if err := m.DataSet.Drain(); err != nil {
			return err
		}
		// The object may be durable by now: its sender is told so, even while we
		// shut down.
		return a.Respond(context.WithoutCancel(ctx), m, status)
	}
}

// refuse refuses a command set that names no object, or another SOP class than
// its presentation context.
func refuse(m *association.Message) dimse.Status {
	switch {
	case m.Command.AffectedSOPClassUID == "", m.Command.AffectedSOPInstanceUID == "":
		return dimse.Status{Code: dimse.CannotUnderstand, Comment: "no affected SOP class or instance UID"}
	case !instanceUID(m.Command.AffectedSOPInstanceUID):
		return dimse.Status{Code: dimse.InvalidSOPInstance, Comment: "affected SOP instance UID is no UID"}
	case m.Command.AffectedSOPClassUID != m.Context.AbstractSyntax:
		return dimse.Status{Code: dimse.SOPClassNotSupported, Comment: "SOP class is not the presentation context's"}
	}
	return dimse.Status{}
}

// instanceUID reports whether an instance may be named so, PS3.5 section 9.1; the
// leading zeros that are forbidden there are common.
func instanceUID(s string) bool {
	if len(s) > 64 {
		return false
	}
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || strings.Trim(part, "0123456789") != "" {
			return false
		}
	}
	return true
}

func request(a *association.Association, m *association.Message) Request {
	return Request{
		Calling:           a.Calling,
		Called:            a.Called,
		Peer:              a.Peer,
		Implementation:    a.Implementation,
		SOPClassUID:       m.Command.AffectedSOPClassUID,
		SOPInstanceUID:    m.Command.AffectedSOPInstanceUID,
		TransferSyntaxUID: m.Context.TransferSyntax,
		MessageID:         m.Command.MessageID,
		Originator:        Originator{m.Command.MoveOriginatorAETitle, m.Command.MoveOriginatorMessageID},
	}
}

// An Object is what Send sends.
type Object struct {
	SOPClassUID, SOPInstanceUID, TransferSyntaxUID string
	DataSet                                        io.Reader // without Part 10 header, in that transfer syntax
	Originator                                     Originator
}

// Send sends one object with its bytes unchanged (a deflated data set of odd
// length gets the NUL that PS3.5 annex A.5 demands) and returns the peer's status:
// success, a warning (stored, with a reservation) or a failure; see
// dimse.Status.Class. The error is for everything but the peer's answer: no
// presentation context (*association.NotAcceptedError; the association lives
// on), or an association that has ended.
func Send(ctx context.Context, a *association.Association, o Object) (dimse.Status, error) {
	c, err := a.ContextFor(o.SOPClassUID, o.TransferSyntaxUID)
	if err != nil {
		return dimse.Status{}, err
	}
	dataSet := o.DataSet
	if o.TransferSyntaxUID == uid.DeflatedExplicitVRLittleEndian {
		dataSet = &padded{r: dataSet}
	}
	rsp, err := a.Request(ctx, c.ID, dimse.Command{
		Field:                   dimse.CStoreRQ,
		AffectedSOPClassUID:     o.SOPClassUID,
		AffectedSOPInstanceUID:  o.SOPInstanceUID,
		MoveOriginatorAETitle:   o.Originator.AETitle,
		MoveOriginatorMessageID: o.Originator.MessageID,
	}, dataSet)
	// PS3.7 table 9.3-2: the UID may be left out; another one answers for an object
	// that is not this one.
	if err == nil && rsp.AffectedSOPInstanceUID != "" && rsp.AffectedSOPInstanceUID != o.SOPInstanceUID {
		a.Abort("the response is about another SOP instance")
		err = fmt.Errorf("dicom/store: the response to %s is about %s", o.SOPInstanceUID, rsp.AffectedSOPInstanceUID)
	}
	return rsp.Status, err
}

// padded makes what is read of even length: peers abort at an odd fragment, and
// files hold deflated data sets without their padding.
type padded struct {
	r   io.Reader
	odd bool
}

func (p *padded) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.odd = p.odd != (n%2 == 1)
	if err != io.EOF || !p.odd {
		return n, err
	}
	if n == len(b) {
		return n, nil // the NUL comes with the next call
	}
	b[n], p.odd = 0, false
	return n + 1, nil
}

// A Kind of object is what a presentation context is about.
type Kind struct{ SOPClassUID, TransferSyntaxUID string }

// Contexts returns the presentation contexts to be proposed for the kinds, each
// with the one transfer syntax that the objects are stored in, since none is
// converted; and the kinds that found no room among the 128 of an association,
// for the next one. A kind that is named twice gets one context.
func Contexts(kinds []Kind) (contexts []ul.ProposedContext, rest []Kind) {
	var done []Kind
	for _, k := range kinds {
		switch {
		case slices.Contains(done, k):
		case len(done) == ul.MaxPresentationContexts:
			if !slices.Contains(rest, k) {
				rest = append(rest, k)
			}
		default:
			contexts = append(contexts, ul.ProposedContext{
				ID:               byte(2*len(done) + 1),
				AbstractSyntax:   k.SOPClassUID,
				TransferSyntaxes: []string{k.TransferSyntaxUID},
			})
			done = append(done, k)
		}
	}
	return contexts, rest
}

// Accepts returns the test for the abstract syntaxes of a storage SCP: every
// storage SOP class of PS3.6, retired ones included, and the extra ones.
func Accepts(extra ...string) func(abstractSyntax string) bool {
	return func(class string) bool {
		return uid.IsStorageClass(class) || slices.Contains(extra, class)
	}
}

// AcceptsTransferSyntax returns the test for the transfer syntaxes of a storage
// SCP that stores bytes: every one of PS3.6, and the extra ones.
func AcceptsTransferSyntax(extra ...string) func(transferSyntax string) bool {
	return func(ts string) bool {
		return uid.IsTransferSyntax(ts) || slices.Contains(extra, ts)
	}
}
