package analyser

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"nhip/hardware-sim/truth"
)

// The protocols of a model.
const (
	ASTM = "astm"
	HL7  = "hl7"
	AU   = "au" // the online texts of the Beckman Coulter AU
)

// A Model is how one model of analyser writes. The shapes follow public
// captures; the values and people are made up.
type Model struct {
	Profile   string // of the gateway that reads it
	Protocol  string
	Batch     int  // messages in one session, at most
	Frame     int  // characters of text in a frame, at most
	PerRecord bool // a frame for each record
	Tokens    bool // a token-wise ACK instead of frames (MAGLUMI)

	message func(*generator) Message // what it makes up; nil: nothing
	dialogue
}

// Models are the models that can be played, by profile.
var Models = map[string]Model{
	"sysmex-xn-l":      {Profile: "sysmex-xn-l", Protocol: ASTM, Batch: 1, Frame: 63993, message: xnL, dialogue: xnDialogue},
	"roche-cobas-e411": {Profile: "roche-cobas-e411", Protocol: ASTM, Batch: 3, Frame: 240, message: e411, dialogue: cobas("cobas-e411^1")},
	"roche-cobas-6000": {Profile: "roche-cobas-6000", Protocol: ASTM, Batch: 2, Frame: 240, dialogue: cobas("cobas6000^1")},
	"sysmex-ca-1500":   {Profile: "sysmex-ca-1500", Protocol: ASTM, Batch: 1, Frame: 240, dialogue: ca1500},
	"ortho-vitros":     {Profile: "ortho-vitros", Protocol: ASTM, Batch: 1, Frame: 240, PerRecord: true, dialogue: vitros},
	"snibe-maglumi":    {Profile: "snibe-maglumi", Protocol: ASTM, Batch: 1, Frame: 63993, Tokens: true, dialogue: maglumi},
	"erba-xl":          {Profile: "erba-xl", Protocol: ASTM, Batch: 1, Frame: 63993, message: erba, dialogue: plainDialogue},
	"generic-astm":     {Profile: "generic-astm", Protocol: ASTM, Batch: 2, Frame: 240, PerRecord: true, message: plain, dialogue: plainDialogue},
	"mindray-bc-5380":  {Profile: "mindray-bc-5380", Protocol: HL7, Batch: 1, message: bc5380},
	"mindray-bs":       {Profile: "mindray-bs", Protocol: HL7, Batch: 1, dialogue: mindrayBS},
	"roche-cobas-5800": {Profile: "roche-cobas-5800", Protocol: HL7, Batch: 1, dialogue: cobas5800},
	"beckman-au":       {Profile: "beckman-au", Protocol: AU, Batch: 1, dialogue: beckmanAU},
}

// TwoWay reports whether the model asks for work and reports what it was told to do.
func (m Model) TwoWay() bool { return m.query != nil && m.report != nil }

// MakesUp reports whether the model has messages of its own making.
func (m Model) MakesUp() bool { return m.message != nil }

// A generator makes one message.
type generator struct {
	o        Options
	number   int
	rand     *rand.Rand
	at       time.Time
	consumed bool // the gateway keeps it to itself: control material, query
}

func (g *generator) id() string { return fmt.Sprintf("%s/%d", g.o.Name, g.number+1) }

// specimen is a barcode of ten digits: run, analyser, number.
func (g *generator) specimen(n int) string {
	return fmt.Sprintf("%03d%02d%05d", g.o.Start.Unix()%1000, g.o.Number%100, n%100000)
}

func (g *generator) stamp() string { return g.at.Format("20060102150405") }

func (g *generator) result(code, value, unit, flag string) truth.Result {
	return truth.Result{Code: code, Value: value, Unit: unit, Flag: flag, Status: "F", Times: []time.Time{g.at}}
}

func (g *generator) one(all ...string) string { return all[g.rand.IntN(len(all))] }

// A measurand is a test of a model with the range of its values.
type measurand struct {
	code, unit string
	low, high  float64 // the normal range
	decimals   int
}

// value is a plausible value and its flag.
func (g *generator) value(m measurand) (value, flag string) {
	span := m.high - m.low
	v := m.low - 0.3*span + 1.6*span*g.rand.Float64()
	v = max(v, 0)
	flag = "N"
	if v > m.high {
		flag = "H"
	}
	if v < m.low {
		flag = "L"
	}
	return strconv.FormatFloat(v, 'f', m.decimals, 64), flag
}

var (
	families = []string{"Nguyen", "Tran", "Le", "Pham", "Hoang", "Vu", "Dang"}
	givens   = []string{"An", "Binh", "Chi", "Dung", "Hoa", "Lan", "Minh", "Phuc"}
)

// person is a made-up patient: identifier, family and given name, date of birth
// and sex.
func (g *generator) person() (id, family, given, birth, sex string) {
	birth = time.Date(1930+g.rand.IntN(90), time.Month(1+g.rand.IntN(12)), 1+g.rand.IntN(28), 0, 0, 0, 0, time.UTC).Format("20060102")
	return strconv.Itoa(10000 + g.rand.IntN(90000)), g.one(families...), g.one(givens...), birth, g.one("M", "F")
}

func known(id, family, given string) string {
	name := []string{family, given}
	slices.Sort(name)
	return id + " " + strings.Join(name, " ")
}

// records joins records, each with its CR.
func records(all []string) []byte { return []byte(strings.Join(all, "\r") + "\r") }

var xnTests = []measurand{
	{"WBC", "10*3/uL", 4, 10, 2}, {"RBC", "10*6/uL", 3.8, 5.8, 2}, {"HGB", "g/dL", 12, 17, 1}, {"HCT", "%", 36, 50, 1},
	{"MCV", "fL", 80, 98, 1}, {"MCH", "pg", 27, 33, 1}, {"MCHC", "g/dL", 32, 36, 1}, {"PLT", "10*3/uL", 150, 400, 0},
	{"NEUT%", "%", 40, 75, 1}, {"LYMPH%", "%", 20, 45, 1}, {"MONO%", "%", 2, 10, 1}, {"EO%", "%", 0.5, 6, 1},
	{"BASO%", "%", 0, 1, 1}, {"NEUT#", "10*3/uL", 2, 7, 2}, {"LYMPH#", "10*3/uL", 1, 4, 2}, {"RDW-CV", "%", 11, 15, 1},
	{"MPV", "fL", 8.5, 12, 1},
}

// xnL is a message of a Sysmex XN-L: the specimen padded in O.4, suspect
// messages and the names of images among the results, everything in one frame.
// Every 25th message is control material (O.12 is Q).
func xnL(g *generator) Message {
	id, family, given, birth, sex := g.person()
	item := truth.Item{Key: g.specimen(g.number), Patient: known(id, family, given)}
	action := "N"
	if g.number%25 == 24 {
		g.consumed, action, item.Key = true, "Q", fmt.Sprintf("QC-%08d", g.number)
	}
	var codes, results []string
	add := func(r truth.Result, text string) {
		item.Results = append(item.Results, r)
		results = append(results, fmt.Sprintf("R|%d|^^^^%s|%s|%s||%s||F||||%s", len(results)+1, text, r.Value, r.Unit, r.Flag, g.stamp()))
	}
	for _, m := range xnTests {
		value, flag := g.value(m)
		codes = append(codes, "^^^^"+m.code)
		add(g.result(m.code, value, m.unit, flag), m.code+"^1")
	}
	if g.rand.IntN(4) == 0 {
		r := g.result("Left_Shift?", strconv.Itoa(10*g.rand.IntN(10)), "", "")
		r.Optional = true
		add(r, r.Code)
	}
	image := fmt.Sprintf("PNG&R&%s&R&%s_WDF.PNG", g.at.Format("20060102"), g.at.Format("2006_01_02_15_04_05"))
	results = append(results, fmt.Sprintf("R|%d|^^^^SCAT_WDF|%s|||N||F||||%s", len(results)+1, image, g.stamp()))
	scatter := g.result("SCAT_WDF", strings.ReplaceAll(image, "&R&", `\`), "", "N")
	scatter.Optional = true
	item.Results = append(item.Results, scatter)

	all := []string{
		`H|\^&|||    XN-550^00-24^22723^^^^BD634545||||||||E1394-97`,
		fmt.Sprintf("P|1|||%s|^%s^%s||%s|%s|||||^DR.1||||||||||||^^^WEST", id, given, family, birth, sex),
		"C|1||",
		fmt.Sprintf(`O|1||^^%22s^M|%s|||||||%s||||||||||||||F`, item.Key, strings.Join(codes, `\`), action),
		"C|1||",
	}
	return Message{Truth: item, Bytes: records(append(append(all, results...), "L|1|N"))}
}

var e411Tests = []measurand{
	{"1", "pg/ml", 10, 65, 1}, {"3", "ng/ml", 3, 50, 2}, {"6", "ng/dl", 80, 200, 1}, {"7", "ug/dl", 5, 12, 2}, {"8", "uIU/ml", 0.3, 4.2, 2},
}

// e411 is a message of a Roche cobas e411: no patient, the specimen in O.3, test
// codes as code/dilution/pre-dilution, qualitative^quantitative values, frames of
// 240 characters.
func e411(g *generator) Message {
	item := truth.Item{Key: g.specimen(g.number)}
	var codes, results []string
	add := func(code, value, unit, flag string) {
		item.Results = append(item.Results, g.result(code, value, unit, flag))
		codes = append(codes, "^^^"+code+"^1")
		results = append(results, fmt.Sprintf("R|%d|^^^%s/1/not|%s|%s||%s||F||opr001|||E1", len(results)+1, code, value, unit, flag))
	}
	for _, m := range e411Tests {
		value, flag := g.value(m)
		if g.rand.IntN(12) == 0 {
			value, flag = "<"+strconv.FormatFloat(m.low/2, 'f', m.decimals, 64), "LL"
		}
		add(m.code, value, m.unit, flag)
	}
	add("5", fmt.Sprintf("-1^0.%03d", g.rand.IntN(900)), "COI", "N")
	all := []string{
		`H|\^&|||cobas-e411^1|||||host|RSUPL^BATCH|P|1`,
		"P|1",
		fmt.Sprintf(`O|1|%s|%d^0^%d^^S1^SC|%s|R||%s||||N||||1|||||||%s|||F`, item.Key,
			100+g.rand.IntN(900), 1+g.rand.IntN(5), strings.Join(codes, `\`), g.stamp(), g.stamp()),
	}
	return Message{Truth: item, Bytes: records(append(append(all, results...), "L|1|N"))}
}

var erbaTests = []measurand{
	{"GLCC", "mg/dl", 70, 110, 0}, {"TPP", "g/dl", 6, 8.3, 1}, {"ALBB", "g/dl", 3.5, 5, 1}, {"DBILL", "mg/dl", 0, 0.3, 1},
}

// erba is a message of an Erba XL: its own delimiters, one test in a message,
// several messages for a specimen, NA for what could not be measured.
func erba(g *generator) Message {
	item := truth.Item{Key: g.specimen(g.number / len(erbaTests))}
	m := erbaTests[g.number%len(erbaTests)]
	value, _ := g.value(m)
	r := g.result(m.code, value, m.unit, "A")
	interval := "^DEFAULT"
	if g.rand.IntN(20) == 0 {
		r.Value, r.Status, interval = "NA", "X", "" // a run failure is no result
	}
	item.Results = []truth.Result{r}
	return Message{Truth: item, Bytes: records([]string{
		"H|`^&||||||||||P|E 1394-97|" + g.stamp(),
		"P|1|||||||U||||||||0|0",
		fmt.Sprintf("O|1|%s||^^^%s|||||||||||SERUM", item.Key, m.code),
		fmt.Sprintf("R|1|^^^%s|%s|%s|%s|A|N|F||||%s", m.code, r.Value, m.unit, interval, g.stamp()),
		"C|1|I|Instrument Flag A",
		"L|1|N",
	})}
}

// plain is a message in the words of E1394 and of no vendor, a frame for each
// record.
func plain(g *generator) Message {
	id, family, given, birth, sex := g.person()
	item := truth.Item{Key: g.specimen(g.number), Patient: known(id, family, given)}
	all := []string{
		`H|\^&|||hwsim^1||||||||P|1|` + g.stamp(),
		fmt.Sprintf("P|1|%s|||%s^%s||%s|%s", id, family, given, birth, sex),
		fmt.Sprintf("O|1|%s||^^^GLU|R||||||N||||S||||||||||F", item.Key),
	}
	value, flag := g.value(measurand{"GLU", "mmol/L", 3.9, 6.1, 1})
	item.Results = []truth.Result{g.result("GLU", value, "mmol/L", flag)}
	all = append(all, fmt.Sprintf("R|1|^^^GLU|%s|mmol/L|3.9 to 6.1|%s||F||||%s", value, flag, g.stamp()), "L|1|N")
	return Message{Truth: item, Bytes: records(all)}
}

var bcTests = []struct {
	measurand
	name string
}{
	{measurand{"6690-2", "10*9/L", 4, 10, 2}, "WBC"}, {measurand{"789-8", "10*12/L", 3.5, 5, 2}, "RBC"},
	{measurand{"718-7", "g/L", 110, 150, 0}, "HGB"}, {measurand{"787-2", "fL", 80, 100, 1}, "MCV"},
	{measurand{"785-6", "pg", 27, 31, 1}, "MCH"}, {measurand{"786-4", "g/L", 320, 360, 0}, "MCHC"},
	{measurand{"777-3", "10*9/L", 100, 300, 0}, "PLT"}, {measurand{"32623-1", "fL", 7, 11, 1}, "MPV"},
}

// bc5380 is a message of a Mindray BC-5380: ORU^R01 2.3.1, the specimen in
// OBR-3, its settings among the results. Every 25th is control material (MSH-11
// is Q).
func bc5380(g *generator) Message {
	id, family, given, birth, sex := g.person()
	item := truth.Item{Key: g.specimen(g.number), Patient: known(id, family, given)}
	processing := "P"
	if g.number%25 == 24 {
		g.consumed, processing = true, "Q"
	}
	all := []string{
		fmt.Sprintf(`MSH|^~\&|BC-5380|Mindray|||%s||ORU^R01|%d|%s|2.3.1||||||UNICODE`, g.stamp(), g.number+1, processing),
		fmt.Sprintf("PID|1||%s^^^^MR||%s^%s||%s000000|%s", id, family, given, birth, map[string]string{"M": "Male", "F": "Female"}[sex]),
		"PV1|1||nk^^001",
		fmt.Sprintf("OBR|1||%s|00001^Automated Count^99MRC||%s|%s|||||||%s||||||||||HM||||||||Mindray", item.Key, g.stamp(), g.stamp(), g.stamp()),
		"OBX|1|IS|08001^Take Mode^99MRC||O||||||F",
		"OBX|2|IS|08003^Test Mode^99MRC||CBC||||||F",
	}
	item.Results = []truth.Result{
		{Code: "08001", Value: "O", Status: "F", Optional: true}, {Code: "08003", Value: "CBC", Status: "F", Optional: true},
	}
	for _, m := range bcTests {
		value, flag := g.value(m.measurand)
		interval := strconv.FormatFloat(m.low, 'f', m.decimals, 64) + "-" + strconv.FormatFloat(m.high, 'f', m.decimals, 64)
		all = append(all, fmt.Sprintf("OBX|%d|NM|%s^%s^LN||%s|%s|%s|%s|||F", len(item.Results)+1, m.code, m.name, value, m.unit, interval, flag))
		item.Results = append(item.Results, g.result(m.code, value, m.unit, flag))
	}
	return Message{Truth: item, Bytes: records(all)}
}
