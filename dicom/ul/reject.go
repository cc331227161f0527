package ul

import "fmt"

// AssociateRJ is the A-ASSOCIATE-RJ PDU, PS3.8 table 9-21: who rejects, for how
// long, and why.
type AssociateRJ struct{ Result, Source, Reason byte }

// Results and sources of a rejection.
const (
	RejectedPermanent = 1
	RejectedTransient = 2

	SourceUser         = 1 // UL service user
	SourceACSE         = 2 // UL service provider, ACSE related function
	SourcePresentation = 3 // UL service provider, presentation related function
)

// The rejections that there are, PS3.8 table 9-21.
var (
	RejectNoReason            = AssociateRJ{RejectedPermanent, SourceUser, 1}
	RejectApplicationContext  = AssociateRJ{RejectedPermanent, SourceUser, 2}
	RejectCallingAETitle      = AssociateRJ{RejectedPermanent, SourceUser, 3}
	RejectCalledAETitle       = AssociateRJ{RejectedPermanent, SourceUser, 7}
	RejectUserIdentity        = AssociateRJ{RejectedPermanent, SourceACSE, 1} // no reason given: nothing to learn from
	RejectProtocolVersion     = AssociateRJ{RejectedPermanent, SourceACSE, 2}
	RejectTemporaryCongestion = AssociateRJ{RejectedTransient, SourcePresentation, 1}
	RejectLocalLimitExceeded  = AssociateRJ{RejectedTransient, SourcePresentation, 2}
)

func parseAssociateRJ(b []byte) AssociateRJ {
	return AssociateRJ{Result: b[1], Source: b[2], Reason: b[3]}
}

// Append appends the whole PDU.
func (p AssociateRJ) Append(b []byte) []byte {
	return append(appendHeader(b, TypeAssociateRJ, 4), 0, p.Result, p.Source, p.Reason)
}

// String says in words who rejected, for how long, and why, with the numbers.
func (p AssociateRJ) String() string {
	result := map[byte]string{RejectedPermanent: "permanently", RejectedTransient: "for now"}[p.Result]
	source := map[byte]string{
		SourceUser:         "the application",
		SourceACSE:         "the association control",
		SourcePresentation: "the presentation layer",
	}[p.Source]
	reason := map[[2]byte]string{
		{SourceUser, 1}:         "no reason given",
		{SourceUser, 2}:         "application context name not supported",
		{SourceUser, 3}:         "calling AE title not recognized",
		{SourceUser, 7}:         "called AE title not recognized",
		{SourceACSE, 1}:         "no reason given",
		{SourceACSE, 2}:         "protocol version not supported",
		{SourcePresentation, 1}: "temporary congestion",
		{SourcePresentation, 2}: "local limit exceeded",
	}[[2]byte{p.Source, p.Reason}]
	for _, word := range []*string{&result, &source, &reason} {
		if *word == "" {
			*word = "unknown"
		}
	}
	return fmt.Sprintf("rejected %s by %s: %s (%d/%d/%d)", result, source, reason, p.Result, p.Source, p.Reason)
}
