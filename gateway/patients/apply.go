package patients

import (
	"slices"
	"strconv"

	"nhip/gateway/lis"
	"nhip/gateway/reason"
	"nhip/gateway/record"
	"nhip/hl7"
)

// tell is an event that tells of one patient: admission, registration, update.
func (d *decision) tell(g group) *problem {
	_, p := d.known(g)
	return p
}

// known is the record of the patient in PID, made or changed by what the message says
// of it.
func (d *decision) known(g group) (*rec, *problem) {
	r, fresh, p := d.find(g)
	if p != nil {
		return nil, p
	}
	before := clone(r.Person)
	late := d.told.Before(r.Told)
	inForce := fresh || d.names(g, r)
	if err := d.identifiers(r, g.person.Identifiers, late || !inForce); err != nil {
		return nil, failed(err)
	}
	if inForce && !late {
		update(&r.Person, g)
		r.Told = d.told
		d.dirty[r.ID] = true
	}
	if err := d.stay(r, g); err != nil {
		return nil, failed(err)
	}
	if after := clone(r.Person); fresh {
		d.note(r.ID, "created", 0, nil, &after)
		d.touched[r.ID] = true
	} else if !same(before, after) {
		d.note(r.ID, "told", 0, &before, &after)
		d.touched[r.ID] = true
	}
	return r, nil
}

// find is the record that PID leads to, or a new one.
func (d *decision) find(g group) (r *rec, fresh bool, p *problem) {
	some := numbers(g.person.Identifiers, patientNumber)
	records, survivors, err := d.found(some)
	if err == nil && len(some) == 0 {
		others := numbers(g.person.Identifiers, otherNumber)
		if len(others) == 0 {
			return nil, false, wrong(g.at("PID-3"), hl7.ErrorRequiredField, reason.PatientNoNumber)
		}
		if records, survivors, err = d.foundByOthers(others); err == nil && len(survivors) > 1 {
			return nil, false, wrong(g.at("PID-3"), hl7.ErrorOther, reason.PatientAmbiguous)
		}
	}
	switch {
	case err != nil:
		return nil, false, failed(err)
	case len(survivors) > 1:
		return nil, false, wrong(g.at("PID-3"), hl7.ErrorOther, reason.PatientTwo, "PID-3")
	case len(survivors) == 0:
		r, err = d.create()
		return r, true, failed(err)
	case slices.Contains(records, survivors[0]):
		r, err = d.record(survivors[0])
	default:
		r, err = d.record(records[0])
	}
	return r, false, failed(err)
}

// names reports whether the message names a record by a number in force.
func (d *decision) names(g group, r *rec) bool {
	some := numbers(g.person.Identifiers, patientNumber)
	if len(some) == 0 {
		some = g.person.Identifiers
	}
	return slices.ContainsFunc(some, r.Person.Has)
}

// identifiers adds the identifiers of a message to a record. late: the message adds
// numbers and replaces none.
func (d *decision) identifiers(r *rec, told []record.Identifier, late bool) error {
	for _, i := range told {
		switch kindOf(i) {
		case patientNumber:
			to, err := d.number(i)
			if err != nil {
				return err
			}
			if to != 0 {
				continue // it leads here, or to one who was merged into this patient
			}
			d.leadTo(i, r.ID)
			r.Person.Identifiers = append(r.Person.Identifiers, i)
			d.dirty[r.ID] = true
		case otherNumber:
			if err := d.otherNumber(r, i, told, late); err != nil {
				return err
			}
		}
	}
	return nil
}

// otherNumber gives a record a citizen number, insurance card or the like. Those of
// the same authority and type that the message does not say any more go.
func (d *decision) otherNumber(r *rec, i record.Identifier, told []record.Identifier, late bool) error {
	if r.Person.Has(i) {
		return nil
	}
	has := func(x record.Identifier) bool {
		return kindOf(x) == otherNumber && x.Authority == i.Authority && x.Type == i.Type && !slices.ContainsFunc(told, x.Same)
	}
	if late && slices.ContainsFunc(r.Person.Identifiers, has) {
		return nil
	}
	for _, x := range r.Person.Identifiers {
		if !has(x) {
			continue
		}
		ids, err := d.other(x)
		if err != nil {
			return err
		}
		d.others[otherKey(x)] = slices.DeleteFunc(slices.Clone(ids), func(id uint64) bool { return id == r.ID })
		d.keys[otherKey(x)] = encode(lead{version, d.others[otherKey(x)]})
	}
	r.Person.Identifiers = append(slices.DeleteFunc(slices.Clone(r.Person.Identifiers), has), i)
	d.dirty[r.ID] = true
	ids, err := d.other(i)
	if err != nil {
		return err
	}
	if len(ids) >= mostStands {
		return nil // it finds nobody
	}
	d.others[otherKey(i)] = append(slices.Clone(ids), r.ID)
	d.keys[otherKey(i)] = encode(lead{version, d.others[otherKey(i)]})
	return nil
}

// mostStands is for how many patients one insurance card or citizen number is
// remembered: two are enough for it to find none of them.
const mostStands = 20

// update takes name, birth date and sex: what is empty changes nothing, null removes.
func update(p *record.Person, g group) {
	set := func(to *string, path, value string) {
		if value != "" || isNull(g.pid, path) {
			*to = value
		}
	}
	if !g.person.Name.Empty() || isNull(g.pid, "5") {
		p.Name = g.person.Name
	}
	set(&p.Birth, "7", g.person.Birth)
	set(&p.Sex, "8", g.person.Sex)
}

func isNull(s hl7.Segment, path string) bool {
	return s.Get(path) == hl7.Null || s.Get(path+".1") == hl7.Null
}

// stay takes the visit that PV1 tells of.
func (d *decision) stay(r *rec, g group) error {
	id := g.person.Visit
	if id.Value == "" {
		return nil
	}
	at, err := d.visit(id)
	if err != nil {
		return err
	}
	of, err := d.holder(r, id, at)
	if err != nil || of == nil {
		return err
	}
	n := slices.IndexFunc(of.Visits, func(v Visit) bool { return v.ID.Same(id) })
	if n < 0 {
		of.Visits = append(of.Visits, Visit{ID: id})
		n = len(of.Visits) - 1
	}
	v := &of.Visits[n]
	if d.told.Before(v.At) {
		return nil
	}
	v.At = d.told
	if d.visit_ != "" {
		v.State = d.visit_
	}
	if g.pv1 != nil {
		take(&v.Class, *g.pv1, "2")
		take(&v.Location, *g.pv1, "3")
	}
	if len(of.Visits) > mostVisits {
		of.Visits = slices.Delete(of.Visits, 0, len(of.Visits)-mostVisits)
	}
	d.dirty[of.ID] = true
	return nil
}

// holder is the record that has a visit of which the message tells: that of the
// patient, or the one that it was merged from or into. A visit that was another
// patient's is this one's from now on; nil where the message is older than what was
// told of it.
func (d *decision) holder(r *rec, id record.Identifier, at visitAt) (*rec, error) {
	if at.Of == 0 {
		d.visitOf(id, visitAt{Version: version, Of: r.ID})
		return r, nil
	}
	of, err := d.record(at.Of)
	if err != nil {
		return nil, err
	}
	mine, err := d.survivor(r.ID)
	if err != nil {
		return nil, err
	}
	his, err := d.survivor(of.ID)
	if err != nil || mine.ID == his.ID {
		return of, err
	}
	n := slices.IndexFunc(of.Visits, func(v Visit) bool { return v.ID.Same(id) })
	if n >= 0 {
		if d.told.Before(of.Visits[n].At) {
			return nil, nil
		}
		of.Visits = slices.Delete(of.Visits, n, n+1)
		d.dirty[of.ID] = true
	}
	d.visitOf(id, visitAt{Version: version, Of: r.ID})
	return r, nil
}

// take takes a field that is said; null empties it.
func take(to *string, s hl7.Segment, path string) {
	if v := s.Get(path); v != "" {
		*to = v
		if v == hl7.Null {
			*to = ""
		}
	}
}

func (d *decision) visitOf(id record.Identifier, at visitAt) {
	d.visits[visitKey(id)] = at
	d.keys[visitKey(id)] = encode(at)
}

// prior is what MRG says the patient was: MRG-1, or where that is empty the field for
// the identifier that had one of its own before 2.7.
func (d *decision) prior(g group) ([]record.Identifier, string, *problem) {
	if g.mrg == nil {
		return nil, "", wrong(g.at("MRG"), hl7.ErrorSegmentSequence, reason.PatientNoPrior, "MRG")
	}
	for _, field := range []int{1, 4, 2} {
		all := numbers(lis.ReadIdentifiers(*g.mrg, field, d.rules), patientNumber)
		if len(all) > 0 {
			return all, g.at([]string{1: "MRG-1", 2: "MRG-2", 4: "MRG-4"}[field]), nil
		}
	}
	return nil, "", wrong(g.at("MRG-1"), hl7.ErrorRequiredField, reason.PatientNoPrior, "MRG-1")
}

// target are the patient numbers that PID names. Some senders list what it was
// before there too: MRG says which that is.
func (d *decision) target(g *group, prior []record.Identifier, where string) ([]record.Identifier, *problem) {
	had := len(numbers(g.person.Identifiers, patientNumber))
	g.person.Identifiers = slices.DeleteFunc(slices.Clone(g.person.Identifiers), func(i record.Identifier) bool { return slices.ContainsFunc(prior, i.Same) })
	some := numbers(g.person.Identifiers, patientNumber)
	switch {
	case had == 0:
		return nil, wrong(g.at("PID-3"), hl7.ErrorRequiredField, reason.PatientNoNumber)
	case len(some) == 0:
		return nil, wrong(where, hl7.ErrorOther, reason.PatientItself, where)
	}
	return some, nil
}

// sameAuthority reports whether two lists have numbers of one authority, and of one type
// where both say one.
func sameAuthority(a, b []record.Identifier) bool {
	return slices.ContainsFunc(a, func(x record.Identifier) bool {
		return slices.ContainsFunc(b, func(y record.Identifier) bool {
			return x.Authority == y.Authority && (x.Type == y.Type || x.Type == "" || y.Type == "")
		})
	})
}

// both are the records of MRG and PID of a message that says that the one is the other,
// or that a number of the one is the other's. where is the field of MRG that counts.
func (d *decision) both(g group) (from, into *rec, prior []record.Identifier, where string, p *problem) {
	if prior, where, p = d.prior(g); p != nil {
		return nil, nil, nil, "", p
	}
	target, p := d.target(&g, prior, where)
	if p != nil {
		return nil, nil, nil, "", p
	}
	if !sameAuthority(prior, target) {
		return nil, nil, nil, "", wrong(where, hl7.ErrorOther, reason.PatientAuthority, where)
	}
	if into, p = d.known(g); p == nil {
		from, p = d.priorRecord(g, prior, where)
	}
	return from, into, prior, where, p
}

// merge is MRG-1 into PID-3.
func (d *decision) merge(g group) *problem {
	from, into, _, where, p := d.both(g)
	if p != nil {
		return p
	}
	return d.mergeRecords(from, into, where)
}

// priorRecord is the record that MRG names, or a new one.
func (d *decision) priorRecord(g group, prior []record.Identifier, where string) (*rec, *problem) {
	records, _, err := d.found(prior)
	switch {
	case err != nil:
		return nil, failed(err)
	case len(records) > 1:
		return nil, wrong(where, hl7.ErrorOther, reason.PatientTwo, where)
	case len(records) == 1:
		r, err := d.record(records[0])
		if err == nil {
			err = d.identifiers(r, prior, true)
		}
		return r, failed(err)
	}
	r, err := d.create()
	if err != nil {
		return nil, failed(err)
	}
	if err := d.identifiers(r, prior, true); err != nil {
		return nil, failed(err)
	}
	r.Person.Name = lis.ReadName(*g.mrg, 7)
	after := clone(r.Person)
	d.note(r.ID, "created", 0, nil, &after)
	return r, nil
}

// arrow says whether one record may lead to another: above is the chain that the
// other begins; again means that it does already.
func (d *decision) arrow(from, into *rec, where string) (above []uint64, again bool, p *problem) {
	above, err := d.chain(into.ID)
	if err != nil {
		return nil, false, failed(err)
	}
	below, err := d.chain(from.ID)
	switch {
	case err != nil:
		return nil, false, failed(err)
	case slices.Contains(above, from.ID):
		return nil, false, wrong(where, hl7.ErrorOther, reason.PatientCircle, where)
	case slices.Contains(below, into.ID):
		return nil, true, nil // perhaps over others
	case from.Into != 0:
		return nil, false, wrong(where, hl7.ErrorOther, reason.PatientMerged, where)
	case from.Depth+1+len(above) > maxChain:
		return nil, false, wrong(where, hl7.ErrorOther, reason.PatientTooMany, strconv.Itoa(from.Depth+1+len(above)), strconv.Itoa(maxChain))
	}
	return above, false, nil
}

// point lets one record lead to another, which begins the chain above.
func (d *decision) point(from *rec, above []uint64) {
	from.Into = above[0]
	d.dirty[from.ID] = true
	d.touched[above[0]] = true
	for i, id := range above {
		if r := d.records[id]; r.Depth < from.Depth+1+i {
			r.Depth = from.Depth + 1 + i
			d.dirty[id] = true
		}
	}
}

// mergeRecords merges one record into another.
func (d *decision) mergeRecords(from, into *rec, where string) *problem {
	if from.ID == into.ID {
		return wrong(where, hl7.ErrorOther, reason.PatientItself, where)
	}
	above, again, p := d.arrow(from, into, where)
	if p != nil || again {
		return p
	}
	if slices.ContainsFunc(into.Parted, func(x parted) bool { return x.From == from.ID && d.told.Before(x.At) }) {
		d.note(into.ID, "older than the unmerge", from.ID, nil, nil)
		return nil
	}
	d.point(from, above)
	d.note(from.ID, "merged into", into.ID, nil, nil)
	d.note(into.ID, "merged from", from.ID, nil, nil)
	return nil
}

// mergeWithVisit is a merge in which an account or visit gets another number too.
func (d *decision) mergeWithVisit(g group) *problem {
	if p := d.merge(g); p != nil {
		return p
	}
	if old, _ := priorVisit(g, d.rules); old.Value == "" {
		return nil
	}
	return d.changeVisit(g)
}

// changeNumber is another number for the same patient.
func (d *decision) changeNumber(g group) *problem {
	prior, where, p := d.prior(g)
	if p != nil {
		return p
	}
	target, p := d.target(&g, prior, where)
	if p != nil {
		return p
	}
	r, p := d.priorRecord(g, prior, where)
	if p != nil {
		return p
	}
	for _, i := range target {
		switch to, err := d.number(i); {
		case err != nil:
			return failed(err)
		case to != 0 && to != r.ID:
			return wrong(g.at("PID-3"), hl7.ErrorOther, reason.PatientTaken)
		}
	}
	before := clone(r.Person)
	r.Person.Identifiers = slices.DeleteFunc(slices.Clone(r.Person.Identifiers), func(i record.Identifier) bool { return slices.ContainsFunc(prior, i.Same) })
	var added []record.Identifier
	for _, i := range target {
		if !r.Person.Has(i) {
			d.leadTo(i, r.ID)
			added = append(added, i)
		}
	}
	r.Person.Identifiers = append(added, r.Person.Identifiers...)
	d.dirty[r.ID] = true
	d.touched[r.ID] = true
	if after := clone(r.Person); !same(before, after) {
		d.note(r.ID, "number changed", 0, &before, &after)
	}
	_, p = d.known(g)
	return p
}

// moveNumber gives the number in MRG, and what is under it, to the patient of PID.
func (d *decision) moveNumber(g group) *problem {
	from, into, prior, where, p := d.both(g)
	if p != nil || from.ID == into.ID {
		return p // nil: once more
	}
	above, again, p := d.arrow(from, into, where)
	if p != nil || again {
		return p
	}
	before := clone(from.Person)
	for _, i := range prior {
		d.leadTo(i, into.ID)
	}
	from.Person.Identifiers = slices.DeleteFunc(slices.Clone(from.Person.Identifiers), func(i record.Identifier) bool { return slices.ContainsFunc(prior, i.Same) })
	if len(numbers(from.Person.Identifiers, patientNumber)) == 0 { // nothing names it any more
		d.moveVisits(from, into)
		d.point(from, above)
	}
	d.dirty[from.ID] = true
	d.touched[from.ID], d.touched[into.ID] = true, true
	after := clone(from.Person)
	d.note(from.ID, "number moved to", into.ID, &before, &after)
	d.note(into.ID, "number moved from", from.ID, nil, nil)
	return nil
}

// moveVisits moves all visits of a record.
func (d *decision) moveVisits(from, into *rec) {
	for _, v := range from.Visits {
		d.visitOf(v.ID, visitAt{Version: version, Of: into.ID})
	}
	into.Visits = append(into.Visits, from.Visits...)
	if n := len(into.Visits) - mostVisits; n > 0 {
		into.Visits = slices.Delete(into.Visits, 0, n)
	}
	from.Visits = nil
	d.dirty[into.ID] = true
}

// priorVisit is the visit or account that MRG names, and which field it is in.
func priorVisit(g group, rules lis.AuthorityRules) (record.Identifier, string) {
	if g.mrg == nil {
		return record.Identifier{}, "MRG"
	}
	for _, field := range []string{"5", "3", "6"} {
		if id, ok := lis.ReadIdentifier(*g.mrg, field, rules); ok {
			return id, "MRG-" + field
		}
	}
	return record.Identifier{}, "MRG-5"
}

// changeVisit is another number for a visit or account.
func (d *decision) changeVisit(g group) *problem {
	old, where := priorVisit(g, d.rules)
	r, p := d.known(g)
	if p != nil {
		return p
	}
	now := g.person.Visit
	if old.Value == "" {
		return wrong(g.at(where), hl7.ErrorRequiredField, reason.PatientNoPrior, where)
	}
	if where == "MRG-3" { // of an account: PID-18, whatever PV1 says
		now, _ = lis.ReadIdentifier(g.pid, "18", d.rules)
	}
	if now.Value == "" || now.Same(old) {
		return nil // no other number is said
	}
	at, err := d.visit(old)
	if err != nil {
		return failed(err)
	}
	of := r
	if at.Of != 0 {
		if of, err = d.record(at.Of); err != nil {
			return failed(err)
		}
	}
	return failed(d.renameVisit(of, old, now, at))
}

// renameVisit lets a visit of a record have another number; the old one leads to it
// still.
func (d *decision) renameVisit(of *rec, old, now record.Identifier, at visitAt) error {
	is, err := d.visit(now)
	if err != nil {
		return err
	}
	if is.Of == 0 {
		d.visitOf(now, visitAt{Version: version, Of: of.ID, From: at.From})
	}
	d.visitOf(old, visitAt{Version: version, Of: of.ID, From: at.From, Now: now})
	had := slices.IndexFunc(of.Visits, func(v Visit) bool { return v.ID.Same(old) })
	if had >= 0 {
		if slices.ContainsFunc(of.Visits, func(v Visit) bool { return v.ID.Same(now) }) {
			of.Visits = slices.Delete(of.Visits, had, had+1)
		} else {
			of.Visits[had].ID = now
		}
	}
	d.dirty[of.ID] = true
	d.touched[of.ID] = true
	d.note(of.ID, "visit has another number", 0, nil, nil)
	return nil
}

// moveVisit gives a visit or account to the patient of PID.
func (d *decision) moveVisit(g group) *problem {
	id, where := priorVisit(g, d.rules)
	if id.Value == "" {
		return wrong(g.at(where), hl7.ErrorRequiredField, reason.PatientNoPrior, where)
	}
	g.person.Visit = record.Identifier{} // its own is told of when it has moved
	into, p := d.known(g)
	if p != nil {
		return p
	}
	at, err := d.visit(id)
	if err != nil {
		return failed(err)
	}
	from := at.Of
	if from == 0 && len(numbers(lis.ReadIdentifiers(*g.mrg, 1, d.rules), patientNumber)) > 0 {
		prior, _, p := d.prior(g)
		if p != nil {
			return p
		}
		r, p := d.priorRecord(g, prior, g.at("MRG-1"))
		if p != nil {
			return p
		}
		from = r.ID
	}
	if from == into.ID {
		return nil // once more
	}
	d.visitOf(id, visitAt{Version: version, Of: into.ID, From: from})
	return failed(d.carry(id, from, into))
}

// carry moves what is known of one visit.
func (d *decision) carry(id record.Identifier, from uint64, into *rec) error {
	moved := Visit{ID: id, At: d.told}
	if from != 0 {
		r, err := d.record(from)
		if err != nil {
			return err
		}
		if n := slices.IndexFunc(r.Visits, func(v Visit) bool { return v.ID.Same(id) }); n >= 0 {
			moved = r.Visits[n]
			r.Visits = slices.Delete(r.Visits, n, n+1)
			d.dirty[from] = true
		}
		d.note(from, "visit moved to", into.ID, nil, nil)
	}
	into.Visits = append(into.Visits, moved)
	d.dirty[into.ID] = true
	d.touched[into.ID] = true
	d.note(into.ID, "visit moved from", from, nil, nil)
	return nil
}

// pairs is A24 and A37: of two patients each.
func (d *decision) pairs(groups []group) *problem {
	if len(groups)%2 != 0 {
		return wrong("PID", hl7.ErrorSegmentSequence, reason.PatientNoPair)
	}
	for i := 0; i < len(groups); i += 2 {
		a, b := groups[i], groups[i+1]
		var p *problem
		if d.event == "A24" {
			p = d.linkPair(a, b)
		} else {
			p = d.unlinkPair(a, b)
		}
		if p != nil {
			return p
		}
	}
	return nil
}

func (d *decision) linkPair(g, h group) *problem {
	a, p := d.known(g)
	if p != nil {
		return p
	}
	b, p := d.known(h)
	if p != nil {
		return p
	}
	if a.ID == b.ID {
		return wrong(h.at("PID-3"), hl7.ErrorOther, reason.PatientItself, h.at("PID-3"))
	}
	for _, x := range [][2]*rec{{a, b}, {b, a}} {
		if !slices.Contains(x[0].Linked, x[1].ID) {
			x[0].Linked = append(x[0].Linked, x[1].ID)
			d.dirty[x[0].ID] = true
			d.note(x[0].ID, "linked with", x[1].ID, nil, nil)
		}
	}
	return nil
}

// unlinkPair ends a link, or a merge.
func (d *decision) unlinkPair(g, h group) *problem {
	a, p := d.named(g)
	if p != nil {
		return p
	}
	b, p := d.named(h)
	if p != nil {
		return p
	}
	for _, x := range [][2]*rec{{a, b}, {b, a}} {
		above, err := d.chain(x[0].ID)
		if err != nil {
			return failed(err)
		}
		switch {
		case x[0].ID == x[1].ID || !slices.Contains(above, x[1].ID):
		case len(numbers(x[0].Person.Identifiers, patientNumber)) == 0: // it has moved, and was not merged
			return wrong(h.at("PID-3"), hl7.ErrorOther, reason.PatientNotLinked)
		default:
			return d.unmerge(x[0], x[1])
		}
	}
	if !slices.Contains(a.Linked, b.ID) {
		return wrong(h.at("PID-3"), hl7.ErrorOther, reason.PatientNotLinked)
	}
	for _, x := range [][2]*rec{{a, b}, {b, a}} {
		x[0].Linked = slices.DeleteFunc(x[0].Linked, func(id uint64) bool { return id == x[1].ID })
		d.dirty[x[0].ID] = true
		d.note(x[0].ID, "no longer linked with", x[1].ID, nil, nil)
	}
	return nil
}

// named is the record that PID names, whatever it was merged into.
func (d *decision) named(g group) (*rec, *problem) {
	records, _, err := d.found(numbers(g.person.Identifiers, patientNumber))
	switch {
	case err != nil:
		return nil, failed(err)
	case len(records) == 0:
		return nil, wrong(g.at("PID-3"), hl7.ErrorOther, reason.PatientUnknown)
	case len(records) > 1:
		return nil, wrong(g.at("PID-3"), hl7.ErrorOther, reason.PatientTwo, g.at("PID-3"))
	}
	r, err := d.record(records[0])
	return r, failed(err)
}

// unmerge takes a record out of the chain of merges that leads to another one.
func (d *decision) unmerge(from, into *rec) *problem {
	was, err := d.record(from.Into)
	if err != nil {
		return failed(err)
	}
	from.Into = 0
	was.Parted = append(slices.DeleteFunc(was.Parted, func(x parted) bool { return x.From == from.ID }), parted{from.ID, d.told})
	if len(was.Parted) > mostParted {
		was.Parted = slices.Delete(was.Parted, 0, len(was.Parted)-mostParted)
	}
	for _, id := range []uint64{from.ID, was.ID} {
		d.dirty[id] = true
		d.touched[id] = true
	}
	d.note(from.ID, "unmerged from", into.ID, nil, nil)
	d.note(into.ID, "unmerged", from.ID, nil, nil)
	return nil
}

// mostParted is how many undone merges a record remembers, the newest.
const mostParted = 50

func clone(p record.Person) record.Person {
	p.Identifiers = slices.Clone(p.Identifiers)
	return p
}
