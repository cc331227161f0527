package delivery

import "time"

// What is stored has times of the clock of the day, which people and NTP set, in
// either direction and by years. It orders nothing here. In this process every
// wait runs on the monotonic clock, and what was stored is taken over so that a
// clock that was set makes no item wait for longer than its policy says, and none
// expire that is not old by both clocks.

// resume is the stored time of the next attempt on the monotonic clock: never
// further away than the longest wait.
func (p Policy) resume(notBefore, now time.Time) time.Time {
	if notBefore.IsZero() {
		return notBefore
	}
	return now.Add(min(max(0, notBefore.Sub(now)), p.Max))
}

// since is when an item was queued, by the monotonic clock. Items are queued in
// the order of their queue: one with an earlier time than one before it got that
// from a clock that had been set back, and is no older than that one. w.mu is
// held.
func (w *Worker) since(at, now time.Time) time.Time {
	if at.Before(w.stamped) {
		at = w.stamped
	}
	w.stamped = at
	return now.Add(-max(0, now.Sub(at)))
}

// settling is how long after a start nothing expires: time for a computer that
// started with a wrong clock to have it set.
const settling = 10 * time.Minute

// expired reports whether an item has waited for that long, by both clocks.
func expired(it Item, now time.Time, after time.Duration) bool {
	return now.Sub(it.since) >= after && now.Round(0).Sub(it.At) >= after
}
