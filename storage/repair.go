package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/dgraph-io/badger/v4"
)

// Queues, states and keys change, so a log of them alone would never end. The
// mirror keeps them as of one commit (its state, written anew by a Scrub that found
// the store whole), and its log tells what came behind. Both together are what every
// record must be at the commit that a Scrub looks at.

// stateFile is the name of the state in the mirror.
const stateFile = "state"

// repair adds the repair of one record, as it was at a commit; record nil: there was
// none. What was written since is left alone.
func (b *Batch) repair(key []byte, name string, seq uint64, record []byte, at uint64) {
	b.alone = true
	b.add(op{kind: opRepair, name: name, seq: seq, to: at, record: record, key: key})
}

// repair carries it out. Counts and fingerprints are those of the commit, and stay.
func (c *committer) repair(g *group, o *op) {
	space := o.key[0]
	if space == spaceJournal {
		if ch := c.channels[o.name]; ch == nil || o.seq > ch.last || ch.skip(o.seq) != o.seq {
			return // trimmed meanwhile
		}
	}
	it := g.txn.NewKeyIterator(o.key, badger.IteratorOptions{AllVersions: true})
	it.Rewind()
	newer := it.Valid() && it.Item().Version() > o.to
	it.Close()
	if newer {
		return
	}
	if q := c.queues[o.name]; q != nil && space == spaceItem {
		delete(q.fresh, o.seq)
	}
	if o.record == nil {
		g.remove(o.key)
		return
	}
	switch space {
	case spaceItem:
		q := c.queue(g, o.name)
		if o.seq >= q.next {
			return
		}
		q.restore(o.seq)
		g.enqueued[o.name] = true
	case spaceState:
		c.queue(g, o.name).states = -1
	}
	g.put(o.key, o.record)
}

// restore takes back that a number was removed.
func (c *cursor) restore(seq uint64) {
	runs := slices.Clone(c.runs)
	if seq < c.head {
		runs = slices.Insert(runs, 0, run{seq, c.head - 1})
		c.head = seq
	}
	for i, r := range runs {
		if seq < r.from || seq > r.to {
			continue
		}
		var split []run
		if r.from < seq {
			split = append(split, run{r.from, seq - 1})
		}
		if seq < r.to {
			split = append(split, run{seq + 1, r.to})
		}
		runs = slices.Replace(runs, i, i+1, split...)
		break
	}
	if len(runs) > maxRuns {
		runs = forgetShortest(runs)
	}
	c.runs = runs
}

// commitOf gives the number of the commit that a record ends.
func commitOf(key, record []byte) (uint64, bool) {
	if len(key) != 1 || key[0] != spaceRoot {
		return 0, false
	}
	body, _, ok := unseal(key, record)
	if !ok {
		return 0, false
	}
	r, ok := parseRoot(body)
	return r.commit, ok
}

// covered gives the commit of the mirror's state, 0 where there is none.
func (m *mirror) covered() (commit uint64) {
	f, err := os.Open(filepath.Join(m.dir, stateFile))
	if err != nil {
		return 0
	}
	defer f.Close()
	_ = readSegment(io.LimitReader(f, 4096), func(key, record []byte) {
		if n, ok := commitOf(key, record); ok && commit == 0 {
			commit = n
		}
	})
	return commit
}

// save writes the state of a view in place of the last one. Its first and its last
// record are the root: without the last it is not whole.
func (m *mirror) save(ctx context.Context, v *view) error {
	path := filepath.Join(m.dir, stateFile)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	root, err := v.body(rootKey)
	if err != nil {
		return err
	}
	end := append(make([]byte, envelope), root...)
	seal(rootKey, end)
	b := appendSegmented(nil, rootKey, end)
	for _, space := range []byte{spaceChannel, spaceQueue, spaceCounter, spaceItem, spaceState, spaceKey} {
		it := v.txn.NewIterator(badger.IteratorOptions{Prefix: []byte{space}})
		for it.Rewind(); it.Valid() && err == nil; it.Next() {
			var record []byte
			if record, err = it.Item().ValueCopy(nil); err == nil {
				b = appendSegmented(b, it.Item().Key(), record)
			}
			if err == nil && len(b) >= repairBatch {
				_, err = f.Write(b)
				b = b[:0]
			}
			err = errors.Join(err, ctx.Err())
		}
		it.Close()
	}
	if err == nil {
		_, err = f.Write(appendSegmented(b, rootKey, end))
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(m.dir)
}

// saveMirror gives a new mirror its first state.
func (s *Store) saveMirror(ctx context.Context) {
	s.scrubbing.Lock()
	defer s.scrubbing.Unlock()
	v, err := s.look()
	if err != nil {
		return
	}
	defer v.close()
	if err := s.mirror.Load().save(ctx, v); err != nil && ctx.Err() == nil {
		s.alarm("the mirror cannot be written, and lacks what came since: "+reason(err), "mirror")
	}
}

var errMirrorGap = errors.New("storage: the mirror lacks commits")

// replay calls f for every change that leads to the state at a commit, in order. It
// is errMirrorGap where the mirror has not all of them.
func (m *mirror) replay(ctx context.Context, at uint64, f func(key, record []byte)) error {
	file, err := os.Open(filepath.Join(m.dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return errMirrorGap
	}
	if err != nil {
		return err
	}
	defer file.Close()
	var from uint64
	roots := 0
	err = readSegment(file, func(key, record []byte) {
		if n, ok := commitOf(key, record); ok {
			from = n
			roots++
			return
		}
		f(slices.Clone(key), slices.Clone(record))
	})
	if err != nil || roots != 2 || from > at {
		return errMirrorGap
	}
	// The last commit before a crash may not have become one: its number comes again.
	type change struct{ key, record []byte }
	var changes, last []change
	done := from // and last is of the commit done, from+1 on
	gap := false
	apply := func() {
		for _, c := range last {
			f(c.key, c.record)
		}
		last = nil
	}
	err = m.read(ctx, func(_ string, key, record []byte) {
		n, ends := commitOf(key, record)
		if !ends {
			changes = append(changes, change{slices.Clone(key), slices.Clone(record)})
			return
		}
		switch {
		case gap || n > at || n < done || n <= from:
		case n == done:
			last = changes
		case n == done+1:
			apply()
			last, done = changes, n
		default:
			gap = true
		}
		changes = nil
	})
	if err != nil {
		return err
	}
	if gap || done != at {
		return errMirrorGap
	}
	apply()
	return nil
}

// A fault is a space of records that are not what was committed: of one queue, or
// all keys.
type fault struct {
	prefix []byte
	name   string // of the queue; empty: of keys
}

// putBack makes the records of the faults what the mirror says that they were, and
// says how many were not.
func (m *mirror) putBack(ctx context.Context, v *view, faults []fault) (n int, err error) {
	concerned := func(key []byte) bool {
		return slices.ContainsFunc(faults, func(x fault) bool { return len(key) > 0 && hasPrefix(key, x.prefix) })
	}
	// The checksum of every record that must be, by the hash of its key.
	want := map[uint64]uint64{}
	err = m.replay(ctx, v.at, func(key, record []byte) {
		switch {
		case !concerned(key):
		case len(record) == 0:
			delete(want, xxhash.Sum64(key))
		default:
			want[xxhash.Sum64(key)] = xxhash.Sum64(record)
		}
	})
	if err != nil {
		return 0, err
	}
	r := &repairs{s: m.s, ctx: ctx, at: v.at, b: new(Batch)}
	for _, x := range faults {
		it := v.txn.NewIterator(badger.IteratorOptions{Prefix: x.prefix})
		for it.Rewind(); it.Valid(); it.Next() {
			record, err := it.Item().ValueCopy(nil)
			key := it.Item().KeyCopy(nil)
			sum, wanted := want[xxhash.Sum64(key)]
			switch {
			case err == nil && wanted && sum == xxhash.Sum64(record):
				delete(want, xxhash.Sum64(key)) // what is left is missing
			case !wanted:
				r.add(key, nil)
			}
		}
		it.Close()
	}
	last := map[string][]byte{}
	err = m.replay(ctx, v.at, func(key, record []byte) {
		if sum, wanted := want[xxhash.Sum64(key)]; wanted && concerned(key) && xxhash.Sum64(record) == sum {
			last[string(key)] = record
		}
	})
	if err != nil {
		return 0, err
	}
	for key, record := range last {
		r.add([]byte(key), record)
	}
	r.flush()
	return r.n, r.err
}

func hasPrefix(key, prefix []byte) bool {
	return len(key) >= len(prefix) && string(key[:len(prefix)]) == string(prefix)
}

// repairs gathers them into batches.
type repairs struct {
	s   *Store
	ctx context.Context
	at  uint64

	b   *Batch
	n   int
	err error
}

func (r *repairs) add(key, record []byte) {
	if !wellFormed(key) {
		return
	}
	name, seq := "", uint64(0)
	switch key[0] {
	case spaceRoot:
		return // every commit writes it
	case spaceJournal, spaceItem, spaceState:
		name, seq = seqName(key), keySeq(key)
	default:
		name = keyName(key)
	}
	r.b.repair(key, name, seq, record, r.at)
	r.n++
	if r.b.bytes >= repairBatch || len(r.b.ops) == MaxChanges {
		r.flush()
	}
}

func (r *repairs) flush() {
	if len(r.b.ops) > 0 && r.err == nil {
		_, r.err = r.s.Commit(r.ctx, r.b)
	}
	r.b = new(Batch)
}

// restate repairs queues and keys from the mirror.
func (c *scrub) restate() error {
	if len(c.faults) == 0 {
		return nil
	}
	n, err := c.m.putBack(c.ctx, c.v, c.faults)
	switch {
	case errors.Is(err, errMirrorGap):
		c.v.s.note("the mirror lacks commits: queues and keys cannot be put back from it", "mirror")
		return nil
	case err != nil:
		return fmt.Errorf("storage: the mirror: %w", err)
	case n > 0:
		c.v.s.note(fmt.Sprintf("%d records of queues and keys were put back from the mirror", n), "mirror")
	}
	return nil
}
