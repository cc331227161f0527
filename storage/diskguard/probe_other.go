//go:build !linux

package diskguard

import "errors"

// System is there on Linux only: elsewhere the disk is not guarded.
func System(string) (free, total uint64, err error) { return 0, 0, errors.ErrUnsupported }

func allocate(string, int64) error { return errors.ErrUnsupported }
