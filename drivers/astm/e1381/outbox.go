package e1381

import (
	"errors"
	"sync"
)

// An Outgoing is one message to the instrument, in one session of its own.
type Outgoing struct {
	Frames []Frame
	// Done is told once what became of it: nil when every frame was acknowledged and
	// EOT was sent, a *FailedError when not.
	Done func(error)
}

// An Outbox is what is to be sent on one connection, in its order. Several goroutines
// may put into it; Serve takes out. The zero value is ready.
type Outbox struct {
	mu     sync.Mutex
	queue  []Outgoing
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
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return ErrOutboxClosed
	case len(o.Frames) == 0:
		return ErrNoFrames
	case len(b.queue) >= mostQueued:
		return ErrOutboxFull
	}
	b.queue = append(b.queue, o)
	select {
	case b.signal() <- struct{}{}:
	default:
	}
	return nil
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
	o := b.queue[0]
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
	for _, o := range queue {
		o.Done(err)
	}
}
