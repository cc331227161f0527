package delivery

import (
	"container/heap"
	"slices"
	"time"
)

// A Lane decides which item goes next to one destination: STAT before routine,
// oldest first, one at a time within a group (specimen, study, patient) and in
// its order. An item that waits or is held stops its own group only. A Lane is
// pure: it has no clock and no store.
type Lane struct {
	groups map[string]*group
	items  map[uint64]*item
	held   map[uint64]*item
	taken  map[uint64]*item // committed by the destination
	sent   map[uint64]*item // being sent
	ready  readyHeap        // groups whose head may be sent now
	timed  timedHeap        // groups whose head waits for NotBefore

	unanswered int // items in that state
}

type item struct {
	seq  uint64
	stat bool
	d    Delivery
	g    *group
}

type group struct {
	name  string
	items []*item // in the order of their sequence
	stats int     // how many of them are STAT
	busy  bool    // its head is being sent
	index int     // place in a heap, -1: in none
	where byte    // 'r' ready, 't' timed, 0 none
}

// NewLane returns an empty Lane.
func NewLane() *Lane {
	return &Lane{groups: map[string]*group{}, items: map[uint64]*item{}, held: map[uint64]*item{}, taken: map[uint64]*item{}, sent: map[uint64]*item{}}
}

// Len is the number of items in the lane.
func (l *Lane) Len() int { return len(l.items) }

// Add puts an item at the end of its group. Sequences rise within a group. An
// item without a group shares nothing with others. An item that is there
// already is not added again.
func (l *Lane) Add(seq uint64, name string, stat bool, d Delivery) {
	if _, ok := l.items[seq]; ok {
		return
	}
	g := l.groups[name]
	if g == nil || name == "" {
		g = &group{name: name, index: -1}
		if name != "" {
			l.groups[name] = g
		}
	}
	it := &item{seq: seq, stat: stat, g: g}
	g.items = append(g.items, it)
	l.items[seq] = it
	if stat {
		g.stats++
	}
	l.state(it, d)
	l.place(g)
}

// Next is the item to send now; ok is false where there is none, and then wait
// is how long until there may be one (0: not before something changes).
func (l *Lane) Next(now time.Time) (seq uint64, wait time.Duration, ok bool) {
	for len(l.timed) > 0 {
		g := l.timed[0]
		until := g.items[0].d.NotBefore
		if until.After(now) {
			break
		}
		l.remove(g)
		g.where = 'r'
		heap.Push(&l.ready, g)
	}
	if len(l.ready) > 0 {
		return l.ready[0].items[0].seq, 0, true
	}
	if len(l.timed) > 0 {
		return 0, l.timed[0].items[0].d.NotBefore.Sub(now), false
	}
	return 0, 0, false
}

// Get is the state of an item.
func (l *Lane) Get(seq uint64) (Delivery, bool) {
	it, ok := l.items[seq]
	if !ok {
		return Delivery{}, false
	}
	return it.d, true
}

// Set changes the state of an item. Delivered, Discarded and Expired remove it.
func (l *Lane) Set(seq uint64, d Delivery) {
	it, ok := l.items[seq]
	if !ok {
		return
	}
	l.state(it, d)
	g := it.g
	if d.State == Delivered || d.State == Discarded || d.State == Expired {
		l.drop(it)
	}
	g.busy = len(g.items) > 0 && g.items[0].d.State == Sending
	l.place(g)
}

// state changes the state of an item, and what is counted by state.
func (l *Lane) state(it *item, d Delivery) {
	if it.d.State == Unanswered {
		l.unanswered--
	}
	if d.State == Unanswered {
		l.unanswered++
	}
	delete(l.held, it.seq)
	delete(l.taken, it.seq)
	delete(l.sent, it.seq)
	switch d.State {
	case Sending:
		l.sent[it.seq] = it
	case Held:
		l.held[it.seq] = it
	case Committed:
		l.taken[it.seq] = it
	}
	it.d = d
}

// Blocked reports whether an item stands behind another one of its group that
// is held, and since when that one is.
func (l *Lane) Blocked(seq uint64) (by uint64, since time.Time, ok bool) {
	it, there := l.items[seq]
	if !there || it.g.items[0] == it || it.g.items[0].d.State != Held {
		return 0, time.Time{}, false
	}
	return it.g.items[0].seq, it.g.items[0].d.Since, true
}

func (l *Lane) drop(it *item) {
	g := it.g
	if g.items[0] == it {
		g.items = g.items[1:] // the usual case, in a study of thousands too
	} else if i := slices.Index(g.items, it); i >= 0 {
		g.items = slices.Delete(g.items, i, i+1)
	}
	if it.stat {
		g.stats--
	}
	delete(l.items, it.seq)
	if len(g.items) == 0 {
		l.remove(g)
		if l.groups[g.name] == g {
			delete(l.groups, g.name)
		}
	}
}

// place puts a group where its head belongs.
func (l *Lane) place(g *group) {
	l.remove(g)
	if len(g.items) == 0 || g.busy || !g.items[0].d.sendable() {
		return
	}
	if g.items[0].d.NotBefore.IsZero() {
		g.where = 'r'
		heap.Push(&l.ready, g)
		return
	}
	g.where = 't'
	heap.Push(&l.timed, g)
}

func (l *Lane) remove(g *group) {
	switch g.where {
	case 'r':
		heap.Remove(&l.ready, g.index)
	case 't':
		heap.Remove(&l.timed, g.index)
	}
	g.where, g.index = 0, -1
}

type readyHeap []*group

func (h readyHeap) Len() int { return len(h) }
func (h readyHeap) Less(i, j int) bool {
	if (h[i].stats > 0) != (h[j].stats > 0) {
		return h[i].stats > 0
	}
	return h[i].items[0].seq < h[j].items[0].seq
}
func (h readyHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i]; h[i].index, h[j].index = i, j }
func (h *readyHeap) Push(x any)   { g := x.(*group); g.index = len(*h); *h = append(*h, g) }
func (h *readyHeap) Pop() any {
	old := *h
	g := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return g
}

type timedHeap []*group

func (h timedHeap) Len() int { return len(h) }
func (h timedHeap) Less(i, j int) bool {
	return h[i].items[0].d.NotBefore.Before(h[j].items[0].d.NotBefore)
}
func (h timedHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i]; h[i].index, h[j].index = i, j }
func (h *timedHeap) Push(x any)   { g := x.(*group); g.index = len(*h); *h = append(*h, g) }
func (h *timedHeap) Pop() any {
	old := *h
	g := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return g
}

// behind is the number of items of the group that wait behind x.
func (g *group) behind(x *item) int { return len(g.items) - 1 - slices.Index(g.items, x) }
