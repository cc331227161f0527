// Package lab joins analysers to the laboratory's orders. It answers what an analyser
// asks (host query), from the newest, uncancelled version of each order, and finds for
// what an analyser reports the orders that it answers.
//
// A specimen identifier may be a running number that comes again tomorrow. So an order
// is found by the identifier, a window of days around the specimen and the sections of
// the laboratory that the analyser works for; a service that has its result is not
// handed out again; and where two patients could be meant nothing is guessed: the query
// is answered as of an unknown specimen, the result is held with the reason.
package lab

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"nhip/gateway/lis"
	"nhip/gateway/orders"
	"nhip/gateway/reason"
	"nhip/gateway/record"
)

// Policies of an analyser about orders.
const (
	None     = "none"     // results go on without looking at orders
	Warn     = "warn"     // a result without an order goes on, marked
	Required = "required" // a result without an order is held
)

// A Codes says which tests of an analyser do a service that was ordered.
type Codes interface {
	// Tests are the analyser's codes to run for a service; none: it is not for this
	// analyser.
	Tests(service record.Service, at time.Time) []string
	// Answers reports whether a result with this code belongs to the service.
	Answers(code string, service record.Service, at time.Time) bool
}

// An Analyser is one of the site's, as orders see it.
type Analyser struct {
	Name     string
	Policy   string
	Window   time.Duration // around the time of the specimen; 0: any
	Sections []string      // OBR-24 that it works for; empty: any
	Codes    Codes
	// Specimens is how the identifiers of specimens are made.
	Specimens Specimens
	Zone      *time.Location // of the days of running numbers; nil: UTC
}

// A Desk is where analysers get their work, and results find their orders.
type Desk struct {
	Orders *orders.Store
	// Analysers are those of the site.
	Analysers []Analyser
	// Merged gives who a patient number that an analyser says stands for now; see
	// interpret.Knowledge. It may be nil.
	Merged func(connection, number string) (record.Person, bool)
	// FirstAsks: a service that one analyser has asked for and got is for no other. Else
	// the first that reports it has done it.
	FirstAsks bool
	Log       *slog.Logger
	Now       func() time.Time // nil: time.Now

	pushers []*Pusher
}

// claimed reports whether a service is another device's, because that has asked for it.
func (d *Desk) claimed(e orders.Entry, service int, device string) bool {
	return d.FirstAsks && slices.ContainsFunc(e.Given, func(g orders.Given) bool {
		return g.Service == service && g.Device != device && g.Asked && g.Has()
	})
}

func (d *Desk) now() time.Time {
	if d.Now != nil {
		return d.Now()
	}
	return time.Now()
}

func (a Analyser) day(t time.Time) string {
	if a.Zone != nil {
		t = t.In(a.Zone)
	}
	return t.Format(time.DateOnly)
}

// A patient is the open services of a specimen that are of one patient.
type patient struct {
	person  record.Person
	matches []orders.Match
}

// patients sorts the open services of a specimen by whom they are for.
func patients(all []orders.Match) (found []patient) {
	for _, m := range all {
		i := slices.IndexFunc(found, func(p patient) bool { return same(p.person, m.Entry.Order.Patient) })
		if i < 0 {
			found = append(found, patient{person: m.Entry.Order.Patient})
			i = len(found) - 1
		}
		found[i].matches = append(found[i].matches, m)
	}
	return found
}

// same reports whether two orders are for one patient: an identifier in common, or
// where neither has one, the same name and birth.
func same(a, b record.Person) bool {
	if len(a.Identifiers) == 0 && len(b.Identifiers) == 0 {
		return a.Name == b.Name && a.Birth == b.Birth
	}
	return slices.ContainsFunc(a.Identifiers, b.Has)
}

// pending are the services that have no result yet.
func (p patient) pending() (all []orders.Match) {
	for _, m := range p.matches {
		if m.Service.Progress != record.Resulted {
			all = append(all, m)
		}
	}
	return all
}

// specimen looks up the open services of a specimen around a time.
func (d *Desk) specimen(a Analyser, id string, at time.Time) ([]patient, error) {
	id, wrong := a.Specimens.of(id)
	if id == "" || wrong != "" {
		return nil, nil
	}
	all, err := d.Orders.Specimen(orders.SpecimenQuery{Specimen: id, At: at, Window: a.Window, Sections: a.Sections})
	if err != nil {
		return nil, err
	}
	return patients(all), nil
}

// For gives an analyser its work: it is session.Orders.
func (d *Desk) For(a Analyser) *Work { return &Work{d, a} }

// A Work is what one analyser is given to do.
type Work struct {
	desk     *Desk
	analyser Analyser
}

// Work answers a query: one record.Work for each specimen and order that has something
// for this analyser to do. Nothing for a specimen: it has no order, or more patients
// than one could be meant.
func (w *Work) Work(ctx context.Context, q record.Query) ([]record.Work, error) {
	pinned := *w
	pinned.analyser = w.analyser.Pinned()
	w = &pinned
	specimens := q.Specimens
	if q.All {
		var err error
		if specimens, err = w.untaken(ctx); err != nil {
			return nil, err
		}
		w.analyser.Specimens = Specimens{}
	}
	var all []record.Work
	for _, id := range specimens {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		now := w.desk.now()
		found, err := w.desk.specimen(w.analyser, id, now)
		if err != nil {
			return nil, err
		}
		found = slices.DeleteFunc(found, func(p patient) bool { return len(w.mine(p, q.Tests, now)) == 0 })
		if len(found) > 1 {
			w.desk.Log.Error("query answered as of an unknown specimen: orders of several patients have its identifier", "analyser", w.analyser.Name, "patients", len(found))
			continue
		}
		for _, p := range found {
			all = append(all, w.work(id, w.mine(p, q.Tests, now), q.Tests, now))
		}
	}
	for _, x := range all {
		w.mark(x, record.Queried)
	}
	return all, nil
}

// mine are the pending services that this analyser can do, of those that it asks for.
func (w *Work) mine(p patient, asked []string, now time.Time) (all []orders.Match) {
	for _, m := range p.pending() {
		if len(w.tests(m.Service, asked, now)) > 0 && !w.desk.claimed(m.Entry, m.Service.ID, w.analyser.Name) {
			all = append(all, m)
		}
	}
	return all
}

func (w *Work) tests(s record.Service, asked []string, now time.Time) []string {
	tests := w.analyser.Codes.Tests(s, now)
	if len(asked) == 0 {
		return tests
	}
	return slices.DeleteFunc(slices.Clone(tests), func(t string) bool { return !slices.Contains(asked, t) })
}

// work puts the services of one specimen together.
func (w *Work) work(id string, matches []orders.Match, asked []string, now time.Time) record.Work {
	x := record.Work{Specimen: strings.TrimSpace(id), Priority: "R", Order: matches[0].Entry.Order.Placer.ID}
	for _, m := range matches {
		for _, t := range w.tests(m.Service, asked, now) {
			if !slices.Contains(x.Tests, t) {
				x.Tests = append(x.Tests, t)
			}
		}
		if urgency(m.Service.Priority) > urgency(x.Priority) {
			x.Priority = m.Service.Priority
		}
		have, _ := w.analyser.Specimens.of(id)
		for _, s := range m.Service.Specimens {
			if s.Has(have) {
				x.SpecimenType = cmp.Or(x.SpecimenType, s.Type)
			}
		}
		if at := m.Service.Collected; !at.IsZero() {
			x.Collected = record.Time{At: at}
		}
		x.Services = append(x.Services, record.OrderedService{Order: m.Entry.ID, Version: m.Entry.Version, Service: m.Service.ID})
	}
	x.Patient = demographics(matches[0].Entry.Order.Patient)
	return x
}

// urgency orders the priorities of table 0485.
func urgency(p string) int {
	switch {
	case p == "S" || p == "STAT":
		return 2
	case p == "A":
		return 1
	}
	return 0
}

// demographics is a patient as an analyser is told: the first identifier.
func demographics(p record.Person) *record.Patient {
	if len(p.Identifiers) == 0 && p.Name.Empty() {
		return nil
	}
	out := &record.Patient{Name: p.Name, Birth: p.Birth, Sex: p.Sex}
	if len(p.Identifiers) > 0 {
		out.ID = p.Identifiers[0].Value
	}
	return out
}

// Handed notes that the analyser has acknowledged its work on the link, which is not
// yet that it runs it, or that it has not, and why.
func (w *Work) Handed(_ record.Query, work []record.Work, err error) {
	if err != nil {
		w.desk.Log.Error("work not taken by the analyser", "analyser", w.analyser.Name, "specimens", len(work), "error", err)
	}
	now := w.desk.now()
	var refused *RefusedError
	errors.As(err, &refused)
	for _, x := range work {
		for _, s := range x.Services {
			e, ok, read := w.desk.Orders.Get(s.Order)
			if read != nil || !ok || e.Service(s.Service) == nil || err != nil && w.has(e, s.Service) {
				continue
			}
			id, _ := w.analyser.Specimens.of(x.Specimen)
			g := given(w.analyser, e, *e.Service(s.Service), id, now)
			g.Version, g.Asked, g.State, g.Refs = s.Version, true, orders.Taken, references(x.Tests, x.References, g.Tests)
			m := orders.Mark{Order: s.Order, Version: s.Version, Service: s.Service, Progress: record.Acknowledged, Device: w.analyser.Name, At: now, Given: &g}
			switch {
			case refused != nil && refused.of(g.Refs):
				m.Progress, g.State, g.Why = "", orders.Refused, refused.Why
			case refused == nil && err != nil:
				m.Progress, g.State, g.Why = "", orders.Refused, reason.Text(err.Error())
			}
			w.desk.Orders.Mark(m)
		}
	}
}

// has reports whether the analyser has a service from an earlier time.
func (w *Work) has(e orders.Entry, service int) bool {
	return slices.ContainsFunc(e.Given, func(g orders.Given) bool {
		return g.Service == service && g.Device == w.analyser.Name && g.Has()
	})
}

func (w *Work) mark(x record.Work, p record.Progress) {
	for _, s := range x.Services {
		w.desk.Orders.Mark(orders.Mark{Order: s.Order, Version: s.Version, Service: s.Service, Progress: p, Device: w.analyser.Name, At: w.desk.now()})
	}
}

// A Finding is what the orders say to a report of an analyser.
type Finding struct {
	Ordered []lis.Ordered
	Patient *record.Person // whom the orders are for; nil: no order
	Hold    reason.Code    // why a person has to look at it; empty: nothing stands against it
	Args    []string
	Without bool // it goes on without an order
	Marks   []orders.Mark
}

func held(code reason.Code, args ...string) Finding { return Finding{Hold: code, Args: args} }

// Find looks up the orders that a report answers. released says that a person has
// released it: then it goes on without what would hold it.
func (d *Desk) Find(a Analyser, rep record.Report, received time.Time, released bool) (Finding, error) {
	if a.Policy == None || a.Policy == "" {
		return Finding{}, nil
	}
	at := received
	for _, x := range rep.Results {
		if !x.Observed.At.IsZero() && x.Observed.At.Sub(received).Abs() < clockTrusted {
			at = x.Observed.At
			break
		}
	}
	found, err := d.specimen(a, rep.Specimen.ID, at)
	if err != nil {
		return Finding{}, err
	}
	f, err := d.find(a, rep, at, taken(a, found, at))
	if err != nil {
		return f, err
	}
	switch {
	case f.Hold == "":
	case released, a.Policy == Warn && slices.Contains(harmless, f.Hold):
		f = Finding{Without: true} // and without the order's patient: nothing says that it is his
	}
	return f, nil
}

// taken leaves the services of which the specimen was not taken, or ordered, on a later
// day than it was measured: their specimen is another one under the same number.
func taken(a Analyser, all []patient, at time.Time) (found []patient) {
	for _, p := range all {
		p.matches = slices.DeleteFunc(slices.Clone(p.matches), func(m orders.Match) bool { return a.day(m.Taken) > a.day(at) })
		if len(p.matches) > 0 {
			found = append(found, p)
		}
	}
	return found
}

// harmless: there is no order, and none that could be taken for another patient's.
var harmless = []reason.Code{reason.NoOrder, reason.OutsideWindow, reason.OtherSection, reason.NotOrdered}

// clockTrusted is how far a time of the device may be from ours to say of which day a
// specimen is.
const clockTrusted = 36 * time.Hour

func (d *Desk) find(a Analyser, rep record.Report, at time.Time, found []patient) (Finding, error) {
	id, wrong := a.Specimens.of(rep.Specimen.ID)
	switch {
	case wrong != "":
		return held(wrong), nil
	case len(found) == 0:
		return d.missing(a, id, at)
	}
	if said := rep.Patient; said != nil && strings.TrimSpace(said.ID) != "" {
		of := slices.DeleteFunc(slices.Clone(found), func(p patient) bool { return !d.is(a, p.person, said.ID) })
		if len(of) == 0 {
			return held(reason.PatientMismatch), nil
		}
		found = of
	}
	if said := rep.Patient; said != nil {
		found = slices.DeleteFunc(slices.Clone(found), func(p patient) bool { return !p.agrees(*said) })
		if len(found) == 0 {
			return held(reason.PatientMismatch), nil
		}
	}
	if len(found) > 1 {
		open := slices.DeleteFunc(slices.Clone(found), func(p patient) bool { return len(p.pending()) == 0 })
		over := slices.ContainsFunc(found, func(p patient) bool {
			return len(p.pending()) == 0 && slices.ContainsFunc(p.matches, func(m orders.Match) bool { return a.day(m.Taken) == a.day(at) })
		})
		if len(open) != 1 || over {
			return held(reason.SeveralPatients, "2"), nil
		}
		found = open
	}
	return d.services(a, rep, at, found[0])
}

// ErrNoSuchOrder says that no order has a number.
var ErrNoSuchOrder = errors.New("there is no order with this number")

// Numbered is the newest order with a placer or filler number.
func (d *Desk) Numbered(number string) (orders.Entry, error) {
	for _, k := range []orders.Key{{Placer: number}, {Filler: number}} {
		all, err := d.Orders.Find(k)
		if err != nil || len(all) > 0 {
			if err == nil {
				return all[0], nil
			}
			return orders.Entry{}, err
		}
	}
	return orders.Entry{}, ErrNoSuchOrder
}

// Assign gives a report to the order that a person says it is of, whatever its specimen
// and patient are. Each result goes under the service that asked for it; what none asked
// for goes under the first.
func (d *Desk) Assign(a Analyser, rep record.Report, number string) (Finding, error) {
	e, err := d.Numbered(number)
	if errors.Is(err, ErrNoSuchOrder) {
		return held(reason.NoOrder), nil
	}
	if err != nil || len(e.Order.Services) == 0 {
		return held(reason.NoOrder), err
	}
	f := Finding{Patient: &e.Order.Patient}
	for i, x := range rep.Results {
		n := slices.IndexFunc(e.Order.Services, func(s record.Service) bool { return a.Codes.Answers(x.Code, s, d.now()) })
		f.add(orders.Match{Entry: e, Service: e.Order.Services[max(n, 0)]}, i)
	}
	for i := range f.Marks {
		f.Marks[i].Device, f.Marks[i].At = a.Name, d.now()
	}
	return f, nil
}

// is reports whether a number that an analyser says is a patient's.
func (d *Desk) is(a Analyser, p record.Person, number string) bool {
	number = strings.TrimSpace(number)
	if slices.ContainsFunc(p.Identifiers, func(i record.Identifier) bool { return strings.TrimSpace(i.Value) == number }) {
		return true
	}
	if d.Merged == nil {
		return false
	}
	now, ok := d.Merged(a.Name, number)
	return ok && same(now, p)
}

// missing says why there is no open order: it is cancelled, of another day or section,
// the identifier is likely mistyped, or there is none.
func (d *Desk) missing(a Analyser, id string, at time.Time) (Finding, error) {
	all, err := d.Orders.Find(orders.Key{Specimen: id})
	if err != nil {
		return Finding{}, err
	}
	why := reason.NoOrder
	for _, e := range all {
		for _, s := range e.Order.Services {
			if !slices.ContainsFunc(s.Specimens, func(x record.OrderSpecimen) bool { return x.Has(id) }) {
				continue
			}
			switch {
			case s.State != record.Open && s.State != record.OnHold:
				if why == reason.NoOrder {
					why = reason.OrderOver
				}
			case !a.worksFor(s.Section):
				if why != reason.OutsideWindow {
					why = reason.OtherSection
				}
			default:
				why = reason.OutsideWindow
			}
		}
	}
	if why == reason.NoOrder {
		near, err := d.near(a, id, at)
		if near {
			why = reason.NearOrder
		}
		return held(why), err
	}
	return held(why), nil
}

// worksFor reports whether a section is one of the analyser's.
func (a Analyser) worksFor(section string) bool {
	return section == "" || len(a.Sections) == 0 || slices.ContainsFunc(a.Sections, func(x string) bool { return strings.EqualFold(x, section) })
}

// services finds for each result the service of one patient that it answers.
func (d *Desk) services(a Analyser, rep record.Report, at time.Time, p patient) (Finding, error) {
	f := Finding{Patient: &p.person}
	again := 0
	for i, x := range rep.Results {
		m, several := choose(a, x.Code, at, p.matches)
		if several {
			return held(reason.SeveralOrders, x.Code), nil
		}
		if m == nil {
			continue
		}
		if m.Service.Progress == record.Resulted && a.day(m.Taken) != a.day(at) {
			again++
		}
		f.add(*m, i)
	}
	if again > 0 {
		return held(reason.AlreadyResulted), nil
	}
	if len(f.Ordered) == 0 {
		changed, err := d.changed(a, rep, at)
		if err != nil {
			return Finding{}, err
		}
		if open := p.pending(); len(open) == 1 && panel(rep) && !changed && !d.single(open[0].Service, at) {
			for i := range rep.Results {
				f.add(open[0], i)
			}
		} else {
			return held(reason.NotOrdered), nil
		}
	}
	for i := range f.Marks {
		f.Marks[i].Device, f.Marks[i].At = a.Name, d.now()
	}
	return f, nil
}

// changed reports whether an order of the specimen is not any more what it was, or one is
// over that asked for a code of the report: the analyser may have run what it was told
// before, and that is no part of what is open now.
func (d *Desk) changed(a Analyser, rep record.Report, at time.Time) (bool, error) {
	all, err := d.Orders.Find(orders.Key{Specimen: strings.TrimSpace(rep.Specimen.ID)})
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(all, func(e orders.Entry) bool {
		return e.Order.Open() && e.Version > 1 || slices.ContainsFunc(e.Order.Services, func(s record.Service) bool {
			return s.State.Over() && slices.ContainsFunc(rep.Results, func(x record.Result) bool { return a.Codes.Answers(x.Code, s, at) })
		})
	}), nil
}

// panel reports whether a report is of more than one test.
func panel(rep record.Report) bool {
	return slices.ContainsFunc(rep.Results, func(x record.Result) bool { return x.Code != rep.Results[0].Code })
}

// single reports whether some analyser knows what a service is: it is no panel whose
// tests nobody has said, which takes the results of a report as a whole. Those that take
// every code for their own say nothing.
func (d *Desk) single(s record.Service, at time.Time) bool {
	any := record.Service{Code: record.Coded{Code: "\x00"}}
	return slices.ContainsFunc(d.Analysers, func(a Analyser) bool {
		return len(a.Codes.Tests(s, at)) > 0 && len(a.Codes.Tests(any, at)) == 0
	})
}

func (f *Finding) add(m orders.Match, result int) {
	i := slices.IndexFunc(f.Ordered, func(o lis.Ordered) bool {
		return o.Order.Placer == m.Entry.Order.Placer && o.Order.Filler == m.Entry.Order.Filler && o.Service.ID == m.Service.ID
	})
	if i < 0 {
		f.Ordered = append(f.Ordered, lis.Ordered{Order: m.Entry.Order, Service: m.Service})
		f.Marks = append(f.Marks, orders.Mark{Order: m.Entry.ID, Version: m.Entry.Version, Service: m.Service.ID, Progress: record.Resulted})
		i = len(f.Ordered) - 1
	}
	f.Ordered[i].Results = append(f.Ordered[i].Results, result)
}

// choose is the service that a result answers: one that has no result before one that
// has, one of its day before one of another. several: two could be meant.
func choose(a Analyser, code string, at time.Time, all []orders.Match) (found *orders.Match, several bool) {
	best, ties := -1, 0
	again := false // of its day, with a result
	for i := range all {
		m := &all[i]
		if !a.Codes.Answers(code, m.Service, at) {
			continue
		}
		score := 0
		if m.Service.Progress != record.Resulted {
			score += 2
		}
		if a.day(m.Taken) == a.day(at) {
			score++
			again = again || m.Service.Progress == record.Resulted
		}
		switch {
		case score > best:
			found, best, ties = m, score, 1
		case score == best:
			ties++
			// The same order twice for one test is one and the same to the analyser: the newer.
			if a.day(m.Taken) == a.day(found.Taken) {
				ties--
				if m.Entry.ID > found.Entry.ID {
					found = m
				}
			}
		}
	}
	// Done once more for the order of its day, or for the one of another day that waits?
	return found, ties > 1 || best == 2 && again
}
