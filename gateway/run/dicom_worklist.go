package run

import (
	"nhip/dicom/find"
	"nhip/dicom/service"
	"nhip/dicom/worklist"
	"nhip/gateway/config"
	"nhip/gateway/modality"
)

// worklistService answers modalities, each with its own steps.
func (g *Gateway) worklistService(source find.Source) service.Service {
	shown := modality.Shown{Source: source, Station: func(q find.Query) (string, bool) {
		m, ok := g.modality(q.Calling, q.Address.Addr())
		return q.Calling, ok && m.Worklist == config.WorklistAll
	}}
	return worklist.SCP(shown, worklist.Options{IgnoreAccents: true, Zone: g.cfg.Site.TimeZone})
}
