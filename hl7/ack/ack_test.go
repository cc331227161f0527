package ack_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"nhip/hl7"
	"nhip/hl7/ack"
)

var now = time.Date(2026, 1, 14, 8, 15, 0, 0, time.FixedZone("", 7*3600))

func parse(t testing.TB, text string) *hl7.Message {
	t.Helper()
	m, err := hl7.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return m
}

func message(t testing.TB, kind, version, accept, application string) *hl7.Message {
	return parse(t, `MSH|^~\&|HIS|BV|NHIP|LAB|20260114||`+kind+`|7|P|`+version+`|||`+accept+`|`+application+"\rPID|1\r")
}

var (
	good    = ack.Verdict{Code: hl7.ApplicationAccept}
	refused = ack.Verdict{Code: hl7.ApplicationReject, Errors: []hl7.Error{{Location: "MSH-12", Code: hl7.ErrorVersion}}}
)

// answered are the codes that a message gets: stored and done, or refused.
func answered(t *testing.T, m *hl7.Message, mode ack.Mode, stored bool, v ack.Verdict) string {
	t.Helper()
	var codes []string
	o := ack.Options{Mode: mode}
	if a, ok := o.Accept(m, stored, v, "N1", now); ok {
		codes = append(codes, code(t, a))
	}
	if a, ok := o.Answer(m, v, "N2", now, nil); ok {
		codes = append(codes, code(t, a))
	}
	return strings.Join(codes, " ")
}

func code(t *testing.T, a ack.Answer) string {
	t.Helper()
	parsed, err := hl7.ParseAck(a.Message)
	if err != nil {
		t.Fatal(err)
	}
	if parsed.MessageControlID != "7" || parsed.ControlID != a.ControlID || a.Message[len(a.Message)-1] != '\r' {
		t.Errorf("%q", a.Message)
	}
	return string(parsed.Code)
}

// The matrix of MSH-15 and MSH-16: what a message gets that was stored and processed,
// and one whose version is refused.
var matrix = []struct{ accept, application, good, bad string }{
	{"", "", "AA", "AR"},
	{"", "NE", "", ""}, {"", "AL", "AA", "AR"}, {"", "ER", "", "AR"}, {"", "SU", "AA", ""},
	{"NE", "", "", ""}, {"NE", "NE", "", ""}, {"NE", "AL", "AA", "AR"}, {"NE", "ER", "", "AR"}, {"NE", "SU", "AA", ""},
	{"AL", "", "CA", "CR"}, {"AL", "NE", "CA", "CR"}, {"AL", "AL", "CA AA", "CR AR"}, {"AL", "ER", "CA", "CR AR"}, {"AL", "SU", "CA AA", "CR"},
	{"ER", "", "", "CR"}, {"ER", "NE", "", "CR"}, {"ER", "AL", "AA", "CR AR"}, {"ER", "ER", "", "CR AR"}, {"ER", "SU", "AA", "CR"},
	{"SU", "", "CA", ""}, {"SU", "NE", "CA", ""}, {"SU", "AL", "CA AA", "AR"}, {"SU", "ER", "CA", "AR"}, {"SU", "SU", "CA AA", ""},
}

func TestMatrixOfMSH15AndMSH16(t *testing.T) {
	if len(matrix) != 25 {
		t.Fatalf("%d cells", len(matrix))
	}
	for _, c := range matrix {
		m := message(t, "ORU^R01^ORU_R01", "2.5.1", c.accept, c.application)
		if got := answered(t, m, ack.ByMessage, true, good); got != c.good {
			t.Errorf("%q, %q: %q, want %q", c.accept, c.application, got, c.good)
		}
		if got := answered(t, m, "", false, refused); got != c.bad {
			t.Errorf("%q, %q refused: %q, want %q", c.accept, c.application, got, c.bad)
		}
	}
}

// Together and in order: what was refused for the accept acknowledgement is the end.
func TestAnswersInTheirOrder(t *testing.T) {
	n := 0
	id := func() string { n++; return fmt.Sprint("N", n) }
	for _, c := range matrix {
		m := message(t, "ORU^R01^ORU_R01", "2.5.1", c.accept, c.application)
		want := strings.Fields(c.bad)
		if len(want) > 1 {
			want = want[:1]
		}
		for _, run := range []struct {
			stored bool
			v      ack.Verdict
			want   []string
		}{{true, good, strings.Fields(c.good)}, {false, refused, want}} {
			n = 0
			var got []string
			for i, a := range (ack.Options{}).Answers(m, run.stored, run.v, id, now, nil) {
				if a.ControlID != fmt.Sprint("N", i+1) {
					t.Errorf("control ID %s", a.ControlID)
				}
				got = append(got, code(t, a))
			}
			if !slices.Equal(got, run.want) || n != len(got) {
				t.Errorf("%q, %q, stored %v: %v, want %v", c.accept, c.application, run.stored, got, run.want)
			}
		}
	}
}

func TestLinkOverridesTheMessage(t *testing.T) {
	for mode, want := range map[ack.Mode][2]string{
		ack.Original: {"AA", "AR"}, ack.Application: {"AA", "AR"},
		ack.Accept: {"CA", "CR"}, ack.Both: {"CA AA", "CR AR"}, ack.None: {"", ""},
	} {
		for _, c := range matrix {
			m := message(t, "ORU^R01^ORU_R01", "2.5.1", c.accept, c.application)
			if got := answered(t, m, mode, true, good); got != want[0] {
				t.Errorf("%s over %q, %q: %q", mode, c.accept, c.application, got)
			}
			if got := answered(t, m, mode, false, refused); got != want[1] {
				t.Errorf("%s over %q, %q, refused: %q", mode, c.accept, c.application, got)
			}
		}
		if !mode.Valid() {
			t.Errorf("%s is no mode", mode)
		}
	}
	if ack.Mode("sometimes").Valid() {
		t.Error("sometimes is a mode")
	}
}

func TestAcknowledgementGetsNothingButTheAcceptAnswerItAsksFor(t *testing.T) {
	for _, mode := range []ack.Mode{"", ack.ByMessage, ack.Original, ack.Accept, ack.Application, ack.Both, ack.None} {
		for _, kind := range []string{"ACK^R01^ACK", "ORL^O22^ORL_O22", "RSP^K11^RSP_K11"} {
			for accept, want := range map[string]string{"": "", "NE": "", "AL": "CA", "SU": "CA", "ER": ""} {
				for _, application := range []string{"", "AL", "SU"} {
					m := parse(t, `MSH|^~\&|HIS||NHIP||||`+kind+`|7|P|2.5.1|||`+accept+"|"+application+"\rMSA|AA|1\r")
					if mode == ack.None {
						want = ""
					}
					if got := answered(t, m, mode, true, good); got != want {
						t.Errorf("%s %s with MSH-15 %q, MSH-16 %q: %q, want %q", mode, kind, accept, application, got, want)
					}
				}
			}
		}
	}
}

func TestAcceptAnswerSaysWhetherTheMessageIsStored(t *testing.T) {
	m := message(t, "OML^O21^OML_O21", "2.5.1", "AL", "NE")
	content := ack.Verdict{Code: hl7.ApplicationError, Text: "no", Errors: []hl7.Error{{Location: "PID-3", Code: hl7.ErrorRequiredField, Text: "PID-3 is empty"}}}
	full := ack.Verdict{Code: hl7.ApplicationReject, Errors: []hl7.Error{{Code: hl7.ErrorApplication, Text: "the disk is full"}}}
	for _, c := range []struct {
		stored bool
		v      ack.Verdict
		want   string
		errors int
	}{
		{true, good, "CA", 0}, {true, content, "CA", 0}, {false, content, "CE", 1}, {false, full, "CE", 1}, {false, refused, "CR", 1},
	} {
		a, ok := ack.Options{}.Accept(m, c.stored, c.v, "N1", now)
		if !ok {
			t.Fatal("none")
		}
		parsed, err := hl7.ParseAck(a.Message)
		if err != nil || string(parsed.Code) != c.want || len(parsed.Errors) != c.errors {
			t.Errorf("%+v stored %v: %+v, %v, want %s", c.v, c.stored, parsed, err, c.want)
		}
		if kind := parse(t, string(a.Message)).Get("MSH-9"); kind != "ACK^O21^ACK" {
			t.Errorf("MSH-9 is %s", kind)
		}
	}
}

func TestAnswerHasTheTypeThatTheMessageCallsFor(t *testing.T) {
	for _, c := range []struct{ kind, version, want string }{
		{"ORM^O01", "2.3.1", "ORR^O02^ORR_O02"}, {"ORM^O01", "2.3", "ORR^O02"}, {"ORM^O01", "2.2", "ORR^O02"}, {"ORM", "2.1", "ACK"}, {"ORM^O01", "2.1", "ORR"},
		{"OML^O21^OML_O21", "2.5.1", "ORL^O22^ORL_O22"}, {"OML^O33^OML_O33", "2.5.1", "ORL^O34^ORL_O34"},
		{"OML^O35^OML_O35", "2.5.1", "ORL^O36^ORL_O36"}, {"OML^O39", "2.7", "ORL^O40^ORL_O40"},
		{"OMG^O19^OMG_O19", "2.5.1", "ORG^O20^ORG_O20"}, {"OMI^O23^OMI_O23", "2.7", "ORI^O24^ORI_O24"},
		{"OMP^O09", "2.4", "ORP^O10^ORP_O10"}, {"RDE^O11", "2.5", "RRE^O12^RRE_O12"}, {"RDE^O01", "2.3", "RRE^O02"},
		{"QBP^Q11^QBP_Q11", "2.5.1", "RSP^K11^RSP_K11"}, {"QBP^Q22^QBP_Q21", "2.5", "RSP^K22^RSP_K21"}, {"QRY^R02", "2.4", "ORF^R04^ORF_R04"},
		{"ORU^R01^ORU_R01", "2.5.1", "ACK^R01^ACK"}, {"ORU^R30^ORU_R30", "2.5.1", "ACK^R33^ACK"}, {"ORU^R30", "2.3.1", "ACK^R30^ACK"},
		{"OUL^R22^OUL_R22", "2.5.1", "ACK^R22^ACK"}, {"ADT^A40^ADT_A39", "2.5.1", "ACK^A40^ACK"}, {"MDM^T02", "2.3", "ACK^T02"},
		{"MFN^M02^MFN_M02", "2.5.1", "MFK^M02^MFK_M01"}, {"SRM^S03", "2.3.1", "SRR^S03^SRR_S01"}, {"MFN", "2.5", "ACK"},
		{"EAC^U07", "2.5", "EAR^U08^EAR_U08"}, {"REF^I13", "2.5", "RRI^I13^RRI_I12"}, {"XXX^Z99", "2.5", "ACK^Z99^ACK"},
		{"OML^O21", "", "ORL^O22^ORL_O22"}, {"OML^O21", "9.9", "ORL^O22^ORL_O22"},
	} {
		m := message(t, c.kind, c.version, "", "")
		a, ok := ack.Options{}.Answer(m, good, "N", now, nil)
		if got := parse(t, string(a.Message)).Get("MSH-9"); !ok || got != c.want {
			t.Errorf("%s %s: %q, want %q", c.kind, c.version, got, c.want)
		}
		general, _ := ack.Options{General: true}.Answer(m, good, "N", now, nil)
		if got := parse(t, string(general.Message)).Get("MSH-9.1"); got != "ACK" {
			t.Errorf("%s in general: %q", c.kind, got)
		}
	}
	other := parse(t, "MSH$%*!@$A$$B$$$$OML%O21$7$P$2.5.1\r")
	if a, _ := (ack.Options{}).Answer(other, good, "N", now, nil); !strings.Contains(string(a.Message), "$ORL%O22%ORL_O22$") {
		t.Errorf("%q", a.Message)
	}
}

func TestOwnConditionsOfTheAnswer(t *testing.T) {
	for _, c := range []struct {
		accept, application string
		options             ack.Options
		want                string // MSH-15|MSH-16
		confirm             hl7.Condition
	}{
		{"", "", ack.Options{}, "|", hl7.Never}, // original mode
		{"NE", "AL", ack.Options{}, "NE|NE", hl7.Never},
		{"NE", "AL", ack.Options{Confirm: hl7.Always}, "NE|NE", hl7.Never}, // it goes back at once
		{"AL", "AL", ack.Options{}, "NE|NE", hl7.Never},
		{"AL", "AL", ack.Options{Confirm: hl7.Always}, "AL|NE", hl7.Always},
		{"", "", ack.Options{Mode: ack.Both, Confirm: hl7.Always}, "AL|NE", hl7.Always},
		{"AL", "AL", ack.Options{Mode: ack.Original, Confirm: hl7.Always}, "|", hl7.Never},
	} {
		m := message(t, "OML^O21^OML_O21", "2.5.1", c.accept, c.application)
		a, ok := c.options.Answer(m, good, "N", now, nil)
		answer := parse(t, string(a.Message))
		if got := answer.Get("MSH-15") + "|" + answer.Get("MSH-16"); !ok || got != c.want || a.Confirm != c.confirm {
			t.Errorf("%q, %q, %+v: %s, %s", c.accept, c.application, c.options, got, a.Confirm)
		}
		if accept, ok := c.options.Accept(m, true, good, "N", now); ok {
			if again := parse(t, string(accept.Message)); again.Get("MSH-15")+again.Get("MSH-16") != "" {
				t.Errorf("the accept acknowledgement asks for something: %q", accept.Message)
			}
		}
	}
}

func TestSegmentsOfAnAnswer(t *testing.T) {
	query := parse(t, `MSH|^~\&|AN||LIS||||QBP^Q11^QBP_Q11|7|P|2.5.1|||NE|AL|||||LAB-27^IHE`+"\r"+`QPD|WOS^Work Order Step^IHE_LABTF|Q-1|S1`+"\rRCP|I\r")
	refusal, _ := ack.Options{}.Answer(query, refused, "N", now, nil)
	if !strings.HasSuffix(string(refusal.Message), "\rQAK|Q-1|AR\rQPD|WOS^Work Order Step^IHE_LABTF|Q-1|S1\r") || !strings.Contains(string(refusal.Message), "|LAB-27^IHE\r") {
		t.Errorf("%q", refusal.Message)
	}
	found, _ := ack.Options{}.Answer(query, good, "N", now, []byte("QAK|Q-1|OK\rQPD|x\r"))
	if !strings.HasSuffix(string(found.Message), "MSA|AA|7\rQAK|Q-1|OK\rQPD|x\r") {
		t.Errorf("%q", found.Message)
	}
	old := parse(t, "MSH|^~\\&|A||B||||QRY^Q02|7|P|2.3.1\rQRD|1|R|I|Q1\rQRF|x\r")
	refusal, _ = ack.Options{}.Answer(old, refused, "N", now, nil)
	if !strings.HasSuffix(string(refusal.Message), "\rQRD|1|R|I|Q1\rQRF|x\r") || strings.Contains(string(refusal.Message), "QAK") {
		t.Errorf("%q", refusal.Message)
	}
	order, _ := ack.Options{}.Answer(message(t, "OML^O21", "2.5.1", "", ""), refused, "N", now, nil)
	if strings.Contains(string(order.Message), "QAK") {
		t.Errorf("%q", order.Message)
	}
}

// What is built for any message can be read, and asks for no more than it says.
func FuzzAnswer(f *testing.F) {
	for _, c := range matrix {
		f.Add([]byte(fmt.Sprintf("MSH|^~\\&|A||B||||OML^O21^OML_O21|7|P|2.5.1|0||%s|%s\rQPD|x|y\r", c.accept, c.application)), "both")
	}
	f.Add([]byte("MSH$%*!@$A$$B$$$$QBP%Q11$7$P$2.1$-1\rQPD$x$y\rMSA$AA$7\r"), "original")
	f.Add([]byte("MSH|^|A||B||||ORM^O01|7|P|2.3\r"), "")
	f.Fuzz(func(t *testing.T, b []byte, mode string) {
		m, err := hl7.ParseWithin(b, hl7.Limits{Size: 1 << 20, Segments: 100, Fields: 1000})
		if m == nil {
			return
		}
		o := ack.Options{Mode: ack.Mode(mode), Confirm: hl7.Always}
		for _, v := range []ack.Verdict{good, refused} {
			accept, hasAccept := o.Accept(m, v.Good(), v, "N1", now)
			answer, hasAnswer := o.Answer(m, v, "N2", now, nil)
			if hasAnswer && m.IsAcknowledgement() {
				t.Fatal("an acknowledgement is answered")
			}
			for _, a := range []ack.Answer{accept, answer} {
				if len(a.Message) == 0 {
					continue
				}
				if _, err := hl7.ParseAck(a.Message); err != nil {
					t.Fatalf("%q: %v", a.Message, err)
				}
			}
			_, _ = hasAccept, err
		}
		ack.Sequence{Last: 7, Known: true}.Receive(m.Get("MSH-13"))
		x := ack.NewExchange(m, ack.Mode(mode))
		a, err := hl7.ParseAck(b)
		if err != nil {
			return
		}
		if x, _ = x.Received(a); x.State == ack.Accepted && (a.MessageControlID != m.ControlID() || !a.Positive()) {
			t.Fatal("accepted without a positive answer")
		}
	})
}
