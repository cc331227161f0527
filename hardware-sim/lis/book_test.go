package lis

import (
	"slices"
	"strings"
	"testing"
)

func bookMessage(kind, id string, segments ...string) []byte {
	return []byte("MSH|^~\\&|HIS|H|NHIP||20260114080000||" + kind + "|" + id + "|P|2.5.1\r" + strings.Join(segments, "\r") + "\r")
}

// What a system has on file is held against the truth, and every way of being wrong is
// named.
func TestABookNamesWhatIsLostDoubledChangedAndMisfiled(t *testing.T) {
	anh, binh := Patient{ID: "1"}, Patient{ID: "2"}
	orders := []Order{
		{Placer: "P1", Specimen: "S1", Patient: binh, Tests: [][2]string{{"GLU", ""}}},
		{Placer: "P2", Specimen: "S2", Patient: anh, Tests: [][2]string{{"GLU", ""}}, Cancelled: true},
	}
	measured := []Measured{{Specimen: "S1", Code: "GLU", Value: "5.2", Status: "C", Corrected: true}}
	place := bookMessage("OML^O21^OML_O21", "1", "PID|1||1", "ORC|NW|P1", "OBR|1|P1||GLU", "SPM|1|S1")
	other := bookMessage("OML^O21^OML_O21", "2", "PID|1||1", "ORC|NW|P2", "OBR|1|P2||GLU", "SPM|1|S2")
	cancel := bookMessage("OML^O21^OML_O21", "3", "PID|1||1", "ORC|CA|P2", "OBR|1|P2||GLU", "SPM|1|S2")
	state := bookMessage("OML^O21^OML_O21", "4", "PID|1||1", "ORC|SC|P2|||CA", "OBR|1|P2||GLU")
	merge := bookMessage("ADT^A40^ADT_A39", "5", "PID|1||2", "MRG|9")
	merge2 := bookMessage("ADT^A40^ADT_A39", "6", "PID|1||2", "MRG|1")
	final := bookMessage("ORU^R01^ORU_R01", "7", "PID|1||1", "OBR|1||S1|X", "OBX|1|NM|GLU||5.1|||||| F")
	final = []byte(strings.Replace(string(final), "|||||| F", "||||||F", 1))
	correction := bookMessage("ORU^R01^ORU_R01", "8", "PID|1||2", "OBR|1||S1|X", "OBX|1|NM|GLU||5.2||||||C")
	all := [][]byte{place, other, cancel, state, merge, final, correction}
	// The merge of patient 1 makes P2 the survivor's too.
	orders[1].Patient = binh
	file := func(messages ...[]byte) []string {
		b := NewBook()
		for _, m := range messages {
			b.File(m)
			b.File(m) // comes again, and is the same
		}
		return b.Compare(orders, measured)
	}
	if wrong := file(append(slices.Clone(all), merge2)...); len(wrong) > 0 {
		t.Errorf("all is well, and it says %q", wrong)
	}
	whole := append(slices.Clone(all), merge2)
	without := func(m []byte) [][]byte {
		return slices.DeleteFunc(slices.Clone(whole), func(x []byte) bool { return string(x) == string(m) })
	}
	again := func(m []byte) []byte { return []byte(strings.Replace(string(m), "|P|2.5.1", "A|P|2.5.1", 1)) }
	for name, test := range map[string]struct {
		messages [][]byte
		want     string
	}{
		"an order that was lost":        {without(place), "lost: order P1"},
		"a result that was lost":        {without(final), "came 0 times"},
		"a correction that was lost":    {without(correction), "was corrected 0 times"},
		"a cancel that was lost":        {without(cancel), "order P2 is not cancelled"},
		"a merge that was lost":         {without(merge2), `misfiled: order P1 is under "1"`},
		"an order twice":                {append(slices.Clone(whole), again(place)), "doubled: order P1"},
		"a result twice":                {append(slices.Clone(whole), again(final)), "came 2 times"},
		"a result of a cancelled order": {append(slices.Clone(whole), []byte(strings.ReplaceAll(string(again(final)), "S1", "S2"))), "a result S2 GLU that nobody measured"},
		"other bytes under one ID":      {append(slices.Clone(whole), []byte(strings.Replace(string(final), "5.1", "9.9", 1))), "came with other bytes"},
		"another value":                 {append(without(correction), []byte(strings.Replace(string(correction), "5.2", "5.3", 1))), `is "5.3" C`},
		"the wrong way round":           {[][]byte{place, other, cancel, state, merge, merge2, correction, final}, "came after its correction"},
		"an order of nobody":            {append(slices.Clone(whole), []byte(strings.ReplaceAll(string(again(place)), "P1", "P9"))), "an order P9 that nobody placed"},
	} {
		if wrong := file(test.messages...); !strings.Contains(strings.Join(wrong, "\n"), test.want) {
			t.Errorf("%s: %q", name, wrong)
		}
	}
}
