package profiletest

import (
	"bytes"
	"slices"

	"nhip/drivers/astm/e1381"
	"nhip/drivers/transcript"
)

// faults is test 5: what comes through a faulty line is the same.
func (c *checker) faults(file string, steps []transcript.Step, want [][]byte) {
	same := func(fault string, got [][]byte) {
		if !slices.EqualFunc(got, want, bytes.Equal) {
			c.found(5, file, "%s: other messages come through (%d, without it %d)", fault, len(got), len(want))
		}
	}
	switch protocol := c.p.Protocol(); {
	case protocol == "file":
		return
	case c.core() != nil:
		got, err := converse(steps, c.core(), 1)
		if err != nil {
			c.found(5, file, "pieces of one byte: %v", err)
			return
		}
		same("pieces of one byte", got)
		return
	case protocol == "hl7" || protocol == "law":
		got, err := blocks(steps, 1)
		if err != nil {
			c.found(5, file, "pieces of one byte: %v", err)
			return
		}
		same("pieces of one byte", got)
		return
	}
	line := sent(steps)
	same("pieces of one byte", receive(line, 1))
	same("every frame corrupted once", receive(eachFrame(line, func(frame []byte) []byte {
		broken := bytes.Clone(frame)
		broken[len(broken)/2] ^= 0x01
		return append(broken, frame...)
	}), len(line)))
	same("every acknowledgement lost once", receive(eachFrame(line, func(frame []byte) []byte {
		return append(bytes.Clone(frame), frame...)
	}), len(line)))
}

// receive gives the messages that a receiver stores.
func receive(line []byte, size int) [][]byte {
	r := e1381.NewReceiver(0, 0)
	var stored []e1381.Message
	for piece := range slices.Chunk(line, size) {
		for len(piece) > 0 {
			n, actions := r.Receive(piece)
			piece = piece[n:]
			for _, a := range actions {
				if s, ok := a.(e1381.Store); ok {
					stored = append(stored, s.Messages...)
				}
			}
		}
	}
	return records(stored)
}

// eachFrame replaces every frame, STX to LF, of what a device sends.
func eachFrame(line []byte, by func([]byte) []byte) []byte {
	var out []byte
	for len(line) > 0 {
		start := bytes.IndexByte(line, e1381.STX)
		end := bytes.IndexByte(line, e1381.LF)
		if start < 0 || end < start {
			return append(out, line...)
		}
		out = append(append(out, line[:start]...), by(line[start:end+1])...)
		line = line[end+1:]
	}
	return out
}
