package wire

import (
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// A PTY is a serial line without a cable: the gateway opens Path.
type PTY struct {
	Path          string
	master, slave *os.File
}

// OpenPTY makes a pseudo terminal and a symbolic link to it at path; a link that
// is there already is replaced. It holds the other end open, so that the
// gateway may come and go.
func OpenPTY(path string) (*PTY, error) {
	master, slave, err := pty.Open()
	if err != nil {
		return nil, err
	}
	defer master.Close()
	p := &PTY{Path: path, slave: slave}
	if p.master, err = pollable(master); err == nil {
		err = p.prepare()
	}
	if err != nil {
		slave.Close()
		return nil, fmt.Errorf("pty %s: %w", path, err)
	}
	return p, nil
}

// pollable is the same file, not blocking, so that it has deadlines.
func pollable(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

func (p *PTY) prepare() error {
	if err := raw(int(p.slave.Fd())); err != nil {
		return err
	}
	if info, err := os.Lstat(p.Path); err == nil {
		if info.Mode()&fs.ModeSymlink == 0 {
			return fmt.Errorf("is there already and is no link of ours")
		}
		if err := os.Remove(p.Path); err != nil {
			return err
		}
	}
	if err := os.Symlink(p.slave.Name(), p.Path); err != nil {
		return err
	}
	return nil
}

// raw switches off echo and every translation.
func raw(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}

// Read reads what the gateway writes.
func (p *PTY) Read(b []byte) (int, error) { return p.master.Read(b) }

// SetReadDeadline frees a blocked Read.
func (p *PTY) SetReadDeadline(t time.Time) error { return p.master.SetReadDeadline(t) }

// SetWriteDeadline frees a blocked Write.
func (p *PTY) SetWriteDeadline(t time.Time) error { return p.master.SetWriteDeadline(t) }

// Write writes to the line.
func (p *PTY) Write(b []byte) (int, error) { return p.master.Write(b) }

// Taken reports whether everything that was written has been read.
func (p *PTY) Taken() bool {
	n, err := unix.IoctlGetInt(int(p.slave.Fd()), unix.TIOCINQ)
	return err == nil && n == 0
}

// Close closes the line and removes the link.
func (p *PTY) Close() error {
	os.Remove(p.Path)
	p.slave.Close()
	return p.master.Close()
}
