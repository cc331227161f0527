package profile

import (
	"strings"
	"testing"

	"nhip/gateway/record"
)

// taken is what a profile, good with more in it, makes of a message's records.
func taken(t *testing.T, more string, lines ...string) Extraction {
	t.Helper()
	head, tables, _ := strings.Cut(good, "[[tests]]")
	keys, rules, _ := strings.Cut(more, "----\n") // keys of [parts], then tables
	p, err := load(head + keys + "[[tests]]" + tables + rules)
	if err != nil {
		t.Fatal(err)
	}
	e, err := p.Extract([]byte(strings.Join(lines, "\r")+"\r"), hanoi)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// one is the only result of the only report.
func one(t *testing.T, e Extraction) (record.Report, record.Result) {
	t.Helper()
	if len(e.Reports) != 1 || len(e.Reports[0].Results) != 1 {
		t.Fatalf("%+v", e)
	}
	return e.Reports[0], e.Reports[0].Results[0]
}

func TestValueFormsTakeAValueApart(t *testing.T) {
	const forms = `----
[[value]]
matches = '(?P<qualitative>[^^<>]*)\^(?P<comparator><|>)?(?P<quantity>[0-9.]+)'
source = "section 3"
`
	for _, test := range []struct{ value, comparator, quantity, qualitative string }{
		{"-1^0.325", "", "0.325", "-1"},
		{"pos^>5.00", ">", "5.00", "pos"},
		{"^<1", "<", "1", ""},
		{"5.2", "", "5.2", ""}, // a bare number needs no form
		{"NEG", "", "", ""},    // nothing is guessed
		{"pos^5 g", "", "", ""},
	} {
		_, r := one(t, taken(t, forms, header, "P|1", "O|1|S1", "R|1|^^^GLU|"+test.value, "L|1"))
		if r.Value != test.value || r.Comparator != test.comparator || r.Quantity != test.quantity || r.Qualitative != test.qualitative {
			t.Errorf("%s: %+v", test.value, r)
		}
	}
}

func TestCalibrationIsApartFromPatientsAndControls(t *testing.T) {
	e := taken(t, `----
[[calibration]]
path = "O.12"
is = "C"
source = "section 3"
[[control]]
path = "O.12"
is = "Q"
source = "section 3"
`, header, "P|1", "O|1|S1", "R|1|^^^GLU|5", "O|2|S2|||||||||C", "R|1|^^^GLU|6", "O|3|S3|||||||||Q", "R|1|^^^GLU|7", "L|1")
	got := map[string][2]bool{}
	for _, r := range e.Reports {
		got[r.Specimen.ID] = [2]bool{r.Control, r.Calibration}
	}
	if got["S1"] != [2]bool{} || got["S2"][1] != true || got["S3"] != [2]bool{true, false} || len(got) != 3 {
		t.Errorf("%v", got)
	}
}

func TestPartsOfControlMaterial(t *testing.T) {
	e := taken(t, `control_lot = "O.4.2"
control_name = "O.4.1"
comment = "C.4"
----
[[control]]
path = "O.12"
is = "Q"
source = "section 3"
[[remark]]
matches = 'LEVEL (.*)'
part = "control_level"
source = "section 4"
`, header, "P|1", "O|1|S1|Serum^LOT7||||||||Q", "C|1|I|LEVEL 2", "R|1|^^^GLU|5", "L|1")
	r, _ := one(t, e)
	if !r.Control || r.Lot != "LOT7" || r.Material != "Serum" || r.Level != "2" {
		t.Errorf("%+v", r)
	}
}

func TestVariantAndMark(t *testing.T) {
	e := taken(t, `----
[[variant]]
path = "R.3.5"
is = "I"
suffix = "-I"
source = "section 3"
[[mark]]
path = "R.8"
is = "E"
comment = "edited"
source = "section 4"
[[tests]]
code = "GLU-I"
source = "section 2"
`, header, "P|1", "O|1|S1", "R|1|^^^GLU^I|low||||E", "L|1")
	_, r := one(t, e)
	if r.Code != "GLU-I" || !r.Declared || len(r.Comments) != 1 || r.Comments[0] != "edited" {
		t.Errorf("%+v", r)
	}
}

func TestJoinedPathsAndAlternatives(t *testing.T) {
	e := taken(t, `text = "R.3.4 + R.5, R.3.4"
----
`, header, "P|1", "O|1|S1", "R|1|^^^GLU|5|g/L", "L|1")
	if _, r := one(t, e); r.Text != "GLU g/L" {
		t.Errorf("%+v", r)
	}
}

func TestSpecimenFormTakesPadsAway(t *testing.T) {
	p, err := load(strings.Replace(good, "parts_source", "specimen_form = '0*(.+)'\nspecimen_form_source = \"section 5\"\nparts_source", 1))
	if err != nil {
		t.Fatal(err)
	}
	e, err := p.Extract([]byte(header+"\rP|1\rO|1|000071\rR|1|^^^GLU|5\rL|1\r"), hanoi)
	if err != nil {
		t.Fatal(err)
	}
	if r, _ := one(t, e); r.Specimen.ID != "71" {
		t.Errorf("%q", r.Specimen.ID)
	}
}

func TestTimesInTheDevicesOwnForm(t *testing.T) {
	const text = `times = ["02.01.2006 15:04"]
parts_source`
	p, err := load(strings.Replace(strings.Replace(good, "parts_source", text, 1), `value = "R.4"`, "value = \"R.4\"\nobserved = \"R.13\"", 1))
	if err != nil {
		t.Fatal(err)
	}
	for sent, want := range map[string]string{"14.01.2026 08:05": "2026-01-14T08:05:00+07:00", "20260114080500": "2026-01-14T08:05:00+07:00", "yesterday": ""} {
		e, err := p.Extract([]byte(header+"\rP|1\rO|1|S1\rR|1|^^^GLU|5|||||||||"+sent+"\rL|1\r"), hanoi)
		if err != nil {
			t.Fatal(err)
		}
		_, r := one(t, e)
		got := ""
		if !r.Observed.At.IsZero() {
			got = r.Observed.At.Format("2006-01-02T15:04:05Z07:00")
		}
		if got != want || r.Observed.Text != sent && want == "" {
			t.Errorf("%s: %s %+v", sent, got, r.Observed)
		}
	}
}

func TestControlByIdentifier(t *testing.T) {
	e := taken(t, `----
[[control]]
path = "O.3.1"
matches = "~C.*"
source = "section 3"
`, header, "P|1|BN-1", "O|1|~CLOW", "R|1|^^^GLU|5", "O|2|C~LOW", "R|1|^^^GLU|6", "L|1")
	if len(e.Reports) != 2 || !e.Reports[0].Control || e.Reports[1].Control {
		t.Errorf("%+v", e.Reports)
	}
}
