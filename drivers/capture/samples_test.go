package capture

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nhip/drivers/profile"
)

// samples is the folder of analysers' captures beside the checkout, which is no
// part of the project.
func samples(t testing.TB) string {
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

// folders that `nhip decode` has to read, with the profile that fits.
var folders = map[string]string{
	"abbott-afinion2":         "generic-astm",
	"abbott-architect":        "generic-astm",
	"biorad-ihcom":            "generic-astm",
	"cepheid-genexpert-astm":  "generic-astm",
	"erba-xl1000":             "erba-xl",
	"horiba-pentra-xlr":       "generic-astm",
	"horiba-yumizen-h500-etb": "generic-astm",
	"immucor-galileo-echo":    "generic-astm",
	"mindray-bc5380":          "mindray-bc-5380",
	"ortho-vitros-3600":       "generic-astm",
	"roche-cobas-c311":        "generic-astm",
	"roche-cobas-e411":        "roche-cobas-e411",
	"siemens-clinitek-status": "generic-hl7",
	"sysmex-xn550":            "sysmex-xn-l",
}

// explained says why a difference between expected.json and the bytes is right.
// The key is folder, field and, where one matters, the form of the difference.
var explained = []struct {
	folder, field, why string
	is                 func(expected, decoded string) bool
}{
	{"erba-xl1000", "sender", "H.5 is there and empty; expected.json says null",
		func(e, d string) bool { return e == "null" && d == "" }},
}

// absent names what expected.json describes without the file being there.
var absent = map[string]bool{"xn-l_1381-02_name_in_sampleid.bin": true}

// TestSamplesDecodeAsExpected compares every field of expected.json with the
// decode and prints what differs, with the reason. A difference without a reason
// fails.
func TestSamplesDecodeAsExpected(t *testing.T) {
	lab := samples(t)
	table := make(map[string]int)
	compared := 0
	for _, folder := range sorted(folders) {
		text, err := os.ReadFile(filepath.Join(lab, folder, "expected.json"))
		if err != nil {
			t.Fatal(err)
		}
		var expected map[string][]map[string]any
		if err := json.Unmarshal(text, &expected); err != nil {
			t.Fatalf("%s: %v", folder, err)
		}
		for _, name := range sorted(expected) {
			recording, err := os.ReadFile(filepath.Join(lab, folder, name))
			if errors.Is(err, fs.ErrNotExist) && absent[name] {
				table[folder+": "+name+" is in expected.json and not in the folder"]++
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			o, err := Decode(recording, "auto", nil, nil)
			if err != nil {
				t.Errorf("%s/%s: %v", folder, name, err)
				continue
			}
			decoded := make([]any, len(o.Messages))
			for i, m := range o.Messages {
				decoded[i] = summary(o.Protocol, m)
			}
			c := comparison{folder: folder, name: name, t: t, table: table}
			c.compare("", any(plain(expected[name])), any(decoded))
			compared += c.leaves
		}
	}
	t.Logf("%d fields of expected.json compared; what differs:", compared)
	for _, line := range sorted(table) {
		t.Logf("%3d times  %s", table[line], line)
	}
	if compared < 2000 {
		t.Errorf("only %d fields were compared", compared)
	}
}

func plain(messages []map[string]any) []any {
	all := make([]any, len(messages))
	for i, m := range messages {
		all[i] = m
	}
	return all
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

type comparison struct {
	folder, name string
	t            *testing.T
	table        map[string]int
	leaves       int
}

// compare walks what is expected. Numbers of elements have to agree; keys that
// expected.json leaves out are not asked for.
func (c *comparison) compare(field string, expected, decoded any) {
	switch e := expected.(type) {
	case map[string]any:
		d, ok := decoded.(map[string]any)
		if !ok {
			c.leaf(field, fmt.Sprint(expected), fmt.Sprint(decoded))
			return
		}
		for _, key := range sorted(e) {
			c.compare(strings.TrimPrefix(field+"."+key, "."), e[key], d[key])
		}
	case []any:
		d, _ := decoded.([]any)
		if len(d) != len(e) {
			c.leaf(field, fmt.Sprint(len(e), " elements"), fmt.Sprint(len(d), " elements"))
			return
		}
		for i := range e {
			c.compare(field, e[i], d[i])
		}
	case nil:
		if decoded == nil {
			c.leaf(field, "null", "null")
		} else {
			c.leaf(field, "null", fmt.Sprint(decoded))
		}
	default:
		c.leaf(field, fmt.Sprint(e), fmt.Sprint(decoded))
	}
}

func (c *comparison) leaf(field, expected, decoded string) {
	c.leaves++
	if expected == decoded {
		return
	}
	for _, x := range explained {
		if x.folder == c.folder && x.field == field && x.is(expected, decoded) {
			c.table[fmt.Sprintf("%s %s: %s", c.folder, field, x.why)]++
			return
		}
	}
	c.t.Errorf("%s/%s: %s is %q, expected.json has %q", c.folder, c.name, field, decoded, expected)
}

// summary is a message in the shape of expected.json.
func summary(protocol string, m Message) map[string]any {
	if protocol == "hl7" {
		return hl7Summary(m)
	}
	s := map[string]any{"patients": []any{}, "orders": []any{}, "results": []any{}, "queries": []any{}}
	add := func(key string, v map[string]any) { s[key] = append(s[key].([]any), v) }
	comments, manufacturer := 0, 0
	specimen, repeat := "", ""
	for _, r := range m.Records {
		at := func(n int) string {
			if n > len(r.Fields) {
				return ""
			}
			return r.Fields[n-1]
		}
		switch r.Type {
		case "H":
			s["sender"], s["delims"] = at(5), "|"+at(2)
			repeat = at(2)[:1]
		case "P":
			add("patients", map[string]any{"practice_id": at(3), "lab_id": at(4), "id3": at(5), "name": at(6), "birth": at(8), "sex": at(9)})
		case "O":
			tests := []any{}
			for _, test := range strings.Split(at(5), repeat) {
				tests = append(tests, test)
			}
			specimen = at(3)
			add("orders", map[string]any{"specimen": at(3), "instrument_specimen": at(4), "tests": tests, "action": at(12), "report_type": at(26)})
		case "R":
			add("results", map[string]any{"test": at(3), "value": at(4), "unit": at(5), "range": at(6), "flag": at(7), "status": at(9), "completed": at(13), "for_specimen": specimen})
		case "Q":
			add("queries", map[string]any{"start": at(3), "tests": at(5), "status": at(13)})
		case "C":
			comments++
		case "M":
			manufacturer++
		}
	}
	s["comments"], s["M"] = comments, manufacturer
	return s
}

func hl7Summary(m Message) map[string]any {
	s := map[string]any{"spm": []any{}, "sac": []any{}, "obr": []any{}, "obx": []any{}}
	add := func(key string, v map[string]any) { s[key] = append(s[key].([]any), v) }
	for _, r := range m.Records {
		at := func(n int) string {
			if n >= len(r.Fields) {
				return ""
			}
			return r.Fields[n]
		}
		switch r.Type {
		case "MSH":
			s["type"], s["control"], s["version"], s["app"], s["fac"] = at(9), at(10), at(12), at(3), at(4)
			s["ack"], s["profile"] = []any{at(15), at(16)}, at(21)
		case "PID":
			s["pid"] = map[string]any{"3": at(3), "4": at(4), "5": at(5), "8": at(8)}
		case "OBR":
			add("obr", map[string]any{"2": at(2), "3": at(3), "4": at(4)})
		case "OBX":
			add("obx", map[string]any{"code": at(3), "sub": at(4), "value": at(5), "unit": at(6), "range": at(7), "flag": at(8), "status": at(11), "obr": len(s["obr"].([]any))})
		}
	}
	return s
}

// TestSamplesWithProfiles: what INDEX.md of the samples says that a right decode
// contains, as results.
func TestSamplesWithProfiles(t *testing.T) {
	lab := samples(t)
	all, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		file     string
		n        int // results
		control  bool
		declared bool
		has      Result
	}{
		{"sysmex-xn550/sysmex_xn550.txt", 23, false, true,
			Result{Specimen: "27", Code: "WBC", Value: "8.13", Unit: "10*3/uL", Flag: "N", Status: "F", Observed: "2024-06-27T13:54:07+07:00"}},
		{"roche-cobas-e411/roche_result.bin", 2, false, true,
			Result{Specimen: "sample", Code: "5", Value: "-1^0.325", Unit: "COI", Flag: "N", Status: "F", Observed: "2018-12-05T14:07:34+07:00"}},
		{"roche-cobas-e411/roche_multi_frame_bytes.bin", 7, false, true,
			Result{Specimen: "000002327", Code: "3", Value: "<3.00", Unit: "ng/ml", Flag: "LL", Status: "F", Observed: "2019-01-10T16:30:45+07:00"}},
		{"erba-xl1000/2020-09-28-13-36-02-964590.bin", 1, false, true,
			Result{Specimen: "1044041", Code: "CKK", Value: "NA", Unit: "mg/dl", Flag: "A", Status: "X", Observed: "2020-09-28T13:23:25+07:00"}},
		{"erba-xl1000/2020-09-28-13-35-47-810763.bin", 1, false, true,
			Result{Specimen: "1044041", Code: "DBILL", Value: "0.3", Unit: "mg/dl", Flag: "A", Status: "F", Observed: "2020-09-28T13:23:12+07:00"}},
		{"abbott-afinion2/abbott_afinion2.txt", 1, false, true,
			Result{Specimen: "5", Code: "HbA1c", Value: "5.9", Unit: "%", Status: "F", Observed: "2024-12-06T14:06:15+07:00"}},
		{"immucor-galileo-echo/result.astm", 14, false, true,
			Result{Specimen: "0651439A", Code: "Anti-B", Value: "3+^3+^45", Status: "F", Observed: "2006-03-06T16:44:29+07:00"}},
		{"siemens-clinitek-status/siemens_clinitek_patient.hl7", 12, false, true,
			Result{Specimen: "143", Code: "SG", Value: "<=1.005", Status: "F", Observed: "2018-12-05T22:37:00+07:00"}},
		{"siemens-clinitek-status/siemens_control_qc.hl7", 10, true, true,
			Result{Specimen: "184", Code: "SG", Value: "1.015", Status: "F", Observed: "2018-12-20T10:57:00+07:00"}},
		{"mindray-bc5380/bc5380-c.3.3_trimmed.hl7", 30, false, false,
			Result{Specimen: "20071207011", Code: "6690-2", Value: "9.81", Unit: "10*9/L", Flag: "N", Status: "F", Observed: "2008-05-08T15:06:16+07:00"}},
	} {
		recording, err := os.ReadFile(filepath.Join(lab, test.file))
		if err != nil {
			t.Fatal(err)
		}
		o, err := Decode(recording, "auto", all[folders[filepath.Dir(test.file)]], hanoi)
		if err != nil {
			t.Errorf("%s: %v", test.file, err)
			continue
		}
		var results []Result
		for _, m := range o.Messages {
			results = append(results, m.Results...)
		}
		if len(results) != test.n {
			t.Errorf("%s: %d results, want %d", test.file, len(results), test.n)
		}
		found := slices.ContainsFunc(results, func(r Result) bool {
			return r.Specimen == test.has.Specimen && r.Code == test.has.Code && r.Value == test.has.Value && r.Unit == test.has.Unit &&
				r.Flag == test.has.Flag && r.Status == test.has.Status && r.Observed == test.has.Observed
		})
		if !found {
			t.Errorf("%s: no result %+v in %+v", test.file, test.has, results)
		}
		for _, r := range results {
			if r.Control != test.control || test.declared && !r.Declared {
				t.Errorf("%s: result %s: control %v, declared %v", test.file, r.Code, r.Control, r.Declared)
			}
		}
	}
}

// TestCutSamplesNeverPanic cuts every capture, of whatever protocol: the small ones at
// every byte, the others within two bytes of where a frame, a record or a field begins or
// ends, and of where a control character stands.
func TestCutSamplesNeverPanic(t *testing.T) {
	lab := samples(t)
	all, err := profile.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(lab, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	cuts := 0
	for _, file := range files {
		if base := filepath.Base(file); base == "expected.json" || filepath.Ext(base) == ".md" {
			continue // no captures
		}
		recording, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		id, known := folders[filepath.Base(filepath.Dir(file))]
		if !known {
			id = "generic-astm"
		}
		for _, n := range cutsOf(recording) {
			cuts++
			o, err := Decode(recording[:n:n], "auto", all[id], nil)
			if _, e := json.Marshal(o); err == nil && e != nil {
				t.Fatalf("%s cut at %d: %v", file, n, e)
			}
		}
	}
	t.Logf("%d files, %d cuts", len(files), cuts)
}

// everyCut is how long a recording may be that is cut at every byte; mostCuts is after how
// many cuts a longer one is cut at its frames and records only, not at each field.
const everyCut, mostCuts = 600, 400

func cutsOf(recording []byte) []int {
	seen := map[int]bool{len(recording): true}
	for at, b := range recording {
		if len(recording) <= everyCut || at < 16 {
			seen[at] = true
			continue
		}
		if b < ' ' || strings.IndexByte("|^\\&~", b) >= 0 && len(seen) < mostCuts {
			for n := max(at-2, 0); n <= min(at+2, len(recording)); n++ {
				seen[n] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}
