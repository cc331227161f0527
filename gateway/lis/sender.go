package lis

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"nhip/gateway/delivery"
	"nhip/gateway/reason"
	"nhip/hl7"
	"nhip/hl7/ack"
	"nhip/hl7/hl7http"
	"nhip/hl7/mllp"
	"nhip/storage"
)

// SenderOptions are the rules of a link to a system. Zero means the default.
type SenderOptions struct {
	Address string        // host:port, or a URL for HL7 over HTTP
	Connect time.Duration // 10 s
	Answer  time.Duration // 30 s
	TLS     *tls.Config   // nil: none
	// Release2 is of MLLP.
	Release2 bool
	// User and Password are for HTTP.
	User, Password string
	// Body reads the message of a journal entry.
	Body func(storage.Ref) ([]byte, error)

	// Enhanced is the mode in which the system commits a message (CA) and says later
	// what became of it; without it a message is done on AA and on nothing else.
	Enhanced bool
	// CommitSettles takes CA for the end.
	CommitSettles bool
	// Later takes an application acknowledgement that comes by the same connection
	// later, and says whether it settled a message, which is on disk then. Only with
	// Enhanced.
	Later func(ctx context.Context, a hl7.Acknowledgement, answer []byte) bool
	// ControlID makes the control IDs of our accept acknowledgements for those.
	ControlID func() string

	// Numbers gives each message a sequence number; nil: none does.
	Numbers Numbers
}

// Numbers are the sequence numbers of a link to a system (MSH-13, HL7 v2.5.1 section
// 2.10.1), on our side of it.
type Numbers interface {
	// Take is the number of a message, the same one while it is the last that was asked
	// for. It is on disk, so that no number is ever given to two messages.
	Take(ctx context.Context, mark string) (int64, error)
	// Expected says which number the system expects.
	Expected(ctx context.Context, number int64) error
}

// A transport brings a message to a system and back its answer.
type transport interface {
	// Connect makes the connection where there is none.
	Connect(ctx context.Context) error
	Send(ctx context.Context, message []byte) (answer []byte, err error)
	// Post is Send of what gets no answer.
	Post(ctx context.Context, message []byte) error
	Close() error
}

// A Sender brings messages to a system that speaks HL7. See Settle for what its answers
// mean.
type Sender struct {
	o    SenderOptions
	link transport
}

// An unreachable error says that there was no connection to write to.
type unreachable struct{ err error }

func (u *unreachable) Error() string { return u.err.Error() }
func (u *unreachable) Unwrap() error { return u.err }

// NewSender returns a Sender; it connects with the first message.
func NewSender(o SenderOptions) *Sender {
	s := &Sender{o: o}
	dial := s.dial()
	if strings.HasPrefix(o.Address, "http://") || strings.HasPrefix(o.Address, "https://") {
		s.link = newWeb(o, dial)
		return s
	}
	client := mllp.ClientOptions{Address: o.Address, DialTimeout: o.Connect, AnswerTimeout: o.Answer, Release2: o.Release2}
	client.Dial = func(ctx context.Context) (net.Conn, error) { return dial(ctx, "tcp", o.Address) }
	if o.Enhanced {
		client.Other = s.later
	}
	s.link = mllp.NewClient(client)
	return s
}

// dial tells a system that is away, or with which there is no TLS, from one that does
// not answer.
func (s *Sender) dial() func(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{KeepAliveConfig: mllp.KeepAlive}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, &unreachable{err}
		}
		if s.o.TLS == nil {
			return c, nil
		}
		secured := tls.Client(c, s.o.TLS)
		if err := secured.HandshakeContext(ctx); err != nil {
			c.Close()
			return nil, &unreachable{err}
		}
		return secured, nil
	}
}

// Close ends the connection.
func (s *Sender) Close() { s.link.Close() }

// Send is delivery.Sender.
func (s *Sender) Send(ctx context.Context, it delivery.Item) delivery.Event {
	body, err := s.o.Body(it.About)
	if err != nil {
		return delivery.Event{Kind: delivery.Refused, Why: reason.New(reason.Damaged, err.Error())}
	}
	x := exchange{Exchange: ack.Exchange{ControlID: it.ID, Accept: hl7.Never, Answer: hl7.Always}, original: true}
	if s.o.Enhanced || isAcknowledgement(body) {
		if x, err = s.expects(it.ID, body); err != nil {
			return delivery.Event{Kind: delivery.Refused, Why: reason.New(reason.Damaged, err.Error())}
		}
	}
	if s.o.Numbers == nil {
		return s.send(ctx, body, x)
	}
	return s.numbered(ctx, it.Mark, body, x)
}

// An exchange is what is expected of the system for one message.
type exchange struct {
	ack.Exchange
	original bool // AA at once, and nothing else
}

// isAcknowledgement says whether a message may be an application acknowledgement of
// ours.
func isAcknowledgement(body []byte) bool { return bytes.Contains(body, []byte("\rMSA")) }

// expects is what a message asks for; one that asks for nothing in particular is
// committed and answered by a system that speaks the enhanced mode.
func (s *Sender) expects(id string, body []byte) (exchange, error) {
	m, err := hl7.Parse(body)
	if err != nil {
		return exchange{}, err
	}
	mode := ack.ByMessage
	if !m.IsAcknowledgement() && m.Get("MSH-15") == "" && m.Get("MSH-16") == "" {
		mode = ack.Both
	}
	x := exchange{Exchange: ack.NewExchange(m, mode)}
	x.ControlID, x.CommitSettles = id, s.o.CommitSettles
	return x, nil
}

// send sends a message once and says what came of it.
func (s *Sender) send(ctx context.Context, body []byte, x exchange) delivery.Event {
	answer, err := s.exchange(ctx, body, x)
	var u *unreachable
	var status *hl7http.StatusError
	switch {
	case errors.As(err, &u):
		return delivery.Event{Kind: delivery.NotSent, Why: unreachableReason(u)}
	case errors.Is(err, mllp.ErrUnframed):
		return delivery.Event{Kind: delivery.Refused, Why: reason.New(reason.Unframed)}
	case errors.Is(err, mllp.ErrNotCommitted):
		return delivery.Event{Kind: delivery.Rejected, Why: reason.New(reason.BlockRefused)}
	case errors.Is(err, mllp.ErrNoAnswer):
		if late, _ := x.TimedOut(); late.State == ack.SentUnproved {
			return delivery.Event{Kind: delivery.Accepted} // silence is the success that was agreed to
		}
		return delivery.Event{Kind: delivery.Unclear, Why: reason.New(reason.NoAnswer)}
	case errors.As(err, &status):
		return delivery.Event{Kind: delivery.Unclear, Why: reason.New(reason.HTTPStatus, fmt.Sprint(status.Status))}
	case err != nil:
		return delivery.Event{Kind: delivery.Unclear, Why: reason.Broken(err)}
	case x.Accept == hl7.Never && x.Answer == hl7.Never:
		return delivery.Event{Kind: delivery.Accepted} // nothing was asked for, so nothing more will be known
	}
	e := x.settle(answer)
	e.Answer = delivery.Answered(answer)
	if e.Kind != delivery.Accepted && e.Kind != delivery.Refused && e.Kind != delivery.Commit {
		s.link.Close() // the next attempt has a connection of its own
	}
	return e
}

func unreachableReason(u *unreachable) reason.Reason {
	if words := mllp.TLSReason(u.err, "en"); words != "" {
		return reason.Text(words)
	}
	return reason.Network(u.err)
}

// exchange makes no connection after ctx, and waits for the answer a while longer.
func (s *Sender) exchange(ctx context.Context, body []byte, x exchange) ([]byte, error) {
	if err := s.link.Connect(ctx); err != nil {
		return nil, err
	}
	late, cancel := delivery.Late(ctx)
	defer cancel()
	if x.Accept == hl7.Never && x.Answer == hl7.Never {
		return nil, s.link.Post(late, body)
	}
	return s.link.Send(late, body)
}

// settle says what an answer means for the message.
func (x exchange) settle(answer []byte) delivery.Event {
	e := Settle(x.ControlID, answer)
	if x.original {
		return e
	}
	a, err := hl7.ParseAck(answer)
	if err != nil {
		return e
	}
	after, effect := x.Received(a)
	if effect != ack.Changed {
		return e
	}
	switch after.State {
	case ack.Accepted:
		return delivery.Event{Kind: delivery.Accepted}
	case ack.Committed:
		return delivery.Event{Kind: delivery.Commit}
	case ack.Rejected:
		e.Kind = delivery.Rejected
	case ack.Refused:
		e.Kind = delivery.Refused
	}
	return e
}

// later takes what the system sends by our connection after its answer: application
// acknowledgements. Their accept acknowledgement, where they ask for one, says CA when
// they settled a message, and CE otherwise.
func (s *Sender) later(frame []byte) ([]byte, error) {
	m, err := hl7.Parse(frame)
	if err != nil {
		return nil, err
	}
	if !m.IsAcknowledgement() {
		return nil, errors.New("a message came by the connection on which we send")
	}
	a, err := hl7.ParseAck(frame)
	if err != nil {
		return nil, err
	}
	if !IsApplication(a) {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), laterTimeout)
	defer cancel()
	taken := s.o.Later(ctx, a, frame)
	v := ack.Verdict{Code: hl7.ApplicationAccept}
	if !taken {
		v = UnknownMessage
	}
	accept, ok := ack.Options{Application: "NHIP"}.Accept(m, taken, v, s.o.ControlID(), time.Now())
	if !ok {
		return nil, nil
	}
	return accept.Message, nil
}

// laterTimeout is how long an application acknowledgement may wait until what it
// settles is on disk.
const laterTimeout = 20 * time.Second

// UnknownMessage is the verdict on an acknowledgement of a message that nobody knows.
var UnknownMessage = ack.Verdict{Code: hl7.ApplicationReject, Errors: []hl7.Error{{
	Location: "MSA-2", Code: hl7.ErrorUnknownKey, Severity: hl7.SeverityError, Text: "no message waits for this acknowledgement"}}}

// IsApplication says whether an acknowledgement is an application acknowledgement.
func IsApplication(a hl7.Acknowledgement) bool {
	switch a.Code {
	case hl7.ApplicationAccept, hl7.ApplicationError, hl7.ApplicationReject:
		return true
	}
	return false
}

// Processed says what an application acknowledgement means for a message that the
// system has committed; ok is false where it is none.
func Processed(a hl7.Acknowledgement, answer []byte) (e delivery.Event, ok bool) {
	x := ack.Exchange{ControlID: a.MessageControlID, Accept: hl7.Always, Answer: hl7.Always, State: ack.Committed}
	after, effect := x.Received(a)
	if effect != ack.Changed {
		return e, false
	}
	e = Settle(a.MessageControlID, answer)
	if e.Kind = delivery.Refused; after.State == ack.Accepted {
		e = delivery.Event{Kind: delivery.Accepted}
	}
	e.Answer = delivery.Answered(answer)
	return e, true
}

// numbered sends a message with its sequence number; once more where the system
// expects another one.
func (s *Sender) numbered(ctx context.Context, mark string, body []byte, x exchange) delivery.Event {
	var e delivery.Event
	for range 2 {
		n, err := s.o.Numbers.Take(ctx, mark)
		if err != nil {
			return delivery.Event{Kind: delivery.NotSent, Why: reason.Text(err.Error())}
		}
		m, err := hl7.Parse(bytes.Clone(body))
		if err == nil {
			err = m.Set("MSH-13", fmt.Sprint(n))
		}
		if err != nil {
			return delivery.Event{Kind: delivery.Refused, Why: reason.New(reason.Damaged, err.Error())}
		}
		e = s.send(ctx, m.Bytes(), x)
		other, ok := expectsOther(e, n)
		if !ok {
			return e
		}
		if err := s.o.Numbers.Expected(ctx, other); err != nil {
			return delivery.Event{Kind: delivery.NotSent, Why: reason.Text(err.Error())}
		}
	}
	return e
}

// expectsOther says which sequence number the system expects, where it has refused a
// message for its number.
func expectsOther(e delivery.Event, n int64) (int64, bool) {
	if e.Kind == delivery.Accepted || e.Kind == delivery.Commit || e.Answer.IsZero() {
		return 0, false
	}
	a, err := hl7.ParseAck(e.Answer.Bytes)
	if err != nil {
		return 0, false
	}
	var expected int64
	if _, err := fmt.Sscan(a.Expected, &expected); err != nil || expected < 1 || expected == n {
		return 0, false
	}
	return expected, true
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
