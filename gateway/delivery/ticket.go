package delivery

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"nhip/gateway/reason"
	"nhip/storage"
)

// Counters of the conservation sum, which a batch changes together with what
// they count.
const (
	CountAccepted  = "accepted"
	CountQueued    = "queued"
	CountHeld      = "held"
	CountDelivered = "delivered"
	CountDiscarded = "discarded"
	CountExpired   = "expired"
	CountResent    = "note/resent" // for people: how many of the accepted were resends
)

// Queue is the name of a destination's queue.
func Queue(destination string) string { return queuePrefix + destination }

const queuePrefix = "to/"

// DeliveredKey is where it is noted how an item left the queue of a destination:
// its value is a Settled.
func DeliveredKey(destination, mark string) string { return deliveredKeys(destination) + mark }

func deliveredKeys(destination string) string { return "delivered/" + destination + "/" }

// A Ticket is the value of a queue item: what the lane has to know of it. The
// bytes to send are in the journal.
type Ticket struct {
	ID     string `json:"id"`              // control ID or SOP Instance UID: the name that the destination knows
	What   string `json:"what"`            // message type or modality, for people: "ORU^R01", "CT"
	Of     string `json:"of,omitempty"`    // the specimen, for people
	From   string `json:"from,omitempty"`  // the connection that brought it, for people
	Stat   bool   `json:"stat,omitempty"`  // overtakes other groups
	Mark   string `json:"mark"`            // under which its delivery is noted, see DeliveredKey
	Resend bool   `json:"again,omitempty"` // a person had it sent again

	// Of what was delivered and then not committed by its destination: it is sent
	// again, or held from the start.
	Uncommitted int           `json:"uncommitted,omitempty"` // how often
	Hold        reason.Reason `json:"hold,omitzero"`         // it was queued, and counted, as held
}

// Encode is the stored form.
func (t Ticket) Encode() []byte {
	b, err := json.Marshal(t)
	if err != nil {
		panic(err) // no value of this struct fails to marshal
	}
	return b
}

// DecodeTicket reads what Encode wrote.
func DecodeTicket(b []byte) (Ticket, error) {
	var t Ticket
	if err := json.Unmarshal(b, &t); err != nil {
		return Ticket{}, fmt.Errorf("delivery: queue item: %w", err)
	}
	return t, nil
}

// An Item is one thing to send.
type Item struct {
	Ticket
	Seq   uint64
	Group string
	About storage.Ref // the journal entry that holds the bytes
	At    time.Time   // when it was queued

	since time.Time // the same by the monotonic clock, see Worker.since
}

// Settled is how an item left the queue, and what a resend of it needs.
type Settled struct {
	At     time.Time
	How    State  // Delivered, Discarded or Expired
	By     string // the person who discarded it
	Ref    storage.Ref
	Group  string
	Ticket Ticket
	Answer Answer // the last of the destination
}

type storedSettled struct {
	How    State  `json:"how,omitempty"` // 0: Delivered
	By     string `json:"by,omitempty"`
	Ref    string `json:"ref"`
	Group  string `json:"group,omitempty"`
	Ticket Ticket `json:"ticket"`
	Answer Answer `json:"answer,omitzero"`
}

// Encode is the stored form: the time, and the rest as JSON.
func (s Settled) Encode() []byte {
	x := storedSettled{How: s.How, By: s.By, Ref: s.Ref.String(), Group: s.Group, Ticket: s.Ticket, Answer: s.Answer}
	if x.How == Delivered {
		x.How = 0
	}
	b, err := json.Marshal(x)
	if err != nil {
		panic(err) // no value of this struct fails to marshal
	}
	return append([]byte(s.At.UTC().Format(time.RFC3339)+" "), b...)
}

// DecodeSettled reads what Encode wrote. The first version stored the time alone:
// then Ref is empty.
func DecodeSettled(b []byte) (Settled, error) {
	at, rest, _ := strings.Cut(string(b), " ")
	s := Settled{How: Delivered}
	var err error
	if s.At, err = time.Parse(time.RFC3339, at); err != nil {
		return s, fmt.Errorf("delivery: stored settlement: %w", err)
	}
	if rest == "" {
		return s, nil
	}
	var x storedSettled
	if err := json.Unmarshal([]byte(rest), &x); err != nil {
		return s, fmt.Errorf("delivery: stored settlement: %w", err)
	}
	if s.Ref, err = storage.ParseRef(x.Ref); err != nil {
		return s, fmt.Errorf("delivery: stored settlement: %w", err)
	}
	if x.How != 0 {
		s.How = x.How
	}
	s.By, s.Group, s.Ticket, s.Answer = x.By, x.Group, x.Ticket, x.Answer
	return s, nil
}

// Balance holds the conservation sum against one committed state: what was
// accepted is somewhere, and the queues hold as many items as are counted. It is
// nil where both are right.
func Balance(s storage.Snapshot) error {
	c := s.Counters
	sum := c[CountDelivered] + c[CountQueued] + c[CountHeld] + c[CountDiscarded] + c[CountExpired]
	for name, n := range c {
		if strings.HasPrefix(name, consumedPrefix) {
			sum += n
		}
	}
	var depth int64
	for name, n := range s.Depths {
		if name == interpretQueue || name == heldQueue || strings.HasPrefix(name, queuePrefix) {
			depth += int64(n)
		}
	}
	if c[CountAccepted] != sum {
		return fmt.Errorf("%d were accepted and %d are accounted for", c[CountAccepted], sum)
	}
	if depth != c[CountQueued]+c[CountHeld] {
		return fmt.Errorf("%d are counted as waiting or held and the queues hold %d", c[CountQueued]+c[CountHeld], depth)
	}
	return nil
}

// Names of package intake, which are stored.
const (
	consumedPrefix = "consumed/"
	interpretQueue = "interpret"
	heldQueue      = "held"
)
