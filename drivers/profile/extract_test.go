package profile

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"nhip/drivers/astm/e1394"
	"nhip/gateway/record"
)

var hanoi = time.FixedZone("+07", 7*3600)

// extract reads a message of lines with a built-in profile, or with a text.
func extract(t *testing.T, id string, lines ...string) Extraction {
	t.Helper()
	e, err := builtin(t)[id].Extract([]byte(strings.Join(lines, "\r")+"\r"), hanoi)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func builtin(t testing.TB) map[string]*Profile {
	t.Helper()
	all, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

const header = `H|\^&|||ANALYSER`

func TestResultsBelongToThePrecedingOrder(t *testing.T) {
	e := extract(t, "generic-astm", header, "P|1|A", "O|1|S1||^^^X", "R|1|^^^X|1||||||", "O|2|S2||^^^X", "R|1|^^^X|2", "P|2|B", "O|1|S1||^^^X", "R|1|^^^X|3", "L|1")
	var got []string
	for _, r := range e.Reports {
		got = append(got, r.Patient.ID+" "+r.Specimen.ID+" "+r.Results[0].Value)
	}
	if want := []string{"A S1 1", "A S2 2", "B S1 3"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestOneReportPerSpecimen: several orders for a specimen are one report, with the
// most urgent priority.
func TestOneReportPerSpecimen(t *testing.T) {
	e := extract(t, "generic-astm", header, "P|1", "O|1|S1||^^^X|R", "R|1|^^^X|1", "O|2|S1||^^^Y|A", "R|1|^^^Y|2", "L|1")
	if len(e.Reports) != 1 || len(e.Reports[0].Results) != 2 || e.Reports[0].Priority != "A" {
		t.Errorf("%+v", e.Reports)
	}
}

func TestOrdersWithoutAnIdentifierAreNotMixed(t *testing.T) {
	e := extract(t, "generic-astm", header, "P|1", "O|1|||^^^X", "R|1|^^^X|1", "O|2|||^^^Y", "R|1|^^^Y|2", "L|1")
	if len(e.Reports) != 2 || len(e.Problems) != 2 {
		t.Errorf("%d reports, problems %q", len(e.Reports), e.Problems)
	}
}

func TestResultWithoutAnOrderIsDelivered(t *testing.T) {
	e := extract(t, "generic-astm", header, "P|1|A", "R|1|^^^X|1", "L|1")
	if e.Results() != 1 || len(e.Problems) == 0 {
		t.Errorf("%+v", e)
	}
}

// TestControlMaterialIsNeverWithAPatients: the same specimen identifier, once as a
// control, gives two reports.
func TestControlMaterialIsNeverWithAPatients(t *testing.T) {
	e := extract(t, "generic-astm", header, "P|1", `O|1|S1||^^^X|||||||X\Q`, "R|1|^^^X|1", "O|2|S1||^^^X|||||||N", "R|1|^^^X|2", "L|1")
	if len(e.Reports) != 2 || !e.Reports[0].Control || e.Reports[1].Control || e.Consumed[Control] != 1 {
		t.Errorf("%+v", e.Reports)
	}
}

func TestValueIsCarriedAsSent(t *testing.T) {
	for _, value := range []string{"-1^0.282", ">8", "< 20", " 5.40", "1,5", "<=1.005", "***.**", "3+^3+^45", `4\5`, "0"} {
		e := extract(t, "generic-astm", header, "P|1", "O|1|S1", "R|1|^^^X|"+value, "L|1")
		if got := e.Reports[0].Results[0].Value; got != value {
			t.Errorf("%q became %q", value, got)
		}
	}
}

func TestDelimitersAreThoseOfTheHeader(t *testing.T) {
	e := extract(t, "generic-astm", `H!@^~!!!X`, "P!1!A", "O!1!S1^2", "R!1!^^^K!a~F~b", "L!1!N")
	r := e.Reports[0]
	if r.Specimen.ID != "S1" || r.Results[0].Code != "K" || r.Results[0].Value != "a!b" {
		t.Errorf("%+v", r)
	}
}

func TestUndeclaredCodeIsDeliveredAndCounted(t *testing.T) {
	e := extract(t, "sysmex-xn-l", `H|\^&|||XN-350^1^2`, "P|1", "O|1||^^S1^B", "R|1|^^^^WBC^1|5.1|10*3/uL||N||F", "R|2|^^^^XYZ^1|7", "R|3|^^^^XYZ^1|8", "L|1|N")
	results := e.Reports[0].Results
	if len(results) != 3 || !results[0].Declared || results[1].Declared || results[1].Value != "7" || e.Undeclared["XYZ"] != 2 {
		t.Errorf("%+v %v", results, e.Undeclared)
	}
	if len(e.Problems) != 1 || !strings.Contains(e.Problems[0], "XYZ") {
		t.Errorf("problems %q", e.Problems)
	}
}

// TestIPMessageWithAValueIsAResult: the patterns of messages take only what has no
// value, so that a test that nobody declared is not turned into a comment.
func TestIPMessageWithAValueIsAResult(t *testing.T) {
	e := extract(t, "sysmex-xn-l", `H|\^&|||XN-350^1^2`, "P|1", "O|1||^^S1^B", "R|1|^^^^Anemia|12", "R|2|^^^^Anemia||||A", "L|1|N")
	if e.Results() != 1 || e.Consumed[Complementary] != 0 && e.Consumed[Complementary] != 1 || e.Ignored["Anemia"] != 1 {
		t.Errorf("%+v", e)
	}
}

func TestOtherSenderIsSaid(t *testing.T) {
	e := extract(t, "sysmex-xn-l", `H|\^&|||XP-300^1^2`, "P|1", "O|1||^^S1^B", "R|1|^^^^WBC^1|5.1", "L|1|N")
	if !slices.ContainsFunc(e.Problems, func(s string) bool { return strings.Contains(s, "sender") }) || e.Results() != 1 {
		t.Errorf("%+v", e)
	}
}

func TestUnexplainedStatusIsNotPassedOff(t *testing.T) {
	e := extract(t, "generic-astm", header, "P|1", "O|1|S1", "R|1|^^^X|5|||||N", "L|1")
	r := e.Reports[0].Results[0]
	if r.Status != "" || len(r.Comments) != 1 || len(e.Problems) != 1 {
		t.Errorf("%+v, problems %q", r, e.Problems)
	}
}

// TestEveryResultRecordIsAccountedFor: delivered, or counted with its code.
func TestEveryResultRecordIsAccountedFor(t *testing.T) {
	e := extract(t, "sysmex-xn-l", `H|\^&|||XN-350^1^2`, "R|1|^^^^WBC^1|1", "P|1", "R|2|^^^^SCAT_WDF|x", "O|1||^^S1^B", "R|3|^^^^Left_Shift?|5", "R|4|^^^^Anemia", "R|5|", "R|6", "L|1", "R|7|^^^^WBC|2")
	left := 0
	for _, n := range e.Ignored {
		left += n
	}
	if e.Results()+left != 7 {
		t.Errorf("%d results and %d left out of 7: %+v", e.Results(), left, e)
	}
}

func TestCommentsStayWithTheirRecord(t *testing.T) {
	e := extract(t, "generic-astm", header, "P|1", "C|1|I|of the patient", "O|1|S1", "C|1|I|of the order", "R|1|^^^X|1", "C|1|I|of the result", "C|2|I|", "O|2|S2", "R|1|^^^X|2", "L|1", "C|1|I|of nothing")
	if got := e.Reports[0].Comments; !slices.Equal(got, []string{"of the patient", "of the order"}) {
		t.Errorf("report: %q", got)
	}
	if got := e.Reports[0].Results[0].Comments; !slices.Equal(got, []string{"of the result"}) {
		t.Errorf("result: %q", got)
	}
	if got := e.Reports[1].Comments; !slices.Equal(got, []string{"of the patient"}) {
		t.Errorf("second report: %q", got)
	}
	if e.Consumed[Comment] != 1 {
		t.Errorf("consumed %v", e.Consumed)
	}
}

// TestSeveralFlags: they are repetitions in LIS02 and in HL7; those that a profile
// explains become comments.
func TestSeveralFlags(t *testing.T) {
	e := extract(t, "generic-astm", header, "P|1", "O|1|S1", `R|1|^^^X|5|||A\H`, "L|1")
	if got := e.Reports[0].Results[0].Flag; got != "A~H" {
		t.Errorf("%q", got)
	}
	e = extract(t, "sysmex-xn-l", `H|\^&|||XN-350^1^2`, "P|1", "O|1||^^S1^B", `R|1|^^^^WBC^1|5|||W\HH`, "L|1")
	if r := e.Reports[0].Results[0]; r.Flag != "HH" || len(r.Comments) != 1 {
		t.Errorf("%+v", r)
	}
}

// TestUNICODEIsUTF8: what the BC-5380 calls UNICODE in MSH-18.
func TestUNICODEIsUTF8(t *testing.T) {
	e := extract(t, "mindray-bc-5380", `MSH|^~\&|BC-5380|Mindray|||20260114||ORU^R01|1|P|2.3.1||||||UNICODE`, "PID|1||7||Đỗ^Bình", "OBR|1||S1", "OBX|1|NM|6690-2^WBC^LN||5.1|10*9/L|||||F")
	if got := e.Reports[0].Patient.Name; got != (record.Name{Family: "Đỗ", Given: "Bình"}) || len(e.Problems) > 0 {
		t.Errorf("%+v, problems %q", got, e.Problems)
	}
}

func TestPatientWithoutAPersonIsNone(t *testing.T) {
	e := extract(t, "generic-astm", header, "P|1|||||||U", "O|1|S1", "R|1|^^^X|1", "L|1")
	if e.Reports[0].Patient != nil {
		t.Errorf("%+v", e.Reports[0].Patient)
	}
}

func TestDeviceTimeHasTheConnectionsZone(t *testing.T) {
	for text, want := range map[string]string{
		"20260114081500":      "2026-01-14T08:15:00+07:00",
		"202601140815":        "2026-01-14T08:15:00+07:00",
		"20260114081500.25":   "2026-01-14T08:15:00.25+07:00",
		"20260114081500+0900": "2026-01-14T08:15:00+09:00",
		"20260114":            "",
		"14.01.2026 08:15":    "",
		"20261314081500":      "",
		"":                    "",
	} {
		got := readTime(text, hanoi)
		if want == "" && !got.IsZero() || want != "" && got.Format(time.RFC3339Nano) != want {
			t.Errorf("%q is %v, want %q", text, got, want)
		}
	}
}

func TestTextThatIsNotUTF8IsLatin1AndSaid(t *testing.T) {
	e := extract(t, "generic-astm", header, "P|1|A||| M\xFCller", "O|1|S1", "R|1|^^^X|1|\xB5g", "L|1")
	if e.Reports[0].Patient.Name.Family != "Müller" || e.Reports[0].Results[0].Unit != "µg" || len(e.Problems) != 2 || len(e.Doubts) != 2 {
		t.Errorf("%+v", e)
	}
}

func TestHL7SpecimenBehindTheResults(t *testing.T) {
	e := extract(t, "generic-hl7", `MSH|^~\&|A|B|||20260114||ORU^R01|1|P|2.5.1`, "OBR|1||F1", "OBX|1|NM|X||1||||||F", "SPM|1|S1", "OBR|2||F2", "OBX|1|NM|X||2||||||F")
	if len(e.Reports) != 2 || e.Reports[0].Specimen.ID != "S1" || e.Reports[1].Specimen.ID != "F2" {
		t.Errorf("%+v", e.Reports)
	}
}

// TestOrderOrientedObservation: in OUL^R24 ORC and SPM follow their OBR.
func TestOrderOrientedObservation(t *testing.T) {
	e := extract(t, "generic-hl7", `MSH|^~\&|A||||20260114080000||OUL^R24^OUL_R24|1|P|2.6`, "PID|1||BN-1",
		"OBR|1||F1|X^X^L", "ORC|OK", "SPM|1|S1||BLD", "OBX|1|NM|X^X^L||1|g/L|||||F",
		"OBR|2||F2|X^X^L", "ORC|OK", "SPM|1|S2||UR", "OBX|1|NM|X^X^L||2|g/L|||||F")
	var got []string
	for _, r := range e.Reports {
		got = append(got, r.Specimen.ID+" "+r.Specimen.Type+" "+r.Results[0].Value)
	}
	if want := []string{"S1 BLD 1", "S2 UR 2"}; !slices.Equal(got, want) || len(e.Problems) > 0 {
		t.Errorf("%q, want %q; problems %q", got, want, e.Problems)
	}
}

func TestHL7OtherTypes(t *testing.T) {
	p := builtin(t)["generic-hl7"]
	if e, err := p.Extract([]byte("MSH|^~\\&|A|B|||1||QRY^Q02|1|P|2.3.1\rQRD|1\r"), nil); err != nil || e.Queries != 1 || e.Consumed[Query] != 1 {
		t.Errorf("query: %+v, %v", e, err)
	}
	if e, err := p.Extract([]byte("MSH|^~\\&|A|B|||1||ACK|1|P|2.3.1\rMSA|AA|1\r"), nil); err != nil || e.Consumed[Acknowledgement] != 1 {
		t.Errorf("acknowledgement: %+v, %v", e, err)
	}
	_, err := p.Extract([]byte("MSH|^~\\&|A|B|||1||ADT^A01|1|P|2.3.1\r"), nil)
	var unknown *MessageTypeError
	if !errors.As(err, &unknown) || unknown.Code != "ADT" {
		t.Errorf("ADT: %v", err)
	}
}

func TestUnreadableMessageIsAnError(t *testing.T) {
	all := builtin(t)
	if _, err := all["generic-astm"].Extract([]byte("P|1\rL|1\r"), nil); !errors.Is(err, e1394.ErrNoHeader) {
		t.Errorf("without H: %v", err)
	}
	if _, err := all["generic-hl7"].Extract([]byte("PID|1\r"), nil); err == nil {
		t.Error("without MSH: no error")
	}
}

func TestEndlessContextIsRefused(t *testing.T) {
	long := strings.Repeat("x", maxContext)
	var limit *LimitError
	_, err := builtin(t)["generic-astm"].Extract([]byte(header+"\rP|1\rO|1|"+long+"\rL|1\r"), nil)
	if !errors.As(err, &limit) || limit.Type != "O" {
		t.Errorf("O: %v", err)
	}
	_, err = builtin(t)["generic-hl7"].Extract([]byte("MSH|^~\\&|A|B|||1||ORU^R01|1|P|2.3.1\rOBR|1||"+long+"\r"), nil)
	if !errors.As(err, &limit) || limit.Type != "OBR" {
		t.Errorf("OBR: %v", err)
	}
}

func TestNoPatientDataInProblems(t *testing.T) {
	e := extract(t, "generic-astm", header, "P|1|SECRET||| SECRET^X", "O|1|||^^^X", "R|1||SECRET|||||K", "Z|SECRET", "L|1")
	for _, problem := range e.Problems {
		if strings.Contains(problem, "SECRET") {
			t.Errorf("%q", problem)
		}
	}
	if len(e.Problems) < 4 {
		t.Errorf("problems %q", e.Problems)
	}
}

// FuzzExtract: no bytes make a profile panic, and every R record is accounted for.
func FuzzExtract(f *testing.F) {
	all, err := Builtin()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		header + "\rP|1|A\rO|1|S1||^^^X|R\rC|1|I|c\rR|1|^^^X|1|u|r|N||F||op||20260114081500|i\rC|1|I|c\rL|1|N\r",
		"H|@^\\|x||a\rP|1\rO|1|S\rR|1|^A^^B^^^C^|^0.0\rL|1|N\r",
		"H|`^&\rQ|1|^1`2`3|||S\rL|1|N\r",
		"H|\\^&|||XN-350^1^2\rP|1\rO|1||^^ERR1^B\rR|1|^^^^Left_Shift?|1\rR|2|^^^^WBC^1|----||A\\W||N\rL|1\r",
		"H|\\^&|||cobas-e411^1\rO|1|@1|1^2^3^^QC|||||||Q\rR|1|^^^1/1/not|^1\r",
		"R|1|^^^X|1\r", "H", "H|\r\nH|\\^&\nR|1", "\x00\xFFH|\xFE\xFD",
		"MSH|^~\\&|BC-5380|M|||20260114||ORU^R01|1|Q|2.3.1\rPID|1||p\rOBR|1||S\rTQ1|1\rOBX|1|NM|6690-2^WBC^LN||**.*|u||H~A|||F\rNTE|1||c\rSPM|1|a^b\r",
		"MSH|^~\\&|||||||QRY^Q02\r",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		for _, id := range IDs(all) {
			e, err := all[id].Extract(message, hanoi)
			if err != nil {
				continue
			}
			if _, err := json.Marshal(e); err != nil {
				t.Fatal(err)
			}
			if all[id].Protocol() != "astm" {
				continue
			}
			left := e.Results()
			for _, n := range e.Ignored {
				left += n
			}
			if n := resultRecords(message); left != n {
				t.Errorf("%s: %d of %d result records are accounted for", id, left, n)
			}
			if slices.ContainsFunc(e.Reports, func(r record.Report) bool { return len(r.Results) == 0 }) {
				t.Errorf("%s: a report without results", id)
			}
		}
	})
}

func resultRecords(message []byte) int {
	m, err := e1394.Parse(message)
	if err != nil {
		return 0
	}
	n := 0
	for _, r := range m.Records {
		if r.Type() == "R" {
			n++
		}
	}
	return n
}
