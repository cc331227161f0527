package truth

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Lab is the ground truth of the laboratory's orders: what was ordered, changed and
// cancelled, and when the gateway said so; what analysers asked for and were told to do;
// what they ran of it. What happened before a message was answered may or may not have
// been known to the gateway: only what it had acknowledged before the analyser asked (or,
// where nobody asked, shortly before the gateway bid for the line) is held against it.
type Lab struct {
	log *Log

	mu     sync.Mutex
	orders []*LabOrder
	by     map[string][]*LabOrder // device and specimen
	counts LabCounts
	wrong  []Difference
}

// Grace is how long before it bids for the line the gateway may have looked up what it
// hands out.
const Grace = 2 * time.Second

// A LabService is one thing that is ordered, and the tests of the analyser that do it.
type LabService struct {
	Code  string
	Tests []string
}

// A LabOrder is one order number of one specimen for one analyser.
type LabOrder struct {
	Placer, Filler string
	Specimen       string
	Device         string
	Patient        string // identifier
	OtherDay       bool   // it is of another day's specimen with the same number: never to be done

	versions                []labVersion
	cancelSent, cancelTaken time.Time
	told                    map[string]bool // tests that it was handed out for, ever
	asked                   time.Time       // last
}

type labVersion struct {
	services    []LabService
	sent, taken time.Time
}

func (v labVersion) has(test string) bool {
	return slices.ContainsFunc(v.services, func(s LabService) bool { return slices.Contains(s.Tests, test) })
}

func (v labVersion) tests() (all []string) {
	for _, s := range v.services {
		all = append(all, s.Tests...)
	}
	return all
}

// LabCounts are what the report says of the laboratory's orders.
type LabCounts struct {
	Orders    int `json:"orders"`     // that the gateway has accepted
	Changes   int `json:"changes"`    // newer versions that it has accepted
	Cancels   int `json:"cancels"`    // that it has accepted
	Queries   int `json:"queries"`    // of analysers
	Answers   int `json:"answers"`    // that brought work
	Nothing   int `json:"no_orders"`  // that said that there is none
	Downloads int `json:"downloads"`  // work that nobody had asked for
	Withdrawn int `json:"withdrawn"`  // of the gateway: what was handed out is not to be done
	Tests     int `json:"tests_run"`  //
	Results   int `json:"results"`    // messages of what was run
	Filed     int `json:"filed"`      // tests that arrived under their order
	Crossed   int `json:"crossed"`    // messages of results whose cancel was on its way, or came after the hand-out
	Again     int `json:"told_again"` // tests that were handed out again

	CancelledRun int `json:"cancelled_run"` // handed out although the gateway had acknowledged the cancel
	OldVersion   int `json:"old_version"`   // handed out although the gateway had acknowledged a newer version without it
	NotOrdered   int `json:"not_ordered"`   // handed out although nobody ordered it for the specimen, or to the wrong patient
	Denied       int `json:"denied"`        // the analyser was told that there is no order, and there was
	Incomplete   int `json:"incomplete"`    // tests that an answer left out
	NeverRun     int `json:"never_run"`     // orders that hold, were asked for, and were never handed out
	Unfinished   int `json:"unfinished"`    // specimens that were not done when the time was over
	Refused      int `json:"orders_refused"`
	NotHeld      int `json:"not_held"` // kept for a person as far as can be seen here, and the gateway has fewer to show
}

func (c LabCounts) good() bool {
	return c.Orders > 0 && c.Tests > 0 && c.CancelledRun+c.OldVersion+c.NotOrdered+c.Denied+c.Incomplete+c.NeverRun+c.Unfinished+c.Refused+c.NotHeld == 0
}

func (c LabCounts) writeText(w io.Writer, misfiled, kept int) {
	fmt.Fprintf(w, "laboratory: orders %d, changes %d, cancels %d, queries %d, answers %d, no order %d, downloads %d, withdrawn %d, tests run %d, filed under their order %d, kept for a person %d, cancelled after they were handed out %d\n",
		c.Orders, c.Changes, c.Cancels, c.Queries, c.Answers, c.Nothing, c.Downloads, c.Withdrawn, c.Tests, c.Filed, kept, c.Crossed)
	fmt.Fprintf(w, "laboratory: misfiled %d, CANCELLED RUN %d, older version %d, not ordered %d, denied %d, left out %d, never run %d, unfinished %d, orders refused %d, not held %d\n",
		misfiled, c.CancelledRun, c.OldVersion, c.NotOrdered, c.Denied, c.Incomplete, c.NeverRun, c.Unfinished, c.Refused, c.NotHeld)
}

// NewLab adds the laboratory's orders to a log.
func NewLab(l *Log) *Lab {
	lab := &Lab{log: l, by: map[string][]*LabOrder{}}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lab = lab
	return lab
}

func (l *Lab) differ(what, id, format string, args ...any) {
	if len(l.wrong) < maxDifferences {
		l.wrong = append(l.wrong, Difference{what, ORU, id, fmt.Sprintf(format, args...)})
	}
}

// Order adds an order that is about to be placed.
func (l *Lab) Order(o *LabOrder) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o.told = map[string]bool{}
	l.orders = append(l.orders, o)
	at := join(o.Device, o.Specimen)
	l.by[at] = append(l.by[at], o)
}

// Sent says that a version is about to be sent: the first is the order itself.
func (l *Lab) Sent(o *LabOrder, services []LabService) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o.versions = append(o.versions, labVersion{services: services, sent: l.log.now()})
}

// Taken says that the gateway has accepted the newest version.
func (l *Lab) Taken(o *LabOrder) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o.versions[len(o.versions)-1].taken = l.log.now()
	if len(o.versions) == 1 {
		l.counts.Orders++
	} else {
		l.counts.Changes++
	}
}

// Refused says that the gateway did not accept what was sent last; fault says that it
// should have.
func (l *Lab) Refused(o *LabOrder, answer string, fault bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o.versions = o.versions[:max(len(o.versions)-1, 0)]
	if fault {
		l.counts.Refused++
		l.differ("order refused", o.Placer, "answered %s", answer)
	}
}

// CancelSent says that the order is about to be cancelled.
func (l *Lab) CancelSent(o *LabOrder) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o.cancelSent = l.log.now()
}

// CancelTaken says that the gateway has accepted the cancel.
func (l *Lab) CancelTaken(o *LabOrder) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o.cancelTaken = l.log.now()
	l.counts.Cancels++
}

// Asked says that an analyser is about to ask for a specimen.
func (l *Lab) Asked(device, specimen string) {
	l.Loaded(device, specimen)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Queries++
}

// Loaded says that a specimen is in an analyser that is to be sent its orders.
func (l *Lab) Loaded(device, specimen string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range l.by[join(device, specimen)] {
		o.asked = l.log.now()
	}
}

// Unfinished says that specimens were not done in time.
func (l *Lab) Unfinished(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Unfinished += n
}

// Withdrawn counts what the gateway told an analyser not to do.
func (l *Lab) Withdrawn() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Withdrawn++
}

// A Told is what an analyser was told to do.
type Told struct {
	Device, Specimen string
	Patient          string // "" where the analyser is told none
	Tests            []string
	Began            time.Time // when the host bid for the line
	Asked            bool      // the analyser had asked
	Done             []string  // tests that it has run of the specimen already
}

// Told judges what an analyser was told.
func (l *Lab) Told(t Told) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.Asked {
		l.counts.Answers++
	} else {
		l.counts.Downloads++
	}
	of := l.by[join(t.Device, t.Specimen)]
	id := t.Device + " " + t.Specimen
	if len(of) == 0 {
		l.counts.NotOrdered++
		l.differ("not ordered", id, "told to run %v, and nobody ordered anything", t.Tests)
		return
	}
	since := t.Began.Add(-Grace)
	if t.Asked {
		since = l.since(of, t.Began)
	}
	for _, test := range t.Tests {
		l.test(t, of, test, since)
	}
	if t.Asked {
		l.complete(of, t, since)
	}
}

// since is the time from which on the gateway must have known: the newest question, or
// where that is long ago, shortly before it bid for the line.
func (l *Lab) since(of []*LabOrder, began time.Time) time.Time {
	since := began.Add(-Grace)
	for _, o := range of {
		if o.asked.After(since) && (began.IsZero() || o.asked.Before(began)) {
			since = o.asked
		}
	}
	return since
}

// possible are the versions that may have been the newest from a time on.
func (o *LabOrder) possible(since time.Time) (all []labVersion) {
	for i, v := range o.versions {
		if next := i + 1; next < len(o.versions) && !o.versions[next].taken.IsZero() && o.versions[next].taken.Before(since) {
			continue
		}
		all = append(all, v)
	}
	return all
}

func (o *LabOrder) cancelled(by time.Time) bool {
	return !o.cancelTaken.IsZero() && o.cancelTaken.Before(by)
}

// test judges one test of what an analyser was told.
func (l *Lab) test(t Told, of []*LabOrder, test string, since time.Time) {
	id := t.Device + " " + t.Specimen
	var over, old *LabOrder
	for _, o := range of {
		if o.OtherDay {
			continue
		}
		current := slices.ContainsFunc(o.possible(since), func(v labVersion) bool { return v.has(test) })
		known := slices.ContainsFunc(o.versions, func(v labVersion) bool { return v.has(test) })
		switch {
		case current && o.cancelled(since):
			over = o
		case known && o.cancelled(since):
			over = o
		case current:
			if t.Patient != "" && t.Patient != o.Patient {
				l.counts.NotOrdered++
				l.differ("not ordered", id, "told to run %s for patient %q, and order %s is of %q", test, t.Patient, o.Placer, o.Patient)
			}
			if o.told[test] {
				l.counts.Again++
			}
			o.told[test] = true
			return
		case known:
			old = o
		}
	}
	switch {
	case over != nil:
		l.counts.CancelledRun++
		l.differ("cancelled run", id, "%s of order %s, whose cancel was acknowledged %v before", test, over.Placer, t.Began.Sub(over.cancelTaken))
	case old != nil:
		l.counts.OldVersion++
		l.differ("older version", id, "%s of order %s, which a newer version does not have", test, old.Placer)
	default:
		l.counts.NotOrdered++
		l.differ("not ordered", id, "told to run %s, and nobody ordered it for this specimen", test)
	}
}

// complete looks for tests that an answer should have had.
func (l *Lab) complete(of []*LabOrder, t Told, since time.Time) {
	for _, o := range of {
		for _, test := range o.due(since) {
			if !slices.Contains(t.Tests, test) && !slices.Contains(t.Done, test) {
				l.counts.Incomplete++
				l.differ("left out", t.Device+" "+t.Specimen, "%s of order %s", test, o.Placer)
			}
		}
	}
}

// due are the tests that the gateway must have known of since a time, and that nothing
// is on its way to change.
func (o *LabOrder) due(since time.Time) []string {
	if o.OtherDay || !o.cancelSent.IsZero() {
		return nil
	}
	possible := o.possible(since)
	if len(possible) != 1 || possible[0].taken.IsZero() || !possible[0].taken.Before(since) {
		return nil
	}
	return possible[0].tests()
}

// Nothing judges that an analyser was told that there is no order for a specimen.
func (l *Lab) Nothing(device, specimen string, done []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Nothing++
	of := l.by[join(device, specimen)]
	since := l.since(of, time.Time{})
	for _, o := range of {
		left := slices.DeleteFunc(o.due(since), func(test string) bool { return slices.Contains(done, test) })
		if len(left) > 0 {
			l.counts.Denied++
			l.differ("denied", device+" "+specimen, "told that there is no order, and %s asks for %v", o.Placer, left)
		}
	}
}

// Open reports whether an order for the specimen holds whose tests it was not yet told.
func (l *Lab) Open(device, specimen string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range l.by[join(device, specimen)] {
		if !o.OtherDay && o.cancelSent.IsZero() && len(o.versions) > 0 &&
			slices.ContainsFunc(o.versions[len(o.versions)-1].tests(), func(test string) bool { return !o.told[test] }) {
			return true
		}
	}
	return false
}

// Item makes the truth of a message of results ready to be offered: where it belongs,
// and whether the gateway may keep it. required says that the analyser's results need an
// order.
func (l *Lab) Item(it Item, device string, required bool) Item {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Results++
	l.counts.Tests += len(it.Results)
	sent := l.log.now()
	it.Filed = func(d Delivery) []string { return l.filed(it, device, d, sent) }
	it.Kept = func() string { return l.kept(it, device, required) }
	for _, o := range l.by[join(device, it.Key)] {
		if !o.cancelSent.IsZero() && slices.ContainsFunc(it.Results, func(r Result) bool { return o.told[r.Code] }) {
			l.counts.Crossed++
		}
	}
	return it
}

// of are the orders that a result may stand under; the ones that have the test.
func (l *Lab) of(device, specimen, code string) (all []*LabOrder) {
	for _, o := range l.by[join(device, specimen)] {
		if !o.OtherDay && slices.ContainsFunc(o.versions, func(v labVersion) bool { return v.has(code) }) {
			all = append(all, o)
		}
	}
	return all
}

// filed says what is wrong with where a delivery stands.
func (l *Lab) filed(it Item, device string, d Delivery, sent time.Time) (wrong []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d.Key != it.Key {
		wrong = append(wrong, fmt.Sprintf("a result of specimen %s stands under specimen %s", it.Key, d.Key))
	}
	for _, r := range d.Results {
		of := l.of(device, it.Key, r.Code)
		wrong = append(wrong, l.result(of, d, r, sent)...)
	}
	return wrong
}

func (l *Lab) result(of []*LabOrder, d Delivery, r Result, sent time.Time) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	at := slices.IndexFunc(of, func(o *LabOrder) bool { return o.Placer == r.Placer })
	switch {
	case r.Placer == "" && len(of) == 0:
		return nil
	case r.Placer == "":
		// Without its order only where that has not the test any more.
		if slices.ContainsFunc(of, func(o *LabOrder) bool { return o.holds(r.Code) }) {
			say("%s stands under no order, and %s asked for it", r.Code, of[0].Placer)
		}
		return wrong
	case at < 0:
		say("%s stands under order %s, which did not ask for it", r.Code, r.Placer)
		return wrong
	}
	o := of[at]
	if number, _, _ := strings.Cut(d.Patient, " "); number != o.Patient {
		say("%s of order %s stands under patient %q, and is of %q", r.Code, o.Placer, number, o.Patient)
	}
	if o.Filler != "" && r.Filler != o.Filler {
		say("%s of order %s has the filler number %q, should be %q", r.Code, o.Placer, r.Filler, o.Filler)
	}
	if !slices.ContainsFunc(o.versions, func(v labVersion) bool {
		return slices.ContainsFunc(v.services, func(s LabService) bool { return s.Code == r.Service && slices.Contains(s.Tests, r.Code) })
	}) {
		say("%s stands under %q of order %s, which is another test", r.Code, r.Service, o.Placer)
	}
	if o.cancelled(sent) {
		say("%s stands under order %s, which was cancelled before it was sent", r.Code, o.Placer)
	}
	if len(wrong) == 0 {
		l.counts.Filed++
	}
	return wrong
}

// holds reports whether every version has the test and nothing was sent to end it.
func (o *LabOrder) holds(test string) bool {
	return o.cancelSent.IsZero() && !slices.ContainsFunc(o.versions, func(v labVersion) bool { return !v.has(test) })
}

// kept says why the gateway may keep a message.
func (l *Lab) kept(it Item, device string, required bool) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	ordered := false
	for _, r := range it.Results {
		of := l.of(device, it.Key, r.Code)
		ordered = ordered || len(of) > 0
		for _, o := range of {
			switch {
			case !o.cancelSent.IsZero():
				return "the order was cancelled"
			case !o.holds(r.Code):
				return "the order was changed"
			}
		}
	}
	if !ordered && required {
		return "there is no order"
	}
	return ""
}

// report is the state at the end.
func (l *Lab) report() (LabCounts, []Difference) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, wrong := l.counts, slices.Clone(l.wrong)
	for _, o := range l.orders {
		if o.OtherDay || o.asked.IsZero() || !o.cancelSent.IsZero() || len(o.versions) == 0 {
			continue
		}
		v := o.versions[len(o.versions)-1]
		left := slices.DeleteFunc(v.tests(), func(test string) bool { return o.told[test] })
		if len(left) == 0 || v.taken.IsZero() {
			continue
		}
		c.NeverRun++
		if len(wrong) < maxDifferences {
			wrong = append(wrong, Difference{"never run", ORU, o.Placer, fmt.Sprintf("%s specimen %s: %v; told were %v", o.Device, o.Specimen, left, slices.Sorted(maps.Keys(o.told)))})
		}
	}
	return c, wrong
}
