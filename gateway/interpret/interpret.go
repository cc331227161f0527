// Package interpret takes what intake has stored and makes of it what the
// destinations get. One item of the queue "interpret" becomes, in one commit,
// the rendered messages with their control IDs, one queue item per destination,
// and its own removal: a crash between any two steps repeats a step and nothing
// else.
//
//	journal entry -> profile -> record.Report -> route -> lis.ORU -> out/<destination> + to/<destination>
//	SOP instance  -> route -> to/<destination>
//	observations  -> MQTT topic, vitals message -> to/<destination>
//
// What cannot be understood is held, with the reason.
package interpret

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"nhip/drivers/profile"
	"nhip/gateway/delivery"
	"nhip/gateway/intake"
	"nhip/gateway/lab"
	"nhip/gateway/lis"
	"nhip/gateway/mapping/live"
	"nhip/gateway/orders"
	"nhip/gateway/qc"
	"nhip/gateway/reason"
	"nhip/gateway/record"
	"nhip/gateway/route"
	"nhip/hl7"
	"nhip/storage"
)

// The kinds of connections.
const (
	Analyser = "analyser"
	Modality = "modality"
	Monitor  = "monitor"
	Peer     = "hl7_peer"
	MQTTUser = "mqtt_user"
)

// A Connection is what interpretation has to know of one of the site's.
type Connection struct {
	Name    string
	Kind    string
	Zone    *time.Location
	Profile *profile.Profile // of an analyser
	// Observe reads what a monitor sent.
	Observe func(body []byte, received time.Time) ([]record.Observation, error)
	Charset hl7.CharsetRule // of a system: how its messages are read
	// HoldFilms says of a modality that a printed film which names no patient waits for a
	// person.
	HoldFilms bool
	// Render makes a message of observations, for destinations of kind HL7.
	Render func(body []byte, obs []record.Observation, ends lis.Ends, controlID string, received time.Time) ([]byte, error)
}

// Site names the gateway in what it sends.
type Site struct{ ID, Name string }

// An outbound is one thing for one destination.
type outbound struct {
	destination string
	ticket      delivery.Ticket
	group       string
	body        []byte // nil: the received entry itself is sent
	passed      bool   // it is what was received, changed by a map or not
	mapped      string // the map that has changed it
	codes       string // the version of the code table that made it
}

// A held is something that waits for a person.
type held struct {
	subject string
	why     reason.Reason
	to      intake.For // zero: all of the entry
}

// An outcome is all that one item becomes. Every unit is one message for one
// destination, or one reason why there is none.
type outcome struct {
	out        []outbound
	held       []held
	consumed   map[string]int
	index      []string       // names in the index
	deviceTime time.Time      // of the message, by the device's clock; zero: it says none
	doubt      *profile.Doubt // the first of what was not readable as it should be
	observed   []record.Observation
	controls   []record.Report // of control material, for their charts
	marks      []orders.Mark   // how far orders are
	measured   []measured      // its reports, as they came
	notes      map[string]int  // counted for people, outside the conservation sum
	before     *Fate           // only a part of the entry is interpreted again: what the rest became
}

// find adds an identifier that the entry is found by.
func (o *outcome) find(kind intake.Identifier, value string) {
	if strings.TrimSpace(value) == "" || value == hl7.Null {
		return
	}
	if name := intake.IndexName(kind, value); !slices.Contains(o.index, name) {
		o.index = append(o.index, name)
	}
}

func (o *outcome) consume(kind string, n int) {
	if n == 0 {
		return
	}
	if o.consumed == nil {
		o.consumed = map[string]int{}
	}
	o.consumed[kind] += n
}

func (o *outcome) note(kind string, n int) {
	if n == 0 {
		return
	}
	if o.notes == nil {
		o.notes = map[string]int{}
	}
	o.notes[kind] += n
}

func (o *outcome) hold(subject string, code reason.Code, args ...string) {
	o.held = append(o.held, held{subject: subject, why: reason.New(code, args...)})
}

// units is how many parts of the conservation sum the item became.
func (o *outcome) units() int {
	n := len(o.out) + len(o.held)
	for _, c := range o.consumed {
		n += c
	}
	return n
}

// A reader interprets entries. It is pure but for the Series.
type reader struct {
	site        Site
	connections map[string]Connection
	routes      route.Table
	series      *Series
	released    bool // the item was released by a person
	maps        *live.Maps
	codes       func(connection string) *CodeTable // nil: there are none
	to          *intake.For                        // only that part is interpreted again
	finishes    map[string]Finish
	over        string // the kind under which the message ends here: an intake.Application has said so
	knows       Knowledge
	ref         storage.Ref                        // of the entry
	before      func(measured) ([]measured, error) // what else came of the specimen and orders of a report; nil: nobody looks
	batch       []measured                         // what the batch under way has made
}

// read says what becomes of an entry.
func (r *reader) read(e intake.Entry, body []byte, now time.Time) (o outcome) {
	c, ok := r.connections[e.Connection]
	if !ok && e.Kind != intake.KindStatus {
		o.hold("", reason.NotConfigured, e.Connection)
		return o
	}
	switch {
	case e.Kind == intake.KindStatus:
		r.orderStatus(&o, body, now)
	case e.Kind == intake.KindDICOM:
		r.object(&o, c, e)
	case e.Kind == intake.KindStep:
		r.step(&o, c, e)
	case e.Kind == intake.KindCommitment: // the gateway's own; kept beside the entry
		o.index = e.Identifiers()
		o.consume(string(e.Kind), 1)
	case c.Kind == Monitor:
		r.observations(&o, c, e, body)
	case c.Kind == MQTTUser:
		o.consume(route.NoDestination, 1)
	case c.Kind == Peer:
		r.passThrough(&o, c, e, body)
	case c.Kind == Analyser:
		r.reports(&o, c, e, body, now)
	default:
		o.hold("", reason.WrongKind, c.Kind, string(e.Kind))
	}
	if r.to != nil && r.to.Destination != "" {
		o = o.only(*r.to)
	}
	r.mapTo(&o, c, e, body)
	r.finish(&o, c, e, body)
	if o.units() == 0 {
		o.consume("no_result", 1)
	}
	return o
}

func (r *reader) reports(o *outcome, c Connection, e intake.Entry, body []byte, now time.Time) {
	x, err := c.Profile.Extract(body, c.Zone)
	if err != nil {
		o.hold("", reason.Unreadable, err.Error())
		return
	}
	if n := len(x.Unread); n > 0 && !r.released && r.report() == 0 {
		o.hold("", reason.PartUnread, strconv.Itoa(n), x.Unread[0])
		return
	}
	table := r.table(c.Name) // one for all of the entry
	if r.report() == 0 {
		o.beside(x, e, table)
	}
	to, why := r.routes.For(c.Name, route.HL7)
	practice := practiceOf(e, body)
	for i, rep := range x.Reports {
		if n := r.report(); n > 0 && n != i+1 {
			continue
		}
		rep.Device.Connection = c.Name
		table.control(&rep)
		o.find(intake.Specimen, rep.Specimen.ID)
		if rep.Patient != nil {
			o.find(intake.Patient, rep.Patient.ID)
		}
		if o.deviceTime.IsZero() {
			o.deviceTime = rep.MessageTime.At
		}
		switch {
		case rep.Control:
			r.controls(o, rep, i+1, e, table)
			continue
		case len(rep.Results) == 0:
			o.consume("no_result", 1)
			continue
		case rep.Specimen.ID == "":
			o.hold("", reason.NoSpecimen, strconv.Itoa(len(rep.Results)))
			continue
		case why != "":
			o.consume(why, 1)
			continue
		case practice != "" && !r.released:
			o.hold(rep.Specimen.ID, reason.NotProduction, practice)
			continue
		}
		of, ok := r.ordered(o, c, rep, i+1, e, table)
		hold, old := r.older(o, x.Reports[i], i+1, of, e)
		if !ok || hold {
			continue
		}
		if rep, ok = r.coded(o, rep, i+1, e, table); !ok {
			continue
		}
		r.answers(o, of)
		for _, d := range to {
			r.render(o, rep, of, d, e, now.In(c.Zone), old, table)
		}
	}
}

// practiceOf is what an HL7 message says that makes it none of production.
func practiceOf(e intake.Entry, body []byte) string {
	if e.Kind != intake.KindHL7 {
		return ""
	}
	m, _ := hl7.Parse(body)
	if m == nil {
		return ""
	}
	return notProduction(m)
}

// beside notes what a message has beside its reports.
func (o *outcome) beside(x profile.Extraction, e intake.Entry, table *CodeTable) {
	o.consume("query", x.Queries)
	for code, n := range x.Undeclared {
		if !table.knows(code) {
			o.note("undeclared code", n)
		}
	}
	for _, n := range x.Ignored {
		o.note("ignored code", n)
	}
	o.note("problem", len(x.Problems))
	if len(x.Doubts) > 0 && e.Kind != intake.KindHL7 {
		o.doubt = &x.Doubts[0]
	}
}

// report is the number of the report that alone is interpreted again; 0: all are.
func (r *reader) report() int {
	if r.to == nil {
		return 0
	}
	return r.to.Report
}

// ordered finds the orders that the nth report of an entry answers. ok is false where a
// person has to look at it first; it is held by itself, and what else the entry has goes
// on.
func (r *reader) ordered(o *outcome, c Connection, rep record.Report, n int, e intake.Entry, table *CodeTable) (of lab.Finding, ok bool) {
	if r.knows.Ordered == nil {
		return of, true
	}
	look := Look{Received: e.At, Released: r.released, Codes: table.value()}
	if r.to != nil {
		look.Order, look.Released = r.to.Order, r.to.Unmatched || r.to.Destination != ""
	}
	of, err := r.knows.Ordered(c.Name, rep, look)
	switch {
	case err != nil:
		o.held = append(o.held, held{rep.Specimen.ID, reason.New(reason.Damaged, err.Error()), r.part(n)})
		return of, false
	case of.Hold != "":
		o.held = append(o.held, held{rep.Specimen.ID, reason.New(of.Hold, of.Args...), r.part(n)})
		return of, false
	case of.Without:
		o.note("without an order", 1)
	}
	return of, true
}

// answers notes the orders that a report answers, which goes out.
func (r *reader) answers(o *outcome, of lab.Finding) {
	o.marks = append(o.marks, of.Marks...)
	for _, x := range of.Ordered {
		o.find(intake.Order, x.Order.Placer.ID)
	}
}

func (r *reader) render(o *outcome, rep record.Report, of lab.Finding, d route.Destination, e intake.Entry, now time.Time, old bool, table *CodeTable) {
	id := r.series.Take()
	b, what, err := r.results(rep, of, d, id, now, e.Resend, old)
	if err != nil {
		o.hold(rep.Specimen.ID, reason.NotRendered, err.Error())
		return
	}
	o.out = append(o.out, outbound{
		destination: d.Name,
		ticket:      delivery.Ticket{ID: id, What: what, Of: rep.Specimen.ID, Stat: rep.Stat() || slices.ContainsFunc(rep.Results, func(x record.Result) bool { return critical(x.Flag) })},
		group:       line(rep, of),
		body:        b,
		codes:       table.version(),
	})
}

func (r *reader) ends(d route.Destination) lis.Ends {
	return lis.Ends{
		SendingApplication: "NHIP", SendingFacility: r.site.ID, SiteName: r.site.Name,
		ReceivingApplication: d.ReceivingApplication, ReceivingFacility: d.ReceivingFacility,
	}
}

// passThrough hands on a message of a system, byte for byte under its own
// control ID.
func (r *reader) passThrough(o *outcome, c Connection, e intake.Entry, body []byte) {
	to, why := r.routes.For(c.Name, route.HL7)
	m, err := hl7.Parse(body)
	if m != nil {
		if bad := m.UseCharset(c.Charset); bad != nil { // the configuration was checked
			o.hold("", reason.Unreadable, bad.Error())
			return
		}
		o.identify(m, c.Zone)
	}
	if r.over != "" {
		why = r.over
	}
	if why != "" {
		o.consume(why, 1)
		return
	}
	if err != nil {
		o.hold("", reason.Unreadable, err.Error())
		return
	}
	if m.ControlID() == "" { // released by a person: no answer could name it
		o.hold("", reason.NoControlID)
		return
	}
	changed, ok := r.mapFrom(o, c, body, e.At)
	if !ok {
		return
	}
	if string(changed) == string(body) {
		changed = nil
	} else if m, err = hl7.Parse(changed); err != nil {
		o.hold("", reason.Unreadable, err.Error())
		return
	}
	code, event, _ := m.Type()
	t := delivery.Ticket{ID: m.ControlID(), What: code + "^" + event, Stat: m.Get("OBR-27.6") == "S" || m.Get("TQ1-9.1") == "S" || anyCritical(m, body)}
	for _, d := range to {
		o.out = append(o.out, outbound{destination: d.Name, ticket: t, group: subject(m), body: changed, passed: true})
	}
}

// notProduction is MSH-11 of a message that is not for the care of a patient: T
// training, D debugging (HL7 table 0103). Of an analyser's results we make messages
// that say P, so that theirs are held; a system's message goes on with its own.
func notProduction(m *hl7.Message) string {
	switch p := m.Get("MSH-11.1"); p {
	case "T", "D":
		return p
	}
	return ""
}

// criticalFlags are the abnormal flags of HL7 table 0078 by which a sender says
// that a value is critical. They make its message overtake others; nothing else is
// read into a value.
var criticalFlags = []string{"HH", "LL", "AA"}

// critical reports whether one of the flags of a value is critical.
func critical(flags string) bool {
	if len(flags) < 2 {
		return false
	}
	return slices.ContainsFunc(strings.FieldsFunc(flags, func(r rune) bool { return r == '~' || r == '^' }), func(f string) bool { return slices.Contains(criticalFlags, f) })
}

// anyCritical reports whether a message has a value with a critical flag.
func anyCritical(m *hl7.Message, body []byte) bool {
	if !slices.ContainsFunc(criticalFlags, func(f string) bool { return bytes.Contains(body, []byte(f)) }) {
		return false
	}
	return slices.ContainsFunc(m.Segments("OBX"), func(s hl7.Segment) bool {
		for i := 1; i <= maxRepeats; i++ {
			if f := s.Get("8[" + strconv.Itoa(i) + "].1"); f == "" || critical(f) {
				return f != ""
			}
		}
		return false
	})
}

// An identifier is where an HL7 segment has what its message is found by.
type identifier struct {
	path string
	kind intake.Identifier
}

// identifiers by segment.
var identifiers = map[string][]identifier{
	"PID": append([]identifier{{"2.1", intake.Patient}, {"3.1", intake.Patient}, {"4.1", intake.Patient}}, repeats("3[%d].1", intake.Patient)...),
	"SPM": {{"2.1.1", intake.Specimen}, {"2.2.1", intake.Specimen}},
	"OBR": {{"2.1", intake.Order}, {"3.1", intake.Order},
		{"3.1", intake.Specimen}, // where analysers and many systems put it
		{"18", intake.Accession}},
	"ORC": {{"2.1", intake.Order}, {"3.1", intake.Order}},
	"IPC": {{"1.1", intake.Accession}},
}

var identified = slices.Sorted(maps.Keys(identifiers))

// repeats are the second and later repetitions of a field.
func repeats(path string, kind intake.Identifier) (all []identifier) {
	for i := 2; i <= maxRepeats; i++ {
		all = append(all, identifier{fmt.Sprintf(path, i), kind})
	}
	return all
}

// maxIdentifiers is how many identifiers one message is found by; a message
// with more has become one commit too large long before.
const maxIdentifiers = 500

// maxRepeats is how many repetitions of PID-3 are looked at.
const maxRepeats = 8

// identify takes from a message what it is found by, and its time.
func (o *outcome) identify(m *hl7.Message, zone *time.Location) {
	o.deviceTime, _ = hl7.ParseTime(m.Get("MSH-7.1"), zone)
	for _, s := range m.Segments(identified...) {
		for _, x := range identifiers[s.Name] {
			if len(o.index) >= maxIdentifiers {
				return
			}
			o.find(x.kind, s.Get(x.path))
		}
	}
}

// subject is what the order of messages is kept within: the specimen, else the
// patient.
func subject(m *hl7.Message) string {
	for _, p := range []string{"SPM-2", "OBR-3", "OBR-2", "PID-3"} {
		if v := m.Get(p + ".1"); v != "" && v != hl7.Null {
			return Group(p, v)
		}
	}
	return ""
}

func (r *reader) observations(o *outcome, c Connection, e intake.Entry, body []byte) {
	obs, err := c.Observe(body, e.At)
	if err != nil {
		o.hold("", reason.Unreadable, err.Error())
		return
	}
	o.observed = obs
	if m, err := hl7.Parse(body); err == nil && e.Kind == intake.KindHL7 {
		o.identify(m, c.Zone)
	}
	for _, x := range obs {
		if e.Kind == intake.KindObservation && x.Observed.At.After(o.deviceTime) {
			o.deviceTime = x.Observed.At
		}
	}
	if len(obs) == 0 {
		o.consume("no_observation", 1)
		return
	}
	to, why := r.routes.For(c.Name, route.HL7)
	if why != "" {
		o.consume(why, 1)
		return
	}
	for _, d := range to {
		id := r.series.Take()
		b, err := c.Render(body, obs, r.ends(d), id, e.At)
		if err != nil {
			o.hold("", reason.NotRendered, err.Error())
			continue
		}
		o.out = append(o.out, outbound{destination: d.Name, ticket: delivery.Ticket{ID: id, What: "ORU^R01"}, group: Group("monitor", c.Name), body: b})
	}
}

// Group is the name that the order of items is kept within. What the wire says
// goes into it as a hash.
func Group(kind, name string) string {
	sum := sha256.Sum256([]byte(name))
	return kind + "/" + hex.EncodeToString(sum[:12])
}

// SpecimenKeys is the prefix of the index keys of a specimen. The rest of such
// a key is the reference of the journal entry.
func SpecimenKeys(specimen string) string {
	return intake.IndexKeys(intake.IndexName(intake.Specimen, specimen))
}

// apply adds an outcome to a batch, and its counts to sums. It is how one item
// of the queue leaves it.
func (o *outcome) apply(b *storage.Batch, sums map[string]int64, item storage.QueueItem, e intake.Entry, now time.Time, in *intake.Intake) error {
	var about storage.Ref
	if len(item.About) > 0 {
		about = item.About[0]
	}
	b.Remove(intake.Interpret, item.Seq)
	f := Fate{Held: len(o.held), Consumed: slices.Sorted(maps.Keys(o.consumed)), Index: o.index, DeviceTime: o.deviceTime}
	for _, x := range o.out {
		x.ticket.Mark, x.ticket.From = x.ticket.ID, e.Connection
		if x.body == nil || x.passed {
			x.ticket.Mark = about.String()
		}
		f.Sent = append(f.Sent, Sent{x.destination, x.ticket.Mark})
		if x.body == nil {
			b.EnqueueRef(delivery.Queue(x.destination), x.group, x.ticket.Encode(), about)
			continue
		}
		if err := queue(b, in, intake.KindHL7, x.destination, x.group, x.ticket, about, x.body, now, made{x.mapped, x.codes}); err != nil {
			return err
		}
	}
	for _, rep := range o.controls {
		if err := qc.Add(b, e.Connection, rep, about.String(), e.At); err != nil {
			return err
		}
	}
	for _, h := range o.held {
		b.EnqueueRef(intake.HeldQueue, e.Connection, intake.HeldTicket{Subject: h.subject, Reason: h.why, Since: now.UTC(), For: h.to}.Encode(), item.About...)
	}
	if len(item.About) > 0 {
		put := b.PutNew
		if len(item.Value) > 0 { // intake.Again
			put = b.Put
		}
		for _, name := range o.index {
			put(intake.IndexKeys(name)+about.String(), nil)
		}
		if o.before != nil {
			f = o.before.with(f)
		}
		put(fateKey(about), f.encode())
	}
	sums[intake.CountAccepted] += int64(o.units() - 1)
	sums[intake.CountQueued] += int64(len(o.out) - 1)
	sums[intake.CountHeld] += int64(len(o.held))
	for k, n := range o.consumed {
		sums[intake.CountConsumed+k] += int64(n)
	}
	for k, n := range o.notes {
		sums["note/"+k] += int64(n)
	}
	return nil
}

// maxInline is the largest rendered message in the journal itself.
const maxInline = 64 << 10

// OutChannel is the journal channel of what is rendered for a destination.
func OutChannel(destination string) string { return "out/" + destination }

// size is about what apply will add to a batch.
func (o *outcome) size() (changes, bytes int) {
	changes = 2 + 3*len(o.out) + len(o.held) + len(o.index)
	for _, x := range o.out {
		bytes += 4*min(len(x.body), maxInline) + 2000
	}
	for _, rep := range o.controls {
		changes += qc.Changes(rep)
		bytes += 1000 * qc.Changes(rep)
	}
	return changes, bytes + 1000*(len(o.held)+len(o.index)) + 500
}

// addAll adds sums to a batch, in a fixed order.
func addAll(b *storage.Batch, sums map[string]int64) {
	for _, k := range slices.Sorted(maps.Keys(sums)) {
		if sums[k] != 0 {
			b.Add(k, sums[k])
		}
	}
}

// tooMuch is the outcome of an item that would become more than one commit
// holds.
func tooMuch(o outcome) outcome {
	var t outcome
	t.hold("", reason.TooMuch, strconv.Itoa(len(o.out)))
	t.deviceTime = o.deviceTime
	return t
}
