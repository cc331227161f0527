package run

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nhip/gateway/intake"
	"nhip/hl7"
	"nhip/storage"
)

// otherVerdicts are the messages, by file and number, whose verdict is not that of
// their class, and why.
var otherVerdicts = map[string]string{
	"hapi-example_oml_o21.hl7 11":                       "AE 101", // without MSH-10, which a system must have
	"hapi-example_oml_o21.hl7 12":                       "AE 101", // the same
	"cosyte-batch_malformed-mid-batch.hl7 2":            "AR 200", // the malformed one
	"cosyte-vendor-quirks_missing-required-field.hl7 1": "AR 200", // without MSH-9
	"khl7-roundtrip_adt.hl7 1":                          "AR 203", // of version 1
	"own-version-unknown.hl7 1":                         "AR 203", // of version 9.9
	"genexpert-qbp_z03.txt.hl7 1":                       "AR 200", // a query, which nobody here answers
	"hapi-uuencoded.txt.hl7 1":                          "closed", // what a message carries, and none itself
}

// Every message of the samples, sent to a running gateway: what its class says is what
// it is answered, and what was taken is in the journal byte for byte.
func TestEverySampleGetsItsVerdictFromTheGateway(t *testing.T) {
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
	s := newSite(t, "[[hl7_peer]]\nname = \"any\"\naddress = \"127.0.0.1\"\nacknowledge = \"original\"\n")
	v := &verdicts{s: s, p: newPeer(t, "127.0.0.1", s.status().Listen.HL7)}
	counted := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(classes)) { // several are versions of one order
		of := classes[name]
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		pieces := hl7.Split(b)
		if of.Class == "reject" || len(pieces) == 0 {
			pieces = [][]byte{b}
		}
		for i, piece := range pieces {
			at := fmt.Sprint(name, " ", i+1)
			got := v.of(t, piece)
			want, ok := otherVerdicts[at]
			switch {
			case ok:
			case of.Class == "reject":
				if got == "AA" {
					t.Errorf("%s is taken", at)
				}
				want = got
			case got == "": // an acknowledgement is not answered
				want = got
			case of.Class == "nasty" && strings.HasPrefix(got, "AE"): // stored all the same
				want = got
			default:
				want = "AA"
			}
			if got != want {
				t.Errorf("%s of class %s: %s, want %s", at, of.Class, got, want)
			}
			counted[of.Class+" "+got]++
		}
	}
	t.Log(counted)
	if n := s.status().Counts; n.Accepted != n.Delivered+n.Queued+n.Held+n.Discarded+n.Expired+n.Consumed {
		t.Errorf("%+v", n)
	}
}

type verdicts struct {
	s *site
	p *mllpPeer
	n int
}

// of is the verdict on one message: MSA-1 and ERR-3, or how the connection ended.
func (v *verdicts) of(t *testing.T, message []byte) string {
	t.Helper()
	v.n++
	marker := fmt.Sprint("NHIP-MARK-", v.n)
	fmt.Fprintf(v.p, "\x0b%s\x1c\r\x0b%s\x1c\r", message, saying("MARK", "ORU^R01^ORU_R01", marker, "2.5.1", "", ""))
	var all []string
	for {
		a, err := readBlock(v.p.r)
		if err != nil {
			v.p = newPeer(t, "127.0.0.1", v.s.status().Listen.HL7)
			return "closed"
		}
		if strings.Contains(a, marker) {
			break
		}
		all = append(all, a)
	}
	if len(all) == 0 {
		return ""
	}
	a, err := hl7.ParseAck([]byte(all[0]))
	if err != nil || len(all) != 1 {
		t.Fatalf("answered %q: %v", all, err)
	}
	got := string(a.Code)
	if len(a.Errors) > 0 {
		got += " " + a.Errors[0].Code
	} else if got != "AA" {
		t.Errorf("%q gives no reason", all[0])
	}
	if a.Code == hl7.ApplicationError {
		t.Logf("%s %s: %s", got, a.Errors[0].Location, a.Errors[0].Text)
	}
	if !strings.HasPrefix(got, "AR") {
		v.stored(t, message)
	}
	return got
}

// stored checks that the message before the marker is in the journal as it came.
func (v *verdicts) stored(t *testing.T, message []byte) {
	t.Helper()
	channel := intake.Channel("any")
	e, err := v.s.g.entry(storage.Ref{Channel: channel, Seq: v.s.g.store.Last(channel) - 1})
	if err != nil {
		t.Fatal(err)
	}
	if e.Fate == intake.Repeat {
		return
	}
	if body, err := intake.Body(v.s.g.store, e); err != nil || !bytes.Equal(body, message) {
		t.Errorf("in the journal is %.200q, %v; sent was %.200q", body, err, message)
	}
}
