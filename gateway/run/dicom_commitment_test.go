package run

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"nhip/dicom/association"
	"nhip/dicom/commitment"
	"nhip/dicom/dimse"
	"nhip/dicom/service"
	"nhip/dicom/service/servicetest"
	"nhip/dicom/store"
	"nhip/dicom/uid"
	"nhip/gateway/modality"
	"nhip/gateway/retention"
)

// A committingPACS takes objects, and requests for storage commitment, which it reports on
// when it is told to.
type committingPACS struct {
	address string
	scp     *commitment.SCP

	mu     sync.Mutex
	stored map[string]int
	asked  []commitment.Request
	same   map[string]*association.Association
}

func newCommitter(t *testing.T) *committingPACS {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &committingPACS{address: l.Addr().String(), stored: map[string]int{}, same: map[string]*association.Association{}}
	a.scp = &commitment.SCP{
		Accept: func(_ context.Context, r commitment.Request) dimse.Status {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.asked = append(a.asked, r)
			return dimse.Status{}
		},
		Answered: func(r commitment.Request, on *association.Association) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.same[r.UID] = on
		},
	}
	takes := service.Service{AbstractSyntax: uid.IsStorageClass, TransferSyntax: uid.IsTransferSyntax, Handlers: map[dimse.CommandField]association.Handler{
		dimse.CStoreRQ: store.Handle(func(ctx context.Context, r store.Request, d io.Reader) dimse.Status {
			a.mu.Lock()
			a.stored[r.SOPInstanceUID]++
			a.mu.Unlock()
			return takeAll(ctx, r, d)
		}),
	}}
	serveOn(t, l, service.Mux{takes, a.scp.Service()})
	return a
}

// block names the archive as destination "pacs".
func (a *committingPACS) block(rest string) string {
	return "[[destination]]\nname = \"pacs\"\nkind = \"dicom\"\naddress = \"" + a.address + "\"\ncalled_ae_title = \"ARCHIVE\"\n" + rest + "\n"
}

// requests are those that were made so far.
func (a *committingPACS) requests() []commitment.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]commitment.Request(nil), a.asked...)
}

// wait waits for the n-th request, from 1.
func (a *committingPACS) wait(t *testing.T, n int) commitment.Request {
	t.Helper()
	eventually(t, "commitment is asked for", func() bool { return len(a.requests()) >= n })
	return a.requests()[n-1]
}

// report reports over an association of its own.
func (a *committingPACS) report(t *testing.T, to, calling, transaction string, o commitment.Outcome) dimse.Status {
	t.Helper()
	p := association.Proposal{Calling: calling, Called: "NHIP"}
	commitment.ProposeReport(&p)
	on, err := association.Dial(t.Context(), to, p)
	if err != nil {
		t.Fatal(err)
	}
	s, err := commitment.SendReport(t.Context(), on, transaction, o)
	if err != nil {
		t.Fatal(err)
	}
	servicetest.Release(t, on)
	return s
}

// removable makes a pass of retention as if everything were old.
func (s *site) removable() {
	s.t.Helper()
	k := &retention.Keeper{Store: s.g.store, Age: time.Nanosecond, Percent: 100, Log: slog.New(slog.DiscardHandler), Disk: func() (uint64, uint64) { return 1, 1 }}
	if _, err := k.Pass(s.t.Context(), time.Now().Add(time.Minute)); err != nil {
		s.t.Fatal(err)
	}
}

// rewrite changes the configuration of a site that is stopped.
func (s *site) rewrite(old, with string) {
	s.t.Helper()
	b, err := os.ReadFile(s.file)
	if err != nil || !strings.Contains(string(b), old) {
		s.t.Fatal(err, "nothing to change")
	}
	if err := os.WriteFile(s.file, []byte(strings.Replace(string(b), old, with, 1)), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) holds(instance string) bool {
	s.t.Helper()
	_, _, ok, err := s.g.in.Holding(instance)
	if err != nil {
		s.t.Fatal(err)
	}
	return ok
}

func TestAnObjectIsKeptUntilItsDestinationHasCommittedItselfToIt(t *testing.T) {
	t.Parallel()
	a := newCommitter(t)
	s := newSite(t, modalityBlock("ct-1", "CT1", `to = ["pacs"]`)+a.block("commitment = true"))
	for _, instance := range []string{"1.2.826.51", "1.2.826.52", "1.2.826.53"} { // the newest entry stays in any case
		if status := sendObject(t, s.status().Listen.DICOM, "CT1", ctImage, instance); status.Code != dimse.Success {
			t.Fatal(status)
		}
	}
	eventually(t, "they are delivered", func() bool { return s.status().Counts.Delivered == 3 })
	if n := s.status().Queues[0].Uncommitted; n != 3 {
		t.Errorf("%d are shown as not committed yet", n)
	}
	asked := a.wait(t, 1)
	if asked.Calling != "NHIP" {
		t.Errorf("asked by %q", asked.Calling)
	}
	s.removable()
	if !s.holds("1.2.826.51") {
		t.Fatal("an object was removed that its destination has not committed itself to")
	}
	// It is asked for, and not reported, over a restart.
	s.stop()
	s.start()
	committed := commitment.Outcome{Committed: asked.References}
	if status := a.report(t, s.status().Listen.DICOM, "CT1", asked.UID, committed); status.Code == dimse.Success {
		t.Error("a report of somebody else was believed")
	}
	s.removable()
	if !s.holds("1.2.826.51") {
		t.Fatal("an object was removed after the report of somebody else")
	}
	if status := a.report(t, s.status().Listen.DICOM, "ARCHIVE", asked.UID, committed); status.Code != dimse.Success {
		t.Fatal(status)
	}
	if len(asked.References) == 3 { // else the rest of them are in the next request
		s.removable()
		if s.holds("1.2.826.51") {
			t.Error("what is committed was not removed by age")
		}
		if n := s.g.store.Depth(modality.CommitQueue("pacs")); n != 0 {
			t.Errorf("%d objects are not committed", n)
		}
	}
	if status := a.report(t, s.status().Listen.DICOM, "ARCHIVE", asked.UID, committed); status.Code == dimse.Success {
		t.Error("a report that nobody awaits was accepted")
	}
}

func TestWhatIsNotCommittedIsSentAgainOrHeld(t *testing.T) {
	t.Parallel()
	a := newCommitter(t)
	s := newSite(t, modalityBlock("ct-1", "CT1", `to = ["pacs"]`)+a.block("commitment = true"))
	for _, instance := range []string{"1.2.826.61", "1.2.826.62"} {
		if status := sendObject(t, s.status().Listen.DICOM, "CT1", ctImage, instance); status.Code != dimse.Success {
			t.Fatal(status)
		}
	}
	reasons := map[string]commitment.FailureReason{"1.2.826.61": commitment.NoSuchInstance, "1.2.826.62": commitment.ClassInstanceConflict}
	seen := map[string]bool{}
	for n := 1; len(seen) < 2; n++ {
		r := a.wait(t, n)
		var o commitment.Outcome
		for _, ref := range r.References {
			seen[ref.SOPInstanceUID] = true
			o.Failed = append(o.Failed, commitment.Failure{Reference: ref, Reason: reasons[ref.SOPInstanceUID]})
		}
		if status := a.report(t, s.status().Listen.DICOM, "ARCHIVE", r.UID, o); status.Code != dimse.Success {
			t.Fatal(status)
		}
	}
	eventually(t, "the one is sent again", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.stored["1.2.826.61"] == 2
	})
	eventually(t, "the other one is held", func() bool {
		held := s.status().Held
		return len(held) == 1 && strings.Contains(held[0].Reason, "0119H") && held[0].Destination == "pacs"
	})
	// A person lets it be sent again, and it is asked for again.
	s.stop()
	s.start()
	held := s.status().Held
	if len(held) != 1 {
		t.Fatalf("after a restart: %+v", held)
	}
	if s.g.store.Depth(modality.CommitQueue("pacs")) > 1 {
		t.Error("what is held is not waited for any more")
	}
}

func TestCommitmentReportedOnTheAssociationThatAsked(t *testing.T) {
	t.Parallel()
	a := newCommitter(t)
	answered := a.scp.Answered
	a.scp.Answered = func(r commitment.Request, on *association.Association) {
		answered(r, on)
		go commitment.SendReport(context.Background(), on, r.UID, commitment.Outcome{Committed: r.References})
	}
	s := newSite(t, modalityBlock("ct-1", "CT1", `to = ["pacs"]`)+a.block("commitment = true"))
	if status := sendObject(t, s.status().Listen.DICOM, "CT1", ctImage, "1.2.826.71"); status.Code != dimse.Success {
		t.Fatal(status)
	}
	s.logged(0, "reported by the destination", "committed=1")
	keys, err := s.g.store.Keys("committed/pacs/", 0)
	if err != nil || len(keys) != 1 {
		t.Errorf("%v, %v", keys, err)
	}
}

// Orthanc reports over an association of its own; what it has lost it gets again.
func TestOrthancCommitsItself(t *testing.T) {
	t.Parallel()
	listen := servicetest.FreePort(t)
	o := servicetest.StartOrthanc(t, map[string]any{"DicomModalities": map[string]any{
		"nhip": map[string]any{"AET": "NHIP", "Host": "127.0.0.1", "Port": json.Number(listen), "AllowStorageCommitment": true},
	}})
	s := newSite(t, "[dicom]\nlisten = \"127.0.0.1:"+listen+"\"\n"+modalityBlock("ct-1", "CT1", `to = ["pacs"]`)+
		"[[destination]]\nname = \"pacs\"\nkind = \"dicom\"\naddress = \""+o.Address+"\"\ncalled_ae_title = \"ORTHANC\"\ncommitment = true\n")
	for _, instance := range []string{"1.2.826.81", "1.2.826.82"} {
		if status := sendObject(t, s.status().Listen.DICOM, "CT1", ctImage, instance); status.Code != dimse.Success {
			t.Fatal(status)
		}
	}
	eventually(t, "they are delivered", func() bool { return s.status().Counts.Delivered == 2 })
	remove(t, o, "1.2.826.81")
	s.logged(0, "an object is not committed", "1.2.826.81", "0112H")
	eventually(t, "both are committed in the end", func() bool {
		keys, err := s.g.store.Keys("committed/pacs/", 0)
		return err == nil && len(keys) == 2 && s.g.store.Depth(modality.CommitQueue("pacs")) == 0
	})
	if c := s.status().Counts; c.Accepted != 3 || c.Delivered != 3 {
		t.Errorf("%+v", c)
	}
}

// remove removes an instance from Orthanc.
func remove(t *testing.T, o *servicetest.Orthanc, instance string) {
	t.Helper()
	var ids []string
	o.Post("/tools/find", map[string]any{"Level": "Instance", "Query": map[string]string{"SOPInstanceUID": instance}}, &ids)
	if len(ids) != 1 {
		t.Fatalf("Orthanc has %d instances %s", len(ids), instance)
	}
	rq, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, o.URL+"/instances/"+ids[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	rsp, err := http.DefaultClient.Do(rq)
	if err != nil {
		t.Fatal(err)
	}
	rsp.Body.Close()
}

func TestDcmjsCommitsItself(t *testing.T) {
	t.Parallel()
	port, listen := servicetest.FreePort(t), servicetest.FreePort(t)
	name, args := servicetest.Node(t, "../../dicom/commitment/testdata/scp.js", port, "127.0.0.1", listen)
	servicetest.Start(t, port, t.TempDir(), name, args...)
	s := newSite(t, "[dicom]\nlisten = \"127.0.0.1:"+listen+"\"\n"+modalityBlock("ct-1", "CT1", `to = ["pacs"]`)+
		"[[destination]]\nname = \"pacs\"\nkind = \"dicom\"\naddress = \"127.0.0.1:"+port+"\"\ncalled_ae_title = \"DCMJS\"\ncommitment = true\n")
	for _, instance := range []string{"1.2.826.91", "1.2.826.9.9"} {
		if status := sendObject(t, s.status().Listen.DICOM, "CT1", ctImage, instance); status.Code != dimse.Success {
			t.Fatal(status)
		}
	}
	// It says of the second that it does not have it, however often it gets it.
	eventually(t, "the second one is held after it was sent again three times", func() bool {
		held := s.status().Held
		return len(held) == 1 && strings.Contains(held[0].Reason, "0112H") && s.status().Counts.Delivered == 5
	})
	keys, err := s.g.store.Keys("committed/pacs/", 0)
	if err != nil || len(keys) != 1 {
		t.Errorf("%v, %v", keys, err)
	}
}

// A destination of which the configuration no longer wants commitment keeps nothing
// from being removed.
func TestCommitmentThatIsNoLongerWantedIsGivenUp(t *testing.T) {
	t.Parallel()
	a := newCommitter(t)
	s := newSite(t, modalityBlock("ct-1", "CT1", `to = ["pacs"]`)+a.block("commitment = true"))
	if status := sendObject(t, s.status().Listen.DICOM, "CT1", ctImage, "1.2.826.95"); status.Code != dimse.Success {
		t.Fatal(status)
	}
	a.wait(t, 1)
	s.stop()
	s.rewrite("commitment = true", "commitment = false")
	s.start()
	if n := s.g.store.Depth(modality.CommitQueue("pacs")); n != 0 {
		t.Errorf("%d objects wait for what nobody asks for", n)
	}
	s.logged(0, "wants this of the destination no longer", "commit/pacs")
}
