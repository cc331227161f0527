// Package retention removes journal entries and objects that are done with, by age
// and by how full the disk is, and gives their space back. What some queue still
// refers to is never removed, however old: queued, held, not interpreted yet; nor is
// a received entry whose rendered message waits. It works in small batches beside
// the gateway and changes no counter.
//
// The newest entry of each connection stays. Of a SOP instance its UID and SHA-256
// stay: other bytes under that UID are still held. A message that comes again after
// its entry was removed is a new message.
package retention

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"nhip/gateway/intake"
	"nhip/gateway/interpret"
	"nhip/storage"
	"nhip/storage/spool"
)

// A Keeper applies the limits of one site.
type Keeper struct {
	Store   *storage.Store
	Age     time.Duration // 0: no limit
	Percent int           // of the disk that may be in use; 100: no limit
	Disk    func() (free, total uint64)
	Log     *slog.Logger
}

// A Result is what one pass did.
type Result struct {
	At        time.Time
	Entries   int    // removed
	Objects   int    // removed
	Bytes     int64  // of what was removed
	Early     bool   // the disk was too full, and entries went before their time
	Short     int64  // bytes that the disk is over its limit still, with nothing left that may go
	Waits     string // why nothing is removed by age, in words; empty: it is
	compacted bool
}

// When a pass is made.
const (
	first    = 5 * time.Minute // after the start, which has enough to do
	interval = time.Hour
)

// Run makes a pass every hour until ctx ends or the store fails.
func (k *Keeper) Run(ctx context.Context) error {
	timer := time.NewTimer(first)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		_, err := k.Pass(ctx, time.Now())
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, storage.ErrFailed), errors.Is(err, storage.ErrClosed):
			return err
		case err != nil:
			k.Log.Error("retention: nothing more is removed now", "error", err)
		}
		timer.Reset(interval)
	}
}

// Pass removes what may go now.
func (k *Keeper) Pass(ctx context.Context, now time.Time) (Result, error) {
	p := &pass{k: k, ctx: ctx, now: now, from: map[string]uint64{}, result: Result{At: now}}
	err := p.run()
	if err == nil && p.result.Bytes >= compactAt {
		p.result.compacted = true
		if err = k.Store.Compact(ctx); errors.Is(err, storage.ErrDiskFull) {
			err = nil // Badger's own compactions go on
		}
	}
	if p.result.Waits != "" {
		k.Log.Warn("retention: " + p.result.Waits)
	}
	if p.result.Entries > 0 {
		k.Log.Info("retention", "entries", p.result.Entries, "objects", p.result.Objects, "bytes", p.result.Bytes, "early", p.result.Early)
	}
	return p.result, err
}

// compactAt is how much must have been removed for a compaction to be worth it.
const compactAt = 16 << 20

// A pass is one round.
type pass struct {
	k      *Keeper
	ctx    context.Context
	now    time.Time
	needed map[string][]uint64 // by channel, sorted
	last   map[string]uint64   // by channel: the entries from there on may be needed too
	from   map[string]uint64   // by channel: what is before it stays, or is gone
	result Result
}

func (p *pass) run() error {
	if err := p.retire(); err != nil {
		return err
	}
	cutoff, excess := p.cutoff(), p.excess()
	if cutoff.IsZero() && excess <= 0 {
		return nil
	}
	var channels []string
	oldest := p.now
	for _, name := range p.k.Store.Channels() {
		if !strings.HasPrefix(name, intake.Channel("")) && !strings.HasPrefix(name, interpret.OutChannel("")) {
			continue // the audit trail, for one
		}
		channels = append(channels, name)
		if at := p.oldest(name); at.Before(oldest) {
			oldest = at
		}
	}
	if !oldest.Before(cutoff) && excess <= 0 {
		return nil
	}
	if err := p.findNeeded(); err != nil {
		return err
	}
	if err := p.trimAll(channels, cutoff); err != nil {
		return err
	}
	return p.early(channels, max2(oldest, cutoff), excess)
}

func max2(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// untouched is how young an entry is safe from a full disk.
const untouched = time.Hour

// early removes before their time what is oldest, in steps, until the disk has room
// again.
func (p *pass) early(channels []string, from time.Time, excess int64) error {
	until := p.now.Add(-untouched)
	step := max(until.Sub(from)/50, time.Minute)
	for at := from.Add(step); p.result.Bytes < excess && !from.After(until); at = at.Add(step) {
		p.result.Early = true
		if at.After(until) {
			at = until
		}
		if err := p.trimAll(channels, at); err != nil {
			return err
		}
		if !at.Before(until) {
			break
		}
	}
	if p.result.Short = max(0, excess-p.result.Bytes); p.result.Short > 0 {
		p.k.Log.Warn("the disk is fuller than retention_disk, and nothing more may be removed", "bytes over", p.result.Short)
	}
	return nil
}

// excess is how many bytes of the disk are in use above the limit.
func (p *pass) excess() int64 {
	if p.k.Percent >= 100 {
		return 0
	}
	free, total := p.k.Disk()
	return int64(total-free) - int64(total/100)*int64(p.k.Percent)
}

// The clock as the last pass saw it. A clock that has jumped ahead would make
// everything old at once.
type clock struct {
	Last time.Time `json:"last"`
	Hold time.Time `json:"hold,omitzero"` // nothing is removed by age before
}

const (
	clockKey  = "retention/clock"
	clockJump = 48 * time.Hour // between two passes; a gateway that was off longer waits too
	clockHold = 24 * time.Hour
)

// cutoff is the time before which entries are too old; zero: none are.
func (p *pass) cutoff() time.Time {
	if p.k.Age == 0 {
		return time.Time{}
	}
	var c clock
	b, ok, err := p.k.Store.Get(clockKey)
	if err == nil && ok {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		p.k.Log.Error("retention: the stored clock cannot be read", "error", err)
	}
	if ok && p.now.Sub(c.Last) > clockJump || p.now.Before(c.Last.Add(-clockJump)) {
		c.Hold = p.now.Add(clockHold)
	}
	c.Last = p.now
	b, _ = json.Marshal(c) // a struct of two times
	batch := new(storage.Batch)
	batch.Put(clockKey, b)
	if _, err := p.k.Store.Commit(p.ctx, batch); err != nil {
		p.k.Log.Error("retention: the clock cannot be stored", "error", err)
		return time.Time{}
	}
	if p.now.Before(c.Hold) {
		p.result.Waits = "the clock has moved by more than two days since the last time, or the gateway was off: nothing is removed by age for a day"
		return time.Time{}
	}
	return p.now.Add(-p.k.Age)
}

// oldest is the time of the first entry of a channel that may go.
func (p *pass) oldest(channel string) time.Time {
	at := p.now
	_ = p.k.Store.Range(channel, 1, 1, false, func(_ storage.Ref, b []byte) bool { // damage is an alarm already
		if e, err := intake.DecodeEntry(b); err == nil {
			at = e.At
		}
		return false
	})
	return at
}

// findNeeded lists what a queue refers to, and what the rendered messages among that
// were made of.
func (p *pass) findNeeded() error {
	refs, last, err := p.k.Store.References(p.ctx)
	if err != nil {
		return err
	}
	for channel, seqs := range refs {
		if !strings.HasPrefix(channel, interpret.OutChannel("")) {
			continue
		}
		for _, seq := range seqs {
			if err := p.ctx.Err(); err != nil {
				return err
			}
			raw, err := p.k.Store.Read(storage.Ref{Channel: channel, Seq: seq})
			if err != nil {
				return err // what it was made of cannot be known
			}
			e, err := intake.DecodeEntry(raw)
			if err != nil {
				return err
			}
			if of, err := storage.ParseRef(e.Attrs["of"]); err == nil {
				refs[of.Channel] = append(refs[of.Channel], of.Seq)
			}
		}
	}
	for _, seqs := range refs {
		slices.Sort(seqs)
	}
	p.needed, p.last = refs, last
	return nil
}

func (p *pass) trimAll(channels []string, cutoff time.Time) error {
	for _, name := range channels {
		err := p.trim(name, cutoff)
		if errors.Is(err, storage.ErrGaps) {
			p.k.Log.Error("retention: too many entries of a channel wait; what lies between them stays", "channel", name)
			continue
		}
		if err != nil {
			return fmt.Errorf("retention: %w", err)
		}
	}
	return nil
}

// some is how many entries are removed in one commit, whose keys must fit into it
// too.
const some = 50

type doomed struct {
	seq  uint64
	e    intake.Entry
	size int64
}

// trim removes entries of a channel that are older than cutoff.
func (p *pass) trim(channel string, cutoff time.Time) error {
	last, from := p.last[channel], p.from[channel]
	defer func() { p.from[channel] = from }()
	for {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		var gone []doomed
		young := false
		err := p.k.Store.Range(channel, from, 0, false, func(ref storage.Ref, b []byte) bool {
			e, err := intake.DecodeEntry(b)
			if err == nil && !e.At.Before(cutoff) || ref.Seq >= last {
				young = true
				return false
			}
			from = ref.Seq + 1
			if err != nil {
				return true // it stays: somebody has to look
			}
			if _, needed := slices.BinarySearch(p.needed[channel], ref.Seq); needed {
				return true
			}
			size := int64(len(b))
			gone = append(gone, doomed{ref.Seq, e, size})
			return len(gone) < some
		})
		var damaged *storage.DamagedError
		if err != nil && !errors.As(err, &damaged) {
			return err
		}
		if len(gone) > 0 {
			if err := p.remove(channel, gone); err != nil {
				return err
			}
		}
		if young || len(gone) < some {
			return nil
		}
	}
}

// retireKey begins the keys under which objects stand that no entry refers to any
// more, until their files are removed: a crash between the two loses no space.
const retireKey = "retire/"

func (p *pass) remove(channel string, gone []doomed) error {
	b := new(storage.Batch)
	var objects []spool.Ref
	for i := 0; i < len(gone); {
		j := i + 1
		for j < len(gone) && gone[j].seq == gone[j-1].seq+1 {
			j++
		}
		b.Trim(channel, gone[i].seq, gone[j-1].seq)
		i = j
	}
	var bytes int64
	for _, d := range gone {
		ref := storage.Ref{Channel: channel, Seq: d.seq}
		keys, err := interpret.EntryKeys(p.k.Store, ref, d.e)
		if err != nil {
			p.k.Log.Warn("retention: keys of an entry stay", "entry", ref.String(), "error", err)
		}
		for _, key := range keys {
			if keep := intake.Keep(key, d.e); keep != nil {
				b.Put(key, keep)
				continue
			}
			b.Delete(key)
		}
		bytes += d.size
		if d.e.Spool != nil {
			objects = append(objects, *d.e.Spool)
			bytes += d.e.Spool.Length
		}
	}
	key := retireKey + storage.Ref{Channel: channel, Seq: gone[0].seq}.String()
	if len(objects) > 0 {
		value, err := json.Marshal(objects)
		if err != nil {
			return err
		}
		b.Put(key, value)
	}
	if _, err := p.k.Store.Commit(p.ctx, b); err != nil {
		return err
	}
	p.result.Entries += len(gone)
	p.result.Objects += len(objects)
	p.result.Bytes += bytes
	return p.retireOne(key, objects)
}

// retireOne removes files. While a backup is being made they stay for later.
func (p *pass) retireOne(key string, objects []spool.Ref) error {
	if len(objects) == 0 {
		return nil
	}
	err := p.k.Store.RemoveObjects(objects)
	if errors.Is(err, storage.ErrBusy) {
		return nil
	}
	if err != nil {
		return err
	}
	b := new(storage.Batch)
	b.Delete(key)
	_, err = p.k.Store.Commit(p.ctx, b)
	return err
}

// retire removes the files that an earlier pass left.
func (p *pass) retire() error {
	keys, err := p.k.Store.Keys(retireKey, 0)
	if err != nil {
		return err
	}
	for _, key := range keys {
		value, ok, err := p.k.Store.Get(key)
		if err != nil {
			return err
		}
		var objects []spool.Ref
		if !ok || json.Unmarshal(value, &objects) != nil {
			continue
		}
		if err := p.retireOne(key, objects); err != nil {
			return err
		}
	}
	return nil
}
