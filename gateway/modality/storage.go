// Package modality is what modalities and PACS get from the gateway: storage
// now, worklist, performed steps and commitment later. Storage streams an
// object to the spool, reads its header on the way, and answers 0000 when it is
// durable; the Forwarder sends it on with the same data set bytes.
package modality

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"nhip/dicom"
	"nhip/dicom/dimse"
	"nhip/dicom/store"
	"nhip/gateway/intake"
	"nhip/storage/spool"
)

// A Storage receives objects.
type Storage struct {
	Intake *intake.Intake
	Spool  *spool.Spool
	Log    *slog.Logger
	// Connection names the modality of an association.
	Connection func(r store.Request) string
	// Stored is told of every object that is durable.
	Stored func(connection string, outcome intake.ObjectOutcome)
}

// Handle is store.Handler: C-STORE as SCP, PS3.4 annex B.
func (s *Storage) Handle(ctx context.Context, r store.Request, dataSet io.Reader) dimse.Status {
	connection := s.Connection(r)
	log := s.Log.With("modality", connection)
	ref, header, err := s.receive(r, dataSet)
	var broken *brokenError
	switch {
	case errors.As(err, &broken):
		log.Warn("object not received whole: nothing kept", "reason", broken.err)
		return dimse.Status{Code: dimse.ProcessingFailure, Comment: "object not received whole"}
	case err != nil:
		log.Error("object not stored, answered A700", "error", err)
		return dimse.Status{Code: dimse.OutOfResources, Comment: "cannot be written to disk, send again later"}
	}
	outcome, err := s.Intake.Object(context.WithoutCancel(ctx), connection, r.Peer.String(), ref, attributes(r, header))
	if err != nil {
		log.Error("object not stored, answered A700", "error", err)
		return dimse.Status{Code: dimse.OutOfResources, Comment: "cannot be committed, send again later"}
	}
	s.Stored(connection, outcome)
	switch {
	case outcome == intake.ObjectConflict:
		log.Error("held: other bytes under a SOP Instance UID that is stored already", "sop instance", r.SOPInstanceUID)
	case header.Problem != "":
		log.Warn("odd data set, kept as it is", "sop instance", r.SOPInstanceUID, "problem", header.Problem)
	}
	return dimse.Status{Code: dimse.Success}
}

// A brokenError is the peer's or the line's.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }

// toDisk remembers whether it was the disk that failed.
type toDisk struct {
	w   io.Writer
	err error
}

func (d *toDisk) Write(b []byte) (int, error) {
	n, err := d.w.Write(b)
	if err != nil {
		d.err = err
	}
	return n, err
}

// receive streams the object into the spool as a DICOM file (PS3.10 section 7).
func (s *Storage) receive(r store.Request, dataSet io.Reader) (spool.Ref, dicom.Header, error) {
	w, err := s.Spool.Create()
	if err != nil {
		return spool.Ref{}, dicom.Header{}, err
	}
	if err := dicom.WritePart10Header(w, r.SOPClassUID, r.SOPInstanceUID, r.TransferSyntaxUID); err != nil {
		w.Abort()
		return spool.Ref{}, dicom.Header{}, err
	}
	h := dicom.NewHeaderReader(r.TransferSyntaxUID)
	written := &toDisk{w: w}
	_, err = io.Copy(io.MultiWriter(h, written), dataSet)
	if err != nil {
		w.Abort()
		if written.err != nil {
			return spool.Ref{}, dicom.Header{}, written.err
		}
		return spool.Ref{}, dicom.Header{}, &brokenError{err}
	}
	ref, err := w.Commit()
	return ref, h.Header(), err
}

// attributes are what routing and people want to know. Command and data set may
// differ in their UIDs: the command's count (PS3.7 section 9.1.1).
func attributes(r store.Request, h dicom.Header) map[string]string {
	a := map[string]string{
		intake.AttrSOPClass:       r.SOPClassUID,
		intake.AttrSOPInstance:    r.SOPInstanceUID,
		intake.AttrTransferSyntax: r.TransferSyntaxUID,
	}
	for k, v := range map[string]string{
		intake.AttrStudy:     h.StudyInstanceUID,
		intake.AttrModality:  h.Modality,
		intake.AttrAccession: h.AccessionNumber,
		"problem":            h.Problem,
	} {
		if v != "" {
			a[k] = v
		}
	}
	if h.SOPInstanceUID != "" && h.SOPInstanceUID != r.SOPInstanceUID {
		a["data set sop instance"] = h.SOPInstanceUID
	}
	return a
}
