package dimse

import (
	"fmt"
	"strings"
)

// A Status is the outcome of an operation, PS3.7 annex C, with what explains it.
type Status struct {
	Code    uint16
	Comment string // (0000,0902): 64 ASCII characters of it are sent
	ErrorID uint16 // (0000,0903): not sent where 0
}

// Statuses of PS3.7 annex C, and of C-STORE (PS3.4 table B.2-1), C-FIND (table
// C.4-1), C-MOVE (C.4-2) and C-GET (C.4-3). Those whose names say so stand for a
// range.
const (
	Success                   uint16 = 0x0000
	AttributeListError        uint16 = 0x0107 // warning
	AttributeValueOutOfRange  uint16 = 0x0116 // warning
	NoSuchAttribute           uint16 = 0x0105
	InvalidAttributeValue     uint16 = 0x0106
	ProcessingFailure         uint16 = 0x0110
	DuplicateSOPInstance      uint16 = 0x0111
	NoSuchSOPInstance         uint16 = 0x0112
	NoSuchEventType           uint16 = 0x0113
	NoSuchArgument            uint16 = 0x0114
	InvalidArgumentValue      uint16 = 0x0115
	InvalidSOPInstance        uint16 = 0x0117
	NoSuchSOPClass            uint16 = 0x0118
	ClassInstanceConflict     uint16 = 0x0119
	MissingAttribute          uint16 = 0x0120
	MissingAttributeValue     uint16 = 0x0121
	SOPClassNotSupported      uint16 = 0x0122
	NoSuchActionType          uint16 = 0x0123
	NotAuthorized             uint16 = 0x0124
	DuplicateInvocation       uint16 = 0x0210
	UnrecognizedOperation     uint16 = 0x0211
	MistypedArgument          uint16 = 0x0212
	ResourceLimitation        uint16 = 0x0213
	OutOfResources            uint16 = 0xA700 // range A7xx
	CannotCalculateMatches    uint16 = 0xA701 // C-MOVE, C-GET
	CannotPerformSubOps       uint16 = 0xA702 // C-MOVE, C-GET
	MoveDestinationUnknown    uint16 = 0xA801
	DataSetDoesNotMatchClass  uint16 = 0xA900 // range A9xx
	CannotUnderstand          uint16 = 0xC000 // range Cxxx; "unable to process" of C-FIND, C-MOVE, C-GET
	CoercionOfDataElements    uint16 = 0xB000 // warning; of C-MOVE and C-GET: some sub-operations failed
	SomeSubOperationsFailed   uint16 = 0xB000
	ElementsDiscarded         uint16 = 0xB006 // warning
	DataSetDoesNotMatchWarned uint16 = 0xB007
	Cancelled                 uint16 = 0xFE00
	Pending                   uint16 = 0xFF00
	PendingKeysUnsupported    uint16 = 0xFF01 // C-FIND: some optional keys were not matched
)

// A StatusClass says what a status means for the sender, PS3.7 annex C.
type StatusClass byte

const (
	ClassSuccess StatusClass = iota
	ClassWarning             // done, with a reservation
	ClassFailure
	ClassCancel
	ClassPending
)

// Class returns the class of the status.
func (s Status) Class() StatusClass {
	switch {
	case s.Code == Success:
		return ClassSuccess
	case s.Code == 0x0001, s.Code == AttributeListError, s.Code == AttributeValueOutOfRange, s.Code>>12 == 0xB:
		return ClassWarning
	case s.Code == Cancelled:
		return ClassCancel
	case s.Code == Pending, s.Code == PendingKeysUnsupported:
		return ClassPending
	}
	return ClassFailure
}

// String returns the code in the standard's hexadecimal with its meaning and the
// comment.
func (s Status) String() string {
	text := fmt.Sprintf("%04XH %s", s.Code, s.words())
	if s.Comment != "" {
		text += " (" + s.Comment + ")"
	}
	return text
}

// words are the meanings of PS3.7 annex C and PS3.4.
var words = map[uint16]string{
	Success:                   "success",
	AttributeListError:        "attribute list error",
	AttributeValueOutOfRange:  "attribute value out of range",
	NoSuchAttribute:           "no such attribute",
	InvalidAttributeValue:     "invalid attribute value",
	ProcessingFailure:         "processing failure",
	DuplicateSOPInstance:      "duplicate SOP instance",
	NoSuchSOPInstance:         "no such SOP instance",
	NoSuchEventType:           "no such event type",
	NoSuchArgument:            "no such argument",
	InvalidArgumentValue:      "invalid argument value",
	InvalidSOPInstance:        "invalid SOP instance",
	NoSuchSOPClass:            "no such SOP class",
	ClassInstanceConflict:     "class-instance conflict",
	MissingAttribute:          "missing attribute",
	MissingAttributeValue:     "missing attribute value",
	SOPClassNotSupported:      "SOP class not supported",
	NoSuchActionType:          "no such action type",
	NotAuthorized:             "not authorized",
	DuplicateInvocation:       "duplicate invocation",
	UnrecognizedOperation:     "unrecognized operation",
	MistypedArgument:          "mistyped argument",
	ResourceLimitation:        "resource limitation",
	CannotCalculateMatches:    "out of resources: unable to calculate the number of matches",
	CannotPerformSubOps:       "out of resources: unable to perform sub-operations",
	MoveDestinationUnknown:    "move destination unknown",
	CoercionOfDataElements:    "coercion of data elements",
	ElementsDiscarded:         "elements discarded",
	DataSetDoesNotMatchWarned: "data set does not match SOP class (stored)",
	Cancelled:                 "cancelled",
	PendingKeysUnsupported:    "pending, some optional keys were not matched",
}

func (s Status) words() string {
	if w, ok := words[s.Code]; ok {
		return w
	}
	switch {
	case s.Code>>8 == 0xA7:
		return "out of resources"
	case s.Code>>8 == 0xA9:
		return "data set does not match SOP class"
	case s.Code>>12 == 0xC:
		return "cannot understand"
	}
	switch s.Class() {
	case ClassWarning:
		return "warning"
	case ClassPending:
		return "pending"
	}
	return "failure"
}

// asciiComment keeps what LO in the default repertoire holds: 64 printable ASCII
// characters, no backslash.
func asciiComment(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '\\' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), 64)]
}
