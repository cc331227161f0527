package lab

import (
	"slices"
	"testing"

	"nhip/gateway/orders"
	"nhip/gateway/reason"
	"nhip/gateway/record"
)

func TestNamesAreComparedByTheirWordsInASCII(t *testing.T) {
	have := record.Name{Family: "Nguyễn", Middle: "Thị", Given: "Ánh Đào"}
	for said, want := range map[record.Name]bool{
		{}:                                     true,
		{Family: "NGUYEN THI ANH DAO"}:         true,
		{Family: "DAO", Given: "nguyen thi"}:   true,
		{Family: "NGUYEN"}:                     true,
		{Family: "NGUYEN THI AN"}:              true, // cut
		{Family: "NGUYEN TH?", Given: "ANH"}:   true, // a letter that could not be read
		{Family: "NGUYEN THI ANH DAO 1980"}:    true,
		{Family: "ĐÀO,NGUYỄN"}:                 true,
		{Family: "NGUYEN THI ANH DAO HOA"}:     false,
		{Family: "NGUYEN NGUYEN"}:              false,
		{Family: "TRAN", Given: "THI ANH DAO"}: false,
		{Family: "AN"}:                         false, // too short to have been cut
		{Family: "DA", Given: "NGUYEN THI"}:    false, // cut is the last word only
	} {
		if got := sameName(said, have); got != want {
			t.Errorf("%+v: %v", said, got)
		}
	}
	if !sameName(record.Name{Family: "X"}, record.Name{}) {
		t.Error("an order without a name speaks against nobody")
	}
}

func TestBirthIsComparedAsFarAsBothSayIt(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"19770707", "19770707", true}, {"1977", "19770707", true}, {"19770000", "19770707", true}, {"197707", "19770708", true}, {"19770700", "19770708", true},
		{"", "19770707", true}, {"07071977", "19770707", false}, {"unknown", "1977", true}, {"00000000", "1977", true}, {"197707071200", "19770707", true},
		{"19770707", "19770708", false}, {"1978", "19770707", false}, {"19770807", "19770700", false},
	} {
		if sameBirth(c.a, c.b) != c.want || sameBirth(c.b, c.a) != c.want {
			t.Errorf("%s and %s: %v", c.a, c.b, !c.want)
		}
	}
	if sameSex("M", "F") || !sameSex("M", "") || !sameSex("U", "F") || !sameSex("m", "M") {
		t.Error("sex")
	}
}

// Numbers whose check digits are public: a Luhn number of ISO/IEC 7812 literature, an
// EAN-13, and the ISNI of ISO/IEC 7064 MOD 11-2.
func TestCheckDigits(t *testing.T) {
	for check, numbers := range map[string][]string{Luhn: {"79927398713", "XN-79927398713"}, GS1: {"4006381333931", "73513537"}, Mod11: {"0000000218250097", "000000021694233X"}} {
		for _, good := range numbers {
			if !checks(check, good) {
				t.Errorf("%s: %s is wrong", check, good)
			}
			wrong := 0
			for i := range good {
				for d := byte('0'); d <= '9'; d++ {
					b := []byte(good)
					if b[i] < '0' || b[i] > '9' || b[i] == d {
						continue
					}
					if b[i] = d; checks(check, string(b)) {
						t.Errorf("%s: %s is right", check, b)
					}
					wrong++
				}
			}
			if wrong < 50 {
				t.Errorf("%d", wrong)
			}
		}
	}
	for _, bad := range []string{"", "0", "x", "7992739871O", "٣٤"} {
		for _, check := range []string{Luhn, GS1, Mod11} {
			if checks(check, bad) {
				t.Errorf("%s: %q is right", check, bad)
			}
		}
	}
}

func TestVariantsAreWhatAnIdentifierMayHaveBeen(t *testing.T) {
	for id, meant := range map[string]string{"2601O4": "260104", "260104": "26O104", "0027": "27", "27": "00027", "ab12": "AB12", "2601-0012": "26010012", "26010021": "26010012", "S12345": "512345"} {
		if !slices.Contains(variants(id), meant) {
			t.Errorf("%s may be %s", id, meant)
		}
	}
	for id, other := range map[string]string{"27": "72", "260104": "260105", "26010": "2601"} {
		if slices.Contains(variants(id), other) {
			t.Errorf("%s is another running number than %s", id, other)
		}
	}
}

// What the analyser says of the patient decides, and what the identifier says of itself.
func TestWhatDoesNotAgreeIsHeldWithItsReason(t *testing.T) {
	r := newRig(t)
	pattern, err := Whole(`0*(\d{8,9})`)
	if err != nil {
		t.Fatal(err)
	}
	checked := func(policy string) Analyser {
		a := xn(policy)
		a.Specimens = Specimens{Pattern: pattern, Check: Luhn}
		return a
	}
	r.says(orders.New, "A1", "P1", "26011429", noon(0), "GLU") // its last digit is right
	r.says(orders.New, "A2", "P2", "S-77", noon(0), "GLU")
	for name, c := range map[string]struct {
		a        Analyser
		specimen string
		said     *record.Patient
		want     string
	}{
		"good":                   {checked(Warn), "26011429", nil, "A1/GLU"},
		"leading zeros, padded":  {checked(Warn), "  00026011429 ", nil, "A1/GLU"},
		"wrong check digit":      {checked(Warn), "26011427", nil, "held specimen.check"},
		"rack position":          {checked(Warn), "0001-03", nil, "held specimen.form"},
		"free text":              {checked(Required), "NGUYEN VAN A", nil, "held specimen.form"},
		"cut":                    {checked(Required), "2601142", nil, "held specimen.form"},
		"two digits changed":     {xn(Warn), "26011492", nil, "held order.near"},
		"O for 0":                {xn(Warn), "26O11429", nil, "held order.near"},
		"a case change":          {xn(Warn), "s-77", nil, "held order.near"},
		"his name":               {xn(Warn), "S-77", &record.Patient{Name: record.Name{Family: "NGUYEN P2"}}, "A2/GLU"},
		"another's name":         {xn(Warn), "S-77", &record.Patient{Name: record.Name{Family: "TRAN VAN B"}}, "held order.patient-mismatch"},
		"his number, not his":    {xn(Required), "S-77", &record.Patient{ID: "P2", Name: record.Name{Family: "TRAN VAN B"}}, "held order.patient-mismatch"},
		"nothing like it":        {xn(Warn), "99999999", nil, "without"},
		"nothing like it, order": {xn(Required), "99999999", nil, "held order.none"},
	} {
		rep := record.Report{Specimen: record.Specimen{ID: c.specimen}, Patient: c.said, Results: []record.Result{{Code: "GLU"}}}
		f, err := r.desk.Find(c.a, rep, r.now, false)
		if got := said(f); err != nil || got != c.want {
			t.Errorf("%s: %s %v, want %s", name, got, err, c.want)
		}
	}
	if got := r.asks(checked(Required), "00026011429"); got != "P1:GLU" {
		t.Errorf("a query: %s", got)
	}
}

func TestResultOfAServiceOfAnotherSectionSaysSo(t *testing.T) {
	r := newRig(t)
	r.says(orders.New, "A1", "P1", "27", noon(0), "GLU")
	c := r.desk.Orders.Begin(r.now)
	o := record.Order{Kind: record.LaboratoryOrder, Placer: record.OrderNumber{ID: "A2"}, Services: []record.Service{{Code: record.Coded{Code: "GLU"}, Section: "CH", Specimens: []record.OrderSpecimen{{IDs: []string{"28"}}}}}}
	r.commit(c, orders.Request{Action: orders.New, Link: "his", Order: o})
	a := xn(Required)
	a.Sections = []string{"HM"}
	if got := said(r.results(a, "28", "", "GLU")); got != "held "+string(reason.OtherSection) {
		t.Error(got)
	}
}

// An order for one test of the analyser does not take the result of another one.
func TestResultOfAnotherTestIsNotPutUnderTheOnlyOrder(t *testing.T) {
	r := newRig(t)
	other := Analyser{Name: "na-1", Codes: ByCode{[]string{"NA"}}}
	r.desk.Analysers = []Analyser{xn(Required), other, {Name: "any", Codes: ByCode{}}}
	r.says(orders.New, "A1", "P1", "27", noon(0), "ALT")
	r.says(orders.New, "A2", "P2", "28", noon(0), "NA")
	r.says(orders.New, "A3", "P3", "29", noon(0), "CBC")
	for specimen, codes := range map[string][]string{"27": {"GLU", "XYZ"}, "28": {"GLU", "ALT"}, "29": {"GLU"}} {
		if got := said(r.results(xn(Required), specimen, "", codes...)); got != "held order.not-ordered" {
			t.Errorf("%v of %s: %s", codes, specimen, got)
		}
	}
}

// Today's 27 was not taken yet when yesterday's was measured.
func TestResultThatIsOlderThanItsSpecimenIsHeld(t *testing.T) {
	r := newRig(t)
	r.says(orders.New, "A1", "P1", "27", noon(0), "GLU")
	rep := record.Report{Specimen: record.Specimen{ID: "27"}, Results: []record.Result{{Code: "GLU", Observed: record.Time{At: noon(-1)}}}}
	for policy, want := range map[string]string{Required: "held order.outside-window", Warn: "without"} {
		if f, err := r.desk.Find(xn(policy), rep, r.now, false); err != nil || said(f) != want {
			t.Errorf("%s: %s %v", policy, said(f), err)
		}
	}
}

// Done once more for today's order, or for yesterday's that waits? Nothing says it.
func TestRepeatOfTodaysIsNotPutUnderYesterdaysOrder(t *testing.T) {
	r := newRig(t)
	r.says(orders.New, "A1", "P1", "27", noon(-1), "GLU")
	r.says(orders.New, "A2", "P1", "27", noon(0), "GLU")
	if got := said(r.results(xn(Required), "27", "", "GLU")); got != "A2/GLU" {
		t.Fatal(got)
	}
	if got := said(r.results(xn(Required), "27", "", "GLU")); got != "held order.several" {
		t.Error(got)
	}
}

// A test that the order does not ask for any more is not put under what it asks for now,
// by an analyser whose codes the site defines either.
func TestResultOfAReplacedTestIsNotPutUnderTheNewOne(t *testing.T) {
	r := newRig(t)
	a := xn(Required)
	a.Codes = ByCode{}
	r.desk.Analysers = []Analyser{a}
	r.says(orders.New, "A1", "P1", "27", noon(0), "18", "19")
	r.says(orders.Changing, "A1", "P1", "27", noon(0), "15")
	for _, codes := range [][]string{{"18"}, {"18", "19"}} {
		if got := said(r.results(a, "27", "", codes...)); got != "held order.not-ordered" {
			t.Errorf("%v: %s", codes, got)
		}
	}
}
