package run

import (
	"context"
	"net"
	"slices"
	"testing"
	"time"

	"nhip/dicom/dimse"
	"nhip/dicom/ian"
	"nhip/dicom/service"
)

// A RIS is told which images a PACS has, once for a study, and again after a restart
// for what came before it.
func TestARISIsToldWhatThePACSHas(t *testing.T) {
	t.Parallel()
	a := newCommitter(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan ian.Notification, 10)
	serveOn(t, l, service.Mux{ian.SCP(func(_ context.Context, _ service.Peer, n ian.Notification) dimse.Status {
		told <- n
		return dimse.Status{}
	})})
	s := newSite(t, modalityBlock("ct-1", "CT1", `to = ["pacs", "ris"]`)+a.block("")+dicomBlock("ris", l.Addr().String(), "RIS", "ian = true\nimages = false"))
	instances := []string{"1.2.826.131", "1.2.826.132"}
	for _, instance := range instances {
		if status := sendObject(t, s.status().Listen.DICOM, "CT1", ctImage, instance); status.Code != dimse.Success {
			t.Fatal(status)
		}
	}
	eventually(t, "they are delivered", func() bool { return s.status().Counts.Delivered == 2 })
	s.stop() // before the minute is over
	s.quiet = 50 * time.Millisecond
	s.start()
	var got []string
	for len(got) < 2 { // one notification, or two where the machine is slow
		n := <-told
		if n.StudyInstanceUID != "1.2.826.1" || len(n.Series) != 1 || n.Series[0].SeriesInstanceUID != "1.2.826.1.1" {
			t.Errorf("%+v", n)
		}
		for _, i := range n.Series[0].Instances {
			got = append(got, i.SOPInstanceUID)
			if i.Availability != ian.Online || i.RetrieveAETitle != "ARCHIVE" || i.SOPClassUID != ctImage {
				t.Errorf("%+v", i)
			}
		}
	}
	if !slices.Equal(got, instances) {
		t.Errorf("%v", got)
	}
	eventually(t, "the sum is right", func() bool {
		c := s.status().Counts
		return c.Queued == 0 && c.Delivered == c.Accepted && c.Delivered >= 3
	})
}
