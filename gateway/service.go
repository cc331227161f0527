package main

import (
	"context"
	"log/slog"

	"nhip/gateway/run"
	"nhip/gateway/systemd"
)

// serveManager tells the service manager, where there is one, that the gateway is
// ready, and then how it does. What is returned says that it stops; the gateway is
// not asked any more then.
func serveManager(ctx context.Context, g *run.Gateway, log *slog.Logger) (stop func()) {
	m := systemd.FromEnvironment()
	tell := func(states ...string) {
		if err := m.Tell(states...); err != nil {
			log.Warn("the service manager cannot be told", "error", err)
		}
	}
	tell(systemd.Ready, systemd.Status(g.Words()))
	ctx, cancel := context.WithCancel(ctx)
	go m.Watch(ctx, systemd.Service{ // Alive may hang; then it ends with the process
		Alive: g.Alive, Words: g.Words,
		Failed: func(err error) { log.Warn("the watchdog is not fed", "error", err) },
	})
	return func() {
		cancel()
		tell(systemd.Stopping, systemd.Status("stopping"))
	}
}
