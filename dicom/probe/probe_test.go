package probe_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/echo"
	"nhip/dicom/probe"
	"nhip/dicom/service/servicetest"
	"nhip/dicom/store"
	"nhip/dicom/uid"
	"nhip/dicom/ul"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ct      = "1.2.840.10008.5.1.4.1.1.2"
	mr      = "1.2.840.10008.5.1.4.1.1.4"
	rle     = "1.2.840.10008.1.2.5"
	modWork = "1.2.840.10008.5.1.4.31"
)

func listen(t *testing.T, s *association.Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Log = slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); <-done })
	return l.Addr().String()
}

// What our own server accepts is what the report says.
func TestReport(t *testing.T) {
	s := &association.Server{
		MaxPDU:   70000,
		Handlers: map[dimse.CommandField]association.Handler{dimse.CEchoRQ: echo.Handle},
		Accept: func(r association.Request) association.Answer {
			if r.Calling != "NHIP" || r.Called != "ANY-SCP" {
				t.Errorf("%s calls %s", r.Calling, r.Called)
			}
			return association.Answer{
				AbstractSyntax: func(c string) bool { return echo.Accepts(c) || c == ct || c == mr },
				TransferSyntax: func(c, ts string) bool {
					return ts == uid.ImplicitVRLittleEndian || c == ct && ts == rle
				},
				Role:   func(c string) (scu, scp bool) { return c != mr, c != uid.Verification },
				Window: association.Window{Invoked: 5, Performed: 3},
			}
		},
	}
	r, err := probe.Probe(t.Context(), listen(t, s), probe.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []probe.Class{
		{UID: uid.Verification, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}, Preferred: uid.ImplicitVRLittleEndian, SCU: true},
		{UID: ct, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian, rle}, Preferred: uid.ImplicitVRLittleEndian, SCU: true, SCP: true},
		{UID: mr, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}, Preferred: uid.ImplicitVRLittleEndian, SCP: true},
	}
	if diff := cmp.Diff(want, r.Classes); diff != "" {
		t.Error(diff)
	}
	if r.MaximumLength != 70000 || r.ImplementationClassUID != association.ImplementationClassUID || r.ImplementationVersionName != association.ImplementationVersionName {
		t.Errorf("%+v", r)
	}
	if r.Window == nil || *r.Window != (ul.AsyncWindow{Invoked: 5, Performed: 3}) {
		t.Errorf("window %v", r.Window)
	}
	if n := len(uid.SOPClasses()); len(r.Refused) != n-3 || r.Refused[modWork] != ul.AbstractSyntaxNotSupported {
		t.Errorf("%d of %d refused, worklist %v", len(r.Refused), n, r.Refused[modWork])
	}
	if r.Echo == 0 || r.Connect == 0 || len(r.Problems) != 0 || r.Associations < 5 {
		t.Errorf("%+v", r)
	}
}

func TestProbeOfWhoAcceptsNothing(t *testing.T) {
	reject := &association.Server{Accept: func(association.Request) association.Answer {
		return association.Answer{Reject: &ul.RejectCallingAETitle}
	}}
	var rejected *association.RejectedError
	if _, err := probe.Probe(t.Context(), listen(t, reject), probe.Options{}); !errors.As(err, &rejected) || rejected.AssociateRJ != ul.RejectCallingAETitle {
		t.Error(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := probe.Probe(t.Context(), l.Addr().String(), probe.Options{}); err == nil {
		t.Error("nobody was probed")
	}
}

// A peer that dies at what it does not bear is asked the rest; the report says at
// what it did.
func TestPeerThatBearsNoRoles(t *testing.T) {
	s := &association.Server{Accept: func(r association.Request) association.Answer {
		if len(r.Roles) > 0 {
			return association.Answer{Reject: &ul.RejectNoReason}
		}
		return association.Answer{AbstractSyntax: store.Accepts(), TransferSyntax: func(_, ts string) bool { return ts == rle }}
	}}
	r, err := probe.Probe(t.Context(), listen(t, s), probe.Options{SOPClasses: []string{ct, modWork}, TransferSyntaxes: []string{rle, uid.ImplicitVRLittleEndian}})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Classes) != 1 || !slices.Equal(r.Classes[0].TransferSyntaxes, []string{rle}) || len(r.Problems) != 1 || r.Echo != 0 {
		t.Errorf("%+v", r)
	}
}

// The caller's patience is kept to.
func TestProbeEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &association.Server{Accept: func(r association.Request) association.Answer {
		if len(r.Contexts) > 1 {
			cancel()
		}
		return association.Answer{AbstractSyntax: store.Accepts(), TransferSyntax: func(string, string) bool { return true }}
	}}
	if _, err := probe.Probe(ctx, listen(t, s), probe.Options{Timeouts: association.Timeouts{ARTIM: time.Minute}}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func class(t *testing.T, r probe.Report, class string) probe.Class {
	t.Helper()
	i := slices.IndexFunc(r.Classes, func(c probe.Class) bool { return c.UID == class })
	if i < 0 {
		t.Fatalf("%s does not accept %s: %v", r.Called, uid.Name(class), r.Refused[class])
	}
	return r.Classes[i]
}

func accepts(t *testing.T, r probe.Report, syntaxes ...string) {
	t.Helper()
	got := class(t, r, ct).TransferSyntaxes
	for _, ts := range syntaxes {
		if !slices.Contains(got, ts) {
			t.Errorf("%s does not accept CT in %s", r.Called, uid.Name(ts))
		}
	}
}

// patient is for peers on a busy machine.
var patient = association.Timeouts{ARTIM: time.Minute}

const (
	bigEndian    = "1.2.840.10008.1.2.2"
	jpegBaseline = "1.2.840.10008.1.2.4.50"
	jpegLossless = "1.2.840.10008.1.2.4.70"
	deflated     = "1.2.840.10008.1.2.1.99"
)

// storescp without and with +xa, as its manual says.
func TestStorescp(t *testing.T) {
	servicetest.Need(t, "storescp")
	for _, c := range []struct {
		arguments []string
		classes   []string
		accepted  int
		max       uint32
	}{
		{nil, nil, 3, 16384},
		{[]string{"+xa", "--max-pdu", "65536"}, []string{uid.Verification, ct, modWork}, 20, 65536},
	} {
		port, dir := servicetest.FreePort(t), t.TempDir()
		servicetest.Start(t, port, dir, "storescp", append(c.arguments, "-od", dir, port)...)
		r, err := probe.Probe(t.Context(), "127.0.0.1:"+port, probe.Options{Called: "STORESCP", SOPClasses: c.classes, Timeouts: patient})
		if err != nil {
			t.Fatal(err)
		}
		accepts(t, r, uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, bigEndian)
		got := class(t, r, ct)
		if n := len(got.TransferSyntaxes); n < c.accepted || len(c.arguments) == 0 && n != c.accepted {
			t.Errorf("%d transfer syntaxes: %v", n, got.TransferSyntaxes)
		}
		if !got.SCU || got.SCP || r.MaximumLength != c.max || r.Window != nil || r.Echo == 0 || r.ImplementationVersionName[:11] != "OFFIS_DCMTK" {
			t.Errorf("%+v", r)
		}
		if class(t, r, uid.Verification); r.Refused[modWork] != ul.AbstractSyntaxNotSupported {
			t.Errorf("worklist: %v", r.Refused[modWork])
		}
		for _, p := range r.Problems {
			t.Error(p)
		}
		t.Logf("%d classes in %d associations; %v to connect, %v for C-ECHO, %v to release", len(r.Classes), r.Associations, r.Connect, r.Echo, r.Release)
	}
}

func TestOrthanc(t *testing.T) {
	o := servicetest.StartOrthanc(t, nil)
	r, err := probe.Probe(t.Context(), o.Address, probe.Options{Called: "ORTHANC", Timeouts: patient})
	if err != nil {
		t.Fatal(err)
	}
	accepts(t, r, uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, bigEndian, jpegBaseline, jpegLossless, deflated, rle)
	for _, c := range []string{uid.Verification, "1.2.840.10008.1.20.1", "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.2", "1.2.840.10008.5.1.4.1.2.2.3"} {
		class(t, r, c)
	}
	if r.Echo == 0 || r.MaximumLength == 0 {
		t.Errorf("%+v", r)
	}
	for _, p := range r.Problems {
		t.Error(p)
	}
	t.Logf("%d classes in %d associations; CT as SCU %v, SCP %v; window %v; maximum length %d", len(r.Classes), r.Associations, class(t, r, ct).SCU, class(t, r, ct).SCP, r.Window, r.MaximumLength)
}

func TestWlmscpfs(t *testing.T) {
	servicetest.Need(t, "wlmscpfs")
	port, dir := servicetest.FreePort(t), t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "OFFIS"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "OFFIS", "lockfile"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	servicetest.Start(t, port, dir, "wlmscpfs", "-dfp", dir, port)
	r, err := probe.Probe(t.Context(), "127.0.0.1:"+port, probe.Options{Called: "OFFIS", Timeouts: patient})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range r.Classes {
		got = append(got, uid.Name(c.UID))
	}
	if !slices.Contains(got, uid.Name(modWork)) || !slices.Contains(got, uid.Name(uid.Verification)) || len(got) > 3 {
		t.Errorf("%v", got)
	}
	if ts := class(t, r, modWork).TransferSyntaxes; !slices.Contains(ts, uid.ImplicitVRLittleEndian) || slices.Contains(ts, jpegBaseline) {
		t.Errorf("%v", ts)
	}
	for _, p := range r.Problems {
		t.Error(p)
	}
}
