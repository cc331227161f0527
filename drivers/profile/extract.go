package profile

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"nhip/drivers/astm/e1394"
	"nhip/gateway/record"
)

// What an extraction consumes without delivering it: the keys of
// Extraction.Consumed.
const (
	Query               = "query"                 // Q record or HL7 query: asks for work
	Control             = "control"               // results of control material; they are in Reports too, marked
	Calibration         = "calibration"           // results of a calibration; likewise
	Ignored             = "ignored code"          // result records that the profile declares to be no results
	Complementary       = "complementary"         // result records carried as comments of their report
	OrderWithoutResults = "order without results" // O record or OBR with no result of its own
	Comment             = "comment"               // comment of something that is not delivered
	Manufacturer        = "manufacturer record"   // M record
	Scientific          = "scientific record"     // S record
	Acknowledgement     = "acknowledgement"       // HL7 ACK
	DeviceStatus        = "device status"         // HL7 of chapter 13 on the device itself: ESU, INU, EAC …
)

// An Extraction is what a profile finds in one message. Every R record or OBX
// of the message is a result in Reports or counted in Ignored.
type Extraction struct {
	Reports []record.Report
	Queries int
	// Consumed counts what needs no delivery, by kind.
	Consumed map[string]int
	// Ignored counts the ignored and complementary result records by code.
	Ignored map[string]int
	// Undeclared counts delivered results whose code the profile does not know.
	Undeclared map[string]int
	// Doubts are the places whose bytes are not what was expected.
	Doubts []Doubt
	// Problems are what is wrong, in words and without patient data.
	Problems []string
	// Unread are those of the Problems that are parts of the message which nothing was
	// taken from: there may be results in them, and what was taken from beside them may
	// have slipped.
	Unread []string
}

// Results counts the results in all reports.
func (e Extraction) Results() int {
	n := 0
	for _, r := range e.Reports {
		n += len(r.Results)
	}
	return n
}

// Extract takes the reports out of one message: the record bytes of a LIS02
// message (profile protocol "astm") or an HL7 message ("hl7"). zone is the zone
// of the device's clock, as the connection declares it; nil is UTC. The error
// says that the message cannot be read or is of a kind that carries no
// results; nothing was extracted then.
func (p *Profile) Extract(message []byte, zone *time.Location) (Extraction, error) {
	return p.extract(message, zone, nil)
}

func (p *Profile) extract(message []byte, zone *time.Location, shown *Coverage) (Extraction, error) {
	if zone == nil {
		zone = time.UTC
	}
	x := &extractor{p: p, parts: &p.f.Parts, zone: zone, reading: reading{names: p.f.charset}, shown: shown, in: make(scope), index: make(map[reportKey]int)}
	x.out.Consumed = make(map[string]int)
	x.out.Ignored = make(map[string]int)
	x.out.Undeclared = make(map[string]int)
	walk := x.items
	switch families[p.f.Protocol] {
	case lis02Family:
		walk = x.lis02
	case hl7Family:
		walk = x.hl7
	}
	if err := walk(message); err != nil {
		return Extraction{}, err
	}
	x.out.Doubts = x.reading.doubts
	for _, d := range x.out.Doubts {
		x.problem("%s", d.Words())
	}
	return x.out, nil
}

// An element is a record or segment as the extraction sees it.
type element interface {
	// text is the decoded text at a place: of a component where the location
	// names one, else of the whole field as sent.
	text(location) string
	// repeats are the texts at a place in each repetition of the field.
	repeats(location) []string
}

// A scope is the records in force, by record type or segment name.
type scope map[string]element

// text is the first of the alternatives that is not blank, exactly as sent.
func (s scope) text(all paths) string {
	for _, l := range all {
		if e, ok := s[l.record]; ok {
			if text := s.joined(e, l); strings.TrimSpace(text) != "" {
				return text
			}
		}
	}
	return ""
}

// joined is the text at a place with what belongs behind it.
func (s scope) joined(e element, l location) string {
	text := e.text(l)
	for _, m := range l.more {
		if e, ok := s[m.record]; ok {
			text = strings.TrimSpace(text) + " " + strings.TrimSpace(e.text(m))
		}
	}
	return text
}

// trimmed is text without the blanks that pad the field.
func (s scope) trimmed(all paths) string { return strings.TrimSpace(s.text(all)) }

// repeats are the repetitions at the first alternative that is not blank.
func (s scope) repeats(all paths) []string {
	for _, l := range all {
		if e, ok := s[l.record]; ok && strings.TrimSpace(e.text(l)) != "" {
			return e.repeats(l)
		}
	}
	return nil
}

// met reports whether one of the rules recognises what is in scope. For a
// coverage every rule is asked.
func (x *extractor) met(rules []*rule) bool {
	met := false
	for _, r := range rules {
		if !x.recognised(r) {
			continue
		}
		x.shown.show(r)
		met = true
		if x.shown == nil {
			return true
		}
	}
	return met
}

func (x *extractor) recognised(r *rule) bool {
	for _, l := range r.Path {
		e, ok := x.in[l.record]
		if ok && r.recognises(append(e.repeats(l), e.text(l))) {
			return true
		}
	}
	return false
}

func (r *rule) recognises(texts []string) bool {
	for _, text := range texts {
		text = strings.TrimSpace(text)
		if r.Matches.given() && r.Matches.whole(text) || r.Is != "" && r.Is == text {
			return true
		}
	}
	return false
}

// A reportKey is what makes results one report: the same specimen of the same
// patient, and never control material with a patient's. An order without a
// specimen identifier is a report of its own.
type reportKey struct {
	patient  int
	order    int // 0 where the specimen is known
	specimen string
	control  bool
}

// An extractor walks one message.
type extractor struct {
	p     *Profile
	parts *parts // those of the profile, or of the order that is a result itself
	zone  *time.Location
	shown *Coverage
	out   Extraction

	reading  reading // of the bytes of the message
	in       scope
	device   record.Device
	patients int // P or PID seen
	orders   int // O or OBR seen
	index    map[reportKey]int
	order    *order // in force; nil after P and before the first O
	last     *record.Result
	follows  byte // what a comment belongs to: patient, order or result

	patientComments []string
	specimenFirst   bool // OUL^R22, R23: the specimen stands before its orders
	orderFirst      bool // OUL^R24: an order's ORC and specimen stand behind its OBR
}

// An order is what the O record or OBR in force says, read once.
type order struct {
	read     bool // the fields below are
	specimen record.Specimen
	priority string
	code     string
	control  bool // by the rules that need no result
	calibr   bool // likewise a calibration
	material material

	results  int
	report   int      // of the last result; -1: none yet
	comments []string // until there is a report
}

// material is what a device says of the control material.
type material struct{ lot, name, level string }

// What a comment belongs to, LIS02-A2 comment record: the record before it.
const (
	nothing byte = iota
	patientRecord
	orderRecord
	resultRecord
)

func (x *extractor) problem(format string, args ...any) {
	x.out.Problems = append(x.out.Problems, fmt.Sprintf(format, args...))
}

// header begins a message.
func (x *extractor) header() {
	parts := x.parts
	x.device = record.Device{
		Profile:  x.p.f.ID,
		Model:    x.in.trimmed(parts.Model),
		Serial:   x.in.trimmed(parts.Serial),
		Software: x.in.trimmed(parts.Software),
	}
	if !x.p.f.Sender.given() {
		return
	}
	found := x.p.f.Sender.anywhere.FindStringSubmatch(x.sender())
	if found == nil {
		x.problem("the sender that the message names is not one of profile %s", x.p.f.ID)
		return
	}
	for i, group := range x.p.f.Sender.anywhere.SubexpNames() {
		switch group {
		case "model":
			x.device.Model = strings.TrimSpace(found[i])
		case "serial":
			x.device.Serial = strings.TrimSpace(found[i])
		case "software":
			x.device.Software = strings.TrimSpace(found[i])
		}
	}
}

// senderPlaces is where the protocols name the sender: LIS02 H.5, MSH-3.
var senderPlaces = map[family]paths{
	lis02Family: {{text: "H.5", record: "H", within: "5", field: 5}},
	hl7Family:   {{text: "MSH-3", record: "MSH", within: "3", field: 3}},
}

func (x *extractor) sender() string { return x.in.text(x.p.senderPaths()) }

func (p *Profile) senderPaths() paths {
	if len(p.f.Parts.Sender) > 0 {
		return p.f.Parts.Sender
	}
	return senderPlaces[families[p.f.Protocol]]
}

// newPatient begins a P record or PID.
func (x *extractor) newPatient() {
	x.end()
	x.parts = &x.p.f.Parts
	x.patients++
	x.follows, x.patientComments = patientRecord, nil
}

// newOrder begins an O record or OBR.
func (x *extractor) newOrder() {
	x.end()
	x.orders++
	x.follows, x.order, x.parts = orderRecord, &order{report: -1}, &x.p.f.Parts
}

// orderAsResult takes the O record or OBR in scope as a result, where the model puts
// one there.
func (x *extractor) orderAsResult() {
	r := x.p.f.OrderResult
	if r == nil || !x.recognised(&r.When) {
		return
	}
	x.shown.show(r)
	x.parts = &r.Parts
	x.result()
}

// end closes the order in force. An order without results is not delivered, nor
// are its comments; both are counted.
func (x *extractor) end() {
	if o := x.order; o != nil && o.results == 0 {
		x.consume(OrderWithoutResults, 1)
		x.consume(Comment, len(o.comments))
	}
	x.order, x.last, x.follows = nil, nil, nothing
}

func (x *extractor) consume(kind string, n int) {
	if n > 0 {
		x.out.Consumed[kind] += n
	}
}

// comment takes the text of a C record or NTE.
func (x *extractor) comment() {
	x.reading.taken()
	text := x.remark(x.in.trimmed(x.parts.Comment))
	if text != "" {
		x.commentOn(append([]string{text}, x.reading.taken()...))
	}
}

// commentOn adds comments to what they belong to.
func (x *extractor) commentOn(all []string) {
	switch {
	case x.follows == patientRecord:
		x.patientComments = append(x.patientComments, all...)
	case x.follows == orderRecord:
		x.orderComment(all...)
	case x.last != nil:
		x.last.Comments = append(x.last.Comments, all...)
	default:
		x.consume(Comment, 1)
	}
}

// remark is the text of a comment as the profile explains it; empty where it says
// nothing or is a part of the control material.
func (x *extractor) remark(text string) string {
	for i := range x.p.f.Remark {
		r := &x.p.f.Remark[i]
		found := r.Matches.entire.FindStringSubmatch(text)
		if found == nil {
			continue
		}
		x.shown.show(r)
		if r.Part != "" && x.order != nil {
			x.order.material.set(r.Part, strings.TrimSpace(found[1]))
			if i := x.order.report; i >= 0 {
				x.out.Reports[i].Lot, x.out.Reports[i].Material, x.out.Reports[i].Level = x.order.material.lot, x.order.material.name, x.order.material.level
			}
		}
		if r.Means == "" {
			x.consume(Comment, 1)
		}
		return r.Means
	}
	return text
}

func (m *material) set(part, text string) {
	switch part {
	case "control_lot":
		m.lot = text
	case "control_name":
		m.name = text
	case "control_level":
		m.level = text
	}
}

// orderComment adds comments to the report of the order in force, which may be
// still to come.
func (x *extractor) orderComment(all ...string) {
	if x.order.report >= 0 {
		r := &x.out.Reports[x.order.report]
		r.Comments = append(r.Comments, all...)
		return
	}
	x.order.comments = append(x.order.comments, all...)
}

// result takes the R record or OBX in scope.
func (x *extractor) result() {
	if x.order == nil {
		x.newOrder()
		x.problem("order %d: results without an order record", x.orders)
	}
	parts := x.parts
	x.follows, x.last = resultRecord, nil
	x.reading.taken()
	code, value := x.code(), x.in.text(parts.Value)
	for i := range x.p.f.Ignore {
		if c := &x.p.f.Ignore[i]; c.take(x.in, code, value) {
			x.shown.show(c)
			x.consume(Ignored, 1)
			x.out.Ignored[code]++
			return
		}
	}
	for i := range x.p.f.Comment {
		if c := &x.p.f.Comment[i]; c.take(x.in, code, value) {
			x.shown.show(c)
			x.consume(Complementary, 1)
			x.out.Ignored[code]++
			x.orderComment(x.complement(c, code, value))
			return
		}
	}
	doubts := x.reading.taken()
	report := x.reportOfResult()
	report.Comments = append(report.Comments, x.reading.taken()...)
	r := x.newResult(code, value)
	r.Comments = append(r.Comments, append(doubts, x.reading.taken()...)...)
	report.Results = append(report.Results, r)
	x.last = &report.Results[len(report.Results)-1]
	x.order.results++
	switch {
	case report.Calibration:
		x.consume(Calibration, 1)
	case report.Control:
		x.consume(Control, 1)
	}
}

// code is the test code, without what the profile says stands beside it, and with
// the suffix of a further result of the same test.
func (x *extractor) code() string {
	code := x.in.trimmed(x.parts.Code)
	if x.p.f.CodeForm.given() {
		if found := x.p.f.CodeForm.entire.FindStringSubmatch(code); found != nil {
			code = strings.TrimSpace(found[1])
		}
	}
	for i := range x.p.f.Variant {
		if v := &x.p.f.Variant[i]; x.in.trimmed(v.Path) == v.Is {
			x.shown.show(v)
			return code + v.Suffix
		}
	}
	return code
}

// complement is the comment that a complementary result record becomes. The
// value of a rule that asks for one is what raised it, and says no more.
func (x *extractor) complement(c *codes, code, value string) string {
	name := x.in.trimmed(x.parts.Text)
	if name == "" {
		name = code
	}
	if c.Value.given() || strings.TrimSpace(value) == "" {
		return name
	}
	return name + ": " + value
}

// reportOfResult is the report that the result in scope belongs to.
func (x *extractor) reportOfResult() *record.Report {
	o, parts := x.order, x.parts
	x.readOrder()
	control := x.met(x.p.perResult) || o.control || o.calibr
	key := reportKey{patient: x.patients, specimen: o.specimen.ID, control: control}
	if key.specimen == "" {
		key.order = x.orders
	}
	i, known := x.index[key]
	if !known {
		i = len(x.out.Reports)
		x.index[key] = i
		x.out.Reports = append(x.out.Reports, record.Report{
			Device:      x.device,
			Patient:     x.patient(),
			Specimen:    o.specimen,
			Order:       o.code,
			Control:     control,
			Calibration: o.calibr,
			MessageID:   x.in.trimmed(parts.MessageID),
			MessageTime: x.time(parts.MessageTime),
			Comments:    slices.Clone(x.patientComments),
		})
	}
	report := &x.out.Reports[i]
	if control {
		report.Lot, report.Material, report.Level = o.material.lot, o.material.name, o.material.level
	}
	report.Priority = moreUrgent(report.Priority, o.priority)
	if report.Order != o.code {
		report.Order = "" // several orders for one specimen: none of them is the report's
	}
	report.Comments = append(report.Comments, o.comments...)
	o.report, o.comments = i, nil
	return report
}

// readOrder reads what the order in force says, at its first result: in ORU^R01
// the specimen may stand behind it, but never behind a result's report.
func (x *extractor) readOrder() {
	o, parts := x.order, x.parts
	if o.read {
		return
	}
	o.read = true
	o.control = x.met(x.p.perOrder)
	o.calibr = x.met(x.p.calibrate)
	for _, part := range []struct {
		key   string
		paths paths
	}{{"control_lot", parts.Lot}, {"control_name", parts.Material}, {"control_level", parts.Level}} {
		if text := x.in.trimmed(part.paths); text != "" {
			o.material.set(part.key, text)
		}
	}
	o.code = x.in.trimmed(parts.Order)
	o.priority = x.priority()
	o.specimen = record.Specimen{
		ID:        x.in.trimmed(parts.Specimen),
		Type:      x.in.trimmed(parts.SpecimenType),
		Rack:      x.in.trimmed(parts.Rack),
		Collected: x.time(parts.Collected),
	}
	if m, known := x.find(x.p.f.SpecimenType, o.specimen.Type); known {
		o.specimen.Type = m.Means
	}
	if position := x.in.trimmed(parts.Position); position != "" {
		o.specimen.Rack += "/" + position
	}
	if x.p.f.SpecimenForm.given() {
		if found := x.p.f.SpecimenForm.entire.FindStringSubmatch(o.specimen.ID); found != nil {
			o.specimen.ID = strings.TrimSpace(found[1])
		}
	}
	if strings.ContainsRune(o.specimen.ID, utf8.RuneError) {
		o.specimen.ID = "" // what cannot be read may be anybody's
	}
	if x.met(x.p.unread) {
		o.specimen.ID = ""
		x.problem("order %d: the analyser could not read the specimen identifier", x.orders)
	} else if o.specimen.ID == "" {
		x.problem("order %d: no specimen identifier", x.orders)
	}
}

// patient is nil where the device names none: a sex or a date of birth alone is
// no person.
func (x *extractor) patient() *record.Patient {
	parts := x.parts
	p := record.Patient{
		ID: x.in.trimmed(parts.PatientID),
		Name: record.Name{
			Family: x.in.trimmed(parts.Family),
			Given:  x.in.trimmed(parts.Given),
			Middle: x.in.trimmed(parts.Middle),
		},
		Birth: x.in.trimmed(parts.Birth),
		Sex:   x.in.trimmed(parts.Sex),
	}
	if strings.ContainsRune(p.ID, utf8.RuneError) {
		p.ID = ""
	}
	if p.ID == "" && p.Name.Empty() {
		return nil
	}
	return &p
}

// newResult is the result of the record in scope.
func (x *extractor) newResult(code, value string) record.Result {
	parts := x.parts
	r := record.Result{
		Code:       code,
		Text:       x.in.trimmed(parts.Text),
		Value:      value,
		Unit:       x.in.trimmed(parts.Unit),
		Range:      x.in.trimmed(parts.Range),
		Observed:   x.time(parts.Observed),
		Analysed:   x.time(parts.Analysed),
		Operator:   x.in.trimmed(parts.Operator),
		Instrument: x.in.trimmed(parts.Instrument),
	}
	if t, ok := x.p.tests[code]; ok {
		x.shown.show(t)
		r.Declared, r.LOINC = true, t.LOINC
		if r.Text == "" {
			r.Text = t.Name
		}
	} else if x.p.SiteCodes() {
		r.Declared = true
	} else {
		x.out.Undeclared[code]++
		if x.out.Undeclared[code] == 1 {
			x.problem("test code %q is not declared in profile %s", code, x.p.f.ID)
		}
	}
	if code == "" {
		x.problem("order %d: a result without a test code", x.orders)
	}
	if sent := x.in.trimmed(parts.LOINC); r.LOINC == "" && loincForm.MatchString(sent) {
		r.LOINC = sent
	}
	if m, known := x.find(x.p.f.Unit, r.Unit); known {
		r.UCUM = m.Means
	}
	x.takeApart(&r)
	for i := range x.p.f.Mark {
		if m := &x.p.f.Mark[i]; x.in.trimmed(m.Path) == m.Is {
			x.shown.show(m)
			r.Comments = append(r.Comments, m.Comment)
		}
	}
	x.flag(&r)
	x.status(&r)
	return r
}

// plainValue are the values that mean the same of every device: a number, with or
// without a comparator.
var plainValue = regexp.MustCompile(`\A(?P<comparator>[<>]=?)?\s*(?P<quantity>[+-]?[0-9]+(?:[.,][0-9]+)?)\z`)

// takeApart keeps the comparator, the quantity and the qualitative part of a value
// apart: where the profile says that they stand, by the profile's forms, or as
// a plain number. What is none of these is not interpreted.
func (x *extractor) takeApart(r *record.Result) {
	parts := x.parts
	number := strings.TrimSpace(r.Value)
	if len(parts.Quantity)+len(parts.Qualitative) > 0 {
		r.Qualitative = x.in.trimmed(parts.Qualitative)
		number = x.in.trimmed(parts.Quantity)
	}
	for i := range x.p.f.Value {
		f := &x.p.f.Value[i]
		if found := f.Matches.entire.FindStringSubmatch(number); found != nil {
			x.shown.show(f)
			assign(r, f.Matches.entire, found)
			return
		}
	}
	if found := plainValue.FindStringSubmatch(number); found != nil {
		assign(r, plainValue, found)
	}
}

func assign(r *record.Result, form *regexp.Regexp, found []string) {
	for i, group := range form.SubexpNames() {
		switch text := strings.TrimSpace(found[i]); group {
		case "comparator":
			r.Comparator = text
		case "quantity":
			r.Quantity = text
		case "qualitative":
			r.Qualitative = text
		}
	}
}

// flag carries the abnormal flags, several separated by ~ as in OBX-8: as sent, or
// by the profile where it declares what one means in HL7 table 0078.
func (x *extractor) flag(r *record.Result) {
	var flags []string
	for _, sent := range x.in.repeats(x.parts.Flag) {
		sent = strings.TrimSpace(sent)
		m, known := x.find(x.p.f.Flag, sent)
		if !known {
			m.Means = sent
		}
		if m.Means != "" {
			flags = append(flags, m.Means)
		}
		if m.Comment != "" {
			r.Comments = append(r.Comments, m.Comment)
		}
	}
	r.Flag = strings.Join(flags, "~")
}

// plainStatus are the result statuses that LIS02 R.9 and HL7 table 0085 define
// alike; the others of LIS02 need the profile's word.
const plainStatus = "CPFXIS"

// hl7Status are the codes of HL7 table 0085, version 2.5.1.
const hl7Status = "CDFINOPRSUWX"

// status translates the result status to HL7 table 0085. A failed run is X
// (cannot be obtained), whatever the device calls it. A status that nobody
// explained is not passed off as one of the table: it becomes a comment.
func (x *extractor) status(r *record.Result) {
	sent := x.in.trimmed(x.parts.Status)
	same := plainStatus
	if families[x.p.f.Protocol] == hl7Family {
		same = hl7Status
	}
	if m, known := x.find(x.p.f.Status, sent); known {
		r.Status = m.Means
		if m.Comment != "" {
			r.Comments = append(r.Comments, m.Comment)
		}
	} else if len(sent) == 1 && strings.Contains(same, sent) {
		r.Status = sent
	} else if sent != "" {
		r.Comments = append(r.Comments, "result status "+sent)
		x.problem("result status %q is not explained in profile %s", sent, x.p.f.ID)
	}
	if x.met(x.p.failure) {
		r.Status = "X"
	}
}

// find looks up what a text of the device means.
func (x *extractor) find(all []meaning, sent string) (meaning, bool) {
	for i := range all {
		if all[i].Is == sent {
			x.shown.show(&all[i])
			return all[i], true
		}
	}
	return meaning{}, false
}

// urgency orders the priorities of LIS02 O.6 and HL7 table 0027 that
// record.Report knows.
var urgency = map[string]int{"": 0, "R": 1, "A": 2, "S": 3}

func moreUrgent(a, b string) string {
	if urgency[b] > urgency[a] {
		return b
	}
	return a
}

// priority is the most urgent of the repetitions.
func (x *extractor) priority() string {
	best := ""
	for _, text := range x.in.repeats(x.parts.Priority) {
		text = strings.ToUpper(strings.TrimSpace(text))
		if text == "STAT" {
			text = "S"
		}
		best = moreUrgent(best, text)
	}
	return best
}

func (x *extractor) time(all paths) record.Time {
	text := x.in.trimmed(all)
	t := record.Time{Text: text, At: readTime(text, x.zone)}
	for _, layout := range x.p.layouts {
		if at, err := time.ParseInLocation(layout, text, x.zone); err == nil && t.At.IsZero() {
			t.At = at
		}
	}
	return t
}

// readTime reads YYYYMMDDHHMM[SS[.S…]][±ZZZZ], LIS02 5.6.2 and the HL7 data type
// TS. A text without a time of day, or one that does not fit, is the zero time:
// what it says stays in the text.
func readTime(text string, zone *time.Location) time.Time {
	digits := text
	if i := strings.IndexAny(text, "+-"); i >= 0 {
		digits = text[:i]
		offset, err := time.Parse("-0700", text[i:])
		if err != nil {
			return time.Time{}
		}
		zone = offset.Location()
	}
	layout := "20060102150405"
	if len(digits) == len("200601021504") {
		layout = "200601021504"
	}
	at, err := time.ParseInLocation(layout, digits, zone)
	if err != nil {
		return time.Time{}
	}
	return at
}

// senderOf is what a message names as its sender: H.5, MSH-3 or what the profile
// says.
func (p *Profile) senderOf(message []byte) (string, error) {
	switch families[p.f.Protocol] {
	case hl7Family:
		m, read, err := p.readHL7(message)
		if err != nil {
			return "", err
		}
		return scope{"MSH": segment{m.Segments()[0], read}}.text(p.senderPaths()), nil
	case itemFamily:
		records, _, err := p.records(message)
		if err != nil || len(records) == 0 {
			return "", err
		}
		return scope{records[0].Kind: itemRecord{records[0], &reading{names: p.f.charset}}}.text(p.senderPaths()), nil
	}
	m, err := e1394.Parse(message)
	if err != nil {
		return "", err
	}
	return scope{"H": lisRecord{m.Header(), &reading{names: p.f.charset}}}.text(p.senderPaths()), nil
}
