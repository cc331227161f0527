//go:build !linux

package port

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"go.bug.st/serial"
)

// serialConn gives go.bug.st/serial the deadlines it lacks: its read that times out
// is (0, nil), and its write has no time-out, so a write that misses its deadline
// closes the port, which is opened again.
type serialConn struct {
	port   serial.Port
	device string

	mu          sync.Mutex
	read, write time.Time
}

// slice is how long one read blocks at most: an earlier deadline set meanwhile, by
// which Serve frees a read, is seen after that.
const slice = 200 * time.Millisecond

func openSerial(m serialMode) (Conn, error) {
	if m.flow != "none" {
		return nil, fmt.Errorf("flow=%s is only possible on Linux", m.flow)
	}
	mode := &serial.Mode{
		BaudRate: m.baud,
		DataBits: m.data,
		Parity: map[string]serial.Parity{"none": serial.NoParity, "odd": serial.OddParity, "even": serial.EvenParity,
			"mark": serial.MarkParity, "space": serial.SpaceParity}[m.parity],
		StopBits: map[int]serial.StopBits{1: serial.OneStopBit, 2: serial.TwoStopBits}[m.stop],
	}
	p, err := serial.Open(m.device, mode)
	var portError *serial.PortError
	if errors.As(err, &portError) {
		switch portError.Code() {
		case serial.PortBusy:
			return nil, fmt.Errorf("%w: %w", errInUse, err)
		case serial.PortNotFound:
			return nil, fmt.Errorf("%w: %w", fs.ErrNotExist, err)
		case serial.PermissionDenied:
			return nil, fmt.Errorf("%w: %w", fs.ErrPermission, err)
		}
	}
	if err != nil {
		return nil, err
	}
	return &serialConn{port: p, device: m.device}, nil
}

func (c *serialConn) Read(b []byte) (int, error) {
	for {
		c.mu.Lock()
		wait := slice
		if !c.read.IsZero() {
			wait = min(wait, time.Until(c.read))
		}
		c.mu.Unlock()
		if wait <= 0 {
			return 0, os.ErrDeadlineExceeded
		}
		if err := c.port.SetReadTimeout(max(wait, time.Millisecond)); err != nil {
			return 0, closedPort(err)
		}
		n, err := c.port.Read(b)
		if n > 0 || err != nil {
			return n, closedPort(err)
		}
	}
}

func (c *serialConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	deadline := c.write
	c.mu.Unlock()
	if !deadline.IsZero() {
		late := time.AfterFunc(time.Until(deadline), func() { c.port.Close() })
		defer late.Stop()
	}
	written := 0
	for written < len(b) {
		n, err := c.port.Write(b[written:])
		written += n
		if err != nil && !deadline.IsZero() && !time.Now().Before(deadline) {
			return written, os.ErrDeadlineExceeded
		}
		if err != nil {
			return written, closedPort(err)
		}
	}
	return written, nil
}

// closedPort: pulled out, or closed by us.
func closedPort(err error) error {
	var portError *serial.PortError
	if errors.As(err, &portError) && portError.Code() == serial.PortClosed {
		return io.EOF
	}
	return err
}

func (c *serialConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read = t
	return nil
}

func (c *serialConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.write = t
	return nil
}

func (c *serialConn) Close() error { return c.port.Close() }

func (c *serialConn) Peer() string { return c.device }
