package run

import (
	"context"
	"time"

	"nhip/gateway/qc"
)

// controls is what the console shows of control material: console.Controls.
type controls struct{ g *Gateway }

func (c controls) Charts(_ context.Context, analyser string) ([]qc.Chart, error) {
	return qc.List(c.g.store, analyser)
}

func (c controls) Fill(_ context.Context, chart *qc.Chart, since time.Time, limit int) error {
	return chart.Fill(c.g.store, since, limit)
}

// trimControls removes, once a day, the points of control material that are too many
// or too old.
func (g *Gateway) trimControls(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(24 * time.Hour):
		}
		if err := qc.Trim(ctx, g.store, time.Now()); err != nil && ctx.Err() == nil {
			g.log.Error("old control results were not removed", "error", err)
		}
	}
}
