package run

import (
	"nhip/drivers/session"
	"nhip/gateway/config"
	"nhip/gateway/interpret"
	"nhip/gateway/lab"
	"nhip/gateway/record"
)

// startLab joins the analysers to the orders.
func (g *Gateway) startLab(k *interpret.Knowledge) {
	desk := &lab.Desk{Orders: g.orders, Merged: k.Merged, Log: g.log, Now: g.now, FirstAsks: g.cfg.Orders.DoneBy == config.DoneByQuery}
	g.lab = desk
	analysers := map[string]lab.Analyser{}
	for _, a := range g.cfg.Analysers {
		analysers[a.Name] = g.labAnalyser(a)
		desk.Analysers = append(desk.Analysers, analysers[a.Name])
	}
	if g.work == nil {
		g.work = func(a config.Analyser) session.Orders { return desk.For(analysers[a.Name]) }
	}
	g.startPushers(desk)
	k.Marks = g.orders.MarkIn
	k.Ordered = func(connection string, rep record.Report, l interpret.Look) (lab.Finding, error) {
		a := withCodes(analysers[connection], l.Codes)
		if l.Order != "" {
			return desk.Assign(a, rep, l.Order)
		}
		return desk.Find(a, rep, l.Received, l.Released)
	}
}

func (g *Gateway) labAnalyser(a config.Analyser) lab.Analyser {
	x := lab.Analyser{Name: a.Name, Policy: a.Orders, Window: a.OrderWindow, Sections: a.Sections, Zone: g.cfg.Location(a.TimeZone), Specimens: a.Specimens()}
	x.Codes = g.labCodes(a)
	return x
}
