// Package orders keeps what information systems have asked for, until it is done:
// the newest version of each order under its number, what became of it, and who
// said so. An order that was answered AA is on disk before the answer, in the same
// commit as its message.
//
// # What is newest
//
// An order is what its order number names, at the system that gave it (ORC-2, else
// ORC-3, else neither: then its group, specimen and service). What a message says
// of it is decided by ORC-1 (table 0119) and by time:
//
//   - A cancel (CA, OC), a discontinuation (DC, OD), a replacement (RP, RU, RQ with
//     RO) ends services for good, whenever it was said. One that names services
//     (OBR-4) ends those, one that names none ends all. A cancel of an order that is
//     not known is noted, so that the order is not opened when it comes after all.
//   - A change (XO, XX, RP without RO) makes the order what the message says: what
//     it names is added or changed, what it does not name any more is replaced. What
//     is over it never opens again.
//   - A new order (NW, RO, CH) under a number that is known adds the services that it
//     does not have yet. Under a number that is over it begins a new order only where
//     ORC-9 of both is there and the new one is later; otherwise it is refused.
//   - Anything but an end that is older than the newest version is refused: ORC-9 is
//     compared where both have it, else MSH-7, of messages of the same link only. Two
//     of the same time count in the order in which they came.
//
// # Layout
//
// Keys of the store, IDs as 16 hexadecimal digits:
//
//	orders/next               the next ID
//	order/ID                  the newest version
//	order-was/ID/VERSION      an earlier version, until the order is removed
//	order-open/ID             something of it is open or on hold
//	order-over/TIME/ID        nothing is, since TIME
//	order-by/KIND/HASH/ID     found by a number; no key holds an identifier itself
//
// In memory are, of open orders only, hashes of specimens and patients and what a
// worklist query is narrowed by; Open reads them from the store.
package orders

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"nhip/gateway/record"
)

// An Entry is an order as it is kept.
type Entry struct {
	ID       uint64       `json:"id"`
	Version  int          `json:"version"` // from 1
	Link     string       `json:"link"`    // of the first message
	Order    record.Order `json:"order"`
	Said     Said         `json:"said,omitzero"`    // of the newest version
	By       string       `json:"by,omitempty"`     // the link of the newest version
	Received time.Time    `json:"received"`         // the first message
	Changed  time.Time    `json:"changed"`          // the newest version
	Expires  time.Time    `json:"expires,omitzero"` // zero: never
	Over     time.Time    `json:"over,omitzero"`    // since when nothing is open
	// Ended says, by the ID of a service, when its end was said.
	Ended   map[int]Said `json:"ended,omitempty"`
	Given   []Given      `json:"given,omitempty"`
	History []Turn       `json:"history,omitempty"` // the oldest first
	Index   []string     `json:"index,omitempty"`   // names in order-by/ that it was ever put under
}

// A Turn is one change of an order.
type Turn struct {
	Version   int       `json:"v"`
	At        time.Time `json:"at"`
	Link      string    `json:"link,omitempty"` // who said it: a link, a device, or "nhip"
	Control   string    `json:"control"`        // ORC-1, or a word of ours
	MessageID string    `json:"id,omitempty"`   // MSH-10
	Said      Said      `json:"said,omitzero"`
}

// Said is when a message says that it was said.
type Said struct {
	Order   time.Time `json:"o,omitzero"` // ORC-9
	Message time.Time `json:"m,omitzero"` // MSH-7
}

// Before reports whether s was said before t, as far as that can be known.
func (s Said) Before(t Said) bool {
	if !s.Order.IsZero() && !t.Order.IsZero() {
		return s.Order.Before(t.Order)
	}
	return !s.Message.IsZero() && !t.Message.IsZero() && s.Message.Before(t.Message)
}

// latest has the later of each time.
func (s Said) latest(t Said) Said {
	if t.Order.After(s.Order) {
		s.Order = t.Order
	}
	if t.Message.After(s.Message) {
		s.Message = t.Message
	}
	return s
}

// Limits of one order.
const (
	MostServices  = 300
	MostTurns     = 100 // the oldest are forgotten, the first one apart
	MostVersions  = 20  // earlier ones, whole
	mostSpecimens = 20  // of one service
)

// ErrFull says that so many orders are open that no more are taken.
var ErrFull = errors.New("orders: too many orders are open")

// formatVersion is that of the stored entry.
const formatVersion = 1

type stored struct {
	Format int `json:"f"`
	Entry
}

func (e Entry) encode() ([]byte, error) {
	b, err := json.Marshal(stored{formatVersion, e})
	if err != nil {
		return nil, fmt.Errorf("orders: order %d: %w", e.ID, err)
	}
	return b, nil
}

func decodeEntry(b []byte) (Entry, error) {
	var s stored
	if err := json.Unmarshal(b, &s); err != nil {
		return Entry{}, fmt.Errorf("orders: stored order: %w", err)
	}
	if s.Format != formatVersion {
		return Entry{}, fmt.Errorf("orders: a stored order has format %d, this version knows %d", s.Format, formatVersion)
	}
	return s.Entry, nil
}

func (e Entry) clone() Entry {
	e.Order = e.Order.Clone()
	ended := e.Ended
	e.Ended = nil
	for k, v := range ended {
		if e.Ended == nil {
			e.Ended = map[int]Said{}
		}
		e.Ended[k] = v
	}
	e.Given = append([]Given(nil), e.Given...)
	e.History = append([]Turn(nil), e.History...)
	e.Index = append([]string(nil), e.Index...)
	return e
}

// Service is a service by its ID; nil where there is none.
func (e *Entry) Service(id int) *record.Service {
	for i := range e.Order.Services {
		if e.Order.Services[i].ID == id {
			return &e.Order.Services[i]
		}
	}
	return nil
}

func (e *Entry) turn(t Turn) {
	e.Version++
	t.Version, e.Changed = e.Version, t.At
	if len(e.History) >= MostTurns {
		e.History = append(e.History[:1], e.History[2:]...)
	}
	e.History = append(e.History, t)
}
