package storage

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// A Snapshot is what one committed state says: the counters and the depths of
// the queues belong together.
type Snapshot struct {
	Commit   uint64
	Counters map[string]int64
	Depths   map[string]int
}

// Snapshot gives counters and depths of one committed state.
func (s *Store) Snapshot() Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	depths := make(map[string]int, len(s.queues))
	for name, q := range s.queues {
		depths[name] = int(q.depth)
	}
	return Snapshot{s.commit, maps.Clone(s.counters), depths}
}

// Counters gives the counters of one committed state.
func (s *Store) Counters() map[string]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counters)
}

// Last gives the sequence of the newest entry of a channel, 0 for none.
func (s *Store) Last(channel string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last[channel]
}

// Channels lists the channels that hold an entry, sorted.
func (s *Store) Channels() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.last))
}

// Depth gives the number of live items of a queue.
func (s *Store) Depth(queue string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := s.queues[queue]; q != nil {
		return int(q.depth)
	}
	return 0
}

// Queues lists the queues that ever held an item or are waited for, sorted.
func (s *Store) Queues() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.queues))
}

// Wait gives the channel that is signalled when something was enqueued. It
// holds one signal, so a reader that looks at the queue after each signal misses
// nothing. All callers for a queue share it.
func (s *Store) Wait(queue string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.published(queue).wait
}

// A view is one committed state to read from. It does not wait for a commit that
// is under way.
type view struct {
	s   *Store
	at  uint64
	txn *badger.Txn
	bad func(*DamagedError) // told of what entries finds, for Scrub
}

func (s *Store) look() (*view, error) {
	s.life.RLock()
	if s.closed {
		s.life.RUnlock()
		return nil, ErrClosed
	}
	s.mu.Lock()
	at := s.commit
	s.reading[at]++
	s.mu.Unlock()
	return &view{s: s, at: at, txn: s.db.NewTransactionAt(at, false)}, nil
}

// end closes a view, and gives ErrFailed to a read that found Badger without a
// memtable: where it cannot begin a new write-ahead log it fails the commit, and
// leaves a nil pointer to the readers. Any other panic goes on.
func (v *view) end(err *error) {
	p := recover()
	if p == nil {
		v.close()
		return
	}
	v.leave()
	select {
	case <-v.s.failed:
		*err = ErrFailed
	case <-time.After(time.Second): // a failed commit is told at once
		panic(p)
	}
}

func (v *view) close() {
	v.txn.Discard()
	v.leave()
}

func (v *view) leave() {
	v.s.mu.Lock()
	if v.s.reading[v.at]--; v.s.reading[v.at] == 0 {
		delete(v.s.reading, v.at)
	}
	v.s.mu.Unlock()
	v.s.life.RUnlock()
}

// body gives the body of the record under key. The error is ErrNotFound, or
// errDamaged for a record that fails its checksum.
func (v *view) body(key []byte) ([]byte, error) {
	item, err := v.txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("storage: read: %s", reason(err))
	}
	return itemBody(item)
}

var errDamaged = errors.New("storage: a record fails its checksum")

func itemBody(item *badger.Item) ([]byte, error) {
	record, err := item.ValueCopy(nil)
	if err != nil {
		return nil, fmt.Errorf("storage: read: %s", reason(err))
	}
	body, _, ok := unseal(item.Key(), record)
	if !ok {
		return nil, errDamaged
	}
	return body, nil
}

// scan gives an iterator over one name of a space, from a sequence on.
func (v *view) scan(space byte, name string, reverse bool) *badger.Iterator {
	o := badger.IteratorOptions{Prefix: nameKey(space, name), Reverse: reverse}
	return v.txn.NewIterator(o)
}

// Read gives a journal entry. ErrNotFound is for one that was never committed,
// ErrTrimmed, which is one too, for one that was removed by Trim; one that was and cannot be read is a *DamagedError and an alarm.
func (s *Store) Read(ref Ref) (value []byte, err error) {
	v, err := s.look()
	if err != nil {
		return nil, err
	}
	defer v.end(&err)
	value, err = v.body(seqKey(spaceJournal, ref.Channel, ref.Seq))
	switch {
	case errors.Is(err, errDamaged):
		return nil, s.damaged(&DamagedError{Where: ref.Channel, From: ref.Seq, To: ref.Seq})
	case errors.Is(err, ErrNotFound) && ref.Seq > 0 && ref.Seq <= s.Last(ref.Channel):
		if ch, err := v.channel(ref.Channel); err == nil && ch.skip(ref.Seq) != ref.Seq {
			return nil, ErrTrimmed
		}
		return nil, s.damaged(&DamagedError{Where: ref.Channel, From: ref.Seq, To: ref.Seq, Missing: true})
	}
	return value, err
}

// Range calls f for the entries of a channel from a sequence on, at most limit
// (0 for all), until f returns false; reverse goes down from there, and from 0
// means the newest. The value belongs to f. Range walks on past entries that are
// damaged or missing, and then returns a *DamagedError that names the first of
// them; each is an alarm.
func (s *Store) Range(channel string, from uint64, limit int, reverse bool, f func(Ref, []byte) bool) (err error) {
	v, err := s.look()
	if err != nil {
		return err
	}
	defer v.end(&err)
	return v.entries(channel, from, limit, reverse, f)
}

func (v *view) entries(channel string, from uint64, limit int, reverse bool, f func(Ref, []byte) bool) error {
	ch, err := v.channel(channel)
	if err != nil || ch.last == 0 {
		return err
	}
	if reverse && (from == 0 || from > ch.last) {
		from = ch.last
	}
	if limit <= 0 {
		limit = math.MaxInt
	}
	it := v.scan(spaceJournal, channel, reverse)
	defer it.Close()
	var first *DamagedError
	bad := func(e *DamagedError) {
		if v.bad != nil {
			v.bad(e)
		}
		if e = v.s.damaged(e); first == nil {
			first = e
		}
	}
	missing := func(from, to uint64) {
		gaps := ch.live(from, to)
		if reverse {
			slices.Reverse(gaps)
		}
		for _, r := range gaps {
			bad(&DamagedError{Where: channel, From: r.from, To: r.to, Missing: true})
		}
	}
	next := max(from, ch.head)
	if reverse {
		next = from
	}
	for it.Seek(seqKey(spaceJournal, channel, next)); it.Valid() && limit > 0; it.Next() {
		seq := keySeq(it.Item().Key())
		if reverse {
			missing(seq+1, next)
		} else {
			missing(next, seq-1)
		}
		value, err := itemBody(it.Item())
		switch {
		case errors.Is(err, errDamaged):
			bad(&DamagedError{Where: channel, From: seq, To: seq})
		case err != nil:
			return err
		case !f(Ref{channel, seq}, value):
			return first.orNil()
		}
		limit--
		if next = seq + 1; reverse {
			next = seq - 1
		}
		if reverse && next < ch.head {
			break // below are only the tombstones of what was trimmed
		}
	}
	switch {
	case limit > 0 && reverse:
		missing(ch.head, next)
	case limit > 0:
		missing(next, ch.last)
	}
	return first.orNil()
}

func (e *DamagedError) orNil() error {
	if e == nil {
		return nil
	}
	return e
}

// channel gives the cursor of a channel in this view.
func (v *view) channel(name string) (channel, error) {
	body, err := v.body(nameKey(spaceChannel, name))
	if errors.Is(err, ErrNotFound) {
		return *newChannel(), nil
	}
	c, ok := parseChannel(body)
	if err == nil && !ok || errors.Is(err, errDamaged) {
		return c, v.s.damaged(&DamagedError{Where: "channel record of " + name})
	}
	return c, err
}

// Get reads a small state.
func (s *Store) Get(key string) (value []byte, found bool, err error) {
	v, err := s.look()
	if err != nil {
		return nil, false, err
	}
	defer v.end(&err)
	value, err = v.body(nameKey(spaceKey, key))
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, false, nil
	case errors.Is(err, errDamaged):
		return nil, false, s.damaged(&DamagedError{Where: "key " + key})
	}
	return value, err == nil, err
}

// Keys lists the keys with a prefix in order, at most limit (0 for all).
func (s *Store) Keys(prefix string, limit int) (keys []string, err error) {
	v, err := s.look()
	if err != nil {
		return nil, err
	}
	defer v.end(&err)
	it := v.txn.NewIterator(badger.IteratorOptions{Prefix: append([]byte{spaceKey}, prefix...)})
	defer it.Close()
	for it.Rewind(); it.Valid() && (limit <= 0 || len(keys) < limit); it.Next() {
		keys = append(keys, keyName(it.Item().Key()))
	}
	return keys, nil
}

// Head gives the first live item of a queue, found by the stored cursor. A
// damaged item is given with its Damaged set; it stays the head until removed.
func (s *Store) Head(queue string) (QueueItem, bool, error) {
	items, err := s.Items(queue, 0, 1)
	if err != nil || len(items) == 0 {
		return QueueItem{}, false, err
	}
	return items[0], true, nil
}

// Items gives the live items of a queue with a sequence of at least from, in
// order, at most limit (0 for all). A pass from the head to the end counts what
// it found: where it is not as many as the queue holds, that is an alarm.
func (s *Store) Items(queue string, from uint64, limit int) (items []QueueItem, err error) {
	v, err := s.look()
	if err != nil {
		return nil, err
	}
	defer v.end(&err)
	return v.items(queue, from, limit)
}

func (v *view) items(name string, from uint64, limit int) ([]QueueItem, error) {
	q, err := v.queue(name)
	if err != nil || q.depth == 0 {
		return nil, err
	}
	whole := from <= q.head
	if limit <= 0 {
		limit = math.MaxInt
	}
	w := v.walk(spaceItem, name)
	defer w.close()
	states := &walk{}
	if limit > 1 {
		states = v.walk(spaceState, name)
		defer states.close()
	}
	var items []QueueItem
	due := q.skip(from)
	for seq, ok := w.find(due); ok && len(items) < limit; {
		if next := q.skip(seq); next != seq {
			seq, ok = w.find(next)
			continue
		}
		if seq > due && len(items) == 0 {
			v.s.hint(name, run{due, seq - 1})
		}
		item, err := v.item(name, seq, w.it.Item(), states)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
		if len(items) < limit {
			seq, ok = w.find(q.skip(seq + 1))
		}
	}
	if whole && len(items) < limit && uint64(len(items)) != q.depth {
		v.s.wound(fmt.Sprintf("the queue should hold %d items and %d are there", q.depth, len(items)), name)
	}
	return items, nil
}

// A walk looks for the live items of a queue. It sees every version of a key,
// tombstones too, since Badger's ordinary iterator reads one item ahead and so
// crosses all the tombstones behind a held item before it gives that item.
type walk struct {
	it    *badger.Iterator
	space byte
	name  string
	at    uint64 // the sequence that the iterator stands on
	steps int
	ended bool
}

// walk begins one over the items of a queue, or over their states.
func (v *view) walk(space byte, name string) *walk {
	o := badger.IteratorOptions{Prefix: nameKey(space, name), AllVersions: true}
	return &walk{it: v.txn.NewIterator(o), space: space, name: name}
}

// reaches moves on to a sequence, which rises from call to call, and says whether
// it is there. It goes no further than to the next one that is.
func (w *walk) reaches(seq uint64) bool {
	if !w.ended && (w.steps == 0 || w.at < seq) {
		_, ok := w.find(seq)
		w.ended = !ok
	}
	return !w.ended && w.at == seq
}

// find gives the first live item from a sequence on.
func (w *walk) find(from uint64) (seq uint64, ok bool) {
	if w.steps == 0 || from != w.at+1 {
		w.it.Seek(seqKey(w.space, w.name, from))
	}
	w.steps++
	for w.it.Valid() {
		w.at = keySeq(w.it.Item().Key())
		if w.at >= from && !w.it.Item().IsDeletedOrExpired() {
			return w.at, true
		}
		from = max(from, w.at+1) // older versions of a removed item
		w.it.Next()
		w.steps++
	}
	return 0, false
}

func (w *walk) close() {
	w.it.Close()
}

// hint notes for the committer that a reader found nothing between two
// sequences, so that the next reader need not look there.
func (s *Store) hint(queue string, dead run) {
	if s.o.ReadOnly {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.published(queue).dead = dead
}

func (v *view) item(name string, seq uint64, at *badger.Item, states *walk) (QueueItem, error) {
	q := QueueItem{Queue: name, Seq: seq}
	body, err := itemBody(at)
	if errors.Is(err, errDamaged) || err == nil && !parseItem(&q, body) {
		e := v.s.damaged(&DamagedError{Where: name, From: seq, To: seq})
		return QueueItem{Queue: name, Seq: seq, Damaged: e}, nil
	}
	if err != nil {
		return q, err
	}
	switch {
	case states.it == nil:
		q.State, err = v.body(seqKey(spaceState, name, seq))
	case states.reaches(seq):
		q.State, err = itemBody(states.it.Item())
	}
	switch {
	case errors.Is(err, ErrNotFound):
	case errors.Is(err, errDamaged):
		q.Damaged = v.s.damaged(&DamagedError{Where: name + " state", From: seq, To: seq})
	case err != nil:
		return q, err
	}
	return q, nil
}

// queue gives the cursor of a queue in this view.
func (v *view) queue(name string) (queue, error) {
	body, err := v.body(nameKey(spaceQueue, name))
	if errors.Is(err, ErrNotFound) {
		return queue{}, nil
	}
	if err != nil && !errors.Is(err, errDamaged) {
		return queue{}, err
	}
	q, ok := parseQueue(body)
	if err != nil || !ok {
		return queue{}, v.s.damaged(&DamagedError{Where: "queue record of " + name})
	}
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	if p := v.s.queues[name]; p != nil && p.dead != (run{}) && p.dead.to < q.next {
		q.remove(p.dead.from, p.dead.to)
	}
	return q, nil
}

// Commits is how many transactions the store has seen since it was made.
func (s *Store) Commits() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commit
}
