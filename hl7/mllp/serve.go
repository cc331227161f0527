package mllp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"nhip/hl7"
	"nhip/hl7/batch"
)

// Conn is what Serve needs of a connection: a net.Conn or a serial line.
type Conn interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// A Handler takes the content of a frame and returns the answer; nil for none. An
// error closes the connection without an answer.
type Handler func(ctx context.Context, frame []byte) (answer []byte, err error)

// ServeOptions are the rules for one connection. Zero means the default.
type ServeOptions struct {
	Handler Handler
	// TooLong answers a frame over MaxFrame, of which it gets the first bytes, up
	// to 4 KiB; then the connection is closed. nil: closed without an answer.
	TooLong func(head []byte) (answer []byte)
	// Opened is given the peer before the first frame is read; nil is allowed.
	Opened func(*Peer)
	// Release2 answers every frame with a commit acknowledgement before its answer,
	// negative where the handler failed, and repeats an answer that the peer could not
	// commit.
	Release2 bool
	// Batches gives the handler frames that hold a batch or file (BHS, FHS) too.
	Batches bool
	// Junk is told of bytes outside of frames; nil is allowed.
	Junk func(bytes int)

	MaxFrame     int           // bytes; 64 MiB
	FrameTimeout time.Duration // from VT to FS; 60 s
	WriteTimeout time.Duration // for an answer; 30 s
	Idle         time.Duration // silence between frames; default for ever, as devices need it

	Log *slog.Logger // with the peer in its attributes; default slog.Default()
}

// maxJunk is how many bytes a connection may send outside of frames in a row.
const maxJunk = 64 << 10

// maxKept is how large a buffer for answers is kept between them.
const maxKept = 64 << 10

// lingering is how long a peer whose frame was too long may take to read its answer.
const lingering = 2 * time.Second

// Reasons for which Serve closes a connection.
var (
	ErrNotHL7       = errors.New("mllp: the frame is no HL7 message")
	ErrForeign      = errors.New("mllp: another protocol")
	ErrTooLong      = errors.New("mllp: the frame is too long")
	ErrJunk         = errors.New("mllp: too many bytes outside of frames")
	ErrFrameTimeout = errors.New("mllp: the frame was not completed in time")
	ErrIdle         = errors.New("mllp: nothing came for too long")
	ErrCut          = errors.New("mllp: the connection ended within a frame")
	ErrNotCommitted = errors.New("mllp: the peer did not commit the message")
)

// maxRepeats is how often an answer that was not committed is sent again.
const maxRepeats = 2

// Serve receives frames on a connection and answers them, one after the other in
// the order in which they came, each answer with one Write. It closes c and returns
// when the peer has closed (nil), when ctx ends (after the frame in work was
// answered), or when something is wrong with the peer, the connection or the
// handler; the reason is logged, without content.
func Serve(ctx context.Context, c Conn, o ServeOptions) error {
	s := newServer(c, o)
	defer c.Close()
	if s.o.Opened != nil {
		s.o.Opened(&Peer{s})
	}
	// A deadline in the past ends the Read in progress.
	stop := context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	err := s.run(ctx)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, io.EOF) && s.receiver.Unfinished():
		err = ErrCut
	case errors.Is(err, io.EOF):
		return nil
	}
	s.o.Log.Warn("MLLP connection closed", "reason", err)
	return err
}

type server struct {
	c        Conn
	o        ServeOptions
	receiver *Receiver
	begun    time.Time // when the unfinished frame began, or the junk before the first
	frames   int
	junk     int // since the last frame

	writing sync.Mutex // one frame after the other: answers, and what Peer sends
	out     []byte
	last    []byte // release 2: the message that waits for its commit acknowledgement
	repeats int
}

// A Peer is the other end of a connection that is served: the way for messages that
// are no answer to the frame at hand, such as an application acknowledgement that
// follows an accept acknowledgement.
type Peer struct{ s *server }

// Send writes a message in a frame of its own. It may be called from any goroutine.
// Once the connection has ended it fails.
func (p *Peer) Send(message []byte) error {
	if unframed(message) {
		return ErrUnframed
	}
	return p.s.write(nil, message)
}

func newServer(c Conn, o ServeOptions) *server {
	if o.MaxFrame == 0 {
		o.MaxFrame = 64 << 20
	}
	if o.FrameTimeout == 0 {
		o.FrameTimeout = time.Minute
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 30 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Junk == nil {
		o.Junk = func(int) {}
	}
	receiver := NewReceiver(o.MaxFrame)
	if o.Release2 {
		receiver = NewReceiver2(o.MaxFrame)
	}
	return &server{c: c, o: o, receiver: receiver}
}

func (s *server) run(ctx context.Context) error {
	buffer := make([]byte, 16<<10)
	last := time.Now()
	for ctx.Err() == nil {
		deadline, late := s.deadline(last)
		// A pipe that the peer has closed has no deadlines; Read tells its end.
		if err := s.c.SetReadDeadline(deadline); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			return err
		}
		if ctx.Err() != nil { // it ended before the deadline was set, and was overwritten
			return ctx.Err()
		}
		n, err := s.c.Read(buffer)
		if n > 0 {
			last = time.Now()
			if err := s.received(ctx, buffer[:n], last); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && late == nil:
			if err := s.handle(ctx, s.receiver.TimedOut()); err != nil {
				return err
			}
		case errors.Is(err, os.ErrDeadlineExceeded):
			return late
		case errors.Is(err, io.EOF):
			// FS was the last byte that the peer sent.
			if err := s.handle(ctx, s.receiver.TimedOut()); err != nil {
				return err
			}
			return io.EOF
		case err != nil:
			return err
		}
	}
	return ctx.Err()
}

// deadline is until when to wait for the next byte and which error it is when none
// comes; nil where a frame is complete then.
func (s *server) deadline(last time.Time) (time.Time, error) {
	switch {
	case s.receiver.Timer() > 0:
		return last.Add(s.receiver.Timer()), nil
	case s.receiver.Unfinished():
		return s.begun.Add(s.o.FrameTimeout), ErrFrameTimeout
	case s.frames == 0 && s.junk > 0:
		return s.begun.Add(s.o.FrameTimeout), ErrJunk
	case s.o.Idle > 0:
		return last.Add(s.o.Idle), ErrIdle
	}
	return time.Time{}, nil
}

func (s *server) received(ctx context.Context, b []byte, now time.Time) error {
	unfinished := s.receiver.Unfinished()
	events := s.receiver.Receive(b)
	if unfinished && len(events) > 0 || !unfinished && (s.receiver.Unfinished() || s.junk == 0) {
		s.begun = now
	}
	return s.handle(ctx, events)
}

func (s *server) handle(ctx context.Context, events []Event) error {
	for _, event := range events {
		var err error
		switch e := event.(type) {
		case Frame:
			err = s.frame(ctx, e.Content)
		case Commit:
			err = s.committed(e.OK)
		case Junk:
			err = s.skipped(e.Bytes)
		case Discarded:
			s.o.Log.Warn("MLLP frame without an end discarded: another one began", "bytes", e.Bytes)
		case TooLong:
			err = s.tooLong(e.Head)
		case Foreign:
			err = fmt.Errorf("%w: %s", ErrForeign, e.Protocol)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *server) frame(ctx context.Context, content []byte) error {
	if s.junk > 0 {
		s.o.Log.Warn("bytes before an MLLP frame skipped", "bytes", s.junk)
	}
	s.frames++
	s.junk = 0
	if !hl7.IsMessage(content) && !(s.o.Batches && batch.Begins(content)) {
		return ErrNotHL7
	}
	answer, err := s.o.Handler(ctx, content)
	if !s.o.Release2 {
		if err != nil || len(answer) == 0 {
			return err
		}
		return s.write(nil, answer)
	}
	if err != nil {
		return errors.Join(err, s.write(commitFrame(false), nil))
	}
	return s.write(commitFrame(true), answer)
}

// committed takes the peer's commit acknowledgement of what we sent last.
func (s *server) committed(ok bool) error {
	s.writing.Lock()
	last := s.last
	if ok {
		s.last, s.repeats = nil, 0
	}
	s.repeats++
	repeats := s.repeats
	s.writing.Unlock()
	switch {
	case ok || last == nil:
		return nil
	case repeats > maxRepeats:
		return ErrNotCommitted
	}
	return s.write(nil, last)
}

func (s *server) skipped(bytes int) error {
	s.o.Junk(bytes)
	if s.junk += bytes; s.junk > maxJunk {
		return ErrJunk
	}
	return nil
}

// tooLong answers, and reads on for a moment: a peer that is still writing does not
// read, and closing with bytes unread would take the answer from it.
func (s *server) tooLong(head []byte) error {
	if s.o.TooLong == nil {
		return ErrTooLong
	}
	if answer := s.o.TooLong(head); len(answer) > 0 {
		if err := s.write(nil, answer); err != nil {
			return err
		}
	}
	if err := s.c.SetReadDeadline(time.Now().Add(lingering)); err != nil {
		return err
	}
	io.Copy(io.Discard, s.c)
	return ErrTooLong
}

// write writes a commit acknowledgement and a message, each where there is one, with
// one Write.
func (s *server) write(commit, message []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.c.SetWriteDeadline(time.Now().Add(s.o.WriteTimeout)); err != nil {
		return err
	}
	s.out = append(s.out[:0], commit...)
	if len(message) > 0 {
		s.out = AppendFrame(s.out, message)
	}
	if s.o.Release2 && len(message) > 0 && !bytes.Equal(message, s.last) {
		s.last, s.repeats = message, 0
	}
	_, err := s.c.Write(s.out)
	if cap(s.out) > maxKept {
		s.out = nil
	}
	return err
}
