// Package echo is the DICOM Verification service class, PS3.4 annex A: C-ECHO as
// SCP and as SCU.
package echo

import (
	"context"
	"fmt"

	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/uid"
	"nhip/dicom/ul"
)

// Handle answers a C-ECHO-RQ with success: it is a handler of
// association.Server for dimse.CEchoRQ.
func Handle(ctx context.Context, a *association.Association, m *association.Message) error {
	return a.Respond(ctx, m, dimse.Status{})
}

// Accepts reports whether an abstract syntax is the Verification SOP class; it
// is verified in any transfer syntax, since no data set follows.
func Accepts(abstractSyntax string) bool { return abstractSyntax == uid.Verification }

// Context is the presentation context to be proposed for Send.
func Context(id byte) ul.ProposedContext {
	return ul.ProposedContext{
		ID:               id,
		AbstractSyntax:   uid.Verification,
		TransferSyntaxes: []string{uid.ImplicitVRLittleEndian},
	}
}

// Send asks the peer for a C-ECHO. Any status but success is an error.
func Send(ctx context.Context, a *association.Association) error {
	c, err := a.ContextFor(uid.Verification, uid.ImplicitVRLittleEndian)
	if err != nil {
		return err
	}
	rsp, err := a.Request(ctx, c.ID, dimse.Command{
		Field:               dimse.CEchoRQ,
		AffectedSOPClassUID: uid.Verification,
	}, nil)
	if err != nil {
		return err
	}
	if rsp.Status.Class() != dimse.ClassSuccess {
		return fmt.Errorf("dicom/echo: the peer answered %v", rsp.Status)
	}
	return nil
}
