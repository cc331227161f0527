package hl7

import (
	"errors"
	"fmt"
	"slices"
)

var (
	errHeaderStays = errors.New("hl7: MSH stays the first segment")
	errNoName      = errors.New("hl7: not a segment name")
)

// Remove takes a segment out of the message. The positions of those behind it
// change: what Segments returned before is of no use any more. It fails for MSH.
func (m *Message) Remove(s Segment) error {
	if s.Index == 0 {
		return errHeaderStays
	}
	m.segments = slices.Delete(slices.Clone(m.segments), s.Index, s.Index+1)
	m.original = nil
	return nil
}

// Insert adds an empty segment behind another one, and returns it. The positions of
// those behind it change, as with Remove. It fails where the name is not three
// capitals or digits.
func (m *Message) Insert(after Segment, name string) (Segment, error) {
	if len(name) != 3 || !isDelimiterFreeName(name) || isHeader([]byte(name)) {
		return Segment{}, fmt.Errorf("%w: %q", errNoName, name)
	}
	m.segments = slices.Clone(m.segments)
	if before := &m.segments[after.Index]; len(before.end) == 0 {
		before.end = []byte{'\r'}
	}
	at := after.Index + 1
	m.segments = slices.Insert(m.segments, at, segment{text: []byte(name), end: []byte{'\r'}, owned: true})
	m.original = nil
	return Segment{Name: name, Index: at, message: m}, nil
}

// SetRaw is Message.SetRaw within the segment.
func (s Segment) SetRaw(path string, raw []byte) error {
	p, ok := parseFieldPath(path)
	if !ok {
		return fmt.Errorf("%w: %q", errPath, path)
	}
	if err := s.message.set(s.Index, p, raw); err != nil {
		return fmt.Errorf("hl7: %s-%s: %w", s.Name, path, err)
	}
	return nil
}
