package run

import (
	"slices"
	"time"

	"nhip/dicom"
	"nhip/dicom/find"
	"nhip/gateway/config"
	"nhip/gateway/modality"
	"nhip/gateway/orders"
	"nhip/gateway/record"
	"nhip/gateway/ris"
	"nhip/storage"
)

// startOrders opens the orders and takes the messages of systems with them.
func (g *Gateway) startOrders() error {
	o := g.cfg.Orders
	var err error
	g.orders, err = orders.Open(g.ctx, orders.Options{
		Store: g.store, Log: g.log, Current: g.patients.Current, Changed: g.orderChanged(), Committed: g.ordersCommitted,
		Policy: orders.Policy{
			Laboratory: o.LaboratoryExpire, Imaging: o.ImagingExpire, Other: o.LaboratoryExpire,
			Keep: time.Duration(o.KeepDays) * 24 * time.Hour, Most: o.MostOpen,
		},
	})
	if err != nil {
		return err
	}
	g.patients.Orders = g.orders
	g.goRun("patients", g.patients.Run)
	g.goRun("orders", g.orders.Run)
	g.orders.Register(g.acts)
	links := map[string]orders.Link{}
	for _, p := range g.cfg.HL7Peers {
		links[p.Name] = g.orderLink(p)
	}
	g.applications = append(g.applications, &orders.Application{Store: g.orders, Link: func(name string) orders.Link { return links[name] }})
	return nil
}

// ordersCommitted tells the analysers of a change, once there are any.
func (g *Gateway) ordersCommitted(before, after orders.Entry) {
	if desk := g.pushing.Load(); desk != nil {
		desk.Changed(before, after)
	}
}

// orderLink is what a link says about its orders.
func (g *Gateway) orderLink(p config.HL7Peer) orders.Link {
	r := p.OrderRules()
	r.Zone, r.Site = g.cfg.Location(p.TimeZone), g.cfg.Site.ID
	r.Authorities = g.authorities(p.Name)
	r.Known = func(title string) bool {
		return slices.ContainsFunc(g.cfg.Modalities, func(m config.Modality) bool { return m.AETitle == title })
	}
	return orders.Link{Rules: r, Ignore: p.Orders == config.OrdersPass, Passes: len(p.To) > 0}
}

// scheduledSteps is the worklist of the imaging orders.
func (g *Gateway) scheduledSteps() find.Source {
	cut := map[string]bool{}
	for _, p := range g.cfg.HL7Peers {
		cut[p.Name] = p.OrderLong == ris.LongCut
	}
	return &modality.Scheduled{
		Orders: g.orders, Zone: g.cfg.Site.TimeZone, Cut: func(link string) bool { return cut[link] },
		Style: func(q find.Query) modality.Style {
			m, _ := g.modality(q.Calling, q.Address.Addr())
			return modality.Style{UTF8: m.Texts == config.WorklistUTF8, Names: record.NameRule(m.Names), Title: q.Calling}
		},
	}
}

// worklistSource is where the scheduled procedure steps come from: the imaging orders,
// and the folder of worklist files where there is one.
func (g *Gateway) worklistSource() find.Source {
	all := modality.Joined{g.scheduledSteps()}
	if g.cfg.DICOM.Worklist != "" {
		all = append(all, &modality.Folder{Dir: g.cfg.DICOM.Worklist, Log: g.log})
	}
	return all
}

// performed takes to the orders what a performed procedure step says, in its commit.
func (g *Gateway) performed(b *storage.Batch, connection string, whole *dicom.Dataset) (end func(error)) {
	said := modality.PerformedOrders(connection, whole, time.Now())
	return g.orders.Perform(b, said, g.cfg.Orders.Discontinued == config.DiscontinuedRemove)
}
