package service_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/echo"
	"nhip/dicom/retrieve/retrievetest"
	"nhip/dicom/service"
	"nhip/dicom/service/servicetest"
	"nhip/dicom/store"
	"nhip/dicom/uid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func storage(a *retrievetest.Archive) service.Mux {
	stores := store.Accepts()
	return service.Mux{
		{AbstractSyntax: echo.Accepts, Handlers: map[dimse.CommandField]association.Handler{dimse.CEchoRQ: echo.Handle}},
		{AbstractSyntax: stores, TransferSyntax: uid.IsTransferSyntax, Handlers: map[dimse.CommandField]association.Handler{dimse.CStoreRQ: store.Handle(a.Store)}},
	}
}

// Old modalities: CTN's echo and image sender.
func TestCTNAsModality(t *testing.T) {
	servicetest.Need(t, "dicom_echo", "send_image", "dcmconv")
	var archive retrievetest.Archive
	host, port := servicetest.Split(t, servicetest.Serve(t, storage(&archive)))
	if out, err := servicetest.Run(t, "", "dicom_echo", "-r", "3", host, port); err != nil || strings.Contains(strings.ToLower(out), "fail") {
		t.Errorf("dicom_echo: %v: %s", err, out)
	}
	dir := t.TempDir()
	var files, want []string
	for _, o := range retrievetest.New(t).Objects() {
		path := filepath.Join(dir, o.Instance)
		var b bytes.Buffer
		if err := dicom.WritePart10Header(&b, o.Class, o.Instance, o.Syntax); err != nil {
			t.Fatal(err)
		}
		b.Write(o.Data)
		if err := os.WriteFile(path+".dcm", b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		// CTN sends bare data sets in Implicit VR.
		if out, err := servicetest.Run(t, dir, "dcmconv", "-F", "+ti", path+".dcm", path); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		files, want = append(files, path), append(want, o.Instance)
	}
	out, err := servicetest.Run(t, dir, "send_image", append([]string{"-q", "-a", "OLDCT", "-c", "NHIP", host, port}, files...)...)
	if err != nil {
		t.Errorf("send_image: %v: %s", err, out)
	}
	var got []string
	for _, o := range archive.Objects() {
		got = append(got, o.Set.Text(0x00080018))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%q arrived: %s", got, out)
	}
}

// Our objects at CTN's storage server.
func TestCTNAsArchive(t *testing.T) {
	servicetest.Need(t, "simple_storage")
	dir, port := t.TempDir(), servicetest.FreePort(t)
	servicetest.Start(t, port, dir, "simple_storage", "-s", "-i", "-x", dir, port)
	var kinds []store.Kind
	objects := retrievetest.New(t).Objects()
	for _, o := range objects {
		kinds = append(kinds, store.Kind{SOPClassUID: o.Class, TransferSyntaxUID: uid.ImplicitVRLittleEndian})
	}
	contexts, _ := store.Contexts(kinds)
	contexts = append(contexts, echo.Context(99))
	a := servicetest.Dial(t, "127.0.0.1:"+port, association.Proposal{Called: "SIMPLE_STORAGE", Contexts: contexts})
	if err := echo.Send(t.Context(), a); err != nil {
		t.Error(err)
	}
	for _, o := range objects {
		var b bytes.Buffer
		if err := o.Set.Write(&b, uid.ImplicitVRLittleEndian); err != nil {
			t.Fatal(err)
		}
		s, err := store.Send(t.Context(), a, store.Object{SOPClassUID: o.Class, SOPInstanceUID: o.Instance, TransferSyntaxUID: uid.ImplicitVRLittleEndian, DataSet: &b})
		if err != nil || s.Class() != dimse.ClassSuccess {
			t.Errorf("%s: %v, %v", o.Instance, s, err)
		}
	}
	servicetest.Release(t, a)
}

func TestMux(t *testing.T) {
	answered := func(code uint16) map[dimse.CommandField]association.Handler {
		return map[dimse.CommandField]association.Handler{dimse.NActionRQ: func(ctx context.Context, a *association.Association, m *association.Message) error {
			return service.Refuse(ctx, a, m, dimse.Status{Code: code})
		}}
	}
	is := func(uids ...string) func(string) bool {
		return func(as string) bool { return slices.Contains(uids, as) }
	}
	m := service.Mux{
		{AbstractSyntax: is("1.2.1", "1.2.2"), Handlers: map[dimse.CommandField]association.Handler{dimse.CEchoRQ: echo.Handle}},
		{AbstractSyntax: is("1.2.2"), TransferSyntax: is("1.9"), SCP: is("1.2.2"), Handlers: answered(0x0001)},
		{AbstractSyntax: is("1.2.3"), Handlers: answered(0x0107)},
	}
	if scu, scp := m.Role("1.2.2"); !scu || !scp {
		t.Error("no SCP role where a service has one")
	}
	if _, scp := m.Role("1.2.3"); scp {
		t.Error("an SCP role where no service has one")
	}
	for _, c := range []struct {
		as, ts string
		want   bool
	}{
		{"1.2.1", uid.ImplicitVRLittleEndian, true}, {"1.2.1", "1.9", false}, {"1.2.2", "1.9", true}, {"1.2.2", uid.ExplicitVRLittleEndian, true}, {"1.2.4", "1.9", false},
	} {
		if m.TransferSyntax(c.as, c.ts) != c.want {
			t.Errorf("%s in %s: %v", c.as, c.ts, !c.want)
		}
	}
	a := servicetest.Dial(t, servicetest.Serve(t, m), association.Proposal{Contexts: service.Propose("1.2.1", "1.2.2", "1.2.3", "1.2.4")})
	for id, want := range map[byte]uint16{1: dimse.UnrecognizedOperation, 3: 0x0001, 5: 0x0107} {
		rsp, err := a.Request(t.Context(), id, dimse.Command{Field: dimse.NActionRQ, RequestedSOPClassUID: "1.2", RequestedSOPInstanceUID: "1.3", ActionTypeID: 1}, strings.NewReader("12"))
		if err != nil || rsp.Status.Code != want {
			t.Errorf("context %d: %v, %v", id, rsp.Status, err)
		}
	}
	if _, err := service.Context(a, "1.2.4"); err == nil {
		t.Error("a context that nobody serves")
	}
	servicetest.Release(t, a)
}

func TestNewUID(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		u := service.NewUID()
		if !uid.Valid(u) || seen[u] {
			t.Fatal(u)
		}
		seen[u] = true
	}
}

// The words of an application's error do not reach the peer.
func TestStatusOf(t *testing.T) {
	if s := service.StatusOf(io.ErrUnexpectedEOF, 0x0110); s.Code != 0x0110 || strings.Contains(s.Comment, "EOF") {
		t.Error(s)
	}
	if s := service.StatusOf(&service.StatusError{Status: dimse.Status{Code: 0x0112, Comment: "gone"}}, 0x0110); s.Code != 0x0112 || s.Comment != "gone" {
		t.Error(s)
	}
}
