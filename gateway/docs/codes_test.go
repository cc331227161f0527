package docs

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"nhip/gateway/codes"
	"nhip/gateway/reason"
	"nhip/gateway/record"
)

// The table of codes that both manuals show is good, and does what they say of it.
func TestTheTableOfCodesOfTheManualIsGood(t *testing.T) {
	block := regexp.MustCompile("(?s)```csv\n(.*?)```")
	for name, text := range map[string]string{"en": string(English), "vi": string(Vietnamese)} {
		found := block.FindStringSubmatch(text)
		if found == nil {
			t.Fatalf("%s has no table", name)
		}
		table, problems := codes.Read([]byte(found[1]))
		if table == nil || len(problems) > 0 {
			t.Fatalf("%s: %s", name, problems[0].In(reason.English))
		}
		at := record.Time{At: time.Date(2026, 1, 14, 8, 0, 0, 0, time.UTC)}
		rep := record.Report{Results: []record.Result{{Code: "GLU-P", Value: "100", Unit: "mg/dL", Observed: at}, {Code: "WBC", Value: "6.41", Unit: "10*3/uL", Observed: at}}}
		o := table.Apply(rep, at.At, time.UTC, false)
		x := o.Report.Results[0]
		if o.Held() || x.Code != "01001" || x.Value != "5.55" || x.Unit != "mmol/L" || len(x.Comments) != 1 || !strings.Contains(text, "`"+x.Comments[0]+"`") || o.Report.Results[1].Unit != "G/L" {
			t.Errorf("%s: %+v", name, o)
		}
		if got := strings.Join(table.Tests("SHM", at.At, time.UTC), " "); got != "GLU-P ALT" {
			t.Errorf("%s: SHM runs %s", name, got)
		}
		if rep.Results[1].Unit = "10*9/L"; !table.Apply(rep, at.At, time.UTC, false).Held() {
			t.Errorf("%s: a unit of another year is taken", name)
		}
	}
}
