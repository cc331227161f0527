// Package association puts the DICOM upper layer (package ul) on a network
// connection: acceptor and requestor, deadlines, limits, and DIMSE messages in
// both directions. Services are handlers: packages store and echo.
//
// One goroutine owns an association: it reads, lets the handler work, and
// answers. A data set is streamed to the handler as it arrives and is never held
// in memory.
//
// Two gaps of the standard's state machine are closed here. It has no time-out
// while a requestor awaits the answer to its A-ASSOCIATE-RQ (Sta5), nor for an
// established association that falls silent: both end in a local A-ABORT. And the
// ARTIM timer does not see half a PDU: every PDU has a deadline from its first
// byte to its last.
package association

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"nhip/dicom/ul"
)

// What this implementation calls itself, PS3.7 section D.3.3.2.
const (
	ImplementationClassUID    = "2.25.139531503795608182785945850792750828681"
	ImplementationVersionName = "NHIP_1"
)

// Limits of what a peer may make us hold.
const (
	DefaultMaxPDU = 131072   // maximum length that we offer for P-DATA-TF
	LargestMaxPDU = 262144   // the most that can be configured
	leastMaxPDU   = 4096     // the least that can be configured
	leastLength   = 128      // a peer that offers less gets PDUs of this length
	maxAssociate  = 1 << 20  // A-ASSOCIATE-RQ and -AC; 128 contexts of 60 transfer syntaxes are 550 KB
	maxCommandSet = 64 << 10 // a command set over all its fragments
	maxEmptyPDVs  = 1000     // fragments without a byte, in a row
)

// Timeouts are the timers of an association. Zero means the default.
type Timeouts struct {
	ARTIM    time.Duration // from connecting to the whole A-ASSOCIATE-RQ, for the answer to ours, and for the peer to close; 10 s
	PDU      time.Duration // from the first byte of a PDU to its last, and for sending one; 30 s
	DIMSE    time.Duration // between two PDUs of one message; 60 s
	Response time.Duration // from our request to the first PDU of its response; 2 min
	Idle     time.Duration // between two messages; 5 min
}

func (t Timeouts) withDefaults() Timeouts {
	set := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	set(&t.ARTIM, 10*time.Second)
	set(&t.PDU, 30*time.Second)
	set(&t.DIMSE, time.Minute)
	set(&t.Response, 2*time.Minute)
	set(&t.Idle, 5*time.Minute)
	return t
}

// A Context is an accepted presentation context.
type Context struct {
	ID             byte
	AbstractSyntax string
	TransferSyntax string
}

// An Association is an established association. It is used by one goroutine at a
// time.
type Association struct {
	Calling, Called string         // AE titles
	Peer            netip.AddrPort // zero where the connection has none
	Implementation  string         // the peer's implementation version name, or its class UID

	conn      net.Conn
	requestor bool
	machine   ul.Machine
	timeouts  Timeouts
	in        pduReader
	pdvs      []byte // what is left of the P-DATA-TF being read
	out       []byte // PDUs being built
	maxSend   int    // of the variable field of a P-DATA-TF to the peer
	contexts  map[byte]Context
	proposed  []ul.ProposedContext // by the requestor
	results   []ul.ContextResult   // of the proposed ones
	inside    bool                 // a message is being received
	current   *DataSet             // the last one received
	cut       chan struct{}        // closed once the end of the caller's context has cut I/O short
	lastID    uint16
	err       error // why the association ended
}

// An AbortedError says that the association ended before its release.
type AbortedError struct {
	Abort ul.Abort
	Peer  bool   // the peer aborted, else we did
	Why   string // of ours
}

func (e *AbortedError) Error() string {
	if e.Peer {
		return "dicom/association: the peer ended the association: " + e.Abort.String()
	}
	return "dicom/association: association aborted: " + e.Why
}

// ErrReleased is returned once the association was released in order.
var ErrReleased = errors.New("dicom/association: association released")

// ErrLost is the connection closed by the peer without a release or an abort.
var ErrLost = errors.New("dicom/association: connection closed by the peer")

// A TimeoutError says which timer ran out.
type TimeoutError struct{ Awaited string }

func (e *TimeoutError) Error() string { return "dicom/association: time-out awaiting " + e.Awaited }

// Timeout makes it a net.Error.
func (e *TimeoutError) Timeout() bool { return true }

// Temporary makes it a net.Error.
func (e *TimeoutError) Temporary() bool { return true }

// step drives the state machine with a local or network event and carries out
// what it says in order. abort is the PDU for the actions that send one.
func (a *Association) step(e ul.Event, pdu appender, abort ul.Abort) error {
	do, err := a.machine.Step(e)
	if err != nil {
		return err
	}
	for _, d := range do {
		switch d {
		case ul.SendAssociateRQ, ul.SendAssociateAC, ul.SendAssociateRJ, ul.SendReleaseRQ, ul.SendReleaseRP:
			err = a.write(pdu.Append(a.out[:0]))
		case ul.SendAbort:
			err = a.write(ul.Abort{Source: ul.AbortByUser}.Append(a.out[:0]))
		case ul.SendProviderAbort:
			err = a.write(abort.Append(a.out[:0]))
		case ul.CloseTransport:
			a.conn.Close()
		}
		if err != nil {
			break
		}
	}
	return err
}

type appender interface{ Append([]byte) []byte }

// fail ends the association by a local abort or by the protocol error that was
// found, lets the peer read it, and closes. It returns the error that the
// association ended with, always the same from then on.
func (a *Association) fail(err error) error {
	if a.err != nil {
		return a.err
	}
	a.err = err
	if a.cut != nil && a.in.ctx.Err() != nil {
		<-a.cut // so that its deadline does not overtake that of the A-ABORT
	}
	var protocol *ul.ProtocolError
	switch {
	case errors.As(err, &protocol):
		a.step(ul.EvtInvalidPDU, nil, ul.Abort{Source: ul.AbortByProvider, Reason: protocol.Reason})
	case errors.Is(err, ErrLost), a.machine.State() == ul.Sta1:
		a.step(ul.EvtTransportClosed, nil, ul.Abort{})
	case a.machine.State() == ul.Sta2:
		a.step(ul.EvtARTIM, nil, ul.Abort{})
	default:
		a.step(ul.EvtAbortRequest, nil, ul.Abort{})
	}
	a.close()
	return err
}

// close waits in Sta13 for the peer to close, so that it can read what we sent
// last: closing with unread bytes would reset the connection under it. What
// still comes is not looked at: PS3.8 action AA-6.
func (a *Association) close() {
	if a.machine.State() == ul.Sta13 {
		wait := a.timeouts.ARTIM
		if a.in.ctx.Err() != nil {
			wait = min(wait, hurried)
		}
		if half, ok := a.conn.(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
		}
		a.conn.SetReadDeadline(time.Now().Add(wait))
		io.Copy(io.Discard, onlyReader{a.conn})
		a.step(ul.EvtTransportClosed, nil, ul.Abort{})
	}
	a.conn.Close()
	a.in.release()
	a.out = nil
}

// hurried is how long the peer has to read our last PDU when the context of the
// caller has ended.
const hurried = 500 * time.Millisecond

// onlyReader hides the methods by which io.Copy would choose another way.
type onlyReader struct{ io.Reader }

// Abort ends the association at once, PS3.8 section 7.3. After the end it does
// nothing.
func (a *Association) Abort(why string) {
	a.fail(&AbortedError{Why: why})
}

// write sends whole PDUs in one Write.
func (a *Association) write(b []byte) error {
	a.out = b[:0]
	a.conn.SetWriteDeadline(time.Now().Add(a.timeouts.PDU))
	_, err := a.conn.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &TimeoutError{"the peer to take what is sent"}
	}
	return err
}

// await makes what follows end when ctx does, until its result is called. An
// acceptor only stops reading: what it has to answer it may still send.
func (a *Association) await(ctx context.Context) (done func()) {
	outer, outerCut := a.in.ctx, a.cut
	cut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		a.conn.SetReadDeadline(time.Unix(1, 0))
		if a.requestor {
			a.conn.SetWriteDeadline(time.Unix(1, 0))
		}
		close(cut)
	})
	a.in.ctx, a.cut = ctx, cut
	return func() {
		if !stop() {
			<-cut
		}
		a.in.ctx, a.cut = outer, outerCut
	}
}

// read reads the next PDU, steps the machine, and returns the PDU where the
// machine says that it is one for us. Every error has already ended the
// association.
func (a *Association) read(first time.Duration, awaited string) (any, error) {
	if a.err != nil {
		return nil, a.err
	}
	before := a.machine.State()
	h, body, err := a.in.next(first, a.timeouts.PDU, before == ul.Sta2, awaited)
	if err != nil {
		return nil, a.fail(err)
	}
	var pdu any
	if expected(h.Type, before) {
		if pdu, err = ul.Parse(h, body); err != nil {
			return nil, a.fail(err)
		}
	}
	abort := ul.Abort{Source: ul.AbortByProvider, Reason: ul.ReasonUnexpectedPDU}
	if err := a.step(h.Type.Event(), nil, abort); err != nil {
		return nil, a.fail(err)
	}
	switch {
	case h.Type == ul.TypeAbort:
		why, _ := pdu.(ul.Abort)
		a.err = &AbortedError{Abort: why, Peer: true}
	case a.machine.State() == ul.Sta13:
		a.err = &AbortedError{Why: fmt.Sprintf("unexpected %v in %v", h.Type, before)}
	default:
		return pdu, nil
	}
	a.close()
	return nil, a.err
}

// expected reports whether the body of a PDU is worth reading: a PDU out of
// place is refused as unexpected, whatever is in it.
func expected(t ul.Type, s ul.State) bool {
	if s == ul.Sta2 {
		return t == ul.TypeAssociateRQ
	}
	switch t {
	case ul.TypeAssociateRQ:
		return false
	case ul.TypeAssociateAC, ul.TypeAssociateRJ:
		return s == ul.Sta5
	case ul.TypePDataTF:
		return s == ul.Sta6 || s == ul.Sta7
	}
	return true
}

// nextPDV returns the next PDV of the association, or the error that ended it;
// ErrReleased where the peer released it.
func (a *Association) nextPDV(first time.Duration, awaited string) (ul.PDV, error) {
	for empty := 0; len(a.pdvs) == 0; empty++ {
		if empty > maxEmptyPDVs {
			return ul.PDV{}, a.fail(&ul.ProtocolError{PDU: "P-DATA-TF", Field: "number of PDUs without a PDV", Got: empty, Reason: ul.ReasonInvalidParameterValue})
		}
		pdu, err := a.read(first, awaited)
		if err != nil {
			return ul.PDV{}, err
		}
		switch p := pdu.(type) {
		case ul.PDataTF:
			a.pdvs = p
		case ul.ReleaseRQ:
			return ul.PDV{}, a.released()
		}
	}
	v, rest, err := ul.NextPDV(a.pdvs)
	if err != nil {
		return v, a.fail(err)
	}
	if _, ok := a.contexts[v.ContextID]; !ok {
		return v, a.fail(&ul.ProtocolError{PDU: "P-DATA-TF", Field: "presentation context ID", Got: v.ContextID, Reason: ul.ReasonInvalidParameterValue})
	}
	a.pdvs = rest
	return v, nil
}

// released answers the peer's A-RELEASE-RQ.
func (a *Association) released() error {
	a.err = ErrReleased
	if a.inside {
		a.err = &AbortedError{Why: "the peer released the association in the middle of a message"}
	}
	a.step(ul.EvtReleaseResponse, ul.ReleaseRP{}, ul.Abort{})
	a.close()
	return a.err
}

// Release releases the association in order, PS3.8 section 7.2, and closes the
// connection. It is an error where the association has ended otherwise.
func (a *Association) Release(ctx context.Context) error {
	if a.err != nil {
		return a.err
	}
	defer a.await(ctx)()
	if err := a.step(ul.EvtReleaseRequest, ul.ReleaseRQ{}, ul.Abort{}); err != nil {
		return a.fail(err)
	}
	for {
		pdu, err := a.read(a.timeouts.ARTIM, "the A-RELEASE-RP")
		if err != nil {
			return err
		}
		switch pdu.(type) {
		case ul.ReleaseRQ:
			// Release collision, PS3.8 section 7.2.2: the requestor answers first
			// (Sta9), the acceptor after it got its answer (Sta10, Sta12).
			if a.machine.State() == ul.Sta9 {
				if err := a.step(ul.EvtReleaseResponse, ul.ReleaseRP{}, ul.Abort{}); err != nil {
					return a.fail(err)
				}
			}
		case ul.ReleaseRP:
			if a.machine.State() == ul.Sta12 {
				a.step(ul.EvtReleaseResponse, ul.ReleaseRP{}, ul.Abort{})
			}
			a.err = ErrReleased
			a.close()
			return nil
		}
	}
}

// ContextFor returns the accepted presentation context of a SOP class and a
// transfer syntax. The error says what the peer answered.
func (a *Association) ContextFor(abstractSyntax, transferSyntax string) (Context, error) {
	for _, c := range a.contexts {
		if c.AbstractSyntax == abstractSyntax && c.TransferSyntax == transferSyntax {
			return c, nil
		}
	}
	e := &NotAcceptedError{AbstractSyntax: abstractSyntax, TransferSyntax: transferSyntax}
	for i, p := range a.proposed {
		if p.AbstractSyntax == abstractSyntax && slices.Contains(p.TransferSyntaxes, transferSyntax) {
			e.Proposed, e.Result = true, a.results[i]
		}
	}
	return Context{}, e
}

// A NotAcceptedError says that there is no presentation context for what is to
// be sent.
type NotAcceptedError struct {
	AbstractSyntax, TransferSyntax string
	Proposed                       bool
	Result                         ul.ContextResult
}

func (e *NotAcceptedError) Error() string {
	why := "was not proposed"
	if e.Proposed {
		why = e.Result.String()
	}
	return fmt.Sprintf("dicom/association: no presentation context for SOP class %s with transfer syntax %s: %s", e.AbstractSyntax, e.TransferSyntax, why)
}

// NextMessageID returns a message ID for a request on this association.
func (a *Association) NextMessageID() uint16 {
	a.lastID++
	return a.lastID
}

func peerOf(c net.Conn) netip.AddrPort {
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		p := tcp.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	return netip.AddrPort{}
}
