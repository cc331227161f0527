package lis

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nhip/gateway/record"
	"nhip/hl7"
)

var rendered = time.Date(2026, 1, 14, 8, 30, 0, 0, time.FixedZone("", 7*3600))

func report(values ...string) record.Report {
	r := record.Report{Device: record.Device{Profile: "sysmex-xn-l", Model: "XN-550"}, Specimen: record.Specimen{ID: "S1"}}
	for i, v := range values {
		r.Results = append(r.Results, record.Result{Code: string(rune('A' + i)), Value: v, Status: "F", Declared: true})
	}
	return r
}

// lines is a message as text, with what the clock and the ends say taken out.
func lines(t *testing.T, b []byte, err error) []string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	m, bad := hl7.Parse(b)
	if bad != nil {
		t.Fatal(bad)
	}
	if string(m.Bytes()) != string(b) {
		t.Fatal("it is not written as read")
	}
	return strings.Split(strings.TrimSuffix(string(b), "\r"), "\r")
}

func wantLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("missing %s", want[i])
		case i >= len(want):
			t.Errorf("too much: %s", got[i])
		case got[i] != want[i]:
			t.Errorf("got  %s\nwant %s", got[i], want[i])
		}
	}
}

var anOrder = record.Order{
	Kind: record.LaboratoryOrder, Placer: record.OrderNumber{ID: "P77", Authority: "HIS"}, Group: record.OrderNumber{ID: "G1"},
	Patient: record.Person{
		Identifiers: []record.Identifier{{Value: "200", Authority: "BV", Type: "MR"}}, Name: record.Name{Family: "Trần Văn Bình"}, Birth: "1975", Sex: "M",
		Visit: record.Identifier{Value: "2601", Authority: "BV", Type: "VN"},
	},
	Orderer: record.Name{Family: "BS Nam"},
	Services: []record.Service{
		{ID: 1, State: record.Open, Progress: record.Received, Code: record.Coded{Code: "GLU", Text: "Glucose", System: "L"}, Section: "SH", Priority: "S", Specimens: []record.OrderSpecimen{{IDs: []string{"S1"}, Type: "SER"}}},
		{ID: 2, State: record.Open, Progress: record.Received, Code: record.Coded{Code: "URE"}, Filler: record.OrderNumber{ID: "F9"}},
	},
}

func TestResultsOfAnOrderHaveItsNumbersAndItsPatient(t *testing.T) {
	r := report("5.1", "4.0", "1.2")
	r.Patient = &record.Patient{ID: "what the device said"}
	b, err := Results(r, ResultOptions{
		Ends: Ends{SendingApplication: "NHIP"}, ControlID: "C1", Now: rendered, Patient: &anOrder.Patient,
		Ordered: []Ordered{{anOrder, anOrder.Services[1], []int{1, 1, 7, -1}}, {anOrder, anOrder.Services[0], []int{0}}, {anOrder, anOrder.Services[0], nil}},
	})
	wantLines(t, lines(t, b, err),
		`MSH|^~\&|NHIP||||20260114083000+0700||ORU^R01^ORU_R01|C1|P|2.5.1||||||UNICODE UTF-8`,
		`PID|1||200^^^BV^MR||Trần Văn Bình||1975|M||||||||||2601^^^BV^VN`,
		`ORC|RE|P77^HIS|F9|G1|CM`,
		`OBR|1|P77^HIS|F9|URE||||||||||||^BS Nam||||||20260114083000+0700|||F`,
		`OBX|1|NM|B^^99SYSMEX-XN-L||4.0||||||F|||||||^sysmex-xn-l`,
		`ORC|RE|P77^HIS|S1|G1|CM`,
		`OBR|2|P77^HIS|S1|GLU^Glucose^L||||||||||||^BS Nam||||||20260114083000+0700||SH|F`,
		`OBX|1|NM|A^^99SYSMEX-XN-L||5.1||||||F|||||||^sysmex-xn-l`,
		`OBR|3||S1|sysmex-xn-l^XN-550^L||||||||||||||||||20260114083000+0700|||F`,
		`OBX|1|NM|C^^99SYSMEX-XN-L||1.2||||||F|||||||^sysmex-xn-l`,
		`SPM|1|S1||^^^^^^^^unknown`)
}

func TestOULHasTheSpecimenFirst(t *testing.T) {
	r := report(">100", "1.2")
	r.Priority, r.Comments = "S", []string{"note"}
	b, err := Results(r, ResultOptions{ControlID: "C1", Now: rendered, Form: FormOUL, Structured: true, Ordered: []Ordered{{anOrder, anOrder.Services[0], []int{0}}}})
	wantLines(t, lines(t, b, err),
		`MSH|^~\&|||||20260114083000+0700||OUL^R22^OUL_R22|C1|P|2.5.1||||||UNICODE UTF-8`,
		`SPM|1|S1||^^^^^^^^unknown`,
		`OBR|1|P77^HIS|S1|GLU^Glucose^L||||||||||||^BS Nam||||||20260114083000+0700||SH|F`,
		`ORC|RE|P77^HIS|S1|G1|CM`,
		`NTE|1|L|note`,
		`TQ1|1||||||||S`,
		`OBX|1|SN|A^^99SYSMEX-XN-L||>^100||||||F|||||||^sysmex-xn-l`,
		`OBR|2||S1|sysmex-xn-l^XN-550^L||||||||||||||||||20260114083000+0700|||F`,
		`TQ1|1||||||||S`,
		`OBX|1|NM|B^^99SYSMEX-XN-L||1.2||||||F|||||||^sysmex-xn-l`)
}

func TestWhatIsTakenBackMakesTheReportACorrection(t *testing.T) {
	for statuses, want := range map[string]string{"FF": "F", "FC": "C", "FD": "C", "WW": "C", "DD": "C", "XX": "X", "FX": "A", "FP": "A", "PP": "P", "RR": "R"} {
		r := report("1", "2")
		for i := range r.Results {
			r.Results[i].Status = statuses[i : i+1]
		}
		b, err := Results(r, ResultOptions{ControlID: "C1", Now: rendered})
		m, _ := hl7.Parse(b)
		if err != nil || m.Get("OBR-25") != want {
			t.Errorf("%s makes OBR-25 %q, want %q (%v)", statuses, m.Get("OBR-25"), want, err)
		}
		for i, x := range m.Segments("OBX") {
			if x.Get("11") != statuses[i:i+1] {
				t.Errorf("%s: OBX-11 is %q", statuses, x.Get("11"))
			}
		}
	}
}

func TestAStructuredValueIsTheTextInParts(t *testing.T) {
	for v, want := range map[string]string{
		">100": ">^100", "<0.5": "<^0.5", ">=3": ">=^3", "<=-2": "<=^-2", "<>1": "<>^1", "=4": "=^4", "1:128": "^1^:^128", "10-15": "^10^-^15",
		"": "", "5.1": "", "POS": "", "> 100": "", "1/2": "", "++": "", "<": "", "2026-01-14": "", ">1e3": "", "<1.": "", ">1234567890123456": "", "-5-3": "", "1:2:3": "",
	} {
		sn, ok := Structured(v)
		got := strings.TrimRight(strings.Join(sn[:], "^"), "^")
		if ok != (want != "") || got != want {
			t.Errorf("%q is %q %v, want %q", v, got, ok, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.StringMatching(`[<>=]{0,2}[+-]?[0-9]{0,3}[.:-]?[0-9]{0,3}`).Draw(t, "value")
		if sn, ok := Structured(v); ok && strings.Join(sn[:], "") != v {
			t.Fatalf("%q became %q", v, sn)
		}
		b, err := Results(report(v), ResultOptions{ControlID: "C", Now: rendered, Structured: true})
		if err != nil {
			t.Fatal(err)
		}
		m, _ := hl7.Parse(b)
		if got := strings.ReplaceAll(m.Get("OBX-5"), "^", ""); got != v {
			t.Fatalf("%q is sent as %q", v, got)
		}
	})
}

func TestTheStateOfAnOrderIsToldAsItIsKnown(t *testing.T) {
	for _, x := range []struct {
		state    record.ServiceState
		progress record.Progress
		want     string
	}{
		{record.Open, record.Received, "SC O"}, {record.Open, record.Sent, "IP I"}, {record.Open, record.Acknowledged, "IP I"},
		{record.Open, record.Queried, "IP I"}, {record.Open, record.Begun, "IP I"}, {record.Open, record.Resulted, "A A"},
		{record.Completed, record.Resulted, "CM "}, {record.Cancelled, record.Sent, "CA X"}, {record.Discontinued, record.Begun, "DC "},
		{record.Replaced, record.Received, "RP "}, {record.OnHold, record.Received, "HD "}, {record.Expired, record.Received, "DC "},
	} {
		s := anOrder.Services[0]
		s.State, s.Progress = x.state, x.progress
		for _, form := range []string{FormORM, FormOML} {
			b, err := Status(anOrder, []record.Service{s}, StatusOptions{ControlID: "C1", Now: rendered, Form: form})
			m, _ := hl7.Parse(b)
			if err != nil || m.Get("ORC-1") != "SC" || m.Get("ORC-5")+" "+m.Get("OBR-25") != x.want {
				t.Errorf("%s %s by %s: %s %q %q, want %q (%v)", x.state, x.progress, form, m.Get("ORC-1"), m.Get("ORC-5"), m.Get("OBR-25"), x.want, err)
			}
		}
	}
}

func TestTheStateOfALaboratoryOrder(t *testing.T) {
	o := anOrder
	o.Services = append([]record.Service(nil), o.Services...)
	o.Services[0].State, o.Services[0].At = record.Expired, rendered.Add(-time.Hour).UTC()
	b, err := Status(o, o.Services, StatusOptions{Ends: Ends{SendingApplication: "NHIP"}, ControlID: "C1", Now: rendered, Form: FormOML})
	wantLines(t, lines(t, b, err),
		`MSH|^~\&|NHIP||||20260114083000+0700||OML^O21^OML_O21|C1|P|2.5.1||||||UNICODE UTF-8`,
		`PID|1||200^^^BV^MR||Trần Văn Bình||1975|M||||||||||2601^^^BV^VN`,
		`ORC|SC|P77^HIS||G1|DC||||20260114083000+0700|||^BS Nam||||^expired`,
		`TQ1|1||||||||S`,
		`OBR|1|P77^HIS||GLU^Glucose^L||||||||||||||||||20260114073000+0700||SH`,
		`SPM|1|S1||SER`,
		`ORC|SC|P77^HIS|F9|G1|SC||||20260114083000+0700|||^BS Nam`,
		`OBR|2|P77^HIS|F9|URE||||||||||||||||||20260114083000+0700|||O`)
	b, err = Status(o, o.Services[:1], StatusOptions{ControlID: "C1", Now: rendered, Form: FormORM})
	if got := lines(t, b, err); !regexp.MustCompile(`ORM\^O01\^ORM_O01\|C1\|P\|2\.3\.1`).MatchString(got[0]) || !strings.HasSuffix(got[3], "|||^^^^^S") {
		t.Errorf("%q", got)
	}
}
