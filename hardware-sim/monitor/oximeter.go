package monitor

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"nhip/hardware-sim/truth"
	"nhip/hardware-sim/wire"
)

// oximetry is what the oximeter measures, in the order of its line.
var oximetry = []metric{
	{150456, "MDC_PULS_OXIM_SAT_O2", 0, "", "%", 97, 85, 100, 0.6, 0},
	{149530, "MDC_PULS_OXIM_PULS_RATE", 0, "", "{beat}/min", 76, 40, 160, 2, 0},
	{150488, "MDC_BLD_PERF_INDEX", 0, "", "%", 2.5, 0.2, 19, 0.4, 2},
}

// An Oximeter writes a line of the Masimo ASCII 1 format every so often. Nobody
// acknowledges a line: what was written while somebody read counts as handed
// over.
type Oximeter struct {
	o    Options
	walk *walk

	number int       // of lines, owned by Run
	last   time.Time // on the device's clock, of the last line

	mu      sync.Mutex
	sent    int
	stopped bool
}

// NewOximeter returns an oximeter without a line yet.
func NewOximeter(o Options) *Oximeter {
	return &Oximeter{o: o, walk: newWalk(o.Seed, o.Name, oximetry)}
}

// Stop ends the measuring.
func (x *Oximeter) Stop() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.stopped = true
}

// Sent is the number of lines that were written.
func (x *Oximeter) Sent() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.sent
}

// A SerialLine is where an oximeter writes.
type SerialLine interface {
	io.WriteCloser
	// Taken reports whether everything written so far was read at the other
	// end, as far as that can be known.
	Taken() bool
}

// Run writes lines until ctx ends, it is stopped or the line breaks, which is
// the error; it may be called again then. Every line has its own second on the device's clock: that is all
// the format has. The next line waits until the one before was read.
func (x *Oximeter) Run(ctx context.Context, line SerialLine) error {
	stop := context.AfterFunc(ctx, func() { line.Close() })
	defer stop()
	if _, err := line.Write([]byte("\r\n")); err != nil { // shows whether somebody reads
		return err
	}
	var written []truth.Item
	tick := time.NewTicker(x.o.Every)
	defer tick.Stop()
	for {
		select { // a line that was just written does not show as unread at once
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if line.Taken() {
			x.o.acknowledge(written)
			written = nil
			if x.done() {
				return nil
			}
			if at := time.Now().In(x.o.Zone).Truncate(time.Second); at.After(x.last) {
				x.number++
				text, items := x.line(x.number, at)
				x.o.offer(items)
				if _, err := line.Write([]byte(text)); err != nil {
					return err
				}
				x.count()
				x.last, written = at, items
			}
		}
	}
}

func (x *Oximeter) done() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.stopped || x.o.Limit > 0 && x.sent >= x.o.Limit
}

func (x *Oximeter) count() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.sent++
}

// line is one line with the truth of it.
func (x *Oximeter) line(number int, at time.Time) (string, []truth.Item) {
	v := x.walk.next(oximetry)
	fields := []string{pad(v[0], 3), pad(v[1], 3), pad(v[2], 5)}
	var items []truth.Item
	for n, m := range oximetry {
		items = append(items, observation(x.o.Name, number, m, fields[n], at, x.o.Watchers))
	}
	return fmt.Sprintf("%s SN=0000093112 SPO2=%s%% BPM=%s PI=%s%% SPCO=--%% SPMET=--.-%% DESAT=-- PIDELTA=+-- PVI=--- ALARM=000000 EXC=000000\r\n",
		at.Format("01/02/06 15:04:05"), fields[0], fields[1], fields[2]), items
}

// pad is a number with leading zeroes, as the device prints it.
func pad(text string, width int) string {
	for len(text) < width {
		text = "0" + text
	}
	return text
}

// A Socket is a TCP connection as a SerialLine: nobody knows what of it was
// read, but that the other end has closed it is noticed before a line is
// written into nothing.
type Socket struct {
	line   wire.Line
	broken chan struct{}
}

// NewSocket returns the connection as a line. What comes from the other end is
// not looked at.
func NewSocket(line wire.Line) *Socket {
	s := &Socket{line, make(chan struct{})}
	go func() { // ends with the connection
		defer close(s.broken)
		io.Copy(io.Discard, line)
	}()
	return s
}

// Write writes to the line.
func (s *Socket) Write(b []byte) (int, error) {
	select {
	case <-s.broken:
		return 0, io.ErrClosedPipe
	default:
		return s.line.Write(b)
	}
}

// Taken reports true.
func (s *Socket) Taken() bool { return true }

// Close closes the connection.
func (s *Socket) Close() error {
	err := s.line.Close()
	<-s.broken
	return err
}
