// Package truth is the ground truth of a simulated hospital: what the simulated
// devices handed over and had acknowledged, and what arrived at the simulated
// destinations. It compares the two by the rules below and knows nothing of any
// wire format.
//
//   - received: acknowledged to the device, so that it may forget it;
//   - delivered: received, and accepted by every destination that it is for;
//   - held: received, and the last word of a destination was a refusal (AE, a
//     C-STORE failure): the gateway keeps it for a person, it is not lost;
//   - lost: received, and neither delivered nor held at the end;
//   - doubled: one item arrived under two names (message control IDs, sequence
//     numbers), more than the device itself sent it again. A repeat under the
//     same name is counted apart: that is how a delivery at least once looks. On the
//     connection on which it was accepted it is doubled all the same, for nothing was
//     lost there, and nobody has begun anew;
//   - changed: a code, value, unit, flag, status, time or specimen differs, one
//     is missing or was never sent, the bytes of a data set differ, a name came
//     back with other bytes, or something arrived that should not;
//   - misfiled: a result stands under another order, patient or specimen than it is of;
//   - kept: received, and for a person of the laboratory to look at, as it should be: a
//     result of a cancelled order, or without an order where one is required;
//   - out of order: an item that came before one of the same source and key that
//     was received earlier.
//
// What is not acknowledged when the run ends was not accepted: it is the
// device's still, not lost.
package truth

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// A Kind is what is counted together.
type Kind string

// The kinds of a report.
const (
	ORU         Kind = "oru_messages"
	Instance    Kind = "sop_instances"
	Observation Kind = "observations"
)

// A Result is one value inside an item. Empty Unit, Flag and Status are
// compared too; a zero Times is not.
type Result struct {
	Code   string      `json:"code"`
	Value  string      `json:"value"`
	Unit   string      `json:"unit,omitempty"`
	Flag   string      `json:"flag,omitempty"`
	Status string      `json:"status,omitempty"`
	Times  []time.Time `json:"times,omitempty"` // sent: at most one; arrived: every time that the destination was told

	// Of what arrived: the numbers of the order that it stands under, and what was
	// ordered by it. A sent result has none: see Item.Filed.
	Placer  string `json:"placer,omitempty"`
	Filler  string `json:"filler,omitempty"`
	Service string `json:"service,omitempty"`

	// Optional is a result that a profile may leave out (images, suspect
	// messages). Where it arrives it is compared like any other.
	Optional bool `json:"optional,omitempty"`
}

// An Item is one thing that a device hands over.
type Item struct {
	Kind    Kind
	ID      string   // unique in a run, e.g. "xn-1/17"
	Source  string   // the device
	Key     string   // how a destination knows it: specimen, SOP Instance UID, device|code|time
	To      []string // destinations; none: it must arrive nowhere (control material)
	Digest  string   // of the data set, where bytes are compared
	Patient string   // identifier and parts of the name in sorted order
	Results []Result

	// Filed, of a result of an order, says in words what is wrong with where a delivery
	// stands: order, patient, specimen. The values of such items must be of them alone,
	// for by them it is found. It then stands for the comparison of Key and Patient.
	Filed func(Delivery) []string
	// Kept says why the gateway may keep the item for a person, "" that it may not; it
	// is asked at the end. nil: it may not.
	Kept func() string
}

// A Delivery is what a destination received.
type Delivery struct {
	Kind        Kind     `json:"kind"`
	Destination string   `json:"destination"`
	Key         string   `json:"key"`
	Name        string   `json:"name"`             // message control ID, SOP Instance UID, sequence number
	Digest      string   `json:"digest,omitempty"` // of the bytes as received; equal names must have equal digests
	Patient     string   `json:"patient,omitempty"`
	Results     []Result `json:"results,omitempty"`
	Faults      []string `json:"faults,omitempty"`     // what the destination itself found wrong with it
	Connection  int64    `json:"connection,omitempty"` // that it came on, where the destination tells them apart; 0: it does not
	Outcome     Outcome  `json:"outcome"`
	Answer      string   `json:"answer"` // the answer, in words or as a code
}

// An Outcome is what the destination's answer meant.
type Outcome int

// The outcomes of a delivery. Unanswered is everything that leaves the gateway
// in doubt: silence, a closed connection, an answer that is none.
const (
	Unanswered Outcome = iota
	Refused
	Accepted
)

var outcomes = []string{"unanswered", "refused", "accepted"}

// MarshalText is the outcome as a word.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(outcomes[o]), nil }

type item struct {
	Item
	number       int // in the order of the offers
	acknowledged time.Time
	refused      string // what the device was told when it gave up
	excused      string
	resent       int
	at           map[string]*arrival // by destination
}

type arrival struct {
	names    []string
	accepted time.Time // the first time
	outcome  Outcome   // the last
	answer   string
}

type named struct {
	item     *item
	digest   string
	accepted int64 // the connection on which it was accepted last; 0: none
}

// took notes where a name was accepted.
func (n named) took(d Delivery) named {
	if d.Outcome == Accepted {
		n.accepted = d.Connection
	}
	return n
}

// A Log keeps the ground truth. All methods may be called concurrently.
type Log struct {
	now func() time.Time

	mu      sync.Mutex
	out     *json.Encoder
	items   []*item
	byID    map[string]*item
	byKey   map[Kind]map[string][]*item
	names   map[string]named // kind, destination, name
	repeats map[Kind]int
	resends map[Kind]int
	doubled map[Kind]int
	changed map[Kind]int
	unknown map[Kind]int
	disord  map[Kind]int
	diffs   []Difference
	newest  map[string]int   // kind, destination, source, key: the highest number that arrived
	values  map[string]*item // code and value of what has Filed
	misfile map[Kind]int
	lab     *Lab
	err     error
}

// New returns an empty log that also writes each event as a line of JSON to w,
// which may be nil.
func New(w io.Writer, now func() time.Time) *Log {
	l := &Log{
		now: now, byID: map[string]*item{}, byKey: map[Kind]map[string][]*item{}, names: map[string]named{},
		repeats: map[Kind]int{}, resends: map[Kind]int{}, doubled: map[Kind]int{}, changed: map[Kind]int{},
		unknown: map[Kind]int{}, disord: map[Kind]int{}, newest: map[string]int{}, values: map[string]*item{}, misfile: map[Kind]int{},
	}
	if w != nil {
		l.out = json.NewEncoder(w)
	}
	return l
}

// Offer says that a device is about to send it. It stands before the first byte
// leaves, because the destination may have it before the device sees the
// acknowledgement. A second Offer of an ID is an error of the simulator.
func (l *Log) Offer(it Item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byID[it.ID] != nil {
		l.differ("simulator", it.Kind, it.ID, "offered twice")
		return
	}
	i := &item{Item: it, number: len(l.items), at: map[string]*arrival{}}
	l.items = append(l.items, i)
	l.byID[it.ID] = i
	if l.byKey[it.Kind] == nil {
		l.byKey[it.Kind] = map[string][]*item{}
	}
	l.byKey[it.Kind][it.Key] = append(l.byKey[it.Kind][it.Key], i)
	if it.Filed != nil {
		for _, r := range it.Results {
			l.values[join(r.Code, r.Value)] = i
		}
	}
	l.write("offered", it.Kind, it.ID, it.Key, "", it.Digest, it.Results)
}

// Acknowledge says that the device was told that it may forget the item.
func (l *Log) Acknowledge(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.byID[id]
	if i == nil || !i.acknowledged.IsZero() {
		return
	}
	i.acknowledged = l.now()
	l.write("acknowledged", i.Kind, id, i.Key, "", "", nil)
}

// Refuse says that the device was told no and gave the item up.
func (l *Log) Refuse(id, answer string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := l.byID[id]; i != nil {
		i.refused = answer
		l.write("refused", i.Kind, id, i.Key, answer, "", nil)
	}
}

// Resend says that the device sends the whole item again although the receiver
// may have it and saw the first session end: the receiver may take it for a
// deliberate resend, so one more name is allowed.
func (l *Log) Resend(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := l.byID[id]; i != nil {
		i.resent++
		l.write("resent", i.Kind, id, i.Key, "", "", nil)
	}
}

// Excuse takes an item out of the comparison because the simulator could not
// have seen it arrive. It is counted as unseen unless it arrives after all.
func (l *Log) Excuse(id, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := l.byID[id]; i != nil {
		i.excused = why
	}
}

// ExcuseOutstanding excuses every item of the kind that has not arrived.
func (l *Log) ExcuseOutstanding(k Kind, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, i := range l.items {
		if i.Kind == k && i.excused == "" && !i.delivered() {
			i.excused = why
		}
	}
}

// Arrive says that a destination received something, whatever it answered.
func (l *Log) Arrive(d Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.write("arrived, "+outcomes[d.Outcome], d.Kind, d.Name, d.Key, d.Answer, d.Digest, d.Results)

	name := join(string(d.Kind), d.Destination, d.Name)
	if n, ok := l.names[name]; ok {
		l.repeats[d.Kind]++
		if n.digest != d.Digest {
			l.changed[d.Kind]++
			l.differ("changed", d.Kind, l.id(n.item, d), "the name "+d.Name+" came back with other bytes")
		}
		if n.accepted != 0 && n.accepted == d.Connection {
			l.doubled[d.Kind]++
			l.differ("doubled", d.Kind, l.id(n.item, d), "the name "+d.Name+" came again on the connection on which it was accepted")
		}
		l.names[name] = n.took(d)
		l.settle(n.item, d)
		return
	}
	i := l.find(d)
	l.names[name] = named{item: i, digest: d.Digest}.took(d)
	if i == nil {
		l.unknown[d.Kind]++
		l.changed[d.Kind]++
		l.differ("changed", d.Kind, d.Name, fmt.Sprintf("%s received %q, which nobody sent", d.Destination, d.Key))
		return
	}
	if i.Filed != nil {
		wrong := i.Filed(d)
		if len(wrong) > 0 {
			l.misfile[d.Kind]++
		}
		for _, w := range wrong {
			l.differ("misfiled", d.Kind, i.ID, w)
		}
	}
	if wrong := compare(i, d); len(wrong) > 0 {
		l.changed[d.Kind]++
		for _, w := range wrong {
			l.differ("changed", d.Kind, i.ID, w)
		}
	}
	l.count(i, d)
	l.settle(i, d)
}

// count looks at the second and later names of an item, and at the order of
// the first ones.
func (l *Log) count(i *item, d Delivery) {
	a := i.arrival(d.Destination)
	a.names = append(a.names, d.Name)
	switch {
	case len(a.names) == 1:
		place := join(string(d.Kind), d.Destination, i.Source, i.Key)
		if newest, ok := l.newest[place]; ok && newest > i.number {
			l.disord[d.Kind]++
			l.differ("out of order", d.Kind, i.ID, "came after a later one of "+i.Key)
		}
		l.newest[place] = max(l.newest[place], i.number)
	case len(a.names) <= 1+i.resent:
		l.resends[d.Kind]++
	default:
		l.doubled[d.Kind]++
		l.differ("doubled", d.Kind, i.ID, fmt.Sprintf("arrived under the names %v", a.names))
	}
}

func (l *Log) settle(i *item, d Delivery) {
	if i == nil {
		return
	}
	a := i.arrival(d.Destination)
	a.outcome, a.answer = d.Outcome, d.Answer
	if d.Outcome == Accepted && a.accepted.IsZero() {
		a.accepted = l.now()
	}
}

// find is the item that a delivery is: by its values where they are of one item alone.
func (l *Log) find(d Delivery) *item {
	for _, r := range d.Results {
		if i := l.values[join(r.Code, r.Value)]; i != nil {
			return i
		}
	}
	return l.match(d)
}

// match finds the item that a delivery is: of those with its key, the one that
// shares most codes, the oldest that has not arrived yet first.
func (l *Log) match(d Delivery) *item {
	var best *item
	most := -1
	for _, i := range l.byKey[d.Kind][d.Key] {
		same := 2 * shared(i.Results, d.Results)
		if a := i.at[d.Destination]; a == nil {
			same++
		}
		if same > most {
			best, most = i, same
		}
	}
	return best
}

func shared(sent, arrived []Result) int {
	n := 0
	for _, s := range sent {
		if slices.ContainsFunc(arrived, func(a Result) bool { return a.Code == s.Code && a.Value == s.Value }) {
			n += 2
			continue
		}
		if slices.ContainsFunc(arrived, func(a Result) bool { return a.Code == s.Code }) {
			n++
		}
	}
	return n
}

func compare(i *item, d Delivery) []string {
	var wrong []string
	if !slices.Contains(i.To, d.Destination) {
		wrong = append(wrong, "must not arrive at "+d.Destination)
	}
	wrong = append(wrong, d.Faults...)
	if i.Digest != "" && i.Digest != d.Digest {
		wrong = append(wrong, fmt.Sprintf("the bytes differ: sent %.16s, arrived %.16s", i.Digest, d.Digest))
	}
	if i.Filed == nil && i.Patient != d.Patient {
		wrong = append(wrong, fmt.Sprintf("the patient %q became %q", i.Patient, d.Patient))
	}
	arrived := slices.Clone(d.Results)
	for _, s := range i.Results {
		at := slices.IndexFunc(arrived, func(a Result) bool { return a.Code == s.Code })
		if at < 0 {
			if !s.Optional {
				wrong = append(wrong, "code "+s.Code+" is missing")
			}
			continue
		}
		wrong = append(wrong, differences(s, arrived[at])...)
		arrived = slices.Delete(arrived, at, at+1)
	}
	for _, a := range arrived {
		wrong = append(wrong, "code "+a.Code+" was not sent")
	}
	return wrong
}

func differences(sent, arrived Result) []string {
	var wrong []string
	field := func(what, s, a string) {
		if s != a {
			wrong = append(wrong, fmt.Sprintf("code %s: %s %q became %q", sent.Code, what, s, a))
		}
	}
	field("value", sent.Value, arrived.Value)
	field("unit", sent.Unit, arrived.Unit)
	field("flag", sent.Flag, arrived.Flag)
	field("status", sent.Status, arrived.Status)
	for _, t := range sent.Times {
		if !slices.ContainsFunc(arrived.Times, t.Equal) {
			wrong = append(wrong, fmt.Sprintf("code %s: time %s became %v", sent.Code, t.Format(time.RFC3339Nano), arrived.Times))
		}
	}
	return wrong
}

func (i *item) arrival(destination string) *arrival {
	a := i.at[destination]
	if a == nil {
		a = &arrival{}
		i.at[destination] = a
	}
	return a
}

// delivered reports whether every destination accepted the item.
func (i *item) delivered() bool {
	return !slices.ContainsFunc(i.To, func(d string) bool {
		a := i.at[d]
		return a == nil || a.accepted.IsZero()
	})
}

// held reports whether some destination's last word was no, and no destination
// is merely silent.
func (i *item) held() bool {
	for _, d := range i.To {
		a := i.at[d]
		if a == nil || a.accepted.IsZero() && a.outcome != Refused {
			return false
		}
	}
	return !i.delivered()
}

// kept says why the gateway may keep the item.
func (i *item) kept() string {
	if i.Kept == nil {
		return ""
	}
	return i.Kept()
}

// Outstanding is how many acknowledged items have not arrived yet; what was
// refused counts, for it may be sent again.
func (l *Log) Outstanding() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, i := range l.items {
		if !i.acknowledged.IsZero() && i.excused == "" && !i.delivered() && i.kept() == "" {
			n++
		}
	}
	return n
}

// Missing names the first n acknowledged items that have not arrived.
func (l *Log) Missing(n int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids []string
	for _, i := range l.items {
		if len(ids) < n && !i.acknowledged.IsZero() && i.excused == "" && !i.delivered() && i.kept() == "" {
			ids = append(ids, i.ID)
		}
	}
	return ids
}

// Err is the first failure to write the log's file.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

const maxDifferences = 200

func (l *Log) differ(what string, k Kind, id, detail string) {
	if len(l.diffs) < maxDifferences {
		l.diffs = append(l.diffs, Difference{what, k, id, detail})
	}
}

func (l *Log) id(i *item, d Delivery) string {
	if i == nil {
		return d.Name
	}
	return i.ID
}

type line struct {
	At      time.Time `json:"at"`
	Event   string    `json:"event"`
	Kind    Kind      `json:"kind"`
	ID      string    `json:"id"`
	Key     string    `json:"key,omitempty"`
	Answer  string    `json:"answer,omitempty"`
	Digest  string    `json:"digest,omitempty"`
	Results []Result  `json:"results,omitempty"`
}

func (l *Log) write(event string, k Kind, id, key, answer, digest string, results []Result) {
	if l.out == nil || l.err != nil {
		return
	}
	l.err = l.out.Encode(line{l.now().UTC(), event, k, id, key, answer, digest, results})
}

func join(parts ...string) string {
	b, _ := json.Marshal(parts) // strings always marshal, and never run together
	return string(b)
}

// percentile is the nearest-rank percentile of sorted values.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	at := (len(sorted)*p + 99) / 100
	return sorted[min(max(at, 1), len(sorted))-1]
}

func latencies(items []*item) Latency {
	var all []time.Duration
	for _, i := range items {
		for _, a := range i.at {
			if !a.accepted.IsZero() && !i.acknowledged.IsZero() {
				all = append(all, max(0, a.accepted.Sub(i.acknowledged)))
			}
		}
	}
	slices.SortFunc(all, cmp.Compare)
	return Latency{ms(percentile(all, 50)), ms(percentile(all, 99))}
}

func ms(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}
