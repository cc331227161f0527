package run

import (
	"time"

	"nhip/gateway/retention"
)

// startRetention removes what is done with, by the limits of the configuration.
func (g *Gateway) startRetention() {
	k := &retention.Keeper{
		Store: g.store, Age: time.Duration(g.cfg.Site.RetentionDays) * 24 * time.Hour, Percent: g.cfg.Site.RetentionDisk, Log: g.log,
		Disk: func() (free, total uint64) {
			d := g.store.Disk()
			return d.Free, d.Total
		},
	}
	g.goRun("retention", k.Run)
}
