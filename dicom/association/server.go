package association

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"nhip/dicom/dimse"
	"nhip/dicom/uid"
	"nhip/dicom/ul"
)

// A Request is an association that a peer asks for.
type Request struct {
	Calling, Called string // AE titles as sent, padding removed; not to be trusted as a name for anything
	Peer            netip.AddrPort
	Implementation  string
	Contexts        []ul.ProposedContext
	Roles           []ul.RoleSelection // proposed
	Window          *ul.AsyncWindow    // proposed; nil: 1,1
	Extended        []ul.Extended
	CommonExtended  []ul.CommonExtended
	Identity        *ul.UserIdentity     // of the user; nil: not given
	TLS             *tls.ConnectionState // nil: in the clear
}

// An Answer is what becomes of a Request: a rejection, or the presentation
// contexts that are taken.
type Answer struct {
	Reject *ul.AssociateRJ // nil: accepted

	// AbstractSyntax says whether a SOP class is served, TransferSyntax whether it
	// is taken in a transfer syntax. Of the transfer syntaxes in a presentation
	// context the first one offered that is taken is accepted.
	AbstractSyntax func(abstractSyntax string) bool
	TransferSyntax func(abstractSyntax, transferSyntax string) bool

	// Role says which roles the peer may have for a SOP class where it proposes any;
	// nil: SCU alone. Where it is accepted as SCP, we may send requests to it.
	Role func(abstractSyntax string) (scu, scp bool)

	// Window is what is agreed to where the peer proposes more. Requests are served
	// at once up to that number, so that one, the zero value, is for handlers that
	// bear no other beside them.
	Window Window

	// Extended answers the SOP class extended negotiation that was proposed.
	Extended []ul.Extended
	// IdentityResponse, if it is not nil, says that the user's identity is believed,
	// where the peer wants to hear of it: empty, or up to 32 KiB for a Kerberos
	// ticket or a SAML assertion. Who is not believed is rejected.
	IdentityResponse []byte
}

// A Handler serves one message and answers it, in a goroutine of its own. It reads
// the data set first, or what else it sends on the association finds no answer. An
// error ends the association; what is left of the data set is read over.
type Handler func(ctx context.Context, a *Association, m *Message) error

// A Server accepts associations. Its fields are not changed once it serves; it
// may serve several listeners.
type Server struct {
	// Accept decides on each association; it may be called concurrently.
	Accept func(Request) Answer
	// Ended, if set, is told of the end of every association that was accepted:
	// ErrReleased where it was released in order.
	Ended func(Request, error)
	// Handlers by the command of the request. A request without a handler is
	// answered 0211H, unrecognized operation.
	Handlers map[dimse.CommandField]Handler

	MaxPDU          uint32 // maximum length offered; 0: DefaultMaxPDU; up to LargestMaxPDU
	MaxAssociations int    // more are rejected for now, 2/3/1; 0: 64
	// MaxPerPeer is how many associations an address may have, and how many a calling
	// AE title, so that one peer keeps no other out, however long it is idle; more are
	// rejected for now. 0: no other limit than MaxAssociations.
	MaxPerPeer int
	// Known, if set, says from which addresses peers may call. All others together
	// have no more than the spare connections, so that they keep no peer out; any
	// address has at most half of all.
	Known    func(netip.Addr) bool
	Timeouts Timeouts
	Log      *slog.Logger // nil: slog.Default

	mu          sync.Mutex
	connections int
	unheard     map[netip.Addr]int // connections whose A-ASSOCIATE-RQ is awaited; strangers share the zero address
	open        map[any]int        // associations by address and by calling AE title, and of all
}

// all is the key of Server.open under which every association is counted.
type all struct{}

// maxUnheard connections of one address may be open before their A-ASSOCIATE-RQ,
// and spareConnections of all beyond MaxAssociations, so that a peer can be told
// why it is rejected. Beyond them a connection is closed unheard.
const (
	maxUnheard       = 32
	spareConnections = 8 * maxUnheard
)

func (s *Server) maxAssociations() int {
	if s.MaxAssociations == 0 {
		return 64
	}
	return s.MaxAssociations
}

func (s *Server) maxPDU() uint32 {
	if s.MaxPDU == 0 {
		return DefaultMaxPDU
	}
	return min(max(s.MaxPDU, leastMaxPDU), LargestMaxPDU)
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.Default()
	}
	return s.Log
}

// Serve accepts connections until ctx ends, closes the listener, and returns
// when every association has ended: idle ones are aborted, a handler that works
// is waited for. It returns nil after ctx, else the listener's error.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	var serving sync.WaitGroup
	defer serving.Wait()
	defer l.Close()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	pause := 5 * time.Millisecond
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			// Out of descriptors, or a connection that was gone before it was accepted.
			s.log().Warn("dicom: a connection could not be accepted", "error", err)
			pause = min(2*pause, time.Second)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			continue
		}
		pause = 5 * time.Millisecond
		place := s.place(c)
		if !s.admit(place) {
			s.log().Debug("dicom: connection closed unheard: too many are open", "peer", c.RemoteAddr().String())
			c.Close()
			continue
		}
		serving.Go(func() {
			defer s.leave()
			s.serveConn(ctx, c, func() { s.heard(place) })
		})
	}
}

// admit counts a connection of a place in; false where there are too many.
func (s *Server) admit(place netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.connections >= s.maxAssociations()+spareConnections || s.unheard[place] >= maxUnheard {
		return false
	}
	if s.unheard == nil {
		s.unheard = map[netip.Addr]int{}
	}
	s.connections++
	s.unheard[place]++
	return true
}

// heard ends the wait for the A-ASSOCIATE-RQ.
func (s *Server) heard(place netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unheard[place]--; s.unheard[place] == 0 {
		delete(s.unheard, place)
	}
}

func (s *Server) leave() {
	s.mu.Lock()
	s.connections--
	s.mu.Unlock()
}

// place is where a connection is counted.
func (s *Server) place(c net.Conn) netip.Addr {
	from := peerOf(c).Addr()
	if s.Known != nil && !s.Known(from) {
		return netip.Addr{}
	}
	return from
}

// begin counts an association; false where there are too many.
func (s *Server) begin(r Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	perPeer := s.MaxPerPeer
	if perPeer == 0 {
		perPeer = s.maxAssociations()
	}
	if s.open[all{}] >= s.maxAssociations() || s.open[r.Peer.Addr()] >= perPeer || s.open[r.Calling] >= perPeer {
		return false
	}
	if s.open == nil {
		s.open = map[any]int{}
	}
	for _, key := range []any{all{}, r.Peer.Addr(), r.Calling} {
		s.open[key]++
	}
	return true
}

func (s *Server) end(r Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range []any{all{}, r.Peer.Addr(), r.Calling} {
		if s.open[key]--; s.open[key] == 0 {
			delete(s.open, key)
		}
	}
}

// ServeConn serves one connection and returns when its association has ended
// and the connection is closed.
func (s *Server) ServeConn(ctx context.Context, c net.Conn) { s.serveConn(ctx, c, func() {}) }

// serveConn is ServeConn; heard is called once, when the A-ASSOCIATE-RQ was
// answered or the wait for it is over.
func (s *Server) serveConn(ctx context.Context, c net.Conn, heard func()) {
	a := newAssociation(ctx, c, false, s.Timeouts, s.maxPDU())
	a.handlers = s.Handlers
	log := s.log().With("peer", c.RemoteAddr().String())
	if err := handshake(ctx, c, a.timeouts.ARTIM); err != nil {
		heard()
		c.Close()
		log.Warn("dicom: connection refused", "error", err)
		return
	}
	defer a.await(ctx)()
	r, err := s.establish(a)
	heard()
	if err != nil {
		a.finish()
	} else {
		defer s.end(r)
		log = log.With("calling", a.Calling, "called", a.Called)
		log.Debug("dicom: association accepted", "contexts", len(a.contexts))
		a.run()
		err = a.Err()
		if s.Ended != nil {
			s.Ended(r, err)
		}
	}
	switch {
	case errors.Is(err, ErrReleased):
		log.Debug("dicom: association released")
	case ctx.Err() != nil:
		log.Info("dicom: association ended: shutting down")
	default:
		log.Warn("dicom: association ended", "error", err)
	}
}

// establish takes the A-ASSOCIATE-RQ and answers it. Its error has ended the
// association; without one the association is counted.
func (s *Server) establish(a *Association) (Request, error) {
	if err := a.step(ul.EvtTransportIndication, nil, ul.Abort{}, nil); err != nil {
		return Request{}, a.fail(err)
	}
	pdu, err := a.read(a.timeouts.ARTIM, "the A-ASSOCIATE-RQ")
	if err != nil {
		return Request{}, a.failWithin(err, hurried) // where it has not ended, we are shutting down
	}
	rq, ok := pdu.(ul.AssociateRQ)
	if !ok {
		return Request{}, a.fail(fmt.Errorf("dicom/association: %T where an A-ASSOCIATE-RQ was awaited", pdu))
	}
	a.Calling, a.Called = rq.Calling, rq.Called
	a.Implementation = implementation(rq.User)
	r := Request{
		Calling:        rq.Calling,
		Called:         rq.Called,
		Peer:           a.Peer,
		Implementation: a.Implementation,
		Contexts:       rq.Contexts,
		Roles:          rq.User.Roles,
		Window:         rq.User.AsyncWindow,
		Extended:       rq.User.Extended,
		CommonExtended: rq.User.CommonExtended,
		Identity:       rq.User.Identity,
		TLS:            tlsState(a.conn),
	}
	a.User = rq.User
	a.User.Identity = nil // a secret; it was for Accept
	answer := s.decide(r, rq)
	if rj := answer.Reject; rj != nil {
		a.step(ul.EvtReject, *rj, ul.Abort{}, func(ul.State) error { return &RejectedError{*rj, rq.Calling, rq.Called} })
		return r, a.Err()
	}
	if err := a.step(ul.EvtAccept, s.accept(a, rq, answer), ul.Abort{}, nil); err != nil {
		s.end(r)
		return r, a.fail(errors.Join(ErrLost, err))
	}
	return r, nil
}

// decide rejects what the service provider has to, PS3.8 action AE-6, and asks
// the user of this server for the rest. What is accepted is counted: who never
// asks for an association takes no place from one who does.
func (s *Server) decide(r Request, rq ul.AssociateRQ) Answer {
	switch {
	case rq.ProtocolVersion&1 == 0:
		return Answer{Reject: &ul.RejectProtocolVersion}
	case rq.ApplicationContext != uid.DICOMApplicationContext:
		return Answer{Reject: &ul.RejectApplicationContext}
	case !s.begin(r):
		return Answer{Reject: &ul.RejectTemporaryCongestion}
	}
	answer := s.Accept(r)
	if answer.Reject != nil {
		s.end(r)
	}
	return answer
}

// accept builds the A-ASSOCIATE-AC: contexts, our maximum length, and what was
// agreed to of the window and of the roles.
func (s *Server) accept(a *Association, rq ul.AssociateRQ, answer Answer) ul.AssociateAC {
	ac := ul.AssociateAC{
		ProtocolVersion:    1,
		Called:             rq.Called,
		Calling:            rq.Calling,
		ApplicationContext: uid.DICOMApplicationContext,
		User: ul.UserInformation{
			MaximumLength:             s.maxPDU(),
			ImplementationClassUID:    ImplementationClassUID,
			ImplementationVersionName: ImplementationVersionName,
			Extended:                  answer.Extended,
		},
	}
	if id := rq.User.Identity; id != nil && id.PositiveResponse {
		ac.User.IdentityResponse = answer.IdentityResponse
	}
	a.places(1, 1)
	if w := rq.User.AsyncWindow; w != nil {
		ac.User.AsyncWindow = &ul.AsyncWindow{Invoked: agree(w.Invoked, answer.Window.Invoked), Performed: agree(w.Performed, answer.Window.Performed)}
		a.places(ac.User.AsyncWindow.Performed, ac.User.AsyncWindow.Invoked)
	}
	answered := map[string]bool{}
	for _, p := range rq.Contexts {
		c := negotiate(p, answer)
		ac.Contexts = append(ac.Contexts, c)
		if c.Result != ul.ContextAccepted {
			continue
		}
		if !answered[p.AbstractSyntax] {
			answered[p.AbstractSyntax] = true
			ac.User.Roles = append(ac.User.Roles, answer.roles(p.AbstractSyntax, rq.User.Roles)...)
		}
		role := selected(rq.User.Roles, ac.User.Roles, p.AbstractSyntax)
		a.contexts[p.ID] = Context{p.ID, p.AbstractSyntax, c.TransferSyntax, role.SCP, role.SCU}
	}
	a.maxSend = sendLength(rq.User.MaximumLength)
	return ac
}

// roles answers the role selection that was proposed for a SOP class, if any:
// PS3.7 section D.3.3.4.
func (answer Answer) roles(class string, proposed []ul.RoleSelection) []ul.RoleSelection {
	i := slices.IndexFunc(proposed, func(r ul.RoleSelection) bool { return r.SOPClassUID == class })
	if i < 0 {
		return nil
	}
	scu, scp := true, false
	if answer.Role != nil {
		scu, scp = answer.Role(class)
	}
	p := proposed[i]
	return []ul.RoleSelection{{SOPClassUID: class, SCU: p.SCU && scu, SCP: p.SCP && scp}}
}

// negotiate answers one presentation context. A refused one repeats the first
// transfer syntax offered: the field is there, and means nothing.
func negotiate(p ul.ProposedContext, answer Answer) ul.AnsweredContext {
	c := ul.AnsweredContext{ID: p.ID, Result: ul.TransferSyntaxNotSupported}
	if len(p.TransferSyntaxes) > 0 {
		c.TransferSyntax = p.TransferSyntaxes[0]
	}
	if !answer.AbstractSyntax(p.AbstractSyntax) {
		c.Result = ul.AbstractSyntaxNotSupported
		return c
	}
	i := slices.IndexFunc(p.TransferSyntaxes, func(ts string) bool {
		return answer.TransferSyntax(p.AbstractSyntax, ts)
	})
	if i >= 0 {
		c.Result, c.TransferSyntax = ul.ContextAccepted, p.TransferSyntaxes[i]
	}
	return c
}

func tlsState(c net.Conn) *tls.ConnectionState {
	if t, ok := c.(*tls.Conn); ok {
		state := t.ConnectionState()
		return &state
	}
	return nil
}

// sendLength is how long the variable field of a P-DATA-TF to a peer may be that
// offered this maximum length: 0 is no limit, and less than leastLength is not
// believed.
func sendLength(offered uint32) int {
	if offered == 0 {
		return DefaultMaxPDU
	}
	return int(min(max(offered, leastLength), DefaultMaxPDU))
}

func implementation(u ul.UserInformation) string {
	if u.ImplementationVersionName != "" {
		return u.ImplementationVersionName
	}
	return u.ImplementationClassUID
}
