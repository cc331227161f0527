package run

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"nhip/dicom/film"
	"nhip/dicom/service"
	"nhip/gateway/config"
	"nhip/gateway/modality"
)

// printLimits are for films as modalities send them: a film of a whole mammogram is
// 50 MB. What is not printed yet lies on disk.
var printLimits = film.Limits{Pixels: 128 << 20}

// annotationBoxes is how many texts a film may have, whatever its format: nothing is
// laid out, they are kept beside the picture.
const annotationBoxes = 6

// printServices take films instead of a film printer.
func (g *Gateway) printServices() (service.Mux, error) {
	if !slices.ContainsFunc(g.cfg.Modalities, func(m config.Modality) bool { return m.Print != config.PrintNone }) {
		return nil, nil
	}
	p := &modality.Printer{
		Intake: g.in, Spool: g.store.Spool(), Room: g.store.Room, Log: g.log, Now: g.now,
		Dir: filepath.Join(g.cfg.Site.Data, "film"), Connection: g.caller,
	}
	if err := p.Clear(); err != nil {
		return nil, err
	}
	scp := &film.SCP{
		Printer: p, Limits: printLimits, Annotations: func(string) int { return annotationBoxes },
		Unprinted: func(from service.Peer, films int) {
			g.log.Warn("films were not printed when the association ended, and are gone", "modality", g.caller(from), "films", films)
		},
	}
	g.goRun("film printer", func(ctx context.Context) error { return watchPrinter(ctx, p, scp) })
	return service.Mux{scp.Service()}, nil
}

// watchPrinter tells modalities when the printer's status has changed.
func watchPrinter(ctx context.Context, p *modality.Printer, scp *film.SCP) error {
	last := p.Status()
	t := time.NewTicker(2 * time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			scp.Wait()
			return ctx.Err()
		case <-t.C:
		}
		if now := p.Status(); now != last {
			last = now
			telling, cancel := context.WithTimeout(ctx, 5*time.Second)
			_ = scp.Report(telling) // who does not answer asks by N-GET
			cancel()
		}
	}
}
