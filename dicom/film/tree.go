package film

import (
	"fmt"
	"maps"
	"slices"

	"nhip/dicom"
	"nhip/dicom/dimse"
	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// A tree is what one association has made. It does no I/O; newUID makes the UIDs
// that the requestor leaves to the SCP.
type tree struct {
	limits  Limits
	other   Other
	texts   func(format string) int // annotation boxes of an annotation display format
	newUID  func() string
	session *session
	luts    map[string]*dicom.Dataset
}

type session struct {
	uid        string
	own        string // a UID of ours
	attributes *dicom.Dataset
	boxes      []*filmBox
}

type filmBox struct {
	uid         string
	color       bool
	format      Format
	attributes  *dicom.Dataset
	images      []ImageBox
	annotations []Annotation
	printed     int
}

func failed(code uint16, format string, args ...any) dimse.Status {
	return dimse.Status{Code: code, Comment: fmt.Sprintf(format, args...)}
}

// instance is the SOP instance UID of what is made: the requestor's, or one of
// ours. It has to be new.
func (t *tree) instance(asked string) (string, dimse.Status) {
	switch {
	case asked == "":
		return t.newUID(), dimse.Status{}
	case !uid.Valid(asked):
		return "", failed(dimse.InvalidSOPInstance, "no valid SOP instance UID")
	case t.has(asked):
		return "", failed(dimse.DuplicateSOPInstance, "the SOP instance exists")
	}
	return asked, dimse.Status{}
}

func (t *tree) has(instance string) bool {
	if _, ok := t.luts[instance]; ok {
		return true
	}
	if t.session == nil {
		return false
	}
	if t.session.uid == instance || t.box(instance) != nil {
		return true
	}
	_, i := t.image(instance)
	return i >= 0 || t.annotation(instance) != nil
}

// annotation is an annotation box, nil where there is none of that name.
func (t *tree) annotation(instance string) *Annotation {
	if t.session == nil {
		return nil
	}
	for _, b := range t.session.boxes {
		for i := range b.annotations {
			if b.annotations[i].SOPInstanceUID == instance {
				return &b.annotations[i]
			}
		}
	}
	return nil
}

// setAnnotation puts text into an annotation box, section H.4.4.2.1. As of an image
// box, a position that is not the box's is a warning only.
func (t *tree) setAnnotation(instance string, change *dicom.Dataset) dimse.Status {
	a := t.annotation(instance)
	if a == nil {
		return failed(dimse.NoSuchSOPInstance, "no such annotation box")
	}
	if change.Has(tag.TextString) {
		a.Text = change.Text(tag.TextString)
	}
	if p, ok := change.Int(tag.AnnotationPosition); ok && int(p) != a.Position {
		return failed(dimse.AttributeValueOutOfRange, "annotation position is not %d", a.Position)
	}
	return dimse.Status{}
}

func (t *tree) box(instance string) *filmBox {
	if t.session == nil {
		return nil
	}
	i := slices.IndexFunc(t.session.boxes, func(b *filmBox) bool { return b.uid == instance })
	if i < 0 {
		return nil
	}
	return t.session.boxes[i]
}

// image returns the film box of an image box and its index there, -1 where there
// is none.
func (t *tree) image(instance string) (*filmBox, int) {
	if t.session != nil {
		for _, b := range t.session.boxes {
			if i := slices.IndexFunc(b.images, func(i ImageBox) bool { return i.SOPInstanceUID == instance }); i >= 0 {
				return b, i
			}
		}
	}
	return nil, -1
}

// createSession makes the film session: section H.4.1.2.1. There is one at a
// time.
func (t *tree) createSession(asked string, attributes *dicom.Dataset) (string, dimse.Status) {
	if t.session != nil {
		return "", failed(dimse.DuplicateSOPInstance, "the association has a film session")
	}
	instance, s := t.instance(asked)
	if s.Code == dimse.Success {
		t.session = &session{uid: instance, own: t.newUID(), attributes: attributes}
	}
	return instance, s
}

// createBox makes a film box with its image boxes, section H.4.2.2.1, and
// returns what the response says: the attributes with the Referenced Image Box
// Sequence. A requestor that names another film session than the one there is
// meant the one there is.
func (t *tree) createBox(asked string, attributes *dicom.Dataset, color bool) (string, *dicom.Dataset, dimse.Status) {
	switch {
	case t.session == nil:
		return "", nil, failed(dimse.NoSuchSOPInstance, "a film box without a film session")
	case len(t.session.boxes) >= t.limits.Films:
		return "", nil, failed(dimse.ResourceLimitation, "more than %d film boxes", t.limits.Films)
	}
	text := attributes.Texts(tag.ImageDisplayFormat)
	if len(text) == 0 || text[0] == "" {
		return "", nil, failed(dimse.MissingAttribute, "no image display format")
	}
	format, err := ParseFormat(text[0], attributes.Text(tag.FilmSizeID), t.limits.Images, t.other)
	if err != nil {
		return "", nil, failed(dimse.InvalidAttributeValue, "%v", err)
	}
	instance, s := t.instance(asked)
	if s.Code != dimse.Success {
		return "", nil, s
	}
	b := &filmBox{uid: instance, color: color, format: format, attributes: attributes}
	class := GrayscaleImageClass
	if color {
		class = ColorImageClass
	}
	for i := range format.Boxes() {
		b.images = append(b.images, ImageBox{SOPClassUID: class, SOPInstanceUID: t.newUID(), Position: i + 1})
	}
	if id := attributes.Text(tag.AnnotationDisplayFormatID); id != "" && t.texts != nil {
		for i := range min(t.texts(id), t.limits.Texts) {
			b.annotations = append(b.annotations, Annotation{SOPInstanceUID: t.newUID(), Position: i + 1})
		}
	}
	t.session.boxes = append(t.session.boxes, b)
	return instance, b.answer(), dimse.Status{}
}

// answer is the data set of the N-CREATE-RSP.
func (b *filmBox) answer() *dicom.Dataset {
	d := dicom.NewDataset()
	for e := range b.attributes.All() {
		if e.VR != dicom.SQ && e.Tag&0xFFFF != 0 {
			d.SetBytes(e.Tag, e.VR, b.attributes.Bytes(e.Tag))
		}
	}
	var refs []*dicom.Dataset
	for _, i := range b.images {
		refs = append(refs, reference(i.SOPClassUID, i.SOPInstanceUID))
	}
	d.SetItems(tag.ReferencedImageBoxSequence, refs...)
	if len(b.annotations) > 0 {
		var texts []*dicom.Dataset
		for _, a := range b.annotations {
			texts = append(texts, reference(AnnotationClass, a.SOPInstanceUID))
		}
		d.SetItems(tag.ReferencedBasicAnnotationBoxSequence, texts...)
	}
	return d
}

// reference is an item of PS3.3 table 10-11.
func reference(class, instance string) *dicom.Dataset {
	d := dicom.NewDataset()
	d.SetText(tag.ReferencedSOPClassUID, class)
	d.SetText(tag.ReferencedSOPInstanceUID, instance)
	return d
}

// createLUT makes a presentation LUT, section H.4.9.2.1.
func (t *tree) createLUT(asked string, attributes *dicom.Dataset) (string, dimse.Status) {
	switch {
	case len(t.luts) >= t.limits.LUTs:
		return "", failed(dimse.ResourceLimitation, "more than %d presentation LUTs", t.limits.LUTs)
	case !attributes.Has(tag.PresentationLUTShape) && !attributes.Has(tag.PresentationLUTSequence):
		return "", failed(dimse.MissingAttribute, "no presentation LUT shape or sequence")
	}
	instance, s := t.instance(asked)
	if s.Code == dimse.Success {
		if t.luts == nil {
			t.luts = map[string]*dicom.Dataset{}
		}
		t.luts[instance] = attributes
	}
	return instance, s
}

// set changes attributes of the film session, a film box or a presentation LUT,
// sections H.4.1.2.2 and H.4.2.2.2. The display format of a film box stays.
func (t *tree) set(instance string, change *dicom.Dataset) dimse.Status {
	var to *dicom.Dataset
	box := t.box(instance)
	switch {
	case t.session != nil && t.session.uid == instance:
		to = t.session.attributes
	case box != nil:
		if f := change.Text(tag.ImageDisplayFormat); f != "" && f != box.attributes.Text(tag.ImageDisplayFormat) {
			return failed(dimse.InvalidAttributeValue, "the display format of a film box does not change")
		}
		to = box.attributes
	default:
		return failed(dimse.NoSuchSOPInstance, "no such film session or film box")
	}
	merge(to, change)
	return dimse.Status{}
}

// merge puts the elements of a change into a data set.
func merge(to, change *dicom.Dataset) {
	for e := range change.All() {
		switch {
		case e.Tag&0xFFFF == 0:
		case e.VR == dicom.SQ:
			to.SetItems(e.Tag, change.Items(e.Tag)...)
		default:
			to.SetBytes(e.Tag, e.VR, change.Bytes(e.Tag))
		}
	}
}

// setImage puts an image into its box, section H.4.3.1.2. The image that was
// there before is discarded. A position that is not the box's is a warning only:
// the box is named by its UID.
func (t *tree) setImage(instance string, attributes *dicom.Dataset, image *Image) dimse.Status {
	b, i := t.image(instance)
	if b == nil {
		return failed(dimse.NoSuchSOPInstance, "no such image box")
	}
	box := &b.images[i]
	if box.Image != nil {
		box.Image.Pixels.Discard()
	}
	box.Attributes, box.Image = attributes, image
	if p, ok := attributes.Int(tag.ImageBoxPosition); ok && int(p) != box.Position {
		return failed(dimse.AttributeValueOutOfRange, "image box position is not %d", box.Position)
	}
	return dimse.Status{}
}

// remove deletes the film session with all in it, a film box, or a presentation
// LUT: sections H.4.1.2.3, H.4.2.2.3 and H.4.9.2.3.
func (t *tree) remove(instance string) dimse.Status {
	if _, ok := t.luts[instance]; ok {
		delete(t.luts, instance)
		return dimse.Status{}
	}
	switch b := t.box(instance); {
	case t.session != nil && t.session.uid == instance:
		t.clear()
	case b != nil:
		b.discard()
		t.session.boxes = slices.DeleteFunc(t.session.boxes, func(other *filmBox) bool { return other == b })
	default:
		return failed(dimse.NoSuchSOPInstance, "no such SOP instance")
	}
	return dimse.Status{}
}

// clear ends the film session.
func (t *tree) clear() {
	if t.session == nil {
		return
	}
	for _, b := range t.session.boxes {
		b.discard()
	}
	t.session = nil
}

func (b *filmBox) discard() {
	for i := range b.images {
		if b.images[i].Image != nil {
			b.images[i].Image.Pixels.Discard()
			b.images[i].Image = nil
		}
	}
}

// films returns what an N-ACTION on an instance prints: one film box, or all of
// the film session, sections H.4.1.2.4 and H.4.2.2.4. The status is success or a
// warning where it can be printed.
func (t *tree) films(instance string) ([]*filmBox, dimse.Status) {
	if b := t.box(instance); b != nil {
		if b.empty() {
			return []*filmBox{b}, failed(statusEmptyFilm, "the film has no image")
		}
		return []*filmBox{b}, dimse.Status{}
	}
	if t.session == nil || t.session.uid != instance {
		return nil, failed(dimse.NoSuchSOPInstance, "no such film session or film box")
	}
	if len(t.session.boxes) == 0 {
		return nil, failed(statusNoFilmBox, "the film session has no film box")
	}
	boxes := slices.Clone(t.session.boxes)
	if !slices.ContainsFunc(boxes, func(b *filmBox) bool { return !b.empty() }) {
		return boxes, failed(statusEmptySession, "the film session has no image")
	}
	return boxes, dimse.Status{}
}

func (b *filmBox) empty() bool {
	return !slices.ContainsFunc(b.images, func(i ImageBox) bool { return i.Image != nil })
}

// film is a film box as it is now, for the printer.
func (t *tree) film(b *filmBox) Film {
	return b.film(t.session, maps.Clone(t.luts))
}

// unprinted is the number of film boxes with an image that were never printed.
func (t *tree) unprinted() (n int) {
	if t.session == nil {
		return 0
	}
	for _, b := range t.session.boxes {
		if b.printed == 0 && !b.empty() {
			n++
		}
	}
	return n
}

// class reports what an N-SET-RQ of an image box has wrong about its SOP
// class.
func (b *filmBox) class(i int, asked string) dimse.Status {
	if asked != b.images[i].SOPClassUID {
		return failed(dimse.ClassInstanceConflict, "the image box is of another SOP class")
	}
	return dimse.Status{}
}
