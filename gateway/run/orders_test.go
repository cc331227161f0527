package run

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/mpps"
	"nhip/dicom/service"
	"nhip/dicom/service/servicetest"
	"nhip/dicom/tag"
	"nhip/gateway/orders"
	"nhip/gateway/record"
)

const hisBlock = "[[hl7_peer]]\nname = \"his\"\naddress = \"127.0.0.1\"\napplication = \"HIS\"\n"

// omi is an imaging order in the shape of Vietnamese HIS: without IPC, the accession
// number in OBR-2.2, the whole name in PID-5.1.
func omi(id, control, number string) string {
	return "MSH|^~\\&|HIS|BV|NHIP|BV|20260114080000||OMI^O23^OMI_O23|" + id + "|P|2.7|||||||UNICODE UTF-8\r" +
		"PID|1||PT-770077||NGUYỄN THỊ BIMAT||19770707|F|||DIACHI\rPV1|1|O|KKB\r" +
		"ORC|" + control + "|" + number + "||||||||||BS1^Trần Văn Bình\r" +
		"OBR|1|" + number + "^SP" + number + "||CT001^Chụp CLVT sọ não" + strings.Repeat("|", 20) + "CT\r"
}

// worklistOf asks with findscu as a modality, and returns what it is answered.
func worklistOf(t *testing.T, s *site, title string, keys ...string) (all []*dicom.Dataset) {
	t.Helper()
	host, port := servicetest.Split(t, s.status().Listen.DICOM)
	args := []string{"-W", "-aet", title, "-aec", "NHIP"}
	for _, k := range append([]string{"SpecificCharacterSet", "PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "StudyInstanceUID", "RequestedProcedureID", "RequestedProcedureDescription", "ScheduledProcedureStepSequence[0].Modality=CT"}, keys...) {
		args = append(args, "-k", k)
	}
	out := t.TempDir()
	if b, err := dcmtk(t.Context(), "findscu", append(args, "-X", "-od", out, host, port)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	files, err := filepath.Glob(filepath.Join(out, "*.dcm"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := dicom.ParseFile(b, dicom.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f.Dataset)
	}
	return all
}

// An imaging order by HL7 is found by a modality, changed, and gone after its cancel,
// which comes under the same MSH-10; over a restart too.
func TestAnImagingOrderIsOnTheWorklistUntilItsCancel(t *testing.T) {
	t.Parallel()
	need(t, "findscu")
	s := newSite(t, modalityBlock("ct-1", "CT1", "")+modalityBlock("ct-2", "CT2", `worklist_texts = "utf-8"`)+hisBlock)
	p := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	answer := p.send(t, omi("M1", "NW", "CD01"))
	if field(answer, "MSA-1") != "AA" || field(answer, "MSH-9") != "ORI^O24^ORI_O24" || field(answer, "ORC-1") != "OK" || field(answer, "ORC-5") != "SC" {
		t.Fatalf("answered %q", answer)
	}
	s.stop()
	s.start()
	got := worklistOf(t, s, "CT1", "ScheduledProcedureStepSequence[0].ScheduledStationAETitle=CT1")
	if len(got) != 1 {
		t.Fatalf("found %d", len(got))
	}
	d := got[0]
	study := d.Text(tag.StudyInstanceUID)
	if d.Text(tag.PatientName) != "NGUYEN^THI BIMAT" || d.Text(tag.AccessionNumber) != "SPCD01" || d.Text(tag.RequestedProcedureDescription) != "Chup CLVT so nao" ||
		d.Text(tag.PatientBirthDate) != "19770707" || !strings.HasPrefix(study, "2.25.") || d.Text(tag.SpecificCharacterSet) != "" {
		t.Errorf("the worklist entry is %v", d)
	}
	if d := worklistOf(t, s, "CT2")[0]; d.Text(tag.PatientName) != "NGUYỄN^THỊ BIMAT" || d.Text(tag.SpecificCharacterSet) != "ISO_IR 192" || d.Text(tag.StudyInstanceUID) != study {
		t.Errorf("in UTF-8 it is %v", d)
	}
	p = newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	if answer := p.send(t, strings.Replace(omi("M1", "XO", "CD01"), "Chụp CLVT sọ não", "Chụp CLVT xoang", 1)); field(answer, "ORC-1") != "XR" {
		t.Errorf("answered %q", answer)
	}
	if got := worklistOf(t, s, "CT1"); len(got) != 1 || got[0].Text(tag.RequestedProcedureDescription) != "Chup CLVT xoang" || got[0].Text(tag.StudyInstanceUID) != study {
		t.Errorf("after the change: %v", got)
	}
	if answer := p.send(t, omi("M1", "CA", "CD01")); field(answer, "MSA-1") != "AA" || field(answer, "ORC-1") != "CR" {
		t.Errorf("answered %q", answer)
	}
	if got := worklistOf(t, s, "CT1"); len(got) != 0 {
		t.Errorf("after the cancel: %v", got)
	}
	// The first message again gets its first answer, and opens nothing.
	if answer := p.send(t, omi("M1", "NW", "CD01")); field(answer, "ORC-1") != "OK" {
		t.Errorf("a repeat is answered %q", answer)
	}
	if got := worklistOf(t, s, "CT1"); len(got) != 0 {
		t.Errorf("after the repeat: %v", got)
	}
	eventually(t, "three orders are consumed", func() bool { return s.status().Counts.Kinds["order"] == 3 })
}

// A completed performed procedure step takes its order off the worklist.
func TestAPerformedStepTakesItsOrderOffTheWorklist(t *testing.T) {
	t.Parallel()
	need(t, "findscu")
	s := newSite(t, modalityBlock("ct-1", "CT1", "")+hisBlock)
	p := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	for _, n := range []string{"CD01", "CD02"} {
		if answer := p.send(t, omi("M"+n, "NW", n)); field(answer, "MSA-1") != "AA" {
			t.Fatalf("answered %q", answer)
		}
	}
	var study string
	for _, d := range worklistOf(t, s, "CT1") {
		if d.Text(tag.AccessionNumber) == "SPCD01" {
			study = d.Text(tag.StudyInstanceUID)
		}
	}
	step := dataset(t, tag.PerformedProcedureStepStatus, "IN PROGRESS", tag.PerformedProcedureStepID, "P1", tag.PerformedStationAETitle, "CT1",
		tag.PerformedProcedureStepStartDate, "20260114", tag.PerformedProcedureStepStartTime, "101500", tag.Modality, "CT")
	if err := step.SetItems(tag.ScheduledStepAttributesSequence, dataset(t, tag.StudyInstanceUID, study, tag.AccessionNumber, "SPCD01", tag.ScheduledProcedureStepID, "SPCD01")); err != nil {
		t.Fatal(err)
	}
	a := servicetest.Dial(t, s.status().Listen.DICOM, association.Proposal{Calling: "CT1", Called: "NHIP", Contexts: service.Propose(mpps.Class)})
	instance, status, err := mpps.Create(t.Context(), a, "1.2.826.99", step)
	if err != nil || status.Class() == dimse.ClassFailure {
		t.Fatalf("%v, %v", status, err)
	}
	accession := func(all []*dicom.Dataset) (names []string) {
		for _, d := range all {
			names = append(names, d.Text(tag.AccessionNumber)+" "+d.Items(tag.ScheduledProcedureStepSequence)[0].Text(tag.ScheduledProcedureStepStatus))
		}
		return names
	}
	if got := strings.Join(accession(worklistOf(t, s, "CT1", "ScheduledProcedureStepSequence[0].ScheduledProcedureStepStatus")), ", "); got != "SPCD01 STARTED, SPCD02 SCHEDULED" {
		t.Errorf("in progress: %s", got)
	}
	series := dataset(t, tag.SeriesInstanceUID, study+".1", tag.ProtocolName, "HEAD")
	for _, empty := range []tag.Tag{tag.PerformingPhysicianName, tag.OperatorsName, tag.SeriesDescription, tag.RetrieveAETitle, tag.ReferencedImageSequence, tag.ReferencedNonImageCompositeSOPInstanceSequence} {
		if err := series.SetEmpty(empty); err != nil {
			t.Fatal(err)
		}
	}
	done := dataset(t, tag.PerformedProcedureStepStatus, "COMPLETED", tag.PerformedProcedureStepEndDate, "20260114", tag.PerformedProcedureStepEndTime, "103000")
	if err := done.SetItems(tag.PerformedSeriesSequence, series); err != nil {
		t.Fatal(err)
	}
	if status, err := mpps.Set(t.Context(), a, instance, done); err != nil || status.Class() == dimse.ClassFailure {
		t.Fatalf("%v, %v", status, err)
	}
	servicetest.Release(t, a)
	if got := worklistOf(t, s, "CT1"); len(got) != 1 || got[0].Text(tag.AccessionNumber) != "SPCD02" {
		t.Errorf("completed: %v", accession(got))
	}
	e, err := s.g.orders.Find(orders.Key{Accession: "SPCD01"})
	if err != nil || len(e) != 1 || e[0].Order.Services[0].State != record.Completed || e[0].Order.Services[0].By != "ct-1" {
		t.Errorf("the order is %+v, %v", e, err)
	}
	if answer := p.send(t, omi("M3", "CA", "CD01")); field(answer, "ORC-1") != "UC" {
		t.Errorf("a cancel after it is answered %q", answer)
	}
}

// oml is a laboratory order of one specimen.
func oml(id, control, number string) string {
	return "MSH|^~\\&|HIS|BV|NHIP|BV|20260114080000||OML^O21^OML_O21|" + id + "|P|2.5.1\rPID|1||PT-770077||TRAN^BIMAT\r" +
		"ORC|" + control + "|" + number + "\rOBR|1|" + number + "||GLU\rSPM|1|S" + number + "\r"
}

// Orders and cancels that were answered AA are there after kill -9, and a cancelled
// one is not.
func TestAnOrderAnsweredAAOutlivesKill9(t *testing.T) {
	if testing.Short() {
		t.Skip("kills a process")
	}
	const kills = 5
	h := newHospital(t)
	b, err := os.ReadFile(h.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.file, append(b, hisBlock...), 0o600); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	accepted, cancelled := map[string]bool{}, map[string]bool{}
	stop := make(chan struct{})
	var senders sync.WaitGroup
	for n := range 4 {
		senders.Add(1)
		go func() { defer senders.Done(); sendOrders(h.ports["hl7"], n, stop, &mu, accepted, cancelled) }()
	}
	for i := range kills {
		c := h.gateway()
		within(t, 2*time.Minute, "orders are accepted", func() bool { mu.Lock(); defer mu.Unlock(); return len(accepted) > 40*(i+1) })
		time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		c.Wait()
	}
	close(stop)
	senders.Wait()
	checkOrders(t, h, accepted, cancelled)
	t.Logf("%d kills, %d orders accepted, %d cancelled", kills, len(accepted), len(cancelled))
}

// sendOrders orders, and cancels every third, over a line that breaks.
func sendOrders(address string, n int, stop chan struct{}, mu *sync.Mutex, accepted, cancelled map[string]bool) {
	var p *mllpPeer
	defer func() {
		if p != nil {
			p.Close()
		}
	}()
	ask := func(message string) bool {
		for {
			select {
			case <-stop:
				return false
			default:
			}
			var answer string
			var err error
			if p, answer, err = exchange(p, address, message); err == nil {
				return field(answer, "MSA-1") == "AA"
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	for i := 0; ; i++ {
		number := fmt.Sprintf("N%d-%d", n, i)
		select {
		case <-stop:
			return
		default:
		}
		if ask(oml("O"+number, "NW", number)) {
			mu.Lock()
			accepted[number] = true
			mu.Unlock()
		}
		if i%3 == 0 && ask(oml("C"+number, "CA", number)) {
			mu.Lock()
			cancelled[number] = true
			mu.Unlock()
		}
	}
}

// exchange sends a message on a connection, or on a new one where there is none, and
// returns the connection where that goes on.
func exchange(p *mllpPeer, address, message string) (*mllpPeer, string, error) {
	if p == nil {
		c, err := net.DialTimeout("tcp", address, 5*time.Second)
		if err != nil {
			return nil, "", err
		}
		p = &mllpPeer{c, bufio.NewReader(c)}
	}
	answer, err := "", p.SetDeadline(time.Now().Add(30*time.Second))
	if err == nil {
		_, err = p.Write([]byte("\x0b" + message + "\x1c\r"))
	}
	if err == nil {
		answer, err = readBlock(p.r)
	}
	if err != nil {
		p.Close()
		return nil, "", err
	}
	return p, answer, nil
}

func checkOrders(t *testing.T, h *hospital, accepted, cancelled map[string]bool) {
	t.Helper()
	s := &site{t: t, file: h.file, data: h.data, log: &capture{}}
	s.start()
	defer s.stop()
	for number := range accepted {
		m, err := s.g.orders.Specimen(orders.SpecimenQuery{Specimen: "S" + number, At: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		if cancelled[number] && len(m) > 0 {
			t.Errorf("%s was cancelled, and is offered", number)
		}
		i, _ := strconv.Atoi(number[strings.IndexByte(number, '-')+1:])
		if i%3 != 0 && len(m) != 1 {
			t.Errorf("%s was answered AA, and %d are there", number, len(m))
		}
	}
	if len(accepted) == 0 || len(cancelled) == 0 {
		t.Error("nothing was accepted or cancelled: the test shows nothing")
	}
}
