package port

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// serialConn is a serial port as a non-blocking file: Go's poller gives it read and
// write deadlines, and Close frees both. (With the usual serial libraries a read
// that timed out is (0, nil), and a write that flow control holds never returns.)
type serialConn struct {
	*os.File
	device string
}

func openSerial(m serialMode) (Conn, error) {
	f, err := os.OpenFile(m.device, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("%w: %w", errInUse, err)
	}
	if err != nil {
		return nil, err
	}
	c := &serialConn{f, m.device}
	if err := c.control(func(fd int) error { return configure(fd, m) }); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", m.device, err)
	}
	return c, nil
}

// control runs f with the descriptor. (File.Fd would make the file blocking.)
func (c *serialConn) control(f func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// configure takes the port for us alone and sets the line: raw, no echo, modem lines
// ignored. TIOCEXCL does not stop root, so the device is locked too.
func configure(fd int, m serialMode) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
	if err != nil {
		return fmt.Errorf("is not a serial port: %w", err)
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return errInUse
		}
		return fmt.Errorf("lock: %w", err)
	}
	if err := unix.IoctlSetInt(fd, unix.TIOCEXCL, 0); err != nil {
		return fmt.Errorf("exclusive use: %w", err)
	}
	m.apply(t)
	if err := unix.IoctlSetTermios(fd, unix.TCSETS2, t); err != nil {
		return fmt.Errorf("line settings: %w", err)
	}
	return unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIFLUSH) // noise from before
}

func (m serialMode) apply(t *unix.Termios) {
	t.Iflag = unix.IGNBRK
	t.Oflag = 0
	t.Lflag = 0
	t.Cflag = unix.CREAD | unix.CLOCAL | unix.HUPCL | unix.BOTHER
	t.Cflag |= [...]uint32{5: unix.CS5, 6: unix.CS6, 7: unix.CS7, 8: unix.CS8}[m.data]
	if m.stop == 2 {
		t.Cflag |= unix.CSTOPB
	}
	switch m.parity {
	case "odd":
		t.Cflag |= unix.PARENB | unix.PARODD
	case "even":
		t.Cflag |= unix.PARENB
	case "mark":
		t.Cflag |= unix.PARENB | unix.PARODD | unix.CMSPAR
	case "space":
		t.Cflag |= unix.PARENB | unix.CMSPAR
	}
	switch m.flow {
	case "rtscts":
		t.Cflag |= unix.CRTSCTS
	case "xonxoff":
		t.Iflag |= unix.IXON | unix.IXOFF
	}
	t.Ispeed, t.Ospeed = uint32(m.baud), uint32(m.baud)
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0 // with VMIN 0 no data would look like end of file
	t.Cc[unix.VSTART], t.Cc[unix.VSTOP] = 0x11, 0x13
}

// Read gives io.EOF when the adapter was pulled out or the other end has hung up.
func (c *serialConn) Read(b []byte) (int, error) {
	n, err := c.File.Read(b)
	if errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ENXIO) || errors.Is(err, syscall.ENODEV) {
		err = io.EOF
	}
	return n, err
}

// Close drops what is not sent yet: the kernel would wait for it, for half a minute
// when flow control holds it.
func (c *serialConn) Close() error {
	c.control(func(fd int) error { return unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCOFLUSH) })
	return c.File.Close()
}

func (c *serialConn) Peer() string { return c.device }
