// Package film is the DICOM Print Management service class, PS3.4 annex H: Basic
// Grayscale and Basic Color Print Management as SCP, which takes films as a
// printer does, and as SCU, which prints. It renders nothing: what the SCP yields
// is the structure of a film, with the pixel data of each image box where the
// caller wanted them.
//
// Everything that a requestor makes lives as long as its association, section
// H.2.2: at most one film session, its film boxes with their image boxes, and
// presentation LUTs. What was not printed by then is gone.
package film

import (
	"io"
	"slices"

	"nhip/dicom"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// SOP classes, PS3.4 annex H. The meta SOP classes are what is negotiated; the
// messages carry their members.
const (
	GrayscaleMeta       = uid.BasicGrayscalePrintManagementMeta
	ColorMeta           = uid.BasicColorPrintManagementMeta
	SessionClass        = uid.BasicFilmSession
	BoxClass            = uid.BasicFilmBox
	GrayscaleImageClass = uid.BasicGrayscaleImageBox
	ColorImageClass     = uid.BasicColorImageBox
	PrinterClass        = uid.Printer
	PrinterInstance     = uid.PrinterInstance
	PrintJobClass       = uid.PrintJob
	LUTClass            = uid.PresentationLUT
	AnnotationClass     = uid.BasicAnnotationBox
)

// Statuses of PS3.4 annex H.
const (
	statusEmptySession  uint16 = 0xB602 // warning: the session prints no image
	statusEmptyFilm     uint16 = 0xB603 // warning: the film has no image
	statusNoFilmBox     uint16 = 0xC600 // the session has no film box
	statusImageTooLarge uint16 = 0xC603
	statusNoMemory      uint16 = 0xC605 // for the image
)

// A Sink takes the pixel data of one image box: they are written once, native
// and in little endian. Close says that they are whole, Discard that they are
// not wanted (any more): a part that was written, or a film that is gone.
type Sink interface {
	io.WriteCloser
	Discard()
}

// An Image is what an image box shows.
type Image struct {
	// Attributes is the item of the Basic Grayscale or Color Image Sequence without
	// its pixel data.
	Attributes *dicom.Dataset
	Rows       int
	Columns    int
	Samples    int   // 1, or 3
	Allocated  int   // bits of a sample: 8 or 16
	Length     int64 // of the pixel data in bytes, without padding
	Pixels     Sink
}

// An ImageBox is a place of a film for an image, PS3.3 section C.13.5.
type ImageBox struct {
	SOPClassUID, SOPInstanceUID string
	Position                    int            // from 1
	Attributes                  *dicom.Dataset // of the last N-SET, without the image; nil before one
	Image                       *Image         // nil: empty
}

// An Annotation is a place of a film for text, PS3.3 section C.13.7.
type Annotation struct {
	SOPInstanceUID string
	Position       int // from 1
	Text           string
}

// A Film is a film box as it is printed, PS3.3 section C.13.3, with the film
// session that it is in.
type Film struct {
	SOPInstanceUID        string
	SessionSOPInstanceUID string
	// Print is a UID of ours for this film session alone: some requestors give every film
	// session the same SOP Instance UID.
	Print       string
	Color       bool
	Format      Format
	Session     *dicom.Dataset // attributes of the film session
	Box         *dicom.Dataset // and of the film box
	Images      []ImageBox     // by position
	Annotations []Annotation   // by position
	LUTs        map[string]*dicom.Dataset
	Copies      int
	Printed     int // how often this film was printed before
}

// LUT returns the presentation LUT of a film or an image box: one of Film.LUTs,
// nil where it names none.
func (f Film) LUT(attributes *dicom.Dataset) *dicom.Dataset {
	if attributes == nil {
		return nil
	}
	for _, ref := range attributes.Items(tag.ReferencedPresentationLUTSequence) {
		return f.LUTs[ref.Text(tag.ReferencedSOPInstanceUID)]
	}
	return nil
}

// Limits of what one association may make. Zero means the default.
type Limits struct {
	Images     int   // image boxes of a film; 100
	Films      int   // film boxes at one time; 16
	LUTs       int   // presentation LUTs at one time; 64
	Texts      int   // annotation boxes of a film; 64
	Rows       int   // of an image, and columns; 16,384
	Pixels     int64 // bytes of the pixel data of one image; 512 MiB
	Attributes int64 // bytes of a data set without pixel data; 512 KiB
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		v  *int
		to int
	}{{&l.Images, 100}, {&l.Films, 16}, {&l.LUTs, 64}, {&l.Texts, 64}, {&l.Rows, 16384}} {
		if *d.v == 0 {
			*d.v = d.to
		}
	}
	if l.Pixels == 0 {
		l.Pixels = 512 << 20
	}
	if l.Attributes == 0 {
		l.Attributes = 512 << 10
	}
	return l
}

// film is the film box as it is now.
func (b *filmBox) film(s *session, luts map[string]*dicom.Dataset) Film {
	copies, _ := s.attributes.Int(tag.NumberOfCopies)
	return Film{
		SOPInstanceUID:        b.uid,
		SessionSOPInstanceUID: s.uid,
		Print:                 s.own,
		Color:                 b.color,
		Format:                b.format,
		Session:               s.attributes,
		Box:                   b.attributes,
		Images:                slices.Clone(b.images),
		Annotations:           slices.Clone(b.annotations),
		LUTs:                  luts,
		Copies:                int(max(copies, 1)),
		Printed:               b.printed,
	}
}
