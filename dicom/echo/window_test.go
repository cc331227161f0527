package echo_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/echo"
	"nhip/dicom/service/servicetest"
	"nhip/dicom/uid"
	"nhip/dicom/ul"
)

// Another implementation proposes a window (it does not make use of it): the answer
// is what both have.
func TestWindowAskedForByDcmjs(t *testing.T) {
	name, args := servicetest.Node(t, "testdata/scu.js")
	address := servicetest.Server(t, &association.Server{
		Accept: func(r association.Request) association.Answer {
			if r.Window == nil || *r.Window != (ul.AsyncWindow{Invoked: 5, Performed: 2}) {
				t.Errorf("window %v", r.Window)
			}
			return association.Answer{
				AbstractSyntax: echo.Accepts, TransferSyntax: func(_, ts string) bool { return ts == uid.ImplicitVRLittleEndian },
				Window: association.Window{Invoked: 3, Performed: 1},
			}
		},
		Handlers: map[dimse.CommandField]association.Handler{dimse.CEchoRQ: echo.Handle},
	})
	host, port := servicetest.Split(t, address)
	out, err := servicetest.Run(t, t.TempDir(), name, append(args, host, port)...)
	if err != nil || strings.Count(out, " 0\n") != 10 || !strings.Contains(out, "window 3 1\n") {
		t.Errorf("%v: %s", err, out)
	}
}

// Another implementation answers several operations of ours in another order.
func TestWindowGrantedByDcmjs(t *testing.T) {
	port := servicetest.FreePort(t)
	name, args := servicetest.Node(t, "testdata/scp.js", port)
	servicetest.Start(t, port, t.TempDir(), name, args...)
	a := servicetest.Dial(t, "127.0.0.1:"+port, association.Proposal{Contexts: []ul.ProposedContext{echo.Context(1)}, Window: association.Window{Invoked: 4}})
	if w := a.User.AsyncWindow; w == nil || w.Invoked != 4 {
		t.Fatalf("window %v", w)
	}
	var mu sync.Mutex
	var order []string
	var work sync.WaitGroup
	for i := range 8 {
		work.Go(func() {
			if err := echo.Send(t.Context(), a); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			order = append(order, fmt.Sprint(i))
		})
	}
	work.Wait()
	if len(order) != 8 {
		t.Errorf("%v", order)
	}
	servicetest.Release(t, a)
}
