// Package hl7http is HL7 over HTTP, the specification of the HAPI project: a message
// in vertical bar encoding is the body of a POST, its answer the body of the
// response. The status says the same as MSA-1: 200 for AA and CA, 400 for AR and CR,
// 500 for AE and CE. The signature header is not needed and not used; XML is refused.
package hl7http

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"

	"nhip/hl7"
)

// ContentType is that of a message.
const ContentType = "application/hl7-v2"

// contentTypes are those that senders use for the vertical bar encoding.
var contentTypes = map[string]bool{ContentType: true, "application/hl7-v2+er7": true, "x-application/hl7-v2+er7": true}

// A Request is a message that came.
type Request struct {
	Message []byte
	// Charset is the parameter of Content-Type, which holds whatever MSH-18 says; empty
	// where there is none.
	Charset string
	HTTP    *http.Request // without its body: the peer, its certificate, its credentials
}

// A Handler takes a message and returns its answer; nil for none. An error is
// answered with 503 and nothing else: the message was not stored; ErrForbidden with 403.
type Handler func(ctx context.Context, r Request) (answer []byte, err error)

// ErrForbidden is the error of a Handler for a sender that it does not know.
var ErrForbidden = errors.New("hl7http: the sender is not known")

// Options are the rules of a server. Zero means the default.
type Options struct {
	Handler Handler
	// Authorise says whether a request may be read at all; an error is answered with
	// 401. nil: everyone.
	Authorise func(*http.Request) error
	// TooLong answers a message over MaxMessage, of which it gets the first 4 KiB; nil:
	// 413 without a body.
	TooLong    func(head []byte) (answer []byte)
	MaxMessage int64        // bytes; 64 MiB
	Log        *slog.Logger // default slog.Default()
}

const headSize = 4096

// NewHandler is the server's side.
func NewHandler(o Options) http.Handler {
	if o.MaxMessage == 0 {
		o.MaxMessage = 64 << 20
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return server{o}
}

// NewServer is an HTTP server for such a handler, with the time limits that a
// listener needs: 10 s for a header, frame for a message, a minute for an answer, ten
// minutes between messages.
func NewServer(h http.Handler, frame time.Duration) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       frame,
		WriteTimeout:      frame + time.Minute,
		IdleTimeout:       10 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
}

type server struct{ o Options }

func (s server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.o.Authorise != nil {
		if err := s.o.Authorise(r); err != nil {
			w.Header().Set("WWW-Authenticate", `Basic realm="HL7"`)
			s.refuse(w, r, http.StatusUnauthorized, "who you are is not known here")
			return
		}
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		s.refuse(w, r, http.StatusMethodNotAllowed, "a message is sent with POST")
		return
	}
	kind, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || !contentTypes[kind] {
		s.refuse(w, r, http.StatusUnsupportedMediaType, "the Content-Type of a message is "+ContentType)
		return
	}
	if set := parameters["charset"]; set != "" && hl7.CheckCharset(set) != nil {
		s.refuse(w, r, http.StatusUnsupportedMediaType, "the charset is not known")
		return
	}
	message, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.o.MaxMessage))
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		s.tooLong(w, r, message)
		return
	case err != nil:
		s.refuse(w, r, http.StatusBadRequest, "the message did not come whole")
		return
	case !hl7.IsMessage(message):
		s.refuse(w, r, http.StatusBadRequest, "the body is no HL7 message: it does not begin with MSH")
		return
	}
	answer, err := s.o.Handler(r.Context(), Request{Message: message, Charset: parameters["charset"], HTTP: r})
	if errors.Is(err, ErrForbidden) {
		s.refuse(w, r, http.StatusForbidden, "the sender is not known here")
		return
	}
	if err != nil {
		s.o.Log.Warn("HL7 over HTTP: a message was not taken", "peer", r.RemoteAddr, "reason", err)
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	s.answer(w, answer, parameters["charset"])
}

// refuse answers what is no message, in words for who set up the other side.
func (s server) refuse(w http.ResponseWriter, r *http.Request, status int, words string) {
	s.o.Log.Warn("HL7 over HTTP: a request was refused", "peer", r.RemoteAddr, "status", status, "reason", words)
	http.Error(w, words, status)
}

func (s server) tooLong(w http.ResponseWriter, r *http.Request, message []byte) {
	if s.o.TooLong != nil {
		if answer := s.o.TooLong(message[:min(len(message), headSize)]); len(answer) > 0 {
			write(w, http.StatusRequestEntityTooLarge, answer, "")
			return
		}
	}
	s.refuse(w, r, http.StatusRequestEntityTooLarge, "the message is too long")
}

func (s server) answer(w http.ResponseWriter, answer []byte, charset string) {
	if len(answer) == 0 {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	status := http.StatusOK
	if a, err := hl7.ParseAck(answer); err == nil {
		status = Status(a.Code)
	}
	write(w, status, answer, charset)
}

func write(w http.ResponseWriter, status int, answer []byte, charset string) {
	w.Header().Set("Content-Type", mediaType(charset))
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(answer)
}

func mediaType(charset string) string {
	if charset == "" {
		return ContentType
	}
	return mime.FormatMediaType(ContentType, map[string]string{"charset": charset})
}

// Status is the status of the response that carries an acknowledgement.
func Status(code hl7.AckCode) int {
	switch code {
	case hl7.ApplicationError, hl7.CommitError:
		return http.StatusInternalServerError
	case hl7.ApplicationReject, hl7.CommitReject:
		return http.StatusBadRequest
	}
	return http.StatusOK
}

// Charset is the charset parameter for a message, by its MSH-18; empty where there is
// no name for it on the Internet.
func Charset(m *hl7.Message) string {
	declared := strings.TrimSpace(m.Get("MSH-18[1]"))
	if n, ok := strings.CutPrefix(declared, "8859/"); ok {
		return "ISO-8859-" + n
	}
	switch declared {
	case "", "ASCII", "UNICODE UTF-8", "UNICODE":
		return "UTF-8"
	case "GB 18030-2000":
		return "GB18030"
	case "BIG-5":
		return "Big5"
	case "KS X 1001":
		return "EUC-KR"
	}
	return ""
}
