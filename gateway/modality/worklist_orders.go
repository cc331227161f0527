package modality

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"
	"time"
	"unicode"

	"nhip/dicom"
	"nhip/dicom/find"
	"nhip/dicom/tag"
	"nhip/gateway/orders"
	"nhip/gateway/record"
	"nhip/hl7/vncharset"
)

// Scheduled is the worklist of the imaging orders that are open, each of their
// scheduled procedure steps one entry: PS3.4 table K.6-1, from HL7 by IHE RAD TF-2
// table 4.4-6. It is find.Source.
type Scheduled struct {
	Orders *orders.Store
	Zone   *time.Location // of start dates and times
	// Style says how who asks is told.
	Style func(find.Query) Style
	// Cut reports whether accession numbers of a link are cut to their VR.
	Cut func(link string) bool
}

// A Style is how a modality takes texts.
type Style struct {
	UTF8  bool // ISO_IR 192; else ASCII, folded, names in capitals
	Names record.NameRule
	// Title is the AE title of who asks: a step that is scheduled for no AE title is
	// shown to it as its own.
	Title string
}

// Entities is find.Source.
func (s *Scheduled) Entities(ctx context.Context, q find.Query) iter.Seq2[*dicom.Dataset, error] {
	return func(yield func(*dicom.Dataset, error) bool) {
		style := s.Style(q)
		for e, err := range s.Orders.Worklist(ctx, s.narrowed(q.Identifier)) {
			if err != nil {
				yield(nil, err)
				return
			}
			for _, d := range s.entries(e, style) {
				if !yield(d, nil) {
					return
				}
			}
		}
	}
}

// narrowed takes from a query what the orders are narrowed by.
func (s *Scheduled) narrowed(identifier *dicom.Dataset) (q orders.WorklistQuery) {
	for _, step := range identifier.Items(tag.ScheduledProcedureStepSequence) {
		if m := strings.TrimSpace(step.Text(tag.Modality)); !strings.ContainsAny(m, `*?\`) {
			q.Modality = m
		}
		date := strings.TrimSpace(string(step.Bytes(tag.ScheduledProcedureStepStartDate)))
		from, to, isRange := strings.Cut(date, "-")
		if !isRange {
			to = from
		}
		if q.From, q.To = s.day(from), s.day(to); !q.To.IsZero() {
			q.To = q.To.AddDate(0, 0, 1)
		}
	}
	return q
}

// day is the beginning of a day; zero where it is none.
func (s *Scheduled) day(date string) time.Time {
	d, err := time.ParseInLocation("20060102", strings.TrimSpace(date), cmp.Or(s.Zone, time.UTC))
	if err != nil {
		return time.Time{}
	}
	return d
}

// entries are the open steps of an order.
func (s *Scheduled) entries(e orders.Entry, style Style) (all []*dicom.Dataset) {
	for _, v := range e.Order.Services {
		if v.State != record.Open || v.Imaging == nil {
			continue
		}
		for _, step := range v.Imaging.Steps {
			if step.Done {
				continue
			}
			all = append(all, s.entry(e, v, step, style))
		}
	}
	return all
}

func (s *Scheduled) entry(e orders.Entry, v record.Service, step record.Step, style Style) *dicom.Dataset {
	w := writer{d: dicom.NewDataset(), style: style}
	if style.UTF8 {
		w.put(tag.SpecificCharacterSet, "ISO_IR 192")
	}
	accession := v.Imaging.Accession
	if s.Cut != nil && s.Cut(e.Link) {
		accession = cut(accession, 16)
	}
	w.text(tag.AccessionNumber, accession, 0)
	w.name(tag.ReferringPhysicianName, e.Order.Stay.Referrer)
	w.patient(e.Order)
	w.text(tag.StudyInstanceUID, v.Imaging.StudyInstanceUID, 0)
	w.name(tag.RequestingPhysician, e.Order.Orderer)
	w.procedure(e.Order, v)
	item := writer{d: dicom.NewDataset(), style: style}
	item.step(s.start(e, step), v, step)
	w.items(tag.ScheduledProcedureStepSequence, item.d)
	return w.d
}

// start is when a step is to begin: one of an order that names no time is due when it
// was ordered.
func (s *Scheduled) start(e orders.Entry, step record.Step) time.Time {
	for _, t := range []time.Time{step.Start, e.Said.Order, e.Received} {
		if !t.IsZero() {
			return t.In(cmp.Or(s.Zone, time.UTC))
		}
	}
	return e.Received
}

// Joined are several sources as one. It is find.Source.
type Joined []find.Source

// Entities is find.Source.
func (j Joined) Entities(ctx context.Context, q find.Query) iter.Seq2[*dicom.Dataset, error] {
	return func(yield func(*dicom.Dataset, error) bool) {
		for _, s := range j {
			for d, err := range s.Entities(ctx, q) {
				if !yield(d, err) {
					return
				}
			}
		}
	}
}

// A writer fills a data set. A value that does not fit its VR after all is left
// empty.
type writer struct {
	d     *dicom.Dataset
	style Style
}

func (w writer) put(t tag.Tag, values ...string) {
	if len(values) == 0 || len(values) == 1 && values[0] == "" || w.d.SetText(t, values...) != nil {
		// A tag of the dictionary can always be set empty.
		_ = w.d.SetEmpty(t)
	}
}

func (w writer) items(t tag.Tag, items ...*dicom.Dataset) {
	if w.d.SetItems(t, items...) != nil {
		_ = w.d.SetEmpty(t) // as in put
	}
}

// text writes a text, cut to so many characters; 0 cuts nothing.
func (w writer) text(t tag.Tag, s string, most int) { w.put(t, w.plain(s, most)) }

// plain is a text without what separates values, in the letters of the style.
func (w writer) plain(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\\':
			return '/'
		case unicode.IsControl(r):
			return ' '
		}
		return r
	}, s)
	if !w.style.UTF8 {
		s = ascii(s)
	}
	s = strings.TrimSpace(s)
	if most > 0 {
		s = strings.TrimSpace(cut(s, most))
	}
	return s
}

// ascii folds a text, and writes ? for what has no letter there.
func ascii(s string) string {
	return strings.Map(func(r rune) rune {
		if r > '~' {
			return '?'
		}
		return r
	}, vncharset.Fold(s))
}

func cut(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most])
	}
	return s
}

// name writes a person's name: PS3.5 section 6.2, at most 64 characters.
func (w writer) name(t tag.Tag, n record.Name) {
	if n.Empty() {
		w.put(t)
		return
	}
	n = n.Split(cmp.Or(w.style.Names, record.NameFirstWord))
	parts := []string{n.Family, n.Given, n.Middle}
	for i, p := range parts {
		p = w.plain(strings.NewReplacer("^", " ", "=", " ").Replace(p), 0)
		if !w.style.UTF8 {
			p = strings.ToUpper(p)
		}
		parts[i] = strings.Join(strings.Fields(p), " ")
	}
	w.put(t, strings.TrimRight(cut(strings.Join(parts, "^"), 64), "^ "))
}

// patient writes the patient and visit.
func (w writer) patient(o record.Order) {
	w.name(tag.PatientName, o.Patient.Name)
	var id record.Identifier
	if len(o.Patient.Identifiers) > 0 {
		id = o.Patient.Identifiers[0]
	}
	w.text(tag.PatientID, id.Value, 64)
	if !record.OfLink(id.Authority) && id.Authority != "" {
		w.text(tag.IssuerOfPatientID, strings.ReplaceAll(id.Authority, `\T\`, "&"), 64)
	}
	birth := record.BirthDate(o.Patient.Birth)
	if len(birth) != 8 { // a year has no date
		birth = ""
	}
	w.put(tag.PatientBirthDate, birth)
	w.put(tag.PatientSex, map[string]string{"M": "M", "F": "F", "O": "O"}[strings.ToUpper(o.Patient.Sex)])
	w.put(tag.PatientWeight, o.Stay.Weight)
	if o.Stay.Height != "" {
		w.put(tag.PatientSize, o.Stay.Height)
	}
	w.text(tag.Allergies, strings.Join(o.Stay.Allergies, ", "), 64)
	if o.Stay.Pregnant {
		_ = w.d.SetInt(tag.PregnancyStatus, 3) // definitely pregnant
	} else {
		_ = w.d.SetEmpty(tag.PregnancyStatus)
	}
	w.text(tag.AdmissionID, o.Patient.Visit.Value, 64)
	w.text(tag.CurrentPatientLocation, o.Stay.Location, 64)
}

// priorities by table 0485: IHE RAD TF-2 table 4.4-6.
var priorities = map[string]string{"S": "STAT", "A": "HIGH", "P": "HIGH", "C": "HIGH", "T": "MEDIUM", "R": "ROUTINE"}

// procedure writes the requested procedure and the imaging service request.
func (w writer) procedure(o record.Order, v record.Service) {
	p := v.Imaging
	w.text(tag.RequestedProcedureID, p.ProcedureID, 16)
	w.text(tag.RequestedProcedureDescription, described(p.Procedure), 64)
	w.code(tag.RequestedProcedureCodeSequence, p.Procedure)
	w.put(tag.RequestedProcedurePriority, cmp.Or(priorities[strings.ToUpper(v.Priority)], "ROUTINE"))
	w.text(tag.PatientTransportArrangements, p.Transport, 64)
	w.text(tag.PatientState, p.PatientState, 64)
	w.text(tag.MedicalAlerts, p.Alerts, 64)
	w.text(tag.ReasonForTheRequestedProcedure, v.Reason, 64)
	w.text(tag.RequestedProcedureComments, strings.Join(v.Comments, " "), 10240)
	w.text(tag.PlacerOrderNumberImagingServiceRequest, o.Placer.ID, 64)
	w.text(tag.FillerOrderNumberImagingServiceRequest, o.Filler.ID, 64)
}

// step writes the item of the Scheduled Procedure Step Sequence.
func (w writer) step(start time.Time, v record.Service, step record.Step) {
	w.put(tag.Modality, step.Modality)
	titles := slices.Clone(step.AETitles)
	if len(titles) == 0 && w.style.Title != "" {
		titles = []string{w.style.Title}
	}
	w.put(tag.ScheduledStationAETitle, titles...)
	w.put(tag.ScheduledProcedureStepStartDate, start.Format("20060102"))
	w.put(tag.ScheduledProcedureStepStartTime, start.Format("150405"))
	w.name(tag.ScheduledPerformingPhysicianName, v.Imaging.Performer)
	w.text(tag.ScheduledProcedureStepDescription, described(step.Protocol), 64)
	w.code(tag.ScheduledProtocolCodeSequence, step.Protocol)
	w.text(tag.ScheduledProcedureStepID, step.ID, 16)
	w.text(tag.ScheduledStationName, step.StationName, 16)
	w.text(tag.ScheduledProcedureStepLocation, step.Location, 16)
	status := "SCHEDULED"
	if v.Progress == record.Begun {
		status = "STARTED"
	}
	w.put(tag.ScheduledProcedureStepStatus, status)
}

func described(c record.Coded) string { return cmp.Or(c.Text, c.AltText, c.Code, c.AltCode) }

// code writes a code sequence; a code without its coding system is of the site, as the
// standard has it for local codes: PS3.16 section 8, 99 and a name.
func (w writer) code(t tag.Tag, c record.Coded) {
	if c.Code == "" || len([]rune(c.Code)) > 16 {
		_ = w.d.SetEmpty(t)
		return
	}
	item := writer{d: dicom.NewDataset(), style: w.style}
	item.text(tag.CodeValue, c.Code, 16)
	item.text(tag.CodingSchemeDesignator, cmp.Or(c.System, "99HIS"), 16)
	item.text(tag.CodeMeaning, cmp.Or(c.Text, c.Code), 64)
	w.items(t, item.d)
}
