// Package commitment is the DICOM Storage Commitment service class, PS3.4 annex
// J, the push model: as SCP that is asked by N-ACTION to commit itself to SOP
// instances and reports by N-EVENT-REPORT, on the association that asked or on
// one of its own with the roles reversed, and as SCU that asks and takes the
// report.
//
// What is asked and what is owed outlives associations and restarts; this
// package does not keep it. Report is the state of one report that is owed, a
// value to be kept wherever the caller keeps things:
//
//	Pending --Known--> Owed --Answered success--> Reported
//	                   |  ^
//	                   |  | Failed, or Answered with a failure: again after a while
//	                   +--+
//	                   | Policy.Expire after the request
//	                   v
//	                 Expired
package commitment

import (
	"errors"
	"fmt"

	"nhip/dicom/uid"
)

// The Storage Commitment Push Model SOP class and its well-known SOP instance,
// PS3.4 sections J.3.1 and J.3.5.
const (
	Class    = uid.StorageCommitmentPushModel
	Instance = uid.StorageCommitmentPushModelInstance
)

// Action and event types, PS3.4 tables J.3-1 and J.3-2.
const (
	actionRequest = 1
	eventSuccess  = 1
	eventFailures = 2
)

// How many references a request or a report may have, unless it is said, and at
// most.
const (
	DefaultMaxRefs = 100_000
	MaxRefs        = 1_000_000
)

// A Reference names an SOP instance to be committed.
type Reference struct{ SOPClassUID, SOPInstanceUID string }

// A FailureReason says why an instance is not committed, PS3.3 section
// C.14.1.1.
type FailureReason uint16

const (
	ProcessingFailure       FailureReason = 0x0110
	NoSuchInstance          FailureReason = 0x0112
	ClassInstanceConflict   FailureReason = 0x0119
	ClassNotSupported       FailureReason = 0x0122
	DuplicateTransactionUID FailureReason = 0x0131
	ResourceLimitation      FailureReason = 0x0213
)

func (r FailureReason) String() string {
	words := map[FailureReason]string{
		ProcessingFailure:       "processing failure",
		NoSuchInstance:          "no such SOP instance",
		ClassInstanceConflict:   "SOP class and instance conflict",
		ClassNotSupported:       "SOP class not supported",
		DuplicateTransactionUID: "duplicate transaction UID",
		ResourceLimitation:      "resource limitation",
	}[r]
	if words == "" {
		words = "failure"
	}
	return fmt.Sprintf("%04XH %s", uint16(r), words)
}

// A Failure is an instance that is not committed.
type Failure struct {
	Reference
	Reason FailureReason
}

// An Outcome is what a transaction came to: every reference of the request is in
// one of the lists, PS3.4 section J.3.3.1.2.
type Outcome struct {
	Committed []Reference
	Failed    []Failure
}

// ErrReferences says that an outcome does not name the references of the
// request, each once.
var ErrReferences = errors.New("dicom/commitment: the report does not name the references of the request, each once")

// Covers reports by nil that the outcome names each of the references once and
// no other. References that were asked for twice count once.
func (o Outcome) Covers(asked []Reference) error {
	left := make(map[Reference]bool, len(asked))
	for _, r := range asked {
		left[r] = true
	}
	take := func(r Reference) bool {
		waiting := left[r]
		delete(left, r)
		return waiting
	}
	for _, r := range o.Committed {
		if !take(r) {
			return ErrReferences
		}
	}
	for _, f := range o.Failed {
		if !take(f.Reference) {
			return ErrReferences
		}
	}
	if len(left) > 0 {
		return ErrReferences
	}
	return nil
}

// A Transaction is what an SCU asked for.
type Transaction struct {
	UID        string
	References []Reference
}

// check reports what is wrong with a transaction, in words for a status comment.
func (t Transaction) check() string {
	switch {
	case !uid.Valid(t.UID):
		return "no valid transaction UID"
	case len(t.References) == 0:
		return "no referenced SOP instance"
	}
	for _, r := range t.References {
		if !uid.Valid(r.SOPClassUID) || !uid.Valid(r.SOPInstanceUID) {
			return "a reference without valid SOP class and instance UIDs"
		}
	}
	return ""
}

// Same reports whether two requests ask for the same: a request that is repeated
// because its answer was lost. Another request with the transaction UID of one
// that is known is refused.
func (t Transaction) Same(other Transaction) bool {
	if t.UID != other.UID || len(t.References) != len(other.References) {
		return false
	}
	for i, r := range t.References {
		if other.References[i] != r {
			return false
		}
	}
	return true
}
