package mllp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// ClientOptions are the rules for a Client. Zero means the default.
type ClientOptions struct {
	Address       string        // host:port
	DialTimeout   time.Duration // 10 s
	WriteTimeout  time.Duration // 30 s
	AnswerTimeout time.Duration // 30 s
	MaxFrame      int           // bytes of an answer; 16 MiB
	// Dial makes the connection; default TCP to Address, with a keep-alive every
	// three minutes, below what firewalls forget.
	Dial func(ctx context.Context) (net.Conn, error)
}

// Errors of Send, after each of which the connection is gone.
var (
	ErrNoAnswer  = errors.New("mllp: no answer in time")
	ErrClosed    = errors.New("mllp: the peer closed the connection")
	ErrUnframed  = errors.New("mllp: the message holds bytes that delimit frames")
	errUnwelcome = errors.New("mllp: a frame that nobody waited for")
)

// A Client sends messages over one connection, one at a time, and dials when it has
// none. After any error and any time-out the connection is dropped, so that an
// answer that comes late can never be taken for the answer to the next message. It
// is for one goroutine.
type Client struct {
	o    ClientOptions
	link *link
}

// NewClient makes a client; it dials with the first Send.
func NewClient(o ClientOptions) *Client {
	if o.DialTimeout == 0 {
		o.DialTimeout = 10 * time.Second
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 30 * time.Second
	}
	if o.AnswerTimeout == 0 {
		o.AnswerTimeout = 30 * time.Second
	}
	if o.MaxFrame == 0 {
		o.MaxFrame = 16 << 20
	}
	if o.Dial == nil {
		dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 3 * time.Minute, Interval: 30 * time.Second, Count: 4}}
		o.Dial = func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", o.Address) }
	}
	return &Client{o: o}
}

// Send writes the message in one frame and returns the next frame that comes back,
// whatever it says: hl7.ParseAck and hl7.Settles tell. Where the answer is for
// another message, Close the client, so that the next Send dials anew.
//
// An error before the message was written whole may, and any later one does, leave
// open whether the peer has it.
func (c *Client) Send(ctx context.Context, message []byte) (answer []byte, err error) {
	if bytes.IndexByte(message, startBlock) >= 0 || bytes.IndexByte(message, endBlock) >= 0 {
		return nil, ErrUnframed
	}
	if err := c.Connect(ctx); err != nil {
		return nil, err
	}
	answer, err = c.exchange(ctx, message)
	if err != nil {
		c.Close()
		return nil, err
	}
	return answer, nil
}

// Connect dials unless there is a connection on which nothing has happened since
// the last answer. Send does it too.
func (c *Client) Connect(ctx context.Context) error {
	if c.link != nil && !c.link.quiet() {
		c.Close()
	}
	if c.link != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.DialTimeout)
	defer cancel()
	conn, err := c.o.Dial(ctx)
	if err != nil {
		return fmt.Errorf("mllp: %w", err)
	}
	c.link = newLink(conn, c.o.MaxFrame)
	return nil
}

func (c *Client) exchange(ctx context.Context, message []byte) ([]byte, error) {
	conn := c.link.conn
	if err := conn.SetWriteDeadline(time.Now().Add(c.o.WriteTimeout)); err != nil {
		return nil, fmt.Errorf("mllp: %w", err)
	}
	// The end of ctx ends a Write in progress.
	stop := context.AfterFunc(ctx, func() { conn.SetWriteDeadline(time.Unix(1, 0)) })
	_, err := conn.Write(AppendFrame(make([]byte, 0, len(message)+3), message))
	stop()
	if err != nil {
		return nil, fmt.Errorf("mllp: %w", err)
	}
	timer := time.NewTimer(c.o.AnswerTimeout)
	defer timer.Stop()
	select {
	case answer := <-c.link.frames:
		return answer, nil
	case <-c.link.done:
		return c.link.last()
	case <-timer.C:
		return nil, ErrNoAnswer
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Close drops the connection. The next Send makes another one.
func (c *Client) Close() error {
	if c.link == nil {
		return nil
	}
	err := c.link.close()
	c.link = nil
	return err
}

// A link is one connection with the goroutine that reads from it all the time, so
// that the peer's end of it is noticed before the next message is written.
type link struct {
	conn   net.Conn
	frames chan []byte   // at most one waits
	done   chan struct{} // closed when the reader has ended
	err    error         // why; read after done
}

func newLink(conn net.Conn, maxFrame int) *link {
	l := &link{conn: conn, frames: make(chan []byte, 1), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		l.err = l.read(NewReceiver(maxFrame))
	}()
	return l
}

func (l *link) read(receiver *Receiver) error {
	buffer := make([]byte, 4096)
	for {
		if err := l.setDeadline(receiver.Timer()); err != nil {
			return err
		}
		n, err := l.conn.Read(buffer)
		events := receiver.Receive(buffer[:n])
		if err != nil {
			events = append(events, receiver.TimedOut()...)
		}
		if err := l.pass(events); err != nil {
			return err
		}
		var timeout net.Error
		if err != nil && !(errors.As(err, &timeout) && timeout.Timeout()) {
			return err
		}
	}
}

func (l *link) setDeadline(d time.Duration) error {
	if d == 0 {
		return l.conn.SetReadDeadline(time.Time{})
	}
	return l.conn.SetReadDeadline(time.Now().Add(d))
}

func (l *link) pass(events []Event) error {
	for _, event := range events {
		switch e := event.(type) {
		case Frame:
			select {
			case l.frames <- e.Content:
			default:
				return errUnwelcome
			}
		case TooLong:
			return ErrTooLong
		case Foreign:
			return fmt.Errorf("%w: %s", ErrForeign, e.Protocol)
		}
	}
	return nil
}

// quiet says whether the connection is open and nothing waits in it.
func (l *link) quiet() bool {
	select {
	case <-l.done:
		return false
	default:
		return len(l.frames) == 0
	}
}

// last is what a link that has ended leaves: the answer that came with its end, or
// the reason.
func (l *link) last() ([]byte, error) {
	select {
	case answer := <-l.frames:
		return answer, nil
	default:
	}
	if errors.Is(l.err, io.EOF) {
		return nil, ErrClosed
	}
	return nil, fmt.Errorf("mllp: %w", l.err)
}

func (l *link) close() error {
	err := l.conn.Close()
	<-l.done
	return err
}
