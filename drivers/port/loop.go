package port

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// A Machine is a conversation that Loop reads for: bytes go in, and it may set a timer.
type Machine interface {
	// Idle is true between two conversations: a connection that was superseded ends then.
	Idle() bool
	// Turn is called before every read; again says that it did something, and is to be
	// called once more before anything is read.
	Turn() (again bool, err error)
	// Received takes what was read.
	Received(p []byte) error
	// Timer is when TimedOut is due; zero: never. TimedOut stops the timer.
	Timer() time.Time
	TimedOut() error
}

// ErrSuperseded is returned by Loop when the device has a newer connection, see
// Superseded, and this one was between two conversations.
var ErrSuperseded = errors.New("the device has a newer connection")

// Loop reads c for m until the line is cut, ctx is done, c is superseded or m says an
// error, and says which. What comes on wake, which may be nil, has Turn called. It does
// not close c.
func Loop(ctx context.Context, c Conn, wake <-chan struct{}, m Machine) error {
	superseded := Superseded(c)
	stop := interrupt(ctx, c, superseded, wake)
	defer stop()
	buf := make([]byte, 4096)
	for {
		// The deadline first, the looks after it: interrupt sets a deadline in the past,
		// and one of the two then sees it.
		if err := c.SetReadDeadline(m.Timer()); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if m.Idle() && closed(superseded) {
			return ErrSuperseded
		}
		again, err := m.Turn()
		if err != nil {
			return err
		}
		if again {
			continue // with its timer
		}
		n, err := c.Read(buf)
		if err := m.Received(buf[:n]); err != nil {
			return err
		}
		switch timer := m.Timer(); {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if !timer.IsZero() && !time.Now().Before(timer) {
				if err := m.TimedOut(); err != nil {
					return err
				}
			}
		case err != nil:
			return fmt.Errorf("%s: %w", c.Peer(), err)
		}
	}
}

// interrupt frees the read when ctx is done, the connection is superseded or something
// comes on wake. The returned function ends and awaits it.
func interrupt(ctx context.Context, c Conn, superseded, wake <-chan struct{}) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			case <-superseded:
				superseded = nil
				c.SetReadDeadline(past)
			case <-wake:
				c.SetReadDeadline(past)
			case <-ctx.Done():
				c.SetReadDeadline(past)
				return
			}
		}
	}()
	return func() { close(quit); <-done }
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
