package hl7

import (
	"strconv"
	"strings"
	"time"
)

// AckCode is MSA-1, table 0008.
type AckCode string

// The codes of the original mode (A) and of the accept acknowledgement in the
// enhanced mode (C).
const (
	ApplicationAccept AckCode = "AA"
	ApplicationError  AckCode = "AE"
	ApplicationReject AckCode = "AR"
	CommitAccept      AckCode = "CA"
	CommitError       AckCode = "CE"
	CommitReject      AckCode = "CR"
)

// Codes of table 0357. Those from 100 belong to AE, those from 200 to AR.
const (
	ErrorSegmentSequence = "100"
	ErrorRequiredField   = "101"
	ErrorDataType        = "102"
	ErrorTableValue      = "103"
	ErrorTooLong         = "104"
	ErrorOther           = "199"
	ErrorType            = "200"
	ErrorEvent           = "201"
	ErrorProcessingID    = "202"
	ErrorVersion         = "203"
	ErrorUnknownKey      = "204"
	ErrorDuplicateKey    = "205"
	ErrorLocked          = "206"
	ErrorApplication     = "207"
)

// errorTexts are the texts of table 0357.
var errorTexts = map[string]string{
	ErrorSegmentSequence: "Segment sequence error",
	ErrorRequiredField:   "Required field missing",
	ErrorDataType:        "Data type error",
	ErrorTableValue:      "Table value not found",
	ErrorTooLong:         "Value too long",
	ErrorOther:           "Other HL7 error",
	ErrorType:            "Unsupported message type",
	ErrorEvent:           "Unsupported event code",
	ErrorProcessingID:    "Unsupported processing id",
	ErrorVersion:         "Unsupported version id",
	ErrorUnknownKey:      "Unknown key identifier",
	ErrorDuplicateKey:    "Duplicate key identifier",
	ErrorLocked:          "Application record locked",
	ErrorApplication:     "Application internal error",
}

// Severities, table 0516.
const (
	SeverityError       = "E"
	SeverityWarning     = "W"
	SeverityInformation = "I"
)

// An Error is what an ERR segment says.
type Error struct {
	Location   string // a path, "PID-3.1"; as it came where it is none
	Code       string // table 0357
	Severity   string // table 0516; from 2.5 on
	Text       string // for the user, ERR-8
	Diagnostic string // for those who look for the cause, ERR-7
}

// AckOptions are the parts of an acknowledgement that do not come from the
// message.
type AckOptions struct {
	ControlID string    // MSH-10 of the acknowledgement
	Now       time.Time // MSH-7
	Text      string    // MSA-3; default the words of the first error, up to 2.6
	Expected  string    // MSA-4, expected sequence number
	Errors    []Error
	// Application and Facility are ours, for a message that names no receiver in
	// MSH-5 or MSH-6.
	Application, Facility string
	// Type is MSH-9 with ^ between its components, "ORL^O22^ORL_O22"; default ACK
	// with the event of m.
	Type string
	// AskAccept and AskApplication are MSH-15 and MSH-16 of the acknowledgement;
	// default empty.
	AskAccept, AskApplication Condition
	// Segments stand behind MSA and ERR, as they are, each with its CR.
	Segments []byte
}

// Ack builds the acknowledgement of m (HL7 v2.5.1 section 2.9): the delimiters,
// processing id, version, country, character set, language and profile of m; sender
// and receiver exchanged with all their components; MSA-2 byte for byte MSH-10; ERR
// segments as the version of m has them (ERR-2, 3, 4, 7, 8 from 2.5 on; before, ERR-1,
// and the first error in MSA-6 too). MSH-15 and MSH-16 are empty unless asked for, so
// nobody need answer it. Texts that the character set or the delimiters of m cannot
// hold lose those characters.
func Ack(m *Message, code AckCode, o AckOptions) []byte {
	w := ackWriter{m: m, b: make([]byte, 0, 256+len(o.Segments)), version: m.Version()}
	w.header(o)
	w.msa(code, o)
	if atLeast(w.version, 2, 5) {
		for _, e := range o.Errors {
			w.err(e)
		}
	} else if len(o.Errors) > 0 {
		w.oldErr(o.Errors)
	}
	return append(w.b, o.Segments...)
}

const timeLayout = "20060102150405-0700"

// FormatTime writes a time with its zone, to the second.
func FormatTime(t time.Time) string { return t.Format(timeLayout) }

type ackWriter struct {
	m       *Message
	version string
	b       []byte
	at      int // the field written last, for later
}

func (w *ackWriter) field(raw []byte) { w.b = append(append(w.b, w.m.delimiters.Field), raw...) }

// later writes a field further on, and nothing where it is empty.
func (w *ackWriter) later(field int, raw []byte) {
	if len(raw) == 0 {
		return
	}
	for ; w.at < field; w.at++ {
		w.b = append(w.b, w.m.delimiters.Field)
	}
	w.b = append(w.b, raw...)
}

// header writes MSH.
func (w *ackWriter) header(o AckOptions) {
	m := w.m
	w.b = append(w.b, "MSH"...)
	w.b = append(w.b, m.delimiters.Field)
	w.b = append(w.b, m.msh(2)...)
	w.fieldOr(m.msh(5), o.Application)
	w.fieldOr(m.msh(6), o.Facility)
	w.field(m.msh(3))
	w.field(m.msh(4))
	w.b = o.Now.AppendFormat(append(w.b, m.delimiters.Field), timeLayout)
	w.field(nil)
	w.messageType(o.Type)
	w.fieldOr(nil, o.ControlID)
	w.field(m.msh(11))
	w.field(m.msh(12))
	w.at = 12
	w.later(15, []byte(o.AskAccept))
	w.later(16, []byte(o.AskApplication))
	for field := 17; field <= 21; field++ {
		w.later(field, m.msh(field))
	}
	w.b = append(w.b, '\r')
}

// msa writes MSA. MSA-3 is in use up to 2.6, MSA-6 from 2.3 to 2.4.
func (w *ackWriter) msa(code AckCode, o AckOptions) {
	w.b = append(w.b, "MSA"...)
	w.field([]byte(code))
	w.field(w.m.msh(10))
	w.at = 2
	text := o.Text
	if text == "" && len(o.Errors) > 0 && !atLeast(w.version, 2, 7) {
		text = o.Errors[0].words()
	}
	w.later(3, w.encode(text))
	w.later(4, w.encode(o.Expected))
	if len(o.Errors) > 0 && atLeast(w.version, 2, 3) && !atLeast(w.version, 2, 5) {
		w.later(6, w.coded(nil, o.Errors[0].Code, w.m.delimiters.Component))
	}
	w.b = append(w.b, '\r')
}

// words are the error in words where the sender gave none: the table's, and where.
func (e Error) words() string {
	switch {
	case e.Text != "":
		return e.Text
	case e.Location == "":
		return errorTexts[e.Code]
	}
	return strings.TrimSpace(e.Location + " " + errorTexts[e.Code])
}

// coded appends a code of table 0357 with its text and the table, separated by d.
func (w *ackWriter) coded(b []byte, code string, d byte) []byte {
	b = append(b, w.encode(code)...)
	if text := errorTexts[code]; text != "" && d != 0 {
		b = append(append(b, d), text...)
		b = append(append(b, d), "HL70357"...)
	}
	return b
}

// fieldOr writes raw or, where it is empty, the text.
func (w *ackWriter) fieldOr(raw []byte, text string) {
	if len(raw) == 0 {
		raw = w.encode(text)
	}
	w.field(raw)
}

// encode escapes and encodes a text, leaving out what cannot be.
func (w *ackWriter) encode(text string) []byte {
	if text == "" {
		return nil
	}
	if raw, err := w.m.encode(text); err == nil {
		return raw
	}
	var raw []byte
	for _, r := range text {
		if b, err := w.m.encode(string(r)); err == nil {
			raw = append(raw, b...)
		} else {
			raw = append(raw, '?')
		}
	}
	return raw
}

// messageType writes MSH-9. The general acknowledgement is ACK alone up to 2.2,
// with the event from 2.3, with the structure from 2.3.1.
func (w *ackWriter) messageType(kind string) {
	component := w.m.delimiters.Component
	if kind != "" {
		code, rest, _ := strings.Cut(kind, "^")
		if component == 0 {
			rest = ""
		}
		w.field([]byte(code))
		if rest != "" {
			w.b = append(append(w.b, component), strings.ReplaceAll(rest, "^", string(rune(component)))...)
		}
		return
	}
	w.field([]byte("ACK"))
	event := w.m.raw(0, fieldPath{field: 9, component: 2})
	if len(event) == 0 || component == 0 || !atLeast(w.version, 2, 3) {
		return
	}
	w.b = append(append(w.b, component), event...)
	if w.version != "2.3" {
		w.b = append(append(w.b, component), "ACK"...)
	}
}

// AtLeast says whether a message is of a version or of a later one, by the first two
// numbers of MSH-12. A text that is no version counts as new.
func (m *Message) AtLeast(major, minor int) bool { return atLeast(m.Version(), major, minor) }

// atLeast compares the first two numbers of a version. One that is no version
// counts as new.
func atLeast(version string, major, minor int) bool {
	first, rest, _ := strings.Cut(version, ".")
	second, _, _ := strings.Cut(rest, ".")
	a, err := strconv.Atoi(first)
	if err != nil {
		return true
	}
	b, err := strconv.Atoi(second)
	if err != nil {
		return a > major || a == major && minor == 0
	}
	return a > major || a == major && b >= minor
}

// err writes ERR as from 2.5 on.
func (w *ackWriter) err(e Error) {
	component := w.m.delimiters.Component
	w.b = append(w.b, "ERR"...)
	w.field(nil)
	w.field(w.location(e.Location))
	w.field(w.coded(nil, e.Code, component))
	severity := e.Severity
	if severity == "" {
		severity = SeverityError
	}
	w.fieldOr(nil, severity)
	if e.Diagnostic != "" || e.Text != "" {
		w.field(nil)
		w.field(nil)
		w.fieldOr(nil, e.Diagnostic)
	}
	if e.Text != "" {
		w.fieldOr(nil, e.Text)
	}
	w.b = append(w.b, '\r')
}

// oldErr writes ERR as before 2.5: ERR-1 is segment, sequence, field and
// code&text&table, repeated for each error.
func (w *ackWriter) oldErr(errors []Error) {
	d := w.m.delimiters
	w.b = append(w.b, "ERR"...)
	for i, e := range errors {
		switch {
		case i == 0:
			w.b = append(w.b, d.Field)
		case d.Repetition == 0:
			continue
		default:
			w.b = append(w.b, d.Repetition)
		}
		if d.Component == 0 {
			w.b = append(w.b, w.encode(e.Code)...)
			continue
		}
		var at path
		if p, ok := parsePath(e.Location); ok {
			at = p
			w.b = append(w.b, p.segment...)
		}
		w.number(d.Component, at.occurrence)
		w.number(d.Component, at.field)
		w.b = w.coded(append(w.b, d.Component), e.Code, d.Subcomponent)
	}
	w.b = append(w.b, '\r')
}

// number writes a delimiter and a number, 0 as nothing.
func (w *ackWriter) number(delimiter byte, n int) {
	w.b = append(w.b, delimiter)
	if n > 0 {
		w.b = strconv.AppendInt(w.b, int64(n), 10)
	}
}

// location writes a path as an ERL: segment, its number, field, repetition,
// component, subcomponent.
func (w *ackWriter) location(location string) []byte {
	p, ok := parsePath(location)
	if !ok || w.m.delimiters.Component == 0 {
		return w.encode(location)
	}
	numbers := []int{p.occurrence, p.field, p.repetition, p.component, p.subcomponent}
	if p.component > 0 {
		numbers[2] = max(1, p.repetition)
	}
	for numbers[len(numbers)-1] == 0 {
		numbers = numbers[:len(numbers)-1]
	}
	at := ackWriter{m: w.m, b: []byte(p.segment)}
	for _, n := range numbers {
		at.number(w.m.delimiters.Component, n)
	}
	return at.b
}

// An Acknowledgement is what an answer says about the message that it answers.
type Acknowledgement struct {
	Code             AckCode // MSA-1
	MessageControlID string  // MSA-2: MSH-10 of the message it answers
	Text             string  // MSA-3
	Expected         string  // MSA-4
	ControlID        string  // its own MSH-10
	Errors           []Error
}

// ParseAck reads an acknowledgement: any message with an MSA segment. The error
// is a *ParseError.
func ParseAck(b []byte) (Acknowledgement, error) {
	m, err := Parse(b)
	if err != nil {
		return Acknowledgement{}, err
	}
	segments := m.Segments("MSA")
	if len(segments) == 0 {
		return Acknowledgement{}, &ParseError{Offset: len(b), Location: "MSA", Code: ErrorSegmentSequence, Reason: "the answer has no MSA segment"}
	}
	msa := segments[0]
	a := Acknowledgement{
		Code:             AckCode(msa.Get("1")),
		MessageControlID: msa.Get("2"),
		Text:             msa.Get("3"),
		Expected:         msa.Get("4"),
		ControlID:        m.ControlID(),
	}
	for _, s := range m.Segments("ERR") {
		a.Errors = append(a.Errors, parseErr(s)...)
	}
	if code := msa.Get("6.1"); code != "" && len(a.Errors) == 0 {
		a.Errors = []Error{{Code: code, Text: msa.Get("6.2")}}
	}
	return a, nil
}

// parseErr reads an ERR segment of either form.
func parseErr(s Segment) []Error {
	if s.Get("3") == "" {
		return parseOldErr(s)
	}
	at := path{occurrence: number(s.Get("2.2")), segment: s.Get("2.1"), fieldPath: fieldPath{
		field: number(s.Get("2.3")), repetition: number(s.Get("2.4")),
		component: number(s.Get("2.5")), subcomponent: number(s.Get("2.6")),
	}}
	return []Error{{
		Location:   at.or(s.Get("2")),
		Code:       s.Get("3.1"),
		Severity:   s.Get("4"),
		Diagnostic: s.Get("7"),
		Text:       s.Get("8"),
	}}
}

// parseOldErr reads the repetitions of ERR-1.
func parseOldErr(s Segment) []Error {
	var errors []Error
	for i := range s.Repetitions(1) {
		part := func(component, subcomponent int) string {
			return s.get(fieldPath{field: 1, repetition: i + 1, component: component, subcomponent: subcomponent})
		}
		at := path{segment: part(1, 0), occurrence: number(part(2, 0)), fieldPath: fieldPath{field: number(part(3, 0))}}
		e := Error{Location: at.or(s.get(fieldPath{field: 1, repetition: i + 1})), Code: part(4, 1), Text: part(4, 2)}
		if e.Code == "" {
			e.Text = s.get(fieldPath{field: 1, repetition: i + 1})
		}
		errors = append(errors, e)
	}
	return errors
}

func number(s string) int {
	n, rest := parseNumber(s)
	if rest != "" {
		return 0
	}
	return n
}

// or is the path as text, or the other text where it is none.
func (p path) or(other string) string {
	if len(p.segment) != 3 || p.field == 0 {
		return other
	}
	var b strings.Builder
	b.WriteString(p.segment)
	if p.occurrence > 1 {
		b.WriteString("[" + strconv.Itoa(p.occurrence) + "]")
	}
	b.WriteString("-" + strconv.Itoa(p.field))
	if p.repetition > 1 {
		b.WriteString("[" + strconv.Itoa(p.repetition) + "]")
	}
	if p.component > 0 {
		b.WriteString("." + strconv.Itoa(p.component))
		if p.subcomponent > 0 {
			b.WriteString("." + strconv.Itoa(p.subcomponent))
		}
	}
	return b.String()
}

// Positive says whether the code is AA or CA.
func (a Acknowledgement) Positive() bool {
	return a.Code == ApplicationAccept || a.Code == CommitAccept
}

// Answers says whether MSA-2 is the message control ID of m, exactly.
func (a Acknowledgement) Answers(m *Message) bool {
	id := m.ControlID()
	return id != "" && a.MessageControlID == id
}

// Settles says whether a is the positive answer to m.
func Settles(m *Message, a Acknowledgement) bool { return a.Positive() && a.Answers(m) }

// Condition is a value of table 0155: when an acknowledgement is wanted.
type Condition string

// Table 0155.
const (
	Never     Condition = "NE"
	Always    Condition = "AL"
	OnError   Condition = "ER"
	OnSuccess Condition = "SU"
)

// Wants says whether an acknowledgement is wanted after success or failure.
func (c Condition) Wants(success bool) bool {
	return c == Always || c == OnError && !success || c == OnSuccess && success
}

// AckMode says which acknowledgements the sender of m asks for (MSH-15 and MSH-16,
// HL7 v2.5.1 section 2.9.2). The original mode, both fields empty, is Never and
// Always. In the enhanced mode an empty field is Never; a value that is not in
// table 0155 counts as empty. An acknowledgement asks for no application
// acknowledgement, and for an accept acknowledgement only by its own MSH-15.
func AckMode(m *Message) (accept, application Condition) {
	accept, application = ParseCondition(m.text(m.msh(15))), ParseCondition(m.text(m.msh(16)))
	switch {
	case m.IsAcknowledgement():
		application = ""
	case accept == "" && application == "":
		application = Always
	}
	return accept.orNever(), application.orNever()
}

// ParseCondition reads a value of table 0155, in any case and with blanks around it;
// what is none is "".
func ParseCondition(s string) Condition {
	switch c := Condition(strings.ToUpper(strings.TrimSpace(s))); c {
	case Never, Always, OnError, OnSuccess:
		return c
	}
	return ""
}

func (c Condition) orNever() Condition {
	if c == "" {
		return Never
	}
	return c
}
