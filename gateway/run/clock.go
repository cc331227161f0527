package run

import (
	"context"
	"time"
)

// A computer's clock is set by people and by NTP, in either direction. Nothing is
// lost, reordered or timed by it, but whoever reads times in the journal has to
// know.
const (
	clockLook = 2 * time.Second
	clockStep = 2 * time.Second
)

// stepped is by how much the clock of the day has moved against the monotonic
// clock between two readings; 0 where it is less than clockStep.
func stepped(day, monotonic time.Duration) time.Duration {
	if by := day - monotonic; by.Abs() >= clockStep {
		return by
	}
	return 0
}

// watchClock logs that the clock was set.
func (g *Gateway) watchClock(ctx context.Context) error {
	t := time.NewTicker(clockLook)
	defer t.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		now := time.Now()
		if by := stepped(now.Round(0).Sub(last.Round(0)), now.Sub(last)); by != 0 {
			g.log.Warn("the clock of this computer was set", "by", by.Round(time.Millisecond))
			for _, w := range g.workers {
				w.ClockSet()
			}
		}
		last = now
	}
}
