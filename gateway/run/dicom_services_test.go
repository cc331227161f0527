package run

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/commitment"
	"nhip/dicom/dimse"
	"nhip/dicom/film"
	"nhip/dicom/service"
	"nhip/dicom/service/servicetest"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
	"nhip/gateway/control"
)

func dicomBlock(name, address, title, rest string) string {
	return "[[destination]]\nname = \"" + name + "\"\nkind = \"dicom\"\naddress = \"" + address + "\"\ncalled_ae_title = \"" + title + "\"\n" + rest + "\n"
}

// A step goes on to a RIS that was not there when it was told, in its order, over a
// restart. The RIS is dcmjs-dimse, which takes no N-SET of a step that it does not have.
func TestAPerformedProcedureStepIsPassedOn(t *testing.T) {
	t.Parallel()
	port := servicetest.FreePort(t)
	s := newSite(t, modalityBlock("ct-1", "DCMJS", `to = ["ris"]`)+dicomBlock("ris", "127.0.0.1:"+port, "RIS", "mpps = true\nimages = false"))
	name, args := servicetest.Node(t, "../../dicom/mpps/testdata/scu.js")
	host, ours := servicetest.Split(t, s.status().Listen.DICOM)
	if out, err := servicetest.Run(t, t.TempDir(), name, append(args, host, ours, "1.2.826.78")...); err != nil || !strings.Contains(out, "complete 0000") {
		t.Fatalf("%v: %s", err, out)
	}
	eventually(t, "N-CREATE and N-SET wait", func() bool { return s.status().Counts.Queued == 2 })
	s.stop()
	ris, args := servicetest.Node(t, "../../dicom/mpps/testdata/scp.js", port)
	servicetest.Start(t, port, t.TempDir(), ris, args...)
	s.start()
	eventually(t, "both are accepted", func() bool { return s.status().Counts.Delivered == 2 })
	if c := s.status().Counts; c.Held != 0 || c.Consumed != 0 {
		t.Errorf("%+v", c)
	}
	// Images do not go there.
	if status := sendObject(t, s.status().Listen.DICOM, "DCMJS", ctImage, "1.2.826.79"); status.Code != dimse.Success {
		t.Fatal(status)
	}
	eventually(t, "an image goes nowhere", func() bool { return s.status().Counts.Kinds["no_destination"] == 1 })
}

// files are the Part 10 files under a folder.
func files(t *testing.T, dir string) (all []*dicom.File) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasSuffix(path, ".json") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := dicom.ParseFile(b, dicom.Limits{})
		if err == nil {
			all = append(all, f)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A film of dcmjs-dimse becomes an image at a PACS, once a person has let it go there
// without a patient. dciodvfy finds no error in it.
func TestAFilmBecomesAnImage(t *testing.T) {
	t.Parallel()
	need(t, "storescp", "dciodvfy")
	dir := t.TempDir()
	pacs := storescp(t, dir)
	s := newSite(t, "[dicom]\nlisten = \"127.0.0.1:0\"\nae_title = \"PRINTSCP\"\n"+modalityBlock("old-ct", "OLDCT", "to = [\"pacs\"]\nprint = \"hold\"")+dicomBlock("pacs", pacs, "STORESCP", ""))
	name, args := servicetest.Node(t, "../../dicom/film/testdata/scu.js")
	host, port := servicetest.Split(t, s.status().Listen.DICOM)
	out, err := servicetest.Run(t, t.TempDir(), name, append(args, host, port)...)
	if err != nil || !strings.Contains(out, "print 0000") || !strings.Contains(out, "delete 0000") {
		t.Fatalf("%v: %s", err, out)
	}
	eventually(t, "the film is held", func() bool { return s.status().Counts.Held == 1 })
	held := s.status().Held[0]
	if !strings.Contains(held.Reason, "names no patient") || held.Connection != "old-ct" {
		t.Errorf("%+v", held)
	}
	if err := control.Call(t.Context(), s.data, "Anna", "release", ItemRequest{ID: held.ID}, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is delivered", func() bool { return s.status().Counts.Delivered == 1 })
	all := files(t, dir)
	if len(all) != 1 {
		t.Fatalf("%d files", len(all))
	}
	f := all[0]
	rows, _ := f.Int(tag.Rows)
	columns, _ := f.Int(tag.Columns)
	if rows != 64 || columns != 32 || f.Text(tag.SOPClassUID) != uid.SecondaryCaptureImageStorage || f.Text(tag.PatientID) != "" || f.Text(tag.ConversionType) != "DF" {
		t.Errorf("%d rows, %d columns, %s of patient %q", rows, columns, f.Text(tag.SOPClassUID), f.Text(tag.PatientID))
	}
	want := make([]byte, 2048) // the two images one above the other, as the script makes them
	for i := range want {
		want[i] = byte(i % 1024 * (1 + i/1024))
	}
	if !bytes.Equal(f.Bytes(tag.PixelData), want) {
		t.Error("the pixels are not those of the images")
	}
	entries, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(entries) != 1 {
		t.Fatal(entries, err)
	}
	if out, _ := servicetest.Run(t, t.TempDir(), "dciodvfy", entries[0]); strings.Contains(out, "Error") {
		t.Errorf("dciodvfy: %s", out)
	}
	if left, _ := filepath.Glob(filepath.Join(s.data, "film", "*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A film whose session proposes a study goes with its patient; the same session UID
// for another patient is another study.
func TestAFilmWithAPatientIsSent(t *testing.T) {
	t.Parallel()
	need(t, "storescp")
	dir := t.TempDir()
	s := newSite(t, modalityBlock("us-1", "US1", "to = [\"pacs\"]\nprint = \"hold\"")+modalityBlock("ct-1", "CT1", "")+dicomBlock("pacs", storescp(t, dir), "STORESCP", ""))
	var p association.Proposal
	film.Propose(&p)
	p.Calling, p.Called = "US1", "NHIP"
	print := func(patient string) {
		a := servicetest.Dial(t, s.status().Listen.DICOM, p)
		session := dicom.NewDataset()
		if err := session.SetItems(tag.ProposedStudySequence, dataset(t, tag.PatientID, patient, tag.AccessionNumber, "A-7")); err != nil {
			t.Fatal(err)
		}
		box := dicom.NewDataset()
		if err := box.SetBytes(tag.ImageDisplayFormat, dicom.ST, []byte(`STANDARD\1,1`)); err != nil {
			t.Fatal(err)
		}
		picture := film.Picture{Position: 1, Rows: 20, Columns: 30, Samples: 1, Stored: 12, Photometric: "MONOCHROME2", Pixels: bytes.NewReader(make([]byte, 1200))}
		warnings, err := film.Print(t.Context(), a, film.Job{Session: session, Sheets: []film.Sheet{{Box: box, Pictures: []film.Picture{picture}}}})
		if err != nil || len(warnings) != 0 {
			t.Fatal(err, warnings)
		}
		servicetest.Release(t, a)
	}
	print("P-1")
	print("P-2")
	eventually(t, "both are delivered", func() bool { return s.status().Counts.Delivered == 2 })
	studies, patients := map[string]bool{}, map[string]bool{}
	for _, f := range files(t, dir) {
		studies[f.Text(tag.StudyInstanceUID)], patients[f.Text(tag.PatientID)] = true, true
		if n, _ := f.Int(tag.BitsStored); n != 12 || f.Text(tag.AccessionNumber) != "A-7" {
			t.Errorf("%d bits, accession number %q", n, f.Text(tag.AccessionNumber))
		}
	}
	if len(studies) != 2 || !patients["P-1"] || !patients["P-2"] {
		t.Errorf("studies %v, patients %v", studies, patients)
	}
	// Who may not print is not offered it.
	p.Calling = "CT1"
	a := servicetest.Dial(t, s.status().Listen.DICOM, p)
	for _, c := range a.Answers() {
		if c.TransferSyntax != "" {
			t.Errorf("%v is accepted", c)
		}
	}
	a.Abort("seen")
}

// What the gateway holds is found and retrieved by DCMTK's tools, by who may.
func TestAPeerQueriesAndRetrieves(t *testing.T) {
	t.Parallel()
	need(t, "findscu", "getscu", "movescu", "storescp")
	moved := t.TempDir()
	pacs := storescp(t, moved)
	s := newSite(t, modalityBlock("ct-1", "CT1", "")+modalityBlock("ws-1", "WS1", "query = true")+dicomBlock("pacs", pacs, "STORESCP", ""))
	for _, instance := range []string{"1.2.826.101", "1.2.826.102"} {
		if status := sendObject(t, s.status().Listen.DICOM, "CT1", ctImage, instance); status.Code != dimse.Success {
			t.Fatal(status)
		}
	}
	eventually(t, "they are in the index", func() bool { return s.status().Counts.Consumed == 2 })
	host, port := servicetest.Split(t, s.status().Listen.DICOM)
	run := func(title, name string, args ...string) (string, error) {
		c := dcmtk(t.Context(), name, append([]string{"-v", "-aet", title, "-aec", "NHIP"}, args...)...)
		b, err := c.CombinedOutput()
		return string(b), err
	}
	find := func(keys ...string) []*dicom.File {
		dir := t.TempDir()
		args := []string{"-X", "-od", dir}
		for _, k := range keys {
			args = append(args, "-k", k)
		}
		if out, err := run("WS1", "findscu", append(args, "-S", host, port)...); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return files(t, dir)
	}
	for _, keys := range [][]string{{}, {"PatientID=P-1"}, {"StudyInstanceUID=1.2.826.1"}, {"PatientID=P*"}, {"ModalitiesInStudy=CT"}} {
		got := find(append([]string{"QueryRetrieveLevel=STUDY", "NumberOfStudyRelatedInstances", "StudyInstanceUID", "PatientID"}, keys...)...)
		if len(got) != 1 || got[0].Text(tag.NumberOfStudyRelatedInstances) != "2" || got[0].Text(tag.StudyInstanceUID) != "1.2.826.1" || got[0].Text(tag.PatientID) != "P-1" {
			t.Errorf("%v: %d answers", keys, len(got))
		}
	}
	if got := find("QueryRetrieveLevel=STUDY", "StudyInstanceUID", "PatientID=NOBODY"); len(got) != 0 {
		t.Errorf("of nobody: %d", len(got))
	}
	images := find("QueryRetrieveLevel=IMAGE", "StudyInstanceUID=1.2.826.1", "SeriesInstanceUID=1.2.826.1.1", "SOPInstanceUID")
	if len(images) != 2 {
		t.Errorf("%d images", len(images))
	}
	got := t.TempDir()
	out, err := run("WS1", "getscu", "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.826.1", "-od", got, host, port)
	if all := files(t, got); err != nil || len(all) != 2 {
		t.Errorf("%v: %d objects by C-GET: %s", err, len(all), out)
	}
	out, err = run("WS1", "movescu", "-S", "-aem", "STORESCP", "-k", "QueryRetrieveLevel=IMAGE", "-k", "StudyInstanceUID=1.2.826.1", "-k", "SeriesInstanceUID=1.2.826.1.1", "-k", "SOPInstanceUID=1.2.826.102", host, port)
	if all := files(t, moved); err != nil || len(all) != 1 || all[0].Text(tag.SOPInstanceUID) != "1.2.826.102" {
		t.Errorf("%v: %d objects by C-MOVE: %s", err, len(all), out)
	}
	if out, _ = run("WS1", "movescu", "-S", "-aem", "NOBODY", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.826.1", host, port); !strings.Contains(out, "MoveDestination") && !strings.Contains(out, "0xa801") {
		t.Errorf("to nobody: %s", out)
	}
	if out, _ = run("CT1", "findscu", "-S", "-k", "QueryRetrieveLevel=STUDY", host, port); !strings.Contains(out, "No Acceptable Presentation Contexts") {
		t.Errorf("who may not: %s", out)
	}
}

// A modality that has to give a user and a password is rejected without them.
func TestAModalityGivesItsUser(t *testing.T) {
	t.Parallel()
	need(t, "storescu", "dump2dcm")
	dir := t.TempDir()
	object := filepath.Join(dir, "o.dcm")
	d := dataset(t, tag.SOPClassUID, ctImage, tag.SOPInstanceUID, "1.2.826.111", tag.StudyInstanceUID, "1.2.826.1", tag.SeriesInstanceUID, "1.2.826.1.1", tag.Modality, "CT", tag.PatientID, "P-1")
	f, err := dicom.NewFile(d, uid.ExplicitVRLittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	password := filepath.Join(dir, "ct.pw")
	for name, text := range map[string][]byte{object: b.Bytes(), password: []byte("mật khẩu\n")} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := newSite(t, modalityBlock("ct-1", "CT1", "user = \"may-ct\"\npassword_file = \""+password+"\"")+modalityBlock("mr-1", "MR1", "user = \"may-mr\"")+modalityBlock("us-1", "US1", ""))
	host, port := servicetest.Split(t, s.status().Listen.DICOM)
	for _, c := range []struct {
		title string
		args  []string
		good  bool
	}{
		{"CT1", []string{"-usr", "may-ct", "-pwd", "mật khẩu"}, true},
		{"CT1", []string{"-usr", "may-ct", "-pwd", "mật khẩu", "-rsp"}, true},
		{"CT1", []string{"-usr", "may-ct", "-pwd", "mat khau"}, false},
		{"CT1", []string{"-usr", "may-mr", "-pwd", "mật khẩu"}, false},
		{"CT1", []string{"-usr", "may-ct"}, false},
		{"CT1", nil, false},
		{"MR1", []string{"-usr", "may-mr", "-rsp"}, true},
		{"MR1", []string{"-usr", "may-ct"}, false},
		{"MR1", nil, false},
		{"US1", []string{"-usr", "who", "-pwd", "ever"}, true},
		{"US1", nil, true},
	} {
		out, err := dcmtk(t.Context(), "storescu", slices.Concat([]string{"-v", "-aet", c.title, "-aec", "NHIP"}, c.args, []string{host, port, object})...).CombinedOutput()
		rejected := strings.Contains(string(out), "Rejected Permanent") && strings.Contains(string(out), "Provider (ACSE Related)")
		if (err == nil) != c.good || rejected == c.good {
			t.Errorf("%s %q: %v: %s", c.title, c.args, err, out)
		}
	}
	if strings.Contains(s.log.String(), "khẩu") || strings.Contains(s.log.String(), "mat khau") {
		t.Error("a password is in the log")
	}
}

// A modality that speaks TLS takes the reports of storage commitment by TLS.
func TestCommitmentIsReportedByTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ours, ourKey := certificate(t, dir, "nhip")
	ct, ctKey := certificate(t, dir, "ct-1")
	ca := vouched(t, dir, ours, ct)
	port := servicetest.FreePort(t)
	s := newSite(t, "[dicom]\nlisten = \"127.0.0.1:0\"\ntls_listen = \"127.0.0.1:0\"\ntls_certificate = \""+ours+"\"\ntls_key = \""+ourKey+"\"\ntls_ca = \""+ca+"\"\n"+
		modalityBlock("ct-1", "CT1", "certificate = \"ct-1.hospital.example\"\nreports = \"127.0.0.1:"+port+"\""))
	modality := association.TLS{Certificate: ct, Key: ctKey, CA: ca, Clients: association.CertificateRequired}
	secured, err := modality.Server()
	if err != nil {
		t.Fatal(err)
	}
	l, err := listenAll([]string{"127.0.0.1:" + port})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan commitment.Received, 10)
	var once sync.Once
	scu := &commitment.SCU{Take: func(_ context.Context, r commitment.Received) dimse.Status {
		once.Do(func() { got <- r })
		return dimse.Status{}
	}}
	serveOn(t, association.Secure(l[0], secured), service.Mux{scu.Service()})
	client, err := association.TLS{Certificate: ct, Key: ctKey, CA: ca, ServerName: "nhip.hospital.example"}.Client()
	if err != nil {
		t.Fatal(err)
	}
	a, err := association.Dial(t.Context(), s.g.states.addresses("dicom tls")[0], association.Proposal{Calling: "CT1", Called: "NHIP", Contexts: service.Propose(commitment.Class), TLS: client})
	if err != nil {
		t.Fatal(err)
	}
	asked := commitment.Transaction{UID: "1.2.826.6", References: []commitment.Reference{{SOPClassUID: ctImage, SOPInstanceUID: "1.2.826.121"}}}
	if status, err := commitment.Ask(t.Context(), a, asked); err != nil || status.Code != dimse.Success {
		t.Fatal(status, err)
	}
	servicetest.Release(t, a)
	if r := <-got; len(r.Failed) != 1 || r.TransactionUID != "1.2.826.6" {
		t.Errorf("%+v", r)
	}
}
