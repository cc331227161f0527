package lis

import (
	"context"
	"errors"
	"net"
	"time"

	"nhip/gateway/delivery"
	"nhip/gateway/reason"
	"nhip/hl7"
	"nhip/hl7/mllp"
	"nhip/storage"
)

// A Sender brings messages to a system that speaks HL7 over MLLP. A message is
// done on MSA|AA with its own MSH-10 in MSA-2, and on nothing else.
type Sender struct {
	client *mllp.Client
	body   func(storage.Ref) ([]byte, error)
}

// An unreachable error says that there was no connection to write to.
type unreachable struct{ err error }

func (u *unreachable) Error() string { return u.err.Error() }
func (u *unreachable) Unwrap() error { return u.err }

// NewSender returns a Sender to host:port. body reads the message of a journal
// entry.
func NewSender(address string, connect, answer time.Duration, body func(storage.Ref) ([]byte, error)) *Sender {
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 3 * time.Minute, Interval: 30 * time.Second, Count: 4}}
	return &Sender{body: body, client: mllp.NewClient(mllp.ClientOptions{
		Address: address, DialTimeout: connect, AnswerTimeout: answer,
		Dial: func(ctx context.Context) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, "tcp", address)
			if err != nil {
				return nil, &unreachable{err}
			}
			return c, nil
		},
	})}
}

// Close ends the connection.
func (s *Sender) Close() { s.client.Close() }

// Send is delivery.Sender.
func (s *Sender) Send(ctx context.Context, it delivery.Item) delivery.Event {
	body, err := s.body(it.About)
	if err != nil {
		return delivery.Event{Kind: delivery.Refused, Why: reason.New(reason.Damaged, err.Error())}
	}
	answer, err := s.exchange(ctx, body)
	var u *unreachable
	switch {
	case errors.As(err, &u):
		return delivery.Event{Kind: delivery.NotSent, Why: reason.Network(u.err)}
	case errors.Is(err, mllp.ErrUnframed):
		return delivery.Event{Kind: delivery.Refused, Why: reason.New(reason.Unframed)}
	case errors.Is(err, mllp.ErrNoAnswer):
		return delivery.Event{Kind: delivery.Unclear, Why: reason.New(reason.NoAnswer)}
	case err != nil:
		return delivery.Event{Kind: delivery.Unclear, Why: reason.Broken(err)}
	}
	e := Settle(it.ID, answer)
	e.Answer = delivery.Answered(answer)
	if e.Kind != delivery.Accepted && e.Kind != delivery.Refused {
		s.client.Close() // the next attempt has a connection of its own
	}
	return e
}

// exchange makes no connection after ctx, and waits for the answer a while longer.
func (s *Sender) exchange(ctx context.Context, body []byte) ([]byte, error) {
	if err := s.client.Connect(ctx); err != nil {
		return nil, err
	}
	late, cancel := delivery.Late(ctx)
	defer cancel()
	return s.client.Send(late, body)
}

// Settle says what an answer means for the message with a control ID.
//
//	MSA-2 is another one, or there is no MSA     unclear: retried on a new connection
//	AA                                           accepted
//	AE, CE                                       refused: held
//	AR with ERR-3 200 to 203                     refused: held
//	other AR                                     rejected: retried, then held
//	CA, CR and anything else                     unclear: retried
func Settle(id string, answer []byte) delivery.Event {
	a, err := hl7.ParseAck(answer)
	if err != nil {
		return delivery.Event{Kind: delivery.Unclear, Why: reason.New(reason.NoAcknowledge, err.Error())}
	}
	if a.MessageControlID != id {
		return delivery.Event{Kind: delivery.Unclear, Why: reason.New(reason.OtherMessage)}
	}
	code, said := short(string(a.Code), 20), ""
	if len(a.Errors) > 0 {
		code += at(a.Errors[0])
		said = a.Errors[0].Text
	}
	if said == "" {
		said = a.Text
	}
	why := reason.Reason{Code: reason.Answered, Args: []string{code}, Said: short(said, 200)}
	switch a.Code {
	case hl7.ApplicationAccept:
		return delivery.Event{Kind: delivery.Accepted}
	case hl7.ApplicationError, hl7.CommitError:
		return delivery.Event{Kind: delivery.Refused, Why: why}
	case hl7.ApplicationReject:
		for _, e := range a.Errors {
			if e.Code >= hl7.ErrorType && e.Code <= hl7.ErrorVersion && len(e.Code) == 3 {
				return delivery.Event{Kind: delivery.Refused, Why: why}
			}
		}
		return delivery.Event{Kind: delivery.Rejected, Why: why}
	}
	return delivery.Event{Kind: delivery.Unclear, Why: why}
}

// at is code and place of an error. Its free text may name a patient and stays
// out of the log.
func at(e hl7.Error) string {
	s := ""
	for _, v := range []string{e.Code, e.Location} {
		if v != "" {
			s += " " + short(v, 20)
		}
	}
	return s
}
