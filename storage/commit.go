package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// What one transaction takes. Badger refuses one above 15 % of a memtable, in
// bytes and in entries of about 100 bytes.
const (
	groupBytes   = MaxBatch
	groupChanges = 4 * MaxChanges
)

// A request is a batch on its way through the committer.
type request struct {
	batch   *Batch
	receipt Receipt
	err     error
	done    chan struct{}
	state   atomic.Int32
}

const (
	waiting int32 = iota
	taken
	withdrawn
)

func (r *request) finish(err error) {
	r.err = err
	close(r.done)
}

// Commit makes the batch durable, whole or not at all, and says under which
// numbers. It returns nil only after the fsync. The batch is refused alone, and
// nothing of it is stored, with ErrExists, ErrNoItem, ErrTooLarge or ErrName;
// ErrFailed means that the store is broken and the outcome unknown. Where ctx
// ends while the batch stands in line, it is withdrawn; once its transaction has
// begun Commit waits for the outcome.
func (s *Store) Commit(ctx context.Context, b *Batch) (Receipt, error) {
	if s.o.ReadOnly {
		return Receipt{}, ErrReadOnly
	}
	if err := b.check(); err != nil {
		return Receipt{}, err
	}
	if err := s.admit(ctx, b.class); err != nil {
		return Receipt{}, err
	}
	r := &request{batch: b, done: make(chan struct{})}
	select {
	case s.requests <- r:
	case <-ctx.Done():
		return Receipt{}, ctx.Err()
	case <-s.done:
		return Receipt{}, s.ended()
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		if r.state.CompareAndSwap(waiting, withdrawn) {
			return Receipt{}, ctx.Err()
		}
		<-r.done
	case <-s.done:
		if r.state.CompareAndSwap(waiting, withdrawn) {
			return Receipt{}, s.ended()
		}
		<-r.done
	}
	return r.receipt, r.err
}

// ended says why the committer takes nothing more.
func (s *Store) ended() error {
	if s.hasFailed() {
		return ErrFailed
	}
	return ErrClosed
}

func (s *Store) hasFailed() bool {
	select {
	case <-s.failed:
		return true
	default:
		return false
	}
}

// A committer owns the control records and is the only writer. It lives in one
// goroutine.
type committer struct {
	s        *Store
	root     root
	channels map[string]*channel
	queues   map[string]*queue
	counters map[string]*counter
	marks    *highwater

	held   *request  // taken from the line, did not fit into the last group
	before int       // batches in the last group
	until  time.Time // how long the next group may wait for as many
	synced time.Time // when the high-water mark was last brought to the disk

	unguarded int // bytes written since the guard was told what Badger needs
	next      nextLog
}

// run commits group after group until the store is closed or has failed.
func (c *committer) run() {
	defer close(c.s.done)
	for {
		first := c.held
		c.held = nil
		if first == nil {
			select {
			case first = <-c.s.requests:
			case <-c.s.failed:
				return
			case <-c.s.closing:
				select {
				case first = <-c.s.requests:
				default:
					return
				}
			}
		}
		if c.s.hasFailed() || !c.commit(first) {
			return // who still waits in line withdraws
		}
	}
}

// A group is one transaction on its way: many batches, one fsync.
type group struct {
	txn      *badger.Txn
	at       time.Time
	members  []*request
	refused  []refused
	changes  int
	bytes    int
	logged   int // bytes of the write-ahead log and of the memtable, at most
	channels map[string]*channel
	queues   map[string]*queue
	counters map[string]*counter
	enqueued map[string]bool
	mirrored bool             // there is a mirror
	log      []byte           // what it is told
	seen     map[string]found // what is under keys that were looked up and not written since
	err      error            // of the transaction: the store has failed
}

// A refused batch is told after the commit: what it was refused for may stand in
// this very transaction, and "it exists" has to be durable like any other answer.
type refused struct {
	r   *request
	err error
}

// refuse tells the refused members why, or that the store has failed.
func (g *group) refuse(failed error) {
	for _, x := range g.refused {
		if failed != nil {
			x.err = failed
		}
		x.r.finish(x.err)
	}
}

func newGroup(c *committer) *group {
	return &group{
		txn:      c.s.db.NewTransactionAt(c.root.commit, true),
		at:       time.Now(),
		channels: map[string]*channel{},
		queues:   map[string]*queue{},
		counters: map[string]*counter{},
		enqueued: map[string]bool{},
		seen:     map[string]found{},
		mirrored: c.s.o.Mirror != "",
	}
}

// commit builds a group from first and everything that waits behind it, commits
// it and tells its members. It returns false when the store has failed.
func (c *committer) commit(first *request) bool {
	g := newGroup(c)
	defer g.txn.Discard()
	for r := first; r != nil; r = c.following(g) {
		if g.changes+len(r.batch.ops) > groupChanges || g.bytes+r.batch.bytes > groupBytes || r.batch.alone && len(g.members) > 0 {
			c.held = r
			break
		}
		if !r.state.CompareAndSwap(waiting, taken) {
			continue
		}
		if c.join(g, r); r.batch.alone {
			break
		}
	}
	if len(g.members) == 0 {
		g.refuse(nil)
		return true
	}
	if err := c.write(g); err != nil {
		c.s.fail("a commit failed", err)
		for _, r := range g.members {
			r.finish(ErrFailed)
		}
		g.refuse(ErrFailed)
		return false
	}
	now := time.Now()
	c.before = len(g.members) + len(g.refused)
	c.until = now.Add(min(now.Sub(g.at)/4, patience))
	c.wrote(g.bytes)
	c.s.publish(c, g)
	g.refuse(nil)
	for _, r := range g.members {
		r.finish(nil)
	}
	c.s.wake(g)
	c.mark(g)
	return true
}

// patience is the longest wait for a group to fill.
const patience = time.Millisecond

// following gives the next request that waits, if any. Those who were told of the
// last group are about to come back, and a group without them costs a whole fsync:
// so a group waits until it is as large as the last one was, but no longer after
// that one than a quarter of what it took. Who comes alone waits for nobody.
func (c *committer) following(g *group) *request {
	select {
	case r := <-c.s.requests:
		return r
	default:
	}
	left := time.Until(c.until)
	if len(g.members)+len(g.refused) >= c.before || left <= 0 {
		return nil
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case r := <-c.s.requests:
		return r
	case <-timer.C:
		return nil
	}
}

// join checks the conditions of a batch against the state with the earlier
// members of the group in it, and either refuses the batch or applies it whole.
func (c *committer) join(g *group, r *request) {
	if err := c.conditions(g, r.batch); err != nil {
		g.refused = append(g.refused, refused{r, err})
		return
	}
	c.apply(g, r)
	g.members = append(g.members, r)
	g.changes += len(r.batch.ops)
	g.bytes += r.batch.bytes
}

// conditions looks at a batch without changing anything.
func (c *committer) conditions(g *group, b *Batch) error {
	for i := range b.ops {
		o := &b.ops[i]
		switch o.kind {
		case opIfAbsent:
			if _, found := g.stored(nameKey(spaceKey, o.name)); found {
				return ErrExists
			}
		case opTrim:
			if err := c.mayTrim(b, o); err != nil {
				return err
			}
		case opRemove, opSetState:
			q := c.queues[o.name]
			if q == nil || q.removed(o.seq) {
				return ErrNoItem
			}
			var found bool
			o.key = seqKey(spaceItem, o.name, o.seq)
			if o.sum, found = q.fresh[o.seq]; found {
				continue
			}
			if o.sum, found = g.look(o.key); !found {
				return ErrNoItem
			}
		}
	}
	return nil
}

// apply carries out the batch in the transaction and in the control records.
func (c *committer) apply(g *group, r *request) {
	for i := range r.batch.ops {
		o := &r.batch.ops[i]
		switch o.kind {
		case opAppend:
			ch := c.channel(g, o.name)
			ch.last++
			key := seqKey(spaceJournal, o.name, ch.last)
			g.put(key, o.record)
			r.receipt.entries = append(r.receipt.entries, Ref{o.name, ch.last})
		case opEnqueue:
			c.enqueue(g, r, o)
		case opRemove:
			q := c.queue(g, o.name)
			g.remove(o.key)
			q.fp -= o.sum + c.takeState(g, q, o)
			q.depth--
			delete(q.fresh, o.seq)
			q.remove(o.seq, o.seq)
		case opSetState:
			q := c.queue(g, o.name)
			key := seqKey(spaceState, o.name, o.seq)
			old, found := g.stored(key)
			if !found && q.states >= 0 {
				q.states++
			}
			q.fp += g.put(key, o.record) - old
		case opPut:
			c.putKey(g, o.name, o.record)
		case opPutNew:
			c.root.keys++
			c.root.keyFP += g.put(nameKey(spaceKey, o.name), o.record)
		case opPutRef:
			ref := r.receipt.entries[o.about].String()
			c.putKey(g, o.name, append(make([]byte, envelope), ref...))
		case opDelete:
			key := nameKey(spaceKey, o.name)
			if sum, found := g.stored(key); found {
				g.take(key)
				c.root.keys--
				c.root.keyFP -= sum
			}
		case opAdd:
			c.counter(g, o.name).value += o.delta
		case opTrim:
			c.trim(g, o)
		case opRepair:
			c.repair(g, o)
		}
	}
}

// takeState removes the state of an item and gives its checksum. Most queues have
// no item with a state, and then it is not looked for.
func (c *committer) takeState(g *group, q *queue, o *op) uint64 {
	if q.states == 0 {
		return 0
	}
	key := seqKey(spaceState, o.name, o.seq)
	_, found := g.stored(key)
	if !found {
		return 0
	}
	if q.states > 0 {
		q.states--
	}
	return g.take(key)
}

func (c *committer) enqueue(g *group, r *request, o *op) {
	q := c.queue(g, o.name)
	seq := q.next
	q.next++
	q.depth++
	binary.LittleEndian.PutUint64(o.record[envelope:], uint64(g.at.UnixNano()))
	for _, l := range o.late {
		binary.LittleEndian.PutUint64(o.record[l.offset:], r.receipt.entries[l.about].Seq)
	}
	sum := g.put(seqKey(spaceItem, o.name, seq), o.record)
	q.fp += sum
	q.put(seq, sum)
	r.receipt.items = append(r.receipt.items, seq)
	g.enqueued[o.name] = true
}

func (c *committer) putKey(g *group, name string, record []byte) {
	key := nameKey(spaceKey, name)
	old, found := g.stored(key)
	if !found {
		c.root.keys++
	}
	c.root.keyFP += g.put(key, record) - old
}

// channel, queue and counter give a control record to change, and note that the
// group changes it.

func (c *committer) channel(g *group, name string) *channel {
	ch := c.channels[name]
	if ch == nil {
		ch = newChannel()
		ch.passTo(c.root.floor)
		c.channels[name] = ch
		c.root.controls++
	}
	g.channels[name] = ch
	return ch
}

func (c *committer) queue(g *group, name string) *queue {
	q := c.queues[name]
	if q == nil {
		q = newQueue()
		q.passTo(c.root.floor)
		c.queues[name] = q
		c.root.controls++
	}
	g.queues[name] = q
	return q
}

func (c *committer) counter(g *group, name string) *counter {
	n := c.counters[name]
	if n == nil {
		n = &counter{}
		c.counters[name] = n
		c.root.controls++
	}
	g.counters[name] = n
	return n
}

// write adds the changed control records to the transaction and commits it.
func (c *committer) write(g *group) error {
	c.s.hints(g)
	for name, ch := range g.channels {
		c.control(g, spaceChannel, name, ch.record(), &ch.sum)
	}
	for name, q := range g.queues {
		c.control(g, spaceQueue, name, q.record(), &q.sum)
	}
	for name, n := range g.counters {
		c.control(g, spaceCounter, name, n.record(), &n.sum)
	}
	c.root.commit++
	g.put(rootKey, c.root.record())
	if g.err == nil {
		g.err = c.s.fault("commit")
	}
	if g.err != nil {
		return g.err
	}
	if err := c.s.ahead(&c.next, g.logged); err != nil {
		return err
	}
	c.watch(g, "before")
	wait := c.beside(g)
	defer wait()
	if err := g.txn.CommitAt(c.root.commit, nil); err != nil {
		return err
	}
	c.watch(g, "after")
	return c.s.fault("committed")
}

// watch tells Options.Watch what the group holds.
func (c *committer) watch(g *group, when string) {
	if c.s.o.Watch == nil {
		return
	}
	for _, r := range g.members {
		for _, o := range r.batch.ops {
			switch o.kind {
			case opAppend:
				c.s.o.Watch(when, "append "+o.name)
			case opEnqueue:
				c.s.o.Watch(when, "enqueue "+o.name)
			case opRemove:
				c.s.o.Watch(when, "remove "+o.name)
			}
		}
	}
}

func (c *committer) control(g *group, space byte, name string, record []byte, sum *uint64) {
	new := g.put(nameKey(space, name), record)
	c.root.controlFP += new - *sum
	*sum = new
}

// mark writes the high-water mark. Nobody waits for it: those whose batches were
// committed know already. A mark that cannot be written is an alarm, no failure:
// it is a second witness.
func (c *committer) mark(g *group) {
	for name, ch := range g.channels {
		c.marks.set(mark{spaceChannel, name}, ch.last)
	}
	for name, q := range g.queues {
		c.marks.set(mark{spaceQueue, name}, q.next-1)
	}
	c.marks.set(mark{spaceRoot, ""}, c.root.commit)
	err := c.s.fault("highwater")
	if err == nil {
		err = c.marks.write()
	}
	if err != nil {
		c.s.alarm("the high-water mark cannot be written: "+reason(err), "highwater")
	}
	if g.at.Sub(c.synced) >= markInterval {
		c.synced = g.at
		c.s.behind.Go(c.syncMark)
	}
}

// markInterval is about how old the mark on the disk may be after a power cut.
const markInterval = time.Second

func (c *committer) syncMark() {
	if err := c.marks.file.Sync(); err != nil {
		c.s.fail("an fsync of the high-water mark failed", err)
	}
}

// found is the checksum of a record, or that there is none.
type found struct {
	sum uint64
	ok  bool
}

// stored gives the checksum of the record under key, as the transaction sees it.
func (g *group) stored(key []byte) (sum uint64, ok bool) {
	if f, known := g.seen[string(key)]; known {
		return f.sum, f.ok
	}
	sum, ok = g.look(key)
	if g.err == nil {
		g.seen[string(key)] = found{sum, ok}
	}
	return sum, ok
}

// look is stored for a key that nobody asks for again.
func (g *group) look(key []byte) (sum uint64, ok bool) {
	item, err := g.txn.Get(key)
	switch {
	case err == nil:
		err = item.Value(func(record []byte) error {
			if len(record) >= envelope {
				sum = binary.LittleEndian.Uint64(record[1:])
			}
			return nil
		})
		ok = err == nil
	case errors.Is(err, badger.ErrKeyNotFound):
		err = nil
	}
	if err != nil {
		g.failed(err)
		return 0, false
	}
	return sum, ok
}

// put seals and writes a record and gives its checksum.
func (g *group) put(key, record []byte) uint64 {
	sum := seal(key, record)
	delete(g.seen, string(key))
	if err := g.txn.Set(key, record); err != nil {
		g.failed(err)
	}
	g.logged += entryCost + len(key) + len(record)
	if g.mirrored {
		g.log = appendSegmented(g.log, key, record)
	}
	return sum
}

// take deletes what is stored under key and gives its checksum, 0 for nothing.
func (g *group) take(key []byte) uint64 {
	sum, found := g.stored(key)
	if !found {
		return 0
	}
	delete(g.seen, string(key))
	g.remove(key)
	return sum
}

// remove deletes what is stored under key.
func (g *group) remove(key []byte) {
	if err := g.txn.Delete(key); err != nil {
		g.failed(err)
	}
	g.logged += entryCost + len(key)
	if g.mirrored {
		g.log = appendSegmented(g.log, key, nil)
	}
}

func (g *group) failed(err error) {
	if g.err == nil {
		g.err = err
	}
}

// publish shows the committed state to the readers.
func (s *Store) publish(c *committer, g *group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commit = c.root.commit
	for name, ch := range g.channels {
		s.last[name] = ch.last
	}
	for name, q := range g.queues {
		s.published(name).depth = q.depth
	}
	for name, n := range g.counters {
		s.counters[name] = n.value
	}
	oldest := s.commit
	for at := range s.reading {
		oldest = min(oldest, at)
	}
	s.db.SetDiscardTs(oldest)
}

// hints moves what readers found removed into the queues that a group changes.
func (s *Store) hints(g *group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, q := range g.queues {
		p := s.published(name)
		if p.dead != (run{}) && p.dead.to < q.next {
			q.remove(p.dead.from, p.dead.to)
			p.dead = run{}
		}
	}
}

// published gives the public side of a queue; s.mu is held.
func (s *Store) published(name string) *published {
	p := s.queues[name]
	if p == nil {
		p = &published{wait: make(chan struct{}, 1)}
		s.queues[name] = p
	}
	return p
}

// wake tells who waits for a queue that there is something.
func (s *Store) wake(g *group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range g.enqueued {
		select {
		case s.queues[name].wait <- struct{}{}:
		default:
		}
	}
}

func (s *Store) fault(step string) error {
	if s.o.Fault == nil {
		return nil
	}
	return s.o.Fault(step)
}
