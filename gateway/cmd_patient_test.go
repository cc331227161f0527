package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nhip/gateway/intake"
	"nhip/gateway/lis"
	"nhip/gateway/patients"
	"nhip/hl7"
	"nhip/storage"
)

// Who a patient number is, and what changed that, of a gateway that does not run.
func TestPatientOfAStoppedGateway(t *testing.T) {
	dir := t.TempDir()
	data, file := filepath.Join(dir, "data"), filepath.Join(dir, "site.toml")
	if err := os.WriteFile(file, fmt.Appendf(nil, "[site]\ndata = %q\n[[hl7_peer]]\nname = \"his\"\naddress = \"127.0.0.1\"\nauthority = \"BV\"\n", data), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := nhip("patient", "100", "--config", file).CombinedOutput(); err == nil || !strings.Contains(string(out), "there is no data") {
		t.Errorf("without data: %v %s", err, out)
	}
	s, err := storage.Open(context.Background(), storage.Options{Dir: data})
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	p := &patients.Store{Store: s, Log: quiet, Rules: func(link string) lis.AuthorityRules {
		return lis.AuthorityRules{Link: link, Unnamed: map[string]string{"": "BV"}}
	}}
	in := intake.New(s, quiet)
	for i, text := range []string{
		"ADT^A01|%d|P|2.5.1||||||UNICODE UTF-8\rPID|1||100||Nguyễn Thị Ánh||1960|F\rPV1|1|I|NOI||||||||||||||||V1\r",
		"ADT^A40|%d|P|2.5.1||||||UNICODE UTF-8\rPID|1||200||Trần Văn \\X1B\\Bình\rMRG|100\r",
	} {
		m, err := hl7.Parse(fmt.Appendf([]byte("MSH|^~\\&|HIS||||20260714080000||"), text, i))
		if err != nil {
			t.Fatal(err)
		}
		answer := func(d intake.Decision, _ *storage.Batch) ([]byte, error) { return []byte(d.Verdict.Code), nil }
		if got, _, err := in.Decided(t.Context(), p, intake.Incoming{Link: "his", Message: m}, nil, answer); err != nil || string(got) != "AA" {
			t.Fatalf("%s %v", got, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := nhip("patient", "100", "--config", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Nguyễn Thị Ánh  1960  F  100 (BV)", "visit V1  admitted  I  NOI", "A40  1 from his: merged into 2\n", "is now\n2  Trần Văn ⟨ESC⟩Bình", "merged from 1"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("not shown: %q in\n%s", want, out)
		}
	}
	out, err = nhip("patient", "V1", "--json", "--authority", "BV", "--config", file).Output()
	var shown []patients.Shown
	if err == nil {
		err = json.Unmarshal(out, &shown)
	}
	if err != nil || len(shown) != 1 || shown[0].Survivor == nil || len(shown[0].Changes) != 2 {
		t.Errorf("%v %s", err, out)
	}
	if out, err := nhip("patient", "100", "--authority", "TT", "--config", file).CombinedOutput(); err == nil || !strings.Contains(string(out), "there is no patient") {
		t.Errorf("of another authority: %s", out)
	}
}
