package run

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"nhip/gateway/control"
	"nhip/gateway/record"
)

// twoWaySite is a gateway with a HIS, a LIS and one analyser that asks for its orders.
func twoWaySite(t *testing.T, policy string) (*site, *systemLIS) {
	t.Helper()
	lis := newLIS(t)
	s := newSite(t, hisBlock+fmt.Sprintf("[[destination]]\nname = \"lis\"\nkind = \"hl7\"\naddress = %q\n", lis.address))
	s.stop()
	text, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	with := strings.Replace(string(text), "[site]\n", fmt.Sprintf("[site]\nprofiles = %q\n", writeProfiles(t)), 1) +
		fmt.Sprintf("[[analyser]]\nname = \"a-test-astm\"\nprofile = \"test-astm\"\nport = \"tcp-listen://127.0.0.1:0\"\norders = %q\nto = [\"lis\"]\n", policy)
	if err := os.WriteFile(s.file, []byte(with), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	return s, lis
}

// testOrder is an order for one specimen.
func testOrder(id, control, number, patient, specimen string, tests ...string) string {
	now := time.Now().Format("20060102150405")
	m := "MSH|^~\\&|HIS|BV|NHIP|BV|" + now + "||OML^O21^OML_O21|" + id + "|P|2.5.1||||||UNICODE UTF-8\r" +
		"PID|1||" + patient + "^^^BV^MR||Nguyễn^Thị " + patient + "||19770707|F\r"
	for i, x := range tests {
		m += "ORC|" + control + "|" + number + "\rOBR|" + fmt.Sprint(i+1) + "|" + number + "||" + x + "^" + x + "^L\rSPM|1|" + specimen + "||SER\r"
	}
	return m
}

// ask is a query of the analyser for a specimen, with the O record that it gets; none:
// it is told that there is nothing.
func ask(specimen, record string) string {
	q := `
> <ENQ>
< <ACK>
> <STX>1H|\^&<CR>Q|1|^` + specimen + `^^R5^3||ALL<CR>L|1|N<CR><ETX><sum><CR><LF>
< <ACK>
> <EOT>
< <ENQ>
> <ACK>
< <STX>1H|\^&<CR><ETX><sum><CR><LF>
> <ACK>
`
	if record == "" {
		return q + `< <STX>2L|1|I<CR><ETX><sum><CR><LF>
> <ACK>
< <EOT>
`
	}
	return q + `< <STX>2P|1||||` + record + `<CR><ETX><sum><CR><LF>
> <ACK>
< <STX>4L|1|N<CR><ETX><sum><CR><LF>
> <ACK>
< <EOT>
`
}

func reports(specimen, code, value string) string {
	return `
> <ENQ>
< <ACK>
> <STX>1H|\^&<CR>P|1<CR>O|1|` + specimen + `||^^^` + code + `|R<CR>R|1|^^^` + code + `|` + value + `<CR>L|1|N<CR><ETX><sum><CR><LF>
< <ACK>
> <EOT>
`
}

// An order comes by HL7, the analyser asks for it and reports; the result goes to the
// LIS under the order's number and patient. What is cancelled is not handed out, and its
// result is held. All of it over a restart too.
func TestAnOrderGoesDownAndItsResultUp(t *testing.T) {
	t.Parallel()
	s, lis := twoWaySite(t, "required")
	p := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	for _, m := range []string{
		testOrder("M1", "NW", "A1", "P1", "S1", "11", "12"), testOrder("M2", "NW", "A2", "P2", "S2", "11"), testOrder("M3", "CA", "A2", "P2", "S2", "11"),
	} {
		if answer := p.send(t, m); field(answer, "MSA-1") != "AA" {
			t.Fatalf("answered %q", answer)
		}
	}
	s.stop()
	s.start()
	c := s.plug("test-astm")
	say(t, c, ask("S1", `Nguyen Thi P1<CR><ETX><sum><CR><LF>
> <ACK>
< <STX>3O|1|S1|R5^3|^^^11\^^^12|||||||||||||||||||||Q`))
	say(t, c, reports("S1", "11", "5.4"))
	eventually(t, "the LIS has the result", func() bool { return len(lis.of("|5.4|")) == 1 })
	m := lis.of("|5.4|")[0]
	for path, want := range map[string]string{"OBR-2": "A1", "OBR-4": "11^11^L", "PID-3": "P1^^^BV^MR", "ORC-2": "A1", "OBX-5": "5.4"} {
		if got := field(m, path); got != want {
			t.Errorf("%s is %q, want %q in %q", path, got, want, m)
		}
	}
	say(t, c, reports("S2", "11", "9.9"))
	say(t, c, reports("S9", "11", "8.8"))
	eventually(t, "two are held", func() bool { return s.status().Counts.Held == 2 })
	if n := len(lis.of("|9.9|")) + len(lis.of("|8.8|")); n != 0 {
		t.Errorf("%d results without a valid order reached the LIS", n)
	}
}

// A result under a wrong specimen identifier is held; a person says whose it is. What is
// given back is handed out again. Who did it stands in the journal.
func TestAPersonMatchesAResultAndReturnsAnOrder(t *testing.T) {
	t.Parallel()
	s, lis := twoWaySite(t, "required")
	p := newPeer(t, "127.0.0.1", s.status().Listen.HL7)
	if answer := p.send(t, testOrder("M1", "NW", "A1", "P1", "S1", "11")); field(answer, "MSA-1") != "AA" {
		t.Fatalf("answered %q", answer)
	}
	c := s.plug("test-astm")
	// Two specimens in one message: one has its order, the other is mistyped.
	say(t, c, `
> <ENQ>
< <ACK>
> <STX>1H|\^&<CR>P|1<CR>O|1|S9||^^^11|R<CR>R|1|^^^11|7.7<CR>P|2<CR>O|1|S8||^^^11|R<CR>R|1|^^^11|6.6<CR>L|1|N<CR><ETX><sum><CR><LF>
< <ACK>
> <EOT>
`)
	eventually(t, "two are held", func() bool { return s.status().Counts.Held == 2 })
	act := func(path string, request any) error {
		return control.Call(t.Context(), s.data, "Hoa", path, request, nil)
	}
	items := heldOf(t, s)
	for name, request := range map[string]MatchRequest{
		"no such order": {ID: items["S9"], Order: "A9", Reason: "typed wrongly"}, "no reason": {ID: items["S9"], Order: "A1"}, "no item": {ID: "held/999", Order: "A1", Reason: "x"},
	} {
		if err := act("match", request); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if err := act("match", MatchRequest{ID: items["S9"], Order: "A1", Reason: "typed wrongly"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the LIS has the result", func() bool { return len(lis.of("|7.7|")) == 1 })
	if m := lis.of("|7.7|")[0]; field(m, "OBR-2") != "A1" || field(m, "PID-3") != "P1^^^BV^MR" {
		t.Errorf("%q", m)
	}
	if n := s.status().Counts.Held; n != 1 || len(lis.of("|6.6|")) != 0 {
		t.Errorf("%d held: the other report waits for itself", n)
	}
	if err := act("release", ItemRequest{ID: items["S8"], Reason: "goes without"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the LIS has the other", func() bool { return len(lis.of("|6.6|")) == 1 })
	if m := lis.of("|6.6|")[0]; field(m, "OBR-2") != "" || field(m, "PID-3") != "" {
		t.Errorf("%q", m)
	}
	eventually(t, "the order has its result", func() bool {
		work, err := s.g.lab.For(s.g.labAnalyser(s.g.cfg.Analysers[0])).Work(t.Context(), record.Query{Specimens: []string{"S1"}})
		return err == nil && len(work) == 0
	})
	if err := act("return", ReturnRequest{Order: "A1", Reason: "clotted, run again"}); err != nil {
		t.Fatal(err)
	}
	say(t, c, ask("S1", `Nguyen Thi P1<CR><ETX><sum><CR><LF>
> <ACK>
< <STX>3O|1|S1|R5^3|^^^11|||||||||||||||||||||Q`))
	st := s.status().Counts
	if st.Accepted != st.Delivered+st.Queued+st.Held+st.Consumed {
		t.Errorf("the sum is wrong: %+v", st)
	}
}

// heldOf are the held items by their specimen.
func heldOf(t *testing.T, s *site) map[string]string {
	t.Helper()
	var a HeldAnswer
	if err := control.Call(t.Context(), s.data, "Hoa", "held", QueueRequest{}, &a); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, x := range a.Held {
		all[x.Subject] = x.ID
	}
	return all
}

func TestWarnedResultsWithoutAnOrderGoOn(t *testing.T) {
	t.Parallel()
	s, lis := twoWaySite(t, "warn")
	c := s.plug("test-astm")
	say(t, c, reports("S9", "11", "8.8"))
	eventually(t, "the LIS has the result", func() bool { return len(lis.of("|8.8|")) == 1 })
	if got := field(lis.of("|8.8|")[0], "OBR-2"); got != "" {
		t.Errorf("OBR-2 is %q", got)
	}
}
