package delivery

// Oldest is the item that waits longest of those that no held one stops: what is
// held, and what stands behind it, waits for a person and not for the destination.
func (l *Lane) Oldest() (seq uint64, ok bool) {
	for n, it := range l.items {
		if it.g.items[0].d.State != Held && (!ok || n < seq) {
			seq, ok = n, true
		}
	}
	return seq, ok
}

// Oldest is the item that waits longest for the destination; first is the head of
// the queue, which it mostly is.
func (w *Worker) Oldest(first uint64) (seq uint64, ok bool) {
	w.lock()
	defer w.mu.Unlock()
	if it, there := w.lane.items[first]; there && it.g.items[0].d.State != Held {
		return first, true
	}
	return w.lane.Oldest()
}
