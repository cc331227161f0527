package store_test

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/store"
	"nhip/dicom/ul"
)

// Every user identity that DCMTK's storescu has reaches Accept, and its wish for a
// positive response is fulfilled: without one storescu gives up.
func TestUserIdentityOfStorescu(t *testing.T) {
	need(t, "storescu", pydicomTree)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("a token, a ticket or an assertion"), 0o600); err != nil {
		t.Fatal(err)
	}
	var a archive
	var mu sync.Mutex
	var seen []ul.UserIdentity
	believe := true
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &association.Server{
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Accept: func(r association.Request) association.Answer {
			mu.Lock()
			defer mu.Unlock()
			if r.Identity == nil {
				t.Error("no identity")
				return association.Answer{Reject: &ul.RejectNoReason}
			}
			seen = append(seen, *r.Identity)
			answer := association.Answer{AbstractSyntax: store.Accepts(), TransferSyntax: func(_, ts string) bool { return store.AcceptsTransferSyntax()(ts) }}
			if believe {
				answer.IdentityResponse = []byte{}
			}
			return answer
		},
		Handlers: map[dimse.CommandField]association.Handler{dimse.CStoreRQ: store.Handle(a.handler)},
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); <-done })
	host, port, _ := net.SplitHostPort(l.Addr().String())
	run := func(options ...string) error {
		out, err := dcmtk(t.Context(), "storescu", append(options, host, port, pydicomTree+"/test_files/CT_small.dcm")...).CombinedOutput()
		if err != nil {
			t.Logf("%v: %s", options, out)
		}
		return err
	}
	for _, c := range []struct {
		options            []string
		kind               ul.IdentityType
		primary, secondary string
	}{
		{[]string{"-usr", "an"}, ul.IdentityUsername, "an", ""},
		{[]string{"-usr", "an", "-pwd", "mat-khau"}, ul.IdentityPasscode, "an", "mat-khau"},
		{[]string{"-kt", token}, ul.IdentityKerberos, "a token, a ticket or an assertion", ""},
		{[]string{"--saml", token}, ul.IdentitySAML, "a token, a ticket or an assertion", ""},
		{[]string{"--jwt", token}, ul.IdentityJWT, "a token, a ticket or an assertion", ""},
	} {
		mu.Lock()
		seen = nil
		mu.Unlock()
		if err := run(append(c.options, "-rsp")...); err != nil {
			t.Errorf("%v: %v", c.kind, err)
			continue
		}
		mu.Lock()
		u := seen[0]
		mu.Unlock()
		if u.Type != c.kind || string(u.Primary) != c.primary || string(u.Secondary) != c.secondary || !u.PositiveResponse {
			t.Errorf("%v: got %v with %d and %d bytes", c.kind, u.Type, len(u.Primary), len(u.Secondary))
		}
	}
	mu.Lock()
	believe = false
	mu.Unlock()
	if err := run("-usr", "an", "-rsp"); err == nil {
		t.Error("storescu did without the response that it wants")
	}
}
