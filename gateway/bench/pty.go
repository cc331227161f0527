package main

import (
	"os"
	"syscall"

	"github.com/creack/pty"
)

// A terminal is a serial line without a cable: the gateway opens what path names, and
// sets it raw.
type terminal struct {
	*os.File // our end
	slave    *os.File
}

func openTerminal() (*terminal, error) {
	master, slave, err := pty.Open()
	if err != nil {
		return nil, err
	}
	defer master.Close()
	fd, err := syscall.Dup(int(master.Fd()))
	if err == nil {
		err = syscall.SetNonblock(fd, true) // so that it has deadlines
	}
	if err != nil {
		slave.Close()
		return nil, err
	}
	return &terminal{os.NewFile(uintptr(fd), master.Name()), slave}, nil
}

func (t *terminal) path() string { return t.slave.Name() }

// Close closes both ends; the gateway's was held open, so that it may come and go.
func (t *terminal) Close() error {
	t.slave.Close()
	return t.File.Close()
}
