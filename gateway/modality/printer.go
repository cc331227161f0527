package modality

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"os"
	"strings"
	"sync"
	"time"

	"nhip/dicom"
	"nhip/dicom/dimse"
	"nhip/dicom/film"
	"nhip/dicom/sc"
	"nhip/dicom/service"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
	"nhip/gateway/intake"
	"nhip/storage"
	"nhip/storage/diskguard"
	"nhip/storage/spool"
)

// A Printer takes the films of modalities instead of a film printer, PS3.4 annex H: each
// film becomes one Secondary Capture Image, which is on disk before the modality is told
// that it is printed, and goes the way of its images. It is film.Printer.
//
// What the film says of its patient is what the film session proposes as the study
// (2130,00A0), and nothing is guessed: without it the image has no patient, and a study
// of its own for each film session.
type Printer struct {
	Intake *intake.Intake
	Spool  *spool.Spool
	Room   func(diskguard.Class) error
	Log    *slog.Logger
	Now    func() time.Time
	Dir    string // for what is not printed yet: its own, emptied by Clear
	// Connection names the modality of an association.
	Connection func(service.Peer) string

	one sync.Mutex // films are composed one at a time: a large one takes much memory
}

// Clear makes the folder, and removes what an earlier run has left in it.
func (p *Printer) Clear() error {
	if err := os.RemoveAll(p.Dir); err != nil {
		return err
	}
	return os.MkdirAll(p.Dir, 0o700)
}

// Status is film.Printer.
func (p *Printer) Status() film.PrinterStatus {
	s := film.PrinterStatus{Name: "NHIP", Manufacturer: "Nhip", Model: "DICOM gateway"}
	if p.Room(diskguard.Images) != nil {
		s.Status, s.Info = "FAILURE", "RECEIVER FULL"
	}
	return s
}

// A pixelFile holds the pixel data of one image box.
type pixelFile struct {
	*os.File
	once sync.Once
}

// Close says that the data are whole; they stay readable until Discard.
func (f *pixelFile) Close() error { return nil }

// Discard is film.Sink.
func (f *pixelFile) Discard() {
	f.once.Do(func() {
		f.File.Close()
		os.Remove(f.Name())
	})
}

// full refuses an image while the disk is too full.
var full = &service.StatusError{Status: dimse.Status{Code: dimse.ResourceLimitation, Comment: "the gateway's disk is too full, print again later"}}

// Pixels is film.Printer.
func (p *Printer) Pixels(_ context.Context, _ service.Peer, _ *film.Image) (film.Sink, error) {
	if err := p.Room(diskguard.Images); err != nil {
		return nil, full
	}
	f, err := os.CreateTemp(p.Dir, "image-")
	if err != nil {
		return nil, err
	}
	return &pixelFile{File: f}, nil
}

// Print is film.Printer.
func (p *Printer) Print(ctx context.Context, from service.Peer, films []film.Film) dimse.Status {
	connection := p.Connection(from)
	log := p.Log.With("modality", connection)
	if p.Room(diskguard.Images) != nil {
		return full.Status
	}
	for _, f := range films {
		if !hasImage(f) {
			continue // the library warns of it
		}
		instance, err := p.print(context.WithoutCancel(ctx), connection, from, f)
		if err != nil {
			log.Error("film not stored", "format", f.Format.Text, "error", err)
			if errors.Is(err, storage.ErrDiskFull) {
				return full.Status
			}
			return dimse.Status{Code: dimse.ProcessingFailure, Comment: "the film cannot be stored, print again later"}
		}
		log.Info("film stored", "format", f.Format.Text, "sop instance", instance)
	}
	return dimse.Status{}
}

func hasImage(f film.Film) bool {
	for _, i := range f.Images {
		if i.Image != nil {
			return true
		}
	}
	return false
}

// print makes one film an object, as durable as any.
func (p *Printer) print(ctx context.Context, connection string, from service.Peer, f film.Film) (instance string, err error) {
	p.one.Lock()
	defer p.one.Unlock()
	s, err := compose(f, func(i *film.Image) (io.ReadCloser, error) {
		file, ok := i.Pixels.(*pixelFile)
		if !ok {
			return nil, errors.New("no pixel data")
		}
		return io.NopCloser(io.NewSectionReader(file.File, 0, i.Length)), nil
	})
	if err != nil {
		return "", err
	}
	o := p.object(connection, f)
	image, err := sc.Image(o, s.pixels())
	if err != nil {
		return "", err
	}
	if text := annotations(f); text != "" {
		if err := image.Dataset.SetText(tag.ImageComments, text); err != nil {
			return "", err
		}
	}
	ref, err := p.write(image)
	if err != nil {
		return "", err
	}
	attrs := map[string]string{
		intake.AttrSOPClass: uid.SecondaryCaptureImageStorage, intake.AttrSOPInstance: o.SOPInstanceUID, intake.AttrTransferSyntax: uid.ExplicitVRLittleEndian,
		intake.AttrStudy: o.StudyInstanceUID, intake.AttrSeries: o.SeriesInstanceUID, intake.AttrModality: "OT", intake.AttrFilm: intake.FilmUnnamed,
	}
	if o.PatientID != "" {
		attrs[intake.AttrPatient], attrs[intake.AttrFilm] = o.PatientID, intake.FilmNamed
	}
	if o.AccessionNumber != "" {
		attrs[intake.AttrAccession] = o.AccessionNumber
	}
	if _, err := p.Intake.Object(ctx, connection, from.Address.String(), ref, attrs); err != nil {
		return "", errors.Join(err, p.Spool.Remove(ref))
	}
	return o.SOPInstanceUID, nil
}

// write puts an object into the spool.
func (p *Printer) write(f *dicom.File) (spool.Ref, error) {
	w, err := p.Spool.Create()
	if err != nil {
		return spool.Ref{}, err
	}
	if err := f.Write(w); err != nil {
		w.Abort()
		return spool.Ref{}, err
	}
	return w.Commit()
}

// object is what is known of a film: the study that its session proposes, by its
// standard a guess of the modality's operator, and else UIDs of our own. The films of
// a session are one series.
func (p *Printer) object(connection string, f film.Film) sc.Object {
	now := p.Now()
	o := sc.Object{
		SOPInstanceUID: service.NewUID(), SeriesInstanceUID: derived("series", f.Print),
		StudyInstanceUID: derived("study", f.Print),
		Created:          now, ConversionType: "DF", BurnedInAnnotation: true, Manufacturer: "Nhip", StationName: strings.ToUpper(connection[:min(len(connection), 16)]),
		SeriesDescription: "Film", ImageType: []string{"DERIVED", "SECONDARY"},
	}
	for _, study := range f.Session.Items(tag.ProposedStudySequence) {
		o.PatientName, o.PatientID = study.Text(tag.PatientName), study.Text(tag.PatientID)
		o.PatientBirthDate, o.PatientSex = study.Text(tag.PatientBirthDate), study.Text(tag.PatientSex)
		o.AccessionNumber, o.StudyID = study.Text(tag.AccessionNumber), study.Text(tag.StudyID)
		o.StudyDate, o.StudyTime = study.Text(tag.StudyDate), study.Text(tag.StudyTime)
		o.ReferringPhysicianName, o.StudyDescription = study.Text(tag.ReferringPhysicianName), study.Text(tag.StudyDescription)
		if u := study.Text(tag.StudyInstanceUID); uid.Valid(u) {
			o.StudyInstanceUID = u
		}
		break
	}
	if label := f.Session.Text(tag.FilmSessionLabel); o.StudyDescription == "" && len(label) <= 64 {
		o.StudyDescription = label
	}
	o.StudyDate, o.StudyTime = cmp.Or(o.StudyDate, now.Format("20060102")), cmp.Or(o.StudyTime, now.Format("150405"))
	return o
}

// derived is a UID under 2.25 made of names: the same for the films of a session.
func derived(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	b := sum[:16]
	b[6], b[8] = b[6]&0x0F|0x80, b[8]&0x3F|0x80 // RFC 9562, version 8: of our own making
	return "2.25." + new(big.Int).SetBytes(b).String()
}

// annotations is the text of the annotation boxes of a film.
func annotations(f film.Film) string {
	var lines []string
	for _, a := range f.Annotations {
		if t := strings.TrimSpace(a.Text); t != "" {
			lines = append(lines, t)
		}
	}
	text := strings.Join(lines, "\n")
	if len(text) > 10000 { // LT, PS3.5 table 6.2-1
		text = strings.ToValidUTF8(text[:10000], "")
	}
	return text
}
