package codes

import (
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"

	"nhip/gateway/record"
)

// A Kind is what the table does not know of a result.
type Kind string

// The kinds.
const (
	Known     Kind = ""           // the table has it
	NoCode    Kind = "code"       // no row has the code
	NotValid  Kind = "validity"   // there are rows for the code, none of that day
	NoUnit    Kind = "unit"       // no row of the code has the unit
	NoNumber  Kind = "number"     // the value cannot be converted
	Taken     Kind = "code-taken" // no row has the code, and it is the LIS code of another test
	Duplicate Kind = "duplicate"  // another code of the report is the same at the LIS
)

// A Fate is what the table says of one result.
type Fate struct {
	Kind Kind
	Held bool
	Line int // of the row; 0: none
}

// An Outcome is what a table makes of a report.
type Outcome struct {
	Report record.Report // the results in the same order
	Fates  []Fate        // of each result
}

// Held reports whether the report waits for a person.
func (o Outcome) Held() bool {
	return slices.ContainsFunc(o.Fates, func(f Fate) bool { return f.Held })
}

// System is the coding system of a LIS code in OBX-3.3: HL7 table 0396, a local code.
const System = "L"

// Apply translates the results of a report. The row of a result is that of the day on
// which it was observed by the device's clock, else received, in zone, the site's. pass
// says that a person has released it: then nothing is held by the table. The report that
// is given stays as it is.
func (t *Table) Apply(rep record.Report, received time.Time, zone *time.Location, pass bool) Outcome {
	o := Outcome{Report: rep, Fates: make([]Fate, len(rep.Results))}
	o.Report.Device.MaMay = t.MaMay
	o.Report.Results = slices.Clone(rep.Results)
	for i := range o.Report.Results {
		x := &o.Report.Results[i]
		at := received
		if !x.Observed.At.IsZero() {
			at = x.Observed.At
		}
		o.Fates[i] = t.result(x, dayOf(at, zone))
	}
	t.duplicates(rep, &o)
	for i := range o.Fates {
		f := &o.Fates[i]
		if f.Held = !pass && t.policy(f.Kind) == Hold; f.Held {
			continue
		}
		if words := marks[f.Kind]; words != "" {
			o.Report.Results[i].Comments = append([]string{words}, o.Report.Results[i].Comments...)
		}
	}
	return o
}

// marks say in the message what the table does not know of a result that goes on.
var marks = map[Kind]string{
	NoCode:    "test code not in the code table of the site",
	NotValid:  "test code not in the code table of the site on that day",
	Taken:     "test code not in the code table of the site, where it is another test",
	NoUnit:    "unit not in the code table of the site",
	NoNumber:  "not converted: the value is no number that can be converted",
	Duplicate: "another test of the analyser has the same code",
}

func (t *Table) policy(k Kind) string {
	switch k {
	case NoCode, NotValid:
		return t.UnknownCode
	case NoUnit:
		return t.UnknownUnit
	case NoNumber:
		return t.NotNumber
	case Duplicate:
		return t.Duplicate
	case Taken:
		return Hold
	}
	return Pass
}

// result translates one result on a day.
func (t *Table) result(x *record.Result, on string) Fate {
	code := strings.TrimSpace(x.Code)
	if len(t.Rows) == 0 {
		if x.Declared {
			return Fate{}
		}
		return Fate{Kind: NoCode}
	}
	r, known, valid := t.find(code, strings.TrimSpace(x.Unit), on)
	switch {
	case r != nil:
		return t.translate(x, r)
	case !valid && t.taken(code, on):
		return Fate{Kind: Taken}
	case !known:
		return Fate{Kind: NoCode}
	case !valid:
		return Fate{Kind: NotValid}
	}
	return Fate{Kind: NoUnit}
}

// translate does what a row says.
func (t *Table) translate(x *record.Result, r *Row) Fate {
	f := Fate{Line: r.Line}
	x.Declared = true
	if r.LIS != "" {
		x.Code, x.System = r.LIS, System
	}
	if r.Name != "" {
		x.Text = r.Name
	}
	if r.factor != nil && strings.TrimSpace(x.Value) != "" && x.Status != "X" {
		if !convert(x, r) {
			f.Kind = NoNumber
			return f
		}
		x.LOINC, x.UCUM = r.LOINC, r.UCUM
		return f
	}
	if r.LOINC != "" && r.factor == nil {
		x.LOINC = r.LOINC
	}
	if r.factor == nil && r.LISUnit != "" {
		x.Unit = r.LISUnit
	}
	if r.factor == nil && r.UCUM != "" {
		x.UCUM = r.UCUM
	}
	return f
}

// number is what can be converted: a plain decimal number, a comparator before it or not.
var number = regexp.MustCompile(`^(\s*(?:[<>]=?)?\s*)([+-]?[0-9]{1,30}(?:\.[0-9]{1,30})?)(\s*)$`)

// interval is a reference range: two numbers, or one with a comparator.
var interval = regexp.MustCompile(`^(\s*(?:[<>]=?)?\s*)([0-9]{1,30}(?:\.[0-9]{1,30})?)(?:(\s*-\s*)([0-9]{1,30}(?:\.[0-9]{1,30})?))?(\s*)$`)

// convert multiplies the value of a result and its reference range. What the analyser
// sent goes along as a comment. It reports whether the value could be converted; where
// it could not, nothing is changed.
func convert(x *record.Result, r *Row) bool {
	m := number.FindStringSubmatch(x.Value)
	if m == nil {
		return false
	}
	converted, ok := r.times(m[2])
	if !ok {
		return false
	}
	sent := fmt.Sprintf("sent by the analyser: %s %s", x.Value, x.Unit)
	if x.Range != "" {
		sent += ", reference range " + x.Range
	}
	x.Comments = append(slices.Clone(x.Comments), sent)
	x.Value = m[1] + converted + m[3]
	if x.Quantity != "" {
		x.Quantity = converted
	}
	x.Range = r.interval(x.Range)
	x.Unit = r.LISUnit
	return true
}

// interval is a reference range in the other unit; "" where it cannot be converted: in
// the old unit it would be taken for one in the new.
func (r *Row) interval(text string) string {
	m := interval.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	low, ok := r.times(m[2])
	if !ok {
		return ""
	}
	if m[4] == "" {
		return m[1] + low + m[5]
	}
	high, ok := r.times(m[4])
	if !ok {
		return ""
	}
	return m[1] + low + m[3] + high + m[5]
}

// times is exact, and rounded once: halves away from zero, as on paper and as ROUND in a
// spreadsheet. ok is false where a number that is not 0 would become 0.
func (r *Row) times(text string) (string, bool) {
	n, ok := new(big.Rat).SetString(text)
	if !ok {
		return "", false // the pattern has no such number
	}
	product := new(big.Rat).Mul(n, r.factor)
	rounded := product.FloatString(r.Decimals)
	if product.Sign() != 0 && strings.Trim(rounded, "-0.") == "" {
		return "", false
	}
	return rounded, true
}

// duplicates marks results of different codes of the analyser that are one at the LIS.
func (t *Table) duplicates(sent record.Report, o *Outcome) {
	first := map[string]int{}
	for i, x := range o.Report.Results {
		if o.Fates[i].Line == 0 {
			continue
		}
		n, seen := first[x.Code]
		if !seen {
			first[x.Code] = i
			continue
		}
		if strings.TrimSpace(sent.Results[n].Code) != strings.TrimSpace(sent.Results[i].Code) && o.Fates[i].Kind == Known {
			o.Fates[i].Kind = Duplicate
		}
	}
}
