package storage

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"nhip/storage/diskguard"
	"nhip/storage/spool"
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
			key := seqKey(spaceJournal, o.name, seq)
			if err := g.txn.Delete(key); err != nil {
				g.failed(err)
				return
			}
			g.logged += entryCost + len(key)
		}
	}
	ch.join(o.seq, o.to)
}

// References gives, for every channel, the sequences of the entries that some queue
// item refers to, sorted, and the last entry, as one committed state has them: what
// comes after it may be referred to from then on. It is an error where a queue is not
// whole: nobody can say then what is needed.
func (s *Store) References(ctx context.Context) (refs map[string][]uint64, last map[string]uint64, err error) {
	v, err := s.look()
	if err != nil {
		return nil, nil, err
	}
	defer v.end(&err)
	refs, last = map[string][]uint64{}, map[string]uint64{}
	for _, name := range s.Channels() {
		ch, err := v.channel(name)
		if err != nil {
			return nil, nil, err
		}
		last[name] = ch.last
	}
	for _, name := range s.Queues() {
		q, err := v.queue(name)
		if err != nil {
			return nil, nil, err
		}
		if q.depth == 0 {
			continue
		}
		if err := v.references(ctx, name, q, refs); err != nil {
			return nil, nil, err
		}
	}
	for channel, seqs := range refs {
		slices.Sort(seqs)
		refs[channel] = slices.Compact(seqs)
	}
	return refs, last, nil
}

func (v *view) references(ctx context.Context, name string, q queue, refs map[string][]uint64) error {
	w := v.walk(spaceItem, name)
	defer w.close()
	var count uint64
	for seq, ok := w.find(q.skip(0)); ok; seq, ok = w.find(q.skip(seq + 1)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if q.removed(seq) {
			continue
		}
		var item QueueItem
		body, err := itemBody(w.it.Item())
		if err != nil || !parseItem(&item, body) {
			return v.s.damaged(&DamagedError{Where: name, From: seq, To: seq})
		}
		for _, r := range item.About {
			refs[r.Channel] = append(refs[r.Channel], r.Seq)
		}
		count++
	}
	if count != q.depth {
		return v.s.damaged(&DamagedError{Where: name, From: q.head, To: q.next - 1, Missing: true})
	}
	return nil
}

// ErrBusy says that a backup is being made, which needs the objects.
var ErrBusy = errors.New("storage: a backup is being made")

// RemoveObjects removes objects that no record refers to any more. Those that are
// gone are no error; ErrBusy: not now.
func (s *Store) RemoveObjects(refs []spool.Ref) error {
	if !s.keep.TryLock() {
		return ErrBusy
	}
	defer s.keep.Unlock()
	for _, r := range refs {
		if err := s.spool.Remove(r); err != nil {
			return err
		}
		if m := s.mirror.Load(); m != nil {
			if err := m.spool.Remove(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// Compact gives the space of what was trimmed and removed back: Badger else keeps
// it until a compaction of its own comes by. It writes about as much as the store
// holds without the spool; one at a time runs, and a second call returns at once. A
// store of fewer than five tables (80 MB) is left as it is.
// ErrDiskFull: there is no room to work in.
func (s *Store) Compact(ctx context.Context) error {
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
		if err = s.turn(ctx); err == nil {
			err = s.db.Flatten(1)
		}
	}
	s.mu.Lock()
	s.compacting = nil
	s.mu.Unlock()
	close(done)
	switch {
	case err == nil, errors.Is(err, ErrFailed), errors.Is(err, ErrClosed), errors.Is(err, context.Canceled):
		return err
	}
	return fmt.Errorf("storage: compact: %s", reason(err))
}

// turn lets Badger begin a new memtable, and waits until the old one, with the
// tombstones of what was trimmed, is a table: compactions see tables only, and
// Badger turns a memtable by nothing but writing it full.
func (s *Store) turn(ctx context.Context) error {
	const key, part = "compaction", 128 << 10
	for n := 0; n < memTable; n += part {
		b := new(Batch)
		b.Put(key, make([]byte, part))
		if _, err := s.Commit(ctx, b); err != nil {
			return err
		}
	}
	b := new(Batch)
	b.Delete(key)
	if _, err := s.Commit(ctx, b); err != nil {
		return err
	}
	for range 500 {
		logs, err := filepath.Glob(filepath.Join(s.o.Dir, "store", "*.mem"))
		if err != nil || len(logs) <= 1 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil // a busy store: what is left comes with the next compaction
}

// compactPatience is how long Close waits for a compaction.
const compactPatience = 3 * time.Second

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
