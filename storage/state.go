package storage

import (
	"encoding/binary"
	"slices"
	"sort"
)

// formatVersion is the version of the layout of the store. It stands in the
// root record, whose beginning never changes.
//
//	1  the first
//	2  a channel record may hold removed ranges, the root a floor
const formatVersion = 2

// The control records: small, read at Open, rewritten by every transaction that
// changes them. Each is a plain value; sum is the checksum of its stored form.

// A root is the record that every transaction writes.
type root struct {
	format    uint16
	commit    uint64 // number of the transaction; the version of its Badger entries
	controls  uint64 // number of channel, queue and counter records
	controlFP uint64 // their fingerprint
	keys      uint64 // number of keys
	keyFP     uint64 // their fingerprint
	floor     uint64 // new channels and queues begin above it: see Restore
}

func (r root) record() []byte {
	b := make([]byte, envelope, envelope+50)
	b = binary.LittleEndian.AppendUint16(b, r.format)
	for _, v := range []uint64{r.commit, r.controls, r.controlFP, r.keys, r.keyFP, r.floor} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}

func parseRoot(b []byte) (r root, ok bool) {
	if len(b) < 42 {
		return r, false
	}
	r.format = binary.LittleEndian.Uint16(b)
	for i, p := range []*uint64{&r.commit, &r.controls, &r.controlFP, &r.keys, &r.keyFP} {
		*p = binary.LittleEndian.Uint64(b[2+8*i:])
	}
	if len(b) >= 50 {
		r.floor = binary.LittleEndian.Uint64(b[42:])
	}
	return r, true
}

// A channel is the cursor of a channel of the journal: what was trimmed, and the
// numbers that were passed over by a restore, are removed ranges.
type channel struct {
	last uint64
	cursor
	sum uint64
}

func newChannel() *channel { return &channel{cursor: cursor{head: 1}} }

func (c channel) record() []byte {
	b := make([]byte, envelope, envelope+24)
	b = binary.LittleEndian.AppendUint64(b, c.last)
	if c.head <= 1 && len(c.runs) == 0 {
		return b
	}
	b = binary.AppendUvarint(b, c.head)
	return c.appendRuns(b)
}

func parseChannel(b []byte) (c channel, ok bool) {
	c.head = 1
	if len(b) < 8 {
		return c, false
	}
	c.last = binary.LittleEndian.Uint64(b)
	if len(b) == 8 {
		return c, true
	}
	n := numbers{b: b[8:]}
	c.head = n.next()
	c.parseRuns(&n, n.next())
	return c, !n.bad && c.head >= 1 && c.head <= c.last+1
}

// A numbers reads uvarints and remembers that one was bad.
type numbers struct {
	b   []byte
	bad bool
}

func (n *numbers) next() uint64 {
	v, size := binary.Uvarint(n.b)
	if size <= 0 {
		n.bad = true
		return 0
	}
	n.b = n.b[size:]
	return v
}

type counter struct {
	value int64
	sum   uint64
}

func (c counter) record() []byte {
	return binary.LittleEndian.AppendUint64(make([]byte, envelope, envelope+8), uint64(c.value))
}

func parseCounter(b []byte) (c counter, ok bool) {
	if len(b) != 8 {
		return c, false
	}
	c.value = int64(binary.LittleEndian.Uint64(b))
	return c, true
}

// A run is a range of sequences whose items are removed.
type run struct{ from, to uint64 }

// maxRuns bounds the runs that are kept: the shortest is forgotten first, and
// then a reader walks over its few tombstones.
const maxRuns = 256

// queueRecord is about the largest record of a queue, for the size of a batch.
const queueRecord = 8*maxRuns + 64

// A cursor says which numbers of a sequence are removed: everything below head,
// and the runs above it, sorted and apart.
type cursor struct {
	head uint64
	runs []run
}

// A queue is the cursor of a queue. Everything below head is removed; runs are
// removed ranges above it, so that neither the head nor what stands behind a
// held item is looked for among tombstones.
type queue struct {
	next uint64 // the next sequence to give
	cursor
	depth uint64 // live items
	fp    uint64 // fingerprint of the live items and their states
	sum   uint64

	states int // live states, not stored; unknown (-1) where they are not counted

	// fresh are the checksums of items that this process has put, not stored: most are
	// removed soon, and then need not be looked up.
	fresh map[uint64]uint64
}

// maxFresh bounds what is remembered of the items of one queue.
const maxFresh = 4096

// put remembers the checksum of a new item.
func (q *queue) put(seq, sum uint64) {
	if q.fresh == nil {
		q.fresh = map[uint64]uint64{}
	}
	if len(q.fresh) < maxFresh {
		q.fresh[seq] = sum
	}
}

func newQueue() *queue { return &queue{next: 1, cursor: cursor{head: 1}} }

func (q queue) record() []byte {
	b := make([]byte, envelope, envelope+40+6*len(q.runs))
	b = binary.LittleEndian.AppendUint64(b, q.fp)
	for _, v := range []uint64{q.next, q.head, q.depth} {
		b = binary.AppendUvarint(b, v)
	}
	return q.appendRuns(b)
}

func parseQueue(b []byte) (q queue, ok bool) {
	if len(b) < 8 {
		return q, false
	}
	q.fp = binary.LittleEndian.Uint64(b)
	n := numbers{b: b[8:]}
	q.next, q.head, q.depth = n.next(), n.next(), n.next()
	q.parseRuns(&n, n.next())
	return q, !n.bad && q.head <= q.next
}

func (c *cursor) appendRuns(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(c.runs)))
	at := c.head
	for _, r := range c.runs {
		b = binary.AppendUvarint(b, r.from-at)
		b = binary.AppendUvarint(b, r.to-r.from)
		at = r.to
	}
	return b
}

func (c *cursor) parseRuns(n *numbers, count uint64) {
	if n.bad || count > maxRuns {
		n.bad = true
		return
	}
	c.runs = make([]run, count)
	at := c.head
	for i := range c.runs {
		from := at + n.next()
		c.runs[i] = run{from, from + n.next()}
		at = c.runs[i].to
	}
}

// removed says whether seq is known to be removed.
func (q *queue) removed(seq uint64) bool {
	return seq < q.head || seq >= q.next || q.skip(seq) != seq
}

// skip gives the first sequence from seq on that is not known to be removed.
func (c *cursor) skip(seq uint64) uint64 {
	seq = max(seq, c.head)
	i := sort.Search(len(c.runs), func(i int) bool { return c.runs[i].to >= seq })
	if i < len(c.runs) && c.runs[i].from <= seq {
		return c.runs[i].to + 1
	}
	return seq
}

// remove notes that from to to are removed, and forgets the shortest run where
// there are too many.
func (c *cursor) remove(from, to uint64) {
	c.join(from, to)
	if len(c.runs) > maxRuns {
		c.runs = forgetShortest(c.runs)
	}
}

// join notes that from to to are removed. The runs are replaced, never changed
// in place: a copy of c is a snapshot.
func (c *cursor) join(from, to uint64) {
	from = max(from, c.head)
	if from > to {
		return
	}
	// first is the first run that touches or overlaps, last the one behind.
	first := sort.Search(len(c.runs), func(i int) bool { return c.runs[i].to+1 >= from })
	last := first
	for last < len(c.runs) && c.runs[last].from <= to+1 {
		from = min(from, c.runs[last].from)
		to = max(to, c.runs[last].to)
		last++
	}
	if from == c.head {
		c.head = to + 1
		c.runs = slices.Clone(c.runs[last:])
		return
	}
	runs := make([]run, 0, len(c.runs)+1)
	runs = append(append(append(runs, c.runs[:first]...), run{from, to}), c.runs[last:]...)
	c.runs = runs
}

// live gives the ranges between from and to that are not removed.
func (c *cursor) live(from, to uint64) (live []run) {
	for from = c.skip(from); from <= to; {
		i := sort.Search(len(c.runs), func(i int) bool { return c.runs[i].from > from })
		if i == len(c.runs) || c.runs[i].from > to {
			return append(live, run{from, to})
		}
		live = append(live, run{from, c.runs[i].from - 1})
		from = c.runs[i].to + 1
	}
	return live
}

func forgetShortest(runs []run) []run {
	shortest := 0
	for i, r := range runs {
		if r.to-r.from < runs[shortest].to-runs[shortest].from {
			shortest = i
		}
	}
	return slices.Delete(runs, shortest, shortest+1)
}
