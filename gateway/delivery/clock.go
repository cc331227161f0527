package delivery

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"nhip/storage"
)

// What is stored has times of the clock of the day, which people and NTP set, in
// either direction and by years. It orders nothing here. In this process every
// wait runs on the monotonic clock, and what was stored is taken over so that a
// clock that was set makes no item wait for longer than its policy says, and none
// expire that is not old by both clocks.

// resume is the stored time of the next attempt, or by which the destination has to
// say more, on the monotonic clock: never further away than the longest wait.
func (p Policy) resume(d Delivery, now time.Time) time.Time {
	if d.NotBefore.IsZero() {
		return d.NotBefore
	}
	longest := p.Max
	if d.State == Committed {
		longest = p.Process
	}
	return now.Add(min(max(0, d.NotBefore.Sub(now)), longest))
}

// since is when an item was queued, by the monotonic clock. Items are queued in
// the order of their queue: one with an earlier time than one before it got that
// from a clock that had been set back, and is no older than that one. w.mu is
// held.
func (w *Worker) since(seq uint64, at, now time.Time) time.Time {
	at = at.Add(w.shifted(seq))
	if at.Before(w.stamped) {
		at = w.stamped
	}
	w.stamped = at
	return now.Add(-max(0, now.Sub(at)))
}

// A shift is by how much the clock of the day was set while items of a queue
// waited. It is stored when that is noticed, so that after a restart, when only
// the stored times are left, they are not taken for years older than they are. A
// clock that was set while no process ran cannot be noticed.
type shift struct {
	To uint64        `json:"to"` // the last item that it holds for
	By time.Duration `json:"by"`
}

func shiftKey(destination string) string { return "clock-set/" + destination }

// Less than clockSlack is no shift; of more than maxShifts the oldest are left out.
const (
	clockSlack = 2 * time.Second
	maxShifts  = 16
)

func (w *Worker) shifted(seq uint64) time.Duration {
	for _, s := range w.shifts {
		if seq <= s.To {
			return s.By
		}
	}
	return 0
}

func (w *Worker) readShifts() error {
	b, ok, err := w.Store.Get(shiftKey(w.Destination))
	if err != nil || !ok {
		return err
	}
	if err := json.Unmarshal(b, &w.shifts); err != nil {
		return fmt.Errorf("delivery: stored shifts of the clock: %w", err)
	}
	return nil
}

// ClockSet tells that the clock of the day was set.
func (w *Worker) ClockSet() {
	w.lock()
	defer w.mu.Unlock()
	now := time.Now()
	var all []shift
	for _, seq := range slices.Sorted(maps.Keys(w.items)) {
		it := w.items[seq]
		by := now.Round(0).Sub(it.At) - now.Sub(it.since)
		if by.Abs() < clockSlack {
			by = 0
		}
		if n := len(all); n > 0 && (all[n-1].By-by).Abs() < clockSlack {
			all[n-1].To = seq
			continue
		}
		all = append(all, shift{seq, by})
	}
	if n := len(all); n > 0 && all[n-1].By == 0 { // as for what is queued from now on
		all = all[:n-1]
	}
	w.shifts = all[max(0, len(all)-maxShifts):]
	b, err := json.Marshal(w.shifts)
	if err != nil {
		panic(err) // no value of this struct fails to marshal
	}
	w.save(nil, func(batch *storage.Batch) { batch.Put(shiftKey(w.Destination), b) })
}

// Age is how long an item has waited, whatever the clock of the day says; 0 where
// it is not in the queue. now is a reading of time.Now.
func (w *Worker) Age(seq uint64, now time.Time) time.Duration {
	w.lock()
	defer w.mu.Unlock()
	it, ok := w.items[seq]
	if !ok {
		return 0
	}
	return now.Sub(it.since)
}

// settling is how long after a start nothing expires: time for a computer that
// started with a wrong clock to have it set.
const settling = 10 * time.Minute

// expired reports whether an item has waited for that long, by both clocks.
func expired(it Item, now time.Time, after time.Duration) bool {
	return now.Sub(it.since) >= after && now.Round(0).Sub(it.At) >= after
}
