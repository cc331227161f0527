package textline

import (
	"bytes"
	"fmt"
	"time"

	"nhip/drivers/session"
	"nhip/gateway/record"
)

const (
	maxMessage = 1 << 20          // characters of a message
	endTime    = 30 * time.Second // for the end of a message that has one
)

// A Receiver cuts what a device prints into messages. It is a session.Core.
type Receiver struct {
	f       *Format
	inside  bool
	message []byte // since Begin, without it
	mark    []byte // the last bytes, as far as they may be Begin
	full    bool   // over the limit: ignored until the next Begin
	unseen  session.Unseen
}

var _ session.Core = (*Receiver)(nil)

// NewReceiver returns a receiver between two messages. The format must be checked.
func NewReceiver(f *Format) *Receiver { return &Receiver{f: f} }

// Idle is true between two messages.
func (r *Receiver) Idle() bool { return !r.inside }

// Receive takes bytes up to the first that needs actions.
func (r *Receiver) Receive(p []byte) (int, []session.Action) {
	for n, b := range p {
		if actions := r.character(b); actions != nil {
			return n + 1, actions
		}
	}
	if r.inside {
		return len(p), []session.Action{session.Wait{For: r.silence()}}
	}
	return len(p), nil
}

func (r *Receiver) silence() time.Duration {
	if r.f.Silence > 0 {
		return time.Duration(r.f.Silence)
	}
	return endTime
}

func (r *Receiver) character(b byte) []session.Action {
	if begun := r.begins(b); begun != nil || !r.inside {
		return begun
	}
	if r.full {
		return nil
	}
	if len(r.message) == maxMessage {
		r.full = true
		return r.giveUp(fmt.Sprintf("message over %d characters", maxMessage))
	}
	r.message = append(r.message, b)
	if len(r.f.End) > 0 && bytes.HasSuffix(r.message, r.f.End) {
		r.message = r.message[:len(r.message)-len(r.f.End)]
		return r.store()
	}
	return nil
}

// begins looks for the beginning of a message; one within a message gives up what
// came of that.
func (r *Receiver) begins(b byte) []session.Action {
	if len(r.f.Begin) == 0 {
		if !r.inside && b > ' ' && b != 0x7F {
			r.inside, r.full = true, false
		}
		return nil
	}
	r.mark = append(r.mark, b)
	if len(r.mark) > len(r.f.Begin) {
		r.mark = r.mark[1:]
	}
	if !bytes.Equal(r.mark, r.f.Begin) {
		return nil
	}
	r.mark = r.mark[:0]
	actions := []session.Action{session.Wait{For: r.silence()}}
	if r.inside && !r.full {
		// The bytes of Begin but the last are in the message already.
		r.message = r.message[:max(0, len(r.message)-len(r.f.Begin)+1)]
		actions = append(r.incomplete("the next message began before the end of this one"), actions...)
	}
	r.inside, r.full, r.message = true, false, r.message[:0]
	return actions
}

func (r *Receiver) store() []session.Action {
	message := bytes.Clone(r.message)
	r.inside, r.message = false, r.message[:0]
	actions := []session.Action{session.Wait{}}
	if len(bytes.TrimSpace(message)) == 0 {
		return actions
	}
	store := session.Store{Messages: [][]byte{message}, Forever: len(r.f.Nak) == 0}
	if len(r.f.Ack) == 0 { // nothing to lose: the same again is printed again
		return append(actions, store, session.Ended{})
	}
	actions = append(actions, r.unseen.Before(message)...)
	return append(actions, store, session.Send{Bytes: r.f.Ack})
}

// StoreFailed refuses the message, where the protocol can.
func (r *Receiver) StoreFailed() []session.Action {
	if len(r.f.Nak) == 0 {
		return nil
	}
	return []session.Action{session.Send{Bytes: r.f.Nak, Why: "not stored"}}
}

// TimedOut ends a message by silence, or gives it up.
func (r *Receiver) TimedOut() []session.Action {
	switch {
	case !r.inside:
		return nil
	case r.full:
		r.inside = false
		return nil
	case len(r.f.End) == 0:
		return r.store()
	}
	return r.giveUp(fmt.Sprintf("no end of the message for %v", r.silence()))
}

// Cut hands over what came of a message.
func (r *Receiver) Cut(reason string) []session.Action {
	if !r.inside || r.full {
		return nil
	}
	return r.giveUp(reason)
}

func (r *Receiver) giveUp(reason string) []session.Action {
	actions := r.incomplete(reason)
	r.message = r.message[:0]
	if r.full { // the rest of it is still to come
		return append(actions, session.Wait{For: r.silence()})
	}
	r.inside = false
	return append(actions, session.Wait{})
}

func (r *Receiver) incomplete(reason string) []session.Action {
	if len(bytes.TrimSpace(r.message)) == 0 {
		return nil
	}
	return []session.Action{session.Incomplete{Message: bytes.Clone(r.message), Reason: reason}}
}

// Answered: a device that prints asks for nothing.
func (r *Receiver) Answered([]record.Work, bool) []session.Action { return nil }
