//go:build !linux

package wire

import (
	"errors"
	"time"
)

// A PTY is a serial line without a cable; here there are none.
type PTY struct{ Path string }

// OpenPTY fails: pseudo terminals are used on Linux only.
func OpenPTY(string) (*PTY, error) { return nil, errors.New("no pseudo terminals on this system") }

// Read fails.
func (*PTY) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }

// SetReadDeadline fails.
func (*PTY) SetReadDeadline(time.Time) error { return errors.ErrUnsupported }

// SetWriteDeadline fails.
func (*PTY) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

// Write fails.
func (*PTY) Write([]byte) (int, error) { return 0, errors.ErrUnsupported }

// Taken reports false.
func (*PTY) Taken() bool { return false }

// Close does nothing.
func (*PTY) Close() error { return nil }
