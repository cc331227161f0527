package profile

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"nhip/drivers/astm/e1394"
	"nhip/gateway/record"
)

const asking = `
id = "test"
name = "test"
revision = 1
protocol = "astm"
evidence = "standard"
source = "test"
codes = "site"
codes_source = "test"
parts_source = "test"
transport = ["serial"]
two_way = "query"
[parts]
specimen = "O.3"
code = "R.3"
value = "R.4"
`

// of is a profile with these tables.
func of(t *testing.T, tables string) *Profile {
	t.Helper()
	p, err := Load(fstest.MapFS{"test/profile.toml": {Data: []byte(asking + tables)}}, "test")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const e411 = `
[query]
source = "test"
specimen = "Q.3.3"
sequence = "Q.3.4"
rack = "Q.3.5"
position = "Q.3.6"
specimen_type = "Q.3.8"
container = "Q.3.9"
all = "ALL"
tests = "Q.5"
[answer]
source = "test"
deadline = "18s"
[[answer.field]]
path = "H.11.1"
is = "TSDWN"
[[answer.field]]
path = "H.11.2"
is = "REPLY"
[[answer.field]]
path = "O.3"
is = "{specimen}"
[[answer.field]]
path = "O.4.1"
is = "{sequence}"
[[answer.field]]
path = "O.4.2"
is = "{rack}"
[[answer.field]]
path = "O.4.3"
is = "{position}"
[[answer.field]]
path = "O.4.5"
is = "{specimen_type}"
[[answer.field]]
path = "O.4.6"
is = "{container}"
[[answer.field]]
path = "O.5.4"
is = "{test}"
[[answer.field]]
path = "O.6"
is = "{priority}"
[[answer.field]]
path = "P.6.1"
is = "{family}"
[[answer.field]]
path = "P.6.2"
is = "{middle} {given}"
`

var site = time.Date(2026, 1, 14, 8, 15, 0, 0, time.FixedZone("+07", 7*3600))

// The queries of the captures: one specimen with its place, a list of specimens, and
// one that is withdrawn.
func TestQueriesOfTheSamples(t *testing.T) {
	lab := filepath.Join("..", "..", "..", "shared", "samples", "lab")
	vitros := `
[query]
source = "test"
specimen = "Q.3.2"
all = "ALL"
tests = "Q.5"
[[query.cancel]]
path = "Q.13"
is = "A"
source = "test"
`
	erba := `
[query]
source = "test"
specimen = "Q.3.2, Q.3.1"
`
	for _, c := range []struct {
		file, tables string
		want         record.Query
	}{
		{"roche-cobas-e411/roche_enquiry.bin", e411, record.Query{Specimens: []string{"0000000387"}, Sequence: "587", Rack: "0", Position: "2", SpecimenType: "S1", Container: "SC", ID: "1"}},
		{"roche-cobas-e411/roche_query_for_non_existent_sample.bin", e411, record.Query{Specimens: []string{"@192"}, Sequence: "192", Rack: "0", Position: "5", SpecimenType: "S1", Container: "SC", ID: "1"}},
		{"erba-xl1000/multisamplequery.bin", erba, record.Query{Specimens: []string{"1007149", "1007152", "1007151", "1007150", "1007148"}, ID: "1"}},
		{"ortho-vitros-3600/2020-11-21-13-10-55-150376.out.bin", vitros, record.Query{}},
	} {
		raw, err := os.ReadFile(filepath.Join(lab, c.file))
		if err != nil {
			t.Skip("the samples are not here: ", err)
		}
		got := of(t, c.tables).Queries(records(string(raw)))
		if reflect.DeepEqual(c.want, record.Query{}) {
			if len(got) != 0 {
				t.Errorf("%s: %+v", c.file, got)
			}
			continue
		}
		if len(got) != 1 || fmt.Sprintf("%+v", got[0]) != fmt.Sprintf("%+v", c.want) {
			t.Errorf("%s: %+v, want %+v", c.file, got, c.want)
		}
	}
}

// records are the records in a capture: one frame, whose framing is taken away by hand,
// whether the control characters stand as such or as ^B.
func records(text string) []byte {
	if !strings.Contains(text, "\x02") {
		text = strings.NewReplacer("^B", "\x02", "^C", "\x03", "^D", "\x04", "^E", "\x05", "^F", "\x06", "^M", "\r").Replace(text)
	}
	begin := strings.Index(text, "H|")
	end := strings.IndexByte(text[begin:], 3)
	return []byte(text[begin : begin+end])
}

func TestAnswerRepeatsWhereTheSpecimenStands(t *testing.T) {
	p := of(t, e411)
	message := []byte("H|\\^&|||cobas-e411^1|||||host|TSREQ^REAL|P|1\rQ|1|^^0000000387^587^0^2^^S1^SC||ALL||||||||A\rL|1|N\r")
	q := p.Queries(message)[0]
	got, err := p.Answer(message, q, []record.Work{{Specimen: "0000000387", Tests: []string{"10", "21"}, Priority: "S",
		Patient: &record.Patient{Name: record.Name{Family: "Nguyễn", Middle: "Thị", Given: "Đào|x"}}}}, site)
	want := "H|\\^&|||||||||TSDWN^REPLY\rP|1||||Nguyen^Thi Dao&F&x\rO|1|0000000387|587^0^2^^S1^SC|^^^10\\^^^21|S\rL|1|N\r"
	if err != nil || string(got) != want {
		t.Errorf("%q\nwant %q, %v", got, want, err)
	}
	if p.Deadline() != 18*time.Second {
		t.Errorf("deadline %v", p.Deadline())
	}
}

// What the analyser has said of its tube is said back; where it has said nothing, the kind
// of specimen of the order goes out in its own word, and one that it has no word for not.
func TestKindOfSpecimenIsTheAnalysers(t *testing.T) {
	p := of(t, e411+`
[[specimen_type]]
is = "S1"
means = "SER"
source = "test"
[[specimen_type]]
is = "S2"
means = "UR"
source = "test"
`)
	for _, c := range []struct{ said, ordered, want string }{
		{"S1", "SER", "S1"}, {"S1", "UR", "S1"}, {"", "UR", "S2"}, {"", "CSF", ""}, {"", "", ""}, {"S3", "CSF", "S3"},
	} {
		message := []byte("H|\\^&\rQ|1|^^26011409^40^0^5^^" + c.said + "^SC\rL|1\r")
		got, err := p.Answer(message, p.Queries(message)[0],
			[]record.Work{{Specimen: "26011409", SpecimenType: c.ordered, Tests: []string{"10"}, Priority: "STAT"}}, site)
		if want := "|26011409|40^0^5^^" + c.want + "^SC|^^^10|S\r"; err != nil || !strings.Contains(string(got), want) {
			t.Errorf("%+v: %q, want %q in it, %v", c, got, want, err)
		}
	}
}

func TestAnswerUsesTheDelimitersOfTheQuery(t *testing.T) {
	p := of(t, e411)
	message := []byte("H|`^&\rQ|1|^^S1\rL|1\r")
	got, err := p.Answer(message, p.Queries(message)[0], []record.Work{{Specimen: "S1", Tests: []string{"A", "B"}}}, site)
	if err != nil || !strings.Contains(string(got), "H|`^&|") || !strings.Contains(string(got), "|^^^A`^^^B|") {
		t.Errorf("%q %v", got, err)
	}
}

// What a specimen without orders gets is the profile's affair; nothing, by default.
func TestUnknownSpecimen(t *testing.T) {
	message := []byte("H|\\^&\rQ|1|^^S1\rL|1\r")
	with := func(line, fields string) *Profile {
		return of(t, strings.Replace(e411, "deadline = \"18s\"\n", "deadline = \"18s\"\n"+line, 1)+fields)
	}
	for name, c := range map[string]struct {
		p    *Profile
		want string
	}{
		"nothing":        {of(t, e411), ""},
		"no information": {with("unknown = \"no-information\"\n", ""), "H|\\^&|||||||||TSDWN^REPLY\rL|1|I\r"},
		"order": {with("unknown = \"order\"\n", "[[answer.unknown_field]]\npath = \"O.26\"\nis = \"Y\"\n"),
			"H|\\^&|||||||||TSDWN^REPLY\rP|1\rO|1|S1|||R||||||||||||||||||||Y\rL|1|N\r"},
	} {
		got, err := c.p.Answer(message, c.p.Queries(message)[0], nil, site)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %q, want %q, %v", name, got, c.want, err)
		}
	}
}

// What ARCHITECT gets for a specimen without orders: its query, with another state.
// GeneXpert and Access have their names in the answer, and a terminator of their own.
func TestAnswerGivesBackWhatTheQueryHad(t *testing.T) {
	p := of(t, strings.Replace(e411, "deadline = \"18s\"\n", "unknown = \"query\"\n", 1)+`
[[answer.field]]
path = "H.5"
is = "{H.10}"
[[answer.field]]
path = "H.10"
is = "{H.5}"
[[answer.unknown_field]]
path = "Q.3.2"
is = "{specimen}"
[[answer.unknown_field]]
path = "Q.13"
is = "X"
[[answer.unknown_field]]
path = "L.3"
is = "F"
`)
	message := []byte("H|@^\\|||XPERT^A B^4.8|||||LIS\rQ|1|^^S1\rL|1\r")
	for name, c := range map[string]struct {
		work []record.Work
		want string
	}{
		"nothing": {nil, "H|@^\\|||LIS|||||XPERT^A B^4.8|TSDWN^REPLY\rQ|1|^S1||||||||||X\rL|1|F\r"},
		"work":    {[]record.Work{{Specimen: "S1", Tests: []string{"A"}}}, "H|@^\\|||LIS|||||XPERT^A B^4.8|TSDWN^REPLY\rP|1\rO|1|S1||^^^A|R\rL|1|N\r"},
	} {
		got, err := p.Answer(message, p.Queries(message)[0], c.work, site)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %q, want %q, %v", name, got, c.want, err)
		}
	}
}

// One record for each test, and several specimens in one answer.
func TestAnswerPerTest(t *testing.T) {
	p := of(t, strings.Replace(e411, "deadline = \"18s\"\n", "per = \"test\"\n", 1))
	message := []byte("H|\\^&\rQ|1|^^S1\\^^S2\rL|1\r")
	q := p.Queries(message)[0]
	got, err := p.Answer(message, q, []record.Work{{Specimen: "S1", Tests: []string{"A", "B"}}, {Specimen: "S2", Tests: []string{"C"}}}, site)
	if want := "P|1\rO|1|S1||^^^A|R\rO|2|S1||^^^B|R\rP|2\rO|1|S2||^^^C|R\rL|1|N\r"; err != nil || !strings.HasSuffix(string(got), want) {
		t.Errorf("%q, want …%q, %v", got, want, err)
	}
}

// Work for a specimen that was not asked for is never handed out.
func TestWorkOfAnotherSpecimen(t *testing.T) {
	p := of(t, e411)
	message := []byte("H|\\^&\rQ|1|^^S1\rL|1\r")
	if got, err := p.Answer(message, p.Queries(message)[0], []record.Work{{Specimen: "S2", Tests: []string{"A"}}}, site); err == nil {
		t.Errorf("%q", got)
	}
}

// Identifiers with blanks, delimiters, control characters, names and 200 characters:
// asked for as they are, and no answer is broken by them.
func TestStrangeIdentifiers(t *testing.T) {
	p := of(t, e411)
	for _, id := range []string{"A B", "A|B", "A^B\\C&D", "Nguyễn Văn A", "x\x01\x02\x03\x04\x05y", strings.Repeat("9", 200), "\r\n"} {
		asked := e1394.Standard.NewRecord("Q")
		if err := asked.Set("3.3", id); err != nil {
			t.Fatal(err)
		}
		query := []byte("H|\\^&\r" + string(asked.Bytes) + "\rL|1\r")
		q := p.Queries(query)[0]
		if strings.TrimSpace(id) == "" {
			if len(q.Specimens) != 0 {
				t.Errorf("%q is asked for", q.Specimens)
			}
			continue
		}
		if len(q.Specimens) != 1 || q.Specimens[0] != id {
			t.Errorf("%q is asked for as %q", id, q.Specimens)
		}
		got, err := p.Answer(query, q, []record.Work{{Specimen: id, Tests: []string{"A"}}}, site)
		if err != nil {
			t.Errorf("%q: %v", id, err)
			continue
		}
		m, err := e1394.Parse(got)
		if err != nil || len(m.Records) != 4 {
			t.Errorf("%q: %d records in %q, %v", id, len(m.Records), got, err)
			continue
		}
		if back := m.Records[2].Get("3"); back != id {
			t.Errorf("%q comes back as %q", id, back)
		}
		for _, b := range got {
			if b < ' ' && b != '\r' {
				t.Errorf("%q: a control character goes out: %q", id, got)
				break
			}
		}
	}
	// What is asked for is not shortened and not read as something else.
	message := []byte("H|\\^&\rQ|1|^^" + strings.Repeat("9", 200) + "\rL|1\r")
	if q := p.Queries(message); len(q) != 1 || q[0].Specimens[0] != strings.Repeat("9", 200) {
		t.Errorf("%+v", q)
	}
}

func TestQueryForEverything(t *testing.T) {
	p := of(t, e411)
	q := p.Queries([]byte("H|\\^&\rQ|1|^^ALL||ALL\rL|1\r"))[0]
	if !q.All || len(q.Specimens) != 0 || len(q.Tests) != 0 {
		t.Errorf("%+v", q)
	}
	// All that is to be done, where the specimen has a component of its own.
	if q := p.Queries([]byte("H|\\^&\rQ|1|ALL||||||||||O\rL|1\r"))[0]; !q.All || len(q.Specimens) != 0 {
		t.Errorf("%+v", q)
	}
	many := "H|\\^&\rQ|1|" + strings.Repeat("^^S\\", 1000) + "\rL|1\r"
	if q := p.Queries([]byte(many))[0]; len(q.Specimens) != 1 { // the same one
		t.Errorf("%d specimens", len(q.Specimens))
	}
}

func TestBadTablesAreSaid(t *testing.T) {
	for tables, want := range map[string]string{
		"[query]\nspecimen = \"Q.3\"\n":                                                   "source is missing",
		"[query]\nsource = \"x\"\n":                                                       "specimen is missing",
		"[query]\nsource = \"x\"\nspecimen = \"O.3\"\n":                                   "bad path",
		"[query]\nsource = \"x\"\nspecimen = \"Q.3[2]\"\n":                                "bad path",
		"[answer]\nsource = \"x\"\n":                                                      "no field has {test}",
		"[answer]\nsource = \"x\"\nper = \"x\"\n":                                         "is none of",
		"[answer]\nsource = \"x\"\ndeadline = \"soon\"\n":                                 "no duration",
		"[answer]\nsource = \"x\"\n[[answer.field]]\npath = \"H.2\"\nis = \"{test}\"\n":   "no field",
		"[answer]\nsource = \"x\"\n[[answer.field]]\npath = \"O.5\"\nis = \"{tset}\"\n":   "none of the words",
		"[answer]\nsource = \"x\"\nunknown = \"order\"\n":                                 "belong together",
		"[answer]\nsource = \"x\"\nunknown = \"query\"\n":                                 "belong together",
		"[answer]\nsource = \"x\"\n[[answer.field]]\npath = \"Q.3\"\nis = \"x\"\n":        "unknown = \"query\"",
		"[answer]\nsource = \"x\"\n[[answer.field]]\npath = \"H.5.1\"\nis = \"{H.10}\"\n": "a whole field",
		"[link]\nchecksum = \"none\"\n":                                                   "source is missing",
		"[link]\nsource = \"x\"\nchecksum = \"md5\"\n":                                    "is none of",
		"[link]\nsource = \"x\"\nframe_text = 99999\n":                                    "is not 1 to",
		"[hl7]\nsource = \"x\"\n":                                                         "another protocol",
		"[poct1a]\nsource = \"x\"\n":                                                      "another protocol",
		"[text]\nsource = \"x\"\n":                                                        "another protocol",
		"[au]\nsource = \"x\"\n":                                                          "another protocol",
	} {
		_, err := Load(fstest.MapFS{"test/profile.toml": {Data: []byte(asking + tables)}}, "test")
		if err == nil || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q: %v, want %q", tables, err, want)
		}
	}
}

func FuzzAsk(f *testing.F) {
	f.Add([]byte("H|\\^&\rQ|1|^^S1\\^^S2||ALL\rL|1\r"), "A", "Nguyễn")
	f.Add([]byte("H|`^&\rQ|1|^1007149`1007152\rL|1\r"), "|^\\&", "\x02\x03")
	p, err := Load(fstest.MapFS{"test/profile.toml": {Data: []byte(asking + e411)}}, "test")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, message []byte, test, name string) {
		for _, q := range p.Queries(message) {
			if len(q.Specimens) == 0 {
				continue
			}
			got, err := p.Answer(message, q, []record.Work{{Specimen: q.Specimens[0], Tests: []string{test}, Patient: &record.Patient{Name: record.Name{Family: name}}}}, site)
			if err != nil {
				continue
			}
			for _, b := range got {
				if b < ' ' && b != '\r' && b != message[1] {
					t.Fatalf("a control character goes out: %q", got)
				}
			}
		}
	})
}
