package hl7lab_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"nhip/drivers/hl7lab"
	"nhip/gateway/record"
	"nhip/hl7"
)

var now = time.Date(2026, 1, 14, 8, 15, 0, 0, time.FixedZone("", 7*3600))

func options() hl7lab.Options {
	n := 0
	return hl7lab.Options{Now: now, ControlID: func() string { n++; return fmt.Sprintf("N%d", n) }}
}

func parse(t *testing.T, text string) *hl7.Message {
	t.Helper()
	m, err := hl7.Parse([]byte(strings.ReplaceAll(text, "\n", "\r")))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

var (
	dsr  = hl7lab.Dialect{Source: "test", Form: "dsr", Types: map[string]string{"SER": "serum"}}
	law  = hl7lab.Dialect{Source: "test", Form: "law", TestSystem: "99TST"}
	work = []record.Work{{Specimen: "0019", SpecimenType: "SER", Tests: []string{"1", "12"}, Priority: "S",
		Patient: &record.Patient{ID: "P1", Name: record.Name{Family: "Nguyễn", Middle: "Văn", Given: "Đức"}, Birth: "19800101", Sex: "M"}}}
)

// After the example of the BS-200 manual, appendix E.
const qry = `MSH|^~\&|Mindray|BS-200E|||20070723170707||QRY^Q02|7|P|2.3.1||||||ASCII|||
QRD|20070723170707|R|D|2|||RD|0019|OTH|||T|
QRF|BS-200E|20070723170749|20070723170749|||RCT|COR|ALL||
`

func TestDisplayQueryIsAnsweredByQCKAndDSR(t *testing.T) {
	m := parse(t, qry)
	if !dsr.Asks(m) || law.Asks(m) {
		t.Fatal("asked by the wrong one")
	}
	q, err := dsr.Query(m)
	if err != nil || len(q.Specimens) != 1 || q.Specimens[0] != "0019" || q.Cancel {
		t.Fatalf("%+v %v", q, err)
	}
	a, err := dsr.Answer(m, q, work, true, options())
	if err != nil || len(a.Messages) != 2 || len(a.Orders) != 1 || a.Orders[0] != "N2" {
		t.Fatalf("%d messages, %v, %v", len(a.Messages), a.Orders, err)
	}
	if got, want := string(a.Messages[0]), "MSH|^~\\&|NHIP||Mindray|BS-200E|20260114081500||QCK^Q02|N1|P|2.3.1||||||ASCII|||\rMSA|AA|7|Message accepted|||0|\rERR|0|\rQAK|SR|OK|\r"; got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
	lines := strings.Split(strings.TrimSuffix(string(a.Messages[1]), "\r"), "\r")
	if len(lines) != 6+28+2+1 {
		t.Fatalf("%d lines: %q", len(lines), lines)
	}
	for n, want := range map[int]string{
		4: "QRD|20070723170707|R|D|2|||RD|0019|OTH|||T|", 6: "DSP|1||P1|||", 7: "DSP|2|||||", 8: "DSP|3||Nguyen Van Duc|||",
		9: "DSP|4||19800101|||", 10: "DSP|5||M|||", 26: "DSP|21||0019|||", 29: "DSP|24||Y|||", 31: "DSP|26||serum|||",
		34: "DSP|29||1^^^|||", 35: "DSP|30||12^^^|||", 36: "DSC||",
	} {
		if lines[n] != want {
			t.Errorf("line %d is %q, want %q", n, lines[n], want)
		}
	}
	id, refused := hl7lab.Acknowledged(parse(t, "MSH|^~\\&|Mindray||||20070723||ACK^Q03|8|P|2.3.1\nMSA|AA|N2|Message accepted|||0|\n"))
	if id != "N2" || refused != nil {
		t.Errorf("%s %s", id, refused)
	}
}

func TestDisplayQueryWithoutAnOrder(t *testing.T) {
	m := parse(t, qry)
	q, _ := dsr.Query(m)
	a, err := dsr.Answer(m, q, nil, true, options())
	if err != nil || len(a.Messages) != 1 || !strings.Contains(string(a.Messages[0]), "QAK|SR|NF") {
		t.Errorf("%q %v", a.Messages, err)
	}
	// Nobody knows: NF would say that there is none.
	if a, err := dsr.Answer(m, q, nil, false, options()); err != nil || len(a.Messages) != 0 {
		t.Errorf("%q %v", a.Messages, err)
	}
	// A query that withdraws an earlier one.
	m = parse(t, strings.Replace(qry, "|OTH|", "|CAN|", 1))
	q, err = dsr.Query(m)
	if err != nil || !q.Cancel {
		t.Fatalf("%+v %v", q, err)
	}
	if a, err := dsr.Answer(m, q, nil, true, options()); err != nil || len(a.Messages) != 1 || !strings.Contains(string(a.Messages[0]), "QAK|SR|OK") {
		t.Errorf("%q %v", a.Messages, err)
	}
	if _, err := dsr.Query(parse(t, strings.Replace(qry, "|0019|", "||", 1))); err == nil {
		t.Error("a query for all samples is read as one for a sample")
	}
}

const qbp = `MSH|^~\&|BA400|Biosystems|Host|Host provider|20230509214700||QBP^Q11^QBP_Q11|0704|P|2.5.1|||ER|AL||UNICODE UTF-8|||LAB-27^IHE
QPD|WOS^Work Order Step^IHE_LABTF|tag1|32899042
RCP|I||R
`

func TestLAWQueryIsAcknowledgedAndTheOrderFollows(t *testing.T) {
	m := parse(t, qbp)
	q, err := law.Query(m)
	if err != nil || !law.Asks(m) || q.ID != "tag1" || len(q.Specimens) != 1 || q.Specimens[0] != "32899042" {
		t.Fatalf("%+v %v", q, err)
	}
	of := []record.Work{work[0]}
	of[0].Specimen = "32899042"
	a, err := law.Answer(m, q, of, true, options())
	if err != nil || len(a.Messages) != 2 || a.Orders[0] != "N2" {
		t.Fatalf("%q %v", a.Messages, err)
	}
	if got, want := string(a.Messages[0]), "MSH|^~\\&|NHIP||BA400|Biosystems|20260114081500||RSP^K11^RSP_K11|N1|P|2.5.1|||ER|NE||UNICODE UTF-8|||LAB-27^IHE\r"+
		"MSA|AA|0704\rQAK|tag1|OK|WOS^Work Order Step^IHE_LABTF\rQPD|WOS^Work Order Step^IHE_LABTF|tag1|32899042\r"; got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
	order := parse(t, string(a.Messages[1]))
	for path, want := range map[string]string{
		"MSH-9": "OML^O33^OML_O33", "MSH-15": "NE", "MSH-16": "AL", "MSH-21": "LAB-28^IHE", "PID-3.1": "P1", "PID-5": "Nguyen^Duc^Van", "PID-8": "M",
		"SPM-4.1": "SER", "SPM-11": "P^^HL70369", "SAC-3": "32899042", "ORC-1": "NW", "TQ1-9.1": "S", "OBR-2": "N2.1", "OBR-4": "1^^99TST",
	} {
		if got := string(order.Raw(path)); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if n := len(order.Segments("OBR")); n != 2 {
		t.Errorf("%d OBR", n)
	}
	for msa, want := range map[string]string{"MSA|AA|N2\n": "", "MSA|AR|N2\n": `the analyser answered "AR" []`, "MSA|AA|N2\nORC|OK|N2.1\nORC|UA|N2.2\n": "the analyser cannot accept a test of the order (ORC-1 UA) [N2.2]",
		"MSA|AA|N2\nORC|OK\nOBR||N2.1\nORC|UC\nOBR||N2.2\n": "the analyser cannot cancel a test of the order (ORC-1 UC) [N2.2]"} {
		id, refused := hl7lab.Acknowledged(parse(t, "MSH|^~\\&|BA400||||20230509||ORL^O34^ORL_O42|9|P|2.5.1\n"+msa))
		got := ""
		if refused != nil {
			got = fmt.Sprint(refused.Error(), " ", refused.References)
		}
		if id != "N2" || got != want {
			t.Errorf("%q: %s, %q, want %q", msa, id, got, want)
		}
	}
}

// AWOS Broadcast: what nobody asked for, and taking it back under the same AWOS IDs.
func TestLAWDownloadAndCancel(t *testing.T) {
	o := options()
	o.Application, o.Facility = "BA400", "Biosystems"
	m, id, err := law.Download(work[0], o)
	if err != nil || id != "N1" {
		t.Fatal(id, err)
	}
	order := parse(t, string(m))
	for path, want := range map[string]string{
		"MSH-5": "BA400", "MSH-6": "Biosystems", "MSH-9": "OML^O33^OML_O33", "MSH-12": "2.5.1", "MSH-21": "LAB-28^IHE", "SAC-3": "0019", "ORC-1": "NW", "OBR-2": "N1.1", "OBR-4.1": "1",
	} {
		if got := string(order.Raw(path)); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	back := work[0]
	if _, _, err := law.Cancel(back, o); err == nil {
		t.Error("taken back without the IDs that it was given under")
	}
	back.Tests, back.References = back.Tests[1:], hl7lab.References(id, 2)[1:]
	m, id, err = law.Cancel(back, o)
	if err != nil || id != "N2" {
		t.Fatal(id, err)
	}
	order = parse(t, string(m))
	if n := len(order.Segments("OBR")); n != 1 || order.Get("ORC-1") != "CA" || order.Get("OBR-2") != "N1.2" || order.Get("OBR-4.1") != "12" || order.Get("SAC-3") != "0019" {
		t.Errorf("%q", m)
	}
}

// A query by place is answered with the place.
func TestLAWEchoesThePlace(t *testing.T) {
	for qpd, want := range map[string]string{"WOS^x^IHE|tag1|32899042|R5|3": "R5 3  ", "WOS_BY_RACK^x^IHE|tag1||R5|3": "R5 3  ", "WOS_BY_TRAY^x^IHE|tag1||||T1|9": "  T1 9"} {
		m := parse(t, strings.Replace(qbp, "WOS^Work Order Step^IHE_LABTF|tag1|32899042", qpd, 1))
		q, err := law.Query(m)
		if err != nil {
			t.Fatal(err)
		}
		for _, of := range [][]record.Work{nil, {{Specimen: "32899042", Tests: []string{"1"}}}} {
			a, err := law.Answer(m, q, of, true, options())
			if err != nil || len(a.Messages) != 2 {
				t.Fatalf("%q %v", a.Messages, err)
			}
			o := parse(t, string(a.Messages[1]))
			if got := strings.Join([]string{o.Get("SAC-10"), o.Get("SAC-11"), o.Get("SAC-13"), o.Get("SAC-14")}, " "); got != want {
				t.Errorf("%s: %q, want %q", qpd, got, want)
			}
		}
	}
}

func TestLAWWithoutAnOrder(t *testing.T) {
	m := parse(t, qbp)
	q, _ := law.Query(m)
	a, err := law.Answer(m, q, nil, true, options())
	if err != nil || len(a.Messages) != 2 || len(a.Orders) != 0 {
		t.Fatalf("%q %v", a.Messages, err)
	}
	if none := parse(t, string(a.Messages[1])); none.Get("ORC-1") != "DC" || none.Get("SAC-3") != "32899042" || len(none.Segments("OBR")) != 0 {
		t.Errorf("%q", a.Messages[1])
	}
	silent := law
	silent.Unknown = "nothing"
	for _, c := range []struct {
		d  hl7lab.Dialect
		ok bool
	}{{silent, true}, {law, false}} {
		if a, err := c.d.Answer(m, q, nil, c.ok, options()); err != nil || len(a.Messages) != 1 {
			t.Errorf("%d messages, %v", len(a.Messages), err)
		}
	}
}

// The dialect of Roche: its own query and profiles come back as they were sent.
func TestLAWOfRoche(t *testing.T) {
	roche := law
	roche.OrderProfile = "LAB-28R^ROCHE"
	m := parse(t, strings.Replace(strings.Replace(qbp, "WOS^Work Order Step^IHE_LABTF", "WOS_ROCHE^Work Order Step Roche Extension^ROCHE", 1), "LAB-27^IHE", "LAB-27R^ROCHE", 1))
	q, err := roche.Query(m)
	if err != nil {
		t.Fatal(err)
	}
	of := []record.Work{{Specimen: q.Specimens[0], Tests: []string{"1"}}}
	a, err := roche.Answer(m, q, of, true, options())
	if err != nil {
		t.Fatal(err)
	}
	if r := parse(t, string(a.Messages[0])); string(r.Raw("MSH-21")) != "LAB-27R^ROCHE" || r.Get("QAK-3.1") != "WOS_ROCHE" {
		t.Errorf("%q", a.Messages[0])
	}
	if o := parse(t, string(a.Messages[1])); string(o.Raw("MSH-21")) != "LAB-28R^ROCHE" || string(o.Raw("SPM-4")) != `""` {
		t.Errorf("%q", a.Messages[1])
	}
}

func TestOtherFormsOfLAWQueries(t *testing.T) {
	for qpd, want := range map[string]record.Query{
		"QPD|WOS_ALL^x^IHE|t":            {ID: "t", All: true},
		"QPD|WOS_BY_RACK^x^IHE|t||R5|3":  {ID: "t", Rack: "R5", Position: "3"},
		"QPD|WOS_BY_TRAY^x^IHE|t||||T|9": {ID: "t", Rack: "T", Position: "9"},
	} {
		q, err := law.Query(parse(t, "MSH|^~\\&|A||||2023||QBP^Q11|1|P|2.5.1\n"+qpd+"\n"))
		if err != nil || fmt.Sprint(q) != fmt.Sprint(want) {
			t.Errorf("%s: %+v %v", qpd, q, err)
		}
	}
	if _, err := law.Query(parse(t, "MSH|^~\\&|A||||2023||QBP^Q11|1|P|2.5.1\nQPD|WOS|t\n")); err == nil {
		t.Error("a query for nothing is read")
	}
}

// Work of another specimen never goes out under the identifier that was asked for.
func TestWorkOfAnotherSpecimen(t *testing.T) {
	for _, d := range []hl7lab.Dialect{dsr, law} {
		text := qry
		if d.Form == "law" {
			text = qbp
		}
		m := parse(t, text)
		q, _ := d.Query(m)
		if a, err := d.Answer(m, q, []record.Work{{Specimen: "other", Tests: []string{"1"}}}, true, options()); err == nil {
			t.Errorf("%s: %q", d.Form, a.Messages)
		}
	}
}

// Text that would end a field or a segment stays text.
func TestOrderCannotBreakTheMessage(t *testing.T) {
	m := parse(t, qbp)
	q, _ := law.Query(m)
	a, err := law.Answer(m, q, []record.Work{{Specimen: "32899042", Tests: []string{"A|B\rMSH|x^~"}, Patient: &record.Patient{ID: "1\r\x1c\v", Name: record.Name{Family: "O|R\\F\\"}}}}, true, options())
	if err != nil {
		t.Fatal(err)
	}
	if o := parse(t, string(a.Messages[1])); len(o.Segments("MSH")) != 1 || len(o.Segments("OBR")) != 1 || strings.ContainsAny(string(a.Messages[1]), "\x1c\v") {
		t.Errorf("%q", a.Messages[1])
	}
}

func TestDialectIsChecked(t *testing.T) {
	for _, d := range []hl7lab.Dialect{dsr, law} {
		if found := d.Check(); len(found) > 0 {
			t.Errorf("%q", found)
		}
	}
	if found := (hl7lab.Dialect{Form: "x", Unknown: "y"}).Check(); len(found) != 4 {
		t.Errorf("%q", found)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(strings.ReplaceAll(qry, "\n", "\r")), "1")
	f.Add([]byte(strings.ReplaceAll(qbp, "\n", "\r")), "A|B")
	f.Fuzz(func(t *testing.T, text []byte, test string) {
		m, err := hl7.Parse(text)
		if err != nil {
			return
		}
		for _, d := range []hl7lab.Dialect{dsr, law} {
			if !d.Asks(m) {
				continue
			}
			q, err := d.Query(m)
			if err != nil || len(q.Specimens) == 0 {
				continue
			}
			a, err := d.Answer(m, q, []record.Work{{Specimen: q.Specimens[0], Tests: []string{test}}}, true, options())
			if err != nil {
				continue
			}
			for _, b := range a.Messages {
				if _, err := hl7.Parse(b); err != nil {
					t.Fatalf("%q: %v", b, err)
				}
			}
		}
	})
}

// cobas pro and pure: what the query said of the tube comes back as it said it, and a
// number in the analyser's own row is nobody's identifier.
func TestRocheOrders(t *testing.T) {
	d := hl7lab.Dialect{Source: "test", Form: "law", Orders: "roche", OrderProfile: "LAB-28R^ROCHE", TestSystem: "99ROC", Unknown: "nothing"}
	if wrong := d.Check(); wrong != nil {
		t.Fatal(wrong)
	}
	const msh = "MSH|^~\\&|cobas pro||Host||20230128204627+0900||QBP^Q11^QBP_Q11|159|P|2.5.1|||NE|AL||UNICODE UTF-8|||LAB-27R^ROCHE\n"
	m := parse(t, msh+"QPD|INIBAR^^99ROC|262|498100|50006|1|||||SERPLAS^^99ROC|SC^^99ROC|R\nRCP|I|1|R^HL70394\n")
	q, err := d.Query(m)
	if err != nil || len(q.Specimens) != 1 || q.Specimens[0] != "498100" {
		t.Fatalf("%+v %v", q, err)
	}
	of := []record.Work{work[0]}
	of[0].Specimen = "498100"
	a, err := d.Answer(m, q, of, true, options())
	if err != nil || len(a.Messages) != 2 {
		t.Fatalf("%q %v", a.Messages, err)
	}
	if got, want := string(a.Messages[0]), "MSH|^~\\&|Host||cobas pro||20260114081500||RSP^K11^RSP_K11|N1|P|2.5.1||||||UNICODE UTF-8|||LAB-27R^ROCHE\r"+
		"MSA|AA|159\rQAK|262|OK|INIBAR^^99ROC\rQPD|INIBAR^^99ROC|262|498100|50006|1|||||SERPLAS^^99ROC|SC^^99ROC|R\r"; got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
	if got, want := string(a.Messages[1]), "MSH|^~\\&|Host||cobas pro||20260114081500||OML^O33^OML_O33|N2|P|2.5.1|||NE|AL||UNICODE UTF-8|||LAB-28R^ROCHE\r"+
		"PID|||P1||Nguyen^Duc^Van||19800101|M\r"+
		"SPM|1|498100&BARCODE||SERPLAS^^99ROC|||||||P^^HL70369||||||||||||||||SC^^99ROC\rSAC|||498100^BARCODE|||||||50006|1\r"+
		"ORC|NW||||||||20260114081500\rTQ1|||||||||S^^HL70485\rOBR|1|N2.1||1^^99ROC\rTCD|1^^99ROC\r"+
		"ORC|NW||||||||20260114081500\rTQ1|||||||||S^^HL70485\rOBR|2|N2.2||12^^99ROC\rTCD|12^^99ROC\r"; got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
	m = parse(t, msh+"QPD|INISEQ^^99ROC|262|123|50006|1|||||SERPLAS^^99ROC|SC^^99ROC|R\nRCP|I|1|R^HL70394\n")
	if q, err := d.Query(m); err != nil || len(q.Specimens) != 0 || q.Rack != "50006" {
		t.Errorf("%+v %v", q, err)
	}
}
