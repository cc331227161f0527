package run

import (
	"context"

	"nhip/dicom/association"
	"nhip/dicom/find"
	"nhip/dicom/get"
	"nhip/dicom/move"
	"nhip/dicom/retrieve"
	"nhip/dicom/service"
	"nhip/gateway/config"
	"nhip/gateway/intake"
	"nhip/gateway/modality"
	"nhip/storage"
)

// queryServices answer C-FIND, C-MOVE and C-GET from what the gateway still holds.
func (g *Gateway) queryServices() service.Mux {
	archive := &modality.Archive{Store: g.store, Log: g.log, AETitle: g.cfg.DICOM.AETitle, Open: g.verified, Peek: g.object}
	for _, m := range g.cfg.Modalities {
		archive.Connections = append(archive.Connections, m.Name)
	}
	roots := []find.Root{find.PatientRoot, find.StudyRoot}
	finds := &find.SCP{Source: archive, Matching: find.Matching{IgnoreAccents: true, Zone: g.cfg.Site.TimeZone}}
	moves := &move.SCP{Source: archive, Destination: g.moveDestination}
	gets := &get.SCP{Source: archive}
	return service.Mux{finds.Service(roots...), moves.Service(roots...), gets.Service(roots...)}
}

// moveDestination looks the AE title of a C-MOVE up among the DICOM destinations that
// get images.
func (g *Gateway) moveDestination(_ context.Context, q retrieve.Query) (move.Destination, bool) {
	for _, d := range g.cfg.Destinations {
		if d.Kind != config.KindDICOM || !d.Images || d.CalledAETitle != q.Destination {
			continue
		}
		to := move.Destination{Address: d.Address, Proposal: association.Proposal{
			Calling: d.CallingAETitle, Called: d.CalledAETitle,
			Timeouts: association.Timeouts{ARTIM: d.ConnectTimeout, DIMSE: d.AnswerTimeout, Response: d.AnswerTimeout},
		}}
		if t, on := g.cfg.DICOMClient(d); on {
			secured, err := t.Client()
			if err != nil {
				g.log.Error("C-MOVE: no TLS with the destination", "destination", d.Name, "error", err)
				return move.Destination{}, false
			}
			to.Proposal.TLS = secured
		}
		return to, true
	}
	return move.Destination{}, false
}

// verified opens the object of a journal entry, after its bytes were held against
// their hash: a damaged object is never sent.
func (g *Gateway) verified(ref storage.Ref) (intake.Entry, modality.File, error) {
	e, err := g.entry(ref)
	if err != nil {
		return e, nil, err
	}
	if e.Spool == nil {
		return e, nil, errNoObject
	}
	if err := g.store.Spool().Verify(*e.Spool); err != nil {
		return e, nil, err
	}
	f, err := g.store.Spool().Open(*e.Spool)
	return e, f, err
}
