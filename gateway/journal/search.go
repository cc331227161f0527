package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"nhip/gateway/delivery"
	"nhip/gateway/intake"
	"nhip/gateway/interpret"
	"nhip/storage"
)

// A search is one Query on its way.
type search struct {
	*Journal
	resolver
	ctx     context.Context
	q       Query
	page    Page
	seen    int       // entries looked at
	reached time.Time // the time of the last of them
	more    bool      // something older was left
	taken   map[storage.Ref]bool
}

func (s *search) run() error {
	names := s.q.names()
	var err error
	switch {
	case len(names) > 0:
		var refs []storage.Ref
		if refs, err = s.indexed(names); err == nil {
			err = s.merge(s.listed(refs))
		}
	case s.q.State == Queued, s.q.State == Held, s.q.State == Stored:
		var refs []storage.Ref
		if refs, err = s.waiting(); err == nil {
			err = s.merge(s.listed(refs))
		}
	default:
		var all []*cursor
		for _, c := range s.channels(s.q) {
			x, err := s.channel(c)
			if err != nil {
				return err
			}
			all = append(all, x)
		}
		err = s.merge(all)
	}
	if err != nil {
		return err
	}
	if err := s.resolver.deliveries(s.page.Entries); err != nil {
		return err
	}
	for i := range s.page.Entries {
		s.describe(&s.page.Entries[i])
	}
	if s.more {
		s.page.Older = s.reached
	}
	return nil
}

// describe adds the subject, which may take the whole entry to read.
func (s *search) describe(x *Entry) {
	if s.Subject == nil || x.Damaged != "" {
		return
	}
	ref, err := storage.ParseRef(x.Ref)
	if err != nil {
		return
	}
	if e, err := s.read(ref); err == nil {
		x.Subject = s.Subject(e)
	}
}

func (j *Journal) read(ref storage.Ref) (intake.Entry, error) {
	b, err := j.Store.Read(ref)
	if err != nil {
		return intake.Entry{}, err
	}
	return intake.DecodeEntry(b)
}

// indexed are the entries that have all the names, and, where the query names a
// destination, what was sent there of them.
func (s *search) indexed(names []string) ([]storage.Ref, error) {
	var found map[storage.Ref]bool
	for _, name := range names {
		these := map[storage.Ref]bool{}
		prefix := intake.IndexKeys(name)
		keys, err := s.Store.Keys(prefix, maxIndexed)
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			ref, err := storage.ParseRef(strings.TrimPrefix(k, prefix))
			if err != nil { // the reference is the value
				v, _, err := s.Store.Get(k)
				if err != nil {
					return nil, err
				}
				if ref, err = storage.ParseRef(string(v)); err != nil {
					return nil, err
				}
			}
			if found == nil || found[ref] {
				these[ref] = true
			}
		}
		found = these
	}
	var refs []storage.Ref
	out := s.isDestination(s.q.Connection)
	for ref := range found {
		if !out || ref.Channel == intake.Channel(s.q.Connection) {
			refs = append(refs, ref)
			continue
		}
		f, _, err := interpret.ReadFate(s.Store, ref)
		if err != nil {
			return nil, err
		}
		for _, x := range f.Sent {
			if x.Destination != s.q.Connection {
				continue
			}
			sent, err := interpret.SentRef(s.Store, x)
			if err != nil {
				return nil, err
			}
			refs = append(refs, sent)
		}
	}
	return refs, nil
}

// waiting are the entries that the queues are about.
func (s *search) waiting() ([]storage.Ref, error) {
	found := map[storage.Ref]bool{}
	add := func(it storage.QueueItem) bool {
		for _, ref := range it.About {
			found[ref] = true
		}
		return true
	}
	switch s.q.State {
	case Stored:
		if err := s.queue(intake.Interpret, add); err != nil {
			return nil, err
		}
	case Held:
		if err := s.queue(intake.HeldQueue, add); err != nil {
			return nil, err
		}
	}
	for _, name := range s.Store.Queues() {
		destination, ok := strings.CutPrefix(name, delivery.Queue(""))
		if !ok || s.q.State == Stored {
			continue
		}
		err := s.queue(name, func(it storage.QueueItem) bool {
			if state, _ := stateOf(it); state == s.q.State {
				add(it)
			}
			return s.ctx.Err() == nil
		})
		if err != nil {
			return nil, fmt.Errorf("queue of %s: %w", destination, err)
		}
	}
	var refs []storage.Ref
	for ref := range found {
		refs = append(refs, ref)
	}
	return refs, s.ctx.Err()
}

// merge takes the entries of all cursors, the newest first, each in the order of
// its channel.
func (s *search) merge(all []*cursor) error {
	for {
		var newest *cursor
		for _, c := range all {
			if err := c.fill(s); err != nil {
				return err
			}
			if len(c.buffer) > 0 && (newest == nil || c.buffer[0].At.After(newest.buffer[0].At)) {
				newest = c
			}
		}
		if newest == nil {
			return nil
		}
		if len(s.page.Entries) == s.q.Limit || s.seen == MaxScan {
			s.more, s.page.Partial = true, len(s.page.Entries) < s.q.Limit
			return nil
		}
		x := newest.buffer[0]
		newest.buffer = newest.buffer[1:]
		s.seen++
		if !s.q.From.IsZero() && x.At.Before(s.q.From) || !s.q.To.IsZero() && !x.At.Before(s.q.To) {
			continue
		}
		s.reached = x.At
		if err := s.take(x); err != nil {
			return err
		}
		if s.seen%256 == 0 && s.ctx.Err() != nil {
			if len(s.page.Entries) == 0 {
				return s.ctx.Err()
			}
			s.more, s.page.Partial = true, true
			return nil
		}
	}
}

// take adds an entry to the page where it is one that is sought.
func (s *search) take(f found) error {
	if s.q.Connection != "" && f.Connection != s.q.Connection {
		if f.Fate == intake.Sent || !s.isDestination(s.q.Connection) {
			return nil
		}
	}
	x := basic(f.ref, f.Entry)
	if err := s.fate(&x, f.ref, f.Entry); err != nil {
		return err
	}
	if s.q.Connection != "" && f.Connection != s.q.Connection &&
		!slices.ContainsFunc(x.Deliveries, func(d Delivery) bool { return d.Destination == s.q.Connection }) {
		return nil
	}
	switch s.q.State {
	case "":
	case Queued, Held:
		one := []Entry{x}
		if len(s.q.names()) > 0 { // the others come from the queues
			if err := s.resolver.deliveries(one); err != nil {
				return err
			}
			if !slices.Contains(one[0].States, s.q.State) {
				return nil
			}
		}
	default:
		if !slices.Contains(x.States, s.q.State) {
			return nil
		}
	}
	s.page.Entries = append(s.page.Entries, x)
	return nil
}

// found is an entry without its body.
type found struct {
	ref storage.Ref
	intake.Entry
}

// A cursor gives entries of one channel, the newest first.
type cursor struct {
	buffer []found
	next   func(s *search) ([]found, error) // nothing: the end
	ended  bool
}

func (c *cursor) fill(s *search) error {
	for !c.ended && len(c.buffer) == 0 {
		more, err := c.next(s)
		if err != nil {
			return err
		}
		c.buffer, c.ended = more, more == nil
	}
	return nil
}

const readPage = 128

// listed are cursors over entries that are known by their references.
func (s *search) listed(refs []storage.Ref) []*cursor {
	byChannel := map[string][]storage.Ref{}
	for _, ref := range refs {
		byChannel[ref.Channel] = append(byChannel[ref.Channel], ref)
	}
	var all []*cursor
	for _, list := range byChannel {
		slices.SortFunc(list, func(a, b storage.Ref) int { return cmp.Compare(b.Seq, a.Seq) })
		all = append(all, &cursor{next: func(s *search) ([]found, error) {
			if len(list) == 0 {
				return nil, nil
			}
			n := min(len(list), readPage)
			some := []found{}
			for _, ref := range list[:n] {
				ref, e, err := s.origin(ref)
				switch {
				case err == nil && s.taken[ref]:
				case err == nil:
					s.taken[ref] = true
					e.Body = nil
					some = append(some, found{ref, e})
				case !errors.Is(err, storage.ErrNotFound):
					s.damaged(err)
				}
			}
			list = list[n:]
			return some, nil
		}})
	}
	return all
}

// origin reads an entry or, of a message to a destination that the query does not
// name, the entry that it was made of.
func (s *search) origin(ref storage.Ref) (storage.Ref, intake.Entry, error) {
	e, err := s.read(ref)
	if err != nil || e.Fate != intake.Sent || e.Connection == s.q.Connection {
		return ref, e, err
	}
	of, err := storage.ParseRef(e.Attrs["of"])
	if err != nil {
		return ref, e, nil
	}
	from, err := s.read(of)
	if err != nil { // it is gone or damaged; the message is still there
		return ref, e, nil
	}
	return of, from, nil
}

// damaged notes what cannot be read.
func (s *search) damaged(err error) {
	if text := err.Error(); !slices.Contains(s.page.Damaged, text) && len(s.page.Damaged) < 100 {
		s.page.Damaged = append(s.page.Damaged, text)
	}
}

// channel is a cursor over the part of a channel that a time range is in.
func (s *search) channel(name string) (*cursor, error) {
	parts, err := s.parts(name)
	if err != nil {
		return nil, err
	}
	return &cursor{next: func(s *search) ([]found, error) {
		for len(parts) > 0 {
			p := &parts[len(parts)-1]
			if p.from > p.to {
				parts = parts[:len(parts)-1]
				continue
			}
			some := []found{}
			bad := error(nil)
			next := p.from - 1
			err := s.Store.Range(name, p.to, readPage, true, func(ref storage.Ref, b []byte) bool {
				if next = ref.Seq - 1; ref.Seq < p.from {
					next = p.from - 1
					return false
				}
				e, err := intake.DecodeEntry(b)
				if err != nil {
					bad = err
					return true
				}
				e.Body = nil
				some = append(some, found{ref, e})
				return true
			})
			var damaged *storage.DamagedError
			if err != nil && !errors.As(err, &damaged) {
				return nil, err
			}
			if err = errors.Join(err, bad); err != nil {
				s.damaged(err)
			}
			if len(some) == 0 && damaged != nil && damaged.From > p.from {
				next = damaged.From - 1 // a page of nothing but damage
			}
			p.to = next
			if len(some) > 0 {
				return some, nil
			}
		}
		return nil, nil
	}}, nil
}

// A part of a channel, both ends included.
type part struct{ from, to uint64 }

// slack is how far apart entries may be from the order of their times without a
// clock that went back: connections wait for their commit.
const slack = 3 * time.Second

// parts are those of a channel, in order, that a time range is in. A channel
// falls into stretches in which time rises, at the entries before which the
// clock had gone back; in each the ends are found by bisection.
func (s *search) parts(channel string) ([]part, error) {
	last := s.Store.Last(channel)
	if s.q.From.IsZero() && s.q.To.IsZero() {
		return []part{{1, last}}, nil
	}
	keys, err := s.Store.Keys(intake.ClockKeys(channel), 0)
	if err != nil {
		return nil, err
	}
	begins := []uint64{1}
	for _, k := range keys {
		v, _, err := s.Store.Get(k)
		if err != nil {
			return nil, err
		}
		ref, err := storage.ParseRef(string(v))
		if err != nil {
			return nil, err
		}
		begins = append(begins, ref.Seq)
	}
	slices.Sort(begins)
	begins = slices.Compact(begins)
	var all []part
	for i, from := range begins {
		p := part{from, last}
		if i+1 < len(begins) {
			p.to = begins[i+1] - 1
		}
		if !s.q.To.IsZero() {
			if p.to, err = s.first(channel, p, s.q.To.Add(slack)); err != nil {
				return nil, err
			}
			p.to--
		}
		if !s.q.From.IsZero() {
			if p.from, err = s.first(channel, p, s.q.From.Add(-slack)); err != nil {
				return nil, err
			}
		}
		if p.from <= p.to {
			all = append(all, p)
		}
	}
	return all, nil
}

// first is the first sequence of a part whose entry is of that time or later, or
// the one behind its end.
func (s *search) first(channel string, p part, at time.Time) (uint64, error) {
	low, high := p.from, p.to+1
	for low < high {
		mid := low + (high-low)/2
		seq, when, err := s.timeAt(channel, mid, high-1)
		if err != nil {
			return 0, err
		}
		if seq == 0 || !when.Before(at) { // nothing readable from mid on tells otherwise
			high = mid
			continue
		}
		low = seq + 1
	}
	return low, nil
}

// timeAt is the time of the first readable entry from a sequence on, and its
// sequence; 0 where there is none up to last.
func (s *search) timeAt(channel string, from, last uint64) (seq uint64, at time.Time, err error) {
	for from <= last {
		err = s.Store.Range(channel, from, readPage, false, func(ref storage.Ref, b []byte) bool {
			from = ref.Seq + 1
			if ref.Seq > last {
				return false
			}
			e, err := intake.DecodeEntry(b)
			if err != nil {
				return true
			}
			seq, at = ref.Seq, e.At
			return false
		})
		var damaged *storage.DamagedError
		switch {
		case seq != 0:
			return seq, at, nil
		case errors.As(err, &damaged) && damaged.To >= from:
			from = damaged.To + 1
		case err != nil:
			return 0, at, err
		default:
			return 0, at, nil
		}
	}
	return 0, at, nil
}
