package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dgraph-io/badger/v4"

	"nhip/storage/spool"
)

// Scrub reads everything that is stored and gives what it found: the tables of
// Badger block by block, every journal entry in its place, every queue item and key
// against the fingerprints, and the hash of every spool file that a value refers to.
// It reads one committed state and disturbs nobody but by the reading.
//
// With a mirror it puts back what the mirror has and the store has lost, and copies
// to the mirror what that has not. Where all is whole then, which it reads again, the
// alarms of what was damaged are taken back.
func (s *Store) Scrub(ctx context.Context) (found []Alarm, err error) {
	s.scrubbing.Lock()
	defer s.scrubbing.Unlock()
	s.keep.RLock()
	defer s.keep.RUnlock()
	repaired, found, err := s.scrubOnce(ctx, false)
	if err == nil && len(found) == 0 {
		s.takeBack()
	}
	if err != nil || !repaired {
		return found, err
	}
	_, still, err := s.scrubOnce(ctx, true)
	if err != nil || len(still) > 0 {
		return append(found, still...), err
	}
	s.takeBack()
	return append(found, Alarm{What: "all that was damaged is whole again", Where: "mirror", At: time.Now()}), nil
}

// scrubOnce is scrub, and gathers the alarms that are raised meanwhile.
func (s *Store) scrubOnce(ctx context.Context, again bool) (repaired bool, found []Alarm, err error) {
	var gathered []Alarm
	s.collecting(&gathered)
	repaired, err = s.scrub(ctx, again)
	s.collecting(nil)
	return repaired, gathered, err
}

// scrub reads everything once and repairs it, or reads it again after a repair; then
// a table that was damaged is passed over: what it held stands in newer ones.
func (s *Store) scrub(ctx context.Context, again bool) (repaired bool, err error) {
	v, err := s.look()
	if err != nil {
		return false, err
	}
	defer v.close()
	c := &scrub{v: v, ctx: ctx, seen: map[string]bool{}, m: s.mirror.Load()}
	v.bad = func(e *DamagedError) { c.lost = append(c.lost, e) }
	steps := []func() error{c.tables, c.journal, c.queues, c.keys}
	if c.m != nil && !again {
		steps = append(steps, c.mirror, c.restate)
	}
	if again {
		steps = steps[1:]
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return false, err
		}
	}
	whole := len(c.lost) == 0 && len(c.faults) == 0
	if whole && !c.damaged && s.o.SpoolRefs != nil && !s.o.ReadOnly {
		if err := c.orphans(); err != nil {
			return false, err
		}
	}
	if c.m != nil && whole {
		if err := c.m.save(ctx, v); err != nil {
			s.alarm("the mirror cannot be written, and lacks what came since: "+reason(err), "mirror")
		}
	}
	return c.m != nil && (!whole || c.damaged), nil
}

// collecting lets alarms be gathered, those that are known too.
func (s *Store) collecting(to *[]Alarm) {
	s.alarmMu.Lock()
	defer s.alarmMu.Unlock()
	s.collect = to
}

type scrub struct {
	v    *view
	ctx  context.Context
	m    *mirror
	lost []*DamagedError // journal entries
	seen map[string]bool // spool files that were verified

	faults  []fault // queues, and keys, that are not what was committed
	damaged bool    // tables or objects are
}

// mirror compares the journal with the mirror, each repairing the other.
func (c *scrub) mirror() error {
	if c.m == nil {
		return nil
	}
	got, err := c.m.compare(c.ctx, c.v, c.lost)
	if err != nil {
		return fmt.Errorf("storage: the mirror: %s", reason(err))
	}
	n, err := got.repair(c.ctx)
	if err != nil {
		return err
	}
	if n > 0 {
		c.v.s.note(fmt.Sprintf("%d journal entries were put back from the mirror", n), "mirror")
	}
	for _, record := range got.found {
		c.spooled(record[envelope:])
	}
	for _, name := range c.v.s.Channels() {
		if _, err := got.complete(c.ctx, c.v, name); err != nil {
			return err
		}
	}
	got.prune()
	return nil
}

func (c *scrub) tables() error {
	c.v.s.alarmMu.Lock()
	before := len(*c.v.s.collect)
	c.v.s.alarmMu.Unlock()
	err := c.v.s.verifyTables(c.ctx, c.v.s.tables())
	c.v.s.alarmMu.Lock()
	defer c.v.s.alarmMu.Unlock()
	c.damaged = len(*c.v.s.collect) > before
	return err
}

func (c *scrub) journal() error {
	for _, channel := range c.v.s.Channels() {
		err := c.v.entries(channel, 1, 0, false, func(_ Ref, value []byte) bool {
			c.spooled(value)
			return c.ctx.Err() == nil
		})
		var damaged *DamagedError
		if err != nil && !errors.As(err, &damaged) {
			return err
		}
		if err := c.ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (c *scrub) queues() error {
	for _, name := range c.v.s.Queues() {
		q, err := c.v.queue(name)
		if err != nil {
			continue // an alarm already
		}
		items, itemSum, err := c.add(nameKey(spaceItem, name), name, func(body []byte) {
			var item QueueItem
			if parseItem(&item, body) {
				c.spooled(item.Value)
			}
		})
		if err != nil {
			return err
		}
		_, stateSum, err := c.add(nameKey(spaceState, name), name, func([]byte) {})
		if err != nil {
			return err
		}
		if items != q.depth || itemSum+stateSum != q.fp {
			c.v.s.wound(fmt.Sprintf("the queue should hold %d items and %d are there, or some are not the ones that were committed", q.depth, items), name)
			c.faults = append(c.faults, fault{nameKey(spaceItem, name), name}, fault{nameKey(spaceState, name), name})
		}
	}
	return nil
}

func (c *scrub) keys() error {
	body, err := c.v.body(rootKey)
	if err != nil {
		c.v.s.alarm("the root record cannot be read", "store")
		return nil
	}
	r, _ := parseRoot(body)
	count, sum, err := c.add([]byte{spaceKey}, "keys", c.spooled)
	if err != nil {
		return err
	}
	if count != r.keys || sum != r.keyFP {
		c.v.s.wound(fmt.Sprintf("%d keys were committed and %d are there, or some are older than the last commit", r.keys, count), "keys")
		c.faults = append(c.faults, fault{prefix: []byte{spaceKey}})
	}
	return nil
}

// add reads the records with a prefix, counts them and adds up their checksums.
func (c *scrub) add(prefix []byte, where string, f func(body []byte)) (count, sum uint64, err error) {
	it := c.v.txn.NewIterator(badger.IteratorOptions{Prefix: prefix})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		if err := c.ctx.Err(); err != nil {
			return 0, 0, err
		}
		record, err := it.Item().ValueCopy(nil)
		if err != nil {
			return 0, 0, fmt.Errorf("storage: read: %s", reason(err))
		}
		body, s, ok := unseal(it.Item().Key(), record)
		if !ok {
			c.v.s.damaged(&DamagedError{Where: where, From: at(prefix, it.Item().Key()), To: at(prefix, it.Item().Key())})
			continue
		}
		count++
		sum += s
		f(body)
	}
	return count, sum, nil
}

// at gives the sequence in a key, 0 for the key of a small state.
func at(prefix, key []byte) uint64 {
	if len(prefix) == 1 {
		return 0
	}
	return keySeq(key)
}

func (c *scrub) spooled(value []byte) {
	if c.v.s.o.SpoolRefs == nil {
		return
	}
	for _, ref := range c.v.s.o.SpoolRefs(value) {
		if c.seen[ref.Path] {
			continue
		}
		c.seen[ref.Path] = true
		err := c.v.s.spool.Verify(ref)
		var damaged *spool.DamagedError
		switch {
		case errors.As(err, &damaged):
			c.v.s.wound(damaged.What, "spool/"+damaged.Path)
			c.damaged = true
			c.putBack(ref)
		case err != nil:
			c.v.s.alarm("cannot be read: "+reason(err), "spool/"+ref.Path)
		case c.m != nil && c.m.spool.Verify(ref) != nil:
			c.m.copy(ref, c.v.s.spool, c.m.spool)
		}
	}
}

// orphanAge is how long an object may be in the spool before its record is stored.
const orphanAge = 24 * time.Hour

// orphans moves objects that nothing refers to, which a crash left, to the folder
// orphans. Nobody was told that they are stored.
func (c *scrub) orphans() error {
	s := c.v.s
	paths, err := s.spool.Orphans(func(path string) bool { return c.seen[path] }, time.Now().Add(-orphanAge))
	if err != nil || len(paths) == 0 {
		return err
	}
	dir := filepath.Join(s.o.Dir, "orphans")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("storage: %s", reason(err))
	}
	for _, path := range paths {
		if err := os.Rename(filepath.Join(s.o.Dir, "spool", filepath.FromSlash(path)), filepath.Join(dir, filepath.Base(path))); err != nil {
			return fmt.Errorf("storage: spool/%s: %s", path, reason(err))
		}
		if c.m != nil {
			if err := c.m.spool.Remove(spool.Ref{Path: path}); err != nil {
				s.alarm("the mirror cannot be written, and lacks what came since: "+reason(err), "mirror")
			}
		}
	}
	s.o.Log.Warn("storage: objects that no record refers to were moved to the folder orphans", "count", len(paths))
	return nil
}

func (c *scrub) putBack(ref spool.Ref) {
	if c.m != nil && c.m.copy(ref, c.m.spool, c.v.s.spool) {
		c.v.s.note("put back from the mirror", "spool/"+ref.Path)
	}
}
