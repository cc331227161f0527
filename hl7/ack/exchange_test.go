package ack_test

import (
	"strings"
	"testing"

	"nhip/hl7"
	"nhip/hl7/ack"
)

// play takes events as words: "written", "timeout", "broken", and an acknowledgement
// as its code, for another message with "!" behind it, for none with "?", with error
// 203 with "v".
func play(t *testing.T, x ack.Exchange, events string) (ack.Exchange, ack.Effect) {
	t.Helper()
	var effect ack.Effect
	for _, event := range strings.Fields(events) {
		switch event {
		case "written":
			x, effect = x.Written()
		case "timeout":
			x, effect = x.TimedOut()
		case "broken":
			x, effect = x.Broken()
		default:
			a := hl7.Acknowledgement{Code: hl7.AckCode(event[:2]), MessageControlID: "7"}
			switch event[2:] {
			case "!":
				a.MessageControlID = "8"
			case "?":
				a.MessageControlID = ""
			case "v":
				a.Errors = []hl7.Error{{Code: hl7.ErrorVersion}}
			}
			x, effect = x.Received(a)
		}
	}
	return x, effect
}

var stateNames = map[ack.State]string{
	ack.Waiting: "waiting", ack.Committed: "committed", ack.Accepted: "accepted", ack.Refused: "refused", ack.Rejected: "rejected",
	ack.Unclear: "unclear", ack.Unprocessed: "unprocessed", ack.SentUnproved: "unproved",
}

func TestWhatSettlesAMessageInEachMode(t *testing.T) {
	for _, c := range []struct {
		accept, application, events, want string
		effect                            ack.Effect
	}{
		// Original mode.
		{"", "", "written", "waiting", ack.StillWaiting},
		{"", "", "written AA", "accepted", ack.Changed},
		{"", "", "AA", "accepted", ack.Changed}, // before the last byte was seen to be written
		{"", "", "written AE", "refused", ack.Changed},
		{"", "", "written AR", "rejected", ack.Changed},
		{"", "", "written ARv", "refused", ack.Changed},
		{"", "", "written CA", "committed", ack.Changed},
		{"", "", "written CA timeout", "unprocessed", ack.Changed},
		{"", "", "written timeout", "unclear", ack.Changed},
		{"", "", "written broken", "unclear", ack.Changed},
		{"", "", "written AA!", "waiting", ack.NotForUs},
		{"", "", "written AA?", "waiting", ack.NotForUs},
		{"", "", "written AR?", "waiting", ack.NotForUs},
		{"", "", "written XX", "waiting", ack.NotAsked},
		{"", "", "written timeout AA", "unclear", ack.TooLate},
		{"", "", "written AE AA", "refused", ack.TooLate},
		{"", "", "written AA AE", "accepted", ack.TooLate},
		{"", "", "written AA AA", "accepted", ack.TooLate},
		{"", "", "written AA timeout", "accepted", ack.TooLate},
		{"", "", "written AA broken", "accepted", ack.StillWaiting},
		// Accept only.
		{"AL", "NE", "written CA", "accepted", ack.Changed},
		{"AL", "NE", "written AA", "accepted", ack.Changed},
		{"AL", "NE", "written CE", "refused", ack.Changed},
		{"AL", "NE", "written CR", "rejected", ack.Changed},
		{"AL", "NE", "written CRv", "refused", ack.Changed},
		{"AL", "NE", "written timeout", "unclear", ack.Changed},
		// Application only.
		{"NE", "AL", "written AA", "accepted", ack.Changed},
		{"NE", "AL", "written CA", "committed", ack.Changed},
		// Both: the application acknowledgement on another connection, after the first
		// is gone.
		{"AL", "AL", "written CA", "committed", ack.Changed},
		{"AL", "AL", "written CA broken", "committed", ack.StillWaiting},
		{"AL", "AL", "written CA broken AA", "accepted", ack.Changed},
		{"AL", "AL", "written CA AE", "refused", ack.Changed},
		{"AL", "AL", "written CA AR", "refused", ack.Changed}, // it has the message
		{"AL", "AL", "written CA CA", "committed", ack.Again},
		{"AL", "AL", "written CA CR", "committed", ack.NotAsked},
		{"AL", "AL", "written CA AA!", "committed", ack.NotForUs},
		{"AL", "AL", "written AA", "accepted", ack.Changed}, // before its CA
		{"AL", "AL", "written AA CA", "accepted", ack.TooLate},
		{"AL", "AL", "written CR", "rejected", ack.Changed},
		{"AL", "AL", "written CA timeout", "unprocessed", ack.Changed},
		{"AL", "AL", "written CA timeout AA", "accepted", ack.Changed},
		{"AL", "AL", "written CA timeout CA", "unprocessed", ack.Again},
		{"AL", "AL", "written CA timeout timeout", "unprocessed", ack.TooLate},
		// None, and by condition.
		{"NE", "NE", "written", "unproved", ack.Changed},
		{"NE", "NE", "broken", "unclear", ack.Changed},
		{"ER", "NE", "written timeout", "unproved", ack.Changed},
		{"ER", "NE", "written CE", "refused", ack.Changed},
		{"NE", "ER", "written timeout", "unproved", ack.Changed},
		{"NE", "SU", "written timeout", "unclear", ack.Changed},
		{"AL", "ER", "written CA timeout", "accepted", ack.Changed},
		{"AL", "ER", "written timeout", "unclear", ack.Changed},
		{"AL", "SU", "written CA timeout", "unprocessed", ack.Changed},
	} {
		m := message(t, "ORU^R01^ORU_R01", "2.5.1", c.accept, c.application)
		x, effect := play(t, ack.NewExchange(m, ack.ByMessage), c.events)
		if stateNames[x.State] != c.want || effect != c.effect {
			t.Errorf("%q, %q: %s: %s, %d, want %s, %d", c.accept, c.application, c.events, stateNames[x.State], effect, c.want, c.effect)
		}
	}
}

func TestCommitSettlesByPolicyOnly(t *testing.T) {
	m := message(t, "ORU^R01^ORU_R01", "2.5.1", "", "")
	x := ack.NewExchange(m, ack.ByMessage)
	x.CommitSettles = true
	if x, _ = play(t, x, "written CA"); x.State != ack.Accepted {
		t.Errorf("%s", stateNames[x.State])
	}
	if x, _ = play(t, ack.NewExchange(m, ack.Accept), "written CA"); x.State != ack.Accepted {
		t.Errorf("%s", stateNames[x.State])
	}
	m = parse(t, "MSH|^~\\&|A||B||||ORU^R01||P|2.5\r")
	if x, effect := ack.NewExchange(m, "").Received(hl7.Acknowledgement{Code: "AA"}); x.State != ack.Waiting || effect != ack.NotForUs {
		t.Error("an answer to nothing settles a message without a control ID")
	}
}

// Whatever the order of four events: nothing but a positive acknowledgement for this
// very message accepts it, where one was asked for.
func TestNothingElseAccepts(t *testing.T) {
	events := []string{"written", "timeout", "broken", "AA", "CA", "AE", "CR", "AA!", "AA?", "XX"}
	for _, c := range matrix {
		start := ack.NewExchange(message(t, "ORU^R01^ORU_R01", "2.5.1", c.accept, c.application), "")
		var walk func(x ack.Exchange, path []string)
		walk = func(x ack.Exchange, path []string) {
			if x.State == ack.Accepted {
				all := " " + strings.Join(path, " ") + " "
				if !strings.Contains(all, " AA ") && !strings.Contains(all, " CA ") {
					t.Fatalf("%q, %q: accepted after%s", c.accept, c.application, all)
				}
				return
			}
			if len(path) == 4 {
				return
			}
			for _, e := range events {
				next, _ := play(t, x, e)
				if x.State.Final() && next.State != x.State && x.State != ack.Unprocessed {
					t.Fatalf("%s left by %s", stateNames[x.State], e)
				}
				walk(next, append(path[:len(path):len(path)], e))
			}
		}
		walk(start, nil)
	}
}
