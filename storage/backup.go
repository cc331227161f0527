package storage

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/dgraph-io/badger/v4"

	"nhip/storage/spool"
)

// backupVersion is the version of the form of a backup.
const backupVersion = 1

// A Mark says what a backup holds: one committed state, everything that was
// acknowledged before it and nothing of what came after.
type Mark struct {
	Version  int               `json:"version"` // of the form of the backup
	Format   uint16            `json:"format"`  // of the store in it
	At       time.Time         `json:"at"`
	Commit   uint64            `json:"commit"`
	Channels map[string]uint64 `json:"channels"` // the last entry of each
	Queues   map[string]uint64 `json:"queues"`   // the last item that was given a number
}

// A Count says how much a backup holds.
type Count struct {
	Records  int64 `json:"records"` // all, of which …
	Entries  int64 `json:"entries"` // of the journal
	Items    int64 `json:"items"`   // in queues
	Keys     int64 `json:"keys"`
	Objects  int64 `json:"objects"` // of the spool, not in records
	Bytes    int64 `json:"bytes"`   // of the objects
	Problems int64 `json:"problems"`
}

func (c *Count) add(key []byte) {
	c.Records++
	switch key[0] {
	case spaceJournal:
		c.Entries++
	case spaceItem:
		c.Items++
	case spaceKey:
		c.Keys++
	}
}

// Backup writes one committed state to w while the store goes on: every record,
// and every object of the spool that the journal refers to (see
// Options.SpoolRefs). It keeps little in memory. What the store cannot give,
// because it is damaged, is left out and told: in the backup, by an alarm and in
// Count.Problems. An error means that there is no backup.
func (s *Store) Backup(ctx context.Context, w io.Writer) (m Mark, c Count, err error) {
	s.keep.RLock()
	defer s.keep.RUnlock()
	v, err := s.look()
	if err != nil {
		return m, c, err
	}
	defer v.end(&err)
	if m, err = v.mark(); err != nil {
		return m, c, err
	}
	f, err := newFrameWriter(w)
	if err != nil {
		return m, c, err
	}
	b := &backup{v: v, ctx: ctx, f: f, tally: newTally()}
	if err := errors.Join(f.json(frameHead, m), b.records()); err != nil {
		return m, b.count, err
	}
	for _, p := range b.tally.finish() {
		s.alarm("left out of a backup: "+p, "store")
		b.count.Problems++
		if err := f.frame(frameProblem, []byte(p)); err != nil {
			return m, b.count, err
		}
	}
	return m, b.count, errors.Join(f.json(frameEnd, b.count), f.close())
}

func (v *view) mark() (Mark, error) {
	m := Mark{Version: backupVersion, Format: formatVersion, At: time.Now().UTC(), Commit: v.at, Channels: map[string]uint64{}, Queues: map[string]uint64{}}
	for _, name := range v.s.Channels() {
		ch, err := v.channel(name)
		if err != nil {
			return m, err
		}
		m.Channels[name] = ch.last
	}
	for _, name := range v.s.Queues() {
		q, err := v.queue(name)
		if err != nil {
			return m, err
		}
		if q.next > 0 {
			m.Queues[name] = q.next - 1
		}
	}
	return m, nil
}

type backup struct {
	v     *view
	ctx   context.Context
	f     *frameWriter
	tally *tally
	count Count
}

// stopped says why the work has to end now.
func (b *backup) stopped() error {
	select {
	case <-b.v.s.closing:
		return ErrClosed
	default:
		return b.ctx.Err()
	}
}

func (b *backup) records() error {
	it := b.v.txn.NewIterator(badger.IteratorOptions{})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		if err := b.stopped(); err != nil {
			return err
		}
		key := it.Item().KeyCopy(nil)
		record, err := it.Item().ValueCopy(nil)
		if err != nil {
			return fmt.Errorf("storage: read: %s", reason(err))
		}
		body, ok := b.tally.record(key, record)
		if !ok {
			continue
		}
		if err := b.f.frame(frameRecord, binary.BigEndian.AppendUint16(nil, uint16(len(key))), key, record); err != nil {
			return err
		}
		b.count.add(key)
		if key[0] != spaceJournal || b.v.s.o.SpoolRefs == nil {
			continue
		}
		for _, ref := range b.v.s.o.SpoolRefs(body) {
			if err := b.object(ref); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *backup) object(ref spool.Ref) error {
	r, err := b.v.s.spool.Open(ref)
	var damaged *spool.DamagedError
	if errors.As(err, &damaged) {
		b.tally.problem("spool/%s: %s", damaged.Path, damaged.What)
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	if err := b.f.json(frameObject, ref); err != nil {
		return err
	}
	h := sha256.New()
	part := make([]byte, 256<<10)
	for {
		n, err := r.Read(part)
		h.Write(part[:n])
		if n > 0 {
			if err := b.f.frame(frameData, part[:n]); err != nil {
				return err
			}
			b.count.Bytes += int64(n)
		}
		if err == io.EOF {
			break
		}
		if err == nil {
			err = b.stopped()
		}
		if err != nil {
			return fmt.Errorf("storage/spool: %w", err)
		}
	}
	sum := h.Sum(nil)
	if [32]byte(sum) != ref.SHA256 {
		b.tally.problem("spool/%s: the SHA-256 is another", ref.Path)
	}
	b.count.Objects++
	return b.f.frame(frameClosed, sum)
}

// VerifyBackup reads a whole backup: the checksum of every frame and record, the
// counts and fingerprints that stand in it, the SHA-256 of every object. problems
// are what is wrong with its content, because the store was damaged when it was
// made; an error that wraps ErrBackup says that the file itself is damaged, cut
// off or no backup.
func VerifyBackup(ctx context.Context, r io.Reader) (m Mark, c Count, problems []string, err error) {
	return readBackup(ctx, r, nothing{})
}

// A sink takes what is read of a backup.
type sink interface {
	mark(m Mark) error
	record(key, record []byte) error
	object(ref spool.Ref, r io.Reader) error
}

type nothing struct{}

func (nothing) mark(Mark) error              { return nil }
func (nothing) record(key, rec []byte) error { return nil }
func (nothing) object(_ spool.Ref, r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

func readBackup(ctx context.Context, r io.Reader, to sink) (m Mark, c Count, problems []string, err error) {
	f, err := newFrameReader(r)
	if err != nil {
		return m, c, nil, err
	}
	kind, b, err := f.next()
	if err != nil {
		return m, c, nil, err
	}
	if kind != frameHead || json.Unmarshal(b, &m) != nil {
		return m, c, nil, badBackup("it has no head")
	}
	if m.Version > backupVersion || m.Format > formatVersion {
		return m, c, nil, fmt.Errorf("storage: the backup was written by a newer version of nhip (form %d, store %d; this one reads %d and %d); use that version or a newer one", m.Version, m.Format, backupVersion, formatVersion)
	}
	if err := to.mark(m); err != nil {
		return m, c, nil, err
	}
	t := newTally()
	var said int64
	for {
		if err := ctx.Err(); err != nil {
			return m, c, t.problems, err
		}
		kind, b, err := f.next()
		if err != nil {
			return m, c, t.problems, err
		}
		switch kind {
		case frameRecord:
			if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
				return m, c, t.problems, badBackup("a record without a key")
			}
			key, record := b[2:2+binary.BigEndian.Uint16(b)], b[2+binary.BigEndian.Uint16(b):]
			if _, ok := t.record(key, record); !ok {
				return m, c, t.problems, badBackup("a record in it fails its own checksum, or stands in the wrong place")
			}
			c.add(key)
			if err := to.record(key, record); err != nil {
				return m, c, t.problems, err
			}
		case frameObject:
			var ref spool.Ref
			if json.Unmarshal(b, &ref) != nil {
				return m, c, t.problems, badBackup("an object without a name")
			}
			o := &objectReader{f: f}
			if err := to.object(ref, o); err != nil {
				return m, c, t.problems, err
			}
			if !o.ended {
				return m, c, t.problems, badBackup("an object without an end")
			}
			if o.sum != ref.SHA256 || o.bytes != ref.Length {
				t.problem("spool/%s: the SHA-256 is another", ref.Path)
			}
			c.Objects++
			c.Bytes += o.bytes
		case frameProblem:
			said++
			t.problem("when the backup was made: %s", b)
		case frameEnd:
			var end Count
			if json.Unmarshal(b, &end) != nil {
				return m, c, t.problems, badBackup("it has no end")
			}
			c.Problems = said
			if end != c {
				return m, c, t.problems, badBackup("it should hold %d records and %d objects and holds %d and %d", end.Records, end.Objects, c.Records, c.Objects)
			}
			if t.root.commit != m.Commit {
				t.problem("the mark and the content are of different commits")
			}
			return m, c, t.finish(), f.ended()
		default:
			return m, c, t.problems, badBackup("an unknown frame at byte %d", f.bytes)
		}
	}
}

// An objectReader reads the frames of one object.
type objectReader struct {
	f     *frameReader
	left  []byte
	bytes int64
	ended bool
	sum   [32]byte
}

func (o *objectReader) Read(p []byte) (int, error) {
	for len(o.left) == 0 {
		if o.ended {
			return 0, io.EOF
		}
		kind, b, err := o.f.next()
		switch {
		case err != nil:
			return 0, err
		case kind == frameData:
			o.left = b
			o.bytes += int64(len(b))
		case kind == frameClosed && len(b) == 32:
			o.ended, o.sum = true, [32]byte(b)
		default:
			return 0, badBackup("an object is cut off at byte %d", o.f.bytes)
		}
	}
	n := copy(p, o.left)
	o.left = o.left[n:]
	return n, nil
}
