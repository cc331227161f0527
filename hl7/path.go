package hl7

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxIndex bounds every number in a path, so that a path cannot ask Set for
// gigabytes of delimiters.
const maxIndex = 99_999

// A path names a segment and a part of it: SEG[n]-field[repetition].component.subcomponent.
// All numbers count from 1.
type path struct {
	segment    string
	occurrence int
	fieldPath
}

// fieldPath is the part of a path after the segment; zero means not given.
type fieldPath struct {
	field, repetition, component, subcomponent int
}

var errPath = errors.New("hl7: not a path")

// CheckPath says what is wrong with a path such as "PID-3.1", "OBX[2]-5" or
// "PID-3[2].4.2"; Get answers a wrong path with the empty string.
func CheckPath(s string) error {
	if _, ok := parsePath(s); !ok {
		return fmt.Errorf("%w: %q", errPath, s)
	}
	return nil
}

func parsePath(s string) (path, bool) {
	name, field, ok := strings.Cut(s, "-")
	if !ok || len(name) < 3 {
		return path{}, false
	}
	p := path{segment: name[:3], occurrence: 1}
	if !isDelimiterFreeName(p.segment) {
		return path{}, false
	}
	if rest := name[3:]; rest != "" {
		p.occurrence, rest = parseIndex(rest)
		if p.occurrence == 0 || rest != "" {
			return path{}, false
		}
	}
	p.fieldPath, ok = parseFieldPath(field)
	return p, ok
}

func parseFieldPath(s string) (p fieldPath, ok bool) {
	if p.field, s = parseNumber(s); p.field == 0 {
		return p, false
	}
	if strings.HasPrefix(s, "[") {
		if p.repetition, s = parseIndex(s); p.repetition == 0 {
			return p, false
		}
	}
	if strings.HasPrefix(s, ".") {
		if p.component, s = parseNumber(s[1:]); p.component == 0 {
			return p, false
		}
		if strings.HasPrefix(s, ".") {
			if p.subcomponent, s = parseNumber(s[1:]); p.subcomponent == 0 {
				return p, false
			}
		}
	}
	return p, s == ""
}

// parseIndex reads "[n]"; 0 where there is none.
func parseIndex(s string) (n int, rest string) {
	if !strings.HasPrefix(s, "[") {
		return 0, s
	}
	n, rest = parseNumber(s[1:])
	if !strings.HasPrefix(rest, "]") {
		return 0, rest
	}
	return n, rest[1:]
}

// parseNumber reads a number from 1 to maxIndex; 0 where there is none.
func parseNumber(s string) (n int, rest string) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		if n = n*10 + int(s[i]-'0'); n > maxIndex {
			return 0, s
		}
		i++
	}
	return n, s[i:]
}

// find is the position of the segment that the path names.
func (m *Message) find(p path) (int, bool) {
	n := p.occurrence
	for i := range m.segments {
		if isName(m.segments[i].text, p.segment) {
			if n--; n == 0 {
				return i, true
			}
		}
	}
	return 0, false
}

// Get is the text of a part of the message: decoded from the message's character
// set and unescaped. What is missing is "". A field without a repetition and a
// component is the whole field, repetitions and all; a component without a
// repetition is one of the first repetition. Delimiters inside of the part asked
// for stay in the text.
func (m *Message) Get(path string) string {
	p, ok := parsePath(path)
	if !ok {
		return ""
	}
	i, ok := m.find(p)
	if !ok {
		return ""
	}
	return Segment{Index: i, message: m}.get(p.fieldPath)
}

// Raw are the bytes of a part of the message as they stand there; nil where it is
// missing. They must not be changed.
func (m *Message) Raw(path string) []byte {
	p, ok := parsePath(path)
	if !ok {
		return nil
	}
	i, ok := m.find(p)
	if !ok {
		return nil
	}
	return m.raw(i, p.fieldPath)
}

// Set replaces a part of the message by a text, which is escaped and encoded in
// the message's character set; fields, repetitions and components that are missing
// before it are added. Nothing else is changed. It fails where the segment is
// missing, for MSH-1 and MSH-2, where the character set has no such character, and
// where the message declares no delimiter that is needed. Setting MSH-18 changes
// the declaration, and with it how later texts are encoded, not the bytes that are
// there.
func (m *Message) Set(path, value string) error {
	return m.setPath(path, func() ([]byte, error) { return m.encode(value) })
}

// SetRaw replaces a part of the message by bytes that are encoded and escaped
// already.
func (m *Message) SetRaw(path string, raw []byte) error {
	return m.setPath(path, func() ([]byte, error) { return raw, nil })
}

func (m *Message) setPath(path string, raw func() ([]byte, error)) error {
	p, ok := parsePath(path)
	if !ok {
		return fmt.Errorf("%w: %q", errPath, path)
	}
	i, ok := m.find(p)
	if !ok {
		return fmt.Errorf("hl7: %s: no such segment", path)
	}
	b, err := raw()
	if err == nil {
		err = m.set(i, p.fieldPath, b)
	}
	if err != nil {
		return fmt.Errorf("hl7: %s: %w", path, err)
	}
	return nil
}

// A Segment is one segment of a message.
type Segment struct {
	Name    string // in capitals
	Index   int    // position in the message, from 0
	message *Message
}

// Segments are the segments with one of the names, in order; all where no name is
// given.
func (m *Message) Segments(names ...string) []Segment {
	var found []Segment
	for i := range m.segments {
		name := m.segments[i].name()
		if len(names) == 0 || slices.Contains(names, name) {
			found = append(found, Segment{Name: name, Index: i, message: m})
		}
	}
	return found
}

// name is the segment name in capitals; without an allocation where it is one of
// the usual.
func (s segment) name() string {
	for _, name := range [...]string{"OBX", "NTE", "OBR", "MSH", "PID", "PV1", "ORC", "SPM", "MSA", "ERR"} {
		if isName(s.text, name) {
			return name
		}
	}
	return strings.ToUpper(string(s.text[:3]))
}

// Get is Message.Get within the segment; path is "5", "5.1", "3[2].4.2".
func (s Segment) Get(path string) string {
	p, ok := parseFieldPath(path)
	if !ok {
		return ""
	}
	return s.get(p)
}

func (s Segment) get(p fieldPath) string {
	raw := s.message.raw(s.Index, p)
	if p.field <= 2 && isHeader(s.message.segments[s.Index].text) {
		return string(raw)
	}
	return s.message.text(raw)
}

// Raw is Message.Raw within the segment.
func (s Segment) Raw(path string) []byte {
	p, ok := parseFieldPath(path)
	if !ok {
		return nil
	}
	return s.message.raw(s.Index, p)
}

// Bytes are the segment as it stands there, without its line end. They must not be
// changed.
func (s Segment) Bytes() []byte { return s.message.segments[s.Index].text }

// Set is Message.Set within the segment.
func (s Segment) Set(path, value string) error {
	p, ok := parseFieldPath(path)
	if !ok {
		return fmt.Errorf("%w: %q", errPath, path)
	}
	raw, err := s.message.encode(value)
	if err == nil {
		err = s.message.set(s.Index, p, raw)
	}
	if err != nil {
		return fmt.Errorf("hl7: %s-%s: %w", s.Name, path, err)
	}
	return nil
}

// Fields is the number of the last field of the segment.
func (s Segment) Fields() int {
	text := s.message.segments[s.Index].text
	n := s.message.pieces(text, s.message.delimiters.Field)
	if isHeader(text) {
		return n
	}
	return n - 1
}

// Repetitions is how many repetitions a field has; 0 where it is empty.
func (s Segment) Repetitions(field int) int {
	raw := s.message.raw(s.Index, fieldPath{field: field})
	if len(raw) == 0 {
		return 0
	}
	return s.message.pieces(raw, s.message.delimiters.Repetition)
}

// Components is how many components a repetition of a field has, from 1; 0 where it is
// empty.
func (s Segment) Components(field, repetition int) int {
	raw := s.message.raw(s.Index, fieldPath{field: field, repetition: repetition})
	if len(raw) == 0 {
		return 0
	}
	return s.message.pieces(raw, s.message.delimiters.Component)
}

// isHeader says whether the first field of a segment is the separator itself.
func isHeader(text []byte) bool {
	return isName(text, "MSH") || isName(text, "FHS") || isName(text, "BHS")
}

// msh is a field of MSH, from 2 on, as bytes.
func (m *Message) msh(field int) []byte { return m.raw(0, fieldPath{field: field}) }

func (m *Message) raw(i int, p fieldPath) []byte {
	text := m.segments[i].text
	var start, end int
	var ok bool
	if i == 0 && m.header.known && p.field > 2 && p.field < len(m.header.at) {
		at := m.header.at[p.field]
		start, end, ok = m.within(text, int(at.start), int(at.end), p)
		ok = ok && at.end > 0
	} else {
		start, end, ok = m.locate(text, p)
	}
	if !ok {
		return nil
	}
	return text[start:end:end]
}

// locate finds a part of a segment.
func (m *Message) locate(text []byte, p fieldPath) (start, end int, ok bool) {
	number, end := p.field+1, len(text)
	header := isHeader(text)
	if header {
		if number--; number == 1 {
			return 3, 4, true
		}
	}
	if start, end, ok = m.piece(text, 0, end, m.delimiters.Field, number); !ok {
		return start, end, false
	}
	if number == 2 && header {
		return start, end, p.repetition <= 1 && p.component <= 1
	}
	return m.within(text, start, end, p)
}

// within finds a part of the field text[start:end].
func (m *Message) within(text []byte, start, end int, p fieldPath) (int, int, bool) {
	if p.repetition == 0 && p.component == 0 {
		return start, end, true
	}
	d := m.delimiters
	start, end, ok := m.piece(text, start, end, d.Repetition, max(1, p.repetition))
	if !ok || p.component == 0 {
		return start, end, ok
	}
	if start, end, ok = m.piece(text, start, end, d.Component, p.component); !ok || p.subcomponent == 0 {
		return start, end, ok
	}
	return m.piece(text, start, end, d.Subcomponent, p.subcomponent)
}

// piece is the nth part of text[start:end] split by d, from 1. Where there are
// fewer, ok is false.
func (m *Message) piece(text []byte, start, end int, d byte, n int) (int, int, bool) {
	for {
		i := m.charset.index(text[start:end], d)
		if n == 1 {
			if i >= 0 {
				end = start + i
			}
			return start, end, true
		}
		if i < 0 {
			return end, end, false
		}
		start += i + 1
		n--
	}
}

// pieces is the number of parts of a text split by d.
func (m *Message) pieces(text []byte, d byte) int {
	n := 1
	for {
		i := m.charset.index(text, d)
		if i < 0 {
			return n
		}
		text = text[i+1:]
		n++
	}
}

var (
	errDelimiters  = errors.New("MSH-1 and MSH-2 cannot be changed")
	errNoDelimiter = errors.New("MSH-2 declares no such delimiter")
	// The byte before the part would take its first byte for the rest of a character.
	errCutCharacter = errors.New("the text before it ends within a character")
)

// set replaces a part of segment i; an empty value does not lengthen the segment.
func (m *Message) set(i int, p fieldPath, raw []byte) error {
	s := &m.segments[i]
	if isHeader(s.text) && p.field <= 2 {
		return errDelimiters
	}
	start, end, ok := m.locate(s.text, p)
	if !ok && len(raw) == 0 {
		return nil
	}
	if !ok && !m.declares(p) {
		return errNoDelimiter
	}
	before := s.text
	if !s.owned || m.charset.width != nil {
		s.text = append(make([]byte, 0, len(s.text)+len(raw)+16), s.text...)
	}
	if !ok {
		start = m.extend(s, p)
		end = start
	}
	s.text = slices.Replace(s.text, start, end, raw...)
	if m.charset.width != nil {
		if from, to, ok := m.locate(s.text, p); !ok || from != start || to != start+len(raw) {
			s.text = before
			return errCutCharacter
		}
		// Who reads the message looks for MSH-18 before it knows the characters.
		if i == 0 && p.field != 18 && !m.forced && !bytes.Equal(m.declaredIn(before), m.declaredIn(s.text)) {
			s.text = before
			return errCutCharacter
		}
	}
	m.original, s.owned = nil, true
	if i == 0 {
		m.headerChanged(p.field)
	}
	return nil
}

// declaredIn is MSH-18 of a header by its bytes alone.
func (m *Message) declaredIn(header []byte) []byte {
	for range 17 {
		i := bytes.IndexByte(header, m.delimiters.Field)
		if i < 0 {
			return nil
		}
		header = header[i+1:]
	}
	if i := bytes.IndexByte(header, m.delimiters.Field); i >= 0 {
		header = header[:i]
	}
	return header
}

// headerChanged takes note of a change of a field of MSH.
func (m *Message) headerChanged(field int) {
	m.indexHeader()
	if field == 18 && !m.forced {
		m.charset = charsetOf(m.msh(18), m.delimiters.Repetition)
		m.indexHeader()
	}
}

// declares says whether the delimiters that a path needs are there.
func (m *Message) declares(p fieldPath) bool {
	d := m.delimiters
	return (p.repetition <= 1 || d.Repetition != 0) && (p.component <= 1 || d.Component != 0) && (p.subcomponent <= 1 || d.Subcomponent != 0)
}

// extend adds the delimiters that are missing before a part of a segment and
// returns where the part is then.
func (m *Message) extend(s *segment, p fieldPath) int {
	number := p.field + 1
	if isHeader(s.text) {
		number--
	}
	d := m.delimiters
	start, end := m.reach(s, 0, len(s.text), d.Field, number)
	if p.repetition > 0 || p.component > 0 {
		start, end = m.reach(s, start, end, d.Repetition, max(1, p.repetition))
	}
	if p.component > 0 {
		start, end = m.reach(s, start, end, d.Component, p.component)
	}
	if p.subcomponent > 0 {
		start, _ = m.reach(s, start, end, d.Subcomponent, p.subcomponent)
	}
	return start
}

// reach is piece, with the delimiters added where there are too few.
func (m *Message) reach(s *segment, start, end int, d byte, n int) (int, int) {
	if from, to, ok := m.piece(s.text, start, end, d, n); ok {
		return from, to
	}
	missing := n - m.pieces(s.text[start:end], d)
	s.text = slices.Insert(s.text, end, slices.Repeat([]byte{d}, missing)...)
	return end + missing, end + missing
}
