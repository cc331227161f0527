package storage

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"nhip/storage/diskguard"
)

// Limits of one batch. What is larger goes to the spool first.
const (
	MaxValue   = 256 << 10 // bytes of one journal entry, queue item or small state
	MaxState   = 4 << 10   // bytes of the mutable state beside a queue item
	MaxName    = 200       // bytes of a channel, queue, group, key or counter name
	MaxBatch   = 2 << 20   // bytes of one batch, names and envelopes included
	MaxChanges = 1000      // calls on one batch
	MaxAbout   = 64        // journal entries that one queue item refers to
)

// A Ref names a journal entry. Sequences are contiguous from 1 in each channel.
type Ref struct {
	Channel string
	Seq     uint64
}

// String gives "channel/seq", which ParseRef reads.
func (r Ref) String() string { return r.Channel + "/" + strconv.FormatUint(r.Seq, 10) }

// ParseRef reads what Ref.String and Batch.PutRef wrote.
func ParseRef(s string) (Ref, error) {
	slash := strings.LastIndexByte(s, '/')
	if slash < 0 {
		return Ref{}, fmt.Errorf("storage: %d bytes are no journal reference", len(s))
	}
	seq, err := strconv.ParseUint(s[slash+1:], 10, 64)
	if err != nil || seq == 0 || checkName(s[:slash]) != nil {
		return Ref{}, fmt.Errorf("storage: %d bytes are no journal reference", len(s))
	}
	return Ref{s[:slash], seq}, nil
}

// Entry and Item are handles for what a batch will append; the Receipt of its
// Commit tells the sequence that each was given.
type (
	Entry int
	Item  int
)

// A Receipt says under which numbers a batch was committed.
type Receipt struct {
	entries []Ref
	items   []uint64
}

// Entry gives the reference of a journal entry of the batch.
func (r Receipt) Entry(e Entry) Ref { return r.entries[e] }

// Item gives the sequence of a queue item of the batch.
func (r Receipt) Item(i Item) uint64 { return r.items[i] }

type opKind byte

const (
	opAppend opKind = iota
	opEnqueue
	opRemove
	opSetState
	opPut
	opPutNew
	opPutRef
	opDelete
	opIfAbsent
	opAdd
	opTrim
	opRepair
)

// An op is one call on a batch. record is the stored form with room for its
// envelope, built by the caller's goroutine so that the committer only fills in
// numbers and the checksum.
type op struct {
	kind   opKind
	name   string // channel, queue, key or counter
	seq    uint64
	to     uint64 // of opTrim: the last sequence
	delta  int64
	about  Entry
	record []byte
	late   []lateRef
	key    []byte // of opRepair; of opRemove, with the checksum, from the conditions on
	sum    uint64
}

// A lateRef is the place in a queue item's record where the sequence of a
// journal entry of the same batch goes.
type lateRef struct {
	offset int
	about  Entry
}

// A Batch is what is committed together, all or nothing. Build it, then give it
// to Store.Commit once. Values are copied; the batch belongs to one goroutine.
// A name or value that breaks a limit makes Commit fail.
type Batch struct {
	ops     []op
	entries int
	items   int
	trims   int
	bytes   int
	class   diskguard.Class
	alone   bool // of repairs: no other batch is in the transaction
	err     error
}

func (b *Batch) add(o op) {
	if err := checkName(o.name); err != nil && b.err == nil {
		b.err = err
	}
	b.bytes += 3*(len(o.name)+64) + len(o.record)
	if n := len(b.ops); (o.kind == opEnqueue || o.kind == opRemove || o.kind == opSetState) && (n == 0 || b.ops[n-1].name != o.name) {
		b.bytes += queueRecord
	}
	if b.ops == nil {
		b.ops = make([]op, 0, 8)
	}
	b.ops = append(b.ops, o)
}

func (b *Batch) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// Append writes a journal entry. Its sequence is given at the commit.
func (b *Batch) Append(channel string, value []byte) Entry {
	b.add(op{kind: opAppend, name: channel, record: b.record(value, MaxValue)})
	b.entries++
	return Entry(b.entries - 1)
}

// Enqueue puts an item at the end of a queue. group is what its order is kept
// within; about are journal entries of this batch that it refers to.
func (b *Batch) Enqueue(queue, group string, value []byte, about ...Entry) Item {
	refs := make([]Ref, len(about))
	for i, e := range about {
		if e < 0 || int(e) >= b.entries {
			b.fail(fmt.Errorf("storage: a queue item refers to entry %d of %d", e, b.entries))
			break
		}
		refs[i] = Ref{Channel: b.channelOf(e)}
	}
	i := b.EnqueueRef(queue, group, value, refs...)
	o := &b.ops[len(b.ops)-1]
	if o.record != nil {
		o.late = lateRefs(group, refs, about)
	}
	return i
}

// EnqueueRef is Enqueue with references to entries that exist already.
func (b *Batch) EnqueueRef(queue, group string, value []byte, about ...Ref) Item {
	o := op{kind: opEnqueue, name: queue}
	switch {
	case len(value) > MaxValue:
		b.fail(fmt.Errorf("%w: a queue item of %d bytes", ErrTooLarge, len(value)))
	case len(about) > MaxAbout:
		b.fail(fmt.Errorf("%w: a queue item about %d entries", ErrTooLarge, len(about)))
	case group != "" && checkName(group) != nil:
		b.fail(checkName(group))
	default:
		o.record = appendItem(make([]byte, envelope), group, about, value)
	}
	b.add(o)
	b.items++
	return Item(b.items - 1)
}

// Remove takes a finished item out of its queue. An item that is not there
// fails the batch with ErrNoItem.
func (b *Batch) Remove(queue string, seq uint64) {
	b.add(op{kind: opRemove, name: queue, seq: seq})
}

// SetState replaces the small mutable state (at most MaxState bytes) beside the
// item's immutable value.
func (b *Batch) SetState(queue string, seq uint64, state []byte) {
	b.add(op{kind: opSetState, name: queue, seq: seq, record: b.record(state, MaxState)})
}

// Put writes a small value under a key.
func (b *Batch) Put(key string, value []byte) {
	b.add(op{kind: opPut, name: key, record: b.record(value, MaxValue)})
}

// PutNew is Put for a key that cannot be there yet, because its name holds a
// reference or number that was given out once. It saves the look-up. A key that
// is there all the same is overwritten, and Scrub says that the keys are not what
// was committed.
func (b *Batch) PutNew(key string, value []byte) {
	b.add(op{kind: opPutNew, name: key, record: b.record(value, MaxValue)})
}

// PutRef writes the reference of a journal entry of this batch under a key, in
// the form that ParseRef reads.
func (b *Batch) PutRef(key string, about Entry) {
	if about < 0 || int(about) >= b.entries {
		b.fail(fmt.Errorf("storage: a key refers to entry %d of %d", about, b.entries))
	}
	b.add(op{kind: opPutRef, name: key, about: about})
}

// Delete removes a key; one that is not there is no error.
func (b *Batch) Delete(key string) { b.add(op{kind: opDelete, name: key}) }

// IfAbsent is a condition on the state before this batch: where the key is
// there, this batch fails with ErrExists and others in the same transaction do
// not.
func (b *Batch) IfAbsent(key string) { b.add(op{kind: opIfAbsent, name: key}) }

// Add changes a named counter in the same transaction.
func (b *Batch) Add(counter string, delta int64) {
	b.add(op{kind: opAdd, name: counter, delta: delta})
}

func (b *Batch) record(value []byte, most int) []byte {
	if len(value) > most {
		b.fail(fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(value), most))
		return nil
	}
	return append(make([]byte, envelope, envelope+len(value)), value...)
}

func (b *Batch) channelOf(e Entry) string {
	for i := range b.ops {
		if b.ops[i].kind != opAppend {
			continue
		}
		if e == 0 {
			return b.ops[i].name
		}
		e--
	}
	return ""
}

// Room is how many changes and bytes the batch still takes.
func (b *Batch) Room() (changes, bytes int) { return MaxChanges - len(b.ops), MaxBatch - b.bytes }

// check is done by the caller's goroutine before the batch is handed over.
func (b *Batch) check() error {
	switch {
	case b.err != nil:
		return b.err
	case len(b.ops) > MaxChanges:
		return fmt.Errorf("%w: a batch of %d changes, at most %d", ErrTooLarge, len(b.ops), MaxChanges)
	case b.bytes > MaxBatch:
		return fmt.Errorf("%w: a batch of %d bytes, at most %d", ErrTooLarge, b.bytes, MaxBatch)
	}
	return b.checkRemoved()
}

// checkRemoved refuses a batch that touches an item after removing it.
func (b *Batch) checkRemoved() error {
	type key struct {
		queue string
		seq   uint64
	}
	var removed map[key]bool
	for i := range b.ops {
		o := &b.ops[i]
		if o.kind != opRemove && o.kind != opSetState {
			continue
		}
		k := key{o.name, o.seq}
		if removed[k] {
			return fmt.Errorf("%w: %s/%d", ErrNoItem, o.name, o.seq)
		}
		if o.kind == opRemove {
			if removed == nil {
				removed = map[key]bool{}
			}
			removed[k] = true
		}
	}
	return nil
}

// checkName allows printable ASCII: names are ours, and go into keys and logs.
func checkName(name string) error {
	if name == "" || len(name) > MaxName {
		return fmt.Errorf("%w: a name of %d bytes, 1 to %d", ErrName, len(name), MaxName)
	}
	for i := range len(name) {
		if name[i] < 0x20 || name[i] > 0x7e {
			return fmt.Errorf("%w: byte %d of %d is not printable ASCII", ErrName, i, len(name))
		}
	}
	return nil
}

// A QueueItem is one item of a queue. Damaged is not nil where its stored bytes
// are not what was written: then Value and About are empty and somebody has to
// look.
type QueueItem struct {
	Queue, Group string
	Seq          uint64
	At           time.Time
	About        []Ref
	Value, State []byte
	Damaged      error
}

// The body of a queue item: time, group, references, value.

func appendItem(b []byte, group string, about []Ref, value []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, 0) // the time is given at the commit
	b = append(b, byte(len(group)))
	b = append(b, group...)
	b = append(b, byte(len(about)))
	for _, r := range about {
		b = append(b, byte(len(r.Channel)))
		b = append(b, r.Channel...)
		b = binary.LittleEndian.AppendUint64(b, r.Seq)
	}
	return append(b, value...)
}

func lateRefs(group string, refs []Ref, about []Entry) []lateRef {
	late := make([]lateRef, len(about))
	at := envelope + 8 + 1 + len(group) + 1
	for i := range about {
		at += 1 + len(refs[i].Channel)
		late[i] = lateRef{at, about[i]}
		at += 8
	}
	return late
}

// parseItem reads the body of an item. The slices of q point into b.
func parseItem(q *QueueItem, b []byte) bool {
	text := func() (string, bool) {
		if len(b) < 1 || len(b) < 1+int(b[0]) {
			return "", false
		}
		s := string(b[1 : 1+b[0]])
		b = b[1+b[0]:]
		return s, true
	}
	if len(b) < 8 {
		return false
	}
	q.At = time.Unix(0, int64(binary.LittleEndian.Uint64(b)))
	b = b[8:]
	var ok bool
	if q.Group, ok = text(); !ok || len(b) < 1 {
		return false
	}
	n := int(b[0])
	b = b[1:]
	for range n {
		channel, ok := text()
		if !ok || len(b) < 8 {
			return false
		}
		q.About = append(q.About, Ref{channel, binary.LittleEndian.Uint64(b)})
		b = b[8:]
	}
	q.Value = b
	return true
}
