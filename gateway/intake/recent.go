package intake

import (
	"sync"

	"nhip/storage"
)

// Of what was stored last so many entries are kept in memory too, where they are
// not longer than that: what comes flat out while the interpreter gathers.
const (
	recentEntries = 4096
	recentLength  = 4 << 10
)

// recent is what was committed a moment ago and will be interpreted in the next
// one, so that it need not be read back. What is not here is in the store.
type recent struct {
	mu   sync.Mutex
	at   map[storage.Ref]int // place in ring
	ring []remembered
	next int
}

type remembered struct {
	ref storage.Ref
	e   Entry
}

// remember keeps an entry that is committed, in the place of the oldest.
func (r *recent) remember(ref storage.Ref, e Entry) {
	if len(e.Body) > recentLength {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at == nil {
		r.at = map[storage.Ref]int{}
	}
	if r.next == len(r.ring) {
		r.ring = append(r.ring, remembered{})
	}
	place := &r.ring[r.next]
	delete(r.at, place.ref)
	place.ref, place.e = ref, e
	r.at[ref] = r.next
	r.next = (r.next + 1) % recentEntries
}

// Recent gives, once, an entry that was stored a moment ago, as reading it from
// the store would; it may be asked before it is there and after it went.
func (in *Intake) Recent(ref storage.Ref) (Entry, bool) {
	r := &in.recent
	r.mu.Lock()
	defer r.mu.Unlock()
	i, ok := r.at[ref]
	if !ok {
		return Entry{}, false
	}
	e := r.ring[i].e
	delete(r.at, ref)
	r.ring[i] = remembered{}
	return e, true
}
