// Package patients keeps who the patients are: the identifiers of each by their
// authority, and which were merged, linked or moved. It learns that from ADT
// messages (HL7 v2.5.1 chapter 3) and from nothing else, and is intake.Application
// for them: what a message changes is in the commit that stores it, before its AA.
//
// # Records
//
// A record is one patient of one system, found by its patient numbers:
//
//	number (authority, value) ──▶ record ──into──▶ record ──into──▶ the survivor
//
// The numbers of a record that was merged keep leading to it, and its merge to the
// survivor; so an unmerge is the end of one arrow. A number never leads to two
// records, and two authorities never meet: a number is the same only where value and
// authority are. An identifier that names no authority gets that of the link's rules
// (lis.AuthorityRules), and without one is the link's own.
//
// Patient numbers are all identifiers but those of visits (CX.5 VN, AN, XV) and those
// that stand for the person elsewhere (citizen number NI, NN…, insurance card HC,
// passport PPN, and the like; see kindOf). The latter find a patient only in a message
// that has no patient number, and only where they stand for one patient.
//
// # Rules
//
//   - A message whose numbers lead to two patients who are not merged: AE, held.
//   - A patient number that is not known belongs to the patient that the others lead
//     to, else to a new record. A citizen number or insurance card takes the place of
//     the one of the same authority.
//   - What is empty in PID changes nothing, "" (null) removes. A message that is older
//     than the newest that was taken (EVN-2, else MSH-7) changes no name, birth date or
//     sex, and no visit that is newer. A time that is later than our clock counts as
//     the time of receipt.
//   - Name, birth date and sex are those of the record whose number is in force: a
//     message under a number that was merged or changed away tells of its own record
//     only.
//   - Merge (A18, A30, A34, A36, A39, A40): MRG-1 into PID-3, numbers of one authority,
//     and of one type where both say one. What is not known yet is made known. The same
//     merge again: AA, nothing changes. Into itself, in a circle, or of a patient who
//     was merged into somebody else: AE. Into one who was merged himself: to whom he
//     was merged into, and there is no question about it. A merge that is older than
//     the unmerge of the same two: AA, nothing changes.
//   - Change of a number (A46, A47, A48): MRG to PID. A number that is another patient's
//     already: AE. The authority may change with it: it is the same person.
//   - Move (A43): the number of MRG-1 and all under it belongs to the patient of PID-3.
//   - Visits and accounts (A35, A41, A42, A49, A50, A51): MRG-3, MRG-5 become PID-18,
//     PV1-19. A44, A45 move them to the patient of PID-3, and the orders that name
//     them. A visit number that comes for another patient is his from then on.
//   - Link (A24): noted, both stay apart. A37 ends a link or a merge; where there is
//     neither: AE.
//
// After a change orders that are open, and the worklist with them, get the identity of
// the patient that their number leads to now. An order keeps what it was ordered with,
// so that an unmerge gives it back.
package patients

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"nhip/gateway/lis"
	"nhip/gateway/orders"
	"nhip/gateway/record"
	"nhip/storage"
)

// Orders are the open orders, which follow their patients.
type Orders interface {
	// Repatient calls edit for every open order that names, or was ordered for, one of
	// the identifiers, and adds those to b whose patient it changes. It keeps the orders
	// from changing until end is called with what became of the commit.
	Repatient(b *storage.Batch, t orders.Turn, edit func(record.Order) (p record.Person, change bool), ids ...record.Identifier) (n int, end func(error), err error)
}

// A Store keeps patients. It holds nothing in memory: a record and its numbers are
// small states of the store, so that there is nothing to rebuild and nothing to
// bound.
type Store struct {
	Store *storage.Store
	Log   *slog.Logger
	// Rules are those of a link for identifiers.
	Rules func(link string) lis.AuthorityRules
	// Zone is that of a link's times.
	Zone func(link string) *time.Location
	// Passes reports whether what a link tells of patients is handed on only; nil: none
	// does.
	Passes func(link string) bool
	// Ends reports whether what a link tells goes nowhere else: it is Consumed then. nil:
	// nothing does.
	Ends func(link string) bool
	// Orders follow their patients; nil: there are none.
	Orders Orders

	mu sync.Mutex // from a decision to the end of its commit
}

// Consumed is the kind under which a message ends that is kept here, and goes nowhere
// else.
const Consumed = "patient"

// version is that of the stored form.
const version = 1

// A rec is one stored patient.
type rec struct {
	Version int           `json:"ver"`
	ID      uint64        `json:"i"`
	Person  record.Person `json:"p"` // its identifiers are those in force; no visit
	Told    time.Time     `json:"at,omitzero"`
	Into    uint64        `json:"into,omitempty"`    // the record it is merged into
	Depth   int           `json:"depth,omitempty"`   // merges one after the other that lead here, at most
	Parted  []parted      `json:"parted,omitempty"`  // merges that were undone
	Linked  []uint64      `json:"linked,omitempty"`  // A24
	Visits  []Visit       `json:"v,omitempty"`       // the newest last
	Changes int           `json:"changes,omitempty"` // how many are in the history
}

// A parted is a merge that was undone.
type parted struct {
	From uint64    `json:"from"`
	At   time.Time `json:"at"`
}

// A Visit is a stay of a patient, or an outpatient's visit.
type Visit struct {
	ID       record.Identifier `json:"id"`
	State    VisitState        `json:"s"`
	Class    string            `json:"c,omitempty"` // PV1-2
	Location string            `json:"l,omitempty"` // PV1-3 as sent
	At       time.Time         `json:"at,omitzero"` // of the newest message about it
}

// A VisitState is what was last said of a visit.
type VisitState string

// The states of a visit.
const (
	Planned    VisitState = "planned"
	Admitted   VisitState = "admitted" // or registered, as an outpatient
	Discharged VisitState = "discharged"
	Cancelled  VisitState = "cancelled"
)

// mostVisits is how many visits of a patient are kept, the newest.
const mostVisits = 20

// A Change is one line of the history of a patient: what changed its identity.
type Change struct {
	Version int            `json:"ver"`
	At      time.Time      `json:"at"`              // when it was received
	Told    time.Time      `json:"told,omitzero"`   // EVN-2 or MSH-7
	Link    string         `json:"link"`            //
	Control string         `json:"ctl"`             // MSH-10
	Event   string         `json:"e"`               // "A40"
	What    string         `json:"w"`               // created, told, merged, unmerged, linked …
	Other   uint64         `json:"o,omitempty"`     // the other record
	Before  *record.Person `json:"before,omitzero"` // where it changed
	After   *record.Person `json:"after,omitzero"`
}

// Keys of the store. What the wire says is in them as a hash.

const (
	nextKey = "patients"
	// Count is the counter of patients.
	Count = "patients"
)

func recordKey(id uint64) string { return "patient/" + strconv.FormatUint(id, 10) }

func historyKey(id uint64, n int) string { return fmt.Sprintf("patient-log/%d/%08d", id, n) }

func numberKey(i record.Identifier) string { return "patient-number/" + hashed(i) }

func otherKey(i record.Identifier) string { return "patient-other/" + hashed(i) }

func visitKey(i record.Identifier) string { return "patient-visit/" + hashed(i) }

func hashed(i record.Identifier) string {
	sum := sha256.Sum256([]byte(i.Authority + "\x00" + i.Value))
	return hex.EncodeToString(sum[:16])
}

// A kind says what an identifier is of.
type kind int

const (
	patientNumber kind = iota
	otherNumber        // of the person, given elsewhere
	visitNumber
)

// otherTypes are the identifier types (table 0203) of numbers that no hospital gives.
var otherTypes = map[string]bool{
	"NI": true, "SS": true, "CZ": true, "PPN": true, "DL": true, "HC": true, "MA": true, "MC": true, "MI": true, "PNT": true,
	"BA": true, "CC": true, "TAX": true, "BC": true, "JHN": true, "SR": true, "MB": true, "SN": true, "DN": true,
}

// kindOf is what an identifier is of, by CX.5.
func kindOf(i record.Identifier) kind {
	switch t := strings.ToUpper(i.Type); {
	case t == "VN" || t == "AN" || t == "XV":
		return visitNumber
	case otherTypes[t], strings.HasPrefix(t, "NN") && len(t) > 2:
		return otherNumber
	}
	return patientNumber
}

// numbers are those identifiers of a kind.
func numbers(all []record.Identifier, k kind) (some []record.Identifier) {
	for _, i := range all {
		if kindOf(i) == k {
			some = append(some, i)
		}
	}
	return some
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // no value of these structs fails to marshal
	}
	return b
}

// decode reads what encode wrote. It refuses another version.
func decode(b []byte, v any, got *int) error {
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("patients: a stored value of %d bytes cannot be read: %w", len(b), err)
	}
	if *got != version {
		return fmt.Errorf("patients: a stored value is of version %d, and this program knows %d", *got, version)
	}
	return nil
}
