// Package journal searches and reads the journal of everything that came in and
// went out: the bytes, where from, when by both clocks, and what became of it. It
// only reads, so it works on the store of a running gateway and on one that was
// opened read-only.
//
// A search by specimen, patient, accession or order goes over the index; one for
// what is queued or held over the queues; one by time over the sequence of each
// channel, by bisection. A search for another state looks at the entries one by
// one, the newest first, and stops after MaxScan of them: the answer says how far
// it came.
package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"nhip/gateway/delivery"
	"nhip/gateway/intake"
	"nhip/gateway/interpret"
	"nhip/gateway/reason"
	"nhip/storage"
)

// A State is what became of an entry. An entry with several deliveries can be in
// several states at once.
type State string

// The states.
const (
	Stored     State = "stored" // on disk, not interpreted yet
	Queued     State = "queued"
	Held       State = "held"
	Delivered  State = "delivered"
	Discarded  State = "discarded"
	Expired    State = "expired"
	Consumed   State = "consumed" // it goes nowhere: a query, control material …
	Trial      State = "trial"    // received on trial, never sent
	Repeat     State = "repeat"   // the same again
	Incomplete State = "incomplete"
	Conflict   State = "conflict" // other bytes under a SOP Instance UID that we have
)

// States are all of them, in the order of a list.
var States = []State{Stored, Queued, Held, Delivered, Discarded, Expired, Consumed, Trial, Repeat, Incomplete, Conflict}

// Limits of a search.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
	MaxScan      = 20000  // entries looked at one by one
	maxIndexed   = 100000 // entries of one identifier
	maxText      = 200    // bytes of what is searched for
)

// A Query says what to look for; what is empty does not matter. Identifiers are
// compared exactly, but for blanks around them.
type Query struct {
	Specimen   string    `json:"specimen,omitempty"`
	Patient    string    `json:"patient,omitempty"`
	Accession  string    `json:"accession,omitempty"`
	Order      string    `json:"order,omitempty"`
	Connection string    `json:"connection,omitempty"` // a device, a system or a destination
	From       time.Time `json:"from,omitzero"`        // received at that time or later
	To         time.Time `json:"to,omitzero"`          // received before
	State      State     `json:"state,omitempty"`
	Limit      int       `json:"limit,omitempty"` // 0: DefaultLimit
}

// Check says in words what is wrong with a query, and nothing of what it asks
// for: a refusal is logged.
func (q Query) Check() error {
	for _, s := range []string{q.Specimen, q.Patient, q.Accession, q.Order, q.Connection} {
		if len(s) > maxText {
			return fmt.Errorf("what is searched for is longer than %d bytes", maxText)
		}
	}
	if q.State != "" && !slices.Contains(States, q.State) {
		return fmt.Errorf("there is no such state; there are %v", States)
	}
	if q.Limit < 0 || q.Limit > MaxLimit {
		return fmt.Errorf("the limit must be from 1 to %d", MaxLimit)
	}
	if !q.From.IsZero() && !q.To.IsZero() && !q.From.Before(q.To) {
		return errors.New("the time range ends before it begins")
	}
	return nil
}

// names are the index names of what a query identifies.
func (q Query) names() []string {
	var names []string
	for _, x := range []struct {
		kind  intake.Identifier
		value string
	}{{intake.Specimen, q.Specimen}, {intake.Patient, q.Patient}, {intake.Accession, q.Accession}, {intake.Order, q.Order}} {
		if v := strings.TrimSpace(x.value); v != "" {
			names = append(names, intake.IndexName(x.kind, v))
		}
	}
	return names
}

// An Entry is one message or object of the journal and what became of it.
type Entry struct {
	Ref         string            `json:"ref"`
	Direction   string            `json:"direction"` // "in" or "out"
	Kind        string            `json:"kind"`
	Connection  string            `json:"connection"`
	Peer        string            `json:"peer,omitempty"`
	Received    time.Time         `json:"received"`               // by our clock; when it was rendered, for one that goes out
	DeviceTime  time.Time         `json:"device_time,omitzero"`   // of the message, by the device's clock
	Subject     string            `json:"subject,omitempty"`      // what a person knows it by
	SHA256      string            `json:"sha256"`                 //
	Bytes       int64             `json:"bytes"`                  //
	Resend      bool              `json:"resend,omitempty"`       // the device sent the same before, deliberately
	ClockBack   bool              `json:"clock_back,omitempty"`   // our clock had gone back since the entry before
	States      []State           `json:"states"`                 //
	Reasons     []reason.Reason   `json:"reasons,omitempty"`      // why it is held
	Consumed    []string          `json:"consumed,omitempty"`     // kinds
	Attributes  map[string]string `json:"attributes,omitempty"`   //
	DiscardedBy string            `json:"discarded_by,omitempty"` // who discarded what was held of it
	Of          string            `json:"of,omitempty"`           // the entry that it was made of, or is a repeat of
	Deliveries  []Delivery        `json:"deliveries,omitempty"`   //
	Damaged     string            `json:"damaged,omitempty"`      // why it cannot be read
}

// A Delivery is where an entry is on its way to one destination.
type Delivery struct {
	Destination string        `json:"destination"`
	Mark        string        `json:"mark"`         // the control ID, or the entry that is sent as it is
	Sent        string        `json:"ref"`          // the journal entry of what is sent
	State       State         `json:"state"`        //
	At          time.Time     `json:"at,omitzero"`  // when it came into the state
	By          string        `json:"by,omitempty"` // who discarded it
	Attempts    int           `json:"attempts"`     // not settled
	Reason      reason.Reason `json:"why,omitzero"` // why it waits or is held
	// Answer is the last one of the destination, at most the first 2000 of its
	// AnswerBytes.
	Answer      []byte `json:"answer,omitempty"`
	AnswerBytes int    `json:"answer_bytes,omitempty"`
}

// A Page is what a search found, the newest first.
type Page struct {
	Entries []Entry `json:"entries"`
	// Older is where the search goes on with Query.To set to it; zero: nothing is
	// older.
	Older time.Time `json:"older,omitzero"`
	// Partial says that the search ended before it had found as many as asked for:
	// MaxScan entries were looked at.
	Partial bool `json:"partial,omitempty"`
	// Damaged names what could not be read on the way.
	Damaged []string `json:"damaged,omitempty"`
}

// A Journal reads a store.
type Journal struct {
	Store *storage.Store
	// Subject is what a person knows an entry by; it may be nil.
	Subject func(intake.Entry) string
}

// Search finds entries.
func (j *Journal) Search(ctx context.Context, q Query) (Page, error) {
	if err := q.Check(); err != nil {
		return Page{}, err
	}
	if q.Limit == 0 {
		q.Limit = DefaultLimit
	}
	s := &search{Journal: j, ctx: ctx, q: q, resolver: resolver{store: j.Store}, taken: map[storage.Ref]bool{}}
	if err := s.run(); err != nil {
		return Page{}, fmt.Errorf("journal: %w", err)
	}
	return s.page, nil
}

// channels are those that a query is about: of what came in, and, where it names
// a destination, of what goes there.
func (j *Journal) channels(q Query) []string {
	if q.Connection == "" {
		return slices.DeleteFunc(j.Store.Channels(), func(c string) bool { return !strings.HasPrefix(c, intake.Channel("")) })
	}
	return slices.DeleteFunc(j.Store.Channels(), func(c string) bool {
		return c != intake.Channel(q.Connection) && c != interpret.OutChannel(q.Connection)
	})
}

// isDestination reports whether something was rendered for a name, or queued.
func (j *Journal) isDestination(name string) bool {
	return name != "" && (j.Store.Last(interpret.OutChannel(name)) > 0 || slices.Contains(j.Store.Queues(), delivery.Queue(name)))
}

// basic is the part of an entry that the journal itself has.
func basic(ref storage.Ref, e intake.Entry) Entry {
	x := Entry{
		Ref: ref.String(), Direction: "in", Kind: string(e.Kind), Connection: e.Connection, Peer: e.Peer, Received: e.At,
		SHA256: e.SHA256, Bytes: e.Length, Resend: e.Resend, ClockBack: e.ClockBack, Attributes: e.Attrs, Of: e.Attrs["of"],
	}
	if e.Fate == intake.Sent {
		x.Direction = "out"
	}
	if !e.Why.IsZero() {
		x.Reasons = []reason.Reason{e.Why}
	}
	return x
}

// fate adds what became of an entry. Deliveries that are not settled are Queued
// until the resolver has looked at the queues.
func (j *Journal) fate(x *Entry, ref storage.Ref, e intake.Entry) error {
	by, ok, err := j.Store.Get(interpret.DiscardedKey(ref))
	if err != nil {
		return err
	}
	if ok {
		x.add(Discarded)
		x.DiscardedBy = string(by)
	}
	switch e.Fate {
	case intake.Repeat:
		x.add(Repeat)
		return nil
	case intake.Incomplete:
		x.add(Incomplete)
		return nil
	case intake.Conflict:
		x.add(Conflict)
		return nil
	case intake.Unusable:
		return nil
	case intake.Sent:
		return j.delivery(x, interpret.Sent{Destination: e.Connection, Mark: interpret.Mark(e)})
	}
	f, ok, err := interpret.ReadFate(j.Store, ref)
	if err != nil {
		return err
	}
	if !ok {
		x.add(Stored)
		return nil
	}
	x.DeviceTime = f.DeviceTime
	for _, kind := range f.Consumed {
		x.Consumed = append(x.Consumed, kind)
		if kind == "trial" {
			x.add(Trial)
		} else {
			x.add(Consumed)
		}
	}
	for _, sent := range f.Sent {
		if err := j.delivery(x, sent); err != nil {
			return err
		}
	}
	return nil
}

func (x *Entry) add(s State) {
	if !slices.Contains(x.States, s) {
		x.States = append(x.States, s)
	}
}

// delivery adds one delivery as far as it is settled.
func (j *Journal) delivery(x *Entry, sent interpret.Sent) error {
	ref, err := interpret.SentRef(j.Store, sent)
	if err != nil {
		return err
	}
	d := Delivery{Destination: sent.Destination, Mark: sent.Mark, Sent: ref.String(), State: Queued}
	end, settled, err := settled(j.Store, sent)
	if err != nil {
		return err
	}
	if settled {
		d.State, d.At, d.By, d.Answer, d.AnswerBytes = end.State, end.At, end.By, end.answer.Bytes, end.answer.Length
		x.add(d.State)
	}
	x.Deliveries = append(x.Deliveries, d)
	return nil
}

// An end is how a delivery ended.
type end struct {
	State State
	At    time.Time
	By    string

	answer delivery.Answer
}

// settled reads how a delivery ended, where it has.
func settled(s *storage.Store, sent interpret.Sent) (end, bool, error) {
	b, ok, err := s.Get(delivery.DeliveredKey(sent.Destination, sent.Mark))
	if err != nil || !ok {
		return end{}, false, err
	}
	x, err := delivery.DecodeSettled(b)
	if err != nil {
		return end{}, false, err
	}
	e := end{State: Delivered, At: x.At, By: x.By, answer: x.Answer}
	switch x.How {
	case delivery.Discarded:
		e.State = Discarded
	case delivery.Expired:
		e.State = Expired
	}
	return e, true, nil
}
