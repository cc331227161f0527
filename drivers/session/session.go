// Package session is the shell of the protocols that have a pure core of this form:
// bytes and timers in, actions out. Serve puts a core on a port.Conn. It knows no
// protocol; LIS01 (drivers/astm/e1381) and MLLP (hl7/mllp) have shells of their own.
package session

import (
	"context"
	"time"

	"nhip/gateway/record"
)

// A Core is the state of one conversation, without I/O, clock or goroutine. The
// actions are carried out in their order, and the order is the guarantee: Store
// stands before the Send that acknowledges. When a Store fails the rest is dropped
// and StoreFailed says what to do instead.
type Core interface {
	// Receive takes bytes up to the first that needs actions and says how many it
	// took.
	Receive(p []byte) (n int, actions []Action)
	// TimedOut is called when the timer of the last Wait has run out.
	TimedOut() []Action
	// StoreFailed is called in place of the actions behind a Store that failed.
	StoreFailed() []Action
	// Answered brings the work that was asked for by Ask. ok is false where there is
	// no answer: the orders could not be read in time.
	Answered(work []record.Work, ok bool) []Action
	// Cut is called when the line is gone or given up; reason in words.
	Cut(reason string) []Action
	// Idle is true between two messages.
	Idle() bool
}

// An Action is what the shell has to do.
type Action interface{ action() }

type (
	// Send: write these bytes. Why says in words why something is refused.
	Send struct {
		Bytes []byte
		Why   string
	}
	// Store: one durable commit of all these messages. Forever: the protocol cannot
	// refuse a message, so a Store that failed is tried again until it is done; what
	// the device sends meanwhile waits on the line.
	Store struct {
		Messages [][]byte
		Forever  bool
	}
	// Incomplete: what came of a message that was not finished, never a result.
	Incomplete struct {
		Message []byte
		Reason  string
	}
	// Ended: the device has seen our last acknowledgement; the same bytes from now on
	// are a deliberate resend.
	Ended struct{}
	// Wait: start the timer anew and call TimedOut when it has run out. Zero: stop it.
	Wait struct{ For time.Duration }
	// Ask: look up the work for a query, which has to be answered within a time, and
	// call Answered. It is the last of its actions.
	Ask struct {
		Query  record.Query
		Within time.Duration
	}
	// Sent: the answer to the last Ask is with the device, acknowledged by the link.
	Sent struct{}
	// Unsent: it is not, and why, in words.
	Unsent struct{ Reason string }
	// Close: the conversation is over, close the connection.
	Close struct{ Reason string }
)

func (Send) action()       {}
func (Store) action()      {}
func (Incomplete) action() {}
func (Ended) action()      {}
func (Wait) action()       {}
func (Ask) action()        {}
func (Sent) action()       {}
func (Unsent) action()     {}
func (Close) action()      {}

// A Handler is what the owner of a connection does with what comes.
type Handler interface {
	// Store makes all messages durable in one commit.
	Store(ctx context.Context, messages [][]byte) error
	// Incomplete keeps what came of an unfinished message.
	Incomplete(ctx context.Context, message []byte, reason string) error
	// Ended is the action of this name.
	Ended(ctx context.Context) error
}

// Orders is where the work of an analyser is looked up: what the laboratory ordered,
// by the codes of the analyser, newest and uncancelled versions only. ctx ends at the
// analyser's deadline. Nothing for a specimen, and no error, means that there is no
// order for it; an error means that nobody knows, and nothing is answered.
type Orders interface {
	Work(ctx context.Context, q record.Query) ([]record.Work, error)
	// Handed says what became of an answer: err is nil when the analyser has
	// acknowledged it on the link, which is not yet that it runs it.
	Handed(q record.Query, work []record.Work, err error)
}
