package association

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"

	"nhip/dicom/dimse"
	"nhip/dicom/uid"
	"nhip/dicom/ul"
)

// A Proposal is an association that we ask for.
type Proposal struct {
	Calling, Called string               // AE titles, 1 to 16 characters
	Contexts        []ul.ProposedContext // 1 to 128
	MaxPDU          uint32               // maximum length offered; 0: DefaultMaxPDU
	Timeouts        Timeouts
	TLS             *tls.Config // nil: in the clear; see TLS.Client

	// Roles are proposed for the SOP classes named; of the others we are SCU alone.
	Roles []ul.RoleSelection
	// Window is proposed where it is not zero. Not every peer bears the question.
	Window Window
	// Extended and CommonExtended negotiation; the peer's answer is in
	// Association.User.
	Extended       []ul.Extended
	CommonExtended []ul.CommonExtended
	// Identity is that of a user. Where a positive response is wanted, a peer that
	// knows user identities answers in Association.User.IdentityResponse, or rejects.
	Identity *ul.UserIdentity
	// Handlers serve what the peer asks of us, as those of Server do: the
	// sub-operations of a C-GET, an N-EVENT-REPORT. Their context ends with the
	// association.
	Handlers map[dimse.CommandField]Handler
}

// A RejectedError is an association that was rejected, by the peer (Dial) or by
// us (in the server's log).
type RejectedError struct {
	ul.AssociateRJ
	Calling, Called string
}

func (e *RejectedError) Error() string {
	return fmt.Sprintf("dicom/association: association from %q to %q %v", e.Calling, e.Called, e.AssociateRJ)
}

// Transient reports whether the same proposal may be accepted later.
func (e *RejectedError) Transient() bool { return e.Result == ul.RejectedTransient }

// Dial connects to host:port and establishes an association. A peer that rejects
// is a *RejectedError; one that accepts and takes no presentation context is
// reported by ContextFor.
func Dial(ctx context.Context, address string, p Proposal) (*Association, error) {
	within := p.Timeouts.withDefaults().ARTIM
	var d net.Dialer
	dialing, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	c, err := d.DialContext(dialing, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("dicom/association: %w", err)
	}
	if p.TLS != nil {
		c = tls.Client(quickACK(c), p.TLS)
		if err := handshake(ctx, c, within); err != nil {
			c.Close()
			return nil, err
		}
	}
	return Establish(ctx, c, p)
}

// Establish is Dial on a connection that is there. It closes it on error. Who got
// an association releases or aborts it.
func Establish(ctx context.Context, c net.Conn, p Proposal) (*Association, error) {
	maxPDU := min(p.MaxPDU, LargestMaxPDU)
	if maxPDU == 0 {
		maxPDU = DefaultMaxPDU
	}
	rq := p.request(maxPDU)
	if err := check(rq); err != nil {
		c.Close()
		return nil, err
	}
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a := newAssociation(base, c, true, p.Timeouts, maxPDU)
	a.unbase = cancel
	a.Calling, a.Called, a.proposed, a.handlers = p.Calling, p.Called, p.Contexts, p.Handlers
	stop := context.AfterFunc(ctx, func() { a.cutShort(ctx) })
	err := a.request(rq)
	stop()
	if err != nil {
		a.finish()
		return nil, err
	}
	go a.run()
	return a, nil
}

func (p Proposal) request(maxPDU uint32) ul.AssociateRQ {
	rq := ul.AssociateRQ{
		ProtocolVersion:    1,
		Called:             p.Called,
		Calling:            p.Calling,
		ApplicationContext: uid.DICOMApplicationContext,
		Contexts:           p.Contexts,
		User: ul.UserInformation{
			MaximumLength:             maxPDU,
			ImplementationClassUID:    ImplementationClassUID,
			ImplementationVersionName: ImplementationVersionName,
			Roles:                     p.Roles,
			Extended:                  p.Extended,
			CommonExtended:            p.CommonExtended,
			Identity:                  p.Identity,
		},
	}
	if p.Window != (Window{}) {
		rq.User.AsyncWindow = &ul.AsyncWindow{Invoked: proposed(p.Window.Invoked), Performed: proposed(p.Window.Performed)}
	}
	return rq
}

// proposed is a number of operations as it is proposed: 0 is no limit.
func proposed(n int) uint16 {
	if n < 0 {
		return 0
	}
	return agree(0, n)
}

// check refuses what the PDU cannot hold.
func check(rq ul.AssociateRQ) error {
	if n := len(rq.Contexts); n == 0 || n > ul.MaxPresentationContexts {
		return fmt.Errorf("dicom/association: %d presentation contexts where 1 to %d can be proposed", n, ul.MaxPresentationContexts)
	}
	if !rq.User.Fits() {
		return errors.New("dicom/association: the user information is longer than 65535 bytes")
	}
	for _, title := range []string{rq.Calling, rq.Called} {
		if title == "" || len(title) > 16 {
			return fmt.Errorf("dicom/association: AE title %q does not have 1 to 16 characters", title)
		}
	}
	for _, c := range rq.Contexts {
		if c.ID%2 == 0 || len(c.TransferSyntaxes) == 0 || len(c.TransferSyntaxes) > 128 {
			return fmt.Errorf("dicom/association: presentation context %d cannot be proposed", c.ID)
		}
		for _, u := range append([]string{c.AbstractSyntax}, c.TransferSyntaxes...) {
			if len(u) == 0 || len(u) > 64 {
				return fmt.Errorf("dicom/association: UID %q does not have 1 to 64 characters", u)
			}
		}
	}
	return nil
}

// request sends the A-ASSOCIATE-RQ and takes the answer. Sta5 has no timer in the
// standard; the one of ARTIM is used.
func (a *Association) request(rq ul.AssociateRQ) error {
	for _, e := range []ul.Event{ul.EvtAssociateRequest, ul.EvtTransportConfirm} {
		if err := a.step(e, rq, ul.Abort{}, nil); err != nil {
			return a.fail(errors.Join(ErrLost, err))
		}
	}
	pdu, err := a.read(a.timeouts.ARTIM, "the answer to the A-ASSOCIATE-RQ")
	if err != nil {
		return err
	}
	switch answer := pdu.(type) {
	case ul.AssociateRJ:
		return a.fail(&RejectedError{answer, rq.Calling, rq.Called})
	case ul.AssociateAC:
		a.accepted(rq, answer)
	}
	return a.Err()
}

// accepted takes the answered contexts; one with a transfer syntax that was not
// proposed for it counts as refused. A role is ours where we proposed it and the
// peer accepted it; where it does not answer, we are SCU: PS3.7 section D.3.3.4.
func (a *Association) accepted(rq ul.AssociateRQ, ac ul.AssociateAC) {
	a.maxSend = sendLength(ac.User.MaximumLength)
	a.Implementation = implementation(ac.User)
	a.User = ac.User
	a.places(1, 1)
	if mine, theirs := rq.User.AsyncWindow, ac.User.AsyncWindow; mine != nil && theirs != nil {
		a.places(least(mine.Invoked, theirs.Invoked), least(mine.Performed, theirs.Performed))
	}
	answers := map[byte]ul.AnsweredContext{}
	for _, c := range ac.Contexts {
		answers[c.ID] = c
	}
	for _, p := range a.proposed {
		c, ok := answers[p.ID]
		if !ok {
			c.Result = ul.ContextNoReason
		}
		if c.Result == ul.ContextAccepted {
			if slices.Contains(p.TransferSyntaxes, c.TransferSyntax) {
				role := selected(rq.User.Roles, ac.User.Roles, p.AbstractSyntax)
				a.contexts[p.ID] = Context{p.ID, p.AbstractSyntax, c.TransferSyntax, role.SCU, role.SCP}
			} else {
				c.Result = ul.TransferSyntaxNotSupported
			}
		}
		if c.Result != ul.ContextAccepted {
			c.TransferSyntax = ""
		}
		a.answers = append(a.answers, Answered{c.Result, c.TransferSyntax})
	}
}

// least returns what is agreed to of two numbers of which 0 is no limit.
func least(mine, theirs uint16) uint16 {
	n := agree(mine, maxWindow)
	return agree(theirs, int(n))
}

// selected returns the roles of the requestor for a SOP class.
func selected(proposed, accepted []ul.RoleSelection, class string) ul.RoleSelection {
	of := func(roles []ul.RoleSelection) int {
		return slices.IndexFunc(roles, func(r ul.RoleSelection) bool { return r.SOPClassUID == class })
	}
	p, a := of(proposed), of(accepted)
	if p < 0 || a < 0 {
		return ul.RoleSelection{SOPClassUID: class, SCU: true}
	}
	return ul.RoleSelection{
		SOPClassUID: class,
		SCU:         proposed[p].SCU && accepted[a].SCU,
		SCP:         proposed[p].SCP && accepted[a].SCP,
	}
}
