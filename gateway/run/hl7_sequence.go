package run

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"nhip/gateway/intake"
	"nhip/hl7"
	"nhip/hl7/ack"
	"nhip/storage"
)

// numbers are the sequence numbers of a link (MSH-13, HL7 v2.5.1 section 2.10.1), on
// our side of it. What is expected next is stored with each message.
type numbers struct {
	store *storage.Store
	key   string

	mu   sync.Mutex // held until the message is stored: one after the other
	read bool
	last ack.Sequence
}

// A storedSequence is the value under the key of numbers.
type storedSequence struct {
	Version int   `json:"v"`
	Last    int64 `json:"last"`
	Known   bool  `json:"known"`
}

// load reads what was stored before this start; n.mu is held.
func (n *numbers) load() error {
	if n.read {
		return nil
	}
	b, ok, err := n.store.Get(n.key)
	if err != nil {
		return err
	}
	if ok {
		var s storedSequence
		if err := json.Unmarshal(b, &s); err != nil {
			return fmt.Errorf("sequence number: %w", err)
		}
		if s.Version != 1 {
			return fmt.Errorf("sequence number: stored version %d", s.Version)
		}
		n.last = ack.Sequence{Last: s.Last, Known: s.Known}
	}
	n.read = true
	return nil
}

// put adds to a batch which number was accepted last, and has it read again: the
// commit may fail.
func (n *numbers) put(b *storage.Batch, s ack.Sequence) {
	v, err := json.Marshal(storedSequence{Version: 1, Last: s.Last, Known: s.Known})
	if err != nil {
		panic(err) // no value of this struct fails to marshal
	}
	b.Put(n.key, v)
	n.read = false
}

// numbered takes a message of a link with sequence numbers.
func (l *link) numbered(ctx context.Context, from string, m *hl7.Message, app intake.Application) []byte {
	n := l.numbers
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.load(); err != nil {
		return l.notStored(m, err)
	}
	next, numbering, expected := n.last.Receive(m.Get("MSH-13"))
	o := l.answers
	o.Expected = expected
	good := ack.Verdict{Code: hl7.ApplicationAccept}
	switch numbering {
	case ack.Unnumbered:
		return l.store(ctx, storing{from: from, m: m, to: m, app: app, o: o})
	case ack.StartOfLink:
		return l.reply(o, m, true, good, nil)
	case ack.Resynchronise:
		b := new(storage.Batch)
		n.put(b, next)
		if _, err := l.g.store.Commit(ctx, b); err != nil {
			return l.notStored(m, err)
		}
		l.g.log.Warn("the sender begins its sequence numbers anew", "connection", l.name)
		return l.reply(o, m, true, good, nil)
	case ack.Repeated:
		if repeat, err := l.g.in.Stored(l.name, m); err != nil {
			return l.notStored(m, err)
		} else if repeat {
			return l.store(ctx, storing{from: from, m: m, to: m, app: app, o: o})
		}
	case ack.InSequence:
		return l.store(ctx, storing{from: from, m: m, to: m, app: app, o: o, also: func(b *storage.Batch, _ []byte) error {
			n.put(b, next)
			return nil
		}})
	}
	l.g.log.Warn("message refused: out of sequence", "connection", l.name, "expected", expected)
	l.g.strangers.count()
	return l.reply(o, m, false, ack.Verdict{Code: hl7.ApplicationReject, Errors: []hl7.Error{{
		Location: "MSH-13", Code: hl7.ErrorApplication, Severity: hl7.SeverityError, Text: "the sequence number (MSH-13) is not the one that is expected (MSA-4)"}}}, nil)
}
