package orders

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"nhip/gateway/reason"
	"nhip/gateway/record"
	"nhip/storage"
)

// A GivenState is what a device has of a service, as far as we know.
type GivenState string

// The states.
const (
	Taken    GivenState = "taken"              // the device has acknowledged it on the link
	Refused  GivenState = "refused"            // it has not; it is tried again
	GivenUp  GivenState = "given up"           // it has not, so often that a person has to look
	TakeBack GivenState = "not taken back yet" // it was told to drop it, and has not said that it does
	Dropped  GivenState = "taken back"         // it was told to drop it, and has acknowledged that
	TooLate  GivenState = "cancelled too late" // it has it, and cannot be told to drop it
)

// A Given is what one device was given of one service for one specimen, or told to drop.
type Given struct {
	Service  int           `json:"n"`
	Device   string        `json:"d"`
	Specimen string        `json:"s"`
	State    GivenState    `json:"st"`
	At       time.Time     `json:"at"`
	Version  int           `json:"v,omitempty"` // of the order
	Tests    []string      `json:"t,omitempty"` // the device's codes
	Refs     []string      `json:"r,omitempty"` // what the device knows each of them by; empty: nothing
	Sum      string        `json:"h,omitempty"` // of what it was told: another one is a correction
	Asked    bool          `json:"q,omitempty"` // it asked for it
	Tries    int           `json:"f,omitempty"` // that failed
	Why      reason.Reason `json:"why,omitzero"`
}

// mostGiven bounds what one order says of devices.
const mostGiven = 600

// Is reports whether two are about the same work of the same device.
func (g Given) Is(x Given) bool {
	return g.Service == x.Service && g.Device == x.Device && strings.TrimSpace(g.Specimen) == strings.TrimSpace(x.Specimen)
}

// Has reports whether the device has the work, as far as we know.
func (g Given) Has() bool { return g.State == Taken || g.State == TakeBack || g.State == TooLate }

// A Handing says what a device was given of an order.
type Handing struct {
	Order uint64
	Given Given
	// Progress of the service from then on, where the order still is in the version that
	// was given; empty: as it is.
	Progress record.Progress
}

// Give notes what devices were given, on disk when it returns nil.
func (s *Store) Give(ctx context.Context, all []Handing) error {
	for some := range slices.Chunk(all, atOnce) {
		if err := s.give(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) give(ctx context.Context, all []Handing) error {
	c := s.Begin(s.o.Now().UTC())
	b := new(storage.Batch)
	var err error
	for _, h := range all {
		if e := c.give(h); e != nil {
			err = errors.Join(err, e)
		}
	}
	if err == nil {
		err = c.Write(b)
	}
	if err == nil && c.Changed() > 0 {
		_, err = s.store.Commit(context.WithoutCancel(ctx), b)
	}
	c.End(err)
	return err
}

func (c *Change) give(h Handing) error {
	e, err := c.load(h.Order)
	if err != nil || e == nil {
		return err
	}
	changed := e.clone()
	s := changed.Service(h.Given.Service)
	if s == nil {
		return nil
	}
	h.Given.At = h.Given.At.UTC()
	i := slices.IndexFunc(changed.Given, h.Given.Is)
	switch {
	case i >= 0:
		changed.Given[i] = h.Given
	case len(changed.Given) < mostGiven:
		changed.Given = append(changed.Given, h.Given)
	}
	m := Mark{Order: h.Order, Version: h.Given.Version, Service: h.Given.Service, Progress: h.Progress, Device: h.Given.Device, At: h.Given.At}
	if h.Progress != "" {
		changed.progressed(m)
	}
	c.put(&changed)
	return nil
}

// forget drops what devices were given of a service: it is to be given again.
func (e *Entry) forget(service int) {
	e.Given = slices.DeleteFunc(e.Given, func(g Given) bool { return g.Service == service })
}

// A LaboratoryQuery says which laboratory orders are looked through.
type LaboratoryQuery struct {
	// Given: of the open ones only those of which a device has, or had, something. Others
	// are not read.
	Given bool
	Over  time.Time // those that are over since then too; zero: none
}

// Laboratory calls f for the laboratory orders that are open, the oldest first, and then
// for those that are over, until f returns false. It has one of them in memory at a time.
func (s *Store) Laboratory(ctx context.Context, q LaboratoryQuery, f func(Entry) bool) error {
	ids := s.openOf(record.LaboratoryOrder, q.Given)
	if !q.Over.IsZero() {
		keys, err := s.store.Keys(over, 0)
		if err != nil {
			return err
		}
		from := overKey(Entry{Over: q.Over})
		for _, k := range keys {
			if id, ok := idOf(k); ok && k > from {
				ids = append(ids, id)
			}
		}
	}
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return err
		}
		e, ok, err := s.Get(id)
		if err != nil {
			s.o.Log.Error("orders: an order cannot be read", "order", id, "error", err)
			continue
		}
		if ok && e.Order.Kind == record.LaboratoryOrder && !f(e) {
			return nil
		}
	}
	return nil
}

// A GivenView is what a device has of a service, for people and for the API.
type GivenView struct {
	Device string    `json:"device"`
	State  string    `json:"state"`
	At     time.Time `json:"at"`
	Tries  int       `json:"tries,omitempty"`
	Why    string    `json:"why,omitempty"`

	Reason reason.Reason `json:"-"` // Why, for a page in another language
}

func givenViews(e Entry, service int) (all []GivenView) {
	for _, g := range e.Given {
		if g.Service == service {
			all = append(all, GivenView{Device: g.Device, State: string(g.State), At: g.At, Tries: g.Tries, Why: g.Why.String(), Reason: g.Why})
		}
	}
	return all
}
