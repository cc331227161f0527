// Package association puts the DICOM upper layer (package ul) on a network
// connection: acceptor and requestor, deadlines, limits, and DIMSE messages in
// both directions and both roles. Services are handlers: packages store and echo
// among them.
//
// One goroutine reads an association, and each request that comes in is served by
// one of its own, as many at once as the asynchronous operations window lets the
// peer invoke. A data set is streamed to who serves or awaits the message as it
// arrives, and is never held in memory: until it is read to its end, or its reader
// has returned, nothing else is read.
//
// Two gaps of the standard's state machine are closed here. It has no time-out
// while a requestor awaits the answer to its A-ASSOCIATE-RQ (Sta5), nor for an
// established association that falls silent: both end in a local A-ABORT. And the
// ARTIM timer does not see half a PDU: every PDU has a deadline from its first
// byte to its last.
package association

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"nhip/dicom/dimse"
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
	maxWindow     = 64       // operations outstanding in one direction, where no number is agreed
)

// Timeouts are the timers of an association. Zero means the default.
type Timeouts struct {
	ARTIM    time.Duration // from connecting to the whole A-ASSOCIATE-RQ, for the answer to ours, to our A-RELEASE-RQ, and for the peer to close; 10 s
	PDU      time.Duration // from the first byte of a PDU to its last, and for sending one; 30 s
	DIMSE    time.Duration // between two PDUs of one message; 60 s
	Response time.Duration // from our request to its response, and from one pending response to the next; 2 min
	Idle     time.Duration // of an acceptor: with no message and no work; 5 min
}

// DefaultTimeouts are the timers where nothing else is said.
func DefaultTimeouts() Timeouts { return Timeouts{}.withDefaults() }

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

// A Context is an accepted presentation context, with the roles that are ours.
type Context struct {
	ID             byte
	AbstractSyntax string
	TransferSyntax string
	SCU, SCP       bool
}

// An Association is an established association. Several goroutines may use it:
// messages are sent one after the other.
type Association struct {
	Calling, Called string             // AE titles
	Peer            netip.AddrPort     // zero where the connection has none
	Implementation  string             // the peer's implementation version name, or its class UID
	User            ul.UserInformation // what the peer sent, but for a user's identity

	conn      net.Conn
	requestor bool
	timeouts  Timeouts
	maxSend   int // of the variable field of a P-DATA-TF to the peer
	contexts  map[byte]Context
	proposed  []ul.ProposedContext // by the requestor
	answers   []Answered           // to the proposed ones
	handlers  map[dimse.CommandField]Handler
	base      context.Context // of the handlers
	unbase    func()          // ends base, of a requestor
	invoked   chan struct{}   // a place for each operation that we may have outstanding
	performed chan struct{}   // a place for each operation of the peer that is served at once

	// What is read belongs to the goroutine of run, and while a data set comes in to
	// its reader.
	in     pduReader
	pdvs   []byte // what is left of the P-DATA-TF being read
	inside bool   // a message is being received

	message gate   // held while a message is sent: PS3.8 annex E mixes no two
	out     []byte // PDUs being built
	writing gate   // held while PDUs are written
	broken  bool   // a write has failed: nothing can follow half a PDU

	mu      sync.Mutex
	machine ul.Machine
	err     error // why the association ended
	until   time.Time
	calls   map[uint16]*Call
	serving map[uint16]*Message
	working int       // handlers
	active  time.Time // when there was work last
	lastID  uint16

	release   sync.Once
	releasing chan struct{} // closed when we release
	stopping  error         // why nothing more is read
	stopped   chan struct{} // closed when stopping is set
	ended     chan struct{} // closed when err is set
	carried   chan struct{} // closed when the last PDU was sent
	closed    chan struct{} // closed when the connection is, and no handler works
	work      sync.WaitGroup
}

func newAssociation(ctx context.Context, c net.Conn, requestor bool, t Timeouts, maxPDU uint32) *Association {
	a := &Association{
		Peer:      peerOf(c),
		conn:      quickACK(c),
		base:      ctx,
		requestor: requestor,
		timeouts:  t.withDefaults(),
		machine:   ul.NewMachine(requestor),
		contexts:  map[byte]Context{},
		calls:     map[uint16]*Call{},
		serving:   map[uint16]*Message{},
		active:    time.Now(),
		message:   newGate(),
		writing:   newGate(),
		releasing: make(chan struct{}),
		stopped:   make(chan struct{}),
		ended:     make(chan struct{}),
		carried:   make(chan struct{}),
		closed:    make(chan struct{}),
	}
	a.in = pduReader{conn: a.conn, ctx: context.Background(), ended: a.ended, maxPData: maxPDU}
	return a
}

// A gate is a mutex that is held over I/O. It is a channel because a bubble of
// testing/synctest does not take who waits for a sync.Mutex as waiting.
type gate chan struct{}

func newGate() gate { return make(gate, 1) }

func (g gate) Lock()   { g <- struct{}{} }
func (g gate) Unlock() { <-g }

// A Window is an asynchronous operations window, PS3.7 section D.3.3.3: how many
// operations of each side may be outstanding. 0 is 1, and more than 64 are not
// agreed to.
type Window struct {
	Invoked   int // by the requestor
	Performed int // by the requestor, invoked by the acceptor
}

// Unlimited is the window that has no limit of the requestor's. What is agreed to
// has one of ours.
var Unlimited = Window{Invoked: -1, Performed: -1}

// places sets how many operations may be outstanding in each direction.
func (a *Association) places(ours, theirs uint16) {
	a.invoked = make(chan struct{}, ours)
	a.performed = make(chan struct{}, theirs)
}

// agree returns the least of what was proposed, where 0 is no limit, and of what
// we are ready for.
func agree(proposed uint16, ready int) uint16 {
	if ready < 0 {
		ready = maxWindow
	}
	n := uint16(min(max(ready, 1), maxWindow))
	if proposed == 0 {
		return n
	}
	return min(n, proposed)
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

// Err returns why the association has ended; nil while it lives.
func (a *Association) Err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// Done is closed when the association has ended.
func (a *Association) Done() <-chan struct{} { return a.ended }

func (a *Association) state() ul.State {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.machine.State()
}

// step drives the state machine with an event and carries out what it says in
// order. pdu is what the action sends, abort the PDU of those that send that one.
// Where end is set and the association has not ended yet, it ends with the error
// that end returns for the state that is reached, if any. It returns the error
// that the association ended with, or that of the event.
func (a *Association) step(e ul.Event, pdu appender, abort ul.Abort, end func(ul.State) error) error {
	a.mu.Lock()
	do, err := a.machine.Step(e)
	last := false
	if a.err == nil && end != nil {
		a.err = end(a.machine.State())
		last = a.err != nil
	}
	if last {
		a.ending()
	}
	if a.err != nil {
		err = a.err
	}
	a.mu.Unlock()
	if cannot := a.carryOut(do, pdu, abort); err == nil {
		err = cannot
	}
	if last {
		a.close()
	}
	return err
}

// close follows the last PDU: the peer has until a.until to read it and to close,
// where the state is Sta13.
func (a *Association) close() {
	a.writing.Lock()
	broken := a.broken
	a.writing.Unlock()
	a.conn.SetReadDeadline(a.until)
	if broken || a.state() != ul.Sta13 {
		a.conn.Close()
	}
	close(a.carried)
}

// ending tells everybody that the association has ended. a.mu is held.
func (a *Association) ending() {
	if a.until.IsZero() {
		a.until = time.Now().Add(a.timeouts.ARTIM)
	}
	close(a.ended)
	for _, m := range a.serving {
		m.cancel()
	}
	a.conn.SetWriteDeadline(a.until)
}

type appender interface{ Append([]byte) []byte }

func (a *Association) carryOut(do []ul.Do, pdu appender, abort ul.Abort) error {
	for _, d := range do {
		var err error
		switch d {
		case ul.SendAssociateRQ, ul.SendAssociateAC, ul.SendAssociateRJ, ul.SendReleaseRQ, ul.SendReleaseRP:
			err = a.write(pdu.Append(nil), true)
		case ul.SendAbort:
			err = a.write(ul.Abort{Source: ul.AbortByUser}.Append(nil), true)
		case ul.SendProviderAbort:
			err = a.write(abort.Append(nil), true)
		case ul.CloseTransport:
			a.conn.Close()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fail ends the association by a local abort, or by the protocol error that was
// found, if it has not ended yet. It returns the error that the association ended
// with, always the same from then on. Any goroutine may call it; the one that
// reads lets the peer read our last PDU and closes.
func (a *Association) fail(err error) error { return a.failWithin(err, a.timeouts.ARTIM) }

// failWithin is fail with the time that the peer has to read our last PDU.
func (a *Association) failWithin(err error, wait time.Duration) error {
	var protocol *ul.ProtocolError
	event, abort := ul.EvtAbortRequest, ul.Abort{}
	switch {
	case errors.As(err, &protocol):
		event, abort = ul.EvtInvalidPDU, ul.Abort{Source: ul.AbortByProvider, Reason: protocol.Reason}
	case errors.Is(err, ErrLost):
		event = ul.EvtTransportClosed
	}
	a.mu.Lock()
	if a.err != nil {
		defer a.mu.Unlock()
		return a.err
	}
	a.until = time.Now().Add(wait)
	if event == ul.EvtAbortRequest && a.machine.State() == ul.Sta2 {
		event = ul.EvtARTIM
	}
	a.mu.Unlock()
	a.step(event, nil, abort, func(ul.State) error { return err })
	return a.Err()
}

// cutShort ends the association because a context has ended.
func (a *Association) cutShort(ctx context.Context) error {
	return a.failWithin(context.Cause(ctx), hurried)
}

// hurried is how long the peer has to read our last PDU when the context of the
// caller has ended.
const hurried = 500 * time.Millisecond

// finish ends the reading of an association that has ended: in Sta13 it waits for
// the peer to close, so that it can read what we sent last: closing with unread
// bytes would reset the connection under it. What still comes is not looked at:
// PS3.8 action AA-6. It returns when no handler works.
func (a *Association) finish() {
	<-a.carried
	if a.state() == ul.Sta13 {
		if half, ok := a.conn.(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
		}
		a.conn.SetReadDeadline(a.until)
		io.Copy(io.Discard, onlyReader{a.conn})
		a.step(ul.EvtTransportClosed, nil, ul.Abort{}, nil)
	}
	a.conn.Close()
	if a.unbase != nil {
		a.unbase()
	}
	a.work.Wait()
	a.in.release()
	close(a.closed)
}

// onlyReader hides the methods by which io.Copy would choose another way.
type onlyReader struct{ io.Reader }

// Abort ends the association at once, PS3.8 section 7.3, and returns when it is
// closed. After the end it does nothing. A handler does not call it: it returns an
// error.
func (a *Association) Abort(why string) {
	a.fail(&AbortedError{Why: why})
	<-a.closed
}

// await makes reading end when ctx does, until its result is called. What an
// acceptor has to answer it may still send.
func (a *Association) await(ctx context.Context) (done func()) {
	cut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		a.conn.SetReadDeadline(time.Unix(1, 0))
		close(cut)
	})
	a.in.ctx, a.in.cut = ctx, cut
	return func() { stop() }
}

// read reads the next PDU, steps the machine, and returns the PDU where the
// machine says that it is one for us. Every error has already ended the
// association, but for that of a server that stops between two messages.
func (a *Association) read(first time.Duration, awaited string) (any, error) {
	before := a.state()
	h, body, err := a.nextPDU(first, before == ul.Sta2, awaited)
	switch {
	case a.Err() != nil:
		return nil, a.Err()
	case err != nil && a.in.ctx.Err() != nil:
		<-a.in.cut // so that its deadline does not overtake that of the A-ABORT
		return nil, err
	case err != nil:
		return nil, a.fail(err)
	}
	var pdu any
	if expected(h.Type, before) {
		if pdu, err = ul.Parse(h, body); err != nil {
			return nil, a.fail(err)
		}
	}
	abort := ul.Abort{Source: ul.AbortByProvider, Reason: ul.ReasonUnexpectedPDU}
	err = a.step(h.Type.Event(), nil, abort, func(after ul.State) error {
		switch {
		case h.Type == ul.TypeAbort:
			why, _ := pdu.(ul.Abort)
			return &AbortedError{Abort: why, Peer: true}
		case after == ul.Sta13:
			return &AbortedError{Why: fmt.Sprintf("unexpected %v in %v", h.Type, before)}
		case h.Type == ul.TypeReleaseRP && after == ul.Sta1:
			return ErrReleased
		}
		return nil
	})
	return pdu, err
}

// untilIdle awaits a first byte for as long as the association may be idle.
const untilIdle = -1

// forever is longer than any association.
const forever = 100 * 365 * 24 * time.Hour

func (a *Association) nextPDU(first time.Duration, opening bool, awaited string) (ul.Header, []byte, error) {
	if first != untilIdle {
		return a.in.next(first, a.timeouts.PDU, opening, awaited)
	}
	for {
		h, body, err := a.in.next(a.idle(), a.timeouts.PDU, opening, awaited)
		var late *TimeoutError
		if !errors.As(err, &late) || a.in.begun() || a.idle() <= 0 {
			return h, body, err
		}
	}
}

// idle returns how long the association may still be without work. A requestor
// decides for itself when it releases.
func (a *Association) idle() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.requestor:
		return forever
	case a.working > 0 || len(a.calls) > 0:
		return a.timeouts.Idle
	}
	return a.timeouts.Idle - time.Since(a.active)
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
// ErrReleased where it was released.
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
			if err := a.peerReleases(); err != nil {
				return ul.PDV{}, err
			}
		case ul.ReleaseRP:
			return ul.PDV{}, a.answerRelease() // Sta12
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

// peerReleases answers the peer's A-RELEASE-RQ once what we serve is answered:
// Sta8 still sends, PS3.8 action AR-7. In a collision (section 7.2.2) the
// requestor answers first (Sta9), the acceptor after it got its answer (Sta10).
func (a *Association) peerReleases() error {
	switch a.state() {
	case ul.Sta9:
		if err := a.step(ul.EvtReleaseResponse, ul.ReleaseRP{}, ul.Abort{}, nil); err != nil {
			return a.fail(err)
		}
		return nil
	case ul.Sta10:
		return nil
	}
	if a.inside {
		return a.answerRelease()
	}
	a.stop(ErrReleased)
	worked := make(chan struct{})
	go func() {
		defer close(worked)
		a.work.Wait()
	}()
	select {
	case <-worked:
	case <-a.ended:
	case <-time.After(a.timeouts.ARTIM):
	}
	return a.answerRelease()
}

// stop tells who serves and who awaits a response that nothing more is read.
func (a *Association) stop(why error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopping != nil {
		return
	}
	a.stopping = why
	close(a.stopped)
	for _, m := range a.serving {
		m.cancel()
	}
}

// answerRelease sends the A-RELEASE-RP that ends the association.
func (a *Association) answerRelease() error {
	a.step(ul.EvtReleaseResponse, ul.ReleaseRP{}, ul.Abort{}, func(ul.State) error {
		if a.inside {
			return &AbortedError{Why: "the peer released the association in the middle of a message"}
		}
		return ErrReleased
	})
	return a.Err()
}

// Release releases the association in order, PS3.8 section 7.2, and returns when
// the connection is closed. What comes in is read over. It is an error where the
// association has ended otherwise.
func (a *Association) Release(ctx context.Context) error {
	if err := a.Err(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { a.cutShort(ctx) })
	defer stop()
	a.release.Do(func() { close(a.releasing) })
	a.message.Lock()
	err := a.step(ul.EvtReleaseRequest, ul.ReleaseRQ{}, ul.Abort{}, nil)
	a.message.Unlock()
	if err != nil && a.state() == ul.Sta7 {
		a.fail(errors.Join(ErrLost, err))
	} // else the peer releases too, or the association has ended
	late := time.AfterFunc(a.timeouts.ARTIM, func() { a.fail(&TimeoutError{"the A-RELEASE-RP"}) })
	defer late.Stop()
	<-a.closed
	if err := a.Err(); err != ErrReleased {
		return err
	}
	return nil
}

// Contexts returns the accepted presentation contexts by ID.
func (a *Association) Contexts() []Context {
	return slices.SortedFunc(maps.Values(a.contexts), func(x, y Context) int { return cmp.Compare(x.ID, y.ID) })
}

// Answered is the answer to a presentation context that was proposed.
type Answered struct {
	Result         ul.ContextResult
	TransferSyntax string // where it is accepted
}

// Answers returns the answers to the presentation contexts of our Proposal, in
// their order.
func (a *Association) Answers() []Answered { return a.answers }

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
			e.Proposed, e.Result = true, a.answers[i].Result
		}
	}
	return Context{}, e
}

// A NotAcceptedError says that there is no presentation context for what is to
// be sent, or that it is not ours to send.
type NotAcceptedError struct {
	AbstractSyntax, TransferSyntax string
	Proposed                       bool
	Result                         ul.ContextResult
	Role                           bool // the context is there, and the role of SCU is the peer's alone
}

func (e *NotAcceptedError) Error() string {
	why := "was not proposed"
	switch {
	case e.Role:
		why = "the role of SCU is not ours"
	case e.Proposed:
		why = e.Result.String()
	}
	return fmt.Sprintf("dicom/association: no presentation context for SOP class %s with transfer syntax %s: %s", e.AbstractSyntax, e.TransferSyntax, why)
}

// nextMessageID returns a message ID that no request of ours without its response
// has. a.mu is held.
func (a *Association) nextMessageID() uint16 {
	for {
		a.lastID++
		if _, taken := a.calls[a.lastID]; !taken && a.lastID != 0 {
			return a.lastID
		}
	}
}

func peerOf(c net.Conn) netip.AddrPort {
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		p := tcp.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	return netip.AddrPort{}
}
