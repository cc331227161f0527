package service

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
	"nhip/dicom/ul"
)

// A StatusError is an error that is answered with its status. Any other error of
// an application is answered 0110H or the service's like of it, without its
// words.
type StatusError struct{ dimse.Status }

func (e *StatusError) Error() string { return "dicom/service: " + e.Status.String() }

// StatusOf returns the status of a StatusError; for another error the code with
// a comment that tells nothing of it.
func StatusOf(err error, code uint16) dimse.Status {
	var s *StatusError
	if errors.As(err, &s) {
		return s.Status
	}
	return dimse.Status{Code: code, Comment: "the request could not be processed"}
}

// Read reads the data set of a request of at most limit bytes. Without one it
// returns an empty data set. An error of the peer's making is a *StatusError;
// any other has ended the association.
func Read(m *association.Message, limit int64) (*dicom.Dataset, error) {
	if m.DataSet == nil {
		return dicom.NewDataset(), nil
	}
	b, err := io.ReadAll(io.LimitReader(m.DataSet, limit+1))
	if err == nil {
		err = m.DataSet.Drain()
	}
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, &StatusError{dimse.Status{Code: dimse.ResourceLimitation, Comment: fmt.Sprintf("data set of more than %d bytes", limit)}}
	}
	d, err := dicom.Parse(b, m.Context.TransferSyntax, dicom.Limits{Total: 4*limit + 1<<20})
	if err != nil {
		return nil, &StatusError{dimse.Status{Code: dimse.ProcessingFailure, Comment: "the data set cannot be read"}}
	}
	return d, nil
}

// Encode encodes a data set for a message; nil stays nil.
func Encode(d *dicom.Dataset, transferSyntax string) (io.Reader, error) {
	if d == nil {
		return nil, nil
	}
	var b bytes.Buffer
	if err := d.Write(&b, transferSyntax); err != nil {
		return nil, err
	}
	return &b, nil
}

// Refuse reads over the data set of a request and answers it.
func Refuse(ctx context.Context, a *association.Association, m *association.Message, s dimse.Status) error {
	return Respond(ctx, a, m, dimse.Command{Status: s}, nil)
}

// Respond answers a request, with a data set where there is one, see
// association.RespondWith.
func Respond(ctx context.Context, a *association.Association, m *association.Message, c dimse.Command, d *dicom.Dataset) error {
	if m.DataSet != nil {
		if err := m.DataSet.Drain(); err != nil {
			return err
		}
	}
	body, err := Encode(d, m.Context.TransferSyntax)
	if err != nil {
		return err
	}
	return a.RespondWith(ctx, m, c, body)
}

// Named returns the SOP class and instance that a request names, as affected or
// as requested.
func Named(c dimse.Command) (class, instance string) {
	return cmp.Or(c.AffectedSOPClassUID, c.RequestedSOPClassUID), cmp.Or(c.AffectedSOPInstanceUID, c.RequestedSOPInstanceUID)
}

// maxAnswer is the longest data set of a response.
const maxAnswer = 16 << 20

// Request sends a request with a data set and awaits its only response; one that is
// nil or has no element is not there for the peer (a P-DATA value of no bytes is
// malformed to some). The error is for everything but the peer's answer. A data set that
// cannot be read is an error too, and ends nothing.
func Request(ctx context.Context, a *association.Association, c association.Context, rq dimse.Command, d *dicom.Dataset) (dimse.Command, *dicom.Dataset, error) {
	if d != nil && d.Len() == 0 {
		d = nil
	}
	body, err := Encode(d, c.TransferSyntax)
	if err != nil {
		return dimse.Command{}, nil, err
	}
	return Stream(ctx, a, c, rq, body)
}

// Stream is Request with the data set as bytes in the transfer syntax of the
// context.
func Stream(ctx context.Context, a *association.Association, c association.Context, rq dimse.Command, body io.Reader) (dimse.Command, *dicom.Dataset, error) {
	call, err := a.Start(ctx, c.ID, rq, body)
	if err != nil {
		return dimse.Command{}, nil, err
	}
	rsp, err := call.Next(ctx)
	if err != nil {
		return dimse.Command{}, nil, err
	}
	answer, err := Read(rsp, maxAnswer)
	return rsp.Command, answer, err
}

// Propose returns a presentation context for each abstract syntax, in the
// transfer syntaxes of Uncompressed.
func Propose(abstractSyntaxes ...string) []ul.ProposedContext {
	var contexts []ul.ProposedContext
	for i, as := range abstractSyntaxes {
		contexts = append(contexts, ul.ProposedContext{
			ID:               byte(2*i + 1),
			AbstractSyntax:   as,
			TransferSyntaxes: []string{uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian},
		})
	}
	return contexts
}

// Context returns the accepted presentation context of an abstract syntax that
// was proposed by Propose.
func Context(a *association.Association, abstractSyntax string) (association.Context, error) {
	c, err := a.ContextFor(abstractSyntax, uid.ExplicitVRLittleEndian)
	if err != nil {
		c, err = a.ContextFor(abstractSyntax, uid.ImplicitVRLittleEndian)
	}
	return c, err
}

// AddItems adds a sequence of empty items, which text can be put into in the
// character set of the data set.
func AddItems(d *dicom.Dataset, t tag.Tag, n int) ([]*dicom.Dataset, error) {
	items := make([]*dicom.Dataset, n)
	for i := range items {
		items[i] = dicom.NewDataset()
	}
	return items, d.SetItems(t, items...)
}

// CopyElement copies an element with its text in the character set of the data
// set that it comes into.
func CopyElement(to, from *dicom.Dataset, e dicom.Element) error {
	switch e.VR {
	case dicom.SQ:
		items := from.Items(e.Tag)
		parts, err := AddItems(to, e.Tag, len(items))
		if err != nil {
			return err
		}
		for i, item := range items {
			if err := CopyAll(parts[i], item); err != nil {
				return err
			}
		}
		return nil
	case dicom.AE, dicom.AS, dicom.CS, dicom.DA, dicom.DS, dicom.DT, dicom.IS, dicom.LO, dicom.LT, dicom.PN, dicom.SH, dicom.ST,
		dicom.TM, dicom.UC, dicom.UI, dicom.UR, dicom.UT:
		return to.SetTextAs(e.Tag, e.VR, slices.Clone(from.Texts(e.Tag))...)
	}
	return to.SetBytes(e.Tag, e.VR, from.Bytes(e.Tag))
}

// CopyAll copies every element but the character set and group lengths.
func CopyAll(to, from *dicom.Dataset) error {
	for e := range from.All() {
		if e.Tag&0xFFFF == 0 || e.Tag == tag.SpecificCharacterSet {
			continue
		}
		if err := CopyElement(to, from, e); err != nil {
			return err
		}
	}
	return nil
}

// RefuseError answers an error of Read, or returns it where it has ended the
// association.
func RefuseError(ctx context.Context, a *association.Association, m *association.Message, err error) error {
	var s *StatusError
	if !errors.As(err, &s) {
		return err
	}
	return Refuse(ctx, a, m, s.Status)
}

// Attributes returns the elements of a data set that an N-GET lists; all of them
// where it lists none. Those that are not there are left out: old requestors ask
// for attributes of other SOP classes.
func Attributes(d *dicom.Dataset, list []tag.Tag) (*dicom.Dataset, error) {
	out := dicom.NewDataset()
	if e, ok := d.Find(tag.SpecificCharacterSet); ok {
		if err := CopyElement(out, d, e); err != nil {
			return nil, err
		}
	}
	for e := range d.All() {
		if e.Tag&0xFFFF == 0 || e.Tag == tag.SpecificCharacterSet || len(list) > 0 && !slices.Contains(list, e.Tag) {
			continue
		}
		if err := CopyElement(out, d, e); err != nil {
			return nil, err
		}
	}
	return out, nil
}
