package association_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/echo"
	"nhip/dicom/store"
	"nhip/dicom/uid"
	"nhip/dicom/ul"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ct       = "1.2.840.10008.5.1.4.1.1.2"
	implicit = uid.ImplicitVRLittleEndian
	explicit = uid.ExplicitVRLittleEndian
)

func acceptAll(association.Request) association.Answer {
	stores := store.Accepts()
	syntaxes := store.AcceptsTransferSyntax()
	return association.Answer{
		AbstractSyntax: func(as string) bool { return echo.Accepts(as) || stores(as) },
		TransferSyntax: func(_, ts string) bool { return syntaxes(ts) },
	}
}

// An outcome is what became of an object at the handler.
type outcome struct {
	request store.Request
	data    []byte
	err     error
}

// newServer serves echo and store; what was stored goes to the channel.
func newServer(stored chan<- outcome) *association.Server {
	return &association.Server{
		Accept: acceptAll,
		Handlers: map[dimse.CommandField]association.Handler{
			dimse.CEchoRQ: echo.Handle,
			dimse.CStoreRQ: store.Handle(func(_ context.Context, r store.Request, dataSet io.Reader) dimse.Status {
				b, err := io.ReadAll(dataSet)
				stored <- outcome{r, b, err}
				if err != nil {
					return dimse.Status{Code: dimse.ProcessingFailure}
				}
				return dimse.Status{}
			}),
		},
		Log: slog.New(slog.DiscardHandler),
	}
}

// A peer is the other end of a connection, byte by byte.
type peer struct {
	t *testing.T
	net.Conn
}

// connect serves one end of a pipe and returns the other. What the server does
// ends with the test.
func connect(t *testing.T, s *association.Server) peer {
	t.Helper()
	ours, theirs := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.ServeConn(ctx, theirs)
	}()
	t.Cleanup(func() {
		ours.Close()
		cancel()
		<-done
	})
	return peer{t, ours}
}

func (p peer) send(b []byte) {
	p.t.Helper()
	if _, err := p.Write(b); err != nil {
		p.t.Fatalf("sending: %v", err)
	}
}

// pdu reads a whole PDU.
func (p peer) pdu() (ul.Header, []byte) {
	p.t.Helper()
	head := make([]byte, ul.HeaderLength)
	if _, err := io.ReadFull(p, head); err != nil {
		p.t.Fatalf("awaiting a PDU: %v", err)
	}
	h := ul.ParseHeader(head)
	body := make([]byte, h.Length)
	if _, err := io.ReadFull(p, body); err != nil {
		p.t.Fatalf("awaiting the body of %v: %v", h.Type, err)
	}
	return h, body
}

func (p peer) expect(want interface{ Append([]byte) []byte }) {
	p.t.Helper()
	h, body := p.pdu()
	got, err := ul.Parse(h, body)
	if err != nil || got != want {
		p.t.Fatalf("got %T %v, %v; want %T %v", got, got, err, want, want)
	}
}

func (p peer) expectClosed() {
	p.t.Helper()
	if n, err := p.Read(make([]byte, 1)); err == nil || n > 0 {
		p.t.Fatal("the connection is open")
	}
}

func proposal(contexts ...ul.ProposedContext) ul.AssociateRQ {
	if contexts == nil {
		contexts = []ul.ProposedContext{{ID: 1, AbstractSyntax: uid.Verification, TransferSyntaxes: []string{implicit}}, {ID: 3, AbstractSyntax: ct, TransferSyntaxes: []string{explicit}}}
	}
	return ul.AssociateRQ{
		ProtocolVersion: 1, Called: "NHIP", Calling: "CT1",
		ApplicationContext: uid.DICOMApplicationContext,
		Contexts:           contexts,
		User:               ul.UserInformation{MaximumLength: 16384, ImplementationClassUID: "1.2.3"},
	}
}

func (p peer) associate(rq ul.AssociateRQ) ul.AssociateAC {
	p.t.Helper()
	p.send(rq.Append(nil))
	h, body := p.pdu()
	ac, err := ul.Parse(h, body)
	if err != nil || h.Type != ul.TypeAssociateAC {
		p.t.Fatalf("%v %v, %v", h.Type, ac, err)
	}
	return ac.(ul.AssociateAC)
}

// pdata is a P-DATA-TF of the PDVs.
func pdata(pdvs ...ul.PDV) []byte {
	var body []byte
	for _, v := range pdvs {
		body = append(body, ul.AppendPDataHeader(nil, v, len(v.Fragment))[ul.HeaderLength:]...)
		body = append(body, v.Fragment...)
	}
	b := []byte{4, 0, byte(len(body) >> 24), byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}
	return append(b, body...)
}

func storeRQ(id uint16) []byte {
	return dimse.Command{Field: dimse.CStoreRQ, MessageID: id, HasDataSet: true, AffectedSOPClassUID: ct, AffectedSOPInstanceUID: "1.2.3.4"}.Append(nil)
}

func command(id byte, b []byte) ul.PDV {
	return ul.PDV{ContextID: id, Command: true, Last: true, Fragment: b}
}
func data(id byte, b string, last bool) ul.PDV {
	return ul.PDV{ContextID: id, Last: last, Fragment: []byte(b)}
}

func (p peer) response() dimse.Command {
	p.t.Helper()
	h, body := p.pdu()
	if h.Type != ul.TypePDataTF {
		got, _ := ul.Parse(h, body)
		p.t.Fatalf("%v %v", h.Type, got)
	}
	v, _, err := ul.NextPDV(body)
	if err != nil {
		p.t.Fatal(err)
	}
	c, err := dimse.Parse(v.Fragment)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

func aborted(reason ul.AbortReason) ul.Abort {
	return ul.Abort{Source: ul.AbortByProvider, Reason: reason}
}

// Contract, table "Refusals".
func TestRefusedBeforeTheAssociation(t *testing.T) {
	twice := proposal(ul.ProposedContext{ID: 1, AbstractSyntax: ct, TransferSyntaxes: []string{explicit}}, ul.ProposedContext{ID: 1, AbstractSyntax: ct, TransferSyntaxes: []string{explicit}})
	many := proposal()
	for i := range 200 {
		many.Contexts = append(many.Contexts, ul.ProposedContext{ID: byte(i), AbstractSyntax: ct, TransferSyntaxes: []string{explicit}})
	}
	for _, c := range []struct {
		name string
		sent []byte
	}{
		{"P-DATA-TF", pdata(command(1, storeRQ(1)))},
		{"P-DATA-TF of which only the header comes", []byte{4, 0, 0xFF, 0xFF, 0xFF, 0xFF}},
		{"A-ASSOCIATE-RQ of length 0xFFFFFFFF", []byte{1, 0, 0xFF, 0xFF, 0xFF, 0xFF}},
		{"HTTP GET", []byte("GET / HTTP/1.1\r\n\r\n")},
		{"TLS", []byte{22, 3, 1, 2, 0, 1}},
		{"SSH", []byte("SSH-2.0-OpenSSH_9.2\r\n")},
		{"A-ASSOCIATE-AC", []byte{2, 0, 0, 0, 0, 80}},
		{"A-RELEASE-RQ", ul.ReleaseRQ{}.Append(nil)},
		{"200 contexts", many.Append(nil)},
		{"a context twice", twice.Append(nil)},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := connect(t, newServer(nil))
				go p.Write(c.sent) // the server does not read all of it first
				p.expect(ul.Abort{Source: ul.AbortByUser})
				p.Close()
			})
		})
	}
}

// PS3.8 action AA-2: nothing is sent to who aborts before the association.
func TestAbortBeforeTheAssociation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, newServer(nil))
		begun := time.Now()
		p.send(ul.Abort{Source: ul.AbortByUser}.Append(nil))
		p.expectClosed()
		if time.Since(begun) != 0 {
			t.Errorf("closed after %v", time.Since(begun))
		}
	})
}

func TestRefusedInTheAssociation(t *testing.T) {
	for _, c := range []struct {
		name   string
		sent   []byte
		reason ul.AbortReason
	}{
		{"PDU length 0xFFFFFFFF", []byte{4, 0, 0xFF, 0xFF, 0xFF, 0xFF}, ul.ReasonInvalidParameterValue},
		{"PDU longer than offered", []byte{4, 0, 0, 2, 0, 1}, ul.ReasonInvalidParameterValue},
		{"unknown PDU", []byte{9, 0, 0, 0, 0, 0}, ul.ReasonUnrecognizedPDU},
		{"A-ASSOCIATE-RQ again", proposal().Append(nil), ul.ReasonUnexpectedPDU},
		{"A-ASSOCIATE-AC", ul.AssociateAC{}.Append(nil), ul.ReasonUnexpectedPDU},
		{"A-ASSOCIATE-RJ", ul.RejectNoReason.Append(nil), ul.ReasonUnexpectedPDU},
		{"A-RELEASE-RP", ul.ReleaseRP{}.Append(nil), ul.ReasonUnexpectedPDU},
		{"PDV length 0", []byte{4, 0, 0, 0, 0, 4, 0, 0, 0, 0}, ul.ReasonInvalidParameterValue},
		{"PDV length 1", []byte{4, 0, 0, 0, 0, 5, 0, 0, 0, 1, 1}, ul.ReasonInvalidParameterValue},
		{"PDV longer than its PDU", []byte{4, 0, 0, 0, 0, 6, 0, 0, 0, 3, 1, 3}, ul.ReasonInvalidParameterValue},
		{"context never proposed", pdata(command(99, storeRQ(1))), ul.ReasonInvalidParameterValue},
		{"data set before a command set", pdata(data(3, "x", true)), ul.ReasonUnexpectedParameter},
		{"command set inside a data set", pdata(command(3, storeRQ(1)), data(3, "x", false), command(3, storeRQ(2))), ul.ReasonUnexpectedParameter},
		{"data set in another context", pdata(command(3, storeRQ(1)), data(1, "x", true)), ul.ReasonUnexpectedParameter},
		{"command set in two contexts", pdata(ul.PDV{ContextID: 3, Command: true, Fragment: []byte{0}}, ul.PDV{ContextID: 1, Command: true, Fragment: []byte{0}}), ul.ReasonUnexpectedParameter},
		{"empty fragments of a command set", pdata(ul.PDV{ContextID: 3, Command: true}), ul.ReasonInvalidParameterValue},
		{"empty fragments of a data set", pdata(append([]ul.PDV{command(3, storeRQ(1))}, make1001(data(3, "", false))...)...), ul.ReasonInvalidParameterValue},
		{"empty P-DATA-TFs", bytes.Repeat([]byte{4, 0, 0, 0, 0, 0}, 1100), ul.ReasonInvalidParameterValue},
		{"endless command set", bytes.Repeat(pdata(ul.PDV{ContextID: 3, Command: true, Fragment: make([]byte, 16000)}), 5), ul.ReasonInvalidParameterValue},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stored := make(chan outcome, 1)
				p := connect(t, newServer(stored))
				p.associate(proposal())
				go p.Write(c.sent)
				p.expect(aborted(c.reason))
				p.Close()
				synctest.Wait()
				select {
				case o := <-stored:
					if o.err == nil {
						t.Error("the handler was told that the object is whole")
					}
				default:
				}
			})
		})
	}
}

func make1001(v ul.PDV) []ul.PDV {
	var all []ul.PDV
	for range 1001 {
		all = append(all, v)
	}
	return all
}

// A command set that cannot be read is the fault of the DIMSE user.
func TestBadCommandSetIsAbortedByTheUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, newServer(nil))
		p.associate(proposal())
		p.send(pdata(command(1, []byte{0, 0, 2, 0, 0xFF, 0xFF, 0xFF, 0xFF})))
		p.expect(ul.Abort{Source: ul.AbortByUser})
	})
}

// Half an A-ASSOCIATE-RQ held open, cut anywhere, and one that comes a byte a
// second: the timer is over the whole PDU.
func TestHalfAnAssociateRQIsCut(t *testing.T) {
	whole := proposal().Append(nil)
	for _, n := range []int{0, 1, 5, 6, 7, 73, 74, 75, len(whole) - 1} {
		synctest.Test(t, func(t *testing.T) {
			p := connect(t, newServer(nil))
			begun := time.Now()
			p.send(whole[:n])
			p.expectClosed()
			if d := time.Since(begun); d != 10*time.Second {
				t.Errorf("cut at %d: closed after %v", n, d)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, newServer(nil))
		begun := time.Now()
		for _, b := range whole {
			if _, err := p.Write([]byte{b}); err != nil {
				break
			}
			time.Sleep(time.Second)
		}
		p.expectClosed()
		if d := time.Since(begun); d > 12*time.Second {
			t.Errorf("closed after %v", d)
		}
	})
}

func TestSilenceEndsInAnAbort(t *testing.T) {
	half := pdata(command(3, storeRQ(1)), data(3, "0123456789", false))
	for _, c := range []struct {
		name string
		sent []byte
		took time.Duration
	}{
		{"no message", nil, 5 * time.Minute},
		{"half a PDU", half[:len(half)-3], 30 * time.Second},
		{"half a PDU header", half[:3], 30 * time.Second},
		{"the last flag is missing", half, time.Minute},
		{"half a command set", pdata(ul.PDV{ContextID: 3, Command: true, Fragment: storeRQ(1)}), time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stored := make(chan outcome, 1)
				p := connect(t, newServer(stored))
				p.associate(proposal())
				begun := time.Now()
				if c.sent != nil {
					p.send(c.sent)
				}
				p.expect(ul.Abort{Source: ul.AbortByUser})
				if d := time.Since(begun); d != c.took {
					t.Errorf("aborted after %v", d)
				}
			})
		})
	}
}

// A peer that never closes after the release is closed by ARTIM.
func TestPeerThatDoesNotCloseIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, newServer(nil))
		p.associate(proposal())
		p.send(ul.ReleaseRQ{}.Append(nil))
		p.expect(ul.ReleaseRP{})
		begun := time.Now()
		p.expectClosed()
		if d := time.Since(begun); d != 10*time.Second {
			t.Errorf("closed after %v", d)
		}
	})
}

// Whatever ends an association inside an object: the handler is told that it is
// not whole, and nothing is answered.
func TestEndInTheMiddleOfAnObject(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(p peer)
		want string
	}{
		{"abort", func(p peer) { p.send(ul.Abort{Source: ul.AbortByUser}.Append(nil)) }, "aborted by the application"},
		{"closed", func(p peer) { p.Close() }, "connection closed"},
		{"release", func(p peer) { p.send(ul.ReleaseRQ{}.Append(nil)); p.expect(ul.ReleaseRP{}) }, "released the association in the middle"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stored := make(chan outcome, 1)
				p := connect(t, newServer(stored))
				p.associate(proposal())
				p.send(pdata(command(3, storeRQ(1)), data(3, "half", false)))
				c.end(p)
				o := <-stored
				if o.err == nil || !strings.Contains(o.err.Error(), c.want) {
					t.Errorf("%v", o.err)
				}
			})
		})
	}
}

func TestStoreAndEchoOverOneAssociation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stored := make(chan outcome, 1)
		p := connect(t, newServer(stored))
		p.associate(proposal())
		p.send(pdata(command(3, storeRQ(7)), data(3, "0123", false)))
		p.send(pdata(data(3, "", false), data(3, "45", false)))
		p.send(append(pdata(data(3, "6", true)), pdata(command(1, dimse.Command{Field: dimse.CEchoRQ, MessageID: 8, AffectedSOPClassUID: uid.Verification}.Append(nil)))...))
		o := <-stored
		if string(o.data) != "0123456" || o.err != nil || o.request.Calling != "CT1" || o.request.TransferSyntaxUID != explicit || o.request.SOPInstanceUID != "1.2.3.4" {
			t.Errorf("%+v", o)
		}
		if c := p.response(); c.Field != dimse.CStoreRSP || c.MessageIDBeingRespondedTo != 7 || c.Status.Code != 0 || c.AffectedSOPInstanceUID != "1.2.3.4" {
			t.Errorf("%+v", c)
		}
		if c := p.response(); c.Field != dimse.CEchoRSP || c.MessageIDBeingRespondedTo != 8 {
			t.Errorf("%+v", c)
		}
		p.send(ul.ReleaseRQ{}.Append(nil))
		p.expect(ul.ReleaseRP{})
	})
}

func TestEndedIsToldHow(t *testing.T) {
	for _, c := range []struct {
		end  func(p peer)
		want error
	}{
		{func(p peer) { p.send(ul.ReleaseRQ{}.Append(nil)); p.expect(ul.ReleaseRP{}) }, association.ErrReleased},
		{func(p peer) { p.Close() }, association.ErrLost},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(nil)
			ended := make(chan error, 1)
			s.Ended = func(r association.Request, err error) {
				if r.Calling != "CT1" {
					t.Errorf("%+v", r)
				}
				ended <- err
			}
			p := connect(t, s)
			p.associate(proposal())
			c.end(p)
			p.Close()
			if err := <-ended; !errors.Is(err, c.want) {
				t.Error(err)
			}
		})
	}
}

func TestRequestsThatAreNotServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, newServer(nil))
		p.associate(proposal())
		p.send(pdata(command(3, dimse.Command{Field: 0x0020, MessageID: 1, HasDataSet: true}.Append(nil)), data(3, "x", true)))
		if c := p.response(); c.Field != 0x8020 || c.Status.Code != dimse.UnrecognizedOperation || c.Status.Comment == "" {
			t.Errorf("%+v", c)
		}
		p.send(pdata(command(3, dimse.Command{Field: dimse.CCancelRQ, MessageIDBeingRespondedTo: 1}.Append(nil))))
		bad := dimse.Command{Field: dimse.CStoreRQ, MessageID: 2, HasDataSet: true, AffectedSOPClassUID: "1.2.840.10008.5.1.4.1.1.4", AffectedSOPInstanceUID: "1.2"}
		p.send(pdata(command(3, bad.Append(nil)), data(3, "x", true)))
		if c := p.response(); c.Status.Code != dimse.SOPClassNotSupported {
			t.Errorf("%+v", c)
		}
		bad.HasDataSet = false
		p.send(pdata(command(3, bad.Append(nil))))
		if c := p.response(); c.Status.Code != dimse.CannotUnderstand {
			t.Errorf("%+v", c)
		}
		p.send(pdata(command(3, dimse.Command{Field: dimse.CStoreRSP, Status: dimse.Status{}}.Append(nil))))
		p.expect(ul.Abort{Source: ul.AbortByUser})
	})
}

func TestNegotiation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, newServer(nil))
		rq := proposal(
			ul.ProposedContext{ID: 1, AbstractSyntax: ct, TransferSyntaxes: []string{"1.2.3.4.5", uid.ExplicitVRBigEndian, implicit}},
			ul.ProposedContext{ID: 4, AbstractSyntax: ct, TransferSyntaxes: []string{implicit}}, // even: taken
			ul.ProposedContext{ID: 5, AbstractSyntax: "1.2.3", TransferSyntaxes: []string{implicit}},
			ul.ProposedContext{ID: 7, AbstractSyntax: ct, TransferSyntaxes: []string{"1.2.3.4.5"}},
			ul.ProposedContext{ID: 9, AbstractSyntax: ct},
		)
		rq.User.AsyncWindow = &ul.AsyncWindow{Invoked: 0, Performed: 8}
		rq.User.Roles = []ul.RoleSelection{{SOPClassUID: ct, SCU: true, SCP: true}, {SOPClassUID: "1.2.3", SCU: true}}
		ac := p.associate(rq)
		want := []ul.AnsweredContext{
			{ID: 1, Result: ul.ContextAccepted, TransferSyntax: uid.ExplicitVRBigEndian},
			{ID: 4, Result: ul.ContextAccepted, TransferSyntax: implicit},
			{ID: 5, Result: ul.AbstractSyntaxNotSupported, TransferSyntax: implicit},
			{ID: 7, Result: ul.TransferSyntaxNotSupported, TransferSyntax: "1.2.3.4.5"},
			{ID: 9, Result: ul.TransferSyntaxNotSupported},
		}
		if fmt.Sprint(ac.Contexts) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", ac.Contexts, want)
		}
		if ac.Called != "NHIP" || ac.Calling != "CT1" || ac.User.MaximumLength != 131072 || ac.ApplicationContext != uid.DICOMApplicationContext {
			t.Errorf("%+v", ac)
		}
		if w := ac.User.AsyncWindow; w == nil || *w != (ul.AsyncWindow{Invoked: 1, Performed: 1}) {
			t.Errorf("window %v", w)
		}
		if r := ac.User.Roles; len(r) != 1 || r[0] != (ul.RoleSelection{SOPClassUID: ct, SCU: true}) {
			t.Errorf("roles %v", r)
		}
	})
}

func TestRejections(t *testing.T) {
	version, application := proposal(), proposal()
	version.ProtocolVersion = 2
	application.ApplicationContext = "1.2.3"
	for _, c := range []struct {
		name   string
		rq     ul.AssociateRQ
		accept func(association.Request) association.Answer
		want   ul.AssociateRJ
	}{
		{"protocol version 2 only", version, acceptAll, ul.RejectProtocolVersion},
		{"another application context", application, acceptAll, ul.RejectApplicationContext},
		{"stranger", proposal(), func(r association.Request) association.Answer {
			if r.Calling != "CT1" || r.Called != "NHIP" || len(r.Contexts) != 2 {
				t.Errorf("%+v", r)
			}
			return association.Answer{Reject: &ul.RejectCallingAETitle}
		}, ul.RejectCallingAETitle},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(nil)
				s.Accept = c.accept
				p := connect(t, s)
				p.send(c.rq.Append(nil))
				p.expect(c.want)
			})
		})
	}
}

func TestTooManyAssociationsAreRejectedForNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(nil)
		s.MaxAssociations = 1
		first := connect(t, s)
		first.associate(proposal())
		second := connect(t, s)
		second.send(proposal().Append(nil))
		second.expect(ul.RejectTemporaryCongestion)
		first.Close()
		synctest.Wait()
		third := connect(t, s)
		third.associate(proposal())
	})
}

// An address and an AE title have a share of all associations, and who is rejected
// or gone takes none of it.
func TestAPeerHasItsShare(t *testing.T) {
	s := newServer(nil)
	s.MaxAssociations, s.MaxPerPeer = 4, 2
	refuse := s.Accept
	s.Accept = func(r association.Request) association.Answer {
		if r.Calling == "STRANGER" {
			return association.Answer{Reject: &ul.RejectCallingAETitle}
		}
		return refuse(r)
	}
	address := listen(t, s)
	var open []*association.Association
	dial := func(from, calling string) error {
		t.Helper()
		c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).Dial("tcp", address)
		if err != nil {
			t.Skipf("no loopback address %s here: %v", from, err)
		}
		a, err := association.Establish(t.Context(), c, association.Proposal{Calling: calling, Called: "B", Contexts: ctContexts})
		if err == nil {
			open = append(open, a)
		}
		return err
	}
	congested := func(err error) bool {
		var rejected *association.RejectedError
		return errors.As(err, &rejected) && rejected.AssociateRJ == ul.RejectTemporaryCongestion
	}
	for _, c := range []struct {
		from, calling string
		ok            bool
	}{
		{"127.0.0.1", "CT1", true},
		{"127.0.0.2", "CT1", true},
		{"127.0.0.3", "CT1", false}, // the AE title has two
		{"127.0.0.1", "CT2", true},
		{"127.0.0.1", "CT3", false}, // the address has two
		{"127.0.0.3", "CT3", true},
		{"127.0.0.4", "CT4", false}, // there are four
	} {
		if err := dial(c.from, c.calling); (err == nil) != c.ok || !c.ok && !congested(err) {
			t.Errorf("%s from %s: %v", c.calling, c.from, err)
		}
	}
	for range 3 {
		if err := dial("127.0.0.5", "STRANGER"); err == nil || !congested(err) {
			t.Errorf("a stranger while there are four: %v", err)
		}
	}
	for _, a := range open {
		if err := a.Release(t.Context()); err != nil {
			t.Error(err)
		}
	}
	var err error
	for range 3000 { // the server may still be at the end of them
		if err = dial("127.0.0.1", "CT1"); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := open[len(open)-1].Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// establish is our requestor against a scripted acceptor.
func establish(t *testing.T, contexts []ul.ProposedContext, acceptor func(peer)) (*association.Association, error) {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer theirs.Close()
		acceptor(peer{t, theirs})
	}()
	t.Cleanup(func() { ours.Close(); <-done })
	return association.Establish(t.Context(), ours, association.Proposal{Calling: "NHIP", Called: "PACS", Contexts: contexts})
}

func (p peer) accept(result ul.ContextResult, maxLength uint32) {
	p.t.Helper()
	h, body := p.pdu()
	rq, err := ul.Parse(h, body)
	if err != nil {
		p.t.Error(err)
		return
	}
	ac := ul.AssociateAC{ProtocolVersion: 1, ApplicationContext: uid.DICOMApplicationContext, User: ul.UserInformation{MaximumLength: maxLength, ImplementationClassUID: "1.2"}}
	for _, c := range rq.(ul.AssociateRQ).Contexts {
		ac.Contexts = append(ac.Contexts, ul.AnsweredContext{ID: c.ID, Result: result, TransferSyntax: c.TransferSyntaxes[0]})
	}
	p.send(ac.Append(nil))
}

var ctContexts, _ = store.Contexts([]store.Kind{{SOPClassUID: ct, TransferSyntaxUID: explicit}})

func ctObject(data string) store.Object {
	return store.Object{SOPClassUID: ct, SOPInstanceUID: "1.2.3.4", TransferSyntaxUID: explicit, DataSet: strings.NewReader(data)}
}

// collect answers one C-STORE-RQ and returns the fragments of its data set.
func (p peer) collect(rsp dimse.Command) (fragments []string) {
	p.t.Helper()
	for {
		_, body := p.pdu()
		for len(body) > 0 {
			v, rest, err := ul.NextPDV(body)
			if err != nil {
				p.t.Error(err)
				return nil
			}
			body = rest
			if v.Command {
				c, _ := dimse.Parse(v.Fragment)
				rsp.MessageIDBeingRespondedTo += c.MessageID
				continue
			}
			fragments = append(fragments, string(v.Fragment))
			if v.Last {
				p.send(pdata(command(v.ContextID, rsp.Append(nil))))
				return fragments
			}
		}
	}
}

func TestSendKeepsToThePeersLengthAndBytes(t *testing.T) {
	whole := strings.Repeat("0123456789abcdef", 100)
	for _, n := range []int{0, 1, 193, 194, 195, 388, 389, 1600} {
		synctest.Test(t, func(t *testing.T) {
			var got []string
			a, err := establish(t, ctContexts, func(p peer) {
				p.accept(ul.ContextAccepted, 200)
				got = p.collect(dimse.Command{Field: dimse.CStoreRSP})
				p.pdu()
				p.send(ul.ReleaseRP{}.Append(nil))
			})
			if err != nil {
				t.Fatal(err)
			}
			status, err := store.Send(t.Context(), a, ctObject(whole[:n]))
			if err != nil || status.Class() != dimse.ClassSuccess {
				t.Fatalf("%v, %v", status, err)
			}
			if err := a.Release(t.Context()); err != nil {
				t.Error(err)
			}
			if strings.Join(got, "") != whole[:n] || len(got) != max(1, (n+193)/194) {
				t.Errorf("%d bytes came as %d fragments, %d bytes", n, len(got), len(strings.Join(got, "")))
			}
		})
	}
}

func TestResponses(t *testing.T) {
	for _, c := range []struct {
		name  string
		rsp   dimse.Command
		class dimse.StatusClass
		err   string
	}{
		{"success", dimse.Command{Field: dimse.CStoreRSP}, dimse.ClassSuccess, ""},
		{"warning", dimse.Command{Field: dimse.CStoreRSP, Status: dimse.Status{Code: 0xB000, Comment: "coerced"}}, dimse.ClassWarning, ""},
		{"failure", dimse.Command{Field: dimse.CStoreRSP, Status: dimse.Status{Code: 0xA700, Comment: "full"}}, dimse.ClassFailure, ""},
		{"0110", dimse.Command{Field: dimse.CStoreRSP, Status: dimse.Status{Code: 0x0110}}, dimse.ClassFailure, ""},
		{"0111", dimse.Command{Field: dimse.CStoreRSP, Status: dimse.Status{Code: 0x0111}}, dimse.ClassFailure, ""},
		{"another message ID", dimse.Command{Field: dimse.CStoreRSP, MessageIDBeingRespondedTo: 1}, 0, "C-STORE-RSP for message 2 where C-STORE-RSP for message 1 was awaited"},
		{"another command", dimse.Command{Field: dimse.CEchoRSP}, 0, "C-ECHO-RSP for message 1 where"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, err := establish(t, ctContexts, func(p peer) {
					p.accept(ul.ContextAccepted, 0)
					p.collect(c.rsp)
					if c.err != "" {
						p.expect(ul.Abort{Source: ul.AbortByUser})
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				status, err := store.Send(t.Context(), a, ctObject("x"))
				switch {
				case c.err == "" && (err != nil || status.Class() != c.class || status.Comment != c.rsp.Status.Comment):
					t.Errorf("%v, %v", status, err)
				case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
					t.Errorf("%v, %v", status, err)
				}
				a.Abort("the test is over")
			})
		})
	}
}

func TestRejectionInWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := establish(t, ctContexts, func(p peer) {
			p.pdu()
			p.send(ul.RejectCalledAETitle.Append(nil))
		})
		var rejected *association.RejectedError
		if !errors.As(err, &rejected) || rejected.Transient() ||
			err.Error() != `dicom/association: association from "NHIP" to "PACS" rejected permanently by the application: called AE title not recognized (1/1/7)` {
			t.Error(err)
		}
	})
}

// Sta5 has no timer in the standard.
func TestNoAnswerToOurProposal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := establish(t, ctContexts, func(p peer) {
			p.pdu()
			p.expect(ul.Abort{Source: ul.AbortByUser})
		})
		var late *association.TimeoutError
		if !errors.As(err, &late) {
			t.Error(err)
		}
	})
}

func TestNoResponseIsATimeOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := establish(t, ctContexts, func(p peer) {
			p.accept(ul.ContextAccepted, 0)
			p.pdu()
			p.pdu()
			p.expect(ul.Abort{Source: ul.AbortByUser})
		})
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		var late *association.TimeoutError
		if _, err := store.Send(t.Context(), a, ctObject("x")); !errors.As(err, &late) || time.Since(begun) != 2*time.Minute {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
	})
}

func TestPeerThatClosesInsteadOfAnswering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := establish(t, ctContexts, func(p peer) {
			p.accept(ul.ContextAccepted, 0)
			p.pdu()
			p.pdu()
		})
		if err != nil {
			t.Fatal(err)
		}
		// The peer's end closes after the two PDUs, without a word.
		if _, err := store.Send(t.Context(), a, ctObject("x")); !errors.Is(err, association.ErrLost) {
			t.Error(err)
		}
	})
}

func TestContextNotAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := establish(t, ctContexts, func(p peer) {
			p.accept(ul.AbstractSyntaxNotSupported, 0)
			p.pdu()
			p.send(ul.ReleaseRP{}.Append(nil))
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = store.Send(t.Context(), a, ctObject("x"))
		var refused *association.NotAcceptedError
		if !errors.As(err, &refused) || refused.Result != ul.AbstractSyntaxNotSupported || !refused.Proposed {
			t.Error(err)
		}
		if err := a.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// What is accepted in a transfer syntax that was never proposed is not accepted.
func TestPeerThatChoosesAnotherTransferSyntax(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := establish(t, ctContexts, func(p peer) {
			p.pdu()
			p.send(ul.AssociateAC{ProtocolVersion: 1, Contexts: []ul.AnsweredContext{{ID: 1, TransferSyntax: implicit}}}.Append(nil))
			p.expect(ul.Abort{Source: ul.AbortByUser})
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, ts := range []string{implicit, explicit} {
			o := ctObject("x")
			o.TransferSyntaxUID = ts
			var refused *association.NotAcceptedError
			if _, err := store.Send(t.Context(), a, o); !errors.As(err, &refused) {
				t.Errorf("%s: %v", ts, err)
			}
		}
		a.Abort("the test is over")
	})
}

// PS3.8 section 7.2.2, both sides of it at our requestor.
func TestReleaseCollision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := establish(t, ctContexts, func(p peer) {
			p.accept(ul.ContextAccepted, 0)
			p.expect(ul.ReleaseRQ{})
			p.send(ul.ReleaseRQ{}.Append(nil))
			p.expect(ul.ReleaseRP{})
			p.send(ul.ReleaseRP{}.Append(nil))
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A data set that cannot be read to its end is not sent as if it were whole.
func TestBrokenSourceAbortsTheAssociation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := establish(t, ctContexts, func(p peer) {
			p.accept(ul.ContextAccepted, 200)
			for {
				h, body := p.pdu()
				if h.Type == ul.TypeAbort {
					return
				}
				if v, _, _ := ul.NextPDV(body); !v.Command && v.Last {
					p.t.Error("the data set was ended")
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		o := ctObject("")
		broken := errors.New("disk gone")
		o.DataSet = io.MultiReader(strings.NewReader(strings.Repeat("x", 500)), readError{broken})
		if _, err := store.Send(t.Context(), a, o); !errors.Is(err, broken) {
			t.Error(err)
		}
	})
}

type readError struct{ error }

func (e readError) Read([]byte) (int, error) { return 0, e.error }

func TestContextEndsEverything(t *testing.T) {
	for _, sent := range [][]byte{nil, pdata(command(3, storeRQ(1)), data(3, "half", false))} {
		testContextEnds(t, sent)
	}
}

func testContextEnds(t *testing.T, sent []byte) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			newServer(make(chan outcome, 1)).ServeConn(ctx, theirs)
		}()
		p := peer{t, ours}
		p.associate(proposal())
		p.send(sent)
		synctest.Wait()
		cancel()
		p.expect(ul.Abort{Source: ul.AbortByUser})
		begun := time.Now()
		<-done
		if d := time.Since(begun); d > time.Second {
			t.Errorf("took %v", d)
		}
		ours.Close()
	})
}

// The object is durable when we are told to stop: its sender hears of it.
func TestResponseIsSentWhileShuttingDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := newServer(nil)
		s.Handlers[dimse.CStoreRQ] = store.Handle(func(_ context.Context, _ store.Request, dataSet io.Reader) dimse.Status {
			io.Copy(io.Discard, dataSet)
			cancel()
			synctest.Wait()
			return dimse.Status{}
		})
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.ServeConn(ctx, theirs)
		}()
		p := peer{t, ours}
		p.associate(proposal())
		p.send(pdata(command(3, storeRQ(7)), data(3, "x", true)))
		if c := p.response(); c.Status.Code != dimse.Success || c.MessageIDBeingRespondedTo != 7 {
			t.Errorf("%+v", c)
		}
		p.expect(ul.Abort{Source: ul.AbortByUser})
		ours.Close()
		<-done
	})
}

func TestProposalsThatCannotBeSent(t *testing.T) {
	ok := association.Proposal{Calling: "A", Called: "B", Contexts: ctContexts}
	long, none, even := ok, ok, ok
	long.Called = "SEVENTEEN LETTERS"
	none.Contexts = nil
	even.Contexts = []ul.ProposedContext{{ID: 2, AbstractSyntax: ct, TransferSyntaxes: []string{explicit}}}
	for _, p := range []association.Proposal{long, none, even} {
		ours, theirs := net.Pipe()
		if _, err := association.Establish(t.Context(), ours, p); err == nil {
			t.Errorf("%+v was sent", p)
		}
		theirs.Close()
	}
}
