package profile

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"nhip/drivers/astm/e1394"
	"nhip/gateway/record"
	"nhip/hl7/vncharset"
)

// A query says where a Q record (LIS02) has what it asks for: [query]. Paths are
// fields of Q, "Q.3.2"; alternatives are separated by commas.
type query struct {
	Source    string `toml:"source"`
	Specimen  asked  `toml:"specimen"` // each repetition of the field is a specimen
	Rack      asked  `toml:"rack"`
	Position  asked  `toml:"position"`
	Sequence  asked  `toml:"sequence"`
	Type      asked  `toml:"specimen_type"`
	Container asked  `toml:"container"`
	Tests     asked  `toml:"tests"`
	// All is what stands for all specimens, or for all tests.
	All string `toml:"all"`
	// Cancel recognises a query that withdraws an earlier one.
	Cancel []cancel `toml:"cancel"`
}

type cancel struct {
	Path   asked  `toml:"path"`
	Is     string `toml:"is"`
	Source string `toml:"source"`
}

// asked are alternative places in a Q record, "Q.3.2, Q.3.1".
type asked []e1394.Path

// UnmarshalText reads them.
func (a *asked) UnmarshalText(text []byte) error {
	*a = nil
	for one := range strings.SplitSeq(string(text), ",") {
		within, ok := strings.CutPrefix(strings.TrimSpace(one), "Q.")
		p, err := e1394.ParsePath(within)
		if !ok || err != nil || p.Repeat != 0 {
			return fmt.Errorf("bad path %q: it is like Q.3.2", one)
		}
		*a = append(*a, p)
	}
	return nil
}

// get is the first of the places that is not blank, in a repetition of the field
// (from 1; 0: in the first).
func (a asked) get(q e1394.Record, repeat int) string {
	for _, p := range a {
		p.Repeat = max(repeat, 1)
		if text := strings.TrimSpace(q.At(p)); text != "" {
			return text
		}
	}
	return ""
}

// most is how many specimens or tests one query may name.
const most = 500

// all are the texts of all repetitions.
func (a asked) all(q e1394.Record) []string {
	if len(a) == 0 {
		return nil
	}
	var texts []string
	for i := range min(max(q.Repeats(a[0].Field), 1), most) {
		if text := a.get(q, i+1); text != "" && !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return texts
}

// whole is the text of the whole field that the first of the places is in.
func (a asked) whole(q e1394.Record) string {
	if len(a) == 0 {
		return ""
	}
	return strings.TrimSpace(q.At(e1394.Path{Field: a[0].Field}))
}

// Asks reports whether the profile declares how the model asks for work.
func (p *Profile) Asks() bool { return p.f.Query != nil }

// Queries are what a LIS02 message asks for; none where it has no Q record, or the
// profile does not say how the model asks.
func (p *Profile) Queries(message []byte) []record.Query {
	d := p.f.Query
	if d == nil || !isASTM(p.f.Protocol) {
		return nil
	}
	m, err := e1394.Parse(message)
	if err != nil {
		return nil
	}
	var all []record.Query
	for _, r := range m.Records {
		if r.Type() != "Q" || len(r.Bytes) > maxContext {
			continue
		}
		q := record.Query{
			Specimens: p.read(d.Specimen.all(r)), Tests: d.Tests.all(r),
			Rack: d.Rack.get(r, 0), Position: d.Position.get(r, 0), Sequence: d.Sequence.get(r, 0),
			SpecimenType: d.Type.get(r, 0), Container: d.Container.get(r, 0),
			ID: strings.TrimSpace(r.Get("2")),
		}
		if d.All != "" {
			q.All = slices.Contains(q.Specimens, d.All) || d.Specimen.whole(r) == d.All
			q.Specimens = slices.DeleteFunc(q.Specimens, func(s string) bool { return s == d.All })
			q.Tests = slices.DeleteFunc(q.Tests, func(s string) bool { return s == d.All })
		}
		for _, c := range d.Cancel {
			q.Cancel = q.Cancel || c.Path.get(r, 0) == c.Is
		}
		all = append(all, q)
	}
	return all
}

// An answer says how work is handed to the model: [answer].
type answer struct {
	Source string `toml:"source"`
	// Deadline: an answer that is later is not given: "18s".
	Deadline span `toml:"deadline"`
	// Per is "specimen" (default): one O record with all tests as repetitions, or
	// "test": one O record for each.
	Per string `toml:"per"`
	// Unknown is what a specimen without orders gets: "nothing" (default),
	// "no-information" (H, then L with the termination code I), or with the fields of
	// [[answer.unknown_field]] "order", an O record without tests, or "query", the query
	// given back. Fields of H and L there are put into the records around it.
	Unknown       string `toml:"unknown"`
	Fields        []set  `toml:"field"`
	UnknownFields []set  `toml:"unknown_field"`

	types []meaning         // [[specimen_type]] of the profile
	names vncharset.Names   // in which names are written
	sent  map[string]string // specimens of the query as they were sent, by what they read

	// Download is how work is handed out that the model did not ask for, Cancel how
	// work is taken back; nil: no source says that the model takes it.
	Download *unasked `toml:"download"`
	Cancel   *unasked `toml:"cancel"`
}

// A set puts a text at a place of H, P, O or L, and of Q where a query is given back.
// The word {H.5} alone puts field 5 of the header of the query there, with all its
// components; likewise {H.10} and the others. Other words in braces are replaced:
// {specimen} {specimen_type} {rack} {position} {sequence} {container} {test}
// {priority} {order} {collected} {patient_id} {name} {family} {middle} {given}
// {birth} {sex} {now} {number}. A field with {test} is repeated for every test where
// Per is "specimen"; {number} counts the records of a type.
//
// Length is the most characters that the field takes, as the model counts them: bytes,
// or letters in UTF-8; 0: any. A name is cut there, at a letter; an identifier never is.
type set struct {
	Path   string `toml:"path"`
	Is     string `toml:"is"`
	Length int    `toml:"length"`
}

type span time.Duration

// UnmarshalText reads "18s".
func (s *span) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is no duration like 18s", text)
	}
	*s = span(d)
	return nil
}

var (
	setForm  = regexp.MustCompile(`^([HPOLQ])\.([1-9][0-9]?)(\.[1-9][0-9]?)?$`)
	given    = regexp.MustCompile(`^\{H\.([3-9]|1[0-4])\}$`)
	wordForm = regexp.MustCompile(`\{[^}]*\}`)
	words    = []string{"specimen", "specimen_type", "rack", "position", "sequence", "container", "test", "priority", "order", "collected",
		"patient_id", "name", "family", "middle", "given", "birth", "sex", "now", "number"}
)

// defaultDeadline is within the 15 s and more that LIS01 systems wait; a model that
// waits less says so.
const defaultDeadline = 10 * time.Second

// Deadline is until when a query of the model has to be answered.
func (p *Profile) Deadline() time.Duration {
	if p.f.Answer == nil || p.f.Answer.Deadline == 0 {
		return defaultDeadline
	}
	return time.Duration(p.f.Answer.Deadline)
}

// Answers reports whether the profile declares how work is handed to the model.
func (p *Profile) Answers() bool { return p.f.Answer != nil }

func (c *checker) ask(f *file) {
	if q := f.Query; q != nil {
		c.needs("query", "source", q.Source)
		if !isASTM(f.Protocol) {
			c.bad("query", "is for protocol %q; the others have one form of query", ASTM)
		}
		if len(q.Specimen) == 0 && len(q.Rack) == 0 {
			c.bad("query", "specimen is missing")
		}
		for i, one := range q.Cancel {
			place := fmt.Sprintf("[[query.cancel]] number %d", i+1)
			c.needs(place, "is", one.Is)
			c.needs(place, "source", one.Source)
		}
	}
	a := f.Answer
	if a == nil {
		return
	}
	c.needs("answer", "source", a.Source)
	if !isASTM(f.Protocol) {
		c.bad("answer", "is for protocol %q; the others have one form of answer", ASTM)
	}
	c.word("answer.per", a.Per, "specimen", "test")
	c.word("answer.unknown", a.Unknown, "nothing", "no-information", "order", "query")
	c.sets(a.Fields)
	if !slices.ContainsFunc(a.Fields, func(s set) bool { return strings.Contains(s.Is, "{test}") }) {
		c.bad("answer", "no field has {test}")
	}
	c.unknown(a)
	c.unasked(f, a)
}

// unknown checks what a specimen without orders gets.
func (c *checker) unknown(a *answer) {
	c.sets(a.UnknownFields)
	record := map[string]string{"order": "O.", "query": "Q.", "no-information": "L."}[a.Unknown]
	begins := func(with string) func(set) bool {
		return func(s set) bool { return strings.HasPrefix(s.Path, with) }
	}
	if a.Unknown != "query" && slices.ContainsFunc(slices.Concat(a.Fields, a.UnknownFields), begins("Q.")) {
		c.bad("answer", `a field of Q is for unknown = "query"`)
	}
	if record == "" && len(a.UnknownFields) > 0 || record != "" && record != "L." && !slices.ContainsFunc(a.UnknownFields, begins(record)) {
		c.bad("answer", `unknown = "order" or "query" and [[answer.unknown_field]] belong together`)
	}
}

func (c *checker) word(place, value string, allowed ...string) {
	if value != "" && !slices.Contains(allowed, value) {
		c.bad(place, "%q is none of %q", value, allowed)
	}
}

func (c *checker) set(s set) {
	if s.Length < 0 {
		c.bad("answer", "%s: length %d is less than 0", s.Path, s.Length)
	}
	if !setForm.MatchString(s.Path) || s.Path == "H.2" || strings.HasPrefix(s.Path, "H.2.") {
		c.bad("answer", "%q is no field of H, P, O or L that can be set", s.Path)
	}
	if given.MatchString(s.Is) {
		if strings.Count(s.Path, ".") > 1 {
			c.bad("answer", "%s: %s is a whole field", s.Path, s.Is)
		}
		return
	}
	for _, w := range wordForm.FindAllString(s.Is, -1) {
		if !slices.Contains(words, w[1:len(w)-1]) {
			c.bad("answer", "%s: %s is none of the words", s.Path, w)
		}
	}
}

// Answer is the records, H to L, that hand out work in answer to a query in message;
// nil where the profile says that nothing is answered. now has the zone of the site.
// Work for specimens that were not asked for is an error.
func (p *Profile) Answer(message []byte, q record.Query, work []record.Work, now time.Time) ([]byte, error) {
	if p.f.Answer == nil {
		return nil, nil
	}
	m, err := e1394.Parse(message)
	if err != nil {
		return nil, err
	}
	for _, w := range work {
		if len(q.Specimens) > 0 && !slices.Contains(q.Specimens, w.Specimen) {
			return nil, fmt.Errorf("profile: work for a specimen that was not asked for")
		}
	}
	a := *p.f.Answer
	a.sent = p.sent(m)
	return a.compose(m.Header(), q, work, now)
}

// compose writes the records in answer to a query, whose header is h.
func (a *answer) compose(h e1394.Record, q record.Query, work []record.Work, now time.Time) ([]byte, error) {
	w := &writer{a: a, d: h.Delimiters, header: h, q: q, now: now, numbers: map[string]int{}}
	answered := map[string]bool{}
	nothing := !slices.ContainsFunc(work, func(one record.Work) bool { return len(one.Tests) > 0 })
	w.record("H", record.Work{}, nil, nothing && len(a.UnknownFields) > 0)
	for _, one := range work {
		if len(one.Tests) == 0 {
			continue
		}
		answered[one.Specimen] = true
		w.patient(one)
		w.order(one)
	}
	open := false
	for _, id := range q.Specimens {
		if answered[id] {
			continue
		}
		open = true
		one := record.Work{Specimen: id}
		switch w.a.Unknown {
		case "order":
			w.patient(one)
			w.record("O", one, nil, true)
		case "query":
			w.record("Q", one, nil, true)
		}
	}
	// That there is nothing at all is not said: only specimens are looked up.
	if len(answered) == 0 && (!open || w.a.Unknown == "" || w.a.Unknown == "nothing") {
		return nil, w.err
	}
	none, l := len(answered) == 0, "N"
	if none && w.a.Unknown == "no-information" {
		l = "I"
	}
	w.terminator(l, none)
	return w.out, w.err
}

// device is the analyser's word for a specimen type of HL7 table 0487; empty where the
// profile has none, for a code of HL7 is none of its words.
func (a *answer) device(specimenType string) string {
	for _, m := range a.types {
		if m.Means == specimenType {
			return m.Is
		}
	}
	return ""
}

// priority is LIS02 O.6 for a priority of HL7 table 0485.
func priority(code string) string {
	switch code {
	case "S", "STAT":
		return "S"
	case "A", "ASAP":
		return "A"
	}
	return "R"
}

// writer builds the records of one answer.
type writer struct {
	a       *answer
	d       e1394.Delimiters
	header  e1394.Record // of the query
	q       record.Query
	now     time.Time
	numbers map[string]int
	out     []byte
	err     error
}

func (w *writer) patient(one record.Work) {
	if slices.ContainsFunc(w.a.Fields, func(s set) bool { return s.Path[0] == 'P' }) {
		w.record("P", one, nil, false)
		w.numbers["O"] = 0
	}
}

func (w *writer) order(one record.Work) {
	if w.a.Per != "test" {
		w.record("O", one, one.Tests, false)
		return
	}
	for _, test := range one.Tests {
		w.record("O", one, []string{test}, false)
	}
}

// record writes one record with its fields; unknown: of a specimen without orders.
func (w *writer) record(kind string, one record.Work, tests []string, unknown bool) {
	w.numbers[kind]++
	r := w.d.NewRecord(kind)
	fields := w.a.Fields
	if unknown {
		fields = slices.Concat(fields, w.a.UnknownFields)
	}
	if kind != "H" {
		w.set(&r, "2", strconv.Itoa(w.numbers[kind]))
	}
	for _, s := range fields {
		within, mine := strings.CutPrefix(s.Path, kind+".")
		if !mine {
			continue
		}
		if given.MatchString(s.Is) {
			w.give(&r, within, strings.Trim(s.Is, "{H.}"))
			continue
		}
		if !strings.Contains(s.Is, "{test}") {
			w.set(&r, within, w.words(s, one, ""))
			continue
		}
		for i, test := range tests {
			w.set(&r, repetition(within, i+1), w.words(s, one, test))
		}
	}
	w.out = append(append(w.out, r.Bytes...), '\r')
}

// repetition is a path within a repetition of its field.
func repetition(path string, n int) string {
	field, component, dotted := strings.Cut(path, ".")
	path = field + "[" + strconv.Itoa(n) + "]"
	if dotted {
		path += "." + component
	}
	return path
}

func (w *writer) set(r *e1394.Record, path, text string) {
	if strings.TrimSpace(text) == "" || w.err != nil {
		return
	}
	w.err = r.Set(path, text)
}

const mostComponents = 20 // of a field of the header that is given back

// give puts a field of the query's header into a record, component by component.
func (w *writer) give(r *e1394.Record, path, field string) {
	p, err := e1394.ParsePath(field)
	if err != nil {
		return
	}
	last := bytes.Count(w.header.Raw(p), []byte{w.header.Delimiters.Component}) + 1
	for i := range min(last, mostComponents) {
		component := "." + strconv.Itoa(i+1)
		w.set(r, path+component, w.header.Get(field+component))
	}
}

// terminator writes L with its code, unless the profile sets it. open: there was
// nothing for a specimen, and no work at all.
func (w *writer) terminator(code string, open bool) {
	r := w.d.NewRecord("L")
	w.set(&r, "2", "1")
	w.set(&r, "3", code)
	fields := w.a.Fields
	switch {
	case open && w.a.Unknown == "no-information":
		fields = w.a.UnknownFields
	case open:
		fields = slices.Concat(fields, w.a.UnknownFields)
	}
	for _, s := range fields {
		if within, mine := strings.CutPrefix(s.Path, "L."); mine {
			w.set(&r, within, s.Is)
		}
	}
	w.out = append(append(w.out, r.Bytes...), '\r')
}

func (w *writer) word(name string, one record.Work, test string) string {
	switch name {
	case "specimen":
		return one.Specimen
	case "specimen_type":
		if w.q.SpecimenType != "" { // what the analyser has said of its tube is so
			return w.q.SpecimenType
		}
		return w.a.device(one.SpecimenType)
	case "rack":
		return w.q.Rack
	case "position":
		return w.q.Position
	case "sequence":
		return w.q.Sequence
	case "container":
		return w.q.Container
	case "test":
		return test
	case "priority":
		return priority(one.Priority)
	case "order":
		return one.Order
	case "collected":
		if one.Collected.At.IsZero() {
			return one.Collected.Text
		}
		return one.Collected.At.In(w.now.Location()).Format("20060102150405")
	case "now":
		return w.now.Format("20060102150405")
	}
	return w.person(name, one)
}

func (w *writer) person(name string, one record.Work) string {
	if one.Patient == nil {
		return ""
	}
	n := one.Patient.Name
	switch name {
	case "patient_id":
		return one.Patient.ID
	case "name":
		return strings.Join(strings.Fields(n.Family+" "+n.Middle+" "+n.Given), " ")
	case "family":
		return n.Family
	case "middle":
		return n.Middle
	case "given":
		return n.Given
	case "birth":
		return one.Patient.Birth
	case "sex":
		return one.Patient.Sex
	}
	return ""
}
