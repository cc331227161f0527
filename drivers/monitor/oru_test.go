package monitor

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"nhip/gateway/record"
	"nhip/hl7"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var source = Source{
	Device: record.Device{Connection: "bed-12", Profile: "hl7-pcd01"},
	Unit:   "icu", Zone: time.FixedZone("", 7*3600),
}

// short writes an observation as code name=value unit@time state.
func short(o record.Observation) string {
	at := "-"
	if !o.Observed.At.IsZero() {
		at = o.Observed.At.Format("2006-01-02T15:04:05.999Z07:00")
	}
	s := fmt.Sprintf("%d %s=%s %s @%s %s", o.Code, o.MDC, o.Value, o.UCUM, at, o.State)
	if o.Reason != "" {
		s += " (" + o.Reason + ")"
	}
	return s
}

// All messages here were written for these tests, in the shape of the public
// samples that the package documentation names.
var dialects = []struct {
	name     string
	message  string
	want     []string
	consumed map[string]int
	problems int
	location string
}{
	{
		name: "Mindray eGateway",
		message: `MSH|^~\&|MINDRAY_EGATEWAY^00A0370000000001^EUI-64|MINDRAY|||20261121120001.0000+0700||ORU^R01^ORU_R01|1|P|2.6|||AL|NE||UNICODE UTF-8|||IHE_PCD_001^IHE PCD^1.3.6.1.4.1.19376.1.6.1.1.1^ISO
PID|||^^^Hospital^PI||TEST^PATIENT
PV1||I|ICU^^12
OBR|1|1^MINDRAY_EGATEWAY|1^MINDRAY_EGATEWAY|182777000^monitoring of patient^SCT|||20261121120000.0000+0700
OBX|1|NM|150456^MDC_PULS_OXIM_SAT_O2^MDC|1.3.1.150456|98|262688^MDC_DIM_PERCENT^MDC|||||R|||20261121115959.5000+0700||||000F140000000001^BIG_DIPPER^000F140000000001^EUI-64
OBX|1|NM|147842^MDC_ECG_HEART_RATE^MDC|1.7.4.147842|72|264864^MDC_DIM_BEAT_PER_MIN^MDC|||||R
OBX|3|NM|108^MNDRY_ECG_PAUSE_RATE^99MNDRY|1.7.2.108|0|264864^MDC_DIM_BEAT_PER_MIN^MDC|||||R
OBX|4|NM|150301^MDC_PRESS_CUFF_SYS^MDC|1.1.9.150301|121|266016^MDC_DIM_MMHG^MDC|||||R|||20261121113000||^APERIODIC
OBX|5|ST|157969^MDC_ATTR_PT_TYPE^MDC|1.0.0.0|Adult||||||R
`,
		want: []string{
			"150456 MDC_PULS_OXIM_SAT_O2=98 % @2026-11-21T11:59:59.5+07:00 valid",
			"147842 MDC_ECG_HEART_RATE=72 /min @2026-11-21T12:00:00+07:00 valid",
			"0 MNDRY_ECG_PAUSE_RATE=0 /min @2026-11-21T12:00:00+07:00 valid",
			"150301 MDC_PRESS_CUFF_SYS=121 mm[Hg] @2026-11-21T11:30:00+07:00 valid",
		},
		consumed: map[string]int{"device attribute": 1},
		location: "ICU^^12",
	},
	{
		name: "Mindray VS in demonstration mode",
		message: `MSH|^~\&|MINDRAY_VS|MINDRAY|||20261121120001||ORU^R01^ORU_R01|1|P|2.6
OBR|1|||182777000^monitoring of patient^SCT
OBX|1|NM|150456^MDC_PULS_OXIM_SAT_O2^MDC|1.3.1.150456|77|262688^MDC_DIM_PERCENT^MDC||DEMO|||R
OBX|2|NM|149530^MDC_PULS_OXIM_PULS_RATE^MDC|1.3.1.149530||264864^MDC_DIM_BEAT_PER_MIN^MDC||DEMO|||R
`,
		want: []string{
			"150456 MDC_PULS_OXIM_SAT_O2= % @2026-11-21T12:00:01+07:00 test (the device is in demonstration mode)",
			"149530 MDC_PULS_OXIM_PULS_RATE= /min @2026-11-21T12:00:01+07:00 unavailable (the device sends no value)",
		},
	},
	{
		name: "Mindray waveform, milliseconds glued on",
		message: `MSH|^~\&|MINDRAY_EGATEWAY|MINDRAY|||20261121120001||ORU^R01^ORU_R01|1|P|2.6
OBR|1|||100001^CONTINUOUS WAVEFORM^99MNDRY|||20261121120000539+0800|20261121120001539+0800
OBX|1|NA|131329^MDC_ECG_ELEC_POTL_I^MDC|1.7.4.131329|1^2^32767^4
OBX|2|NM|0^MDC_ATTR_SAMP_RATE^MDC|1.7.4.131329.1|500|264640^MDC_DIM_HZ^MDC
OBX|3|NM|2327^MDC_ATTR_NU_MSMT_RES^MDC|1.7.4.131329.2|0.001221|266418^MDC_DIM_MILLI_VOLT^MDC
OBX|4|ST|196660^MDC_EVT_INOP^MDC|1.7.4.131329.3|lead off
OBX|5|NM|151578^MDC_TTHOR_RESP_RATE^MDC|1.7.4.1|17|264928^MDC_DIM_RESP_PER_MIN^MDC
`,
		want:     []string{"151578 MDC_TTHOR_RESP_RATE=17 /min @2026-11-21T12:00:00.539+08:00 valid"},
		consumed: map[string]int{"waveform": 1, "device attribute": 2, "alert": 1},
	},
	{
		name: "Comen: numbers of other names, 0x7FFFFF for no value",
		message: `MSH|^~\&||SN0001|||20261121120001||ORU^R01|1|P|2.6
OBR|1|||1^MDC_OBS^MDC
OBX|1|NM|150017^MDC_PRESS_BLD_NONINV_SYS^MDC|1|118|266016^MDC_DIM_MMHG^MDC|||||F
OBX|2|NM|150456^MDC_PULS_OXIM_SAT_O2^MDC|1|8388607|262688^MDC_DIM_PERCENT^MDC|||||X
OBX|3|NM|150456^MDC_CO2_ET^MDC|1|35|266016^MDC_DIM_MMHG^MDC|||||F
`,
		want: []string{
			"0 MDC_PRESS_BLD_NONINV_SYS=118 mm[Hg] @2026-11-21T12:00:01+07:00 valid",
			"150456 MDC_PULS_OXIM_SAT_O2= % @2026-11-21T12:00:01+07:00 unavailable (the device sends its sign for no value)",
			"0 MDC_CO2_ET=35 mm[Hg] @2026-11-21T12:00:01+07:00 valid",
		},
		problems: 2,
	},
	{
		name: "northern monitor: -100 is no value",
		message: `MSH|^~\&|MON|N|||20261121120001||ORU^R01|1|P|2.4
OBR|1||||||20261121115500
OBX|1|NM|150344^MDC_TEMP^MDC|1|-100|268192^MDC_DIM_DEGC^MDC|||||R
OBX|2|NM|150344^MDC_TEMP^MDC|2|384.5|268192^MDC_DIM_DEGC^MDC|||||R
OBX|3|NM|150021^MDC_PRESS_BLD_NONINV_SYS^MDC|3|120|266016^MDC_DIM_MMHG^MDC|||||R||APERIODIC|20261121114500
`,
		want: []string{
			"150344 MDC_TEMP= Cel @2026-11-21T11:55:00+07:00 unavailable (the device sends its sign for no value)",
			"150344 MDC_TEMP=384.5 Cel @2026-11-21T11:55:00+07:00 valid",
			"150021 MDC_PRESS_BLD_NONINV_SYS=120 mm[Hg] @2026-11-21T11:45:00+07:00 valid",
		},
	},
	{
		name: "Edan: codes of its own",
		message: `MSH|^~\&|EDAN|E|||20261121120001||ORU^R01|1|P|2.4
OBR|1
OBX|1|NM|327680^SPO2_SPO2^EHC||97|%|||||F
OBX|2|NM|131072^ECG_HR^EHC||---|bpm|||||F
`,
		want: []string{
			"0 SPO2_SPO2=97 % @2026-11-21T12:00:01+07:00 valid",
			"0 ECG_HR= /min @2026-11-21T12:00:01+07:00 unavailable (the device sends no value)",
		},
	},
	{
		name: "Philips MDIL",
		message: `MSH|^~\&|||||||ORU^R01|HP1042|P|2.3||||||8859/1
PID|||123
PV1||I|^^ICU&1&2
OBR|||||||20261121120000
OBX||NM|0002-4182^HR^MDIL|0|72|0004-0aa0^bpm^MDIL|||||F
OBX||NM|0002-4bb8^SpO2^MDIL|0|98|0004-0220^%^MDIL|||||F
OBX||NM|0002-F009^Something^MDIL|0|1|0004-ffff^x^MDIL|||||F
OBX||NM|F001-0013^Other^MDIL|0|2||||||F
OBX||TX|2^Yellow Alarm^MDIL-ALERT|0|** HR high||||||F
OBX||ST|0002-d006^Name^MDIL|0|Nguyen||||||F
`,
		want: []string{
			"147842 MDC_ECG_HEART_RATE=72 /min @2026-11-21T12:00:00+07:00 valid",
			"150456 MDC_PULS_OXIM_SAT_O2=98 % @2026-11-21T12:00:00+07:00 valid",
			"192521 Something=1  @2026-11-21T12:00:00+07:00 valid",
			"0 Other=2  @2026-11-21T12:00:00+07:00 valid",
		},
		consumed: map[string]int{"alert": 1, "text": 1},
		location: "ICU",
	},
	{
		name: "GE B1x5 with its containment tree",
		message: `MSH|^~\&|VSP^0800190000000001^EUI-64|GE Healthcare|||20261121120001+0700||ORU^R01^ORU_R01|1|P|2.6|||NE|AL||UNICODE UTF-8|||PCD_DEC_001^IHE PCD^1.3.6.1.4.1.19376.1.6.1.1.1^ISO
OBR|1|||182777000^monitoring of patient^SCT|||20261121120000+0700
OBX|1||69965^MDC_DEV_MON_PHYSIO_MULTI_PARAM_MDS^MDC|1.0.0.0|||||||X
OBX|2||150020^MDC_PRESS_BLD_NONINV^MDC|1.1.1.0|||||||X
OBX|3|NM|150033^MDC_PRESS_BLD_ART_SYS^MDC|1.13.1.1|133|266016^MDC_DIM_MMHG^MDC|||||R|||||||0800190000000001^B1X5_GE
OBX|4|NM|150344^MDC_TEMP^MDC|1.26.1.1|36.6|268192^MDC_DIM_DEGC^MDC||INV|||R
`,
		want: []string{
			"150033 MDC_PRESS_BLD_ART_SYS=133 mm[Hg] @2026-11-21T12:00:00+07:00 valid",
			"150344 MDC_TEMP= Cel @2026-11-21T12:00:00+07:00 unavailable (the device calls it invalid)",
		},
		consumed: map[string]int{"device attribute": 1, "containment": 1},
	},
	{
		name: "IHE: UCUM units, alternate identifier, status and flags",
		message: `MSH|^~\&|D|F|||20261121120001Z||ORU^R01^ORU_R01|1|P|2.6
OBR|1|||||||20261121
OBX|1|NM|HR^pulse^99X^147842^MDC_ECG_CARD_BEAT_RATE^MDC||72|/min^/min^UCUM|||||R
OBX|2|NM|150456^MDC_PULS_OXIM_SAT_O2^MDC||98|%^%^UCUM||H~QUES|||F
OBX|3|NM|150456^MDC_PULS_OXIM_SAT_O2^MDC||98|%^%^UCUM||LL|||W
OBX|4|NM|150456^MDC_PULS_OXIM_SAT_O2^MDC||98|%^%^UCUM|||||Q
OBX|5|NM|150456^MDC_PULS_OXIM_SAT_O2^MDC||98~97|%^%^UCUM|||||F
OBX|6|NM|150456^MDC_PULS_OXIM_SAT_O2^MDC||98|262688^MDC_DIM_MMHG^MDC|||||F
OBX|7|CWE|150456^MDC_PULS_OXIM_SAT_O2^MDC||1^a^b||||||F
OBX|8|TX|NOTE^note^L||a word||||||F
OBX|9|NM|150456^MDC_PULS_OXIM_SAT_O2^MDC||1e3|%^%^UCUM|||||F
OBX|10|NM|150456^MDC_PULS_OXIM_SAT_O2^MDC||98|%^%^UCUM|||||X
`,
		want: []string{
			"147842 MDC_ECG_HEART_RATE=72 /min @- valid",
			"150456 MDC_PULS_OXIM_SAT_O2= % @- questionable (the device doubts it)",
			"150456 MDC_PULS_OXIM_SAT_O2= % @- unavailable (the device withdraws it)",
			"150456 MDC_PULS_OXIM_SAT_O2= % @- questionable (its result status is not known)",
			"150456 MDC_PULS_OXIM_SAT_O2= % @- questionable (the device sends more than one value)",
			"150456 MDC_PULS_OXIM_SAT_O2=98  @- valid",
			"150456 MDC_PULS_OXIM_SAT_O2= % @- questionable (the value is not a number)",
			"150456 MDC_PULS_OXIM_SAT_O2= % @- unavailable (the device cannot obtain it)",
		},
		consumed: map[string]int{"other value type": 1, "text": 1},
	},
	{
		name: "for training",
		message: `MSH|^~\&|D|F|||202611211200||ORU^R01^ORU_R01|1|T|2.6
OBX|1|NM|150456^MDC_PULS_OXIM_SAT_O2^MDC||98|%|||||R
`,
		want: []string{"150456 MDC_PULS_OXIM_SAT_O2= % @2026-11-21T12:00:00+07:00 test (the message is for training or debugging)"},
	},
}

func parse(t testing.TB, text string) *hl7.Message {
	t.Helper()
	m, err := hl7.Parse([]byte(strings.ReplaceAll(text, "\n", "\r")))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestDialects(t *testing.T) {
	for _, d := range dialects {
		t.Run(d.name, func(t *testing.T) {
			r, err := ORU(parse(t, d.message), source)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, o := range r.Observations {
				got = append(got, short(o))
				if o.Unit != "icu" || o.Device.Connection != "bed-12" {
					t.Errorf("unit %q, device %+v", o.Unit, o.Device)
				}
			}
			if a, b := strings.Join(got, "\n"), strings.Join(d.want, "\n"); a != b {
				t.Errorf("observations\n%s\nwant\n%s", a, b)
			}
			if fmt.Sprint(r.Consumed) != fmt.Sprint(d.consumed) {
				t.Errorf("consumed %v, want %v", r.Consumed, d.consumed)
			}
			if len(r.Problems) != d.problems {
				t.Errorf("problems %q", r.Problems)
			}
			if r.Location != d.location {
				t.Errorf("location %q, want %q", r.Location, d.location)
			}
			if n := strings.Count(d.message, "OBX|"); n != len(got)+sum(r.Consumed) {
				t.Errorf("%d OBX became %d observations and %d consumed", n, len(got), sum(r.Consumed))
			}
		})
	}
}

func sum(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}

func TestTheDeviceNamesItself(t *testing.T) {
	r, err := ORU(parse(t, dialects[0].message), source)
	if err != nil {
		t.Fatal(err)
	}
	if d := r.Observations[0].Device; d.Serial != "000F140000000001" || d.Model != "BIG_DIPPER" || d.Profile != "hl7-pcd01" {
		t.Errorf("device %+v", d)
	}
	if u := r.Observations[0].RawUnit; u != "MDC_DIM_PERCENT" {
		t.Errorf("unit as sent %q", u)
	}
}

func TestOtherMessagesAreNoObservations(t *testing.T) {
	for _, event := range []string{"ORU^R40^ORU_R40", "ADT^A08", "QRY^R02", "ORU^W01", ""} {
		_, err := ORU(parse(t, `MSH|^~\&|A|B|||20261121||`+event+`|1|P|2.6`+"\n"), source)
		if !errors.Is(err, ErrNotObservations) {
			t.Errorf("%s: %v", event, err)
		}
	}
}

func TestTimes(t *testing.T) {
	zone := time.FixedZone("", 7*3600)
	for text, want := range map[string]string{
		"20261121120000":              "2026-11-21T12:00:00+07:00",
		"202611211200":                "2026-11-21T12:00:00+07:00",
		"20261121120000.5":            "2026-11-21T12:00:00.5+07:00",
		"20261121120000.1234+0530":    "2026-11-21T12:00:00.1234+05:30",
		"20261121120000539+0800":      "2026-11-21T12:00:00.539+08:00",
		"20261121120000539":           "2026-11-21T12:00:00.539+07:00",
		"20261121120000-0330":         "2026-11-21T12:00:00-03:30",
		"20261121":                    "",
		"2026112112":                  "",
		"20261121120000.":             "",
		"20261121120000.12x":          "",
		"20261121126000":              "",
		"20261321120000":              "",
		"20261121120000+07":           "",
		"20261121120000.1234567890":   "",
		"2026112112000053":            "",
		"":                            "",
		"--------------":              "",
		"20261121120000+0700+0700":    "",
		"20261121120000539.5":         "",
		"99999999999999999999999999":  "",
		"20261121120000.1234567+0700": "2026-11-21T12:00:00.1234567+07:00",
	} {
		got := hl7Time(text, zone)
		s := ""
		if !got.At.IsZero() {
			s = got.At.Format(time.RFC3339Nano)
		}
		if s != want || got.Text != text {
			t.Errorf("%q: %s, want %s", text, s, want)
		}
	}
}

func TestTablesAgree(t *testing.T) {
	if len(codeByName) != len(terms)+len(synonyms) || len(unitByName) != len(units) {
		t.Error("a name is there twice")
	}
	for code := range terms {
		if partition(code) != 2 {
			t.Errorf("%d is not of partition 2", code)
		}
	}
	for code, u := range units {
		if partition(code) != 4 || u.ucum == "" {
			t.Errorf("%d is not of partition 4 or has no unit", code)
		}
	}
}

// A message that was cut anywhere gives the readings before the cut or fewer,
// and never another value for one of them that was complete.
func TestORUCutAtEveryByte(t *testing.T) {
	for _, d := range dialects {
		text := strings.ReplaceAll(d.message, "\n", "\r")
		whole, err := ORU(parse(t, d.message), source)
		if err != nil {
			t.Fatal(err)
		}
		for i := range text {
			m, err := hl7.Parse([]byte(text[:i]))
			if err != nil {
				continue
			}
			r, err := ORU(m, source)
			if err != nil {
				continue
			}
			complete := strings.Count(text[:i], "\rOBX|") - 1 // but for the last
			for j := 0; j < min(complete-sum(r.Consumed), len(r.Observations)); j++ {
				if short(r.Observations[j]) != short(whole.Observations[j]) {
					t.Fatalf("%s cut at %d: %s", d.name, i, short(r.Observations[j]))
				}
			}
		}
	}
}

func FuzzORU(f *testing.F) {
	for _, d := range dialects {
		f.Add([]byte(strings.ReplaceAll(d.message, "\n", "\r")))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := hl7.Parse(b)
		if err != nil {
			return
		}
		r, err := ORU(m, source)
		if err != nil {
			return
		}
		if n := len(m.Segments("OBX")); n != len(r.Observations)+sum(r.Consumed) {
			t.Errorf("%d OBX became %d observations and %d consumed", n, len(r.Observations), sum(r.Consumed))
		}
		for _, o := range r.Observations {
			checkObservation(t, o)
		}
	})
}

// checkObservation is what holds of every observation.
func checkObservation(t *testing.T, o record.Observation) {
	t.Helper()
	valid := o.State == record.Valid
	if valid != (o.Value != "") || valid != (o.Reason == "") || valid && !isNumber(o.Value) {
		t.Errorf("%s", short(o))
	}
	if name, ok := terms[o.Code]; ok && o.MDC != name {
		t.Errorf("code %d is named %q", o.Code, o.MDC)
	}
}
