package run

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"nhip/gateway/backup"
	"nhip/gateway/control"
	"nhip/gateway/intake"
	"nhip/storage"
	"nhip/storage/storagetest/figures"
)

// A sampler is an analyser that sends one specimen after another, each once.
type sampler struct {
	mu           sync.Mutex
	acknowledged []string
	next         int
}

func (a *sampler) known() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.acknowledged...)
}

// run sends until ctx ends. What is not acknowledged is not sent again.
func (a *sampler) run(ctx context.Context, address string) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer c.Close()
	answers := bufio.NewReader(c)
	for ctx.Err() == nil {
		a.next++
		specimen := fmt.Sprintf("27%06d", a.next)
		fmt.Fprintf(c, "\x0bMSH|^~\\&|BC-5380|Mindray|||20260114083000||ORU^R01|%d|P|2.3.1||||||UNICODE\r"+
			"OBR|1||%s|00001^Automated Count^99MRC||20260114073000|20260114082930|||||||20260114075000|BLDV|||||||||HM||||||||TECH2\r"+
			"OBX|1|NM|6690-2^WBC^LN||6.41|10*9/L|4.00-10.00|N|||F\r\x1c\r", a.next, specimen)
		c.SetReadDeadline(time.Now().Add(time.Minute))
		m, err := readBlock(answers)
		if err != nil {
			return
		}
		if field(m, "MSA-1") == "AA" {
			a.mu.Lock()
			a.acknowledged = append(a.acknowledged, specimen)
			a.mu.Unlock()
		}
	}
}

// load lets a send to a site until it has had more results acknowledged.
func (s *site) load(a *sampler, more int) (end func()) {
	s.t.Helper()
	ctx, stop := context.WithCancel(s.t.Context())
	ended := make(chan struct{})
	address := s.status().Listen.Analyser["bc-1"]
	go func() { a.run(ctx, address); close(ended) }()
	want := len(a.known()) + more
	eventually(s.t, "results are acknowledged", func() bool { return len(a.known()) >= want })
	return func() { stop(); <-ended }
}

// TestRestoreDrill: a gateway under load is backed up, goes on, is destroyed and
// restored. What was acknowledged before the mark is there and is delivered; what
// was sent before comes again under the control ID that it had, new messages have
// one of a new epoch, and no control ID stands for two messages.
func TestRestoreDrill(t *testing.T) {
	address := freePorts(t, 2)
	aa := func(string) string { return "AA" }
	lis := newJudge(t, address[0], aa)
	s := newSite(t, analyserBlock("bc-1", "mindray-bc-5380", "mllp-listen://127.0.0.1:0", "")+fmt.Sprintf(`
[[modality]]
name = "ct-1"
ae_title = "CT1"
address = "127.0.0.1"
to = ["pacs"]
[[destination]]
name = "lis"
kind = "hl7"
address = %q
answer_timeout = "2s"
[[destination]]
name = "pacs"
kind = "dicom"
address = %q
called_ae_title = "PACS"
`, address[0], address[1]))
	a := &sampler{}

	end := s.load(a, 30)
	eventually(t, "some are delivered", func() bool { return len(lis.received()) >= 20 })
	lis.down() // so that something waits at the mark
	for i := range 5 {
		storeObject(t, s.g, fmt.Sprint("1.2.3.", i+1))
	}
	want := len(a.known()) + 30
	eventually(t, "more is acknowledged, and some of it waits for the LIS", func() bool { return len(a.known()) >= want && s.g.store.Depth("to/lis") >= 10 })

	before := a.known()
	var made backup.Report
	request := BackupRequest{To: t.TempDir(), Passphrase: "bí mật"}
	if err := control.Call(t.Context(), s.data, "drill", BackupAct, request, &made); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Verify(t.Context(), made.File, "bí mật"); err != nil {
		t.Fatal(err)
	}
	again := newJudge(t, address[0], aa)
	want = len(a.known()) + 30
	eventually(t, "results after the mark are acknowledged", func() bool { return len(a.known()) >= want })
	eventually(t, "some of what came after the mark is delivered", func() bool { return len(again.received()) > len(before) })
	end()
	again.down()
	s.stop()
	old := append(lis.received(), again.received()...)
	if err := os.RemoveAll(s.data); err != nil {
		t.Fatal(err)
	}

	if _, err := backup.Restore(t.Context(), made.File, s.data, "bí mật", slog.New(slog.DiscardHandler), time.Now()); err != nil {
		t.Fatal(err)
	}
	last := newJudge(t, address[0], aa)
	s.start()
	s.load(a, 30)()
	after := a.known()
	eventually(t, "all is delivered", func() bool {
		q := s.g.store.Snapshot().Depths
		return q["to/lis"] == 0 && q[intake.Interpret] == 0
	})
	if c, err := s.g.store.Scrub(t.Context()); err != nil || len(c) > 0 {
		t.Errorf("the restored store: %v %v", c, err)
	}
	if n := s.g.store.Depth("to/pacs"); n != 5 {
		t.Errorf("%d objects wait, should be 5", n)
	}
	if c := s.status().Counts; c.Accepted != c.Delivered+c.Queued+c.Held+c.Consumed {
		t.Errorf("the sum is wrong: %+v", c)
	}

	ids := map[string]string{} // control ID -> specimen
	had := map[string]string{} // specimen -> control ID before the restore
	arrived := map[string]bool{}
	for _, m := range old {
		ids[field(m, "MSH-10")], had[field(m, "OBR-3")] = field(m, "OBR-3"), field(m, "MSH-10")
		arrived[field(m, "OBR-3")] = true
	}
	repeats, anew := 0, 0
	for _, m := range last.received() {
		id, specimen := field(m, "MSH-10"), field(m, "OBR-3")
		arrived[specimen] = true
		if of, ok := ids[id]; ok && of != specimen {
			t.Errorf("the control ID %s stands for two messages", id)
		}
		ids[id] = specimen
		switch {
		case had[specimen] == id:
			repeats++
		case had[specimen] != "":
			anew++ // it was not rendered yet at the mark
		}
		if had[specimen] != id && had[specimen] != "" && id[4:6] != "02" || len(id) > 20 {
			t.Errorf("%s is no control ID of the new epoch", id)
		}
	}
	lost := 0
	for _, specimen := range before {
		if !arrived[specimen] {
			lost++
		}
	}
	for _, specimen := range after[len(after)-30:] {
		if !arrived[specimen] {
			t.Errorf("%s, sent to the restored gateway, did not arrive", specimen)
		}
	}
	if lost > 0 || repeats == 0 {
		t.Errorf("%d lost, %d repeats, %d of the same under a new control ID", lost, repeats, anew)
	}
	figures.Report(t, fmt.Sprintf("%d acknowledged before the mark, %d lost; %d came again under their control ID, %d had none at the mark; %d control IDs, none twice", len(before), lost, repeats, anew, len(ids)),
		"0 lost, no control ID for two messages")
}

func storeObject(t *testing.T, g *Gateway, uid string) {
	t.Helper()
	w, err := g.store.Spool().Create()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, strings.Repeat(uid, 1000)); err != nil {
		t.Fatal(err)
	}
	ref, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.in.Object(t.Context(), "ct-1", "", ref, map[string]string{intake.AttrSOPInstance: uid, intake.AttrStudy: uid}); err != nil {
		t.Fatal(err)
	}
}

// TestBackupOfAStoppedGateway reads the store without changing anything in it.
func TestBackupOfAStoppedGateway(t *testing.T) {
	s := newSite(t, "")
	s.stop()
	r, err := storage.Open(t.Context(), storage.Options{Dir: s.data, ReadOnly: true, SpoolRefs: intake.SpoolRefs})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	made, err := backup.Write(t.Context(), r, "s", t.TempDir(), "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := backup.Verify(t.Context(), made.File, ""); err != nil || len(got.Problems) > 0 {
		t.Errorf("%+v %v", got, err)
	}
	if views, _ := filepath.Glob(filepath.Join(s.data, "restoring*")); len(views) > 0 {
		t.Error(views)
	}
}
