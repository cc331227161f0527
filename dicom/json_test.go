package dicom

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"nhip/dicom/tag"
	"nhip/dicom/uid"
)

// jsonDiffer tells of every place where two JSON models differ. Numbers are compared
// as numbers, also those that are written as strings.
func jsonDiffer(path string, a, b any, report func(path string, a, b any)) {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok {
			report(path, a, b)
			return
		}
		for k := range x {
			jsonDiffer(path+"/"+k, x[k], y[k], report)
		}
		for k := range y {
			if _, ok := x[k]; !ok {
				report(path+"/"+k, nil, y[k])
			}
		}
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			report(path, a, b)
			return
		}
		for i := range x {
			jsonDiffer(fmt.Sprintf("%s/%d", path, i), x[i], y[i], report)
		}
	default:
		if f, ok := asNumber(a); ok {
			if g, ok := asNumber(b); ok && (f == g || math.Abs(f-g) <= 1e-6*math.Abs(f)) {
				return
			}
		}
		if a != b {
			report(path, a, b)
		}
	}
}

func asNumber(v any) (float64, bool) {
	switch x := v.(type) {
	case float64:
		return x, true
	case string:
		f, err := strconv.ParseFloat(strings.TrimSpace(x), 64)
		return f, err == nil
	}
	return 0, false
}

func unmarshal(t *testing.T, b []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%v in %.200s", err, b)
	}
	return v
}

// jsonOfTree returns the files of the tree that can be read, with their JSON.
func jsonOfTree(t *testing.T) (names []string, models [][]byte) {
	for _, name := range pydicomFiles(t) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := ReadFile(bytes.NewReader(b), Limits{})
		if err != nil {
			continue
		}
		model, err := f.MarshalJSON()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		names, models = append(names, name), append(models, model)
	}
	return names, models
}

func runPydicomJSON(t *testing.T, lines string, args ...string) [][]byte {
	t.Helper()
	cmd := exec.Command("/usr/bin/python3", append([]string{"testdata/pydicom_json.py"}, args...)...)
	cmd.Stdin = strings.NewReader(lines)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("pydicom: %v: %s", err, stderr.Bytes())
	}
	return bytes.Split(bytes.TrimSpace(out), []byte("\n"))
}

// The JSON of the tree is pydicom's, and pydicom reads ours as we read it.
func TestJSONIsPydicoms(t *testing.T) {
	names, models := jsonOfTree(t)
	theirs := runPydicomJSON(t, strings.Join(names, "\n")+"\n")
	again := runPydicomJSON(t, string(bytes.Join(models, []byte("\n")))+"\n", "read")
	if len(theirs) != len(names) || len(again) != len(names) {
		t.Fatalf("%d and %d answers for %d files", len(theirs), len(again), len(names))
	}
	for i, name := range names {
		ours := unmarshal(t, models[i])
		compareJSON(t, "pydicom", filepath.Base(name)+" written", ours, unmarshal(t, theirs[i]))
		compareJSON(t, "pydicom", filepath.Base(name)+" read", ours, unmarshal(t, again[i]))
	}
	t.Logf("%d files", len(names))
}

func compareJSON(t *testing.T, peer, name string, ours, theirs any) {
	t.Helper()
	if m, ok := theirs.(map[string]any); ok && m["error"] != nil {
		t.Logf("%s: %s makes no JSON of it: %v", name, peer, m["error"])
		return
	}
	jsonDiffer("", ours, theirs, func(path string, a, b any) {
		if explained(name, path, a, b) == "" {
			t.Errorf("%s %s: %.100v, %s has %.100v", name, path, a, peer, b)
		}
	})
}

// explained says why our JSON differs, "" where there is no reason.
func explained(name, path string, a, b any) string {
	keys := strings.Split(path, "/")
	key := ""
	for _, k := range keys {
		if len(k) == 8 {
			key = k
		}
	}
	f, fok := asNumber(a)
	g, gok := asNumber(b)
	x, xok := a.(string)
	y, yok := b.(string)
	list, empty := b.([]any)
	switch {
	case key == "00080005":
		return "the JSON is UTF-8, and its Specific Character Set says so (annex F.2.2)"
	case strings.HasSuffix(key, "0000"):
		return "group lengths are left out (annex F.2.2)"
	case a == nil && empty && len(list) == 0:
		return "an empty sequence has no Value (annex F.2.5)"
	case fok && gok && float32(f) == float32(g):
		return "FL in the fewest digits that are the same FL"
	case xok && yok && strings.HasSuffix(path, "InlineBinary") && len(x) == len(y) && (strings.Contains(name, "bigend") || strings.Contains(name, "expb")):
		return "InlineBinary is little endian (annex F.2.7), pydicom leaves big endian"
	case xok && yok && strings.HasSuffix(path, "InlineBinary") && y == x+"AA==":
		return "dcm2json makes a value of odd length even"
	case strings.HasPrefix(name, "chrKoreanMulti") && key[:4] == "0019":
		return "dcm2json does not know the private elements"
	case strings.HasPrefix(name, "chrSQEncoding.dcm") && strings.HasPrefix(path, "/00321064/Value/0/00100010"):
		return "dcm2json does not decode by the Specific Character Set of an item"
	case b == nil && (key == "00080090" || key == "00100010"):
		return "dcm2json leaves out a name that is delimiters only"
	case xok && yok && x == strings.Trim(y, " \x00"):
		return "insignificant spaces of each value are taken away, theirs of the last only"
	}
	return ""
}

// The JSON of the tree is dcm2json's, where that makes any.
func TestJSONIsDCMTKs(t *testing.T) {
	if _, err := exec.LookPath("dcm2json"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	compared := 0
	names, models := jsonOfTree(t)
	for i, name := range names {
		out, err := exec.Command("dcm2json", "-q", name).Output()
		var theirs any
		if err != nil || json.Unmarshal(out, &theirs) != nil {
			continue
		}
		compared++
		compareJSON(t, "dcm2json", filepath.Base(name), unmarshal(t, models[i]), theirs)
	}
	t.Logf("%d files of %d: of the others dcm2json makes none, most of them compressed", compared, len(names))
	if compared < 100 {
		t.Errorf("%d files", compared)
	}
}

// What was read from our JSON makes the same JSON again.
func TestJSONBothWays(t *testing.T) {
	names, models := jsonOfTree(t)
	for i, name := range names {
		var d Dataset
		if err := d.UnmarshalJSON(models[i]); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again, err := d.MarshalJSON()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		jsonDiffer("", unmarshal(t, models[i]), unmarshal(t, again), func(path string, a, b any) {
			if strings.HasSuffix(path, "InlineBinary") && strings.HasSuffix(b.(string), "AA==") {
				return // padded to even length
			}
			t.Errorf("%s %s: %.100v became %.100v", name, path, a, b)
		})
		if _, err := d.Encode(uid.ExplicitVRLittleEndian); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestJSONForms(t *testing.T) {
	d := NewDataset()
	for _, err := range []error{
		d.SetText(tag.SpecificCharacterSet, "ISO_IR 100"),
		d.SetText(tag.PatientName, "Buc^J\u00e9r\u00f4me=\u00e9"),
		d.SetText(tag.OtherPatientNames, "A", "", "B"),
		d.SetText(tag.ImagePositionPatient, "+1.50", "-.5", "1e3"),
		d.SetText(tag.InstanceNumber, "+007"),
		d.SetText(tag.SelectorISValue, "1", "", "2"),
		d.SetText(tag.SelectorSVValue, "9007199254740993", "-1"),
		d.SetFloat(tag.SelectorFDValue, math.NaN(), math.Inf(1), 0.1),
		d.SetText(tag.SelectorATValue, "00100020"),
		d.SetText(tag.PatientComments, "a\\b \"<>&\r\n"),
		d.SetBytes(tag.PixelData, OW, []byte{1, 2, 3, 4}),
		d.SetEmpty(tag.PatientID),
		d.SetItems(tag.ReferencedStudySequence, NewDataset()),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := `{"00080005":{"vr":"CS","Value":["ISO_IR 192"]},` +
		`"00081110":{"vr":"SQ","Value":[{}]},` +
		`"00100010":{"vr":"PN","Value":[{"Alphabetic":"Buc^J\u00e9r\u00f4me","Ideographic":"\u00e9"}]},` +
		`"00100020":{"vr":"LO"},` +
		`"00101001":{"vr":"PN","Value":[{"Alphabetic":"A"},null,{"Alphabetic":"B"}]},` +
		`"00104000":{"vr":"LT","Value":["a\\b \"\u003c\u003e\u0026\u000d\u000a"]},` +
		`"00200013":{"vr":"IS","Value":[7]},` +
		`"00200032":{"vr":"DS","Value":[1.50,-0.5,1e3]},` +
		`"00720060":{"vr":"AT","Value":["00100020"]},` +
		`"00720064":{"vr":"IS","Value":[1,null,2]},` +
		`"00720074":{"vr":"FD","Value":["NaN","+Inf",0.1]},` +
		`"00720082":{"vr":"SV","Value":["9007199254740993",-1]},` +
		`"7FE00010":{"vr":"OW","InlineBinary":"AQIDBA=="}}`
	want = strings.NewReplacer(`\u00e9`, "\u00e9", `\u00f4`, "\u00f4").Replace(want)
	got, err := d.MarshalJSON()
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s, want\n%s", err, got, want)
	}
	big := mustRead(t, d, uid.ExplicitVRBigEndian)
	if got, err := big.MarshalJSON(); err != nil || string(got) != want {
		t.Errorf("from big endian: %v\n%s, want\n%s", err, got, want)
	}
	back, err := JSON{}.Parse(got)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := back.MarshalJSON(); err != nil || string(again) != want {
		t.Errorf("%v\n%s, want\n%s", err, again, want)
	}
	if v := back.Ints(tag.SelectorSVValue); v[0] != 9007199254740993 {
		t.Errorf("%d", v)
	}
}

func mustRead(t *testing.T, d *Dataset, ts string) *Dataset {
	t.Helper()
	b, err := d.Encode(ts)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(b, ts, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestJSONBulkData(t *testing.T) {
	d := NewDataset()
	item := NewDataset()
	item.SetBytes(tag.WaveformData, OW, []byte{9, 8})
	d.SetItems(tag.WaveformSequence, item)
	d.SetBytes(tag.PixelData, OW, []byte{1, 2})
	var paths []string
	j := JSON{
		BulkData: func(path string, e Element) string {
			paths = append(paths, path)
			return "bulk/" + path
		},
		Fetch: func(uri string) ([]byte, error) { return []byte(uri), nil },
	}
	b, err := j.Append(nil, d)
	if err != nil || strings.Join(paths, " ") != "54000100/0/54001010 7FE00010" {
		t.Errorf("%q, %v", paths, err)
	}
	back, err := j.Parse(b)
	if err != nil || string(back.Bytes(tag.PixelData)) != "bulk/7FE00010\x00" {
		t.Errorf("%q, %v in %s", back.Bytes(tag.PixelData), err, b)
	}
}

func TestJSONThatIsRefused(t *testing.T) {
	deep := strings.Repeat(`{"00081140":{"vr":"SQ","Value":[`, 65) + `{}` + strings.Repeat(`]}}`, 65)
	for name, c := range map[string]struct{ json, problem string }{
		"no JSON":          {`{"00080005":`, "no JSON"},
		"an array":         {`[]`, "an object is expected"},
		"no tag":           {`{"0008":{"vr":"CS"}}`, "no tag of eight digits"},
		"no VR":            {`{"00080005":{"vr":"XX"}}`, "none of PS3.5"},
		"unknown tag":      {`{"00091001":{}}`, "its VR has to be said"},
		"an item":          {`{"FFFEE000":{"vr":"UN"}}`, "no data element"},
		"no base64":        {`{"7FE00010":{"vr":"OW","InlineBinary":"*"}}`, "no base64"},
		"text as number":   {`{"00280010":{"vr":"US","Value":["x"]}}`, "no number"},
		"out of range":     {`{"00280010":{"vr":"US","Value":[70000]}}`, "more than VR US holds"},
		"object in a text": {`{"00100020":{"vr":"LO","Value":[{}]}}`, "of another kind"},
		"backslash":        {`{"00100020":{"vr":"LO","Value":["a\\b"]}}`, "backslash"},
		"no array":         {`{"00100020":{"vr":"LO","Value":"a"}}`, "an array is expected"},
		"item no object":   {`{"00081140":{"vr":"SQ","Value":[1]}}`, "an object is expected"},
		"bytes as values":  {`{"7FE00010":{"vr":"OW","Value":[1]}}`, "not inline"},
		"depth":            {deep, "beyond the limit"},
	} {
		if _, err := (JSON{}).Parse([]byte(c.json)); err == nil || !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%s: %v", name, err)
		} else if name == "depth" && !errors.Is(err, ErrLimit) {
			t.Error(err)
		}
	}
}

// FuzzJSON: no panic, and what was read is written and read again the same.
func FuzzJSON(f *testing.F) {
	d, _ := Parse(wellFormed(explicitLE()), uid.ExplicitVRLittleEndian, Limits{})
	b, _ := d.MarshalJSON()
	f.Add(b)
	f.Add([]byte(`{"00100010":{"vr":"PN","Value":[{"Alphabetic":"A=B"},null]},"00720074":{"Value":["NaN",1e3],"vr":"FD"}}`))
	f.Add([]byte(`{"7FE00010":{"vr":"OB","InlineBinary":"/v8A4AAAAAD+/wDgAgAAAAEC"},"00081140":{"vr":"SQ","Value":[null,{"00080005":{"vr":"CS"}}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := JSON{}.Parse(b)
		if err != nil {
			return
		}
		first, err := d.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		// The second time, since binary text may need a Specific Character Set.
		var second []byte
		for range 2 {
			again, err := JSON{}.Parse(first)
			if err != nil {
				t.Fatalf("%v in %s", err, first)
			}
			first = second
			if second, err = again.MarshalJSON(); err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = second
			}
		}
		if !bytes.Equal(first, second) {
			t.Fatalf("%s became\n%s", first, second)
		}
		if _, err := d.Encode(uid.ImplicitVRLittleEndian); err != nil && !strings.Contains(err.Error(), "encapsulated") {
			t.Fatal(err)
		}
	})
}
