package move_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/echo"
	"nhip/dicom/find"
	"nhip/dicom/get"
	"nhip/dicom/move"
	"nhip/dicom/retrieve"
	"nhip/dicom/retrieve/retrievetest"
	"nhip/dicom/service"
	"nhip/dicom/service/servicetest"
	"nhip/dicom/store"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// archiveSCP is every service of an archive, which moves to the destinations
// given.
func archiveSCP(a *retrievetest.Archive, destinations map[string]string) service.Mux {
	stores := store.Accepts()
	return service.Mux{
		{AbstractSyntax: echo.Accepts, Handlers: map[dimse.CommandField]association.Handler{dimse.CEchoRQ: echo.Handle}},
		{AbstractSyntax: stores, TransferSyntax: uid.IsTransferSyntax, Handlers: map[dimse.CommandField]association.Handler{dimse.CStoreRQ: store.Handle(a.Store)}},
		(&find.SCP{Source: a}).Service(find.PatientRoot, find.StudyRoot),
		(&move.SCP{Source: a, Destination: func(_ context.Context, q retrieve.Query) (move.Destination, bool) {
			address, ok := destinations[q.Destination]
			return move.Destination{Address: address, Proposal: association.Proposal{Calling: q.Called, Called: q.Destination}}, ok
		}}).Service(find.PatientRoot, find.StudyRoot),
		(&get.SCP{Source: a}).Service(find.PatientRoot, find.StudyRoot),
	}
}

// sums of the Part 10 files in a folder, as Archive.Sums has them.
func sums(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m, err := dicom.ReadPart10(strings.NewReader(string(b)))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all = append(all, fmt.Sprintf("%s %s %x", m.SOPInstanceUID, m.TransferSyntaxUID, sha256.Sum256(b[m.DataSet:])))
	}
	slices.Sort(all)
	return all
}

// answers runs findscu and returns an attribute of each answer, sorted.
func answers(t *testing.T, address string, what tag.Tag, args ...string) []string {
	t.Helper()
	dir := t.TempDir()
	host, port := servicetest.Split(t, address)
	out, err := servicetest.Run(t, dir, "findscu", append(args, "-X", "-aec", "NHIP", host, port)...)
	if err != nil {
		t.Fatalf("findscu %v: %v: %s", args, err, out)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "rsp*.dcm"))
	var all []string
	for _, path := range files {
		r, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := dicom.ReadFile(r, dicom.Limits{})
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f.Text(what))
	}
	slices.Sort(all)
	return all
}

func TestFindscu(t *testing.T) {
	servicetest.Need(t, "findscu")
	address := servicetest.Serve(t, archiveSCP(retrievetest.New(t), nil))
	for _, c := range []struct {
		args string
		what tag.Tag
		want string
	}{
		{"-S -k QueryRetrieveLevel=STUDY -k StudyInstanceUID -k PatientName", tag.StudyInstanceUID, "1.2.826.1 1.2.826.2 1.2.826.3"},
		{"-S -k QueryRetrieveLevel=STUDY -k StudyInstanceUID -k PatientName=d*", tag.PatientName, "DOE^JOHN"},
		{"-S -k QueryRetrieveLevel=STUDY -k StudyInstanceUID -k PatientName=nguy*", tag.StudyInstanceUID, "1.2.826.1 1.2.826.2"},
		{"-S -k QueryRetrieveLevel=STUDY -k StudyInstanceUID=1.2.826.2\\1.2.826.3", tag.StudyInstanceUID, "1.2.826.2 1.2.826.3"},
		{"-S -k QueryRetrieveLevel=STUDY -k StudyInstanceUID -k AccessionNumber=A?", tag.AccessionNumber, ""},
		{"-S -k QueryRetrieveLevel=STUDY -k StudyInstanceUID -k StudyDate=20270101-", tag.StudyInstanceUID, ""},
		{"-S -k QueryRetrieveLevel=SERIES -k StudyInstanceUID=1.2.826.1 -k SeriesInstanceUID", tag.SeriesInstanceUID, "1.2.826.1.1 1.2.826.1.2"},
		{"-S -k QueryRetrieveLevel=IMAGE -k StudyInstanceUID=1.2.826.1 -k SeriesInstanceUID=1.2.826.1.2 -k SOPInstanceUID", tag.SOPInstanceUID, "1.2.826.1.2.1 1.2.826.1.2.2 1.2.826.1.2.3"},
		{"-P -k QueryRetrieveLevel=PATIENT -k PatientID", tag.PatientID, "P-1 P-2"},
		{"-P -k QueryRetrieveLevel=STUDY -k PatientID=P-2 -k StudyInstanceUID", tag.StudyInstanceUID, "1.2.826.3"},
	} {
		want := strings.Fields(c.want)
		if strings.Contains(c.args, "A?") {
			want = []string{"A1", "A2", "A3"}
		}
		if got := answers(t, address, c.what, strings.Fields(c.args)...); !slices.Equal(got, want) {
			t.Errorf("%s: %q", c.args, got)
		}
	}
	host, port := servicetest.Split(t, address)
	out, _ := servicetest.Run(t, t.TempDir(), "findscu", "-v", "-S", "-k", "QueryRetrieveLevel=SERIES", "-k", "SeriesInstanceUID", host, port)
	if !strings.Contains(out, "DataSetDoesNotMatchSOPClass") {
		t.Errorf("series of no study: %s", out)
	}
	out, err := servicetest.Run(t, t.TempDir(), "findscu", "-v", "--cancel", "1", "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID", host, port)
	if err != nil {
		t.Errorf("cancelled: %v: %s", err, out)
	}
}

func TestMovescu(t *testing.T) {
	servicetest.Need(t, "movescu")
	archive, dir, port := retrievetest.New(t), t.TempDir(), servicetest.FreePort(t)
	host, ours := servicetest.Split(t, servicetest.Serve(t, archiveSCP(archive, map[string]string{"MOVESCU": "127.0.0.1:" + port})))
	args := func(destination string, keys ...string) []string {
		return append([]string{"-v", "-S", "-aec", "NHIP", "-aem", destination, "--port", port, "-od", dir}, append(keys, host, ours)...)
	}
	for _, keys := range [][]string{
		{"-k", "QueryRetrieveLevel=STUDY", "-k", `StudyInstanceUID=1.2.826.1\1.2.826.2`},
		{"-k", "QueryRetrieveLevel=SERIES", "-k", "StudyInstanceUID=1.2.826.3", "-k", "SeriesInstanceUID=1.2.826.3.1"},
	} {
		if out, err := servicetest.Run(t, dir, "movescu", args("MOVESCU", keys...)...); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(files) != len(archive.Objects()) {
		t.Errorf("%d of %d objects arrived", len(files), len(archive.Objects()))
	}
	out, err := servicetest.Run(t, dir, "movescu", args("NOBODY", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.826.1")...)
	if !strings.Contains(out, "MoveDestinationUnknown") {
		t.Errorf("unknown destination: %v: %s", err, out)
	}
}

func TestGetscu(t *testing.T) {
	servicetest.Need(t, "getscu")
	archive, dir := retrievetest.New(t), t.TempDir()
	host, port := servicetest.Split(t, servicetest.Serve(t, archiveSCP(archive, nil)))
	out, err := servicetest.Run(t, dir, "getscu", "-v", "-S", "-aec", "NHIP", "+B", "-od", dir, "-k", "QueryRetrieveLevel=STUDY", "-k", `StudyInstanceUID=1.2.826.1\1.2.826.3`, host, port)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := slices.DeleteFunc(archive.Sums(), func(s string) bool { return strings.HasPrefix(s, "1.2.826.2.") })
	if diff := cmp.Diff(want, sums(t, dir)); diff != "" {
		t.Error(diff)
	}
	// The MR images are kept in Implicit VR, and are offered Explicit VR alone.
	out, err = servicetest.Run(t, t.TempDir(), "getscu", "-d", "-P", "-aec", "NHIP", "-k", "QueryRetrieveLevel=PATIENT", "-k", "PatientID=P-1", host, port)
	if err != nil || !strings.Contains(out, "sub-operations failed") {
		t.Errorf("%v: %s", err, out)
	}
}

// sendAll stores the archive's objects at a peer.
func sendAll(t *testing.T, archive *retrievetest.Archive, address, called string) {
	t.Helper()
	var kinds []store.Kind
	for _, o := range archive.Objects() {
		kinds = append(kinds, store.Kind{SOPClassUID: o.Class, TransferSyntaxUID: o.Syntax})
	}
	contexts, _ := store.Contexts(kinds)
	a := servicetest.Dial(t, address, association.Proposal{Calling: "NHIP", Called: called, Contexts: contexts})
	for _, o := range archive.Objects() {
		status, err := store.Send(t.Context(), a, store.Object{SOPClassUID: o.Class, SOPInstanceUID: o.Instance, TransferSyntaxUID: o.Syntax, DataSet: strings.NewReader(string(o.Data))})
		if err != nil || status.Class() != dimse.ClassSuccess {
			t.Fatalf("%v, %v", status, err)
		}
	}
	servicetest.Release(t, a)
}

// queryAndRetrieve asks a peer that has the archive's objects for them, in every
// way.
func queryAndRetrieve(t *testing.T, archive *retrievetest.Archive, address, called string, arrived *retrievetest.Archive) {
	propose := func(t *testing.T, classes ...string) *association.Association {
		return servicetest.Dial(t, address, association.Proposal{Calling: "NHIP", Called: called, Contexts: service.Propose(classes...)})
	}
	t.Run("find", func(t *testing.T) {
		a := propose(t, find.PatientRoot.Find(), find.StudyRoot.Find())
		for _, c := range []struct {
			root find.Root
			keys *dicom.Dataset
			what tag.Tag
			want string
		}{
			{find.StudyRoot, retrievetest.Keys(find.Study, tag.StudyInstanceUID, ""), tag.StudyInstanceUID, "1.2.826.1 1.2.826.2 1.2.826.3"},
			{find.StudyRoot, retrievetest.Keys(find.Study, tag.StudyInstanceUID, "", tag.PatientName, "DOE*"), tag.PatientName, "DOE^JOHN"},
			{find.StudyRoot, retrievetest.Keys(find.Series, tag.StudyInstanceUID, "1.2.826.1", tag.SeriesInstanceUID, ""), tag.SeriesInstanceUID, "1.2.826.1.1 1.2.826.1.2"},
			{find.PatientRoot, retrievetest.Keys(find.Patient, tag.PatientID, "P-1"), tag.PatientID, "P-1"},
		} {
			var got []string
			status, _, err := find.Find(t.Context(), a, c.root.Find(), c.keys, func(d *dicom.Dataset) bool {
				got = append(got, d.Text(c.what))
				return true
			})
			slices.Sort(got)
			if err != nil || status.Code != dimse.Success || !slices.Equal(got, strings.Fields(c.want)) {
				t.Errorf("%s: %v, %v, %q", c.want, status, err, got)
			}
		}
		servicetest.Release(t, a)
	})
	t.Run("move", func(t *testing.T) {
		a := propose(t, find.StudyRoot.Move())
		r, err := move.Move(t.Context(), a, find.StudyRoot, "NHIP", retrievetest.Keys(find.Study, tag.StudyInstanceUID, "1.2.826.1"), nil)
		if err != nil || r.Status.Class() != dimse.ClassSuccess || r.Completed != 6 {
			t.Errorf("%+v, %v", r, err)
		}
		if n := len(arrived.Objects()); n != 6 {
			t.Errorf("%d objects arrived", n)
		}
		r, err = move.Move(t.Context(), a, find.StudyRoot, "NOBODY", retrievetest.Keys(find.Study, tag.StudyInstanceUID, "1.2.826.1"), nil)
		if err != nil || r.Status.Class() != dimse.ClassFailure {
			t.Errorf("%+v, %v", r, err)
		}
		servicetest.Release(t, a)
	})
	t.Run("get", func(t *testing.T) {
		var got retrievetest.Archive
		p := association.Proposal{Calling: "NHIP", Called: called}
		get.Propose(&p, find.StudyRoot, []store.Kind{
			{SOPClassUID: uid.CTImageStorage, TransferSyntaxUID: uid.ExplicitVRLittleEndian}, {SOPClassUID: uid.MRImageStorage, TransferSyntaxUID: uid.ImplicitVRLittleEndian},
		}, got.Store)
		a := servicetest.Dial(t, address, p)
		for _, study := range []string{"1.2.826.1", "1.2.826.2", "1.2.826.3"} {
			r, err := get.Get(t.Context(), a, find.StudyRoot, retrievetest.Keys(find.Study, tag.StudyInstanceUID, study), nil)
			if err != nil || r.Status.Class() != dimse.ClassSuccess {
				t.Errorf("%s: %+v, %v", study, r, err)
			}
		}
		servicetest.Release(t, a)
		if diff := cmp.Diff(archive.Sums(), got.Sums()); diff != "" {
			t.Error(diff)
		}
	})
}

// storageSCP is our storage SCP at an address that peers are configured with.
func storageSCP(t *testing.T, arrived *retrievetest.Archive) string {
	return servicetest.Serve(t, archiveSCP(arrived, nil))
}

func TestDcmqrscp(t *testing.T) {
	servicetest.Need(t, "dcmqrscp")
	archive, arrived, dir, port := retrievetest.New(t), &retrievetest.Archive{}, t.TempDir(), servicetest.FreePort(t)
	_, ours := servicetest.Split(t, storageSCP(t, arrived))
	config := fmt.Sprintf(`NetworkTCPPort = %s
MaxPDUSize = 131072
MaxAssociations = 16
HostTable BEGIN
nhip = (NHIP, 127.0.0.1, %s)
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
QRSCP %s RW (200, 1024mb) ANY
AETable END
`, port, ours, dir)
	path := filepath.Join(t.TempDir(), "qr.cfg")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	servicetest.Start(t, port, dir, "dcmqrscp", "-c", path)
	address := "127.0.0.1:" + port
	sendAll(t, archive, address, "QRSCP")
	queryAndRetrieve(t, archive, address, "QRSCP", arrived)
}

func TestOrthanc(t *testing.T) {
	servicetest.Need(t, "Orthanc")
	archive, arrived, remote := retrievetest.New(t), &retrievetest.Archive{}, retrievetest.New(t)
	_, ours := servicetest.Split(t, storageSCP(t, arrived))
	destinations := map[string]string{}
	_, theirs := servicetest.Split(t, servicetest.Serve(t, archiveSCP(remote, destinations)))
	o := servicetest.StartOrthanc(t, map[string]any{"DicomModalities": map[string]any{
		"nhip":    []any{"NHIP", "127.0.0.1", port(t, ours)},
		"archive": []any{"ARCHIVE", "127.0.0.1", port(t, theirs)},
	}})
	destinations["ORTHANC"] = o.Address
	sendAll(t, archive, o.Address, "ORTHANC")
	queryAndRetrieve(t, archive, o.Address, "ORTHANC", arrived)
	t.Run("SCU", func(t *testing.T) { orthancAsks(t, o) })
}

func port(t *testing.T, s string) int {
	var n int
	if _, err := fmt.Sscan(s, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// orthancAsks lets Orthanc query our archive and retrieve a study to itself by
// C-MOVE.
func orthancAsks(t *testing.T, o *servicetest.Orthanc) {
	var query struct{ ID string }
	o.Post("/modalities/archive/query", map[string]any{"Level": "Study", "Query": map[string]string{"PatientName": "DOE*", "StudyInstanceUID": ""}}, &query)
	var found []string
	o.Get("/queries/"+query.ID+"/answers", &found)
	var answer map[string]struct{ Value any }
	if len(found) != 1 {
		t.Fatalf("answers %v", found)
	}
	o.Get("/queries/"+query.ID+"/answers/0/content", &answer)
	if answer["0020,000d"].Value != "1.2.826.3" || answer["0010,0010"].Value != "DOE^JOHN" {
		t.Errorf("answer %v", answer)
	}
	o.Post("/modalities/archive/query", map[string]any{"Level": "Series", "Query": map[string]string{"StudyInstanceUID": "1.2.826.1", "SeriesInstanceUID": ""}}, &query)
	o.Get("/queries/"+query.ID+"/answers", &found)
	if len(found) != 2 {
		t.Errorf("series %v", found)
	}
	o.Post("/queries/"+query.ID+"/retrieve", []byte("ORTHANC"), nil)
	var list []string
	o.Get("/instances", &list)
	if len(list) != 9 {
		t.Errorf("%d instances", len(list))
	}
}
