package run

import (
	"time"

	"nhip/gateway/config"
	"nhip/gateway/intake"
	"nhip/gateway/interpret"
	"nhip/gateway/lis"
	"nhip/gateway/orders"
	"nhip/gateway/patients"
	"nhip/gateway/record"
	"nhip/gateway/route"
	"nhip/storage"
)

// startPatients takes what systems tell of patients. It stands before the orders, which
// ask it who a patient is now, and follow it.
func (g *Gateway) startPatients() {
	pass, ends, zones := map[string]bool{}, map[string]bool{}, map[string]*time.Location{}
	for _, p := range g.cfg.HL7Peers {
		pass[p.Name] = p.Patients == config.PatientsPass
		ends[p.Name] = len(p.To) == 0
		zones[p.Name] = g.cfg.Location(p.TimeZone)
	}
	g.patients = &patients.Store{
		Store: g.store, Log: g.log, Rules: g.authorities,
		Passes: func(link string) bool { return pass[link] },
		Ends:   func(link string) bool { return ends[link] },
		Zone:   func(link string) *time.Location { return zones[link] },
	}
	g.applications = append(g.applications, g.patients)
	g.patients.Register(g.acts)
}

// authorities are the rules of a link for identifiers.
func (g *Gateway) authorities(link string) lis.AuthorityRules {
	r := lis.AuthorityRules{Link: link, Unnamed: map[string]string{}, Names: map[string]string{}}
	for _, a := range g.cfg.Authorities {
		r.Names[a.Name] = a.Name
		for _, also := range a.Also {
			r.Names[also] = a.Name
		}
	}
	for _, p := range g.cfg.HL7Peers {
		if p.Name != link {
			continue
		}
		for _, rule := range p.Authority {
			kind, authority := config.IdentifierRule(rule)
			r.Unnamed[kind] = authority
		}
	}
	for _, a := range g.cfg.Analysers {
		if a.Name == link && a.Authority != "" {
			r.Unnamed[""] = a.Authority
		}
	}
	return r
}

// knowledge is what interpretation asks of patients and orders.
func (g *Gateway) knowledge() interpret.Knowledge {
	k := interpret.Knowledge{
		Renderings: map[string]interpret.Rendering{}, Status: g.statusTo(), Order: g.orders.Get, Zone: g.cfg.Site.TimeZone,
		Merged: func(connection, number string) (record.Person, bool) {
			return g.patients.Merged(g.authorities(connection).Identifier(number))
		},
	}
	for _, d := range g.cfg.Destinations {
		k.Renderings[d.Name] = interpret.Rendering{Form: d.Results, Structured: d.Comparators == config.ComparatorsSN}
	}
	return k
}

// statusTo are the destinations that get the state of orders.
func (g *Gateway) statusTo() (all []interpret.StatusTo) {
	for _, d := range g.cfg.Destinations {
		if d.Kind != config.KindHL7 || d.Status == config.StatusNone {
			continue
		}
		all = append(all, interpret.StatusTo{
			Destination: route.Destination{Name: d.Name, Kind: d.Kind, ReceivingApplication: d.ReceivingApplication, ReceivingFacility: d.ReceivingFacility},
			Form:        d.Status, Links: d.StatusOf,
		})
	}
	return all
}

// orderChanged notes a change of an order for those who want its state, in the same
// commit.
func (g *Gateway) orderChanged() func(b *storage.Batch, before, after orders.Entry) {
	to := g.statusTo()
	return func(b *storage.Batch, before, after orders.Entry) {
		note := interpret.StatusNote(to, before, after)
		if note == nil {
			return
		}
		if err := g.in.Noted(b, intake.KindStatus, intake.OrdersConnection, note); err != nil {
			g.log.Error("the state of an order is not told", "order", after.ID, "error", err)
		}
	}
}
