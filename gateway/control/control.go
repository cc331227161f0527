// Package control is how people act on a running gateway: HTTP with JSON over the
// socket DATA/control.sock, which only the user that runs the gateway (and root)
// can open, and the same handlers for the console's listener. Who acts is known
// from the other end of the socket (SO_PEERCRED) or from the person's token,
// never from what the request says.
package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Socket is the name of the socket in the data directory.
const Socket = "control.sock"

// Limits of a request.
const (
	maxRequest = 1 << 20
	maxBy      = 100
	maxActs    = 16 // connections at once
)

// An Actor is who asks for something.
type Actor struct {
	User string // of the operating system, or the person whose token it was
	By   string // the person's name as given with --by; with a token the same as User
	Via  string // ViaSocket, ViaConsole or ViaStore
}

// The ways by which an act comes.
const (
	ViaSocket  = "socket"
	ViaConsole = "console"
	ViaStore   = "store" // no gateway ran: the command line opened the store
)

// A Handler does one thing. The request is JSON; the answer becomes JSON. An
// error is told as it is to who asked: no patient data in it.
type Handler func(ctx context.Context, who Actor, request json.RawMessage) (answer any, err error)

// An Error is a refusal with the status of HTTP that says whose fault it is.
type Error struct {
	Status int
	Text   string
}

func (e *Error) Error() string { return e.Text }

// Bad says that the request is wrong, Unknown that it names what is not there.
func Bad(format string, args ...any) error {
	return &Error{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// Unknown says that the request names what is not there.
func Unknown(format string, args ...any) error {
	return &Error{http.StatusNotFound, fmt.Sprintf(format, args...)}
}

// ErrNotRunning says that no gateway answers on the socket.
var ErrNotRunning = errors.New("no gateway runs on this data folder")

// An Acts is the set of handlers. Register all before the first request.
type Acts struct {
	log      *slog.Logger
	handlers map[string]Handler
	local    map[string]bool
}

// New returns an empty set.
func New(log *slog.Logger) *Acts {
	return &Acts{log: log, handlers: map[string]Handler{}, local: map[string]bool{}}
}

// Register adds a handler under a path such as "resend". It is reached at
// POST /api/v1/resend on the socket, and on the console by a person's token.
func (a *Acts) Register(path string, h Handler) { a.handlers[path] = h }

// RegisterLocal adds a handler that only the socket has: for what takes a path of
// this machine.
func (a *Acts) RegisterLocal(path string, h Handler) { a.handlers[path], a.local[path] = h, true }

// Paths are those that the console has too, sorted.
func (a *Acts) Paths() []string {
	var paths []string
	for p := range a.handlers {
		if !a.local[p] {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	return paths
}

// Do calls a handler in this process, and decodes its answer where answer is not
// nil.
func (a *Acts) Do(ctx context.Context, who Actor, path string, request, answer any) error {
	h, ok := a.handlers[path]
	if !ok {
		return Unknown("there is no %q", path)
	}
	b, err := json.Marshal(request)
	if err != nil {
		return err
	}
	got, err := h(ctx, who, b)
	if err != nil || answer == nil {
		return err
	}
	if b, err = json.Marshal(got); err != nil {
		return err
	}
	return json.Unmarshal(b, answer)
}

// Answer serves one POST of the API by who, whom the caller has made sure of.
func (a *Acts) Answer(w http.ResponseWriter, r *http.Request, path string, who Actor) {
	h, ok := a.handlers[path]
	if !ok || who.Via == ViaConsole && a.local[path] {
		refuse(w, http.StatusNotFound, "there is nothing here")
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, http.StatusMethodNotAllowed, "only POST")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		refuse(w, http.StatusRequestEntityTooLarge, "the request cannot be read, or is over 1 MiB")
		return
	}
	if len(bytes.TrimSpace(body)) == 0 {
		body = []byte("{}")
	}
	if !json.Valid(body) {
		refuse(w, http.StatusBadRequest, "the request is not JSON")
		return
	}
	answer, err := h(r.Context(), who, body)
	if err != nil {
		a.log.Warn("an act was refused", "act", path, "user", who.User, "by", who.By, "via", who.Via, "error", err)
		var e *Error
		if errors.As(err, &e) {
			refuse(w, e.Status, e.Text)
			return
		}
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	write(w, http.StatusOK, answer)
}

type refusal struct {
	Error string `json:"error"`
}

func refuse(w http.ResponseWriter, status int, text string) { write(w, status, refusal{text}) }

func write(w http.ResponseWriter, status int, value any) {
	b, err := json.Marshal(value)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be written"}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // who asked may be gone
}

type userKey struct{}

// ServeHTTP answers on the socket.
func (a *Acts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, _ := r.Context().Value(userKey{}).(string)
	by := r.URL.Query().Get("by")
	path, api := cut(r.URL.Path)
	switch {
	case user == "":
		refuse(w, http.StatusForbidden, "the system does not say who asks")
	case !api:
		refuse(w, http.StatusNotFound, "there is nothing here")
	case len(by) > maxBy:
		refuse(w, http.StatusBadRequest, "the name is longer than 100 bytes")
	default:
		a.Answer(w, r, path, Actor{User: user, By: by, Via: ViaSocket})
	}
}

const prefix = "/api/v1/"

func cut(path string) (string, bool) {
	if len(path) <= len(prefix) || path[:len(prefix)] != prefix {
		return "", false
	}
	return path[len(prefix):], true
}

// Listen opens the socket in a data directory whose store the caller holds: a
// socket that is there was left by a process that died.
func Listen(dir string) (net.Listener, error) {
	name, done, err := short(dir)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := os.Remove(filepath.Join(dir, Socket)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("control: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(filepath.Join(dir, Socket), 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("control: %w", err)
	}
	return l, nil
}

// maxSocketName is the length of a socket's name on Linux, with its end.
const maxSocketName = 107

// short is a name of the socket that fits into an address, good until done.
func short(dir string) (name string, done func(), err error) {
	name = filepath.Join(dir, Socket)
	if len(name) <= maxSocketName {
		return name, func() {}, nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return "", nil, fmt.Errorf("control: %w", err)
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), Socket), func() { d.Close() }, nil
}

// Serve answers on the socket until the context ends, then lets what is under way
// finish for at most grace. It owns the listener.
func (a *Acts) Serve(ctx context.Context, l net.Listener, grace time.Duration) error {
	server := &http.Server{
		Handler:           a,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       10 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, userKey{}, peerUser(c))
		},
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(&few{Listener: l, slots: make(chan struct{}, maxActs)}) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if server.Shutdown(end) != nil {
		server.Close()
	}
	<-ended
	return nil
}

// few lets at most so many connections be open as there are slots.
type few struct {
	net.Listener
	slots chan struct{}
}

func (l *few) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.slots <- struct{}{}:
			return &counted{UnixConn: c.(*net.UnixConn), slots: l.slots}, nil
		default:
			c.Close()
		}
	}
}

type counted struct {
	*net.UnixConn
	slots chan struct{}
	once  sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() { <-c.slots })
	return c.UnixConn.Close()
}

// Call asks the gateway that runs on a data directory, as the user of this process
// and by the person named. ErrNotRunning: there is none.
func Call(ctx context.Context, dir, by, path string, request, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			name, done, err := short(dir)
			if err != nil {
				return nil, err
			}
			defer done()
			return new(net.Dialer).DialContext(ctx, "unix", name)
		},
	}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://nhip"+prefix+path+"?by="+url.QueryEscape(by), bytes.NewReader(body))
	if err != nil {
		return err
	}
	got, err := client.Do(r)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return ErrNotRunning
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("this user may not act on the gateway of %s: become the user that runs it", dir)
	case err != nil:
		return fmt.Errorf("the gateway did not answer: %w", err)
	}
	defer got.Body.Close()
	if got.StatusCode != http.StatusOK {
		var why refusal
		if json.NewDecoder(io.LimitReader(got.Body, maxRequest)).Decode(&why) != nil || why.Error == "" {
			why.Error = got.Status
		}
		return &Error{got.StatusCode, why.Error}
	}
	if answer == nil {
		return nil
	}
	return json.NewDecoder(got.Body).Decode(answer)
}
