package e1381_test

import (
	"fmt"
	"slices"
	"testing"

	"nhip/drivers/astm/e1381"
)

// disk is what survives a crash. It dies at write number dies: before the write is
// durable, or right after it.
type disk struct {
	stored     []string
	incomplete []string
	writes     int
	dies       int
	after      bool
}

// write is false when the process has died.
func (d *disk) write(to *[]string, records []string) bool {
	d.writes++
	if d.writes == d.dies && !d.after {
		return false
	}
	*to = append(*to, records...)
	return d.writes != d.dies
}

// carry carries out the receiver's actions in their order until the process dies.
func (d *disk) carry(actions []e1381.Action, reply func([]byte)) (alive bool) {
	for _, a := range actions {
		switch a := a.(type) {
		case e1381.Send:
			reply(a.Bytes)
		case e1381.Store:
			var records []string
			for _, m := range a.Messages {
				records = append(records, string(m.Records))
			}
			if !d.write(&d.stored, records) {
				return false
			}
		case e1381.Incomplete:
			if !d.write(&d.incomplete, []string{string(a.Fragment.Records)}) {
				return false
			}
		}
	}
	return true
}

// session: the analyser sends messages in one session to a host that starts now. It
// returns how many of them the analyser saw acknowledged up to their last frame, and
// whether the host lives.
func (d *disk) session(messages []string, p e1381.Packing) (acknowledged int, alive bool) {
	var frames []e1381.Frame
	var ends []int // frames up to the end of each message
	for _, m := range messages {
		frames = append(frames, e1381.Frames([]byte(m), p, 20)...)
		ends = append(ends, len(frames))
	}
	host, analyser := e1381.NewReceiver(0, 0), e1381.NewSender(e1381.Instrument)
	acks, alive := 0, true
	var reply func([]byte)
	carry := func(actions []e1381.Action) {
		for _, a := range actions {
			s, ok := a.(e1381.Send)
			for p := s.Bytes; ok && alive && len(p) > 0; {
				n, actions := host.Receive(p)
				p = p[n:]
				alive = d.carry(actions, reply)
			}
		}
	}
	var replies []byte
	reply = func(b []byte) { replies = append(replies, b...) }
	for actions := analyser.Start(frames); len(actions) > 0; {
		carry(actions)
		actions = nil
		for len(replies) > 0 {
			b := replies[:1]
			replies = replies[1:]
			if b[0] == e1381.ACK {
				acks++
			}
			_, actions = analyser.Receive(b)
		}
	}
	for _, end := range ends {
		if acks-1 >= end { // one ACK is that of ENQ
			acknowledged++
		}
	}
	return acknowledged, alive
}

// The gateway is killed at every write, before and after it is durable: what the
// analyser saw acknowledged is on disk, and nothing else is lost or changed; a message
// is there twice only when its acknowledgement was not seen.
func TestCrashAtEveryWrite(t *testing.T) {
	var messages []string
	for i := range 5 {
		messages = append(messages, fmt.Sprintf("H|\\^&\rO|1|S-%d\rR|1|^^^WBC|%d.1|10*3/uL\rL|1|N\r", i, i))
	}
	for _, packing := range []e1381.Packing{e1381.PerRecord, e1381.PerMessage} {
		for _, after := range []bool{false, true} {
			for dies := 1; ; dies++ {
				d := &disk{dies: dies, after: after}
				queue := messages
				crashed := false
				for len(queue) > 0 {
					acknowledged, alive := d.session(queue, packing)
					for _, m := range queue[:acknowledged] {
						if !slices.Contains(d.stored, m) {
							t.Fatalf("packing %d, write %d, after %v: %q was acknowledged and is not on disk", packing, dies, after, m)
						}
					}
					queue = queue[acknowledged:]
					crashed = crashed || !alive
					if alive && len(queue) > 0 {
						t.Fatalf("the host lives and does not take %q", queue)
					}
				}
				for _, m := range d.stored {
					if !slices.Contains(messages, m) {
						t.Fatalf("stored %q, which was not sent", m)
					}
				}
				if extra := len(d.stored) - len(messages); extra > 0 && !(crashed && after && extra == 1) || extra < 0 {
					t.Fatalf("packing %d, write %d, after %v: %d stored of %d", packing, dies, after, len(d.stored), len(messages))
				}
				if !crashed {
					if dies < 5 {
						t.Fatalf("no crash at write %d", dies)
					}
					break
				}
			}
		}
	}
}
