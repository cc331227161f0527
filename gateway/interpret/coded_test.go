package interpret

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"nhip/drivers/profile"
	"nhip/gateway/codes"
	"nhip/gateway/intake"
	"nhip/gateway/reason"
	"nhip/gateway/route"
)

// A table that another takes the place of in the middle of a message: all of the message
// is by one of them, however many specimens it has and whatever looks at it.
func TestAllOfAMessageIsByOneTable(t *testing.T) {
	all, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	series, err := NewSeries("site", nil)
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	r := &reader{
		connections: map[string]Connection{"a": {Name: "a", Kind: Analyser, Zone: time.UTC, Profile: all["generic-astm"]}},
		routes:      route.Table{"a": {To: []route.Destination{{Name: "lis", Kind: route.HL7}, {Name: "his", Kind: route.HL7}}}},
		series:      series,
		codes: func(string) *CodeTable {
			asked++
			table, problems := codes.Read(fmt.Appendf(nil, "code;unit;lis_code\nGLU;*;V%d\n", asked))
			if table == nil {
				t.Fatal(problems)
			}
			return &CodeTable{Value: table, Version: asked, Name: "x"}
		},
	}
	body := "H|\\^&\r"
	for i := range 3 {
		body += fmt.Sprintf("P|%d\rO|1|S%d||^^^GLU\rR|1|^^^GLU|5.1|mmol/L||N||F\r", i+1, i)
	}
	o := r.read(intake.Entry{Kind: intake.KindASTM, Connection: "a", At: time.Now()}, []byte(body+"L|1|N\r"), time.Now())
	if len(o.out) != 6 || len(o.held) != 0 {
		t.Fatalf("%+v", o)
	}
	for _, x := range o.out {
		if x.codes != "version 1 x" || !strings.Contains(string(x.body), "|V1^") {
			t.Errorf("made with %s: %q", x.codes, x.body)
		}
	}
	r.codes = func(string) *CodeTable { return &CodeTable{Version: 2, Broken: fmt.Errorf("of a newer version")} }
	o = r.read(intake.Entry{Kind: intake.KindASTM, Connection: "a", At: time.Now()}, []byte(body+"L|1|N\r"), time.Now())
	if len(o.out) != 0 || len(o.held) != 3 || o.held[0].why.Code != reason.CodesUnusable || o.held[2].to.Report != 3 {
		t.Errorf("with a table that cannot be used: %+v", o)
	}
}
