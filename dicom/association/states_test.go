package association_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/uid"
	"nhip/dicom/ul"
)

// Every PDU that a peer can send.
var everyPDU = map[string][]byte{
	"A-ASSOCIATE-RQ": proposal().Append(nil),
	"A-ASSOCIATE-AC": ul.AssociateAC{ProtocolVersion: 1}.Append(nil),
	"A-ASSOCIATE-RJ": ul.RejectNoReason.Append(nil),
	"P-DATA-TF":      pdata(command(1, dimse.Command{Field: dimse.CEchoRQ, MessageID: 9, AffectedSOPClassUID: uid.Verification}.Append(nil))),
	"A-RELEASE-RQ":   ul.ReleaseRQ{}.Append(nil),
	"A-RELEASE-RP":   ul.ReleaseRP{}.Append(nil),
	"A-ABORT":        ul.Abort{Source: ul.AbortByProvider, Reason: ul.ReasonUnexpectedPDU}.Append(nil),
	"unknown":        {8, 0, 0, 0, 0, 0},
}

// answered returns what a peer gets for a PDU: a PDU, or nil where the connection is
// closed without one.
func (p peer) answered() any {
	head := make([]byte, ul.HeaderLength+4)
	p.SetReadDeadline(time.Now().Add(time.Hour))
	for n := 0; n < len(head); {
		k, err := p.Read(head[n:])
		if n += k; err != nil {
			return nil
		}
	}
	got, err := ul.Parse(ul.ParseHeader(head), head[ul.HeaderLength:])
	if err != nil {
		p.t.Error(err)
	}
	return got
}

// Sta5: the answer to our A-ASSOCIATE-RQ is awaited.
func TestEveryPDUWhileTheAnswerIsAwaited(t *testing.T) {
	unexpected := aborted(ul.ReasonUnexpectedPDU)
	want := map[string]any{
		"A-ASSOCIATE-RQ": unexpected, "P-DATA-TF": unexpected, "A-RELEASE-RQ": unexpected, "A-RELEASE-RP": unexpected,
		"unknown": aborted(ul.ReasonUnrecognizedPDU), "A-ABORT": nil, "A-ASSOCIATE-RJ": nil,
	}
	for name, answer := range want {
		synctest.Test(t, func(t *testing.T) {
			var got any
			_, err := establish(t, contextsOf(uid.Verification), func(p peer) {
				p.pdu()
				go p.Write(everyPDU[name])
				got = p.answered()
				p.Close()
			})
			if err == nil {
				t.Errorf("%s: an association", name)
			}
			synctest.Wait()
			if got != answer {
				t.Errorf("%s: answered %v, not %v", name, got, answer)
			}
		})
	}
}

// Sta7: our A-RELEASE-RQ is not answered yet. Data still come (AR-6) and are read
// over; a release from the other side is a collision.
func TestEveryPDUWhileTheReleaseIsAwaited(t *testing.T) {
	unexpected := aborted(ul.ReasonUnexpectedPDU)
	want := map[string]any{
		"A-ASSOCIATE-RQ": unexpected, "A-ASSOCIATE-AC": unexpected, "A-ASSOCIATE-RJ": unexpected,
		"unknown": aborted(ul.ReasonUnrecognizedPDU), "A-ABORT": nil, "A-RELEASE-RP": nil,
		"A-RELEASE-RQ": ul.ReleaseRP{}, "P-DATA-TF": ul.Abort{},
	}
	for name, answer := range want {
		synctest.Test(t, func(t *testing.T) {
			var got any
			done := make(chan struct{})
			a, err := establish(t, contextsOf(uid.Verification), func(p peer) {
				defer close(done)
				p.accept(ul.ContextAccepted, 0)
				p.expect(ul.ReleaseRQ{})
				go p.Write(everyPDU[name])
				got = p.answered()
				if name == "A-RELEASE-RQ" {
					p.send(ul.ReleaseRP{}.Append(nil))
				}
				p.Close()
			})
			if err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			err = a.Release(t.Context())
			if ok := name == "A-RELEASE-RP" || name == "A-RELEASE-RQ"; (err == nil) != ok {
				t.Errorf("%s: %v", name, err)
			}
			var late *association.TimeoutError
			if name == "P-DATA-TF" && (!errors.As(err, &late) || time.Since(begun) < 10*time.Second) {
				t.Errorf("after %v: %v", time.Since(begun), err)
			}
			<-done
			if got != answer {
				t.Errorf("%s: answered %v, not %v", name, got, answer)
			}
		})
	}
}

// Sta6, at our requestor, with nothing asked.
func TestEveryPDUInAnIdleAssociation(t *testing.T) {
	unexpected := aborted(ul.ReasonUnexpectedPDU)
	want := map[string]any{
		"A-ASSOCIATE-RQ": unexpected, "A-ASSOCIATE-AC": unexpected, "A-ASSOCIATE-RJ": unexpected, "A-RELEASE-RP": unexpected,
		"unknown": aborted(ul.ReasonUnrecognizedPDU), "A-ABORT": nil, "A-RELEASE-RQ": ul.ReleaseRP{},
	}
	for name, answer := range want {
		synctest.Test(t, func(t *testing.T) {
			got := make(chan any, 1)
			a, err := establish(t, contextsOf(uid.Verification), func(p peer) {
				p.accept(ul.ContextAccepted, 0)
				go p.Write(everyPDU[name])
				got <- p.answered()
				p.Close()
			})
			if err != nil {
				t.Fatal(err)
			}
			<-a.Done()
			if g := <-got; g != answer {
				t.Errorf("%s: answered %v, not %v", name, g, answer)
			}
			if name == "A-RELEASE-RQ" && a.Err() != association.ErrReleased {
				t.Error(a.Err())
			}
			a.Abort("it has ended")
		})
	}
}

// Sta13: what still comes is not looked at, and ARTIM closes.
func TestEveryPDUAfterTheAbort(t *testing.T) {
	for name, b := range everyPDU {
		synctest.Test(t, func(t *testing.T) {
			p := connect(t, newServer(nil))
			p.associate(proposal())
			go p.Write([]byte{8, 0, 0, 0, 0, 0})
			p.expect(aborted(ul.ReasonUnrecognizedPDU))
			p.send(b)
			begun := time.Now()
			if got := p.answered(); got != nil {
				t.Errorf("%s: answered %v", name, got)
			}
			if d := time.Since(begun); d != 10*time.Second {
				t.Errorf("%s: closed after %v", name, d)
			}
		})
	}
}

// A local abort in every state that has an association: Sta5 by the end of the
// context, Sta6, Sta7, and in the middle of a message that the peer does not take.
func TestAbortInEveryState(t *testing.T) {
	t.Run("Sta5", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			ours, theirs := net.Pipe()
			done := make(chan struct{})
			go func() {
				defer close(done)
				p := peer{t, theirs}
				p.pdu()
				p.expect(ul.Abort{})
				theirs.Close()
			}()
			if _, err := association.Establish(ctx, ours, association.Proposal{Calling: "A", Called: "B", Contexts: ctContexts}); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			<-done
		})
	})
	t.Run("Sta6 and Sta7", func(t *testing.T) {
		for _, release := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				a, err := establish(t, contextsOf(uid.Verification), func(p peer) {
					p.accept(ul.ContextAccepted, 0)
					if release {
						p.expect(ul.ReleaseRQ{})
					}
					p.expect(ul.Abort{})
				})
				if err != nil {
					t.Fatal(err)
				}
				if release {
					go a.Release(context.Background())
					synctest.Wait()
				}
				a.Abort("the test wants it")
				var ended *association.AbortedError
				if !errors.As(a.Err(), &ended) || ended.Peer || ended.Why != "the test wants it" {
					t.Error(a.Err())
				}
			})
		}
	})
	t.Run("in the middle of a PDU", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			read := make(chan struct{})
			a, err := establish(t, ctContexts, func(p peer) {
				p.accept(ul.ContextAccepted, 0)
				p.Read(make([]byte, 100)) // and no more
				<-read
			})
			if err != nil {
				t.Fatal(err)
			}
			failed := make(chan error, 1)
			go func() {
				_, err := a.Request(context.Background(), 1, dimse.Command{Field: dimse.CStoreRQ, AffectedSOPClassUID: ct, AffectedSOPInstanceUID: "1.2"}, zeroes{})
				failed <- err
			}()
			synctest.Wait()
			begun := time.Now()
			a.Abort("the test wants it")
			if err := <-failed; err != a.Err() || time.Since(begun) > 11*time.Second {
				t.Errorf("after %v: %v", time.Since(begun), err)
			}
			close(read)
		})
	})
}
