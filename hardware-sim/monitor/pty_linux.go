package monitor

import (
	"fmt"
	"io/fs"
	"os"

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
	p := &PTY{Path: path, master: master, slave: slave}
	if err := p.prepare(); err != nil {
		master.Close()
		slave.Close()
		return nil, fmt.Errorf("pty %s: %w", path, err)
	}
	return p, nil
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
	_, err := p.master.Write([]byte("\r\n")) // shows whether somebody reads
	return err
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
