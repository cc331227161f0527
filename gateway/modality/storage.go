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
	"nhip/storage"
	"nhip/storage/diskguard"
	"nhip/storage/spool"
)

// A Storage receives objects.
type Storage struct {
	Intake *intake.Intake
	Spool  *spool.Spool
	Room   func(diskguard.Class) error // whether there is room on the disk
	Log    *slog.Logger
	// Connection names the modality of an association.
	Connection func(r store.Request) string
	// Stored is told of every object that is durable.
	Stored func(connection string, outcome intake.ObjectOutcome)
}

// diskFull is the answer while the disk is too full for an object. The comment is
// what a radiographer may find in the modality's log.
var diskFull = dimse.Status{Code: dimse.OutOfResources, Comment: "the gateway's disk is too full, send again later"}

// Handle is store.Handler: C-STORE as SCP, PS3.4 annex B. On a disk that is too
// full an object is refused before its data set is read, and one that is being
// received when there is no room for results any more is given up.
func (s *Storage) Handle(ctx context.Context, r store.Request, dataSet io.Reader) dimse.Status {
	connection := s.Connection(r)
	log := s.Log.With("modality", connection)
	if err := s.Room(diskguard.Images); err != nil {
		log.Warn("object refused with A700", "reason", err)
		return diskFull
	}
	ref, header, err := s.receive(r, dataSet)
	var broken *brokenError
	switch {
	case errors.As(err, &broken):
		log.Warn("object not received whole: nothing kept", "reason", broken.err)
		return dimse.Status{Code: dimse.ProcessingFailure, Comment: "object not received whole"}
	case errors.Is(err, storage.ErrDiskFull):
		log.Warn("object given up in the middle with A700", "reason", err)
		return diskFull
	case err != nil:
		log.Error("object not stored, answered A700", "error", err)
		return dimse.Status{Code: dimse.OutOfResources, Comment: "cannot be written to disk, send again later"}
	}
	outcome, err := s.Intake.Object(context.WithoutCancel(ctx), connection, r.Peer.String(), ref, attributes(r, header))
	if errors.Is(err, storage.ErrDiskFull) {
		log.Warn("object refused with A700", "reason", err)
		if err := s.Spool.Remove(ref); err != nil {
			log.Error("the refused object was not removed", "error", err)
		}
		return diskFull
	}
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
	w    io.Writer
	room func(diskguard.Class) error
	err  error
}

func (d *toDisk) Write(b []byte) (n int, err error) {
	if err = d.room(diskguard.Results); err == nil {
		n, err = d.w.Write(b)
	}
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
	written := &toDisk{w: w, room: s.Room}
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
		intake.AttrSeries:    h.SeriesInstanceUID,
		intake.AttrModality:  h.Modality,
		intake.AttrAccession: h.AccessionNumber,
		intake.AttrPatient:   h.PatientID,
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
