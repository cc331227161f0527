package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/cespare/xxhash/v2"
)

// The high-water mark is a file beside Badger with the last number that was
// given out: of commits, and in every channel and queue. It is written after
// the commit and nobody waits for it, so it is a lower bound; what it promises
// to exist must exist. It is made of slots that lie within one page and have a
// checksum each: a slot is never half written by a process that dies. Zeroes at
// the end are no damage: they are slots that were not on disk yet.
const (
	slotSize  = 256
	slotValue = 8  // offset of the number, after the checksum
	slotKind  = 16 // space of the name: spaceRoot, spaceChannel, spaceQueue
	slotName  = 17 // length, then the name
)

type mark struct {
	space byte
	name  string
}

type highwater struct {
	file  *os.File
	slots map[mark]int
	data  []byte // the file, as it should be
	dirty [2]int // the slots to write, from and to
}

// openHighwater reads the marks. damaged counts slots that fail their checksum;
// they are written anew.
func openHighwater(path string, readOnly bool) (h *highwater, marks map[mark]uint64, damaged int, err error) {
	flags := os.O_RDWR | os.O_CREATE
	if readOnly {
		flags = os.O_RDONLY
	}
	file, err := os.OpenFile(path, flags, 0o600)
	if readOnly && errors.Is(err, fs.ErrNotExist) {
		return nil, nil, 0, nil
	}
	if err != nil {
		return nil, nil, 0, err
	}
	data, err := io.ReadAll(io.LimitReader(file, 64<<20))
	if err != nil {
		file.Close()
		return nil, nil, 0, err
	}
	h = &highwater{file: file, slots: map[mark]int{}}
	marks = map[mark]uint64{}
	// A power cut can leave the file longer than what of it was written.
	data = bytes.TrimRight(data, "\x00")
	data = append(data, make([]byte, -len(data)&(slotSize-1))...)
	for len(data) > 0 {
		slot := data[:min(slotSize, len(data))]
		data = data[len(slot):]
		m, value, ok := parseSlot(slot)
		if !ok {
			damaged++
			continue
		}
		marks[m] = max(value, marks[m])
	}
	return h, marks, damaged, nil
}

func parseSlot(b []byte) (m mark, value uint64, ok bool) {
	if len(b) != slotSize || int(b[slotName]) > MaxName ||
		binary.LittleEndian.Uint64(b) != xxhash.Sum64(b[slotValue:]) {
		return m, 0, false
	}
	m = mark{b[slotKind], string(b[slotName+1 : slotName+1+b[slotName]])}
	return m, binary.LittleEndian.Uint64(b[slotValue:]), true
}

// set notes a mark; write writes what was noted.
func (h *highwater) set(m mark, value uint64) {
	i, ok := h.slots[m]
	if !ok {
		i = len(h.slots)
		h.slots[m] = i
		slot := make([]byte, slotSize)
		slot[slotKind] = m.space
		slot[slotName] = byte(copy(slot[slotName+1:], m.name))
		h.data = append(h.data, slot...)
	}
	slot := h.data[i*slotSize:][:slotSize]
	binary.LittleEndian.PutUint64(slot[slotValue:], value)
	binary.LittleEndian.PutUint64(slot, xxhash.Sum64(slot[slotValue:]))
	if h.dirty[0] == h.dirty[1] {
		h.dirty = [2]int{i, i + 1}
		return
	}
	h.dirty = [2]int{min(h.dirty[0], i), max(h.dirty[1], i+1)}
}

func (h *highwater) write() error {
	from, to := h.dirty[0]*slotSize, h.dirty[1]*slotSize
	h.dirty = [2]int{}
	if _, err := h.file.WriteAt(h.data[from:to], int64(from)); err != nil {
		return fmt.Errorf("storage: high-water mark: %w", err)
	}
	return nil
}

// rewrite makes the file hold exactly what was set, for Open after a damage.
func (h *highwater) rewrite() error {
	if err := h.write(); err != nil {
		return err
	}
	if err := h.file.Truncate(int64(len(h.data))); err != nil {
		return err
	}
	return h.file.Sync()
}
