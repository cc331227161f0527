// Package sc builds what is captured rather than acquired: Secondary Capture images
// of one or of several frames, PS3.3 sections A.8.1 to A.8.5, and encapsulated PDF
// documents, section A.45.1. It fills in what the standard requires and is told the
// rest; it invents no identifier.
package sc

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"

	"nhip/dicom"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// An Object is what is said of an instance beside its content. The UIDs are required;
// what else is empty stands empty where the standard allows it (type 2).
type Object struct {
	PatientName, PatientID string
	PatientBirthDate       string // DA
	PatientSex             string // M, F or O

	StudyInstanceUID, StudyID  string
	StudyDate, StudyTime       string // DA, TM
	AccessionNumber            string
	ReferringPhysicianName     string
	StudyDescription           string
	SeriesInstanceUID          string
	SeriesNumber               int
	SeriesDescription          string
	Modality                   string // of an image, OT where it is empty; of a document, DOC
	SOPInstanceUID             string
	InstanceNumber             int
	Created                    time.Time // of the content
	Manufacturer, StationName  string
	ConversionType             string   // WSD, DF, SD … (PS3.3 section C.8.6.1); WSD where it is empty
	BurnedInAnnotation         bool     // the pixels name the patient
	ImageType                  []string // DERIVED, SECONDARY where it is empty
	CharacterSet               string   // ISO_IR 192 where it is empty
	DocumentTitle              string
	FrameTime                  float64 // milliseconds between frames, 0: they are pages
	RescaleSlope, RescaleInter float64 // slope 0: 1
}

// Pixels are the frames of an image, one after the other, as native pixel data are:
// little endian, colour by pixel.
type Pixels struct {
	Rows, Columns, Frames int
	Samples               int // 1: MONOCHROME2, 3: RGB
	BitsAllocated         int // 8 or 16; 8 for colour
	BitsStored            int // as many where it is 0
	Data                  []byte
}

func (p Pixels) check() error {
	if p.Rows < 1 || p.Columns < 1 || p.Frames < 1 || p.Rows > 65535 || p.Columns > 65535 {
		return fmt.Errorf("dicom/sc: %d frames of %d by %d", p.Frames, p.Columns, p.Rows)
	}
	if p.Samples != 1 && p.Samples != 3 || p.BitsAllocated != 8 && p.BitsAllocated != 16 || p.Samples == 3 && p.BitsAllocated != 8 {
		return fmt.Errorf("dicom/sc: %d samples of %d bits", p.Samples, p.BitsAllocated)
	}
	if p.BitsStored < 0 || p.BitsStored > p.BitsAllocated {
		return fmt.Errorf("dicom/sc: %d bits of %d", p.BitsStored, p.BitsAllocated)
	}
	if want := p.Rows * p.Columns * p.Samples * p.BitsAllocated / 8 * p.Frames; len(p.Data) != want {
		return fmt.Errorf("dicom/sc: %d bytes of pixel data where %d belong", len(p.Data), want)
	}
	return nil
}

// A builder sets elements and keeps the first error.
type builder struct {
	*dicom.Dataset
	err error
}

func (b *builder) note(err error) {
	if b.err == nil {
		b.err = err
	}
}

// text sets an element; without a value it is empty.
func (b *builder) text(t tag.Tag, v ...string) {
	if len(v) == 1 && v[0] == "" {
		b.note(b.SetEmpty(t))
		return
	}
	b.note(b.SetText(t, v...))
}

// given sets an element that has a value.
func (b *builder) given(t tag.Tag, v string) {
	if v != "" {
		b.text(t, v)
	}
}

func (b *builder) int(t tag.Tag, v ...int64) { b.note(b.SetInt(t, v...)) }

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// Image builds a Secondary Capture Image of one frame.
func Image(o Object, p Pixels) (*dicom.File, error) {
	if p.Frames == 0 {
		p.Frames = 1
	}
	if p.Frames != 1 {
		return nil, errors.New("dicom/sc: a Secondary Capture Image has one frame")
	}
	b, err := image(o, p, uid.SecondaryCaptureImageStorage)
	if err != nil {
		return nil, err
	}
	return b.file()
}

// MultiFrame builds a Multi-frame Secondary Capture Image: Grayscale Byte, Grayscale
// Word or True Color, by what the pixels are.
func MultiFrame(o Object, p Pixels) (*dicom.File, error) {
	class := uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage
	switch {
	case p.Samples == 3:
		class = uid.MultiFrameTrueColorSecondaryCaptureImageStorage
	case p.BitsAllocated == 16:
		class = uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage
	}
	b, err := image(o, p, class)
	if err != nil {
		return nil, err
	}
	b.int(tag.NumberOfFrames, int64(p.Frames))
	b.frames(o, p)
	return b.file()
}

func image(o Object, p Pixels, class string) (*builder, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	b := begin(o, class, "OT")
	b.text(tag.ConversionType, or(o.ConversionType, "WSD"))
	kind := o.ImageType
	if len(kind) == 0 {
		kind = []string{"DERIVED", "SECONDARY"}
	}
	b.text(tag.ImageType, kind...)
	b.text(tag.PatientOrientation, "")
	b.text(tag.Laterality, "") // type 2C: nothing is known of the body part
	burned := "NO"
	if o.BurnedInAnnotation {
		burned = "YES"
	}
	b.text(tag.BurnedInAnnotation, burned)
	stored := p.BitsStored
	if stored == 0 {
		stored = p.BitsAllocated
	}
	b.int(tag.SamplesPerPixel, int64(p.Samples))
	if p.Samples == 3 {
		b.text(tag.PhotometricInterpretation, "RGB")
		b.int(tag.PlanarConfiguration, 0)
	} else {
		b.text(tag.PhotometricInterpretation, "MONOCHROME2")
	}
	b.int(tag.Rows, int64(p.Rows))
	b.int(tag.Columns, int64(p.Columns))
	b.int(tag.BitsAllocated, int64(p.BitsAllocated))
	b.int(tag.BitsStored, int64(stored))
	b.int(tag.HighBit, int64(stored-1))
	b.int(tag.PixelRepresentation, 0)
	vr := dicom.OB
	if p.BitsAllocated > 8 {
		vr = dicom.OW
	}
	b.note(b.SetBytes(tag.PixelData, vr, p.Data))
	return b, nil
}

// frames says what a multi-frame image says of its frames, PS3.3 section C.8.6.3 and
// C.7.6.6: what one of them is, and how they follow each other.
func (b *builder) frames(o Object, p Pixels) {
	if p.Samples == 1 {
		slope := o.RescaleSlope
		if slope == 0 {
			slope = 1
		}
		b.note(b.SetFloat(tag.RescaleIntercept, o.RescaleInter))
		b.note(b.SetFloat(tag.RescaleSlope, slope))
		b.text(tag.RescaleType, "US")
		b.text(tag.PresentationLUTShape, "IDENTITY")
	}
	if p.Frames == 1 {
		return
	}
	if o.FrameTime > 0 {
		b.note(b.SetFloat(tag.FrameTime, o.FrameTime))
		b.note(b.SetInt(tag.FrameIncrementPointer, int64(tag.FrameTime)))
		return
	}
	pages := make([]string, p.Frames)
	for i := range pages {
		pages[i] = strconv.Itoa(i + 1)
	}
	b.note(b.SetText(tag.PageNumberVector, pages...))
	b.note(b.SetInt(tag.FrameIncrementPointer, int64(tag.PageNumberVector)))
}

// PDF builds an encapsulated PDF document.
func PDF(o Object, pdf []byte) (*dicom.File, error) {
	if !bytes.HasPrefix(pdf, []byte("%PDF-")) {
		return nil, errors.New("dicom/sc: the document is no PDF")
	}
	b := begin(o, uid.EncapsulatedPDFStorage, "DOC")
	b.text(tag.ConversionType, or(o.ConversionType, "WSD"))
	b.text(tag.AcquisitionDateTime, b.Text(tag.ContentDate)+b.Text(tag.ContentTime))
	burned := "NO"
	if o.BurnedInAnnotation {
		burned = "YES"
	}
	b.text(tag.BurnedInAnnotation, burned)
	b.text(tag.DocumentTitle, o.DocumentTitle)
	b.note(b.SetItems(tag.ConceptNameCodeSequence))
	b.text(tag.MIMETypeOfEncapsulatedDocument, "application/pdf")
	b.int(tag.EncapsulatedDocumentLength, int64(len(pdf)))
	b.note(b.SetBytes(tag.EncapsulatedDocument, dicom.OB, pdf))
	return b.file()
}

// begin sets what all of them have: the modules of patient, study, series and
// equipment, and SOP Common.
func begin(o Object, class, modality string) *builder {
	b := &builder{Dataset: dicom.NewDataset()}
	b.text(tag.SpecificCharacterSet, or(o.CharacterSet, "ISO_IR 192"))
	b.text(tag.SOPClassUID, class)
	for t, v := range map[tag.Tag]string{tag.SOPInstanceUID: o.SOPInstanceUID, tag.StudyInstanceUID: o.StudyInstanceUID, tag.SeriesInstanceUID: o.SeriesInstanceUID} {
		if !uid.Valid(v) {
			b.note(fmt.Errorf("dicom/sc: %v is no UID", t))
		}
		b.text(t, v)
	}
	b.text(tag.PatientName, o.PatientName)
	b.text(tag.PatientID, o.PatientID)
	b.text(tag.PatientBirthDate, o.PatientBirthDate)
	b.text(tag.PatientSex, o.PatientSex)
	b.text(tag.StudyID, o.StudyID)
	b.text(tag.StudyDate, o.StudyDate)
	b.text(tag.StudyTime, o.StudyTime)
	b.text(tag.AccessionNumber, o.AccessionNumber)
	b.text(tag.ReferringPhysicianName, o.ReferringPhysicianName)
	b.given(tag.StudyDescription, o.StudyDescription)
	b.given(tag.SeriesDescription, o.SeriesDescription)
	b.text(tag.Modality, or(o.Modality, modality))
	b.text(tag.Manufacturer, o.Manufacturer)
	b.given(tag.StationName, o.StationName)
	b.int(tag.SeriesNumber, int64(o.SeriesNumber))
	b.int(tag.InstanceNumber, int64(o.InstanceNumber))
	if o.Created.IsZero() {
		b.text(tag.ContentDate, "")
		b.text(tag.ContentTime, "")
		return b
	}
	b.text(tag.ContentDate, o.Created.Format("20060102"))
	b.text(tag.ContentTime, o.Created.Format("150405"))
	return b
}

func (b *builder) file() (*dicom.File, error) {
	if b.err != nil {
		return nil, b.err
	}
	return dicom.NewFile(b.Dataset, uid.ExplicitVRLittleEndian)
}
