package hl7_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nhip/hl7"
)

// samples is the folder of messages from public sources, beside the checkout; the
// test is skipped where it is not there.
func samples(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	dir = filepath.Join(dir, "..", "shared", "samples", "hl7")
	if _, err := os.Stat(filepath.Join(dir, "INDEX.md")); err != nil {
		t.Skip("no message samples beside this checkout")
	}
	return dir
}

// expected is what an independent splitter found in a sample.
type expected struct {
	Class    string   `json:"cls"`
	MSHCount int      `json:"msh_count"`
	StartMSH bool     `json:"starts_with_msh"`
	Segments []string `json:"segments"`
	Count    int      `json:"segment_count"`
	OBX      int      `json:"obx"`
	MSH2     string   `json:"msh2"`
	MSH3     string   `json:"msh3"`
	MSH4     string   `json:"msh4"`
	MSH5     string   `json:"msh5"`
	MSH6     string   `json:"msh6"`
	MSH7     string   `json:"msh7"`
	MSH9     string   `json:"msh9"`
	MSH10    string   `json:"msh10"`
	MSH11    string   `json:"msh11"`
	MSH12    string   `json:"msh12"`
	MSH13    string   `json:"msh13"`
	MSH14    string   `json:"msh14"`
	MSH15    string   `json:"msh15"`
	MSH16    string   `json:"msh16"`
	MSH18    string   `json:"msh18"`
}

func readExpected(t *testing.T, dir string) map[string]expected {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]expected
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// verdict is what the header check of a receiver says: the error codes.
func verdict(m *hl7.Message) []string {
	var codes []string
	for _, e := range m.Required("MSH-9.1", "MSH-10", "MSH-12") {
		codes = append(codes, e.Code)
	}
	if v := m.Version(); v != "" && !hl7.KnownVersion(v) {
		codes = append(codes, hl7.ErrorVersion)
	}
	return codes
}

// incomplete are samples of the class valid that are to be read and written back,
// but that no receiver may accept: without MSH-10, or of version "1".
var incomplete = map[string]bool{"hapi-example_oml_o21.hl7": true, "khl7-roundtrip_adt.hl7": true}

// payload is a sample of the class valid that is no message, but what one carries.
const payload = "hapi-uuencoded.txt.hl7"

func TestSamplePayloadWithDelimitersComesBackFromAField(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(samples(t), payload))
	if err != nil {
		t.Fatal(err)
	}
	m := hl7.NewMessage(hl7.DefaultDelimiters)
	if err := m.Append("OBX").Set("5.5", string(b)); err != nil {
		t.Fatal(err)
	}
	again, err := hl7.Parse(m.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if again.Get("OBX-5.5") != string(b) {
		t.Error("the payload was changed")
	}
}

func TestSamplesAreWrittenBackByteForByte(t *testing.T) {
	dir := samples(t)
	for name, want := range readExpected(t, dir) {
		if want.Class == "reject" || name == payload {
			continue
		}
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			messages := hl7.Split(b)
			if want.Class == "valid" && len(messages) != max(1, want.MSHCount) {
				t.Errorf("%d messages, want %d", len(messages), want.MSHCount)
			}
			var names []string
			for i, b := range messages {
				m, err := hl7.Parse(b)
				if err != nil {
					t.Fatalf("message %d: %v", i+1, err)
				}
				checkWrittenBack(t, m, b)
				for _, s := range m.Segments() {
					names = append(names, s.Name)
				}
				if i == 0 && want.StartMSH {
					checkHeader(t, m, want)
				}
				if codes := verdict(m); want.Class == "valid" && len(codes) > 0 && !incomplete[name] {
					t.Errorf("message %d refused with %v", i+1, codes)
				}
			}
			if want.StartMSH && len(want.Segments) == want.Count {
				upper := strings.Split(strings.ToUpper(strings.Join(want.Segments, " ")), " ")
				if !slices.Equal(names, upper) {
					t.Errorf("segments %v, want %v", names, upper)
				}
			}
		})
	}
}

// checkWrittenBack checks Bytes, unchanged and after a change that changes nothing.
func checkWrittenBack(t *testing.T, m *hl7.Message, b []byte) {
	t.Helper()
	if !bytes.Equal(m.Bytes(), b) {
		t.Error("not written back as it came")
	}
	if err := m.SetRaw("MSH-10", m.Raw("MSH-10")); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.Bytes(), b) {
		t.Error("not written back as it came after MSH-10 was set to itself")
	}
	ack, err := hl7.ParseAck(hl7.Ack(m, hl7.ApplicationAccept, hl7.AckOptions{ControlID: "1"}))
	if err != nil {
		t.Fatal(err)
	}
	if ack.MessageControlID != m.ControlID() {
		t.Errorf("MSA-2 is %q, MSH-10 %q", ack.MessageControlID, m.ControlID())
	}
}

func checkHeader(t *testing.T, m *hl7.Message, want expected) {
	t.Helper()
	for path, value := range map[string]string{
		"MSH-2": want.MSH2, "MSH-3": want.MSH3, "MSH-4": want.MSH4, "MSH-5": want.MSH5, "MSH-6": want.MSH6,
		"MSH-7": want.MSH7, "MSH-9": want.MSH9, "MSH-10": want.MSH10, "MSH-11": want.MSH11, "MSH-12": want.MSH12,
		"MSH-13": want.MSH13, "MSH-14": want.MSH14, "MSH-15": want.MSH15, "MSH-16": want.MSH16, "MSH-18": want.MSH18,
	} {
		if got := string(m.Raw(path)); got != value {
			t.Errorf("%s is %q, want %q", path, got, value)
		}
	}
}

func TestSamplesToBeRefusedAreRefused(t *testing.T) {
	dir := samples(t)
	for name, want := range readExpected(t, dir) {
		if want.Class != "reject" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		m, err := hl7.Parse(b)
		if err != nil {
			t.Logf("%s: %v", name, err)
			continue
		}
		codes := verdict(m)
		if len(codes) == 0 {
			t.Errorf("%s is accepted", name)
		}
		t.Logf("%s: %v", name, codes)
	}
}
