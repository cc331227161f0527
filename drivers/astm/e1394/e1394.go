// Package e1394 is the record level of ASTM E1394-97 and CLSI LIS02-A2: a message
// as records of fields, with the delimiters that its H record declares. It keeps
// every byte as it was sent; reading a field splits and unescapes on the way out.
// What a field means for one model of analyser is the affair of its profile.
package e1394

import (
	"bytes"
	"errors"
	"fmt"
)

// Limits of Parse.
const (
	MaxRecords = 100_000 // records in a message
	MaxFields  = 10_000  // fields in a record
)

// Delimiters are declared by the first five characters of the H record. Zero is a delimiter that was not declared.
type Delimiters struct{ Field, Repeat, Component, Escape byte }

// Standard is the usual declaration, |\^&.
var Standard = Delimiters{'|', '\\', '^', '&'}

// String is the delimiter definition as it stands in H.2, after the field delimiter.
func (d Delimiters) String() string {
	var b []byte
	for _, c := range []byte{d.Repeat, d.Component, d.Escape} {
		if c != 0 {
			b = append(b, c)
		}
	}
	return string(b)
}

// A Message is the records in their order. After a further H record its delimiters
// hold for what follows.
type Message struct{ Records []Record }

// Delimiters are those of the first record.
func (m Message) Delimiters() Delimiters {
	if len(m.Records) == 0 {
		return Standard
	}
	return m.Records[0].Delimiters
}

// Header is the first H record, or an empty record.
func (m Message) Header() Record {
	for _, r := range m.Records {
		if r.Type() == "H" {
			return r
		}
	}
	return Record{Delimiters: Standard}
}

// Bytes are the records, each with CR.
func (m Message) Bytes() []byte {
	var b []byte
	for _, r := range m.Records {
		b = append(append(b, r.Bytes...), '\r')
	}
	return b
}

// ErrNoHeader is returned by Parse when the message does not begin with an H record
// that declares delimiters. The records are there, split by the standard delimiters.
var ErrNoHeader = errors.New("e1394: message does not begin with an H record")

// A LimitError names the record at which Parse stopped.
type LimitError struct {
	Record int // from 1
	What   string
}

func (e *LimitError) Error() string { return fmt.Sprintf("e1394: record %d: %s", e.Record, e.What) }

// Parse splits a message into records. A record ends with CR, LF or both; empty ones
// are skipped. On an error the records up to it are returned too. The records are
// parts of message: it must not be changed while they are in use.
func Parse(message []byte) (Message, error) {
	var m Message
	d := Standard
	var headless error
	for len(message) > 0 {
		end := bytes.IndexAny(message, "\r\n")
		if end < 0 {
			end = len(message)
		}
		record := message[:end:end]
		message = message[min(end+1, len(message)):]
		if len(record) == 0 {
			continue
		}
		if len(m.Records) == MaxRecords {
			return m, &LimitError{MaxRecords + 1, "too many records"}
		}
		if declared, ok := declaration(record); ok {
			d = declared
		} else if len(m.Records) == 0 {
			headless = ErrNoHeader
		}
		if bytes.Count(record, []byte{d.Field}) >= MaxFields {
			return m, &LimitError{len(m.Records) + 1, "too many fields"}
		}
		m.Records = append(m.Records, Record{Bytes: record, Delimiters: d})
	}
	if len(m.Records) == 0 {
		return m, ErrNoHeader
	}
	return m, headless
}

// declaration reads the delimiters of an H record: H, field, repeat, component,
// escape. The definition ends at the second field delimiter. A letter, a digit or
// a delimiter that is declared already is none.
func declaration(record []byte) (Delimiters, bool) {
	if len(record) < 2 || record[0] != 'H' || !delimiter(record[1]) {
		return Delimiters{}, false
	}
	d := Delimiters{Field: record[1]}
	definition, _, _ := bytes.Cut(record[2:], []byte{d.Field})
	for i, target := range []*byte{&d.Repeat, &d.Component, &d.Escape} {
		if i == len(definition) || !delimiter(definition[i]) || bytes.IndexByte(definition[:i], definition[i]) >= 0 {
			break
		}
		*target = definition[i]
	}
	return d, true
}

func delimiter(b byte) bool {
	return b >= ' ' && !('a' <= b|0x20 && b|0x20 <= 'z') && !('0' <= b && b <= '9')
}
