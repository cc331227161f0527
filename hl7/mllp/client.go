package mllp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"nhip/hl7"
)

// ClientOptions are the rules for a Client. Zero means the default.
type ClientOptions struct {
	Address       string        // host:port
	DialTimeout   time.Duration // with the handshake of TLS; 10 s
	WriteTimeout  time.Duration // 30 s
	AnswerTimeout time.Duration // 30 s
	MaxFrame      int           // bytes of an answer; 16 MiB
	TLS           *tls.Config   // of Certificates.Client; nil: none
	// Dial makes the connection; default TCP to Address, with KeepAlive.
	Dial func(ctx context.Context) (net.Conn, error)
	// Release2 speaks release 2: a message counts as sent when the peer has committed
	// it, and every frame that comes is committed.
	Release2 bool
	// Other takes a frame that is not the answer to the message in flight, such as an
	// application acknowledgement that follows an accept acknowledgement, and returns
	// what is to be written back; nil for nothing. An error ends the connection. It is
	// called from a goroutine of the client and must return soon. Where it is nil, a
	// frame that nobody waits for ends the connection.
	Other func(frame []byte) (reply []byte, err error)
}

// KeepAlive is the keep-alive of the links, below the ten minutes after which
// firewalls forget a connection.
var KeepAlive = net.KeepAliveConfig{Enable: true, Idle: 3 * time.Minute, Interval: 30 * time.Second, Count: 4}

// Errors of Send, after each of which but ErrUnframed and ErrNotCommitted the
// connection is gone.
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
		dialer := net.Dialer{KeepAliveConfig: KeepAlive}
		o.Dial = func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", o.Address) }
	}
	return &Client{o: o}
}

// Send writes the message in one frame and returns the next frame that comes back,
// whatever it says: hl7.ParseAck and ack.Exchange tell. Where there is Other, the
// frames that acknowledge another message, or nothing, go there instead. Where the
// answer is for another message, Close the client, so that the next Send dials anew.
//
// An error before the message was written whole may, and any later one does, leave
// open whether the peer has it. ErrNotCommitted says that it has not.
func (c *Client) Send(ctx context.Context, message []byte) (answer []byte, err error) {
	return c.do(ctx, message, true)
}

// Post writes a message that asks for no answer. In release 2 it returns when the
// peer has committed it; otherwise nobody knows.
func (c *Client) Post(ctx context.Context, message []byte) error {
	_, err := c.do(ctx, message, false)
	return err
}

func (c *Client) do(ctx context.Context, message []byte, answered bool) ([]byte, error) {
	if unframed(message) {
		return nil, ErrUnframed
	}
	if err := c.connect(ctx); err != nil {
		return nil, err
	}
	answer, err := c.exchange(ctx, message, answered)
	if err != nil && !errors.Is(err, ErrNotCommitted) {
		c.Close()
	}
	return answer, err
}

func unframed(message []byte) bool {
	return bytes.IndexByte(message, startBlock) >= 0 || bytes.IndexByte(message, endBlock) >= 0
}

// Connect dials unless there is a connection on which nothing has happened since the
// last answer. Send does it by itself; before it, Connect tells a peer that is away
// from one that does not answer.
func (c *Client) Connect(ctx context.Context) error { return c.connect(ctx) }

func (c *Client) connect(ctx context.Context) error {
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
	if c.o.TLS != nil {
		secured := tls.Client(conn, c.o.TLS)
		if err := secured.HandshakeContext(ctx); err != nil {
			conn.Close()
			return fmt.Errorf("mllp: %w", err)
		}
		conn = secured
	}
	c.link = newLink(conn, c.o)
	return nil
}

// exchange writes the message and waits for what it is to be answered with.
func (c *Client) exchange(ctx context.Context, message []byte, answered bool) ([]byte, error) {
	if answered {
		c.link.await(message)
		defer c.link.await(nil)
	}
	if err := c.link.write(ctx, AppendFrame(make([]byte, 0, len(message)+3), message)); err != nil {
		return nil, err
	}
	timer := time.NewTimer(c.o.AnswerTimeout)
	defer timer.Stop()
	committed := !c.o.Release2
	for !committed || answered {
		select {
		case ok := <-c.link.commits:
			if !ok {
				return nil, ErrNotCommitted
			}
			committed = true
		case answer := <-c.link.frames:
			if !committed && !c.link.committed(true) {
				return nil, ErrNotCommitted
			}
			return answer, nil
		case <-c.link.done:
			if !answered && c.link.committed(false) {
				return nil, nil
			}
			return c.link.last()
		case <-timer.C:
			return nil, ErrNoAnswer
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return nil, nil
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
	o       ClientOptions
	conn    net.Conn
	frames  chan []byte   // at most one waits
	commits chan bool     // release 2; at most one waits
	done    chan struct{} // closed when the reader has ended
	err     error         // why; read after done

	writing sync.Mutex
	waiting sync.Mutex
	message []byte // whose answer is waited for; nil: none is
}

func newLink(conn net.Conn, o ClientOptions) *link {
	l := &link{o: o, conn: conn, frames: make(chan []byte, 1), commits: make(chan bool, 1), done: make(chan struct{})}
	receiver := NewReceiver(o.MaxFrame)
	if o.Release2 {
		receiver = NewReceiver2(o.MaxFrame)
	}
	go func() {
		defer close(l.done)
		l.err = l.read(receiver)
	}()
	return l
}

// await says for which message an answer is waited for.
func (l *link) await(message []byte) {
	l.waiting.Lock()
	defer l.waiting.Unlock()
	l.message = message
}

// write writes frames with one Write, which the end of ctx ends.
func (l *link) write(ctx context.Context, frames []byte) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.conn.SetWriteDeadline(time.Now().Add(l.o.WriteTimeout)); err != nil {
		return fmt.Errorf("mllp: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { l.conn.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := l.conn.Write(frames); err != nil {
		return fmt.Errorf("mllp: %w", err)
	}
	return nil
}

func (l *link) read(receiver *Receiver) error {
	buffer := make([]byte, 4096)
	for {
		l.setDeadline(receiver.Timer())
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

// setDeadline says until when to wait for the next byte. That it fails on a connection
// that has ended shows in Read.
func (l *link) setDeadline(d time.Duration) {
	until := time.Time{}
	if d > 0 {
		until = time.Now().Add(d)
	}
	l.conn.SetReadDeadline(until)
}

func (l *link) pass(events []Event) error {
	for _, event := range events {
		var err error
		switch e := event.(type) {
		case Frame:
			err = l.frame(e.Content)
		case Commit:
			select {
			case l.commits <- e.OK:
			default:
				err = errUnwelcome
			}
		case TooLong:
			err = ErrTooLong
		case Foreign:
			err = fmt.Errorf("%w: %s", ErrForeign, e.Protocol)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// frame gives a frame to who waits for it, or to Other; in release 2 it commits it
// first.
func (l *link) frame(content []byte) error {
	var out []byte
	if l.o.Release2 {
		out = commitFrame(true)
	}
	if l.o.Other == nil || l.isAnswer(content) {
		err := l.reply(out)
		select {
		case l.frames <- content:
		default:
			err = errUnwelcome
		}
		return err
	}
	reply, err := l.o.Other(content)
	if err != nil {
		return err
	}
	if len(reply) > 0 {
		out = AppendFrame(out, reply)
	}
	return l.reply(out)
}

func (l *link) reply(out []byte) error {
	if len(out) == 0 {
		return nil
	}
	return l.write(context.Background(), out)
}

// isAnswer says whether a frame answers the message in flight: it acknowledges it,
// or is no message, or an acknowledgement that does not say of what.
func (l *link) isAnswer(content []byte) bool {
	l.waiting.Lock()
	message := l.message
	l.waiting.Unlock()
	if message == nil {
		return false
	}
	answer, err := hl7.Parse(content)
	if err != nil {
		return true
	}
	if !answer.IsAcknowledgement() {
		return false
	}
	of := answer.Get("MSA-2")
	sent, _ := hl7.Parse(message)
	if of != "" && (sent == nil || of != sent.ControlID()) {
		return false
	}
	l.await(nil) // what follows is not for the one who waits
	return true
}

// quiet says whether the connection is open and nothing waits in it.
func (l *link) quiet() bool {
	select {
	case <-l.done:
		return false
	default:
		return len(l.frames) == 0 && len(l.commits) == 0
	}
}

// committed is the commit acknowledgement that has come, or otherwise where none has.
func (l *link) committed(otherwise bool) bool {
	select {
	case ok := <-l.commits:
		return ok
	default:
		return otherwise
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
