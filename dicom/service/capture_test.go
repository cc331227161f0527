package service_test

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/commitment"
	"nhip/dicom/dimse"
	"nhip/dicom/film"
	"nhip/dicom/find"
	"nhip/dicom/get"
	"nhip/dicom/ian"
	"nhip/dicom/internal/capture"
	"nhip/dicom/move"
	"nhip/dicom/mpps"
	"nhip/dicom/retrieve"
	"nhip/dicom/retrieve/retrievetest"
	"nhip/dicom/service"
	"nhip/dicom/service/servicetest"
	"nhip/dicom/store"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
	"nhip/dicom/worklist"
)

// steps keeps performed procedure steps in memory.
type steps struct {
	mu  sync.Mutex
	all map[string]*dicom.Dataset
}

func (s *steps) Create(_ context.Context, r mpps.Request, d *dicom.Dataset) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[r.SOPInstanceUID] != nil {
		return mpps.ErrExists
	}
	s.all[r.SOPInstanceUID] = d
	return nil
}

func (s *steps) Get(_ context.Context, instance string) (*dicom.Dataset, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[instance], nil
}

func (s *steps) Set(_ context.Context, r mpps.Request, _, step *dicom.Dataset) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[r.SOPInstanceUID] = step
	return nil
}

// paper prints nothing.
type paper struct{}

type gone struct{}

func (gone) Write(b []byte) (int, error) { return len(b), nil }
func (gone) Close() error                { return nil }
func (gone) Discard()                    {}

func (paper) Pixels(context.Context, service.Peer, *film.Image) (film.Sink, error) {
	return gone{}, nil
}
func (paper) Print(context.Context, service.Peer, []film.Film) dimse.Status { return dimse.Status{} }
func (paper) Status() film.PrinterStatus                                    { return film.PrinterStatus{Name: "PAPER"} }

// everyService are all services of this module at one application entity. Reports of
// storage commitment go to an address, and moved objects to another.
func everyService(t *testing.T, a *retrievetest.Archive, reports, moved func() string) service.Mux {
	roots := []find.Root{find.PatientRoot, find.StudyRoot}
	films := &film.SCP{Printer: paper{}}
	t.Cleanup(films.Wait)
	var work sync.WaitGroup
	t.Cleanup(work.Wait)
	committed := &commitment.SCP{
		Accept: func(context.Context, commitment.Request) dimse.Status { return dimse.Status{} },
		Answered: func(r commitment.Request, _ *association.Association) {
			work.Go(func() {
				p := association.Proposal{Calling: "NHIP", Called: r.Calling}
				commitment.ProposeReport(&p)
				a, err := association.Dial(context.Background(), reports(), p)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := commitment.SendReport(context.Background(), a, r.UID, commitment.Outcome{Committed: r.References}); err != nil {
					t.Error(err)
				}
				a.Release(context.Background())
			})
		},
	}
	step := dicom.NewDataset()
	for t0, v := range map[tag.Tag]string{tag.Modality: "CT", tag.ScheduledStationAETitle: "CT1", tag.ScheduledProcedureStepStartDate: "20260114", tag.ScheduledProcedureStepStartTime: "101500"} {
		if err := step.SetText(t0, v); err != nil {
			t.Fatal(err)
		}
	}
	item := dicom.NewDataset()
	for _, err := range []error{item.SetText(tag.SpecificCharacterSet, "ISO_IR 192"), item.SetText(tag.PatientName, "Nguyễn^Hoa"), item.SetItems(tag.ScheduledProcedureStepSequence, step)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return append(storage(a),
		(&find.SCP{Source: a}).Service(roots...), (&get.SCP{Source: a}).Service(roots...),
		(&move.SCP{Source: a, Destination: func(_ context.Context, q retrieve.Query) (move.Destination, bool) {
			return move.Destination{Address: moved(), Proposal: association.Proposal{Calling: "NHIP", Called: q.Destination}}, true
		}}).Service(roots...),
		worklist.SCP(worklist.List{item}, worklist.Options{}), (&mpps.SCP{Keeper: &steps{all: map[string]*dicom.Dataset{}}}).Service(),
		committed.Service(), films.Service(),
		ian.SCP(func(context.Context, service.Peer, ian.Notification) dimse.Status { return dimse.Status{} }),
	)
}

// In a capture of every service, with DCMTK, dcmjs-dimse and Orthanc at the other end
// and in both roles, tshark finds nothing wrong.
func TestCaptureOfEveryService(t *testing.T) {
	servicetest.Need(t, "tshark", "findscu", "getscu", "movescu", "storescp")
	c := capture.New()
	archive := retrievetest.New(t)
	storePort, reportPort := servicetest.FreePort(t), servicetest.FreePort(t)
	dir := t.TempDir()
	servicetest.Start(t, storePort, dir, "storescp", "+xa", "-od", dir, storePort)
	moved, reports := c.Between(t, "127.0.0.1:"+storePort), c.Between(t, "127.0.0.1:"+reportPort)
	us := c.Between(t, servicetest.Serve(t, everyService(t, archive, func() string { return reports }, func() string { return moved })))
	host, port := servicetest.Split(t, us)

	ask := func(want, name string, args ...string) {
		t.Helper()
		out, err := servicetest.Run(t, t.TempDir(), name, args...)
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v: no %q in %s", name, err, want, out)
		}
	}
	script := func(want, file string, args ...string) {
		t.Helper()
		name, all := servicetest.Node(t, filepath.Join("..", file), args...)
		ask(want, name, all...)
	}
	ask("Find Response: 1 (Pending)", "findscu", "-v", "-S", "-aec", "NHIP", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID", host, port)
	ask("Find Response: 1 (Pending)", "findscu", "-v", "-W", "-aec", "NHIP", "-k", "PatientName", host, port)
	uids := studies(t, us)
	ask("Success", "getscu", "-v", "-S", "-aec", "NHIP", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID="+uids[0], host, port)
	ask("Success", "movescu", "-v", "-S", "-aec", "NHIP", "-aem", "STORE", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID="+uids[0], host, port)
	script("complete 0000", "mpps/testdata/scu.js", host, port, "1.2.826.1")
	script("report 1", "commitment/testdata/scu.js", host, port, reportPort, "NHIP", "1.2.826.2", "1.2.826.3")
	script("delete 0000", "film/testdata/scu.js", host, port)

	orthanc := servicetest.StartOrthanc(t, map[string]any{"DicomModalities": map[string]any{
		"nhip": map[string]any{"AET": "NHIP", "Host": "127.0.0.1", "Port": json.Number(reportPort), "AllowStorageCommitment": true},
	}})
	asSCU(t, c.Between(t, orthanc.Address), archive, find.StudyRoot.Find(), commitment.Class)
	asSCU(t, us, archive, find.PatientRoot.Find(), mpps.Class, ian.Class)
	printFilm(t, us)

	file := filepath.Join(t.TempDir(), "capture.pcap")
	if err := c.Write(file); err != nil {
		t.Fatal(err)
	}
	kinds, pdus := capture.Complaints(t, file)
	t.Logf("%d PDUs: %v", pdus, kinds)
	if pdus < 200 {
		t.Errorf("tshark has read %d PDUs", pdus)
	}
	for kind, n := range kinds {
		t.Errorf("%d times: %s", n, kind)
	}
}

// studies are the Study Instance UIDs that a peer has.
func studies(t *testing.T, address string) (uids []string) {
	t.Helper()
	a := servicetest.Dial(t, address, association.Proposal{Called: "NHIP", Contexts: service.Propose(find.StudyRoot.Find())})
	defer servicetest.Release(t, a)
	if _, _, err := find.Find(t.Context(), a, find.StudyRoot.Find(), retrievetest.Keys(find.Study, tag.StudyInstanceUID, ""), func(d *dicom.Dataset) bool {
		uids = append(uids, d.Text(tag.StudyInstanceUID))
		return true
	}); err != nil || len(uids) == 0 {
		t.Fatal(err, uids)
	}
	return uids
}

// asSCU uses the services of a peer: it stores, and asks what the classes are for.
func asSCU(t *testing.T, address string, archive *retrievetest.Archive, classes ...string) {
	t.Helper()
	var kinds []store.Kind
	for _, o := range archive.Objects() {
		kinds = append(kinds, store.Kind{SOPClassUID: o.Class, TransferSyntaxUID: o.Syntax})
	}
	contexts, _ := store.Contexts(kinds)
	a := servicetest.Dial(t, address, association.Proposal{Called: "ORTHANC", Contexts: contexts})
	for _, o := range archive.Objects() {
		if _, err := store.Send(t.Context(), a, store.Object{SOPClassUID: o.Class, SOPInstanceUID: o.Instance, TransferSyntaxUID: o.Syntax, DataSet: bytes.NewReader(o.Data)}); err != nil {
			t.Fatal(err)
		}
	}
	servicetest.Release(t, a)
	a = servicetest.Dial(t, address, association.Proposal{Called: "ORTHANC", Contexts: service.Propose(classes...)})
	ref := commitment.Reference{SOPClassUID: archive.Objects()[0].Class, SOPInstanceUID: archive.Objects()[0].Instance}
	for _, class := range classes {
		var err error
		switch class {
		case mpps.Class:
			_, _, err = mpps.Create(t.Context(), a, "1.2.826.9", dicom.NewDataset())
		case ian.Class:
			_, err = ian.Send(t.Context(), a, ian.Notification{StudyInstanceUID: "1.2.826.4", Series: []ian.Series{{SeriesInstanceUID: "1.2.826.5", Instances: []ian.Instance{
				{SOPClassUID: ref.SOPClassUID, SOPInstanceUID: ref.SOPInstanceUID, Availability: ian.Online, RetrieveAETitle: "PACS"}}}}})
		case commitment.Class:
			_, err = commitment.Ask(t.Context(), a, commitment.Transaction{UID: "1.2.826.7", References: []commitment.Reference{ref}})
		default:
			level := find.Study
			if class == find.PatientRoot.Find() {
				level = find.Patient
			}
			_, _, err = find.Find(t.Context(), a, class, retrievetest.Keys(level, tag.PatientID, ""), func(*dicom.Dataset) bool { return true })
		}
		if err != nil {
			t.Errorf("%s: %v", uid.Name(class), err)
		}
	}
	servicetest.Release(t, a)
}

func printFilm(t *testing.T, address string) {
	t.Helper()
	var p association.Proposal
	film.Propose(&p)
	a := servicetest.Dial(t, address, p)
	box := dicom.NewDataset()
	if err := box.SetBytes(tag.ImageDisplayFormat, dicom.ST, []byte(`STANDARD\1,1`)); err != nil {
		t.Fatal(err)
	}
	picture := film.Picture{Position: 1, Rows: 16, Columns: 16, Samples: 1, Stored: 8, Photometric: "MONOCHROME2", Pixels: bytes.NewReader(make([]byte, 256))}
	if _, err := film.Print(t.Context(), a, film.Job{Sheets: []film.Sheet{{Box: box, Pictures: []film.Picture{picture}}}}); err != nil {
		t.Error(err)
	}
	servicetest.Release(t, a)
}
