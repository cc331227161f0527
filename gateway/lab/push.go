package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"nhip/gateway/orders"
	"nhip/gateway/reason"
	"nhip/gateway/record"
)

// Ways are how an analyser can be told what it did not ask for.
type Ways struct {
	Download bool // orders
	Cancel   bool // that it is to drop what it has
	Whole    bool // an order for a specimen that it has already is all that is to be done, not only what is new
}

// A Step is the one message that an analyser is to be told next about a specimen.
type Step struct {
	Cancel bool
	Work   record.Work
	notes  []orders.Handing // what is so when it was told
}

// None reports whether there is nothing to tell.
func (s Step) None() bool { return len(s.Work.Tests) == 0 }

// A RefusedError says that the analyser did not take what it was told.
type RefusedError struct {
	Why   reason.Reason
	Final bool // trying again does not help
	// Refs are what it knows the tests by that it refused; it took the others. Empty: it
	// refused all.
	Refs []string
}

// of reports whether the refusal is of a test that is known by one of the references.
func (e *RefusedError) of(refs []string) bool {
	return len(e.Refs) == 0 || slices.ContainsFunc(e.Refs, func(r string) bool { return slices.Contains(refs, r) })
}

func (e *RefusedError) Error() string { return "lab: the analyser refused: " + e.Why.String() }

// Limits of telling one thing.
const (
	mostTries = 6
	firstTry  = 30 * time.Second // after the first refusal; then doubling
	longest   = 10 * time.Minute
)

func backoff(tries int) time.Duration {
	return min(firstTry<<min(max(tries-1, 0), 8), longest)
}

// A look is one look at the orders of a specimen, for one analyser.
type look struct {
	p        *Pusher
	a        Analyser // with its codes of this moment, and orders' own identifiers
	id       string
	now      time.Time
	entries  []orders.Entry // all that have the specimen
	wanted   []orders.Match // what the analyser is to do
	several  bool           // patients: nothing is wanted
	next     time.Time      // when to look again; zero: when something changes
	settled  []orders.Handing
	troubled bool // a person has to look
}

// look finds out what an analyser is to be told about a specimen.
func (p *Pusher) look(id string) (*look, Step, error) {
	l := &look{p: p, a: p.analyser.Pinned(), id: id, now: p.desk.now()}
	l.a.Specimens = Specimens{}
	var err error
	if l.entries, err = p.desk.Orders.Find(orders.Key{Specimen: id}); err != nil {
		return nil, Step{}, err
	}
	found, err := p.desk.specimen(l.a, id, l.now)
	if err != nil {
		return nil, Step{}, err
	}
	w := &Work{p.desk, l.a}
	for _, patient := range found {
		mine := w.mine(patient, nil, l.now)
		l.several = l.several || len(mine) > 0 && len(l.wanted) > 0
		l.wanted = append(l.wanted, mine...)
	}
	if l.several {
		l.ambiguous()
		l.wanted = nil
	}
	l.later()
	if step := l.cancel(); !step.None() {
		return l, step, nil
	}
	return l, l.download(w), nil
}

// given is what the analyser has of a service, as the order says.
func (l *look) given(e orders.Entry, service int) (orders.Given, bool) {
	for _, g := range e.Given {
		if g.Service == service && l.mine(g) {
			return g, true
		}
	}
	return orders.Given{}, false
}

func (l *look) mine(g orders.Given) bool {
	return g.Device == l.a.Name && strings.TrimSpace(g.Specimen) == strings.TrimSpace(l.id)
}

// ambiguous says of every service that it is not sent, because orders of several
// patients have the identifier.
func (l *look) ambiguous() {
	l.troubled = l.p.ways.Download
	for _, m := range l.wanted {
		g, known := l.given(m.Entry, m.Service.ID)
		if !l.p.ways.Download || known && (g.Has() || g.Why.Code == reason.SeveralPatients) {
			continue
		}
		g = l.of(m)
		g.State, g.Why = orders.Refused, reason.New(reason.SeveralPatients, "2")
		l.settled = append(l.settled, orders.Handing{Order: m.Entry.ID, Given: g})
	}
}

// later notes when a service comes into the window that is ahead of it now.
func (l *look) later() {
	if l.a.Window == 0 {
		return
	}
	for _, e := range l.entries {
		for _, s := range e.Order.Services {
			if s.State != record.Open || !s.Collected.After(l.now) {
				continue
			}
			if at := s.Collected.Add(-l.a.Window); at.After(l.now) {
				l.again(at.Add(time.Second))
			}
		}
	}
}

func (l *look) again(at time.Time) {
	if l.next.IsZero() || at.Before(l.next) {
		l.next = at
	}
}

// dropped reports whether what the analyser has of a service is not to be done any more.
func (l *look) dropped(e orders.Entry, g orders.Given) bool {
	s := e.Service(g.Service)
	if s == nil {
		return false
	}
	switch s.State {
	case record.Open:
		elsewhere := s.Progress == record.Resulted && s.By != g.Device
		return elsewhere || l.p.desk.claimed(e, s.ID, g.Device) || l.corrected(e, g)
	case record.OnHold, record.Cancelled, record.Discontinued, record.Replaced, record.Completed:
		return s.Progress != record.Resulted || s.By != g.Device
	}
	return false // expired: nobody waits for it
}

// corrected reports whether the analyser has to drop a service first, because it is told
// anew: where an order does not replace the one before.
func (l *look) corrected(e orders.Entry, g orders.Given) bool {
	if l.p.ways.Whole || !l.p.ways.Cancel || !l.p.ways.Download || g.State == orders.TooLate {
		return false
	}
	for _, m := range l.wanted {
		if m.Entry.ID == e.ID && m.Service.ID == g.Service {
			return l.of(m).Sum != g.Sum
		}
	}
	return false
}

// cancel is what takes back the dropped services of one order. What cannot be taken back
// is settled: it was cancelled too late.
func (l *look) cancel() (step Step) {
	for _, e := range l.entries {
		for _, g := range e.Given {
			if !l.mine(g) || !g.Has() || g.State == orders.TooLate || !l.dropped(e, g) {
				continue
			}
			l.drop(&step, e, g)
		}
		if len(step.notes) > 0 {
			l.shape(&step, e)
			return step
		}
	}
	return Step{}
}

func (l *look) drop(step *Step, e orders.Entry, g orders.Given) {
	note := orders.Handing{Order: e.ID, Given: g}
	note.Given.At = l.now
	switch {
	case !l.p.ways.Cancel:
		note.Given.State, note.Given.Why = orders.TooLate, reason.New(reason.NoCancel)
		l.settled = append(l.settled, note)
		return
	case g.State == orders.TakeBack && l.now.Before(g.At.Add(backoff(g.Tries))):
		l.again(g.At.Add(backoff(g.Tries)))
		return
	}
	note.Given.State, note.Given.Why = orders.Dropped, reason.Reason{}
	kept := 0
	for i, test := range g.Tests {
		if l.needed(e.ID, g.Service, test) || slices.Contains(step.Work.Tests, test) {
			kept++
			continue
		}
		step.Work.Tests = append(step.Work.Tests, test)
		if i < len(g.Refs) {
			step.Work.References = append(step.Work.References, g.Refs[i])
		}
	}
	if kept == len(g.Tests) { // another order needs all of it: there is nothing to say
		l.settled = append(l.settled, note)
		return
	}
	step.notes = append(step.notes, note)
}

// needed reports whether the analyser has a test for another service than one, which is
// to be done.
func (l *look) needed(order uint64, service int, test string) bool {
	return slices.ContainsFunc(l.wanted, func(m orders.Match) bool {
		if m.Entry.ID == order && m.Service.ID == service {
			return false
		}
		g, known := l.given(m.Entry, m.Service.ID)
		return known && g.Has() && slices.Contains(g.Tests, test) && !l.dropped(m.Entry, g)
	})
}

// shape fills in whose the work is that is taken back.
func (l *look) shape(step *Step, e orders.Entry) {
	w := &step.Work
	w.Specimen, w.Priority, w.Order, w.Patient = strings.TrimSpace(l.id), "R", e.Order.Placer.ID, demographics(e.Order.Patient)
	step.Cancel = true
	for _, n := range step.notes {
		s := e.Service(n.Given.Service)
		w.Services = append(w.Services, record.OrderedService{Order: e.ID, Version: e.Version, Service: s.ID})
		if !s.Collected.IsZero() {
			w.Collected = record.Time{At: s.Collected}
		}
		for _, x := range s.Specimens {
			if x.Has(l.id) && w.SpecimenType == "" {
				w.SpecimenType = x.Type
			}
		}
	}
}

// download is what the analyser is to be told to do.
func (l *look) download(w *Work) Step {
	var fresh []orders.Match
	for _, m := range l.wanted {
		if l.fresh(m) {
			fresh = append(fresh, m)
		}
	}
	if len(fresh) == 0 || !l.p.ways.Download {
		return Step{}
	}
	told := fresh
	if l.p.ways.Whole {
		told = l.wanted
	}
	step := Step{Work: w.work(l.id, told, nil, l.now)}
	for _, m := range told {
		g := l.of(m)
		g.State = orders.Taken
		step.notes = append(step.notes, orders.Handing{Order: m.Entry.ID, Given: g, Progress: record.Acknowledged})
	}
	if !l.p.ways.Whole {
		step.Work.Tests = slices.DeleteFunc(step.Work.Tests, func(test string) bool { return l.needed(0, 0, test) })
		if step.None() { // it has them already, for another order
			l.settled = append(l.settled, step.notes...)
		}
	}
	return step
}

// fresh reports whether a service is to be told now.
func (l *look) fresh(m orders.Match) bool {
	g, known := l.given(m.Entry, m.Service.ID)
	switch {
	case !known, g.State == orders.Dropped:
		return true
	case g.Has():
		return l.p.ways.Whole && g.Sum != l.of(m).Sum
	case g.Sum != l.of(m).Sum: // refused before it was corrected
		return true
	case g.State == orders.GivenUp:
		l.troubled = true
		return false
	}
	if at := g.At.Add(backoff(g.Tries)); l.now.Before(at) {
		l.again(at)
		return false
	}
	return true
}

// of is what the analyser has of a service when it is told now.
func (l *look) of(m orders.Match) orders.Given { return given(l.a, m.Entry, m.Service, l.id, l.now) }

func given(a Analyser, e orders.Entry, s record.Service, id string, now time.Time) orders.Given {
	g := orders.Given{Service: s.ID, Device: a.Name, Specimen: strings.TrimSpace(id), At: now, Version: e.Version, Tests: a.Codes.Tests(s, now)}
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %d", g.Tests, s.Priority, s.Collected.Unix())
	for _, x := range s.Specimens {
		if x.Has(id) {
			fmt.Fprintf(h, " %q", x.Type)
		}
	}
	if p := demographics(e.Order.Patient); p != nil {
		fmt.Fprintf(h, " %q %q %q %q", p.ID, p.Name, p.Birth, p.Sex)
	}
	g.Sum = hex.EncodeToString(h.Sum(nil)[:8])
	return g
}

// told is what is so when a step came to its end: refs are what the analyser knows the
// tests by that it was told.
func (p *Pusher) told(s Step, refs []string, err error) []orders.Handing {
	var refused *RefusedError
	if err != nil && !errors.As(err, &refused) {
		return nil // it may come again
	}
	now := p.desk.now()
	notes := slices.Clone(s.notes)
	for i := range notes {
		g := &notes[i].Given
		g.At = now
		if !s.Cancel {
			g.Refs = references(s.Work.Tests, refs, g.Tests)
		}
		if err == nil || !refused.of(g.Refs) {
			continue
		}
		notes[i].Progress = ""
		g.Tries, g.Why = p.tries(s, notes[i])+1, refused.Why
		over := refused.Final || g.Tries >= mostTries
		switch {
		case s.Cancel && over:
			g.State = orders.TooLate
		case s.Cancel:
			g.State = orders.TakeBack
		case over:
			g.State = orders.GivenUp
		default:
			g.State = orders.Refused
		}
	}
	return notes
}

// tries is how often it was told in vain.
func (p *Pusher) tries(s Step, n orders.Handing) int {
	e, ok, err := p.desk.Orders.Get(n.Order)
	if err != nil || !ok {
		return 0
	}
	for _, g := range e.Given {
		if g.Is(n.Given) && (s.Cancel && g.State == orders.TakeBack || g.State == orders.Refused && g.Sum == n.Given.Sum) {
			return g.Tries
		}
	}
	return 0
}

// references are those of some tests.
func references(all, refs, tests []string) (out []string) {
	for _, t := range tests {
		if i := slices.Index(all, t); i >= 0 && i < len(refs) {
			out = append(out, refs[i])
		}
	}
	return out
}

// note writes what is so; ctx ending does not hinder it.
func (p *Pusher) note(ctx context.Context, all []orders.Handing) error {
	if len(all) == 0 {
		return nil
	}
	return p.desk.Orders.Give(ctx, all)
}
