package lis

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"nhip/gateway/record"
	"nhip/hl7"
)

// An OrderGroup is one ORC of an order message (HL7 v2.5.1 chapter 4) with what
// belongs to it.
type OrderGroup struct {
	ORC      hl7.Segment
	Number   int // of the ORC in the message, from 1
	Timing   []hl7.Segment
	Requests []RequestGroup
	// Specimens stand before the ORC, as in OML^O33 and OML^O35.
	Specimens []SpecimenGroup
	Patient   *PatientGroup
}

// A RequestGroup is one OBR with what belongs to it.
type RequestGroup struct {
	OBR       hl7.Segment
	Number    int
	Timing    []hl7.Segment // TQ1
	Notes     []hl7.Segment // NTE
	Values    []hl7.Segment // OBX
	Specimens []SpecimenGroup
	IPC       []hl7.Segment
	ZDS       []hl7.Segment
}

// A SpecimenGroup is a specimen with its containers; a container may stand alone.
type SpecimenGroup struct {
	SPM []hl7.Segment // none or one
	SAC []hl7.Segment
}

// A PatientGroup is a PID with what belongs to it.
type PatientGroup struct {
	PID       []hl7.Segment // none or one
	PV1       []hl7.Segment
	Allergies []hl7.Segment // AL1
}

// MostOrders is how many ORC one message may have, and how many OBR.
const MostOrders = 100

// errorCardinality is "Non-Conformant Cardinality" of table 0357.
const errorCardinality = "198"

// mostRequests is how many OBR one message may have.
const mostRequests = 300

// OrderGroups reads the orders of a message. Before the specimen messages of 2.5 a
// specimen stands behind its OBR, in OML^O33 and OML^O35 before its ORC. What stands
// behind a second PID is a prior result (HL7 v2.5.1 section 4.4.6) and no order. An
// OBR before the first ORC is a new order.
func OrderGroups(m *hl7.Message) ([]OrderGroup, []hl7.Error) {
	_, event, _ := m.Type()
	w := orderWalk{before: event == "O33" || event == "O35", patient: &PatientGroup{}, unsaid: newORC(m)}
	for _, s := range m.Segments() {
		if s.Name == "PID" && len(w.groups) > 0 {
			break
		}
		if err := w.segment(s); err != nil {
			return nil, []hl7.Error{*err}
		}
	}
	w.shareStudy()
	w.split()
	if len(w.groups) == 0 {
		return nil, []hl7.Error{wrong("ORC", hl7.ErrorSegmentSequence, "the message has neither an ORC nor an OBR segment: nothing is ordered")}
	}
	return w.groups, nil
}

func wrong(location, code, text string) hl7.Error {
	return hl7.Error{Location: location, Code: code, Severity: hl7.SeverityError, Text: text}
}

type orderWalk struct {
	before     bool
	groups     []OrderGroup
	patient    *PatientGroup
	specimens  []SpecimenGroup // before the ORC that come
	fresh      bool            // a new specimen group begins with the next SPM
	orcs, obrs int
	unsaid     hl7.Segment // the ORC of what has none
}

// newORC is the ORC of an order that has none: a new order, in the delimiters of the
// message.
func newORC(m *hl7.Message) hl7.Segment {
	n := hl7.NewMessage(m.Delimiters())
	s := n.Append("ORC")
	_ = s.Set("1", "NW") // ASCII, without delimiters: it always can be
	return s
}

func (w *orderWalk) segment(s hl7.Segment) *hl7.Error {
	switch s.Name {
	case "PID":
		w.patient = &PatientGroup{PID: []hl7.Segment{s}}
	case "PV1":
		w.patient.PV1 = append(w.patient.PV1, s)
	case "AL1":
		w.patient.Allergies = append(w.patient.Allergies, s)
	case "ORC":
		if w.orcs++; w.orcs > MostOrders {
			e := wrong("ORC", errorCardinality, fmt.Sprintf("more than %d ORC segments: send several messages", MostOrders))
			return &e
		}
		w.groups = append(w.groups, OrderGroup{ORC: s, Number: w.orcs, Patient: w.patient, Specimens: w.specimens})
		w.fresh = true
	case "OBR":
		return w.request(s)
	default:
		w.detail(s)
	}
	return nil
}

func (w *orderWalk) request(s hl7.Segment) *hl7.Error {
	w.obrs++
	g := w.last()
	if g == nil {
		w.groups = append(w.groups, OrderGroup{ORC: w.unsaid, Number: 1, Patient: w.patient, Specimens: w.specimens})
		g, w.fresh = w.last(), true
	}
	switch {
	case w.obrs > mostRequests:
		e := wrong("OBR", errorCardinality, fmt.Sprintf("more than %d OBR segments: send several messages", mostRequests))
		return &e
	case len(g.Requests) > 0 && slices.Contains([]string{"F", "C", "P", "R", "A", "X"}, s.Get("25")):
		return nil // a prior result
	}
	g.Requests = append(g.Requests, RequestGroup{OBR: s, Number: w.obrs})
	return nil
}

func (w *orderWalk) last() *OrderGroup {
	if len(w.groups) == 0 {
		return nil
	}
	return &w.groups[len(w.groups)-1]
}

// detail puts a segment to what it belongs to.
func (w *orderWalk) detail(s hl7.Segment) {
	var r *RequestGroup
	g := w.last()
	if g != nil && len(g.Requests) > 0 {
		r = &g.Requests[len(g.Requests)-1]
	}
	switch {
	case s.Name == "SPM" || s.Name == "SAC":
		w.specimen(s, r)
	case s.Name == "TQ1" && r != nil:
		r.Timing = append(r.Timing, s)
	case s.Name == "TQ1" && g != nil:
		g.Timing = append(g.Timing, s)
	case r == nil:
	case s.Name == "NTE":
		r.Notes = append(r.Notes, s)
	case s.Name == "OBX":
		r.Values = append(r.Values, s)
	case s.Name == "IPC":
		r.IPC = append(r.IPC, s)
	case s.Name == "ZDS":
		r.ZDS = append(r.ZDS, s)
	}
}

func (w *orderWalk) specimen(s hl7.Segment, r *RequestGroup) {
	to := &w.specimens
	if !w.before {
		if r == nil {
			return
		}
		to = &r.Specimens
	}
	if w.before && w.fresh {
		w.specimens, w.fresh = nil, false
	}
	if s.Name == "SPM" {
		*to = append(*to, SpecimenGroup{SPM: []hl7.Segment{s}})
		return
	}
	if len(*to) == 0 {
		*to = append(*to, SpecimenGroup{})
	}
	last := &(*to)[len(*to)-1]
	last.SAC = append(last.SAC, s)
}

// shareStudy gives the one ZDS at the end of a message to all requests: IHE RAD TF-2
// section 4.4.4.1.2.
func (w *orderWalk) shareStudy() {
	var only []hl7.Segment
	n := 0
	for _, g := range w.groups {
		for _, r := range g.Requests {
			if len(r.ZDS) > 0 {
				only, n = r.ZDS, n+1
			}
		}
	}
	if n != 1 {
		return
	}
	for i := range w.groups {
		for j := range w.groups[i].Requests {
			w.groups[i].Requests[j].ZDS = only
		}
	}
}

// split makes an order of each OBR where an ORC has no number and its OBR have
// several.
func (w *orderWalk) split() {
	var all []OrderGroup
	for _, g := range w.groups {
		one := g
		one.Requests = nil
		for _, r := range g.Requests {
			if len(one.Requests) > 0 && Number(g.ORC, "2").Empty() && Number(r.OBR, "2") != Number(one.Requests[0].OBR, "2") {
				all = append(all, one)
				one.Requests = nil
			}
			one.Requests = append(one.Requests, r)
		}
		all = append(all, one)
	}
	w.groups = all
}

// OrderRules are what a link says about its orders.
type OrderRules struct {
	Zone        *time.Location
	Authorities AuthorityRules
	// Specimen are the fields that have the specimen identifier, as "SPM-2", "SAC-3",
	// "OBR-3": the first that has a value counts. None: SPM-2 and SAC-3, both, and where
	// they are empty OBR-3.
	Specimen []string
}

// ReadOrder reads what a group orders, but for what belongs to imaging.
func ReadOrder(m *hl7.Message, g OrderGroup, r OrderRules) record.Order {
	o := record.Order{
		Placer: Number(g.ORC, "2"), Filler: Number(g.ORC, "3"), Group: Number(g.ORC, "4"),
		Parent: record.OrderNumber{ID: said(g.ORC, "8.1.1"), Authority: said(g.ORC, "8.1.2")}, Orderer: PersonName(g.ORC, "12"),
		Stay: stay(g),
	}
	if o.Parent.Empty() {
		o.Parent.ID = said(g.ORC, "8.1")
	}
	if len(g.Patient.PID) > 0 {
		o.Ordered = ReadPerson(m, g.Patient.PID[0], r.Authorities)
	}
	for _, q := range g.Requests {
		placer, filler := Number(q.OBR, "2"), Number(q.OBR, "3")
		if o.Placer.Empty() {
			o.Placer = placer
		}
		if o.Filler.Empty() {
			o.Filler = filler
		}
		if o.Orderer.Empty() {
			o.Orderer = PersonName(q.OBR, "16")
		}
		s := service(g, q, r)
		if !placer.Is(o.Placer) {
			s.Placer = placer
		}
		if !filler.Is(o.Filler) {
			s.Filler = filler
		}
		o.Services = append(o.Services, s)
	}
	return o
}

// Said is a text of a segment in normalization form C; empty where it is null.
func Said(s hl7.Segment, path string) string { return said(s, path) }

// Number reads an EI: "" is LAW's way of saying that there is none.
func Number(s hl7.Segment, path string) record.OrderNumber {
	n := record.OrderNumber{ID: said(s, path+".1"), Authority: said(s, path+".2")}
	if n.Authority == "" {
		n.Authority = said(s, path+".3")
	}
	if n.ID == "" {
		return record.OrderNumber{}
	}
	return n
}

// PersonName reads the name of an XCN or XPN-like field, without its identifier.
func PersonName(s hl7.Segment, field string) record.Name {
	return record.Name{Family: said(s, field+".2.1"), Given: said(s, field+".3"), Middle: said(s, field+".4")}
}

// CodedAt reads a CE or CWE.
func CodedAt(s hl7.Segment, path string) record.Coded {
	return record.Coded{
		Code: said(s, path+".1"), Text: said(s, path+".2"), System: said(s, path+".3"),
		AltCode: said(s, path+".4"), AltText: said(s, path+".5"), AltSystem: said(s, path+".6"),
	}
}

func service(g OrderGroup, q RequestGroup, r OrderRules) record.Service {
	s := record.Service{
		Code: CodedAt(q.OBR, "4"), Section: said(q.OBR, "24"), Priority: priority(g, q),
		Collected: TimeAt(q.OBR, "7.1", r.Zone), Scheduled: scheduled(g, q, r.Zone),
		Reason: said(q.OBR, "31.2"), Comments: notes(q),
	}
	if s.Reason == "" {
		s.Reason = said(q.OBR, "31.1")
	}
	s.Specimens = orderSpecimens(g, q, r)
	for _, x := range s.Specimens {
		if s.Collected.IsZero() {
			s.Collected = x.Collected
		}
	}
	return s
}

// priority is that of the first place that says one, table 0485.
func priority(g OrderGroup, q RequestGroup) string {
	for _, t := range slices.Concat(q.Timing, g.Timing) {
		if p := said(t, "9.1"); p != "" {
			return p
		}
	}
	for _, p := range []string{said(g.ORC, "7.6"), said(q.OBR, "27.6"), said(q.OBR, "5.1")} {
		if p != "" {
			return p
		}
	}
	return ""
}

// scheduled is when the service is to begin.
func scheduled(g OrderGroup, q RequestGroup, zone *time.Location) time.Time {
	for _, t := range slices.Concat(q.Timing, g.Timing) {
		if at := TimeAt(t, "7.1", zone); !at.IsZero() {
			return at
		}
	}
	for _, at := range []time.Time{TimeAt(g.ORC, "7.4.1", zone), TimeAt(q.OBR, "27.4.1", zone), TimeAt(q.OBR, "36.1", zone)} {
		if !at.IsZero() {
			return at
		}
	}
	return time.Time{}
}

// TimeAt reads a time stamp, also one of a day or an hour; zero where there is none.
func TimeAt(s hl7.Segment, path string, zone *time.Location) time.Time {
	if zone == nil {
		zone = time.UTC
	}
	text := said(s, path)
	if at, ok := hl7.ParseTime(text, zone); ok {
		return at
	}
	for _, layout := range []string{"20060102", "2006010215"} {
		if at, err := time.ParseInLocation(layout, text, zone); err == nil {
			return at
		}
	}
	return time.Time{}
}

func notes(q RequestGroup) (all []string) {
	for _, n := range q.Notes {
		for i := 1; i <= min(n.Repetitions(3), 20); i++ {
			if t := said(n, "3["+strconv.Itoa(i)+"]"); t != "" && len(all) < 20 {
				all = append(all, short(t, 2000))
			}
		}
	}
	return all
}

// orderSpecimens are the specimens of a request, by the rules of the link.
func orderSpecimens(g OrderGroup, q RequestGroup, r OrderRules) (all []record.OrderSpecimen) {
	groups := slices.Concat(g.Specimens, q.Specimens)
	if len(r.Specimen) > 0 {
		return ruledSpecimens(g, q, groups, r)
	}
	for _, x := range groups {
		if s := describe(x, q, r.Zone); add(&s, append(spmIDs(x), sacIDs(x)...)...) {
			all = append(all, s)
		}
	}
	if s := describe(SpecimenGroup{}, q, r.Zone); len(all) == 0 && add(&s, said(q.OBR, "3.1")) {
		all = append(all, s)
	}
	return all
}

// ruledSpecimens takes the identifier from the first field that has one.
func ruledSpecimens(g OrderGroup, q RequestGroup, groups []SpecimenGroup, r OrderRules) (all []record.OrderSpecimen) {
	for _, path := range r.Specimen {
		segment, field, _ := strings.Cut(path, "-")
		for _, x := range groups {
			ids := map[string][]string{"SPM": spmIDs(x), "SAC": sacIDs(x)}[segment]
			if s := describe(x, q, r.Zone); add(&s, ids...) {
				all = append(all, s)
			}
		}
		from := q.OBR
		if segment == "ORC" {
			from = g.ORC
		}
		if segment == "OBR" || segment == "ORC" {
			if !strings.Contains(field, ".") {
				field += ".1"
			}
			if s := describe(SpecimenGroup{}, q, r.Zone); add(&s, said(from, field)) {
				all = append(all, s)
			}
		}
		if len(all) > 0 {
			return all
		}
	}
	return nil
}

// spmIDs are the placer's and the filler's identifier of SPM-2 (data type EIP).
func spmIDs(x SpecimenGroup) (ids []string) {
	for _, s := range x.SPM {
		ids = append(ids, said(s, "2.1.1"), said(s, "2.2.1"))
	}
	return ids
}

// sacIDs are the container identifiers, SAC-3.
func sacIDs(x SpecimenGroup) (ids []string) {
	for _, s := range x.SAC {
		ids = append(ids, said(s, "3.1"))
	}
	return ids
}

func describe(x SpecimenGroup, q RequestGroup, zone *time.Location) record.OrderSpecimen {
	s := record.OrderSpecimen{Type: said(q.OBR, "15.1.1")}
	for _, spm := range x.SPM {
		if t := said(spm, "4.1"); t != "" {
			s.Type = t
		}
		s.Collected = TimeAt(spm, "17.1", zone)
	}
	return s
}

// add gives a specimen its identifiers, and reports whether it has one.
func add(s *record.OrderSpecimen, ids ...string) bool {
	for _, id := range ids {
		if id != "" && len(id) <= 200 && !slices.Contains(s.IDs, id) && len(s.IDs) < 10 {
			s.IDs = append(s.IDs, id)
		}
	}
	return len(s.IDs) > 0
}

// stay reads PV1 and AL1, and of the values of the orders weight and height.
func stay(g OrderGroup) (s record.Stay) {
	for _, v := range g.Patient.PV1 {
		s.Class = said(v, "2")
		var parts []string
		for _, c := range []string{"3.1", "3.2", "3.3"} {
			if t := said(v, c); t != "" {
				parts = append(parts, t)
			}
		}
		s.Location, s.Referrer = strings.Join(parts, " "), PersonName(v, "8")
		for i := 1; i <= min(v.Repetitions(15), 10); i++ {
			s.Pregnant = s.Pregnant || said(v, "15["+strconv.Itoa(i)+"]") == "B6"
		}
		break
	}
	for _, a := range g.Patient.Allergies {
		c := CodedAt(a, "3")
		if t := firstText(c.Text, c.Code); t != "" && len(s.Allergies) < 20 {
			s.Allergies = append(s.Allergies, t)
		}
	}
	for _, q := range g.Requests {
		for _, x := range q.Values {
			weigh(&s, x)
		}
	}
	return s
}

// weigh takes weight in kg and height in m: LOINC, or the words that RIS write. Other
// units are not converted.
func weigh(s *record.Stay, x hl7.Segment) {
	c, value, unit := CodedAt(x, "3"), said(x, "5"), strings.ToLower(said(x, "6.1"))
	if _, err := strconv.ParseFloat(value, 64); err != nil {
		return
	}
	is := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(c.Code, w) || strings.EqualFold(c.Text, w) })
	}
	switch {
	case unit == "kg" && is("29463-7", "3141-9", "Body Weight", "WEIGHT"):
		s.Weight = value
	case unit == "m" && is("8302-2", "3137-7", "Body Height", "HEIGHT"):
		s.Height = value
	}
}

func firstText(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
