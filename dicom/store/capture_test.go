package store_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/echo"
	"nhip/dicom/internal/capture"
	"nhip/dicom/probe"
	"nhip/dicom/service/servicetest"
	"nhip/dicom/store"
	"nhip/dicom/uid"
	"nhip/dicom/ul"
)

// send sends the objects of a folder with our SCU, those that are taken.
func send(t *testing.T, address, dir string) (sent int) {
	t.Helper()
	var kinds []store.Kind
	metas := map[string]dicom.Meta{}
	filepath.WalkDir(dir, func(path string, _ os.DirEntry, _ error) error {
		f, err := os.Open(path)
		if err != nil {
			return nil
		}
		defer f.Close()
		if m, err := dicom.ReadPart10(f); err == nil && m.SOPInstanceUID != "" && m.TransferSyntaxUID != uid.DeflatedExplicitVRLittleEndian {
			metas[path] = m
			kinds = append(kinds, store.Kind{SOPClassUID: m.SOPClassUID, TransferSyntaxUID: m.TransferSyntaxUID})
		}
		return nil
	})
	contexts, _ := store.Contexts(kinds)
	a, err := association.Dial(t.Context(), address, association.Proposal{Calling: "NHIP", Called: "NHIP", Contexts: contexts, Window: association.Window{Invoked: 4}})
	if err != nil {
		t.Fatal(err)
	}
	for path, m := range metas {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(b[m.DataSet:])%2 == 1 {
			continue
		}
		status, err := store.Send(t.Context(), a, store.Object{SOPClassUID: m.SOPClassUID, SOPInstanceUID: m.SOPInstanceUID, TransferSyntaxUID: m.TransferSyntaxUID, DataSet: strings.NewReader(string(b[m.DataSet:]))})
		if err == nil && status.Class() == dimse.ClassSuccess {
			sent++
		}
	}
	if err := a.Release(t.Context()); err != nil {
		t.Error(err)
	}
	return sent
}

// talk exchanges every command both ways with everything negotiated that there is.
func talk(t *testing.T, c *capture.Capture) {
	t.Helper()
	const class = "1.2.840.10008.5.1.4.1.2.2.3"
	answer := func(ctx context.Context, a *association.Association, m *association.Message) error {
		if m.DataSet != nil {
			if err := m.DataSet.Drain(); err != nil {
				return err
			}
		}
		switch m.Command.Field {
		case dimse.CGetRQ, dimse.CMoveRQ, dimse.CFindRQ:
			if _, err := a.Request(ctx, m.Context.ID, dimse.Command{Field: dimse.CEchoRQ, AffectedSOPClassUID: class}, nil); err != nil {
				return err
			}
			pending := dimse.Command{Status: dimse.Status{Code: dimse.Pending}, SubOperations: &dimse.SubOperations{Remaining: 1}}
			if err := a.RespondWith(ctx, m, pending, strings.NewReader("\x08\x00\x52\x00\x06\x00\x00\x00STUDY ")); err != nil {
				return err
			}
		}
		return a.RespondWith(ctx, m, dimse.Command{
			Status: dimse.Status{Code: dimse.ProcessingFailure, Comment: "in words", ErrorID: 7}, EventTypeID: m.Command.EventTypeID, ActionTypeID: m.Command.ActionTypeID,
		}, nil)
	}
	handlers := map[dimse.CommandField]association.Handler{}
	fields := []dimse.CommandField{dimse.CEchoRQ, dimse.CFindRQ, dimse.CGetRQ, dimse.CMoveRQ, dimse.NEventReportRQ, dimse.NGetRQ, dimse.NSetRQ, dimse.NActionRQ, dimse.NCreateRQ, dimse.NDeleteRQ}
	for _, f := range fields {
		handlers[f] = answer
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &association.Server{
		Handlers: handlers, Log: slog.New(slog.DiscardHandler),
		Accept: func(r association.Request) association.Answer {
			if r.Calling == "STRANGER" {
				return association.Answer{Reject: &ul.RejectCallingAETitle}
			}
			return association.Answer{
				AbstractSyntax: func(as string) bool { return as == class }, TransferSyntax: func(_, ts string) bool { return ts == uid.ImplicitVRLittleEndian },
				Role: func(string) (scu, scp bool) { return true, true }, Window: association.Unlimited,
				IdentityResponse: []byte{}, Extended: r.Extended,
			}
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); <-done })
	address := c.Between(t, l.Addr().String())
	proposal := association.Proposal{
		Calling: "NHIP", Called: "NHIP", Handlers: map[dimse.CommandField]association.Handler{dimse.CEchoRQ: echo.Handle},
		Contexts: []ul.ProposedContext{
			{ID: 1, AbstractSyntax: class, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian}},
			{ID: 3, AbstractSyntax: uid.Verification, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}},
			{ID: 5, AbstractSyntax: class, TransferSyntaxes: []string{uid.ExplicitVRLittleEndian}},
		},
		Roles:          []ul.RoleSelection{{SOPClassUID: class, SCU: true, SCP: true}},
		Window:         association.Unlimited,
		Extended:       []ul.Extended{{SOPClassUID: class, Information: []byte{1}}},
		CommonExtended: []ul.CommonExtended{{SOPClassUID: class, ServiceClassUID: "1.2.840.10008.4.2", RelatedGeneral: []string{"1.2.840.10008.5.1.4.1.2.2.1"}}},
		Identity:       &ul.UserIdentity{Type: ul.IdentityPasscode, PositiveResponse: true, Primary: []byte("user"), Secondary: []byte("pass")},
	}
	a, err := association.Dial(t.Context(), address, proposal)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		rq := dimse.Command{Field: f, AffectedSOPClassUID: class, RequestedSOPClassUID: class, RequestedSOPInstanceUID: "1.2.3"}
		if f == dimse.CMoveRQ {
			rq.MoveDestination = "WS1"
		}
		call, err := a.Start(t.Context(), 1, rq, strings.NewReader("\x08\x00\x52\x00\x06\x00\x00\x00STUDY "))
		if err != nil {
			t.Fatal(err)
		}
		if err := call.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = call.Next(t.Context())
		}
		if err != io.EOF {
			t.Fatal(err)
		}
	}
	if err := a.Release(t.Context()); err != nil {
		t.Error(err)
	}
	if a, err = association.Dial(t.Context(), address, proposal); err != nil {
		t.Fatal(err)
	}
	a.Abort("to see the PDU")
	proposal.Calling = "STRANGER"
	if _, err = association.Dial(t.Context(), address, proposal); err == nil {
		t.Error("the stranger was accepted")
	}
}

// In a capture of ours with DCMTK and with ourselves, tshark finds nothing wrong of
// a kind that it does not find wrong between two of DCMTK's.
func TestCapture(t *testing.T) {
	need(t, "tshark", "dcmsend", "echoscu", "storescp", pydicomTree)
	theirs, ours := capture.New(), capture.New()
	var a archive
	scp, us := storescp(t, t.TempDir()), serve(t, a.handler)
	// A rejection and an abort are noted as such.
	refusing := servicetest.FreePort(t)
	servicetest.Start(t, refusing, t.TempDir(), "storescp", "--refuse", refusing)
	for to, option := range map[string]string{"127.0.0.1:" + refusing: "-v", scp: "--abort"} {
		host, port, _ := net.SplitHostPort(theirs.Between(t, to))
		dcmtk(t.Context(), "echoscu", option, host, port).Run()
	}
	for _, c := range []struct {
		capture *capture.Capture
		to      string
	}{{theirs, scp}, {ours, us}} {
		host, port, _ := net.SplitHostPort(c.capture.Between(t, c.to))
		if out, err := dcmtk(t.Context(), "echoscu", "-aec", "NHIP", host, port).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		dcmtk(t.Context(), "echoscu", "-aec", "STRANGER", host, port).Run()
		dcmtk(t.Context(), "dcmsend", "-aec", "NHIP", "+sd", "+r", "-nh", "-nuc", host, port, pydicomTree).Run()
	}
	for _, to := range []string{scp, us} {
		address := ours.Between(t, to)
		if n := send(t, address, pydicomTree); n < 100 {
			t.Errorf("%d objects were taken", n)
		}
		if r, err := probe.Probe(t.Context(), address, probe.Options{Called: "NHIP", SOPClasses: []string{uid.Verification, "1.2.840.10008.5.1.4.1.1.2"}}); err != nil || len(r.Classes) != 2 {
			t.Errorf("%+v, %v", r, err)
		}
	}
	talk(t, ours)

	found := map[string]map[string]int{}
	for name, c := range map[string]*capture.Capture{"DCMTK to DCMTK": theirs, "ours": ours} {
		file := filepath.Join(t.TempDir(), "capture.pcap")
		if err := c.Write(file); err != nil {
			t.Fatal(err)
		}
		kinds, pdus := capture.Complaints(t, file)
		if pdus < 400 {
			t.Errorf("%s: tshark has read %d PDUs", name, pdus)
		}
		found[name] = kinds
		t.Log(fmt.Sprintf("%s: %d PDUs, %v", name, pdus, kinds))
	}
	for kind, n := range found["ours"] {
		if found["DCMTK to DCMTK"][kind] == 0 {
			t.Errorf("%d times: %s", n, kind)
		}
	}
}
