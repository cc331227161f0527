package run

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/mpps"
	"nhip/dicom/service"
	"nhip/dicom/service/servicetest"
	"nhip/dicom/tag"
	"nhip/gateway/intake"
	"nhip/gateway/orders"
	"nhip/gateway/patients"
	"nhip/gateway/record"
)

// adt is a message about patients of the system "HIS".
func adt(event, id string, segments ...string) string {
	at := time.Now().UTC().Format("20060102150405-0700")
	return "MSH|^~\\&|HIS|BV|NHIP||" + at + "||ADT^" + event + "|" + id + "|P|2.5.1||||||UNICODE UTF-8\rEVN|" + event + "|" + at + "\r" +
		strings.Join(segments, "\r") + "\r"
}

// orm is an order for a test of a patient.
func orm(control, id, placer, pid, specimen string) string {
	return "MSH|^~\\&|HIS|BV|NHIP||" + time.Now().UTC().Format("20060102150405-0700") + "||OML^O21^OML_O21|" + id + "|P|2.5.1||||||UNICODE UTF-8\r" +
		pid + "\rORC|" + control + "|" + placer + "\rOBR|1|" + placer + "||GLU^Glucose\rSPM|1|" + specimen + "||SER\r"
}

const patientBlocks = `[[authority]]
name = "BVDK"
also = ["HOSP"]
[[hl7_peer]]
name = "his"
address = "127.0.0.1"
application = "HIS"
authority = ["BVDK", "NI=CCCD"]
`

const (
	pidAnh  = `PID|1||100^^^HOSP^MR~001060012345^^^^NI||Nguyễn Thị Ánh||1960|F`
	pidBinh = `PID|1||200^^^^MR||Trần Văn Bình||19750301|M`
)

// must sends a message and holds the answer's MSA-1 against what it has to be.
func (p *mllpPeer) must(t *testing.T, code, message string) string {
	t.Helper()
	a := p.send(t, message)
	if got := field(a, "MSA-1"); got != code {
		t.Fatalf("answered %s, want %s: %q", got, code, a)
	}
	return a
}

// orderOf is the order under a number of the system.
func (s *site) orderOf(placer string) orders.Entry {
	s.t.Helper()
	all, err := s.g.orders.Find(orders.Key{Placer: placer})
	if err != nil || len(all) != 1 {
		s.t.Fatalf("order %s: there are %d (%v)", placer, len(all), err)
	}
	return all[0]
}

func patientText(p record.Person) string {
	var ids []string
	for _, i := range p.Identifiers {
		ids = append(ids, i.Value+"@"+i.Authority)
	}
	return strings.Join(ids, ",") + " " + p.Name.Whole() + " " + p.Birth
}

func TestAMergeOverMLLPReachesOrdersAndTheirStatus(t *testing.T) {
	lis := newLIS(t)
	s := newSite(t, lis.block()+"status = \"oml\"\nstatus_of = \"his\"\n"+patientBlocks)
	p := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	defer p.Close()
	p.must(t, "AA", adt("A04", "1", pidAnh))
	p.must(t, "AA", adt("A04", "2", pidBinh))
	p.must(t, "AA", orm("NW", "3", "P1", `PID|1||100^^^^MR||NGUYEN THI ANH`, "S1"))
	merge := adt("A40", "4", pidBinh, `MRG|100^^^HOSP^MR`)
	p.must(t, "AA", merge)
	p.must(t, "AA", merge) // a true repeat: the stored answer
	if got := patientText(s.orderOf("P1").Order.Patient); got != "200@BVDK Trần Văn Bình 19750301" {
		t.Errorf("after the merge: %s", got)
	}
	a := p.must(t, "AE", adt("A40", "5", `PID|1||100^^^HOSP^MR`, `MRG|200^^^HOSP^MR`))
	if !strings.Contains(a, "\rERR||MRG^1^1|199^") || !strings.Contains(a, "the merges would go in a circle") {
		t.Errorf("refused without words: %q", a)
	}
	p.must(t, "AA", adt("A37", "6", pidAnh, strings.Replace(pidBinh, "PID|1", "PID|2", 1)))
	if got := patientText(s.orderOf("P1").Order.Patient); got != "100@BVDK Nguyễn Thị Ánh 1960" {
		t.Errorf("after the unmerge: %s", got)
	}
	p.must(t, "AA", adt("A40", "7", pidBinh, `MRG|100^^^HOSP^MR`))
	p.must(t, "AA", orm("CA", "8", "P1", `PID|1||100^^^^MR`, "S1"))
	eventually(t, "the state of the order at its destination", func() bool { return len(lis.of("ORC|SC|P1")) == 2 })
	states := lis.of("ORC|SC|P1")
	for i, want := range []string{"SC", "CA"} {
		if got := field(states[i], "ORC-5"); got != want {
			t.Errorf("message %d says %s, want %s", i, got, want)
		}
	}
	if got := field(states[1], "PID-3"); got != "200^^^BVDK^MR" {
		t.Errorf("the cancel is told of %s", got)
	}
	if held := s.heldBy("his"); len(held) != 1 || held[0].Subject != "ADT^A40" || !strings.Contains(held[0].Reason, "circle") {
		t.Errorf("held: %+v", held)
	}
}

// An imaging order on its way: a merge is on the worklist at once, and the RIS is told
// what performed procedure steps say of it.
func TestAMergeReachesTheWorklistAndStepsReachTheRIS(t *testing.T) {
	need(t, "findscu")
	ris := newLIS(t)
	s := newSite(t, strings.Replace(ris.block(), `"lis"`, `"ris"`, 1)+"status = \"oml\"\n"+modalityBlock("ct-1", "CT1", "")+patientBlocks)
	p := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	defer p.Close()
	p.must(t, "AA", strings.Replace(omi("1", "NW", "CD01"), "PT-770077", "100^^^^MR", 1))
	p.must(t, "AA", adt("A40", "2", pidBinh, `MRG|100^^^HOSP^MR`))
	all := worklistOf(t, s, "CT1")
	if len(all) != 1 || all[0].Text(tag.PatientID) != "200" || !strings.HasPrefix(all[0].Text(tag.PatientName), "TRAN") || all[0].Text(tag.PatientBirthDate) != "19750301" {
		t.Fatalf("the worklist after the merge: %v", all)
	}
	step := dataset(t, tag.PerformedProcedureStepStatus, "IN PROGRESS", tag.PerformedProcedureStepID, "P1", tag.PerformedStationAETitle, "CT1",
		tag.PerformedProcedureStepStartDate, "20260114", tag.PerformedProcedureStepStartTime, "101500", tag.Modality, "CT")
	scheduled := dataset(t, tag.StudyInstanceUID, all[0].Text(tag.StudyInstanceUID), tag.AccessionNumber, all[0].Text(tag.AccessionNumber))
	if err := step.SetItems(tag.ScheduledStepAttributesSequence, scheduled); err != nil {
		t.Fatal(err)
	}
	a := servicetest.Dial(t, s.status().Listen.DICOM, association.Proposal{Calling: "CT1", Called: "NHIP", Contexts: service.Propose(mpps.Class)})
	instance, status, err := mpps.Create(t.Context(), a, "1.2.826.98", step)
	if err != nil || status.Class() == dimse.ClassFailure {
		t.Fatalf("%v, %v", status, err)
	}
	done := dataset(t, tag.PerformedProcedureStepStatus, "DISCONTINUED", tag.PerformedProcedureStepEndDate, "20260114", tag.PerformedProcedureStepEndTime, "103000")
	series := dataset(t, tag.SeriesInstanceUID, "1.2.826.98.1", tag.ProtocolName, "HEAD")
	for _, empty := range []tag.Tag{tag.PerformingPhysicianName, tag.OperatorsName, tag.SeriesDescription, tag.RetrieveAETitle, tag.ReferencedImageSequence, tag.ReferencedNonImageCompositeSOPInstanceSequence} {
		if err := series.SetEmpty(empty); err != nil {
			t.Fatal(err)
		}
	}
	if err := done.SetItems(tag.PerformedSeriesSequence, series); err != nil {
		t.Fatal(err)
	}
	if status, err := mpps.Set(t.Context(), a, instance, done); err != nil || status.Class() == dimse.ClassFailure {
		t.Fatalf("%v, %v", status, err)
	}
	servicetest.Release(t, a)
	p.must(t, "AA", strings.Replace(omi("3", "CA", "CD01"), "PT-770077", "100^^^^MR", 1))
	var got []string
	eventually(t, "the states at the RIS", func() bool {
		got = nil
		for _, m := range ris.of("OMI^O23^OMI_O23") {
			got = append(got, field(m, "ORC-5")+" "+field(m, "PID-3")+" "+field(m, "IPC-1"))
		}
		return len(got) >= 3 && strings.HasPrefix(got[len(got)-1], "CA")
	})
	// The first was perhaps rendered before the merge: it keeps its bytes then.
	if want := "IP 200^^^BVDK^MR SPCD01"; !slices.Contains(got, want) || got[len(got)-1] != "CA 200^^^BVDK^MR SPCD01" {
		t.Errorf("told: %q", got)
	}
}

// A gateway is killed while orders come, and merges of their patients.
func TestPatientsAreWhatWasAcknowledgedAfterKill9(t *testing.T) {
	dir, ports := t.TempDir(), freePorts(t, 2)
	file := dir + "/site.toml"
	text := fmt.Sprintf("[site]\ndata = %q\n[console]\nlisten = %q\n[dicom]\nlisten = \"127.0.0.1:0\"\n[mqtt]\nlisten = \"127.0.0.1:0\"\n[hl7]\nlisten = %q\n", dir+"/data", ports[0], ports[1])
	if err := os.WriteFile(file, []byte(text+patientBlocks), 0o600); err != nil {
		t.Fatal(err)
	}
	acknowledged := map[int]string{} // patient -> who his order has to be for
	n := 0
	for round := range 3 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childConfig+"="+file)
		log := &capture{}
		child.Stderr = log
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		var p *mllpPeer
		within(t, 60*time.Second, "the gateway's listener", func() bool { p = tryPeer(ports[1]); return p != nil })
		killed := time.AfterFunc(time.Hour, func() { child.Process.Kill() })
		for life := n; ; n++ {
			old, id := fmt.Sprintf("PID|1||A%d^^^HOSP^MR||Cũ %d||1960|F", n, n), fmt.Sprintf("%d-%d", round, n)
			if !p.tryAA(orm("NW", id+"o", fmt.Sprintf("P%d", n), old, fmt.Sprintf("S%d", n))) {
				break
			}
			acknowledged[n] = fmt.Sprintf("A%d@BVDK Cũ %d 1960", n, n)
			if !p.tryAA(adt("A40", id+"m", fmt.Sprintf("PID|1||B%d^^^HOSP^MR||Mới %d||1961|F", n, n), fmt.Sprintf("MRG|A%d^^^HOSP^MR", n))) {
				acknowledged[n] += " or " + fmt.Sprintf("B%d@BVDK Mới %d 1961", n, n)
				break
			}
			acknowledged[n] = fmt.Sprintf("B%d@BVDK Mới %d 1961", n, n)
			if n == life+3 { // enough of this life: it ends in the middle of what comes next
				killed.Reset(time.Duration(5+40*round) * time.Millisecond)
			}
		}
		n++
		p.Close()
		killed.Stop()
		child.Process.Kill()
		child.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	}
	s := &site{t: t, dir: dir, data: dir + "/data", file: file, log: &capture{}}
	s.start()
	defer s.stop()
	for i, want := range acknowledged {
		got := patientText(s.orderOf(fmt.Sprintf("P%d", i)).Order.Patient)
		if !strings.Contains(" or "+want+" or ", " or "+got+" or ") {
			t.Errorf("the order of patient %d is for %q, and was acknowledged for %q", i, got, want)
		}
		found, err := s.g.patients.Find(record.Identifier{Value: fmt.Sprintf("A%d", i), Authority: "BVDK", Type: "MR"})
		if err != nil {
			t.Fatal(err)
		}
		if merged := len(found) == 1 && found[0].Into != 0; merged != strings.HasPrefix(got, "B") {
			t.Errorf("patient %d is merged: %v, and the order is for %q", i, merged, got)
		}
	}
	if len(acknowledged) < 3 {
		t.Errorf("only %d orders were acknowledged", len(acknowledged))
	}
	t.Logf("%d orders in 3 lives", len(acknowledged))
}

// tryPeer is a connection, or nil while nothing listens.
func tryPeer(address string) *mllpPeer {
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return nil
	}
	return &mllpPeer{c, bufio.NewReader(c)}
}

// tryAA sends a message and reports whether AA came.
func (p *mllpPeer) tryAA(message string) bool {
	if _, err := p.Write([]byte("\x0b" + message + "\x1c\r")); err != nil {
		return false
	}
	a, err := readBlock(p.r)
	return err == nil && field(a, "MSA-1") == "AA"
}

func TestReportsWithDocumentsPassThroughByteForByte(t *testing.T) {
	lis := newLIS(t)
	s := newSite(t, lis.block()+patientBlocks+"to = \"lis\"\n")
	p := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	defer p.Close()
	pdf := strings.Repeat("JVBERi0xLjcKJYGBgYEKCjUgMCBvYmoKPDwvRmlsdGVy", 100_000) // 4.4 MB: through the spool
	header := "MSH|^~\\&|HIS|BV|NHIP||20260114081500+0700||%s|%s|P|2.5.1||||||UNICODE UTF-8\rPID|1||100^^^HOSP^MR||Nguyễn Thị Ánh\r"
	messages := []string{
		fmt.Sprintf(header, "MDM^T02^MDM_T02", "D1") + "TXA|1|CN|TEXT||||||||D1\rOBX|1|TX|REPORT||Kết luận: \\.br\\bình thường||||||F\r",
		fmt.Sprintf(header, "ORU^R01^ORU_R01", "D2") + "OBR|1|P1||CT\rOBX|1|ED|PDF||^application^pdf^Base64^" + pdf + "||||||F\r",
		fmt.Sprintf(header, "ORU^R01^ORU_R01", "D3") + "OBR|1|P1||CT\rOBX|1|ED|HTML||^text^html^Base64^PGh0bWw+PGJvZHk+\r\nPC9ib2R5PjwvaHRtbD4=||||||F\r",
		fmt.Sprintf(header, "MDM^T02^MDM_T02", "D4") + "TXA|1|CN|AP||||||||D4\rOBX|1|ED|PDF||^AP^PDF^Base64^" + pdf[:1000] + "||||||F\rZXX|a^b&c~d|\\X41\\\r",
	}
	for _, m := range messages {
		p.must(t, "AA", m)
	}
	eventually(t, "the reports at the destination", func() bool { return len(lis.messages()) == len(messages) })
	for _, m := range messages {
		if got := lis.of("|" + field(m, "MSH-10") + "|"); len(got) != 1 || got[0] != m {
			t.Errorf("%s did not arrive byte for byte", field(m, "MSH-10"))
		}
	}
}

func TestTheStoreOfPatientsIsCountedAndItsHistoryKept(t *testing.T) {
	s := newSite(t, patientBlocks+"[[hl7_peer]]\nname = \"ris\"\naddress = \"127.0.0.1\"\napplication = \"RIS\"\npatients = \"pass\"\n")
	p := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	defer p.Close()
	p.must(t, "AA", adt("A04", "1", pidAnh))
	p.must(t, "AA", adt("A08", "2", strings.Replace(pidAnh, "1960", "19600517", 1)))
	p.must(t, "AA", strings.Replace(adt("A04", "3", pidBinh), "|HIS|", "|RIS|", 1))
	var counters map[string]int64
	eventually(t, "everything interpreted", func() bool {
		counters = s.g.store.Snapshot().Counters
		return counters[intake.CountConsumed+patients.Consumed] == 2 && counters[intake.CountConsumed+"no_destination"] == 1
	})
	if counters["patients"] != 1 {
		t.Errorf("%d patients: what a system that is passed on tells is not kept", counters["patients"])
	}
	found, err := s.g.patients.Find(record.Identifier{Value: "100", Authority: "BVDK", Type: "MR"})
	if err != nil || len(found) != 1 {
		t.Fatalf("%v %v", found, err)
	}
	history, err := s.g.patients.History(found[0].ID)
	if err != nil || len(history) != 2 || history[1].Before.Birth != "1960" || history[1].After.Birth != "19600517" || history[1].Control != "2" || history[1].Link != "his" {
		t.Errorf("%+v %v", history, err)
	}
}
