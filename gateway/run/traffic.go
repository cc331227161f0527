package run

import (
	"fmt"
	"time"

	"nhip/drivers/astm/e1381"
	"nhip/gateway/console"
)

// A traffic is what the bytes of a device's newest connection tell of the link, for
// people: is it silent, does it answer, is what it sends understood.
type traffic struct {
	since  time.Time // of the connection
	heard  bool      // a byte came
	naks   int       // that we sent in a row
	asked  time.Time // our ENQ, where nothing came since
	unsaid int       // further ENQs of ours without an answer since
}

// After how long, or how many, a page says so.
const (
	silentAfter = 10 * time.Minute
	unreadAfter = 2 * time.Minute
	unsaidAfter = e1381.ReplyTimer
	manyNAKs    = 6 // E1381 section 6.5: a sender gives a frame up after as many
)

// saw takes in bytes that came, or that we sent.
func (t *traffic) saw(sent bool, b []byte, now time.Time) {
	if !sent {
		t.heard, t.asked, t.unsaid = true, time.Time{}, 0
		return
	}
	if len(b) != 1 { // more than one control character
		return
	}
	switch b[0] {
	case e1381.ACK:
		t.naks = 0
	case e1381.NAK:
		t.naks++
	case e1381.ENQ:
		if !t.asked.IsZero() {
			t.unsaid++
		}
		t.asked = now
	}
}

// trouble is what is worth a look; last is when the last message came.
func (t traffic) trouble(last, now time.Time) []console.Words {
	var all []console.Words
	open := now.Sub(t.since)
	switch {
	case t.naks >= manyNAKs:
		all = append(all, console.Say(console.TroubleNAK, fmt.Sprint(t.naks)))
	case !t.heard && open >= silentAfter:
		all = append(all, console.Say(console.TroubleSilent))
	case t.heard && last.Before(t.since) && open >= unreadAfter:
		all = append(all, console.Say(console.TroubleUnread))
	}
	if !t.asked.IsZero() && now.Sub(t.asked) >= unsaidAfter {
		all = append(all, console.Say(console.TroubleENQ, fmt.Sprint(t.unsaid+1)))
	}
	return all
}

// saw notes bytes of a device's connection.
func (s *states) saw(name, kind string, sent bool, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.get(name, kind)
	st.traffic.saw(sent, b, time.Now())
}

// troubles are those of an analyser that is connected.
func troubles(c state, now time.Time) []console.Words {
	if c.State != "connected" || c.traffic.since.IsZero() {
		return nil
	}
	return c.traffic.trouble(c.Last, now)
}
