package profile

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/text/unicode/norm"

	"nhip/drivers/beckman"
	"nhip/drivers/session"
	"nhip/gateway/record"
	"nhip/hl7"
	"nhip/hl7/vncharset"
)

// with is a profile whose machine has names in a set.
func with(t *testing.T, p *Profile, word string) *Profile {
	t.Helper()
	named, err := p.WithNames(word)
	if err != nil {
		t.Fatal(err)
	}
	return named
}

var nguyen = &record.Patient{ID: "P1", Name: record.Name{Family: "Nguyễn", Middle: "Thị", Given: "Ánh"}}

func TestNamesGoOutInTheSetOfTheMachine(t *testing.T) {
	p := of(t, e411)
	message := []byte("H|\\^&\rQ|1|^^S1\rL|1\r")
	for word, want := range map[string]string{
		"":                    "Nguyen^Thi Anh",
		vncharset.NamesASCII:  "Nguyen^Thi Anh",
		vncharset.NamesUTF8:   "Nguyễn^Thị Ánh",
		vncharset.NamesCP1258: "Nguy\xEA\xDEn^Thi\xF2 \xC1nh",
		vncharset.NamesTCVN3:  "Nguy\xD4n^Th\xDE A\xB8nh",
		vncharset.NamesVNI:    "Nguye\xE3n^Th\xF2 A\xD9nh",
		vncharset.NamesLatin1: "Nguyen^Thi \xC1nh",
		vncharset.NamesCP1252: "Nguyen^Thi \xC1nh",
	} {
		p := with(t, p, word)
		for _, patient := range []*record.Patient{nguyen, {ID: "P1", Name: record.Name{Family: norm.NFD.String("Nguyễn"), Middle: norm.NFD.String("Thị"), Given: norm.NFD.String("Ánh")}}} {
			got, err := p.Answer(message, p.Queries(message)[0], []record.Work{{Specimen: "S1", Tests: []string{"A"}, Patient: patient}}, site)
			if err != nil || !strings.Contains(string(got), "P|1||||"+want+"\r") {
				t.Errorf("%s: %q, want %q, %v", word, got, want, err)
			}
			if i := bytes.IndexFunc(got, func(r rune) bool { return r < ' ' && r != '\r' || r == 0x7F }); i >= 0 {
				t.Errorf("%s: a control character goes out: %q", word, got)
			}
		}
	}
}

const lengths = `
names = "%"
names_source = "test"
` + `[query]
source = "test"
specimen = "Q.3.2"
[answer]
source = "test"
[[answer.field]]
path = "O.3"
is = "{specimen}"
length = 8
[[answer.field]]
path = "O.5.4"
is = "{test}"
[[answer.field]]
path = "P.3"
is = "{patient_id}"
length = 6
[[answer.field]]
path = "P.6"
is = "{family} {middle} {given}"
length = 10
`

// A profile with keys at the top: the tables of asking come behind them.
func top(t *testing.T, keys, tables string) *Profile {
	t.Helper()
	head, parts, _ := strings.Cut(asking, "[parts]")
	p, err := Load(fstest.MapFS{"test/profile.toml": {Data: []byte(head + keys + "[parts]" + parts + tables)}}, "test")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestNamesAreCutAndIdentifiersAreNot(t *testing.T) {
	keys, tables, _ := strings.Cut(lengths, "[query]")
	tables = "[query]" + tables
	answer := func(p *Profile, specimen string, patient *record.Patient) (string, error) {
		message := []byte("H|\\^&\rQ|1|^" + specimen + "\rL|1\r")
		got, err := p.Answer(message, p.Queries(message)[0], []record.Work{{Specimen: specimen, Tests: []string{"A"}, Patient: patient}}, site)
		return string(got), err
	}
	for word, want := range map[string]string{
		vncharset.NamesASCII: "Nguyen Thi", vncharset.NamesUTF8: "Nguyễn Thị", vncharset.NamesTCVN3: "Nguy\xD4n Th\xDE",
		vncharset.NamesVNI: "Nguye\xE3n Th", vncharset.NamesCP1258: "Nguy\xEA\xDEn Th",
	} {
		p := top(t, strings.Replace(keys, "%", word, 1), tables)
		got, err := answer(p, "12345678", nguyen)
		// In VNI ị is one byte; in CP1258 it is two, of which one would not do.
		if word == vncharset.NamesVNI {
			want += "\xF2"
			want = want[:10]
		}
		if err != nil || !strings.Contains(got, "P|1|P1|||"+want+"\r") || !strings.Contains(got, "O|1|12345678|") {
			t.Errorf("%s: %q, want %q, %v", word, got, want, err)
		}
	}
	p := top(t, strings.Replace(keys, "%", vncharset.NamesASCII, 1), tables)
	if got, err := answer(p, "123456789", nguyen); err == nil || strings.Contains(err.Error(), "123456789") {
		t.Errorf("an identifier that is too long: %q, %v", got, err)
	}
	for _, id := range []string{"1234567", "Đ1"} {
		got, err := answer(p, "1", &record.Patient{ID: id, Name: nguyen.Name})
		if err != nil || !strings.Contains(got, "P|1||||Nguyen Thi\r") {
			t.Errorf("patient %s: %q, %v", id, got, err)
		}
	}
	if got, err := p.Download([]record.Work{{Specimen: "Đ1", Tests: []string{"A"}}}, site); err == nil {
		t.Errorf("%q", got)
	}
}

// What was asked for goes back byte for byte, whatever it is in.
func TestIdentifierOfAQueryGoesBackAsItCame(t *testing.T) {
	p := of(t, e411)
	for _, word := range []string{"", vncharset.NamesUTF8, vncharset.NamesTCVN3, vncharset.NamesVNI} {
		p := with(t, p, word)
		for _, sent := range []string{"\xA71", "Đ1", "S \xFF", "D\xF11"} {
			message := []byte("H|\\^&\rQ|1|^^" + sent + "^\xA7^R\xB5\rL|1\r")
			q := p.Queries(message)[0]
			got, err := p.Answer(message, q, []record.Work{{Specimen: q.Specimens[0], Tests: []string{"A"}}}, site)
			if err != nil || !strings.Contains(string(got), "O|1|"+sent+"|\xA7^R\xB5|^^^A|") {
				t.Errorf("%s: %q answered %q, %v", word, sent, got, err)
			}
		}
	}
	p = with(t, p, vncharset.NamesTCVN3)
	if q := p.Queries([]byte("H|\\^&\rQ|1|^^\xA71\rL|1\r"))[0]; q.Specimens[0] != "Đ1" {
		t.Errorf("looked up as %q", q.Specimens)
	}
}

func TestNamesComeInInTheSetOfTheMachine(t *testing.T) {
	p := builtin(t)["generic-astm"]
	for word, sent := range map[string]string{
		vncharset.NamesASCII: "Nguyễn^Ánh|Đặng", vncharset.NamesUTF8: "Nguyễn^Ánh|Đặng", vncharset.NamesCP1258: "Nguy\xEA\xDEn^\xC1nh|\xD0\xE3\xF2ng",
		vncharset.NamesTCVN3: "Nguy\xD4n^A\xB8nh|\xA7\xC6ng", vncharset.NamesVNI: "Nguye\xE3n^A\xD9nh|\xD1a\xEBng",
	} {
		name, operator, _ := strings.Cut(sent, "|")
		message := header + "\rP|1|A|||" + name + "\rO|1|S1\rR|1|^^^X|" + operator + "|\xB5g/L||||F||" + operator + "\rC|1|I|" + operator + "\rL|1\r"
		e, err := with(t, p, word).Extract([]byte(message), hanoi)
		if err != nil {
			t.Fatal(err)
		}
		rep := e.Reports[0]
		r := rep.Results[0]
		if rep.Patient.Name.Family != "Nguyễn" || rep.Patient.Name.Given != "Ánh" || r.Operator != "Đặng" || r.Value != "Đặng" || !slices.Equal(r.Comments, []string{"Đặng"}) || len(rep.Comments) > 0 {
			t.Errorf("%s: %+v", word, rep)
		}
		// The unit is the machine's own word and not in the font.
		if want := "µg/L"; word != vncharset.NamesUTF8 && r.Unit != want {
			t.Errorf("%s: unit %q", word, r.Unit)
		}
	}
}

// What cannot be read is marked beside the result, and nothing is lost of it in silence.
func TestWhatCannotBeReadIsMarked(t *testing.T) {
	p := builtin(t)["generic-astm"]
	const message = header + "\rP|1|A|||Nguy\xD4n\rO|1|S1\rR|1|^^^X|¢m\xB5|mg||||F||A\xFF\rR|2|^^^Y|5|mg\rC|1|I|ch\xFF\rL|1\r"
	sent := strings.Replace(message, "¢", "\xA2", 1)
	e, err := p.Extract([]byte(sent), hanoi)
	if err != nil {
		t.Fatal(err)
	}
	rep := e.Reports[0]
	if x := rep.Results[0]; x.Value != "¢mµ" || !slices.Equal(x.Comments, []string{"R.4 is not UTF-8 and was read as ISO 8859-1", "R.11 is not UTF-8 and was read as ISO 8859-1"}) {
		t.Errorf("%+v", x)
	}
	if y := rep.Results[1]; !slices.Equal(y.Comments, []string{"chÿ", "C.4 is not UTF-8 and was read as ISO 8859-1"}) || y.Value != "5" {
		t.Errorf("%+v", y)
	}
	if !slices.Equal(rep.Comments, []string{"P.6.1 is not UTF-8 and was read as ISO 8859-1"}) || len(e.Doubts) != 4 || e.Doubts[0].Place != "R.4" {
		t.Errorf("%q %+v", rep.Comments, e.Doubts)
	}

	e, err = with(t, p, vncharset.NamesUTF8).Extract([]byte(sent), hanoi)
	if err != nil {
		t.Fatal(err)
	}
	if x := e.Reports[0].Results[0]; x.Value != "\uFFFDm\uFFFD" || x.Comments[0] != "R.4 has bytes that are no characters of utf-8" {
		t.Errorf("%+v", x)
	}
}

// Two identifiers that cannot be read are not the same one.
func TestSpecimenThatCannotBeReadIsNone(t *testing.T) {
	p := with(t, builtin(t)["generic-astm"], vncharset.NamesTCVN3)
	e, err := p.Extract([]byte(header+"\rP|1|\x80|||A\rO|1|S\x80\rR|1|^^^X|1\rO|2|S\x81\rR|1|^^^X|2\rO|3|S\xA7\rR|1|^^^X|3\rL|1\r"), hanoi)
	if err != nil || len(e.Reports) != 3 {
		t.Fatalf("%+v %v", e, err)
	}
	if e.Reports[0].Specimen.ID != "" || e.Reports[1].Specimen.ID != "" || e.Reports[2].Specimen.ID != "SĐ" || e.Reports[0].Patient.ID != "" {
		t.Errorf("%+v", e.Reports)
	}
}

func TestHL7NamesInTheSetOfTheMachine(t *testing.T) {
	p := builtin(t)["generic-hl7"]
	message := func(declared, name, value string) []byte {
		return []byte("MSH|^~\\&|A|B|||20260114||ORU^R01|1|P|2.5.1||||||" + declared + "\rPID|1||P1||" + name + "\rOBR|1|S1|S1|X\rOBX|1|ST|X||" + value + "|\xB5g/L|||||F\r")
	}
	for _, c := range []struct{ word, declared, name, value, marked string }{
		{"", "", "Nguyễn^Ánh", "Âm tính", ""},
		{"", "UNICODE UTF-8", "Nguyễn^Ánh", "Âm tính", ""},
		{vncharset.NamesTCVN3, "", "Nguy\xD4n^A\xB8nh", "\xA2m t\xDDnh", ""},
		{vncharset.NamesTCVN3, "ASCII", "Nguy\xD4n^A\xB8nh", "\xA2m t\xDDnh", ""},
		{vncharset.NamesVNI, "", "Nguye\xE3n^A\xD9nh", "A\xC2m t\xEDnh", ""},
		{vncharset.NamesCP1258, "8859/1", "Nguy\xEA\xDEn^\xC1nh", "\xC2m ti\xECnh"[:0] + "\xC2m t\xEDnh", ""},
		{vncharset.NamesVISCII, "", "Nguy\xADn^\xC1nh", "\xC2m t\xEDnh", ""},
	} {
		b := message(c.declared, c.name, c.value)
		if c.word == "" { // all of it is UTF-8
			b = bytes.ReplaceAll(b, []byte("\xB5"), []byte("µ"))
		}
		e, err := with(t, p, c.word).Extract(b, hanoi)
		if err != nil {
			t.Fatal(err)
		}
		rep := e.Reports[0]
		if rep.Patient.Name.Family != "Nguyễn" || rep.Patient.Name.Given != "Ánh" || rep.Results[0].Value != "Âm tính" || rep.Results[0].Unit != "µg/L" || len(rep.Results[0].Comments) > 0 {
			t.Errorf("%s, %s: %+v %+v", c.word, c.declared, rep, rep.Patient)
		}
	}
	// Nobody says what it is.
	e, err := p.Extract(message("ASCII", "Nguy\xD4n", "\xA2m"), hanoi)
	if err != nil {
		t.Fatal(err)
	}
	if x := e.Reports[0].Results[0]; x.Value != "¢m" || x.Unit != "µg/L" || !slices.Equal(x.Comments, []string{"OBX-5 is not UTF-8 and was read as ISO 8859-1"}) {
		t.Errorf("%+v", x)
	}
	e, err = p.Extract(message("UNICODE UTF-8", "Nguy\xD4n", "\xA2m"), hanoi)
	if err != nil {
		t.Fatal(err)
	}
	if x := e.Reports[0].Results[0]; x.Value != "\uFFFDm" || len(x.Comments) != 1 || !strings.HasPrefix(x.Comments[0], "OBX-5 has bytes that are no characters of ") {
		t.Errorf("%+v", x)
	}
}

// The fields of AU texts are bytes, and a name fills its columns in the set of the machine.
func TestAUNames(t *testing.T) {
	layouts := 0
	for _, p := range builtin(t) {
		if p.AULayout() == nil {
			continue
		}
		layouts++
		for word, want := range map[string]string{"": "Nguyen Thi Anh", vncharset.NamesTCVN3: "Nguy\xD4n Th\xDE A\xB8nh", vncharset.NamesVNI: "Nguye\xE3n Th\xF2 A\xD9nh"} {
			l := with(t, p, word).AULayout()
			l.Patient = 20
			if b := answerOf(t, *l, word); !bytes.Contains(b, []byte(want+strings.Repeat(" ", 20-len(want)))) {
				t.Errorf("%s, %s: %q", p.ID(), word, b)
			}
		}
	}
	if layouts == 0 {
		t.Error("no AU analyser is known")
	}
}

// answerOf is what the analyser is sent for a request.
func answerOf(t *testing.T, l beckman.Layout, word string) []byte {
	t.Helper()
	l.Class, l.BCC = "A", false
	k := beckman.NewLink(l)
	id := "27"
	if word == vncharset.NamesTCVN3 {
		id = "\xA71"
	}
	request := "R " + strings.Repeat("0", l.Unit+l.Rack+l.Cup+l.Type+l.SampleNo) + id + strings.Repeat(" ", l.SampleID-len(id))
	var actions []session.Action
	for p := []byte("\x02" + request + "\x03"); len(p) > 0; {
		n, next := k.Receive(p)
		p, actions = p[n:], append(actions, next...)
	}
	var asked *session.Ask
	for _, a := range actions {
		if a, ok := a.(session.Ask); ok {
			asked = &a
		}
	}
	if asked == nil {
		t.Fatalf("%q asks for nothing: %v", request, actions)
	}
	specimen := asked.Query.Specimens[0]
	if word == vncharset.NamesTCVN3 && specimen != "Đ1" {
		t.Errorf("looked up as %q", specimen)
	}
	var sent []byte
	work := []record.Work{{Specimen: specimen, Tests: []string{"1"}, Patient: nguyen}}
	// It is looked up once more before it is sent.
	for _, a := range slices.Concat(k.Answered(work, true), k.TimedOut(), k.Answered(work, true)) {
		if a, ok := a.(session.Send); ok {
			sent = append(sent, a.Bytes...)
		}
	}
	if !bytes.Contains(sent, []byte(id)) {
		t.Errorf("the identifier does not come back: %q", sent)
	}
	return sent
}

// Bytes of a font that happen to be UTF-8 are not taken for it.
func TestTextOfAFontThatLooksLikeUTF8(t *testing.T) {
	head, _, _ := strings.Cut(asking, "[parts]")
	p, err := Load(fstest.MapFS{"test/profile.toml": {Data: []byte(strings.Replace(head, `protocol = "astm"`, `protocol = "text"`, 1) + `
[parts]
specimen = "O.specimen"
comment = "C.comment"
code = "R.code"
value = "R.value"
[text]
source = "test"
silence = "1s"
[[text.line]]
matches = "^O"
record = "O"
columns = [{ name = "specimen", at = 2, length = 4 }]
[[text.line]]
matches = "^R"
record = "R"
columns = [{ name = "code", at = 2, length = 1 }, { name = "value", at = 3, length = 4 }, { name = "unit", at = 7, length = 2 }]
`)}}, "test")
	if err != nil {
		t.Fatal(err)
	}
	e, err := with(t, p, vncharset.NamesTCVN3).Extract([]byte("OS1  \nRA\xC7\xB5  mg\n"), hanoi)
	if err != nil || len(e.Reports) != 1 || strings.TrimSpace(e.Reports[0].Results[0].Value) != "ầà" || len(e.Problems) > 0 {
		t.Errorf("%+v %v", e, err)
	}
}

func TestNamesThatALinkCannotHave(t *testing.T) {
	for _, c := range []struct {
		protocol, word string
		ok             bool
	}{
		{ASTM, vncharset.NamesTCVN3, true}, {ASTM, vncharset.NamesVISCII, false}, {ASTM, vncharset.NamesTCVN, false}, {ASTM, vncharset.NamesVPS, false},
		{Text, vncharset.NamesVISCII, false}, {AU, vncharset.NamesTCVN, false}, {BCI, vncharset.NamesVISCII, false}, {BCI, vncharset.NamesVNI, true},
		{HL7, vncharset.NamesVISCII, true}, {HL7, vncharset.NamesTCVN, true}, {HL7, vncharset.NamesVPS, false}, {File, vncharset.NamesVPS, true},
		{LAW, vncharset.NamesTCVN3, false}, {LAW, vncharset.NamesUTF8, true}, {POCT1A, vncharset.NamesUTF8, false}, {ASTM, "klingon", false},
	} {
		if err := checkNames(c.protocol, c.word); (err == nil) != c.ok {
			t.Errorf("%s on %s: %v", c.word, c.protocol, err)
		}
	}
	keys, tables, _ := strings.Cut(lengths, "[query]")
	for _, word := range []string{vncharset.NamesVISCII, "klingon"} {
		head, parts, _ := strings.Cut(asking, "[parts]")
		text := head + strings.Replace(keys, "%", word, 1) + "[parts]" + parts + "[query]" + tables
		if _, err := Load(fstest.MapFS{"test/profile.toml": {Data: []byte(text)}}, "test"); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", word, err)
		}
		if _, err := of(t, e411).WithNames(word); err == nil {
			t.Errorf("%s for an ASTM analyser", word)
		}
	}
	if rule := with(t, builtin(t)["generic-hl7"], vncharset.NamesTCVN3).Charset(); rule.Force != "TCVN3" || hl7.CheckCharset(rule.Force) != nil {
		t.Errorf("%+v", rule)
	}
}
