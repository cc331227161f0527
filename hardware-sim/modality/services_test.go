package modality

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/find"
	"nhip/dicom/get"
	"nhip/dicom/mpps"
	"nhip/dicom/service"
	"nhip/dicom/store"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
	"nhip/dicom/worklist"
	"nhip/hardware-sim/pacs"
	"nhip/hardware-sim/truth"
)

// full runs a PACS with every service.
func full(t *testing.T, o pacs.Options) (*pacs.PACS, string) {
	t.Helper()
	o.Name, o.Log = "pacs", quiet
	p := pacs.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() { done <- p.Run(ctx, "127.0.0.1:0", func(a net.Addr) { ready <- a.String() }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return p, <-ready
}

// Two studies and a half: each a performed procedure step, each committed, with
// the report on the association that asked, or on one of the PACS.
func TestStepsAndCommitment(t *testing.T) {
	for _, own := range []bool{false, true} {
		log := truth.New(nil, time.Now)
		o := options(log, "", 25)
		o.Steps, o.Commit = true, true
		settings := pacs.Options{Received: log.Arrive}
		if own {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			o.Reports = l.Addr().String()
			l.Close()
			settings.Peers = map[string]string{o.AETitle: o.Reports}
		}
		p, address := full(t, settings)
		o.Address = func() (string, error) { return address, nil }
		m := New(o)
		m.Run(t.Context())
		c := m.Counters()
		if m.Sent() != 25 || c["step begun"] != 3 || c["step completed"] != 3 || c["commitment asked"] != 3 || c["committed"] != 3 || c["not committed"] != 0 {
			t.Errorf("reports of the PACS's own %v: %v", own, c)
		}
		steps := p.Steps()
		for uid, state := range steps {
			if state != mpps.Completed {
				t.Errorf("%s is %s", uid, state)
			}
		}
		if len(steps) != 3 {
			t.Errorf("%d steps", len(steps))
		}
	}
}

// What a PACS was told to keep is found and comes back; its worklist answers.
func TestPACSAnswersQueries(t *testing.T) {
	log := truth.New(nil, time.Now)
	step := dicom.NewDataset()
	if err := step.SetText(tag.PatientName, "DOE^JANE"); err != nil {
		t.Fatal(err)
	}
	_, address := full(t, pacs.Options{Received: log.Arrive, Keep: 1 << 20, Worklist: worklist.List{step}})
	New(options(log, address, 3)).Run(t.Context())
	p := association.Proposal{Calling: "WS", Called: "PACS"}
	var came int
	get.Propose(&p, find.StudyRoot, []store.Kind{
		{SOPClassUID: uid.CTImageStorage, TransferSyntaxUID: uid.ExplicitVRLittleEndian}, {SOPClassUID: uid.CTImageStorage, TransferSyntaxUID: uid.ImplicitVRLittleEndian},
		{SOPClassUID: uid.MRImageStorage, TransferSyntaxUID: uid.ExplicitVRLittleEndian}, {SOPClassUID: uid.MRImageStorage, TransferSyntaxUID: uid.ImplicitVRLittleEndian},
	}, func(_ context.Context, _ store.Request, r io.Reader) dimse.Status { came++; return dimse.Status{} })
	more := service.Propose("1.2", find.StudyRoot.Find(), worklist.Class)[1:]
	for i := range more {
		more[i].ID = byte(101 + 2*i)
	}
	p.Contexts = append(p.Contexts, more...)
	a, err := association.Dial(t.Context(), address, p)
	if err != nil {
		t.Fatal(err)
	}
	keys := dicom.NewDataset()
	keys.SetText(tag.QueryRetrieveLevel, "STUDY")
	keys.SetEmpty(tag.StudyInstanceUID)
	var studies []string
	if _, _, err := find.Find(t.Context(), a, find.StudyRoot.Find(), keys, func(d *dicom.Dataset) bool {
		studies = append(studies, d.Text(tag.StudyInstanceUID))
		return true
	}); err != nil || len(studies) != 1 {
		t.Fatalf("%q, %v", studies, err)
	}
	keys.SetText(tag.StudyInstanceUID, studies[0])
	if r, err := get.Get(t.Context(), a, find.StudyRoot, keys, nil); err != nil || r.Completed != 3 || came != 3 {
		t.Errorf("%+v, %v, %d came", r, err, came)
	}
	n := 0
	if _, _, err := worklist.Find(t.Context(), a, worklist.Query{}, func(*dicom.Dataset) bool { n++; return true }); err != nil || n != 1 {
		t.Errorf("%d scheduled steps, %v", n, err)
	}
	if err := a.Release(t.Context()); err != nil {
		t.Error(err)
	}
}
