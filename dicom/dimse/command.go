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
	CStoreRQ        CommandField = 0x0001
	CStoreRSP       CommandField = 0x8001
	CGetRQ          CommandField = 0x0010
	CGetRSP         CommandField = 0x8010
	CFindRQ         CommandField = 0x0020
	CFindRSP        CommandField = 0x8020
	CMoveRQ         CommandField = 0x0021
	CMoveRSP        CommandField = 0x8021
	CEchoRQ         CommandField = 0x0030
	CEchoRSP        CommandField = 0x8030
	CCancelRQ       CommandField = 0x0FFF
	NEventReportRQ  CommandField = 0x0100
	NEventReportRSP CommandField = 0x8100
	NGetRQ          CommandField = 0x0110
	NGetRSP         CommandField = 0x8110
	NSetRQ          CommandField = 0x0120
	NSetRSP         CommandField = 0x8120
	NActionRQ       CommandField = 0x0130
	NActionRSP      CommandField = 0x8130
	NCreateRQ       CommandField = 0x0140
	NCreateRSP      CommandField = 0x8140
	NDeleteRQ       CommandField = 0x0150
	NDeleteRSP      CommandField = 0x8150
)

// services are the names of the commands without their direction.
var services = map[CommandField]string{
	CStoreRQ:       "C-STORE",
	CGetRQ:         "C-GET",
	CFindRQ:        "C-FIND",
	CMoveRQ:        "C-MOVE",
	CEchoRQ:        "C-ECHO",
	CCancelRQ:      "C-CANCEL",
	NEventReportRQ: "N-EVENT-REPORT",
	NGetRQ:         "N-GET",
	NSetRQ:         "N-SET",
	NActionRQ:      "N-ACTION",
	NCreateRQ:      "N-CREATE",
	NDeleteRQ:      "N-DELETE",
}

// Response reports whether the command is a response.
func (f CommandField) Response() bool { return f&0x8000 != 0 }

// ResponseTo returns the command field that answers a request.
func (f CommandField) ResponseTo() CommandField { return f | 0x8000 }

// hasPriority reports whether the request has a priority, PS3.7 tables 9.3-1 to
// 9.3-9.
func (f CommandField) hasPriority() bool {
	return f == CStoreRQ || f == CGetRQ || f == CFindRQ || f == CMoveRQ
}

func (f CommandField) String() string {
	name, ok := services[f&^0x8000]
	switch {
	case !ok:
		return fmt.Sprintf("command %04XH", uint16(f))
	case f.Response():
		return name + "-RSP"
	}
	return name + "-RQ"
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
// others are zero and are not written. An operation names its SOP class and
// instance as requested (N-GET, N-SET, N-ACTION, N-DELETE) or as affected (all
// others); every response names them as affected.
type Command struct {
	Field                     CommandField
	MessageID                 uint16 // of a request
	MessageIDBeingRespondedTo uint16 // of a response and of C-CANCEL
	Priority                  Priority
	HasDataSet                bool
	AffectedSOPClassUID       string
	AffectedSOPInstanceUID    string
	RequestedSOPClassUID      string
	RequestedSOPInstanceUID   string
	MoveDestination           string // AE title, of a C-MOVE-RQ
	MoveOriginatorAETitle     string // of a C-STORE that a C-MOVE caused
	MoveOriginatorMessageID   uint16
	EventTypeID               uint16         // of N-EVENT-REPORT; not written where 0 in a response
	ActionTypeID              uint16         // of N-ACTION; not written where 0 in a response
	Attributes                []tag.Tag      // attribute identifier list of an N-GET-RQ, or of the response that did not take them
	SubOperations             *SubOperations // of a C-GET-RSP or C-MOVE-RSP
	Status                    Status         // of a response
	OffendingElements         []tag.Tag      // of a response
}

// SubOperations are the counts of the C-STORE sub-operations of a C-GET or
// C-MOVE, PS3.7 sections 9.1.3.1.6 to 9. Remaining is written in a response that
// is pending or cancelled only.
type SubOperations struct{ Remaining, Completed, Failed, Warning uint16 }

// Command elements, PS3.7 annex E.1.
const (
	groupLength               tag.Tag = 0x00000000
	affectedSOPClassUID       tag.Tag = 0x00000002
	requestedSOPClassUID      tag.Tag = 0x00000003
	commandField              tag.Tag = 0x00000100
	messageID                 tag.Tag = 0x00000110
	messageIDBeingRespondedTo tag.Tag = 0x00000120
	moveDestination           tag.Tag = 0x00000600
	priority                  tag.Tag = 0x00000700
	commandDataSetType        tag.Tag = 0x00000800
	status                    tag.Tag = 0x00000900
	offendingElement          tag.Tag = 0x00000901
	errorComment              tag.Tag = 0x00000902
	errorID                   tag.Tag = 0x00000903
	affectedSOPInstanceUID    tag.Tag = 0x00001000
	requestedSOPInstanceUID   tag.Tag = 0x00001001
	eventTypeID               tag.Tag = 0x00001002
	attributeIdentifierList   tag.Tag = 0x00001005
	actionTypeID              tag.Tag = 0x00001008
	remainingSubOperations    tag.Tag = 0x00001020
	completedSubOperations    tag.Tag = 0x00001021
	failedSubOperations       tag.Tag = 0x00001022
	warningSubOperations      tag.Tag = 0x00001023
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
	if to := c.text(t); to != nil {
		*to = strings.TrimRight(string(v), " \x00")
		if t == moveDestination || t == moveOriginatorAETitle {
			*to = strings.TrimLeft(*to, " ")
		}
		return nil
	}
	if to := c.tags(t); to != nil {
		if len(v)%4 != 0 {
			return &ParseError{t, fmt.Sprintf("has %d bytes, no multiple of 4", len(v))}
		}
		*to = nil
		for ; len(v) > 0; v = v[4:] {
			*to = append(*to, tag.New(binary.LittleEndian.Uint16(v), binary.LittleEndian.Uint16(v[2:])))
		}
		return nil
	}
	var kind uint16
	to := c.number(t)
	if t == commandDataSetType {
		to = &kind
	}
	if to == nil {
		return nil
	}
	if len(v) != 2 {
		return &ParseError{t, fmt.Sprintf("has %d bytes instead of 2", len(v))}
	}
	*to = binary.LittleEndian.Uint16(v)
	if t == commandDataSetType {
		c.HasDataSet = kind != noDataSet
	}
	return nil
}

// text returns where the value of a UI, AE or LO element is kept.
func (c *Command) text(t tag.Tag) *string {
	switch t {
	case affectedSOPClassUID:
		return &c.AffectedSOPClassUID
	case requestedSOPClassUID:
		return &c.RequestedSOPClassUID
	case moveDestination:
		return &c.MoveDestination
	case errorComment:
		return &c.Status.Comment
	case affectedSOPInstanceUID:
		return &c.AffectedSOPInstanceUID
	case requestedSOPInstanceUID:
		return &c.RequestedSOPInstanceUID
	case moveOriginatorAETitle:
		return &c.MoveOriginatorAETitle
	}
	return nil
}

// tags returns where the value of an AT element is kept.
func (c *Command) tags(t tag.Tag) *[]tag.Tag {
	switch t {
	case offendingElement:
		return &c.OffendingElements
	case attributeIdentifierList:
		return &c.Attributes
	}
	return nil
}

// number returns where the value of a US element is kept.
func (c *Command) number(t tag.Tag) *uint16 {
	switch t {
	case commandField:
		return (*uint16)(&c.Field)
	case messageID:
		return &c.MessageID
	case messageIDBeingRespondedTo:
		return &c.MessageIDBeingRespondedTo
	case priority:
		return (*uint16)(&c.Priority)
	case status:
		return &c.Status.Code
	case errorID:
		return &c.Status.ErrorID
	case eventTypeID:
		return &c.EventTypeID
	case actionTypeID:
		return &c.ActionTypeID
	case moveOriginatorMessageID:
		return &c.MoveOriginatorMessageID
	}
	if t < remainingSubOperations || t > warningSubOperations {
		return nil
	}
	if c.SubOperations == nil {
		c.SubOperations = &SubOperations{}
	}
	n := c.SubOperations
	return []*uint16{&n.Remaining, &n.Completed, &n.Failed, &n.Warning}[t-remainingSubOperations]
}

// Append appends the command set with its group length. The comment of a status
// is cut to 64 bytes of ASCII, what LO holds in the default repertoire.
func (c Command) Append(b []byte) []byte {
	start := len(b)
	b = appendElement(b, groupLength, []byte{0, 0, 0, 0})
	b = appendText(b, affectedSOPClassUID, c.AffectedSOPClassUID, 0)
	b = appendText(b, requestedSOPClassUID, c.RequestedSOPClassUID, 0)
	b = appendNumber(b, commandField, uint16(c.Field))
	if c.Field.Response() || c.Field == CCancelRQ {
		b = appendNumber(b, messageIDBeingRespondedTo, c.MessageIDBeingRespondedTo)
	} else {
		b = appendNumber(b, messageID, c.MessageID)
	}
	b = appendText(b, moveDestination, c.MoveDestination, ' ')
	if c.Field.hasPriority() {
		b = appendNumber(b, priority, uint16(c.Priority))
	}
	kind := uint16(noDataSet)
	if c.HasDataSet {
		kind = 0x0001
	}
	b = appendNumber(b, commandDataSetType, kind)
	if c.Field.Response() {
		b = c.appendStatus(b)
	}
	b = appendText(b, affectedSOPInstanceUID, c.AffectedSOPInstanceUID, 0)
	b = appendText(b, requestedSOPInstanceUID, c.RequestedSOPInstanceUID, 0)
	if c.EventTypeID != 0 || c.Field == NEventReportRQ {
		b = appendNumber(b, eventTypeID, c.EventTypeID)
	}
	b = appendTags(b, attributeIdentifierList, c.Attributes)
	if c.ActionTypeID != 0 || c.Field == NActionRQ {
		b = appendNumber(b, actionTypeID, c.ActionTypeID)
	}
	if c.SubOperations != nil {
		b = c.appendSubOperations(b)
	}
	if c.MoveOriginatorAETitle != "" {
		b = appendText(b, moveOriginatorAETitle, c.MoveOriginatorAETitle, ' ')
		b = appendNumber(b, moveOriginatorMessageID, c.MoveOriginatorMessageID)
	}
	binary.LittleEndian.PutUint32(b[start+8:], uint32(len(b)-start-12))
	return b
}

func (c Command) appendStatus(b []byte) []byte {
	b = appendNumber(b, status, c.Status.Code)
	b = appendTags(b, offendingElement, c.OffendingElements)
	b = appendText(b, errorComment, asciiComment(c.Status.Comment), ' ')
	if c.Status.ErrorID != 0 {
		b = appendNumber(b, errorID, c.Status.ErrorID)
	}
	return b
}

func (c Command) appendSubOperations(b []byte) []byte {
	if class := c.Status.Class(); class == ClassPending || class == ClassCancel {
		b = appendNumber(b, remainingSubOperations, c.SubOperations.Remaining)
	}
	b = appendNumber(b, completedSubOperations, c.SubOperations.Completed)
	b = appendNumber(b, failedSubOperations, c.SubOperations.Failed)
	return appendNumber(b, warningSubOperations, c.SubOperations.Warning)
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

// appendText appends nothing where there is no text.
func appendText(b []byte, t tag.Tag, s string, pad byte) []byte {
	if s == "" {
		return b
	}
	v := []byte(s)
	if len(v)%2 == 1 {
		v = append(v, pad)
	}
	return appendElement(b, t, v)
}

// appendTags appends nothing where there are none.
func appendTags(b []byte, t tag.Tag, list []tag.Tag) []byte {
	if len(list) == 0 {
		return b
	}
	var v []byte
	for _, named := range list {
		v = binary.LittleEndian.AppendUint16(v, named.Group())
		v = binary.LittleEndian.AppendUint16(v, uint16(named))
	}
	return appendElement(b, t, v)
}
