package association

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"nhip/dicom/uid"
	"nhip/dicom/ul"
)

// A Proposal is an association that we ask for.
type Proposal struct {
	Calling, Called string               // AE titles, 1 to 16 characters
	Contexts        []ul.ProposedContext // 1 to 128
	MaxPDU          uint32               // maximum length offered; 0: DefaultMaxPDU
	Timeouts        Timeouts
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
	var d net.Dialer
	dialing, cancel := context.WithTimeout(ctx, p.Timeouts.withDefaults().ARTIM)
	defer cancel()
	c, err := d.DialContext(dialing, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("dicom/association: %w", err)
	}
	return Establish(ctx, c, p)
}

// Establish is Dial on a connection that is there. It closes it on error.
func Establish(ctx context.Context, c net.Conn, p Proposal) (*Association, error) {
	maxPDU := min(p.MaxPDU, LargestMaxPDU)
	if maxPDU == 0 {
		maxPDU = DefaultMaxPDU
	}
	a := &Association{
		Calling:   p.Calling,
		Called:    p.Called,
		Peer:      peerOf(c),
		conn:      quickACK(c),
		requestor: true,
		machine:   ul.NewMachine(true),
		timeouts:  p.Timeouts.withDefaults(),
		proposed:  p.Contexts,
	}
	a.in = pduReader{conn: a.conn, ctx: context.Background(), maxPData: maxPDU}
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
		},
	}
	if err := check(rq); err != nil {
		c.Close()
		return nil, err
	}
	if err := a.request(ctx, rq); err != nil {
		return nil, err
	}
	return a, nil
}

// check refuses what the PDU cannot hold.
func check(rq ul.AssociateRQ) error {
	if n := len(rq.Contexts); n == 0 || n > ul.MaxPresentationContexts {
		return fmt.Errorf("dicom/association: %d presentation contexts where 1 to %d can be proposed", n, ul.MaxPresentationContexts)
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
func (a *Association) request(ctx context.Context, rq ul.AssociateRQ) error {
	defer a.await(ctx)()
	for _, e := range []ul.Event{ul.EvtAssociateRequest, ul.EvtTransportConfirm} {
		if err := a.step(e, rq, ul.Abort{}); err != nil {
			return a.fail(errors.Join(ErrLost, err))
		}
	}
	pdu, err := a.read(a.timeouts.ARTIM, "the answer to the A-ASSOCIATE-RQ")
	if err != nil {
		return err
	}
	switch answer := pdu.(type) {
	case ul.AssociateRJ:
		a.err = &RejectedError{answer, rq.Calling, rq.Called}
		a.close()
		return a.err
	case ul.AssociateAC:
		a.accepted(answer)
	}
	return nil
}

// accepted takes the answered contexts; one with a transfer syntax that was not
// proposed for it counts as refused.
func (a *Association) accepted(ac ul.AssociateAC) {
	a.maxSend = sendLength(ac.User.MaximumLength)
	a.Implementation = implementation(ac.User)
	answers := map[byte]ul.AnsweredContext{}
	for _, c := range ac.Contexts {
		answers[c.ID] = c
	}
	a.contexts = map[byte]Context{}
	for _, p := range a.proposed {
		c, ok := answers[p.ID]
		if !ok {
			c.Result = ul.ContextNoReason
		}
		if c.Result == ul.ContextAccepted {
			if slices.Contains(p.TransferSyntaxes, c.TransferSyntax) {
				a.contexts[p.ID] = Context{p.ID, p.AbstractSyntax, c.TransferSyntax}
			} else {
				c.Result = ul.TransferSyntaxNotSupported
			}
		}
		a.results = append(a.results, c.Result)
	}
}
