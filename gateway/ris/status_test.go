package ris

import (
	"strings"
	"testing"
	"time"

	"nhip/gateway/lis"
	"nhip/gateway/record"
)

func TestTheStateOfAnImagingOrder(t *testing.T) {
	now := time.Date(2026, 1, 14, 8, 30, 0, 0, time.FixedZone("", 7*3600))
	o := record.Order{
		Kind: record.ImagingOrder, Placer: record.OrderNumber{ID: "P1"},
		Patient: record.Person{Identifiers: []record.Identifier{{Value: "100", Authority: "~his"}}, Name: record.Name{Family: "An"}},
		Services: []record.Service{{ID: 1, State: record.Open, Progress: record.Begun, At: now, Code: record.Coded{Code: "CT01", Text: "CT"}, Imaging: &record.Imaging{
			Accession: "A1", StudyInstanceUID: "1.2.3", ProcedureID: "R1",
			Steps: []record.Step{{ID: "S1", Modality: "CT", AETitles: []string{"CT1", "CT2"}}, {ID: "S2", Modality: "CT"}},
		}}},
	}
	for form, want := range map[string]string{
		lis.FormOML: "MSH|^~\\&|||||20260114083000+0700||OMI^O23^OMI_O23|C1|P|2.5.1||||||UNICODE UTF-8\rPID|1||100||An\rORC|SC|P1|||IP||||20260114083000+0700\r" +
			"OBR|1|P1||CT01^CT||||||||||||||||||20260114083000+0700|||I\rIPC|A1|R1|1.2.3|S1|CT||||CT1~CT2\rIPC|A1|R1|1.2.3|S2|CT\r",
		lis.FormORM: "MSH|^~\\&|||||20260114083000+0700||ORM^O01^ORM_O01|C1|P|2.3.1||||||UNICODE UTF-8\rPID|1||100||An\rORC|SC|P1|||IP||||20260114083000+0700\r" +
			"OBR|1|P1||CT01^CT||||||||||||||A1|R1|S1||20260114083000+0700||CT|I\rZDS|1.2.3^^Application^DICOM\r",
	} {
		b, err := Status(o, o.Services, lis.StatusOptions{ControlID: "C1", Now: now, Form: form})
		if err != nil {
			t.Fatal(err)
		}
		if string(b) != want {
			t.Errorf("%s:\n%s\nwant\n%s", form, strings.ReplaceAll(string(b), "\r", "\n"), strings.ReplaceAll(want, "\r", "\n"))
		}
	}
	for state, want := range map[record.ServiceState]string{record.Completed: "CM", record.Discontinued: "DC", record.Cancelled: "CA"} {
		s := o.Services[0]
		s.State = state
		b, err := Status(o, []record.Service{s}, lis.StatusOptions{ControlID: "C1", Now: now, Form: lis.FormOML})
		if err != nil || !strings.Contains(string(b), "\rORC|SC|P1|||"+want+"|") {
			t.Errorf("%s: %q %v", state, b, err)
		}
	}
}
