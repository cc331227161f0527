// Package route says which destinations want which record. It is pure: a table
// made from the configuration, and a look-up.
package route

// The kinds of destinations.
const (
	HL7   = "hl7"
	DICOM = "dicom"
)

// A Destination is where records go.
type Destination struct {
	Name string
	Kind string
	// ReceivingApplication and ReceivingFacility are MSH-5 and MSH-6.
	ReceivingApplication, ReceivingFacility string
	// What a DICOM destination gets: objects, performed procedure steps, notices of
	// what the others have.
	Images, Steps, Notices bool
}

// A Plan is what happens to the records of one connection.
type Plan struct {
	Trial bool // received, stored and shown; nothing reaches a destination
	To    []Destination
}

// A Table has the plan of each connection.
type Table map[string]Plan

// Why a record has no destination; these are kinds of "consumed".
const (
	OnTrial       = "trial"
	NoDestination = "no_destination"
)

// For is where a record of a connection goes that travels as kind (HL7 or
// DICOM). Where it goes nowhere, why says so.
func (t Table) For(connection, kind string) (to []Destination, why string) {
	p := t[connection]
	if p.Trial {
		return nil, OnTrial
	}
	for _, d := range p.To {
		if d.Kind == kind {
			to = append(to, d)
		}
	}
	if len(to) == 0 {
		return nil, NoDestination
	}
	return to, ""
}
