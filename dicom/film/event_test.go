package film_test

import (
	"context"
	"sync/atomic"
	"testing"

	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/film"
	"nhip/dicom/service"
	"nhip/dicom/service/servicetest"
	"nhip/dicom/tag"
)

func TestAnnotationBoxes(t *testing.T) {
	p := &printer{}
	address, scp := serve(t, p, film.Limits{})
	scp.Annotations = func(id string) int { return map[string]int{"LABEL": 2}[id] }
	a := dial(t, address, film.AnnotationClass)
	r := requestor{t, a}
	r.want("session", 0, dimse.NCreateRQ, film.SessionClass, "1.2.1", nil)
	box := format(`STANDARD\1,1`)
	if err := box.SetText(tag.AnnotationDisplayFormatID, "LABEL"); err != nil {
		t.Fatal(err)
	}
	_, answer := r.do(dimse.NCreateRQ, film.BoxClass, "1.2.2", box)
	texts := answer.Items(tag.ReferencedBasicAnnotationBoxSequence)
	if len(texts) != 2 || texts[0].Text(tag.ReferencedSOPClassUID) != film.AnnotationClass {
		t.Fatalf("%d annotation boxes", len(texts))
	}
	uids := []string{texts[0].Text(tag.ReferencedSOPInstanceUID), texts[1].Text(tag.ReferencedSOPInstanceUID)}
	r.want("text", 0, dimse.NSetRQ, film.AnnotationClass, uids[0], set(tag.AnnotationPosition, 1, tag.TextString, "left"))
	r.want("text at another position", dimse.AttributeValueOutOfRange, dimse.NSetRQ, film.AnnotationClass, uids[1], set(tag.AnnotationPosition, 5, tag.TextString, "right"))
	r.want("no such box", dimse.NoSuchSOPInstance, dimse.NSetRQ, film.AnnotationClass, "1.2.9", set(tag.TextString, "x"))
	r.want("print", 0xB603, dimse.NActionRQ, film.BoxClass, "1.2.2", nil)
	servicetest.Release(t, a)
	scp.Wait()
	if len(p.films) != 1 || len(p.films[0].Annotations) != 2 || p.films[0].Annotations[0].Text != "left" || p.films[0].Annotations[1].Text != "right" {
		t.Errorf("%+v", p.films)
	}
}

func TestAnnotationBoxesAreForThoseThatNegotiateThem(t *testing.T) {
	address, scp := serve(t, &printer{}, film.Limits{})
	scp.Annotations = func(string) int { return 2 }
	a := dial(t, address)
	r := requestor{t, a}
	r.want("session", 0, dimse.NCreateRQ, film.SessionClass, "1.2.1", nil)
	box := format(`STANDARD\1,1`)
	if err := box.SetText(tag.AnnotationDisplayFormatID, "LABEL"); err != nil {
		t.Fatal(err)
	}
	if _, answer := r.do(dimse.NCreateRQ, film.BoxClass, "1.2.2", box); answer.Has(tag.ReferencedBasicAnnotationBoxSequence) {
		t.Error("annotation boxes that nobody asked for")
	}
	servicetest.Release(t, a)
}

// A changing printer is one whose status changes.
type changing struct {
	printer
	status atomic.Pointer[film.PrinterStatus]
}

func (c *changing) Status() film.PrinterStatus { return *c.status.Load() }

func TestThePrinterReportsItsStatus(t *testing.T) {
	p := &changing{}
	p.status.Store(&film.PrinterStatus{})
	scp := &film.SCP{Printer: p}
	address := servicetest.Serve(t, service.Mux{scp.Service()})
	t.Cleanup(scp.Wait)
	type event struct {
		kind uint16
		info string
	}
	events := make(chan event, 10)
	proposal := association.Proposal{}
	film.Propose(&proposal)
	proposal.Handlers = map[dimse.CommandField]association.Handler{dimse.NEventReportRQ: func(ctx context.Context, a *association.Association, m *association.Message) error {
		d, err := service.Read(m, 1<<10)
		if err != nil {
			return err
		}
		events <- event{m.Command.EventTypeID, d.Text(tag.PrinterStatusInfo)}
		return service.Respond(ctx, a, m, dimse.Command{EventTypeID: m.Command.EventTypeID}, nil)
	}}
	a := servicetest.Dial(t, address, proposal)
	if err := scp.Report(t.Context()); err != nil { // nobody has made anything yet
		t.Fatal(err)
	}
	if _, err := film.Status(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		status film.PrinterStatus
		event  event
	}{
		{film.PrinterStatus{Status: "FAILURE", Info: "RECEIVER FULL"}, event{3, "RECEIVER FULL"}},
		{film.PrinterStatus{Status: "WARNING", Info: "SUPPLY LOW"}, event{2, "SUPPLY LOW"}},
		{film.PrinterStatus{}, event{1, ""}},
	} {
		p.status.Store(&want.status)
		if err := scp.Report(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := <-events; got != want.event {
			t.Errorf("%+v, want %+v", got, want.event)
		}
	}
	servicetest.Release(t, a)
}
