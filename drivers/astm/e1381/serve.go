package e1381

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"nhip/drivers/port"
)

// Handler is what the receiver's owner does with what comes.
type Handler interface {
	// Store makes all messages durable in one commit. They are acknowledged when it
	// returns nil, and refused (NAK: the analyser sends the frame again) when not.
	// ctx ends storeTime after the frame: the sender gives up after 15 s.
	Store(ctx context.Context, messages []Message) error
	// Incomplete keeps what came of a session that broke before its L record:
	// time-out, EOT without L, line cut. It is never a result.
	Incomplete(ctx context.Context, fragment Message, reason string) error
	// Ended: EOT was received after whatever was stored or incomplete in the
	// session. It is not called when the line is cut or falls silent: then the
	// analyser may not have seen the last ACK, and may repeat the message. Nothing on
	// the line waits for it, least of all the answer to a query; the next call of the
	// Handler does, and the end of Serve.
	Ended(ctx context.Context) error
}

const (
	storeTime = 10 * time.Second // leaves time for a NAK within the sender's 15 s
	writeTime = 10 * time.Second // for a write, and more for a long one
)

// ServeOptions are the options of Serve. Limits of zero are MaxFrame and MaxMessage.
type ServeOptions struct {
	Handler    Handler
	Dialect    Dialect
	Outbox     *Outbox // what is sent to the instrument; nil: nothing
	MaxFrame   int
	MaxMessage int
	Log        *slog.Logger // nil: no log
}

// Serve receives on c, and sends what is in the outbox while the line is neutral,
// until the line is cut, ctx is done or c is superseded, and says which. The outbox is
// closed then: who waits is told that it was not sent. It does not close c. A failed Store is answered by NAK and does not
// end it; a failed Incomplete or Ended does, for there is no reply to refuse with.
func Serve(ctx context.Context, c port.Conn, o ServeOptions) error {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &server{ctx: ctx, c: c, o: o, l: NewLine(o.Dialect, o.MaxFrame, o.MaxMessage)}
	err := port.Loop(ctx, c, o.Outbox.ready(), s)
	if lost := s.settled(); lost != nil {
		err = lost
	}
	if n := s.l.Ignored(); n > 0 {
		s.o.Log.Info("ASTM bytes outside of frames were ignored", "peer", c.Peer(), "bytes", n)
	}
	cut := s.do(s.l.Cut(cutReason(ctx, err)))
	if cut == nil {
		cut = s.settled()
	}
	o.Outbox.close(&FailedError{Reason: cutReason(ctx, err), Cut: true})
	if cut != nil {
		return cut
	}
	return err
}

func cutReason(ctx context.Context, err error) string {
	switch {
	case ctx.Err() != nil:
		return "the gateway was stopped"
	case errors.Is(err, io.EOF):
		return "line cut: the device closed the connection"
	}
	return "line cut"
}

type server struct {
	ctx      context.Context
	c        port.Conn
	o        ServeOptions
	l        *Line
	deadline time.Time // of the line's timer; zero: none
	out      Outgoing  // that the line has

	noting chan error // the Handler is told of an end of session; nil: it is not
}

// Idle is of port.Machine, as are the next four.
func (s *server) Idle() bool       { return s.l.Neutral() }
func (s *server) Timer() time.Time { return s.deadline }

func (s *server) Turn() (again bool, err error) {
	if len(s.noting) > 0 {
		if err := s.settled(); err != nil {
			return false, err
		}
	}
	return s.offer()
}

func (s *server) TimedOut() error {
	s.deadline = time.Time{}
	return s.do(s.l.TimedOut())
}

func (s *server) Received(p []byte) error {
	for len(p) > 0 {
		n, actions := s.l.Receive(p)
		p = p[n:]
		if err := s.do(actions); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) do(actions []Action) error {
	// What has to be kept is kept also while the gateway stops.
	ctx := context.WithoutCancel(s.ctx)
	for _, a := range actions {
		switch a := a.(type) {
		case Send:
			if a.Why != "" {
				s.o.Log.Warn("ASTM frame refused", "peer", s.c.Peer(), "why", a.Why)
			}
			if err := s.c.SetWriteDeadline(time.Now().Add(frameTime(len(a.Bytes)))); err != nil {
				return err
			}
			if _, err := s.c.Write(a.Bytes); err != nil {
				return fmt.Errorf("e1381: send to %s: %w", s.c.Peer(), err)
			}
		case Wait:
			s.deadline = time.Time{}
			if a.For > 0 {
				s.deadline = time.Now().Add(a.For)
			}
		case Store:
			if err := s.settled(); err != nil {
				return err
			}
			if err := s.store(ctx, a.Messages); err != nil {
				s.o.Log.Error("ASTM message not stored", "peer", s.c.Peer(), "error", err)
				return s.do(s.l.StoreFailed())
			}
		case Incomplete:
			s.o.Log.Warn("ASTM message incomplete", "peer", s.c.Peer(), "why", a.Reason, "bytes", len(a.Fragment.Records))
			if err := s.settled(); err != nil {
				return err
			}
			if err := s.o.Handler.Incomplete(ctx, a.Fragment, a.Reason); err != nil {
				return fmt.Errorf("e1381: incomplete message not stored: %w", err)
			}
		case Sent:
			s.sent(nil)
		case Failed:
			s.o.Log.Warn("ASTM message not sent", "peer", s.c.Peer(), "why", a.Reason, "frames", a.Accepted)
			s.sent(a.err())
		case Make:
			return s.do(s.l.Made(s.out.Make()))
		case Ended:
			if err := s.settled(); err != nil {
				return err
			}
			s.ended(ctx)
		}
	}
	return nil
}

// ended tells the Handler beside the line that a session has ended. What fails frees
// the read.
func (s *server) ended(ctx context.Context) {
	told := make(chan error, 1)
	s.noting = told
	go func() {
		defer close(told)
		err := s.o.Handler.Ended(ctx)
		told <- err
		if err != nil {
			s.c.SetReadDeadline(time.Unix(1, 0))
		}
	}()
}

// settled waits until the Handler has taken note of the last end of session.
func (s *server) settled() error {
	if s.noting == nil {
		return nil
	}
	err := <-s.noting
	<-s.noting // closed: nobody touches the line any more
	s.noting = nil
	if err != nil {
		return fmt.Errorf("e1381: end of session not stored: %w", err)
	}
	return nil
}

// offer gives the line what is to be sent, when it is free.
func (s *server) offer() (bool, error) {
	if !s.l.Free() {
		return false, nil
	}
	out, ok := s.o.Outbox.take()
	if !ok {
		return false, nil
	}
	s.out = out
	if out.Make != nil {
		return true, s.do(s.l.OfferLate())
	}
	return true, s.do(s.l.Offer(out.Frames))
}

func (s *server) sent(err error) {
	done := s.out.Done
	s.out = Outgoing{}
	done(err)
}

func (s *server) store(ctx context.Context, messages []Message) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	return s.o.Handler.Store(ctx, messages)
}
