package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"nhip/hl7"
	"nhip/hl7/ack"
	"nhip/hl7/hl7http"
	"nhip/hl7/mllp"
)

type hl7Listen struct {
	Address string `arg:"" help:"Where to listen, HOST:PORT; port 0 takes a free one."`
	Folder  string `arg:"" optional:"" help:"Folder for the messages, a file each. Default: none are kept." type:"path"`

	HTTP   bool          `help:"HL7 over HTTP instead of MLLP." name:"http"`
	MLLP   int           `help:"Release of MLLP: 1 or 2." enum:"1,2" default:"1" name:"mllp"`
	Mode   string        `help:"What a message is acknowledged with: as it asks (message), original, accept, application, both or none." enum:"message,original,accept,application,both,none" default:"message"`
	Answer string        `help:"What is answered: aa, ae, ar, silence, close, or wrong (an MSA-2 that is not its MSH-10)." enum:"aa,ae,ar,silence,close,wrong" default:"aa"`
	First  int           `help:"Only the first N messages are answered so, the others AA; 0: all of them." default:"0" placeholder:"N"`
	Late   time.Duration `help:"Answer so much later." default:"0"`
	Count  int           `help:"End after N messages; 0: go on until it is stopped." default:"0" placeholder:"N"`
	Name   string        `help:"MSH-3 of answers to a message that names no receiver." default:"LISTEN"`
	Quiet  bool          `help:"Print nothing of each message."`
	CA     string        `help:"PEM file of what vouches for the certificates of clients: each must show one." name:"tls-ca" type:"path" placeholder:"FILE"`
	Cert   string        `help:"PEM file with a certificate: TLS." name:"tls-certificate" type:"path" placeholder:"FILE"`
	Key    string        `help:"PEM file with its key." name:"tls-key" type:"path" placeholder:"FILE"`
}

func (c *hl7Listen) Run() (int, error) {
	if c.Folder != "" {
		if err := os.MkdirAll(c.Folder, 0o700); err != nil {
			return exitBad, err
		}
	}
	listener, err := net.Listen("tcp", c.Address)
	if err != nil {
		return exitBad, err
	}
	var secured *tls.Config
	if c.Cert != "" || c.Key != "" {
		if secured, err = (mllp.Certificates{Certificate: c.Cert, Key: c.Key, CAs: c.CA}).Server(); err != nil {
			listener.Close()
			return exitBad, err
		}
	}
	fmt.Fprintln(os.Stderr, "listening on", listener.Addr())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r := &receiver{hl7Listen: c, stop: stop, options: ack.Options{Mode: ack.Mode(c.Mode), Application: c.Name}}
	if c.HTTP {
		err = r.overHTTP(ctx, listener, secured)
	} else {
		err = r.overMLLP(ctx, listener, secured)
	}
	fmt.Fprintf(os.Stderr, "%d messages came\n", r.came)
	if err != nil {
		return exitBad, err
	}
	return exitGood, nil
}

// A receiver keeps what comes, and answers it.
type receiver struct {
	*hl7Listen
	stop    func()
	options ack.Options

	mu     sync.Mutex
	came   int
	serial int
}

var quietLog = slog.New(slog.DiscardHandler)

func (r *receiver) overMLLP(ctx context.Context, l net.Listener, secured *tls.Config) error {
	return mllp.Listen(ctx, l, mllp.ListenOptions{TLS: secured, Log: quietLog, Handle: func(ctx context.Context, conn net.Conn) {
		err := mllp.Serve(ctx, conn, mllp.ServeOptions{
			Release2: r.MLLP == 2, Log: quietLog,
			Handler: func(ctx context.Context, frame []byte) ([]byte, error) {
				return r.take(ctx, frame, conn.RemoteAddr().String())
			},
		})
		if err != nil && !errors.Is(err, errClose) && !r.Quiet && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, conn.RemoteAddr(), onOneLine(err.Error()))
		}
	}})
}

func (r *receiver) overHTTP(ctx context.Context, l net.Listener, secured *tls.Config) error {
	if secured != nil {
		l = tls.NewListener(l, secured)
	}
	server := hl7http.NewServer(hl7http.NewHandler(hl7http.Options{Log: quietLog, Handler: func(ctx context.Context, q hl7http.Request) ([]byte, error) {
		answer, err := r.take(ctx, q.Message, q.HTTP.RemoteAddr)
		if parts := mllp.Split(answer); len(parts) > 0 {
			answer = parts[len(parts)-1] // one message is the body of a response
		}
		return answer, err
	}}), time.Minute)
	ended := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { // what is under way is answered
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		ended <- server.Shutdown(grace)
	})
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-ended
}

// errClose closes a connection without an answer.
var errClose = errors.New("closed instead of an answer, as was asked for")

// take keeps a message and returns its answer.
func (r *receiver) take(ctx context.Context, body []byte, peer string) ([]byte, error) {
	m, bad := hl7.Parse(body)
	r.mu.Lock()
	r.came++
	n := r.came
	r.mu.Unlock()
	if err := r.keep(n, m, body); err != nil {
		fmt.Fprintln(os.Stderr, "not kept:", err)
		return nil, err
	}
	if !r.Quiet {
		words := "no message: " + fmt.Sprint(bad)
		if m != nil {
			code, event, _ := m.Type()
			words = fmt.Sprintf("%s^%s %s, %d bytes", code, event, m.ControlID(), len(body))
		}
		fmt.Printf("%d %s %s\n", n, peer, onOneLine(words))
	}
	if r.Late > 0 && !waited(ctx, r.Late) {
		return nil, ctx.Err()
	}
	if r.Count > 0 && n >= r.Count {
		defer time.AfterFunc(200*time.Millisecond, r.stop) // the answer goes out before
	}
	if m == nil {
		return nil, bad
	}
	how := r.Answer
	if r.First > 0 && n > r.First {
		how = "aa"
	}
	switch {
	case how == "silence":
		return nil, nil
	case how == "close":
		return nil, errClose
	}
	return r.answer(m, bad, how), nil
}

// answer is what the matrix asks for.
func (r *receiver) answer(m *hl7.Message, bad error, how string) []byte {
	v := ack.Verdict{Code: hl7.ApplicationAccept}
	var wrong *hl7.ParseError
	switch {
	case errors.As(bad, &wrong):
		v = ack.Verdict{Code: hl7.ApplicationReject, Errors: []hl7.Error{{Location: wrong.Location, Code: wrong.Code, Severity: hl7.SeverityError, Text: wrong.Reason}}}
	case how == "ae":
		v = ack.Verdict{Code: hl7.ApplicationError, Errors: []hl7.Error{{Code: hl7.ErrorOther, Severity: hl7.SeverityError, Text: "answered AE, as was asked for"}}}
	case how == "ar":
		v = ack.Verdict{Code: hl7.ApplicationReject, Errors: []hl7.Error{{Code: hl7.ErrorApplication, Severity: hl7.SeverityError, Text: "answered AR, as was asked for"}}}
	}
	var answers [][]byte
	for _, a := range r.options.Answers(m, v.Good(), v, r.id, time.Now(), nil) {
		if how == "wrong" {
			a.Message = otherMSA(a.Message)
		}
		answers = append(answers, a.Message)
	}
	return mllp.Join(answers)
}

// otherMSA is an answer for another message.
func otherMSA(answer []byte) []byte {
	m, err := hl7.Parse(answer)
	if err != nil || m.Set("MSA-2", "ANOTHER") != nil {
		return answer
	}
	return m.Bytes()
}

func (r *receiver) id() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.serial++
	return fmt.Sprintf("L%X-%d", time.Now().Unix(), r.serial)
}

// keep writes a message to the folder, to the disk, before it is answered.
func (r *receiver) keep(n int, m *hl7.Message, body []byte) error {
	if r.Folder == "" {
		return nil
	}
	name := fmt.Sprintf("%s-%06d", time.Now().Format("20060102-150405.000"), n)
	if m != nil {
		code, event, _ := m.Type()
		name += "-" + fileName(code+"_"+event) + "-" + fileName(m.ControlID())
	}
	name = filepath.Join(r.Folder, name+".hl7")
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	return errors.Join(err, f.Sync(), f.Close())
}

// fileName is a text of a peer as a part of the name of a file.
func fileName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, s)
	return s[:min(len(s), 40)]
}
