package ul

import "fmt"

// Abort is the A-ABORT PDU, PS3.8 table 9-26.
type Abort struct {
	Source AbortSource
	Reason AbortReason // means something only where the source is the provider
}

// An AbortSource is who aborts.
type AbortSource byte

const (
	AbortByUser     AbortSource = 0
	AbortByProvider AbortSource = 2
)

// An AbortReason is why the provider aborts.
type AbortReason byte

const (
	ReasonNotSpecified          AbortReason = 0
	ReasonUnrecognizedPDU       AbortReason = 1
	ReasonUnexpectedPDU         AbortReason = 2
	ReasonUnrecognizedParameter AbortReason = 4
	ReasonUnexpectedParameter   AbortReason = 5
	ReasonInvalidParameterValue AbortReason = 6
)

func parseAbort(b []byte) Abort {
	return Abort{Source: AbortSource(b[2]), Reason: AbortReason(b[3])}
}

// Append appends the whole PDU.
func (p Abort) Append(b []byte) []byte {
	return append(appendHeader(b, TypeAbort, 4), 0, 0, byte(p.Source), byte(p.Reason))
}

// String says in words who aborted and why, with the numbers.
func (p Abort) String() string {
	if p.Source == AbortByUser {
		return "aborted by the application (0)"
	}
	words := map[AbortReason]string{
		ReasonNotSpecified:          "no reason given",
		ReasonUnrecognizedPDU:       "unrecognized PDU",
		ReasonUnexpectedPDU:         "unexpected PDU",
		ReasonUnrecognizedParameter: "unrecognized PDU parameter",
		ReasonUnexpectedParameter:   "unexpected PDU parameter",
		ReasonInvalidParameterValue: "invalid PDU parameter value",
	}[p.Reason]
	if words == "" {
		words = "unknown reason"
	}
	return fmt.Sprintf("aborted by the upper layer: %s (%d/%d)", words, p.Source, p.Reason)
}
