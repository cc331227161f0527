package e1381_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"nhip/drivers/astm/e1381"
)

// Two sessions of an instrument, frames of every kind, as it sends them when it is
// answered ACK.
func sessions(d e1381.Dialect) (line []byte, messages []string) {
	messages = []string{"H|\\^&|||X\rP|1\rO|1|S1\rR|1|^^^GLU|5.1|mmol/L\rL|1|N\r", "H|\\^&|||X\rQ|1|^S2||ALL\rL|1|N\r"}
	for i, m := range messages {
		s := d.Sender(e1381.Instrument)
		frames := e1381.Frames([]byte(m), e1381.Packing(i), 20)
		add := func(actions []e1381.Action) {
			for _, a := range actions {
				if send, ok := a.(e1381.Send); ok {
					line = append(line, send.Bytes...)
				}
			}
		}
		add(s.Start(frames))
		for range len(frames) + 1 {
			_, actions := s.Receive([]byte{e1381.ACK})
			add(actions)
		}
	}
	return line, messages
}

// Every byte of two sessions dropped, doubled, flipped, the line cut at every byte, and
// ENQ in place of and before every byte: what is stored was sent, what was cut is kept
// apart, and the same sessions afterwards come through.
func TestEveryByteDroppedDoubledFlippedAndENQ(t *testing.T) {
	for name, d := range map[string]e1381.Dialect{"standard": {}, "exclusive or": {Check: e1381.XOR}, "open": {Open: true}} {
		line, messages := sessions(d)
		try := func(what string, at int, broken []byte) {
			t.Helper()
			h := newHost(d)
			h.receive(broken)
			h.play("timeout", "timeout")
			for _, m := range h.stored {
				if !slices.Contains(messages, m) {
					t.Errorf("%s: %s at %d: stored %q", name, what, at, m)
				}
			}
			before := len(h.stored)
			h.receive(line)
			if got := len(h.stored) - before; got != len(messages) {
				t.Errorf("%s: %s at %d: afterwards %d messages come through: %s", name, what, at, got, strings.Join(h.did, " "))
			}
		}
		for i := range line {
			try("cut", i, line[:i])
			try("dropped", i, slices.Delete(bytes.Clone(line), i, i+1))
			try("doubled", i, slices.Insert(bytes.Clone(line), i, line[i]))
			try("ENQ before", i, slices.Insert(bytes.Clone(line), i, e1381.ENQ))
			for _, b := range []byte{line[i] ^ 0x01, line[i] ^ 0x80, e1381.ENQ, e1381.EOT, e1381.STX} {
				other := bytes.Clone(line)
				other[i] = b
				if d.Check == e1381.XOR && bytes.IndexByte(line, b) < 0 && b == line[i]^0x01 {
					continue
				}
				try(fmt.Sprintf("%02X in place", b), i, other)
			}
		}
	}
}

// A NAK storm: whatever we send is refused. The line gives up after the standard's
// number of attempts, tells, and is free for the instrument.
func TestNAKStorm(t *testing.T) {
	for storm := range 30 {
		h := newHost(e1381.Dialect{})
		h.play("offer", "timeout")
		for range storm {
			h.receive([]byte(nak))
			if h.timer == "10s" {
				h.play("timeout")
			}
		}
		switch {
		case storm >= 6 && len(h.failed) != 1:
			t.Errorf("%d NAK: %q", storm, h.failed)
		case storm < 6 && len(h.failed) != 0:
			t.Errorf("%d NAK: given up already", storm)
		}
		if storm >= 6 {
			h.receive([]byte("\x05" + query + "\x04"))
			if len(h.stored) != 1 || !h.l.Free() {
				t.Errorf("%d NAK: afterwards %s", storm, strings.Join(h.did, " "))
			}
		}
	}
	// And one in the middle of the frames.
	h := newHost(e1381.Dialect{})
	h.play("offer", "timeout", ack)
	h.receive(bytes.Repeat([]byte(nak), 50))
	if len(h.failed) != 1 || h.failed[0] != "frame not accepted 6 times" {
		t.Errorf("%q", h.failed)
	}
}

// ENQ at each moment of our own session: before it the instrument has the line; within
// it it is a character like any other, and the frame comes again.
func TestENQAtEachMomentOfOurSession(t *testing.T) {
	events := []string{"offer", "timeout", ack, ack}
	for at := range len(events) + 1 {
		h := newHost(e1381.Dialect{})
		h.play(events[:at]...)
		h.play("\x05")
		switch at {
		case 0, 1: // the instrument's session; ours waits for its end
			h.play(query, "\x04")
		case 2: // contention: its second ENQ is the one that counts
			h.play("\x05", query, "\x04")
		case 4: // after our EOT: a session like any other
			h.play(query, "\x04")
		}
		for step := 0; step < 10 && h.sent == 0; step++ {
			if h.l.Free() && at == 0 && step == 0 {
				h.play("offer")
				continue
			}
			switch h.did[len(h.did)-1] {
			case "20ms":
				h.play("timeout")
			default:
				h.play(ack)
			}
		}
		if h.sent != 1 {
			t.Errorf("ENQ after %d events: %s", at, strings.Join(h.did, " "))
		}
		if want := map[bool]int{true: 1}[at != 3]; len(h.stored) != want {
			t.Errorf("ENQ after %d events: %d stored: %s", at, len(h.stored), strings.Join(h.did, " "))
		}
	}
}
