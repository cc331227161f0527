package run

import (
	"context"
	"time"

	"nhip/gateway/control"
)

// startControl opens the socket by which the command line acts on this gateway.
// All handlers are registered before.
func (g *Gateway) startControl() {
	g.keepOpen("control", func() ([]string, func(context.Context) error, error) {
		l, err := control.Listen(g.cfg.Site.Data)
		if err != nil {
			return nil, nil, err
		}
		return []string{control.Socket}, func(ctx context.Context) error { return g.acts.Serve(ctx, l, 5*time.Second) }, nil
	})
}
