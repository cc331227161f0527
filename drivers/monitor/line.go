package monitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// maxLine is the longest line that is kept: an N-595 prints 80 characters, a
// Radical-7 about 160.
const maxLine = 512

// A Line is one line of a serial device, or what was between two.
type Line struct {
	Raw  []byte // without its end; of a line that was too long the first maxLine bytes
	Kind LineKind
	Reading
}

// A LineKind says what a line is.
type LineKind int

// Kinds of line.
const (
	LineReading    LineKind = iota // it has observations
	LineHeader                     // something that the device prints beside: a heading, a prompt
	LineUnreadable                 // noise, a line that was cut, a form that is not known
	LineTooLong                    // over the limit
)

// Lines is the line core of the oximeters: bytes in, lines out. It does no I/O
// and has no clock. A line ends with CR, LF or both; an empty one is no line.
type Lines struct {
	parse   func(text string, s Source) (Reading, LineKind)
	source  Source
	pending []byte
	long    bool
	started bool // a line end was seen: what came before the first may be half a line
}

// Receive takes what was read and returns the lines that it ends.
func (l *Lines) Receive(b []byte) []Line {
	var lines []Line
	for _, c := range b {
		if c != '\r' && c != '\n' {
			if len(l.pending) < maxLine {
				l.pending = append(l.pending, c)
			} else {
				l.long = true
			}
			continue
		}
		if line, ok := l.end(); ok {
			lines = append(lines, line)
		}
	}
	return lines
}

// Pending is how many bytes of a line without an end there are.
func (l *Lines) Pending() int { return len(l.pending) }

// end is a line end.
func (l *Lines) end() (Line, bool) {
	first := !l.started
	l.started = true
	if len(l.pending) == 0 {
		return Line{}, false
	}
	line := Line{Raw: l.pending}
	long := l.long
	l.pending, l.long = nil, false
	switch {
	case long:
		line.Kind = LineTooLong
	case !printable(line.Raw):
		line.Kind = LineUnreadable
	default:
		line.Reading, line.Kind = l.parse(string(line.Raw), l.source)
		if first && line.Kind == LineUnreadable {
			line.Kind = LineHeader // we came in the middle of a line
		}
	}
	return line, true
}

func printable(b []byte) bool {
	for _, c := range b {
		if (c < ' ' || c > '~') && c != '\t' {
			return false
		}
	}
	return true
}

// A Conn is what Serve reads; port.Conn is one.
type Conn interface {
	io.Reader
	SetReadDeadline(time.Time) error
}

// ErrSilent is what Serve returns when nothing came for as long as it waits.
var ErrSilent = errors.New("monitor: the device is silent")

// Serve reads lines from c until ctx ends, c fails, nothing comes for silence
// (0: wait for ever) or handle returns an error. handle gets every line, read or
// not, in order; a device on a serial port cannot be answered, so that an error
// of handle only ends the connection.
func Serve(ctx context.Context, c Conn, l *Lines, silence time.Duration, handle func(context.Context, Line) error) error {
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)); close(woken) })
	defer func() {
		if !stop() {
			<-woken
		}
	}()
	buffer := make([]byte, 1024)
	for {
		if silence > 0 {
			c.SetReadDeadline(time.Now().Add(silence))
		}
		if ctx.Err() != nil { // after the deadline, which may have replaced that of AfterFunc
			return ctx.Err()
		}
		n, err := c.Read(buffer)
		for _, line := range l.Receive(buffer[:n]) {
			if err := handle(ctx, line); err != nil {
				return err
			}
		}
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var timeout interface{ Timeout() bool }
		if errors.As(err, &timeout) && timeout.Timeout() {
			return fmt.Errorf("%w for %v", ErrSilent, silence)
		}
		return err
	}
}
