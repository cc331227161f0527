package e1381_test

import (
	"fmt"
	"strings"
	"testing"

	"nhip/drivers/astm/e1381"
)

// drive gives a sender events, "timeout" or bytes, and writes down what it does.
func drive(s *e1381.Sender, actions []e1381.Action, events ...string) string {
	var did []string
	do := func(actions []e1381.Action) {
		for _, a := range actions {
			switch a := a.(type) {
			case e1381.Send:
				text := map[byte]string{e1381.ENQ: "ENQ", e1381.EOT: "EOT"}[a.Bytes[0]]
				if a.Bytes[0] == e1381.STX {
					text = "frame " + string(a.Bytes[1])
				}
				did = append(did, text)
			case e1381.Wait:
				did = append(did, a.For.String())
			case e1381.Sent:
				did = append(did, "sent")
			case e1381.Failed:
				did = append(did, fmt.Sprintf("failed after %d: %s", a.Accepted, a.Reason))
			case e1381.Yielded:
				did = append(did, "yielded")
			}
		}
	}
	do(actions)
	for _, e := range events {
		did = append(did, "/")
		if e == "timeout" {
			do(s.TimedOut())
			continue
		}
		for p := []byte(e); len(p) > 0; {
			n, actions := s.Receive(p)
			p = p[n:]
			do(actions)
			if len(p) > 0 && strings.Contains(did[len(did)-2], "yielded") {
				did = append(did, fmt.Sprintf("left %q", p))
				break
			}
		}
	}
	return strings.Join(did, " ")
}

// E1381 sections 6.2, 6.3, 6.4 and 6.5 for the sender: two frames, every event in
// every state.
func TestSenderStateTable(t *testing.T) {
	frames := []e1381.Frame{{Text: []byte("a"), End: etb}, {Text: []byte("b"), End: etx}}
	for _, c := range []struct {
		name   string
		role   e1381.Role
		events string // separated by blanks
		want   string
	}{
		{"6.2 and 6.3 all is well", e1381.Instrument, ack + " " + ack + " " + ack, "ENQ 15s / frame 1 15s / frame 2 15s / EOT sent 0s"},
		{"6.2 only ACK, NAK, ENQ are heard", e1381.Instrument, "x\x04\x00 " + ack, "ENQ 15s / / frame 1 15s"},
		{"6.2 no answer to ENQ", e1381.Instrument, "timeout", "ENQ 15s / EOT failed after 0: no answer to ENQ for 15 s 0s"},
		{"6.2 busy: another bid after 10 s", e1381.Instrument, nak + " timeout " + ack, "ENQ 15s / 10s / ENQ 15s / frame 1 15s"},
		{"6.2 busy: the other side bids", e1381.Instrument, nak + " x\x05", "ENQ 15s / 10s / yielded 0s left \"\\x05\""},
		{"6.2 always busy", e1381.Computer, strings.Repeat(nak+" timeout ", 5) + nak,
			"ENQ 15s " + strings.Repeat("/ 10s / ENQ 15s ", 5) + "/ EOT failed after 0: ENQ answered by NAK 6 times 0s"},
		{"6.2.7.1 contention, instrument", e1381.Instrument, enq + " " + ack + " timeout " + ack, "ENQ 15s / 1s / / ENQ 15s / frame 1 15s"},
		{"6.2.7.1 contention, computer", e1381.Computer, enq + " " + ack, "ENQ 15s / yielded 0s /"},
		{"6.3 NAK: the same frame again", e1381.Instrument, ack + " " + nak + " " + ack, "ENQ 15s / frame 1 15s / frame 1 15s / frame 2 15s"},
		{"6.3 any other character is a NAK", e1381.Instrument, ack + " x " + ack, "ENQ 15s / frame 1 15s / frame 1 15s / frame 2 15s"},
		{"6.3.5 receiver interrupt: accepted", e1381.Instrument, ack + " " + eot + " " + eot, "ENQ 15s / frame 1 15s / frame 2 15s / EOT sent 0s"},
		{"6.5 six times not accepted", e1381.Instrument, ack + " " + ack + strings.Repeat(" "+nak, 6),
			"ENQ 15s / frame 1 15s / frame 2 15s" + strings.Repeat(" / frame 2 15s", 5) + " / EOT failed after 1: frame not accepted 6 times 0s"},
		{"6.5 no answer to a frame", e1381.Instrument, ack + " timeout", "ENQ 15s / frame 1 15s / EOT failed after 0: no answer to a frame for 15 s 0s"},
		{"6.4 neutral: nothing is heard", e1381.Instrument, ack + " " + ack + " " + ack + " " + ack + nak + enq + " timeout",
			"ENQ 15s / frame 1 15s / frame 2 15s / EOT sent 0s / /"},
	} {
		s := e1381.NewSender(c.role)
		if got := drive(s, s.Start(frames), strings.Split(c.events, " ")...); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestFramesJoinToTheMessage(t *testing.T) {
	text := "H|\\^&\rP|1\r" + strings.Repeat("R|1|x\r", 100) + "C|1|" + strings.Repeat("y", 500) + "\rL|1|N\r"
	for _, p := range []e1381.Packing{e1381.PerRecord, e1381.PerMessage} {
		for _, size := range []int{0, 1, 7, 240, e1381.MaxTextA2} {
			frames := e1381.Frames([]byte(text), p, size)
			l := newLine()
			l.send([]byte(enq))
			for i, f := range frames {
				if limit := size; limit > 0 && len(f.Text) > limit || len(f.Text) == 0 {
					t.Fatalf("frame of %d characters", len(f.Text))
				}
				if l.reply(f.Append(nil, i+1)) != ack {
					t.Fatal("refused")
				}
			}
			if len(l.stored) != 1 || l.stored[0] != text {
				t.Errorf("packing %d, size %d: %q", p, size, l.stored)
			}
		}
	}
	if n := len(e1381.Frames([]byte(text), e1381.PerRecord, 0)); n != 1+1+100+3+1 {
		t.Errorf("%d frames", n)
	}
}

// E1381 section 6.3: 122 is sent as 7A.
func TestChecksum(t *testing.T) {
	if got := string(frame(1, "F", etx)); got != "\x021F\x037A\r\n" {
		t.Errorf("%q", got)
	}
}
