// Package dimse is the DICOM message exchange of PS3.7: command sets and
// statuses. It does no I/O; package association carries the messages, and one
// package per service class gives them meaning.
package dimse

import (
	"encoding/binary"
	"fmt"
	"strings"

	"nhip/dicom/tag"
)

// A CommandField names an operation or notification and its direction, PS3.7
// annex E.1.
type CommandField uint16

const (
	CStoreRQ  CommandField = 0x0001
	CStoreRSP CommandField = 0x8001
	CEchoRQ   CommandField = 0x0030
	CEchoRSP  CommandField = 0x8030
	CCancelRQ CommandField = 0x0FFF
)

// Response reports whether the command is a response.
func (f CommandField) Response() bool { return f&0x8000 != 0 }

// ResponseTo returns the command field that answers a request.
func (f CommandField) ResponseTo() CommandField { return f | 0x8000 }

func (f CommandField) String() string {
	switch f &^ 0x8000 {
	case 0x0001:
		return "C-STORE" + f.suffix()
	case 0x0030:
		return "C-ECHO" + f.suffix()
	case 0x0FFF:
		return "C-CANCEL" + f.suffix()
	}
	return fmt.Sprintf("command %04XH", uint16(f))
}

func (f CommandField) suffix() string {
	if f.Response() {
		return "-RSP"
	}
	return "-RQ"
}

// A Priority of an operation, PS3.7 table 9.1-1. The zero value is medium.
type Priority uint16

const (
	PriorityMedium Priority = 0
	PriorityHigh   Priority = 1
	PriorityLow    Priority = 2
)

// noDataSet is the Command Data Set Type that says that no data set follows,
// PS3.7 section 9.3; any other value says that one does.
const noDataSet = 0x0101

// A Command is a command set. Which fields mean something depends on Field; the
// others are zero and are not written.
type Command struct {
	Field                     CommandField
	MessageID                 uint16 // of a request
	MessageIDBeingRespondedTo uint16 // of a response
	Priority                  Priority
	HasDataSet                bool
	AffectedSOPClassUID       string
	AffectedSOPInstanceUID    string
	MoveOriginatorAETitle     string // of a C-STORE that a C-MOVE caused
	MoveOriginatorMessageID   uint16
	Status                    Status // of a response
}

// Command elements, PS3.7 annex E.1.
const (
	groupLength               tag.Tag = 0x00000000
	affectedSOPClassUID       tag.Tag = 0x00000002
	commandField              tag.Tag = 0x00000100
	messageID                 tag.Tag = 0x00000110
	messageIDBeingRespondedTo tag.Tag = 0x00000120
	priority                  tag.Tag = 0x00000700
	commandDataSetType        tag.Tag = 0x00000800
	status                    tag.Tag = 0x00000900
	errorComment              tag.Tag = 0x00000902
	affectedSOPInstanceUID    tag.Tag = 0x00001000
	moveOriginatorAETitle     tag.Tag = 0x00001030
	moveOriginatorMessageID   tag.Tag = 0x00001031
)

// A ParseError says what is wrong with a command set. The peer broke the
// protocol: the association is aborted.
type ParseError struct {
	Tag  tag.Tag
	What string
}

func (e *ParseError) Error() string {
	return fmt.Sprintf("dicom/dimse: command set: %v %s", e.Tag, e.What)
}

// Parse reads a command set: group 0000, always Implicit VR Little Endian,
// PS3.7 section 6.3.1. Elements that this package does not know are read over,
// and the group length is not believed. The command field, the data set type
// and the message ID that the direction needs have to be there.
func Parse(b []byte) (Command, error) {
	var c Command
	seen := map[tag.Tag]bool{}
	for len(b) > 0 {
		if len(b) < 8 {
			return c, &ParseError{groupLength, fmt.Sprintf("ends in the middle of an element, %d bytes left", len(b))}
		}
		t := tag.New(binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]))
		n := binary.LittleEndian.Uint32(b[4:])
		b = b[8:]
		if t.Group() != 0 {
			return c, &ParseError{t, "is not of group 0000"}
		}
		if uint64(n) > uint64(len(b)) {
			return c, &ParseError{t, fmt.Sprintf("is %d bytes long where %d are left", n, len(b))}
		}
		if seen[t] {
			return c, &ParseError{t, "is there twice"}
		}
		seen[t] = true
		if err := c.set(t, b[:n]); err != nil {
			return c, err
		}
		b = b[n:]
	}
	id := messageID
	if c.Field.Response() || c.Field == CCancelRQ {
		id = messageIDBeingRespondedTo
	}
	needed := []tag.Tag{commandField, commandDataSetType, id}
	if c.Field.Response() {
		needed = append(needed, status)
	}
	for _, t := range needed {
		if !seen[t] {
			return c, &ParseError{t, "is missing"}
		}
	}
	return c, nil
}

func (c *Command) set(t tag.Tag, v []byte) error {
	number := func(to *uint16) error {
		if len(v) != 2 {
			return &ParseError{t, fmt.Sprintf("has %d bytes instead of 2", len(v))}
		}
		*to = binary.LittleEndian.Uint16(v)
		return nil
	}
	switch t {
	case affectedSOPClassUID:
		c.AffectedSOPClassUID = text(v)
	case commandField:
		return number((*uint16)(&c.Field))
	case messageID:
		return number(&c.MessageID)
	case messageIDBeingRespondedTo:
		return number(&c.MessageIDBeingRespondedTo)
	case priority:
		return number((*uint16)(&c.Priority))
	case commandDataSetType:
		var kind uint16
		err := number(&kind)
		c.HasDataSet = kind != noDataSet
		return err
	case status:
		return number(&c.Status.Code)
	case errorComment:
		c.Status.Comment = text(v)
	case affectedSOPInstanceUID:
		c.AffectedSOPInstanceUID = text(v)
	case moveOriginatorAETitle:
		c.MoveOriginatorAETitle = strings.TrimSpace(text(v))
	case moveOriginatorMessageID:
		return number(&c.MoveOriginatorMessageID)
	}
	return nil
}

// text removes the padding of a UI, LO or AE value.
func text(v []byte) string { return strings.TrimRight(string(v), " \x00") }

// Append appends the command set with its group length. The comment of a status
// is cut to 64 bytes of ASCII, what LO holds in the default repertoire.
func (c Command) Append(b []byte) []byte {
	start := len(b)
	b = appendElement(b, groupLength, []byte{0, 0, 0, 0})
	if c.AffectedSOPClassUID != "" {
		b = appendText(b, affectedSOPClassUID, c.AffectedSOPClassUID, 0)
	}
	b = appendNumber(b, commandField, uint16(c.Field))
	if c.Field.Response() || c.Field == CCancelRQ {
		b = appendNumber(b, messageIDBeingRespondedTo, c.MessageIDBeingRespondedTo)
	} else {
		b = appendNumber(b, messageID, c.MessageID)
	}
	if c.Field == CStoreRQ {
		b = appendNumber(b, priority, uint16(c.Priority))
	}
	kind := uint16(noDataSet)
	if c.HasDataSet {
		kind = 0x0001
	}
	b = appendNumber(b, commandDataSetType, kind)
	if c.Field.Response() {
		b = appendNumber(b, status, c.Status.Code)
		if comment := asciiComment(c.Status.Comment); comment != "" {
			b = appendText(b, errorComment, comment, ' ')
		}
	}
	if c.AffectedSOPInstanceUID != "" {
		b = appendText(b, affectedSOPInstanceUID, c.AffectedSOPInstanceUID, 0)
	}
	if c.MoveOriginatorAETitle != "" {
		b = appendText(b, moveOriginatorAETitle, c.MoveOriginatorAETitle, ' ')
		b = appendNumber(b, moveOriginatorMessageID, c.MoveOriginatorMessageID)
	}
	binary.LittleEndian.PutUint32(b[start+8:], uint32(len(b)-start-12))
	return b
}

func appendElement(b []byte, t tag.Tag, v []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, t.Group())
	b = binary.LittleEndian.AppendUint16(b, uint16(t))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(v)))
	return append(b, v...)
}

func appendNumber(b []byte, t tag.Tag, v uint16) []byte {
	return appendElement(b, t, []byte{byte(v), byte(v >> 8)})
}

func appendText(b []byte, t tag.Tag, s string, pad byte) []byte {
	v := []byte(s)
	if len(v)%2 == 1 {
		v = append(v, pad)
	}
	return appendElement(b, t, v)
}
