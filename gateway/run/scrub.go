package run

import (
	"context"
	"encoding/json"
	"time"

	"nhip/gateway/control"
	"nhip/storage"
)

// ScrubAct is the act that reads everything that is stored and gives a ScrubReport.
const ScrubAct = "scrub"

// A ScrubReport is what a scrub found.
type ScrubReport struct {
	Began time.Time       `json:"began"`
	Took  time.Duration   `json:"took_ns"`
	Found []storage.Alarm `json:"found"`
}

// Scrub reads everything of a store. What it finds stands among the store's alarms
// too.
func Scrub(ctx context.Context, s *storage.Store) (ScrubReport, error) {
	r := ScrubReport{Began: time.Now()}
	var err error
	r.Found, err = s.Scrub(ctx)
	r.Took = time.Since(r.Began)
	return r, err
}

// startScrub registers the act and reads everything as often as the configuration
// says.
func (g *Gateway) startScrub() {
	g.acts.RegisterLocal(ScrubAct, func(ctx context.Context, _ control.Actor, _ json.RawMessage) (any, error) {
		return g.scrub(ctx)
	})
	every := g.cfg.Site.ScrubEvery
	if every == 0 {
		return
	}
	g.goRun("scrub", func(ctx context.Context) error {
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-t.C:
			}
			if _, err := g.scrub(ctx); err != nil && ctx.Err() == nil {
				g.log.Error("scrub: not all was read", "error", err)
			}
		}
	})
}

func (g *Gateway) scrub(ctx context.Context) (ScrubReport, error) {
	r, err := Scrub(ctx, g.store)
	if err == nil {
		g.log.Info("everything that is stored was read", "found", len(r.Found), "took", r.Took.Round(time.Millisecond))
	}
	return r, err
}
