package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"nhip/drivers/port"
	"nhip/gateway/record"
)

const (
	storeTime = 10 * time.Second // for one commit
	writeTime = 10 * time.Second // for a short reply; longer texts get more
	retryTime = time.Second      // between two attempts to store what cannot be refused
)

// Options of Serve.
type Options struct {
	Handler Handler
	Orders  Orders       // nil: there are none, and no query is answered
	Log     *slog.Logger // nil: no log
}

// ErrOver is returned by Serve when the core closes the conversation.
var ErrOver = errors.New("session: the conversation is over")

// Serve runs a core on c until the line is cut, ctx is done, c is superseded or the
// core closes it, and says which. It does not close c.
func Serve(ctx context.Context, c port.Conn, core Core, o Options) error {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &server{ctx: ctx, c: c, o: o, core: core}
	err := port.Loop(ctx, c, nil, s)
	if cut := s.do(core.Cut(cutReason(ctx, err))); cut != nil && !errors.Is(err, ErrOver) {
		return errors.Join(err, cut)
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
	o        Options
	core     Core
	deadline time.Time // of the core's timer; zero: none
	query    record.Query
	work     []record.Work // what the last query was answered with
}

// Idle is of port.Machine, as are the next four.
func (s *server) Idle() bool          { return s.core.Idle() }
func (s *server) Timer() time.Time    { return s.deadline }
func (s *server) Turn() (bool, error) { return false, nil }

func (s *server) TimedOut() error {
	s.deadline = time.Time{}
	return s.do(s.core.TimedOut())
}

func (s *server) Received(p []byte) error {
	for len(p) > 0 {
		n, actions := s.core.Receive(p)
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
		var err error
		switch a := a.(type) {
		case Send:
			err = s.send(a)
		case Wait:
			s.deadline = time.Time{}
			if a.For > 0 {
				s.deadline = time.Now().Add(a.For)
			}
		case Store:
			if err := s.store(ctx, a); err != nil {
				s.o.Log.Error("message not stored", "peer", s.c.Peer(), "error", err)
				return s.do(s.core.StoreFailed())
			}
		case Incomplete:
			s.o.Log.Warn("message incomplete", "peer", s.c.Peer(), "why", a.Reason, "bytes", len(a.Message))
			err = s.o.Handler.Incomplete(ctx, a.Message, a.Reason)
		case Ended:
			err = s.o.Handler.Ended(ctx)
		case Ask:
			return s.ask(a)
		case Sent:
			s.handed(nil)
		case Unsent:
			s.handed(errors.New(a.Reason))
		case Close:
			s.o.Log.Info("conversation over", "peer", s.c.Peer(), "why", a.Reason)
			return ErrOver
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *server) send(a Send) error {
	if a.Why != "" {
		s.o.Log.Warn("refused", "peer", s.c.Peer(), "why", a.Why)
	}
	// At 600 baud a text takes its characters' sixtieth of a second.
	within := writeTime + time.Duration(len(a.Bytes))*time.Second/60
	if err := s.c.SetWriteDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	if _, err := s.c.Write(a.Bytes); err != nil {
		return fmt.Errorf("session: send to %s: %w", s.c.Peer(), err)
	}
	return nil
}

func (s *server) store(ctx context.Context, a Store) error {
	for {
		one, cancel := context.WithTimeout(ctx, storeTime)
		err := s.o.Handler.Store(one, a.Messages)
		cancel()
		if err == nil || !a.Forever {
			return err
		}
		s.o.Log.Error("message not stored, tried again", "peer", s.c.Peer(), "error", err)
		t := time.NewTimer(retryTime)
		select {
		case <-t.C:
		case <-s.ctx.Done():
			t.Stop()
			return err
		}
	}
}

// ask looks up the work and gives the answer to the core.
func (s *server) ask(a Ask) error {
	s.query, s.work = a.Query, nil
	if s.o.Orders == nil {
		return s.do(s.core.Answered(nil, false))
	}
	ctx, cancel := context.WithTimeout(s.ctx, a.Within)
	work, err := s.o.Orders.Work(ctx, a.Query)
	late := ctx.Err() != nil
	cancel()
	if err != nil || late {
		s.o.Log.Error("query not answered", "peer", s.c.Peer(), "error", err, "late", late)
		return s.do(s.core.Answered(nil, false))
	}
	s.work = work
	return s.do(s.core.Answered(work, true))
}

func (s *server) handed(err error) {
	if s.o.Orders != nil {
		s.o.Orders.Handed(s.query, s.work, err)
	}
}
