package patients

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"nhip/gateway/record"
)

// maxChain is how many merges one after the other are followed. Decide lets no chain
// become longer.
const maxChain = 100

// errChain says that the arrows of the store make a circle, which Decide never
// writes.
var errChain = errors.New("patients: a chain of merges has no end")

// A view reads records, and keeps those that a decision changes until they are
// committed.
type view struct {
	s       *Store
	records map[uint64]*rec
	numbers map[string]uint64   // by key; 0: it leads nowhere
	others  map[string][]uint64 // by key
	visits  map[string]visitAt  // by key
	next    uint64              // the next ID; 0: not read yet
	created int64
	dirty   map[uint64]bool
	keys    map[string][]byte // changed small states but records
	touched map[uint64]bool   // records whose orders have to be looked at
	// met are the identifiers of the message and of all records that were read, as they
	// were: those that an order can have that the message is about.
	met []record.Identifier
}

// meet adds to met.
func (v *view) meet(all []record.Identifier) {
	for _, i := range all {
		if !slices.ContainsFunc(v.met, i.Same) {
			v.met = append(v.met, i)
		}
	}
}

func (s *Store) view() *view {
	return &view{
		s: s, records: map[uint64]*rec{}, numbers: map[string]uint64{}, others: map[string][]uint64{}, visits: map[string]visitAt{},
		dirty: map[uint64]bool{}, keys: map[string][]byte{}, touched: map[uint64]bool{},
	}
}

// A lead is where a number leads.
type lead struct {
	Version int      `json:"ver"`
	To      []uint64 `json:"to"`
}

// A visitAt is whose a visit is.
type visitAt struct {
	Version int    `json:"ver"`
	Of      uint64 `json:"of"`
	// From is whose it was before it was moved; 0: it never was.
	From uint64 `json:"from,omitempty"`
	// Now is its number where it has another one now.
	Now record.Identifier `json:"now,omitzero"`
}

// record reads a record.
func (v *view) record(id uint64) (*rec, error) {
	if r, ok := v.records[id]; ok {
		return r, nil
	}
	b, ok, err := v.s.Store.Get(recordKey(id))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("patients: record %d is not in the store", id)
	}
	r := new(rec)
	if err := decode(b, r, &r.Version); err != nil {
		return nil, err
	}
	v.records[id] = r
	v.meet(r.Person.Identifiers)
	return r, nil
}

// number is the record that a patient number leads to; 0: none.
func (v *view) number(i record.Identifier) (uint64, error) {
	key := numberKey(i)
	if id, ok := v.numbers[key]; ok {
		return id, nil
	}
	l, err := v.lead(key)
	if err != nil {
		return 0, err
	}
	if len(l) > 1 {
		return 0, fmt.Errorf("patients: a patient number leads to %d records", len(l))
	}
	var id uint64
	if len(l) == 1 {
		id = l[0]
	}
	v.numbers[key] = id
	return id, nil
}

// other are the records that have a citizen number, insurance card or the like.
func (v *view) other(i record.Identifier) ([]uint64, error) {
	key := otherKey(i)
	if ids, ok := v.others[key]; ok {
		return ids, nil
	}
	ids, err := v.lead(key)
	if err == nil {
		v.others[key] = ids
	}
	return ids, err
}

func (v *view) lead(key string) ([]uint64, error) {
	b, ok, err := v.s.Store.Get(key)
	if err != nil || !ok {
		return nil, err
	}
	var l lead
	if err := decode(b, &l, &l.Version); err != nil {
		return nil, err
	}
	return l.To, nil
}

// visit is whose a visit is.
func (v *view) visit(i record.Identifier) (at visitAt, err error) {
	key := visitKey(i)
	if at, ok := v.visits[key]; ok {
		return at, nil
	}
	b, ok, err := v.s.Store.Get(key)
	if err != nil || !ok {
		return at, err
	}
	if err := decode(b, &at, &at.Version); err != nil {
		return visitAt{}, err
	}
	v.visits[key] = at
	return at, nil
}

// survivor follows the merges of a record.
func (v *view) survivor(id uint64) (*rec, error) {
	for range maxChain {
		r, err := v.record(id)
		if err != nil || r.Into == 0 {
			return r, err
		}
		id = r.Into
	}
	return nil, errChain
}

// chain are the records from one to its survivor.
func (v *view) chain(id uint64) ([]uint64, error) {
	var all []uint64
	for range maxChain {
		all = append(all, id)
		r, err := v.record(id)
		if err != nil || r.Into == 0 {
			return all, err
		}
		id = r.Into
	}
	return nil, errChain
}

// found are the records that some patient numbers lead to, each once, and their
// survivors.
func (v *view) found(some []record.Identifier) (records, survivors []uint64, err error) {
	for _, i := range some {
		id, err := v.number(i)
		if err != nil {
			return nil, nil, err
		}
		if id == 0 {
			continue
		}
		if records, survivors, err = v.add(id, records, survivors); err != nil {
			return nil, nil, err
		}
	}
	return records, survivors, nil
}

func (v *view) add(id uint64, records, survivors []uint64) ([]uint64, []uint64, error) {
	s, err := v.survivor(id)
	if err != nil {
		return nil, nil, err
	}
	if !slices.Contains(records, id) {
		records = append(records, id)
	}
	if !slices.Contains(survivors, s.ID) {
		survivors = append(survivors, s.ID)
	}
	return records, survivors, nil
}

// foundByOthers is found by the other numbers of a person: by those that stand for
// one patient.
func (v *view) foundByOthers(some []record.Identifier) (records, survivors []uint64, err error) {
	for _, i := range some {
		ids, err := v.other(i)
		if err != nil {
			return nil, nil, err
		}
		for _, id := range ids {
			if records, survivors, err = v.add(id, records, survivors); err != nil {
				return nil, nil, err
			}
		}
	}
	return records, survivors, nil
}

// identity is who a person is now who was named as p: the survivor of the merges of
// his number, or the patient to whom his visit was moved. survivor is 0, and the
// person as named, where he is not known or his numbers lead to several.
//
// The identifiers of p stay where they are still in force; else those of the survivor
// take their place, first the one that is most like the first of p. Name, birth date
// and sex are the survivor's where told says so or the identifiers are; what he lacks
// is p's.
func (v *view) identity(p record.Person, told bool) (record.Person, uint64, error) {
	some := numbers(p.Identifiers, patientNumber)
	_, survivors, err := v.found(some)
	if err == nil && len(some) == 0 {
		_, survivors, err = v.foundByOthers(numbers(p.Identifiers, otherNumber))
	}
	if err != nil || len(survivors) != 1 {
		return p, 0, err
	}
	id, visit, err := v.moved(p.Visit, survivors[0])
	if err != nil {
		return p, 0, err
	}
	r, err := v.record(id)
	if err != nil {
		return p, 0, err
	}
	now := p
	now.Visit = visit
	gone, err := v.outOfForce(p, r)
	if err != nil {
		return p, 0, err
	}
	if gone {
		now.Identifiers = likeFirst(r.Person.Identifiers, p.Identifiers)
		told = true
	}
	name, birth, sex := r.Person.Name, r.Person.Birth, r.Person.Sex
	if told && !name.Empty() || p.Name.Empty() {
		now.Name = name
	}
	if told && birth != "" || p.Birth == "" {
		now.Birth = birth
	}
	if told && sex != "" || p.Sex == "" {
		now.Sex = sex
	}
	return now, id, nil
}

// moved is the patient of a visit that was moved away from the patient id, else id,
// and the number that the visit has now.
func (v *view) moved(visit record.Identifier, id uint64) (uint64, record.Identifier, error) {
	if visit.Value == "" {
		return id, visit, nil
	}
	at, err := v.visit(visit)
	if err != nil || at.Of == 0 {
		return id, visit, err
	}
	of, err := v.survivor(at.Of)
	if err != nil {
		return id, visit, err
	}
	if of.ID != id && at.From != 0 {
		from, err := v.survivor(at.From)
		if err != nil {
			return id, visit, err
		}
		if from.ID == id {
			id = of.ID
		}
	}
	for range mostVisits { // it may have had several numbers
		if of.ID != id || at.Now.Value == "" {
			break
		}
		visit = at.Now
		if at, err = v.visit(visit); err != nil {
			return id, visit, err
		}
	}
	return id, visit, nil
}

// outOfForce says whether one of the numbers that person p is found by is known and
// not one of the record's.
func (v *view) outOfForce(p record.Person, r *rec) (bool, error) {
	some := numbers(p.Identifiers, patientNumber)
	if len(some) == 0 {
		return !slices.ContainsFunc(numbers(p.Identifiers, otherNumber), r.Person.Has), nil
	}
	for _, i := range some {
		if id, err := v.number(i); err != nil || id != 0 && !r.Person.Has(i) {
			return err == nil, err
		}
	}
	return false, nil
}

// likeFirst puts that identifier first that is of the authority and type of the first
// of like.
func likeFirst(all, like []record.Identifier) []record.Identifier {
	all = slices.Clone(all)
	if len(like) == 0 {
		return all
	}
	i := slices.IndexFunc(all, func(x record.Identifier) bool {
		return x.Authority == like[0].Authority && x.Type == like[0].Type
	})
	if i > 0 {
		first := all[i]
		all = slices.Insert(slices.Delete(all, i, i+1), 0, first)
	}
	return all
}

// Current is who a person is now who is named as p, by what was committed: see
// Orders. It takes no lock. An error of the store is logged, and the person as named.
func (s *Store) Current(p record.Person) record.Person {
	now, _, err := s.view().identity(p, false)
	if err != nil {
		s.Log.Error("a patient cannot be looked up", "error", err)
		return p
	}
	return now
}

// Merged is who a number stands for now that stood for somebody else: ok is false
// where it is not known, or is still in force.
func (s *Store) Merged(i record.Identifier) (p record.Person, ok bool) {
	v := s.view()
	named := record.Person{Identifiers: []record.Identifier{i}}
	if i.Value == "" || kindOf(i) != patientNumber {
		return p, false
	}
	now, id, err := v.identity(named, true)
	if err != nil {
		s.Log.Error("a patient cannot be looked up", "error", err)
		return p, false
	}
	return now, id != 0 && !now.Has(i)
}

// A Patient is what is known of a patient.
type Patient struct {
	ID      uint64 // of the record, the gateway's own
	Person  record.Person
	Into    uint64 // the record that it was merged into; 0: none
	Current uint64 // the record that stands for the patient now
	Linked  []uint64
	Visits  []Visit
	Told    time.Time // by the newest message that was taken
}

// Find is the record that an identifier leads to, the newest first where it is no
// patient number and leads to several.
func (s *Store) Find(i record.Identifier) ([]Patient, error) {
	v := s.view()
	var ids []uint64
	switch kindOf(i) {
	case patientNumber:
		id, err := v.number(i)
		if err != nil || id == 0 {
			return nil, err
		}
		ids = []uint64{id}
	case otherNumber:
		all, err := v.other(i)
		if err != nil {
			return nil, err
		}
		ids = slices.Clone(all)
		slices.Reverse(ids)
	case visitNumber:
		at, err := v.visit(i)
		if err != nil || at.Of == 0 {
			return nil, err
		}
		ids = []uint64{at.Of}
	}
	var found []Patient
	for _, id := range ids {
		p, err := v.patient(id)
		if err != nil {
			return nil, err
		}
		found = append(found, p)
	}
	return found, nil
}

func (v *view) patient(id uint64) (Patient, error) {
	r, err := v.record(id)
	if err != nil {
		return Patient{}, err
	}
	last, err := v.survivor(id)
	if err != nil {
		return Patient{}, err
	}
	return Patient{ID: id, Person: r.Person, Into: r.Into, Current: last.ID, Linked: r.Linked, Visits: r.Visits, Told: r.Told}, nil
}

// History is what changed the identity of a record, the oldest first.
func (s *Store) History(id uint64) ([]Change, error) {
	keys, err := s.Store.Keys(fmt.Sprintf("patient-log/%d/", id), 0)
	if err != nil {
		return nil, err
	}
	var all []Change
	for _, k := range keys {
		b, ok, err := s.Store.Get(k)
		if err != nil || !ok {
			return nil, err
		}
		var c Change
		if err := decode(b, &c, &c.Version); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}
