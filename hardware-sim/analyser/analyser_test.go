package analyser

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nhip/drivers/astm/e1381"
	"nhip/drivers/port"
	"nhip/hardware-sim/truth"
	"nhip/hardware-sim/wire"
)

// A host is a gateway that keeps what it acknowledged.
type host struct {
	mu         sync.Mutex
	stored     []string
	incomplete int
	ended      int
	refuse     int // stores that fail
	burst      int // messages that the analyser has at once
	stray      int // HL7: answers to a message that was never sent
}

func (h *host) Store(_ context.Context, messages []e1381.Message) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuse > 0 {
		h.refuse--
		return errors.New("the disk is full")
	}
	for _, m := range messages {
		h.stored = append(h.stored, string(m.Records))
	}
	return nil
}

func (h *host) Incomplete(context.Context, e1381.Message, string) error { h.incomplete++; return nil }
func (h *host) Ended(context.Context) error                             { h.ended++; return nil }

// play runs an analyser of so many messages against a host on pipes, in
// simulated time, until it has nothing left. It returns the analyser, the host
// and the truth.
func play(t *testing.T, model string, limit int, f Faults, h *host) (*Analyser, *truth.Log, Options) {
	t.Helper()
	log := truth.New(nil, time.Now)
	o := Options{
		Name: "a-1", Model: Models[model], Seed: 7, Start: time.Date(2026, 1, 14, 8, 0, 0, 0, time.FixedZone("", 7*3600)),
		To: []string{"lis"}, Every: time.Second, Limit: limit, Timing: Standard, Truth: log, Log: slog.New(slog.DiscardHandler),
	}
	a := New(o)
	a.Inject(f)
	a.Burst(h.burst)
	var hosts sync.WaitGroup
	a.Run(t.Context(), func(context.Context) (wire.Line, error) {
		ours, theirs := net.Pipe()
		hosts.Go(func() {
			defer theirs.Close()
			if o.Model.Protocol == HL7 {
				h.mllp(theirs)
				return
			}
			e1381.Serve(t.Context(), port.FromNet(theirs), e1381.ServeOptions{Handler: h})
		})
		return ours, nil
	})
	hosts.Wait()
	return a, log, o
}

// mllp is a host that answers HL7.
func (h *host) mllp(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		m, err := wire.ReadBlock(r)
		if err != nil {
			return
		}
		code := "AA"
		if h.Store(context.Background(), []e1381.Message{{Records: m}}) != nil {
			code = "AR"
		}
		id := wire.First(wire.Split(m), "MSH").Field(10)
		if h.stray > 0 {
			h.stray--
			id = "0" + id
		}
		c.Write(wire.Block([]byte("MSH|^~\\&|||||||ACK|1|P|2.3.1\rMSA|" + code + "|" + id + "\r")))
	}
}

// distinct is what was stored, each once, in order.
func (h *host) distinct() []string {
	var all []string
	seen := map[string]bool{}
	for _, m := range h.stored {
		if !seen[m] {
			all = append(all, m)
		}
		seen[m] = true
	}
	return all
}

func TestEveryModelIsTakenWholeAndInOrder(t *testing.T) {
	for name, model := range Models {
		if !model.MakesUp() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &host{}
				a, log, o := play(t, name, 30, Faults{SplitEvery: 32}, h)
				if a.Sent() != 30 || len(h.stored) != 30 {
					t.Fatalf("%d acknowledged, %d stored", a.Sent(), len(h.stored))
				}
				for n, got := range h.stored {
					if want := o.Message(n); got != string(want.Bytes) {
						t.Fatalf("message %d\n got %q\nwant %q", n, got, want.Bytes)
					}
				}
				r := log.Report()
				if r.Unaccepted != 0 || r.Received+r.Consumed != 30 {
					t.Errorf("%+v", r.Counts)
				}
			})
		})
	}
}

// After every fault every message is with the host, unchanged, in order, and a
// message is there twice only where its acknowledgement was not seen.
func TestEveryFaultIsDoneAndNothingIsLost(t *testing.T) {
	for _, c := range []struct {
		name    string
		faults  Faults
		counter string
		hl7     bool // can be done to HL7 too
		repeats int  // in ASTM
		resends bool // the session ended, so that another name is allowed
	}{
		{"garbled ACK", Faults{GarbleACK: 3}, "ACK garbled", false, 0, false},
		{"dropped ACK", Faults{DropACK: 1}, "ACK dropped", true, 1, true},
		{"corrupt frame", Faults{CorruptFrame: 4}, "frame corrupted", false, 0, false},
		{"noise", Faults{Noise: 5}, "noise", true, 0, false},
		{"cut in a frame", Faults{CutLine: 2}, "", true, 0, false},
		{"cut before the ACK", Faults{CutUnanswered: 2}, "line cut before the ACK was seen", true, 2, false},
		{"cut before EOT", Faults{CutBeforeEOT: 3}, "line cut before EOT", false, 0, false},
		{"stall", Faults{Stalls: 2, StallFor: wire.Duration(5 * time.Second)}, "stalled", true, 0, false},
		{"stall beyond the receiver's timer", Faults{Stalls: 1, StallFor: wire.Duration(40 * time.Second)}, "stalled", false, 0, false},
	} {
		for _, model := range []string{"sysmex-xn-l", "mindray-bc-5380"} {
			if model == "mindray-bc-5380" && !c.hl7 {
				continue
			}
			t.Run(c.name+" "+model, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := &host{}
					a, log, o := play(t, model, 8, c.faults, h)
					got := h.distinct()
					if len(got) != 8 || a.Sent() != 8 {
						t.Fatalf("%d messages stored, %d acknowledged", len(got), a.Sent())
					}
					for n := range got {
						if got[n] != string(o.Message(n).Bytes) {
							t.Fatalf("message %d differs", n)
						}
					}
					if c.counter != "" && a.Counters()[c.counter] == 0 {
						t.Errorf("the fault was not done: %v", a.Counters())
					}
					if model == "sysmex-xn-l" && len(h.stored)-len(got) != c.repeats {
						t.Errorf("%d messages were stored again, want %d", len(h.stored)-len(got), c.repeats)
					}
					if c.resends && model == "sysmex-xn-l" {
						for _, name := range []string{"M1", "M2"} {
							log.Arrive(truth.Delivery{Kind: truth.ORU, Destination: "lis", Key: o.Message(0).Truth.Key, Patient: o.Message(0).Truth.Patient,
								Name: name, Results: o.Message(0).Truth.Results, Outcome: truth.Accepted})
						}
						if r := log.Report(); r.Doubled != 0 || r.Resends != 1 {
							t.Errorf("a resend after EOT: %+v", r.Counts)
						}
					}
				})
			})
		}
	}
}

func TestAnAbandonedSessionIsIncompleteAndComesAgainWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &host{}
		a, _, o := play(t, "generic-astm", 2, Faults{Abandon: 1}, h)
		if h.incomplete != 1 || len(h.stored) != 2 || a.Sent() != 2 || h.stored[0] != string(o.Message(0).Bytes) {
			t.Errorf("%d incomplete, %d stored", h.incomplete, len(h.stored))
		}
	})
}

func TestWhatIsLeftOfABatchComesAgain(t *testing.T) {
	for _, f := range []Faults{{CutBeforeEOT: 2}, {CutUnanswered: 1}, {DropACK: 1}} {
		synctest.Test(t, func(t *testing.T) {
			h := &host{burst: 7}
			a, _, o := play(t, "roche-cobas-e411", 7, f, h)
			got := h.distinct()
			if len(got) != 7 || a.Sent() != 7 {
				t.Fatalf("%+v: %d stored, %d acknowledged", f, len(got), a.Sent())
			}
			for n := range got {
				if got[n] != string(o.Message(n).Bytes) {
					t.Errorf("%+v: message %d differs", f, n)
				}
			}
		})
	}
}

func TestAnAnswerToAnotherMessageIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &host{stray: 1}
		a, _, _ := play(t, "mindray-bc-5380", 2, Faults{}, h)
		if a.Sent() != 2 || len(h.stored) != 3 || h.stored[0] != h.stored[1] {
			t.Errorf("%d acknowledged, %d offered", a.Sent(), len(h.stored))
		}
	})
}

func TestWhatTheHostCannotStoreIsKeptUntilItCan(t *testing.T) {
	for _, model := range []string{"roche-cobas-e411", "mindray-bc-5380"} {
		synctest.Test(t, func(t *testing.T) {
			h := &host{refuse: 8} // more than the six attempts of a frame
			a, log, _ := play(t, model, 3, Faults{}, h)
			if r := log.Report(); len(h.stored) != 3 || a.Sent() != 3 || r.Unaccepted != 0 {
				t.Errorf("%s: %d stored, %+v", model, len(h.stored), r.Counts)
			}
		})
	}
}

func TestWhatIsRejectedForEverIsNotAcceptedAndNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, log, _ := play(t, "mindray-bc-5380", 2, Faults{}, &host{refuse: rejections})
		r := log.Report()
		if r.Unaccepted != 1 || r.Received != 1 || len(r.NotAccepted) != 1 || r.NotAccepted[0] != "a-1/1 AR" {
			t.Errorf("%+v %v", r.Counts, r.NotAccepted)
		}
	})
}

func TestTheHostsENQIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		c := &conversation{line: ours, in: bufio.NewReader(ours), timing: Standard, faults: &faults{}}
		go c.listen(time.Second)
		theirs.Write([]byte{enq})
		answer := make([]byte, 1)
		if _, err := theirs.Read(answer); err != nil || answer[0] != nak {
			t.Errorf("%#x %v", answer[0], err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
	})
}

func TestEqualSeedsGiveEqualMessages(t *testing.T) {
	for name, model := range Models {
		if !model.MakesUp() {
			continue
		}
		o := Options{Name: "a-1", Model: model, Seed: 1, Start: time.Date(2026, 1, 14, 8, 0, 0, 0, time.UTC), Every: time.Second}
		other := o
		other.Seed = 2
		same := 0
		for n := range 50 {
			m := o.Message(n)
			if !bytes.Equal(m.Bytes, o.Message(n).Bytes) {
				t.Fatalf("%s: message %d differs from itself", name, n)
			}
			if bytes.Equal(m.Bytes, other.Message(n).Bytes) {
				same++
			}
		}
		if same > 5 {
			t.Errorf("%s: %d of 50 messages do not depend on the seed", name, same)
		}
	}
}

func TestFramesHoldAtMostWhatTheyMay(t *testing.T) {
	m := Options{Name: "a", Model: Models["roche-cobas-e411"], Start: time.Unix(0, 0).UTC()}.Message(0)
	frames := m.frames()
	var text strings.Builder
	for n, f := range frames {
		text.Write(f.text)
		if len(f.text) > 240 || (f.end == etx) != (n == len(frames)-1) {
			t.Errorf("frame %d: %d characters, end %#x", n, len(f.text), f.end)
		}
	}
	if len(frames) < 2 || text.String() != string(m.Bytes) {
		t.Errorf("%d frames", len(frames))
	}
	// The standard's example: 122 is "7A". Own sum: "1A" ETX is 0x31+0x41+0x03.
	if got := string(encode(frame{[]byte("A"), etx}, 1)); got != "\x021A\x0375\r\n" {
		t.Errorf("%q", got)
	}
}
