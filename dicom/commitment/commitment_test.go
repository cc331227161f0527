package commitment_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/commitment"
	"nhip/dicom/dimse"
	"nhip/dicom/echo"
	"nhip/dicom/retrieve/retrievetest"
	"nhip/dicom/service"
	"nhip/dicom/service/servicetest"
	"nhip/dicom/store"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
	"nhip/dicom/ul"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ct = uid.CTImageStorage

// outcome of a test archive: what ends with .9 is not there.
func outcome(refs []commitment.Reference) (o commitment.Outcome) {
	for _, r := range refs {
		if strings.HasSuffix(r.SOPInstanceUID, ".9") {
			o.Failed = append(o.Failed, commitment.Failure{Reference: r, Reason: commitment.NoSuchInstance})
		} else {
			o.Committed = append(o.Committed, r)
		}
	}
	return o
}

func refs(instances ...string) (r []commitment.Reference) {
	for _, i := range instances {
		r = append(r, commitment.Reference{SOPClassUID: ct, SOPInstanceUID: i})
	}
	return r
}

// reporting is an SCP that reports over the association of the request, or over
// one of its own to an address.
func reporting(t *testing.T, called string, own func() string) *commitment.SCP {
	return &commitment.SCP{
		Accept: func(context.Context, commitment.Request) dimse.Status { return dimse.Status{} },
		Answered: func(r commitment.Request, a *association.Association) {
			if own == nil {
				report(t, a, r)
				return
			}
			address := own()
			done := make(chan struct{})
			t.Cleanup(func() { <-done })
			go func() {
				defer close(done)
				p := association.Proposal{Calling: r.Called, Called: called}
				commitment.ProposeReport(&p)
				to, err := association.Dial(context.Background(), address, p)
				if err != nil {
					t.Error(err)
					return
				}
				report(t, to, r)
				to.Release(context.Background())
			}()
		},
	}
}

func report(t *testing.T, a *association.Association, r commitment.Request) {
	if s, err := commitment.SendReport(context.Background(), a, r.UID, outcome(r.References)); err != nil || s.Code != dimse.Success {
		t.Errorf("%v, %v", s, err)
	}
}

// receiving is an SCU that hands reports over.
func receiving() (*commitment.SCU, chan commitment.Received) {
	got := make(chan commitment.Received, 10)
	return &commitment.SCU{Take: func(_ context.Context, r commitment.Received) dimse.Status { got <- r; return dimse.Status{} }}, got
}

func TestReportOnTheSameAssociation(t *testing.T) {
	scu, got := receiving()
	scp, reported := reporting(t, "", nil), make(chan struct{})
	answered := scp.Answered
	scp.Answered = func(r commitment.Request, a *association.Association) {
		answered(r, a)
		close(reported)
	}
	address := servicetest.Serve(t, service.Mux{scp.Service()})
	a := servicetest.Dial(t, address, association.Proposal{Called: "PACS", Contexts: service.Propose(commitment.Class), Handlers: scu.Handlers()})
	asked := commitment.Transaction{UID: "1.2.3", References: refs("1.1", "1.2", "1.9")}
	if s, err := commitment.Ask(t.Context(), a, asked); err != nil || s.Code != dimse.Success {
		t.Fatalf("%v, %v", s, err)
	}
	r := <-got
	<-reported
	servicetest.Release(t, a)
	if s := (commitment.Expectation{Transaction: asked, SCP: "PACS"}).Check(r); s.Code != dimse.Success || r.Own || len(r.Failed) != 1 || r.Failed[0].Reason != commitment.NoSuchInstance {
		t.Errorf("%+v: %v", r, s)
	}
}

func TestReportOnAnAssociationOfTheSCP(t *testing.T) {
	scu, got := receiving()
	services := service.Mux{scu.Service()}
	roles := make(chan []ul.RoleSelection, 1)
	ours := servicetest.Server(t, &association.Server{
		Accept:   func(r association.Request) association.Answer { roles <- r.Roles; return services.Answer(r) },
		Handlers: services.Handlers(),
	})
	a := servicetest.Dial(t, servicetest.Serve(t, service.Mux{reporting(t, "NHIP", func() string { return ours }).Service()}),
		association.Proposal{Called: "PACS", Contexts: service.Propose(commitment.Class)})
	asked := commitment.Transaction{UID: "1.2.3", References: refs("1.1", "1.2")}
	if s, err := commitment.Ask(t.Context(), a, asked); err != nil || s.Code != dimse.Success {
		t.Fatalf("%v, %v", s, err)
	}
	servicetest.Release(t, a)
	r := <-got
	if s := (commitment.Expectation{Transaction: asked, SCP: "PACS"}).Check(r); s.Code != dimse.Success || !r.Own {
		t.Errorf("%+v: %v", r, s)
	}
	// The roles are reversed: who proposes is SCP, PS3.4 section J.3.3.
	if diff := cmp.Diff([]ul.RoleSelection{{SOPClassUID: commitment.Class, SCP: true}}, <-roles); diff != "" {
		t.Error(diff)
	}
}

// Class 11 of bad input: a report of somebody else must not be believed.
func TestForgedReports(t *testing.T) {
	asked := commitment.Transaction{UID: "1.2.3", References: refs("1.1", "1.2")}
	e := commitment.Expectation{Transaction: asked, SCP: "PACS"}
	good := commitment.Received{SCP: "PACS", TransactionUID: "1.2.3", Outcome: outcome(asked.References)}
	for name, change := range map[string]func(r *commitment.Received){
		"from another AE":          func(r *commitment.Received) { r.SCP = "EVIL" },
		"of another transaction":   func(r *commitment.Received) { r.TransactionUID = "1.2.4" },
		"of no transaction":        func(r *commitment.Received) { r.TransactionUID = "" },
		"of fewer instances":       func(r *commitment.Received) { r.Committed = r.Committed[:1] },
		"of other instances":       func(r *commitment.Received) { r.Committed = refs("1.1", "1.3") },
		"of more instances":        func(r *commitment.Received) { r.Committed = refs("1.1", "1.2", "1.3") },
		"of one twice":             func(r *commitment.Received) { r.Committed = refs("1.1", "1.1") },
		"of one done and not done": func(r *commitment.Received) { r.Failed = []commitment.Failure{{Reference: asked.References[0]}} },
	} {
		r := good
		r.Committed = slices.Clone(good.Committed)
		change(&r)
		if s := e.Check(r); s.Class() != dimse.ClassFailure {
			t.Errorf("a report %s: %v", name, s)
		}
	}
	if s := e.Check(good); s.Code != dimse.Success {
		t.Errorf("the report: %v", s)
	}
	if s := (commitment.Expectation{SCP: "PACS"}).Check(commitment.Received{SCP: "PACS"}); s.Class() != dimse.ClassFailure {
		t.Error("nothing expected and nothing reported")
	}
}

// action sends an N-ACTION-RQ as it is.
func action(t *testing.T, a *association.Association, c dimse.Command, body io.Reader) dimse.Status {
	t.Helper()
	c.Field = dimse.NActionRQ
	rsp, err := a.Request(t.Context(), 1, c, body)
	if err != nil {
		t.Fatal(err)
	}
	return rsp.Status
}

func TestRequestsThatAreRefused(t *testing.T) {
	scp := &commitment.SCP{Accept: func(context.Context, commitment.Request) dimse.Status { return dimse.Status{} }, MaxRefs: 3}
	a := servicetest.Dial(t, servicetest.Serve(t, service.Mux{scp.Service()}),
		association.Proposal{Contexts: []ul.ProposedContext{{ID: 1, AbstractSyntax: commitment.Class, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}}}})
	for _, c := range []struct {
		name string
		t    commitment.Transaction
		code uint16
	}{
		{"three", commitment.Transaction{UID: "1.2", References: refs("1.1", "1.2", "1.3")}, dimse.Success},
		{"four", commitment.Transaction{UID: "1.2", References: refs("1.1", "1.2", "1.3", "1.4")}, dimse.ResourceLimitation},
		{"none", commitment.Transaction{UID: "1.2"}, dimse.InvalidArgumentValue},
		{"no transaction UID", commitment.Transaction{References: refs("1.1")}, dimse.InvalidArgumentValue},
		{"a path for a transaction UID", commitment.Transaction{UID: "../1", References: refs("1.1")}, dimse.InvalidArgumentValue},
		{"a path for an instance", commitment.Transaction{UID: "1.2", References: refs("../1")}, dimse.InvalidArgumentValue},
		{"a UID of 67 characters", commitment.Transaction{UID: "1.2", References: refs(strings.Repeat("1", 67))}, dimse.ProcessingFailure},
	} {
		if s, err := commitment.Ask(t.Context(), a, c.t); err != nil || s.Code != c.code {
			t.Errorf("%s: %v, %v", c.name, s, err)
		}
	}
	good := dimse.Command{RequestedSOPClassUID: commitment.Class, RequestedSOPInstanceUID: commitment.Instance, ActionTypeID: 1}
	for _, c := range []struct {
		name   string
		change func(*dimse.Command)
		body   io.Reader
		code   uint16
	}{
		{"no data set", func(*dimse.Command) {}, nil, dimse.InvalidArgumentValue},
		{"garbage", func(*dimse.Command) {}, strings.NewReader("GET / HTTP/1.1\r\n"), dimse.ProcessingFailure},
		{"another instance", func(c *dimse.Command) { c.RequestedSOPInstanceUID = "1.2" }, nil, dimse.NoSuchSOPInstance},
		{"another class", func(c *dimse.Command) { c.RequestedSOPClassUID = "1.2" }, nil, dimse.ClassInstanceConflict},
		{"another action", func(c *dimse.Command) { c.ActionTypeID = 2 }, nil, dimse.NoSuchActionType},
	} {
		rq := good
		c.change(&rq)
		if s := action(t, a, rq, c.body); s.Code != c.code {
			t.Errorf("%s: %v", c.name, s)
		}
	}
	servicetest.Release(t, a)
}

// endless is the data set of a request with n references, made as it is read.
type endless struct {
	n, at int
	buf   []byte
	item  [64]byte
}

func (e *endless) Read(p []byte) (int, error) {
	for len(e.buf) == 0 {
		switch {
		case e.at == 0:
			e.buf = []byte("\x08\x00\x95\x11\x04\x00\x00\x001.2\x00\x08\x00\x99\x11\xff\xff\xff\xff")
		case e.at <= e.n:
			e.buf = fmt.Appendf(e.item[:0], "\xfe\xff\x00\xe0\x32\x00\x00\x00\x08\x00\x50\x11\x1a\x00\x00\x001.2.840.10008.5.1.4.1.1.2\x00\x08\x00\x55\x11\x08\x00\x00\x001%07d", e.at)
		case e.at == e.n+1:
			e.buf = []byte("\xfe\xff\xdd\xe0\x00\x00\x00\x00")
		default:
			return 0, io.EOF
		}
		e.at++
	}
	n := copy(p, e.buf)
	e.buf = e.buf[n:]
	return n, nil
}

// A million references (in the short form a quarter of it) are refused while they
// come, in little memory; or taken, where the limit lets them, in less than eight
// times what came.
func TestAMillionReferences(t *testing.T) {
	n := 250_000
	if os.Getenv("NHIP_SOAK") != "" {
		n = commitment.MaxRefs
	}
	for _, limit := range []int{0, commitment.MaxRefs} {
		size := uint64(n) * 58
		var took uint64
		scp := &commitment.SCP{MaxRefs: limit, Accept: func(_ context.Context, r commitment.Request) dimse.Status {
			if len(r.References) != n {
				t.Errorf("%d references", len(r.References))
			}
			return dimse.Status{}
		}}
		a := servicetest.Dial(t, servicetest.Serve(t, service.Mux{scp.Service()}),
			association.Proposal{Contexts: []ul.ProposedContext{{ID: 1, AbstractSyntax: commitment.Class, TransferSyntaxes: []string{uid.ImplicitVRLittleEndian}}}})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s := action(t, a, dimse.Command{RequestedSOPClassUID: commitment.Class, RequestedSOPInstanceUID: commitment.Instance, ActionTypeID: 1}, &endless{n: n})
		runtime.ReadMemStats(&after)
		took = after.TotalAlloc - before.TotalAlloc
		want := dimse.ResourceLimitation
		if limit == commitment.MaxRefs {
			want = dimse.Success
		}
		if s.Code != want || took > 8*size+1<<20 {
			t.Errorf("limit %d: %v, %d MB allocated for %d MB", limit, s, took>>20, size>>20)
		}
		t.Logf("limit %d: %v, %d MB allocated in all (the sender's too) for %d MB", limit, s, took>>20, size>>20)
		servicetest.Release(t, a)
	}
}

// What we write is a data set as the codec reads it.
func TestReportsAreDataSets(t *testing.T) {
	for _, syntax := range []string{uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian} {
		got := make(chan *dicom.Dataset, 1)
		m := service.Mux{{AbstractSyntax: func(as string) bool { return as == commitment.Class }, Handlers: map[dimse.CommandField]association.Handler{
			dimse.NEventReportRQ: func(ctx context.Context, a *association.Association, m *association.Message) error {
				d, err := service.Read(m, 1<<20)
				if err != nil {
					t.Error(err)
				}
				got <- d
				return service.Respond(ctx, a, m, dimse.Command{}, nil)
			},
		}}}
		a := servicetest.Dial(t, servicetest.Serve(t, m),
			association.Proposal{Contexts: []ul.ProposedContext{{ID: 1, AbstractSyntax: commitment.Class, TransferSyntaxes: []string{syntax}}}})
		if s, err := commitment.SendReport(t.Context(), a, "1.2.3", outcome(refs("1.1", "1.23", "1.9"))); err != nil || s.Code != 0 {
			t.Fatal(s, err)
		}
		d := <-got
		ok, failed := d.Items(tag.ReferencedSOPSequence), d.Items(tag.FailedSOPSequence)
		if d.Text(tag.TransactionUID) != "1.2.3" || len(ok) != 2 || len(failed) != 1 || ok[1].Text(tag.ReferencedSOPInstanceUID) != "1.23" || failed[0].Text(tag.ReferencedSOPClassUID) != ct {
			t.Errorf("%s: %d and %d", syntax, len(ok), len(failed))
		}
		if n, _ := failed[0].Int(tag.FailureReason); n != 0x0112 {
			t.Errorf("%s: reason %04X", syntax, n)
		}
		servicetest.Release(t, a)
	}
}

func TestDcmjsAsModality(t *testing.T) {
	listen := servicetest.FreePort(t)
	name, args := servicetest.Node(t, "testdata/scu.js")
	scp := reporting(t, "DCMJS", func() string { return net.JoinHostPort("127.0.0.1", listen) })
	host, port := servicetest.Split(t, servicetest.Serve(t, service.Mux{scp.Service()}))
	out, err := servicetest.Run(t, t.TempDir(), name, append(args, host, port, listen, "NHIP", "1.1", "1.2", "1.9")...)
	if err != nil || !strings.Contains(out, "action 0") || !strings.Contains(out, "report 2 1.2.826.55 1.1,1.2 1.9:274") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestDcmjsAsArchive(t *testing.T) {
	scu, got := receiving()
	host, ours := servicetest.Split(t, servicetest.Serve(t, service.Mux{scu.Service()}))
	port := servicetest.FreePort(t)
	name, args := servicetest.Node(t, "testdata/scp.js", port, host, ours)
	servicetest.Start(t, port, t.TempDir(), name, args...)
	a := servicetest.Dial(t, "127.0.0.1:"+port, association.Proposal{Called: "DCMJS", Contexts: service.Propose(commitment.Class)})
	asked := commitment.Transaction{UID: "1.2.826.7", References: refs("1.1", "1.9")}
	if s, err := commitment.Ask(t.Context(), a, asked); err != nil || s.Code != dimse.Success {
		t.Fatalf("%v, %v", s, err)
	}
	servicetest.Release(t, a)
	r := <-got
	want := outcome(asked.References)
	if s := (commitment.Expectation{Transaction: asked, SCP: "DCMJS"}).Check(r); s.Code != dimse.Success {
		t.Errorf("%+v: %v", r, s)
	}
	if diff := cmp.Diff(want, r.Outcome); diff != "" {
		t.Error(diff)
	}
}

func TestOrthanc(t *testing.T) {
	servicetest.Need(t, "Orthanc")
	archive := retrievetest.New(t)
	scu, got := receiving()
	var orthanc *servicetest.Orthanc
	scp := reporting(t, "ORTHANC", func() string { return orthanc.Address })
	_, port := servicetest.Split(t, servicetest.Serve(t, service.Mux{
		{AbstractSyntax: echo.Accepts, Handlers: map[dimse.CommandField]association.Handler{dimse.CEchoRQ: echo.Handle}},
		scu.Service(), scp.Service(),
	}))
	orthanc = servicetest.StartOrthanc(t, map[string]any{"DicomModalities": map[string]any{
		"nhip": map[string]any{"AET": "NHIP", "Host": "127.0.0.1", "Port": number(t, port), "AllowStorageCommitment": true},
	}})
	object := archive.Objects()[0]
	contexts, _ := store.Contexts([]store.Kind{{SOPClassUID: object.Class, TransferSyntaxUID: object.Syntax}})
	a := servicetest.Dial(t, orthanc.Address, association.Proposal{Called: "ORTHANC", Contexts: contexts})
	if s, err := store.Send(t.Context(), a, store.Object{SOPClassUID: object.Class, SOPInstanceUID: object.Instance, TransferSyntaxUID: object.Syntax, DataSet: bytes.NewReader(object.Data)}); err != nil || s.Code != 0 {
		t.Fatal(s, err)
	}
	servicetest.Release(t, a)

	t.Run("as SCP", func(t *testing.T) {
		a := servicetest.Dial(t, orthanc.Address, association.Proposal{Called: "ORTHANC", Contexts: service.Propose(commitment.Class)})
		asked := commitment.Transaction{UID: service.NewUID(), References: refs(object.Instance, "1.2.826.404")}
		if s, err := commitment.Ask(t.Context(), a, asked); err != nil || s.Code != dimse.Success {
			t.Fatalf("%v, %v", s, err)
		}
		servicetest.Release(t, a)
		r := <-got
		if s := (commitment.Expectation{Transaction: asked, SCP: "ORTHANC"}).Check(r); s.Code != dimse.Success || len(r.Committed) != 1 || len(r.Failed) != 1 || r.Failed[0].Reason != commitment.NoSuchInstance {
			t.Errorf("%+v: %v", r, s)
		}
	})
	t.Run("as SCU", func(t *testing.T) {
		var job struct{ ID string }
		orthanc.Post("/modalities/nhip/storage-commitment", map[string]any{"DicomInstances": []map[string]string{
			{"SOPClassUID": ct, "SOPInstanceUID": "1.2.826.1"}, {"SOPClassUID": ct, "SOPInstanceUID": "1.2.826.9"},
		}}, &job)
		var answer struct {
			Status   string
			Success  []struct{ SOPInstanceUID string }
			Failures []struct {
				SOPInstanceUID string
				FailureReason  int
			}
		}
		servicetest.Eventually(t, "Orthanc has the report", func() bool {
			orthanc.Get("/storage-commitment/"+job.ID, &answer)
			return answer.Status != "Pending"
		})
		if answer.Status != "Failure" || len(answer.Success) != 1 || answer.Success[0].SOPInstanceUID != "1.2.826.1" || len(answer.Failures) != 1 || answer.Failures[0].FailureReason != 0x0112 {
			t.Errorf("%+v", answer)
		}
	})
}

func number(t *testing.T, s string) int {
	var n int
	if _, err := fmt.Sscan(s, &n); err != nil {
		t.Fatal(err)
	}
	return n
}
