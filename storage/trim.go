package storage

import (
	"fmt"
	"time"

	"nhip/storage/diskguard"
)

// MaxTrim is how many entries one call of Trim removes at most.
const MaxTrim = 500

// Trim removes journal entries of a channel, both ends included: they are done
// with and their time is over. Their numbers are not given out again, and
// reading one is ErrTrimmed, no damage. Entries that are trimmed already are
// passed over. A channel keeps at most a few hundred gaps between entries that
// stay: beyond them the batch is refused with ErrGaps.
func (b *Batch) Trim(channel string, from, to uint64) {
	if from == 0 || to < from || to-from >= MaxTrim {
		b.fail(fmt.Errorf("%w: %d to %d are not 1 to %d entries to trim", ErrTooLarge, from, to, MaxTrim))
		return
	}
	b.add(op{kind: opTrim, name: channel, seq: from, to: to})
	b.trims++
	b.bytes += int(to-from+1) * (len(channel) + trimCost)
}

// trimCost is about what the removal of an entry takes of a transaction.
const trimCost = 300

// mayTrim refuses to trim what was never written, and what would leave too many
// gaps.
func (c *committer) mayTrim(b *Batch, o *op) error {
	ch := c.channels[o.name]
	if ch == nil || o.to > ch.last {
		return ErrNotFound
	}
	after := ch.cursor
	if after.join(o.seq, o.to); len(after.runs)+b.trims > maxRuns {
		return ErrGaps
	}
	return nil
}

func (c *committer) trim(g *group, o *op) {
	ch := c.channel(g, o.name)
	for _, r := range ch.live(o.seq, o.to) {
		for seq := r.from; seq <= r.to; seq++ {
			if err := g.txn.Delete(seqKey(spaceJournal, o.name, seq)); err != nil {
				g.failed(err)
				return
			}
		}
	}
	ch.join(o.seq, o.to)
}

// Compact gives the space of what was trimmed and removed back: Badger else keeps
// it until a compaction of its own comes by. It writes about as much as the store
// holds without the spool; one at a time runs, and a second call returns at once.
// ErrDiskFull: there is no room to work in.
func (s *Store) Compact() error {
	if err := s.Room(diskguard.Images); err != nil {
		return err
	}
	s.mu.Lock()
	if s.compacting != nil || s.o.ReadOnly {
		s.mu.Unlock()
		return nil
	}
	done := make(chan struct{})
	s.compacting = done
	s.mu.Unlock()
	s.life.RLock()
	closed := s.closed
	s.life.RUnlock()
	var err error
	if !closed {
		err = s.db.Flatten(1)
	}
	s.mu.Lock()
	s.compacting = nil
	s.mu.Unlock()
	close(done)
	if err != nil {
		return fmt.Errorf("storage: compact: %s", reason(err))
	}
	return nil
}

// compacted waits for a compaction that goes on, for a while.
func (s *Store) compacted(patience time.Duration) bool {
	s.mu.Lock()
	done := s.compacting
	s.mu.Unlock()
	if done == nil {
		return true
	}
	select {
	case <-done:
		return true
	case <-time.After(patience):
		return false
	}
}
