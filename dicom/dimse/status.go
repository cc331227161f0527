package dimse

import (
	"fmt"
	"strings"
)

// A Status is the outcome of an operation, PS3.7 annex C, with the comment that
// goes into (0000,0902).
type Status struct {
	Code    uint16
	Comment string
}

// Statuses of C-STORE and C-ECHO, PS3.4 table B.2-1 and PS3.7 annex C. Those of
// C-STORE with three known digits stand for a range.
const (
	Success                   uint16 = 0x0000
	SOPClassNotSupported      uint16 = 0x0122
	NotAuthorized             uint16 = 0x0124
	UnrecognizedOperation     uint16 = 0x0211
	ProcessingFailure         uint16 = 0x0110
	OutOfResources            uint16 = 0xA700
	DataSetDoesNotMatchClass  uint16 = 0xA900
	CannotUnderstand          uint16 = 0xC000
	CoercionOfDataElements    uint16 = 0xB000
	ElementsDiscarded         uint16 = 0xB006
	DataSetDoesNotMatchWarned uint16 = 0xB007
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
	case s.Code == 0x0001, s.Code == 0x0107, s.Code == 0x0116, s.Code>>12 == 0xB:
		return ClassWarning
	case s.Code == 0xFE00:
		return ClassCancel
	case s.Code == 0xFF00, s.Code == 0xFF01:
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

func (s Status) words() string {
	switch s.Code {
	case Success:
		return "success"
	case 0x0105:
		return "no such attribute"
	case 0x0106:
		return "invalid attribute value"
	case ProcessingFailure:
		return "processing failure"
	case 0x0111:
		return "duplicate SOP instance"
	case 0x0112:
		return "no such SOP instance"
	case 0x0117:
		return "invalid SOP instance"
	case 0x0118:
		return "no such SOP class"
	case SOPClassNotSupported:
		return "SOP class not supported"
	case NotAuthorized:
		return "not authorized"
	case 0x0210:
		return "duplicate invocation"
	case UnrecognizedOperation:
		return "unrecognized operation"
	case 0x0212:
		return "mistyped argument"
	case 0x0213:
		return "resource limitation"
	case CoercionOfDataElements:
		return "coercion of data elements"
	case ElementsDiscarded:
		return "elements discarded"
	case DataSetDoesNotMatchWarned:
		return "data set does not match SOP class (stored)"
	case 0xFE00:
		return "cancelled"
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
