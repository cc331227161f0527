package echo_test

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/echo"
	"nhip/dicom/ul"
)

// verify runs our SCU against an acceptor whose handler is h.
func verify(t *testing.T, h association.Handler, takes bool) error {
	t.Helper()
	ours, theirs := net.Pipe()
	s := &association.Server{
		Accept: func(association.Request) association.Answer {
			return association.Answer{
				AbstractSyntax: func(as string) bool { return takes && echo.Accepts(as) },
				TransferSyntax: func(string, string) bool { return true },
			}
		},
		Handlers: map[dimse.CommandField]association.Handler{dimse.CEchoRQ: h},
		Log:      slog.New(slog.DiscardHandler),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.ServeConn(t.Context(), theirs)
	}()
	a, err := association.Establish(t.Context(), ours, association.Proposal{Calling: "A", Called: "B", Contexts: []ul.ProposedContext{echo.Context(1)}})
	if err != nil {
		t.Fatal(err)
	}
	verified := echo.Send(t.Context(), a)
	if err := a.Release(t.Context()); err != nil {
		t.Error(err)
	}
	<-done
	return verified
}

func TestEcho(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if err := verify(t, echo.Handle, true); err != nil {
			t.Error(err)
		}
	})
}

func TestEchoThatIsNotSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := verify(t, func(ctx context.Context, a *association.Association, m *association.Message) error {
			return a.Respond(ctx, m, dimse.Status{Code: dimse.UnrecognizedOperation})
		}, true)
		if err == nil || !strings.Contains(err.Error(), "0211H unrecognized operation") {
			t.Error(err)
		}
	})
}

func TestVerificationNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if err := verify(t, echo.Handle, false); err == nil || !strings.Contains(err.Error(), "abstract syntax not supported") {
			t.Error(err)
		}
	})
}
