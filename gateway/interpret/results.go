package interpret

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"nhip/gateway/codes"
	"nhip/gateway/delivery"
	"nhip/gateway/intake"
	"nhip/gateway/lab"
	"nhip/gateway/lis"
	"nhip/gateway/orders"
	"nhip/gateway/reason"
	"nhip/gateway/record"
	"nhip/gateway/ris"
	"nhip/gateway/route"
	"nhip/storage"
)

// A Knowledge is what interpretation asks of patients and orders, and what destinations
// want to have of them.
type Knowledge struct {
	// Renderings say how a destination gets laboratory results.
	Renderings map[string]Rendering
	// Merged gives who a patient number in a message of an analyser stands for now; ok
	// is false where it is still in force, or nothing is known. nil: nothing is.
	Merged func(connection, number string) (p record.Person, ok bool)
	// Order reads an order. nil: there are none.
	Order func(id uint64) (orders.Entry, bool, error)
	// Ordered finds the orders that a report answers. nil: nobody looks.
	Ordered func(connection string, rep record.Report, l Look) (lab.Finding, error)
	// Marks adds to a batch that orders have their results; end is called with what its
	// commit said. nil: nobody wants to know.
	Marks func(b *storage.Batch, all []orders.Mark) (end func(error))
	// Status are the destinations that get the state of orders.
	Status []StatusTo
	// Zone is that of the times in what the gateway itself tells; nil: UTC.
	Zone *time.Location
}

// A Look says what is known when the orders of a report are looked for.
type Look struct {
	Received time.Time
	Released bool         // a person has released it
	Order    string       // the number of the order that a person says it is of
	Codes    *codes.Table // the one that the whole message is interpreted with; nil: none
}

// A Rendering is how a destination gets laboratory results.
type Rendering struct {
	Form       string // lis.FormORU, lis.FormOUL
	Structured bool   // lis.ResultOptions.Structured
}

// A StatusTo is a destination that gets the state of orders.
type StatusTo struct {
	Destination route.Destination
	Form        string   // lis.FormORM, lis.FormOML
	Links       []string // the systems whose orders; empty: all
}

// wants reports whether the destination gets the state of the orders of a link.
func (t StatusTo) wants(link string) bool { return len(t.Links) == 0 || slices.Contains(t.Links, link) }

// results renders a report for a destination, with the patient who its number stands
// for now. So a result that was held while its patient was merged goes on under the
// surviving one; what was rendered before stays as it is.
func (r *reader) results(rep record.Report, of lab.Finding, d route.Destination, id string, now time.Time, resend, old bool) (b []byte, what string, err error) {
	how := r.knows.Renderings[d.Name]
	o := lis.ResultOptions{Ends: r.ends(d), ControlID: id, Now: now, Resend: resend, Older: old, Form: how.Form, Structured: how.Structured, Ordered: of.Ordered, Patient: of.Patient}
	if p := rep.Patient; o.Patient == nil && p != nil && r.knows.Merged != nil {
		if person, ok := r.knows.Merged(rep.Device.Connection, p.ID); ok {
			o.Patient = &person
		}
	}
	what = "ORU^R01"
	if o.Form == lis.FormOUL {
		what = "OUL^R22"
	}
	b, err = lis.Results(rep, o)
	return b, what, err
}

// A statusNote is the body of an entry of intake.KindStatus: which services of an order
// are in another state. What goes on is how they are when it is rendered.
type statusNote struct {
	Version  int    `json:"ver"`
	Order    uint64 `json:"order"`
	Link     string `json:"link"`
	Services []told `json:"services"`
}

// A told is one service and the state that it came to.
type told struct {
	ID       int                 `json:"id"`
	State    record.ServiceState `json:"state"`
	Progress record.Progress     `json:"progress,omitempty"`
	At       time.Time           `json:"at,omitzero"`
}

// statusVersion is that of a statusNote.
const statusVersion = 1

// StatusNote is what is to be noted of a change of an order: nil where no service came
// to another state (ORC-5), or nobody wants to know.
func StatusNote(to []StatusTo, before, after orders.Entry) []byte {
	if !slices.ContainsFunc(to, func(t StatusTo) bool { return t.wants(after.Link) }) {
		return nil
	}
	n := statusNote{Version: statusVersion, Order: after.ID, Link: after.Link}
	for _, s := range after.Order.Services {
		was := slices.IndexFunc(before.Order.Services, func(x record.Service) bool { return x.ID == s.ID })
		if was >= 0 && lis.OrderStatus(before.Order.Services[was]) == lis.OrderStatus(s) {
			continue
		}
		if len(n.Services) < mostTold {
			n.Services = append(n.Services, told{s.ID, s.State, s.Progress, s.At})
		}
	}
	if len(n.Services) == 0 {
		return nil
	}
	b, err := json.Marshal(n)
	if err != nil {
		panic(err) // no value of this struct fails to marshal
	}
	return b
}

// mostTold is how many services of an order one note is about: an order comes in one
// message, and that many are a message of 200 KB.
const mostTold = 500

// orderStatus renders the state of an order for each destination that wants it.
func (r *reader) orderStatus(o *outcome, body []byte, now time.Time) {
	var n statusNote
	if err := json.Unmarshal(body, &n); err != nil || n.Version != statusVersion {
		o.hold("", reason.Unreadable, fmt.Sprintf("the note of an order's state is of version %d", n.Version))
		return
	}
	if r.knows.Order == nil {
		o.consume(route.NoDestination, 1)
		return
	}
	e, ok, err := r.knows.Order(n.Order)
	switch {
	case err != nil:
		o.hold("", reason.Damaged, err.Error())
		return
	case !ok:
		o.hold("", reason.NotRendered, "the order is not kept any more")
		return
	}
	services := n.services(e.Order)
	for _, i := range []record.OrderNumber{e.Order.Placer, e.Order.Filler} {
		o.find(intake.Order, i.ID)
	}
	for _, t := range r.knows.Status {
		if t.wants(n.Link) && len(services) > 0 {
			r.tell(o, e, services, t, now)
		}
	}
	if o.units() == 0 {
		o.consume(route.NoDestination, 1)
	}
}

// services are those of the order that the note is about, in the state that it has.
func (n statusNote) services(o record.Order) (all []record.Service) {
	for _, x := range n.Services {
		i := slices.IndexFunc(o.Services, func(s record.Service) bool { return s.ID == x.ID })
		if i < 0 {
			continue
		}
		s := o.Services[i]
		s.State, s.Progress, s.At = x.State, x.Progress, x.At
		all = append(all, s)
	}
	return all
}

// tell renders the state of an order for one destination.
func (r *reader) tell(o *outcome, e orders.Entry, services []record.Service, t StatusTo, now time.Time) {
	id := r.series.Take()
	if r.knows.Zone != nil {
		now = now.In(r.knows.Zone)
	}
	x := lis.StatusOptions{Ends: r.ends(t.Destination), ControlID: id, Now: now, Form: t.Form}
	render, what := lis.Status, "ORM^O01"
	if t.Form == lis.FormOML {
		what = "OML^O21"
	}
	if e.Order.Kind == record.ImagingOrder {
		render = ris.Status
		if t.Form == lis.FormOML {
			what = "OMI^O23"
		}
	}
	b, err := render(e.Order, services, x)
	if err != nil {
		o.hold(e.Order.Placer.ID, reason.NotRendered, err.Error())
		return
	}
	o.out = append(o.out, outbound{
		destination: t.Destination.Name, ticket: delivery.Ticket{ID: id, What: what, Of: e.Order.Placer.ID},
		group: Group("order", fmt.Sprint(e.ID)), body: b,
	})
}
