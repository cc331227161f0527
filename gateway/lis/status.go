package lis

import (
	"fmt"
	"time"

	"nhip/gateway/record"
	"nhip/hl7"
)

// Forms of a message about the state of orders.
const (
	FormORM = "orm" // ORM^O01, version 2.3.1 (HL7 v2.3.1 section 4.2)
	FormOML = "oml" // OML^O21, of imaging orders OMI^O23, version 2.5.1 (section 4.4)
)

// OrderStatus is ORC-5 (table 0038) of a service, by what is known of it: SC accepted,
// IP at a device, A some results, CM done, CA, DC, RP, HD. One that expired is DC: the
// gateway has given it up, and nobody has cancelled it.
func OrderStatus(s record.Service) string {
	switch s.State {
	case record.OnHold:
		return "HD"
	case record.Cancelled:
		return "CA"
	case record.Discontinued, record.Expired:
		return "DC"
	case record.Replaced:
		return "RP"
	case record.Completed:
		return "CM"
	}
	switch s.Progress {
	case record.Sent, record.Acknowledged, record.Queried, record.Begun:
		return "IP"
	case record.Resulted:
		return "A"
	}
	return "SC"
}

// resultStatusOf is OBR-25 (table 0123) of a service of this ORC-5, where one follows
// from it (IHE LAB TF-2): of one that is done it is the result's to say.
func resultStatusOf(orderStatus string, imaging bool) string {
	switch orderStatus {
	case "SC":
		if imaging {
			return "S"
		}
		return "O"
	case "IP":
		return "I"
	case "A":
		return "A"
	case "CA":
		return "X"
	}
	return ""
}

// StatusOptions say how the state of an order is told.
type StatusOptions struct {
	Ends      Ends
	ControlID string
	Now       time.Time
	Form      string // FormORM or FormOML
	// Imaging adds to a service what belongs to imaging: to its OBR, and behind it. nil:
	// the order is one of the laboratory.
	Imaging func(m *hl7.Message, obr hl7.Segment, s record.Service) error
}

// Status renders a message that says the state of services of an order: ORC-1 SC
// (table 0119), ORC-5, and who the order is for now.
func Status(o record.Order, services []record.Service, x StatusOptions) ([]byte, error) {
	w := &writer{m: hl7.NewMessage(hl7.DefaultDelimiters)}
	what, version := "ORM^O01^ORM_O01", "2.3.1"
	if x.Form == FormOML {
		what, version = "OML^O21^OML_O21", "2.5.1"
		if x.Imaging != nil {
			what = "OMI^O23^OMI_O23"
		}
	}
	w.header(x.Ends, what, version, x.ControlID, x.Now)
	if len(o.Patient.Identifiers) > 0 || !o.Patient.Name.Empty() {
		w.segment("PID")
		w.set("1", "1")
		w.person(o.Patient)
	}
	for i, s := range services {
		if w.err != nil {
			break
		}
		w.state(i+1, o, s, x)
	}
	if w.err != nil {
		return nil, fmt.Errorf("lis: %s: %w", what[:7], w.err)
	}
	return w.m.Bytes(), nil
}

// state is one service: ORC, TQ1 from 2.5 on, OBR.
func (w *writer) state(n int, o record.Order, s record.Service, x StatusOptions) {
	placer, filler := numbersOf(o, s)
	status := OrderStatus(s)
	w.segment("ORC")
	w.set("1", "SC")
	w.number("2", placer)
	w.number("3", filler)
	w.number("4", o.Group)
	w.set("5", status)
	w.set("9", stamp(x.Now))
	w.set("12.2", o.Orderer.Family)
	w.set("12.3", o.Orderer.Given)
	w.set("12.4", o.Orderer.Middle)
	if s.State == record.Expired {
		w.set("16.2", "expired")
	}
	if x.Form == FormOML && s.Priority != "" {
		w.segment("TQ1")
		w.set("1", "1")
		w.set("9.1", s.Priority)
	}
	w.segment("OBR")
	w.set("1", fmt.Sprint(n))
	w.number("2", placer)
	w.number("3", filler)
	w.coded("4", s.Code)
	at := s.At
	if at.IsZero() {
		at = x.Now
	}
	w.set("22", stamp(at.In(x.Now.Location())))
	w.set("24", s.Section)
	w.set("25", resultStatusOf(status, x.Imaging != nil))
	if x.Form != FormOML && s.Priority != "" {
		w.set("27.6", s.Priority)
	}
	if x.Imaging != nil && w.err == nil {
		w.err = x.Imaging(w.m, w.s, s)
		return
	}
	for i, p := range s.Specimens {
		if x.Form != FormOML || len(p.IDs) == 0 {
			continue
		}
		w.segment("SPM")
		w.set("1", fmt.Sprint(i+1))
		w.set("2", p.IDs[0])
		w.set("4.1", p.Type)
	}
}
