package orders

import (
	"strings"
	"testing"

	"nhip/gateway/intake"
	"nhip/gateway/lis"
	"nhip/gateway/ris"
	"nhip/hl7"
)

// FuzzOrders reads any message as one of orders, decides on it without a store, and
// builds the answer.
func FuzzOrders(f *testing.F) {
	for _, lines := range []string{
		head("1") + "ORC|NW|A1^HIS\nTQ1|1||||||20260114090000||S\nOBR|1|A1^HIS||GLU\nNTE|1||x~y\nOBX|1|NM|^Body Weight||65|kg\nSPM|1|T27^HIS&F1\nSAC|||C1\nORC|CA|A2",
		strings.ReplaceAll(head("2"), "O21^OML_O21", "O33^OML_O33") + "SPM|1|T27\nORC|RP|A1\nORC|RO|A2^^1.2^ISO|F\nOBR|1|||NA|||202601",
		strings.ReplaceAll(head("3"), "OML^O21^OML_O21", "OMI^O23") + "AL1|1||P^Penicillin\nORC|XO|A1|||CM|||||20260114\nOBR|1|A1^ACC||CT|||||||||||||||||||||||||||X\nIPC|ACC|RP|1.2.3|S|CT|P|N|L|A1~A2\nIPC|\nZDS|1.2",
		"MSH|^~\\&|||||||ORM^O01|1|P|2.3\nOBR|1|A1||X\nOBR|2|A2||Y||||||||||||||A|R|S||||RUS\nZDS|1.2.3^^Application^DICOM\nPID|1\nORC|NW",
		"MSH|^~\\&|||||||OML^O35|1|P|2.8\nORC\nORC|\"\"|\"\"\nOBR||\"\"||\"\"",
	} {
		f.Add([]byte(strings.ReplaceAll(lines, "\n", "\r")))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := hl7.Parse(b)
		if err != nil || m == nil {
			return
		}
		rules := ris.Rules{OrderRules: lis.OrderRules{Zone: hanoi}, Long: ris.LongCut}
		parts, bad := read(intake.Incoming{Link: "his", Message: m}, rules)
		orders := map[string]*Entry{}
		for _, p := range parts {
			if p.skip || p.with != nil || len(p.errors) > 0 {
				continue
			}
			number := p.request.Order.Placer.ID
			e, problem := decide(orders[number], p.request, at)
			p.outcome = Outcome{Problem: problem, Entry: e, ID: uint64(e.Version)}
			if e.Version == 0 {
				continue
			}
			orders[number] = &e
			value, err := e.encode()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := decodeEntry(value); err != nil {
				t.Fatal(err)
			}
			names(e.Order)
			markOf(e)
			ViewOf(e, true)
		}
		d := decision(m, parts, bad, Link{})
		if len(bad) == 0 && d.Verdict.Code == "" {
			t.Error("no verdict")
		}
		for _, line := range strings.Split(strings.TrimSuffix(string(d.Segments), "\r"), "\r") {
			if len(d.Segments) > 0 && len(line) < 3 {
				t.Errorf("a segment of the answer is %q", line)
			}
		}
	})
}
