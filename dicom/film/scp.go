package film

import (
	"context"
	"slices"
	"sync"

	"nhip/dicom"
	"nhip/dicom/association"
	"nhip/dicom/dimse"
	"nhip/dicom/service"
	"nhip/dicom/tag"
)

// A Printer is who gets the films.
type Printer interface {
	// Pixels returns where the pixel data of an image are to go. Its length and
	// shape are known; Pixels is nil. An error that is a *service.StatusError is
	// answered by its status, another by C605H, not enough memory.
	Pixels(ctx context.Context, from service.Peer, i *Image) (Sink, error)
	// Print takes films, and has made them durable when it returns success: the
	// requestor considers them printed. The sinks stay the film's, which may be
	// printed again; whoever wants to keep pixel data copies them.
	Print(ctx context.Context, from service.Peer, films []Film) dimse.Status
	// Status is what an N-GET of the printer says.
	Status() PrinterStatus
}

// A PrinterStatus is the printer as a requestor sees it, PS3.3 section C.13.9.
type PrinterStatus struct {
	Status       string // NORMAL, WARNING or FAILURE; "" is NORMAL
	Info         string // a defined term of section C.13.9.1; "" is none
	Name         string
	Manufacturer string
	Model        string
}

// An SCP is a printer for the Basic Grayscale and Basic Color Print Management
// meta SOP classes, with Presentation LUT and Print Job.
type SCP struct {
	Printer Printer
	Limits  Limits
	Formats Other // nil: no SLIDE, SUPERSLIDE and CUSTOM
	// Annotations says how many annotation boxes a film has by its Annotation Display
	// Format ID (2010,0030), which is the printer's business; nil: none. They are there
	// where the requestor has negotiated them.
	Annotations func(format string) int
	// Unprinted, if set, is told of film boxes with an image that were not printed
	// when their association ended.
	Unprinted func(from service.Peer, films int)

	mu   sync.Mutex
	open map[*association.Association]*state
	work sync.WaitGroup
}

// A state is what one association has made.
type state struct {
	mu    sync.Mutex
	tree  tree
	jobs  map[string]bool
	ended bool
}

// maxJobs that one association can ask for later.
const maxJobs = 1000

// Service is the SCP of what a print requestor may propose.
func (s *SCP) Service() service.Service {
	return service.Service{
		AbstractSyntax: func(as string) bool {
			return slices.Contains([]string{GrayscaleMeta, ColorMeta, PrinterClass, PrintJobClass, LUTClass, AnnotationClass}, as)
		},
		Handlers: map[dimse.CommandField]association.Handler{
			dimse.NCreateRQ: s.handler(s.create),
			dimse.NSetRQ:    s.handler(s.set),
			dimse.NGetRQ:    s.handler(s.get),
			dimse.NActionRQ: s.handler(s.action),
			dimse.NDeleteRQ: s.handler(s.remove),
		},
	}
}

// Wait returns when what the associations that have ended left is discarded.
func (s *SCP) Wait() { s.work.Wait() }

// stateOf returns what the association has made, and has it discarded at its end.
func (s *SCP) stateOf(a *association.Association) *state {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.open[a]
	if st != nil {
		return st
	}
	st = &state{tree: tree{limits: s.Limits.withDefaults(), other: s.Formats, newUID: service.NewUID}, jobs: map[string]bool{}}
	if negotiated(a, AnnotationClass) {
		st.tree.texts = s.Annotations
	}
	if s.open == nil {
		s.open = map[*association.Association]*state{}
	}
	s.open[a] = st
	s.work.Go(func() {
		<-a.Done()
		st.mu.Lock()
		unprinted := st.tree.unprinted()
		st.tree.clear()
		st.ended = true
		st.mu.Unlock()
		s.mu.Lock()
		delete(s.open, a)
		s.mu.Unlock()
		if unprinted > 0 && s.Unprinted != nil {
			s.Unprinted(service.PeerOf(a), unprinted)
		}
	})
	return st
}

// A request is one that is being served, and what it is answered.
type request struct {
	*state
	a               *association.Association
	m               *association.Message
	class, instance string
	rsp             dimse.Command
	answer          *dicom.Dataset
}

func (s *SCP) handler(f func(ctx context.Context, r *request) error) association.Handler {
	return func(ctx context.Context, a *association.Association, m *association.Message) error {
		r := request{state: s.stateOf(a), a: a, m: m}
		r.class, r.instance = service.Named(m.Command)
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.ended {
			return a.Err()
		}
		if err := f(ctx, &r); err != nil {
			return service.RefuseError(ctx, a, m, err)
		}
		return service.Respond(context.WithoutCancel(ctx), a, m, r.rsp, r.answer)
	}
}

// read reads the data set of a request.
func (r *request) read() (*dicom.Dataset, error) { return service.Read(r.m, r.tree.limits.Attributes) }

// create is N-CREATE of the film session, a film box or a presentation LUT.
func (s *SCP) create(_ context.Context, r *request) error {
	d, err := r.read()
	if err != nil {
		return err
	}
	r.rsp.AffectedSOPClassUID = r.class
	switch r.class {
	case SessionClass:
		r.rsp.AffectedSOPInstanceUID, r.rsp.Status = r.tree.createSession(r.instance, d)
		r.answer = d
	case BoxClass:
		color := r.m.Context.AbstractSyntax == ColorMeta
		r.rsp.AffectedSOPInstanceUID, r.answer, r.rsp.Status = r.tree.createBox(r.instance, d, color)
	case LUTClass:
		r.rsp.AffectedSOPInstanceUID, r.rsp.Status = r.tree.createLUT(r.instance, d)
	default:
		r.rsp.Status = failed(dimse.NoSuchSOPClass, "SOP class %s is not made here", r.class)
	}
	if r.rsp.Status.Class() == dimse.ClassFailure || r.answer != nil && r.answer.Len() == 0 {
		r.answer = nil
	}
	return nil
}

// set is N-SET of an image or annotation box, or of the film session or a film box.
func (s *SCP) set(ctx context.Context, r *request) error {
	switch r.class {
	case GrayscaleImageClass, ColorImageClass:
		return s.setImage(ctx, r)
	case SessionClass, BoxClass, AnnotationClass:
		d, err := r.read()
		if err != nil {
			return err
		}
		if r.class == AnnotationClass {
			r.rsp.Status = r.tree.setAnnotation(r.instance, d)
		} else {
			r.rsp.Status = r.tree.set(r.instance, d)
		}
		return nil
	}
	r.rsp.Status = failed(dimse.NoSuchSOPClass, "SOP class %s is not set here", r.class)
	return nil
}

// setImage streams an image into its box. What is refused before is not read.
func (s *SCP) setImage(ctx context.Context, r *request) error {
	b, i := r.tree.image(r.instance)
	if b == nil {
		r.rsp.Status = failed(dimse.NoSuchSOPInstance, "no such image box")
		return nil
	}
	if r.rsp.Status = b.class(i, r.class); r.rsp.Status.Code != dimse.Success {
		return nil
	}
	if r.m.DataSet == nil {
		r.rsp.Status = failed(dimse.MissingAttribute, "an image box is set to nothing")
		return nil
	}
	reader := imageReader{
		limits: r.tree.limits, sequence: tag.BasicGrayscaleImageSequence,
		sink: func(i *Image) (Sink, error) { return s.Printer.Pixels(ctx, service.PeerOf(r.a), i) },
	}
	if r.class == ColorImageClass {
		reader.sequence = tag.BasicColorImageSequence
	}
	attributes, image, err := reader.read(r.m.DataSet, r.m.Context.TransferSyntax)
	if drained := r.m.DataSet.Drain(); drained != nil {
		if image != nil {
			image.Pixels.Discard()
		}
		return drained
	}
	if err != nil {
		r.rsp.Status = imageStatus(err)
		return nil
	}
	r.rsp.Status = r.tree.setImage(r.instance, attributes, image)
	return nil
}

// get is N-GET of the printer or of a print job.
func (s *SCP) get(_ context.Context, r *request) error {
	var d *dicom.Dataset
	var err error
	switch {
	case r.class == PrinterClass && r.instance == PrinterInstance:
		d, err = s.Printer.Status().dataset()
	case r.class == PrintJobClass && r.jobs[r.instance]:
		d, err = texts(tag.ExecutionStatus, "DONE", tag.ExecutionStatusInfo, "NORMAL")
	case r.class == PrinterClass, r.class == PrintJobClass:
		r.rsp.Status = failed(dimse.NoSuchSOPInstance, "no such SOP instance")
		return nil
	default:
		r.rsp.Status = failed(dimse.NoSuchSOPClass, "SOP class %s is not asked for here", r.class)
		return nil
	}
	if err == nil {
		r.answer, err = service.Attributes(d, r.m.Command.Attributes)
	}
	return err
}

func (p PrinterStatus) dataset() (*dicom.Dataset, error) {
	if p.Status == "" {
		p.Status = "NORMAL"
	}
	if p.Info == "" {
		p.Info = "NORMAL"
	}
	return texts(tag.PrinterStatus, p.Status, tag.PrinterStatusInfo, p.Info, tag.PrinterName, p.Name,
		tag.Manufacturer, p.Manufacturer, tag.ManufacturerModelName, p.Model)
}

// texts is a data set of pairs of tag and value; "" is left out.
func texts(pairs ...any) (*dicom.Dataset, error) {
	d := dicom.NewDataset()
	for i := 0; i < len(pairs); i += 2 {
		if v := pairs[i+1].(string); v != "" {
			if err := d.SetText(pairs[i].(tag.Tag), v); err != nil {
				return nil, err
			}
		}
	}
	return d, nil
}

// action is N-ACTION: print.
func (s *SCP) action(ctx context.Context, r *request) error {
	if r.m.Command.ActionTypeID != actionPrint {
		r.rsp.Status = failed(dimse.NoSuchActionType, "action type %d", r.m.Command.ActionTypeID)
		return nil
	}
	r.rsp.ActionTypeID = actionPrint
	boxes, status := r.tree.films(r.instance)
	if status.Class() == dimse.ClassFailure {
		r.rsp.Status = status
		return nil
	}
	var films []Film
	for _, b := range boxes {
		films = append(films, r.tree.film(b))
	}
	r.rsp.Status = s.Printer.Print(ctx, service.PeerOf(r.a), films)
	if r.rsp.Status.Class() == dimse.ClassFailure {
		return nil
	}
	for _, b := range boxes {
		b.printed++
	}
	if r.rsp.Status.Code == dimse.Success {
		r.rsp.Status = status
	}
	return r.job()
}

const actionPrint = 1

// negotiated reports whether the association has a context of an abstract syntax.
func negotiated(a *association.Association, abstractSyntax string) bool {
	return slices.ContainsFunc(a.Contexts(), func(c association.Context) bool { return c.AbstractSyntax == abstractSyntax })
}

// job makes a print job where the requestor has negotiated that it asks for it.
func (r *request) job() error {
	if !negotiated(r.a, PrintJobClass) || len(r.jobs) >= maxJobs {
		return nil
	}
	uid := service.NewUID()
	ref, err := texts(tag.ReferencedSOPClassUID, PrintJobClass, tag.ReferencedSOPInstanceUID, uid)
	if err != nil {
		return err
	}
	r.jobs[uid] = true
	r.answer = dicom.NewDataset()
	return r.answer.SetItems(tag.ReferencedPrintJobSequence, ref)
}

// remove is N-DELETE.
func (s *SCP) remove(_ context.Context, r *request) error {
	r.rsp.Status = r.tree.remove(r.instance)
	return nil
}
