package film

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/service"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// A Job is what an SCU prints: one film session.
type Job struct {
	Session *dicom.Dataset // attributes of the film session, PS3.3 section C.13.1; nil: none
	Sheets  []Sheet
}

// A Sheet is one film box.
type Sheet struct {
	Color    bool
	Box      *dicom.Dataset // attributes of the film box, PS3.3 section C.13.3, with the display format
	LUT      *dicom.Dataset // a presentation LUT that the film refers to; nil: none
	Pictures []Picture
}

// A Picture is an image for an image box.
type Picture struct {
	Position      int            // of the image box, from 1
	Box           *dicom.Dataset // further attributes of the image box; nil: none
	Rows, Columns int
	Samples       int    // 1, or 3 by plane
	Stored        int    // bits of a sample: 8, or 9 to 16 in 16 allocated
	Photometric   string // MONOCHROME1, MONOCHROME2 or RGB
	Pixels        io.Reader
}

func (p Picture) bytes() int {
	if p.Stored > 8 {
		return 2
	}
	return 1
}

func (p Picture) length() int64 {
	return int64(p.Rows) * int64(p.Columns) * int64(p.Samples) * int64(p.bytes())
}

// A PrintError is an answer of the printer that ended a job.
type PrintError struct {
	What   string
	Status dimse.Status
}

func (e *PrintError) Error() string {
	return fmt.Sprintf("dicom/film: the printer answered the %s with %v", e.What, e.Status)
}

// Propose adds to a proposal what Print needs. Printers may send N-EVENT-REPORT,
// which is answered and not looked at.
func Propose(p *association.Proposal) {
	p.Contexts = service.Propose(GrayscaleMeta, ColorMeta, LUTClass)
	p.Handlers = map[dimse.CommandField]association.Handler{dimse.NEventReportRQ: func(ctx context.Context, a *association.Association, m *association.Message) error {
		return service.Refuse(ctx, a, m, dimse.Status{})
	}}
}

// A client prints over one association.
type client struct {
	a        *association.Association
	warnings []dimse.Status
}

// Print prints a job over an association as Propose prepares it, and returns the
// warnings of the printer. A *PrintError is the printer's refusal; any other error
// has nothing of the printer's. The film session is deleted at the end, whatever
// came of it.
func Print(ctx context.Context, a *association.Association, j Job) (warnings []dimse.Status, err error) {
	c := &client{a: a}
	meta := GrayscaleMeta
	if len(j.Sheets) > 0 && j.Sheets[0].Color {
		meta = ColorMeta
	}
	session, _, err := c.do(ctx, meta, "N-CREATE of the film session", dimse.Command{Field: dimse.NCreateRQ, AffectedSOPClassUID: SessionClass, AffectedSOPInstanceUID: service.NewUID()}, j.Session)
	if err != nil {
		return c.warnings, err
	}
	for _, s := range j.Sheets {
		if err = c.sheet(ctx, session, s); err != nil {
			break
		}
	}
	_, _, deleted := c.do(ctx, meta, "N-DELETE of the film session", dimse.Command{Field: dimse.NDeleteRQ, RequestedSOPClassUID: SessionClass, RequestedSOPInstanceUID: session}, nil)
	if err == nil {
		err = deleted
	}
	return c.warnings, err
}

// Status asks the printer how it is, over an association as Propose prepares it.
func Status(ctx context.Context, a *association.Association) (PrinterStatus, error) {
	c := &client{a: a}
	_, d, err := c.do(ctx, GrayscaleMeta, "N-GET of the printer", dimse.Command{Field: dimse.NGetRQ, RequestedSOPClassUID: PrinterClass, RequestedSOPInstanceUID: PrinterInstance}, nil)
	if err != nil {
		return PrinterStatus{}, err
	}
	return PrinterStatus{
		Status: d.Text(tag.PrinterStatus), Info: d.Text(tag.PrinterStatusInfo), Name: d.Text(tag.PrinterName),
		Manufacturer: d.Text(tag.Manufacturer), Model: d.Text(tag.ManufacturerModelName),
	}, nil
}

// do sends a request and takes its answer: the SOP instance UID, and the data
// set.
func (c *client) do(ctx context.Context, meta, what string, rq dimse.Command, d *dicom.Dataset) (string, *dicom.Dataset, error) {
	pc, err := service.Context(c.a, meta)
	if err != nil {
		return "", nil, err
	}
	rsp, answer, err := service.Request(ctx, c.a, pc, rq, d)
	if err != nil {
		return "", nil, err
	}
	instance := rsp.AffectedSOPInstanceUID
	if instance == "" {
		instance = rq.AffectedSOPInstanceUID
	}
	return instance, answer, c.judge(what, rsp.Status)
}

func (c *client) judge(what string, s dimse.Status) error {
	switch s.Class() {
	case dimse.ClassSuccess:
		return nil
	case dimse.ClassWarning:
		c.warnings = append(c.warnings, s)
		return nil
	}
	return &PrintError{what, s}
}

// sheet makes a film box, sets its images, and prints it.
func (c *client) sheet(ctx context.Context, session string, s Sheet) error {
	meta, class := GrayscaleMeta, GrayscaleImageClass
	if s.Color {
		meta, class = ColorMeta, ColorImageClass
	}
	d := dicom.NewDataset()
	if s.Box != nil {
		if err := service.CopyAll(d, s.Box); err != nil {
			return err
		}
	}
	if err := d.SetItems(tag.ReferencedFilmSessionSequence, reference(SessionClass, session)); err != nil {
		return err
	}
	if s.LUT != nil {
		lut, _, err := c.do(ctx, LUTClass, "N-CREATE of the presentation LUT", dimse.Command{Field: dimse.NCreateRQ, AffectedSOPClassUID: LUTClass, AffectedSOPInstanceUID: service.NewUID()}, s.LUT)
		if err != nil {
			return err
		}
		if err := d.SetItems(tag.ReferencedPresentationLUTSequence, reference(LUTClass, lut)); err != nil {
			return err
		}
	}
	box, made, err := c.do(ctx, meta, "N-CREATE of the film box", dimse.Command{Field: dimse.NCreateRQ, AffectedSOPClassUID: BoxClass, AffectedSOPInstanceUID: service.NewUID()}, d)
	if err != nil {
		return err
	}
	places := made.Items(tag.ReferencedImageBoxSequence)
	for _, p := range s.Pictures {
		if p.Position < 1 || p.Position > len(places) {
			return fmt.Errorf("dicom/film: image box %d of a film with %d", p.Position, len(places))
		}
		if err := c.picture(ctx, meta, class, places[p.Position-1].Text(tag.ReferencedSOPInstanceUID), p); err != nil {
			return err
		}
	}
	_, _, err = c.do(ctx, meta, "N-ACTION of the film box", dimse.Command{Field: dimse.NActionRQ, RequestedSOPClassUID: BoxClass, RequestedSOPInstanceUID: box, ActionTypeID: actionPrint}, nil)
	return err
}

// picture sets an image box; the pixel data are streamed.
func (c *client) picture(ctx context.Context, meta, class, instance string, p Picture) error {
	pc, err := service.Context(c.a, meta)
	if err != nil {
		return err
	}
	body, err := p.dataSet(class, pc.TransferSyntax)
	if err != nil {
		return err
	}
	rsp, _, err := service.Stream(ctx, c.a, pc, dimse.Command{Field: dimse.NSetRQ, RequestedSOPClassUID: class, RequestedSOPInstanceUID: instance}, body)
	if err != nil {
		return err
	}
	return c.judge("N-SET of an image box", rsp.Status)
}

// dataSet is the data set of an image box as a stream, PS3.3 table C.13-5: the
// image sequence comes last, in undefined lengths.
func (p Picture) dataSet(class, transferSyntax string) (io.Reader, error) {
	top, item := dicom.NewDataset(), dicom.NewDataset()
	if p.Box != nil {
		if err := service.CopyAll(top, p.Box); err != nil {
			return nil, err
		}
	}
	if err := top.SetInt(tag.ImageBoxPosition, int64(p.Position)); err != nil {
		return nil, err
	}
	if err := item.SetText(tag.PhotometricInterpretation, p.Photometric); err != nil {
		return nil, err
	}
	numbers := map[tag.Tag]int{
		tag.SamplesPerPixel: p.Samples, tag.Rows: p.Rows, tag.Columns: p.Columns, tag.BitsAllocated: 8 * p.bytes(),
		tag.BitsStored: p.Stored, tag.HighBit: p.Stored - 1, tag.PixelRepresentation: 0,
	}
	sequence := tag.BasicGrayscaleImageSequence
	if class == ColorImageClass {
		sequence = tag.BasicColorImageSequence
		numbers[tag.PlanarConfiguration] = 1
	}
	for t, v := range numbers {
		if err := item.SetInt(t, int64(v)); err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	if err := top.Write(&b, transferSyntax); err != nil {
		return nil, err
	}
	explicit := transferSyntax != uid.ImplicitVRLittleEndian
	b.Write(head(sequence, "SQ", 0xFFFFFFFF, explicit))
	b.Write(head(tag.Item, "", 0xFFFFFFFF, false))
	if err := item.Write(&b, transferSyntax); err != nil {
		return nil, err
	}
	length := p.length()
	padding := length % 2
	if length+padding >= 0xFFFFFFFF {
		return nil, fmt.Errorf("dicom/film: an image of %d bytes", length)
	}
	vr := "OW"
	if p.bytes() == 1 && explicit {
		vr = "OB"
	}
	b.Write(head(tag.PixelData, vr, uint32(length+padding), explicit))
	tail := make([]byte, padding)
	tail = append(tail, head(tag.ItemDelimitationItem, "", 0, false)...)
	tail = append(tail, head(tag.SequenceDelimitationItem, "", 0, false)...)
	return io.MultiReader(&b, &exactly{p.Pixels, length}, bytes.NewReader(tail)), nil
}

// exactly reads n bytes, and fails where there are fewer.
type exactly struct {
	r io.Reader
	n int64
}

func (e *exactly) Read(p []byte) (int, error) {
	if e.n == 0 {
		return 0, io.EOF
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.n)])
	e.n -= int64(n)
	if err == io.EOF && e.n > 0 {
		err = io.ErrUnexpectedEOF
	}
	if e.n == 0 {
		err = nil
	}
	return n, err
}

// head is the head of an element or an item, PS3.5 sections 7.1 and 7.5. Its VRs
// are those with a length of 32 bits.
func head(t tag.Tag, vr string, length uint32, explicit bool) []byte {
	b := binary.LittleEndian.AppendUint16(nil, t.Group())
	b = binary.LittleEndian.AppendUint16(b, uint16(t))
	if explicit {
		b = append(b, vr[0], vr[1], 0, 0)
	}
	return binary.LittleEndian.AppendUint32(b, length)
}
