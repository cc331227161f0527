// Package hl7 reads, changes and writes HL7 version 2 messages in the vertical
// bar encoding (HL7 v2.5.1 chapter 2), by paths such as PID-3.1, and builds and
// reads acknowledgements. What is not changed is written back byte for byte.
// It knows no message structures and no policy: which types are welcome, and
// what must be in them, is the caller's business.
package hl7

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Null is the value that asks the receiver to delete what it has stored, HL7
// v2.5.1 section 2.5.3. An empty field, in contrast, says nothing.
const Null = `""`

// Delimiters are the field separator and the encoding characters, MSH-1 and
// MSH-2. Zero means not declared: that byte is then data, and nothing is split
// by it.
type Delimiters struct {
	Field, Component, Repetition, Escape, Subcomponent, Truncation byte
}

// DefaultDelimiters are those that HL7 v2.5.1 section 2.5.4 recommends.
var DefaultDelimiters = Delimiters{Field: '|', Component: '^', Repetition: '~', Escape: '\\', Subcomponent: '&'}

// Limits bound what Parse accepts. Zero means the default.
type Limits struct {
	Size     int // bytes of the message; 64 MiB
	Segments int // 100,000
	Fields   int // in one segment; 100,000
}

func (l Limits) orDefaults() Limits {
	if l.Size == 0 {
		l.Size = 64 << 20
	}
	if l.Segments == 0 {
		l.Segments = 100_000
	}
	if l.Fields == 0 {
		l.Fields = 100_000
	}
	return l
}

// A ParseError says why bytes are no HL7 message, and where. It never quotes
// them.
type ParseError struct {
	Offset   int    // in the bytes given
	Location string // "MSH-2"; empty where there is no segment yet
	Code     string // table 0357
	Reason   string
}

func (e *ParseError) Error() string {
	where := ""
	if e.Location != "" {
		where = " at " + e.Location
	}
	return fmt.Sprintf("hl7: %s%s (byte %d)", e.Reason, where, e.Offset)
}

// A Message is a parsed message. It keeps the bytes that it was parsed from.
// Several goroutines may read it; only one may change it.
type Message struct {
	original   []byte // as parsed; nil once changed
	prefix     []byte // byte order mark, blank lines
	segments   []segment
	delimiters Delimiters
	charset    *charset
	forced     bool // by UseCharset
	header     headerIndex
}

// headerIndex has the place of each field of MSH up to MSH-21, which every message is
// asked for again and again. It is of no use, and empty, where a delimiter may be part
// of a character.
type headerIndex struct {
	known bool
	at    [22]struct{ start, end int32 } // by field; end 0: there is none
}

// indexHeader finds the fields of MSH anew.
func (m *Message) indexHeader() {
	m.header = headerIndex{}
	text := m.segments[0].text
	if m.charset.width != nil || len(text) > 1<<30 {
		return
	}
	m.header.known = true
	start := 4
	for field := 2; field < len(m.header.at); field++ {
		end := bytes.IndexByte(text[start:], m.delimiters.Field)
		if end < 0 {
			m.header.at[field].start, m.header.at[field].end = int32(start), int32(len(text))
			return
		}
		m.header.at[field].start, m.header.at[field].end = int32(start), int32(start+end)
		start += end + 1
	}
}

// segment is the text of a segment without its line end, and the line end as it
// was found, blank lines included.
type segment struct {
	text, end []byte
	owned     bool // text is ours to change
}

// Parse reads a message within the default limits. See ParseWithin.
func Parse(b []byte) (*Message, error) { return ParseWithin(b, Limits{}) }

// ParseWithin reads one message. Segments end with CR, LF or both; a byte order
// mark and blank lines before MSH are accepted, as are lower-case segment names.
// A line that does not begin like a segment (three letters or digits, then the
// field separator) belongs to the segment before it, line end included: it is
// the rest of a text or of a Base64 block that was not escaped. After MSH there is
// no such line.
//
// The error is a *ParseError. Where the MSH segment was readable nevertheless,
// the message is returned too, to be used for Ack and nothing else. A second MSH
// is such an error: never is one message acknowledged and another one lost. Use
// Split for files of several messages.
//
// The message refers to b, which must not be changed afterwards.
func ParseWithin(b []byte, limits Limits) (*Message, error) {
	limits = limits.orDefaults()
	start := headerStart(b)
	if start < 0 {
		return nil, &ParseError{Code: ErrorSegmentSequence, Reason: "the message does not begin with MSH"}
	}
	header := b[start:lineEnd(b, start)]
	d, err := parseDelimiters(header)
	if err != nil {
		err.Offset += start
		return nil, err
	}
	m := &Message{original: b, prefix: b[:start], delimiters: d, charset: ascii}
	m.segments = make([]segment, 1, 16)
	m.segments[0] = segment{text: header}
	m.indexHeader()
	if m.charset = charsetOf(m.msh(18), d.Repetition); m.charset.width != nil {
		m.indexHeader()
	}
	if len(b) > limits.Size {
		return m, &ParseError{Offset: limits.Size, Code: ErrorApplication, Reason: fmt.Sprintf("the message is longer than %d bytes", limits.Size)}
	}
	if err := m.split(b, start, limits); err != nil {
		m.segments = append(m.segments[:0], segment{text: header})
		return m, err
	}
	return m, nil
}

// IsMessage says whether b begins as a message does: MSH, in any case, after an
// optional byte order mark and blank lines.
func IsMessage(b []byte) bool { return headerStart(b) >= 0 }

var byteOrderMark = []byte("\xEF\xBB\xBF")

func headerStart(b []byte) int {
	rest := bytes.TrimPrefix(b, byteOrderMark)
	rest = bytes.TrimLeft(rest, "\r\n")
	if len(rest) < 4 || !isName(rest, "MSH") || isAlphanumeric(rest[3]) {
		return -1
	}
	return len(b) - len(rest)
}

func lineEnd(b []byte, start int) int {
	for i := start; i < len(b); i++ {
		if b[i] == '\r' || b[i] == '\n' {
			return i
		}
	}
	return len(b)
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// isName says whether the text begins with the segment name, in any case.
func isName(text []byte, name string) bool {
	return len(text) >= 3 && len(name) == 3 &&
		upper(text[0]) == name[0] && upper(text[1]) == name[1] && upper(text[2]) == name[2]
}

func upper(c byte) byte {
	if c >= 'a' && c <= 'z' {
		return c - 'a' + 'A'
	}
	return c
}

// parseDelimiters reads MSH-1 and MSH-2. One to five encoding characters are
// accepted: component, repetition, escape, subcomponent and, from 2.7,
// truncation. A character that stands there twice counts where it stands first.
func parseDelimiters(header []byte) (Delimiters, *ParseError) {
	if len(header) < 4 || !isDelimiter(header[3]) {
		return Delimiters{}, &ParseError{Offset: 3, Location: "MSH-1", Code: ErrorRequiredField, Reason: "the field separator is not a punctuation character"}
	}
	field, characters := header[3], header[4:]
	if i := bytes.IndexByte(characters, field); i >= 0 {
		characters = characters[:i]
	}
	if len(characters) == 0 || len(characters) > 5 {
		return Delimiters{}, &ParseError{Offset: 4, Location: "MSH-2", Code: ErrorRequiredField, Reason: fmt.Sprintf("%d encoding characters", len(characters))}
	}
	d := Delimiters{Field: field}
	for i, c := range characters {
		if !isDelimiter(c) {
			return Delimiters{}, &ParseError{Offset: 4 + i, Location: "MSH-2", Code: ErrorDataType, Reason: "an encoding character is not a punctuation character"}
		}
		if bytes.IndexByte(characters[:i], c) < 0 {
			*d.encoding(i) = c
		}
	}
	return d, nil
}

func isDelimiter(c byte) bool { return c > ' ' && c < 0x7F && !isAlphanumeric(c) }

// encoding is the delimiter at a position of MSH-2, from 0.
func (d *Delimiters) encoding(i int) *byte {
	return [...]*byte{&d.Component, &d.Repetition, &d.Escape, &d.Subcomponent, &d.Truncation}[i]
}

// split finds the segments of b from start on.
func (m *Message) split(b []byte, start int, limits Limits) *ParseError {
	m.segments = m.segments[:0]
	lines := lines{b: b, next: start, cr: -1, lf: -1}
	from, end, _ := lines.line() // of the segment so far
	for {
		next, to, ok := lines.line()
		if !ok {
			return m.add(b, from, end, len(b), limits)
		}
		switch line := b[next:to]; {
		case isBlank(line):
		case !m.beginsSegment(line) && len(m.segments) == 0:
			return &ParseError{Offset: next, Location: "MSH", Code: ErrorSegmentSequence, Reason: "a line after MSH that is no segment"}
		case !m.beginsSegment(line):
			end = to
		case isName(line, "MSH"):
			return &ParseError{Offset: next, Location: "MSH[2]", Code: ErrorSegmentSequence, Reason: "a second MSH segment"}
		default:
			if err := m.add(b, from, end, next, limits); err != nil {
				return err
			}
			from, end = next, to
		}
	}
}

// add appends the segment b[from:end], whose line end goes up to next.
func (m *Message) add(b []byte, from, end, next int, limits Limits) *ParseError {
	text := b[from:end]
	if len(m.segments) == limits.Segments {
		return &ParseError{Offset: from, Code: ErrorApplication, Reason: fmt.Sprintf("more than %d segments", limits.Segments)}
	}
	if len(text) > limits.Fields && bytes.Count(text, []byte{m.delimiters.Field}) > limits.Fields {
		return &ParseError{Offset: from, Location: string(text[:3]), Code: ErrorApplication, Reason: fmt.Sprintf("more than %d fields", limits.Fields)}
	}
	m.segments = append(m.segments, segment{text: text, end: b[end:next]})
	return nil
}

// beginsSegment says whether a line begins a segment: a name and the field
// separator, or nothing but a name in capitals.
func (m *Message) beginsSegment(line []byte) bool {
	if len(line) < 3 || !isAlphanumeric(line[0]) || !isAlphanumeric(line[1]) || !isAlphanumeric(line[2]) {
		return false
	}
	if line[0] <= '9' {
		return false
	}
	if len(line) == 3 {
		return !bytes.ContainsFunc(line, func(r rune) bool { return r >= 'a' })
	}
	return line[3] == m.delimiters.Field
}

func isBlank(line []byte) bool {
	return len(line) == 0 || line[0] <= ' ' && len(bytes.Trim(line, " \t\x00\x1A")) == 0
}

// lines finds line ends of either kind, each byte looked at once per kind.
type lines struct {
	b      []byte
	next   int
	cr, lf int // position of the next one at or after next; -1 unknown
}

// line is the next line without its end; the ends are CR or LF, each.
func (l *lines) line() (from, to int, ok bool) {
	if l.next >= len(l.b) {
		return 0, 0, false
	}
	from = l.next
	l.cr = nextByte(l.b, from, l.cr, '\r')
	l.lf = nextByte(l.b, from, l.lf, '\n')
	to = min(l.cr, l.lf)
	l.next = to + 1
	return from, to, true
}

func nextByte(b []byte, from, known int, c byte) int {
	if known >= from {
		return known
	}
	if i := bytes.IndexByte(b[from:], c); i >= 0 {
		return from + i
	}
	return len(b)
}

// NewMessage begins a message with an MSH segment that holds the delimiters and
// nothing else. Set MSH-18 before any value that is not ASCII.
func NewMessage(d Delimiters) *Message {
	text := []byte{'M', 'S', 'H', d.Field}
	for i := range 5 {
		if c := *d.encoding(i); c != 0 {
			text = append(text, c)
		}
	}
	m := &Message{
		delimiters: d,
		charset:    ascii,
		segments:   []segment{{text: text, end: []byte{'\r'}, owned: true}},
	}
	m.indexHeader()
	return m
}

// Append adds an empty segment at the end. It panics where the name is not three
// capitals or digits.
func (m *Message) Append(name string) Segment {
	if len(name) != 3 || !isDelimiterFreeName(name) {
		panic("hl7: no segment name: " + name)
	}
	m.original = nil
	last := &m.segments[len(m.segments)-1]
	if len(last.end) == 0 {
		last.end = []byte{'\r'}
	}
	m.segments = append(m.segments, segment{text: []byte(name), end: []byte{'\r'}, owned: true})
	return Segment{Name: name, Index: len(m.segments) - 1, message: m}
}

func isDelimiterFreeName(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool { return (r < 'A' || r > 'Z') && (r < '0' || r > '9') })
}

// Bytes are the message as it is to be sent, or as it came where nothing was
// changed.
func (m *Message) Bytes() []byte {
	if m.original != nil {
		return m.original
	}
	size := len(m.prefix)
	for _, s := range m.segments {
		size += len(s.text) + len(s.end)
	}
	b := append(make([]byte, 0, size), m.prefix...)
	for _, s := range m.segments {
		b = append(append(b, s.text...), s.end...)
	}
	return b
}

// Delimiters are those that the message declares.
func (m *Message) Delimiters() Delimiters { return m.delimiters }

// Type is MSH-9: message code, trigger event, message structure.
func (m *Message) Type() (code, event, structure string) {
	s := Segment{Name: "MSH", message: m}
	return s.get(fieldPath{field: 9, component: 1}), s.get(fieldPath{field: 9, component: 2}), s.get(fieldPath{field: 9, component: 3})
}

// ControlID is MSH-10.
func (m *Message) ControlID() string { return m.text(m.msh(10)) }

// Version is MSH-12.1.
func (m *Message) Version() string {
	return Segment{Name: "MSH", message: m}.get(fieldPath{field: 12, component: 1})
}

// IsAcknowledgement says whether the message answers another one: it has an MSA
// segment, or its code is ACK or MCF. Such a message is never answered, but for
// the accept acknowledgement that its own MSH-15 asks for: see AckMode.
func (m *Message) IsAcknowledgement() bool {
	code, _, _ := m.Type()
	if code == "ACK" || code == "MCF" {
		return true
	}
	return slices.ContainsFunc(m.segments, func(s segment) bool { return isName(s.text, "MSA") })
}

// Required are errors 101 for those paths that have no value.
func (m *Message) Required(paths ...string) []Error {
	var missing []Error
	for _, path := range paths {
		if len(m.Raw(path)) == 0 {
			missing = append(missing, Error{Location: path, Code: ErrorRequiredField, Severity: SeverityError, Text: path + " is empty"})
		}
	}
	return missing
}

// KnownVersion says whether v is a version of table 0104.
func KnownVersion(v string) bool {
	switch v {
	case "2.0", "2.0D", "2.1", "2.2", "2.3", "2.3.1", "2.3.2", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8", "2.8.1", "2.8.2", "2.9", "2.9.1":
		return true
	}
	return false
}

// Split cuts a file of several messages, with or without the batch and file
// segments FHS, BHS, BTS and FTS (HL7 v2.5.1 section 2.10.3), into the messages.
// The batch segments are left out. What stands before the first MSH and is
// neither blank nor a batch segment is a piece of its own, which Parse refuses.
func Split(b []byte) [][]byte {
	var messages [][]byte
	b = bytes.TrimPrefix(b, byteOrderMark)
	lines := lines{b: b, cr: -1, lf: -1}
	start, batch := 0, false
	cut := func(to int) {
		if piece := b[start:to]; !batch && len(bytes.TrimSpace(piece)) > 0 {
			messages = append(messages, piece)
		}
	}
	for {
		from, to, ok := lines.line()
		if !ok {
			break
		}
		line := b[from:to]
		if len(line) < 4 || isAlphanumeric(line[3]) {
			continue
		}
		envelope := isName(line, "FHS") || isName(line, "BHS") || isName(line, "BTS") || isName(line, "FTS")
		if !envelope && !isName(line, "MSH") {
			continue
		}
		cut(from)
		start, batch = from, envelope
	}
	cut(len(b))
	return messages
}
