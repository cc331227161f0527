package storage

import (
	"context"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"nhip/storage/spool"
)

// Scrub reads everything that is stored and gives the alarms that it raised: the
// tables of Badger block by block, every journal entry in its place, every queue
// item and key against the fingerprints, and the hash of every spool file that a
// value refers to. It reads one committed state and disturbs nobody but by the
// reading.
func (s *Store) Scrub(ctx context.Context) ([]Alarm, error) {
	v, err := s.look()
	if err != nil {
		return nil, err
	}
	defer v.close()
	c := &scrub{v: v, ctx: ctx, seen: map[string]bool{}}
	before := len(s.Alarms())
	for _, step := range []func() error{c.tables, c.journal, c.queues, c.keys} {
		if err := step(); err != nil {
			return s.Alarms()[before:], err
		}
	}
	return s.Alarms()[before:], nil
}

type scrub struct {
	v    *view
	ctx  context.Context
	seen map[string]bool // spool files that were verified
}

func (c *scrub) tables() error { return c.v.s.verifyTables(c.ctx, c.v.s.tables()) }

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
			c.v.s.alarm(fmt.Sprintf("the queue should hold %d items and %d are there, or some are not the ones that were committed", q.depth, items), name)
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
		c.v.s.alarm(fmt.Sprintf("%d keys were committed and %d are there, or some are older than the last commit", r.keys, count), "keys")
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
			c.v.s.alarm(damaged.What, "spool/"+damaged.Path)
		case err != nil:
			c.v.s.alarm("cannot be read: "+reason(err), "spool/"+ref.Path)
		}
	}
}
