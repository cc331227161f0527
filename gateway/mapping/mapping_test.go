package mapping_test

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"nhip/gateway/config"
	"nhip/gateway/mapping"
	"nhip/gateway/reason"
	"nhip/hl7"
)

// head begins a map of one rule.
const head = "name = \"m\"\n"

var received = time.Date(2026, 1, 14, 8, 0, 0, 0, time.UTC)

func read(t *testing.T, text string) *mapping.Map {
	t.Helper()
	m, problems := config.ReadMap([]byte(text), "m.toml", time.UTC)
	if !config.Good(problems) {
		t.Fatalf("%v\n%s", problems, text)
	}
	return m
}

// ORU is a result as a laboratory sends it; lines end as in the file of a test.
const oru = `MSH|^~\&|LAB|BV|NHIP||20260114080000+0700||ORU^R01^ORU_R01|M1|P|2.5.1||||||UNICODE UTF-8
PID|1||0042^^^HIS^MR~012345678901^^^VNM^NI||Nguyễn Thị Ánh||1980|F
ORC|RE|P1
OBR|1|P1|S1|CBC^Công thức máu|||20251231080000
OBX|1|NM|HGB^Hb||13.5|g/dL|||||F
NTE|1||một
OBX|2|NM|WBC||6.4|10*9/L|||||F
ORC|RE|P2
OBR|2|P2|S1|GLU|||20260102080000
OBX|3|NM|GLU-P||5.1|mmol/L|||||F
ZXX|a|b`

func message(lines string) []byte {
	return []byte(strings.ReplaceAll(strings.TrimSpace(lines), "\n", "\r") + "\r")
}

// Each rule, on its own, and the fields that are other after it.
func TestEachStepChangesWhatItSaysAndNothingElse(t *testing.T) {
	const sexes = "[[table]]\nname = \"t\"\nrow = [{from = \"F\", to = \"Nữ\"}, {from = \"HGB\", to = \"718-7\"}, {from = \"WBC\", to = \"6690-2\"}, {from = \"GLU-P\", to = \"GLU\"}]\n"
	for _, test := range []struct{ name, rule, want string }{
		{"a text", `do = "set"
at = "PV1-3"
value = "KHOA|A"
missing = "add"`, `PV1="PV1||||" PV1`},
		{"set", `do = "set"
at = "PID-8"
value = "A^B"`, `PID-8="A^B"`},
		{"components", `do = "set"
at = "OBR[2]-4"
values = ["1", "hai", "99X"]`, `OBR[2]-4="1^hai^99X"`},
		{"every one", `do = "set"
at = "OBX[*]-11"
value = "C"`, `OBX[1]-11="C" OBX[2]-11="C" OBX[3]-11="C"`},
		{"every repetition", `do = "set"
at = "PID-3[*].6"
value = "X"`, `PID-3="0042^^^HIS^MR^X~012345678901^^^VNM^NI^X"`},
		{"copy", `do = "copy"
from = "PID-3[2].1"
at = "PID-19"`, `PID-19="012345678901"`},
		{"copy with its parts", `do = "copy"
from = "PID-3"
at = "PID-2"`, `PID-2="0042^^^HIS^MR~012345678901^^^VNM^NI"`},
		{"nothing to copy", `do = "copy"
from = "PID-4"
at = "PID-3"`, ``},
		{"move", `do = "move"
from = "PID-3[2].1"
at = "PID-19"`, `PID-3="0042^^^HIS^MR~^^^VNM^NI" PID-19="012345678901"`},
		{"delete a part", `do = "delete"
at = ["PID-3[2].4", "PID-7"]`, `PID-3="0042^^^HIS^MR~012345678901^^^^NI" PID-7=""`},
		{"delete a repetition", `do = "delete"
at = "PID-3[1]"`, `PID-3="012345678901^^^VNM^NI"`},
		{"delete repetitions by condition", `do = "delete"
each = "PID-3[*]"
at = "PID-3"
when = [{at = "PID-3.5", is = "NI"}]`, `PID-3="0042^^^HIS^MR"`},
		{"delete segments", `do = "delete"
at = ["NTE[*]", "ZXX"]`, `NTE= ZXX=`},
		{"delete segments by condition", `do = "delete"
each = "OBX"
at = "OBX"
when = [{at = "OBX-3.1", is = ["HGB", "GLU-P"]}]`, `OBX`},
		{"look up in place", `do = "look-up"
table = "t"
at = "OBX[*]-3.1"`, `OBX[1]-3="718-7^Hb" OBX[2]-3="6690-2" OBX[3]-3="GLU"`},
		{"look up elsewhere", `do = "look-up"
table = "t"
from = "PID-8"
at = "PID-10"`, `PID-10="Nữ"`},
		{"look up for each", `do = "look-up"
each = "OBX"
table = "t"
from = "OBX-3.1"
at = "OBX-3.4"`, `OBX[1]-3="HGB^Hb^^718-7" OBX[2]-3="WBC^^^6690-2" OBX[3]-3="GLU-P^^^GLU"`},
		{"split", `do = "split"
from = "PID-5"
at = ["PID-5.1", "PID-5.2"]`, `PID-5="Nguyễn^Thị Ánh"`},
		{"split from the end", `do = "split"
from = "PID-5"
at = ["PID-5.1", "PID-5.2"]
last = true`, `PID-5="Nguyễn Thị^Ánh"`},
		{"join", `do = "join"
from = ["OBX-3.1", "OBX-3.2", "OBX-3.3"]
by = "/"
at = "OBX-3.2"`, `OBX[1]-3="HGB^HGB/Hb"`},
		{"upper", `do = "letters"
as = "upper"
at = "PID-5"`, `PID-5="NGUYỄN THỊ ÁNH"`},
		{"ASCII", `do = "letters"
as = "ascii"
at = "PID-5"`, `PID-5="Nguyen Thi Anh"`},
		{"pad", `do = "pad"
width = 6
at = "PID-3.1"`, `PID-3="000042^^^HIS^MR~012345678901^^^VNM^NI"`},
		{"pad behind", `do = "pad"
width = 6
with = "-"
side = "right"
at = "PID-3.1"`, `PID-3="0042--^^^HIS^MR~012345678901^^^VNM^NI"`},
		{"trim", `do = "trim"
with = "0"
side = "left"
at = "PID-3[*].1"`, `PID-3="42^^^HIS^MR~12345678901^^^VNM^NI"`},
		{"cut", `do = "cut"
width = 3
at = "PID-5"`, `PID-5="Ngu"`},
		{"cut in front", `do = "cut"
width = 3
side = "left"
at = "PID-5"`, `PID-5="Ánh"`},
		{"replace", `do = "replace"
pattern = '^(\w+)-P$'
value = "${1}_P"
at = "OBX[*]-3"`, `OBX[3]-3="GLU_P"`},
		{"add", `do = "add"
each = "OBR"
at = "ZDS"
after = "OBR"`, `ZDS[1]+ ZDS[2]+`},
		{"by the segment before", `do = "copy"
each = "OBX"
from = "OBR-2"
at = "OBX-21"`, `OBX[1]-21="P1" OBX[2]-21="P1" OBX[3]-21="P2"`},
		{"what belongs to it", `do = "set"
each = "OBR"
at = "OBX[*]-15"
value = "x"
when = [{at = "ORC-2", is = "P2"}]`, `OBX[3]-15="x"`},
		{"a group of one's own", `do = "set"
each = "ORC"
until = "ZXX"
at = "OBX[*]-15"
value = "x"
when = [{at = "OBX[*]-3", is = "GLU-P"}]`, `OBX[3]-15="x"`},
		{"another type", `do = "set"
for = "ADT^A08"
at = "PID-8"
value = "x"`, ``},
		{"present", `do = "set"
at = "PID-8"
value = "x"
when = [{at = "PID-7", present = "yes"}, {at = "PID-9", present = "no"}, {at = "ZXX", present = "yes"}, {at = "PV1", present = "no"}]`, `PID-8="x"`},
		{"not", `do = "set"
at = "PID-8"
value = "x"
when = [{at = "PID-3[*].5", not = ["NI", "HC"]}]`, ``},
		{"matches", `do = "set"
at = "PID-8"
value = "x"
when = [{at = "PID-3[*].1", matches = '^\d{12}$'}, {at = "PID-4", is = ""}]`, `PID-8="x"`},
	} {
		m := read(t, head+sexes+"[[rule]]\n"+test.rule)
		got := m.Try(message(oru), hl7.CharsetRule{}, received)
		if got.Held != nil || got.Dropped != nil {
			t.Errorf("%s: %+v %+v", test.name, got.Held, got.Dropped)
			continue
		}
		before, _ := hl7.Parse(message(oru))
		after, err := hl7.Parse(got.Body)
		if err != nil {
			t.Fatal(err)
		}
		if test.want == "" {
			if got.Changed || !bytes.Equal(got.Body, message(oru)) || len(got.Fired) > 0 {
				t.Errorf("%s: changed: %q", test.name, got.Body)
			}
			continue
		}
		if len(got.Fired) == 0 {
			t.Errorf("%s: no rule is said to have fired", test.name)
		}
		var places []string
		for _, d := range mapping.Diff(before, after, 0) {
			places = append(places, d.At)
			// The whole field, as it stands there.
			if want := d.At + `="` + d.After + `"`; test.want != "OBX" && strings.Contains(d.At, "-") && !strings.Contains(test.want, want) {
				t.Errorf("%s: %s, not %s", test.name, want, test.want)
			}
		}
		if test.want == "OBX" {
			if n := len(after.Segments("OBX")); n != 1 || after.Get("OBX-3") != "WBC" {
				t.Errorf("%s: %q", test.name, got.Body)
			}
			continue
		}
		for _, w := range strings.FieldsFunc(test.want, func(r rune) bool { return r == ' ' }) {
			if at, _, ok := strings.Cut(w, "="); ok && !slices.Contains(places, at) && !strings.Contains(at, "PV1") {
				t.Errorf("%s: %s is as before", test.name, at)
			}
		}
	}
}

func TestSetEscapesWhatSeparates(t *testing.T) {
	m := read(t, head+"[[rule]]\ndo = \"set\"\nat = \"PV1-3\"\nvalue = \"A|B^C\"\nmissing = \"add\"\n")
	got := m.Try(message(oru), hl7.CharsetRule{}, received)
	if !bytes.HasSuffix(got.Body, []byte("PV1|||A\\F\\B\\S\\C\r")) {
		t.Errorf("%q", got.Body)
	}
	if len(got.Fired) != 2 || got.Fired[0].Do != mapping.Add || got.Fired[1].At != "PV1-3" || got.Fired[1].After != "A|B^C" {
		t.Errorf("%+v", got.Fired)
	}
}

// The code of a day, by the time of receipt or by a field; and what is done about a
// code that the table does not have.
func TestTables(t *testing.T) {
	table := func(unknown, rule string) *mapping.Map {
		return read(t, head+`[[table]]
name = "price"
`+unknown+`
row = [
 {from = "CBC", to = ["01", "cũ"], until = "2025-12-31"},
 {from = "CBC", to = ["02", "mới"], since = "2026-01-01"},
]
[[rule]]
name = "code"
do = "look-up"
table = "price"
each = "OBR"
from = "OBR-4.1"
at = ["OBR-4.4", "OBR-4.5"]
`+rule)
	}
	apply := func(m *mapping.Map) (string, mapping.Result) {
		r := m.Apply(message(oru), hl7.CharsetRule{}, received)
		after, err := hl7.Parse(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return after.Get("OBR-4") + " " + after.Get("OBR[2]-4"), r
	}
	if got, _ := apply(table(`unknown = "pass"`, "")); got != "CBC^Công thức máu^^02^mới GLU" {
		t.Error(got)
	}
	if got, _ := apply(table(`unknown = "pass"`, `on = "OBR-7"`)); got != "CBC^Công thức máu^^01^cũ GLU" {
		t.Error(got)
	}
	if got, _ := apply(table("unknown = \"default\"\ndefault = [\"99\", \"khác\"]", "")); got != "CBC^Công thức máu^^02^mới GLU^^^99^khác" {
		t.Error(got)
	}
	_, r := apply(table("", ""))
	if r.Held == nil || r.Held.Why.Code != reason.MapNoCode || r.Held.Why.In(reason.English) != "the map m, rule code: the code at OBR[2]-4.1 is not in the table price: GLU" {
		t.Errorf("%+v", r.Held)
	}
	if strings.Contains(r.Held.Why.String(), "GLU") {
		t.Error("the code stands in the log")
	}
	if _, r := apply(table("", `on = "PID-5"`)); r.Held == nil || r.Held.Why.Code != reason.MapNoPlace {
		t.Errorf("a name is no day: %+v", r.Held)
	}
}

func TestMessagesAreDroppedAndHeldInWords(t *testing.T) {
	m := read(t, head+`[[rule]]
name = "kiểm chuẩn"
do = "drop"
why = "control material"
when = [{at = "PID-8", is = "F"}]
[[rule]]
do = "hold"
why = "never comes here"
`)
	if r := m.Apply(message(oru), hl7.CharsetRule{}, received); r.Dropped == nil || r.Dropped.Rule != "kiểm chuẩn" || r.Dropped.Text != "control material" || r.Held != nil {
		t.Errorf("%+v %+v", r.Dropped, r.Held)
	}
	for rule, want := range map[string]string{
		"do = \"hold\"\nwhy = \"no ward\"":                                                                   "the map m, rule 1, holds it: no ward",
		"do = \"set\"\nat = \"PV1-3\"\nvalue = \"x\"":                                                        "the map m, rule 1: the message has no PV1",
		"do = \"set\"\nat = \"OBX[9]-3\"\nvalue = \"x\"":                                                     "the map m, rule 1: the message has no OBX",
		"do = \"set\"\nat = \"OBX[9]-3\"\nvalue = \"x\"\nmissing = \"add\"":                                  "the map m, rule 1: the message has no OBX[9]-3",
		"do = \"add\"\nat = \"ZDS\"\nafter = \"IPC\"":                                                        "the map m, rule 1: the message has no IPC",
		"do = \"look-up\"\ntable = \"t\"\nat = \"PID-8\"\n[[table]]\nname = \"t\"\n":                         "the map m, rule 1: the code at PID-8 is not in the table t: F",
		"do = \"set\"\nat = \"PID-5\"\nvalue = \"\\u65e5\"\n[[rule]]\nname=\"x\"\ndo=\"hold\"\nwhy=\"fine\"": "the map m, rule x, holds it: fine",
	} {
		if r := read(t, head+"[[rule]]\n"+rule).Apply(message(oru), hl7.CharsetRule{}, received); r.Held == nil || r.Held.Why.In(reason.English) != want {
			t.Errorf("%+v, not %s", r.Held, want)
		}
	}
	skip := read(t, head+"[[rule]]\ndo = \"set\"\nat = \"PV1-3\"\nvalue = \"x\"\nmissing = \"skip\"\n")
	if r := skip.Apply(message(oru), hl7.CharsetRule{}, received); r.Held != nil || r.Changed {
		t.Errorf("%+v", r)
	}
	latin := bytes.Replace(message(oru), []byte("UNICODE UTF-8"), []byte("8859/1"), 1)
	set := read(t, head+"[[rule]]\ndo = \"set\"\nat = \"PID-5\"\nvalue = \"Ễ\"\n")
	if r := set.Apply(latin, hl7.CharsetRule{}, received); r.Held == nil || r.Held.Why.Code != reason.MapNotWritten {
		t.Errorf("a letter that the set does not have: %+v", r)
	}
	if r := set.Apply([]byte("no message"), hl7.CharsetRule{}, received); r.Held == nil || r.Held.Why.Code != reason.MapUnreadable {
		t.Errorf("%+v", r)
	}
	other := read(t, head+"for = \"ADT\"\n[[rule]]\ndo = \"drop\"\nwhy = \"x\"\n")
	if r := other.Apply(message(oru), hl7.CharsetRule{}, received); r.Dropped != nil || r.Changed {
		t.Errorf("%+v", r)
	}
}

// Numbers are converted exactly, by the unit and the code, with their range; what was
// sent stays beside; what cannot be converted is never guessed.
func TestResultsAreConvertedByWrittenFactors(t *testing.T) {
	const units = `[[units]]
name = "u"
%s
row = [
 {from = "mg/dL", to = "mmol/L", factor = "0.05551", decimals = 2, code = "GLU"},
 {from = "mg/dL", to = "g/L", factor = "0.01", decimals = 1},
 {from = "10*9/L", to = "G/L"},
]
[[rule]]
name = "SI"
do = "scale"
units = "u"
keep = "OBX-13"
`
	apply := func(policy, obx string) (string, *mapping.Stop) {
		m := read(t, head+fmt.Sprintf(units, policy))
		r := m.Apply(message("MSH|^~\\&|A||||||ORU^R01|1|P|2.5.1\nOBX|1|"+obx), hl7.CharsetRule{}, received)
		_, after, _ := strings.Cut(strings.TrimSuffix(string(r.Body), "\r"), "OBX|1|")
		return after, r.Held
	}
	for obx, want := range map[string]string{
		"NM|GLU||99|mg/dL|70-110|||||F":        "NM|GLU||5.50|mmol/L|3.89-6.11|||||F|99 mg/dL",
		"NM|CHOL||185|mg/dL|<200|||||F":        "NM|CHOL||1.9|g/L|<2.0|||||F|185 mg/dL", // 1.85: half away from zero
		"NM|CHOL||-5|mg/dL^x|||||F":            "NM|CHOL||-0.1|g/L^x|||||F||-5 mg/dL",
		"SN|GLU||>^400|mg/dL||||||F":           "SN|GLU||>^22.20|mmol/L||||||F|>^400 mg/dL",
		"NM|WBC||6.40|10*9/L|4 - 10|||||F":     "NM|WBC||6.40|G/L|4 - 10|||||F",
		"ST|WBC||nhiều|10*9/L||||||F":          "ST|WBC||nhiều|G/L||||||F",
		"NM|GLU||12345678901234567890.1|mg/dL": "NM|GLU||685308635807530863.58|mmol/L|||||||12345678901234567890.1 mg/dL",
		"NM|GLU||5|":                           "NM|GLU||5|",
	} {
		if got, held := apply("", obx); held != nil || strings.ReplaceAll(got, "\\S\\", "^") != want {
			t.Errorf("%s became %s (%v), not %s", obx, got, held, want)
		}
	}
	for obx, want := range map[string]string{
		"ST|GLU||>400|mg/dL":           "the map m, rule SI: the value at OBX-5 is no number that can be converted",
		"NM|GLU||99|mg/dL|see comment": "the value at OBX-7 is no number that can be converted",
		"NM|GLU||99|mg%":               "the code at OBX-6.1 is not in the table u: mg%",
	} {
		if _, held := apply("", obx); held == nil || !strings.Contains(held.Why.In(reason.English), want) {
			t.Errorf("%s: %+v", obx, held)
		}
	}
	if got, held := apply(`unknown = "pass"`, "NM|GLU||99|mg%"); held != nil || got != "NM|GLU||99|mg%" {
		t.Errorf("%s %v", got, held)
	}
	for text, want := range map[string]string{
		"[[units]]\nname = \"u\"\nrow = [{from = \"a\", to = \"b\", factor = \"0.1\"}]":               `factor is a decimal number`,
		"[[units]]\nname = \"u\"\nrow = [{from = \"a\", to = \"b\", factor = \"1e3\", decimals = 1}]": `factor is a decimal number`,
		"[[units]]\nname = \"u\"\nrow = [{from = \"a\", to = \"b\", factor = \"0\", decimals = 1}]":   `factor is a decimal number`,
		"[[units]]\nname = \"u\"\nrow = [{from = \"a\", to = \"b\"}, {from = \"a\", to = \"c\"}]":     `"a" stands there twice`,
		"[[rule]]\ndo = \"scale\"\nunits = \"x\"":                                                     `there is no table "x"`,
		"[[units]]\nname = \"u\"\n[[rule]]\ndo = \"scale\"\nunits = \"u\"\nkeep = \"OBX-5\"":          `"OBX-5": keep is a field`,
		"[[units]]\nname = \"u\"\n[[rule]]\ndo = \"scale\"\nunits = \"u\"\nat = \"OBX-5\"":            `scale has no use for the key "at"`,
	} {
		_, problems := config.ReadMap([]byte(head+text), "m.toml", time.UTC)
		if !strings.Contains(fmt.Sprint(problems), want) {
			t.Errorf("%s: %v", text, problems)
		}
	}
}

// A message with very many places ends as held, not as an hour's work.
func TestTheWorkOnOneMessageIsBounded(t *testing.T) {
	m := read(t, head+"[[rule]]\ndo = \"set\"\nat = \"PID-3[*].2\"\nvalue = \"x\"\n")
	long := strings.Replace(oru, "~012345678901^^^VNM^NI", strings.Repeat("~1", 50_000), 1)
	if r := m.Apply(message(long), hl7.CharsetRule{}, received); r.Held == nil || r.Held.Why.Code != reason.MapTooMuch {
		t.Errorf("%+v", r.Held)
	}
}

func TestWhatIsWrongWithAMapIsToldWithItsLine(t *testing.T) {
	for text, want := range map[string]string{
		"x = 1":                                 `m.toml:1: unknown key "x"`,
		"name = \"m\"":                          `m.toml: note: the map has no tests`,
		"[[rule]]\n":                            `the key "name" is missing`,
		"name = \"m\"\n[[rule]]\ndo = \"loop\"": `m.toml:3: rule 1: do is "loop"; it may be "set" or `,
		head + "[[rule]]\ndo = \"set\"\nat = \"PID3\"\nvalue = \"x\"":                                                                                              `m.toml:4: rule 1: "PID3" is no place`,
		head + "[[rule]]\ndo = \"set\"\nat = \"MSH-10\"\nvalue = \"x\"":                                                                                            `m.toml:4: rule 1: MSH-10 belongs to the gateway`,
		head + "[[rule]]\ndo = \"delete\"\nat = \"MSH\"":                                                                                                           `MSH belongs to the gateway`,
		head + "[[rule]]\ndo = \"move\"\nat = \"PID-3\"\nfrom = \"MSH-18\"":                                                                                        `MSH-18 belongs to the gateway`,
		head + "[[rule]]\ndo = \"set\"\nvalue = \"x\"":                                                                                                             `set needs the key "at"`,
		head + "[[rule]]\ndo = \"drop\"\nwhy = \"x\"\nat = \"PID-3\"":                                                                                              `m.toml:5: rule 1: drop has no use for the key "at"`,
		head + "[[rule]]\ndo = \"copy\"\nat = \"PID-3.1\"\nfrom = \"PID-2\"":                                                                                       `"PID-2" cannot be put into "PID-3.1"`,
		head + "[[rule]]\ndo = \"copy\"\nat = \"PID-3\"\nfrom = \"OBX[*]-2\"":                                                                                      `copy: "OBX[*]-2" must be one place`,
		head + "[[rule]]\ndo = \"look-up\"\nat = \"PID-3\"\ntable = \"t\"":                                                                                         `there is no table "t"`,
		head + "[[rule]]\ndo = \"letters\"\nat = \"PID-3\"\nas = \"big\"":                                                                                          `as is "big"; it may be upper, lower, ascii`,
		head + "[[rule]]\ndo = \"replace\"\nat = \"PID-3\"\npattern = \"(\"":                                                                                       `"(" is no regular expression (RE2): missing closing )`,
		head + "[[rule]]\ndo = \"drop\"\nwhy = \"x\"\neach = \"PID-3\"":                                                                                            `"PID-3": each is the name of a segment`,
		head + "[[rule]]\ndo = \"drop\"\nwhy = \"x\"\nwhen = [{at = \"PID-3\"}]":                                                                                   `a condition says one or more of`,
		head + "[[rule]]\ndo = \"drop\"\nwhy = \"x\"\nfor = \"oru\"":                                                                                               `"oru" is no message type`,
		head + "[[table]]\nname = \"t\"\nrow = [{from = \"a\", to = \"1\"}, {from = \"a\", to = \"2\"}]":                                                           `table "t": "a" stands there twice for the same day`,
		head + "[[table]]\nname = \"t\"\nrow = [{from = \"a\", to = \"1\", since = \"2026-13-01\"}]":                                                               `"2026-13-01" is no day`,
		head + "[[table]]\nname = \"t\"\nrow = [{from = \"a\", to = \"1\"}, {from = \"b\", to = [\"1\", \"2\"]}]":                                                  `"b" has 2 texts in to, the others have 1`,
		head + "[[table]]\nname = \"t\"\nunknown = \"default\"\n":                                                                                                  `default belongs to unknown = "default"`,
		head + "[[rule]]\nname = \"a\"\ndo = \"drop\"\nwhy = \"x\"\n[[rule]]\nname = \"a\"\ndo = \"drop\"\nwhy = \"y\"":                                            `m.toml:7: rule "a": there are two rules "a"`,
		head + "[[test]]\nname = \"t\"\nin = \"MSH\"\n":                                                                                                            `a test says one of`,
		head + "[[test]]\nname = \"t\"\nin = \"x\"\nunchanged = true\n":                                                                                            `test "t": the message that goes in cannot be read`,
		head + "[[test]]\nname = \"t\"\nin = '''\nMSH|^~\\&|A||||||ADT^A08|1|P|2.5\nPID|1||7\n'''\nout = '''\nMSH|^~\\&|A||||||ADT^A08|1|P|2.5\nPID|1||8\n'''":     `test "t": PID-3 is "7", it should be "8"`,
		head + "[[rule]]\nname = \"d\"\ndo = \"drop\"\nwhy = \"x\"\n[[test]]\nname = \"t\"\nin = 'MSH|^~\\&|A||||||ADT^A08|1|P|2.5'\nunchanged = true":             `it is not sent, by rule "d"`,
		head + "[[rule]]\nname = \"d\"\ndo = \"hold\"\nwhy = \"x\"\nfor = \"ORU\"\n[[test]]\nname = \"t\"\nin = 'MSH|^~\\&|A||||||ADT^A08|1|P|2.5'\nholds = \"d\"": `test "t": it is sent`,
		head + "[[test]]\nname = \"t\"\nin = 'MSH|^~\\&|A||||||ADT^A08|1|P|2.5'\nholds = \"d\"":                                                                    `there is no rule "d"`,
	} {
		_, problems := config.ReadMap([]byte(text), "m.toml", time.UTC)
		var all []string
		for _, p := range problems {
			all = append(all, p.String())
			if p.In(reason.Vietnamese) == p.String() {
				t.Errorf("not in Vietnamese: %s", p)
			}
		}
		if !strings.Contains(strings.Join(all, "\n"), want) {
			t.Errorf("%s\n%v\nnot: %s", text, all, want)
		}
	}
	large := "name = \"" + strings.Repeat("x", mapping.MaxSize) + "\""
	if _, problems := config.ReadMap([]byte(large), "m.toml", time.UTC); len(problems) != 1 || !strings.Contains(problems[0].String(), "larger than 512 KiB") {
		t.Error(problems)
	}
}

// The map of the manual is read, and passes its tests.
func TestTheExampleOfTheManual(t *testing.T) {
	text, err := os.ReadFile("example.toml")
	if err != nil {
		t.Fatal(err)
	}
	m, problems := config.ReadMap(text, "example.toml", time.UTC)
	if len(problems) > 0 || m.Tests() < 3 {
		t.Error(problems)
	}
}

func FuzzMap(f *testing.F) {
	example, err := os.ReadFile("example.toml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example, message(oru))
	f.Add([]byte(head+"[[units]]\nname = \"u\"\nunknown = \"pass\"\nrow = [{from = \"g/dL\", to = \"g/L\", factor = \"10\", decimals = 1}]\n[[rule]]\ndo = \"scale\"\nunits = \"u\"\nkeep = \"OBX-13\"\n"), message(oru))
	f.Add([]byte(head+"[[rule]]\ndo = \"delete\"\neach = \"OBX\"\nat = [\"OBX\", \"NTE[*]\"]\n"), message(oru))
	f.Add([]byte(head+"[[rule]]\ndo = \"split\"\nfrom = \"PID-3[*]\"\nat = [\"PID-3[2]\"]\nby = \"\"\n"), message(oru))
	f.Add([]byte(head+"[[rule]]\ndo = \"add\"\neach = \"ORC\"\nat = \"ORC\"\n"), []byte("MSH|^~\\&\rORC\rORC"))
	f.Fuzz(func(t *testing.T, text, body []byte) {
		m, problems := config.ReadMap(text, "m.toml", time.UTC)
		for _, p := range problems {
			_ = p.In(reason.Vietnamese)
		}
		if m == nil {
			return
		}
		was := bytes.Clone(body)
		r := m.Try(body, hl7.CharsetRule{}, received)
		if !bytes.Equal(was, body) {
			t.Fatal("the message that was given has changed")
		}
		if again := m.Apply(body, hl7.CharsetRule{}, received); !bytes.Equal(again.Body, r.Body) || (again.Held == nil) != (r.Held == nil) {
			t.Fatal("the same message becomes something else")
		}
		if r.Held != nil || r.Dropped != nil {
			return
		}
		before, _ := hl7.Parse(body)
		after, err := hl7.Parse(r.Body)
		if err != nil {
			t.Fatalf("what is to be sent is no message: %v", err)
		}
		if before.ControlID() != after.ControlID() {
			t.Fatal("the control ID has changed")
		}
	})
}
