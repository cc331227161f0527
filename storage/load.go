package storage

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
)

// load reads the control records, holds them against the fingerprint in the
// root record and against the high-water mark, and starts the committer.
func (s *Store) load(background context.Context) error {
	c := &committer{
		s:        s,
		channels: map[string]*channel{},
		queues:   map[string]*queue{},
		counters: map[string]*counter{},
	}
	s.work = c
	marks, marksSound, err := s.marks(c)
	if err != nil {
		return err
	}
	version := s.db.MaxVersion()
	s.commit = version
	l := loader{c: c, v: &view{s: s, at: version, txn: s.db.NewTransactionAt(version, false)}}
	defer l.v.txn.Discard()
	if err := l.controls(version, len(marks) > 0); err != nil {
		return err
	}
	if s.o.next != nil {
		l.passOver(s.o.next)
	}
	if !marksSound && c.root.commit > 0 && s.o.next == nil {
		s.alarm("the high-water mark is damaged or gone; entries lost behind the last that is there would not be noticed", "highwater")
	}
	l.compare(marks)
	if err := l.present(); err != nil {
		return err
	}
	for name, q := range c.queues {
		q.states = l.v.noStates(name)
	}
	return s.start(&l, background)
}

// marks opens the high-water mark.
func (s *Store) marks(c *committer) (marks map[mark]uint64, sound bool, err error) {
	h, marks, damaged, err := openHighwater(filepath.Join(s.o.Dir, "highwater"), s.o.ReadOnly)
	if err != nil {
		return nil, false, fmt.Errorf("storage: high-water mark: %s", reason(err))
	}
	c.marks = h
	_, ok := marks[mark{spaceRoot, ""}]
	return marks, damaged == 0 && ok, nil
}

// A loader looks at a store that is being opened.
type loader struct {
	c      *committer
	v      *view
	repair bool // control records have to be written anew

	unreadable [][]byte // keys of damaged control records, removed by the repair
}

// controls reads the root and every control record.
func (l *loader) controls(version uint64, used bool) error {
	c := l.c
	body, err := l.v.body(rootKey)
	sound := err == nil
	if sound {
		c.root, sound = parseRoot(body)
	}
	if sound && c.root.format > formatVersion {
		return fmt.Errorf("%w (its format is %d, this one reads %d)", ErrFormat, c.root.format, formatVersion)
	}
	if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, errDamaged) {
		return err
	}
	count, fingerprint, bad, err := l.read()
	if err != nil {
		return err
	}
	lost := !sound && (version > 0 || used)
	stale := c.root.commit != version || count != c.root.controls || fingerprint != c.root.controlFP || bad > 0
	c.root.format = formatVersion
	switch {
	case lost:
		c.s.alarm("the root record is lost; the control records were rebuilt and cannot be vouched for", "store")
		if err := l.recountKeys(); err != nil {
			return err
		}
	case stale:
		c.s.alarm(fmt.Sprintf("control records are damaged or older than the last commit (%d of %d found, %d unreadable)", count, c.root.controls, bad), "store")
	default:
		return nil
	}
	l.repair = true
	c.root.commit, c.root.controls, c.root.controlFP = version, count, fingerprint
	return l.rebuild()
}

// read fills in channels, queues and counters.
func (l *loader) read() (count, fingerprint uint64, bad int, err error) {
	for _, space := range []byte{spaceChannel, spaceQueue, spaceCounter} {
		it := l.v.txn.NewIterator(badger.IteratorOptions{Prefix: []byte{space}})
		for it.Rewind(); it.Valid(); it.Next() {
			key := it.Item().KeyCopy(nil)
			record, err := it.Item().ValueCopy(nil)
			if err != nil {
				it.Close()
				return 0, 0, 0, fmt.Errorf("storage: read: %s", reason(err))
			}
			body, sum, ok := unseal(key, record)
			if !ok || !l.take(space, keyName(key), body, sum) {
				l.unreadable = append(l.unreadable, key)
				bad++
				continue
			}
			count++
			fingerprint += sum
		}
		it.Close()
	}
	return count, fingerprint, bad, nil
}

func (l *loader) take(space byte, name string, body []byte, sum uint64) (ok bool) {
	switch space {
	case spaceChannel:
		var ch channel
		if ch, ok = parseChannel(body); ok {
			ch.sum = sum
			l.c.channels[name] = &ch
		}
	case spaceQueue:
		var q queue
		if q, ok = parseQueue(body); ok {
			q.sum = sum
			l.c.queues[name] = &q
		}
	case spaceCounter:
		var n counter
		if n, ok = parseCounter(body); ok {
			n.sum = sum
			l.c.counters[name] = &n
		}
	}
	return ok
}

// compare holds the store against the high-water mark. What the mark has and the
// store has not is lost; its numbers are not given out again.
func (l *loader) compare(marks map[mark]uint64) {
	c := l.c
	for m, value := range marks {
		switch m.space {
		case spaceRoot:
			if value > c.root.commit {
				c.s.alarm(fmt.Sprintf("commits %d to %d are gone", c.root.commit+1, value), "store")
				c.root.commit = value
				l.repair = true
			}
		case spaceChannel:
			ch := c.channels[m.name]
			if ch == nil {
				ch = newChannel()
			}
			if value > ch.last {
				c.s.wound(fmt.Sprintf("entries %d to %d, which were committed, are gone", ch.last+1, value), m.name)
				ch.last = value
				c.channels[m.name] = ch
				l.repair = true
			}
		case spaceQueue:
			q := c.queues[m.name]
			if q == nil {
				q = newQueue()
			}
			if value >= q.next {
				c.s.alarm(fmt.Sprintf("queue items %d to %d, which were committed, are gone", q.next, value), m.name)
				first := q.next
				q.next = value + 1
				q.remove(first, value)
				c.queues[m.name] = q
				l.repair = true
			}
		}
	}
}

// present looks for the last entry of every channel.
func (l *loader) present() error {
	for name, ch := range l.c.channels {
		if ch.skip(ch.last) != ch.last {
			continue // trimmed
		}
		_, err := l.v.body(seqKey(spaceJournal, name, ch.last))
		switch {
		case ch.last == 0 || err == nil:
		case errors.Is(err, ErrNotFound):
			l.c.s.damaged(&DamagedError{Where: name, From: ch.last, To: ch.last, Missing: true})
		case errors.Is(err, errDamaged):
			l.c.s.damaged(&DamagedError{Where: name, From: ch.last, To: ch.last})
		default:
			return err
		}
	}
	return nil
}

// noStates gives 0 where a queue has no state, and -1 where it has or where there
// are too many tombstones to say.
func (v *view) noStates(name string) int {
	w := v.walk(spaceState, name)
	defer w.close()
	w.it.Rewind()
	for range 100 {
		switch {
		case !w.it.Valid():
			return 0
		case !w.it.Item().IsDeletedOrExpired():
			return -1
		}
		w.it.Next()
	}
	return -1
}

// rebuild finds channels and queues whose record is gone by what is stored under
// their names, and moves those that are behind it.
func (l *loader) rebuild() error {
	c := l.c
	for name, last := range l.lasts(spaceJournal) {
		ch := c.channels[name]
		if ch == nil {
			ch = newChannel()
			c.channels[name] = ch
		}
		ch.last = max(ch.last, last)
	}
	for name, last := range l.lasts(spaceItem) {
		q := c.queues[name]
		if q == nil {
			q = newQueue()
			c.queues[name] = q
			if err := l.recount(name, q); err != nil {
				return err
			}
		}
		q.next = max(q.next, last+1)
	}
	return nil
}

// lasts gives the highest sequence stored under each name of a space, by one
// seek for a name.
func (l *loader) lasts(space byte) map[string]uint64 {
	lasts := map[string]uint64{}
	it := l.v.txn.NewIterator(badger.IteratorOptions{Prefix: []byte{space}, Reverse: true})
	defer it.Close()
	at := []byte{space + 1}
	for it.Seek(at); it.Valid(); it.Seek(at) {
		key := it.Item().Key()
		name := string(key[1 : len(key)-9])
		lasts[name] = keySeq(key)
		at = nameKey(space, name)
	}
	return lasts
}

// recount counts a queue whose record is lost.
func (l *loader) recount(name string, q *queue) error {
	for _, space := range []byte{spaceItem, spaceState} {
		count, fingerprint, err := l.v.sum(nameKey(space, name))
		if err != nil {
			return err
		}
		q.fp += fingerprint
		if space == spaceItem {
			q.depth = count
		}
	}
	return nil
}

func (l *loader) recountKeys() (err error) {
	l.c.root.keys, l.c.root.keyFP, err = l.v.sum([]byte{spaceKey})
	return err
}

// sum counts the records with a prefix and adds up their checksums.
func (v *view) sum(prefix []byte) (count, fingerprint uint64, err error) {
	it := v.txn.NewIterator(badger.IteratorOptions{Prefix: prefix})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		record, err := it.Item().ValueCopy(nil)
		if err != nil {
			return 0, 0, fmt.Errorf("storage: read: %s", reason(err))
		}
		_, sum, _ := unseal(it.Item().Key(), record)
		count++
		fingerprint += sum
	}
	return count, fingerprint, nil
}

// start publishes what was loaded, writes what had to be repaired, and starts
// the committer.
func (s *Store) start(l *loader, background context.Context) error {
	c := l.c
	if !s.o.ReadOnly && (l.repair || c.root.commit == 0) {
		if err := c.commitAll(l.unreadable); err != nil {
			return fmt.Errorf("storage: %s: the first commit failed: %s", s.o.Dir, reason(err))
		}
	}
	if !s.o.ReadOnly {
		if err := c.markAll(); err != nil {
			return fmt.Errorf("storage: high-water mark: %s", reason(err))
		}
	}
	s.commit = c.root.commit
	s.db.SetDiscardTs(s.commit)
	for name, ch := range c.channels {
		s.last[name] = ch.last
	}
	for name, q := range c.queues {
		p := s.published(name)
		p.depth = q.depth
		if p.depth > 0 {
			p.wait <- struct{}{}
		}
	}
	for name, n := range c.counters {
		s.counters[name] = n.value
	}
	s.behind.Go(func() { s.verifyTables(background, s.later) })
	if s.guard != nil {
		s.guard.SetNeed(s.need())
		s.behind.Go(func() { s.watchDisk(background) })
	}
	if s.o.ReadOnly {
		close(s.done)
		return nil
	}
	s.behind.Go(func() { s.watchTables(background) })
	s.behind.Go(func() { s.watchMemory(background) })
	go c.run()
	return nil
}

// commitAll writes every control record, for a store that is new or was
// repaired.
func (c *committer) commitAll(remove [][]byte) error {
	g := newGroup(c)
	defer g.txn.Discard()
	for _, key := range remove {
		if err := g.txn.Delete(key); err != nil {
			return err
		}
	}
	c.root.format = formatVersion
	c.root.controls = uint64(len(c.channels) + len(c.queues) + len(c.counters))
	g.channels, g.queues, g.counters = c.channels, c.queues, c.counters
	return c.write(g)
}

// markAll writes the whole high-water mark.
func (c *committer) markAll() error {
	for name, ch := range c.channels {
		c.marks.set(mark{spaceChannel, name}, ch.last)
	}
	for name, q := range c.queues {
		c.marks.set(mark{spaceQueue, name}, q.next-1)
	}
	c.marks.set(mark{spaceRoot, ""}, c.root.commit)
	return c.marks.rewrite()
}
