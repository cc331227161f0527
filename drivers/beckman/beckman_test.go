package beckman_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"nhip/drivers/beckman"
	"nhip/drivers/session"
	"nhip/drivers/session/sessiontest"
	"nhip/gateway/record"
)

// wide is the layout of an AU480 whose host link was published: rack, cup, type, sample
// number, an identifier of 20, three digits of test number.
var wide = beckman.Layout{Source: "test", Rack: 4, Cup: 2, Type: 1, SampleNo: 4, SampleID: 20, Dummy: 4, Block: 1,
	Sex: 1, Years: 3, Months: 2, Patient: 20, Test: 3, Result: 6, Flags: 2, Class: "B", AnswerType: "blank"}

// unit is a layout with the number of the unit and without columns of the patient.
var unit = beckman.Layout{Source: "test", Unit: 2, Rack: 4, Cup: 2, Type: 1, SampleNo: 4, SampleID: 10, Dummy: 4, Block: 1,
	Test: 2, Result: 6, Flags: 2, Class: "B", Stop: true}

func orders(q record.Query) ([]record.Work, bool) {
	if len(q.Specimens) == 1 && (q.Specimens[0] == "9064234" || q.Specimens[0] == "0123456789") {
		return []record.Work{{Specimen: q.Specimens[0], Tests: []string{"99", "12", "5"},
			Patient: &record.Patient{Name: record.Name{Family: "Nguyễn", Middle: "Thị", Given: "Đào"}, Sex: "F"}}}, true
	}
	return nil, true
}

const result = "D 000301 0007             9064234    EF00000                    012  5.10H 005 123.4  "

// The example of the identity: request and answer agree in every character but the
// sample type, the test numbers follow the columns of the patient.
func query() sessiontest.Script {
	return sessiontest.Script{New: func() session.Core { return beckman.NewLink(wide) }, Answer: orders, Text: `
> <STX>RB<ETX>
< <ACK>
> <STX>R 000301N0007             9064234<ETX>
< <ACK>
~
< <STX>S 000301 0007             9064234    EF00000Nguyen Thi Dao      099012005<ETX>
> <ACK>
= sent
> <STX>R 000302N0008             1111111<ETX>
< <ACK>
> <STX>RE<ETX>
< <ACK>
`}
}

func results() sessiontest.Script {
	return sessiontest.Script{New: func() session.Core { return beckman.NewLink(wide) }, Text: `
> <STX>DB<ETX>
< <ACK>
> <STX>` + result + `<ETX>
= store ` + result + `
< <ACK>
> <STX>` + strings.Replace(result, "0007", "0008", 1) + `<ETX>
= ended
= store ` + strings.Replace(result, "0007", "0008", 1) + `
< <ACK>
> <STX>DE<ETX>
= ended
< <ACK>
`}
}

func TestQueryIsAnsweredWithItsOwnIdentity(t *testing.T) { query().Play(t) }
func TestResultsAreStoredBeforeTheirACK(t *testing.T)    { results().Play(t) }

// go-bloodlab-net's sequence (samples/lab/beckman-au6xx): RB03, R, S, RE03, SE.
func TestStopAnswersTheEndOfTheRequests(t *testing.T) {
	sessiontest.Script{New: func() session.Core { return beckman.NewLink(unit) }, Answer: orders, Text: `
> <STX>RB03<ETX>
< <ACK>
> <STX>R 03111101 00160123456789<ETX>
< <ACK>
~
< <STX>S 03111101 00160123456789    E991205<ETX>
> <ACK>
= sent
> <STX>RE03<ETX>
< <ACK>
~
< <STX>SE<ETX>
> <ACK>
`}.Play(t)
}

// Section 2.3: the exclusive or from the classification to the end code.
func TestBCC(t *testing.T) {
	with := wide
	with.BCC = true
	bcc := func(text string) string {
		var x byte
		for _, b := range []byte(text + "\x03") {
			x ^= b
		}
		return "\x02" + text + "\x03" + string([]byte{x})
	}
	r := &sessiontest.Run{Core: beckman.NewLink(with), Answer: orders}
	for _, c := range []struct{ in, want string }{
		{bcc("DB"), "\x06"}, {bcc(result), "\x06"}, {"\x02DE\x03\x00", "\x15"}, {bcc("DE"), "\x06"},
		{bcc("R 000301N0007             9064234"), "\x06"},
	} {
		if err := r.Device([]byte(c.in)); err != nil || string(r.Sent[len(r.Sent)-1]) != c.want {
			t.Errorf("%q is answered %q, want %q (%v)", c.in, r.Sent[len(r.Sent)-1], c.want, err)
		}
	}
	if err := r.Silence(); err != nil {
		t.Fatal(err)
	}
	if got := string(r.Sent[len(r.Sent)-1]); got != bcc(got[1:len(got)-2]) {
		t.Errorf("the answer has a wrong BCC: %q", got)
	}
	if len(r.Stored) != 1 {
		t.Errorf("%d stored", len(r.Stored))
	}
}

// Section 4.1, class B: a text that is refused or not answered is sent once more.
func TestAnswerIsSentTwiceAtMost(t *testing.T) {
	for end, want := range map[string]string{"refused": "= unsent the answer was refused 2 times", "silent": "= unsent no reply to the answer 2 times"} {
		r := &sessiontest.Run{Core: beckman.NewLink(wide), Answer: orders}
		do := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		do(r.Device([]byte("\x02R 000301N0007             9064234\x03")))
		do(r.Silence()) // the pause
		for range 2 {
			if end == "silent" {
				do(r.Silence())
			} else {
				do(r.Device([]byte{0x15}))
			}
		}
		if last := r.Log[len(r.Log)-1]; last != want || len(r.Sent) != 3 {
			t.Errorf("%s: %s after %d writes", end, last, len(r.Sent))
		}
		// The line is ready for the next text.
		do(r.Device([]byte("\x02" + result + "\x03")))
		if len(r.Stored) != 1 {
			t.Errorf("%s: then a result is not stored", end)
		}
	}
}

// What is cancelled in the half second before the analyser can receive is not sent.
func TestAnswerIsLookedUpAgainBeforeItIsSent(t *testing.T) {
	asked := 0
	r := &sessiontest.Run{Core: beckman.NewLink(wide), Answer: func(q record.Query) ([]record.Work, bool) {
		if asked++; asked > 1 {
			return nil, true
		}
		return orders(q)
	}}
	for _, do := range []func() error{func() error { return r.Device([]byte("\x02R 000301N0007             9064234\x03")) }, r.Silence} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 2 || len(r.Sent) != 1 {
		t.Errorf("looked up %d times, then %q", asked, r.Sent)
	}
	// The line is ready for the next text.
	if err := r.Device([]byte("\x02" + result + "\x03")); err != nil || len(r.Stored) != 1 {
		t.Errorf("%v, %d stored", err, len(r.Stored))
	}
}

// No answer when there is none, and none when nobody knows.
func TestNoAnswerWithoutAnOrder(t *testing.T) {
	for name, answer := range map[string]func(record.Query) ([]record.Work, bool){
		"no order":  func(record.Query) ([]record.Work, bool) { return nil, true },
		"not known": func(record.Query) ([]record.Work, bool) { return nil, false },
		"no tests":  func(record.Query) ([]record.Work, bool) { return []record.Work{{Specimen: "9064234"}}, true },
		"other code": func(record.Query) ([]record.Work, bool) {
			return []record.Work{{Specimen: "9064234", Tests: []string{"5", "GLU"}}}, true
		},
	} {
		r := &sessiontest.Run{Core: beckman.NewLink(wide), Answer: answer}
		if err := r.Device([]byte("\x02R 000301N0007             9064234\x03")); err != nil {
			t.Fatal(err)
		}
		if err := r.Silence(); err != nil {
			t.Fatal(err)
		}
		if len(r.Sent) != 1 {
			t.Errorf("%s: %q was sent", name, r.Sent[1:])
		}
	}
}

func TestEveryByteDroppedDoubledFlipped(t *testing.T) {
	with := wide
	with.BCC = true
	results().Faults(t, false) // without a BCC nothing tells a flipped digit
	query().Faults(t, false)
	s := results()
	s.New = func() session.Core { return beckman.NewLink(with) }
	s.Text = bcced(s.Text)
	s.Faults(t, true)
	s.Disk(t)
}

// bcced puts the BCC behind every text of a script.
func bcced(script string) string {
	var out []string
	for line := range strings.Lines(script) {
		text, ok := strings.CutPrefix(strings.TrimSpace(line), "> <STX>")
		if text, isText := strings.CutSuffix(text, "<ETX>"); ok && isText {
			var x byte
			for _, b := range []byte(text + "\x03") {
				x ^= b
			}
			out = append(out, "> <STX>"+text+"<ETX><x"+string("0123456789ABCDEF"[x>>4])+string("0123456789ABCDEF"[x&15])+">")
			continue
		}
		out = append(out, strings.TrimRight(line, "\n"))
	}
	return strings.Join(out, "\n")
}

func TestRecords(t *testing.T) {
	records, problems, err := wide.Records([]byte(result))
	if err != nil || len(problems) > 0 || len(records) != 4 {
		t.Fatalf("%v %v %v", records, problems, err)
	}
	for i, want := range []map[string]string{
		{"kind": "D "},
		{"kind": "normal", "rack": "0003", "position": "01", "sample_no": "0007", "specimen": "9064234", "sex": "F", "years": "000", "months": "00"},
		{"code": "012", "value": "5.10", "flag": "H"},
		{"code": "005", "value": "123.4"},
	} {
		if !reflect.DeepEqual(records[i].Fields, want) {
			t.Errorf("record %d: %v, want %v", i, records[i].Fields, want)
		}
	}
	for _, bad := range []string{"", "D", "XX", "D 0003", result[:len(result)-3] + "x", strings.Replace(result, "EF", "xF", 1), strings.Replace(result, "012", "0x2", 1)} {
		if _, _, err := wide.Records([]byte(bad)); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
	if records, problems, err := wide.Records([]byte("DQ whatever it is")); err != nil || len(problems) != 1 || len(records) != 2 || records[1].Get("kind") != "control" {
		t.Errorf("%v %v %v", records, problems, err)
	}
}

func TestLayoutIsChecked(t *testing.T) {
	for _, l := range []beckman.Layout{wide, unit} {
		if found := l.Check(); len(found) > 0 {
			t.Errorf("%v", found)
		}
	}
	if found := (beckman.Layout{SampleID: 27, Class: "C", Unknown: "x", AnswerType: "y"}).Check(); len(found) < 8 {
		t.Errorf("%q", found)
	}
}

func FuzzLink(f *testing.F) {
	f.Add([]byte("\x02DB\x03\x02" + result + "\x03\x02DE\x03"))
	f.Add([]byte("\x02RB\x03\x02R 000301N0007             9064234\x03\x06\x02RE\x03\x06\x15\x06"))
	f.Fuzz(func(t *testing.T, line []byte) {
		for _, l := range []beckman.Layout{wide, unit, {Test: 2, Result: 6, Flags: 2, SampleNo: 4, Block: 1, Class: "A", BCC: true}} {
			r := &sessiontest.Run{Core: beckman.NewLink(l), Answer: orders}
			for piece := range bytes.SplitAfterSeq(line, []byte{0x03}) {
				if err := r.Device(piece); err != nil {
					t.Fatal(err)
				}
				if err := r.Silence(); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.Cut("line cut"); err != nil {
				t.Fatal(err)
			}
			for _, m := range r.Stored {
				if !bytes.Contains(line, m) {
					t.Fatalf("stored %q", m)
				}
				l.Records(m) // does not panic
			}
		}
	})
}

// A class A analyser sends nothing again: what came of results before it began another
// text is kept. One of class B sends them again.
func TestResultsThatAreCutByAnotherTextAreKeptInClassA(t *testing.T) {
	for class, want := range map[string]string{"A": "D 000101 000", "B": ""} {
		l := wide
		l.Class = class
		k := beckman.NewLink(l)
		kept := ""
		for _, part := range []string{"\x02D 000101 000", "\x02"} {
			for p := []byte(part); len(p) > 0; {
				n, actions := k.Receive(p)
				p = p[n:]
				for _, a := range actions {
					if i, ok := a.(session.Incomplete); ok {
						kept = string(i.Message)
					}
				}
			}
		}
		if kept != want {
			t.Errorf("class %s: %q is kept", class, kept)
		}
	}
}
