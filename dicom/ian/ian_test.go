package ian_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/ian"
	"nhip/dicom/service"
	"nhip/dicom/service/servicetest"
	"nhip/dicom/uid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func notification() ian.Notification {
	return ian.Notification{StudyInstanceUID: "1.2.3", Step: "1.2.3.9", Series: []ian.Series{
		{SeriesInstanceUID: "1.2.3.1", Instances: []ian.Instance{
			{SOPClassUID: uid.CTImageStorage, SOPInstanceUID: "1.2.3.1.1", Availability: ian.Online, RetrieveAETitle: "NHIP"},
			{SOPClassUID: uid.CTImageStorage, SOPInstanceUID: "1.2.3.1.2", Availability: ian.Nearline, RetrieveAETitle: "NHIP"},
		}},
		{SeriesInstanceUID: "1.2.3.2", Instances: []ian.Instance{{SOPClassUID: uid.MRImageStorage, SOPInstanceUID: "1.2.3.2.1", Availability: ian.Unavailable, RetrieveAETitle: "NHIP"}}},
	}}
}

func TestBothRoles(t *testing.T) {
	got := make(chan ian.Notification, 1)
	scp := ian.SCP(func(_ context.Context, from service.Peer, n ian.Notification) dimse.Status {
		if from.Calling != "NHIP" {
			t.Errorf("from %q", from.Calling)
		}
		got <- n
		return dimse.Status{}
	})
	a := servicetest.Dial(t, servicetest.Serve(t, service.Mux{scp}), association.Proposal{Contexts: service.Propose(ian.Class)})
	s, err := ian.Send(t.Context(), a, notification())
	if err != nil || s.Code != dimse.Success {
		t.Fatalf("%v, %v", s, err)
	}
	for name, c := range map[string]dimse.Command{
		"of another class":   {AffectedSOPClassUID: uid.CTImageStorage, AffectedSOPInstanceUID: "1.2"},
		"with a path":        {AffectedSOPClassUID: ian.Class, AffectedSOPInstanceUID: "../1"},
		"without a data set": {AffectedSOPClassUID: ian.Class},
	} {
		c.Field = dimse.NCreateRQ
		if rsp, err := a.Request(t.Context(), 1, c, nil); err != nil || rsp.Status.Class() != dimse.ClassFailure {
			t.Errorf("a notification %s: %v, %v", name, rsp.Status, err)
		}
	}
	servicetest.Release(t, a)
	if diff := cmp.Diff(notification(), <-got); diff != "" {
		t.Error(diff)
	}
}

func TestNotificationsThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*ian.Notification)
		code   uint16
	}{
		{"none", func(*ian.Notification) {}, dimse.Success},
		{"no study", func(n *ian.Notification) { n.StudyInstanceUID = "../1" }, dimse.MissingAttributeValue},
		{"no series", func(n *ian.Notification) { n.Series = nil }, dimse.MissingAttributeValue},
		{"no series UID", func(n *ian.Notification) { n.Series[0].SeriesInstanceUID = "x" }, dimse.InvalidAttributeValue},
		{"no availability", func(n *ian.Notification) { n.Series[0].Instances[0].Availability = "SOON" }, dimse.InvalidAttributeValue},
		{"no instance UID", func(n *ian.Notification) { n.Series[0].Instances[0].SOPInstanceUID = "1..2" }, dimse.InvalidAttributeValue},
	} {
		n := notification()
		c.change(&n)
		d, err := n.Dataset()
		if err != nil {
			t.Fatal(err)
		}
		if _, s := ian.Parse(d); s.Code != c.code {
			t.Errorf("%s: %v", c.name, s)
		}
	}
	if _, s := ian.Parse(dicom.NewDataset()); s.Class() != dimse.ClassFailure {
		t.Errorf("nothing: %v", s)
	}
}
