package codes

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"nhip/gateway/reason"
	"nhip/gateway/record"
)

// file is a table with these rows: code;unit;lis_code;lis_unit;factor;decimals;from;until;ordered_by
func file(head string, rows ...string) []byte {
	return []byte(head + "code;unit;lis_code;lis_unit;factor;decimals;from;until;ordered_by\n" + strings.Join(rows, "\n") + "\n")
}

func read(t *testing.T, b []byte) *Table {
	t.Helper()
	table, problems := Read(b)
	for _, p := range problems {
		if !p.Warning {
			t.Errorf("line %d: %s", p.Line, p.In(reason.English))
		}
	}
	if table == nil {
		t.FailNow()
	}
	return table
}

var hanoi = time.FixedZone("+07", 7*3600)

func on(day string) time.Time {
	at, err := time.ParseInLocation("20060102150405", day, hanoi)
	if err != nil {
		panic(err)
	}
	return at
}

// one applies a table to one result.
func one(t *Table, x record.Result) (record.Result, Fate) {
	o := t.Apply(record.Report{Results: []record.Result{x}}, on("20260115080000"), hanoi, false)
	return o.Report.Results[0], o.Fates[0]
}

func TestAResultBecomesWhatItsRowSays(t *testing.T) {
	table := read(t, []byte("#ma_may;SH.1.27001.AU680-77\ncode;unit;lis_code;name;loinc;lis_unit;ucum;factor;decimals\n"+
		"GLU;mg/dL;01001;Glucose máu;14749-6;mmol/L;mmol/L;x0.0555;2\n"+
		"WBC;10*3/uL;HC01;Bạch cầu;;G/L;10*9/L;;\nHGB;*;HC03;;718-7;;;;\nRET;;;Hồng cầu lưới;;;;;\nHCV;S/CO;VS01;;;;;;\n"))
	for name, test := range map[string]struct {
		in   record.Result
		want record.Result
		kind Kind
	}{
		"converted, with what was sent beside it": {
			record.Result{Code: "GLU", LOINC: "2345-7", UCUM: "mg/dL", Value: "100", Quantity: "100", Unit: "mg/dL", Range: "70 - 110", Comments: []string{"hemolytic"}},
			record.Result{Code: "01001", System: "L", Text: "Glucose máu", LOINC: "14749-6", Declared: true, Value: "5.55", Quantity: "5.55", Unit: "mmol/L", UCUM: "mmol/L", Range: "3.89 - 6.11",
				Comments: []string{"hemolytic", "sent by the analyser: 100 mg/dL, reference range 70 - 110"}}, Known},
		"a comparator stays": {
			record.Result{Code: "GLU", Value: "< 5", Unit: "mg/dL", Comparator: "<", Quantity: "5"},
			record.Result{Code: "01001", System: "L", Text: "Glucose máu", LOINC: "14749-6", Declared: true, Value: "< 0.28", Comparator: "<", Quantity: "0.28", Unit: "mmol/L", UCUM: "mmol/L",
				Comments: []string{"sent by the analyser: < 5 mg/dL"}}, Known},
		"a range that is no range goes only into the note": {
			record.Result{Code: "GLU", Value: "100", Unit: "mg/dL", Range: "see list"},
			record.Result{Code: "01001", System: "L", Text: "Glucose máu", LOINC: "14749-6", Declared: true, Value: "5.55", Unit: "mmol/L", UCUM: "mmol/L",
				Comments: []string{"sent by the analyser: 100 mg/dL, reference range see list"}}, Known},
		"text is not converted": {
			record.Result{Code: "GLU", Value: "HIGH", Unit: "mg/dL", LOINC: "2345-7"},
			record.Result{Code: "01001", System: "L", Text: "Glucose máu", Declared: true, LOINC: "2345-7", Value: "HIGH", Unit: "mg/dL", Comments: []string{marks[NoNumber]}}, NoNumber},
		"what has not been measured": {
			record.Result{Code: "GLU", Unit: "mg/dL", Status: "X", LOINC: "2345-7"},
			record.Result{Code: "01001", System: "L", Text: "Glucose máu", Declared: true, LOINC: "2345-7", Unit: "mg/dL", Status: "X"}, Known},
		"another name of the same unit": {
			record.Result{Code: "WBC", LOINC: "6690-2", Value: "6.41", Unit: " 10*3/uL "},
			record.Result{Code: "HC01", System: "L", Text: "Bạch cầu", LOINC: "6690-2", Declared: true, Value: "6.41", Unit: "G/L", UCUM: "10*9/L"}, Known},
		"any unit": {
			record.Result{Code: "HGB", Text: "HGB", Value: "13.5", Unit: "g/dL", UCUM: "g/dL"},
			record.Result{Code: "HC03", System: "L", Text: "HGB", LOINC: "718-7", Declared: true, Value: "13.5", Unit: "g/dL", UCUM: "g/dL"}, Known},
		"the code of the analyser itself": {
			record.Result{Code: "RET", Value: "1.2"},
			record.Result{Code: "RET", Text: "Hồng cầu lưới", Declared: true, Value: "1.2"}, Known},
		"text of a qualitative test": {
			record.Result{Code: "HCV", Value: "Non-reactive", Unit: "S/CO"},
			record.Result{Code: "VS01", System: "L", Declared: true, Value: "Non-reactive", Unit: "S/CO"}, Known},
	} {
		before := record.Result(test.in)
		before.Comments = slices.Clone(test.in.Comments)
		got, f := one(table, test.in)
		if !reflect.DeepEqual(got, test.want) || f.Kind != test.kind || f.Held {
			t.Errorf("%s: %+v %+v\nwant %+v", name, f, got, test.want)
		}
		if !reflect.DeepEqual(test.in, before) {
			t.Errorf("%s: what came in was changed", name)
		}
	}
	o := table.Apply(record.Report{Device: record.Device{Serial: "77"}}, on("20260115080000"), hanoi, false)
	if o.Report.Device.MaMay != "SH.1.27001.AU680-77" || o.Report.Device.Serial != "77" {
		t.Errorf("%+v", o.Report.Device)
	}
}

// The notes of a result that is translated twice, for two destinations or in a try, do
// not share memory.
func TestTheReportThatIsGivenStaysAsItIs(t *testing.T) {
	notes := append(make([]string, 0, 4), "first")
	rep := record.Report{Results: []record.Result{{Code: "GLU", Value: "100", Unit: "mg/dL", Comments: notes}}}
	a := read(t, file("", "GLU;mg/dL;01001;mmol/L;x0.0555;2;;;")).Apply(rep, on("20260115080000"), hanoi, false)
	rep.Results[0].Value = "200"
	b := read(t, file("", "GLU;mg/dL;01001;mmol/L;x0.0555;2;;;")).Apply(rep, on("20260115080000"), hanoi, false)
	if got := a.Report.Results[0].Comments[1]; got != "sent by the analyser: 100 mg/dL" || len(notes) != 1 || b.Report.Results[0].Value != "11.10" {
		t.Errorf("%q", got)
	}
}

func TestWhatTheTableDoesNotKnowIsHeldOrPassesMarked(t *testing.T) {
	rows := []string{"GLU;mg/dL;01001;mmol/L;x0.0555;1;20260101;20261231;", "11;;12;;;;;;", "OLD;*;01009;;;;;20251231;"}
	for name, test := range map[string]struct {
		x          record.Result
		kind       Kind
		byDefault  bool // held
		holds      string
		overridden bool // by the policy pass
	}{
		"code":          {record.Result{Code: "XYZ", Value: "1"}, NoCode, true, "unknown_code", true},
		"unit":          {record.Result{Code: "GLU", Value: "5.5", Unit: "mmol/L"}, NoUnit, true, "unknown_unit", true},
		"no unit":       {record.Result{Code: "GLU", Value: "5.5"}, NoUnit, true, "unknown_unit", true},
		"day":           {record.Result{Code: "OLD", Value: "5.5"}, NotValid, true, "unknown_code", true},
		"number":        {record.Result{Code: "GLU", Value: "5,5", Unit: "mg/dL"}, NoNumber, false, "not_number", true},
		"rounds to 0":   {record.Result{Code: "GLU", Value: "<0.5", Unit: "mg/dL"}, NoNumber, false, "not_number", true},
		"another's LIS": {record.Result{Code: "12", Value: "1"}, Taken, true, "unknown_code", false},
	} {
		received := test.x
		got, f := one(read(t, file("", rows...)), test.x)
		if f.Kind != test.kind || f.Held != test.byDefault || got.Value != received.Value || got.Unit != received.Unit {
			t.Errorf("%s by default: %+v %+v", name, f, got)
		}
		got, f = one(read(t, file("#"+test.holds+";pass\n", rows...)), test.x)
		if f.Kind != test.kind || f.Held == test.overridden || got.Value != received.Value {
			t.Errorf("%s passes: %+v %+v", name, f, got)
		}
		if !f.Held && !slices.Equal(got.Comments, []string{marks[test.kind]}) {
			t.Errorf("%s is not marked: %q", name, got.Comments)
		}
		if _, f = one(read(t, file("#"+test.holds+";hold\n", rows...)), test.x); !f.Held {
			t.Errorf("%s with hold: %+v", name, f)
		}
		o := read(t, file("", rows...)).Apply(record.Report{Results: []record.Result{test.x}}, on("20260115080000"), hanoi, true)
		if o.Held() || !slices.Equal(o.Report.Results[0].Comments, []string{marks[test.kind]}) {
			t.Errorf("%s, released by a person: %+v", name, o)
		}
	}
}

// Without rows the profile says what is known, and nothing is held unless it is asked for.
func TestATableWithoutRows(t *testing.T) {
	table := read(t, file("#ma_may;HH.1.27001.X\n"))
	for _, declared := range []bool{true, false} {
		x := record.Result{Code: "WBC", Value: "1", Unit: "x", Declared: declared}
		got, f := one(table, x)
		if f.Held || got.Code != "WBC" || got.Unit != "x" || (len(got.Comments) == 0) != declared {
			t.Errorf("%v: %+v %+v", declared, f, got)
		}
		if _, f := one(read(t, file("#unknown_code;hold\n")), x); f.Held == declared {
			t.Errorf("%v, hold: %+v", declared, f)
		}
	}
	if table.Strict() || (*Table)(nil).Strict() {
		t.Error("it is strict")
	}
}

func TestTwoCodesThatAreOneAtTheLIS(t *testing.T) {
	rows := []string{"GLU;;01001;;;;;;", "GLU2;;01001;;;;;;", "ALT;;01002;;;;;;"}
	report := func(all ...string) (rep record.Report) {
		for _, c := range all {
			rep.Results = append(rep.Results, record.Result{Code: c, Value: "1"})
		}
		return rep
	}
	apply := func(head string, all ...string) Outcome {
		return read(t, file(head, rows...)).Apply(report(all...), on("20260115080000"), hanoi, false)
	}
	if o := apply("", "GLU", "ALT", "GLU2"); !o.Held() || o.Fates[2].Kind != Duplicate || o.Fates[0].Held {
		t.Errorf("%+v", o.Fates)
	}
	if o := apply("", "GLU", "ALT", "GLU"); o.Held() { // a replicate of the analyser's own
		t.Errorf("%+v", o.Fates)
	}
	if o := apply("#duplicate;pass\n", "GLU", "GLU2"); o.Held() || len(o.Report.Results[1].Comments) != 1 {
		t.Errorf("%+v", o)
	}
}

// A row holds from the first moment of its first day to the last of its last, by the time
// at which the test was done, in the zone of the site; against a model of moments.
func TestValidityByTheDayOfTheResult(t *testing.T) {
	table := read(t, file("", "A;;one;;;;;20260109;", "A;;two;;;;20260110;20260119;", "A;;three;;;;20260120;20260131;", "A;;four;;;;20260202;;"))
	model := func(at time.Time) string {
		first := func(d int) time.Time { return time.Date(2026, 1, d, 0, 0, 0, 0, hanoi) }
		switch {
		case at.Before(first(10)):
			return "one"
		case at.Before(first(20)):
			return "two"
		case at.Before(first(32)):
			return "three"
		case at.Before(first(33)):
			return ""
		}
		return "four"
	}
	check := func(at time.Time) {
		t.Helper()
		want := model(at)
		for name, x := range map[string]record.Result{
			"observed": {Code: "A", Value: "1", Observed: record.Time{At: at}},
			"received": {Code: "A", Value: "1"},
		} {
			received := on("20270101000000")
			if name == "received" {
				received = at
			}
			o := table.Apply(record.Report{Results: []record.Result{x}}, received, hanoi, false)
			got := o.Report.Results[0].Code
			if want == "" && (o.Fates[0].Kind != NotValid || !o.Held()) || want != "" && (got != want || o.Held()) {
				t.Errorf("%s at %s: %s %+v, want %q", name, at, got, o.Fates[0], want)
			}
		}
		if got := table.Tests("two", at, hanoi); (len(got) == 1) != (want == "two") {
			t.Errorf("ordered at %s: %q, want it only where %q is two", at, got, want)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, day := range []int{9, 10, 19, 20, 31, 32, 33} {
		midnight := time.Date(2026, 1, day, 0, 0, 0, 0, hanoi)
		check(midnight.UTC())
		check(midnight.Add(-time.Nanosecond).UTC())
	}
	for range 2000 {
		check(on("20251220000000").Add(time.Duration(r.Int64N(int64(60 * 24 * time.Hour)))).UTC())
	}
}

// The conversion is that of exact arithmetic, rounded once, halves away from zero:
// compared with whole numbers only.
func TestConversionIsExact(t *testing.T) {
	digits := func(r *rand.Rand, n int) string {
		b := make([]byte, 1+r.IntN(n))
		for i := range b {
			b[i] = byte('0' + r.IntN(10))
		}
		return string(b)
	}
	r := rand.New(rand.NewPCG(3, 4))
	decimal := func(n int) (text string, whole *big.Int, scale int) {
		a, b := digits(r, n), digits(r, n)
		whole, _ = new(big.Int).SetString(a+b, 10)
		return a + "." + b, whole, len(b)
	}
	refused := 0
	for range 20000 {
		value, v, vs := decimal(8)
		if r.IntN(4) == 0 { // near 0
			v.Mod(v, big.NewInt(10))
			value = "0." + strings.Repeat("0", vs-1) + v.String()
		}
		factor, f, fs := decimal(8)
		places := r.IntN(11)
		if f.Sign() == 0 {
			continue
		}
		row := Row{Factor: factor, Decimals: places}
		row.factor, _ = new(big.Rat).SetString(factor)
		got, ok := row.times(value)
		// v*f / 10^(vs+fs), to places: (2*v*f*10^places/10^(vs+fs) + 1) / 2, rounded down
		n := new(big.Int).Mul(v, f)
		exact := n.Sign()
		n.Mul(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(places)), nil))
		n.Mul(n, big.NewInt(2))
		ten := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(vs+fs)), nil)
		n.Add(n, ten)
		n.Div(n, ten.Mul(ten, big.NewInt(2)))
		if exact != 0 && n.Sign() == 0 {
			refused++
			if ok {
				t.Errorf("%s x%s to %d places became %s", value, factor, places, got)
			}
			continue
		}
		want := n.String()
		if places > 0 {
			want = strings.Repeat("0", max(0, places+1-len(want))) + want
			want = want[:len(want)-places] + "." + want[len(want)-places:]
		}
		if !ok || got != want {
			t.Fatalf("%s x%s to %d places: %q %v, want %q", value, factor, places, got, ok, want)
		}
		if minus, ok := row.times("-" + value); exact != 0 && (!ok || minus != "-"+want) {
			t.Fatalf("-%s x%s to %d places: %q, want -%s", value, factor, places, minus, want)
		}
	}
	if refused == 0 {
		t.Error("no value became 0")
	}
	for value, want := range map[string]string{"0.5": "1", "1.5": "2", "2.5": "3", "-2.5": "-3", "2.4999": "2", "0": "0"} { // not half to even
		row := Row{Factor: "1", factor: big.NewRat(1, 1)}
		if got, _ := row.times(value); got != want {
			t.Errorf("%s is rounded to %s, want %s", value, got, want)
		}
	}
}

func TestAnOrderRunsWhatTheTableSays(t *testing.T) {
	table := read(t, file("", "WBC;;HC01;;;;;;CBC DIFF", "RBC;;HC02;;;;;;CBC", "NEUT;;;;;;20260110;;DIFF", "GLU;mg/dL;01001;mmol/L;x0.0555;1;;;", "GLU;mmol/L;01001;;;;;;"))
	for order, want := range map[string]string{"CBC": "WBC RBC", "DIFF": "WBC NEUT", "HC01": "WBC", "NEUT": "NEUT", "01001": "GLU", "GLU": "", "WBC": "", "": ""} {
		if got := strings.Join(table.Tests(order, on("20260115080000"), hanoi), " "); got != want {
			t.Errorf("%s runs %q, want %q", order, got, want)
		}
	}
	if got := table.Tests("DIFF", on("20260109235959"), hanoi); !slices.Equal(got, []string{"WBC"}) {
		t.Errorf("%q", got)
	}
	if !table.Has("GLU") || table.Has("01001") || !table.Strict() {
		t.Error("what it has")
	}
}

func TestControlMaterialOfTheSite(t *testing.T) {
	table := read(t, file("#unknown_lot;hold\n#control_lot;L-77;Bio-Rad 1;20260101;20260331\n#control_specimen;QC*\n#control_specimen;*-NK-*\n"))
	for id, want := range map[string]bool{"QC-1": true, "QC": true, "27": false, "qc": false, "A-NK-1": true, "-NK-": true, "A-NK": false} {
		if table.IsControl(id) != want {
			t.Errorf("%s: %v", id, !want)
		}
	}
	for lot, want := range map[string]bool{"L-77": true, " L-77 ": true, "L-78": false, "": false} {
		if table.KnowsLot(lot, on("20260115080000"), hanoi) != want {
			t.Errorf("lot %s: %v", lot, !want)
		}
	}
	if table.KnowsLot("L-77", on("20260401000000"), hanoi) || !read(t, file("")).KnowsLot("x", on("20260401000000"), hanoi) || !(*Table)(nil).KnowsLot("x", time.Now(), nil) || (*Table)(nil).IsControl("QC") {
		t.Error("days, and tables that ask for no lots")
	}
}

func TestWhatIsWrongIsSaidWithItsLine(t *testing.T) {
	for content, want := range map[string]string{
		"":                                 `0 there is no line of headings`,
		"a;b\n":                            `0 there is no line of headings`,
		"code;colour\nA;B\n":               `1 the heading "colour"`,
		"code;unit;unit\n":                 `1 the heading "unit"`,
		"code;unit\nA;b;c\n":               `2 there is something behind the 2 columns`,
		"#unknown_code;maybe\ncode;unit\n": `1 #unknown_code: write hold or pass`,
		"#duplicate;hold\n#duplicate;pass\ncode;unit":           `2 "#duplicate" stands there twice`,
		"#nonsense;1\ncode;unit\n":                              `1 "#nonsense" is not known`,
		"#ma_may\ncode;unit\n":                                  `1 #ma_may is empty`,
		"#control_lot;\ncode;unit\n":                            `1 #control_lot is empty`,
		"#control_specimen;*\ncode;unit\n":                      `1 #control_specimen is empty`,
		"code;unit\n;mg/dL\n":                                   `2 code is empty`,
		"code;unit;loinc\nA;;2345-8\n":                          `2 "2345-8" is no LOINC code`,
		"code;unit;ucum\nA;;µg/L\n":                             `2 "µg/L" is no UCUM code`,
		"code;from\nA;31/01/2026\n":                             `2 "31/01/2026" is no day`,
		"code;from;until\nA;20260201;2026-01-31\n":              `2 "A" ends before it begins`,
		"code;unit\nA;x\nA;y\nA;x\n":                            `4 "A" stands in line 2 too`,
		"code;from;until\nA;;20260101\nA;20260101;\n":           `3 "A" stands in line 2 too`,
		"code;unit;lis_unit;factor;decimals\nA;x;y;0.0555;1\n":  `2 factor "0.0555": write x before it`,
		"code;unit;lis_unit;factor;decimals\nA;x;y;x0;1\n":      `2 factor "x0": it is x and a number above 0`,
		"code;unit;lis_unit;factor;decimals\nA;x;y;x-1;1\n":     `2 factor "x-1": it is x and a number above 0`,
		"code;unit;lis_unit;factor;decimals\nA;x;y;x0,5;1\n":    `2 factor "x0,5": it is x and a number above 0`,
		"code;unit;lis_unit;factor;decimals\nA;x;y;x2;\n":       `2 a factor needs decimals`,
		"code;unit;lis_unit;factor;decimals\nA;x;y;x2;11\n":     `2 a factor needs decimals`,
		"code;unit;lis_unit;factor;decimals\nA;x;y;;1\n":        `2 decimals without a factor`,
		"code;unit;lis_unit;factor;decimals\nA;x;;x2;1\n":       `2 a factor needs lis_unit`,
		"code;unit;lis_unit;factor;decimals\nA;*;y;x2;1\n":      `2 a factor needs the unit that it converts from`,
		"code;unit\nA\x01;x\n":                                  `2 column 1 has control characters`,
		"code;unit\n\xffA;x\n":                                  `0 the file is not UTF-8`,
		"code;name\nA;" + strings.Repeat("x", maxCell+1) + "\n": `2 column 2 has control characters, or over`,
		"code;unit\n" + strings.Repeat("A;x\n", maxRows+1):      fmt.Sprintf(`%d there are more than`, maxRows+2),
		"code;unit\n" + strings.Repeat(" ", MaxSize):            `0 the file is larger`,
		"code;unit\nA;\"x\nB;y\n":                               `2 column 2 has control characters`,
	} {
		table, problems := Read([]byte(content))
		if table != nil || len(problems) == 0 {
			t.Errorf("%.60q is taken", content)
			continue
		}
		if got := fmt.Sprint(problems[0].Line, " ", problems[0].In(reason.English)); !strings.HasPrefix(got, want) {
			t.Errorf("%.60q: %s, want %s", content, got, want)
		}
		for _, p := range problems {
			if p.In(reason.Vietnamese) == p.In(reason.English) {
				t.Errorf("%s is not in Vietnamese", p.In(reason.English))
			}
		}
	}
	for content, want := range map[string]string{
		"#ma_may;máy 1\ncode;unit\n":     `1 MA_MAY "máy 1" does not follow the rule`,
		"code;lis_code\nA;X\nB;X\n":      `3 LIS code "X" is that of another code`,
		"code;unit\n1.00E+05;\n":         `2 "1.00E+05" looks like something`,
		"#unknown_lot;hold\ncode;unit\n": `0 #unknown_lot is hold`,
	} {
		table, problems := Read([]byte(content))
		if table == nil || len(problems) != 1 || !problems[0].Warning || !strings.HasPrefix(fmt.Sprint(problems[0].Line, " ", problems[0].In(reason.English)), want) {
			t.Errorf("%q: %v %+v", content, table != nil, problems)
		}
	}
	for _, good := range []string{"HH.1.27001.XN550-A12", "ĐT.2.01004.77", "SH.3.XYZ", "DSA.1.01004.A;B;C"} {
		if _, problems := Read([]byte("#ma_may;" + good + "\ncode;unit\n")); len(problems) > 0 {
			t.Errorf("%s: %s", good, problems[0].In(reason.English))
		}
	}
}

// What spreadsheets write is read: marks, separators, headings in Vietnamese, cells that
// were kept from being read as numbers.
func TestFilesOfSpreadsheets(t *testing.T) {
	want := Row{Code: "01001", Unit: "mg/dL", LIS: "000123", Name: "Đường; máu", LISUnit: "mmol/L", Factor: "0.0555", Decimals: 2, From: "20260131"}
	for _, content := range []string{
		bom + "mã máy;đơn vị máy;Mã  LIS;tên;đơn vị lis;hệ số;số lẻ;từ ngày\r\n'01001;mg/dL;=\"000123\";\"Đường; máu\";mmol/L;x0.0555;2;20260131\r\n;;;;;;;\r\n",
		"sep=,\r\ncode,unit,lis_code,name,lis_unit,factor,decimals,from\r\n\"01001\",mg/dL,'000123,Đường; máu,mmol/L,×0.0555,2,2026-01-31\r\n",
		"# a remark\ncode\tunit\tlis_code\tname\tlis_unit\tfactor\tdecimals\tfrom\t\n01001\tmg/dL\t000123\tĐường; máu\tmmol/L\tX 0.0555\t2\t20260131\t\n",
	} {
		table := read(t, []byte(content))
		if len(table.Rows) != 1 {
			t.Fatalf("%q: %+v", content, table.Rows)
		}
		got := table.Rows[0]
		got.Line, got.factor, got.Ordered = 0, nil, nil
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v", content, got)
		}
	}
}

// A draft of what was seen and declared is a table; written and read it is the same, in
// both languages, whatever the analyser calls its codes.
func TestADraftIsReadAgain(t *testing.T) {
	seen := []Seen{{Code: "WBC", Unit: "10*3/uL", Example: "6.41"}, {Code: "01001", Unit: ""}, {Code: "=1+1", Unit: "@x"}, {Code: "#12", Unit: "a;b"}, {Code: "'x", Unit: "\"q\""}, {Code: "'#1"}, {Code: "MAR1", Unit: "1E5"}, {Code: "-"}, {Code: "TRUE"}}
	table := Draft(seen, []Declared{{"WBC", "Leukocytes", "6690-2"}, {"RBC", "Erythrocytes", "789-8"}})
	table.MaMay, table.Lots, table.Controls = "ĐT.1.01004.7", []Lot{{Line: 7, Lot: "0071", Name: "x", Until: "20260101"}}, []string{"QC*"}
	for _, l := range []reason.Language{reason.English, reason.Vietnamese} {
		b := table.Write(l)
		if !strings.HasPrefix(string(b), bom) || strings.Contains(string(b), "\n=") || strings.Contains(string(b), ";=") {
			t.Errorf("%q", b)
		}
		again := read(t, b)
		for i := range again.Rows {
			again.Rows[i].Line, again.Rows[i].Ordered = 0, nil
		}
		if !reflect.DeepEqual(again.Rows, table.Rows) || again.MaMay != table.MaMay || !reflect.DeepEqual(again.Lots, table.Lots) || !slices.Equal(again.Controls, table.Controls) || again.UnknownLot != Pass {
			t.Errorf("%+v\n%+v", again, table)
		}
	}
	if r := table.Rows[0]; r.LOINC != "6690-2" || r.Name != "Leukocytes" || table.Rows[len(table.Rows)-1].Unit != AnyUnit {
		t.Errorf("%+v", table.Rows)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("#ma_may;HH.1.27001.X\n#unknown_lot;hold\n#control_lot;L;n;20260101;\ncode;unit;lis_code;name;loinc;lis_unit;ucum;factor;decimals;from;until;ordered_by;note\nGLU;mg/dL;01001;Đường;2345-7;mmol/L;mmol/L;x0.0555;2;20260101;20261231;CBC DIFF;\n"))
	f.Add([]byte(bom + "mã máy\tđơn vị máy\n'01001\t*\n"))
	f.Add([]byte("sep=,\ncode,unit\n\"a,b\",\"\"\"\"\n=\"1\",x\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		table, problems := Read(b)
		if (table == nil) == Good(problems) {
			t.Fatal("a table with problems, or none without")
		}
		for _, p := range problems {
			_ = p.In(reason.Vietnamese)
		}
		if table == nil {
			return
		}
		again, problems := Read(table.Write(reason.Vietnamese))
		if again == nil {
			t.Fatalf("what is written is not read: %+v\n%q", problems, table.Write(reason.Vietnamese))
		}
		clean := func(x Table) Table {
			x.Rows, x.Lots = slices.Clone(x.Rows), slices.Clone(x.Lots)
			for i := range x.Rows {
				x.Rows[i].Line = 0
			}
			for i := range x.Lots {
				x.Lots[i].Line = 0
			}
			x.byCode, x.byLIS = nil, nil
			return x
		}
		if a, w := clean(*again), clean(*table); !reflect.DeepEqual(a, w) {
			t.Fatalf("%+v\n%+v", a, w)
		}
		for _, r := range table.Rows {
			o := table.Apply(record.Report{Results: []record.Result{{Code: r.Code, Unit: r.Unit, Value: "<12.5"}, {Code: r.LIS, Value: "x"}}}, time.Unix(0, 0), nil, false)
			if len(o.Fates) != 2 || len(o.Report.Results) != 2 {
				t.Fatal("a result was lost")
			}
			table.Tests(r.LIS, time.Unix(0, 0), nil)
		}
	})
}
