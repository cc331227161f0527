package bci_test

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"nhip/drivers/bci"
	"nhip/drivers/item"
	"nhip/drivers/session"
	"nhip/drivers/session/sessiontest"
)

const text = "<RS>mtrsl|<RS>pi77|<RS>pnA|<RS>si|<RS>ciS1|<RS>rtHBCT|<RS>rnAnti-HBc|<RS>tt18:35|<RS>td10/25/24|<RS>qlPositive|<RS>qn0.05|"

func start() session.Core { return bci.NewReceiver() }

// By the checksum of the capture: all characters behind STX, GS included.
func script() sessiontest.Script {
	sum := "0123456789abcdef"
	raw := append(bytes.ReplaceAll([]byte(text), []byte("<RS>"), []byte{0x1E}), 0x1D)
	c := bci.Checksum(raw)
	digits := string([]byte{sum[c>>4], sum[c&15]})
	return sessiontest.Script{New: start, Text: `
> <ENQ>
< <ACK>
> <STX>` + text + `<GS>` + digits + `<ETX>
= store ` + text + `
< <ACK>
> <EOT>
= ended
# without ENQ and ETX, as the mini VIDAS of the capture; the same again is a resend
> <STX>` + text + `<GS>` + strings.ToUpper(digits) + `
~
= store ` + text + `
< <ACK>
> <STX>` + text + `<GS>00<ETX>
< <NAK>
> <STX>` + text + `
~ cut
= incomplete ` + text + `
= reason line cut
`}
}

func TestMessageIsStoredBeforeItsACK(t *testing.T) { script().Play(t) }

func TestEveryByteDroppedDoubledFlipped(t *testing.T) {
	s := script()
	s.Text = s.Text[:strings.Index(s.Text, "# without")]
	s.Faults(t, true)
	s.Disk(t)
}

func TestRecords(t *testing.T) {
	raw := bytes.ReplaceAll([]byte(text+"rtTSH|qn1.2|ciS2|rtFT4|qn15|"), []byte("<RS>"), []byte{0x1E})
	records, problems, err := bci.Records(raw)
	if err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	want := []item.Record{
		item.New("H", "mt", "rsl"),
		item.New("P", "pi", "77", "pn", "A"),
		item.New("O", "ci", "S1"),
		item.New("R", "rt", "HBCT", "rn", "Anti-HBc", "tt", "18:35", "td", "10/25/24", "ql", "Positive", "qn", "0.05"),
		item.New("R", "rt", "TSH", "qn", "1.2"),
		item.New("O", "ci", "S2"),
		item.New("R", "rt", "FT4", "qn", "15"),
	}
	if !reflect.DeepEqual(records, want) {
		t.Errorf("%v", records)
	}
	if _, _, err := bci.Records([]byte("no message")); err == nil {
		t.Error("it is read")
	}
}

// An antibiogram of a VITEK 2: each drug knows the isolate that it was tested on.
func TestDrugsOfAnIsolate(t *testing.T) {
	records, problems, err := bci.Records([]byte("mtrsl|iiV2|itSU|pi77|si|ciS1|ta|rtAST-GN93|t11|o1citfre|o2Citrobacter freundii|" +
		"afTETRACYCLINES|apWILD|apRESISTANT|afFURANES|apWILD|ra|a1am|a2Ampicillin|a3>=32|a4R|anR|ra|ar1|a1an|a3<=2|a4S|zz|"))
	if err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	want := []item.Record{
		item.New("H", "mt", "rsl", "ii", "V2", "it", "SU"), item.New("P", "pi", "77"), item.New("O", "ci", "S1"),
		item.New("R", "rt", "AST-GN93", "t1", "1", "o1", "citfre", "o2", "Citrobacter freundii"),
		item.New("C", "af", "TETRACYCLINES", "ap", "WILD, RESISTANT"), item.New("C", "af", "FURANES", "ap", "WILD"),
		item.New("R", "rt", "AST-GN93", "t1", "1", "o1", "citfre", "o2", "Citrobacter freundii", "a1", "am", "a2", "Ampicillin", "a3", ">=32", "a4", "R", "an", "R"),
		item.New("R", "rt", "AST-GN93", "t1", "1", "o1", "citfre", "o2", "Citrobacter freundii", "ar", "1", "a1", "an", "a3", "<=2", "a4", "S"),
	}
	if !reflect.DeepEqual(records, want) {
		t.Errorf("%v", records)
	}
}

// The capture of a mini VIDAS: its checksum is right, and all of it is read.
func TestSample(t *testing.T) {
	line, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "samples", "lab", "biomerieux-mini-vidas", "mini_vidas.txt"))
	if err != nil {
		t.Skip("the samples are not here: ", err)
	}
	r := &sessiontest.Run{Core: start()}
	if err := r.Device(line); err != nil {
		t.Fatal(err)
	}
	if len(r.Stored) != 1 || string(r.Sent[0]) != "\x06" {
		t.Fatalf("%q", r.Log)
	}
	records, _, err := bci.Records(r.Stored[0])
	if err != nil || records[len(records)-1].Get("qn") != "0.05" || records[len(records)-1].Get("ql") != "Positif" {
		t.Errorf("%v, %v", records, err)
	}
}

func FuzzReceiver(f *testing.F) {
	f.Add(bytes.ReplaceAll([]byte("\x05\x02"+text+"\x1db0\x03\x04"), []byte("<RS>"), []byte{0x1E}))
	f.Fuzz(func(t *testing.T, line []byte) {
		r := &sessiontest.Run{Core: start()}
		if err := r.Device(line); err != nil {
			t.Fatal(err)
		}
		if err := r.Silence(); err != nil {
			t.Fatal(err)
		}
		for _, m := range r.Stored {
			if !bytes.Contains(line, m) {
				t.Fatalf("stored %q", m)
			}
			bci.Records(m) // does not panic
		}
	})
}
