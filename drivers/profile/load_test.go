package profile

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"
)

func TestBuiltinProfilesLoad(t *testing.T) {
	all, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"erba-xl", "generic-astm", "generic-hl7", "mindray-bc-5380", "roche-cobas-e411", "sysmex-xn-l"} {
		if all[id] == nil {
			t.Errorf("profile %s is missing", id)
		}
	}
}

// good is the smallest profile that loads.
const good = `id = "maker-model"
name = "Model"
revision = 1
protocol = "astm"
evidence = "manual"
source = "the manual"
transport = ["serial"]
two_way = "query"
parts_source = "section 1"
[parts]
specimen = "O.3"
code = "R.3.4"
value = "R.4"
[[tests]]
code = "GLU"
loinc = "2345-7"
source = "section 2"
`

func load(text string) (*Profile, error) {
	return Load(fstest.MapFS{"maker-model/profile.toml": {Data: []byte(text)}}, "maker-model")
}

func TestSmallestProfileLoads(t *testing.T) {
	p, err := load(good)
	if err != nil {
		t.Fatal(err)
	}
	if p.ID() != "maker-model" || p.Protocol() != "astm" || p.SiteCodes() || len(p.Codes()) != 1 {
		t.Errorf("%+v", p.f)
	}
}

// TestLoadErrorsNameThePlace: each mistake is an error that says what and where.
func TestLoadErrorsNameThePlace(t *testing.T) {
	for _, test := range []struct{ name, old, new, place, what string }{
		{"syntax", `name = "Model"`, `name = Model`, "line 2", ""},
		{"unknown key", `name = "Model"`, `naem = "Model"`, "line 2", `unknown key "naem"`},
		{"unknown key in a table", "code = \"GLU\"\n", "code = \"GLU\"\nfactor = 2\n", "line 16", "factor"},
		{"id", "maker-model", "Maker Model", "id", "not of the form"},
		{"id of another folder", `id = "maker-model"`, `id = "maker-other"`, "id", "folder"},
		{"no name", `name = "Model"`, ``, "name", "missing"},
		{"revision", "revision = 1", "revision = 0", "revision", "first is 1"},
		{"protocol", `"astm"`, `"ftp"`, "protocol", "none of"},
		{"no text format", `"astm"`, `"text"`, "text", "missing"},
		{"no layout", `"astm"`, `"beckman-au"`, "au", "missing"},
		{"evidence", `"manual"`, `"hearsay"`, "evidence", "none of"},
		{"no source", `source = "the manual"`, ``, "source", "missing"},
		{"no source of parts", `parts_source = "section 1"`, ``, "parts_source", "missing"},
		{"no source of a test", `source = "section 2"`, ``, `[[tests]] number 1 (code "GLU")`, "source is missing"},
		{"no code", `code = "R.3.4"`, ``, "parts.code", "missing"},
		{"no specimen", `specimen = "O.3"`, ``, "parts.specimen", "missing"},
		{"bad path", `"R.3.4"`, `"R.3.x"`, "line 12", "bad path"},
		{"record Q is no result's", `"R.3.4"`, `"Q.3"`, "line 12", "bad path"},
		{"second part of a path", `"R.3.4"`, `"R.3.4 + OBX-3"`, "parts.code", "protocol"},
		{"named field in LIS02", `"R.3.4"`, `"R.code"`, "parts.code", "protocol"},
		{"path of the other protocol", `"R.3.4"`, `"OBX-3"`, "parts.code", "protocol"},
		{"bad LOINC", `"2345-7"`, `"GLUCOSE"`, "[[tests]] number 1", "LOINC"},
		{"duplicate code", "[[tests]]", "[[tests]]\ncode = \"GLU\"\nsource = \"section 2\"\n[[tests]]", "[[tests]] number 2", "duplicate code"},
		{"no tests", "[[tests]]\ncode = \"GLU\"\nloinc = \"2345-7\"\nsource = \"section 2\"\n", "", "tests", "no test"},
		{"site codes without a source", `name = "Model"`, "name = \"Model\"\ncodes = \"site\"", "codes_source", "missing"},
		{"site codes and tests", `name = "Model"`, "name = \"Model\"\ncodes = \"site\"\ncodes_source = \"x\"", "tests", "although"},
		{"codes", `name = "Model"`, "name = \"Model\"\ncodes = \"some\"", "codes", "neither"},
		{"bad pattern", `name = "Model"`, "name = \"Model\"\nsender = '('", "line 3", "bad pattern"},
		{"sender group", `name = "Model"`, "name = \"Model\"\nsender = '(?P<owner>.)'", "sender", "owner"},
		{"code form without its source", `name = "Model"`, "name = \"Model\"\ncode_form = '(.)/.*'", "code_form_source", "missing"},
		{"specimen form without its source", `name = "Model"`, "name = \"Model\"\nspecimen_form = '0*(.*)'", "specimen_form_source", "missing"},
		{"specimen form without a group", `name = "Model"`, "name = \"Model\"\nspecimen_form = '.'\nspecimen_form_source = \"x\"", "specimen_form", "one group"},
		{"code form without a group", `name = "Model"`, "name = \"Model\"\ncode_form = '.'\ncode_form_source = \"x\"", "code_form", "one group"},
		{"control without a path", "[[tests]]", "[[control]]\nis = \"Q\"\nsource = \"x\"\n[[tests]]", "[[control]] number 1", "path"},
		{"control without a text", "[[tests]]", "[[control]]\npath = \"O.12\"\nsource = \"x\"\n[[tests]]", "[[control]] number 1", "is and matches"},
		{"control with both", "[[tests]]", "[[control]]\npath = \"O.12\"\nis = \"Q\"\nmatches = 'Q'\nsource = \"x\"\n[[tests]]", "[[control]] number 1", "is and matches"},
		{"control without a source", "[[tests]]", "[[control]]\npath = \"O.12\"\nis = \"Q\"\n[[tests]]", "[[control]] number 1", "source"},
		{"ignored test", "[[tests]]", "[[ignore]]\ncode = 'G.*'\nsource = \"x\"\n[[tests]]", "[[tests]] number 1", "no result"},
		{"ignored twice", "[[tests]]", "[[ignore]]\ncode = 'X'\nsource = \"x\"\n[[ignore]]\ncode = 'X'\nsource = \"x\"\n[[tests]]", "[[ignore]] number 2", "twice"},
		{"ignored without a code", "[[tests]]", "[[ignore]]\nsource = \"x\"\n[[tests]]", "[[ignore]] number 1", "code"},
		{"no transport", `transport = ["serial"]`, "", "transport", "missing"},
		{"transport", `["serial"]`, `["pigeon"]`, "transport", "pigeon"},
		{"two-way", `"query"`, `"maybe"`, "two_way", "maybe"},
		{"ignored by a path without a text", "[[tests]]", "[[ignore]]\npath = \"R.3.8\"\nsource = \"x\"\n[[tests]]", "[[ignore]] number 1", "belong together"},
		{"sender elsewhere", "[parts]", "[parts]\nsender = \"O.3\"", "parts.sender", "header"},
		{"variant without a suffix", "[[tests]]", "[[variant]]\npath = \"R.3.8\"\nis = \"I\"\nsource = \"x\"\n[[tests]]", "[[variant]] number 1", "suffix"},
		{"remark without a group", "[[tests]]", "[[remark]]\nmatches = 'Lot:.*'\npart = \"control_lot\"\nsource = \"x\"\n[[tests]]", "[[remark]] number 1", "one group"},
		{"remark of no part", "[[tests]]", "[[remark]]\nmatches = 'Lot:(.*)'\npart = \"specimen\"\nsource = \"x\"\n[[tests]]", "[[remark]] number 1", "specimen"},
		{"value form without a group", "[[tests]]", "[[value]]\nmatches = '.*'\nsource = \"x\"\n[[tests]]", "[[value]] number 1", "no group"},
		{"value form of another group", "[[tests]]", "[[value]]\nmatches = '(?P<unit>.*)'\nsource = \"x\"\n[[tests]]", "[[value]] number 1", "unit"},
		{"status without a meaning", "[[tests]]", "[[status]]\nis = \"V\"\nsource = \"x\"\n[[tests]]", "[[status]] number 1", "means"},
		{"flag twice", "[[tests]]", "[[flag]]\nis = \"W\"\ncomment = \"a\"\nsource = \"x\"\n[[flag]]\nis = \"W\"\nmeans = \"A\"\nsource = \"x\"\n[[tests]]", "[[flag]] number 2", "twice"},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := strings.Replace(good, test.old, test.new, 1)
			if text == good {
				t.Fatalf("%q is not in the profile", test.old)
			}
			_, err := load(text)
			if err == nil {
				t.Fatal("the profile loads")
			}
			var le *LoadError
			if !errors.As(err, &le) {
				t.Fatalf("%T is no *LoadError", err)
			}
			if s := err.Error(); !strings.Contains(s, "maker-model/profile.toml: "+test.place) || !strings.Contains(s, test.what) {
				t.Errorf("%q does not name the place %q and say %q", s, test.place, test.what)
			}
		})
	}
}

func TestAllMistakesAreNamedAtOnce(t *testing.T) {
	text := strings.Replace(good, `name = "Model"`, "", 1)
	text = strings.Replace(text, `source = "section 2"`, "", 1)
	_, err := load(text)
	if err == nil || strings.Count(err.Error(), "profile: ") != 2 {
		t.Errorf("%v", err)
	}
}

func TestMissingFolderIsAnError(t *testing.T) {
	if _, err := Load(fstest.MapFS{}, "maker-model"); err == nil {
		t.Error("no error")
	}
}
