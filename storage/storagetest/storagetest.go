// Package storagetest tries to break package storage, over the real store: it
// fails at a chosen write, is killed, and has a bit flipped. Its parts are there
// for the tests of other packages too: Plan lets a store die at write n, Image
// gives the disk as a kill would leave it, Load writes what Check can verify.
package storagetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"nhip/storage"
	"nhip/storage/spool"
)

// A Plan is a fault hook that fails at one step and at every later one, like a
// process that died there. Its Step goes into storage.Options.Fault.
type Plan struct {
	mu    sync.Mutex
	at    int // the step to fail at, from 0; negative for never
	steps []string
}

// FailAt gives the plan that fails at step n, from 0.
func FailAt(n int) *Plan { return &Plan{at: n} }

// ErrDied is what a step of a Plan fails with.
var ErrDied = errors.New("storagetest: died here")

// Step counts a step, and fails it when it is the one or behind it.
func (p *Plan) Step(step string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.steps = append(p.steps, step)
	if p.at >= 0 && len(p.steps) > p.at {
		return ErrDied
	}
	return nil
}

// Died names the step that failed, "" for none.
func (p *Plan) Died() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at < 0 || len(p.steps) <= p.at {
		return ""
	}
	return p.steps[p.at]
}

// Image copies a data directory as it stands, as a kill at this moment would
// leave it, and leaves out what is zero.
func Image(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		if err := copySparse(path, filepath.Join(to, rel)); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

func copySparse(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	block := make([]byte, 64<<10)
	zero := make([]byte, len(block))
	var size int64
	for err == nil {
		var n int
		n, err = io.ReadFull(in, block)
		if !bytes.Equal(block[:n], zero[:n]) {
			if _, err := out.WriteAt(block[:n], size); err != nil {
				out.Close()
				return err
			}
		}
		size += int64(n)
	}
	if err != io.EOF && err != io.ErrUnexpectedEOF {
		out.Close()
		return err
	}
	return errors.Join(out.Truncate(size), out.Close())
}

// Where the load writes. A producer has a channel of its own; its entry n is the
// n-th batch, and says itself what else must be there.
const (
	Queue    = "work"
	Done     = "done" // channel: one entry for each item that was removed
	Accepted = "accepted"
	Removed  = "removed"
)

// A Producer writes one batch after another.
type Producer struct {
	Store *storage.Store
	Name  string
	N     uint64 // batches acknowledged
	Spool bool   // every fourth batch has an object in the spool
	Own   bool   // finishes its own last item, so that many producers do not all want the head

	item uint64 // its last, 0 for none since the start
}

// Value is the entry n of a producer: the same at every call, so that what is
// read back can be compared.
func Value(name string, n uint64, object *spool.Ref) []byte {
	b := fmt.Appendf(nil, "%s %d ", name, n)
	if object != nil {
		ref, err := json.Marshal(object)
		if err != nil {
			panic(err)
		}
		b = append(b, ref...)
	}
	b = append(b, '\n')
	return append(b, noise(name, n, 1200)...)
}

// noise gives up to most bytes that depend on name and n.
func noise(name string, n uint64, most int) []byte {
	seed := n
	for _, c := range []byte(name) {
		seed = seed*131 + uint64(c)
	}
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, r.IntN(most))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// Refs finds the object in a value, for storage.Options.SpoolRefs.
func Refs(value []byte) []spool.Ref {
	line, _, _ := bytes.Cut(value, []byte("\n"))
	parts := bytes.SplitN(line, []byte(" "), 3)
	var ref spool.Ref
	if len(parts) != 3 || json.Unmarshal(parts[2], &ref) != nil {
		return nil
	}
	return []spool.Ref{ref}
}

// Next commits the next batch: an entry, an item about it, a key that must be
// new, a state, the counter; every second one also finishes the item at the head
// of the queue, as a delivery does.
func (p *Producer) Next(ctx context.Context) error {
	n := p.N + 1
	var object *spool.Ref
	if p.Spool && n%4 == 0 {
		ref, err := writeObject(p.Store.Spool(), p.Name, n)
		if err != nil {
			return err
		}
		object = &ref
	}
	for {
		b := new(storage.Batch)
		e := b.Append(p.Name, Value(p.Name, n, object))
		item := b.Enqueue(Queue, p.Name, fmt.Appendf(nil, "%s %d", p.Name, n), e)
		once := fmt.Sprintf("once/%s/%d", p.Name, n)
		b.IfAbsent(once)
		b.PutRef(once, e)
		b.Put("last/"+p.Name, strconv.AppendUint(nil, n, 10))
		b.Add(Accepted, 1)
		switch {
		case n%2 == 0 && p.Own && p.item > 0:
			finish(b, p.item, fmt.Appendf(nil, "%s %d", p.Name, p.N))
		case n%2 == 0 && !p.Own:
			if err := finishHead(p.Store, b); err != nil {
				return err
			}
		}
		receipt, err := p.Store.Commit(ctx, b)
		if errors.Is(err, storage.ErrNoItem) {
			continue // another producer took the head
		}
		if err == nil {
			p.N, p.item = n, receipt.Item(item)
		}
		return err
	}
}

func writeObject(s *spool.Spool, name string, n uint64) (spool.Ref, error) {
	w, err := s.Create()
	if err != nil {
		return spool.Ref{}, err
	}
	defer w.Abort()
	if _, err := w.Write(noise(name, n, 200<<10)); err != nil {
		return spool.Ref{}, err
	}
	return w.Commit()
}

func finishHead(s *storage.Store, b *storage.Batch) error {
	head, ok, err := s.Head(Queue)
	if err != nil || !ok {
		return err
	}
	finish(b, head.Seq, head.Value)
	return nil
}

func finish(b *storage.Batch, seq uint64, value []byte) {
	b.Remove(Queue, seq)
	b.Append(Done, value)
	b.Add(Removed, 1)
}

// A Finding is what Check found.
type Finding struct {
	Wrong   []string // served and not what was committed: never allowed
	Missing []string // acknowledged, or promised by something else that is there, and not served: only with an alarm
}

func (f *Finding) wrong(format string, a ...any) {
	f.Wrong = append(f.Wrong, fmt.Sprintf(format, a...))
}

func (f *Finding) missing(format string, a ...any) {
	f.Missing = append(f.Missing, fmt.Sprintf(format, a...))
}

// Check reads a store that was written by producers, of whom acknowledged says
// how many batches each was told of, and holds every part against the others.
func Check(s *storage.Store, acknowledged map[string]uint64) *Finding {
	f := &Finding{}
	there := f.entries(s, acknowledged)
	f.keys(s, there)
	f.sums(s, there)
	return f
}

// entries reads the journal and gives the items that the queue should hold.
func (f *Finding) entries(s *storage.Store, acknowledged map[string]uint64) map[string]uint64 {
	there := map[string]uint64{}
	for name, n := range acknowledged {
		there[name] = n
	}
	for _, name := range s.Channels() {
		if name != Done {
			there[name] = max(there[name], s.Last(name))
		}
	}
	for name, last := range there {
		for n := uint64(1); n <= last; n++ {
			f.entry(s, name, n)
		}
	}
	return there
}

func (f *Finding) entry(s *storage.Store, name string, n uint64) {
	value, err := s.Read(storage.Ref{Channel: name, Seq: n})
	if err != nil {
		f.missing("%s/%d: %v", name, n, err)
		return
	}
	var object *spool.Ref
	if refs := Refs(value); len(refs) == 1 {
		object = &refs[0]
		f.object(s.Spool(), name, n, refs[0])
	}
	if !bytes.Equal(value, Value(name, n, object)) {
		f.wrong("%s/%d is not what was committed", name, n)
	}
}

func (f *Finding) object(s *spool.Spool, name string, n uint64, ref spool.Ref) {
	if err := s.Verify(ref); err != nil {
		f.missing("object of %s/%d: %v", name, n, err)
	}
}

func (f *Finding) keys(s *storage.Store, there map[string]uint64) {
	for name, last := range there {
		value, found, err := s.Get("last/" + name)
		if n, _ := strconv.ParseUint(string(value), 10, 64); err != nil || n != last || found != (last > 0) {
			f.missing("last/%s is %d, should be %d: %v", name, n, last, err)
		}
		for n := uint64(1); n <= last; n++ {
			ref, found, err := s.Get(fmt.Sprintf("once/%s/%d", name, n))
			switch {
			case err != nil || !found:
				f.missing("once/%s/%d: %v", name, n, err)
			case string(ref) != fmt.Sprintf("%s/%d", name, n):
				f.wrong("once/%s/%d is %s", name, n, ref)
			}
		}
	}
}

// sums holds the counters, the queue and the channel of finished items against
// the journal: every item is in the queue or finished, once.
func (f *Finding) sums(s *storage.Store, there map[string]uint64) {
	snapshot := s.Snapshot()
	var accepted uint64
	for _, n := range there {
		accepted += n
	}
	removed := s.Last(Done)
	if snapshot.Counters[Accepted] != int64(accepted) || snapshot.Counters[Removed] != int64(removed) ||
		snapshot.Depths[Queue] != int(accepted-removed) {
		f.missing("%d accepted, %d removed; the counters say %d and %d, the queue %d", accepted, removed,
			snapshot.Counters[Accepted], snapshot.Counters[Removed], snapshot.Depths[Queue])
	}
	seen := map[string]bool{}
	for n := uint64(1); n <= removed; n++ {
		value, err := s.Read(storage.Ref{Channel: Done, Seq: n})
		if err != nil {
			f.missing("%s/%d: %v", Done, n, err)
			continue
		}
		f.once(seen, string(value), there)
	}
	items, err := s.Items(Queue, 0, 0)
	if err != nil {
		f.missing("queue: %v", err)
	}
	for _, item := range items {
		if item.Damaged != nil {
			f.missing("queue item %d: %v", item.Seq, item.Damaged)
			continue
		}
		if string(item.Value) != item.About[0].Channel+" "+strconv.FormatUint(item.About[0].Seq, 10) {
			f.wrong("queue item %d is about %v", item.Seq, item.About)
		}
		f.once(seen, string(item.Value), there)
	}
	if len(seen) != int(accepted) {
		f.missing("%d of %d items are finished or in the queue", len(seen), accepted)
	}
}

// once notes an item. One that is finished and in the queue too shows that an
// old state came back: allowed only with an alarm, like something missing.
func (f *Finding) once(seen map[string]bool, value string, there map[string]uint64) {
	name, number, _ := strings.Cut(value, " ")
	if n, err := strconv.ParseUint(number, 10, 64); err != nil || n == 0 || n > there[name] {
		f.wrong("an item %q that was never committed", value)
	}
	if seen[value] {
		f.missing("the item %s is there twice", value)
	}
	seen[value] = true
}
