package ack

import "strconv"

// A Sequence is the receiver's side of the sequence number protocol (HL7 v2.5.1
// section 2.10.1). It is a value: the caller stores what Receive returns in the same
// commit as the message.
type Sequence struct {
	Last  int64 // the number of the message accepted last
	Known bool  // there is one; otherwise any number is taken for the first
}

// maxNumber has the 15 digits of MSH-13.
const maxNumber = 999_999_999_999_999

// A Numbering is what MSH-13 of a message means.
type Numbering int

// The numberings.
const (
	Unnumbered    Numbering = iota // MSH-13 is empty: no protocol
	InSequence                     // to be taken
	StartOfLink                    // 0: the sender asks where to go on; the message itself is nothing to store
	Resynchronise                  // -1: any number may follow; the message itself is nothing to store
	Repeated                       // the message accepted last: its acknowledgement was lost
	OutOfSequence                  // to be refused with AR
)

// Receive takes MSH-13. expected is MSA-4 of the answer: the number itself where the
// message is taken, the one that has to come otherwise, -1 for any. next is what is
// to be stored with the message.
//
// What is no number is OutOfSequence. A message Repeated is to be answered as it was
// before, if its content is the same.
func (s Sequence) Receive(msh13 string) (next Sequence, numbering Numbering, expected string) {
	if msh13 == "" {
		return s, Unnumbered, ""
	}
	n, err := strconv.ParseInt(msh13, 10, 64)
	switch {
	case err != nil || n > maxNumber:
		return s, OutOfSequence, s.expected()
	case n == 0:
		return s, StartOfLink, s.expected()
	case n == -1:
		return Sequence{}, Resynchronise, "-1"
	case n < 0:
		return s, OutOfSequence, s.expected()
	case !s.Known || n == s.Last+1:
		return Sequence{Last: n, Known: true}, InSequence, strconv.FormatInt(n, 10)
	case n == s.Last:
		return s, Repeated, s.expected()
	}
	return s, OutOfSequence, s.expected()
}

func (s Sequence) expected() string {
	if !s.Known {
		return "-1"
	}
	return strconv.FormatInt(s.Last+1, 10)
}

// Numbers is the sender's side of the protocol: which message goes next. It is a
// value. First and Next bound the messages that it still has: Next is the number of
// the next new one.
type Numbers struct {
	First, Next int64 // First is the oldest that can be sent again
	Send        int64 // the number to be sent now; 0 starts the link, -1 resynchronises
	Frozen      bool  // the receiver expects what we do not have: for a person
}

// StartNumbers begins a link, or begins it again: number 0 is sent first.
func StartNumbers(first, next int64) Numbers { return Numbers{First: first, Next: next} }

// Force asks the receiver to take whatever number comes next: a person's decision.
func (n Numbers) Force() Numbers { return Numbers{First: n.First, Next: n.Next, Send: -1} }

// Answered takes MSA-4 of the answer to number n.Send.
//
//	to 0: the number to go on with, or -1 for any; frozen where we no longer have it
//	to -1: -1; then the oldest that we have is sent
//	to a number: itself, or one more: it was taken; anything else: frozen
func (n Numbers) Answered(msa4 string) Numbers {
	expected, err := strconv.ParseInt(msa4, 10, 64)
	switch {
	case err != nil:
		n.Frozen = true
	case n.Send <= 0 && expected == -1:
		n.Send = n.First
	case n.Send == 0 && expected >= n.First && expected <= n.Next:
		n.Send = expected
	case n.Send > 0 && (expected == n.Send || expected == n.Send+1):
		n.Send++
	default:
		n.Frozen = true
	}
	return n
}
