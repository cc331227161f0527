package ack_test

import (
	"strconv"
	"testing"

	"nhip/hl7/ack"
)

func TestSequenceOfTheReceiver(t *testing.T) {
	seven := ack.Sequence{Last: 7, Known: true}
	for _, c := range []struct {
		state     ack.Sequence
		msh13     string
		next      ack.Sequence
		numbering ack.Numbering
		expected  string
	}{
		{seven, "", seven, ack.Unnumbered, ""},
		{seven, "8", ack.Sequence{Last: 8, Known: true}, ack.InSequence, "8"},
		{seven, "7", seven, ack.Repeated, "8"},
		{seven, "6", seven, ack.OutOfSequence, "8"},
		{seven, "9", seven, ack.OutOfSequence, "8"},
		{seven, "0", seven, ack.StartOfLink, "8"},
		{seven, "-1", ack.Sequence{}, ack.Resynchronise, "-1"},
		{seven, "-2", seven, ack.OutOfSequence, "8"},
		{seven, "x", seven, ack.OutOfSequence, "8"},
		{seven, "9999999999999999999999", seven, ack.OutOfSequence, "8"},
		{ack.Sequence{}, "0", ack.Sequence{}, ack.StartOfLink, "-1"},
		{ack.Sequence{}, "41", ack.Sequence{Last: 41, Known: true}, ack.InSequence, "41"},
		{ack.Sequence{}, "9223372036854775807", ack.Sequence{}, ack.OutOfSequence, "-1"},
	} {
		next, numbering, expected := c.state.Receive(c.msh13)
		if next != c.next || numbering != c.numbering || expected != c.expected {
			t.Errorf("%+v gets %q: %+v, %d, %q", c.state, c.msh13, next, numbering, expected)
		}
	}
}

func TestNumbersOfTheSender(t *testing.T) {
	for _, c := range []struct {
		state ack.Numbers
		msa4  string
		want  ack.Numbers
	}{
		{ack.StartNumbers(3, 9), "5", ack.Numbers{First: 3, Next: 9, Send: 5}},
		{ack.StartNumbers(3, 9), "9", ack.Numbers{First: 3, Next: 9, Send: 9}},
		{ack.StartNumbers(3, 9), "-1", ack.Numbers{First: 3, Next: 9, Send: 3}},
		{ack.StartNumbers(3, 9), "2", ack.Numbers{First: 3, Next: 9, Frozen: true}},
		{ack.StartNumbers(3, 9), "10", ack.Numbers{First: 3, Next: 9, Frozen: true}},
		{ack.StartNumbers(3, 9), "", ack.Numbers{First: 3, Next: 9, Frozen: true}},
		{ack.Numbers{First: 3, Next: 9, Send: 5}, "5", ack.Numbers{First: 3, Next: 9, Send: 6}},
		{ack.Numbers{First: 3, Next: 9, Send: 5}, "6", ack.Numbers{First: 3, Next: 9, Send: 6}}, // the acknowledgement before was lost
		{ack.Numbers{First: 3, Next: 9, Send: 5}, "4", ack.Numbers{First: 3, Next: 9, Send: 5, Frozen: true}},
		{ack.Numbers{First: 3, Next: 9, Send: 5}, "-1", ack.Numbers{First: 3, Next: 9, Send: 5, Frozen: true}},
		{ack.Numbers{First: 3, Next: 9, Send: 5, Frozen: true}.Force(), "-1", ack.Numbers{First: 3, Next: 9, Send: 3}},
		{ack.Numbers{First: 3, Next: 9, Send: -1}, "3", ack.Numbers{First: 3, Next: 9, Send: -1, Frozen: true}},
	} {
		if got := c.state.Answered(c.msa4); got != c.want {
			t.Errorf("%+v gets %q: %+v, want %+v", c.state, c.msa4, got, c.want)
		}
	}
}

// The two sides together, with answers lost and both sides begun again at any point.
func TestBothSidesKeepStep(t *testing.T) {
	var receiver ack.Sequence
	var taken []int64
	sender := ack.StartNumbers(1, 21)
	for step := 0; sender.Send < 21; step++ {
		if step > 200 || sender.Frozen {
			t.Fatalf("%+v after %d steps", sender, step)
		}
		next, numbering, expected := receiver.Receive(strconv.FormatInt(sender.Send, 10))
		receiver = next
		if numbering == ack.InSequence {
			taken = append(taken, next.Last)
		}
		switch step % 5 {
		case 2: // the answer is lost, and the message sent again
		case 4: // the link begins again
			sender = ack.StartNumbers(1, 21)
		default:
			sender = sender.Answered(expected)
		}
	}
	for i, n := range taken {
		if n != int64(i+1) {
			t.Fatalf("taken %v", taken)
		}
	}
	if len(taken) != 20 {
		t.Errorf("taken %v", taken)
	}
}
