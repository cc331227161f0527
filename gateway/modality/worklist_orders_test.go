package modality

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"nhip/dicom"
	"nhip/dicom/find"
	"nhip/dicom/tag"
	"nhip/dicom/worklist"
	"nhip/gateway/orders"
	"nhip/gateway/record"
	"nhip/storage"
)

var ordered = time.Date(2026, 1, 14, 8, 0, 0, 0, time.FixedZone("+07", 7*3600))

// imagingOrder is an order with two scheduled procedure steps.
func imagingOrder(accession string) record.Order {
	return record.Order{
		Kind: record.ImagingOrder, Placer: record.OrderNumber{ID: "P" + accession, Authority: "HIS"},
		Ordered: record.Person{Identifiers: []record.Identifier{{Value: "BN001", Authority: "BV"}}, Name: record.Name{Family: "NGUYỄN THỊ ÁNH"}, Birth: "1980", Sex: "f",
			Visit: record.Identifier{Value: "VV1"}},
		Orderer: record.Name{Family: "Trần", Given: "Bình", Middle: "Văn"},
		Stay:    record.Stay{Weight: "65", Height: "1.65", Pregnant: true, Allergies: []string{"Penicillin"}, Location: "KKB P1"},
		Services: []record.Service{{Code: record.Coded{Code: "CT001", Text: `Chụp CLVT\sọ não`}, Priority: "S", Reason: "Đau đầu", Imaging: &record.Imaging{
			Accession: accession, StudyInstanceUID: "1.2.840." + strings.TrimLeft(accession, "A"), ProcedureID: "RP1", Procedure: record.Coded{Code: "RP", Text: "CT đầu", System: "L"}, Steps: []record.Step{
				{ID: "S1", Modality: "CT", AETitles: []string{"CT1", "CT2"}, Start: ordered.Add(25 * time.Hour), Protocol: record.Coded{Code: "X", Text: "Thường quy"}},
				{ID: "ScheduledProcStepID", Modality: "CT", Start: ordered.Add(26 * time.Hour), StationName: "Phòng chụp cắt lớp số 1"},
			},
		}}},
	}
}

func keep(t *testing.T, s *storage.Store, o *orders.Store, r orders.Request) {
	t.Helper()
	c := o.Begin(ordered)
	b := new(storage.Batch)
	_, err := c.Apply(r)
	if err == nil {
		err = c.Write(b)
	}
	if err == nil {
		_, err = s.Commit(t.Context(), b)
	}
	c.End(err)
	if err != nil {
		t.Fatal(err)
	}
}

func scheduled(t *testing.T) (*storage.Store, *Scheduled) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	s, err := storage.Open(t.Context(), storage.Options{Dir: t.TempDir(), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	o, err := orders.Open(t.Context(), orders.Options{Store: s, Log: log, Now: func() time.Time { return ordered }})
	if err != nil {
		t.Fatal(err)
	}
	return s, &Scheduled{Orders: o, Zone: ordered.Location(), Style: func(find.Query) Style { return Style{Title: "CT9"} }}
}

// matching are the entries that match a query, by their step identifiers.
func matching(t *testing.T, source find.Source, q worklist.Query) (ids []string) {
	t.Helper()
	identifier, err := q.Identifier()
	if err != nil {
		t.Fatal(err)
	}
	m := find.Matching{Combined: true, IgnoreAccents: true, Zone: ordered.Location()}
	for d, err := range source.Entities(context.Background(), find.Query{Identifier: identifier}) {
		if err != nil {
			t.Fatal(err)
		}
		if m.Match(identifier, d) {
			ids = append(ids, d.Items(tag.ScheduledProcedureStepSequence)[0].Text(tag.ScheduledProcedureStepID))
		}
	}
	return ids
}

func TestWorklistEntryOfAnOrder(t *testing.T) {
	s, source := scheduled(t)
	keep(t, s, source.Orders, orders.Request{Action: orders.New, Link: "his", Order: imagingOrder("A1")})
	var all []*dicom.Dataset
	for d, err := range source.Entities(t.Context(), find.Query{Identifier: dicom.NewDataset()}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	if len(all) != 2 {
		t.Fatalf("%d entries", len(all))
	}
	for tg, want := range map[tag.Tag]string{
		tag.PatientName: "NGUYEN^THI ANH", tag.PatientID: "BN001", tag.IssuerOfPatientID: "BV", tag.PatientBirthDate: "", tag.PatientSex: "F", tag.PatientWeight: "65", tag.PatientSize: "1.65",
		tag.RequestingPhysician: "TRAN^BINH^VAN", tag.AccessionNumber: "A1", tag.StudyInstanceUID: "1.2.840.1", tag.RequestedProcedureID: "RP1", tag.RequestedProcedureDescription: "CT dau",
		tag.RequestedProcedurePriority: "STAT", tag.AdmissionID: "VV1", tag.CurrentPatientLocation: "KKB P1", tag.ReasonForTheRequestedProcedure: "Dau dau", tag.Allergies: "Penicillin",
		tag.PlacerOrderNumberImagingServiceRequest: "PA1",
	} {
		if got := all[0].Text(tg); got != want {
			t.Errorf("%v is %q, want %q", tg, got, want)
		}
	}
	if n, _ := all[0].Int(tag.PregnancyStatus); n != 3 {
		t.Errorf("pregnancy status %d", n)
	}
	first, second := all[0].Items(tag.ScheduledProcedureStepSequence)[0], all[1].Items(tag.ScheduledProcedureStepSequence)[0]
	if !slices.Equal(first.Texts(tag.ScheduledStationAETitle), []string{"CT1", "CT2"}) || first.Text(tag.ScheduledProcedureStepStartDate) != "20260115" ||
		first.Text(tag.ScheduledProcedureStepStartTime) != "090000" || first.Items(tag.ScheduledProtocolCodeSequence)[0].Text(tag.CodingSchemeDesignator) != "99HIS" {
		t.Errorf("the first step is %v", first)
	}
	// SH has room for 16 characters; a step of no station is the station's who asks.
	if second.Text(tag.ScheduledProcedureStepID) != "ScheduledProcSte" || second.Text(tag.ScheduledStationName) != "Phong chup cat l" || second.Text(tag.ScheduledStationAETitle) != "CT9" {
		t.Errorf("the second step is %v", second)
	}
	for _, d := range []*dicom.Dataset{all[0], first, second} {
		for e := range d.All() {
			if strings.ContainsFunc(e.Text(), func(r rune) bool { return r > '~' }) {
				t.Errorf("%v is not ASCII: %q", e.Tag, e.Text())
			}
		}
	}
}

func TestWorklistQueriesOfOrders(t *testing.T) {
	s, source := scheduled(t)
	keep(t, s, source.Orders, orders.Request{Action: orders.New, Link: "his", Order: imagingOrder("A1")})
	o := imagingOrder("A2")
	o.Services[0].Imaging.Steps = []record.Step{{ID: "S3", Modality: "MR"}}
	keep(t, s, source.Orders, orders.Request{Action: orders.New, Link: "his", Said: orders.Said{Order: ordered}, Order: o})
	const cut = "ScheduledProcSte"
	for _, c := range []struct {
		q    worklist.Query
		want []string
	}{
		{worklist.Query{}, []string{"S1", cut, "S3"}},
		{worklist.Query{Modality: "CT"}, []string{"S1", cut}},
		{worklist.Query{Modality: "MR", StartDate: "20260114"}, []string{"S3"}},
		{worklist.Query{StartDate: "20260115"}, []string{"S1", cut}},
		{worklist.Query{StartDate: "20260115-", StartTime: "093000-"}, []string{cut}},
		{worklist.Query{StartDate: "-20260114"}, []string{"S3"}},
		{worklist.Query{StartDate: "20260101-20260131"}, []string{"S1", cut, "S3"}},
		{worklist.Query{StartDate: "20260116"}, nil},
		{worklist.Query{StationAETitle: "CT2"}, []string{"S1"}},
		{worklist.Query{StationAETitle: "CT9"}, []string{cut, "S3"}},
		{worklist.Query{PatientName: "NGUYEN*", AccessionNumber: "A2"}, []string{"S3"}},
	} {
		if got := matching(t, source, c.q); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.q, got, c.want)
		}
	}
	source.Style = func(find.Query) Style { return Style{UTF8: true, Names: record.NameLastWord} }
	for d, err := range source.Entities(t.Context(), find.Query{Identifier: dicom.NewDataset()}) {
		if err != nil || d.Text(tag.PatientName) != "NGUYỄN^ÁNH^THỊ" || d.Text(tag.SpecificCharacterSet) != "ISO_IR 192" {
			t.Errorf("in UTF-8: %q %v", d.Text(tag.PatientName), err)
		}
	}
}

func TestStepsOfAnOrderArePerformedOneByOne(t *testing.T) {
	s, source := scheduled(t)
	keep(t, s, source.Orders, orders.Request{Action: orders.New, Link: "his", Order: imagingOrder("A1")})
	perform := func(step string, end record.ServiceState, remove bool) {
		t.Helper()
		b := new(storage.Batch)
		done := source.Orders.Perform(b, []orders.Performed{{Study: "1.2.840.1", Accession: "A1", StepID: step, End: end, Device: "ct-1", At: ordered}}, remove)
		_, err := s.Commit(t.Context(), b)
		if done(err); err != nil {
			t.Fatal(err)
		}
	}
	perform("S1", "", false)
	if got := matching(t, source, worklist.Query{}); len(got) != 2 {
		t.Errorf("begun: %v", got)
	}
	perform("S1", record.Discontinued, false)
	if got := matching(t, source, worklist.Query{}); len(got) != 2 {
		t.Errorf("discontinued: %v", got)
	}
	perform("S1", record.Completed, false)
	if got := matching(t, source, worklist.Query{}); !slices.Equal(got, []string{"ScheduledProcSte"}) {
		t.Errorf("completed: %v", got)
	}
	perform("ScheduledProcSte", record.Discontinued, true)
	if got := matching(t, source, worklist.Query{}); len(got) != 0 {
		t.Errorf("discontinued and removed: %v", got)
	}
	if source.Orders.Open() != 0 {
		t.Error("the order is open")
	}
}
