package e1381

import (
	"errors"
	"slices"
	"sync"
)

// An Outgoing is one message to the instrument, in one session of its own.
type Outgoing struct {
	// Frames are what is sent; nil: Make says it when the instrument has accepted the
	// bid, right before the first frame, so that nothing that waited is sent in an older
	// form. It has to be quick. No frames: the session is ended with nothing in it.
	Frames []Frame
	Make   func() []Frame
	// Done is told once what became of it: nil when every frame was acknowledged and
	// EOT was sent, a *FailedError when not.
	Done func(error)
}

// A Waiting is a message in the outbox.
type Waiting struct {
	box *Outbox
	out Outgoing
}

// Withdraw takes a message back that has not been begun, and reports whether it did:
// then Done is not called.
func (w *Waiting) Withdraw() bool {
	w.box.mu.Lock()
	defer w.box.mu.Unlock()
	i := slices.Index(w.box.queue, w)
	if i >= 0 {
		w.box.queue = slices.Delete(w.box.queue, i, i+1)
	}
	return i >= 0
}

// An Outbox is what is to be sent on one connection, in its order. Several goroutines
// may put into it; Serve takes out. The zero value is ready.
type Outbox struct {
	mu     sync.Mutex
	queue  []*Waiting
	closed bool
	wake   chan struct{}
}

// mostQueued is how many messages may wait on one connection.
const mostQueued = 64

// Errors of Put.
var (
	ErrOutboxClosed = errors.New("e1381: the connection has ended")
	ErrOutboxFull   = errors.New("e1381: too many messages wait to be sent")
	ErrNoFrames     = errors.New("e1381: a message without frames")
)

// Put adds a message. Where it returns an error Done is not called.
func (b *Outbox) Put(o Outgoing) error {
	_, err := b.Add(o)
	return err
}

// Add is Put, for a message that may be withdrawn.
func (b *Outbox) Add(o Outgoing) (*Waiting, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return nil, ErrOutboxClosed
	case len(o.Frames) == 0 && o.Make == nil:
		return nil, ErrNoFrames
	case len(b.queue) >= mostQueued:
		return nil, ErrOutboxFull
	}
	w := &Waiting{b, o}
	b.queue = append(b.queue, w)
	select {
	case b.signal() <- struct{}{}:
	default:
	}
	return w, nil
}

// signal is the channel that says that there is something; mu is held.
func (b *Outbox) signal() chan struct{} {
	if b.wake == nil {
		b.wake = make(chan struct{}, 1)
	}
	return b.wake
}

func (b *Outbox) ready() <-chan struct{} {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.signal()
}

func (b *Outbox) take() (Outgoing, bool) {
	if b == nil {
		return Outgoing{}, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 {
		return Outgoing{}, false
	}
	o := b.queue[0].out
	b.queue = b.queue[1:]
	return o, true
}

// close ends the outbox and tells everybody who waits.
func (b *Outbox) close(err error) {
	if b == nil {
		return
	}
	b.mu.Lock()
	queue := b.queue
	b.queue, b.closed = nil, true
	b.mu.Unlock()
	for _, w := range queue {
		w.out.Done(err)
	}
}
