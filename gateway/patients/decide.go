package patients

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"nhip/gateway/intake"
	"nhip/gateway/lis"
	"nhip/gateway/reason"
	"nhip/gateway/record"
	"nhip/hl7"
	"nhip/hl7/ack"
	"nhip/storage"
)

// What one message may change: a commit takes no more.
const (
	mostGroups  = 20 // PID segments
	mostNumbers = 50 // in one PID-3
)

// An event is what an ADT message of a trigger event tells.
type event struct {
	do    func(*decision, group) *problem
	visit VisitState // of the visit in PV1; empty: it changes none of it but its place
	// optional: a message without a PID tells of nobody, and is taken.
	optional bool
}

// events are those that are taken, table 0003.
var events = map[string]event{
	"A01": {(*decision).tell, Admitted, true}, "A02": {(*decision).tell, Admitted, true}, "A03": {(*decision).tell, Discharged, true},
	"A04": {(*decision).tell, Admitted, true}, "A05": {(*decision).tell, Planned, true}, "A06": {(*decision).tell, Admitted, true},
	"A07": {(*decision).tell, Admitted, true}, "A08": {(*decision).tell, "", true}, "A09": {(*decision).tell, "", true}, "A10": {(*decision).tell, "", true},
	"A11": {(*decision).tell, Cancelled, true}, "A12": {(*decision).tell, Admitted, true}, "A13": {(*decision).tell, Admitted, true},
	"A14": {(*decision).tell, Planned, true}, "A28": {(*decision).tell, "", true}, "A31": {(*decision).tell, "", true}, "A38": {(*decision).tell, Cancelled, true},

	"A18": {(*decision).merge, "", false}, "A30": {(*decision).merge, "", false}, "A34": {(*decision).merge, "", false},
	"A36": {(*decision).mergeWithVisit, "", false}, "A39": {(*decision).merge, "", false}, "A40": {(*decision).merge, "", false},
	"A46": {(*decision).changeNumber, "", false}, "A47": {(*decision).changeNumber, "", false}, "A48": {(*decision).changeNumber, "", false},
	"A43": {(*decision).moveNumber, "", false},

	"A35": {(*decision).changeVisit, "", false}, "A41": {(*decision).changeVisit, "", false}, "A42": {(*decision).changeVisit, "", false},
	"A49": {(*decision).changeVisit, "", false}, "A50": {(*decision).changeVisit, "", false}, "A51": {(*decision).changeVisit, "", false},
	"A44": {(*decision).moveVisit, "", false}, "A45": {(*decision).moveVisit, "", false},

	"A24": {nil, "", false}, "A37": {nil, "", false}, // of two PID segments, see pairs
}

// A problem is why a message is answered AE.
type problem struct {
	location string
	code     string // table 0357
	why      reason.Reason
	err      error // of the store: no answer, the sender is to come again
}

func wrong(location, code string, why reason.Code, args ...string) *problem {
	return &problem{location: location, code: code, why: reason.New(why, args...)}
}

// failed is an error of the store as a problem; nil where it is none.
func failed(err error) *problem {
	if err == nil {
		return nil
	}
	return &problem{err: err}
}

// A group is a patient in a message: PID with what follows it.
type group struct {
	pid      hl7.Segment
	mrg, pv1 *hl7.Segment
	person   record.Person
	index    int // of the PID, from 1
}

// A decision is one message on its way into the store.
type decision struct {
	*view
	event  string
	visit_ VisitState
	link   string
	rules  lis.AuthorityRules
	ctl    string
	at     time.Time // of receipt
	told   time.Time // EVN-2, else MSH-7, at most at
	log    map[uint64][]Change
}

// Takes is intake.Application: ADT messages whose event changes patients.
func (s *Store) Takes(m *hl7.Message) bool {
	code, name, _ := m.Type()
	_, ok := events[name]
	return code == "ADT" && ok
}

// Decide is intake.Application.
func (s *Store) Decide(_ context.Context, r intake.Incoming, b *storage.Batch) (intake.Decision, error) {
	if s.Passes != nil && s.Passes(r.Link) {
		return intake.Decision{Verdict: ack.Verdict{Code: hl7.ApplicationAccept}}, nil
	}
	s.mu.Lock()
	d := s.decision(r)
	p := d.message(r.Message)
	if p == nil {
		p = failed(d.write(b))
	}
	if p != nil {
		s.mu.Unlock()
		return refusal(p, r.Message), p.err
	}
	f := d.follow()
	end, err := d.repatient(b, f)
	if err == nil && f.more {
		f.key = pendingKey(r)
		b.Put(f.key, encode(f))
	}
	if err != nil {
		s.mu.Unlock()
		return intake.Decision{}, err
	}
	var consumed string
	if s.Ends != nil && s.Ends(r.Link) {
		consumed = Consumed
	}
	return intake.Decision{
		Verdict: ack.Verdict{Code: hl7.ApplicationAccept}, Consumed: consumed,
		End: func(_ storage.Receipt, err error) {
			defer s.mu.Unlock()
			if end(err); err == nil && f.more {
				s.settle(f)
			}
		},
	}, nil
}

// refusal is AE, and the message is held.
func refusal(p *problem, m *hl7.Message) intake.Decision {
	if p.err != nil {
		return intake.Decision{}
	}
	code, name, _ := m.Type()
	return intake.Decision{
		Verdict: ack.Verdict{Code: hl7.ApplicationError, Errors: []hl7.Error{{
			Location: p.location, Code: p.code, Severity: hl7.SeverityError, Text: p.why.String(),
		}}},
		Held: p.why, Subject: code + "^" + name,
	}
}

func (s *Store) decision(r intake.Incoming) *decision {
	_, name, _ := r.Message.Type()
	rules := lis.AuthorityRules{Link: r.Link}
	if s.Rules != nil {
		rules = s.Rules(r.Link)
	}
	zone := time.UTC
	if s.Zone != nil {
		zone = s.Zone(r.Link)
	}
	return &decision{
		view: s.view(), event: name, visit_: events[name].visit, link: r.Link, rules: rules, ctl: r.Message.ControlID(),
		at: r.At, told: toldAt(r.Message, zone, r.At), log: map[uint64][]Change{},
	}
}

// toldAt is when an event was recorded: EVN-2, else MSH-7. What is later than the
// receipt, or says no time of day, counts as the receipt.
func toldAt(m *hl7.Message, zone *time.Location, received time.Time) time.Time {
	for _, path := range []string{"EVN-2.1", "MSH-7.1"} {
		if t, ok := hl7.ParseTime(m.Get(path), zone); ok {
			if t.After(received) {
				break
			}
			return t.UTC()
		}
	}
	return received
}

// message decides on every patient of a message: all, or none.
func (d *decision) message(m *hl7.Message) *problem {
	groups, p := d.groups(m)
	if p != nil {
		return p
	}
	if d.event == "A24" || d.event == "A37" {
		return d.pairs(groups)
	}
	for _, g := range groups {
		if p := events[d.event].do(d, g); p != nil {
			return p
		}
	}
	return nil
}

// groups are the patients of a message.
func (d *decision) groups(m *hl7.Message) ([]group, *problem) {
	var all []group
	for _, s := range m.Segments("PID", "MRG", "PV1") {
		if s.Name == "PID" {
			all = append(all, group{pid: s, person: lis.ReadPerson(m, s, d.rules), index: len(all) + 1})
			d.meet(all[len(all)-1].person.Identifiers)
			continue
		}
		if len(all) == 0 {
			continue
		}
		g := &all[len(all)-1]
		switch {
		case s.Name == "MRG" && g.mrg == nil:
			g.mrg = &s
			for _, field := range []int{1, 2, 4} {
				d.meet(lis.ReadIdentifiers(s, field, d.rules))
			}
		case s.Name == "PV1" && g.pv1 == nil:
			g.pv1 = &s
		}
	}
	if len(all) == 0 && events[d.event].optional {
		return nil, nil
	}
	if len(all) == 0 {
		return nil, wrong("PID", hl7.ErrorSegmentSequence, reason.PatientNone)
	}
	if len(all) > mostGroups {
		return nil, wrong("PID", hl7.ErrorOther, reason.PatientTooMany, strconv.Itoa(len(all)), strconv.Itoa(mostGroups))
	}
	for _, g := range all {
		if n := g.pid.Repetitions(3); n > mostNumbers {
			return nil, wrong(g.at("PID-3"), hl7.ErrorOther, reason.PatientTooMany, strconv.Itoa(n), strconv.Itoa(mostNumbers))
		}
	}
	return all, nil
}

// at is a path of a segment of the group, for ERR-2.
func (g group) at(path string) string {
	if g.index == 1 {
		return path
	}
	return path[:3] + "[" + strconv.Itoa(g.index) + "]" + path[3:]
}

// write adds what was decided to a batch.
func (d *decision) write(b *storage.Batch) error {
	for id, changes := range d.log {
		r, err := d.record(id)
		if err != nil {
			return err
		}
		for _, c := range changes {
			r.Changes++
			d.keys[historyKey(id, r.Changes)] = encode(c)
		}
		d.dirty[id] = true
	}
	for id := range d.dirty {
		d.keys[recordKey(id)] = encode(d.records[id])
	}
	if d.created > 0 {
		d.keys[nextKey] = []byte(strconv.FormatUint(d.next, 10))
		b.Add(Count, d.created)
	}
	for _, k := range slices.Sorted(maps.Keys(d.keys)) {
		b.Put(k, d.keys[k])
	}
	return nil
}

// same reports whether two persons are the same in everything.
func same(a, b record.Person) bool {
	return a.Name == b.Name && a.Birth == b.Birth && a.Sex == b.Sex && a.Visit == b.Visit && slices.Equal(a.Identifiers, b.Identifiers)
}

// note adds a line to the history of a record.
func (d *decision) note(id uint64, what string, other uint64, before, after *record.Person) {
	d.log[id] = append(d.log[id], Change{
		Version: version, At: d.at, Told: d.told, Link: d.link, Control: d.ctl, Event: d.event, What: what, Other: other, Before: before, After: after,
	})
}

// errIDs says that the stored counter of records cannot be read.
var errIDs = errors.New("patients: the stored number of the next record cannot be read")

// create makes a record.
func (d *decision) create() (*rec, error) {
	if d.next == 0 {
		d.next = 1
		b, ok, err := d.s.Store.Get(nextKey)
		if err != nil {
			return nil, err
		}
		if ok {
			if d.next, err = strconv.ParseUint(string(b), 10, 64); err != nil || d.next == 0 {
				return nil, errIDs
			}
		}
	}
	r := &rec{Version: version, ID: d.next}
	d.next++
	d.created++
	d.records[r.ID] = r
	d.dirty[r.ID] = true
	return r, nil
}

// lead lets a patient number lead to a record.
func (d *decision) leadTo(i record.Identifier, id uint64) {
	key := numberKey(i)
	d.numbers[key] = id
	d.keys[key] = encode(lead{version, []uint64{id}})
}
