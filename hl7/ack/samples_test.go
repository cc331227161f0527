package ack_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nhip/hl7"
	"nhip/hl7/ack"
)

// judge is the verdict of a system that takes every type of message: on the header,
// and whether the message can be read.
func judge(m *hl7.Message, err error) ack.Verdict {
	refuse := func(e hl7.Error) ack.Verdict {
		return ack.Verdict{Code: hl7.ApplicationError, Errors: []hl7.Error{e}}
	}
	if err != nil {
		return refuse(hl7.Error{Code: hl7.ErrorSegmentSequence, Text: "the message cannot be read"})
	}
	if missing := m.Required("MSH-9.1", "MSH-10", "MSH-12"); missing != nil {
		return refuse(missing[0])
	}
	if !hl7.KnownVersion(m.Version()) {
		return ack.Verdict{Code: hl7.ApplicationReject, Errors: []hl7.Error{{Location: "MSH-12", Code: hl7.ErrorVersion, Text: "the version is not supported"}}}
	}
	return ack.Verdict{Code: hl7.ApplicationAccept}
}

// other are the messages, by file and number, whose verdict is not that of their
// class, and why.
var other = map[string]string{
	"hapi-example_oml_o21.hl7 11":                       "AE 101",     // without MSH-10, which a system must have
	"hapi-example_oml_o21.hl7 12":                       "AE 101",     // the same
	"cosyte-batch_malformed-mid-batch.hl7 2":            "AE 101",     // the malformed one
	"cosyte-vendor-quirks_missing-required-field.hl7 1": "AE 101",     // without MSH-10
	"khl7-roundtrip_adt.hl7 1":                          "AR 203",     // of version 1
	"own-version-unknown.hl7 1":                         "AR 203",     // of version 9.9
	"hapi-uuencoded.txt.hl7 1":                          "unreadable", // what a message carries, and none itself
}

// verdictOf is the verdict on one message with the answer checked: of the right type,
// for this control ID, with a reason where it is negative.
func verdictOf(t *testing.T, b []byte) string {
	t.Helper()
	m, err := hl7.Parse(b)
	if m == nil {
		if !strings.Contains(err.Error(), "hl7: ") || len(err.Error()) < 20 {
			t.Errorf("no reason: %v", err)
		}
		return "unreadable"
	}
	if err == nil && !bytes.Equal(m.Bytes(), b) {
		t.Error("not written back as it came")
	}
	v := judge(m, err)
	if m.IsAcknowledgement() {
		if _, ok := (ack.Options{}).Answer(m, v, "N", now, nil); ok {
			t.Error("an acknowledgement is answered")
		}
		return string(v.Code)
	}
	a, _ := ack.Options{Mode: ack.Original}.Answer(m, v, "N", now, nil)
	parsed, err := hl7.ParseAck(a.Message)
	if err != nil || parsed.MessageControlID != m.ControlID() || parsed.ControlID != "N" {
		t.Fatalf("%q: %v", a.Message, err)
	}
	answer := parse(t, string(a.Message))
	if want := ack.AnswerType(m); want != "" && strings.Join([]string{answer.Get("MSH-9.1"), answer.Get("MSH-9.2")}, "^") != strings.Join(strings.Split(want+"^", "^")[:2], "^") {
		t.Errorf("the answer is %s, want %s", answer.Get("MSH-9"), want)
	}
	if !bytes.Equal(answer.Raw("MSH-18"), m.Raw("MSH-18")) || answer.Version() != m.Version() {
		t.Errorf("MSH-18 %q and MSH-12 %q in the answer", answer.Raw("MSH-18"), answer.Version())
	}
	got := string(parsed.Code)
	for _, e := range parsed.Errors {
		got += " " + e.Code
	}
	return got
}

// Every file of the samples has its verdict: valid ones are taken, nasty ones too and
// without loss, those to be refused are refused with a reason.
func TestVerdictOnEverySample(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "samples", "hl7")
	b, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err != nil {
		t.Skip("no message samples beside this checkout")
	}
	var classes map[string]struct {
		Class string `json:"cls"`
	}
	if err := json.Unmarshal(b, &classes); err != nil {
		t.Fatal(err)
	}
	counted := map[string]int{}
	for name, of := range classes {
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			pieces := hl7.Split(b)
			if of.Class == "reject" || len(pieces) == 0 {
				pieces = [][]byte{b}
			}
			for i, piece := range pieces {
				got := verdictOf(t, piece)
				want, ok := other[fmt.Sprint(name, " ", i+1)]
				switch {
				case ok:
				case of.Class == "reject":
					if got == "AA" {
						t.Errorf("message %d is taken", i+1)
					}
					counted["refused"]++
					continue
				default:
					want = "AA"
				}
				if got != want {
					t.Errorf("message %d of class %s: %s, want %s", i+1, of.Class, got, want)
				}
				counted[got]++
			}
		})
	}
	t.Log(counted)
}
