package run

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"nhip/gateway/console"
	"nhip/gateway/reason"
	"nhip/storage"
	"nhip/storage/diskguard"
)

// probeQueue never has an item: a batch that removes one from it goes through
// the committer and writes nothing.
const probeQueue = "alive"

// Alive returns nil while the gateway would acknowledge: its health is answered
// and the committer answers. A listener that is not open and a full disk are not
// cured by a restart, so they count as alive; they are in the health and the
// alerts.
func (g *Gateway) Alive(ctx context.Context) error {
	for _, w := range (source{g}).Health(ctx) {
		if w.Code == console.HealthStore || w.Code == console.HealthStopping {
			return errors.New(w.In(reason.English))
		}
	}
	b := new(storage.Batch)
	b.Remove(probeQueue, 1)
	_, err := g.store.Commit(ctx, b)
	if errors.Is(err, storage.ErrNoItem) || g.store.Room(diskguard.Draining) != nil {
		return nil
	}
	return fmt.Errorf("the committer does not answer: %w", err)
}

// Words say in a line how the gateway does, for the service manager.
func (g *Gateway) Words() string {
	var said []string
	for _, w := range (source{g}).Health(context.Background()) {
		said = append(said, w.In(reason.English))
	}
	for _, a := range g.alerts.View().Active {
		said = append(said, a.In(reason.English))
	}
	if len(said) == 0 {
		return "working"
	}
	return strings.Join(said, "; ")
}
