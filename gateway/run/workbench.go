package run

import (
	"time"

	"nhip/drivers/profile"
	"nhip/gateway/config"
	"nhip/gateway/lis"
	"nhip/gateway/record"
)

// workbench is what the console reads recordings with: console.Workbench.
type workbench struct{ g *Gateway }

// Profiles is Workbench.
func (w workbench) Profiles() map[string]*profile.Profile { return w.g.profiles }

// previewID is MSH-10 of what is shown and never sent.
const previewID = "WORKBENCH"

// Message is Workbench: the message for the first laboratory system, without an order.
func (w workbench) Message(r record.Report) ([]byte, error) {
	o := lis.ResultOptions{ControlID: previewID, Now: time.Now().In(w.g.cfg.Site.TimeZone)}
	o.Ends = lis.Ends{SendingApplication: "NHIP", SendingFacility: w.g.cfg.Site.ID, SiteName: w.g.cfg.Site.Name}
	for _, d := range w.g.cfg.Destinations {
		if d.Kind == config.KindHL7 {
			o.Ends.ReceivingApplication, o.Ends.ReceivingFacility = d.ReceivingApplication, d.ReceivingFacility
			o.Form, o.Structured = d.Results, d.Comparators == "sn"
			break
		}
	}
	return lis.Results(r, o)
}
