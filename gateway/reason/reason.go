// Package reason is why something is held, waits, is not open or was refused: a
// code with arguments, stored as such, which people read in their language and
// the log has in English. It imports the standard library only.
package reason

import (
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// A Code names a sentence of this package. It is stored: a code that is in use
// is never given another meaning.
type Code string

// A Reason is a sentence and what goes into its places. Its zero value says
// nothing.
type Reason struct {
	Code  Code     `json:"code,omitempty"`
	Args  []string `json:"args,omitempty"`  // codes, numbers, addresses, UIDs: never a patient's data
	Said  string   `json:"said,omitempty"`  // the peer's own text, for people only: it may name a patient
	Times int      `json:"times,omitempty"` // how often it happened before it was given up; 0: not counted
}

// New makes a Reason.
func New(code Code, args ...string) Reason { return Reason{Code: code, Args: args} }

// Text is a Reason that has no code: what a program or system said.
func Text(s string) Reason { return Reason{Args: []string{s}} }

// IsZero reports whether the Reason says nothing.
func (r Reason) IsZero() bool { return r.Code == "" && len(r.Args) == 0 && r.Said == "" }

// String is the Reason in English without what the peer said: for the log.
func (r Reason) String() string {
	r.Said = ""
	return r.In(English)
}

// In is the Reason in a language, for people. A code that is not known, which a
// newer version has stored, shows its name and arguments.
func (r Reason) In(l Language) string {
	t, ok := texts[r.Code]
	args := r.Args
	if l == Vietnamese {
		args = make([]string, len(r.Args))
		for i, a := range r.Args {
			args[i] = inVietnamese(a)
		}
	}
	s := Fill(t[l], args)
	if !ok {
		s = strings.TrimSpace(string(r.Code) + " " + strings.Join(args, " "))
	}
	if r.Said != "" {
		s += ": " + r.Said
	}
	if r.Times > 0 {
		s = Fill(given[l], []string{strconv.Itoa(r.Times), s})
	}
	return s
}

// A Language is one of those in which people read.
type Language int

// The languages.
const (
	English Language = iota
	Vietnamese
)

// String is the language as HTML and HTTP name it.
func (l Language) String() string { return [...]string{"en", "vi"}[l] }

// Fill puts the arguments into the places {0}, {1} … of a text.
func Fill(text string, args []string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, "{")
		b.WriteString(before)
		if !found {
			return strings.TrimSpace(b.String())
		}
		place, rest, _ := strings.Cut(after, "}")
		if i, err := strconv.Atoi(place); err == nil && i < len(args) {
			b.WriteString(args[i])
		}
		text = rest
	}
}

// Network says why there is no connection.
func Network(err error) Reason {
	var name *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &name):
		return New(NoSuchHost, name.Name)
	case errors.Is(err, syscall.ECONNREFUSED):
		return New(NothingListens)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return New(NoRoute)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return New(ConnectTimeout)
	}
	return New(NoConnection, last(err))
}

// Listen says why a port cannot be opened.
func Listen(err error) Reason {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return New(PortTaken)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return New(NoSuchAddress)
	case errors.Is(err, syscall.EACCES):
		return New(PortNotPermitted)
	}
	return Text(err.Error())
}

// Broken says that a connection broke before the answer.
func Broken(err error) Reason { return New(ConnectionBroke, last(err)) }

// last is the part of a network error that is for people: the last one.
func last(err error) string {
	s := err.Error()
	if i := strings.LastIndex(s, ": "); i >= 0 && i < len(s)-2 {
		return s[i+2:]
	}
	return s
}
