package intake

import (
	"context"
	"errors"
	"fmt"
	"time"

	"nhip/gateway/reason"
	"nhip/hl7"
	"nhip/hl7/ack"
	"nhip/storage"
	"nhip/storage/diskguard"
)

// An Application decides on messages of systems before they are answered: what
// the answer says is true once it is sent.
type Application interface {
	// Takes says whether the message is for this application. It may be called from
	// any goroutine, and looks at the message only.
	Takes(m *hl7.Message) bool
	// Decide says the verdict on a message, and adds to b what the message changes,
	// which is committed together with its journal entry, all or nothing. A repeat
	// (the same link, MSH-10 and bytes) never comes here: it gets the stored answer.
	// An error means that nothing could be decided: nothing is stored, the Decision is
	// not looked at, and the sender is asked to come again.
	//
	// Messages of one link come one after the other, those of several at once. What
	// must not change until the commit may be locked until Decision.End is called.
	Decide(ctx context.Context, r Incoming, b *storage.Batch) (Decision, error)
}

// Incoming is a message of a link on its way into the store.
type Incoming struct {
	Link    string // the name of the [[hl7_peer]]
	Peer    string // its address
	At      time.Time
	Message *hl7.Message
	Entry   storage.Entry // the journal entry in the batch, for PutRef
}

// A Decision is what an Application thinks of a message.
type Decision struct {
	// Verdict is what the application answer says. AR: nothing of the batch is
	// stored, and the message is counted as refused.
	Verdict ack.Verdict
	// Segments stand behind MSA and ERR of the application answer, in the character set
	// and with the delimiters of the message, each with its CR.
	Segments []byte
	// Held is why the message waits for a person; zero: it does not.
	Held    reason.Reason
	Subject string // what a person looks for, where it is held
	// Consumed is the kind under which a message ends here that goes on to no
	// destination; empty: it goes where [[hl7_peer]] to says.
	Consumed string
	// End is called once, when the batch is committed (nil), or is not: then what was
	// decided is to be forgotten. It may be nil.
	End func(storage.Receipt, error)
}

// ErrRefused is what Decision.End gets where its verdict was AR.
var ErrRefused = errors.New("intake: the application refused the message")

// Decided stores a message on which an Application decides, with the answer that
// answer makes of the decision, and returns the answer: the stored one for a
// repeat. What answer adds to the batch is committed too; refused says that nothing
// is stored, and the answer is not kept. An error of answer stores nothing.
func (in *Intake) Decided(ctx context.Context, a Application, r Incoming, attrs map[string]string, answer func(Decision, *storage.Batch) ([]byte, error)) (sent []byte, refused bool, err error) {
	frame := r.Message.Bytes()
	of := digest([]byte(r.Message.ControlID()), frame)
	l := in.link(r.Link)
	l.Lock()
	defer l.Unlock()
	stored, ok, err := in.store.Get(answerKey(r.Link, of))
	if err != nil {
		return nil, false, err
	}
	e, err := in.entry(KindHL7, r.Link, r.Peer, frame)
	if err != nil {
		return nil, false, err
	}
	e.Attrs = attrs
	if ok {
		return stored, false, in.repeated(ctx, e, of)
	}
	b := new(storage.Batch)
	b.For(diskguard.Results)
	r.At, r.Entry = e.At, Journal(b, Channel(r.Link), e)
	d, err := a.Decide(ctx, r, b)
	if err != nil {
		return nil, false, errors.Join(fmt.Errorf("intake: not decided: %w", err), in.forget(e))
	}
	end := d.End
	if end == nil {
		end = func(storage.Receipt, error) {}
	}
	if d.Verdict.Code == hl7.ApplicationReject {
		end(storage.Receipt{}, ErrRefused)
		sent, err := answer(d, new(storage.Batch))
		return sent, true, errors.Join(err, in.forget(e))
	}
	decided(b, e, r.Entry, d)
	if sent, err = answer(d, b); err != nil {
		end(storage.Receipt{}, err)
		return nil, false, errors.Join(err, in.forget(e))
	}
	b.Put(answerKey(r.Link, of), sent)
	receipt, err := in.store.Commit(ctx, b)
	end(receipt, err)
	if err != nil {
		return nil, false, err
	}
	in.recent.remember(receipt.Entry(r.Entry), e)
	return sent, false, nil
}

// decided adds where a message goes that an Application has decided on.
func decided(b *storage.Batch, e Entry, j storage.Entry, d Decision) {
	b.Add(CountAccepted, 1)
	b.Add(CountIntake+string(e.Kind), 1)
	switch {
	case !d.Held.IsZero():
		b.Enqueue(HeldQueue, e.Connection, HeldTicket{Subject: d.Subject, Reason: d.Held, Since: e.At}.Encode(), j)
		b.Add(CountHeld, 1)
		return
	case d.Consumed != "":
		b.Enqueue(Interpret, e.Connection, []byte(ends+d.Consumed), j)
	default:
		b.Enqueue(Interpret, e.Connection, nil, j)
	}
	b.Add(CountQueued, 1)
}

// ends begins the value of an item in Interpret of a message that goes on to no
// destination: its kind follows.
const ends = "ends/"

// Ends is the kind under which the message of an item in Interpret ends, where an
// Application has said so.
func Ends(value []byte) (kind string, ok bool) {
	if len(value) <= len(ends) || string(value[:len(ends)]) != ends {
		return "", false
	}
	return string(value[len(ends):]), true
}

// repeated stores the entry of a repeat.
func (in *Intake) repeated(ctx context.Context, e Entry, of string) error {
	b := new(storage.Batch)
	repeat(b, e, of)
	if _, err := in.store.Commit(ctx, b); err != nil {
		return err
	}
	return in.forget(e) // a crash before leaves an orphan
}

// forget removes what an entry that is not stored has put into the spool.
func (in *Intake) forget(e Entry) error {
	if e.Spool == nil {
		return nil
	}
	return in.store.Spool().Remove(*e.Spool)
}

// Stored reports whether a link has sent the same message before: the same MSH-10 and
// bytes.
func (in *Intake) Stored(link string, m *hl7.Message) (bool, error) {
	_, ok, err := in.store.Get(answerKey(link, digest([]byte(m.ControlID()), m.Bytes())))
	return ok, err
}

// Aside is a message that is stored together with another one and goes nowhere: kind
// is under which it is counted. What it returns adds it to the batch of the other one,
// with the answer that a repeat of it gets.
func (in *Intake) Aside(link, peer string, m *hl7.Message, attrs map[string]string, kind string) (func(b *storage.Batch, answer []byte) error, error) {
	frame := m.Bytes()
	e, err := in.entry(KindHL7, link, peer, frame)
	if err != nil {
		return nil, err
	}
	e.Attrs = attrs
	of := digest([]byte(m.ControlID()), frame)
	return func(b *storage.Batch, answer []byte) error {
		decided(b, e, Journal(b, Channel(link), e), Decision{Consumed: kind})
		b.Put(answerKey(link, of), answer)
		return nil
	}, nil
}
