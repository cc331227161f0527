package storage

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
)

// A tally holds the records of one committed state, taken in the order of their
// keys, against the counts and fingerprints that stand in it.
type tally struct {
	before   []byte
	root     root
	rooted   bool
	channels map[string]channel
	next     map[string]uint64 // the entry that is due, by channel
	queues   map[string]queue
	items    map[string]sums // items and states, by queue
	depth    map[string]uint64
	keys     sums
	controls sums
	problems []string
	more     int
}

type sums struct{ count, fp uint64 }

func (s *sums) add(sum uint64) {
	s.count++
	s.fp += sum
}

// maxProblems bounds what is kept of a store that is damaged all over.
const maxProblems = 1000

func newTally() *tally {
	return &tally{
		channels: map[string]channel{}, next: map[string]uint64{}, queues: map[string]queue{},
		items: map[string]sums{}, depth: map[string]uint64{},
	}
}

func (t *tally) problem(format string, args ...any) {
	if len(t.problems) == maxProblems {
		t.more++
		return
	}
	t.problems = append(t.problems, fmt.Sprintf(format, args...))
}

// record takes the next one. ok is false where it must not be used.
func (t *tally) record(key, record []byte) (body []byte, ok bool) {
	if !wellFormed(key) || bytes.Compare(key, t.before) <= 0 {
		t.problem("a record stands where it does not belong")
		return nil, false
	}
	t.before = append(t.before[:0], key...)
	body, sum, ok := unseal(key, record)
	if !ok {
		t.problem("%v", damagedAt(key))
		return nil, false
	}
	switch key[0] {
	case spaceRoot:
		t.root, t.rooted = parseRoot(body)
		return body, t.rooted
	case spaceChannel, spaceQueue, spaceCounter:
		t.controls.add(sum)
		return body, t.control(key, body)
	case spaceItem:
		t.depth[seqName(key)]++
		t.item(key, sum)
	case spaceState:
		t.item(key, sum)
	case spaceKey:
		t.keys.add(sum)
	case spaceJournal:
		t.entry(seqName(key), keySeq(key))
	}
	return body, true
}

func (t *tally) control(key, body []byte) (ok bool) {
	switch name := keyName(key); key[0] {
	case spaceChannel:
		t.channels[name], ok = parseChannel(body)
	case spaceQueue:
		t.queues[name], ok = parseQueue(body)
	default:
		_, ok = parseCounter(body)
	}
	if !ok {
		t.problem("a control record cannot be read")
	}
	return ok
}

func (t *tally) item(key []byte, sum uint64) {
	name := seqName(key)
	s := t.items[name]
	s.add(sum)
	t.items[name] = s
}

func (t *tally) entry(name string, seq uint64) {
	ch, ok := t.channels[name]
	if !ok {
		t.problem("%s/%d: the record of its channel is missing", name, seq)
		return
	}
	t.gap(name, ch, seq-1)
	t.next[name] = seq + 1
}

func (t *tally) gap(name string, ch channel, to uint64) {
	for _, r := range ch.live(max(t.next[name], 1), to) {
		t.problem("%v", &DamagedError{Where: name, From: r.from, To: r.to, Missing: true})
	}
}

// finish compares, and gives everything that is wrong.
func (t *tally) finish() []string {
	for _, name := range slices.Sorted(maps.Keys(t.channels)) {
		t.gap(name, t.channels[name], t.channels[name].last)
	}
	for name := range t.items {
		if _, ok := t.queues[name]; !ok {
			t.problem("%s: the record of the queue is missing", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.queues)) {
		q := t.queues[name]
		if t.depth[name] != q.depth || t.items[name].fp != q.fp {
			t.problem("%s: the queue should hold %d items and %d are there, or some are not the ones that were committed", name, q.depth, t.depth[name])
		}
	}
	if !t.rooted {
		t.problem("the root record is missing")
	}
	if t.rooted && (t.keys != sums{t.root.keys, t.root.keyFP}) {
		t.problem("%d keys were committed and %d are there, or some are older than the last commit", t.root.keys, t.keys.count)
	}
	if t.rooted && (t.controls != sums{t.root.controls, t.root.controlFP}) {
		t.problem("%d channels, queues and counters were committed and %d are there, or some are older than the last commit", t.root.controls, t.controls.count)
	}
	if t.more > 0 {
		t.problems = append(t.problems, fmt.Sprintf("and %d more", t.more))
	}
	return t.problems
}

// wellFormed reports whether key is one of ours.
func wellFormed(key []byte) bool {
	if len(key) == 0 {
		return false
	}
	name := key[1:]
	switch key[0] {
	case spaceRoot:
		return len(key) == 1
	case spaceJournal, spaceItem, spaceState:
		if len(name) < 9 {
			return false
		}
		name = name[:len(name)-8]
	case spaceChannel, spaceQueue, spaceCounter, spaceKey:
	default:
		return false
	}
	return len(name) > 1 && name[len(name)-1] == 0 && checkName(string(name[:len(name)-1])) == nil
}

// seqName gives the name in a seqKey.
func seqName(key []byte) string { return string(key[1 : len(key)-9]) }

// damagedAt names the record under a key without what a peer may have said.
func damagedAt(key []byte) *DamagedError {
	switch key[0] {
	case spaceJournal, spaceItem, spaceState:
		return &DamagedError{Where: seqName(key), From: keySeq(key), To: keySeq(key)}
	case spaceKey:
		return &DamagedError{Where: "keys"}
	case spaceRoot:
		return &DamagedError{Where: "store"}
	}
	return &DamagedError{Where: "record of " + keyName(key)}
}
