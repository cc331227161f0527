package orders

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"nhip/gateway/record"
)

// An Action is what an order control code (ORC-1, table 0119) asks for.
type Action int

// The actions.
const (
	New Action = iota
	Changing
	Replace // ended in favour of another order
	Cancel
	Discontinue
	Hold
	Release
	Status // nothing is asked for: what State and Progress say is so
)

// ends reports whether an action ends services.
func (a Action) ends() bool { return a == Replace || a == Cancel || a == Discontinue }

// A Request is what one ORC of a message says, with its services.
type Request struct {
	Action    Action
	Control   string // ORC-1 as sent
	Link      string
	MessageID string // MSH-10
	Said      Said
	Order     record.Order // its Services are those that the message names; States are not looked at
	// State and Progress are what a Status says, or what ORC-5 says beside a change;
	// empty: nothing.
	State    record.ServiceState
	Progress record.Progress
}

// A Problem says why a request was refused, or what else is to be said of it.
type Problem int

// The problems.
const (
	None       Problem = iota
	Unknown            // there is no such order or service
	Over               // it is over, and nothing opens it again
	Superseded         // a newer version is known
	Duplicate          // a new order under the number of one that is over
	NoNumber           // neither a number nor a specimen with a service
	TooMany            // more services than one order may have
	Full               // ErrFull
	OverInPart         // some of the named services are over; the rest was done
	TakenAsNew         // a change of an order that was not known
	AlreadySo          // nothing was to be changed
)

// Refused reports whether nothing was done because of the problem.
func (p Problem) Refused() bool { return p != None && p < OverInPart }

// decide says what an order becomes by a request. have is nil where it is not
// known. It is pure; now is when the message came. The entry is not changed where
// the problem refuses it, but for a cancel of what is Unknown, which is noted.
func decide(have *Entry, r Request, now time.Time) (Entry, Problem) {
	if have == nil {
		return unknown(r, now)
	}
	e := have.clone()
	switch {
	case e.Order.Open() || r.Action.ends():
	case r.Action == Status:
		return e, AlreadySo
	case r.Action == New: // see begins
		return e, Duplicate
	default:
		return e, Over
	}
	if !r.Action.ends() && r.Link == e.By && r.Said.Before(e.Said) {
		return e, Superseded
	}
	var p Problem
	switch {
	case r.Action.ends():
		p = e.end(r, ended(r.Action))
	case r.Action == Status && (r.State == record.Open || r.State == ""):
		p = e.progress(r)
	case r.Action == Status || r.Action != New && r.State.Over() && r.State != "":
		p = e.status(r)
	case r.Action == New:
		p = e.add(r)
	case r.Action == Hold:
		p = e.move(r, record.Open, record.OnHold)
	case r.Action == Release:
		p = e.move(r, record.OnHold, record.Open)
	default:
		p = e.change(r)
	}
	if p.Refused() || p == AlreadySo {
		return *have, p
	}
	e.turned(r, now)
	return e, p
}

// turned notes a change that was made.
func (e *Entry) turned(r Request, now time.Time) {
	if r.Link != e.By {
		e.Said, e.By = Said{}, r.Link // another clock
	}
	e.Said = e.Said.latest(r.Said)
	e.turn(Turn{At: now, Link: r.Link, Control: r.Control, MessageID: r.MessageID, Said: r.Said})
	e.close(now)
}

// close notes whether something is still to be done.
func (e *Entry) close(now time.Time) {
	switch {
	case e.Order.Open():
		e.Over = time.Time{}
	case e.Over.IsZero():
		e.Over = now
	}
}

func ended(a Action) record.ServiceState {
	switch a {
	case Replace:
		return record.Replaced
	case Discontinue:
		return record.Discontinued
	}
	return record.Cancelled
}

// unknown is a request for an order that is not known.
func unknown(r Request, now time.Time) (Entry, Problem) {
	e := Entry{Link: r.Link, Received: now, Order: r.Order.Clone()}
	e.Order.Services = nil
	var p Problem
	state := record.Open
	switch r.Action {
	case New:
	case Changing:
		p = TakenAsNew
		if r.State.Over() && r.State != "" {
			state = r.State
		}
	case Status:
		return Entry{}, AlreadySo
	case Hold, Release:
		return Entry{}, Unknown
	default:
		p, state = Unknown, ended(r.Action)
	}
	if len(r.Order.Services) > MostServices {
		return Entry{}, TooMany
	}
	for _, s := range r.Order.Services {
		e.append(s, state, r.Said)
	}
	if state != record.Open && len(e.Order.Services) == 0 {
		e.append(record.Service{}, state, r.Said)
	}
	e.turned(r, now)
	return e, p
}

// append adds a service of a message.
func (e *Entry) append(s record.Service, state record.ServiceState, said Said) {
	s.ID = 1
	for _, x := range e.Order.Services {
		s.ID = max(s.ID, x.ID+1)
	}
	s.State, s.Progress = record.Open, record.Received
	if len(s.Specimens) > mostSpecimens {
		s.Specimens = s.Specimens[:mostSpecimens]
	}
	e.Order.Services = append(e.Order.Services, s)
	if state.Over() {
		e.finish(&e.Order.Services[len(e.Order.Services)-1], state, said)
	}
}

func (e *Entry) finish(s *record.Service, state record.ServiceState, said Said) {
	s.State = state
	if e.Ended == nil {
		e.Ended = map[int]Said{}
	}
	e.Ended[s.ID] = said
}

// end ends the services that a request names.
func (e *Entry) end(r Request, state record.ServiceState) Problem {
	named, missing := e.named(r)
	if missing {
		return Unknown
	}
	before, done := 0, 0
	for _, s := range named {
		switch {
		case !s.State.Over():
			e.finish(s, state, r.Said)
			done++
		case s.State == record.Completed:
			before++
		case e.later(s.ID, r.Said):
			done++
		}
	}
	switch {
	case done > 0 && before > 0:
		return OverInPart
	case done == 0 && before > 0:
		return Over
	case done == 0:
		return AlreadySo
	}
	return None
}

// later notes that the end of a service was said again, later or at no time that is
// known: only a new order that was made after the last of them is another one.
func (e *Entry) later(id int, said Said) bool {
	was := e.Ended[id]
	if was == said || !said.Order.IsZero() && said.Before(was) || was.Order.IsZero() {
		return false
	}
	e.Ended[id] = said
	return true
}

// status takes what a message says is so.
func (e *Entry) status(r Request) Problem {
	switch r.State {
	case record.OnHold:
		return e.move(r, record.Open, record.OnHold)
	case record.Completed:
		named, _ := e.named(r)
		done := 0
		for _, s := range named {
			if !s.State.Over() {
				e.finish(s, record.Completed, r.Said)
				done++
			}
		}
		if done == 0 {
			return AlreadySo
		}
		return None
	}
	return e.end(r, r.State)
}

// progress takes how far a message says that services are.
func (e *Entry) progress(r Request) Problem {
	named, _ := e.named(r)
	done := 0
	for _, s := range named {
		if !s.State.Over() && r.Progress != "" && s.Progress != r.Progress {
			s.Progress, done = r.Progress, done+1
		}
	}
	if done == 0 {
		return AlreadySo
	}
	return None
}

// move puts services on hold, or takes them off.
func (e *Entry) move(r Request, from, to record.ServiceState) Problem {
	named, missing := e.named(r)
	if missing {
		return Unknown
	}
	done, finished := 0, 0
	for _, s := range named {
		switch {
		case s.State == from:
			s.State, done = to, done+1
		case s.State.Over():
			finished++
		}
	}
	switch {
	case done > 0 && finished > 0:
		return OverInPart
	case done > 0:
		return None
	case finished > 0:
		return Over
	}
	return AlreadySo
}

// named are the services that a request names: all, where it names none. missing
// says that it names one that the order does not have.
func (e *Entry) named(r Request) (all []*record.Service, missing bool) {
	naming := slices.DeleteFunc(slices.Clone(r.Order.Services), nameless)
	if len(naming) == 0 {
		for i := range e.Order.Services {
			all = append(all, &e.Order.Services[i])
		}
		return all, false
	}
	taken := map[int]bool{}
	for _, s := range naming {
		i := e.match(s, naming, taken)
		if i < 0 {
			missing = true
			continue
		}
		taken[i] = true
		all = append(all, &e.Order.Services[i])
	}
	return all, missing && len(all) == 0
}

// nameless reports whether nothing says which service is meant.
func nameless(s record.Service) bool {
	return s.Code.Empty() && s.Placer.Empty() && s.Filler.Empty() && (s.Imaging == nil || s.Imaging.Accession == "")
}

// match finds the service of the order that a service of a message is: by its
// number, by code and specimen, and by its code where that is clear.
func (e *Entry) match(s record.Service, of []record.Service, taken map[int]bool) int {
	for _, same := range []func(record.Service) bool{
		func(x record.Service) bool { return sameNumber(x, s) },
		func(x record.Service) bool { return sameCode(x.Code, s.Code) && sameSpecimens(x, s) },
		func(x record.Service) bool {
			return sameCode(x.Code, s.Code) && (count(of, s) == 1 && count(e.Order.Services, s) == 1)
		},
	} {
		for i, x := range e.Order.Services {
			if !taken[i] && same(x) {
				return i
			}
		}
	}
	if len(e.Order.Services) == 1 && !taken[0] && nameless(e.Order.Services[0]) {
		return 0 // all that we know is that it was cancelled
	}
	return -1
}

func count(all []record.Service, s record.Service) (n int) {
	for _, x := range all {
		if sameCode(x.Code, s.Code) {
			n++
		}
	}
	return n
}

func sameNumber(a, b record.Service) bool {
	if a.Placer.Is(b.Placer) || a.Filler.Is(b.Filler) && sameCode(a.Code, b.Code) {
		return sameCode(a.Code, b.Code) || a.Code.Empty() || b.Code.Empty()
	}
	return a.Imaging != nil && b.Imaging != nil && a.Imaging.Accession != "" && a.Imaging.Accession == b.Imaging.Accession &&
		(sameCode(a.Code, b.Code) || b.Code.Empty())
}

func sameCode(a, b record.Coded) bool {
	switch {
	case a.Code != "" && b.Code != "":
		return a.Code == b.Code && (a.System == b.System || a.System == "" || b.System == "")
	case a.Code == "" && b.Code == "" && a.AltCode != "":
		return a.AltCode == b.AltCode
	}
	return a.Code == b.Code && a.Text != "" && strings.EqualFold(a.Text, b.Text)
}

// sameSpecimens reports whether two services are for the same specimens, or one of
// them says none.
func sameSpecimens(a, b record.Service) bool {
	if len(a.Specimens) == 0 || len(b.Specimens) == 0 {
		return len(a.Specimens) == len(b.Specimens)
	}
	for _, x := range a.Specimens {
		for _, id := range x.IDs {
			if slices.ContainsFunc(b.Specimens, func(y record.OrderSpecimen) bool { return y.Has(id) }) {
				return true
			}
		}
	}
	return false
}

// add adds the services of a new order to one that is known.
func (e *Entry) add(r Request) Problem {
	taken := map[int]bool{}
	added, finished := 0, 0
	for _, s := range r.Order.Services {
		i := e.match(s, r.Order.Services, taken)
		switch {
		case i < 0:
			e.append(s, record.Open, r.Said)
			taken[len(e.Order.Services)-1] = true
			added++
			continue
		case e.Order.Services[i].State.Over():
			finished++
		case e.update(i, s):
			added++
		}
		taken[i] = true
	}
	if len(e.Order.Services) > MostServices {
		return TooMany
	}
	changed := e.describe(r.Order)
	switch {
	case added == 0 && finished > 0:
		return Duplicate
	case finished > 0:
		return OverInPart
	case added == 0 && !changed:
		return AlreadySo
	}
	return None
}

// begins reports whether a new order under the number of one that is over is
// another one: ORC-9 says that it was ordered after that had ended.
func (e *Entry) begins(r Request) bool {
	if e.Order.Open() || r.Said.Order.IsZero() {
		return false
	}
	for _, s := range e.Order.Services {
		end, known := e.Ended[s.ID]
		if !known || end.Order.IsZero() || !r.Said.Order.After(end.Order) {
			return false
		}
	}
	return true
}

// change makes the order what a message says.
func (e *Entry) change(r Request) Problem {
	taken := map[int]bool{}
	done, finished := 0, 0
	known := len(e.Order.Services)
	if known == 1 && len(r.Order.Services) == 1 && !nameless(r.Order.Services[0]) {
		// One for one is a change of it, whatever its code was.
		e.update(0, r.Order.Services[0])
		taken[0], done = true, 1
	} else {
		for _, s := range r.Order.Services {
			i := e.match(s, r.Order.Services, taken)
			switch {
			case i < 0:
				e.append(s, record.Open, r.Said)
				taken[len(e.Order.Services)-1] = true
				done++
				continue
			case e.Order.Services[i].State.Over():
				finished++
			default:
				e.update(i, s)
				done++
			}
			taken[i] = true
		}
	}
	if len(e.Order.Services) > MostServices {
		return TooMany
	}
	if done == 0 && finished > 0 {
		return Over
	}
	if len(r.Order.Services) > 0 {
		for i := range known {
			if s := &e.Order.Services[i]; !taken[i] && !s.State.Over() {
				e.finish(s, record.Replaced, r.Said)
			}
		}
	}
	e.describe(r.Order)
	if finished > 0 {
		return OverInPart
	}
	return None
}

// update gives a service the content of another, and reports whether that was
// another one. What is to be done anew begins with Received.
func (e *Entry) update(i int, s record.Service) bool {
	x := &e.Order.Services[i]
	s.ID, s.State, s.Progress, s.By, s.At = x.ID, x.State, x.Progress, x.By, x.At
	if s.Imaging != nil && x.Imaging != nil && s.Imaging.Made { // ours stays, it may be on its way
		m := *s.Imaging
		m.StudyInstanceUID, m.Made = x.Imaging.StudyInstanceUID, x.Imaging.Made
		s.Imaging = &m
	}
	keepDone(x, &s)
	if reflect.DeepEqual(*x, s) {
		return false
	}
	if len(s.Specimens) > mostSpecimens {
		s.Specimens = s.Specimens[:mostSpecimens]
	}
	s.Progress, s.By, s.At = record.Received, "", time.Time{}
	*x = s
	return true
}

// keepDone gives the steps of the newer version what was performed of them already.
func keepDone(have, s *record.Service) {
	if have.Imaging == nil || s.Imaging == nil {
		return
	}
	done := map[string]bool{}
	for _, x := range have.Imaging.Steps {
		done[x.ID] = x.Done
	}
	m := *s.Imaging
	m.Steps = slices.Clone(m.Steps)
	for i := range m.Steps {
		m.Steps[i].Done = done[m.Steps[i].ID]
	}
	s.Imaging = &m
}

// describe takes what a message says of the order apart from its services, and
// reports whether something is new. What it does not say stays.
func (e *Entry) describe(o record.Order) bool {
	before := e.Order
	if !o.Placer.Empty() {
		e.Order.Placer = o.Placer
	}
	if !o.Filler.Empty() {
		e.Order.Filler = o.Filler
	}
	if !o.Group.Empty() {
		e.Order.Group = o.Group
	}
	if o.Orderer != (record.Name{}) {
		e.Order.Orderer = o.Orderer
	}
	if len(o.Ordered.Identifiers) > 0 || !o.Ordered.Name.Empty() {
		e.Order.Ordered, e.Order.Patient = o.Clone().Ordered, o.Clone().Patient
	}
	if !reflect.DeepEqual(o.Stay, record.Stay{}) {
		e.Order.Stay = o.Clone().Stay
	}
	if o.Kind != record.OtherOrder && o.Kind != "" {
		e.Order.Kind = o.Kind
	}
	before.Services, o.Services = nil, nil
	after := e.Order
	after.Services = nil
	return !reflect.DeepEqual(before, after)
}
