package storage

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"nhip/storage/spool"
)

// A mirror is a second folder, on another disk: everything that a commit writes is
// appended to a log there and fsynced, beside the commit of the store and before
// anybody is told of it, and every object is copied before its Ref is given out. A
// mirror that fails is an alarm and holds nothing up; Scrub brings it up to date
// again.
//
//	id           the identifier of the store, which must be the same
//	journal/     segments; each record: length in four bytes, length of the key in
//	             two, key, sealed record (none: the key is removed), checksum over
//	             all of it. The root record ends a commit
//	state        queues, keys, counters of one commit, in the same form, see repair.go
//	spool/       as in the data directory
type mirror struct {
	s     *Store
	dir   string
	spool *spool.Spool

	mu    sync.Mutex
	file  *os.File // nil: the mirror has failed
	size  int64
	tried time.Time
}

const (
	segmentSize  = 16 << 20
	segmentEnd   = ".journal"
	mirrorAgain  = time.Minute // between two tries to use a mirror that failed
	mirrorKey    = "mirror-id"
	maxSegmented = MaxValue + 4096 // bytes of a record in a segment
)

// openMirror takes a mirror into use. One that cannot be used is an alarm.
func (s *Store) openMirror(ctx, background context.Context) error {
	if s.o.Mirror == "" || s.o.ReadOnly {
		return nil
	}
	id, err := s.mirrorID(ctx)
	if err != nil {
		return err
	}
	m := &mirror{s: s, dir: s.o.Mirror}
	if err := m.prepare(id); err != nil {
		s.alarm("the mirror cannot be used: "+err.Error(), "mirror")
		return nil
	}
	s.mirror.Store(m)
	if m.covered() == 0 {
		s.behind.Go(func() { s.saveMirror(background) })
	}
	return nil
}

func (s *Store) mirrorID(ctx context.Context) (string, error) {
	id, ok, err := s.Get(mirrorKey)
	if err != nil || ok {
		return string(id), err
	}
	random := make([]byte, 16)
	rand.Read(random)
	b := new(Batch)
	b.Put(mirrorKey, hex.AppendEncode(nil, random))
	_, err = s.Commit(ctx, b)
	return hex.EncodeToString(random), err
}

var errForeign = errors.New("it belongs to another data folder")

func (m *mirror) prepare(id string) error {
	if err := os.MkdirAll(filepath.Join(m.dir, "journal"), 0o700); err != nil {
		return errors.New(reason(err))
	}
	name := filepath.Join(m.dir, "id")
	stored, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.WriteFile(name, []byte(id), 0o600); err != nil {
			return errors.New(reason(err))
		}
	case err != nil:
		return errors.New(reason(err))
	case string(stored) != id:
		return errForeign
	}
	if m.spool, err = spool.Open(filepath.Join(m.dir, "spool")); err != nil {
		return errors.New(reason(err))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.segment(); err != nil {
		return errors.New(reason(err))
	}
	return nil
}

// segment begins a new one; m.mu is held.
func (m *mirror) segment() error {
	m.tried = time.Now()
	if m.file != nil {
		m.file.Close()
		m.file = nil
	}
	name := fmt.Sprintf("%016x%s", m.tried.UnixNano(), segmentEnd)
	file, err := os.OpenFile(filepath.Join(m.dir, "journal", name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := syncDir(filepath.Join(m.dir, "journal")); err != nil {
		file.Close()
		return err
	}
	m.file, m.size = file, 0
	return nil
}

func (m *mirror) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.file != nil {
		m.file.Close()
	}
	m.spool.Close()
}

// failed notes that the mirror does not take anything, m.mu is held.
func (m *mirror) failed(err error) {
	m.s.alarm("the mirror cannot be written, and lacks what came since: "+reason(err), "mirror")
	if m.file != nil {
		m.file.Close()
		m.file = nil
	}
}

// appendSegmented adds a record in the form of the segments.
func appendSegmented(b, key, record []byte) []byte {
	at := len(b)
	b = binary.BigEndian.AppendUint32(b, uint32(len(key)+len(record)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(key)))
	b = append(append(b, key...), record...)
	return binary.BigEndian.AppendUint64(b, xxhash.Sum64(b[at:]))
}

// write appends what was gathered and brings it to the disk.
func (m *mirror) write(b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.file == nil && time.Since(m.tried) < mirrorAgain {
		return
	}
	var err error
	if m.file == nil || m.size >= segmentSize {
		err = m.segment()
	}
	if err == nil {
		err = m.s.fault("mirror")
	}
	if err == nil {
		_, err = m.file.Write(b)
	}
	if err == nil {
		err = m.file.Sync()
	}
	if err != nil {
		m.failed(err)
		return
	}
	m.size += int64(len(b))
}

// beside begins to write what a group appends to the journal; the function that it
// gives waits for the end.
func (c *committer) beside(g *group) (wait func()) {
	m := c.s.mirror.Load()
	if m == nil {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.write(g.log)
	}()
	return func() { <-done }
}

// copied copies a new object to the mirror.
func (s *Store) copied(ref spool.Ref) {
	if m := s.mirror.Load(); m != nil {
		m.copy(ref, s.spool, m.spool)
	}
}

func (m *mirror) copy(ref spool.Ref, from, to *spool.Spool) bool {
	r, err := from.Open(ref)
	if err == nil {
		err = errors.Join(to.Put(ref, r, false), r.Close())
	}
	if err != nil && to == m.spool {
		m.mu.Lock()
		m.s.alarm("an object could not be copied to the mirror: "+reason(err), "mirror")
		m.mu.Unlock()
	}
	return err == nil
}

// read gives every whole record of the segments, the oldest first, and where a
// segment is damaged.
func (m *mirror) read(ctx context.Context, f func(segment string, key, record []byte)) error {
	paths, err := filepath.Glob(filepath.Join(m.dir, "journal", "*"+segmentEnd))
	if err != nil {
		return err
	}
	slices.Sort(paths)
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		err = readSegment(file, func(key, record []byte) { f(path, key, record) })
		file.Close()
		if err != nil {
			m.s.alarm("a segment of the mirror is damaged; what it held behind is copied again", "mirror/"+filepath.Base(path))
		}
	}
	return nil
}

var errSegment = errors.New("storage: a segment of the mirror is damaged")

func readSegment(r io.Reader, f func(key, record []byte)) error {
	in := bufio.NewReaderSize(r, 256<<10)
	var b []byte
	for {
		var head [6]byte
		if _, err := io.ReadFull(in, head[:]); err == io.EOF {
			return nil
		} else if err != nil {
			return errSegment
		}
		n, k := int(binary.BigEndian.Uint32(head[:])), int(binary.BigEndian.Uint16(head[4:]))
		if n > maxSegmented || k > n {
			return errSegment
		}
		b = append(b[:0], head[:]...)
		b = append(b, make([]byte, n+8)...)
		if _, err := io.ReadFull(in, b[6:]); err != nil {
			return errSegment
		}
		body := b[:len(b)-8]
		if binary.BigEndian.Uint64(b[len(body):]) != xxhash.Sum64(body) {
			return errSegment
		}
		f(body[6:6+k], body[6+k:])
	}
}

// A comparison holds the journal against the mirror for Scrub.
type comparison struct {
	m       *mirror
	at      uint64             // the commit that is looked at
	there   map[string]*cursor // sequences that the mirror has, as removed ranges of a cursor
	wanted  map[string]*cursor // sequences that the store has not
	found   map[Ref][]byte     // of those, what the mirror has: sealed records
	bytes   int                // of found
	stale   map[string]bool    // segments that nothing needs: no entry that is not trimmed, no commit that the state does not cover
	covered uint64             // the commit of the state
}

// compare reads the mirror and gives what it has.
func (m *mirror) compare(ctx context.Context, v *view, wanted []*DamagedError) (*comparison, error) {
	c := &comparison{m: m, at: v.at, there: map[string]*cursor{}, wanted: map[string]*cursor{}, found: map[Ref][]byte{}, stale: map[string]bool{}, covered: m.covered()}
	for _, e := range wanted {
		if c.wanted[e.Where] == nil {
			c.wanted[e.Where] = &cursor{head: 1}
		}
		c.wanted[e.Where].join(e.From, e.To)
	}
	channels := map[string]*channel{}
	err := m.read(ctx, func(segment string, key, record []byte) {
		if _, known := c.stale[segment]; !known {
			c.stale[segment] = true
		}
		if n, ok := commitOf(key, record); ok && n > c.covered {
			c.stale[segment] = false // the state does not cover it
		}
		if _, _, ok := unseal(key, record); !ok || !wellFormed(key) || key[0] != spaceJournal {
			return
		}
		name, seq := seqName(key), keySeq(key)
		ch := channels[name]
		if ch == nil {
			got, err := v.channel(name)
			if err != nil {
				return
			}
			ch = &got
			channels[name], c.there[name] = ch, &cursor{head: 1}
		}
		if seq > ch.last || ch.skip(seq) != seq {
			return // never committed, or trimmed
		}
		c.stale[segment] = false
		c.there[name].join(seq, seq)
		if w := c.wanted[name]; w != nil && w.skip(seq) != seq && c.bytes < mostRepaired {
			c.found[Ref{name, seq}] = slices.Clone(record)
			c.bytes += len(record)
		}
	})
	return c, err
}

// mostRepaired bounds what one Scrub puts back; the next one goes on.
const mostRepaired = 64 << 20

// repairBatch bounds what is put back in one commit.
const repairBatch = 1 << 20

// repair puts back what the store has lost.
func (c *comparison) repair(ctx context.Context) (n int, err error) {
	b := new(Batch)
	flush := func() error {
		if len(b.ops) == 0 {
			return nil
		}
		_, err := c.m.s.Commit(ctx, b)
		b = new(Batch)
		return err
	}
	for ref, record := range c.found {
		b.repair(seqKey(spaceJournal, ref.Channel, ref.Seq), ref.Channel, ref.Seq, record, c.at)
		n++
		if b.bytes < repairBatch && len(b.ops) < MaxChanges {
			continue
		}
		if err := flush(); err != nil {
			return n, err
		}
	}
	return n, flush()
}

// complete appends what the mirror has not, and removes segments of what is trimmed.
func (c *comparison) complete(ctx context.Context, v *view, name string) (n int, err error) {
	ch, err := v.channel(name)
	if err != nil {
		return 0, nil // an alarm already
	}
	there := c.there[name]
	if there == nil {
		there = &cursor{head: 1}
	}
	var b []byte
	for _, r := range there.live(1, ch.last) {
		for _, r := range ch.live(r.from, r.to) {
			for seq := r.from; seq <= r.to; seq++ {
				if err := ctx.Err(); err != nil {
					return n, err
				}
				key := seqKey(spaceJournal, name, seq)
				body, err := v.body(key)
				if err != nil {
					continue
				}
				record := append(make([]byte, envelope), body...)
				seal(key, record)
				b = appendSegmented(b, key, record)
				if n++; len(b) >= repairBatch {
					c.m.write(b)
					b = b[:0]
				}
			}
		}
	}
	if len(b) > 0 {
		c.m.write(b)
	}
	return n, nil
}

func (c *comparison) prune() {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	for path, stale := range c.stale {
		if stale && (c.m.file == nil || !strings.HasSuffix(c.m.file.Name(), filepath.Base(path))) {
			os.Remove(path) // one that stays is looked at again by the next Scrub
		}
	}
}
