package storage

import (
	"encoding/binary"
	"slices"
	"sort"
)

// formatVersion is the version of the layout of the store. It stands in the
// root record, whose beginning never changes.
const formatVersion = 1

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
}

func (r root) record() []byte {
	b := make([]byte, envelope, envelope+42)
	b = binary.LittleEndian.AppendUint16(b, r.format)
	for _, v := range []uint64{r.commit, r.controls, r.controlFP, r.keys, r.keyFP} {
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
	return r, true
}

type channel struct {
	last uint64
	sum  uint64
}

func (c channel) record() []byte {
	return binary.LittleEndian.AppendUint64(make([]byte, envelope, envelope+8), c.last)
}

func parseChannel(b []byte) (c channel, ok bool) {
	if len(b) != 8 {
		return c, false
	}
	c.last = binary.LittleEndian.Uint64(b)
	return c, true
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

// A queue is the cursor of a queue. Everything below head is removed; runs are
// removed ranges above it, so that neither the head nor what stands behind a
// held item is looked for among tombstones.
type queue struct {
	next  uint64 // the next sequence to give
	head  uint64
	depth uint64 // live items
	fp    uint64 // fingerprint of the live items and their states
	runs  []run
	sum   uint64
}

func (q queue) record() []byte {
	b := make([]byte, envelope, envelope+40+6*len(q.runs))
	b = binary.LittleEndian.AppendUint64(b, q.fp)
	for _, v := range []uint64{q.next, q.head, q.depth, uint64(len(q.runs))} {
		b = binary.AppendUvarint(b, v)
	}
	at := q.head
	for _, r := range q.runs {
		b = binary.AppendUvarint(b, r.from-at)
		b = binary.AppendUvarint(b, r.to-r.from)
		at = r.to
	}
	return b
}

func parseQueue(b []byte) (q queue, ok bool) {
	if len(b) < 8 {
		return q, false
	}
	q.fp = binary.LittleEndian.Uint64(b)
	b = b[8:]
	ok = true
	number := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			ok = false
			return 0
		}
		b = b[n:]
		return v
	}
	q.next, q.head, q.depth = number(), number(), number()
	n := number()
	if !ok || n > maxRuns || q.head > q.next {
		return q, false
	}
	q.runs = make([]run, n)
	at := q.head
	for i := range q.runs {
		from := at + number()
		q.runs[i] = run{from, from + number()}
		at = q.runs[i].to
	}
	return q, ok
}

// removed says whether seq is known to be removed.
func (q *queue) removed(seq uint64) bool {
	return seq < q.head || seq >= q.next || q.skip(seq) != seq
}

// skip gives the first sequence from seq on that is not known to be removed.
func (q *queue) skip(seq uint64) uint64 {
	seq = max(seq, q.head)
	i := sort.Search(len(q.runs), func(i int) bool { return q.runs[i].to >= seq })
	if i < len(q.runs) && q.runs[i].from <= seq {
		return q.runs[i].to + 1
	}
	return seq
}

// remove notes that from to to are removed. It does not touch the depth. The
// runs of q are replaced, never changed in place: a copy of q is a snapshot.
func (q *queue) remove(from, to uint64) {
	from = max(from, q.head)
	if from > to {
		return
	}
	// first is the first run that touches or overlaps, last the one behind.
	first := sort.Search(len(q.runs), func(i int) bool { return q.runs[i].to+1 >= from })
	last := first
	for last < len(q.runs) && q.runs[last].from <= to+1 {
		from = min(from, q.runs[last].from)
		to = max(to, q.runs[last].to)
		last++
	}
	if from == q.head {
		q.head = to + 1
		q.runs = slices.Clone(q.runs[last:])
		return
	}
	runs := make([]run, 0, len(q.runs)+1)
	runs = append(append(append(runs, q.runs[:first]...), run{from, to}), q.runs[last:]...)
	if len(runs) > maxRuns {
		runs = forgetShortest(runs)
	}
	q.runs = runs
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
