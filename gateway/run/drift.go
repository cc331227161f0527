package run

import (
	"slices"
	"time"
)

// A drift is how far a device's clock is ahead of ours, by what its last messages
// said: their median, since a message may have waited in the device. It is for
// people; nothing is ordered or dated by it.
type drift struct {
	last [9]time.Duration
	n    int // told so far
}

func (d *drift) told(ahead time.Duration) {
	d.last[d.n%len(d.last)] = ahead
	d.n++
}

// median is nil where nothing was told.
func (d *drift) median() *time.Duration {
	if d == nil || d.n == 0 {
		return nil
	}
	some := slices.Clone(d.last[:min(d.n, len(d.last))])
	slices.Sort(some)
	m := some[len(some)/2]
	return &m
}
