package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"time"

	"nhip/gateway/reason"
	"nhip/hl7"
	"nhip/hl7/ack"
	"nhip/hl7/hl7http"
	"nhip/hl7/mllp"
)

type hl7Send struct {
	Address string   `arg:"" help:"HOST:PORT, or a URL for HL7 over HTTP."`
	Files   []string `arg:"" name:"file" help:"Files and folders with messages; - is the standard input. Each message is sent once, in the order of the names; none is sent again."`

	Rate     float64       `help:"Messages a second at most; 0: as fast as they are answered." default:"0"`
	Timeout  time.Duration `help:"For an answer." default:"30s"`
	Charset  string        `help:"Send the messages in this character set, with MSH-18; else as they are." placeholder:"NAME"`
	From     string        `help:"With --charset: the character set that the files are in, whatever MSH-18 says." placeholder:"NAME"`
	Number   bool          `help:"Give each message a control ID (MSH-10) of its own."`
	MLLP     int           `help:"Release of MLLP: 1 or 2." enum:"1,2" default:"1" name:"mllp"`
	Show     bool          `help:"Print the answers."`
	KeepOn   bool          `help:"Go on after a message that was not accepted." name:"keep-on"`
	TLS      bool          `help:"Speak TLS." name:"tls"`
	CA       string        `help:"PEM file of what vouches for the certificate of the peer; else the authorities that this machine trusts." name:"tls-ca" type:"path" placeholder:"FILE"`
	Cert     string        `help:"PEM file with a certificate to show." name:"tls-certificate" type:"path" placeholder:"FILE"`
	Key      string        `help:"PEM file with its key." name:"tls-key" type:"path" placeholder:"FILE"`
	Name     string        `help:"The name that the peer's certificate has to have; else the host of the address." name:"tls-name" placeholder:"NAME"`
	User     string        `help:"User of HTTP; its password is the first line of --password-file." placeholder:"NAME"`
	Password string        `help:"File with the password." name:"password-file" type:"path" placeholder:"FILE"`
	Lang     string        `help:"Language: en or vi; else that of the environment." enum:",en,vi" default:""`
}

// A sender brings one message to the peer and returns what comes back before the time
// is up; further acknowledgements of it come from more.
type messageSender struct {
	send  func(ctx context.Context, message []byte) ([]byte, error)
	post  func(ctx context.Context, message []byte) error // of a message that asks for no answer
	more  <-chan []byte
	close func()
}

// came are the answers that were not for the message.
func (s messageSender) came() (frames [][]byte) {
	for {
		select {
		case f := <-s.more:
			frames = append(frames, f)
		default:
			return frames
		}
	}
}

func (c *hl7Send) Run() (int, error) {
	messages, err := messagesOf(c.Files)
	if err != nil {
		return exitBad, err
	}
	if len(messages) == 0 {
		return exitBad, errors.New("there is no message in these files")
	}
	s, err := c.sender()
	if err != nil {
		return exitBad, err
	}
	defer s.close()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var pause time.Duration
	if c.Rate > 0 {
		pause = time.Duration(float64(time.Second) / c.Rate)
	}
	accepted, began := 0, time.Now()
	for i, m := range messages {
		if i > 0 && !waited(ctx, pause) {
			break
		}
		good := c.one(ctx, s, m, i)
		if good {
			accepted++
		} else if !c.KeepOn {
			break
		}
	}
	took := time.Since(began)
	fmt.Printf(sentWords[language(c.Lang)]+"\n", accepted, len(messages), took.Round(time.Millisecond), float64(accepted)/max(took.Seconds(), 1e-9))
	if accepted < len(messages) {
		return exitBad, nil
	}
	return exitGood, nil
}

var sentWords = [2]string{"%d of %d messages were accepted, in %v: %.0f a second", "%d trên %d bản tin được chấp nhận, trong %v: %.0f bản tin một giây"}

func waited(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (c *hl7Send) sender() (messageSender, error) {
	if strings.HasPrefix(c.Address, "http://") || strings.HasPrefix(c.Address, "https://") {
		return c.overHTTP()
	}
	host, _, err := net.SplitHostPort(c.Address)
	if err != nil {
		return messageSender{}, fmt.Errorf("%q is not of the form HOST:PORT", c.Address)
	}
	o := mllp.ClientOptions{Address: c.Address, AnswerTimeout: c.Timeout, Release2: c.MLLP == 2}
	if c.TLS || c.CA != "" || c.Cert != "" || c.Name != "" {
		if o.TLS, err = (mllp.Certificates{Certificate: c.Cert, Key: c.Key, CAs: c.CA, Name: c.Name}).Client(host); err != nil {
			return messageSender{}, err
		}
	}
	more := make(chan []byte, 16)
	o.Other = func(frame []byte) ([]byte, error) {
		select {
		case more <- frame:
		default: // nobody waits for so many
		}
		return nil, nil
	}
	client := mllp.NewClient(o)
	return messageSender{send: client.Send, post: client.Post, more: more, close: func() { client.Close() }}, nil
}

func (c *hl7Send) overHTTP() (messageSender, error) {
	o := hl7http.ClientOptions{URL: c.Address, Timeout: c.Timeout, User: c.User}
	if c.Password != "" {
		b, err := os.ReadFile(c.Password)
		if err != nil {
			return messageSender{}, err
		}
		o.Password, _, _ = strings.Cut(string(b), "\n")
	}
	u, err := url.Parse(c.Address)
	if err != nil {
		return messageSender{}, err
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	if u.Scheme == "https" {
		if t.TLSClientConfig, err = (mllp.Certificates{Certificate: c.Cert, Key: c.Key, CAs: c.CA, Name: c.Name}).Client(u.Hostname()); err != nil {
			return messageSender{}, err
		}
	}
	o.Transport = t
	client := hl7http.NewClient(o)
	post := func(ctx context.Context, m []byte) error { _, err := client.Send(ctx, m); return err }
	return messageSender{send: client.Send, post: post, close: client.Close}, nil
}

// one sends a message, and says what became of it.
func (c *hl7Send) one(ctx context.Context, s messageSender, m namedMessage, n int) bool {
	lang := language(c.Lang)
	body, parsed, err := c.prepared(m.body, n)
	if err != nil {
		fmt.Printf("%s: %s: %v\n", onOneLine(m.name), [2]string{"not sent", "không gửi"}[lang], err)
		return false
	}
	x := ack.NewExchange(parsed, ack.ByMessage)
	began := time.Now()
	x, answers, err := c.exchange(ctx, s, x, body)
	took := time.Since(began).Round(time.Microsecond)
	if c.Show {
		for _, a := range answers {
			fmt.Println(strings.ReplaceAll(onOneLine(strings.ReplaceAll(string(a), "\r", "\n")), "\n", "\n  "))
		}
	}
	fmt.Printf("%s: %s: %s (%v)\n", onOneLine(m.name), onOneLine(parsed.ControlID()), onOneLine(settledWords(x, answers, err, lang)), took)
	return err == nil && (x.State == ack.Accepted || x.State == ack.SentUnproved)
}

// prepared is a message as it is to be sent.
func (c *hl7Send) prepared(body []byte, n int) ([]byte, *hl7.Message, error) {
	m, err := hl7.Parse(body)
	if err != nil {
		return nil, nil, err
	}
	if c.Charset != "" {
		if err := m.UseCharset(hl7.CharsetRule{Force: c.From}); err != nil {
			return nil, nil, err
		}
		if body, err = m.Transcode(c.Charset); err != nil {
			return nil, nil, err
		}
		if m, err = hl7.Parse(body); err != nil {
			return nil, nil, err
		}
	}
	if c.Number {
		if err := m.Set("MSH-10", fmt.Sprintf("S%X-%d", time.Now().Unix(), n+1)); err != nil {
			return nil, nil, err
		}
	}
	// As the standard has it, whatever the line ends of the file are.
	return carriageReturns(m.Bytes()), m, nil
}

// carriageReturns ends every segment with CR.
func carriageReturns(b []byte) []byte {
	s := strings.ReplaceAll(strings.ReplaceAll(string(b), "\r\n", "\r"), "\n", "\r")
	return []byte(strings.TrimRight(s, "\r") + "\r")
}

// exchange sends a message and waits for what it asks for.
func (c *hl7Send) exchange(ctx context.Context, s messageSender, x ack.Exchange, body []byte) (ack.Exchange, [][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout+15*time.Second)
	defer cancel()
	written, _ := x.Written()
	if written.State.Final() {
		return written, nil, s.post(ctx, body)
	}
	answer, err := s.send(ctx, body)
	if errors.Is(err, mllp.ErrNoAnswer) {
		x, _ = written.TimedOut()
		if x.State == ack.SentUnproved || x.State == ack.Accepted {
			return x, nil, nil // it asked for errors only
		}
		return x, s.came(), err
	}
	if err != nil {
		x, _ = written.Broken()
		return x, nil, err
	}
	x = written
	var answers [][]byte
	for late := time.After(c.Timeout); ; {
		for _, part := range mllp.Split(answer) {
			answers = append(answers, part)
			a, err := hl7.ParseAck(part)
			if err != nil {
				return x, answers, err
			}
			x, _ = x.Received(a)
		}
		if x.State.Final() || s.more == nil {
			return x, answers, nil
		}
		select {
		case answer = <-s.more:
		case <-late:
			x, _ = x.TimedOut()
			return x, answers, nil
		case <-ctx.Done():
			return x, answers, ctx.Err()
		}
	}
}

// states in words.
var stateWords = map[ack.State][2]string{
	ack.Waiting:      {"no answer to this message came", "chưa có trả lời cho bản tin này"},
	ack.Committed:    {"stored by the peer, and not yet processed", "bên nhận đã lưu, chưa xử lý"},
	ack.Accepted:     {"accepted", "được chấp nhận"},
	ack.Refused:      {"refused for good", "bị từ chối hẳn"},
	ack.Rejected:     {"rejected for now", "bị từ chối lúc này"},
	ack.Unclear:      {"not clear: it may have arrived", "không rõ: có thể đã đến nơi"},
	ack.Unprocessed:  {"stored by the peer; that it was processed was not said in time", "bên nhận đã lưu; quá thời gian mà chưa báo đã xử lý"},
	ack.SentUnproved: {"sent; it asked for no answer", "đã gửi; bản tin không yêu cầu trả lời"},
}

// settledWords says what became of a message.
func settledWords(x ack.Exchange, answers [][]byte, err error, lang reason.Language) string {
	words := stateWords[x.State][lang]
	var codes []string
	for _, a := range answers {
		if p, err := hl7.ParseAck(a); err == nil {
			code := string(p.Code)
			if p.MessageControlID != x.ControlID {
				code += [2]string{" for another message: MSA-2 is ", " cho bản tin khác: MSA-2 là "}[lang] + p.MessageControlID
			}
			codes = append(codes, code)
		}
	}
	if len(codes) > 0 {
		words += " (" + strings.Join(codes, ", ") + ")"
	}
	for _, e := range x.Errors {
		words += ": " + strings.TrimSpace(strings.Join([]string{e.Location, e.Code, e.Text, e.Diagnostic}, " "))
	}
	if len(x.Errors) == 0 && x.Text != "" {
		words += ": " + x.Text
	}
	if err != nil {
		words += ": " + sendReason(err, lang)
	}
	return words
}

// sendReason says in words why a message could not be brought to the peer.
func sendReason(err error, lang reason.Language) string {
	var network *net.OpError
	switch tls := mllp.TLSReason(err, lang.String()); {
	case tls != "":
		return tls
	case errors.Is(err, mllp.ErrNoAnswer):
		return reason.New(reason.NoAnswer).In(lang)
	case errors.Is(err, mllp.ErrUnframed):
		return reason.New(reason.Unframed).In(lang)
	case errors.As(err, &network) && network.Op == "dial":
		return reason.Network(err).In(lang)
	}
	return err.Error()
}
