package run

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"nhip/gateway/config"
	"nhip/gateway/intake"
	"nhip/gateway/reason"
	"nhip/hl7"
	"nhip/hl7/ack"
	"nhip/storage"
)

// Limits of messages that come in parts.
const (
	maxParts      = 1000 // of one message
	maxUnfinished = 16   // messages of one link; the oldest is held
)

// unfinishedFor is how long the rest of a message is waited for: what came of it is held
// then, so that a person knows.
const unfinishedFor = time.Hour

// parts are the messages of a link of which some parts have come, HL7 v2.5.1 section
// 2.10.2: a part ends with DSC, whose pointer is MSH-14 of the next one. Each part is
// stored before it is answered, so that the message is whole after a restart too.
type parts struct {
	store *storage.Store
	key   string
	most  int64 // bytes of a message

	mu   sync.Mutex // held until a part is stored
	read bool
	open []unfinished
}

// An unfinished message is what is known of the parts of it that have come. The
// references of their journal entries are under keys of their own.
type unfinished struct {
	ID      string    `json:"id"`
	Pointer string    `json:"pointer"` // a hash of DSC-1 of the last part
	Parts   int       `json:"parts"`
	Bytes   int64     `json:"bytes"`
	Since   time.Time `json:"since"`
}

// openParts is the value under the key of parts.
type openParts struct {
	Version int          `json:"v"`
	Open    []unfinished `json:"open"`
}

func newParts(s *storage.Store, p config.HL7Peer) *parts {
	return &parts{store: s, key: "continuation/" + p.Name, most: int64(p.MaxMessage)}
}

func (p *parts) partKey(id string, n int) string { return fmt.Sprintf("%s/%s/%d", p.key, id, n) }

// load reads what was stored; p.mu is held.
func (p *parts) load() error {
	if p.read {
		return nil
	}
	b, ok, err := p.store.Get(p.key)
	if err != nil {
		return err
	}
	stored := openParts{Version: 1}
	if ok {
		if err := json.Unmarshal(b, &stored); err != nil {
			return fmt.Errorf("continued messages: %w", err)
		}
	}
	if stored.Version != 1 {
		return fmt.Errorf("continued messages: stored version %d", stored.Version)
	}
	p.open, p.read = stored.Open, true
	return nil
}

// put adds to a batch which messages are unfinished, and has them read again: the
// commit may fail.
func (p *parts) put(b *storage.Batch, open []unfinished) {
	v, err := json.Marshal(openParts{1, open})
	if err != nil {
		panic(err) // no value of this struct fails to marshal
	}
	b.Put(p.key, v)
	p.read = false
}

// find is the unfinished message of a pointer, and the others.
func (p *parts) find(pointer string) (found unfinished, rest []unfinished, ok bool) {
	for _, u := range p.open {
		if !ok && pointer != "" && u.Pointer == pointer {
			found, ok = u, true
			continue
		}
		rest = append(rest, u)
	}
	return found, rest, ok
}

// pointerOf is the name of a continuation pointer, which the sender chose.
func pointerOf(s string) string {
	if s == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:12])
}

// continues says whether a message is a part of one: pointer is MSH-14, next is DSC-1.
func continues(m *hl7.Message) (pointer, next string) {
	if dsc := m.Segments("DSC"); len(dsc) > 0 && dsc[len(dsc)-1].Get("2") != "I" { // I: the further answers to a query
		next = dsc[len(dsc)-1].Get("1")
	}
	return pointerOf(m.Get("MSH-14")), pointerOf(next)
}

// continued takes a part of a message. The last part is stored with the message that
// the parts make, and gets the answer to it.
func (l *link) continued(ctx context.Context, from string, m *hl7.Message, pointer, next string) []byte {
	p := l.parts
	p.mu.Lock()
	defer p.mu.Unlock()
	repeat, err := l.g.in.Stored(l.name, m)
	if err == nil {
		err = p.load()
	}
	if err != nil {
		return l.notStored(m, err)
	}
	if repeat {
		return l.store(ctx, storing{from: from, m: m, to: m, o: l.answers})
	}
	u, rest, known := p.find(pointer)
	switch {
	case pointer != "" && !known:
		l.g.strangers.count()
		l.g.log.Warn("message refused: the beginning of what it continues is not here", "connection", l.name)
		return l.refuse(m, hl7.Error{Location: "MSH-14", Code: hl7.ErrorUnknownKey, Text: "the beginning of the message that this continues (MSH-14) is not here"})
	case u.Bytes+int64(len(m.Bytes())) > p.most, u.Parts >= maxParts:
		l.g.strangers.count()
		return l.refuse(m, overLimit(p.most))
	case next != "":
		return l.part(ctx, from, m, u, rest, next)
	}
	return l.last(ctx, from, m, u, rest)
}

// part stores a part that is not the last one; parts.mu is held.
func (l *link) part(ctx context.Context, from string, m *hl7.Message, u unfinished, rest []unfinished, next string) []byte {
	if u.Parts == 0 {
		u.ID, u.Since = l.g.ackID.next(), time.Now().UTC()
	}
	u.Parts, u.Bytes, u.Pointer = u.Parts+1, u.Bytes+int64(len(m.Bytes())), next
	var given unfinished
	var first storage.Ref
	if len(rest) >= maxUnfinished {
		var err error
		if first, err = l.parts.ref(l.parts.partKey(rest[0].ID, 0)); err != nil {
			return l.notStored(m, err)
		}
		l.g.log.Warn("a message of which only parts came is held", "connection", l.name, "since", rest[0].Since)
		given, rest = rest[0], rest[1:]
	}
	app := partApplication(func(r intake.Incoming, b *storage.Batch) {
		if given.Parts > 0 {
			l.parts.giveUp(b, l.name, given, first)
		}
		b.PutRef(l.parts.partKey(u.ID, u.Parts-1), r.Entry)
		l.parts.put(b, append(rest, u))
	})
	return l.store(ctx, storing{from: from, m: m, to: m, app: app, o: l.answers})
}

// A partApplication stores a part, which goes nowhere by itself.
type partApplication func(intake.Incoming, *storage.Batch)

// Takes is intake.Application.
func (a partApplication) Takes(*hl7.Message) bool { return true }

// Decide is intake.Application.
func (a partApplication) Decide(_ context.Context, r intake.Incoming, b *storage.Batch) (intake.Decision, error) {
	a(r, b)
	return intake.Decision{Verdict: ack.Verdict{Code: hl7.ApplicationAccept}, Consumed: "part"}, nil
}

// last stores the last part with the message that all make; parts.mu is held.
func (l *link) last(ctx context.Context, from string, m *hl7.Message, u unfinished, rest []unfinished) []byte {
	var all []*hl7.Message
	for n := range u.Parts {
		part, err := l.parts.part(l.parts.partKey(u.ID, n), l.g.body)
		if err != nil {
			return l.notStored(m, err)
		}
		all = append(all, part)
	}
	whole, err := hl7.ParseWithin(joinParts(append(all, m)), l.limits())
	var bad *hl7.ParseError
	if errors.As(err, &bad) {
		l.g.strangers.count()
		return l.refuse(m, hl7.Error{Location: bad.Location, Code: bad.Code, Text: "the parts make no message: " + bad.Reason})
	}
	if !l.declared {
		if err := whole.UseCharset(l.rule); err != nil { // the configuration was checked
			return l.notStored(m, err)
		}
	}
	var aside func(*storage.Batch, []byte) error
	if len(all) > 0 {
		aside, err = l.g.in.Aside(l.name, from, m, map[string]string{"type": messageType(m)}, "part")
	}
	if err != nil {
		return l.notStored(m, err)
	}
	return l.store(ctx, storing{from: from, m: whole, to: m, app: l.application(whole), o: l.answers, also: func(b *storage.Batch, answer []byte) error {
		for n := range u.Parts {
			b.Delete(l.parts.partKey(u.ID, n))
		}
		l.parts.put(b, rest)
		return aside(b, answer)
	}})
}

// giveUpOverdue holds, every minute, what came of messages that are unfinished for long.
func (p *peers) giveUpOverdue(ctx context.Context) error {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	for {
		for _, l := range p.links {
			if err := l.parts.overdue(ctx, l.name, time.Now(), l.g.log); err != nil && ctx.Err() == nil {
				l.g.log.Error("continued messages", "connection", l.name, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

// overdue gives up the messages of a link whose first part came too long before now.
func (p *parts) overdue(ctx context.Context, link string, now time.Time, log *slog.Logger) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.load(); err != nil {
		return err
	}
	b := new(storage.Batch)
	var rest []unfinished
	for _, u := range p.open {
		if now.Sub(u.Since) < unfinishedFor {
			rest = append(rest, u)
			continue
		}
		first, err := p.ref(p.partKey(u.ID, 0))
		if err != nil {
			return err
		}
		log.Warn("a message of which only parts came is held", "connection", link, "since", u.Since)
		p.giveUp(b, link, u, first)
	}
	if len(rest) == len(p.open) {
		return nil
	}
	p.put(b, rest)
	_, err := p.store.Commit(ctx, b)
	return err
}

// giveUp holds what came of a message that never became whole: each part was
// acknowledged, so that a person has to know. first is the entry of its first part;
// the others stand behind it in the journal.
func (p *parts) giveUp(b *storage.Batch, connection string, u unfinished, first storage.Ref) {
	for n := range u.Parts {
		b.Delete(p.partKey(u.ID, n))
	}
	why := reason.New(reason.IncompleteParts, strconv.Itoa(u.Parts))
	b.EnqueueRef(intake.HeldQueue, connection, intake.HeldTicket{Reason: why, Since: u.Since}.Encode(), first)
	b.Add(intake.CountAccepted, 1)
	b.Add(intake.CountHeld, 1)
}

// ref is the journal entry of a part.
func (p *parts) ref(key string) (storage.Ref, error) {
	v, ok, err := p.store.Get(key)
	if err != nil {
		return storage.Ref{}, err
	}
	if !ok {
		return storage.Ref{}, errors.New("a part of a continued message is not there")
	}
	return storage.ParseRef(string(v))
}

// part reads a part.
func (p *parts) part(key string, body func(storage.Ref) ([]byte, error)) (*hl7.Message, error) {
	ref, err := p.ref(key)
	if err != nil {
		return nil, err
	}
	b, err := body(ref)
	if err != nil {
		return nil, err
	}
	return hl7.Parse(b)
}

// joinParts makes one message of its parts: the header of the first, without DSC; ADD
// at the begin of a part is the rest of the segment before.
func joinParts(all []*hl7.Message) []byte {
	var b []byte
	for i, m := range all {
		first := true
		for _, s := range m.Segments() {
			text := s.Bytes()
			switch {
			case s.Name == "DSC", s.Name == "ADD" && !first, s.Name == "MSH" && i > 0:
				continue
			case s.Name == "ADD":
				b = append(bytes.TrimSuffix(b, []byte{'\r'}), text[min(len(text), len("ADD|")):]...)
			default:
				b = append(b, text...)
			}
			if b = append(b, '\r'); s.Name != "MSH" {
				first = false
			}
		}
	}
	return b
}
