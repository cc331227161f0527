// Package wire is what the simulated peers need of the wire, written by hand and
// apart from the product's own codecs: a simulator that shares a codec cannot
// find what is wrong with it. It has MLLP blocks, HL7 fields split by hand, and
// a listener that can be out of service. It trusts its peer in everything but
// size, and is no library for anything but simulators.
package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

const (
	vt        = 0x0B
	separator = 0x1C
	cr        = 0x0D
)

// MaxBlock is the largest MLLP block that is read.
const MaxBlock = 16 << 20

// ErrBlock is a peer that does not speak MLLP: bytes outside a block, a block
// end without CR, a block over MaxBlock.
var ErrBlock = errors.New("hardware-sim/wire: not an MLLP block")

// ReadBlock reads one MLLP block, strictly: VT, the message, FS, CR.
func ReadBlock(r *bufio.Reader) ([]byte, error) {
	first, err := r.ReadByte()
	if err != nil {
		return nil, err
	}
	if first != vt {
		return nil, fmt.Errorf("%w: starts with %#02x", ErrBlock, first)
	}
	var message []byte
	for {
		part, err := r.ReadSlice(separator)
		message = append(message, part...)
		if len(message) > MaxBlock {
			return nil, fmt.Errorf("%w: over %d bytes", ErrBlock, MaxBlock)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err == io.EOF {
			return nil, io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		break
	}
	end, err := r.ReadByte()
	if err != nil {
		return nil, err
	}
	if end != cr {
		return nil, fmt.Errorf("%w: FS is followed by %#02x", ErrBlock, end)
	}
	return bytes.TrimSuffix(message, []byte{separator}), nil
}

// Block is the message in its MLLP block.
func Block(message []byte) []byte {
	b := make([]byte, 0, len(message)+3)
	b = append(b, vt)
	b = append(b, message...)
	return append(b, separator, cr)
}

// Committed is the block with which release 2 of MLLP says that a block is in safe
// storage, and NotCommitted that it is not.
var (
	Committed    = []byte{vt, 0x06, separator, cr}
	NotCommitted = []byte{vt, 0x15, separator, cr}
)

// IsCommit reports whether the content of a block is a commit acknowledgement, and
// whether it is positive.
func IsCommit(content []byte) (is, ok bool) {
	return len(content) == 1 && (content[0] == 0x06 || content[0] == 0x15), len(content) == 1 && content[0] == 0x06
}
