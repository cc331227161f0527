package run

import (
	"bytes"
	"strings"
	"testing"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/find"
	"nhip/dicom/service"
	"nhip/dicom/service/servicetest"
	"nhip/dicom/store"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// sendBytes stores a data set that may be anything.
func sendBytes(t *testing.T, address, calling, instance string, b []byte) dimse.Status {
	t.Helper()
	contexts, _ := store.Contexts([]store.Kind{{SOPClassUID: ctImage, TransferSyntaxUID: uid.ExplicitVRLittleEndian}})
	a := servicetest.Dial(t, address, association.Proposal{Calling: calling, Called: "NHIP", Contexts: contexts})
	s, err := store.Send(t.Context(), a, store.Object{SOPClassUID: ctImage, SOPInstanceUID: instance, TransferSyntaxUID: uid.ExplicitVRLittleEndian, DataSet: bytes.NewReader(b)})
	if err != nil {
		t.Fatal(err)
	}
	servicetest.Release(t, a)
	return s
}

// What a modality may send is kept and sent on, and does not stop a query about the
// rest: classes 4, 5, 7 and 9 of bad input.
func TestHostileObjectsDoNotStopAQuery(t *testing.T) {
	t.Parallel()
	s := newSite(t, modalityBlock("ct-1", "CT1", "")+modalityBlock("ws-1", "WS1", "query = true"))
	good := func(values ...any) []byte {
		var b bytes.Buffer
		if err := dataset(t, values...).Write(&b, uid.ExplicitVRLittleEndian); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	deep := []byte{}
	for range 1000 { // (0008,1140) SQ of undefined length, with an item of undefined length
		deep = append(deep, 8, 0, 0x40, 0x11, 'S', 'Q', 0, 0, 255, 255, 255, 255, 0xFE, 0xFF, 0, 0xE0, 255, 255, 255, 255)
	}
	objects := map[string][]byte{
		"1.2.826.201": good(tag.SOPClassUID, ctImage, tag.SOPInstanceUID, "1.2.826.201", tag.PatientID, "NO-STUDY"),
		"1.2.826.202": append(good(tag.SOPClassUID, ctImage, tag.SOPInstanceUID, "1.2.826.202"), deep...),
		"1.2.826.203": good(tag.SOPClassUID, ctImage, tag.SOPInstanceUID, "9.9.9", tag.StudyInstanceUID, "1.2.826.9", tag.SeriesInstanceUID, "1.2.826.9.1"),
		"1.2.826.204": append(good(tag.SOPClassUID, ctImage, tag.SOPInstanceUID, "1.2.826.204", tag.StudyInstanceUID, "1.2.826.8", tag.SeriesInstanceUID, "1.2.826.8.1")[:40], "PN\xff\xff"...),
		"1.2.826.205": good(tag.SpecificCharacterSet, "ISO 2022 IR 87", tag.SOPClassUID, ctImage, tag.SOPInstanceUID, "1.2.826.205", tag.PatientID, "<script>alert(1)</script>", tag.StudyInstanceUID, "1.2.826.7", tag.SeriesInstanceUID, "1.2.826.7.1"),
		// A character set with the VR of a text, which cannot be decoded by itself.
		"1.2.826.209": append([]byte("\x08\x00\x05\x00SH\x04\x00A \xd2\xd2"), good(tag.SOPClassUID, ctImage, tag.SOPInstanceUID, "1.2.826.209", tag.PatientID, "P-2", tag.StudyInstanceUID, "1.2.826.6", tag.SeriesInstanceUID, "1.2.826.6.1")...),
		"1.2.826.206": []byte("GET / HTTP/1.1\r\n\r\n"),
		"1.2.826.207": nil,
	}
	for instance, b := range objects {
		if status := sendBytes(t, s.status().Listen.DICOM, "CT1", instance, b); status.Code != dimse.Success {
			t.Errorf("%s: %v", instance, status)
		}
	}
	if status := sendObject(t, s.status().Listen.DICOM, "CT1", ctImage, "1.2.826.208"); status.Code != dimse.Success {
		t.Fatal(status)
	}
	// The same UID in another series is other bytes: both are kept, the second is held.
	other := good(tag.SOPClassUID, ctImage, tag.SOPInstanceUID, "1.2.826.208", tag.StudyInstanceUID, "1.2.826.1", tag.SeriesInstanceUID, "1.2.826.1.2")
	if status := sendBytes(t, s.status().Listen.DICOM, "CT1", "1.2.826.208", other); status.Code != dimse.Success {
		t.Fatal(status)
	}
	eventually(t, "all are there", func() bool { c := s.status().Counts; return c.Consumed == int64(len(objects)+1) && c.Held == 1 })
	for _, level := range []string{"STUDY", "SERIES", "IMAGE"} {
		keys := dataset(t, tag.QueryRetrieveLevel, level, tag.SOPInstanceUID, "", tag.PatientID, "")
		if level != "STUDY" {
			for _, k := range []tag.Tag{tag.StudyInstanceUID, tag.SeriesInstanceUID} {
				if err := keys.SetText(k, map[tag.Tag]string{tag.StudyInstanceUID: "1.2.826.1", tag.SeriesInstanceUID: "1.2.826.1.1"}[k]); err != nil {
					t.Fatal(err)
				}
			}
		}
		a := servicetest.Dial(t, s.status().Listen.DICOM, association.Proposal{Calling: "WS1", Called: "NHIP", Contexts: service.Propose(find.StudyRoot.Find())})
		var patients []string
		status, _, err := find.Find(t.Context(), a, find.StudyRoot.Find(), keys, func(d *dicom.Dataset) bool {
			patients = append(patients, d.Text(tag.PatientID))
			return true
		})
		if err != nil || status.Code != dimse.Success || !strings.Contains(strings.Join(patients, " "), "P-1") {
			t.Errorf("%s: %v, %v: %q", level, status, err, patients)
		}
		if level != "STUDY" && len(patients) != 1 {
			t.Errorf("%s: the second of a SOP Instance UID is found too: %q", level, patients)
		}
		servicetest.Release(t, a)
	}
	if strings.Contains(s.log.String(), "<script>") {
		t.Error("a patient ID is in the log")
	}
}
