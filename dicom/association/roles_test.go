package association_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/store"
	"nhip/dicom/uid"
	"nhip/dicom/ul"
)

const (
	studyRootGet  = "1.2.840.10008.5.1.4.1.2.2.3"
	studyRootFind = "1.2.840.10008.5.1.4.1.2.2.1"
	commitment    = "1.2.840.10008.1.20.1"
)

// serverOf takes everything with the handlers.
func serverOf(handlers map[dimse.CommandField]association.Handler) *association.Server {
	return &association.Server{
		Accept: func(association.Request) association.Answer {
			return association.Answer{
				AbstractSyntax: func(string) bool { return true },
				TransferSyntax: func(string, string) bool { return true },
				Role:           func(string) (scu, scp bool) { return true, true },
				Window:         association.Window{Invoked: 8, Performed: 4},
			}
		},
		Handlers: handlers,
		Log:      slog.New(slog.DiscardHandler),
	}
}

func contextsOf(classes ...string) (contexts []ul.ProposedContext) {
	for i, c := range classes {
		contexts = append(contexts, ul.ProposedContext{ID: byte(2*i + 1), AbstractSyntax: c, TransferSyntaxes: []string{implicit}})
	}
	return contexts
}

// associated returns our requestor, whose acceptor is ours too.
func associated(t *testing.T, s *association.Server, p association.Proposal) *association.Association {
	t.Helper()
	c := connect(t, s)
	p.Calling, p.Called = "A", "B"
	a, err := association.Establish(t.Context(), c.Conn, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Abort("the test is over") })
	return a
}

func released(t *testing.T, a *association.Association) {
	t.Helper()
	if err := a.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// The sub-operations of a C-GET come over the association that asks for them,
// between its responses: PS3.4 section C.4.3.
func TestSubOperationsOnTheSameAssociation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		get := func(ctx context.Context, a *association.Association, m *association.Message) error {
			if err := m.DataSet.Drain(); err != nil {
				return err
			}
			counts := dimse.SubOperations{Remaining: 3}
			for i := range 3 {
				o := store.Object{SOPClassUID: ct, SOPInstanceUID: fmt.Sprintf("1.%d", i), TransferSyntaxUID: implicit, DataSet: strings.NewReader(strings.Repeat("x", 200_000))}
				status, err := store.Send(ctx, a, o)
				if err != nil {
					return err
				}
				counts.Remaining--
				if status.Class() == dimse.ClassSuccess {
					counts.Completed++
				} else {
					counts.Failed++
				}
				n := counts
				if err := a.RespondWith(ctx, m, dimse.Command{Status: dimse.Status{Code: dimse.Pending}, SubOperations: &n}, nil); err != nil {
					return err
				}
			}
			return a.RespondWith(ctx, m, dimse.Command{Status: dimse.Status{Code: dimse.SomeSubOperationsFailed}, SubOperations: &counts}, strings.NewReader("1.2"))
		}
		var stored []string
		a := associated(t, serverOf(map[dimse.CommandField]association.Handler{dimse.CGetRQ: get}), association.Proposal{
			Contexts: contextsOf(studyRootGet, ct),
			Roles:    []ul.RoleSelection{{SOPClassUID: ct, SCP: true}},
			Handlers: map[dimse.CommandField]association.Handler{
				dimse.CStoreRQ: store.Handle(func(_ context.Context, r store.Request, dataSet io.Reader) dimse.Status {
					if n, err := io.Copy(io.Discard, dataSet); n != 200_000 || err != nil {
						t.Errorf("%d bytes, %v", n, err)
					}
					stored = append(stored, r.SOPInstanceUID)
					if r.SOPInstanceUID == "1.1" {
						return dimse.Status{Code: dimse.OutOfResources}
					}
					return dimse.Status{}
				}),
			},
		})
		call, err := a.Start(t.Context(), 1, dimse.Command{Field: dimse.CGetRQ, AffectedSOPClassUID: studyRootGet}, strings.NewReader("identifier"))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for {
			m, err := call.Next(t.Context())
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%04X %v", m.Command.Status.Code, *m.Command.SubOperations))
		}
		if want := []string{"FF00 {2 1 0 0}", "FF00 {1 1 1 0}", "FF00 {0 2 1 0}", "B000 {0 2 1 0}"}; !slices.Equal(got, want) {
			t.Errorf("responses %v", got)
		}
		if want := []string{"1.0", "1.1", "1.2"}; !slices.Equal(stored, want) {
			t.Errorf("stored %v", stored)
		}
		released(t, a)
	})
}

// The roles decide who sends requests; N-EVENT-REPORT is the SCP's.
func TestRoleSelection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reported := make(chan uint16, 1)
		report := func(ctx context.Context, a *association.Association, m *association.Message) error {
			reported <- m.Command.EventTypeID
			return a.Respond(ctx, m, dimse.Status{})
		}
		a := associated(t, serverOf(map[dimse.CommandField]association.Handler{dimse.NEventReportRQ: report}), association.Proposal{
			Contexts: contextsOf(commitment, ct),
			Roles:    []ul.RoleSelection{{SOPClassUID: commitment, SCP: true}},
		})
		want := []association.Context{{ID: 1, AbstractSyntax: commitment, TransferSyntax: implicit, SCP: true}, {ID: 3, AbstractSyntax: ct, TransferSyntax: implicit, SCU: true}}
		if got := a.Contexts(); !slices.Equal(got, want) {
			t.Errorf("%+v", got)
		}
		rsp, err := a.Request(t.Context(), 1, dimse.Command{Field: dimse.NEventReportRQ, AffectedSOPClassUID: commitment, AffectedSOPInstanceUID: "1.2", EventTypeID: 2}, strings.NewReader("x"))
		if err != nil || rsp.Status.Code != 0 || rsp.AffectedSOPInstanceUID != "1.2" || <-reported != 2 {
			t.Errorf("%+v, %v", rsp, err)
		}
		var refused *association.NotAcceptedError
		_, err = a.Request(t.Context(), 1, dimse.Command{Field: dimse.NActionRQ, RequestedSOPClassUID: commitment, ActionTypeID: 1}, nil)
		if !errors.As(err, &refused) || !refused.Role || !strings.HasSuffix(err.Error(), "the role of SCU is not ours") {
			t.Error(err)
		}
		if _, err := a.Request(t.Context(), 99, dimse.Command{Field: dimse.CEchoRQ}, nil); !errors.As(err, &refused) || refused.Role {
			t.Error(err)
		}
		released(t, a)
	})
}

// A role is the requestor's only where it was proposed and accepted; a peer that
// does not answer leaves the default.
func TestRolesThatThePeerAnswers(t *testing.T) {
	both := []ul.RoleSelection{{SOPClassUID: ct, SCU: true, SCP: true}}
	for _, c := range []struct {
		proposed, answered []ul.RoleSelection
		scu, scp           bool
	}{
		{nil, nil, true, false},
		{both, nil, true, false},
		{nil, both, true, false},
		{both, both, true, true},
		{both, []ul.RoleSelection{{SOPClassUID: ct, SCP: true}}, false, true},
		{both, []ul.RoleSelection{{SOPClassUID: "1.2", SCP: true}}, true, false},
		{[]ul.RoleSelection{{SOPClassUID: ct, SCU: true}}, both, true, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			done := make(chan struct{})
			go func() {
				defer close(done)
				p := peer{t, theirs}
				p.pdu()
				p.send(ul.AssociateAC{ProtocolVersion: 1, Contexts: []ul.AnsweredContext{{ID: 1, TransferSyntax: implicit}}, User: ul.UserInformation{Roles: c.answered}}.Append(nil))
				p.expect(ul.Abort{})
				theirs.Close()
			}()
			a, err := association.Establish(t.Context(), ours, association.Proposal{Calling: "A", Called: "B", Contexts: contextsOf(ct), Roles: c.proposed})
			if err != nil {
				t.Fatal(err)
			}
			if got := a.Contexts()[0]; got.SCU != c.scu || got.SCP != c.scp {
				t.Errorf("proposed %v, answered %v: %+v", c.proposed, c.answered, got)
			}
			a.Abort("the test is over")
			<-done
		})
	}
}

// find answers one pending response after the other until it is cancelled.
func find(ctx context.Context, a *association.Association, m *association.Message) error {
	if err := m.DataSet.Drain(); err != nil {
		return err
	}
	for i := 0; ; i++ {
		select {
		case <-m.Cancelled():
			return a.Respond(ctx, m, dimse.Status{Code: dimse.Cancelled})
		default:
		}
		if err := a.RespondWith(ctx, m, dimse.Command{Status: dimse.Status{Code: dimse.Pending}}, strings.NewReader(fmt.Sprint("match ", i))); err != nil {
			return err
		}
	}
}

func TestCancelEndsTheResponses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := associated(t, serverOf(map[dimse.CommandField]association.Handler{dimse.CFindRQ: find}), association.Proposal{Contexts: contextsOf(studyRootFind)})
		for range 2 { // the second time the first one's message ID is free
			call, err := a.Start(t.Context(), 1, dimse.Command{Field: dimse.CFindRQ, MessageID: 7, AffectedSOPClassUID: studyRootFind}, strings.NewReader("keys"))
			if err != nil {
				t.Fatal(err)
			}
			for i := range 5 {
				m, err := call.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if b, err := io.ReadAll(m.DataSet); err != nil || string(b) != fmt.Sprint("match ", i) {
					t.Errorf("%q, %v", b, err)
				}
			}
			if err := call.Cancel(t.Context()); err != nil {
				t.Fatal(err)
			}
			last := dimse.Status{}
			for {
				m, err := call.Next(t.Context()) // reads over what is not read
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				last = m.Command.Status
			}
			if last.Code != dimse.Cancelled {
				t.Error(last)
			}
		}
		released(t, a)
	})
}

// A response that nobody takes keeps nobody from releasing.
func TestReleaseWithResponsesThatNobodyTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := associated(t, serverOf(map[dimse.CommandField]association.Handler{dimse.CFindRQ: find}), association.Proposal{Contexts: contextsOf(studyRootFind)})
		call, err := a.Start(t.Context(), 1, dimse.Command{Field: dimse.CFindRQ, AffectedSOPClassUID: studyRootFind}, strings.NewReader("keys"))
		if err != nil {
			t.Fatal(err)
		}
		m, err := call.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		released(t, a)
		if b, err := io.ReadAll(m.DataSet); err == nil {
			t.Errorf("read as whole after the release: %q", b)
		}
	})
}

// Eight operations are outstanding at once, and answered in another order: each
// response finds its request.
func TestAsynchronousWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at atomic.Int32
		turn := make(chan struct{}, 8)
		echo := func(ctx context.Context, a *association.Association, m *association.Message) error {
			if at.Add(1) == 8 {
				close(turn)
			}
			<-turn
			time.Sleep(time.Duration(10-m.Command.MessageID) * time.Second)
			return a.Respond(ctx, m, dimse.Status{Code: 0xB000 + m.Command.MessageID})
		}
		a := associated(t, serverOf(map[dimse.CommandField]association.Handler{dimse.CEchoRQ: echo}), association.Proposal{
			Contexts: contextsOf(uid.Verification),
			Window:   association.Window{Invoked: 20, Performed: 3},
		})
		if w := a.User.AsyncWindow; w == nil || *w != (ul.AsyncWindow{Invoked: 8, Performed: 3}) {
			t.Fatalf("%+v", w)
		}
		var calls []*association.Call
		for range 8 {
			c, err := a.Start(t.Context(), 1, dimse.Command{Field: dimse.CEchoRQ, AffectedSOPClassUID: uid.Verification}, nil)
			if err != nil {
				t.Fatal(err)
			}
			calls = append(calls, c)
		}
		full, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.Start(full, 1, dimse.Command{Field: dimse.CEchoRQ}, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a ninth was sent: %v", err)
		}
		for _, c := range calls {
			m, err := c.Next(t.Context())
			if err != nil || m.Command.Status.Code != 0xB000+c.MessageID() {
				t.Errorf("message %d: %v, %v", c.MessageID(), m, err)
			}
		}
		released(t, a)
	})
}

// Without a window of its own an association has one operation at a time, also
// where the peer does not keep to it.
func TestOneOperationAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at, most atomic.Int32
		p := connect(t, serverOf(map[dimse.CommandField]association.Handler{dimse.CEchoRQ: func(ctx context.Context, a *association.Association, m *association.Message) error {
			most.Store(max(most.Load(), at.Add(1)))
			time.Sleep(time.Second)
			at.Add(-1)
			return a.Respond(ctx, m, dimse.Status{})
		}}))
		p.associate(proposal(contextsOf(uid.Verification)...))
		var requests []byte
		for id := range uint16(5) {
			requests = append(requests, pdata(command(1, dimse.Command{Field: dimse.CEchoRQ, MessageID: id + 1}.Append(nil)))...)
		}
		p.send(requests)
		for id := range uint16(5) {
			if c := p.response(); c.MessageIDBeingRespondedTo != id+1 {
				t.Errorf("%+v", c)
			}
		}
		if most.Load() != 1 {
			t.Errorf("%d at once", most.Load())
		}
	})
}

// PS3.7 annex C.5.5.
func TestDuplicateInvocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, serverOf(map[dimse.CommandField]association.Handler{dimse.CEchoRQ: func(ctx context.Context, a *association.Association, m *association.Message) error {
			time.Sleep(time.Second)
			return a.Respond(ctx, m, dimse.Status{})
		}}))
		rq := proposal(contextsOf(uid.Verification)...)
		rq.User.AsyncWindow = &ul.AsyncWindow{Invoked: 0, Performed: 1}
		p.associate(rq)
		echo := pdata(command(1, dimse.Command{Field: dimse.CEchoRQ, MessageID: 4}.Append(nil)))
		p.send(slices.Concat(echo, echo))
		for _, want := range []uint16{dimse.DuplicateInvocation, dimse.Success} {
			if c := p.response(); c.Status.Code != want || c.MessageIDBeingRespondedTo != 4 {
				t.Errorf("%+v", c)
			}
		}
		p.send(echo) // the ID is free again
		if c := p.response(); c.Status.Code != dimse.Success {
			t.Errorf("%+v", c)
		}
	})
}

// PS3.8 action AR-7: what is being served is still answered after the peer's
// A-RELEASE-RQ.
func TestReleaseWaitsForTheResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serverOf(map[dimse.CommandField]association.Handler{dimse.CEchoRQ: func(ctx context.Context, a *association.Association, m *association.Message) error {
			<-m.Cancelled() // the release
			time.Sleep(3 * time.Second)
			return a.Respond(ctx, m, dimse.Status{})
		}})
		p := connect(t, s)
		p.associate(proposal(contextsOf(uid.Verification)...))
		p.send(slices.Concat(pdata(command(1, dimse.Command{Field: dimse.CEchoRQ, MessageID: 4}.Append(nil))), ul.ReleaseRQ{}.Append(nil)))
		if c := p.response(); c.MessageIDBeingRespondedTo != 4 {
			t.Errorf("%+v", c)
		}
		p.expect(ul.ReleaseRP{})
	})
}

// PS3.8 section 7.2.2 at our acceptor: it answers after it has got its answer.
func TestReleaseCollisionAtTheAcceptor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outcome := make(chan error, 1)
		p := connect(t, serverOf(map[dimse.CommandField]association.Handler{dimse.CEchoRQ: func(_ context.Context, a *association.Association, m *association.Message) error {
			go func() { outcome <- a.Release(context.Background()) }()
			return nil
		}}))
		p.associate(proposal(contextsOf(uid.Verification)...))
		p.send(pdata(command(1, dimse.Command{Field: dimse.CEchoRQ, MessageID: 4}.Append(nil))))
		p.expect(ul.ReleaseRQ{})
		p.send(ul.ReleaseRQ{}.Append(nil))
		time.Sleep(time.Second)
		p.send(ul.ReleaseRP{}.Append(nil))
		p.expect(ul.ReleaseRP{})
		p.Close()
		if err := <-outcome; err != nil {
			t.Error(err)
		}
	})
}

// An association at work is not idle, however long the work takes.
func TestWorkIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, serverOf(map[dimse.CommandField]association.Handler{dimse.CEchoRQ: func(ctx context.Context, a *association.Association, m *association.Message) error {
			time.Sleep(12 * time.Minute)
			return a.Respond(ctx, m, dimse.Status{})
		}}))
		p.associate(proposal(contextsOf(uid.Verification)...))
		p.send(pdata(command(1, dimse.Command{Field: dimse.CEchoRQ, MessageID: 4}.Append(nil))))
		p.response()
		begun := time.Now()
		p.expect(ul.Abort{})
		if d := time.Since(begun); d != 5*time.Minute {
			t.Errorf("aborted after %v", d)
		}
	})
}

// The end of an association is told to who works for it.
func TestEndIsToldToTheHandler(t *testing.T) {
	for name, end := range map[string]func(peer){
		"abort":  func(p peer) { p.send(ul.Abort{}.Append(nil)) },
		"closed": func(p peer) { p.Close() },
		"rubbish": func(p peer) {
			go p.Write([]byte{9, 0, 0, 0, 0, 0})
			p.expect(aborted(ul.ReasonUnrecognizedPDU))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				told := make(chan error, 1)
				p := connect(t, serverOf(map[dimse.CommandField]association.Handler{dimse.CEchoRQ: func(ctx context.Context, a *association.Association, m *association.Message) error {
					<-m.Cancelled()
					<-a.Done()
					told <- a.Respond(ctx, m, dimse.Status{})
					return nil
				}}))
				p.associate(proposal(contextsOf(uid.Verification)...))
				p.send(pdata(command(1, dimse.Command{Field: dimse.CEchoRQ, MessageID: 4}.Append(nil))))
				synctest.Wait()
				end(p)
				if err := <-told; err == nil {
					t.Error("a response was sent after the end")
				}
			})
		})
	}
}

// The context of a requestor's handler ends with the association, not with the
// context that it was established under.
func TestContextOfARequestorsHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := make(chan context.Context, 1)
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			p := peer{t, theirs}
			p.accept(ul.ContextAccepted, 0)
			p.send(pdata(command(1, dimse.Command{Field: dimse.NEventReportRQ, MessageID: 4, AffectedSOPClassUID: commitment, AffectedSOPInstanceUID: "1.2"}.Append(nil))))
			if c := p.response(); c.Field != dimse.NEventReportRSP || c.Status.Code != 0 {
				t.Errorf("%+v", c)
			}
			p.expect(ul.Abort{})
			theirs.Close()
		}()
		short, cancel := context.WithCancel(t.Context())
		a, err := association.Establish(short, ours, association.Proposal{Calling: "A", Called: "B", Contexts: contextsOf(commitment),
			Handlers: map[dimse.CommandField]association.Handler{dimse.NEventReportRQ: func(ctx context.Context, a *association.Association, m *association.Message) error {
				asked <- ctx
				return a.Respond(ctx, m, dimse.Status{})
			}}})
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		ctx := <-asked
		synctest.Wait()
		if ctx.Err() != nil {
			t.Error("it has ended before the association")
		}
		a.Abort("the test is over")
		<-done
		if ctx.Err() == nil {
			t.Error("it has not ended with the association")
		}
	})
}

// The end of the caller's context aborts the association, and while a response is
// awaited too.
func TestContextEndsACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := establish(t, contextsOf(uid.Verification), func(p peer) {
			p.accept(ul.ContextAccepted, 0)
			p.pdu()
			p.expect(ul.Abort{})
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		begun := time.Now()
		_, err = a.Request(ctx, 1, dimse.Command{Field: dimse.CEchoRQ}, nil)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != 7*time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
	})
}

// The identity of a user goes to Accept, and the answer back where it is wanted.
func TestUserIdentity(t *testing.T) {
	for _, c := range []struct {
		identity ul.UserIdentity
		believed bool
		answer   []byte
	}{
		{ul.UserIdentity{Type: ul.IdentityUsername, Primary: []byte("an")}, true, nil},
		{ul.UserIdentity{Type: ul.IdentityPasscode, PositiveResponse: true, Primary: []byte("an"), Secondary: []byte("secret")}, true, []byte{}},
		{ul.UserIdentity{Type: ul.IdentityKerberos, PositiveResponse: true, Primary: []byte("ticket")}, true, []byte{}},
		{ul.UserIdentity{Type: ul.IdentitySAML, PositiveResponse: true, Primary: []byte("assertion")}, true, []byte{}},
		{ul.UserIdentity{Type: ul.IdentityJWT, PositiveResponse: true, Primary: []byte("token")}, true, []byte{}},
		{ul.UserIdentity{Type: ul.IdentityJWT, PositiveResponse: true, Primary: []byte("forged")}, false, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := serverOf(nil)
			accept := s.Accept
			s.Accept = func(r association.Request) association.Answer {
				if r.Identity == nil || r.Identity.Type != c.identity.Type || !bytes.Equal(r.Identity.Primary, c.identity.Primary) || !bytes.Equal(r.Identity.Secondary, c.identity.Secondary) {
					t.Errorf("%v", r.Identity)
				}
				if !c.believed {
					return association.Answer{Reject: &ul.RejectNoReason}
				}
				answer := accept(r)
				answer.IdentityResponse = []byte{}
				return answer
			}
			p := connect(t, s)
			a, err := association.Establish(t.Context(), p.Conn, association.Proposal{Calling: "A", Called: "B", Contexts: contextsOf(ct), Identity: &c.identity})
			if !c.believed {
				var rejected *association.RejectedError
				if !errors.As(err, &rejected) || rejected.AssociateRJ != ul.RejectNoReason {
					t.Error(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := a.User.IdentityResponse; (got == nil) != (c.answer == nil) {
				t.Errorf("%v: answered %v", c.identity, got)
			}
			released(t, a)
		})
	}
}

func TestExtendedNegotiation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serverOf(nil)
		accept := s.Accept
		s.Accept = func(r association.Request) association.Answer {
			if len(r.Extended) != 1 || string(r.Extended[0].Information) != "\x01\x01" || len(r.CommonExtended) != 1 || r.CommonExtended[0].RelatedGeneral[0] != "1.2.3" {
				t.Errorf("%+v", r)
			}
			answer := accept(r)
			answer.Extended = []ul.Extended{{SOPClassUID: studyRootFind, Information: []byte{1, 0}}}
			return answer
		}
		a := associated(t, s, association.Proposal{
			Contexts:       contextsOf(studyRootFind),
			Extended:       []ul.Extended{{SOPClassUID: studyRootFind, Information: []byte{1, 1}}},
			CommonExtended: []ul.CommonExtended{{SOPClassUID: ct, ServiceClassUID: "1.2.840.10008.4.2", RelatedGeneral: []string{"1.2.3"}}},
		})
		if got := a.User.Extended; len(got) != 1 || string(got[0].Information) != "\x01\x00" {
			t.Errorf("%+v", got)
		}
		released(t, a)
	})
}

// A response whose data set nobody reads does not hold the association for ever.
func TestResponseThatNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := establish(t, contextsOf(studyRootFind), func(p peer) {
			p.accept(ul.ContextAccepted, 0)
			p.pdu()
			rsp := dimse.Command{Field: dimse.CFindRSP, MessageIDBeingRespondedTo: 1, HasDataSet: true, Status: dimse.Status{Code: dimse.Pending}}
			go p.Write(pdata(command(1, rsp.Append(nil)), data(1, "match", true)))
			p.expect(ul.Abort{})
		})
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		call, err := a.Start(t.Context(), 1, dimse.Command{Field: dimse.CFindRQ, AffectedSOPClassUID: studyRootFind}, nil)
		if err != nil {
			t.Fatal(err)
		}
		<-a.Done()
		if d := time.Since(begun); d != 5*time.Minute {
			t.Errorf("ended after %v", d)
		}
		var late *association.TimeoutError
		if !errors.As(a.Err(), &late) {
			t.Error(a.Err())
		}
		a.Abort("it has ended")
		if m, err := call.Next(t.Context()); err == nil {
			if b, err := io.ReadAll(m.DataSet); err == nil {
				t.Errorf("read as whole what was read over: %q", b)
			}
		}
	})
}
