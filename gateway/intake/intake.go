package intake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"nhip/gateway/reason"
	"nhip/storage"
	"nhip/storage/diskguard"
	"nhip/storage/spool"
)

// The queues that intake writes to.
const (
	Interpret = "interpret" // what has to be understood and routed
	HeldQueue = "held"      // what waits for a person before it has a destination
)

// The counters of the conservation sum that intake changes:
// accepted = delivered + queued + held + discarded + expired + consumed.
// Consumed is counted by kind, "consumed/duplicate" and so on. Refused is
// counted apart.
const (
	CountAccepted  = "accepted"
	CountQueued    = "queued"
	CountHeld      = "held"
	CountRefused   = "refused"
	CountConsumed  = "consumed/" // + kind
	CountIntake    = "received/" // + kind of entry; messages as they came, for people
	ConsumedRepeat = CountConsumed + "duplicate"
)

// Again is the value of an item in Interpret that was interpreted before and
// released by a person. The others have none.
var Again = []byte("again")

// Channel is the journal channel of what a connection sends to us.
func Channel(connection string) string { return "in/" + connection }

// inline is the largest body that is kept in the journal itself; larger ones
// go to the spool first.
const inline = 192 << 10

// A HeldTicket is the value of an item in HeldQueue.
type HeldTicket struct {
	Subject string        `json:"subject,omitempty"` // specimen, SOP Instance UID, message type: what a person looks for
	Reason  reason.Reason `json:"why"`
	Since   time.Time     `json:"since"`
	For                   // zero: all of the entry is held
}

// Encode is the stored form.
func (t HeldTicket) Encode() []byte {
	b, err := json.Marshal(t)
	if err != nil {
		panic(err) // no value of this struct fails to marshal
	}
	return b
}

// DecodeHeldTicket reads what Encode wrote.
func DecodeHeldTicket(b []byte) (HeldTicket, error) {
	var t HeldTicket
	if err := json.Unmarshal(b, &t); err != nil {
		return HeldTicket{}, fmt.Errorf("intake: held item: %w", err)
	}
	return t, nil
}

// An Intake stores what the shells of the drivers receive.
type Intake struct {
	// Now is the clock, which people and NTP set: its times are noted and decide
	// nothing.
	Now func() time.Time

	store *storage.Store
	log   *slog.Logger

	mu    sync.Mutex
	links map[string]*link
	clock map[string]time.Time // of the newest entry of a channel

	recent recent
}

// New returns an Intake over a store.
func New(s *storage.Store, log *slog.Logger) *Intake {
	return &Intake{store: s, log: log, Now: time.Now, links: map[string]*link{}, clock: map[string]time.Time{}}
}

// A link is what intake remembers of one connection of the configuration.
// Its lock makes "seen before?" and the commit that follows one step, also
// while an old TCP connection drains beside its successor.
type link struct {
	sync.Mutex
	open map[string]bool // ASTM messages whose session we did not see end; nil: not read yet
}

func (in *Intake) link(name string) *link {
	in.mu.Lock()
	defer in.mu.Unlock()
	l := in.links[name]
	if l == nil {
		l = new(link)
		in.links[name] = l
	}
	return l
}

// entry makes the Entry of a body, which goes to the spool when it is large.
func (in *Intake) entry(kind Kind, connection, peer string, body []byte) (Entry, error) {
	if err := in.store.Room(diskguard.Results); err != nil {
		return Entry{}, err
	}
	e := Entry{Kind: kind, Fate: Received, Connection: connection, Peer: peer, At: in.Now().UTC().Round(0), Body: body}
	e.Seal()
	var err error
	if e.ClockBack, err = in.Clock(Channel(connection), e.At); err != nil {
		return Entry{}, err
	}
	if len(body) <= inline {
		return e, nil
	}
	return in.spooled(e)
}

// Body is the bytes of an entry, from the journal or from the spool, checked
// against their hash.
func Body(s *storage.Store, e Entry) ([]byte, error) {
	if e.Spool == nil {
		return e.Body, nil
	}
	return readSpool(s.Spool(), *e.Spool)
}

func readSpool(sp *spool.Spool, ref spool.Ref) ([]byte, error) {
	r, err := sp.Open(ref)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b := make([]byte, ref.Length)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	if sha256.Sum256(b) != ref.SHA256 {
		return nil, errors.New("intake: a spooled message is damaged: its SHA-256 is not the stored one")
	}
	return b, nil
}

// accept adds an entry that is to be interpreted.
func accept(b *storage.Batch, e Entry) storage.Entry {
	b.For(diskguard.Results)
	j := Journal(b, Channel(e.Connection), e)
	b.Enqueue(Interpret, e.Connection, nil, j)
	b.Add(CountAccepted, 1)
	b.Add(CountQueued, 1)
	b.Add(CountIntake+string(e.Kind), 1)
	return j
}

// hold adds an entry that waits for a person.
func (in *Intake) hold(b *storage.Batch, e Entry, subject string, why reason.Reason) storage.Entry {
	b.For(diskguard.Results)
	e.Why = why
	j := Journal(b, Channel(e.Connection), e)
	b.Enqueue(HeldQueue, e.Connection, HeldTicket{Subject: subject, Reason: why, Since: e.At}.Encode(), j)
	b.Add(CountAccepted, 1)
	b.Add(CountHeld, 1)
	b.Add(CountIntake+string(e.Kind), 1)
	return j
}

// repeat adds an entry for what we have already; the bytes are not kept twice.
func repeat(b *storage.Batch, e Entry, of string) {
	b.For(diskguard.Results)
	e.Fate, e.Body, e.Spool = Repeat, nil, nil
	if e.Attrs == nil {
		e.Attrs = map[string]string{}
	}
	e.Attrs["of"] = of
	Journal(b, Channel(e.Connection), e)
	b.Add(CountAccepted, 1)
	b.Add(ConsumedRepeat, 1)
	b.Add(CountIntake+string(e.Kind), 1)
}

// Hold stores something that cannot be used, with the reason.
func (in *Intake) Hold(ctx context.Context, kind Kind, connection, peer string, body []byte, subject string, why reason.Reason) error {
	e, err := in.entry(kind, connection, peer, body)
	if err != nil {
		return err
	}
	e.Fate = Unusable
	b := new(storage.Batch)
	in.hold(b, e, subject, why)
	_, err = in.store.Commit(ctx, b)
	return err
}

// Refused counts what was refused.
func (in *Intake) Refused(ctx context.Context, n int64) error {
	b := new(storage.Batch)
	b.Add(CountRefused, n)
	_, err := in.store.Commit(ctx, b)
	return err
}

// Observation stores one line of a serial monitor, or one publish of a
// record-class MQTT user.
func (in *Intake) Observation(ctx context.Context, kind Kind, connection, peer string, body []byte, attrs map[string]string) error {
	e, err := in.entry(kind, connection, peer, body)
	if err != nil {
		return err
	}
	e.Attrs = attrs
	b := new(storage.Batch)
	accept(b, e)
	_, err = in.store.Commit(ctx, b)
	return err
}

// digest is a short name for content in keys.
func digest(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Large puts a body into the spool; the Entry that it returns holds the
// reference.
func (in *Intake) Large(body []byte) (Entry, error) {
	return in.spooled(Entry{Body: body})
}

func (in *Intake) spooled(e Entry) (Entry, error) {
	w, err := in.store.Spool().Create()
	if err != nil {
		return Entry{}, err
	}
	if _, err := w.Write(e.Body); err != nil {
		w.Abort()
		return Entry{}, err
	}
	ref, err := w.Commit()
	if err != nil {
		return Entry{}, err
	}
	e.Spool, e.Body = &ref, nil
	return e, nil
}
