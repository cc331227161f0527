package profiletest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"nhip/drivers/capture"
	"nhip/drivers/profile"
	"nhip/drivers/session"
	"nhip/gateway/record"
)

// samples is the folder of analysers' recordings beside the checkout, which is no
// part of the project.
func samples(t *testing.T) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
	}
	lab := filepath.Join(dir, "..", "shared", "samples", "lab")
	if _, err := os.Stat(lab); err != nil {
		t.Skip("skipped: ../shared/samples/lab is not there")
	}
	return lab
}

// A want is a result that the bytes of a file have to give. Empty fields of it are
// not asked for, but for Flag, of which "-" means none.
type want struct {
	specimen, code, value, unit, flag, status, loinc string
	comparator, quantity, qualitative                string
	observed, operator, comment                      string
}

// A recorded is a file of a folder and what the INDEX row of the folder demands of it.
type recorded struct {
	file     string
	results  int
	control  bool
	lot      string
	patient  string // family name or identifier
	serial   string
	queries  int
	ignored  int
	reports  int
	comments string // in a report's comments
	wants    []want
	asked    *record.Query // what the protocol itself is asked, beneath any record
}

// A folder is one of the samples, with the demand of its INDEX row in short.
type folder struct {
	name, profile, demand string
	files                 []recorded
}

var folders = []folder{
	{"abbott-afinion2", "abbott-afinion2", "lab-id 3643, specimen 5 of O.4, HbA1c 5.9 %, F, operator, time, serial AF20052397", []recorded{
		{file: "abbott_afinion2.txt", results: 1, patient: "3643", serial: "AF20052397", wants: []want{{specimen: "5", code: "HbA1c", value: "5.9", unit: "%", flag: "-", status: "F", operator: "3643", observed: "2024-12-06T14:06:15+07:00", quantity: "5.9"}}}}},
	{"roche-cobas-c311", "roche-cobas-c311", "specimen CL-PL-24-0370, seven results, code without dilution, flag A/N, data alarm 43 in C, 0 is none", []recorded{
		{file: "cobas_c311.txt", results: 7, wants: []want{{specimen: "CL-PL-24-0370", code: "685", value: "22.4", unit: "U/l", flag: "A", status: "F", comment: "43"}, {code: "687", value: "15.0", flag: "N"}, {code: "712", value: "4.1", flag: "L"}}}}},
	{"cepheid-genexpert-astm", "cepheid-genexpert", "specimen PR25A137, call NOT DETECTED in R.4.1, dozens of complementary records that are no tests, note in C", []recorded{
		{file: "genexpert.txt", results: 3, ignored: -1, wants: []want{{specimen: "PR25A137", code: "MTB-RIF Xpert", value: "NOT DETECTED^", qualitative: "NOT DETECTED", status: "F", observed: "2025-05-14T13:21:03+07:00", comment: "Notes"}}}}},
	{"biomerieux-mini-vidas", "biomerieux-mini-vidas", `Z1G021SCR HBCT "Positif" 0.05`, []recorded{
		{file: "mini_vidas.txt", results: 1, wants: []want{{specimen: "Z1G021SCR", code: "HBCT", value: "Positif 0.05", qualitative: "Positif", quantity: "0.05", observed: "2024-10-25T18:35:00+07:00"}}}}},
	{"horiba-pentra-xlr", "horiba-pentra-xlr", "specimen S1234, 21 results with LOINC of R.3.5, status W/X/F, ----- is not measurable, alarms in C", []recorded{
		{file: "pentra_xlr.txt", results: 21, patient: "TESTER", wants: []want{{specimen: "S1234", code: "WBC", value: "8.5", loinc: "804-5", status: "P", comment: "LARGE IMMATURE CELL"}, {code: "BAS#", value: "-----", flag: "HH", status: "X"}, {code: "HGB", value: "14.0", status: "F"}}}}},
	{"sysmex-xn550", "sysmex-xn-l", "specimen 27 of O.4, codes in the fifth component", []recorded{
		{file: "sysmex_xn550.txt", results: 23, ignored: -1, wants: []want{{specimen: "27", code: "WBC", value: "8.13", unit: "10*3/uL", flag: "N", status: "F", observed: "2024-06-27T13:54:07+07:00"}}}}},
	{"horiba-yumizen-h500-etb", "horiba-yumizen-h500", "specimen 2021679, 27 results with LOINC, ETB joined without separators, SUSPECTED_PATHOLOGY", []recorded{
		{file: "2020-04-07-17-07-04-681716.bin", results: 27, comments: "SUSPECTED_PATHOLOGY^^ANEMIA", wants: []want{{specimen: "2021679", code: "WBC", value: "4.55", unit: "10E3/uL", loinc: "6690-2", status: "P"}, {code: "HGB", value: "4.6", flag: "LL", status: "F", loinc: "718-7"}, {code: "P-LCC", value: "50"}}}}},
	{"immucor-galileo-echo", "immucor-echo", `triples 3+^3+^45, interpretation "B Pos"/"Pos", two O groups for one P`, []recorded{
		{file: "result.astm", results: 14, reports: 1, patient: "Patient", wants: []want{{specimen: "0651439A", code: "Anti-B", value: "3+^3+^45", qualitative: "3+", quantity: "45"}, {code: "ABOD Full Interp", value: "B Pos"}, {code: "Screen Interp", value: "Pos"}}},
		{file: "order.astm"}}},
	{"biorad-ihcom", "biorad-ih-com", "specimen 1122206642, composite A^NEG^NEG^ccee^K-^NEG; a second P/O/R without a new H", []recorded{
		{file: "bloodtype.astm", results: 4, wants: []want{{specimen: "1122206642", code: "Result", value: "A^NEG^NEG^ccee^K-^NEG^^^"}}},
		{file: "bloodtype_por.astm", results: 5, reports: 2, wants: []want{{specimen: "1122206642", code: "AntiA", value: "40^^"}}}}},
	{"abbott-architect", "abbott-architect", "three messages; F and I are reportable, raw readings P are not; L without a code", []recorded{
		{file: "multi_message_results.astm", results: 5, ignored: 3, wants: []want{{specimen: "276056250158121", code: "580", value: "0.15", unit: "S/CO", status: "F"}, {code: "580-I", value: "Nonreactive"}, {specimen: "AA5XVA2BT9", code: "133", value: "2.87", unit: "mIU/mL"}}}}},
	{"roche-cobas-e411", "roche-cobas-e411", "value -1^0.325 is qualitative^quantitative; query; unknown sample @192; a record cut between frames", []recorded{
		{file: "roche_result.bin", results: 2, wants: []want{{code: "5", value: "-1^0.325", qualitative: "-1", quantity: "0.325", unit: "COI", status: "F"}}},
		{file: "roche_multi_frame_bytes.bin", results: 7, wants: []want{{specimen: "000002327", code: "3", value: "<3.00", comparator: "<", quantity: "3.00", flag: "LL"}}},
		{file: "roche_enquiry.bin", queries: 1}, {file: "roche_query_for_non_existent_sample.bin", queries: 1},
		{file: "d10_error_but_really_e411.bin", queries: -1, results: -1}}},
	{"erba-xl1000", "erba-xl", "specimen 1044041, DBILL 0.3 mg/dl, NA is no result, five specimens in one query", []recorded{
		{file: "2020-09-28-13-35-47-810763.bin", results: 1, wants: []want{{specimen: "1044041", code: "DBILL", value: "0.3", unit: "mg/dl", status: "F"}}},
		{file: "2020-09-28-13-36-02-964590.bin", results: 1, wants: []want{{specimen: "1044041", code: "CKK", value: "NA", status: "X"}}},
		{file: "2020-09-28-13-35-53-887070.bin", results: -1}, {file: "2020-09-28-13-35-56-897354.bin", results: -1}, {file: "2020-09-28-13-36-06-026795.bin", results: -1},
		{file: "multisamplequery.bin", queries: 5}}},
	{"siemens-clinitek-status", "siemens-clinitek-status", `patient 010820187, analytes (SG "<=1.005"); QC by OBR-15 Q, name, lot and result in NTE`, []recorded{
		{file: "siemens_clinitek_patient.hl7", results: 12, patient: "010820187", wants: []want{{specimen: "143", code: "SG", value: "<=1.005", comparator: "<=", quantity: "1.005"}, {code: "GLU", value: "Negative", qualitative: "Negative"}}},
		{file: "siemens_control_qc.hl7", results: 10, control: true, lot: "NO170078N", comments: "QCResult:PASS", wants: []want{{specimen: "184", code: "SG", value: "1.015"}}}}},
	{"siemens-rapidlab-348", "siemens-rapidlab-348", "measured values; arrows ^ v are flags", []recorded{
		{file: "electrolytes_plain_text.txt", results: -1, patient: "000008233", serial: "348-D718", wants: []want{{specimen: "1386", code: "pH", value: "7.973", flag: "H"}, {code: "pCO2", value: "8.9", unit: "mmHg", flag: "L"}, {code: "pO2", value: "145.4", flag: "H"}, {code: "Na+", value: "134", unit: "mmol/L", flag: "-"}, {code: "K+", value: "3.38", flag: "L"}, {code: "Cl-", value: "94", flag: "L", observed: "2019-11-20T12:58:00+07:00"}}}}},
	{"sysmex-kx21n", "sysmex-kx-21n", "fixed text, four digits and a flag; *0000 is an analysis error", []recorded{
		{file: "KX-21N_1.txt", results: 19, wants: []want{{specimen: "7895", code: "WBC", value: "9.1", flag: "N"}, {code: "PLT", value: "0253"}, {code: "LYM%", value: "16.1", comment: "(2)"}}},
		{file: "kx21N_1.txt", results: 19, control: true, wants: []want{{specimen: "QC01", code: "RBC", value: "4.37"}}},
		{file: "kx21N_3.txt", results: 57, wants: []want{{specimen: "1", code: "RBC", value: "0.00"}, {specimen: "1", code: "MCHC", status: "X"}}}}},
	{"sysmex-uc1000", "sysmex-uc-1000", "qualitative and semi-quantitative text of a field, flags, colour", []recorded{
		{file: "UC-1000_1.txt", results: -1, wants: []want{{specimen: "N00001255", code: "URO", qualitative: "3+", quantity: "8.0", flag: "A"}, {code: "BIL", qualitative: "3+", quantity: "2.0", comment: "?"}, {code: "pH", value: "6.5", quantity: "6.5"}, {code: "SG", value: "1.015"}, {code: "COLOR", value: "L YELLOW"}}},
		{file: "UC-1000_2.txt", results: 14, wants: []want{{specimen: "340", code: "URO", value: "normal", qualitative: "normal"}, {code: "BLD", value: "-", qualitative: "-", observed: "2020-03-25T10:28:30+07:00"}}}}},
	{"ortho-vitros-3600", "ortho-vitros", `test id 1.0000+002+1.0; "No Result"; M|1|X; query O, then A`, []recorded{
		{file: "2020-11-11-22-43-31-584309.bin", results: 8, wants: []want{{specimen: "1111111", code: "002", value: "33.86", unit: "nmol/L", status: "F"}, {code: "950", value: "No Result", status: "X"}}},
		{file: "2020-11-21-13-07-24-379581.bin", results: 4, wants: []want{{specimen: "1068616", code: "950", value: "<15", comparator: "<", quantity: "15"}}},
		{file: "2020-11-21-13-10-55-150376.out.bin", queries: 1}, {file: "2020-11-21-13-11-05-070896.out.bin", queries: -1},
		{file: "2020-11-21-13-10-56-028439.out.bin"}}},
	{"beckman-au6xx", "beckman-au", "rack 1111, cup 01, sample 0016, id 0123456789; RB, R, RE", []recorded{
		{file: "link_level_sequence.jsonl", queries: 1, asked: &record.Query{Specimens: []string{"0123456789"}, Rack: "1111", Position: "01", Sequence: "0016"}}}},
	{"mindray-bc5380", "mindray-bc-5380", `specimen 20071207011, LOINC, empty OBX-5 is not measured, WBC 9.81 "E" = edited`, []recorded{
		{file: "bc5380-c.3.3_trimmed.hl7", results: 30, ignored: -1, wants: []want{{specimen: "20071207011", code: "6690-2", value: "9.81", unit: "10*9/L", flag: "N", status: "F", loinc: "6690-2", comment: "edited"}}}}},
	{"sysmex-xt2000i-csv", "sysmex-xt-2000i-csv", `specimen ACCC76134, WBC 572 (10/uL), flags in the following column, "----" = error`, []recorded{
		{file: "2000i_exported_files.txt", results: 48, reports: 2, wants: []want{{specimen: "ACCC76134", code: "GB", value: "572", unit: "10/uL", observed: "2015-04-14T15:34:32+07:00"}, {specimen: "ACCC76133", code: "IDP", value: "----", status: "X"}, {code: "VGM", value: "710", flag: "L"}}}}},
}

// TestSamplesAreDecodedWithProfiles prints each folder of the samples, what its
// INDEX row demands, and the verdict.
func TestSamplesAreDecodedWithProfiles(t *testing.T) {
	lab := samples(t)
	all, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	for _, f := range folders {
		verdict := "as demanded"
		for _, r := range f.files {
			for _, wrong := range judge(t, lab, f.name, all[f.profile], r) {
				verdict = "WRONG"
				t.Errorf("%s/%s by %s: %s", f.name, r.file, f.profile, wrong)
			}
		}
		fmt.Fprintf(&table, "| %-24s | %-24s | %-11s | %s |\n", f.name, f.profile, verdict, f.demand)
	}
	t.Logf("folder, profile, verdict, demand:\n%s", &table)
}

// judge is everything that is wrong with one file.
func judge(t *testing.T, lab, name string, p *profile.Profile, r recorded) []string {
	if p == nil {
		return []string{"there is no such profile"}
	}
	recording, err := os.ReadFile(filepath.Join(lab, name, r.file))
	if err != nil {
		t.Fatal(err)
	}
	var wrong []string
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	var reports []record.Report
	results, queries, ignored := 0, 0, 0
	messages, asks := messagesOf(t, p, recording)
	queries += len(asks)
	if r.asked != nil && (len(asks) == 0 || !reflect.DeepEqual(asks[0], *r.asked)) {
		bad("asks %+v, want %+v", asks, *r.asked)
	}
	for _, message := range messages {
		e, err := p.Extract(message, zone)
		if err != nil {
			bad("%v", err)
			continue
		}
		asked := 0
		for _, q := range p.Queries(message) {
			asked += len(q.Specimens)
		}
		queries += max(e.Queries, asked)
		reports = append(reports, e.Reports...)
		results += e.Results()
		for _, n := range e.Ignored {
			ignored += n
		}
		for code := range e.Undeclared {
			if r.results >= 0 {
				bad("code %q is undeclared", code)
			}
		}
	}
	same := func(what string, got, want int) {
		if want >= 0 && got != want {
			bad("%d %s, want %d", got, what, want)
		}
	}
	same("results", results, r.results)
	same("queries", queries, r.queries)
	same("ignored records", ignored, r.ignored)
	if r.reports > 0 {
		same("reports", len(reports), r.reports)
	}
	for _, w := range r.wants {
		if !found(reports, r, w) {
			bad("no result %+v", w)
		}
	}
	if r.control {
		for _, report := range reports {
			if !report.Control {
				bad("a report is in the patient lane")
			}
		}
	}
	return wrong
}

// found reports whether a report has what the recording and the result demand.
func found(reports []record.Report, r recorded, w want) bool {
	for _, report := range reports {
		if w.specimen != "" && report.Specimen.ID != w.specimen || r.lot != report.Lot || r.serial != "" && report.Device.Serial != r.serial {
			continue
		}
		if r.patient != "" && (report.Patient == nil || report.Patient.ID != r.patient && report.Patient.Name.Family != r.patient) {
			continue
		}
		if !strings.Contains(strings.Join(report.Comments, "\n"), r.comments) {
			continue
		}
		for _, one := range report.Results {
			if one.Code == w.code && w.fits(one) {
				return true
			}
		}
	}
	return false
}

func (w want) fits(r record.Result) bool {
	for _, pair := range [][2]string{
		{w.value, r.Value}, {w.unit, r.Unit}, {w.status, r.Status}, {w.loinc, r.LOINC}, {w.comparator, r.Comparator},
		{w.quantity, r.Quantity}, {w.qualitative, r.Qualitative}, {w.observed, timeOf(r.Observed)}, {w.operator, r.Operator},
		{strings.TrimPrefix(w.flag, "-"), r.Flag},
	} {
		if pair[0] != "" && pair[0] != pair[1] {
			return false
		}
	}
	return (w.flag != "-" || r.Flag == "") && strings.Contains(strings.Join(r.Comments, "\n"), w.comment)
}

// messagesOf are the messages of a recording as they would be stored, and what the
// protocol asks for beside them.
func messagesOf(t *testing.T, p *profile.Profile, recording []byte) ([][]byte, []record.Query) {
	if p.Protocol() == "file" {
		return [][]byte{recording}, nil
	}
	if core := p.Core(); core != nil {
		return stored(core, deviceSide(t, recording))
	}
	o, err := capture.Decode(recording, "auto", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for _, m := range o.Messages {
		var b []byte
		for _, r := range m.Records {
			fields := r.Fields
			if r.Type == "MSH" {
				fields = append([]string{"MSH"}, fields[2:]...)
			}
			b = append(b, strings.Join(fields, "|")+"\r"...)
		}
		all = append(all, b)
	}
	return all, nil
}

// deviceSide is what the analyser sent of a dialogue that is kept as lines of JSON,
// which show a line feed where the link has its ETX; of anything else it is all.
func deviceSide(t *testing.T, recording []byte) []byte {
	if !bytes.HasPrefix(recording, []byte(`{"dir"`)) {
		return recording
	}
	var sent []byte
	for d := json.NewDecoder(bytes.NewReader(recording)); ; {
		var line struct{ Dir, ASCII string }
		if err := d.Decode(&line); err == io.EOF {
			return sent
		} else if err != nil {
			t.Fatal(err)
		}
		if line.Dir == "analyzer" {
			sent = append(sent, strings.ReplaceAll(line.ASCII, "\n", "\x03")...)
		}
	}
}

// stored are the messages that a core stores of a recording of the device's side, and
// what it asks; there is no work for anything.
func stored(core session.Core, recording []byte) ([][]byte, []record.Query) {
	var all [][]byte
	var asked []record.Query
	var do func(actions []session.Action)
	do = func(actions []session.Action) {
		for _, a := range actions {
			switch a := a.(type) {
			case session.Store:
				all = append(all, a.Messages...)
			case session.Ask:
				asked = append(asked, a.Query)
				do(core.Answered(nil, true))
			}
		}
	}
	for len(recording) > 0 {
		n, actions := core.Receive(recording)
		recording = recording[n:]
		do(actions)
	}
	do(core.TimedOut())
	return all, asked
}
