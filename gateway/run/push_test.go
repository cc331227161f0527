package run

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"nhip/gateway/orders"
)

// pushed is what a profile says of orders that were not asked for.
const pushed = `
[answer.download]
source = "test"
[[answer.download.field]]
path = "O.26"
is = "O"
[answer.cancel]
source = "test"
[[answer.cancel.field]]
path = "O.12"
is = "C"
[[answer.cancel.field]]
path = "O.26"
is = ""
[[query.cancel]]
path = "Q.13"
is = "A"
source = "test"
`

// pushSite is a gateway with a HIS, a LIS and these analysers.
func pushSite(t *testing.T, analysers ...string) (*site, *systemLIS) {
	t.Helper()
	lis := newLIS(t)
	s := newSite(t, hisBlock+fmt.Sprintf("[[destination]]\nname = \"lis\"\nkind = \"hl7\"\naddress = %q\n", lis.address))
	s.stop()
	text, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	with := strings.Replace(string(text), "[site]\n", fmt.Sprintf("[site]\nprofiles = %q\n", writeProfiles(t)), 1)
	for _, a := range analysers {
		with += "[[analyser]]\norders = \"required\"\nto = [\"lis\"]\n" + a
	}
	if err := os.WriteFile(s.file, []byte(with), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	return s, lis
}

func pusher(name, profile, port, send string) string {
	return fmt.Sprintf("name = %q\nprofile = %q\nport = %q\nsend = %q\n", name, profile, port, send)
}

// given are what the analysers have of an order, by its placer number.
func (s *site) given(number string) string {
	s.t.Helper()
	views, _, err := s.g.orders.List(s.t.Context(), orders.Query{Order: number})
	if err != nil {
		s.t.Fatal(err)
	}
	var all []string
	for _, v := range views {
		for _, x := range v.Services {
			for _, g := range x.Analysers {
				// That something was sent is noted up to a tenth of a second later.
				progress := strings.Replace(x.Progress, "sent", "received", 1)
				all = append(all, x.Code+" "+x.State+" "+progress+" "+g.Device+" "+g.State)
			}
		}
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}

func (s *site) eventuallyGiven(number, want string) {
	s.t.Helper()
	var got string
	defer func() {
		if got != want {
			s.t.Logf("%s is %q, want %q", number, got, want)
		}
	}()
	eventually(s.t, number+" is "+want, func() bool { got = s.given(number); return got == want })
}

// pushedRecords is a session that the host begins: the patient's name and the O record.
func pushedRecords(name, order string) string {
	return `
< <ENQ>
> <ACK>
< <STX>1H|\^&<CR><ETX><sum><CR><LF>
> <ACK>
< <STX>2P|1||||` + name + `<CR><ETX><sum><CR><LF>
> <ACK>
< <STX>3O|1|` + order + `<CR><ETX><sum><CR><LF>
> <ACK>
< <STX>4L|1|N<CR><ETX><sum><CR><LF>
> <ACK>
< <EOT>
`
}

func (s *site) order(p *mllpPeer, m string) {
	s.t.Helper()
	if answer := p.send(s.t, m); field(answer, "MSA-1") != "AA" {
		s.t.Fatalf("answered %q", answer)
	}
}

// Orders go to the analyser when they come, in sessions of our own; what is cancelled is
// taken back; the result comes back to its order. What was acknowledged is not sent again
// after a restart, what was not is.
func TestOrdersAreSentToAnAnalyser(t *testing.T) {
	t.Parallel()
	s, lis := pushSite(t, pusher("a-test-push", "test-push", "tcp-listen://127.0.0.1:0", "download"))
	p := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	c := s.plug("test-push")
	s.order(p, testOrder("M1", "NW", "A1", "P1", "S1", "11", "12"))
	say(t, c, pushedRecords("Nguyen Thi P1", `S1||^^^11\^^^12|||||||||||||||||||||O`))
	s.eventuallyGiven("A1", "11 open acknowledged a-test-push taken; 12 open acknowledged a-test-push taken")
	s.order(p, testOrder("M2", "CA", "A1", "P1", "S1", "12"))
	say(t, c, pushedRecords("Nguyen Thi P1", `S1||^^^12|||||||C`))
	s.eventuallyGiven("A1", "11 open acknowledged a-test-push taken; 12 cancelled acknowledged a-test-push taken back")
	say(t, c, reports("S1", "11", "5.4"))
	eventually(t, "the LIS has the result", func() bool { return len(lis.of("|5.4|")) == 1 })
	if m := lis.of("|5.4|")[0]; field(m, "OBR-2") != "A1" || field(m, "PID-3") != "P1^^^BV^MR" {
		t.Errorf("%q", m)
	}
	c.Close()
	// The analyser is switched off; its work waits over a restart. One of the two is
	// cancelled meanwhile.
	s.order(p, testOrder("M3", "NW", "A2", "P2", "S2", "11"))
	s.order(p, testOrder("M4", "NW", "A3", "P3", "S3", "11"))
	s.stop()
	s.start()
	p = newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	s.order(p, testOrder("M5", "CA", "A2", "P2", "S2", "11"))
	c = s.plug("test-push")
	say(t, c, pushedRecords("Nguyen Thi P3", `S3||^^^11|||||||||||||||||||||O`))
	s.eventuallyGiven("A3", "11 open acknowledged a-test-push taken")
	c.Close()
	s.stop()
	s.start()
	p = newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	c = s.plug("test-push")
	s.order(p, testOrder("M6", "NW", "A4", "P4", "S4", "11"))
	say(t, c, pushedRecords("Nguyen Thi P4", `S4||^^^11|||||||||||||||||||||O`)) // and not A3 again
	// A query of an analyser that is sent its orders is taken and not answered.
	say(t, c, strings.SplitAfter(ask("S4", ""), "<EOT>")[0])
	eventually(t, "the query is consumed", func() bool { return s.status().Counts.Kinds["query"] == 1 })
	if got := s.given("A2"); got != "" {
		t.Errorf("what was cancelled before it was sent: %q", got)
	}
}

// The instrument bids while we do: it has the line, and what was cancelled while ours
// waited is not sent.
func TestWhatWaitsForTheLineIsNotSentWhenItIsCancelled(t *testing.T) {
	t.Parallel()
	s, lis := pushSite(t, pusher("a-test-push", "test-push", "tcp-listen://127.0.0.1:0", "both"))
	p := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	c := s.plug("test-push")
	s.order(p, testOrder("M1", "NW", "A1", "P1", "S1", "11"))
	say(t, c, "< <ENQ>\n> <ENQ>\n")
	s.order(p, testOrder("M2", "CA", "A1", "P1", "S1", "11"))
	say(t, c, reports("S9", "11", "8.8"))
	// It bids again as it had begun to, and has nothing to say.
	say(t, c, "< <ENQ>\n> <ACK>\n< <EOT>\n")
	eventually(t, "the result without an order is held", func() bool { return s.status().Counts.Held == 1 })
	if n := len(lis.of("|8.8|")); n != 0 {
		t.Errorf("%d", n)
	}
	if got := s.given("A1"); got != "" {
		t.Errorf("%q", got)
	}
}

// One order goes to both analysers; the first that reports has done it, the other is
// told. A third one cannot be told, and that is shown.
func TestTheFirstThatReportsHasDoneIt(t *testing.T) {
	t.Parallel()
	s, lis := pushSite(t,
		pusher("a-test-push", "test-push", "tcp-listen://127.0.0.1:0", "download"),
		pusher("a-test-push-law", "test-push-law", "mllp-listen://127.0.0.1:0", "download"),
		pusher("a-test-astm", "test-astm", "tcp-listen://127.0.0.1:0", "query"))
	p := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	s.order(p, testOrder("M1", "NW", "A1", "P1", "S1", "11"))
	law := newLAW(t, s.plug("test-push-law"))
	oml := law.read()
	for path, want := range map[string]string{"MSH-9": "OML^O33^OML_O33", "ORC-1": "NW", "OBR-4": "11^^99TST", "MSH-21": "LAB-28^IHE"} {
		if got := field(oml, path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	given := field(oml, "OBR-2")
	law.answer(oml, "AA", "ORC|OK|"+given)
	asks := s.plug("test-astm")
	say(t, asks, ask("S1", `Nguyen Thi P1<CR><ETX><sum><CR><LF>
> <ACK>
< <STX>3O|1|S1|R5^3|^^^11|||||||||||||||||||||Q`))
	c := s.plug("test-push")
	say(t, c, pushedRecords("Nguyen Thi P1", `S1||^^^11|||||||||||||||||||||O`))
	s.eventuallyGiven("A1", "11 open acknowledged a-test-astm taken; 11 open acknowledged a-test-push taken; 11 open acknowledged a-test-push-law taken")
	say(t, c, reports("S1", "11", "5.4"))
	oml = law.read()
	if field(oml, "ORC-1") != "CA" || field(oml, "OBR-2") != given {
		t.Errorf("%q", oml)
	}
	law.answer(oml, "AA", "ORC|CR|"+given)
	s.eventuallyGiven("A1", "11 open resulted a-test-astm cancelled too late; 11 open resulted a-test-push taken; 11 open resulted a-test-push-law taken back")
	eventually(t, "the LIS has the result", func() bool { return len(lis.of("|5.4|")) == 1 })
}

// An analyser that cannot do a test, or cannot drop one any more, says so.
func TestWhatAnAnalyserRefusesIsShown(t *testing.T) {
	t.Parallel()
	s, _ := pushSite(t, pusher("a-test-push-law", "test-push-law", "mllp-listen://127.0.0.1:0", "both"))
	p := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	s.order(p, testOrder("M1", "NW", "A1", "P1", "S1", "11", "12"))
	law := newLAW(t, s.plug("test-push-law"))
	oml := law.read()
	id := field(oml, "MSH-10")
	law.answer(oml, "AA", "ORC|OK|"+id+".1\rORC|UA|"+id+".2")
	s.eventuallyGiven("A1", "11 open acknowledged a-test-push-law taken; 12 open received a-test-push-law given up")
	eventually(t, "a person is told", func() bool { return s.g.pushers["a-test-push-law"].Trouble() == 1 })
	s.order(p, testOrder("M2", "CA", "A1", "P1", "S1", "11", "12"))
	oml = law.read()
	if field(oml, "ORC-1") != "CA" || field(oml, "OBR-2") != id+".1" || strings.Count(oml, "\rOBR|") != 1 {
		t.Errorf("%q", oml)
	}
	law.answer(oml, "AA", "ORC|UC|"+id+".1")
	s.eventuallyGiven("A1", "11 cancelled acknowledged a-test-push-law cancelled too late; 12 cancelled received a-test-push-law given up")
	// It runs the test all the same: the result is held.
	law.write("MSH|^~\\&|BA|Bio|||20260114||OUL^R22^OUL_R22|9|P|2.5.1\rSPM|1|S1||SER|||||||P\rSAC|||S1\rOBR|1|" + id + ".1||11\rOBX|1|NM|11||5.4||||||F")
	if answer := law.read(); field(answer, "MSA-1") != "AA" {
		t.Errorf("%q", answer)
	}
	eventually(t, "it is held", func() bool { return s.status().Counts.Held == 1 })
}

// lawAnalyser is an analyser that speaks LAW, by hand.
type lawAnalyser struct {
	t *testing.T
	c net.Conn
}

func newLAW(t *testing.T, c net.Conn) lawAnalyser { return lawAnalyser{t, c} }

func (l lawAnalyser) read() string {
	l.t.Helper()
	return strings.TrimSuffix(strings.TrimPrefix(readAll(l.t, l.c, "\x1c\r"), "\v"), "\x1c\r")
}

func (l lawAnalyser) write(m string) {
	l.t.Helper()
	if _, err := fmt.Fprintf(l.c, "\v%s\r\x1c\r", m); err != nil {
		l.t.Fatal(err)
	}
}

// answer is ORL^O34 to an order.
func (l lawAnalyser) answer(to, code, segments string) {
	l.t.Helper()
	l.write("MSH|^~\\&|BA|Bio|||" + time.Now().Format("20060102150405") + "||ORL^O34^ORL_O42|R" + field(to, "MSH-10") + "|P|2.5.1\rMSA|" + code + "|" + field(to, "MSH-10") + "\r" + segments)
}
