package run

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"nhip/gateway/config"
	"nhip/gateway/delivery"
	"nhip/gateway/interpret"
	"nhip/gateway/lis"
	"nhip/gateway/reason"
	"nhip/hl7"
	"nhip/storage"
)

// hl7Sender is one connection to a destination of kind "hl7".
func (g *Gateway) hl7Sender(d config.Destination) delivery.Sender {
	o := lis.SenderOptions{
		Address: d.Address, Connect: d.ConnectTimeout, Answer: d.AnswerTimeout, Release2: d.MLLP == 2, User: d.User, Body: g.body,
		Enhanced: d.Mode == config.ModeEnhanced, CommitSettles: d.SettledBy == config.SettledByAccept, ControlID: g.ackID.next,
		Later: func(ctx context.Context, a hl7.Acknowledgement, answer []byte) bool {
			settled, err := g.acknowledged(ctx, []string{d.Name}, a, answer)
			if err != nil {
				g.log.Error("an acknowledgement could not be taken", "destination", d.Name, "error", err)
			}
			return settled
		},
	}
	var err error
	if o.Password, err = d.Password(); err == nil {
		o.TLS, err = clientTLS(d)
	}
	if err != nil { // the configuration was checked: a file has gone since
		g.log.Error("destination not usable", "destination", d.Name, "error", err)
		return unusable{reason.Text(err.Error())}
	}
	if d.Sequence {
		o.Numbers = &sentNumbers{store: g.store, key: "sequence/out/" + d.Name}
	}
	return lis.NewSender(o)
}

// clientTLS is nil for a destination without TLS.
func clientTLS(d config.Destination) (*tls.Config, error) {
	if d.TLS == config.CertificateNone && !strings.HasPrefix(d.Address, "https://") {
		return nil, nil
	}
	return d.Certificates().Client(d.Host())
}

// unusable is the Sender of a destination that nothing can be sent to as it is
// configured.
type unusable struct{ why reason.Reason }

// Send is delivery.Sender.
func (u unusable) Send(context.Context, delivery.Item) delivery.Event {
	return delivery.Event{Kind: delivery.NotSent, Why: u.why}
}

// Close is delivery.Sender.
func (unusable) Close() {}

// acknowledged gives an application acknowledgement to the destinations that wait for
// one, and reports whether it settled a message.
func (g *Gateway) acknowledged(ctx context.Context, destinations []string, a hl7.Acknowledgement, answer []byte) (bool, error) {
	e, ok := lis.Processed(a, answer)
	if !ok {
		return false, nil
	}
	for _, name := range destinations {
		settled, err := g.workers[name].Answered(ctx, a.MessageControlID, e)
		if settled || err != nil {
			return settled, err
		}
	}
	return false, nil
}

// finishes are what the links to destinations want of messages.
func finishes(all []config.Destination) map[string]interpret.Finish {
	f := map[string]interpret.Finish{}
	for _, d := range all {
		if d.Kind == config.KindHL7 && (d.Charset != "" || d.Mode == config.ModeEnhanced) {
			f[d.Name] = func(body []byte, charset hl7.CharsetRule, ours bool) ([]byte, error) {
				return finish(d, body, charset, ours)
			}
		}
	}
	return f
}

// finish makes of a message what a destination wants.
func finish(d config.Destination, body []byte, charset hl7.CharsetRule, ours bool) ([]byte, error) {
	m, err := hl7.Parse(bytes.Clone(body))
	if err != nil {
		return nil, err
	}
	if err := m.UseCharset(charset); err != nil {
		return nil, err
	}
	if ours && d.Mode == config.ModeEnhanced && !m.IsAcknowledgement() {
		if err := errors.Join(m.Set("MSH-15", string(hl7.Always)), m.Set("MSH-16", string(hl7.Always))); err != nil {
			return nil, err
		}
	}
	if d.Charset == "" {
		return m.Bytes(), nil
	}
	return m.Transcode(d.Charset)
}

// sentNumbers are the sequence numbers of a destination. The next one is on disk
// before one is used, so that none is given to two messages.
type sentNumbers struct {
	store *storage.Store
	key   string

	mu   sync.Mutex
	read bool
	next int64
	mark string // of the message that has next-1
}

// storedNumber is the value under the key of sentNumbers.
type storedNumber struct {
	Version int   `json:"v"`
	Next    int64 `json:"next"`
}

// Take is lis.Numbers.
func (n *sentNumbers) Take(ctx context.Context, mark string) (int64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.load(); err != nil {
		return 0, err
	}
	if mark == n.mark && mark != "" {
		return n.next - 1, nil
	}
	if err := n.put(ctx, n.next+1); err != nil {
		return 0, err
	}
	n.mark = mark
	return n.next - 1, nil
}

// Expected is lis.Numbers.
func (n *sentNumbers) Expected(ctx context.Context, number int64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mark = ""
	return n.put(ctx, number)
}

func (n *sentNumbers) load() error {
	if n.read {
		return nil
	}
	b, ok, err := n.store.Get(n.key)
	if err != nil {
		return err
	}
	stored := storedNumber{Version: 1, Next: 1}
	if ok {
		if err := json.Unmarshal(b, &stored); err != nil {
			return fmt.Errorf("sequence number: %w", err)
		}
	}
	if stored.Version != 1 || stored.Next < 1 {
		return fmt.Errorf("sequence number: stored version %d, next %d", stored.Version, stored.Next)
	}
	n.next, n.read = stored.Next, true
	return nil
}

// put stores which number is next; n.mu is held.
func (n *sentNumbers) put(ctx context.Context, next int64) error {
	v, err := json.Marshal(storedNumber{1, next})
	if err != nil {
		return err
	}
	b := new(storage.Batch)
	b.Put(n.key, v)
	if _, err := n.store.Commit(context.WithoutCancel(ctx), b); err != nil {
		return err
	}
	n.next = next
	return nil
}
