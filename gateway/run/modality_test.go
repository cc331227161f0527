package run

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/commitment"
	"nhip/dicom/dimse"
	"nhip/dicom/mpps"
	"nhip/dicom/service"
	"nhip/dicom/service/servicetest"
	"nhip/dicom/store"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// modalityBlock names a modality at 127.0.0.1.
func modalityBlock(name, title, rest string) string {
	return "[[modality]]\nname = \"" + name + "\"\nae_title = \"" + title + "\"\naddress = \"127.0.0.1\"\n" + rest + "\n"
}

func dataset(t *testing.T, values ...any) *dicom.Dataset {
	t.Helper()
	d := dicom.NewDataset()
	for i := 0; i < len(values); i += 2 {
		if err := d.SetText(values[i].(tag.Tag), values[i+1].(string)); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// sendObject stores a small object of a SOP class at the gateway.
func sendObject(t *testing.T, address, calling, class, instance string) dimse.Status {
	t.Helper()
	var b bytes.Buffer
	d := dataset(t, tag.SOPClassUID, class, tag.SOPInstanceUID, instance, tag.StudyInstanceUID, "1.2.826.1", tag.SeriesInstanceUID, "1.2.826.1.1", tag.Modality, "CT", tag.PatientID, "P-1")
	if err := d.Write(&b, uid.ExplicitVRLittleEndian); err != nil {
		t.Fatal(err)
	}
	contexts, _ := store.Contexts([]store.Kind{{SOPClassUID: class, TransferSyntaxUID: uid.ExplicitVRLittleEndian}})
	a := servicetest.Dial(t, address, association.Proposal{Calling: calling, Called: "NHIP", Contexts: contexts})
	s, err := store.Send(t.Context(), a, store.Object{SOPClassUID: class, SOPInstanceUID: instance, TransferSyntaxUID: uid.ExplicitVRLittleEndian, DataSet: &b})
	if err != nil {
		t.Fatal(err)
	}
	servicetest.Release(t, a)
	return s
}

func TestAPerformedProcedureStepIsKeptOverARestart(t *testing.T) {
	t.Parallel()
	s := newSite(t, modalityBlock("ct-1", "DCMJS", "")+modalityBlock("mr-1", "MR1", ""))
	name, args := servicetest.Node(t, "../../dicom/mpps/testdata/scu.js")
	host, port := servicetest.Split(t, s.status().Listen.DICOM)
	out, err := servicetest.Run(t, t.TempDir(), name, append(args, host, port, "1.2.826.77")...)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{"set-before-create 0112", "create 0107", "create-again 0111", "complete 0000", "set-after 0110", "get 0000 COMPLETED"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	eventually(t, "N-CREATE and N-SET are in the journal", func() bool { return s.status().Counts.Kinds["step"] == 2 })
	s.stop()
	s.start()
	a := servicetest.Dial(t, s.status().Listen.DICOM, association.Proposal{Calling: "MR1", Called: "NHIP", Contexts: service.Propose(mpps.RetrieveClass, mpps.Class)})
	d, status, err := mpps.Get(t.Context(), a, "1.2.826.77")
	if err != nil || status.Code != dimse.Success {
		t.Fatalf("%v, %v", status, err)
	}
	if images := mpps.Images(d); len(images) != 1 || images[0].SOPInstanceUID != "1.2.3.1.1" || d.Text(tag.PatientID) != "4711" {
		t.Errorf("%+v", images)
	}
	// Another modality begins one of its own, and cannot end this one.
	other := dataset(t, tag.PerformedProcedureStepStatus, "DISCONTINUED")
	if status, err := mpps.Set(t.Context(), a, "1.2.826.77", other); err != nil || status.Class() != dimse.ClassFailure {
		t.Errorf("%v, %v", status, err)
	}
	servicetest.Release(t, a)
}

func TestStorageCommitmentIsReportedFromWhatIsStored(t *testing.T) {
	t.Parallel()
	const ct = "1.2.840.10008.5.1.4.1.1.2"
	listen := servicetest.FreePort(t)
	s := newSite(t, modalityBlock("ct-1", "DCMJS", `reports = "127.0.0.1:`+listen+`"`))
	for _, instance := range []string{"1.2.826.13", "1.2.826.11", "1.2.826.12"} {
		if status := sendObject(t, s.status().Listen.DICOM, "DCMJS", ct, instance); status.Code != dimse.Success {
			t.Fatal(status)
		}
		if instance == "1.2.826.13" { // of which the disk loses the end
			files, err := filepath.Glob(filepath.Join(s.data, "spool", "*-*", "*"))
			if err != nil || len(files) != 1 {
				t.Fatal(files, err)
			}
			if err := os.Truncate(files[0], 100); err != nil {
				t.Fatal(err)
			}
		}
	}
	name, args := servicetest.Node(t, "../../dicom/commitment/testdata/scu.js")
	host, port := servicetest.Split(t, s.status().Listen.DICOM)
	out, err := servicetest.Run(t, t.TempDir(), name, append(args, host, port, listen, "NHIP", "1.2.826.11", "1.2.826.12", "1.2.826.13", "1.2.826.99")...)
	if err != nil || !strings.Contains(out, "action 0") || !strings.Contains(out, "report 2 1.2.826.55 1.2.826.11,1.2.826.12 1.2.826.13:272,1.2.826.99:274") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestAReportThatIsOwedOutlivesARestart(t *testing.T) {
	t.Parallel()
	const mr = "1.2.840.10008.5.1.4.1.1.4"
	listen := servicetest.FreePort(t)
	s := newSite(t, modalityBlock("mr-1", "MR1", `reports = "127.0.0.1:`+listen+`"`))
	if status := sendObject(t, s.status().Listen.DICOM, "MR1", mr, "1.2.826.21"); status.Code != dimse.Success {
		t.Fatal(status)
	}
	asked := commitment.Transaction{UID: "1.2.826.5", References: []commitment.Reference{{SOPClassUID: mr, SOPInstanceUID: "1.2.826.21"}, {SOPClassUID: mr, SOPInstanceUID: "1.2.826.22"}}}
	ask := func() dimse.Status {
		a := servicetest.Dial(t, s.status().Listen.DICOM, association.Proposal{Calling: "MR1", Called: "NHIP", Contexts: service.Propose(commitment.Class)})
		status, err := commitment.Ask(t.Context(), a, asked)
		if err != nil {
			t.Fatal(err)
		}
		servicetest.Release(t, a)
		return status
	}
	mark := len(s.log.String())
	if status := ask(); status.Code != dimse.Success {
		t.Fatal(status)
	}
	// Nobody listens there yet.
	eventually(t, "the first attempt failed", func() bool { return strings.Contains(s.log.since(mark), "not reported yet") })
	s.stop()
	got := make(chan commitment.Received, 10)
	l, err := net.Listen("tcp", "127.0.0.1:"+listen)
	if err != nil {
		t.Skipf("the port was taken meanwhile: %v", err)
	}
	scu := &commitment.SCU{Take: func(_ context.Context, r commitment.Received) dimse.Status {
		got <- r
		return dimse.Status{}
	}}
	serveOn(t, l, service.Mux{scu.Service()})
	s.start()
	r := <-got
	if status := (commitment.Expectation{Transaction: asked, SCP: "NHIP"}).Check(r); status.Code != dimse.Success {
		t.Errorf("%+v: %v", r, status)
	}
	if len(r.Committed) != 1 || len(r.Failed) != 1 || r.Failed[0].Reason != commitment.NoSuchInstance {
		t.Errorf("%+v", r)
	}
	// Asked again, it is reported again; the UID for other references is refused.
	if status := ask(); status.Code != dimse.Success {
		t.Fatal(status)
	}
	<-got
	asked.References = asked.References[:1]
	if status := ask(); status.Code == dimse.Success {
		t.Errorf("another request under the same transaction UID: %v", status)
	}
}

func TestAModalityFindsItsWorklist(t *testing.T) {
	t.Parallel()
	need(t, "findscu")
	dir := t.TempDir()
	write := func(name, patient, title string) {
		d := dataset(t, tag.SOPClassUID, uid.ModalityWorklistInformationModelFind, tag.SOPInstanceUID, "1.2.826."+name[1:], tag.SpecificCharacterSet, "ISO_IR 192", tag.PatientName, patient, tag.PatientID, name, tag.StudyInstanceUID, "1.2.826.4", tag.AccessionNumber, "A-"+name)
		step := dataset(t, tag.ScheduledStationAETitle, title, tag.Modality, "CT", tag.ScheduledProcedureStepStartDate, "20260114", tag.ScheduledProcedureStepStartTime, "101500")
		if err := d.SetItems(tag.ScheduledProcedureStepSequence, step); err != nil {
			t.Fatal(err)
		}
		f, err := dicom.NewFile(d, uid.ExplicitVRLittleEndian)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := f.Write(&b); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".wl"), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("W1", "Nguyễn^Hoa", "CT1")
	write("W2", "Trần^Minh", "CT2")
	write("W3", "Lê^Thu", "")
	if err := os.WriteFile(filepath.Join(dir, "broken.wl"), []byte("no DICOM at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, "[dicom]\nlisten = \"127.0.0.1:0\"\nworklist = \""+dir+"\"\n"+modalityBlock("ct-1", "CT1", `worklist = "all"`)+modalityBlock("ct-2", "CT2", ""))
	host, port := servicetest.Split(t, s.status().Listen.DICOM)
	title := "CT1"
	ids := func(keys ...string) (found []string) {
		args := []string{"-W", "-aet", title, "-aec", "NHIP", "-k", "PatientID", "-k", "PatientName"}
		for _, k := range keys {
			args = append(args, "-k", k)
		}
		out := t.TempDir()
		c := dcmtk(t.Context(), "findscu", append(args, "-X", "-od", out, host, port)...)
		if b, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		files, err := filepath.Glob(filepath.Join(out, "*.dcm"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			f, err := dicom.ParseFile(b, dicom.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, f.Text(tag.PatientID))
		}
		slices.Sort(found)
		return found
	}
	if got := ids(); !slices.Equal(got, []string{"W1", "W2", "W3"}) {
		t.Errorf("all: %v", got)
	}
	if got := ids("ScheduledProcedureStepSequence[0].ScheduledStationAETitle=CT1"); !slices.Equal(got, []string{"W1"}) {
		t.Errorf("of a station: %v", got)
	}
	if got := ids("PatientName=NGUYEN*"); !slices.Equal(got, []string{"W1"}) {
		t.Errorf("by a name without its marks: %v", got)
	}
	s.logged(0, "a file is not used", "broken.wl")
	if err := os.Remove(filepath.Join(dir, "W1.wl")); err != nil {
		t.Fatal(err)
	}
	if got := ids(); !slices.Equal(got, []string{"W2", "W3"}) {
		t.Errorf("after one was removed: %v", got)
	}
	write("W1", "Nguyễn^Hoa", "CT1")
	title = "CT2"
	if got := ids(); !slices.Equal(got, []string{"W2", "W3"}) {
		t.Errorf("of its own, and of nobody: %v", got)
	}
	if got := ids("ScheduledProcedureStepSequence[0].ScheduledStationAETitle=CT1"); len(got) != 0 {
		t.Errorf("of another station: %v", got)
	}
}

func TestAModalityIsOfferedWhatItsDestinationsTake(t *testing.T) {
	t.Parallel()
	const ct, mr = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pacs := service.Mux{{
		AbstractSyntax: func(class string) bool { return class == ct },
		TransferSyntax: func(ts string) bool { return ts == uid.ExplicitVRLittleEndian },
		Handlers:       map[dimse.CommandField]association.Handler{dimse.CStoreRQ: store.Handle(takeAll)},
	}}
	serveOn(t, l, pacs)
	s := newSite(t, modalityBlock("some-1", "SOME", "to = [\"pacs\"]\naccept = \"destinations\"")+modalityBlock("all-1", "ALL", "to = [\"pacs\"]")+
		"[[destination]]\nname = \"pacs\"\nkind = \"dicom\"\naddress = \""+l.Addr().String()+"\"\ncalled_ae_title = \"PACS\"\n")
	s.logged(0, "asked what the destination takes", "pacs")
	offered := func(calling string) (accepted []bool) {
		contexts, _ := store.Contexts([]store.Kind{{SOPClassUID: ct, TransferSyntaxUID: uid.ExplicitVRLittleEndian}, {SOPClassUID: ct, TransferSyntaxUID: uid.ImplicitVRLittleEndian}, {SOPClassUID: mr, TransferSyntaxUID: uid.ExplicitVRLittleEndian}})
		a := servicetest.Dial(t, s.status().Listen.DICOM, association.Proposal{Calling: calling, Called: "NHIP", Contexts: contexts})
		for _, answer := range a.Answers() {
			accepted = append(accepted, answer.TransferSyntax != "")
		}
		servicetest.Release(t, a)
		return accepted
	}
	if got := offered("SOME"); !slices.Equal(got, []bool{true, false, false}) {
		t.Errorf("destinations: %v", got)
	}
	if got := offered("ALL"); !slices.Equal(got, []bool{true, true, true}) {
		t.Errorf("all: %v", got)
	}
	// What is taken nevertheless, and refused there, is held with the reason.
	if status := sendObject(t, s.status().Listen.DICOM, "ALL", mr, "1.2.826.31"); status.Code != dimse.Success {
		t.Fatal(status)
	}
	eventually(t, "it is held", func() bool { return s.status().Counts.Held == 1 })
}

// serveOn runs services on a listener until the test ends.
func serveOn(t *testing.T, l net.Listener, m service.Mux) {
	t.Helper()
	server := &association.Server{
		Accept:   m.Answer,
		Handlers: m.Handlers(), Log: slog.New(slog.DiscardHandler),
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(ctx, l)
	}()
	t.Cleanup(func() { cancel(); <-done })
}

// takeAll is store.Handler of a PACS that keeps nothing.
func takeAll(_ context.Context, _ store.Request, dataSet io.Reader) dimse.Status {
	if _, err := io.Copy(io.Discard, dataSet); err != nil {
		return dimse.Status{Code: dimse.ProcessingFailure}
	}
	return dimse.Status{Code: dimse.Success}
}
